#include "tests/unit/sched/nodes.h"

#define SEEDS 50

/* ---- who may ---- */

static void test_a_node_has_three_names(void **state)
{
    struct nodes *n = *state;
    const struct sched_node *box = nodes_add(n, 1, 1);
    assert_true(sched_is_named(box, "box-1"));
    assert_true(sched_is_named(box, "1"));
    assert_true(sched_is_named(box, "10.0.0.1:7421"));
    assert_false(sched_is_named(box, "box"));
    assert_false(sched_is_named(box, "box-11"));
    assert_false(sched_is_named(box, "10.0.0.1"));
    assert_false(sched_is_named(box, ""));
}

static void test_labels(void **state)
{
    assert_true(sched_has_labels("", ""));
    assert_true(sched_has_labels("disk=ssd,zone=b", ""));
    assert_true(sched_has_labels("disk=ssd,zone=b", "zone=b"));
    assert_true(sched_has_labels("disk=ssd,zone=b", "zone=b,disk=ssd"));
    assert_true(sched_has_labels("disk=ssd", ",disk=ssd,"));
    assert_false(sched_has_labels("disk=ssd,zone=b", "zone=bb"));
    assert_false(sched_has_labels("disk=ssd,zone=bb", "zone=b"));
    assert_false(sched_has_labels("disk=ssd", "disk"));
    assert_false(sched_has_labels("", "disk=ssd"));
    assert_false(sched_has_labels("disk=ssd", "disk=ssd,zone=b"));
}

static void test_verdicts(void **state)
{
    struct nodes *n = *state;
    struct sched_node *box = nodes_add(n, 2, 0);
    box->labels = "disk=ssd";
    assert_int_equal(sched_judge(box, &n->request), SCHED_FITS);
    n->request.node = "box-2";
    assert_int_equal(sched_judge(box, &n->request), SCHED_NOT_NAMED);
    n->request.node = "box-1";
    n->request.labels = "disk=hdd";
    assert_int_equal(sched_judge(box, &n->request), SCHED_NOT_LABELLED);
    n->request.soft = true;
    n->request.node = "box-2";
    assert_int_equal(sched_judge(box, &n->request), SCHED_FITS);
    n->asked = nodes_set(RESOURCE_CPU, 2.0001);
    assert_int_equal(sched_judge(box, &n->request), SCHED_TOO_SMALL);
    n->asked = nodes_set(RESOURCE_CPU, 2);
    box->closed = true;
    assert_int_equal(sched_judge(box, &n->request), SCHED_CLOSED);
    box->self = true; /* its own tasks it may run */
    assert_int_equal(sched_judge(box, &n->request), SCHED_FITS);
}

static void test_candidates(void **state)
{
    struct nodes *n = *state;
    uint32_t found[NODES_MAX];
    nodes_add(n, 1, 1);
    nodes_add(n, 4, 4)->labels = "disk=ssd";
    nodes_add(n, 4, 4)->closed = true;
    nodes_add(n, 8, 8);
    n->asked = nodes_set(RESOURCE_CPU, 2);
    assert_int_equal(sched_candidates(n->rows, n->count, &n->request, found), 2);
    assert_int_equal(found[0], 1);
    assert_int_equal(found[1], 3);
    n->request.labels = "disk=ssd";
    assert_int_equal(sched_candidates(n->rows, n->count, &n->request, found), 1);
    assert_int_equal(found[0], 1);
    n->request.labels = "disk=hdd";
    assert_int_equal(sched_candidates(n->rows, n->count, &n->request, found), 0);
    assert_int_equal(sched_candidates(n->rows, 0, &n->request, found), 0);
}

static void test_a_soft_wish_is_granted_where_it_can_be(void **state)
{
    struct nodes *n = *state;
    uint32_t found[NODES_MAX];
    nodes_add(n, 1, 1);
    nodes_add(n, 1, 0);
    nodes_add(n, 1, 1);
    n->request.soft = true;
    n->request.node = "box-2";
    assert_int_equal(sched_candidates(n->rows, n->count, &n->request, found), 1);
    assert_int_equal(found[0], 1);
    n->rows[1].closed = true;
    assert_int_equal(sched_candidates(n->rows, n->count, &n->request, found), 2);
    assert_int_equal(found[0], 0);
    assert_int_equal(found[1], 2);
    n->request.node = "box-9";
    assert_int_equal(sched_candidates(n->rows, n->count, &n->request, found), 2);
}

/* ---- how full ---- */

static void test_room(void **state)
{
    struct nodes *n = *state;
    struct sched_node *box = nodes_add(n, 8, 5);
    struct resource_set none = {0};
    assert_int_equal(sched_room(box, &n->asked), 5);
    n->asked = nodes_set(RESOURCE_CPU, 2);
    assert_int_equal(sched_room(box, &n->asked), 2);
    box->sent = 1;
    assert_int_equal(sched_room(box, &n->asked), 1);
    box->sent = 7;
    assert_int_equal(sched_room(box, &n->asked), 0);
    assert_int_equal(sched_room(box, &none), UINT32_MAX);
    box->sent = 0;
    nodes_put(&n->asked, RESOURCE_GPU, 1);
    assert_int_equal(sched_room(box, &n->asked), 0);
    nodes_put(&n->available[0], RESOURCE_GPU, 1);
    assert_int_equal(sched_room(box, &n->asked), 1);
    n->available[0].amounts[0].units = -30000; /* a balance that is to be repaid */
    assert_int_equal(sched_room(box, &n->asked), 0);
}

static void test_load(void **state)
{
    struct nodes *n = *state;
    struct sched_node *box = nodes_add(n, 4, 4);
    struct resource_set none = {0};
    assert_int_equal(sched_load(box, &n->asked), 0);
    box->sent = 1;
    assert_int_equal(sched_load(box, &n->asked), 2500);
    box->waiting = 2;
    assert_int_equal(sched_load(box, &n->asked), 7500);
    box->waiting = box->sent = 0;
    n->available[0] = nodes_set(RESOURCE_CPU, 0);
    assert_int_equal(sched_load(box, &n->asked), 10000);
    n->available[0] = nodes_set(RESOURCE_CPU, 2);
    assert_int_equal(sched_load(box, &n->asked), 5000);
    nodes_put(&n->total[0], RESOURCE_MEMORY, 1000);
    nodes_put(&n->available[0], RESOURCE_MEMORY, 100);
    assert_int_equal(sched_load(box, &n->asked), 9000); /* the scarcest */
    /* Tasks that ask for nothing are counted. */
    uint64_t idle = sched_load(box, &none);
    box->sent = 1;
    assert_true(sched_load(box, &none) > idle);
    box->sent = UINT64_MAX;
    assert_true(sched_load(box, &n->asked) <= INT64_MAX);
}

/* ---- SPREAD ---- */

static void test_spread_is_even(void **state)
{
    struct nodes *n = *state;
    uint32_t found[NODES_MAX];
    for (int i = 0; i < 3; i++) {
        nodes_add(n, 2, 2);
    }
    size_t count = sched_candidates(n->rows, n->count, &n->request, found);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rng rng;
        rng_seed(&rng, seed);
        for (size_t i = 0; i < 3; i++) {
            n->rows[i].assigned = 0;
        }
        for (int i = 0; i < 1000; i++) {
            n->rows[sched_spread(n->rows, found, count, &rng)].assigned++;
        }
        for (size_t i = 0; i < 3; i++) {
            assert_in_range(n->rows[i].assigned, 333, 334);
        }
    }
}

/* Many callers with one task each: the generator spreads what counts cannot. */
static void test_spread_of_many_callers(void **state)
{
    struct nodes *n = *state;
    const uint32_t found[] = {0, 1, 2, 3};
    unsigned got[4] = {0};
    struct rng rng;
    rng_seed(&rng, 7);
    for (int i = 0; i < 4; i++) {
        nodes_add(n, 2, 2);
    }
    for (int i = 0; i < 4000; i++) {
        got[sched_spread(n->rows, found, 4, &rng)]++;
    }
    for (int i = 0; i < 4; i++) {
        assert_in_range(got[i], 850, 1150);
    }
    assert_int_equal(sched_spread(n->rows, found, 0, &rng), -1);
}

static void test_spread_fills_up_who_has_least(void **state)
{
    struct nodes *n = *state;
    const uint32_t found[] = {0, 2};
    struct rng rng;
    rng_seed(&rng, 3);
    nodes_add(n, 2, 2)->assigned = 10;
    nodes_add(n, 2, 2)->assigned = 0; /* no candidate */
    nodes_add(n, 2, 2)->assigned = 7;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sched_spread(n->rows, found, 2, &rng), 2);
        n->rows[2].assigned++;
    }
}

/* ---- LOAD_BALANCED ---- */

static void random_nodes(struct nodes *n, struct rng *rng)
{
    n->count = 0;
    size_t count = 1 + rng_below(rng, NODES_MAX);
    size_t self = rng_below(rng, count + 1);
    for (size_t i = 0; i < count; i++) {
        uint64_t cpus = rng_below(rng, 9);
        struct sched_node *box = nodes_add(n, (double)cpus, (double)rng_below(rng, cpus + 1));
        box->waiting = rng_below(rng, 4) == 0 ? rng_below(rng, 20) : 0;
        box->sent = rng_below(rng, 3);
        box->closed = rng_chance(rng, 0.2);
        box->self = i == self;
    }
    n->asked = nodes_set(RESOURCE_CPU, (double)rng_below(rng, 8) / 2);
    if (n->asked.amounts[0].units == 0) {
        n->asked.count = 0;
    }
}

static void test_least_loaded_has_room(void **state)
{
    struct nodes *n = *state;
    uint32_t found[NODES_MAX];
    for (uint64_t seed = 1; seed <= 40 * SEEDS; seed++) {
        struct rng rng;
        rng_seed(&rng, seed);
        random_nodes(n, &rng);
        size_t count = sched_candidates(n->rows, n->count, &n->request, found);
        int at = sched_least_loaded(n->rows, found, count, &n->asked, &rng);
        uint64_t least = UINT64_MAX;
        bool is_self_least = false;
        for (size_t i = 0; i < count; i++) {
            const struct sched_node *box = &n->rows[found[i]];
            if (sched_room(box, &n->asked) != 0 && sched_load(box, &n->asked) <= least) {
                uint64_t load = sched_load(box, &n->asked);
                is_self_least = box->self || (is_self_least && load == least);
                least = load;
            }
        }
        assert_int_equal(at < 0, least == UINT64_MAX);
        if (at >= 0) {
            assert_true(sched_room(&n->rows[at], &n->asked) > 0);
            assert_true(sched_load(&n->rows[at], &n->asked) == least);
            assert_true(!n->rows[at].closed || n->rows[at].self);
            assert_int_equal(n->rows[at].self, is_self_least);
        }
    }
}

/* Each choice counts as sent; so nodes fill in proportion, and are never over-filled. */
static void test_load_balanced_fills_in_proportion(void **state)
{
    struct nodes *n = *state;
    const uint32_t found[] = {0, 1, 2};
    struct rng rng;
    rng_seed(&rng, 11);
    nodes_add(n, 2, 2);
    nodes_add(n, 4, 4);
    nodes_add(n, 8, 8);
    for (int i = 0; i < 7; i++) {
        n->rows[sched_least_loaded(n->rows, found, 3, &n->asked, &rng)].sent++;
    }
    assert_int_equal(n->rows[0].sent, 1);
    assert_int_equal(n->rows[1].sent, 2);
    assert_int_equal(n->rows[2].sent, 4);
    for (int i = 0; i < 7; i++) {
        n->rows[sched_least_loaded(n->rows, found, 3, &n->asked, &rng)].sent++;
    }
    assert_int_equal(sched_least_loaded(n->rows, found, 3, &n->asked, &rng), -1);
    assert_int_equal(n->rows[0].sent, 2);
    assert_int_equal(n->rows[2].sent, 8);
}

static void test_ties_go_to_all(void **state)
{
    struct nodes *n = *state;
    const uint32_t found[] = {0, 1, 2};
    unsigned got[3] = {0};
    struct rng rng;
    rng_seed(&rng, 5);
    for (int i = 0; i < 3; i++) {
        nodes_add(n, 2, 2);
    }
    for (int i = 0; i < 3000; i++) {
        got[sched_least_loaded(n->rows, found, 3, &n->asked, &rng)]++;
    }
    for (int i = 0; i < 3; i++) {
        assert_in_range(got[i], 850, 1150);
    }
}

/* ---- DEFAULT: whom to ask ---- */

static void test_ask_is_bounded_and_covers(void **state)
{
    struct nodes *n = *state;
    uint32_t found[NODES_MAX], wanted[NODES_MAX];
    for (uint64_t seed = 1; seed <= 40 * SEEDS; seed++) {
        struct rng rng;
        rng_seed(&rng, seed);
        random_nodes(n, &rng);
        uint64_t waiting = rng_below(&rng, 60), covered = 0;
        uint32_t most = (uint32_t)rng_below(&rng, 9);
        size_t count = sched_candidates(n->rows, n->count, &n->request, found);
        size_t askable = 0, asked = 0, asked_full = 0, left_with_room = 0;
        sched_ask(n->rows, found, count, &n->asked, waiting, most, &rng, wanted);
        for (size_t i = 0; i < count; i++) {
            const struct sched_node *box = &n->rows[found[i]];
            uint32_t room = sched_room(box, &n->asked);
            askable += !box->self && !box->closed;
            if (wanted[i] != 0) {
                assert_int_equal(wanted[i], waiting);
                assert_false(box->self || box->closed);
                asked++;
                asked_full += room == 0;
                covered += MIN_OF(room, waiting);
            } else if (!box->self && !box->closed) {
                left_with_room += room != 0;
            }
        }
        assert_true(asked <= most);
        if (waiting == 0) {
            assert_int_equal(asked, 0);
            continue;
        }
        assert_true(asked >= MIN_OF(MIN_OF(askable, (size_t)most), (size_t)2));
        assert_true(covered >= 2 * waiting || asked == MIN_OF(askable, (size_t)most));
        assert_true(asked_full == 0 || left_with_room == 0); /* those with room first */
    }
}

static void test_ask_does_not_herd(void **state)
{
    struct nodes *n = *state;
    uint32_t found[NODES_MAX], wanted[NODES_MAX];
    unsigned first[4] = {0};
    for (int i = 0; i < 4; i++) {
        nodes_add(n, 8, 8);
    }
    size_t count = sched_candidates(n->rows, n->count, &n->request, found);
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        struct rng rng;
        rng_seed(&rng, seed);
        sched_ask(n->rows, found, count, &n->asked, 1, 1, &rng, wanted);
        for (size_t i = 0; i < 4; i++) {
            first[i] += wanted[i];
        }
    }
    for (size_t i = 0; i < 3; i++) {
        assert_in_range(first[i], 250, 420);
    }
}

static void test_same_seed_same_choice(void **state)
{
    struct nodes *n = *state;
    uint32_t found[NODES_MAX], one[NODES_MAX], other[NODES_MAX];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rng rng, again;
        rng_seed(&rng, seed);
        random_nodes(n, &rng);
        again = rng;
        size_t count = sched_candidates(n->rows, n->count, &n->request, found);
        sched_ask(n->rows, found, count, &n->asked, 40, 4, &rng, one);
        sched_ask(n->rows, found, count, &n->asked, 40, 4, &again, other);
        assert_memory_equal(one, other, count * sizeof one[0]);
        assert_int_equal(sched_least_loaded(n->rows, found, count, &n->asked, &rng),
                         sched_least_loaded(n->rows, found, count, &n->asked, &again));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NODES_TEST(test_a_node_has_three_names),
        cmocka_unit_test(test_labels),
        NODES_TEST(test_verdicts),
        NODES_TEST(test_candidates),
        NODES_TEST(test_a_soft_wish_is_granted_where_it_can_be),
        NODES_TEST(test_room),
        NODES_TEST(test_load),
        NODES_TEST(test_spread_is_even),
        NODES_TEST(test_spread_of_many_callers),
        NODES_TEST(test_spread_fills_up_who_has_least),
        NODES_TEST(test_least_loaded_has_room),
        NODES_TEST(test_load_balanced_fills_in_proportion),
        NODES_TEST(test_ties_go_to_all),
        NODES_TEST(test_ask_is_bounded_and_covers),
        NODES_TEST(test_ask_does_not_herd),
        NODES_TEST(test_same_seed_same_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
