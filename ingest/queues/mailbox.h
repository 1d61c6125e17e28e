/*
 * One queue of one depositor as its subscribers see it: messages taken from the broker hold many entries (answers) or
 * one (an archive notice); entries go to subscriptions within their credit, come back when they are not accepted, and a message
 * is done with when all its entries are. Knows no broker and no channel. Input: opened packs (ours) and what fronts say.
 * Every step but the end of a subscription takes a time that does not depend on how much is held.
 */
#ifndef COFFRE_MAILBOX_H
#define COFFRE_MAILBOX_H

#include "common/formats/pack.h"
#include "common/values/map.h"
#include "ingest/roles.h"

enum {
    MAILBOX_ENTRIES_MAX = 1 << 20,   /* entries of a message; a delivery's number is its message's and the entry's place */
    MAILBOX_SUBSCRIPTIONS_MAX = 256, /* of one depositor's queue, on all fronts of one daemon */
    MAILBOX_CREDIT_MAX = 1 << 24,    /* of one subscription: what is held is bounded in bytes, by the caller */
};

enum mailbox_entry_state { MAILBOX_WAITING, MAILBOX_OUT, MAILBOX_DONE };

struct mailbox_entry {
    uint32_t at, len; /* of its record, in the message's */
    uint16_t subscription; /* index while out */
    uint8_t state;         /* enum mailbox_entry_state */
    uint8_t redeliveries;
    uint8_t raised; /* by how much since the message came; saturated */
};

struct mailbox_message {
    struct mailbox_message *next, *previous;
    uint64_t ordinal; /* ours, unique in this process, growing */
    /* The caller's, not looked at here: the broker's tag, which of its consumers brought it, how often the queue had delivered it, how
     * many of those are not counted, what it is known by. */
    uint64_t tag, mark;
    uint32_t consumer, deliveries, discount;
    uint32_t count, done;
    uint32_t cursor; /* no entry before it waits */
    size_t size;     /* bytes of memory */
    struct mailbox_entry entries[]; /* `count` of them, then their records */
};

struct mailbox_subscription {
    bool used;
    bool fresh;          /* the caller's: its front was not yet told that it is there */
    uint32_t front;      /* slot */
    uint64_t generation; /* of the slot */
    uint64_t id;         /* the front's name for it */
    uint32_t credit;
    uint32_t out; /* entries it has */
};

struct mailbox {
    struct mailbox_message *first, *last; /* owned, oldest first: by ordinal */
    struct mailbox_message *cursor;       /* no message before it has a waiting entry; NULL: none has */
    struct map by_ordinal;
    size_t held;  /* bytes of memory of all messages */
    size_t count; /* messages */
    struct mailbox_subscription subscriptions[MAILBOX_SUBSCRIPTIONS_MAX];
    unsigned subscription_top; /* none is used at or after it */
    unsigned subscription_count, turn;
};

/* An entry on its way out: its record as stored, and its count. */
struct mailbox_delivery {
    uint64_t number;
    struct slice record;
    uint8_t redeliveries;
};

/* Where an entry goes; false: it cannot be taken now. */
typedef bool mailbox_send_fn(void *ctx, const struct mailbox_subscription *s, const struct mailbox_delivery *delivery);

void mailbox_free(struct mailbox *m);

/*
 * Takes the records of one message, copied and wiped when it is removed. `redeliveries`: by how much the counts in the records are to be
 * raised. `ordinal` must be greater than any before. Returns the message, for the caller's own fields. NULL, ERR_INPUT: the records are malformed.
 */
struct mailbox_message *mailbox_add(struct mailbox *m, uint64_t ordinal, struct slice records, uint32_t redeliveries, struct err *e);
/* The same for a message that is one entry: the whole body. */
struct mailbox_message *mailbox_add_single(struct mailbox *m, uint64_t ordinal, struct slice body, uint32_t redeliveries);

/* The index of a new subscription, below MAILBOX_SUBSCRIPTIONS_MAX; negative: too many. */
int mailbox_subscribe(struct mailbox *m, uint32_t front, uint64_t generation, uint64_t id, uint32_t credit);
/* What it has waits again, counted as redelivered. */
void mailbox_unsubscribe(struct mailbox *m, unsigned subscription);
/* All subscriptions of a front that is gone. */
void mailbox_unsubscribe_front(struct mailbox *m, uint32_t front, uint64_t generation);
/* So many more, or fewer, may be sent; never below none, nor above MAILBOX_CREDIT_MAX. */
void mailbox_credit(struct mailbox *m, unsigned subscription, int32_t change);

/* Hands waiting entries to subscriptions with credit, in turn. True: nothing waits any more and somebody would take more. */
bool mailbox_pump(struct mailbox *m, mailbox_send_fn *send, void *ctx);

/*
 * What became of a delivery; `credit`: one is given back. A delivery that is not out to this subscription (its message was forgotten
 * meanwhile) changes nothing else. Returns the message when all of it is done, for the caller to acknowledge and mailbox_remove().
 */
struct mailbox_message *mailbox_settle(struct mailbox *m, unsigned subscription, uint64_t delivery, enum deliver_outcome outcome,
                                       bool credit);
void mailbox_remove(struct mailbox *m, struct mailbox_message *message);
/* The connection is lost: the broker will deliver everything again. Subscriptions stay, and their credit. */
void mailbox_forget(struct mailbox *m);

/* What has to become of a message that nobody reads any more (no entry is out), so that every count is right when it comes again. */
enum mailbox_fate {
    MAILBOX_UNTOUCHED, /* none of its entries is done or has been handed out: back as it was */
    MAILBOX_RAISED,    /* none is done, each one's count is one higher: back, its deliveries counted */
    MAILBOX_REMAINDER, /* anything else: what mailbox_remainder() writes, as a message of its own */
};
enum mailbox_fate mailbox_fate(const struct mailbox_message *message);
/* Writes the entries that are not done, with their counts, as framed records. */
void mailbox_remainder(const struct mailbox_message *message, struct wire_writer *w);

#endif
