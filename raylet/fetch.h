/*
 * Programs from other nodes: a job's program is looked for in the store of this node, else fetched
 * part by part from the node that announced the job, verified against its SHA-256, stored, and
 * opened (raylet/programs.h). One fetch for equal hashes at a time, for which several jobs may
 * wait; when the node that gives is gone, another one that announced such a job is asked for the
 * rest, or the fetch rests until there is one. However large the program, what is in memory of it
 * is FETCH_AHEAD parts; the disk bounds it. Files are touched on the offload thread
 * (raylet/fetch_file.h), everything else is on the loop's.
 */
#ifndef RAYLET_FETCH_H
#define RAYLET_FETCH_H

#include "proto/peer.h"
#include "raylet/giver.h"

#define FETCH_AHEAD      3u                    /* parts asked for and not yet written */
#define FETCH_SILENCE_NS UINT64_C(20000000000) /* without a part, though its session lives */

struct fetch;

struct fetch_config {
    struct offload *offload; /* outlives this; offload_free comes first in a shutdown */
    struct programs *programs;
    const char *node_name;    /* ours, for sentences; outlives this */
    uint64_t store_bytes_max; /* 0: PROGRAMS_STORE_BYTES */
    uint64_t spare_bytes;     /* 0: PROGRAMS_SPARE_BYTES */
    /* Into the session of that node to us; a session that is gone loses it. */
    void (*send)(void *arg, uint32_t peer, const struct peer_msg *m);
    /* `program` > 0: a handle that is now the caller's; else a failure, valid until it returns.
     * May be called from within fetch_order. It is noted for the core's next step: calls nothing
     * here. */
    void (*on_fetched)(void *arg, uint64_t job, uint32_t program, const struct failure *failure);
    void *arg;
};

struct fetch *fetch_new(const struct fetch_config *config);
/* No copy is read any more, so that offload_free need not wait for it. */
void fetch_close(struct fetch *f);
void fetch_free(struct fetch *f); /* tells nobody; NULL is fine */

/* The program with this hash and size for `job`, from `peer`, whose session to us is up. Again for
 * a job that waits: from this peer now. `now_ns` as in fetch_tick. */
void fetch_order(struct fetch *f, uint64_t now_ns, uint32_t peer, uint64_t job,
                 const uint8_t hash[PROGRAMS_HASH_SIZE], uint64_t bytes);
void fetch_stop(struct fetch *f, uint64_t job); /* fine if none waits */

/* A PEER_PROGRAM_PART of this peer; what nobody asked for is dropped. */
void fetch_part(struct fetch *f, uint64_t now_ns, uint32_t peer, const struct peer_msg *m);
void fetch_down(struct fetch *f, uint64_t now_ns, uint32_t peer); /* its session to us ended */

uint64_t fetch_next_ns(const struct fetch *f);
void fetch_tick(struct fetch *f, uint64_t now_ns);

struct fetch_counts {
    uint32_t fetches, waiting; /* programs under way, jobs that wait for them */
};
void fetch_count(const struct fetch *f, struct fetch_counts *ret);

#endif
