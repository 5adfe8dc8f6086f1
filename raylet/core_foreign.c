#include "raylet/core_foreign.h"

#include "raylet/core_foreign_state.h"
#include "raylet/core_holders.h"
#include "raylet/core_objects.h"
#include "raylet/core_peers.h"

#include <stddef.h>
#include <stdio.h>

#define SILENCE_NS       (15 * NS_PER_S)
#define SECURE_CONTAINER UINT32_MAX /* securing.kind of our own */

struct keeping { /* a container that must stay until what is inside is added */
    struct securing securing;
    struct object *container; /* held */
};

/* ---- life ---- */

static struct foreign_peer *foreign_part(struct raylet_core *c, struct peer *p)
{
    struct foreign_peer *fp = p->foreign;

    if (fp != NULL) {
        return fp;
    }
    fp = xcalloc(1, sizeof *fp);
    fp->peer = p;
    list_init(&fp->busy_link);
    list_init(&fp->covered);
    list_init(&fp->borrowed);
    list_init(&fp->queued);
    list_init(&fp->want_queue);
    list_init(&fp->wanted);
    list_init(&fp->waits);
    list_init(&fp->holders);
    core_timer_init(&fp->silence, TIMER_FOREIGN);
    fp->session = 1;
    fp->in_session = 1;
    p->foreign = fp;
    return fp;
}

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

uint64_t foreign_count(const struct raylet_core *c)
{
    return c->foreign->proxies.used;
}

/* ---- who made it ---- */

bool foreign_waits(const struct raylet_core *c)
{
    for (struct peer *p = c->peers; p != NULL; p = p->hh.next) {
        if (p->foreign != NULL &&
            (!list_is_empty(&p->foreign->want_queue) || !list_is_empty(&p->foreign->wanted))) {
            return true;
        }
    }
    return false;
}

static struct client *find_client(struct raylet_core *c, struct object_id id)
{
    const uint32_t key[2] = {id.client, id.node};
    struct client *client;

    HASH_FIND(hh, c->foreign->clients, key, sizeof key, client);
    return client;
}

static struct client *client_new(struct raylet_core *c, struct job *job, struct object_id id)
{
    struct client *client = xcalloc(1, sizeof *client);

    _Static_assert(offsetof(struct client, node) == offsetof(struct client, number) + 4, "a key");
    client->number = id.client;
    client->node = id.node;
    client->state = CLIENT_GONE; /* forgotten with the last of its objects */
    client->job = job;
    job->live_clients++;
    numbers_init(&client->objects);
    list_init(&client->link);
    list_init(&client->touched_link);
    HASH_ADD(hh, c->foreign->clients, number, 2 * sizeof client->number, client);
    return client;
}

void foreign_forget_client(struct raylet_core *c, struct client *client)
{
    HASH_DEL(c->foreign->clients, client);
}

static struct object *foreign_find(struct raylet_core *c, struct object_id id)
{
    struct client *owner = find_client(c, id);

    return owner == NULL ? NULL : numbers_get(&owner->objects, id.number);
}

/* NULL: it is dead. */
static struct peer *peer_of_owner(struct raylet_core *c, uint32_t node)
{
    struct peer *p = peer_find(c, node);

    if (p == NULL && node > c->newest_node) {
        p = peer_of_session(c, node, SIDE_IN); /* the head has not told of it yet */
    }
    return p == NULL || p->state == PEER_DEAD ? NULL : p;
}

/* ---- proxies ---- */

static bool waits_for_owner(const struct proxy *x)
{
    return x->object.state == OBJECT_PENDING;
}

static void settle(struct raylet_core *c, struct proxy *x, int code, const char *message)
{
    if (waits_for_owner(x)) {
        struct object_error *e = error_make(c, code, "", "%s", message);
        object_settle_error(c, &x->object, e);
        error_unref(e);
    }
}

static void settle_lost(struct raylet_core *c, struct proxy *x)
{
    char text[128];

    snprintf(text, sizeof text, "node %u, which made it and kept it, is gone",
             x->object.owner->node);
    settle(c, x, CODE_OWNER_LOST, text);
}

static struct proxy *proxy_new(struct raylet_core *c, struct client *owner, struct object_id id)
{
    struct proxy *x = slab_alloc(&c->foreign->proxies);
    struct peer *p = peer_of_owner(c, id.node);

    memset(x, 0, sizeof *x);
    object_init(&x->object, owner, id.number);
    x->object.held = false;
    x->object.far = FAR_PROXY;
    list_init(&x->link);
    list_init(&x->want_link);
    list_init(&x->waits);
    if (p == NULL) {
        x->state = PROXY_GONE;
        return x;
    }
    x->state = PROXY_COVERED;
    x->owner = foreign_part(c, p);
    p->borrowed++;
    list_append(&c->foreign->fresh, &x->link);
    return x;
}

struct object *foreign_object(struct raylet_core *c, struct job *job, struct object_id id)
{
    struct object *o = object_find(c, id);

    if (o == NULL && id.node != c->node && id.number != 0) {
        struct client *owner = find_client(c, id);
        if (owner == NULL) {
            owner = client_new(c, job, id);
        }
        if (owner->job != job) {
            return NULL;
        }
        struct proxy *x = proxy_new(c, owner, id);
        object_hold(&x->object);
        if (x->state == PROXY_GONE && !(c->rules_off & RULE_OWNER_LOST)) {
            settle_lost(c, x);
        }
        return &x->object;
    }
    if (o == NULL || o->owner->job != job) {
        return NULL;
    }
    object_hold(o);
    return o;
}

/* Its ADD will be sent at the end of the step. */
static void proxy_queue(struct raylet_core *c, struct proxy *x)
{
    ASSERT(x->state == PROXY_COVERED);
    x->state = PROXY_QUEUED;
    list_unlink(&x->link);
    list_append(&x->owner->queued, &x->link);
    foreign_busy(c, x->owner);
}

void foreign_taken(struct raylet_core *c, struct object *o)
{
    struct proxy *x = proxy_of(o);

    if (x != NULL && x->state == PROXY_COVERED) {
        proxy_queue(c, x);
    }
}

static bool needs_more(struct raylet_core *c, const struct object *o, int depth)
{
    const struct proxy *x = proxy_of((struct object *)o);

    if (x == NULL || x->state == PROXY_ADDED || x->state == PROXY_GONE) {
        return false;
    }
    if (o->holds > x->covers || depth == 0) { /* too deep to look: asking costs little */
        return true;
    }
    const struct contents *k = contents_find(c, o);
    for (uint32_t i = 0; k != NULL && k->covers && i < k->count; i++) {
        if (needs_more(c, k->inner[i], depth - 1)) {
            return true;
        }
    }
    return false;
}

bool foreign_needs_more(struct raylet_core *c, const struct object *o)
{
    return needs_more(c, o, 16);
}

/* ---- securing ---- */

/* Who waits for something of it does not do so for longer than it may be silent. */
static void watch_silence(struct raylet_core *c, struct foreign_peer *fp)
{
    if (peer_is_up(fp->peer, SIDE_OUT) || timer_is_armed(&fp->silence.timer) ||
        (c->rules_off & RULE_UNREACHABLE)) {
        return;
    }
    if (!list_is_empty(&fp->want_queue) || !list_is_empty(&fp->waits)) {
        core_timer_arm(c, &fp->silence, c->now_ns + SILENCE_NS);
    }
}

bool foreign_is_gone(struct object *o)
{
    const struct proxy *x = proxy_of(o);

    return x != NULL && x->state == PROXY_GONE;
}

void foreign_secure(struct raylet_core *c, struct securing *s, struct object *o)
{
    struct proxy *x = proxy_of(o);
    struct secure_wait *w;

    if (x == NULL || x->state == PROXY_ADDED || x->state == PROXY_GONE) {
        return;
    }
    if (x->state == PROXY_COVERED) {
        proxy_queue(c, x);
    }
    if (c->rules_off & RULE_ADD_FIRST) {
        return;
    }
    w = xcalloc(1, sizeof *w);
    w->securing = s;
    list_append(&x->waits, &w->at_proxy);
    list_append(&s->waits, &w->at_securing);
    list_append(&x->owner->waits, &w->at_owner);
    s->missing++;
    watch_silence(c, x->owner);
}

static void wait_free(struct secure_wait *w)
{
    list_unlink(&w->at_proxy);
    list_unlink(&w->at_securing);
    list_unlink(&w->at_owner);
    free(w);
}

void foreign_secure_forget(struct raylet_core *c, struct securing *s)
{
    struct list *at;

    while ((at = list_first(&s->waits)) != NULL) {
        wait_free(list_entry(at, struct secure_wait, at_securing));
    }
    s->missing = 0;
    list_unlink(&s->link);
}

static void answered(struct raylet_core *c, struct proxy *x)
{
    struct list *at;

    while ((at = list_first(&x->waits)) != NULL) {
        struct secure_wait *w = list_entry(at, struct secure_wait, at_proxy);
        struct securing *s = w->securing;
        wait_free(w);
        if (--s->missing == 0) {
            list_unlink(&s->link);
            list_append(s->kind == SECURE_CONTAINER ? &c->foreign->kept : &c->secured, &s->link);
        }
    }
}

/* A container that covers what is inside: those that are held here for other reasons are added
 * before it goes. */
static bool keep_container(struct raylet_core *c, struct object *o, const struct contents *k)
{
    struct keeping *keeping = NULL;

    for (uint32_t i = 0; i < k->count; i++) {
        if (!foreign_needs_more(c, k->inner[i])) {
            continue;
        }
        if (keeping == NULL) {
            keeping = xcalloc(1, sizeof *keeping);
            securing_init(&keeping->securing, SECURE_CONTAINER);
            keeping->container = o;
        }
        foreign_secure(c, &keeping->securing, k->inner[i]);
    }
    if (keeping == NULL || keeping->securing.missing == 0) {
        free(keeping);
        return false;
    }
    object_hold(o);
    return true;
}

static void release_kept(struct raylet_core *c)
{
    struct list *at;

    while ((at = list_pop(&c->foreign->kept)) != NULL) {
        struct keeping *k = container_of(at, struct keeping, securing.link);
        struct object *o = k->container;
        free(k);
        object_unhold(c, o);
    }
}

/* ---- the end of a proxy ---- */

static bool is_listed(const struct raylet_core *c, const struct proxy *x)
{
    return peer_is_up(x->owner->peer, SIDE_OUT) &&
           (x->session == x->owner->session || (c->rules_off & RULE_LIST_AGAIN));
}

static void say_drop(struct raylet_core *c, const struct proxy *x)
{
    struct foreign_peer *fp = x->owner;

    if (!is_listed(c, x)) {
        fp->list_due = true; /* by leaving it out of the next session's list */
    } else {
        if (fp->drop_count == fp->drop_room) {
            fp->drop_room = fp->drop_room == 0 ? 64 : 2 * fp->drop_room;
            fp->drops = xrealloc(fp->drops, fp->drop_room * sizeof *fp->drops);
        }
        fp->drops[fp->drop_count++] = core_object_id(c, &x->object);
    }
    foreign_busy(c, fp);
}

/* From now on it has no owner: what it covers is covered no more. */
static void part_from_owner(struct raylet_core *c, struct proxy *x)
{
    list_unlink(&x->link);
    list_unlink(&x->want_link);
    x->owner->peer->borrowed--;
    x->owner = NULL;
    x->state = PROXY_GONE;
    answered(c, x);
}

static bool foreign_let_go(struct raylet_core *c, struct object *o)
{
    struct contents *k = contents_find(c, o);
    struct proxy *x = proxy_of(o);

    if (k != NULL) {
        if (k->covers && keep_container(c, o, k)) {
            return true;
        }
        contents_detach(c, k);
    }
    if (x == NULL) {
        return false;
    }
    object_end_gets(c, o, "this object was released while it was waited for");
    if (x->owner != NULL) {
        if (x->state == PROXY_ADDING || x->state == PROXY_ADDED) {
            say_drop(c, x);
        }
        part_from_owner(c, x);
    }
    return false;
}

static void foreign_put_back(struct raylet_core *c, struct object *o)
{
    slab_free(&c->foreign->proxies, container_of(o, struct proxy, object));
}

/* Its owner has it no more: released, or (lost) the owner itself is gone. */
static void lose(struct raylet_core *c, struct proxy *x, bool lost)
{
    object_hold(&x->object); /* not freed under us */
    part_from_owner(c, x);
    contents_uncover(c, &x->object);
    if (!lost) {
        settle(c, x, CODE_NOT_FOUND, "this object was released where it was made");
    } else if (!(c->rules_off & RULE_OWNER_LOST)) {
        settle_lost(c, x);
    }
    object_unhold(c, &x->object);
}

/* ---- waits ---- */

static void foreign_want(struct raylet_core *c, struct object *o)
{
    struct proxy *x = proxy_of(o);

    if (x->wants || x->owner == NULL || !waits_for_owner(x)) {
        return;
    }
    x->wants = true;
    list_append(&x->owner->want_queue, &x->want_link);
    foreign_busy(c, x->owner);
    watch_silence(c, x->owner);
}

void foreign_end_waits(struct raylet_core *c, struct object *first, struct object_error *e)
{
    struct object **todo = NULL;
    size_t count = 0, room = 0;

    for (struct object *o = first; o != NULL; o = count > 0 ? todo[--count] : NULL) {
        struct watcher *aliases = NULL, *w;
        while ((w = o->watchers) != NULL) {
            if (w->kind == WATCH_NEED) {
                c->foreign->fail_task(c, w->task, e); /* which takes the watcher away */
                continue;
            }
            if (w->kind == WATCH_ALIAS) {
                if (count == room) {
                    room = room == 0 ? 16 : 2 * room;
                    todo = xrealloc(todo, room * sizeof(struct object *));
                }
                todo[count++] = w->object;
                object_move_watcher(w, &aliases);
                continue;
            }
            if (w->kind == WATCH_PEER) {
                holders_end_wait(c, w, o, e);
            } else {
                object_answer_error(c, w->client, core_object_id(c, o), &e->failure);
            }
            object_unneed(c, w);
        }
        while ((w = aliases) != NULL) {
            object_move_watcher(w, &o->watchers);
        }
    }
    free(todo);
}

static void end_wait(struct raylet_core *c, struct proxy *x, struct object_error *e)
{
    list_unlink(&x->want_link);
    x->wants = false;
    object_hold(&x->object);
    foreign_end_waits(c, &x->object, e);
    object_unhold(c, &x->object);
}

void foreign_timer(struct raylet_core *c, struct core_timer *timer)
{
    struct foreign_peer *fp = container_of(timer, struct foreign_peer, silence);
    struct object_error *e;
    struct list *at;

    if (peer_is_up(fp->peer, SIDE_OUT)) {
        return;
    }
    e = error_make(c, CODE_UNREACHABLE, "",
                   "node %u%s%s, which has it, was silent for %u s; it may come back: ask again",
                   fp->peer->number, fp->peer->name[0] == '\0' ? "" : " ", fp->peer->name,
                   (unsigned)(SILENCE_NS / NS_PER_S));
    for (uint32_t i = 0; i < WORK_STEP && (at = list_first(&fp->want_queue)) != NULL; i++) {
        end_wait(c, list_entry(at, struct proxy, want_link), e);
    }
    error_unref(e);
    LIST_FOREACH(wait, &fp->waits)
    {
        struct securing *s = list_entry(wait, struct secure_wait, at_owner)->securing;
        if (s->kind != SECURE_CONTAINER) {
            list_unlink(&s->link);
            list_append(&c->unsecured, &s->link);
        }
    }
    if (!list_is_empty(&fp->want_queue)) {
        core_timer_arm(c, &fp->silence, c->now_ns + 1);
    } else {
        watch_silence(c, fp);
    }
}

/* ---- what the owner says ---- */

static struct proxy *proxy_by(struct raylet_core *c, const struct foreign_peer *fp,
                              struct object_id id)
{
    struct object *o = id.node == fp->peer->number ? foreign_find(c, id) : NULL;
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
            x->state = PROXY_ADDED;
            answered(c, x);
        }
    }
    for (size_t i = 0; i < m->gone_count; i++) {
        struct proxy *x = proxy_by(c, fp, m->gone[i]);
        if (x != NULL) {
            lose(c, x, false);
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

    if (x == NULL || !waits_for_owner(x)) {
        return; /* it was dropped while this was under way */
    }
    if (m->value.state == VALUE_HERE) {
        list_unlink(&x->want_link);
        take_inner(c, &x->object, &m->value);
        object_settle_value(c, &x->object, m->payload);
        return;
    }
    if (failure_decode(m->payload, &f) != 0) {
        failure_set(&f, CODE_OBJECT_LOST, "its owner, node %u, told no reason", fp->peer->number);
    }
    struct object_error *e = error_new(&f);
    if (f.code == CODE_UNREACHABLE) { /* of the owner of what it follows: that may pass */
        end_wait(c, x, e);
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
    watch_silence(c, fp);
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

/* Those that are held and have no cover are queued. */
static void look_at_fresh(struct raylet_core *c)
{
    struct list *at;

    while ((at = list_first(&c->foreign->fresh)) != NULL) {
        struct proxy *x = list_entry(at, struct proxy, link);
        if (x->covers == 0) {
            proxy_queue(c, x);
        } else {
            list_unlink(at);
            list_append(&x->owner->covered, at);
        }
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
    look_at_fresh(c);
    holders_session_ends(c, fp);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        for (; left > 0 && (at = list_first(lists[i])) != NULL; left--) {
            lose(c, list_entry(at, struct proxy, link), true);
        }
    }
    look_at_fresh(c); /* what was inside those */
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
        x->state = x->state == PROXY_QUEUED ? PROXY_ADDING : x->state;
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
}

void foreign_flush(struct raylet_core *c)
{
    struct foreign *f = c->foreign;

    f->more = false;
    release_kept(c);
    f->more = contents_work(c);
    look_at_fresh(c);
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
    return c->foreign->more;
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
    static const struct far_hooks hooks = {.find = foreign_find,
                                           .want = foreign_want,
                                           .let_go = foreign_let_go,
                                           .put_back = foreign_put_back,
                                           .tell = holders_tell};
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
        ASSERT(x->object.holds > 0 && !x->object.held && x->object.far & FAR_PROXY);
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
