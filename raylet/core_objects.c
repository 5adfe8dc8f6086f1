#include "raylet/core_objects.h"

#include "common/text.h"
#include "proto/layout.h"

#include <stdio.h>

#define FOREIGN_HOLDS_MAX  1000000u
#define GETS_MAX           16777216u /* of one process at once: its credit pays no more results */
#define GET_TIMES_MAX      1024u
#define WATCHERS_LOOKED_AT 8u
#define ERROR_FRESH_REFS   2u /* no other object has it: only who made it, and the history */
#define ERROR_SHARE_COST   128u
#define ANSWER_BYTES_MAX   (32u << 10) /* of one VALUES message, unless one value is larger */

void object_init(struct raylet_core *c, struct object *o, struct client *owner, uint64_t number)
{
    o->owner = owner;
    o->number = number;
    o->watchers = NULL;
    o->task = NULL;
    o->size = 0;
    o->holds = 0;
    o->charge = 0;
    o->state = OBJECT_PENDING;
    o->held = true;
    o->following = false;
    o->far = 0;
    size_t pages = owner->objects.pages;
    numbers_set(&owner->objects, number, o);
    if (UNLIKELY(owner->objects.pages != pages) && owner->node == 0) {
        core_credit_take(c, owner, sizeof(struct numbers_page));
    }
}

struct object *object_new(struct raylet_core *c, struct client *owner, uint64_t number)
{
    struct object *o = slab_alloc(&c->object_slab);

    object_init(c, o, owner, number);
    return o;
}

struct object *object_find(struct raylet_core *c, struct object_id id)
{
    struct client *owner;

    if (UNLIKELY(id.node != c->node || id.number == 0)) {
        return id.number == 0 ? NULL : c->far->find(c, id);
    }
    owner = core_client(c, id.client);
    return owner == NULL ? NULL : numbers_get(&owner->objects, id.number);
}

const struct object *object_root(const struct object *o)
{
    return o->state == OBJECT_ALIAS ? o->alias : o;
}

struct bytes object_bytes(const struct object *root)
{
    ASSERT(root->state == OBJECT_VALUE);
    return bytes_of(root->size <= sizeof root->small ? root->small : root->data, root->size);
}

static void free_if_unheld(struct raylet_core *c, struct object *o);

static void drop_contents(struct raylet_core *c, struct object *o)
{
    if (o->state == OBJECT_VALUE && o->size > sizeof o->small) {
        free(o->data);
    } else if (o->state == OBJECT_ERROR) {
        error_unref(o->error);
    } else if (o->state == OBJECT_ALIAS) {
        if (UNLIKELY(o->alias->far & FAR_PROXY)) {
            c->far->aliased(c, o->alias, false);
        }
        object_unhold(c, o->alias); /* a root: it is no alias itself, so this ends here */
    }
}

static void unfollow(struct raylet_core *c, struct object *o);

static void free_if_unheld(struct raylet_core *c, struct object *o)
{
    if (o->held || o->holds > 0) {
        return;
    }
    if (o->state == OBJECT_PENDING && !(o->far & FAR_PROXY)) {
        if (!o->following || o->watchers != NULL) {
            return; /* who makes it, or waits for it, still knows it */
        }
        unfollow(c, o);
    }
    if (UNLIKELY(o->far != 0) && c->far->let_go(c, o)) {
        return;
    }
    ASSERT(o->watchers == NULL);
    drop_contents(c, o);
    size_t pages = o->owner->objects.pages;
    numbers_remove(&o->owner->objects, o->number);
    bool page = o->owner->node == 0 && o->owner->objects.pages != pages;
    core_credit_back(c, o->owner, o->charge + (page ? sizeof(struct numbers_page) : 0));
    if (o->owner->state == CLIENT_GONE) {
        core_touch(c, o->owner); /* it may have been its last */
    }
    if (UNLIKELY(o->far & FAR_PROXY)) {
        c->far->put_back(c, o);
    } else {
        slab_free(&c->object_slab, o);
    }
}

void object_hold(struct object *o)
{
    o->holds++;
}

void object_unhold(struct raylet_core *c, struct object *o)
{
    ASSERT(o->holds > 0);
    o->holds--;
    free_if_unheld(c, o);
}

void object_release(struct raylet_core *c, struct object *o)
{
    o->held = false;
    free_if_unheld(c, o);
}

int object_hold_foreign(struct raylet_core *c, struct client *client, struct object *o)
{
    struct foreign_hold *h;

    HASH_FIND_PTR(client->holds, &o, h);
    if (h != NULL) {
        return 0;
    }
    if (HASH_COUNT(client->holds) >= FOREIGN_HOLDS_MAX) {
        return -ENOSPC;
    }
    h = xcalloc(1, sizeof *h);
    h->object = o;
    HASH_ADD_PTR(client->holds, object, h);
    core_credit_take(c, client, LOCAL_HOLD_COST);
    object_hold(o);
    return 0;
}

void object_release_foreign(struct raylet_core *c, struct client *client, struct object *o)
{
    struct foreign_hold *h;

    HASH_FIND_PTR(client->holds, &o, h);
    if (h != NULL) {
        HASH_DEL(client->holds, h);
        free(h);
        core_credit_back(c, client, LOCAL_HOLD_COST);
        object_unhold(c, o);
    }
}

/* Objects of one process, gathered before anything is done to them: freeing one may free another,
 * and the table must not change while it is walked. */
struct gathering {
    uint64_t *numbers;
    uint32_t count, most;
    bool following; /* those that follow another one; else those that are held */
};

static bool gather(uint64_t number, void *value, void *arg)
{
    struct gathering *g = arg;
    const struct object *o = value;

    if (g->following ? o->following : o->held) {
        g->numbers[g->count++] = number;
    }
    return g->count < g->most;
}

static void gather_all(struct raylet_core *c, struct client *client, uint32_t most,
                       struct gathering *g)
{
    g->most = (uint32_t)MIN_OF(most, client->objects.used + 1);
    g->numbers = arena_alloc(&c->arena, g->most * sizeof *g->numbers);
    numbers_each(&client->objects, gather, g);
}

bool object_release_all(struct raylet_core *c, struct client *client, uint32_t most)
{
    struct gathering g = {.following = false};
    struct foreign_hold *h, *next;

    if (client->holds != NULL && client->state == CLIENT_GONE) {
        core_touch(c, client); /* these may be all that it is kept for */
    }
    HASH_ITER(hh, client->holds, h, next)
    {
        object_release_foreign(c, client, h->object);
    }
    gather_all(c, client, most, &g);
    for (uint32_t i = 0; i < g.count; i++) {
        struct object *o = numbers_get(&client->objects, g.numbers[i]);
        if (o != NULL) {
            object_release(c, o);
        }
    }
    return g.count == g.most;
}

bool object_end_following(struct raylet_core *c, struct client *client, struct object_error *error,
                          uint32_t most)
{
    struct gathering g = {.following = true};

    gather_all(c, client, most, &g);
    for (uint32_t i = 0; i < g.count; i++) {
        struct object *o = numbers_get(&client->objects, g.numbers[i]);
        if (o != NULL && o->following) {
            object_settle_error(c, o, error);
        }
    }
    return g.count == g.most;
}

/* ---- answers ---- */

void object_send_answers(struct raylet_core *c, struct client *client)
{
    struct local_msg *m;

    if (client->answer_count == 0) {
        return;
    }
    m = core_send(c, client->number, LOCAL_VALUES);
    m->values.values =
        arena_copy(&c->arena, client->answers, client->answer_count * sizeof *client->answers);
    m->values.value_count = client->answer_count;
    m->payload =
        bytes_of(arena_copy(&c->arena, client->answer_bytes.data, client->answer_bytes.size),
                 client->answer_bytes.size);
    client->answer_count = 0;
    buffer_clear(&client->answer_bytes);
}

static struct local_value *new_answer(struct raylet_core *c, struct client *client,
                                      struct object_id id, enum value_state state)
{
    if (client->answer_count == LOCAL_IDS_MAX || client->answer_bytes.size > ANSWER_BYTES_MAX) {
        object_send_answers(c, client);
    }
    if (client->answer_count == client->answer_room) {
        client->answer_room = client->answer_room == 0 ? 16 : 2 * client->answer_room;
        client->answers = xrealloc(client->answers, client->answer_room * sizeof *client->answers);
    }
    core_touch(c, client);
    struct local_value *v = &client->answers[client->answer_count++];
    *v = (struct local_value){.id = id, .state = state};
    return v;
}

static void answer_failure(struct raylet_core *c, struct client *client, struct object_id id,
                           const struct failure *f)
{
    struct local_value *v = new_answer(c, client, id, VALUE_ERROR);

    v->size = (uint32_t)failure_size(f);
    failure_write(f, layout_extend_entry(&client->answer_bytes, v->size));
}

static void answer(struct raylet_core *c, struct client *client, const struct object *o,
                   uint32_t flags)
{
    const struct object *root = object_root(o);
    struct object_id id = core_object_id(c, o);

    if (root->state == OBJECT_ERROR) {
        answer_failure(c, client, id, &root->error->failure);
        return;
    }
    uint32_t most = client->slow ? sizeof root->small : VALUES_INLINE_MAX;
    bool here = root->size <= most || (flags & GET_WHOLE);
    struct local_value *v = new_answer(c, client, id, here ? VALUE_HERE : VALUE_READY);
    v->size = root->size;
    if (here) {
        layout_append_entry(&client->answer_bytes, object_bytes(root));
    }
}

void object_answer_missing(struct raylet_core *c, struct client *client, struct object_id id,
                           const char *why)
{
    struct failure f;

    failure_set(&f, CODE_NOT_FOUND, "%s", why);
    text_shorten(f.node, sizeof f.node, c->node_name);
    answer_failure(c, client, id, &f);
}

void object_answer_error(struct raylet_core *c, uint32_t number, struct object_id id,
                         const struct failure *f)
{
    struct client *client = core_client(c, number);

    if (client != NULL && client->state == CLIENT_LIVE) {
        answer_failure(c, client, id, f);
    }
}

/* ---- settling ---- */

static struct watcher *add_watcher(struct raylet_core *c, struct object *o, enum watcher_kind kind)
{
    struct watcher *w = slab_alloc(&c->watcher_slab);

    w->kind = kind;
    w->flags = 0;
    w->next = o->watchers; /* the newest first; turned round when it settles */
    w->at = &o->watchers;
    if (w->next != NULL) {
        w->next->at = &w->next;
    }
    o->watchers = w;
    return w;
}

/* One like this among the newest, or NULL: who asks again and again waits but once. Of the same
 * object many others may wait, so not all are looked at; what is missed so is bounded elsewhere. */
static struct watcher *waits_already(const struct object *o, enum watcher_kind kind,
                                     uint32_t client, uint32_t flags)
{
    struct watcher *w = o->watchers;

    for (uint32_t i = 0; i < WATCHERS_LOOKED_AT && w != NULL; i++, w = w->next) {
        if (w->kind == kind && w->client == client && w->flags == flags) {
            return w;
        }
    }
    return NULL;
}

/* Somebody waits for it: if that is made elsewhere, its owner is asked. */
static void want(struct raylet_core *c, struct object *o)
{
    for (uint32_t i = 0; UNLIKELY(o->following) && i < WORK_STEP; i++) {
        o = o->alias;
    }
    if (UNLIKELY(o->far & FAR_PROXY)) {
        c->far->want(c, o);
    }
}

void object_ask(struct raylet_core *c, struct object *o, struct client *client, uint32_t flags)
{
    if (object_is_settled(o)) {
        answer(c, client, o, flags);
        if (UNLIKELY(o->far & FAR_PROXY)) {
            c->far->used(c, o);
        }
        return;
    }
    struct watcher *w = waits_already(o, WATCH_GET, client->number, flags);
    if (client->gets >= GETS_MAX || (w != NULL && w->times >= GET_TIMES_MAX)) {
        struct failure f;
        failure_set(&f, CODE_FULL,
                    w != NULL ? "this process asked for this value %u times and waits, as often as "
                                "it may"
                              : "this process waits for %u values already, as many as it may",
                    w != NULL ? w->times : client->gets);
        text_shorten(f.node, sizeof f.node, c->node_name);
        answer_failure(c, client, core_object_id(c, o), &f);
        return;
    }
    if (w != NULL) {
        w->times++;
        return;
    }
    want(c, o);
    client->gets++;
    w = add_watcher(c, o, WATCH_GET);
    w->flags = flags;
    w->client = client->number;
    w->times = 1;
}

struct watcher *object_need(struct raylet_core *c, struct object *o, struct task *task,
                            uint32_t index)
{
    struct watcher *w = add_watcher(c, o, WATCH_NEED);

    w->task = task;
    w->flags = index;
    want(c, o);
    return w;
}

void object_watch_for(struct raylet_core *c, struct object *o, uint32_t node, uint32_t session)
{
    if (waits_already(o, WATCH_PEER, node, session) != NULL) {
        return;
    }
    struct watcher *w = add_watcher(c, o, WATCH_PEER);
    w->client = node;
    w->flags = session;
    want(c, o);
}

/* Who waits so waits no more. NULL: it is gone. */
static struct client *got(struct raylet_core *c, const struct watcher *w)
{
    struct client *client = core_client(c, w->client);

    if (client != NULL) {
        ASSERT(client->gets > 0);
        client->gets--;
    }
    return client;
}

static void remove_watcher(struct raylet_core *c, struct watcher *w)
{
    *w->at = w->next;
    if (w->next != NULL) {
        w->next->at = w->at;
    }
    if (w->kind == WATCH_GET) {
        (void)got(c, w);
    }
    slab_free(&c->watcher_slab, w);
}

void object_unneed(struct raylet_core *c, struct watcher *w)
{
    remove_watcher(c, w);
}

void object_move_watcher(struct watcher *w, struct watcher **to)
{
    *w->at = w->next;
    if (w->next != NULL) {
        w->next->at = w->at;
    }
    w->next = *to;
    w->at = to;
    if (w->next != NULL) {
        w->next->at = &w->next;
    }
    *to = w;
}

bool object_has_gets(struct raylet_core *c, const struct object *o)
{
    for (const struct watcher *w = o->watchers; w != NULL; w = w->next) {
        const struct client *client = core_client(c, w->client);
        ASSERT(w->kind == WATCH_GET);
        if (client != NULL && client->state == CLIENT_LIVE) {
            return true;
        }
    }
    return false;
}

void object_end_gets(struct raylet_core *c, struct object *o)
{
    while (o->watchers != NULL) {
        remove_watcher(c, o->watchers);
    }
}

/* What follows a proxy holds it until then. Anything else may be gone before what follows it. */
static void hold_followed(struct object *o, struct object *target)
{
    if (UNLIKELY(target->far & FAR_PROXY)) {
        o->far |= FAR_HOLDS;
        object_hold(target);
    }
}

static void unhold_followed(struct raylet_core *c, struct object *o, struct object *target)
{
    if (UNLIKELY(o->far & FAR_HOLDS)) {
        o->far &= (uint8_t)~FAR_HOLDS;
        object_unhold(c, target);
    }
}

static void unfollow(struct raylet_core *c, struct object *o)
{
    struct object *target = o->alias;

    for (struct watcher *w = o->alias->watchers; w != NULL; w = w->next) {
        if (w->kind == WATCH_ALIAS && w->object == o) {
            remove_watcher(c, w);
            break;
        }
    }
    o->following = false;
    unhold_followed(c, o, target);
}

static struct watcher *turn_round(struct watcher *w)
{
    struct watcher *first = NULL;

    while (w != NULL) {
        struct watcher *next = w->next;
        w->next = first;
        first = w;
        w = next;
    }
    return first;
}

/* Tells who watches a settled object. Aliases are put on `follow` (a list, so that long chains need
 * no stack). */
static void tell(struct raylet_core *c, struct object *o, struct watcher **follow)
{
    struct watcher *w = turn_round(o->watchers);

    o->watchers = NULL;
    while (w != NULL) {
        struct watcher *next = w->next;
        struct client *client;
        switch (w->kind) {
        case WATCH_GET:
            client = got(c, w);
            for (; client != NULL && client->state == CLIENT_LIVE && w->times > 0; w->times--) {
                answer(c, client, o, w->flags);
            }
            slab_free(&c->watcher_slab, w);
            break;
        case WATCH_NEED:
            ASSERT(w->task->needs_missing > 0);
            w->task->needs_missing--;
            w->task->extra->needs[w->flags].watcher = NULL;
            if (w->task->needs_missing == 0 || object_root(o)->state == OBJECT_ERROR) {
                list_unlink(&w->task->link);
                list_append(&c->woken, &w->task->link);
            }
            slab_free(&c->watcher_slab, w);
            break;
        case WATCH_PEER:
            c->far->tell(c, w, o);
            slab_free(&c->watcher_slab, w);
            break;
        default:
            w->next = *follow;
            *follow = w;
        }
        w = next;
    }
}

/* What an object in error costs: itself, if its task's charge did not leave that to it, and its
 * error, which others may share. */
static void charge_error(struct raylet_core *c, struct object *o, const struct object_error *error)
{
    uint32_t cost = o->charge == 0 ? LOCAL_OBJECT_COST : 0;

    if (o->owner->node == 0) {
        cost += error->refs <= ERROR_FRESH_REFS ? (uint32_t)sizeof *error : ERROR_SHARE_COST;
        o->charge += cost;
        core_credit_take(c, o->owner, cost);
    }
}

/* A value of another node is charged as what it is here: this object's. */
static void become_foreign(struct raylet_core *c, struct object *o, struct object *root)
{
    c->far->aliased(c, root, true);
    o->charge += root->size;
    core_credit_take(c, o->owner, root->size);
}

static void become(struct raylet_core *c, struct object *o, struct object *root)
{
    o->following = false;
    if (root->state == OBJECT_ERROR) {
        o->state = OBJECT_ERROR;
        charge_error(c, o, root->error);
        o->error = error_ref(root->error);
    } else if (root->size <= sizeof root->small && !(root->far & FAR_INNER)) {
        o->state = OBJECT_VALUE;
        o->size = root->size;
        memcpy(o->small, root->small, sizeof o->small);
    } else {
        o->state = OBJECT_ALIAS;
        o->alias = root;
        root->holds++;
        if (UNLIKELY(root->far & FAR_PROXY)) {
            become_foreign(c, o, root);
        }
    }
}

static void settled(struct raylet_core *c, struct object *o)
{
    struct object *root = o->state == OBJECT_ALIAS ? o->alias : o;
    struct watcher *follow = NULL;

    root->holds++; /* not freed while we are at it */
    tell(c, o, &follow);
    if (o != root) {
        free_if_unheld(c, o);
    }
    while (follow != NULL) {
        struct watcher *w = follow;
        struct object *alias = w->object, *target = alias->alias;
        follow = w->next;
        slab_free(&c->watcher_slab, w);
        become(c, alias, root);
        tell(c, alias, &follow);
        unhold_followed(c, alias, target);
        free_if_unheld(c, alias);
    }
    object_unhold(c, root);
}

void object_settle_value(struct raylet_core *c, struct object *o, struct bytes value)
{
    ASSERT(o->state == OBJECT_PENDING && value.size <= VALUE_MAX + VALUE_HEADER_ROOM);
    o->state = OBJECT_VALUE;
    o->size = (uint32_t)value.size;
    if (value.size <= sizeof o->small) {
        memcpy(o->small, value.size == 0 ? "" : value.data, value.size);
    } else {
        o->data = xmalloc(value.size);
        memcpy(o->data, value.data, value.size);
    }
    if (!o->held && o->holds == 0 && o->watchers == NULL) {
        free_if_unheld(c, o);
        return;
    }
    if (o->watchers != NULL) {
        settled(c, o);
    }
}

void object_settle_error(struct raylet_core *c, struct object *o, struct object_error *error)
{
    ASSERT(o->state == OBJECT_PENDING);
    if (o->following) {
        unfollow(c, o);
    }
    o->state = OBJECT_ERROR;
    charge_error(c, o, error);
    o->error = error_ref(error);
    settled(c, o);
}

void object_follow(struct raylet_core *c, struct object *o, struct object *target)
{
    ASSERT(o->state == OBJECT_PENDING);
    for (const struct object *at = target; at != NULL; at = at->following ? at->alias : NULL) {
        if (at == o) {
            struct object_error *e =
                error_make(c, CODE_CYCLE, "", "this result was returned as itself");
            object_settle_error(c, o, e);
            error_unref(e);
            return;
        }
    }
    if (object_is_settled(target)) {
        become(c, o, target->state == OBJECT_ALIAS ? target->alias : target);
        settled(c, o);
        return;
    }
    o->following = true;
    o->alias = target;
    add_watcher(c, target, WATCH_ALIAS)->object = o;
    hold_followed(o, target);
    want(c, target);
}
