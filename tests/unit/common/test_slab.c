#include "common/slab.h"
#include "tests/unit/unit.h"

#define MANY 20000

static void test_records_are_apart(void **state)
{
    static uint8_t *records[MANY];
    struct slab_pool p;
    slab_pool_init(&p, 40);
    assert_int_equal(p.record_size, 48);
    for (size_t i = 0; i < MANY; i++) {
        records[i] = slab_alloc(&p);
        assert_int_equal((uintptr_t)records[i] % 16, 0);
        memset(records[i], (int)(i % 251), 40);
    }
    assert_int_equal(p.used, MANY);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(records[i][0], i % 251);
        assert_int_equal(records[i][39], i % 251);
        slab_free(&p, records[i]);
    }
    assert_int_equal(p.used, 0);
    slab_pool_fini(&p);
}

static void test_memory_goes_back(void **state)
{
    static void *records[MANY];
    struct slab_pool p;
    slab_pool_init(&p, 256);
    for (size_t i = 0; i < MANY; i++) {
        records[i] = slab_alloc(&p);
    }
    size_t most = p.slabs;
    assert_true(most * SLAB_BYTES >= MANY * 256u);
    /* At most a header and an unused end in each slab. */
    assert_true(most * SLAB_BYTES < MANY * 256u * 102 / 100 + SLAB_BYTES);
    for (size_t i = 0; i < MANY; i++) {
        slab_free(&p, records[i]);
    }
    assert_true(p.slabs <= 4);
    assert_int_equal(p.slabs, p.spare);
    slab_pool_fini(&p);
    assert_int_equal(p.slabs, 0);
}

static void test_one_record_that_comes_and_goes_maps_nothing(void **state)
{
    struct slab_pool p;
    slab_pool_init(&p, 64);
    void *first = slab_alloc(&p);
    slab_free(&p, first);
    for (int i = 0; i < 1000; i++) {
        void *again = slab_alloc(&p);
        assert_ptr_equal(again, first);
        slab_free(&p, again);
    }
    assert_int_equal(p.slabs, 1);
    slab_pool_fini(&p);
}

static void test_sizes_at_the_limits(void **state)
{
    static const size_t sizes[] = {1, 16, 17, SLAB_BYTES / 8};
    for (size_t k = 0; k < ARRAY_SIZE(sizes); k++) {
        struct slab_pool p;
        void *records[100];
        slab_pool_init(&p, sizes[k]);
        for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
            records[i] = slab_alloc(&p);
            memset(records[i], 0xab, sizes[k]);
        }
        for (size_t i = ARRAY_SIZE(records); i-- > 0;) {
            slab_free(&p, records[i]);
        }
        slab_pool_fini(&p);
    }
}

static void test_free_of_null_is_fine(void **state)
{
    struct slab_pool p;
    slab_pool_init(&p, 16);
    slab_free(&p, NULL);
    slab_pool_fini(&p);
}

static void test_drop_takes_what_is_out(void **state)
{
    struct slab_pool p;
    slab_pool_init(&p, 128);
    for (int i = 0; i < 3000; i++) {
        (void)slab_alloc(&p);
    }
    slab_pool_drop(&p);
    assert_int_equal(p.used, 0);
    assert_int_equal(p.slabs, 0);
    slab_free(&p, slab_alloc(&p));
    slab_pool_fini(&p);
}

static void test_holes_are_filled_before_slabs_are_added(void **state)
{
    static void *records[MANY];
    struct slab_pool p;
    slab_pool_init(&p, 256);
    for (size_t i = 0; i < MANY; i++) {
        records[i] = slab_alloc(&p);
    }
    size_t slabs = p.slabs;
    for (size_t i = 0; i < MANY; i += 2) {
        slab_free(&p, records[i]);
    }
    assert_int_equal(p.slabs, slabs);
    for (size_t i = 0; i < MANY; i += 2) {
        records[i] = slab_alloc(&p);
    }
    assert_int_equal(p.slabs, slabs);
    for (size_t i = 0; i < MANY; i++) {
        slab_free(&p, records[i]);
    }
    slab_pool_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_are_apart),
        cmocka_unit_test(test_memory_goes_back),
        cmocka_unit_test(test_one_record_that_comes_and_goes_maps_nothing),
        cmocka_unit_test(test_sizes_at_the_limits),
        cmocka_unit_test(test_free_of_null_is_fine),
        cmocka_unit_test(test_drop_takes_what_is_out),
        cmocka_unit_test(test_holes_are_filled_before_slabs_are_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
