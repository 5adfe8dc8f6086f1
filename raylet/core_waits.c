#include "raylet/core_waits.h"

#include "raylet/core_guests.h"
#include "raylet/core_lanes.h"
#include "raylet/core_objects.h"
#include "raylet/core_peers.h"
#include "raylet/core_schedule.h"
#include "raylet/core_starts.h"
#include "raylet/core_tasks.h"
#include "raylet/core_wishes.h"

#include <stdarg.h>
#include <stdio.h>

/* What a look finds; `moves` once anything does, then nothing else of it counts. */
struct look {
    struct raylet_core *c;
    struct wait_seen *seen;
    struct peer_step *steps;
    size_t room;
    bool moves;
};

static void add(struct look *l, enum peer_look_kind kind, uint32_t node, struct object_id id,
                uint64_t run)
{
    if (l->seen->step_count == PEER_STEPS_MAX) {
        l->moves = true; /* more than can be looked at: nothing is said of it */
        return;
    }
    if (l->seen->step_count == l->room) {
        l->room = l->room == 0 ? 4 : 4 * l->room;
        struct peer_step *more = arena_alloc(&l->c->arena, l->room * sizeof *more);
        if (l->seen->step_count > 0) {
            memcpy(more, l->steps, l->seen->step_count * sizeof *more);
        }
        l->seen->steps = l->steps = more;
    }
    l->steps[l->seen->step_count++] =
        (struct peer_step){.kind = kind, .node = node, .id = id, .run = run};
}

static void add_object(struct look *l, struct object *o)
{
    struct object_id id = core_object_id(l->c, o);

    add(l, LOOK_OBJECT, id.node, id, 0);
}

/* Its body waits and is not about to be stopped; else NULL. */
static struct task *waiting_body(struct worker *w)
{
    struct task *t = worker_first(w);
    bool is_stopped = t != NULL && t->state == TASK_ABANDONED && t->stop != STOP_ASK;

    return w->state != WORKER_BLOCKED || w->stopping || w->job->state != JOB_LIVE || is_stopped
               ? NULL
               : t;
}

static void add_body(struct look *l, struct worker *w)
{
    struct task *t = waiting_body(w);

    if (t == NULL) {
        l->moves = true;
    } else {
        add(l, LOOK_BODY, l->c->node, task_id(l->c, t), w->number);
    }
}

/* ---- bodies ---- */

static void look_at_body(struct look *l, struct worker *w, struct object_id id)
{
    struct task *t = w == NULL ? NULL : waiting_body(w);

    if (t == NULL || !object_id_equal(task_id(l->c, t), id)) {
        l->moves = true;
        return;
    }
    for (uint32_t i = 0; i < w->wait_count; i++) {
        struct object *o = object_find(l->c, w->waits[i]);
        if (o == NULL || object_is_settled(o)) { /* the answer is on its way */
            l->moves = true;
        } else {
            add_object(l, o);
        }
    }
    l->moves = l->moves || l->seen->step_count == 0;
    l->seen->since = w->blocked_ns;
    l->seen->name = task_function(t);
}

static void look_at_run(struct look *l, const struct peer_step *at)
{
    struct peer *home = peer_find(l->c, at->id.node);
    struct task *t = home == NULL ? NULL : numbers_get(&home->guests, at->run);

    if (t == NULL || t->place != AT_WORKER) {
        l->moves = true;
    } else {
        look_at_body(l, t->worker, at->id);
    }
}

/* ---- room ---- */

/* The same for the same amounts, so that many tasks which lack the same are one step. */
static uint64_t room_name(const struct wait_room *r)
{
    uint64_t h = 1469598103934665603ull ^ r->depth ^ r->job << 32; /* FNV-1a */

    for (size_t i = 0; i < r->count; i++) {
        for (const char *at = r->amounts[i].name; *at != '\0'; at++) {
            h = (h ^ (uint8_t)*at) * 1099511628211ull;
        }
        h = (h ^ (uint64_t)r->amounts[i].units) * 1099511628211ull;
    }
    return h;
}

static struct wait_room room_of(struct raylet_core *c, const struct class_ *k)
{
    const struct resource_set *asked = &k->pool->shape->asked;
    struct local_amount *amounts = arena_alloc(&c->arena, (asked->count + 1) * sizeof *amounts);

    for (uint32_t i = 0; i < asked->count; i++) {
        amounts[i] = (struct local_amount){
            core_text(c, resource_name(&c->resources, asked->amounts[i].kind)),
            asked->amounts[i].units};
    }
    return (struct wait_room){amounts, asked->count, k->depth, k->job->number};
}

/* The amounts by this node's numbers. False: it has none of some. */
static bool find_amounts(const struct raylet_core *c, const struct wait_room *r,
                         struct resource_set *ret)
{
    ret->count = 0;
    for (size_t i = 0; i < r->count; i++) {
        uint32_t k = 0;
        while (k < c->total.count && strcmp(resource_name(&c->resources, c->total.amounts[k].kind),
                                            r->amounts[i].name) != 0) {
            k++;
        }
        if (k == c->total.count ||
            resource_set_put(ret, c->total.amounts[k].kind, r->amounts[i].units) != 0) {
            return false;
        }
    }
    return resource_set_covers(&c->total, ret);
}

static const char *text_in(struct raylet_core *c, const char *format, ...) PRINTF(2, 3);

static const char *text_in(struct raylet_core *c, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return core_text(c, text);
}

static bool keeps_kind(const struct worker *w, const void *kind)
{
    return worker_keeps(w, *(const uint32_t *)kind);
}

static bool any_body(const struct worker *w, const void *arg)
{
    return true;
}

/* Those that wait, of the workers that `counts` picks. */
static void add_bodies(struct look *l, bool (*counts)(const struct worker *, const void *),
                       const void *arg)
{
    LIST_FOREACH(at, &l->c->workers)
    {
        struct worker *w = list_entry(at, struct worker, link);
        if (w->state == WORKER_BLOCKED && counts(w, arg)) {
            add_body(l, w);
        }
    }
}

/* Resources are there; it may lack a process. Then all those that there are must wait: one that
 * runs is free for it some time. */
static void look_for_worker(struct look *l, const struct wait_room *room)
{
    struct raylet_core *c = l->c;

    LIST_FOREACH(at, &c->jobs)
    {
        struct job *job = list_entry(at, struct job, link);
        if (job->number != room->job || !starts_stuck(c, job)) {
            continue;
        }
        bool job_is_full = starts_now(c, job) == STARTS_JOB_FULL;
        LIST_FOREACH(at2, &c->workers)
        {
            struct worker *w = list_entry(at2, struct worker, link);
            if (!job_is_full || w->job == job) {
                add_body(l, w);
            }
        }
        const char *why = starts_explain(c, job);
        l->seen->name = text_in(c, "a worker (%s)", why == NULL ? "none can be started" : why);
    }
}

static void look_for_room(struct look *l, const struct wait_room *room)
{
    struct raylet_core *c = l->c;
    struct resource_set asked;

    if (!find_amounts(c, room, &asked)) {
        return; /* never here: nothing to wait for */
    }
    uint32_t kind;
    if (lacks_for_good(c, &asked, &kind)) {
        l->seen->name = core_text(c, resource_name(&c->resources, kind));
        add_bodies(l, keeps_kind, &kind);
    } else if (c->blocked_count >= BLOCKED_MAX && room->depth == 0) {
        l->seen->name = text_in(c, "a worker (%u waiting tasks on node %s, which is the limit)",
                                c->blocked_count, c->node_name);
        add_bodies(l, any_body, NULL);
    } else {
        look_for_worker(l, room);
    }
    l->moves = l->moves || l->seen->step_count == 0;
}

/* ---- tasks ---- */

/* All nodes that it might still run on. */
static void add_rooms(struct look *l, const struct task *t)
{
    struct raylet_core *c = l->c;
    const struct class_ *k = t->class_;
    const struct object_id none = {0};
    uint64_t name = room_name(&l->seen->room);

    if (t->place == AT_LANE) {
        add(l, LOOK_ROOM, t->lane->peer->number, none, name);
        return;
    }
    if (k->wish->here) {
        add(l, LOOK_ROOM, c->node, none, name);
    }
    if (k->wish->strategy == SCHED_SPREAD && k->wish->here) {
        return; /* those in the queue are fixed to this node */
    }
    struct sched_request request = wish_request(k->wish);
    struct peer **peers;
    size_t count;
    struct sched_node *nodes = peers_as_nodes(c, &count, &peers);
    uint32_t *candidates = arena_alloc(&c->arena, count * sizeof *candidates);
    size_t n = sched_candidates(nodes, count, &request, candidates);
    for (size_t i = 0; i < n; i++) {
        struct peer *p = peers[candidates[i]];
        const struct told_job *told = p == NULL ? NULL : lane_told(p, k->job->number);
        if (p != NULL && (told == NULL || told->broken == NULL)) {
            add(l, LOOK_ROOM, p->number, none, name);
        }
    }
}

static bool may_be_placed(const struct task *t)
{
    const struct class_ *k = t->class_;
    bool fixed =
        t->place == AT_QUEUE || (t->place == AT_LANE && k->wish->strategy != SCHED_LOAD_BALANCED);

    return t->state == TASK_READY && fixed && k->wish->state == WISH_OPEN &&
           k->job->state == JOB_LIVE && k->job->program != 0 && k->job->program_error == NULL;
}

static void look_at_ready(struct look *l, const struct task *t)
{
    if (!may_be_placed(t)) {
        l->moves = true;
        return;
    }
    l->seen->room = room_of(l->c, t->class_);
    l->seen->waits_for_room = true;
    l->seen->newest_node = l->c->newest_node;
    l->seen->name = task_function(t);
    add_rooms(l, t);
    l->moves = l->moves || l->seen->step_count == 0;
}

static void look_at_needs(struct look *l, const struct task *t)
{
    const struct task_extra *x = t->extra;

    for (uint32_t i = 0; x != NULL && i < x->need_count; i++) {
        if (x->needs[i].watcher != NULL) {
            add_object(l, x->needs[i].object);
        }
    }
    l->moves = l->moves || l->seen->step_count == 0;
}

static void look_at_task(struct look *l, struct task *t)
{
    l->seen->since = t->attempt;
    switch (t->state) {
    case TASK_WAITING:
        look_at_needs(l, t);
        break;
    case TASK_READY:
        look_at_ready(l, t);
        break;
    case TASK_PLACED:
        if (t->place == AT_WORKER && worker_first(t->worker) == t) {
            add_body(l, t->worker);
        } else if (t->place == AT_LANE && (t->extra == NULL || t->extra->recording == NULL)) {
            l->seen->since = t->run;
            add(l, LOOK_RUN, t->lane->peer->number, task_id(l->c, t), t->run);
        } else {
            l->moves = true;
        }
        break;
    default:
        l->moves = true;
    }
}

static void look_at_object(struct look *l, struct object_id id)
{
    struct object *o = object_find(l->c, id);

    for (uint32_t i = 0; o != NULL && o->following && i < WORK_STEP; i++) {
        o = o->alias;
    }
    if (o == NULL || o->state != OBJECT_PENDING) {
        l->moves = true;
    } else if (o->owner->node != 0) {
        add_object(l, o);
    } else if (o->following || o->task == NULL) {
        l->moves = true;
    } else {
        look_at_task(l, o->task);
    }
}

struct task *wait_task(struct raylet_core *c, struct object_id id)
{
    struct object *o = id.node == c->node ? object_find(c, id) : NULL;
    bool pending = o != NULL && o->state == OBJECT_PENDING && !o->following && o->task != NULL;

    return pending && may_be_placed(o->task) ? o->task : NULL;
}

void wait_look(struct raylet_core *c, const struct peer_step *at, const struct wait_room *room,
               struct wait_seen *ret)
{
    struct look l = {.c = c, .seen = ret};

    *ret = (struct wait_seen){.name = ""};
    switch (at->kind) {
    case LOOK_OBJECT:
        look_at_object(&l, at->id);
        break;
    case LOOK_RUN:
        look_at_run(&l, at);
        break;
    case LOOK_BODY:
        look_at_body(&l, at->run > UINT32_MAX ? NULL : core_worker(c, (uint32_t)at->run), at->id);
        break;
    default:
        look_for_room(&l, room);
    }
    ret->stuck = !l.moves;
    if (l.moves) {
        ret->step_count = 0;
        ret->waits_for_room = false;
        ret->room.count = 0;
    }
}
