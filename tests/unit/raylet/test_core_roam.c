/* References that roam with tasks between nodes: what the executor keeps, and what the home. */
#include "tests/unit/raylet/refs_scene.h"

#include "sched/policy.h"

#define THEIR_JOB 500u

/* ---- we are the executor ---- */

static struct job *guest_job(struct scene *s)
{
    LIST_FOREACH(at, &s->rig.core->jobs)
    {
        struct job *job = list_entry(at, struct job, link);
        if (job->number == THEIR_JOB) {
            return job;
        }
    }
    return NULL;
}

/* THEM announces a job and a class, and has a slot. */
static void announce(struct scene *s, uint64_t limit)
{
    static const uint8_t hash[PEER_HASH_SIZE] = {2};
    static const struct local_amount cpu = {"CPU", RESOURCE_UNIT};

    up(s, THEM, SIDE_IN);
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_JOB);
    m->job.job = THEIR_JOB;
    m->job.home = THEM;
    m->job.name = m->job.program_name = m->job.user = m->job.cwd = "";
    m->job.hash = bytes_of(hash, sizeof hash);
    m->job.program_size = 1;
    m->job.home = THEM;
    m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_CLASS);
    m->class_.number = 1;
    m->class_.job = THEIR_JOB;
    m->class_.function = "g";
    m->class_.amounts = &cpu;
    m->class_.amount_count = 1;
    m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_ASK);
    m->ask.number = 1;
    m->ask.limit = limit;
    rig_settle(&s->rig);
}

static struct scene *begin_as_executor(void)
{
    struct scene *s = begin_among_nodes();

    announce(s, 1);
    assert_non_null(said(s, THEM, SIDE_IN, PEER_GRANT));
    return s;
}

/* Their task with this reference; begun. */
static struct rig_process *run_theirs_as(struct scene *s, uint64_t run,
                                         const struct object_id *refs, size_t count)
{
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_RUN);

    m->run.run = run;
    m->run.number = 1;
    m->run.attempt = 1;
    m->run.returns = 1;
    m->run.task = theirs(900);
    m->run.name = "";
    m->run.refs = arena_copy(&s->rig.arena, refs, count * sizeof *refs);
    m->run.ref_count = count;
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_non_null(w);
    assert_true(rig_claim(&s->rig, w));
    return w;
}

static struct rig_process *run_theirs(struct scene *s, const struct object_id *refs, size_t count)
{
    return run_theirs_as(s, 1, refs, count);
}

static void what_an_orphan_submitted_goes_when_it_dies(void **state)
{
    struct scene *s = begin_as_executor();
    struct rig_process *w = run_theirs(s, NULL, 0);
    uint32_t both = rig_class(&s->rig, w, "both", (struct rig_class){.cpus_x10000 = 20000});
    struct object_id child = rig_submit(
        &s->rig, w,
        (struct rig_task){.class_number = both,
                          .parent_slot = 1 + claim_index(w->current.slot)}); /* no room for it */

    rig_settle(&s->rig);
    assert_non_null(find(s, child));
    down(s, THEM, SIDE_IN);
    assert_non_null(find(s, child)); /* its parent lives and holds it */
    rig_crash(&s->rig, w, 9);
    rig_settle(&s->rig);
    assert_null(find(s, child));
    assert_int_equal(rig_run_all(&s->rig), 0);
    end(s);
}

static void says_recorded(struct scene *s)
{
    static const uint64_t run = 1;
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_RECORDED);

    m->runs.runs = &run;
    m->runs.run_count = 1;
    rig_settle(&s->rig);
}

/* The home numbers its attempts through all sessions. */
static void a_new_session_goes_on_with_any_number(void **state)
{
    struct scene *s = begin_as_executor();

    rig_return(&s->rig, run_theirs_as(s, 41, NULL, 0), 5);
    rig_settle(&s->rig);
    assert_non_null(said(s, THEM, SIDE_IN, PEER_RESULT));
    rig_peer_down(&s->rig, THEM, SIDE_IN, false);
    rig_settle(&s->rig);
    announce(s, 1);
    rig_return(&s->rig, run_theirs_as(s, 44, NULL, 0), 5);
    rig_settle(&s->rig);
    const struct peer_msg *m = said(s, THEM, SIDE_IN, PEER_RESULT);
    assert_non_null(m);
    assert_int_equal(m->result.run, 44);
    assert_int_equal(s->rig.peer_closes, 0);
    rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_RUN)->run.run = 46; /* but in a session: */
    rig_settle(&s->rig);
    assert_int_equal(s->rig.peer_closes, 1);
    end(s);
}

/* Else what waits here is always faster, and it goes back, and comes again, for ever. */
static void a_slot_is_for_whom_it_was_lent(void **state)
{
    struct scene *s = begin_among_nodes();

    announce(s, 2);
    assert_int_equal(said(s, THEM, SIDE_IN, PEER_GRANT)->slots.count, 2);
    for (uint64_t i = 0; i < 4; i++) {
        (void)submit(s, i);
    }
    rig_settle(&s->rig);
    assert_null(rig_ready_worker(&s->rig));
    struct rig_process *w = run_theirs(s, NULL, 0);
    assert_true(object_id_equal(w->current.task, theirs(900)));
    assert_null(rig_ready_worker(&s->rig));
    rig_return(&s->rig, w, 5);
    rig_settle(&s->rig);
    assert_non_null(said(s, THEM, SIDE_IN, PEER_RESULT));
    end(s);
}

/* It may be cut off, and what it could use is kept from others no longer than once. */
static void a_home_that_uses_no_slot_gets_no_other(void **state)
{
    struct scene *s = begin_among_nodes();

    announce(s, 100);
    assert_int_equal(said(s, THEM, SIDE_IN, PEER_GRANT)->slots.count, 2);
    struct object_id ours[3] = {submit(s, 1), submit(s, 2), submit(s, 3)};
    rig_pass(&s->rig, 900 * NS_PER_MS);
    assert_null(rig_ready_worker(&s->rig));
    rig_pass(&s->rig, 2500 * NS_PER_MS);
    assert_int_equal(rig_run_all(&s->rig), 3);
    assert_null(said(s, THEM, SIDE_IN, PEER_GRANT));
    rig_return(&s->rig, run_theirs(s, NULL, 0), 5); /* there it is again */
    rig_settle(&s->rig);
    assert_non_null(said(s, THEM, SIDE_IN, PEER_RESULT));
    assert_non_null(said(s, THEM, SIDE_IN, PEER_GRANT));
    for (int i = 0; i < 3; i++) {
        rig_release(&s->rig, s->driver, ours[i]);
    }
    end(s);
}

/* Nor does each of its classes keep a worker for a second, one after the other. */
static void nor_do_its_other_classes(void **state)
{
    static const struct local_amount cpu = {"CPU", RESOURCE_UNIT};
    struct scene *s = begin_among_nodes();

    announce(s, 100);
    for (uint32_t number = 2; number < 10; number++) {
        struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_CLASS);
        m->class_.number = number;
        m->class_.job = THEIR_JOB;
        m->class_.function = "g";
        m->class_.amounts = &cpu;
        m->class_.amount_count = 1;
        m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_ASK);
        m->ask.number = number;
        m->ask.limit = 100;
    }
    rig_settle(&s->rig);
    assert_int_equal(said(s, THEM, SIDE_IN, PEER_GRANT)->slots.count, 2);
    for (uint64_t i = 0; i < 3; i++) {
        rig_get(&s->rig, s->driver, submit(s, i));
    }
    rig_pass(&s->rig, 3400 * NS_PER_MS);
    assert_int_equal(rig_run_all(&s->rig), 3);
    assert_null(said(s, THEM, SIDE_IN, PEER_GRANT));
    rig_return(&s->rig, run_theirs(s, NULL, 0), 5);
    rig_settle(&s->rig);
    assert_non_null(said(s, THEM, SIDE_IN, PEER_GRANT));
    end(s);
}

static void an_argument_that_is_not_kept_costs_no_message(void **state)
{
    struct scene *s = begin_as_executor();
    struct object_id ref = others(1);
    struct rig_process *w = run_theirs(s, &ref, 1);

    assert_non_null(find(s, ref));
    rig_return(&s->rig, w, 5);
    rig_settle(&s->rig);
    const struct peer_msg *m = said(s, THEM, SIDE_IN, PEER_RESULT);
    assert_non_null(m);
    assert_true(m->result.args_free);
    assert_null(find(s, ref));
    assert_int_equal(s->rig.peer_opens, 0);
    end(s);
}

static void an_argument_that_is_kept_is_covered_until_it_is_added(void **state)
{
    struct scene *s = begin_as_executor();
    struct object_id ref = others(1);
    struct rig_process *w = run_theirs(s, &ref, 1);

    rig_hold(&s->rig, w, ref);
    rig_return(&s->rig, w, 5);
    rig_settle(&s->rig);
    const struct peer_msg *m = said(s, THEM, SIDE_IN, PEER_RESULT);
    assert_non_null(m);
    assert_false(m->result.args_free);
    assert_null(said(s, THEM, SIDE_IN, PEER_ARGS_FREE));
    up(s, OTHER, SIDE_OUT);
    assert_ids(said(s, OTHER, SIDE_OUT, PEER_ADD), ref);
    assert_null(said(s, THEM, SIDE_IN, PEER_ARGS_FREE));
    says_added(s, ref, true);
    m = said(s, THEM, SIDE_IN, PEER_ARGS_FREE);
    assert_non_null(m);
    assert_int_equal(m->runs.runs[0], 1);
    assert_non_null(find(s, ref));
    rig_release(&s->rig, w, ref);
    rig_settle(&s->rig);
    assert_ids(said(s, OTHER, SIDE_OUT, PEER_DROP), ref);
    end(s);
}

static void what_a_home_covered_is_added_when_it_is_gone(void **state)
{
    struct scene *s = begin_as_executor();
    struct object_id ref = others(1);
    struct rig_process *w = run_theirs(s, &ref, 1);
    struct object_id outer = rig_put_holding(&s->rig, w, 7, &ref, 1); /* beyond the cover */

    rig_settle(&s->rig);
    up(s, OTHER, SIDE_OUT);
    assert_null(said(s, OTHER, SIDE_OUT, PEER_ADD));
    down(s, THEM, SIDE_IN); /* the attempt ends with it; its worker lives on for a while */
    assert_non_null(find(s, outer));
    assert_ids(said(s, OTHER, SIDE_OUT, PEER_ADD), ref);
    end(s);
}

/* Their task ends; inside its value is an object that its body made and holds no more. */
static struct object_id returns_what_it_made(struct scene *s)
{
    struct rig_process *w = run_theirs(s, NULL, 0);
    struct object_id made = rig_put(&s->rig, w, 41);
    struct rig_return r = {.value = 1, .refs = &made, .ref_count = 1};

    rig_return_these(&s->rig, w, &r, 1);
    rig_release(&s->rig, w, made);
    rig_settle(&s->rig);
    return made;
}

static void what_is_inside_a_result_stays_until_it_is_recorded(void **state)
{
    struct scene *s = begin_as_executor();
    struct object_id made = returns_what_it_made(s);
    const struct peer_msg *m = said(s, THEM, SIDE_IN, PEER_RESULT);
    assert_non_null(m);
    assert_true(m->result.wants_recorded);
    assert_int_equal(m->result.ref_count, 1);
    assert_non_null(find(s, made));
    says_recorded(s); /* and they did not add it: they dropped the result */
    assert_null(find(s, made));
    end(s);
}

static void silence_of_every_home_takes_nothing_from_those_who_hold(void **state)
{
    struct scene *s = begin_as_executor();
    struct object_id made = returns_what_it_made(s);

    up(s, OTHER, SIDE_IN);
    struct peer_msg *m = rig_peer_message(&s->rig, OTHER, SIDE_IN, PEER_ADD);
    m->add.job = THEIR_JOB;
    m->add.ids = &made;
    m->add.id_count = 1;
    rig_settle(&s->rig);
    says_recorded(s);
    down(s, THEM, SIDE_IN);
    rig_pass(&s->rig, 60 * NS_PER_S);
    assert_non_null(find(s, made));
    assert_non_null(guest_job(s));
    asks(s, OTHER, PEER_DROP, made);
    rig_pass(&s->rig, 10 * NS_PER_S);
    assert_null(find(s, made));
    assert_null(guest_job(s));
    end(s);
}

/* A body of theirs runs, and so does what it submits here: one that ends well, one that fails. */
static void run_with_children(struct scene *s, uint64_t run)
{
    struct rig_process *w = run_theirs_as(s, run, NULL, 0);
    uint32_t child = rig_class(&s->rig, w, "child", (struct rig_class){.cpus_x10000 = 10000});

    for (int i = 0; i < 2; i++) {
        rig_submit(&s->rig, w,
                   (struct rig_task){.class_number = child,
                                     .max_attempts = 1,
                                     .parent_slot = 1 + claim_index(w->current.slot)});
        rig_settle(&s->rig);
        rig_pass(&s->rig, 100 * NS_PER_MS);
        struct rig_process *other = rig_ready_worker(&s->rig);
        assert_non_null(other);
        assert_true(rig_claim(&s->rig, other));
        if (i == 0) {
            rig_return(&s->rig, other, 5);
        } else {
            rig_crash(&s->rig, other, 9);
        }
        rig_settle(&s->rig);
    }
    rig_return(&s->rig, w, 5);
    rig_settle(&s->rig);
    const struct peer_msg *m = said(s, THEM, SIDE_IN, PEER_RESULT);
    assert_non_null(m);
}

static void is_over(struct scene *s)
{
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_JOB_END);

    m->job_end = (struct peer_job_end){.job = THEIR_JOB, .over = true};
    rig_settle(&s->rig);
    assert_null(guest_job(s));
}

/* The head hears what was done here of a job of others, until it says that the job is over. */
static void the_head_hears_of_a_part(void **state)
{
    struct scene *s = begin_as_executor();

    run_with_children(s, 1);
    assert_int_equal(s->rig.parts, 0);
    s->rig.head_answers = false;
    is_over(s);
    assert_int_equal(s->rig.parts, 1);
    assert_int_equal(s->rig.part.job, THEIR_JOB);
    assert_int_equal(s->rig.part.done, 1);
    assert_int_equal(s->rig.part.failed, 1);

    /* A second life of the job here is added, and a head that comes back hears all again. */
    announce(s, 1);
    run_with_children(s, 2);
    is_over(s);
    assert_int_equal(s->rig.parts, 2);
    assert_int_equal(s->rig.part.done, 2);
    s->rig.head_answers = true;
    rig_head(&s->rig, false);
    rig_head(&s->rig, true);
    rig_settle(&s->rig);
    assert_int_equal(s->rig.parts, 3);
    assert_int_equal(s->rig.part.failed, 2);
    rig_head(&s->rig, false); /* it answered */
    rig_head(&s->rig, true);
    rig_settle(&s->rig);
    assert_int_equal(s->rig.parts, 3);
    end(s);
}

static void who_leaves_tells_of_its_part(void **state)
{
    struct scene *s = begin_as_executor();

    run_with_children(s, 1);
    says_recorded(s);
    rig_query(&s->rig, rig_tool(&s->rig), (struct state_query){.kind = STATE_LEAVE});
    rig_pass(&s->rig, NS_PER_S);
    assert_int_equal(s->rig.parts, 1);
    assert_int_equal(s->rig.part.done, 1);
    assert_int_equal(s->rig.history_tasks, 2); /* the two children, before LEAVE */
    assert_int_equal(s->rig.history_functions, 1);
    end(s);
}

/* While nothing ends the head hears nothing new. */
static void the_head_hears_now_and_then_what_ended(void **state)
{
    struct scene *s = begin_as_executor();

    run_with_children(s, 1);
    says_recorded(s);
    rig_pass(&s->rig, 11 * NS_PER_S);
    assert_int_equal(s->rig.history_tasks, 2);
    uint32_t before = s->rig.histories;
    rig_pass(&s->rig, 30 * NS_PER_S);
    assert_int_equal(s->rig.histories, before);

    /* One that was started again knows nothing. */
    rig_head(&s->rig, false);
    rig_head(&s->rig, true);
    rig_pass(&s->rig, 11 * NS_PER_S);
    assert_int_equal(s->rig.histories, before + 1);
    assert_int_equal(s->rig.history_tasks, 2);
    end(s);
}

/* It hears of them every 10 s, however often the node renews its lease, and then of the last ones
 * alone; more of them when the node leaves, also if nothing has ended since. */
static void the_head_is_not_told_all_of_them_each_second(void **state)
{
    struct scene *s = begin();

    for (uint64_t i = 0; i < 60; i++) {
        submit(s, i);
        rig_settle(&s->rig);
        struct rig_process *w = rig_ready_worker(&s->rig);
        assert_true(rig_claim(&s->rig, w));
        rig_return(&s->rig, w, i);
        rig_pass(&s->rig, NS_PER_S);
    }
    assert_in_range(s->rig.histories, 5, 8);
    rig_pass(&s->rig, 20 * NS_PER_S);
    assert_int_equal(s->rig.history_tasks, 50);
    rig_query(&s->rig, rig_tool(&s->rig), (struct state_query){.kind = STATE_LEAVE});
    rig_pass(&s->rig, 3 * NS_PER_S);
    assert_int_equal(s->rig.history_tasks, 60);
    end(s);
}

/* ---- we are the home ---- */

/* Our task with this reference inside runs at THEM. */
static struct object_id run_ours(struct scene *s, const struct object_id *refs, size_t count)
{
    rig_view(&s->rig, THEM, "box-2", 2);
    rig_settle(&s->rig);
    uint32_t there = rig_class(
        &s->rig, s->driver, "h",
        (struct rig_class){.cpus_x10000 = 10000, .strategy = SCHED_NODE_SPECIFIC, .node = "box-2"});
    struct object_id id =
        rig_submit(&s->rig, s->driver,
                   (struct rig_task){.class_number = there, .refs = refs, .ref_count = count});

    rig_get(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    up(s, THEM, SIDE_OUT);
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_ASK));
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_OUT, PEER_GRANT);
    m->slots.number = said(s, THEM, SIDE_OUT, PEER_CLASS)->class_.number;
    m->slots.count = 1;
    rig_settle(&s->rig);
    const struct peer_msg *run = said(s, THEM, SIDE_OUT, PEER_RUN);
    assert_non_null(run);
    assert_int_equal(run->run.run, 1);
    assert_int_equal(run->run.ref_count, count);
    return id;
}

/* Its result: a value with this inside, or (NULL) a plain one. */
static void says_result(struct scene *s, const struct object_id *inside, bool args_free)
{
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_OUT, PEER_RESULT);
    struct local_return *one = arena_alloc(&s->rig.arena, sizeof *one);
    static const uint64_t word = 66;

    *one = (struct local_return){
        .state = RETURN_VALUE, .size = 8, .ref_count = inside != NULL ? 1 : 0};
    m->result.run = 1;
    m->result.returns = one;
    m->result.return_count = 1;
    m->result.refs = inside;
    m->result.ref_count = inside != NULL ? 1 : 0;
    m->result.wants_recorded = inside != NULL;
    m->result.args_free = args_free;
    m->payload = bytes_of(&word, 8);
    rig_settle(&s->rig);
}

/* The first thing that is said to a node may be this. */
static void a_cancel_waits_for_the_session(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id = theirs(3);

    borrow(s, id);
    rig_cancel(&s->rig, s->driver, id, CANCEL_FORCE);
    rig_settle(&s->rig);
    assert_int_equal(s->driver->cancelled_code, 0);
    assert_null(said(s, THEM, SIDE_OUT, PEER_CANCEL));
    up(s, THEM, SIDE_OUT);
    const struct peer_msg *m = said(s, THEM, SIDE_OUT, PEER_CANCEL);
    assert_non_null(m);
    assert_true(object_id_equal(m->cancel.id, id));
    assert_int_equal(m->cancel.flags, CANCEL_FORCE);
    end(s);
}

/* Also while there is room here; and what runs where they are gone is better than nothing. */
static void a_soft_wish_is_granted_while_it_can_be(void **state)
{
    struct scene *s = begin_among_nodes();

    rig_view(&s->rig, THEM, "box-2", 2);
    rig_settle(&s->rig);
    uint32_t there = rig_class(
        &s->rig, s->driver, "h",
        (struct rig_class){
            .cpus_x10000 = 10000, .strategy = SCHED_NODE_SPECIFIC, .node = "box-2", .soft = true});
    struct object_id id =
        rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = there, .payload = 5});
    rig_get(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    up(s, THEM, SIDE_OUT);
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_ASK));
    rig_pass(&s->rig, NS_PER_S);
    assert_null(rig_ready_worker(&s->rig));
    rig_view_dead(&s->rig, THEM);
    rig_pass(&s->rig, NS_PER_S);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_non_null(w);
    assert_true(rig_claim(&s->rig, w));
    rig_return(&s->rig, w, 5);
    rig_settle(&s->rig);
    assert_int_equal(value_of(&s->rig, id), 5);
    end(s);
}

static void an_argument_stays_until_the_executor_says_that_it_is_free(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id ref = rig_put(&s->rig, s->driver, 5);
    struct object_id id = run_ours(s, &ref, 1);

    release(s, ref);
    assert_non_null(find(s, ref));
    says_result(s, NULL, false);
    assert_int_equal(value_of(&s->rig, id), 66);
    release(s, id);
    assert_non_null(find(s, ref));
    static const uint64_t run = 1;
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_OUT, PEER_ARGS_FREE);
    m->runs.runs = &run;
    m->runs.run_count = 1;
    rig_settle(&s->rig);
    assert_null(find(s, ref));
    end(s);
}

static void a_cover_ends_with_the_session(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id ref = rig_put(&s->rig, s->driver, 5);
    struct object_id id = run_ours(s, &ref, 1);

    says_result(s, NULL, false);
    release(s, ref);
    release(s, id);
    assert_non_null(find(s, ref));
    down(s, THEM, SIDE_OUT);
    assert_null(find(s, ref));
    end(s);
}

static void what_a_body_did_wrong_was_where_it_ran(void **state)
{
    static const struct local_return unset = {.state = RETURN_UNSET};
    struct scene *s = begin_among_nodes();
    struct object_id id = run_ours(s, NULL, 0);
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_OUT, PEER_RESULT);

    m->result.run = 1;
    m->result.returns = (struct local_return *)&unset;
    m->result.return_count = 1;
    m->result.args_free = true;
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, id), CODE_SIGNATURE);
    assert_string_equal(find(s, id)->error->failure.node, "box-2");
    end(s);
}

static void a_result_is_recorded_when_what_is_inside_is_added(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id = run_ours(s, NULL, 0), inside = theirs(3);

    says_result(s, &inside, true);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_ADD), inside);
    assert_null(said(s, THEM, SIDE_OUT, PEER_RECORDED));
    says_added(s, inside, true);
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_RECORDED));
    assert_int_equal(value_of(&s->rig, id), 66);

    rig_hold_through(&s->rig, s->driver, inside, id);
    release(s, id);
    assert_null(said(s, THEM, SIDE_OUT, PEER_DROP));
    rig_get(&s->rig, s->driver, inside);
    rig_settle(&s->rig);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_WANT), inside);
    says_value(s, inside, 9, NULL, 0);
    assert_int_equal(value_of(&s->rig, inside), 9);
    release(s, inside);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_DROP), inside);
    end(s);
}

static void who_waits_for_a_result_that_cannot_be_recorded_is_told(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id = run_ours(s, NULL, 0), inside = others(3);
    struct object_id dependent = rig_submit(
        &s->rig, s->driver, (struct rig_task){.class_number = s->f, .needs = &id, .need_count = 1});

    rig_get(&s->rig, s->driver, dependent);
    says_result(s, &inside, true); /* its owner cannot be reached from here */
    rig_pass(&s->rig, 14 * NS_PER_S);
    assert_null(rig_value(&s->rig, id));
    rig_pass(&s->rig, 2 * NS_PER_S);
    assert_int_equal(code_of(&s->rig, id), CODE_UNREACHABLE);
    assert_int_equal(code_of(&s->rig, dependent), CODE_UNREACHABLE);
    rig_get(&s->rig, s->driver, id);
    rig_pass(&s->rig, 16 * NS_PER_S); /* a later wait ends, too */
    assert_int_equal(rig_value(&s->rig, id)->answers, 2);
    assert_null(said(s, THEM, SIDE_OUT, PEER_RECORDED));

    rig_get(&s->rig, s->driver, id);
    up(s, OTHER, SIDE_OUT);
    assert_ids(said(s, OTHER, SIDE_OUT, PEER_ADD), inside);
    rig_pass(&s->rig, 60 * NS_PER_S); /* slow is not silent */
    assert_int_equal(rig_value(&s->rig, id)->answers, 2);
    says_added(s, inside, true);
    assert_int_equal(rig_value(&s->rig, id)->value, 66);
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_RECORDED));
    end(s);
}

static void a_program_may_end_while_a_result_waits_to_be_recorded(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id = run_ours(s, NULL, 0), inside = theirs(3);

    says_result(s, &inside, true);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_ADD), inside);
    rig_driver_end(&s->rig, s->driver, true);
    rig_settle(&s->rig);
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_RECORDED));
    assert_null(find(s, id));
    end(s);
}

static void a_result_whose_references_lost_their_owner_is_recorded(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id = run_ours(s, NULL, 0), inside = others(3);

    up(s, OTHER, SIDE_OUT);
    says_result(s, &inside, true);
    assert_ids(said(s, OTHER, SIDE_OUT, PEER_ADD), inside);
    assert_null(said(s, THEM, SIDE_OUT, PEER_RECORDED));
    dies(s, OTHER);
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_RECORDED));
    assert_int_equal(value_of(&s->rig, id), 66);
    rig_hold_through(&s->rig, s->driver, inside, id);
    rig_get(&s->rig, s->driver, inside);
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, inside), CODE_OWNER_LOST);
    end(s);
}

static void a_result_with_a_value_that_outlived_its_owner_is_recorded(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id = run_ours(s, NULL, 0), inside[2] = {others(3), theirs(4)};

    borrow_added(s, inside[0]);
    rig_get(&s->rig, s->driver, inside[0]);
    rig_settle(&s->rig);
    says_value(s, inside[0], 77, NULL, 0);
    dies(s, OTHER);
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_OUT, PEER_RESULT);
    struct local_return *one = arena_alloc(&s->rig.arena, sizeof *one);
    static const uint64_t word = 66;

    *one = (struct local_return){.state = RETURN_VALUE, .size = 8, .ref_count = 2};
    m->result.run = 1;
    m->result.returns = one;
    m->result.return_count = 1;
    m->result.refs = inside;
    m->result.ref_count = 2;
    m->result.wants_recorded = m->result.args_free = true;
    m->payload = bytes_of(&word, 8);
    rig_settle(&s->rig);
    assert_null(said(s, THEM, SIDE_OUT, PEER_RECORDED));
    says_added(s, inside[1], true);
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_RECORDED));
    assert_int_equal(value_of(&s->rig, id), 66);
    end(s);
}

static void a_result_that_follows_who_is_silent_goes_when_it_is_released(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id = run_ours(s, NULL, 0), target = others(3);
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_OUT, PEER_RESULT);
    struct local_return *one = arena_alloc(&s->rig.arena, sizeof *one);

    *one = (struct local_return){.state = RETURN_ALIAS, .alias = target};
    m->result.run = 1;
    m->result.returns = one;
    m->result.return_count = 1;
    m->result.wants_recorded = m->result.args_free = true;
    up(s, OTHER, SIDE_OUT);
    says_added(s, target, true);
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_RECORDED));
    down(s, OTHER, SIDE_OUT);
    rig_pass(&s->rig, 16 * NS_PER_S);
    assert_int_equal(code_of(&s->rig, id), CODE_UNREACHABLE);
    assert_non_null(find(s, target));
    release(s, id);
    assert_null(find(s, id));
    assert_null(find(s, target));
    end(s);
}

static void a_result_for_a_program_that_ended_is_let_go(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id = run_ours(s, NULL, 0), inside = theirs(3);

    rig_driver_end(&s->rig, s->driver, true);
    rig_settle(&s->rig);
    assert_null(find(s, id));
    says_result(s, &inside, true);
    assert_non_null(said(s, THEM, SIDE_OUT, PEER_RECORDED));
    assert_null(said(s, THEM, SIDE_OUT, PEER_ADD));
    end(s);
}

static void what_was_needed_there_travels_with_what_is_inside(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id inner = rig_put(&s->rig, s->driver, 5);
    struct object_id outer = rig_put_holding(&s->rig, s->driver, 6, &inner, 1);

    rig_view(&s->rig, THEM, "box-2", 2);
    rig_settle(&s->rig);
    uint32_t there = rig_class(
        &s->rig, s->driver, "h",
        (struct rig_class){.cpus_x10000 = 10000, .strategy = SCHED_NODE_SPECIFIC, .node = "box-2"});
    rig_submit(&s->rig, s->driver,
               (struct rig_task){.class_number = there, .needs = &outer, .need_count = 1});
    rig_settle(&s->rig);
    up(s, THEM, SIDE_OUT);
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_OUT, PEER_GRANT);
    m->slots.number = said(s, THEM, SIDE_OUT, PEER_CLASS)->class_.number;
    m->slots.count = 1;
    rig_settle(&s->rig);
    const struct peer_msg *run = said(s, THEM, SIDE_OUT, PEER_RUN);
    assert_non_null(run);
    assert_int_equal(run->run.ref_count, 1);
    assert_true(object_id_equal(run->run.refs[0], inner));
    end(s);
}

/* More tasks than one node is asked for at once: each grant lets more of them be asked for, and not
 * only when nothing was new for long. */
static void grants_bring_the_next_ask_soon(void **state)
{
    struct scene *s = begin_among_nodes();

    rig_view(&s->rig, THEM, "box-2", 2);
    rig_settle(&s->rig);
    uint32_t there = rig_class(
        &s->rig, s->driver, "h",
        (struct rig_class){.cpus_x10000 = 10000, .strategy = SCHED_NODE_SPECIFIC, .node = "box-2"});
    for (uint32_t i = 0; i < 5000; i++) {
        rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = there});
    }
    rig_settle(&s->rig);
    up(s, THEM, SIDE_OUT);
    const struct peer_msg *ask = said(s, THEM, SIDE_OUT, PEER_ASK);
    assert_non_null(ask);
    uint64_t limit = ask->ask.limit;
    assert_in_range(limit, 1, 4999);
    rig_pass(&s->rig, 10 * NS_PER_MS);
    assert_null(said(s, THEM, SIDE_OUT, PEER_ASK)); /* nothing new to say */

    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_OUT, PEER_GRANT);
    m->slots.number = said(s, THEM, SIDE_OUT, PEER_CLASS)->class_.number;
    m->slots.count = 100;
    rig_pass(&s->rig, NS_PER_MS);
    ask = said(s, THEM, SIDE_OUT, PEER_ASK);
    assert_non_null(ask);
    assert_int_equal(ask->ask.limit, limit + 100);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_head_hears_of_a_part),
        cmocka_unit_test(who_leaves_tells_of_its_part),
        cmocka_unit_test(the_head_hears_now_and_then_what_ended),
        cmocka_unit_test(the_head_is_not_told_all_of_them_each_second),
        cmocka_unit_test(a_slot_is_for_whom_it_was_lent),
        cmocka_unit_test(a_home_that_uses_no_slot_gets_no_other),
        cmocka_unit_test(nor_do_its_other_classes),
        cmocka_unit_test(a_new_session_goes_on_with_any_number),
        cmocka_unit_test(an_argument_that_is_not_kept_costs_no_message),
        cmocka_unit_test(an_argument_that_is_kept_is_covered_until_it_is_added),
        cmocka_unit_test(what_a_home_covered_is_added_when_it_is_gone),
        cmocka_unit_test(what_is_inside_a_result_stays_until_it_is_recorded),
        cmocka_unit_test(silence_of_every_home_takes_nothing_from_those_who_hold),
        cmocka_unit_test(an_argument_stays_until_the_executor_says_that_it_is_free),
        cmocka_unit_test(grants_bring_the_next_ask_soon),
        cmocka_unit_test(a_soft_wish_is_granted_while_it_can_be),
        cmocka_unit_test(a_cancel_waits_for_the_session),
        cmocka_unit_test(a_cover_ends_with_the_session),
        cmocka_unit_test(what_a_body_did_wrong_was_where_it_ran),
        cmocka_unit_test(a_result_is_recorded_when_what_is_inside_is_added),
        cmocka_unit_test(who_waits_for_a_result_that_cannot_be_recorded_is_told),
        cmocka_unit_test(what_an_orphan_submitted_goes_when_it_dies),
        cmocka_unit_test(a_result_for_a_program_that_ended_is_let_go),
        cmocka_unit_test(a_result_whose_references_lost_their_owner_is_recorded),
        cmocka_unit_test(a_result_with_a_value_that_outlived_its_owner_is_recorded),
        cmocka_unit_test(a_result_that_follows_who_is_silent_goes_when_it_is_released),
        cmocka_unit_test(a_program_may_end_while_a_result_waits_to_be_recorded),
        cmocka_unit_test(what_was_needed_there_travels_with_what_is_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
