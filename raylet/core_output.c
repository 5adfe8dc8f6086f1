#include "raylet/core_output.h"

#include "common/text.h"
#include "raylet/core_jobs.h"
#include "raylet/core_lanes.h"
#include "raylet/core_peers.h"
#include "raylet/core_schedule.h"
#include "raylet/core_tasks.h"

#include <stdio.h>

/* ---- to the driver ---- */

static uint64_t count_lines(struct bytes text)
{
    uint64_t n = 0;
    const char *at = text.data, *end = at + text.size;

    while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        at++;
        n++;
    }
    return n;
}

/* What a driver did not take, because it had not read what came before. */
static void say_left_out(struct raylet_core *c, struct job *job, const struct local_log *log)
{
    struct local_msg *m = core_send(c, job->driver->number, LOCAL_LOG);
    char text[128], how[64] = "";

    if (!c->is_passing) {
        snprintf(how, sizeof how, ", drt logs --job %llu", (unsigned long long)job->number);
    }
    snprintf(text, sizeof text, "... %llu lines left out while this program was busy%s\n",
             (unsigned long long)job->lines_left_out, how);
    job->lines_left_out = 0;
    m->log = *log;
    m->log.stream = 2;
    m->payload = bytes_of_text(core_text(c, text));
}

static void give_driver(struct raylet_core *c, struct job *job, const struct local_log *log,
                        struct bytes lines)
{
    if (job->driver == NULL || !job->wants_logs || job->driver->state != CLIENT_LIVE) {
        return;
    }
    if (job->driver->slow) {
        job->lines_left_out += count_lines(lines);
        return;
    }
    if (job->lines_left_out != 0) {
        say_left_out(c, job, log);
    }
    struct local_msg *m = core_send(c, job->driver->number, LOCAL_LOG);
    m->log = *log;
    m->payload = bytes_of(arena_copy(&c->arena, lines.data, lines.size), lines.size);
}

static void log_lines(struct raylet_core *c, struct peer *p, const struct peer_msg *m)
{
    LIST_FOREACH(at, &c->jobs)
    {
        struct job *job = list_entry(at, struct job, link);
        if (job->number == m->log.job && job->driver != NULL) {
            give_driver(c, job,
                        &(struct local_log){.node = core_text(c, p->name),
                                            .function = m->log.function,
                                            .worker = m->log.worker,
                                            .stream = m->log.stream},
                        m->payload);
            return;
        }
    }
}

/* ---- of workers here ---- */

/* To the node of the driver, over its session, or one of ours where only others announced the job.
 * NULL: there is none yet. */
static struct peer_msg *log_for_home(struct raylet_core *c, struct job *job)
{
    struct peer *home = peer_find(c, job->home);

    LIST_FOREACH(at, &job->sponsors)
    {
        if (list_entry(at, struct sponsor, job_link)->home == home) {
            return core_send_peer(c, home, SIDE_IN, PEER_LOG);
        }
    }
    return home != NULL && peer_use(c, home) ? core_send_peer(c, home, SIDE_OUT, PEER_LOG) : NULL;
}

void output_lines(struct raylet_core *c, const struct raylet_event *e)
{
    struct worker *w = core_worker(c, e->worker);
    struct task *t = w == NULL ? NULL : worker_first(w);
    const char *last = w == NULL || w->last_function == NULL ? "" : w->last_function;
    const char *function = t == NULL ? last : task_function(t);
    struct job *job = w == NULL ? NULL : w->job;

    if (job == NULL || !job->wants_logs) {
        return;
    }
    if (job->driver != NULL) {
        give_driver(c, job,
                    &(struct local_log){.node = c->node_name,
                                        .function = function,
                                        .worker = w->number,
                                        .stream = e->stream},
                    e->data);
        return;
    }
    struct peer_msg *m = log_for_home(c, job);
    if (m == NULL) {
        return;
    }
    m->log.job = job->number;
    m->log.worker = w->number;
    m->log.stream = e->stream;
    m->log.function = function;
    m->payload = bytes_of(arena_copy(&c->arena, e->data.data, e->data.size), e->data.size);
}

/* ---- whether all has come ---- */

static void take_here(struct raylet_core *c, struct job *job)
{
    LIST_FOREACH(at, &job->workers)
    {
        core_effect(c, EFFECT_LOG_TAKE)->worker = list_entry(at, struct worker, job_link)->number;
    }
}

static bool ask_others(struct raylet_core *c, struct job *job)
{
    bool any = false;

    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        if (lane_told(p, job->number) != NULL) {
            any = true;
            if (job->driver != NULL) {
                core_send_peer(c, p, SIDE_OUT, PEER_LOGS)->logs.job = job->number;
                job->logs_missing++;
            }
        }
    }
    return any;
}

void output_take(struct raylet_core *c, struct client *client)
{
    struct job *job = client->job;

    if (client->role != ROLE_DRIVER || job == NULL) {
        core_protocol_error(c, client, "LOGS of no driver");
        return;
    }
    take_here(c, job);
    job->logs_missing = 1; /* our own; of a former question nothing is waited for any more */
    job->logs_elsewhere = false;
    (void)ask_others(c, job);
    core_effect(c, EFFECT_LOG_TAKEN)->client = client->number;
}

static void one_came(struct raylet_core *c, struct job *job)
{
    if (job->logs_missing == 0 || --job->logs_missing > 0 || job->driver == NULL ||
        job->driver->state != CLIENT_LIVE) {
        return;
    }
    if (job->lines_left_out != 0) { /* no line may follow that would tell */
        say_left_out(c, job, &(struct local_log){.node = c->node_name, .function = ""});
    }
    core_send(c, job->driver->number, LOCAL_LOGS)->logs.elsewhere = job->logs_elsewhere;
}

void output_taken(struct raylet_core *c, const struct raylet_event *e)
{
    struct client *client = core_client(c, e->client);
    struct peer *p = e->peer == 0 ? NULL : peer_find(c, e->peer);

    if (client != NULL && client->job != NULL) {
        one_came(c, client->job);
    }
    if (p != NULL && peer_is_up(p, SIDE_IN)) {
        struct job *job = job_find(c, e->job);
        struct peer_msg *m = core_send_peer(c, p, SIDE_IN, PEER_LOGS);
        m->logs.job = e->job;
        m->logs.elsewhere = job != NULL && ask_others(c, job);
    }
}

static void asked(struct raylet_core *c, const struct peer *p, const struct peer_logs *m)
{
    struct job *job = job_find(c, m->job);

    if (job != NULL) {
        take_here(c, job);
    }
    struct raylet_effect *e = core_effect(c, EFFECT_LOG_TAKEN);
    e->peer = p->number;
    e->job = m->job;
}

bool output_message(struct raylet_core *c, struct peer *p, enum peer_side side,
                    const struct peer_msg *m)
{
    if (m->type == PEER_LOG) {
        log_lines(c, p, m);
        return true;
    }
    if (m->type != PEER_LOGS) {
        return false;
    }
    if (side == SIDE_IN) {
        asked(c, p, &m->logs);
        return true;
    }
    struct job *job = job_find(c, m->logs.job);
    if (job != NULL && !job->guest) {
        job->logs_elsewhere = job->logs_elsewhere || m->logs.elsewhere;
        one_came(c, job);
    }
    return true;
}
