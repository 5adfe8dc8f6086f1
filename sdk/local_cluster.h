/*
 * The private cluster of local mode: a head and a raylet of this program's own, in
 * ~/.drt/local-<pid>, on loopback. They live as long as the pipe that this process holds.
 */
#ifndef SDK_LOCAL_CLUSTER_H
#define SDK_LOCAL_CLUSTER_H

#include "drt/drt.h"

/* Starts both and waits until they are ready. *ret_dir is the cluster's directory, valid until
 * local_cluster_stop. 0; DRT_E_NOT_FOUND (no programs), DRT_E_TIMEOUT, DRT_E_PROGRAM, -errno, each
 * with its sentence. Blocks. */
int local_cluster_start(double num_cpus, uint64_t deadline_ns, const char **ret_dir) DRT_CHECKED_;
/* Ends both, waits for them and removes the directory; fine if nothing runs. */
void local_cluster_stop(void);

#endif
