/*
 * The metrics of several daemons as one answer in the Prometheus text format, version 0.0.4: every sample gets the label `daemon`, samples of one
 * name stand together under one TYPE. Pure. What the daemons wrote is believed to be theirs, not to be well-formed: what is not is left out and counted.
 */
#ifndef COFFRE_EXPORTER_METRICS_H
#define COFFRE_EXPORTER_METRICS_H

#include "common/values/buf.h"

enum {
    METRICS_SOURCES_MAX = 16,
    METRICS_TEXT_MAX = 256 * 1024, /* bytes of all sources together */
    METRICS_LINE_MAX = 1024,       /* bytes; a longer line is not one */
    METRICS_NAME_MAX = 48,         /* bytes of a daemon's name, NUL included */
};

struct metrics_source {
    char daemon[METRICS_NAME_MAX]; /* letters, digits, '-' and '@' */
    struct slice text;             /* borrowed; empty when left out */
    double age;                    /* seconds since it was written */
    bool left_out;                 /* more than fits: only said to be there */
};

/* True for a name that may become a label's value as it is. */
bool metrics_is_daemon(struct slice name);

/*
 * Writes the answer to `out`, which is empty. Labels make samples longer: when the whole does not fit there, the longest source is left out, and so on, so that one daemon that says too
 * much hides nobody else. False when not even the names fit, or there are more than METRICS_SOURCES_MAX.
 */
MUST_CHECK bool metrics_merge(struct metrics_source *sources, unsigned count, struct buf *out, struct err *e);

#endif
