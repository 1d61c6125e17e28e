/* What the files of the parent share: parent.c its life, parent_links.c what passes between it and its roles, parent_reload.c the configuration, parent_status.c its files. Nobody else includes it. */
#ifndef COFFRE_PARENT_INTERNAL_H
#define COFFRE_PARENT_INTERNAL_H

#include <sys/types.h>
#include <time.h>

#include "common/system/role_internal.h"
#include "common/values/buf.h"

enum { PROCESSES_MAX = 128, LISTENERS_MAX = SETTINGS_LIST_MAX, RESTART_MIN_MS = 100, RESTART_MAX_MS = 5000, ROLE_NOTE_MAX = 300 };

/* One role's process, or the place where it will be again. */
struct process {
    const struct role_kind *kind;
    unsigned index;
    pid_t pid; /* 0: not running */
    struct channel *channel;
    struct event *readable, *restart;
    struct parent *parent;
    unsigned backoff_ms;
    time_t started;
    bool ready;
    int64_t heard, pinged; /* monotonic ms: its last word, and when it was asked for one; 0: never */
    char note[ROLE_NOTE_MAX];
    char refused[ROLE_NOTE_MAX]; /* why it has not taken the last reload; "": it has */
    char *metrics; /* owned */
};

struct parent {
    const struct daemon *d;
    struct settings *s;             /* in force; owned when not the next */
    const struct settings *started; /* as the daemon was started */
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
};

/* ---- parent_links.c ---- */
/* Sends a message without or with a body; a role that is not there misses it. False: one that is there does. */
bool parent_tell(struct process *p, enum parent_message type, struct slice body);
/* What a role says of itself, as one line. */
void parent_keep_line(char out[ROLE_NOTE_MAX], struct slice text);
/* What roles that were busy have not taken yet. */
void parent_flush(struct parent *parent);
/* Handles what a role has said; it is killed when that makes no sense. */
void parent_read_role(struct process *p);
/* Gives a role just started its settings, the listening sockets, and a channel to each running sibling it talks to. */
void parent_introduce(struct process *p);
/* Asks prompt roles for a sign of life, and ends those that gave none for too long. */
void parent_watch(struct parent *parent);
MUST_CHECK bool parent_open_listeners(struct parent *parent, struct err *e);

/* ---- parent_reload.c ---- */
/* Watches the configuration and the files it names from now on. */
void parent_reload_begin(struct parent *parent);
void parent_reload_end(struct parent *parent);
/* SIGHUP: reads, checks, and tells the roles; refused, everything stays as it is, and it is said. */
void parent_reload_now(struct parent *parent);
/* Once a second: does the same after a change that has been quiet for a second. */
void parent_reload_tick(struct parent *parent);
/* A role has not taken what was read: the status says so. */
void parent_reload_refused_by(struct process *p, struct slice why);
/* For the status and metrics files. */
MUST_CHECK bool parent_reload_status(const struct parent *parent, struct buf *b);
MUST_CHECK bool parent_reload_metrics(const struct parent *parent, struct buf *b);

/* ---- parent_status.c ---- */
void parent_write_status(struct parent *parent);
void parent_write_metrics(struct parent *parent);

#endif
