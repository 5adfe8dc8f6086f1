#include "raylet/core_tasks_private.h"

#include "common/text.h"
#include "raylet/core_classes.h"
#include "raylet/core_foreign.h"
#include "raylet/core_guests.h"
#include "raylet/core_lanes.h"
#include "raylet/core_objects.h"
#include "raylet/core_peers.h"

#define LOSSES_MAX      10u /* of attempts that were not known to have begun */
#define LOST_BACKOFF_NS (50 * NS_PER_MS)

/* ---- between nodes ---- */

static void add_references(struct raylet_core *c, struct task *t, struct peer_run *m)
{
    const struct task_extra *x = t->extra;
    size_t room = x->ref_count, n = 0, inner;

    for (uint32_t i = 0; i < x->need_count; i++) {
        (void)object_inner(c, object_root(x->needs[i].object), &inner);
        room += inner;
    }
    struct object_id *ids = arena_alloc(&c->arena, (room + 1) * sizeof *ids);
    for (uint32_t i = 0; i < x->ref_count; i++) {
        ids[n++] = core_object_id(c, x->refs[i]);
    }
    for (uint32_t i = 0; i < x->need_count; i++) {
        struct object *const *inside = object_inner(c, object_root(x->needs[i].object), &inner);
        for (size_t j = 0; j < inner; j++) {
            ids[n++] = core_object_id(c, inside[j]);
        }
    }
    m->refs = ids;
    m->ref_count = n;
}

void task_send(struct raylet_core *c, struct task *t, struct lane *l)
{
    struct peer *p = l->peer;

    t->place = AT_LANE;
    t->slot = 0;
    t->lane = l;
    t->run = p->next_run++;
    numbers_set(&p->runs, t->run, t);
    p->sent_bytes += task_weight(t);
    l->placed++;
    task_enter(c, t, TASK_PLACED);
    struct peer_msg *m = core_send_peer(c, p, SIDE_OUT, PEER_RUN);
    m->run.run = t->run;
    m->run.number = t->class_->number;
    m->run.attempt = t->attempt;
    m->run.returns = t->returns;
    m->run.task = core_object_id(c, t->first);
    m->run.time_left_ns = task_time_left_ns(c, t);
    m->run.name = t->extra == NULL || t->extra->name == NULL ? "" : core_text(c, t->extra->name);
    m->run.args_size = t->payload_size;
    m->payload =
        bytes_of(t->payload_size <= sizeof t->payload.small ? t->payload.small : t->payload.data,
                 t->payload_size);
    if (t->extra == NULL) {
        return;
    }
    add_references(c, t, &m->run);
    if (t->extra->need_count > 0) {
        struct local_msg values;
        task_add_values(c, t, &values);
        m->run.need_sizes = values.run.need_sizes;
        m->run.need_count = values.run.need_count;
        m->more = values.more;
        m->more_count = values.more_count;
    }
}

void task_cover(struct raylet_core *c, struct task *t)
{
    struct task_extra *x = t->extra;
    struct cover *cover;

    if (x == NULL || x->need_count + x->ref_count == 0) {
        return;
    }
    cover = xcalloc(1, sizeof *cover);
    cover->objects = xcalloc(x->need_count + x->ref_count, sizeof(struct object *));
    for (uint32_t i = 0; i < x->need_count; i++) {
        cover->objects[cover->count++] = x->needs[i].object;
    }
    for (uint32_t i = 0; i < x->ref_count; i++) {
        cover->objects[cover->count++] = x->refs[i];
    }
    for (uint32_t i = 0; i < cover->count; i++) {
        object_hold(cover->objects[i]);
    }
    numbers_set(&t->lane->peer->covers, t->run, cover);
}

void task_record(struct raylet_core *c, struct task *t, struct recording *r)
{
    task_extra_of(t)->recording = r;
}

void task_lost(struct raylet_core *c, struct task *t, const struct failure *why)
{
    struct task_extra *x;

    if (t->state == TASK_ABANDONED) {
        task_free(c, t);
        return;
    }
    x = task_extra_of(t);
    if (t->class_->job->state != JOB_LIVE || ++x->losses > LOSSES_MAX) {
        struct object_error *e = error_new(why);
        text_shorten(e->failure.task, sizeof e->failure.task, task_function(t));
        e->failure.attempts = t->attempt;
        task_settle_error(c, t, 0, e, 0);
        error_unref(e);
        task_free(c, t);
        return;
    }
    uint64_t wait = LOST_BACKOFF_NS << MIN_OF(x->losses, 6u);
    task_enter(c, t, TASK_BACKOFF);
    task_leave_place(c, t);
    list_append(&t->class_->job->waiting, &t->link);
    core_timer_arm(c, &x->backoff_timer, ns_add(c->now_ns, wait));
}

void task_end_unknown(struct raylet_core *c, struct task *t, const struct failure *why)
{
    if (t->state == TASK_ABANDONED) {
        task_free(c, t);
        return;
    }
    struct object_error *e = error_make(
        c, CODE_UNKNOWN, task_function(t),
        "it is unknown whether it ran: %s. It has .at_most_once, so it is not tried again",
        why->message);
    text_shorten(e->failure.node, sizeof e->failure.node, why->node);
    task_settle_error(c, t, 0, e, 0);
    error_unref(e);
    task_free(c, t);
}

void task_kill_sent(struct raylet_core *c, struct task *t)
{
    ASSERT(t->state == TASK_ABANDONED && t->place == AT_LANE);
    t->stop = STOP_KILL;
    task_ask_back(c, t);
}

void task_forget(struct raylet_core *c, struct task *t)
{
    ASSERT(t->state == TASK_ABANDONED);
    task_free(c, t);
}

void task_fail_class(struct raylet_core *c, struct class_ *k, const struct object_error *why)
{
    struct object_error *e = error_new(&why->failure);
    struct task *t;

    text_shorten(e->failure.task, sizeof e->failure.task, k->function);
    k->users++;
    while ((t = class_first(k)) != NULL) {
        task_fail(c, t, e);
    }
    class_unuse(c, k);
    error_unref(e);
}

struct task *task_new_guest(struct raylet_core *c, struct class_ *k, struct peer *home,
                            const struct peer_run *m, struct bytes payload)
{
    struct task *t = slab_alloc(&c->task_slab);
    struct guest *g = xcalloc(1, sizeof *g);

    memset(t, 0, sizeof *t);
    list_init(&t->link);
    t->class_ = k;
    k->users++;
    t->submitted_ms = (uint32_t)((c->now_ns - c->start_ns) / NS_PER_MS);
    t->returns = (uint16_t)m->returns;
    t->attempt = (uint16_t)m->attempt;
    t->max_attempts = t->attempt;
    task_fill_payload(t, payload);
    g->home = home;
    g->run = m->run;
    g->id = m->task;
    g->arrived_ns = c->now_ns;
    g->args_size = m->args_size;
    g->need_count = (uint32_t)m->need_count;
    if (m->need_count > 0) {
        g->need_sizes = xcalloc(m->need_count, sizeof *g->need_sizes);
        memcpy(g->need_sizes, m->need_sizes, m->need_count * sizeof *g->need_sizes);
    }
    task_extra_of(t)->guest = g;
    if (m->name[0] != '\0') {
        t->extra->name = xstrdup(m->name);
    }
    if (m->time_left_ns != 0) { /* its home's timer decides; children inherit it */
        t->extra->deadline_ns = ns_add(c->now_ns, m->time_left_ns);
    }
    numbers_set(&home->guests, m->run, t);
    c->guest_count++;
    task_enter(c, t, TASK_WAITING);
    return t;
}

void task_guest_ready(struct raylet_core *c, struct task *t)
{
    task_enter(c, t, TASK_READY);
    class_enqueue_here(c, t);
}

void task_end_guest(struct raylet_core *c, struct task *t)
{
    ASSERT(t->state == TASK_READY && t->place == AT_NONE);
    task_free(c, t);
}

void task_stop_guest(struct raylet_core *c, struct task *t, uint32_t how, bool recursive)
{
    (void)task_stop(c, t, (enum stop_how)how, recursive, "the node that owns it has given it up");
}

void task_orphan_guest(struct raylet_core *c, struct task *t)
{
    numbers_remove(&t->extra->guest->home->guests, t->extra->guest->run);
    t->extra->guest->home = NULL;
    if (t->state == TASK_PLACED) {
        task_cancel_orphans(c, t, true);
    }
    guest_uncover(c, t);
    (void)task_stop(c, t, STOP_SOON, false, "the node that owns it is gone");
}
