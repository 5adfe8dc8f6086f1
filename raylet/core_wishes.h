/*
 * What tasks ask for, interned: shapes (amounts of resources) and wishes (a shape with a strategy
 * and the node or labels it names). A wish that no node we know of could ever fulfil is put to the
 * head, whose no ends the tasks that have it; when nodes come or change, it is looked at again.
 *
 *   OPEN -> ASKING -> OPEN (some node can) | IMPOSSIBLE -> OPEN (the view changed)
 */
#ifndef RAYLET_CORE_WISHES_H
#define RAYLET_CORE_WISHES_H

#include "raylet/core_state.h"
#include "sched/policy.h"

/* One more user each; given back with _unuse. */
struct shape *shape_use(struct raylet_core *c, const struct resource_set *asked);
void shape_unuse(struct raylet_core *c, struct shape *s);
struct wish *wish_use(struct raylet_core *c, struct shape *shape, uint32_t strategy, bool soft,
                      const char *node, const char *labels);
void wish_ref(struct wish *w);
void wish_unuse(struct raylet_core *c, struct wish *w);

struct sched_request wish_request(const struct wish *w);
/* No node that we know of could: ask the head. */
void wish_doubt(struct raylet_core *c, struct wish *w);
/* Who is there has changed: what was impossible may not be, and who grants a soft wish. */
void wish_recheck(struct raylet_core *c);
/* A soft wish: those that fulfil it cannot be reached or cannot run the program. Until the view
 * changes. */
void wish_take_here(struct raylet_core *c, struct wish *w);

#endif
