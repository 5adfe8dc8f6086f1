/*
 * What a worker's bodies print. A worker's standard output and error are pipes to its raylet: here
 * they are set up so that a line is out as soon as it was printed, and it is found out how far in
 * each stream a body has come, so that its lines can be told from those of the body before and the
 * one after. Only in workers, by the thread that runs bodies.
 */
#ifndef SDK_OUTPUT_H
#define SDK_OUTPUT_H

#include "proto/ring.h"

/* No system call that writes returns sooner: a body that was shorter has printed nothing. On a fast
 * machine a write of one byte into a pipe takes 160 ns, and one to /dev/null, which does next to
 * nothing, 106 ns. A body that does nothing takes about 50 ns: it is not asked after. */
#define OUTPUT_LEAST_NS 100u

/* Before the raylet is greeted: what the program printed until now is in the pipes then, and
 * belongs to no task. */
void output_prepare(void);
/* After the greeting. */
void output_begin(const struct ring_channel *ring);
/* A body has ended: up to where in each stream it wrote; 0 where it wrote nothing. May block. */
void output_end(const struct ring_channel *ring, uint64_t ret_ends[RING_METERS]);

#endif
