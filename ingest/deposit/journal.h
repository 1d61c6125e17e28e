/*
 * The state file: what the vault has acknowledged, so that a run that was interrupted sends only
 * the rest. Text, one fact a line, only ever appended to; an unfinished last line is ignored.
 * Losing it costs nothing but duplicates, which the vault recognises.
 *
 *   coffre-deposit state 1 vault <N>
 *   D <ClientId>                              receipt
 *   O <serial> <lot> <CFJLDigest> <ClientId>  numbered (U: it was there before)
 *   A <lot>                                   this lot, and those before it, are archived
 */
#ifndef COFFRE_DEPOSIT_JOURNAL_H
#define COFFRE_DEPOSIT_JOURNAL_H

#include "ingest/deposit/items.h"

struct journal {
    const char *path;     /* borrowed; NULL: no state file, nothing is remembered */
    int fd;
    struct buf pending;   /* lines not yet written */
    struct items known;   /* what earlier runs reached: DEPOSITED or ANSWERED, no bodies */
    uint64_t archived;    /* highest lot known to be archived */
};

/* Reads what is there and makes ready to append. The file is locked: one run at a time. */
MUST_CHECK bool journal_open(struct journal *j, const char *path, const char *vault, struct err *e);

void journal_deposited(struct journal *j, const struct item *item);
void journal_answered(struct journal *j, const struct item *item);
void journal_archived(struct journal *j, uint64_t lot);

/* Hands what was noted to the system. To be called before acknowledging it to the vault. */
MUST_CHECK bool journal_write(struct journal *j, struct err *e);

/* Writes, synchronises, closes. */
MUST_CHECK bool journal_close(struct journal *j, struct err *e);

#endif
