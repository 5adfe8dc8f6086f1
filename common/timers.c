#include "common/timers.h"

#include "common/clock.h"

void timers_init(struct timers *t)
{
    *t = (struct timers){0};
}

void timers_fini(struct timers *t)
{
    for (size_t i = 1; i <= t->used; i++) {
        t->heap[i]->index = 0;
    }
    free(t->heap);
    timers_init(t);
}

void timer_init(struct timer *timer)
{
    *timer = (struct timer){0};
}

static bool is_before(const struct timer *a, const struct timer *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void put(struct timers *t, size_t index, struct timer *timer)
{
    t->heap[index] = timer;
    timer->index = index;
}

static void sift_up(struct timers *t, size_t index, struct timer *timer)
{
    while (index > 1 && is_before(timer, t->heap[index / 2])) {
        put(t, index, t->heap[index / 2]);
        index /= 2;
    }
    put(t, index, timer);
}

static void sift_down(struct timers *t, size_t index, struct timer *timer)
{
    for (;;) {
        size_t child = index * 2;
        if (child > t->used) {
            break;
        }
        if (child < t->used && is_before(t->heap[child + 1], t->heap[child])) {
            child++;
        }
        if (!is_before(t->heap[child], timer)) {
            break;
        }
        put(t, index, t->heap[child]);
        index = child;
    }
    put(t, index, timer);
}

static void settle(struct timers *t, size_t index, struct timer *timer)
{
    if (index > 1 && is_before(timer, t->heap[index / 2])) {
        sift_up(t, index, timer);
    } else {
        sift_down(t, index, timer);
    }
}

void timer_arm(struct timers *t, struct timer *timer, uint64_t at_ns)
{
    timer->at_ns = at_ns;
    timer->order = t->order++;
    if (timer->index != 0) {
        ASSERT(timer->index <= t->used && t->heap[timer->index] == timer);
        settle(t, timer->index, timer);
        return;
    }
    if (t->used + 1 >= t->room) {
        t->room = MAX_OF(t->room * 2, (size_t)16);
        t->heap = xrealloc(t->heap, t->room * sizeof *t->heap);
    }
    t->used++;
    sift_up(t, t->used, timer);
}

void timer_disarm(struct timers *t, struct timer *timer)
{
    size_t index = timer->index;
    if (index == 0) {
        return;
    }
    ASSERT(index <= t->used && t->heap[index] == timer);
    timer->index = 0;
    struct timer *last = t->heap[t->used--];
    if (last != timer) {
        settle(t, index, last);
    }
    /* A million deadlines that have passed are not kept as room. */
    if (t->room > 1024 && t->used < t->room / 8) {
        t->room /= 4;
        t->heap = xrealloc(t->heap, t->room * sizeof *t->heap);
    }
}

uint64_t timers_next_ns(const struct timers *t)
{
    return t->used != 0 ? t->heap[1]->at_ns : NS_FOREVER;
}

struct timer *timers_pop(struct timers *t, uint64_t now_ns)
{
    if (t->used == 0 || t->heap[1]->at_ns > now_ns) {
        return NULL;
    }
    struct timer *timer = t->heap[1];
    timer_disarm(t, timer);
    return timer;
}
