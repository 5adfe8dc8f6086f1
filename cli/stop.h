/*
 * drt stop: ends the daemons of one cluster on this machine, nodes first, and waits until their
 * locks are free. Blocks, at most some twenty seconds.
 */
#ifndef CLI_STOP_H
#define CLI_STOP_H

#include "cli/exit.h"
#include "common/bytes.h"
#include "common/place.h"

#define STOP_LIMIT_NS (10 * NS_PER_S) /* then a daemon is killed */

/* Whether a head of this place holds its lock on this machine; *ret_pid is 0 where its process was
 * not found. */
bool stop_finds_head(const struct place *place, uint32_t *ret_pid);
/* Says what it did in `out`, one line each. EXIT_DONE when nothing runs any more. */
int stop_cluster(const struct place *place, uint64_t limit_ns, struct buffer *out,
                 struct failure *f) MUST_CHECK;

#endif
