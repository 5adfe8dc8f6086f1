/* The screens and JSON of drt distribute; what it runs is tested in tests/cluster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "cli/distribution.h"
#include "cli/views.h"
#include "tests/unit/cli/fixture.h"

static const struct screen piped = {.now_unix_ms = NOW_MS};
static const struct screen wide = {
    .now_unix_ms = NOW_MS, .terminal = true, .width = 100, .utf8 = true};
static const struct screen ascii = {.now_unix_ms = NOW_MS, .terminal = true, .width = 80};

static struct distribution_node nodes[] = {
    {"1", "box-1", true, 600}, {"2", "box-2", true, 299}, {"3", "box-3", false, 1}};

static const struct distribution found = {.strategy = "spread",
                                          .from = "box-1",
                                          .tasks = 1000,
                                          .failed = 100,
                                          .task_ns = 10 * NS_PER_MS,
                                          .elapsed_ns = 2 * NS_PER_S,
                                          .failure = "it\033 failed",
                                          .nodes = nodes,
                                          .node_count = 3};

static void assert_text(const struct distribution *d, const struct screen *s, const char *expected)
{
    struct buffer out = {0};
    distribution_text(d, s, &out);
    assert_string_equal(buffer_text(&out), expected);
    buffer_fini(&out);
}

static void a_test_shows_where_its_tasks_ran(void **state)
{
    assert_text(&found, &piped,
                "1,000 tasks of 10 ms, spread   from box-1   2.000 s, 450 tasks/s\n"
                "\n"
                "NODE   TASKS   SHARE\n"
                "box-1    600  66.7 %\n"
                "box-2    299  33.2 %\n"
                "box-3      1   0.1 %  lost\n"
                "\n"
                "100 failed: it? failed\n");
    assert_text(&found, &wide,
                "1,000 tasks of 10 ms, spread   from box-1   2.000 s, 450 tasks/s\n"
                "\n"
                "NODE   TASKS   SHARE\n"
                "box-1    600  66.7 %  ██████████████████████████████\n"
                "box-2    299  33.2 %  ███████████████\n"
                "box-3      1   0.1 %  █  lost\n"
                "\n"
                "100 failed: it? failed\n");
    struct distribution none = {.strategy = "default",
                                .from = "a",
                                .tasks = 1,
                                .failed = 0,
                                .failure = "",
                                .nodes = nodes,
                                .node_count = 0};
    assert_text(&none, &ascii,
                "1 task of 0 us, default   from a   0.000 s, 0 tasks/s\n"
                "\n"
                "NODE  TASKS  SHARE\n");
    struct distribution half = found;
    half.failed = 0;
    half.node_count = 2;
    struct buffer out = {0};
    distribution_text(&half, &ascii, &out);
    assert_non_null(strstr(buffer_text(&out), "29.9 %  ###############\n"));
    buffer_fini(&out);
}

static void a_test_as_json(void **state)
{
    json_t *value = distribution_json(&found), *list = json_object_get(value, "nodes");
    assert_int_equal(json_integer_value(json_object_get(value, "tasks")), 1000);
    assert_int_equal(json_integer_value(json_object_get(value, "failed")), 100);
    assert_true(json_real_value(json_object_get(value, "elapsed_s")) == 2);
    assert_true(json_real_value(json_object_get(value, "tasks_per_s")) == 450);
    assert_int_equal(json_array_size(list), 3);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "name")),
                        "box-2");
    assert_true(json_is_false(json_object_get(json_array_get(list, 2), "alive")));
    json_decref(value);
}

static void show(const struct wish *w, const struct screen *s, const char *expected)
{
    struct answer answers[3];
    struct buffer out = {0};
    fixture_status(answers);
    distribute_view.text(w, answers, s, &out);
    assert_string_equal(buffer_text(&out), expected);
    buffer_fini(&out);
    fixture_fini(answers, 3);
}

static void status_shows_all_jobs_by_node(void **state)
{
    const struct wish everything = {.thing = "status"}, one = {.thing = "status", .node = "box-2"},
                      nobody = {.thing = "status", .node = "box-9"};
    struct state_query queries[VIEW_QUERIES_MAX] = {0};
    assert_int_equal(distribute_view.ask(&everything, queries), 2);
    assert_string_equal(queries[0].id, ""); /* "status" is no row's name */
    show(&everything, &piped,
         "NODE   STATE  RUNNING  WAITING\n"
         "box-1  alive        6      120\n"
         "box-2  alive        8        0\n"
         "box-3  lost         -\n"
         "\n"
         "NODE   JOB  NAME    RUNNING  WAITING\n"
         "box-1    3  train         0      100\n"
         "box-1    4  resize        0       20\n"
         "box-2    4  resize       14        0\n");
    show(&one, &ascii,
         "NODE   STATE  RUNNING            WAITING\n"
         "box-2  alive        8  ########        0  --------\n"
         "\n"
         "NODE   JOB  NAME    RUNNING  WAITING\n"
         "box-2    4  resize       14        0\n");
    struct answer answers[3];
    fixture_status(answers);
    assert_null(distribute_view.lacks(&everything, answers, NOW_MS));
    assert_null(distribute_view.lacks(&one, answers, NOW_MS));
    assert_string_equal(distribute_view.lacks(&nobody, answers, NOW_MS), "box-9");
    fixture_fini(answers, 3);
}

static void status_of_one_job_and_as_json(void **state)
{
    const struct wish wish = {.thing = "status", .job = 4};
    struct answer answers[3];
    fixture_status(answers);
    json_t *value = distribute_view.json(&wish, answers, NOW_MS);
    json_t *list = json_object_get(value, "nodes");
    assert_int_equal(json_array_size(list), 3);
    /* With a job the raylets were asked for its rows alone; the node's own counts are of all. */
    json_t *first = json_array_get(list, 1);
    assert_string_equal(json_string_value(json_object_get(first, "name")), "box-2");
    assert_int_equal(json_integer_value(json_object_get(first, "running")), 14);
    assert_int_equal(json_array_size(json_object_get(value, "jobs")), 3);
    json_decref(value);
    fixture_fini(answers, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_test_shows_where_its_tasks_ran),
        cmocka_unit_test(a_test_as_json),
        cmocka_unit_test(status_shows_all_jobs_by_node),
        cmocka_unit_test(status_of_one_job_and_as_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
