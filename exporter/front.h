/*
 * The exporter's front, inside: TLS connections of strangers, HTTP/1.1 on them, one request at a time each, answers from
 * `query` and `admin`, verdicts on certificates from `identity`. Holds no private key and no database, and opens no file. Shared by front*.c only.
 */
#ifndef COFFRE_EXPORTER_FRONT_H
#define COFFRE_EXPORTER_FRONT_H

#include <event2/event.h>

#include "common/identity/identity.h"
#include "common/journal/journal.h"
#include "common/journal/refusals.h"
#include "common/system/role.h"
#include "common/system/roster.h"
#include "common/system/tls_trust.h"
#include "common/values/health.h"
#include "exporter/ask.h"

enum {
    FRONT_QUERIES_MAX = 8,
    FRONT_SLOT_BITS = 17,     /* connections at once: 100,000 at most */
    FRONT_OUT_MAX = ASK_WINDOW + ASK_SHORT_MAX + 16 * 1024,
    FRONT_LINGER_MS = 2000,   /* how long a closed peer's last bytes are awaited */
    FRONT_HOST_MAX = 48,      /* numeric address, NUL included */
    FRONT_CODE_MAX = 32,
};

/* A query process, or the admin process, as seen from here. */
struct front_query {
    struct front *front;
    struct channel *channel; /* NULL: away */
    struct event *readable, *writable;
    unsigned asked;          /* requests it is working on */
    bool available;          /* it reaches PostgreSQL */
    char reason[ASK_TEXT_MAX];
};

/* The identity process. */
struct front_identity {
    struct channel *channel; /* NULL: away */
    struct event *readable, *writable;
    struct health health;    /* its items: crl, certificates */
    bool spoke;              /* on this channel */
    unsigned silent;         /* seconds since it said how it is */
    unsigned waiting;        /* connections not yet presented, or not on this channel */
    unsigned cursor;         /* the slot where the search for them goes on */
};

/* The place of a connection in its request; only front_set_state() changes it. */
enum front_state {
    FRONT_HANDSHAKE,
    FRONT_IDLE,     /* between requests, nothing of the next one has come */
    FRONT_READING,  /* a head or its content is coming */
    FRONT_JUDGING,  /* a whole request waits for identity's verdict on its sender */
    FRONT_WAITING,  /* query was asked */
    FRONT_SENDING,  /* a streamed answer is coming from query */
    FRONT_FLUSHING, /* the whole answer is in `out` */
    FRONT_LINGERING /* closed on our side; the peer's last bytes are thrown away */
};

/* Who is at the other end. */
struct front_peer {
    char address[64];           /* of the socket, with port: for log and journal */
    char host[FRONT_HOST_MAX];  /* the same without port */
    bool has_certificate;       /* one that identity can be shown */
    struct tls_subject subject; /* "" when there is none that can be read */
    bool readable;              /* CN and OU are */
    bool judged;                /* identity has spoken: the next four are in force */
    unsigned allowed;           /* OR of 1 << enum roster_profile: what the certificate could hold */
    unsigned barred;            /* the same of what it could hold from another address */
    enum identity_check check;  /* why not more */
    char reason[ERR_TEXT_MAX];  /* of log and journal, never of the wire */
};

struct front_connection {
    struct front *front;
    struct tls_stream *tls;
    struct event *io, *timer;
    enum front_state state;
    bool wants_write;      /* TLS waits for the socket to become writable */
    struct front_peer peer;
    unsigned slot;
    uint64_t identifier;   /* towards identity: never used twice */
    bool presented;        /* on identity's present channel */
    unsigned held;         /* profiles it was served with, as bits of enum api_profile; 0: no session */
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
    struct remote_line *line;       /* to the keys role */
    unsigned keys_away;             /* seconds without the keys role */
    bool keys_seen;                 /* it was linked once */
    struct tls_trust *trust;        /* shown in handshakes; NULL: not yet known */
    struct tls_trust *fresh;        /* waits for the keys role to have its key; NULL: none */
    struct front_identity identity;
    struct roster *roster;          /* NULL: not yet known */
    struct front_query queries[FRONT_QUERIES_MAX], admin;
    struct health store;            /* items hsm, clock: as some query said last */
    uint64_t store_at;              /* when, in `seconds` */
    struct journal *journal;
    struct event *journal_readable; /* NULL: journal is away */
    struct quota *refusals;         /* owned; that get a record, and those that are counted */
    struct front_connection **slots; /* by slot; NULL: free */
    unsigned slot_count, connected;
    uint64_t next_identifier;
    uint64_t seconds, trimmed_at; /* of life; connections come and gone when memory was last given back */
    struct event *listeners[SETTINGS_LIST_MAX];
    unsigned listener_count;
    bool accepting, draining;
    struct front_connection *dead; /* freed at the end of the loop turn */
    struct event *tick;
    uint64_t requests[6], bytes_out, accepted, refused, cut; /* counters; requests by hundreds of the status */
    uint64_t request_ms, write_ms;                           /* time-outs */
};

/* front.c: life. */
/* Listens when there is a certificate to show and room, else not. */
void front_watch_listeners(struct front *f);

/* front_connection.c: bytes. */
void front_accept(struct front *f, int fd, const char *host, const char *port);
void front_set_state(struct front_connection *c, enum front_state state);
/* Ends a connection at once, saying why in the log (debug) and, when it was a session, in the journal. Safe inside its own callbacks. */
void front_drop(struct front_connection *c, const char *why);
/* Something changed for this connection: goes on with whatever can go on. */
void front_continue(struct front_connection *c);
/* Frees what was dropped. */
void front_bury(struct front *f);

/* front_identity.c: certificates, theirs and ours. */
void front_link_identity(struct front *f, struct channel *c);
void front_lose_identity(struct front *f, const char *why);
/* Once a second: a fresh certificate is put in force once its key is there, a silent identity is started again. */
void front_tend_identity(struct front *f);
/* After the handshake: has the peer's certificate judged. */
void front_present(struct front_connection *c);
/* It ends: identity may forget it. */
void front_withdraw(struct front_connection *c);
/* The peer's profiles in force (verdict and role bindings), as bits of enum api_profile. */
unsigned front_profiles(const struct front_connection *c);
/* Whether it would hold one from another address. */
bool front_is_barred(const struct front_connection *c);
/* Verdict or bindings may have changed: serves what waited for them, cuts who is not entitled any more. */
void front_review(struct front_connection *c);
void front_review_all(struct front *f);

/* front_request.c: who asks, and may they. */
/* Takes a request from `in` when a whole one is there. False: more bytes are needed. */
bool front_take_request(struct front_connection *c);
/* Serves the request that is in `head`, as far as what is known of its sender allows. */
void front_serve(struct front_connection *c);
/* The verdict did not come in time. */
void front_serve_unjudged(struct front_connection *c);

/* front_answer.c: what is answered. */
/* Answers from here: {"status":…,"code":…,"reason":…}. */
void front_refuse(struct front_connection *c, const struct api_refusal *no);
/* A short answer made here. */
void front_reply(struct front_connection *c, unsigned status, struct slice json);
/* Messages of query for this connection. */
void front_answer(struct front_connection *c, const struct ask_answer *a);
/* The request is answered as far as this side is concerned: forgets it, tells query when it still works on it. */
void front_finish_request(struct front_connection *c);

/* front_queries.c: siblings with the database. */
/* A (new) channel to a query process, or to admin; taken over. */
void front_link_query(struct front_query *q, struct channel *c);
/* It is gone: requests waiting for it are answered 503, answers in the middle are cut. */
void front_lose_query(struct front_query *q, const char *why);
/* Who answers this: the available query with the fewest requests, or admin. NULL with why. */
struct front_query *front_choose_query(struct front *f, enum api_resource resource, const char **why);
void front_flush_query(struct front_query *q);
/* True when some query reaches PostgreSQL; else why not. */
bool front_has_store(const struct front *f, const char **why);
/* True when requests can be served: certificate, keys, identity, role bindings and PostgreSQL are there. */
bool front_is_ready(const struct front *f, const char **why);

/* front_health.c: what is told about it all. */
/* Item by item: rabbitmq, postgresql, hsm, clock, crl, certificates. */
struct health front_health(const struct front *f);
/* /readyz as JSON into `out`: the items too when `whole`. Returns whether all is well. */
bool front_write_health(const struct front *f, bool whole, struct buf *out);
void front_link_journal(struct front *f, struct channel *c);
/* Once a second. */
void front_tend_journal(struct front *f);
/* Records of PROTOCOL.md, "Journal". */
void front_record_opened(struct front_connection *c, unsigned profiles);
void front_record_closed(struct front_connection *c, const char *why);
void front_record_cut(struct front_connection *c, const char *code, const char *why);
void front_record_refusal(struct front_connection *c, const struct api_refusal *no);
/* A certificate refused by the handshake itself, before anything was asked for. */
void front_record_handshake(struct front_connection *c, const char *why);
/* Refusals that got no record are told of: those whose minute is over, or `all`. */
void front_record_omitted(struct front *f, bool all);

#endif
