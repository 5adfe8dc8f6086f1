/*
 * Asking the daemons of this machine: finds the cluster, connects to its head's socket, else to a
 * raylet's, and collects the replies to questions. Blocks, at most ASK_LIMIT_NS for each call.
 */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include "cli/answer.h"
#include "common/clock.h"
#include "common/place.h"
#include "proto/ring.h"

#define ASK_LIMIT_NS (5 * NS_PER_S)

/* What drt's exit status says. */
enum cli_exit {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NO_CLUSTER = 3,
    EXIT_REFUSED = 4,
};

struct ask {
    struct place place;
    struct ring_channel channel;
    int socket;     /* -1: not connected */
    bool from_node; /* a raylet answers, for want of the head */
    uint64_t requests;
};

/* Chooses the cluster; EXIT_DONE, or what drt exits with and the sentence in `f`. */
int ask_find(const char *dir, const char *cluster, struct place *ret, struct failure *f) MUST_CHECK;
/* Connects to the head of `place`, else to its raylet (`node`, or any if NULL). As above. */
int ask_open(const struct place *place, const char *node, struct ask *ret,
             struct failure *f) MUST_CHECK;
void ask_close(struct ask *a);
/* Puts `count` questions at once; their answers (initialised by the caller) are whole when this
 * returns EXIT_DONE. An answer may hold a failure of its own. */
int ask_rows(struct ask *a, const struct state_query *queries, size_t count, struct answer *answers,
             struct failure *f) MUST_CHECK;

/* The exit status that fits a failure which a daemon answered. */
int exit_of_failure(const struct failure *f);

#endif
