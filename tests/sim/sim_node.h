/*
 * A node of a simulated cluster: a raylet's core in its rig, a session with the head over the
 * network in memory, drivers that submit tasks of every kind, and workers that take their time,
 * fail, crash and submit more.
 */
#ifndef TESTS_SIM_SIM_NODE_H
#define TESTS_SIM_SIM_NODE_H

#include "common/rng.h"
#include "proto/transport_mem.h"
#include "tests/sim/rig.h"

#define SIM_DRIVERS 3

struct sim_node;

struct sim_counts { /* of what happened, over all nodes */
    uint64_t tasks, values, errors, bodies, crashes, failures, nested, aliases, puts, cancels,
        releases;
    uint64_t drivers, driver_crashes, goodbyes, node_starts, node_kills, node_quits, welcomes;
};

struct sim_config {
    const char *name;
    int cpus;
    struct mem_network *network;
    struct rng *rng;
    struct sim_counts *counts;
};

struct sim_node *sim_node_new(const struct sim_config *config, uint64_t now_ns);
void sim_node_free(struct sim_node *n);
void sim_node_kill(struct sim_node *n); /* with all its processes */
void sim_node_start(struct sim_node *n, uint64_t now_ns);
bool sim_node_is_up(const struct sim_node *n);
uint32_t sim_node_number(const struct sim_node *n); /* 0: not joined in this life */
void sim_node_cut(struct sim_node *n, bool to_head, bool from_head);
bool sim_node_is_cut(const struct sim_node *n);

void sim_node_crash_worker(struct sim_node *n);
/* It is told to leave within some seconds; it quits, and is started again. */
void sim_node_leave(struct sim_node *n); /* one that runs, if any */
void sim_node_crash_driver(struct sim_node *n);
/* From now on drivers submit nothing new, and say goodbye when all they asked for is answered. */
void sim_node_finish(struct sim_node *n);
bool sim_node_is_finished(const struct sim_node *n);
/* What is left, as a sentence, for a run that does not come to rest. */
void sim_node_report(struct sim_node *n);

void sim_node_advance(struct sim_node *n, uint64_t now_ns);
uint64_t sim_node_next_ns(const struct sim_node *n);
/* Calls fn for each job that a driver here was welcomed with. */
void sim_node_each_job(struct sim_node *n, void (*fn)(uint64_t job, void *arg), void *arg);

#endif
