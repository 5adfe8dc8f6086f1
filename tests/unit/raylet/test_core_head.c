/* What the raylet's core says to the head unasked. */
#include "tests/unit/raylet/scene.h"

struct renewals {
    struct scene *scene;
    uint32_t count, joins;
    uint64_t at_ns[64];
    int64_t free_cpus[64];
    uint64_t answered_ns; /* of the last one */
};

static void keep_renewal(void *arg, const struct cluster_msg *m, bool datagram)
{
    struct renewals *kept = arg;

    kept->joins += m->type == CLUSTER_JOIN;
    if (m->type == CLUSTER_RENEW && kept->count < ARRAY_SIZE(kept->at_ns)) {
        kept->at_ns[kept->count] = kept->scene->rig.now_ns;
        assert_string_equal(m->renew.amounts[0].name, "CPU");
        kept->answered_ns = m->renew.answered_ns;
        kept->free_cpus[kept->count++] = m->renew.amounts[0].available_units / RESOURCE_UNIT;
    }
}

static void begin_renewals(struct scene *s, struct renewals *ret)
{
    *ret = (struct renewals){.scene = s};
    rig_settle(&s->rig);
    s->rig.hooks.on_head = keep_renewal;
    s->rig.hooks.arg = ret;
}

static void it_renews_each_second(void **state)
{
    struct scene *s = begin();
    struct renewals kept;

    begin_renewals(s, &kept);
    rig_pass(&s->rig, 10 * NS_PER_S);
    assert_in_range(kept.count, 9, 11);
    end(s);
}

static void a_node_that_became_full_or_free_says_so_at_once(void **state)
{
    struct scene *s = begin();
    struct renewals kept;

    begin_renewals(s, &kept);
    rig_pass(&s->rig, 1300 * NS_PER_MS);
    uint32_t before = kept.count;
    submit(s, 1);
    rig_settle(&s->rig);
    assert_int_equal(kept.count, before); /* one of two: it can wait */
    submit(s, 2);
    rig_settle(&s->rig);
    assert_int_equal(kept.count, before + 1);
    assert_int_equal(kept.free_cpus[before], 0);

    /* The next one not before 100 ms have gone by. */
    (void)rig_run_all(&s->rig);
    rig_settle(&s->rig);
    assert_int_equal(kept.count, before + 1);
    rig_pass(&s->rig, 100 * NS_PER_MS);
    assert_int_equal(kept.count, before + 2);
    assert_int_equal(kept.free_cpus[before + 1], 2);
    assert_int_equal(kept.at_ns[before + 1] - kept.at_ns[before], 100 * NS_PER_MS);
    rig_pass(&s->rig, NS_PER_S); /* and then as ever */
    assert_int_equal(kept.count, before + 3);
    end(s);
}

/* The head's disk is slow, or a packet of what stands before JOINED is lost again and again. */
static void it_renews_while_its_join_is_not_answered(void **state)
{
    struct scene *s = begin();
    struct renewals kept;

    begin_renewals(s, &kept);
    rig_head(&s->rig, false);
    rig_pass(&s->rig, 5 * NS_PER_S);
    assert_int_equal(kept.count, 0);
    rig_head(&s->rig, true);
    rig_settle(&s->rig);
    uint64_t joins_ns = s->rig.now_ns;
    rig_pass(&s->rig, 10 * NS_PER_S);
    assert_int_equal(kept.joins, 1);
    assert_in_range(kept.count, 9, 11);
    assert_int_equal(kept.at_ns[0] - joins_ns, NS_PER_S); /* the JOIN is one, too */

    /* A node's lease never runs from later than the head's count of it. */
    struct cluster_msg joined = {
        .type = CLUSTER_JOINED,
        .joined = {.number = s->rig.node, .lease_ns = 9 * NS_PER_S, .cluster = "test"}};
    rig_head_says(&s->rig, &joined);
    rig_settle(&s->rig);
    assert_int_equal(kept.answered_ns, joins_ns);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_renews_each_second),
        cmocka_unit_test(it_renews_while_its_join_is_not_answered),
        cmocka_unit_test(a_node_that_became_full_or_free_says_so_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
