/*
 * The files that this host's daemons write for monitors into state_dir: <daemon>.prom and <daemon>.status. The folder is read only; its files are other daemons', replaced by
 * renaming every second, and may be anything.
 */
#ifndef COFFRE_EXPORTER_STATES_FILES_H
#define COFFRE_EXPORTER_STATES_FILES_H

#include "exporter/metrics.h"

/* One file that a daemon wrote. */
struct states_file {
    char daemon[METRICS_NAME_MAX];
    struct buf text;
    double age; /* seconds */
    bool large; /* more than was to be read: `text` is to be left alone */
};

struct states_folder {
    struct states_file at[METRICS_SOURCES_MAX]; /* by name */
    unsigned count;
};

/* All regular files whose names end in `suffix`, each at most `most` bytes, at most METRICS_SOURCES_MAX. ERR_RETRY when the folder cannot be read. states_free_folder() after success. */
MUST_CHECK bool states_read_folder(const char *path, const char *suffix, size_t most, struct states_folder *f, struct err *e);
void states_free_folder(struct states_folder *f);

#endif
