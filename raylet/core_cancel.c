#include "raylet/core_cancel.h"

#include "raylet/core_home.h"
#include "raylet/core_jobs.h"
#include "raylet/core_rows_private.h"
#include "raylet/core_tasks.h"

#include <inttypes.h>

#define WHY "cancelled by 'drt cancel'"

static void say(struct raylet_core *c, struct state_reply *r, const char *line)
{
    const char **lines = arena_alloc(&c->arena, sizeof *lines);

    lines[0] = line;
    r->lines = lines;
    r->line_count = 1;
}

static struct task *find_task(struct raylet_core *c, struct object_id id)
{
    struct client *owner = id.node == c->node ? core_client(c, id.client) : NULL;
    struct object *o = owner == NULL ? NULL : numbers_get(&owner->objects, id.number);
    bool is_its_own = o != NULL && o->state == OBJECT_PENDING && !o->following && o->task != NULL;

    return is_its_own ? o->task : NULL;
}

static void cancel_task(struct raylet_core *c, const struct state_query *q, struct state_reply *r)
{
    struct object_id id;
    uint32_t flags = CANCEL_RECURSIVE | (q->force ? CANCEL_FORCE : 0);

    if (object_id_parse(q->id, &id) != 0) {
        failure_set(&r->failure, CODE_SIGNATURE, "\"%.60s\" is not a task", q->id);
        return;
    }
    struct task *t = find_task(c, id);
    if (t != NULL) {
        bool runs = t->state == TASK_PLACED;
        const char *name = core_text(c, task_function(t));
        (void)task_cancel(c, t, flags, WHY);
        say(c, r,
            rows_text(c, "Task %s \"%s\" is cancelled%s.", q->id, name,
                      !runs ? ""
                      : q->force
                          ? "; its function is killed if it runs"
                          : "; if its function runs, it is asked to stop (--force kills it)"));
        return;
    }
    if (q->force && home_force(c, NULL, id, flags)) {
        say(c, r, rows_text(c, "Task %s had been given up; its function is killed.", q->id));
        return;
    }
    rows_tasks(c, q, r);
    if (r->failure.code == 0 && r->task_count > 0) {
        failure_set(&r->failure, CODE_DONE, "task %s has already ended (%s)", q->id,
                    r->tasks[0].state);
    }
    r->task_count = 0;
}

static void cancel_job(struct raylet_core *c, const struct state_query *q, struct state_reply *r)
{
    struct job *job = job_find(c, q->job);

    if (job == NULL || job->guest || job->state != JOB_LIVE) {
        failure_set(&r->failure, job == NULL || job->guest ? CODE_NOT_FOUND : CODE_DONE,
                    "job %" PRIu64 " does not run on node %s", q->job, c->node_name);
        return;
    }
    uint64_t waiting = job->waiting_count, running = job->running_count;
    job_cancel(c, job, q->force, WHY);
    say(c, r,
        rows_text(
            c,
            "Job %" PRIu64 " \"%s\" is cancelled: %" PRIu64 " waiting and %" PRIu64
            " running tasks%s. Its program (process %d) gets DRT_E_CANCELLED for them and for "
            "all that it submits.",
            job->number, job->name, waiting, running,
            running == 0 ? ""
            : q->force   ? ", which are killed"
                         : ", which are asked to stop (--force kills them)",
            (int)job->pid));
}

void cancel_query(struct raylet_core *c, const struct client *client, const struct state_query *q,
                  struct state_reply *r)
{
    if (client != NULL && client->role != ROLE_TOOL) {
        failure_set(&r->failure, CODE_REFUSED,
                    "a program can cancel only its own tasks, with drt_cancel");
    } else if (q->job != 0) {
        cancel_job(c, q, r);
    } else {
        cancel_task(c, q, r);
    }
}
