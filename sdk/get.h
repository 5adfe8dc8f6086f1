/*
 * Waiting for one object, as all that read results do. With the runtime's lock held; it is released
 * while a thread sleeps, so nothing else that was found before is good afterwards.
 */
#ifndef SDK_GET_H
#define SDK_GET_H

#include "sdk/runtime.h"

/* Waits until the object is settled; `whole`: and its value is here. 0: its slot in *ret, in error
 * or with the value. -EBADF; as link_wait. */
int get_settled(struct drt_ref ref, bool whole, uint64_t deadline_ns, struct slot **ret) MUST_CHECK;

#endif
