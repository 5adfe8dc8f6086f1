/*
 * Questions to the raylet that it answers by number: CANCEL and QUERY. The thread that asks waits
 * for the answer. An answer for which no thread waits any more is dropped. Call these functions
 * with the lock of the runtime held.
 */
#ifndef SDK_REQUESTS_H
#define SDK_REQUESTS_H

#include "sdk/runtime.h"

/* On the heap: a thread that leaves the wait (cancelled, or by a longjmp out of a signal handler)
 * leaves its request behind, which then takes its answer for nobody. */
struct request {
    struct request *next; /* of those that wait */
    uint64_t number;
    bool over;
    uint32_t code; /* CANCELLED */
    /* A piece of a QUERY's answer; borrowed for the call. */
    void (*reply)(struct request *r, const struct local_reply *reply);
};

/* Sends `m` (CANCEL or QUERY, its request number is filled in) and waits for the whole answer. 0;
 * as link_wait. */
int request_ask(struct request *r, struct local_msg *m, uint64_t deadline_ns) MUST_CHECK;
/* What the link brought: CANCELLED, REPLY. */
void request_take(const struct local_msg *m);

#endif
