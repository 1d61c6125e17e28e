/*
 * What the exporter's role states tells each query, once a second and unasked: the metrics and the states of this host's daemons, ready to be answered with. See common/PROTOCOL.md.
 */
#ifndef COFFRE_EXPORTER_STATES_H
#define COFFRE_EXPORTER_STATES_H

#include <jansson.h>

#include "exporter/ask.h"
#include "exporter/states_files.h"

enum states_type {
    STATES_METRICS = 1, /* text, see metrics.h */
    STATES_DAEMONS = 2, /* JSON in ASCII: an array of what daemons_read() tells */
};

enum {
    STATES_METRICS_MAX = ASK_SHORT_MAX,
    STATES_DAEMONS_MAX = 512 * 1024, /* bytes; with the rest of a status it is an answer yet */
    STATES_OLD_MS = 10000,           /* nothing said for so long: not known any more */
};

/* What was read, as messages are; `out` is empty and holds at least the maximum. What does not fit is told as not readable, or left out. */
MUST_CHECK bool states_write_metrics(const struct states_folder *f, struct buf *out, struct err *e);
MUST_CHECK bool states_write_daemons(const struct states_folder *f, struct buf *out, struct err *e);
/* The array again, at most METRICS_SOURCES_MAX objects; NULL: it is none. Owned. */
json_t *states_read_daemons(struct slice body);

#endif
