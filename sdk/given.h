/*
 * What a program gives to all workers of its job: its command line, and the bytes of
 * drt_config.job_config. The block travels behind the environment in OPEN, is nothing but bytes to
 * the raylets, and comes back in the WELCOME of each worker, on whichever node:
 *
 *   u64 size of the command line   its arguments, each with a terminator   to a multiple of 8
 *   the bytes of job_config
 *
 * Written by drt_init, before anything else can read it; drt_argv and drt_job_config only read.
 */
#ifndef SDK_GIVEN_H
#define SDK_GIVEN_H

#include "common/bytes.h"
#include "drt/drt.h"

/* A driver's own: reads the command line. 0; DRT_E_TOO_LARGE or -errno, with a sentence. */
int given_make(const struct drt_config *config) MUST_CHECK;
/* A worker's: a copy of the block that its raylet has for it. 0; -EPROTO: it is none. */
int given_take(struct bytes block) MUST_CHECK;
struct bytes given_block(void);

#endif
