/*
 * The daemons that belong to this program alone. They live as long as this process, which holds a
 * socket to them. In local mode they are a head and a raylet in ~/.drt/local-<pid>, on loopback. On
 * a machine without a raylet, they are one raylet without CPUs in ~/.drt/private-<pid>, which joins
 * a cluster elsewhere. A process has only one of the two at a time.
 */
#ifndef SDK_LOCAL_CLUSTER_H
#define SDK_LOCAL_CLUSTER_H

#include "drt/drt.h"

/* Starts both and waits until they are ready. *ret_dir is the cluster's directory, *ret_node the
 * raylet's name, both valid until local_cluster_stop. 0; DRT_E_NOT_FOUND (no programs),
 * DRT_E_TIMEOUT, DRT_E_PROGRAM, -errno, each with its sentence. Blocks. */
int local_cluster_start(double num_cpus, uint64_t deadline_ns, const char **ret_dir,
                        const char **ret_node) DRT_CHECKED_;
/* Starts a raylet that joins the cluster whose head is at `address` ("host:port"). `key_file`: its
 * join.key; NULL: DRT_KEY_FILE, else ./join.key, else what drt-node finds below ~/.drt. Else
 * as above; DRT_E_REFUSED: there is no key, or the head does not take it. */
int private_node_start(const char *address, const char *key_file, uint64_t deadline_ns,
                       const char **ret_dir, const char **ret_node) DRT_CHECKED_;
/* Ends what was started, waits for it and removes the directory; fine if nothing runs. */
void local_cluster_stop(void);
/* In a forked child: what was started is its parent's. Closes what it inherited of it.
 * Async-signal-safe. */
void local_cluster_forget(void);

#endif
