#include "tests/unit/head/rig.h"

#include <malloc.h>

static const struct state_query TASKS = {.kind = STATE_TASKS};

static void reply(struct rig *r, uint64_t link, uint64_t request, const struct state_reply *reply)
{
    struct cluster_msg msg = {.type = CLUSTER_REPLY,
                              .reply = {.request = request, .reply = *reply}};
    rig_cluster(r, link, &msg);
}

static uint64_t asked(struct rig *r, uint64_t link)
{
    return rig_take(r, link, CLUSTER_QUERY)->query.request;
}

static void test_head_answers_cluster_nodes_and_jobs(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_tool(&r, 1);
    rig_node(&r, 1, "box-1");
    rig_node(&r, 2, "box-2");
    rig_cluster(&r, 2, &(struct cluster_msg){.type = CLUSTER_LEAVE});
    uint64_t first = rig_job(&r, 1, 1), second = rig_job(&r, 1, 2);

    rig_ask(&r, 1, 5, &(struct state_query){.kind = STATE_CLUSTER});
    const struct local_reply *answer = &rig_take_local(&r, 1, LOCAL_REPLY)->reply;
    assert_int_equal(answer->request, 5);
    assert_true(answer->reply.last);
    assert_string_equal(answer->reply.head_address, "10.0.0.5:7420");
    assert_int_equal(answer->reply.node_count, 2);
    assert_string_equal(answer->reply.nodes[0].state, "alive");
    assert_string_equal(answer->reply.nodes[1].state, "left");
    assert_int_equal(answer->reply.nodes[0].amounts[0].total_units, 8 * RESOURCE_UNIT);

    rig_ask(&r, 1, 6, &(struct state_query){.kind = STATE_NODES, .state = "alive"});
    assert_int_equal(rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply.node_count, 1);

    rig_ask(&r, 1, 7, &(struct state_query){.kind = STATE_JOBS});
    const struct state_reply *jobs = &rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply;
    assert_int_equal(jobs->job_count, 2);
    assert_int_equal(jobs->jobs[0].number, second); /* the newest first */
    assert_int_equal(jobs->jobs[1].number, first);
    assert_string_equal(jobs->jobs[0].node, "box-1");
    rig_ask(&r, 1, 8, &(struct state_query){.kind = STATE_JOBS, .id = "last"});
    jobs = &rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply;
    assert_int_equal(jobs->job_count, 1);
    assert_int_equal(jobs->jobs[0].number, second);
    rig_fini(&r);
}

static void test_readers_wait_for_the_disk(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_tool(&r, 1);
    rig_node(&r, 1, "box-1");
    r.commits = false;
    rig_job_new(&r, 1, 1);
    rig_ask(&r, 1, 5, &(struct state_query){.kind = STATE_JOBS});
    assert_false(rig_has_local(&r, 1));
    rig_commit(&r);
    assert_int_equal(rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply.job_count, 1);
    rig_fini(&r);
}

static void test_many_rows_come_in_several_replies(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_tool(&r, 1);
    rig_node(&r, 1, "box-1");
    for (uint64_t key = 1; key <= 300; key++) {
        rig_job(&r, 1, key);
    }
    rig_ask(&r, 1, 5, &(struct state_query){.kind = STATE_JOBS, .limit = 290});
    size_t rows = 0, replies = 0;
    uint64_t newest = 300;
    for (bool last = false; !last; replies++) {
        const struct state_reply *jobs = &rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply;
        for (size_t i = 0; i < jobs->job_count; i++) {
            assert_int_equal(jobs->jobs[i].number, newest--);
        }
        rows += jobs->job_count;
        last = jobs->last;
    }
    assert_int_equal(rows, 290);
    assert_true(replies > 1);
    assert_false(rig_has_local(&r, 1));
    rig_fini(&r);
}

static void test_tasks_are_asked_of_all_nodes(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_tool(&r, 1);
    rig_node(&r, 1, "box-1");
    rig_node(&r, 2, "box-2");
    rig_ask(&r, 1, 5, &TASKS);
    uint64_t request = asked(&r, 1);
    assert_int_equal(asked(&r, 2), request);

    struct state_task task = {.id = {2, 1, 1}, .function = "train"};
    reply(&r, 2, request, &(struct state_reply){.tasks = &task, .task_count = 1});
    const struct state_reply *passed = &rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply;
    assert_false(passed->last);
    assert_string_equal(passed->tasks[0].function, "train");
    reply(&r, 2, request, &(struct state_reply){.last = true});
    assert_false(rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply.last);
    reply(&r, 2, request, &(struct state_reply){.last = true}); /* one too many */
    reply(&r, 1, request, &(struct state_reply){.last = true});
    const struct local_reply *final = &rig_take_local(&r, 1, LOCAL_REPLY)->reply;
    assert_true(final->reply.last);
    assert_int_equal(final->reply.failure.code, 0);
    assert_int_equal(final->request, 5);
    assert_false(rig_has_local(&r, 1));
    rig_fini(&r);
}

static void test_one_task_is_asked_of_its_home(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_tool(&r, 1);
    rig_node(&r, 1, "box-1");
    rig_node(&r, 2, "box-2");
    rig_ask(&r, 1, 5, &(struct state_query){.kind = STATE_EXPLAIN, .id = "2-7.2231"});
    assert_false(rig_has(&r, 1, CLUSTER_QUERY));
    const char *line = "It waits.";
    reply(&r, 2, asked(&r, 2),
          &(struct state_reply){.last = true, .lines = &line, .line_count = 1});
    assert_string_equal(rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply.lines[0], line);

    rig_ask(&r, 1, 6, &(struct state_query){.kind = STATE_EXPLAIN, .id = "9-7.2231"});
    assert_int_equal(rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply.failure.code, CODE_NOT_FOUND);
    rig_cluster(&r, 2, &(struct cluster_msg){.type = CLUSTER_LEAVE});
    rig_ask(&r, 1, 7, &(struct state_query){.kind = STATE_EXPLAIN, .id = "2-7.2231"});
    assert_int_equal(rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply.failure.code, CODE_NODE_LOST);
    rig_fini(&r);
}

static const struct state_reply *answer(struct rig *r)
{
    return &rig_take_local(r, 1, LOCAL_REPLY)->reply.reply;
}

/* What a node told of its tasks is there when it is gone, and only then. */
static void test_tasks_of_nodes_that_are_gone_are_remembered(void **state)
{
    static const struct state_task tasks[] = {{.id = {2, 7, 30},
                                               .function = "f",
                                               .name = "n",
                                               .state = "failed",
                                               .reason = "no disk",
                                               .job = 4,
                                               .submitted_unix_ms = 1000,
                                               .ended_unix_ms = 3000,
                                               .code = CODE_FAILED},
                                              {.id = {2, 7, 29},
                                               .function = "g",
                                               .name = "g",
                                               .state = "done",
                                               .job = 4,
                                               .submitted_unix_ms = 900,
                                               .ended_unix_ms = 2000}};
    static const struct state_function functions[] = {{.function = "f", .node = "box-2", .done = 9},
                                                      {.function = "g", .node = "box-2"}};
    const struct cluster_msg told = {
        .type = CLUSTER_HISTORY,
        .history.rows = {
            .tasks = tasks, .task_count = 2, .functions = functions, .function_count = 2}};
    struct rig r;
    rig_init(&r);
    rig_tool(&r, 1);
    rig_node(&r, 1, "box-1");
    rig_node(&r, 2, "box-2");
    rig_cluster(&r, 2, &told);
    rig_ask(&r, 1, 5, &(struct state_query){.kind = STATE_TASKS, .node = "box-2"});
    reply(&r, 2, asked(&r, 2), &(struct state_reply){.last = true});
    assert_int_equal(answer(&r)->task_count, 0); /* it lives, and said so itself */
    rig_cluster(&r, 2, &(struct cluster_msg){.type = CLUSTER_LEAVE});

    rig_ask(&r, 1, 6, &TASKS);
    const struct state_reply *rows = answer(&r);
    assert_false(rows->last);
    assert_int_equal(rows->task_count, 2);
    assert_string_equal(rows->tasks[0].reason, "no disk");
    reply(&r, 1, asked(&r, 1), &(struct state_reply){.last = true});
    assert_true(answer(&r)->last);

    rig_ask(&r, 1, 7, &(struct state_query){.kind = STATE_TASKS, .id = "2-7.29"});
    assert_string_equal(answer(&r)->tasks[0].function, "g");
    rig_ask(&r, 1, 8, &(struct state_query){.kind = STATE_EXPLAIN, .id = "2-7.30"});
    rows = answer(&r);
    assert_string_equal(rows->lines[0], "Task 2-7.30 \"n\" is failed, 2 s after it was submitted.");
    assert_string_equal(rows->lines[1], "  no disk");
    assert_string_equal(rows->lines[2], "  Its node box-2 is gone: left.");
    rig_ask(&r, 1, 9, &(struct state_query){.kind = STATE_TASKS, .node = "box-2", .state = "done"});
    assert_int_equal(answer(&r)->task_count, 1);
    rig_ask(&r, 1, 10, &(struct state_query){.kind = STATE_SUMMARY, .name = "f"});
    rows = answer(&r);
    assert_int_equal(rows->function_count, 1);
    assert_int_equal(rows->functions[0].done, 9);
    reply(&r, 1, asked(&r, 1), &(struct state_reply){.last = true});
    assert_true(answer(&r)->last);

    /* The newest of all is one of them. */
    rig_ask(&r, 1, 11, &(struct state_query){.kind = STATE_EXPLAIN, .id = "last"});
    const struct state_task older = {.id = {1, 1, 1}, .function = "h", .submitted_unix_ms = 999};
    reply(&r, 1, asked(&r, 1),
          &(struct state_reply){.last = true, .tasks = &older, .task_count = 1});
    assert_string_equal(answer(&r)->lines[1], "  no disk");
    rig_fini(&r);
}

static size_t memory_used(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* However many nodes come and go, what is kept of them has a bound: the newest stay. */
static void test_what_is_remembered_of_nodes_has_a_bound(void **state)
{
    enum { NODES = 40, ROWS = 500 };
    struct state_task *tasks = xcalloc(ROWS, sizeof *tasks);
    char *reason = xmalloc(1001), name[16];
    memset(reason, 'x', 1000);
    reason[1000] = '\0';
    struct rig r;
    rig_init(&r);
    rig_tool(&r, 1);
    for (uint32_t i = 1; i <= NODES; i++) {
        for (uint32_t k = 0; k < ROWS; k++) {
            tasks[k] =
                (struct state_task){.id = {i, 1, k + 1}, .state = "failed", .reason = reason};
        }
        snprintf(name, sizeof name, "box-%u", i);
        rig_node(&r, i, name);
        rig_cluster(&r, i,
                    &(struct cluster_msg){.type = CLUSTER_HISTORY,
                                          .history.rows = {.tasks = tasks, .task_count = ROWS}});
        rig_cluster(&r, i, &(struct cluster_msg){.type = CLUSTER_LEAVE});
        rig_forget(&r);
    }
    rig_ask(&r, 1, 5, &(struct state_query){.kind = STATE_TASKS, .id = "40-1.7"});
    assert_int_equal(answer(&r)->task_count, 1);
    rig_ask(&r, 1, 6, &(struct state_query){.kind = STATE_TASKS, .id = "1-1.7"});
    assert_int_equal(answer(&r)->failure.code, CODE_NODE_LOST);

    /* Who asks for something else does not have all of it read. */
    rig_node(&r, 100, "box-100");
    size_t before = memory_used();
    rig_ask(&r, 1, 7, &(struct state_query){.kind = STATE_CLASSES});
    (void)asked(&r, 100);
    assert_true(memory_used() < before + (1 << 20));
    rig_fini(&r);
    free(tasks);
    free(reason);
}

static void test_last_is_the_newest_of_all_nodes(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_tool(&r, 1);
    rig_node(&r, 1, "box-1");
    rig_node(&r, 2, "box-2");
    rig_node(&r, 3, "box-3");
    rig_ask(&r, 1, 5, &(struct state_query){.kind = STATE_EXPLAIN, .id = "last"});
    const struct cluster_query *first = &rig_take(&r, 1, CLUSTER_QUERY)->query;
    assert_int_equal(first->query.kind, STATE_TASKS);
    uint64_t request = first->request;
    struct state_task old = {.id = {1, 4, 9}, .submitted_unix_ms = 10};
    struct state_task new = {.id = {2, 7, 2231}, .submitted_unix_ms = 20};
    struct state_reply none = {.last = true};
    failure_set(&none.failure, CODE_NOT_FOUND, "no task has run yet");
    (void)asked(&r, 2);
    reply(&r, 2, request, &(struct state_reply){.last = true, .tasks = &new, .task_count = 1});
    reply(&r, 1, request, &(struct state_reply){.last = true, .tasks = &old, .task_count = 1});
    assert_false(rig_has_local(&r, 1));
    reply(&r, 3, request, &none);

    /* Then its home alone is asked, and answers. */
    const struct cluster_query *second = &rig_take(&r, 2, CLUSTER_QUERY)->query;
    assert_int_equal(second->query.kind, STATE_EXPLAIN);
    assert_string_equal(second->query.id, "2-7.2231");
    assert_false(rig_has(&r, 1, CLUSTER_QUERY));
    const char *line = "It waits.";
    reply(&r, 2, request, &none); /* of the first question: too late */
    reply(&r, 2, second->request,
          &(struct state_reply){.last = true, .lines = &line, .line_count = 1});
    const struct state_reply *end = &rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply;
    assert_true(end->last);
    assert_int_equal(end->failure.code, 0);
    assert_string_equal(end->lines[0], line);

    /* Nobody knows one; the newest one's home goes in between. */
    rig_ask(&r, 1, 6, &(struct state_query){.kind = STATE_TASKS, .id = "last"});
    request = rig_take(&r, 1, CLUSTER_QUERY)->query.request;
    for (uint64_t link = 1; link <= 3; link++) {
        reply(&r, link, request, &none);
    }
    assert_int_equal(rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply.failure.code, CODE_NOT_FOUND);
    rig_forget(&r);
    rig_ask(&r, 1, 7, &(struct state_query){.kind = STATE_TASKS, .id = "last"});
    request = asked(&r, 1);
    reply(&r, 2, request, &(struct state_reply){.last = true, .tasks = &new, .task_count = 1});
    reply(&r, 1, request, &(struct state_reply){.last = true});
    rig_link_down(&r, 2);
    reply(&r, 3, request, &(struct state_reply){.last = true});
    assert_int_equal(rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply.failure.code,
                     CODE_UNREACHABLE);
    rig_fini(&r);
}

static void test_silent_nodes_are_named_after_two_seconds(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_tool(&r, 1);
    rig_node(&r, 1, "box-1");
    rig_node(&r, 2, "box-2");
    rig_node(&r, 3, "box-3");
    rig_ask(&r, 1, 5, &TASKS);
    uint64_t request = asked(&r, 1);
    reply(&r, 1, request, &(struct state_reply){.last = true});
    (void)rig_take_local(&r, 1, LOCAL_REPLY);
    rig_pass(&r, 1900 * NS_PER_MS, 1, 3);
    assert_false(rig_has_local(&r, 1));
    rig_pass(&r, 200 * NS_PER_MS, 0, 0);
    const struct state_reply *end = &rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply;
    assert_true(end->last);
    assert_int_equal(end->failure.code, CODE_TIMEOUT);
    assert_non_null(strstr(end->failure.message, "box-2, box-3"));
    assert_null(strstr(end->failure.message, "box-1"));
    reply(&r, 2, request, &(struct state_reply){.last = true}); /* too late */
    assert_false(rig_has_local(&r, 1));

    /* A node whose session ends will not answer: no reason to wait. */
    rig_ask(&r, 1, 6, &(struct state_query){.kind = STATE_TASKS, .node = "box-3"});
    rig_link_down(&r, 3);
    assert_non_null(
        strstr(rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply.failure.message, "box-3"));
    rig_fini(&r);
}

static void test_not_found_on_one_node_is_found_on_another(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_tool(&r, 1);
    rig_node(&r, 1, "box-1");
    rig_node(&r, 2, "box-2");
    struct state_reply none = {.last = true};
    failure_set(&none.failure, CODE_NOT_FOUND, "no such task here");
    struct state_task task = {.id = {2, 1, 1}};
    rig_ask(&r, 1, 5, &TASKS);
    uint64_t request = asked(&r, 1);
    reply(&r, 1, request, &none);
    reply(&r, 2, request, &(struct state_reply){.last = true, .tasks = &task, .task_count = 1});
    const struct state_reply *end = &rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply;
    assert_true(end->last);
    assert_int_equal(end->task_count, 1);
    assert_int_equal(end->failure.code, 0);

    rig_ask(&r, 1, 6, &TASKS);
    request = rig_take(&r, 1, CLUSTER_QUERY)->query.request;
    reply(&r, 1, request, &none);
    reply(&r, 2, request, &none);
    assert_int_equal(rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply.failure.code, CODE_NOT_FOUND);
    rig_fini(&r);
}

static void test_bounds_of_queries(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_tool(&r, 1);
    rig_tool(&r, 2);
    rig_node(&r, 1, "box-1");
    for (uint64_t i = 1; i <= HEAD_QUERIES_MAX; i++) {
        rig_ask(&r, 1, i, &TASKS);
    }
    assert_false(rig_has_local(&r, 1));
    rig_ask(&r, 2, 1, &TASKS);
    assert_int_equal(rig_take_local(&r, 2, LOCAL_REPLY)->reply.reply.failure.code, CODE_FULL);
    /* A tool that goes takes its questions along. */
    rig_event(&r, &(struct head_event){.kind = HEAD_EVENT_TOOL_DOWN, .tool = 1});
    rig_ask(&r, 2, 2, &TASKS);
    assert_false(rig_has_local(&r, 2));
    rig_fini(&r);
}

static void test_only_tools_stop_the_head(void **state)
{
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    struct cluster_msg msg = {.type = CLUSTER_QUERY,
                              .query = {.request = 3, .query = {.kind = STATE_STOP}}};
    rig_cluster(&r, 1, &msg);
    assert_int_equal(rig_take(&r, 1, CLUSTER_REPLY)->reply.reply.failure.code, CODE_REFUSED);
    assert_false(r.quit);
    rig_tool(&r, 1);
    r.commits = false;
    rig_job_new(&r, 1, 1);
    rig_ask(&r, 1, 4, &(struct state_query){.kind = STATE_STOP});
    assert_false(r.quit);
    rig_commit(&r);
    assert_true(rig_take_local(&r, 1, LOCAL_REPLY)->reply.reply.last);
    assert_true(r.quit);
    rig_fini(&r);
}

static void test_programs_are_refused_at_the_heads_socket(void **state)
{
    struct rig r;
    rig_init(&r);
    struct local_msg open = {.type = LOCAL_OPEN,
                             .open = {.protocol = LOCAL_PROTOCOL_VERSION, .role = ROLE_DRIVER}};
    rig_event(&r, &(struct head_event){.kind = HEAD_EVENT_TOOL_UP, .tool = 1});
    rig_event(&r, &(struct head_event){.kind = HEAD_EVENT_TOOL_MESSAGE, .tool = 1, .local = &open});
    assert_int_equal(rig_take_local(&r, 1, LOCAL_REFUSED)->refused.failure.code, CODE_REFUSED);
    assert_true(rig_has_effect(&r, HEAD_EFFECT_TOOL_CLOSE, 1));
    rig_fini(&r);
}

static void test_keys_that_may_only_ask(void **state)
{
    static const enum peer_role roles[] = {PEER_CLIENT, PEER_READER};
    static const uint32_t headly[] = {STATE_CLUSTER, STATE_NODES, STATE_JOBS};
    static const uint32_t nodely[] = {STATE_TASKS, STATE_CLASSES, STATE_EXPLAIN, STATE_WORKERS,
                                      STATE_LOG};
    static const enum cluster_type changes[] = {
        CLUSTER_JOB_NEW,         CLUSTER_JOB_END, CLUSTER_FEASIBLE, CLUSTER_LEAVE,
        CLUSTER_REPLY,           CLUSTER_JOINED,  CLUSTER_VIEW,     CLUSTER_RENEWED,
        CLUSTER_FEASIBLE_ANSWER, CLUSTER_LEFT,    CLUSTER_RENEW};
    struct rig r;
    rig_init(&r);
    rig_node(&r, 1, "box-1");
    uint64_t job = rig_job(&r, 1, 1), link = 10;
    for (size_t k = 0; k < ARRAY_SIZE(roles); k++) {
        struct head_event up = {.kind = HEAD_EVENT_LINK_UP, .link = ++link, .role = roles[k]};
        struct cluster_msg ask = {.type = CLUSTER_QUERY, .query = {.request = 7}};
        rig_event(&r, &up);
        for (size_t i = 0; i < ARRAY_SIZE(headly); i++) {
            ask.query.query = (struct state_query){.kind = headly[i]};
            rig_cluster(&r, link, &ask);
            const struct cluster_reply *answer = &rig_take(&r, link, CLUSTER_REPLY)->reply;
            assert_true(answer->request == 7 && answer->reply.last);
            assert_int_equal(answer->reply.failure.code, 0);
        }
        for (size_t i = 0; i < ARRAY_SIZE(nodely); i++) {
            ask.query.query = (struct state_query){.kind = nodely[i], .node = "box-1"};
            rig_cluster(&r, link, &ask);
            reply(&r, 1, asked(&r, 1), &(struct state_reply){.last = true});
            assert_true(rig_take(&r, link, CLUSTER_REPLY)->reply.reply.last);
        }
        for (uint32_t kind = STATE_STOP; kind <= STATE_LEAVE; kind++) {
            ask.query.query = (struct state_query){.kind = kind};
            rig_cluster(&r, link, &ask);
            assert_int_equal(rig_take(&r, link, CLUSTER_REPLY)->reply.reply.failure.code,
                             CODE_REFUSED);
        }
        assert_false(r.quit || rig_has(&r, 1, CLUSTER_QUERY));
        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
            struct cluster_msg change = {.type = changes[i]};
            up.link = ++link;
            rig_event(&r, &up);
            rig_cluster(&r, link, &change);
            const struct failure *f = &rig_take(&r, link, CLUSTER_REFUSED)->refused.failure;
            assert_int_equal(f->code, CODE_REFUSED);
            assert_non_null(strstr(f->message, "join.key"));
            assert_true(rig_has_effect(&r, HEAD_EFFECT_DROP, link));
        }
    }
    struct head_counts counts;
    head_core_count(r.core, &counts);
    assert_int_equal(counts.protocol_errors, ARRAY_SIZE(roles) * ARRAY_SIZE(changes));
    assert_int_equal(counts.nodes_alive, 1);
    assert_int_equal(head_core_job(r.core, job)->state, HEAD_JOB_RUNNING);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_answers_cluster_nodes_and_jobs),
        cmocka_unit_test(test_readers_wait_for_the_disk),
        cmocka_unit_test(test_many_rows_come_in_several_replies),
        cmocka_unit_test(test_tasks_are_asked_of_all_nodes),
        cmocka_unit_test(test_one_task_is_asked_of_its_home),
        cmocka_unit_test(test_tasks_of_nodes_that_are_gone_are_remembered),
        cmocka_unit_test(test_what_is_remembered_of_nodes_has_a_bound),
        cmocka_unit_test(test_last_is_the_newest_of_all_nodes),
        cmocka_unit_test(test_silent_nodes_are_named_after_two_seconds),
        cmocka_unit_test(test_not_found_on_one_node_is_found_on_another),
        cmocka_unit_test(test_bounds_of_queries),
        cmocka_unit_test(test_only_tools_stop_the_head),
        cmocka_unit_test(test_keys_that_may_only_ask),
        cmocka_unit_test(test_programs_are_refused_at_the_heads_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
