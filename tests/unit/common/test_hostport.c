#include "common/hostport.h"
#include "tests/unit/unit.h"

static void test_parse(void **state)
{
    char host[HOSTPORT_HOST_SIZE];
    uint16_t port = 0;
    assert_int_equal(hostport_parse("10.0.0.5:80", 0, host, &port), 0);
    assert_string_equal(host, "10.0.0.5");
    assert_int_equal(port, 80);
    assert_int_equal(hostport_parse("box", 7420, host, &port), 0);
    assert_int_equal(port, 7420);
    assert_int_equal(hostport_parse("[fe80::1]:7420", 0, host, &port), 0);
    assert_string_equal(host, "fe80::1");
    assert_int_equal(hostport_parse("[FE80::1%eth0]", 7420, host, &port), 0);
    assert_string_equal(host, "FE80::1%eth0");
}

static void test_parse_refuses(void **state)
{
    static const char *const bad[] = {
        "",           ":80",          "a",
        "a:",         "a:99999",      "a:1x",
        "a b:1",      "[::1:80",      "[::1]80",
        "a:+1",       "a:0",          "a:65536",
        "a:-1",       "::1",          "10.0.0.300",
        "1.2.3:7420", "[]:1",         "[box]:7420",
        "[::g]:1",    "[fe80::1%]",   "[10.0.0.5]:1",
        "http://a:1", "10.0.0.5:1:2", "a/b:80",
        "::1:7420",   "[::1]:",       "[::1]:0",
        "a\n:1",
    };
    char host[HOSTPORT_HOST_SIZE];
    uint16_t port;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (hostport_parse(bad[i], strchr(bad[i], '.') || strchr(bad[i], '[') ? 7420 : 0, host,
                           &port) != -EINVAL) {
            fail_msg("\"%s\" was taken", bad[i]);
        }
    }
    char long_one[400];
    memset(long_one, 'a', sizeof long_one - 1);
    long_one[sizeof long_one - 1] = '\0';
    assert_int_equal(hostport_parse(long_one, 1, host, &port), -EINVAL);
}

static void test_format(void **state)
{
    char text[HOSTPORT_SIZE];
    hostport_format("10.0.0.5", 80, text);
    assert_string_equal(text, "10.0.0.5:80");
    hostport_format("fe80::1", 7420, text);
    assert_string_equal(text, "[fe80::1]:7420");
    hostport_format("[::1]", 1, text);
    assert_string_equal(text, "[::1]:1");
}

static void test_bind(void **state)
{
    static const char *const bad[] = {"box",  "10.0.0.300",  "[::1",
                                      "::1]", "10.0.0.5:80", "[::1]:1"};
    char host[HOSTPORT_HOST_SIZE];
    assert_true(hostport_is_any(NULL) && hostport_is_any("*") && hostport_is_any("::"));
    assert_false(hostport_is_any("::1") || hostport_is_any("10.0.0.5"));
    assert_int_equal(hostport_parse_bind("[::1]", host), 0);
    assert_string_equal(host, "::1");
    assert_int_equal(hostport_parse_bind("10.0.0.5", host), 0);
    assert_string_equal(host, "10.0.0.5");
    assert_int_equal(hostport_parse_bind("*", host), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(hostport_parse_bind(bad[i], host), -EINVAL);
    }
}

static void test_normalize(void **state)
{
    static const char *const rows[][2] = {
        {"10.0.0.5", "10.0.0.5"},         {"::ffff:10.0.0.5", "10.0.0.5"},
        {"::FFFF:0A00:0005", "10.0.0.5"}, {"2001:0DB8:0:0:0:0:0:5", "2001:db8::5"},
        {"FE80::1%eth0", "fe80::1%eth0"}, {"Box-1.Example", "box-1.example"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char host[HOSTPORT_HOST_SIZE];
        hostport_normalize(rows[i][0], host);
        assert_string_equal(host, rows[i][1]);
    }
}

static void test_kinds(void **state)
{
    assert_true(hostport_is_loopback("127.0.0.1") && hostport_is_loopback("127.3.2.1"));
    assert_true(hostport_is_loopback("::1") && hostport_is_loopback("0:0::1"));
    assert_true(hostport_is_loopback("::ffff:127.0.0.1"));
    assert_false(hostport_is_loopback("10.127.0.1") || hostport_is_loopback("::2"));
    assert_false(hostport_is_loopback("localhost") || hostport_is_loopback(""));
    assert_true(hostport_is_numeric("10.0.0.5") && hostport_is_numeric("fe80::1%eth0"));
    assert_false(hostport_is_numeric("box") || hostport_is_numeric("10.0.0"));
    assert_true(hostport_is_link_local("fe80::1%eth0") && hostport_is_link_local("FEBF::1"));
    assert_false(hostport_is_link_local("fec0::1") || hostport_is_link_local("169.254.0.1"));
}

static void test_same(void **state)
{
    assert_true(hostport_same("[::1]:80", "[0:0::1]:80") && hostport_same("Box:1", "box:1"));
    assert_true(hostport_same("[::ffff:10.0.0.5]:80", "10.0.0.5:80"));
    assert_false(hostport_same("box:1", "box:2") || hostport_same("box:1", "box-2:1"));
    assert_false(hostport_same("box", "box:1") || hostport_same("", "box:1"));
    assert_true(hostport_same("", "")); /* what is written alike is alike */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),     cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_format),    cmocka_unit_test(test_bind),
        cmocka_unit_test(test_normalize), cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
