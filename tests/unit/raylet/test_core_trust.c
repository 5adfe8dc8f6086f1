/* What comes late, or from a node that does not keep to the rules: refused, and nothing stays. */
#include "raylet/core_lanes.h"
#include "raylet/core_state.h"
#include "tests/unit/raylet/between_scene.h"

#include <stdio.h>

/* ---- we are the executor ---- */

/* Two bodies of ours take all CPUs. */
static void be_busy(struct scene *s)
{
    for (int i = 0; i < 2; i++) {
        submit(s, 1);
    }
    for (int i = 0; i < 2; i++) {
        rig_pass(&s->rig, 3 * NS_PER_S);
        struct rig_process *w = rig_ready_worker(&s->rig);
        assert_true(w != NULL && rig_claim(&s->rig, w));
    }
    rig_settle(&s->rig);
}

static void a_class_that_ends_before_its_runs_is_nobody_elses(void **state)
{
    struct scene *s = begin_as_executor();

    rig_view(&s->rig, OTHER, "box-3", 4);
    asks_for(s, THEM, 1, 1);
    assert_non_null(said(s, THEM, SIDE_IN, PEER_GRANT));
    be_busy(s); /* after a second the slot is revoked */
    runs(s, THEM, 1, 1);
    rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_CLASS_END)->class_end.number = 1;
    rig_settle(&s->rig);
    up(s, OTHER, SIDE_OUT);
    rig_pass(&s->rig, NS_PER_S);
    const struct peer_msg *m = said(s, THEM, SIDE_IN, PEER_BACK);
    assert_non_null(m);
    assert_int_equal(m->back.run, 1);
    assert_null(said(s, OTHER, SIDE_OUT, PEER_RUN));
    end(s);
}

static void a_program_that_cannot_start_is_not_started_for_who_asks_again(void **state)
{
    struct scene *s = begin_as_executor();

    s->rig.start_dies = true;
    s->rig.start_lacks = true;
    asks_for(s, THEM, 1, 1);
    assert_non_null(said(s, THEM, SIDE_IN, PEER_JOB_BROKEN));
    uint32_t spawns = s->rig.spawns;
    asks_for(s, THEM, 1, 2); /* was under way */
    rig_pass(&s->rig, 10 * NS_PER_S);
    assert_int_equal(s->rig.spawns, spawns);
    end(s);
}

static void a_raylet_whose_guests_run_long_sleeps(void **state)
{
    struct scene *s = begin_as_executor();

    asks_for(s, THEM, 1, 1);
    runs(s, THEM, 1, 1);
    assert_true(rig_claim(&s->rig, rig_ready_worker(&s->rig)));
    rig_pass(&s->rig, NS_PER_S);
    assert_non_null(said(s, THEM, SIDE_IN, PEER_STARTED));
    assert_in_range(sleep_for(s, 60 * NS_PER_S), 1, 80); /* the lease is renewed each second */
    end(s);
}

static void a_node_that_came_and_went_unheard_is_forgotten_when_a_newer_one_comes(void **state)
{
    struct scene *s = begin_as_executor();

    rig_peer_up(&s->rig, 50, SIDE_IN);
    rig_settle(&s->rig);
    rig_peer_down(&s->rig, 50, SIDE_IN, false);
    rig_settle(&s->rig);
    assert_int_equal(HASH_COUNT(s->rig.core->peers), 3);
    rig_view(&s->rig, 51, "box-9", 1);
    rig_settle(&s->rig);
    assert_int_equal(HASH_COUNT(s->rig.core->peers), 3);
    end(s);
}

/* ---- we are the home ---- */

static void a_session_that_was_closed_unused_is_told_of_the_job_again(void **state)
{
    struct scene *s = begin_as_home(2, 0);
    struct object_id outer = submit(s, 1);

    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    uint32_t there = rig_class(&s->rig, w, "h", AT_THEM);
    struct object_id inner =
        rig_submit(&s->rig, w, (struct rig_task){.class_number = there, .parent_slot = 1});
    rig_settle(&s->rig);
    up(s, THEM, SIDE_OUT);
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_JOB));
    const struct peer_msg *m = said(s, THEM, SIDE_OUT, PEER_CLASS);
    assert_non_null(m);
    grants(s, THEM, m->class_.number, 1);
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_RUN));
    says_word(s, THEM, 1, 3);
    rig_release(&s->rig, w, inner);
    rig_return(&s->rig, w, 4);
    rig_get(&s->rig, s->driver, outer);
    rig_pass(&s->rig, 120 * NS_PER_S); /* the worker leaves, and with it its class */
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_CLASS_END));
    assert_int_equal(s->rig.peer_closes, 1);
    assert_int_equal(s->rig.peer_opens, 1);

    submit_to(s, (struct rig_task){.class_number = declare(s, "h", AT_THEM)});
    assert_int_equal(s->rig.peer_opens, 2);
    up(s, THEM, SIDE_OUT);
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_JOB));
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_CLASS));
    end(s);
}

static void what_was_for_a_node_that_is_cut_off_goes_elsewhere_though_the_head_is_down(void **state)
{
    struct scene *s = begin_as_home(2, 0);
    uint32_t spread =
        declare(s, "s", (struct rig_class){.cpus_x10000 = 10000, .strategy = SCHED_SPREAD});

    rig_head(&s->rig, false);
    rig_settle(&s->rig);
    struct object_id ids[2];
    for (int i = 0; i < 2; i++) {
        ids[i] = submit_to(s, (struct rig_task){.class_number = spread, .payload = 7});
        rig_run_all(&s->rig);
    }
    assert_int_equal(s->rig.peer_opens, 1); /* one of them is for it; it cannot be reached */
    sleep_for(s, 4 * NS_PER_S);
    assert_non_null(rig_ready_worker(&s->rig));
    rig_run_all(&s->rig);
    assert_int_equal(value_of(&s->rig, ids[0]), 7);
    assert_int_equal(value_of(&s->rig, ids[1]), 7);
    end(s);
}

static void hundreds_of_classes_choose_their_nodes_at_once(void **state)
{
    struct scene *s = begin_as_home(2, 0);
    char name[16];

    rig_head(&s->rig, false); /* no renewal wakes it */
    rig_settle(&s->rig);
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "s%d", i);
        uint32_t k = rig_class(&s->rig, s->driver, arena_text(&s->rig.arena, name, strlen(name)),
                               (struct rig_class){.cpus_x10000 = 10000, .strategy = SCHED_SPREAD});
        rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = k});
    }
    rig_settle(&s->rig);
    assert_true(list_is_empty(&s->rig.core->fresh_classes));
    end(s);
}

static void a_node_whose_program_is_broken_says_nothing_of_others(void **state)
{
    struct scene *s = begin_as_home(2, 2);
    struct rig_class elsewhere = AT_THEM;
    struct object_id id = submit_to(s, (struct rig_task){.class_number = declare(s, "h", AT_THEM)});

    up(s, THEM, SIDE_OUT);
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_CLASS));
    says_job_broken(s, THEM);
    rig_pass(&s->rig, NS_PER_S);
    assert_int_equal(code_of(&s->rig, id), CODE_PROGRAM);
    elsewhere.node = "box-7";
    id = submit_to(s, (struct rig_task){.class_number = declare(s, "i", elsewhere)});
    rig_pass(&s->rig, NS_PER_S);
    assert_int_equal(code_of(&s->rig, id), CODE_IMPOSSIBLE);
    end(s);
}

static void more_slots_than_were_asked_for_are_refused(void **state)
{
    struct scene *s = begin_as_home(2, 0);

    submit_to(s, (struct rig_task){.class_number = declare(s, "h", AT_THEM)});
    up(s, THEM, SIDE_OUT);
    grants(s, THEM, said(s, THEM, SIDE_OUT, PEER_CLASS)->class_.number, UINT32_MAX);
    assert_int_equal(s->rig.peer_closes, 1);
    assert_null(said(s, THEM, SIDE_OUT, PEER_RUN));
    end(s);
}

static void slots_that_come_when_they_are_no_longer_wanted_go_back(void **state)
{
    struct scene *s = begin_as_home(2, 0);
    struct object_id id = submit_to(s, (struct rig_task){.class_number = declare(s, "h", AT_THEM)});

    up(s, THEM, SIDE_OUT);
    uint32_t number = said(s, THEM, SIDE_OUT, PEER_CLASS)->class_.number;
    assert_int_equal(said(s, THEM, SIDE_OUT, PEER_ASK)->ask.limit, 1);
    rig_cancel(&s->rig, s->driver, id, 0);
    rig_pass(&s->rig, 5 * NS_PER_MS);
    assert_int_equal(said(s, THEM, SIDE_OUT, PEER_ASK)->ask.limit, 0);
    grants(s, THEM, number, 1); /* was under way */
    rig_pass(&s->rig, 5 * NS_PER_MS);
    const struct peer_msg *m = said(s, THEM, SIDE_OUT, PEER_RETURN);
    assert_non_null(m);
    assert_int_equal(m->slots.count, 1);
    assert_int_equal(s->rig.peer_closes, 0);
    end(s);
}

/* ---- which node ---- */

static void a_wish_that_is_soft_is_fulfilled_where_it_can_be(void **state)
{
    struct scene *s = begin_as_home(2, 2);
    struct rig_class wish = AT_THEM;

    wish.soft = true;
    struct object_id id = submit_to(s, (struct rig_task){.class_number = declare(s, "w", wish)});
    assert_int_equal(rig_run_all(&s->rig), 0);
    up(s, THEM, SIDE_OUT);
    grants(s, THEM, said(s, THEM, SIDE_OUT, PEER_CLASS)->class_.number, 1);
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_RUN));
    says_word(s, THEM, 1, 6);
    assert_int_equal(value_of(&s->rig, id), 6);
    end(s);
}

static void a_wish_that_is_soft_is_no_reason_to_wait(void **state)
{
    struct scene *s = begin_as_home(2, 2);
    struct rig_class wish = AT_THEM;

    wish.soft = true;
    wish.node = "nowhere";
    struct object_id id =
        submit_to(s, (struct rig_task){.class_number = declare(s, "w", wish), .payload = 3});
    rig_pass(&s->rig, NS_PER_MS);
    assert_int_equal(rig_run_all(&s->rig), 1);
    assert_int_equal(value_of(&s->rig, id), 3);
    wish.node = "box-2";
    id = submit_to(s, (struct rig_task){.class_number = declare(s, "x", wish), .payload = 4});
    rig_pass(&s->rig, 5 * NS_PER_S); /* it cannot be reached */
    assert_int_equal(rig_run_all(&s->rig), 1);
    assert_int_equal(value_of(&s->rig, id), 4);
    end(s);
}

static void classes_that_wait_for_others_do_not_keep_the_rest_from_its_turn(void **state)
{
    struct scene *s = begin_as_home(2, 0);
    char name[16];

    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "h%d", i);
        uint32_t k =
            rig_class(&s->rig, s->driver, arena_text(&s->rig.arena, name, strlen(name)), AT_THEM);
        rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = k});
    }
    rig_settle(&s->rig);
    struct object_id id = submit(s, 4);
    rig_get(&s->rig, s->driver, id);
    rig_pass(&s->rig, 100 * NS_PER_MS);
    assert_int_equal(rig_run_all(&s->rig), 1);
    assert_int_equal(value_of(&s->rig, id), 4);
    end(s);
}

static void a_node_that_has_no_room_after_all_does_not_keep_balanced_work(void **state)
{
    struct scene *s = begin_as_home(4, 0);
    uint32_t k =
        declare(s, "b", (struct rig_class){.cpus_x10000 = 10000, .strategy = SCHED_LOAD_BALANCED});
    uint32_t n = 0;

    for (int i = 0; i < 6; i++) {
        submit_to(s, (struct rig_task){.class_number = k, .payload = 1});
    }
    up(s, THEM, SIDE_OUT); /* others were faster: it grants nothing */
    for (int i = 0; i < 10; i++) {
        n += rig_run_all(&s->rig);
        rig_pass(&s->rig, NS_PER_S);
    }
    assert_int_equal(n, 6);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_class_that_ends_before_its_runs_is_nobody_elses),
        cmocka_unit_test(a_program_that_cannot_start_is_not_started_for_who_asks_again),
        cmocka_unit_test(a_raylet_whose_guests_run_long_sleeps),
        cmocka_unit_test(a_node_that_came_and_went_unheard_is_forgotten_when_a_newer_one_comes),
        cmocka_unit_test(a_session_that_was_closed_unused_is_told_of_the_job_again),
        cmocka_unit_test(
            what_was_for_a_node_that_is_cut_off_goes_elsewhere_though_the_head_is_down),
        cmocka_unit_test(hundreds_of_classes_choose_their_nodes_at_once),
        cmocka_unit_test(a_node_whose_program_is_broken_says_nothing_of_others),
        cmocka_unit_test(more_slots_than_were_asked_for_are_refused),
        cmocka_unit_test(slots_that_come_when_they_are_no_longer_wanted_go_back),
        cmocka_unit_test(a_wish_that_is_soft_is_fulfilled_where_it_can_be),
        cmocka_unit_test(a_wish_that_is_soft_is_no_reason_to_wait),
        cmocka_unit_test(classes_that_wait_for_others_do_not_keep_the_rest_from_its_turn),
        cmocka_unit_test(a_node_that_has_no_room_after_all_does_not_keep_balanced_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
