/*
 * Whether a worker may be started now. Two things speak against it: a job has as many processes on
 * this node as it may, or the machine had none to spare when one was last asked for (processes,
 * descriptors, memory). The second passes: after a pause that grows with each failure one start is
 * tried at a time, and meanwhile work goes on with the workers that there are.
 */
#ifndef RAYLET_CORE_STARTS_H
#define RAYLET_CORE_STARTS_H

#include "raylet/core_state.h"

enum starts_now {
    STARTS_MAY = 0,
    STARTS_JOB_FULL, /* the job has all the processes that it may have here */
    STARTS_PAUSED,   /* the machine had none to spare; tried again later, or just now */
};

enum starts_now starts_now(const struct raylet_core *c, const struct job *job);

/* This worker, which is gone after the call that reports it, could not be started, for a reason
 * that passes. */
void starts_failed(struct raylet_core *c, struct worker *w, const struct failure *why);
void starts_worked(struct raylet_core *c, struct job *job); /* one of this job is at work */
void starts_freed(struct raylet_core *c); /* a process has ended: another may begin at once */

/* Whether those that wait for a worker of this job can only get one when a worker ends: bodies that
 * wait for them in turn keep them from it. */
bool starts_stuck(const struct raylet_core *c, const struct job *job);

/* The same for people: why a task of this job gets no worker. NULL: it may. In the arena. */
const char *starts_explain(struct raylet_core *c, const struct job *job);

#endif
