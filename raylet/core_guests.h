/*
 * Guests: tasks whose home is another node and that run here. What they answer to their home, and
 * what is kept for it: references inside a result until RECORDED, the cover of the arguments until
 * ARGS_FREE. How they come (jobs, classes, slots, runs) is in core_host.
 *
 *   of what is kept for one run:  RESULT with references -> RECORDED -> secured (what is still
 * needed of the arguments is ADDED) -> ARGS_FREE
 */
#ifndef RAYLET_CORE_GUESTS_H
#define RAYLET_CORE_GUESTS_H

#include "raylet/core_foreign.h"

enum securing_kind { SECURING_ARGS = 1, SECURING_RESULT }; /* who waits in core->secured */

struct recording { /* a result from elsewhere that waits until what is inside is ADDED */
    struct securing securing;
    struct task *task;
    struct peer_msg *result; /* in one block with all that it points to */
    struct object **objects; /* held */
    uint32_t count;
};

static inline bool task_is_guest(const struct task *t)
{
    return t->extra != NULL && t->extra->guest != NULL;
}

/* One waits for a worker: TIMER_GUESTS looks soon. */
void guest_waits(struct raylet_core *c);

/* Its id in RUN; of ours too, until it is settled. */
struct object_id task_id(const struct raylet_core *c, const struct task *t);

/* What the RUN to its worker says of its values. */
void guest_fill_run(const struct task *t, struct local_run *m);

/* Answers; the caller frees the task next (which ends its cover). */
void guest_result(struct raylet_core *c, struct task *t, const struct local_result *m,
                  struct bytes payload);
/* It ends without values: `kind` says whose fault. */
void guest_failed(struct raylet_core *c, struct task *t, enum peer_result_kind kind,
                  const struct failure *f, uint64_t ran_ns);
void guest_back(struct raylet_core *c, struct task *t, enum peer_back reason);
/* The task is freed: its arguments are uncovered, at once or when what is still needed is ADDED. */
void guest_free(struct raylet_core *c, struct task *t);
/* Its home is gone, and with it the cover of its references: what else here needs of them is added
 * at once. */
void guest_uncover(struct raylet_core *c, struct task *t);

/* A kept result's references may go. */
void guest_recorded(struct raylet_core *c, struct peer *home, uint64_t run);
/* What its arguments waited for is ADDED. */
void guest_secured(struct raylet_core *c, struct securing *s);
/* The session with that home ended: nothing is kept for it. */
void guest_forget_kept(struct raylet_core *c, struct peer *home);

#endif
