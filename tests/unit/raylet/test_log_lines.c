#include "raylet/log_lines.h"

#include "common/clock.h"
#include "tests/unit/unit.h"

#define BATCHES_MAX 4096

struct rig {
    struct log_lines *lines;
    struct buffer text[2]; /* all that was given, by stream */
    struct bytes last;
    size_t batches, largest;
    bool whole; /* the last of them ended with a line */
    uint64_t now_ns;
};

static void on_lines(void *arg, uint32_t worker, uint32_t stream, struct bytes lines)
{
    struct rig *r = arg;
    assert_int_equal(worker, 7);
    assert_in_range(stream, 1, 2);
    assert_true(lines.size > 0 && lines.size <= LOG_LINES_BYTES_MAX);
    r->whole = ((const char *)lines.data)[lines.size - 1] == '\n';
    buffer_append(&r->text[stream - 1], lines.data, lines.size);
    r->batches++;
    r->largest = MAX_OF(r->largest, lines.size);
}

static void rig_init(struct rig *r)
{
    *r = (struct rig){.now_ns = 5 * NS_PER_S};
    r->lines =
        log_lines_new(7, r->now_ns, &(struct log_lines_owner){.on_lines = on_lines, .arg = r});
}

static void rig_fini(struct rig *r)
{
    log_lines_free(r->lines);
    buffer_fini(&r->text[0]);
    buffer_fini(&r->text[1]);
}

static void say(struct rig *r, uint32_t stream, const char *text)
{
    log_lines_add(r->lines, r->now_ns, stream, bytes_of_text(text));
}

/* Time goes on, from deadline to deadline. */
static void pass(struct rig *r, uint64_t ns)
{
    uint64_t end_ns = r->now_ns + ns;
    while (log_lines_next_ns(r->lines) <= end_ns) {
        assert_true(log_lines_next_ns(r->lines) >= r->now_ns);
        r->now_ns = log_lines_next_ns(r->lines);
        log_lines_tick(r->lines, r->now_ns);
        assert_true(log_lines_next_ns(r->lines) > r->now_ns);
    }
    r->now_ns = end_ns;
}

static void expect(struct rig *r, uint32_t stream, const char *text)
{
    assert_string_equal(buffer_text(&r->text[stream - 1]), text);
}

static void test_whole_lines(void **state)
{
    struct rig r;
    rig_init(&r);
    assert_int_equal(log_lines_next_ns(r.lines), NS_FOREVER);
    say(&r, 1, "one\ntw");
    expect(&r, 1, "one\n"); /* at once: nothing came before */
    say(&r, 1, "o");
    say(&r, 1, "\n\nthree");
    say(&r, 2, "other\n");
    expect(&r, 1, "one\n");
    pass(&r, LOG_LINES_PAUSE_NS);
    expect(&r, 1, "one\ntwo\n\n");
    expect(&r, 2, "other\n");
    assert_int_equal(r.batches, 3);
    assert_true(r.whole);
    log_lines_end(r.lines, r.now_ns);
    expect(&r, 1, "one\ntwo\n\nthree\n");
    rig_fini(&r);
}

/* A prompt, or progress: it is given on when its end does not come soon, and once. */
static void test_parts_of_lines(void **state)
{
    struct rig r;
    rig_init(&r);
    say(&r, 1, "10%\r");
    pass(&r, LOG_LINES_PART_NS - 1);
    expect(&r, 1, "");
    pass(&r, LOG_LINES_PAUSE_NS);
    expect(&r, 1, "10%\r");
    assert_false(r.whole);
    pass(&r, NS_PER_S);
    assert_int_equal(r.batches, 1);
    assert_int_equal(log_lines_next_ns(r.lines), NS_FOREVER);
    say(&r, 1, "20");
    log_lines_flush(r.lines, r.now_ns);
    expect(&r, 1, "10%\r20");
    say(&r, 1, "%\rdone\nnext");
    pass(&r, NS_PER_S);
    expect(&r, 1, "10%\r20%\rdone\nnext");
    log_lines_end(r.lines, r.now_ns);
    expect(&r, 1, "10%\r20%\rdone\nnext\n");
    rig_fini(&r);
}

/* Also of much that never ends a line. */
static void test_parts_keep_the_rate(void **state)
{
    struct rig r;
    struct buffer text = {0};
    rig_init(&r);
    memset(buffer_extend(&text, 1000), 'x', 1000);
    for (int i = 0; i < 20000; i++) { /* 20 MB in 2 s */
        log_lines_add(r.lines, r.now_ns, 1, bytes_of(text.data, text.size));
        pass(&r, NS_PER_S / 10000);
    }
    pass(&r, 2 * NS_PER_S);
    assert_in_range(r.text[0].size, LOG_LINES_RATE, 4 * LOG_LINES_RATE);
    buffer_fini(&text);
    rig_fini(&r);
}

static void test_batches(void **state)
{
    struct rig r;
    rig_init(&r);
    for (int i = 0; i < 1000; i++) {
        say(&r, 1, "a line of some text\n");
        pass(&r, NS_PER_MS);
    }
    pass(&r, NS_PER_S);
    assert_int_equal(r.text[0].size, 20000);
    assert_in_range(r.batches, 15, 25);
    rig_fini(&r);
}

static void test_much_at_once(void **state)
{
    struct rig r;
    struct buffer text = {0};
    rig_init(&r);
    for (int i = 0; i < 20000; i++) {
        buffer_printf(&text, "%08d\n", i);
    }
    log_lines_add(r.lines, r.now_ns, 1, bytes_of(text.data, text.size));
    pass(&r, LOG_LINES_PAUSE_NS);
    assert_int_equal(r.text[0].size, text.size);
    assert_memory_equal(r.text[0].data, text.data, text.size);
    assert_in_range(r.batches, 3, 4);
    assert_in_range(r.largest, LOG_LINES_BYTES_MAX - 9, LOG_LINES_BYTES_MAX);
    buffer_fini(&text);
    rig_fini(&r);
}

static void test_a_line_without_end(void **state)
{
    struct rig r;
    struct buffer text = {0};
    rig_init(&r);
    memset(buffer_extend(&text, 2 * LOG_LINES_BYTES_MAX), 'x', 2 * LOG_LINES_BYTES_MAX);
    for (size_t at = 0; at < text.size; at += 1000) {
        log_lines_add(r.lines, r.now_ns, 2,
                      bytes_of(text.data + at, MIN_OF((size_t)1000, text.size - at)));
    }
    say(&r, 2, "\nend\n");
    pass(&r, LOG_LINES_PAUSE_NS);
    /* Two full pieces, what is left of it, and the line behind. */
    assert_int_equal(r.text[1].size, text.size + 2 + 1 + 4);
    assert_int_equal(r.text[1].data[LOG_LINES_BYTES_MAX - 1], '\n');
    assert_string_equal(buffer_text(&r.text[1]) + text.size, "xx\nend\n");
    assert_int_equal(r.largest, LOG_LINES_BYTES_MAX);
    buffer_fini(&text);
    rig_fini(&r);
}

/* A worker that writes all the time, faster than it may. */
static void test_too_much(void **state)
{
    struct rig r;
    struct buffer piece = {0};
    uint64_t wrote = 0, told = 0, given = 0;
    rig_init(&r);
    for (int i = 0; i < 1000; i++) {
        buffer_append_text(&piece, "0123456789012345678901234567890\n");
    }
    for (int i = 0; i < 1000; i++) { /* 32 MB in ten seconds */
        log_lines_add(r.lines, r.now_ns, 1, bytes_of(piece.data, piece.size));
        wrote += 1000;
        pass(&r, 10 * NS_PER_MS);
    }
    assert_in_range(r.text[0].size, 9 * LOG_LINES_RATE, 12 * LOG_LINES_RATE);
    pass(&r, NS_PER_S);
    assert_int_equal(log_lines_next_ns(r.lines), NS_FOREVER); /* nothing is kept back */
    unsigned notes = 0;
    char *rest = (char *)buffer_text(&r.text[0]);
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        unsigned long long n = 0;
        char end[64] = "";
        if (sscanf(line, "... %llu lines left out, %63[a-z0-9 -]", &n, end) == 2) {
            assert_string_equal(end, "drt logs --worker 7");
            told += n;
            notes++;
        } else {
            given += line[0] != '\0';
        }
    }
    assert_int_equal(given + told, wrote);
    assert_in_range(notes, 5, 60);
    /* It is quiet for a while: then all comes again. */
    size_t before = r.text[0].size;
    say(&r, 1, "after\n");
    assert_int_equal(r.text[0].size, before + 6);
    buffer_fini(&piece);
    rig_fini(&r);
}

static void test_left_out_at_the_end(void **state)
{
    struct rig r;
    struct buffer piece = {0};
    rig_init(&r);
    memset(buffer_extend(&piece, 60000), 'y', 60000);
    piece.data[59999] = '\n';
    for (int i = 0; i < 18; i++) {
        log_lines_add(r.lines, r.now_ns, 2, bytes_of(piece.data, piece.size));
    }
    say(&r, 2, "half");
    log_lines_end(r.lines, r.now_ns);
    const char *end = buffer_text(&r.text[1]) + 17 * piece.size;
    assert_string_equal(end, "... 2 lines left out, drt logs --worker 7\n");
    buffer_fini(&piece);
    rig_fini(&r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_lines),    cmocka_unit_test(test_batches),
        cmocka_unit_test(test_much_at_once),   cmocka_unit_test(test_a_line_without_end),
        cmocka_unit_test(test_too_much),       cmocka_unit_test(test_left_out_at_the_end),
        cmocka_unit_test(test_parts_of_lines), cmocka_unit_test(test_parts_keep_the_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
