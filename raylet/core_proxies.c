#include "raylet/core_proxies.h"

#include "raylet/core_cache.h"
#include "raylet/core_foreign_state.h"
#include "raylet/core_holders.h"
#include "raylet/core_objects.h"
#include "raylet/core_peers.h"

#include <stddef.h>
#include <stdio.h>

#define SILENCE_NS (PROXY_SILENCE_S * NS_PER_S)

struct keeping { /* a container that must stay until what is inside is added */
    struct securing securing;
    struct object *container; /* held */
};

void proxy_enter(struct proxy *x, uint8_t state)
{
    static const uint8_t allowed[] = {
        [0] = 1u << PROXY_COVERED | 1u << PROXY_GONE,
        [PROXY_COVERED] = 1u << PROXY_QUEUED | 1u << PROXY_GONE,
        [PROXY_QUEUED] = 1u << PROXY_ADDING | 1u << PROXY_GONE,
        [PROXY_ADDING] = 1u << PROXY_ADDED | 1u << PROXY_GONE,
        [PROXY_ADDED] = 1u << PROXY_GONE,
        [PROXY_GONE] = 0,
    };

    ASSERT(allowed[x->state] >> state & 1);
    x->state = state;
}

struct foreign_peer *foreign_part(struct raylet_core *c, struct peer *p)
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

uint64_t foreign_count(const struct raylet_core *c)
{
    return c->foreign->proxies.used;
}

/* ---- who made it ---- */

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

struct object *proxy_find(struct raylet_core *c, struct object_id id)
{
    struct client *owner = find_client(c, id);

    return owner == NULL ? NULL : numbers_get(&owner->objects, id.number);
}

/* ---- proxies ---- */

bool proxy_is_pending(const struct proxy *x)
{
    return x->object.state == OBJECT_PENDING;
}

static void settle(struct raylet_core *c, struct proxy *x, int code, const char *message)
{
    if (proxy_is_pending(x)) {
        struct object_error *e = error_make(c, code, "", "%s", message);
        object_settle_error(c, &x->object, e);
        error_unref(e);
    }
}

static void settle_lost(struct raylet_core *c, struct proxy *x)
{
    char text[PEER_DESCRIBED_SIZE + 64], node[PEER_DESCRIBED_SIZE];

    snprintf(text, sizeof text, "%s, which made it and kept it, is gone",
             peer_describe(c, x->object.owner->node, node));
    settle(c, x, CODE_OWNER_LOST, text);
}

static struct proxy *proxy_new(struct raylet_core *c, struct client *owner, struct object_id id)
{
    struct proxy *x = slab_alloc(&c->foreign->proxies);
    struct peer *p = peer_of_owner(c, id.node);

    memset(x, 0, sizeof *x);
    object_init(c, &x->object, owner, id.number);
    x->object.held = false;
    x->object.far = FAR_PROXY;
    list_init(&x->link);
    list_init(&x->want_link);
    list_init(&x->waits);
    list_init(&x->cache_link);
    if (p == NULL) {
        proxy_enter(x, PROXY_GONE);
        return x;
    }
    proxy_enter(x, PROXY_COVERED);
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
    proxy_enter(x, PROXY_QUEUED);
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
    if (o->holds + (o->watchers != NULL) > x->covers ||
        depth == 0) { /* too deep to look: asking costs little */
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
void proxy_watch_silence(struct raylet_core *c, struct foreign_peer *fp)
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
    proxy_watch_silence(c, x->owner);
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

void proxy_answered(struct raylet_core *c, struct proxy *x)
{
    struct list *at;

    while ((at = list_first(&x->waits)) != NULL) {
        struct secure_wait *w = list_entry(at, struct secure_wait, at_proxy);
        struct securing *s = w->securing;
        wait_free(w);
        if (--s->missing == 0) {
            list_unlink(&s->link);
            list_append(s->kind == SECURING_CONTAINER ? &c->foreign->kept : &c->secured, &s->link);
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
            securing_init(&keeping->securing, SECURING_CONTAINER);
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

void proxies_release_kept(struct raylet_core *c)
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
    proxy_enter(x, PROXY_GONE);
    proxy_answered(c, x);
}

bool proxy_let_go(struct raylet_core *c, struct object *o)
{
    struct contents *k = contents_find(c, o);
    struct proxy *x = proxy_of(o);

    if (x != NULL && object_has_gets(c, o)) {
        return true; /* who asked hears of it, whatever it released since */
    }
    if (k != NULL) {
        if (k->covers && keep_container(c, o, k)) {
            return true;
        }
        contents_detach(c, k);
    }
    if (x == NULL) {
        return false;
    }
    object_end_gets(c, o);
    if (x->owner != NULL) {
        if (x->state == PROXY_ADDING || x->state == PROXY_ADDED) {
            say_drop(c, x);
        }
        part_from_owner(c, x);
    }
    return false;
}

struct unheld {
    struct object **objects;
    uint32_t count, most;
};

static bool gather_unheld(uint64_t number, void *value, void *arg)
{
    struct unheld *u = arg;
    struct object *o = value;

    if (o->holds == 0) {
        u->objects[u->count++] = o;
    }
    return u->count < u->most;
}

void proxies_of_job_end(struct raylet_core *c, const struct job *job, uint32_t most)
{
    struct unheld u = {.most = most};

    for (struct client *k = c->foreign->clients; k != NULL && u.count < most; k = k->hh.next) {
        if (k->job == job) {
            if (u.objects == NULL) {
                u.objects = arena_alloc(&c->arena, most * sizeof(struct object *));
            }
            numbers_each(&k->objects, gather_unheld, &u);
        }
    }
    for (uint32_t i = 0; i < u.count; i++) {
        object_hold(u.objects[i]);
        object_unhold(c, u.objects[i]);
    }
}

void proxy_put_back(struct raylet_core *c, struct object *o)
{
    struct proxy *x = proxy_of(o);

    cache_forget(c, x);
    slab_free(&c->foreign->proxies, x);
}

/* Its owner has it no more: released, or (lost) the owner itself is gone. */
void proxy_lose(struct raylet_core *c, struct proxy *x, bool lost)
{
    object_hold(&x->object); /* not freed under us */
    part_from_owner(c, x);
    cache_orphaned(c, x, lost);
    contents_uncover(c, &x->object);
    if (!lost) {
        settle(c, x, CODE_NOT_FOUND, "this object was released where it was made");
    } else if (!(c->rules_off & RULE_OWNER_LOST)) {
        settle_lost(c, x);
    }
    object_unhold(c, &x->object);
}

/* ---- waits ---- */

void proxy_want(struct raylet_core *c, struct object *o)
{
    struct proxy *x = proxy_of(o);

    if (x->wants || x->owner == NULL || !proxy_is_pending(x)) {
        return;
    }
    x->wants = true;
    list_append(&x->owner->want_queue, &x->want_link);
    foreign_busy(c, x->owner);
    proxy_watch_silence(c, x->owner);
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
                object_hold(w->object); /* until it was looked at */
                object_move_watcher(w, &aliases);
                continue;
            }
            if (w->kind == WATCH_PEER) {
                holders_end_wait(c, w, o, e);
            } else {
                for (; w->times > 0; w->times--) {
                    object_answer_error(c, w->client, core_object_id(c, o), &e->failure);
                }
            }
            object_unneed(c, w);
        }
        while ((w = aliases) != NULL) {
            object_move_watcher(w, &o->watchers);
        }
        if (o != first) {
            object_unhold(c, o);
        }
    }
    free(todo);
}

void proxy_end_wait(struct raylet_core *c, struct proxy *x, struct object_error *e)
{
    list_unlink(&x->want_link);
    x->wants = false;
    object_hold(&x->object);
    foreign_end_waits(c, &x->object, e);
    object_unhold(c, &x->object);
}

/* Those that are held and have no cover are queued. */
void proxies_look_at_fresh(struct raylet_core *c)
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
