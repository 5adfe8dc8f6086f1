#include "raylet/logs.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/unit/unit.h"

#define LIMIT_NS (10 * NS_PER_S)

struct rig {
    char *dir;
    struct loop *loop;
    struct logs *logs;
    struct buffer seen; /* by who follows */
};

static void on_lines(void *arg, uint32_t worker, uint32_t stream, struct bytes lines)
{
    struct rig *r = arg;
    buffer_printf(&r->seen, "%u.%u ", worker, stream);
    buffer_append(&r->seen, lines.data, lines.size);
}

static void rig_init(struct rig *r)
{
    r->seen = (struct buffer){0};
    r->dir = unit_make_dir();
    assert_int_equal(loop_new(&r->loop), 0);
    r->logs = logs_new(r->loop, r->dir, &(struct log_lines_owner){on_lines, r});
}

static void rig_fini(struct rig *r)
{
    logs_free(r->logs);
    buffer_fini(&r->seen);
    loop_free(r->loop);
    unit_remove_dir(&r->dir);
}

static struct logs_piece read_piece(struct rig *r, uint32_t worker, uint32_t stream,
                                    uint64_t offset, uint64_t max, struct buffer *text)
{
    struct logs_piece piece = {0};
    buffer_clear(text);
    assert_int_equal(logs_read(r->logs, worker, stream, offset, max, text, &piece), 0);
    return piece;
}

static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* Turns the loop until the stream is this long. */
static void until_end(struct rig *r, uint32_t worker, uint32_t stream, uint64_t end)
{
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    struct buffer text = {0};
    while (read_piece(r, worker, stream, 0, 0, &text).end < end) {
        assert_true(clock_now_ns() < deadline_ns);
        assert_true(loop_turn(r->loop, 10 * NS_PER_MS) >= 0);
    }
    buffer_fini(&text);
}

static void test_two_streams(void **state)
{
    struct rig r;
    int ends[2];
    struct buffer text = {0};
    rig_init(&r);
    assert_int_equal(logs_open(r.logs, 7, ends), 0);
    say(ends[0], "to out\n");
    say(ends[1], "to err\n");
    until_end(&r, 7, LOGS_OUT, 7);
    until_end(&r, 7, LOGS_ERR, 7);
    struct logs_piece piece = read_piece(&r, 7, LOGS_OUT, 3, 100, &text);
    assert_string_equal(buffer_text(&text), "out\n");
    assert_int_equal(piece.offset, 3);
    assert_int_equal(piece.end, 7);
    assert_false(piece.closed);
    (void)read_piece(&r, 7, LOGS_ERR, UINT64_MAX, 4, &text);
    assert_string_equal(buffer_text(&text), "err\n");
    assert_int_equal(logs_read(r.logs, 8, LOGS_OUT, 0, 10, &text, &piece), CODE_NOT_FOUND);
    assert_int_equal(logs_read(r.logs, 7, 3, 0, 10, &text, &piece), CODE_NOT_FOUND);

    /* What is still in the pipe when it ends counts, even when somebody holds the other end. */
    say(ends[0], "last");
    logs_ended(r.logs, 7);
    piece = read_piece(&r, 7, LOGS_OUT, 0, 100, &text);
    assert_string_equal(buffer_text(&text), "to out\nlast");
    assert_true(piece.closed);
    close_fd(&ends[0]);
    close_fd(&ends[1]);
    buffer_fini(&text);
    rig_fini(&r);
}

static void test_two_files_in_turn(void **state)
{
    struct rig r;
    int ends[2];
    char line[32], path[1024];
    struct buffer text = {0};
    rig_init(&r);
    logs_set_file_bytes(r.logs, 100);
    assert_int_equal(logs_open(r.logs, 1, ends), 0);
    for (int i = 0; i < 35; i++) { /* 350 bytes: files [200, 300) and [300, 350) are left */
        snprintf(line, sizeof line, "line %04d\n", i);
        say(ends[0], line);
    }
    until_end(&r, 1, LOGS_OUT, 350);
    struct logs_piece piece = read_piece(&r, 1, LOGS_OUT, 0, 1000, &text);
    assert_int_equal(piece.offset, 200);
    assert_int_equal(text.size, 150);
    assert_memory_equal(text.data, "line 0020\n", 10);
    assert_memory_equal(text.data + 140, "line 0034\n", 10);
    piece = read_piece(&r, 1, LOGS_OUT, 290, 20, &text);
    assert_string_equal(buffer_text(&text), "line 0029\nline 0030\n");
    snprintf(path, sizeof path, "%s/worker-1.out.1", r.dir);
    assert_int_equal(access(path, F_OK), 0);
    close_fd(&ends[0]);
    close_fd(&ends[1]);
    buffer_fini(&text);
    rig_fini(&r);
}

static void test_the_last_line(void **state)
{
    struct rig r;
    int ends[2];
    char line[256];
    rig_init(&r);
    assert_int_equal(logs_open(r.logs, 1, ends), 0);
    logs_last_line(r.logs, 1, line);
    assert_string_equal(line, "");
    say(ends[1], "first\nit \033[31mbroke\n\n   \n");
    logs_ended(r.logs, 1);
    logs_last_line(r.logs, 1, line);
    assert_string_equal(line, "it ?[31mbroke");
    logs_last_line(r.logs, 2, line);
    assert_string_equal(line, "");
    close_fd(&ends[0]);
    close_fd(&ends[1]);
    rig_fini(&r);
}

static void test_files_of_the_oldest_go(void **state)
{
    struct rig r;
    int ends[2];
    char path[1024];
    struct buffer text = {0};
    struct logs_piece piece;
    rig_init(&r);
    for (uint32_t i = 1; i <= LOGS_ENDED_MAX + 1; i++) {
        assert_int_equal(logs_open(r.logs, i, ends), 0);
        say(ends[0], "x");
        close_fd(&ends[0]);
        close_fd(&ends[1]);
        logs_ended(r.logs, i);
    }
    assert_int_equal(logs_read(r.logs, 1, LOGS_OUT, 0, 10, &text, &piece), CODE_NOT_FOUND);
    assert_int_equal(logs_read(r.logs, 2, LOGS_OUT, 0, 10, &text, &piece), 0);
    snprintf(path, sizeof path, "%s/worker-1.out", r.dir);
    assert_int_equal(access(path, F_OK), -1);
    snprintf(path, sizeof path, "%s/worker-2.out", r.dir);
    assert_int_equal(access(path, F_OK), 0);
    /* A silent one makes no file. */
    snprintf(path, sizeof path, "%s/worker-2.err", r.dir);
    assert_int_equal(access(path, F_OK), -1);
    buffer_fini(&text);
    rig_fini(&r);
}

static void test_followed(void **state)
{
    struct rig r;
    int ends[2], other[2];
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    rig_init(&r);
    logs_follow(r.logs, 9); /* nobody */
    assert_int_equal(logs_open(r.logs, 3, ends), 0);
    assert_int_equal(logs_open(r.logs, 4, other), 0);
    logs_follow(r.logs, 3);
    logs_follow(r.logs, 3);
    assert_int_equal(logs_next_ns(r.logs), NS_FOREVER);
    say(ends[0], "one\ntwo\n");
    say(other[0], "not followed\n");
    until_end(&r, 3, LOGS_OUT, 8);
    until_end(&r, 4, LOGS_OUT, 13);
    assert_string_equal(buffer_text(&r.seen), "3.1 one\ntwo\n");
    buffer_clear(&r.seen);
    say(ends[1], "three\nfo");
    while (r.seen.size == 0) {
        assert_true(clock_now_ns() < deadline_ns);
        assert_true(loop_turn(r.loop, 10 * NS_PER_MS) >= 0);
        logs_tick(r.logs, clock_now_ns());
    }
    assert_string_equal(buffer_text(&r.seen), "3.2 three\n");
    buffer_clear(&r.seen);
    say(ends[1], "ur");
    close_fd(&ends[0]);
    close_fd(&ends[1]);
    logs_ended(r.logs, 3);
    assert_string_equal(buffer_text(&r.seen), "3.2 four\n"); /* its last words, within it */
    logs_follow(r.logs, 3);
    assert_int_equal(logs_next_ns(r.logs), NS_FOREVER);
    logs_follow(r.logs, 4);
    close_fd(&other[0]);
    close_fd(&other[1]);
    rig_fini(&r); /* with one that is followed */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_streams),   cmocka_unit_test(test_two_files_in_turn),
        cmocka_unit_test(test_the_last_line), cmocka_unit_test(test_files_of_the_oldest_go),
        cmocka_unit_test(test_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
