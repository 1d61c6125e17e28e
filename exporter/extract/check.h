/* Whether the bytes of a fetched file are those its entity-tag names. Reads what came over the network; trusts nothing. */
#ifndef COFFRE_EXTRACT_CHECK_H
#define COFFRE_EXTRACT_CHECK_H

#include "common/values/err.h"

#include <stdint.h>

/* What an entity-tag of the exporter is the SHA-256 of. */
enum check_kind {
    CHECK_CONTAINER, /* the file */
    CHECK_SEGMENT,   /* lines "<sha256>  <name>" of the files outside events/, "<first>-<last>  events/<lot>/" of events;
                        the CRC-32 of all files is checked too */
};

/* `path` is for messages. ERR_INPUT: not those bytes. ERR_RETRY: the file cannot be read. */
MUST_CHECK bool check_file(int fd, const char *path, enum check_kind kind, const char *etag, struct err *e);

#endif
