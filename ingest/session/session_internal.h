/*
 * What protocols build on: the state every session has, deposits not yet confirmed and transactions (deposits.c), deliveries not yet
 * acknowledged (deliveries.c). Included by ingest/session, ingest/stomp and ingest/openwire only.
 */
#ifndef COFFRE_SESSION_INTERNAL_H
#define COFFRE_SESSION_INTERNAL_H

#include "ingest/session/session.h"

enum { LABEL_INLINE = 40 };

/* A copy of a few bytes; most are short. */
struct label {
    size_t len;
    union {
        char near[LABEL_INLINE];
        char *far; /* owned, when len > LABEL_INLINE */
    } at;
};

void label_set(struct label *l, struct slice text);
struct slice label_slice(const struct label *l); /* borrowed */
void label_free(struct label *l);

/* An open transaction, or one whose commit waits for its confirmation. */
struct transaction {
    struct label id;
    struct buf records; /* framed deposit records, in order */
    uint64_t count;
    bool holds;         /* deliveries were acknowledged in it */
    bool failed;        /* something in it was refused: it can only be rolled back */
};

/* A deposit or commit that RabbitMQ has not confirmed yet; in the order of their tickets. */
struct pending {
    uint64_t ticket;
    struct transaction *committed; /* owned; its acknowledgements are applied when confirmed; NULL for a bare deposit */
    bool done, has_due;
    struct label due; /* what the peer is owed when it is settled, in the protocol's own notation */
};

struct pending_ring {
    struct pending *at; /* owned; capacity entries, a power of two */
    size_t first, count, capacity;
};

/* Sent to the peer and not yet acknowledged. */
struct delivery {
    uint64_t n;        /* grows along the subscription: what the peer acknowledges by */
    uint64_t delivery; /* deliver's name for it */
    uint64_t mark;     /* protocol's own */
    const struct transaction *held; /* acknowledged in this transaction, which is not yet committed */
    uint8_t outcome;   /* … with this: enum session_outcome */
    bool credited;     /* its credit was given back already */
};

/* One queue's deliveries to this session. A protocol's own subscription has this first. */
struct subscription {
    uint64_t key; /* ops->subscribe: never used twice */
    enum session_queue queue;
    struct label name;   /* of a temporary queue */
    uint32_t credit;     /* deliveries unacknowledged at once, those granted apart; more are not taken */
    uint32_t starved;    /* given back because the peer does not read; taken again when it does */
    size_t granted;      /* of those below, the oldest: their credit was given back already */
    struct delivery *at; /* owned; sorted by n */
    size_t first, count, capacity;
};

struct session {
    const struct session_protocol *protocol;
    const struct session_rules *rules; /* borrowed, like ops, ctx and out */
    const struct session_ops *ops;
    void *ctx;
    struct buf *out;
    uint32_t depositor;
    enum session_end refusal; /* SESSION_OPEN: may deposit */
    char *refusal_text;       /* owned */
    char *name;               /* owned */
    enum session_end end;
    char *end_reason; /* owned */
    bool connected;   /* opening frame accepted */
    bool patient;     /* … it need not come soon: who is there is known, and heart-beats come */
    bool drained;     /* by the daemon's wish */
    bool leaving;     /* by the peer's */
    bool blocked;     /* the last input ended before a deposit that must wait */
    uint64_t began, heard, sent;        /* times, ms */
    uint64_t partial_since;             /* when the frame begun began; 0: none */
    uint64_t hears_every, sends_every;  /* heart-beats agreed, ms; 0: none */
    uint64_t written;                   /* of all output, so far */
    struct pending_ring pending;
    struct transaction **transactions;  /* owned */
    unsigned transaction_count;
    struct subscription **subscriptions; /* owned */
    unsigned subscription_count;
    struct session_counts counts;
};

/* What a protocol is. Functions that may be NULL say so. */
struct session_protocol {
    const char *name;
    size_t size; /* of its own session, which has struct session first */
    void (*open)(struct session *s);  /* the rest of it; zeroed */
    void (*close)(struct session *s); /* frees what it added */
    const char *(*text)(const struct session *s);
    /* session_input(): whole frames while session_listens(). */
    size_t (*input)(struct session *s, struct slice in, struct session_time t);
    /* A deposit or commit is settled; what was due is in `p`. Refused: not stored, or not known to be. */
    void (*confirmed)(struct session *s, const struct pending *p);
    void (*refused)(struct session *s, const struct pending *p, const char *reason);
    void (*stalled)(struct session *s, const char *reason);
    /* The session is about to end so: last words. */
    void (*fail)(struct session *s, enum session_end end, const char *text);
    /* Leaving, and nothing is pending any more: the last answer. May be NULL. */
    void (*farewell)(struct session *s);
    void (*beat)(struct session *s);
    uint64_t (*silence)(const struct session *s);      /* ms without a byte that are too many; 0: any time is fine */
    void (*tick)(struct session *s, struct session_time t); /* may be NULL */
    void (*trim)(struct session *s);                   /* may be NULL */
    void (*written)(struct session *s);                /* may be NULL */
    void (*unpended)(struct session *s);               /* nothing is pending any more. May be NULL */
    void (*answer)(struct session *s, struct subscription *sub, uint64_t delivery, const struct pack_answer *a, struct session_time t);
    void (*archive)(struct session *s, struct subscription *sub, uint64_t delivery, unsigned redeliveries,
                    const struct pack_archive *a, struct session_time t);
    void (*subscribed)(struct session *s, struct subscription *sub);                         /* may be NULL */
    void (*not_subscribed)(struct session *s, struct subscription *sub, const char *reason);
    /* Its deliveries are forgotten and it has a new key: everything comes again. `sub` NULL: after all of them. May be NULL. */
    void (*resubscribed)(struct session *s, struct subscription *sub);
    void (*free_subscription)(struct subscription *sub);
};

/* Ends after which the same client, with the same certificate, may be served again by and by … */
static inline bool session_end_passes(enum session_end end)
{
    return end == SESSION_UNAVAILABLE || end == SESSION_UNVERIFIED;
}

/* … and those because of who it is. */
static inline bool session_end_is_security(enum session_end end)
{
    return end == SESSION_DENIED || end == SESSION_REVOKED || end == SESSION_CERTIFICATE;
}

/* ---- session.c --------------------------------------------------------------------------- */
/* Ends it; no word to the peer. Its subscriptions end. */
void session_end_with(struct session *s, enum session_end end, const char *reason);
/* As session_fail(), formatted; returns false so that it can end a chain. */
bool session_fail_with(struct session *s, enum session_end end, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* True while frames are taken. */
bool session_listens(const struct session *s);
/* What is left of the input is not a whole frame (`left` bytes of it; `progress`: since the last call frames were taken). */
void session_partial(struct session *s, size_t left, bool progress, struct session_time t);
/* Ends after a goodbye or a drain once nothing is pending. */
void session_finish_if_done(struct session *s);

/* ---- deposits.c -------------------------------------------------------------------------- */
/* Deposits one event; `due` (NULL data: nothing) is kept until it is settled. ERR_RETRY: not taken. */
MUST_CHECK bool session_deposit(struct session *s, const struct pack_deposit *d, struct slice due, struct err *e);
/* NULL: not open. */
struct transaction *session_transaction_find(const struct session *s, struct slice id);
/* One more; NULL with ERR_INPUT: too many are open. */
struct transaction *session_transaction_begin(struct session *s, struct slice id, struct err *e);
/* ERR_INPUT: over the limit of one transaction; ERR_RETRY: of all together. The transaction stays as it was. */
MUST_CHECK bool session_transaction_add(struct session *s, struct transaction *tx, const struct pack_deposit *d, struct err *e);
/*
 * Its records leave as one message, and what it acknowledged waits until they are confirmed: all or nothing. `*settled`: there was nothing to confirm,
 * it is done already (nothing is pending, `due` is the caller's). ERR_RETRY: not taken. The transaction is gone in any case.
 */
MUST_CHECK bool session_transaction_commit(struct session *s, struct transaction *tx, struct slice due, bool *settled, struct err *e);
/* As if it had never been; deliveries acknowledged in it are unacknowledged again. */
void session_transaction_abort(struct session *s, struct transaction *tx);
/* The oldest deposit that something is due for; NULL: none. */
const struct pending *session_oldest_due(const struct session *s);
void session_free_deposits(struct session *s);
void session_trim_deposits(struct session *s);

/* ---- deliveries.c ------------------------------------------------------------------------ */
/* Takes over `sub` (protocol's own, with queue, credit and name set) once subscribed. ERR_INPUT: too many; ERR_RETRY. */
MUST_CHECK bool session_subscribe(struct session *s, struct subscription *sub, struct err *e);
/* Its unacknowledged deliveries go back; frees it. */
void session_unsubscribe(struct session *s, struct subscription *sub);
void session_free_subscriptions(struct session *s);
void session_trim_subscriptions(struct session *s);
struct subscription *session_find_subscription(const struct session *s, uint64_t key);

/* One more delivery; NULL: it is over the credit, or the peer has too much to read already, and was given back. */
struct delivery *deliveries_add(struct session *s, struct subscription *sub, uint64_t delivery, uint64_t n);
struct delivery *deliveries_nth(const struct subscription *sub, size_t i);
/* How many have an n of at most this. */
size_t deliveries_up_to(const struct subscription *sub, uint64_t n);
/* The first `count` will not be acknowledged for a while: others may come in their place now. */
void deliveries_grant(struct session *s, struct subscription *sub, size_t count);
/* None of those there gives credit for another when it is acknowledged; there is no credit left that they are of. */
void deliveries_absorb(struct subscription *sub);
/* Output was written: what was given back for want of room may come. */
void deliveries_replenish(struct session *s);
/* The ith is done with, and forgotten. Gives its credit back unless that was done already. */
void deliveries_settle(struct session *s, struct subscription *sub, size_t i, enum session_outcome outcome);
/*
 * The same for those at `from` up to (without) `to`, now, or when the transaction (may be NULL) is committed. Those that a transaction holds
 * already stay its own.
 */
void deliveries_acknowledge(struct session *s, struct subscription *sub, size_t from, size_t to, struct transaction *tx,
                            enum session_outcome outcome);
/* All from the one at `from` on were never seen: they go back as they were. The subscription is about to end, nothing more comes. */
void deliveries_return(struct session *s, struct subscription *sub, size_t from);
/* The acknowledgements held by a transaction: applied, or as if never said. */
void deliveries_apply(struct session *s, const struct transaction *tx);
void deliveries_forget(struct session *s, const struct transaction *tx);

#endif
