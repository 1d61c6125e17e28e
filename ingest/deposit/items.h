/*
 * What is being deposited and how far each event got, found again by ClientId. Events stay
 * listed until the end (for the report); their bytes only as long as they may be needed again.
 */
#ifndef COFFRE_DEPOSIT_ITEMS_H
#define COFFRE_DEPOSIT_ITEMS_H

#include "common/values/buf.h"

enum item_state {
    ITEM_SENT,      /* or about to be */
    ITEM_DEPOSITED, /* RECEIPT: the vault has it */
    ITEM_ANSWERED,  /* CFJL_OK or CFJL_DUPLICATE_EVENT: numbered */
    ITEM_ARCHIVED,  /* its lot is sealed */
    ITEM_INVALID,   /* CFJL_INVALID_MESSAGE */
    ITEM_STATES,
};

struct item {
    char *client_id;       /* owned, as are the texts below */
    char *place;           /* file:line, for messages */
    char *digest;          /* hex, as sent */
    char *answer_digest;   /* CFJLDigest, or NULL */
    char *reason;          /* CFJLReason, or NULL */
    uint8_t *body;         /* the bytes sent; NULL when no longer needed */
    size_t body_len;
    uint64_t number;       /* rank among all, from 1: the receipt's name */
    uint64_t transaction;  /* from 1; 0: none */
    uint64_t timestamp;    /* ms since 1970, of the first sending */
    uint64_t serial, lot;  /* from the answer */
    enum item_state state;
    bool duplicate;        /* answered CFJL_DUPLICATE_EVENT */
    bool mismatch;         /* the vault's digest is not that of the event with its serial */
    struct item *previous, *next; /* in the queue of what has no receipt yet, oldest first */
};

struct items {
    struct item **all;              /* owned, by number - 1 */
    size_t count;
    struct item **slots;            /* owned: open addressing by ClientId */
    size_t slot_count;              /* power of two */
    struct item *oldest, *newest;   /* sent and without receipt */
    size_t in_flight;               /* of those */
    size_t body_bytes;              /* held in all */
    size_t in_state[ITEM_STATES];
    size_t duplicates, mismatches;
};

void items_free(struct items *items);

/* NULL when there is none. */
struct item *items_find(const struct items *items, struct slice client_id);

/* Lists a new event in state SENT, at the end of the queue. The ClientId must be new. Copies everything. */
struct item *items_add(struct items *items, const char *client_id, const char *place, const char *digest,
                       struct slice body);

/* The one place where an event's state changes; leaving SENT takes it out of the queue. */
void items_move(struct items *items, struct item *item, enum item_state state);

void items_drop_body(struct items *items, struct item *item);

const char *items_state_text(const struct item *item);

#endif
