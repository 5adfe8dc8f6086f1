#include "raylet/host_name.h"

#include "tests/unit/unit.h"

static void is_called(const char *host, const char *name, bool same)
{
    char made[64];
    assert_int_equal(host_name_make(host, made), same);
    assert_string_equal(made, name);
}

static void test_names(void **state)
{
    char longest[65], cut[64];
    memset(longest, 'x', 64);
    memset(cut, 'x', 63);
    longest[64] = cut[63] = '\0';
    is_called("box-1", "box-1", true);
    is_called("box-1.example.org", "box-1", true);
    is_called("b_2", "b_2", true);
    is_called("a--b", "a--b", true);
    is_called("", "node", false);
    is_called("(none)", "none-", false);
    is_called(".hidden", "node", false);
    is_called("-x", "x", false);
    is_called("b\xc3\xb6x", "b-x", false);
    is_called("\xe6\xa9\x9f", "node", false);
    is_called("two words", "two-words", false);
    is_called("tab\t/../etc", "tab-", false);
    is_called(longest, cut, false);
    is_called(cut, cut, true);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
