/*
 * The other nodes: what the head says of them (the view), and the sessions with them. A session is
 * directed: OUT is ours (we are home or borrower), IN is theirs. What ends with a session or a node
 * is in core_lanes, core_guests and core_foreign, which core.c tells in turn; here is only whether
 * there is one.
 *
 *   UNKNOWN (it spoke to us before the head told of it) -> ALIVE -> DEAD (the head's word, or none
 * of the head's for an UNKNOWN one) -> freed, once nothing of it is left
 *   OUT: OFF -> OPENING -> UP -> OPENING ..., and OFF again when it is unused or dead
 */
#ifndef RAYLET_CORE_PEERS_H
#define RAYLET_CORE_PEERS_H

#include "raylet/core_state.h"

struct peer *peer_find(struct raylet_core *c, uint32_t number); /* NULL: unknown, or freed */
/* "node box-2 (number 9)", also of one that died lately; "node 9" where the name is not known. */
#define PEER_DESCRIBED_SIZE 128
const char *peer_describe(struct raylet_core *c, uint32_t number, char out[PEER_DESCRIBED_SIZE]);
/* The head told of it once, and it is dead. */
bool peer_is_gone(struct raylet_core *c, uint32_t number);
/* The one that an event of a session is about; made when its session begins before the head told
 * of it, for a while and for a bounded number of them. NULL: it is dead or nobody's, and the
 * session is closed. */
struct peer *peer_of_session(struct raylet_core *c, const struct raylet_event *event);
/* The one that a reference names, likewise. NULL: it is dead. */
struct peer *peer_of_owner(struct raylet_core *c, uint32_t number);

/* Wants the OUT session: opens it if need be. Whether it is up. */
bool peer_use(struct raylet_core *c, struct peer *p);
bool peer_is_up(const struct peer *p, enum peer_side side);
/* A zeroed message in the arena, sent in that session; if it is not up, filled for nobody. */
struct peer_msg *core_send_peer(struct raylet_core *c, struct peer *p, enum peer_side side,
                                enum peer_type type);
/* The session breaks the rules: it is closed, counted, and taken as down by the caller. */
void peer_protocol_error(struct raylet_core *c, struct peer *p, enum peer_side side,
                         const char *why);

/* What the session's events change here; the rest of the core is told by the caller. */
void peer_up(struct raylet_core *c, struct peer *p, enum peer_side side);
void peer_down(struct raylet_core *c, struct peer *p, enum peer_side side,
               const struct raylet_event *e);

/* What the session was told of jobs. */
void peer_forget_job(struct peer *p, struct told_job *told);
void peer_forget_told(struct peer *p);

/* The head's rows. Those that are dead by it are in state PEER_DEAD then, and c->peers_died is set.
 */
void peers_view(struct raylet_core *c, const struct cluster_view *m);
/* As sched/ sees it; `self` among them first. In the arena. */
struct sched_node *peers_as_nodes(struct raylet_core *c, size_t *ret_count,
                                  struct peer ***ret_peers);
/* Sessions that nothing uses are closed. */
void peers_timer(struct raylet_core *c);
void peer_free(struct raylet_core *c, struct peer *p);
void peers_free(struct raylet_core *c);

#endif
