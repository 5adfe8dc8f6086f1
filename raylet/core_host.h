/*
 * We as the executor for other homes: the jobs and classes that they announce, slots that we lend
 * them (a promise keeps a worker and its resources), tasks that come into the slots. What a guest
 * answers is in core_guests; who gets slots when is core_schedule's matter.
 */
#ifndef RAYLET_CORE_HOST_H
#define RAYLET_CORE_HOST_H

#include "raylet/core_state.h"

/* What the home of a guest job answers, whom we asked (SIDE_OUT). False: not one of these. */
bool host_home_says(struct raylet_core *c, struct peer *p, const struct peer_msg *m);
/* JOB, JOB_END, JOB_ASK, CLASS, CLASS_END, ASK, RETURN, RUN, STOP, RECORDED. False: not one of
 * these. */
bool host_message(struct raylet_core *c, struct peer *p, const struct peer_msg *m);
/* The IN session ended: what that home has here ends. */
void host_peer_down(struct raylet_core *c, struct peer *p);

/* The head says that this node is dead: so are the jobs of its drivers. */
void host_home_dead(struct raylet_core *c, uint32_t node);

/* EVENT_PROGRAM_FETCHED */
void host_program(struct raylet_core *c, const struct raylet_event *e);
/* Programs that turned out not to run here: their homes hear of it. */
void host_work(struct raylet_core *c);
/* At the end of a step: slots granted in it. */
void host_flush(struct raylet_core *c);
/* Guests that wait too long go back; those that run are reported. */
void host_timer(struct raylet_core *c);
/* The node leaves: no slots any more, and what has not begun goes back. */
void host_drain(struct raylet_core *c);

#endif
