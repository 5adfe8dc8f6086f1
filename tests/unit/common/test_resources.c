#include "common/resources.h"

#include <math.h>

#include "tests/unit/unit.h"

static void test_fixed_names(void **state)
{
    struct resource_names n;
    uint32_t kind;
    resource_names_init(&n);
    assert_string_equal(resource_name(&n, RESOURCE_CPU), "CPU");
    assert_string_equal(resource_name(&n, RESOURCE_MEMORY), "memory");
    assert_string_equal(resource_name(&n, RESOURCE_GPU), "GPU");
    assert_string_equal(resource_name(&n, RESOURCE_GPU_MEMORY), "gpu_memory");
    assert_string_equal(resource_name(&n, RESOURCE_STORE), "object_store");
    assert_int_equal(resource_names_intern(&n, "x", &kind), 0);
    assert_int_equal(kind, RESOURCE_CUSTOM);
    assert_int_equal(resource_names_intern(&n, "x", &kind), 0);
    assert_int_equal(kind, RESOURCE_CUSTOM);
    resource_names_fini(&n);
}

static void test_names_that_are_refused(void **state)
{
    struct resource_names n;
    uint32_t kind = 77;
    char longest[RESOURCE_NAME_MAX + 2];
    static const char *const bad[] = {"", "1x", ".x", "a b", "a\n", "\xc3\xa9", "-"};
    resource_names_init(&n);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(resource_names_intern(&n, bad[i], &kind), -EINVAL);
    }
    memset(longest, 'a', sizeof longest);
    longest[RESOURCE_NAME_MAX + 1] = '\0';
    assert_int_equal(resource_names_intern(&n, longest, &kind), -EINVAL);
    assert_int_equal(kind, 77);
    longest[RESOURCE_NAME_MAX] = '\0';
    assert_int_equal(resource_names_intern(&n, longest, &kind), 0);
    assert_string_equal(resource_name(&n, kind), longest);
    assert_int_equal(resource_names_intern(&n, "_a.B:c/d-9", &kind), 0);
    resource_names_fini(&n);
}

static void test_at_most_4096_names(void **state)
{
    struct resource_names n;
    uint32_t kind;
    char name[16];
    resource_names_init(&n);
    for (int i = RESOURCE_CUSTOM; i < 4096; i++) {
        snprintf(name, sizeof name, "r%d", i);
        assert_int_equal(resource_names_intern(&n, name, &kind), 0);
        assert_int_equal(kind, i);
    }
    assert_int_equal(resource_names_intern(&n, "more", &kind), -ENOSPC);
    assert_int_equal(resource_names_intern(&n, "r100", &kind), 0);
    resource_names_fini(&n);
}

static void test_put_sorts_and_replaces(void **state)
{
    struct resource_set s = {0};
    assert_int_equal(resource_set_put(&s, 9, 90), 0);
    assert_int_equal(resource_set_put(&s, 0, 10), 0);
    assert_int_equal(resource_set_put(&s, 5, 50), 0);
    assert_int_equal(resource_set_put(&s, 5, 55), 0);
    assert_int_equal(s.count, 3);
    assert_int_equal(s.amounts[0].kind, 0);
    assert_int_equal(s.amounts[1].kind, 5);
    assert_int_equal(s.amounts[2].kind, 9);
    assert_int_equal(resource_set_get(&s, 5), 55);
    assert_int_equal(resource_set_get(&s, 6), 0);
    assert_int_equal(resource_set_get(&s, 99), 0);
}

static void test_a_set_is_bounded(void **state)
{
    struct resource_set s = {0};
    for (uint32_t i = RESOURCES_MAX; i-- > 0;) {
        assert_int_equal(resource_set_put(&s, i * 2, 1), 0);
    }
    assert_int_equal(resource_set_put(&s, 1, 1), -ENOSPC);
    assert_int_equal(resource_set_put(&s, 2, 7), 0);
    assert_int_equal(s.count, RESOURCES_MAX);
}

static void test_covers_take_give(void **state)
{
    struct resource_set have = {0}, want = {0}, before;
    assert_int_equal(resource_set_put(&have, 0, 40000), 0);
    assert_int_equal(resource_set_put(&have, 5, 10000), 0);
    before = have;
    assert_true(resource_set_covers(&have, &want));
    assert_int_equal(resource_set_put(&want, 0, 40000), 0);
    assert_true(resource_set_covers(&have, &want));
    assert_int_equal(resource_set_put(&want, 5, 10001), 0);
    assert_false(resource_set_covers(&have, &want));
    assert_int_equal(resource_set_put(&want, 5, 5000), 0);
    resource_set_take(&have, &want);
    assert_int_equal(resource_set_get(&have, 0), 0);
    assert_int_equal(resource_set_get(&have, 5), 5000);
    resource_set_take(&have, &want);
    assert_int_equal(resource_set_get(&have, 0), -40000);
    resource_set_give(&have, &want);
    resource_set_give(&have, &want);
    assert_true(resource_set_equal(&have, &before));
}

static void test_what_is_not_had_is_not_covered(void **state)
{
    struct resource_set have = {0}, want = {0};
    assert_int_equal(resource_set_put(&have, 0, 1), 0);
    assert_int_equal(resource_set_put(&want, 7, 1), 0);
    assert_false(resource_set_covers(&have, &want));
    assert_int_equal(resource_set_put(&have, 3, 1), 0);
    assert_false(resource_set_covers(&have, &want));
    /* A balance below zero covers nothing, but what asks nothing is fine. */
    assert_int_equal(resource_set_put(&have, 0, -1), 0);
    struct resource_set nothing = {0};
    assert_true(resource_set_covers(&have, &nothing));
}

static void test_equal(void **state)
{
    struct resource_set a = {0}, b = {0};
    assert_true(resource_set_equal(&a, &b));
    assert_int_equal(resource_set_put(&a, 1, 5), 0);
    assert_false(resource_set_equal(&a, &b));
    assert_int_equal(resource_set_put(&b, 1, 6), 0);
    assert_false(resource_set_equal(&a, &b));
    assert_int_equal(resource_set_put(&b, 1, 5), 0);
    assert_true(resource_set_equal(&a, &b));
}

static void test_units(void **state)
{
    static const struct {
        double amount;
        int64_t units;
    } table[] = {
        {0, 0},
        {1, 10000},
        {0.5, 5000},
        {0.1, 1000},
        {0.3, 3000},
        {0.0001, 1},
        {0.00031, 4}, /* 3,225 fill one: 3 units would let 3,333 of them in */
        {1.0 / 3, 3333},
        {2.0 / 3, 6666},
        {1.0 / 6, 1666},
        {1.0 / 7, 1428},
        {0.1 + 0.2, 3000},
        {0.57, 5700}, /* times 10,000 it is a little less than that */
        {1 - 0.9, 1000},
        {0.7, 7000},
        {4.35, 43500},
        {9e14, 9000000000000000000},
        {34359738368.0, 343597383680000},
    };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        int64_t units = -1;
        assert_int_equal(resource_units(table[i].amount, &units), 0);
        assert_true(units == table[i].units);
    }
    static const double bad[] = {-0.0001, NAN, INFINITY, -INFINITY, 9.1e14, 1e300};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        int64_t units = -7;
        assert_int_equal(resource_units(bad[i], &units), bad[i] > 9e14 ? -ERANGE : -EINVAL);
        assert_int_equal(units, -7);
    }
    static const double small[] = {1e-300, 0.00004, 0.00009};
    for (size_t i = 0; i < ARRAY_SIZE(small); i++) { /* it is not zero, so it is not taken for it */
        int64_t units = -7;
        assert_int_equal(resource_units(small[i], &units), -EDOM);
        assert_int_equal(units, -7);
    }
    assert_true(resource_amount_of(15000) == 1.5);
}

/* How many of them fit into `total` units. */
static int64_t fit(double amount, int64_t total)
{
    int64_t units = 0;
    assert_int_equal(resource_units(amount, &units), 0);
    return total / units;
}

static void test_as_many_shares_fit_as_arithmetic_says(void **state)
{
    for (int n = 1; n <= 10000; n++) {
        int64_t fits = fit(1.0 / n, RESOURCE_UNIT);
        assert_true(fits <= n);
        if (n <= 100) {
            assert_int_equal(fits, n);
        }
        for (int64_t whole = 2; n <= 12 && whole <= 64; whole *= 2) { /* nodes of several CPUs */
            assert_int_equal(fit(1.0 / n, whole * RESOURCE_UNIT), n * whole);
        }
    }
    for (double share = 0.01; share < 1; share += 0.01) {
        assert_true(fit(share, RESOURCE_UNIT) == (int64_t)(1 / share + 1e-9));
    }
}

static void test_as_people_read_it(void **state)
{
    char text[32];
    assert_string_equal(resource_format(RESOURCE_CPU, 25000, text), "2.5");
    assert_string_equal(resource_format(RESOURCE_CUSTOM, 1, text), "0.0001");
    assert_string_equal(resource_format(RESOURCE_CPU, -10000, text), "0");
    assert_string_equal(resource_format(RESOURCE_MEMORY, (int64_t)1536 * RESOURCE_UNIT, text),
                        "1.5 KiB");
    assert_string_equal(resource_format(RESOURCE_STORE, -RESOURCE_UNIT, text), "0 B");
}

static void test_a_number_that_nobody_uses_goes_to_the_next_name(void **state)
{
    struct resource_names n;
    uint32_t a, b, kind;

    resource_names_init(&n);
    assert_int_equal(resource_names_intern(&n, "a", &a), 0);
    assert_int_equal(resource_names_intern(&n, "b", &b), 0);
    assert_int_equal(resource_names_intern(&n, "a", &kind), 0);
    resource_names_unuse(&n, a);
    assert_string_equal(resource_name(&n, a), "a"); /* somebody else uses it still */
    resource_names_unuse(&n, a);
    assert_int_equal(resource_names_intern(&n, "c", &kind), 0);
    assert_int_equal(kind, a);
    assert_int_equal(resource_names_intern(&n, "b", &kind), 0);
    assert_int_equal(kind, b);
    resource_names_unuse(&n, RESOURCE_CPU);
    assert_string_equal(resource_name(&n, RESOURCE_CPU), "CPU");
    for (int i = 0; i < 100000; i++) {
        char name[32];
        snprintf(name, sizeof name, "lock-%d", i);
        assert_int_equal(resource_names_intern(&n, name, &kind), 0);
        resource_names_unuse(&n, kind);
    }
    resource_names_fini(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed_names),
        cmocka_unit_test(test_names_that_are_refused),
        cmocka_unit_test(test_at_most_4096_names),
        cmocka_unit_test(test_a_number_that_nobody_uses_goes_to_the_next_name),
        cmocka_unit_test(test_put_sorts_and_replaces),
        cmocka_unit_test(test_a_set_is_bounded),
        cmocka_unit_test(test_covers_take_give),
        cmocka_unit_test(test_what_is_not_had_is_not_covered),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_as_many_shares_fit_as_arithmetic_says),
        cmocka_unit_test(test_as_people_read_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
