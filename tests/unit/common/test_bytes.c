#include "common/bytes.h"
#include "tests/unit/unit.h"

static void test_buffer_begins_empty_and_grows(void **state)
{
    struct buffer b = {0};
    assert_string_equal(buffer_text(&b), "");
    for (uint32_t i = 0; i < 10000; i++) {
        buffer_append(&b, &i, sizeof i);
    }
    assert_int_equal(b.size, 40000);
    for (uint32_t i = 0; i < 10000; i++) {
        uint32_t at;
        memcpy(&at, b.data + i * sizeof at, sizeof at);
        assert_int_equal(at, i);
    }
    assert_int_equal((uintptr_t)b.data % 64, 0);
    buffer_fini(&b);
    assert_null(b.data);
    buffer_append_text(&b, "again");
    assert_string_equal(buffer_text(&b), "again");
    buffer_fini(&b);
}

static void test_buffer_takes_no_bytes_from_nowhere(void **state)
{
    struct buffer b = {0};
    buffer_append(&b, NULL, 0);
    assert_int_equal(b.size, 0);
    buffer_fini(&b);
}

static void test_buffer_clear_keeps_the_memory(void **state)
{
    struct buffer b = {0};
    buffer_reserve(&b, 1000);
    size_t room = b.room;
    assert_true(room >= 1000);
    buffer_append_text(&b, "abc");
    buffer_clear(&b);
    assert_int_equal(b.size, 0);
    assert_int_equal(b.room, room);
    buffer_fini(&b);
}

static void test_buffer_extend_returns_the_new_bytes(void **state)
{
    struct buffer b = {0};
    buffer_append_text(&b, "ab");
    char *at = buffer_extend(&b, 2);
    memcpy(at, "cd", 2);
    assert_int_equal(b.size, 4);
    assert_string_equal(buffer_text(&b), "abcd");
    buffer_fini(&b);
}

static void test_text_does_not_count_its_terminator(void **state)
{
    struct buffer b = {0};
    for (int i = 0; i < 64; i++) {
        assert_int_equal(strlen(buffer_text(&b)), i);
        assert_int_equal(b.size, i);
        buffer_append_text(&b, "x");
    }
    buffer_fini(&b);
}

static void test_printf_at_every_fill(void **state)
{
    /* The formatted text meets the end of the room at each possible place. */
    for (int fill = 0; fill < 130; fill++) {
        struct buffer b = {0};
        for (int i = 0; i < fill; i++) {
            buffer_append_text(&b, "x");
        }
        buffer_printf(&b, "%d-%s", 12345, "tail");
        assert_int_equal(b.size, fill + 10);
        assert_string_equal(buffer_text(&b) + fill, "12345-tail");
        buffer_fini(&b);
    }
}

static void test_arena_pieces_are_apart_and_aligned(void **state)
{
    struct arena a = {0};
    uint8_t *pieces[500];
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        pieces[i] = arena_alloc(&a, i);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)(i & 0xff), i);
    }
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        for (size_t k = 0; k < i; k++) {
            assert_int_equal(pieces[i][k], i & 0xff);
        }
    }
    arena_fini(&a);
    assert_null(a.blocks);
}

static void test_arena_reset_uses_its_block_again(void **state)
{
    struct arena a = {0};
    void *first = arena_alloc(&a, 100);
    arena_reset(&a);
    assert_ptr_equal(arena_alloc(&a, 100), first);
    for (int i = 0; i < 100; i++) {
        (void)arena_alloc(&a, 4000);
    }
    arena_reset(&a);
    assert_non_null(a.blocks);
    assert_null(a.blocks->next);
    arena_fini(&a);
    arena_reset(&a);
}

static void test_arena_gives_a_huge_block_back(void **state)
{
    struct arena a = {0};
    (void)arena_alloc(&a, 10);
    memset(arena_alloc(&a, 8u << 20), 1, 8u << 20);
    arena_reset(&a);
    assert_non_null(a.blocks);
    assert_true(a.blocks->room < 1u << 20);
    arena_fini(&a);
}

static void test_arena_copies(void **state)
{
    struct arena a = {0};
    assert_memory_equal(arena_copy(&a, "abc", 3), "abc", 3);
    assert_string_equal(arena_text(&a, "abcdef", 3), "abc");
    assert_string_equal(arena_text(&a, NULL, 0), "");
    assert_non_null(arena_copy(&a, NULL, 0));
    /* A text whose terminator is the block's last byte, and the next piece behind it. */
    arena_reset(&a);
    size_t room = a.blocks->room;
    memset(arena_alloc(&a, room), 0, room);
    assert_int_equal(a.used, room);
    assert_string_equal(arena_text(&a, "x", 1), "x");
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buffer_begins_empty_and_grows),
        cmocka_unit_test(test_buffer_takes_no_bytes_from_nowhere),
        cmocka_unit_test(test_buffer_clear_keeps_the_memory),
        cmocka_unit_test(test_buffer_extend_returns_the_new_bytes),
        cmocka_unit_test(test_text_does_not_count_its_terminator),
        cmocka_unit_test(test_printf_at_every_fill),
        cmocka_unit_test(test_arena_pieces_are_apart_and_aligned),
        cmocka_unit_test(test_arena_reset_uses_its_block_again),
        cmocka_unit_test(test_arena_gives_a_huge_block_back),
        cmocka_unit_test(test_arena_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
