/*
 * A small process beside each raylet that outlives its sudden end: workers die with their raylet,
 * but what they started themselves does not. When the raylet's end of a pipe closes, the guard ends
 * every process that was started with the node's mark in its environment (LAUNCHER_WORKER_NODE),
 * and then itself. guard_start and guard_stop are the raylet's.
 */
#ifndef RAYLET_GUARD_H
#define RAYLET_GUARD_H

#include <sys/types.h>

#include "common/base.h"

#define GUARD_FLAG "--guard"

struct guard {
    pid_t pid; /* 0: none */
    int pipe;  /* -1: none */
};

int guard_start(struct guard *ret, const char *node_dir) MUST_CHECK; /* -errno */
void guard_stop(struct guard *g); /* in an orderly end; fine if none was started */

/* The guard's own mode. `argv` as guard_start made it. */
NORETURN void guard_main(int argc, char **argv);

/* Ends the processes that carry the node's mark. How many were found. */
size_t guard_end_marked(const char *node_dir);

#endif
