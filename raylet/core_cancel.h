/*
 * 'drt cancel': a person ends a task or a whole job that was submitted on this node, without its
 * program's doing. Which question it may come with is checked here.
 */
#ifndef RAYLET_CORE_CANCEL_H
#define RAYLET_CORE_CANCEL_H

#include "raylet/core_state.h"

/* STATE_CANCEL, from a tool of this machine, or from the head (client NULL), which has looked at
 * who asks. Says in lines what was done. */
void cancel_query(struct raylet_core *c, const struct client *client, const struct state_query *q,
                  struct state_reply *r);

#endif
