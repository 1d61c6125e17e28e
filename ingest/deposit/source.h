/*
 * The events to deposit, one after the other, out of files, directories and standard input.
 * Files are read in small pieces; nothing is kept but the event at hand.
 */
#ifndef COFFRE_DEPOSIT_SOURCE_H
#define COFFRE_DEPOSIT_SOURCE_H

#include "ingest/deposit/split.h"

struct source_input {
    char *path; /* to open; "-" is standard input */
    char *name; /* for ClientId: relative to what was named on the command line */
};

struct source {
    struct source_input *inputs; /* owned, sorted within each directory */
    size_t count, at;            /* inputs, and the one being read */
    int fd;                      /* of it, or -1 */
    bool last;                   /* fd has been read to its end */
    struct split split;
    size_t event_max;            /* bytes */
    uint64_t bytes_total;        /* of all files; 0 when standard input is among them */
    uint64_t bytes_read;
    unsigned skipped;            /* files in directories that do not end in .xml */
    bool named_declaration;      /* the notice about a removed XML declaration was given for this input */
};

enum source_result {
    SOURCE_EVENT,
    SOURCE_WAIT,    /* standard input has nothing yet: poll it */
    SOURCE_PROBLEM, /* one input is wrong, from here to its end: see the error; go on */
    SOURCE_END,
};

/* Lists the inputs. ERR_INPUT when one does not exist or a directory cannot be read. */
MUST_CHECK bool source_open(struct source *s, char *const *inputs, int count, size_t event_max, struct err *e);
void source_close(struct source *s);

/* The next event; never blocks on a pipe. `*from` is its input until the next call; errors begin with its path. */
enum source_result source_next(struct source *s, struct split_event *event, const struct source_input **from,
                               struct err *e);

#endif
