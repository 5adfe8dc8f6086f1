/*
 * Who descends from whom, read from /proc: the children of this process, and processes that carry a
 * variable in the environment they were started with. Blocking only as /proc does; no state.
 */
#ifndef RAYLET_DESCENT_H
#define RAYLET_DESCENT_H

#include <sys/types.h>

#include "common/base.h"

/* The children of this process (zombies too), at most `max`. How many. */
size_t descent_children(pid_t *ret, size_t max);
/* Whether this process was started with NAME=value in its environment. False where that cannot be
 * read. */
bool descent_has_variable(pid_t pid, const char *name, const char *value);
/* The value of a variable as a number; 0: none. */
uint64_t descent_variable_u64(pid_t pid, const char *name);
/* Calls fn for each process of this machine that can be seen. */
void descent_each(void (*fn)(pid_t pid, void *arg), void *arg);

#endif
