/*
 * The other side of raylet/fetch.h: gives other nodes the programs of this one, part by part, from
 * the descriptor of the driver or from the copy in the store; what cannot be given is answered with
 * a sentence. The parts are read on the offload thread, everything else is on the loop's.
 */
#ifndef RAYLET_GIVER_H
#define RAYLET_GIVER_H

#include "proto/peer.h"
#include "raylet/programs.h"

#define GIVER_PART_BYTES (64u << 10) /* each part has so many, but for the last one */
#define GIVER_READS_MAX  256u        /* under way, of all peers; what is beyond is refused */

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
void giver_free(struct giver *g); /* NULL is fine */

/* A PEER_PROGRAM_GET of this peer. */
void giver_get(struct giver *g, uint32_t peer, const struct peer_program_get *m);

#endif
