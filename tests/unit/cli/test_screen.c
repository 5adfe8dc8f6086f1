#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/screen.h"
#include "common/clock.h"

#define NOW_MS UINT64_C(1769856210000) /* 2026-01-31 10:43:30 UTC */

static void assert_text(struct buffer *out, const char *expected)
{
    assert_string_equal(buffer_text(out), expected);
    buffer_clear(out);
}

static struct table *sample(void)
{
    static const struct table_column columns[] = {{.title = "N", .right = true},
                                                  {.title = "NAME", .flexible = true},
                                                  {.title = "X", .drop = 1}};
    struct table *t = table_new(columns, 3);
    table_row(t);
    table_cell(t, TONE_PLAIN, "7");
    table_cell(t, TONE_BAD, "%s", "abcdefghijklmnop");
    table_cell(t, TONE_PLAIN, "yes");
    table_row(t);
    table_cell(t, TONE_PLAIN, "1000");
    table_rest(t, TONE_DIM, "and all the rest of this line");
    return t;
}

static void tables_align(void **state)
{
    const struct screen s = {.now_unix_ms = NOW_MS};
    struct buffer out = {0};
    struct table *t = sample();
    assert_int_equal(table_row_count(t), 2);
    table_print(t, &s, 1, true, &out);
    assert_text(&out, "    N  NAME              X\n"
                      "    7  abcdefghijklmnop  yes\n"
                      " 1000  and all the rest of this line\n");
    table_free(t);
    buffer_fini(&out);
}

static void tables_fit_the_width(void **state)
{
    struct screen s = {.now_unix_ms = NOW_MS, .width = 22};
    struct buffer out = {0};
    struct table *t = sample();
    /* First the flexible column is cut, down to ten; then others are left out, and it grows again.
     */
    table_print(t, &s, 0, true, &out);
    assert_text(&out, "   N  NAME         X\n"
                      "   7  abcdefghij~  yes\n"
                      "1000  and all the res~\n");
    s.width = 20;
    s.utf8 = true;
    table_print(t, &s, 0, false, &out);
    assert_text(&out, "   7  abcdefghijklm\u2026\n"
                      "1000  and all the r\u2026\n");
    table_free(t);
    buffer_fini(&out);
}

static void colours_do_not_count(void **state)
{
    const struct screen s = {.now_unix_ms = NOW_MS, .terminal = true, .colour = true, .width = 80};
    struct buffer out = {0};
    struct table *t = sample();
    table_print(t, &s, 0, false, &out);
    assert_text(&out, "   7  \033[31mabcdefghijklmnop\033[0m  yes\n"
                      "1000  \033[2mand all the rest of this line\033[0m\n");
    table_free(t);
    buffer_fini(&out);
}

static void what_came_from_outside_is_cleaned(void **state)
{
    const struct screen ascii = {.now_unix_ms = NOW_MS};
    const struct screen utf8 = {.now_unix_ms = NOW_MS, .utf8 = true};
    struct buffer out = {0};
    screen_put(&ascii, &out, TONE_BAD, "a\033[2Jb\u00e9\n");
    assert_text(&out, "a?[2Jb??");
    screen_put(&utf8, &out, TONE_BAD, "\u00e9\xff");
    assert_text(&out, "\u00e9?");
    buffer_fini(&out);
}

static void amounts_and_bars(void **state)
{
    struct screen s = {.now_unix_ms = NOW_MS};
    char text[96], bar[32];
    screen_amount(text, 6, 8, "");
    assert_string_equal(text, "6.0/8");
    screen_amount(text, 4.12, 31.2, "GiB");
    assert_string_equal(text, "4.1/31.2 GiB");
    assert_string_equal(screen_bar(&s, 6, 8, bar), "");
    s.terminal = true;
    assert_string_equal(screen_bar(&s, 6, 8, bar), "######--");
    assert_string_equal(screen_bar(&s, -1, 8, bar), "--------");
    assert_string_equal(screen_bar(&s, 9, 8, bar), "########");
    assert_string_equal(screen_bar(&s, 0, 0, bar), "");
    s.utf8 = true;
    assert_string_equal(screen_bar(&s, 1, 8, bar),
                        "\u2588\u2591\u2591\u2591\u2591\u2591\u2591\u2591");
}

static void times_are_short_today(void **state)
{
    const struct screen s = {.now_unix_ms = NOW_MS};
    char text[32];
    assert_string_equal(screen_time(&s, NOW_MS - 1000, text), "10:43:29");
    assert_string_equal(screen_time(&s, NOW_MS - 11 * UINT64_C(3600000), text), "2026-01-30 23:43");
    assert_string_equal(screen_time(&s, 0, text), "-");
    assert_string_equal(screen_span(NOW_MS - 192 * 60000, NOW_MS, text), "3 h 12 min");
    assert_string_equal(screen_span(0, NOW_MS, text), "-");
    assert_string_equal(screen_span(NOW_MS, NOW_MS - 1, text), "-");
}

static void a_pipe_is_no_terminal(void **state)
{
    int fds[2];
    struct screen s;
    assert_int_equal(pipe(fds), 0);
    setenv("LC_ALL", "C.UTF-8", 1);
    screen_of(fds[1], &s);
    assert_false(s.terminal);
    assert_false(s.colour);
    assert_int_equal(s.width, 0);
    assert_true(s.utf8);
    assert_true(s.now_unix_ms > NOW_MS);
    setenv("LC_ALL", "C", 1);
    screen_of(fds[1], &s);
    assert_false(s.utf8);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    tzset();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_align),
        cmocka_unit_test(tables_fit_the_width),
        cmocka_unit_test(colours_do_not_count),
        cmocka_unit_test(what_came_from_outside_is_cleaned),
        cmocka_unit_test(amounts_and_bars),
        cmocka_unit_test(times_are_short_today),
        cmocka_unit_test(a_pipe_is_no_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
