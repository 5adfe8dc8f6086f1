/* References inside values, many of them, and what each rule is for: timelines of one raylet. */
#include "tests/unit/raylet/refs_scene.h"

/* ---- inside values ---- */

static void a_value_holds_what_is_inside_until_it_goes(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id inner = rig_put(&s->rig, s->driver, 5);
    struct object_id outer = rig_put_holding(&s->rig, s->driver, 6, &inner, 1);

    release(s, inner);
    assert_non_null(find(s, inner));
    rig_hold_through(&s->rig, s->driver, inner, outer);
    release(s, outer);
    assert_null(find(s, outer));
    rig_get(&s->rig, s->driver, inner);
    rig_settle(&s->rig);
    assert_int_equal(value_of(&s->rig, inner), 5);
    release(s, inner);
    assert_int_equal(objects(s), 0);
    end(s);
}

static void a_result_holds_what_its_worker_put_inside(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id =
        rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = s->f, .returns = 2});

    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    struct object_id made[2] = {rig_put(&s->rig, w, 41), rig_put(&s->rig, w, 42)};
    struct rig_return returns[2] = {{.value = 1, .refs = &made[0], .ref_count = 1},
                                    {.value = 2, .refs = &made[1], .ref_count = 1}};
    rig_return_these(&s->rig, w, returns, 2);
    rig_release(&s->rig, w, made[0]);
    rig_release(&s->rig, w, made[1]);
    rig_settle(&s->rig);
    rig_crash(&s->rig, w, 9); /* what it made outlives it */
    rig_settle(&s->rig);
    rig_hold_through(&s->rig, s->driver, made[1],
                     (struct object_id){id.node, id.client, id.number + 1});
    rig_get(&s->rig, s->driver, made[1]);
    rig_settle(&s->rig);
    assert_int_equal(value_of(&s->rig, made[1]), 42);
    release(s, id);
    assert_null(find(s, made[0]));
    release(s, made[1]);
    assert_non_null(find(s, made[1]));
    release(s, (struct object_id){id.node, id.client, id.number + 1});
    assert_int_equal(objects(s), 0);
    end(s);
}

static void a_result_that_is_a_small_container_keeps_what_is_inside(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id inner = rig_put(&s->rig, s->driver, 5);
    struct object_id outer = rig_put_holding(&s->rig, s->driver, 6, &inner, 1);
    struct object_id id =
        rig_submit(&s->rig, s->driver,
                   (struct rig_task){.class_number = s->f, .refs = &outer, .ref_count = 1});

    release(s, inner);
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    rig_return_alias(&s->rig, w, outer);
    rig_settle(&s->rig);
    release(s, outer);
    assert_non_null(find(s, inner));
    release(s, id);
    assert_int_equal(objects(s), 0);
    end(s);
}

static void a_long_chain_of_containers_goes_in_steps(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id last = rig_put(&s->rig, s->driver, 1);

    s->rig.check = false;
    for (int i = 0; i < 20000; i++) {
        struct object_id outer = rig_put_holding(&s->rig, s->driver, 2, &last, 1);
        rig_release(&s->rig, s->driver, last);
        last = outer;
        if (i % 200 == 199) {
            rig_settle(&s->rig);
        }
    }
    rig_settle(&s->rig);
    assert_int_equal(objects(s), 20001);
    release(s, last);
    assert_int_equal(objects(s), 0);
    end(s);
}

static void containers_that_hold_each_other_go_with_their_job(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id a = submit(s, 0), b = submit(s, 0);

    rig_settle(&s->rig);
    for (int i = 0; i < 2; i++) {
        struct rig_process *w = rig_ready_worker(&s->rig);
        assert_true(rig_claim(&s->rig, w));
        struct object_id other = object_id_equal(w->current.task, a) ? b : a;
        taken(s, w, other);
        struct rig_return r = {.value = 1, .refs = &other, .ref_count = 1};
        rig_return_these(&s->rig, w, &r, 1);
        rig_settle(&s->rig);
    }
    release(s, a);
    release(s, b);
    assert_int_equal(objects(s), 2);
    rig_driver_end(&s->rig, s->driver, true);
    rig_settle(&s->rig);
    assert_int_equal(objects(s), 0);
    assert_int_equal(s->rig.job_ends, 1);
    end(s);
}

static void a_container_elsewhere_covers_what_is_inside(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id inside[3] = {others(1), others(2), rig_put(&s->rig, s->driver, 5)};

    borrow_added(s, theirs(1));
    up(s, OTHER, SIDE_OUT);
    rig_get(&s->rig, s->driver, theirs(1));
    rig_settle(&s->rig);
    says_value(s, theirs(1), 7, inside, 3);
    release(s, inside[2]);
    assert_non_null(find(s, inside[2])); /* ours, held by the value that is here */
    assert_null(said(s, OTHER, SIDE_OUT, PEER_ADD));

    rig_hold_through(&s->rig, s->driver, inside[0], theirs(1));
    rig_settle(&s->rig);
    assert_ids(said(s, OTHER, SIDE_OUT, PEER_ADD), inside[0]);
    release(s, theirs(1));
    assert_null(said(s, THEM, SIDE_OUT, PEER_DROP)); /* it covers until ADDED */
    says_added(s, inside[0], true);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_DROP), theirs(1));
    assert_null(find(s, inside[1]));
    assert_null(find(s, inside[2]));
    assert_null(said(s, OTHER, SIDE_OUT, PEER_DROP));
    release(s, inside[0]);
    assert_ids(said(s, OTHER, SIDE_OUT, PEER_DROP), inside[0]);
    end(s);
}

static void what_a_task_took_from_inside_is_added_before_the_container_goes(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id inside = others(1);
    struct object *outer = take(s, theirs(1));

    foreign_cover(s->rig.core, outer); /* the argument of a guest */
    rig_settle(&s->rig);
    up(s, THEM, SIDE_OUT);
    up(s, OTHER, SIDE_OUT);
    rig_get(&s->rig, s->driver, theirs(1));
    rig_settle(&s->rig);
    says_value(s, theirs(1), 7, &inside, 1);
    assert_false(foreign_needs_more(s->rig.core, outer));
    struct object *o = take(s, inside);
    assert_true(foreign_needs_more(s->rig.core, outer)); /* through what is inside */
    struct securing w;
    securing_init(&w, 99);
    foreign_secure(s->rig.core, &w, outer);
    rig_settle(&s->rig);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_ADD), theirs(1));
    says_added(s, theirs(1), true);
    assert_int_equal(w.missing, 0);
    list_unlink(&w.link);
    foreign_uncover(s->rig.core, outer);
    rig_settle(&s->rig);
    assert_ids(said(s, OTHER, SIDE_OUT, PEER_ADD), inside);
    assert_null(said(s, THEM, SIDE_OUT, PEER_DROP));
    says_added(s, inside, true);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_DROP), theirs(1));
    give(s, o);
    end(s);
}

static void a_container_whose_owner_dies_covers_no_more(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id inside[2] = {others(1), theirs(2)};

    borrow_added(s, theirs(1));
    up(s, OTHER, SIDE_OUT);
    rig_get(&s->rig, s->driver, theirs(1));
    rig_settle(&s->rig);
    says_value(s, theirs(1), 7, inside, 2);
    dies(s, THEM);
    assert_ids(said(s, OTHER, SIDE_OUT, PEER_ADD), inside[0]); /* for itself now */
    assert_int_equal(find(s, inside[1])->state, OBJECT_ERROR);
    release(s, theirs(1));
    assert_ids(said(s, OTHER, SIDE_OUT, PEER_DROP), inside[0]);
    assert_int_equal(objects(s), 0);
    end(s);
}

static void a_value_is_told_with_what_is_inside(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object *far = take(s, theirs(1));
    struct object_id inner[2] = {rig_put(&s->rig, s->driver, 5), theirs(1)};

    borrow(s, theirs(1));
    struct object_id outer = rig_put_holding(&s->rig, s->driver, 6, inner, 2);

    up(s, OTHER, SIDE_IN);
    asks(s, OTHER, PEER_ADD, outer);
    asks(s, OTHER, PEER_WANT, outer);
    const struct peer_msg *m = said(s, OTHER, SIDE_IN, PEER_VALUE);
    assert_non_null(m);
    assert_int_equal(m->value.ref_count, 2);
    assert_true(object_id_equal(m->value.refs[0], inner[0]));
    assert_true(object_id_equal(m->value.refs[1], inner[1]));
    give(s, far);
    release(s, theirs(1));
    release(s, inner[0]);
    release(s, outer);
    assert_non_null(find(s, inner[1])); /* the container holds it, the other node the container */
    asks(s, OTHER, PEER_DROP, outer);
    assert_int_equal(objects(s), 0);
    end(s);
}

/* ---- much ---- */

static void a_task_is_given_only_as_many_references_as_pass(void **state)
{
    enum { MANY = 10000 };
    struct scene *s = begin_among_nodes();
    struct object_id *inner = xcalloc(MANY, sizeof *inner), outer[2];

    for (int i = 0; i < MANY; i++) {
        inner[i] = i == 0 ? rig_put(&s->rig, s->driver, 5) : inner[0];
    }
    for (int i = 0; i < 2; i++) {
        outer[i] = rig_put_holding(&s->rig, s->driver, 6, inner, MANY);
    }
    struct object_id one =
        rig_submit(&s->rig, s->driver,
                   (struct rig_task){.class_number = s->f, .needs = outer, .need_count = 1});
    struct object_id both =
        rig_submit(&s->rig, s->driver,
                   (struct rig_task){.class_number = s->f, .needs = outer, .need_count = 2});
    rig_get(&s->rig, s->driver, one);
    rig_get(&s->rig, s->driver, both);
    assert_int_equal(rig_run_all(&s->rig), 1);
    assert_int_equal(value_of(&s->rig, one), 6);
    assert_int_equal(code_of(&s->rig, both), CODE_TOO_LARGE);
    free(inner);
    end(s);
}

struct tally {
    uint32_t adds, ids, drops, firsts, lasts;
};

static void count_sent(void *arg, uint32_t peer, enum peer_side side, const struct peer_msg *m)
{
    struct tally *t = arg;

    assert_true(m->type != PEER_ADD || m->add.id_count <= PEER_LIST_MAX);
    t->adds += m->type == PEER_ADD;
    t->ids += m->type == PEER_ADD ? (uint32_t)m->add.id_count : 0;
    t->firsts += m->type == PEER_ADD && m->add.first;
    t->lasts += m->type == PEER_ADD && m->add.last;
    t->drops += m->type == PEER_DROP ? (uint32_t)m->ids.id_count : 0;
}

static void many_references_go_in_bounded_steps(void **state)
{
    enum { MANY = 10000 };
    struct scene *s = begin_among_nodes();
    struct object **all = xcalloc(MANY, sizeof(struct object *));
    struct tally t = {0};

    s->rig.hooks.arg = &t;
    s->rig.hooks.on_peer_send = count_sent;
    for (uint32_t i = 0; i < MANY; i++) {
        all[i] = take(s, theirs(i + 1));
    }
    rig_settle(&s->rig);
    up(s, THEM, SIDE_OUT);
    assert_int_equal(t.ids, MANY);
    assert_int_equal(t.adds, 3);
    down(s, THEM, SIDE_OUT);
    t = (struct tally){0};
    up(s, THEM, SIDE_OUT);
    assert_int_equal(t.ids, MANY);
    assert_int_equal(t.firsts, 1);
    assert_int_equal(t.lasts, 1);
    for (uint32_t i = 0; i < MANY / 2; i++) {
        object_unhold(s->rig.core, all[i]);
    }
    rig_settle(&s->rig);
    assert_int_equal(t.drops, MANY / 2);
    dies(s, THEM);
    for (uint32_t i = MANY / 2; i < MANY; i++) {
        assert_int_equal(all[i]->state, OBJECT_ERROR);
        object_unhold(s->rig.core, all[i]);
    }
    rig_settle(&s->rig);
    assert_int_equal(objects(s), 0);
    free(all);
    end(s);
}

/* ---- what each rule is for ---- */

static void without_silence_holds_a_cut_loses_what_is_held(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id = rig_put(&s->rig, s->driver, 5);

    s->rig.core->rules_off = RULE_SILENCE_HOLDS;
    up(s, THEM, SIDE_IN);
    asks(s, THEM, PEER_ADD, id);
    release(s, id);
    down(s, THEM, SIDE_IN);
    assert_null(find(s, id));
    end(s);
}

static void without_the_list_a_drop_that_was_lost_is_never_said(void **state)
{
    struct scene *s = begin_among_nodes();

    s->rig.core->rules_off = RULE_LIST_AGAIN;
    borrow_added(s, theirs(1));
    down(s, THEM, SIDE_OUT);
    release(s, theirs(1));
    up(s, THEM, SIDE_OUT);
    assert_null(said(s, THEM, SIDE_OUT, PEER_ADD));
    assert_null(said(s, THEM, SIDE_OUT, PEER_DROP));
    end(s);
}

static void without_owner_lost_a_wait_never_ends(void **state)
{
    struct scene *s = begin_among_nodes();

    s->rig.core->rules_off = RULE_OWNER_LOST;
    borrow_added(s, theirs(1));
    rig_get(&s->rig, s->driver, theirs(1));
    rig_settle(&s->rig);
    dies(s, THEM);
    rig_pass(&s->rig, 60 * NS_PER_S);
    assert_null(rig_value(&s->rig, theirs(1)));
    end(s);
}

static void without_unreachable_a_wait_lasts_as_long_as_the_silence(void **state)
{
    struct scene *s = begin_among_nodes();

    s->rig.core->rules_off = RULE_UNREACHABLE;
    borrow_added(s, theirs(1));
    rig_get(&s->rig, s->driver, theirs(1));
    down(s, THEM, SIDE_OUT);
    rig_pass(&s->rig, 60 * NS_PER_S);
    assert_null(rig_value(&s->rig, theirs(1)));
    end(s);
}

static void without_add_first_nobody_waits_for_the_answer(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object *o = take(s, theirs(1));
    struct securing w;

    s->rig.core->rules_off = RULE_ADD_FIRST;
    securing_init(&w, 99);
    foreign_secure(s->rig.core, &w, o);
    assert_int_equal(w.missing, 0);
    give(s, o);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_holds_what_is_inside_until_it_goes),
        cmocka_unit_test(a_result_holds_what_its_worker_put_inside),
        cmocka_unit_test(a_result_that_is_a_small_container_keeps_what_is_inside),
        cmocka_unit_test(a_long_chain_of_containers_goes_in_steps),
        cmocka_unit_test(containers_that_hold_each_other_go_with_their_job),
        cmocka_unit_test(a_container_elsewhere_covers_what_is_inside),
        cmocka_unit_test(what_a_task_took_from_inside_is_added_before_the_container_goes),
        cmocka_unit_test(a_container_whose_owner_dies_covers_no_more),
        cmocka_unit_test(a_value_is_told_with_what_is_inside),
        cmocka_unit_test(a_task_is_given_only_as_many_references_as_pass),
        cmocka_unit_test(many_references_go_in_bounded_steps),
        cmocka_unit_test(without_silence_holds_a_cut_loses_what_is_held),
        cmocka_unit_test(without_the_list_a_drop_that_was_lost_is_never_said),
        cmocka_unit_test(without_owner_lost_a_wait_never_ends),
        cmocka_unit_test(without_unreachable_a_wait_lasts_as_long_as_the_silence),
        cmocka_unit_test(without_add_first_nobody_waits_for_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
