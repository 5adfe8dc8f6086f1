/*
 * The inside of the head's core, shared by head/core*.c alone: its tables and who may call whom.
 * core.c is on top and dispatches; core_query, core_nodes, core_jobs, core_view and core_feasible
 * stand side by side above core_reach, and that above core_out, which alone makes effects.
 */
#ifndef HEAD_CORE_PRIVATE_H
#define HEAD_CORE_PRIVATE_H

#include "common/clock.h"
#include "common/hostport.h"
#include "common/list.h"
#include "common/numbers.h"
#include "common/resources.h"
#include "head/core.h"

#include <uthash.h>

#define HEAD_DEAF_NS     (2 * HEAD_LEASE_NS) /* a node that hears nothing so long gets no more */
#define HEAD_ROWS_NODES  32u  /* in one message: below MESSAGE_META_MAX whatever the texts are */
#define HEAD_ROWS_WEIGHT 256u /* in one VIEW of changes: rows without texts */
#define HEAD_ROWS_JOBS   128u
#define HEAD_TICK_NS     NS_PER_S
/* What is kept of tasks of nodes that are gone: of one node, and of all. */
#define HEAD_HISTORY_NODE_BYTES ((size_t)1 << 20)
#define HEAD_HISTORY_BYTES      ((size_t)16 << 20)
#define HEAD_TICK_FAST_NS       (HEAD_PROBE_NS / 2) /* while some node is silent */

struct head_link {
    uint64_t link;
    enum peer_role role;
    char seen[64];          /* from where it comes; "": unknown */
    bool closing;           /* DROP is on its way: nothing that it says counts */
    bool whole;             /* it was sent the whole view */
    struct head_node *node; /* NULL: it has not joined */
    UT_hash_handle hh;
};

struct head_tool {
    uint32_t tool;
    bool open, closing;
    UT_hash_handle hh;
};

struct head_node {
    struct head_node_row row; /* its texts point into `texts` or are static */
    char *texts;
    char note[96];
    char secret_digest[HEAD_DIGEST_SIZE];
    struct list listed;     /* in alive or ended */
    struct list dirty_link; /* in view_dirty */
    struct list dying_link; /* in dying */
    UT_hash_handle hh;      /* by name, while alive */
    struct head_link *link;
    struct list jobs; /* live ones */

    uint64_t lease_boot_ns; /* the lease counts from here */
    bool restored;          /* not heard in this life of the head */
    uint64_t heard_ns;      /* monotonic: last sign of life */
    uint64_t first_sent_ns; /* of its clock: the first renewal after JOIN */
    uint64_t last_sent_ns;  /* the newest renewal */
    bool suspect;
    bool probing; /* a probe is out */
    uint32_t refused;
    uint64_t probe_at_ns;
    uint64_t reconcile_at_ns; /* NS_FOREVER: no job is unaccounted for */

    char address[HOSTPORT_SIZE];       /* what row.address is: as others are told it */
    char said[HOSTPORT_SIZE];          /* as the node sees itself */
    bool advertised;                   /* and then that is what others are told */
    char warning[HOSTPORT_SIZE + 128]; /* why it is not reached there; "" */
    bool reach_asked;                  /* the answer is on its way */
    bool reach_stale;                  /* and is about another address */
    bool reach_told;                   /* in this session */
    uint64_t reach_at_ns;              /* of the next question; NS_FOREVER: none */
    uint64_t reach_pause_ns;

    struct cluster_amount *amounts; /* row.amount_count of them */
    uint64_t waiting, running, done, failed, cancelled, memory_used_bytes;
    uint32_t workers, idle_workers;
    /* Not journalled: a node says both in each JOIN, and what a started head has not heard yet can
     * only make others ask it in vain. */
    bool is_private, leaving;
    bool told;             /* all that have the whole view know its texts */
    struct buffer history; /* core_history's: a CLUSTER_HISTORY, encoded; empty: none */
};

struct head_job_key {
    uint64_t key;
    uint64_t node;
};

#define HEAD_PARTS_MAX (2 * HEAD_NODES_MAX) /* of a job; what further nodes did is not counted */

struct head_part { /* of a job: tasks that were submitted on a node that is not its driver's */
    uint32_t node;
    uint64_t done, failed, cancelled;
};

struct head_job {
    struct head_job_row row; /* texts point behind it */
    uint64_t done, failed,
        cancelled; /* as its own node said when it ended; the row has all parts, too */
    struct head_part *parts;
    uint32_t part_count;
    bool was_over; /* when this head started: which parts its row has is not known */
    struct head_job_key key;
    UT_hash_handle hh;  /* by key */
    struct list all;    /* by number */
    struct list listed; /* in its node's jobs, or in jobs_ended */
    bool unaccounted;   /* its node did not list it when it joined again */
    char texts[];
};

struct head_target {
    uint32_t node;
    bool done;
};

struct head_query {
    struct list listed;
    uint64_t number;  /* our request to the nodes */
    uint64_t request; /* the asker's */
    uint64_t link;    /* the asker: a link, or else a tool */
    uint32_t tool;
    struct arena arena;
    struct state_query query; /* its texts in `arena` */
    uint64_t deadline_ns;
    struct head_target *targets;
    size_t target_count, open;
    size_t rows;
    bool found;             /* something was passed on */
    struct failure failure; /* what a node answered, while nothing is found */
    /* "last" of several nodes: first each says which is its newest task, then the newest one's home
     * is asked. */
    bool chases;
    struct object_id newest;
    uint64_t newest_unix_ms;
};

struct head_out {
    struct list listed;
    enum head_effect_kind kind;
    uint64_t link;
    uint32_t tool;
    uint64_t after;
    size_t size;
    _Alignas(64) uint8_t message[];
};

struct head_core {
    char *cluster, *address;
    uint32_t pid;
    uint64_t started_boot_ns;
    struct head_time time;

    struct numbers nodes; /* all that are remembered */
    struct list alive;    /* by number */
    struct list ended;    /* oldest first */
    struct head_node *names;
    uint32_t node_last; /* the highest number ever given */
    size_t alive_count, ended_count;
    uint64_t restored_until_boot_ns; /* no restored node is lost before */
    struct list dying;               /* nodes that ended and still have live jobs */

    struct head_link *links;
    struct head_tool *tools;

    struct numbers jobs;
    struct list jobs_all, jobs_ended;
    struct head_job *job_keys;
    uint64_t job_last;
    size_t jobs_live, jobs_ended_count;

    struct list queries;
    size_t query_count;
    uint64_t query_last;

    size_t history_bytes; /* of all nodes */

    struct list view_dirty;   /* nodes, by `dirty_link` */
    bool view_urgent;         /* a member came or went */
    uint64_t view_sent_ns;    /* the last changes */
    uint64_t view_soon_at_ns; /* NS_FOREVER: nothing much has changed since */
    uint64_t tick_at_ns;

    struct list held, sent; /* head_out: waits for the journal; handed out in this turn */
    size_t held_count, held_bytes;
    uint64_t record_last, record_committed, record_asked;
    struct arena turn; /* what effects point at */
    struct head_effect *effects;
    size_t effect_count, effect_room;
    uint64_t dropped_messages, protocol_errors;
};

/* ---- core_out.c: the only maker of effects ---- */

void head_record_node(struct head_core *core, const struct head_node *node);
void head_record_job(struct head_core *core, const struct head_job *job);
void head_record_forget(struct head_core *core, enum head_record_kind kind, uint64_t number);
void head_send(struct head_core *core, struct head_link *link,
               const struct cluster_msg *msg); /* link NULL: nothing */
/* The same message for many: encoded once; valid in this turn. */
struct bytes head_encode(struct head_core *core, const struct cluster_msg *msg);
void head_send_encoded(struct head_core *core, struct head_link *link, struct bytes message);
void head_datagram(struct head_core *core, struct head_link *link, const struct cluster_msg *msg);
void head_drop(struct head_core *core, struct head_link *link); /* and parts it from its node */
/* Says why, and drops it. */
void head_refuse(struct head_core *core, struct head_link *link, const struct failure *f);
void head_tell(struct head_core *core, struct head_tool *tool, const struct local_msg *msg);
void head_tool_close(struct head_core *core, struct head_tool *tool);
void head_quit(struct head_core *core);
void head_probe(struct head_core *core, const struct head_node *node);
void head_reach(struct head_core *core, const struct head_node *node);
void head_log(struct head_core *core, const char *format, ...) PRINTF(2, 3);
void head_out_begin(struct head_core *core); /* of a turn: frees what the last one handed out */
void head_out_finish(struct head_core *core);
void head_out_fini(struct head_core *core);

/* ---- core_reach.c: the address of a node, and whether others reach it there ---- */

/* Before a node's row is made. */
void head_reach_init(struct head_node *node, const char *address);
/* The node said JOIN over this link, and will hear JOINED: its address is chosen anew. True if it
 * is another one than before. */
bool head_reach_join(struct head_core *core, struct head_node *node, const char *seen,
                     const struct cluster_join *join);
void head_reach_begin(struct head_core *core, struct head_node *node); /* after JOINED */
/* It may have moved to another address. */
void head_reach_seen(struct head_core *core, struct head_node *node, const char *seen);
void head_reached(struct head_core *core, uint32_t number, enum head_reach reach);
void head_reach_tick(struct head_core *core, struct head_node *node);

/* ---- core_nodes.c ---- */

void head_node_join(struct head_core *core, struct head_link *link,
                    const struct cluster_join *join);
void head_node_renew(struct head_core *core, struct head_link *link,
                     const struct cluster_renew *renew);
void head_node_drain(struct head_core *core, struct head_node *node);
void head_node_leave(struct head_core *core, struct head_node *node);
void head_node_cut(struct head_core *core, struct head_node *node); /* its connection ended */
void head_node_probed(struct head_core *core, uint32_t number, enum head_probe probe);
void head_nodes_tick(struct head_core *core);
void head_nodes_stalled(struct head_core *core);
void head_nodes_prune(struct head_core *core); /* the oldest that ended, above the bound */
/* NULL, or why the row is left out (static text). */
const char *head_node_restore(struct head_core *core, const struct head_node_row *row);
void head_node_free(struct head_node *node);
struct head_node *head_node_named(struct head_core *core,
                                  const char *text); /* alive, by name, number or address */
const char *head_node_state_text(const struct head_node *node);

/* ---- core_jobs.c ---- */

void head_job_new(struct head_core *core, struct head_node *node,
                  const struct cluster_job_new *msg);
void head_job_end(struct head_core *core, struct head_node *node,
                  const struct cluster_job_end *msg);
void head_jobs_listed(struct head_core *core, struct head_node *node, const uint64_t *jobs,
                      size_t count);
void head_jobs_reconcile(struct head_core *core,
                         struct head_node *node); /* what is still unaccounted for is lost */
size_t head_jobs_lose(struct head_core *core, struct head_node *node,
                      size_t most); /* how many were ended */
/* The same, or why it was changed. */
const char *head_job_restore(struct head_core *core, const struct head_job_row *row);
const char *head_job_state_text(const struct head_job *job);

/* ---- core_view.c ---- */

enum head_haste {
    HASTE_NONE, /* with the next tick */
    HASTE_SOON, /* it became full or free: at most five times a second */
    HASTE_NOW,  /* it came, went, or takes no work any more: at the end of this turn */
};

void head_view_touch(struct head_core *core, struct head_node *node, enum head_haste haste);
void head_view_flush(struct head_core *core); /* what is urgent or due */
void head_view_tick(struct head_core *core);  /* whatever changed */
void head_view_whole(struct head_core *core, struct head_link *link);

/* ---- core_feasible.c ---- */

void head_feasible(struct head_core *core, struct head_node *node,
                   const struct cluster_feasible *msg);

/* ---- core_history.c ---- */

void head_history_take(struct head_core *core, struct head_node *node,
                       const struct cluster_history *history);
void head_history_drop(struct head_core *core, struct head_node *node);
/* Rows of a node that is gone, for TASKS and SUMMARY, in the arena of the turn. How many. */
size_t head_history_rows(struct head_core *core, const struct head_node *node,
                         const struct state_query *query, struct state_reply *ret);
/* One task of a node that is gone, for TASKS and EXPLAIN. False: it is not known here. */
bool head_history_task(struct head_core *core, struct object_id id, uint32_t kind,
                       struct state_reply *ret);

/* ---- core_query.c ---- */

struct head_asker { /* one of the two */
    struct head_link *link;
    struct head_tool *tool;
};

void head_query(struct head_core *core, struct head_asker asker, uint64_t request,
                const struct state_query *query);
void head_query_reply(struct head_core *core, struct head_node *node,
                      const struct cluster_reply *reply);
void head_queries_tick(struct head_core *core);
void head_query_unlinked(struct head_core *core, uint32_t node); /* it will not answer any more */
void head_query_forget(struct head_core *core, uint64_t link,
                       uint32_t tool); /* its asker is gone */
uint64_t head_queries_next_ns(const struct head_core *core);
void head_queries_fini(struct head_core *core);
/* core_rows.c: what the head answers itself, in several replies. */
void head_answer_nodes(struct head_core *core, struct head_asker asker, uint64_t request,
                       const struct state_query *query);
void head_answer_jobs(struct head_core *core, struct head_asker asker, uint64_t request,
                      const struct state_query *query);
void head_answer(struct head_core *core, struct head_asker asker, uint64_t request,
                 const struct state_reply *reply);
void head_answer_failure(struct head_core *core, struct head_asker asker, uint64_t request,
                         int code, const char *format, ...) PRINTF(5, 6);

static inline const char *head_text(const char *text)
{
    return text != NULL ? text : "";
}

#endif
