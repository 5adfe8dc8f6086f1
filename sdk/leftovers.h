/*
 * What the body of a task leaves behind in its worker's process, and how the next one finds it:
 * each body begins with the settings that the program had when it called drt_init. Its working
 * directory, umask, standard descriptors, signal mask, timers, locale, environment, floating-point
 * modes, priority, CPUs and soft limits are put back. Memory and what is open stay: globals, files,
 * signal handlers, threads, children. Where something cannot be put back the worker ends and a new
 * one takes its place.
 *
 * A whole look costs some forty system calls, and a short body cannot have made any. So after each
 * body only what costs none is looked at; the rest after a body that took long, after the first
 * runs of a function, and after every run of a function that has once left something. On the thread
 * that serves.
 */
#ifndef SDK_LEFTOVERS_H
#define SDK_LEFTOVERS_H

#include "common/base.h"
#include "common/clock.h"

#define LEFTOVERS_LONG_NS   (20 * NS_PER_US) /* a look costs about 1 us */
#define LEFTOVERS_LONGER_NS (1 * NS_PER_MS)  /* and a whole one about 5 us */
#define LEFTOVERS_RUNS      4u

/* Of one function. Zeroed at first. */
struct leftovers_history {
    uint8_t runs; /* up to LEFTOVERS_RUNS */
    bool untidy;  /* it has once left something */
};

enum leftovers_depth { LEFTOVERS_NONE, LEFTOVERS_SOME, LEFTOVERS_ALL };

/* How far to look after a run that took so long. */
static inline enum leftovers_depth leftovers_depth(const struct leftovers_history *h,
                                                   uint64_t ran_ns)
{
    return UNLIKELY(h->untidy || h->runs < LEFTOVERS_RUNS || ran_ns >= LEFTOVERS_LONGER_NS)
               ? LEFTOVERS_ALL
           : UNLIKELY(ran_ns >= LEFTOVERS_LONG_NS) ? LEFTOVERS_SOME
                                                   : LEFTOVERS_NONE;
}

/* Before the first body: remembers how things are. */
void leftovers_begin(void);
/* Puts back what can be. NULL; or what cannot be put back, in words: "its user or group" */
const char *leftovers_restore(struct leftovers_history *h, enum leftovers_depth depth);
/* What is changed without a system call, as by every depth. */
void leftovers_restore_modes(void);

#endif
