/*
 * What people may ask of a raylet or the head, and the rows of the answers: plain structs of
 * proto/state.proto. The same rows serve the screens, --json and the SDK's drt_nodes. No I/O.
 */
#ifndef PROTO_STATE_H
#define PROTO_STATE_H

#include "common/bytes.h"
#include "common/codes.h"
#include "common/ids.h"

#define STATE_ROWS_MAX 10000u /* in one whole answer */

enum state_kind {
    STATE_CLUSTER = 1, /* the head's line and all nodes */
    STATE_NODES = 2,
    STATE_JOBS = 3,
    STATE_TASKS = 4,
    STATE_CLASSES = 5, /* tasks by function, state and reason: the summary of drt status */
    STATE_EXPLAIN = 6, /* of one task */
    STATE_WORKERS = 7, /* with where their logs are; of one job also those that ended */
    STATE_LOG = 8,     /* a piece of one worker's log; with an id only of what that task wrote */
    STATE_STOP =
        9, /* stop the daemon that is asked (tool on the same machine and of the same user only) */
    STATE_LEAVE = 10,   /* raylet: leave the cluster, running work ends first; again: sooner */
    STATE_SELF = 11,    /* each node's own row, as it is now */
    STATE_SUMMARY = 12, /* finished tasks by function: counts and run times */
    STATE_CANCEL = 13,  /* cancel the task `id`, or all tasks of `job` */
    STATE_OUTPUT = 14,  /* of one task: which parts of workers' logs it wrote */
};

struct state_query {
    uint32_t kind;
    uint32_t limit;                  /* rows; 0: 100 */
    const char *id;                  /* task, job: as text; "last" is the newest. "" if not given */
    const char *node, *state, *name; /* filters; "" if not given */
    uint64_t job;                    /* filter; 0: all */
    uint64_t worker;                 /* STATE_LOG */
    uint32_t stream;                 /* STATE_LOG: 1 out, 2 err */
    uint64_t offset, max_bytes;      /* STATE_LOG; offset UINT64_MAX: the last max_bytes */
    uint64_t within_ns;              /* STATE_LEAVE: what still runs then is ended */
    bool force;                      /* STATE_CANCEL: bodies that run are killed */
};

struct state_amount {
    const char *name;
    int64_t total_units, available_units; /* of 1/10,000 */
};

struct state_node {
    uint32_t number;
    const char *name, *host, *address, *state, *note,
        *labels;            /* state: alive, suspect, leaving, private, lost, left */
    uint64_t since_unix_ms; /* of this state */
    uint32_t pid;
    const struct state_amount *amounts;
    size_t amount_count;
    uint64_t waiting, running, done, failed; /* tasks */
    uint32_t workers, idle_workers;
    uint64_t cancelled;         /* tasks */
    uint64_t heard_unix_ms;     /* what this row says was so then; 0: it is so now */
    uint64_t memory_used_bytes; /* of the machine, by all its processes; 0: not known */
};

struct state_job {
    uint64_t number;
    const char *name, *state, *node, *program, *user; /* state: running, done, failed, lost */
    uint32_t pid;
    uint64_t started_unix_ms, ended_unix_ms; /* 0: not ended */
    uint64_t waiting, running, done, failed, cancelled;
};

struct state_task {
    struct object_id id;
    const char *function, *name, *node, *state,
        *reason; /* state: waiting, running, done, failed, cancelled */
    uint64_t job, worker;
    uint32_t attempt, max_attempts, depth;
    int32_t priority;
    uint64_t submitted_unix_ms, started_unix_ms, ended_unix_ms;
    uint32_t code;    /* enum code of the end */
    uint64_t ran_ns;  /* of its last attempt, as its worker or node measured it; 0: not known */
    const char *root; /* the function whose failure this is: another's where an argument failed */
};

struct state_class { /* function "" and job 0: all tasks of the node in that state */
    const char *function, *state, *reason, *node;
    uint64_t count, job;
};

struct state_worker {
    uint64_t number, job;
    const char *node, *program, *state; /* starting, idle, running, blocked, dead */
    uint32_t pid;
    const char *out_path, *err_path;
    uint64_t started_unix_ms, tasks_done;
    struct object_id task; /* that it runs; number 0: none */
    const char *function;  /* of that task */
};

struct state_bucket { /* of a histogram of run times (proto/durations.h) */
    uint64_t index, count;
};

/* Tasks of one function that were submitted on one node and have ended. */
struct state_function {
    const char *function, *node;
    uint64_t done, failed, cancelled;
    uint64_t runs, ran_ns; /* bodies whose time was measured, and all their time */
    const struct state_bucket *buckets;
    size_t bucket_count;
};

struct state_output { /* a part of a worker's log that one attempt of a task wrote */
    const char *node;
    uint64_t worker;
    uint32_t attempt, stream; /* 1 out, 2 err */
    uint64_t begin, end;      /* bytes of the stream */
    bool running;             /* it may grow; `end` is none yet */
};

/* In a message below MESSAGE_META_MAX (1 MiB): a long answer is several, each with so many rows.
 * `log` is at most 512 KiB, `lines` at most 4,096. */
struct state_reply {
    bool last;                          /* no further reply to this query */
    struct failure failure;             /* code 0: none */
    const char *cluster, *head_address; /* STATE_CLUSTER */
    uint32_t head_pid;
    uint64_t head_started_unix_ms;
    const struct state_node *nodes;
    size_t node_count;
    const struct state_job *jobs;
    size_t job_count;
    const struct state_task *tasks;
    size_t task_count;
    const struct state_class *classes;
    size_t class_count;
    const struct state_worker *workers;
    size_t worker_count;
    const struct state_function *functions;
    size_t function_count;
    const char *const *lines; /* STATE_EXPLAIN */
    size_t line_count;
    struct bytes log;             /* STATE_LOG */
    uint64_t log_offset, log_end; /* of `log` in the stream, and of the stream's end now */
    bool log_closed;              /* the worker is gone, or the task has ended: no more follows */
    const struct state_output *outputs; /* STATE_OUTPUT */
    size_t output_count;
    bool outputs_lost; /* which task wrote what is not known any more of the oldest output there */
};

/* Rows of one message, packed; a log and one row more fit beside them, whatever the texts are. */
#define STATE_PART_BYTES (256u << 10)

/* Takes from the front of `left` what one message may have of it; true if there is more, for the
 * next call. Only the last part says that it is the last one, and has the failure. */
bool state_reply_part(struct state_reply *left, struct state_reply *ret_part) MUST_CHECK;

#endif
