#include "raylet/core_foreign.h"

#include "raylet/core_cache.h"
#include "raylet/core_foreign_state.h"
#include "raylet/core_holders.h"
#include "raylet/core_objects.h"
#include "raylet/core_peers.h"

/* ---- life ---- */

static void part_free(struct raylet_core *c, struct foreign_peer *fp)
{
    ASSERT(list_is_empty(&fp->covered) && list_is_empty(&fp->borrowed));
    ASSERT(list_is_empty(&fp->queued) && list_is_empty(&fp->holders));
    ASSERT(list_is_empty(&fp->want_queue) && list_is_empty(&fp->wanted));
    ASSERT(fp->telling_count == 0);
    core_timer_disarm(c, &fp->silence);
    list_unlink(&fp->busy_link);
    fp->peer->foreign = NULL;
    free(fp->drops);
    free(fp->tellings);
    free(fp);
}

void foreign_wind_up(struct raylet_core *c)
{
    foreign_begin(c);
    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        while (foreign_peer_dead(c, p)) {
        }
    }
}

void foreign_free(struct raylet_core *c)
{
    struct foreign *f = c->foreign;

    ASSERT(f->clients == NULL && f->contents == NULL && list_is_empty(&f->fresh));
    ASSERT(list_is_empty(&f->letting_go) && list_is_empty(&f->kept) && f->sent_count == 0);
    ASSERT(cache_bytes(c) == 0 && list_is_empty(&f->cache.crowd));
    core_timer_disarm(c, &f->cache.timer);
    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        if (p->foreign != NULL) {
            part_free(c, p->foreign);
        }
    }
    slab_pool_fini(&f->proxies);
    free(f->sent);
    free(f);
    c->foreign = NULL;
}

/* ---- silence ---- */

void foreign_timer(struct raylet_core *c, struct core_timer *timer)
{
    struct foreign_peer *fp = container_of(timer, struct foreign_peer, silence);
    struct object_error *e;
    struct list *at;

    if (cache_timer(c, timer) || peer_is_up(fp->peer, SIDE_OUT)) {
        return;
    }
    e = error_make(
        c, CODE_UNREACHABLE, "",
        "node %u%s%s, which has it, has not answered for %u s. It may come back: try again",
        fp->peer->number, fp->peer->name[0] == '\0' ? "" : " ", fp->peer->name, PROXY_SILENCE_S);
    for (uint32_t i = 0; i < WORK_STEP && (at = list_first(&fp->want_queue)) != NULL; i++) {
        proxy_end_wait(c, list_entry(at, struct proxy, want_link), e);
    }
    error_unref(e);
    LIST_FOREACH(wait, &fp->waits)
    {
        struct securing *s = list_entry(wait, struct secure_wait, at_owner)->securing;
        if (s->kind != SECURING_CONTAINER) {
            list_unlink(&s->link);
            list_append(&c->unsecured, &s->link);
        }
    }
    if (!list_is_empty(&fp->want_queue)) {
        core_timer_arm(c, &fp->silence, c->now_ns + 1);
    } else {
        proxy_watch_silence(c, fp);
    }
}

/* ---- what the owner says ---- */

static struct proxy *proxy_by(struct raylet_core *c, const struct foreign_peer *fp,
                              struct object_id id)
{
    struct object *o = id.node == fp->peer->number ? proxy_find(c, id) : NULL;
    struct proxy *x = o == NULL ? NULL : proxy_of(o);

    return x != NULL && x->owner == fp ? x : NULL;
}

static void added(struct raylet_core *c, struct foreign_peer *fp, const struct peer_added *m)
{
    fp->adds_answered++;
    for (size_t i = 0; i < m->id_count; i++) {
        struct proxy *x = proxy_by(c, fp, m->ids[i]);
        /* an answer to a former ADD, which a DROP has followed, says nothing */
        if (x != NULL && x->state == PROXY_ADDING && x->session == fp->session &&
            x->add == fp->adds_answered) {
            proxy_enter(x, PROXY_ADDED);
            proxy_answered(c, x);
        }
    }
    for (size_t i = 0; i < m->gone_count; i++) {
        struct proxy *x = proxy_by(c, fp, m->gone[i]);
        if (x != NULL) {
            proxy_lose(c, x, false);
        }
    }
}

static void take_inner(struct raylet_core *c, struct object *o, const struct peer_value *m)
{
    struct object **held = arena_alloc(&c->arena, m->ref_count * sizeof(struct object *));
    size_t n = 0;

    for (size_t i = 0; i < m->ref_count; i++) {
        struct object *inner = foreign_object(c, o->owner->job, m->refs[i]);
        if (inner != NULL) {
            held[n++] = inner;
        }
    }
    object_contain(c, o, held, n);
}

static void value(struct raylet_core *c, struct foreign_peer *fp, const struct peer_msg *m)
{
    struct proxy *x = proxy_by(c, fp, m->value.id);
    struct failure f;

    if (x == NULL || !proxy_is_pending(x)) {
        return; /* it was dropped while this was under way */
    }
    if (m->value.state == VALUE_HERE) {
        object_hold(&x->object);
        list_unlink(&x->want_link);
        if (!(x->object.far & FAR_INNER)) { /* else it was here before */
            take_inner(c, &x->object, &m->value);
        }
        object_settle_value(c, &x->object, m->payload);
        cache_arrived(c, x);
        object_unhold(c, &x->object);
        return;
    }
    if (failure_decode(m->payload, &f) != 0) {
        failure_set(&f, CODE_OBJECT_LOST, "its owner, node %u, gave no reason", fp->peer->number);
    }
    struct object_error *e = error_new(&f);
    if (f.code == CODE_CANCELLED || f.code == CODE_DEADLINE) {
        e->stopped = m->value.id; /* its owner knows which task that was */
    }
    if (f.code == CODE_UNREACHABLE) { /* of the owner of what it follows: that may pass */
        proxy_end_wait(c, x, e);
    } else {
        list_unlink(&x->want_link);
        object_settle_error(c, &x->object, e);
    }
    error_unref(e);
}

/* ---- sessions ---- */

static void splice(struct list *from, struct list *to_front_of)
{
    if (list_is_empty(from)) {
        return;
    }
    struct list *first = from->next, *last = from->prev;
    last->next = to_front_of->next;
    to_front_of->next->prev = last;
    to_front_of->next = first;
    first->prev = to_front_of;
    list_init(from);
}

static void forget_session(struct foreign_peer *fp)
{
    fp->drop_count = 0;
    splice(&fp->wanted, &fp->want_queue);
}

void foreign_peer_up(struct raylet_core *c, struct peer *p, enum peer_side side)
{
    struct foreign_peer *fp = p->foreign;

    if (side == SIDE_IN || fp == NULL) {
        return;
    }
    forget_session(fp);
    fp->session++;
    fp->adds_sent = fp->adds_answered = 0;
    fp->list_due = false;
    fp->listing = LIST_DONE;
    if (fp->told && !(c->rules_off & RULE_LIST_AGAIN)) {
        fp->listing = LIST_FIRST;
        splice(&fp->borrowed, &fp->queued);
    }
    core_timer_disarm(c, &fp->silence);
    foreign_busy(c, fp);
}

void foreign_peer_down(struct raylet_core *c, struct peer *p, enum peer_side side,
                       const struct raylet_event *e)
{
    struct foreign_peer *fp = p->foreign;

    if (fp == NULL) {
        return;
    }
    if (side == SIDE_IN) {
        holders_session_ends(c, fp);
        while ((c->rules_off & RULE_SILENCE_HOLDS) && holders_release(c, fp, NULL, WORK_STEP)) {
        }
        return;
    }
    forget_session(fp);
    fp->list_due = fp->told; /* a DROP may have been under way */
    foreign_busy(c, fp);
    proxy_watch_silence(c, fp);
    if (e->silent && timer_is_armed(&fp->silence.timer)) { /* the silence was in the session */
        core_timer_arm(c, &fp->silence, c->now_ns + PROXY_AGAIN_S * NS_PER_S);
    }
}

bool foreign_peer_message(struct raylet_core *c, struct peer *p, enum peer_side side,
                          const struct peer_msg *m)
{
    bool theirs = m->type == PEER_ADD || m->type == PEER_DROP || m->type == PEER_WANT;

    if (theirs != (side == SIDE_IN)) {
        return false;
    }
    switch (m->type) {
    case PEER_ADD:
        holders_add(c, foreign_part(c, p), &m->add);
        return true;
    case PEER_DROP:
        holders_drop(c, foreign_part(c, p), &m->ids);
        return true;
    case PEER_WANT:
        holders_want(c, foreign_part(c, p), &m->ids);
        return true;
    case PEER_ADDED:
        added(c, foreign_part(c, p), &m->added);
        return true;
    case PEER_VALUE:
        value(c, foreign_part(c, p), m);
        return true;
    default:
        return false;
    }
}

bool foreign_peer_dead(struct raylet_core *c, struct peer *p)
{
    struct foreign_peer *fp = p->foreign;
    struct list *at;

    if (fp == NULL) {
        return false;
    }
    struct list *lists[] = {&fp->covered, &fp->queued, &fp->borrowed};
    uint32_t left = WORK_STEP;
    proxies_look_at_fresh(c);
    holders_session_ends(c, fp);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        for (; left > 0 && (at = list_first(lists[i])) != NULL; left--) {
            proxy_lose(c, list_entry(at, struct proxy, link), true);
        }
    }
    proxies_look_at_fresh(c); /* what was inside those */
    if (p->borrowed > 0 || holders_release(c, fp, NULL, WORK_STEP)) {
        return true;
    }
    part_free(c, fp);
    return false;
}

/* ---- the end of a step ---- */

static struct peer_msg *send_ids(struct raylet_core *c, struct foreign_peer *fp,
                                 enum peer_type type, const struct object_id *ids, size_t count)
{
    struct peer_msg *m = core_send_peer(c, fp->peer, SIDE_OUT, type);

    m->ids.ids = arena_copy(&c->arena, ids, count * sizeof *ids);
    m->ids.id_count = count;
    return m;
}

static void send_drops(struct raylet_core *c, struct foreign_peer *fp)
{
    for (uint32_t at = 0; at < fp->drop_count; at += PEER_LIST_MAX) {
        (void)send_ids(c, fp, PEER_DROP, fp->drops + at,
                       MIN_OF(fp->drop_count - at, PEER_LIST_MAX));
    }
    fp->drop_count = 0;
}

/* One ADD: the first of the queue and those of the same job that follow it. */
static uint32_t send_add(struct raylet_core *c, struct foreign_peer *fp, uint32_t most)
{
    struct object_id *ids = arena_alloc(&c->arena, (most + 1) * sizeof *ids);
    struct peer_msg *m = core_send_peer(c, fp->peer, SIDE_OUT, PEER_ADD);
    const struct job *job = NULL;
    struct list *at;
    uint32_t n = 0;

    while (n < most && (at = list_first(&fp->queued)) != NULL) {
        struct proxy *x = list_entry(at, struct proxy, link);
        if (job != NULL && x->object.owner->job != job) {
            break;
        }
        job = x->object.owner->job;
        ids[n++] = core_object_id(c, &x->object);
        list_unlink(at);
        list_append(&fp->borrowed, at);
        x->session = fp->session;
        x->add = fp->adds_sent + 1;
        if (x->state == PROXY_QUEUED) {
            proxy_enter(x, PROXY_ADDING);
        }
    }
    fp->adds_sent += n > 0;
    fp->told = true;
    m->add.job = job == NULL ? 0 : job->number;
    m->add.ids = ids;
    m->add.id_count = n;
    m->add.first = fp->listing == LIST_FIRST;
    m->add.last = fp->listing != LIST_DONE && list_is_empty(&fp->queued);
    fp->listing = m->add.last || fp->listing == LIST_DONE ? LIST_DONE : LIST_OPEN;
    return n;
}

static void send_wants(struct raylet_core *c, struct foreign_peer *fp)
{
    struct object_id *ids = arena_alloc(&c->arena, PEER_LIST_MAX * sizeof *ids);
    struct list *at;
    uint32_t n = 0;

    while (n < PEER_LIST_MAX && (at = list_pop(&fp->want_queue)) != NULL) {
        struct proxy *x = list_entry(at, struct proxy, want_link);
        list_append(&fp->wanted, at);
        ids[n++] = core_object_id(c, &x->object);
    }
    if (n > 0) {
        struct peer_msg *m = core_send_peer(c, fp->peer, SIDE_OUT, PEER_WANT);
        m->ids.ids = ids;
        m->ids.id_count = n;
    }
}

static bool has_something(const struct foreign_peer *fp)
{
    return fp->drop_count > 0 || !list_is_empty((struct list *)&fp->queued) ||
           !list_is_empty((struct list *)&fp->want_queue) || fp->listing != LIST_DONE;
}

/* What we want of it. True: it waits for a session, or for room in it. */
static bool flush_out(struct raylet_core *c, struct foreign_peer *fp)
{
    uint32_t left = WORK_STEP;

    if (!peer_is_up(fp->peer, SIDE_OUT)) {
        bool wanted = has_something(fp) || fp->list_due;
        if (wanted) {
            (void)peer_use(c, fp->peer);
        }
        return wanted;
    }
    if (!has_something(fp)) {
        return false;
    }
    if (fp->peer->slow[SIDE_OUT]) {
        return true;
    }
    send_drops(c, fp);
    while (left > 0 && (fp->listing != LIST_DONE || !list_is_empty(&fp->queued))) {
        uint32_t n = send_add(c, fp, MIN_OF(left, PEER_LIST_MAX));
        left -= MIN_OF(left, n + 1);
    }
    send_wants(c, fp);
    c->foreign->more = c->foreign->more || has_something(fp);
    return has_something(fp);
}

void foreign_begin(struct raylet_core *c)
{
    struct foreign *f = c->foreign;

    for (uint32_t i = 0; i < f->sent_count; i++) {
        object_unhold(c, f->sent[i]);
    }
    f->sent_count = 0;
    cache_begin(c);
}

void foreign_flush(struct raylet_core *c)
{
    struct foreign *f = c->foreign;

    f->more = false;
    proxies_release_kept(c);
    f->more = contents_work(c);
    proxies_look_at_fresh(c);
    LIST_FOREACH_SAFE(at, &f->busy)
    {
        struct foreign_peer *fp = list_entry(at, struct foreign_peer, busy_link);
        bool waits = flush_out(c, fp);
        bool more = holders_flush(c, fp);
        if (!waits && !more && fp->telling_count == 0 && !fp->sweeping) {
            list_unlink(at);
        }
        f->more = f->more || more;
    }
    f->more = f->more || !list_is_empty(&f->letting_go) || !list_is_empty(&f->fresh) ||
              !list_is_empty(&f->kept);
    for (uint32_t i = 0; i < f->sent_count && !f->more; i++) { /* kept for that alone */
        f->more = f->sent[i]->holds == 1 && !f->sent[i]->held;
    }
}

bool foreign_has_work(const struct raylet_core *c)
{
    return c->foreign->more || cache_has_work(c);
}

bool foreign_job_ends(struct raylet_core *c, struct job *job, uint32_t most)
{
    for (uint32_t i = 0; i < most && job->contents != NULL; i++) {
        contents_detach(c, job->contents);
    }
    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        if (p->foreign != NULL && holders_release(c, p->foreign, job, most)) {
            return true;
        }
    }
    if (list_is_empty(&job->workers)) {
        proxies_of_job_end(c, job, most);
    }
    return contents_work(c) || job->contents != NULL;
}

bool foreign_job_is_held(struct raylet_core *c, const struct job *job)
{
    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        if (p->foreign == NULL) {
            continue;
        }
        LIST_FOREACH(at, &p->foreign->holders)
        {
            if (list_entry(at, struct holder, link)->job == job) {
                return true;
            }
        }
    }
    return false;
}

/* ---- the beginning ---- */

void foreign_init(struct raylet_core *c, void (*fail_task)(struct raylet_core *c, struct task *t,
                                                           struct object_error *error))
{
    static const struct far_hooks hooks = {.find = proxy_find,
                                           .want = proxy_want,
                                           .let_go = proxy_let_go,
                                           .put_back = proxy_put_back,
                                           .tell = holders_tell,
                                           .used = cache_used,
                                           .aliased = cache_aliased};
    struct foreign *f = xcalloc(1, sizeof *f);

    slab_pool_init(&f->proxies, sizeof(struct proxy));
    list_init(&f->fresh);
    list_init(&f->busy);
    list_init(&f->letting_go);
    list_init(&f->kept);
    list_init(&c->secured);
    list_init(&c->unsecured);
    f->fail_task = fail_task;
    c->foreign = f;
    c->far = &hooks;
}

/* ---- looking in ---- */

static uint32_t check_list(const struct list *list, uint32_t states)
{
    uint32_t n = 0;

    LIST_FOREACH(at, list)
    {
        const struct proxy *x = list_entry(at, struct proxy, link);
        ASSERT((states >> x->state & 1) != 0 && x->covers <= x->object.holds);
        ASSERT(x->object.holds > 0 || x->object.watchers != NULL);
        ASSERT(!x->object.held && x->object.far & FAR_PROXY);
        ASSERT(x->state != PROXY_COVERED || x->covers > 0);
        ASSERT(list_is_empty((struct list *)&x->waits) || x->state != PROXY_ADDED);
        n++;
    }
    return n;
}

void foreign_check(struct raylet_core *c)
{
    const uint32_t asked = 1u << PROXY_ADDING | 1u << PROXY_ADDED;

    ASSERT(list_is_empty(&c->foreign->fresh));
    cache_check(c);
    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        const struct foreign_peer *fp = p->foreign;
        if (fp == NULL) {
            ASSERT(p->borrowed == 0);
            continue;
        }
        uint32_t n = check_list(&fp->covered, 1u << PROXY_COVERED) +
                     check_list(&fp->queued, asked | 1u << PROXY_QUEUED) +
                     check_list(&fp->borrowed, asked);
        ASSERT(n == p->borrowed);
        holders_check(fp);
    }
    for (const struct client *k = c->foreign->clients; k != NULL; k = k->hh.next) {
        ASSERT(k->objects.used > 0 && k->outstanding_bytes == 0);
    }
    for (const struct contents *k = c->foreign->contents; k != NULL; k = k->hh.next) {
        ASSERT(k->object->far & FAR_INNER);
    }
}
