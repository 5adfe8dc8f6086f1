/*
 * The bare channels, with nothing above them: what the machine itself allows in the same run. Each
 * forks its processes, measures, and ends them.
 */
#ifndef BENCH_FLOORS_H
#define BENCH_FLOORS_H

#include "bench/figures.h"

/* Submitter, relay, worker and back through rings of proto/ring, records of 200 bytes. */
int floor_relay_sync(double seconds, struct figures *ret) MUST_CHECK;
int floor_relay_bursts(double seconds, struct figures *ret) MUST_CHECK;
/* Four hand-overs of a counter between three processes, sched_yield() between looks. */
int floor_hand_over(double seconds, struct figures *ret) MUST_CHECK;
/* Bytes into shared memory: pages that are there (per_second), and fresh ones. */
int floor_memcpy(double seconds, struct figures *ret) MUST_CHECK;
/* ZeroMQ ROUTER and DEALER over tcp on loopback: round trip; one way with 128 bytes. */
int floor_zmq_round_trip(double seconds, struct figures *ret) MUST_CHECK;
int floor_zmq_one_way(double seconds, struct figures *ret) MUST_CHECK;

#endif
