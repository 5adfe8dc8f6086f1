/*
 * One or more messages of every type, with edge values in every field: what the codec tests and the
 * fuzzers' corpora begin with. Static; read-only.
 */
#ifndef TESTS_UNIT_PROTO_SAMPLES_H
#define TESTS_UNIT_PROTO_SAMPLES_H

#include "proto/cluster.h"
#include "proto/local.h"
#include "proto/peer.h"

size_t sample_local_count(void);
const struct local_msg *sample_local(size_t i);
size_t sample_cluster_count(void);
const struct cluster_msg *sample_cluster(size_t i);
size_t sample_peer_count(void);
const struct peer_msg *sample_peer(size_t i);

#endif
