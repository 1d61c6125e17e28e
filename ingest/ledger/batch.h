/*
 * Rules of numbering: what identifies a deposit, which deposits are the same, what an open lot still takes. Pure; the
 * ledger's roles around it do the talking. Deposits and verdicts are borrowed from the ledger's buffers.
 */
#ifndef COFFRE_INGEST_BATCH_H
#define COFFRE_INGEST_BATCH_H

#include "common/formats/pack.h"
#include "ingest/ledger/digest.h"
#include "ingest/ledger/event.h"

enum { BATCH_ID_SIZE = 16, BATCH_SERIAL_MAX = 20 /* decimal digits of a serial */ };

enum batch_kind {
    BATCH_VALID,     /* judged, not yet compared with what is stored */
    BATCH_NEW,       /* gets a number */
    BATCH_DUPLICATE, /* has one already: `serial`, `lot` */
    BATCH_INVALID,   /* quarantine */
};

/* One deposit on its way. */
struct batch_entry {
    struct pack_deposit d;
    enum batch_kind kind;
    uint8_t id[BATCH_ID_SIZE];     /* what makes this deposit one */
    uint32_t placeholder;          /* offset in the body, of a valid one */
    char type[EVENT_TYPE_MAX + 1]; /* root element's name */
    char *reason;                  /* of an invalid one; owned, NULL otherwise */
    uint64_t serial, lot;
    uint8_t digest[DIGEST_SIZE_MAX]; /* of the event with its serial */
    size_t digest_len;
    bool answered; /* its answer is in a pack */
};

/* ---- identity
 * -------------------------------------------------------------------------------------------------------------- */
struct batch_identity; /* the deduplication key, ready for use */

/* `key` is 32 bytes. NULL and ERR_FATAL when OpenSSL fails. */
struct batch_identity *batch_identity_new(struct slice key, struct err *e);
void batch_identity_free(struct batch_identity *k);

/*
 * First 16 bytes of HMAC-SHA-256(key, 1 ‖ u32 depositor ‖ text ClientId ‖ text Digest in lower case): the same for a
 * deposit sent again.
 */
MUST_CHECK bool batch_identify(struct batch_identity *k, const struct pack_deposit *d, uint8_t *id, struct err *e);

/*
 * Of an invalid deposit: HMAC-SHA-256(key, 2 ‖ the same ‖ bytes body). Every distinct one is kept, none twice, and none
 * hides a valid one.
 */
MUST_CHECK bool batch_identify_invalid(struct batch_identity *k, const struct pack_deposit *d, uint8_t *id,
                                       struct err *e);

/* What tells one key from another, and tells nothing of it: HMAC-SHA-256(key, 0). */
enum { BATCH_KEY_DIGEST_SIZE = 32 };
MUST_CHECK bool batch_identity_digest(struct batch_identity *k, uint8_t digest[BATCH_KEY_DIGEST_SIZE], struct err *e);

/* ---- finding the same deposit
 * ------------------------------------------------------------------------------------------------ */
/* Identities of one batch's new entries. Zeroed: empty. */
struct batch_table {
    uint32_t *places; /* owned; index + 1 of an entry, 0: free */
    size_t size;      /* a power of two, 0 before the first use */
};

/* Empties it and makes room for `count` entries. */
void batch_table_reset(struct batch_table *t, size_t count);
void batch_table_free(struct batch_table *t);
/* The entry of that identity, or NULL. */
const struct batch_entry *batch_table_find(const struct batch_table *t, const struct batch_entry *entries,
                                           const uint8_t *id);
/* Adds entries[index]; it must not be there yet. */
void batch_table_add(struct batch_table *t, const struct batch_entry *entries, size_t index);

/* ---- numbers and lots
 * ----------------------------------------------------------------------------------------------------------- */
/* Where the sequence stands, as in the table `head`. */
struct batch_head {
    uint64_t next_serial;
    uint64_t lot;        /* the open lot */
    uint64_t lot_events; /* in it */
    uint64_t lot_bytes;
};

struct batch_limits {
    uint64_t count, bytes; /* lot.count, lot.bytes */
};

enum batch_room { BATCH_FITS, BATCH_FULL_COUNT, BATCH_FULL_BYTES };

/* Whether the open lot takes one more event of `size` encrypted bytes. A lot takes at least one event, however large.
 */
enum batch_room batch_room(const struct batch_head *h, const struct batch_limits *l, uint64_t size);

/* Counts the event in and returns its serial. */
uint64_t batch_take(struct batch_head *h, uint64_t size);

/* The open lot is closed: the next one is open and empty. */
void batch_next_lot(struct batch_head *h);

/* lot.reason: "nombre" or "taille"; NULL for BATCH_FITS. */
const char *batch_reason(enum batch_room room);

/* The body in three parts, with the serial instead of the placeholder; `digits` keeps the serial's text. False: it is
 * not at its place. */
MUST_CHECK bool batch_number(const struct batch_entry *entry, char digits[BATCH_SERIAL_MAX + 1], struct slice parts[3],
                             struct err *e);

#endif
