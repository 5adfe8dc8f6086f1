#include "tests/unit/head/rig.h"

static enum head_node_state state_of(struct rig *r, uint32_t node)
{
    const struct head_node_row *row = head_core_node(r->core, node);
    assert_non_null(row);
    return row->state;
}

static void test_join_waits_for_the_disk(void **state)
{
    struct rig r;
    rig_init(&r);
    r.commits = false;
    rig_link_up(&r, 1);
    rig_join(&r, 1, "box-1", 0, 0);
    assert_false(rig_has(&r, 1, CLUSTER_JOINED));
    rig_renew(&r, 1, 0);
    assert_true(rig_has(&r, 1, CLUSTER_RENEWED)); /* alone exempt */
    assert_false(rig_has(&r, 1, CLUSTER_VIEW));   /* readers wait too */

    rig_commit(&r);
    assert_int_equal(rig_joined(&r, 1), 1);
    const struct cluster_msg *view = rig_take(&r, 1, CLUSTER_VIEW);
    assert_true(view->view.whole);
    assert_int_equal(view->view.node_count, 1);
    assert_string_equal(view->view.nodes[0].name, "box-1");
    rig_fini(&r);
}

static void test_numbers_are_never_used_again(void **state)
{
    struct rig r;
    rig_init(&r);
    assert_int_equal(rig_node(&r, 1, "box-1"), 1);
    assert_int_equal(rig_node(&r, 2, "box-2"), 2);
    rig_cluster(&r, 2, &(struct cluster_msg){.type = CLUSTER_LEAVE});
    (void)rig_take(&r, 2, CLUSTER_LEFT);
    assert_int_equal(state_of(&r, 2), HEAD_NODE_LEFT);
    assert_int_equal(rig_node(&r, 3, "box-2"), 3);

    rig_restart(&r, NS_PER_S);
    assert_int_equal(rig_node(&r, 4, "box-4"), 4);
    rig_fini(&r);
}

static void test_lost_joined_answer_gives_the_same_number(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_link_up(&r, 1);
    rig_join(&r, 1, "box-1", 0, 0);
    assert_int_equal(rig_joined(&r, 1), 1);
    /* The answer is lost with the session; the same process asks over another one. */
    rig_link_down(&r, 1);
    rig_link_up(&r, 2);
    struct cluster_msg msg = {.type = CLUSTER_JOIN,
                              .join = {.protocol = CLUSTER_PROTOCOL_VERSION,
                                       .name = "box-1",
                                       .host = "box",
                                       .address = "10.0.0.6:7422",
                                       .public_key = "key",
                                       .pid = 101}};
    rig_cluster(&r, 2, &msg);
    assert_int_equal(rig_joined(&r, 2), 1);
    rig_fini(&r);
}

static void test_taken_name_is_refused_with_advice(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    rig_link_up(&r, 2);
    rig_join(&r, 2, "box-1", 0, 0);
    const struct failure *f = &rig_take(&r, 2, CLUSTER_REFUSED)->refused.failure;
    assert_int_equal(f->code, CODE_EXISTS);
    assert_non_null(strstr(f->message, "--name"));
    assert_true(rig_has_effect(&r, HEAD_EFFECT_DROP, 2));
    assert_int_equal(state_of(&r, 1), HEAD_NODE_ALIVE);
    rig_fini(&r);
}

static void test_restarted_raylet_takes_its_own_place_at_once(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    uint64_t job = rig_job(&r, 1, 7);
    rig_link_up(&r, 2);
    rig_join(&r, 2, "box-1", 0, 1);
    assert_int_equal(rig_joined(&r, 2), 2);
    assert_int_equal(state_of(&r, 1), HEAD_NODE_LOST);
    assert_int_equal(head_core_job(r.core, job)->state, HEAD_JOB_LOST);
    assert_int_equal(rig_take(&r, 1, CLUSTER_REFUSED)->refused.failure.code, CODE_NODE_LOST);
    rig_fini(&r);
}

static void test_lease_runs_out_after_nine_seconds(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    rig_node(&r, 2, "box-2");
    rig_pass(&r, 5 * NS_PER_S, 1, 2);
    assert_false(rig_has_effect(&r, HEAD_EFFECT_PROBE, 2));

    /* box-2 is cut off: probed, but silence alone kills nobody within the lease. */
    rig_pass(&r, 8 * NS_PER_S, 1, 1);
    assert_true(rig_has_effect(&r, HEAD_EFFECT_PROBE, 2));
    rig_probed(&r, 2, HEAD_PROBE_SILENT);
    assert_int_equal(state_of(&r, 2), HEAD_NODE_ALIVE);
    rig_pass(&r, 3 * NS_PER_S, 1, 1);
    assert_int_equal(state_of(&r, 2), HEAD_NODE_LOST);
    assert_int_equal(state_of(&r, 1), HEAD_NODE_ALIVE);

    /* The others hear of it; it is told when it comes back. */
    bool told = false;
    while (rig_has(&r, 1, CLUSTER_VIEW)) {
        const struct cluster_view *view = &rig_take(&r, 1, CLUSTER_VIEW)->view;
        for (size_t i = 0; i < view->node_count; i++) {
            told = told || (view->nodes[i].number == 2 && view->nodes[i].state == NODE_LOST);
        }
    }
    assert_true(told);
    rig_link_up(&r, 3);
    rig_join(&r, 3, "box-2", 2, 0);
    assert_int_equal(rig_take(&r, 3, CLUSTER_REFUSED)->refused.failure.code, CODE_NODE_LOST);
    rig_fini(&r);
}

static void test_refused_port_is_dead_within_a_second(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    rig_pass(&r, 2 * NS_PER_S, 1, 1);
    rig_event(&r, &(struct head_event){.kind = HEAD_EVENT_LINK_CUT, .link = 1});
    assert_true(rig_has_effect(&r, HEAD_EFFECT_PROBE, 1));
    rig_probed(&r, 1, HEAD_PROBE_REFUSED);
    assert_int_equal(state_of(&r, 1), HEAD_NODE_ALIVE);
    rig_pass(&r, 700 * NS_PER_MS, 0, 0);
    assert_true(rig_has_effect(&r, HEAD_EFFECT_PROBE, 1));
    rig_probed(&r, 1, HEAD_PROBE_REFUSED);
    assert_int_equal(state_of(&r, 1), HEAD_NODE_LOST);
    rig_fini(&r);
}

static void test_renewal_between_probes_saves_it(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    rig_event(&r, &(struct head_event){.kind = HEAD_EVENT_LINK_CUT, .link = 1});
    rig_probed(&r, 1, HEAD_PROBE_REFUSED);
    rig_renew(&r, 1, 0);
    rig_pass(&r, 700 * NS_PER_MS, 0, 0);
    rig_probed(&r, 1, HEAD_PROBE_REFUSED); /* of an old question */
    assert_int_equal(state_of(&r, 1), HEAD_NODE_ALIVE);

    /* The count begins anew. */
    rig_event(&r, &(struct head_event){.kind = HEAD_EVENT_LINK_CUT, .link = 1});
    rig_probed(&r, 1, HEAD_PROBE_REFUSED);
    assert_int_equal(state_of(&r, 1), HEAD_NODE_ALIVE);
    rig_fini(&r);
}

static void test_stalled_head_kills_nobody(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    rig_stall(&r, 60 * NS_PER_S);
    rig_event(&r, NULL);
    assert_int_equal(state_of(&r, 1), HEAD_NODE_ALIVE);
    rig_pass(&r, HEAD_LEASE_NS - NS_PER_S, 0, 0);
    assert_int_equal(state_of(&r, 1), HEAD_NODE_ALIVE);
    rig_pass(&r, 3 * NS_PER_S, 0, 0);
    assert_int_equal(state_of(&r, 1), HEAD_NODE_LOST);
    rig_fini(&r);
}

static void test_started_head_waits_one_lease(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    rig_node(&r, 2, "box-2");
    uint64_t job = rig_job(&r, 1, 7);
    rig_restart(&r, 100 * NS_PER_S);
    rig_event(&r, NULL);
    for (int i = 0; i < 10; i++) {
        rig_pass(&r, 500 * NS_PER_MS, 0, 0);
        rig_probed(&r, 1, HEAD_PROBE_REFUSED);
        assert_int_equal(state_of(&r, 1), HEAD_NODE_ALIVE);
    }

    rig_link_up(&r, 11);
    rig_join(&r, 11, "box-1", 1, 0);
    assert_int_equal(rig_joined(&r, 11), 1);
    rig_pass(&r, HEAD_LEASE_NS, 11, 11);
    assert_int_equal(state_of(&r, 1), HEAD_NODE_ALIVE);
    assert_int_equal(state_of(&r, 2), HEAD_NODE_LOST);
    (void)job;
    rig_fini(&r);
}

static void test_one_way_cut_ends_the_lease_on_both_sides(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    rig_renew(&r, 1, 0);
    uint64_t heard = r.time.boot_ns;
    /* It speaks, and never hears an answer. */
    for (int s = 0; s < 30 && state_of(&r, 1) == HEAD_NODE_ALIVE; s++) {
        rig_pass(&r, NS_PER_S, 0, 0);
        rig_renew(&r, 1, heard);
    }
    assert_int_equal(state_of(&r, 1), HEAD_NODE_LOST);
    /* A black-out of 5 s does not come near. */
    assert_true(r.time.boot_ns - heard > 15 * NS_PER_S);
    rig_fini(&r);
}

static void test_only_node_keys_join(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_event(&r, &(struct head_event){.kind = HEAD_EVENT_LINK_UP, .link = 1, .role = PEER_CLIENT});
    rig_join(&r, 1, "box-1", 0, 0);
    assert_int_equal(rig_take(&r, 1, CLUSTER_REFUSED)->refused.failure.code, CODE_REFUSED);
    struct cluster_msg msg = {.type = CLUSTER_JOIN, .join = {.protocol = 9, .name = "box-1"}};
    rig_link_up(&r, 2);
    rig_cluster(&r, 2, &msg);
    assert_non_null(strstr(rig_take(&r, 2, CLUSTER_REFUSED)->refused.failure.message, "version"));
    msg.join = (struct cluster_join){.protocol = CLUSTER_PROTOCOL_VERSION, .name = "../x"};
    rig_link_up(&r, 3);
    rig_cluster(&r, 3, &msg);
    assert_non_null(strstr(rig_take(&r, 3, CLUSTER_REFUSED)->refused.failure.message, "--name"));
    rig_fini(&r);
}

static void test_view_is_sent_as_changes(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    rig_node(&r, 2, "box-2");
    rig_pass(&r, 2 * NS_PER_S, 1, 2);
    rig_forget(&r);
    rig_pass(&r, 3 * NS_PER_S, 1, 2);
    assert_false(rig_has(&r, 1, CLUSTER_VIEW)); /* nothing changed */

    struct cluster_amount cpu = {"CPU", 0, 3 * RESOURCE_UNIT};
    struct cluster_msg msg = {.type = CLUSTER_RENEW,
                              .renew = {.sent_ns = r.time.boot_ns + 1,
                                        .answered_ns = r.time.boot_ns,
                                        .amounts = &cpu,
                                        .amount_count = 1,
                                        .running = 5}};
    rig_event(&r, &(struct head_event){.kind = HEAD_EVENT_DATAGRAM, .link = 2, .cluster = &msg});
    rig_pass(&r, 1100 * NS_PER_MS, 0, 0);
    const struct cluster_view *view = &rig_take(&r, 1, CLUSTER_VIEW)->view;
    assert_false(view->whole);
    assert_int_equal(view->node_count, 1);
    assert_int_equal(view->nodes[0].number, 2);
    assert_int_equal(view->nodes[0].running, 5);
    assert_int_equal(view->nodes[0].amounts[0].available_units, 3 * RESOURCE_UNIT);
    assert_false(rig_has(&r, 2, CLUSTER_VIEW)); /* it knows itself */
    rig_fini(&r);
}

static void test_overtaken_renewal_changes_nothing(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_tool(&r, 1);
    rig_node(&r, 1, "box-1");
    struct cluster_msg msg = {.type = CLUSTER_RENEW,
                              .renew = {.sent_ns = r.time.boot_ns + 10, .running = 5}};
    struct head_event event = {.kind = HEAD_EVENT_DATAGRAM, .link = 1, .cluster = &msg};
    rig_event(&r, &event);
    msg.renew.sent_ns -= 5;
    msg.renew.running = 3;
    rig_event(&r, &event);
    rig_ask(&r, 1, 5, &(struct state_query){.kind = STATE_NODES});
    assert_int_equal(rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply.nodes[0].running, 5);
    rig_fini(&r);
}

static void test_feasible_looks_at_the_asking_node(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    struct cluster_amount gpu = {"GPU", RESOURCE_UNIT, 0}, cpu = {"CPU", 8 * RESOURCE_UNIT, 0};
    struct cluster_msg msg = {.type = CLUSTER_FEASIBLE,
                              .feasible = {.request = 5, .amounts = &gpu, .amount_count = 1}};
    rig_cluster(&r, 1, &msg);
    const struct cluster_feasible_answer *answer =
        &rig_take(&r, 1, CLUSTER_FEASIBLE_ANSWER)->feasible_answer;
    assert_int_equal(answer->request, 5);
    assert_int_equal(answer->failure.code, CODE_IMPOSSIBLE);
    assert_non_null(strstr(answer->failure.message,
                           "no: it asks GPU 1 and node box-1, where this program runs, has none"));

    msg.feasible.amounts = &cpu;
    msg.feasible.labels = "zone=b";
    rig_cluster(&r, 1, &msg);
    assert_int_equal(rig_take(&r, 1, CLUSTER_FEASIBLE_ANSWER)->feasible_answer.failure.code, 0);
    msg.feasible.labels = "zone=";
    rig_cluster(&r, 1, &msg);
    assert_int_equal(rig_take(&r, 1, CLUSTER_FEASIBLE_ANSWER)->feasible_answer.failure.code,
                     CODE_IMPOSSIBLE);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join_waits_for_the_disk),
        cmocka_unit_test(test_numbers_are_never_used_again),
        cmocka_unit_test(test_lost_joined_answer_gives_the_same_number),
        cmocka_unit_test(test_taken_name_is_refused_with_advice),
        cmocka_unit_test(test_restarted_raylet_takes_its_own_place_at_once),
        cmocka_unit_test(test_lease_runs_out_after_nine_seconds),
        cmocka_unit_test(test_refused_port_is_dead_within_a_second),
        cmocka_unit_test(test_renewal_between_probes_saves_it),
        cmocka_unit_test(test_stalled_head_kills_nobody),
        cmocka_unit_test(test_started_head_waits_one_lease),
        cmocka_unit_test(test_one_way_cut_ends_the_lease_on_both_sides),
        cmocka_unit_test(test_only_node_keys_join),
        cmocka_unit_test(test_view_is_sent_as_changes),
        cmocka_unit_test(test_overtaken_renewal_changes_nothing),
        cmocka_unit_test(test_feasible_looks_at_the_asking_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
