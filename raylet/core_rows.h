/*
 * Answers to those who look: rows of this node's tasks, workers and jobs, and why a task waits.
 * Reads only.
 */
#ifndef RAYLET_CORE_ROWS_H
#define RAYLET_CORE_ROWS_H

#include "raylet/core_state.h"

/* From a tool or driver here, or from the head (client 0). Replies are sent as effects. */
void rows_query(struct raylet_core *c, struct client *client, uint64_t request,
                const struct state_query *q, const struct local_msg *local,
                const struct cluster_msg *head);
/* At the end of a step: what a task wrote is asked of the shell when all that has come is known. */
void rows_flush(struct raylet_core *c);

/* To the head, if something has ended since the last time, or that had fewer rows: the last `most`
 * tasks of each kind of end, and the functions. */
void rows_say_history(struct raylet_core *c, uint32_t most);

#endif
