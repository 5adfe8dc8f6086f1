/*
 * Deadlines in a heap: the core of every daemon keeps one and is told the time. Ties fire in the
 * order in which they were armed (so that a seed gives one run). Not thread-safe.
 */
#ifndef COMMON_TIMERS_H
#define COMMON_TIMERS_H

#include "common/base.h"

struct timer {
    uint64_t at_ns; /* absolute; meaningful while armed */
    uint64_t order;
    size_t index; /* in the heap, from 1; 0: not armed */
};

struct timers {
    struct timer **heap; /* from 1 */
    size_t used, room;
    uint64_t order;
};

void timers_init(struct timers *t);
void timers_fini(struct timers *t);
void timer_init(struct timer *timer);
void timer_arm(struct timers *t, struct timer *timer, uint64_t at_ns); /* moves it if it is armed */
void timer_disarm(struct timers *t, struct timer *timer);              /* fine if it is not armed */
static inline bool timer_is_armed(const struct timer *timer)
{
    return timer->index != 0;
}
uint64_t timers_next_ns(const struct timers *t); /* NS_FOREVER if none */
struct timer *timers_pop(struct timers *t,
                         uint64_t now_ns); /* one that is due, disarmed; NULL if none */

#endif
