#include "proto/durations.h"

static uint64_t begin_ns(uint32_t bucket)
{
    if (bucket == 0) {
        return 0;
    }
    uint32_t log = DURATIONS_LEAST_LOG + (bucket - 1) / 4;
    return (uint64_t)(4 + (bucket - 1) % 4) << (log - 2);
}

uint64_t durations_middle_ns(uint32_t bucket)
{
    ASSERT(bucket < DURATIONS_BUCKETS);
    if (bucket == DURATIONS_BUCKETS - 1) {
        return begin_ns(bucket); /* it has no end */
    }
    return (begin_ns(bucket) + begin_ns(bucket + 1)) / 2;
}

uint64_t durations_quantile_ns(const uint64_t buckets[DURATIONS_BUCKETS], double quantile)
{
    uint64_t all = 0, seen = 0;
    uint32_t last = 0;
    for (uint32_t i = 0; i < DURATIONS_BUCKETS; i++) {
        all += buckets[i];
    }
    for (uint32_t i = 0; i < DURATIONS_BUCKETS && all != 0; i++) {
        if (buckets[i] == 0) {
            continue;
        }
        seen += buckets[i];
        last = i;
        if ((double)seen >= quantile * (double)all) {
            break;
        }
    }
    return all == 0 ? 0 : durations_middle_ns(last);
}
