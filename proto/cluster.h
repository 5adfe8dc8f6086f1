/*
 * What a raylet and the head say to each other, as plain structs; proto/cluster.proto is their form
 * on the wire. They travel in sessions (proto/session.h), each once and in order; RENEW and RENEWED
 * alone are datagrams. The same contracts as proto/local.h. No I/O.
 */
#ifndef PROTO_CLUSTER_H
#define PROTO_CLUSTER_H

#include "common/bytes.h"
#include "common/codes.h"
#include "common/ids.h"
#include "proto/message.h"
#include "proto/state.h"

#define CLUSTER_PROTOCOL_VERSION 1u

enum cluster_type {
    CLUSTER_JOIN = 64,            /* raylet: first on every session */
    CLUSTER_JOINED = 65,          /* head */
    CLUSTER_REFUSED = 66,         /* head: the raylet ends with this sentence */
    CLUSTER_RENEW = 67,           /* raylet, each second, datagram */
    CLUSTER_RENEWED = 68,         /* head, datagram */
    CLUSTER_JOB_NEW = 69,         /* raylet */
    CLUSTER_JOB_ADDED = 70,       /* head, after its commit */
    CLUSTER_JOB_END = 71,         /* raylet */
    CLUSTER_JOB_ENDED = 72,       /* head, after its commit */
    CLUSTER_FEASIBLE = 73,        /* raylet: could any node ever? */
    CLUSTER_FEASIBLE_ANSWER = 74, /* head */
    CLUSTER_VIEW = 75,            /* head: nodes that changed */
    CLUSTER_LEAVE = 76,           /* raylet */
    CLUSTER_LEFT = 77,            /* head, after its commit */
    CLUSTER_QUERY = 78,           /* either way: state of the cluster or of one node */
    CLUSTER_REPLY = 79,
    CLUSTER_DRAIN = 80,   /* raylet: it will leave, and takes no new work of others */
    CLUSTER_HISTORY = 81, /* raylet, now and then and when it leaves: what ended there */
    CLUSTER_REACH = 82,   /* head: whether the node was reached at its address */
};

struct cluster_amount {
    const char *name;
    int64_t total_units, available_units;
};

struct cluster_join {
    uint32_t protocol;
    uint32_t number; /* what this incarnation already holds (a new session, a restarted head); 0:
                        give me one */
    uint32_t supersedes; /* the number of the same directory's former incarnation, surely dead: its
                            lock is ours; 0: none */
    /* address: "10.0.0.5:7421", of the message port, as the node sees itself. The head tells others
     * the address at which it sees the node, unless this one is `advertised`. */
    const char *name, *host, *address, *version;
    const char *public_key; /* Z85, 40 characters: of its message port */
    uint32_t pid;
    const struct cluster_amount *amounts;
    size_t amount_count;
    const char *labels;   /* "disk=ssd,zone=b" */
    const uint64_t *jobs; /* that it still runs */
    size_t job_count;
    bool closed;  /* takes no work of others: it serves one program that runs beside it */
    bool leaving; /* as after DRAIN */
    /* A random text that only this node's directory has (CLUSTER_SECRET_SIZE - 1 characters). Who
     * comes back as a number, or supersedes one, shows the secret that it joined with. */
    const char *secret;
    bool advertised; /* its user chose the address, with --advertise or --bind */
};
#define CLUSTER_SECRET_SIZE 65u

struct cluster_joined {
    uint32_t number;
    uint64_t lease_ns;
    const char *cluster;
    const char *address; /* the node's, as others are told it */
};

/* After JOINED, and whenever it changes. */
struct cluster_reach {
    const char *address;
    const char *warning; /* why others cannot reach the node there; "": they can */
};

struct cluster_refused {
    struct failure failure;
};

struct cluster_renew {
    uint64_t sent_ns;     /* the raylet's boot clock: the lease runs from it */
    uint64_t answered_ns; /* sent_ns of the last RENEWED seen; 0: none */
    const struct cluster_amount
        *amounts; /* what changed since the last answered one; all at first */
    size_t amount_count;
    uint64_t waiting, running, done, failed; /* tasks; waiting: but for one other node alone */
    uint32_t workers, idle_workers;
    uint64_t cancelled;         /* tasks */
    uint64_t memory_used_bytes; /* of the machine; 0: not known */
};

struct cluster_renewed {
    uint64_t sent_ns; /* of the RENEW that it answers */
};

struct cluster_job_new {
    uint64_t key; /* of this raylet: its number for the driver; with the node's number it makes this
                     idempotent */
    const char *name, *program, *user;
    uint32_t pid;
    uint64_t started_unix_ms;
};

struct cluster_job_added {
    uint64_t key;
    uint64_t job;
    struct failure failure; /* code 0: added */
};

struct cluster_job_end {
    uint64_t job;
    uint32_t state; /* enum job_end */
    uint64_t ended_unix_ms;
    uint64_t done, failed, cancelled; /* its tasks */
};

/* PART: from a node that is not its driver's, of the tasks that were submitted there; the job may
 * go on. Each replaces that node's former one. JOB_ENDED answers when the whole job is over. */
enum job_end { JOB_DONE = 1, JOB_FAILED = 2, JOB_LOST = 3, JOB_PART = 4, JOB_CANCELLED = 5 };

struct cluster_job_ended {
    uint64_t job;
};

struct cluster_feasible {
    uint64_t request;
    const struct cluster_amount *amounts; /* total_units: what is asked */
    size_t amount_count;
    uint32_t strategy;
    bool soft;
    const char *node, *labels;
};

struct cluster_feasible_answer {
    uint64_t request;
    struct failure failure; /* code 0: some node can; CODE_IMPOSSIBLE with the reason */
};

struct cluster_view_node {
    uint32_t number;
    const char *name, *address, *public_key, *labels; /* all "": as they and `warning` were */
    uint32_t state;                                   /* enum node_state */
    const struct cluster_amount *amounts;
    size_t amount_count;
    uint64_t waiting, running;
    bool closed;         /* takes no work of others: private, or leaving */
    const char *warning; /* why it cannot be reached at its address; "": nothing is known */
};

enum node_state { NODE_ALIVE = 1, NODE_LOST = 2, NODE_LEFT = 3 };

struct cluster_view {
    bool whole; /* replaces all that was known */
    bool more;  /* of a whole one: the next message goes on with it */
    const struct cluster_view_node *nodes;
    size_t node_count;
};

struct cluster_query {
    uint64_t request;
    struct state_query query;
};

struct cluster_reply {
    uint64_t request;
    struct state_reply reply;
};

/* What the head shows of a node that is gone. Each replaces the former one. */
struct cluster_history {
    struct state_reply rows; /* tasks and functions */
};

struct cluster_msg {
    enum cluster_type type;
    union {
        struct cluster_join join;
        struct cluster_joined joined;
        struct cluster_refused refused;
        struct cluster_renew renew;
        struct cluster_renewed renewed;
        struct cluster_job_new job_new;
        struct cluster_job_added job_added;
        struct cluster_job_end job_end;
        struct cluster_job_ended job_ended;
        struct cluster_feasible feasible;
        struct cluster_feasible_answer feasible_answer;
        struct cluster_view view;
        struct cluster_query query;
        struct cluster_reply reply;
        struct cluster_history history;
        struct cluster_reach reach;
    };
};

size_t cluster_size(const struct cluster_msg *m);
void cluster_encode(const struct cluster_msg *m, void *dst);
int cluster_decode(struct bytes data, struct arena *arena, struct cluster_msg *ret,
                   const char **ret_why) MUST_CHECK;

#endif
