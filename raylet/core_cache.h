/*
 * Values of other nodes' objects that are kept here. What tasks that may run need stays until they
 * have ended; the rest, which a get or a wait brought, is kept as long as there is room, the least
 * recently used go first, and whoever asks for one of those again waits until its owner has sent it
 * again. All of it has a bound. A task whose values do not fit beside those of others waits,
 * holding nothing, for its turn. What is the value of one of our own objects (an alias) is charged
 * to who owns that, as a result is, and is not counted here. Values of up to 16 bytes are in the
 * proxy.
 */
#ifndef RAYLET_CORE_CACHE_H
#define RAYLET_CORE_CACHE_H

#include "raylet/core_state.h"

struct proxy;

void cache_init(struct raylet_core *c, uint64_t most_bytes); /* 0: a quarter of all credits */
uint64_t cache_bytes(const struct raylet_core *c);           /* counted against the bound */

/* ---- proxies ---- */

/* Its value has come, its owner has gone, or (as it is freed) it is there no more. */
void cache_arrived(struct raylet_core *c, struct proxy *x);
void cache_orphaned(struct raylet_core *c, struct proxy *x, bool lost);
void cache_forget(struct raylet_core *c, struct proxy *x);
/* Its value was here before, whether it is now or not. */
bool cache_had(struct object *o);
/* For struct far_hooks: somebody read it; an alias has it as its value, or no longer. */
void cache_used(struct raylet_core *c, struct object *o);
void cache_aliased(struct raylet_core *c, struct object *o, bool is);

/* ---- tasks ---- */

/* All that it needs has settled, or had before. True: and is here, and stays until cache_leave.
 * False: not yet; the task is put on core->woken when it is. */
bool cache_admit(struct raylet_core *c, struct task *t);
void cache_leave(struct raylet_core *c, struct task *t); /* it ends, whatever it waits for */
bool cache_waits_for_room(const struct task *t);

/* ---- time ---- */

/* A step begins: nothing that was sent points at values any more. What is too much goes, and who
 * waits for room comes in. */
void cache_begin(struct raylet_core *c);
bool cache_has_work(const struct raylet_core *c);
bool cache_timer(struct raylet_core *c, const struct core_timer *timer); /* false: not its own */
void cache_check(const struct raylet_core *c);

#endif
