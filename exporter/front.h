/*
 * The exporter's front, inside: TLS connections of strangers, HTTP/1.1 on them, one request at a time each, answers from
 * `query`. Holds no private key and no database. Shared by front*.c only.
 */
#ifndef COFFRE_EXPORTER_FRONT_H
#define COFFRE_EXPORTER_FRONT_H

#include <event2/event.h>

#include "common/system/remote_key.h"
#include "common/system/role.h"
#include "common/system/roster.h"
#include "common/system/tls.h"
#include "exporter/ask.h"

enum {
    FRONT_QUERIES_MAX = 8,
    FRONT_SLOT_BITS = 17,     /* connections at once: 100,000 at most */
    FRONT_OUT_MAX = ASK_WINDOW + ASK_SHORT_MAX + 16 * 1024,
    FRONT_LINGER_MS = 2000,   /* how long a closed peer's last bytes are awaited */
};

/* A query process, as seen from here. */
struct front_query {
    struct front *front;
    struct channel *channel; /* NULL: away */
    struct event *readable, *writable;
    unsigned asked;          /* requests it is working on */
    bool available;          /* it reaches PostgreSQL */
    char reason[ASK_TEXT_MAX];
};

/* The place of a connection in its request; only front_set_state() changes it. */
enum front_state {
    FRONT_HANDSHAKE,
    FRONT_IDLE,     /* between requests, nothing of the next one has come */
    FRONT_READING,  /* a head or its content is coming */
    FRONT_WAITING,  /* query was asked */
    FRONT_SENDING,  /* a streamed answer is coming from query */
    FRONT_FLUSHING, /* the whole answer is in `out` */
    FRONT_LINGERING /* closed on our side; the peer's last bytes are thrown away */
};

/* What certificates say about a connection's peer. */
struct front_peer {
    bool verified;         /* the certificate validates and its subject is readable */
    const char *code;      /* when not: a stable word, and why */
    char reason[HTTP_REASON_MAX];
    struct tls_subject subject;
    bool of_regulator, of_operator; /* whose CA the chain ends at */
    char address[64];      /* of the socket, for the log */
};

struct front_connection {
    struct front *front;
    struct tls_stream *tls;
    struct event *io, *timer;
    enum front_state state;
    bool wants_write;      /* TLS waits for the socket to become writable */
    struct front_peer peer;
    unsigned slot;
    uint32_t request;      /* identifier of the question asked; 0: none */
    unsigned generation;

    struct buf in, out;
    struct http_scan scan;
    bool more;                /* bytes or requests wait where poll does not see them */
    struct http_request head; /* borrows from `in`, which does not change until the request is answered */
    size_t head_used;         /* bytes of `in` that are the head; the content follows */
    size_t wanted;            /* bytes a request whose head is there has in all; 0: unknown */
    bool has_head;            /* a whole request is being served */
    bool keep_alive;
    struct api_call call;
    struct front_query *query; /* asked */
    uint64_t left;             /* bytes of a streamed answer not yet received */
    uint32_t credit;           /* given and not yet used */
    uint64_t sent;             /* bytes of content queued, for the log */
    unsigned status;           /* answered, for the log */
    struct front_connection *next_dead;
};

struct front {
    struct role *role;
    struct event_base *base;
    struct remote_key *key;
    unsigned keys_away; /* seconds without the keys role */
    bool keys_seen;     /* it was linked once */
    SSL_CTX *context;
    STACK_OF(X509) *regulator_ca, *operator_ca; /* the second one may be NULL: not configured */
    struct roster *roster;                      /* NULL: not yet known */
    struct front_query queries[FRONT_QUERIES_MAX];
    struct front_connection **slots; /* by slot; NULL: free */
    unsigned slot_count, connected;
    uint64_t seconds, trimmed_at; /* of life; connections come and gone when memory was last given back */
    struct event *listeners[SETTINGS_LIST_MAX];
    unsigned listener_count;
    bool accepting, draining;
    struct front_connection *dead; /* freed at the end of the loop turn */
    struct event *tick;
    uint64_t requests[6], bytes_out, accepted, refused; /* counters; requests by hundreds of the status */
    uint64_t request_ms, write_ms;                      /* time-outs */
    int exit_status;
};

/* front_connection.c: bytes. */
void front_accept(struct front *f, int fd, const char *address);
void front_set_state(struct front_connection *c, enum front_state state);
/* Ends a connection at once, saying why in the log (debug). Safe inside its own callbacks. */
void front_drop(struct front_connection *c, const char *why);
/* Something changed for this connection: goes on with whatever can go on. */
void front_continue(struct front_connection *c);
/* Frees what was dropped. */
void front_bury(struct front *f);

/* front_request.c: meaning. */
void front_identify(struct front_connection *c);
/* Takes a request from `in` when a whole one is there. False: more bytes are needed. */
bool front_take_request(struct front_connection *c);
/* Answers from here: {"status":…,"code":…,"reason":…}. */
void front_refuse(struct front_connection *c, const struct api_refusal *no);
/* Messages of query for this connection. */
void front_answer(struct front_connection *c, const struct ask_answer *a);
/* The peer's profiles in force, as bits of enum api_profile. */
unsigned front_profiles(const struct front_connection *c);
/* The request is answered as far as this side is concerned: forgets it, tells query when it still works on it. */
void front_finish_request(struct front_connection *c);

/* front_queries.c: siblings. */
/* A (new) channel to a query process; taken over. */
void front_link_query(struct front_query *q, struct channel *c);
/* It is gone: requests waiting for it are answered 503, answers in the middle are cut. */
void front_lose_query(struct front_query *q, const char *why);
/* The available query with the fewest requests; NULL with why. */
struct front_query *front_choose_query(struct front *f, const char **why);
void front_flush_query(struct front_query *q);
/* True when requests can be served: keys, roster and PostgreSQL are there. */
bool front_is_ready(const struct front *f, const char **why);

#endif
