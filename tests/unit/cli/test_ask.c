#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/ask.h"
#include "common/files.h"
#include "proto/local.h"
#include "tests/unit/cli/fixture.h"

/* What the other process does when it is asked. */
enum manner { ANSWERS, REFUSES, DIES, TALKS_NONSENSE };

struct fake {
    char dir[64];
    pid_t pid;
};

static void send_message(struct ring_channel *c, const struct local_msg *m)
{
    struct buffer packed = {0};
    local_encode(m, buffer_extend(&packed, local_size(m)));
    if (ring_send(c, bytes_of(packed.data, packed.size)) != 0) {
        _exit(1);
    }
    buffer_fini(&packed);
}

static void answer(struct ring_channel *c, const struct local_query *query)
{
    /* In two pieces, as a large answer comes. */
    struct local_msg first = {.type = LOCAL_REPLY, .reply = {.request = query->request}};
    struct local_msg last = first;
    first.reply.reply = (struct state_reply){
        .cluster = "fake", .tasks = fixture_tasks, .task_count = 1, .head_address = "h:1"};
    last.reply.reply = (struct state_reply){.last = true, .tasks = fixture_tasks, .task_count = 2};
    if (query->query.kind == STATE_EXPLAIN) {
        failure_set(&last.reply.reply.failure, CODE_NOT_FOUND, "no such task");
    }
    send_message(c, &first);
    send_message(c, &last);
}

static void handle(struct ring_channel *c, const struct local_msg *m, enum manner manner)
{
    struct local_msg out = {.type = LOCAL_WELCOME, .welcome = {.node_name = "", .cluster = "fake"}};
    if (m->type == LOCAL_OPEN && manner == REFUSES) {
        out.type = LOCAL_REFUSED;
        memset(&out.refused, 0, sizeof out.refused);
        failure_set(&out.refused.failure, CODE_REFUSED, "not you");
        send_message(c, &out);
    } else if (m->type == LOCAL_OPEN) {
        if (m->open.role != ROLE_TOOL) {
            _exit(1);
        }
        send_message(c, &out);
    } else if (m->type == LOCAL_QUERY && manner == DIES) {
        _exit(0);
    } else if (m->type == LOCAL_QUERY && manner == TALKS_NONSENSE) {
        if (ring_send(c, bytes_of_text("nonsense nonsense")) != 0) {
            _exit(1);
        }
    } else if (m->type == LOCAL_QUERY) {
        answer(c, &m->query);
    }
}

NORETURN static void serve(int listener, enum manner manner)
{
    struct ring_peer peer;
    struct ring_channel c = {0};
    struct arena arena = {0};
    int program = -1, socket;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct pollfd fd = {.fd = listener, .events = POLLIN};
    while ((socket = ring_accept(listener, &peer)) == -EAGAIN) {
        poll(&fd, 1, 5000);
    }
    fd.fd = socket;
    int r;
    while ((r = ring_greet(socket, &c, &program)) == -EAGAIN) {
        poll(&fd, 1, 5000);
    }
    for (;;) {
        struct bytes data;
        struct local_msg m;
        const char *why;
        while (ring_receive(&c, &arena, &data) == 1) {
            if (local_decode(data, &arena, &m, &why) != 0) {
                _exit(1);
            }
            handle(&c, &m, manner);
        }
        if (ring_flush(&c) < 0) {
            _exit(1);
        }
        struct pollfd fds[2] = {{.fd = c.doorbell_mine, .events = POLLIN},
                                {.fd = socket, .events = POLLIN}};
        if (ring_arm(&c) && poll(fds, 2, 5000) > 0 && fds[1].revents != 0) {
            _exit(0);
        }
        ring_disarm(&c);
    }
}

/* A directory with a listening socket at `relative` and a process behind it. */
static void fake_start(struct fake *f, const char *relative, enum manner manner)
{
    char path[PLACE_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", f->dir, relative);
    int listener = ring_listen(path);
    assert_true(listener >= 0);
    f->pid = fork();
    assert_true(f->pid >= 0);
    if (f->pid == 0) {
        serve(listener, manner);
    }
    close(listener);
}

static int setup(void **state)
{
    struct fake *f = xcalloc(1, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/drt-test-ask-XXXXXX");
    if (mkdtemp(f->dir) == NULL) {
        return -1;
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fake *f = *state;
    if (f->pid > 0) {
        kill(f->pid, SIGKILL);
        waitpid(f->pid, NULL, 0);
    }
    int r = files_remove_tree(f->dir);
    free(f);
    return r;
}

static int open_fake(const struct fake *f, struct ask *ask, struct failure *failure)
{
    struct place place;
    assert_int_equal(ask_find(f->dir, NULL, &place, failure), EXIT_DONE);
    return ask_open(&place, NULL, ask, failure);
}

static void answers_of_several_questions_are_whole(void **state)
{
    struct fake *f = *state;
    struct ask ask;
    struct failure failure = {0};
    const struct state_query queries[2] = {
        {.kind = STATE_TASKS, .id = "", .node = "", .state = "", .name = ""},
        {.kind = STATE_EXPLAIN, .id = "last", .node = "", .state = "", .name = ""}};
    fake_start(f, "head.sock", ANSWERS);
    assert_int_equal(open_fake(f, &ask, &failure), EXIT_DONE);
    assert_false(ask.from_node);
    for (int round = 0; round < 3; round++) {
        struct answer answers[2];
        answer_init(&answers[0]);
        answer_init(&answers[1]);
        assert_int_equal(ask_rows(&ask, queries, 2, answers, &failure), EXIT_DONE);
        assert_true(answers[0].whole && answers[1].whole);
        assert_int_equal(answers[0].task_count, 3);
        assert_string_equal(answers[0].tasks[0].name, "train small");
        assert_string_equal(answers[0].cluster, "fake");
        assert_int_equal(answers[0].failure.code, 0);
        assert_int_equal(answers[1].failure.code, CODE_NOT_FOUND);
        fixture_fini(answers, 2);
    }
    ask_close(&ask);
}

static void a_node_answers_for_want_of_the_head(void **state)
{
    struct fake *f = *state;
    struct ask ask;
    struct failure failure = {0};
    char path[PLACE_PATH_MAX];
    snprintf(path, sizeof path, "%s/nodes/box/lock", f->dir);
    char nodes[PLACE_PATH_MAX];
    snprintf(nodes, sizeof nodes, "%s/nodes/box", f->dir);
    assert_int_equal(files_make_dirs(nodes, 0700), 0);
    int lock = files_lock(path);
    assert_true(lock >= 0);
    fake_start(f, "nodes/box/sock", ANSWERS);
    /* A head that was killed leaves its socket behind. */
    snprintf(path, sizeof path, "%s/head.sock", f->dir);
    close(ring_listen(path));
    assert_int_equal(open_fake(f, &ask, &failure), EXIT_DONE);
    assert_true(ask.from_node);
    ask_close(&ask);
    close(lock);
}

static void nobody_answers(void **state)
{
    struct fake *f = *state;
    struct ask ask;
    struct failure failure = {0};
    assert_int_equal(open_fake(f, &ask, &failure), EXIT_NO_CLUSTER);
    assert_non_null(strstr(failure.message, "drt-head start"));
    assert_non_null(strstr(failure.message, f->dir));
}

static void a_refusal_is_told(void **state)
{
    struct fake *f = *state;
    struct ask ask;
    struct failure failure = {0};
    fake_start(f, "head.sock", REFUSES);
    assert_int_equal(open_fake(f, &ask, &failure), EXIT_REFUSED);
    assert_string_equal(failure.message, "not you");
}

static void a_daemon_that_breaks_is_told(void **state)
{
    struct fake *f = *state;
    struct ask ask;
    struct failure failure = {0};
    struct answer answer;
    const struct state_query query = {
        .kind = STATE_TASKS, .id = "", .node = "", .state = "", .name = ""};
    const struct {
        enum manner manner;
        int status;
        const char *says;
    } cases[] = {{DIES, EXIT_NO_CLUSTER, "ended while"},
                 {TALKS_NONSENSE, EXIT_FAILED, "cannot be read"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        fake_start(f, "head.sock", cases[i].manner);
        assert_int_equal(open_fake(f, &ask, &failure), EXIT_DONE);
        answer_init(&answer);
        assert_int_equal(ask_rows(&ask, &query, 1, &answer, &failure), cases[i].status);
        assert_non_null(strstr(failure.message, cases[i].says));
        answer_fini(&answer);
        ask_close(&ask);
        kill(f->pid, SIGKILL);
        waitpid(f->pid, NULL, 0);
        f->pid = 0;
    }
}

int main(void)
{
    unsetenv("DRT_DIR");
    unsetenv("DRT_CLUSTER");
    unsetenv("DRT_NODE");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_of_several_questions_are_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_node_answers_for_want_of_the_head, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refusal_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_daemon_that_breaks_is_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
