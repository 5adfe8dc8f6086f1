/*
 * Which worker runs what, once in each turn: classes in order of their level, equal ones in turn; a
 * worker of the job is leased to a pool (the resources of its shape are taken while it has tasks),
 * prefilled with short tasks, and given back when it is empty. Workers are asked for here when
 * resources are free and none is idle.
 *
 *   STARTING -> LEASED <-> IDLE      LEASED <-> BLOCKED (its body waits; CPUs given back)      any
 * -> LEAVING -> DEAD
 */
#ifndef RAYLET_CORE_SCHEDULE_H
#define RAYLET_CORE_SCHEDULE_H

#include "raylet/core_state.h"

void schedule(struct raylet_core *c);
/* A slot of this class, in whose queue there is something, is used: the worker that was kept for it
 * has it at once, so that nobody is faster. If it was taken back, the queue has its turn. */
void schedule_use_promise(struct raylet_core *c, struct class_ *k);
/* So many slots of this pool that were lent are returned or void. */
void schedule_unpromise(struct raylet_core *c, struct pool *pool, uint32_t count);

/* The one place where a worker changes state, and where its resources are taken and given. */
void worker_enter(struct raylet_core *c, struct worker *w, uint8_t state);
/* It has results, or nothing to do: the next schedule() looks at it. */
void worker_report(struct raylet_core *c, struct worker *w);
/* The task in a slot, or NULL if the name is not (any more) that of a task of this worker. */
struct task *worker_task(struct worker *w, uint32_t slot);
/* Empties the slot and returns its task; the caller decides what becomes of it. */
struct task *worker_take(struct raylet_core *c, struct worker *w, uint32_t index);
/* The task that it runs now, as far as can be told from here; NULL if none. */
struct task *worker_first(struct worker *w);
bool worker_keeps(const struct worker *w, uint32_t kind);
/* Whether of some kind too little remains even when all bodies that run have ended: some that wait
 * must go on before. */
bool lacks_for_good(const struct raylet_core *c, const struct resource_set *asked,
                    uint32_t *ret_kind);
/* Asks for all back that it has not begun, but keeps `but_first` of them. */
void worker_take_back(struct raylet_core *c, struct worker *w, uint32_t but_first);

/* An idle worker is asked to exit; killed if it does not. */
void worker_leave(struct raylet_core *c, struct worker *w);

void schedule_timer(struct raylet_core *c, struct core_timer *timer);

#endif
