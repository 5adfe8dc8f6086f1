/*
 * What the raylet's core remembers: the structs that its modules share, the effects they emit, and
 * the few helpers that all of them need. No rules live here; those are in core_objects,
 * core_classes, core_tasks, core_schedule, core_workers, core_jobs, core_head and core_rows, which
 * include one another in this order only.
 */
#ifndef RAYLET_CORE_STATE_H
#define RAYLET_CORE_STATE_H

#include "common/clock.h"
#include "common/numbers.h"
#include "common/rng.h"
#include "common/slab.h"
#include "common/timers.h"
#include "raylet/core.h"

#include <uthash.h>

#define PREFILL_MAX         64u
#define PREFILL_SHARED_MAX  8u /* beside a job that asks for little at a time */
#define PREFILL_AHEAD_NS    (200 * NS_PER_US)
#define PREFILL_BYTES_MAX   (1u << 20)
#define TURN_TASKS          8u
#define HISTORY_DONE        10000u
#define HISTORY_FAILED      1000u
#define WORK_STEP           4096u /* items of a work list in one step */
#define JOB_WORKERS_LEAST   512u
#define JOB_WORKERS_PER_CPU 16u
#define DEPTH_DEFAULT       256u
#define BLOCKED_MAX         256u /* blocked workers; above it CPUs go to descendants only */

enum core_timer_kind {
    TIMER_DEADLINE = 1, /* of a task_extra */
    TIMER_BACKOFF,      /* of a task_extra */
    TIMER_WORKER,
    TIMER_JOB,
    TIMER_RENEW,
    TIMER_LEAVE,
    TIMER_RESERVE,
    TIMER_LONG,
    TIMER_PEERS,   /* idle sessions */
    TIMER_PLAN,    /* lanes */
    TIMER_LINGER,  /* lanes: unused slots go back */
    TIMER_GUESTS,  /* guests that wait go back; promises unused are revoked */
    TIMER_FOREIGN, /* core_foreign's */
    TIMER_CYCLES,  /* core_cycles's */
    TIMER_LIFT,    /* core_lift's: nodes that could not be told are told again */
    TIMER_STARTS,  /* core_starts's: a worker may be started again; the step does */
};

struct core_timer {
    struct timer timer;
    enum core_timer_kind kind;
};

/* ---- objects ---- */

enum object_state { OBJECT_PENDING = 0, OBJECT_VALUE, OBJECT_ERROR, OBJECT_ALIAS };

enum watcher_kind { WATCH_GET = 1, WATCH_NEED = 2, WATCH_ALIAS = 3, WATCH_PEER = 4 };

enum object_far {
    FAR_PROXY = 1, /* of another node: core_foreign */
    FAR_INNER = 2, /* its value has references inside: core_contents */
    FAR_HOLDS = 4, /* it follows a proxy, and holds it until then */
};

struct watcher {                /* who wants to know when an object settles */
    struct watcher *next, **at; /* at: what points at it, so that it is taken out at once */
    uint32_t kind;
    uint32_t flags; /* WATCH_GET: enum local_get_flags; WATCH_NEED: which of its needs; WATCH_PEER:
                       the session */
    union {
        struct {
            uint32_t client; /* WATCH_GET: by number, since it may go first; WATCH_PEER: node */
            uint32_t times;  /* WATCH_GET: so often it asked */
        };
        struct task *task;     /* WATCH_NEED */
        struct object *object; /* WATCH_ALIAS: settles as this one does */
    };
};

struct object_error { /* shared by the returns of one task and those that depend on it */
    uint32_t refs;
    struct object_error *
        deeper; /* the same, one task further from its root; owned; NULL until somebody needed it */
    struct object_id stopped; /* the first return of the task that was given up while its body may
                                 run on; number 0: none. Whatever followed it shares this */
    struct failure failure;
};

struct object {
    struct client *owner;
    uint64_t number;
    struct watcher *watchers; /* in the order of their coming */
    union {
        struct task *task; /* PENDING: who makes it; NULL while it follows an alias */
        uint8_t small[16]; /* VALUE of up to 16 bytes */
        uint8_t *data;     /* VALUE, owned */
        struct object_error *error;
        struct object *alias; /* ALIAS: held */
    };
    uint32_t size;   /* VALUE */
    uint32_t holds;  /* unfinished tasks and aliases that need it, other clients that hold it */
    uint32_t charge; /* credit of the owner that comes back when it is freed */
    uint8_t state;
    bool held;      /* by its owner */
    bool following; /* PENDING: settles as `alias` does */
    uint8_t far;    /* enum object_far; mostly 0 */
};
_Static_assert(sizeof(struct object) <= 56, "a million of them count");

/* What core_objects asks of what lies above it: objects of other nodes, and references inside
 * values. Set by core_foreign. */
struct far_hooks {
    struct object *(*find)(struct raylet_core *c, struct object_id id); /* NULL: none */
    /* Somebody waits for a pending proxy. */
    void (*want)(struct raylet_core *c, struct object *o);
    /* A far object is held no more. True: it stays for now, held. False: nothing far knows it any
     * more; free it. */
    bool (*let_go)(struct raylet_core *c, struct object *o);
    void (*put_back)(struct raylet_core *c, struct object *o); /* a proxy's memory */
    /* A WATCH_PEER watcher's object has settled. */
    void (*tell)(struct raylet_core *c, const struct watcher *w, struct object *o);
    /* A settled proxy: somebody read it; an object of ours has its value as its own, or no more. */
    void (*used)(struct raylet_core *c, struct object *o);
    void (*aliased)(struct raylet_core *c, struct object *o, bool is);
};

/* ---- clients and jobs ---- */

enum client_state { CLIENT_GREETED = 1, CLIENT_ASKED, CLIENT_LIVE, CLIENT_REFUSED, CLIENT_GONE };

struct class_decl { /* a class as one client declared it; an instance for the depth it was last used
                       at */
    char *function;
    uint8_t *kinds;
    size_t kinds_size;
    struct wish *wish;            /* NULL: its tasks are refused */
    struct object_error *refused; /* with this; NULL: they are not */
    uint64_t charge;
    uint32_t new_names; /* of resources: nobody had named them before */
    int32_t priority;
    uint32_t depth;
    struct class_ *last;
};

struct foreign_hold { /* an object of another process that this one holds: 64 bytes, at most
                         FOREIGN_HOLDS_MAX of a process */
    struct object *object;
    UT_hash_handle hh;
};

struct client {
    struct list link; /* core->clients, in the order of coming */
    uint32_t number;  /* the shell's handle, and the `client` of the ids it makes */
    uint32_t node;    /* 0: ours; else a pseudo client: its objects are proxies of that node's */
    uint32_t role;    /* enum local_role; 0 until OPEN */
    uint8_t state;
    uint32_t uid;
    int32_t pid;
    struct job *job;           /* driver, worker */
    struct worker *worker;     /* ROLE_WORKER */
    uint64_t next_number;      /* of the next object it may make */
    struct numbers objects;    /* by number */
    struct class_decl **decls; /* by class number, from 1 */
    uint32_t decl_count;
    struct foreign_hold *holds;
    uint64_t outstanding_bytes;
    struct object_error *full; /* why the last one was refused for lack of credit; NULL: none */
    uint32_t gets;             /* of its GETs wait */
    uint32_t beyond;           /* what it sent since it was last within its credit */
    uint64_t credit_pending;   /* modulo 2^64: below zero where values took more than came back */
    bool slow;                 /* it does not read: values are only announced to it */
    bool touched; /* in core->touched: answers or credit wait to be sent at the end of the step */
    struct list touched_link;
    struct local_value *answers;
    uint32_t answer_count, answer_room;
    struct buffer answer_bytes;
    UT_hash_handle hh; /* pseudo: by number and node */
};

enum job_state { JOB_ASKED = 1, JOB_LIVE, JOB_ENDING, JOB_ENDED_UNSAID };

struct job { /* of a driver here, or of one elsewhere whose tasks run here (guest) */
    struct list link;
    uint64_t key;    /* the driver's client number; guest: 0 */
    uint64_t number; /* 0 until the head gave one */
    uint8_t state;
    bool guest;
    bool over;     /* guest: it has ended at its home */
    uint32_t home; /* guest: the node of its driver */
    bool wants_logs;
    bool logs_elsewhere;     /* core_output: lines may come that nobody was asked for */
    uint32_t logs_missing;   /* core_output: answers to the driver's LOGS that have not come */
    uint64_t lines_left_out; /* that its driver did not take since it was last told of some */
    bool broken_unsaid;      /* guest: its homes are to be told of program_error */
    bool fetching;           /* guest: its program is on its way */
    uint32_t fetched_from;
    uint64_t unsponsored_ns;
    uint64_t ask_home_ns; /* guest: when its home is next asked whether it is over */
    struct list sponsors; /* struct sponsor, by job_link: homes elsewhere that announced it */
    uint8_t hash[PEER_HASH_SIZE]; /* of its program, once known */
    uint64_t program_size;
    char *name, *program_name, *user, *cwd;
    uint8_t *env; /* and behind it what is given to workers */
    size_t env_size, given_size;
    uint32_t umask;
    int32_t pid;
    uint64_t started_unix_ms;
    struct client *driver; /* NULL once it went */
    bool said_goodbye;
    bool refused;                       /* by the head, which never gives it a number */
    bool is_cancelled;                  /* by a person; what it submits fails so */
    bool cancelling;                    /* some of its tasks still stand */
    uint32_t program;                   /* handle; 0 until hashed */
    struct object_error *program_error; /* it cannot be run: every task of the job fails so */
    uint32_t failed_starts;             /* workers in a row that ended before their OPEN */
    uint64_t without_since_ns; /* since when starts failed, for a reason that passes; 0: not */
    struct list workers;       /* all, by job_link */
    struct list idle;          /* by place_link; the last used first */
    struct class_ *classes;    /* uthash by key */
    struct pool *pools;        /* uthash by shape */
    struct list waiting;       /* tasks WAITING or in BACKOFF, by link */
    uint64_t waiting_count, running_count; /* tasks; waiting: all that are not placed */
    uint64_t done, failed, cancelled;
    uint64_t away_count; /* of running_count: on other nodes */
    uint32_t starting, worker_count;
    uint32_t new_names;      /* of resources, in declarations: that nobody else had named */
    struct core_timer timer; /* JOB_ENDING: kill what still runs */
    uint64_t live_clients;
    struct contents *contents; /* of its objects: what is inside their values */
    uint32_t end_state;        /* enum job_end */
    uint64_t ended_unix_ms;
};

/* ---- classes ---- */

struct shape { /* what a task asks for, interned */
    struct resource_set asked;
    uint32_t refs;
    UT_hash_handle hh;
};

enum wish_state {
    WISH_OPEN = 1,  /* as far as known some node can */
    WISH_ASKING,    /* none that we know of: the head is asked */
    WISH_IMPOSSIBLE /* it said no */
};

struct wish { /* what is asked for and where, interned */
    char *key;
    UT_hash_handle hh; /* core->wishes_by_key */
    struct list link;  /* core->wishes */
    struct shape *shape;
    uint32_t strategy; /* enum sched_strategy */
    bool soft;
    char *node, *labels;
    uint32_t refs;
    uint8_t state;
    bool here;                  /* it may run on this node, and need not look for a better one */
    uint64_t request;           /* ASKING: of FEASIBLE; 0: not yet asked */
    struct object_error *error; /* IMPOSSIBLE */
};

struct pool { /* the leases of one job on one shape: tasks of its classes may share their workers */
    struct job *job;
    struct shape *shape;
    struct list leased; /* workers, by place_link */
    uint32_t classes;   /* users: classes and leases */
    uint32_t stuck;     /* of its classes */
    uint64_t
        used_ns; /* virtual time: what its leases have used, never far behind the clock of all */
    UT_hash_handle hh;
};

struct class_ {
    struct job *job;
    struct pool *pool;
    uint32_t number; /* for RUN_CLASS; never used again */
    uint32_t users;  /* declarations and tasks */
    char *key;       /* of the hash: all of what makes classes equal */
    size_t key_size;
    char *function;    /* as workers and other nodes are told */
    const char *shown; /* the same, interned: kept for good; "(other)" beyond a bound */
    uint8_t *kinds;
    size_t kinds_size;
    int32_t priority; /* in effect */
    int32_t own;      /* as declared: a lower one, where tasks inherited the other (core_lift) */
    uint32_t depth;
    struct list queue; /* tasks READY, by link: whoever is free may take them */
    uint64_t queued;
    struct wish *wish;
    uint64_t ready;    /* tasks READY, wherever they wait */
    struct list fresh; /* READY, their node not yet chosen (SPREAD, LOAD_BALANCED) */
    struct list fresh_link;
    struct list lanes;         /* struct lane, by class_link */
    uint64_t assigned;         /* SPREAD: ever, to this node */
    uint64_t waiting_since_ns; /* the queue was last empty before */
    uint64_t plan_at_ns;       /* the next look at whom to ask */
    uint64_t soon_ns;          /* the same when slots are missing */
    uint64_t look_ns;          /* core_cycles: the next search for what it waits for */
    bool of_others;            /* of another home, to its end */
    struct guest_class *guest; /* its slots, while the home keeps it; NULL: none */
    uint32_t wants;            /* guest: slots that the home would take */
    struct list run_link;      /* in its level's turn while the queue is not empty */
    struct level *level;
    struct function_stats *stats; /* core_history's; NULL: none of it has ended yet */
    uint64_t duration_ns;         /* observed, smoothed; 0: not yet known */
    bool served;                  /* something of it was placed in this turn; only within it */
    bool stuck;                   /* in the last turn it found no resources, or no worker */
    bool lacks_worker;            /* stuck: it is only a worker that it lacks */
    uint64_t stuck_since_ns;      /* since when without a break; 0: not */
    UT_hash_handle hh;
};

struct level {        /* classes of one priority and depth that have ready tasks */
    struct list link; /* sorted: priority, then depth, both descending */
    int32_t priority;
    uint32_t depth;
    struct list turn;
    uint32_t count;
    uint32_t stuck; /* of its classes */
};

/* ---- between nodes ---- */

struct lane { /* a class of ours at one other node */
    struct list class_link, peer_link;
    struct list linger_link; /* c->lingering: it has slots, or has asked for some */
    struct class_ *class_;
    struct peer *peer;
    struct list queue; /* tasks READY that are fixed to this node */
    uint64_t queued;
    bool declared;          /* in this session */
    uint64_t got;           /* slots granted in this session */
    uint64_t limit;         /* of our last ASK in it */
    uint64_t limit_most;    /* of all of them: it may not be granted more */
    uint32_t credits;       /* of those: unused */
    uint32_t placed;        /* tasks sent there whose end is not known */
    uint32_t wanted;        /* of the common queue, as last planned */
    uint64_t assigned;      /* SPREAD: ever */
    uint64_t idle_since_ns; /* it has slots or asked for some, and has no tasks; 0: it has */
    uint64_t sent_ns;       /* the last task */
    uint64_t since_ns;      /* since when tasks that are fixed to it were not granted a slot */
    bool quick;             /* the last that was alone there was back soon */
    struct list busy_link;  /* c->busy_lanes: tasks are fixed to it */
};

struct told_job { /* a job that a session was told of */
    uint64_t job;
    struct object_error *broken; /* it cannot run there */
    UT_hash_handle hh;
};

struct cover { /* what a task's arguments refer to, until ARGS_FREE; in peer->covers */
    struct object **objects;
    uint32_t count;
};

struct guest_class { /* a class of another home */
    uint32_t number; /* as the home numbers it */
    struct peer *home;
    struct class_ *class_;
    uint64_t limit, granted;
    uint32_t outstanding; /* granted, and neither used nor returned */
    uint64_t granted_ns;  /* the last of them */
    uint32_t grant_now;   /* to be told at the end of the step */
    uint64_t cost;
    struct list granted_link; /* home->granted */
};

struct sponsor { /* a home elsewhere that announced a job */
    struct list job_link, peer_link;
    struct job *job;
    struct peer *home;
    uint64_t cost; /* of home->announced_bytes; of a guest_class likewise */
};

struct guest {         /* of a task whose home is elsewhere */
    struct peer *home; /* NULL: the session ended, nobody wants its answer */
    uint64_t run;
    struct object_id id;
    uint64_t arrived_ns;
    uint32_t args_size, need_count;
    uint32_t *need_sizes;
    bool started_said;
    bool args_free_said; /* with its answer */
};

/* ---- tasks ---- */

enum stop_how {
    STOP_ASK = 0,
    STOP_SOON = 1,
    STOP_KILL = 2
}; /* a flag; TERM and KILL after a grace; KILL at once */

enum task_place { AT_NONE = 0, AT_FRESH, AT_QUEUE, AT_LANE, AT_WORKER };

/* Beside enum local_submit_flags. */
#define TASK_STARTED       0x10u /* sent: its body is known to have begun */
#define TASK_STOP_CHILDREN 0x20u /* ABANDONED: with all that it submitted there */
#define TASK_ANSWERED      0x40u /* sent: its RESULT is here */

enum task_state {
    TASK_WAITING = 1,
    TASK_BACKOFF,
    TASK_READY,
    TASK_PLACED,
    TASK_ABANDONED,
    TASK_SETTLED
};

struct need {
    struct object *object;   /* held */
    struct watcher *watcher; /* of the object, while it is waited for; else NULL */
};

struct task_extra { /* what most tasks do not have */
    struct task *task;
    struct need *needs;
    uint32_t need_count;
    uint32_t need_bytes;  /* of their values in a RUN, once all are there */
    struct object **refs; /* held; guest: those of its arguments, covered by its home */
    uint32_t ref_count;
    uint32_t given_count;
    struct object **given; /* core_held's: what its arguments name, sorted; NULL: not yet asked */
    struct guest *guest;   /* of another home; NULL: ours */
    struct list room_link; /* core_cache's: it waits for room for its values */
    bool has_room;         /* they stay here until it ends */
    struct recording *recording; /* its result came from elsewhere and waits for ADDED */
    uint32_t losses;             /* attempts that were lost free of charge */
    char *name;
    struct core_timer deadline_timer, backoff_timer;
    uint64_t backoff_ns;
    int32_t lifted;       /* guest, or sent: the priority that it inherited; INT32_MIN: none */
    uint64_t deadline_ns; /* 0: none */
    uint64_t timeout_ns;  /* that it set itself; 0: the deadline is that of who submitted it */
    struct object_id was; /* ABANDONED: its first return */
    struct task *parent;
    struct list siblings; /* in parent's children */
    struct list children;
};

struct task {
    struct list link; /* class queue, job->waiting */
    struct class_ *class_;
    struct object *first; /* its returns are consecutive in the owner's table */
    union {
        struct worker *worker; /* AT_WORKER */
        struct lane *lane;     /* AT_LANE: fixed to that node (READY), or sent there */
    };
    uint64_t run; /* sent: in the session with that node */
    union {
        uint8_t small[24];
        uint8_t *data;
    } payload;
    uint32_t payload_size;
    uint32_t submitted_ms;    /* since the core's start */
    struct task_extra *extra; /* NULL: none */
    uint32_t needs_missing;
    uint32_t charge;
    uint16_t returns;
    uint16_t attempt, max_attempts;
    uint32_t slot; /* PLACED, ABANDONED: index and generation. Sent: when it was heard to have
                      STARTED, ms since the core's start; once ANSWERED the worker there */
    uint8_t state;
    uint8_t flags; /* enum local_submit_flags */
    uint8_t stop;  /* ABANDONED: enum stop_how, if the body has begun */
    uint8_t place; /* enum task_place */
};

/* Bytes that its RUN takes in a worker's ring, roughly. */
static inline uint32_t task_weight(const struct task *t)
{
    return t->payload_size + (t->extra == NULL ? 0 : t->extra->need_bytes);
}

/* ---- workers ---- */

enum worker_state {
    WORKER_STARTING = 1,
    WORKER_IDLE,
    WORKER_LEASED,
    WORKER_BLOCKED,
    WORKER_LEAVING,
    WORKER_DEAD
};

struct worker {
    struct list link; /* core->workers */
    struct list job_link;
    struct list place_link; /* job->idle or pool->leased */
    uint32_t number;
    uint8_t state;
    struct job *job;
    struct pool *pool;     /* whose shape is taken: STARTING, LEASED, BLOCKED */
    struct client *client; /* once it connected */
    int32_t pid;
    struct task *slots[LOCAL_CLAIMS];
    struct task *answered;       /* its RESULT is being taken, and it has left its slot */
    uint8_t order[LOCAL_CLAIMS]; /* indexes in the order of their offers; `placed` of them, from
                                    order_first, a ring */
    uint8_t order_first;
    uint32_t generation;
    uint32_t placed;         /* slots in use */
    uint32_t promised;       /* slots lent to other homes, unused yet */
    uint64_t promised_ns;    /* the last of them */
    uint32_t weight;         /* bytes of the tasks in them */
    uint32_t taking_back;    /* TAKE_BACKs without an answer */
    uint64_t free_slots[2];  /* bit set */
    uint64_t mark_ns;        /* since when the first in order runs, as far as we know */
    uint64_t first_ns;       /* the same, with the time that it was blocked */
    uint64_t blocked_ns;     /* BLOCKED: since when, which is no time that its body runs */
    struct object_id *waits; /* BLOCKED: what for, as it says; owned */
    uint32_t wait_count, wait_room;
    uint64_t charged_ns;       /* up to when its pool was charged for it */
    uint32_t reported;         /* results in this step */
    struct class_ *last_class; /* of the last of them; only within the step */
    uint64_t started_unix_ms, done;
    uint64_t asked_ns;       /* when its process was asked for */
    bool stopping;           /* TERM or KILL was sent */
    bool ever_ran;           /* sent its OPEN */
    struct list report_link; /* in core->reported: results, or nothing left to do, in this step */
    struct core_timer timer; /* idle limit; TERM then KILL after a deadline */
    uint8_t *known;          /* bit set of class numbers that it was told */
    size_t known_bits;
    struct failure *why;       /* given to its claimed task at the exit, if set */
    const char *last_function; /* of its last result, where its lines are wanted; interned */
};

struct history_row {
    struct object_id id;
    const char *function;       /* interned */
    const char *node;           /* where its last attempt was, interned; NULL: here */
    char *name;                 /* owned; NULL: the function's */
    struct object_error *error; /* NULL: it has its values */
    uint64_t job;
    uint64_t submitted_unix_ms, ended_unix_ms;
    uint64_t ran_ns; /* its last attempt; 0: it did not run, or nobody knows */
    uint32_t worker, depth;
    int32_t priority;
    uint16_t attempt, max_attempts;
};
_Static_assert(sizeof(struct history_row) <= 96, "twelve thousand of them are kept");

struct history {
    struct history_row *rows;
    uint32_t room, next, used;
};

struct name { /* an interned string; kept for good, bounded */
    char *text;
    UT_hash_handle hh;
};

/* ---- the core ---- */

enum head_state { HEAD_DOWN_ = 1, HEAD_JOINING, HEAD_JOINED };

enum peer_state { PEER_UNKNOWN = 1, PEER_ALIVE, PEER_DEAD };
enum peer_link { PEER_OFF = 1, PEER_OPENING, PEER_UP };

struct peer { /* another node */
    uint32_t number;
    uint8_t state;
    bool closed;                         /* takes no work of others */
    bool unseen;                         /* a whole view is under way and has not named it yet */
    char *name, *address, *key, *labels; /* "" while UNKNOWN */
    char *warning;                       /* why others cannot reach it; "" */
    struct resource_set total, available;
    uint64_t waiting, running, since_unix_ms;
    uint64_t untold_ns; /* UNKNOWN: since when, as boot_ns */

    /* sessions */
    uint8_t link; /* OUT: enum peer_link */
    bool in_up;
    bool slow[2];            /* by side: much waits to be sent */
    uint64_t used_ns;        /* OUT: last */
    uint64_t silent_ns;      /* OUT: since when it is not up though wanted; 0: it is */
    uint64_t avoid_until_ns; /* new work goes elsewhere until then: it cannot be reached */

    /* we are home: core_lanes */
    struct list lanes;              /* of all classes, by peer_link */
    struct numbers lanes_by_number; /* by class number */
    struct numbers runs;            /* tasks placed there, by run */
    uint64_t next_run;
    struct numbers covers;       /* struct cover, by run */
    uint64_t sent_bytes;         /* of the tasks in `runs` */
    struct told_job *told;       /* jobs that this session was told of */
    struct peer_cancel *cancels; /* until it is up */
    uint32_t cancel_count;

    /* they are home: core_guests */
    bool unheard; /* slots lie unused there for long: it gets no more until it is heard */
    struct numbers guest_classes; /* struct guest_class, by their number */
    struct numbers guests;        /* tasks, by run */
    uint64_t last_run;            /* of theirs: consecutive */
    struct numbers kept;          /* core_guests's, by run */
    struct list sponsored;        /* struct sponsor, by peer_link: jobs that they announced */
    uint64_t announced_bytes;     /* what those and guest_classes cost here */
    struct list granted;          /* guest classes with slots to tell of at the end of the step */

    /* core_foreign */
    struct foreign_peer *foreign; /* its own part; NULL: none */
    uint32_t borrowed;            /* objects of that node that are kept or wanted here */
    UT_hash_handle hh;
};

struct part { /* of a job whose driver is elsewhere: tasks that were submitted here (core_parts) */
    uint64_t job, done, failed, cancelled;
    UT_hash_handle hh;
};

struct gone_node { /* so that it can be named */
    uint32_t number;
    char *name;
};
#define GONE_NODES 64u

struct ended_worker { /* so that its job's logs are found */
    uint64_t job;
    uint32_t number;
    uint64_t started_unix_ms, done;
};
#define ENDED_WORKERS 256u /* as many as the shell keeps the output of */

struct lift { /* of the task that makes an object */
    struct object_id id;
    int32_t priority; /* of one that waits for it */
    bool again;       /* one waits no more: it is to be found out again */
};

struct lifts {
    struct lift *items;
    size_t count, room;
};

struct start_shortage { /* core_starts's: the machine had no process, descriptor or memory to spare
                         */
    struct object_error *why; /* of the last failure; NULL: there was none yet */
    uint64_t failed_ns;       /* that one */
    uint64_t after_ns;        /* no worker is started before */
    uint32_t in_row;          /* failures without a success between */
    struct core_timer timer;
};

struct raylet_core {
    char *node_name, *cluster, *labels;
    char *user; /* of own_uid; NULL: by its number */
    uint32_t own_uid;
    struct cluster_join join; /* template; strings owned */
    char *address, *warning;  /* ours as the head tells them to others; "" until it did */
    uint32_t node;            /* our number; 0 until the head gave it */
    uint32_t rules_off;       /* enum core_rule */
    uint64_t now_ns, boot_ns, start_ns, start_unix_ms;
    struct rng rng;
    struct timers timers;
    struct resource_names resources;
    struct resource_set total, available;

    struct slab_pool object_slab, task_slab, watcher_slab;
    struct name *names;
    struct shape *shapes;
    uint32_t next_class;
    uint64_t next_guest_class;
    uint64_t next_request;

    struct list clients;
    struct numbers clients_by_number;
    struct list jobs;
    struct list workers;
    struct numbers workers_by_number;
    uint32_t next_worker;
    uint32_t worker_count, workers_max, blocked_count, starting_count;
    uint32_t job_workers_max; /* processes of one job here, those that wait included */
    uint32_t depth_max;       /* of nested tasks */
    struct start_shortage shortage;
    struct lifts lifts, lifts_later; /* later: no session with that node yet */
    struct core_timer lift_timer;
    uint64_t idle_worker_ns;
    struct list levels;
    uint64_t
        courtesy_until_ns;  /* a pool that was away came back: the others keep their rings short */
    uint64_t used_clock_ns; /* the most virtual time of a pool that got a lease */
    struct list woken;      /* tasks whose needs are settled, by link */
    struct list wishes;
    struct wish *wishes_by_key;
    struct list fresh_classes; /* by fresh_link */
    struct list busy_lanes;    /* by busy_link */
    struct list lingering;     /* lanes with unused slots, by linger_link */
    struct core_timer plan_timer, linger_timer, guests_timer;
    uint32_t wishes_elsewhere; /* wishes that cannot be fulfilled here */
    uint64_t guest_count;      /* tasks */
    uint64_t planned_version;  /* view_version of the last plan */
    bool closed;               /* takes no work of others */
    bool is_passing;           /* ends with the program that started it */
    struct list
        reported; /* workers to look at before placing: results came, or they have nothing to do */
    struct list touched;   /* clients with something to send */
    struct list secured;   /* struct securing: nothing is missing any more */
    struct list unsecured; /* the same: it waits for a node that has been silent for long */
    struct foreign *foreign;
    const struct far_hooks *far;
    struct core_timer reserve_timer, long_timer, cycles_timer;
    struct search *search; /* core_cycles: for a wait that cannot end; NULL: none is going on */
    uint64_t searches;
    bool more_work;           /* a work list is not yet done */
    bool ask_feasible;        /* a shape waits to be asked about */
    struct class_ *reserving; /* waits longest for resources: what becomes free is kept for it */

    uint64_t credit_each, credit_all, outstanding_all;
    uint64_t waiting, running, done, failed, cancelled; /* tasks; running = placed here */
    uint64_t away;                                      /* placed on other nodes */
    struct part *parts;                                 /* by job */
    uint64_t dropped_messages, protocol_errors;
    struct history done_history, failed_history, cancelled_history;
    struct function_stats *functions;       /* core_history's */
    uint64_t history_said, history_said_ns; /* to the head: how many had ended, and when */
    uint32_t history_rows_said;             /* of each kind of end; 0: this head heard nothing */
    uint64_t memory_used_bytes; /* of the machine, as the shell last saw it; 0: not known */
    struct ended_worker ended_workers[ENDED_WORKERS]; /* a ring: the last ones */
    uint32_t ended_next, ended_used;

    uint8_t head_state;
    bool leaving, saying_farewell, quit_said, fenced;
    bool key_refused; /* by the head, when it was last tried */
    struct core_timer renew_timer, leave_timer;
    uint64_t leave_at_ns;       /* at the latest */
    uint64_t renew_answered_ns; /* boot clock: the sending of what was answered last */
    uint64_t joins_ns;          /* boot clock: the sending of the last JOIN */
    bool renew_due;
    uint32_t renewed_free; /* what the last renewal said */
    uint64_t renewed_ns;
    uint64_t lease_ns;
    struct peer *peers;
    struct gone_node gone_nodes[GONE_NODES]; /* a ring: the last ones that died */
    uint32_t gone_next;
    uint32_t newest_node;  /* the highest number that the head told of */
    uint32_t untold_nodes; /* peers in state PEER_UNKNOWN */
    bool peers_died;       /* some are DEAD: to be worked off */
    uint64_t view_version; /* rises with each change of who is there */
    struct core_timer peers_timer;

    struct log_look *looks; /* in the arena; core_rows's, only within a step */
    struct raylet_effect *effects;
    size_t effect_count, effect_room;
    struct arena arena; /* messages of effects; reset at the start of a step */
};

/* ---- helpers ---- */

/* A new effect at the end: all zero but its kind. Valid until the next one is made. */
struct raylet_effect *core_effect(struct raylet_core *c, enum raylet_effect_kind kind);
/* A zeroed message of this type in the arena, as an effect SEND to `client`. */
struct local_msg *core_send(struct raylet_core *c, uint32_t client, enum local_type type);
struct cluster_msg *core_send_head(struct raylet_core *c, enum cluster_type type);
/* A copy in the arena. A message is sent after the whole step, in which what it speaks of may end:
 * texts that are not kept for good go through this. "" for NULL. */
const char *core_text(struct raylet_core *c, const char *text);
/* The node's CPU of a slot etc. are in the modules; here only who: NULL if it never was or is gone.
 */
struct client *core_client(struct raylet_core *c, uint32_t number);
struct worker *core_worker(struct raylet_core *c, uint32_t number);
const char *core_intern(struct raylet_core *c, const char *text);
uint64_t core_unix_ms(const struct raylet_core *c); /* now */
/* Of a moment that is at most 49 days ago, told in ms since the core's start modulo 2^32. */
uint64_t core_unix_of(const struct raylet_core *c, uint32_t since_start_ms);
/* The client will get credit or answers at the end of the step. */
void core_touch(struct raylet_core *c, struct client *client);
void core_credit_back(struct raylet_core *c, struct client *client, uint64_t bytes);
void core_credit_take(struct raylet_core *c, struct client *client, uint64_t bytes);
/* Why a process may not submit or put any more for now, what is charged included: a new reference,
 * or NULL. And whether it did not stop long after it had to: then its connection has been ended. */
struct object_error *core_credit_error(struct raylet_core *c, struct client *client,
                                       const char *function);
bool core_credit_is_beyond(struct raylet_core *c, struct client *client);
/* Counted, logged once by the shell, and the client is closed with this sentence. */
void core_protocol_error(struct raylet_core *c, struct client *client, const char *format, ...)
    PRINTF(3, 4);

struct object_id core_object_id(const struct raylet_core *c, const struct object *o);

/* The task that makes the object is waited for by one of this priority, or by one less: core_lift
 * sees to it in this step. Nothing is noted where it cannot matter. */
void core_note_wait(struct raylet_core *c, const struct object *o, int32_t priority);
void core_note_wait_over(struct raylet_core *c, const struct object *o);
void core_note_lift(struct lifts *to, const struct lift *lift);
/* What an object follows, or itself. */
const struct object *core_followed(const struct object *o);
static inline int32_t task_priority(const struct task *t)
{
    int32_t priority = t->class_->priority;

    return UNLIKELY(t->extra != NULL && t->extra->lifted > priority) ? t->extra->lifted : priority;
}

struct object_error *error_new(const struct failure *f);
struct object_error *error_make(const struct raylet_core *c, int code, const char *task,
                                const char *format, ...) PRINTF(4, 5);
struct object_error *error_ref(struct object_error *e);
/* As a task sees it that needed the failed value: depth one more. A new reference. */
struct object_error *error_deeper(struct object_error *e);
void error_unref(struct object_error *e); /* NULL is fine */

void core_timer_init(struct core_timer *t, enum core_timer_kind kind);
void core_timer_arm(struct raylet_core *c, struct core_timer *t, uint64_t at_ns);
void core_timer_disarm(struct raylet_core *c, struct core_timer *t);

#endif
