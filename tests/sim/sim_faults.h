/*
 * A run of a simulated cluster in which everything that may happen does, by a seed: first only
 * what nobody may notice between nodes (weather, short cuts, a dying head, dying processes), then
 * all; then the network heals, and the cluster must come to rest.
 */
#ifndef TESTS_SIM_SIM_FAULTS_H
#define TESTS_SIM_SIM_FAULTS_H

#include "tests/sim/sim_cluster.h"

struct sim_summary { /* of one run; sums of many */
    uint64_t runs, steps, seconds, trace;
    struct sim_counts counts;
    struct sim_fault_counts faults;
    struct mem_network_counts network;
};

/* Ends this process if anything is not as it must be. */
void sim_run(const struct sim_options *options, struct sim_summary *ret);
void sim_summary_add(struct sim_summary *sum, const struct sim_summary *one);
void sim_summary_print(const struct sim_summary *s);

#endif
