/* What the files of the STOMP session share; nobody else includes it. */
#ifndef COFFRE_SESSION_INTERNAL_H
#define COFFRE_SESSION_INTERNAL_H

#include "ingest/front/session.h"

enum { RECEIPT_INLINE = 40 };

/* A copied header value; most are short. */
struct label {
    size_t len;
    union {
        char near[RECEIPT_INLINE];
        char *far; /* owned, when len > RECEIPT_INLINE */
    } at;
};

void label_set(struct label *l, struct slice text);
struct slice label_slice(const struct label *l); /* borrowed */
void label_free(struct label *l);

/* An open transaction, or one whose COMMIT waits for its confirmation. */
struct transaction {
    struct label id;
    struct buf records; /* framed deposit records, in order */
    uint64_t count;
};

/* A deposit that RabbitMQ has not confirmed yet; in the order of their tickets. */
struct pending {
    uint64_t ticket;
    struct transaction *committed; /* owned; its acknowledgements are applied when confirmed; NULL for a bare SEND */
    bool done, has_receipt;
    struct label receipt;
};

struct pending_ring {
    struct pending *at; /* owned; capacity entries, a power of two */
    size_t first, count, capacity;
};

/* A MESSAGE sent and not yet acknowledged. */
struct delivery {
    uint64_t n;        /* its place in the subscription, from 1: the second half of message-id */
    uint64_t delivery; /* deliver's name for it */
    uint64_t mark;     /* automatic mode: acknowledged when so much output was written */
    const struct transaction *held; /* acknowledged in this transaction, which is not yet committed */
    bool released;     /* … by NACK */
};

enum ack_mode { ACK_AUTO, ACK_CLIENT, ACK_INDIVIDUAL };

struct subscription {
    uint64_t key; /* never used twice; the first half of message-id */
    struct label id;
    bool has_id;  /* STOMP 1.0 may do without */
    enum session_queue queue;
    enum ack_mode mode;
    uint32_t credit;
    uint64_t sent;             /* n of the last MESSAGE */
    struct delivery *at;       /* owned; sorted by n */
    size_t first, count, capacity;
};

struct session {
    const struct session_rules *rules; /* borrowed, like ops, ctx and out */
    const struct session_ops *ops;
    void *ctx;
    struct buf *out;
    struct stomp_parser parser;
    uint32_t depositor;
    char *denied; /* owned; NULL: may deposit */
    char *name;   /* owned */
    enum session_end end;
    char *end_reason; /* owned */
    bool connected, drained, disconnecting;
    bool blocked; /* the last input ended before a deposit that must wait */
    struct label last_receipt; /* of DISCONNECT */
    bool has_last_receipt;
    uint64_t began, heard, sent;    /* times, ms */
    uint64_t partial_since;         /* when the frame begun began; 0: none */
    uint64_t hears_every, sends_every; /* heart-beats agreed, ms; 0: none */
    uint64_t written;               /* of all output, so far */
    struct pending_ring pending;
    struct transaction **transactions; /* owned */
    unsigned transaction_count;
    struct subscription *subscriptions; /* owned */
    unsigned subscription_count;
    struct session_counts counts;
};

/*
 * Ends the session with an ERROR frame: `message` header from the kind of end, body from the text; receipt-id when `f` (may be NULL)
 * asked for a receipt. Returns false so that it can end a chain.
 */
bool session_error(struct session *s, const struct stomp_frame *f, enum session_end end, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
void session_receipt(struct session *s, struct slice id);
/* The receipt a frame asks for, if any. */
void session_receipt_for(struct session *s, const struct stomp_frame *f);
/* The transaction a frame names, or NULL; false when it names one that is not open (the session has ended). */
bool session_transaction(struct session *s, const struct stomp_frame *f, struct transaction **tx);
/* Ends after DISCONNECT or a drain once nothing is pending. */
void session_finish_if_done(struct session *s);

bool session_take_send(struct session *s, const struct stomp_frame *f, struct session_time t);
bool session_take_begin(struct session *s, const struct stomp_frame *f);
bool session_take_commit(struct session *s, const struct stomp_frame *f);
bool session_take_abort(struct session *s, const struct stomp_frame *f);
void session_free_deposits(struct session *s);

bool session_take_subscribe(struct session *s, const struct stomp_frame *f);
bool session_take_unsubscribe(struct session *s, const struct stomp_frame *f);
bool session_take_ack(struct session *s, const struct stomp_frame *f, bool release);
/* The acknowledgements held by a transaction: applied, or as if never said. */
void session_apply_acks(struct session *s, const struct transaction *tx);
void session_forget_acks(struct session *s, const struct transaction *tx);
void session_auto_acks(struct session *s);
void session_trim_subscriptions(struct session *s);
void session_free_subscriptions(struct session *s);

#endif
