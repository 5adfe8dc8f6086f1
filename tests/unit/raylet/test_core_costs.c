/*
 * Whatever a process or another node says again and again, the raylet keeps no more of it than it
 * charges for and a bounded rest, and nothing once the speaker is gone. One row for each type of
 * message: a type without a row fails.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/tables.h"
#include "raylet/core_peers.h"
#include "tests/unit/raylet/between_scene.h"

#define TIMES      200000u /* DRT_COSTS: another number */
#define BATCH      256u
#define REST_BYTES (3u << 20) /* of caches and tables whose bounds do not depend on the speaker */
#define MORE_PARTS                                                                                 \
    8u /* memory may exceed what is charged by one of so many parts: malloc's own                  \
        */

struct play {
    struct scene *s;
    uint64_t n;               /* of the message */
    uint64_t number;          /* of the next object of the driver */
    uint32_t returns;         /* of each task */
    struct object_id pending; /* which never settles; its number 0: none */
    struct object_id settled;
    struct rig_process *worker; /* with a body that runs; NULL: none */
    char labels[1001];
    uint8_t kinds[8000];
    struct object_id ids[64];
};

struct row {
    unsigned type;
    const char *what;
    void (*fill)(struct play *p, void *message);
    unsigned less; /* it is said that many times less often */
    bool by_worker, out;
};

/* ---- what processes say ---- */

static void local_submit(struct play *p, void *message)
{
    struct local_msg *m = message;

    m->submit = (struct local_submit){.number = p->number,
                                      .class_number = 2,
                                      .returns = p->returns,
                                      .max_attempts = 1,
                                      .backoff_ns = LOCAL_BACKOFF_NS,
                                      .name = ""};
    p->number += p->returns;
}

static void local_submit_many(struct play *p, void *message)
{
    p->returns = LOCAL_RETURNS_MAX;
    local_submit(p, message);
}

static void local_submit_named(struct play *p, void *message)
{
    struct local_msg *m = message;

    local_submit(p, message);
    m->submit.name = "a name of its own";
    m->submit.timeout_ns = 3600 * NS_PER_S;
}

static void local_submit_needs(struct play *p, void *message)
{
    struct local_msg *m = message;

    local_submit(p, message);
    for (size_t i = 0; i < ARRAY_SIZE(p->ids); i++) {
        p->ids[i] = p->pending;
    }
    m->submit.needs = p->ids;
    m->submit.need_count = ARRAY_SIZE(p->ids);
    m->submit.refs = p->ids;
    m->submit.ref_count = ARRAY_SIZE(p->ids);
}

static void local_submit_failing(struct play *p, void *message)
{
    struct local_msg *m = message;

    local_submit(p, message);
    p->ids[0] = (struct object_id){p->s->rig.node, p->s->driver->client, UINT64_C(1) << 40};
    m->submit.refs = p->ids;
    m->submit.ref_count = 1;
}

/* All but one in so many are released: what finds the others again stays for few. */
static void local_submit_sparse(struct play *p, void *message)
{
    struct local_msg *m = message;

    if (p->n % 2 == 0) {
        p->returns = 256;
        local_submit(p, message);
        return;
    }
    struct object_id *ids = arena_alloc(&p->s->rig.arena, 255 * sizeof *ids);
    for (size_t i = 0; i < 255; i++) {
        ids[i] = (struct object_id){p->s->rig.node, p->s->driver->client, p->number - 1 - i};
    }
    m->type = LOCAL_RELEASE;
    m->ids = (struct local_ids){.ids = ids, .id_count = 255};
}

static void local_class(struct play *p, void *message)
{
    struct local_msg *m = message;

    char text[32];

    snprintf(text, sizeof text, "f%llu", (unsigned long long)p->n);
    m->class_ = (struct local_class){.number = 3 + (uint32_t)p->n,
                                     .function = "g",
                                     .node = arena_copy(&p->s->rig.arena, text, sizeof text),
                                     .labels = p->labels};
    m->class_.kinds = bytes_of(p->kinds, sizeof p->kinds);
}

static void local_class_of_names(struct play *p, void *message)
{
    struct local_amount *amount = arena_alloc(&p->s->rig.arena, sizeof *amount);
    struct local_msg *m = message;

    local_class(p, message);
    *amount = (struct local_amount){m->class_.node, RESOURCE_UNIT};
    m->class_.node = m->class_.labels = "";
    m->class_.amounts = amount;
    m->class_.amount_count = 1;
}

static void local_put(struct play *p, void *message)
{
    static const uint8_t word[40] = {1};
    struct local_msg *m = message;

    m->put.number = p->number++;
    m->payload = bytes_of(word, sizeof word);
}

static void local_get(struct play *p, void *message)
{
    struct local_msg *m = message;

    m->get = (struct local_get){.ids = &p->pending, .id_count = 1, .flags = p->n % 2};
}

static void local_get_nothing(struct play *p, void *message)
{
    struct local_msg *m = message;

    p->ids[0] = (struct object_id){77, 5, 1 + p->n};
    m->get = (struct local_get){.ids = p->ids, .id_count = 1};
}

static void local_ids(struct play *p, void *message)
{
    struct local_msg *m = message;

    p->ids[0] = (struct object_id){p->n % 3 == 0 ? p->s->rig.node : THEM, 5, 1 + p->n};
    p->ids[1] = p->settled;
    m->ids = (struct local_ids){.ids = p->ids, .id_count = m->type == LOCAL_RELEASE ? 1 : 2};
}

static void local_cancel(struct play *p, void *message)
{
    struct local_msg *m = message;

    m->cancel = (struct local_cancel){.request = p->n, .id = {THEM, 5, 1 + p->n}, .flags = 3};
}

static void local_query(struct play *p, void *message)
{
    struct local_msg *m = message;

    m->query.request = p->n;
    m->query.query.kind = STATE_NODES;
}

static void local_result(struct play *p, void *message)
{
    struct local_msg *m = message;

    m->result.slot = 5 + ((uint32_t)p->n << 8); /* of which it knows nothing */
    m->result.message = "";
}

static void local_nothing(struct play *p, void *message)
{
}

static const struct row local_rows[] = {
    {LOCAL_OPEN, "a second OPEN", local_nothing, .less = 1},
    {LOCAL_WELCOME, "", local_nothing, .less = 1},
    {LOCAL_REFUSED, "", local_nothing, .less = 1},
    {LOCAL_GOODBYE, "", local_nothing, .less = 1},
    {LOCAL_CLASS, "ever new ones", local_class, .less = 10},
    {LOCAL_CLASS, "of ever new resources", local_class_of_names, .less = 20},
    {LOCAL_SUBMIT, "tasks that wait", local_submit, .less = 1},
    {LOCAL_SUBMIT, "tasks of 4,096 results", local_submit_many, .less = 200},
    {LOCAL_SUBMIT, "tasks with names and deadlines", local_submit_named, .less = 1},
    {LOCAL_SUBMIT, "tasks that wait for many", local_submit_needs, .less = 20},
    {LOCAL_SUBMIT, "tasks that fail at once", local_submit_failing, .less = 1},
    {LOCAL_SUBMIT, "of many results one is held", local_submit_sparse, .less = 40},
    {LOCAL_PUT, "", local_put, .less = 1},
    {LOCAL_GET, "the same again", local_get, .less = 1},
    {LOCAL_GET, "what is not there", local_get_nothing, .less = 1},
    {LOCAL_VALUES, "", local_nothing, .less = 1},
    {LOCAL_RELEASE, "what is not there", local_ids, .less = 1},
    {LOCAL_HOLD, "what is not there", local_ids, .less = 1},
    {LOCAL_CANCEL, "", local_cancel, .less = 1},
    {LOCAL_RUN_CLASS, "", local_nothing, .less = 1},
    {LOCAL_RUN, "", local_nothing, .less = 1},
    {LOCAL_RESULT, "of no task", local_result, .less = 1, .by_worker = true},
    {LOCAL_BLOCKED, "", local_ids, .less = 1, .by_worker = true},
    {LOCAL_UNBLOCKED, "", local_nothing, .less = 1, .by_worker = true},
    {LOCAL_LEAVE, "", local_nothing, .less = 1},
    {LOCAL_QUERY, "", local_query, .less = 20},
    {LOCAL_REPLY, "", local_nothing, .less = 1},
    {LOCAL_CANCELLED, "", local_nothing, .less = 1},
    {LOCAL_LOGS, "", local_nothing, .less = 1},
    {LOCAL_LOG, "", local_nothing, .less = 1},
};

/* ---- what other nodes say ---- */

static void peer_nothing(struct play *p, void *message)
{
}

static void peer_job(struct play *p, void *message)
{
    static const uint8_t hash[PEER_HASH_SIZE] = {2};
    struct peer_msg *m = message;

    m->job = (struct peer_job){.job = 1000 + p->n, .home = THEM, .program_size = 1};
    m->job.name = m->job.program_name = m->job.user = m->job.cwd = "";
    m->job.hash = bytes_of(hash, sizeof hash);
}

static void peer_numbered(struct play *p, void *message)
{
    struct peer_msg *m = message;

    switch (m->type) {
    case PEER_JOB_END:
        m->job_end.job = 1000 + p->n;
        break;
    case PEER_CLASS_END:
        m->class_end.number = 100 + (uint32_t)p->n;
        break;
    case PEER_ASK:
        m->ask = (struct peer_ask){1, UINT64_MAX - p->n};
        break;
    case PEER_LOGS:
        m->logs.job = p->n % 2 == 0 ? THEIR_JOB : 1000 + p->n;
        break;
    case PEER_JOB_ASK:
        m->job_ask.job = 1000 + p->n;
        break;
    case PEER_STOP:
        m->stop.run = 1 + p->n;
        break;
    case PEER_BACK:
        m->back.run = 1 + p->n;
        break;
    case PEER_CANCEL:
        m->cancel.id = (struct object_id){p->s->rig.node, 5, 1 + p->n};
        break;
    case PEER_LIFT:
        m->lift.id = (struct object_id){p->s->rig.node, 5, 1 + p->n};
        m->lift.priority = 3;
        break;
    default: /* RETURN, GRANT */
        m->slots.number = 100 + (uint32_t)p->n;
        m->slots.count = 1;
    }
}

static void peer_class(struct play *p, void *message)
{
    static const struct local_amount cpu = {"CPU", RESOURCE_UNIT};
    struct peer_msg *m = message;

    m->class_ = (struct peer_class){.number = 2 + (uint32_t)p->n, .job = THEIR_JOB};
    m->class_.function = "g";
    m->class_.amounts = &cpu;
    m->class_.amount_count = 1;
}

static void peer_run(struct play *p, void *message)
{
    struct peer_msg *m = message;

    m->run = (struct peer_run){.run = 1 + p->n, .number = 77, .attempt = 1, .returns = 1};
    m->run.task = (struct object_id){THEM, 3, 900 + p->n};
    m->run.name = "";
}

static void peer_runs(struct play *p, void *message)
{
    struct peer_msg *m = message;
    uint64_t run = 1 + p->n;

    m->runs.runs = arena_copy(&p->s->rig.arena, &run, sizeof run);
    m->runs.run_count = 1;
}

static void peer_result(struct play *p, void *message)
{
    struct peer_msg *m = message;

    m->result.run = 1 + p->n;
    m->result.kind = PEER_RESULT_FAILED;
    m->result.wants_recorded = true;
    failure_set(&m->result.failure, CODE_FAILED, "so it says");
}

static void peer_job_broken(struct play *p, void *message)
{
    struct peer_msg *m = message;

    m->job_broken.job = 1000 + p->n;
    failure_set(&m->job_broken.failure, CODE_PROGRAM, "so it says");
}

static void peer_log(struct play *p, void *message)
{
    struct peer_msg *m = message;

    m->log = (struct peer_log){.job = 1000 + p->n, .stream = 1, .function = "g"};
    m->payload = bytes_of((const uint8_t *)"line\n", 5);
}

static void peer_ids(struct play *p, void *message)
{
    struct peer_msg *m = message;
    struct object_id ids[2] = {{p->s->rig.node, 5, 1 + p->n}, {p->s->rig.node, 5, 1 + p->n}};

    m->ids.ids = arena_copy(&p->s->rig.arena, ids, sizeof ids);
    m->ids.id_count = 2;
}

static void peer_want_pending(struct play *p, void *message)
{
    struct peer_msg *m = message;

    m->ids.ids = &p->pending;
    m->ids.id_count = 1;
}

static void peer_add(struct play *p, void *message)
{
    struct peer_msg *m = message;

    peer_ids(p, m);
    m->add = (struct peer_add){.job = THEIR_JOB, .ids = m->ids.ids, .id_count = 2};
}

static void peer_add_pending(struct play *p, void *message)
{
    struct peer_msg *m = message;

    m->add = (struct peer_add){.job = the_job(p->s)->number, .ids = &p->pending, .id_count = 1};
}

static void peer_added(struct play *p, void *message)
{
    struct peer_msg *m = message;

    peer_ids(p, m);
    m->added = (struct peer_added){.ids = m->ids.ids, .id_count = 2};
}

static void peer_value(struct play *p, void *message)
{
    struct peer_msg *m = message;

    m->value.id = theirs(1 + p->n);
    m->payload = bytes_of((const uint8_t *)"abcdefgh", 8);
}

static void peer_look(struct play *p, void *message)
{
    struct peer_msg *m = message;

    m->look = (struct peer_look){.look = p->n, .kind = LOOK_OBJECT, .node = p->s->rig.node};
    m->look.id = (struct object_id){p->s->rig.node, 5, 1 + p->n};
}

static void peer_seen(struct play *p, void *message)
{
    struct peer_msg *m = message;

    m->seen = (struct peer_seen){.look = p->n, .name = ""};
}

static const struct row peer_rows[] = {
    {PEER_JOB, "ever new ones", peer_job, .less = 10},
    {PEER_JOB_END, "", peer_numbered, .less = 1},
    {PEER_CLASS, "ever new ones", peer_class, .less = 10},
    {PEER_CLASS_END, "", peer_numbered, .less = 1},
    {PEER_ASK, "", peer_numbered, .less = 1},
    {PEER_RETURN, "", peer_numbered, .less = 1},
    {PEER_RUN, "of no class", peer_run, .less = 1},
    {PEER_STOP, "", peer_numbered, .less = 1},
    {PEER_RECORDED, "", peer_runs, .less = 1},
    {PEER_GRANT, "", peer_numbered, .less = 1, .out = true},
    {PEER_STARTED, "", peer_runs, .less = 1, .out = true},
    {PEER_BACK, "", peer_numbered, .less = 1, .out = true},
    {PEER_RESULT, "of no task", peer_result, .less = 1, .out = true},
    {PEER_ARGS_FREE, "", peer_runs, .less = 1, .out = true},
    {PEER_JOB_BROKEN, "", peer_job_broken, .less = 1, .out = true},
    {PEER_LOG, "", peer_log, .less = 1, .out = true},
    {PEER_PROGRAM_GET, "the shells' own", peer_nothing, .less = 1},
    {PEER_PROGRAM_PART, "the shells' own", peer_nothing, .less = 1, .out = true},
    {PEER_ADD, "what is not there", peer_add, .less = 1},
    {PEER_ADD, "the same again", peer_add_pending, .less = 1},
    {PEER_DROP, "", peer_ids, .less = 1},
    {PEER_WANT, "what is not there", peer_ids, .less = 1},
    {PEER_WANT, "the same again", peer_want_pending, .less = 1},
    {PEER_ADDED, "", peer_added, .less = 1, .out = true},
    {PEER_VALUE, "", peer_value, .less = 1, .out = true},
    {PEER_CANCEL, "", peer_numbered, .less = 1},
    {PEER_JOB_ASK, "", peer_numbered, .less = 1},
    {PEER_LOOK, "", peer_look, .less = 1},
    {PEER_SEEN, "", peer_seen, .less = 1},
    {PEER_LOGS, "", peer_numbered, .less = 1},
    {PEER_LOGS, "", peer_numbered, .less = 1, .out = true},
    {PEER_LIFT, "", peer_numbered, .less = 1},
};

/* ---- the measure ---- */

/* Slabs are mapped beside what malloc counts. */
static uint64_t used_bytes(const struct raylet_core *c)
{
    struct mallinfo2 m = mallinfo2();
    uint64_t slabs = c->object_slab.slabs + c->task_slab.slabs + c->watcher_slab.slabs;

    for (const struct list *at = c->clients.next; at != &c->clients; at = at->next) {
        slabs += list_entry(at, struct client, link)->objects.pool.slabs;
    }
    return m.uordblks + m.hblkhd + slabs * SLAB_BYTES;
}

static uint64_t times(const struct row *row)
{
    const char *text = getenv("DRT_COSTS");

    return (text == NULL ? TIMES : strtoull(text, NULL, 10)) / row->less;
}

static void step(struct play *p, const struct raylet_event *events, size_t count)
{
    struct rig *r = &p->s->rig;
    struct raylet_effects effects;

    raylet_core_step(r->core, r->now_ns, r->now_ns, events, count, &effects);
    for (uint32_t i = 0; raylet_core_has_work(r->core) && i < 10000; i++) {
        raylet_core_step(r->core, r->now_ns, r->now_ns, NULL, 0, &effects);
    }
    arena_reset(&r->arena);
}

static unsigned failed; /* rows that hold more: each of them is told */

/* Says it again and again, and looks. */
static void holds_what_is_charged(struct play *p, const struct row *row, bool peer)
{
    static struct raylet_event events[BATCH];
    static union {
        struct local_msg local;
        struct peer_msg peer;
    } messages[BATCH];
    struct raylet_core *core = p->s->rig.core;
    struct peer *them = peer_find(core, THEM);
    uint64_t all = times(row), before = 0, charged = 0;

    for (uint64_t said = 0; said < all;) {
        size_t count = 0;
        for (; count < BATCH / (p->returns > 1 ? 16 : 1) && said < all; count++, said++) {
            memset(&messages[count], 0, sizeof messages[count]);
            events[count] = (struct raylet_event){.kind = EVENT_CLIENT_MESSAGE};
            p->n = said;
            if (peer) {
                messages[count].peer.type = row->type;
                events[count].kind = EVENT_PEER_MESSAGE;
                events[count].peer = THEM;
                events[count].side = row->out ? SIDE_OUT : SIDE_IN;
                events[count].peer_msg = &messages[count].peer;
            } else {
                messages[count].local.type = row->type;
                events[count].client = (row->by_worker ? p->worker : p->s->driver)->client;
                events[count].local = &messages[count].local;
            }
            row->fill(p, &messages[count]);
        }
        step(p, events, count);
        if (before == 0) { /* after the first: tables have their least size */
            before = used_bytes(core);
            charged = core->outstanding_all + (them == NULL ? 0 : them->announced_bytes);
        }
    }
    uint64_t now = used_bytes(core),
             more = core->outstanding_all + (them == NULL ? 0 : them->announced_bytes) - charged;
    if (now > before + more + more / MORE_PARTS + REST_BYTES) {
        print_error("%s %u (%s): said %llu times it costs %llu KiB, of which %llu are charged\n",
                    peer ? "peer" : "local", row->type, row->what, (unsigned long long)all,
                    (unsigned long long)(now - before) >> 10, (unsigned long long)more >> 10);
        failed++;
    }
}

static struct play begin_play(struct scene *s)
{
    struct play p = {.s = s, .returns = 1};

    memset(p.labels, 'x', sizeof p.labels - 1);
    return p;
}

static void a_process_is_charged_for_what_it_says(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(local_rows); i++) {
        struct play p = begin_play(begin());
        struct rig *r = &p.s->rig;
        struct object_id body = submit(p.s, 1);

        (void)rig_class(r, p.s->driver, "never",
                        (struct rig_class){.custom = "x", .custom_x10000 = 30000});
        rig_settle(r);
        assert_non_null(p.worker = rig_ready_worker(r));
        assert_true(rig_claim(r, p.worker));
        p.pending = body;
        p.settled = rig_put(r, p.s->driver, 5);
        rig_settle(r);
        p.number = p.s->driver->next_number;
        holds_what_is_charged(&p, &local_rows[i], false);
        end(p.s);
    }
    assert_int_equal(failed, 0);
}

static void a_node_costs_little_whatever_it_says(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(peer_rows); i++) {
        struct play p = begin_play(begin_as_executor());

        up(p.s, THEM, SIDE_OUT);
        p.pending = submit(p.s, 1);
        rig_settle(&p.s->rig);
        holds_what_is_charged(&p, &peer_rows[i], true);
        end(p.s);
    }
    assert_int_equal(failed, 0);
}

static void a_node_may_not_announce_without_end(void **state)
{
    static uint8_t env[1 << 20];
    struct scene *s = begin_as_executor();
    uint32_t i = 0;

    memset(env, 'x', sizeof env - 1);
    for (; i < 200 && s->rig.core->protocol_errors == 0; i++) {
        static const uint8_t hash[PEER_HASH_SIZE] = {2};
        struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_JOB);
        m->job = (struct peer_job){.job = 1000 + i, .home = THEM, .program_size = 1};
        m->job.name = m->job.program_name = m->job.user = m->job.cwd = "";
        m->job.hash = bytes_of(hash, sizeof hash);
        m->job.env = bytes_of(env, sizeof env);
        m->job.env_size = sizeof env;
        rig_settle(&s->rig);
        s->rig.fetches = 0;
    }
    assert_in_range(i, 60, 65);
    assert_int_equal(s->rig.core->protocol_errors, 1);
    assert_int_equal(peer_find(s->rig.core, THEM)->announced_bytes, 0);
    end(s);
}

static bool has_row(const struct row *rows, size_t count, unsigned type)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].type == type) {
            return true;
        }
    }
    return false;
}

static void each_type_has_a_row(void **state)
{
    for (unsigned type = 0; type < 256; type++) {
        assert_true(local_codec(type) == NULL || has_row(local_rows, ARRAY_SIZE(local_rows), type));
    }
}

static void resources_that_a_program_makes_up_are_no_matter_to_others(void **state)
{
    struct scene *s = begin();
    struct rig *r = &s->rig;
    char name[32];

    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "lock-%d", i);
        uint32_t f =
            rig_class(r, s->driver, "f",
                      (struct rig_class){.custom = arena_copy(&r->arena, name, sizeof name),
                                         .custom_x10000 = 10000});
        if (i == 1022 || i == 1026 || i == 4999) {
            struct object_id id =
                rig_submit(r, s->driver, (struct rig_task){.class_number = f, .returns = 1});
            rig_get(r, s->driver, id);
            rig_settle(r);
            assert_int_equal(code_of(r, id), i == 1022 ? CODE_IMPOSSIBLE : CODE_FULL);
            assert_true(i == 1022 ||
                        strstr(r->last_error,
                               "this program has named 1024 resources that nobody has") != NULL);
        }
        if (i % 100 == 0) {
            rig_settle(r);
        }
    }
    assert_false(s->driver->closed);
    struct rig_process *other = rig_driver_of(r, 2);
    uint32_t x =
        rig_class(r, other, "g", (struct rig_class){.custom = "x", .custom_x10000 = 10000});
    uint32_t its_own =
        rig_class(r, other, "g", (struct rig_class){.custom = "tape", .custom_x10000 = 10000});
    struct object_id id = rig_submit(r, other, (struct rig_task){.class_number = x, .returns = 1});
    struct object_id none =
        rig_submit(r, other, (struct rig_task){.class_number = its_own, .returns = 1});
    rig_get(r, other, id);
    rig_get(r, other, none);
    rig_run_all(r);
    assert_int_equal(code_of(r, id), 0);
    assert_int_equal(code_of(r, none), CODE_IMPOSSIBLE);
    rig_driver_end(r, s->driver, true);
    rig_driver_end(r, other, true);
    rig_pass(r, 60 * NS_PER_S);
    assert_int_equal(r->core->resources.used, RESOURCE_CUSTOM + 1); /* those that the node has */
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_has_a_row),
        cmocka_unit_test(a_process_is_charged_for_what_it_says),
        cmocka_unit_test(a_node_costs_little_whatever_it_says),
        cmocka_unit_test(a_node_may_not_announce_without_end),
        cmocka_unit_test(resources_that_a_program_makes_up_are_no_matter_to_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
