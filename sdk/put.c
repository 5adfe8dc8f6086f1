/*
 * drt_put and drt_put_holding: values that are objects of their own.
 */
#include "sdk/ask.h"
#include "sdk/inner.h"
#include "sdk/submit.h"

#define ROOM_INLINE 512u
#define IDS_INLINE  8u

static const char what[] = "the value that was put";

struct put {
    struct bytes value; /* encoded */
    const struct object_id *ids;
    size_t id_count;
};

static struct drt_ref put_linked(const struct put *p)
{
    struct local_msg m = {
        .type = LOCAL_PUT, .put = {.refs = p->ids, .ref_count = p->id_count}, .payload = p->value};
    size_t size = p->value.size;
    int rc = link_spend(&runtime.link, local_put_cost(p->id_count, size), ask_some_left, NULL,
                        runtime_body() != NULL);
    if (rc != 0) {
        return runtime_refused(rc);
    }
    uint32_t number;
    struct slot *s = runtime_object(&number);
    struct object_id id = {runtime.link.node, runtime.link.client, ++runtime.last_number};
    m.put.number = id.number;
    objects_index(&runtime.objects, s, number, id);
    struct drt_ref ref = slot_ref(s, number);
    rc = link_send(&runtime.link, &m);
    s = objects_find(&runtime.objects, ref, &number);
    if (s == NULL) {
        return ref; /* a drt_shutdown meanwhile */
    }
    if (rc == DRT_E_DISCONNECTED) {
        struct failure f;
        error_to_failure(rc, &f);
        object_set_error(&runtime.objects, s, &f);
    } else if (size <= VALUES_INLINE_MAX) {
        object_set_value(&runtime.objects, s, m.payload); /* what we know need not be asked */
    } else {
        object_set_ready(&runtime.objects, s, (uint32_t)size);
    }
    return ref;
}

static struct drt_ref put_here(const struct put *p)
{
    uint32_t number;
    struct slot *s = runtime_object(&number);
    struct object_id id = {0, 0, ++runtime.last_number};
    objects_index(&runtime.objects, s, number, id);
    object_set_value(&runtime.objects, s, p->value);
    return slot_ref(s, number);
}

static struct drt_ref put_checked(const struct drt_value *v, const struct drt_ref *inner,
                                  size_t count)
{
    _Alignas(64) uint8_t small[ROOM_INLINE];
    struct object_id few[IDS_INLINE], *ids = few;
    struct buffer large = {0};
    struct failure f;
    size_t size = value_holding_size(v, count);
    uint8_t *room = size <= sizeof small ? small : buffer_extend(&large, size);
    struct drt_ref ref;
    if (count > IDS_INLINE) {
        ids = xcalloc(count, sizeof *ids);
    }
    runtime_lock();
    if (inner_find(inner, count, what, ids, &f) != 0) {
        ref = runtime_failed(&f);
    } else {
        struct put p = {bytes_of(room, size), ids, count};
        value_holding_encode(v, ids, count, room);
        ref = runtime_is_linked() ? put_linked(&p) : put_here(&p);
    }
    runtime_unlock();
    buffer_fini(&large);
    if (ids != few) {
        free(ids);
    }
    return ref;
}

static struct drt_ref put(const struct drt_value *v, const struct drt_ref *inner, size_t count)
{
    struct drt_ref ref = {{0, 0}};
    if (runtime_enter() != 0) {
        return ref;
    }
    int rc = v->kind_ == DRT_REF ? 0 : value_check(v, what);
    if (rc == 0) {
        rc = inner_check(v, inner, count, what);
    }
    if (rc == 0) {
        return put_checked(v, inner, count);
    }
    runtime_lock();
    ref = runtime_refused(rc);
    runtime_unlock();
    return ref;
}

struct drt_ref drt_put(struct drt_value value)
{
    struct drt_ref itself = {{value.u_.h[0], value.u_.h[1]}};
    return put(&value, &itself, value.kind_ == DRT_REF ? 1 : 0);
}

struct drt_ref drt_put_holding(struct drt_value value, const struct drt_ref *inner, size_t count)
{
    if (value.kind_ == DRT_REF) {
        return put(&value, inner, SIZE_MAX); /* refused, with the sentence for it */
    }
    return put(&value, inner, count);
}
