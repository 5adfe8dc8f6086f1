#include "raylet/core_lift.h"

#include "raylet/core_classes.h"
#include "raylet/core_lanes.h"
#include "raylet/core_objects.h"
#include "raylet/core_peers.h"
#include "raylet/core_schedule.h"
#include "raylet/core_tasks_private.h"

#define AGAIN_NS    (50 * NS_PER_MS) /* until a node without a session is told again */
#define ALIASES_MAX 16u              /* results that are each the next one's */

void lift_init(struct raylet_core *c)
{
    core_timer_init(&c->lift_timer, TIMER_LIFT);
}

void lift_free(struct raylet_core *c)
{
    core_timer_disarm(c, &c->lift_timer);
    free(c->lifts.items);
    free(c->lifts_later.items);
}

/* ---- who waits ---- */

/* The most of all, as far as it is below `now`: one that gives so much decides it. Of a hundred
 * thousand that wait each asks this when it goes. */
static int32_t of_waiters(struct raylet_core *c, const struct object *o, int32_t now, uint32_t left)
{
    int32_t most = INT32_MIN;

    for (const struct watcher *w = o->watchers; w != NULL && most < now; w = w->next) {
        int32_t priority = INT32_MIN;
        if (w->kind == WATCH_NEED) {
            priority = task_priority(w->task);
        } else if (w->kind == WATCH_PEER) {
            priority = now; /* that of who waits there is not known */
        } else if (w->kind == WATCH_ALIAS && left > 0) {
            priority = of_waiters(c, w->object, now, left - 1);
        } else if (w->kind == WATCH_GET) {
            const struct client *client = core_client(c, w->client);
            struct worker *worker = client == NULL ? NULL : client->worker;
            struct task *body = worker == NULL ? NULL : worker_first(worker);
            priority = body == NULL ? INT32_MIN : task_priority(body);
        }
        most = MAX_OF(most, priority);
    }
    return most;
}

/* What those who wait for any of its results give it, and at least its own. */
static int32_t priority_given(struct raylet_core *c, struct task *t)
{
    int32_t now = task_priority(t), most = t->class_->own;

    for (uint32_t i = 0; i < t->returns && most < now; i++) {
        const struct object *o = numbers_get(&t->first->owner->objects, t->first->number + i);
        if (o != NULL) {
            most = MAX_OF(most, of_waiters(c, o, now, ALIASES_MAX));
        }
    }
    return most;
}

/* ---- giving ---- */

/* It waits in a queue of its class: then in the one of the other class, at the same node. */
static void requeue(struct raylet_core *c, struct task *t, int32_t priority)
{
    struct peer *fixed_to = t->place == AT_LANE ? t->lane->peer : NULL;
    bool is_here = t->place == AT_QUEUE;

    class_dequeue(c, t);
    task_set_class(c, t, priority);
    if (fixed_to != NULL) {
        lane_enqueue(c, lane_use(c, t->class_, fixed_to), t);
    } else if (is_here) {
        class_enqueue_here(c, t);
    } else {
        class_enqueue(c, t);
    }
}

static void set_priority(struct raylet_core *c, struct task *t, int32_t priority)
{
    if (t->state == TASK_PLACED && t->place == AT_LANE) {
        task_extra_of(t)->lifted = priority; /* its class stays that of its lane until it is back */
        struct peer_msg *m = core_send_peer(c, t->lane->peer, SIDE_OUT, PEER_LIFT);
        m->lift.run = t->run;
        m->lift.priority = priority;
    } else if (t->state == TASK_READY) {
        requeue(c, t, priority);
    } else {
        task_set_class(c, t, priority);
    }
}

static void pass_on(struct raylet_core *c, const struct object *o, int32_t priority, bool up)
{
    if (up) {
        core_note_wait(c, o, priority);
    } else {
        core_note_wait_over(c, o);
    }
}

/* To what it waits for itself. */
static void pass_all_on(struct raylet_core *c, struct task *t, int32_t priority, bool up)
{
    const struct task_extra *x = t->extra;
    struct worker *w = t->place == AT_WORKER ? t->worker : NULL;

    for (uint32_t i = 0; x != NULL && i < x->need_count; i++) {
        if (x->needs[i].watcher != NULL) {
            pass_on(c, x->needs[i].object, priority, up);
        }
    }
    for (uint32_t i = 0; w != NULL && worker_first(w) == t && i < w->wait_count; i++) {
        const struct object *o = object_find(c, w->waits[i]);
        if (o != NULL) {
            pass_on(c, o, priority, up);
        }
    }
}

static void give(struct raylet_core *c, struct task *t, int32_t priority)
{
    int32_t before = task_priority(t);

    if (priority == before || t->state == TASK_ABANDONED || t->first == NULL) {
        return;
    }
    set_priority(c, t, priority);
    pass_all_on(c, t, priority, priority > before);
}

/* What another node's task makes. */
static void tell_owner(struct raylet_core *c, const struct lift *l, const struct object *o)
{
    struct peer *p = peer_find(c, o->owner->node);

    if (p == NULL || p->state != PEER_ALIVE || l->again) {
        return;
    }
    if (!peer_use(c, p)) { /* a session is begun: it is told when that is there */
        core_note_lift(&c->lifts_later, l);
        if (!timer_is_armed(&c->lift_timer.timer)) {
            core_timer_arm(c, &c->lift_timer, c->now_ns + AGAIN_NS);
        }
        return;
    }
    struct peer_msg *m = core_send_peer(c, p, SIDE_OUT, PEER_LIFT);
    m->lift.id = l->id;
    m->lift.priority = l->priority;
}

static void work_off(struct raylet_core *c, const struct lift *l)
{
    const struct object *o = object_find(c, l->id);

    o = o == NULL ? NULL : core_followed(o);
    if (o == NULL || o->state != OBJECT_PENDING || o->following) {
        return; /* it is there, or gone */
    }
    if (o->owner->node != 0) {
        tell_owner(c, l, o);
        return;
    }
    struct task *t = o->task;
    if (t == NULL) {
        return;
    }
    if (l->again) {
        give(c, t, priority_given(c, t));
    } else if (l->priority > task_priority(t)) {
        give(c, t, l->priority);
    }
}

bool lift_work(struct raylet_core *c)
{
    for (uint32_t i = 0; i < WORK_STEP && c->lifts.count > 0; i++) {
        struct lift next = c->lifts.items[--c->lifts.count];
        work_off(c, &next);
    }
    return c->lifts.count > 0;
}

void lift_heard(struct raylet_core *c, struct peer *p, const struct peer_lift *m)
{
    struct task *t = m->run == 0 ? NULL : numbers_get(&p->guests, m->run);

    if (m->run == 0) {
        core_note_lift(&c->lifts, &(struct lift){m->id, m->priority, false});
    } else if (t != NULL && m->priority > task_priority(t) && t->state != TASK_ABANDONED) {
        task_extra_of(t)->lifted = m->priority;
        pass_all_on(c, t, m->priority, true);
    }
}

void lift_timer(struct raylet_core *c)
{
    for (size_t i = 0; i < c->lifts_later.count; i++) {
        core_note_lift(&c->lifts, &c->lifts_later.items[i]);
    }
    c->lifts_later.count = 0;
}

void lift_check(struct raylet_core *c)
{
    LIST_FOREACH(at, &c->jobs)
    {
        LIST_FOREACH(at2, &list_entry(at, struct job, link)->waiting)
        {
            const struct task *t = list_entry(at2, struct task, link);
            for (uint32_t i = 0; t->extra != NULL && i < t->extra->need_count; i++) {
                const struct object *o = core_followed(t->extra->needs[i].object);
                bool waits = t->extra->needs[i].watcher != NULL && o->state == OBJECT_PENDING &&
                             o->owner->node == 0 && !o->following && o->task != NULL;
                ASSERT(!waits || c->lifts.count > 0 || task_priority(o->task) >= task_priority(t));
            }
        }
    }
}
