/*
 * Reading results and waiting for them: drt_get_*, drt_await, drt_wait, drt_cancel.
 */
#include "sdk/get.h"

#include "common/clock.h"
#include "common/text.h"
#include "sdk/ask.h"
#include "sdk/requests.h"

static uint64_t deadline_of(struct drt_span limit)
{
    return limit.ns_plus_1_ == 0 ? NS_FOREVER : ns_add(clock_now_ns(), limit.ns_plus_1_ - 1);
}

struct watch {
    struct drt_ref ref;
    uint32_t state;
};

static bool has_moved(void *arg)
{
    const struct watch *w = arg;
    uint32_t number;
    struct slot *s = objects_find(&runtime.objects, w->ref, &number);
    return s == NULL || objects_of(&runtime.objects, s, &number)->state != w->state;
}

static bool name_watched(void *arg, bool again, struct object_id *ids, size_t room,
                         size_t *ret_count)
{
    const struct watch *w = arg;
    uint32_t number;
    struct slot *s = objects_find(&runtime.objects, w->ref, &number);
    *ret_count = s != NULL;
    if (s != NULL) {
        ids[0] = objects_of(&runtime.objects, s, &number)->id;
    }
    return !again;
}

int get_settled(struct drt_ref ref, bool whole, uint64_t deadline_ns, struct slot **ret)
{
    for (;;) {
        uint32_t number;
        struct slot *s = runtime_find(ref, &number);
        int r = 0;
        if (UNLIKELY(s == NULL)) {
            return -EBADF;
        }
        s = objects_of(&runtime.objects, s, &number);
        if (s->state >= OBJECT_VALUE || (object_is_settled(s) && !whole)) {
            *ret = s;
            return 0;
        }
        if (s->state == OBJECT_UNASKED) {
            r = ask_following(s, number);
        } else if (s->state == OBJECT_READY) {
            r = ask_whole(s);
        } else {
            struct watch w = {ref, s->state};
            r = link_wait(&runtime.link, has_moved, &w, deadline_ns,
                          runtime_body() != NULL ? name_watched : NULL);
        }
        if (r != 0) {
            return r;
        }
    }
}

/* 0 with the lock held and a value in *ret; else unlocked. */
static int open_value(struct drt_ref ref, struct value_view *ret)
{
    struct slot *s;
    int r = runtime_enter();
    if (r != 0) {
        return r;
    }
    runtime_lock();
    r = get_settled(ref, true, NS_FOREVER, &s);
    if (r == 0 && s->state == OBJECT_ERROR) {
        r = error_set_failure(s->failure);
    }
    if (r == 0 && value_decode(object_value(s), ret) != 0) {
        r = error_set(DRT_E_OBJECT_LOST, "the value is broken");
    }
    if (r != 0) {
        runtime_unlock();
    }
    return r;
}

static int open_kind(struct drt_ref ref, int kind, struct value_view *ret)
{
    int r = open_value(ref, ret);
    if (r == 0 && ret->kind != kind) {
        runtime_unlock();
        r = error_set(
            DRT_E_SIGNATURE,
            "The result is %s, but was read as %s. drt_kind_of tells the kind of a result.",
            kind_name(ret->kind), kind_name(kind));
    }
    return r;
}

static int no_room(const char *function)
{
    return error_set(-EINVAL, "%s was given NULL for the result: pass a pointer to where it goes",
                     function);
}

/* A wait that was given a number of references and no references. */
static int no_references(const char *function, size_t count)
{
    return error_set(-EINVAL, "%s was given NULL for %zu references", function, count);
}

int drt_get_i64(struct drt_ref ref, int64_t *ret)
{
    if (UNLIKELY(ret == NULL)) {
        return no_room("drt_get_i64");
    }
    struct value_view v;
    int r = open_kind(ref, DRT_I64, &v);
    if (r == 0) {
        *ret = v.i;
        runtime_unlock();
    }
    return r;
}

int drt_get_f64(struct drt_ref ref, double *ret)
{
    if (UNLIKELY(ret == NULL)) {
        return no_room("drt_get_f64");
    }
    struct value_view v;
    int r = open_kind(ref, DRT_F64, &v);
    if (r == 0) {
        *ret = v.f;
        runtime_unlock();
    }
    return r;
}

int drt_get_str(struct drt_ref ref, const char **ret)
{
    if (UNLIKELY(ret == NULL)) {
        return no_room("drt_get_str");
    }
    struct value_view v;
    int r = open_kind(ref, DRT_STR, &v);
    if (r == 0) {
        *ret = v.data.data;
        runtime_unlock();
    }
    return r;
}

int drt_get_bytes(struct drt_ref ref, struct drt_bytes *ret)
{
    if (UNLIKELY(ret == NULL)) {
        return no_room("drt_get_bytes");
    }
    struct value_view v;
    int r = open_kind(ref, DRT_BYTES, &v);
    if (r == 0) {
        ret->data = v.data.data;
        ret->size = v.data.size;
        runtime_unlock();
    }
    return r;
}

static int open_records(struct drt_ref ref, const char *type, size_t type_size,
                        struct value_view *ret)
{
    int r = open_kind(ref, DRT_RECORDS, ret);
    if (r == 0 && (strcmp(ret->type, type) != 0 || ret->type_size != type_size)) {
        runtime_unlock();
        r = error_set(DRT_E_SIGNATURE,
                      "the result has records of \"%s\" (%u bytes each), and was read as \"%s\" "
                      "(%zu bytes each)",
                      ret->type, (unsigned)ret->type_size, type, type_size);
    }
    return r;
}

int drt_get_records_(struct drt_ref ref, const char *type, size_t type_size, const void **ret,
                     size_t *ret_count)
{
    if (UNLIKELY(ret == NULL)) {
        return no_room("DRT_GET_ARRAY");
    }
    struct value_view v;
    int r = open_records(ref, type, type_size, &v);
    if (r == 0) {
        *ret = v.data.data;
        if (ret_count != NULL) {
            *ret_count = v.data.size / type_size;
        }
        runtime_unlock();
    }
    return r;
}

int drt_get_record_(struct drt_ref ref, const char *type, size_t type_size, void *ret)
{
    if (UNLIKELY(ret == NULL)) {
        return no_room("DRT_GET_RECORD");
    }
    struct value_view v;
    int r = open_records(ref, type, type_size, &v);
    if (r != 0) {
        return r;
    }
    if (v.data.size == type_size) {
        memcpy(ret, v.data.data, type_size);
    } else {
        r = error_set(DRT_E_SIGNATURE,
                      "The result has %zu records, but was read as one. Use DRT_GET_ARRAY.",
                      v.data.size / type_size);
    }
    runtime_unlock();
    return r;
}

/* Unlike a get, does not move a large value here. */
static int outcome(struct drt_ref ref, uint64_t deadline_ns, struct failure *ret_failure)
{
    struct slot *s;
    int r = runtime_enter();
    if (r != 0) {
        error_to_failure(r, ret_failure);
        return r;
    }
    runtime_lock();
    r = get_settled(ref, false, deadline_ns, &s);
    if (r != 0) {
        error_to_failure(r, ret_failure);
    } else if (s->state == OBJECT_ERROR) {
        *ret_failure = *s->failure;
        r = error_set_failure(s->failure);
    }
    runtime_unlock();
    return r;
}

int drt_get_nothing(struct drt_ref ref)
{
    struct failure f;
    return outcome(ref, NS_FOREVER, &f);
}

int drt_get_error_(struct drt_ref ref, struct drt_error *ret, size_t ret_size)
{
    struct failure f = {0};
    struct drt_error error = {0};
    int r = outcome(ref, NS_FOREVER, &f);
    if (r != 0) {
        error_from_failure(&f, &error);
    }
    if (ret != NULL) {
        memset(ret, 0, ret_size);
        memcpy(ret, &error, MIN_OF(ret_size, sizeof error));
    }
    return r;
}

int drt_kind_of(struct drt_ref ref)
{
    struct value_view v;
    struct slot *s;
    int kind = 0;
    uint32_t number;
    if (runtime_enter() != 0) {
        return 0;
    }
    runtime_lock();
    s = runtime_find(ref, &number);
    if (s != NULL) {
        if (runtime_is_linked()) {
            link_take(&runtime.link);
        }
        s = objects_of(&runtime.objects, s, &number);
        bool there =
            s->state == OBJECT_READY || s->state == OBJECT_FETCH || s->state == OBJECT_VALUE;
        if (there && get_settled(ref, true, NS_FOREVER, &s) == 0 && s->state == OBJECT_VALUE &&
            value_decode(object_value(s), &v) == 0) {
            kind = v.kind;
        }
    }
    runtime_unlock();
    return kind;
}

/* A limit of the caller's that passed is named. */
static int name_limit(int r, struct drt_span limit)
{
    char span[32];
    if (r != DRT_E_TIMEOUT) {
        return r;
    }
    return error_set(r,
                     "not done within the limit of %s; the work goes on: wait again, or cancel "
                     "it",
                     text_format_span(limit.ns_plus_1_ - 1, span));
}

int drt_await(struct drt_ref ref, struct drt_span limit)
{
    struct slot *s;
    int r = runtime_enter();
    if (r == 0) {
        runtime_lock();
        r = name_limit(get_settled(ref, false, deadline_of(limit), &s), limit);
        runtime_unlock();
    }
    return r;
}

/* ---- several ---- */

struct several {
    const struct drt_ref *refs;
    size_t count, k, found, first;
    uint64_t looked_at; /* runtime.objects.settled_count when it was counted */
    bool broken;        /* a reference that was released */
    bool all;           /* it takes every one of them */
    size_t at;          /* a body's wait for all: none before it is missing */
    size_t told;        /* one for some: how many its raylet was told of */
    uint64_t tell_at;   /* settled_count at which it may have to be told anew */
};

static void look(struct several *w)
{
    w->found = 0;
    w->looked_at = runtime.objects.settled_count;
    for (size_t i = 0; i < w->count; i++) {
        uint32_t number;
        if (drt_is_none(w->refs[i])) {
            continue;
        }
        struct slot *s = runtime_find(w->refs[i], &number);
        if (s == NULL) {
            w->broken = true;
            return;
        }
        if (object_is_settled(objects_of(&runtime.objects, s, &number))) {
            if (w->found++ == 0) {
                w->first = i;
            }
            if (w->k == 1) {
                return;
            }
        }
    }
}

/* Counting costs a look at each: not before so many more can be settled. */
static bool enough(void *arg)
{
    struct several *w = arg;
    if (w->found < w->k && runtime.objects.settled_count - w->looked_at >= w->k - w->found) {
        look(w);
    }
    return w->broken || w->found >= w->k;
}

/* NULL: it has settled, or is none. */
static const struct slot *pending(struct drt_ref ref)
{
    uint32_t number;
    struct slot *s = drt_is_none(ref) ? NULL : objects_find(&runtime.objects, ref, &number);
    s = s == NULL ? NULL : objects_of(&runtime.objects, s, &number);
    return s == NULL || object_is_settled(s) ? NULL : s;
}

/* Of a wait for all, the first that is missing will do. */
static bool name_first(struct several *w, bool again, struct object_id *ids, size_t *ret_count)
{
    size_t before = w->at;
    while (w->at < w->count && pending(w->refs[w->at]) == NULL) {
        w->at++;
    }
    w->tell_at = runtime.objects.settled_count + 1;
    *ret_count = w->at < w->count;
    if (w->at < w->count) {
        ids[0] = pending(w->refs[w->at])->id;
    }
    return !again || w->at != before;
}

/* Of a wait for some, only all that are missing. */
static bool name_all(struct several *w, bool again, struct object_id *ids, size_t room,
                     size_t *ret_count)
{
    size_t n = 0, before = w->told;
    for (size_t i = 0; i < w->count; i++) {
        const struct slot *s = pending(w->refs[i]);
        if (s != NULL && n++ < room) {
            ids[n - 1] = s->id;
        }
    }
    w->tell_at = runtime.objects.settled_count + (n > room ? n - room : 1);
    w->told = n <= room ? n : 0;
    *ret_count = w->told;
    return !again || w->told != before;
}

/* Anew once any of those that were named has come. */
static bool name_several(void *arg, bool again, struct object_id *ids, size_t room,
                         size_t *ret_count)
{
    struct several *w = arg;
    if (again && runtime.objects.settled_count < w->tell_at) {
        return false;
    }
    return w->all ? name_first(w, again, ids, ret_count) : name_all(w, again, ids, room, ret_count);
}

static int wait_several(struct several *w, uint64_t deadline_ns)
{
    look(w);
    if (w->broken) {
        return -EBADF;
    }
    if (w->found >= w->k) {
        return 0;
    }
    int r = ask_all(w->refs, w->count);
    if (r == 0) {
        r = link_wait(&runtime.link, enough, w, deadline_ns,
                      runtime_body() != NULL ? name_several : NULL);
    }
    return r == 0 && w->broken ? -EBADF : r;
}

static size_t count_set(const struct drt_ref *refs, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        n += !drt_is_none(refs[i]);
    }
    return n;
}

int drt_wait(const struct drt_ref *refs, size_t count, size_t k, struct drt_span limit, bool *ready,
             size_t *ret_ready)
{
    int r = runtime_enter();
    if (r != 0) {
        return r;
    }
    if (refs == NULL && count != 0) {
        return no_references("drt_wait", count);
    }
    if (k > count_set(refs, count)) {
        return error_set(-EINVAL,
                         "drt_wait was asked for %zu of %zu references, of which only %zu are set.",
                         k, count, count_set(refs, count));
    }
    struct several w = {.refs = refs, .count = count, .k = k, .all = k == count_set(refs, count)};
    runtime_lock();
    r = k == 0 ? 0 : name_limit(wait_several(&w, deadline_of(limit)), limit);
    size_t found = 0;
    for (size_t i = 0; i < count && (r == 0 || r == DRT_E_TIMEOUT); i++) {
        uint32_t number;
        struct slot *s = objects_find(&runtime.objects, refs[i], &number);
        bool settled = s != NULL && object_is_settled(objects_of(&runtime.objects, s, &number));
        found += settled;
        if (ready != NULL) {
            ready[i] = settled;
        }
    }
    if (ret_ready != NULL && (r == 0 || r == DRT_E_TIMEOUT)) {
        *ret_ready = found;
    }
    runtime_unlock();
    return r;
}

int drt_wait_any(const struct drt_ref *refs, size_t count, struct drt_span limit, size_t *ret_index)
{
    int r = runtime_enter();
    if (r != 0) {
        return r;
    }
    if (refs == NULL && count != 0) {
        return no_references("drt_wait_any", count);
    }
    if (ret_index == NULL) {
        return no_room("drt_wait_any");
    }
    if (count_set(refs, count) == 0) {
        return error_set(DRT_E_DONE, "All references are none: there is nothing left to wait for.");
    }
    struct several w = {.refs = refs, .count = count, .k = 1};
    runtime_lock();
    r = name_limit(wait_several(&w, deadline_of(limit)), limit);
    runtime_unlock();
    if (r == 0) {
        *ret_index = w.first;
    }
    return r;
}

/* ---- cancelling ---- */

int drt_cancel(struct drt_ref ref, int flags)
{
    uint32_t number;
    int r = runtime_enter();
    if (r != 0) {
        return r;
    }
    if ((flags & ~(DRT_CANCEL_FORCE | DRT_CANCEL_RECURSIVE)) != 0) {
        return error_set(-EINVAL,
                         "drt_cancel knows the flags DRT_CANCEL_FORCE and "
                         "DRT_CANCEL_RECURSIVE, and got %d",
                         flags);
    }
    runtime_lock();
    struct slot *s = runtime_find(ref, &number);
    if (s == NULL) {
        r = -EBADF;
    } else {
        s = objects_of(&runtime.objects, s, &number);
        /* by force also what was cancelled before: its body may still run */
        bool may_run =
            (flags & DRT_CANCEL_FORCE) != 0 && runtime_is_linked() && !object_id_is_none(s->id);
        r = object_is_settled(s) && !may_run ? DRT_E_DONE : 0;
    }
    if (r == 0) {
        struct request *request = xcalloc(1, sizeof *request);
        struct local_msg m = {.type = LOCAL_CANCEL,
                              .cancel = {.id = s->id, .flags = (uint32_t)flags}};
        r = request_ask(request, &m, NS_FOREVER);
        if (r == 0) {
            r = (int)request->code;
        }
        free(request);
    }
    runtime_unlock();
    if (r == DRT_E_DONE) {
        error_set(r, "it was settled before it could be cancelled");
    } else if (r == DRT_E_NOT_FOUND) {
        error_set(r, "the raylet does not know this task any more");
    } else if (r == DRT_E_UNREACHABLE) {
        error_set(r, "the node that the task was submitted on cannot be reached now: try again");
    }
    return r;
}
