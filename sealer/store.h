/*
 * The sealer's side of PostgreSQL: who is active, when a lot is due, what is in it, and its seal. Every transaction that writes
 * is fenced: it fails with ERR_FENCED once another sealer has raised head.sealer_epoch.
 */
#ifndef COFFRE_STORE_H
#define COFFRE_STORE_H

#include "common/formats/lot.h"
#include "common/system/database.h"

struct store {
    struct database *db; /* NULL: not connected; owned */
    int64_t epoch;       /* ours while active, 0 in standby */
    bool able;           /* as the others have been told */
};

/* As coffre_sealer. Errors of database_open(). */
MUST_CHECK bool store_open(struct store *s, const struct settings *settings, struct err *e);
void store_close(struct store *s);

/* Takes the advisory lock when it is free and raises the epoch: s->epoch is not 0 afterwards. */
MUST_CHECK bool store_activate(struct store *s, struct err *e);

/* The session that holds the lock: *pid is 0 when none does; *silent_ms since it last asked anything. */
MUST_CHECK bool store_find_active(struct store *s, int *pid, int64_t *silent_ms, struct err *e);
/* Ends that session, so that its lock is free. */
MUST_CHECK bool store_end_session(struct store *s, int pid, struct err *e);

/* Tells the other sealers, for as long as this session lives, whether this one can sign. */
MUST_CHECK bool store_tell_able(struct store *s, bool able, struct err *e);
/* Whether another says so, and has not been silent for `silent_ms`. */
MUST_CHECK bool store_find_able(struct store *s, uint64_t silent_ms, bool *found, struct err *e);

/* Says to standbys that this sealer lives. */
MUST_CHECK bool store_ping(struct store *s, struct err *e);

/* Where the open lot stands. */
struct store_open_lot {
    uint64_t lot, events, bytes;
    int64_t age_ms;    /* since its first event; -1 when empty */
    int64_t opened_ms; /* since it was opened */
    bool asked;        /* someone asked to close it */
    uint64_t unsealed; /* closed lots without a seal */
};

MUST_CHECK bool store_read_open_lot(struct store *s, struct store_open_lot *o, struct err *e);

/* Closes lot `number` if it is still the open one; *closed says whether. Locks head for the time of the transaction. */
MUST_CHECK bool store_close_lot(struct store *s, uint64_t number, enum lot_reason reason, bool *closed, struct err *e);

/* The first closed lot without a seal: number, serials, times, reason. *found false: none. */
MUST_CHECK bool store_next_lot(struct store *s, struct lot *l, bool *found, struct err *e);

/* The seal of lot `number`: signatures0.xml into `signatures`, and its genTime. ERR_DOUBT when it is not sealed. */
MUST_CHECK bool store_read_signatures(struct store *s, uint64_t number, struct buf *signatures, int64_t *sealed_ms, struct err *e);

/* SHA-256 of genesis.xml. ERR_DOUBT when there is none. */
MUST_CHECK bool store_read_genesis(struct store *s, uint8_t digest[32], struct err *e);

/* Called for each key file, then for each event, in order; false ends the reading. */
struct store_reader {
    bool (*key)(void *ctx, uint32_t ordinal, const uint8_t sha256[32], struct err *e);
    bool (*event)(void *ctx, uint64_t serial, uint64_t lot, const uint8_t sha256[32], struct slice type, struct err *e);
    void *ctx;
};

MUST_CHECK bool store_read_lot(struct store *s, const struct lot *l, const struct store_reader *reader, struct err *e);

/* What sealing adds to a lot's row. */
struct store_seal {
    uint64_t lot;
    int64_t sealed_ms;
    struct slice container, signatures;
    uint8_t container_sha256[32], value_digest[32];
    uint32_t container_crc32;
};

/* Writes the seal and queues the archive notice, in one fenced transaction. */
MUST_CHECK bool store_write_seal(struct store *s, const struct store_seal *seal, struct err *e);

#endif
