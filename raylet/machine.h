/*
 * What this machine has for tasks: CPUs and memory, as the hardware (hwloc), the CPUs that this
 * process may use, and the limits of its cgroups (version 1 and 2) allow. Blocking reads of /proc
 * and /sys; no state.
 */
#ifndef RAYLET_MACHINE_H
#define RAYLET_MACHINE_H

#include "common/base.h"

struct machine {
    int64_t cpu_units; /* 1/10,000 of a CPU; a cgroup may allow a part of one */
    uint64_t memory_bytes;
};

/* 0, or -errno: hwloc cannot see the machine. HWLOC_SYNTHETIC and HWLOC_XMLFILE describe another
 * one; then only that counts. */
int machine_find(struct machine *ret) MUST_CHECK;

/* The memory alone, without looking at the hardware. */
uint64_t machine_memory(void);

struct machine_limits {
    int64_t cpu_units;     /* INT64_MAX: none */
    uint64_t memory_bytes; /* UINT64_MAX: none */
};
/* The limits of the groups that `membership` (the text of /proc/self/cgroup) names, and of all
 * above them, in the tree at `root` (/sys/fs/cgroup). What cannot be read limits nothing. */
void machine_cgroup_limits(const char *root, const char *membership, struct machine_limits *ret);

#endif
