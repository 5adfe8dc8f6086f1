/*
 * What workers tell: that they started, results, that a body waits, how they ended; and how they
 * are stopped.
 */
#ifndef RAYLET_CORE_WORKERS_H
#define RAYLET_CORE_WORKERS_H

#include "raylet/core_state.h"

void worker_started(struct raylet_core *c, const struct raylet_event *e);
void worker_refused(struct raylet_core *c, const struct raylet_event *e);
/* Its process connected. False: there is no such worker, or it has connected before. */
bool worker_opened(struct raylet_core *c, struct client *client, uint64_t number);
void worker_exited(struct raylet_core *c, const struct raylet_event *e);
void worker_taken_back(struct raylet_core *c, const struct raylet_event *e);

void worker_result(struct raylet_core *c, struct worker *w, const struct local_result *m,
                   struct bytes payload);
/* Its body waits, and for what; NULL: no longer. */
void worker_blocked(struct raylet_core *c, struct worker *w, const struct local_ids *waits);

void worker_kill(struct raylet_core *c, struct worker *w, int signal);
/* The body of a task that was settled before, if it still runs, is killed. False: it does not. */
bool worker_force(struct raylet_core *c, struct object_id id);
void worker_timer(struct raylet_core *c, struct worker *w);

#endif
