/*
 * Overrides of revocation (débrayage) in force, on their way from the store to the identity role, as the body of IDENTITY_OVERRIDES (identity.h): what is loaded, kept in a
 * file, compared and sent is the same bytes.
 */
#ifndef COFFRE_IDENTITY_OVERRIDES_H
#define COFFRE_IDENTITY_OVERRIDES_H

#include "common/values/buf.h"

struct channel;
struct database;

enum { OVERRIDES_BODY_MAX = 128 * 1024 };

/* Into an initialised `body`, instead of what was there: those in force, by profile. */
MUST_CHECK bool overrides_load(struct database *d, struct buf *body, struct err *e);

/* Drops those that are over at `now` (ms since 1970); nobody needs the store for that. ERR_INPUT: `body` is none, and is emptied of all. */
MUST_CHECK bool overrides_prune(struct buf *body, int64_t now, struct err *e);

MUST_CHECK bool overrides_send(struct channel *c, const struct buf *body, struct err *e);

#endif
