#include "common/rng.h"
#include "tests/unit/unit.h"

static void test_the_same_seed_gives_the_same_run(void **state)
{
    struct rng a, b, c;
    bool differs = false;
    rng_seed(&a, 42);
    rng_seed(&b, 42);
    rng_seed(&c, 43);
    for (int i = 0; i < 1000; i++) {
        uint64_t x = rng_next(&a);
        assert_true(x == rng_next(&b));
        differs = differs || x != rng_next(&c);
    }
    assert_true(differs);
}

/* The published generator's first numbers for the state 1, 2, 3, 4. */
static void test_known_numbers(void **state)
{
    struct rng r = {{1, 2, 3, 4}};
    static const uint64_t known[] = {11520, 0, 1509978240, 1215971899390074240};
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        assert_true(rng_next(&r) == known[i]);
    }
}

static void test_below_stays_below_and_is_even(void **state)
{
    struct rng r;
    size_t counts[7] = {0};
    rng_seed(&r, 1);
    for (int i = 0; i < 70000; i++) {
        counts[rng_below(&r, 7)]++;
    }
    for (size_t i = 0; i < 7; i++) {
        assert_in_range(counts[i], 9500, 10500);
    }
    assert_int_equal(rng_below(&r, 1), 0);
    for (int i = 0; i < 100; i++) {
        assert_true(rng_below(&r, UINT64_MAX) < UINT64_MAX);
    }
}

static void test_between_has_both_ends(void **state)
{
    struct rng r;
    bool low = false, high = false;
    rng_seed(&r, 2);
    for (int i = 0; i < 1000; i++) {
        uint64_t x = rng_between(&r, 5, 8);
        assert_in_range(x, 5, 8);
        low = low || x == 5;
        high = high || x == 8;
    }
    assert_true(low && high);
    assert_int_equal(rng_between(&r, 9, 9), 9);
    (void)rng_between(&r, 0, UINT64_MAX);
}

static void test_unit_and_chance(void **state)
{
    struct rng r;
    int hits = 0;
    rng_seed(&r, 3);
    for (int i = 0; i < 10000; i++) {
        double x = rng_unit(&r);
        assert_true(x >= 0 && x < 1);
        hits += rng_chance(&r, 0.25);
        assert_false(rng_chance(&r, 0));
        assert_true(rng_chance(&r, 1));
    }
    assert_in_range(hits, 2300, 2700);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_seed_gives_the_same_run),
        cmocka_unit_test(test_known_numbers),
        cmocka_unit_test(test_below_stays_below_and_is_even),
        cmocka_unit_test(test_between_has_both_ends),
        cmocka_unit_test(test_unit_and_chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
