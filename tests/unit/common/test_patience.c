#include "common/clock.h"
#include "common/patience.h"
#include "tests/unit/unit.h"

struct countdown {
    int calls, ready_at;
};

static bool is_ready(void *arg)
{
    struct countdown *c = arg;
    return ++c->calls >= c->ready_at;
}

static void test_ready_at_once(void **state)
{
    struct patience p = {0};
    struct countdown c = {.ready_at = 1};
    assert_true(patience_poll(&p, is_ready, &c));
    assert_int_equal(c.calls, 1);
}

static void test_patience_ends(void **state)
{
    struct patience p = {0};
    struct countdown c = {.ready_at = INT32_MAX};
    assert_false(patience_poll(&p, is_ready, &c));
    assert_in_range(c.calls, 2, 101);
}

static void test_no_polling_before_the_mark(void **state)
{
    struct patience p = {.sleep_until_ns = NS_FOREVER};
    struct countdown c = {.ready_at = 2};
    assert_false(patience_poll(&p, is_ready, &c));
    assert_int_equal(c.calls, 1);
    /* What is ready is seen all the same. */
    assert_true(patience_poll(&p, is_ready, &c));
}

/* Takes longer than a yield may, as if another process had the CPU. */
static bool is_ready_slowly(void *arg)
{
    uint64_t end = clock_now_ns() + 300 * NS_PER_US;
    while (clock_now_ns() < end) {
    }
    return is_ready(arg);
}

static void test_a_long_yield_ends_the_polling_for_a_while(void **state)
{
    struct patience p = {0};
    struct countdown c = {.ready_at = INT32_MAX};
    uint64_t before = clock_now_ns();
    assert_false(patience_poll(&p, is_ready_slowly, &c));
    assert_in_range(c.calls, 2, 4);
    assert_true(p.sleep_until_ns > before + NS_PER_MS);
}

static void test_long_yields_in_a_row_make_longer_pauses(void **state)
{
    struct patience p = {0};
    struct countdown c = {.ready_at = INT32_MAX};
    for (uint64_t pause_ns = NS_PER_MS; pause_ns <= 32 * NS_PER_MS; pause_ns *= 2) {
        p.sleep_until_ns = p.pause_ns != 0 ? clock_now_ns() : 0; /* the pause is just over */
        assert_false(patience_poll(&p, is_ready_slowly, &c));
        assert_int_equal(p.pause_ns, MIN_OF(pause_ns, 16 * NS_PER_MS));
    }
    p.sleep_until_ns = 1; /* over for long */
    assert_false(patience_poll(&p, is_ready_slowly, &c));
    assert_int_equal(p.pause_ns, NS_PER_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready_at_once),
        cmocka_unit_test(test_patience_ends),
        cmocka_unit_test(test_no_polling_before_the_mark),
        cmocka_unit_test(test_a_long_yield_ends_the_polling_for_a_while),
        cmocka_unit_test(test_long_yields_in_a_row_make_longer_pauses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
