#include "raylet/core_cycles.h"

#include "raylet/core_classes.h"
#include "raylet/core_guests.h"
#include "raylet/core_peers.h"
#include "raylet/core_tasks.h"
#include "raylet/core_waits.h"

#include <stdarg.h>
#include <stdio.h>

#define AFTER_NS     (5 * NS_PER_S) /* of waiting */
#define TICK_NS      NS_PER_S
#define AGAIN_MAX_NS (30 * NS_PER_S) /* between two searches for one class */
#define SOON_NS      NS_PER_MS       /* after a circle was broken: there may be more of the kind */
#define SEARCH_NS    (5 * NS_PER_S)  /* a whole search; then somebody did not answer */
#define ITEMS_MAX    16384u          /* of one search; beyond it nothing is said */
#define EDGES_MAX    131072u
#define TICK_MOST    16u /* searches that end at once, in one tick */
#define CLASSES_MOST 4096u
#define ASKED_MOST   8u  /* looks at other nodes under way */
#define OPENED_MOST  16u /* sessions begun at once */
#define NAMED_MOST   4u  /* bodies that the error names */

struct item {              /* something that the task waits for, at whatever remove */
    struct peer_step step; /* the key */
    bool asked, seen, waits_for_room;
    uint32_t depth;       /* of that task */
    uint32_t newest_node; /* that its home knows */
    uint64_t since;
    uint32_t first_edge, edge_count; /* what it waits for */
    uint32_t room;                   /* ROOM: the item whose `lacks` it is about */
    struct wait_room lacks;          /* owned */
    char *name;                      /* of the task; NULL: not known */
    uint32_t order, low, next_edge;  /* of the walk that finds the knots; order 0: not yet there */
    uint32_t knot_of;                /* those that reach one another have the same; 0: not known */
    bool in_knot;                    /* nothing that it reaches is without a way back to it */
    UT_hash_handle hh;
};

struct search {
    uint64_t number;
    uint64_t until_ns;
    struct object_id task; /* it began with */
    uint32_t pass;         /* 1, 2 */
    uint64_t digest;       /* of the first pass */
    uint64_t head_request; /* between the passes; 0: not asked */
    struct item items[ITEMS_MAX];
    struct item *by_step;
    uint32_t count, unanswered;
    uint32_t looked_at, asked_to; /* those before were looked at here; seen, or asked for */
    uint32_t edges[EDGES_MAX];    /* indexes of items */
    uint32_t edge_count;
    uint32_t path[ITEMS_MAX], open[ITEMS_MAX]; /* of the walk: indexes of items */
    uint32_t path_count, open_count, walked;
};

void cycles_init(struct raylet_core *c)
{
    core_timer_init(&c->cycles_timer, TIMER_CYCLES);
}

/* ---- what is seen ---- */

static struct wait_room room_copy(const struct wait_room *r)
{
    struct local_amount *amounts = xcalloc(r->count + 1, sizeof *amounts);

    for (size_t i = 0; i < r->count; i++) {
        amounts[i] = (struct local_amount){xstrdup(r->amounts[i].name), r->amounts[i].units};
    }
    return (struct wait_room){amounts, r->count, r->depth, r->job};
}

static void room_free(struct wait_room *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free((char *)r->amounts[i].name);
    }
    free((struct local_amount *)r->amounts);
}

static void items_free(struct search *s)
{
    HASH_CLEAR(hh, s->by_step);
    for (uint32_t i = 0; i < s->count; i++) {
        room_free(&s->items[i].lacks);
        free(s->items[i].name);
    }
    memset(s->items, 0, s->count * sizeof s->items[0]);
    s->count = s->unanswered = s->edge_count = s->looked_at = s->asked_to = 0;
}

/* False: there are too many. */
static bool find_or_add(struct search *s, const struct peer_step *step, uint32_t asker,
                        uint32_t *ret)
{
    struct item *it;

    HASH_FIND(hh, s->by_step, step, sizeof *step, it);
    if (it == NULL) {
        if (s->count == ITEMS_MAX) {
            return false;
        }
        it = &s->items[s->count++];
        it->step = *step;
        it->room = asker;
        HASH_ADD(hh, s->by_step, step, sizeof it->step, it);
    }
    *ret = (uint32_t)(it - s->items);
    return true;
}

/* False: it moves, or is too much. */
static bool take(struct search *s, uint32_t index, const struct wait_seen *seen)
{
    struct item *it = &s->items[index];

    if (!seen->stuck || seen->step_count > EDGES_MAX - s->edge_count) {
        return false;
    }
    it->seen = true;
    it->since = seen->since;
    it->waits_for_room = seen->waits_for_room;
    it->depth = seen->room.depth;
    it->newest_node = seen->newest_node;
    it->name = xstrdup(seen->name);
    it->lacks = room_copy(&seen->room);
    it->first_edge = s->edge_count;
    it->edge_count = (uint32_t)seen->step_count;
    s->edge_count += it->edge_count;
    for (uint32_t i = 0; i < it->edge_count; i++) {
        if (!find_or_add(s, &seen->steps[i], index, &s->edges[it->first_edge + i])) {
            return false;
        }
    }
    return true;
}

static uint64_t mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * 0x9e3779b97f4a7c15ull;
    return h ^ h >> 32;
}

static uint64_t mix_step(uint64_t h, const struct peer_step *s)
{
    h = mix(h, (uint64_t)s->kind << 32 | s->node);
    h = mix(h, (uint64_t)s->id.node << 32 | s->id.client);
    return mix(mix(h, s->id.number), s->run);
}

/* The same for the same items that wait for the same since the same time, in whatever order they
 * were seen. */
static uint64_t digest(const struct search *s)
{
    uint64_t sum = s->count;

    for (uint32_t i = 0; i < s->count; i++) {
        const struct item *it = &s->items[i];
        uint64_t h = mix(mix_step(1, &it->step), it->since), next = 0;
        for (uint32_t e = 0; e < it->edge_count; e++) {
            next += mix_step(2, &s->items[s->edges[it->first_edge + e]].step);
        }
        sum += mix(h, next);
    }
    return sum;
}

/* ---- knots ---- */

/* A node that could never run it, which nobody waits for. */
static bool leads_nowhere(const struct item *it)
{
    return it->step.kind == LOOK_ROOM && it->edge_count == 0;
}

static void walk_to(struct search *s, uint32_t index)
{
    struct item *it = &s->items[index];

    it->order = it->low = ++s->walked;
    s->path[s->path_count++] = s->open[s->open_count++] = index;
}

/* All that reach one another, those from `first` on, are known now. */
static void close_from(struct search *s, uint32_t first, uint32_t knot_of)
{
    bool in_knot = true;

    for (uint32_t i = first; i < s->open_count; i++) {
        s->items[s->open[i]].knot_of = knot_of;
    }
    for (uint32_t i = first; i < s->open_count; i++) {
        const struct item *it = &s->items[s->open[i]];
        for (uint32_t e = 0; e < it->edge_count; e++) {
            const struct item *next = &s->items[s->edges[it->first_edge + e]];
            in_knot = in_knot && (next->knot_of == knot_of || leads_nowhere(next));
        }
    }
    for (uint32_t i = first; i < s->open_count; i++) {
        s->items[s->open[i]].in_knot = in_knot;
    }
    s->open_count = first;
}

/* What only waits for a circle goes on once that is broken. So one that is in it must be ended: in
 * a set from which no way leads out (Tarjan, "Depth-first search and linear graph algorithms",
 * 1972). All can be reached from the first. */
static void find_knots(struct search *s)
{
    s->path_count = s->open_count = s->walked = 0;
    walk_to(s, 0);
    while (s->path_count > 0) {
        uint32_t index = s->path[s->path_count - 1];
        struct item *it = &s->items[index];
        if (it->next_edge < it->edge_count) {
            uint32_t next = s->edges[it->first_edge + it->next_edge++];
            if (s->items[next].order == 0) {
                walk_to(s, next);
            } else if (s->items[next].knot_of == 0) {
                it->low = MIN_OF(it->low, s->items[next].order);
            }
            continue;
        }
        s->path_count--;
        if (s->path_count > 0) {
            struct item *before = &s->items[s->path[s->path_count - 1]];
            before->low = MIN_OF(before->low, it->low);
        }
        if (it->low == it->order) {
            uint32_t first = s->open_count - 1;
            while (s->open[first] != index) {
                first--;
            }
            close_from(s, first, it->order);
        }
    }
}

/* ---- the end of a search ---- */

static void search_free(struct raylet_core *c)
{
    if (c->search != NULL) {
        items_free(c->search);
        free(c->search);
        c->search = NULL;
    }
}

void cycles_free(struct raylet_core *c)
{
    search_free(c);
    core_timer_disarm(c, &c->cycles_timer);
}

static void arm_within(struct raylet_core *c, uint64_t ns)
{
    uint64_t at_ns = ns_add(c->now_ns, ns);

    if (!timer_is_armed(&c->cycles_timer.timer) || c->cycles_timer.timer.at_ns > at_ns) {
        core_timer_arm(c, &c->cycles_timer, at_ns);
    }
}

/* Whether `a` is the one to end rather than `b`: the deeper, then the one made last. All who search
 * the same circle say the same. */
static bool goes_before(const struct item *a, const struct item *b)
{
    const struct object_id *x = &a->step.id, *y = &b->step.id;

    if (a->depth != b->depth) {
        return a->depth > b->depth;
    }
    if (x->node != y->node) {
        return x->node > y->node;
    }
    return x->client != y->client ? x->client > y->client : x->number > y->number;
}

static const struct item *choose(struct search *s)
{
    const struct item *best = NULL;

    find_knots(s);
    for (uint32_t i = 0; i < s->count; i++) {
        const struct item *it = &s->items[i];
        if (it->waits_for_room && it->in_knot && (best == NULL || goes_before(it, best))) {
            best = it;
        }
    }
    return best;
}

static const struct item *first_next(const struct search *s, const struct item *it)
{
    for (uint32_t e = 0; e < it->edge_count; e++) { /* not to a node that could never run it */
        const struct item *next = &s->items[s->edges[it->first_edge + e]];
        if (next->edge_count > 0) {
            return next;
        }
    }
    return NULL;
}

struct story { /* of a circle, as it is told */
    struct raylet_core *c;
    char *text;
    size_t used, size;
};

static void tell(struct story *s, const char *format, ...) PRINTF(2, 3);

static void tell(struct story *s, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int n = vsnprintf(s->text + s->used, s->size - s->used, format, args);
    va_end(args);
    s->used = MIN_OF(s->used + (size_t)MAX_OF(n, 0), s->size - 1);
}

static void tell_task(struct story *s, const char *how, const struct item *it)
{
    char id[ID_TEXT_SIZE];

    object_id_format(it->step.id, id);
    tell(s, ", %s task %s (%s)", how, id, it->name);
}

/* "child needs lock, held by task 6-7.1 (parent) on node b, which waits for task 6-8.2 (child)" */
static void describe(struct raylet_core *c, const struct search *s, const struct item *from,
                     char *ret, size_t size)
{
    struct story story = {.c = c, .text = ret, .size = size};
    const struct item *at = first_next(s, from), *before = from;
    uint32_t bodies = 0;

    tell(&story, "%s", from->name);
    for (uint32_t i = 0; at != NULL && i < s->count; i++) {
        bool is_body = at->step.kind == LOOK_BODY || at->step.kind == LOOK_RUN;
        if (at->step.kind == LOOK_ROOM) {
            tell(&story, "%s needs %s", before == from ? "" : ", which", at->name);
        } else if (is_body) {
            const struct peer *p = peer_find(c, at->step.node);
            tell_task(&story, before->step.kind == LOOK_ROOM ? "held by" : "which waits for", at);
            tell(&story, " on node %s", p == NULL ? c->node_name : p->name);
        } else if (at->waits_for_room) {
            tell_task(&story, "which waits for", at);
        }
        if (at == from) {
            return; /* round */
        }
        if (is_body && ++bodies > NAMED_MOST) {
            tell(&story, ", which waits for others in turn");
            return;
        }
        before = at;
        at = first_next(s, at);
    }
}

static void break_circle(struct raylet_core *c, struct search *s)
{
    const struct item *it = choose(s);
    struct task *t = it == NULL ? NULL : wait_task(c, it->step.id);
    char who[380];
    struct object_error *e;

    if (t == NULL) {
        return; /* it is another node's, whose search finds the same */
    }
    describe(c, s, it, who, sizeof who);
    e = error_make(c, CODE_CYCLE, task_function(t),
                   "it can never start: %s. Let tasks that wait for others hold fewer resources, "
                   "or add resources to the nodes",
                   who);
    t->class_->look_ns = c->now_ns + SOON_NS;
    task_fail(c, t, e);
    error_unref(e);
    arm_within(c, SOON_NS);
}

/* ---- searching ---- */

static void ask(struct raylet_core *c, struct search *s, uint32_t index, struct peer *p)
{
    struct item *it = &s->items[index];
    struct peer_msg *m = core_send_peer(c, p, SIDE_OUT, PEER_LOOK);
    const struct wait_room *room = &s->items[it->room].lacks;
    struct local_amount *amounts = arena_alloc(&c->arena, (room->count + 1) * sizeof *amounts);

    m->look = (struct peer_look){.look = s->number,
                                 .item = index,
                                 .kind = it->step.kind,
                                 .node = it->step.node,
                                 .id = it->step.id,
                                 .run = it->step.run};
    if (it->step.kind == LOOK_ROOM) { /* the search may end before it is sent */
        for (size_t i = 0; i < room->count; i++) {
            amounts[i] =
                (struct local_amount){core_text(c, room->amounts[i].name), room->amounts[i].units};
        }
        m->look.amounts = amounts;
        m->look.amount_count = room->count;
        m->look.depth = room->depth;
        m->look.job = room->job;
    }
    it->asked = true;
    s->unanswered++;
}

static bool look_here(struct raylet_core *c, struct search *s, uint32_t index)
{
    const struct item *it = &s->items[index];
    struct wait_seen seen;

    wait_look(c, &it->step, &s->items[it->room].lacks, &seen);
    return take(s, index, &seen);
}

/* Some at a time, since one that moves will do. Where there is no session yet, one is begun, and
 * the search that needs it tried again. False: it is over. */
static bool look_elsewhere(struct raylet_core *c, struct search *s)
{
    uint32_t without = 0;

    while (s->asked_to < s->count && (s->items[s->asked_to].seen || s->items[s->asked_to].asked)) {
        s->asked_to++;
    }
    for (uint32_t i = s->asked_to;
         i < s->count && s->unanswered < ASKED_MOST && without < OPENED_MOST; i++) {
        struct item *it = &s->items[i];
        if (it->seen || it->asked) {
            continue;
        }
        struct peer *p = peer_find(c, it->step.node);
        if (p == NULL || p->state != PEER_ALIVE) {
            return false;
        }
        if (peer_use(c, p)) {
            ask(c, s, i, p);
        } else {
            without++;
        }
    }
    if (without == 0 || s->unanswered > 0) {
        return true;
    }
    struct task *t = wait_task(c, s->task);
    if (t != NULL) {
        t->class_->look_ns = c->now_ns + TICK_NS;
    }
    return false;
}

/* Those here first: most searches end with them. False: the search is over, something moves. */
static bool look_further(struct raylet_core *c, struct search *s)
{
    for (; s->looked_at < s->count; s->looked_at++) {
        if (s->items[s->looked_at].step.node == c->node && !look_here(c, s, s->looked_at)) {
            return false;
        }
    }
    return look_elsewhere(c, s);
}

static bool begin_pass(struct raylet_core *c, struct search *s)
{
    const struct peer_step first = {.kind = LOOK_OBJECT, .node = c->node, .id = s->task};
    uint32_t index;

    items_free(s);
    s->pass++;
    return find_or_add(s, &first, 0, &index) && look_further(c, s);
}

/* Between the passes: the head's answer comes behind all that it has told of nodes that joined. On
 * one of those the task could run. */
static bool ask_head(struct raylet_core *c, struct search *s)
{
    struct cluster_msg *m;

    if (c->head_state != HEAD_JOINED) {
        return false;
    }
    m = core_send_head(c, CLUSTER_FEASIBLE);
    s->head_request = ++c->next_request;
    m->feasible.request = s->head_request;
    m->feasible.node = m->feasible.labels = "";
    return true;
}

/* Everybody's task that waits for a place had been looked at with all nodes that there are. */
static bool all_nodes_known(const struct raylet_core *c, const struct search *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->items[i].waits_for_room && s->items[i].newest_node != c->newest_node) {
            return false;
        }
    }
    return true;
}

/* Goes on until answers are missing, or it is over. */
static void go_on(struct raylet_core *c, struct search *s, bool stuck)
{
    if (stuck && s->unanswered > 0) {
        return;
    }
    if (stuck && s->pass == 1) {
        s->digest = digest(s);
        s->number = ++c->searches; /* answers of the first pass are none to the second */
        if (ask_head(c, s)) {
            return;
        }
    } else if (stuck && digest(s) == s->digest && all_nodes_known(c, s)) {
        break_circle(c, s);
    }
    search_free(c);
}

bool cycles_head_answers(struct raylet_core *c, uint64_t request)
{
    struct search *s = c->search;

    if (s == NULL || s->head_request != request) {
        return false;
    }
    s->head_request = 0;
    go_on(c, s, begin_pass(c, s));
    return true;
}

static void search_begin(struct raylet_core *c, struct object_id task)
{
    struct search *s = xcalloc(1, sizeof *s);

    s->number = ++c->searches;
    s->until_ns = c->now_ns + SEARCH_NS;
    s->task = task;
    c->search = s;
    go_on(c, s, begin_pass(c, s));
}

/* ---- messages ---- */

static void look_for(struct raylet_core *c, struct peer *p, const struct peer_look *m)
{
    const struct wait_room room = {m->amounts, m->amount_count, m->depth, m->job};
    const struct peer_step at = {.kind = m->kind, .node = m->node, .id = m->id, .run = m->run};
    struct wait_seen seen = {.name = ""};
    struct peer_msg *answer = core_send_peer(c, p, SIDE_IN, PEER_SEEN);

    if (m->node == c->node) {
        wait_look(c, &at, &room, &seen);
    }
    answer->seen = (struct peer_seen){.look = m->look,
                                      .item = m->item,
                                      .stuck = seen.stuck,
                                      .since = seen.since,
                                      .steps = seen.steps,
                                      .step_count = seen.step_count,
                                      .amounts = seen.room.amounts,
                                      .amount_count = seen.room.count,
                                      .waits_for_room = seen.waits_for_room,
                                      .depth = seen.room.depth,
                                      .newest_node = seen.newest_node,
                                      .name = seen.name};
}

static void seen(struct raylet_core *c, struct peer *p, const struct peer_seen *m)
{
    struct search *s = c->search;
    const struct wait_seen seen = {.stuck = m->stuck,
                                   .since = m->since,
                                   .steps = m->steps,
                                   .step_count = m->step_count,
                                   .room = {m->amounts, m->amount_count, m->depth, 0},
                                   .newest_node = m->newest_node,
                                   .waits_for_room = m->waits_for_room,
                                   .name = m->name};

    if (s == NULL || m->look != s->number || m->item >= s->count ||
        s->items[m->item].step.node != p->number || !s->items[m->item].asked ||
        s->items[m->item].seen) {
        c->dropped_messages++; /* of a search that is over, or what was not asked */
        return;
    }
    s->unanswered--;
    go_on(c, s, take(s, m->item, &seen) && look_further(c, s));
}

bool cycles_message(struct raylet_core *c, struct peer *p, enum peer_side side,
                    const struct peer_msg *m)
{
    if (m->type == PEER_LOOK && side == SIDE_IN) {
        look_for(c, p, &m->look);
        return true;
    }
    if (m->type == PEER_SEEN && side == SIDE_OUT) {
        seen(c, p, &m->seen);
        return true;
    }
    return false;
}

/* ---- time ---- */

struct candidate {
    struct class_ *class_;
    struct task *task;
    uint64_t since_ns;
};

/* The one that was searched for longest ago. */
static void consider(struct raylet_core *c, struct candidate *best, struct class_ *k,
                     struct list *queue, uint64_t since_ns)
{
    struct list *first = list_first(queue);

    if (first == NULL || c->now_ns < since_ns + AFTER_NS || c->now_ns < k->look_ns ||
        (best->class_ != NULL && best->class_->look_ns <= k->look_ns)) {
        return;
    }
    *best = (struct candidate){k, list_entry(first, struct task, link), since_ns};
}

static struct candidate find_candidate(struct raylet_core *c)
{
    struct candidate best = {0};
    uint32_t seen = 0;

    LIST_FOREACH(at, &c->levels)
    {
        LIST_FOREACH(at2, &list_entry(at, struct level, link)->turn)
        {
            struct class_ *k = list_entry(at2, struct class_, run_link);
            if (!k->of_others) {
                consider(c, &best, k, &k->queue,
                         k->stuck ? k->stuck_since_ns : k->waiting_since_ns);
            }
            if (++seen == CLASSES_MOST) {
                return best;
            }
        }
    }
    LIST_FOREACH(at, &c->busy_lanes)
    {
        struct lane *l = list_entry(at, struct lane, busy_link);
        consider(c, &best, l->class_, &l->queue, l->since_ns);
    }
    return best;
}

void cycles_watch(struct raylet_core *c)
{
    if (UNLIKELY(c->waiting > 0) && !timer_is_armed(&c->cycles_timer.timer)) {
        core_timer_arm(c, &c->cycles_timer, c->now_ns + TICK_NS);
    }
}

void cycles_timer(struct raylet_core *c)
{
    if (c->search != NULL && c->now_ns >= c->search->until_ns) {
        search_free(c);
    }
    for (uint32_t i = 0; i < TICK_MOST && c->search == NULL; i++) {
        struct candidate next = find_candidate(c);
        if (next.task == NULL || (c->rules_off & RULE_CYCLES)) {
            break;
        }
        uint64_t waited_ns = c->now_ns - next.since_ns;
        next.class_->look_ns = c->now_ns + MIN_OF(MAX_OF(waited_ns / 8, AFTER_NS), AGAIN_MAX_NS);
        search_begin(c, task_id(c, next.task));
    }
    if (c->waiting > 0) {
        arm_within(c, TICK_NS);
    }
}
