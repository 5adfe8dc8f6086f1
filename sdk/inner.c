#include "sdk/inner.h"

#include "common/clock.h"
#include "common/text.h"
#include "sdk/get.h"

int inner_check(const struct drt_value *v, const struct drt_ref *refs, size_t count,
                const char *what)
{
    if (refs == NULL && count != 0) {
        return error_set(-EINVAL, "%s was given NULL for the %zu references it holds", what, count);
    }
    if (v->kind_ == DRT_REF && count != 1) {
        return error_set(-EINVAL,
                         "%s is a reference, which cannot hold others. Give it among the "
                         "references that are held, and drt_nothing() as the value.",
                         what);
    }
    if (count > LOCAL_ARGS_MAX) {
        return error_set(DRT_E_TOO_LARGE,
                         "%s holds %zu references, and a value holds at most %u. Put some of them "
                         "into an object with drt_put_holding, and hold a reference to that.",
                         what, count, LOCAL_ARGS_MAX);
    }
    size_t size = value_data_size(v) + count * sizeof(struct object_id);
    if (count != 0 && size > VALUE_DATA_MAX) {
        return error_set(DRT_E_TOO_LARGE,
                         "%s has %zu bytes with its %zu references, of which each takes %zu, and a "
                         "value has at most %u. Split it into several values.",
                         what, size, count, sizeof(struct object_id), VALUE_DATA_MAX);
    }
    return 0;
}

int inner_find(const struct drt_ref *refs, size_t count, const char *what, struct object_id *ids,
               struct failure *ret_failure)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t number;
        struct slot *s = runtime_find(refs[i], &number);
        if (s == NULL) {
            char why[256];
            text_copy(why, sizeof why, drt_last_error());
            error_set(-EBADF, "%s, reference %zu inside: %s", what, i, why);
            error_to_failure(-EBADF, ret_failure);
            return -EBADF;
        }
        s = objects_of(&runtime.objects, s, &number);
        if (object_id_is_none(s->id)) {
            *ret_failure = *s->failure;
            ret_failure->depth++;
            return ret_failure->code;
        }
        ids[i] = s->id;
    }
    return 0;
}

/* ---- holds ---- */

struct drt_ref inner_hold(struct object_id id, struct object_id through)
{
    uint32_t number;
    struct slot *s = objects_find_id(&runtime.objects, id, &number);
    if (s != NULL) {
        return runtime_share(s, number);
    }
    if (!runtime_is_linked()) {
        error_set(DRT_E_OBJECT_LOST, "the reference was released by whoever gave it");
        return runtime_refused(DRT_E_OBJECT_LOST);
    }
    struct local_msg m = {.type = LOCAL_HOLD, .ids = {&id, 1, through}};
    s = runtime_object(&number);
    objects_index_foreign(&runtime.objects, s, number, id);
    struct drt_ref ref = slot_ref(s, number);
    link_send_releases(&runtime.link);    /* one of this object may be among them */
    (void)!link_write(&runtime.link, &m); /* a raylet that is gone shows at the get */
    return ref;
}

/* ---- reading ---- */

/* The value of `outer`, waited for. 0, or the code of an error that *ret_failure tells. */
static int open_outer(struct drt_ref outer, struct slot **ret_slot, struct value_view *ret,
                      struct failure *ret_failure)
{
    int r = get_settled(outer, true, NS_FOREVER, ret_slot);
    if (r == 0 && (*ret_slot)->state == OBJECT_ERROR) {
        *ret_failure = *(*ret_slot)->failure;
        return error_set_failure(ret_failure);
    }
    if (r == 0 && value_decode(object_value(*ret_slot), ret) != 0) {
        r = error_set(DRT_E_OBJECT_LOST, "the value is broken");
    }
    if (r != 0) {
        error_to_failure(r, ret_failure);
    }
    return r;
}

struct drt_ref drt_inner(struct drt_ref outer, size_t index)
{
    struct drt_ref ref = {{0, 0}};
    struct value_view v;
    struct failure f;
    struct slot *s;
    if (runtime_enter() != 0) {
        return ref;
    }
    runtime_lock();
    int r = open_outer(outer, &s, &v, &f);
    if (r != 0) {
        f.depth++;
        ref = runtime_failed(&f);
    } else if (index >= v.ref_count) {
        r = error_set(DRT_E_SIGNATURE,
                      "drt_inner asked for reference %zu, and the value holds %u: indexes begin at "
                      "0, drt_inner_count tells how many there are",
                      index, (unsigned)v.ref_count);
        ref = runtime_refused(r);
    } else {
        ref = inner_hold(value_inner(&v, index), s->id);
    }
    runtime_unlock();
    return ref;
}

int drt_inner_count(struct drt_ref outer, size_t *ret_count)
{
    struct value_view v;
    struct failure f;
    struct slot *s;
    int r = runtime_enter();
    if (r != 0) {
        return r;
    }
    if (ret_count == NULL) {
        return error_set(-EINVAL,
                         "drt_inner_count was given NULL for the result: pass a pointer to "
                         "where it goes");
    }
    runtime_lock();
    r = open_outer(outer, &s, &v, &f);
    if (r == 0) {
        *ret_count = v.ref_count;
    }
    runtime_unlock();
    return r;
}
