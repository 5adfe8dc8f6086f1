/*
 * What asking ends with: the exit status of drt, and how long a daemon may take. No I/O.
 */
#ifndef CLI_EXIT_H
#define CLI_EXIT_H

#include "common/clock.h"
#include "common/codes.h"

#define ASK_LIMIT_NS (5 * NS_PER_S)

/* What drt's exit status says. */
enum cli_exit {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NO_CLUSTER = 3,
    EXIT_REFUSED = 4,
};

/* The exit status that fits a failure which a daemon answered. */
int exit_of_failure(const struct failure *f);

#endif
