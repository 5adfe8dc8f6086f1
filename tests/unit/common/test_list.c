#include "common/list.h"
#include "tests/unit/unit.h"

struct item {
    int number;
    struct list link;
};

static void fill(struct list *head, struct item *items, int count)
{
    list_init(head);
    for (int i = 0; i < count; i++) {
        items[i].number = i;
        list_init(&items[i].link);
        list_append(head, &items[i].link);
    }
}

static void test_order(void **state)
{
    struct list head;
    struct item items[4], front = {.number = -1};
    fill(&head, items, 4);
    list_prepend(&head, &front.link);
    int expected = -1;
    LIST_FOREACH(node, &head)
    {
        assert_int_equal(list_entry(node, struct item, link)->number, expected++);
    }
    assert_int_equal(expected, 4);
}

static void test_unlink_twice_is_harmless(void **state)
{
    struct list head;
    struct item items[3];
    fill(&head, items, 3);
    list_unlink(&items[1].link);
    list_unlink(&items[1].link);
    assert_ptr_equal(items[0].link.next, &items[2].link);
    assert_ptr_equal(items[2].link.prev, &items[0].link);
    assert_true(list_is_empty(&items[1].link));
}

static void test_pop_empties(void **state)
{
    struct list head;
    struct item items[3];
    fill(&head, items, 3);
    for (int i = 0; i < 3; i++) {
        assert_ptr_equal(list_pop(&head), &items[i].link);
    }
    assert_null(list_pop(&head));
    assert_null(list_first(&head));
}

static void test_safe_loop_survives_removal(void **state)
{
    struct list head;
    struct item items[5];
    int seen = 0;
    fill(&head, items, 5);
    LIST_FOREACH_SAFE(node, &head)
    {
        list_unlink(node);
        seen++;
    }
    assert_int_equal(seen, 5);
    assert_true(list_is_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_unlink_twice_is_harmless),
        cmocka_unit_test(test_pop_empties),
        cmocka_unit_test(test_safe_loop_survives_removal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
