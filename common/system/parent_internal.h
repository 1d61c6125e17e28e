/* What the files of the parent share: parent.c its life, parent_links.c what passes between it and its roles, parent_reload.c the configuration, parent_status.c its files. Nobody else includes it. */
#ifndef COFFRE_PARENT_INTERNAL_H
#define COFFRE_PARENT_INTERNAL_H

#include <sys/types.h>
#include <time.h>

#include "common/system/role_internal.h"
#include "common/values/buf.h"

enum { PROCESSES_MAX = 128, LISTENERS_MAX = SETTINGS_LIST_MAX, RESTART_MIN_MS = 100, RESTART_MAX_MS = 5000, ROLE_NOTE_MAX = 300, ROLE_METRICS_MAX = 64 * 1024 /* bytes of one role's, as told and as written */ };

/* One role's process, or the place where it will be again. */
struct process {
    const struct role_kind *kind;
    unsigned index;
    pid_t pid; /* 0: not running */
    struct channel *channel;
    struct event *readable, *more, *restart; /* more: it has said more than is read in a turn */
    struct parent *parent;
    unsigned backoff_ms;
    time_t started;
    unsigned life; /* how often it was started */
    bool ready;
    bool begun;    /* it has worked in this run of the daemon: what it finds wrong from now on does not end the daemon */
    bool owes_reload, owes_drain; /* it has not been told: it does not read what is sent */
    uint32_t reading; /* of the configuration: the last it is through with */
    bool condemned; /* a sibling has had this process killed */
    int64_t heard, pinged; /* monotonic ms: its last word, and when it was asked for one; 0: never */
    char note[ROLE_NOTE_MAX];
    char refused[ROLE_NOTE_MAX]; /* why it has not taken the last reload; "": it has, or has not come to it */
    unsigned refusals;           /* since that reload, or its start */
    char ended[ROLE_NOTE_MAX];   /* how it ended last; "": that is in the journal */
    char unfit[ROLE_NOTE_MAX];   /* why it cannot begin, until it has; "": it can */
    int64_t unfit_logged;        /* monotonic ms */
    char *metrics; /* owned */
};

struct parent {
    const struct daemon *d;
    struct settings *s;             /* in force; owned when not the next */
    const struct settings *started; /* as the daemon was started */
    char node[256];                 /* the host's name, then */
    struct buf started_text, text; /* of those two */
    struct event_base *base;
    struct process processes[PROCESSES_MAX];
    unsigned count;
    int listeners[LISTENERS_MAX];
    unsigned listener_count;
    struct event *signals[5], *tick, *drain_deadline;
    bool draining;
    unsigned stage; /* of the drain */
    int64_t watched; /* monotonic ms: when its roles' silence was last looked at; 0: never */
    int exit_status;
    struct parent_reload *reload;
    struct parent_relink *relinks; /* owned */
    bool status_unwritten, metrics_unwritten; /* the files do not say what is so */
    bool status_due;                          /* a role has said what the file does not yet: written once for all that is read in a turn */
};

/* ---- parent.c ---- */
/* Starts roles that cannot begin again at once: what was wrong may be right now. */
void parent_retry_unfit(struct parent *parent);

/* ---- parent_links.c ---- */
/* Sends a message without or with a body; a role that is not there misses it. False: one that is there does. */
bool parent_tell(struct process *p, enum parent_message type, struct slice body);
/* What a role says of itself, as one line. */
void parent_keep_line(char out[ROLE_NOTE_MAX], struct slice text);
/* Monotonic, ms. */
int64_t parent_now(void);
/* Tells the journal role, once it is there, which roles have ended that were not to. */
void parent_tell_ended(struct parent *parent);
/* What roles that were busy have not taken yet. */
void parent_flush(struct parent *parent);
/* Handles some of what a role has said; it is killed when that makes no sense. True: there may be more, and others come first. */
bool parent_read_role(struct process *p);
/* Gives a role just started its settings, the listening sockets, and a channel to each running sibling it talks to. */
void parent_introduce(struct process *p);
/* Makes a channel between two running roles; one that cannot be made is tried again. */
void parent_link(struct process *p, struct process *q);
/* Asks prompt roles for a sign of life, and ends those that gave none for too long. */
void parent_watch(struct parent *parent);
MUST_CHECK bool parent_open_listeners(struct parent *parent, struct err *e);

/* ---- parent_relink.c ---- */
/* A channel between two that run, later: see role_relink(). */
void parent_relink_ask(struct process *p, struct process *q);
/* Once a second: makes those whose time has come. */
void parent_relink_tick(struct parent *parent);
void parent_relink_free(struct parent *parent);

/* ---- parent_unfit.c ---- */
/* A role's last word: why it cannot begin. */
void parent_unfit_said(struct process *p, struct slice why);
/* It has ended as unfit. True: it is tried again; false: the daemon must not run so. */
bool parent_unfit_ended(struct process *p);
/* A role has said whether it is ready: it has begun. */
void parent_unfit_over(struct process *p);
/* Tells a role just started which others cannot begin. */
void parent_unfit_introduce(struct process *p);

/* ---- parent_reload.c ---- */
/* Watches the configuration and the files it names from now on. */
void parent_reload_begin(struct parent *parent);
void parent_reload_end(struct parent *parent);
/* SIGHUP: reads, checks, and tells the roles; refused, everything stays as it is, and it is said. At once, but for many signals that come together. */
void parent_reload_ask(struct parent *parent);
/* Once a second: does the same after a change that has been quiet for a second, or that has not come to rest for ten. */
void parent_reload_tick(struct parent *parent);
/* Tells a role what is in force, now or when it listens again. */
void parent_reload_tell(struct process *p);
/* Which reading of the configuration is in force: how many have been taken. */
uint32_t parent_reload_number(const struct parent *parent);
/* A role has not taken what was read: the status says so while that is in force. */
void parent_reload_refused_by(struct process *p, uint32_t reading, struct slice why);
/* A role is through with a reading. False: it is none that it can be through with now. */
MUST_CHECK bool parent_reload_over(struct process *p, uint32_t reading);
/* Counts the last reading as done once all roles that run are through with it and none has refused it. */
void parent_reload_settle(struct parent *parent);
/* For the status and metrics files. */
MUST_CHECK bool parent_reload_status(const struct parent *parent, struct buf *b);
MUST_CHECK bool parent_reload_metrics(const struct parent *parent, struct buf *b);

/* ---- parent_status.c ---- */
void parent_write_status(struct parent *parent);
void parent_write_metrics(struct parent *parent);

#endif
