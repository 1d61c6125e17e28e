/*
 * How much of what strangers bring about is written down one by one: so much of each kind in a while, and beyond it a count. Pure: time is given.
 */
#ifndef COFFRE_IDENTITY_QUOTA_H
#define COFFRE_IDENTITY_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

enum {
    QUOTA_KINDS = 64,      /* told apart at a time; others are one kind */
    QUOTA_KIND_MAX = 320,  /* bytes of its name */
    QUOTA_MOST = 100,      /* written of a kind, in QUOTA_WINDOW_MS */
    QUOTA_WINDOW_MS = 60 * 1000,
};

struct quota_kind {
    char name[QUOTA_KIND_MAX]; /* "": free */
    int64_t since;             /* ms: when its window began */
    unsigned written;
    uint64_t omitted;          /* not told of yet */
};

/* Zeroed: nothing has happened. */
struct quota {
    struct quota_kind kinds[QUOTA_KINDS + 1]; /* the last is of all that found no place */
};

/* Something of this kind happened at `now` (ms, of a clock that only goes on). True: it is to be written, with `*omitted`, the number before it that were not. */
bool quota_take(struct quota *q, const char *kind, int64_t now, uint64_t *omitted);

/* A kind whose window is over with some not told of: `name` is its name, its count is given and from then on told of. 0: there is none. For who must not wait for the next one. */
uint64_t quota_left(struct quota *q, int64_t now, char name[QUOTA_KIND_MAX]);

#endif
