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
/* Its worker died while it ran it, for `ran_ns` (0: not known). */
void task_attempt_died(struct raylet_core *c, struct task *t, const struct failure *why,
                       uint64_t ran_ns);

/* Ends it as `error`, wherever it stands. Frees it, unless its body may still run (ABANDONED: then
 * a TAKE_BACK is asked for). */
void task_fail(struct raylet_core *c, struct task *t, struct object_error *error);
/* 0, or CODE_DONE if it is settled already. `flags`: enum local_cancel_flags. */
int task_cancel(struct raylet_core *c, struct task *t, uint32_t flags, const char *why);
void task_timer(struct raylet_core *c, struct core_timer *timer);

/* ---- between nodes ---- */

/* Into a slot of that node: the RUN message. READY -> PLACED; the caller took it off its queue. The
 * functions above take it from there, too. */
void task_send(struct raylet_core *c, struct task *t, struct lane *l);
/* Its result is here, and the node still needs its arguments: they are held until ARGS_FREE. */
void task_cover(struct raylet_core *c, struct task *t);
/* Its result waits; `r` goes with it when it leaves that node. */
struct recording;
void task_record(struct raylet_core *c, struct task *t, struct recording *r);
/* It was sent, and the session is gone: not known to have begun, so tried again without a charge;
 * or (at most once) nobody can know. */
void task_lost(struct raylet_core *c, struct task *t, const struct failure *why);
void task_end_unknown(struct raylet_core *c, struct task *t, const struct failure *why);
/* A task that was settled before, and whose body nobody waits for any more. */
void task_forget(struct raylet_core *c, struct task *t);

/* A task that was settled before and was sent: its body is killed. */
void task_kill_sent(struct raylet_core *c, struct task *t);

/* A guest, WAITING; its references are the caller's to add. Then it becomes ready. */
struct task *task_new_guest(struct raylet_core *c, struct class_ *k, struct peer *home,
                            const struct peer_run *m, struct bytes payload);
void task_guest_ready(struct raylet_core *c, struct task *t);
/* One that never began was answered, and is off its queue. */
void task_end_guest(struct raylet_core *c, struct task *t);
void task_stop_guest(struct raylet_core *c, struct task *t, uint32_t how, bool recursive);
/* The session with its home is gone: it is stopped, and nobody hears of its end. */
void task_orphan_guest(struct raylet_core *c, struct task *t);

/* All of a class that wait for a place. They share one error: a million of them are many. */
void task_fail_class(struct raylet_core *c, struct class_ *k, const struct object_error *why);

/* Its name as people know it. */
const char *task_function(const struct task *t);
const char *task_state_name(uint8_t state);

#endif
