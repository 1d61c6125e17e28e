/*
 * Small files that must be there after a power cut, whole: either what they held before or what
 * was written. Their content is trusted as far as the folder's owner is.
 */
#ifndef COFFRE_DURABLE_H
#define COFFRE_DURABLE_H

#include <sys/types.h>

#include "common/values/buf.h"

/* Writes <path>.new, fsync, rename over `path`, fsync of the folder. ERR_RETRY when the disk refuses. One process at a time writes a path: its own, or durable_lock(). */
MUST_CHECK bool durable_write(const char *path, struct slice bytes, mode_t mode, struct err *e);

/* Appends the file to `out`, at most its maximum. ERR_RETRY; *missing (may be NULL) says that there is no such file. */
MUST_CHECK bool durable_read(const char *path, struct buf *out, bool *missing, struct err *e);

/* Waits, at most 2 s, for an exclusive flock on <path>.lock and returns its descriptor, or -1 and ERR_RETRY. Closing it unlocks. */
int durable_lock(const char *path, struct err *e);

#endif
