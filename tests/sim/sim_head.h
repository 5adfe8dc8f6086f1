/*
 * The head of a simulated cluster: its core, a journal that is as slow as the seed wants and loses
 * what was not committed when the head is killed, sessions over the network in memory.
 */
#ifndef TESTS_SIM_SIM_HEAD_H
#define TESTS_SIM_SIM_HEAD_H

#include "common/rng.h"
#include "head/core.h"
#include "proto/transport_mem.h"

#define SIM_HEAD_PORT 7420

struct sim_head;

struct sim_head_counts {
    uint64_t starts, records, commits, probes, slow_commits;
};

struct sim_head *sim_head_new(struct mem_network *network, struct rng *rng, uint64_t now_ns);
void sim_head_free(struct sim_head *h);
void sim_head_kill(struct sim_head *h);
void sim_head_start(struct sim_head *h, uint64_t now_ns);
bool sim_head_is_up(const struct sim_head *h);
/* What is due by now. */
void sim_head_advance(struct sim_head *h, uint64_t now_ns);
uint64_t sim_head_next_ns(const struct sim_head *h);
/* Commits take up to this long from now on. */
void sim_head_set_disk(struct sim_head *h, uint64_t commit_max_ns);
/* Says how a probed node's port answers. */
void sim_head_set_probe(struct sim_head *h, enum head_probe (*probe)(void *arg, uint32_t node),
                        void *arg);
/* false: what is written counts as on disk at once, and is only later (a rule left out). */
void sim_head_set_journal(struct sim_head *h, bool waits);
bool sim_head_knows_job(struct sim_head *h, uint64_t job);
const struct head_node_row *sim_head_node(struct sim_head *h, uint32_t number);
struct sim_head_counts sim_head_count(const struct sim_head *h);

#endif
