#include "raylet/core_starts.h"

#include "common/text.h"
#include "raylet/core_plan.h"
#include "raylet/core_tasks.h"

#include <stdio.h>

#define PAUSE_NS      (100 * NS_PER_MS) /* doubled with each failure */
#define PAUSE_MAX_NS  (5 * NS_PER_S)
#define CAREFUL_NS    (60 * NS_PER_S) /* after the last failure starts are tried one by one */
#define GIVE_UP_NS    (60 * NS_PER_S) /* in which no worker could be started, and none is here */
#define DOUBLINGS_MAX 6u

static bool is_short(const struct raylet_core *c)
{
    return c->shortage.why != NULL && c->now_ns < c->shortage.failed_ns + CAREFUL_NS;
}

enum starts_now starts_now(const struct raylet_core *c, const struct job *job)
{
    if (job->worker_count >= c->job_workers_max) {
        return STARTS_JOB_FULL;
    }
    if (is_short(c) && (c->now_ns < c->shortage.after_ns || c->starting_count > 0)) {
        return STARTS_PAUSED;
    }
    return STARTS_MAY;
}

/* Of any job: when it ends, another one can begin in its place. */
static bool any_worker(const struct raylet_core *c)
{
    LIST_FOREACH(at, (struct list *)&c->workers)
    {
        if (list_entry(at, struct worker, link)->ever_ran) {
            return true;
        }
    }
    return false;
}

/* Nobody waits without an end. What may run on another node goes on waiting for that. */
static void give_up(struct raylet_core *c, struct job *job)
{
    struct failure f = c->shortage.why->failure;
    struct class_ *k, *next;

    failure_set(&f, job->guest ? CODE_PROGRAM : CODE_FULL,
                "no worker could be started on node %s for %u s: %s", c->node_name,
                (unsigned)(GIVE_UP_NS / NS_PER_S), c->shortage.why->failure.message);
    text_shorten(f.node, sizeof f.node, c->node_name);
    struct object_error *e = error_new(&f);
    job->without_since_ns = c->now_ns; /* who comes later waits as long */
    if (job->guest) {                  /* its homes look for other nodes */
        job->program_error = e;
        job->broken_unsaid = true;
        return;
    }
    HASH_ITER(hh, job->classes, k, next)
    {
        if (!k->of_others && k->wish->here && !plan_has_others(c, k)) {
            task_fail_class(c, k, e);
        }
    }
    error_unref(e);
}

void starts_failed(struct raylet_core *c, struct worker *w, const struct failure *why)
{
    struct start_shortage *s = &c->shortage;
    struct job *job = w->job;

    if (job->without_since_ns == 0) {
        job->without_since_ns = c->now_ns;
    }
    /* Several that were asked for at once are one failure. */
    if (s->why == NULL || w->asked_ns >= s->failed_ns) {
        s->in_row = is_short(c) ? s->in_row + 1 : 0;
        s->after_ns =
            c->now_ns + MIN_OF(PAUSE_NS << MIN_OF(s->in_row, DOUBLINGS_MAX), PAUSE_MAX_NS);
        core_timer_arm(c, &s->timer, s->after_ns);
    }
    s->failed_ns = c->now_ns;
    error_unref(s->why);
    s->why = error_new(why);
    if (job->state == JOB_LIVE && job->program_error == NULL && !any_worker(c) &&
        c->now_ns >= job->without_since_ns + GIVE_UP_NS) {
        give_up(c, job);
    }
}

void starts_worked(struct raylet_core *c, struct job *job)
{
    job->without_since_ns = 0;
    c->shortage.in_row = 0;
}

void starts_freed(struct raylet_core *c)
{
    c->shortage.after_ns = MIN_OF(c->shortage.after_ns, c->now_ns);
}

bool starts_stuck(const struct raylet_core *c, const struct job *job)
{
    return job->worker_count >= c->job_workers_max ||
           (is_short(c) && job->without_since_ns != 0 &&
            c->now_ns >= job->without_since_ns + GIVE_UP_NS);
}

const char *starts_explain(struct raylet_core *c, const struct job *job)
{
    char text[sizeof c->shortage.why->failure.message + 128];

    switch (starts_now(c, job)) {
    case STARTS_MAY:
        return NULL;
    case STARTS_JOB_FULL:
        snprintf(text, sizeof text,
                 "its job has %u processes on this node, which is the limit (drt-node join "
                 "--max-job-workers)",
                 job->worker_count);
        break;
    case STARTS_PAUSED:
        snprintf(text, sizeof text, "no further worker can be started now; %u of its job run: %s",
                 job->worker_count - job->starting, c->shortage.why->failure.message);
        break;
    }
    return core_text(c, text);
}
