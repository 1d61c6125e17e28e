/*
 * Latencies counted in buckets of constant relative width (1/64): fixed memory, percentiles within 1.6 %.
 */
#ifndef COFFRE_DEPOSIT_HISTOGRAM_H
#define COFFRE_DEPOSIT_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_SUB_BITS = 6, HISTOGRAM_BUCKETS = (64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS };

struct histogram {
    uint64_t buckets[HISTOGRAM_BUCKETS];
    uint64_t count, max; /* values, and the largest */
};

void histogram_add(struct histogram *h, uint64_t value);

/* The value that `share` (0 to 1) of all values do not exceed, rounded up to its bucket's end; 0 when empty. */
uint64_t histogram_at(const struct histogram *h, double share);

#endif
