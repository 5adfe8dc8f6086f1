/*
 * Lanes: a class of ours at one other node. A lane keeps the slots that the node granted, the tasks
 * that are fixed to it, and what the session was told of. Which lanes a class has and what goes
 * into them is core_home's matter.
 */
#ifndef RAYLET_CORE_LANES_H
#define RAYLET_CORE_LANES_H

#include "raylet/core_state.h"

struct lane *lane_find(struct class_ *k, struct peer *p); /* NULL: none */
struct lane *lane_use(struct raylet_core *c, struct class_ *k, struct peer *p);
/* Tells the node, gives its slots back. Nothing is queued or placed. */
void lane_free(struct raylet_core *c, struct lane *l);

/* The node shall grant until we got `limit` in all; says so if it does not know. Opens the session
 * and tells it of job and class first; false: it is not up yet. */
bool lane_ask(struct raylet_core *c, struct lane *l, uint64_t limit);
/* The unused slots; and it shall grant no more. */
void lane_return(struct raylet_core *c, struct lane *l);
/* It has slots, or has asked for some; or no longer so. */
void lane_linger(struct raylet_core *c, struct lane *l);
void lane_stop_lingering(struct lane *l);
/* The session ended: nothing of it is left. Tasks are the caller's matter. */
void lane_reset(struct lane *l);

/* Queue of tasks that are fixed to it. */
void lane_enqueue(struct raylet_core *c, struct lane *l, struct task *t);
void lane_dequeue(struct task *t);

/* Where alone the tasks in the class's queue may run; NULL: here too, or at several nodes. */
struct lane *lane_only(const struct class_ *k);
/* How many tasks wait here for this node alone: fixed to it, or no other may run them. NULL: for
 * any one other node. Looks at each class that has some. */
uint64_t lanes_waiting(const struct raylet_core *c, const struct peer *p);

/* What raylet_core_check asks: every count equals what is there. */
void lanes_check(struct raylet_core *c);

struct told_job *lane_told(const struct peer *p, uint64_t job); /* NULL: it was not */

#endif
