#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <jansson.h>
#include <time.h>

#include "cli/show.h"
#include "tests/unit/cli/fake_daemon.h"
#include "tests/unit/cli/fixture.h"

static void answer(struct ring_channel *c, const struct local_query *query)
{
    static const char *const lines[] = {"Task 1-5.10 runs."};
    struct local_msg m = {.type = LOCAL_REPLY, .reply = {.request = query->request}};
    struct state_reply *r = &m.reply.reply;
    const struct state_query *q = &query->query;
    r->last = true;
    if (q->kind == STATE_CLUSTER || q->kind == STATE_NODES) {
        r->nodes = fixture_nodes;
        r->node_count = strcmp(q->node, "nobody") == 0 ? 0 : ARRAY_SIZE(fixture_nodes);
        r->cluster = "default";
        r->head_address = "10.0.0.5:7420";
        r->head_pid = 1;
        r->head_started_unix_ms = NOW_MS;
    } else if (q->kind == STATE_TASKS && q->job == 999) {
        r->task_count = 0;
    } else if (q->kind == STATE_TASKS && q->job != 0) {
        /* One node of two did not answer. */
        r->tasks = fixture_tasks;
        r->task_count = 1;
        failure_set(&r->failure, CODE_TIMEOUT, "no answer within 3 s from box-2");
    } else if (q->kind == STATE_TASKS) {
        r->tasks = fixture_tasks;
        r->task_count = 2;
    } else if (q->kind == STATE_JOBS && strcmp(q->id, "999") == 0) {
        r->job_count = 0;
    } else if (q->kind == STATE_JOBS) {
        r->jobs = fixture_jobs;
        r->job_count = 2;
    } else if (q->kind == STATE_EXPLAIN && strcmp(q->id, "1-5.10") == 0) {
        r->lines = lines;
        r->line_count = 1;
    } else if (q->kind == STATE_EXPLAIN) {
        failure_set(&r->failure, CODE_NOT_FOUND, "no such task");
    }
    fake_send(c, &m);
}

struct job {
    struct show show;
    const struct view *view;
};

static int run(void *arg)
{
    const struct job *job = arg;
    return show_view(&job->show, job->view);
}

static int shown(struct fake *f, const struct view *view, struct show show, char out[4096])
{
    struct job job = {show, view};
    job.show.where.dir = f->dir;
    f->answer = answer;
    fake_start(f, "head.sock", FAKE_ANSWERS);
    int status = fake_capture(run, &job, out);
    fake_stop(f);
    return status;
}

static void a_screen_and_json(void **state)
{
    char out[4096];
    assert_int_equal(shown(*state, &status_view, (struct show){0}, out), EXIT_DONE);
    assert_memory_equal(out, "default   head 10.0.0.5:7420   up ", 34);
    assert_non_null(strstr(out, "TASKS   14 running   120 waiting"));

    assert_int_equal(shown(*state, &jobs_view, (struct show){.json = true}, out), EXIT_DONE);
    json_t *array = json_loads(out, 0, NULL);
    assert_int_equal(json_array_size(array), 2);
    json_decref(array);
}

static void last_is_one(void **state)
{
    char out[4096];
    struct show show = {.wish = {.thing = "last"}, .json = true};
    assert_int_equal(shown(*state, &tasks_view, show, out), EXIT_DONE);
    json_t *array = json_loads(out, 0, NULL);
    assert_int_equal(json_array_size(array), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(array, 0), "task")),
                        "1-5.10");
    json_decref(array);

    show.json = false;
    assert_int_equal(shown(*state, &explain_view, show, out), EXIT_DONE);
    assert_string_equal(out, "Task 1-5.10 runs.\n");
}

static void a_limit_cuts(void **state)
{
    char out[4096];
    struct show show = {.wish = {.limit = 1}, .json = true};
    assert_int_equal(shown(*state, &jobs_view, show, out), EXIT_DONE);
    json_t *array = json_loads(out, 0, NULL);
    assert_int_equal(json_array_size(array), 1);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(array, 0), "job")), 4);
    json_decref(array);
    /* And says so, where there is more. */
    show.json = false;
    assert_int_equal(shown(*state, &jobs_view, show, out), EXIT_DONE);
    assert_non_null(strstr(out, "\nOnly 1 is shown. --limit N shows more.\n"));
    show.wish.limit = 2;
    assert_int_equal(shown(*state, &jobs_view, show, out), EXIT_DONE);
    assert_null(strstr(out, "--limit"));
    show.wish = (struct wish){.thing = "last"};
    assert_int_equal(shown(*state, &jobs_view, show, out), EXIT_DONE);
    assert_null(strstr(out, "--limit"));
}

static void what_is_not_there_fails(void **state)
{
    char out[4096];
    struct show nobody = {.wish = {.thing = "nobody"}};
    assert_int_equal(shown(*state, &nodes_view, nobody, out), EXIT_FAILED);
    assert_string_equal(out, "");
    struct show distributed = {.wish = {.thing = "status", .node = "nobody"}};
    assert_int_equal(shown(*state, &distribute_view, distributed, out), EXIT_FAILED);
    assert_string_equal(out, "");
    distributed.wish.node = "box-2";
    assert_int_equal(shown(*state, &distribute_view, distributed, out), EXIT_DONE);
    struct show no_job = {.wish = {.job = 999}};
    assert_int_equal(shown(*state, &tasks_view, no_job, out), EXIT_FAILED);
    assert_string_equal(out, "");
    struct show unknown = {.wish = {.thing = "1-1.1"}};
    assert_int_equal(shown(*state, &explain_view, unknown, out), EXIT_FAILED);
    assert_string_equal(out, "");
}

static void what_is_missing_does_not_hide_the_rest(void **state)
{
    char out[4096];
    struct show show = {.wish = {.job = 3}};
    assert_int_equal(shown(*state, &tasks_view, show, out), EXIT_FAILED);
    assert_non_null(strstr(out, "1-5.9"));
    struct show newest = {.last_job = true};
    assert_int_equal(shown(*state, &tasks_view, newest, out), EXIT_FAILED);
    assert_non_null(strstr(out, "1-5.9"));
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    tzset();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_screen_and_json, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(last_is_one, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(a_limit_cuts, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(what_is_not_there_fails, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(what_is_missing_does_not_hide_the_rest, fake_setup,
                                        fake_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
