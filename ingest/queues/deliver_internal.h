/* What deliver.c, deliver_queue.c and deliver_front.c share; nobody else includes it. */
#ifndef COFFRE_DELIVER_INTERNAL_H
#define COFFRE_DELIVER_INTERNAL_H

#include "common/system/broker.h"
#include "ingest/queues/mailbox.h"
#include "ingest/roles.h"

/*
 * Answers come in messages of one entry (an idle vault) to thousands (a busy one). A few messages at a time are enough for those,
 * but a sensor that acknowledges every five minutes needs hundreds of the former: when everything fetched is out and a sensor
 * would take more, another consumer fetches FETCH_PREFETCH more messages, once. It is cancelled before the first of them is acknowledged.
 */
enum { BASE_PREFETCH = 4, NOTICE_PREFETCH = 2000, FETCH_PREFETCH = 64, FETCHES_MAX = 64, HELD_MAX = 8 << 20 };

enum { FRONTS_MAX = 64, QUEUES_MAX = 1024, PUT_BACK_CHANNEL = 1, FIRST_QUEUE_CHANNEL = 2, RETRY_MS = 1000,
       RECONNECT_MIN_MS = 250, RECONNECT_MAX_MS = 5000, TURN_MS = 500, PLAIN_MAX = BROKER_BODY_MAX,
       MESSAGES_PER_TURN = 4096 };

struct front {
    struct channel *channel;
    uint64_t generation;
};

/* A consumer of the broker. */
struct fetch {
    bool open;
    unsigned out; /* messages it brought that are not yet acknowledged */
};

/* One queue of the broker with its subscriptions. */
struct queue {
    uint16_t channel; /* of the broker: its place in the table decides */
    bool consuming, leaving;
    uint32_t depositor;
    enum deliver_queue kind;
    char *name;
    uint64_t retry_at;
    unsigned put_backs; /* remainders published and not yet confirmed */
    struct fetch fetches[FETCHES_MAX]; /* the first stays, the others come and go */
    struct mailbox mailbox;
};

/* A remainder on its way: once confirmed, the message it came from is acknowledged. */
struct put_back {
    uint64_t tag; /* on PUT_BACK_CHANNEL; 0: free */
    uint16_t channel;
    uint64_t message_tag;
    bool returned;
};

enum { PUT_BACKS_MAX = QUEUES_MAX * BASE_PREFETCH };

struct deliver {
    struct role *role;
    struct broker *broker;
    struct pack_reader *reader;
    struct pack_writer *writer;
    struct front fronts[FRONTS_MAX];
    struct queue *queues[QUEUES_MAX]; /* owned; NULL: free place */
    unsigned queue_top;              /* no queue at or after it */
    struct put_back put_backs[PUT_BACKS_MAX];
    char *exchange; /* Event.<N>.Out */
    uint64_t generation, ordinal, reconnect_at, backoff_ms, metrics_at;
    bool draining;
    struct {
        uint64_t sent, acknowledged, released, put_back, undecipherable;
    } counts;
};

/* Milliseconds of the monotonic clock. */
uint64_t deliver_now_ms(void);

/* ---- deliver_queue.c: what is asked of the broker. False: `e` (ERR_RETRY) says how the connection was lost. ---------------- */
/* The queue of this depositor, made when not there yet; NULL: too many. */
struct queue *deliver_open_queue(struct deliver *d, uint32_t depositor, enum deliver_queue kind);
void deliver_forget_queue(struct deliver *d, struct queue *q);
/* Nothing is under way any more: what was delivered goes back by itself. */
void deliver_forget_deliveries(struct queue *q);
/* The connection is gone: everything comes again on the next one. */
void deliver_lost(struct deliver *d, const struct err *e);
/* The fetch a consumer tag names. */
unsigned deliver_fetch_of(const char *tag);
/* Starts consuming; a queue that does not exist yet is tried again later. */
MUST_CHECK bool deliver_consume(struct deliver *d, struct queue *q, struct err *e);
/* To be called when all that was fetched is out and a subscription would take more. */
MUST_CHECK bool deliver_fetch_more(struct deliver *d, struct queue *q, struct err *e);
/* All of this message is done: the broker forgets it, and so does the mailbox. */
MUST_CHECK bool deliver_acknowledge(struct deliver *d, struct queue *q, struct mailbox_message *message, struct err *e);
/* Nobody reads this queue any more: what is left goes back to it. May free `q`. */
MUST_CHECK bool deliver_leave(struct deliver *d, struct queue *q, struct err *e);
MUST_CHECK bool deliver_put_back_confirmed(struct deliver *d, const struct broker_event *ev, struct err *e);

/* ---- deliver_front.c: what fronts say and are told ------------------------------------------------------------------------- */
void deliver_front_gone(struct deliver *d, struct front *f);
void deliver_read_front(struct deliver *d, uint32_t slot);
/* Keeps all queues moving: consumes, hands out, leaves. */
MUST_CHECK bool deliver_pump(struct deliver *d, struct err *e);

#endif
