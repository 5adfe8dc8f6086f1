/*
 * Processes that come and go, and the jobs that drivers make.
 *
 *   ASKED (the head is to commit it) -> LIVE -> ENDING (its driver went: work is cancelled, bodies
 * are asked to stop and killed after 2 s, objects freed, all in bounded steps) -> UNSAID (until the
 * head has it) -> gone
 */
#ifndef RAYLET_CORE_JOBS_H
#define RAYLET_CORE_JOBS_H

#include "raylet/core_state.h"

void client_up(struct raylet_core *c, const struct raylet_event *e);
void client_slow(struct raylet_core *c, const struct raylet_event *e);
void client_down(struct raylet_core *c, const struct raylet_event *e);
void client_open(struct raylet_core *c, struct client *client, const struct local_open *m);
void client_goodbye(struct raylet_core *c, struct client *client);
/* Sends what was gathered in the step: answers and credit; forgets clients that are gone with all
 * they made. */
void client_flush(struct raylet_core *c);

/*
 * Of a driver elsewhere; LIVE at once. Its home says when it is over; as long as the home is not
 * among those that announce it here, it is asked. Nodes that ran tasks of a job and passed some on
 * to each other would else keep it for each other.
 */
struct job *job_new_guest(struct raylet_core *c, const struct peer_job *m);
/* A node announced it, or does so no more. */
void job_sponsors_changed(struct raylet_core *c, struct job *job);
/* Its home says, or the head said of its home, that it is over. */
void job_over(struct raylet_core *c, struct job *job, uint32_t end_state);
/* Somebody asks: whether a job of ours has ended. */
bool job_is_over(const struct raylet_core *c, uint64_t number);
/* A person ends it, whatever its program does: all its tasks are cancelled, in bounded steps, and
 * so is what it submits from now on. `force`: bodies are killed. `why` is static. */
void job_cancel(struct raylet_core *c, struct job *job, bool force, const char *why);
struct job *job_find(const struct raylet_core *c, uint64_t number); /* NULL: none here */
/* A guest that no home announces any more ends, once no other node holds objects of it here. */
void job_let_go(struct raylet_core *c, struct job *job);
void job_program(struct raylet_core *c, const struct raylet_event *e);
void job_say_all(
    struct raylet_core *c); /* to a head that has just welcomed us: new ones, ended ones */
void job_refuse_new(struct raylet_core *c); /* the head does not know this node's key */
void job_added(struct raylet_core *c, const struct cluster_job_added *m);
void job_end_heard(struct raylet_core *c, uint64_t number);
void job_timer(struct raylet_core *c, struct job *job);
void job_end(struct raylet_core *c, struct job *job, uint32_t end_state);
/* Whether a program has ended whose job has not, as the head knows it. Of a node that is a
 * program's own: whether it has any. */
bool job_is_ending(const struct raylet_core *c);
/* This node leaves: how its programs ended, of which some work still runs. */
void job_say_ending(struct raylet_core *c);
/* A bounded step of ending jobs; true if there is more to do at once. */
bool job_work(struct raylet_core *c);
void job_free_all(struct raylet_core *c); /* at the end of the core */

#endif
