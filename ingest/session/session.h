/*
 * One depositor's session as a state machine, whatever the protocol: bytes in, bytes out, and actions through a table of operations.
 * No descriptor, clock or log: the front (and the tests) give bytes and time and carry out what is asked. What protocols share is here
 * and in deposits.c and deliveries.c; what they say is in ingest/stomp and ingest/openwire.
 * Input is a stranger's, though one with a valid certificate; deliveries come from a sibling process and are checked too.
 */
#ifndef COFFRE_SESSION_H
#define COFFRE_SESSION_H

#include "common/formats/pack.h"

enum {
    SESSION_CREDIT_DEFAULT = 1000, /* unacknowledged deliveries of a subscription that does not say */
    SESSION_CREDIT_MAX = 10000,
    SESSION_NAME_MAX = 512,        /* bytes of the name of a connection or of a temporary queue */
    SESSION_OUT_HIGH = 1 << 20,    /* bytes not yet written, above which deliveries are given back … */
    SESSION_OUT_LOW = 256 * 1024,  /* … until so few are left */
};

/* Event.<N>.Out, Archive.<N>.Out, a temporary queue. */
enum session_queue { SESSION_EVENTS = 1, SESSION_ARCHIVES = 2, SESSION_REPLIES = 3 };

/* What became of a delivery. */
enum session_outcome {
    SESSION_DONE,     /* acknowledged */
    SESSION_REJECTED, /* not accepted: comes back, its count raised */
    SESSION_UNSEEN,   /* never reached the application: comes back as it was */
};

/* Why a session ended: stable words for logs and metrics, session_end_text(). */
enum session_end {
    SESSION_OPEN,        /* it has not */
    SESSION_DISCONNECT,  /* the peer said goodbye */
    SESSION_PROTOCOL,    /* not the protocol, or something in it that makes no sense */
    SESSION_LIMIT,       /* a limit of the configuration */
    SESSION_DENIED,      /* the certificate is not bound to a depositor */
    SESSION_DESTINATION, /* a queue that does not exist, or not in this direction */
    SESSION_UNAVAILABLE, /* RabbitMQ does not take deposits */
    SESSION_REFUSED,     /* RabbitMQ refused a deposit */
    SESSION_SILENT,      /* no heart-beat for longer than agreed */
    SESSION_SLOW,        /* a frame that trickles, or a peer that does not read */
    SESSION_REVOKED,     /* the certificate is no longer bound */
    SESSION_CERTIFICATE, /* the certificate is not, or no longer, good: expired, revoked, … */
    SESSION_UNVERIFIED,  /* whether it is good cannot be told now */
    SESSION_TAKEN,       /* the peer has connected again under the same name */
    SESSION_SHUTDOWN,    /* the daemon stops */
    SESSION_ENDS,
};

struct session_time {
    uint64_t now;  /* ms, monotonic */
    uint64_t wall; /* ms since 1970, for "received" */
};

/* What a session asks for. `ctx` is the owner's. */
struct session_ops {
    /* True when deposits must wait: the session then leaves a deposit or commit and what follows it where they are. */
    bool (*full)(void *ctx);
    /*
     * Deposits one event, or all framed deposit records of a transaction, towards RabbitMQ; `ticket` grows from one call to the next and comes
     * back in session_confirmed() or session_refused(), never before this returns. `kept`: bytes the session holds until then, beside
     * a fixed amount. False with ERR_RETRY: not taken.
     */
    bool (*deposit)(void *ctx, const struct pack_deposit *d, size_t kept, uint64_t *ticket, struct err *e);
    bool (*deposit_all)(void *ctx, struct slice records, size_t kept, uint64_t *ticket, struct err *e);
    /* Bytes that open transactions hold have changed; false (only when growing): too many in all sessions together. */
    bool (*hold)(void *ctx, int64_t bytes);
    /* Deliveries of a queue (`name`: of a temporary one); `subscription` is never used twice. */
    bool (*subscribe)(void *ctx, uint32_t depositor, enum session_queue queue, struct slice name, uint32_t credit,
                      uint64_t *subscription, struct err *e);
    void (*unsubscribe)(void *ctx, uint64_t subscription);
    /* `credit`: one more may be delivered in its place. */
    void (*settle)(void *ctx, uint64_t subscription, uint64_t delivery, enum session_outcome outcome, bool credit);
    /* So many more may be delivered than now, or fewer (never below none; what is under way still comes). */
    void (*credit)(void *ctx, uint64_t subscription, int32_t change);
    /*
     * This session has a connection's name now (OpenWire's ConnectionId): another of the same depositor and certificate's subject that had
     * it is told by session_taken(). At most one name at a time.
     */
    void (*claim)(void *ctx, uint32_t depositor, struct slice name);
    void (*unclaim)(void *ctx);
};

/* What is the same for all sessions of a front; borrowed by them. */
struct session_rules {
    struct {
        size_t headers;      /* header lines of a STOMP frame */
        size_t header_bytes; /* of all headers or properties of a frame */
        size_t body_bytes;   /* of an event */
    } frame;
    char queue_in[40], queue_out[40], queue_archive[40]; /* bare names: session_rules_vault() */
    char instance[24];           /* unique to this run of the front: makes message ids unique in the world */
    uint64_t transaction_bytes;  /* of one transaction, as deposit records */
    unsigned transactions;       /* open at once in a session */
    unsigned subscriptions;      /* in a session */
    uint64_t heartbeat_min;      /* ms */
    uint64_t inactivity;         /* ms; OpenWire's MaxInactivityDuration, ours */
    uint64_t frame_time;         /* ms a frame may take to arrive, and the opening frames to come */
};

/* Names the three queues of vault N. */
void session_rules_vault(struct session_rules *rules, uint64_t vault);

/* A peer that is told, in its own protocol, that it may not have a session, and why. SESSION_OPEN: it may. */
struct session_refusal {
    enum session_end end;
    const char *text; /* reads well after "coffre: " */
};

struct session;
struct session_protocol;
extern const struct session_protocol stomp_protocol, openwire_protocol;

/*
 * A session that has read nothing yet. `depositor` is who the certificate is bound to; `name` (of this connection, in this front) is for the
 * protocol's own names. `out` takes what goes to the peer; borrowed like rules and ops.
 */
struct session *session_new(const struct session_protocol *protocol, const struct session_rules *rules, const struct session_ops *ops,
                            void *ctx, struct buf *out, uint32_t depositor, const struct session_refusal *refusal, const char *name,
                            struct session_time t);
/* Ends its subscriptions first. NULL is a no-op. */
void session_free(struct session *s);

/*
 * Takes whole frames from `in` until none is left, the session ends, or a deposit must wait (ops->full, session_blocked()). Returns the
 * bytes done with; what is left must come again at the beginning of the next call's `in`. All is consumed once the session has ended.
 */
size_t session_input(struct session *s, struct slice in, struct session_time t);

/* Bytes arrived, or nothing could be read by our own choice: the peer is not silent and its frame not late. */
void session_heard(struct session *s, struct session_time t);

/* As much of everything ever put into `out` has been written (a running total): automatic acknowledgements follow. */
void session_written(struct session *s, uint64_t total, struct session_time t);

/* RabbitMQ confirmed and routed this ticket, or will never take it. */
void session_confirmed(struct session *s, uint64_t ticket);
void session_refused(struct session *s, uint64_t ticket, const char *reason);
/* The deposit that must wait has waited too long: the peer is told, and input can be tried again unless the session has ended. */
void session_stalled(struct session *s, const char *reason);

/* A delivery for one of its subscriptions; one that is not (any more) is ignored, unsubscribing gave it back. */
void session_answer(struct session *s, uint64_t subscription, uint64_t delivery, const struct pack_answer *a, struct session_time t);
void session_archive(struct session *s, uint64_t subscription, uint64_t delivery, unsigned redeliveries,
                     const struct pack_archive *a, struct session_time t);
/* A temporary queue exists now; a subscription will not be. */
void session_subscribed(struct session *s, uint64_t subscription);
void session_not_subscribed(struct session *s, uint64_t subscription, const char *reason);
/* Another connection of the same peer has claimed the name. */
void session_taken(struct session *s);

/*
 * Who delivers has started again: what was delivered and not acknowledged will come again, as another message, and
 * every subscription and claim is made anew.
 */
void session_resubscribe(struct session *s);

/* Ends the session, telling the peer. `text` reads well after "coffre: ". */
void session_fail(struct session *s, enum session_end why, const char *text);
/* No more input; pending receipts still go, then it ends. */
void session_drain(struct session *s);
/* Time passes: sends heart-beats, notices silence and slow frames. Call a few times per heart-beat interval. */
void session_tick(struct session *s, struct session_time t, uint64_t period);
/* Gives back memory that an idle session does not need. */
void session_trim(struct session *s);

/* SESSION_OPEN while it lives; afterwards what is in `out` should still be written, then the connection closed. */
enum session_end session_ended(const struct session *s);
/* The reason in words; borrowed. */
const char *session_end_reason(const struct session *s);
const char *session_end_text(enum session_end end);              /* "silent" */
const char *session_protocol_text(const struct session *s);      /* "STOMP 1.2" */

bool session_connected(const struct session *s);   /* its opening frame was accepted */
bool session_blocked(const struct session *s);     /* its last input ended before a deposit that must wait */
size_t session_pending(const struct session *s);   /* deposits neither confirmed nor refused */

/* Counted since the session began. */
struct session_counts {
    uint64_t deposits, bytes, receipts, answers, archives, acks, commits;
    uint64_t refusals; /* commands answered with an error, the session going on */
};
const struct session_counts *session_counts(const struct session *s);

#endif
