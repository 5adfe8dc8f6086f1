/*
 * Answers to STATE_LOG: a piece of one worker's output as a reply. The core passes these queries to
 * the shell, for they read files. On the loop's thread.
 */
#ifndef RAYLET_LOG_QUERY_H
#define RAYLET_LOG_QUERY_H

#include "proto/state.h"
#include "raylet/logs.h"

/* The reply points into `data`, which is the caller's. */
void log_query_answer(struct logs *logs, const struct state_query *query, struct buffer *data,
                      struct state_reply *ret);

#endif
