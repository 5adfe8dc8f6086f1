/*
 * What core_tasks (a task's states and its end), core_submit (how it comes), core_travel (to and
 * from other nodes) and core_lift (inherited priorities) share, and nobody else.
 */
#ifndef RAYLET_CORE_TASKS_PRIVATE_H
#define RAYLET_CORE_TASKS_PRIVATE_H

#include "raylet/core_tasks.h"

#define BACKOFF_DEFAULT_NS LOCAL_BACKOFF_NS

/* The one place where a task changes state. It leaves its place (worker, node) after that. */
void task_enter(struct raylet_core *c, struct task *t, uint8_t state);
void task_leave_place(struct raylet_core *c, struct task *t);
struct task_extra *task_extra_of(struct task *t); /* made if it has none */
void task_free(struct raylet_core *c, struct task *t);

/* It is in no queue of its class: its class is the same at another priority from now on. */
void task_set_class(struct raylet_core *c, struct task *t, int32_t priority);

void task_fill_payload(struct task *t, struct bytes payload);
/* The error of an argument, one deeper; NULL: none has failed. */
struct object_error *task_failed_need(struct task *t);
/* They exist; those of other nodes may have to wait for room, or be fetched again. */
void task_has_arguments(struct raylet_core *c, struct task *t);
/* It has its arguments: it may run, if it can at all. */
void task_become_ready(struct raylet_core *c, struct task *t);

uint64_t task_time_left_ns(const struct raylet_core *c, const struct task *t); /* 0: no limit */
void task_add_values(struct raylet_core *c, struct task *t, struct local_msg *m);

/* Its returns become this error; the task itself is the caller's. `worker` and `ran_ns` are of its
 * last attempt; 0: none, or not known. */
void task_settle_error(struct raylet_core *c, struct task *t, uint32_t worker,
                       struct object_error *error, uint64_t ran_ns);
/* Its worker or node is asked for it; if its body has begun, that stops as t->stop says. */
void task_ask_back(struct raylet_core *c, struct task *t);
int task_stop(struct raylet_core *c, struct task *t, enum stop_how how, bool recursive,
              const char *why);
/* What a lost attempt submitted and nobody else knows of would be made again by the next. */
void task_cancel_orphans(struct raylet_core *c, struct task *t, bool body_lives);

#endif
