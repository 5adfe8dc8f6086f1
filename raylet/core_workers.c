#include "raylet/core_workers.h"

#include "common/text.h"
#include "raylet/core_classes.h"
#include "raylet/core_guests.h"
#include "raylet/core_history.h"
#include "raylet/core_objects.h"
#include "raylet/core_schedule.h"
#include "raylet/core_starts.h"
#include "raylet/core_tasks.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>

#define STARTS_TRIED                                                                               \
    3u /* processes in a row that end before they serve: the program cannot run                    \
        */
#define TERM_AFTER_NS NS_PER_S
#define KILL_AFTER_NS (2 * NS_PER_S)

void worker_started(struct raylet_core *c, const struct raylet_event *e)
{
    struct worker *w = core_worker(c, e->worker);

    if (w != NULL) {
        w->pid = e->pid;
    }
}

/* ---- the end ---- */

static void fail_job_tasks(struct raylet_core *c, struct job *job, struct object_error *why)
{
    struct class_ *k, *next;

    HASH_ITER(hh, job->classes, k, next)
    {
        task_fail_class(c, k, why);
    }
}

static void start_failed(struct raylet_core *c, struct job *job, const struct failure *f,
                         bool for_good)
{
    if (++job->failed_starts < STARTS_TRIED && !for_good) {
        return;
    }
    if (job->program_error == NULL) {
        job->program_error = error_new(f);
        job->program_error->failure.code = CODE_PROGRAM;
        text_shorten(job->program_error->failure.node, sizeof job->program_error->failure.node,
                     c->node_name);
        job->broken_unsaid = true;
    }
    fail_job_tasks(c, job, job->program_error);
}

static void forget(struct raylet_core *c, struct worker *w)
{
    c->ended_workers[c->ended_next] =
        (struct ended_worker){w->job->number, w->number, w->started_unix_ms, w->done};
    c->ended_next = (c->ended_next + 1) % ENDED_WORKERS;
    c->ended_used = MIN_OF(c->ended_used + 1, ENDED_WORKERS);
    worker_enter(c, w, WORKER_DEAD);
    core_timer_disarm(c, &w->timer);
    list_unlink(&w->report_link);
    free(w->waits);
    if (w->last_class != NULL) {
        class_unuse(c, w->last_class);
    }
    list_unlink(&w->link);
    list_unlink(&w->job_link);
    numbers_remove(&c->workers_by_number, w->number);
    c->worker_count--;
    w->job->worker_count--;
    if (w->client != NULL) {
        w->client->worker = NULL;
    }
    free(w->known);
    free(w->why);
    free(w);
}

/* It ended before it served. */
static void start_ended(struct raylet_core *c, struct worker *w, const struct failure *f,
                        bool for_good)
{
    struct job *job = w->job;

    if (f->code != CODE_FULL) {
        forget(c, w);
        start_failed(c, job, f, for_good);
    } else {
        starts_failed(c, w, f);
        forget(c, w);
    }
}

void worker_refused(struct raylet_core *c, const struct raylet_event *e)
{
    struct worker *w = core_worker(c, e->worker);

    if (w != NULL) {
        start_ended(c, w, e->failure, true);
    }
}

static void describe_end(const struct raylet_core *c, const struct worker *w, int status,
                         struct failure *f)
{
    if (w->why != NULL) {
        *f = *w->why;
    } else if (WIFSIGNALED(status)) {
        failure_set(f, CODE_CRASHED, "its worker was killed by signal %d (%s)", WTERMSIG(status),
                    strsignal(WTERMSIG(status)));
        f->signal = WTERMSIG(status);
    } else {
        failure_set(f, CODE_EXITED, "its worker called exit(%d)", WEXITSTATUS(status));
        f->exit_code = WEXITSTATUS(status);
    }
    text_shorten(f->node, sizeof f->node, c->node_name);
}

static void add_words(struct failure *f, const char *format, ...) PRINTF(2, 3);

static void add_words(struct failure *f, const char *format, ...)
{
    size_t used = strlen(f->message);
    va_list args;

    va_start(args, format);
    text_vformat(f->message + used, sizeof f->message - used, format, args);
    va_end(args);
}

/* What is left of a body that ended its worker, for who wants to know why. */
static void describe_rest(const struct raylet_core *c, const struct worker *w, const struct task *t,
                          const struct raylet_end *end, struct failure *f)
{
    char id[ID_TEXT_SIZE];

    if (w->why != NULL) {
        return; /* we ended it */
    }
    if (end != NULL && end->core_file[0] != '\0') {
        add_words(f, "; core file: %s", end->core_file);
    }
    if (!c->is_passing) {
        add_words(f, "; its output: drt logs --task %s", object_id_format(task_id(c, t), id));
    } else if (end != NULL && end->last_line[0] != '\0') { /* nothing can be asked later */
        add_words(f, "; its last line on standard error: %s", end->last_line);
    }
}

static void say_wrote(struct raylet_core *c, const struct worker *w, const struct task *t,
                      uint64_t out_end, uint64_t err_end)
{
    struct raylet_wrote *wrote = arena_alloc(&c->arena, sizeof *wrote);
    struct raylet_effect *e;

    *wrote = (struct raylet_wrote){
        .task = task_id(c, t), .attempt = t->attempt, .out_end = out_end, .err_end = err_end};
    e = core_effect(c, EFFECT_WROTE);
    e->worker = w->number;
    e->wrote = wrote;
}

/* Its tasks: what it had begun is charged, the rest goes back free; the last first, so that their
 * order stays. */
static void return_tasks(struct raylet_core *c, struct worker *w, const struct raylet_event *e,
                         const struct failure *f)
{
    while (w->placed > 0) {
        uint32_t index = w->order[(w->order_first + w->placed - 1) % LOCAL_CLAIMS];
        bool ran_last = w->placed == 1;
        uint64_t ran_ns = history_ran_ns(c, w->slots[index]);
        struct task *t = worker_take(c, w, index);
        if (e->claimed[index / 64] >> (index % 64) & 1) {
            struct failure mine = *f;
            describe_rest(c, w, t, e->end, &mine);
            if (ran_last) { /* the first of them: its output has no other end */
                say_wrote(c, w, t, UINT64_MAX, UINT64_MAX);
            }
            task_attempt_died(c, t, &mine, ran_ns);
        } else {
            task_taken_back(c, t);
        }
    }
}

void worker_exited(struct raylet_core *c, const struct raylet_event *e)
{
    struct worker *w = core_worker(c, e->worker);
    struct failure f;

    if (w == NULL) {
        return;
    }
    describe_end(c, w, e->wait_status, &f);
    if (w->client != NULL) {
        while (object_release_all(c, w->client, WORK_STEP)) {
        }
    }
    return_tasks(c, w, e, &f);
    if (!w->ever_ran && !w->stopping) {
        start_ended(c, w, e->failure != NULL ? e->failure : &f, e->refused);
    } else {
        starts_freed(c);
        forget(c, w);
    }
}

/* ---- at work ---- */

bool worker_opened(struct raylet_core *c, struct client *client, uint64_t number)
{
    struct worker *w = number > UINT32_MAX ? NULL : core_worker(c, (uint32_t)number);

    if (w == NULL || w->state != WORKER_STARTING || w->client != NULL) {
        return false;
    }
    w->client = client;
    w->ever_ran = true;
    w->job->failed_starts = 0;
    starts_worked(c, w->job);
    client->worker = w;
    client->job = w->job;
    client->job->live_clients++;
    worker_enter(c, w, WORKER_LEASED);
    w->mark_ns = w->first_ns = c->now_ns;
    worker_report(c, w);
    return true;
}

void worker_result(struct raylet_core *c, struct worker *w, const struct local_result *m,
                   struct bytes payload)
{
    struct task *t = worker_task(w, m->slot);

    if (t == NULL) {
        c->dropped_messages++;
        return;
    }
    if (w->reported++ == 0) {
        w->last_class = t->class_;
        w->last_class->users++;
    }
    if (w->state == WORKER_BLOCKED) {
        worker_enter(c, w, WORKER_LEASED);
    }
    if (UNLIKELY((m->out_end | m->err_end) != 0)) {
        say_wrote(c, w, t, m->out_end, m->err_end);
    }
    (void)worker_take(c, w, claim_index(m->slot));
    w->done++;
    if (w->job->wants_logs) {
        w->last_function = task_function(t); /* its lines may come after its result */
    }
    w->answered = t;
    task_result(c, t, m, payload);
    w->answered = NULL;
}

void worker_blocked(struct raylet_core *c, struct worker *w, const struct local_ids *waits)
{
    if (waits != NULL && w->state == WORKER_LEASED) {
        worker_enter(c, w, WORKER_BLOCKED);
        worker_take_back(c, w, 1);
    } else if (waits == NULL && w->state == WORKER_BLOCKED) {
        worker_enter(c, w, WORKER_LEASED);
    }
    w->wait_count = waits == NULL ? 0 : (uint32_t)waits->id_count;
    if (w->wait_count > w->wait_room) {
        w->wait_room = w->wait_count;
        w->waits = xrealloc(w->waits, w->wait_room * sizeof *w->waits);
    }
    for (uint32_t i = 0; i < w->wait_count; i++) {
        w->waits[i] = waits->ids[i];
    }
}

/* ---- stopping ---- */

void worker_kill(struct raylet_core *c, struct worker *w, int signal)
{
    struct raylet_effect *e = core_effect(c, EFFECT_KILL);

    e->worker = w->number;
    e->signal = signal;
    w->stopping = true;
}

static void stop_body(struct raylet_core *c, struct worker *w, struct task *t)
{
    struct raylet_effect *e = core_effect(c, EFFECT_CANCEL_FLAG);

    e->client = w->client->number;
    e->worker = w->number;
    e->slot = t->slot;
    if (t->stop == STOP_KILL) {
        worker_kill(c, w, SIGKILL);
    } else if (t->stop == STOP_SOON) {
        core_timer_arm(c, &w->timer, c->now_ns + TERM_AFTER_NS);
    }
}

bool worker_force(struct raylet_core *c, struct object_id id)
{
    LIST_FOREACH(at, &c->workers)
    {
        struct worker *w = list_entry(at, struct worker, link);
        for (uint32_t i = 0; i < LOCAL_CLAIMS && w->placed > 0; i++) {
            struct task *t = w->slots[i];
            if (t == NULL || t->state != TASK_ABANDONED || !object_id_equal(t->extra->was, id)) {
                continue;
            }
            t->stop = STOP_KILL;
            if (w->taking_back == 0 && w->client != NULL) { /* else its answer comes here, too */
                stop_body(c, w, t);
            }
            return true;
        }
    }
    return false;
}

void worker_taken_back(struct raylet_core *c, const struct raylet_event *e)
{
    struct worker *w = core_worker(c, e->worker);
    struct task *t;

    if (w == NULL) {
        return;
    }
    ASSERT(w->taking_back > 0);
    w->taking_back--;
    worker_report(c, w);
    t = worker_task(w, e->slot);
    if (t == NULL) {
        return; /* its result came first */
    }
    if (e->ok) {
        (void)worker_take(c, w, claim_index(e->slot));
        task_taken_back(c, t);
    } else if (t->state == TASK_ABANDONED && w->client != NULL) {
        stop_body(c, w, t);
    }
}

void worker_timer(struct raylet_core *c, struct worker *w)
{
    struct task *first;

    if (w->state == WORKER_IDLE) {
        worker_leave(c, w);
        return;
    }
    if (w->state == WORKER_LEAVING) {
        worker_kill(c, w, SIGKILL);
        return;
    }
    first = worker_first(w);
    if (first != NULL && first->state == TASK_ABANDONED && first->stop == STOP_SOON) {
        worker_kill(c, w, w->stopping ? SIGKILL : SIGTERM);
        core_timer_arm(c, &w->timer, c->now_ns + KILL_AFTER_NS);
    }
}
