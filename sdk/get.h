/*
 * Waits for one object, for all functions that read results. Call it with the lock of the runtime
 * held. The lock is released while the thread sleeps, so pointers that were found before the call
 * are not valid after it.
 */
#ifndef SDK_GET_H
#define SDK_GET_H

#include "sdk/runtime.h"

/* Waits until the object is settled; `whole`: and its value is here. 0: its slot in *ret, in error
 * or with the value. -EBADF; as link_wait. */
int get_settled(struct drt_ref ref, bool whole, uint64_t deadline_ns, struct slot **ret) MUST_CHECK;

#endif
