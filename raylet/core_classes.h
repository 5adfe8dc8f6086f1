/*
 * Task classes: tasks of one function, shape, priority and depth are decided on together. A client
 * declares a class once; instances are made for each depth, shared within the job, and deleted when
 * nobody uses them. Levels order the classes that have ready tasks: by priority, then deeper first.
 */
#ifndef RAYLET_CORE_CLASSES_H
#define RAYLET_CORE_CLASSES_H

#include "raylet/core_state.h"

/* Files what a client declared. One that is too much (credit, names of resources) is kept as
 * refused, and its tasks are told why; a broken one is a protocol error of the client. */
void class_declare(struct raylet_core *c, struct client *client, const struct local_class *m);
void class_forget_decls(struct raylet_core *c, struct client *client);

/* The instance of a declaration at `depth`; one more user, given back with class_unuse. */
struct class_ *class_use(struct raylet_core *c, struct client *client, struct class_decl *decl,
                         uint32_t depth);
/* The same class at another priority, which tasks inherited; one more user. */
struct class_ *class_use_at(struct raylet_core *c, const struct class_ *like, int32_t priority);
void class_unuse(struct raylet_core *c, struct class_ *k);
/* A class of another home, for one session; one user. NULL: it asks for what this node never had.
 */
struct class_ *class_use_guest(struct raylet_core *c, struct job *job, uint32_t home,
                               const struct peer_class *m);
/* A lease keeps its pool. */
void pool_unuse(struct raylet_core *c, struct pool *p);

/* A ready task joins its class: its queue, or those whose node is yet to be chosen; and leaves it,
 * wherever it is. */
void class_enqueue(struct raylet_core *c, struct task *t);
/* Its strategy fixes each task's node before it is sent. */
bool class_chooses(const struct class_ *k);
/* Those that are fixed to that node look for another. */
void class_choose_again(struct raylet_core *c, struct lane *l);
/* One that is ready, wherever it waits; NULL: none. */
struct task *class_first(const struct class_ *k);
void class_enqueue_here(struct raylet_core *c, struct task *t);  /* from elsewhere: to the queue */
void class_enqueue_first(struct raylet_core *c, struct task *t); /* it was taken back */
void class_dequeue(struct raylet_core *c, struct task *t);
/* Guest: how many slots its home would take. It is awake with tasks or with such a wish. */
void class_set_wants(struct raylet_core *c, struct class_ *k, uint32_t wants);
bool class_is_awake(const struct class_ *k);
/* Whether the last turn found no resources for it. */
void class_set_stuck(struct raylet_core *c, struct class_ *k, bool stuck);

#endif
