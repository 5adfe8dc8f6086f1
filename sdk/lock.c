#include "sdk/lock.h"

#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"

#define PATIENCE_S 30u /* nobody is inside for so long, unless standard error takes nothing */

_Thread_local uint32_t lock_thread;

uint32_t lock_thread_number(void)
{
    lock_thread = (uint32_t)syscall(SYS_gettid);
    return lock_thread;
}

void lock_forget(struct lock *lock)
{
    lock_thread = 0;
    atomic_store(&lock->word, 0);
}

/* ---- futexes ---- */

static NOINLINE bool futex_wait(_Atomic uint32_t *word, uint32_t seen, uint64_t deadline_ns)
{
    struct timespec at = {.tv_sec = (time_t)(deadline_ns / NS_PER_S),
                          .tv_nsec = (long)(deadline_ns % NS_PER_S)};
    const struct timespec *limit = deadline_ns == NS_FOREVER ? NULL : &at;
    return syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, seen, limit, NULL,
                   FUTEX_BITSET_MATCH_ANY) == 0 ||
           errno != ETIMEDOUT;
}

static void futex_wake(_Atomic uint32_t *word, int count)
{
    int before = errno;
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
    errno = before;
}

void lock_wake_one(struct lock *lock)
{
    futex_wake(&lock->word, 1);
}

void lock_wake(_Atomic uint32_t *word)
{
    futex_wake(word, INT32_MAX);
}

/* ---- waiting for the lock ---- */

static void say(const char *text)
{
    (void)syscall(SYS_write, STDERR_FILENO, text, strlen(text));
}

static NORETURN void give_up(const char *how)
{
    say("drt: a signal handler left a call of drt ");
    say(how);
    say(", in the midst of a change, and drt stays locked: call drt_interrupt in the handler "
        "instead. "
        "This process cannot go on.\n");
    abort();
}

/* Somebody has held it for `seconds`. */
static void look_at_owner(uint32_t owner, unsigned seconds)
{
    if (syscall(SYS_tgkill, getpid(), owner, 0) != 0 && errno == ESRCH) {
        give_up("by pthread_exit");
    }
    if (seconds == PATIENCE_S) {
        say("drt: a thread of this program has been inside a call of drt for 30 s, and others wait "
            "for it. If a signal handler left the call by longjmp, drt stays locked: call "
            "drt_interrupt in the handler instead.\n");
    }
}

void lock_wait(struct lock *lock)
{
    int before = errno;
    for (unsigned seconds = 0;;) {
        uint32_t seen = atomic_load_explicit(&lock->word, memory_order_relaxed), owner;
        if (seen == 0) {
            if (atomic_compare_exchange_strong_explicit(
                    &lock->word, &seen, lock_self() | LOCK_WAITED, memory_order_acquire,
                    memory_order_relaxed)) {
                break;
            }
            continue;
        }
        owner = seen & ~LOCK_WAITED;
        if (owner == lock_self()) {
            give_up("by longjmp, or calls drt itself");
        }
        if ((seen & LOCK_WAITED) == 0 &&
            !atomic_compare_exchange_strong(&lock->word, &seen, owner | LOCK_WAITED)) {
            continue;
        }
        if (!futex_wait(&lock->word, owner | LOCK_WAITED, clock_now_ns() + NS_PER_S)) {
            look_at_owner(owner, ++seconds);
        }
    }
    errno = before;
}

bool lock_sleep(struct lock *lock, _Atomic uint32_t *word, uint32_t seen, uint64_t deadline_ns)
{
    int type;
    lock_leave(lock);
    /* A bare system call is no cancellation point; nothing is held while it sleeps. The poll is one
     * that waits for a cancellation which is under way: glibc's signal for it would else end the
     * thread later, at a moment that forbids it. */
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
    bool in_time = futex_wait(word, seen, deadline_ns);
    pthread_setcanceltype(type, NULL);
    (void)poll(NULL, 0, 0);
    lock_enter(lock);
    return in_time;
}
