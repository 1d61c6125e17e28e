/*
 * Which connection has which ConnectionId: one of the same depositor, with the same certificate's subject, at a time, over all fronts of
 * this daemon; the newer one wins. Pure. Names and subjects come from sensors and are kept as digests; fronts are not trusted.
 */
#ifndef COFFRE_CLAIMS_H
#define COFFRE_CLAIMS_H

#include "common/values/map.h"
#include "common/values/slice.h"

enum { CLAIMS_FRONTS_MAX = 64, CLAIMS_MAX = 1 << 18, CLAIMS_KEY_SIZE = 32 };

/* A name as it is kept. */
struct claims_key {
    uint8_t digest[CLAIMS_KEY_SIZE];
};

/* Zeroed: empty. */
struct claims {
    struct map by_name;                          /* first bytes of the digest → claim */
    struct map by_connection[CLAIMS_FRONTS_MAX]; /* owned claims, of each front */
    size_t count, max;                           /* max 0: CLAIMS_MAX */
};

/* A connection of a front. */
struct claims_holder {
    uint32_t front;
    uint64_t connection;
};

/* SHA-256 of u32 depositor, text subject, bytes name. False: OpenSSL fails. */
bool claims_key_make(uint32_t depositor, struct slice subject, struct slice name, struct claims_key *key);

enum claims_result {
    CLAIMS_NEW,   /* nobody had it, or this very connection */
    CLAIMS_TAKEN, /* from `loser`, who has none any more */
    CLAIMS_FULL,  /* nothing changed */
};

/* This connection has the name from now on, and no other. `front` < CLAIMS_FRONTS_MAX. */
enum claims_result claims_take(struct claims *c, struct claims_holder holder, const struct claims_key *key, struct claims_holder *loser);
/* The connection has no name any more, if it had one. */
void claims_leave(struct claims *c, struct claims_holder holder);
void claims_front_gone(struct claims *c, uint32_t front);
void claims_free(struct claims *c);

#endif
