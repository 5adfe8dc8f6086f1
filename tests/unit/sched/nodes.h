/*
 * Nodes for the tests of sched/: each with totals and free amounts of its own. Used by tests only.
 */
#ifndef TESTS_UNIT_SCHED_NODES_H
#define TESTS_UNIT_SCHED_NODES_H

#include "sched/policy.h"
#include "tests/unit/unit.h"

#define NODES_MAX 64

struct nodes {
    struct sched_node rows[NODES_MAX];
    struct resource_set total[NODES_MAX], available[NODES_MAX];
    char names[NODES_MAX][16], addresses[NODES_MAX][32];
    size_t count;
    struct resource_set asked;
    struct sched_request request;
    struct resource_names kinds;
};

static inline struct resource_set nodes_set(uint32_t kind, double amount)
{
    struct resource_set s = {0};
    int64_t units = 0;
    assert_int_equal(resource_units(amount, &units), 0);
    assert_int_equal(resource_set_put(&s, kind, units), 0);
    return s;
}

static inline void nodes_put(struct resource_set *s, uint32_t kind, double amount)
{
    int64_t units = 0;
    assert_int_equal(resource_units(amount, &units), 0);
    assert_int_equal(resource_set_put(s, kind, units), 0);
}

/* "box-<number>" with so many CPUs, `free` of them free. */
static inline struct sched_node *nodes_add(struct nodes *n, double cpus, double free_cpus)
{
    size_t i = n->count++;
    assert_true(i < NODES_MAX);
    snprintf(n->names[i], sizeof n->names[i], "box-%zu", i + 1);
    snprintf(n->addresses[i], sizeof n->addresses[i], "10.0.0.%zu:7421", i + 1);
    n->total[i] = nodes_set(RESOURCE_CPU, cpus);
    n->available[i] = nodes_set(RESOURCE_CPU, free_cpus);
    n->rows[i] = (struct sched_node){.number = (uint32_t)i + 1,
                                     .name = n->names[i],
                                     .address = n->addresses[i],
                                     .labels = "",
                                     .total = &n->total[i],
                                     .available = &n->available[i]};
    return &n->rows[i];
}

static inline int nodes_setup(void **state)
{
    struct nodes *n = xcalloc(1, sizeof *n);
    n->asked = nodes_set(RESOURCE_CPU, 1);
    n->request = (struct sched_request){.asked = &n->asked, .node = "", .labels = ""};
    resource_names_init(&n->kinds);
    *state = n;
    return 0;
}

static inline int nodes_teardown(void **state)
{
    struct nodes *n = *state;
    resource_names_fini(&n->kinds);
    free(n);
    return 0;
}

#define NODES_TEST(f) cmocka_unit_test_setup_teardown(f, nodes_setup, nodes_teardown)

#endif
