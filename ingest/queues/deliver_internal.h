/* What deliver.c and deliver_*.c share; nobody else includes it. */
#ifndef COFFRE_DELIVER_INTERNAL_H
#define COFFRE_DELIVER_INTERNAL_H

#include "common/system/broker.h"
#include "ingest/queues/claims.h"
#include "ingest/queues/mailbox.h"
#include "ingest/roles.h"

/*
 * Answers come in messages of one entry (an idle vault) to thousands (a busy one). A few messages at a time are enough for those,
 * but a sensor that acknowledges every five minutes needs a hundred thousand of the former: when everything fetched is out and a sensor
 * would take more, another consumer fetches about as many messages again, once. It is cancelled before the first of them is acknowledged.
 * What all queues hold beyond the first few messages of each is bounded by ingest.limits.unacknowledged_bytes.
 */
enum { BASE_PREFETCH = 4, NOTICE_PREFETCH = 2000, FETCH_MIN = 64, FETCH_MAX = 4096, FETCHES_MAX = 64 };

enum { FRONTS_MAX = CLAIMS_FRONTS_MAX, QUEUES_MAX = 1024, PUT_BACK_CHANNEL = 1, FIRST_QUEUE_CHANNEL = 2, RETRY_MS = 1000,
       RECONNECT_MIN_MS = 250, RECONNECT_MAX_MS = 5000, TURN_MS = 500, PLAIN_MAX = BROKER_BODY_MAX, PLAIN_KEPT = 1 << 20,
       MESSAGES_PER_TURN = 4096 };

/* Temporary queues: each is a queue and a channel of the broker. */
enum { REPLIES_MAX = 512, REPLIES_OF_DEPOSITOR_MAX = 128, REPLIES_BYTES_MAX = 16 << 20 };

/*
 * Of those, so many are made or left in a turn: each takes a few of RabbitMQ's answers to wait for, and a depositor that makes and removes its
 * own as fast as it can must not keep others from their answers meanwhile.
 */
enum { REPLIES_PER_TURN = 1 };

/* What could not be said to a front because its channel is full. Longer: it has stopped reading. */
enum { NOTICES_MAX = 1 << 20 };

struct front {
    struct channel *channel;
    uint64_t generation;
    struct map subscriptions; /* its number for it → struct subscription, owned */
    struct buf notices;       /* u16 type, bytes body */
    bool stuck;               /* takes nothing any more: to be given up */
};

/* Where a subscription of a front is. */
struct subscription {
    struct queue *queue;
    unsigned index; /* in its mailbox */
};

/* A consumer of the broker. */
struct fetch {
    bool open;
    unsigned out; /* messages it brought that are not yet acknowledged */
    unsigned prefetch;
    uint64_t consumer; /* which of all there have been: see consumer_tag() */
};

/* One queue of the broker with its subscriptions. */
struct queue {
    uint16_t channel; /* of the broker: its place in the table decides */
    bool consuming;
    bool answers;         /* it has just said so: it may be consumed from */
    bool leaving, given_back; /* nobody reads it; what had come was seen to */
    uint32_t depositor;
    enum deliver_queue kind;
    char *name;
    char key[PACK_REPLY_KEY_SIZE]; /* of a temporary queue */
    uint64_t retry_at;
    uint64_t aside_ms;    /* it did not answer the last time: how long it is left alone; 0: it did */
    uint64_t acknowledge; /* this tag and all before it, at the end of the turn; 0: none */
    unsigned put_backs;   /* remainders published and not yet confirmed */
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

/*
 * The broker counts a message as delivered when it has only been here and nobody saw it. Those that went back so are remembered, until others
 * need the place: their count is not raised when they come again. Forgotten, they are counted too high, never too low.
 */
struct unseen {
    uint64_t mark;
    uint32_t times;
};

enum { UNSEEN_SIZE = 1 << 18 };

enum deliver_asker {
    DELIVER_NEWCOMERS,
    DELIVER_SILENT, /* those that did not answer the last time */
    DELIVER_ASKERS
};

/* A connection on which one queue at a time is asked whether it answers. */
struct asker {
    struct broker *broker; /* NULL: none yet */
    struct queue *asked;   /* NULL: none */
    uint64_t until;        /* it is given up then */
    unsigned place;        /* of the queue that comes next */
};

struct deliver {
    struct role *role;
    struct broker *broker;
    struct asker askers[DELIVER_ASKERS];
    struct pack_reader *reader;
    struct pack_writer *writer;
    struct front fronts[FRONTS_MAX];
    struct queue *queues[QUEUES_MAX]; /* owned; NULL: free place */
    unsigned queue_top;              /* no queue at or after it */
    unsigned replies;                /* temporary ones */
    unsigned next;                   /* the place of the queue that is first in the next turn */
    bool behind;                     /* some wait for the next turn, which is due at once */
    size_t held;                     /* bytes, of all queues */
    size_t held_max;                 /* ingest.limits.unacknowledged_bytes */
    struct put_back put_backs[PUT_BACKS_MAX];
    struct unseen *unseen; /* owned; UNSEEN_SIZE places */
    struct claims claims;
    struct buf plain; /* of the pack being opened; wiped */
    char *exchange;   /* Event.<N>.Out */
    uint64_t generation, ordinal, consumers, reconnect_at, backoff_ms, ask_at, metrics_at;
    bool draining;
    struct {
        uint64_t sent, acknowledged, released, unseen, put_back, undecipherable, replies, taken, declined;
    } counts;
};

/* Milliseconds of the monotonic clock. */
uint64_t deliver_now_ms(void);

/* A connection as broker_open() makes it. */
struct broker *deliver_connect(const struct deliver *d, const char *name, struct err *e);

/* ---- deliver_queue.c: what is asked of the broker. False: `e` (ERR_RETRY) says how the connection was lost. ---------------- */
/* The queue of this depositor, made when not there yet; `name`: of a temporary one. NULL: too many, `e` says of what, for its sensor. */
struct queue *deliver_open_queue(struct deliver *d, uint32_t depositor, enum deliver_queue kind, struct slice name, struct err *e);
void deliver_forget_queue(struct deliver *d, struct queue *q);
/* Nothing is under way any more: what was delivered goes back by itself. */
void deliver_forget_deliveries(struct deliver *d, struct queue *q);
/* The connection is gone: everything comes again on the next one. */
void deliver_lost(struct deliver *d, const struct err *e);
/* Starts consuming, once the queue has said that it answers; one that does not exist yet, or does not answer, is tried again later. */
MUST_CHECK bool deliver_consume(struct deliver *d, struct queue *q, struct err *e);
MUST_CHECK bool deliver_close_fetch(struct deliver *d, struct queue *q, unsigned fetch, struct err *e);
/* To be called when all that was fetched is out and a subscription would take more. */
MUST_CHECK bool deliver_fetch_more(struct deliver *d, struct queue *q, struct err *e);
/* A message has come. */
MUST_CHECK bool deliver_take(struct deliver *d, struct queue *q, const struct broker_event *ev, struct err *e);
/* All of this message is done: the mailbox forgets it, and so does the broker, at the latest with deliver_flush_acknowledgements(). */
MUST_CHECK bool deliver_acknowledge(struct deliver *d, struct queue *q, struct mailbox_message *message, struct err *e);
MUST_CHECK bool deliver_flush_acknowledgements(struct deliver *d, struct queue *q, struct err *e);

/* ---- deliver_ask.c: does a queue answer? ------------------------------------------------------------------------------------ */
/* Asks those that are to be consumed from, one after the other. Nothing is waited for: `answers` is set when it does. */
void deliver_ask(struct deliver *d);
/* Takes what was answered so far. */
void deliver_hear(struct deliver *d);
bool deliver_is_asked(const struct deliver *d, const struct queue *q);
/* Milliseconds until an answer is given up, `most` when it is later or nothing is asked. */
uint64_t deliver_asks_for(const struct deliver *d, uint64_t most);
/* This one, about to go, is not waited for any more; and all of them. */
void deliver_unask(struct deliver *d, const struct queue *q);
void deliver_stop_asking(struct deliver *d);
/* It does not answer: it is tried again later, the later the more often in a row. */
void deliver_set_aside(struct queue *q, const char *why);
/* It is not there: it is tried again soon. */
void deliver_await(struct queue *q, const char *why);

/* ---- deliver_leave.c: what nobody reads any more ---------------------------------------------------------------------------- */
/* How many of the queue's deliveries of that message were seen by nobody. */
uint32_t deliver_unseen(const struct deliver *d, uint64_t mark);
void deliver_remember_unseen(struct deliver *d, uint64_t mark, uint32_t times);
/* What a message is known by when it comes again. */
uint64_t deliver_mark(const struct queue *q, struct slice body);
/* Nobody reads this queue any more: what is left goes back to it, in this turn and later ones. May free `q`. */
MUST_CHECK bool deliver_leave(struct deliver *d, struct queue *q, struct err *e);
MUST_CHECK bool deliver_put_back_confirmed(struct deliver *d, const struct broker_event *ev, struct err *e);

/* ---- deliver_front.c: what fronts say and are told ------------------------------------------------------------------------- */
void deliver_front_gone(struct deliver *d, struct front *f);
void deliver_read_front(struct deliver *d, uint32_t slot);
/* Writes what the front takes; one that is gone or stuck is forgotten. */
void deliver_write_front(struct deliver *d, uint32_t slot);
/* Subscriptions to a temporary queue that is there: their fronts are told, once. */
void deliver_announce(struct deliver *d, struct queue *q);
/* Keeps all queues moving: consumes, hands out, leaves. */
MUST_CHECK bool deliver_pump(struct deliver *d, struct err *e);

#endif
