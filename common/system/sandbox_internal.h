/* What the parts of sandbox.h share; nobody else includes it. */
#ifndef COFFRE_SANDBOX_INTERNAL_H
#define COFFRE_SANDBOX_INTERNAL_H

#include "common/system/sandbox.h"

/* sandbox_landlock.c. True also where the kernel has no Landlock: that is logged. */
MUST_CHECK bool sandbox_landlock(const struct sandbox *s, struct err *e);
/* `program`, `interpreter`: the only files that may be executed from now on; NULL: none. */
MUST_CHECK bool sandbox_landlock_parent(const char *program, const char *interpreter, struct err *e);

/* sandbox_filter.c */
MUST_CHECK bool sandbox_filter(unsigned permits, bool writes, struct err *e);
MUST_CHECK bool sandbox_filter_parent(struct err *e);

/* sandbox_needs.c: what libraries read once and would read too late; files the resolver reads at any time, NULL ends the list. */
void sandbox_prepare(unsigned permits);
extern const char *const sandbox_resolver_files[];

/* The folder of a file, or the folder itself; owned by the caller. */
char *sandbox_folder(const char *path);

#endif
