/*
 * References inside values: which references a value contains when it is put or returned, and how
 * to get a hold on one of them. Call all functions with the lock of the runtime held.
 */
#ifndef SDK_INNER_H
#define SDK_INNER_H

#include "sdk/runtime.h"

/* The objects that `what` ("the value that was put") is to hold, into ids[count]. 0; -EBADF; or the
 * code of one that failed before it ever reached a raylet. Then *ret_failure tells. */
int inner_find(const struct drt_ref *refs, size_t count, const char *what, struct object_id *ids,
               struct failure *ret_failure) MUST_CHECK;
/* Whether so many fit beside the value's data: 0; DRT_E_TOO_LARGE, -EINVAL with a sentence. */
int inner_check(const struct drt_value *v, const struct drt_ref *refs, size_t count,
                const char *what) MUST_CHECK;

/* A reference of the thread's scope to an object that an argument or a value names. `through`: the
 * held object that it is inside of; none: an argument of the body that runs. */
struct drt_ref inner_hold(struct object_id id, struct object_id through);

#endif
