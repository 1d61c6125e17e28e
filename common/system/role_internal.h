/* What role.c and parent.c share; nobody else includes it. */
#ifndef COFFRE_ROLE_INTERNAL_H
#define COFFRE_ROLE_INTERNAL_H

#include "common/system/role.h"

enum { ROLE_PARENT_FD = 3 /* the channel to the parent in an executed role */ };

/* The closed set of messages between parent and role. */
enum parent_message {
    PARENT_LINK = 1, /* text kind, u32 index, + descriptor */
    PARENT_LISTENER, /* + descriptor */
    PARENT_DRAIN,
    PARENT_RELOAD,   /* u32 which reading, rest: the configuration file's text; ROLE_SAYS_RELOADED answers it */
    PARENT_POKE,
    PARENT_SETTINGS, /* the first message of all: bytes the text the daemon was started with, bytes the one in force, text the node's name, u32 which reading that is; 0: none yet */
    PARENT_REFUSED,  /* text: why what was changed is not taken, and the configuration in force stays */
    PARENT_PING,     /* to prompt roles; ROLE_SAYS_PONG answers it */
    PARENT_ENDED,    /* text kind, u32 index, text how: a role that was not to end; to the journal role */
    PARENT_UNFIT,    /* text kind, u32 index, text why: a role that cannot begin; empty: it has begun again */
    ROLE_SAYS_READY = 100, /* u8 ready, rest: text */
    ROLE_SAYS_METRICS,     /* Prometheus text */
    ROLE_SAYS_KILL,        /* text kind, u32 index */
    ROLE_SAYS_RELINK,      /* text kind, u32 index */
    ROLE_SAYS_PONG,
    ROLE_SAYS_UNFIT,       /* text: why it cannot begin; its last word */
    ROLE_SAYS_REFUSED,     /* u32 which reading, rest: text why it has not taken it */
    ROLE_SAYS_RELOADED,    /* u32 which reading it is through with; what it has not taken of it, it has said before */
};

/* The executed role's main: returns its exit status. `file` is the configuration's name; its text comes from the parent, so that all roles have the same. */
int role_main(const struct daemon *d, const char *kind, unsigned index, const char *file);

/* The parent's main, once options are read: `s`, made of `text`, is borrowed. Returns the exit status. */
int parent_main(const struct daemon *d, struct settings *s, struct slice text);

/* The daemon's own check, in a process of its own: keys that it loads must not stay in the parent's memory. */
MUST_CHECK bool daemon_check_apart(const struct daemon *d, const struct settings *s, struct err *e);

#endif
