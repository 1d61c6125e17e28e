/* Stores of time, one for each depositor that has taken from it: see allowance.h. */
#include "ingest/ledger/allowance.h"

static int64_t left_at(const struct allowance_store *s, uint64_t now_us)
{
    uint64_t gone = now_us > s->at_us ? now_us - s->at_us : 0;
    /* No store lacks more than so much, and no clock runs so long that it matters. */
    int64_t more = gone > INT64_MAX / 2 ? INT64_MAX / 2 : (int64_t)(gone / ALLOWANCE_REFILL);
    int64_t left = s->left_us + more;

    return left > ALLOWANCE_STORE_US ? ALLOWANCE_STORE_US : left;
}

static unsigned find(const struct allowance *a, uint32_t depositor)
{
    unsigned i = 0;

    while (i < a->count && a->of[i].depositor != depositor)
        i++;
    return i;
}

/* A place for one that has none: a new one, or that of the fullest. */
static struct allowance_store *provide(struct allowance *a, uint32_t depositor, uint64_t now_us)
{
    unsigned at = find(a, depositor);

    if (at < a->count)
        return &a->of[at];
    if (a->count < ALLOWANCE_DEPOSITORS) {
        at = a->count++;
    } else {
        at = 0;
        for (unsigned i = 1; i < a->count; i++)
            if (left_at(&a->of[i], now_us) > left_at(&a->of[at], now_us))
                at = i;
    }
    a->of[at] = (struct allowance_store){depositor, ALLOWANCE_STORE_US, now_us};
    return &a->of[at];
}

static uint64_t share(size_t bytes)
{
    return ALLOWANCE_SHARE_US + bytes / ALLOWANCE_SHARE_BYTES_US;
}

static int64_t least_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

uint64_t allowance_for(const struct allowance *a, uint32_t depositor, size_t bytes, uint64_t most_us, uint64_t now_us)
{
    unsigned at = find(a, depositor);
    int64_t left = at < a->count ? left_at(&a->of[at], now_us) : ALLOWANCE_STORE_US;

    if (left < -ALLOWANCE_DEBT_US || (left < 0 && most_us == 0))
        return 0;
    if (left < 0)
        left = 0;
    return share(bytes) + (uint64_t)least_of(least_of(left, ALLOWANCE_EVENT_US), most_us > ALLOWANCE_EVENT_US ? ALLOWANCE_EVENT_US : (int64_t)most_us);
}

static void put(struct allowance_store *s, int64_t left_us, uint64_t now_us)
{
    /* Below this a store would be empty for longer than anybody is spared. */
    const int64_t least = -ALLOWANCE_DEBT_US - (int64_t)ALLOWANCE_SPARE_MAX_S * 1000000 / ALLOWANCE_REFILL;

    s->left_us = left_us < least ? least : left_us;
    s->at_us = now_us;
}

uint64_t allowance_spend(struct allowance *a, uint32_t depositor, size_t bytes, uint64_t used_us, uint64_t now_us)
{
    struct allowance_store *s;
    uint64_t beyond;

    if (used_us <= share(bytes))
        return 0;
    beyond = used_us - share(bytes);
    s = provide(a, depositor, now_us);
    put(s, left_at(s, now_us) - (int64_t)(beyond > INT32_MAX ? INT32_MAX : beyond), now_us);
    return beyond;
}

void allowance_spare(struct allowance *a, uint32_t depositor, uint32_t seconds, uint64_t now_us)
{
    struct allowance_store *s = provide(a, depositor, now_us);
    int64_t least = -ALLOWANCE_DEBT_US - (int64_t)seconds * 1000000 / ALLOWANCE_REFILL, left = left_at(s, now_us);

    put(s, left < least ? left : least, now_us);
}
