#include "raylet/dump_file.h"

#include <signal.h>

#include "tests/unit/unit.h"

static void test_names(void **state)
{
    char text[DUMP_FILE_TEXT];
    dump_file_name("core", false, 77, SIGSEGV, "/srv/x", text);
    assert_string_equal(text, "/srv/x/core");
    dump_file_name("core", true, 77, SIGSEGV, "/srv/x", text);
    assert_string_equal(text, "/srv/x/core.77");
    dump_file_name("/var/core/%e.%p.%s%%", true, 77, SIGSEGV, "/srv/x", text);
    assert_string_equal(text, "/var/core/%e.77.11%");
    dump_file_name("%", false, 77, SIGSEGV, "", text);
    assert_string_equal(text, "%");
}

static void test_none_was_written(void **state)
{
    char text[DUMP_FILE_TEXT];
    dump_file_describe(77, SIGSEGV, "/", text);
    assert_string_equal(text, "");
    dump_file_describe(77, 3 << 8, "/", text); /* exit(3) */
    assert_string_equal(text, "");
}

static void test_one_that_is_not_there(void **state)
{
    char text[DUMP_FILE_TEXT];
    dump_file_describe(77, SIGSEGV | 0x80, "/nowhere", text);
    assert_true(text[0] != '\0');
    assert_null(strstr(text, "/nowhere"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_none_was_written),
        cmocka_unit_test(test_one_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
