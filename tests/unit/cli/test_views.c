#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "cli/views.h"
#include "tests/unit/cli/fixture.h"

static const struct screen piped = {.now_unix_ms = NOW_MS};
static const struct screen wide = {
    .now_unix_ms = NOW_MS, .terminal = true, .width = 100, .utf8 = true};
static const struct screen narrow = {.now_unix_ms = NOW_MS, .terminal = true, .width = 60};
static const struct wish everything = {.thing = ""};

static const char status_piped[] =
    "default   head 10.0.0.5:7420   up 3 h 12 min   3 nodes, 1 lost\n"
    "\n"
    "NODE   ADDRESS        STATE  FOR         CPU    MEMORY USED   RESERVED\n"
    "box-1  10.0.0.5:7421  alive  3 h 12 min  6.0/8  9.0/31.2 GiB  4.1 GiB\n"
    "box-2  10.0.0.6:7421  alive  3 h 10 min  8.0/8  1.0/16 GiB    0\n"
    "box-3  10.0.0.7:7421  lost   2 min       (lease ran out at 10:41:02; its 3 tasks were started "
    "elsewhere)\n"
    "\n"
    "TASKS   14 running   120 waiting   10,234 done   2 failed   3 cancelled\n"
    "  100  x train   waiting: disk 1 asked, 0.5 free on box-1\n"
    "   20  x resize  waiting: behind priority 5\n"
    "FAILED in the last hour\n"
    "  10:41:07  resize  box-2  crashed with signal 11, attempt 4 of 4  drt logs --task 1-4.2231\n";

static const char status_wide[] =
    "default   head 10.0.0.5:7420   up 3 h 12 min   3 nodes, 1 lost\n"
    "\n"
    "NODE   ADDRESS        STATE  FOR         CPU              MEMORY USED             RESERVED\n"
    "box-1  10.0.0.5:7421  alive  3 h 12 min  6.0/8  ██████░░  9.0/31.2 GiB  ██░░░░░░  4.1 GiB\n"
    "box-2  10.0.0.6:7421  alive  3 h 10 min  8.0/8  ████████  1.0/16 GiB    █░░░░░░░  0\n"
    "box-3  10.0.0.7:7421  lost   2 min       (lease ran out at 10:41:02; its 3 tasks were started "
    "elsew…\n"
    "\n"
    "TASKS   14 running   120 waiting   10,234 done   2 failed   3 cancelled\n"
    "  100  x train   waiting: disk 1 asked, 0.5 free on box-1\n"
    "   20  x resize  waiting: behind priority 5\n"
    "FAILED in the last hour\n"
    "  10:41:07  resize  box-2  crashed with signal 11, attempt 4 of 4  drt logs --task 1-4.2231\n";

static const char status_narrow[] =
    "default   head 10.0.0.5:7420   up 3 h 12 min   3 nodes, 1 lost\n"
    "\n"
    "NODE   ADDRESS        STATE  FOR         CPU    MEMORY USED\n"
    "box-1  10.0.0.5:7421  alive  3 h 12 min  6.0/8  9.0/31.2 GiB\n"
    "box-2  10.0.0.6:7421  alive  3 h 10 min  8.0/8  1.0/16 GiB\n"
    "box-3  10.0.0.7:7421  lost   2 min       (lease ran out at ~\n"
    "\n"
    "TASKS   14 running   120 waiting   10,234 done   2 failed   3 cancelled\n"
    "  100  x train   waiting: disk 1 asked, 0.5 free on box-1\n"
    "   20  x resize  waiting: behind priority 5\n"
    "FAILED in the last hour\n"
    "  10:41:07  resize  crashed with ~  drt logs --task 1-4.2231\n";

static const char nodes_piped[] =
    "NUMBER  NODE   ADDRESS        STATE  FOR         CPU    MEMORY USED   RESERVED  RUNNING  "
    "WAITING    DONE  FAILED  CANCELLED  WORKERS  ALSO\n"
    "     1  box-1  10.0.0.5:7421  alive  3 h 12 min  6.0/8  9.0/31.2 GiB  4.1 GiB         6      "
    "120  10,000       1          3        8  disk 1.5/2, zone=a\n"
    "     2  box-2  10.0.0.6:7421  alive  3 h 10 min  8.0/8  1.0/16 GiB    0               8       "
    " "
    "0     233       1          0        8  -\n"
    "     3  box-3  10.0.0.7:7421  lost   2 min       (lease ran out at 10:41:02; its 3 tasks were "
    "started elsewhere)\n"
    "\n"
    "3 nodes: 2 alive, 1 lost\n";

static const char tasks_piped[] =
    "TASK    NAME         STATE    NODE   JOB  WORKER  ATTEMPT  SUBMITTED  WAITED  RAN   REASON\n"
    "1-5.10  train        running  box-1    3      12  2/4      10:42:49   1 s     40 s\n"
    "1-5.9   train small  waiting  -        3       -  1/4      10:42:49   41 s    -     disk 1 "
    "asked, 0.5 free on box-1\n";

static const char tasks_narrow[] = "TASK    NAME        STATE    NODE   WAITED  RAN   REASON\n"
                                   "1-5.10  train       running  box-1  1 s     40 s\n"
                                   "1-5.9   train sma~  waiting  -      41 s    -     disk 1 as~\n";

static const char jobs_piped[] = "JOB  NAME      STATE    NODE   USER   PID  STARTED           "
                                 "TOOK       RUNNING  WAITING    DONE  FAILED  CANCELLED\n"
                                 "  4  resize    done     box-1  ada   5200  2026-01-30 08:43  12 "
                                 "s             0        0  10,233       2          5\n"
                                 "  3  training  running  box-1  ada   5120  08:38:30          2 h "
                                 "5 min        6    1,100      12       0          0\n";

static void assert_screen(const struct view *view, const struct answer *answers,
                          const struct screen *s, const char *expected)
{
    struct buffer out = {0};
    view->text(&everything, answers, s, &out);
    if (strcmp(buffer_text(&out), expected) != 0) {
        fprintf(stderr, "---- got\n%s---- expected\n%s----\n", buffer_text(&out), expected);
    }
    assert_string_equal(buffer_text(&out), expected);
    buffer_fini(&out);
}

static void assert_one_reply(const struct view *view, struct state_reply reply,
                             const struct screen *s, const char *expected)
{
    struct answer answer;
    answer_init(&answer);
    reply.last = true;
    assert_int_equal(answer_add(&answer, &reply), 0);
    sort_tasks(&answer);
    sort_jobs(&answer);
    assert_screen(view, &answer, s, expected);
    answer_fini(&answer);
}

static void status_shows_nodes_and_why_tasks_wait(void **state)
{
    struct answer answers[3];
    fixture_status(answers);
    assert_screen(&status_view, answers, &piped, status_piped);
    fixture_fini(answers, 3);
}

static void a_pipe_gets_the_whole_sentence(void **state)
{
    char sentence[700], story[TASK_STORY_SIZE];
    memset(sentence, 'x', sizeof sentence);
    memcpy(sentence + sizeof sentence - 5, " end", 5);
    const struct state_task task = {.id = {1, 4, 1},
                                    .function = "f",
                                    .state = "failed",
                                    .reason = sentence,
                                    .code = CODE_FAILED,
                                    .ended_unix_ms = NOW_MS};
    const struct state_reply reply = {.tasks = &task, .task_count = 1, .last = true};
    assert_string_equal(task_story(&task, story), sentence);
    const struct view *const views[] = {&tasks_view, &status_view};
    for (size_t i = 0; i < ARRAY_SIZE(views); i++) {
        struct answer answers[3];
        struct buffer out = {0};
        for (size_t k = 0; k < ARRAY_SIZE(answers); k++) {
            answer_init(&answers[k]);
        }
        struct state_node node = {.name = "a", .state = "alive", .failed = 1};
        assert_int_equal(answer_add(&answers[i == 0 ? 0 : 2], &reply), 0);
        if (i == 1) {
            const struct state_reply nodes = {.nodes = &node, .node_count = 1, .last = true};
            assert_int_equal(answer_add(&answers[0], &nodes), 0);
        }
        views[i]->text(&everything, answers, &piped, &out);
        assert_non_null(strstr(buffer_text(&out), sentence));
        buffer_fini(&out);
        fixture_fini(answers, 3);
    }
}

/* What waits for other nodes is told by its home, in a row for each of them: b's raylet did not
 * answer itself. */
static void status_adds_up_what_waits_for_several_nodes(void **state)
{
    static const struct state_node nodes[] = {
        {.name = "a", .state = "alive", .waiting = 70},
        {.name = "b", .state = "alive", .waiting = 5, .running = 2, .done = 10}};
    static const struct state_class classes[] = {
        {"", "waiting", "", "a", 4, 0},      {"", "running", "", "a", 1, 0},
        {"", "done", "", "a", 100, 0},       {"", "failed", "", "a", 0, 0},
        {"", "waiting", "", "b", 3, 0},      {"f", "waiting", "no room", "a", 4, 1},
        {"f", "waiting", "away", "b", 2, 1}, {"f", "waiting", "away", "c", 1, 1}};
    struct state_reply replies[2] = {{.last = true, .nodes = nodes, .node_count = 2},
                                     {.last = true, .classes = classes, .class_count = 8}};
    struct answer answers[3];
    struct buffer out = {0};
    for (size_t i = 0; i < 3; i++) {
        answer_init(&answers[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(answer_add(&answers[i], &replies[i]), 0);
    }
    status_view.text(&everything, answers, &piped, &out);
    assert_non_null(strstr(buffer_text(&out),
                           "TASKS   3 running   12 waiting   110 done   0 failed\n"
                           "  4  x f  waiting: no room\n"
                           "  3  x f  waiting: away\n"));
    buffer_clear(&out);
    distribute_view.text(&everything, answers, &piped, &out);
    assert_non_null(strstr(buffer_text(&out), "a     alive        1        4\n"
                                              "b     alive        2        8\n"));
    buffer_fini(&out);
    fixture_fini(answers, 3);
}

static void status_on_a_terminal_has_bars_and_fits(void **state)
{
    struct answer answers[3];
    fixture_status(answers);
    assert_screen(&status_view, answers, &wide, status_wide);
    assert_screen(&status_view, answers, &narrow, status_narrow);
    fixture_fini(answers, 3);
}

static void status_leaves_out_what_came_back_or_is_a_programs(void **state)
{
    static const struct state_node nodes[] = {
        {.name = "a", .address = "h:1", .state = "alive", .since_unix_ms = NOW_MS - 1000},
        {.name = "b", .address = "h:2", .state = "leaving", .since_unix_ms = NOW_MS - 1000},
        {.name = "c", .address = "h:3", .state = "private", .since_unix_ms = NOW_MS - 1000},
        {.name = "a", .address = "h:4", .state = "lost", .since_unix_ms = NOW_MS - 1000},
        {.name = "d", .address = "h:5", .state = "lost", .since_unix_ms = NOW_MS - 90000000},
        {.name = "e", .address = "h:6", .state = "left", .since_unix_ms = NOW_MS - 1000}};
    struct state_reply reply = {.cluster = "x", .head_pid = 1, .last = true};
    struct answer answers[3];
    struct buffer out = {0};
    reply.head_started_unix_ms = NOW_MS - 5000;
    reply.head_address = "h:7420";
    reply.nodes = nodes;
    reply.node_count = ARRAY_SIZE(nodes);
    for (size_t i = 0; i < 3; i++) {
        answer_init(&answers[i]);
    }
    assert_int_equal(answer_add(&answers[0], &reply), 0);
    status_view.text(&everything, answers, &piped, &out);
    assert_string_equal(buffer_text(&out),
                        "x   head h:7420   up 5 s   2 nodes, 1 leaving   1 private\n"
                        "\n"
                        "NODE  ADDRESS  STATE    FOR  CPU  MEMORY USED  RESERVED\n"
                        "a     h:1      alive    1 s  -    -            -\n"
                        "b     h:2      leaving  1 s  -    -            -\n"
                        "\n"
                        "TASKS   none yet\n");
    buffer_fini(&out);
    for (size_t i = 0; i < 3; i++) {
        answer_fini(&answers[i]);
    }
}

static void status_shows_columns_of_what_exists(void **state)
{
    static const struct state_amount amounts[] = {{"CPU", UNITS_OF(2), UNITS_OF(2)},
                                                  {"GPU", UNITS_OF(2), UNITS_OF(0.5)},
                                                  {"object_store", 4 * GIB_UNITS, GIB_UNITS}};
    static const struct state_node node = {.name = "a",
                                           .address = "h:1",
                                           .state = "alive",
                                           .since_unix_ms = NOW_MS - 1000,
                                           .amounts = amounts,
                                           .amount_count = 3};
    struct answer answers[3];
    const struct state_reply reply = {.cluster = "c",
                                      .head_address = "h:2",
                                      .head_pid = 1,
                                      .head_started_unix_ms = NOW_MS - 2000,
                                      .nodes = &node,
                                      .node_count = 1};
    for (size_t i = 0; i < 3; i++) {
        answer_init(&answers[i]);
    }
    assert_int_equal(answer_add(&answers[0], &reply), 0);
    assert_screen(&status_view, answers, &piped,
                  "c   head h:2   up 2 s   1 node\n"
                  "\n"
                  "NODE  ADDRESS  STATE  FOR  CPU    MEMORY USED  RESERVED  STORE      GPU\n"
                  "a     h:1      alive  1 s  0.0/2  -            -         3.0/4 GiB  1.5/2\n"
                  "\n"
                  "TASKS   none yet\n");
    fixture_fini(answers, 3);
}

static void status_without_a_head_or_nodes_says_what_to_do(void **state)
{
    struct answer answers[3];
    for (size_t i = 0; i < 3; i++) {
        answer_init(&answers[i]);
    }
    answers[0].cluster = "test";
    assert_screen(&status_view, answers, &piped,
                  "test   head does not answer   0 nodes\n"
                  "Running work goes on. Start the head again: drt-head start\n"
                  "\n"
                  "No node is known.\n"
                  "\n"
                  "TASKS   none yet\n");
    answers[0].head_stands = true;
    answers[0].head_stand_pid = 4711;
    struct buffer out = {0};
    status_view.text(&everything, answers, &piped, &out);
    assert_non_null(strstr(buffer_text(&out), "Process 4711 is the head and stands still"));
    assert_non_null(strstr(buffer_text(&out), "drt stop"));
    assert_null(strstr(buffer_text(&out), "drt-head start"));
    buffer_fini(&out);
    answers[0].head_pid = 7;
    answers[0].head_address = "h:7420";
    answers[0].head_started_unix_ms = NOW_MS;
    assert_screen(&status_view, answers, &piped,
                  "test   head h:7420   up 0 us   0 nodes\n"
                  "\n"
                  "No node has joined. Add this machine: drt-node join h:7420\n"
                  "\n"
                  "TASKS   none yet\n");
    fixture_fini(answers, 3);
}

/* Three crashes of one function and two tasks that needed a result of it are one line. */
static void failures_of_one_kind_are_one_line(void **state)
{
    struct state_task tasks[6];
    struct answer answers[3];
    struct buffer out = {0};
    for (size_t i = 0; i < 6; i++) {
        bool ran = i >= 2 && i < 5;
        tasks[i] = (struct state_task){.id = {1, 4, 10 + i},
                                       .function = i < 2 ? "join" : "resize",
                                       .node = "box-1",
                                       .state = "failed",
                                       .reason = i < 5 ? "crashed with signal 11" : "no disk",
                                       .root = "resize",
                                       .worker = ran ? 3 : 0,
                                       .code = i < 5 ? CODE_CRASHED : CODE_IMPOSSIBLE,
                                       .ended_unix_ms = NOW_MS - 60000 * (i + 1)};
    }
    static const struct state_node node = {.name = "box-1", .state = "alive", .failed = 6};
    const struct state_reply nodes = {.nodes = &node, .node_count = 1, .last = true};
    const struct state_reply failed = {.tasks = tasks, .task_count = 6, .last = true};
    for (size_t i = 0; i < 3; i++) {
        answer_init(&answers[i]);
    }
    assert_int_equal(answer_add(&answers[0], &nodes), 0);
    assert_int_equal(answer_add(&answers[2], &failed), 0);
    status_view.text(&everything, answers, &piped, &out);
    assert_non_null(strstr(
        buffer_text(&out),
        "FAILED in the last hour\n"
        "  10:40:30  3 x resize  box-1  crashed with signal 11; 2 tasks needed its result  drt "
        "logs "
        "--task 1-4.12\n"
        "  10:37:30  resize      box-1  no disk                                            drt "
        "explain 1-4.15\n"));
    buffer_fini(&out);
    fixture_fini(answers, 3);
}

/* More failures than are looked at: the count says that there may be more. */
static void a_count_that_may_be_more_says_so(void **state)
{
    enum { ROWS = 200 };
    struct state_task *tasks = xcalloc(ROWS, sizeof *tasks);
    struct answer answers[3];
    struct buffer out = {0};
    for (size_t i = 0; i < ROWS; i++) {
        tasks[i] = (struct state_task){.id = {1, 4, i + 1},
                                       .function = "f",
                                       .node = "a",
                                       .state = "failed",
                                       .reason = "no",
                                       .root = "f",
                                       .worker = 1,
                                       .code = CODE_FAILED,
                                       .ended_unix_ms = NOW_MS - i};
    }
    static const struct state_node node = {.name = "a", .state = "alive", .failed = 300};
    const struct state_reply nodes = {.nodes = &node, .node_count = 1, .last = true};
    const struct state_reply failed = {.tasks = tasks, .task_count = ROWS, .last = true};
    for (size_t i = 0; i < 3; i++) {
        answer_init(&answers[i]);
    }
    assert_int_equal(answer_add(&answers[0], &nodes), 0);
    assert_int_equal(answer_add(&answers[2], &failed), 0);
    status_view.text(&everything, answers, &piped, &out);
    assert_non_null(strstr(buffer_text(&out), "  200+ x f  a  no  drt logs --task 1-4.1\n"));
    buffer_fini(&out);
    fixture_fini(answers, 3);
    free(tasks);
}

/* The head does not answer: what another node did then is no news of now. */
static void what_is_old_is_marked(void **state)
{
    static const struct state_node nodes[] = {{.name = "a",
                                               .address = "h:1",
                                               .state = "alive",
                                               .since_unix_ms = NOW_MS - 5000,
                                               .running = 1},
                                              {.name = "b",
                                               .address = "h:2",
                                               .state = "alive",
                                               .since_unix_ms = NOW_MS - 5000,
                                               .running = 7,
                                               .waiting = 9,
                                               .heard_unix_ms = NOW_MS - 2 * MINUTE_MS}};
    const struct state_reply reply = {
        .cluster = "c", .nodes = nodes, .node_count = 2, .last = true};
    assert_one_reply(
        &nodes_view, reply, &piped,
        "NUMBER  NODE  ADDRESS  STATE    FOR  CPU  MEMORY USED  RESERVED  RUNNING  "
        "WAITING  DONE  FAILED  CANCELLED  WORKERS  ALSO\n"
        "     0  a     h:1      alive    5 s  -    -            -               1      "
        "  0     0       0          0        0  -\n"
        "     0  b     h:2      unknown  5 s  (as of 2 min ago: alive, 7 tasks "
        "running)\n"
        "\n"
        "2 nodes: 1 alive, 1 unknown\n");
    struct answer answers[3];
    struct buffer out = {0};
    for (size_t i = 0; i < 3; i++) {
        answer_init(&answers[i]);
    }
    assert_int_equal(answer_add(&answers[0], &reply), 0);
    status_view.text(&everything, answers, &piped, &out);
    assert_non_null(strstr(buffer_text(&out), "(as of 2 min ago: alive, 7 tasks running)"));
    assert_non_null(strstr(buffer_text(&out), "TASKS   1 running   0 waiting   0 done   0 failed   "
                                              "(without 1 node that could not be asked)\n"));
    buffer_fini(&out);
    fixture_fini(answers, 3);
}

static void nodes_show_what_each_has_and_does(void **state)
{
    const struct state_reply reply = {.nodes = fixture_nodes,
                                      .node_count = ARRAY_SIZE(fixture_nodes)};
    assert_one_reply(&nodes_view, reply, &piped, nodes_piped);
}

static void tasks_are_newest_first_and_cut_to_the_width(void **state)
{
    const struct state_reply reply = {.tasks = fixture_tasks,
                                      .task_count = ARRAY_SIZE(fixture_tasks)};
    assert_one_reply(&tasks_view, reply, &piped, tasks_piped);
    assert_one_reply(&tasks_view, reply, &narrow, tasks_narrow);
}

static void jobs_are_newest_first_with_the_counts_of_now(void **state)
{
    static const struct state_class classes[] = {{"train", "waiting", "", "box-1", 1000, 3},
                                                 {"load", "waiting", "", "box-1", 100, 3},
                                                 {"training", "running", "", "box-1", 6, 3},
                                                 {"training", "done", "", "box-1", 12, 3}};
    struct answer answers[2];
    const struct state_reply jobs = {.jobs = fixture_jobs, .job_count = ARRAY_SIZE(fixture_jobs)};
    const struct state_reply counts = {.classes = classes, .class_count = ARRAY_SIZE(classes)};
    answer_init(&answers[0]);
    answer_init(&answers[1]);
    assert_int_equal(answer_add(&answers[0], &jobs), 0);
    assert_int_equal(answer_add(&answers[1], &counts), 0);
    answers[0].jobs[0].waiting = answers[0].jobs[0].running = 0;
    sort_jobs(&answers[0]);
    assert_screen(&jobs_view, answers, &piped, jobs_piped);
    json_t *array = jobs_view.json(&everything, answers, NOW_MS);
    json_t *training = json_array_get(array, 1);
    assert_int_equal(json_integer_value(json_object_get(training, "tasks_waiting")), 1100);
    assert_int_equal(json_integer_value(json_object_get(training, "tasks_done")), 12);
    json_decref(array);
    fixture_fini(answers, 2);
}

static void nothing_to_show_is_said(void **state)
{
    const struct state_reply none = {0};
    assert_one_reply(&tasks_view, none, &piped, "No such tasks.\n");
    assert_one_reply(&nodes_view, none, &piped, "No such nodes.\n");
}

static void explain_shows_the_raylets_lines(void **state)
{
    static const char *const lines[] = {"Task 1-5.9 \"train\" has waited 41 s.",
                                        "  It requests CPU 1.\033[31m"};
    const struct state_reply reply = {.lines = lines, .line_count = 2};
    assert_one_reply(&explain_view, reply, &piped,
                     "Task 1-5.9 \"train\" has waited 41 s.\n  It requests CPU 1.?[31m\n");
}

static void ends_are_told_in_words(void **state)
{
    char out[160];
    struct state_task t = {.code = CODE_CRASHED, .attempt = 4, .max_attempts = 4, .reason = ""};
    assert_string_equal(task_story(&t, out), "its worker crashed, attempt 4 of 4");
    t.reason = "DRT_E_CRASHED";
    t.attempt = 1;
    assert_string_equal(task_story(&t, out), "its worker crashed");
    t.reason = "crashed with signal 11";
    assert_string_equal(task_story(&t, out), "crashed with signal 11");
    t = (struct state_task){.reason = "behind priority 5"};
    assert_string_equal(task_story(&t, out), "behind priority 5");
    t.reason = NULL;
    assert_string_equal(task_story(&t, out), "");
}

static void questions_carry_the_filters(void **state)
{
    const struct wish wish = {.thing = "last",
                              .state = "running",
                              .node = "box-1",
                              .name = "train",
                              .job = 7,
                              .limit = 3};
    struct state_query q[VIEW_QUERIES_MAX] = {0};
    assert_int_equal(tasks_view.ask(&wish, q), 1);
    assert_int_equal(q[0].kind, STATE_TASKS);
    assert_string_equal(q[0].id, "last");
    assert_string_equal(q[0].state, "running");
    assert_string_equal(q[0].node, "box-1");
    assert_string_equal(q[0].name, "train");
    assert_int_equal(q[0].job, 7);
    assert_int_equal(q[0].limit, 3);

    assert_int_equal(nodes_view.ask(&wish, q), 2);
    assert_int_equal(q[0].kind, STATE_NODES);
    assert_int_equal(q[1].kind, STATE_SELF);
    assert_string_equal(q[1].node, "last");
    assert_string_equal(q[0].id, "");
    assert_string_equal(q[0].node, "last");

    assert_int_equal(status_view.ask(&everything, q), 4);
    assert_int_equal(q[3].kind, STATE_SELF);
    assert_int_equal(q[0].kind, STATE_CLUSTER);
    assert_string_equal(q[2].state, "failed");
    assert_int_equal(explain_view.ask(&wish, q), 1);
    assert_int_equal(q[0].kind, STATE_EXPLAIN);
    assert_int_equal(jobs_view.ask(&wish, q), 2);
    assert_int_equal(q[0].kind, STATE_JOBS);
    assert_string_equal(q[0].id, "last");
    const struct wish named = {.thing = "train"};
    assert_int_equal(jobs_view.ask(&named, q), 2);
    assert_string_equal(q[0].id, "");
    assert_string_equal(q[0].name, "train");
    assert_int_equal(summary_view.ask(&named, q), 1);
    assert_string_equal(q[0].name, "train");
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    tzset();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_shows_nodes_and_why_tasks_wait),
        cmocka_unit_test(a_pipe_gets_the_whole_sentence),
        cmocka_unit_test(status_adds_up_what_waits_for_several_nodes),
        cmocka_unit_test(status_on_a_terminal_has_bars_and_fits),
        cmocka_unit_test(status_leaves_out_what_came_back_or_is_a_programs),
        cmocka_unit_test(status_shows_columns_of_what_exists),
        cmocka_unit_test(status_without_a_head_or_nodes_says_what_to_do),
        cmocka_unit_test(failures_of_one_kind_are_one_line),
        cmocka_unit_test(a_count_that_may_be_more_says_so),
        cmocka_unit_test(what_is_old_is_marked),
        cmocka_unit_test(nodes_show_what_each_has_and_does),
        cmocka_unit_test(tasks_are_newest_first_and_cut_to_the_width),
        cmocka_unit_test(jobs_are_newest_first_with_the_counts_of_now),
        cmocka_unit_test(nothing_to_show_is_said),
        cmocka_unit_test(explain_shows_the_raylets_lines),
        cmocka_unit_test(ends_are_told_in_words),
        cmocka_unit_test(questions_carry_the_filters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
