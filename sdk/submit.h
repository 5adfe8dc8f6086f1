/*
 * Submits tasks: checks a call, encodes its arguments, and writes it to the raylet, or runs it in
 * sync mode. If the call is wrong, its references get the error.
 */
#ifndef SDK_SUBMIT_H
#define SDK_SUBMIT_H

#include "sdk/classes.h"

/* One call; sets every reference. `values` has `count` values; the last may be options, unless
 * `options` are given, which then hold. `name` is for functions with two addresses. */
void submit(struct drt_ref *refs, size_t returns, drt_task_fn *fn, const char *name,
            const struct drt_value *values, size_t count, const struct drt_options *options);

#endif
