#include "tests/sim/sim_cycles.h"

#include "tests/sim/sim_inside.h"

#include <stdio.h>

#define BODIES_MAX 1024
#define DEPTH_MAX  32

/* A wait begins to look for a cycle after 5 s. Where several are one behind the other each takes
 * its time. */
#define FOUND_WITHIN_NS (20 * NS_PER_S)
/* Since the last fault: what a one-way cut may leave undecided (see sim_holds.c). */
#define QUIET_NS (48 * NS_PER_S)
#define BEGUN_NS NS_PER_S /* all have joined */

struct waits { /* a body */
    struct sim_node *node;
    struct rig_process *w;
    struct sim_body *b;
    struct sim_fact *task;
    int at;
    bool stuck, seen;
};

/* Two ways of looking: `surely` takes for stuck only who cannot go on for any reason, and without
 * it only who can go on surely is not. */
struct look {
    struct sim_cluster *s;
    bool surely;
    uint32_t count;
    uint32_t kept[SIM_NODES];  /* of "x", by those that are stuck */
    bool some_wait[SIM_NODES]; /* that are not stuck, and keep some */
    struct waits bodies[BODIES_MAX];
};

static bool object_is_stuck(const struct look *l, struct object_id id, int depth)
{
    struct sim_world *w = &l->s->world;
    const struct sim_fact *f = sim_fact(w, id), *task;

    if (f == NULL || f->seen || depth > DEPTH_MAX) {
        return false;
    }
    if (f->follows.number != 0) {
        return object_is_stuck(l, f->follows, depth + 1);
    }
    task = sim_fact(w, f->task);
    return task != NULL && !task->seen && task->stuck && !(l->surely && f->returned_count > 0);
}

static bool body_is_stuck(const struct look *l, const struct waits *at)
{
    struct object_id ids[CHILDREN + REFS_MAX];
    uint32_t count = 0;

    if (!at->b->waits || at->task == NULL || (l->surely && at->task->seen)) {
        return false;
    }
    if (l->surely) { /* what it has said */
        ids[count++] = at->b->named;
    } else {
        count = sim_body_waits_for(at->node, at->w, at->b, ids, ARRAY_SIZE(ids));
    }
    for (uint32_t i = 0; i < count; i++) {
        if (sim_is_asked(at->node, at->w, ids[i]) && object_is_stuck(l, ids[i], 0)) {
            return true;
        }
    }
    return false;
}

/* Whether it has no place although nobody else than those that are stuck is there. The search takes
 * waits as if any of those that wait and keep "x" would do: for sure only if none of them goes on.
 */
static bool has_no_place(const struct look *l, const struct sim_fact *f)
{
    uint32_t full = 0, open = 0;

    for (int i = 0; i < SIM_NODES; i++) {
        struct sim_node *n = l->s->nodes[i];
        bool goes = l->s->leaving[i] != 0 && l->s->leaving[i] == sim_node_number(n);
        if ((f->wish.nodes >> i & 1) == 0) {
            continue;
        }
        if (!sim_node_is_up(n) || sim_node_number(n) == 0 || (goes && l->surely)) {
            open += l->surely;
        } else if (SIM_X < f->wish.x + l->kept[i] && !(l->surely && l->some_wait[i])) {
            full++;
        } else {
            open++;
        }
    }
    return full > 0 && (open == 0 || (f->wish.fixed && !l->surely));
}

/* Also one that the head has given up and that does not know yet. */
static bool is_there(const struct sim_cluster *s, uint32_t number)
{
    bool any = false;

    for (int i = 0; i < SIM_NODES; i++) {
        any = any || sim_node_number(s->nodes[i]) == number;
    }
    return any;
}

static bool task_is_stuck(const struct look *l, const struct sim_fact *f)
{
    if (f->has_body) {
        bool all = true, any = false;
        for (uint32_t i = 0; i < l->count; i++) {
            if (l->bodies[i].task == f) {
                all = all && l->bodies[i].stuck;
                any = any || l->bodies[i].stuck;
            }
        }
        return l->surely ? all : any;
    }
    if (!is_there(l->s, f->id.node) || (l->surely && (f->begun > 0 || f->orphan_ns != 0))) {
        return false;
    }
    for (uint32_t i = 0; i < f->need_count; i++) {
        if (object_is_stuck(l, f->needs[i], 0)) {
            return true;
        }
    }
    return has_no_place(l, f);
}

/* Those who are seen to go on are taken out, until none is. */
static void find(struct look *l)
{
    struct sim_world *w = &l->s->world;
    bool changed = true;

    for (uint32_t i = 0; i < w->watched_count; i++) {
        w->watched[i]->stuck = true;
    }
    for (uint32_t i = 0; i < l->count; i++) {
        l->bodies[i].stuck = true;
    }
    while (changed) {
        changed = false;
        memset(l->kept, 0, sizeof l->kept);
        memset(l->some_wait, 0, sizeof l->some_wait);
        for (uint32_t i = 0; i < l->count; i++) {
            struct waits *at = &l->bodies[i];
            if (at->stuck && !body_is_stuck(l, at)) {
                at->stuck = false;
                changed = true;
            }
            uint32_t x = sim_hog_x(at->w->current.payload);
            l->kept[at->at] += at->stuck ? x : 0;
            l->some_wait[at->at] |= !at->stuck && at->b->waits && x > 0;
        }
        for (uint32_t i = 0; i < w->watched_count; i++) {
            struct sim_fact *f = w->watched[i];
            if (f->stuck && !task_is_stuck(l, f)) {
                f->stuck = false;
                changed = true;
            }
        }
    }
}

/* ---- who is part of a circle, and not only behind one ---- */

static const struct sim_fact *task_of(const struct look *l, struct object_id id)
{
    struct sim_world *w = &l->s->world;
    const struct sim_fact *f = sim_fact(w, id);

    for (int i = 0; f != NULL && f->follows.number != 0 && i < DEPTH_MAX; i++) {
        f = sim_fact(w, f->follows);
    }
    return f == NULL ? NULL : sim_fact(w, f->task);
}

static bool may_wait_for(const struct look *l, const struct sim_fact *f, const struct waits *at)
{
    bool keeps = (f->wish.nodes >> at->at & 1) != 0 && f->wish.x > 0 &&
                 sim_hog_x(at->w->current.payload) > 0;

    return at->stuck && !at->seen && (f->has_body ? at->task == f : keeps);
}

static bool leads_to(struct look *l, const struct sim_fact *f, const struct sim_fact *to, int depth)
{
    struct object_id ids[CHILDREN + REFS_MAX];

    for (uint32_t i = 0; i < f->need_count; i++) {
        const struct sim_fact *next = task_of(l, f->needs[i]);
        if (next != NULL && next->stuck &&
            (next == to || (depth < DEPTH_MAX && leads_to(l, next, to, depth + 1)))) {
            return true;
        }
    }
    for (uint32_t i = 0; i < l->count; i++) {
        struct waits *at = &l->bodies[i];
        if (!may_wait_for(l, f, at)) {
            continue;
        }
        at->seen = true;
        uint32_t count = sim_body_waits_for(at->node, at->w, at->b, ids, ARRAY_SIZE(ids));
        for (uint32_t k = 0; k < count; k++) {
            const struct sim_fact *next = task_of(l, ids[k]);
            if (next != NULL && next->stuck && (next == to || leads_to(l, next, to, depth + 1))) {
                return true;
            }
        }
    }
    return false;
}

static bool is_in_a_circle(struct look *l, const struct sim_fact *f)
{
    for (uint32_t i = 0; i < l->count; i++) {
        l->bodies[i].seen = false;
    }
    return f->stuck && leads_to(l, f, f, 0);
}

static void forget_settled(struct sim_cluster *s)
{
    struct sim_world *w = &s->world;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < w->watched_count; i++) {
        struct sim_fact *f = w->watched[i];
        f->watched = !f->seen && is_there(s, f->id.node);
        f->has_body = f->stuck = false;
        if (f->watched) {
            w->watched[kept++] = f;
        }
    }
    w->watched_count = kept;
}

static void list_bodies(struct look *l)
{
    for (int i = 0; i < SIM_NODES; i++) {
        struct sim_node *n = l->s->nodes[i];
        for (uint32_t k = 0; n->rig != NULL && k < n->rig->process_count; k++) {
            struct rig_process *w = &n->rig->processes[k];
            struct sim_body *b = &n->bodies[k];
            if (!w->used || !w->alive || !b->busy || b->client != w->client) {
                continue;
            }
            struct sim_fact *f = sim_fact(&l->s->world, w->current.task);
            ASSERT(l->count < BODIES_MAX);
            l->bodies[l->count++] = (struct waits){.node = n, .w = w, .b = b, .task = f, .at = i};
            if (f != NULL) {
                f->has_body = true;
                sim_watch(&l->s->world, f, f->wish);
            }
        }
    }
}

static bool is_troubled(const struct sim_cluster *s)
{
    bool any = s->weather_until_ns != 0 || s->black_until_ns != 0 || s->black_left != 0 ||
               s->disk_until_ns != 0 || !sim_head_is_up(s->head);

    for (int i = 0; i < SIM_NODES; i++) {
        any = any || s->heal_at_ns[i] != 0 || !sim_node_is_up(s->nodes[i]) ||
              sim_node_number(s->nodes[i]) == 0 || s->leaving[i] == sim_node_number(s->nodes[i]);
        for (int k = i + 1; k < SIM_NODES; k++) {
            any = any || s->peer_heal_at_ns[i][k] != 0;
        }
    }
    return any;
}

/* One way around, for people. */
static void tell_way(const struct look *l, struct object_id id)
{
    char text[ID_TEXT_SIZE];
    struct object_id first = {0};

    for (int steps = 0; steps < 16 && !object_id_equal(id, first); steps++) {
        const struct sim_fact *f = sim_fact(&l->s->world, id);
        const struct waits *at = NULL;
        f = f == NULL ? NULL : sim_fact(&l->s->world, f->task);
        for (uint32_t i = 0; i < l->count && f != NULL; i++) {
            bool keeps = f->has_body ? l->bodies[i].task == f
                                     : (f->wish.nodes >> l->bodies[i].at & 1) != 0 &&
                                           sim_hog_x(l->bodies[i].w->current.payload) > 0;
            at = keeps && l->bodies[i].stuck ? &l->bodies[i] : at;
        }
        if (at == NULL) {
            return;
        }
        printf("  %s ", object_id_format(id, text));
        if (!f->has_body) {
            first = steps < 8 ? id : first; /* the beginning may only lead to a cycle */
            printf("wants %u of x of nodes %x, where %s ", f->wish.x, f->wish.nodes,
                   object_id_format(at->w->current.task, text));
        }
        printf("has a body at %s, that waits for %s\n", at->node->config.name,
               object_id_format(at->b->named, text));
        id = at->b->named;
    }
}

static void check_wait(struct look *l, struct sim_node *n, struct sim_get *g)
{
    struct sim_cluster *s = l->s;
    char text[ID_TEXT_SIZE];

    if (g->released || g->pried || !object_is_stuck(l, g->key.id, 0)) {
        if (g->stuck_ns != 0) {
            s->world.counts.cycle_waits++;
            s->world.counts.cycle_ns += s->now_ns - g->stuck_ns;
        }
        g->stuck_ns = 0;
        return;
    }
    g->stuck_ns = g->stuck_ns == 0 ? s->now_ns : g->stuck_ns;
    uint64_t quiet_ns = s->troubled_ns == 0 ? 0 : s->troubled_ns + QUIET_NS;
    uint64_t since_ns = MAX_OF(g->stuck_ns, quiet_ns);
    if (s->now_ns > since_ns && s->now_ns - since_ns > FOUND_WITHIN_NS) {
        tell_way(l, g->key.id);
        sim_breach(&s->world,
                   "%s: process %u waits for %s, which cannot come because of a cycle, for %.1f s",
                   n->config.name, g->key.client, object_id_format(g->key.id, text),
                   (double)(s->now_ns - g->stuck_ns) / 1e9);
    }
}

static void check_waits(struct look *l)
{
    for (int i = 0; i < SIM_NODES; i++) {
        struct sim_node *n = l->s->nodes[i];
        struct sim_get *g, *next;
        HASH_ITER(hh, n->gets, g, next)
        {
            check_wait(l, n, g);
        }
    }
}

void sim_cycles_look(struct sim_cluster *s)
{
    struct look *l;

    if (is_troubled(s) && s->now_ns > BEGUN_NS) {
        s->troubled_ns = s->now_ns;
    }
    if (s->now_ns < s->cycles_at_ns && !s->world.new_waits) {
        return; /* a cycle begins with a wait; it may be found at once, by an older one */
    }
    s->world.new_waits = false;
    s->cycles_at_ns = s->now_ns + SIM_CYCLES_EACH_NS;
    l = xcalloc(1, sizeof *l);
    l->s = s;
    forget_settled(s);
    list_bodies(l);
    find(l);
    for (uint32_t i = 0; i < s->world.watched_count; i++) {
        struct sim_fact *f = s->world.watched[i];
        f->stuck_ns = is_in_a_circle(l, f) ? s->now_ns : f->stuck_ns;
    }
    l->surely = true;
    find(l);
    check_waits(l);
    free(l);
}
