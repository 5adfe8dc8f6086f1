#include "raylet/core_classes.h"

#include "raylet/core_lanes.h"
#include "raylet/core_wishes.h"

#include <stdio.h>

#define COURTESY_BEHIND_NS (200 * NS_PER_US) /* so much less than another it has used */
#define COURTESY_NS        (5 * NS_PER_MS)

/* What it costs beside its texts: itself, and its class, wish, shape and pool. */
#define DECL_COST         1536u
#define DECL_REFUSED_COST 1024u
#define JOB_NAMES_MAX     1024u /* that nobody else had named */

/* ---- declarations ---- */

static void decl_free(struct raylet_core *c, struct client *client, struct class_decl *d)
{
    if (d->last != NULL) {
        class_unuse(c, d->last);
    }
    if (d->wish != NULL) {
        wish_unuse(c, d->wish);
    }
    ASSERT(client->job->new_names >= d->new_names);
    client->job->new_names -= d->new_names;
    core_credit_back(c, client, d->charge);
    error_unref(d->refused);
    free(d->function);
    free(d->kinds);
    free(d);
}

/* Each kind in it is used once more; `ret_new` counts those that nobody had named before. -EINVAL:
 * they cannot be read; -E2BIG: too many kinds; -ENOSPC: too many names. */
static int read_amounts(struct raylet_core *c, const struct local_amount *amounts, size_t count,
                        struct resource_set *ret, uint32_t *ret_new)
{
    memset(ret, 0, sizeof *ret); /* it becomes the key of a hash: no unset bytes */
    *ret_new = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t kind, used = c->resources.used;
        int rc = amounts[i].units < 0 || !resource_name_ok(amounts[i].name) ? -EINVAL : 0;
        if (rc == 0 && amounts[i].units == 0) {
            continue;
        }
        if (rc == 0) {
            rc = resource_names_intern(&c->resources, amounts[i].name, &kind);
        }
        if (rc == 0) {
            bool again = resource_set_has(ret, kind);
            if (resource_set_put(ret, kind, amounts[i].units) != 0) {
                rc = -E2BIG;
            }
            if (again || rc != 0) {
                resource_names_unuse(&c->resources, kind);
            }
        }
        if (rc != 0) {
            resource_set_unuse(&c->resources, ret);
            return rc;
        }
        *ret_new += c->resources.used > used;
    }
    return 0;
}

static struct object_error *too_many_names(struct raylet_core *c, const struct local_class *m,
                                           const struct job *job, int rc)
{
    if (rc == -E2BIG) {
        return error_make(c, CODE_IMPOSSIBLE, m->function,
                          "it asks for more than %u kinds of resources", RESOURCES_MAX);
    }
    if (rc == -ENOSPC) {
        return error_make(
            c, CODE_FULL, m->function,
            "it asks for a resource of a new name, and node %s knows %u names in use, "
            "as many as it can: use fewer names, or wait until programs have ended",
            c->node_name, RESOURCE_NAMES_MAX);
    }
    return error_make(c, CODE_FULL, m->function,
                      "this program has named %u resources that nobody has, as many as it may: use "
                      "fewer names",
                      job->new_names);
}

static uint64_t decl_cost(const struct local_class *m)
{
    return DECL_COST + 4 * strlen(m->function) + 3 * m->kinds.size +
           3 * (strlen(m->node) + strlen(m->labels));
}

static void decl_fill(struct raylet_core *c, struct class_decl *d, const struct local_class *m,
                      const struct resource_set *asked)
{
    struct shape *shape = shape_use(c, asked);

    d->kinds_size = m->kinds.size;
    d->kinds = xmalloc(m->kinds.size + 1);
    memcpy(d->kinds, m->kinds.size > 0 ? m->kinds.data : "", m->kinds.size);
    d->wish = wish_use(c, shape, m->strategy, m->soft, m->node, m->labels);
    shape_unuse(c, shape);
    d->priority = m->priority;
}

/* Why its tasks are refused: a new reference, or NULL, and what it asks is in `ret_asked`. */
static struct object_error *decl_refusal(struct raylet_core *c, struct client *client,
                                         const struct local_class *m, struct class_decl *d,
                                         struct resource_set *ret_asked, int *ret_rc)
{
    struct object_error *e = core_credit_error(c, client, m->function);

    *ret_rc = 0;
    if (e != NULL) {
        return e;
    }
    *ret_rc = read_amounts(c, m->amounts, m->amount_count, ret_asked, &d->new_names);
    if (*ret_rc == 0 &&
        (d->new_names == 0 || client->job->new_names + d->new_names <= JOB_NAMES_MAX)) {
        client->job->new_names += d->new_names;
        return NULL;
    }
    if (*ret_rc == 0) {
        resource_set_unuse(&c->resources, ret_asked);
    }
    d->new_names = 0;
    return too_many_names(c, m, client->job, *ret_rc);
}

/* One that is refused counts, too: what its tasks are told is known then. */
void class_declare(struct raylet_core *c, struct client *client, const struct local_class *m)
{
    struct resource_set asked;
    int rc = 0;

    if (m->number != client->decl_count + 1 || m->strategy > SCHED_NODE_SPECIFIC) {
        core_protocol_error(c, client, "class %u declared out of turn", m->number);
        return;
    }
    if (core_credit_is_beyond(c, client)) {
        return;
    }
    struct class_decl *d = xcalloc(1, sizeof *d);
    d->refused = decl_refusal(c, client, m, d, &asked, &rc);
    if (rc == -EINVAL) {
        core_protocol_error(c, client, "class %u asks for resources that cannot be read",
                            m->number);
        error_unref(d->refused);
        free(d);
        return;
    }
    d->function = xstrdup(m->function);
    if (d->refused == NULL) {
        decl_fill(c, d, m, &asked);
        resource_set_unuse(&c->resources, &asked);
    }
    d->charge = d->refused == NULL ? decl_cost(m) : DECL_REFUSED_COST;
    core_credit_take(c, client, d->charge);
    if ((client->decl_count & (client->decl_count + 1)) == 0 || client->decl_count == 0) {
        client->decls =
            xrealloc(client->decls, 2 * (client->decl_count + 2) * sizeof(struct class_decl *));
    }
    client->decls[++client->decl_count] = d;
}

void class_forget_decls(struct raylet_core *c, struct client *client)
{
    for (uint32_t i = 1; i <= client->decl_count; i++) {
        decl_free(c, client, client->decls[i]);
    }
    free(client->decls);
    client->decls = NULL;
    client->decl_count = 0;
}

/* ---- pools and instances ---- */

static struct pool *pool_use(struct job *job, struct shape *shape)
{
    struct pool *p;

    HASH_FIND_PTR(job->pools, &shape, p);
    if (p == NULL) {
        p = xcalloc(1, sizeof *p);
        p->job = job;
        p->shape = shape;
        shape->refs++;
        list_init(&p->leased);
        HASH_ADD_PTR(job->pools, shape, p);
    }
    p->classes++;
    return p;
}

void pool_unuse(struct raylet_core *c, struct pool *p)
{
    if (--p->classes == 0) {
        ASSERT(list_is_empty(&p->leased));
        HASH_DEL(p->job->pools, p);
        shape_unuse(c, p->shape);
        free(p);
    }
}

struct traits { /* what makes classes of one job equal */
    const char *function;
    const uint8_t *kinds;
    size_t kinds_size;
    struct wish *wish;
    int32_t priority, own;
    uint32_t depth;
};

static size_t make_key(const struct traits *t, char *key, size_t room)
{
    int n = snprintf(key, room, "%s|%p|%d|%d|%u|", t->function, (const void *)t->wish, t->priority,
                     t->own, t->depth);
    ASSERT(n > 0 && (size_t)n < room);
    size_t more = MIN_OF(t->kinds_size, room - (size_t)n);
    memcpy(key + n, t->kinds, more);
    return (size_t)n + more;
}

static struct class_ *class_new(struct raylet_core *c, struct job *job, struct wish *wish,
                                const char *key, size_t key_size)
{
    struct class_ *k = xcalloc(1, sizeof *k);

    k->job = job;
    k->pool = pool_use(job, wish->shape);
    k->wish = wish;
    wish_ref(wish);
    k->number = ++c->next_class;
    k->key = xmalloc(key_size);
    memcpy(k->key, key, key_size);
    k->key_size = key_size;
    list_init(&k->queue);
    list_init(&k->fresh);
    list_init(&k->fresh_link);
    list_init(&k->lanes);
    list_init(&k->run_link);
    HASH_ADD_KEYPTR(hh, job->classes, k->key, k->key_size, k);
    return k;
}

static void put_function(struct raylet_core *c, struct class_ *k, const char *function,
                         const uint8_t *kinds, size_t kinds_size)
{
    k->shown = core_intern(c, function);
    k->function = xstrdup(function);
    k->kinds = xmalloc(kinds_size + 1);
    memcpy(k->kinds, kinds_size == 0 ? (const uint8_t *)"" : kinds, kinds_size);
    k->kinds_size = kinds_size;
}

/* No new user. */
static struct class_ *find_or_make(struct raylet_core *c, struct job *job, const struct traits *t)
{
    char key[8192];
    size_t size = make_key(t, key, sizeof key);
    struct class_ *k;

    HASH_FIND(hh, job->classes, key, size, k);
    if (k == NULL) {
        k = class_new(c, job, t->wish, key, size);
        put_function(c, k, t->function, t->kinds, t->kinds_size);
        k->priority = t->priority;
        k->own = t->own;
        k->depth = t->depth;
    }
    return k;
}

struct class_ *class_use_at(struct raylet_core *c, const struct class_ *like, int32_t priority)
{
    const struct traits t = {like->function, like->kinds, like->kinds_size, like->wish,
                             priority,       like->own,   like->depth};
    struct class_ *k = find_or_make(c, like->job, &t);

    ASSERT(!like->of_others);
    if (k->users++ == 0) {
        k->duration_ns = like->duration_ns;
    }
    return k;
}

struct class_ *class_use(struct raylet_core *c, struct client *client, struct class_decl *d,
                         uint32_t depth)
{
    struct class_ *k = d->last;

    if (LIKELY(k != NULL && k->depth == depth)) {
        k->users++;
        return k;
    }
    const struct traits t = {d->function, d->kinds,    d->kinds_size, d->wish,
                             d->priority, d->priority, depth};
    k = find_or_make(c, client->job, &t);
    k->users += 2; /* the declaration, and the caller */
    if (d->last != NULL) {
        class_unuse(c, d->last);
    }
    d->last = k;
    d->depth = depth;
    return k;
}

/* What others ask of this node it has: so their words do not fill the registry of names. */
static bool has_all(struct raylet_core *c, const struct local_amount *amounts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        for (uint32_t k = 0; k < c->total.count && !found; k++) {
            const char *name = resource_name(&c->resources, c->total.amounts[k].kind);
            found = strcmp(name, amounts[i].name) == 0;
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

struct class_ *class_use_guest(struct raylet_core *c, struct job *job, uint32_t home,
                               const struct peer_class *m)
{
    struct resource_set asked;
    uint32_t none_new;
    char key[64];

    if (!has_all(c, m->amounts, m->amount_count) ||
        read_amounts(c, m->amounts, m->amount_count, &asked, &none_new) != 0) {
        return NULL;
    }
    struct shape *shape = shape_use(c, &asked);
    resource_set_unuse(&c->resources, &asked);
    struct wish *wish = wish_use(c, shape, SCHED_DEFAULT, false, "", "");
    /* Each session's is its own: homes take turns, as classes do. */
    int n = snprintf(key, sizeof key, "|guest|%u|%u|%llu", home, m->number,
                     (unsigned long long)++c->next_guest_class);
    struct class_ *k = class_new(c, job, wish, key, (size_t)n);
    put_function(c, k, m->function, m->kinds.data, m->kinds.size);
    k->priority = k->own = m->priority;
    k->depth = m->depth;
    k->users = 1;
    k->of_others = true;
    wish_unuse(c, wish);
    shape_unuse(c, shape);
    return k;
}

void class_unuse(struct raylet_core *c, struct class_ *k)
{
    ASSERT(k->users > 0);
    if (--k->users > 0) {
        return;
    }
    ASSERT(k->queued == 0 && k->wants == 0 && list_is_empty(&k->run_link));
    ASSERT(list_is_empty(&k->fresh) && k->guest == NULL);
    if (c->reserving == k) {
        c->reserving = NULL;
    }
    LIST_FOREACH_SAFE(at, &k->lanes)
    {
        lane_free(c, list_entry(at, struct lane, class_link));
    }
    list_unlink(&k->fresh_link);
    HASH_DEL(k->job->classes, k);
    pool_unuse(c, k->pool);
    wish_unuse(c, k->wish);
    free(k->key);
    free(k->kinds);
    free(k->function);
    free(k);
}

/* ---- levels and queues ---- */

static struct level *level_use(struct raylet_core *c, int32_t priority, uint32_t depth)
{
    struct list *after = &c->levels;

    LIST_FOREACH(at, &c->levels)
    {
        struct level *l = list_entry(at, struct level, link);
        if (l->priority == priority && l->depth == depth) {
            l->count++;
            return l;
        }
        if (l->priority < priority || (l->priority == priority && l->depth < depth)) {
            break;
        }
        after = at;
    }
    struct level *l = xcalloc(1, sizeof *l);
    l->priority = priority;
    l->depth = depth;
    l->count = 1;
    list_init(&l->turn);
    list_insert_after(after, &l->link);
    return l;
}

void class_set_stuck(struct raylet_core *c, struct class_ *k, bool stuck)
{
    if (k->stuck == stuck) {
        return;
    }
    k->stuck = stuck;
    k->stuck_since_ns = stuck ? c->now_ns : 0;
    if (stuck) {
        k->pool->stuck++;
        k->level->stuck++;
    } else {
        k->pool->stuck--;
        k->level->stuck--;
    }
}

static void came_to_life(struct raylet_core *c, struct class_ *k)
{
    k->level = level_use(c, k->priority, k->depth);
    list_append(&k->level->turn, &k->run_link);
    if (list_is_empty(
            &k->pool->leased)) { /* who was away has no more than a millisecond of an advantage */
        uint64_t floor = c->used_clock_ns > NS_PER_MS ? c->used_clock_ns - NS_PER_MS : 0;
        if (k->pool->used_ns < floor) {
            k->pool->used_ns = floor;
        }
        if (k->pool->used_ns + COURTESY_BEHIND_NS < c->used_clock_ns) {
            c->courtesy_until_ns = c->now_ns + COURTESY_NS;
        }
    }
}

static void fell_asleep(struct raylet_core *c, struct class_ *k)
{
    struct level *l = k->level;

    class_set_stuck(c, k, false);
    list_unlink(&k->run_link);
    k->level = NULL;
    if (c->reserving == k) {
        c->reserving = NULL;
    }
    if (--l->count == 0) {
        list_unlink(&l->link);
        free(l);
    }
}

bool class_is_awake(const struct class_ *k)
{
    return k->queued > 0 || k->wants > 0;
}

static void enqueue(struct raylet_core *c, struct task *t, bool first)
{
    struct class_ *k = t->class_;
    bool was_awake = class_is_awake(k);

    if (first) {
        list_prepend(&k->queue, &t->link);
    } else {
        list_append(&k->queue, &t->link);
    }
    t->place = AT_QUEUE;
    if (k->queued++ == 0) {
        k->waiting_since_ns = c->now_ns;
    }
    if (!was_awake) {
        came_to_life(c, k);
    }
}

bool class_chooses(const struct class_ *k)
{
    return k->wish->strategy == SCHED_SPREAD || k->wish->strategy == SCHED_LOAD_BALANCED;
}

void class_enqueue(struct raylet_core *c, struct task *t)
{
    struct class_ *k = t->class_;

    if (!class_chooses(k) || c->peers == NULL) {
        enqueue(c, t, false);
        return;
    }
    t->place = AT_FRESH;
    list_append(&k->fresh, &t->link);
    if (list_is_empty(&k->fresh_link)) {
        list_append(&c->fresh_classes, &k->fresh_link);
    }
}

void class_enqueue_first(struct raylet_core *c, struct task *t)
{
    enqueue(c, t, true);
}

void class_enqueue_here(struct raylet_core *c, struct task *t)
{
    list_unlink(&t->link);
    enqueue(c, t, false);
}

void class_dequeue(struct raylet_core *c, struct task *t)
{
    struct class_ *k = t->class_;

    if (t->place == AT_LANE) {
        lane_dequeue(t);
        return;
    }
    list_unlink(&t->link);
    if (t->place == AT_QUEUE) {
        k->queued--;
        if (!class_is_awake(k)) {
            fell_asleep(c, k);
        }
    }
    t->place = AT_NONE;
}

void class_choose_again(struct raylet_core *c, struct lane *l)
{
    struct list *at;

    while ((at = list_first(&l->queue)) != NULL) {
        struct task *t = list_entry(at, struct task, link);
        lane_dequeue(t);
        class_enqueue(c, t);
    }
}

struct task *class_first(const struct class_ *k)
{
    struct list *first = list_first((struct list *)&k->queue);

    first = first != NULL ? first : list_first((struct list *)&k->fresh);
    for (struct list *at = k->lanes.next; first == NULL && at != &k->lanes; at = at->next) {
        first = list_first(&list_entry(at, struct lane, class_link)->queue);
    }
    return first == NULL ? NULL : list_entry(first, struct task, link);
}

void class_set_wants(struct raylet_core *c, struct class_ *k, uint32_t wants)
{
    bool was_awake = class_is_awake(k);

    k->wants = wants;
    if (!was_awake && class_is_awake(k)) {
        came_to_life(c, k);
    } else if (was_awake && !class_is_awake(k)) {
        fell_asleep(c, k);
    }
}
