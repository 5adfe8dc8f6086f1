/*
 * Who waits for whom in truth, over all nodes: a body for what it asked for, a task for its values
 * and for a place where enough is not kept by those who wait in turn. Whoever can never go on by
 * itself is part of a cycle, or behind one. Then some wait must end as DRT_E_CYCLE, in time; and no
 * task ever ends so that was not.
 */
#ifndef TESTS_SIM_SIM_CYCLES_H
#define TESTS_SIM_SIM_CYCLES_H

#include "tests/sim/sim_cluster.h"

#define SIM_CYCLES_EACH_NS (50 * NS_PER_MS)

/* Looks at all, from time to time. Ends this process if a wait has been part of a cycle for too
 * long. */
void sim_cycles_look(struct sim_cluster *s);

#endif
