/*
 * Files of the output folder: NAME appears (rename) only when it is whole and verified; NAME.part and NAME.part.etag hold what
 * has come so far, so that a later run goes on from there.
 */
#ifndef COFFRE_EXTRACT_DOWNLOAD_H
#define COFFRE_EXTRACT_DOWNLOAD_H

#include "exporter/extract/check.h"
#include "exporter/extract/client.h"

struct download {
    const char *path; /* on the exporter */
    const char *name; /* in the output folder */
    enum check_kind kind;
    /* Filled in: */
    uint64_t bytes;
    char etag[CLIENT_ETAG_MAX];
    bool was_there; /* NAME was there already, with these bytes' entity-tag */
    bool resumed;   /* part of it was there */
};

/* Fetches, verifies, renames. On failure `e` says why; the return value is how the program should end. */
enum exit_code download_file(struct client *c, const struct options *o, struct download *d, struct err *e);

#endif
