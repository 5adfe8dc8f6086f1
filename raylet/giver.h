/*
 * The other side of raylet/fetch.h: gives other nodes the programs of this one, part by part, from
 * the descriptor of the driver or from the copy in the store. Some parts are read at a time; what
 * is asked for meanwhile waits, and the nodes that wait take turns, so that any number of them may
 * ask at once. What cannot be given is answered with a sentence; what only this moment does not
 * allow (no descriptor is free) waits, too. The parts are read on the offload thread, everything
 * else is on the loop's.
 */
#ifndef RAYLET_GIVER_H
#define RAYLET_GIVER_H

#include "proto/peer.h"
#include "raylet/programs.h"

#define GIVER_PART_BYTES  (64u << 10) /* each part has so many, but for the last one */
#define GIVER_READS_MAX   16u         /* under way: each has a descriptor, and memory for a part */
#define GIVER_WAITING_MAX 1024u       /* parts that one node waits for; what is beyond is refused */
#define GIVER_AGAIN_NS    (100 * NS_PER_MS) /* after a shortage */

struct giver;

struct giver_config {
    struct offload *offload; /* outlives this; offload_free comes first in a shutdown */
    struct programs *programs;
    const char *node_name; /* ours, for sentences; outlives this */
    /* Into the session in which the question came; a session that is gone loses it. */
    void (*send)(void *arg, uint32_t peer, const struct peer_msg *m);
    void *arg;
};

struct giver *giver_new(const struct giver_config *config);
/* What waits is forgotten, so that offload_free waits for few parts. */
void giver_close(struct giver *g);
void giver_free(struct giver *g); /* NULL is fine */

/* A PEER_PROGRAM_GET of this peer. */
void giver_get(struct giver *g, uint32_t peer, const struct peer_program_get *m);
void giver_down(struct giver *g, uint32_t peer); /* our session with it ended: it waits no more */

uint64_t giver_next_ns(const struct giver *g);
void giver_tick(struct giver *g, uint64_t now_ns);

struct giver_counts {
    uint32_t reads, waiting; /* parts under way; those that wait for their turn */
};
void giver_count(const struct giver *g, struct giver_counts *ret);

#endif
