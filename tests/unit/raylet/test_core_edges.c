/* The raylet's core where lives cross: ends in odd orders, sizes at their limits, long queues. */
#include "tests/unit/raylet/scene.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

/* The worker that has taken it. */
static struct rig_process *claimed_by(struct scene *s, struct object_id id)
{
    for (uint32_t i = 0; i < s->rig.process_count; i++) {
        struct rig_process *p = &s->rig.processes[i];
        if (p->used && p->current.returns > 0 && object_id_equal(p->current.task, id)) {
            return p;
        }
    }
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_non_null(w);
    assert_true(rig_claim(&s->rig, w));
    assert_true(object_id_equal(w->current.task, id));
    return w;
}

static struct object_id put_bytes(struct scene *s, struct bytes value)
{
    struct object_id id = {s->rig.node, s->driver->client, s->driver->next_number++};
    struct local_msg *m = rig_say(&s->rig, s->driver, LOCAL_PUT);

    m->put.number = id.number;
    m->payload = value;
    return id;
}

/* Spans are those that passed, whatever the clock is set to while something runs. */
static void a_clock_that_is_set_moves_what_is_shown(void **state)
{
    struct scene *s = begin();
    struct raylet_core *c = s->rig.core;
    uint64_t before_ms = core_unix_ms(c);
    struct job *job = list_entry(c->jobs.next, struct job, link);
    uint64_t age_ms = before_ms - job->started_unix_ms;
    for (int way = 0; way < 2; way++) {
        uint64_t now_ms = way == 0 ? before_ms + 1000000000 : before_ms / 2;
        rig_event(&s->rig, EVENT_CLOCK)->unix_ms = now_ms;
        rig_settle(&s->rig);
        assert_in_range(core_unix_ms(c), now_ms, now_ms + 1000);
        assert_in_range(core_unix_ms(c) - job->started_unix_ms, age_ms, age_ms + 2000);
        assert_in_range(core_unix_of(c, 0), now_ms - 100000, now_ms + 1000);
    }
    end(s);
}

static void a_result_larger_than_a_value_is_an_error(void **state)
{
    struct scene *s = begin();
    struct object_id id = submit(s, 1);
    static uint8_t large[VALUE_MAX + 8192];

    rig_get(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    struct rig_process *w = claimed_by(s, id);
    struct local_return one = {.state = RETURN_VALUE, .size = sizeof large};
    struct local_msg *m = rig_say(&s->rig, w, LOCAL_RESULT);
    m->result.slot = w->current.slot;
    m->result.message = "";
    m->result.returns = &one;
    m->result.return_count = 1;
    m->payload = bytes_of(large, sizeof large);
    w->current.returns = 0;
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, id), CODE_TOO_LARGE);
    end(s);
}

static void a_result_that_was_not_set_says_how(void **state)
{
    struct scene *s = begin();
    struct object_id id = submit(s, 1);

    rig_get(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    struct rig_process *w = claimed_by(s, id);
    struct local_return one = {.state = RETURN_UNSET};
    struct local_msg *m = rig_say(&s->rig, w, LOCAL_RESULT);
    m->result.slot = w->current.slot;
    m->result.message = "";
    m->result.returns = &one;
    m->result.return_count = 1;
    w->current.returns = 0;
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, id), CODE_SIGNATURE);
    assert_non_null(strstr(s->rig.last_error, "drt_return_at"));
    end(s);
}

static void arguments_that_no_message_takes_are_an_error(void **state)
{
    struct scene *s = begin();
    static uint8_t large[VALUE_MAX];
    struct object_id needs[5], last = submit(s, 0);

    for (int i = 0; i < 4; i++) {
        needs[i] = put_bytes(s, bytes_of(large, sizeof large));
    }
    needs[4] = last;
    struct object_id id =
        rig_submit(&s->rig, s->driver,
                   (struct rig_task){.class_number = s->f, .needs = needs, .need_count = 5});
    rig_get(&s->rig, s->driver, id);
    rig_run_all(&s->rig); /* the last of its arguments is one too much */
    assert_int_equal(code_of(&s->rig, id), CODE_TOO_LARGE);
    id = rig_submit(&s->rig, s->driver,
                    (struct rig_task){.class_number = s->f, .needs = needs, .need_count = 3});
    rig_get(&s->rig, s->driver, id);
    assert_int_equal(rig_run_all(&s->rig), 1);
    assert_int_equal(code_of(&s->rig, id), 0);
    end(s);
}

static void large_arguments_are_not_sent_far_ahead(void **state)
{
    struct scene *s = begin();
    static uint8_t large[VALUE_MAX];
    struct object_id need;

    for (int i = 0; i < 50; i++) {
        submit(s, 0);
    }
    rig_run_all(&s->rig); /* f is short */
    need = put_bytes(s, bytes_of(large, sizeof large));
    for (int i = 0; i < 200; i++) {
        rig_submit(&s->rig, s->driver,
                   (struct rig_task){.class_number = s->f, .needs = &need, .need_count = 1});
    }
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_non_null(w);
    assert_true(w->ring_count < 16); /* of 1 MiB each */
    assert_int_equal(rig_run_all(&s->rig), 200);
    end(s);
}

static void a_row_keeps_its_name_when_its_task_ends_in_the_same_turn(void **state)
{
    struct scene *s = begin();
    struct rig_process *tool = rig_tool(&s->rig);
    struct local_msg *m;
    struct object_id id =
        rig_submit(&s->rig, s->driver,
                   (struct rig_task){.class_number = s->f, .name = "a name of some length"});

    rig_settle(&s->rig);
    m = rig_say(&s->rig, tool, LOCAL_QUERY);
    m->query.request = 1;
    m->query.query =
        (struct state_query){.kind = STATE_TASKS, .id = "", .node = "", .state = "", .name = ""};
    struct rig_process *w = claimed_by(s, id);
    rig_return(&s->rig, w, 1);
    rig_settle(&s->rig);
    assert_int_equal(s->rig.reply.task_count, 1);
    assert_string_equal(s->rig.reply_name, "a name of some length");
    end(s);
}

static void amounts_keep_their_names_when_others_come_in_the_same_turn(void **state)
{
    struct scene *s = begin();
    struct rig_process *tool = rig_tool(&s->rig);
    struct local_msg *m = rig_say(&s->rig, tool, LOCAL_QUERY);
    char names[16][8];

    m->query.request = 1;
    m->query.query =
        (struct state_query){.kind = STATE_NODES, .id = "", .node = "", .state = "", .name = ""};
    for (int i = 0; i < 16; i++) {
        snprintf(names[i], sizeof names[i], "y%d", i);
        rig_class(&s->rig, s->driver, "g",
                  (struct rig_class){.custom = names[i], .custom_x10000 = 1});
    }
    rig_settle(&s->rig);
    assert_string_equal(s->rig.reply_amount, "CPU");
    end(s);
}

static void a_child_whose_parents_time_is_over_is_stopped_too(void **state)
{
    struct scene *s = begin();
    struct object_id parent = rig_submit(
        &s->rig, s->driver, (struct rig_task){.class_number = s->f, .timeout_ns = 50 * NS_PER_MS});

    rig_settle(&s->rig);
    struct rig_process *w = claimed_by(s, parent);
    uint32_t g = rig_class(&s->rig, w, "g", ONE_CPU);
    struct object_id child = rig_submit(
        &s->rig, w,
        (struct rig_task){.class_number = g, .parent_slot = 1 + claim_index(w->current.slot)});
    rig_settle(&s->rig);
    struct rig_process *v = claimed_by(s, child);
    assert_ptr_not_equal(v, w);
    rig_pass(&s->rig, 60 * NS_PER_MS);
    assert_true(v->cancel[claim_index(v->current.slot)]);
    rig_pass(&s->rig, 4 * NS_PER_S);
    assert_false(w->alive);
    assert_false(v->alive); /* it did not look at its flag either */
    end(s);
}

static void a_forced_cancel_stops_a_child_that_was_only_asked_before(void **state)
{
    struct scene *s = begin();
    struct object_id parent = submit(s, 1);

    rig_settle(&s->rig);
    struct rig_process *w = claimed_by(s, parent);
    uint32_t g = rig_class(&s->rig, w, "g", ONE_CPU);
    struct object_id child = rig_submit(
        &s->rig, w,
        (struct rig_task){.class_number = g, .parent_slot = 1 + claim_index(w->current.slot)});
    rig_settle(&s->rig);
    struct rig_process *v = claimed_by(s, child);
    rig_cancel(&s->rig, w, child, CANCEL_ASK);
    rig_settle(&s->rig);
    assert_true(v->alive);
    rig_cancel(&s->rig, s->driver, parent, CANCEL_FORCE | CANCEL_RECURSIVE);
    rig_settle(&s->rig);
    assert_false(w->alive);
    assert_false(v->alive);
    end(s);
}

static void a_shape_that_only_an_orphan_asks_for_is_forgotten_with_it(void **state)
{
    struct scene *s = begin();
    struct object_id parent = submit(s, 1);
    struct cluster_msg no = {.type = CLUSTER_FEASIBLE_ANSWER};

    rig_get(&s->rig, s->driver, parent);
    rig_settle(&s->rig);
    struct rig_process *w = claimed_by(s, parent);
    s->rig.head_answers = false;
    uint32_t g =
        rig_class(&s->rig, w, "g", (struct rig_class){.custom = "x", .custom_x10000 = 30000});
    struct object_id child = rig_submit(
        &s->rig, w,
        (struct rig_task){.class_number = g, .parent_slot = 1 + claim_index(w->current.slot)});
    rig_return_alias(&s->rig, w, child);
    rig_release(&s->rig, w, child);
    rig_settle(&s->rig);
    rig_crash(&s->rig, w, SIGKILL); /* with it goes its declaration */
    rig_settle(&s->rig);
    no.feasible_answer.request = 1;
    failure_set(&no.feasible_answer.failure, CODE_IMPOSSIBLE, "no node has that");
    rig_head_says(&s->rig, &no);
    s->rig.head_answers = true;
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, parent), CODE_IMPOSSIBLE);
    end(s); /* which asserts that no shape is left */
}

static void a_job_that_the_head_refused_is_forgotten(void **state)
{
    struct scene *s = begin();
    struct raylet_counts counts;
    struct cluster_msg no = {.type = CLUSTER_JOB_ADDED};

    s->rig.head_answers = false;
    struct rig_process *late = rig_driver(&s->rig);
    no.job_added.key = late->client;
    failure_set(&no.job_added.failure, CODE_FULL, "too many jobs");
    rig_head_says(&s->rig, &no);
    rig_settle(&s->rig);
    assert_true(late->refused);
    s->rig.head_answers = true;
    rig_pass(&s->rig, NS_PER_S);
    raylet_core_count(s->rig.core, &counts);
    assert_int_equal(counts.jobs, 1);
    uint32_t said = s->rig.job_news;
    rig_head(&s->rig, false);
    rig_head(&s->rig, true);
    rig_settle(&s->rig);
    assert_int_equal(s->rig.job_news, said); /* nobody wants it any more */
    end(s);
}

static void who_waits_hears_that_the_head_refuses_our_key(void **state)
{
    struct scene *s = begin();

    s->rig.head_answers = false;
    struct rig_process *waits = rig_driver(&s->rig);
    rig_settle(&s->rig);
    assert_false(waits->refused);
    rig_head(&s->rig, false);
    rig_settle(&s->rig);
    assert_false(waits->refused); /* it may come back */
    rig_event(&s->rig, EVENT_HEAD_DOWN)->key_refused = true;
    rig_settle(&s->rig);
    assert_true(waits->refused);
    assert_false(s->driver->refused);
    struct rig_process *late = rig_driver(&s->rig);
    rig_settle(&s->rig);
    assert_true(late->refused);
    s->rig.head_answers = true;
    rig_head(&s->rig, true);
    rig_settle(&s->rig);
    struct rig_process *next = rig_driver(&s->rig);
    rig_settle(&s->rig);
    assert_true(next->welcomed);
    end(s);
}

static void a_worker_without_its_channel_is_asked_for_nothing(void **state)
{
    struct scene *s = begin();

    for (int i = 0; i < 50; i++) {
        submit(s, 0);
    }
    rig_run_all(&s->rig);
    for (int i = 0; i < 50; i++) {
        submit(s, 0);
    }
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(w->ring_count > 4);
    assert_true(rig_claim(&s->rig, w));
    s->rig.deaf = true; /* what is killed takes its time to die */
    rig_event(&s->rig, EVENT_CLIENT_DOWN)->client = w->client;
    rig_pass(&s->rig, 100 * NS_PER_MS);
    s->rig.deaf = false;
    rig_crash(&s->rig, w, SIGKILL);
    rig_pass(&s->rig, NS_PER_S);
    rig_run_all(&s->rig);
    end(s);
}

static void a_worker_that_was_told_to_end_gets_nothing_more(void **state)
{
    struct scene *s = begin();
    struct object_id late = rig_submit(
        &s->rig, s->driver, (struct rig_task){.class_number = s->f, .timeout_ns = 50 * NS_PER_MS});

    rig_settle(&s->rig);
    struct rig_process *w = claimed_by(s, late);
    s->rig.deaf = true; /* the signal is under way */
    rig_pass(&s->rig, 1500 * NS_PER_MS);
    assert_int_equal(s->rig.kills, 1);
    uint32_t told = w->worker;
    struct object_id next =
        rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = s->f, .max_attempts = 1});
    rig_get(&s->rig, s->driver, next);
    rig_return(&s->rig, w, 1); /* and its body has just ended */
    rig_settle(&s->rig);
    struct rig_process *v = claimed_by(s, next);
    assert_int_not_equal(v->worker, told);
    rig_return(&s->rig, v, 2);
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, next), 0);
    end(s);
}

static void a_large_result_is_charged_until_it_is_released(void **state)
{
    struct scene *s = begin();
    static const uint8_t large[100000];
    uint64_t before = s->driver->credit_back;
    struct object_id id = submit(s, 1);

    rig_settle(&s->rig);
    struct rig_process *w = claimed_by(s, id);
    struct local_return one = {.state = RETURN_VALUE, .size = sizeof large};
    struct local_msg *m = rig_say(&s->rig, w, LOCAL_RESULT);
    m->result.slot = w->current.slot;
    m->result.message = "";
    m->result.returns = &one;
    m->result.return_count = 1;
    m->payload = bytes_of(large, sizeof large);
    w->current.returns = 0;
    rig_settle(&s->rig);
    assert_true(s->driver->credit_back == before + 8 + LOCAL_TASK_COST - LOCAL_OBJECT_COST -
                                              sizeof large - sizeof(struct numbers_page));
    rig_release(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    assert_int_equal(s->driver->credit_back, before + 8 + LOCAL_TASK_COST);
    end(s);
}

static void an_own_object_can_be_held_again(void **state)
{
    struct scene *s = begin();
    struct object_id id = rig_put(&s->rig, s->driver, 12);
    struct object_id outer = rig_put_holding(&s->rig, s->driver, 13, &id, 1);

    rig_release(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    rig_hold_through(&s->rig, s->driver, id, outer);
    rig_release(&s->rig, s->driver, outer);
    rig_get(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, id), 0);
    rig_release(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    struct raylet_counts counts;
    raylet_core_count(s->rig.core, &counts);
    assert_int_equal(counts.objects, 0);
    end(s);
}

static void who_does_not_read_is_told_of_values_only(void **state)
{
    struct scene *s = begin();
    static const uint8_t some[1000];
    struct object_id large = put_bytes(s, bytes_of(some, sizeof some));
    struct object_id small = rig_put(&s->rig, s->driver, 5);
    struct raylet_event *slow = rig_event(&s->rig, EVENT_CLIENT_SLOW);

    slow->client = s->driver->client;
    slow->ok = true;
    rig_get(&s->rig, s->driver, large);
    rig_get(&s->rig, s->driver, small);
    rig_settle(&s->rig);
    assert_int_equal(rig_value(&s->rig, large)->state, VALUE_READY);
    assert_int_equal(rig_value(&s->rig, small)->state, VALUE_HERE);
    rig_event(&s->rig, EVENT_CLIENT_SLOW)->client = s->driver->client; /* no longer */
    rig_get(&s->rig, s->driver, large);
    rig_settle(&s->rig);
    assert_int_equal(rig_value(&s->rig, large)->state, VALUE_HERE);
    end(s);
}

static void prints(struct scene *s, const struct rig_process *w, const char *line)
{
    struct raylet_event *e = rig_event(&s->rig, EVENT_LOG);

    e->worker = w->worker;
    e->stream = 1;
    e->data = bytes_of(line, strlen(line));
    rig_settle(&s->rig);
}

/* It hears of lines that it did not take, also if no other line comes. */
static void who_does_not_read_is_told_how_much_it_missed(void **state)
{
    struct scene *s = begin();
    struct raylet_event *slow;

    submit(s, 1);
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    list_entry(s->rig.core->jobs.next, struct job, link)->wants_logs = true;
    prints(s, w, "one\n");
    assert_string_equal(s->rig.last_lines, "one\n");
    slow = rig_event(&s->rig, EVENT_CLIENT_SLOW);
    slow->client = s->driver->client;
    slow->ok = true;
    prints(s, w, "two\nthree\n");
    assert_string_equal(s->rig.last_lines, "one\n");
    rig_event(&s->rig, EVENT_CLIENT_SLOW)->client = s->driver->client; /* no longer */
    (void)rig_say(&s->rig, s->driver, LOCAL_LOGS);
    rig_settle(&s->rig);
    rig_event(&s->rig, EVENT_LOG_TAKEN)->client = s->driver->client;
    rig_settle(&s->rig);
    assert_non_null(strstr(s->rig.last_lines, "... 2 lines left out while this program was busy"));
    end(s);
}

/* Each is taken off the list of those that wait: where that is searched, this takes minutes. */
static void many_that_wait_for_one_end_quickly(void **state)
{
    struct scene *s = begin();
    struct raylet_counts counts;
    const uint32_t count = 100000;
    struct object_id root;
    clock_t before;

    submit(s, 1);
    submit(s, 1);
    root = submit(s, 1); /* of 2 CPUs there is none for it */
    s->rig.check = false;
    rig_settle(&s->rig);
    for (uint32_t i = 0; i < count; i++) {
        rig_submit(&s->rig, s->driver,
                   (struct rig_task){.class_number = s->f, .needs = &root, .need_count = 1});
        if (s->rig.event_count > 900) {
            rig_settle(&s->rig);
        }
    }
    rig_settle(&s->rig);
    raylet_core_count(s->rig.core, &counts);
    assert_int_equal(counts.waiting, count + 1);
    before = clock();
    rig_driver_end(&s->rig, s->driver, false);
    rig_settle(&s->rig);
    raylet_core_count(s->rig.core, &counts);
    assert_int_equal(counts.waiting, 0);
    assert_true(clock() - before < 3 * CLOCKS_PER_SEC);
    end(s);
}

static void a_machine_that_is_full_for_a_moment_fails_no_task(void **state)
{
    struct scene *s = begin();
    struct object_id id = submit(s, 3);

    s->rig.spawn_fails = true;
    s->rig.spawn_code = CODE_FULL;
    rig_get(&s->rig, s->driver, id);
    rig_pass(&s->rig, NS_PER_S);
    assert_null(rig_value(&s->rig, id));
    assert_true(s->rig.spawns >= 2 && s->rig.spawns <= 10);
    s->rig.spawn_fails = false;
    rig_pass(&s->rig, 2 * NS_PER_S);
    rig_run_all(&s->rig);
    assert_int_equal(code_of(&s->rig, id), 0);
    end(s);
}

static void a_machine_that_stays_full_is_an_error(void **state)
{
    struct scene *s = begin();
    struct object_id id = submit(s, 3);

    s->rig.spawn_fails = true;
    s->rig.spawn_code = CODE_FULL;
    rig_get(&s->rig, s->driver, id);
    rig_pass(&s->rig, 55 * NS_PER_S);
    assert_null(rig_value(&s->rig, id));
    rig_pass(&s->rig, 15 * NS_PER_S);
    assert_int_equal(code_of(&s->rig, id), CODE_FULL); /* the program is not to blame */
    assert_non_null(strstr(s->rig.last_error, "as the test wanted"));

    /* and when it has passed, all is well again */
    id = submit(s, 4);
    rig_get(&s->rig, s->driver, id);
    rig_pass(&s->rig, NS_PER_S);
    s->rig.spawn_fails = false;
    rig_pass(&s->rig, 10 * NS_PER_S);
    rig_run_all(&s->rig);
    assert_int_equal(value_of(&s->rig, id), 4);
    end(s);
}

static void a_worker_that_cannot_begin_for_now_is_started_again(void **state)
{
    struct scene *s = begin();
    struct object_id id = submit(s, 3);

    s->rig.start_dies = true; /* its process is there, and ends for lack of memory, say */
    s->rig.spawn_code = CODE_FULL;
    rig_get(&s->rig, s->driver, id);
    rig_pass(&s->rig, 20 * NS_PER_S);
    assert_null(rig_value(&s->rig, id));
    assert_true(s->rig.spawns > 3 && s->rig.spawns < 30);
    s->rig.start_dies = false;
    rig_pass(&s->rig, 6 * NS_PER_S);
    rig_run_all(&s->rig);
    assert_int_equal(value_of(&s->rig, id), 3);
    end(s);
}

static void with_too_few_processes_work_goes_on_with_those_there_are(void **state)
{
    struct scene *s = begin();
    struct object_id ids[12];
    uint32_t none =
        rig_class(&s->rig, s->driver, "n", (struct rig_class){.cpus_x10000 = 100}); /* 1/100 CPU */

    s->rig.spawn_limit = 3;
    for (int i = 0; i < 12; i++) {
        ids[i] = rig_submit(&s->rig, s->driver,
                            (struct rig_task){.class_number = none, .payload = (uint64_t)i});
        rig_get(&s->rig, s->driver, ids[i]);
    }
    rig_pass(&s->rig, NS_PER_S);
    assert_int_equal(rig_live_workers(&s->rig), 3);
    char text[ID_TEXT_SIZE];
    rig_query(&s->rig, rig_tool(&s->rig),
              (struct state_query){.kind = STATE_EXPLAIN, .id = object_id_format(ids[11], text)});
    assert_non_null(strstr(s->rig.reply_line, "no further worker can be started now"));
    assert_non_null(strstr(s->rig.reply_line, "as the test wanted"));
    uint32_t before = s->rig.spawns;
    rig_pass(&s->rig, 300 * NS_PER_S);
    assert_true(s->rig.spawns - before <= 70); /* one at a time, every 5 s */
    assert_int_equal(rig_run_all(&s->rig), 12);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(value_of(&s->rig, ids[i]), i);
    }
    end(s);
}

static void with_too_few_processes_every_job_has_its_turn(void **state)
{
    struct scene *s = begin();
    struct rig_process *other;

    s->rig.spawn_limit = 2;
    for (int i = 0; i < 2000; i++) {
        submit(s, 1);
    }
    rig_settle(&s->rig);
    other = rig_driver(&s->rig);
    uint32_t g = rig_class(&s->rig, other, "g", (struct rig_class){.cpus_x10000 = 0});
    struct object_id id = rig_submit(&s->rig, other, (struct rig_task){.class_number = g});
    rig_get(&s->rig, other, id);
    rig_settle(&s->rig);
    uint32_t ran = 0;
    while (rig_value(&s->rig, id) == NULL && ran < 1500) {
        struct rig_process *w = rig_ready_worker(&s->rig);
        if (w == NULL) {
            rig_pass(&s->rig, 100 * NS_PER_MS);
            ran++;
            continue;
        }
        assert_true(rig_claim(&s->rig, w));
        s->rig.now_ns += 10 * NS_PER_US;
        rig_return(&s->rig, w, 4);
        rig_settle(&s->rig);
        ran++;
    }
    assert_int_equal(code_of(&s->rig, id), 0);
    end(s);
}

static void force_stops_a_body_that_did_not_heed_a_cancel(void **state)
{
    struct scene *s = begin();
    struct object_id id = submit(s, 3), other = submit(s, 4);

    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    struct object_id running = w->current.task;
    rig_cancel(&s->rig, s->driver, running, CANCEL_ASK);
    rig_settle(&s->rig);
    assert_int_equal(s->rig.kills, 0);
    rig_cancel(&s->rig, s->driver, running, CANCEL_FORCE);
    rig_settle(&s->rig);
    assert_int_equal(s->driver->cancelled_code, CODE_DONE);
    assert_int_equal(s->rig.kills, 1);
    assert_false(w->alive);
    struct object_id left = object_id_equal(running, id) ? other : id;
    rig_get(&s->rig, s->driver, left);
    rig_run_all(&s->rig);
    assert_int_equal(code_of(&s->rig, left), 0);
    rig_cancel(&s->rig, s->driver, left, CANCEL_FORCE); /* nothing of it runs */
    rig_settle(&s->rig);
    assert_int_equal(s->rig.kills, 1);
    end(s);
}

/* So that one worker has all tasks, and those behind a body are seen. */
static const struct rig_class BOTH_CPUS = {.cpus_x10000 = 20000};

static void what_waited_behind_a_blocked_body_keeps_its_order(void **state)
{
    struct scene *s = begin();
    uint32_t g = rig_class(&s->rig, s->driver, "g", BOTH_CPUS);
    struct object_id ids[6];

    for (int round = 0; round < 2; round++) { /* the first makes the durations known: short */
        for (uint64_t i = 0; i < 6; i++) {
            ids[i] =
                rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = g, .payload = i});
        }
        rig_settle(&s->rig);
        if (round == 0) {
            rig_run_all(&s->rig);
        }
    }
    struct rig_process *first = rig_ready_worker(&s->rig);
    assert_int_equal(first->ring_count, 6);
    assert_true(rig_claim(&s->rig, first));
    assert_true(object_id_equal(first->current.task, ids[0]));
    (void)rig_say(&s->rig, first, LOCAL_BLOCKED);
    rig_settle(&s->rig);
    for (int i = 1; i < 6; i++) {
        struct rig_process *w = rig_ready_worker(&s->rig);
        assert_ptr_not_equal(w, first);
        assert_true(rig_claim(&s->rig, w));
        assert_true(object_id_equal(w->current.task, ids[i]));
        rig_return(&s->rig, w, 0);
        rig_settle(&s->rig);
    }
    end(s);
}

static void a_body_that_waits_now_and_then_is_no_shorter(void **state)
{
    struct scene *s = begin();
    uint32_t g = rig_class(&s->rig, s->driver, "g", BOTH_CPUS);

    (void)rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = g});
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    rig_pass(&s->rig, 2 * NS_PER_MS);
    (void)rig_say(&s->rig, w, LOCAL_BLOCKED);
    rig_pass(&s->rig, NS_PER_MS);
    (void)rig_say(&s->rig, w, LOCAL_UNBLOCKED);
    rig_settle(&s->rig);
    rig_return(&s->rig, w, 0);
    for (int i = 0; i < 4; i++) {
        (void)rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = g});
    }
    rig_settle(&s->rig);
    assert_int_equal(rig_ready_worker(&s->rig)->ring_count, 1); /* nothing waits behind it */
    end(s);
}

static void announce_job(struct rig *r, uint32_t peer, uint64_t number, uint32_t home)
{
    static uint8_t hash[PEER_HASH_SIZE] = {1};
    struct peer_msg *m = rig_peer_message(r, peer, SIDE_IN, PEER_JOB);

    m->job.job = number;
    m->job.home = home;
    m->job.name = m->job.program_name = m->job.user = m->job.cwd = "";
    m->job.hash = bytes_of(hash, sizeof hash);
    m->job.program_size = 1001;
    rig_settle(r);
}

/* Two nodes that passed tasks of a job on to each other would keep it for each other. */
static void a_job_that_is_over_is_over_whoever_announced_it(void **state)
{
    struct scene *s = begin();
    uint32_t before = rig_pins(&s->rig);

    for (uint32_t peer = 17; peer < 20; peer++) {
        rig_view(&s->rig, peer, "other", 1);
        rig_peer_up(&s->rig, peer, SIDE_IN);
    }
    for (int dies = 0; dies < 2; dies++) {
        announce_job(&s->rig, 18, 100, 17);
        announce_job(&s->rig, 19, 100, 17);
        announce_job(&s->rig, 19, 101, 19);
        assert_int_equal(rig_pins(&s->rig), before + 2);
        if (dies == 0) {
            struct peer_msg *m = rig_peer_message(&s->rig, 18, SIDE_IN, PEER_JOB_END);
            m->job_end.job = 100;
            m->job_end.over = true;
        } else {
            rig_view_dead(&s->rig, 17);
        }
        rig_settle(&s->rig);
        assert_int_equal(rig_pins(&s->rig), before + 1);
        struct peer_msg *m = rig_peer_message(&s->rig, 19, SIDE_IN, PEER_JOB_END);
        m->job_end.job = 101;
        rig_settle(&s->rig);
        assert_int_equal(rig_pins(&s->rig), before);
    }
    end(s);
}

/* The body of `outer` has submitted a task and returned its result as its own. The new task; it
 * runs at `ret_worker`. */
static struct object_id returns_a_childs(struct scene *s, struct object_id outer,
                                         struct rig_process **ret_worker)
{
    struct rig_process *w = claimed_by(s, outer);
    uint32_t g = rig_class(&s->rig, w, "g", ONE_CPU);
    struct object_id inner = rig_submit(
        &s->rig, w,
        (struct rig_task){.class_number = g, .parent_slot = 1 + claim_index(w->current.slot)});

    rig_settle(&s->rig);
    *ret_worker = claimed_by(s, inner);
    rig_return_alias(&s->rig, w, inner);
    rig_release(&s->rig, w, inner);
    rig_settle(&s->rig);
    return inner;
}

static void cancels(struct scene *s, struct object_id id, uint32_t flags, uint32_t kills)
{
    rig_cancel(&s->rig, s->driver, id, flags);
    rig_settle(&s->rig);
    assert_int_equal(s->rig.kills, kills);
}

static void force_stops_the_body_whose_result_it_was(void **state)
{
    struct scene *s = begin();
    struct object_id outer = submit(s, 1);
    struct rig_process *v;

    rig_settle(&s->rig);
    struct object_id inner = returns_a_childs(s, outer, &v);
    cancels(s, outer, CANCEL_ASK, 0);
    assert_int_equal(s->driver->cancelled_code, 0);
    assert_null(object_find(s->rig.core, inner));
    cancels(s, outer, CANCEL_FORCE, 1);
    assert_int_equal(s->driver->cancelled_code, CODE_DONE);
    assert_false(v->alive);
    end(s);
}

static void force_stops_a_body_by_any_of_its_results(void **state)
{
    struct scene *s = begin();
    struct object_id first =
        rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = s->f, .returns = 2});
    struct object_id second = {first.node, first.client, first.number + 1};

    rig_settle(&s->rig);
    struct rig_process *w = claimed_by(s, first);
    cancels(s, second, CANCEL_ASK, 0);
    cancels(s, second, CANCEL_FORCE, 1);
    assert_false(w->alive);
    end(s);
}

static void force_stops_no_body_that_something_else_needed(void **state)
{
    struct scene *s = begin();
    struct object_id running = submit(s, 1);

    rig_settle(&s->rig);
    struct rig_process *w = claimed_by(s, running);
    struct object_id after =
        rig_submit(&s->rig, s->driver,
                   (struct rig_task){.class_number = s->f, .needs = &running, .need_count = 1});
    rig_get(&s->rig, s->driver, after);
    cancels(s, running, CANCEL_ASK, 0);
    assert_int_equal(code_of(&s->rig, after), CODE_CANCELLED);
    cancels(s, after, CANCEL_FORCE, 0);
    assert_true(w->alive);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clock_that_is_set_moves_what_is_shown),
        cmocka_unit_test(a_job_that_is_over_is_over_whoever_announced_it),
        cmocka_unit_test(what_waited_behind_a_blocked_body_keeps_its_order),
        cmocka_unit_test(a_body_that_waits_now_and_then_is_no_shorter),
        cmocka_unit_test(force_stops_a_body_that_did_not_heed_a_cancel),
        cmocka_unit_test(force_stops_the_body_whose_result_it_was),
        cmocka_unit_test(force_stops_a_body_by_any_of_its_results),
        cmocka_unit_test(force_stops_no_body_that_something_else_needed),
        cmocka_unit_test(a_machine_that_is_full_for_a_moment_fails_no_task),
        cmocka_unit_test(a_machine_that_stays_full_is_an_error),
        cmocka_unit_test(a_worker_that_cannot_begin_for_now_is_started_again),
        cmocka_unit_test(with_too_few_processes_work_goes_on_with_those_there_are),
        cmocka_unit_test(with_too_few_processes_every_job_has_its_turn),
        cmocka_unit_test(a_result_larger_than_a_value_is_an_error),
        cmocka_unit_test(a_result_that_was_not_set_says_how),
        cmocka_unit_test(arguments_that_no_message_takes_are_an_error),
        cmocka_unit_test(large_arguments_are_not_sent_far_ahead),
        cmocka_unit_test(a_row_keeps_its_name_when_its_task_ends_in_the_same_turn),
        cmocka_unit_test(amounts_keep_their_names_when_others_come_in_the_same_turn),
        cmocka_unit_test(a_child_whose_parents_time_is_over_is_stopped_too),
        cmocka_unit_test(a_forced_cancel_stops_a_child_that_was_only_asked_before),
        cmocka_unit_test(a_shape_that_only_an_orphan_asks_for_is_forgotten_with_it),
        cmocka_unit_test(a_job_that_the_head_refused_is_forgotten),
        cmocka_unit_test(who_waits_hears_that_the_head_refuses_our_key),
        cmocka_unit_test(a_worker_without_its_channel_is_asked_for_nothing),
        cmocka_unit_test(a_worker_that_was_told_to_end_gets_nothing_more),
        cmocka_unit_test(a_large_result_is_charged_until_it_is_released),
        cmocka_unit_test(an_own_object_can_be_held_again),
        cmocka_unit_test(who_does_not_read_is_told_of_values_only),
        cmocka_unit_test(who_does_not_read_is_told_how_much_it_missed),
        cmocka_unit_test(many_that_wait_for_one_end_quickly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
