/*
 * The rig's side of sessions between raylets: what the raylet wants of them goes to the hooks, or
 * is kept for the test. For rig.c alone; tests use rig.h.
 */
#ifndef TESTS_SIM_RIG_PEER_H
#define TESTS_SIM_RIG_PEER_H

#include "tests/sim/rig.h"

void rig_peer_effect(struct rig *r, const struct raylet_effect *e);
/* A copy in `arena` that points into nothing else. */
struct peer_msg *rig_peer_copy(struct arena *arena, const struct peer_msg *m);

#endif
