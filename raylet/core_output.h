/*
 * What bodies print, on its way to their driver: lines of workers here and elsewhere, and the
 * question whether all that was printed until now has come. The shell reads the pipes.
 */
#ifndef RAYLET_CORE_OUTPUT_H
#define RAYLET_CORE_OUTPUT_H

#include "raylet/core_state.h"

/* EVENT_LOG: to the driver, here or at another node. */
void output_lines(struct raylet_core *c, const struct raylet_event *e);
/* LOGS of a driver: what its workers have written until now comes at once, from all nodes that were
 * told of its job, then the answer. */
void output_take(struct raylet_core *c, struct client *client);
/* EVENT_LOG_TAKEN */
void output_taken(struct raylet_core *c, const struct raylet_event *e);
/* LOG, and LOGS in both directions. False: not one of these. */
bool output_message(struct raylet_core *c, struct peer *p, enum peer_side side,
                    const struct peer_msg *m);

#endif
