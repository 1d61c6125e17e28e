/* What the person at the terminal sees: progress, notices, one line for each event, the summary. */
#ifndef COFFRE_DEPOSIT_REPORT_H
#define COFFRE_DEPOSIT_REPORT_H

#include "ingest/deposit/items.h"
#include "ingest/deposit/options.h"
#include "ingest/deposit/source.h"

struct report {
    const struct options *options;
    bool bar;           /* standard error is a terminal */
    bool drawn;         /* a bar stands on the current line */
    uint64_t began, drawn_at; /* ms */
    unsigned problems;  /* inputs that could not be read, or events that could not be adapted */
    unsigned notices;
    size_t known;       /* events already done by earlier runs */
};

void report_open(struct report *r, const struct options *o);

/* A line on standard error; the bar is drawn again below it. */
void report_say(struct report *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Draws the bar, at most ten times a second. */
void report_progress(struct report *r, const struct items *items, const struct source *source);

/* One event has reached its end: a line on standard output (unless --quiet or --json). */
void report_event(struct report *r, const struct item *item);

/* The table or the JSON document. `end` is what the program will return, `why` says why (may be empty). */
void report_summary(struct report *r, const struct items *items, const struct source *source, enum exit_code end,
                    const char *why);

#endif
