#include "raylet/core_plan.h"

#include "common/text.h"
#include "raylet/core_classes.h"
#include "raylet/core_lanes.h"
#include "raylet/core_peers.h"
#include "raylet/core_tasks.h"
#include "raylet/core_wishes.h"

#include <stdio.h>

#define SENT_BYTES_MAX (8u << 20) /* of tasks under way at one node; more wait here */
#define ASK_MOST       4096u
#define NODES_MOST     16u              /* asked at once for one class */
#define AWAY_WORTH_NS  (20 * NS_PER_US) /* shorter tasks stay: sending one costs more */
#define AWAY_AFTER_NS  NS_PER_MS        /* without room here */
#define STUCK_NS       NS_PER_S         /* short ones that got nothing here for so long go, too */
#define UNKNOWN_NS     (20 * NS_PER_MS) /* the same while nobody knows how long they take */
#define AGAIN_NS       (5 * NS_PER_MS)  /* between two plans of a class */
#define LATER_NS       (50 * NS_PER_MS) /* the same when there was nobody to ask for more */
#define SOON_NS        (50 * NS_PER_US) /* where this node is none of those it may use */
#define LINGER_NS      NS_PER_MS
#define BALANCED_NS                                                                                \
    (100 * NS_PER_MS) /* a node that seemed to have room may grant none for so long */
#define CLASSES_A_STEP 256u

/* ---- what sched/ is told ---- */

struct outlook { /* of one class */
    struct sched_node *nodes;
    struct peer **peers;
    size_t count;
    uint32_t *candidates;
    size_t candidate_count;
};

static bool is_broken(const struct peer *p, const struct job *job)
{
    const struct told_job *told = lane_told(p, job->number);

    return told != NULL && told->broken != NULL;
}

/* Slots that it has or may get, and tasks that are there. */
static uint64_t under_way(const struct lane *l)
{
    return l->placed + l->queued + l->credits;
}

static void look(struct raylet_core *c, struct class_ *k, struct outlook *o)
{
    struct sched_request request = wish_request(k->wish);
    uint64_t least = k->wish->here ? k->assigned : UINT64_MAX;

    o->nodes = peers_as_nodes(c, &o->count, &o->peers);
    LIST_FOREACH(at, &k->lanes)
    {
        least = MIN_OF(least, list_entry(at, struct lane, class_link)->assigned);
    }
    o->nodes[0].assigned = k->assigned;
    o->nodes[0].sent = k->queued;
    o->nodes[0].waiting -= k->ready; /* they are what is to be placed */
    for (size_t i = 1; i < o->count; i++) {
        struct peer *p = o->peers[i];
        const struct lane *l = lane_find(k, p);
        o->nodes[i].sent = l == NULL ? 0 : under_way(l);
        /* One without a lane was never chosen. Had it been there from the beginning, it would have
         * been before the others got their second; one that came later has nothing to catch up. */
        o->nodes[i].assigned = l != NULL                          ? l->assigned
                               : least > 1 && least != UINT64_MAX ? least
                                                                  : 0;
        o->nodes[i].closed =
            o->nodes[i].closed || p->avoid_until_ns > c->now_ns || is_broken(p, k->job);
    }
    o->candidates = arena_alloc(&c->arena, o->count * sizeof *o->candidates);
    o->candidate_count = sched_candidates(o->nodes, o->count, &request, o->candidates);
}

/* ---- choosing at once ---- */

static int choose(struct raylet_core *c, const struct class_ *k, const struct outlook *o)
{
    if (k->wish->strategy == SCHED_SPREAD) {
        return sched_spread(o->nodes, o->candidates, o->candidate_count, &c->rng);
    }
    return sched_least_loaded(o->nodes, o->candidates, o->candidate_count, &k->pool->shape->asked,
                              &c->rng);
}

static void choose_for(struct raylet_core *c, struct class_ *k, uint32_t most)
{
    struct outlook o;
    struct list *at;

    look(c, k, &o);
    for (uint32_t i = 0; i < most && (at = list_first(&k->fresh)) != NULL; i++) {
        struct task *t = list_entry(at, struct task, link);
        int index = choose(c, k, &o);
        if (index < 0 || o.nodes[index].self) {
            k->assigned += index >= 0;
            o.nodes[0].assigned = k->assigned;
            o.nodes[0].sent++;
            class_enqueue_here(c, t);
            continue;
        }
        struct lane *l = lane_use(c, k, o.peers[index]);
        l->assigned = o.nodes[index].assigned + 1;
        o.nodes[index].assigned = l->assigned;
        o.nodes[index].sent++;
        lane_enqueue(c, l, t);
    }
}

static void view_changed(struct raylet_core *c)
{
    c->planned_version = c->view_version;
    wish_recheck(c);
    LIST_FOREACH(at, &c->jobs)
    {
        for (struct class_ *k = list_entry(at, struct job, link)->classes; k != NULL;
             k = k->hh.next) {
            k->plan_at_ns = 0;
        }
    }
    LIST_FOREACH_SAFE(at, &c->busy_lanes)
    {
        struct lane *l = list_entry(at, struct lane, busy_link);
        if (l->peer->closed) { /* it is leaving: what was for it goes elsewhere */
            class_choose_again(c, l);
        }
    }
}

void plan_choose(struct raylet_core *c)
{
    if (UNLIKELY(c->planned_version != c->view_version)) {
        view_changed(c);
    }
    for (uint32_t i = 0; i < CLASSES_A_STEP && !list_is_empty(&c->fresh_classes); i++) {
        struct class_ *k = list_entry(list_first(&c->fresh_classes), struct class_, fresh_link);
        choose_for(c, k, WORK_STEP);
        list_unlink(&k->fresh_link);
        if (!list_is_empty(&k->fresh)) {
            list_append(&c->fresh_classes, &k->fresh_link);
            break;
        }
    }
    c->more_work = c->more_work || !list_is_empty(&c->fresh_classes);
}

/* ---- filling slots ---- */

static bool may_send(const struct lane *l)
{
    const struct peer *p = l->peer;

    return l->credits > 0 && peer_is_up(p, SIDE_OUT) && !p->slow[SIDE_OUT] &&
           p->sent_bytes < SENT_BYTES_MAX && l->class_->job->state == JOB_LIVE;
}

static struct task *next_task(struct lane *l)
{
    struct class_ *k = l->class_;
    struct list *first = list_first(&l->queue);

    if (first == NULL && (k->wish->strategy != SCHED_SPREAD || !k->wish->here)) {
        first = list_first(&k->queue);
    }
    return first == NULL ? NULL : list_entry(first, struct task, link);
}

static void feed(struct raylet_core *c, struct lane *l)
{
    struct task *t;
    uint32_t sent = 0;

    while (may_send(l) && (t = next_task(l)) != NULL) {
        struct class_ *k = l->class_;
        k->users++; /* it may fall asleep, not vanish */
        class_dequeue(c, t);
        l->credits--;
        l->sent_ns = c->now_ns;
        task_send(c, t, l);
        k->users--;
        sent++;
    }
    /* Where short tasks come one by one, the next one need not wait for a slot. */
    if (sent > 0 && l->credits == 0 && l->limit == l->got && l->quick) {
        (void)lane_ask(c, l, l->got + 1);
    }
}

/* Slots that nobody needs go back soon, and those that are asked for are not wanted then. */
static void linger(struct raylet_core *c, struct lane *l)
{
    feed(c, l);
    if (l->credits == 0 && l->limit <= l->got) {
        lane_stop_lingering(l);
    } else if (next_task(l) != NULL) {
        l->idle_since_ns = 0;
    } else {
        l->idle_since_ns = l->idle_since_ns == 0 ? c->now_ns : l->idle_since_ns;
        if (!timer_is_armed(&c->linger_timer.timer)) {
            core_timer_arm(c, &c->linger_timer, c->now_ns + LINGER_NS);
        }
    }
}

/* ---- asking ---- */

static void arm(struct raylet_core *c, uint64_t at_ns)
{
    if (!timer_is_armed(&c->plan_timer.timer) || c->plan_timer.timer.at_ns > at_ns) {
        core_timer_arm(c, &c->plan_timer, at_ns);
    }
}

/* Those that would be its nodes: one that cannot be reached now is tried again. `ret_why`: one
 * cannot run the program. */
static bool any_reachable_later(struct raylet_core *c, struct class_ *k,
                                struct object_error **ret_why)
{
    struct sched_request request = wish_request(k->wish);
    struct peer **peers;
    size_t count;
    struct sched_node *nodes = peers_as_nodes(c, &count, &peers);

    for (size_t i = 1; i < count; i++) {
        if (sched_judge(&nodes[i], &request) != SCHED_FITS) {
            continue;
        }
        if (!is_broken(peers[i], k->job)) {
            return true;
        }
        *ret_why = lane_told(peers[i], k->job->number)->broken;
    }
    return false;
}

static void nobody(struct raylet_core *c, struct class_ *k)
{
    struct object_error *e = NULL;

    if (any_reachable_later(c, k, &e)) {
        return;
    }
    if (e == NULL) {
        wish_doubt(c, k->wish);
        return;
    }
    task_fail_class(c, k, e);
}

/* Whether anybody was asked for more than before. */
static bool ask_others(struct raylet_core *c, struct class_ *k)
{
    struct outlook o;
    bool asked = false;

    look(c, k, &o);
    if (o.candidate_count == 0) {
        nobody(c, k);
        return false;
    }
    if (k->wish->state == WISH_ASKING) {
        k->wish->state = WISH_OPEN;
    }
    if (k->wish->soft && !k->wish->here && o.candidates[0] == 0) {
        wish_take_here(c, k->wish);
    }
    if (k->wish->strategy == SCHED_SPREAD && !k->wish->here) {
        while (k->queued > 0) { /* nodes came, or can be reached again */
            struct task *t = list_entry(list_first(&k->queue), struct task, link);
            k->users++;
            class_dequeue(c, t);
            class_enqueue(c, t);
            k->users--;
        }
        c->more_work = true;
        return true;
    }
    uint32_t *wanted = arena_alloc(&c->arena, o.candidate_count * sizeof *wanted);
    sched_ask(o.nodes, o.candidates, o.candidate_count, &k->pool->shape->asked,
              MIN_OF(k->queued, (uint64_t)ASK_MOST), NODES_MOST, &c->rng, wanted);
    for (size_t i = 0; i < o.candidate_count; i++) {
        struct peer *p = o.peers[o.candidates[i]];
        if (p != NULL && wanted[i] > 0) {
            struct lane *l = lane_use(c, k, p);
            uint64_t limit = l->got + wanted[i];
            asked = (limit != l->limit && lane_ask(c, l, limit)) || asked;
        }
    }
    return asked;
}

/* Slots that are on their way already. */
static uint64_t expected(const struct class_ *k)
{
    uint64_t n = 0;

    for (const struct list *at = k->lanes.next; at != &k->lanes; at = at->next) {
        const struct lane *l = list_entry(at, struct lane, class_link);
        n += l->limit > l->got ? l->limit - l->got : 0;
    }
    return n;
}

/* From when on others are asked for a class that found no room here. */
static uint64_t due_ns(const struct class_ *k)
{
    if (!k->wish->here) {
        return expected(k) >= k->queued ? k->plan_at_ns : MIN_OF(k->plan_at_ns, k->soon_ns);
    }
    if (k->wish->strategy == SCHED_LOAD_BALANCED) {
        return k->plan_at_ns;
    }
    if (k->wish->strategy == SCHED_SPREAD) {
        return NS_FOREVER;
    }
    if (k->duration_ns != 0 && k->duration_ns < AWAY_WORTH_NS) {
        return k->stuck ? MAX_OF(k->plan_at_ns, k->stuck_since_ns + STUCK_NS) : NS_FOREVER;
    }
    return MAX_OF(k->plan_at_ns,
                  k->waiting_since_ns + (k->duration_ns == 0 ? UNKNOWN_NS : AWAY_AFTER_NS));
}

/* Who waits for a node that is not there looks less and less often: its coming is told. */
static uint64_t later_ns(const struct raylet_core *c, const struct class_ *k)
{
    uint64_t waited_ns = c->now_ns - k->waiting_since_ns;

    return expected(k) > 0 ? LATER_NS : MIN_OF(MAX_OF(waited_ns / 16, LATER_NS), NS_PER_S);
}

/* Others can be told of it: its program has its name, which is known once it was read here. */
static bool may_travel(const struct job *job)
{
    return job->state == JOB_LIVE && job->program != 0;
}

static void plan(struct raylet_core *c, struct class_ *k)
{
    uint64_t due;

    if (k->of_others || k->queued == 0 || !may_travel(k->job)) {
        return;
    }
    due = due_ns(k);
    if (due == NS_FOREVER) {
        return;
    }
    if (due <= c->now_ns) {
        k->users++;
        bool asked = ask_others(c, k);
        k->plan_at_ns = c->now_ns + (asked ? AGAIN_NS : later_ns(c, k));
        k->soon_ns = asked ? c->now_ns + SOON_NS : k->plan_at_ns;
        due = due_ns(k);
        class_unuse(c, k);
    }
    arm(c, due);
}

void plan_granted(struct raylet_core *c, struct class_ *k)
{
    k->plan_at_ns = MIN_OF(k->plan_at_ns, c->now_ns + AGAIN_NS);
    k->soon_ns = MIN_OF(k->soon_ns, c->now_ns + SOON_NS);
}

static void plan_classes(struct raylet_core *c)
{
    LIST_FOREACH_SAFE(at, &c->levels)
    {
        struct level *l = list_entry(at, struct level, link);
        uint32_t seen = 0;
        l->count++; /* it stays while we are at it */
        LIST_FOREACH_SAFE(at2, &l->turn)
        {
            plan(c, list_entry(at2, struct class_, run_link));
            if (++seen == CLASSES_A_STEP) {
                break;
            }
        }
        if (--l->count == 0) {
            list_unlink(&l->link);
            free(l);
        }
    }
}

/* What was to be balanced, and got no slot where there seemed to be room, is for whoever is free.
 */
static void plan_balanced(struct raylet_core *c, struct lane *l)
{
    struct list *at;

    if (l->since_ns + BALANCED_NS > c->now_ns) {
        arm(c, l->since_ns + BALANCED_NS);
        return;
    }
    while ((at = list_first(&l->queue)) != NULL) {
        struct task *t = list_entry(at, struct task, link);
        lane_dequeue(t);
        class_enqueue_here(c, t);
    }
    c->more_work = true;
}

/* Lanes with tasks that are fixed to them. */
static void plan_fixed(struct raylet_core *c)
{
    LIST_FOREACH_SAFE(at, &c->busy_lanes)
    {
        struct lane *l = list_entry(at, struct lane, busy_link);
        if (l->peer->avoid_until_ns > c->now_ns) {
            class_choose_again(c, l);
            c->more_work = true;
            continue;
        }
        if (l->class_->wish->strategy == SCHED_LOAD_BALANCED) {
            plan_balanced(c, l);
        }
        uint64_t limit = l->got + MIN_OF(l->queued, (uint64_t)ASK_MOST);
        if (l->credits == 0 && limit > l->limit && may_travel(l->class_->job) &&
            !lane_ask(c, l, limit)) {
            arm(c, c->now_ns + LATER_NS);
        }
    }
}

void plan_send(struct raylet_core *c)
{
    if (LIKELY(c->peers == NULL && c->wishes_elsewhere == 0)) {
        return;
    }
    plan_classes(c);
    plan_fixed(c);
    LIST_FOREACH_SAFE(at, &c->lingering)
    {
        linger(c, list_entry(at, struct lane, linger_link));
    }
}

/* ---- time ---- */

static void end_lingering(struct raylet_core *c)
{
    bool more = false;

    LIST_FOREACH_SAFE(at, &c->lingering)
    {
        struct lane *l = list_entry(at, struct lane, linger_link);
        if (l->idle_since_ns == 0) {
            continue;
        }
        if (c->now_ns - l->idle_since_ns >= LINGER_NS) {
            lane_return(c, l);
        } else {
            more = true;
        }
    }
    if (more) {
        core_timer_arm(c, &c->linger_timer, c->now_ns + LINGER_NS);
    }
}

void plan_timer(struct raylet_core *c, struct core_timer *timer)
{
    if (timer->kind == TIMER_LINGER) {
        end_lingering(c);
    } /* TIMER_PLAN: this step does */
}

bool plan_has_others(struct raylet_core *c, struct class_ *k)
{
    struct object_error *why;

    return any_reachable_later(c, k, &why);
}

size_t plan_explain(struct raylet_core *c, const struct class_ *k, const char **ret, size_t room)
{
    struct sched_request request = wish_request(k->wish);
    struct peer **peers;
    size_t count, n = 0;
    struct sched_node *nodes = peers_as_nodes(c, &count, &peers);

    for (size_t i = 0; i < count && n < room; i++) {
        if (n + 1 == room && i + 1 < count) {
            char rest[64];
            snprintf(rest, sizeof rest, "  and %zu more nodes (see 'drt nodes')", count - i);
            ret[n++] = core_text(c, rest);
            break;
        }
        const struct told_job *told = peers[i] == NULL ? NULL : lane_told(peers[i], k->job->number);
        char line[768] = "  ", took[32];
        if (told != NULL && told->broken != NULL) {
            snprintf(line, sizeof line, "  %s   cannot run this program: %s", peers[i]->name,
                     told->broken->failure.message);
        } else if (peers[i] != NULL && peers[i]->silent_ns != 0 &&
                   c->now_ns - peers[i]->silent_ns > NS_PER_S) {
            snprintf(line, sizeof line, "  %s   cannot be reached from here (%s) for %s%s%s",
                     peers[i]->name, peers[i]->address,
                     text_format_duration(c->now_ns - peers[i]->silent_ns, took),
                     *peers[i]->warning != '\0' ? "; " : "", peers[i]->warning);
        } else if (peers[i] != NULL && *peers[i]->warning != '\0') {
            snprintf(line, sizeof line, "  %s   %s", peers[i]->name, peers[i]->warning);
        } else {
            sched_explain(&nodes[i], &request, &c->resources, line + 2, sizeof line - 2);
        }
        ret[n++] = core_text(c, line);
    }
    return n;
}
