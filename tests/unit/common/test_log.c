#include "common/log.h"

#include <unistd.h>

#include "common/clock.h"
#include "tests/unit/unit.h"

static int saved_stderr;
static FILE *written;

static void begin(void)
{
    fflush(stderr);
    saved_stderr = dup(STDERR_FILENO);
    written = tmpfile();
    assert_non_null(written);
    dup2(fileno(written), STDERR_FILENO);
}

/* What went to standard error since begin(). */
static const char *end(void)
{
    static char text[8192];
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    rewind(written);
    size_t size = fread(text, 1, sizeof text - 1, written);
    text[size] = '\0';
    fclose(written);
    return text;
}

static void test_a_line(void **state)
{
    begin();
    log_init("tester", LOG_LEVEL_INFO);
    log_info("node %d joined", 7);
    log_debug("not shown");
    const char *text = end();
    assert_non_null(strstr(text, "Z info tester: node 7 joined\n"));
    assert_null(strstr(text, "not shown"));
}

static void test_the_variable_overrides(void **state)
{
    setenv("DRT_LOG", "error", 1);
    begin();
    log_init("tester", LOG_LEVEL_DEBUG);
    log_warn("quiet");
    log_error("loud");
    const char *text = end();
    unsetenv("DRT_LOG");
    assert_null(strstr(text, "quiet"));
    assert_non_null(strstr(text, " error tester: loud\n"));
}

static void test_one_line_stays_one(void **state)
{
    static char big[5000];
    memset(big, 'x', sizeof big - 1);
    begin();
    log_init("tester", LOG_LEVEL_INFO);
    log_info("first\nsecond \x1b[31m");
    log_info("%s", big);
    const char *text = end();
    const char *newline = strchr(text, '\n');
    assert_non_null(strstr(text, "first?second ?[31m\n"));
    assert_non_null(newline);
    const char *last = strchr(newline + 1, '\n');
    assert_non_null(last);
    assert_string_equal(last, "\n");
    assert_true(strlen(newline + 1) <= 2048);
}

static void test_limited(void **state)
{
    struct log_limit limit = {0};
    begin();
    log_init("tester", LOG_LEVEL_INFO);
    for (int i = 0; i < 100; i++) {
        log_limited(&limit, LOG_LEVEL_WARN, "again %d", i);
        limit.next_ns = NS_FOREVER; /* the clock stands still */
    }
    assert_int_equal(limit.left_out, 99);
    limit.next_ns = 0;
    log_limited(&limit, LOG_LEVEL_WARN, "once more");
    const char *text = end();
    assert_non_null(strstr(text, "again 0\n"));
    assert_null(strstr(text, "again 1\n"));
    assert_non_null(strstr(text, "99 lines"));
    assert_non_null(strstr(text, "once more\n"));
    assert_int_equal(limit.left_out, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line),
        cmocka_unit_test(test_the_variable_overrides),
        cmocka_unit_test(test_one_line_stays_one),
        cmocka_unit_test(test_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
