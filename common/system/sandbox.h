/*
 * What a role may still do once it has read its files: a seccomp filter (everything not allowed kills the process), Landlock rules (paths, TCP ports, signals),
 * no capability, no process of its own. Entered by role_on(), before the first byte of a stranger's or a sibling's input. The filter is built for the C library it is linked
 * with and tested at every build by trying what must not work (tests/integration/test_sandbox.py).
 */
#ifndef COFFRE_SANDBOX_H
#define COFFRE_SANDBOX_H

#include "common/system/settings.h"

enum sandbox_permits {
    SANDBOX_ACCEPT = 1,  /* accept4 on sockets received from the parent */
    SANDBOX_CONNECT = 2, /* socket and connect, IPv4, IPv6 and UNIX, with the resolver's needs; implies SANDBOX_FILES */
    SANDBOX_FILES = 4,   /* open below the paths named; without it no file can be opened at all */
    SANDBOX_THREADS = 8, /* clone for threads, never for processes */
    SANDBOX_MODULE = 16, /* a PKCS#11 library lives here: files (below the paths named, or any when none is), threads, shared memory; never execve, listen or ptrace */
    SANDBOX_BLIND = 64,   /* without SANDBOX_FILES: a file's attributes may be asked for by its name, and no file is ever there. libxml2 asks whether what it is given from memory is a file */
    SANDBOX_NETWORK = 32, /* with SANDBOX_MODULE: sockets to its HSM; without, a socket is refused (not killed for: libraries log to syslog) */
};

enum { SANDBOX_PATHS_MAX = 64, SANDBOX_PORTS_MAX = 8 };

struct sandbox {
    unsigned permits;                     /* OR of enum sandbox_permits */
    const char *read[SANDBOX_PATHS_MAX];  /* files and folders; NULL ends the list; what does not exist is skipped. Of a file its whole folder: files are replaced by renaming */
    const char *write[SANDBOX_PATHS_MAX]; /* folders in which files may be read, created, written, renamed, removed; made (mode 0700) when absent */
    uint16_t ports[SANDBOX_PORTS_MAX];    /* TCP ports to connect to, beside DNS; 0 ends the list; none: any */
    char *owned[SANDBOX_PATHS_MAX];       /* texts that `read` borrows from here; see sandbox_free() */
    bool full;                            /* something did not fit: cannot be entered */
};

/* Zeroed, a sandbox permits nothing but work on the descriptors at hand. Paths are borrowed; "" and NULL are no path. */
void sandbox_read(struct sandbox *s, const char *path);
void sandbox_read_list(struct sandbox *s, const struct settings_list *paths);
void sandbox_write(struct sandbox *s, const char *folder);
void sandbox_write_below(struct sandbox *s, const char *folder, const char *name); /* folder/name */
void sandbox_write_beside(struct sandbox *s, const char *path); /* the folder that it is in */
void sandbox_use(struct sandbox *s, const char *path); /* a folder: to write to; a file: to read */
void sandbox_connect(struct sandbox *s, uint64_t port);

/* What a client of RabbitMQ needs, and one of PostgreSQL with `extra` added to the connection string (both read certificates at each connection). */
void sandbox_use_broker(struct sandbox *s, const struct settings *settings, const char *certificate, const char *key);
void sandbox_use_database(struct sandbox *s, const struct settings *settings, const char *extra);

void sandbox_free(struct sandbox *s);

/* Roles that are the same in every daemon. */
void sandbox_for_keys(struct sandbox *s, const char *key);
void sandbox_for_identity(struct sandbox *s, const struct settings *settings);
void sandbox_for_fetch(struct sandbox *s);

/*
 * For the rest of this process's life. ERR_FATAL: the filter cannot be installed, the role must not go on. A kernel without Landlock (before 5.13) is reported in the log; seccomp is never optional.
 */
MUST_CHECK bool sandbox_enter(const struct sandbox *s, struct err *e);

/* True when what was entered allows all that `s` names; ERR_INPUT names what needs a new start. For reloads. */
MUST_CHECK bool sandbox_covers(const struct sandbox *s, struct err *e);

/*
 * For parents, once their listeners are open: no capability, nothing executed but this very program, no signal to strangers, no ptrace, mounts, modules, other identities.
 * What a parent gives up its roles give up too: it starts them, so it keeps fork, files and (for them) connect.
 */
MUST_CHECK bool sandbox_enter_parent(struct err *e);

#endif
