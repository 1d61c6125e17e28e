/*
 * Application events for the vault's journals (design 7): structured records on RabbitMQ's queue `journal`. Any role writes records to the `journal` role of
 * its daemon, which spools them on disk until the broker has confirmed them. A record says who did what, from where, and why it was refused; never content, PIN or key.
 */
#ifndef COFFRE_JOURNAL_H
#define COFFRE_JOURNAL_H

#include "common/system/role.h"

enum journal_message {
    JOURNAL_RECORD = 1, /* role → journal: JSON, one object */
    JOURNAL_STATE,      /* journal → role: u8 broker up, u8 spool full, text reason; at linking and when it changes */
    JOURNAL_TAKEN,      /* journal → role: u64 how many records of this channel are done with, u64 how many of these, the last, may be lost: the rest is on disk. The role keeps them until then */
};

enum { JOURNAL_RECORD_MAX = 8192, JOURNAL_HELD_MAX = 64 << 20 /* bytes a role keeps until its journal role has them on disk */ };

/* One role's line to the journal role. */
struct journal;

struct journal *journal_open(struct role *self);
/* Waits, at most 5 s, until the journal role has everything. NULL is a no-op. */
void journal_free(struct journal *j);
/* From role_events.linked for kind "journal"; the channel is taken over; what waited is sent. */
void journal_link(struct journal *j, struct channel *c);
/* The channel to poll for reading, -1 while away; and what to do when it is readable (no need to poll for writing). Cheap. */
int journal_fd(const struct journal *j);
void journal_serve(struct journal *j);
/* Whether the broker takes records, as last heard; NULL: it does, else why not. */
const char *journal_trouble(const struct journal *j);
/* Whether the spool had no room when last heard of: what is written now would be lost. */
bool journal_full(const struct journal *j);

struct journal_field {
    const char *name;
    struct slice value; /* text; bytes that are not UTF-8, and zeros, become \\xNN; one too long for the record is cut and ends in "…" */
};
#define JOURNAL_TEXT(name, text) {name, slice_text(text)}

/*
 * Writes a record: {"at":"2026-…Z","operator":"4512","vault":1,"node":"host","daemon":"coffre-ingest","role":"front","event":"session-refused","fields":{…}}. `event` is a stable word listed in PROTOCOL.md.
 * Never blocks and never fails: records wait here until the journal role has them on disk; beyond JOURNAL_HELD_MAX they are counted, and the count is a record of its own ("journal-overflow") afterwards.
 * Returns the record's number: they grow.
 */
uint64_t journal_write(struct journal *j, const char *event, const struct journal_field *fields, unsigned count);

/*
 * For those who keep what they journal until it is on disk. journal_watch() before the first of some records forgets the losses of before; then, once journal_settled() is true, nothing
 * written so far waits any more: of the records since, those numbered below `safe` are on disk, and the others may be lost, and are to be written again.
 */
void journal_watch(struct journal *j);
bool journal_settled(const struct journal *j, uint64_t *safe);

/* The role: `certificate` and `key` name the daemon's own towards RabbitMQ. */
struct journal_duty {
    const char *(*certificate)(const struct settings *s);
    const char *(*key)(const struct settings *s);
};
int journal_role_run(struct role *self, const struct journal_duty *duty);
/* What it needs: the broker, and its spool. */
void journal_role_confine(const struct settings *s, const char *daemon, const struct journal_duty *duty, struct sandbox *box);

#endif
