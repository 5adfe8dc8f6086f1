/*
 * Asks the raylet for objects, and takes its answers. Each object is requested once, and the answer
 * stays with the reference. A get of one object also requests the objects that were submitted after
 * it, so a loop of gets sends one message for each 1,024 objects. Call these functions with the
 * lock of the runtime held.
 */
#ifndef SDK_ASK_H
#define SDK_ASK_H

#include "sdk/runtime.h"

/* Asks for an UNASKED object and for unasked ones that follow it. 0; as link_write. */
int ask_following(struct slot *s, uint32_t number) MUST_CHECK;
/* Asks for those of `refs` that are unasked, and for no others. 0; as link_write. */
int ask_all(const struct drt_ref *refs, size_t count) MUST_CHECK;
/* Asks for the whole value of a READY object. */
int ask_whole(struct slot *s) MUST_CHECK;
/* For who waits for room: asks for some that nobody asked for, so that their end becomes known.
 * False if the ends of all are known and the raylet has heard of every release. */
bool ask_some_left(void *unused);

/* A question without a meaning: the raylet answers in order, so it has heard of all before it. 0;
 * as link_wait. */
int ask_nothing(uint64_t deadline_ns) MUST_CHECK;

/* What the link brought: VALUES. */
void ask_take(const struct local_msg *m);

#endif
