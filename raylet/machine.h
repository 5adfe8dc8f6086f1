/*
 * What this machine has for tasks: CPUs and memory, as the hardware (hwloc), the CPUs that this
 * process may use, and the limits of its cgroups (version 1 and 2) allow. Blocking reads of /proc
 * and /sys; no state.
 */
#ifndef RAYLET_MACHINE_H
#define RAYLET_MACHINE_H

#include "common/base.h"

struct machine {
    int64_t cpu_units; /* of 1/10,000 of a CPU; at least one CPU, also where a cgroup allows less */
    uint64_t memory_bytes;
};

/* 0, or -errno: hwloc cannot see the machine. HWLOC_SYNTHETIC and HWLOC_XMLFILE describe another
 * one; then only that counts. */
int machine_find(struct machine *ret) MUST_CHECK;

/* What so many CPUs are to tasks under this limit of a cgroup: never less than one CPU, so that a
 * node has room for a task that does not say what it needs. */
int64_t machine_cpu_units(unsigned cpus, int64_t limit_units);

/* The memory alone, without looking at the hardware. */
uint64_t machine_memory(void);

/* What is in use of it now, by all processes that share it, without what the kernel can give back
 * at once; 0: not known. About 30 us. */
uint64_t machine_memory_used(void);

struct machine_limits {
    int64_t cpu_units;     /* INT64_MAX: none */
    uint64_t memory_bytes; /* UINT64_MAX: none */
};
/* The limits of the groups that `membership` (the text of /proc/self/cgroup) names, and of all
 * above them, in the tree at `root` (/sys/fs/cgroup). What cannot be read limits nothing. */
void machine_cgroup_limits(const char *root, const char *membership, struct machine_limits *ret);

#endif
