/*
 * What a role may still do once it has read its files: a seccomp filter (everything not allowed kills the process) and Landlock rules (paths). Entered before
 * the first byte of a stranger's or a sibling's input. The filter is built for the C library it is linked with and tested at every build by trying what must not work.
 */
#ifndef COFFRE_SANDBOX_H
#define COFFRE_SANDBOX_H

#include "common/values/err.h"

enum sandbox_permits {
    SANDBOX_ACCEPT = 1,      /* accept4 on sockets received from the parent */
    SANDBOX_CONNECT = 2,     /* socket and connect, IPv4, IPv6 and UNIX, with the resolver's needs */
    SANDBOX_FILES = 4,       /* open below the paths named; without it no file can be opened at all */
    SANDBOX_THREADS = 8,     /* clone for threads, never for processes */
    SANDBOX_MODULE = 16,     /* a PKCS#11 library lives here: files, sockets to its HSM, threads, shared memory; never execve, listen or ptrace */
};

enum { SANDBOX_PATHS_MAX = 64 };

struct sandbox {
    unsigned permits;
    const char *read[SANDBOX_PATHS_MAX];  /* files and folders; NULL ends the list; what does not exist is skipped */
    const char *write[SANDBOX_PATHS_MAX]; /* folders in which files may be created, written, renamed, removed */
};

/*
 * For the rest of this process's life. ERR_FATAL: the filter cannot be installed, the role must not go on. A kernel without Landlock (before 5.13) is reported once in the log; seccomp is never optional.
 */
MUST_CHECK bool sandbox_enter(const struct sandbox *s, struct err *e);

#endif
