/*
 * `drt-node leave`: asks the raylet of this machine to leave its cluster, and waits until it has
 * ended. Blocking.
 */
#ifndef RAYLET_LEAVE_H
#define RAYLET_LEAVE_H

#include "common/codes.h"
#include "common/place.h"

struct leave_progress {
    char node[64];
    uint64_t running, waiting; /* tasks of the node, when it was last asked */
    uint64_t left_ns;          /* of the limit; at the end 0: the limit was reached */
};

struct leave_wish {
    const char *name; /* NULL: the only one here */
    uint64_t within_ns;
    void (*on_progress)(void *arg, const struct leave_progress *progress); /* now and then */
    void *arg;
};

/* 0, and how it stood at the end; or a code with the sentence. */
int leave_cluster(const struct place *place, const struct leave_wish *wish,
                  struct leave_progress *ret, struct failure *f) MUST_CHECK;

#endif
