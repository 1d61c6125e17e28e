/*
 * The OpenWire session's own state, shared by the files openwire_*.c; nobody else includes it. The peer's objects (sessions, producers,
 * consumers, transactions, temporary queues) live in the JMS connection it has opened here, and die with it.
 */
#ifndef COFFRE_OPENWIRE_SESSION_H
#define COFFRE_OPENWIRE_SESSION_H

#include "ingest/openwire/preamble.h"
#include "ingest/session/session_internal.h"

enum {
    OPENWIRE_PREFETCH_MAX = 32766,  /* ActiveMQ's own ceiling */
    OPENWIRE_SESSIONS_MAX = 4096,   /* of a connection */
    OPENWIRE_PRODUCERS_MAX = 4096,
    OPENWIRE_CONSUMERS_MAX = 1024,  /* those of advisories included; the others are subscriptions, limited by the configuration */
    OPENWIRE_PROPERTIES_MAX = 256,  /* entries of a message */
    OPENWIRE_PULL_MS = 250,         /* MessagePull "if there is something now" waits so long for the queue's word */
    OPENWIRE_REFUSED_MS = 2000,     /* from a refused ConnectionInfo to the end of the connection */
};

/* Exceptions by the class that the Java client will make of them. */
enum openwire_exception {
    OPENWIRE_JMS,                 /* javax.jms.JMSException */
    OPENWIRE_SECURITY,            /* java.lang.SecurityException: on ConnectionInfo a failover client gives up for it */
    OPENWIRE_ILLEGAL_STATE,
    OPENWIRE_INVALID_DESTINATION,
    OPENWIRE_INVALID_SELECTOR,
    OPENWIRE_MESSAGE_FORMAT,
    OPENWIRE_RESOURCE_ALLOCATION, /* send again later */
    OPENWIRE_ROLLED_BACK,
    OPENWIRE_XA,
    OPENWIRE_EXCEPTIONS,
};

/* Why a command is refused. */
struct openwire_refusal {
    enum openwire_exception class;
    char text[ERR_TEXT_MAX];
};

/* What becomes of a command. */
enum openwire_verdict {
    OPENWIRE_OK,      /* done: a Response, when one is required */
    OPENWIRE_LATER,   /* answered already, or later */
    OPENWIRE_REFUSED, /* ExceptionResponse, or ConnectionError when none is required */
    OPENWIRE_BLOCKED, /* a deposit that must wait: this frame comes again */
    OPENWIRE_FATAL,   /* makes no sense: refused, and the connection ends */
};

/* A table of the peer's objects, sorted by what names them. */
struct openwire_entry {
    int64_t session, value;
    uint32_t window;                   /* of a producer: bytes, 0 none */
    struct openwire_consumer *consumer; /* owned by the session's subscriptions; NULL: of advisories, nothing ever comes */
};

struct openwire_register {
    struct openwire_entry *at; /* owned */
    size_t count, capacity;
};

/* A consumer of a queue, or a temporary queue itself (nothing is ever delivered to that one). */
struct openwire_consumer {
    struct subscription base; /* first */
    bool temporary;           /* the queue itself: exists as long as this */
    bool exists;              /* … deliver has said so */
    bool owes;                /* … and a Response waits for that */
    uint32_t owed;            /* command id */
    int64_t session, value;   /* of a consumer */
    uint32_t prefetch;        /* 0: it asks for each (MessagePull) */
    uint32_t pulls;           /* asked for and not yet come */
    uint64_t pull_until;      /* ms, monotonic: then told that there is nothing; 0: waits for ever */
};

struct openwire_session {
    struct session base; /* first */
    struct openwire_format format;
    bool negotiated;         /* WireFormatInfo was exchanged */
    bool open;               /* a JMS connection is */
    bool fault_tolerant;     /* the peer's transport is failover: */
    bool give_up;            /* the deposit that must wait is refused instead */
    bool owes;               /* a Response to RemoveInfo waits until nothing is pending */
    uint32_t owed;           /* its command id */
    struct label connection; /* ConnectionId */
    uint32_t connections;    /* opened on this transport so far */
    struct openwire_register sessions, producers, consumers;
    char source[96];         /* the ConnectionId inside the ids of messages that this session sends */
    uint64_t sequence;       /* of those messages */
    uint64_t refused_at;     /* ConnectionInfo was refused, ms; 0: it was not */
    size_t skip;             /* bytes of an oversize frame still to come */
    struct buf scratch, texts; /* a content, properties, where they are not used as they came; wiped */
};

static inline struct openwire_session *openwire_self(struct session *s)
{
    return (struct openwire_session *)s;
}

/* ---- openwire_answer.c: what is said to the peer ------------------------------------------ */
/* Returns OPENWIRE_REFUSED, so that it can end a chain. */
enum openwire_verdict openwire_refuse(struct openwire_refusal *r, enum openwire_exception class, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* A destination in words for a refusal, "topic x": printable, cut to fit; in `text`. NULL: "no destination". */
enum { OPENWIRE_NAMED = 120 };
const char *openwire_name(const struct openwire_object *destination, char text[OPENWIRE_NAMED]);
/* Appends a frame; a peer that leaves no room for it ends. */
void openwire_say(struct openwire_session *s, const struct openwire_object *o);
void openwire_respond(struct openwire_session *s, uint32_t command);
void openwire_respond_exception(struct openwire_session *s, uint32_t command, enum openwire_exception class, const char *text);
void openwire_connection_error(struct openwire_session *s, enum openwire_exception class, const char *text);
/* ExceptionResponse or ConnectionError. */
void openwire_complain(struct openwire_session *s, bool response_required, uint32_t command, enum openwire_exception class,
                       const char *text);
void openwire_producer_ack(struct openwire_session *s, int64_t session, int64_t value, uint32_t size);
void openwire_keep_alive(struct openwire_session *s, uint32_t command);
void openwire_broker_info(struct openwire_session *s);

/* ---- openwire_register.c ----------------------------------------------------------------- */
struct openwire_entry *openwire_register_find(const struct openwire_register *r, int64_t session, int64_t value);
/* Not there yet. */
struct openwire_entry *openwire_register_add(struct openwire_register *r, int64_t session, int64_t value);
void openwire_register_remove(struct openwire_register *r, struct openwire_entry *entry);
void openwire_register_free(struct openwire_register *r);

/* ---- openwire_connection.c: the JMS connection and its sessions ----------------------------- */
/* True when a ConnectionId inside another id is this connection's. */
bool openwire_is_own(const struct openwire_session *s, struct slice connection);
/* Refuses, naming `what`, when it is not. */
bool openwire_check_own(const struct openwire_session *s, struct slice connection, const char *what, struct openwire_refusal *r);
enum openwire_verdict openwire_connect(struct openwire_session *s, const struct openwire_object *o, struct session_time t,
                                       struct openwire_refusal *r);
enum openwire_verdict openwire_add_session(struct openwire_session *s, const struct openwire_object *o, struct openwire_refusal *r);
enum openwire_verdict openwire_remove(struct openwire_session *s, const struct openwire_object *o, struct openwire_refusal *r);

/* ---- openwire_produce.c ------------------------------------------------------------------ */
enum openwire_verdict openwire_add_producer(struct openwire_session *s, const struct openwire_object *o, struct openwire_refusal *r);
enum openwire_verdict openwire_send(struct openwire_session *s, const struct openwire_object *o, struct session_time t,
                                    struct openwire_refusal *r);
/* Of session_protocol. */
void openwire_confirmed(struct session *s, const struct pending *p);
void openwire_not_confirmed(struct session *s, const struct pending *p, const char *reason);

/* ---- openwire_transact.c ----------------------------------------------------------------- */
enum openwire_verdict openwire_transact(struct openwire_session *s, const struct openwire_object *o, struct openwire_refusal *r);
/* The open transaction a command names; NULL without refusal when it names none. */
bool openwire_transaction(const struct openwire_session *s, const struct openwire_object *id, struct transaction **tx,
                          struct openwire_refusal *r);
/* Which one a lost message was of is not known: none of those open can be committed. */
void openwire_fail_transactions(struct openwire_session *s);

/* What is due when a deposit is settled: kept as bytes in struct pending. */
struct openwire_due {
    uint32_t command, size;
    int64_t session, value; /* of the producer */
    bool response, window;
    uint32_t connections; /* opened when it came: the same producer of the next one is another */
};

/* ---- openwire_consume.c ------------------------------------------------------------------ */
enum openwire_verdict openwire_add_consumer(struct openwire_session *s, const struct openwire_object *o, struct openwire_refusal *r);
enum openwire_verdict openwire_pull(struct openwire_session *s, const struct openwire_object *o, struct session_time t,
                                    struct openwire_refusal *r);
enum openwire_verdict openwire_control_consumer(struct openwire_session *s, const struct openwire_object *o, struct openwire_refusal *r);
/* `seen`: the highest sequence that reached the application; what came after goes back as it was. Negative: not known. */
void openwire_remove_consumer(struct openwire_session *s, struct openwire_entry *entry, int64_t seen);
void openwire_pulls_expire(struct openwire_session *s, uint64_t now);
void openwire_resubscribed(struct session *s, struct subscription *sub);

/* ---- openwire_acknowledge.c --------------------------------------------------------------- */
enum openwire_verdict openwire_acknowledge(struct openwire_session *s, const struct openwire_object *o, struct openwire_refusal *r);

/* ---- openwire_dispatch.c ----------------------------------------------------------------- */
void openwire_answer(struct session *s, struct subscription *sub, uint64_t delivery, const struct pack_answer *a, struct session_time t);
void openwire_archive(struct session *s, struct subscription *sub, uint64_t delivery, unsigned redeliveries,
                      const struct pack_archive *a, struct session_time t);
/* Tells a consumer that pulled that there is nothing. */
void openwire_dispatch_nothing(struct openwire_session *s, const struct openwire_consumer *c);

/* ---- openwire_temporary.c ---------------------------------------------------------------- */
enum openwire_verdict openwire_destination(struct openwire_session *s, const struct openwire_object *o, struct openwire_refusal *r);
/* True when a temporary queue of this name is this connection's, if it exists. */
bool openwire_is_own_temporary(const struct openwire_session *s, struct slice name);
/* The temporary queue of this name; NULL: this connection has none. */
struct openwire_consumer *openwire_find_temporary(const struct openwire_session *s, struct slice name);
/* Whoever still waits for it to be made is told that it will not be. A peer that leaves no room for that ends, and all its queues. */
void openwire_remove_temporary(struct openwire_session *s, struct openwire_consumer *c);
/* Of session_protocol. */
void openwire_subscribed(struct session *s, struct subscription *sub);
void openwire_not_subscribed(struct session *s, struct subscription *sub, const char *reason);

#endif
