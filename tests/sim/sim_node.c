#include "tests/sim/sim_node.h"

#include "proto/session.h"
#include "tests/sim/sim_head.h"

#include <signal.h>
#include <stdio.h>

/* What a task does is written in its payload; what it returns follows from it, so that each value
 * can be checked. */
#define WORD_MASK     0xffffffffull
#define DOES_NEST     (1ull << 40)
#define DOES_ALIAS    (1ull << 41)
#define DOES_FAIL     (1ull << 42) /* in its first attempt */
#define TAKES_LONG    (1ull << 43)
#define TAKES_NO_TIME (1ull << 44)
#define RUNS_ONCE     (1ull << 45) /* at most, whatever happens */
#define HEEDS_NOTHING (1ull << 46) /* a body that does not look whether it was cancelled */

#define ASKED_MAX 256
#define CHILDREN  3
#define JOBS_MAX  4096

struct asked {
    struct object_id id;
    uint64_t expected;
    bool known; /* `expected` holds */
    bool settled;
};

struct sim_driver {
    struct rig_process *process;
    uint32_t classes[5];
    uint32_t class_count;
    struct asked asked[ASKED_MAX];
    uint32_t count;
    uint32_t quota; /* tasks it still submits */
    uint64_t next_ns;
    bool welcomed;
};

struct plan { /* what a worker's body does */
    bool busy, waits;
    uint64_t until_ns;
    struct object_id children[CHILDREN];
    uint64_t expected[CHILDREN];
    uint32_t child_count;
    struct object_id held; /* of a driver's, perhaps of another job's; number 0: none */
    uint32_t class_number; /* of the worker's own declaration; 0: none yet */
};

struct run_key { /* one execution */
    struct object_id task;
    uint32_t attempt;
    uint32_t zero;
};

struct run {
    struct run_key key;
    UT_hash_handle hh;
};

struct sim_node {
    struct sim_config config;
    struct rig *rig; /* NULL: down */
    struct transport *transport;
    struct session *session;
    uint64_t now_ns, lives;
    uint32_t last_number;
    struct sim_driver drivers[SIM_DRIVERS];
    struct plan plans[RIG_PROCESSES];
    struct run *runs;
    uint64_t jobs[JOBS_MAX];
    uint32_t job_count;
    bool cut_to, cut_from, finishing;
};

/* ---- towards the head ---- */

static void to_head(void *arg, const struct cluster_msg *m, bool datagram)
{
    struct sim_node *n = arg;
    struct buffer b = {0};
    int rc;

    cluster_encode(m, buffer_extend(&b, cluster_size(m)));
    rc = datagram ? session_datagram(n->session, n->now_ns, bytes_of(b.data, b.size))
                  : session_send(n->session, n->now_ns, bytes_of(b.data, b.size));
    ASSERT(rc == 0 || rc == -ENOTCONN || datagram);
    buffer_fini(&b);
}

static void from_head(struct sim_node *n, struct bytes data)
{
    struct cluster_msg *m = arena_alloc(&n->rig->arena, sizeof *m);
    void *copy = arena_copy(&n->rig->arena, data.data, data.size);
    const char *why = "";

    if (cluster_decode(bytes_of(copy, data.size), &n->rig->arena, m, &why) != 0) {
        ASSERT(false);
    }
    if (m->type == CLUSTER_JOINED) {
        session_set_number(n->session, m->joined.number);
        n->last_number = m->joined.number;
    } else if (m->type == CLUSTER_JOB_ADDED && m->job_added.failure.code == 0) {
        ASSERT(n->job_count < JOBS_MAX);
        n->jobs[n->job_count++] = m->job_added.job;
    }
    rig_head_says(n->rig, m);
}

static void session_says(void *arg, const struct session_event *e)
{
    struct sim_node *n = arg;

    switch (e->kind) {
    case SESSION_UP:
        rig_head(n->rig, true);
        break;
    case SESSION_DOWN:
        rig_head(n->rig, false);
        break;
    case SESSION_MESSAGE:
    case SESSION_DATAGRAM:
        from_head(n, e->data);
        break;
    default:
        break;
    }
}

static int session_sends(void *arg, struct bytes packet)
{
    struct sim_node *n = arg;
    return n->transport->ops->send(n->transport, TRANSPORT_MEM_ONLY_PEER, packet);
}

static void on_message(void *arg, uint64_t peer, struct bytes message)
{
    struct sim_node *n = arg;

    (void)peer;
    if (session_receive(n->session, n->now_ns, message) != 0) {
        ASSERT(false);
    }
}

/* The session mends what a lost connection lost: nothing to do for any of these. */
static void on_up(void *arg, uint64_t peer, enum peer_role role)
{
    (void)arg, (void)peer, (void)role;
}

static void on_room(void *arg, uint64_t peer)
{
    (void)arg, (void)peer;
}

static void on_down(void *arg, uint64_t peer, bool refused)
{
    (void)arg, (void)peer, (void)refused;
}

/* ---- life ---- */

struct sim_node *sim_node_new(const struct sim_config *config, uint64_t now_ns)
{
    struct sim_node *n = xcalloc(1, sizeof *n);

    n->config = *config;
    sim_node_start(n, now_ns);
    return n;
}

void sim_node_start(struct sim_node *n, uint64_t now_ns)
{
    struct transport_events events = {on_up, on_message, on_room, on_down, n};
    struct session_owner owner = {session_says, session_sends, n};
    struct session_config session = {.self_life = rng_next(n->config.rng),
                                     .initiator = true,
                                     .seed = rng_next(n->config.rng),
                                     .now_ns = now_ns};
    struct rig_config config = {.name = n->config.name,
                                .cpus = n->config.cpus,
                                .custom = "x",
                                .custom_total = 2,
                                .supersedes = n->last_number,
                                .seed = rng_next(n->config.rng),
                                .now_ns = now_ns};

    ASSERT(n->rig == NULL);
    n->lives++;
    n->config.counts->node_starts++;
    n->now_ns = now_ns;
    n->rig = xmalloc(sizeof *n->rig);
    rig_open(n->rig, &config);
    n->rig->hooks = (struct rig_hooks){.arg = n, .on_head = to_head};
    memset(n->drivers, 0, sizeof n->drivers);
    memset(n->plans, 0, sizeof n->plans);
    n->transport = transport_mem_client_new(n->config.network, SIM_HEAD_PORT, PEER_NODE, &events);
    n->session = session_new(&session, &owner);
    transport_mem_cut(n->transport, n->cut_to, n->cut_from);
}

void sim_node_kill(struct sim_node *n)
{
    struct run *run, *next;

    if (n->rig == NULL) {
        return;
    }
    n->config.counts->node_kills++;
    session_free(n->session);
    n->transport->ops->free(n->transport);
    rig_fini(n->rig);
    free(n->rig);
    n->rig = NULL;
    HASH_ITER(hh, n->runs, run, next)
    {
        HASH_DEL(n->runs, run);
        free(run);
    }
}

void sim_node_free(struct sim_node *n)
{
    sim_node_kill(n);
    free(n);
}

bool sim_node_is_up(const struct sim_node *n)
{
    return n->rig != NULL;
}

uint32_t sim_node_number(const struct sim_node *n)
{
    return n->rig == NULL ? 0 : n->rig->node;
}

void sim_node_cut(struct sim_node *n, bool to, bool from)
{
    n->cut_to = to;
    n->cut_from = from;
    if (n->rig != NULL) {
        transport_mem_cut(n->transport, to, from);
    }
}

bool sim_node_is_cut(const struct sim_node *n)
{
    return n->cut_to || n->cut_from;
}

void sim_node_each_job(struct sim_node *n, void (*fn)(uint64_t, void *), void *arg)
{
    for (uint32_t i = 0; i < n->job_count; i++) {
        fn(n->jobs[i], arg);
    }
}

/* ---- drivers ---- */

static void ask(struct sim_node *n, struct sim_driver *d, struct object_id id, uint64_t expected,
                bool known)
{
    ASSERT(d->count < ASKED_MAX);
    d->asked[d->count++] = (struct asked){.id = id, .expected = expected, .known = known};
    rig_get(n->rig, d->process, id);
}

static uint64_t random_payload(struct rng *rng)
{
    uint64_t payload = rng_below(rng, 1000);
    uint64_t kind = rng_below(rng, 100);

    payload |= kind < 6    ? DOES_NEST
               : kind < 9  ? DOES_ALIAS
               : kind < 14 ? DOES_FAIL
               : kind < 16 ? TAKES_LONG
                           : 0;
    payload |= rng_chance(rng, 0.1) ? HEEDS_NOTHING : 0;
    return kind >= 60 ? payload | TAKES_NO_TIME : payload;
}

static void submit_one(struct sim_node *n, struct sim_driver *d)
{
    struct rng *rng = n->config.rng;
    struct object_id needs[2];
    uint32_t class_count = d->class_count - !rng_chance(rng, 0.05); /* the last never fits */
    struct object_id refs[1];
    struct rig_task t = {.class_number = d->classes[rng_below(rng, class_count)],
                         .payload = random_payload(rng),
                         .returns = rng_chance(rng, 0.05) ? 3 : 1,
                         .max_attempts = (uint32_t)rng_between(rng, 1, 4),
                         .backoff_ns = 10 * NS_PER_MS,
                         .needs = needs,
                         .refs = refs};
    uint64_t expected = t.payload & WORD_MASK;
    bool known = true;

    t.payload &= t.returns > 1 ? ~(DOES_NEST | DOES_ALIAS) : ~0ull;
    for (int i = 0; i < 2 && d->count > 0 && rng_chance(rng, 0.15); i++) {
        const struct asked *of = &d->asked[rng_below(rng, d->count)];
        needs[t.need_count++] = of->id;
        expected += of->expected;
        known = known && of->known;
    }
    t.flags |= rng_chance(rng, 0.5) ? SUBMIT_RETRY_ON_ERROR : 0;
    if (rng_chance(rng, 0.05)) {
        t.flags |= SUBMIT_AT_MOST_ONCE;
        t.payload |= RUNS_ONCE;
    }
    if (d->count > 0 && rng_chance(rng, 0.05)) {
        refs[t.ref_count++] = d->asked[rng_below(rng, d->count)].id;
    }
    t.timeout_ns = rng_chance(rng, 0.05) ? rng_between(rng, 1, 2000) * NS_PER_MS : 0;
    struct object_id id = rig_submit(n->rig, d->process, t);
    n->config.counts->tasks++;
    ask(n, d, id, expected, known);
    if (t.returns > 1) {
        struct object_id third = {id.node, id.client, id.number + 2};
        ask(n, d, third, expected + 2, known);
    }
}

static void act(struct sim_node *n, struct sim_driver *d)
{
    struct rng *rng = n->config.rng;

    if (d->count + 4 > ASKED_MAX) {
        return;
    }
    if (rng_chance(rng, 0.03)) {
        uint64_t value = rng_below(rng, 1000);
        n->config.counts->puts++;
        ask(n, d, rig_put(n->rig, d->process, value), value, true);
    } else if (rng_chance(rng, 0.03) && d->count > 0) {
        n->config.counts->cancels++;
        rig_cancel(n->rig, d->process, d->asked[rng_below(rng, d->count)].id,
                   (uint32_t)rng_below(rng, 4));
    } else if (d->quota > 0) {
        d->quota--;
        submit_one(n, d);
    }
}

static bool may_be(uint32_t code)
{
    switch (code) {
    case 0:
    case CODE_FAILED:
    case CODE_CRASHED:
    case CODE_EXITED:
    case CODE_DEADLINE:
    case CODE_CANCELLED:
    case CODE_IMPOSSIBLE:
        return true;
    default:
        return false;
    }
}

/* Answers that came: each once, and right. Now and then the reference is released. */
static void look(struct sim_node *n, struct sim_driver *d)
{
    for (uint32_t i = 0; i < d->count; i++) {
        struct asked *a = &d->asked[i];
        const struct rig_value *v = a->settled ? NULL : rig_value(n->rig, a->id);
        if (v == NULL) {
            continue;
        }
        uint32_t code = v->state == VALUE_ERROR ? v->code : 0;
        a->settled = true;
        ASSERT(v->answers == 1 && may_be(code));
        ASSERT(code != 0 || !a->known || v->value == a->expected);
        n->config.counts->values += code == 0;
        n->config.counts->errors += code != 0;
    }
    /* keep the list short: those settled longest are released */
    while (d->count > ASKED_MAX / 2 && d->asked[0].settled) {
        rig_release(n->rig, d->process, d->asked[0].id);
        n->config.counts->releases++;
        d->count--;
        memmove(&d->asked[0], &d->asked[1], d->count * sizeof d->asked[0]);
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

static void begin_driver(struct sim_node *n, struct sim_driver *d)
{
    memset(d, 0, sizeof *d);
    n->config.counts->drivers++;
    d->process = rig_driver(n->rig);
    d->quota = (uint32_t)rng_between(n->config.rng, 50, 600);
    d->next_ns = n->now_ns + NS_PER_MS;
}

static void declare(struct sim_node *n, struct sim_driver *d)
{
    static const struct rig_class kinds[] = {
        {.cpus_x10000 = 10000},
        {.cpus_x10000 = 5000, .priority = 1},
        {.cpus_x10000 = 20000},
        {.cpus_x10000 = 0, .custom = "x", .custom_x10000 = 10000},
        {.cpus_x10000 = 10000, .custom = "x", .custom_x10000 = 30000},
    };
    static const char *const names[] = {"one", "half", "two", "custom", "never"};

    d->welcomed = true;
    n->config.counts->welcomes++;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        d->classes[d->class_count++] = rig_class(n->rig, d->process, names[i], kinds[i]);
    }
}

static void drive(struct sim_node *n, struct sim_driver *d)
{
    struct rng *rng = n->config.rng;

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
    ASSERT(!d->process->closed);
    look(n, d);
    if (n->now_ns < d->next_ns) {
        return;
    }
    d->next_ns = n->now_ns + rng_between(rng, 1, 100) * NS_PER_MS;
    if (!n->finishing && d->quota > 0) {
        for (uint64_t i = rng_below(rng, 12); i > 0; i--) {
            act(n, d);
        }
    } else if (unsettled(d) == 0) {
        n->config.counts->goodbyes++;
        rig_driver_end(n->rig, d->process, true);
        d->process = NULL;
        d->next_ns = n->now_ns + rng_between(rng, 1, 500) * NS_PER_MS;
    }
}

void sim_node_crash_driver(struct sim_node *n)
{
    if (n->rig == NULL) {
        return;
    }
    struct sim_driver *d = &n->drivers[rng_below(n->config.rng, SIM_DRIVERS)];
    if (d->process != NULL) {
        n->config.counts->driver_crashes++;
        rig_driver_end(n->rig, d->process, false);
        d->process = NULL;
        d->next_ns = n->now_ns + 100 * NS_PER_MS;
    }
}

/* ---- bodies ---- */

static void note_run(struct sim_node *n, const struct rig_run *current)
{
    struct run *run = xcalloc(1, sizeof *run), *old;

    run->key.task = current->task;
    run->key.attempt = current->attempt;
    HASH_FIND(hh, n->runs, &run->key, sizeof run->key, old);
    ASSERT(old == NULL); /* one try is run once */
    ASSERT((current->payload & RUNS_ONCE) == 0 || current->attempt == 1);
    HASH_ADD(hh, n->runs, key, sizeof run->key, run);
    n->config.counts->bodies++;
}

static void hold_something(struct sim_node *n, struct rig_process *w, struct plan *p)
{
    const struct sim_driver *d = &n->drivers[rng_below(n->config.rng, SIM_DRIVERS)];

    p->held = (struct object_id){0};
    if (d->process != NULL && d->count > 0 && rng_chance(n->config.rng, 0.2)) {
        p->held = d->asked[rng_below(n->config.rng, d->count)].id;
        rig_hold(n->rig, w, p->held);
    }
}

static void submit_children(struct sim_node *n, struct rig_process *w, struct plan *p)
{
    struct rng *rng = n->config.rng;
    bool alias = (w->current.payload & DOES_ALIAS) != 0;

    p->child_count = alias ? 1 : CHILDREN;
    for (uint32_t i = 0; i < p->child_count; i++) {
        uint64_t word =
            alias ? (w->current.payload & WORD_MASK) + w->current.needs : rng_below(rng, 100);
        p->expected[i] = word;
        word |= rng_chance(rng, alias ? 0.4 : 0.1)   ? DOES_ALIAS
                : rng_chance(rng, alias ? 0.1 : 0.2) ? DOES_NEST
                                                     : 0;
        p->children[i] =
            rig_submit(n->rig, w,
                       (struct rig_task){.class_number = w->classes,
                                         .payload = word,
                                         .parent_slot = 1 + claim_index(w->current.slot)});
        n->config.counts->tasks++;
    }
}

static void begin_body(struct sim_node *n, struct rig_process *w, struct plan *p)
{
    struct rng *rng = n->config.rng;
    uint64_t payload = w->current.payload;
    uint64_t took = rng_below(rng, 3000) * NS_PER_US;

    note_run(n, &w->current);
    took = payload & TAKES_LONG ? rng_between(rng, 100, 3000) * NS_PER_MS : took;
    p->busy = true;
    p->waits = false;
    p->child_count = 0;
    hold_something(n, w, p);
    p->until_ns = n->now_ns + (payload & TAKES_NO_TIME ? 1000 : took);
    if ((payload & (DOES_NEST | DOES_ALIAS)) == 0) {
        return;
    }
    if (w->classes == 0) {
        p->class_number = rig_class(n->rig, w, "child", (struct rig_class){.cpus_x10000 = 10000});
    }
    submit_children(n, w, p);
    if (payload & DOES_NEST) {
        n->config.counts->nested++;
        p->waits = true;
        for (uint32_t i = 0; i < p->child_count; i++) {
            rig_get(n->rig, w, p->children[i]);
        }
        (void)rig_say(n->rig, w, LOCAL_BLOCKED);
    }
}

static bool children_settled(struct sim_node *n, struct plan *p)
{
    for (uint32_t i = 0; i < p->child_count; i++) {
        const struct rig_value *v = rig_value(n->rig, p->children[i]);
        if (v == NULL) {
            return false;
        }
        ASSERT(v->state == VALUE_ERROR || v->value == p->expected[i]);
    }
    return true;
}

static void end_body(struct sim_node *n, struct rig_process *w, struct plan *p)
{
    uint64_t payload = w->current.payload;

    p->busy = false;
    if (payload & DOES_ALIAS) {
        n->config.counts->aliases++;
        rig_return_alias(n->rig, w, p->children[0]);
    } else if ((payload & DOES_FAIL) && w->current.attempt == 1) {
        n->config.counts->failures++;
        rig_fail(n->rig, w, 7);
    } else {
        rig_return(n->rig, w, (payload & WORD_MASK) + w->current.needs);
    }
    for (uint32_t i = 0; i < p->child_count; i++) {
        rig_release(n->rig, w, p->children[i]);
    }
    if (p->held.number != 0 && rng_chance(n->config.rng, 0.7)) { /* else it ends with the worker */
        rig_release(n->rig, w, p->held);
    }
}

static bool shall_end(const struct sim_node *n, const struct rig_process *w, const struct plan *p)
{
    return p->until_ns <= n->now_ns ||
           ((w->current.payload & HEEDS_NOTHING) == 0 && w->cancel[claim_index(w->current.slot)]);
}

static void work(struct sim_node *n, uint32_t index)
{
    struct rig_process *w = &n->rig->processes[index];
    struct plan *p = &n->plans[index];

    if (!w->used || !w->alive || w->worker == 0) {
        p->busy = false;
        return;
    }
    if (w->current.returns == 0) {
        p->busy = false; /* another process has this place now, or nothing is claimed */
        if (w->ring_count == 0 || w->leave || !rig_claim(n->rig, w)) {
            return;
        }
        begin_body(n, w, p);
    }
    if (p->waits && children_settled(n, p)) {
        (void)rig_say(n->rig, w, LOCAL_UNBLOCKED);
        p->waits = false;
    }
    if (p->busy && !p->waits && shall_end(n, w, p)) {
        end_body(n, w, p);
    }
}

void sim_node_crash_worker(struct sim_node *n)
{
    if (n->rig == NULL || n->rig->process_count == 0) {
        return;
    }
    uint64_t from = rng_below(n->config.rng, n->rig->process_count);
    for (uint32_t i = 0; i < n->rig->process_count; i++) {
        uint32_t at = (uint32_t)((from + i) % n->rig->process_count);
        struct rig_process *w = &n->rig->processes[at];
        if (w->used && w->alive && w->worker != 0) {
            n->config.counts->crashes++;
            n->plans[at].busy = false;
            rig_crash(n->rig, w, rng_chance(n->config.rng, 0.8) ? SIGSEGV : 3 << 8);
            return;
        }
    }
}

void sim_node_leave(struct sim_node *n)
{
    if (n->rig != NULL) {
        rig_event(n->rig, EVENT_LEAVE)->limit_ns = rng_below(n->config.rng, 5000) * NS_PER_MS;
    }
}

/* ---- time ---- */

void sim_node_finish(struct sim_node *n)
{
    n->finishing = true;
}

bool sim_node_is_finished(const struct sim_node *n)
{
    struct raylet_counts counts;

    if (n->rig == NULL) {
        return false;
    }
    for (int i = 0; i < SIM_DRIVERS; i++) {
        if (n->drivers[i].process != NULL) {
            return false;
        }
    }
    raylet_core_count(n->rig->core, &counts);
    return counts.tasks + counts.objects + counts.jobs + counts.clients + counts.classes +
               counts.workers ==
           0;
}

void sim_node_report(struct sim_node *n)
{
    struct raylet_counts c = {0};

    if (n->rig != NULL) {
        raylet_core_count(n->rig->core, &c);
    }
    printf("%s: up %d, number %u, head %d, tasks %llu waiting %llu running %llu objects %llu jobs "
           "%llu clients %llu workers %llu\n",
           n->config.name, n->rig != NULL, n->rig == NULL ? 0 : n->rig->node,
           n->rig != NULL && n->rig->head_up, (unsigned long long)c.tasks,
           (unsigned long long)c.waiting, (unsigned long long)c.running,
           (unsigned long long)c.objects, (unsigned long long)c.jobs, (unsigned long long)c.clients,
           (unsigned long long)c.workers);
    for (int i = 0; n->rig != NULL && i < SIM_DRIVERS; i++) {
        if (n->drivers[i].process != NULL) {
            printf("  driver %d: welcomed %d, %u unsettled\n", i, n->drivers[i].welcomed,
                   unsettled(&n->drivers[i]));
        }
    }
}

void sim_node_advance(struct sim_node *n, uint64_t now_ns)
{
    n->now_ns = now_ns;
    if (n->rig == NULL) {
        return;
    }
    n->rig->now_ns = now_ns;
    session_tick(n->session, now_ns);
    for (int i = 0; i < SIM_DRIVERS; i++) {
        drive(n, &n->drivers[i]);
    }
    for (uint32_t i = 0; i < n->rig->process_count; i++) {
        work(n, i);
    }
    rig_settle(n->rig);
    if (n->rig->quits > 0) {
        n->config.counts->node_quits++;
        sim_node_kill(n);
    }
}

uint64_t sim_node_next_ns(const struct sim_node *n)
{
    uint64_t next;

    if (n->rig == NULL) {
        return NS_FOREVER;
    }
    next = MIN_OF(raylet_core_next_ns(n->rig->core), session_next_ns(n->session));
    for (int i = 0; i < SIM_DRIVERS; i++) {
        const struct sim_driver *d = &n->drivers[i];
        if (d->process == NULL ? !n->finishing : d->process->welcomed) {
            next = MIN_OF(next, d->next_ns);
        }
    }
    for (uint32_t i = 0; i < n->rig->process_count; i++) {
        const struct rig_process *w = &n->rig->processes[i];
        if (!w->used || w->worker == 0) {
            continue;
        }
        if (n->plans[i].busy && !n->plans[i].waits) {
            next = MIN_OF(next, n->plans[i].until_ns);
        } else if (!n->plans[i].busy && w->ring_count > 0) {
            next = MIN_OF(next, n->now_ns + 1000);
        }
    }
    return next;
}
