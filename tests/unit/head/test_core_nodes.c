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
                                       .secret = "box-1",
                                       .public_key = "0123456789012345678901234567890123456789",
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

/* All nodes hold the same join key: only its directory's secret makes one the same again. */
static void test_only_its_own_directory_comes_back_as_a_node(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    for (int restarted = 0; restarted < 2; restarted++) {
        rig_join_as(
            &r, 2,
            &(struct cluster_join){.name = "box-1", .supersedes = 1, .secret = "a stranger's"});
        assert_int_equal(rig_take(&r, 2, CLUSTER_REFUSED)->refused.failure.code, CODE_EXISTS);
        rig_join_as(&r, 3,
                    &(struct cluster_join){.name = "box-1", .number = 1, .secret = "another"});
        const struct cluster_refused *refused = &rig_take(&r, 3, CLUSTER_REFUSED)->refused;
        assert_int_equal(refused->failure.code, CODE_REFUSED);
        assert_non_null(strstr(refused->failure.message, "another directory"));
        assert_int_equal(state_of(&r, 1), HEAD_NODE_ALIVE);
        rig_restart(&r, NS_PER_S); /* what is kept of it is enough */
    }
    rig_link_up(&r, 4);
    rig_join(&r, 4, "box-1", 0, 1);
    assert_int_equal(rig_joined(&r, 4), 2);
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

static void renew_cpu(struct rig *r, uint64_t link, double available)
{
    struct cluster_amount cpu = {"CPU", 0, (int64_t)(available * RESOURCE_UNIT)};
    struct cluster_msg msg = {.type = CLUSTER_RENEW,
                              .renew = {.sent_ns = r->time.boot_ns + 1,
                                        .answered_ns = r->time.boot_ns,
                                        .amounts = &cpu,
                                        .amount_count = 1}};
    rig_event(r, &(struct head_event){.kind = HEAD_EVENT_DATAGRAM, .link = link, .cluster = &msg});
}

static void test_view_texts_are_said_once(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    rig_forget(&r);
    rig_node(&r, 2, "box-2");
    const struct cluster_view *view = &rig_take(&r, 1, CLUSTER_VIEW)->view;
    assert_int_equal(view->nodes[0].number, 2);
    assert_string_equal(view->nodes[0].name, "box-2");
    assert_int_equal(strlen(view->nodes[0].public_key), 40);
    rig_pass(&r, 2 * NS_PER_S, 1, 2);
    renew_cpu(&r, 2, 0);
    rig_pass(&r, NS_PER_S, 0, 0);
    view = &rig_take(&r, 1, CLUSTER_VIEW)->view;
    assert_string_equal(view->nodes[0].name, "");
    assert_string_equal(view->nodes[0].public_key, "");
    assert_int_equal(view->nodes[0].amounts[0].available_units, 0);
    /* Whoever comes later hears all. */
    rig_node(&r, 3, "box-3");
    view = &rig_take(&r, 3, CLUSTER_VIEW)->view;
    assert_true(view->whole && !view->more);
    assert_int_equal(view->node_count, 3);
    assert_string_equal(view->nodes[1].name, "box-2");
    rig_fini(&r);
}

static void test_a_renewal_without_news_is_not_told(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    rig_node(&r, 2, "box-2");
    rig_pass(&r, 2 * NS_PER_S, 1, 2);
    renew_cpu(&r, 2, 5);
    rig_pass(&r, 2 * NS_PER_S, 1, 2);
    rig_forget(&r);
    for (int i = 0; i < 3; i++) {
        renew_cpu(&r, 2, 5);
        rig_pass(&r, NS_PER_S, 1, 2);
    }
    assert_false(rig_has(&r, 1, CLUSTER_VIEW));
    rig_fini(&r);
}

/* How long after a renewal the others hear of it. */
static uint64_t told_after_ns(struct rig *r, double available)
{
    renew_cpu(r, 2, available);
    uint64_t begin = r->time.now_ns;
    while (!rig_has(r, 1, CLUSTER_VIEW)) {
        assert_true(r->time.now_ns < begin + 2 * NS_PER_S);
        rig_pass(r, 10 * NS_PER_MS, 0, 0);
    }
    rig_forget(r);
    return r->time.now_ns - begin;
}

static void test_what_matters_is_told_soon(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    rig_node(&r, 2, "box-2");
    rig_pass(&r, 2 * NS_PER_S, 1, 2);
    renew_cpu(&r, 2, 7);
    rig_pass(&r, 1100 * NS_PER_MS, 1, 2);
    rig_forget(&r);
    assert_in_range(told_after_ns(&r, 6.9), 500 * NS_PER_MS, NS_PER_S); /* the tick */
    assert_true(told_after_ns(&r, 0) <= 210 * NS_PER_MS);
    assert_in_range(told_after_ns(&r, 8), 150 * NS_PER_MS, 210 * NS_PER_MS); /* not at once again */
    rig_pass(&r, 500 * NS_PER_MS, 1, 2);
    assert_int_equal(told_after_ns(&r, 0.5), 0);
    rig_pass(&r, 500 * NS_PER_MS, 1, 2);
    assert_int_equal(told_after_ns(&r, 0), 0); /* little, and the last of it */
    rig_fini(&r);
}

static void test_a_whole_view_comes_in_parts(void **state)
{
    struct rig r;
    rig_init(&r);
    char name[16];
    for (uint64_t link = 1; link <= 40; link++) {
        snprintf(name, sizeof name, "box-%u", (unsigned)link);
        rig_forget(&r);
        rig_node(&r, link, name);
    }
    const struct cluster_view *view = &rig_take(&r, 40, CLUSTER_VIEW)->view;
    assert_true(view->whole && view->more);
    size_t count = view->node_count;
    view = &rig_take(&r, 40, CLUSTER_VIEW)->view;
    assert_true(!view->whole && !view->more);
    assert_int_equal(count + view->node_count, 40);
    assert_string_equal(view->nodes[view->node_count - 1].name, "box-40");
    rig_fini(&r);
}

static void test_one_that_leaves_or_is_private_is_closed(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_tool(&r, 1);
    rig_node(&r, 1, "box-1");
    rig_node(&r, 2, "box-2");
    rig_forget(&r);
    struct cluster_msg msg = {.type = CLUSTER_DRAIN};
    rig_cluster(&r, 2, &msg);
    const struct cluster_view *view = &rig_take(&r, 1, CLUSTER_VIEW)->view; /* at once */
    assert_true(view->nodes[0].number == 2 && view->nodes[0].closed);
    assert_int_equal(view->nodes[0].state, NODE_ALIVE);
    rig_cluster(&r, 2, &msg); /* again: nothing */
    assert_false(rig_has(&r, 1, CLUSTER_VIEW));
    rig_ask(&r, 1, 7, &(struct state_query){.kind = STATE_NODES, .state = "leaving"});
    assert_int_equal(rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply.nodes[0].number, 2);

    rig_join_as(&r, 3, &(struct cluster_join){.name = "driver-1", .closed = true});
    view = &rig_take(&r, 1, CLUSTER_VIEW)->view;
    assert_true(view->nodes[0].number == 3 && view->nodes[0].closed);
    rig_ask(&r, 1, 8, &(struct state_query){.kind = STATE_NODES, .state = "private"});
    assert_int_equal(rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply.nodes[0].number, 3);

    /* A head that starts hears it from them. */
    rig_restart(&r, NS_PER_S);
    rig_join_as(&r, 11,
                &(struct cluster_join){.name = "box-1", .number = 1, .address = "10.0.0.6:7422"});
    rig_forget(&r);
    rig_join_as(&r, 12,
                &(struct cluster_join){
                    .name = "box-2", .number = 2, .leaving = true, .address = "10.0.0.6:7423"});
    view = &rig_take(&r, 11, CLUSTER_VIEW)->view; /* of both, since both were silent */
    assert_int_equal(view->node_count, 2);
    assert_true(view->nodes[1].number == 2 && view->nodes[1].closed && !view->nodes[0].closed);
    rig_fini(&r);
}

static void test_a_lost_node_stays_lost(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    rig_node(&r, 2, "box-2");
    rig_pass(&r, 11 * NS_PER_S, 1, 1);
    rig_join_as(&r, 3, &(struct cluster_join){.name = "box-2", .number = 2});
    assert_non_null(strstr(rig_take(&r, 3, CLUSTER_REFUSED)->refused.failure.message,
                           "node number 2 was declared lost, its lease ran out: join again"));
    assert_true(rig_node(&r, 4, "box-2") == 3);
    rig_fini(&r);
}

static const struct failure *ask_feasible(struct rig *r, uint64_t link,
                                          const struct cluster_feasible *ask)
{
    struct cluster_msg msg = {.type = CLUSTER_FEASIBLE, .feasible = *ask};
    rig_cluster(r, link, &msg);
    return &rig_take(r, link, CLUSTER_FEASIBLE_ANSWER)->feasible_answer.failure;
}

static void test_feasible_looks_at_all_nodes(void **state)
{
    struct rig r;
    rig_init(&r);
    struct cluster_amount big[] = {{"CPU", 16 * RESOURCE_UNIT, 0}, {"x", 2 * RESOURCE_UNIT, 0}};
    struct cluster_join join = {
        .name = "box-2", .labels = "rack=7", .amounts = big, .amount_count = 2};
    struct cluster_feasible ask = {.amounts = big, .amount_count = 2};
    rig_node(&r, 1, "box-1");
    assert_string_equal(ask_feasible(&r, 1, &ask)->message,
                        "No node satisfies CPU 16, x 2 (box-1 has CPU 8 and no x). Ask for less, "
                        "or add such a node.");
    rig_join_as(&r, 2, &join);
    assert_int_equal(ask_feasible(&r, 1, &ask)->code, 0);
    ask.node = "box-1";
    assert_int_equal(ask_feasible(&r, 1, &ask)->code, CODE_IMPOSSIBLE);
    ask.soft = true;
    assert_int_equal(ask_feasible(&r, 1, &ask)->code, 0);
    ask = (struct cluster_feasible){.labels = "rack=7"};
    assert_int_equal(ask_feasible(&r, 1, &ask)->code, 0);
    ask.labels = "rack=8";
    assert_int_equal(ask_feasible(&r, 1, &ask)->code, CODE_IMPOSSIBLE);

    /* One that leaves counts for itself alone. */
    ask = (struct cluster_feasible){.amounts = big, .amount_count = 2};
    struct cluster_msg drain = {.type = CLUSTER_DRAIN};
    rig_cluster(&r, 2, &drain);
    assert_int_equal(ask_feasible(&r, 2, &ask)->code, 0);
    assert_non_null(
        strstr(ask_feasible(&r, 1, &ask)->message, "box-2 accepts no tasks from other nodes"));

    struct cluster_amount odd = {"not a name", 1, 0};
    ask = (struct cluster_feasible){.amounts = &odd, .amount_count = 1};
    assert_int_equal(ask_feasible(&r, 1, &ask)->code, CODE_IMPOSSIBLE);
    rig_fini(&r);
}

static void test_feasible_of_the_only_node(void **state)
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
    assert_non_null(
        strstr(answer->failure.message, "No node satisfies GPU 1 (box-1 has none). Ask for less"));

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

/* What the journal could not read again never enters it: the head would not start any more. */
static void test_a_join_that_the_journal_could_not_read_is_refused(void **state)
{
    static const char *const names[] = {"a=b", "a b", "9lives", "CPU"};
    struct rig r;
    rig_init(&r);
    for (uint64_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct cluster_amount amounts[] = {{"CPU", 10000, 10000}, {names[i], 5, 5}};
        struct cluster_join join = {
            .name = "box-1", .number = 0, .amounts = amounts, .amount_count = 2};
        rig_join_as(&r, i + 1, &join);
        const struct cluster_refused *refused = &rig_take(&r, i + 1, CLUSTER_REFUSED)->refused;
        assert_int_equal(refused->failure.code, CODE_REFUSED);
        assert_non_null(strstr(refused->failure.message, "this node cannot join: "));
        assert_int_equal(r.record_count, 0);
    }
    rig_restart(&r, NS_PER_S);
    assert_int_equal(rig_node(&r, 9, "box-1"), 1);
    rig_fini(&r);
}

/* The newest number is the first that is forgotten, and the head starts again. */
static void test_a_forgotten_number_is_never_used_again(void **state)
{
    struct rig r;
    rig_init(&r);
    uint32_t last = HEAD_NODES_ENDED_MAX + 2;
    for (uint32_t i = 1; i <= last; i++) {
        char name[32];
        snprintf(name, sizeof name, "box-%u", i);
        assert_int_equal(rig_node(&r, i, name), i);
        rig_forget(&r);
    }
    for (uint32_t i = last; i >= 1; i--) {
        rig_cluster(&r, i, &(struct cluster_msg){.type = CLUSTER_LEAVE});
        rig_forget(&r);
    }
    rig_pass(&r, 2 * NS_PER_S, 1, 0);
    assert_null(head_core_node(r.core, last));
    rig_restart(&r, NS_PER_S);
    assert_null(head_core_node(r.core, last));
    assert_int_equal(rig_node(&r, 1, "box-new"), last + 1);
    rig_fini(&r);
}

static size_t left_out;

static void count_bad(void *arg, const struct head_record *record, const char *why)
{
    left_out++;
}

static void test_rows_that_contradict_each_other_cost_only_themselves(void **state)
{
    const struct head_config config = {.cluster = "default", .address = "10.0.0.5:7420"};
    struct head_core *core = head_core_new(&config);
    const struct head_record records[] = {
        {.kind = HEAD_RECORD_NODE,
         .node = {.number = 1, .state = HEAD_NODE_ALIVE, .name = "box-1"}},
        {.kind = HEAD_RECORD_NODE,
         .node = {.number = 2, .state = HEAD_NODE_ALIVE, .name = "box-1"}},
        {.kind = HEAD_RECORD_JOB, .job = {.number = 1, .node = 1, .key = 1, .state = 1}},
        {.kind = HEAD_RECORD_JOB, .job = {.number = 2, .node = 1, .key = 1, .state = 2}},
        {.kind = HEAD_RECORD_JOB, .job = {.number = 3, .node = 7, .key = 1, .state = 1}},
        {.kind = HEAD_RECORD_JOB, .job = {.number = 4, .node = 1, .key = 9, .state = 99}},
        {.kind = HEAD_RECORD_NUMBERS, .node_last = 8, .job_last = 20},
    };
    left_out = 0;
    head_core_restore(core, records, ARRAY_SIZE(records), count_bad, NULL);
    head_core_check(core);
    assert_int_equal(left_out, 4);
    assert_non_null(head_core_node(core, 1));
    assert_null(head_core_node(core, 2));
    assert_int_equal(head_core_job(core, 1)->state, HEAD_JOB_RUNNING);
    assert_null(head_core_job(core, 2));
    assert_int_equal(head_core_job(core, 3)->state, HEAD_JOB_LOST); /* its node is not there */
    assert_null(head_core_job(core, 4));
    head_core_free(core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join_waits_for_the_disk),
        cmocka_unit_test(test_numbers_are_never_used_again),
        cmocka_unit_test(test_lost_joined_answer_gives_the_same_number),
        cmocka_unit_test(test_taken_name_is_refused_with_advice),
        cmocka_unit_test(test_restarted_raylet_takes_its_own_place_at_once),
        cmocka_unit_test(test_only_its_own_directory_comes_back_as_a_node),
        cmocka_unit_test(test_lease_runs_out_after_nine_seconds),
        cmocka_unit_test(test_refused_port_is_dead_within_a_second),
        cmocka_unit_test(test_renewal_between_probes_saves_it),
        cmocka_unit_test(test_stalled_head_kills_nobody),
        cmocka_unit_test(test_started_head_waits_one_lease),
        cmocka_unit_test(test_one_way_cut_ends_the_lease_on_both_sides),
        cmocka_unit_test(test_only_node_keys_join),
        cmocka_unit_test(test_view_is_sent_as_changes),
        cmocka_unit_test(test_overtaken_renewal_changes_nothing),
        cmocka_unit_test(test_view_texts_are_said_once),
        cmocka_unit_test(test_a_renewal_without_news_is_not_told),
        cmocka_unit_test(test_what_matters_is_told_soon),
        cmocka_unit_test(test_a_whole_view_comes_in_parts),
        cmocka_unit_test(test_one_that_leaves_or_is_private_is_closed),
        cmocka_unit_test(test_a_lost_node_stays_lost),
        cmocka_unit_test(test_feasible_looks_at_all_nodes),
        cmocka_unit_test(test_feasible_of_the_only_node),
        cmocka_unit_test(test_a_join_that_the_journal_could_not_read_is_refused),
        cmocka_unit_test(test_a_forgotten_number_is_never_used_again),
        cmocka_unit_test(test_rows_that_contradict_each_other_cost_only_themselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
