/*
 * One journal record as text: {"at":…,"operator":…,…,"event":…,"fields":{…}}, and the check of one that a sibling made. Pure.
 */
#ifndef COFFRE_JOURNAL_RECORD_H
#define COFFRE_JOURNAL_RECORD_H

#include "common/journal/journal.h"

/* Who writes; texts are borrowed. */
struct record_origin {
    const char *operator_id, *node, *daemon, *role;
    uint64_t vault;
};

/*
 * Appends a record of at most JOURNAL_RECORD_MAX bytes, one line without its line feed: values that would not fit are cut, fields whose names do not fit left out. `at`: ms since 1970.
 * False: `out` has no room.
 */
MUST_CHECK bool record_write(struct buf *out, const struct record_origin *origin, int64_t at, const char *event,
                             const struct journal_field *fields, unsigned count, struct err *e);

/*
 * Whether a sibling's record may go into the journal: at most JOURNAL_RECORD_MAX bytes, one line, one JSON object with the members a record has and no other, of this vault and daemon and of that role: a role cannot
 * speak for another. ERR_INPUT says why not.
 */
MUST_CHECK bool record_check(struct slice record, const struct record_origin *expected, struct err *e);

/* The record's time, ms since 1970; 0 when it has none where record_write() puts it. */
int64_t record_time(struct slice record);

#endif
