/*
 * The head as a state machine: events in, effects out. No system call, no clock, no lock; the same
 * events give the same effects. The shell (head/shell.c) turns links, tools, probes, the journal
 * and time into events, and carries out the effects in order.
 *
 * Journal first: every effect that leaves the head (SEND, TOOL, DROP, TOOL_CLOSE, QUIT) carries in
 * `after` the number of the last record made before it, and is held back inside the core until
 * EVENT_COMMITTED has named that record or a later one. Only DATAGRAM (RENEWED) is exempt.
 *
 * A turn is one call of head_core_step with all that has come; messages are taken before time.
 * Pointers in events are borrowed for the call; pointers in effects are valid until the next call.
 */
#ifndef HEAD_CORE_H
#define HEAD_CORE_H

#include "head/record.h"
#include "proto/local.h"
#include "proto/transport.h"

#define HEAD_LEASE_NS       9000000000ull /* of a node, renewed each second */
#define HEAD_STALL_NS       3000000000ull /* a pause between two turns above this is a stall */
#define HEAD_SUSPECT_NS     1500000000ull /* without a renewal: its port is probed */
#define HEAD_PROBE_NS       400000000ull  /* between two probes */
#define HEAD_PROBES_REFUSED 2u            /* in a row: its process is gone */
#define HEAD_REACH_PAUSE_NS                                                                        \
    1000000000ull                           /* between two checks of an address; doubled each time \
                                             */
#define HEAD_REACH_MAX_NS    30000000000ull /* up to this */
#define HEAD_RECONCILE_NS    5000000000ull  /* a job that its node no longer lists is lost after */
#define HEAD_QUERY_NS        2000000000ull  /* nodes answer a query within, or are named */
#define HEAD_NODES_MAX       4096u          /* alive */
#define HEAD_NODES_ENDED_MAX 1000u          /* remembered; the numbers of all are */
#define HEAD_JOBS_LIVE_MAX   200000u
#define HEAD_JOBS_ENDED_MAX  100000u
#define HEAD_QUERIES_MAX     256u
#define HEAD_LINKS_MAX       8192u
#define HEAD_TOOLS_MAX       256u
#define HEAD_HELD_MAX                                                                              \
    (64u << 20)             /* bytes that wait for the journal; beyond: the receiver is dropped */
#define HEAD_WORK_STEP 256u /* jobs of a dead node that one turn ends */

struct head_core;

struct head_time {
    uint64_t now_ns;  /* monotonic */
    uint64_t boot_ns; /* also runs while the machine is suspended: leases */
    uint64_t unix_ms; /* for people */
};

struct head_config {
    const char *cluster, *address; /* as nodes reach it: "10.0.0.5:7420" */
    uint32_t pid;
    struct head_time time;
};

struct head_core *head_core_new(const struct head_config *config);
void head_core_free(struct head_core *core); /* NULL is fine */
/* Before the first step: what the journal holds, nodes before jobs, each by ascending number. A row
 * that contradicts the others is left out: it costs itself and not the head. `on_bad` (may be NULL)
 * is told of each, with a static text. */
void head_core_restore(struct head_core *core, const struct head_record *records, size_t count,
                       void (*on_bad)(void *arg, const struct head_record *record, const char *why),
                       void *arg);

enum head_event_kind {
    HEAD_EVENT_LINK_UP =
        1, /* `link` (the shell's handle, never used again), `role`: a session begins */
    HEAD_EVENT_MESSAGE,   /* `link`, `cluster`: the next one in its session */
    HEAD_EVENT_DATAGRAM,  /* `link`, `cluster` */
    HEAD_EVENT_LINK_CUT,  /* `link`: its connection ended; the session waits for another one */
    HEAD_EVENT_LINK_DOWN, /* `link`: its session ended */
    HEAD_EVENT_PROBED,    /* `node`, `probe`: the answer to HEAD_EFFECT_PROBE */
    HEAD_EVENT_REACHED,   /* `node`, `reach`: the answer to HEAD_EFFECT_REACH */
    HEAD_EVENT_COMMITTED, /* `record`: all records up to this one are on disk */
    HEAD_EVENT_TOOL_UP, /* `tool` (handle, never used again): a process of this user at head.sock */
    HEAD_EVENT_TOOL_MESSAGE, /* `tool`, `local` */
    HEAD_EVENT_TOOL_DOWN,    /* `tool` */
};

enum head_probe { HEAD_PROBE_ALIVE = 1, HEAD_PROBE_REFUSED = 2, HEAD_PROBE_SILENT = 3 };

/* What was found at the address of a node. */
enum head_reach {
    HEAD_REACH_NODE = 1, /* the node: it has its key */
    HEAD_REACH_REFUSED,  /* nobody listens there */
    HEAD_REACH_SILENT,   /* no answer, no way there */
    HEAD_REACH_OTHER,    /* another program, or another node */
    HEAD_REACH_NO_NAME,  /* it is a name that this machine does not know */
    HEAD_REACH_UNASKED,  /* too many questions at once: later again */
};

struct head_event {
    enum head_event_kind kind;
    uint64_t link;
    uint32_t tool;
    uint32_t node;
    enum peer_role role;
    enum head_probe probe;
    enum head_reach reach;
    const char *seen; /* MESSAGE, DATAGRAM: from where it comes, a numeric address; NULL: unknown */
    uint64_t record;
    const struct cluster_msg *cluster;
    const struct local_msg *local;
};

enum head_effect_kind {
    HEAD_EFFECT_RECORD = 1, /* `record`, `record_number` (consecutive): append to the journal */
    HEAD_EFFECT_COMMIT,   /* `record_number`: make all up to this one durable, then EVENT_COMMITTED;
                             any error ends the head */
    HEAD_EFFECT_SEND,     /* `link`, `message` (an encoded cluster_msg), in its session */
    HEAD_EFFECT_DATAGRAM, /* `link`, `message` */
    HEAD_EFFECT_DROP,     /* `link`: end it, after what was sent before; no LINK_DOWN follows */
    HEAD_EFFECT_PROBE,    /* `node`, `address`: connect to this port and say how it answered */
    HEAD_EFFECT_REACH,    /* `node`, `address`, `key`: find out who is there */
    HEAD_EFFECT_TOOL,     /* `tool`, `message` (an encoded local_msg) */
    HEAD_EFFECT_TOOL_CLOSE, /* `tool`: after what was sent before; no TOOL_DOWN follows */
    HEAD_EFFECT_LOG,        /* `text`, one line for the log */
    HEAD_EFFECT_QUIT,       /* end the daemon: a tool asked for it */
};

struct head_effect {
    enum head_effect_kind kind;
    uint64_t link;
    uint32_t tool;
    uint32_t node;
    uint64_t after; /* the last record made before this was decided; 0: none */
    uint64_t record_number;
    const struct head_record *record;
    struct bytes message;
    const char *address, *key, *text;
};

struct head_effects {
    struct head_effect *items; /* the core's; valid until its next step */
    size_t count;
};

/* One turn. The shell calls it again at once while head_core_has_work(), and no later than
 * head_core_next_ns(). */
void head_core_step(struct head_core *core, const struct head_time *time,
                    const struct head_event *events, size_t event_count, struct head_effects *ret);
bool head_core_has_work(const struct head_core *core);
uint64_t
head_core_next_ns(const struct head_core *core); /* monotonic; NS_FOREVER: nothing is due */

/* What tests check after each step: every count equals what is there, every index leads back.
 * Aborts when not. Slow. */
void head_core_check(struct head_core *core);

struct head_counts {
    uint64_t nodes_alive, nodes_ended, jobs_live, jobs_ended, links, tools, queries;
    uint64_t held, held_bytes; /* what waits for the journal */
    uint64_t records, committed;
    uint64_t dropped_messages, protocol_errors;
};
void head_core_count(const struct head_core *core, struct head_counts *ret);

/* For tests and the shell's first line: rows as they are now, by number. NULL if unknown. Valid
 * until the next step. */
const struct head_node_row *head_core_node(struct head_core *core, uint32_t number);
const struct head_job_row *head_core_job(struct head_core *core, uint64_t number);

#endif
