/*
 * Packs: what travels through RabbitMQ between ingest's processes, encrypted under a key that only ingest holds
 * (common/PROTOCOL.md, "Pack"), and the records inside: deposits and answers. Also the sealer's archive notice.
 * Pure: bytes in, bytes out; packs and records read are hostile until they have been opened and decoded here.
 */
#ifndef COFFRE_PACK_H
#define COFFRE_PACK_H

#include "common/values/wire.h"

enum {
    PACK_KEY_SIZE = 32,   /* bytes of a pack key */
    PACK_KEY_ID_SIZE = 8, /* first bytes of its SHA-256 */
    PACK_SALT_SIZE = 16,
    PACK_HEADER_SIZE = 36,
    PACK_TAG_SIZE = 16,
    PACK_OVERHEAD = PACK_HEADER_SIZE + PACK_TAG_SIZE, /* a pack is at most that much longer than its records */
    PACK_KEYS_MAX = 16,
    PACK_REPLY_KEY_SIZE = 33, /* 32 hexadecimal digits and a NUL */
    PACK_DEPOSIT_HEAD = 35, /* least size of a framed deposit record: all its texts and its body empty (pack_deposit_size) */
};

#define PACK_CONTENT_TYPE "application/vnd.coffre.pack"
#define PACK_ARCHIVE_CONTENT_TYPE "application/vnd.coffre.archive"

enum pack_kind { PACK_DEPOSITS = 1, PACK_ANSWERS = 2 };

/* Sealing. */
struct pack_writer;

/*
 * A writer with a salt of its own (fresh random; renewed before its counter wraps). `key` is PACK_KEY_SIZE bytes, copied
 * into OpenSSL's secure heap (locked memory where the process has set one up). `vault` is "<operator>/<N>". NULL and ERR_FATAL when OpenSSL
 * fails, ERR_INPUT on a key of another size.
 */
struct pack_writer *pack_writer_new(struct slice key, const char *vault, struct err *e);
void pack_writer_free(struct pack_writer *w);

/*
 * Appends a whole pack with the framed records `plain` to `out`, compressed (LZ4 block) when that makes it shorter: never longer than
 * plain.len + PACK_OVERHEAD. Nothing is appended on failure: ERR_INPUT when `out` has no such room, ERR_FATAL when OpenSSL fails.
 */
MUST_CHECK bool pack_seal(struct pack_writer *w, enum pack_kind kind, struct slice plain, struct buf *out, struct err *e);

/* Opening. Several keys, so that they can be changed while packs wait in queues. */
struct pack_reader;

/* Keys are PACK_KEY_SIZE bytes each, 1 to PACK_KEYS_MAX of them; errors as pack_writer_new(). */
struct pack_reader *pack_reader_new(const struct slice *keys, unsigned count, const char *vault, struct err *e);
void pack_reader_free(struct pack_reader *r);

/*
 * Appends the plaintext of `pack` (framed records) to `plain`: packs can be opened one after the other into one list of
 * records. Nothing is appended on failure (and what was written is wiped): ERR_INPUT malformed, of another kind, or
 * altered (tag); ERR_DENIED sealed under a key not held here; ERR_RETRY when `plain` has no room left.
 */
MUST_CHECK bool pack_open(struct pack_reader *r, struct slice pack, enum pack_kind kind, struct buf *plain,
                          struct err *e);

/* A deposit as the front received it. All slices borrow from the bytes decoded. */
struct pack_deposit {
    uint32_t depositor; /* role.id */
    uint64_t received;  /* by the front, ms since 1970 */
    uint64_t timestamp; /* header `Timestamp`, ms since 1970; 0 when absent */
    bool has_timestamp;
    bool bytes_message;                          /* a BytesMessage, not a TextMessage */
    struct slice client_id, digest, digest_algo; /* headers, as received; empty when absent */
    struct slice body;                           /* the event's XML */
    bool asks_reply;                             /* answer in a temporary queue as well; else the next two are empty */
    struct slice reply;                          /* that queue's name, as its owner gave it */
    struct slice correlation;                    /* to be given back with the answer; may be empty */
};

enum pack_status { PACK_OK = 0, PACK_DUPLICATE = 1, PACK_INVALID = 2 };

/* What the ledger answers about a deposit. */
struct pack_answer {
    enum pack_status status;
    uint8_t redeliveries; /* written 0 by the ledger, filled in by deliver */
    uint64_t serial;      /* 0 on PACK_INVALID */
    uint64_t lot;         /* 0 on PACK_INVALID */
    struct slice client_id;
    struct slice digest, digest_algo; /* of the event with its serial */
    struct slice reason;              /* empty but on PACK_INVALID */
    bool has_correlation;             /* a reply to a temporary queue */
    struct slice correlation;         /* of the deposit; empty without has_correlation */
};

/* A sealed lot, as the sealer tells depositors. */
struct pack_archive {
    uint64_t lot;
    uint64_t date; /* ms since 1970 */
    uint64_t first_serial, last_serial;
};

/* "CFJL_OK" and the like; NULL for a value that is none. */
const char *pack_status_name(enum pack_status status);

/*
 * Takes the next framed record off `records`. False at the end: then wire_end() tells whether it was a clean one.
 */
MUST_CHECK bool pack_next(struct wire_reader *records, struct slice *record);

/* Decodes one record (without its frame). ERR_INPUT on a short one, trailing bytes, unknown flags or status. */
MUST_CHECK bool pack_get_deposit(struct slice record, struct pack_deposit *d, struct err *e);
MUST_CHECK bool pack_get_answer(struct slice record, struct pack_answer *a, struct err *e);

/* Bytes that pack_put_deposit() appends for this deposit, its frame's length included. */
size_t pack_deposit_size(const struct pack_deposit *d);

/* Appends one framed record; an overflow is found by wire_ok(). Reply and correlation are written only where they are asked for. */
void pack_put_deposit(struct wire_writer *w, const struct pack_deposit *d);
void pack_put_answer(struct wire_writer *w, const struct pack_answer *a);

/* As pack_put_deposit, all but the bytes of d->body, which the caller puts right behind (channel_send2: no copy). */
void pack_put_deposit_head(struct wire_writer *w, const struct pack_deposit *d);

/* An answer record's bytes with another count of redeliveries: the byte to set, from the record's beginning. */
enum { PACK_ANSWER_REDELIVERIES = 1 };

/*
 * What a temporary queue is called towards the broker (PROTOCOL.md, "Pack"): the same in whoever publishes to it and whoever reads it,
 * of no two depositors. ERR_FATAL when OpenSSL fails.
 */
MUST_CHECK bool pack_reply_key(uint32_t depositor, struct slice name, char key[PACK_REPLY_KEY_SIZE], struct err *e);

/* The archive notice: a whole AMQP body, in clear. */
void pack_put_archive(struct wire_writer *w, const struct pack_archive *a);
MUST_CHECK bool pack_get_archive(struct slice body, struct pack_archive *a, struct err *e);

#endif
