/*
 * Nodes that say anything that their messages can hold, in any order: the raylet refuses or lives
 * with it, its counts stay true (raylet_core_check after each step), and nothing is left at the
 * end.
 */
#include "proto/layout.h"
#include "raylet/core_peers.h"
#include "tests/unit/raylet/between_scene.h"

#define STEPS  2000
#define SEEDS  60
#define NOBODY 40u /* a node that nobody has heard of */

struct play {
    struct scene *s;
    struct rng rng;
    struct object_id ids[64]; /* of the driver */
    uint32_t id_count;
    uint32_t classes[6];
};

static const uint32_t peers[2] = {THEM, OTHER};

static uint32_t any(struct play *p, uint32_t below)
{
    return (uint32_t)rng_below(&p->rng, below);
}

static void ignore_send(void *arg, uint32_t peer, enum peer_side side, const struct peer_msg *m)
{
}

static struct object_id any_id(struct play *p)
{
    uint32_t nodes[4] = {p->s->rig.node, THEM, OTHER, NOBODY};

    if (p->id_count > 0 && any(p, 3) == 0) {
        return p->ids[any(p, p->id_count)];
    }
    return (struct object_id){nodes[any(p, 4)], 1 + any(p, 4), 1 + any(p, 12)};
}

static const struct object_id *any_ids(struct play *p, size_t count)
{
    struct object_id *ids = arena_alloc(&p->s->rig.arena, (count + 1) * sizeof *ids);

    for (size_t i = 0; i < count; i++) {
        ids[i] = any_id(p);
    }
    return ids;
}

static uint64_t any_job(struct play *p)
{
    uint64_t jobs[4] = {THEIR_JOB, THEIR_JOB, the_job(p->s)->number, 77};

    return jobs[any(p, 4)];
}

static const uint64_t *any_runs(struct play *p, size_t *ret_count)
{
    size_t count = 1 + any(p, 3);
    uint64_t *list = arena_alloc(&p->s->rig.arena, count * sizeof *list);

    for (size_t i = 0; i < count; i++) {
        list[i] = 1 + any(p, 60);
    }
    *ret_count = count;
    return list;
}

static uint32_t any_class(struct play *p)
{
    return 1 + any(p, 12);
}

static struct bytes any_bytes(struct play *p, size_t size)
{
    return bytes_of(memset(arena_alloc(&p->s->rig.arena, size + 1), 1, size + 1), size);
}

static struct peer_msg *new_message(struct play *p, enum peer_type type)
{
    struct peer_msg *m = arena_alloc(&p->s->rig.arena, sizeof *m);

    memset(m, 0, sizeof *m);
    m->type = type;
    return m;
}

static bool is_announced(const struct peer *peer, uint64_t job)
{
    for (const struct list *at = peer->sponsored.next; at != &peer->sponsored; at = at->next) {
        if (list_entry(at, struct sponsor, peer_link)->job->number == job) {
            return true;
        }
    }
    return false;
}

/* It keeps the rules that end a session at once. */
static bool is_good(struct peer *peer, enum peer_side side, struct peer_msg *m)
{
    const struct guest_class *g;
    const struct lane *l;

    switch (m->type) {
    case PEER_JOB:
        return !is_announced(peer, m->job.job);
    case PEER_CLASS:
        return numbers_get(&peer->guest_classes, m->class_.number) == NULL &&
               (m->class_.amount_count == 0 || m->class_.amounts->name[0] != 'm');
    case PEER_RUN:
        g = numbers_get(&peer->guest_classes, m->run.number);
        m->run.run = peer->last_run + 1;
        return side == SIDE_IN && (g == NULL || g->outstanding > 0);
    case PEER_RETURN:
        g = numbers_get(&peer->guest_classes, m->slots.number);
        return g == NULL || m->slots.count <= g->outstanding;
    case PEER_GRANT:
        l = numbers_get(&peer->lanes_by_number, m->slots.number);
        return side == SIDE_OUT && (l == NULL || m->slots.count <= l->limit_most - l->got);
    default:
        return true;
    }
}

/* Mostly what does not end the session: else nothing would come of it. */
static void say(struct play *p, int who, enum peer_side side, struct peer_msg *m)
{
    struct peer *peer = peer_find(p->s->rig.core, peers[who]);

    if (is_good(peer, side, m) || any(p, 200) == 0) {
        rig_peer_says(&p->s->rig, peers[who], side, m);
    }
}

/* ---- as a home ---- */

static void any_announcement(struct play *p, struct peer_msg *m)
{
    static const uint8_t hash[PEER_HASH_SIZE] = {2};

    m->job.job = any_job(p);
    m->job.name = m->job.program_name = m->job.user = m->job.cwd = "";
    m->job.hash = bytes_of(hash, sizeof hash);
    m->job.program_size = 1;
    m->job.home = any(p, 3) == 0 ? OTHER : THEM;
    m->job.wants_logs = any(p, 2) == 0;
}

static void any_declaration(struct play *p, struct peer_msg *m)
{
    static const char *const names[] = {"CPU", "x", "CPU", "CPU", "made-up"};
    struct local_amount *amount = arena_alloc(&p->s->rig.arena, sizeof *amount);

    *amount = (struct local_amount){names[any(p, 5)], (int64_t)any(p, 3) * RESOURCE_UNIT};
    m->class_.number = any_class(p);
    m->class_.job = any_job(p);
    m->class_.function = "g";
    m->class_.amounts = amount;
    m->class_.amount_count = any(p, 4) > 0;
    m->class_.priority = (int32_t)any(p, 3) - 1;
    m->class_.depth = any(p, 3);
}

static void any_attempt(struct play *p, struct peer_msg *m)
{
    m->run.run = 1 + any(p, 60);
    m->run.number = any_class(p);
    m->run.attempt = any(p, 4);
    m->run.returns = 1 + any(p, 3);
    m->run.task = any_id(p);
    m->run.name = any(p, 2) == 0 ? "" : "name";
    m->run.time_left_ns = any(p, 2) * NS_PER_S;
    m->run.ref_count = any(p, 4);
    m->run.refs = any_ids(p, m->run.ref_count);
    m->run.args_size = 8;
    m->payload = any_bytes(p, 8);
}

static struct peer_step any_step(struct play *p)
{
    const uint32_t nodes[4] = {p->s->rig.node, THEM, OTHER, NOBODY};

    return (struct peer_step){LOOK_OBJECT + any(p, LOOK_ROOM), nodes[any(p, 4)], any_id(p),
                              any(p, 8) == 0 ? UINT64_MAX : any(p, 8)};
}

static const struct local_amount *any_amounts(struct play *p, size_t *ret_count)
{
    static const struct local_amount all[] = {
        {"CPU", RESOURCE_UNIT}, {"x", 2 * RESOURCE_UNIT}, {"CPU", INT64_MAX}, {"made-up", 1}};
    size_t first = any(p, ARRAY_SIZE(all));

    *ret_count = any(p, (uint32_t)(ARRAY_SIZE(all) - first) + 1);
    return all + first;
}

static void any_look(struct play *p, struct peer_msg *m)
{
    struct peer_step at = any_step(p);

    m->look = (struct peer_look){.look = 1, .kind = at.kind, .node = at.node, .id = at.id};
    m->look.run = at.run;
    m->look.depth = any(p, 3);
    m->look.amounts = any_amounts(p, &m->look.amount_count);
}

/* Often to the search that is going on. */
static void any_sight(struct play *p, struct peer_msg *m)
{
    struct peer_step *steps = arena_alloc(&p->s->rig.arena, 4 * sizeof *steps);
    size_t count = any(p, 4);

    for (size_t i = 0; i < count; i++) {
        steps[i] = any_step(p);
    }
    m->seen.look = p->s->rig.core->searches - any(p, 2);
    m->seen.item = any(p, 6);
    m->seen.stuck = any(p, 8) > 0;
    m->seen.since = any(p, 8) == 0;
    m->seen.steps = steps;
    m->seen.step_count = m->seen.stuck ? count : 0;
    m->seen.amounts = any_amounts(p, &m->seen.amount_count);
    m->seen.waits_for_room = any(p, 4) == 0;
    m->seen.depth = any(p, 3);
    m->seen.name = "so it says";
}

static void from_home(struct play *p, int who)
{
    static const enum peer_type types[] = {
        PEER_JOB,    PEER_JOB_END, PEER_CLASS,   PEER_CLASS_END, PEER_ASK,    PEER_ASK,
        PEER_RETURN, PEER_RUN,     PEER_RUN,     PEER_RUN,       PEER_STOP,   PEER_RECORDED,
        PEER_DROP,   PEER_ADD,     PEER_ADD,     PEER_WANT,      PEER_CANCEL, PEER_RUN,
        PEER_CLASS,  PEER_ASK,     PEER_JOB_ASK, PEER_LOOK,      PEER_GRANT};
    enum peer_type type = types[any(p, ARRAY_SIZE(types) - (any(p, 20) > 0))];
    struct peer_msg *m = new_message(p, type);

    switch (type) {
    case PEER_JOB:
        any_announcement(p, m);
        break;
    case PEER_JOB_END:
        m->job_end.job = any_job(p);
        m->job_end.over = any(p, 2) == 0;
        break;
    case PEER_JOB_ASK:
        m->job_ask.job = any_job(p);
        break;
    case PEER_LOOK:
        any_look(p, m);
        break;
    case PEER_CLASS:
        any_declaration(p, m);
        break;
    case PEER_CLASS_END:
        m->class_end.number = any_class(p);
        break;
    case PEER_ASK:
        m->ask.number = any_class(p);
        m->ask.limit = any(p, 30) == 0 ? UINT64_MAX : any(p, 40);
        break;
    case PEER_RUN:
        any_attempt(p, m);
        break;
    case PEER_STOP:
        m->stop.run = 1 + any(p, 60);
        m->stop.how = any(p, PEER_STOP_KILL + 1);
        m->stop.recursive = any(p, 2) == 0;
        break;
    case PEER_RECORDED:
        m->runs.runs = any_runs(p, &m->runs.run_count);
        break;
    case PEER_ADD:
        m->add.first = any(p, 4) == 0;
        m->add.last = any(p, 4) == 0;
        m->add.job = any_job(p);
        m->add.id_count = 1 + any(p, 3);
        m->add.ids = any_ids(p, m->add.id_count);
        break;
    case PEER_DROP:
    case PEER_WANT:
        m->ids.id_count = 1 + any(p, 3);
        m->ids.ids = any_ids(p, m->ids.id_count);
        break;
    case PEER_CANCEL:
        m->cancel.id = any_id(p);
        m->cancel.flags = any(p, 4);
        break;
    default: /* RETURN, GRANT */
        m->slots.number = any_class(p);
        m->slots.count = 1 + any(p, 2);
    }
    say(p, who, SIDE_IN, m);
}

/* ---- as an executor, and as an owner ---- */

static void any_result(struct play *p, struct peer_msg *m)
{
    size_t count = any(p, 4), bytes = 0;
    struct local_return *list = arena_alloc(&p->s->rig.arena, (count + 1) * sizeof *list);
    struct peer_result *r = &m->result;

    r->run = 1 + any(p, 60);
    r->worker = any(p, 5);
    r->args_free = any(p, 2) == 0;
    r->wants_recorded = any(p, 2) == 0;
    if (any(p, 4) == 0) {
        r->kind = any(p, 2) == 0 ? PEER_RESULT_FAILED : PEER_RESULT_DIED;
        failure_set(&r->failure, CODE_FAILED, "so it says");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        list[i] = (struct local_return){.state = any(p, RETURN_TOO_LARGE + 1)};
        if (list[i].state == RETURN_ALIAS) {
            list[i].alias = any_id(p);
        } else if (list[i].state == RETURN_VALUE) {
            list[i].size = any(p, 40);
            list[i].ref_count = any(p, 3);
            r->ref_count += list[i].ref_count;
            (void)layout_place_entry(&bytes, list[i].size);
        }
    }
    r->returns = list;
    r->return_count = count;
    r->refs = any_ids(p, r->ref_count);
    m->payload = any_bytes(p, bytes);
}

static void any_value(struct play *p, struct peer_msg *m)
{
    struct buffer b = {0};
    struct failure f;

    m->value.id = any_id(p);
    m->value.state = any(p, 2) == 0 ? VALUE_HERE : VALUE_ERROR;
    if (m->value.state == VALUE_HERE) {
        m->value.ref_count = any(p, 3);
        m->value.refs = any_ids(p, m->value.ref_count);
        m->payload = any_bytes(p, 8);
    } else if (any(p, 2) == 0) {
        failure_set(&f, CODE_FAILED, "so it says");
        failure_encode(&f, &b);
        m->payload = bytes_of(arena_copy(&p->s->rig.arena, b.data, b.size), b.size);
        buffer_fini(&b);
    }
}

static void from_executor(struct play *p, int who)
{
    static const enum peer_type types[] = {
        PEER_GRANT,  PEER_GRANT,     PEER_GRANT,      PEER_STARTED, PEER_BACK,    PEER_RESULT,
        PEER_RESULT, PEER_ARGS_FREE, PEER_JOB_BROKEN, PEER_LOG,     PEER_ADDED,   PEER_VALUE,
        PEER_ADDED,  PEER_VALUE,     PEER_SEEN,       PEER_SEEN,    PEER_JOB_END, PEER_RUN};
    enum peer_type type = types[any(p, ARRAY_SIZE(types) - (any(p, 20) > 0))];
    struct peer_msg *m = new_message(p, type);

    switch (type) {
    case PEER_GRANT:
        m->slots.number = any_class(p);
        m->slots.count = any(p, 30) == 0 ? UINT32_MAX : 1;
        break;
    case PEER_STARTED:
    case PEER_ARGS_FREE:
        m->runs.runs = any_runs(p, &m->runs.run_count);
        break;
    case PEER_BACK:
        m->back.run = 1 + any(p, 60);
        m->back.reason = any(p, PEER_BACK_BROKEN + 1);
        break;
    case PEER_RESULT:
        any_result(p, m);
        break;
    case PEER_JOB_BROKEN:
        m->job_broken.job = any(p, 8) == 0 ? any_job(p) : 77;
        failure_set(&m->job_broken.failure, CODE_PROGRAM, "so it says");
        break;
    case PEER_LOG:
        m->log.job = any_job(p);
        m->log.stream = 1;
        m->log.function = "g";
        m->payload = any_bytes(p, 5);
        break;
    case PEER_ADDED:
        m->added.id_count = 1 + any(p, 2);
        m->added.ids = any_ids(p, m->added.id_count);
        m->added.gone_count = any(p, 2);
        m->added.gone = any_ids(p, m->added.gone_count);
        break;
    case PEER_VALUE:
        any_value(p, m);
        break;
    case PEER_SEEN:
        any_sight(p, m);
        break;
    case PEER_JOB_END:
        m->job_end.job = any_job(p);
        m->job_end.over = any(p, 4) == 0;
        break;
    default:
        any_attempt(p, m);
    }
    say(p, who, SIDE_OUT, m);
}

/* ---- what happens beside ---- */

static void driver_moves(struct play *p)
{
    struct scene *s = p->s;

    if (p->id_count == ARRAY_SIZE(p->ids) || (p->id_count > 0 && any(p, 3) == 0)) {
        uint32_t i = any(p, p->id_count);
        if (any(p, 3) == 0) {
            rig_cancel(&s->rig, s->driver, p->ids[i], any(p, 4));
        } else {
            rig_release(&s->rig, s->driver, p->ids[i]);
            p->ids[i] = p->ids[--p->id_count];
        }
        return;
    }
    struct object_id needs[2] = {any_id(p), any_id(p)};
    struct object_id id =
        rig_submit(&s->rig, s->driver,
                   (struct rig_task){.class_number = p->classes[any(p, ARRAY_SIZE(p->classes))],
                                     .returns = 1,
                                     .max_attempts = 1 + any(p, 3),
                                     .flags = any(p, 8) == 0 ? SUBMIT_AT_MOST_ONCE : 0,
                                     .timeout_ns = any(p, 8) == 0 ? NS_PER_S : 0,
                                     .needs = needs,
                                     .need_count = any(p, 5) == 0,
                                     .refs = needs,
                                     .ref_count = any(p, 3) == 0 ? 2 : 0});
    p->ids[p->id_count++] = id;
    if (any(p, 2) == 0) {
        rig_get(&s->rig, s->driver, id);
    }
}

static void worker_moves(struct play *p)
{
    struct rig_process *w = rig_ready_worker(&p->s->rig);

    if (w == NULL || !rig_claim(&p->s->rig, w)) {
        return;
    }
    if (any(p, 3) == 0) {
        rig_settle(&p->s->rig);
    }
    if (any(p, 6) == 0 && w->current.returns != 0) {
        struct object_id ids[2] = {any_id(p), any_id(p)};
        rig_blocked(&p->s->rig, w, ids, any(p, 3));
        return; /* it waits; a deadline, a cancel or the end of its home ends it */
    }
    if (any(p, 10) == 0) {
        rig_crash(&p->s->rig, w, 11);
    } else if (w->current.returns != 0) {
        rig_return(&p->s->rig, w, 4);
    }
}

static void sessions_move(struct play *p, int who)
{
    enum peer_side side = any(p, 2) == 0 ? SIDE_IN : SIDE_OUT;

    if (any(p, 8) > 0) {
        if (peer_is_up(peer_find(p->s->rig.core, peers[who]), side)) {
            return;
        }
        rig_peer_up(&p->s->rig, peers[who], side);
    } else {
        rig_peer_down(&p->s->rig, peers[who], side, any(p, 2) == 0);
    }
}

static void begin_play(struct play *p, uint64_t seed)
{
    static const uint32_t strategies[] = {SCHED_DEFAULT, SCHED_SPREAD, SCHED_LOAD_BALANCED,
                                          SCHED_NODE_SPECIFIC, SCHED_NODE_SPECIFIC};

    memset(p, 0, sizeof *p);
    rng_seed(&p->rng, seed);
    p->s = begin_as_home(2, 2);
    p->s->rig.hooks.on_peer_send = ignore_send;
    p->classes[5] = p->s->f;
    for (uint32_t i = 0; i < 5; i++) {
        p->classes[i] = declare(p->s, "h",
                                (struct rig_class){.cpus_x10000 = 10000,
                                                   .strategy = strategies[i],
                                                   .soft = i == 4,
                                                   .node = i >= 3 ? "box-2" : NULL});
    }
}

static void anything_may_be_said(void **state)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct play p;
        begin_play(&p, seed);
        for (int i = 0; i < STEPS; i++) {
            int who = (int)any(&p, 2);
            uint32_t what = any(&p, 46);
            if (what < 16) {
                from_home(&p, who);
            } else if (what < 28) {
                from_executor(&p, who);
            } else if (what < 33) {
                driver_moves(&p);
            } else if (what < 37) {
                worker_moves(&p);
            } else if (what < 43) {
                sessions_move(&p, who);
            } else {
                rig_pass(&p.s->rig, any(&p, 2) == 0 ? NS_PER_MS : any(&p, 3000) * NS_PER_MS);
            }
            if (any(&p, 8) > 0) {
                rig_settle(&p.s->rig);
            }
        }
        rig_settle(&p.s->rig);
        dies(p.s, THEM);
        dies(p.s, OTHER);
        dies(p.s, NOBODY); /* they spoke of it */
        rig_pass(&p.s->rig, 30 * NS_PER_S);
        assert_int_equal(HASH_COUNT(p.s->rig.core->peers), 0);
        assert_true(p.s->driver->welcomed && !p.s->driver->closed);
        rig_driver_end(&p.s->rig, p.s->driver, true);
        rig_pass(&p.s->rig, 30 * NS_PER_S);
        struct raylet_counts counts;
        raylet_core_count(p.s->rig.core, &counts);
        assert_int_equal(counts.tasks, 0);
        assert_int_equal(counts.objects, 0);
        end(p.s);
    }
}

/* ---- numbers that the head gave to nobody ---- */

#define STRANGERS 20000u

static void head_answers_all(struct scene *s)
{
    struct cluster_msg m = {.type = CLUSTER_RENEWED, .renewed = {.sent_ns = s->rig.core->boot_ns}};

    rig_head_says(&s->rig, &m);
    rig_settle(&s->rig);
}

static uint32_t peer_count(const struct scene *s)
{
    return HASH_COUNT(s->rig.core->peers);
}

/* They come, and some go again at once. */
static void strangers_come(struct scene *s, uint32_t first)
{
    for (uint32_t i = 0; i < STRANGERS; i++) {
        rig_peer_up(&s->rig, first + i, SIDE_IN);
        if (i % 3 == 0) {
            rig_peer_down(&s->rig, first + i, SIDE_IN, false);
        }
        if (i % 16 == 0) {
            rig_settle(&s->rig);
        }
    }
    rig_settle(&s->rig);
}

static void strangers_wait_for_the_head_in_bounds(void **state)
{
    struct scene *s = begin_among_nodes();

    strangers_come(s, 1000);
    assert_in_range(peer_count(s), 3, 2 + 64);
    assert_true(s->rig.peer_closes >= STRANGERS / 2);
    assert_non_null(strstr(s->rig.close_reason, "the head has not told of node"));
    /* Nobody that the head told of is in their way. */
    up(s, THEM, SIDE_IN);
    assert_true(peer_find(s->rig.core, THEM)->in_up);
    /* Whom it tells of is no stranger any more. */
    rig_view(&s->rig, 1001, "box-4", 2);
    rig_settle(&s->rig);
    assert_int_equal(peer_find(s->rig.core, 1001)->state, PEER_ALIVE);
    /* While the head is away nobody can be told from one that joined just before. */
    rig_head(&s->rig, false);
    rig_pass(&s->rig, 200 * NS_PER_S);
    assert_in_range(peer_count(s), 4, 3 + 64);
    rig_head(&s->rig, true);
    rig_settle(&s->rig);
    assert_in_range(peer_count(s), 4, 3 + 64);
    rig_pass(&s->rig, 60 * NS_PER_S);
    head_answers_all(s);
    rig_pass(&s->rig, 20 * NS_PER_S);
    assert_int_equal(peer_count(s), 3);
    assert_int_equal(s->rig.core->untold_nodes, 0);
    end(s);
}

/* Memory comes back, and there is room for others then. */
static void strangers_come_again_and_again(void **state)
{
    struct scene *s = begin_among_nodes();

    for (uint32_t round = 0; round < 3; round++) {
        strangers_come(s, 1000 + round * STRANGERS);
        assert_in_range(peer_count(s), 3, 2 + 64);
        rig_pass(&s->rig, 60 * NS_PER_S);
        head_answers_all(s);
        rig_pass(&s->rig, 20 * NS_PER_S);
        assert_int_equal(peer_count(s), 2);
    }
    /* The names of nodes that died are not lost to them. */
    char text[PEER_DESCRIBED_SIZE];
    dies(s, OTHER);
    strangers_come(s, 1000 + 3 * STRANGERS);
    rig_pass(&s->rig, 60 * NS_PER_S);
    head_answers_all(s);
    rig_pass(&s->rig, 20 * NS_PER_S);
    assert_non_null(strstr(peer_describe(s->rig.core, OTHER, text), "box-3"));
    end(s);
}

static void references_to_nobody_are_bounded(void **state)
{
    struct scene *s = begin_among_nodes();

    strangers_come(s, 1000);
    for (uint32_t i = 0; i < STRANGERS; i++) {
        give(s, take(s, (struct object_id){100000 + i, 3, 1}));
    }
    assert_in_range(peer_count(s), 2 + 65, 2 + 128); /* sessions leave room for references */
    struct object *o = take(s, (struct object_id){500000, 3, 1});
    assert_int_equal(o->state, OBJECT_ERROR);
    give(s, o);
    rig_pass(&s->rig, 60 * NS_PER_S);
    head_answers_all(s);
    rig_pass(&s->rig, 20 * NS_PER_S);
    assert_int_equal(peer_count(s), 2);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers_wait_for_the_head_in_bounds),
        cmocka_unit_test(strangers_come_again_and_again),
        cmocka_unit_test(references_to_nobody_are_bounded),
        cmocka_unit_test(anything_may_be_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
