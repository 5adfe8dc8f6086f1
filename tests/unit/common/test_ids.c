#include "common/ids.h"
#include "tests/unit/unit.h"

static void test_round_trip(void **state)
{
    const struct object_id ids[] = {{0, 0, 0}, {3, 7, 2231}, {UINT32_MAX, UINT32_MAX, UINT64_MAX}};
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        char text[ID_TEXT_SIZE];
        struct object_id back = {1, 1, 1};
        assert_int_equal(object_id_parse(object_id_format(ids[i], text), &back), 0);
        assert_true(object_id_equal(ids[i], back));
    }
    char text[ID_TEXT_SIZE];
    assert_string_equal(object_id_format(ids[1], text), "3-7.2231");
}

static void test_what_is_no_id(void **state)
{
    static const char *const bad[] = {
        "",
        "3",
        "3-7",
        "3-7.",
        "3-7.2 ",
        " 3-7.2",
        "3-7.-2",
        "+3-7.2",
        "3-7.2x",
        "3.7-2",
        "03-7.2",
        "3-07.2",
        "3-7.02",
        "4294967296-0.1",
        "0-4294967296.1",
        "0-0.18446744073709551616",
        "a-b.c",
        "3--7.2",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct object_id id = {9, 9, 9};
        assert_int_equal(object_id_parse(bad[i], &id), -EINVAL);
        assert_true(object_id_equal(id, (struct object_id){9, 9, 9}));
    }
}

static void test_equal_looks_at_every_part(void **state)
{
    struct object_id id = {1, 2, 3};
    assert_true(object_id_equal(id, (struct object_id){1, 2, 3}));
    assert_false(object_id_equal(id, (struct object_id){2, 2, 3}));
    assert_false(object_id_equal(id, (struct object_id){1, 3, 3}));
    assert_false(object_id_equal(id, (struct object_id){1, 2, 4}));
    assert_true(object_id_is_none((struct object_id){1, 2, 0}));
    assert_false(object_id_is_none(id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_what_is_no_id),
        cmocka_unit_test(test_equal_looks_at_every_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
