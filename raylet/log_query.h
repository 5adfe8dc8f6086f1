/*
 * Answers to STATE_LOG, a piece of one worker's output or of the part of it that a task wrote, and
 * to STATE_OUTPUT, where the parts of a task are. The core passes these queries to the shell, for
 * they read files. On the loop's thread.
 */
#ifndef RAYLET_LOG_QUERY_H
#define RAYLET_LOG_QUERY_H

#include "proto/state.h"
#include "raylet/logs.h"

struct log_body { /* the task that is asked for, as the core sees it */
    struct object_id task;
    uint32_t worker; /* 0: its body does not run here now */
    uint32_t attempt;
    /* The worker had begun its next task when its pipes were read: the end of this one's output is
     * not known yet, and its RESULT is here already. So who asks is told to ask again. */
    bool may_have_ended;
};

/* The reply points into `data` and at `node`, which are the caller's. `body` NULL: a worker's
 * output as a whole. */
void log_query_answer(struct logs *logs, const char *node, const struct state_query *query,
                      const struct log_body *body, struct buffer *data, struct state_reply *ret);

#endif
