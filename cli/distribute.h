/*
 * 'drt distribute test': a driver like any other, whose program is drt itself. Its tasks sleep a
 * while and say where. Blocks.
 */
#ifndef CLI_DISTRIBUTE_H
#define CLI_DISTRIBUTE_H

#include "cli/show.h"

#define DISTRIBUTE_TASKS_MAX 1000000u

struct distribute {
    struct where where;
    const char *strategy;      /* by its name; NULL: default */
    const char *node, *labels; /* NULL: not given */
    bool soft, json;
    uint64_t tasks, task_ns;
};

/* First in main: does not return in a process that a raylet started to run such tasks. */
void distribute_serve(void);
/* EXIT_DONE or another; what went wrong is said on standard error. */
int distribute_test(const struct distribute *d) MUST_CHECK;

#endif
