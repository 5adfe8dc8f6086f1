#include "raylet/core_rows.h"

#include "common/text.h"
#include "raylet/core_cancel.h"
#include "raylet/core_guests.h"
#include "raylet/core_head.h"
#include "raylet/core_history.h"
#include "raylet/core_jobs.h"
#include "raylet/core_lanes.h"
#include "raylet/core_rows_private.h"
#include "raylet/core_schedule.h"
#include "raylet/core_tasks.h"

#define HEARD_NS              (5 * NS_PER_S) /* the head answers each second */
#define HISTORY_FUNCTIONS_MAX 100u
#define HISTORY_BYTES_MAX     (768u << 10)

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

/* Tasks that lie ready in the rings of workers behind the one that runs: those wait. Of one job, or
 * of all (NULL). */
static uint64_t next_in_rings(struct raylet_core *c, const struct job *job)
{
    uint64_t n = 0;

    LIST_FOREACH(at, &c->workers)
    {
        const struct worker *w = list_entry(at, struct worker, link);
        for (uint32_t i = 1; i < w->placed && (job == NULL || w->job == job); i++) {
            n += w->slots[w->order[(w->order_first + i) % LOCAL_CLAIMS]]->state == TASK_PLACED;
        }
    }
    return n;
}

/* What it is and has now. */
static void fill_self(struct raylet_core *c, struct state_node *self)
{
    uint64_t next = next_in_rings(c, NULL);

    memset(self, 0, sizeof *self);
    self->number = c->node;
    self->name = c->node_name;
    self->host = c->join.host;
    self->address = c->address;
    self->state = "alive";
    self->note = c->warning;
    self->labels = c->labels;
    self->since_unix_ms = c->start_unix_ms;
    self->pid = c->join.pid;
    self->amounts = amounts_of(c, &c->total, &c->available);
    self->amount_count = c->total.count;
    self->waiting = c->waiting - lanes_waiting(c, NULL) + next;
    self->running = c->running - next;
    self->done = c->done;
    self->failed = c->failed;
    self->cancelled = c->cancelled;
    self->memory_used_bytes = c->memory_used_bytes;
    self->workers = c->worker_count;
    LIST_FOREACH(at, &c->workers)
    {
        self->idle_workers += list_entry(at, struct worker, link)->state == WORKER_IDLE;
    }
}

static void self_row(struct raylet_core *c, struct state_reply *r)
{
    struct state_node *self = arena_alloc(&c->arena, sizeof *self);

    fill_self(c, self);
    r->nodes = self;
    r->node_count = 1;
}

/* When the head last told of the other nodes; 0: what it tells is new. */
static uint64_t heard_unix_ms(const struct raylet_core *c)
{
    uint64_t age_ns = c->boot_ns - MIN_OF(c->renew_answered_ns, c->boot_ns);
    bool is_new = c->head_state == HEAD_JOINED && age_ns < HEARD_NS;

    return is_new ? 0 : core_unix_ms(c) - age_ns / NS_PER_MS;
}

static void nodes(struct raylet_core *c, struct state_reply *r)
{
    size_t room = 1 + HASH_COUNT(c->peers);
    struct state_node *list = arena_alloc(&c->arena, room * sizeof *list);
    size_t n = 1;

    memset(list, 0, room * sizeof *list);
    fill_self(c, &list[0]);
    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        struct state_node *row = &list[n];
        if (p->state != PEER_ALIVE) {
            continue;
        }
        n++;
        row->number = p->number;
        row->name = core_text(c, p->name);
        row->host = "";
        row->note = core_text(c, p->warning);
        row->address = core_text(c, p->address);
        row->state = "alive";
        row->labels = core_text(c, p->labels);
        row->since_unix_ms = p->since_unix_ms;
        row->amounts = amounts_of(c, &p->total, &p->available);
        row->amount_count = p->total.count;
        row->waiting = p->waiting + lanes_waiting(c, p);
        row->running = p->running;
        row->heard_unix_ms = heard_unix_ms(c);
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
    uint32_t limit = rows_limit(q), n = 0;
    struct state_job *list = arena_alloc(&c->arena, limit * sizeof *list);

    for (struct list *at = c->jobs.prev; at != &c->jobs && n < limit; at = at->prev) {
        const struct job *job = list_entry(at, struct job, link);
        if (job->guest || (q->job != 0 && q->job != job->number) ||
            !rows_wanted(q->state, job_state_name(job)) || !rows_wanted(q->name, job->name)) {
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
                                       .failed = job->failed,
                                       .cancelled = job->cancelled};
    }
    r->jobs = list;
    r->job_count = n;
}

/* ---- counts ---- */

/* Of this node, as rows of no function and no job: fresher than what the head last heard. What
 * waits for another node is told as that node's; its own raylet does not know of it. */
static size_t totals_room(const struct raylet_core *c)
{
    return 5 + HASH_COUNT(c->peers);
}

static size_t add_totals(struct raylet_core *c, struct state_class *list)
{
    uint64_t next = next_in_rings(c, NULL);
    const struct {
        const char *state;
        uint64_t count;
    } counts[] = {{"waiting", c->waiting - lanes_waiting(c, NULL) + next},
                  {"running", c->running - next},
                  {"done", c->done},
                  {"failed", c->failed},
                  {"cancelled", c->cancelled}};
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

    for (const struct part *part = c->parts; part != NULL && n + 3 <= room; part = part->hh.next) {
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
        row.state = "cancelled";
        row.count = part->cancelled;
        list[n++] = row;
    }
    return n;
}

/* What of a job ran or runs, so that a tool need not wait for its end to know. */
static size_t add_job_counts(struct raylet_core *c, const struct job *job, struct state_class *list)
{
    uint64_t next = next_in_rings(c, job);
    const struct {
        const char *state;
        uint64_t count;
    } counts[] = {
        {"running", job->running_count - job->away_count - next}, /* not theirs elsewhere */
        {"done", job->done},
        {"failed", job->failed},
        {"cancelled", job->cancelled}};
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
        row.reason = rows_class_reason(c, k);
        row.node = only == NULL ? c->node_name : core_text(c, only->peer->name);
        row.count = k->queued;
        list[n++] = row;
    }
    for (const struct list *at = k->lanes.next; at != &k->lanes && n < room; at = at->next) {
        const struct lane *l = list_entry(at, struct lane, class_link);
        if (l->queued > 0) {
            row.reason = "their nodes are being asked for free slots";
            row.node = core_text(c, l->peer->name);
            row.count = l->queued;
            list[n++] = row;
        }
    }
    return n;
}

static void classes(struct raylet_core *c, const struct state_query *q, struct state_reply *r)
{
    uint32_t limit = MIN_OF(rows_limit(q) * 2, STATE_ROWS_MAX), n = 0;
    struct state_class *list = arena_alloc(&c->arena, (limit + totals_room(c) + 8) * sizeof *list);

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
        uint64_t next = next_in_rings(c, job);
        if (next > 0 && n < limit && (q->job == 0 || q->job == job->number)) {
            list[n++] = (struct state_class){.function = core_text(c, job->name),
                                             .state = "waiting",
                                             .reason = "they are they are next on their workers",
                                             .node = c->node_name,
                                             .count = next,
                                             .job = job->number};
        }
        if (job->waiting_count > queued && n < limit && (q->job == 0 || q->job == job->number)) {
            list[n++] =
                (struct state_class){.function = core_text(c, job->name),
                                     .state = "waiting",
                                     .reason = "they wait for arguments or for their next attempt",
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
            rows_wanted(q->state, "dead")) {
            list[n++] =
                (struct state_worker){.number = w->number,
                                      .job = w->job,
                                      .node = c->node_name,
                                      .program = "",
                                      .state = "dead",
                                      .out_path = rows_text(c, "logs/worker-%u.out", w->number),
                                      .err_path = rows_text(c, "logs/worker-%u.err", w->number),
                                      .started_unix_ms = w->started_unix_ms,
                                      .tasks_done = w->done};
        }
    }
    return n;
}

static const char *worker_state(const struct worker *w)
{
    static const char *const states[] = {"new",     "starting", "idle", "running",
                                         "blocked", "leaving",  "dead"};

    /* One that has a lease and no task will get one, or lose the lease. */
    return w->state == WORKER_LEASED && w->placed == 0 ? "idle" : states[w->state];
}

/* What it runs; so that who attaches a debugger to it knows. */
static void fill_task(struct raylet_core *c, struct worker *w, struct state_worker *row)
{
    struct task *t = worker_first(w);

    row->function = t == NULL ? "" : task_function(t);
    if (t != NULL && t->first != NULL) {
        row->task = core_object_id(c, t->first);
    } else if (t != NULL && t->extra != NULL && t->extra->guest != NULL) {
        row->task = t->extra->guest->id;
    } else if (t != NULL && t->extra != NULL) {
        row->task = t->extra->was; /* given up, and still at work */
    }
}

static void workers(struct raylet_core *c, const struct state_query *q, struct state_reply *r)
{
    uint32_t limit = rows_limit(q), n = 0;
    struct state_worker *list = arena_alloc(&c->arena, limit * sizeof *list);

    for (struct list *at = c->workers.prev; at != &c->workers && n < limit; at = at->prev) {
        struct worker *w = list_entry(at, struct worker, link);
        if ((q->worker != 0 && q->worker != w->number) ||
            (q->job != 0 && q->job != w->job->number) || !rows_wanted(q->state, worker_state(w))) {
            continue;
        }
        list[n++] = (struct state_worker){.number = w->number,
                                          .job = w->job->number,
                                          .node = c->node_name,
                                          .program = core_text(c, w->job->program_name),
                                          .state = worker_state(w),
                                          .pid = (uint32_t)w->pid,
                                          .out_path = rows_text(c, "logs/worker-%u.out", w->number),
                                          .err_path = rows_text(c, "logs/worker-%u.err", w->number),
                                          .started_unix_ms = w->started_unix_ms,
                                          .tasks_done = w->done};
        fill_task(c, w, &list[n - 1]);
    }
    if (q->job != 0) {
        n += add_ended_workers(c, q, list + n, limit - n);
    }
    r->workers = list;
    r->worker_count = n;
}

/* ---- functions ---- */

/* Those of its buckets that are not empty. */
static void fill_buckets(struct raylet_core *c, const struct function_stats *s,
                         struct state_function *row)
{
    struct state_bucket *list = arena_alloc(&c->arena, DURATIONS_BUCKETS * sizeof *list);

    row->buckets = list;
    for (uint32_t i = 0; i < DURATIONS_BUCKETS; i++) {
        if (s->buckets[i] > 0) {
            list[row->bucket_count++] = (struct state_bucket){i, s->buckets[i]};
        }
    }
}

size_t rows_functions(struct raylet_core *c, const char *name, uint32_t most,
                      const struct state_function **ret)
{
    struct state_function *list = arena_alloc(&c->arena, most * sizeof *list);
    uint32_t n = 0;

    for (struct function_stats *s = c->functions; s != NULL && n < most; s = s->hh.next) {
        if (rows_wanted(name, s->function)) {
            list[n] = (struct state_function){.function = s->function,
                                              .node = c->node_name,
                                              .done = s->done,
                                              .failed = s->failed,
                                              .cancelled = s->cancelled,
                                              .runs = s->runs,
                                              .ran_ns = s->ran_ns};
            fill_buckets(c, s, &list[n++]);
        }
    }
    *ret = list;
    return n;
}

void rows_say_history(struct raylet_core *c, uint32_t most)
{
    uint64_t ended = c->done + c->failed + c->cancelled;
    bool knows = ended == c->history_said && most <= c->history_rows_said;

    c->history_said_ns = c->now_ns;
    if (c->head_state != HEAD_JOINED || ended == 0 || knows) {
        return;
    }
    c->history_rows_said = most;
    struct cluster_msg *m = core_send_head(c, CLUSTER_HISTORY);
    struct state_reply *rows = &m->history.rows;
    rows->cluster = rows->head_address = "";
    rows->function_count = rows_functions(c, "", HISTORY_FUNCTIONS_MAX, &rows->functions);
    rows->task_count = rows_ended(c, most, &rows->tasks);
    while (cluster_size(m) > HISTORY_BYTES_MAX && most > 0) { /* long names and sentences */
        most /= 2;
        rows->task_count = rows_ended(c, most, &rows->tasks);
    }
    c->history_said = ended;
}

static void functions(struct raylet_core *c, const struct state_query *q, struct state_reply *r)
{
    r->function_count = rows_functions(c, q->name, HASH_COUNT(c->functions), &r->functions);
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

/* ---- output ---- */

struct log_look { /* a question for the shell */
    struct log_look *next;
    struct object_id task; /* number 0: of none */
    uint32_t client;
    uint64_t request;
    const struct local_msg *local;
    const struct cluster_msg *head;
};

/* False: the question is wrong, and `r` says so. */
static bool read_log(struct raylet_core *c, const struct client *client, uint64_t request,
                     const struct state_query *q, const struct local_msg *local,
                     const struct cluster_msg *head, struct state_reply *r)
{
    struct log_look *look = arena_alloc(&c->arena, sizeof *look);

    *look = (struct log_look){.next = c->looks,
                              .client = client == NULL ? 0 : client->number,
                              .request = request,
                              .local = local,
                              .head = head};
    if (q->id[0] != '\0' || q->kind == STATE_OUTPUT) {
        if (object_id_parse(q->id, &look->task) != 0) {
            failure_set(&r->failure, CODE_NOT_FOUND, "\"%.60s\" is not a task.", q->id);
            return false;
        }
    }
    if (q->node[0] != '\0' && strcmp(q->node, c->node_name) != 0) {
        failure_set(&r->failure, CODE_UNREACHABLE,
                    "node %s has only its own output, not that of node %.63s, and the head does "
                    "not answer now. Try again later",
                    c->node_name, q->node);
        return false;
    }
    c->looks = look;
    return true;
}

/* Where a task's body runs here now. */
static const struct raylet_body *body_of(struct raylet_core *c, struct object_id id)
{
    struct raylet_body *body = arena_alloc(&c->arena, sizeof *body);

    *body = (struct raylet_body){.task = id};
    LIST_FOREACH(at, &c->workers)
    {
        struct worker *w = list_entry(at, struct worker, link);
        const struct task *t = worker_first(w);
        if (t == NULL || w->client == NULL || !object_id_equal(task_id(c, t), id)) {
            continue;
        }
        uint32_t slot = claim_index(t->slot);
        body->worker = w->number;
        body->client = w->client->number;
        body->attempt = t->attempt;
        body->others[0] = ~w->free_slots[0];
        body->others[1] = ~w->free_slots[1];
        body->others[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
    }
    return body;
}

void rows_flush(struct raylet_core *c)
{
    for (const struct log_look *look = c->looks; look != NULL; look = look->next) {
        const struct raylet_body *body =
            object_id_is_none(look->task) ? NULL : body_of(c, look->task);
        struct raylet_effect *e = core_effect(c, EFFECT_READ_LOG);
        e->body = body;
        e->client = look->client;
        if (look->client != 0) {
            e->local = look->local;
        } else {
            e->head_request = look->request;
            e->head = look->head;
        }
    }
    c->looks = NULL;
}

/* In as many messages as it takes; NULL: to the head. */
static void answer(struct raylet_core *c, struct client *client, uint64_t request,
                   struct state_reply *left)
{
    bool more;

    do {
        struct state_reply part;
        more = state_reply_part(left, &part);
        if (client != NULL) {
            struct local_msg *m = core_send(c, client->number, LOCAL_REPLY);
            m->reply.request = request;
            m->reply.reply = part;
        } else {
            struct cluster_msg *m = core_send_head(c, CLUSTER_REPLY);
            m->reply.request = request;
            m->reply.reply = part;
        }
    } while (more);
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
    case STATE_SELF:
        self_row(c, &reply);
        break;
    case STATE_JOBS:
        jobs(c, q, &reply);
        break;
    case STATE_TASKS:
        rows_tasks(c, q, &reply);
        break;
    case STATE_CLASSES:
        classes(c, q, &reply);
        break;
    case STATE_EXPLAIN:
        rows_explain(c, q, &reply);
        break;
    case STATE_WORKERS:
        workers(c, q, &reply);
        break;
    case STATE_LOG:
    case STATE_OUTPUT:
        if (read_log(c, client, request, q, local, head, &reply)) {
            return;
        }
        break;
    case STATE_CANCEL:
        cancel_query(c, client, q, &reply);
        break;
    case STATE_SUMMARY:
        functions(c, q, &reply);
        break;
    case STATE_STOP:
    case STATE_LEAVE:
        stop(c, client, q, &reply);
        break;
    default:
        failure_set(&reply.failure, CODE_NOT_FOUND,
                    "this raylet does not support this query: its version is older");
    }
    answer(c, client, request, &reply);
}
