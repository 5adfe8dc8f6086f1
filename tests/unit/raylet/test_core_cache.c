/* Values of other nodes' objects: how many are kept, and for whom. Timelines of one raylet. */
#include "raylet/core_cache.h"
#include "raylet/core_foreign_state.h"
#include "sched/policy.h"
#include "tests/unit/raylet/refs_scene.h"

#define MOST 1000u /* bytes */

static const struct rig_class BOTH_CPUS = {.cpus_x10000 = 20000};

/* One that keeps so little; THEM is connected. */
static struct scene *begin_small(void)
{
    struct scene *s = begin_among_nodes();

    s->rig.core->foreign->cache.most_bytes = MOST;
    up(s, THEM, SIDE_OUT);
    return s;
}

static void says_bytes(struct scene *s, struct object_id id, size_t size)
{
    struct peer_msg *m = rig_peer_message(&s->rig, id.node, SIDE_OUT, PEER_VALUE);
    uint8_t *bytes = arena_alloc(&s->rig.arena, size);

    memset(bytes, 0, size);
    m->value.id = id;
    m->value.state = VALUE_HERE;
    m->payload = bytes_of(bytes, size);
    rig_settle(&s->rig);
}

/* A get of it, which nothing else has made a WANT of. */
static void get(struct scene *s, struct object_id id)
{
    struct rig_value *v;

    HASH_FIND(hh, s->rig.values, &id, sizeof id, v);
    if (v != NULL) {
        v->answers = 0;
    }
    rig_get(&s->rig, s->driver, id);
    rig_settle(&s->rig);
}

static bool is_wanted(struct scene *s, struct object_id id)
{
    const struct peer_msg *m = said(s, id.node, SIDE_OUT, PEER_WANT);

    if (m == NULL) {
        return false;
    }
    assert_ids(m, id);
    return true;
}

static bool is_answered(struct scene *s, struct object_id id)
{
    const struct rig_value *v = rig_value(&s->rig, id);

    return v != NULL && v->answers == 1;
}

static uint64_t kept_bytes(struct scene *s)
{
    struct raylet_counts counts;

    raylet_core_count(s->rig.core, &counts);
    return counts.foreign_value_bytes;
}

/* The driver has it. */
static void bring(struct scene *s, struct object_id id, size_t size)
{
    borrow(s, id);
    get(s, id);
    assert_true(is_wanted(s, id));
    says_bytes(s, id, size);
    assert_true(is_answered(s, id));
}

static struct object_id needs(struct scene *s, uint32_t class_number, const struct object_id *ids,
                              size_t count)
{
    struct object_id id = rig_submit(
        &s->rig, s->driver,
        (struct rig_task){.class_number = class_number, .needs = ids, .need_count = count});

    rig_get(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    return id;
}

/* ---- what was read ---- */

static void the_least_recently_used_go_and_are_fetched_again(void **state)
{
    struct scene *s = begin_small();

    bring(s, theirs(1), 400);
    bring(s, theirs(2), 400);
    assert_int_equal(kept_bytes(s), 800);
    get(s, theirs(1)); /* used again */
    assert_false(is_wanted(s, theirs(1)));
    assert_true(is_answered(s, theirs(1)));
    bring(s, theirs(3), 400);
    rig_pass(&s->rig, NS_PER_MS);
    assert_int_equal(kept_bytes(s), 800);
    get(s, theirs(1));
    assert_true(is_answered(s, theirs(1)));
    get(s, theirs(2));
    assert_false(is_answered(s, theirs(2)));
    assert_true(is_wanted(s, theirs(2)));
    says_bytes(s, theirs(2), 400);
    assert_int_equal(code_of(&s->rig, theirs(2)), 0);
    for (uint64_t i = 1; i <= 3; i++) {
        release(s, theirs(i));
    }
    assert_int_equal(kept_bytes(s), 0);
    assert_int_equal(objects(s), 0);
    end(s);
}

static void what_was_let_go_keeps_what_is_inside(void **state)
{
    struct scene *s = begin_small();
    struct object_id inside[2] = {others(1), others(2)};

    borrow(s, theirs(1));
    get(s, theirs(1));
    assert_true(is_wanted(s, theirs(1)));
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_OUT, PEER_VALUE);
    static const uint8_t bytes[600];
    m->value.id = theirs(1);
    m->value.state = VALUE_HERE;
    m->value.refs = inside;
    m->value.ref_count = 2;
    m->payload = bytes_of(bytes, sizeof bytes);
    rig_settle(&s->rig);
    bring(s, theirs(2), 600);
    rig_pass(&s->rig, NS_PER_MS);
    assert_int_equal(kept_bytes(s), 600);
    assert_int_equal(find(s, theirs(1))->state, OBJECT_PENDING);
    rig_hold_through(&s->rig, s->driver, inside[0], theirs(1)); /* the process still reads it */
    get(s, inside[0]);
    assert_null(rig_value(&s->rig, inside[0]));
    get(s, theirs(1));
    assert_true(is_wanted(s, theirs(1)));
    m = rig_peer_message(&s->rig, THEM, SIDE_OUT, PEER_VALUE);
    m->value.id = theirs(1);
    m->value.state = VALUE_HERE;
    m->value.refs = inside;
    m->value.ref_count = 2;
    m->payload = bytes_of(bytes, sizeof bytes);
    rig_settle(&s->rig);
    assert_true(is_answered(s, theirs(1)));
    end(s);
}

static void a_lost_owner_has_nothing_to_send_again(void **state)
{
    struct scene *s = begin_small();

    bring(s, theirs(1), 700);
    bring(s, theirs(2), 400);
    bring(s, theirs(3), 400);
    rig_pass(&s->rig, NS_PER_MS);
    dies(s, THEM);
    get(s, theirs(1));
    assert_int_equal(code_of(&s->rig, theirs(1)), CODE_OWNER_LOST);
    get(s, theirs(2)); /* as long as there is room */
    assert_int_equal(code_of(&s->rig, theirs(2)), 0);
    up(s, OTHER, SIDE_OUT);
    bring(s, others(1), 300); /* too much: of the orphans, which take more than half, one goes */
    rig_pass(&s->rig, NS_PER_MS);
    get(s, theirs(3));
    assert_int_equal(code_of(&s->rig, theirs(3)), CODE_OWNER_LOST);
    bring(s, others(2), 500); /* the other stays */
    rig_pass(&s->rig, NS_PER_MS);
    get(s, theirs(2));
    assert_int_equal(code_of(&s->rig, theirs(2)), 0);
    assert_int_equal(find(s, others(1))->state, OBJECT_PENDING);
    assert_int_equal(kept_bytes(s), 900);
    end(s);
}

static void what_had_settled_is_not_cancelled(void **state)
{
    struct scene *s = begin_small();

    bring(s, theirs(1), 600);
    bring(s, theirs(2), 600);
    rig_pass(&s->rig, NS_PER_MS);
    rig_cancel(&s->rig, s->driver, theirs(1), CANCEL_ASK);
    rig_settle(&s->rig);
    assert_int_equal(s->driver->cancelled_code, CODE_DONE);
    assert_null(said(s, THEM, SIDE_OUT, PEER_CANCEL));
    end(s);
}

static void a_result_that_is_another_nodes_value_is_charged_to_its_owner(void **state)
{
    struct scene *s = begin_small();
    struct object_id id = submit(s, 0);

    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    taken(s, w, theirs(1));
    rig_return_alias(&s->rig, w, theirs(1));
    rig_release(&s->rig, w, theirs(1));
    rig_settle(&s->rig);
    uint64_t before = s->driver->credit_back;
    assert_true(is_wanted(s, theirs(1)));
    says_bytes(s, theirs(1), 5000);
    assert_int_equal(kept_bytes(s), 0);
    assert_true(before - s->driver->credit_back == 5000);
    rig_pass(&s->rig, NS_PER_MS);
    get(s, id);
    assert_false(is_wanted(s, theirs(1)));
    assert_true(is_answered(s, id));
    release(s, id);
    assert_true(s->driver->credit_back == before + LOCAL_OBJECT_COST + sizeof(struct numbers_page));
    assert_int_equal(objects(s), 0);
    end(s);
}

/* ---- what tasks need ---- */

static void what_a_task_needs_stays_until_it_ends(void **state)
{
    struct scene *s = begin_small();
    uint32_t both = rig_class(&s->rig, s->driver, "both", BOTH_CPUS);
    struct object_id id[2] = {theirs(1), theirs(2)};

    borrow(s, id[0]);
    struct object_id first = needs(s, both, id, 1);
    assert_true(is_wanted(s, id[0]));
    says_bytes(s, id[0], 600);
    bring(s, id[1], 600);
    rig_pass(&s->rig, NS_PER_MS);
    assert_int_equal(find(s, id[0])->state, OBJECT_VALUE);
    assert_int_equal(find(s, id[1])->state, OBJECT_PENDING); /* no room beside it */
    struct object_id second = needs(s, both, &id[1], 1);     /* has no room for it */
    rig_pass(&s->rig, NS_PER_MS);
    assert_int_equal(kept_bytes(s), 600);
    assert_false(is_wanted(s, id[1]));
    assert_int_equal(rig_run_all(&s->rig), 1);
    assert_int_equal(code_of(&s->rig, first), 0);
    assert_true(is_wanted(s, id[1]));
    says_bytes(s, id[1], 600);
    assert_int_equal(rig_run_all(&s->rig), 1);
    assert_int_equal(code_of(&s->rig, second), 0);
    assert_int_equal(kept_bytes(s), 600);
    end(s);
}

static void a_task_larger_than_the_bound_runs_alone(void **state)
{
    struct scene *s = begin_small();
    struct object_id id[3] = {theirs(1), theirs(2), theirs(3)};

    for (int i = 0; i < 3; i++) {
        borrow(s, id[i]);
    }
    struct object_id task = needs(s, s->f, id, 3);
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_WANT));
    for (int i = 0; i < 3; i++) {
        says_bytes(s, id[i], 700);
        rig_pass(&s->rig, NS_PER_MS); /* the first are gone when the last comes */
    }
    assert_null(rig_ready_worker(&s->rig));
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_WANT));
    for (int i = 0; i < 3; i++) {
        if (find(s, id[i])->state == OBJECT_PENDING) {
            says_bytes(s, id[i], 700);
        }
    }
    assert_int_equal(kept_bytes(s), 2100);
    assert_int_equal(rig_run_all(&s->rig), 1);
    assert_int_equal(code_of(&s->rig, task), 0);
    rig_pass(&s->rig, NS_PER_MS);
    assert_true(kept_bytes(s) <= MOST);
    end(s);
}

static void tasks_that_need_the_same_value_need_room_once(void **state)
{
    struct scene *s = begin_small();
    struct object_id id = theirs(1), tasks[8];

    borrow(s, id);
    for (int i = 0; i < 8; i++) {
        tasks[i] = needs(s, s->f, &id, 1);
    }
    assert_true(is_wanted(s, id));
    says_bytes(s, id, 900);
    assert_int_equal(kept_bytes(s), 900);
    assert_int_equal(rig_run_all(&s->rig), 8);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(code_of(&s->rig, tasks[i]), 0);
    }
    end(s);
}

/* Those inside may wait for one outside: somebody is let in in the end. */
static void nobody_waits_for_room_for_ever(void **state)
{
    struct scene *s = begin_small();
    struct object_id id[3] = {theirs(1), theirs(2), theirs(3)};

    for (int i = 0; i < 3; i++) {
        borrow(s, id[i]);
    }
    needs(s, s->f, &id[0], 1);
    assert_true(is_wanted(s, id[0]));
    says_bytes(s, id[0], 600);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    needs(s, s->f, &id[1], 1);
    needs(s, s->f, &id[2], 1);
    while (said(s, THEM, SIDE_OUT, PEER_WANT) != NULL) {
    }
    says_bytes(s, id[1], 600);
    says_bytes(s, id[2], 600);
    rig_pass(&s->rig, 900 * NS_PER_MS);
    assert_int_equal(kept_bytes(s), 600);
    rig_pass(&s->rig, 200 * NS_PER_MS);
    assert_true(is_wanted(s, id[1]));
    says_bytes(s, id[1], 600);
    assert_int_equal(kept_bytes(s), 1200);
    rig_pass(&s->rig, 1500 * NS_PER_MS);
    assert_int_equal(kept_bytes(s), 1200); /* the next waits twice as long */
    rig_pass(&s->rig, 1000 * NS_PER_MS);
    assert_true(is_wanted(s, id[2]));
    end(s);
}

static void who_gives_up_leaves_nothing_behind(void **state)
{
    struct scene *s = begin_small();
    struct object_id id[3] = {theirs(1), theirs(2), theirs(3)};

    for (int i = 0; i < 3; i++) {
        borrow(s, id[i]);
    }
    needs(s, s->f, &id[0], 1);
    says_bytes(s, id[0], 600); /* never claimed */
    struct object_id waits = needs(s, s->f, &id[1], 1);
    struct object_id part = needs(s, s->f, &id[1], 2);
    says_bytes(s, id[1], 600); /* goes at once; one of the tasks has heard of it, and waits on */
    rig_pass(&s->rig, NS_PER_MS);
    assert_int_equal(find(s, id[1])->state, OBJECT_PENDING);
    rig_cancel(&s->rig, s->driver, part, CANCEL_ASK);
    rig_cancel(&s->rig, s->driver, waits, CANCEL_ASK);
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, waits), CODE_CANCELLED);
    assert_int_equal(code_of(&s->rig, part), CODE_CANCELLED);
    assert_int_equal(rig_run_all(&s->rig), 1);
    rig_pass(&s->rig, 5 * NS_PER_S);
    assert_int_equal(kept_bytes(s), 600);
    end(s);
}

/* What a task waits for room for goes with its owner: it hears of it when it has room. */
static void a_need_that_was_let_go_and_lost_fails_its_task(void **state)
{
    struct scene *s = begin_small();
    struct object_id id[2] = {others(1), theirs(2)};

    up(s, OTHER, SIDE_OUT);
    borrow(s, id[0]);
    borrow(s, id[1]);
    needs(s, s->f, &id[0], 1);
    says_bytes(s, id[0], 600);
    struct object_id task = needs(s, s->f, &id[1], 1);
    says_bytes(s, id[1], 600);
    rig_pass(&s->rig, NS_PER_MS);
    dies(s, THEM);
    assert_null(rig_value(&s->rig, task));
    assert_int_equal(rig_run_all(&s->rig), 1);
    rig_pass(&s->rig, NS_PER_MS);
    assert_int_equal(code_of(&s->rig, task), CODE_OWNER_LOST);
    end(s);
}

/* ---- the bound ---- */

static void the_bound_is_what_programs_leave_of_their_share(void **state)
{
    struct scene *s = begin_small();
    struct raylet_core *c = s->rig.core;

    s->rig.check = false; /* what it finds outstanding is not there */
    c->credit_all = 400u << 20;
    cache_init(c, 0);
    assert_int_equal(c->foreign->cache.most_bytes, 100u << 20);
    for (uint64_t i = 1; i <= 50; i++) {
        bring(s, theirs(i), 1u << 20);
    }
    assert_int_equal(kept_bytes(s), 50u << 20);
    uint64_t others = (360u << 20) - c->outstanding_all - (64u << 10); /* and its own holds */
    c->outstanding_all += others;
    rig_pass(&s->rig, NS_PER_MS);
    bring(s, theirs(51), 1u << 20);
    rig_pass(&s->rig, NS_PER_MS);
    assert_int_equal(kept_bytes(s), 40u << 20);
    c->outstanding_all += 100u << 20; /* they have more than all: something is left */
    bring(s, theirs(52), 1u << 20);
    rig_pass(&s->rig, NS_PER_MS);
    assert_int_equal(kept_bytes(s), 32u << 20);
    c->outstanding_all -= others + (100u << 20);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_recently_used_go_and_are_fetched_again),
        cmocka_unit_test(what_was_let_go_keeps_what_is_inside),
        cmocka_unit_test(a_lost_owner_has_nothing_to_send_again),
        cmocka_unit_test(what_had_settled_is_not_cancelled),
        cmocka_unit_test(a_result_that_is_another_nodes_value_is_charged_to_its_owner),
        cmocka_unit_test(what_a_task_needs_stays_until_it_ends),
        cmocka_unit_test(a_task_larger_than_the_bound_runs_alone),
        cmocka_unit_test(tasks_that_need_the_same_value_need_room_once),
        cmocka_unit_test(nobody_waits_for_room_for_ever),
        cmocka_unit_test(who_gives_up_leaves_nothing_behind),
        cmocka_unit_test(a_need_that_was_let_go_and_lost_fails_its_task),
        cmocka_unit_test(the_bound_is_what_programs_leave_of_their_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
