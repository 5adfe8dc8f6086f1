/*
 * How a side that ran dry waits: it polls some 100 times with sched_yield() between, then it should
 * sleep on its eventfd. Where other processes fill the CPUs a yield can cost a whole time slice:
 * after one longer than 200 us it does not poll for 1 ms, and when the next ones are as long, for
 * twice as long each time, at most 16 ms. One for each thread.
 */
#ifndef COMMON_PATIENCE_H
#define COMMON_PATIENCE_H

#include "common/base.h"

struct patience {
    uint64_t sleep_until_ns; /* no polling before */
    uint64_t pause_ns;       /* the last one */
};

/* Polls `ready` until it says true (returns true) or patience ends (false: the caller arms its flag
 * and sleeps). */
bool patience_poll(struct patience *p, bool (*ready)(void *), void *arg);

#endif
