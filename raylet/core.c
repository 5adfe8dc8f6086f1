#include "raylet/core.h"

#include "raylet/core_cache.h"
#include "raylet/core_classes.h"
#include "raylet/core_cycles.h"
#include "raylet/core_foreign.h"
#include "raylet/core_head.h"
#include "raylet/core_history.h"
#include "raylet/core_host.h"
#include "raylet/core_jobs.h"
#include "raylet/core_lanes.h"
#include "raylet/core_lift.h"
#include "raylet/core_objects.h"
#include "raylet/core_output.h"
#include "raylet/core_parts.h"
#include "raylet/core_peers.h"
#include "raylet/core_plan.h"
#include "raylet/core_rows.h"
#include "raylet/core_schedule.h"
#include "raylet/core_sessions.h"
#include "raylet/core_tasks.h"
#include "raylet/core_values.h"
#include "raylet/core_workers.h"

#define CREDIT_DEFAULT_BYTES (1ull << 30)
#define IDLE_DEFAULT_NS      (60 * NS_PER_S)

/* What the head keeps of the tasks that ended here: rows of each kind of end, said so often while
 * it changes, and when this node leaves. */
#define HISTORY_ROWS      50u
#define HISTORY_ROWS_LAST 300u
#define HISTORY_NS        (10 * NS_PER_S)

/* ---- life ---- */

static void init_totals(struct raylet_core *c, const struct raylet_config *config)
{
    resource_names_init(&c->resources);
    for (size_t i = 0; i < config->amount_count; i++) {
        uint32_t kind;
        int rc = resource_names_intern(&c->resources, config->amounts[i].name, &kind);
        ASSERT(rc == 0);
        rc = resource_set_put(&c->total, kind, config->amounts[i].total_units);
        ASSERT(rc == 0);
    }
    c->available = c->total;
}

static const char *text_or_empty(const char *text)
{
    return xstrdup(text == NULL ? "" : text);
}

static void init_join(struct raylet_core *c, const struct raylet_config *config)
{
    static const struct cluster_join none;
    const struct cluster_join *from = config->join == NULL ? &none : config->join;

    c->join.name = c->node_name;
    c->join.host = text_or_empty(from->host);
    c->join.address = text_or_empty(from->address);
    c->join.version = text_or_empty(from->version);
    c->join.public_key = text_or_empty(from->public_key);
    c->join.pid = from->pid;
    c->join.supersedes = from->supersedes;
    c->join.secret = text_or_empty(from->secret);
    c->join.closed = config->closed;
    c->address = xstrdup(c->join.address);
    c->warning = xstrdup("");
}

static void init_lists(struct raylet_core *c)
{
    struct list *lists[] = {&c->clients,       &c->jobs,       &c->workers,  &c->levels,
                            &c->woken,         &c->reported,   &c->touched,  &c->wishes,
                            &c->fresh_classes, &c->busy_lanes, &c->lingering};

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        list_init(lists[i]);
    }
    timers_init(&c->timers);
    core_timer_init(&c->reserve_timer, TIMER_RESERVE);
    core_timer_init(&c->long_timer, TIMER_LONG);
    core_timer_init(&c->renew_timer, TIMER_RENEW);
    core_timer_init(&c->leave_timer, TIMER_LEAVE);
    core_timer_init(&c->peers_timer, TIMER_PEERS);
    core_timer_init(&c->plan_timer, TIMER_PLAN);
    core_timer_init(&c->linger_timer, TIMER_LINGER);
    core_timer_init(&c->guests_timer, TIMER_GUESTS);
    slab_pool_init(&c->object_slab, sizeof(struct object));
    slab_pool_init(&c->task_slab, sizeof(struct task));
    slab_pool_init(&c->watcher_slab, sizeof(struct watcher));
    foreign_init(c, task_fail);
    cycles_init(c);
    numbers_init(&c->clients_by_number);
    numbers_init(&c->workers_by_number);
    history_init(c);
}

struct raylet_core *raylet_core_new(const struct raylet_config *config)
{
    struct raylet_core *c = xcalloc(1, sizeof *c);

    c->node_name = xstrdup(config->node_name);
    c->user = config->user == NULL ? NULL : xstrdup(config->user);
    c->own_uid = config->uid;
    c->rules_off = config->rules_off;
    c->closed = config->closed;
    c->is_passing = config->is_passing;
    c->cluster = xstrdup(config->cluster == NULL ? "" : config->cluster);
    c->labels = xstrdup(config->labels == NULL ? "" : config->labels);
    init_totals(c, config);
    init_join(c, config);
    init_lists(c);
    rng_seed(&c->rng, config->seed);
    c->now_ns = c->start_ns = config->now_ns;
    c->boot_ns = config->boot_ns;
    c->start_unix_ms = config->unix_ms;
    c->credit_each =
        config->client_credit_bytes == 0 ? CREDIT_DEFAULT_BYTES : config->client_credit_bytes;
    c->credit_all = config->memory_credit_bytes;
    if (c->credit_all != 0) {
        c->credit_each = MIN_OF(c->credit_each, c->credit_all);
    }
    cache_init(c, config->foreign_value_bytes);
    uint64_t cpus = (uint64_t)MAX_OF(resource_set_get(&c->total, RESOURCE_CPU), 0) / RESOURCE_UNIT;
    c->workers_max =
        config->workers_max != 0 ? config->workers_max : (uint32_t)MAX_OF(4 * cpus, 64u);
    c->job_workers_max = config->job_workers_max != 0
                             ? config->job_workers_max
                             : (uint32_t)MAX_OF(JOB_WORKERS_PER_CPU * cpus, JOB_WORKERS_LEAST);
    c->depth_max = config->depth_max != 0 ? config->depth_max : DEPTH_DEFAULT;
    core_timer_init(&c->shortage.timer, TIMER_STARTS);
    lift_init(c);
    c->idle_worker_ns = config->idle_worker_ns == 0 ? IDLE_DEFAULT_NS : config->idle_worker_ns;
    c->head_state = HEAD_DOWN_;
    return c;
}

/* Ends everything by the ordinary ways, so that what leaks in life leaks here, too, and is found.
 */
static void wind_up(struct raylet_core *c)
{
    session_wind_up(c);
    foreign_wind_up(c);
    LIST_FOREACH_SAFE(at, &c->workers)
    {
        struct raylet_event e = {.worker = list_entry(at, struct worker, link)->number};
        worker_exited(c, &e);
    }
    LIST_FOREACH_SAFE(at, &c->clients)
    {
        struct raylet_event e = {.client = list_entry(at, struct client, link)->number};
        client_down(c, &e);
    }
    do {
        task_wake(c);
        foreign_flush(c);
        client_flush(c);
    } while (job_work(c) || foreign_has_work(c) || !list_is_empty(&c->woken) ||
             !list_is_empty(&c->touched));
}

static void names_free(struct raylet_core *c)
{
    struct name *n, *next;

    HASH_ITER(hh, c->names, n, next)
    {
        HASH_DEL(c->names, n);
        free(n->text);
        free(n);
    }
}

void raylet_core_free(struct raylet_core *c)
{
    if (c == NULL) {
        return;
    }
    wind_up(c);
    job_free_all(c);
    parts_free(c);
    foreign_free(c);
    peers_free(c);
    ASSERT(list_is_empty(&c->clients) && c->shapes == NULL && list_is_empty(&c->levels));
    slab_pool_fini(&c->object_slab);
    slab_pool_fini(&c->task_slab);
    slab_pool_fini(&c->watcher_slab);
    numbers_fini(&c->clients_by_number);
    numbers_fini(&c->workers_by_number);
    core_timer_disarm(c, &c->reserve_timer);
    core_timer_disarm(c, &c->long_timer);
    core_timer_disarm(c, &c->renew_timer);
    core_timer_disarm(c, &c->leave_timer);
    core_timer_disarm(c, &c->peers_timer);
    core_timer_disarm(c, &c->plan_timer);
    core_timer_disarm(c, &c->linger_timer);
    core_timer_disarm(c, &c->guests_timer);
    core_timer_disarm(c, &c->shortage.timer);
    lift_free(c);
    error_unref(c->shortage.why);
    cycles_free(c);
    timers_fini(&c->timers);
    resource_names_fini(&c->resources);
    names_free(c);
    arena_fini(&c->arena);
    free(c->effects);
    history_fini(c);
    free((char *)c->join.host);
    free(c->address);
    free(c->warning);
    free((char *)c->join.address);
    free((char *)c->join.version);
    free((char *)c->join.public_key);
    free((char *)c->join.secret);
    free(c->labels);
    free(c->cluster);
    free(c->node_name);
    free(c->user);
    free(c);
}

/* ---- what clients say ---- */

static void worker_message(struct raylet_core *c, struct client *client, const struct local_msg *m)
{
    struct worker *w = client->worker;

    if (w == NULL) {
        core_protocol_error(c, client, "message %d is for workers only", (int)m->type);
        return;
    }
    if (m->type == LOCAL_RESULT) {
        worker_result(c, w, &m->result, m->payload);
    } else {
        worker_blocked(c, w, m->type == LOCAL_BLOCKED ? &m->ids : NULL);
    }
}

static void job_message(struct raylet_core *c, struct client *client, const struct local_msg *m)
{
    if (client->job == NULL) {
        core_protocol_error(c, client, "message %d needs a job", (int)m->type);
        return;
    }
    switch (m->type) {
    case LOCAL_CLASS:
        class_declare(c, client, &m->class_);
        break;
    case LOCAL_SUBMIT:
        task_submit(c, client, &m->submit, m->payload);
        break;
    case LOCAL_PUT:
        value_put(c, client, &m->put, m->payload);
        break;
    case LOCAL_GET:
        value_get(c, client, &m->get);
        break;
    case LOCAL_RELEASE:
        value_release(c, client, &m->ids);
        break;
    case LOCAL_HOLD:
        value_hold(c, client, &m->ids);
        break;
    case LOCAL_CANCEL:
        value_cancel(c, client, &m->cancel);
        break;
    default:
        worker_message(c, client, m);
    }
}

static void client_message(struct raylet_core *c, const struct raylet_event *e)
{
    struct client *client = core_client(c, e->client);
    const struct local_msg *m = e->local;

    if (client == NULL || client->state == CLIENT_GONE || client->state == CLIENT_REFUSED) {
        c->dropped_messages++;
        return;
    }
    if (m->type == LOCAL_OPEN) {
        client_open(c, client, &m->open);
        return;
    }
    if (client->state != CLIENT_LIVE) {
        core_protocol_error(c, client, "message %d before its WELCOME", (int)m->type);
        return;
    }
    switch (m->type) {
    case LOCAL_CLASS:
    case LOCAL_SUBMIT:
    case LOCAL_PUT:
    case LOCAL_GET:
    case LOCAL_RELEASE:
    case LOCAL_HOLD:
    case LOCAL_CANCEL:
    case LOCAL_RESULT:
    case LOCAL_BLOCKED:
    case LOCAL_UNBLOCKED:
        job_message(c, client, m);
        break;
    case LOCAL_QUERY:
        rows_query(c, client, m->query.request, &m->query.query, m, NULL);
        break;
    case LOCAL_LOGS:
        output_take(c, client);
        break;
    case LOCAL_GOODBYE:
        client_goodbye(c, client);
        break;
    default:
        core_protocol_error(c, client, "message %d is not for a raylet", (int)m->type);
    }
}

/* ---- the step ---- */

/* What is shown of times in the past moves with the clock: then spans are those that have passed.
 */
static void set_clock(struct raylet_core *c, uint64_t unix_ms)
{
    uint64_t step_ms = unix_ms - core_unix_ms(c); /* modulo 2^64: it may go back */
    c->start_unix_ms += step_ms;
    LIST_FOREACH(at, &c->jobs)
    {
        list_entry(at, struct job, link)->started_unix_ms += step_ms;
    }
}

static void event(struct raylet_core *c, const struct raylet_event *e)
{
    switch (e->kind) {
    case EVENT_CLIENT_MESSAGE:
        client_message(c, e);
        break;
    case EVENT_CLIENT_UP:
        client_up(c, e);
        break;
    case EVENT_CLIENT_DOWN:
        client_down(c, e);
        break;
    case EVENT_CLIENT_SLOW:
        client_slow(c, e);
        break;
    case EVENT_PROGRAM:
        job_program(c, e);
        break;
    case EVENT_WORKER_STARTED:
        worker_started(c, e);
        break;
    case EVENT_WORKER_REFUSED:
        worker_refused(c, e);
        break;
    case EVENT_WORKER_EXITED:
        worker_exited(c, e);
        break;
    case EVENT_TAKEN_BACK:
        worker_taken_back(c, e);
        break;
    case EVENT_HEAD_UP:
        head_up(c);
        break;
    case EVENT_HEAD_DOWN:
        head_down(c, e);
        break;
    case EVENT_HEAD_MESSAGE:
        if (e->head->type == CLUSTER_QUERY) {
            rows_query(c, NULL, e->head->query.request, &e->head->query.query, NULL, e->head);
        } else {
            head_message(c, e->head);
        }
        break;
    case EVENT_LEAVE:
        head_leave(c, e->limit_ns);
        break;
    case EVENT_CLOCK:
        set_clock(c, e->unix_ms);
        break;
    case EVENT_PEER_UP:
    case EVENT_PEER_MESSAGE:
    case EVENT_PEER_DOWN:
    case EVENT_PEER_SLOW:
        session_event(c, e);
        break;
    case EVENT_PROGRAM_FETCHED:
        host_program(c, e);
        break;
    case EVENT_LOG:
        output_lines(c, e);
        break;
    case EVENT_LOG_TAKEN:
        output_taken(c, e);
        break;
    default:
        c->dropped_messages++;
    }
}

static void fire(struct raylet_core *c, struct core_timer *t)
{
    switch (t->kind) {
    case TIMER_DEADLINE:
    case TIMER_BACKOFF:
        task_timer(c, t);
        break;
    case TIMER_WORKER:
        worker_timer(c, container_of(t, struct worker, timer));
        break;
    case TIMER_JOB:
        job_timer(c, container_of(t, struct job, timer));
        break;
    case TIMER_LEAVE: /* its time may be over: then this is the last that the head hears */
        rows_say_history(c, HISTORY_ROWS_LAST);
        head_timer(c, t);
        break;
    case TIMER_RENEW:
        head_timer(c, t);
        break;
    case TIMER_PLAN:
    case TIMER_LINGER:
        plan_timer(c, t);
        break;
    case TIMER_GUESTS:
        host_timer(c);
        break;
    case TIMER_PEERS:
        peers_timer(c);
        break;
    case TIMER_RESERVE:
    case TIMER_LONG:
        schedule_timer(c, t);
        break;
    case TIMER_FOREIGN:
        foreign_timer(c, t);
        break;
    case TIMER_CYCLES:
        cycles_timer(c);
        break;
    case TIMER_LIFT:
        lift_timer(c);
        break;
    case TIMER_STARTS: /* the step does it */
        break;
    default:
        ASSERT(!"a timer of nobody");
    }
}

static bool any_ending(const struct raylet_core *c)
{
    for (const struct list *at = c->jobs.next; at != &c->jobs; at = at->next) {
        if (list_entry(at, struct job, link)->state == JOB_ENDING ||
            list_entry(at, struct job, link)->cancelling) {
            return true;
        }
    }
    return false;
}

void raylet_core_step(struct raylet_core *c, uint64_t now_ns, uint64_t boot_ns,
                      const struct raylet_event *events, size_t event_count,
                      struct raylet_effects *ret)
{
    struct timer *t;

    c->now_ns = MAX_OF(c->now_ns, now_ns);
    c->boot_ns = MAX_OF(c->boot_ns, boot_ns);
    c->effect_count = 0;
    arena_reset(&c->arena);
    foreign_begin(c);
    for (size_t i = 0; i < event_count; i++) {
        event(c, &events[i]);
    }
    for (uint32_t i = 0; i < WORK_STEP && (t = timers_pop(&c->timers, c->now_ns)) != NULL; i++) {
        fire(c, container_of(t, struct core_timer, timer));
    }
    c->more_work = UNLIKELY(any_ending(c)) && job_work(c);
    c->more_work = session_work(c) || c->more_work;
    task_wake(c);
    c->more_work = (UNLIKELY(c->lifts.count > 0) && lift_work(c)) || c->more_work;
    plan_choose(c);
    schedule(c);
    plan_send(c);
    host_flush(c);
    cycles_watch(c);
    if (UNLIKELY(c->ask_feasible)) {
        head_ask_feasible(c);
    }
    if (UNLIKELY(head_is_going(c))) {
        rows_say_history(c, HISTORY_ROWS_LAST);
    } else if (UNLIKELY(c->now_ns - c->history_said_ns >= HISTORY_NS)) {
        rows_say_history(c, HISTORY_ROWS);
    }
    head_leave_work(c);
    head_renew_work(c);
    foreign_flush(c);
    client_flush(c);
    if (UNLIKELY(c->looks != NULL)) {
        rows_flush(c);
    }
    ret->items = c->effects;
    ret->count = c->effect_count;
}

void raylet_core_note_memory(struct raylet_core *c, uint64_t used_bytes)
{
    c->memory_used_bytes = used_bytes;
}

bool raylet_core_has_work(const struct raylet_core *c)
{
    return c->more_work || c->lifts.count > 0 || foreign_has_work(c) ||
           !list_is_empty((struct list *)&c->woken);
}

uint64_t raylet_core_next_ns(const struct raylet_core *c)
{
    return raylet_core_has_work(c) ? c->now_ns : timers_next_ns(&c->timers);
}

/* ---- looking in ---- */

static void check_worker(const struct worker *w, struct resource_set *taken)
{
    uint32_t used = 0;

    for (uint32_t half = 0; half < ARRAY_SIZE(w->free_slots); half++) {
        for (uint64_t left = ~w->free_slots[half]; left != 0; left &= left - 1) {
            uint32_t i = 64 * half + (uint32_t)__builtin_ctzll(left);
            ASSERT(w->slots[i] != NULL && w->slots[i]->worker == w);
            ASSERT(claim_index(w->slots[i]->slot) == i);
            ASSERT(w->slots[i]->state == TASK_PLACED || w->slots[i]->state == TASK_ABANDONED);
            used++;
        }
    }
    ASSERT(used == w->placed);
    ASSERT(w->placed == 0 || w->pool != NULL || w->state == WORKER_LEAVING);
    if (w->pool != NULL) {
        resource_set_take(taken, &w->pool->shape->asked);
        if (w->state == WORKER_BLOCKED) {
            struct resource_set cpu = {
                .count = 1,
                .amounts = {
                    {RESOURCE_CPU, resource_set_get(&w->pool->shape->asked, RESOURCE_CPU)}}};
            resource_set_give(taken, &cpu);
        }
    }
}

void raylet_core_check(struct raylet_core *c)
{
    struct resource_set free_now = c->total;
    uint64_t waiting = 0, running = 0, workers = 0, outstanding = 0;

    LIST_FOREACH(at, &c->workers)
    {
        check_worker(list_entry(at, struct worker, link), &free_now);
        workers++;
    }
    ASSERT(workers == c->worker_count);
    for (uint32_t i = 0; i < c->total.count; i++) {
        uint32_t kind = c->total.amounts[i].kind;
        ASSERT(resource_set_get(&free_now, kind) == resource_set_get(&c->available, kind));
    }
    LIST_FOREACH(at, &c->jobs)
    {
        waiting += list_entry(at, struct job, link)->waiting_count;
        running += list_entry(at, struct job, link)->running_count;
    }
    ASSERT(waiting == c->waiting && running == c->running + c->away);
    LIST_FOREACH(at, &c->clients)
    {
        outstanding += list_entry(at, struct client, link)->outstanding_bytes;
    }
    ASSERT(outstanding == c->outstanding_all);
    lanes_check(c);
    lift_check(c);
    foreign_check(c);
}

void raylet_core_count(const struct raylet_core *c, struct raylet_counts *ret)
{
    *ret = (struct raylet_counts){.clients = c->clients_by_number.used,
                                  .workers = c->worker_count,
                                  .tasks = c->task_slab.used,
                                  .objects = c->object_slab.used + foreign_count(c),
                                  .waiting = c->waiting,
                                  .running = c->running,
                                  .done = c->done,
                                  .failed = c->failed,
                                  .cancelled = c->cancelled,
                                  .held_bytes = c->outstanding_all,
                                  .foreign_value_bytes = cache_bytes(c),
                                  .dropped_messages = c->dropped_messages,
                                  .protocol_errors = c->protocol_errors};
    for (const struct list *at = c->workers.next; at != &c->workers; at = at->next) {
        ret->idle_workers += list_entry(at, struct worker, link)->state == WORKER_IDLE;
    }
    for (const struct list *at = c->jobs.next; at != &c->jobs; at = at->next) {
        const struct job *job = list_entry(at, struct job, link);
        ret->jobs++;
        ret->classes += HASH_COUNT(job->classes);
        ret->programs += job->program != 0;
    }
}
