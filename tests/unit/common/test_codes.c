#include "common/codes.h"
#include "tests/unit/unit.h"

static void test_names(void **state)
{
    assert_string_equal(code_name(0), "DRT_OK");
    assert_string_equal(code_name(CODE_TIMEOUT), "DRT_E_TIMEOUT");
    assert_string_equal(code_name(CODE_REFUSED), "DRT_E_REFUSED");
    assert_string_equal(code_name(-ENOMEM), "ENOMEM");
    assert_string_equal(code_name(9999), "unknown code");
    assert_string_equal(code_name(-9999), "unknown error");
}

static void test_failure_set_clears_the_rest(void **state)
{
    struct failure f;
    memset(&f, 0xff, sizeof f);
    assert_int_equal(failure_set(&f, CODE_FULL, "the queue has %d", 7), CODE_FULL);
    assert_int_equal(f.code, CODE_FULL);
    assert_int_equal(f.signal, 0);
    assert_string_equal(f.task, "");
    assert_string_equal(f.message, "the queue has 7");
}

static void test_failure_set_may_use_its_own_texts(void **state)
{
    struct failure f;
    failure_set(&f, CODE_FAILED, "first");
    failure_set(&f, CODE_FAILED, "then %s", f.message);
    assert_string_equal(f.message, "then first");
}

static void test_failure_set_cuts_what_is_too_long(void **state)
{
    struct failure f;
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    failure_set(&f, CODE_FAILED, "%s", text);
    assert_int_equal(strlen(f.message), sizeof f.message - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_failure_set_clears_the_rest),
        cmocka_unit_test(test_failure_set_may_use_its_own_texts),
        cmocka_unit_test(test_failure_set_cuts_what_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
