/* The raylet's core, told as timelines. */
#include "tests/unit/raylet/scene.h"

#include <signal.h>
#include <stdio.h>

static void a_task_runs_and_its_value_arrives(void **state)
{
    struct scene *s = begin();
    struct object_id id = submit(s, 41);

    rig_get(&s->rig, s->driver, id);
    assert_int_equal(rig_run_all(&s->rig), 1);
    assert_int_equal(value_of(&s->rig, id), 41);
    assert_int_equal(s->rig.spawns, 1);
    end(s);
}

static void a_get_before_and_one_after_are_both_answered(void **state)
{
    struct scene *s = begin();
    struct object_id a = submit(s, 1), b = submit(s, 2);

    rig_get(&s->rig, s->driver, a);
    assert_int_equal(rig_run_all(&s->rig), 2);
    assert_null(rig_value(&s->rig, b));
    rig_get(&s->rig, s->driver, b);
    rig_settle(&s->rig);
    assert_int_equal(value_of(&s->rig, b), 2);
    end(s);
}

static void many_tasks_use_few_workers_and_leave_nothing(void **state)
{
    struct scene *s = begin();
    struct raylet_counts counts;
    struct object_id ids[900];
    uint64_t before = s->driver->credit_back;

    for (int i = 0; i < 900; i++) {
        ids[i] = submit(s, (uint64_t)i);
    }
    assert_int_equal(rig_run_all(&s->rig), 900);
    assert_true(s->rig.spawns <= 2);
    for (int i = 0; i < 900; i++) {
        rig_release(&s->rig, s->driver, ids[i]);
    }
    rig_settle(&s->rig);
    raylet_core_count(s->rig.core, &counts);
    assert_int_equal(counts.objects, 0);
    assert_int_equal(counts.tasks, 0);
    assert_int_equal(counts.done, 900);
    assert_int_equal(s->driver->credit_back, before + 900 * (8 + LOCAL_TASK_COST));
    end(s);
}

static void dependent_tasks_wait_for_their_arguments(void **state)
{
    struct scene *s = begin();
    struct object_id chain = submit(s, 1);

    for (int i = 0; i < 100; i++) {
        chain =
            rig_submit(&s->rig, s->driver,
                       (struct rig_task){
                           .class_number = s->f, .payload = 1, .needs = &chain, .need_count = 1});
    }
    rig_get(&s->rig, s->driver, chain);
    assert_int_equal(rig_run_all(&s->rig), 101);
    assert_int_equal(value_of(&s->rig, chain), 101);
    end(s);
}

static void an_error_travels_through_dependent_tasks(void **state)
{
    struct scene *s = begin();
    struct object_id root = submit(s, 1);
    struct object_id next =
        rig_submit(&s->rig, s->driver,
                   (struct rig_task){.class_number = s->f, .needs = &root, .need_count = 1});

    rig_get(&s->rig, s->driver, next);
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    rig_fail(&s->rig, w, 7);
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, next), CODE_FAILED);
    end(s);
}

static void a_crash_costs_an_attempt_and_the_last_one_is_told(void **state)
{
    struct scene *s = begin();
    struct object_id id =
        rig_submit(&s->rig, s->driver,
                   (struct rig_task){.class_number = s->f, .payload = 5, .max_attempts = 3});

    rig_get(&s->rig, s->driver, id);
    for (uint32_t i = 1; i <= 3; i++) {
        rig_pass(&s->rig, NS_PER_S);
        struct rig_process *w = rig_ready_worker(&s->rig);
        assert_non_null(w);
        assert_true(rig_claim(&s->rig, w));
        assert_int_equal(w->current.attempt, i);
        assert_null(rig_value(&s->rig, id));
        rig_crash(&s->rig, w, SIGSEGV);
        rig_settle(&s->rig);
    }
    assert_int_equal(code_of(&s->rig, id), CODE_CRASHED);

    /* and is remembered with where and why */
    rig_query(&s->rig, rig_tool(&s->rig), (struct state_query){.kind = STATE_TASKS, .id = "last"});
    assert_int_equal(s->rig.reply.task_count, 1);
    const struct state_task *row = &s->rig.reply_tasks[0];
    assert_true(object_id_equal(row->id, id));
    assert_int_equal(row->code, CODE_CRASHED);
    assert_true(row->worker != 0);
    assert_string_equal(s->rig.reply_reason, "crashed with signal 11, attempt 3 of 3");
    end(s);
}

static void what_a_dead_worker_had_not_begun_goes_back_free(void **state)
{
    struct scene *s = begin();
    struct object_id ids[40];

    /* first teach it that f is short, so that it prefills */
    submit(s, 0);
    rig_run_all(&s->rig);
    for (int i = 0; i < 40; i++) {
        ids[i] =
            rig_submit(&s->rig, s->driver,
                       (struct rig_task){.class_number = s->f, .payload = 9, .max_attempts = 1});
        rig_get(&s->rig, s->driver, ids[i]);
    }
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(w->ring_count > 4);
    assert_true(rig_claim(&s->rig, w));
    struct object_id charged = w->current.task;
    rig_crash(&s->rig, w, SIGKILL);
    rig_pass(&s->rig, NS_PER_S);
    rig_run_all(&s->rig);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(code_of(&s->rig, ids[i]),
                         object_id_equal(ids[i], charged) ? CODE_CRASHED : 0);
    }
    end(s);
}

static void an_application_error_is_retried_only_when_asked(void **state)
{
    struct scene *s = begin();
    struct object_id plain = submit(s, 1);
    struct rig_process *w;

    rig_get(&s->rig, s->driver, plain);
    rig_settle(&s->rig);
    w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    rig_fail(&s->rig, w, 3);
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, plain), CODE_FAILED);

    struct object_id again = rig_submit(
        &s->rig, s->driver,
        (struct rig_task){
            .class_number = s->f, .payload = 6, .max_attempts = 2, .flags = SUBMIT_RETRY_ON_ERROR});
    rig_get(&s->rig, s->driver, again);
    rig_settle(&s->rig);
    w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    rig_fail(&s->rig, w, 3);
    rig_pass(&s->rig, NS_PER_S);
    assert_int_equal(rig_run_all(&s->rig), 1);
    assert_int_equal(value_of(&s->rig, again), 6);
    end(s);
}

static void a_back_off_of_zero_is_none(void **state)
{
    struct scene *s = begin();
    struct object_id id = rig_submit(&s->rig, s->driver,
                                     (struct rig_task){.class_number = s->f,
                                                       .payload = 6,
                                                       .max_attempts = 3,
                                                       .no_backoff = true,
                                                       .flags = SUBMIT_RETRY_ON_ERROR});

    rig_get(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    uint64_t began_ns = s->rig.now_ns;
    for (int i = 0; i < 2; i++) {
        struct rig_process *w = rig_ready_worker(&s->rig);
        assert_true(rig_claim(&s->rig, w));
        rig_fail(&s->rig, w, 3);
        rig_pass(&s->rig, 0);
    }
    assert_int_equal(rig_run_all(&s->rig), 1);
    assert_int_equal(value_of(&s->rig, id), 6);
    assert_true(s->rig.now_ns - began_ns < NS_PER_MS);
    end(s);
}

static void a_deadline_settles_at_once_and_stops_the_body(void **state)
{
    struct scene *s = begin();
    struct object_id id = rig_submit(
        &s->rig, s->driver, (struct rig_task){.class_number = s->f, .timeout_ns = 50 * NS_PER_MS});

    rig_get(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    uint32_t index = claim_index(w->current.slot);
    rig_pass(&s->rig, 60 * NS_PER_MS);
    assert_int_equal(code_of(&s->rig, id), CODE_DEADLINE);
    assert_non_null(strstr(s->rig.last_error, "its timeout of 50 ms"));
    assert_true(w->cancel[index]);
    assert_int_equal(s->rig.kills, 0);
    rig_pass(&s->rig, 2 * NS_PER_S);
    assert_int_equal(s->rig.kills, 1);
    assert_false(w->alive);
    end(s);
}

static void cancel_takes_back_what_waits_and_flags_what_runs(void **state)
{
    struct scene *s = begin();
    struct object_id ids[4];

    for (int i = 0; i < 4; i++) {
        ids[i] = submit(s, 1);
        rig_get(&s->rig, s->driver, ids[i]);
    }
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    struct object_id running = w->current.task;
    for (int i = 0; i < 4; i++) {
        rig_cancel(&s->rig, s->driver, ids[i], CANCEL_ASK);
        rig_settle(&s->rig);
        assert_int_equal(s->driver->cancelled_code, 0);
        assert_int_equal(code_of(&s->rig, ids[i]), CODE_CANCELLED);
    }
    assert_true(w->cancel[claim_index(w->current.slot)]);
    rig_cancel(&s->rig, s->driver, running, CANCEL_ASK);
    rig_settle(&s->rig);
    assert_int_equal(s->driver->cancelled_code, CODE_DONE);
    rig_return(&s->rig, w, 1); /* too late: nobody sees it */
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, running), CODE_CANCELLED);
    end(s);
}

static void a_forced_cancel_kills_only_a_body_that_has_begun(void **state)
{
    struct scene *s = begin();
    struct object_id a = submit(s, 1), b = submit(s, 2), c = submit(s, 3);

    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    struct object_id running = w->current.task;
    rig_cancel(&s->rig, s->driver, c, CANCEL_FORCE);
    rig_settle(&s->rig);
    assert_int_equal(s->rig.kills, 0);
    rig_cancel(&s->rig, s->driver, running, CANCEL_FORCE);
    rig_settle(&s->rig);
    assert_int_equal(s->rig.kills, 1);
    struct object_id other = object_id_equal(running, a) ? b : a;
    rig_get(&s->rig, s->driver, other);
    rig_run_all(&s->rig);
    assert_int_equal(code_of(&s->rig, other), 0);
    end(s);
}

static void nested_tasks_inherit_and_die_with_a_recursive_cancel(void **state)
{
    struct scene *s = begin();
    struct object_id parent = submit(s, 1);

    rig_get(&s->rig, s->driver, parent);
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    uint32_t g =
        rig_class(&s->rig, w, "g", (struct rig_class){.custom = "x", .custom_x10000 = 20000});
    uint32_t slot = 1 + claim_index(w->current.slot);
    struct object_id first =
        rig_submit(&s->rig, w, (struct rig_task){.class_number = g, .parent_slot = slot});
    struct object_id second =
        rig_submit(&s->rig, w, (struct rig_task){.class_number = g, .parent_slot = slot});
    rig_get(&s->rig, w, first);
    rig_get(&s->rig, w, second);
    (void)rig_say(&s->rig, w, LOCAL_BLOCKED);
    rig_settle(&s->rig);
    rig_cancel(&s->rig, s->driver, parent, CANCEL_RECURSIVE);
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, first), CODE_CANCELLED);
    assert_int_equal(code_of(&s->rig, second), CODE_CANCELLED);
    /* an attempt that was cancelled submits nothing any more */
    struct object_id third =
        rig_submit(&s->rig, w, (struct rig_task){.class_number = g, .parent_slot = slot});
    rig_get(&s->rig, w, third);
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, third), CODE_CANCELLED);
    end(s);
}

static void a_blocked_body_lends_its_cpu(void **state)
{
    struct scene *s = begin();
    const int depth = 40; /* far more than CPUs */
    struct rig_process *stack[40];
    struct object_id inner[41];

    inner[0] = submit(s, 1);
    rig_get(&s->rig, s->driver, inner[0]);
    for (int i = 0; i < depth; i++) {
        rig_settle(&s->rig);
        struct rig_process *w = rig_ready_worker(&s->rig);
        assert_non_null(w);
        assert_true(rig_claim(&s->rig, w));
        stack[i] = w;
        uint32_t g = w->classes == 0 ? rig_class(&s->rig, w, "f", ONE_CPU) : 1;
        inner[i + 1] = rig_submit(
            &s->rig, w,
            (struct rig_task){.class_number = g, .parent_slot = 1 + claim_index(w->current.slot)});
        rig_get(&s->rig, w, inner[i + 1]);
        (void)rig_say(&s->rig, w, LOCAL_BLOCKED);
    }
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    rig_return(&s->rig, w, 0);
    rig_settle(&s->rig);
    for (int i = depth - 1; i >= 0; i--) {
        assert_int_equal(value_of(&s->rig, inner[i + 1]), depth - 1 - i);
        (void)rig_say(&s->rig, stack[i], LOCAL_UNBLOCKED);
        rig_settle(&s->rig);
        rig_return(&s->rig, stack[i], (uint64_t)(depth - i));
        rig_settle(&s->rig);
    }
    assert_int_equal(value_of(&s->rig, inner[0]), depth);
    end(s);
}

static void bodies_that_wait_for_what_they_keep_end_as_a_cycle(void **state)
{
    struct scene *s = begin();
    const struct rig_class both_x = {.custom = "x", .custom_x10000 = 20000};
    uint32_t outer_class = rig_class(&s->rig, s->driver, "outer", both_x);
    struct object_id outer =
        rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = outer_class});

    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    uint32_t g = rig_class(&s->rig, w, "inner", both_x);
    struct object_id inner = rig_submit(
        &s->rig, w,
        (struct rig_task){.class_number = g, .parent_slot = 1 + claim_index(w->current.slot)});
    rig_get(&s->rig, w, inner);
    rig_blocked(&s->rig, w, &inner, 1);
    rig_pass(&s->rig, 4 * NS_PER_S);
    assert_null(rig_value(&s->rig, inner));
    rig_pass(&s->rig, 3 * NS_PER_S);
    assert_int_equal(code_of(&s->rig, inner), CODE_CYCLE);
    char o[ID_TEXT_SIZE], i[ID_TEXT_SIZE], said[256];
    snprintf(said, sizeof said,
             "inner needs x, held by task %s (outer) on node box-1, which waits for task %s "
             "(inner).",
             object_id_format(outer, o), object_id_format(inner, i));
    assert_non_null(strstr(s->rig.last_error, said));
    (void)rig_say(&s->rig, w, LOCAL_UNBLOCKED);
    rig_return(&s->rig, w, 1);
    rig_get(&s->rig, s->driver, outer);
    rig_settle(&s->rig);
    assert_int_equal(value_of(&s->rig, outer), 1);
    end(s);
}

/* The body of the next worker submits one like itself and waits for it. */
static struct object_id submit_below(struct scene *s, struct rig_process **ret_worker)
{
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_non_null(w);
    assert_true(rig_claim(&s->rig, w));
    uint32_t g = w->classes == 0 ? rig_class(&s->rig, w, "f", ONE_CPU) : 1;
    struct object_id id = rig_submit(
        &s->rig, w,
        (struct rig_task){.class_number = g, .parent_slot = 1 + claim_index(w->current.slot)});
    rig_get(&s->rig, w, id);
    *ret_worker = w;
    return id;
}

static void a_recursion_without_an_end_is_stopped(void **state)
{
    struct scene *s = begin();
    struct object_id below;
    struct rig_process *w;

    s->rig.core->depth_max = 5;
    submit(s, 1);
    for (int i = 0; i < 5; i++) {
        below = submit_below(s, &w);
        rig_blocked(&s->rig, w, &below, 1);
        rig_settle(&s->rig);
        assert_null(rig_value(&s->rig, below));
    }
    below = submit_below(s, &w);
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, below), CODE_TOO_DEEP);
    assert_non_null(strstr(s->rig.last_error, "node box-1 allows no more"));
    assert_non_null(strstr(s->rig.last_error, "--max-depth"));
    end(s);
}

static void a_chain_whose_links_end_may_go_on_for_ever(void **state)
{
    struct scene *s = begin();

    s->rig.core->depth_max = 5;
    submit(s, 1);
    for (int i = 0; i < 50; i++) {
        struct rig_process *w;
        struct object_id next = submit_below(s, &w);
        rig_settle(&s->rig);
        assert_null(rig_value(&s->rig, next));
        rig_return(&s->rig, w, 1); /* it does not wait for what it submitted */
    }
    end(s);
}

static void more_waiting_bodies_than_processes_are_an_error(void **state)
{
    struct scene *s = begin();
    struct object_id below[4];
    struct rig_process *w[4];

    s->rig.core->job_workers_max = 4;
    submit(s, 1);
    for (int i = 0; i < 4; i++) {
        below[i] = submit_below(s, &w[i]);
        rig_blocked(&s->rig, w[i], &below[i], 1);
    }
    rig_pass(&s->rig, 3 * NS_PER_S);
    assert_int_equal(rig_live_workers(&s->rig), 4);
    assert_null(rig_value(&s->rig, below[3]));
    char text[ID_TEXT_SIZE];
    rig_query(&s->rig, rig_tool(&s->rig),
              (struct state_query){.kind = STATE_EXPLAIN, .id = object_id_format(below[3], text)});
    assert_non_null(strstr(s->rig.reply_line, "its job has 4 processes on this node"));
    rig_pass(&s->rig, 4 * NS_PER_S);
    assert_int_equal(code_of(&s->rig, below[3]), CODE_CYCLE);
    assert_non_null(strstr(s->rig.last_error, "f needs a worker (its job has 4 processes"));
    assert_non_null(strstr(s->rig.last_error, "--max-job-workers"));
    for (int i = 0; i < 3; i++) { /* and only that one */
        assert_null(rig_value(&s->rig, below[i]));
    }
    end(s);
}

static void one_that_runs_keeps_those_that_wait_for_a_process_waiting(void **state)
{
    struct scene *s = begin();
    struct object_id below;
    struct rig_process *w, *other;

    s->rig.core->job_workers_max = 2;
    submit(s, 1);
    below = submit_below(s, &w);
    rig_blocked(&s->rig, w, &below, 1);
    rig_settle(&s->rig);
    other = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, other));
    struct object_id more = submit(s, 2);
    rig_get(&s->rig, s->driver, more);
    rig_pass(&s->rig, 30 * NS_PER_S);
    assert_null(rig_value(&s->rig, more));
    rig_return(&s->rig, other, 1);
    assert_int_equal(rig_run_all(&s->rig), 1);
    assert_int_equal(value_of(&s->rig, more), 2);
    end(s);
}

/* Short tasks are sent to a worker ahead of time, but not while others might get what they lack
 * when it runs dry. Those that wait for a process of their own job would not. */
static void those_that_wait_for_a_process_of_their_job_hold_up_no_other(void **state)
{
    struct scene *s = begin();
    struct rig_process *full, *w, *driver = rig_driver(&s->rig);
    uint32_t share = rig_class(&s->rig, s->driver, "share", (struct rig_class){.cpus_x10000 = 1});
    uint32_t least = LOCAL_CLAIMS, g = rig_class(&s->rig, driver, "g", ONE_CPU);

    s->rig.core->job_workers_max = 1;
    rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = share});
    rig_settle(&s->rig);
    full = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, full));
    rig_pass(&s->rig, 10 * NS_PER_MS); /* so long that nothing is sent behind it */
    rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = share});
    for (int i = 0; i < 200; i++) {
        rig_submit(&s->rig, driver, (struct rig_task){.class_number = g});
        rig_settle(&s->rig);
    }
    for (int i = 0; i < 100; i++) {
        w = rig_ready_worker(&s->rig);
        assert_true(rig_claim(&s->rig, w));
        rig_pass(&s->rig, 20 * NS_PER_US);
        rig_return(&s->rig, w, 1);
        rig_settle(&s->rig);
        if (i > 50) {
            least = MIN_OF(least, core_worker(s->rig.core, w->worker)->placed);
        }
    }
    assert_in_range(least, 2, LOCAL_CLAIMS); /* it never runs dry */
    end(s);
}

static void a_result_that_is_anothers(void **state)
{
    struct scene *s = begin();
    struct object_id outer = submit(s, 1);

    rig_get(&s->rig, s->driver, outer);
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    uint32_t g = rig_class(&s->rig, w, "g", ONE_CPU);
    struct object_id inner = rig_submit(
        &s->rig, w,
        (struct rig_task){
            .class_number = g, .payload = 77, .parent_slot = 1 + claim_index(w->current.slot)});
    rig_return_alias(&s->rig, w, inner);
    rig_release(&s->rig, w, inner); /* the body's scope */
    rig_settle(&s->rig);
    assert_null(rig_value(&s->rig, outer));
    rig_run_all(&s->rig);
    assert_int_equal(value_of(&s->rig, outer), 77);
    end(s);
}

static void what_never_fits_is_an_error_once_the_head_says_so(void **state)
{
    struct scene *s = begin();
    uint32_t big = rig_class(&s->rig, s->driver, "big", (struct rig_class){.cpus_x10000 = 30000});
    struct object_id id = rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = big});

    rig_get(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    assert_int_equal(s->rig.impossible, 1);
    assert_int_equal(code_of(&s->rig, id), CODE_IMPOSSIBLE);
    id = rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = big});
    rig_get(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    assert_int_equal(s->rig.impossible, 1); /* known by now */
    assert_int_equal(code_of(&s->rig, id), CODE_IMPOSSIBLE);
    end(s);
}

/* Whether one that takes both CPUs begins beside small ones that come all the time. */
static bool big_one_begins(struct scene *s, const struct rig_process *but)
{
    uint32_t both = rig_class(&s->rig, s->driver, "both", (struct rig_class){.cpus_x10000 = 20000});
    struct object_id big;
    struct rig_process *w;
    bool done = false;

    for (int i = 0; i < 20; i++) {
        submit(s, 1);
    }
    rig_settle(&s->rig);
    big = rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = both});
    rig_get(&s->rig, s->driver, big);
    /* each small task takes 0.3 s, and a new one comes for each that ends */
    for (int i = 0; i < 40 && !done; i++) {
        rig_pass(&s->rig, 300 * NS_PER_MS);
        while ((w = rig_ready_worker(&s->rig)) != NULL && rig_claim(&s->rig, w)) {
        }
        rig_pass(&s->rig, 300 * NS_PER_MS);
        for (uint32_t k = 0; k < RIG_PROCESSES; k++) {
            w = &s->rig.processes[k];
            if (w->used && w->alive && w->worker != 0 && w->current.returns > 0 && w != but) {
                rig_return(&s->rig, w, 0);
                submit(s, 1);
                rig_settle(&s->rig);
            }
        }
        done = rig_value(&s->rig, big) != NULL;
    }
    return done;
}

static void a_big_task_is_not_starved_by_small_ones(void **state)
{
    struct scene *s = begin();

    assert_true(big_one_begins(s, NULL));
    end(s);
}

/* That one may have to wait for very long; what becomes free is not kept for it, but for the next.
 */
static void nor_because_another_waits_for_what_a_waiting_body_keeps(void **state)
{
    struct scene *s = begin();
    uint32_t x = rig_class(&s->rig, s->driver, "x",
                           (struct rig_class){.custom = "x", .custom_x10000 = 20000});

    rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = x});
    rig_settle(&s->rig);
    struct rig_process *hog = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, hog));
    rig_blocked(&s->rig, hog, NULL, 0);
    rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = x});
    rig_settle(&s->rig);
    assert_true(big_one_begins(s, hog));
    end(s);
}

/* The small ones wait for others nearly all the time; of one of them at least what it has never
 * seems to come back. */
static void nor_by_small_ones_that_wait(void **state)
{
    struct scene *s = begin();
    uint32_t one = rig_class(&s->rig, s->driver, "one",
                             (struct rig_class){.custom = "x", .custom_x10000 = 10000});
    uint32_t all = rig_class(&s->rig, s->driver, "all",
                             (struct rig_class){.custom = "x", .custom_x10000 = 20000});
    struct rig_process *w, *bodies[2] = {NULL, NULL};
    struct object_id big = {0};

    for (int i = 0; i < 20; i++) {
        rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = one});
    }
    for (int i = 0; i < 200 && (i < 4 || rig_value(&s->rig, big) == NULL); i++) {
        if (i == 3) {
            big = rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = all});
            rig_get(&s->rig, s->driver, big);
        }
        rig_pass(&s->rig, 300 * NS_PER_MS);
        if (bodies[i % 2] != NULL) { /* each takes 0.6 s */
            (void)rig_say(&s->rig, bodies[i % 2], LOCAL_UNBLOCKED);
            rig_return(&s->rig, bodies[i % 2], 0);
            bodies[i % 2] = NULL;
            rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = one});
        }
        rig_settle(&s->rig);
        w = rig_ready_worker(&s->rig);
        if (w != NULL && rig_claim(&s->rig, w)) {
            bodies[i % 2] = w;
            rig_blocked(&s->rig, w, NULL, 0);
            rig_settle(&s->rig);
        }
    }
    assert_non_null(rig_value(&s->rig, big));
    end(s);
}

static void a_program_that_does_not_start_is_a_typed_error(void **state)
{
    struct scene *s = begin();
    struct object_id id = submit(s, 1);

    s->rig.start_dies = true;
    rig_get(&s->rig, s->driver, id);
    rig_pass(&s->rig, NS_PER_S);
    assert_int_equal(code_of(&s->rig, id), CODE_PROGRAM);
    assert_int_equal(s->rig.spawns, 3);
    id = submit(s, 1);
    rig_get(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, id), CODE_PROGRAM);
    end(s);
}

static void a_program_that_lacks_something_is_started_once(void **state)
{
    struct scene *s = begin();
    struct object_id id = submit(s, 1);

    s->rig.start_dies = s->rig.start_lacks = true;
    rig_get(&s->rig, s->driver, id);
    rig_pass(&s->rig, NS_PER_S);
    assert_int_equal(code_of(&s->rig, id), CODE_PROGRAM);
    assert_int_equal(s->rig.spawns, 1);
    end(s);
}

static void the_end_of_a_driver_ends_all_it_made(void **state)
{
    struct scene *s = begin();
    struct raylet_counts counts;
    struct object_id id = {0};

    for (int i = 0; i < 500; i++) {
        id = rig_submit(
            &s->rig, s->driver,
            (struct rig_task){.class_number = s->f, .needs = &id, .need_count = i % 3 == 2});
    }
    rig_put(&s->rig, s->driver, 3);
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    rig_driver_end(&s->rig, s->driver, false);
    rig_pass(&s->rig, NS_PER_S);
    assert_int_equal(s->rig.job_ends, 0);
    assert_true(w->alive); /* asked to stop, with 2 s of time */
    rig_pass(&s->rig, 2 * NS_PER_S);
    assert_int_equal(rig_live_workers(&s->rig), 0);
    assert_int_equal(s->rig.job_ends, 1);
    raylet_core_count(s->rig.core, &counts);
    assert_int_equal(counts.tasks + counts.objects + counts.jobs + counts.clients + counts.classes,
                     0);
    end(s);
}

static void two_jobs_share_the_node(void **state)
{
    struct scene *s = begin();
    struct rig_process *other = rig_driver(&s->rig);
    uint32_t g = rig_class(&s->rig, other, "g", ONE_CPU);
    struct object_id id;

    for (int i = 0; i < 800; i++) {
        submit(s, 1);
    }
    rig_settle(&s->rig);
    id = rig_submit(&s->rig, other, (struct rig_task){.class_number = g, .payload = 4});
    rig_get(&s->rig, other, id);
    rig_settle(&s->rig);
    uint32_t ran = 0;
    while (rig_value(&s->rig, id) == NULL && ran < 400) {
        struct rig_process *w = rig_ready_worker(&s->rig);
        assert_non_null(w);
        assert_true(rig_claim(&s->rig, w));
        s->rig.now_ns += 1000;
        rig_return(&s->rig, w, 4);
        rig_settle(&s->rig);
        ran++;
    }
    assert_true(ran < 400); /* 1 us each: a slice is 200 us */
    end(s);
}

static void another_jobs_objects_cannot_be_read(void **state)
{
    struct scene *s = begin();
    struct rig_process *other = rig_driver(&s->rig);
    struct object_id id = rig_put(&s->rig, s->driver, 12);

    rig_settle(&s->rig);
    rig_get(&s->rig, other, id);
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, id), CODE_NOT_FOUND);
    end(s);
}

static void without_a_head_drivers_wait_and_running_work_goes_on(void **state)
{
    struct scene *s = begin();
    struct object_id id = submit(s, 8);

    rig_head(&s->rig, false);
    rig_get(&s->rig, s->driver, id);
    assert_int_equal(rig_run_all(&s->rig), 1);
    assert_int_equal(value_of(&s->rig, id), 8);
    struct rig_process *late = rig_driver(&s->rig);
    assert_false(late->welcomed);
    rig_head(&s->rig, true);
    rig_settle(&s->rig);
    assert_true(late->welcomed);
    end(s);
}

static void a_head_that_gives_another_number_ends_the_node(void **state)
{
    struct scene *s = begin();

    rig_head(&s->rig, false);
    rig_settle(&s->rig);
    s->rig.head_answers = false;
    rig_head(&s->rig, true);
    rig_settle(&s->rig);
    struct cluster_msg m = {.type = CLUSTER_JOINED,
                            .joined = {.number = 8, .lease_ns = NS_PER_S, .cluster = "test"}};
    rig_event(&s->rig, EVENT_HEAD_MESSAGE)->head = &m;
    rig_settle(&s->rig);
    assert_int_equal(s->rig.quits, 1);
    end(s);
}

static void messages_out_of_turn_close_the_client(void **state)
{
    struct scene *s = begin();

    s->driver->next_number = 9;
    submit(s, 1);
    rig_settle(&s->rig);
    assert_true(s->driver->closed);
    end(s);
}

static void a_node_leaves_when_its_work_is_done(void **state)
{
    struct scene *s = begin();
    struct object_id id = submit(s, 2);

    rig_get(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    rig_event(&s->rig, EVENT_LEAVE)->limit_ns = 10 * NS_PER_S;
    rig_pass(&s->rig, NS_PER_S);
    assert_int_equal(s->rig.quits, 0);
    rig_run_all(&s->rig);
    assert_int_equal(value_of(&s->rig, id), 2);
    assert_int_equal(s->rig.quits, 0); /* the program may be about to end */
    rig_pass(&s->rig, 2 * NS_PER_S);
    assert_int_equal(s->rig.quits, 1);
    end(s);
}

/* It ends with its last task: a job that is done, and none that is lost with the node. */
static void a_node_that_leaves_hears_the_last_word_of_its_programs(void **state)
{
    struct scene *s = begin();

    submit(s, 2);
    rig_settle(&s->rig);
    rig_event(&s->rig, EVENT_LEAVE)->limit_ns = 10 * NS_PER_S;
    rig_run_all(&s->rig);
    rig_pass(&s->rig, NS_PER_S / 2);
    assert_int_equal(s->rig.quits, 0);
    rig_driver_end(&s->rig, s->driver, true);
    rig_run_all(&s->rig);
    assert_int_equal(s->rig.job_ends, 1);
    assert_int_equal(s->rig.quits, 1);
    end(s);
}

/* The program has ended in order, its body has not. */
static void a_node_that_leaves_says_how_its_programs_ended(void **state)
{
    struct scene *s = begin();

    submit(s, 2);
    rig_settle(&s->rig);
    assert_true(rig_claim(&s->rig, rig_ready_worker(&s->rig)));
    rig_settle(&s->rig);
    rig_driver_end(&s->rig, s->driver, true);
    rig_settle(&s->rig);
    assert_int_equal(s->rig.job_ends, 0);
    rig_event(&s->rig, EVENT_LEAVE)->limit_ns = NS_PER_S / 2;
    rig_settle(&s->rig);
    assert_int_equal(s->rig.quits, 0);
    rig_pass(&s->rig, NS_PER_S);
    assert_int_equal(s->rig.quits, 1);
    assert_int_equal(s->rig.job_ends, 1);
    end(s);
}

static void a_node_that_leaves_can_only_be_hurried(void **state)
{
    struct scene *s = begin();

    submit(s, 2);
    rig_settle(&s->rig);
    rig_event(&s->rig, EVENT_LEAVE)->limit_ns = 10 * NS_PER_S;
    rig_pass(&s->rig, NS_PER_S);
    rig_event(&s->rig, EVENT_LEAVE)->limit_ns = 60 * NS_PER_S; /* not later */
    rig_pass(&s->rig, 5 * NS_PER_S);
    assert_int_equal(s->rig.quits, 0);
    rig_event(&s->rig, EVENT_LEAVE)->limit_ns = NS_PER_S;
    rig_pass(&s->rig, NS_PER_S / 2);
    assert_int_equal(s->rig.quits, 0);
    rig_pass(&s->rig, NS_PER_S);
    assert_int_equal(s->rig.quits, 1);
    end(s);
}

static void explain_says_what_is_missing(void **state)
{
    struct scene *s = begin();
    uint32_t g = rig_class(&s->rig, s->driver, "g",
                           (struct rig_class){.custom = "x", .custom_x10000 = 20000});
    struct rig_process *tool = rig_tool(&s->rig);
    char id[ID_TEXT_SIZE];

    rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = g});
    struct object_id waiting = rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = g});
    rig_settle(&s->rig);
    rig_query(&s->rig, tool,
              (struct state_query){.kind = STATE_EXPLAIN, .id = object_id_format(waiting, id)});
    assert_int_equal(s->rig.reply.failure.code, 0);
    assert_non_null(strstr(s->rig.reply_line, "has waited"));
    rig_query(&s->rig, tool, (struct state_query){.kind = STATE_EXPLAIN, .id = "9-9.9"});
    assert_int_equal(s->rig.reply.failure.code, CODE_NOT_FOUND);
    end(s);
}

static void rows_are_the_newest_of_a_long_queue(void **state)
{
    struct scene *s = begin();
    struct rig_process *tool = rig_tool(&s->rig);
    struct object_id newest = {0};
    char id[ID_TEXT_SIZE];

    for (int i = 0; i < 3000; i++) {
        newest = rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = s->f});
        if (i % 50 == 0) {
            rig_settle(&s->rig);
        }
    }
    rig_settle(&s->rig);
    rig_query(&s->rig, tool, (struct state_query){.kind = STATE_TASKS, .id = "last"});
    assert_int_equal(s->rig.reply.task_count, 1);
    assert_true(object_id_equal(s->rig.reply_tasks[0].id, newest));
    rig_query(&s->rig, tool,
              (struct state_query){.kind = STATE_TASKS, .state = "waiting", .limit = 5});
    assert_int_equal(s->rig.reply.task_count, 5);
    assert_true(object_id_equal(s->rig.reply_tasks[0].id, newest));
    assert_int_equal(s->rig.reply_tasks[4].id.number, newest.number - 4);
    rig_query(&s->rig, tool,
              (struct state_query){.kind = STATE_TASKS, .id = object_id_format(newest, id)});
    assert_int_equal(s->rig.reply.task_count, 1);
    assert_true(object_id_equal(s->rig.reply_tasks[0].id, newest));
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_runs_and_its_value_arrives),
        cmocka_unit_test(a_get_before_and_one_after_are_both_answered),
        cmocka_unit_test(many_tasks_use_few_workers_and_leave_nothing),
        cmocka_unit_test(dependent_tasks_wait_for_their_arguments),
        cmocka_unit_test(an_error_travels_through_dependent_tasks),
        cmocka_unit_test(a_crash_costs_an_attempt_and_the_last_one_is_told),
        cmocka_unit_test(what_a_dead_worker_had_not_begun_goes_back_free),
        cmocka_unit_test(an_application_error_is_retried_only_when_asked),
        cmocka_unit_test(a_back_off_of_zero_is_none),
        cmocka_unit_test(a_deadline_settles_at_once_and_stops_the_body),
        cmocka_unit_test(cancel_takes_back_what_waits_and_flags_what_runs),
        cmocka_unit_test(a_forced_cancel_kills_only_a_body_that_has_begun),
        cmocka_unit_test(nested_tasks_inherit_and_die_with_a_recursive_cancel),
        cmocka_unit_test(a_blocked_body_lends_its_cpu),
        cmocka_unit_test(bodies_that_wait_for_what_they_keep_end_as_a_cycle),
        cmocka_unit_test(a_recursion_without_an_end_is_stopped),
        cmocka_unit_test(a_chain_whose_links_end_may_go_on_for_ever),
        cmocka_unit_test(more_waiting_bodies_than_processes_are_an_error),
        cmocka_unit_test(one_that_runs_keeps_those_that_wait_for_a_process_waiting),
        cmocka_unit_test(those_that_wait_for_a_process_of_their_job_hold_up_no_other),
        cmocka_unit_test(a_result_that_is_anothers),
        cmocka_unit_test(what_never_fits_is_an_error_once_the_head_says_so),
        cmocka_unit_test(a_big_task_is_not_starved_by_small_ones),
        cmocka_unit_test(nor_because_another_waits_for_what_a_waiting_body_keeps),
        cmocka_unit_test(nor_by_small_ones_that_wait),
        cmocka_unit_test(a_program_that_does_not_start_is_a_typed_error),
        cmocka_unit_test(a_program_that_lacks_something_is_started_once),
        cmocka_unit_test(the_end_of_a_driver_ends_all_it_made),
        cmocka_unit_test(two_jobs_share_the_node),
        cmocka_unit_test(another_jobs_objects_cannot_be_read),
        cmocka_unit_test(without_a_head_drivers_wait_and_running_work_goes_on),
        cmocka_unit_test(a_head_that_gives_another_number_ends_the_node),
        cmocka_unit_test(messages_out_of_turn_close_the_client),
        cmocka_unit_test(a_node_leaves_when_its_work_is_done),
        cmocka_unit_test(a_node_that_leaves_hears_the_last_word_of_its_programs),
        cmocka_unit_test(a_node_that_leaves_says_how_its_programs_ended),
        cmocka_unit_test(a_node_that_leaves_can_only_be_hurried),
        cmocka_unit_test(explain_says_what_is_missing),
        cmocka_unit_test(rows_are_the_newest_of_a_long_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
