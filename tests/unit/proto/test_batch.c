#include "proto/batch.h"

#include "common/rng.h"
#include "tests/unit/unit.h"

static struct bytes whole_of(const struct buffer *b)
{
    return bytes_of(b->data, b->size);
}

static void add(struct buffer *b, const char *text, size_t rest)
{
    memcpy(batch_add(b, strlen(text), rest), text, strlen(text));
}

static void test_records(void **state)
{
    struct buffer b = {0};
    struct batch_record r;
    add(&b, "one", 0);
    add(&b, "twelve bytes", 0);
    add(&b, "8 bytes.", 0);
    assert_int_equal(b.size, batch_cost(3) + batch_cost(12) + batch_cost(8));
    assert_int_equal(b.size, 16 + 24 + 16);
    struct bytes left = whole_of(&b);
    assert_int_equal(batch_next(&left, &r), 1);
    assert_int_equal(r.data.size, 3);
    assert_memory_equal(r.data.data, "one", 3);
    assert_int_equal(r.rest, 0);
    assert_int_equal(batch_next(&left, &r), 1);
    assert_memory_equal(r.data.data, "twelve bytes", 12);
    assert_int_equal((uintptr_t)r.data.data % 8, 0);
    assert_int_equal(batch_next(&left, &r), 1);
    assert_memory_equal(r.data.data, "8 bytes.", 8);
    assert_int_equal(batch_next(&left, &r), 0);
    buffer_fini(&b);
}

static void test_broken_records(void **state)
{
    static const struct {
        uint32_t head[2];
        size_t size; /* of the whole */
    } broken[] = {
        {{1, 0}, 4},           {{1, 0}, 8},
        {{0, 0}, 8},           {{9, 0}, 16},
        {{UINT32_MAX, 0}, 16}, {{UINT32_MAX - 6, 0}, 16},
        {{8, UINT32_MAX}, 16}, {{1, MESSAGE_MAX}, 16},
    };
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
        uint8_t *data = xcalloc(1, broken[i].size);
        memcpy(data, broken[i].head, MIN_OF(sizeof broken[i].head, broken[i].size));
        struct bytes left = bytes_of(data, broken[i].size);
        struct batch_record r;
        assert_int_equal(batch_next(&left, &r), -EPROTO);
        free(data);
    }
    /* What fills up must be zero: nothing is hidden there. */
    struct buffer b = {0};
    struct batch_record r;
    add(&b, "one", 0);
    b.data[15] = 1;
    struct bytes left = whole_of(&b);
    assert_int_equal(batch_next(&left, &r), -EPROTO);
    buffer_fini(&b);
}

static int assemble(struct batch_assembly *a, const char *text, uint32_t rest, struct bytes *ret)
{
    struct batch_record r = {bytes_of_text(text), rest};
    return batch_assemble(a, &r, ret);
}

static void test_parts(void **state)
{
    struct batch_assembly a = {0};
    struct bytes whole;
    assert_int_equal(assemble(&a, "whole", 0, &whole), 1);
    assert_memory_equal(whole.data, "whole", 5);
    assert_int_equal(assemble(&a, "in ", 8, &whole), 0);
    assert_int_equal(assemble(&a, "three ", 2, &whole), 0);
    assert_int_equal(assemble(&a, "pa", 0, &whole), 1);
    assert_int_equal(whole.size, 11);
    assert_memory_equal(whole.data, "in three pa", 11);
    assert_int_equal(assemble(&a, "next", 0, &whole), 1);
    assert_int_equal(whole.size, 4);

    assert_int_equal(assemble(&a, "in ", 8, &whole), 0);
    assert_int_equal(assemble(&a, "another", 0, &whole), -EPROTO); /* 7 are not 8 */
    batch_assembly_fini(&a);
    assert_int_equal(assemble(&a, "in ", 8, &whole), 0);
    assert_int_equal(assemble(&a, "three", 8, &whole), -EPROTO);
    batch_assembly_fini(&a);
    assert_int_equal(assemble(&a, "fresh", 0, &whole), 1);
    batch_assembly_fini(&a);
}

static void test_any_bytes(void **state)
{
    struct rng rng;
    rng_seed(&rng, 7);
    for (unsigned round = 0; round < 20000; round++) {
        struct buffer b = {0};
        for (uint64_t n = rng_below(&rng, 4); n > 0; n--) {
            add(&b, "some bytes", rng_below(&rng, 2) * rng_below(&rng, 30));
        }
        for (uint64_t n = rng_below(&rng, 3); n > 0 && b.size != 0; n--) {
            b.data[rng_below(&rng, b.size)] = (uint8_t)rng_next(&rng);
        }
        struct bytes left = bytes_of(b.data, b.size == 0 ? 0 : rng_below(&rng, b.size + 1)), whole;
        struct batch_assembly a = {0};
        struct batch_record r;
        size_t before = left.size;
        int got = 0;
        while ((got = batch_next(&left, &r)) == 1 && batch_assemble(&a, &r, &whole) >= 0) {
            assert_true(left.size < before && r.data.size != 0);
            before = left.size;
        }
        assert_true(got == 0 || got == 1 || got == -EPROTO);
        batch_assembly_fini(&a);
        buffer_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_broken_records),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
