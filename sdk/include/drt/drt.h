/*
 * drt.h - run C functions anywhere in a cluster.
 *
 * A task is a call of a C function that may run in another process, on this machine or on another.
 * drt_submit() starts a task, and returns a reference to its result. A drt_get function waits for
 * the result and reads it. A small program, and the words that are used below:
 *
 *     DRT_TASK(add, call, DRT_I64, DRT_I64)
 *     {
 *         return drt_return(call, drt_i64(drt_arg_i64(call, 0) + drt_arg_i64(call, 1)));
 *     }
 *     drt_init_or_exit();                                      first in main()
 *     struct drt_ref sum = drt_submit(add, drt_i64(1), drt_i64(2));
 *     drt_check(drt_get_i64(sum, &value));
 *
 * - body: the function of a task. Bodies run in workers.
 * - worker: a process that drt starts from the file of your program, to run bodies.
 * - raylet: the daemon (drt-node) of a machine. It starts the workers, and keeps the results.
 * - node: one machine of the cluster, with its raylet. The head (drt-head) knows all nodes.
 * - driver: the process that you started, in contrast to the workers.
 * - job: everything that one driver submits, from drt_init() to its end.
 * - object: a value that a raylet keeps: the result of a task, or what drt_put() stored.
 * - settled: a reference is settled when its object has a value or an error. It stays settled.
 *
 * A function that can fail returns an int: 0, a positive code of enum drt_code, or -errno for
 * misuse and for errors of the system. drt_last_error() then returns a sentence about it. Before
 * drt_init() and after drt_shutdown(), calls return -ENOTCONN, or an empty value. After fork(), in
 * the child, they return -ECHILD, or an empty value (docs/sdk/process.md). Every function can be
 * called from any thread. drt installs no signal handlers. Names that end in an underscore are
 * internal, and are defined in drt/detail.h.
 */
#ifndef DRT_H
#define DRT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The layout of the structs can change until version 1.0. */
#define DRT_VERSION_MAJOR 0
#define DRT_VERSION_MINOR 1

#include "drt/detail.h"
#pragma GCC system_header

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1. basic types ---- */

/* A reference to one object, which exists or will exist. It can be copied like a number; all copies
 * are the same reference. A reference of zeros is empty: it refers to no object, and messages call
 * it "none". Section 6 explains how long an object lives. */
struct drt_ref {
    uint64_t opaque_[2];
};

struct drt_call; /* the call that a body executes; valid until the body returns */

/* A view of memory. It does not own the memory. `size` is in bytes. */
struct drt_bytes {
    const void *data;
    size_t size;
};

/* A span of time, for example drt_ms(5) or drt_seconds(0.5). A number without a unit does not
 * compile. {0} and drt_forever() mean no limit, or the default of a field that has one. drt_ms(0)
 * is a span of length zero. */
struct drt_span {
    __extension__ union {
        const struct drt_a_number_is_no_time_use_drt_ms_or_drt_seconds *no_number_;
        uint64_t ns_plus_1_;
    };
#ifdef __cplusplus
    drt_span() = default;
    drt_span(int) = delete;    /* use drt_ms(5) or drt_seconds(5) */
    drt_span(double) = delete; /* use drt_seconds(0.5) */
#endif
};

static inline struct drt_span drt_ns(uint64_t ns)
{
    struct drt_span s;
    s.ns_plus_1_ = ns == UINT64_MAX ? 0 : ns + 1;
    return s;
}

static inline struct drt_span drt_ms(uint64_t ms)
{
    return drt_ns(ms > UINT64_MAX / 1000000u ? UINT64_MAX : ms * 1000000u);
}

static inline struct drt_span drt_seconds(double s) /* negative: length zero */
{
    return drt_ns(s >= 1.8e10 ? UINT64_MAX : s > 0 ? (uint64_t)(s * 1e9) : 0);
}

static inline struct drt_span drt_forever(void)
{
    return drt_ns(UINT64_MAX);
}

/* ---- 2. errors ---- */

/* Numbers that are not listed are reserved. */
enum drt_code DRT_INT_ {
    DRT_OK = 0,
    DRT_E_TIMEOUT = 1, /* The time limit of this call has passed. The task continues. */
    DRT_E_DONE = 2,    /* There is nothing to wait for, or the task has already ended. */

    /* Why a task has no result. */
    DRT_E_FAILED = 10,      /* The body returned an error: see app_code and message. */
    DRT_E_CRASHED = 11,     /* A signal killed the worker: see signal. */
    DRT_E_EXITED = 12,      /* The body called exit: see exit_code. */
    DRT_E_MEMORY = 13,      /* The worker was stopped because it used too much memory. */
    DRT_E_DEADLINE = 15,    /* The task took longer than drt_options.timeout. */
    DRT_E_CANCELLED = 16,   /* The task was cancelled. */
    DRT_E_NODE_LOST = 17,   /* The node that ran the task was lost. */
    DRT_E_OBJECT_LOST = 18, /* The node that kept the object was lost. */
    DRT_E_PROGRAM = 20,     /* The program does not start on that node: see message. */
    DRT_E_UNKNOWN = 21,     /* An at_most_once task was lost. It is unknown whether it ran. */
    DRT_E_UNREACHABLE = 22, /* The node that owns the task or object does not answer. */
    DRT_E_CYCLE = 23,       /* Tasks wait for each other. The message names them. */
    DRT_E_OWNER_LOST = 24,  /* The node that owned the task or object is lost. */

    /* Why a request was refused. */
    DRT_E_SIGNATURE = 30,  /* Wrong number or kinds of arguments, or wrong kind of a value read. */
    DRT_E_IMPOSSIBLE = 31, /* No node of the cluster can ever satisfy the request. */
    DRT_E_FULL = 32,       /* A store or queue is at its limit, or no worker could be started. */
    DRT_E_EXISTS = 33,     /* A name is used twice, or several clusters run and none was named. */
    DRT_E_NOT_FOUND = 34,  /* There is no such cluster, or no such task. */
    DRT_E_TOO_LARGE = 35,  /* A value is above 1 MiB, or there are too many arguments. */
    DRT_E_TOO_DEEP = 36,   /* Tasks that submit tasks are nested too deeply. */

    DRT_E_DISCONNECTED = 40, /* The raylet is gone, for the rest of this process's life. */
    DRT_E_REFUSED = 41       /* The cluster refused this process. */
};

/* Describes one failure. The struct owns its strings. A task that needs the result of a failed task
 * fails with the same error: `code`, `task` and `node` then still describe the first failure. */
struct drt_error {
    int32_t code;      /* enum drt_code, or -errno */
    int32_t app_code;  /* DRT_E_FAILED: the number that the body gave to drt_fail */
    int32_t signal;    /* DRT_E_CRASHED: the signal */
    int32_t exit_code; /* DRT_E_EXITED: the exit status */
    uint32_t attempts; /* how many times the task was tried */
    uint32_t depth;    /* how many tasks are between the first failure and this reference */
    char task[64];     /* the function that failed first */
    char node[64];     /* the node on which it failed */
    char message[512]; /* a sentence that says what happened and what to do */
};

/* The sentence about the last call of this thread that failed, or ""; never NULL. It is valid until
 * the next call of drt in this thread. */
DRT_API const char *drt_last_error(void);
/* The name of a code: "DRT_E_TIMEOUT", or "ENOMEM" for ENOMEM and -ENOMEM; never NULL. */
DRT_API const char *drt_code_name(int code);
/* For examples and small tools: unless rc is 0, it prints the place in the source and the sentence
 * on standard error, and calls exit(1). */
#define drt_check(rc) drt_check_((rc), __FILE__, __LINE__, #rc)

/* ---- 3. start and stop ---- */

enum drt_mode DRT_INT_ {
    DRT_MODE_AUTO = 0,    /* as $DRT_MODE says; else CLUSTER if a raylet runs here, or LOCAL */
    DRT_MODE_CLUSTER = 1, /* the raylet of this machine */
    DRT_MODE_LOCAL = 2,   /* a private cluster on this machine; it ends with this program */
    DRT_MODE_SYNC = 3     /* this process: drt_submit runs the body before it returns */
};

/* Whether this program prints what its tasks print, on any node. */
enum drt_logs DRT_INT_ {
    DRT_LOGS_AUTO = 0, /* as $DRT_LOGS says (0 or 1); else only with a private cluster */
    DRT_LOGS_ON = 1,   /* yes: on its own standard output and standard error */
    DRT_LOGS_OFF = 2   /* no: see 'drt logs'; the logs of a private cluster end with it */
};

/* A field that is zero or NULL has its default. */
struct drt_config {
    int32_t mode DRT_ZERO_; /* enum drt_mode */
    /* The cluster: its name, its directory, or the address host:port of its head. The default is
     * $DRT_CLUSTER or $DRT_DIR, else the only cluster that runs on this machine. With host:port
     * this program starts a raylet of its own, without CPUs, which ends with the program. */
    const char *cluster DRT_ZERO_;
    const char *job_name DRT_ZERO_;    /* default: the name of the program */
    double num_cpus DRT_ZERO_;         /* of a private cluster, e.g. 1.5; default: all CPUs */
    struct drt_span timeout DRT_ZERO_; /* to find or start the cluster; default: 10 s */
    int32_t logs DRT_ZERO_;            /* enum drt_logs */
    /* For host:port, the path of the cluster's join.key. The default is $DRT_KEY_FILE, else
     * ./join.key, else a key file in ~/.drt that belongs to this address. */
    const char *key_file DRT_ZERO_;
    struct drt_bytes job_config DRT_ZERO_; /* what drt_job_config() returns; at most 1 MiB */
};

/* int drt_init(const struct drt_config *config)
 * Connects this process to a cluster, or starts a private one. Blocks for at most config.timeout.
 * config can be NULL; DRT_CONFIG(.field = ...) creates one in place. Its strings are needed only
 * here. Call it first in main(): in a worker it does not return, but runs tasks until the worker
 * ends. It returns 0, or DRT_E_NOT_FOUND (there is no cluster), DRT_E_EXISTS (two tasks have the
 * same name, or several clusters run and none was named), DRT_E_TIMEOUT, DRT_E_REFUSED,
 * DRT_E_PROGRAM (a private cluster could not start), -EALREADY (it was called before), or another
 * -errno. */
#define drt_init(config)                                                                           \
    drt_init_((config), sizeof(struct drt_config), DRT_VERSION_MAJOR * 1000 + DRT_VERSION_MINOR)
#define drt_init_or_exit()                                                                         \
    drt_check_(drt_init((const struct drt_config *)0), __FILE__, __LINE__, "drt_init")

/* A worker runs the code of main() before drt_init, but not the code after it. A variable that
 * main() sets after drt_init therefore has its initial value in a body. The command line and
 * drt_config.job_config reach all workers of the job, on every node and in every mode:
 *
 * The command line of the driver. It ends with NULL; ret_argc can be NULL. Before drt_init the
 * function returns NULL. The results of both functions are valid until the next drt_init. */
DRT_API const char *const *drt_argv(int *ret_argc);
/* The bytes of drt_config.job_config, aligned to 8 bytes; an empty view if there are none. */
DRT_API struct drt_bytes drt_job_config(void);

/* Ends the job: releases all references, and cancels the tasks that still run. Blocks briefly,
 * until their output has arrived. drt_init can then be called again, and begins a new job. Does
 * nothing before drt_init and in a body. A program that exits with status 0 without it also ends
 * its job as done; after another status or a signal, the job counts as failed. */
DRT_API void drt_shutdown(void);
DRT_API int drt_current_mode(void); /* the enum drt_mode in use; DRT_MODE_AUTO before drt_init */
/* All calls of this process that wait now return -EINTR. The tasks continue. This is the only
 * function of drt that a signal handler can call at any time. */
DRT_API void drt_interrupt(void);

/* ---- 4. values: what a task receives and returns ---- */

/* A struct drt_value is an argument or a result. It is passed by value, and is created only by the
 * functions below. The data that it points to must stay valid until the call that receives the
 * value returns: that call copies the data. A value has at most 1 MiB. All arguments of a task
 * together, including the values of drt_of, have at most 4 MiB, and so have all its results. */

enum drt_kind DRT_INT_ {
    DRT_I64 = 1,      /* int64_t */
    DRT_F64 = 2,      /* double */
    DRT_STR = 3,      /* text that ends with a zero byte */
    DRT_BYTES = 4,    /* any bytes */
    DRT_RECORDS = 5,  /* one or more structs of one type */
    DRT_OF = 6,       /* the value of an object; it can be passed for any kind */
    DRT_REF = 7,      /* a reference */
    DRT_NOTHING = 11, /* no data */
    DRT_ANY = 15      /* only in DRT_TASK: an argument of any kind */
};

static inline struct drt_value drt_nothing(void)
{
    return drt_make_(DRT_NOTHING, NULL, 0);
}

static inline struct drt_value drt_i64(int64_t x)
{
    struct drt_value v = drt_make_(DRT_I64, NULL, 8);
    v.u_.i = x;
    return v;
}

static inline struct drt_value drt_f64(double x)
{
    struct drt_value v = drt_make_(DRT_F64, NULL, 8);
    v.u_.f = x;
    return v;
}

/* Text up to its zero byte. NULL is an error of the call that receives the value. */
static inline struct drt_value drt_str(const char *s)
{
    return drt_make_(DRT_STR, s, 0);
}

static inline struct drt_value drt_bytes(const void *data, size_t size)
{
    return drt_make_(DRT_BYTES, data, size);
}

/* The value of an object: the task starts when it exists, or fails with the object's error. */
static inline struct drt_value drt_of(struct drt_ref ref)
{
    struct drt_value v = drt_make_(DRT_OF, NULL, 0);
    v.u_.h[0] = ref.opaque_[0];
    v.u_.h[1] = ref.opaque_[1];
    return v;
}

/* The same, and ends the caller's hold: *ref becomes empty, even if the call is refused. */
static inline struct drt_value drt_give(struct drt_ref *ref)
{
    struct drt_value v = drt_of(*ref);
    v.count_ = 1;
    ref->opaque_[0] = 0;
    ref->opaque_[1] = 0;
    return v;
}

/* The reference itself: the task does not wait for the object. It uses drt_arg_ref to read it. */
static inline struct drt_value drt_ref_itself(struct drt_ref ref)
{
    struct drt_value v = drt_of(ref);
    v.kind_ = DRT_REF;
    return v;
}

/* One record of type T, or an array of n. T must be trivially copyable, without pointers. A reader
 * must use the same spelling of the type's name, and the same size. */
#define DRT_RECORD(T, ptr)   drt_records_(#T, DRT_FLAT_(T), DRT_IN_(T, ptr), 1)
#define DRT_ARRAY(T, ptr, n) drt_records_(#T, DRT_FLAT_(T), DRT_IN_(T, ptr), (n))

/* ---- 5. tasks ---- */

typedef int drt_task_fn(struct drt_call *call);

/* DRT_TASK(name, call, kinds...) { body }
 * Defines a task: a function that can run on any node. `call` is the name of the body's parameter,
 * a struct drt_call *. The kinds are those of the arguments, for example DRT_STR, DRT_I64. The last
 * can be DRT_REST(kind), for any number of arguments of this kind. There are at most 64 kinds; with
 * no kinds the task has no arguments. drt_submit refuses values that do not fit.
 * "static DRT_TASK(...)" makes the name local to the file. DRT_DECLARE_TASK(name, kinds...);
 * declares a task in a header. Within a program no two tasks can have the same name.
 * The body returns what drt_return or drt_fail returned, or 0. Another number is a failure with
 * this number as its app_code.
 * A worker runs many bodies, one after the other. Before each body drt restores the working
 * directory, umask, standard descriptors, signal mask, environment and similar settings that the
 * driver had at drt_init. Memory and open files stay as they are (docs/sdk/process.md). */
#define DRT_TASK(...)                                                                              \
    DRT_TASK_1_(DRT_FIRST_(__VA_ARGS__, 0), DRT_SECOND_(__VA_ARGS__, 0), DRT_REST_(__VA_ARGS__, 0))
#define DRT_DECLARE_TASK(...)                                                                      \
    DRT_DECLARE_1_(drt_task_fn, DRT_FIRST_(__VA_ARGS__, 0), __VA_ARGS__, 0)
#define DRT_REST(kind) ((kind) | 0x80)

/* Reading arguments. Indexes begin at 0. An argument that was passed as drt_of(ref) is read as the
 * value of the object. Pointers and views are read-only, and valid until the body returns. Bytes
 * and records are aligned to 8 bytes, and to 64 bytes if they have 64 bytes or more. If the index
 * or the kind is wrong, the function returns zeros, "", NULL, or an empty view or reference, and
 * the task fails with DRT_E_SIGNATURE. These functions do not block. */
DRT_API size_t drt_arg_count(const struct drt_call *call);
DRT_API int drt_arg_kind(const struct drt_call *call, size_t index); /* enum drt_kind, or 0 */
DRT_API int64_t drt_arg_i64(struct drt_call *call, size_t index);
DRT_API double drt_arg_f64(struct drt_call *call, size_t index);
DRT_API const char *drt_arg_str(struct drt_call *call, size_t index);
DRT_API struct drt_bytes drt_arg_bytes(struct drt_call *call, size_t index);
/* The reference that was passed with drt_ref_itself, and those inside the value of a drt_of
 * argument (see drt_inner). They are held until the body returns. */
DRT_API struct drt_ref drt_arg_ref(struct drt_call *call, size_t index);
DRT_API size_t drt_arg_inner_count(const struct drt_call *call, size_t index);
DRT_API struct drt_ref drt_arg_inner(struct drt_call *call, size_t index, size_t inner);
/* const T *DRT_ARG_RECORD(call, index, T): the first record.
 * const T *DRT_ARG_ARRAY(call, index, T, size_t *ret_count): all records. */
#define DRT_ARG_RECORD(call, index, T)                                                             \
    DRT_CAST_(const T *, drt_arg_records_((call), (index), #T, DRT_FLAT_(T), NULL))
#define DRT_ARG_ARRAY(call, index, T, ret_count)                                                   \
    DRT_CAST_(const T *, drt_arg_records_((call), (index), #T, DRT_FLAT_(T), (ret_count)))

/* Returning results. Each int function returns the number that the body must return. Values are
 * copied. With drt_of(ref) as the value, the result of that task becomes the result of this one.
 * A task with one result that sets none returns drt_nothing(). If a task with several results does
 * not set one of them, reading that one is DRT_E_SIGNATURE. A value or results that are too large
 * are DRT_E_TOO_LARGE to their readers. These functions do not wait for other tasks. */
DRT_API int drt_return(struct drt_call *call, struct drt_value value); /* the first result */
DRT_API int drt_return_at(struct drt_call *call, size_t index, struct drt_value value);
/* A result that contains `count` references (see drt_put_holding). */
DRT_API int drt_return_holding(struct drt_call *call, size_t index, struct drt_value value,
                               const struct drt_ref *inner, size_t count);
/* Creates a result of `size` bytes, filled with zeros and aligned like a view. The body writes the
 * result into it. NULL if the result is too large or the index is wrong: return 0 then. */
DRT_API void *drt_return_create(struct drt_call *call, size_t index, size_t size);
/* T *DRT_RETURN_ARRAY(call, index, T, count): the same for `count` records of type T. */
#define DRT_RETURN_ARRAY(call, index, T, count)                                                    \
    DRT_CAST_(T *, drt_return_records_((call), (index), #T, DRT_FLAT_(T), (count)))
/* Ends the task with DRT_E_FAILED, app_code, and a sentence of at most 511 characters. */
DRT_API int drt_fail(struct drt_call *call, int app_code, const char *format, ...)
    DRT_PRINTF_(3, 4);
/* Whether the body should stop: the task was cancelled, or its time limit has passed. A long body
 * should check this from time to time, and return. */
DRT_API bool drt_cancelled(const struct drt_call *call);
DRT_API uint32_t drt_attempt(const struct drt_call *call); /* the number of this attempt: 1, 2 */

/* An amount of a custom resource of a node, for example {"tape", 2}. */
struct drt_resource {
    const char *name;
    double amount;
};

#define DRT_NO_CPU (-1.0)

/* On which node a task runs. Only nodes that can satisfy its request are considered. */
enum drt_strategy DRT_INT_ {
    DRT_DEFAULT = 0,       /* this node while it has room, else another node that has room */
    DRT_SPREAD = 1,        /* evenly over all nodes */
    DRT_LOAD_BALANCED = 2, /* the least loaded node with room; if none has, the first to be free */
    DRT_NODE_SPECIFIC = 3  /* the node that `node` names, or one that has all `labels` */
};

/* The options of a task. A field that is not set is zero, and has its default. Where zero itself is
 * useful there is another way to write it: DRT_NO_CPU for no CPU, drt_ms(0) for no time. */
struct drt_options {
    const char *name DRT_ZERO_;      /* shown in lists of tasks; need not be unique */
    double num_cpus DRT_ZERO_;       /* for example 0.5; default: 1; DRT_NO_CPU: no CPU */
    uint64_t memory_bytes DRT_ZERO_; /* reserved on the node; not enforced as a limit */
    const struct drt_resource *resources DRT_ZERO_; /* DRT_RESOURCES(...); ends with a NULL name */
    bool retry_on_error DRT_ZERO_;     /* retry also when the body itself returned an error */
    bool at_most_once DRT_ZERO_;       /* never start the task twice, even if its node is lost */
    int32_t priority DRT_ZERO_;        /* higher first; tasks for which it waits inherit it */
    uint32_t max_attempts DRT_ZERO_;   /* default: 4; 1: no retry */
    struct drt_span backoff DRT_ZERO_; /* before the first retry, then doubled; default: 100 ms */
    struct drt_span timeout DRT_ZERO_; /* from submit to result, with all attempts; default: no
                                          limit; tasks that it submits have at most the rest */
    int32_t strategy DRT_ZERO_;        /* enum drt_strategy; without effect in sync mode */
    bool soft DRT_ZERO_;               /* DRT_NODE_SPECIFIC: if there is none, use another */
    const char *node DRT_ZERO_;        /* DRT_NODE_SPECIFIC: its id, name or address */
    const char *labels DRT_ZERO_;      /* DRT_NODE_SPECIFIC: all of these: "disk=ssd,zone=b" */
};

/* struct drt_ref drt_submit(task, values..., DRT_WITH(.field = ...))
 * Submits a task and returns a reference to its result. It does not report errors: if something is
 * wrong, a get on the reference returns the error. The values are copied. It does not wait for the
 * task; it blocks only while the queues are full. DRT_WITH sets struct drt_options, and is
 * optional; in C++ its fields must be in the order of the struct. There can be 62 values. */
#define drt_submit(...) DRT_SUBMIT_(DRT_FIRST_(__VA_ARGS__, 0), __VA_ARGS__)
DRT_API struct drt_ref drt_submit_(drt_task_fn *task, const char *name,
                                   const struct drt_value *values);
/* void drt_submit_into(struct drt_ref *refs, size_t count, task, values..., DRT_WITH(...))
 * The same for a task with `count` results, 1 to 4,096. It sets refs[0] to refs[count - 1]. */
#define drt_submit_into(refs, count, ...)                                                          \
    DRT_INTO_(refs, count, DRT_FIRST_(__VA_ARGS__, 0), __VA_ARGS__)
/* struct drt_ref drt_submit_array(drt_task_fn *task, const struct drt_value *values, size_t count)
 * The same with at most 16,384 values from an array. `task` can be a pointer to a task. The last
 * value can be drt_with(&options). */
#define drt_submit_array(task, values, count) drt_submit_array_((task), #task, (values), (count))
DRT_API struct drt_ref drt_submit_array_(drt_task_fn *task, const char *name,
                                         const struct drt_value *values, size_t count);

#define DRT_WITH(...)     drt_with(DRT_STRICTLY_(drt_options, __VA_ARGS__))
#define drt_with(options) drt_options_((options), sizeof(struct drt_options))
/* Pointers to new structs: DRT_OPTIONS(.name = "x"), DRT_RESOURCES({"disk", 1}, {"tape", 2}). They
 * are valid until the end of the enclosing block in C, and of the statement in C++. */
#define DRT_OPTIONS(...)   DRT_UNNAMED_(drt_options, __VA_ARGS__)
#define DRT_CONFIG(...)    DRT_STRICTLY_(drt_config, __VA_ARGS__)
#define DRT_MAP_WITH(...)  DRT_STRICTLY_(drt_map_options, __VA_ARGS__)
#define DRT_RESOURCES(...) DRT_RESOURCES_(__VA_ARGS__)

/* ---- 6. references ---- */

/* A reference that a function returns is held: its object is kept until the hold ends. A hold ends
 * with drt_release, drt_give, or the end of its scope. Copies of the struct share one hold. An
 * object is freed when nobody holds it and no task needs it. A call with a reference that was
 * released returns -EBADF.
 * A reference is valid only in its process. If its bytes are copied into a value, the receiver
 * cannot use them. Pass it with drt_of, drt_give, drt_ref_itself, drt_put_holding or
 * drt_return_holding. */

/* DRT_SCOPE { ... } releases, at its end, the references that this thread received inside, also
 * when the block is left by return, break or goto. A body is a scope. References that a thread
 * receives outside all scopes are held until they are released or the process ends. */
#define DRT_SCOPE DRT_SCOPE_(DRT_NEW_NAME_(drt_scope_now_), DRT_NEW_NAME_(drt_scope_once_))
DRT_API struct drt_ref drt_keep(struct drt_ref ref);  /* moves the hold to the enclosing scope */
DRT_API struct drt_ref drt_share(struct drt_ref ref); /* returns a second, separate hold */
/* Ends the hold; the reference becomes empty. Nothing happens if it is empty already. */
DRT_API void drt_release(struct drt_ref *ref);
DRT_API void drt_release_all(struct drt_ref *refs, size_t count);

static inline bool drt_is_none(struct drt_ref ref)
{
    return (ref.opaque_[0] | ref.opaque_[1]) == 0;
}

/* Stores a copy of the value as a new object. The value cannot be drt_of. A get on the
 * reference returns errors. drt_put blocks only while the queues are full. */
DRT_API struct drt_ref drt_put(struct drt_value value);
/* The same, for a value that contains `count` references, at most 16,384. Their objects live as
 * long as the new one. Whoever has its value can read them with drt_inner or drt_arg_inner. Each
 * reference counts as 16 bytes of the value. The caller's own holds do not change. */
DRT_API struct drt_ref drt_put_holding(struct drt_value value, const struct drt_ref *inner,
                                       size_t count);
/* Returns a reference that is inside the value of `outer`, with a hold of its own: it stays valid
 * when `outer` is released. drt_put_holding and drt_return_holding store any number of references
 * in a value; drt_put and drt_return of drt_ref_itself(r) store one. Both functions block until
 * `outer` is settled. A get on the new reference returns the errors of the first. */
DRT_API struct drt_ref drt_inner(struct drt_ref outer, size_t index);
DRT_API int drt_inner_count(struct drt_ref outer, size_t *ret_count) DRT_CHECKED_;

/* Reading a value. These functions block until `ref` is settled, without a time limit; drt_await
 * has one. They return 0, the error of the task, DRT_E_SIGNATURE if the value is of another kind,
 * DRT_E_DISCONNECTED, or -errno. Text, bytes and arrays are views: read-only, aligned to 8 bytes
 * (to 64 bytes if they have 64 bytes or more), and valid as long as the reference is held. */
DRT_API int drt_get_i64(struct drt_ref ref, int64_t *ret) DRT_CHECKED_;
DRT_API int drt_get_f64(struct drt_ref ref, double *ret) DRT_CHECKED_;
DRT_API int drt_get_str(struct drt_ref ref, const char **ret) DRT_CHECKED_;
DRT_API int drt_get_bytes(struct drt_ref ref, struct drt_bytes *ret) DRT_CHECKED_;
/* int DRT_GET_ARRAY(ref, T, const T **view, size_t *count): a view of all records.
 * int DRT_GET_RECORD(ref, T, T *out): a copy of the record; there must be exactly one. */
#define DRT_GET_ARRAY(ref, T, view, count)                                                         \
    drt_get_records_((ref), #T, DRT_FLAT_(T), DRT_VIEW_(T, view), (count))
#define DRT_GET_RECORD(ref, T, out) drt_get_record_((ref), #T, DRT_FLAT_(T), DRT_OUT_(T, out))
DRT_API int drt_get_nothing(struct drt_ref ref) DRT_CHECKED_; /* only whether it succeeded */
/* int drt_error_of(struct drt_ref ref, struct drt_error *ret)
 * The same as drt_get_nothing; *ret then describes the error, and is all zeros if there is none. */
#define drt_error_of(ref, ret) drt_get_error_((ref), (ret), sizeof(struct drt_error))
/* The enum drt_kind of the value; 0 if there is no value (yet). It does not wait for the task, but
 * may have to read a large value that is there. */
DRT_API int drt_kind_of(struct drt_ref ref);

/* Waits until `ref` is settled: a get does not wait for the task any more. Returns 0, also if the
 * task failed; DRT_E_TIMEOUT when the limit has passed; or -errno. drt_ms(0) only looks. */
DRT_API int drt_await(struct drt_ref ref, struct drt_span limit) DRT_CHECKED_;
/* Waits until at least k of the `count` references are settled. ready[i] becomes whether refs[i] is
 * settled, and *ret_ready how many are; each of the two can be NULL. Empty references are skipped;
 * -EINVAL if k is larger than the number of the others. Returns 0, or DRT_E_TIMEOUT if fewer than k
 * are settled within the limit; the outputs are set in both cases; or -errno. */
DRT_API int drt_wait(const struct drt_ref *refs, size_t count, size_t k, struct drt_span limit,
                     bool *ready, size_t *ret_ready) DRT_CHECKED_;
/* Waits until a reference of the array is settled, and sets *ret_index to its index. To get the
 * next one, release this one, so that it becomes empty, and call again. Returns 0, DRT_E_TIMEOUT,
 * DRT_E_DONE when all references are empty, or -errno. */
DRT_API int drt_wait_any(const struct drt_ref *refs, size_t count, struct drt_span limit,
                         size_t *ret_index) DRT_CHECKED_;

enum drt_cancel DRT_INT_ {
    DRT_CANCEL_ASK = 0,      /* drt_cancelled() returns true in the body */
    DRT_CANCEL_FORCE = 1,    /* the worker is killed */
    DRT_CANCEL_RECURSIVE = 2 /* also what the task submitted; can be combined with FORCE by | */
};
/* The task ends with DRT_E_CANCELLED at once; its CPUs and other resources are free when the body
 * has returned. Blocks until the raylet answers. Returns 0; DRT_E_DONE if the task had already
 * ended, where FORCE still kills a body that continues after a cancel or a time limit;
 * DRT_E_UNREACHABLE if the node on which the task was submitted does not answer now;
 * DRT_E_NOT_FOUND if the raylet no longer knows the task; DRT_E_DISCONNECTED; or -errno. */
DRT_API int drt_cancel(struct drt_ref ref, int flags);

/* ---- 7. many tasks at once ---- */

/* These functions submit many tasks, and block until all have ended. They return 0, the error of
 * the first failed task in the order of `refs`, DRT_E_TIMEOUT, or -errno. They set `count` entries
 * of `refs`, which the caller holds. `options` is NULL, or DRT_MAP_WITH(.field = ...). */
struct drt_map_options {
    uint32_t max_running DRT_ZERO_;    /* how many are submitted at a time; default: all */
    bool stop_on_error DRT_ZERO_;      /* after the first error, cancel the others */
    struct drt_span timeout DRT_ZERO_; /* of the whole call, which then cancels the others and
                                          returns DRT_E_TIMEOUT; default: no limit */
    const struct drt_options *each DRT_ZERO_; /* the options of each task */
};

/* int drt_parallel_map(task, const struct drt_value *items, size_t count, struct drt_ref *refs,
 *                      const struct drt_map_options *options): one task for each item */
#define drt_parallel_map(task, items, count, refs, options)                                        \
    drt_map_((task), #task, (items), 1, (count), (refs), (options),                                \
             sizeof(struct drt_map_options), sizeof(struct drt_options))
/* int drt_starmap(task, const struct drt_value *rows, size_t columns, size_t count,
 *                 struct drt_ref *refs, const struct drt_map_options *options)
 * One task for each row: `rows` has count * columns values, row after row. */
#define drt_starmap(task, rows, columns, count, refs, options)                                     \
    drt_map_((task), #task, (rows), (columns), (count), (refs), (options),                         \
             sizeof(struct drt_map_options), sizeof(struct drt_options))

/* One task of drt_scatter_gather, created by DRT_WORK(task, values..., DRT_WITH(...)) with up to
 * seven values. The data of the values must stay valid until drt_scatter_gather returns. */
struct drt_work {
    drt_task_fn *task;
    const char *name;
    struct drt_value values[8];
};
#define DRT_WORK(...) DRT_WORK_1_(DRT_FIRST_(__VA_ARGS__, 0), __VA_ARGS__)
/* int drt_scatter_gather(const struct drt_work *work, size_t count, struct drt_ref *refs,
 *                        const struct drt_map_options *options): one task for each element */
#define drt_scatter_gather(work, count, refs, options)                                             \
    drt_scatter_gather_((work), (count), (refs), (options), sizeof(struct drt_map_options),        \
                        sizeof(struct drt_options))

/* ---- 8. the cluster ---- */

struct drt_node {
    char id[40], name[64], address[64]; /* the id is never used again; the address is host:port */
    bool alive;                         /* whether it accepts tasks */
    double cpus_total, cpus_available;
    uint64_t memory_total_bytes, memory_available_bytes;
};

/* int drt_nodes(struct drt_node *ret, size_t capacity, size_t *ret_count)
 * Fills at most `capacity` entries of `ret`, and sets *ret_count to the number of nodes, which can
 * be larger. With capacity 0, `ret` can be NULL. In sync mode there is one node, this process. It
 * blocks for at most 5 s. Returns 0, DRT_E_TIMEOUT, DRT_E_DISCONNECTED, or -errno. */
#define drt_nodes(ret, capacity, ret_count)                                                        \
    drt_nodes_((ret), (capacity), sizeof(struct drt_node), (ret_count))
/* The amount of a resource on all nodes that are alive: "CPU", "memory" (in bytes), or a custom
 * name. 0 if no node has it, or if there is no answer within 5 s. drt_available() is what is free,
 * as far as this node knows; this can be a second old. */
DRT_API double drt_total(const char *resource);
DRT_API double drt_available(const char *resource);
DRT_API bool drt_is_distributed(void); /* false in sync mode, and before drt_init */
/* The name of the node on which this process runs, also in a body; the host name in sync mode; ""
 * before drt_init. It is valid until drt_shutdown. */
DRT_API const char *drt_node_name(void);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* DRT_H */
