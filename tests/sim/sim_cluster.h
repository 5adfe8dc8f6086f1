/*
 * A whole simulated cluster: a head, three nodes, the network between them, and one clock that
 * jumps to whatever is due next. What befalls it is said by sim_faults (at random) and sim_steps
 * (one death at each step of a fixed story).
 */
#ifndef TESTS_SIM_SIM_CLUSTER_H
#define TESTS_SIM_SIM_CLUSTER_H

#include "common/clock.h"
#include "tests/sim/sim_head.h"
#include "tests/sim/sim_node.h"

#define SIM_NODES 3

struct sim_fault_counts {
    uint64_t weather, cuts, one_way_cuts, peer_cuts, one_way_peer_cuts, black_outs, head_kills,
        node_kills, node_leaves, slow_disks;
};

struct sim_cluster {
    struct rng rng;
    struct mem_network *network;
    struct sim_head *head;
    struct sim_node *nodes[SIM_NODES];
    struct sim_world world;
    uint64_t start_at_ns[SIM_NODES]; /* of a node that is down */
    uint64_t heal_at_ns[SIM_NODES];  /* of its ways to the head */
    uint64_t peer_heal_at_ns[SIM_NODES][SIM_NODES];
    uint64_t leaving[SIM_NODES];           /* the number of the life that was told to leave */
    struct sim_outages outages[SIM_NODES]; /* of the ways between a node and the head */
    uint64_t head_start_ns, disk_until_ns;
    uint64_t weather_until_ns, black_until_ns, black_at_ns, black_left;
    struct sim_fault_counts faults;
    uint32_t rules_off;
    uint64_t looked_records;
    uint64_t troubled_ns, cycles_at_ns; /* when something was wrong last; the next look */
    uint64_t now_ns, steps, trace;      /* trace: a hash of what happened when */
};

struct sim_options {
    uint64_t seed;
    struct object_id about;       /* what happens to this object is told */
    bool cycles;                  /* see sim_cycles.h */
    bool tells;                   /* what nodes say to one another is told */
    uint32_t core_off, rules_off; /* enum core_rule, enum sim_rule */
    int drivers;                  /* of each node; 0: by a script */
    void (*script)(void *arg, struct sim_node *n);
    void *script_arg;
};

void sim_cluster_init(struct sim_cluster *s, const struct sim_options *options);
void sim_cluster_fini(struct sim_cluster *s);
/* To the next thing that is due, but not beyond `limit_ns`. */
void sim_cluster_step(struct sim_cluster *s, uint64_t limit_ns);
/* Nobody holds anything and nothing is kept; then drivers may go. */
bool sim_cluster_is_drained(struct sim_cluster *s);
void sim_cluster_dismiss(struct sim_cluster *s);
/* Nothing is left anywhere. */
bool sim_cluster_is_at_rest(struct sim_cluster *s);
/* The network works, drivers end when they have their answers. */
void sim_cluster_heal(struct sim_cluster *s);
void sim_cluster_report(struct sim_cluster *s); /* what is left */
/* The head knows each job that it ever acknowledged. */
void sim_cluster_check_jobs(struct sim_cluster *s);

void sim_kill_head(struct sim_cluster *s, uint64_t down_ns);
void sim_kill_node(struct sim_cluster *s, int i, uint64_t down_ns);
void sim_leave(struct sim_cluster *s, int i);
void sim_cut_head(struct sim_cluster *s, int i, bool to, bool from, uint64_t for_ns);
void sim_cut_peers(struct sim_cluster *s, int i, int k, bool to, bool from, uint64_t for_ns);
void sim_weather(struct sim_cluster *s, uint64_t for_ns); /* bad; 0: good from now on */
/* Nothing gets through for 5 s of every 15, so many times. */
void sim_black_out(struct sim_cluster *s, uint64_t times);
void sim_slow_disk(struct sim_cluster *s, uint64_t commit_max_ns, uint64_t for_ns);
/* Whether anything was cut lately. */
bool sim_was_cut(const struct sim_cluster *s, uint64_t within_ns);

#endif
