/*
 * Task classes: tasks of one function, shape, priority and depth are decided on together. A client
 * declares a class once; instances are made for each depth, shared within the job, and deleted when
 * nobody uses them. Levels order the classes that have ready tasks: by priority, then deeper first.
 */
#ifndef RAYLET_CORE_CLASSES_H
#define RAYLET_CORE_CLASSES_H

#include "raylet/core_state.h"

/* Files what a client declared; a broken declaration is a protocol error of the client. */
void class_declare(struct raylet_core *c, struct client *client, const struct local_class *m);
void class_forget_decls(struct raylet_core *c, struct client *client);

/* The instance of a declaration at `depth`; one more user, given back with class_unuse. */
struct class_ *class_use(struct raylet_core *c, struct client *client, struct class_decl *decl,
                         uint32_t depth);
void class_unuse(struct raylet_core *c, struct class_ *k);
void shape_unuse(struct raylet_core *c, struct shape *s);
/* A lease keeps its pool. */
void pool_unuse(struct raylet_core *c, struct pool *p);

/* A ready task joins or leaves its class's queue. */
void class_enqueue(struct raylet_core *c, struct task *t);
void class_enqueue_first(struct raylet_core *c, struct task *t); /* it was taken back */
void class_dequeue(struct raylet_core *c, struct task *t);
/* Whether the last turn found no resources for it. */
void class_set_stuck(struct raylet_core *c, struct class_ *k, bool stuck);

#endif
