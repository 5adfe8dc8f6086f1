/*
 * drt cancel: ends a task, or all tasks of a job. Blocks, at most ASK_LIMIT_NS.
 */
#ifndef CLI_CANCEL_H
#define CLI_CANCEL_H

#include "cli/show.h"

/* `thing` is a task ("1-2.2240"), a job's number, or "last": the newest job. Says what was done.
 * EXIT_DONE or another; what went wrong is said on standard error. */
int cancel_thing(const struct where *where, const char *thing, bool force) MUST_CHECK;

#endif
