/* Latencies in buckets: see histogram.h. */
#include "ingest/deposit/histogram.h"

#include <math.h>

enum { SUB = 1 << HISTOGRAM_SUB_BITS };

/* Below SUB one bucket each; above, the leading bit chooses the group and the next bits the bucket in it. */
static unsigned bucket_of(uint64_t value)
{
    unsigned shift;

    if (value < SUB)
        return (unsigned)value;
    shift = 63 - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
    return ((shift + 1) << HISTOGRAM_SUB_BITS) + (unsigned)((value >> shift) - SUB);
}

static uint64_t end_of(unsigned bucket)
{
    unsigned shift = bucket >> HISTOGRAM_SUB_BITS;

    if (shift == 0)
        return bucket;
    return (((uint64_t)(bucket & (SUB - 1)) + SUB + 1) << (shift - 1)) - 1;
}

void histogram_add(struct histogram *h, uint64_t value)
{
    h->buckets[bucket_of(value)]++;
    h->count++;
    if (value > h->max)
        h->max = value;
}

uint64_t histogram_at(const struct histogram *h, double share)
{
    uint64_t wanted = (uint64_t)ceil(share * (double)h->count), seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= wanted && seen > 0)
            return end_of(i) < h->max ? end_of(i) : h->max;
    }
    return h->max;
}
