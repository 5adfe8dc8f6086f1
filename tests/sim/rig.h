/*
 * One raylet core with fake processes around it: a head that says yes, drivers, and workers whose
 * every move the test makes. No I/O; time is a number. The unit tests of the core read as timelines
 * with it, and the simulation drives many moves by a seed.
 *
 * What tasks are given and return is a word of 8 bytes, and behind it the references inside, 16
 * bytes each. Of other nodes a test plays the part itself (rig_peer_*, rig_sent), or says with
 * hooks who does.
 */
#ifndef TESTS_SIM_RIG_H
#define TESTS_SIM_RIG_H

#include "common/clock.h"
#include "raylet/core.h"

#include <uthash.h>

#define RIG_PROCESSES 512
#define RIG_PROGRAMS  64
#define RIG_SENT_MAX  4096

struct rig_refs {            /* references that came with a RUN */
    uint32_t count, of_args; /* the first ones stand in the arguments, the others in its needs */
    struct object_id ids[];
};

struct rig_run { /* a RUN that lies in a worker's ring */
    uint32_t slot;
    struct object_id task;
    uint32_t attempt, returns, class_number;
    uint64_t payload; /* its first 8 bytes */
    uint64_t needs;   /* the sum of the first 8 bytes of its needed values */
    uint32_t need_count;
    uint64_t time_left_ns;
};

enum rig_word { RIG_FREE, RIG_OFFERED, RIG_CLAIMED, RIG_TAKEN };

struct rig_process {
    bool used, alive, welcomed, refused, closed;
    uint32_t client;              /* handle */
    uint32_t worker;              /* number; 0: a driver or tool */
    bool leave;                   /* was asked to */
    uint32_t words[LOCAL_CLAIMS]; /* slot << 0 kept apart: */
    uint8_t states[LOCAL_CLAIMS]; /* enum rig_word */
    bool cancel[LOCAL_CLAIMS];
    struct rig_refs *refs[LOCAL_CLAIMS]; /* of the RUN that last used the slot; NULL: none */
    uint32_t program; /* driver: which it is; workers: the one they were made of */
    uint64_t job;     /* once it is welcome */
    struct rig_run ring[256];
    uint32_t ring_first, ring_count;
    struct rig_run current; /* claimed; returns 0: none */
    uint64_t next_number;   /* of the objects it makes */
    uint32_t classes;
    uint64_t credit_back;
    uint32_t cancelled_code;
};

struct rig_value { /* what a driver was told of an object */
    struct object_id id;
    uint32_t answers, state, code;
    uint64_t value;
    UT_hash_handle hh;
};

/* Who plays the parts around the raylet; each may be NULL. */
struct rig_hooks {
    void *arg;
    /* NULL: a fake head that says yes. DATAGRAMs come here, too. */
    void (*on_head)(void *arg, const struct cluster_msg *m, bool datagram);
    /* NULL: sessions are counted and what is sent is kept for rig_sent. */
    void (*on_peer_open)(void *arg, uint32_t peer, const char *address, const char *key);
    void (*on_peer_close)(void *arg, uint32_t peer, enum peer_side side);
    void (*on_peer_send)(void *arg, uint32_t peer, enum peer_side side, const struct peer_msg *m);
    /* NULL: it comes at once (or not: rig.fetch_code). Else answered by rig_fetched. */
    void (*on_fetch)(void *arg, uint32_t peer, uint64_t job, const uint8_t *hash, uint64_t size);
    void (*on_fetch_stop)(void *arg, uint64_t job);
    /* Each answer to a GET. NULL: kept for rig_value. `failure` is NULL for values. */
    void (*on_value)(void *arg, struct rig_process *p, const struct local_value *v,
                     struct bytes bytes, const struct failure *failure);
};

struct rig_sent { /* what the raylet said to another */
    uint32_t peer;
    enum peer_side side;
    const struct peer_msg *m; /* a copy, good as long as the rig */
    bool seen;
};

struct rig_program {
    uint8_t hash[PEER_HASH_SIZE];
    uint32_t pins; /* handles given and not yet dropped */
};

struct rig {
    struct raylet_core *core;
    uint64_t now_ns;
    uint32_t node;
    struct rig_hooks hooks;
    uint64_t fuse;    /* 0: none. After so many events and effects more the raylet is `dead` */
    uint64_t strokes; /* events and effects so far */
    bool dead;
    bool head_up, head_answers; /* answers: false = messages to it are only counted */
    bool check;                 /* raylet_core_check after each step */
    bool long_values;
    uint32_t unchecked; /* steps in which nothing came and nothing was said */
    uint64_t next_job;
    uint32_t next_client;
    uint32_t impossible;         /* FEASIBLE answered with no so many times */
    struct cluster_job_end part; /* the last that the head heard; how often it did */
    uint32_t parts;
    uint32_t histories, history_tasks, history_functions; /* likewise */
    uint32_t joins, job_news, job_ends, spawns, kills, quits, program_loads, fences;
    uint32_t peer_opens, peer_closes, fetches, fetch_stops;
    char close_reason[128]; /* of the last close: which rule was broken; "": none */
    int fetch_code;         /* why programs cannot be fetched; 0: they can */
    struct rig_program programs[RIG_PROGRAMS]; /* by handle, from 1 */
    struct rig_sent sent[RIG_SENT_MAX];
    uint32_t sent_count;
    struct arena sent_arena;
    int spawn_code;               /* why they cannot; 0: CODE_PROGRAM */
    uint32_t spawn_limit;         /* as many live workers, then CODE_FULL; 0: any */
    bool spawn_fails, start_dies; /* workers cannot be started; end before their OPEN */
    bool start_lacks;             /* start_dies: for a reason that will stay */
    bool deaf;                    /* kills are not heard of */
    struct rig_process processes[RIG_PROCESSES];
    uint32_t process_count;   /* those above were never used */
    uint32_t turn;            /* of rig_ready_worker */
    struct rig_value *values; /* by id */
    char last_error[512];     /* what the last value in error says */
    char last_lines[256];     /* of a worker, as its driver got them last */
    struct arena arena;       /* of the events of one turn */
    struct raylet_event *events;
    uint32_t event_count, event_room;
    struct state_reply reply;              /* the last; shallow, valid until the next step */
    uint64_t reply_waiting;                /* of its first node; else of all its classes */
    char reply_line[2048];                 /* its lines, each ended but the last */
    struct state_task reply_tasks[8];      /* the first of its rows, without their texts but ... */
    char reply_reason[128];                /* ... the first one's */
    char reply_name[64], reply_amount[64]; /* of the first task; the first of the first node's */
};

struct rig_config {
    const char *name;
    int cpus;
    const char *custom; /* NULL: none */
    int custom_total;
    const char *address, *key, *labels; /* NULL: "127.0.0.1:7421", "", "" */
    uint32_t supersedes, rules_off;
    uint64_t seed, now_ns;
    uint64_t foreign_value_bytes; /* 0: as in life */
    bool long_values;             /* what its processes return and put has 23 bytes at least */
};

/* "box-1" at one second with a head that says yes, joined. */
void rig_init(struct rig *r, int cpus, const char *custom, int custom_total);
/* Not yet joined. */
void rig_open(struct rig *r, const struct rig_config *config);
void rig_fini(struct rig *r);

/* Steps until nothing comes of it any more (at most 1,000 turns). */
void rig_settle(struct rig *r);
/* Time passes, timers fire on the way, in order. */
void rig_pass(struct rig *r, uint64_t ns);
struct raylet_event *rig_event(struct rig *r, enum raylet_event_kind kind); /* for the next turn */
struct local_msg *rig_say(struct rig *r, struct rig_process *p, enum local_type type);

void rig_head(struct rig *r, bool up);
void rig_head_says(struct rig *r, const struct cluster_msg *m); /* borrowed until the next step */
struct rig_process *rig_driver(struct rig *r); /* opened; welcomed if the head answers */
/* One that runs this program: 1 to RIG_PROGRAMS. rig_driver is of program 1. */
struct rig_process *rig_driver_of(struct rig *r, uint32_t program);
struct rig_process *rig_tool(struct rig *r);
void rig_driver_end(struct rig *r, struct rig_process *p, bool goodbye);

struct rig_class {
    int cpus_x10000;
    const char *custom;
    int custom_x10000, priority;
    uint32_t strategy; /* enum sched_strategy */
    bool soft;
    const char *node, *labels; /* NULL: "" */
};
uint32_t rig_class(struct rig *r, struct rig_process *p, const char *function,
                   struct rig_class class_);

struct rig_task {
    uint32_t class_number, returns, max_attempts, flags, parent_slot;
    uint64_t payload, timeout_ns;
    uint64_t backoff_ns; /* 0: as the SDK has it, 100 ms */
    bool no_backoff;
    const struct object_id *needs;
    size_t need_count;
    const struct object_id *refs;
    size_t ref_count;
    const char *name; /* NULL: none */
};
struct object_id rig_submit(struct rig *r, struct rig_process *p,
                            struct rig_task task); /* not yet stepped */
struct object_id rig_put(struct rig *r, struct rig_process *p, uint64_t value);
struct object_id rig_put_holding(struct rig *r, struct rig_process *p, uint64_t value,
                                 const struct object_id *refs, size_t ref_count);
void rig_get(struct rig *r, struct rig_process *p, struct object_id id);
void rig_release(struct rig *r, struct rig_process *p, struct object_id id);
void rig_hold(struct rig *r, struct rig_process *p, struct object_id id);
/* A reference inside the value of `through`, which it holds. */
void rig_hold_through(struct rig *r, struct rig_process *p, struct object_id id,
                      struct object_id through);
/* Its body waits for these. */
void rig_blocked(struct rig *r, struct rig_process *p, const struct object_id *ids, size_t count);
void rig_cancel(struct rig *r, struct rig_process *p, struct object_id id, uint32_t flags);
void rig_query(struct rig *r, struct rig_process *p, struct state_query query);

/* The next live worker, in turn, that has something in its ring and no body; NULL if none. */
struct rig_process *rig_ready_worker(struct rig *r);
/* It claims the next that was not taken back; false: there is none. */
bool rig_claim(struct rig *r, struct rig_process *w);
void rig_return(struct rig *r, struct rig_process *w,
                uint64_t value); /* all its returns: value, value + 1, ... */
struct rig_return {
    enum return_state state;
    uint64_t value;         /* RETURN_VALUE */
    struct object_id alias; /* RETURN_ALIAS */
    const struct object_id *refs;
    size_t ref_count;
};
void rig_return_these(struct rig *r, struct rig_process *w, const struct rig_return *returns,
                      size_t count);
/* References that came with the RUN of its body. NULL: none */
const struct rig_refs *rig_refs(const struct rig_process *w);
void rig_return_alias(struct rig *r, struct rig_process *w, struct object_id target);
void rig_fail(struct rig *r, struct rig_process *w, int app_code);
void rig_crash(struct rig *r, struct rig_process *w, int signal);
uint32_t rig_live_workers(struct rig *r);
/* Runs all that can run: each body returns its payload plus the sum of its needs. How many ran. */
uint32_t rig_run_all(struct rig *r);

/* ---- other nodes ---- */

void rig_peer_up(struct rig *r, uint32_t peer, enum peer_side side);
void rig_peer_down(struct rig *r, uint32_t peer, enum peer_side side, bool refused);
/* `m` is borrowed until the next step. */
void rig_peer_says(struct rig *r, uint32_t peer, enum peer_side side, const struct peer_msg *m);
/* A zeroed message from it, to be filled before the next step. */
struct peer_msg *rig_peer_message(struct rig *r, uint32_t peer, enum peer_side side,
                                  enum peer_type type);
/* The first of this kind that it sent there and that was not asked for before; NULL: none. */
const struct peer_msg *rig_sent(struct rig *r, uint32_t peer, enum peer_side side,
                                enum peer_type type);
/* The head's row on another node with so much of CPU: from now on it may be used. */
void rig_view(struct rig *r, uint32_t number, const char *name, int cpus);
void rig_view_dead(struct rig *r, uint32_t number);
/* Answers on_fetch: code 0, or why not. */
void rig_fetched(struct rig *r, uint64_t job, const uint8_t *hash, int code);
/* Which program has this hash: 1 to RIG_PROGRAMS; 0: none. */
uint32_t rig_program_of(const uint8_t *hash);
uint32_t rig_pins(const struct rig *r); /* of programs, all together */

const struct rig_value *rig_value(struct rig *r, struct object_id id); /* NULL: no answer yet */

#endif
