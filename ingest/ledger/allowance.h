/*
 * How long depositors' events may be compared with schemas, so that those of one do not hold up everybody's. What an event takes beyond its share comes out of
 * its depositor's store, which fills again slowly: while that is empty an event is given up at its share; far below, none is compared. Pure: the clock is the caller's.
 */
#ifndef COFFRE_INGEST_ALLOWANCE_H
#define COFFRE_INGEST_ALLOWANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ALLOWANCE_DEPOSITORS = 256,      /* with something to remember; of more, the one with the fullest store is forgotten */
    ALLOWANCE_SHARE_US = 500,        /* processor time of any event; an ordinary one takes 30 */
    ALLOWANCE_SHARE_BYTES_US = 10,   /* … and one more for so many bytes */
    ALLOWANCE_EVENT_US = 250 * 1000, /* most of one event beyond its share */
    ALLOWANCE_STORE_US = 1000 * 1000,
    ALLOWANCE_DEBT_US = 250 * 1000, /* what cannot be interrupted takes more than there is; with so much nothing is compared */
    ALLOWANCE_REFILL = 32, /* a store gets this part of the time that goes by */
    ALLOWANCE_SPARE_MAX_S = 3600,
};

struct allowance_store {
    uint32_t depositor;
    int64_t left_us; /* when last looked at */
    uint64_t at_us;
};

/* All zero: nothing to remember. */
struct allowance {
    struct allowance_store of[ALLOWANCE_DEPOSITORS];
    unsigned count;
};

/*
 * Microseconds that an event of so many bytes may take now; 0: it is not to be compared at all. `most_us` is there for it and others together beyond their shares: when that is
 * used up, nothing is compared of those that owe anything. `now_us` is monotonic.
 */
uint64_t allowance_for(const struct allowance *a, uint32_t depositor, size_t bytes, uint64_t most_us, uint64_t now_us);

/* What it took. The part beyond its share. */
uint64_t allowance_spend(struct allowance *a, uint32_t depositor, size_t bytes, uint64_t used_us, uint64_t now_us);

/* None of this depositor's is compared for so many seconds, at most ALLOWANCE_SPARE_MAX_S. */
void allowance_spare(struct allowance *a, uint32_t depositor, uint32_t seconds, uint64_t now_us);

#endif
