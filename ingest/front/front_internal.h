/*
 * Role `front`: what its files share; nobody else includes it. front.c is the role and its loop, front_links.c its
 * siblings, front_identity.c the one that judges certificates, front_connection.c the life of a connection, front_admission.c who may have a
 * session and who not any more, front_stream.c what goes over it, front_tickets.c deposits not yet confirmed, front_routes.c subscriptions.
 */
#ifndef COFFRE_FRONT_INTERNAL_H
#define COFFRE_FRONT_INTERNAL_H

#include <event2/event.h>

#include "common/identity/identity.h"
#include "common/journal/journal.h"
#include "common/journal/refusals.h"
#include "common/system/tls_trust.h"
#include "common/values/health.h"
#include "common/values/map.h"
#include "ingest/roles.h"
#include "ingest/session/session.h"

enum {
    FRONT_READ_MAX = 64 * 1024,      /* bytes read from a connection in a turn */
    FRONT_READ_FULL = 8 * 1024,      /* the same while deposits must wait */
    FRONT_OUT_MAX = 4 << 20,         /* bytes that wait for a peer that does not read */
    FRONT_OUT_PAUSE = 256 * 1024,    /* no more is read from a peer with so much waiting */
    FRONT_ACCEPT_MAX = 64,           /* connections taken in a turn */
    FRONT_STRANGERS_MAX = 4 << 20,   /* bytes of frames not whole, of all peers without a session */
    FRONT_SHARES = 2,                /* no depositor has more than one of so many parts of what all may hold */
    FRONT_LISTENERS_MAX = SETTINGS_LIST_MAX,
    FRONT_KEYS_MS = 3000,            /* without the keys role after which it is started again */
    FRONT_LINK_MS = 15000,           /* the same of relay, deliver and identity: longer than the parent waits between two starts */
    FRONT_SILENCE_MS = 30000,        /* without a word from identity, which says something every second */
    FRONT_LAPSE_MS = 60000,          /* a verdict outlives the identity role that gave it, until the next one gives its own */
    FRONT_TRY_MS = 1000,             /* between two looks whether the keys role has a new certificate's key */
    FRONT_CUT_MS = 800,              /* for a peer that has lost its right to read the last words */
    FRONT_REASON_MAX = 400,          /* bytes kept of a verdict's reason */
    FRONT_HEAP_MS = 5000,            /* between two looks at memory nobody uses */
    FRONT_NAME_MAX = SESSION_NAME_MAX,
    FRONT_LINGER_MS = 2000,          /* for the peer to read the last words */
    FRONT_TICKET_COST = 160,         /* bytes a deposit not yet confirmed costs besides its own */
    FRONT_IDLE_MS = 1000,            /* then memory is given back */
    FRONT_KEEP_MAX = 512,            /* connections up to which each keeps its TLS buffers until then */
};

/* Where a connection is; connection_enter() alone changes it. */
enum connection_state {
    CONNECTION_HANDSHAKE, /* TLS */
    CONNECTION_IDENTITY,  /* its certificate is known; what identity says of it, or the role bindings, are not yet */
    CONNECTION_OPENING,   /* which protocol? */
    CONNECTION_SESSION,   /* has one */
    CONNECTION_FLUSHING,  /* its session has ended: the last words are being written */
    CONNECTION_LINGERING, /* written; the peer may still read */
    CONNECTION_GONE,      /* parked until the end of the turn, or until its tickets are settled */
};

/* Why connections end before or besides their session's reasons. */
enum front_end { FRONT_END_TLS = SESSION_ENDS, FRONT_END_CLOSED, FRONT_END_HANDSHAKE, FRONT_ENDS };

struct connection {
    struct front *front;
    enum connection_state state;
    struct tls_stream *tls;
    struct session *session; /* NULL until the protocol is known */
    enum session_end refusal; /* what the session begins with: SESSION_OPEN, or the reason why there may be none */
    char *refusal_text;      /* owned */
    struct event *event;     /* owned */
    short watching;          /* EV_READ | EV_WRITE at present */
    struct buf in;           /* what is not a whole frame yet, or must wait */
    struct buf out;
    struct tls_subject *subject; /* owned; NULL: none that can be bound */
    char *reason;            /* owned: of identity's verdict; NULL: none */
    uint32_t depositor;      /* who the certificate is bound to; 0: not admitted */
    uint8_t profiles;        /* of the verdict: OR of 1 << enum roster_profile */
    uint8_t check;           /* of the verdict: enum identity_check */
    bool presented;          /* the present identity role has its certificates */
    bool judged;             /* there is a verdict, of this or an earlier identity role */
    uint64_t orphaned;       /* when the identity role that gave it was lost, ms; 0: it is there */
    bool opened;             /* it was given a session, which the journal knows */
    bool cut;                /* it has lost its right */
    uint64_t written;        /* of all output */
    uint64_t since;          /* when the state was entered, ms */
    uint64_t active;         /* last time something happened */
    uint64_t blocked_since;  /* the peer does not read; 0: it does */
    uint64_t waits_since;    /* a deposit must wait; 0: none */
    size_t held;             /* in.len as counted in one of the front's sums … */
    bool admitted;           /* … that of depositors, not that of strangers */
    int64_t transactions;    /* bytes that its open transactions hold */
    unsigned tickets;        /* not yet settled */
    bool wants_write;        /* TLS cannot write now */
    bool trimmed;            /* memory was given back since the last activity */
    bool dirty, again, waiting; /* in these lists of the front */
    struct connection *next, *previous;      /* all connections */
    struct connection *next_dirty, *next_again, *next_waiting, *next_gone;
    uint64_t number;         /* names the session, and the connection towards deliver and identity */
    char peer[64];           /* address and port */
};

/* A deposit or transaction handed to the relay. */
struct ticket {
    struct connection *connection; /* NULL: settled */
    uint32_t bytes;                /* of its records, and what it costs besides */
    uint64_t since;
};

struct tickets {
    struct ticket *at; /* owned; capacity a power of two */
    uint64_t first;    /* number of the oldest not settled */
    uint64_t next;     /* number of the next one */
    size_t capacity;
    size_t bytes;      /* of all not settled */
};

/* A subscription as deliver knows it. */
struct route {
    uint64_t id;                   /* place in the table, and a serial above; 0: free */
    struct connection *connection;
    bool sent;                     /* the present deliver has been told */
    uint32_t next_free;
};

struct routes {
    struct route *at; /* owned */
    uint32_t count, free; /* free: 1 + the first free place, or 0 */
    uint64_t serial;
};

/* A channel to a sibling. */
struct link {
    struct channel *channel; /* NULL: the sibling is away */
    struct event *readable, *writable;
};

struct front {
    struct role *role;
    struct event_base *base;
    struct event *tick;
    struct session_rules rules;
    uint64_t limit_connections, limit_pending, limit_held;
    uint64_t handshake_ms, connect_ms, stall_ms, write_ms;
    struct remote_line *keys;
    struct tls_trust *trust; /* in force; NULL: none yet, nothing is accepted */
    struct tls_trust *fresh; /* takes its place as soon as the keys role signs for it; NULL: none */
    uint64_t try_at;         /* when that is looked at again */
    struct link relay, deliver, roster_link, identity;
    bool present_again;      /* some connection found no room in identity's channel */
    uint64_t identity_heard; /* last time */
    struct map by_number;    /* connections with a descriptor */
    struct health health;    /* what identity says of CRLs and certificates */
    struct journal *journal;
    struct quota *refusals; /* owned; that get a record, and those that are counted */
    struct event *journal_readable; /* on journal_watched */
    int journal_watched;     /* -1: the journal role is away */
    bool relay_up;
    char relay_why[200];
    char told[256];          /* what the parent was told last */
    struct roster *roster; /* NULL: not known yet */
    struct event *listeners[FRONT_LISTENERS_MAX];
    int listener_fds[FRONT_LISTENERS_MAX];
    unsigned listener_count;
    uint64_t accept_again;   /* descriptors were out: accept again at this time; 0: accepting */
    struct connection *connections, *dirty, *again, *gone;
    struct connection *waiting, *waiting_last; /* whose next deposit must wait; first come, first served */
    unsigned connection_count;
    uint64_t connection_number;
    struct tickets tickets;
    struct routes routes;
    struct buf scratch;      /* what is read from a connection that holds nothing */
    size_t held;             /* bytes of frames not whole, of all sessions */
    size_t strangers;        /* the same of connections without a session */
    int64_t transactions;    /* bytes that open transactions hold */
    struct session_time time;
    uint64_t period;         /* of the tick, ms */
    uint64_t metrics_at;
    uint64_t heap_at, heap_seen; /* when, and at what count of connections, unused memory was given back */
    uint64_t relay_seen, deliver_seen, identity_seen; /* last time they were linked; 0: not yet */
    uint64_t keys_lost_at;   /* last time the keys role was linked; 0: not yet */
    bool draining;
    struct {
        uint64_t accepted, refused_full, denied, cut, ends[FRONT_ENDS];
        struct session_counts sessions; /* of sessions that have ended */
    } counts;
};

/* The time, once for everything that follows. */
void front_look_at_clock(struct front *f);
bool front_is_full(const struct front *f);
/* Listens while there is a certificate to show and a descriptor left. */
void front_listen(struct front *f);

/* front_links.c */
void front_say_ready(struct front *f);
void front_linked(void *ctx, const char *kind, unsigned index, struct channel *c);
void front_flush_relay(struct front *f);
void front_flush_deliver(struct front *f);
extern const struct session_ops front_session_ops;

/* front_identity.c */
void identity_linked(struct front *f, struct channel *c);
void identity_present(struct connection *c); /* to be judged; while identity is away, once it is back */
void identity_gone(struct connection *c);
void identity_flush(struct front *f);
void identity_tick(struct front *f);
/* The fresh trust is put in force when its key is there. */
void identity_try_trust(struct front *f);
void journal_linked(struct front *f, struct channel *c);
void front_record(struct front *f, const char *event, const struct journal_field *fields, unsigned count);

/* front_admission.c */
/* Verdict or role bindings have changed: it is admitted, refused, cut, or nothing is new for it. */
void admission_look(struct connection *c);
/* No verdict in time. */
void admission_time_out(struct connection *c);
/* It was admitted, and there has been nobody for too long who would say that its certificate is revoked. */
void admission_lapsed(struct connection *c);
/* No session: told once the protocol is known. `check` is a word for programs, `reason` for log and journal, `said` goes over the wire. */
void admission_refuse(struct connection *c, enum session_end end, const char *check, const char *reason, const char *said);
/* Refusals that got no record are told of: those whose minute is over, or `all`. */
void admission_tell_omitted(struct front *f, bool all);
/* Refused by the handshake itself: by its certificate (`denied`), or before there was one. */
void admission_tls_refused(struct connection *c, bool denied, const char *reason);
/* For the journal. */
void admission_opened(struct connection *c);
void admission_closed(struct connection *c, const char *reason);

/* front_connection.c */
void connection_accept(struct front *f, int fd, const char *peer);
void connection_enter(struct connection *c, enum connection_state state);
bool connection_reads(const struct connection *c); /* is anything read from it now? */
void connection_watch(struct connection *c);       /* … and its descriptor watched accordingly */
void connection_wait_for_room(struct connection *c);
void connection_read_again(struct connection *c);  /* bytes wait inside TLS, which no poll tells */
void connection_count_held(struct connection *c);
/* Why what it holds is too much; NULL: it is not. */
const char *connection_holds_too_much(const struct connection *c);
/* Would this many bytes more in transactions be more than it may have? */
bool connection_transacts_too_much(const struct connection *c, int64_t bytes);
void connection_check_session(struct connection *c); /* one that has ended is told and left */
void connection_linger(struct connection *c);
void connection_discard(struct connection *c);
/* The end of a connection, for a reason that is not its session's. */
void connection_end(struct connection *c, enum front_end why, const char *text);
/* Log fields of its peer appended to `fields`. */
void connection_name(const struct connection *c, char *fields, size_t size);
void connection_touch(struct connection *c); /* its output or session changed: looked at when the turn ends */
void connection_tick(struct connection *c);
void connection_drain(struct connection *c);
void connection_free_gone(struct front *f);
const char *connection_end_text(unsigned why); /* of enum session_end and enum front_end */

/* front_stream.c */
void connection_happened(evutil_socket_t fd, short what, void *arg);
void connection_open(struct connection *c); /* who it is has been settled, either way: its protocol comes next */
/* The peer has not said which protocol it speaks, and will not be waited for. */
void connection_fail_opening(struct connection *c, enum session_end end, const char *text);
void connection_resume(struct connection *c); /* a deposit that waited may go on */
void connection_read(struct connection *c);
void connection_flush(struct connection *c);

/* front_tickets.c */
uint64_t tickets_add(struct tickets *t, struct connection *c, size_t bytes, uint64_t now);
/* The connection that waits for it, no longer counted; NULL when already settled. */
struct connection *tickets_settle(struct tickets *t, uint64_t number);
bool tickets_take_range(struct front *f, const struct channel_message *m, struct err *e);
void tickets_relay_lost(struct front *f, const char *why);
void tickets_check_stalled(struct front *f);

/* front_routes.c */
uint64_t routes_add(struct routes *r, struct connection *c);
struct route *routes_find(struct routes *r, uint64_t id);
bool routes_take_subscribed(struct front *f, const struct channel_message *m, struct err *e);
bool routes_take_taken(struct front *f, const struct channel_message *m, struct err *e);
void routes_remove(struct routes *r, uint64_t id);
bool routes_take_delivery(struct front *f, const struct channel_message *m, struct err *e);
bool routes_take_refusal(struct front *f, const struct channel_message *m, struct err *e);

#endif
