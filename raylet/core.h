/*
 * The raylet as a state machine: events in, effects out. No system call, no clock, no lock, no
 * randomness but a seeded generator; so whole clusters of it run inside one test. The shell
 * (raylet/shell_*.c) turns rings, sockets, processes and time into events, and carries out the
 * effects in order.
 *
 * A turn is one call of raylet_core_step with all that has come. Pointers in events are borrowed
 * for the call; pointers in effects are valid until the next call.
 */
#ifndef RAYLET_CORE_H
#define RAYLET_CORE_H

#include "common/resources.h"
#include "proto/cluster.h"
#include "proto/local.h"
#include "proto/peer.h"

struct raylet_core;

struct raylet_config {
    const char *node_name, *cluster;
    const struct cluster_amount *amounts; /* totals; CPU and memory at least */
    size_t amount_count;
    const char *labels;
    uint32_t uid;     /* a driver of this uid belongs to `user` in rows that people read */
    const char *user; /* NULL: its number */
    const struct cluster_join *join; /* host, address, version, public_key, pid, supersedes: what
                                        JOIN says of us; the rest is ours */
    uint64_t seed;
    uint64_t client_credit_bytes; /* of each process; 0: 1 GiB */
    uint64_t memory_credit_bytes; /* of all together; 0: no limit */
    uint64_t foreign_value_bytes; /* values of other nodes' objects that are kept here; 0: a quarter
                                     of memory_credit_bytes, or 256 MiB */
    uint32_t workers_max;         /* 0: max(4 * CPUs, 64) + blocked ones */
    uint32_t job_workers_max;     /* processes of one job, those whose bodies wait included; 0: the
                                     larger of 512 and 16 for each CPU */
    uint32_t depth_max;           /* of tasks that submit tasks; 0: 256 */
    uint64_t idle_worker_ns;      /* an idle worker leaves after; 0: 60 s */
    bool closed;        /* takes no work of other nodes: it serves the programs beside it */
    bool is_passing;    /* it ends with the program that started it, and its logs with it */
    uint32_t rules_off; /* enum core_rule: for tests that show what each rule is for */
    uint64_t now_ns, boot_ns;
    uint64_t unix_ms; /* at now_ns, for rows that people read */
};

/* Rules of docs/protocol.md that a test may switch off, to see that it then fails. */
enum core_rule {
    RULE_COVER_ARGS = 1u << 1,  /* home: holds a task's references until ARGS_FREE */
    RULE_ADD_FIRST = 1u << 2,   /* executor: ARGS_FREE only after ADDED; home: RECORDED likewise */
    RULE_KEEP_RESULT = 1u << 3, /* executor: holds what is inside a result until RECORDED */
    RULE_SILENCE_HOLDS =
        1u << 4,               /* owner: silence takes nobody out of a set, only the head's word */
    RULE_LIST_AGAIN = 1u << 5, /* borrower: a session begins with all that it holds */
    RULE_END_GUESTS = 1u << 6, /* executor: a home's session ends, its attempts end */
    RULE_LOSE_ATTEMPTS = 1u << 7,  /* home: the session ends, its attempts there are lost */
    RULE_CHARGE_STARTED = 1u << 8, /* home: known as started is charged */
    RULE_AT_MOST_ONCE = 1u << 9,   /* home: without BACK it is not run again */
    RULE_GRANTS = 1u << 10,        /* executor: a promise takes resources */
    RULE_OWNER_LOST = 1u << 11,    /* borrower: the head's word on an owner ends waits for it */
    RULE_CHILDREN =
        1u << 12, /* executor: children of a dead attempt that nobody holds go with it */
    RULE_UNREACHABLE = 1u << 13,  /* borrower: waits end after 15 s of silence */
    RULE_ONLY_HOLDERS = 1u << 14, /* a process names only what it holds */
    RULE_CYCLES = 1u << 15,       /* home: a wait that can never end is found and ended */
};

struct raylet_core *raylet_core_new(const struct raylet_config *config);
void raylet_core_free(
    struct raylet_core *core); /* asserts its registries consistent; NULL is fine */

/* Of a session between raylets: OUT is ours, we are its client; IN is theirs. */
enum peer_side { SIDE_OUT = 0, SIDE_IN = 1 };

enum raylet_event_kind {
    /* A process greeted us: `client` is the shell's handle, never used again. Its OPEN arrives as
       its first message. */
    EVENT_CLIENT_UP = 1,
    EVENT_CLIENT_MESSAGE,
    EVENT_CLIENT_DOWN, /* its socket ended, or the shell dropped it for broken bytes (failure says
                          so) */
    EVENT_CLIENT_SLOW, /* `client`, `ok`: much lies unread before it, or (false) no longer: its
                          answers are then without their values */
    /* The program of a driver is hashed and stored, or cannot be used. `client`, `program` (handle
       > 0, equal hash = equal handle). */
    EVENT_PROGRAM,
    EVENT_WORKER_STARTED, /* `worker`, `pid`: the process exists; it will connect as a client with
                             OPEN.worker */
    EVENT_WORKER_REFUSED, /* `worker`, `failure`: could not be started; CODE_FULL: not now */
    EVENT_WORKER_EXITED,  /* `worker`, `wait_status`; `claimed`: indexes whose words stood in
                             CLAIMED; all its messages came before. `refused`, with a failure: it
                             ended before its OPEN, and so will every other one */
    EVENT_TAKEN_BACK,     /* `worker`, `slot`, `ok`: answer to EFFECT_TAKE_BACK */
    EVENT_HEAD_UP,        /* a session with the head begins; answered with JOIN by the core */
    EVENT_HEAD_MESSAGE,
    EVENT_HEAD_DOWN, /* it ended; `refused`: the head's process is down, the network is not;
                        `key_refused`: no session, because the head does not know our key, or
                        another program answers at its address */
    EVENT_LEAVE,   /* this node shall leave: no new work, running work ends within `limit_ns`, then
                      EFFECT_QUIT */
    EVENT_CLOCK,   /* the machine's clock was set, or it slept: `unix_ms` is the time now */
    EVENT_PEER_UP, /* `peer`, `side`: a session with this node begins */
    EVENT_PEER_MESSAGE, /* `peer`, `side`, `peer_msg` */
    EVENT_PEER_DOWN,    /* `peer`, `side`: it ended. SIDE_OUT: `refused`: its process is gone,
                           `key_refused`: another one is at its address; both may come without UP;
                           `silent`: one of the two did not hear the other for 15 s */
    EVENT_PEER_SLOW, /* `peer`, `side`, `ok`: much waits to be sent there, or (false) no longer */
    EVENT_PROGRAM_FETCHED, /* `job`: answer to EFFECT_FETCH_PROGRAM: `program` (to be dropped like
                              that of EVENT_PROGRAM, also if nobody waits any more), or `failure` */
    EVENT_LOG, /* `worker`, `stream`, `data`: lines it wrote (the last may be unfinished); only for
                  workers of jobs that want them */
    EVENT_LOG_TAKEN, /* `client`, or `peer` and `job`: answer to EFFECT_LOG_TAKEN; the lines came
                        before */
};

struct raylet_end {        /* what a worker left */
    const char *last_line; /* on its standard error, by the body that ran last; "": none */
    const char *core_file; /* where the kernel wrote its memory, in words; "": nowhere */
};

/* One cache line: millions come in a second. What shares memory belongs to different kinds. */
struct raylet_event {
    enum raylet_event_kind kind;
    uint32_t client;
    uint32_t worker;
    union {
        uint32_t slot;
        uint32_t program;
        uint32_t stream;
    };
    bool ok, refused, key_refused, silent;
    int32_t pid;
    uint32_t peer; /* its node number */
    union {
        enum peer_side side;
        int wait_status;
        uint32_t uid;
    };
    union {
        uint64_t claimed[2]; /* bit set of slots */
        struct bytes data;
        struct {                 /* EVENT_PROGRAM */
            const uint8_t *hash; /* PEER_HASH_SIZE bytes; NULL with a failure */
            uint64_t size;       /* of its file, bytes */
        };
        uint64_t job;
        uint64_t limit_ns;
        uint64_t unix_ms;
    };
    const struct failure *failure; /* NULL: none */
    union {
        const struct local_msg *local;  /* EVENT_CLIENT_MESSAGE */
        const struct cluster_msg *head; /* EVENT_HEAD_MESSAGE */
        const struct peer_msg *peer_msg;
        const struct raylet_end *end; /* EVENT_WORKER_EXITED; NULL: nothing is known */
    };
};
_Static_assert(sizeof(struct raylet_event) <= 64, "they are zeroed, written and read");

enum raylet_effect_kind {
    EFFECT_SEND = 1, /* `client`, `local`: for RUN its claim word is set to OFFERED first */
    EFFECT_CLOSE,    /* `client`: after what was sent before; a worker is killed by EFFECT_KILL */
    EFFECT_CREDIT,   /* `client`, `bytes` came back; modulo 2^64, for large results take more */
    EFFECT_CANCEL_FLAG,  /* `client` (a worker's), `slot`: set CLAIM_CANCEL */
    EFFECT_TAKE_BACK,    /* `client`, `worker`, `slot`: compare-and-swap OFFERED to TAKEN_BACK;
                            answered in the same turn */
    EFFECT_LOAD_PROGRAM, /* `client`: hash the program it handed over, answer EVENT_PROGRAM */
    EFFECT_PROGRAM_DROP, /* `program`: gives back what one EVENT_PROGRAM gave */
    EFFECT_SPAWN, /* `worker`, `program`, `job`, `client` (the driver: cwd, env, umask as in `open`)
                   */
    EFFECT_KILL,  /* `worker`, `signal`: its whole process group */
    EFFECT_HEAD,  /* `head`: send to the head in the session */
    EFFECT_HEAD_DATAGRAM,
    EFFECT_READ_LOG,      /* `client`, `local` (the QUERY): the shell reads the file and answers the
                             client itself */
    EFFECT_FENCE,         /* the lease is lost: see the log */
    EFFECT_QUIT,          /* end the daemon; `failure` code 0: left as asked, else say why */
    EFFECT_PEER_OPEN,     /* `peer`, `address`, `key`: begin a session with it (SIDE_OUT), again and
                             again until it is up or closed */
    EFFECT_PEER_CLOSE,    /* `peer`, `side`: end it; no EVENT_PEER_DOWN follows */
    EFFECT_PEER_SEND,     /* `peer`, `side`, `peer_msg` */
    EFFECT_FETCH_PROGRAM, /* `peer` (SIDE_IN), `job`, `hash`, `bytes` (its size): from that node,
                             unless it is stored here already */
    EFFECT_FETCH_STOP,    /* `job`: nobody wants it any more; no answer follows */
    EFFECT_LOG_LINES,     /* `worker`: from now on its lines come as EVENT_LOG */
    EFFECT_WROTE,         /* `worker`, `wrote` */
    EFFECT_LOG_TAKE,      /* `worker`: what it wrote until now comes as EVENT_LOG at once */
    EFFECT_LOG_TAKEN, /* `client`, or `peer` and `job`: answered by EVENT_LOG_TAKEN behind what was
                         taken before */
};

struct raylet_wrote { /* EFFECT_WROTE: what the body of a task wrote, as in its RESULT */
    struct object_id task;
    uint32_t attempt;
    uint64_t out_end, err_end; /* UINT64_MAX: all that there is; its worker has ended */
};

struct raylet_body { /* EFFECT_READ_LOG, which asks for a task */
    struct object_id task;
    uint32_t worker; /* 0: its body does not run here now */
    uint32_t attempt;
    uint32_t client;    /* of the worker */
    uint64_t others[2]; /* slots of further tasks that the worker may have begun since */
};

/* As struct raylet_event. */
struct raylet_effect {
    enum raylet_effect_kind kind;
    uint32_t client;
    uint32_t worker;
    union {
        uint32_t slot;
        uint32_t program;
        int signal;
    };
    uint32_t peer;
    enum peer_side side;
    uint64_t job;
    union {
        const char *address; /* "10.0.0.6:7421" */
        const uint8_t *hash; /* PEER_HASH_SIZE bytes */
        const struct raylet_wrote *wrote;
        const struct raylet_body *body; /* EFFECT_READ_LOG; NULL: it asks for a worker's */
    };
    union {
        const char *key; /* Z85 */
        uint64_t bytes;
        uint64_t head_request; /* EFFECT_READ_LOG: the request; `client` is 0 and `head` the QUERY
                                  if the head asks */
    };
    union {
        const struct local_msg *local;
        const struct cluster_msg *head;
        const struct peer_msg *peer_msg;
        const struct local_open *open;
        const struct failure *failure;
    };
};
_Static_assert(sizeof(struct raylet_effect) <= 64, "they are zeroed, written and read");

struct raylet_effects {
    struct raylet_effect *items; /* the core's; valid until its next step */
    size_t count;
};

/*
 * One turn: takes the events, schedules once, returns what to do. When `ret->count` is 0 nothing is
 * to be done. The shell calls it again at once while raylet_core_has_work() (bounded work lists),
 * and no later than raylet_core_next_ns().
 */
void raylet_core_step(struct raylet_core *core, uint64_t now_ns, uint64_t boot_ns,
                      const struct raylet_event *events, size_t event_count,
                      struct raylet_effects *ret);
/* What is used of the machine's memory now, for rows that people read; 0: not known. */
void raylet_core_note_memory(struct raylet_core *core, uint64_t used_bytes);
bool raylet_core_has_work(const struct raylet_core *core);
uint64_t raylet_core_next_ns(const struct raylet_core *core); /* NS_FOREVER: nothing is due */

/* What tests check after each step: resources taken equal what runs; every count equals what is
 * there. Aborts with a message when not. Slow. */
void raylet_core_check(struct raylet_core *core);

struct raylet_counts {
    uint64_t clients, workers, idle_workers, jobs, tasks, objects, classes, programs;
    uint64_t waiting, running, done, failed, cancelled; /* tasks; the last three since the start */
    uint64_t held_bytes;                                /* of tasks and values, as charged */
    uint64_t foreign_value_bytes;
    uint64_t dropped_messages, protocol_errors;
};
void raylet_core_count(const struct raylet_core *core, struct raylet_counts *ret);

#endif
