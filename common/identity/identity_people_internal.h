/* What identity_people.c (who has presented what), identity_verdicts.c (what is told and recorded of it) and identity_room.c (how much of it is kept) share. */
#ifndef COFFRE_IDENTITY_PEOPLE_INTERNAL_H
#define COFFRE_IDENTITY_PEOPLE_INTERNAL_H

#include "common/identity/identity_internal.h"
#include "common/values/quota.h"

struct person;

struct identity_connection {
    uint64_t number;
    unsigned front;
    struct person *person;
    struct identity_connection *next, **back; /* of the same person */
    char address[IDENTITY_ADDRESS_MAX + 1];
    bool told;
    unsigned profiles, barred; /* as told */
    enum identity_check check;
    unsigned overridden; /* profiles whose override has been recorded for this connection */
};

/* A chain as presented. It stays in its bytes: read by OpenSSL, what a stranger made takes ten times as much and more. */
struct person {
    uint8_t digest[32];
    struct person *same;       /* another under the same first bytes of it */
    uint8_t *chain;            /* owned: DER, the peer's own first */
    uint16_t lengths[IDENTITY_CHAIN_MAX];
    unsigned count;
    unsigned front;            /* in whose room it is: that of one of its connections */
    struct identity_standing of[ROSTER_FUNCTIONAL + 1]; /* by profile; those offered */
    struct identity_connection *connections;
    int64_t begun;             /* ms, wall: when the chain was validated */
    int64_t due;               /* ms, wall: to be looked at then, whatever happens */
    uint64_t policies, overrides, lists, answers; /* generations that were looked at */
    bool untold;               /* standings are other than when all its connections were last looked at */
};

struct identity_people {
    struct identity *owner;
    struct map people; /* owned, by the first bytes of `digest` */
    size_t count, connections;
    uint64_t verdicts[IDENTITY_CHECKS];
    struct quota *unknown, *overridden; /* owned; records, by issuer and reason, and by profile */
};

/* Of a profile; NULL: it is not offered here. */
const struct identity_policy *people_policy(const struct identity *i, unsigned profile);
/* The peer's own certificate where some path is good; else NULL. Borrowed, until it is validated again. */
X509 *people_leaf(const struct person *one);

/* ---- identity_verdicts.c ---- */
/* Tells the front how its connection stands, unless it was told so already or an answer is waited for; records what it must. */
void verdicts_tell(struct identity_people *p, struct identity_connection *c);
/* Both by identity_people.c's owner: quotas of records. */
void verdicts_begin(struct identity_people *p);
/* About once a second: counts of what was not recorded one by one. */
void verdicts_tick(struct identity_people *p);
/* The end: all of them. */
void verdicts_end(struct identity_people *p);

/* ---- identity_room.c ---- */
/* Of a connection, and of a chain of so many bytes. */
size_t room_of_connection(void);
size_t room_of_person(size_t chain);
/* For one connection more, and so many bytes. */
bool room_is_there(const struct identity *i, unsigned front, size_t bytes);
/* Tells the front that nobody looks at this connection's certificates, and remembers nothing of it but that. */
void room_turn_away(struct identity_people *p, unsigned front, uint64_t connection);
/* About once a second: says who has found no room. */
void room_tick(struct identity *i);

#endif
