/*
 * A task's life at its home: submitted, waiting for its arguments, ready, placed in a worker's
 * ring, and settled; with attempts, back-off, deadlines and cancelling. Which worker it gets is
 * core_schedule's matter.
 *
 *   (new) -> WAITING -> READY -> PLACED -> SETTLED
 *              |          |  ^     |  \\-> BACKOFF -> READY     (an attempt was lost, another is
 * left) |          |  \\-----/                           (taken back, free of charge)
 *              \\---------\\------> SETTLED                     (cancelled, deadline, an argument
 * failed) PLACED -> ABANDONED -> SETTLED (settled for all to see while the body still runs)
 */
#ifndef RAYLET_CORE_TASKS_H
#define RAYLET_CORE_TASKS_H

#include "raylet/core_state.h"

void task_submit(struct raylet_core *c, struct client *client, const struct local_submit *m,
                 struct bytes payload);
/* Those whose arguments have settled become ready or fail. */
void task_wake(struct raylet_core *c);

/* Fills the slot `t->worker`, `t->slot` was set to: the RUN message. READY -> PLACED; the caller
 * took it off its queue. */
void task_run(struct raylet_core *c, struct task *t);
/* PLACED or ABANDONED tasks leave their worker in one of these ways; all clear worker and slot. */
void task_result(struct raylet_core *c, struct task *t, const struct local_result *m,
                 struct bytes payload);
void task_taken_back(struct raylet_core *c, struct task *t);
/* Its worker died while it ran it. */
void task_attempt_died(struct raylet_core *c, struct task *t, const struct failure *why);

/* Ends it as `error`, wherever it stands. Frees it, unless its body may still run (ABANDONED: then
 * a TAKE_BACK is asked for). */
void task_fail(struct raylet_core *c, struct task *t, struct object_error *error);
/* 0, or CODE_DONE if it is settled already. `flags`: enum local_cancel_flags. */
int task_cancel(struct raylet_core *c, struct task *t, uint32_t flags, const char *why);
void task_timer(struct raylet_core *c, struct core_timer *timer);

/* Its name as people know it. */
const char *task_function(const struct task *t);
const char *task_state_name(uint8_t state);

#endif
