/*
 * The mutex of the runtime. Unlike a mutex of the C library, it consists of one word that says
 * which thread holds it, from the instruction that takes it. A thread may leave drt by a longjmp
 * out of a signal handler, or call drt again in the handler. Such a thread is recognised and
 * refused, instead of waiting forever for a mutex that it holds itself. A thread that waits for a
 * holder that no longer exists does not wait forever either. The holder must not call a
 * cancellation point of the C library, unless it has disabled cancellation.
 */
#ifndef SDK_LOCK_H
#define SDK_LOCK_H

#include <stdatomic.h>

#include "common/base.h"

#define LOCK_WAITED (1u << 31) /* somebody sleeps until it is free */

struct lock {
    _Atomic uint32_t word; /* 0: free; the number of the thread that holds it, and LOCK_WAITED */
};

extern _Thread_local uint32_t lock_thread __attribute__((tls_model("initial-exec")));

uint32_t lock_thread_number(void); /* the slow half of lock_self */
void lock_wait(struct lock *lock); /* the slow half of lock_enter */
void lock_wake_one(struct lock *lock);

/* The number of this thread; never 0. */
static inline uint32_t lock_self(void)
{
    return LIKELY(lock_thread != 0) ? lock_thread : lock_thread_number();
}

static inline void lock_enter(struct lock *lock)
{
    uint32_t none = 0;
    if (UNLIKELY(!atomic_compare_exchange_strong_explicit(
            &lock->word, &none, lock_self(), memory_order_acquire, memory_order_relaxed))) {
        lock_wait(lock);
    }
}

/* True: taken. False: a thread holds it now, and nothing is waited for. */
static inline bool lock_try(struct lock *lock)
{
    uint32_t none = 0;
    return atomic_compare_exchange_strong_explicit(&lock->word, &none, lock_self(),
                                                   memory_order_acquire, memory_order_relaxed);
}

static inline void lock_leave(struct lock *lock)
{
    uint32_t was = atomic_exchange_explicit(&lock->word, 0, memory_order_release);
    if (UNLIKELY((was & LOCK_WAITED) != 0)) {
        lock_wake_one(lock);
    }
}

/* Whether this thread holds it: a handler interrupted it there, or it left by longjmp. */
static inline bool lock_is_mine(const struct lock *lock)
{
    uint32_t word = atomic_load_explicit(&lock->word, memory_order_relaxed);
    return UNLIKELY(word != 0) && (word & ~LOCK_WAITED) == lock_self();
}

/* In a forked child, whose only thread has another number. */
void lock_forget(struct lock *lock);

/* Leaves the lock, sleeps until *word is not `seen` and lock_wake is called, or the deadline, or
 * for no reason, and enters again. Meanwhile signal handlers may leave by longjmp; it is a
 * cancellation point, where the lock is not held. False: the deadline passed. */
bool lock_sleep(struct lock *lock, _Atomic uint32_t *word, uint32_t seen, uint64_t deadline_ns);
void lock_wake(_Atomic uint32_t *word); /* all who sleep */

#endif
