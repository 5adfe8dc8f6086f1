#include "raylet/core_parts.h"

static void say(struct raylet_core *c, const struct part *part)
{
    struct cluster_msg *m = core_send_head(c, CLUSTER_JOB_END);

    m->job_end.job = part->job;
    m->job_end.state = JOB_PART;
    m->job_end.done = part->done;
    m->job_end.failed = part->failed;
    m->job_end.cancelled = part->cancelled;
}

void part_take(struct raylet_core *c, struct job *job)
{
    struct part *part;

    HASH_FIND(hh, c->parts, &job->number, sizeof job->number, part);
    if (!job->guest || (part == NULL && job->done + job->failed + job->cancelled == 0)) {
        return;
    }
    if (part == NULL && HASH_COUNT(c->parts) < PARTS_MAX) {
        part = xcalloc(1, sizeof *part);
        part->job = job->number;
        HASH_ADD(hh, c->parts, job, sizeof part->job, part);
    }
    if (part != NULL) {
        part->done += job->done;
        part->failed += job->failed;
        part->cancelled += job->cancelled;
        if (c->head_state == HEAD_JOINED && !c->fenced) {
            say(c, part);
        }
    }
    job->done = job->failed = job->cancelled = 0;
}

void parts_take_all(struct raylet_core *c)
{
    LIST_FOREACH(at, &c->jobs)
    {
        part_take(c, list_entry(at, struct job, link));
    }
}

void parts_say_all(struct raylet_core *c)
{
    for (const struct part *part = c->parts; part != NULL; part = part->hh.next) {
        say(c, part);
    }
}

void part_heard(struct raylet_core *c, uint64_t job)
{
    struct part *part;

    HASH_FIND(hh, c->parts, &job, sizeof job, part);
    if (part != NULL) {
        HASH_DEL(c->parts, part);
        free(part);
    }
}

void parts_free(struct raylet_core *c)
{
    struct part *part, *next;

    HASH_ITER(hh, c->parts, part, next)
    {
        HASH_DEL(c->parts, part);
        free(part);
    }
}
