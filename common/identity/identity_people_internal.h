/* What identity_people.c (who has presented what) and identity_verdicts.c (what is told and recorded of it) share. */
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

/* A chain as presented. */
struct person {
    uint8_t digest[32];
    struct person *same;       /* another under the same first bytes of it */
    struct identity_chain chain;
    bool readable;
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

/* ---- identity_verdicts.c ---- */
/* Tells the front how its connection stands, unless it was told so already or an answer is waited for; records what it must. */
void verdicts_tell(struct identity_people *p, struct identity_connection *c);
/* Both by identity_people.c's owner: quotas of records. */
void verdicts_begin(struct identity_people *p);
/* About once a second: counts of what was not recorded one by one. */
void verdicts_tick(struct identity_people *p);
/* The end: all of them. */
void verdicts_end(struct identity_people *p);

#endif
