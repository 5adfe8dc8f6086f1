/*
 * Asking a cluster's daemons: finds the cluster, connects to its head's socket, else to a raylet's,
 * else to the head over the network (cli/where.h says when), and collects the replies to questions.
 * Blocks, at most ASK_LIMIT_NS for each call.
 */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include "cli/answer.h"
#include "cli/exit.h"
#include "cli/where.h"
#include "common/place.h"
#include "proto/ring.h"

struct ask {
    struct place place; /* its dir is "" over the network */
    struct ring_channel channel;
    int socket;            /* -1: not connected */
    struct remote *remote; /* NULL: not over the network */
    bool from_node;        /* a raylet answers, for want of the head */
    uint64_t requests;
};

/* Finds and connects: what the verbs call. EXIT_DONE, or what drt exits with and the sentence in
 * `f`; then `ret` is untouched. */
int ask_begin(const struct where *where, struct ask *ret, struct failure *f) MUST_CHECK;

/* Chooses the cluster among this machine's; EXIT_DONE, or what drt exits with and the sentence in
 * `f`. */
int ask_find(const char *dir, const char *cluster, struct place *ret, struct failure *f) MUST_CHECK;
/* Connects to the head of `place`, else to its raylet (`node`, or any if NULL). As above. */
int ask_open(const struct place *place, const char *node, struct ask *ret,
             struct failure *f) MUST_CHECK;
void ask_close(struct ask *a);
/* Puts `count` questions at once; their answers (initialised by the caller) are whole when this
 * returns EXIT_DONE. An answer may hold a failure of its own. */
int ask_rows(struct ask *a, const struct state_query *queries, size_t count, struct answer *answers,
             struct failure *f) MUST_CHECK;

#endif
