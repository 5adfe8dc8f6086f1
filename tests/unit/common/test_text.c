#include "common/clock.h"
#include "common/text.h"
#include "tests/unit/unit.h"

struct row {
    const char *text;
    int result;
    uint64_t value;
};

static void check_rows(const struct row *rows, size_t count, int (*parse)(const char *, uint64_t *))
{
    for (size_t i = 0; i < count; i++) {
        uint64_t value = 4711;
        int r = parse(rows[i].text, &value);
        if (r != rows[i].result || value != (r == 0 ? rows[i].value : 4711)) {
            fail_msg("\"%s\" gave %d and %llu", rows[i].text, r, (unsigned long long)value);
        }
    }
}

static void test_parse_size(void **state)
{
    static const struct row rows[] = {
        {"0", 0, 0},
        {"512", 0, 512},
        {"512B", 0, 512},
        {"512M", 0, 512ull << 20},
        {"512m", 0, 512ull << 20},
        {"4GiB", 0, 4ull << 30},
        {"4GB", 0, 4ull << 30},
        {"1T", 0, 1ull << 40},
        {"1.5K", 0, 1536},
        {"0.5GiB", 0, 1ull << 29},
        {"16777215T", 0, 16777215ull << 40},
        {"16777216T", -ERANGE, 0},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {"M", -EINVAL, 0},
        {"1X", -EINVAL, 0},
        {"1 M", -EINVAL, 0},
        {"1Mi", -EINVAL, 0},
        {"1iB", -EINVAL, 0},
        {"1.5", -EINVAL, 0},
        {"1.M", -EINVAL, 0},
        {".5M", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
        {"1,5K", -EINVAL, 0},
        {"1e3", -EINVAL, 0},
    };
    check_rows(rows, ARRAY_SIZE(rows), text_parse_size);
}

static void test_parse_duration(void **state)
{
    static const struct row rows[] = {
        {"0", 0, 0},
        {"30", 0, 30 * NS_PER_S},
        {"30s", 0, 30 * NS_PER_S},
        {"250ms", 0, 250 * NS_PER_MS},
        {"7us", 0, 7000},
        {"9ns", 0, 9},
        {"5m", 0, 300 * NS_PER_S},
        {"5min", 0, 300 * NS_PER_S},
        {"2h", 0, 7200 * NS_PER_S},
        {"1d", 0, 86400 * NS_PER_S},
        {"1.5h", 0, 5400 * NS_PER_S},
        {"0.25", 0, 250 * NS_PER_MS},
        {"213503d", 0, 213503 * (86400 * NS_PER_S)},
        {"213504d", -ERANGE, 0},
        {"99999999999999999999s", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"s", -EINVAL, 0},
        {"5 m", -EINVAL, 0},
        {"5M", -EINVAL, 0},
        {"-5s", -EINVAL, 0},
        {"5s ", -EINVAL, 0},
    };
    check_rows(rows, ARRAY_SIZE(rows), text_parse_duration);
}

static int parse_port(const char *text, uint64_t *ret)
{
    return text_parse_u64(text, 65535, ret);
}

static void test_parse_u64(void **state)
{
    static const struct row rows[] = {
        {"0", 0, 0},
        {"65535", 0, 65535},
        {"007", 0, 7},
        {"65536", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"1.0", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"1k", -EINVAL, 0},
        {"99999999999999999999", -ERANGE, 0},
    };
    check_rows(rows, ARRAY_SIZE(rows), parse_port);
}

static void test_parse_double(void **state)
{
    double value = 77;
    assert_int_equal(text_parse_double("1.5", &value), 0);
    assert_true(value == 1.5);
    assert_int_equal(text_parse_double("-0.25", &value), 0);
    assert_true(value == -0.25);
    assert_int_equal(text_parse_double("3", &value), 0);
    assert_true(value == 3);
    static const char *const bad[] = {"", "-", "nan", "inf", "1.", ".5", "1,5", "1.5x", "--1"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(text_parse_double(bad[i], &value), -EINVAL);
        assert_true(value == 3);
    }
}

static void test_format_size(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {1536, "1.5 KiB"},
        {(1ull << 20) - 1, "1.0 MiB"},
        {33501757440, "31.2 GiB"},
        {1ull << 40, "1.0 TiB"},
        {UINT64_MAX, "16.0 EiB"},
    };
    char out[32];
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_string_equal(text_format_size(rows[i].bytes, out), rows[i].text);
    }
}

static void test_format_span(void **state)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } rows[] = {
        {0, "0 ns"},
        {1500, "1.5 us"},
        {250 * NS_PER_MS, "250 ms"},
        {1500 * NS_PER_MS, "1.5 s"},
        {3600 * NS_PER_S, "3600 s"},
        {NS_PER_S + 1, "1.000000001 s"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char out[32];
        assert_string_equal(text_format_span(rows[i].ns, out), rows[i].text);
    }
}

static void test_format_duration(void **state)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } rows[] = {
        {0, "0 us"},
        {999, "0 us"},
        {5 * NS_PER_MS, "5 ms"},
        {NS_PER_S - 1, "999 ms"},
        {41 * NS_PER_S, "41 s"},
        {60 * NS_PER_S, "1 min"},
        {(3 * 3600 + 12 * 60 + 59) * NS_PER_S, "3 h 12 min"},
        {(2 * 86400 + 5 * 3600) * NS_PER_S, "2 d 5 h"},
        {UINT64_MAX, "213503 d 23 h"},
    };
    char out[32];
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_string_equal(text_format_duration(rows[i].ns, out), rows[i].text);
    }
}

static void test_format_count(void **state)
{
    char out[32];
    assert_string_equal(text_format_count(0, out), "0");
    assert_string_equal(text_format_count(999, out), "999");
    assert_string_equal(text_format_count(1000, out), "1,000");
    assert_string_equal(text_format_count(10233, out), "10,233");
    assert_string_equal(text_format_count(UINT64_MAX, out), "18,446,744,073,709,551,615");
}

static void test_format_rfc3339(void **state)
{
    char out[40];
    assert_string_equal(text_format_rfc3339(0, out), "1970-01-01T00:00:00.000Z");
    assert_string_equal(text_format_rfc3339(1769856067123, out), "2026-01-31T10:41:07.123Z");
    assert_string_equal(text_format_rfc3339(UINT64_MAX, out), "9999-12-31T23:59:59.999Z");
}

static void test_copy_cuts_and_terminates(void **state)
{
    char out[4];
    assert_true(text_copy(out, sizeof out, "abc"));
    assert_string_equal(out, "abc");
    assert_false(text_copy(out, sizeof out, "abcd"));
    assert_string_equal(out, "abc");
    assert_true(text_copy(out, 1, ""));
    assert_string_equal(out, "");
    assert_false(text_copy(out, 1, "x"));
    assert_string_equal(out, "");
}

static void test_clean(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"plain text~", "plain text~"},
        {"a\nb\tc\x7f", "a?b?c?"},
        {"\x1b[31mred", "?[31mred"},
        {"h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\xc3", "?"},
        {"\xc3(", "?("},
        {"\xe2\x82", "??"},
        {"\xc0\xaf", "??"},
        {"\xed\xa0\x80", "???"},
        {"\xf4\x90\x80\x80", "????"},
        {"\xc2\x9b", "??"},
        {"\xff\xfe", "??"},
        {"a\xe2\x80\xae"
         "b",
         "a???b"},                              /* U+202E: what follows would run backwards */
        {"\xe2\x81\xa6\xe2\x81\xa9", "??????"}, /* U+2066, U+2069 */
        {"\xd8\x9c\xe2\x80\x8f", "?????"},      /* U+061C, U+200F */
        {"\xe2\x80\x8b\xef\xbb\xbf", "??????"}, /* no width: U+200B, U+FEFF */
        {"\xe2\x80\xa8\xc2\xad", "?????"},      /* U+2028, U+00AD */
        {"\xf3\xa0\x81\x81", "????"},           /* U+E0041, a tag */
        {"\xe2\x80\xa7\xe2\x80\xaf", "\xe2\x80\xa7\xe2\x80\xaf"}, /* their neighbours */
        {"\xe2\x9d\xa4\xef\xb8\x8f", "\xe2\x9d\xa4\xef\xb8\x8f"}, /* a heart, as a picture */
        {"\xd7\xa9\xd7\x9c", "\xd7\xa9\xd7\x9c"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char text[64];
        assert_true(text_copy(text, sizeof text, rows[i].in));
        text_clean(text);
        assert_string_equal(text, rows[i].out);
    }
}

static PRINTF(3, 4) void formatted(char *dst, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_vformat(dst, size, format, args);
    va_end(args);
}

/* What is cut says so, and cuts no character. */
static void test_shorten(void **state)
{
    char text[9], one[1];
    text_shorten(text, sizeof text, "12345678");
    assert_string_equal(text, "12345678");
    text_shorten(text, sizeof text, "123456789");
    assert_string_equal(text, "12345...");
    text_shorten(text, sizeof text,
                 "1234\xc3\xb6"
                 "6789");
    assert_string_equal(text, "1234...");
    formatted(text, sizeof text, "%d-%s", 12, "abcde");
    assert_string_equal(text, "12-abcde");
    formatted(text, sizeof text, "%d-%s", 12, "abcdefgh");
    assert_string_equal(text, "12-ab...");
    text_shorten(one, sizeof one, "x");
    assert_string_equal(one, "");
    text_shorten(text, 3, "xyz");
    assert_string_equal(text, "..");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_size),      cmocka_unit_test(test_parse_duration),
        cmocka_unit_test(test_parse_u64),       cmocka_unit_test(test_parse_double),
        cmocka_unit_test(test_format_size),     cmocka_unit_test(test_format_span),
        cmocka_unit_test(test_format_duration), cmocka_unit_test(test_format_count),
        cmocka_unit_test(test_format_rfc3339),  cmocka_unit_test(test_copy_cuts_and_terminates),
        cmocka_unit_test(test_clean),           cmocka_unit_test(test_shorten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
