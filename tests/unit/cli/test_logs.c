#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <jansson.h>

#include "cli/logs.h"
#include "tests/unit/cli/fake_daemon.h"
#include "tests/unit/cli/fixture.h"

static const struct state_worker workers[] = {
    {.number = 12, .job = 3, .node = "box-1", .state = "idle"},
    {.number = 14, .job = 4, .node = "box-1", .state = "idle"},
};

/* What is remembered of tasks: worker 13 has ended. */
static const struct state_task ended[] = {
    {.id = {1, 5, 3}, .function = "f", .node = "box-1", .state = "done", .job = 3, .worker = 13},
    {.id = {1, 5, 2}, .function = "f", .node = "box-1", .state = "done", .job = 3, .worker = 12},
    {.id = {1, 5, 1}, .function = "f", .node = "box-1", .state = "cancelled", .job = 3},
};

static const struct state_output outputs[] = {
    {.node = "box-1", .worker = 12, .attempt = 1, .stream = 1, .begin = 9, .end = 18},
};

/* Worker 12 wrote three lines of output, 13 one of each. */
static void answer_log(const struct state_query *q, struct state_reply *ret)
{
    static const char out12[] = "twelve 0\ntwelve 1\ntwelve 2\n", out13[] = "thirteen\n",
                      err13[] = "bad\xff\n";
    const char *text = q->worker == 12  ? (q->stream == 1 ? out12 : "")
                       : q->stream == 1 ? out13
                                        : err13;
    size_t size = *q->id != '\0' ? 18 : strlen(text); /* the task wrote the second line */
    size_t at = MIN_OF((size_t)q->offset, size);
    /* In pieces, so that the reader has to come again. */
    ret->log = bytes_of(text + at, MIN_OF(size - at, (size_t)9));
    ret->log_offset = at;
    ret->log_end = size;
    ret->log_closed = true;
}

static void answer(struct ring_channel *c, const struct local_query *query)
{
    struct local_msg m = {.type = LOCAL_REPLY, .reply = {.request = query->request}};
    struct state_reply *r = &m.reply.reply;
    struct state_job over;
    r->last = true;
    switch (query->query.kind) {
    case STATE_TASKS:
        if (query->query.job != 0) {
            r->tasks = ended;
            r->task_count = ARRAY_SIZE(ended);
            break;
        }
        r->tasks = strcmp(query->query.id, "1-5.9") == 0 ? &fixture_tasks[0] : &fixture_tasks[1];
        r->task_count = 1;
        break;
    case STATE_OUTPUT:
        r->outputs = outputs;
        r->output_count = strcmp(query->query.id, "1-5.9") == 0 ? 0 : ARRAY_SIZE(outputs);
        break;
    case STATE_JOBS:
        over = fixture_jobs[0];
        over.state = "done"; /* else who follows it waits for more */
        r->jobs = &over;
        r->job_count = 1;
        break;
    case STATE_WORKERS:
        r->workers = workers;
        r->worker_count = ARRAY_SIZE(workers);
        break;
    default:
        answer_log(&query->query, r);
    }
    fake_send(c, &m);
}

static int run(void *logs)
{
    return show_logs(logs);
}

/* What show_logs wrote to standard output. */
static int captured(struct fake *f, struct logs logs, char out[4096])
{
    f->answer = answer;
    fake_start(f, "head.sock", FAKE_ANSWERS);
    logs.show.where.dir = f->dir;
    int status = fake_capture(run, &logs, out);
    fake_stop(f);
    return status;
}

static void of_a_job_with_who_wrote_it(void **state)
{
    char out[4096];
    static const char expected[] = "==> worker 12 on box-1, standard output <==\n"
                                   "twelve 0\ntwelve 1\ntwelve 2\n"
                                   "\n==> worker 13 on box-1, standard output <==\n"
                                   "thirteen\n"
                                   "\n==> worker 13 on box-1, standard error <==\n"
                                   "bad\xff\n";
    struct logs job = {.show = {.wish = {.job = 3}}, .task = ""};
    assert_int_equal(captured(*state, job, out), EXIT_DONE);
    assert_string_equal(out, expected);
    struct logs newest = {.task = ""};
    assert_int_equal(captured(*state, newest, out), EXIT_DONE);
    assert_string_equal(out, expected);
    job.follow = true; /* ends when all have ended; lines as they come, with who wrote each */
    assert_int_equal(captured(*state, job, out), EXIT_DONE);
    assert_string_equal(out, "(box-1 worker 12) twelve 0\n"
                             "(box-1 worker 13) thirteen\n"
                             "(box-1 worker 13) bad\xff\n"
                             "(box-1 worker 12) twelve 1\n"
                             "(box-1 worker 12) twelve 2\n");
}

static void of_one_task_or_worker_plainly(void **state)
{
    char out[4096];
    struct logs task = {.task = "1-5.10"};
    assert_int_equal(captured(*state, task, out), EXIT_DONE);
    assert_string_equal(out, "twelve 1\n");
    struct logs worker = {.task = "", .worker = 13, .stream = 1};
    assert_int_equal(captured(*state, worker, out), EXIT_DONE);
    assert_string_equal(out, "thirteen\n");
}

static void of_a_task_that_never_ran(void **state)
{
    char out[4096];
    struct logs task = {.task = "1-5.9"};
    assert_int_equal(captured(*state, task, out), EXIT_FAILED);
    assert_string_equal(out, "");
}

static void as_json(void **state)
{
    char out[4096];
    struct logs worker = {.show = {.json = true}, .task = "", .worker = 13};
    assert_int_equal(captured(*state, worker, out), EXIT_DONE);
    json_t *array = json_loads(out, 0, NULL);
    assert_int_equal(json_array_size(array), 2);
    json_t *err = json_array_get(array, 1);
    assert_string_equal(json_string_value(json_object_get(err, "stream")), "stderr");
    assert_string_equal(json_string_value(json_object_get(err, "node")), ""); /* not told */
    assert_int_equal(json_integer_value(json_object_get(err, "worker")), 13);
    assert_int_equal(json_integer_value(json_object_get(err, "end_bytes")), 5);
    assert_string_equal(json_string_value(json_object_get(err, "text")), "bad?\n");
    json_decref(array);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(of_a_job_with_who_wrote_it, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(of_one_task_or_worker_plainly, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(of_a_task_that_never_ran, fake_setup, fake_teardown),
        cmocka_unit_test_setup_teardown(as_json, fake_setup, fake_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
