#include "raylet/core_lanes.h"

#include "raylet/core_peers.h"

struct lane *lane_find(struct class_ *k, struct peer *p)
{
    return numbers_get(&p->lanes_by_number, k->number);
}

struct lane *lane_use(struct raylet_core *c, struct class_ *k, struct peer *p)
{
    struct lane *l = lane_find(k, p);

    if (l == NULL) {
        l = xcalloc(1, sizeof *l);
        l->class_ = k;
        l->peer = p;
        list_init(&l->queue);
        list_init(&l->linger_link);
        list_init(&l->busy_link);
        numbers_set(&p->lanes_by_number, k->number, l);
        list_append(&k->lanes, &l->class_link);
        list_append(&p->lanes, &l->peer_link);
    }
    return l;
}

void lane_free(struct raylet_core *c, struct lane *l)
{
    ASSERT(l->queued == 0 && l->placed == 0);
    lane_return(c, l);
    if (l->declared) {
        core_send_peer(c, l->peer, SIDE_OUT, PEER_CLASS_END)->class_end.number = l->class_->number;
    }
    list_unlink(&l->linger_link);
    list_unlink(&l->busy_link);
    numbers_remove(&l->peer->lanes_by_number, l->class_->number);
    list_unlink(&l->class_link);
    list_unlink(&l->peer_link);
    free(l);
}

/* ---- what the session is told ---- */

struct told_job *lane_told(const struct peer *p, uint64_t job)
{
    struct told_job *told;

    HASH_FIND(hh, p->told, &job, sizeof job, told);
    return told;
}

static void tell_job(struct raylet_core *c, struct peer *p, const struct job *job)
{
    struct told_job *told = xcalloc(1, sizeof *told);
    struct peer_msg *m = core_send_peer(c, p, SIDE_OUT, PEER_JOB);

    told->job = job->number;
    HASH_ADD(hh, p->told, job, sizeof told->job, told);
    m->job.job = job->number;
    m->job.name = core_text(c, job->name);
    m->job.program_name = core_text(c, job->program_name);
    m->job.user = core_text(c, job->user);
    m->job.cwd = core_text(c, job->cwd);
    size_t size = job->env_size + job->given_size;
    m->payload = bytes_of(arena_copy(&c->arena, job->env, size), size);
    m->job.env = bytes_of(m->payload.data, job->env_size);
    m->job.given = bytes_of((const uint8_t *)m->payload.data + job->env_size, job->given_size);
    m->job.env_size = (uint32_t)job->env_size;
    m->job.given_size = (uint32_t)job->given_size;
    m->job.umask = job->umask;
    m->job.hash = bytes_of(arena_copy(&c->arena, job->hash, PEER_HASH_SIZE), PEER_HASH_SIZE);
    m->job.program_size = job->program_size;
    m->job.started_unix_ms = job->started_unix_ms;
    m->job.wants_logs = job->wants_logs;
    m->job.home = job->guest ? job->home : c->node;
}

static void tell_class(struct raylet_core *c, struct lane *l)
{
    const struct class_ *k = l->class_;
    const struct resource_set *asked = &k->pool->shape->asked;
    struct local_amount *amounts = arena_alloc(&c->arena, (asked->count + 1) * sizeof *amounts);
    struct peer_msg *m = core_send_peer(c, l->peer, SIDE_OUT, PEER_CLASS);

    for (uint32_t i = 0; i < asked->count; i++) {
        amounts[i] = (struct local_amount){
            core_text(c, resource_name(&c->resources, asked->amounts[i].kind)),
            asked->amounts[i].units};
    }
    m->class_.number = k->number;
    m->class_.job = k->job->number;
    m->class_.function = core_text(c, k->function);
    m->class_.kinds = bytes_of(arena_copy(&c->arena, k->kinds, k->kinds_size), k->kinds_size);
    m->class_.amounts = amounts;
    m->class_.amount_count = asked->count;
    m->class_.priority = k->priority;
    m->class_.depth = k->depth;
    l->declared = true;
}

bool lane_ask(struct raylet_core *c, struct lane *l, uint64_t limit)
{
    if (!peer_use(c, l->peer)) {
        return false;
    }
    if (l->limit == limit) {
        return true;
    }
    if (!l->declared) {
        if (lane_told(l->peer, l->class_->job->number) == NULL) {
            tell_job(c, l->peer, l->class_->job);
        }
        tell_class(c, l);
    }
    l->limit = limit;
    l->limit_most = MAX_OF(l->limit_most, limit);
    if (limit > l->got) {
        lane_linger(c, l);
    }
    struct peer_msg *m = core_send_peer(c, l->peer, SIDE_OUT, PEER_ASK);
    m->ask.number = l->class_->number;
    m->ask.limit = limit;
    return true;
}

void lane_return(struct raylet_core *c, struct lane *l)
{
    lane_stop_lingering(l);
    if (l->credits > 0) {
        struct peer_msg *m = core_send_peer(c, l->peer, SIDE_OUT, PEER_RETURN);
        m->slots.number = l->class_->number;
        m->slots.count = l->credits;
        l->credits = 0;
    }
    if (l->limit > l->got) {
        (void)lane_ask(c, l, l->got);
    }
}

void lane_linger(struct raylet_core *c, struct lane *l)
{
    l->idle_since_ns = 0;
    if (list_is_empty(&l->linger_link)) {
        list_append(&c->lingering, &l->linger_link);
    }
}

void lane_stop_lingering(struct lane *l)
{
    list_unlink(&l->linger_link);
}

void lane_reset(struct lane *l)
{
    lane_stop_lingering(l);
    l->declared = false;
    l->got = l->limit = l->limit_most = 0;
    l->credits = 0;
    l->wanted = 0;
}

/* ---- its queue ---- */

void lane_enqueue(struct raylet_core *c, struct lane *l, struct task *t)
{
    list_unlink(&t->link);
    list_append(&l->queue, &t->link);
    if (l->queued++ == 0) {
        l->since_ns = c->now_ns;
        list_append(&c->busy_lanes, &l->busy_link);
    }
    t->place = AT_LANE;
    t->slot = 0;
    t->lane = l;
}

void lane_dequeue(struct task *t)
{
    list_unlink(&t->link);
    if (--t->lane->queued == 0) {
        list_unlink(&t->lane->busy_link);
    }
    t->lane = NULL;
    t->place = AT_NONE;
}

/* ---- looking in ---- */

struct lane *lane_only(const struct class_ *k)
{
    struct list *first = list_first((struct list *)&k->lanes);

    return k->wish->here || first == NULL || first->next != &k->lanes
               ? NULL
               : list_entry(first, struct lane, class_link);
}

static uint64_t waiting_in_queues(const struct level *level, const struct peer *p)
{
    uint64_t n = 0;

    for (const struct list *at = level->turn.next; at != &level->turn; at = at->next) {
        const struct class_ *k = list_entry(at, struct class_, run_link);
        const struct lane *only = lane_only(k);
        n += only != NULL && (p == NULL || only->peer == p) ? k->queued : 0;
    }
    return n;
}

uint64_t lanes_waiting(const struct raylet_core *c, const struct peer *p)
{
    uint64_t n = 0;

    for (const struct list *at = c->busy_lanes.next; at != &c->busy_lanes; at = at->next) {
        const struct lane *l = list_entry(at, struct lane, busy_link);
        n += p == NULL || l->peer == p ? l->queued : 0;
    }
    if (c->wishes_elsewhere == 0) {
        return n;
    }
    for (const struct list *at = c->levels.next; at != &c->levels; at = at->next) {
        n += waiting_in_queues(list_entry(at, struct level, link), p);
    }
    return n;
}

struct sums { /* of one peer */
    const struct peer *peer;
    uint64_t bytes, placed, away;
};

static bool check_run(uint64_t run, void *value, void *arg)
{
    const struct task *t = value;
    struct sums *sums = arg;

    ASSERT(t->place == AT_LANE && t->run == run && t->lane->peer == sums->peer);
    ASSERT(t->state == TASK_PLACED || t->state == TASK_ABANDONED);
    sums->bytes += task_weight(t);
    sums->placed++;
    sums->away += t->state == TASK_PLACED;
    return true;
}

static void check_lane(const struct lane *l)
{
    uint64_t queued = 0;

    for (const struct list *at = l->queue.next; at != &l->queue; at = at->next) {
        const struct task *t = list_entry(at, struct task, link);
        ASSERT(t->place == AT_LANE && t->lane == l && t->state == TASK_READY);
        queued++;
    }
    ASSERT(queued == l->queued && list_is_empty((struct list *)&l->busy_link) == (queued == 0));
    ASSERT(l->got <= l->limit_most && l->limit <= l->limit_most && l->credits <= l->got);
    ASSERT(l->declared || l->limit_most == 0);
    ASSERT(!l->declared || peer_is_up(l->peer, SIDE_OUT));
    if (l->credits > 0 || l->limit > l->got) { /* they go back when nobody needs them */
        ASSERT(!list_is_empty((struct list *)&l->linger_link));
    }
}

/* Slots that this node lent: on its workers at most those that the homes have. */
static void check_promises(const struct job *job)
{
    for (const struct pool *p = job->pools; p != NULL; p = p->hh.next) {
        uint64_t promised = 0, outstanding = 0;
        for (const struct list *at = p->leased.next; at != &p->leased; at = at->next) {
            promised += list_entry(at, struct worker, place_link)->promised;
        }
        for (const struct class_ *k = job->classes; k != NULL; k = k->hh.next) {
            outstanding += k->pool == p && k->guest != NULL ? k->guest->outstanding : 0;
        }
        ASSERT(promised <= outstanding);
    }
}

void lanes_check(struct raylet_core *c)
{
    uint64_t away = 0;

    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        struct sums sums = {.peer = p};
        uint64_t placed = 0;
        numbers_each(&p->runs, check_run, &sums);
        LIST_FOREACH(at, &p->lanes)
        {
            const struct lane *l = list_entry(at, struct lane, peer_link);
            check_lane(l);
            placed += l->placed;
        }
        ASSERT(sums.bytes == p->sent_bytes && sums.placed == placed);
        ASSERT(peer_is_up(p, SIDE_OUT) || (p->told == NULL && p->covers.used == 0));
        away += sums.away;
    }
    ASSERT(away == c->away);
    LIST_FOREACH(at, &c->jobs)
    {
        check_promises(list_entry(at, struct job, link));
    }
}
