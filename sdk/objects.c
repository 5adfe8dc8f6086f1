#include "sdk/objects.h"

#include "common/clock.h"

#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define NO_CHUNK UINT32_MAX
#define SPARES   4u
#define BUCKETS  256u

struct chunk {
    uint32_t number, used, touched;
    uint32_t free;       /* slot numbers, chained; 0: none */
    uint32_t next, prev; /* chunks with a free slot; NO_CHUNK: end */
    bool listed, spare;
    struct slot *slots;
};

/* Each process counts from somewhere else: a reference whose bytes came from another one, inside a
 * record or otherwise, is refused here and never confused with one of this process's. */
static uint64_t first_serial(void)
{
    uint64_t r;
    if (getrandom(&r, sizeof r, GRND_NONBLOCK) != (ssize_t)sizeof r) {
        r = (clock_now_ns() ^ (uint64_t)getpid() << 40) * UINT64_C(0x9E3779B97F4A7C15);
    }
    return r >> 33 << 32;
}

void objects_init(struct objects *o)
{
    uint64_t serial = o->serial != 0 ? o->serial : first_serial();
    *o = (struct objects){.open = NO_CHUNK, .serial = serial};
    o->buckets = xcalloc(BUCKETS, sizeof *o->buckets);
    o->mask = BUCKETS - 1;
}

struct shared_failure {
    uint64_t users;
    struct failure failure;
};

/* What stands behind a text's end does not count. */
static bool failure_equal(const struct failure *a, const struct failure *b)
{
    return a->code == b->code && a->app_code == b->app_code && a->signal == b->signal &&
           a->exit_code == b->exit_code && a->attempts == b->attempts && a->depth == b->depth &&
           strcmp(a->task, b->task) == 0 && strcmp(a->node, b->node) == 0 &&
           strcmp(a->message, b->message) == 0;
}

static void failure_unuse(const struct failure *f)
{
    struct shared_failure *shared = container_of(f, struct shared_failure, failure);
    if (--shared->users == 0) {
        free(shared);
    }
}

static void drop_content(struct slot *s)
{
    if (s->kind != SLOT_OBJECT) {
        return;
    }
    if (s->state == OBJECT_ERROR) {
        failure_unuse(s->failure);
    } else if (s->state == OBJECT_VALUE && s->size > VALUE_SMALL) {
        free(s->data);
    }
}

static void chunk_unlist(struct objects *o, struct chunk *c)
{
    if (c->prev != NO_CHUNK) {
        o->chunks[c->prev]->next = c->next;
    } else {
        o->open = c->next;
    }
    if (c->next != NO_CHUNK) {
        o->chunks[c->next]->prev = c->prev;
    }
    c->listed = false;
}

static void chunk_list(struct objects *o, struct chunk *c)
{
    c->prev = NO_CHUNK;
    c->next = o->open;
    if (o->open != NO_CHUNK) {
        o->chunks[o->open]->prev = c->number;
    }
    o->open = c->number;
    c->listed = true;
}

static void chunk_free(struct objects *o, struct chunk *c)
{
    if (c->listed) {
        chunk_unlist(o, c);
    }
    o->chunks[c->number] = NULL;
    munmap(c->slots, CHUNK_SLOTS * sizeof *c->slots);
    free(c);
}

void objects_fini(struct objects *o)
{
    for (uint32_t i = 0; i < o->chunk_count; i++) {
        struct chunk *c = o->chunks[i];
        if (c != NULL) {
            for (uint32_t k = 0; k < c->touched; k++) {
                drop_content(&c->slots[k]);
            }
            chunk_free(o, c);
        }
    }
    if (o->last_failure != NULL) {
        failure_unuse(&o->last_failure->failure);
    }
    free(o->chunks);
    free(o->buckets);
    *o = (struct objects){.open = NO_CHUNK, .serial = o->serial};
}

static NOINLINE struct chunk *chunk_new(struct objects *o)
{
    uint32_t number = 0;
    while (number < o->chunk_count && o->chunks[number] != NULL) {
        number++;
    }
    if (number == o->chunk_room) {
        ASSERT(number < UINT32_MAX >> CHUNK_BITS);
        o->chunk_room = o->chunk_room == 0 ? 16 : o->chunk_room * 2;
        o->chunks = xrealloc(o->chunks, o->chunk_room * sizeof *o->chunks);
    }
    if (number == o->chunk_count) {
        o->chunk_count++;
    }
    struct chunk *c = xcalloc(1, sizeof *c);
    size_t size = CHUNK_SLOTS * sizeof *c->slots;
    c->slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (c->slots == MAP_FAILED) {
        out_of_memory(size);
    }
    c->number = number;
    if (number == 0) {
        c->touched = 1; /* slot 0 is none */
    }
    o->chunks[number] = c;
    chunk_list(o, c);
    return c;
}

struct slot *slot_at(const struct objects *o, uint32_t number)
{
    return &o->chunks[number >> CHUNK_BITS]->slots[number & (CHUNK_SLOTS - 1)];
}

struct slot *slot_new(struct objects *o, enum slot_kind kind, uint32_t *ret_number)
{
    struct chunk *c = o->open != NO_CHUNK ? o->chunks[o->open] : chunk_new(o);
    uint32_t at;
    if (c->free != 0) {
        at = c->free & (CHUNK_SLOTS - 1);
        c->free = c->slots[at].chain;
    } else {
        at = c->touched++;
    }
    if (c->spare) {
        c->spare = false;
        o->spare--;
    }
    c->used++;
    if (UNLIKELY(c->free == 0 && c->touched == CHUNK_SLOTS)) {
        chunk_unlist(o, c);
    }
    struct slot *s = &c->slots[at];
    *s = (struct slot){.serial = ++o->serial, .holds = 1, .kind = (uint8_t)kind};
    o->used++;
    *ret_number = c->number << CHUNK_BITS | at;
    return s;
}

void slot_free(struct objects *o, uint32_t number)
{
    struct chunk *c = o->chunks[number >> CHUNK_BITS];
    struct slot *s = &c->slots[number & (CHUNK_SLOTS - 1)];
    drop_content(s);
    s->kind = SLOT_FREE;
    s->serial = 0;
    s->chain = c->free;
    c->free = number;
    o->used--;
    if (!c->listed) {
        chunk_list(o, c);
    }
    if (--c->used == 0) {
        if (o->spare < SPARES) {
            c->spare = true;
            o->spare++;
        } else {
            chunk_free(o, c);
        }
    }
}

struct drt_ref slot_ref(const struct slot *s, uint32_t number)
{
    return (struct drt_ref){{number, s->serial}};
}

struct slot *objects_find(const struct objects *o, struct drt_ref ref, uint32_t *ret_number)
{
    uint64_t number = ref.opaque_[0];
    if (number == 0 || ref.opaque_[1] == 0 || number >> CHUNK_BITS >= o->chunk_count ||
        o->chunks[number >> CHUNK_BITS] == NULL) {
        return NULL;
    }
    struct slot *s = slot_at(o, (uint32_t)number);
    if (s->serial != ref.opaque_[1] || (s->kind != SLOT_OBJECT && s->kind != SLOT_SHARE)) {
        return NULL;
    }
    *ret_number = (uint32_t)number;
    return s;
}

struct slot *objects_of(const struct objects *o, struct slot *s, uint32_t *number)
{
    if (LIKELY(s->kind == SLOT_OBJECT)) {
        return s;
    }
    *number = s->holds;
    return slot_at(o, s->holds);
}

/* ---- by id ---- */

/* This process's own objects have consecutive numbers, which then fill the buckets evenly. */
static uint32_t bucket(const struct objects *o, struct object_id id)
{
    return (uint32_t)(id.number + id.client * UINT64_C(0x9E3779B97F4A7C15)) & o->mask;
}

static NOINLINE void grow(struct objects *o)
{
    uint32_t *old = o->buckets, count = o->mask + 1;
    o->mask = o->mask * 2 + 1;
    o->buckets = xcalloc((size_t)o->mask + 1, sizeof *o->buckets);
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t at = old[i], next; at != 0; at = next) {
            struct slot *s = slot_at(o, at);
            uint32_t b = bucket(o, s->id);
            next = s->chain;
            s->chain = o->buckets[b];
            o->buckets[b] = at;
        }
    }
    free(old);
}

static NOINLINE void shrink(struct objects *o)
{
    free(o->buckets);
    o->buckets = xcalloc(BUCKETS, sizeof *o->buckets);
    o->mask = BUCKETS - 1;
}

static void add_to_index(struct objects *o, struct slot *s, uint32_t number, struct object_id id)
{
    if (UNLIKELY(o->indexed > o->mask)) {
        grow(o);
    }
    uint32_t b = bucket(o, id);
    s->id = id;
    s->state = OBJECT_UNASKED;
    s->chain = o->buckets[b];
    o->buckets[b] = number;
    o->indexed++;
}

void objects_index(struct objects *o, struct slot *s, uint32_t number, struct object_id id)
{
    add_to_index(o, s, number, id);
    o->unsettled++;
}

void objects_index_foreign(struct objects *o, struct slot *s, uint32_t number, struct object_id id)
{
    add_to_index(o, s, number, id);
    s->foreign = 1;
}

struct slot *objects_find_id(const struct objects *o, struct object_id id, uint32_t *ret_number)
{
    for (uint32_t at = o->buckets[bucket(o, id)]; at != 0;) {
        struct slot *s = slot_at(o, at);
        if (object_id_equal(s->id, id)) {
            *ret_number = at;
            return s;
        }
        at = s->chain;
    }
    return NULL;
}

static void unindex(struct objects *o, struct slot *s, uint32_t number)
{
    uint32_t *at = &o->buckets[bucket(o, s->id)];
    while (*at != number) {
        ASSERT(*at != 0);
        at = &slot_at(o, *at)->chain;
    }
    *at = s->chain;
    if (!object_is_settled(s) && s->foreign == 0) {
        o->unsettled--;
    }
    if (UNLIKELY(--o->indexed == 0 && o->mask >= 64 * BUCKETS)) {
        shrink(o);
    }
}

/* ---- contents ---- */

static void settle(struct objects *o, struct slot *s, enum object_state state)
{
    if (!object_is_settled(s) && !object_id_is_none(s->id)) {
        o->unsettled -= s->foreign == 0;
        o->settled_count++;
    }
    s->state = (uint8_t)state;
}

/* The objects inside a value that this process owns are held by it. */
static void hold_inner(struct objects *o, struct bytes value)
{
    struct value_view v;
    uint32_t number;
    if (value_decode(value, &v) != 0) {
        return;
    }
    for (uint32_t i = 0; i < v.ref_count; i++) {
        struct slot *inner = objects_find_id(o, value_inner(&v, i), &number);
        ASSERT(inner != NULL);
        inner->holds++;
    }
}

void object_set_value(struct objects *o, struct slot *s, struct bytes value)
{
    if (UNLIKELY(o->owns)) {
        hold_inner(o, value);
    }
    settle(o, s, OBJECT_VALUE);
    s->size = (uint32_t)value.size;
    if (value.size <= VALUE_SMALL) {
        memcpy(s->small, value.data, value.size);
        return;
    }
    void *copy = aligned_alloc(64, align_up(value.size, 64));
    if (copy == NULL) {
        out_of_memory(value.size);
    }
    memcpy(copy, value.data, value.size);
    s->data = copy;
}

void object_set_ready(struct objects *o, struct slot *s, uint32_t size)
{
    settle(o, s, OBJECT_READY);
    s->size = size;
}

void object_set_error(struct objects *o, struct slot *s, const struct failure *f)
{
    settle(o, s, OBJECT_ERROR);
    struct shared_failure *last = o->last_failure;
    if (last == NULL || !failure_equal(&last->failure, f)) {
        if (last != NULL) {
            failure_unuse(&last->failure);
        }
        last = xmalloc(sizeof *last);
        last->users = 1;
        last->failure = *f;
        o->last_failure = last;
    }
    last->users++;
    s->failure = &last->failure;
}

struct bytes object_value(const struct slot *s)
{
    return bytes_of(s->size <= VALUE_SMALL ? s->small : s->data, s->size);
}

/* ---- holds ---- */

/* Takes back what hold_inner took; those without a hold are put before `first`, chained. */
static uint32_t drop_inner(struct objects *o, const struct slot *s, uint32_t first)
{
    struct value_view v;
    uint32_t number;
    if (s->state != OBJECT_VALUE || value_decode(object_value(s), &v) != 0) {
        return first;
    }
    for (uint32_t i = 0; i < v.ref_count; i++) {
        struct slot *inner = objects_find_id(o, value_inner(&v, i), &number);
        ASSERT(inner != NULL);
        if (--inner->holds == 0) {
            unindex(o, inner, number);
            inner->chain = first;
            first = number;
        }
    }
    return first;
}

/* With all that only it held, however deep: a list, and no stack. */
static void drop_all(struct objects *o, uint32_t first)
{
    while (first != 0) {
        struct slot *s = slot_at(o, first);
        uint32_t rest = drop_inner(o, s, s->chain);
        slot_free(o, first);
        first = rest;
    }
}

bool objects_release(struct objects *o, struct slot *s, uint32_t number, struct object_id *ret_id)
{
    scope_take(o, s);
    if (s->kind == SLOT_SHARE) {
        uint32_t object = s->holds;
        slot_free(o, number);
        number = object;
        s = slot_at(o, object);
    } else {
        s->serial = 0;
    }
    if (--s->holds != 0) {
        return false;
    }
    *ret_id = s->id;
    if (!object_id_is_none(s->id)) {
        unindex(o, s, number);
    }
    if (UNLIKELY(o->owns)) {
        s->chain = 0;
        drop_all(o, number);
    } else {
        slot_free(o, number);
    }
    return true;
}

struct drt_ref objects_share(struct objects *o, struct slot *s, uint32_t number,
                             uint32_t *ret_number)
{
    s = objects_of(o, s, &number);
    s->holds++;
    struct slot *share = slot_new(o, SLOT_SHARE, ret_number);
    share->holds = number;
    return slot_ref(share, *ret_number);
}

/* ---- scopes ---- */

uint32_t scope_new(struct objects *o, uint32_t around)
{
    uint32_t number;
    struct slot *s = slot_new(o, SLOT_SCOPE, &number);
    s->scope_next = s->scope_prev = number;
    s->holds = around;
    return number;
}

void scope_put(struct objects *o, uint32_t scope, uint32_t number)
{
    if (scope == 0) {
        return;
    }
    struct slot *head = slot_at(o, scope), *s = slot_at(o, number);
    s->scope_next = scope;
    s->scope_prev = head->scope_prev;
    slot_at(o, head->scope_prev)->scope_next = number;
    head->scope_prev = number;
}

void scope_take(struct objects *o, struct slot *s)
{
    if (s->scope_next == 0) {
        return;
    }
    slot_at(o, s->scope_next)->scope_prev = s->scope_prev;
    slot_at(o, s->scope_prev)->scope_next = s->scope_next;
    s->scope_next = s->scope_prev = 0;
}
