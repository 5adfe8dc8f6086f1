#include "raylet/core_head.h"

#include "common/text.h"
#include "raylet/core_classes.h"
#include "raylet/core_cycles.h"
#include "raylet/core_foreign.h"
#include "raylet/core_host.h"
#include "raylet/core_jobs.h"
#include "raylet/core_lanes.h"
#include "raylet/core_objects.h"
#include "raylet/core_parts.h"
#include "raylet/core_peers.h"
#include "raylet/core_tasks.h"
#include "raylet/core_wishes.h"

#define RENEW_NS      NS_PER_S
#define FAREWELL_NS   NS_PER_S          /* for the last word of a program whose tasks are done */
#define RENEW_SOON_NS (100 * NS_PER_MS) /* when something became full or free */

static void head_enter(struct raylet_core *c, uint8_t state)
{
    static const uint8_t allowed[] = {
        [HEAD_DOWN_] = 1u << HEAD_JOINING,
        [HEAD_JOINING] = 1u << HEAD_JOINED | 1u << HEAD_DOWN_ | 1u << HEAD_JOINING,
        [HEAD_JOINED] = 1u << HEAD_DOWN_ | 1u << HEAD_JOINING,
    };

    ASSERT(allowed[c->head_state] >> state & 1);
    c->head_state = state;
}

static void quit(struct raylet_core *c, const struct failure *f)
{
    struct failure *copy = arena_copy(&c->arena, f, sizeof *f);

    if (!c->quit_said) {
        c->quit_said = true;
        core_effect(c, EFFECT_QUIT)->failure = copy;
    }
}

static const struct cluster_amount *amounts(struct raylet_core *c, size_t *ret_count)
{
    struct cluster_amount *list = arena_alloc(&c->arena, (c->total.count + 1) * sizeof *list);

    for (uint32_t i = 0; i < c->total.count; i++) {
        uint32_t kind = c->total.amounts[i].kind;
        list[i] = (struct cluster_amount){core_text(c, resource_name(&c->resources, kind)),
                                          c->total.amounts[i].units,
                                          resource_set_get(&c->available, kind)};
    }
    *ret_count = c->total.count;
    return list;
}

/* A bit for each resource of which something is free: what matters most to those who place. */
static uint32_t free_kinds(const struct raylet_core *c)
{
    uint32_t kinds = 0;

    for (uint32_t i = 0; i < MIN_OF(c->available.count, (uint32_t)RESOURCES_MAX); i++) {
        kinds |= (uint32_t)(c->available.amounts[i].units > 0) << i;
    }
    return kinds;
}

void head_up(struct raylet_core *c)
{
    struct cluster_msg *m = core_send_head(c, CLUSTER_JOIN);
    uint64_t *jobs = arena_alloc(&c->arena, 8 * 4096);
    size_t n = 0;

    c->key_refused = false;
    head_enter(c, HEAD_JOINING);
    LIST_FOREACH(at, &c->jobs)
    {
        const struct job *job = list_entry(at, struct job, link);
        if (job->number != 0 && !job->guest && n < 4096) {
            jobs[n++] = job->number;
        }
    }
    m->join = c->join;
    m->join.protocol = CLUSTER_PROTOCOL_VERSION;
    m->join.number = c->node;
    m->join.supersedes = c->node == 0 ? c->join.supersedes : 0;
    m->join.amounts = amounts(c, &m->join.amount_count);
    m->join.labels = c->labels;
    m->join.leaving = c->leaving;
    m->join.jobs = jobs;
    m->join.job_count = n;
    /* It is a renewal, too. Its answer waits for the head's disk and comes in order, so it may take
     * longer than a lease: those that follow do not wait for it. */
    c->joins_ns = c->boot_ns;
    c->renewed_free = free_kinds(c);
    c->renewed_ns = c->now_ns;
    core_timer_arm(c, &c->renew_timer, c->now_ns + RENEW_NS);
}

/* Whether the head's process or the network is down makes no difference: the lease only guards what
 * the head could place a second time, and nothing of that kind runs here. */
void head_down(struct raylet_core *c, const struct raylet_event *e)
{
    c->key_refused = e->key_refused;
    if (c->key_refused) {
        job_refuse_new(c);
    }
    if (c->head_state != HEAD_DOWN_) {
        head_enter(c, HEAD_DOWN_);
    }
    core_timer_disarm(c, &c->renew_timer);
    LIST_FOREACH(at, &c->wishes)
    {
        list_entry(at, struct wish, link)->request = 0;
    }
}

static void renew(struct raylet_core *c)
{
    struct cluster_msg *m = arena_alloc(&c->arena, sizeof *m);

    memset(m, 0, sizeof *m);
    m->type = CLUSTER_RENEW;
    m->renew.sent_ns = c->boot_ns;
    m->renew.answered_ns = c->renew_answered_ns;
    m->renew.amounts = amounts(c, &m->renew.amount_count);
    m->renew.waiting = c->waiting - lanes_waiting(c, NULL); /* what could run here */
    m->renew.running = c->running;
    m->renew.done = c->done;
    m->renew.failed = c->failed;
    m->renew.cancelled = c->cancelled;
    m->renew.memory_used_bytes = c->memory_used_bytes;
    m->renew.workers = c->worker_count;
    LIST_FOREACH(at, &c->workers)
    {
        m->renew.idle_workers += list_entry(at, struct worker, link)->state == WORKER_IDLE;
    }
    core_effect(c, EFFECT_HEAD_DATAGRAM)->head = m;
    c->renew_due = false;
    c->renewed_free = free_kinds(c);
    c->renewed_ns = c->now_ns;
    core_timer_arm(c, &c->renew_timer, c->now_ns + RENEW_NS);
}

void head_renew_work(struct raylet_core *c)
{
    bool is_news = free_kinds(c) != c->renewed_free;
    uint64_t soon_ns = c->renewed_ns + RENEW_SOON_NS;

    if (LIKELY(!is_news && !c->renew_due)) {
        return;
    }
    if (c->head_state == HEAD_DOWN_) {
        c->renew_due = false;
    } else if (c->renew_due || c->now_ns >= soon_ns) {
        renew(c);
    } else if (c->renew_timer.timer.at_ns > soon_ns) {
        core_timer_arm(c, &c->renew_timer, soon_ns);
    }
}

static void take_text(char **at, const char *text)
{
    free(*at);
    *at = xstrdup(text != NULL ? text : "");
}

static void joined(struct raylet_core *c, const struct cluster_joined *m)
{
    if (m->number == 0 || (c->node != 0 && c->node != m->number)) {
        struct failure f;
        failure_set(&f, CODE_REFUSED,
                    "the head gave this node number %u, but it has number %u: the head has lost "
                    "its journal. Start the node again.",
                    m->number, c->node);
        quit(c, &f);
        return;
    }
    take_text(&c->address, m->address);
    c->history_rows_said = 0; /* one that was started again knows nothing of it */
    c->node = m->number;
    c->lease_ns = m->lease_ns;
    c->renew_answered_ns = MAX_OF(c->renew_answered_ns, c->joins_ns);
    head_enter(c, HEAD_JOINED);
    renew(c);
    job_say_all(c);
    parts_say_all(c);
    c->ask_feasible = true;
    if (c->fenced) {
        (void)core_send_head(c, CLUSTER_LEAVE);
    }
}

/* ---- feasibility ---- */

void head_ask_feasible(struct raylet_core *c)
{
    c->ask_feasible = false;
    if (c->head_state != HEAD_JOINED) {
        return; /* asked when it is */
    }
    LIST_FOREACH(at, &c->wishes)
    {
        struct wish *w = list_entry(at, struct wish, link);
        const struct resource_set *asked = &w->shape->asked;
        if (w->state != WISH_ASKING || w->request != 0) {
            continue;
        }
        struct cluster_amount *list = arena_alloc(&c->arena, (asked->count + 1) * sizeof *list);
        for (uint32_t i = 0; i < asked->count; i++) {
            list[i] = (struct cluster_amount){
                core_text(c, resource_name(&c->resources, asked->amounts[i].kind)),
                asked->amounts[i].units, 0};
        }
        struct cluster_msg *m = core_send_head(c, CLUSTER_FEASIBLE);
        w->request = ++c->next_request;
        m->feasible.request = w->request;
        m->feasible.amounts = list;
        m->feasible.amount_count = asked->count;
        m->feasible.strategy = w->strategy;
        m->feasible.soft = w->soft;
        m->feasible.node = core_text(c, w->node);
        m->feasible.labels = core_text(c, w->labels);
    }
}

static void fail_wish(struct raylet_core *c, const struct wish *w)
{
    LIST_FOREACH(at, &c->jobs)
    {
        struct job *job = list_entry(at, struct job, link);
        struct class_ *k, *next;
        HASH_ITER(hh, job->classes, k, next)
        {
            if (k->wish == w) {
                task_fail_class(c, k, w->error);
            }
        }
    }
}

static void feasible_answer(struct raylet_core *c, const struct cluster_feasible_answer *m)
{
    if (cycles_head_answers(c, m->request)) {
        return;
    }
    LIST_FOREACH(at, &c->wishes)
    {
        struct wish *w = list_entry(at, struct wish, link);
        if (w->state != WISH_ASKING || w->request != m->request) {
            continue;
        }
        if (m->failure.code == 0) { /* some node can; its row is on the way */
            w->state = WISH_OPEN;
            w->request = 0;
            return;
        }
        w->state = WISH_IMPOSSIBLE;
        w->error = error_new(&m->failure);
        text_shorten(w->error->failure.node, sizeof w->error->failure.node, c->node_name);
        wish_ref(w);
        fail_wish(c, w);
        wish_unuse(c, w); /* those that failed may have been its last */
        return;
    }
}

/* ---- leaving ---- */

static void go(struct raylet_core *c)
{
    core_timer_disarm(c, &c->leave_timer);
    if (c->head_state == HEAD_JOINED) {
        job_say_ending(c);
        parts_take_all(c);
        (void)core_send_head(c, CLUSTER_LEAVE);
        core_timer_arm(c, &c->leave_timer,
                       c->now_ns + 2 * NS_PER_S); /* the head may be gone: then without its word */
        c->fenced = true;
    } else {
        struct failure none = {0};
        quit(c, &none);
    }
}

void head_leave(struct raylet_core *c, uint64_t limit_ns)
{
    uint64_t at_ns = ns_add(c->now_ns, limit_ns);

    if (!c->leaving) {
        c->leaving = true;
        if (c->head_state == HEAD_JOINED) {
            (void)core_send_head(c, CLUSTER_DRAIN);
        }
        host_drain(c);
    } else if (c->fenced || at_ns >= c->leave_at_ns) {
        return; /* told again: it can only become sooner */
    }
    c->leave_at_ns = at_ns;
    core_timer_arm(c, &c->leave_timer, at_ns);
}

/* Results of tasks that were submitted here and are held elsewhere go with this node. */
static bool is_held_elsewhere(struct raylet_core *c)
{
    LIST_FOREACH(at, &c->jobs)
    {
        if (foreign_job_is_held(c, list_entry(at, struct job, link))) {
            return true;
        }
    }
    return false;
}

static bool has_drivers(struct raylet_core *c)
{
    LIST_FOREACH(at, &c->jobs)
    {
        const struct job *job = list_entry(at, struct job, link);
        if (job->state == JOB_LIVE && job->driver != NULL) {
            return true;
        }
    }
    return false;
}

static bool is_idle(struct raylet_core *c)
{
    return c->waiting + c->running + c->away == 0 && !is_held_elsewhere(c) && !job_is_ending(c);
}

bool head_is_going(struct raylet_core *c)
{
    return c->leaving && !c->fenced && is_idle(c) && !has_drivers(c);
}

/* A program whose last task has just ended may be about to end, too: its job is done then, and not
 * lost. It can submit nothing more. */
void head_leave_work(struct raylet_core *c)
{
    if (!c->leaving || c->fenced || !is_idle(c)) {
        return;
    }
    if (!has_drivers(c)) {
        go(c);
    } else if (!c->saying_farewell) {
        c->saying_farewell = true;
        core_timer_arm(c, &c->leave_timer, MIN_OF(c->leave_at_ns, c->now_ns + FAREWELL_NS));
    }
}

void head_timer(struct raylet_core *c, struct core_timer *timer)
{
    struct failure none = {0};

    if (timer->kind == TIMER_RENEW) {
        c->renew_due = true; /* at the end of the step, when what is free is settled */
    } else if (c->fenced) {
        quit(c, &none);
    } else if (c->now_ns < c->leave_at_ns && !is_idle(c)) {
        c->saying_farewell = false;
        core_timer_arm(c, &c->leave_timer, c->leave_at_ns);
    } else {
        go(c);
    }
}

void head_message(struct raylet_core *c, const struct cluster_msg *m)
{
    struct failure none = {0};

    switch (m->type) {
    case CLUSTER_JOINED:
        if (c->head_state == HEAD_JOINING) {
            joined(c, &m->joined);
        }
        break;
    case CLUSTER_REFUSED:
        quit(c, &m->refused.failure);
        break;
    case CLUSTER_RENEWED:
        c->renew_answered_ns = MAX_OF(c->renew_answered_ns, MIN_OF(m->renewed.sent_ns, c->boot_ns));
        break;
    case CLUSTER_JOB_ADDED:
        job_added(c, &m->job_added);
        break;
    case CLUSTER_JOB_ENDED:
        job_end_heard(c, m->job_ended.job);
        break;
    case CLUSTER_FEASIBLE_ANSWER:
        feasible_answer(c, &m->feasible_answer);
        break;
    case CLUSTER_VIEW:
        peers_view(c, &m->view);
        break;
    case CLUSTER_REACH:
        take_text(&c->address, m->reach.address);
        take_text(&c->warning, m->reach.warning);
        break;
    case CLUSTER_LEFT:
        quit(c, &none);
        break;
    default:
        c->dropped_messages++;
    }
}
