/*
 * References between nodes (docs/protocol.md, "References between nodes"): the borrower's side of
 * their conversation, and what of it has a place in a step. Proxies are in core_proxies, the
 * owner's side is in core_holders, what is inside values in core_contents. No rules about tasks.
 */
#ifndef RAYLET_CORE_FOREIGN_H
#define RAYLET_CORE_FOREIGN_H

#include "raylet/core_proxies.h"

/* `fail_task` ends a task whose argument cannot be had. */
void foreign_init(struct raylet_core *c, void (*fail_task)(struct raylet_core *c, struct task *t,
                                                           struct object_error *error));
void foreign_free(struct raylet_core *c); /* asserts that nothing is left; before peers_free */
/* At the end of the core: what other nodes hold here is given up, so that all can be freed. */
void foreign_wind_up(struct raylet_core *c);
void foreign_check(struct raylet_core *c); /* for raylet_core_check */

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

#endif
