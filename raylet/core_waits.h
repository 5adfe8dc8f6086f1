/*
 * What somebody waits for, as this node sees it: the end of a task, the end of a body, room for a
 * task. One look says whether something happens there by itself, and if not, what it waits for in
 * turn, here or at other nodes. It changes nothing; who puts the looks together is core_cycles.
 *
 *   OBJECT  at its owner: pending, and its task waits for arguments, for room, for a worker's body,
 *           or runs on another node (RUN there)
 *   RUN     at the executor: as BODY
 *   BODY    on a worker whose own thread waits: for what BLOCKED named
 *   ROOM    at a node: for the bodies that keep what is lacking: a resource, or the processes that
 *           the job may have
 *
 * Everything else moves: a body that runs, a worker that starts, a task in back-off, a slot that is
 * lent, a message under way.
 */
#ifndef RAYLET_CORE_WAITS_H
#define RAYLET_CORE_WAITS_H

#include "raylet/core_state.h"

struct wait_room { /* what a task lacks: amounts by name; how deep it is nested, and its job */
    const struct local_amount *amounts;
    size_t count;
    uint32_t depth;
    uint64_t job;
};

struct wait_seen { /* in the arena */
    bool stuck;
    uint64_t since; /* the same as long as it was so all the time */
    const struct peer_step *steps;
    size_t step_count;
    struct wait_room room; /* of the ROOMs among them */
    uint32_t newest_node;  /* of those that we know, where a task of ours waits for a place */
    bool waits_for_room;   /* a task of ours that waits for a place */
    const char *name;      /* the task; of a ROOM, what is lacking there; "": none */
};

/* `room`: of a ROOM; else not read. */
void wait_look(struct raylet_core *c, const struct peer_step *at, const struct wait_room *room,
               struct wait_seen *ret);
/* The task that makes this object, if it is ours and waits for a place; NULL: not so. */
struct task *wait_task(struct raylet_core *c, struct object_id id);

#endif
