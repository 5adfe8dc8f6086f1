/*
 * `drt-node leave`: asks the raylet of this machine to leave its cluster, and waits until it has
 * ended. Blocking.
 */
#ifndef RAYLET_LEAVE_H
#define RAYLET_LEAVE_H

#include "common/codes.h"
#include "common/place.h"

#define LEAVE_LIMIT_NS UINT64_C(60000000000) /* for what runs there to end */

/* `name` may be NULL. 0, and the node's name; or a code with the sentence. */
int leave_cluster(const struct place *place, const char *name, char ret_name[64],
                  struct failure *f) MUST_CHECK;

#endif
