/*
 * How many journal records found no room and were not yet told of: a number that outlives the process, in a file whose room is taken beforehand, so that a full disk
 * takes it too (where a disk writes over what is there: not so on one that copies on write). The file is this role's own; whatever a crash leaves of it is at worst the number before.
 */
#ifndef COFFRE_JOURNAL_TALLY_H
#define COFFRE_JOURNAL_TALLY_H

#include "common/values/err.h"
#include "common/values/slice.h"

enum { TALLY_SLOT = 512, TALLY_SIZE = 2 * TALLY_SLOT };

/* Losses since the last record that told of some: one episode. */
struct tally_count {
    int64_t since; /* ms since 1970 of the first: what names the episode; 0: none */
    uint64_t sure; /* records lost, and their writers told so */
    uint64_t most; /* these, and those whose writers might not have been told: they may have come again */
};

struct tally {
    int fd;            /* -1: there is no file */
    uint64_t sequence; /* of what was written last */
};

/* Opens the file (made when it is not there), and reads what it says. ERR_RETRY: the disk refuses. tally_close() in any case. */
MUST_CHECK bool tally_open(struct tally *t, const char *path, struct tally_count *count, struct err *e);
void tally_close(struct tally *t);
/* Puts a count on disk for good (fdatasync). ERR_RETRY. */
MUST_CHECK bool tally_write(struct tally *t, const struct tally_count *count, struct err *e);

/* What the file's bytes say: the later of two slots that is whole, its sequence too; nothing at all when none is. Pure. */
struct tally_count tally_read(struct slice file, uint64_t *sequence);

#endif
