/*
 * drt logs: what a task's, a job's or a worker's processes wrote, once or as it grows. Blocks.
 */
#ifndef CLI_LOGS_H
#define CLI_LOGS_H

#include "cli/show.h"

struct logs {
    struct show show; /* where and how; its wish's job */
    const char *task; /* "" if not given */
    uint64_t worker;  /* 0: not given */
    uint32_t stream;  /* 0: both; 1 out, 2 err */
    bool follow;
};

int show_logs(const struct logs *logs) MUST_CHECK;

#endif
