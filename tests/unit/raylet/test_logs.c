#include "raylet/logs.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/clock.h"
#include "raylet/log_query.h"
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
    r->logs = logs_new(r->loop, r->dir, &(struct log_lines_owner){.on_lines = on_lines, .arg = r});
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
    say(ends[0], "main\n"); /* before it serves: nobody asked for that */
    logs_serves(r.logs, 3, NULL, NULL);
    logs_serves(r.logs, 4, NULL, NULL);
    say(ends[0], "one\ntwo\n");
    say(other[0], "not followed\n");
    until_end(&r, 3, LOGS_OUT, 13);
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

/* ---- whose it is ---- */

#define WORKER 5
static const struct object_id first = {1, 2, 3}, second = {1, 2, 4};

static struct state_reply query(struct rig *r, struct state_query q, struct log_body body,
                                struct buffer *data)
{
    struct state_reply reply;
    buffer_clear(data);
    q.worker = WORKER;
    q.id = "1-2.3";
    log_query_answer(r->logs, "n1", &q, &body, data, &reply);
    assert_true(reply.last);
    return reply;
}

static void assert_log(const struct state_reply *reply, const char *text, bool closed)
{
    assert_int_equal(reply->failure.code, 0);
    assert_int_equal(reply->log.size, strlen(text));
    assert_memory_equal(reply->log.data, text, strlen(text));
    assert_true(reply->log_closed == closed);
}

static void test_each_task_has_its_part(void **state)
{
    struct rig r;
    int ends[2];
    struct buffer data = {0};
    rig_init(&r);
    assert_int_equal(logs_open(r.logs, WORKER, ends), 0);
    say(ends[0], "main\n");
    logs_serves(r.logs, WORKER, NULL, NULL);
    say(ends[0], "first\n");
    say(ends[1], "wrong\n");
    logs_wrote(r.logs, WORKER, first, 1, 11, 6); /* what it says may not be read yet */
    say(ends[0], "second\n");
    logs_wrote(r.logs, WORKER, second, 1, 18, 0);
    logs_take(r.logs, WORKER);

    const struct log_body body = {.task = first};
    struct state_reply reply = query(&r, (struct state_query){.kind = STATE_OUTPUT}, body, &data);
    assert_int_equal(reply.output_count, 2);
    assert_false(reply.outputs_lost);
    assert_string_equal(reply.outputs[0].node, "n1");
    assert_int_equal(reply.outputs[0].stream, LOGS_OUT);
    assert_int_equal(reply.outputs[0].begin, 5);
    assert_int_equal(reply.outputs[0].end, 11);
    assert_int_equal(reply.outputs[1].stream, LOGS_ERR);
    assert_int_equal(reply.outputs[1].begin, 0);
    assert_false(reply.outputs[1].running);
    reply =
        query(&r, (struct state_query){.kind = STATE_LOG, .stream = 1, .offset = 5}, body, &data);
    assert_log(&reply, "first\n", true);
    reply =
        query(&r, (struct state_query){.kind = STATE_LOG, .stream = 1, .offset = 4}, body, &data);
    assert_int_equal(reply.failure.code, CODE_NOT_FOUND); /* of no task */

    const struct log_body other = {.task = second};
    reply =
        query(&r, (struct state_query){.kind = STATE_LOG, .stream = 1, .offset = 11}, other, &data);
    assert_log(&reply, "second\n", true);
    close_fd(&ends[0]);
    close_fd(&ends[1]);
    buffer_fini(&data);
    rig_fini(&r);
}

/* What came since the task before is its own as long as the next has not begun. */
static void test_a_task_that_runs(void **state)
{
    struct rig r;
    int ends[2];
    struct buffer data = {0};
    const struct state_query at_mark = {.kind = STATE_LOG, .stream = 1, .offset = 7};
    rig_init(&r);
    assert_int_equal(logs_open(r.logs, WORKER, ends), 0);
    logs_serves(r.logs, WORKER, NULL, NULL);
    say(ends[0], "before\nnow");
    logs_take(r.logs, WORKER);
    logs_wrote(r.logs, WORKER, second, 1, 7, 0);

    struct log_body body = {.task = first, .worker = WORKER, .attempt = 2};
    struct state_reply reply = query(&r, (struct state_query){.kind = STATE_OUTPUT}, body, &data);
    assert_int_equal(reply.output_count, 2);
    assert_true(reply.outputs[0].running);
    assert_int_equal(reply.outputs[0].attempt, 2);
    assert_int_equal(reply.outputs[0].begin, 7);
    reply = query(&r, at_mark, body, &data);
    assert_log(&reply, "now", false);
    body.may_have_ended = true;
    reply = query(&r, at_mark, body, &data);
    assert_log(&reply, "", false);
    assert_true(reply.log_end > 7); /* there is more */

    logs_ended(r.logs, WORKER); /* it crashes */
    logs_wrote(r.logs, WORKER, first, 2, UINT64_MAX, UINT64_MAX);
    reply = query(&r, at_mark, (struct log_body){.task = first}, &data);
    assert_log(&reply, "now", true);
    close_fd(&ends[0]);
    close_fd(&ends[1]);
    buffer_fini(&data);
    rig_fini(&r);
}

static void test_parts_are_bounded(void **state)
{
    struct log_parts *p = log_parts_new();
    struct log_part part = {.worker = WORKER, .stream = LOGS_OUT};
    for (uint32_t i = 0; i < LOG_PARTS_MAX; i++) {
        part.task = (struct object_id){1, 1, i % 3 + 1};
        part.begin = i;
        log_parts_add(p, &part);
    }
    assert_false(log_parts_lost_any(p));
    part.task = (struct object_id){1, 1, 9};
    log_parts_add(p, &part);
    assert_true(log_parts_lost_any(p));
    uint32_t n = 0;
    uint64_t last = 0;
    const struct log_part *at = NULL;
    while ((at = log_parts_next(p, (struct object_id){1, 1, 1}, at)) != NULL) {
        assert_true(at->begin > last); /* the one of 0 made room */
        last = at->begin;
        n++;
    }
    assert_int_equal(n, LOG_PARTS_MAX / 3);
    at = log_parts_next(p, part.task, NULL);
    assert_non_null(at);
    assert_null(log_parts_next(p, part.task, at));
    log_parts_free(p);
}

/* A writer sees each byte that it wrote, wherever it is. */
static void test_meters(void **state)
{
    struct rig r;
    int ends[2];
    uint64_t total = 0;
    struct ring_meter meter = {0};
    rig_init(&r);
    assert_int_equal(logs_open(r.logs, WORKER, ends), 0);
    say(ends[0], "main\n");
    logs_serves(r.logs, WORKER, &meter, NULL);
    assert_int_equal(ring_meter_look(&meter, ends[0], &total), 0);
    assert_int_equal(total, 5);
    say(ends[0], "one\n");
    assert_int_equal(ring_meter_look(&meter, ends[0], &total), 0);
    assert_int_equal(total, 9);
    logs_take(r.logs, WORKER);
    assert_int_equal(ring_meter_look(&meter, ends[0], &total), 0);
    assert_int_equal(total, 9);
    ring_meter_begin(&meter);
    assert_int_equal(ring_meter_look(&meter, ends[0], &total), -EAGAIN);
    ring_meter_end(&meter, 9);
    assert_int_equal(ring_meter_look(&meter, -1, &total), -EBADF);
    close_fd(&ends[0]);
    close_fd(&ends[1]);
    logs_ended(r.logs, WORKER);
    rig_fini(&r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_streams),      cmocka_unit_test(test_two_files_in_turn),
        cmocka_unit_test(test_the_last_line),    cmocka_unit_test(test_files_of_the_oldest_go),
        cmocka_unit_test(test_followed),         cmocka_unit_test(test_each_task_has_its_part),
        cmocka_unit_test(test_a_task_that_runs), cmocka_unit_test(test_parts_are_bounded),
        cmocka_unit_test(test_meters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
