#include "common/clock.h"
#include "common/rng.h"
#include "common/timers.h"
#include "tests/unit/unit.h"

static void test_none(void **state)
{
    struct timers t;
    timers_init(&t);
    assert_true(timers_next_ns(&t) == NS_FOREVER);
    assert_null(timers_pop(&t, NS_FOREVER));
    timers_fini(&t);
}

static void test_due_in_order_of_time(void **state)
{
    struct timers t;
    struct timer timers[5];
    static const uint64_t at[] = {50, 10, 40, 20, 30};
    timers_init(&t);
    for (size_t i = 0; i < 5; i++) {
        timer_init(&timers[i]);
        timer_arm(&t, &timers[i], at[i]);
    }
    assert_int_equal(timers_next_ns(&t), 10);
    assert_null(timers_pop(&t, 9));
    for (uint64_t now = 10; now <= 50; now += 10) {
        struct timer *timer = timers_pop(&t, now);
        assert_non_null(timer);
        assert_int_equal(timer->at_ns, now);
        assert_false(timer_is_armed(timer));
        assert_null(timers_pop(&t, now));
    }
    timers_fini(&t);
}

static void test_ties_in_order_of_arming(void **state)
{
    struct timers t;
    struct timer timers[100];
    timers_init(&t);
    for (size_t i = 0; i < 100; i++) {
        timer_init(&timers[i]);
        timer_arm(&t, &timers[i], 7);
    }
    /* Armed anew: now the last. */
    timer_arm(&t, &timers[0], 7);
    for (size_t i = 1; i <= 100; i++) {
        assert_ptr_equal(timers_pop(&t, 7), &timers[i % 100]);
    }
    timers_fini(&t);
}

static void test_move_and_disarm(void **state)
{
    struct timers t;
    struct timer a, b;
    timers_init(&t);
    timer_init(&a);
    timer_init(&b);
    timer_disarm(&t, &a);
    timer_arm(&t, &a, 10);
    timer_arm(&t, &b, 20);
    timer_arm(&t, &a, 30);
    assert_int_equal(timers_next_ns(&t), 20);
    timer_disarm(&t, &b);
    timer_disarm(&t, &b);
    assert_false(timer_is_armed(&b));
    assert_ptr_equal(timers_pop(&t, 30), &a);
    assert_int_equal(t.used, 0);
    timers_fini(&t);
}

static void test_random_against_a_search(void **state)
{
    enum { COUNT = 200 };
    static struct timer timers[COUNT];
    struct timers t;
    struct rng r;
    uint64_t now = 0;
    rng_seed(&r, 3);
    timers_init(&t);
    for (size_t i = 0; i < COUNT; i++) {
        timer_init(&timers[i]);
    }
    for (int step = 0; step < 20000; step++) {
        struct timer *timer = &timers[rng_below(&r, COUNT)];
        if (rng_chance(&r, 0.6)) {
            timer_arm(&t, timer, now + rng_below(&r, 1000));
        } else {
            timer_disarm(&t, timer);
        }
        now += rng_below(&r, 5);
        for (;;) {
            const struct timer *first = NULL;
            for (size_t i = 0; i < COUNT; i++) {
                const struct timer *c = &timers[i];
                if (timer_is_armed(c) && (first == NULL || c->at_ns < first->at_ns ||
                                          (c->at_ns == first->at_ns && c->order < first->order))) {
                    first = c;
                }
            }
            bool due = first != NULL && first->at_ns <= now;
            assert_ptr_equal(timers_pop(&t, now), due ? first : NULL);
            if (!due) {
                break;
            }
        }
    }
    timers_fini(&t);
}

static void test_room_shrinks(void **state)
{
    enum { COUNT = 100000 };
    struct timers t;
    struct timer *timers = xcalloc(COUNT, sizeof *timers);
    timers_init(&t);
    for (size_t i = 0; i < COUNT; i++) {
        timer_arm(&t, &timers[i], i);
    }
    assert_true(t.room > COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_ptr_equal(timers_pop(&t, NS_FOREVER), &timers[i]);
    }
    assert_true(t.room <= 4096);
    timers_fini(&t);
    free(timers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_due_in_order_of_time),
        cmocka_unit_test(test_ties_in_order_of_arming),
        cmocka_unit_test(test_move_and_disarm),
        cmocka_unit_test(test_random_against_a_search),
        cmocka_unit_test(test_room_shrinks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
