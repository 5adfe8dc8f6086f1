#include "head/tools.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "proto/ring.h"
#include "tests/unit/unit.h"

#define DEADLINE_NS (20 * NS_PER_S)

struct seen {
    struct tools *tools;
    int ups, messages, downs;
    uint32_t tool;
    char text[64];
    bool echoes;
};

static void on_up(void *arg, uint32_t tool)
{
    struct seen *seen = arg;
    seen->ups++;
    seen->tool = tool;
}

static void on_message(void *arg, uint32_t tool, struct bytes message)
{
    struct seen *seen = arg;
    seen->messages++;
    snprintf(seen->text, sizeof seen->text, "%.*s", (int)message.size, (const char *)message.data);
    if (seen->echoes) {
        tools_send(seen->tools, tool, message);
    }
}

static void on_down(void *arg, uint32_t tool)
{
    struct seen *seen = arg;
    assert_int_equal(tool, seen->tool);
    seen->downs++;
}

struct bench {
    char *dir;
    char path[512];
    struct loop *loop;
    struct seen seen;
};

static void bench_init(struct bench *b)
{
    *b = (struct bench){.dir = unit_make_dir()};
    snprintf(b->path, sizeof b->path, "%s/head.sock", b->dir);
    assert_int_equal(loop_new(&b->loop), 0);
    struct tools_events events = {on_up, on_message, on_down, &b->seen};
    assert_int_equal(tools_new(b->loop, b->path, &events, &b->seen.tools), 0);
}

static void bench_fini(struct bench *b)
{
    tools_free(b->seen.tools);
    assert_int_not_equal(access(b->path, F_OK), 0);
    loop_free(b->loop);
    unit_remove_dir(&b->dir);
}

static void turn_until(struct bench *b, const int *count, int wanted)
{
    uint64_t deadline = clock_now_ns() + DEADLINE_NS;
    while (*count < wanted) {
        assert_true(clock_now_ns() < deadline);
        assert_true(loop_turn(b->loop, 100 * NS_PER_MS) >= 0);
        tools_tick(b->seen.tools, clock_now_ns());
    }
}

/* ---- a tool, on a thread of its own ---- */

struct client {
    const char *path;
    struct bytes message;
    bool waits;  /* for an answer */
    bool closed; /* the head ended it */
    char answer[64];
    pthread_t thread;
};

static void wait_answer(struct client *c, struct ring_channel *ring, int socket)
{
    struct arena arena = {0};
    struct bytes message;
    uint64_t deadline = clock_now_ns() + DEADLINE_NS;
    int r = 0;
    while (r == 0 && !c->closed && clock_now_ns() < deadline) {
        r = ring_receive(ring, &arena, &message);
        if (r == 0 && ring_arm(ring)) {
            struct pollfd fds[] = {{ring->doorbell_mine, POLLIN, 0}, {socket, POLLIN, 0}};
            (void)poll(fds, 2, 100);
            ring_disarm(ring);
            c->closed = fds[1].revents != 0;
        }
    }
    if (r == 1) {
        snprintf(c->answer, sizeof c->answer, "%.*s", (int)message.size,
                 (const char *)message.data);
    }
    arena_fini(&arena);
}

static void *client_main(void *arg)
{
    struct client *c = arg;
    struct ring_channel ring = {0};
    int socket = -1;
    if (ring_connect(c->path, NULL, DEADLINE_NS, &ring, &socket) == 0) {
        bool sent =
            c->message.size == 0 || (ring_send(&ring, c->message) == 0 && ring_flush(&ring) == 0);
        if (c->waits && sent) {
            wait_answer(c, &ring, socket);
        }
        ring_fini(&ring);
    }
    close_fd(&socket);
    return NULL;
}

static void client_start(struct client *c)
{
    assert_int_equal(pthread_create(&c->thread, NULL, client_main, c), 0);
}

/* ---- tests ---- */

static void test_messages_go_both_ways(void **state)
{
    struct bench b;
    struct stat st;
    bench_init(&b);
    assert_int_equal(stat(b.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    b.seen.echoes = true;
    struct client c = {.path = b.path, .message = bytes_of_text("status?"), .waits = true};
    client_start(&c);
    turn_until(&b, &b.seen.downs, 1);
    pthread_join(c.thread, NULL);
    assert_string_equal(c.answer, "status?");
    assert_int_equal(b.seen.ups, 1);
    assert_int_equal(b.seen.messages, 1);
    bench_fini(&b);
}

static void test_last_words_of_one_that_leaves_are_heard(void **state)
{
    struct bench b;
    bench_init(&b);
    struct client c = {.path = b.path, .message = bytes_of_text("stop")};
    client_start(&c);
    turn_until(&b, &b.seen.downs, 1);
    pthread_join(c.thread, NULL);
    assert_string_equal(b.seen.text, "stop");
    bench_fini(&b);
}

static void test_each_tool_has_a_new_handle(void **state)
{
    struct bench b;
    bench_init(&b);
    uint32_t last = 0;
    for (int i = 1; i <= 3; i++) {
        struct client c = {.path = b.path};
        client_start(&c);
        turn_until(&b, &b.seen.downs, i);
        pthread_join(c.thread, NULL);
        assert_true(b.seen.tool > last);
        last = b.seen.tool;
    }
    bench_fini(&b);
}

static void test_closed_one_is_gone_after_a_second(void **state)
{
    struct bench b;
    bench_init(&b);
    struct client c = {.path = b.path, .message = bytes_of_text("x"), .waits = true};
    client_start(&c);
    turn_until(&b, &b.seen.messages, 1);
    tools_send(b.seen.tools, b.seen.tool, bytes_of_text("refused"));
    tools_close(b.seen.tools, b.seen.tool);
    assert_true(tools_next_ns(b.seen.tools) != NS_FOREVER);
    while (tools_next_ns(b.seen.tools) != NS_FOREVER) {
        assert_true(loop_turn(b.loop, 10 * NS_PER_MS) >= 0);
        tools_tick(b.seen.tools, clock_now_ns());
    }
    pthread_join(c.thread, NULL);
    assert_string_equal(c.answer, "refused");
    assert_int_equal(b.seen.downs, 0); /* nobody asked to hear of it */
    bench_fini(&b);
}

static void test_garbage_instead_of_a_greeting(void **state)
{
    struct bench b;
    bench_init(&b);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_true(text_copy(address.sun_path, sizeof address.sun_path, b.path));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(send(fd, "GET / HTTP/1.1", 14, 0), 14);
    struct pollfd closed = {fd, POLLIN, 0};
    uint64_t deadline = clock_now_ns() + DEADLINE_NS;
    while (poll(&closed, 1, 0) == 0) {
        assert_true(clock_now_ns() < deadline);
        assert_true(loop_turn(b.loop, 10 * NS_PER_MS) >= 0);
    }
    close(fd);
    assert_int_equal(b.seen.ups, 0);
    assert_int_equal(b.seen.downs, 0);
    /* The next one is served. */
    struct client c = {.path = b.path, .message = bytes_of_text("hello")};
    client_start(&c);
    turn_until(&b, &b.seen.downs, 1);
    pthread_join(c.thread, NULL);
    assert_string_equal(b.seen.text, "hello");
    bench_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_go_both_ways),
        cmocka_unit_test(test_last_words_of_one_that_leaves_are_heard),
        cmocka_unit_test(test_each_tool_has_a_new_handle),
        cmocka_unit_test(test_closed_one_is_gone_after_a_second),
        cmocka_unit_test(test_garbage_instead_of_a_greeting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
