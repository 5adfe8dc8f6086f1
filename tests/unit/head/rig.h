/*
 * The head's core on a bench: a clock that is told, a journal that commits when asked (and can be
 * lost), links and tools whose messages are kept. Every step is checked: the core's own counts, and
 * that nothing left before its record was on disk. For the tests of this folder.
 */
#ifndef TESTS_UNIT_HEAD_RIG_H
#define TESTS_UNIT_HEAD_RIG_H

#include "tests/unit/unit.h"

#include "common/clock.h"
#include "common/resources.h"
#include "head/core.h"

#define RIG_SENT_MAX  4096
#define RIG_LINES_MAX 256

struct rig_sent { /* one message that left the head */
    enum head_effect_kind kind;
    uint64_t link;
    uint32_t tool;
    uint32_t node; /* PROBE */
    bool taken;
    struct cluster_msg cluster;
    struct local_msg local;
};

struct rig {
    struct head_core *core;
    struct head_time time;
    bool commits;                /* at once; else when rig_commit is called */
    uint64_t asked, committed;   /* record numbers in this life */
    struct head_record *records; /* all that were given, in this life after those on disk */
    size_t record_count, record_room;
    size_t disk_count; /* of them, on disk */
    struct rig_sent *sent;
    size_t sent_count;
    struct arena arena;
    bool quit;
};

void rig_init(struct rig *r); /* at 1,000 s, commits at once */
void rig_fini(struct rig *r);
/* The head is killed and starts again with what is on disk, `down_ns` later. */
void rig_restart(struct rig *r, uint64_t down_ns);

void rig_event(struct rig *r, const struct head_event *event);
void rig_commit(struct rig *r); /* all that was asked for */
/* Time goes by in steps of at most 100 ms; the nodes on links [first, last] renew each second. */
void rig_pass(struct rig *r, uint64_t ns, uint64_t first, uint64_t last);
void rig_stall(struct rig *r, uint64_t ns); /* nobody calls the core for so long */

void rig_link_up(struct rig *r, uint64_t link);
void rig_link_down(struct rig *r, uint64_t link);
void rig_cluster(struct rig *r, uint64_t link, const struct cluster_msg *msg);
void rig_join(struct rig *r, uint64_t link, const char *name, uint32_t number, uint32_t supersedes);
/* The link comes up and says this; what is not given is as rig_join says it. */
void rig_join_as(struct rig *r, uint64_t link, const struct cluster_join *join);
uint32_t rig_joined(struct rig *r, uint64_t link);                 /* takes JOINED; its number */
uint32_t rig_node(struct rig *r, uint64_t link, const char *name); /* up, JOIN, JOINED */
void rig_renew(struct rig *r, uint64_t link, uint64_t answered_ns);
void rig_probed(struct rig *r, uint32_t node, enum head_probe probe);
void rig_job_new(struct rig *r, uint64_t link, uint64_t key);
uint64_t rig_job(struct rig *r, uint64_t link, uint64_t key); /* JOB_NEW, JOB_ADDED */
void rig_tool(struct rig *r, uint32_t tool);                  /* up, OPEN, WELCOME */
void rig_ask(struct rig *r, uint32_t tool, uint64_t request, const struct state_query *query);

/* The oldest message of this type to this link or tool that was not taken yet; fails the test when
 * there is none. */
const struct cluster_msg *rig_take(struct rig *r, uint64_t link, enum cluster_type type);
const struct local_msg *rig_take_local(struct rig *r, uint32_t tool, enum local_type type);
bool rig_has(const struct rig *r, uint64_t link, enum cluster_type type);
bool rig_has_local(const struct rig *r, uint32_t tool);
bool rig_has_effect(const struct rig *r, enum head_effect_kind kind,
                    uint64_t link_or_node); /* takes it */
void rig_forget(struct rig *r);             /* whatever was sent so far */

#endif
