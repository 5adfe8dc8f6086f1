#include "sdk/submit.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/text.h"
#include "proto/sentences.h"
#include "sdk/ask.h"
#include "sdk/sync.h"

#define IDS_INLINE  16u
#define ARGS_INLINE 512u

struct submission {
    const struct drt_entry_ *entry;
    const struct drt_value *values;
    size_t count;
    struct drt_options options;
    struct drt_ref *refs;
    size_t returns;
    size_t id_count; /* OF and REF among the values */
    size_t args_size;
};

static void refuse(struct submission *s, int code)
{
    struct failure f;
    error_to_failure(code, &f);
    if (s->entry != NULL) {
        text_shorten(f.task, sizeof f.task, s->entry->name);
    }
    runtime_lock();
    for (size_t i = 0; i < s->returns; i++) {
        s->refs[i] = runtime_failed(&f);
    }
    runtime_unlock();
}

/* What was given away is given away, also by a call that was refused. */
static void end_given(const struct drt_value *values, size_t count)
{
    for (size_t i = 0; i < count && values != NULL; i++) {
        if (values[i].kind_ == DRT_OF && values[i].count_ != 0) {
            struct drt_ref ref = {{values[i].u_.h[0], values[i].u_.h[1]}};
            drt_release(&ref);
        }
    }
}

/* ---- checks ---- */

static int check_count(const struct submission *s)
{
    size_t least, most;
    kinds_count(s->entry->kinds, &least, &most);
    if (s->count >= least && s->count <= MIN_OF(most, LOCAL_ARGS_MAX)) {
        return 0;
    }
    if (s->count > LOCAL_ARGS_MAX) {
        return error_set(DRT_E_TOO_LARGE,
                         "%s was called with %zu arguments, and a task takes at most %u. Pass many "
                         "numbers as one array, with DRT_ARRAY.",
                         s->entry->name, s->count, LOCAL_ARGS_MAX);
    }
    return error_set(DRT_E_SIGNATURE, "%s takes %s%zu argument%s, but was called with %zu.",
                     s->entry->name, most == SIZE_MAX ? "at least " : "", least,
                     least == 1 ? "" : "s", s->count);
}

static int check_values(struct submission *s)
{
    const unsigned char *kind = s->entry->kinds;
    int rc = check_count(s);
    s->id_count = 0;
    for (size_t i = 0; i < s->count && rc == 0; i++, kind = kind_next(kind)) {
        const struct drt_value *v = &s->values[i];
        if (UNLIKELY(!kind_takes(kind, (int)v->kind_))) {
            return error_set(DRT_E_SIGNATURE, "argument %zu of %s is %s, but it takes %s", i,
                             s->entry->name, kind_name((int)v->kind_), kind_name(*kind & 15));
        }
        if (v->kind_ == DRT_OF || v->kind_ == DRT_REF) {
            s->id_count++;
        } else if (v->kind_ != DRT_I64 && v->kind_ != DRT_F64) {
            char what[REGISTRY_NAME_BUFFER];
            snprintf(what, sizeof what, "argument %zu of %s", i, s->entry->name);
            rc = value_check(v, what);
        }
    }
    return rc;
}

static int check(struct submission *s, drt_task_fn *fn, const char *name,
                 const struct drt_options *options)
{
    if (name != NULL && *name == '&') {
        name++; /* drt_submit(&add, ...) */
    }
    s->entry = registry_find(fn, name);
    if (UNLIKELY(s->entry == NULL)) {
        return error_set(-EINVAL,
                         "%s is not a task. Define it with DRT_TASK, and submit it by its name, or "
                         "by a pointer to it with drt_submit_array.",
                         name != NULL ? name : "The function");
    }
    if (UNLIKELY(s->values == NULL && s->count != 0)) {
        size_t count = s->count;
        s->count = 0;
        return error_set(-EINVAL, "%s was submitted with NULL for %zu arguments", s->entry->name,
                         count);
    }
    if (UNLIKELY(s->returns == 0 || s->returns > LOCAL_RETURNS_MAX)) {
        return error_set(-EINVAL, "%s was submitted for %zu results; a task has 1 to %u",
                         s->entry->name, s->returns, LOCAL_RETURNS_MAX);
    }
    int rc = 0;
    if (s->count > 0 && s->values[s->count - 1].kind_ == DRT_OPTIONS_) {
        const struct drt_value *v = &s->values[--s->count];
        rc = options_copy(&s->options, sizeof s->options, v->data_, v->size_, s->entry->name);
    } else if (options != NULL) {
        s->options = *options;
    } else {
        memset(&s->options, 0, sizeof s->options);
    }
    if (rc == 0 && UNLIKELY(s->options.name != NULL)) {
        size_t length = strlen(s->options.name);
        if (length > LOCAL_NAME_MAX) {
            return error_set(-EINVAL, "The name of %s has %zu characters, and may have at most %u.",
                             s->entry->name, length, LOCAL_NAME_MAX);
        }
    }
    if (rc == 0) {
        rc = check_values(s);
    }
    if (rc == 0) {
        s->args_size = args_size(s->values, s->count);
        if (s->args_size > MESSAGE_PAYLOAD_MAX) {
            char why[SENTENCE_SIZE];
            sentence_arguments_large(s->entry->name, s->args_size, why);
            rc = error_set(DRT_E_TOO_LARGE, "%s", why);
        }
    }
    return rc;
}

/* ---- references among the arguments ---- */

/* The objects behind them, in their order. 0; -EBADF; or the code of one that failed before it ever
 * reached a raylet: its story, one deeper, is in *ret_failure. With the lock. */
static int find_ids(const struct submission *s, struct object_id *ids, struct failure *ret_failure)
{
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct drt_value *v = &s->values[i];
        uint32_t number;
        if (v->kind_ != DRT_OF && v->kind_ != DRT_REF) {
            continue;
        }
        struct drt_ref ref = {{v->u_.h[0], v->u_.h[1]}};
        struct slot *slot = runtime_find(ref, &number);
        if (slot == NULL) {
            char why[256];
            text_copy(why, sizeof why, drt_last_error());
            error_set(-EBADF, "argument %zu of %s: %s", i, s->entry->name, why);
            error_to_failure(-EBADF, ret_failure);
            text_shorten(ret_failure->task, sizeof ret_failure->task, s->entry->name);
            return -EBADF;
        }
        slot = objects_of(&runtime.objects, slot, &number);
        if (object_id_is_none(slot->id)) {
            *ret_failure = *slot->failure;
            ret_failure->depth++;
            return ret_failure->code;
        }
        ids[n++] = slot->id;
    }
    return 0;
}

/* ---- the two ways to run ---- */

static void name_objects(struct submission *s, uint32_t node, uint32_t client)
{
    for (size_t i = 0; i < s->returns; i++) {
        uint32_t number;
        struct slot *slot = runtime_object(&number);
        struct object_id id = {node, client, ++runtime.last_number};
        objects_index(&runtime.objects, slot, number, id);
        s->refs[i] = slot_ref(slot, number);
    }
}

/* The raylet went away between: no answer will come for these. */
static void fail_objects(struct submission *s, int code)
{
    struct failure f;
    error_to_failure(code, &f);
    for (size_t i = 0; i < s->returns; i++) {
        uint32_t number;
        struct slot *slot = objects_find(&runtime.objects, s->refs[i], &number);
        if (slot != NULL && !object_is_settled(slot)) {
            object_set_error(&runtime.objects, slot, &f);
        }
    }
}

static void split_ids(const struct submission *s, const struct object_id *ids,
                      struct object_id *needs, struct local_submit *ret)
{
    struct object_id *refs = needs + s->id_count;
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (s->values[i].kind_ == DRT_OF) {
            needs[ret->need_count++] = ids[n++];
        } else if (s->values[i].kind_ == DRT_REF) {
            *--refs = ids[n++]; /* their order means nothing */
            ret->ref_count++;
        }
    }
    ret->needs = needs;
    ret->refs = refs;
}

/* A timeout of zero has passed before anything could run: the same in each mode, without a race. */
static int check_time(const struct submission *s)
{
    if (LIKELY(s->options.timeout.ns_plus_1_ != 1)) {
        return 0;
    }
    return error_set(DRT_E_DEADLINE, "its timeout is 0, so it was not run: give it more time, or "
                                     "leave .timeout out for no limit");
}

static int send(struct submission *s, const struct object_id *ids, struct object_id *split,
                struct bytes args)
{
    const struct drt_options *o = &s->options;
    uint32_t class_number;
    bool body = runtime_body() != NULL;
    int rc = class_find(s->entry, o, &class_number);
    if (rc == 0) {
        rc = check_time(s);
    }
    if (rc != 0) {
        return rc;
    }
    struct local_msg m = {
        .type = LOCAL_SUBMIT,
        .submit = {.class_number = class_number,
                   .returns = (uint32_t)s->returns,
                   .parent_slot = runtime_parent_slot(),
                   .max_attempts = o->max_attempts == 0 ? ATTEMPTS_DEFAULT : o->max_attempts,
                   .flags = (o->retry_on_error ? SUBMIT_RETRY_ON_ERROR : 0u) |
                            (o->at_most_once ? SUBMIT_AT_MOST_ONCE : 0u),
                   .timeout_ns = o->timeout.ns_plus_1_ == 0 ? 0 : o->timeout.ns_plus_1_ - 1,
                   .backoff_ns =
                       o->backoff.ns_plus_1_ == 0 ? BACKOFF_DEFAULT : o->backoff.ns_plus_1_ - 1,
                   .name = o->name != NULL ? o->name : "",
                   .ref_count = s->id_count}, /* of both kinds, as they cost the same */
        .payload = args,
    };
    rc = link_spend(&runtime.link, local_submit_cost(&m.submit, args.size), ask_some_left, NULL,
                    body);
    if (rc != 0) {
        return rc;
    }
    m.submit.ref_count = 0;
    m.submit.number = runtime.last_number + 1; /* others may have submitted meanwhile */
    if (s->id_count != 0) {
        split_ids(s, ids, split, &m.submit);
    }
    name_objects(s, runtime.link.node, runtime.link.client);
    rc = link_send(&runtime.link, &m);
    if (UNLIKELY(rc == DRT_E_DISCONNECTED)) {
        fail_objects(s, rc);
    }
    return 0; /* a signal while the ring was full is no failure: the record is under way */
}

static void run_here(struct submission *s, struct bytes args)
{
    struct sync_task t = {s->entry, &s->options,         args, s->values, s->count,
                          s->refs,  (uint32_t)s->returns};
    runtime_lock();
    name_objects(s, 0, 0);
    runtime_unlock();
    sync_run(&t);
}

static void go(struct submission *s, uint8_t *args, struct object_id *ids)
{
    struct failure f = {0};
    struct bytes encoded = bytes_of(args, s->args_size);
    uint32_t none;
    runtime_lock();
    int rc = s->id_count == 0 ? 0 : find_ids(s, ids, &f);
    if (rc == 0) {
        args_encode(s->values, s->count, ids, args, s->args_size);
        if (runtime_is_linked()) {
            rc = send(s, ids, ids + s->id_count, encoded);
        } else {
            rc = class_find(s->entry, &s->options, &none);
            rc = rc != 0 ? rc : check_time(s);
        }
        if (rc != 0) {
            error_to_failure(rc, &f);
            text_shorten(f.task, sizeof f.task, s->entry->name);
        }
    }
    for (size_t i = 0; i < s->returns && rc != 0; i++) {
        s->refs[i] = runtime_failed(&f);
    }
    runtime_unlock();
    if (rc == 0 && !runtime_is_linked()) {
        run_here(s, encoded);
    }
}

void submit(struct drt_ref *refs, size_t returns, drt_task_fn *fn, const char *name,
            const struct drt_value *values, size_t count, const struct drt_options *options)
{
    struct submission s;
    s.values = values;
    s.count = count;
    s.refs = refs;
    s.returns = returns;
    if (UNLIKELY(refs == NULL && returns != 0)) {
        error_set(-EINVAL, "%s was submitted with NULL for the references of %zu results",
                  name != NULL ? name : "a task", returns);
        end_given(values, count);
        return;
    }
    if (runtime_enter() != 0) {
        memset(refs, 0, returns * sizeof *refs);
        return;
    }
    int rc = check(&s, fn, name, options);
    if (rc != 0) {
        refuse(&s, rc);
    } else if (s.args_size <= ARGS_INLINE && s.id_count <= IDS_INLINE) {
        _Alignas(64) uint8_t args[ARGS_INLINE];
        struct object_id ids[2 * IDS_INLINE];
        go(&s, args, ids);
    } else {
        struct buffer args = {0};
        struct object_id *ids = xcalloc(2 * s.id_count + 1, sizeof *ids);
        go(&s, buffer_extend(&args, s.args_size), ids);
        buffer_fini(&args);
        free(ids);
    }
    end_given(values, count);
}

static size_t count_values(const struct drt_value *values)
{
    size_t n = 0;
    while (values[n].kind_ != DRT_END_) {
        n++;
    }
    return n;
}

struct drt_ref drt_submit_(drt_task_fn *task, const char *name, const struct drt_value *values)
{
    struct drt_ref ref;
    submit(&ref, 1, task, name, values, count_values(values), NULL);
    return ref;
}

void drt_submit_into_(struct drt_ref *refs, size_t count, drt_task_fn *task, const char *name,
                      const struct drt_value *values)
{
    submit(refs, count, task, name, values, count_values(values), NULL);
}

struct drt_ref drt_submit_array_(drt_task_fn *task, const char *name,
                                 const struct drt_value *values, size_t count)
{
    struct drt_ref ref;
    submit(&ref, 1, task, name, values, count, NULL);
    return ref;
}
