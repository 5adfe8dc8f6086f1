/*
 * What comes over sessions with other nodes, shared out: to core_lanes (answers to us as the home),
 * core_guests (orders to us as the executor) and core_foreign (references); and what the end of a
 * session or of a node means to each of them.
 */
#ifndef RAYLET_CORE_SESSIONS_H
#define RAYLET_CORE_SESSIONS_H

#include "raylet/core_state.h"

/* EVENT_PEER_UP, _MESSAGE, _DOWN, _SLOW */
void session_event(struct raylet_core *c, const struct raylet_event *e);
/* At the end of the core: what is between nodes ends, as if all of them had died. */
void session_wind_up(struct raylet_core *c);
/* Works off nodes that died; true if there is more to do. */
bool session_work(struct raylet_core *c);

#endif
