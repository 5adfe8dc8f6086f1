#include "raylet/core_cache.h"

#include "raylet/core_foreign_state.h"
#include "raylet/core_objects.h"

#define MOST_DEFAULT_BYTES (256u << 20)
#define LEAST_BYTES        (32u << 20) /* however much else the programs have outstanding */
#define STUCK_NS           NS_PER_S
#define STUCK_MAX_NS       (64 * NS_PER_S)

void cache_init(struct raylet_core *c, uint64_t most_bytes)
{
    struct cache *k = &c->foreign->cache;

    list_init(&k->used);
    list_init(&k->orphans);
    list_init(&k->crowd);
    core_timer_init(&k->timer, TIMER_FOREIGN);
    k->stuck_ns = STUCK_NS;
    k->most_bytes = most_bytes != 0 ? most_bytes : MOST_DEFAULT_BYTES;
    if (most_bytes == 0 && c->credit_all != 0) {
        k->most_bytes = c->credit_all / 4;
    }
}

/* Of the memory that programs may fill it takes what they leave, and at most its share. */
static uint64_t limit(const struct raylet_core *c)
{
    const struct cache *k = &c->foreign->cache;
    uint64_t left = k->most_bytes;

    if (c->credit_all != 0) {
        left = c->credit_all > c->outstanding_all ? c->credit_all - c->outstanding_all : 0;
    }
    return MIN_OF(k->most_bytes, MAX_OF(left, LEAST_BYTES));
}

uint64_t cache_bytes(const struct raylet_core *c)
{
    return c->foreign->cache.used_bytes + c->foreign->cache.needed_bytes;
}

/* ---- proxies ---- */

/* What it counts for, and where; to the end of those that may go. */
static void place(struct raylet_core *c, struct proxy *x)
{
    struct cache *k = &c->foreign->cache;
    uint32_t bytes = x->had_value && x->object.size > sizeof x->object.small ? x->object.size : 0;

    k->needed_bytes -= x->needed;
    k->used_bytes -= x->used;
    k->orphaned_bytes -= x->orphaned;
    x->needed = x->used = x->orphaned = 0;
    list_unlink(&x->cache_link);
    if (x->tasks > 0) {
        x->needed = bytes;
        k->needed_bytes += bytes;
    } else if (x->object.state == OBJECT_VALUE && x->aliases == 0 && bytes > 0) {
        x->used = bytes;
        x->orphaned = x->owner == NULL ? bytes : 0;
        k->used_bytes += bytes;
        k->orphaned_bytes += x->orphaned;
        list_append(x->orphaned > 0 ? &k->orphans : &k->used, &x->cache_link);
    }
}

void cache_arrived(struct raylet_core *c, struct proxy *x)
{
    x->had_value = x->had_value || x->object.state == OBJECT_VALUE;
    place(c, x);
}

void cache_orphaned(struct raylet_core *c, struct proxy *x, bool lost)
{
    x->lost = lost;
    place(c, x);
}

void cache_forget(struct raylet_core *c, struct proxy *x)
{
    ASSERT(x->tasks == 0 && x->aliases == 0);
    x->had_value = false;
    place(c, x);
}

bool cache_had(struct object *o)
{
    const struct proxy *x = proxy_of(o);

    return x != NULL && x->had_value;
}

void cache_used(struct raylet_core *c, struct object *o)
{
    struct proxy *x = proxy_of(o);

    if (x->used > 0) {
        list_unlink(&x->cache_link);
        list_append(x->orphaned > 0 ? &c->foreign->cache.orphans : &c->foreign->cache.used,
                    &x->cache_link);
    }
}

void cache_aliased(struct raylet_core *c, struct object *o, bool is)
{
    struct proxy *x = proxy_of(o);

    ASSERT(is || x->aliases > 0);
    x->aliases += is ? 1 : UINT32_MAX; /* -1 */
    if (x->had_value) { /* else it is on its way into the object, and counted when it is there */
        place(c, x);
    }
}

/* As before it came; who asks for it again has it sent again, or hears that it cannot be had. */
static void evict(struct raylet_core *c, struct proxy *x)
{
    struct object *o = &x->object;
    struct object_error *e;

    ASSERT(o->state == OBJECT_VALUE && o->watchers == NULL && x->tasks == 0 && x->aliases == 0);
    free(o->data);
    o->data = NULL;
    o->state = OBJECT_PENDING;
    x->wants = false;
    place(c, x);
    if (x->owner != NULL) {
        return;
    }
    e = error_make(c, x->lost ? CODE_OWNER_LOST : CODE_NOT_FOUND, "",
                   x->lost ? "node %u, which made it, is gone, and there was no room to keep it"
                           : "node %u, which made it, has released it, and there was no room to "
                             "keep it",
                   o->owner->node);
    object_settle_error(c, o, e);
    error_unref(e);
}

/* What nobody would send again goes last, unless it takes half of the room. */
static void trim(struct raylet_core *c)
{
    struct cache *k = &c->foreign->cache;
    uint64_t most = k->used_bytes == 0 ? UINT64_MAX : limit(c);

    while (k->used_bytes > 0 && cache_bytes(c) > most) {
        bool orphan = list_is_empty(&k->used) || k->orphaned_bytes > most / 2;
        struct list *at = list_first(orphan ? &k->orphans : &k->used);
        evict(c, list_entry(at, struct proxy, cache_link));
    }
}

/* ---- tasks ---- */

/* What its values would take beside those that are needed already. */
static uint64_t bytes_of_task(const struct task *t, bool *ret_any)
{
    uint64_t bytes = 0;

    *ret_any = false;
    for (uint32_t i = 0; i < t->extra->need_count; i++) {
        const struct proxy *x = proxy_of(t->extra->needs[i].object);
        if (x != NULL) {
            *ret_any = true;
            bytes += x->tasks == 0 && x->had_value ? x->object.size : 0;
        }
    }
    return bytes;
}

static bool fits(const struct raylet_core *c, uint64_t bytes)
{
    uint64_t needed = c->foreign->cache.needed_bytes;

    return needed == 0 || bytes == 0 || needed + bytes <= limit(c);
}

/* From now on its values stay; those that are gone are fetched again. True: all are here. */
static bool take(struct raylet_core *c, struct task *t)
{
    struct task_extra *x = t->extra;

    x->has_room = true;
    list_unlink(&x->room_link);
    for (uint32_t i = 0; i < x->need_count; i++) {
        struct proxy *p = proxy_of(x->needs[i].object);
        if (p == NULL) {
            continue;
        }
        if (p->tasks++ == 0) {
            place(c, p);
        }
        if (!object_is_settled(&p->object)) {
            x->needs[i].watcher = object_need(c, &p->object, t, i);
            t->needs_missing++;
        }
    }
    return t->needs_missing == 0;
}

static void wait_in_crowd(struct raylet_core *c)
{
    struct cache *k = &c->foreign->cache;

    if (list_is_empty(&k->crowd)) {
        core_timer_disarm(c, &k->timer);
    } else if (!timer_is_armed(&k->timer.timer)) {
        core_timer_arm(c, &k->timer, c->now_ns + k->stuck_ns);
    }
}

bool cache_admit(struct raylet_core *c, struct task *t)
{
    struct cache *k = &c->foreign->cache;
    struct task_extra *x = t->extra;
    bool any;

    if (x->has_room) {
        return true;
    }
    uint64_t bytes = bytes_of_task(t, &any);
    if (!any) {
        return true;
    }
    if (bytes == 0 || (list_is_empty(&k->crowd) && fits(c, bytes))) {
        if (take(c, t)) {
            return true;
        }
    } else {
        list_append(&k->crowd, &x->room_link);
        wait_in_crowd(c);
    }
    list_unlink(&t->link);
    list_append(&t->class_->job->waiting, &t->link);
    return false;
}

void cache_leave(struct raylet_core *c, struct task *t)
{
    struct cache *k = &c->foreign->cache;
    struct task_extra *x = t->extra;

    list_unlink(&x->room_link);
    k->look = !list_is_empty(&k->crowd);
    if (!x->has_room) {
        return;
    }
    x->has_room = false;
    for (uint32_t i = 0; i < x->need_count; i++) {
        struct proxy *p = proxy_of(x->needs[i].object);
        if (p != NULL && --p->tasks == 0) {
            place(c, p);
        }
    }
    k->stuck_ns = STUCK_NS;
    core_timer_disarm(c, &k->timer);
}

bool cache_waits_for_room(const struct task *t)
{
    return t->extra != NULL && !list_is_empty(&t->extra->room_link);
}

static struct task *first_in_crowd(struct raylet_core *c)
{
    struct list *at = list_first(&c->foreign->cache.crowd);

    return at == NULL ? NULL : list_entry(at, struct task_extra, room_link)->task;
}

static bool first_fits(struct raylet_core *c)
{
    struct task *t = first_in_crowd(c);
    bool any;

    return t != NULL && fits(c, bytes_of_task(t, &any));
}

static void let_in(struct raylet_core *c, struct task *t)
{
    if (take(c, t)) {
        list_unlink(&t->link);
        list_append(&c->woken, &t->link);
    }
}

/* ---- time ---- */

void cache_begin(struct raylet_core *c)
{
    struct cache *k = &c->foreign->cache;

    if (LIKELY(k->used_bytes == 0 && list_is_empty(&k->crowd))) {
        k->look = false;
        return; /* as nearly always */
    }
    trim(c);
    for (uint32_t i = 0; i < WORK_STEP && k->look; i++) {
        k->look = first_fits(c);
        if (k->look) {
            let_in(c, first_in_crowd(c));
        }
    }
    wait_in_crowd(c);
}

bool cache_has_work(const struct raylet_core *c)
{
    return c->foreign->cache.look;
}

/* Those that have room may wait for one that has none: a body for the tasks that it submitted. So
 * when none of them has ended for a while one more is let in, and each time it takes longer, so
 * that bodies which only run long bring little more than the bound. */
bool cache_timer(struct raylet_core *c, const struct core_timer *timer)
{
    struct cache *k = &c->foreign->cache;
    struct task *t = first_in_crowd(c);

    if (timer != &k->timer) {
        return false;
    }
    if (t != NULL) {
        let_in(c, t);
        k->look = !list_is_empty(&k->crowd);
        k->stuck_ns = MIN_OF(2 * k->stuck_ns, STUCK_MAX_NS);
        wait_in_crowd(c);
    }
    return true;
}

void cache_check(const struct raylet_core *c)
{
    const struct cache *k = &c->foreign->cache;
    const struct list *lists[] = {&k->used, &k->orphans};
    uint64_t bytes = 0;

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        LIST_FOREACH(at, lists[i])
        {
            const struct proxy *x = list_entry(at, struct proxy, cache_link);
            ASSERT(x->object.state == OBJECT_VALUE && x->tasks == 0 && x->aliases == 0);
            ASSERT((x->owner == NULL) == (i == 1) && x->used == x->object.size);
            bytes += x->used;
        }
    }
    ASSERT(bytes == k->used_bytes && k->orphaned_bytes <= bytes);
}
