#include "raylet/core_rows.h"

#include "common/text.h"
#include "raylet/core_cache.h"
#include "raylet/core_head.h"
#include "raylet/core_jobs.h"
#include "raylet/core_lanes.h"
#include "raylet/core_plan.h"
#include "raylet/core_schedule.h"
#include "raylet/core_tasks.h"
#include "sched/policy.h"

#include <stdarg.h>
#include <stdio.h>

#define ROWS_DEFAULT 100u
#define LINES_MAX    64u

static const char *text_in_arena(struct raylet_core *c, const char *format, ...) PRINTF(2, 3);

static const char *text_in_arena(struct raylet_core *c, const char *format, ...)
{
    char text[1024]; /* a failure's sentence, and what is said around it */
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return arena_text(&c->arena, text, strlen(text));
}

static uint32_t limit_of(const struct state_query *q)
{
    return q->limit == 0 ? ROWS_DEFAULT : MIN_OF(q->limit, STATE_ROWS_MAX);
}

static bool wanted(const char *filter, const char *value)
{
    return filter[0] == '\0' || strcmp(filter, value) == 0;
}

/* ---- nodes and jobs ---- */

static const struct state_amount *amounts_of(struct raylet_core *c,
                                             const struct resource_set *total,
                                             const struct resource_set *available)
{
    struct state_amount *list = arena_alloc(&c->arena, (total->count + 1) * sizeof *list);

    for (uint32_t i = 0; i < total->count; i++) {
        uint32_t kind = total->amounts[i].kind;
        list[i] = (struct state_amount){core_text(c, resource_name(&c->resources, kind)),
                                        total->amounts[i].units, resource_set_get(available, kind)};
    }
    return list;
}

static void nodes(struct raylet_core *c, struct state_reply *r)
{
    size_t room = 1 + HASH_COUNT(c->peers);
    struct state_node *list = arena_alloc(&c->arena, room * sizeof *list);
    struct state_node *self = &list[0];
    size_t n = 1;

    memset(list, 0, room * sizeof *list);
    self->number = c->node;
    self->name = c->node_name;
    self->host = c->join.host;
    self->address = c->join.address;
    self->state = "alive";
    self->note = "";
    self->labels = c->labels;
    self->since_unix_ms = c->start_unix_ms;
    self->pid = c->join.pid;
    self->amounts = amounts_of(c, &c->total, &c->available);
    self->amount_count = c->total.count;
    self->waiting = c->waiting - lanes_waiting(c, NULL);
    self->running = c->running;
    self->done = c->done;
    self->failed = c->failed;
    self->workers = c->worker_count;
    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        struct state_node *row = &list[n];
        if (p->state != PEER_ALIVE) {
            continue;
        }
        n++;
        row->number = p->number;
        row->name = core_text(c, p->name);
        row->host = row->note = "";
        row->address = core_text(c, p->address);
        row->state = "alive";
        row->labels = core_text(c, p->labels);
        row->since_unix_ms = p->since_unix_ms;
        row->amounts = amounts_of(c, &p->total, &p->available);
        row->amount_count = p->total.count;
        row->waiting = p->waiting + lanes_waiting(c, p);
        row->running = p->running;
    }
    r->nodes = list;
    r->node_count = n;
    r->cluster = c->cluster;
}

static const char *job_state_name(const struct job *job)
{
    switch (job->state) {
    case JOB_ASKED:
        return "waiting";
    case JOB_LIVE:
        return "running";
    default:
        return job->end_state == JOB_DONE ? "done" : "failed";
    }
}

static void jobs(struct raylet_core *c, const struct state_query *q, struct state_reply *r)
{
    uint32_t limit = limit_of(q), n = 0;
    struct state_job *list = arena_alloc(&c->arena, limit * sizeof *list);

    for (struct list *at = c->jobs.prev; at != &c->jobs && n < limit; at = at->prev) {
        const struct job *job = list_entry(at, struct job, link);
        if (job->guest || (q->job != 0 && q->job != job->number) ||
            !wanted(q->state, job_state_name(job)) || !wanted(q->name, job->name)) {
            continue;
        }
        list[n++] = (struct state_job){.number = job->number,
                                       .name = core_text(c, job->name),
                                       .state = job_state_name(job),
                                       .node = c->node_name,
                                       .program = core_text(c, job->program_name),
                                       .user = core_text(c, job->user),
                                       .pid = (uint32_t)job->pid,
                                       .started_unix_ms = job->started_unix_ms,
                                       .ended_unix_ms = job->ended_unix_ms,
                                       .waiting = job->waiting_count,
                                       .running = job->running_count,
                                       .done = job->done,
                                       .failed = job->failed};
    }
    r->jobs = list;
    r->job_count = n;
}

/* ---- why a task waits ---- */

static const char *asks(struct raylet_core *c, const struct shape *s)
{
    char text[512] = "";
    size_t n = 0;

    for (uint32_t i = 0; i < s->asked.count && n < sizeof text; i++) {
        const struct resource_amount *a = &s->asked.amounts[i];
        char amount[32];
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s %s", i > 0 ? ", " : "",
                              resource_name(&c->resources, a->kind),
                              resource_format(a->kind, a->units, amount));
    }
    return text_in_arena(c, "%s", s->asked.count == 0 ? "nothing" : text);
}

static const char *strategy(struct raylet_core *c, const struct wish *w)
{
    static const char *const names[] = {"strategy DEFAULT", "strategy SPREAD",
                                        "strategy LOAD_BALANCED"};

    if (w->strategy < ARRAY_SIZE(names)) {
        return names[w->strategy];
    }
    return text_in_arena(c, "strategy NODE_SPECIFIC (%s%s%s%s%s)", w->soft ? "soft " : "",
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
            return text_in_arena(c, "%s: %s asked, %s of %s free",
                                 resource_name(&c->resources, a->kind),
                                 resource_format(a->kind, a->units, want),
                                 resource_format(a->kind, free_units, have),
                                 resource_format(a->kind, resource_set_get(total, a->kind), all));
        }
    }
    return NULL;
}

static const char *class_reason(struct raylet_core *c, const struct class_ *k)
{
    const char *what;

    if (k->job->program == 0) {
        return "its program is being read";
    }
    if (k->wish->state == WISH_ASKING) {
        return "the head is asked whether any node could run it";
    }
    if (!k->wish->here) {
        return list_is_empty((struct list *)&k->lanes)
                   ? "no other node that may run it is known yet"
                   : "other nodes are asked for room";
    }
    what = missing(c, k->pool->shape, &c->total, &c->available);
    if (what != NULL) {
        return what;
    }
    if (c->reserving != NULL && c->reserving != k) {
        return text_in_arena(c, "what is free is kept for %s, which waits longest",
                             c->reserving->shown);
    }
    return k->job->starting > 0 ? "a worker is starting" : "its turn comes";
}

/* Why what is fixed to another node waits for it. */
static const char *lane_reason(struct raylet_core *c, const struct lane *lane)
{
    const struct peer *p = lane->peer;
    const char *what = missing(c, lane->class_->pool->shape, &p->total, &p->available);
    char took[32];

    if (p->silent_ns != 0 && c->now_ns - p->silent_ns > NS_PER_S) {
        text_format_duration(c->now_ns - p->silent_ns, took);
        return text_in_arena(c, "it is for node %s, which cannot be reached from here since %s",
                             p->name, took);
    }
    if (what != NULL) { /* as the head heard last */
        return text_in_arena(c, "it is for node %s, where %s", p->name, what);
    }
    return text_in_arena(c, "it is for node %s, which is asked for room", p->name);
}

static const char *task_reason(struct raylet_core *c, const struct task *t)
{
    switch (t->state) {
    case TASK_WAITING:
        if (cache_waits_for_room(t)) {
            return "its arguments come from other nodes, and wait for room beside those of others";
        }
        return text_in_arena(c, "%u of its %u arguments do not exist yet", t->needs_missing,
                             t->extra->need_count);
    case TASK_BACKOFF:
        return text_in_arena(c, "attempt %u was lost; the next begins after its back-off",
                             t->attempt - 1u);
    case TASK_READY:
        if (t->place == AT_LANE) {
            return lane_reason(c, t->lane);
        }
        return class_reason(c, t->class_);
    case TASK_PLACED:
        if (t->place == AT_LANE) {
            return "";
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
        return worker_first(t->worker) == t ? "running" : "ready";
    }
    return task_state_name(t->state);
}

/* Someone who asks what waits does not care for what. */
static bool is_wanted_state(const char *filter, const char *state)
{
    return wanted(filter, state) || (strcmp(filter, "waiting") == 0 && strcmp(state, "ready") == 0);
}

static void add_task(struct task_rows *r, const struct task *t)
{
    struct raylet_core *c = r->core;
    const struct job *job = t->class_->job;
    const char *name =
        t->extra != NULL && t->extra->name != NULL ? t->extra->name : task_function(t);

    if (r->count == r->room || t->first == NULL || (r->q->job != 0 && r->q->job != job->number) ||
        !is_wanted_state(r->q->state, row_state(t)) ||
        (!wanted(r->q->name, name) && !wanted(r->q->name, task_function(t)))) {
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
        .submitted_unix_ms = c->start_unix_ms + t->submitted_ms};
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
        what = text_in_arena(c, "crashed with signal %d", f->signal);
    } else if (f->code == CODE_EXITED) {
        what = text_in_arena(c, "called exit(%d)", f->exit_code);
    }
    if (row->attempt > 1) {
        tries = text_in_arena(c, ", attempt %u of %u", row->attempt, row->max_attempts);
    }
    return text_in_arena(c, "%s%s", what, tries);
}

static void add_ended(struct task_rows *r, const struct history *h)
{
    /* All: they stand in the order of their ends, and the newest are asked for. */
    for (uint32_t i = 0; i < h->used && r->count < r->room; i++) {
        const struct history_row *row = &h->rows[(h->next + h->room - 1 - i) % h->room];
        int code = row->error == NULL ? 0 : row->error->failure.code;
        const char *state = code == 0 ? "done" : code == CODE_CANCELLED ? "cancelled" : "failed";
        if ((r->q->job != 0 && r->q->job != row->job) || !wanted(r->q->state, state) ||
            !wanted(r->q->name, row->function)) {
            continue;
        }
        r->list[r->count++] =
            (struct state_task){.id = row->id,
                                .function = row->function,
                                .name = row->function,
                                .node = row->node != NULL ? row->node : r->core->node_name,
                                .state = state,
                                .reason = end_reason(r->core, row),
                                .job = row->job,
                                .worker = row->worker,
                                .attempt = row->attempt,
                                .max_attempts = row->max_attempts,
                                .submitted_unix_ms = row->submitted_unix_ms,
                                .ended_unix_ms = row->ended_unix_ms,
                                .code = (uint32_t)code};
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

static void add_history(struct task_rows *r)
{
    add_ended(r, &r->core->failed_history);
    add_ended(r, &r->core->done_history);
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

static void tasks(struct raylet_core *c, const struct state_query *q, struct state_reply *r)
{
    bool last = strcmp(q->id, "last") == 0, one = q->id[0] != '\0';
    struct task_rows rows = {.core = c, .q = q, .room = ROWS_ROOM};
    struct object_id id;

    rows.most = last ? 1 : one ? ROWS_ROOM : limit_of(q);
    rows.list = arena_alloc(&c->arena, rows.room * sizeof *rows.list);
    if (!one || last) {
        add_live(&rows);
        add_history(&rows);
    } else if (object_id_parse(q->id, &id) == 0) {
        add_one(&rows, id);
    }
    qsort(rows.list, rows.count, sizeof *rows.list, newest_first);
    r->tasks = rows.list;
    r->task_count = MIN_OF(rows.count, one ? 1 : limit_of(q));
    if (one && r->task_count == 0) {
        failure_set(&r->failure, CODE_NOT_FOUND,
                    "node %s knows no task %s: it never was, or ended long ago (the last %u are "
                    "remembered)",
                    c->node_name, q->id, HISTORY_DONE);
    }
}

/* Of this node, as rows of no function and no job: fresher than what the head last heard. What
 * waits for another node is told as that node's; its own raylet does not know of it. */
static size_t totals_room(const struct raylet_core *c)
{
    return 4 + HASH_COUNT(c->peers);
}

static size_t add_totals(struct raylet_core *c, struct state_class *list)
{
    const struct {
        const char *state;
        uint64_t count;
    } counts[] = {{"waiting", c->waiting - lanes_waiting(c, NULL)},
                  {"running", c->running},
                  {"done", c->done},
                  {"failed", c->failed}};
    size_t n = 0;

    for (; n < ARRAY_SIZE(counts); n++) {
        list[n] = (struct state_class){.function = "",
                                       .state = counts[n].state,
                                       .reason = "",
                                       .node = c->node_name,
                                       .count = counts[n].count};
    }
    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        uint64_t count = lanes_waiting(c, p);
        if (count > 0) {
            list[n++] = (struct state_class){.function = "",
                                             .state = "waiting",
                                             .reason = "",
                                             .node = core_text(c, p->name),
                                             .count = count};
        }
    }
    return n;
}

/* Parts of jobs that have no more to do here; at most `room`. They are of no function. */
static uint32_t add_parts(const struct raylet_core *c, const struct state_query *q,
                          struct state_class *list, uint32_t room)
{
    uint32_t n = 0;

    for (const struct part *part = c->parts; part != NULL && n + 2 <= room; part = part->hh.next) {
        if (q->job != 0 && q->job != part->job) {
            continue;
        }
        struct state_class row = {
            .function = "(tasks of tasks)", .reason = "", .node = c->node_name, .job = part->job};
        row.state = "done";
        row.count = part->done;
        list[n++] = row;
        row.state = "failed";
        row.count = part->failed;
        list[n++] = row;
    }
    return n;
}

/* What of a job ran or runs, so that a tool need not wait for its end to know. */
static size_t add_job_counts(struct raylet_core *c, const struct job *job, struct state_class *list)
{
    const struct {
        const char *state;
        uint64_t count;
    } counts[] = {{"running", job->running_count - job->away_count}, /* others tell of theirs */
                  {"done", job->done},
                  {"failed", job->failed}};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        if (counts[i].count > 0) {
            list[n++] = (struct state_class){.function = core_text(c, job->name),
                                             .state = counts[i].state,
                                             .reason = "",
                                             .node = c->node_name,
                                             .count = counts[i].count,
                                             .job = job->number};
        }
    }
    return n;
}

/* Tasks that are fixed to other nodes, and have no slot there yet. */
static uint64_t fixed_elsewhere(const struct class_ *k)
{
    uint64_t n = 0;

    for (const struct list *at = k->lanes.next; at != &k->lanes; at = at->next) {
        n += list_entry(at, struct lane, class_link)->queued;
    }
    return n;
}

/* What waits of a class, as rows of the nodes that it waits for; at most `room`. */
static uint32_t add_waiting(struct raylet_core *c, const struct class_ *k, struct state_class *list,
                            uint32_t room)
{
    uint32_t n = 0;
    struct state_class row = {.function = k->shown, .state = "waiting", .job = k->job->number};

    if (k->queued > 0 && room > 0) {
        const struct lane *only = lane_only(k);
        row.reason = class_reason(c, k);
        row.node = only == NULL ? c->node_name : core_text(c, only->peer->name);
        row.count = k->queued;
        list[n++] = row;
    }
    for (const struct list *at = k->lanes.next; at != &k->lanes && n < room; at = at->next) {
        const struct lane *l = list_entry(at, struct lane, class_link);
        if (l->queued > 0) {
            row.reason = "for their nodes, which are asked for room";
            row.node = core_text(c, l->peer->name);
            row.count = l->queued;
            list[n++] = row;
        }
    }
    return n;
}

static void classes(struct raylet_core *c, const struct state_query *q, struct state_reply *r)
{
    uint32_t limit = MIN_OF(limit_of(q) * 2, STATE_ROWS_MAX), n = 0;
    struct state_class *list = arena_alloc(&c->arena, (limit + totals_room(c) + 4) * sizeof *list);

    if (q->job == 0) {
        n += (uint32_t)add_totals(c, list);
        limit += n;
    }
    LIST_FOREACH(at, &c->jobs)
    {
        const struct job *job = list_entry(at, struct job, link);
        uint64_t queued = 0;
        for (const struct class_ *k = job->classes; k != NULL && n < limit; k = k->hh.next) {
            queued += k->queued + fixed_elsewhere(k);
            if (q->job == 0 || q->job == job->number) {
                n += add_waiting(c, k, list + n, limit - n);
            }
        }
        if (job->waiting_count > queued && n < limit && (q->job == 0 || q->job == job->number)) {
            list[n++] = (struct state_class){.function = core_text(c, job->name),
                                             .state = "waiting",
                                             .reason = "for arguments or a next attempt",
                                             .node = c->node_name,
                                             .count = job->waiting_count - queued,
                                             .job = job->number};
        }
        if (n < limit && (q->job == 0 || q->job == job->number)) {
            n += (uint32_t)add_job_counts(c, job, list + n);
        }
    }
    n += add_parts(c, q, list + n, limit - MIN_OF(n, limit));
    r->classes = list;
    r->class_count = n;
}

/* ---- explain ---- */

static void explain(struct raylet_core *c, const struct state_query *q, struct state_reply *r)
{
    const char **lines = arena_alloc(&c->arena, LINES_MAX * sizeof *lines);
    char id[ID_TEXT_SIZE], took[32];
    struct object_id oid;
    struct client *owner;
    struct object *o = NULL;
    size_t n = 0;

    tasks(c, q, r);
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
        lines[n++] = text_in_arena(c, "Task %s \"%s\" is %s, %s after it was submitted.", id,
                                   row.name, row.state, took);
        if (row.code != 0) {
            lines[n++] = text_in_arena(c, "  %s", row.reason);
        }
        if (row.code != 0 && row.worker != 0) {
            lines[n++] = text_in_arena(c, "  What it wrote: drt logs --task %s", id);
        }
    } else if (strcmp(row.state, "running") == 0) {
        lines[n++] = text_in_arena(
            c, "Task %s \"%s\" %s %s%s, attempt %u of %u; it was submitted %s ago.", id, row.name,
            row.worker == 0 ? "was sent to" : "runs on", row.node,
            row.worker == 0 ? ""
                            : text_in_arena(c, ", worker %llu", (unsigned long long)row.worker),
            row.attempt, row.max_attempts, took);
    } else {
        lines[n++] = text_in_arena(c, "Task %s \"%s\" waits since %s.", id, row.name, took);
        if (o != NULL && o->state == OBJECT_PENDING && !o->following && o->task != NULL) {
            const struct class_ *k = o->task->class_;
            bool fixed = k->wish->strategy == SCHED_SPREAD && o->task->state == TASK_READY &&
                         o->task->place != AT_FRESH;
            lines[n++] =
                text_in_arena(c, "  It asks %s; %s%s%s; priority %d.", asks(c, k->pool->shape),
                              strategy(c, k->wish), fixed ? ", which chose node " : "",
                              fixed ? row.node : "", k->priority);
            lines[n++] = text_in_arena(c, "  Now: %s.", row.reason);
            if (!fixed) { /* else it goes to no other */
                n += plan_explain(c, k, lines + n, LINES_MAX - n - 2);
            }
            uint64_t others = k->queued - (k->queued > 0 && o->task->place == AT_QUEUE);
            lines[n++] =
                text_in_arena(c, "  Of its class %llu more wait%s; on this node %llu task%s.",
                              (unsigned long long)others, others == 1 ? "s" : "",
                              (unsigned long long)c->running, c->running == 1 ? " runs" : "s run");
        }
    }
    r->lines = lines;
    r->line_count = n;
}

/* ---- workers ---- */

/* Those of one job that have ended: their output is kept longer than they are. */
static uint32_t add_ended_workers(struct raylet_core *c, const struct state_query *q,
                                  struct state_worker *list, uint32_t room)
{
    uint32_t n = 0;

    for (uint32_t i = 1; i <= c->ended_used && n < room; i++) {
        const struct ended_worker *w =
            &c->ended_workers[(c->ended_next + ENDED_WORKERS - i) % ENDED_WORKERS];
        if (w->job == q->job && (q->worker == 0 || q->worker == w->number) &&
            wanted(q->state, "dead")) {
            list[n++] =
                (struct state_worker){.number = w->number,
                                      .job = w->job,
                                      .node = c->node_name,
                                      .program = "",
                                      .state = "dead",
                                      .out_path = text_in_arena(c, "logs/worker-%u.out", w->number),
                                      .err_path = text_in_arena(c, "logs/worker-%u.err", w->number),
                                      .started_unix_ms = w->started_unix_ms,
                                      .tasks_done = w->done};
        }
    }
    return n;
}

static void workers(struct raylet_core *c, const struct state_query *q, struct state_reply *r)
{
    static const char *const states[] = {"new",     "starting", "idle", "running",
                                         "blocked", "leaving",  "dead"};
    uint32_t limit = limit_of(q), n = 0;
    struct state_worker *list = arena_alloc(&c->arena, limit * sizeof *list);

    for (struct list *at = c->workers.prev; at != &c->workers && n < limit; at = at->prev) {
        const struct worker *w = list_entry(at, struct worker, link);
        if ((q->worker != 0 && q->worker != w->number) ||
            (q->job != 0 && q->job != w->job->number) || !wanted(q->state, states[w->state])) {
            continue;
        }
        list[n++] =
            (struct state_worker){.number = w->number,
                                  .job = w->job->number,
                                  .node = c->node_name,
                                  .program = core_text(c, w->job->program_name),
                                  .state = states[w->state],
                                  .pid = (uint32_t)w->pid,
                                  .out_path = text_in_arena(c, "logs/worker-%u.out", w->number),
                                  .err_path = text_in_arena(c, "logs/worker-%u.err", w->number),
                                  .started_unix_ms = w->started_unix_ms,
                                  .tasks_done = w->done};
    }
    if (q->job != 0) {
        n += add_ended_workers(c, q, list + n, limit - n);
    }
    r->workers = list;
    r->worker_count = n;
}

static void stop(struct raylet_core *c, struct client *client, const struct state_query *q,
                 struct state_reply *r)
{
    if (client == NULL || client->role != ROLE_TOOL) {
        failure_set(&r->failure, CODE_REFUSED, "only a tool on this machine may stop a node");
    } else {
        struct state_class *totals = arena_alloc(&c->arena, totals_room(c) * sizeof *totals);
        head_leave(c, q->kind == STATE_LEAVE ? q->within_ns : 0);
        r->class_count = add_totals(c, totals); /* it may be gone before it is asked again */
        r->classes = totals;
    }
}

void rows_query(struct raylet_core *c, struct client *client, uint64_t request,
                const struct state_query *q, const struct local_msg *local,
                const struct cluster_msg *head)
{
    struct state_reply reply;

    memset(&reply, 0, sizeof reply);
    reply.last = true;
    reply.cluster = reply.head_address = "";
    switch (q->kind) {
    case STATE_CLUSTER:
    case STATE_NODES:
        nodes(c, &reply);
        break;
    case STATE_JOBS:
        jobs(c, q, &reply);
        break;
    case STATE_TASKS:
        tasks(c, q, &reply);
        break;
    case STATE_CLASSES:
        classes(c, q, &reply);
        break;
    case STATE_EXPLAIN:
        explain(c, q, &reply);
        break;
    case STATE_WORKERS:
        workers(c, q, &reply);
        break;
    case STATE_LOG: {
        struct raylet_effect *e = core_effect(c, EFFECT_READ_LOG);
        if (client != NULL) {
            e->client = client->number;
            e->local = local;
        } else {
            e->head_request = request;
            e->head = head;
        }
        return;
    }
    case STATE_STOP:
    case STATE_LEAVE:
        stop(c, client, q, &reply);
        break;
    default:
        failure_set(&reply.failure, CODE_NOT_FOUND,
                    "this raylet does not know such a question: its version is older");
    }
    if (client != NULL) {
        struct local_msg *m = core_send(c, client->number, LOCAL_REPLY);
        m->reply.request = request;
        m->reply.reply = reply;
    } else {
        struct cluster_msg *m = core_send_head(c, CLUSTER_REPLY);
        m->reply.request = request;
        m->reply.reply = reply;
    }
}
