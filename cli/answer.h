/*
 * What a daemon answered to one query: the rows of all its replies together. No I/O. The rows'
 * texts live in the answer's arena, or wherever who added them keeps them.
 */
#ifndef CLI_ANSWER_H
#define CLI_ANSWER_H

#include "proto/state.h"

struct answer {
    struct arena arena; /* of the messages the rows point into */
    bool whole;         /* the last reply came */
    struct failure failure;
    const char *cluster, *head_address; /* "" if not told */
    uint32_t head_pid;                  /* 0: no head answers */
    bool head_stands;        /* it is there all the same, on this machine: its lock is held */
    uint32_t head_stand_pid; /* 0: not found */
    uint64_t head_started_unix_ms;
    struct state_node *nodes;
    size_t node_count;
    struct state_job *jobs;
    size_t job_count;
    struct state_task *tasks;
    size_t task_count;
    struct state_class *classes;
    size_t class_count;
    struct state_worker *workers;
    size_t worker_count;
    struct state_function *functions;
    size_t function_count;
    const char **lines;
    size_t line_count;
    struct buffer log;
    uint64_t log_offset, log_end;
    bool log_closed;
    struct state_output *outputs;
    size_t output_count;
    bool outputs_lost;
};

void answer_init(struct answer *a);
void answer_fini(struct answer *a);
/* Adds one reply's rows. -EOVERFLOW beyond STATE_ROWS_MAX rows in all, -EPROTO after the last. */
int answer_add(struct answer *a, const struct state_reply *reply) MUST_CHECK;

/* Puts what the nodes say of themselves now (STATE_SELF) into the rows that the head has of them.
 */
void answer_refresh(struct answer *nodes, const struct answer *now);

/* A text that may be missing. */
static inline const char *text_or(const char *text, const char *other)
{
    return text == NULL || *text == '\0' ? other : text;
}

/* Units of one resource of a node, 0 if it has none. */
void answer_amount(const struct state_node *n, const char *name, double *ret_total,
                   double *ret_available);

#endif
