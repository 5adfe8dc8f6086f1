#include "raylet/core_tasks_private.h"

#include "common/text.h"
#include "proto/layout.h"
#include "proto/sentences.h"
#include "raylet/core_cache.h"
#include "raylet/core_classes.h"
#include "raylet/core_contents.h"
#include "raylet/core_foreign.h"
#include "raylet/core_guests.h"
#include "raylet/core_held.h"
#include "raylet/core_history.h"
#include "raylet/core_lanes.h"
#include "raylet/core_objects.h"
#include "raylet/core_peers.h"

#include <stdio.h>

#define BACKOFF_MAX_NS (60 * NS_PER_S)

/* ---- state ---- */

static bool may_enter(uint8_t from, uint8_t to)
{
    static const uint8_t allowed[] = {
        [0] = 1u << TASK_WAITING | 1u << TASK_READY | 1u << TASK_SETTLED,
        [TASK_WAITING] = 1u << TASK_READY | 1u << TASK_SETTLED,
        [TASK_BACKOFF] = 1u << TASK_READY | 1u << TASK_SETTLED,
        [TASK_READY] = 1u << TASK_PLACED | 1u << TASK_SETTLED,
        [TASK_PLACED] =
            1u << TASK_READY | 1u << TASK_BACKOFF | 1u << TASK_ABANDONED | 1u << TASK_SETTLED,
        [TASK_ABANDONED] = 1u << TASK_SETTLED,
        [TASK_SETTLED] = 0,
    };
    return (allowed[from] >> to & 1) != 0;
}

static int counts_as_waiting(uint8_t state)
{
    return (1u << TASK_WAITING | 1u << TASK_BACKOFF | 1u << TASK_READY) >> state & 1;
}

/* PLACED now, or no more. */
static void count_placed(struct raylet_core *c, const struct task *t, uint64_t by)
{
    struct job *job = t->class_->job;

    job->running_count += by;
    if (LIKELY(t->place != AT_LANE)) {
        c->running += by;
    } else {
        c->away += by;
        job->away_count += by;
    }
}

void task_enter(struct raylet_core *c, struct task *t, uint8_t state)
{
    struct class_ *k = t->class_;
    uint8_t was = t->state;
    int waiting = counts_as_waiting(state) - counts_as_waiting(was);

    ASSERT(may_enter(was, state));
    t->state = state;
    c->waiting += (uint64_t)(int64_t)waiting;
    k->job->waiting_count += (uint64_t)(int64_t)waiting;
    if (state == TASK_READY || was == TASK_READY) {
        k->ready += state == TASK_READY ? 1 : UINT64_MAX; /* -1 */
    }
    if (state == TASK_PLACED || was == TASK_PLACED) {
        count_placed(c, t, state == TASK_PLACED ? 1 : UINT64_MAX);
    }
}

const char *task_state_name(uint8_t state)
{
    /* That its arguments are there makes no difference to people: it waits, and its row says for
     * what. */
    static const char *const names[] = {"new",     "waiting",   "waiting", "waiting",
                                        "running", "cancelled", "done"};
    return names[state];
}

const char *task_function(const struct task *t)
{
    return t->class_->shown;
}

struct task_extra *task_extra_of(struct task *t)
{
    if (t->extra == NULL) {
        struct task_extra *x = xcalloc(1, sizeof *x);
        x->task = t;
        core_timer_init(&x->deadline_timer, TIMER_DEADLINE);
        core_timer_init(&x->backoff_timer, TIMER_BACKOFF);
        x->backoff_ns = BACKOFF_DEFAULT_NS;
        x->lifted = INT32_MIN;
        list_init(&x->room_link);
        list_init(&x->siblings);
        list_init(&x->children);
        t->extra = x;
    }
    return t->extra;
}

static struct object *return_at(struct task *t, uint32_t i)
{
    return i == 0 ? t->first : numbers_get(&t->first->owner->objects, t->first->number + i);
}

/* ---- where it is ---- */

static void recording_drop(struct raylet_core *c, struct task *t)
{
    struct recording *r = t->extra == NULL ? NULL : t->extra->recording;

    if (r == NULL) {
        return;
    }
    foreign_secure_forget(c, &r->securing);
    for (uint32_t i = 0; i < r->count; i++) {
        object_unhold(c, r->objects[i]);
    }
    free(r->objects);
    free(r->result);
    free(r);
    t->extra->recording = NULL;
}

/* After it has left its state: it is at no worker, and sent to no node. */
void task_leave_place(struct raylet_core *c, struct task *t)
{
    if (t->place == AT_LANE) {
        struct lane *l = t->lane;
        recording_drop(c, t);
        numbers_remove(&l->peer->runs, t->run);
        l->peer->sent_bytes -= task_weight(t);
        l->placed--;
    }
    t->worker = NULL;
    t->place = AT_NONE;
    t->flags &= (uint8_t) ~(TASK_STARTED | TASK_STOP_CHILDREN | TASK_ANSWERED);
}

/* ---- the end of a task ---- */

static void extra_free(struct raylet_core *c, struct task *t)
{
    struct task_extra *x = t->extra;

    if (x->guest != NULL) {
        guest_free(c, t);
    }
    cache_leave(c, t);
    for (uint32_t i = 0; i < x->need_count; i++) {
        if (x->needs[i].watcher != NULL) {
            object_unneed(c, x->needs[i].watcher);
            core_note_wait_over(c, x->needs[i].object);
        }
        object_unhold(c, x->needs[i].object);
    }
    for (uint32_t i = 0; i < x->ref_count; i++) {
        object_unhold(c, x->refs[i]);
    }
    core_timer_disarm(c, &x->deadline_timer);
    core_timer_disarm(c, &x->backoff_timer);
    list_unlink(&x->siblings);
    LIST_FOREACH_SAFE(at, &x->children)
    {
        struct task_extra *child = list_entry(at, struct task_extra, siblings);
        child->parent = NULL;
        list_unlink(&child->siblings);
    }
    held_forget(x);
    free(x->needs);
    free(x->refs);
    free(x->name);
    free(x);
}

void task_free(struct raylet_core *c, struct task *t)
{
    task_enter(c, t, TASK_SETTLED);
    task_leave_place(c, t);
    list_unlink(&t->link);
    if (t->extra != NULL) {
        extra_free(c, t);
    }
    if (t->payload_size > sizeof t->payload.small) {
        free(t->payload.data);
    }
    class_unuse(c, t->class_);
    slab_free(&c->task_slab, t);
}

/* `worker` and `ran_ns` are of its last attempt, 0 if it began none; `error` is NULL where it has
 * its values. */
static void remember(struct raylet_core *c, struct task *t, uint32_t worker,
                     struct object_error *error, uint64_t ran_ns)
{
    struct class_ *k = t->class_;
    struct history_row *row = history_end(c, k->job, k->shown, &k->stats, error, ran_ns);

    row->id = core_object_id(c, t->first);
    row->node = t->place == AT_LANE ? core_intern(c, t->lane->peer->name) : NULL;
    row->worker = worker;
    row->submitted_unix_ms = core_unix_of(c, t->submitted_ms);
    row->depth = k->depth;
    row->priority = k->priority;
    row->attempt = t->attempt;
    row->max_attempts = t->max_attempts;
    if (t->extra != NULL) {
        row->name = t->extra->name; /* the task itself needs it no more */
        t->extra->name = NULL;
    }
}

/* What the task's charge still covers goes with its values; the rest comes back now. */
static void settle_charge(struct raylet_core *c, struct task *t)
{
    struct client *owner = t->first->owner;
    uint32_t charge = t->charge;

    t->charge = 0;
    core_credit_back(c, owner, charge);
}

static uint32_t worker_of(const struct task *t)
{
    if (t->place == AT_LANE) {
        return (t->flags & TASK_ANSWERED) != 0 ? t->slot : 0;
    }
    return t->place == AT_WORKER && t->worker != NULL ? t->worker->number : 0;
}

void task_settle_error(struct raylet_core *c, struct task *t, uint32_t worker,
                       struct object_error *error, uint64_t ran_ns)
{
    struct client *owner = t->first->owner;
    uint64_t number = t->first->number;

    remember(c, t, worker, error, ran_ns);
    settle_charge(c, t);
    for (uint32_t i = 0; i < t->returns; i++) {
        struct object *o = numbers_get(&owner->objects, number + i);
        if (o != NULL && o->state == OBJECT_PENDING) {
            o->task = NULL;
            object_settle_error(c, o, error);
        }
    }
    t->first = NULL;
}

/* If its body has begun, the answer stops it as t->stop says. */
void task_ask_back(struct raylet_core *c, struct task *t)
{
    struct worker *w = t->worker;

    if (t->place == AT_LANE) {
        struct peer_msg *m = core_send_peer(c, t->lane->peer, SIDE_OUT, PEER_STOP);
        m->stop.run = t->run;
        _Static_assert(STOP_ASK + 0 == PEER_STOP_ASK + 0 && STOP_KILL + 0 == PEER_STOP_KILL + 0,
                       "the same in both");
        m->stop.how = t->stop;
        m->stop.recursive = (t->flags & TASK_STOP_CHILDREN) != 0;
        return;
    }
    if (w->client != NULL) { /* else its process is gone, and its exit will say the rest */
        struct raylet_effect *e = core_effect(c, EFFECT_TAKE_BACK);
        e->worker = w->number;
        e->client = w->client->number;
        e->slot = t->slot;
        w->taking_back++;
    }
}

/* A guest that never began. */
static void guest_fail(struct raylet_core *c, struct task *t, const struct object_error *error)
{
    int code = error->failure.code;

    if (code == CODE_PROGRAM || code == CODE_CANCELLED) {
        guest_back(c, t, code == CODE_PROGRAM ? PEER_BACK_BROKEN : PEER_BACK_ASKED);
    } else {
        guest_failed(c, t, PEER_RESULT_FAILED, &error->failure, 0);
    }
}

void task_fail(struct raylet_core *c, struct task *t, struct object_error *error)
{
    if (t->state == TASK_ABANDONED) {
        return;
    }
    if (t->state == TASK_READY) {
        class_dequeue(c, t);
    }
    struct object_id id = task_id(c, t);
    if (!task_is_guest(t)) {
        uint64_t ran_ns = history_ran_ns(c, t);
        task_settle_error(c, t, ran_ns != 0 ? worker_of(t) : 0, error, ran_ns);
    } else if (t->state != TASK_PLACED) {
        guest_fail(c, t, error);
    }
    if (t->extra != NULL &&
        t->extra->recording != NULL) { /* it has ended there: no answer follows */
        struct peer_msg *m = core_send_peer(c, t->lane->peer, SIDE_OUT, PEER_RECORDED);
        m->runs.runs = arena_copy(&c->arena, &t->run, sizeof t->run);
        m->runs.run_count = 1;
        task_free(c, t);
        return;
    }
    if (t->state != TASK_PLACED) {
        task_free(c, t);
        return;
    }
    task_enter(c, t, TASK_ABANDONED);
    task_extra_of(t)->was = id;
    core_timer_disarm(c, &t->extra->deadline_timer);
    task_ask_back(c, t);
}

static void fail_with(struct raylet_core *c, struct task *t, int code, const char *message)
{
    struct object_error *e = error_make(c, code, task_function(t), "%s", message);

    e->failure.attempts = t->attempt;
    e->stopped = task_id(c, t);
    task_fail(c, t, e);
    error_unref(e);
}

/* ---- submit ---- */

struct object_error *task_failed_need(struct task *t)
{
    struct task_extra *x = t->extra;

    for (uint32_t i = 0; x != NULL && i < x->need_count; i++) {
        if (object_is_settled(x->needs[i].object)) {
            const struct object *root = object_root(x->needs[i].object);
            if (root->state == OBJECT_ERROR) {
                return error_deeper(root->error);
            }
        }
    }
    return NULL;
}

void task_fill_payload(struct task *t, struct bytes payload)
{
    t->payload_size = (uint32_t)payload.size;
    if (payload.size > sizeof t->payload.small) {
        t->payload.data = xmalloc(payload.size);
        memcpy(t->payload.data, payload.data, payload.size);
    } else if (payload.size > 0) {
        memcpy(t->payload.small, payload.data, payload.size);
    }
}

/* References in its arguments, which one message takes to another node. */
static size_t count_references(struct raylet_core *c, const struct task *t)
{
    const struct task_extra *x = t->extra;
    size_t n = x == NULL ? 0 : x->ref_count, inner;

    for (uint32_t i = 0; x != NULL && i < x->need_count; i++) {
        (void)object_inner(c, object_root(x->needs[i].object), &inner);
        n += inner;
    }
    return n;
}

/* All its arguments: the payload that takes them to a worker. */
static size_t weigh(struct task *t)
{
    struct task_extra *x = t->extra;
    size_t end = t->payload_size;

    for (uint32_t i = 0; x != NULL && i < x->need_count; i++) {
        (void)layout_place_need(&end, object_root(x->needs[i].object)->size);
    }
    if (x != NULL) {
        x->need_bytes = (uint32_t)MIN_OF(end - t->payload_size, UINT32_MAX / 2);
    }
    return end;
}

/* Why a task that has its arguments can never run; NULL: it can. */
static struct object_error *never(struct raylet_core *c, struct task *t)
{
    const struct job *job = t->class_->job;
    const struct wish *wish = t->class_->wish;
    const struct object_error *known = job->program_error;
    size_t bytes = weigh(t);

    if (known == NULL && wish->state == WISH_IMPOSSIBLE) {
        known = wish->error;
    }
    if (known != NULL) {
        struct object_error *e = error_new(&known->failure);
        text_shorten(e->failure.task, sizeof e->failure.task, task_function(t));
        return e;
    }
    char why[SENTENCE_SIZE];
    if (bytes > MESSAGE_PAYLOAD_MAX) {
        sentence_arguments_large(task_function(t), bytes, why);
        return error_make(c, CODE_TOO_LARGE, task_function(t), "%s", why);
    }
    size_t references = count_references(c, t);
    if (references > PEER_REFS_MAX) {
        sentence_arguments_hold(task_function(t), references, why);
        return error_make(c, CODE_TOO_LARGE, task_function(t), "%s", why);
    }
    return NULL;
}

/* It has its arguments: it may run, if it can at all. */
void task_become_ready(struct raylet_core *c, struct task *t)
{
    struct object_error *e = never(c, t);

    list_unlink(&t->link);
    if (UNLIKELY(e != NULL)) {
        task_fail(c, t, e);
        error_unref(e);
        return;
    }
    task_enter(c, t, TASK_READY);
    class_enqueue(c, t);
}

void task_has_arguments(struct raylet_core *c, struct task *t)
{
    if (t->extra == NULL || t->extra->need_count == 0 || cache_admit(c, t)) {
        task_become_ready(c, t);
    }
}

void task_wake(struct raylet_core *c)
{
    struct list *at;

    for (uint32_t i = 0; i < WORK_STEP && (at = list_first(&c->woken)) != NULL; i++) {
        struct task *t = list_entry(at, struct task, link);
        struct object_error *e = task_failed_need(t);
        list_unlink(&t->link);
        if (e != NULL) {
            task_fail(c, t, e);
            error_unref(e);
        } else {
            task_has_arguments(c, t);
        }
    }
}

/* ---- placed ---- */

uint64_t task_time_left_ns(const struct raylet_core *c, const struct task *t)
{
    if (t->extra == NULL || t->extra->deadline_ns == 0) {
        return 0;
    }
    return t->extra->deadline_ns > c->now_ns ? t->extra->deadline_ns - c->now_ns : 1;
}

void task_add_values(struct raylet_core *c, struct task *t, struct local_msg *m)
{
    uint32_t n = t->extra->need_count;
    uint32_t *sizes = arena_alloc(&c->arena, n * sizeof *sizes);
    struct bytes *parts = arena_alloc(&c->arena, n * sizeof *parts);

    for (uint32_t i = 0; i < n; i++) {
        parts[i] = object_bytes(object_root(t->extra->needs[i].object));
        sizes[i] = (uint32_t)parts[i].size;
    }
    m->run.need_sizes = sizes;
    m->run.need_count = n;
    m->more = parts;
    m->more_count = n;
}

void task_run(struct raylet_core *c, struct task *t)
{
    struct local_msg *m;

    task_enter(c, t, TASK_PLACED);
    m = core_send(c, t->worker->client->number, LOCAL_RUN);
    m->run.slot = t->slot;
    m->run.class_number = t->class_->number;
    m->run.attempt = t->attempt;
    m->run.returns = t->returns;
    m->run.task = task_id(c, t);
    m->run.time_left_ns = task_time_left_ns(c, t);
    m->run.args_size = 0; /* the whole payload */
    m->run.need_sizes = NULL;
    m->run.need_count = 0;
    m->payload =
        bytes_of(t->payload_size <= sizeof t->payload.small ? t->payload.small : t->payload.data,
                 t->payload_size);
    if (t->extra != NULL && t->extra->need_count > 0) {
        task_add_values(c, t, m);
    } else if (task_is_guest(t)) {
        guest_fill_run(t, &m->run);
    }
}

/* The task's own charge covers a small result; what a large one has beyond it is taken now. */
static void charge_result(struct raylet_core *c, struct task *t, struct object *o,
                          const struct local_return *r, bool kept)
{
    uint32_t cost = LOCAL_OBJECT_COST;

    if (kept) {
        cost += r->size + r->ref_count * LOCAL_ID_COST;
    }
    uint32_t covered = MIN_OF(t->charge, cost);
    t->charge -= covered;
    o->charge = cost;
    if (UNLIKELY(covered < cost)) {
        core_credit_take(c, o->owner, cost - covered);
    }
}

/* What went wrong in the body did so where it ran. */
static void say_where(const struct task *t, struct failure *f)
{
    if (t->place == AT_LANE) {
        text_shorten(f->node, sizeof f->node, t->lane->peer->name);
    }
    f->attempts = t->attempt;
}

/* Who names what is in its result: its worker; NULL: the raylet that ran it, which has looked. */
static const struct client *who_returns(const struct task *t)
{
    return t->place == AT_WORKER ? t->worker->client : NULL;
}

static struct object *find_alias(struct raylet_core *c, const struct task *t, struct object_id id)
{
    const struct client *client = who_returns(t);
    struct object *o = client != NULL ? held_find(c, client, id) : object_find(c, id);

    return o != NULL && o->owner->job == t->class_->job ? o : NULL;
}

/* `index`: which of the task's results it is; its first may be gone already. */
static void settle_return(struct raylet_core *c, struct task *t, struct object *o, uint32_t index,
                          const struct local_return *r, struct bytes value,
                          const struct object_id *refs)
{
    struct object_error *e = NULL;
    char why[SENTENCE_SIZE];
    struct object *target;

    uint32_t state = value.size > VALUE_MAX + VALUE_HEADER_ROOM ? RETURN_TOO_LARGE : r->state;

    o->task = NULL;
    charge_result(c, t, o, r, state == RETURN_VALUE);
    switch (state) {
    case RETURN_VALUE:
        if (UNLIKELY(r->ref_count > 0) && !held_contain(c, o, who_returns(t), refs, r->ref_count)) {
            e = error_make(c, CODE_NOT_FOUND, task_function(t),
                           "a reference inside what it returned: " NOT_HELD);
            break;
        }
        object_settle_value(c, o, value);
        return;
    case RETURN_ALIAS:
        target = find_alias(c, t, r->alias);
        if (target != NULL) {
            core_note_wait(c, target, task_priority(t)); /* who waits for it waits for that now */
            object_follow(c, o, target);
            return;
        }
        e = error_make(c, CODE_NOT_FOUND, task_function(t),
                       "it returned drt_of(a reference): " NOT_HELD);
        break;
    case RETURN_TOO_LARGE:
        sentence_result_large(task_function(t), index,
                              r->state == RETURN_VALUE ? (uint32_t)value.size : r->size, why);
        e = error_make(c, CODE_TOO_LARGE, task_function(t), "%s", why);
        break;
    default:
        sentence_result_unset(task_function(t), index, why);
        e = error_make(c, CODE_SIGNATURE, task_function(t), "%s", why);
    }
    say_where(t, &e->failure);
    object_settle_error(c, o, e);
    error_unref(e);
}

static void settle_values(struct raylet_core *c, struct task *t, const struct local_result *m,
                          struct bytes payload)
{
    static const struct local_return unset = {.state = RETURN_UNSET};
    struct client *owner = t->first->owner;
    uint64_t number = t->first->number;
    size_t end = 0, ref = 0;

    remember(c, t, worker_of(t), NULL, m->ran_ns);
    for (uint32_t i = 0; i < t->returns; i++) {
        const struct local_return *r = i < m->return_count ? &m->returns[i] : &unset;
        struct bytes value = bytes_of(NULL, 0);
        if (r->state == RETURN_VALUE) {
            value = layout_entry(payload, &end, r->size);
        }
        struct object *o = numbers_get(&owner->objects, number + i);
        settle_return(c, t, o, i, r, value, m->refs + ref);
        ref += r->ref_count;
    }
    core_credit_back(c, owner, t->charge);
    t->charge = 0;
    t->first = NULL;
}

static void try_again(struct raylet_core *c, struct task *t)
{
    struct task_extra *x = task_extra_of(t);
    uint64_t wait = x->backoff_ns;

    for (uint32_t i = 1; i < t->attempt && wait < BACKOFF_MAX_NS; i++) {
        wait *= 2;
    }
    t->attempt++;
    task_enter(c, t, TASK_BACKOFF);
    task_leave_place(c, t);
    list_append(&t->class_->job->waiting, &t->link);
    core_timer_arm(c, &x->backoff_timer, ns_add(c->now_ns, MIN_OF(wait, BACKOFF_MAX_NS)));
}

static void body_failed(struct raylet_core *c, struct task *t, const struct local_result *m)
{
    if ((t->flags & SUBMIT_RETRY_ON_ERROR) && t->attempt < t->max_attempts &&
        t->class_->job->state == JOB_LIVE) {
        try_again(c, t);
        return;
    }
    struct object_error *e = error_make(c, m->code, task_function(t), "%s", m->message);
    say_where(t, &e->failure);
    e->failure.app_code = m->app_code;
    task_settle_error(c, t, worker_of(t), e, m->ran_ns);
    error_unref(e);
    task_free(c, t);
}

/* What was stopped has been given up at home; the answer only says that it has ended. */
static void guest_answer(struct raylet_core *c, struct task *t, const struct local_result *m,
                         struct bytes payload)
{
    struct failure f;

    if (t->state == TASK_ABANDONED) {
        failure_set(&f, CODE_CANCELLED, "it was stopped");
        guest_failed(c, t, PEER_RESULT_DIED, &f, m->ran_ns);
    } else {
        guest_result(c, t, m, payload);
    }
}

void task_result(struct raylet_core *c, struct task *t, const struct local_result *m,
                 struct bytes payload)
{
    if (task_is_guest(t)) {
        guest_answer(c, t, m, payload);
        task_free(c, t);
        return;
    }
    if (t->state == TASK_ABANDONED) {
        task_free(c, t);
        return;
    }
    if (m->code != 0) {
        body_failed(c, t, m);
        return;
    }
    settle_values(c, t, m, payload);
    task_free(c, t);
}

void task_taken_back(struct raylet_core *c, struct task *t)
{
    if (task_is_guest(t) && t->state == TASK_ABANDONED) {
        guest_back(c, t, PEER_BACK_ASKED);
        task_free(c, t);
        return;
    }
    if (t->state == TASK_ABANDONED) {
        task_free(c, t);
        return;
    }
    bool away = t->place == AT_LANE;
    if (task_is_guest(t)) {
        guest_waits(c);
    }
    task_enter(c, t, TASK_READY);
    task_leave_place(c, t);
    if (away && t->extra != NULL && t->extra->lifted != INT32_MIN) { /* inherited while it was */
        task_set_class(c, t, t->extra->lifted);
        t->extra->lifted = INT32_MIN;
    }
    if (away && class_chooses(t->class_)) {
        class_enqueue(c, t); /* perhaps for another node */
    } else {
        class_enqueue_first(c, t);
    }
}

void task_set_class(struct raylet_core *c, struct task *t, int32_t priority)
{
    struct class_ *old = t->class_;

    t->class_ = class_use_at(c, old, priority);
    if (t->state == TASK_READY) {
        old->ready--;
        t->class_->ready++;
    }
    class_unuse(c, old);
}

static bool is_unheld(struct task *t)
{
    for (uint32_t i = 0; i < t->returns; i++) {
        const struct object *o = return_at(t, i);
        if (o->held || o->holds > 0) {
            return false;
        }
    }
    return true;
}

/* What a lost attempt submitted and nobody else knows of would be made again by the next. */
void task_cancel_orphans(struct raylet_core *c, struct task *t, bool body_lives)
{
    if (t->extra == NULL) {
        return;
    }
    LIST_FOREACH_SAFE(at, &t->extra->children)
    {
        struct task *child = list_entry(at, struct task_extra, siblings)->task;
        bool unheld = child->first != NULL && is_unheld(child);
        if (!body_lives || unheld) { /* what a body that lives still holds may be so later */
            list_unlink(at);
            child->extra->parent = NULL;
        }
        if (unheld) {
            (void)task_cancel(c, child, CANCEL_RECURSIVE, "the attempt that submitted it was lost");
        }
    }
}

void task_attempt_died(struct raylet_core *c, struct task *t, const struct failure *why,
                       uint64_t ran_ns)
{
    uint32_t worker = worker_of(t);

    if ((c->rules_off & RULE_CHILDREN) == 0) {
        task_cancel_orphans(c, t, false);
    }
    if (task_is_guest(t)) {
        guest_failed(c, t, PEER_RESULT_DIED, why, ran_ns);
        task_free(c, t);
        return;
    }
    if (t->state == TASK_ABANDONED) {
        task_free(c, t);
        return;
    }
    if (t->attempt < t->max_attempts && t->class_->job->state == JOB_LIVE) {
        try_again(c, t);
        return;
    }
    struct object_error *e = error_new(why);
    text_shorten(e->failure.task, sizeof e->failure.task, task_function(t));
    e->failure.attempts = t->attempt;
    task_settle_error(c, t, worker, e, ran_ns);
    error_unref(e);
    task_free(c, t);
}

/* ---- cancel and time ---- */

static void stop_children(struct raylet_core *c, struct task *t, enum stop_how how, const char *why)
{
    struct list *at;

    while (t->extra != NULL && (at = list_first(&t->extra->children)) != NULL) {
        struct task_extra *child = list_entry(at, struct task_extra, siblings);
        list_unlink(at);
        child->parent = NULL;
        (void)task_stop(c, child->task, how, true, why);
    }
}

int task_stop(struct raylet_core *c, struct task *t, enum stop_how how, bool recursive,
              const char *why)
{
    if (recursive) {
        stop_children(c, t, how, why);
    }
    if (t->state == TASK_ABANDONED) {
        if (how > t->stop) { /* it was asked more kindly before */
            t->stop = how;
            task_ask_back(c, t);
        }
        return CODE_DONE;
    }
    t->stop = how;
    t->flags |= recursive ? TASK_STOP_CHILDREN : 0;
    fail_with(c, t, CODE_CANCELLED, why);
    return 0;
}

int task_cancel(struct raylet_core *c, struct task *t, uint32_t flags, const char *why)
{
    return task_stop(c, t, flags & CANCEL_FORCE ? STOP_KILL : STOP_ASK,
                     (flags & CANCEL_RECURSIVE) != 0, why);
}

static void say_deadline(const struct task_extra *x, char *ret, size_t size)
{
    char span[32];

    if (x->timeout_ns != 0) {
        snprintf(ret, size,
                 "it did not end within its timeout of %s, which starts at the submit and covers "
                 "waiting and all attempts",
                 text_format_span(x->timeout_ns, span));
    } else {
        snprintf(ret, size,
                 "it did not end within the timeout of the task that submitted it, which also "
                 "applies to all tasks that it submits");
    }
}

void task_timer(struct raylet_core *c, struct core_timer *timer)
{
    struct task_extra *x;
    char text[256];

    if (timer->kind == TIMER_BACKOFF) {
        x = container_of(timer, struct task_extra, backoff_timer);
        task_become_ready(c, x->task);
        return;
    }
    x = container_of(timer, struct task_extra, deadline_timer);
    x->task->stop = STOP_SOON;
    x->task->flags |= TASK_STOP_CHILDREN;
    stop_children(c, x->task, STOP_SOON, "the time of the task that submitted it ran out");
    say_deadline(x, text, sizeof text);
    fail_with(c, x->task, CODE_DEADLINE, text);
}
