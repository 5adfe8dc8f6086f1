/*
 * What raylets say to each other, as plain structs; proto/peer.proto is their form on the wire. The
 * same contracts as proto/local.h: exact sizes, strict reading, pointers borrowed. They travel in
 * sessions (proto/session.h), each once and in order. Sessions between raylets are directed: who
 * wants something of another is its client there. docs/protocol.md tells the conversation. No I/O.
 *
 *   home (or borrower)                     executor (or owner)
 *   JOB once, CLASS once, ASK       ->
 *                                   <-     GRANT: slots; or JOB_BROKEN
 *   RUN into a slot                 ->
 *                                   <-     STARTED (list), then RESULT, or BACK: never begun
 *   RECORDED, STOP, RETURN          ->     may forget; <- ARGS_FREE
 *   ADD, WANT, DROP                 ->     <- ADDED, VALUE
 *   LOOK (whoever waits for long)   ->     <- SEEN
 *   JOB_ASK (of a guest, to its job's home)   ->   <- JOB_END, if it is over
 *                                   <-     PROGRAM_GET  -> PROGRAM_PART (the shells' own)
 */
#ifndef PROTO_PEER_H
#define PROTO_PEER_H

#include "proto/local.h"

#define PEER_HASH_SIZE     32u     /* SHA-256 of a program */
#define PEER_LIST_MAX      4096u   /* runs or ids in one message */
#define PEER_REFS_MAX      16384u  /* references that travel with one task or result */
#define PEER_PART_MAX      262144u /* bytes of a program in one message */
#define PEER_LOG_BYTES_MAX 65536u
#define PEER_STEPS_MAX     1024u /* of one SEEN */

enum peer_type {
    /* home to executor */
    PEER_JOB = 96,
    PEER_JOB_END = 97,
    PEER_CLASS = 98,
    PEER_CLASS_END = 99,
    PEER_ASK = 100,
    PEER_RETURN = 101,
    PEER_RUN = 102,
    PEER_STOP = 103,
    PEER_RECORDED = 104,
    /* executor to home */
    PEER_GRANT = 105,
    PEER_STARTED = 106,
    PEER_BACK = 107,
    PEER_RESULT = 108,
    PEER_ARGS_FREE = 109,
    PEER_JOB_BROKEN = 110,
    PEER_LOG = 111,
    /* programs: between the shells */
    PEER_PROGRAM_GET = 112,  /* executor to home */
    PEER_PROGRAM_PART = 113, /* home to executor */
    /* borrower to owner */
    PEER_ADD = 114,
    PEER_DROP = 115,
    PEER_WANT = 116,
    /* owner to borrower */
    PEER_ADDED = 117,
    PEER_VALUE = 118,
    /* borrower to owner */
    PEER_CANCEL = 119, /* the task that makes an object; its VALUE tells what became of it */
    /* anybody to anybody */
    PEER_JOB_ASK = 120, /* is it over? Answered with JOB_END only if so */
    PEER_LOOK = 121,
    PEER_SEEN = 122, /* exactly one for each LOOK */
    /* borrower to owner, home to executor */
    PEER_LIFT = 123, /* the task that makes an object, or an attempt, is waited for by one of this
                        priority */
    PEER_LOGS = 124, /* home to executor: what the job printed there, please; answered by the same
                        behind the LOGs */
};

/* A job whose tasks the sender will ask to run. Once in a session, before its first CLASS. */
struct peer_job {
    uint64_t job;
    const char *name, *program_name, *user, *cwd;
    uint32_t env_size, given_size, umask;
    struct bytes hash; /* PEER_HASH_SIZE bytes */
    uint64_t program_size;
    uint64_t started_unix_ms;
    bool wants_logs;         /* LOG messages, please */
    uint32_t home;           /* the node of its driver */
    struct bytes env, given; /* the payload, as in OPEN */
};

struct peer_job_end { /* the sender has nothing more of it; what runs is stopped */
    uint64_t job;
    bool over; /* it has ended at its home: so for everybody, also for others who announced it */
};

/* A class as the home numbers it; once in a session, before its first ASK. */
struct peer_class {
    uint32_t number;
    uint64_t job;
    const char *function;
    struct bytes kinds;
    const struct local_amount *amounts;
    size_t amount_count;
    int32_t priority;
    uint32_t depth;
};

struct peer_class_end { /* the number will not be used again in this session */
    uint32_t number;
};

/* How many slots of this class in this session the home could have used in all: those it got, and
 * those it still wants. Replaces its former one; may be lower. */
struct peer_ask {
    uint32_t number;
    uint64_t limit;
};

struct peer_slots { /* GRANT: lent; RETURN: unused ones */
    uint32_t number;
    uint32_t count; /* 1.. */
};

struct peer_run {
    uint64_t run;    /* names this attempt; consecutive in a session, and never used again */
    uint32_t number; /* of the class */
    uint32_t attempt;
    uint32_t returns;
    struct object_id task;
    uint64_t time_left_ns; /* 0: no limit */
    const char *name;      /* "": the function's */
    /* The payload is that of a local RUN: arguments, then the values of its needs, each 64-aligned
     * in it. */
    uint32_t args_size;
    const uint32_t *need_sizes;
    size_t need_count;
    const struct object_id *refs; /* references inside; covered by the home until ARGS_FREE */
    size_t ref_count;
};

enum peer_stop { PEER_STOP_ASK = 0, PEER_STOP_SOON = 1, PEER_STOP_KILL = 2 };

/* What has not begun comes BACK, free of charge; else its body is stopped as told, and its RESULT
 * comes. */
struct peer_stop_run {
    uint64_t run;
    uint32_t how; /* enum peer_stop */
    bool recursive;
};

struct peer_runs { /* RECORDED, STARTED, ARGS_FREE */
    const uint64_t *runs;
    size_t run_count;
};

enum peer_back {
    PEER_BACK_ASKED = 0,
    PEER_BACK_BUSY = 1,
    PEER_BACK_LEAVING = 2,
    PEER_BACK_BROKEN = 3
};

struct peer_back_run { /* provably never begun: free of charge */
    uint64_t run;
    uint32_t reason; /* enum peer_back */
};

enum peer_result_kind {
    PEER_RESULT_VALUES = 0, /* what the body returned */
    PEER_RESULT_FAILED = 1, /* the body says it failed: failure.code, app_code, message */
    PEER_RESULT_DIED = 2,   /* a system failure of this attempt: failure */
};

struct peer_result {
    uint64_t run;
    uint32_t kind; /* enum peer_result_kind */
    uint64_t worker;
    struct failure failure;             /* code 0 with VALUES */
    const struct local_return *returns; /* as in local RESULT */
    size_t return_count;
    const struct object_id *refs;
    size_t ref_count;
    bool args_free;      /* an ARGS_FREE as well */
    bool wants_recorded; /* it keeps references for this until RECORDED */
    uint64_t ran_ns;     /* its body, as far as known; 0: not known */
};

struct peer_job_broken { /* no worker of it can run here; slots are void, runs come BACK */
    uint64_t job;
    struct failure failure;
};

struct peer_log { /* lines of a worker, in the payload; as in local_log */
    uint64_t job, worker;
    uint32_t stream; /* 1 out, 2 err */
    const char *function;
};

struct peer_logs {
    uint64_t job;
    bool elsewhere; /* the answer: others were told of the job there */
};

struct peer_program_get {
    struct bytes hash;
    uint64_t offset;
};

struct peer_program_part { /* the payload; empty with a failure */
    struct bytes hash;
    uint64_t offset, total;
    struct failure failure;
};

/* References the borrower needs beyond a cover. A session begins with those that it holds already,
 * between `first` and `last` (one message may be both): what is not among them it holds no more. */
struct peer_add {
    bool first, last;
    uint64_t job;
    const struct object_id *ids;
    size_t id_count;
};

struct peer_ids { /* DROP, WANT: VALUE follows for each, once it is settled */
    const struct object_id *ids;
    size_t id_count;
};

struct peer_added {
    const struct object_id *ids; /* in its set */
    size_t id_count;
    const struct object_id *gone; /* not there any more */
    size_t gone_count;
};

struct peer_value {
    struct object_id id;
    uint32_t state; /* VALUE_HERE: the value in the payload; VALUE_ERROR: a packed failure there */
    const struct object_id *refs; /* declared inside: held by the owner as long as the value */
    size_t ref_count;
};

struct peer_cancel {
    struct object_id id;
    uint32_t flags; /* enum local_cancel_flags */
};

struct peer_job_ask {
    uint64_t job;
};

/* What somebody waits for, as the node sees it that knows. What waits for it in turn is asked of
 * whoever knows that, until something moves or all is seen (raylet/core_cycles.h). */
enum peer_look_kind {
    LOOK_OBJECT = 1, /* `id`, at its owner: who makes it */
    LOOK_RUN = 2,    /* attempt `run` of task `id`, at its executor */
    LOOK_BODY = 3,   /* of task `id`, on worker `run`: what it waits for */
    LOOK_ROOM = 4,   /* who keeps the amounts */
};

struct peer_step { /* one of them, and who knows */
    uint32_t kind; /* enum peer_look_kind */
    uint32_t node;
    struct object_id id;
    uint64_t run;
};

struct peer_lift { /* one of both */
    struct object_id id;
    uint64_t run;
    int32_t priority;
};

struct peer_look {
    uint64_t look;       /* the asker's number */
    uint32_t item;       /* likewise */
    uint32_t kind, node; /* as in a step */
    struct object_id id;
    uint64_t run;
    const struct local_amount *amounts; /* ROOM */
    size_t amount_count;
    uint32_t depth; /* ROOM: of the task that waits */
    uint64_t job;   /* ROOM: the same */
};

struct peer_seen {
    uint64_t look;
    uint32_t item;
    bool stuck;                    /* false: something happens there by itself, or is about to */
    uint64_t since;                /* the same as long as it was so all the time */
    const struct peer_step *steps; /* what it waits for: any of them would do */
    size_t step_count;
    const struct local_amount *amounts; /* of the ROOMs among them */
    size_t amount_count;
    bool waits_for_room;  /* a task that waits for a place: it may be ended to let others go on */
    uint32_t depth;       /* of that task */
    uint32_t newest_node; /* of that task: the highest number that its home was told of */
    const char *name;     /* the task, as people know it: BODY, and those that wait for a place; of
                             ROOM, what is lacking */
};

struct peer_msg {
    enum peer_type type;
    struct bytes payload;
    const struct bytes *more; /* encoding only, as in local_msg: further parts of the payload of a
                                 RUN, each 64-aligned in it */
    size_t more_count;
    union {
        struct peer_job job;
        struct peer_job_end job_end;
        struct peer_class class_;
        struct peer_class_end class_end;
        struct peer_ask ask;
        struct peer_slots slots; /* GRANT, RETURN */
        struct peer_run run;
        struct peer_stop_run stop;
        struct peer_runs runs; /* RECORDED, STARTED, ARGS_FREE */
        struct peer_back_run back;
        struct peer_result result;
        struct peer_job_broken job_broken;
        struct peer_log log;
        struct peer_logs logs;
        struct peer_program_get program_get;
        struct peer_program_part program_part;
        struct peer_add add;
        struct peer_ids ids; /* DROP, WANT */
        struct peer_added added;
        struct peer_value value;
        struct peer_cancel cancel;
        struct peer_job_ask job_ask;
        struct peer_lift lift;
        struct peer_look look;
        struct peer_seen seen;
    };
};

/* Bytes that peer_encode will write: exact. */
size_t peer_size(const struct peer_msg *m);
/* Writes exactly peer_size(m) bytes to `dst` (8-aligned). */
void peer_encode(const struct peer_msg *m, void *dst);
/* Decodes and checks: known type, sizes, counts, sums (references of returns, sizes within the
 * payload). Points into `data` and `arena`. 0, or -EPROTO with a reason in *ret_why (static text).
 */
int peer_decode(struct bytes data, struct arena *arena, struct peer_msg *ret,
                const char **ret_why) MUST_CHECK;

#endif
