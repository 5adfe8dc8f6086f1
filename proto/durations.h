/*
 * A histogram of durations with fixed buckets: four for each doubling, so a quantile that is read
 * from it is at most 10 % away from the true one. Two histograms of different nodes are added
 * bucket by bucket. Pure.
 */
#ifndef PROTO_DURATIONS_H
#define PROTO_DURATIONS_H

#include "common/base.h"

#define DURATIONS_LEAST_LOG 6u  /* all below 64 ns are in the first bucket */
#define DURATIONS_MOST_LOG  46u /* all from 19.5 h on are in the last one */
#define DURATIONS_BUCKETS   (4 * (DURATIONS_MOST_LOG - DURATIONS_LEAST_LOG) + 2)

/* The bucket of a duration: which of the doublings, and which quarter of it. */
static inline uint32_t durations_bucket(uint64_t ns)
{
    if (ns < 1ull << DURATIONS_LEAST_LOG) {
        return 0;
    }
    if (ns >= 1ull << DURATIONS_MOST_LOG) {
        return DURATIONS_BUCKETS - 1;
    }
    uint32_t log = 63 - (uint32_t)__builtin_clzll(ns);
    return 1 + 4 * (log - DURATIONS_LEAST_LOG) + (uint32_t)(ns >> (log - 2) & 3);
}

/* The middle of a bucket, ns. */
uint64_t durations_middle_ns(uint32_t bucket);
/* The duration that a share `quantile` (0 to 1) of all lies below or at; 0 if there are none. */
uint64_t durations_quantile_ns(const uint64_t buckets[DURATIONS_BUCKETS], double quantile);

#endif
