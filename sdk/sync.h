/*
 * DRT_MODE=sync: drt_submit runs the task in this process, in the thread that submits. Values,
 * retries and error codes are the same as with a cluster; other properties of a cluster do not
 * exist here.
 */
#ifndef SDK_SYNC_H
#define SDK_SYNC_H

#include "sdk/call.h"

struct sync_task {
    const struct drt_entry_ *entry;
    const struct drt_options *options;
    struct bytes args;              /* encoded; 64-aligned */
    const struct drt_value *values; /* the DRT_OF of them are held meanwhile */
    size_t value_count;
    struct drt_ref *refs; /* set, one for each result */
    uint32_t returns;
};

/* Runs it; without the lock. All references are settled afterwards. */
void sync_run(const struct sync_task *t);

#endif
