#include "raylet/core_guests.h"

#include "common/text.h"
#include "raylet/core_foreign.h"
#include "raylet/core_held.h"
#include "raylet/core_objects.h"
#include "raylet/core_peers.h"

#define LOOK_NS (10 * NS_PER_MS)

struct kept { /* for one run of another home; in home->kept */
    struct securing securing;
    struct peer *home;
    uint64_t run;
    struct object **args; /* covered by the home, or held of our own */
    uint32_t arg_count;
    struct object **results; /* held */
    uint32_t result_count;
    bool answered; /* its task is gone: ARGS_FREE is to be said */
    bool recorded; /* nothing of the result is kept (any more) */
    bool args_free_said;
};

/* It goes back to its home unless a worker is found soon. */
void guest_waits(struct raylet_core *c)
{
    if (!timer_is_armed(&c->guests_timer.timer)) {
        core_timer_arm(c, &c->guests_timer, c->now_ns + LOOK_NS);
    }
}

struct object_id task_id(const struct raylet_core *c, const struct task *t)
{
    if (task_is_guest(t)) {
        return t->extra->guest->id;
    }
    return t->first != NULL ? core_object_id(c, t->first) : t->extra->was;
}

void guest_fill_run(const struct task *t, struct local_run *m)
{
    const struct guest *g = t->extra->guest;

    m->args_size = g->args_size;
    m->need_sizes = g->need_sizes;
    m->need_count = g->need_count;
}

/* ---- what is kept ---- */

static struct kept *kept_of(struct raylet_core *c, struct guest *g)
{
    struct kept *k = numbers_get(&g->home->kept, g->run);

    if (k == NULL) {
        k = xcalloc(1, sizeof *k);
        securing_init(&k->securing, SECURING_ARGS);
        k->home = g->home;
        k->run = g->run;
        k->recorded = true;
        numbers_set(&g->home->kept, g->run, k);
    }
    return k;
}

static void drop_results(struct raylet_core *c, struct kept *k)
{
    for (uint32_t i = 0; i < k->result_count; i++) {
        object_unhold(c, k->results[i]);
    }
    free(k->results);
    k->results = NULL;
    k->result_count = 0;
}

static void kept_free(struct raylet_core *c, struct kept *k)
{
    foreign_secure_forget(c, &k->securing);
    drop_results(c, k);
    for (uint32_t i = 0; i < k->arg_count; i++) {
        foreign_uncover(c, k->args[i]);
    }
    free(k->args);
    numbers_remove(&k->home->kept, k->run);
    free(k);
}

static void args_free(struct raylet_core *c, struct kept *k)
{
    if (!k->args_free_said) {
        uint64_t *run = arena_copy(&c->arena, &k->run, sizeof k->run);
        struct peer_msg *m = core_send_peer(c, k->home, SIDE_IN, PEER_ARGS_FREE);
        m->runs.runs = run;
        m->runs.run_count = 1;
    }
    kept_free(c, k);
}

/* Goes on with what is kept, as far as it can. */
static void advance(struct raylet_core *c, struct kept *k)
{
    bool must_add = (c->rules_off & RULE_ADD_FIRST) == 0;

    if (!k->answered || !k->recorded) {
        return;
    }
    for (uint32_t i = 0; i < k->arg_count && must_add && !k->args_free_said; i++) {
        if (foreign_needs_more(c, k->args[i])) {
            foreign_secure(c, &k->securing, k->args[i]);
        }
    }
    if (k->securing.missing == 0) {
        args_free(c, k);
    }
}

void guest_secured(struct raylet_core *c, struct securing *s)
{
    args_free(c, container_of(s, struct kept, securing));
}

void guest_recorded(struct raylet_core *c, struct peer *home, uint64_t run)
{
    struct kept *k = numbers_get(&home->kept, run);

    if (k == NULL || k->recorded) {
        c->dropped_messages++;
        return;
    }
    drop_results(c, k);
    k->recorded = true;
    advance(c, k);
}

static bool forget_one(uint64_t run, void *value, void *arg)
{
    kept_free(arg, value);
    return true;
}

void guest_forget_kept(struct raylet_core *c, struct peer *home)
{
    numbers_each(&home->kept, forget_one, c);
}

/* ---- answers ---- */

static struct peer_msg *answer(struct raylet_core *c, struct task *t, enum peer_type type)
{
    struct guest *g = t->extra->guest;

    if (g->home == NULL) {
        return NULL;
    }
    return core_send_peer(c, g->home, SIDE_IN, type);
}

/* What a result refers to must be held by the worker that says so. */
static struct object *find_reference(struct raylet_core *c, const struct task *t,
                                     struct object_id id)
{
    struct object *o = held_find(c, t->worker->client, id);

    return o != NULL && o->owner->job == t->class_->job ? o : NULL;
}

/* Holds what is inside until RECORDED. False: its worker does not hold something of it. */
static bool keep_references(struct raylet_core *c, struct task *t, const struct local_result *m,
                            uint32_t *ret_count)
{
    size_t room = m->ref_count, n = 0;
    bool keeps = (c->rules_off & RULE_KEEP_RESULT) == 0;
    bool all = true;

    for (size_t i = 0; i < m->return_count; i++) {
        room += m->returns[i].state == RETURN_ALIAS;
    }
    *ret_count = 0;
    if (room == 0) { /* as nearly all */
        return true;
    }
    struct object **objects = xcalloc(room, sizeof(struct object *));
    for (size_t i = 0; i < m->return_count && all; i++) {
        if (m->returns[i].state == RETURN_ALIAS) {
            objects[n] = find_reference(c, t, m->returns[i].alias);
            all = objects[n++] != NULL;
        }
    }
    for (size_t i = 0; i < m->ref_count && all; i++) {
        objects[n] = find_reference(c, t, m->refs[i]);
        all = objects[n++] != NULL;
    }
    *ret_count = (uint32_t)n;
    if (!all || n == 0 || !keeps) {
        free(objects);
        return all;
    }
    struct kept *k = kept_of(c, t->extra->guest);
    for (size_t i = 0; i < n; i++) {
        object_hold(objects[i]);
    }
    k->results = objects;
    k->result_count = (uint32_t)n;
    k->recorded = false;
    return true;
}

/* Nothing of its arguments is needed beyond their cover: then one message says all. */
static bool args_are_free(struct raylet_core *c, const struct task *t)
{
    const struct task_extra *x = t->extra;

    for (uint32_t i = 0; i < x->ref_count; i++) {
        if (foreign_needs_more(c, x->refs[i])) {
            return (c->rules_off & RULE_ADD_FIRST) != 0;
        }
    }
    return true;
}

static uint64_t worker_number(const struct task *t)
{
    return t->place == AT_WORKER && t->worker != NULL ? t->worker->number : 0;
}

void guest_result(struct raylet_core *c, struct task *t, const struct local_result *m,
                  struct bytes payload)
{
    struct guest *g = t->extra->guest;
    struct failure f;
    uint32_t refs = 0;

    if (g->home == NULL) {
        return;
    }
    if (m->code != 0) {
        failure_set(&f, m->code, "%s", m->message);
        f.app_code = m->app_code;
        guest_failed(c, t, PEER_RESULT_FAILED, &f, m->ran_ns);
        return;
    }
    if (!keep_references(c, t, m, &refs)) {
        failure_set(&f, CODE_NOT_FOUND, "a reference in what it returned: " NOT_HELD);
        guest_failed(c, t, PEER_RESULT_FAILED, &f, m->ran_ns);
        return;
    }
    bool is_free = refs == 0 && args_are_free(c, t);
    struct peer_msg *r = answer(c, t, PEER_RESULT);
    r->result.run = g->run;
    r->result.kind = PEER_RESULT_VALUES;
    r->result.worker = worker_number(t);
    r->result.returns = arena_copy(&c->arena, m->returns, m->return_count * sizeof *m->returns);
    r->result.return_count = m->return_count;
    r->result.refs = arena_copy(&c->arena, m->refs, m->ref_count * sizeof *m->refs);
    r->result.ref_count = m->ref_count;
    r->result.args_free = is_free;
    r->result.wants_recorded = refs > 0;
    r->result.ran_ns = m->ran_ns;
    r->payload = bytes_of(arena_copy(&c->arena, payload.data, payload.size), payload.size);
    if (!is_free) {
        (void)kept_of(c, g);
    } else {
        g->args_free_said = true;
    }
}

void guest_failed(struct raylet_core *c, struct task *t, enum peer_result_kind kind,
                  const struct failure *f, uint64_t ran_ns)
{
    struct guest *g = t->extra->guest;

    if (g->home == NULL) {
        return;
    }
    bool is_free = args_are_free(c, t);
    struct peer_msg *r = answer(c, t, PEER_RESULT);
    r->result.run = g->run;
    r->result.kind = kind;
    r->result.worker = worker_number(t);
    r->result.failure = *f;
    text_shorten(r->result.failure.node, sizeof r->result.failure.node, c->node_name);
    r->result.args_free = is_free;
    r->result.ran_ns = ran_ns;
    g->args_free_said = is_free;
}

void guest_back(struct raylet_core *c, struct task *t, enum peer_back reason)
{
    struct guest *g = t->extra->guest;

    if (g->home != NULL) {
        struct peer_msg *m = answer(c, t, PEER_BACK);
        m->back.run = g->run;
        m->back.reason = reason;
        g->args_free_said = true; /* never begun: nobody took anything of them */
    }
}

void guest_uncover(struct raylet_core *c, struct task *t)
{
    struct task_extra *x = t->extra;
    uint32_t kept = 0;

    held_forget(x);
    for (uint32_t i = 0; i < x->ref_count; i++) {
        if (foreign_needs_more(c, x->refs[i])) {
            foreign_uncover(c, x->refs[i]);
        } else {
            x->refs[kept++] = x->refs[i];
        }
    }
    x->ref_count = kept;
}

void guest_free(struct raylet_core *c, struct task *t)
{
    struct task_extra *x = t->extra;
    struct guest *g = x->guest;

    if (g->home != NULL) {
        numbers_remove(&g->home->guests, g->run);
        struct kept *k = numbers_get(&g->home->kept, g->run);
        if (k == NULL && x->ref_count > 0 && !g->args_free_said) {
            k = kept_of(c, g);
        }
        if (k != NULL) {
            k->args = x->refs;
            k->arg_count = x->ref_count;
            k->args_free_said = g->args_free_said;
            k->answered = true;
            x->refs = NULL;
            x->ref_count = 0;
            advance(c, k);
        }
    }
    for (uint32_t i = 0; i < x->ref_count; i++) {
        foreign_uncover(c, x->refs[i]);
    }
    free(x->refs);
    free(g->need_sizes);
    free(g);
    x->refs = NULL;
    x->ref_count = 0;
    x->guest = NULL;
    c->guest_count--;
}
