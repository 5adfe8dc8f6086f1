/*
 * The output of the bodies in a worker. The standard output and standard error of a worker are
 * pipes to its raylet. These functions set them up so that each line is written as soon as it is
 * printed. They also determine the position in each stream at which a body ends, so that its output
 * can be separated from that of the bodies before and after it. They are called only in workers, by
 * the thread that runs bodies.
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
