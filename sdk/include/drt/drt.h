/*
 * drt.h - run C functions anywhere in a cluster.
 *
 * Every function may be called from any thread. Nothing installs a signal handler. After fork()
 * each call in the child answers -ECHILD (docs/sdk/process.md, child processes). Functions that can
 * fail return 0, a positive DRT_E_* outcome, or -errno for misuse and environment; drt_last_error()
 * then holds one sentence for this thread. Names that end in an underscore are not for users;
 * drt/detail.h holds them.
 *
 * A program in five lines:
 *
 *     DRT_TASK(add, call, DRT_I64, DRT_I64)
 *     {
 *         return drt_return(call, drt_i64(drt_arg_i64(call, 0) + drt_arg_i64(call, 1)));
 *     }
 *     drt_init_or_exit();                                      first in main()
 *     struct drt_ref sum = drt_submit(add, drt_i64(1), drt_i64(2));
 *     drt_check(drt_get_i64(sum, &value));
 */
#ifndef DRT_H
#define DRT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0.x: the layout is promised from 1.0. */
#define DRT_VERSION_MAJOR 0
#define DRT_VERSION_MINOR 1

#include "drt/detail.h"
#pragma GCC system_header

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1. handles: small values; zero is none; equal bits are the same handle ---- */

/* Holds one object: a result that is, or will be, there. Section 6 says who holds what. */
struct drt_ref {
    uint64_t opaque_[2];
};

struct drt_call; /* the call being executed; lives as long as the body runs */

struct drt_bytes {
    const void *data;
    size_t size;
};

/* A span of time: drt_ms(5), drt_seconds(0.5). A bare number does not compile, so that nobody has
 * to guess what 5 means. Zeroed: not given. */
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

static inline struct drt_span drt_seconds(double s) /* below zero: zero */
{
    return drt_ns(s >= 1.8e10 ? UINT64_MAX : s > 0 ? (uint64_t)(s * 1e9) : 0);
}

static inline struct drt_span drt_forever(void)
{
    return drt_ns(UINT64_MAX);
}

/* ---- 2. errors ---- */

/* Numbers that are missing are reserved. */
enum drt_code DRT_INT_ {
    DRT_OK = 0,
    DRT_E_TIMEOUT = 1, /* the caller's own limit passed; the work goes on */
    DRT_E_DONE = 2,    /* nothing left to wait for, or settled before */

    /* why there is no result */
    DRT_E_FAILED = 10,   /* the function returned an error: see app_code and message */
    DRT_E_CRASHED = 11,  /* its worker was killed by a signal: see signal */
    DRT_E_EXITED = 12,   /* its worker called exit: see exit_code */
    DRT_E_MEMORY = 13,   /* its worker was stopped for its use of memory */
    DRT_E_DEADLINE = 15, /* it ran past options.timeout */
    DRT_E_CANCELLED = 16,
    DRT_E_NODE_LOST = 17,
    DRT_E_OBJECT_LOST = 18,
    DRT_E_PROGRAM = 20,     /* the program does not start on that node: message says why */
    DRT_E_UNKNOWN = 21,     /* at_most_once: whether it ran cannot be known */
    DRT_E_UNREACHABLE = 22, /* the node that owns it does not answer */
    DRT_E_CYCLE = 23,       /* tasks wait for each other; message names them */
    DRT_E_OWNER_LOST = 24,  /* the node that owned it is gone */

    /* why a request was refused */
    DRT_E_SIGNATURE = 30,  /* wrong number or kinds of arguments, or of a value read */
    DRT_E_IMPOSSIBLE = 31, /* no node of the cluster could ever satisfy the request */
    DRT_E_FULL = 32,       /* store or queue at its bound */
    DRT_E_EXISTS = 33,
    DRT_E_NOT_FOUND = 34,
    DRT_E_TOO_LARGE = 35, /* a value above 1 MiB, or more arguments than fit */
    DRT_E_TOO_DEEP = 36,  /* tasks that submit tasks are nested deeper than the node allows */

    DRT_E_DISCONNECTED = 40, /* the node's raylet is gone; for the rest of this process's life */
    DRT_E_REFUSED = 41       /* the cluster refused this process */
};

/* The whole story of one failure. Strings are owned by the struct. */
struct drt_error {
    int32_t code;      /* enum drt_code; the root's, however many tasks it passed through */
    int32_t app_code;  /* DRT_E_FAILED: the number given to drt_fail */
    int32_t signal;    /* DRT_E_CRASHED */
    int32_t exit_code; /* DRT_E_EXITED */
    uint32_t attempts; /* how often it was tried */
    uint32_t depth;    /* tasks between the root and the one asked about */
    char task[64];     /* function that failed first */
    char node[64];     /* where */
    char message[512]; /* a sentence that says what to do */
};

/* Of this thread; "" if none; valid until its next drt call. */
DRT_API const char *drt_last_error(void);
/* "DRT_E_TIMEOUT", "ENOMEM" (also for the negative). Never NULL. */
DRT_API const char *drt_code_name(int code);
/* For examples and tools: print the sentence with its place and exit(1) unless rc is 0. */
#define drt_check(rc) drt_check_((rc), __FILE__, __LINE__, #rc)

/* ---- 3. start and stop ---- */

enum drt_mode DRT_INT_ {
    DRT_MODE_AUTO = 0,    /* $DRT_MODE, else this machine's raylet, else LOCAL */
    DRT_MODE_CLUSTER = 1, /* this machine's raylet */
    DRT_MODE_LOCAL = 2,   /* a private cluster that lives as long as this program */
    DRT_MODE_SYNC = 3     /* in this process, in sequence, at submit: breakpoints work */
};

enum drt_logs DRT_INT_ {
    DRT_LOGS_AUTO = 0, /* $DRT_LOGS (0 or 1), else on with a private cluster and off with others */
    DRT_LOGS_ON = 1,   /* what tasks print, wherever they run, comes to this program's own output */
    DRT_LOGS_OFF = 2   /* only 'drt logs' has it; with a private cluster nobody has */
};

struct drt_config {
    int32_t mode DRT_ZERO_; /* enum drt_mode */
    /* name, directory or the head's host:port; NULL: $DRT_CLUSTER, else the only one here. With
     * host:port this program joins it by a raylet of its own, without CPUs, as long as it lives. */
    const char *cluster DRT_ZERO_;
    const char *job_name DRT_ZERO_;    /* NULL: the program's name */
    double num_cpus DRT_ZERO_;         /* LOCAL: 0: all; fractions are fine */
    struct drt_span timeout DRT_ZERO_; /* to find or start the cluster; not set: 10 s */
    int32_t logs DRT_ZERO_;            /* enum drt_logs */
    const char *key_file DRT_ZERO_; /* host:port: its join.key; NULL: $DRT_KEY_FILE, ./join.key */
    struct drt_bytes job_config DRT_ZERO_; /* for all workers: drt_job_config(); at most 1 MiB */
};

/*
 * int drt_init(const struct drt_config *config)
 * Call it first in main(): in a worker process it does not return, it serves. config may be NULL,
 * and DRT_CONFIG(.field = ...) makes one.
 * 0; DRT_E_NOT_FOUND (no cluster), DRT_E_TIMEOUT, DRT_E_REFUSED, DRT_E_EXISTS (two tasks of one
 * name, or several clusters); -EALREADY when called again; -EINVAL, -errno.
 */
#define drt_init(config)                                                                           \
    drt_init_((config), sizeof(struct drt_config), DRT_VERSION_MAJOR * 1000 + DRT_VERSION_MINOR)
#define drt_init_or_exit()                                                                         \
    drt_check_(drt_init((const struct drt_config *)0), __FILE__, __LINE__, "drt_init")

/*
 * Workers run what stands in main() before drt_init, and nothing behind it: of variables that are
 * set there a body sees the initial values. What all bodies shall know goes with the job, to its
 * workers on every node and in every mode:
 *
 * The command line of the program that called drt_init. Ends with NULL; valid until drt_init is
 * called again. NULL before drt_init.
 */
DRT_API const char *const *drt_argv(int *ret_argc);
/* The bytes of drt_config.job_config, 8-aligned; an empty view if none were given. */
DRT_API struct drt_bytes drt_job_config(void);

/* Releases all references; what this program still runs is cancelled. Fine before drt_init, which
 * may be called again afterwards: it begins a new job. A program that exits with status 0 without
 * it has done its job as well; with another status, or by a signal, its job has failed. */
DRT_API void drt_shutdown(void);
/* enum drt_mode; DRT_MODE_AUTO before drt_init. */
DRT_API int drt_current_mode(void);
/* Async-signal-safe: the calls of this process that are blocked now return -EINTR. */
DRT_API void drt_interrupt(void);

/* ---- 4. values: what goes into a call and comes out of it ---- */

/* struct drt_value is 40 bytes, passed by value, made by the functions below; what it points at is
 * borrowed until the call that it is given to returns. A value is at most 1 MiB; the arguments of a
 * task are at most 4 MiB together, with the values of drt_of, and so are its results. */

enum drt_kind DRT_INT_ {
    DRT_I64 = 1,
    DRT_F64 = 2,
    DRT_STR = 3,
    DRT_BYTES = 4,
    DRT_RECORDS = 5,
    DRT_OF = 6,  /* the value behind a reference; fits every kind where it is given */
    DRT_REF = 7, /* a reference itself */
    DRT_NOTHING = 11,
    DRT_ANY = 15 /* in a task's kinds only */
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

/* NULL is refused when it is used; the length is taken when the call is made. */
static inline struct drt_value drt_str(const char *s)
{
    return drt_make_(DRT_STR, s, 0);
}

static inline struct drt_value drt_bytes(const void *data, size_t size)
{
    return drt_make_(DRT_BYTES, data, size);
}

/* The value behind a reference: the call starts when it exists, and fails with its error. */
static inline struct drt_value drt_of(struct drt_ref ref)
{
    struct drt_value v = drt_make_(DRT_OF, NULL, 0);
    v.u_.h[0] = ref.opaque_[0];
    v.u_.h[1] = ref.opaque_[1];
    return v;
}

/* The same, and the caller's hold goes with it: *ref becomes none. */
static inline struct drt_value drt_give(struct drt_ref *ref)
{
    struct drt_value v = drt_of(*ref);
    v.count_ = 1;
    ref->opaque_[0] = 0;
    ref->opaque_[1] = 0;
    return v;
}

/* The reference itself, not waited for; the callee reads it with drt_arg_ref. */
static inline struct drt_value drt_ref_itself(struct drt_ref ref)
{
    struct drt_value v = drt_of(ref);
    v.kind_ = DRT_REF;
    return v;
}

/* Records: one or n trivially copyable T (no pointers inside). The type's name as it is spelled and
 * its size are checked where they are read. */
#define DRT_RECORD(T, ptr)   drt_records_(#T, DRT_FLAT_(T), DRT_IN_(T, ptr), 1)
#define DRT_ARRAY(T, ptr, n) drt_records_(#T, DRT_FLAT_(T), DRT_IN_(T, ptr), (n))

/* ---- 5. tasks ---- */

typedef int drt_task_fn(struct drt_call *call);

/*
 * DRT_TASK(name, call, kinds...) { body } defines a function that can run anywhere. The kinds say
 * what it takes (DRT_STR, DRT_I64, ..., DRT_ANY; the last may be DRT_REST(kind): any number of
 * them); a call that does not fit is refused where it is made. "static DRT_TASK(...)" keeps the
 * name in the file; in a header DRT_DECLARE_TASK(name, kinds...) declares it. Names are unique in a
 * program. The body returns what drt_return or drt_fail returned, or 0. A worker runs many bodies:
 * each begins with the directory, umask, standard descriptors, signal mask, environment and such
 * that the program had at drt_init; memory and open files stay (docs/sdk/process.md).
 */
#define DRT_TASK(...)                                                                              \
    DRT_TASK_1_(DRT_FIRST_(__VA_ARGS__, 0), DRT_SECOND_(__VA_ARGS__, 0), DRT_REST_(__VA_ARGS__, 0))
#define DRT_DECLARE_TASK(...)                                                                      \
    DRT_DECLARE_1_(drt_task_fn, DRT_FIRST_(__VA_ARGS__, 0), __VA_ARGS__, 0)
#define DRT_REST(kind) ((kind) | 0x80)

/* Reading arguments: the value itself; borrowed until the body returns; bytes and records are
 * 8-aligned, from 64 bytes on 64-aligned. A wrong index or kind returns 0, "" or an empty view and
 * makes the call fail with DRT_E_SIGNATURE (cannot happen where kinds were declared). */
DRT_API size_t drt_arg_count(const struct drt_call *call);
DRT_API int drt_arg_kind(const struct drt_call *call, size_t index); /* enum drt_kind; 0: no such */
DRT_API int64_t drt_arg_i64(struct drt_call *call, size_t index);
DRT_API double drt_arg_f64(struct drt_call *call, size_t index);
DRT_API const char *drt_arg_str(struct drt_call *call, size_t index);
DRT_API struct drt_bytes drt_arg_bytes(struct drt_call *call, size_t index);
DRT_API struct drt_ref drt_arg_ref(struct drt_call *call, size_t index); /* held by the body */
/* References inside the value of a DRT_OF argument, as drt_inner; held by the body. */
DRT_API size_t drt_arg_inner_count(const struct drt_call *call, size_t index);
DRT_API struct drt_ref drt_arg_inner(struct drt_call *call, size_t index, size_t inner);
#define DRT_ARG_RECORD(call, index, T)                                                             \
    DRT_CAST_(const T *, drt_arg_records_((call), (index), #T, DRT_FLAT_(T), NULL))
#define DRT_ARG_ARRAY(call, index, T, ret_count)                                                   \
    DRT_CAST_(const T *, drt_arg_records_((call), (index), #T, DRT_FLAT_(T), (ret_count)))

/* Answering. All return what the body should return. Values are copied before the call returns;
 * drt_of(ref) as a value means: that task's result is this one's. A task of one result that sets
 * none returns drt_nothing(); of several, one that is never set is DRT_E_SIGNATURE to its reader.
 */
DRT_API int drt_return(struct drt_call *call, struct drt_value value); /* result 0 */
DRT_API int drt_return_at(struct drt_call *call, size_t index, struct drt_value value);
/* A result that holds references, as drt_put_holding. */
DRT_API int drt_return_holding(struct drt_call *call, size_t index, struct drt_value value,
                               const struct drt_ref *inner, size_t count);
/* Room to write the result in place, zeroed, aligned as views are; NULL if it is too large or index
 * is wrong: then return at once. */
DRT_API void *drt_return_create(struct drt_call *call, size_t index, size_t size); /* bytes */
#define DRT_RETURN_ARRAY(call, index, T, count)                                                    \
    DRT_CAST_(T *, drt_return_records_((call), (index), #T, DRT_FLAT_(T), (count)))
DRT_API int drt_fail(struct drt_call *call, int app_code, const char *format, ...)
    DRT_PRINTF_(3, 4);
/* Long bodies ask now and then, and return. */
DRT_API bool drt_cancelled(const struct drt_call *call);
DRT_API uint32_t drt_attempt(const struct drt_call *call); /* 1, 2, ... */

struct drt_resource {
    const char *name;
    double amount;
};

#define DRT_NO_CPU (-1.0)

/* On which node a task runs; only ever one that could satisfy what it asks for. */
enum drt_strategy DRT_INT_ {
    DRT_DEFAULT = 0,       /* on this node while it has room, else where there is some */
    DRT_SPREAD = 1,        /* evenly over all nodes */
    DRT_LOAD_BALANCED = 2, /* the least loaded with room; while none has, the first that is free */
    DRT_NODE_SPECIFIC = 3  /* the one that `node` names, or one that has all `labels` */
};

/* A field that is not set is zero, and has its default then. Where zero could be meant, there is
 * another way to say it: DRT_NO_CPU, and spans (drt_ms(0) is set, and none at all). Sizes travel by
 * themselves. */
struct drt_options {
    const char *name DRT_ZERO_; /* shown beside the function's; not unique */
    double num_cpus DRT_ZERO_;  /* 0: one; DRT_NO_CPU: none; fractions are fine */
    uint64_t memory_bytes DRT_ZERO_;
    const struct drt_resource *resources DRT_ZERO_; /* ends with a NULL name: DRT_RESOURCES */
    bool retry_on_error DRT_ZERO_;                  /* also when the function itself failed */
    bool at_most_once DRT_ZERO_;                    /* never run it twice, whatever is lost */
    int32_t priority DRT_ZERO_;        /* higher first; what it waits for inherits it */
    uint32_t max_attempts DRT_ZERO_;   /* 0: four; 1: no retries */
    struct drt_span backoff DRT_ZERO_; /* between attempts, doubled each time; not set: 100 ms;
                                          drt_ms(0): none */
    struct drt_span timeout DRT_ZERO_; /* from submit to result, waiting and all attempts; children
                                          inherit the smaller */
    int32_t strategy DRT_ZERO_;        /* enum drt_strategy; sync mode has one place only */
    bool soft DRT_ZERO_;               /* NODE_SPECIFIC: elsewhere if no such node is there */
    const char *node DRT_ZERO_;        /* NODE_SPECIFIC: its id, name or address */
    const char *labels DRT_ZERO_;      /* NODE_SPECIFIC: "disk=ssd,zone=b", all of them */
};

/*
 * struct drt_ref drt_submit(task, values..., DRT_WITH(.field = ...))
 * Runs a task somewhere. It cannot fail: what goes wrong is in the reference, and its get says so.
 * Values are copied before it returns; it blocks only while queues are full. DRT_WITH may be left
 * out; in C++ its fields stand in the order of the struct. At most 62 values are written out so:
 * drt_submit_array takes more.
 */
#define drt_submit(...) DRT_SUBMIT_(DRT_FIRST_(__VA_ARGS__, 0), __VA_ARGS__)
DRT_API struct drt_ref drt_submit_(drt_task_fn *task, const char *name,
                                   const struct drt_value *values);
/* void drt_submit_into(struct drt_ref *refs, size_t count, task, values..., DRT_WITH(...))
 * The same for a task of several results (at most 4,096). */
#define drt_submit_into(refs, count, ...)                                                          \
    DRT_INTO_(refs, count, DRT_FIRST_(__VA_ARGS__, 0), __VA_ARGS__)
/* struct drt_ref drt_submit_array(drt_task_fn *task, const struct drt_value *values, size_t count)
 * Values from an array; `task` may be a pointer. The last value may be drt_with(&options). */
#define drt_submit_array(task, values, count) drt_submit_array_((task), #task, (values), (count))
DRT_API struct drt_ref drt_submit_array_(drt_task_fn *task, const char *name,
                                         const struct drt_value *values, size_t count);

#define DRT_WITH(...)     drt_with(DRT_STRICTLY_(drt_options, __VA_ARGS__))
#define drt_with(options) drt_options_((options), sizeof(struct drt_options))
/* Pointers to unnamed structs: DRT_OPTIONS(.name = "x"), DRT_RESOURCES({"disk", 1}, {"tape", 2}).
 * In C they live as long as the block around them, in C++ until the end of the statement. */
#define DRT_OPTIONS(...)   DRT_UNNAMED_(drt_options, __VA_ARGS__)
#define DRT_CONFIG(...)    DRT_STRICTLY_(drt_config, __VA_ARGS__)
#define DRT_MAP_WITH(...)  DRT_STRICTLY_(drt_map_options, __VA_ARGS__)
#define DRT_RESOURCES(...) DRT_RESOURCES_(__VA_ARGS__)

/* ---- 6. references ----
 * Whoever got a reference holds it until drt_release, drt_give, or the end of its scope. Copies of
 * the struct are the same hold. A reference that was released is refused, never confused with
 * another; so is one of another process whose bytes came inside a value: a reference is given by
 * drt_of, drt_give, drt_ref_itself, drt_put_holding or drt_return_holding. */

/* DRT_SCOPE { ... } releases what this thread got inside, also on return and break. A task body is
 * one by itself. What a thread gets outside every scope stays until it is released. */
#define DRT_SCOPE DRT_SCOPE_(DRT_NEW_NAME_(drt_scope_now_), DRT_NEW_NAME_(drt_scope_once_))
DRT_API struct drt_ref drt_keep(struct drt_ref ref);  /* out of the scope, to the one around it */
DRT_API struct drt_ref drt_share(struct drt_ref ref); /* a second hold of its own */
DRT_API void drt_release(struct drt_ref *ref);        /* *ref becomes none; none is fine */
DRT_API void drt_release_all(struct drt_ref *refs, size_t count);

static inline bool drt_is_none(struct drt_ref ref)
{
    return (ref.opaque_[0] | ref.opaque_[1]) == 0;
}

/* An object of its own; the value is copied. Errors show at get. */
DRT_API struct drt_ref drt_put(struct drt_value value);
/* The same, and it holds `inner`: they live as long as it does, whoever gets it can reach them. Of
 * at most 16,384 references, 16 bytes of the value's size each; the caller's own holds stay. */
DRT_API struct drt_ref drt_put_holding(struct drt_value value, const struct drt_ref *inner,
                                       size_t count);
/* A reference inside a value, with a hold of its own: good after the value is released. Waits for
 * the value; errors show at get. drt_put(drt_ref_itself(r)) and a task that returned
 * drt_ref_itself(r) hold one, drt_put_holding and drt_return_holding several. */
DRT_API struct drt_ref drt_inner(struct drt_ref outer, size_t index);
DRT_API int drt_inner_count(struct drt_ref outer, size_t *ret_count) DRT_CHECKED_;

/* Reading a result: blocks until it is there; 0, or the error of the task that failed first. Views
 * (str, bytes, array) are read-only, shared, 8-aligned (64-aligned from 64 bytes on), and valid
 * while the reference is held. */
DRT_API int drt_get_i64(struct drt_ref ref, int64_t *ret) DRT_CHECKED_;
DRT_API int drt_get_f64(struct drt_ref ref, double *ret) DRT_CHECKED_;
DRT_API int drt_get_str(struct drt_ref ref, const char **ret) DRT_CHECKED_;
DRT_API int drt_get_bytes(struct drt_ref ref, struct drt_bytes *ret) DRT_CHECKED_;
/* int DRT_GET_ARRAY(ref, T, const T **view, size_t *count); int DRT_GET_RECORD(ref, T, T *out) */
#define DRT_GET_ARRAY(ref, T, view, count)                                                         \
    drt_get_records_((ref), #T, DRT_FLAT_(T), DRT_VIEW_(T, view), (count))
#define DRT_GET_RECORD(ref, T, out) drt_get_record_((ref), #T, DRT_FLAT_(T), DRT_OUT_(T, out))
DRT_API int drt_get_nothing(struct drt_ref ref) DRT_CHECKED_; /* only whether it succeeded */
/* int drt_error_of(struct drt_ref ref, struct drt_error *ret): what drt_get_nothing returns, and
 * the story; `ret` is zeroed when there is a value. */
#define drt_error_of(ref, ret) drt_get_error_((ref), (ret), sizeof(struct drt_error))
/* enum drt_kind of a value that is there; 0 if it is not (yet). Does not block. */
DRT_API int drt_kind_of(struct drt_ref ref);

/* 0: settled, a get will not block; DRT_E_TIMEOUT. */
DRT_API int drt_await(struct drt_ref ref, struct drt_span limit) DRT_CHECKED_;
/* Wait until at least k of n are settled (value or error). ready[i] says which; none entries are
 * skipped; either output may be NULL. DRT_E_TIMEOUT: fewer were, and the outputs are set. */
DRT_API int drt_wait(const struct drt_ref *refs, size_t count, size_t k, struct drt_span limit,
                     bool *ready, size_t *ret_ready) DRT_CHECKED_;
/* The next one that is settled: its index. Release it (it becomes none) and ask again; DRT_E_DONE
 * when all are none. */
DRT_API int drt_wait_any(const struct drt_ref *refs, size_t count, struct drt_span limit,
                         size_t *ret_index) DRT_CHECKED_;

enum drt_cancel DRT_INT_ {
    DRT_CANCEL_ASK = 0,      /* drt_cancelled() of the body says true */
    DRT_CANCEL_FORCE = 1,    /* its worker is stopped */
    DRT_CANCEL_RECURSIVE = 2 /* also what it submitted; may be or-ed */
};
/* Settles it as DRT_E_CANCELLED at once; resources return when the body does. 0, or DRT_E_DONE: it
 * was settled before; a body that runs on after a cancel or its deadline is stopped by force even
 * then. DRT_E_UNREACHABLE: it was submitted on another node, which does not answer now. */
DRT_API int drt_cancel(struct drt_ref ref, int flags);

/* ---- 7. helpers: they return when all is settled: 0, or the first error; every reference is set
 * ---- */

struct drt_map_options {
    uint32_t max_running DRT_ZERO_;    /* 0: as many as fit */
    bool stop_on_error DRT_ZERO_;      /* cancel the rest at the first error */
    struct drt_span timeout DRT_ZERO_; /* of the whole: then the rest is cancelled, DRT_E_TIMEOUT */
    const struct drt_options *each DRT_ZERO_;
};

/* int drt_parallel_map(task, const struct drt_value *items, size_t count, struct drt_ref *refs,
 *                      const struct drt_map_options *options): one task for each item */
#define drt_parallel_map(task, items, count, refs, options)                                        \
    drt_map_((task), #task, (items), 1, (count), (refs), (options),                                \
             sizeof(struct drt_map_options), sizeof(struct drt_options))
/* The same with `columns` arguments for each task, row after row. */
#define drt_starmap(task, rows, columns, count, refs, options)                                     \
    drt_map_((task), #task, (rows), (columns), (count), (refs), (options),                         \
             sizeof(struct drt_map_options), sizeof(struct drt_options))

/* Different tasks at once. Made by DRT_WORK(task, up to seven values and options). */
struct drt_work {
    drt_task_fn *task;
    const char *name;
    struct drt_value values[8];
};
#define DRT_WORK(...) DRT_WORK_1_(DRT_FIRST_(__VA_ARGS__, 0), __VA_ARGS__)
#define drt_scatter_gather(work, count, refs, options)                                             \
    drt_scatter_gather_((work), (count), (refs), (options), sizeof(struct drt_map_options),        \
                        sizeof(struct drt_options))

/* ---- 8. the cluster ---- */

struct drt_node {
    char id[40], name[64], address[64];
    bool alive;
    double cpus_total, cpus_available;
    uint64_t memory_total_bytes, memory_available_bytes;
};

/* int drt_nodes(struct drt_node *ret, size_t capacity, size_t *ret_count): fills at most `capacity`
 * (ret may be NULL if that is 0); *ret_count is how many there are. In sync mode one. */
#define drt_nodes(ret, capacity, ret_count)                                                        \
    drt_nodes_((ret), (capacity), sizeof(struct drt_node), (ret_count))
DRT_API double drt_total(const char *resource);     /* "CPU", "memory", custom; 0 if unknown */
DRT_API double drt_available(const char *resource); /* now, as far as this node knows */
DRT_API bool drt_is_distributed(void);              /* more than this process */
/* The node that this process runs on, a body's as well; "" before drt_init. */
DRT_API const char *drt_node_name(void);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* DRT_H */
