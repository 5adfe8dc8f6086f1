/*
 * References inside values: a container is an object whose value declares some; it holds them until
 * it is freed. And covers: a hold of a proxy that somebody else answers for, a home for the
 * arguments of a guest, or a container of another node for what is inside.
 */
#ifndef RAYLET_CORE_CONTENTS_H
#define RAYLET_CORE_CONTENTS_H

#include "raylet/core_state.h"

/* The value that `o` will be settled with declares these inside: their holds are taken over. Before
 * it settles, once. */
void object_contain(struct raylet_core *c, struct object *o, struct object *const *held,
                    size_t count);
/* What is inside the value of a root, in no order; NULL and 0: nothing. */
struct object *const *object_inner(struct raylet_core *c, const struct object *root, size_t *ret_n);
/* Whether this one is. Does not take longer where there are many. */
bool object_is_inside(struct raylet_core *c, const struct object *root, const struct object *o);

/* Pointers that are searched often are sorted once. */
void objects_sort(struct object **objects, size_t count);
bool objects_among(struct object *const *sorted, size_t count, const struct object *o);

/* Of one of the caller's holds: another node answers for it. For our own objects both do nothing
 * about covers. */
void foreign_cover(struct raylet_core *c, struct object *o);
void foreign_uncover(struct raylet_core *c, struct object *o); /* and that hold ends */

/* ---- for core_foreign ---- */

struct contents *contents_find(const struct raylet_core *c, const struct object *o);
/* Its covers are worth nothing any more: the owner of the container is gone. */
void contents_uncover(struct raylet_core *c, struct object *o);
/* Lets them go, in contents_work. */
void contents_detach(struct raylet_core *c, struct contents *k);
/* A bounded step; true if there is more. */
bool contents_work(struct raylet_core *c);

#endif
