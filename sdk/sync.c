#include "sdk/sync.h"

#include <stdio.h>
#include <time.h>

#include "common/clock.h"
#include "common/text.h"
#include "proto/layout.h"
#include "proto/peer.h"
#include "proto/sentences.h"
#include "sdk/classes.h"

#define SYNC_DEPTH_MAX 256u /* as a node allows */

/* What the arguments bring: the values behind references, held while the body runs. */
struct needs {
    struct bytes *values;
    struct drt_ref *holds;
    size_t count;
};

/* As a raylet would weigh them: what runs here runs elsewhere, too. */
static bool needs_fit(const struct sync_task *t, const struct needs *n, struct failure *ret)
{
    size_t end = t->args.size, references = 0;
    char why[SENTENCE_SIZE];
    for (size_t i = 0; i < n->count; i++) {
        struct value_view v;
        (void)layout_place_need(&end, n->values[i].size);
        references += value_decode(n->values[i], &v) == 0 ? v.ref_count : 0;
    }
    for (size_t i = 0; i < t->value_count; i++) {
        references += t->values[i].kind_ == DRT_REF;
    }
    if (end > MESSAGE_PAYLOAD_MAX) {
        sentence_arguments_large(t->entry->name, end, why);
    } else if (references > PEER_REFS_MAX) {
        sentence_arguments_hold(t->entry->name, references, why);
    } else {
        return true;
    }
    failure_set(ret, DRT_E_TOO_LARGE, "%s", why);
    text_shorten(ret->task, sizeof ret->task, t->entry->name);
    return false;
}

/* With the lock. False: one of them is in error, which *ret tells. */
static bool take_needs(const struct sync_task *t, struct needs *n, struct failure *ret)
{
    size_t at = 0;
    for (size_t i = 0; i < t->value_count; i++) {
        n->count += t->values[i].kind_ == DRT_OF;
    }
    n->values = xcalloc(n->count + 1, sizeof *n->values);
    n->holds = xcalloc(n->count + 1, sizeof *n->holds);
    for (size_t i = 0; i < t->value_count; i++) {
        if (t->values[i].kind_ != DRT_OF) {
            continue;
        }
        struct drt_ref ref = {{t->values[i].u_.h[0], t->values[i].u_.h[1]}};
        uint32_t number, mine;
        struct slot *s = runtime_find(ref, &number);
        if (s == NULL) {
            error_to_failure(-EBADF, ret);
            return false;
        }
        n->holds[at] = objects_share(&runtime.objects, s, number, &mine);
        s = objects_of(&runtime.objects, s, &number);
        if (s->state == OBJECT_ERROR) {
            *ret = *s->failure;
            ret->depth++;
            return false;
        }
        n->values[at++] = object_value(s);
    }
    return needs_fit(t, n, ret);
}

static void drop_needs(struct needs *n)
{
    drt_release_all(n->holds, n->count);
    free(n->holds);
    free(n->values);
}

/* A result of the body becomes the object's. With the lock. */
static void settle(struct drt_call *call, uint32_t index, struct slot *s)
{
    struct result *r = &call->results[index];
    struct failure f;
    char why[SENTENCE_SIZE];
    uint32_t number;
    switch (r->state) {
    case RESULT_VALUE:
        object_set_value(&runtime.objects, s, result_value(r));
        return;
    case RESULT_ALIAS: {
        struct slot *other = objects_find(&runtime.objects, r->alias, &number);
        other = objects_of(&runtime.objects, other, &number);
        if (other->state == OBJECT_ERROR) {
            object_set_error(&runtime.objects, s, other->failure);
        } else {
            object_set_value(&runtime.objects, s, object_value(other));
        }
        return;
    }
    case RESULT_TOO_LARGE:
        sentence_result_large(call->entry->name, index, r->size, why);
        failure_set(&f, DRT_E_TOO_LARGE, "%s", why);
        break;
    default:
        sentence_result_unset(call->entry->name, index, why);
        failure_set(&f, DRT_E_SIGNATURE, "%s", why);
    }
    text_shorten(f.task, sizeof f.task, call->entry->name);
    f.attempts = call->attempt;
    object_set_error(&runtime.objects, s, &f);
}

static void publish(const struct sync_task *t, struct drt_call *call, const struct failure *f)
{
    runtime_lock();
    for (uint32_t i = 0; i < t->returns; i++) {
        uint32_t number;
        struct slot *s = objects_find(&runtime.objects, t->refs[i], &number);
        if (s == NULL) {
            continue;
        }
        if (f->code != 0) {
            object_set_error(&runtime.objects, s, f);
        } else {
            settle(call, i, s);
        }
    }
    runtime_unlock();
}

static void doze(uint64_t ns)
{
    struct timespec left = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static void missed(const struct sync_task *t, const struct body *body, uint32_t attempts,
                   struct failure *ret)
{
    uint64_t span = t->options->timeout.ns_plus_1_;
    char text[32];
    if (span != 0 && !body->inherits) {
        failure_set(ret, DRT_E_DEADLINE,
                    "it did not end within its timeout of %s: give it more time, or less to do",
                    text_format_span(span - 1, text));
    } else {
        failure_set(ret, DRT_E_DEADLINE,
                    "it did not end within the timeout of the task that submitted it, which also "
                    "applies to all tasks that it submits");
    }
    text_shorten(ret->task, sizeof ret->task, t->entry->name);
    ret->attempts = attempts;
}

/* One attempt after the other. The last call stays open when it succeeded: publish reads it. */
static void attempt(const struct sync_task *t, struct drt_call *call, struct body *body,
                    struct failure *f)
{
    const struct drt_options *o = t->options;
    uint32_t attempts = o->max_attempts == 0 ? ATTEMPTS_DEFAULT : o->max_attempts;
    uint64_t backoff = o->backoff.ns_plus_1_ == 0 ? BACKOFF_DEFAULT : o->backoff.ns_plus_1_ - 1;
    for (call->attempt = 1;; call->attempt++) {
        if (clock_now_ns() >= body->deadline_ns) {
            missed(t, body, call->attempt - 1, f);
            return;
        }
        call_run(call, body);
        if (clock_now_ns() >= body->deadline_ns) {
            missed(t, body, call->attempt, f);
        } else if (call->code != 0) {
            failure_set(f, call->code, "%s", call->message);
            f->app_code = call->app_code;
            f->attempts = call->attempt;
            text_shorten(f->task, sizeof f->task, t->entry->name);
        } else {
            return;
        }
        call_end(call, body);
        if (f->code != DRT_E_FAILED || !o->retry_on_error || call->attempt >= attempts) {
            return;
        }
        uint64_t now = clock_now_ns();
        doze(MIN_OF(backoff, body->deadline_ns > now ? body->deadline_ns - now : 0));
        backoff = MIN_OF(backoff * 2, 60 * NS_PER_S);
        f->code = 0;
    }
}

/* Each level is a piece of this thread's stack. */
static void too_deep(const struct sync_task *t, struct failure *ret)
{
    failure_set(ret, DRT_E_TOO_DEEP,
                "tasks that submit tasks are nested %u levels deep, and sync mode allows no more",
                SYNC_DEPTH_MAX);
    text_shorten(ret->task, sizeof ret->task, t->entry->name);
}

void sync_run(const struct sync_task *t)
{
    struct needs needs = {0};
    struct failure f = {0};
    struct drt_call call;
    struct body body = {.deadline_ns = NS_FOREVER};
    const struct body *around = runtime_body();
    uint64_t span = t->options->timeout.ns_plus_1_;
    if (span != 0) {
        body.deadline_ns = ns_add(clock_now_ns(), span - 1);
    }
    if (around != NULL) {
        body.inherits = around->deadline_ns < body.deadline_ns;
        body.deadline_ns = MIN_OF(body.deadline_ns, around->deadline_ns);
        body.depth = around->depth + 1;
    }
    if (body.depth > SYNC_DEPTH_MAX) {
        too_deep(t, &f);
        publish(t, &call, &f);
        return;
    }
    runtime_lock();
    bool whole = take_needs(t, &needs, &f);
    runtime_unlock();
    if (whole) {
        call.entry = t->entry;
        call.needs = needs.values;
        call.need_count = needs.count;
        call.return_count = t->returns;
        call.claim = NULL;
        call.deadline_ns = body.deadline_ns;
        ASSERT(args_decode(t->args, &call.args) == 0);
        attempt(t, &call, &body, &f);
    }
    publish(t, &call, &f);
    if (whole && f.code == 0) {
        call_end(&call, &body);
    }
    drop_needs(&needs);
}
