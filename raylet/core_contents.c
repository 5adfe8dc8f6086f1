#include "raylet/core_contents.h"

#include "raylet/core_foreign_state.h"
#include "raylet/core_objects.h"

/* ---- sets ---- */

/* By id: what is sent in this order must not depend on where something lies in memory. */
static int compare(const void *a, const void *b)
{
    const struct object *x = *(struct object *const *)a, *y = *(struct object *const *)b;

    if (x->owner->node != y->owner->node) {
        return x->owner->node < y->owner->node ? -1 : 1;
    }
    if (x->owner->number != y->owner->number) {
        return x->owner->number < y->owner->number ? -1 : 1;
    }
    return (x->number > y->number) - (x->number < y->number);
}

void objects_sort(struct object **objects, size_t count)
{
    qsort(objects, count, sizeof *objects, compare);
}

bool objects_among(struct object *const *sorted, size_t count, const struct object *o)
{
    return count > 0 && bsearch(&o, sorted, count, sizeof *sorted, compare) != NULL;
}

/* ---- covers ---- */

void foreign_cover(struct raylet_core *c, struct object *o)
{
    struct proxy *x = proxy_of(o);

    if (x != NULL) {
        x->covers++;
        ASSERT(x->covers <= o->holds);
    }
}

void foreign_uncover(struct raylet_core *c, struct object *o)
{
    struct proxy *x = proxy_of(o);

    if (x != NULL) {
        ASSERT(x->covers > 0);
        x->covers--;
        if (x->covers == 0 && x->state == PROXY_COVERED) {
            list_unlink(&x->link);
            list_append(&c->foreign->fresh, &x->link);
        }
    }
    object_unhold(c, o);
}

/* ---- containers ---- */

struct contents *contents_find(const struct raylet_core *c, const struct object *o)
{
    struct contents *k = NULL;

    if (o->far & FAR_INNER) {
        HASH_FIND_PTR(c->foreign->contents, &o, k);
    }
    return k;
}

void object_contain(struct raylet_core *c, struct object *o, struct object *const *held,
                    size_t count)
{
    struct contents *k;

    ASSERT(o->state == OBJECT_PENDING && !(o->far & FAR_INNER));
    if (count == 0) {
        return;
    }
    k = xcalloc(1, sizeof *k + count * sizeof(struct object *));
    k->object = o;
    k->job = o->owner->job;
    k->count = (uint32_t)count;
    memcpy(k->inner, held, count * sizeof(struct object *));
    list_init(&k->link);
    k->at = &k->job->contents;
    k->next = k->job->contents;
    if (k->next != NULL) {
        k->next->at = &k->next;
    }
    k->job->contents = k;
    HASH_ADD_PTR(c->foreign->contents, object, k);
    o->far |= FAR_INNER;
    if (o->far & FAR_PROXY) {
        k->covers = true;
        for (size_t i = 0; i < count; i++) {
            foreign_cover(c, k->inner[i]);
        }
    }
}

struct object *const *object_inner(struct raylet_core *c, const struct object *root, size_t *ret_n)
{
    struct contents *k = contents_find(c, root);

    *ret_n = k == NULL ? 0 : k->count;
    return k == NULL ? NULL : k->inner;
}

bool object_is_inside(struct raylet_core *c, const struct object *root, const struct object *o)
{
    struct contents *k = contents_find(c, root);

    if (k == NULL) {
        return false;
    }
    if (!k->sorted) {
        objects_sort(k->inner, k->count);
        k->sorted = true;
    }
    return objects_among(k->inner, k->count, o);
}

static void uncover_all(struct raylet_core *c, struct contents *k)
{
    if (!k->covers) {
        return;
    }
    k->covers = false;
    for (uint32_t i = 0; i < k->count; i++) { /* they stay held, now on our own account */
        object_hold(k->inner[i]);
        foreign_uncover(c, k->inner[i]);
    }
}

void contents_uncover(struct raylet_core *c, struct object *o)
{
    struct contents *k = contents_find(c, o);

    if (k != NULL) {
        uncover_all(c, k);
    }
}

void contents_detach(struct raylet_core *c, struct contents *k)
{
    *k->at = k->next;
    if (k->next != NULL) {
        k->next->at = k->at;
    }
    HASH_DEL(c->foreign->contents, k);
    k->object->far &= (uint8_t)~FAR_INNER;
    k->object = NULL;
    list_append(&c->foreign->letting_go, &k->link);
}

bool contents_work(struct raylet_core *c)
{
    struct list *list = &c->foreign->letting_go;
    uint32_t left = WORK_STEP;
    struct list *at;

    while (left > 0 && (at = list_first(list)) != NULL) {
        struct contents *k = list_entry(at, struct contents, link);
        for (; left > 0 && k->count > 0; left--) {
            struct object *inner = k->inner[--k->count];
            if (k->covers) {
                foreign_uncover(c, inner);
            } else {
                object_unhold(c, inner);
            }
        }
        if (k->count == 0) {
            list_unlink(&k->link);
            free(k);
        }
    }
    return !list_is_empty(list);
}
