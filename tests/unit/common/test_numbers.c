#include "common/numbers.h"
#include "common/rng.h"
#include "tests/unit/unit.h"

static void *value_of(uint64_t number)
{
    return (void *)(uintptr_t)(number * 8 + 8);
}

static void test_empty_table_has_nothing(void **state)
{
    struct numbers t;
    numbers_init(&t);
    assert_null(numbers_get(&t, 0));
    assert_null(numbers_get(&t, UINT64_MAX));
    assert_null(numbers_remove(&t, 7));
    numbers_fini(&t);
}

static void test_set_get_remove(void **state)
{
    struct numbers t;
    numbers_init(&t);
    for (uint64_t i = 1; i <= 5000; i++) {
        numbers_set(&t, i, value_of(i));
    }
    assert_int_equal(t.used, 5000);
    assert_null(numbers_get(&t, 0));
    assert_null(numbers_get(&t, 5001));
    for (uint64_t i = 1; i <= 5000; i++) {
        assert_ptr_equal(numbers_get(&t, i), value_of(i));
        assert_ptr_equal(numbers_remove(&t, i), value_of(i));
        assert_null(numbers_get(&t, i));
        assert_null(numbers_remove(&t, i));
    }
    assert_int_equal(t.used, 0);
    assert_int_equal(t.pages, 0);
    numbers_fini(&t);
}

static void test_replace(void **state)
{
    struct numbers t;
    numbers_init(&t);
    numbers_set(&t, 9, value_of(1));
    numbers_set(&t, 9, value_of(2));
    assert_int_equal(t.used, 1);
    assert_ptr_equal(numbers_remove(&t, 9), value_of(2));
    numbers_fini(&t);
}

static void test_the_ends_of_the_numbers(void **state)
{
    static const uint64_t ends[] = {0, 255, 256, UINT32_MAX, 1ull << 40, UINT64_MAX};
    struct numbers t;
    numbers_init(&t);
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        numbers_set(&t, ends[i], value_of(i));
    }
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        assert_ptr_equal(numbers_get(&t, ends[i]), value_of(i));
    }
    numbers_fini(&t);
}

static void test_a_moving_window_keeps_its_size(void **state)
{
    struct numbers t;
    size_t most_pages = 0, most_slabs = 0;
    numbers_init(&t);
    for (uint64_t i = 1; i <= 300000; i++) {
        numbers_set(&t, i, value_of(i));
        if (i > 1000) {
            assert_ptr_equal(numbers_remove(&t, i - 1000), value_of(i - 1000));
        }
        most_pages = MAX_OF(most_pages, t.pages);
        most_slabs = MAX_OF(most_slabs, t.pool.slabs);
    }
    assert_true(most_pages <= 1000 / 256 + 2);
    assert_true(most_slabs <= 2);
    assert_true(t.bucket_count <= 16);
    numbers_fini(&t);
}

static void test_a_large_table_shrinks(void **state)
{
    struct numbers t;
    numbers_init(&t);
    for (uint64_t i = 0; i < 400000; i++) {
        numbers_set(&t, i, value_of(i));
    }
    assert_true(t.bucket_count >= 1024);
    for (uint64_t i = 0; i < 400000; i++) {
        assert_ptr_equal(numbers_remove(&t, i), value_of(i));
    }
    assert_true(t.bucket_count <= 64);
    assert_true(t.pool.slabs <= 4);
    numbers_fini(&t);
}

static void test_random_against_an_array(void **state)
{
    enum { RANGE = 3000 };
    static void *model[RANGE];
    struct numbers t;
    struct rng r;
    size_t used = 0;
    rng_seed(&r, 7);
    numbers_init(&t);
    for (int i = 0; i < 200000; i++) {
        uint64_t n = rng_below(&r, RANGE);
        uint64_t number = n * 97; /* spread over many pages */
        if (rng_chance(&r, 0.5)) {
            used += model[n] == NULL;
            model[n] = value_of(rng_below(&r, 1000));
            numbers_set(&t, number, model[n]);
        } else {
            used -= model[n] != NULL;
            assert_ptr_equal(numbers_remove(&t, number), model[n]);
            model[n] = NULL;
        }
        assert_int_equal(t.used, used);
        uint64_t other = rng_below(&r, RANGE);
        assert_ptr_equal(numbers_get(&t, other * 97), model[other]);
    }
    numbers_fini(&t);
}

struct walk {
    struct numbers *table;
    uint64_t last, seen, stop_after;
    bool remove;
};

static bool visit(uint64_t number, void *value, void *arg)
{
    struct walk *walk = arg;
    assert_true(walk->seen == 0 || number > walk->last);
    assert_ptr_equal(value, value_of(number));
    walk->last = number;
    walk->seen++;
    if (walk->remove) {
        assert_ptr_equal(numbers_remove(walk->table, number), value);
    }
    return walk->seen != walk->stop_after;
}

static void test_each_ascends_and_may_remove(void **state)
{
    struct numbers t;
    numbers_init(&t);
    for (uint64_t i = 20000; i > 0; i -= 5) {
        numbers_set(&t, i, value_of(i));
    }
    struct walk walk = {.table = &t};
    numbers_each(&t, visit, &walk);
    assert_int_equal(walk.seen, 4000);
    walk = (struct walk){.table = &t, .stop_after = 10};
    numbers_each(&t, visit, &walk);
    assert_int_equal(walk.seen, 10);
    walk = (struct walk){.table = &t, .remove = true};
    numbers_each(&t, visit, &walk);
    assert_int_equal(walk.seen, 4000);
    assert_int_equal(t.used, 0);
    assert_int_equal(t.pages, 0);
    walk = (struct walk){.table = &t};
    numbers_each(&t, visit, &walk);
    assert_int_equal(walk.seen, 0);
    numbers_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_table_has_nothing),
        cmocka_unit_test(test_set_get_remove),
        cmocka_unit_test(test_replace),
        cmocka_unit_test(test_the_ends_of_the_numbers),
        cmocka_unit_test(test_a_moving_window_keeps_its_size),
        cmocka_unit_test(test_a_large_table_shrinks),
        cmocka_unit_test(test_random_against_an_array),
        cmocka_unit_test(test_each_ascends_and_may_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
