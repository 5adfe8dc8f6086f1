#include "sdk/call.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/text.h"
#include "proto/layout.h"
#include "proto/sentences.h"
#include "sdk/inner.h"

/* The first failure of a call is the one that is told. */
static int fail(struct drt_call *call, int code, int app_code, const char *format, va_list args)
{
    if (call->code == 0) {
        call->code = code;
        call->app_code = app_code;
        text_vformat(call->message, sizeof call->message, format, args);
    }
    return code;
}

static PRINTF(2, 3) int misuse(struct drt_call *call, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(call, DRT_E_SIGNATURE, 0, format, args);
    va_end(args);
    return DRT_E_SIGNATURE;
}

int drt_fail(struct drt_call *call, int app_code, const char *format, ...)
{
    va_list args;
    if (UNLIKELY(runtime_is_child())) {
        return runtime_enter();
    }
    va_start(args, format);
    fail(call, DRT_E_FAILED, app_code, format, args);
    va_end(args);
    return DRT_E_FAILED;
}

/* ---- arguments ---- */

static bool read_arg(const struct drt_call *call, size_t index, struct arg *ret)
{
    if (args_get(&call->args, index, ret) != 0) {
        return false;
    }
    if (ret->kind == DRT_OF) {
        return ret->need < call->need_count &&
               value_decode(call->needs[ret->need], &ret->value) == 0;
    }
    return true;
}

static int arg_kind(const struct arg *arg)
{
    return arg->kind == DRT_REF ? DRT_REF : arg->value.kind;
}

static bool want_arg(struct drt_call *call, size_t index, int kind, struct arg *ret)
{
    if (index >= call->args.count) {
        misuse(call, "%s read its argument %zu, but was called with %u. Indexes begin at 0.",
               call->entry->name, index, (unsigned)call->args.count);
        return false;
    }
    if (!read_arg(call, index, ret)) {
        misuse(call, "argument %zu of %s is broken", index, call->entry->name);
        return false;
    }
    if (arg_kind(ret) != kind) {
        misuse(call,
               "%s read its argument %zu as %s, but it is %s. drt_arg_kind tells the kind of an "
               "argument.",
               call->entry->name, index, kind_name(kind), kind_name(arg_kind(ret)));
        return false;
    }
    return true;
}

size_t drt_arg_count(const struct drt_call *call)
{
    return call->args.count;
}

int drt_arg_kind(const struct drt_call *call, size_t index)
{
    struct arg arg;
    return read_arg(call, index, &arg) ? arg_kind(&arg) : 0;
}

int64_t drt_arg_i64(struct drt_call *call, size_t index)
{
    struct arg arg;
    return want_arg(call, index, DRT_I64, &arg) ? arg.value.i : 0;
}

double drt_arg_f64(struct drt_call *call, size_t index)
{
    struct arg arg;
    return want_arg(call, index, DRT_F64, &arg) ? arg.value.f : 0;
}

const char *drt_arg_str(struct drt_call *call, size_t index)
{
    struct arg arg;
    return want_arg(call, index, DRT_STR, &arg) ? arg.value.data.data : "";
}

struct drt_bytes drt_arg_bytes(struct drt_call *call, size_t index)
{
    struct arg arg;
    if (!want_arg(call, index, DRT_BYTES, &arg)) {
        return (struct drt_bytes){NULL, 0};
    }
    return (struct drt_bytes){arg.value.data.data, arg.value.data.size};
}

const void *drt_arg_records_(struct drt_call *call, size_t index, const char *type,
                             size_t type_size, size_t *ret_count)
{
    static const uint64_t nothing[512]; /* DRT_ARG_RECORD of a wrong argument is read as zeros */
    struct arg arg;
    if (ret_count != NULL) {
        *ret_count = 0;
    }
    if (!want_arg(call, index, DRT_RECORDS, &arg)) {
        return type_size <= sizeof nothing ? nothing : NULL;
    }
    if (strcmp(arg.value.type, type) != 0 || arg.value.type_size != type_size) {
        misuse(call,
               "%s read its argument %zu as records of \"%s\" (%zu bytes), and it has records of "
               "\"%s\" (%u bytes)",
               call->entry->name, index, type, type_size, arg.value.type,
               (unsigned)arg.value.type_size);
        return type_size <= sizeof nothing ? nothing : NULL;
    }
    if (ret_count != NULL) {
        *ret_count = arg.value.data.size / type_size;
    } else if (arg.value.data.size == 0) {
        misuse(call, "%s read its argument %zu as one record, but it holds none.",
               call->entry->name, index);
        return type_size <= sizeof nothing ? nothing : NULL;
    }
    return arg.value.data.data;
}

struct drt_ref drt_arg_ref(struct drt_call *call, size_t index)
{
    struct drt_ref ref = {{0, 0}};
    struct arg arg;
    if (!want_arg(call, index, DRT_REF, &arg) || runtime_enter() != 0) {
        return ref;
    }
    struct object_id id = arg.kind == DRT_REF ? arg.id : value_inner(&arg.value, 0);
    runtime_lock();
    ref = inner_hold(id, (struct object_id){0});
    runtime_unlock();
    return ref;
}

size_t drt_arg_inner_count(const struct drt_call *call, size_t index)
{
    struct arg arg;
    return read_arg(call, index, &arg) && arg.kind == DRT_OF ? arg.value.ref_count : 0;
}

struct drt_ref drt_arg_inner(struct drt_call *call, size_t index, size_t inner)
{
    struct drt_ref ref = {{0, 0}};
    struct arg arg;
    size_t count = drt_arg_inner_count(call, index);
    if (inner >= count || !read_arg(call, index, &arg)) {
        misuse(call, "%s read reference %zu inside its argument %zu, which holds %zu",
               call->entry->name, inner, index, count);
        return ref;
    }
    if (runtime_enter() == 0) {
        runtime_lock();
        ref = inner_hold(value_inner(&arg.value, inner), (struct object_id){0});
        runtime_unlock();
    }
    return ref;
}

/* ---- results ---- */

static int result_at(struct drt_call *call, size_t index, struct result **ret)
{
    if (UNLIKELY(runtime_is_child())) {
        return runtime_enter();
    }
    if (index >= call->return_count) {
        misuse(call,
               "%s set its result %zu, but was submitted for %u. Submit it for more with "
               "drt_submit_into.",
               call->entry->name, index, (unsigned)call->return_count);
        return DRT_E_SIGNATURE;
    }
    *ret = &call->results[index];
    return 0;
}

static void release_alias(struct result *r)
{
    if (!drt_is_none(r->alias)) {
        drt_release(&r->alias);
    }
}

static void result_clear(struct result *r)
{
    release_alias(r);
    if (r->inner != NULL) {
        drt_release_all(r->inner, r->inner_count);
        free(r->inner);
        r->inner = NULL;
        r->inner_count = 0;
    }
    free(r->data);
    r->data = NULL;
    r->state = RESULT_UNSET;
}

static void *result_room(struct result *r, size_t size)
{
    result_clear(r);
    if (size > RESULT_SMALL) {
        r->data = aligned_alloc(64, align_up(size, 64));
        if (r->data == NULL) {
            return NULL;
        }
    }
    r->state = RESULT_VALUE;
    r->size = (uint32_t)size;
    return size > RESULT_SMALL ? r->data : r->small;
}

struct bytes result_value(const struct result *r)
{
    return bytes_of(r->size > RESULT_SMALL ? r->data : r->small, r->size);
}

static void set_too_large(struct result *r, uint64_t size)
{
    r->state = RESULT_TOO_LARGE;
    r->size = (uint32_t)MIN_OF(size, UINT32_MAX);
}

/* What does not fit into one message beside the results before it is too large, in each mode. */
static void fit_together(struct drt_call *call)
{
    size_t end = 0, holds = 0;
    for (uint32_t i = 0; i < call->return_count; i++) {
        struct result *r = &call->results[i];
        size_t before = end;
        if (r->state != RESULT_VALUE) {
            continue;
        }
        (void)layout_place_entry(&end, r->size);
        bool large = end > MESSAGE_PAYLOAD_MAX;
        if (large || r->inner_count > LOCAL_ARGS_MAX - holds) {
            uint32_t size = r->size;
            end = before;
            result_clear(r);
            set_too_large(r, large ? MIN_OF(size, VALUE_MAX) : RESULT_HOLDS_TOO_MANY);
        } else {
            holds += r->inner_count;
        }
    }
}

static int return_alias(struct drt_call *call, struct result *r, const struct drt_value *v)
{
    struct drt_ref ref = {{v->u_.h[0], v->u_.h[1]}};
    uint32_t number, mine;
    int rc = runtime_enter();
    if (rc != 0) {
        return rc;
    }
    result_clear(r);
    runtime_lock();
    struct slot *s = runtime_find(ref, &number);
    if (s == NULL) {
        rc = misuse(call, "%s returned drt_of(a reference): %s", call->entry->name,
                    drt_last_error());
    } else {
        r->state = RESULT_ALIAS;
        r->alias = objects_share(&runtime.objects, s, number, &mine);
        if (v->count_ != 0) {
            runtime_release(s, number);
        }
    }
    runtime_unlock();
    return rc;
}

/* Its name is spelled out only for an error: formatting costs more than an empty task. */
static int check_result(const struct drt_call *call, size_t index, const struct drt_value *value)
{
    char what[REGISTRY_NAME_BUFFER];
    int rc = value_check(value, "a result");
    if (UNLIKELY(rc != 0)) {
        snprintf(what, sizeof what, "result %zu of %s", index, call->entry->name);
        rc = value_check(value, what);
    }
    return rc;
}

/* Encodes the value with the objects that it holds, and takes holds of them. With the lock. */
static int keep_inner(struct drt_call *call, struct result *r, const struct drt_value *v,
                      const struct drt_ref *inner, size_t count)
{
    struct object_id *ids = xcalloc(count + 1, sizeof *ids);
    struct drt_ref *holds = xcalloc(count + 1, sizeof *holds);
    struct failure f;
    char what[REGISTRY_NAME_BUFFER];
    void *room;
    snprintf(what, sizeof what, "a result of %s", call->entry->name);
    int rc = inner_find(inner, count, what, ids, &f);
    if (rc == -EBADF) {
        rc = misuse(call, "%s", f.message);
    } else if (rc != 0) { /* it failed before it reached a raylet: so does this task */
        rc = drt_fail(call, f.code, "%s", f.message);
    } else if ((room = result_room(r, value_holding_size(v, count))) == NULL) {
        rc = drt_fail(call, ENOMEM, "no memory for a result of %s", call->entry->name);
    } else {
        value_holding_encode(v, ids, count, room);
        for (size_t i = 0; i < count; i++) {
            uint32_t number, mine;
            struct slot *s = objects_find(&runtime.objects, inner[i], &number);
            holds[i] = objects_share(&runtime.objects, s, number, &mine);
        }
        r->inner = holds;
        r->inner_count = count;
        holds = NULL;
    }
    free(holds);
    free(ids);
    return rc;
}

static int return_holding(struct drt_call *call, size_t index, const struct drt_value *v,
                          const struct drt_ref *inner, size_t count)
{
    char what[REGISTRY_NAME_BUFFER];
    struct result *r = NULL;
    int rc = result_at(call, index, &r);
    if (rc != 0) {
        return rc;
    }
    rc = v->kind_ == DRT_REF ? 0 : check_result(call, index, v);
    if (rc == 0) {
        snprintf(what, sizeof what, "result %zu of %s", index, call->entry->name);
        rc = inner_check(v, inner, count, what);
    }
    result_clear(r);
    if (rc == DRT_E_TOO_LARGE) {
        size_t size = value_data_size(v) + count * sizeof(struct object_id);
        set_too_large(r, count > LOCAL_ARGS_MAX ? RESULT_HOLDS_TOO_MANY : size);
        return rc;
    }
    if (rc != 0) {
        return misuse(call, "%s", drt_last_error());
    }
    rc = runtime_enter();
    if (rc == 0) {
        runtime_lock();
        rc = keep_inner(call, r, v, inner, count);
        runtime_unlock();
    }
    return rc;
}

int drt_return_holding(struct drt_call *call, size_t index, struct drt_value value,
                       const struct drt_ref *inner, size_t count)
{
    return return_holding(call, index, &value, inner, value.kind_ == DRT_REF ? SIZE_MAX : count);
}

int drt_return_at(struct drt_call *call, size_t index, struct drt_value value)
{
    if (value.kind_ == DRT_REF) {
        struct drt_ref itself = {{value.u_.h[0], value.u_.h[1]}};
        return return_holding(call, index, &value, &itself, 1);
    }
    struct result *r = NULL;
    int rc = result_at(call, index, &r);
    if (rc != 0) {
        return rc;
    }
    if (value.kind_ == DRT_OF) {
        return return_alias(call, r, &value);
    }
    rc = check_result(call, index, &value);
    if (rc == DRT_E_TOO_LARGE) {
        result_clear(r);
        set_too_large(r, value_data_size(&value));
        return rc;
    }
    if (rc != 0) {
        return misuse(call, "%s", drt_last_error());
    }
    void *room = result_room(r, value_size(&value));
    if (room == NULL) {
        return drt_fail(call, ENOMEM, "no memory for result %zu of %s", index, call->entry->name);
    }
    value_encode(&value, room);
    return 0;
}

int drt_return(struct drt_call *call, struct drt_value value)
{
    return drt_return_at(call, 0, value);
}

static void *create(struct drt_call *call, size_t index, const char *type, size_t type_size,
                    uint64_t size)
{
    struct result *r = NULL;
    struct drt_value v = drt_make_(type == NULL ? DRT_BYTES : DRT_RECORDS, "", size);
    if (result_at(call, index, &r) != 0) {
        return NULL;
    }
    v.u_.h[0] = (uint64_t)(uintptr_t)type;
    v.u_.h[1] = type_size;
    int rc = check_result(call, index, &v);
    if (rc != 0) {
        result_clear(r);
        set_too_large(r, size);
        if (rc < 0) {
            misuse(call, "%s", drt_last_error());
        }
        return NULL;
    }
    size_t head = value_head_size(type, size);
    uint8_t *room = result_room(r, head + size);
    if (room == NULL) {
        drt_fail(call, ENOMEM, "no memory for result %zu of %s", index, call->entry->name);
        return NULL;
    }
    value_encode_head(type, type_size, size, room);
    memset(room + head, 0, size);
    return room + head;
}

void *drt_return_create(struct drt_call *call, size_t index, size_t size)
{
    return create(call, index, NULL, 1, size);
}

void *drt_return_records_(struct drt_call *call, size_t index, const char *type, size_t type_size,
                          size_t count)
{
    uint64_t size = count > UINT64_MAX / type_size ? UINT64_MAX : (uint64_t)count * type_size;
    return create(call, index, type, type_size, size);
}

bool drt_cancelled(const struct drt_call *call)
{
    if (call->claim != NULL && !runtime_is_child()) {
        return (atomic_load_explicit(call->claim, memory_order_relaxed) & CLAIM_CANCEL) != 0;
    }
    return call->deadline_ns != NS_FOREVER && clock_now_ns() >= call->deadline_ns;
}

uint32_t drt_attempt(const struct drt_call *call)
{
    return call->attempt;
}

/* ---- a run ---- */

/* Where kinds were declared a body need not ask: what a reference brought is checked here. */
static bool args_fit(struct drt_call *call)
{
    const unsigned char *kind = call->entry->kinds;
    for (size_t i = 0; i < call->args.count; i++, kind = kind_next(kind)) {
        struct arg arg;
        if (!read_arg(call, i, &arg)) {
            misuse(call, "argument %zu of %s is broken", i, call->entry->name);
            return false;
        }
        if (!kind_takes(kind, arg_kind(&arg))) {
            misuse(call, "argument %zu of %s is %s, but it takes %s", i, call->entry->name,
                   kind_name(arg_kind(&arg)), kind_name(*kind & 15));
            return false;
        }
    }
    if (*kind != 0 && (*kind & 0x80) == 0) {
        misuse(call, "%s was called with %u arguments, which are too few.", call->entry->name,
               (unsigned)call->args.count);
        return false;
    }
    return true;
}

static bool some_too_large(const struct drt_call *call)
{
    for (uint32_t i = 0; i < call->return_count; i++) {
        if (call->results[i].state == RESULT_TOO_LARGE) {
            return true;
        }
    }
    return false;
}

void call_run(struct drt_call *call, struct body *body)
{
    call->code = 0;
    call->app_code = 0;
    call->message[0] = '\0';
    call->one.state = RESULT_UNSET;
    call->one.data = NULL;
    call->one.alias = (struct drt_ref){{0, 0}};
    call->one.inner = NULL;
    call->one.inner_count = 0;
    call->results =
        call->return_count <= 1 ? &call->one : xcalloc(call->return_count, sizeof *call->results);
    runtime_body_begin(body);
    if (!args_fit(call)) {
        return;
    }
    int rc = call->entry->fn(call);
    if (UNLIKELY(runtime_is_child())) {
        fork_end_child(call->entry->name);
    }
    if (rc != 0 && call->code == 0 && !(rc == DRT_E_TOO_LARGE && some_too_large(call))) {
        drt_fail(call, rc,
                 "%s returned %d. A task returns what drt_return or drt_fail returned, or 0.",
                 call->entry->name, rc);
    }
    if (call->code == 0 && call->return_count > 1) {
        fit_together(call);
    }
    if (call->return_count == 1 && call->one.state == RESULT_UNSET) {
        struct drt_value nothing = drt_nothing();
        value_encode(&nothing, result_room(&call->one, value_size(&nothing)));
    }
}

void call_end(struct drt_call *call, struct body *body)
{
    for (uint32_t i = 0; i < call->return_count; i++) {
        result_clear(&call->results[i]);
    }
    if (call->results != &call->one) {
        free(call->results);
    }
    runtime_body_end(body);
}
