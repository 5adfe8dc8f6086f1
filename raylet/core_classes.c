#include "raylet/core_classes.h"

#include <stdio.h>

#define COURTESY_BEHIND_NS (200 * NS_PER_US) /* so much less than another it has used */
#define COURTESY_NS        (5 * NS_PER_MS)

/* ---- shapes ---- */

static struct shape *shape_ref(struct raylet_core *c, const struct resource_set *asked)
{
    size_t size = offsetof(struct resource_set, amounts) + asked->count * sizeof asked->amounts[0];
    struct shape *s;

    HASH_FIND(hh, c->shapes, asked, size, s);
    if (s == NULL) {
        s = xcalloc(1, sizeof *s);
        s->asked = *asked;
        s->state = resource_set_covers(&c->total, asked) ? SHAPE_FITS : SHAPE_ASKING;
        HASH_ADD_KEYPTR(hh, c->shapes, &s->asked, size, s);
    }
    s->refs++;
    return s;
}

void shape_unuse(struct raylet_core *c, struct shape *s)
{
    if (--s->refs == 0) {
        HASH_DEL(c->shapes, s);
        error_unref(s->error);
        free(s);
    }
}

/* ---- declarations ---- */

static void decl_free(struct raylet_core *c, struct class_decl *d)
{
    if (d->last != NULL) {
        class_unuse(c, d->last);
    }
    shape_unuse(c, d->shape);
    free(d->function);
    free(d->node);
    free(d->labels);
    free(d->kinds);
    free(d);
}

static int read_amounts(struct raylet_core *c, const struct local_class *m,
                        struct resource_set *ret)
{
    memset(ret, 0, sizeof *ret); /* it becomes the key of a hash: no unset bytes */
    for (size_t i = 0; i < m->amount_count; i++) {
        uint32_t kind;
        if (m->amounts[i].units < 0 ||
            resource_names_intern(&c->resources, m->amounts[i].name, &kind) != 0) {
            return -EINVAL;
        }
        if (m->amounts[i].units > 0 && resource_set_put(ret, kind, m->amounts[i].units) != 0) {
            return -ENOSPC;
        }
    }
    return 0;
}

void class_declare(struct raylet_core *c, struct client *client, const struct local_class *m)
{
    struct resource_set asked;

    if (m->number != client->decl_count + 1 || client->decl_count >= 65536) {
        core_protocol_error(c, client, "class %u declared out of turn", m->number);
        return;
    }
    if (read_amounts(c, m, &asked) != 0) {
        core_protocol_error(c, client, "class %u asks for resources that cannot be read",
                            m->number);
        return;
    }
    struct class_decl *d = xcalloc(1, sizeof *d);
    d->function = xstrdup(m->function);
    d->node = xstrdup(m->node);
    d->labels = xstrdup(m->labels);
    d->kinds_size = m->kinds.size;
    d->kinds = xmalloc(m->kinds.size + 1);
    memcpy(d->kinds, m->kinds.size > 0 ? m->kinds.data : "", m->kinds.size);
    d->shape = shape_ref(c, &asked);
    d->strategy = m->strategy;
    d->soft = m->soft;
    d->priority = m->priority;
    if ((client->decl_count & (client->decl_count + 1)) == 0 || client->decl_count == 0) {
        client->decls =
            xrealloc(client->decls, 2 * (client->decl_count + 2) * sizeof(struct class_decl *));
    }
    client->decls[++client->decl_count] = d;
}

void class_forget_decls(struct raylet_core *c, struct client *client)
{
    for (uint32_t i = 1; i <= client->decl_count; i++) {
        decl_free(c, client->decls[i]);
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

static size_t make_key(const struct class_decl *d, uint32_t depth, char *key, size_t room)
{
    int n = snprintf(key, room, "%s|%p|%u|%d|%d|%u|%s|%s|", d->function, (const void *)d->shape,
                     d->strategy, d->soft, d->priority, depth, d->node, d->labels);
    ASSERT(n > 0 && (size_t)n < room);
    size_t more = MIN_OF(d->kinds_size, room - (size_t)n);
    memcpy(key + n, d->kinds, more);
    return (size_t)n + more;
}

struct class_ *class_use(struct raylet_core *c, struct client *client, struct class_decl *d,
                         uint32_t depth)
{
    struct class_ *k = d->last;
    struct job *job = client->job;
    char key[8192];

    if (LIKELY(k != NULL && k->depth == depth)) {
        k->users++;
        return k;
    }
    size_t size = make_key(d, depth, key, sizeof key);
    HASH_FIND(hh, job->classes, key, size, k);
    if (k == NULL) {
        k = xcalloc(1, sizeof *k);
        k->job = job;
        k->pool = pool_use(job, d->shape);
        k->number = ++c->next_class;
        k->key = xmalloc(size);
        memcpy(k->key, key, size);
        k->key_size = size;
        k->function = core_intern(c, d->function);
        k->kinds = xmalloc(d->kinds_size + 1);
        memcpy(k->kinds, d->kinds, d->kinds_size);
        k->kinds_size = d->kinds_size;
        k->priority = d->priority;
        k->depth = depth;
        list_init(&k->queue);
        list_init(&k->run_link);
        HASH_ADD_KEYPTR(hh, job->classes, k->key, k->key_size, k);
    }
    k->users += 2; /* the declaration, and the caller */
    if (d->last != NULL) {
        class_unuse(c, d->last);
    }
    d->last = k;
    d->depth = depth;
    return k;
}

void class_unuse(struct raylet_core *c, struct class_ *k)
{
    ASSERT(k->users > 0);
    if (--k->users > 0) {
        return;
    }
    ASSERT(k->queued == 0 && list_is_empty(&k->run_link));
    if (c->reserving == k) {
        c->reserving = NULL;
    }
    HASH_DEL(k->job->classes, k);
    pool_unuse(c, k->pool);
    free(k->key);
    free(k->kinds);
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

static void enqueue(struct raylet_core *c, struct task *t, bool first)
{
    struct class_ *k = t->class_;

    if (first) {
        list_prepend(&k->queue, &t->link);
    } else {
        list_append(&k->queue, &t->link);
    }
    if (k->queued++ == 0) {
        came_to_life(c, k);
    }
}

void class_enqueue(struct raylet_core *c, struct task *t)
{
    enqueue(c, t, false);
}

void class_enqueue_first(struct raylet_core *c, struct task *t)
{
    enqueue(c, t, true);
}

void class_dequeue(struct raylet_core *c, struct task *t)
{
    struct class_ *k = t->class_;

    list_unlink(&t->link);
    if (--k->queued == 0) {
        fell_asleep(c, k);
    }
}
