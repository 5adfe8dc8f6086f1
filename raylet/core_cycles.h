/*
 * Waits that can never end. A task that found no place for 5 s asks what it waits for: who keeps
 * the room that it lacks, what those bodies wait for, who makes that, and so on over all nodes that
 * have a part in it (edge-chasing: Chandy, Misra and Haas, "Distributed deadlock detection", 1983,
 * in its form for waits of which any one would do). The search ends as soon as anything is found
 * that moves. If all that can be reached is stuck, it is looked at a second time: what is the same
 * both times was so at one moment in between, with no message under way that could change it, and
 * so for good. Between the two the head is asked: a node may have joined on which one of the tasks
 * could run. Then one task of the circle fails with CODE_CYCLE: of those that wait for a place
 * the deepest, and among these the last one made. Only those in a knot count, from which no way
 * leads out: others wait for the circle, and go on once it is broken. Its home ends it; others that
 * search find the same one and leave it alone.
 *
 * Only room makes circles: a reference exists after what it names was submitted, so data alone
 * cannot. One search at a time; a node that does not answer ends it, to be tried again later.
 */
#ifndef RAYLET_CORE_CYCLES_H
#define RAYLET_CORE_CYCLES_H

#include "raylet/core_state.h"

void cycles_init(struct raylet_core *c);
void cycles_free(struct raylet_core *c);
/* Once in a step: something may have begun to wait. */
void cycles_watch(struct raylet_core *c);
void cycles_timer(struct raylet_core *c);

/* The head's answer to a search; false: to somebody else. */
bool cycles_head_answers(struct raylet_core *c, uint64_t request);
/* LOOK of another node (SIDE_IN), and its answer to ours (SIDE_OUT). False: not one of these on
 * this side. */
bool cycles_message(struct raylet_core *c, struct peer *p, enum peer_side side,
                    const struct peer_msg *m);

#endif
