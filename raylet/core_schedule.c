#include "raylet/core_schedule.h"

#include "raylet/core_classes.h"
#include "raylet/core_foreign.h"
#include "raylet/core_guests.h"
#include "raylet/core_starts.h"
#include "raylet/core_tasks.h"

#define LONG_NS          (5 * NS_PER_MS) /* a longer body holds up those prefilled behind it */
#define RESERVE_AFTER_NS NS_PER_S
#define SLICE_NS         (200 * NS_PER_US) /* how far ahead a pool may be of one that waits */
#define LEAVE_NS         (2 * NS_PER_S) /* an idle worker that was asked to leave is killed after */
#define CLASSES_PER_TURN 256u
#define NEXT_TURN_NS     (10 * NS_PER_MS) /* where there are more, and nothing happens before */
#define PROMISE_NS       NS_PER_S         /* a slot that was lent and not used, while others wait */

/* ---- leases ---- */

static void take(struct raylet_core *c, struct worker *w, struct pool *pool)
{
    w->pool = pool;
    pool->classes++;
    resource_set_take(&c->available, &pool->shape->asked);
    list_append(&pool->leased, &w->place_link);
    w->charged_ns = c->now_ns;
    c->used_clock_ns = MAX_OF(c->used_clock_ns, pool->used_ns);
}

static void give(struct raylet_core *c, struct worker *w)
{
    struct pool *pool = w->pool;

    if (pool == NULL) {
        return;
    }
    resource_set_give(&c->available, &pool->shape->asked);
    list_unlink(&w->place_link);
    w->pool = NULL;
    pool_unuse(c, pool);
}

static void lend_cpu(struct raylet_core *c, const struct worker *w, int sign)
{
    int64_t units = resource_set_get(&w->pool->shape->asked, RESOURCE_CPU);
    struct resource_set cpu = {.count = 1, .amounts = {{RESOURCE_CPU, units}}};

    if (units == 0) {
        return;
    }
    if (sign > 0) {
        resource_set_give(&c->available, &cpu);
    } else {
        resource_set_take(&c->available, &cpu);
    }
}

static bool may_enter(uint8_t from, uint8_t to)
{
    static const uint8_t allowed[] = {
        [WORKER_STARTING] = 1u << WORKER_LEASED | 1u << WORKER_DEAD,
        [WORKER_IDLE] = 1u << WORKER_LEASED | 1u << WORKER_LEAVING | 1u << WORKER_DEAD,
        [WORKER_LEASED] =
            1u << WORKER_IDLE | 1u << WORKER_BLOCKED | 1u << WORKER_LEAVING | 1u << WORKER_DEAD,
        [WORKER_BLOCKED] = 1u << WORKER_LEASED | 1u << WORKER_LEAVING | 1u << WORKER_DEAD,
        [WORKER_LEAVING] = 1u << WORKER_DEAD,
        [WORKER_DEAD] = 0,
    };
    return (allowed[from] >> to & 1) != 0;
}

void worker_enter(struct raylet_core *c, struct worker *w, uint8_t state)
{
    uint8_t from = w->state;

    ASSERT(may_enter(from, state));
    w->state = state;
    if (from == WORKER_BLOCKED) {
        lend_cpu(c, w, -1);
        c->blocked_count--;
        w->mark_ns += c->now_ns - w->blocked_ns;
    }
    if (from == WORKER_STARTING) {
        w->job->starting--;
        c->starting_count--;
    }
    if (from == WORKER_IDLE) {
        list_unlink(&w->place_link);
        core_timer_disarm(c, &w->timer);
    }
    if (state != WORKER_LEASED) { /* runs that come into its slots find another worker */
        w->promised = 0;
    }
    switch (state) {
    case WORKER_IDLE:
        give(c, w);
        list_prepend(&w->job->idle, &w->place_link);
        core_timer_arm(c, &w->timer, c->now_ns + c->idle_worker_ns);
        break;
    case WORKER_BLOCKED:
        lend_cpu(c, w, 1);
        c->blocked_count++;
        w->blocked_ns = c->now_ns;
        break;
    case WORKER_LEAVING:
    case WORKER_DEAD:
        give(c, w);
        break;
    default:
        break;
    }
}

void worker_report(struct raylet_core *c, struct worker *w)
{
    if (list_is_empty(&w->report_link)) {
        list_append(&c->reported, &w->report_link);
    }
}

static void observe(struct raylet_core *c, struct worker *w)
{
    if (w->reported > 0) {
        uint64_t each = MAX_OF((c->now_ns - w->mark_ns) / w->reported, 1u);
        struct class_ *k = w->last_class;
        k->duration_ns = k->duration_ns == 0 ? each : (3 * k->duration_ns + each) / 4;
        w->reported = 0;
        w->mark_ns = w->first_ns = c->now_ns;
        class_unuse(c, k); /* kept by the first result of the step */
        w->last_class = NULL;
    }
    if (w->pool != NULL) {
        w->pool->used_ns += c->now_ns - w->charged_ns;
        w->charged_ns = c->now_ns;
    }
}

void worker_leave(struct raylet_core *c, struct worker *w)
{
    core_send(c, w->client->number, LOCAL_LEAVE);
    worker_enter(c, w, WORKER_LEAVING);
    core_timer_arm(c, &w->timer, c->now_ns + LEAVE_NS);
}

/* What came in this turn: durations, and leases that are over. */
static void look_at_reports(struct raylet_core *c)
{
    struct list *at;

    while ((at = list_pop(&c->reported)) != NULL) {
        struct worker *w = list_entry(at, struct worker, report_link);
        observe(c, w);
        if (w->state == WORKER_LEASED && w->placed + w->promised == 0 && w->client != NULL) {
            worker_enter(c, w, WORKER_IDLE);
            if (w->job->state != JOB_LIVE || w->stopping) { /* a signal may be on its way to it */
                worker_leave(c, w);
            }
        }
    }
}

/* Blocked bodies have lent their CPUs; all else they keep. */
bool worker_keeps(const struct worker *w, uint32_t kind)
{
    return w->pool != NULL && !(kind == RESOURCE_CPU && w->state == WORKER_BLOCKED) &&
           resource_set_get(&w->pool->shape->asked, kind) > 0;
}

bool lacks_for_good(const struct raylet_core *c, const struct resource_set *asked,
                    uint32_t *ret_kind)
{
    for (uint32_t i = 0; i < asked->count; i++) {
        uint32_t kind = asked->amounts[i].kind;
        int64_t units = resource_set_get(&c->total, kind);
        LIST_FOREACH(at, (struct list *)&c->workers)
        {
            const struct worker *w = list_entry(at, struct worker, link);
            if (w->state == WORKER_BLOCKED && worker_keeps(w, kind)) {
                units -= resource_set_get(&w->pool->shape->asked, kind);
            }
        }
        if (units < asked->amounts[i].units) {
            *ret_kind = kind;
            return true;
        }
    }
    return false;
}

/* ---- slots ---- */

struct task *worker_task(struct worker *w, uint32_t slot)
{
    struct task *t = w->slots[claim_index(slot)];

    return t != NULL && t->slot == slot ? t : NULL;
}

struct task *worker_first(struct worker *w)
{
    return w->placed == 0 ? NULL : w->slots[w->order[w->order_first]];
}

struct task *worker_take(struct raylet_core *c, struct worker *w, uint32_t index)
{
    struct task *t = w->slots[index];
    uint32_t at = 0;

    while (w->order[(w->order_first + at) % LOCAL_CLAIMS] != index) {
        at++;
        ASSERT(at < w->placed);
    }
    for (; at > 0; at--) { /* nearly always none: results come in order */
        w->order[(w->order_first + at) % LOCAL_CLAIMS] =
            w->order[(w->order_first + at - 1) % LOCAL_CLAIMS];
    }
    w->order_first = (uint8_t)((w->order_first + 1) % LOCAL_CLAIMS);
    w->placed--;
    w->weight -= task_weight(t);
    w->slots[index] = NULL;
    w->free_slots[index / 64] |= 1ull << (index % 64);
    worker_report(c, w);
    return t;
}

void worker_take_back(struct raylet_core *c, struct worker *w, uint32_t but_first)
{
    for (uint32_t i = w->placed; i-- > but_first;) { /* the last first: so their order stays */
        struct task *t = w->slots[w->order[(w->order_first + i) % LOCAL_CLAIMS]];
        if (t->state == TASK_ABANDONED) {
            continue; /* asked for when it was abandoned */
        }
        struct raylet_effect *e = core_effect(c, EFFECT_TAKE_BACK);
        e->worker = w->number;
        e->client = w->client->number;
        e->slot = t->slot;
        w->taking_back++;
    }
}

static bool knows(const struct worker *w, uint32_t number)
{
    return number < w->known_bits && (w->known[number / 8] >> (number % 8) & 1) != 0;
}

static void tell_class(struct raylet_core *c, struct worker *w, const struct class_ *k)
{
    struct local_msg *m;

    if (k->number >= w->known_bits) {
        size_t bits = align_up(MAX_OF(2 * w->known_bits, (size_t)k->number + 1), 64);
        w->known = xrealloc(w->known, bits / 8);
        memset(w->known + w->known_bits / 8, 0, (bits - w->known_bits) / 8);
        w->known_bits = bits;
    }
    w->known[k->number / 8] |= (uint8_t)(1u << (k->number % 8));
    m = core_send(c, w->client->number, LOCAL_RUN_CLASS);
    m->run_class.number = k->number;
    m->run_class.function = core_text(c, k->function);
    m->run_class.kinds = bytes_of(arena_copy(&c->arena, k->kinds, k->kinds_size), k->kinds_size);
}

static void place(struct raylet_core *c, struct worker *w, struct task *t)
{
    uint32_t index = w->free_slots[0] != 0 ? (uint32_t)__builtin_ctzll(w->free_slots[0])
                                           : 64 + (uint32_t)__builtin_ctzll(w->free_slots[1]);

    if (UNLIKELY(!knows(w, t->class_->number))) {
        tell_class(c, w, t->class_);
    }
    w->free_slots[index / 64] &= ~(1ull << (index % 64));
    w->slots[index] = t;
    w->weight += task_weight(t);
    w->order[(w->order_first + w->placed) % LOCAL_CLAIMS] = (uint8_t)index;
    if (w->placed++ == 0) {
        w->mark_ns = w->first_ns = c->now_ns;
    } else if (!timer_is_armed(&c->long_timer.timer)) {
        core_timer_arm(c, &c->long_timer, c->now_ns + LONG_NS);
    }
    t->place = AT_WORKER;
    t->worker = w;
    t->slot = index | (++w->generation << 8);
    task_run(c, t);
}

/* ---- choosing ---- */

/* How many tasks of this class may wait in one worker's ring, those on their way from other nodes
 * included: of these twice as many, so that the ring is not empty while the next are asked for. */
static uint32_t prefill_of(const struct raylet_core *c, const struct class_ *k)
{
    uint64_t most = c->now_ns < c->courtesy_until_ns ? PREFILL_SHARED_MAX : PREFILL_MAX;
    uint64_t ahead = k->duration_ns == 0 ? 0 : PREFILL_AHEAD_NS / k->duration_ns;

    return (uint32_t)MIN_OF(most, 1 + ahead) * (k->guest != NULL && ahead > 0 ? 2 : 1);
}

/* Classes of other pools, at this level or above, found no resources: then nobody who is ahead is
 * topped up. */
static bool must_yield(const struct class_ *k, uint32_t stuck_above, uint64_t least_used_ns)
{
    const struct pool *p = k->pool;

    return stuck_above + k->level->stuck > p->stuck && least_used_ns + SLICE_NS < p->used_ns;
}

static bool has_room(const struct worker *w, uint32_t prefill)
{
    return w->placed + w->promised < prefill && w->placed < LOCAL_CLAIMS &&
           w->weight < PREFILL_BYTES_MAX;
}

/* It takes more: it is not waiting for answers, being stopped, or held up by a body that runs long.
 */
static bool is_ready(const struct raylet_core *c, const struct worker *w)
{
    return w->state == WORKER_LEASED && w->client != NULL && w->taking_back == 0 && !w->stopping &&
           (w->placed == 0 || c->now_ns - w->mark_ns < LONG_NS);
}

static bool is_open(const struct raylet_core *c, const struct worker *w, uint32_t prefill)
{
    return is_ready(c, w) && has_room(w, prefill);
}

static struct worker *open_lease(const struct raylet_core *c, struct class_ *k, uint32_t prefill)
{
    LIST_FOREACH(at, &k->pool->leased)
    {
        struct worker *w = list_entry(at, struct worker, place_link);
        if (is_open(c, w, prefill)) {
            return w;
        }
    }
    return NULL;
}

/* What became free is kept for the class that has waited longest: others may use only what it does
 * not want. */
static bool is_reserved(const struct raylet_core *c, const struct class_ *k)
{
    const struct resource_set *kept, *asked = &k->pool->shape->asked;

    if (c->reserving == NULL || c->reserving->pool == k->pool ||
        c->reserving->priority < k->priority) {
        return false;
    }
    kept = &c->reserving->pool->shape->asked;
    for (uint32_t i = 0; i < asked->count; i++) {
        uint32_t kind = asked->amounts[i].kind;
        int64_t wanted = resource_set_get(kept, kind);
        if (wanted > 0 &&
            resource_set_get(&c->available, kind) - asked->amounts[i].units < wanted) {
            return true;
        }
    }
    return false;
}

static bool evict_idle(struct raylet_core *c, const struct job *but)
{
    LIST_FOREACH(at, &c->jobs)
    {
        struct job *job = list_entry(at, struct job, link);
        if (job != but && !list_is_empty(&job->idle)) {
            worker_leave(c, list_entry(job->idle.prev, struct worker, place_link));
            return true;
        }
    }
    return false;
}

static bool any_leaving(const struct raylet_core *c)
{
    LIST_FOREACH(at, (struct list *)&c->workers)
    {
        if (list_entry(at, struct worker, link)->state == WORKER_LEAVING) {
            return true;
        }
    }
    return false;
}

static void start_worker(struct raylet_core *c, struct class_ *k)
{
    struct job *job = k->job;
    struct worker *w = xcalloc(1, sizeof *w);

    w->number = ++c->next_worker;
    w->state = WORKER_STARTING;
    w->job = job;
    w->free_slots[0] = w->free_slots[1] = UINT64_MAX;
    w->started_unix_ms = core_unix_ms(c);
    w->mark_ns = w->first_ns = w->asked_ns = c->now_ns;
    list_init(&w->report_link);
    core_timer_init(&w->timer, TIMER_WORKER);
    list_append(&c->workers, &w->link);
    list_append(&job->workers, &w->job_link);
    numbers_set(&c->workers_by_number, w->number, w);
    c->worker_count++;
    c->starting_count++;
    job->worker_count++;
    job->starting++;
    take(c, w, k->pool);

    struct local_open *open = arena_alloc(&c->arena, sizeof *open);
    *open = (struct local_open){.job_name = job->name,
                                .program_name = job->program_name,
                                .cwd = job->cwd,
                                .env = bytes_of(job->env, job->env_size),
                                .umask = job->umask};
    struct raylet_effect *e = core_effect(c, EFFECT_SPAWN);
    e->worker = w->number;
    e->program = job->program;
    e->job = job->number;
    e->client = job->driver == NULL ? 0 : job->driver->number;
    e->open = open;
    if (job->wants_logs) {
        core_effect(c, EFFECT_LOG_LINES)->worker = w->number;
    }
}

enum lease_outcome { LEASE_NEW, LEASE_STARTING, LEASE_STUCK, LEASE_NO_WORKER, LEASE_NONE };

/* No worker is idle: one is started, if it may be. Where others of the node keep it from that, they
 * make room: idle ones leave, and busy ones are not topped up. */
static enum lease_outcome ask_for_worker(struct raylet_core *c, struct class_ *k)
{
    struct job *job = k->job;

    if (job->starting >= k->queued + k->wants) {
        return LEASE_NONE;
    }
    switch (starts_now(c, job)) {
    case STARTS_JOB_FULL:
        return LEASE_NO_WORKER;
    case STARTS_PAUSED:
        if (!any_leaving(c)) {
            (void)evict_idle(c, job);
        }
        return LEASE_NO_WORKER;
    case STARTS_MAY:
        break;
    }
    if (c->worker_count >= c->workers_max + c->blocked_count && !evict_idle(c, job)) {
        return LEASE_NO_WORKER;
    }
    start_worker(c, k);
    return LEASE_STARTING;
}

static enum lease_outcome new_lease(struct raylet_core *c, struct class_ *k, struct worker **ret)
{
    struct job *job = k->job;
    struct list *idle;

    if (!k->wish->here || job->state != JOB_LIVE || job->program == 0 ||
        job->program_error != NULL) {
        return LEASE_NONE;
    }
    bool lends_any = k->queued == 0 && (c->rules_off & RULE_GRANTS) != 0;
    if ((!resource_set_covers(&c->available, &k->pool->shape->asked) && !lends_any) ||
        is_reserved(c, k) || (c->blocked_count >= BLOCKED_MAX && k->depth == 0)) {
        return LEASE_STUCK;
    }
    idle = list_first(&job->idle);
    if (idle != NULL) {
        struct worker *w = list_entry(idle, struct worker, place_link);
        worker_enter(c, w, WORKER_LEASED);
        take(c, w, k->pool);
        *ret = w;
        return LEASE_NEW;
    }
    return ask_for_worker(c, k);
}

/* A slot of this worker is lent to the class's home. */
static void promise(struct raylet_core *c, struct worker *w, struct class_ *k)
{
    struct guest_class *g = k->guest;

    w->promised++;
    w->promised_ns = c->now_ns;
    g->granted++;
    g->outstanding++;
    g->granted_ns = c->now_ns;
    g->grant_now++;
    if (list_is_empty(&g->granted_link)) {
        list_append(&g->home->granted, &g->granted_link);
    }
    class_set_wants(c, k, k->wants - 1);
}

static void serve_one(struct raylet_core *c, struct worker *w, struct class_ *k)
{
    k->users++; /* it may fall asleep, not vanish */
    class_set_stuck(c, k, false);
    if (k->queued > 0) {
        struct task *t = list_entry(list_first(&k->queue), struct task, link);
        class_dequeue(c, t);
        place(c, w, t);
    } else {
        promise(c, w, k);
    }
    k->users--;
}

/* Up to a turn of tasks of this class; true if it could go on. */
static bool serve(struct raylet_core *c, struct class_ *k, uint32_t stuck_above,
                  uint64_t least_used_ns)
{
    uint32_t prefill = prefill_of(c, k), left = TURN_TASKS;
    bool may_top_up = !must_yield(k, stuck_above, least_used_ns);
    struct worker *w = NULL;

    while (left > 0 && class_is_awake(k)) {
        if (w == NULL || !has_room(w, prefill)) {
            w = may_top_up ? open_lease(c, k, prefill) : NULL;
        }
        if (w == NULL) {
            enum lease_outcome outcome = new_lease(c, k, &w);
            switch (outcome) {
            case LEASE_NEW:
                break;
            case LEASE_STARTING:
                continue;
            case LEASE_STUCK:
            case LEASE_NO_WORKER:
                class_set_stuck(c, k, true);
                k->lacks_worker = outcome == LEASE_NO_WORKER;
                return false;
            default:
                return false;
            }
        }
        serve_one(c, w, k);
        left--;
    }
    return class_is_awake(k);
}

/* Whether it would get what it lacks if others were not topped up. Not where its own job has all
 * the processes that it may have. */
static bool is_helped_by_others(const struct raylet_core *c, const struct class_ *k)
{
    return k->stuck && !(k->lacks_worker && starts_now(c, k->job) == STARTS_JOB_FULL);
}

static uint64_t least_used(const struct raylet_core *c)
{
    uint64_t least = UINT64_MAX - SLICE_NS;
    uint32_t seen = 0;

    LIST_FOREACH(at, &c->levels)
    {
        struct level *l = list_entry(at, struct level, link);
        if (l->stuck == 0) {
            continue;
        }
        LIST_FOREACH(at2, &l->turn)
        {
            struct class_ *k = list_entry(at2, struct class_, run_link);
            least = is_helped_by_others(c, k) ? MIN_OF(least, k->pool->used_ns) : least;
            if (++seen == CLASSES_PER_TURN) {
                return least;
            }
        }
    }
    return least;
}

static void put_behind(struct list *all, struct list *those)
{
    struct list *at;

    while ((at = list_pop(those)) != NULL) {
        list_append(all, at);
    }
}

static void put_before(struct list *all, struct list *those)
{
    while (!list_is_empty(those)) {
        struct list *last = those->prev;
        list_unlink(last);
        list_prepend(all, last);
    }
}

/* One level: its classes in turn, until each is empty or can get nothing now. */
static void serve_level(struct raylet_core *c, struct level *l, uint32_t stuck_above,
                        uint64_t least_used_ns)
{
    struct list served, unserved;

    list_init(&served);
    list_init(&unserved);
    for (uint32_t i = 0; i < CLASSES_PER_TURN && !list_is_empty(&l->turn);) {
        struct class_ *k = list_entry(list_first(&l->turn), struct class_, run_link);
        uint64_t before = k->queued + k->wants;
        bool more = serve(c, k, stuck_above, least_used_ns);
        if (!class_is_awake(k)) {
            k->served = false;
            continue; /* it left the list */
        }
        k->served = k->served || k->queued + k->wants < before;
        list_unlink(&k->run_link);
        if (more) {
            list_append(&l->turn, &k->run_link);
            continue;
        }
        list_append(k->served ? &served : &unserved, &k->run_link);
        k->served = false;
        i++;
    }
    if (!list_is_empty(&l->turn)) { /* more than one turn takes: the others are next */
        put_behind(&l->turn, &unserved);
        put_behind(&l->turn, &served);
        if (!timer_is_armed(&c->plan_timer.timer) ||
            c->plan_timer.timer.at_ns > c->now_ns + NEXT_TURN_NS) {
            core_timer_arm(c, &c->plan_timer, c->now_ns + NEXT_TURN_NS);
        }
        return;
    }
    /* who got nothing comes first in the next turn */
    put_before(&l->turn, &served);
    put_before(&l->turn, &unserved);
}

/* Of the seconds that it waits the second one, then 4 to 7, 16 to 31, and half of each further 64.
 */
static bool takes_its_turn(uint64_t waited_ns)
{
    uint64_t s = waited_ns / NS_PER_S;

    return s >= 32 ? s / 32 % 2 == 0 : s > 0 && (63 - __builtin_clzll(s)) % 2 == 0;
}

/* Whether what becomes free may be kept for it. What waiting bodies keep does not become free by
 * itself, and those they wait for may need just that; but some bodies or other may wait all the
 * time. So where they keep too much it is kept for ever longer times, with as long ones between. */
static bool may_reserve(const struct raylet_core *c, const struct class_ *k)
{
    uint32_t kind;

    return takes_its_turn(c->now_ns - k->stuck_since_ns) ||
           !lacks_for_good(c, &k->pool->shape->asked, &kind);
}

static struct class_ *longest_stuck(struct raylet_core *c)
{
    struct class_ *oldest = NULL;
    uint32_t seen = 0;

    LIST_FOREACH(at, &c->levels)
    {
        struct level *l = list_entry(at, struct level, link);
        if (l->stuck == 0) {
            continue;
        }
        LIST_FOREACH(at2, &l->turn)
        {
            struct class_ *k = list_entry(at2, struct class_, run_link);
            if (k->stuck && !k->lacks_worker &&
                (oldest == NULL || k->stuck_since_ns < oldest->stuck_since_ns) &&
                may_reserve(c, k)) {
                oldest = k;
            }
            if (++seen == CLASSES_PER_TURN) {
                return oldest;
            }
        }
    }
    return oldest;
}

static bool is_overdue(uint64_t number, void *value, void *arg)
{
    const struct raylet_core *c = arg;
    struct guest_class *g = value;

    if (g->outstanding > 0 && c->now_ns - g->granted_ns >= PROMISE_NS) {
        g->home->unheard = true;
    }
    return !g->home->unheard;
}

static bool pass_over(uint64_t number, void *value, void *arg)
{
    struct guest_class *g = value;

    class_set_wants(arg, g->class_, 0);
    return true;
}

/* Slots that were lent and not used for long keep nobody waiting. */
static void revoke_promises(struct raylet_core *c)
{
    bool any = false;

    LIST_FOREACH(at, &c->workers)
    {
        struct worker *w = list_entry(at, struct worker, link);
        if (w->promised > 0 && c->now_ns - w->promised_ns >= PROMISE_NS) {
            w->promised = 0;
            worker_report(c, w);
            any = true;
        }
    }
    for (struct peer *p = any ? c->peers : NULL; p != NULL; p = p->hh.next) {
        numbers_each(&p->guest_classes, is_overdue, c);
        if (p->unheard) { /* it may not even hear of it: none of its classes gets another slot */
            numbers_each(&p->guest_classes, pass_over, c);
        }
    }
}

static bool any_stuck(const struct raylet_core *c)
{
    LIST_FOREACH(at, (struct list *)&c->levels)
    {
        if (list_entry(at, struct level, link)->stuck > 0) {
            return true;
        }
    }
    return false;
}

/* While any is stuck, schedule() sees to it that this comes again. */
static void reserve(struct raylet_core *c)
{
    struct class_ *oldest = longest_stuck(c);
    bool due = oldest != NULL && c->now_ns >= oldest->stuck_since_ns + RESERVE_AFTER_NS;

    c->reserving = due ? oldest : NULL;
    if (any_stuck(c)) {
        revoke_promises(c);
    }
}

void schedule_use_promise(struct raylet_core *c, struct class_ *k)
{
    LIST_FOREACH(at, &k->pool->leased)
    {
        struct worker *w = list_entry(at, struct worker, place_link);
        if (w->promised > 0 && is_ready(c, w) && w->placed < LOCAL_CLAIMS) {
            w->promised--;
            serve_one(c, w, k);
            return;
        }
    }
    schedule_unpromise(c, k->pool, 1);
}

void schedule_unpromise(struct raylet_core *c, struct pool *pool, uint32_t count)
{
    LIST_FOREACH(at, &pool->leased)
    {
        struct worker *w = list_entry(at, struct worker, place_link);
        uint32_t n = MIN_OF(count, w->promised);
        if (n > 0) {
            w->promised -= n;
            count -= n;
            worker_report(c, w);
        }
        if (count == 0) {
            return;
        }
    }
}

void schedule(struct raylet_core *c)
{
    uint32_t stuck_above = 0;
    uint64_t least = 0;

    look_at_reports(c);
    if (list_is_empty(&c->levels)) {
        return;
    }
    least = least_used(c);
    for (struct list *at = c->levels.next, *next; at != &c->levels; at = next) {
        struct level *l = list_entry(at, struct level, link);
        next = at->next;
        l->count++; /* it stays while we are at it */
        serve_level(c, l, stuck_above, least);
        stuck_above += l->stuck;
        if (--l->count == 0) {
            list_unlink(&l->link);
            free(l);
        }
    }
    if (stuck_above > 0 && !timer_is_armed(&c->reserve_timer.timer)) {
        core_timer_arm(c, &c->reserve_timer, c->now_ns + RESERVE_AFTER_NS);
    }
}

/* ---- time ---- */

static void look_for_long_ones(struct raylet_core *c)
{
    bool more = false;

    LIST_FOREACH(at, &c->workers)
    {
        struct worker *w = list_entry(at, struct worker, link);
        if (w->placed < 2 || w->state != WORKER_LEASED || w->client == NULL) {
            continue;
        }
        if (w->taking_back == 0 && c->now_ns - w->mark_ns >= LONG_NS) {
            worker_take_back(c, w, 1);
        } else {
            more = true;
        }
    }
    if (more) {
        core_timer_arm(c, &c->long_timer, c->now_ns + LONG_NS);
    }
}

void schedule_timer(struct raylet_core *c, struct core_timer *timer)
{
    if (timer->kind == TIMER_LONG) {
        look_for_long_ones(c);
    } else {
        reserve(c);
    }
}
