#include "raylet/core_rows_private.h"

#include "common/text.h"
#include "raylet/core_cache.h"
#include "raylet/core_history.h"
#include "raylet/core_jobs.h"
#include "raylet/core_lanes.h"
#include "raylet/core_objects.h"
#include "raylet/core_plan.h"
#include "raylet/core_schedule.h"
#include "raylet/core_starts.h"
#include "raylet/core_tasks.h"
#include "sched/policy.h"

#include <stdarg.h>
#include <stdio.h>

#define ROWS_DEFAULT 100u
#define LINES_MAX    64u

const char *rows_text(struct raylet_core *c, const char *format, ...)
{
    char text[1024]; /* a failure's sentence, and what is said around it */
    va_list args;

    va_start(args, format);
    text_vformat(text, sizeof text, format, args);
    va_end(args);
    return arena_text(&c->arena, text, strlen(text));
}

uint32_t rows_limit(const struct state_query *q)
{
    return q->limit == 0 ? ROWS_DEFAULT : MIN_OF(q->limit, STATE_ROWS_MAX);
}

bool rows_wanted(const char *filter, const char *value)
{
    return filter[0] == '\0' || strcmp(filter, value) == 0;
}

/* ---- why a task waits ---- */

static const char *asks(struct raylet_core *c, const struct shape *s)
{
    CLEANUP(buffer_fini) struct buffer text = {0};

    for (uint32_t i = 0; i < s->asked.count; i++) {
        const struct resource_amount *a = &s->asked.amounts[i];
        char amount[32];
        buffer_printf(&text, "%s%s %s", i > 0 ? ", " : "", resource_name(&c->resources, a->kind),
                      resource_format(a->kind, a->units, amount));
    }
    return rows_text(c, "%s", s->asked.count == 0 ? "nothing" : buffer_text(&text));
}

static const char *strategy(struct raylet_core *c, const struct wish *w)
{
    static const char *const names[] = {"strategy DEFAULT", "strategy SPREAD",
                                        "strategy LOAD_BALANCED"};

    if (w->strategy < ARRAY_SIZE(names)) {
        return names[w->strategy];
    }
    return rows_text(c, "strategy NODE_SPECIFIC (%s%s%s%s%s)", w->soft ? "soft " : "",
                     w->node[0] != '\0' ? "node " : "", w->node,
                     w->labels[0] != '\0' ? "labels " : "", w->labels);
}

/* What a node has too little of; NULL: nothing. */
static const char *missing(struct raylet_core *c, const struct shape *s,
                           const struct resource_set *total, const struct resource_set *available)
{
    for (uint32_t i = 0; i < s->asked.count; i++) {
        const struct resource_amount *a = &s->asked.amounts[i];
        int64_t free_units = resource_set_get(available, a->kind);
        if (free_units < a->units) {
            char want[32], have[32], all[32];
            return rows_text(c, "%s: %s requested, %s of %s free",
                             resource_name(&c->resources, a->kind),
                             resource_format(a->kind, a->units, want),
                             resource_format(a->kind, free_units, have),
                             resource_format(a->kind, resource_set_get(total, a->kind), all));
        }
    }
    return NULL;
}

const char *rows_class_reason(struct raylet_core *c, const struct class_ *k)
{
    const char *what;

    if (k->job->program == 0) {
        return "its program is being loaded";
    }
    if (k->wish->state == WISH_ASKING) {
        return "the head is checking whether any node can run it";
    }
    if (!k->wish->here) {
        return list_is_empty((struct list *)&k->lanes)
                   ? "no other node that can run it is known yet"
                   : "other nodes are being asked for a free slot";
    }
    what = missing(c, k->pool->shape, &c->total, &c->available);
    if (what != NULL) {
        return what;
    }
    if (k->stuck && k->lacks_worker) {
        what = starts_explain(c, k->job);
        if (what != NULL) {
            return what;
        }
        return rows_text(c, "this node has %u workers, which is its limit, and all are busy",
                         c->worker_count);
    }
    if (c->reserving != NULL && c->reserving != k) {
        return rows_text(c, "free resources are reserved for %s, which has waited longest",
                         c->reserving->shown);
    }
    return k->job->starting > 0 ? "a worker is starting" : "it is next in line";
}

/* Why what is fixed to another node waits for it. */
static const char *lane_reason(struct raylet_core *c, const struct lane *lane)
{
    const struct peer *p = lane->peer;
    const char *what = missing(c, lane->class_->pool->shape, &p->total, &p->available);
    char took[32];

    if (p->silent_ns != 0 && c->now_ns - p->silent_ns > NS_PER_S) {
        text_format_duration(c->now_ns - p->silent_ns, took);
        return rows_text(c,
                         "it needs node %s, which has not been reachable from here, at %s, for %s",
                         p->name, p->address, took);
    }
    if (what != NULL) { /* as the head heard last */
        return rows_text(c, "it needs node %s, where %s", p->name, what);
    }
    return rows_text(c, "it needs node %s, which is being asked for a free slot", p->name);
}

static const char *task_reason(struct raylet_core *c, const struct task *t)
{
    switch (t->state) {
    case TASK_WAITING:
        if (cache_waits_for_room(t)) {
            return "its arguments are on other nodes, and this node has no free memory for them "
                   "yet";
        }
        return rows_text(c, "%u of its %u arguments do not exist yet", t->needs_missing,
                         t->extra->need_count);
    case TASK_BACKOFF:
        return rows_text(c, "attempt %u failed; the next one starts after a pause",
                         t->attempt - 1u);
    case TASK_READY:
        if (t->place == AT_LANE) {
            return lane_reason(c, t->lane);
        }
        return rows_class_reason(c, t->class_);
    case TASK_PLACED:
        if (t->place == AT_LANE) {
            return (t->flags & TASK_STARTED) != 0 ? "" : "sent to its node, and not yet started";
        }
        return worker_first(t->worker) == t ? "" : "next on its worker";
    default:
        return "";
    }
}

/* ---- tasks ---- */

#define ROWS_ROOM   20000u
#define LOOK_AT_MAX 100000u /* tasks of one queue that are held against a filter */

struct task_rows {
    struct raylet_core *core;
    const struct state_query *q;
    struct state_task *list;
    uint32_t count, room;
    uint32_t most; /* of each queue: enough for the newest of all */
};

static const char *row_state(const struct task *t)
{
    if (t->state == TASK_PLACED && t->place == AT_WORKER) {
        return worker_first(t->worker) == t ? "running" : "waiting";
    }
    if (t->state ==
        TASK_PLACED) { /* sent to another node, which tells of those that take a while */
        return (t->flags & (TASK_STARTED | TASK_ANSWERED)) != 0 ? "running" : "waiting";
    }
    return task_state_name(t->state);
}

static void add_task(struct task_rows *r, const struct task *t)
{
    struct raylet_core *c = r->core;
    const struct job *job = t->class_->job;
    uint64_t ran_ns = history_ran_ns(c, t);
    const char *name =
        t->extra != NULL && t->extra->name != NULL ? t->extra->name : task_function(t);

    if (r->count == r->room || t->first == NULL || (r->q->job != 0 && r->q->job != job->number) ||
        !rows_wanted(r->q->state, row_state(t)) ||
        (!rows_wanted(r->q->name, name) && !rows_wanted(r->q->name, task_function(t)))) {
        return;
    }
    r->list[r->count++] = (struct state_task){
        .id = core_object_id(c, t->first),
        .function = task_function(t),
        .name = name == task_function(t) ? name : core_text(c, name),
        .node = t->place == AT_LANE ? core_text(c, t->lane->peer->name) : c->node_name,
        .state = row_state(t),
        .reason = task_reason(c, t),
        .job = job->number,
        .worker = t->place != AT_WORKER || t->worker == NULL ? 0 : t->worker->number,
        .attempt = t->attempt,
        .max_attempts = t->max_attempts,
        .depth = t->class_->depth,
        .priority = t->class_->priority,
        .submitted_unix_ms = core_unix_of(c, t->submitted_ms),
        .started_unix_ms = ran_ns == 0 ? 0 : core_unix_ms(c) - ran_ns / NS_PER_MS,
        .ran_ns = ran_ns,
        .root = ""};
}

/* From the end of a queue, where the newest are. */
static void add_newest(struct task_rows *r, struct list *queue)
{
    uint32_t before = r->count, seen = 0;

    for (struct list *at = queue->prev;
         at != queue && r->count - before < r->most && seen < LOOK_AT_MAX; at = at->prev) {
        add_task(r, list_entry(at, struct task, link));
        seen++;
    }
}

static bool add_sent(uint64_t run, void *value, void *arg)
{
    struct task_rows *r = arg;

    add_task(r, value);
    return r->count < r->room;
}

static void add_live(struct task_rows *r)
{
    struct raylet_core *c = r->core;

    LIST_FOREACH(at, &c->workers)
    {
        struct worker *w = list_entry(at, struct worker, link);
        for (uint32_t i = 0; i < w->placed; i++) {
            add_task(r, w->slots[w->order[(w->order_first + i) % LOCAL_CLAIMS]]);
        }
    }
    LIST_FOREACH(at, &c->jobs)
    {
        struct job *job = list_entry(at, struct job, link);
        for (struct class_ *k = job->classes; k != NULL; k = k->hh.next) {
            add_newest(r, &k->queue);
            add_newest(r, &k->fresh);
            LIST_FOREACH(at2, &k->lanes)
            {
                add_newest(r, &list_entry(at2, struct lane, class_link)->queue);
            }
        }
        add_newest(r, &job->waiting);
    }
    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        numbers_each(&p->runs, add_sent, r);
    }
}

/* Why a task has no value, short enough for a line of a screen. */
static const char *end_reason(struct raylet_core *c, const struct history_row *row)
{
    const struct failure *f;
    const char *what, *tries = "";

    if (row->error == NULL) {
        return "";
    }
    f = &row->error->failure;
    what = f->message[0] != '\0' ? f->message : code_name(f->code);
    if (f->code == CODE_CRASHED && f->signal != 0) {
        what = rows_text(c, "crashed with signal %d", f->signal);
    } else if (f->code == CODE_EXITED) {
        what = rows_text(c, "called exit(%d)", f->exit_code);
    }
    if (row->attempt > 1) {
        tries = rows_text(c, ", attempt %u of %u", row->attempt, row->max_attempts);
    }
    return rows_text(c, "%s%s", what, tries);
}

static void add_ended(struct task_rows *r, const struct history *h, uint32_t most)
{
    /* All: they stand in the order of their ends, and the newest are asked for. */
    for (uint32_t i = 0; i < h->used && i < most && r->count < r->room; i++) {
        const struct history_row *row = &h->rows[(h->next + h->room - 1 - i) % h->room];
        const struct failure *f = row->error == NULL ? NULL : &row->error->failure;
        const char *state = history_state(row);
        const char *name = row->name != NULL ? row->name : row->function;
        if ((r->q->job != 0 && r->q->job != row->job) || !rows_wanted(r->q->state, state) ||
            (!rows_wanted(r->q->name, row->function) && !rows_wanted(r->q->name, name))) {
            continue;
        }
        r->list[r->count++] = (struct state_task){
            .id = row->id,
            .function = row->function,
            .name = row->name != NULL ? core_text(r->core, name) : name,
            .node = row->node != NULL ? row->node : r->core->node_name,
            .state = state,
            .reason = end_reason(r->core, row),
            .job = row->job,
            .worker = row->worker,
            .attempt = row->attempt,
            .max_attempts = row->max_attempts,
            .depth = row->depth,
            .priority = row->priority,
            .submitted_unix_ms = row->submitted_unix_ms,
            .ended_unix_ms = row->ended_unix_ms,
            .started_unix_ms = row->ran_ns == 0 ? 0 : row->ended_unix_ms - row->ran_ns / NS_PER_MS,
            .code = f == NULL ? 0 : (uint32_t)f->code,
            .ran_ns = row->ran_ns,
            .root = f == NULL ? "" : core_text(r->core, f->task)};
    }
}

static int newest_first(const void *a, const void *b)
{
    const struct state_task *x = a, *y = b;

    if (x->submitted_unix_ms != y->submitted_unix_ms) {
        return x->submitted_unix_ms < y->submitted_unix_ms ? 1 : -1;
    }
    if (x->id.client != y->id.client) {
        return x->id.client < y->id.client ? 1 : -1;
    }
    return x->id.number < y->id.number ? 1 : x->id.number > y->id.number ? -1 : 0;
}

size_t rows_ended(struct raylet_core *c, uint32_t most, const struct state_task **ret)
{
    const struct state_query all = {.state = "", .name = ""};
    struct task_rows rows = {.core = c, .q = &all, .room = 3 * most};

    rows.list = arena_alloc(&c->arena, rows.room * sizeof *rows.list);
    add_ended(&rows, &c->failed_history, most);
    add_ended(&rows, &c->cancelled_history, most);
    add_ended(&rows, &c->done_history, most);
    *ret = rows.list;
    return rows.count;
}

static void add_history(struct task_rows *r)
{
    add_ended(r, &r->core->failed_history, UINT32_MAX);
    add_ended(r, &r->core->cancelled_history, UINT32_MAX);
    add_ended(r, &r->core->done_history, UINT32_MAX);
}

/* The one task of that id: where it lives, else what is remembered. */
static void add_one(struct task_rows *r, struct object_id id)
{
    struct client *owner = core_client(r->core, id.client);
    struct object *o = owner == NULL ? NULL : numbers_get(&owner->objects, id.number);

    if (id.node != r->core->node) {
        return;
    }
    if (o != NULL && o->state == OBJECT_PENDING && !o->following && o->task != NULL &&
        o->task->first == o) {
        add_task(r, o->task);
        return;
    }
    add_history(r);
    for (uint32_t i = 0; i < r->count; i++) {
        if (object_id_equal(r->list[i].id, id)) {
            r->list[0] = r->list[i];
            r->count = 1;
            return;
        }
    }
    r->count = 0;
}

void rows_tasks(struct raylet_core *c, const struct state_query *q, struct state_reply *r)
{
    bool last = strcmp(q->id, "last") == 0, one = q->id[0] != '\0';
    struct task_rows rows = {.core = c, .q = q, .room = ROWS_ROOM};
    struct object_id id;

    rows.most = last ? 1 : one ? ROWS_ROOM : rows_limit(q);
    rows.list = arena_alloc(&c->arena, rows.room * sizeof *rows.list);
    if (!one || last) {
        add_live(&rows);
        add_history(&rows);
    } else if (object_id_parse(q->id, &id) == 0) {
        add_one(&rows, id);
    }
    qsort(rows.list, rows.count, sizeof *rows.list, newest_first);
    r->tasks = rows.list;
    r->task_count = MIN_OF(rows.count, one ? 1 : rows_limit(q));
    if (one && r->task_count == 0) {
        failure_set(&r->failure, CODE_NOT_FOUND,
                    "node %s has no record of task %s: it never existed, or it ended long ago (the "
                    "last %u are remembered)",
                    c->node_name, q->id, HISTORY_DONE);
    }
}

/* ---- explain ---- */

/* Of a task that crashed. */
static const char *explain_core_file(struct raylet_core *c, struct object *o)
{
    static const char mark[] = "core file: ";
    const struct object *root = o == NULL ? NULL : object_root(o);
    const char *at = root != NULL && root->state == OBJECT_ERROR
                         ? strstr(root->error->failure.message, mark)
                         : NULL;

    if (at == NULL) {
        return "  To get a core file of its next crash, start the node after 'ulimit -c unlimited' "
               "(man 5 core).";
    }
    at += sizeof mark - 1;
    return rows_text(c, "  Its core file: %.*s", (int)strcspn(at, ";"), at);
}

void rows_explain(struct raylet_core *c, const struct state_query *q, struct state_reply *r)
{
    const char **lines = arena_alloc(&c->arena, LINES_MAX * sizeof *lines);
    char id[ID_TEXT_SIZE], took[32];
    struct object_id oid;
    struct client *owner;
    struct object *o = NULL;
    size_t n = 0;

    rows_tasks(c, q, r);
    if (r->failure.code != 0 || r->task_count == 0) {
        return;
    }
    struct state_task row = r->tasks[0];
    oid = row.id;
    object_id_format(oid, id);
    r->task_count = 0;
    owner = core_client(c, oid.client);
    if (owner != NULL) {
        o = numbers_get(&owner->objects, oid.number);
    }
    text_format_duration((core_unix_ms(c) - row.submitted_unix_ms) * NS_PER_MS, took);
    if (row.ended_unix_ms != 0) {
        text_format_duration((row.ended_unix_ms - row.submitted_unix_ms) * NS_PER_MS, took);
        lines[n++] = rows_text(c, "Task %s \"%s\" is %s, %s after it was submitted.", id, row.name,
                               row.state, took);
        if (row.code != 0) {
            lines[n++] = rows_text(c, "  %s", row.reason);
        }
        if (row.code != 0 && row.worker != 0) {
            lines[n++] = rows_text(c, "  What it wrote: drt logs --task %s", id);
        }
        if (row.code == CODE_CRASHED) {
            lines[n++] = explain_core_file(c, o);
        }
    } else if (strcmp(row.state, "running") == 0) {
        lines[n++] = rows_text(
            c, "Task %s \"%s\" %s %s%s, attempt %u of %u; it was submitted %s ago.", id, row.name,
            row.worker == 0 ? "was sent to" : "runs on", row.node,
            row.worker == 0 ? "" : rows_text(c, ", worker %llu", (unsigned long long)row.worker),
            row.attempt, row.max_attempts, took);
    } else {
        lines[n++] = rows_text(c, "Task %s \"%s\" has waited %s.", id, row.name, took);
        if (o != NULL && o->state == OBJECT_PENDING && !o->following && o->task != NULL) {
            const struct class_ *k = o->task->class_;
            bool fixed = k->wish->strategy == SCHED_SPREAD && o->task->state == TASK_READY &&
                         o->task->place != AT_FRESH;
            int32_t priority = task_priority(o->task);
            lines[n++] = rows_text(
                c, "  It requests %s; %s%s%s; priority %d%s.", asks(c, k->pool->shape),
                strategy(c, k->wish), fixed ? ", which chose node " : "", fixed ? row.node : "",
                priority, priority != k->own ? ", that of a task that waits for it" : "");
            lines[n++] = rows_text(c, "  Now: %s.", row.reason);
            if (!fixed) { /* else it goes to no other */
                n += plan_explain(c, k, lines + n, LINES_MAX - n - 2);
            }
            uint64_t others = k->queued - (k->queued > 0 && o->task->place == AT_QUEUE);
            lines[n++] =
                rows_text(c, "  %llu more of its kind wait%s; on this node %llu task%s.",
                          (unsigned long long)others, others == 1 ? "s" : "",
                          (unsigned long long)c->running, c->running == 1 ? " runs" : "s run");
        }
    }
    r->lines = lines;
    r->line_count = n;
}
