/*
 * A node of a simulated cluster: a raylet's core in its rig, sessions with the head and the other
 * nodes over the network in memory, drivers that submit tasks of every kind to every node, and
 * workers that take their time, fail, crash, submit more, and hand references about.
 */
#ifndef TESTS_SIM_SIM_NODE_H
#define TESTS_SIM_SIM_NODE_H

#include "tests/sim/sim_config.h"

struct sim_node *sim_node_new(const struct sim_config *config, uint64_t now_ns);
void sim_node_free(struct sim_node *n);
void sim_node_kill(struct sim_node *n); /* with all its processes */
void sim_node_start(struct sim_node *n, uint64_t now_ns);
const char *sim_node_name(const struct sim_node *n);
bool sim_node_is_up(const struct sim_node *n);
uint32_t sim_node_number(const struct sim_node *n); /* 0: not joined in this life */
/* The ways to and from the head. */
void sim_node_cut(struct sim_node *n, bool to_head, bool from_head);
/* When it tried in vain to renew its lease, or to have a session for that: packets were lost. */
const struct sim_outages *sim_node_missed(struct sim_node *n);
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
/* From now on drivers submit nothing new, and give back all that they hold when it is answered. */
void sim_node_finish(struct sim_node *n);
/* Nobody holds or waits for anything any more, and the raylet knows of nothing. */
bool sim_node_is_drained(struct sim_node *n);
void sim_node_dismiss(struct sim_node *n); /* they say goodbye */
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
