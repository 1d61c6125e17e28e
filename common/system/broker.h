/*
 * RabbitMQ over TLS with a client certificate (AMQP 0-9-1, EXTERNAL), on librabbitmq: one connection for one thread.
 * Publishes are persistent, mandatory and confirmed, but for one kind. Errors: ERR_RETRY when connecting again helps; anything else does not get
 * better by itself. The broker's messages are bounded; their bodies are judged by whoever reads them.
 * Publish and consume on separate connections where a blocked publisher must not stop a consumer.
 */
#ifndef COFFRE_BROKER_H
#define COFFRE_BROKER_H

#include "common/system/settings.h"
#include "common/values/buf.h"

struct broker;

enum { BROKER_BODY_MAX = 80 << 20 /* bytes of a message's body */, BROKER_CHANNELS_MAX = 2000 };

struct broker_options {
    const struct settings *settings; /* rabbitmq.*; borrowed for the call */
    const char *certificate, *key;   /* PEM files of the client certificate */
    const char *name;                /* shown in RabbitMQ's list of connections: "coffre-ingest relay" */
};

/*
 * Connects (at most 10 s), authenticates, opens channel 1. ERR_RETRY: broker away; ERR_DENIED: it refuses this certificate
 * or user; ERR_INPUT: a file is wrong. Owned: broker_close().
 */
struct broker *broker_open(const struct broker_options *o, struct err *e);
/* Says good-bye when the connection still lives (at most 2 s), frees. NULL is a no-op. */
void broker_close(struct broker *b);
/* The same without a good-bye: RabbitMQ does not answer it while it waits for a queue without a leader. */
void broker_abandon(struct broker *b);

/*
 * To poll together with others, for reading, once broker_poll(b, 0, …) has said BROKER_NOTHING: bytes wait in the library. Any call
 * made after that may have taken more in: while broker_unread() says so, do not wait but call broker_poll() again.
 */
int broker_fd(const struct broker *b);
bool broker_unread(const struct broker *b);

/* ---- channels: 1 is open already; others, up to BROKER_CHANNELS_MAX, on demand -------------------------------------------- */
MUST_CHECK bool broker_channel_open(struct broker *b, uint16_t channel, struct err *e);
/* What was delivered there and not acknowledged goes back to its queue. */
MUST_CHECK bool broker_channel_close(struct broker *b, uint16_t channel, struct err *e);
/* False after an error that closed the channel (not found, no right, …): open it again. */
bool broker_channel_is_open(const struct broker *b, uint16_t channel);

/* ---- objects -------------------------------------------------------------------------------------------------------------- */
/* An argument of a queue or consumer. */
struct broker_argument {
    const char *name;
    const char *text; /* NULL: `number` (or `is_bool`) counts */
    int64_t number;
    bool is_bool;     /* `number` is a boolean */
};

/* A durable quorum queue: x-queue-type is added. ERR_INPUT when it exists with other arguments. */
MUST_CHECK bool broker_declare_queue(struct broker *b, const char *queue, const struct broker_argument *arguments,
                                     unsigned count, struct err *e);
/*
 * A classic queue that only this connection may use and that goes with it, or with its last consumer; not durable. ERR_INPUT when another
 * connection has one of that name (try again: that connection may be ending) or it exists with other arguments.
 */
MUST_CHECK bool broker_declare_temporary(struct broker *b, const char *queue, const struct broker_argument *arguments, unsigned count,
                                         struct err *e);
/*
 * Does it do what is asked of it? A consumer without credit is added, which closing the channel takes away: no message moves. Not waited for: BROKER_DONE on
 * this channel, opened for it, when it does. A quorum queue without a leader never answers, nor does the channel then, and RabbitMQ itself gives up after a minute only.
 */
MUST_CHECK bool broker_ask_queue(struct broker *b, uint16_t channel, const char *queue, struct err *e);
/* With all that is in it. Not waited for: BROKER_DONE on this channel, opened for it. One without a leader takes RabbitMQ 5 s. */
MUST_CHECK bool broker_ask_delete(struct broker *b, uint16_t channel, const char *queue, struct err *e);
MUST_CHECK bool broker_bind_queue(struct broker *b, const char *queue, const char *exchange, const char *key, struct err *e);
/* A durable exchange; `type`: "direct", "fanout". */
MUST_CHECK bool broker_declare_exchange(struct broker *b, const char *exchange, const char *type, struct err *e);
/* Passive declare. `exists` false is no error; `messages` (may be NULL): ready ones. */
MUST_CHECK bool broker_queue_exists(struct broker *b, const char *queue, bool *exists, uint64_t *messages, struct err *e);

/* ---- publishing ------------------------------------------------------------------------------------------------------------ */
/* Confirms on this channel; `broker_publish` needs it. */
MUST_CHECK bool broker_confirms(struct broker *b, uint16_t channel, struct err *e);

/*
 * Persistent, mandatory. `tag` is what BROKER_CONFIRM and BROKER_RETURN will name; tags of a channel count 1, 2, 3, …
 * Nothing is stored until it is confirmed, nor if it was returned (the return comes before its confirm).
 * Blocks when the socket is full: ask broker_can_publish() first. A broker that reads nothing for 20 s ends the connection (ERR_RETRY).
 */
MUST_CHECK bool broker_publish(struct broker *b, uint16_t channel, const char *exchange, const char *key,
                               const char *content_type, struct slice body, uint64_t *tag, struct err *e);
/*
 * Does this key lead to any queue? Told by a message that has expired when it gets there, on a channel with confirms that nobody else uses, opened for it. Not waited
 * for: BROKER_RETURN before BROKER_CONFIRM when it does not. A queue that confirms nothing is one.
 */
MUST_CHECK bool broker_ask_route(struct broker *b, uint16_t channel, const char *exchange, const char *key, struct err *e);
/* Neither persistent nor mandatory: nobody there, nothing said. On a channel without confirms, which would count it. Blocks as broker_publish(). */
MUST_CHECK bool broker_publish_transient(struct broker *b, uint16_t channel, const char *exchange, const char *key,
                                         const char *content_type, struct slice body, struct err *e);
/* False while blocked by the broker, or when `len` bytes would have to wait for the socket. */
bool broker_can_publish(const struct broker *b, size_t len);
/* The broker has said connection.blocked; `reason` (may be NULL) is borrowed. */
bool broker_blocked(const struct broker *b, const char **reason);

/* ---- consuming ------------------------------------------------------------------------------------------------------------- */
/* Prefetch is per consumer. `consumer_tag` chosen by the caller. ERR_INPUT and the channel closed when the queue does not exist. */
MUST_CHECK bool broker_consume(struct broker *b, uint16_t channel, const char *queue, const char *consumer_tag, uint16_t prefetch,
                               const struct broker_argument *arguments, unsigned count, struct err *e);
MUST_CHECK bool broker_cancel(struct broker *b, uint16_t channel, const char *consumer_tag, struct err *e);
MUST_CHECK bool broker_ack(struct broker *b, uint16_t channel, uint64_t tag, bool multiple, struct err *e);
MUST_CHECK bool broker_nack(struct broker *b, uint16_t channel, uint64_t tag, bool multiple, bool requeue, struct err *e);

/* ---- what the broker says --------------------------------------------------------------------------------------------------- */
enum broker_event_kind {
    BROKER_NOTHING,        /* the time is over */
    BROKER_CONFIRM,        /* channel, tag, multiple, positive */
    BROKER_RETURN,         /* channel, tag: could not be routed; text: why */
    BROKER_DELIVERY,       /* channel, tag, redelivered, deliveries, body, content_type, text: consumer tag */
    BROKER_CANCELLED,      /* channel, text: consumer tag: its queue is gone or moved */
    BROKER_BLOCKED,        /* text: why */
    BROKER_UNBLOCKED,
    BROKER_DONE,           /* channel: what was asked there by broker_ask_queue() or broker_ask_delete() */
    BROKER_CHANNEL_CLOSED, /* channel, text: why: unconfirmed publishes there are unknown, unacknowledged deliveries go back */
};

struct broker_event {
    enum broker_event_kind kind;
    uint16_t channel;
    uint64_t tag;
    bool multiple;     /* this tag and all before it */
    bool positive;     /* ack; false: nack, not stored */
    bool redelivered;
    uint32_t deliveries; /* earlier deliveries counted by the queue (x-delivery-count) */
    struct slice body;   /* borrowed until the next call of this broker */
    char content_type[64];
    char text[256];
};

/*
 * The next event, waiting at most `timeout_ms` (0: not at all). False: the connection is lost (ERR_RETRY), broker_close() it.
 * Sends and expects heart-beats: call it at least every second.
 */
MUST_CHECK bool broker_poll(struct broker *b, int timeout_ms, struct broker_event *ev, struct err *e);

#endif
