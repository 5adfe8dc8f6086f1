/*
 * What processes say about objects: they put them, ask for them, hold and release them, and cancel
 * what makes them.
 */
#ifndef RAYLET_CORE_VALUES_H
#define RAYLET_CORE_VALUES_H

#include "raylet/core_state.h"

void value_put(struct raylet_core *c, struct client *client, const struct local_put *m,
               struct bytes payload);
void value_get(struct raylet_core *c, struct client *client, const struct local_get *m);
void value_release(struct raylet_core *c, struct client *client, const struct local_ids *m);
void value_hold(struct raylet_core *c, struct client *client, const struct local_ids *m);
void value_cancel(struct raylet_core *c, struct client *client, const struct local_cancel *m);

#endif
