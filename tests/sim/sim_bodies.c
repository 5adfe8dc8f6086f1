/*
 * What the bodies of tasks do at a simulated node, wherever their homes are: as their payload says.
 */
#include "sched/policy.h"
#include "tests/sim/sim_inside.h"
#include "tests/sim/sim_node.h"

#include <signal.h>

static struct rng *dice(const struct sim_node *n)
{
    return n->config.rng;
}

static struct sim_counts *counts(const struct sim_node *n)
{
    return &n->config.world->counts;
}

/* In a script what may happen does. */
static bool chance(const struct sim_node *n, double p)
{
    return n->config.script != NULL || rng_chance(dice(n), p);
}

/* References of its arguments last as long as its home keeps them for it. */
static struct sim_cover cover_of(const struct rig_process *w, const struct sim_body *b)
{
    return (struct sim_cover){.home = w->current.task.node, .since_ns = b->since_ns, .job = w->job};
}

static uint32_t given(const struct rig_process *w, const struct object_id **ret)
{
    const struct rig_refs *refs = rig_refs(w);

    *ret = refs == NULL ? NULL : refs->ids;
    return refs == NULL ? 0 : MIN_OF(refs->count, (uint32_t)REFS_MAX);
}

/* ---- beginning ---- */

static bool is_kept(const struct sim_body *b, struct object_id id)
{
    for (uint32_t i = 0; i < b->kept_count; i++) {
        if (object_id_equal(b->kept[i].id, id)) {
            return true;
        }
    }
    return false;
}

/* By this body or another one that is or was here. */
static bool is_held(const struct sim_body *b, const struct rig_process *w, struct object_id id)
{
    if (is_kept(b, id) || id.client == w->client) {
        return true;
    }
    for (uint32_t i = 0; i < ARRAY_SIZE(w->refs); i++) {
        for (uint32_t j = 0; w->refs[i] != NULL && j < w->refs[i]->count; j++) {
            if (object_id_equal(w->refs[i]->ids[j], id)) {
                return true;
            }
        }
    }
    return false;
}

/* Something of a driver's, perhaps of another job's, that nobody gave it. */
static void pry(struct sim_node *n, struct rig_process *w, const struct sim_body *b)
{
    const struct sim_driver *d = &n->drivers[rng_below(dice(n), SIM_DRIVERS)];

    if (d->process != NULL && d->count > 0 && rng_chance(dice(n), 0.1)) {
        struct object_id id = d->asked[rng_below(dice(n), d->count)].id;
        const struct sim_fact *f = sim_fact(n->config.world, id);
        if (f != NULL && !f->needed && !is_held(b, w, id)) {
            sim_pry(n, w, id);
        }
    }
}

static void keep_refs(struct sim_node *n, struct rig_process *w, struct sim_body *b)
{
    const struct object_id *ids;
    uint32_t count = given(w, &ids);

    for (uint32_t i = 0; i < count && b->kept_count < KEPT_MAX; i++) {
        if (is_kept(b, ids[i])) {
            continue;
        }
        sim_tell(n->config.world, ids[i], "%s: worker %u keeps it", n->config.name, w->client);
        rig_hold(n->rig, w, ids[i]);
        counts(n)->kept++;
        b->kept[b->kept_count++] = (struct sim_kept){
            .id = ids[i],
            .cover = cover_of(w, b),
            .until_ns =
                n->now_ns +
                rng_between(dice(n), 1, rng_chance(dice(n), 0.2) ? 30000 : 3000) * NS_PER_MS};
    }
}

static uint64_t child_payload(struct sim_node *n, bool alias, uint64_t word, bool has_refs)
{
    struct rng *rng = dice(n);

    word |= rng_chance(rng, alias ? 0.4 : 0.1)   ? DOES_ALIAS
            : rng_chance(rng, alias ? 0.1 : 0.2) ? DOES_NEST
                                                 : 0;
    if (has_refs) {
        word |= rng_chance(rng, 0.5) ? READS_REFS : 0;
        word |= rng_chance(rng, 0.3) ? PASSES_REFS : 0;
        word |= rng_chance(rng, 0.2) ? KEEPS_REFS : 0;
        word |= rng_chance(rng, 0.2) ? RETURNS_REFS : 0;
    }
    return word;
}

static void submit_child(struct sim_node *n, struct rig_process *w, struct sim_body *b,
                         uint64_t word, bool alias)
{
    const struct object_id *ids;
    uint32_t count = w->current.payload & PASSES_REFS ? MIN_OF(given(w, &ids), 2u) : 0;
    struct rig_task t = {.class_number = b->classes + (uint32_t)rng_below(dice(n), 3),
                         .payload = child_payload(n, alias, word, count > 0),
                         .refs = count > 0 ? ids : NULL,
                         .ref_count = count,
                         .parent_slot = 1 + claim_index(w->current.slot)};
    struct object_id id = rig_submit(n->rig, w, t);
    struct sim_fact *f = sim_fact_new(n->config.world, id, word, true);

    f->tries = 4;
    b->children[b->child_count++] = id;
    char text[ID_TEXT_SIZE];
    sim_tell(n->config.world, id, "%s: worker %u submits it, as a part of %s", n->config.name,
             w->client, object_id_format(w->current.task, text));
    counts(n)->tasks++;
    counts(n)->refs_passed += count;
}

static void declare(struct sim_node *n, struct rig_process *w, struct sim_body *b)
{
    b->classes = rig_class(n->rig, w, "child", (struct rig_class){.cpus_x10000 = 10000});
    (void)rig_class(n->rig, w, "spread child",
                    (struct rig_class){.cpus_x10000 = 5000, .strategy = SCHED_SPREAD});
    (void)rig_class(n->rig, w, "balanced child",
                    (struct rig_class){.cpus_x10000 = 5000, .strategy = SCHED_LOAD_BALANCED});
}

static void submit_children(struct sim_node *n, struct rig_process *w, struct sim_body *b)
{
    uint64_t payload = w->current.payload;

    if (b->classes == 0) {
        declare(n, w, b);
    }
    if (payload & DOES_ALIAS) {
        submit_child(n, w, b, (payload & WORD_MASK) + w->current.needs, true);
        return;
    }
    for (uint64_t i = payload & DOES_NEST ? CHILDREN : 1; i > 0; i--) {
        submit_child(n, w, b, rng_below(dice(n), 100), false);
    }
}

uint32_t sim_body_waits_for(struct sim_node *n, const struct rig_process *w,
                            const struct sim_body *b, struct object_id *ret, uint32_t most)
{
    const struct object_id *ids = NULL;
    uint32_t given_count = w->current.payload & READS_REFS ? given(w, &ids) : 0, count = 0;

    for (uint32_t i = 0; i < b->child_count + given_count && count < most; i++) {
        struct object_id id = i < b->child_count ? b->children[i] : ids[i - b->child_count];
        if (sim_is_asked(n, w, id)) {
            ret[count++] = id;
        }
    }
    return count;
}

/* It needs all of them: one is what it waits for, and when that came the next one. */
void sim_body_blocks(struct sim_node *n, struct rig_process *w, struct sim_body *b)
{
    struct local_msg *m = rig_say(n->rig, w, LOCAL_BLOCKED);

    b->waits = n->config.world->new_waits = true;
    if (sim_body_waits_for(n, w, b, &b->named, 1) > 0) {
        m->ids.ids = arena_copy(&n->rig->arena, &b->named, sizeof b->named);
        m->ids.id_count = 1;
    }
}

static void wait_for(struct sim_node *n, struct rig_process *w, struct sim_body *b)
{
    const struct object_id *ids;
    uint32_t count = given(w, &ids);

    if (w->current.payload & DOES_NEST) {
        counts(n)->nested++;
        for (uint32_t i = 0; i < b->child_count; i++) {
            sim_ask(n, w, b->children[i], (struct sim_cover){.job = w->job});
            b->waits = true;
        }
    }
    if (w->current.payload & READS_REFS) {
        for (uint32_t i = 0; i < count; i++) {
            counts(n)->reads++;
            sim_ask(n, w, ids[i], cover_of(w, b));
            b->waits = true;
        }
    }
    if (b->waits) {
        sim_body_blocks(n, w, b);
    }
}

/* What is not given back while a body waits is never taken by more than there is. */
static void check_x(struct sim_node *n, uint64_t payload)
{
    uint32_t taken = sim_hog_x(payload);

    for (uint32_t i = 0; taken > 0 && i < n->rig->process_count; i++) {
        const struct rig_process *w = &n->rig->processes[i];
        const struct sim_body *b = &n->bodies[i];
        if (w->used && w->alive && b->busy && b->client == w->client) {
            taken += sim_hog_x(w->current.payload);
        }
    }
    if (taken > SIM_X) {
        sim_breach(n->config.world, "%s: bodies run that take %u of x, and it has %d",
                   n->config.name, taken, SIM_X);
    }
}

static void begin_body(struct sim_node *n, struct rig_process *w, struct sim_body *b)
{
    uint64_t payload = w->current.payload;
    uint64_t took = rng_below(dice(n), 3000) * NS_PER_US;

    if (w->current.task.node != n->rig->node && !sim_peers_is_home(n, w->current.task.node)) {
        char text[ID_TEXT_SIZE];
        sim_breach(n->config.world, "%s: %s begins without a session with its home", n->config.name,
                   object_id_format(w->current.task, text));
    }
    sim_begins(n->config.world, w->current.task, w->current.attempt, n->rig->node);
    check_x(n, payload);
    counts(n)->foreign_bodies += w->current.task.node != n->rig->node;
    uint64_t long_ms = n->config.world->cycles && sim_hog_x(payload) > 0 ? 12000 : 3000;
    took = payload & TAKES_LONG ? rng_between(dice(n), 100, long_ms) * NS_PER_MS : took;
    took = payload & DOES_HOG ? rng_below(dice(n), 1500) * NS_PER_MS : took;
    b->busy = true;
    b->waits = false;
    b->child_count = 0;
    b->since_ns = n->now_ns;
    b->put = (struct object_id){0};
    b->until_ns = n->now_ns + (payload & TAKES_NO_TIME ? 1000 : took);
    if (n->config.script == NULL) {
        pry(n, w, b);
    }
    if (payload & KEEPS_REFS) {
        keep_refs(n, w, b);
    }
    if ((payload & (DOES_NEST | DOES_ALIAS)) || ((payload & RETURNS_REFS) && chance(n, 0.5))) {
        submit_children(n, w, b);
    }
    if (payload & (DOES_NEST | READS_REFS)) {
        wait_for(n, w, b);
    }
}

/* ---- ending ---- */

static void return_value(struct sim_node *n, struct rig_process *w, const struct object_id *refs,
                         uint32_t ref_count)
{
    struct rig_return returns[4];
    uint32_t count = MIN_OF(w->current.returns, ARRAY_SIZE(returns));

    for (uint32_t i = 0; i < count; i++) {
        struct object_id id = w->current.task;
        uint8_t bytes[8 + REFS_MAX * sizeof *refs];
        uint64_t word = (w->current.payload & WORD_MASK) + w->current.needs + i;
        uint32_t inside = i == 0 ? ref_count : 0;
        returns[i] = (struct rig_return){
            .state = RETURN_VALUE, .value = word, .refs = refs, .ref_count = inside};
        memcpy(bytes, &word, 8);
        memcpy(bytes + 8, refs, inside * sizeof *refs);
        id.number += i;
        sim_returned(n->config.world, id, sim_hash(bytes_of(bytes, 8 + inside * sizeof *refs)));
    }
    rig_return_these(n->rig, w, returns, count);
}

/* Some that it was given, the tasks that it submitted, and a value that it puts. */
static uint32_t gather(struct sim_node *n, struct rig_process *w, struct sim_body *b,
                       struct object_id *ret)
{
    const struct object_id *ids;
    uint32_t count = MIN_OF(given(w, &ids), 2u), k = 0;

    while (k < count) {
        ret[k] = ids[k];
        k++;
    }
    for (uint32_t i = 0; i < b->child_count; i++) {
        ret[k++] = b->children[i];
    }
    if (chance(n, 0.5)) {
        uint64_t value = rng_below(dice(n), 1000);
        b->put = rig_put(n->rig, w, value);
        sim_fact_new(n->config.world, b->put, value, true);
        sim_returned(n->config.world, b->put, sim_hash(bytes_of(&value, sizeof value)));
        counts(n)->puts++;
        ret[k++] = b->put;
    }
    counts(n)->containers += k > 0;
    return k;
}

static void release_own(struct sim_node *n, struct rig_process *w, struct sim_body *b)
{
    for (uint32_t i = 0; i < b->child_count; i++) {
        sim_release(n, w, b->children[i]);
    }
    if (b->put.number != 0) {
        sim_release(n, w, b->put);
    }
}

static void return_alias(struct sim_node *n, struct rig_process *w, struct object_id target)
{
    struct sim_fact *f = sim_fact(n->config.world, w->current.task);

    f->followed = true;
    f->follows = target;
    sim_tell(n->config.world, target, "%s: worker %u returns it", n->config.name, w->client);
    counts(n)->aliases++;
    rig_return_alias(n->rig, w, target);
}

static void end_body(struct sim_node *n, struct rig_process *w, struct sim_body *b)
{
    uint64_t payload = w->current.payload;
    struct object_id inside[REFS_MAX];
    const struct object_id *ids;
    uint32_t count = given(w, &ids);

    b->busy = false;
    if ((payload & DOES_FAIL) && w->current.attempt == 1) {
        counts(n)->failures++;
        rig_fail(n->rig, w, 7);
    } else if ((payload & RETURNS_REF) && count > 0) {
        return_alias(n, w, ids[0]);
    } else if (payload & DOES_ALIAS) {
        return_alias(n, w, b->children[0]);
    } else {
        count = payload & RETURNS_REFS ? gather(n, w, b, inside) : 0;
        return_value(n, w, inside, count);
    }
    release_own(n, w, b);
}

static bool shall_end(const struct sim_node *n, const struct rig_process *w,
                      const struct sim_body *b)
{
    return b->until_ns <= n->now_ns ||
           ((w->current.payload & HEEDS_NOTHING) == 0 && w->cancel[claim_index(w->current.slot)]);
}

/* ---- what it kept ---- */

static void look_at_kept(struct sim_node *n, struct rig_process *w, struct sim_body *b)
{
    for (uint32_t i = 0; i < b->kept_count; i++) {
        struct sim_kept *k = &b->kept[i];
        if (!k->asked && k->until_ns <= n->now_ns) {
            k->asked = true;
            sim_ask(n, w, k->id, k->cover);
        } else if (k->asked && !sim_is_asked(n, w, k->id)) {
            sim_release(n, w, k->id);
            *k = b->kept[--b->kept_count];
            i--;
        }
    }
}

static uint64_t kept_next_ns(const struct sim_body *b)
{
    uint64_t next = NS_FOREVER;

    for (uint32_t i = 0; i < b->kept_count; i++) {
        next = b->kept[i].asked ? next : MIN_OF(next, b->kept[i].until_ns);
    }
    return next;
}

/* ---- time ---- */

static void look_again(struct sim_node *n, struct rig_process *w, struct sim_body *b)
{
    struct object_id next;

    if (sim_body_waits_for(n, w, b, &next, 1) > 0) {
        sim_body_blocks(n, w, b);
    } else {
        (void)rig_say(n->rig, w, LOCAL_UNBLOCKED);
        b->waits = false;
    }
}

static void work(struct sim_node *n, struct rig_process *w, struct sim_body *b)
{
    if (b->client != w->client) { /* another process has this place now */
        memset(b, 0, sizeof *b);
        b->client = w->client;
    }
    if (!w->used || !w->alive || w->worker == 0) {
        b->busy = false;
        return;
    }
    bool news = b->looked != n->answers;
    b->looked = n->answers;
    if (b->kept_count > 0 && (news || kept_next_ns(b) <= n->now_ns)) {
        look_at_kept(n, w, b);
    }
    if (w->current.returns == 0) {
        b->busy = false; /* nothing is claimed */
        if (w->ring_count == 0 || w->leave || !rig_claim(n->rig, w)) {
            return;
        }
        begin_body(n, w, b);
    }
    if (b->waits && news && !sim_is_asked(n, w, b->named)) {
        look_again(n, w, b);
    }
    if (b->busy && !b->waits && (w->current.payload & DOES_HOG) && b->child_count == 0 &&
        b->until_ns <= n->now_ns && !w->cancel[claim_index(w->current.slot)]) {
        sim_hog_goes_on(n, w, b);
    }
    if (b->busy && !b->waits && shall_end(n, w, b)) {
        end_body(n, w, b);
    }
}

void sim_bodies_advance(struct sim_node *n)
{
    for (uint32_t i = 0; i < n->rig->process_count; i++) {
        work(n, &n->rig->processes[i], &n->bodies[i]);
    }
}

uint64_t sim_bodies_next_ns(const struct sim_node *n)
{
    uint64_t next = NS_FOREVER;

    for (uint32_t i = 0; i < n->rig->process_count; i++) {
        const struct rig_process *w = &n->rig->processes[i];
        const struct sim_body *b = &n->bodies[i];
        if (!w->used || !w->alive || w->worker == 0) {
            continue;
        }
        if (b->client == w->client && b->kept_count > 0) {
            next = MIN_OF(next, kept_next_ns(b));
        }
        if (b->busy && !b->waits) {
            next = MIN_OF(next, b->until_ns);
        } else if (!b->busy && w->ring_count > 0 && !w->leave) {
            next = MIN_OF(next, n->now_ns + 1000);
        }
    }
    return next;
}

/* Nobody but the body that dies knows of what it submitted. */
static void orphan_children(struct sim_node *n, const struct sim_body *b)
{
    for (uint32_t i = 0; b->busy && i < b->child_count; i++) {
        sim_fact(n->config.world, b->children[i])->orphan_ns = n->now_ns;
        sim_tell(n->config.world, b->children[i], "%s: worker %u, that submitted it, dies",
                 n->config.name, b->client);
    }
}

void sim_node_crash_worker(struct sim_node *n)
{
    if (n->rig == NULL || n->rig->process_count == 0) {
        return;
    }
    uint64_t from = rng_below(dice(n), n->rig->process_count);
    for (uint32_t i = 0; i < n->rig->process_count; i++) {
        uint32_t at = (uint32_t)((from + i) % n->rig->process_count);
        struct rig_process *w = &n->rig->processes[at];
        if (w->used && w->alive && w->worker != 0) {
            counts(n)->crashes++;
            orphan_children(n, &n->bodies[at]);
            n->bodies[at].busy = false;
            n->bodies[at].kept_count = 0;
            n->poked = true;
            rig_crash(n->rig, w, rng_chance(dice(n), 0.8) ? SIGSEGV : 3 << 8);
            return;
        }
    }
}
