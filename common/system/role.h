/*
 * One shape for all daemons: a parent that starts roles. A role is the same binary executed
 * again with one duty, fresh memory and a channel to its parent; roles that talk to each other get a channel
 * made by the parent. The parent opens listeners, restarts a role that dies and gives its neighbours a new
 * channel, drains at SIGTERM, reloads at SIGHUP, and writes the daemon's status and metrics files.
 * The parent itself parses nothing that comes from outside, and holds no key and no database.
 */
#ifndef COFFRE_ROLE_H
#define COFFRE_ROLE_H

#include <event2/event.h>

#include "common/system/channel.h"
#include "common/system/sandbox.h"
#include "common/system/settings.h"

enum {
    ROLE_LINKS_MAX = 12,      /* other kinds a kind talks to */
    ROLE_INSTANCES_MAX = 64,  /* processes of one kind */
    ROLE_MESSAGE_MAX = 80 << 20, /* bytes of one message between roles: a transaction and its envelope */
    ROLE_QUEUE_MAX = 128 << 20,  /* bytes waiting towards one sibling */
};

enum { ROLE_SILENCE_MS = 60000, ROLE_CHECK_MS = 20000 };

/*
 * How a role ends. 0 is for a drain; on anything but what follows the parent starts it again.
 * The rule: what a role finds wrong (a file, what it is configured with, its database) it says by role_unfit(), whose value it returns. While the daemon starts, that is, until
 * this role has once said whether it is ready, the daemon is refused: the parent stops and exits with 78. Afterwards the role is tried again until it is right, the others go on, and log, status and
 * journal say what is wrong. A database of another operator or vault (ERR_FOREIGN) ends the daemon whenever it is found (design 1).
 */
enum {
    ROLE_EXIT_UNFIT = 77,  /* as role_unfit() has said; never returned without it */
    ROLE_EXIT_CONFIG = 78, /* the daemon must not run so: the parent stops and exits with this too */
};

struct role; /* what a running role knows of its surroundings */

/* A kind of role, one row of a daemon's table. */
struct role_kind {
    const char *name;
    int (*run)(struct role *self);                     /* the duty; its return value is the exit status */
    unsigned (*instances)(const struct settings *s);   /* NULL: one */
    const char *links[ROLE_LINKS_MAX];                 /* kinds it has a channel to; say it on one side only */
    bool listens;                                      /* gets the daemon's listening sockets */
    unsigned drain_stage;                              /* 0 is asked to drain first; a stage waits for the one before */
    bool prompt;                                       /* always comes back to its loop: killed and started again when it has not for `silence_ms`. Not of those that block in a library */
    void (*confine)(const struct settings *s, struct sandbox *box); /* what it needs once it runs; NULL, in tests only: it is not confined */
};

struct daemon {
    const char *name;        /* "coffre-ingest" */
    enum settings_part part;
    const struct role_kind *kinds;
    unsigned kind_count;
    const struct settings_list *(*listen)(const struct settings *s); /* NULL: no listener */
    uint64_t (*drain_ms)(const struct settings *s);
    /* Checks what the table of settings cannot (files exist, certificates load, …), for --check-config too; may be NULL. */
    bool (*check)(const struct settings *s, struct err *e);
    /* Handles SIGUSR1 by sending ROLE_POKE to roles of this kind; NULL: ignored. */
    const char *poke_kind;
    unsigned silence_ms; /* how long a prompt role may be silent; 0: ROLE_SILENCE_MS */
    unsigned check_ms;   /* how long the check may take; 0: ROLE_CHECK_MS */
    const char *summary; /* one line for --help */
};

/*
 * main() of every daemon: options (--config, --check-config, --print-config, --status, --version, --help), then the parent,
 * or the role when executed as one. Returns the exit status.
 */
int daemon_main(const struct daemon *d, int argc, char **argv);

/* What a role does when its parent or the daemon's life asks; any may be NULL. */
struct role_events {
    /* A sibling is there (again). The channel is the callee's; an earlier one to the same sibling is dead. */
    void (*linked)(void *ctx, const char *kind, unsigned index, struct channel *c);
    void (*listener)(void *ctx, int fd); /* a listening, non-blocking socket; the callee's */
    void (*drain)(void *ctx);            /* finish what is begun, then leave the loop and return 0 */
    void (*reload)(void *ctx, const struct settings *fresh); /* already validated, and within the sandbox; borrowed for the call; see role_reload_refused() */
    void (*refused)(void *ctx, const char *why); /* the parent has refused what was changed: what is in force stays */
    void (*poke)(void *ctx);             /* SIGUSR1 at the parent */
    void (*ended)(void *ctx, const char *kind, unsigned index, const char *how); /* a role of this daemon has ended and is started again. For who keeps the journal */
    void (*unfit)(void *ctx, const char *kind, unsigned index, const char *why); /* a role of this daemon cannot begin; NULL: it has begun again. For who keeps the journal */
};

const struct settings *role_settings(const struct role *self);
const char *role_kind_name(const struct role *self);
const char *role_daemon_name(const struct role *self);
/* The host's name, as it was when the daemon was started: the same for all its roles. */
const char *role_node_name(const struct role *self);
unsigned role_index(const struct role *self);

/*
 * Registers the callbacks and enters the kind's sandbox: whatever only the start needs (files, libraries) comes before. Call before either of the two loops below.
 * Ends the process when it cannot be confined.
 */
void role_on(struct role *self, const struct role_events *events, void *ctx);

/* For roles driven by libevent: the parent's channel is watched in this base; ends the loop if the parent dies. */
void role_attach(struct role *self, struct event_base *base);

/*
 * For roles that block elsewhere: handles what the parent has said so far, waiting at most `timeout_ms` for something.
 * False when the role must leave (parent gone).
 */
bool role_poll(struct role *self, int timeout_ms);
/* The parent's channel, for roles that poll several descriptors themselves and then call role_poll(self, 0). */
int role_parent_fd(const struct role *self);

/* Tells the parent whether this role is able to work, and why not; shown in the status file. Cheap to repeat. */
void role_ready(struct role *self, bool ready, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* This role cannot work with what it has found: see ROLE_EXIT_UNFIT. Says so to the parent, which logs it; the value is the role's exit status. */
MUST_CHECK int role_unfit(struct role *self, const struct err *why);

/*
 * From role_events.reload: what was in force stays so here, and the daemon's status must not say otherwise. Logging it is the caller's.
 * The reload is done when all roles have returned from role_events.reload; who finds out later may say so later.
 */
void role_reload_refused(struct role *self, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * Gives the parent this role's metrics: lines of the Prometheus text format without the daemon's labels ("coffre_events_total 12\n").
 * The parent adds role="…",index="…" and writes <state_dir>/<daemon>.prom. At most once a second is useful; about as often is what log_tick() wants, which is called here and by role_poll().
 */
void role_metrics(struct role *self, const char *text);

/* Asks the parent to kill (SIGKILL) and restart a sibling that missed its deadline. */
void role_kill_sibling(struct role *self, const char *kind, unsigned index);

/*
 * Asks the parent for a new channel to a running sibling whose channel this role has closed. Both hear of it by role_events.linked: after a second, after two, four, up to a minute when
 * it is asked for again and again; asked for while one is under way, nothing more happens; nor while the daemon drains. When either is started again, they are linked by that.
 */
void role_relink(struct role *self, const char *kind, unsigned index);

#endif
