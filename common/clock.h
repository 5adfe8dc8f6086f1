/*
 * Time. Monotonic nanoseconds for everything but leases, which must notice that a machine was
 * suspended. Only shells read clocks; cores are told.
 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_US  UINT64_C(1000)
#define NS_PER_MS  UINT64_C(1000000)
#define NS_PER_S   UINT64_C(1000000000)
#define NS_FOREVER UINT64_MAX /* as a deadline: never */

static inline uint64_t clock_read_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static inline uint64_t clock_now_ns(void)
{
    return clock_read_ns(CLOCK_MONOTONIC);
}

static inline uint64_t clock_boot_ns(void)
{
    return clock_read_ns(CLOCK_BOOTTIME);
}

/* Milliseconds since 1970, for people only. */
static inline uint64_t clock_unix_ms(void)
{
    return clock_read_ns(CLOCK_REALTIME) / NS_PER_MS;
}

/* a + b, or NS_FOREVER where that would pass it. */
static inline uint64_t ns_add(uint64_t a, uint64_t b)
{
    return a > NS_FOREVER - b ? NS_FOREVER : a + b;
}

#endif
