/*
 * Which objects a process may name: those that it holds. It holds what it made and has not
 * released, what it took from others (struct foreign_hold), and, while their task is placed at it,
 * the arguments of a task and what is inside their values. What is inside a value that it holds it
 * may take a hold of. No other process of its job sees any of that.
 */
#ifndef RAYLET_CORE_HELD_H
#define RAYLET_CORE_HELD_H

#include "raylet/core_state.h"

/* For an answer about an object that the process does not hold, or that is not there. */
#define NOT_HELD                                                                                   \
    "this process does not hold this object: keep a reference to it for as long as it is needed, " \
    "or take it again from the argument or value that has it (drt_arg_ref, drt_inner)"

bool held_in_arguments(struct raylet_core *c, const struct client *client, const struct object *o);
bool held_in_table(const struct client *client, const struct object *o);

/* Whether this process may name it. */
static inline bool held_by(struct raylet_core *c, const struct client *client,
                           const struct object *o)
{
    if (LIKELY(o->owner == client && o->held)) {
        return true;
    }
    return held_in_table(client, o) || held_in_arguments(c, client, o);
}

/* Whether it is inside the value of `container`, which the process holds. */
bool held_inside(struct raylet_core *c, const struct client *client, const struct object *container,
                 const struct object *o);
/* The same by id: NULL if the process may not name it. */
struct object *held_find(struct raylet_core *c, const struct client *client, struct object_id id);
/* The arguments of this task, or what is in them, have changed, or it goes. */
void held_forget(struct task_extra *x);

/* object_contain with ids that `client` gave. False: it does not hold one of them, and nothing is
 * contained. NULL: another raylet gave them, which has looked; those that are not there are left
 * out. */
bool held_contain(struct raylet_core *c, struct object *o, const struct client *client,
                  const struct object_id *ids, size_t count) MUST_CHECK;

#endif
