/* What bodies leave: when it is looked for, and what is put back without a system call. The rest is
 * tests/cluster/programs/behind.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <locale.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sdk/leftovers.h"

extern char **environ;

static void run_tidily(struct leftovers_history *h)
{
    assert_null(leftovers_restore(h, leftovers_depth(h, 1)));
}

static void test_when_it_is_looked_for(void **state)
{
    struct leftovers_history h = {0};
    for (unsigned i = 0; i < LEFTOVERS_RUNS; i++) {
        assert_int_equal(leftovers_depth(&h, 1), LEFTOVERS_ALL);
        run_tidily(&h);
    }
    assert_int_equal(leftovers_depth(&h, 1), LEFTOVERS_NONE);
    assert_int_equal(leftovers_depth(&h, LEFTOVERS_LONG_NS - 1), LEFTOVERS_NONE);
    assert_int_equal(leftovers_depth(&h, LEFTOVERS_LONG_NS), LEFTOVERS_SOME);
    assert_int_equal(leftovers_depth(&h, LEFTOVERS_LONGER_NS), LEFTOVERS_ALL);
}

/* One that left something is never trusted again. */
static void test_an_untidy_function(void **state)
{
    struct leftovers_history h = {.runs = LEFTOVERS_RUNS};
    umask(0123);
    assert_null(leftovers_restore(&h, LEFTOVERS_SOME));
    assert_int_equal(umask(022), 022);
    assert_true(h.untidy);
    assert_int_equal(leftovers_depth(&h, 1), LEFTOVERS_ALL);
}

static void test_memory(void **state)
{
    struct leftovers_history h = {0};
    char *path = getenv("PATH");
    for (int i = 0; i < 3; i++) {
        setenv("LEFT", "1", 1);
        setenv("PATH", "/nowhere", 1);
        unsetenv("HOME");
        assert_null(leftovers_restore(&h, LEFTOVERS_SOME));
        assert_null(getenv("LEFT"));
        assert_ptr_equal(getenv("PATH"), path);
        assert_string_equal(getenv("HOME"), "/a/home");
        clearenv();
        assert_null(leftovers_restore(&h, LEFTOVERS_SOME));
        assert_ptr_equal(getenv("PATH"), path);
    }
}

static void test_modes(void **state)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    int before;
    uselocale(c);
#if defined(__x86_64__)
    unsigned first, changed, now;
    __asm__ volatile("stmxcsr %0" : "=m"(first));
    changed = first | 0x4000u; /* rounds upward */
    __asm__ volatile("ldmxcsr %0" : : "m"(changed));
#endif
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    leftovers_restore_modes();
#if defined(__x86_64__)
    __asm__ volatile("stmxcsr %0" : "=m"(now));
    assert_int_equal(now & 0xffc0u, first & 0xffc0u);
#endif
    assert_true(uselocale((locale_t)0) == LC_GLOBAL_LOCALE);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
    assert_int_equal(before, PTHREAD_CANCEL_ENABLE);
    freelocale(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_when_it_is_looked_for),
        cmocka_unit_test(test_an_untidy_function),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_modes),
    };
    setenv("HOME", "/a/home", 1);
    umask(022);
    leftovers_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
