/* Tasks between nodes: the normal exchange, and what ends it, as timelines. */
#include <stdio.h>

#include "raylet/core_lanes.h"
#include "raylet/core_peers.h"
#include "tests/unit/raylet/between_scene.h"

/* ---- we are the home ---- */

/* One task that only THEM may run is sent there; the number of its class. */
static uint32_t send_one(struct scene *s, struct rig_task task, struct object_id *ret)
{
    *ret = submit_to(s, task);
    up(s, THEM, SIDE_OUT);
    uint32_t number = said(s, THEM, SIDE_OUT, PEER_CLASS)->class_.number;
    grants(s, THEM, number, 1);
    assert_int_equal(said(s, THEM, SIDE_OUT, PEER_RUN)->run.run, 1);
    return number;
}

static void a_task_is_asked_for_granted_run_and_answered(void **state)
{
    struct scene *s = begin_as_home(2, 2);
    uint32_t there = declare(s, "h", AT_THEM);
    struct object_id id = submit_to(s, (struct rig_task){.class_number = there, .payload = 20});

    assert_int_equal(s->rig.peer_opens, 1); /* the session is begun when it is needed */
    assert_int_equal(s->rig.sent_count, 0);
    up(s, THEM, SIDE_OUT);
    const struct peer_msg *m = said(s, THEM, SIDE_OUT, PEER_JOB);
    assert_int_equal(m->job.job, the_job(s)->number);
    assert_int_equal(m->job.home, s->rig.node);
    m = said(s, THEM, SIDE_OUT, PEER_CLASS);
    uint32_t number = m->class_.number;
    assert_string_equal(m->class_.function, "h");
    assert_int_equal(m->class_.amount_count, 1);
    assert_int_equal(m->class_.amounts[0].units, RESOURCE_UNIT);
    m = said(s, THEM, SIDE_OUT, PEER_ASK);
    assert_int_equal(m->ask.number, number);
    assert_int_equal(m->ask.limit, 1);
    assert_null(said(s, THEM, SIDE_OUT, PEER_RUN)); /* not before there is a slot */
    grants(s, THEM, number, 1);
    m = said(s, THEM, SIDE_OUT, PEER_RUN);
    assert_int_equal(m->run.run, 1);
    assert_int_equal(m->run.number, number);
    assert_int_equal(m->run.attempt, 1);
    assert_true(object_id_equal(m->run.task, id));
    assert_int_equal(*(const uint64_t *)m->payload.data, 20);
    says_word(s, THEM, 1, 21);
    assert_int_equal(value_of(&s->rig, id), 21);

    submit_to(s, (struct rig_task){.class_number = there}); /* the second one needs less */
    assert_null(said(s, THEM, SIDE_OUT, PEER_JOB));
    assert_null(said(s, THEM, SIDE_OUT, PEER_CLASS));
    assert_null(said(s, OTHER, SIDE_OUT, PEER_JOB));
    end(s);
}

static void a_slot_that_is_not_used_lingers_and_goes_back(void **state)
{
    struct scene *s = begin_as_home(2, 0);
    uint32_t there = declare(s, "h", AT_THEM);
    struct object_id ids[2], id;

    for (int i = 0; i < 2; i++) {
        ids[i] = submit_to(s, (struct rig_task){.class_number = there});
    }
    up(s, THEM, SIDE_OUT);
    uint32_t number = said(s, THEM, SIDE_OUT, PEER_CLASS)->class_.number;
    rig_cancel(&s->rig, s->driver, ids[1], 0);
    grants(s, THEM, number, 2);
    assert_int_equal(count_said(s, THEM, SIDE_OUT, PEER_RUN), 1);
    rig_pass(&s->rig, NS_PER_MS / 2);
    assert_null(said(s, THEM, SIDE_OUT, PEER_RETURN));
    id = submit_to(s, (struct rig_task){.class_number = there}); /* it comes in time */
    assert_int_equal(said(s, THEM, SIDE_OUT, PEER_RUN)->run.run, 2);
    says_word(s, THEM, 1, 5);
    says_word(s, THEM, 2, 6);
    assert_int_equal(value_of(&s->rig, ids[0]), 5);
    assert_int_equal(value_of(&s->rig, id), 6);
    assert_null(said(s, THEM, SIDE_OUT, PEER_RETURN));

    ids[0] = submit_to(s, (struct rig_task){.class_number = there});
    rig_cancel(&s->rig, s->driver, ids[0], 0);
    grants(s, THEM, number, 1);
    rig_pass(&s->rig, 3 * NS_PER_MS); /* this one does not */
    assert_int_equal(said(s, THEM, SIDE_OUT, PEER_RETURN)->slots.count, 1);
    end(s);
}

static void spread_gives_each_node_the_same(void **state)
{
    struct scene *s = begin_as_home(2, 2);
    uint32_t k =
        declare(s, "s", (struct rig_class){.cpus_x10000 = 10000, .strategy = SCHED_SPREAD});

    for (int i = 0; i < 30; i++) {
        submit_to(s, (struct rig_task){.class_number = k, .payload = 1});
    }
    up(s, THEM, SIDE_OUT);
    up(s, OTHER, SIDE_OUT);
    assert_int_equal(said(s, THEM, SIDE_OUT, PEER_ASK)->ask.limit, 10);
    assert_int_equal(said(s, OTHER, SIDE_OUT, PEER_ASK)->ask.limit, 10);
    assert_int_equal(rig_run_all(&s->rig), 10); /* and those are not run here, though idle */
    end(s);
}

/* Of a cluster that goes with its program nothing can be asked later. */
static void a_crash_says_where_its_output_is(void **state)
{
    for (int passing = 0; passing < 2; passing++) {
        struct scene *s = begin();
        s->rig.core->is_passing = passing != 0;
        submit_to(s, (struct rig_task){.class_number = s->f, .payload = 1, .max_attempts = 1});
        struct rig_process *w = rig_ready_worker(&s->rig);
        assert_true(rig_claim(&s->rig, w));
        rig_crash(&s->rig, w, 11);
        rig_settle(&s->rig);
        assert_string_equal(s->rig.last_error,
                            passing
                                ? "its worker was killed by signal 11 (Segmentation fault)"
                                : "its worker was killed by signal 11 (Segmentation fault); its "
                                  "output: drt logs --task 7-1.1");
        end(s);
    }
}

/* Only what is shown has a bound: who runs a function is told its name. */
static void functions_without_end_are_run_by_their_names(void **state)
{
    struct scene *s = begin_as_home(0, 2);
    char name[16];

    for (uint32_t i = 0; i < 70000; i++) {
        snprintf(name, sizeof name, "f%u", i);
        (void)core_intern(s->rig.core, name);
    }
    uint32_t there = declare(s, "the_last", AT_THEM);
    rig_view(&s->rig, THEM, "box-2", 2);
    rig_settle(&s->rig);
    struct object_id id = submit_to(s, (struct rig_task){.class_number = there, .payload = 1});
    up(s, THEM, SIDE_OUT);
    assert_string_equal(said(s, THEM, SIDE_OUT, PEER_CLASS)->class_.function, "the_last");
    rig_query(&s->rig, rig_tool(&s->rig), (struct state_query){.kind = STATE_TASKS, .id = "last"});
    assert_string_equal(s->rig.reply_name, "(other)");
    assert_null(rig_value(&s->rig, id));
    end(s);
}

static const char *explained(struct scene *s, struct rig_process *tool, struct object_id id)
{
    char text[ID_TEXT_SIZE];

    rig_query(&s->rig, tool,
              (struct state_query){.kind = STATE_EXPLAIN, .id = object_id_format(id, text)});
    return s->rig.reply_line;
}

/* Where it is fixed to, and why it waits there; what this node lacks is not the reason. */
static void spread_tasks_are_explained_by_their_node(void **state)
{
    struct scene *s = begin_as_home(2, 0);
    struct rig_class spread = {.cpus_x10000 = 20000, .strategy = SCHED_SPREAD};
    uint32_t k = declare(s, "s", spread);
    struct rig_process *tool = rig_tool(&s->rig);
    struct cluster_amount none = {"CPU", 2 * RESOURCE_UNIT, RESOURCE_UNIT / 2};
    struct cluster_view_node row = {
        .number = THEM, .state = NODE_ALIVE, .name = "", .amounts = &none, .amount_count = 1};
    struct cluster_msg view = {.type = CLUSTER_VIEW, .view = {.nodes = &row, .node_count = 1}};
    struct object_id ids[4];

    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        ids[i] = submit_to(s, (struct rig_task){.class_number = k, .payload = 1});
    }
    up(s, THEM, SIDE_OUT);
    size_t there = 0, ours = 0;
    const char *text = explained(s, tool, ids[0]);
    while (strstr(text, "which chose node box-2") == NULL) {
        text = explained(s, tool, ids[++there]);
        assert_true(there + 1 < ARRAY_SIZE(ids));
    }
    assert_non_null(
        strstr(text, "Now: it needs node box-2, which is being asked for a free slot."));
    rig_head_says(&s->rig, &view);
    rig_settle(&s->rig);
    text = explained(s, tool, ids[there]);
    assert_non_null(
        strstr(text, "Now: it needs node box-2, where CPU: 2 requested, 0.5 of 2 free."));
    assert_null(strstr(text, "box-1"));
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        text = explained(s, tool, ids[i]);
        if (strstr(text, "which chose node box-1") != NULL) { /* else it runs, or is the other's */
            assert_non_null(strstr(text, "Now: CPU: 2 requested, 0 of 2 free."));
            ours++;
        }
    }
    assert_int_equal(ours, 1);
    end(s);
}

static uint64_t waiting_at(struct scene *s, uint32_t node)
{
    return lanes_waiting(s->rig.core, peer_find(s->rig.core, node));
}

/* A task that waits for one other node alone is counted there, not where it was submitted. */
static void what_waits_for_another_node_is_not_counted_here(void **state)
{
    struct scene *s = begin_as_home(2, 2);
    struct rig_class spread = {.cpus_x10000 = 20000, .strategy = SCHED_SPREAD};
    uint32_t k = declare(s, "s", spread), there = declare(s, "h", AT_THEM);

    for (size_t i = 0; i < 30; i++) {
        submit_to(s, (struct rig_task){.class_number = k, .payload = 1});
    }
    assert_int_equal(s->rig.core->waiting, 29);
    assert_int_equal(waiting_at(s, THEM), 10);
    assert_int_equal(waiting_at(s, OTHER), 10);
    assert_int_equal(lanes_waiting(s->rig.core, NULL), 20);
    for (size_t i = 0; i < 5; i++) { /* these stand in the queue of all */
        submit_to(s, (struct rig_task){.class_number = there, .payload = 1});
    }
    up(s, THEM, SIDE_OUT);
    up(s, OTHER, SIDE_OUT);
    assert_int_equal(waiting_at(s, THEM), 15);
    assert_int_equal(lanes_waiting(s->rig.core, NULL), 25);
    assert_int_equal(s->rig.core->waiting, 34);

    rig_query(&s->rig, rig_tool(&s->rig), (struct state_query){.kind = STATE_NODES});
    assert_int_equal(s->rig.reply_waiting, 9);
    rig_query(&s->rig, rig_tool(&s->rig), (struct state_query){.kind = STATE_CLASSES});
    /* Of each node, whatever job; then by function: the same sums. */
    assert_int_equal(s->rig.reply_waiting, 34 + 34);
    end(s);
}

static void balanced_work_goes_where_most_is_free(void **state)
{
    struct scene *s = begin_as_home(8, 0);
    uint32_t k =
        declare(s, "b", (struct rig_class){.cpus_x10000 = 10000, .strategy = SCHED_LOAD_BALANCED});

    for (int i = 0; i < 5; i++) {
        submit_to(s, (struct rig_task){.class_number = k, .payload = 1});
    }
    up(s, THEM, SIDE_OUT);
    assert_int_equal(said(s, THEM, SIDE_OUT, PEER_ASK)->ask.limit, 4);
    assert_int_equal(rig_run_all(&s->rig), 1);
    end(s);
}

static void what_finds_no_room_here_goes_elsewhere_when_it_is_worth_it(void **state)
{
    struct scene *s = begin_as_home(4, 0);

    for (uint64_t i = 0; i < 4; i++) {
        rig_get(&s->rig, s->driver, submit(s, i));
    }
    rig_settle(&s->rig);
    assert_true(rig_claim(&s->rig, rig_ready_worker(&s->rig)));
    assert_true(rig_claim(&s->rig, rig_ready_worker(&s->rig)));
    rig_pass(&s->rig, 10 * NS_PER_MS);
    assert_int_equal(s->rig.peer_opens, 0); /* perhaps they are short */
    rig_pass(&s->rig, 20 * NS_PER_MS);
    assert_int_equal(s->rig.peer_opens, 1);
    up(s, THEM, SIDE_OUT);
    assert_int_equal(said(s, THEM, SIDE_OUT, PEER_ASK)->ask.limit, 2);
    grants(s, THEM, said(s, THEM, SIDE_OUT, PEER_CLASS)->class_.number, 2);
    assert_int_equal(count_said(s, THEM, SIDE_OUT, PEER_RUN), 2);
    end(s);
}

static void what_goes_back_is_sent_again_free_of_charge(void **state)
{
    struct scene *s = begin_as_home(2, 0);
    struct object_id id;
    uint32_t number = send_one(s, (struct rig_task){.class_number = declare(s, "h", AT_THEM)}, &id);

    says_back(s, THEM, 1, PEER_BACK_BUSY);
    rig_pass(&s->rig, 60 * NS_PER_MS);
    (void)count_said(s, THEM, SIDE_OUT, PEER_ASK);
    grants(s, THEM, number, 1);
    const struct peer_msg *m = said(s, THEM, SIDE_OUT, PEER_RUN);
    assert_int_equal(m->run.run, 2);
    assert_int_equal(m->run.attempt, 1);
    says_word(s, THEM, 1, 4); /* it went back: this is nobody's */
    assert_null(rig_value(&s->rig, id));
    says_word(s, THEM, 2, 5);
    assert_int_equal(value_of(&s->rig, id), 5);
    end(s);
}

/* What is kept of the moment when it was heard of is 32 bits of milliseconds, which end. */
static void a_task_elsewhere_has_run_since_it_began_also_after_49_days(void **state)
{
    struct scene *s = begin_as_home(4, 0);
    uint32_t there = declare(s, "h", AT_THEM);
    struct object_id id;
    char text[ID_TEXT_SIZE];

    s->rig.now_ns += 50 * 86400 * NS_PER_S;
    (void)send_one(s, (struct rig_task){.class_number = there}, &id);
    says_started(s, THEM, 1);
    s->rig.now_ns += 2 * NS_PER_S;
    rig_query(&s->rig, rig_tool(&s->rig),
              (struct state_query){.kind = STATE_TASKS, .id = object_id_format(id, text)});
    assert_in_range(s->rig.reply_tasks[0].ran_ns, 2 * NS_PER_S, 3 * NS_PER_S);
    end(s);
}

static void the_end_of_a_session_charges_what_is_known_as_begun(void **state)
{
    struct scene *s = begin_as_home(4, 0);
    uint32_t there = declare(s, "h", AT_THEM);
    struct object_id begun, unknown, once, last;

    begun = submit_to(s, (struct rig_task){.class_number = there, .max_attempts = 2});
    unknown = submit_to(s, (struct rig_task){.class_number = there, .max_attempts = 2});
    once = submit_to(s, (struct rig_task){.class_number = there, .flags = SUBMIT_AT_MOST_ONCE});
    last = submit_to(s, (struct rig_task){.class_number = there, .max_attempts = 1});
    up(s, THEM, SIDE_OUT);
    grants(s, THEM, said(s, THEM, SIDE_OUT, PEER_CLASS)->class_.number, 4);
    assert_int_equal(count_said(s, THEM, SIDE_OUT, PEER_RUN), 4);
    says_started(s, THEM, 1);
    says_started(s, THEM, 4);
    down(s, THEM, SIDE_OUT);
    assert_int_equal(code_of(&s->rig, once), CODE_UNKNOWN);
    assert_int_equal(code_of(&s->rig, last), CODE_NODE_LOST);
    rig_pass(&s->rig, 3 * NS_PER_S);
    up(s, THEM, SIDE_OUT);
    rig_pass(&s->rig, NS_PER_S);
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_JOB)); /* all is told again */
    grants(s, THEM, said(s, THEM, SIDE_OUT, PEER_CLASS)->class_.number, 2);
    uint32_t charged = 0;
    for (int i = 0; i < 2; i++) {
        const struct peer_msg *m = said(s, THEM, SIDE_OUT, PEER_RUN);
        assert_int_equal(m->run.attempt, object_id_equal(m->run.task, begun) ? 2 : 1);
        charged += m->run.attempt - 1;
        says_word(s, THEM, m->run.run, 7);
    }
    assert_int_equal(charged, 1);
    assert_int_equal(value_of(&s->rig, begun), 7);
    assert_int_equal(value_of(&s->rig, unknown), 7);
    end(s);
}

static void an_attempt_is_lost_free_of_charge_ten_times(void **state)
{
    struct scene *s = begin_as_home(2, 0);
    struct object_id id = submit_to(s, (struct rig_task){.class_number = declare(s, "h", AT_THEM)});
    uint32_t losses = 0;

    while (rig_value(&s->rig, id) == NULL) {
        up(s, THEM, SIDE_OUT);
        rig_pass(&s->rig, NS_PER_S);
        grants(s, THEM, said(s, THEM, SIDE_OUT, PEER_CLASS)->class_.number, 1);
        assert_int_equal(said(s, THEM, SIDE_OUT, PEER_RUN)->run.attempt, 1);
        down(s, THEM, SIDE_OUT);
        losses++;
        rig_pass(&s->rig, 10 * NS_PER_S);
    }
    assert_int_equal(losses, 11);
    assert_int_equal(code_of(&s->rig, id), CODE_NODE_LOST);
    end(s);
}

static void what_ends_at_home_is_stopped_there(void **state)
{
    struct scene *s = begin_as_home(4, 0);
    struct object_id late, cancelled;
    uint32_t there = declare(s, "h", AT_THEM);
    uint32_t number =
        send_one(s, (struct rig_task){.class_number = there, .timeout_ns = NS_PER_S}, &late);

    cancelled = submit_to(s, (struct rig_task){.class_number = there});
    rig_pass(&s->rig, 10 * NS_PER_MS);
    grants(s, THEM, number, 1);
    rig_cancel(&s->rig, s->driver, cancelled, CANCEL_FORCE);
    rig_settle(&s->rig);
    const struct peer_msg *m = said(s, THEM, SIDE_OUT, PEER_STOP);
    assert_int_equal(m->stop.run, 2);
    assert_int_equal(m->stop.how, PEER_STOP_KILL);
    assert_int_equal(code_of(&s->rig, cancelled), CODE_CANCELLED);
    rig_pass(&s->rig, NS_PER_S);
    m = said(s, THEM, SIDE_OUT, PEER_STOP);
    assert_int_equal(m->stop.run, 1);
    assert_true(m->stop.recursive);
    assert_int_equal(code_of(&s->rig, late), CODE_DEADLINE);
    says_word(s, THEM, 1, 9); /* too late */
    says_back(s, THEM, 2, PEER_BACK_ASKED);
    assert_int_equal(code_of(&s->rig, late), CODE_DEADLINE);
    assert_int_equal(s->rig.core->peers->runs.used, 0);
    end(s);
}

static void a_node_that_leaves_gets_no_more_and_what_was_for_it_goes_elsewhere(void **state)
{
    struct scene *s = begin_as_home(2, 0);
    uint32_t k =
        declare(s, "s", (struct rig_class){.cpus_x10000 = 10000, .strategy = SCHED_SPREAD});
    struct cluster_view_node row = {
        .number = THEM, .state = NODE_ALIVE, .name = "", .closed = true};
    struct cluster_msg view = {.type = CLUSTER_VIEW, .view = {.nodes = &row, .node_count = 1}};

    for (int i = 0; i < 4; i++) {
        submit_to(s, (struct rig_task){.class_number = k, .payload = 1});
    }
    up(s, THEM, SIDE_OUT);
    assert_int_equal(said(s, THEM, SIDE_OUT, PEER_ASK)->ask.limit, 2);
    rig_head_says(&s->rig, &view);
    rig_settle(&s->rig);
    assert_int_equal(rig_run_all(&s->rig), 4);
    rig_pass(&s->rig, 5 * NS_PER_MS);
    assert_int_equal(said(s, THEM, SIDE_OUT, PEER_ASK)->ask.limit, 0);
    end(s);
}

static void a_program_that_is_broken_at_one_node_runs_at_others(void **state)
{
    struct scene *s = begin_as_home(2, 2);
    uint32_t there = declare(s, "h", AT_THEM);
    uint32_t k =
        declare(s, "s", (struct rig_class){.cpus_x10000 = 10000, .strategy = SCHED_SPREAD});
    struct object_id id = submit_to(s, (struct rig_task){.class_number = there});

    for (int i = 0; i < 6; i++) {
        submit_to(s, (struct rig_task){.class_number = k, .payload = 1});
    }
    up(s, THEM, SIDE_OUT);
    up(s, OTHER, SIDE_OUT);
    assert_int_equal(said(s, OTHER, SIDE_OUT, PEER_ASK)->ask.limit, 2);
    says_job_broken(s, THEM);
    rig_pass(&s->rig, NS_PER_MS);
    assert_int_equal(code_of(&s->rig, id), CODE_PROGRAM);
    assert_int_equal(said(s, OTHER, SIDE_OUT, PEER_ASK)->ask.limit, 3);
    assert_int_equal(rig_run_all(&s->rig), 3);
    end(s);
}

static void a_raylet_whose_sessions_are_idle_sleeps(void **state)
{
    struct scene *s = begin_as_home(2, 0);
    struct object_id id;

    send_one(s, (struct rig_task){.class_number = declare(s, "h", AT_THEM)}, &id);
    says_word(s, THEM, 1, 5);
    up(s, OTHER, SIDE_IN);
    assert_in_range(sleep_for(s, 60 * NS_PER_S), 0, 80); /* the lease is renewed each second */
    end(s);
}

static void a_task_that_waits_for_a_node_that_is_cut_off_costs_next_to_nothing(void **state)
{
    struct scene *s = begin_as_home(2, 0);

    submit_to(s, (struct rig_task){.class_number = declare(s, "h", AT_THEM)});
    sleep_for(s, 60 * NS_PER_S);
    assert_in_range(sleep_for(s, 600 * NS_PER_S), 600, 2000);
    up(s, THEM, SIDE_OUT); /* but its coming is noticed at once */
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_ASK));
    end(s);
}

/* ---- we are the executor ---- */

static void what_a_home_asks_for_is_lent_run_and_answered(void **state)
{
    struct scene *s = begin_among_nodes();

    up(s, THEM, SIDE_IN);
    announces(s, THEM);
    assert_int_equal(s->rig.fetches, 1);
    declares(s, THEM, 1);
    asks_for(s, THEM, 1, 3);
    const struct peer_msg *m = said(s, THEM, SIDE_IN, PEER_GRANT);
    assert_int_equal(m->slots.number, 1);
    assert_int_equal(m->slots.count, 2); /* as many as it has CPUs; those are taken */
    assert_int_equal(resource_set_get(&s->rig.core->available, RESOURCE_CPU), 0);
    runs(s, THEM, 1, 1);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    rig_pass(&s->rig, 20 * NS_PER_MS);
    assert_int_equal(said(s, THEM, SIDE_IN, PEER_STARTED)->runs.runs[0], 1);
    rig_return(&s->rig, w, 8);
    rig_settle(&s->rig);
    m = said(s, THEM, SIDE_IN, PEER_RESULT);
    assert_int_equal(m->result.run, 1);
    assert_int_equal(m->result.kind, PEER_RESULT_VALUES);
    assert_true(m->result.args_free);
    assert_int_equal(*(const uint64_t *)m->payload.data, 8);
    assert_int_equal(said(s, THEM, SIDE_IN, PEER_GRANT)->slots.count, 1); /* the third */
    returns_slots(s, THEM, 1, 2);
    rig_pass(&s->rig, NS_PER_MS);
    assert_int_equal(resource_set_get(&s->rig.core->available, RESOURCE_CPU), 2 * RESOURCE_UNIT);
    end(s);
}

static void homes_take_turns(void **state)
{
    struct scene *s = begin_as_executor();
    uint32_t given[2] = {0, 0}, peers[2] = {THEM, OTHER};

    up(s, OTHER, SIDE_IN);
    announces(s, OTHER);
    declares(s, OTHER, 1);
    asks_for(s, THEM, 1, 1000);
    asks_for(s, OTHER, 1, 1000);
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < 2; i++) {
            const struct peer_msg *m;
            while ((m = said(s, peers[i], SIDE_IN, PEER_GRANT)) != NULL) {
                given[i] += m->slots.count;
                returns_slots(s, peers[i], 1, m->slots.count);
            }
        }
    }
    assert_in_range(given[0], 20, 100);
    assert_in_range(given[1], given[0] - 4, given[0] + 4);
    end(s);
}

static void a_slot_that_is_not_used_is_revoked_when_others_wait(void **state)
{
    struct scene *s = begin_as_executor();

    asks_for(s, THEM, 1, 2);
    assert_int_equal(said(s, THEM, SIDE_IN, PEER_GRANT)->slots.count, 2);
    rig_pass(&s->rig, 60 * NS_PER_S); /* nobody else needs them */
    assert_int_equal(resource_set_get(&s->rig.core->available, RESOURCE_CPU), 0);
    struct object_id id = submit(s, 4);
    rig_get(&s->rig, s->driver, id);
    rig_pass(&s->rig, 3 * NS_PER_S);
    assert_int_equal(rig_run_all(&s->rig), 1);
    assert_int_equal(value_of(&s->rig, id), 4);
    runs(s, THEM, 1, 1); /* late, and no worse for it */
    assert_true(rig_claim(&s->rig, rig_ready_worker(&s->rig)));
    end(s);
}

static void a_guest_that_waits_goes_back(void **state)
{
    struct scene *s = begin_as_executor();

    asks_for(s, THEM, 1, 2);
    submit(s, 1);
    submit(s, 1);
    rig_pass(&s->rig, 3 * NS_PER_S); /* the slots are revoked */
    assert_true(rig_claim(&s->rig, rig_ready_worker(&s->rig)));
    assert_true(rig_claim(&s->rig, rig_ready_worker(&s->rig)));
    runs(s, THEM, 1, 1);
    rig_pass(&s->rig, 10 * NS_PER_MS);
    assert_null(said(s, THEM, SIDE_IN, PEER_BACK));
    rig_pass(&s->rig, 30 * NS_PER_MS);
    const struct peer_msg *m = said(s, THEM, SIDE_IN, PEER_BACK);
    assert_int_equal(m->back.run, 1);
    assert_int_equal(m->back.reason, PEER_BACK_BUSY);
    end(s);
}

static void a_raylet_that_leaves_lends_nothing_and_ends_what_runs(void **state)
{
    struct scene *s = begin_as_executor();

    asks_for(s, THEM, 1, 1);
    runs(s, THEM, 1, 1);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    (void)count_said(s, THEM, SIDE_IN, PEER_GRANT);
    rig_event(&s->rig, EVENT_LEAVE)->limit_ns = 60 * NS_PER_S;
    rig_settle(&s->rig);
    asks_for(s, THEM, 1, 2);
    assert_null(said(s, THEM, SIDE_IN, PEER_GRANT));
    assert_int_equal(s->rig.quits, 0);
    rig_return(&s->rig, w, 3);
    rig_settle(&s->rig);
    assert_non_null(said(s, THEM, SIDE_IN, PEER_RESULT));
    rig_pass(&s->rig, 2 * NS_PER_S); /* a program of its own may still end in order */
    assert_int_equal(s->rig.quits, 1);
    end(s);
}

static void the_end_of_a_homes_session_ends_its_guests(void **state)
{
    struct scene *s = begin_as_executor();

    asks_for(s, THEM, 1, 2);
    runs(s, THEM, 1, 1);
    assert_true(rig_claim(&s->rig, rig_ready_worker(&s->rig)));
    down(s, THEM, SIDE_IN);
    rig_pass(&s->rig, 10 * NS_PER_S); /* its body is told, then stopped */
    assert_in_range(s->rig.kills, 1, 4);
    assert_int_equal(resource_set_get(&s->rig.core->available, RESOURCE_CPU), 2 * RESOURCE_UNIT);
    assert_int_equal(rig_live_workers(&s->rig), 0);
    end(s);
}

static void job_is_asked_about(struct scene *s, uint64_t job)
{
    rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_JOB_ASK)->job_ask.job = job;
    rig_settle(&s->rig);
}

static void who_asks_hears_of_a_job_that_is_over(void **state)
{
    struct scene *s = begin_as_home(2, 0);
    uint64_t number = the_job(s)->number;

    up(s, THEM, SIDE_IN);
    job_is_asked_about(s, number);
    assert_null(said(s, THEM, SIDE_IN, PEER_JOB_END));
    rig_driver_end(&s->rig, s->driver, true);
    rig_settle(&s->rig);
    job_is_asked_about(s, number);
    const struct peer_msg *m = said(s, THEM, SIDE_IN, PEER_JOB_END);
    assert_non_null(m);
    assert_int_equal(m->job_end.job, number);
    assert_true(m->job_end.over);
    end(s);
}

/* Its home's word was lost with the session, and a node that ran tasks of it, too, still announces
 * it here. */
static void the_home_of_a_job_is_asked_whether_it_is_over(void **state)
{
    struct scene *s = begin_as_executor();
    uint32_t pins = rig_pins(&s->rig);

    up(s, OTHER, SIDE_IN);
    announces(s, OTHER);
    rig_pass(&s->rig, 60 * NS_PER_S);
    assert_null(said(s, THEM, SIDE_OUT, PEER_JOB_ASK)); /* it announces it itself */
    down(s, THEM, SIDE_IN);
    rig_pass(&s->rig, 6 * NS_PER_S);
    up(s, THEM, SIDE_OUT);
    rig_pass(&s->rig, 6 * NS_PER_S);
    const struct peer_msg *m = said(s, THEM, SIDE_OUT, PEER_JOB_ASK);
    assert_non_null(m);
    assert_int_equal(m->job_ask.job, THEIR_JOB);
    assert_int_equal(rig_pins(&s->rig), pins);
    m = rig_peer_message(&s->rig, OTHER, SIDE_IN, PEER_JOB_ASK); /* that is not its home */
    ((struct peer_msg *)m)->job_ask.job = THEIR_JOB;
    rig_settle(&s->rig);
    assert_null(said(s, OTHER, SIDE_IN, PEER_JOB_END));

    struct peer_msg *over = rig_peer_message(&s->rig, THEM, SIDE_OUT, PEER_JOB_END);
    over->job_end = (struct peer_job_end){.job = THEIR_JOB, .over = true};
    rig_settle(&s->rig);
    assert_int_equal(rig_pins(&s->rig), pins - 1);
    announces(s, OTHER); /* it may not have heard of it */
    end(s);
}

static void prints(struct scene *s, const struct rig_process *w)
{
    struct raylet_event *e = rig_event(&s->rig, EVENT_LOG);

    e->worker = w->worker;
    e->stream = 1;
    e->data = bytes_of("hello\n", 6);
    rig_settle(&s->rig);
}

/* Also of a task that a body elsewhere submitted: the first who announced the job has no driver. */
static void lines_go_to_the_node_of_the_driver(void **state)
{
    struct scene *s = begin_among_nodes();

    up(s, OTHER, SIDE_IN);
    announces(s, OTHER);
    declares(s, OTHER, 1);
    asks_for(s, OTHER, 1, 1);
    runs(s, OTHER, 1, 1);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    up(s, THEM, SIDE_OUT);
    prints(s, w);
    assert_null(said(s, OTHER, SIDE_IN, PEER_LOG));
    const struct peer_msg *m = said(s, THEM, SIDE_OUT, PEER_LOG);
    assert_non_null(m);
    assert_int_equal(m->log.job, THEIR_JOB);
    up(s, THEM, SIDE_IN);
    announces(s, THEM);
    prints(s, w);
    assert_non_null(said(s, THEM, SIDE_IN, PEER_LOG));
    rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_LOG)->log.job = THEIR_JOB; /* none of ours */
    rig_settle(&s->rig);
    assert_int_equal(s->rig.core->protocol_errors, 0);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_is_asked_for_granted_run_and_answered),
        cmocka_unit_test(lines_go_to_the_node_of_the_driver),
        cmocka_unit_test(a_slot_that_is_not_used_lingers_and_goes_back),
        cmocka_unit_test(spread_gives_each_node_the_same),
        cmocka_unit_test(spread_tasks_are_explained_by_their_node),
        cmocka_unit_test(a_crash_says_where_its_output_is),
        cmocka_unit_test(functions_without_end_are_run_by_their_names),
        cmocka_unit_test(what_waits_for_another_node_is_not_counted_here),
        cmocka_unit_test(balanced_work_goes_where_most_is_free),
        cmocka_unit_test(what_finds_no_room_here_goes_elsewhere_when_it_is_worth_it),
        cmocka_unit_test(what_goes_back_is_sent_again_free_of_charge),
        cmocka_unit_test(a_task_elsewhere_has_run_since_it_began_also_after_49_days),
        cmocka_unit_test(the_end_of_a_session_charges_what_is_known_as_begun),
        cmocka_unit_test(an_attempt_is_lost_free_of_charge_ten_times),
        cmocka_unit_test(what_ends_at_home_is_stopped_there),
        cmocka_unit_test(a_node_that_leaves_gets_no_more_and_what_was_for_it_goes_elsewhere),
        cmocka_unit_test(a_program_that_is_broken_at_one_node_runs_at_others),
        cmocka_unit_test(a_raylet_whose_sessions_are_idle_sleeps),
        cmocka_unit_test(a_task_that_waits_for_a_node_that_is_cut_off_costs_next_to_nothing),
        cmocka_unit_test(what_a_home_asks_for_is_lent_run_and_answered),
        cmocka_unit_test(homes_take_turns),
        cmocka_unit_test(a_slot_that_is_not_used_is_revoked_when_others_wait),
        cmocka_unit_test(a_guest_that_waits_goes_back),
        cmocka_unit_test(a_raylet_that_leaves_lends_nothing_and_ends_what_runs),
        cmocka_unit_test(the_end_of_a_homes_session_ends_its_guests),
        cmocka_unit_test(who_asks_hears_of_a_job_that_is_over),
        cmocka_unit_test(the_home_of_a_job_is_asked_whether_it_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
