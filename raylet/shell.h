/*
 * The thin shell around the raylet's core: one loop, one thread. It turns rings, sockets,
 * processes, signals and time into events, steps the core once for all that has come, and carries
 * out the effects in order. It decides nothing about tasks.
 *
 * A turn takes at most 256 records of each client that was heard from lately, steps, sends, and
 * rings once for each client. While rings are busy the loop is asked only now and then; when all
 * ran dry the shell polls for a while with sched_yield() between, arms the sleep flags, and sleeps
 * in the loop until something is due.
 */
#ifndef RAYLET_SHELL_H
#define RAYLET_SHELL_H

#include "proto/keys.h"
#include "raylet/core.h"
#include "raylet/node_dir.h"

struct shell_config {
    struct node_dir *dir; /* open; the shell writes number, port and pid */
    const struct keys_member *keys;
    const char *key_name;         /* of its file, as the user would say it */
    const char *const *addresses; /* of the head */
    size_t address_count;
    const char *place;             /* of the head's address, as invite_look_again reads it */
    bool place_first, place_later; /* before `addresses`; only once we have joined */
    const char *bind;              /* NULL: all interfaces */
    const char *advertise; /* "host[:port]" that others shall be told; NULL: as the head sees us */
    uint16_t port;
    bool exact_port;
    const struct cluster_amount *amounts;
    size_t amount_count;
    const char *labels;
    uint64_t memory_bytes;               /* of the node: bounds what clients' values may take */
    uint32_t job_workers_max, depth_max; /* as in struct raylet_config; 0: the default */
    bool closed;                         /* private: takes no work of other nodes */
    int parent_pipe;                     /* its end-of-file ends the raylet; -1: none */
    bool log_to_file; /* standard error is node.log: turned when it grows large */
    /* The head took us in. `warning`: why others cannot reach us at our address, as far as the head
     * has found out by then; "" */
    void (*on_joined)(void *arg, uint32_t number, const char *cluster, const char *warning);
    void *arg;
};

/*
 * Runs a raylet until it is told to leave. Blocks SIGTERM, SIGINT, SIGHUP, SIGCHLD in the calling
 * thread (which must be the only one) and ignores SIGPIPE. 0: left as asked; a code with the
 * sentence: it could not begin, was refused, or had to end.
 */
int shell_run(const struct shell_config *config, struct failure *f) MUST_CHECK;

#endif
