/* At which address others are told that a node is, and what is said when nobody reaches it there.
 */
#include "common/clock.h"
#include "common/text.h"
#include "tests/unit/head/rig.h"
#include "tests/unit/unit.h"

/* A node says JOIN from `seen`; the address that it hears with JOINED. */
static const char *join_from(struct rig *r, uint64_t link, const char *seen,
                             const struct cluster_join *join)
{
    struct cluster_amount amounts[] = {{"CPU", 80000, 80000}, {"memory", 10000, 10000}};
    struct cluster_msg msg = {.type = CLUSTER_JOIN, .join = *join};
    struct cluster_join *said = &msg.join;
    said->protocol = CLUSTER_PROTOCOL_VERSION;
    said->host = said->version = said->labels = "";
    said->public_key = "0123456789012345678901234567890123456789";
    said->pid = (uint32_t)link;
    said->amounts = amounts;
    said->amount_count = ARRAY_SIZE(amounts);
    rig_link_up(r, link);
    rig_event(r, &(struct head_event){
                     .kind = HEAD_EVENT_MESSAGE, .link = link, .cluster = &msg, .seen = seen});
    return rig_take(r, link, CLUSTER_JOINED)->joined.address;
}

static void reached(struct rig *r, uint32_t node, enum head_reach reach)
{
    rig_event(r, &(struct head_event){.kind = HEAD_EVENT_REACHED, .node = node, .reach = reach});
}

static void renew_from(struct rig *r, uint64_t link, const char *seen)
{
    struct cluster_msg msg = {.type = CLUSTER_RENEW, .renew = {.sent_ns = r->time.boot_ns}};
    rig_event(r, &(struct head_event){
                     .kind = HEAD_EVENT_DATAGRAM, .link = link, .cluster = &msg, .seen = seen});
}

/* The head is at 10.0.0.5:7420. */
static void test_address_is_what_the_head_sees(void **state)
{
    static const struct {
        const char *seen, *said;
        bool advertised;
        const char *told;
    } rows[] = {
        {"10.0.0.6", "10.0.0.6:7421", false, "10.0.0.6:7421"},
        {"10.0.0.7", "172.17.0.2:7431", false, "10.0.0.7:7431"}, /* from inside a container */
        {"127.0.0.1", "127.0.0.1:7421", false, "10.0.0.5:7421"}, /* the head's own machine */
        {"::1", "[::1]:7422", false, "10.0.0.5:7422"},           /* likewise */
        {"2001:db8::7", "10.0.0.7:7421", false, "[2001:db8::7]:7421"},
        {"127.0.0.1", "192.168.1.4:7500", true, "192.168.1.4:7500"}, /* the user knows better */
        {"10.0.0.8", "box-8.example:7421", true, "box-8.example:7421"},
        {"10.0.0.8", "127.0.0.1:7421", true, "127.0.0.1:7421"},
        {"fe80::1%eth0", "10.0.0.9:7421", false, "10.0.0.9:7421"}, /* of use on one link only */
        {"", "10.0.0.9:7424", false, "10.0.0.9:7424"},
        {"10.0.0.9", "nonsense", false, "nonsense"},
    };
    struct rig r;
    rig_init(&r);
    for (uint64_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char name[16];
        snprintf(name, sizeof name, "box-%u", (unsigned)i);
        assert_string_equal(join_from(&r, i + 1, rows[i].seen,
                                      &(struct cluster_join){.name = name,
                                                             .address = rows[i].said,
                                                             .advertised = rows[i].advertised}),
                            rows[i].told);
    }
    rig_fini(&r);
}

static const char *note_of(struct rig *r, uint64_t number)
{
    static uint64_t request = 100;
    char id[16];
    snprintf(id, sizeof id, "%u", (unsigned)number);
    rig_ask(r, 1, ++request, &(struct state_query){.kind = STATE_NODES, .id = id});
    const struct state_reply *reply = &rig_take_local(r, 1, LOCAL_REPLY)->reply.reply;
    assert_int_equal(reply->node_count, 1);
    return reply->nodes[0].note;
}

static void test_warning_comes_and_goes(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_tool(&r, 1);
    join_from(&r, 1, "10.0.0.6", &(struct cluster_join){.name = "a", .address = "10.0.0.6:7421"});
    assert_true(rig_has_effect(&r, HEAD_EFFECT_REACH, 1));
    reached(&r, 1, HEAD_REACH_NODE);
    assert_string_equal(rig_take(&r, 1, CLUSTER_REACH)->reach.warning, "");
    assert_string_equal(note_of(&r, 1), "");

    join_from(&r, 2, "10.0.0.7", &(struct cluster_join){.name = "b", .address = "10.0.0.7:7421"});
    assert_true(rig_has_effect(&r, HEAD_EFFECT_REACH, 2));
    rig_forget(&r);
    reached(&r, 2, HEAD_REACH_SILENT);
    const char *words = "cannot be reached at 10.0.0.7:7421: nothing answers there";
    assert_string_equal(rig_take(&r, 2, CLUSTER_REACH)->reach.warning, words);
    assert_string_equal(rig_take(&r, 1, CLUSTER_VIEW)->view.nodes[0].warning, words);
    assert_string_equal(note_of(&r, 2), words);

    /* It is tried again, less and less often; what is no news is not told. */
    rig_pass(&r, 2 * NS_PER_S, 1, 2);
    assert_true(rig_has_effect(&r, HEAD_EFFECT_REACH, 2));
    reached(&r, 2, HEAD_REACH_SILENT);
    assert_false(rig_has(&r, 2, CLUSTER_REACH));
    rig_pass(&r, NS_PER_S, 1, 2);
    assert_false(rig_has_effect(&r, HEAD_EFFECT_REACH, 2));
    rig_pass(&r, 40 * NS_PER_S, 1, 2);
    assert_true(rig_has_effect(&r, HEAD_EFFECT_REACH, 2));
    reached(&r, 2, HEAD_REACH_REFUSED);
    assert_non_null(strstr(note_of(&r, 2), "nothing listens there"));
    rig_pass(&r, 40 * NS_PER_S, 1, 2);
    assert_true(rig_has_effect(&r, HEAD_EFFECT_REACH, 2));
    rig_forget(&r);
    reached(&r, 2, HEAD_REACH_NODE);
    assert_string_equal(rig_take(&r, 2, CLUSTER_REACH)->reach.warning, "");
    assert_string_equal(rig_take(&r, 1, CLUSTER_VIEW)->view.nodes[0].warning, "");
    assert_string_equal(note_of(&r, 2), "");
    rig_pass(&r, 60 * NS_PER_S, 1, 2);
    assert_false(rig_has_effect(&r, HEAD_EFFECT_REACH, 2));
    rig_fini(&r);
}

/* At 127.0.0.1 each machine finds itself: nobody need try. */
static void test_loopback_is_for_one_machine(void **state)
{
    struct rig r;
    rig_init(&r);
    join_from(&r, 1, "127.0.0.1",
              &(struct cluster_join){.name = "a", .address = "127.0.0.1:7421", .advertised = true});
    assert_false(rig_has_effect(&r, HEAD_EFFECT_REACH, 1));
    assert_non_null(strstr(rig_take(&r, 1, CLUSTER_REACH)->reach.warning, "from other machines"));
    rig_fini(&r);
}

/* Where the node was never found, a refused connection is no sign of its death. */
static void test_refusal_where_it_never_was(void **state)
{
    struct rig r;
    rig_init(&r);
    for (uint64_t link = 1; link <= 2; link++) {
        join_from(&r, link, "10.0.0.6",
                  &(struct cluster_join){.name = link == 1 ? "a" : "b", .address = "x:7421"});
        reached(&r, (uint32_t)link, link == 1 ? HEAD_REACH_REFUSED : HEAD_REACH_NODE);
    }
    rig_link_down(&r, 1);
    rig_link_down(&r, 2);
    for (int i = 0; i < 4; i++) {
        rig_pass(&r, NS_PER_S, 1, 0);
        rig_probed(&r, 1, HEAD_PROBE_REFUSED);
        rig_probed(&r, 2, HEAD_PROBE_REFUSED);
    }
    assert_int_equal(head_core_node(r.core, 1)->state, HEAD_NODE_ALIVE);
    assert_int_equal(head_core_node(r.core, 2)->state, HEAD_NODE_LOST);
    rig_pass(&r, 10 * NS_PER_S, 1, 0);
    assert_int_equal(head_core_node(r.core, 1)->state, HEAD_NODE_LOST); /* its lease ran out */
    rig_fini(&r);
}

/* Its machine got another address, or the head did. */
static void test_moves(void **state)
{
    struct rig r;
    rig_init(&r);
    join_from(&r, 1, "10.0.0.6", &(struct cluster_join){.name = "a", .address = "10.0.0.6:7421"});
    join_from(&r, 2, "10.0.0.7", &(struct cluster_join){.name = "b", .address = "10.0.0.7:7421"});
    reached(&r, 1, HEAD_REACH_NODE);
    reached(&r, 2, HEAD_REACH_NODE);
    rig_forget(&r);
    renew_from(&r, 2, "10.0.0.77"); /* another connection of the same session */
    const struct cluster_view_node *row = &rig_take(&r, 1, CLUSTER_VIEW)->view.nodes[0];
    assert_string_equal(row->address, "10.0.0.77:7421");
    assert_true(rig_has_effect(&r, HEAD_EFFECT_REACH, 2));
    reached(&r, 2, HEAD_REACH_NODE);

    rig_forget(&r);
    rig_link_down(&r, 2);
    const char *address =
        join_from(&r, 3, "127.0.0.1",
                  &(struct cluster_join){.name = "b", .number = 2, .address = "10.0.0.7:7421"});
    assert_string_equal(address, "10.0.0.5:7421");
    row = &rig_take(&r, 1, CLUSTER_VIEW)->view.nodes[0];
    assert_string_equal(row->address, "10.0.0.5:7421");
    rig_restart(&r, NS_PER_S); /* it is in the journal */
    assert_string_equal(head_core_node(r.core, 2)->address, "10.0.0.5:7421");
    rig_fini(&r);
}

/* The answer to a question about its former address says nothing about the new one. */
static void test_late_answer(void **state)
{
    struct rig r;
    rig_init(&r);
    join_from(&r, 1, "10.0.0.6", &(struct cluster_join){.name = "a", .address = "10.0.0.6:7421"});
    assert_true(rig_has_effect(&r, HEAD_EFFECT_REACH, 1));
    renew_from(&r, 1, "10.0.0.66");
    assert_false(rig_has_effect(&r, HEAD_EFFECT_REACH, 1)); /* one at a time */
    reached(&r, 1, HEAD_REACH_SILENT);
    assert_false(rig_has(&r, 1, CLUSTER_REACH));
    assert_true(rig_has_effect(&r, HEAD_EFFECT_REACH, 1));
    reached(&r, 1, HEAD_REACH_UNASKED);
    assert_false(rig_has(&r, 1, CLUSTER_REACH));
    rig_pass(&r, 2 * NS_PER_S, 1, 0);
    assert_true(rig_has_effect(&r, HEAD_EFFECT_REACH, 1));
    reached(&r, 1, HEAD_REACH_NODE);
    assert_string_equal(rig_take(&r, 1, CLUSTER_REACH)->reach.address, "10.0.0.66:7421");
    reached(&r, 1, HEAD_REACH_SILENT); /* nobody asked */
    reached(&r, 9, HEAD_REACH_SILENT);
    assert_false(rig_has(&r, 1, CLUSTER_REACH));
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_is_what_the_head_sees),
        cmocka_unit_test(test_warning_comes_and_goes),
        cmocka_unit_test(test_loopback_is_for_one_machine),
        cmocka_unit_test(test_refusal_where_it_never_was),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_late_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
