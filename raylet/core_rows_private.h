/*
 * What core_rows (who asks what; nodes, jobs, counts, workers) and core_rows_tasks (rows of tasks,
 * and why one waits) share, and nobody else.
 */
#ifndef RAYLET_CORE_ROWS_PRIVATE_H
#define RAYLET_CORE_ROWS_PRIVATE_H

#include "raylet/core_state.h"

/* In the arena of the step. */
const char *rows_text(struct raylet_core *c, const char *format, ...) PRINTF(2, 3);
uint32_t rows_limit(const struct state_query *q);
/* A filter that is "" lets all pass. */
bool rows_wanted(const char *filter, const char *value);

/* Why tasks of a class wait that are fixed to no other node. */
const char *rows_class_reason(struct raylet_core *c, const struct class_ *k);
void rows_tasks(struct raylet_core *c, const struct state_query *q, struct state_reply *r);
void rows_explain(struct raylet_core *c, const struct state_query *q, struct state_reply *r);
/* What is known of functions, of one by its name or of all (""); at most `most`. */
size_t rows_functions(struct raylet_core *c, const char *name, uint32_t most,
                      const struct state_function **ret);
/* The last `most` that ended in each way, and what of functions is remembered. */
size_t rows_ended(struct raylet_core *c, uint32_t most, const struct state_task **ret);

#endif
