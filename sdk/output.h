/*
 * What a worker's bodies print. A worker's standard output and error are pipes to its raylet: here
 * they are set up so that a line is out as soon as it was printed, and it is found out how far in
 * each stream a body has come, so that its lines can be told from those of the body before and the
 * one after. Only in workers, by the thread that runs bodies.
 */
#ifndef SDK_OUTPUT_H
#define SDK_OUTPUT_H

#include "proto/ring.h"

/* A body that was shorter is not asked what it printed: a printf takes longer. What it wrote with
 * one bare write(2), which can be faster, is counted to the next body that is asked. */
#define OUTPUT_LEAST_NS 300u

/* Before the raylet is greeted: what the program printed until now is in the pipes then, and
 * belongs to no task. */
void output_prepare(void);
/* After the greeting. */
void output_begin(const struct ring_channel *ring);
/* A body has ended: up to where in each stream it wrote; 0 where it wrote nothing. May block. */
void output_end(const struct ring_channel *ring, uint64_t ret_ends[RING_METERS]);

#endif
