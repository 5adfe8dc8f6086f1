/*
 * The one runtime of this process: its mode, its lock, its references, its link to the raylet, and
 * the scopes of its threads. The public functions share it; each begins with runtime_enter.
 */
#ifndef SDK_RUNTIME_H
#define SDK_RUNTIME_H

#include <stdatomic.h>

#include "sdk/errors.h"
#include "sdk/fork.h"
#include "sdk/link.h"
#include "sdk/lock.h"
#include "sdk/objects.h"

struct runtime {
    struct lock lock;
    _Atomic int mode; /* enum drt_mode; DRT_MODE_AUTO: not started */
    uint32_t epoch;   /* how often drt_init was called */
    struct objects objects;
    struct link link;      /* CLUSTER and LOCAL */
    uint64_t last_number;  /* of this process's objects */
    uint64_t asked_number; /* all up to it were asked for */
    uint32_t last_class;
    double num_cpus;     /* SYNC: what drt_total("CPU") says */
    bool wants_logs;     /* of its workers: printed as they come */
    uint64_t log_count;  /* LOG messages so far */
    uint64_t logs_taken; /* LOGS answered so far */
    bool logs_elsewhere; /* as the last of them said */
    char node_name[LOCAL_NAME_MAX + 1];
};

extern struct runtime runtime;

/* 0 while the runtime runs; -ECHILD after fork, -ENOTCONN before drt_init and after drt_shutdown,
 * -EDEADLK in a signal handler that interrupted a drt call, or after a longjmp out of one. */
int runtime_enter(void) MUST_CHECK;
/* Whether this process is a child of the one whose runtime it has in its memory. */
bool runtime_asks_child(void); /* the slow half */
static inline bool runtime_is_child(void)
{
    return UNLIKELY(!fork_is_owner()) && runtime_asks_child();
}

static inline void runtime_lock(void)
{
    lock_enter(&runtime.lock);
}

static inline void runtime_unlock(void)
{
    lock_leave(&runtime.lock);
}

/* Whether there is a raylet behind the references (not SYNC). */
static inline bool runtime_is_linked(void)
{
    int mode = atomic_load_explicit(&runtime.mode, memory_order_relaxed);
    return mode == DRT_MODE_CLUSTER || mode == DRT_MODE_LOCAL;
}

/* The body that this thread runs, and the claim slot that the raylet gave it. */
struct body {
    struct body *around; /* SYNC: bodies run inside one another */
    uint32_t slot;
    uint32_t scope_before; /* the thread's scope outside */
    bool scope_open;       /* a scope of the body's own is made with its first reference */
    uint64_t deadline_ns;  /* NS_FOREVER: none; what it submits ends no later */
    bool inherits;         /* SYNC: that is the deadline of the body around it */
    uint32_t depth;        /* SYNC: bodies around it */
};

void runtime_body_begin(struct body *b);
void runtime_body_end(struct body *b); /* releases what it got */
struct body *runtime_body(void);       /* of this thread; NULL: none */
uint32_t runtime_parent_slot(void);    /* 1 + the claim slot of the worker's running body, or 0 */

/* ---- with the lock held ---- */

/* A new object in the thread's scope. */
struct slot *runtime_object(uint32_t *ret_number);
/* A further hold of an object, in the thread's scope. */
struct drt_ref runtime_share(struct slot *s, uint32_t number);
/* A new object that is settled with the failure; its reference. */
struct drt_ref runtime_failed(const struct failure *f);
/* The same with this thread's sentence. */
struct drt_ref runtime_refused(int code);
/* The slot of a reference, or NULL with a sentence (it is none, or was released). */
struct slot *runtime_find(struct drt_ref ref, uint32_t *ret_number);
/* Ends a reference. */
void runtime_release(struct slot *s, uint32_t number);
void runtime_release_all(void); /* for drt_shutdown: tells the raylet nothing */

#endif
