/*
 * We as the home of tasks that run elsewhere: slots that were granted, results recorded, and what
 * becomes of tasks when a session, a node or a job ends. Which node they go to is core_plan's
 * matter.
 */
#ifndef RAYLET_CORE_HOME_H
#define RAYLET_CORE_HOME_H

#include "raylet/core_foreign.h"

/* GRANT, STARTED, BACK, RESULT, ARGS_FREE, JOB_BROKEN. False: not one of these. */
bool home_message(struct raylet_core *c, struct peer *p, const struct peer_msg *m);
/* The OUT session is up: what was cancelled there meanwhile is told. */
void home_peer_up(struct raylet_core *c, struct peer *p);
/* The OUT session ended: what was sent there is lost. */
void home_peer_down(struct raylet_core *c, struct peer *p, const struct raylet_event *e);
void home_peer_dead(struct raylet_core *c, struct peer *p);
/* What a result refers to is ADDED. */
void home_secured(struct raylet_core *c, struct securing *s);
/* Its owner has been silent for long: who waits for the result is told so. */
void home_unsecured(struct raylet_core *c, struct securing *s);

/* The body of a task that was given up before is killed if it still runs, here or elsewhere: the
 * one that made the settled object `o` (or what `o` followed), whose id this is; NULL: it was let
 * go. */
bool home_force(struct raylet_core *c, const struct object *o, struct object_id id, uint32_t flags);
/* The task that makes this object of another node is cancelled there, or as soon as the session is
 * up. False: it cannot be reached. */
bool home_cancel(struct raylet_core *c, struct object_id id, uint32_t flags);
/* It ends: what runs elsewhere is stopped and forgotten. */
void home_end_job(struct raylet_core *c, struct job *job);

#endif
