/*
 * Tells whether this process may use the runtime: the runtime must run, and this process must be
 * the one that started it. A forked child is recognised without a system call: the mark is in a
 * page that the kernel wipes in every child (MADV_WIPEONFORK), even if the child was created
 * without the C library. If the kernel does not support this, a handler of pthread_atfork clears
 * the mark. Any thread can call these functions; a signal handler can call fork_is_owner.
 */
#ifndef SDK_FORK_H
#define SDK_FORK_H

#include <stdatomic.h>

#include "common/base.h"

#define FORK_EXIT_STATUS 70 /* of a child that returned from a body */

extern _Atomic uint32_t *fork_mark; /* never NULL */

/* Before a start: this process is to be the owner. */
void fork_prepare(void);
/* The runtime is up: from now on fork_is_owner says true, here and in no child. */
void fork_mark_set(void);
/* The runtime ended. */
void fork_mark_clear(void);

/* One load. */
static inline bool fork_is_owner(void)
{
    return LIKELY(atomic_load_explicit(fork_mark, memory_order_acquire) != 0);
}

/* Costs a system call: whether the process that called fork_prepare is another one. True also in
 * a child of vfork, which shares its parent's memory. */
bool fork_is_other_process(void);

/* A child returned from the body of a task. Says so on standard error, and ends it: nothing is
 * flushed and no atexit handler runs, as these are its parent's. */
NORETURN void fork_end_child(const char *task);

#endif
