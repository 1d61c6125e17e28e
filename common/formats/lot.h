/*
 * lot.xml, the header of a sealed lot, and genesis.xml, what lot 1 follows; format in
 * common/PROTOCOL.md. Written in exactly one spelling; the readers accept only that spelling. Pure.
 */
#ifndef COFFRE_LOT_H
#define COFFRE_LOT_H

#include "common/values/buf.h"

enum {
    LOT_RECIPIENTS_MAX = 16,
    LOT_TYPE_MAX = 64,     /* bytes of an event type's name */
    LOT_TYPES_MAX = 4096,  /* different types in one lot */
    LOT_XML_MAX = 1 << 20, /* bytes of lot.xml */
    GENESIS_XML_MAX = 4096,
};

enum lot_reason { LOT_AGE, LOT_COUNT, LOT_BYTES, LOT_DEMAND, LOT_SHUTDOWN, LOT_IDLE };

/* "age", "nombre", "taille", "demande", "arret", "inactivite" */
const char *lot_reason_text(enum lot_reason reason);
MUST_CHECK bool lot_reason_read(struct slice text, enum lot_reason *reason);

struct lot_type {
    char name[LOT_TYPE_MAX + 1]; /* root element: ^[A-Za-z_][A-Za-z0-9_.-]{0,63}$ */
    uint64_t count;
};

struct lot {
    char operator_id[5];      /* IDOper: four digits */
    uint32_t vault;           /* IDCoffre, 1..999 */
    uint64_t number;          /* IDLot, from 1 */
    uint64_t first, last;     /* serials; last = first - 1 in an empty lot */
    uint64_t count;           /* NbEvt */
    int64_t opened_ms, closed_ms;
    enum lot_reason reason;
    uint64_t previous_lot;    /* Precedent/IDLot; 0 in lot 1, which has genesis instead */
    uint8_t previous_signatures[32]; /* SHA-256 of the previous signatures0.xml */
    uint8_t previous_value[32];      /* SHA-256 of its decoded SignatureValue */
    uint8_t genesis[32];      /* lot 1: SHA-256 of genesis.xml */
    unsigned recipient_count;
    uint8_t recipients[LOT_RECIPIENTS_MAX][32]; /* SHA-256 of DER certificates */
    struct lot_type *types;   /* sorted by name, bytewise; owned, may be NULL when type_count is 0 */
    size_t type_count;
    uint8_t root[32];         /* Racine */
};

/*
 * The one rule for an event type's name: ^[A-Za-z_][A-Za-z0-9_.-]{0,63}$. The ledger stores no other, or its lot could never be
 * written.
 */
bool lot_type_is_valid(struct slice name);

void lot_free(struct lot *l); /* the types; safe on a zeroed struct */

/* Adds `count` events of `type`, keeping the order. ERR_INPUT on a bad name or too many types. */
MUST_CHECK bool lot_add_type(struct lot *l, struct slice type, uint64_t count, struct err *e);

/*
 * What a lot says must agree with itself: last = first + count - 1, the types sum to count, opened <= closed,
 * number and previous link, at least one recipient. ERR_INPUT naming the field.
 */
MUST_CHECK bool lot_check(const struct lot *l, struct err *e);

/* What the next lot needs to know of a sealed one; also what the sealer remembers outside the database. */
struct lot_link {
    uint64_t number, last;    /* 0, 0 before lot 1 */
    int64_t closed_ms;
    uint8_t signatures[32], value[32]; /* as lot.previous_*; before lot 1 `signatures` is SHA-256 of genesis.xml */
};

/* `next` follows `previous`: number, first serial, both digests, times not going back. ERR_DOUBT naming what does not. */
MUST_CHECK bool lot_check_follows(const struct lot *next, const struct lot_link *previous, struct err *e);

/* Appends lot.xml. Checks nothing but that it fits: call lot_check() before. */
MUST_CHECK bool lot_write(const struct lot *l, struct buf *out, struct err *e);
/* Reads exactly what lot_write() writes. lot_free() after success; nothing to free after failure. */
MUST_CHECK bool lot_read(struct slice xml, struct lot *l, struct err *e);

struct genesis {
    char operator_id[5];
    uint32_t vault;
    int64_t date_ms;
    uint8_t seal[32], tsa[32]; /* SHA-256 of the certificates' DER */
    uint8_t random[32];
};

MUST_CHECK bool genesis_write(const struct genesis *g, struct buf *out, struct err *e);
MUST_CHECK bool genesis_read(struct slice xml, struct genesis *g, struct err *e);

#endif
