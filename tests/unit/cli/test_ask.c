#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <unistd.h>

#include "cli/ask.h"
#include "common/files.h"
#include "tests/unit/cli/fake_daemon.h"
#include "tests/unit/cli/fixture.h"

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
    fake_send(c, &first);
    fake_send(c, &last);
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
    f->answer = answer;
    fake_start(f, "head.sock", FAKE_ANSWERS);
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
    f->answer = answer;
    fake_start(f, "nodes/box/sock", FAKE_ANSWERS);
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
    fake_start(f, "head.sock", FAKE_REFUSES);
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
        enum fake_manner manner;
        int status;
        const char *says;
    } cases[] = {{FAKE_DIES, EXIT_NO_CLUSTER, "ended while"},
                 {FAKE_TALKS_NONSENSE, EXIT_FAILED, "cannot be read"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        fake_start(f, "head.sock", cases[i].manner);
        assert_int_equal(open_fake(f, &ask, &failure), EXIT_DONE);
        answer_init(&answer);
        assert_int_equal(ask_rows(&ask, &query, 1, &answer, &failure), cases[i].status);
        assert_non_null(strstr(failure.message, cases[i].says));
        answer_fini(&answer);
        ask_close(&ask);
        fake_stop(f);
    }
}

int main(void)
{
    unsetenv("DRT_DIR");
    unsetenv("DRT_CLUSTER");
    unsetenv("DRT_NODE");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_of_several_questions_are_whole, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(a_node_answers_for_want_of_the_head, fake_setup,
                                        fake_teardown),
        cmocka_unit_test_setup_teardown(nobody_answers, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(a_refusal_is_told, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(a_daemon_that_breaks_is_told, fake_setup, fake_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
