/*
 * What the programs of a simulated node ask for: tasks of every kind and strategy, with values and
 * references of one another, values, cancels and releases; and what they make of the answers.
 */
#include "sched/policy.h"
#include "tests/sim/sim_inside.h"
#include "tests/sim/sim_node.h"

#include <stdio.h>

#define HOGS_MAX      24 /* tasks that are there when another that keeps its "x" comes */
#define NEVER_CLASSES 2  /* the last ones: no node could run them */

static struct rng *dice(const struct sim_node *n)
{
    return n->config.rng;
}

static struct sim_counts *counts(const struct sim_node *n)
{
    return &n->config.world->counts;
}

struct sim_driver *sim_driver_of(struct sim_node *n, const struct rig_process *p)
{
    for (int i = 0; i < SIM_DRIVERS; i++) {
        if (n->drivers[i].process == p) {
            return &n->drivers[i];
        }
    }
    return NULL;
}

static const struct asked *asked_of(const struct sim_driver *d, struct object_id id)
{
    for (uint32_t i = 0; i < d->count; i++) {
        if (object_id_equal(d->asked[i].id, id)) {
            return &d->asked[i];
        }
    }
    return NULL;
}

static void ask(struct sim_node *n, struct sim_driver *d, struct object_id id, uint32_t through)
{
    ASSERT(d->count < ASKED_MAX);
    d->asked[d->count++] = (struct asked){.id = id, .through = through};
    sim_ask(n, d->process, id, (struct sim_cover){.through = through});
}

/* Some of those that it holds and has not asked for yet. */
static void ask_late(struct sim_node *n, struct sim_driver *d, double chance)
{
    for (uint32_t i = 0; i < d->count; i++) {
        struct asked *a = &d->asked[i];
        if (a->late && rng_chance(dice(n), chance)) {
            a->late = false;
            sim_ask(n, d->process, a->id, (struct sim_cover){.through = a->through});
        }
    }
}

static const struct asked *any(const struct sim_node *n, const struct sim_driver *d)
{
    return &d->asked[rng_below(dice(n), d->count)];
}

/* ---- tasks ---- */

static uint64_t random_payload(struct rng *rng, bool has_refs, bool may_wait)
{
    uint64_t payload = rng_below(rng, 1000);
    uint64_t kind = rng_below(rng, 100);

    payload |= kind < 6    ? DOES_NEST
               : kind < 9  ? DOES_ALIAS
               : kind < 14 ? DOES_FAIL
               : kind < 16 ? TAKES_LONG
                           : 0;
    payload |= rng_chance(rng, 0.1) ? HEEDS_NOTHING : 0;
    payload |= kind >= 60 ? TAKES_NO_TIME : 0;
    payload |= rng_chance(rng, has_refs ? 0.3 : 0.06) ? RETURNS_REFS : 0;
    if (has_refs) {
        payload |= rng_chance(rng, 0.3) ? KEEPS_REFS : 0;
        payload |= may_wait && rng_chance(rng, 0.4) ? READS_REFS : 0;
        payload |= may_wait && rng_chance(rng, 0.4) ? PASSES_REFS : 0;
        payload |= rng_chance(rng, 0.1) ? RETURNS_REF : 0;
    }
    return payload;
}

/* Sums of what it needs; whether that is known. */
static void add_need(struct sim_node *n, const struct asked *of, uint64_t *expected, bool *known)
{
    struct sim_fact *f = sim_fact(n->config.world, of->id);

    *expected += f == NULL ? 0 : f->expected;
    *known = *known && f != NULL && f->known;
    if (f != NULL) {
        f->needed = true;
    }
}

static void note_task(struct sim_node *n, struct object_id id, const struct rig_task *t,
                      uint64_t expected, bool known)
{
    for (uint32_t i = 0; i < t->returns; i++) {
        struct object_id one = {id.node, id.client, id.number + i};
        struct sim_fact *f = sim_fact_new(n->config.world, one, expected + i, known);
        f->tries = t->flags & SUBMIT_AT_MOST_ONCE ? 1 : t->max_attempts;
        f->once = (t->flags & SUBMIT_AT_MOST_ONCE) != 0;
    }
    counts(n)->tasks++;
    counts(n)->refs_passed += t->ref_count;
}

/* What takes "x", or waits for the values of others. */
static void watch_task(struct sim_node *n, struct object_id id, const struct rig_task *t,
                       struct sim_wish wish)
{
    struct sim_fact *f = sim_fact(n->config.world, id);

    for (uint32_t i = 0; i < t->need_count; i++) {
        f->needs[i] = t->needs[i];
    }
    f->need_count = (uint32_t)t->need_count;
    for (uint32_t i = 1; i < t->returns; i++) {
        sim_fact(n->config.world, (struct object_id){id.node, id.client, id.number + i})->task = id;
    }
    sim_watch(n->config.world, f, wish);
}

/* It keeps its "x" while it waits, perhaps also for references. */
static void submit_hog(struct sim_node *n, struct sim_driver *d)
{
    struct object_id refs[2];
    struct sim_wish wish;
    uint64_t does, word = rng_below(dice(n), 1000);
    uint32_t kind = sim_hog_choose(n, 0.7, &wish, &does);
    struct rig_task t = {.class_number = d->hog_classes + kind,
                         .returns = 1,
                         .max_attempts = 4,
                         .backoff_ns = 10 * NS_PER_MS,
                         .refs = refs};

    for (int i = 0; i < 2 && d->count > 0 && rng_chance(dice(n), 0.3); i++) {
        refs[t.ref_count++] = d->asked[d->count - 1 - rng_below(dice(n), MIN_OF(d->count, 4u))].id;
        does |= READS_REFS;
    }
    t.payload = word | does;
    struct object_id id = rig_submit(n->rig, d->process, t);
    note_task(n, id, &t, word, true);
    watch_task(n, id, &t, wish);
    ask(n, d, id, 0);
}

static void submit_one(struct sim_node *n, struct sim_driver *d)
{
    struct rng *rng = dice(n);
    struct object_id needs[2], refs[2];
    uint32_t class_count = d->class_count - (rng_chance(rng, 0.03) ? 0 : NEVER_CLASSES);
    uint32_t class_number = d->classes[rng_below(rng, class_count)];
    struct rig_task t = {.class_number = class_number,
                         .returns = rng_chance(rng, 0.05) ? 3 : 1,
                         .max_attempts = (uint32_t)rng_between(rng, 1, 4),
                         .backoff_ns = 10 * NS_PER_MS,
                         .needs = needs,
                         .refs = refs};
    uint64_t expected = 0;
    bool known = true;

    for (int i = 0; i < 2 && d->count > 0 && rng_chance(rng, 0.15); i++) {
        const struct asked *of = any(n, d);
        needs[t.need_count++] = of->id;
        add_need(n, of, &expected, &known);
    }
    for (int i = 0; i < 2 && d->count > 0 && rng_chance(rng, 0.15); i++) {
        refs[t.ref_count++] = any(n, d)->id;
    }
    /* what takes "x" does not wait: the other that has it may wait for it */
    bool may_wait = class_number != d->classes[7] && class_number != d->classes[8];
    t.payload = random_payload(rng, t.ref_count > 0, may_wait);
    t.payload |= may_wait ? 0 : TAKES_X;
    t.payload &= t.returns > 1 ? ~(DOES_NEST | DOES_ALIAS | RETURNS_REF) : ~0ull;
    expected += t.payload & WORD_MASK;
    if (t.payload & RETURNS_REF) {
        const struct sim_fact *f = sim_fact(n->config.world, refs[0]);
        expected = f == NULL ? 0 : f->expected;
        known = f != NULL && f->known;
    }
    t.flags |= rng_chance(rng, 0.5) ? SUBMIT_RETRY_ON_ERROR : 0;
    if (rng_chance(rng, 0.12)) {
        t.flags |= SUBMIT_AT_MOST_ONCE;
        t.payload |= RUNS_ONCE;
    }
    t.timeout_ns = rng_chance(rng, 0.05) ? rng_between(rng, 1, 2000) * NS_PER_MS : 0;
    struct object_id id = rig_submit(n->rig, d->process, t);
    char text[ID_TEXT_SIZE];
    for (uint32_t i = 0; i < t.need_count + t.ref_count; i++) {
        sim_tell(n->config.world, i < t.need_count ? needs[i] : refs[i - t.need_count],
                 "%s: driver %u gives it to %s as a %s", n->config.name, d->process->client,
                 object_id_format(id, text), i < t.need_count ? "value" : "reference");
    }
    note_task(n, id, &t, expected, known);
    watch_task(n, id, &t,
               (struct sim_wish){
                   .x = may_wait ? 0 : 1, .nodes = ~0u, .fixed = class_number == d->classes[8]});
    ask(n, d, id, 0);
    if (t.returns > 1) {
        ask(n, d, (struct object_id){id.node, id.client, id.number + 2}, 0);
        rig_release(n->rig, d->process,
                    (struct object_id){id.node, id.client, id.number + 1}); /* nobody wants it */
    }
}

static void put_one(struct sim_node *n, struct sim_driver *d)
{
    uint64_t value = rng_below(dice(n), 1000);
    struct object_id inside[2];
    size_t count = 0;
    uint8_t bytes[8 + sizeof inside];

    while (count < 2 && d->count > 0 && rng_chance(dice(n), 0.3)) {
        inside[count++] = any(n, d)->id;
    }
    struct object_id id = rig_put_holding(n->rig, d->process, value, inside, count);
    memcpy(bytes, &value, 8);
    memcpy(bytes + 8, inside, count * sizeof inside[0]);
    sim_fact_new(n->config.world, id, value, true);
    sim_returned(n->config.world, id, sim_hash(bytes_of(bytes, 8 + count * sizeof inside[0])));
    counts(n)->puts++;
    counts(n)->containers += count > 0;
    ask(n, d, id, 0);
}

static void release_at(struct sim_node *n, struct sim_driver *d, uint32_t i)
{
    sim_release(n, d->process, d->asked[i].id);
    counts(n)->releases++;
    d->count--;
    memmove(&d->asked[i], &d->asked[i + 1], (d->count - i) * sizeof d->asked[0]);
}

static void act(struct sim_node *n, struct sim_driver *d)
{
    struct rng *rng = dice(n);

    if (d->count + 8 > ASKED_MAX) {
        return;
    }
    if (n->config.world->cycles && d->quota > 0 && n->config.world->watched_count < HOGS_MAX &&
        rng_chance(rng, 0.1)) {
        d->quota--;
        submit_hog(n, d);
    } else if (rng_chance(rng, 0.04)) {
        put_one(n, d);
    } else if (rng_chance(rng, 0.03) && d->count > 0) {
        counts(n)->cancels++;
        rig_cancel(n->rig, d->process, any(n, d)->id, (uint32_t)rng_below(rng, 4));
    } else if (rng_chance(rng, 0.05) && d->count > 0) {
        release_at(n, d, (uint32_t)rng_below(rng, d->count)); /* settled or not */
    } else if (d->quota > 0) {
        d->quota--;
        submit_one(n, d);
    }
}

/* ---- answers ---- */

void sim_driver_hears(struct sim_node *n, struct sim_driver *d, struct object_id id, uint32_t code,
                      const struct object_id *refs, uint32_t ref_count)
{
    bool known = false;

    if (n->config.script != NULL) {
        memcpy(d->heard, refs, ref_count * sizeof *refs);
        d->heard_count = ref_count;
        return;
    }
    for (uint32_t i = 0; i < d->count; i++) {
        if (object_id_equal(d->asked[i].id, id)) {
            d->asked[i].settled = known = true;
        }
    }
    if (!known) {
        return; /* released meanwhile: nothing inside of it is held any more */
    }
    for (uint32_t i = 0; i < ref_count; i++) {
        if (d->count + 8 > ASKED_MAX || asked_of(d, refs[i]) != NULL || !rng_chance(dice(n), 0.6)) {
            continue;
        }
        counts(n)->opened++;
        sim_tell(n->config.world, refs[i], "%s: driver %u holds it through another", n->config.name,
                 d->process->client);
        rig_hold_through(n->rig, d->process, refs[i], id);
        if (rng_chance(dice(n), 0.5)) {
            ask(n, d, refs[i], id.node);
        } else {
            d->asked[d->count++] = (struct asked){.id = refs[i], .through = id.node, .late = true};
        }
    }
}

static uint32_t unsettled(const struct sim_driver *d)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < d->count; i++) {
        left += !d->asked[i].settled;
    }
    return left;
}

/* The list is kept short: those settled longest are released. */
static void shorten(struct sim_node *n, struct sim_driver *d)
{
    while (d->count > ASKED_MAX / 4 && d->asked[0].settled) {
        release_at(n, d, 0);
    }
}

/* ---- life ---- */

static void begin_driver(struct sim_node *n, struct sim_driver *d)
{
    memset(d, 0, sizeof *d);
    counts(n)->drivers++;
    d->process = rig_driver_of(n->rig, (uint32_t)rng_between(dice(n), 1, RIG_PROGRAMS));
    d->quota = (uint32_t)rng_between(dice(n), 30, 300);
    d->hasty = rng_chance(dice(n), 0.15);
    d->next_ns = n->now_ns + NS_PER_MS;
}

static void declare(struct sim_node *n, struct sim_driver *d)
{
    char name[16], label[16];
    const struct rig_class kinds[] = {
        {.cpus_x10000 = 10000},
        {.cpus_x10000 = 5000},
        {.cpus_x10000 = 20000},
        {.cpus_x10000 = 10000, .strategy = SCHED_SPREAD},
        {.cpus_x10000 = 5000, .strategy = SCHED_LOAD_BALANCED},
        {.cpus_x10000 = 10000, .strategy = SCHED_NODE_SPECIFIC, .node = name},
        {.cpus_x10000 = 10000, .strategy = SCHED_NODE_SPECIFIC, .node = name, .soft = true},
        {.custom = "x", .custom_x10000 = 10000},
        {.custom = "x", .custom_x10000 = 10000, .strategy = SCHED_SPREAD},
        {.cpus_x10000 = 5000, .strategy = SCHED_NODE_SPECIFIC, .labels = label},
        {.cpus_x10000 = 5000, .strategy = SCHED_NODE_SPECIFIC, .labels = label, .soft = true},
        {.cpus_x10000 = 10000, .custom = "x", .custom_x10000 = 30000},
        {.cpus_x10000 = 10000, .strategy = SCHED_NODE_SPECIFIC, .node = "nowhere"},
    };
    static const char *const names[] = {"one",    "half",   "two",    "spread", "balanced",
                                        "named",  "wished", "custom", "custom", "labelled",
                                        "wanted", "never",  "nowhere"};

    d->welcomed = true;
    counts(n)->welcomes++;
    d->hog_classes = n->config.world->cycles ? sim_hog_declare(n, d->process) : 0;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        snprintf(name, sizeof name, "box-%d", (int)rng_between(dice(n), 1, 3));
        snprintf(label, sizeof label, "box=%d", (int)rng_between(dice(n), 1, 3));
        struct rig_class kind = kinds[i];
        kind.priority = (int)rng_below(dice(n), 3) - 1; /* what waits for others lifts them */
        d->classes[d->class_count++] = rig_class(n->rig, d->process, names[i], kind);
    }
}

static void end_driver(struct sim_node *n, struct sim_driver *d, bool goodbye)
{
    sim_forget_gets(n, d->process);
    sim_job_ends(n->config.world, d->process->job);
    rig_driver_end(n->rig, d->process, goodbye);
    d->process = NULL;
}

static void drive(struct sim_node *n, struct sim_driver *d)
{
    struct rng *rng = dice(n);

    if (d->process == NULL) {
        if (n->finishing || n->now_ns < d->next_ns) {
            return;
        }
        begin_driver(n, d);
    }
    if (!d->process->welcomed) {
        return;
    }
    if (!d->welcomed) {
        declare(n, d);
    }
    if (d->process->closed) {
        sim_breach(n->config.world, "%s: a driver's connection was closed", n->config.name);
    }
    if (n->now_ns < d->next_ns) {
        return;
    }
    shorten(n, d);
    ask_late(n, d, n->finishing || d->quota == 0 ? 1.0 : 0.02);
    d->next_ns = n->now_ns + rng_between(rng, 1, 330) * NS_PER_MS;
    if (!n->finishing && d->quota > 0) {
        for (uint64_t i = rng_below(rng, 12); i > 0; i--) {
            act(n, d);
        }
    } else if (n->finishing && !n->dismissed && !d->hasty && unsettled(d) == 0) {
        while (d->count > 0) {
            release_at(n, d, 0);
        }
        d->drained = true;
    } else if (d->hasty || unsettled(d) == 0) {
        counts(n)->goodbyes++;
        counts(n)->early_goodbyes += unsettled(d) > 0;
        end_driver(n, d, true);
        d->next_ns = n->now_ns + rng_between(rng, 1, 500) * NS_PER_MS;
    }
}

void sim_drivers_advance(struct sim_node *n)
{
    if (n->config.script != NULL) {
        n->config.script(n->config.script_arg, n);
        return;
    }
    for (int i = 0; i < n->config.drivers; i++) {
        drive(n, &n->drivers[i]);
    }
}

uint64_t sim_drivers_next_ns(const struct sim_node *n)
{
    uint64_t next = NS_FOREVER;

    for (int i = 0; i < n->config.drivers; i++) {
        const struct sim_driver *d = &n->drivers[i];
        if (d->process == NULL ? !n->finishing : d->process->welcomed) {
            next = MIN_OF(next, d->next_ns);
        }
    }
    return next;
}

void sim_node_crash_driver(struct sim_node *n)
{
    if (n->rig == NULL || n->config.drivers == 0) {
        return;
    }
    struct sim_driver *d = &n->drivers[rng_below(dice(n), (uint64_t)n->config.drivers)];
    if (d->process != NULL) {
        counts(n)->driver_crashes++;
        end_driver(n, d, false);
        d->next_ns = n->now_ns + 100 * NS_PER_MS;
        n->poked = true;
    }
}
