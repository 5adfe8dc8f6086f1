#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "cli/rows_json.h"
#include "cli/views.h"
#include "tests/unit/cli/fixture.h"

static const char node_json[] = "{\n"
                                "  \"number\": 1,\n"
                                "  \"name\": \"box-1\",\n"
                                "  \"host\": \"box-1\",\n"
                                "  \"address\": \"10.0.0.5:7421\",\n"
                                "  \"state\": \"alive\",\n"
                                "  \"since\": \"2026-01-31T07:31:30.000Z\",\n"
                                "  \"for_s\": 11520.0,\n"
                                "  \"note\": \"\",\n"
                                "  \"labels\": \"zone=a\",\n"
                                "  \"pid\": 4712,\n"
                                "  \"cpus_total\": 8,\n"
                                "  \"cpus_available\": 2,\n"
                                "  \"memory_total_bytes\": 33500744909,\n"
                                "  \"memory_available_bytes\": 29098403430,\n"
                                "  \"resources\": {\n"
                                "    \"disk\": {\n"
                                "      \"total\": 2,\n"
                                "      \"available\": 0.5\n"
                                "    }\n"
                                "  },\n"
                                "  \"tasks_waiting\": 120,\n"
                                "  \"tasks_running\": 6,\n"
                                "  \"tasks_done\": 10000,\n"
                                "  \"tasks_failed\": 1,\n"
                                "  \"tasks_cancelled\": 3,\n"
                                "  \"workers\": 8,\n"
                                "  \"workers_idle\": 2,\n"
                                "  \"memory_used_bytes\": 9663676416,\n"
                                "  \"heard\": \"2026-01-31T10:43:30.000Z\",\n"
                                "  \"is_old\": false\n"
                                "}\n";

static const char failed_task_json[] = "{\n"
                                       "  \"task\": \"1-4.2231\",\n"
                                       "  \"function\": \"resize\",\n"
                                       "  \"name\": \"resize\",\n"
                                       "  \"state\": \"failed\",\n"
                                       "  \"reason\": \"crashed with signal 11, attempt 4 of 4\",\n"
                                       "  \"node\": \"box-2\",\n"
                                       "  \"job\": 4,\n"
                                       "  \"worker\": 17,\n"
                                       "  \"attempt\": 4,\n"
                                       "  \"max_attempts\": 4,\n"
                                       "  \"depth\": 0,\n"
                                       "  \"priority\": 0,\n"
                                       "  \"submitted\": \"2026-01-31T10:40:30.000Z\",\n"
                                       "  \"started\": \"2026-01-31T10:40:30.250Z\",\n"
                                       "  \"ended\": \"2026-01-31T10:41:07.000Z\",\n"
                                       "  \"waited_s\": 0.25,\n"
                                       "  \"ran_s\": 36.75,\n"
                                       "  \"failed_in\": \"resize\",\n"
                                       "  \"error\": \"DRT_E_CRASHED\"\n"
                                       "}\n";

static const char waiting_task_json[] = "{\n"
                                        "  \"task\": \"1-5.9\",\n"
                                        "  \"function\": \"train\",\n"
                                        "  \"name\": \"train small\",\n"
                                        "  \"state\": \"waiting\",\n"
                                        "  \"reason\": \"disk 1 asked, 0.5 free on box-1\",\n"
                                        "  \"node\": \"\",\n"
                                        "  \"job\": 3,\n"
                                        "  \"worker\": null,\n"
                                        "  \"attempt\": 1,\n"
                                        "  \"max_attempts\": 4,\n"
                                        "  \"depth\": 0,\n"
                                        "  \"priority\": -2,\n"
                                        "  \"submitted\": \"2026-01-31T10:42:49.000Z\",\n"
                                        "  \"started\": null,\n"
                                        "  \"ended\": null,\n"
                                        "  \"waited_s\": 41.0,\n"
                                        "  \"ran_s\": null,\n"
                                        "  \"failed_in\": null,\n"
                                        "  \"error\": null\n"
                                        "}\n";

static const char job_json[] = "{\n"
                               "  \"job\": 3,\n"
                               "  \"name\": \"training\",\n"
                               "  \"state\": \"running\",\n"
                               "  \"node\": \"box-1\",\n"
                               "  \"program\": \"./train\",\n"
                               "  \"user\": \"ada\",\n"
                               "  \"pid\": 5120,\n"
                               "  \"started\": \"2026-01-31T08:38:30.000Z\",\n"
                               "  \"ended\": null,\n"
                               "  \"took_s\": 7500.0,\n"
                               "  \"tasks_waiting\": 1100,\n"
                               "  \"tasks_running\": 6,\n"
                               "  \"tasks_done\": 0,\n"
                               "  \"tasks_failed\": 0,\n"
                               "  \"tasks_cancelled\": 0\n"
                               "}\n";

static void assert_json(json_t *value, const char *expected)
{
    struct buffer out = {0};
    json_put(value, &out);
    if (strcmp(buffer_text(&out), expected) != 0) {
        fprintf(stderr, "---- got\n%s---- expected\n%s----\n", buffer_text(&out), expected);
    }
    assert_string_equal(buffer_text(&out), expected);
    buffer_fini(&out);
}

static void keys_of_rows_are_stable(void **state)
{
    assert_json(json_of_node(&fixture_nodes[0], NOW_MS), node_json);
    assert_json(json_of_task(&fixture_failed[0], NOW_MS), failed_task_json);
    assert_json(json_of_task(&fixture_tasks[0], NOW_MS), waiting_task_json);
    assert_json(json_of_job(&fixture_jobs[0], NOW_MS), job_json);
}

static void status_is_one_object(void **state)
{
    struct answer answers[3];
    const struct wish everything = {.thing = ""};
    fixture_status(answers);
    json_t *o = status_view.json(&everything, answers, NOW_MS);
    assert_string_equal(json_string_value(json_object_get(o, "cluster")), "default");
    json_t *head = json_object_get(o, "head");
    assert_int_equal(json_integer_value(json_object_get(head, "pid")), 4711);
    assert_string_equal(json_string_value(json_object_get(head, "started")),
                        "2026-01-31T07:31:30.000Z");
    assert_int_equal(json_array_size(json_object_get(o, "nodes")), 3);
    json_t *tasks = json_object_get(o, "tasks");
    assert_int_equal(json_integer_value(json_object_get(tasks, "done")), 10234);
    assert_int_equal(json_integer_value(json_object_get(tasks, "failed")), 2);
    assert_int_equal(json_array_size(json_object_get(o, "classes")), 3);
    assert_int_equal(json_array_size(json_object_get(o, "failed")), 2);
    json_decref(o);

    answers[0].head_pid = 0;
    o = status_view.json(&everything, answers, NOW_MS);
    assert_true(json_is_null(json_object_get(o, "head")));
    json_decref(o);
    fixture_fini(answers, 3);
}

static void empty_answers_are_empty_arrays(void **state)
{
    struct answer answer;
    const struct wish everything = {.thing = ""};
    answer_init(&answer);
    assert_json(tasks_view.json(&everything, &answer, NOW_MS), "[]\n");
    assert_json(nodes_view.json(&everything, &answer, NOW_MS), "[]\n");
    answer_fini(&answer);
}

static void what_is_no_utf8_is_cleaned(void **state)
{
    json_t *text = json_of_text("a\xff"
                                "b");
    assert_string_equal(json_string_value(text), "a?b");
    json_decref(text);
    json_t *none = json_of_text(NULL);
    assert_true(json_is_null(none));
    json_decref(none);
}

static void replies_add_up_until_the_last(void **state)
{
    struct answer answer;
    const struct state_reply first = {.cluster = "c", .tasks = fixture_tasks, .task_count = 1};
    const struct state_reply last = {
        .last = true, .cluster = "", .tasks = fixture_tasks + 1, .task_count = 1};
    struct state_reply much = {.tasks = fixture_tasks, .task_count = STATE_ROWS_MAX};

    answer_init(&answer);
    assert_int_equal(answer_add(&answer, &first), 0);
    assert_false(answer.whole);
    assert_int_equal(answer_add(&answer, &much), -EOVERFLOW);
    assert_int_equal(answer_add(&answer, &last), 0);
    assert_true(answer.whole);
    assert_int_equal(answer.task_count, 2);
    assert_string_equal(answer.cluster, "c");
    assert_int_equal(answer_add(&answer, &last), -EPROTO);
    answer_fini(&answer);
}

static void pieces_of_a_log_join(void **state)
{
    struct answer answer;
    const struct state_reply a = {.log = bytes_of_text("one\n"), .log_offset = 100, .log_end = 108};
    const struct state_reply b = {.last = true,
                                  .log = bytes_of_text("two\n"),
                                  .log_offset = 104,
                                  .log_end = 108,
                                  .log_closed = true};
    answer_init(&answer);
    assert_int_equal(answer_add(&answer, &a), 0);
    assert_int_equal(answer_add(&answer, &b), 0);
    assert_string_equal(buffer_text(&answer.log), "one\ntwo\n");
    assert_int_equal(answer.log_offset, 100);
    assert_int_equal(answer.log_end, 108);
    assert_true(answer.log_closed);
    answer_fini(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_of_rows_are_stable),
        cmocka_unit_test(status_is_one_object),
        cmocka_unit_test(empty_answers_are_empty_arrays),
        cmocka_unit_test(what_is_no_utf8_is_cleaned),
        cmocka_unit_test(replies_add_up_until_the_last),
        cmocka_unit_test(pieces_of_a_log_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
