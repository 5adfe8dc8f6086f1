/*
 * Inherited priorities: what a task of a higher priority waits for takes its priority over, and so
 * does what that waits for in turn; by its arguments, by what a body that runs has asked for, and
 * also at other nodes. So a task of priority 10 does not wait behind all of priority 0 because it
 * needs the result of one of priority -5. Where a task that needed it was cancelled, or failed,
 * before it began, the priority is what those who still wait give it.
 */
#ifndef RAYLET_CORE_LIFT_H
#define RAYLET_CORE_LIFT_H

#include "raylet/core_state.h"

void lift_init(struct raylet_core *c);
void lift_free(struct raylet_core *c);
/* Some of what was noted (core_note_wait) is done; true: there is more. */
bool lift_work(struct raylet_core *c);
/* Another node says that one of this priority waits for a task of ours, or for what we run for it.
 */
void lift_heard(struct raylet_core *c, struct peer *p, const struct peer_lift *m);
void lift_timer(struct raylet_core *c);
/* For tests: nothing here that a waiting task needs has a lower priority than that task. */
void lift_check(struct raylet_core *c);

#endif
