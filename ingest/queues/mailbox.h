/*
 * One queue of one depositor as its subscribers see it: messages taken from the broker hold many entries (answers) or
 * one (an archive notice); entries go to subscriptions within their credit, come back when they are not accepted, and a message
 * is done with when all its entries are. Knows no broker and no channel. Input: opened packs (ours) and what fronts say.
 */
#ifndef COFFRE_MAILBOX_H
#define COFFRE_MAILBOX_H

#include "common/formats/pack.h"

enum {
    MAILBOX_ENTRIES_MAX = 1 << 20, /* entries of a message; a delivery's number is its message's and the entry's place */
    MAILBOX_SUBSCRIPTIONS_MAX = 256,   /* of one depositor on all fronts of one daemon */
};

enum mailbox_entry_state { MAILBOX_WAITING, MAILBOX_OUT, MAILBOX_DONE };

struct mailbox_entry {
    enum mailbox_entry_state state;
    uint8_t redeliveries;
    uint32_t subscription; /* index while out */
    struct slice record;   /* borrowed from the message */
};

struct mailbox_message {
    uint64_t tag;     /* the broker's */
    uint64_t ordinal; /* ours, unique in this process */
    struct buf plain; /* the records */
    struct mailbox_entry *entries; /* owned */
    unsigned count, done;
    unsigned cursor;  /* no entry before it waits */
    unsigned consumer; /* of the broker that brought it; the caller's */
    struct mailbox_message *next;
};

struct mailbox_subscription {
    bool used;
    uint32_t front;      /* slot */
    uint64_t generation; /* of the slot */
    uint64_t id;         /* the front's name for it */
    uint32_t credit, credit_max;
};

struct mailbox {
    struct mailbox_message *first, *last; /* owned, oldest first */
    size_t held;                          /* bytes of all records */
    struct mailbox_subscription subscriptions[MAILBOX_SUBSCRIPTIONS_MAX];
    unsigned subscription_count, turn;
};

/* Where an entry goes; false: it cannot be taken now. */
typedef bool mailbox_send_fn(void *ctx, const struct mailbox_subscription *s, uint64_t delivery,
                             const struct mailbox_entry *entry);

void mailbox_free(struct mailbox *m);

/*
 * Takes the records of one message over (`plain` is emptied). `deliveries`: how often the broker delivered it before. `ordinal` must be new.
 * ERR_INPUT: the records are malformed.
 */
MUST_CHECK bool mailbox_add(struct mailbox *m, uint64_t tag, uint64_t ordinal, struct buf *plain, uint32_t deliveries,
                            struct err *e);
/* The same for a message that is one entry: the whole body. */
MUST_CHECK bool mailbox_add_single(struct mailbox *m, uint64_t tag, uint64_t ordinal, struct slice body, uint32_t deliveries,
                                   struct err *e);

/* True when no further subscription can be taken. */
bool mailbox_is_full(const struct mailbox *m);
/* False: too many subscriptions, or this one is known already. */
MUST_CHECK bool mailbox_subscribe(struct mailbox *m, uint32_t front, uint64_t generation, uint64_t id, uint32_t credit);
/* Its entries wait again, counted as redelivered. False: not known here. */
bool mailbox_unsubscribe(struct mailbox *m, uint32_t front, uint64_t generation, uint64_t id);
/* All subscriptions of a front that is gone. */
void mailbox_unsubscribe_front(struct mailbox *m, uint32_t front, uint64_t generation);

/* Hands waiting entries to subscriptions with credit, in turn. True: nothing waits any more and somebody would take more. */
bool mailbox_pump(struct mailbox *m, mailbox_send_fn *send, void *ctx);

/*
 * An entry is done with, or comes back (`accepted` false). An entry that is not out to this subscription (the message was forgotten
 * meanwhile) only gives its credit back. Returns the message when all of it is done, for the caller to acknowledge and mailbox_remove().
 */
struct mailbox_message *mailbox_settle(struct mailbox *m, uint32_t front, uint64_t generation, uint64_t id,
                                       uint64_t delivery, bool accepted);
void mailbox_remove(struct mailbox *m, struct mailbox_message *message);
/* The connection is lost: the broker will deliver everything again. Subscriptions stay. */
void mailbox_forget(struct mailbox *m);

/* Writes the entries that are not done, with their counts, as framed records. */
void mailbox_remainder(const struct mailbox_message *message, struct wire_writer *w);

#endif
