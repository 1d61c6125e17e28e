/*
 * What expires when, and who should know: every certificate the vault knows (its own, authorities, recipients, seal, time-stamping, clients seen) and every CRL's nextUpdate.
 * Pure: times are given.
 */
#ifndef COFFRE_IDENTITY_EXPIRY_H
#define COFFRE_IDENTITY_EXPIRY_H

#include "common/values/buf.h"

enum { EXPIRY_DISTANCES_MAX = 8, EXPIRY_NAME_MAX = 300 };

struct expiry; /* the watch list */

/* One crossing of a distance: to be logged and journaled once. */
struct expiry_warning {
    const char *name; /* "server certificate run/pki/ingest.pem (CN=ingest)"; borrowed until the next call */
    int64_t ends;     /* ms since 1970 */
    int64_t left;     /* ms; negative: over */
};

/* `distances`: "60d 30d 7d 1d", descending or not. NULL with ERR_INPUT when it is not a list of durations. */
struct expiry *expiry_new(const char *distances, struct err *e);
void expiry_free(struct expiry *x);

/* Watches `name` until it `ends`; a name already there gets the new date (and its warnings begin again when the date changed). At most 10,000. */
void expiry_set(struct expiry *x, const char *name, int64_t ends);
void expiry_remove(struct expiry *x, const char *name);

/* The next warning due at `now`; false: none is left. Each crossing is given once, the nearest distance only; "over" once, and again every day. */
bool expiry_next(struct expiry *x, int64_t now, struct expiry_warning *w);
/* Whether one of the distances is reached with so much left (ms). */
bool expiry_is_near(const struct expiry *x, int64_t left);
/* The one that ends first; false: nothing is watched. */
bool expiry_first(const struct expiry *x, struct expiry_warning *w, int64_t now);

#endif
