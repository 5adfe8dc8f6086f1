/*
 * The raylet's side of the head: joining, the lease, feasibility, other nodes' rows, leaving.
 *
 *   DOWN -> JOINING (JOIN is sent) -> JOINED -> DOWN ...
 */
#ifndef RAYLET_CORE_HEAD_H
#define RAYLET_CORE_HEAD_H

#include "raylet/core_state.h"

void head_up(struct raylet_core *c);
void head_down(struct raylet_core *c, const struct raylet_event *e);
/* All but QUERY, which core_rows answers. */
void head_message(struct raylet_core *c, const struct cluster_msg *m);
/* Asks about shapes that do not fit this node. */
void head_ask_feasible(struct raylet_core *c);
/* At the end of a step: the renewal that is due, or one ahead of its time because something became
 * full or free (at most ten a second). */
void head_renew_work(struct raylet_core *c);
void head_leave(struct raylet_core *c, uint64_t limit_ns);
void head_timer(struct raylet_core *c, struct core_timer *timer);
/* Whether head_leave_work is about to say LEAVE: what must be said before is said now. */
bool head_is_going(struct raylet_core *c);
/* The node leaves: whether the last work has ended. */
void head_leave_work(struct raylet_core *c);

#endif
