/* What the roster role remembers through restarts: role bindings, and overrides with their ends. One file, replaced whole. */
#ifndef COFFRE_INGEST_ROSTER_FILE_H
#define COFFRE_INGEST_ROSTER_FILE_H

#include "common/system/roster.h"

/* The bindings (owned) and into an initialised `overrides` the body of IDENTITY_OVERRIDES, not yet judged. NULL: absent, or not such a file. */
struct roster *roster_file_read(const char *path, struct buf *overrides, struct err *e);

/* Whole or not at all, whatever happens meanwhile. */
MUST_CHECK bool roster_file_write(const char *path, const struct roster *roster, const struct buf *overrides, struct err *e);

#endif
