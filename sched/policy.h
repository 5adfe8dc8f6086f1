/*
 * Where a task may run and where it should: pure functions of (view, request, seed), used by
 * raylets to place and by the head to say what is impossible. No state, no clock, no wire, no
 * memory of its own; a quantity's kind is the number that the caller's registry gave its name. Any
 * thread.
 */
#ifndef SCHED_POLICY_H
#define SCHED_POLICY_H

#include "common/codes.h"
#include "common/resources.h"
#include "common/rng.h"

enum sched_strategy { /* as DRT_DEFAULT ... in drt.h */
                      SCHED_DEFAULT = 0,
                      SCHED_SPREAD = 1,
                      SCHED_LOAD_BALANCED = 2,
                      SCHED_NODE_SPECIFIC = 3,
};

struct sched_request {
    const struct resource_set *asked;
    enum sched_strategy strategy;
    bool soft;                 /* `node` and `labels` are a wish, not a must */
    const char *node, *labels; /* id, name or address; "name=value,..."; "" if not given. They count
                                  whenever they are given, whatever the strategy */
};

struct sched_node { /* one row of a view, as the caller knows it; borrowed */
    uint32_t number;
    const char *name, *address, *labels;
    const struct resource_set *total, *available; /* `available` may be some seconds old */
    uint64_t waiting, running;                    /* its own tasks */
    uint64_t sent; /* tasks of this request (and slots asked for it) that the caller sent there and
                      has not heard of as ended: what `available` may not yet show */
    uint64_t assigned; /* tasks of this request that it was ever given (SPREAD) */
    bool self;         /* the caller */
    bool closed;       /* takes no work of others: it is leaving, private, or known not to run this
                          program. Of `self` it says nothing: leave that row out if it may not */
};

enum sched_verdict {
    SCHED_FITS = 0,     /* it could run there, now or later */
    SCHED_NOT_NAMED,    /* it is not the node that was asked for */
    SCHED_NOT_LABELLED, /* it lacks a label */
    SCHED_TOO_SMALL,    /* it could never satisfy the request */
    SCHED_CLOSED,       /* it could, and takes no work of others */
};

/* Whether `text` names this node: its number, its name or its address. */
bool sched_is_named(const struct sched_node *n, const char *text);
/* Whether each "name=value" of `wanted` stands in `labels`. */
bool sched_has_labels(const char *labels, const char *wanted);

/* May this request run there? For a soft wish NOT_NAMED and NOT_LABELLED are never the answer. */
enum sched_verdict sched_judge(const struct sched_node *n, const struct sched_request *r);

/*
 * The nodes among which a request is placed: indexes of those that judge FITS, and of a soft wish
 * those that fulfil it if there are any. Writes at most `count` indexes to `ret`, returns how many.
 */
size_t sched_candidates(const struct sched_node *nodes, size_t count, const struct sched_request *r,
                        uint32_t *ret);

/* How many more tasks of this request the node has room for now, less `sent`; UINT32_MAX if it
 * asks for nothing that is counted (there is always room then). */
uint32_t sched_room(const struct sched_node *n, const struct resource_set *asked);
/* Load of a node for LOAD_BALANCED, 0 (idle) upwards; 10,000: all of its scarcest resource (CPU,
 * memory or what is asked) is taken. Counts `sent` as if it ran there, and what waits there as if
 * it asked the same. */
uint64_t sched_load(const struct sched_node *n, const struct resource_set *asked);

/* One task of SPREAD: the candidate with the fewest `assigned`, ties by the generator. Index, or
 * -1: none. */
int sched_spread(const struct sched_node *nodes, const uint32_t *candidates, size_t count,
                 struct rng *rng);
/* One task of LOAD_BALANCED: the least loaded candidate that has room, ties to self, then by the
 * generator. -1: none has room. */
int sched_least_loaded(const struct sched_node *nodes, const uint32_t *candidates, size_t count,
                       const struct resource_set *asked, struct rng *rng);

/*
 * Which other nodes to ask for slots for `waiting` tasks that found no room here: writes to
 * wanted[i] how many to ask of candidate i. 0: none (always for self and closed nodes); else all of
 * `waiting`, since the executor grants only what it has, whoever is free first gets them, and a
 * node that has room for two may run a thousand short ones. Nodes are taken one by one, each a
 * random one of the best three that are left (those with room first, by load), until their room
 * covers the tasks twice: at least two, at most `most`, if there are as many.
 */
void sched_ask(const struct sched_node *nodes, const uint32_t *candidates, size_t count,
               const struct resource_set *asked, uint64_t waiting, uint32_t most, struct rng *rng,
               uint32_t *wanted);

/* ---- sched/explain.c ---- */

/*
 * Why no node could ever run it, as a sentence that names what is missing where and what to do:
 * what the head answers. At most four nodes are named. 0: some node can. CODE_IMPOSSIBLE.
 */
int sched_impossible(const struct sched_node *nodes, size_t count, const struct sched_request *r,
                     const struct resource_names *names, struct failure *ret);

/* One line for `drt explain` about one node, beginning with its name: "box-2   CPU 1 asked, 0.5
 * free of 4; 12 tasks wait there". Cut at `size`. */
void sched_explain(const struct sched_node *n, const struct sched_request *r,
                   const struct resource_names *names, char *ret, size_t size);

#endif
