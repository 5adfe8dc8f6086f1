/*
 * A thread for what may block (fsync, hashing, disk reads, DNS): an owned message in, the same
 * message out, an eventfd to wake the loop. Work is done in the order given. The caller's thread
 * and the worker never share a message.
 */
#ifndef COMMON_OFFLOAD_H
#define COMMON_OFFLOAD_H

#include "common/loop.h"

struct offload;

struct offload_work {
    void (*run)(struct offload_work *work);  /* on the thread */
    void (*done)(struct offload_work *work); /* on the loop's thread; frees it or uses it again */
    struct offload_work *next;               /* private */
};

/* `name` (at most 15 bytes) is the thread's. All signals are blocked on it. -errno. */
int offload_new(struct offload **ret, struct loop *loop, const char *name) MUST_CHECK;
/* Finishes what was given, also what a `done` gives meanwhile; calls every `done`; joins. NULL is
 * fine. */
void offload_free(struct offload *o);
/* On the loop's thread, also within a `done`. Never blocks. */
void offload_submit(struct offload *o, struct offload_work *work);
/* The works given since the thread last looked arrive as one batch where `run_batch` is set: group
 * commit. It leaves `next` as it is. Set it before the first submit. */
void offload_set_batch(struct offload *o, void (*run_batch)(struct offload_work *first, void *arg),
                       void *arg);

#endif
