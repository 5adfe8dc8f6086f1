/*
 * What a simulated node is told at its making: its name and size, its place in the network, the
 * world that it is held against, and which rules are left out.
 */
#ifndef TESTS_SIM_SIM_CONFIG_H
#define TESTS_SIM_SIM_CONFIG_H

#include "common/rng.h"
#include "proto/transport_mem.h"
#include "tests/sim/rig.h"
#include "tests/sim/sim_world.h"

#define SIM_X           2 /* of "x" each node has */
#define SIM_DRIVERS     3
#define SIM_NUMBERS_MAX 1024 /* of nodes in one run */

struct sim_node;

/* Rules of docs/protocol.md that the simulation itself keeps, and may leave out. */
enum sim_rule {
    SIM_RULE_ONCE_IN_ORDER = 1u << 0,   /* a message between nodes arrives once and in order */
    SIM_RULE_NUMBERS = 1u << 1,         /* who is not the node that was meant is not spoken to */
    SIM_RULE_JOURNAL_FIRST = 1u << 2,   /* what the head says is on disk before */
    SIM_RULE_SILENT_IS_ALIVE = 1u << 3, /* a silent node is dead when its lease ends */
};

#define SIM_OUTAGES 64

struct sim_outages { /* a ring */
    struct {
        uint64_t from_ns, to_ns;
    } at[SIM_OUTAGES];
    uint32_t next;
};

struct sim_config {
    const char *name;
    int index; /* which node it is, from 0 */
    int cpus;
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

#endif
