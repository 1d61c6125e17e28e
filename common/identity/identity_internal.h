/* What the parts of the identity role share; nobody else includes it. One thread, one loop (identity_role.c); each part is called from there. */
#ifndef COFFRE_IDENTITY_INTERNAL_H
#define COFFRE_IDENTITY_INTERNAL_H

#include "common/identity/expiry.h"
#include "common/identity/identity.h"
#include "common/journal/journal.h"
#include "common/values/map.h"

enum {
    IDENTITY_PATH_MAX = IDENTITY_DEPTH_MAX + 1, /* certificates of a path whose revocation is asked: all but the anchor */
    IDENTITY_SOURCES_MAX = 8,                   /* siblings that tell overrides */
};

struct identity_lists;  /* CRLs: identity_lists.c */
struct identity_ocsp;   /* OCSP answers: identity_ocsp.c */
struct identity_answer; /* one of them */
struct identity_people; /* who has presented what: identity_people.c */
struct identity_watch;  /* files and ends of validity: identity_watch.c */
struct identity_staple; /* OCSP for our own certificate: identity_staple.c */
struct identity_ask;    /* requests to `fetch`: identity_ask.c */

struct identity_front {
    struct channel *channel; /* NULL: away */
    bool failed;             /* it is being ended: nothing more is sent */
    struct map connections;  /* struct identity_connection by number: identity_people.c */
    size_t bytes;            /* that are kept for it: identity_room.c */
    uint64_t turned_away;    /* connections that found no room: since that was said last, */
    int64_t say_at;          /* and when it may be said again, identity_clock() */
};

/* Overrides as one sibling told them last; texts are owned. */
struct identity_source {
    unsigned count;
    struct identity_override at[IDENTITY_OVERRIDES_MAX];
};

/* What a front's TLS context is made of. */
struct identity_shown {
    struct buf chain;        /* PEM; empty: nothing is shown here */
    X509 *certificate;       /* owned */
    X509 *issuer;            /* owned; NULL: not known */
    unsigned depth;
};

struct identity {
    struct role *role;
    const char *name;                   /* the daemon's */
    const struct identity_duty *duty;
    struct settings *settings;          /* in force; owned */
    struct identity_policies *policies; /* in force; owned */
    struct identity_policies *before;   /* those before a reload, while it is done; owned */
    bool shown_changed;                 /* by that reload */
    uint64_t front_bytes, front_connections; /* that may be kept for one front: identity_room.c */
    struct identity_shown shown;
    struct journal *journal;
    struct identity_front fronts[ROLE_INSTANCES_MAX];
    struct channel *telling[IDENTITY_SOURCES_MAX]; /* roster, or query by index */
    const char *telling_kind[IDENTITY_SOURCES_MAX];
    struct identity_source sources[IDENTITY_SOURCES_MAX];
    struct identity_ask *ask;
    struct identity_lists *lists;
    struct identity_ocsp *ocsp;
    struct identity_people *people;
    struct identity_watch *watch;
    struct identity_staple *staple;
    struct health health;
    uint64_t policies_generation, overrides_generation;
    int64_t override_until[ROSTER_FUNCTIONAL + 1]; /* ms; 0: none in force, by profile */
    char *override_by[ROSTER_FUNCTIONAL + 1];      /* owned: who, for the journal */
    uint64_t overrides_used;
    bool unread; /* a front has said more than there was time for in this turn */
    bool review; /* verdicts may have changed: identity_people_review() before the next wait */
    bool drained;
};

/* ms since 1970, which is what validity is about; ms of a clock that only goes on, for deadlines. */
int64_t identity_wall(void);
int64_t identity_clock(void);

/* Ends a front: one that does not take its verdicts must not go on with old ones. Its connections are forgotten by the loop. */
void identity_front_failed(struct identity *i, unsigned front, const char *why);

/* ---- identity_ask.c: one request to `fetch`, one answer ---- */
typedef void identity_asked(void *ctx, const struct identity_fetched *f); /* `f->status` 0: none came, `f->reason` says why */

struct identity_ask *identity_ask_new(struct identity *i);
void identity_ask_free(struct identity_ask *a);
void identity_ask_link(struct identity_ask *a, struct channel *c); /* taken over */
int identity_ask_fd(const struct identity_ask *a, short *events);  /* -1: away */
void identity_ask_serve(struct identity_ask *a);
/* Asks; `request` is set here. 0: `fetch` is away or cannot take it now, nothing follows. Else done(ctx) is called once, later, after `timeout` at the latest. */
uint32_t identity_ask_begin(struct identity_ask *a, struct identity_fetch *f, identity_asked *done, void *ctx);
void identity_ask_forget(struct identity_ask *a, uint32_t request); /* done() is not called any more; 0 is a no-op */
void identity_ask_tick(struct identity_ask *a);
void identity_ask_flush(struct identity_ask *a);

/* ---- identity_lists.c ---- */
struct identity_lists *identity_lists_new(struct identity *i);
void identity_lists_free(struct identity_lists *l);
/* At the beginning, and when settings changed; `authorities`: those that may have issued lists did too. */
void identity_lists_configure(struct identity_lists *l, bool authorities);
void identity_lists_tick(struct identity_lists *l);      /* about once a second */
const struct crl_set *identity_lists_set(const struct identity_lists *l);
/* Whether a list says that it is revoked, be it one that has ended: time takes no revocation back. `f` says which. */
bool identity_lists_revoke(const struct identity_lists *l, X509 *certificate, X509 *issuer, int64_t now, struct revocation_finding *f);
bool identity_lists_health(const struct identity_lists *l, char *note, size_t size);
void identity_lists_metrics(const struct identity_lists *l, struct buf *out);

/* ---- identity_ocsp.c ---- */
struct identity_ocsp_view {
    struct revocation_finding found; /* REVOCATION_UNKNOWN: nothing valid, `text` says why */
    bool pending;                    /* a newcomer should wait: an answer is under way, and what is there is none or due to be asked again */
    bool ended;                      /* there was an answer, and its time is over: no reason to wait any longer for those who live on it */
};
struct identity_ocsp *identity_ocsp_new(struct identity *i);
void identity_ocsp_begin(struct identity_ocsp *o); /* once, when there are settings */
void identity_ocsp_free(struct identity_ocsp *o);
/* The cached answer about `certificate`, asked for now if it is not there or old. `responder`: URL, "": the certificate's own. Borrowed until identity_ocsp_leave(): kept fresh until then. */
struct identity_answer *identity_ocsp_use(struct identity_ocsp *o, X509 *certificate, X509 *issuer, const char *responder);
void identity_ocsp_leave(struct identity_ocsp *o, struct identity_answer *a); /* NULL is a no-op */
void identity_ocsp_refresh(struct identity_ocsp *o, struct identity_answer *a); /* a newcomer looks at it: asked for again when old */
void identity_ocsp_look(const struct identity_answer *a, int64_t now, struct identity_ocsp_view *v);
/* Whether the last answer that was valid said revoked, be it over by now; NULL: no. */
const struct revocation_finding *identity_ocsp_revokes(const struct identity_answer *a);
uint64_t identity_ocsp_generation(const struct identity_answer *a); /* raised with each answer and failure */
void identity_ocsp_tick(struct identity_ocsp *o);
/* What was found revoked is on disk when this returns, unless the disk refuses. Before anybody hears of it: whoever was refused for it stays so, whatever ends this process. */
void identity_ocsp_keep(struct identity_ocsp *o);
void identity_ocsp_metrics(const struct identity_ocsp *o, struct buf *out);

/* ---- identity_people.c, identity_standing.c ---- */
struct identity_people *identity_people_new(struct identity *i);
void identity_people_free(struct identity_people *p);
MUST_CHECK bool identity_people_present(struct identity_people *p, unsigned front, const struct identity_present *m, struct err *e);
void identity_people_gone(struct identity_people *p, unsigned front, uint64_t connection);
void identity_people_lost(struct identity_people *p, unsigned front); /* all connections of a front that is gone */
void identity_people_review(struct identity_people *p, bool everybody); /* those for whom something may have changed; `everybody`: chains too */
void identity_people_tick(struct identity_people *p); /* about once a second */
void identity_people_metrics(const struct identity_people *p, struct buf *out);
/* A front takes so many connections now: what may be kept for each of them. Who is there already stays. */
void identity_room_limit(struct identity *i, uint64_t connections);
/* The end: says who has found no room since that was said last, while there is a journal to say it to. */
void identity_room_end(struct identity *i);

/* What one profile's policy says of one presented chain. */
struct identity_standing {
    enum identity_check chain; /* of the chain alone */
    STACK_OF(X509) *path;      /* owned; NULL unless it passed */
    int64_t end;               /* ms: of the path */
    struct identity_answer *answers[IDENTITY_PATH_MAX]; /* used; NULL: not asked */
    enum identity_check check; /* of all but the address */
    bool pending;              /* `check` may change when an OCSP answer arrives */
    bool ended;                /* what is pending had an answer, which is over */
    bool overridden;           /* passed, but for the override it would not have */
    int64_t until;             /* ms: time alone changes nothing before; INT64_MAX: ever */
    char why[400];
};
/* `chain` NULL: unreadable. Validates, and begins asking; keeps what it needs of it. */
void identity_standing_begin(struct identity *i, const struct identity_policy *p, const struct identity_chain *chain, int64_t now, struct identity_standing *s);
/* Weighs revocation again. */
void identity_standing_weigh(struct identity *i, const struct identity_policy *p, int64_t now, struct identity_standing *s);
void identity_standing_end(struct identity *i, struct identity_standing *s);

/* ---- identity_overrides.c ---- */
void identity_overrides_take(struct identity *i, unsigned source, const struct identity_overrides *o);
void identity_overrides_tick(struct identity *i, int64_t now); /* begins and ends */
/* Those in force, for status and health; "": none. */
const char *identity_overrides_alarm(const struct identity *i, char *out, size_t size);
bool identity_overrides_in_force(const struct identity *i, enum roster_profile profile, int64_t now);
/* Records that somebody was let in by it. */
void identity_overrides_used(struct identity *i, enum roster_profile profile, const char *holder, const char *from);
void identity_overrides_free(struct identity *i);

/* ---- identity_shown.c: policies, and what fronts show; loaded whole or not at all ---- */
MUST_CHECK bool identity_shown_load(struct identity_shown *shown, const struct settings *s, const struct identity_duty *duty, const struct identity_policies *policies, struct err *e);
void identity_shown_free(struct identity_shown *shown);
struct settings *identity_settings_copy(const struct settings *s, struct err *e);

/* ---- identity_watch.c ---- */
struct identity_watch *identity_watch_new(struct identity *i);
void identity_watch_free(struct identity_watch *w);
void identity_watch_configure(struct identity_watch *w); /* at the beginning, and when settings or the files they name changed */
void identity_watch_tick(struct identity_watch *w);      /* about once a second: what ends is said */
void identity_watch_client(struct identity_watch *w, X509 *leaf); /* somebody passes with it */
/* What a warning was given for and ends first, for the status; "": nothing. */
const char *identity_watch_warning(const struct identity_watch *w, char *out, size_t size);
bool identity_watch_health(const struct identity_watch *w, char *note, size_t size);
void identity_watch_metrics(const struct identity_watch *w, struct buf *out);

/* ---- identity_staple.c ---- */
struct identity_staple *identity_staple_new(struct identity *i);
void identity_staple_free(struct identity_staple *s);
void identity_staple_configure(struct identity_staple *s); /* after the server certificate changed */
void identity_staple_tick(struct identity_staple *s);
struct slice identity_staple_response(const struct identity_staple *s); /* empty: none */

#endif
