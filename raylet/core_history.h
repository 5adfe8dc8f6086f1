/*
 * What became of the tasks that were submitted on this node: the last ones of each kind of end as
 * rows, counts of all, and for each function how often it ran and for how long. All bounded.
 */
#ifndef RAYLET_CORE_HISTORY_H
#define RAYLET_CORE_HISTORY_H

#include "proto/durations.h"
#include "raylet/core_state.h"

struct function_stats {   /* of one function; kept for good, at most one for each interned name */
    const char *function; /* interned */
    uint64_t done, failed, cancelled;
    uint64_t runs, ran_ns;
    uint32_t buckets[DURATIONS_BUCKETS];
    UT_hash_handle hh; /* core->functions, by the address of the name */
};

void history_init(struct raylet_core *c);
void history_fini(struct raylet_core *c);

/* Counts a task that has ended, and returns its row for the caller to complete: only the function,
 * the end (`error`; NULL: it has its values), the job and the time are in it. `ran_ns` is of its
 * last attempt, 0 where nothing ran or nobody knows. `stats` is where its class keeps what is
 * looked up here; NULL: nowhere. */
struct history_row *history_end(struct raylet_core *c, struct job *job, const char *function,
                                struct function_stats **stats, struct object_error *error,
                                uint64_t ran_ns);
/* "done", "failed" or "cancelled". */
const char *history_state(const struct history_row *row);
/* When the body of a task that is placed here or was sent began, of the core's clock, as far as
 * this node knows; 0: it has not begun, or nobody knows. */
uint64_t history_began_ns(const struct raylet_core *c, const struct task *t);
/* The same as a time that it has run until now; at least 1 if it has begun. */
uint64_t history_ran_ns(const struct raylet_core *c, const struct task *t);

#endif
