/*
 * The process that a raylet is a child of. It is the reaper of all that loses its parent below it
 * (PR_SET_CHILD_SUBREAPER): when the raylet ends, however it ends, whatever its workers started
 * becomes the guard's, whichever session, name and environment it gave itself, and is ended. Then
 * the guard ends as its raylet did. Meanwhile it passes signals on and does nothing else.
 *
 * Who kills the guard tells the raylet to leave. Only both at once let something escape; what still
 * carries the node's mark in its environment then (LAUNCHER_WORKER_NODE) is ended by the next
 * raylet of the node, through guard_end_marked.
 */
#ifndef RAYLET_GUARD_H
#define RAYLET_GUARD_H

#include <sys/types.h>

#include "common/base.h"

/* Divides this process, which has no other thread, in two. Returns in the child, which is to be
 * the raylet: 0. The parent becomes the guard and never returns. -errno: nothing happened. */
int guard_begin(void) MUST_CHECK;

/* Ends the processes that carry the node's mark. How many were found. */
size_t guard_end_marked(const char *node_dir);

#endif
