/*
 * Objects of other nodes. Each is a proxy: a `struct object` whose owner is a pseudo client for the
 * process at its node that made it. It is kept while anything here holds it. What its owner knows
 * of us:
 *
 *   COVERED (somebody else's hold covers ours: a home's for a guest's arguments, a container's for
 *   what is inside) -> QUEUED -> ADDING (ADD was sent) -> ADDED;   any -> GONE (released, or its
 *   owner is lost)
 *
 * A proxy that is held and has no cover is added at the end of the step. Nothing is sent here; that
 * is core_foreign's matter.
 */
#ifndef RAYLET_CORE_PROXIES_H
#define RAYLET_CORE_PROXIES_H

#include "raylet/core_contents.h"

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
/* Proxies, for the core's counts. */
uint64_t foreign_count(const struct raylet_core *c);
void foreign_forget_client(struct raylet_core *c, struct client *client); /* a pseudo one */

/* ---- for core_foreign ---- */

struct proxy;
struct foreign_peer;

#define PROXY_SILENCE_S    15u        /* who waits for an owner is told after so long */
#define PROXY_AGAIN_S      2u         /* and when a session was silent so long: another may come */
#define SECURING_CONTAINER UINT32_MAX /* securing.kind of our own */

struct foreign_peer *foreign_part(struct raylet_core *c, struct peer *p); /* made if need be */
struct object *proxy_find(struct raylet_core *c, struct object_id id);    /* NULL: none */
void proxy_enter(struct proxy *x, uint8_t state); /* the one place where that changes */
bool proxy_is_pending(const struct proxy *x);
/* Of an ending job: those that nothing holds, and that processes which are gone asked for. */
void proxies_of_job_end(struct raylet_core *c, const struct job *job, uint32_t most);
/* Its owner has said ADDED, or will never say more: who waited for that goes on. */
void proxy_answered(struct raylet_core *c, struct proxy *x);
/* Its owner has it no more: released, or (lost) the owner itself is gone. */
void proxy_lose(struct raylet_core *c, struct proxy *x, bool lost);
/* Ends what waits for its value. */
void proxy_end_wait(struct raylet_core *c, struct proxy *x, struct object_error *e);
/* Who waits for something of that node does not do so for longer than it may be silent. */
void proxy_watch_silence(struct raylet_core *c, struct foreign_peer *fp);
/* Those that are held and have no cover are queued. */
void proxies_look_at_fresh(struct raylet_core *c);
/* Containers that waited until what is inside is added go. */
void proxies_release_kept(struct raylet_core *c);

/* What core_objects asks for: see struct far_hooks. */
void proxy_want(struct raylet_core *c, struct object *o);
bool proxy_let_go(struct raylet_core *c, struct object *o);
void proxy_put_back(struct raylet_core *c, struct object *o);

#endif
