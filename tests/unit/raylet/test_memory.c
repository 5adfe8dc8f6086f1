#include "raylet/memory.h"

#include <inttypes.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/files.h"
#include "tests/unit/unit.h"

static uint64_t resident_kib(void)
{
    struct buffer text = {0};
    uint64_t kib = 0;
    assert_int_equal(files_read("/proc/self/status", 1 << 16, &text), 0);
    const char *at = strstr(buffer_text(&text), "VmRSS:");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "VmRSS: %" SCNu64, &kib), 1);
    buffer_fini(&text);
    return kib;
}

/* What stays at the end of the heap keeps all below it, until it is trimmed. */
static void test_small_values_go_back(void **state)
{
    enum { COUNT = 40000, SIZE = 2000 };
    struct memory m = {0};
    char **values = xmalloc(COUNT * sizeof *values);
    memory_setup();
    uint64_t before = resident_kib();
    for (int i = 0; i < COUNT; i++) {
        values[i] = xmalloc(SIZE);
        memset(values[i], 1, SIZE);
    }
    assert_false(memory_look(&m, (uint64_t)COUNT * SIZE, NS_PER_S));
    for (int i = 0; i < COUNT - 1; i++) {
        free(values[i]);
    }
    assert_false(memory_is_due(&m, NS_PER_S + 1));
    assert_true(memory_is_due(&m, 2 * NS_PER_S));
    assert_true(memory_look(&m, SIZE, 2 * NS_PER_S));
    assert_true(resident_kib() < before + (20 << 10));
    assert_false(memory_look(&m, SIZE, 3 * NS_PER_S)); /* nothing new has gone */
    free(values[COUNT - 1]);
    free(values);
}

/* Freeing one large value must not make the next ones stay. */
static void test_large_values_go_back(void **state)
{
    enum { COUNT = 100, SIZE = 1 << 20 };
    void *values[COUNT];
    memory_setup();
    uint64_t before = resident_kib();
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < COUNT; i++) {
            values[i] = xmalloc(SIZE);
            memset(values[i], 1, SIZE);
        }
        for (int i = 0; i < COUNT; i++) {
            free(values[i]);
        }
    }
    assert_true(resident_kib() < before + (20 << 10));
}

int main(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 77; /* the checker has an allocator of its own, which keeps what is freed */
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_values_go_back),
        cmocka_unit_test(test_large_values_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
