/*
 * What this node has done of jobs whose driver is elsewhere: bodies that run here submit tasks too,
 * and those are counted here, at their home. A part is added up over all the lives that such a job
 * has here, told to the head each time one of them ends, and kept until the head says that the
 * whole job has ended. So a head that was killed hears it again.
 */
#ifndef RAYLET_CORE_PARTS_H
#define RAYLET_CORE_PARTS_H

#include "raylet/core_state.h"

#define PARTS_MAX 10000u /* beyond it the counts of further jobs are lost */

/* The counts of a guest job, which has none then; said to the head. */
void part_take(struct raylet_core *c, struct job *job);
/* Of all guest jobs: this node leaves. */
void parts_take_all(struct raylet_core *c);
/* A head that is met again hears of all. */
void parts_say_all(struct raylet_core *c);
/* The head: the job is over. Not while it has a life here: what that did is still to be added. */
void part_heard(struct raylet_core *c, uint64_t job);
void parts_free(struct raylet_core *c);

#endif
