/*
 * What a process of the user and its raylet say to each other, as plain structs; proto/local.proto
 * is their form on the ring. Pointers in a decoded message point into the message or the arena it
 * was decoded with; pointers in one that is encoded are borrowed until the call returns. No I/O.
 * docs/protocol.md tells the conversation.
 *
 *   client                             raylet
 *   OPEN                        ->     of a driver: makes a job at the head
 *                               <-     WELCOME, or REFUSED
 *   CLASS, SUBMIT, PUT          ->     files them; refused ones become objects in error
 *   GET ids                     ->     holds them until they are settled
 *                               <-     VALUES: each id once for each GET of it (DRT_E_FULL for
 *                                      those that are too many)
 *   HOLD, RELEASE, CANCEL       ->     <- CANCELLED
 *   QUERY (mostly a tool)       ->     <- REPLY, several: the last one says so
 *   LOGS (a driver)             ->     <- LOG: lines of its tasks, as they come; LOGS: all that
 *                                      was printed here before
 *   GOODBYE (a driver)          ->
 *
 *   worker                             raylet
 *                               <-     RUN_CLASS once for each class, RUN into a claim slot
 *   RESULT, BLOCKED, UNBLOCKED  ->     <- LEAVE: exit when idle
 */
#ifndef PROTO_LOCAL_H
#define PROTO_LOCAL_H

#include "common/bytes.h"
#include "common/codes.h"
#include "common/ids.h"
#include "proto/message.h"
#include "proto/state.h"

#define LOCAL_PROTOCOL_VERSION 1u
#define LOCAL_EXIT_SHORT                                                                           \
    75 /* of a worker that could not begin for lack of memory, descriptors ...; EX_TEMPFAIL */
#define LOCAL_IDS_MAX     1024u  /* ids in one GET, RELEASE */
#define LOCAL_WAITS_MAX   1024u  /* of one BLOCKED */
#define LOCAL_ARGS_MAX    16384u /* needs, references of one task */
#define LOCAL_RETURNS_MAX 4096u
#define LOCAL_CLAIMS      128u                /* claim slots of a worker */
#define LOCAL_ENV_MAX     MESSAGE_PAYLOAD_MAX /* it travels as the payload */
#define LOCAL_NAME_MAX    255u
#define LOCAL_BACKOFF_NS  UINT64_C(100000000) /* the usual backoff_ns */

/* What a process is charged for, beside the bytes of arguments and values (docs/protocol.md,
 * credits): as much as it costs the raylet. */
#define LOCAL_TASK_COST   256u /* a task with its first result, a value that is put */
#define LOCAL_OBJECT_COST 72u  /* each further result; each result of a task that has ended */
#define LOCAL_MORE_COST   272u /* a task that is not of the simplest kind */
#define LOCAL_ID_COST     64u  /* each object that a task takes or a value names */
#define LOCAL_HOLD_COST   96u  /* an object of another process that is held */

enum local_type {
    LOCAL_OPEN = 1,
    LOCAL_WELCOME = 2,
    LOCAL_REFUSED = 3,
    LOCAL_GOODBYE = 4,
    LOCAL_CLASS = 5,
    LOCAL_SUBMIT = 6,
    LOCAL_PUT = 7,
    LOCAL_GET = 8,
    LOCAL_VALUES = 9,
    LOCAL_RELEASE = 10,
    LOCAL_HOLD = 11,
    LOCAL_CANCEL = 12,
    LOCAL_RUN_CLASS = 13,
    LOCAL_RUN = 14,
    LOCAL_RESULT = 15,
    LOCAL_BLOCKED = 16,
    LOCAL_UNBLOCKED = 17,
    LOCAL_LEAVE = 18,
    LOCAL_QUERY = 19,
    LOCAL_REPLY = 20,
    LOCAL_CANCELLED = 21,
    LOCAL_LOG = 22,
    LOCAL_LOGS = 23,
};

enum local_role { ROLE_DRIVER = 1, ROLE_WORKER = 2, ROLE_TOOL = 3 };

/*
 * A worker's claims: one shared word for each slot (ring_word). A slot is named by `index +
 * (generation << 8)`; the generation is new with each RUN, so that a record which was taken back
 * can never be taken for the one that uses its place now. The word holds the generation, the state,
 * and CLAIM_CANCEL.
 *
 *   raylet, before RUN:  store claim_word(slot, CLAIM_OFFERED)
 *   worker, to begin:    compare-and-swap OFFERED -> CLAIMED; if that fails it skips the record
 * without a word raylet, take back:   compare-and-swap OFFERED -> TAKEN_BACK raylet, cancel:
 * compare-and-swap CLAIMED -> CLAIMED | CLAIM_CANCEL: drt_cancelled() of that body says true The
 * worker writes nothing else: its RESULT frees the slot.
 */
enum claim_state { CLAIM_OFFERED = 1, CLAIM_CLAIMED = 2, CLAIM_TAKEN_BACK = 3 };
#define CLAIM_CANCEL 4u

static inline uint32_t claim_index(uint32_t slot)
{
    return slot & (LOCAL_CLAIMS - 1);
}

static inline uint32_t claim_word(uint32_t slot, enum claim_state state)
{
    return (slot & ~0xffu) | (uint32_t)state;
}

struct local_open {
    uint32_t protocol; /* LOCAL_PROTOCOL_VERSION */
    uint32_t role;     /* enum local_role */
    uint64_t worker;   /* ROLE_WORKER: the number its raylet gave at the start (DRT_WORKER) */
    const char *job_name;
    const char *program_name; /* as the user would type it */
    const char *cwd;          /* "": it has no name (deleted), or too long a one */
    uint32_t env_size, given_size, umask;
    bool wants_logs;    /* driver: lines of its workers come as LOG */
    struct bytes env;   /* terminated texts one after another, without drt's own variables */
    struct bytes given; /* for all workers of the job; means nothing to a raylet (sdk/given.h). The
                           payload is env, then given; when encoding, the payload is said */
};

struct local_welcome {
    uint32_t node, client;
    uint64_t job;
    const char *node_name, *cluster;
    uint64_t credit_bytes; /* what its SUBMITs and PUTs may cost at once: local_submit_cost,
                              local_put_cost; what comes back is in the ring's credit */
    uint32_t given_size;   /* the payload: to a worker, what OPEN of its driver gave */
};

struct local_refused {
    struct failure failure;
};

struct local_amount {
    const char *name;
    int64_t units; /* of 1/10,000 */
};

struct local_class {
    uint32_t number;      /* of this client, consecutive from 1 */
    const char *function; /* the task's name in the program */
    struct bytes kinds;
    const struct local_amount *amounts; /* CPU and all else; what is not named is not asked for */
    size_t amount_count;
    uint32_t strategy; /* enum drt_strategy */
    bool soft;
    const char *node, *labels; /* "" if not given */
    int32_t priority;
};

enum local_submit_flags { SUBMIT_RETRY_ON_ERROR = 1, SUBMIT_AT_MOST_ONCE = 2 };

struct local_submit {
    uint64_t number; /* of its first return; consecutive, checked */
    uint32_t class_number;
    uint32_t returns;      /* 1.. */
    uint32_t parent_slot;  /* worker: 1 + the claim index of the body that submits; 0: none */
    uint32_t max_attempts; /* 1.. */
    uint32_t flags;
    uint64_t timeout_ns; /* 0: none */
    uint64_t backoff_ns;
    const char *name;              /* "": the function's */
    const struct object_id *needs; /* values it takes, in the order of its DRT_OF arguments */
    size_t need_count;
    const struct object_id *refs; /* references it is given and does not wait for */
    size_t ref_count;
};

/* What it costs of its sender's credit: both sides count the same. */
static inline uint32_t local_submit_cost(const struct local_submit *m, size_t payload_size)
{
    size_t ids = m->need_count + m->ref_count;
    bool more = ids != 0 || m->parent_slot != 0 || m->timeout_ns != 0 || m->name[0] != '\0' ||
                m->backoff_ns != LOCAL_BACKOFF_NS;
    size_t cost = LOCAL_TASK_COST + payload_size + (m->returns - 1) * (size_t)LOCAL_OBJECT_COST;

    return (uint32_t)(cost + (more ? LOCAL_MORE_COST + ids * LOCAL_ID_COST : 0));
}

struct local_put {
    uint64_t number;
    const struct object_id *refs; /* held as long as the object */
    size_t ref_count;
};

static inline uint32_t local_put_cost(size_t ref_count, size_t payload_size)
{
    return (uint32_t)(LOCAL_TASK_COST + payload_size + ref_count * LOCAL_ID_COST);
}

enum local_get_flags { GET_WHOLE = 1 }; /* else a value above VALUES_INLINE_MAX is only announced */
#define VALUES_INLINE_MAX 4096u

struct local_get {
    uint32_t flags;
    const struct object_id *ids;
    size_t id_count; /* 1..LOCAL_IDS_MAX */
};

enum value_state {
    VALUE_HERE = 0,
    VALUE_READY = 1,
    VALUE_ERROR = 2
}; /* READY: settled with a value of `size`, not sent */

struct local_value {
    struct object_id id;
    uint32_t state;
    uint32_t size; /* HERE: bytes in the payload; ERROR: a packed failure there; where: layout.h */
};

/* Whether its bytes stand in the payload. */
static inline bool value_has_bytes(const struct local_value *v)
{
    return v->state != VALUE_READY;
}

struct local_values {
    const struct local_value *values;
    size_t value_count;
};

/* BLOCKED names what the body waits for: all that would end the wait, or (where it needs all of
 * them) one; none: it waits for something else, or not for ever. A further BLOCKED replaces the
 * former: once any of those named has come, the body goes on or says anew what it waits for. */
struct local_ids { /* RELEASE, HOLD, BLOCKED */
    const struct object_id *ids;
    size_t id_count;
    struct object_id through; /* HOLD: a held object whose value has these inside; number 0: they
                                 are among the arguments of a task that is placed at the client */
};

enum local_cancel_flags { CANCEL_ASK = 0, CANCEL_FORCE = 1, CANCEL_RECURSIVE = 2 }; /* as drt.h */

struct local_cancel {
    uint64_t request; /* answered by CANCELLED with the same number */
    struct object_id id;
    uint32_t flags;
};

struct local_cancelled {
    uint64_t request;
    uint32_t code; /* 0, CODE_DONE: it was settled before, CODE_NOT_FOUND, CODE_UNREACHABLE */
};

struct local_run_class {
    uint32_t number; /* of this worker */
    const char *function;
    struct bytes kinds;
};

struct local_run {
    uint32_t slot;         /* index and generation: see claims */
    uint32_t class_number; /* of RUN_CLASS */
    uint32_t attempt;
    uint32_t returns;
    struct object_id task; /* first return */
    uint64_t time_left_ns; /* 0: no limit */
    uint32_t args_size; /* bytes of arguments at the beginning of the payload: decoded; encoded from
                         * the payload's own size where `more` holds the values */
    const uint32_t *need_sizes; /* the values follow the arguments in the payload; layout.h */
    size_t need_count;
};

enum return_state { RETURN_VALUE = 0, RETURN_UNSET = 1, RETURN_ALIAS = 2, RETURN_TOO_LARGE = 3 };

struct local_return {
    uint32_t state;
    uint32_t size; /* VALUE: bytes in the payload; where: layout.h */
    struct object_id alias;
    uint32_t ref_count; /* VALUE: references declared inside: the next ones of `refs` */
    uint32_t zero;
};

struct local_result {
    uint32_t slot; /* as in RUN */
    int32_t code;  /* 0, CODE_FAILED, CODE_SIGNATURE; the payload is empty unless 0 */
    int32_t app_code;
    const char *message; /* "" unless code */
    const struct local_return *returns;
    size_t return_count;
    const struct object_id *refs;
    size_t ref_count;
    uint64_t ran_ns; /* the body alone; 0: it did not begin */
    /* Up to which byte of the worker's standard output and error the body has written; 0: nothing
     * since the body before. */
    uint64_t out_end, err_end;
};

struct local_query {
    uint64_t request;
    struct state_query query;
};

struct local_reply {
    uint64_t request;
    struct state_reply reply;
};

struct local_logs {
    bool
        elsewhere; /* the answer: tasks ran on other nodes, whose lines may still be on their way */
};

/* To a driver that wants them: lines in the payload. Without a newline at the end the last of them
 * goes on in the next LOG of this worker and stream. */
struct local_log {
    const char *node, *function;
    uint64_t worker;
    uint32_t stream; /* 1 out, 2 err */
};

struct local_msg { /* in front what all have: of most only two cache lines are touched */
    enum local_type type;
    struct bytes payload;
    const struct bytes *more; /* encoding only: further parts of the payload, each beginning
                                 64-aligned in it (RUN) */
    size_t more_count;
    union {
        struct local_open open;
        struct local_welcome welcome;
        struct local_refused refused;
        struct local_class class_;
        struct local_submit submit;
        struct local_put put;
        struct local_get get;
        struct local_values values;
        struct local_ids ids;
        struct local_cancel cancel;
        struct local_cancelled cancelled;
        struct local_run_class run_class;
        struct local_run run;
        struct local_result result;
        struct local_query query;
        struct local_reply reply;
        struct local_log log;
        struct local_logs logs;
    };
};

/* Bytes that local_encode will write: exact. */
size_t local_size(const struct local_msg *m);
/* Writes exactly local_size(m) bytes to `dst` (8-aligned). */
void local_encode(const struct local_msg *m, void *dst);
/* Decodes and checks: known type, known fields only, sizes, counts, strings bounded and UTF-8 or
 * cleaned, numbers in range. What it does not point into `data` it takes from `arena`. 0, or
 * -EPROTO with a reason in *ret_why (static text). */
int local_decode(struct bytes data, struct arena *arena, struct local_msg *ret,
                 const char **ret_why) MUST_CHECK;

/* Of a decoded RUN: its arguments, and the values of its needs (`ret_values` has room for
 * need_count); they point into the payload. */
struct bytes local_run_args(const struct local_msg *m);
void local_run_values(const struct local_msg *m, struct bytes *ret_values);

/* A failure as bytes (the payload of VALUE_ERROR). */
size_t failure_size(const struct failure *f);
void failure_write(const struct failure *f, void *dst); /* exactly failure_size(f) bytes */
void failure_encode(const struct failure *f, struct buffer *ret);
int failure_decode(struct bytes data, struct failure *ret) MUST_CHECK;

#endif
