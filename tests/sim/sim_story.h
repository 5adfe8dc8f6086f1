/*
 * One fixed story of three nodes, told again and again with one death, or one cut, at another step
 * each time: a driver (node 1) has a task make a value and a task at the owner (node 3), gives
 * their references to a task at the executor (node 2), which keeps one and returns them with a
 * value of its own, passes that on, and later reads and releases them all. Whatever dies when, all
 * is answered, and nothing is left.
 */
#ifndef TESTS_SIM_SIM_STORY_H
#define TESTS_SIM_SIM_STORY_H

#include "tests/sim/sim_cluster.h"

enum story_fault {
    STORY_CALM,
    STORY_HOME, /* these three after their at-th event or effect */
    STORY_EXECUTOR,
    STORY_OWNER,
    STORY_HEAD, /* these at the at-th step of the cluster */
    STORY_DRIVER,
    STORY_EXECUTOR_WORKER,
    STORY_OWNER_WORKER,
    STORY_CUT_HOME_EXECUTOR, /* for 60 s; at / 3: the step; at % 3: both ways, there, back */
    STORY_CUT_HOME_OWNER,
    STORY_CUT_EXECUTOR_OWNER,
    STORY_FAULTS
};

const char *sim_story_name(enum story_fault fault);
/* Ends this process if anything is not as it must be. How many values of `at` there are for this
 * fault, as a calm run shows. */
uint64_t sim_story_count(enum story_fault fault, uint32_t core_off, uint32_t rules_off);
void sim_story_run(enum story_fault fault, uint64_t at, uint32_t core_off, uint32_t rules_off);
/* All of them, each `stride`-th, in `jobs` processes. How many failed; says which. */
uint64_t sim_stories(uint64_t stride, uint64_t jobs, uint64_t *ret_runs);

#endif
