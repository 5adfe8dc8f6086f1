/*
 * A node of a simulated cluster: a raylet's core in its rig, sessions with the head and the other
 * nodes over the network in memory, drivers that submit tasks of every kind to every node, and
 * workers that take their time, fail, crash, submit more, and hand references about.
 */
#ifndef TESTS_SIM_SIM_NODE_H
#define TESTS_SIM_SIM_NODE_H

#include "common/rng.h"
#include "proto/transport_mem.h"
#include "tests/sim/rig.h"
#include "tests/sim/sim_world.h"

#define SIM_DRIVERS     3
#define SIM_NUMBERS_MAX 1024 /* of nodes in one run */

struct sim_node;

/* Rules of docs/protocol.md that the simulation itself keeps, and may leave out. */
enum sim_rule {
    SIM_RULE_ONCE_IN_ORDER = 1u << 0, /* a message between nodes arrives once and in order */
    SIM_RULE_NUMBERS = 1u << 1,       /* who is not the node that was meant is not spoken to */
    SIM_RULE_ENDS = 1u << 2,          /* the end of a session is told on both sides */
    SIM_RULE_JOURNAL_FIRST = 1u << 3, /* what the head says is on disk before */
    SIM_RULE_SILENT_IS_ALIVE =
        1u << 4,                   /* only a refused connection is death before the lease ends */
    SIM_RULE_NEW_NUMBER = 1u << 5, /* a raylet that starts again gets a new number */
};

struct sim_config {
    const char *name;
    int index; /* which node it is, from 0 */
    int cpus;
    bool plain;         /* no references inside values */
    int drivers;        /* programs that run at once */
    double fetch_fails; /* of the programs that it fetches */
    uint32_t core_off;  /* enum core_rule */
    uint32_t rules_off; /* enum sim_rule */
    struct mem_network *network;
    struct rng *rng;
    struct sim_world *world;
    /* NULL: drivers of their own mind. Else what one driver does, again and again. */
    void (*script)(void *arg, struct sim_node *n);
    void *script_arg;
};

struct sim_node *sim_node_new(const struct sim_config *config, uint64_t now_ns);
void sim_node_free(struct sim_node *n);
void sim_node_kill(struct sim_node *n); /* with all its processes */
void sim_node_start(struct sim_node *n, uint64_t now_ns);
bool sim_node_is_up(const struct sim_node *n);
uint32_t sim_node_number(const struct sim_node *n); /* 0: not joined in this life */
/* The ways to and from the head. */
void sim_node_cut(struct sim_node *n, bool to_head, bool from_head);
bool sim_node_is_cut(const struct sim_node *n);
/* What this node sends to the other, by its index, is lost, or what comes from there. */
void sim_node_cut_peer(struct sim_node *n, int other, bool to, bool from);
/* It dies after so many events and effects more; 0: does not. */
void sim_node_light_fuse(struct sim_node *n, uint64_t strokes);
uint64_t sim_node_strokes(const struct sim_node *n); /* in this life */

void sim_node_crash_worker(struct sim_node *n);
/* It is told to leave within some seconds; it quits, and is started again. */
void sim_node_leave(struct sim_node *n); /* one that runs, if any */
void sim_node_crash_driver(struct sim_node *n);
/* From now on drivers submit nothing new, and say goodbye when all they asked for is answered. */
void sim_node_finish(struct sim_node *n);
bool sim_node_is_finished(const struct sim_node *n);
/* What is left, as a sentence, for a run that does not come to rest. */
void sim_node_report(struct sim_node *n);

/* Whether anything is due or came. */
bool sim_node_is_due(const struct sim_node *n, uint64_t now_ns);
void sim_node_advance(struct sim_node *n, uint64_t now_ns);
uint64_t sim_node_next_ns(const struct sim_node *n);
uint64_t sim_node_due_ns(const struct sim_node *n); /* what that was after its last turn */
/* Calls fn for each job that a driver here was welcomed with. */
void sim_node_each_job(struct sim_node *n, void (*fn)(uint64_t job, void *arg), void *arg);

#endif
