/*
 * Two sides of a ring that send each other messages of random sizes with checksums, sleep whenever
 * they can, and must always be woken. A side is one call, to be run by two processes or by two
 * threads. Used by tests only.
 */
#ifndef TESTS_CONTRACT_TORTURE_H
#define TESTS_CONTRACT_TORTURE_H

#include "proto/ring.h"

struct torture {
    struct ring_channel *channel;
    uint64_t seed;
    unsigned messages; /* that each side sends */
    bool naps; /* also sleeps while it could send; one side only, else both would wait for each
                  other */
    /* filled */
    const char *why; /* NULL: all came, whole and in order */
    unsigned sleeps;
};

void torture_run(struct torture *t);

#endif
