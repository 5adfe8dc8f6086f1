/*
 * Which node our tasks go to (the choosing itself is sched/policy.h), and the filling of slots.
 * Once in each step: plan_choose before schedule() (tasks whose strategy fixes the node), plan_send
 * after it (for what found no room here slots are asked for elsewhere; those we have are filled).
 *
 * Tasks of DEFAULT and NODE_SPECIFIC wait in their class's queue, which this node and all lanes
 * draw from: whoever is free first has them. This node comes first; others are asked when it found
 * no room for some time, and for tasks that are worth the way.
 */
#ifndef RAYLET_CORE_PLAN_H
#define RAYLET_CORE_PLAN_H

#include "raylet/core_state.h"

void plan_choose(struct raylet_core *c);
void plan_send(struct raylet_core *c);
/* Slots came: asking for more makes sense again. */
void plan_granted(struct raylet_core *c, struct class_ *k);
void plan_timer(struct raylet_core *c, struct core_timer *timer);

/* Whether another node could run it, now or later. */
bool plan_has_others(struct raylet_core *c, struct class_ *k);

/* Why a class that is ready does not run, node by node: lines in the arena, one for each. */
size_t plan_explain(struct raylet_core *c, const struct class_ *k, const char **ret, size_t room);

#endif
