/*
 * How long a small pack waits for the sensors that were just answered: one that waits for each answer sends again at once, and a pack
 * costs RabbitMQ the same with one deposit as with sixty. Without the wait they fall into two groups, one always under way while the
 * other waits, and each pack holds half of what it could. Pure: times are given, in microseconds of one clock that does not go back.
 */
#ifndef COFFRE_GATHER_H
#define COFFRE_GATHER_H

#include <stdint.h>

enum { GATHER_WAIT_MAX = 2000 }; /* the longest wait; one that brings nothing is soon made seldom */

/* Begins as zeros. "Groups" are what is stored together: a deposit, a transaction. */
struct gather {
    unsigned expected; /* groups under way or waiting when the last pack was confirmed */
    uint64_t until;    /* fewer wait until then */
    uint64_t round;    /* how long packs are under way, smoothed */
    unsigned first;    /* groups there when the wait began; 0: none has */
    unsigned in_vain;  /* waits in a row that brought too few */
    unsigned skip;     /* packs that are not waited for, because of that */
};

/* A pack of `answered` groups was confirmed at `now`, `took` after it was sent, while `gathered` more have come. */
void gather_confirmed(struct gather *g, uint64_t now, uint64_t took, unsigned answered, unsigned gathered);

/* How long a pack of `gathered` groups should still wait while nothing else is under way; 0: it goes. */
uint64_t gather_wait(struct gather *g, uint64_t now, unsigned gathered);

#endif
