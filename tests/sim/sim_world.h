/*
 * What is true in a simulated cluster, whoever may know it: each object that was ever made, what
 * its value must be, what bodies returned for it, and what was seen of it first; each life of a
 * node; each body that began. Whatever a process is told is held against it, and the first breach
 * ends the run with a sentence. One for each run.
 */
#ifndef TESTS_SIM_SIM_WORLD_H
#define TESTS_SIM_SIM_WORLD_H

#include "common/bytes.h"
#include "common/codes.h"
#include "common/ids.h"

#include <uthash.h>

#define SIM_RETURNED_MAX 16u
#define SIM_NODES_MAX    4
#define SIM_FREE_TRIES   10u /* an attempt that was lost uncharged is made again so often */

struct sim_wish {   /* where a task may run */
    uint32_t x;     /* of "x" that its body takes */
    uint32_t nodes; /* a bit for each */
    bool fixed;     /* its home chooses one of them once */
};

struct sim_fact { /* an object */
    struct object_id id;
    struct object_id task;    /* whose return it is: its first one */
    struct object_id follows; /* what a body returned as its value; number 0: nothing */
    struct object_id needs[2];
    uint32_t need_count;
    struct sim_wish wish;
    bool watched, has_body, stuck; /* by sim_cycles.c */
    uint64_t stuck_ns;             /* when it was last seen to be */
    uint64_t expected;             /* the word of its value, if `known` */
    uint64_t made_ns, seen_ns;
    uint64_t seen_hash;                  /* of the bytes of its value */
    uint64_t returned[SIM_RETURNED_MAX]; /* hashes of what bodies returned, or of what was put */
    uint32_t returned_count;
    uint32_t code;    /* seen: 0, or the error at its owner */
    uint32_t begun;   /* first return: bodies */
    uint32_t tries;   /* first return: most of them that may begin */
    uint32_t charged; /* first return: the last attempt that its home knew to have begun and lost */
    uint64_t orphan_ns;         /* who submitted it died, and nobody else knows of it; 0: not */
    bool known, seen, followed; /* followed: a body returned an alias */
    bool once;                  /* at most */
    bool needed;                /* its value is an argument of some task */
    UT_hash_handle hh;
};

struct sim_job { /* that is over */
    uint64_t number;
    UT_hash_handle hh;
};

struct sim_life { /* of a raylet, by its number */
    bool left;    /* it has told the head that it leaves */
    uint32_t number;
    int node;
    uint64_t from_ns, to_ns; /* to: UINT64_MAX while it lives */
    UT_hash_handle hh;
};

/* Of what happened, over all nodes. */
struct sim_counts {
    uint64_t tasks, values, errors, bodies, crashes, failures, nested, aliases, puts, cancels,
        releases;
    uint64_t drivers, driver_crashes, goodbyes, early_goodbyes, node_starts, node_kills, node_quits,
        welcomes;
    uint64_t foreign_bodies, refs_passed, containers, opened, kept, reads, foreign_reads;
    uint64_t sessions, session_ends, peer_messages, peer_refused, fetches, fetch_failures;
    uint64_t hogs, cycles, cycle_waits,
        cycle_ns;       /* waits that were part of one, and for how long */
    uint64_t codes[64]; /* errors seen, by code */
};

struct sim_world {
    struct sim_fact *facts;
    struct sim_life *lives;
    struct sim_job *jobs_over;
    struct sim_fact **watched; /* tasks that may be part of a cycle */
    uint32_t watched_count, watched_room;
    bool cycles;    /* bodies wait and keep what others ask for */
    bool new_waits; /* there may be a circle now that is found at once */
    bool strict;    /* nothing worse happened yet than what nobody may notice between nodes */
    struct sim_counts counts;
    uint64_t now_ns;
    uint64_t seed;
    struct object_id about; /* what happens to it is told; number 0: to none */
    bool tells;             /* what nodes say to one another is told */
};

void sim_world_init(struct sim_world *w, uint64_t seed);
void sim_world_fini(struct sim_world *w);

/* Something is not as it must be: says so and ends this process. */
void sim_breach(struct sim_world *w, const char *format, ...) PRINTF(2, 3)
    __attribute__((noreturn));

/* Tells what happens to an object, if that was asked for. */
void sim_tell(const struct sim_world *w, struct object_id id, const char *format, ...) PRINTF(3, 4);

uint64_t sim_hash(struct bytes b);

struct sim_fact *sim_fact_new(struct sim_world *w, struct object_id id, uint64_t expected,
                              bool known);
struct sim_fact *sim_fact(struct sim_world *w, struct object_id id); /* NULL: none */
/* It is the first return of a task that takes what others may keep. */
void sim_watch(struct sim_world *w, struct sim_fact *f, struct sim_wish wish);
/* Since when it is known to be settled; UINT64_MAX: it is not known to be. */
uint64_t sim_settled_ns(const struct sim_fact *f);
/* A body of the task with this first return begins at this node. */
void sim_begins(struct sim_world *w, struct object_id task, uint32_t attempt, uint32_t node);
/* Its home knew that this attempt had begun, and lost it; and sends one to another node. */
void sim_charged(struct sim_world *w, struct object_id task, uint32_t attempt);
void sim_sends(struct sim_world *w, struct object_id task, uint32_t attempt);
void sim_returned(struct sim_world *w, struct object_id id, uint64_t hash);
/* What a process was told of an object: its value or, with a code, its error. */
void sim_seen(struct sim_world *w, struct object_id id, uint32_t code, struct bytes value);

void sim_life_begins(struct sim_world *w, uint32_t number, int node);
void sim_life_ends(struct sim_world *w, uint32_t number);
void sim_life_leaves(struct sim_world *w, uint32_t number); /* in order: its objects go with it */
bool sim_is_over(struct sim_world *w, uint32_t number);     /* also of numbers never given */
void sim_job_ends(struct sim_world *w, uint64_t job);
bool sim_job_is_over(struct sim_world *w, uint64_t job);

#endif
