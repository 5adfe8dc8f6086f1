/*
 * References between nodes, and inside values (docs/protocol.md, "References between nodes").
 *
 * A foreign object is a proxy: a `struct object` whose owner is a pseudo client for the process at
 * its node that made it. It is kept while anything here holds it. What its owner knows of us:
 *
 *   COVERED (somebody else's hold covers ours: a home's for a guest's arguments, a container's for
 *   what is inside) -> QUEUED -> ADDING (ADD was sent) -> ADDED;   any -> GONE (released, or its
 *   owner is lost)
 *
 * A proxy that is held and has no cover is added at the end of the step. As the owner, we keep for
 * each node what it added, as holds.
 *
 * Here is the borrower's side; the owner's is in core_holders, containers are in core_contents. No
 * rules about tasks.
 */
#ifndef RAYLET_CORE_FOREIGN_H
#define RAYLET_CORE_FOREIGN_H

#include "raylet/core_contents.h"
#include "raylet/core_state.h"

/* `fail_task` ends a task whose argument cannot be had. */
void foreign_init(struct raylet_core *c, void (*fail_task)(struct raylet_core *c, struct task *t,
                                                           struct object_error *error));
void foreign_free(struct raylet_core *c); /* asserts that nothing is left; before peers_free */
/* At the end of the core: what other nodes hold here is given up, so that all can be freed. */
void foreign_wind_up(struct raylet_core *c);
void foreign_check(struct raylet_core *c); /* for raylet_core_check */

/* ---- proxies ---- */

/*
 * The object with this id, one hold more, which is the caller's: a proxy (made if there is none),
 * or our own object. NULL: it is ours and was released, or belongs to another job. A proxy of a
 * node that is dead is settled as lost at once.
 */
struct object *foreign_object(struct raylet_core *c, struct job *job, struct object_id id);

/* It is held here, or something inside it is, beyond what is covered, and its owner has not said
 * ADDED: the covers must stay until it is secured. */
bool foreign_needs_more(struct raylet_core *c, const struct object *o);

/*
 * Somebody who may go on only when certain objects stay without covers. When the last of them is
 * answered, added or gone, it is put on core->secured by `link`; nothing is ever put there before
 * the end of the event in which foreign_secure was called. With missing == 0 it need not wait.
 */
struct securing {
    struct list link;  /* core->secured, or core->unsecured */
    struct list waits; /* private */
    uint32_t missing;
    uint32_t kind; /* the waiter's own; not 0 */
};
static inline void securing_init(struct securing *s, uint32_t kind)
{
    list_init(&s->link);
    list_init(&s->waits);
    s->missing = 0;
    s->kind = kind;
}
void foreign_secure(struct raylet_core *c, struct securing *s, struct object *o);
/* While an owner is silent, its waiters are put on core->unsecured every 15 s; they go on waiting,
 * but who waits for them should not: ends what waits for a pending object, which stays as it is.
 * Gets are answered, tasks that need it fail, and so on through what follows it. */
void foreign_end_waits(struct raylet_core *c, struct object *o, struct object_error *e);
void foreign_secure_forget(struct raylet_core *c, struct securing *s);
/* Its owner has let it go, or is lost. */
bool foreign_is_gone(struct object *o);
/* A process took a hold of its own: its owner is told early, so that it outlives what covers it. */
void foreign_taken(struct raylet_core *c, struct object *o);

/* ---- events ---- */

void foreign_peer_up(struct raylet_core *c, struct peer *p, enum peer_side side);
void foreign_peer_down(struct raylet_core *c, struct peer *p, enum peer_side side,
                       const struct raylet_event *e);
/* ADD, DROP, WANT (SIDE_IN), ADDED, VALUE (SIDE_OUT). False: not one of these on this side. */
bool foreign_peer_message(struct raylet_core *c, struct peer *p, enum peer_side side,
                          const struct peer_msg *m);
/* The head's word, a bounded step: it leaves all sets, its objects are lost. True: call it again.
 * False: nothing is left here that names it. */
bool foreign_peer_dead(struct raylet_core *c, struct peer *p);
void foreign_timer(struct raylet_core *c, struct core_timer *timer);

void foreign_begin(struct raylet_core *c); /* a step begins: what the last one sent is sent */
/* A step ends: what was gathered is sent. After all else that may free objects. */
void foreign_flush(struct raylet_core *c);
bool foreign_has_work(const struct raylet_core *c);

/* Of an ending job: what other nodes hold of it, and what its values hold, in bounded steps. True:
 * there is more. */
bool foreign_job_ends(struct raylet_core *c, struct job *job, uint32_t most);
/* Whether other nodes hold objects of this job here. */
bool foreign_job_is_held(struct raylet_core *c, const struct job *job);
/* Whether anything here waits for a value of another node. */
bool foreign_waits(const struct raylet_core *c);
/* Proxies and other things that the core's counts show. */
uint64_t foreign_count(const struct raylet_core *c);

void foreign_forget_client(struct raylet_core *c, struct client *client); /* a pseudo one */

#endif
