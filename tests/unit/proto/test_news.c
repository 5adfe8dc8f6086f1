#include "tests/unit/unit.h"

#include "proto/news.h"

struct item {
    uint64_t number;
    struct bytes bytes;
};

static void test_in_order(void **state)
{
    struct news n;
    struct item item;
    news_init(&n, sizeof item);
    assert_true(news_is_empty(&n));
    assert_false(news_take(&n, &item));
    for (uint64_t i = 0; i < 1000; i++) {
        uint8_t data[300];
        memset(data, (int)i, sizeof data);
        struct item *added = news_add(&n);
        assert_null(added->bytes.data); /* zeroed, also where one lay before */
        added->number = i;
        added->bytes = news_copy(&n, bytes_of(data, i % sizeof data));
        assert_int_equal((uintptr_t)added->bytes.data % 64, 0);
        if (i % 3 == 0) { /* some are taken meanwhile */
            assert_true(news_take(&n, &item));
            assert_int_equal(item.number, i / 3);
        }
    }
    for (uint64_t i = 334; i < 1000; i++) {
        assert_true(news_take(&n, &item));
        assert_int_equal(item.number, i);
        assert_int_equal(item.bytes.size, i % 300);
        for (size_t k = 0; k < item.bytes.size; k++) {
            assert_int_equal(((const uint8_t *)item.bytes.data)[k], (uint8_t)i);
        }
    }
    assert_true(news_is_empty(&n));
    assert_false(news_take(&n, &item));
    news_fini(&n);
}

static void test_those_that_wait(void **state)
{
    struct news n;
    struct item item;
    news_init(&n, sizeof item);
    for (uint64_t i = 1; i <= 3; i++) {
        ((struct item *)news_add(&n))->number = i;
    }
    assert_true(news_take(&n, &item));
    assert_int_equal(((struct item *)news_waiting(&n, 0))->number, 2);
    assert_int_equal(((struct item *)news_waiting(&n, 1))->number, 3);
    assert_null(news_waiting(&n, 2));
    ((struct item *)news_waiting(&n, 1))->number = 7;
    assert_true(news_take(&n, &item));
    assert_true(news_take(&n, &item));
    assert_int_equal(item.number, 7);
    assert_null(news_waiting(&n, 0));
    news_fini(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_those_that_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
