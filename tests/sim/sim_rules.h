/*
 * What each rule of docs/protocol.md is for: with one left out, some seed fails.
 */
#ifndef TESTS_SIM_SIM_RULES_H
#define TESTS_SIM_SIM_RULES_H

#include <stdint.h>

void sim_rules_list(void);
/* Without this rule runs each `stride`-th story (0: none), then up to `seeds` seeds. 0: one failed,
 * as it should, and is named; 1: none did; 2: there is no such rule. */
int sim_rule_without(const char *name, uint64_t seed, uint64_t seeds, uint64_t stride);

#endif
