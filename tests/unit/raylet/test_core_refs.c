/* References between nodes, told as timelines of one raylet among others. */
#include "tests/unit/raylet/refs_scene.h"

/* ---- the borrower ---- */

static void a_body_that_waits_for_another_node_is_in_no_cycle(void **state)
{
    struct scene *s = begin_among_nodes();
    const struct rig_class both_x = {.custom = "x", .custom_x10000 = 20000};
    uint32_t k = rig_class(&s->rig, s->driver, "keeps", both_x);
    struct object_id first, second;

    first = rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = k});
    second = rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = k});
    rig_get(&s->rig, s->driver, first);
    rig_get(&s->rig, s->driver, second);
    borrow_added(s, theirs(5));
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    taken(s, w, theirs(5));
    rig_get(&s->rig, w, theirs(5));
    (void)rig_say(&s->rig, w, LOCAL_BLOCKED);
    rig_pass(&s->rig, 20 * NS_PER_S);
    assert_null(rig_value(&s->rig, second));
    says_value(s, theirs(5), 77, NULL, 0);
    (void)rig_say(&s->rig, w, LOCAL_UNBLOCKED);
    rig_return(&s->rig, w, 1);
    assert_int_equal(rig_run_all(&s->rig), 1);
    assert_int_equal(code_of(&s->rig, first), 0);
    assert_int_equal(code_of(&s->rig, second), 0);
    end(s);
}

static void what_is_held_is_added_wanted_once_and_dropped(void **state)
{
    struct scene *s = begin_among_nodes();

    borrow(s, theirs(5));
    assert_int_equal(s->rig.peer_opens, 1);
    up(s, THEM, SIDE_OUT);
    const struct peer_msg *m = said(s, THEM, SIDE_OUT, PEER_ADD);
    assert_ids(m, theirs(5));
    assert_int_equal(m->add.job, the_job(s)->number);
    assert_null(said(s, THEM, SIDE_OUT, PEER_WANT));
    says_added(s, theirs(5), true);

    rig_get(&s->rig, s->driver, theirs(5));
    rig_settle(&s->rig);
    struct object_id need = theirs(5);
    rig_submit(&s->rig, s->driver,
               (struct rig_task){.class_number = s->f, .needs = &need, .need_count = 1});
    rig_settle(&s->rig);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_WANT), theirs(5));
    assert_null(said(s, THEM, SIDE_OUT, PEER_WANT));
    says_value(s, theirs(5), 77, NULL, 0);
    assert_int_equal(value_of(&s->rig, theirs(5)), 77);
    assert_int_equal(rig_run_all(&s->rig), 1);

    release(s, theirs(5));
    assert_ids(said(s, THEM, SIDE_OUT, PEER_DROP), theirs(5));
    assert_null(said(s, THEM, SIDE_OUT, PEER_ADD));
    assert_null(find(s, theirs(5)));
    end(s);
}

static void a_cover_sends_nothing_until_it_ends_before_the_need(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object *o = take(s, theirs(1));

    foreign_cover(s->rig.core, o);
    rig_settle(&s->rig);
    up(s, THEM, SIDE_OUT);
    assert_null(said(s, THEM, SIDE_OUT, PEER_ADD));
    assert_false(foreign_needs_more(s->rig.core, o));

    object_hold(o); /* a task here needs it beyond its cover */
    assert_true(foreign_needs_more(s->rig.core, o));
    rig_settle(&s->rig);
    assert_null(said(s, THEM, SIDE_OUT, PEER_ADD));
    foreign_uncover(s->rig.core, o); /* its home is gone */
    rig_settle(&s->rig);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_ADD), theirs(1));
    give(s, o);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_DROP), theirs(1));
    end(s);
}

static void what_was_only_covered_goes_without_a_word(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object *o = take(s, theirs(1));

    foreign_cover(s->rig.core, o);
    rig_settle(&s->rig);
    foreign_uncover(s->rig.core, o);
    rig_settle(&s->rig);
    up(s, THEM, SIDE_OUT);
    assert_null(said(s, THEM, SIDE_OUT, PEER_ADD));
    assert_null(said(s, THEM, SIDE_OUT, PEER_DROP));
    assert_int_equal(objects(s), 0);
    end(s);
}

static void a_process_that_holds_what_is_covered_makes_its_owner_know(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object *o = take(s, theirs(1));

    foreign_cover(s->rig.core, o);
    up(s, THEM, SIDE_OUT);
    takes(&s->rig, s->driver, theirs(1));
    assert_ids(said(s, THEM, SIDE_OUT, PEER_ADD), theirs(1));
    foreign_uncover(s->rig.core, o);
    rig_settle(&s->rig);
    assert_non_null(find(s, theirs(1)));
    end(s);
}

static void who_must_be_secure_waits_for_each_answer(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object *a = take(s, theirs(1)), *b = take(s, others(1));
    struct securing w;

    securing_init(&w, 99);
    foreign_secure(s->rig.core, &w, a);
    foreign_secure(s->rig.core, &w, b);
    assert_int_equal(w.missing, 2);
    rig_settle(&s->rig);
    up(s, THEM, SIDE_OUT);
    up(s, OTHER, SIDE_OUT);
    says_added(s, theirs(1), true);
    assert_int_equal(w.missing, 1);
    assert_true(list_is_empty(&s->rig.core->secured));
    says_added(s, others(1), false); /* gone is an answer, too */
    assert_int_equal(w.missing, 0);
    assert_ptr_equal(list_pop(&s->rig.core->secured), &w.link);
    assert_int_equal(b->state, OBJECT_ERROR);

    foreign_secure(s->rig.core, &w, a); /* it is added */
    foreign_secure(s->rig.core, &w, b); /* nothing can be done */
    assert_int_equal(w.missing, 0);
    give(s, a);
    give(s, b);
    end(s);
}

static void who_needs_no_more_security_is_forgotten(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object *a = take(s, theirs(1)), *b = take(s, theirs(2));
    struct securing *w = xcalloc(1, sizeof *w);

    securing_init(w, 99);
    foreign_secure(s->rig.core, w, a);
    foreign_secure(s->rig.core, w, b);
    rig_settle(&s->rig);
    up(s, THEM, SIDE_OUT);
    foreign_secure_forget(s->rig.core, w);
    free(w);
    says_added(s, theirs(1), true);
    says_added(s, theirs(2), true);
    assert_true(list_is_empty(&s->rig.core->secured));
    give(s, a);
    give(s, b);
    end(s);
}

static void the_answer_to_a_former_add_secures_nothing(void **state)
{
    struct scene *s = begin_among_nodes();
    struct securing w;

    borrow(s, theirs(1));
    up(s, THEM, SIDE_OUT);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_ADD), theirs(1));
    release(s, theirs(1)); /* before the answer */
    assert_ids(said(s, THEM, SIDE_OUT, PEER_DROP), theirs(1));
    assert_int_equal(objects(s), 0);

    struct object *o = take(s, theirs(1));
    securing_init(&w, 99);
    foreign_secure(s->rig.core, &w, o);
    rig_settle(&s->rig);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_ADD), theirs(1));
    says_added(s, theirs(1), true); /* what DROP has undone since */
    assert_int_equal(w.missing, 1);
    says_added(s, theirs(1), true);
    assert_int_equal(w.missing, 0);
    list_unlink(&w.link);
    give(s, o);
    end(s);
}

static void a_value_that_crosses_a_drop_is_ignored(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id inside = others(1);

    borrow_added(s, theirs(1));
    struct object_id need = theirs(1);
    struct object_id task =
        rig_submit(&s->rig, s->driver,
                   (struct rig_task){.class_number = s->f, .needs = &need, .need_count = 1});
    rig_settle(&s->rig);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_WANT), theirs(1));
    release(s, theirs(1));
    assert_null(said(s, THEM, SIDE_OUT, PEER_DROP));
    rig_cancel(&s->rig, s->driver, task, 0);
    release(s, task);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_DROP), theirs(1));
    says_value(s, theirs(1), 7, &inside, 1);
    says_added(s, theirs(1), true);
    assert_int_equal(objects(s), 0);
    end(s);
}

static void who_asked_hears_of_it_whatever_it_released_since(void **state)
{
    struct scene *s = begin_among_nodes();

    borrow_added(s, theirs(1));
    rig_get(&s->rig, s->driver, theirs(1));
    release(s, theirs(1));
    assert_ids(said(s, THEM, SIDE_OUT, PEER_WANT), theirs(1));
    assert_null(said(s, THEM, SIDE_OUT, PEER_DROP));
    says_value(s, theirs(1), 7, NULL, 0);
    assert_int_equal(value_of(&s->rig, theirs(1)), 7);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_DROP), theirs(1));
    assert_int_equal(objects(s), 0);
    end(s);
}

static void a_process_that_asked_and_is_gone_keeps_nothing(void **state)
{
    struct scene *s = begin_among_nodes();

    borrow_added(s, theirs(1));
    rig_get(&s->rig, s->driver, theirs(1));
    release(s, theirs(1));
    rig_driver_end(&s->rig, s->driver, true);
    rig_settle(&s->rig);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_DROP), theirs(1));
    assert_int_equal(s->rig.job_ends, 1);
    assert_int_equal(objects(s), 0);
    end(s);
}

static void gone_ends_the_wait(void **state)
{
    struct scene *s = begin_among_nodes();

    borrow(s, theirs(1));
    rig_get(&s->rig, s->driver, theirs(1));
    up(s, THEM, SIDE_OUT);
    says_added(s, theirs(1), false);
    assert_int_equal(code_of(&s->rig, theirs(1)), CODE_NOT_FOUND);
    release(s, theirs(1));
    assert_null(said(s, THEM, SIDE_OUT, PEER_DROP));
    end(s);
}

static void a_failure_settles_it_as_well(void **state)
{
    struct scene *s = begin_among_nodes();

    borrow_added(s, theirs(1));
    rig_get(&s->rig, s->driver, theirs(1));
    rig_settle(&s->rig);
    says_failure(s, theirs(1), CODE_CRASHED);
    assert_int_equal(code_of(&s->rig, theirs(1)), CODE_CRASHED);
    end(s);
}

static void a_new_session_begins_with_all_that_is_held(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object *added, *sent, *covered, *waiting;

    borrow_added(s, theirs(1));
    borrow_added(s, theirs(2));
    added = find(s, theirs(1));
    sent = take(s, theirs(3));
    rig_settle(&s->rig);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_ADD), theirs(3)); /* no answer comes */
    covered = take(s, theirs(4));
    foreign_cover(s->rig.core, covered);
    rig_get(&s->rig, s->driver, theirs(1));
    rig_settle(&s->rig);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_WANT), theirs(1));

    down(s, THEM, SIDE_OUT);
    release(s, theirs(2)); /* it cannot be said now */
    waiting = take(s, theirs(5));
    rig_settle(&s->rig);
    assert_null(said(s, THEM, SIDE_OUT, PEER_DROP));
    up(s, THEM, SIDE_OUT);
    const struct peer_msg *m = said(s, THEM, SIDE_OUT, PEER_ADD);
    assert_non_null(m);
    assert_true(m->add.first && m->add.last);
    assert_int_equal(m->add.id_count, 3);
    assert_true(object_id_equal(m->add.ids[0], theirs(1)));
    assert_true(object_id_equal(m->add.ids[1], theirs(3)));
    assert_true(object_id_equal(m->add.ids[2], theirs(5)));
    assert_ids(said(s, THEM, SIDE_OUT, PEER_WANT), theirs(1));
    assert_null(said(s, THEM, SIDE_OUT, PEER_DROP));
    assert_false(foreign_needs_more(s->rig.core, added)); /* silence takes nothing away */
    assert_true(foreign_needs_more(s->rig.core, sent));

    give(s, sent);
    give(s, waiting);
    foreign_uncover(s->rig.core, covered);
    rig_settle(&s->rig);
    end(s);
}

static void an_answer_of_a_former_session_is_not_one_of_this(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object *o = take(s, theirs(1));
    struct securing w;

    securing_init(&w, 99);
    foreign_secure(s->rig.core, &w, o);
    rig_settle(&s->rig);
    up(s, THEM, SIDE_OUT);
    down(s, THEM, SIDE_OUT);
    assert_int_equal(w.missing, 1);
    up(s, THEM, SIDE_OUT);
    says_added(s, theirs(1), true);
    assert_int_equal(w.missing, 0);
    list_unlink(&w.link);
    give(s, o);
    end(s);
}

static void what_is_released_without_a_session_opens_one_to_say_so(void **state)
{
    struct scene *s = begin_among_nodes();

    borrow_added(s, theirs(1));
    down(s, THEM, SIDE_OUT);
    release(s, theirs(1));
    assert_int_equal(objects(s), 0);
    up(s, THEM, SIDE_OUT);
    const struct peer_msg *m = said(s, THEM, SIDE_OUT, PEER_ADD);
    assert_non_null(m);
    assert_true(m->add.first && m->add.last);
    assert_int_equal(m->add.id_count, 0);
    end(s);
}

static void an_owner_that_dies_is_lost_whatever_was_asked_of_it(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object *covered, *queued, *adding;
    struct securing w;

    borrow_added(s, theirs(1)); /* wanted */
    borrow_added(s, theirs(2)); /* its value is here */
    rig_get(&s->rig, s->driver, theirs(1));
    rig_get(&s->rig, s->driver, theirs(2));
    rig_settle(&s->rig);
    says_value(s, theirs(2), 22, NULL, 0);
    adding = take(s, theirs(3));
    rig_settle(&s->rig);
    covered = take(s, theirs(4));
    foreign_cover(s->rig.core, covered);
    rig_settle(&s->rig);
    down(s, THEM, SIDE_OUT);
    queued = take(s, theirs(5));
    securing_init(&w, 99);
    foreign_secure(s->rig.core, &w, adding);
    foreign_secure(s->rig.core, &w, queued);
    struct object_id need = theirs(1);
    struct object_id task =
        rig_submit(&s->rig, s->driver,
                   (struct rig_task){.class_number = s->f, .needs = &need, .need_count = 1});
    rig_get(&s->rig, s->driver, task);
    rig_settle(&s->rig);

    dies(s, THEM);
    assert_int_equal(code_of(&s->rig, theirs(1)), CODE_OWNER_LOST);
    assert_int_equal(code_of(&s->rig, task), CODE_OWNER_LOST);
    assert_int_equal(value_of(&s->rig, theirs(2)), 22); /* what is here stays good */
    assert_int_equal(w.missing, 0);
    list_unlink(&w.link);
    assert_int_equal(covered->state, OBJECT_ERROR);
    assert_int_equal(queued->state, OBJECT_ERROR);
    assert_false(foreign_needs_more(s->rig.core, covered));
    foreign_uncover(s->rig.core, covered);
    give(s, queued);
    give(s, adding);

    struct object *late = take(s, theirs(6)); /* a reference that comes after its death */
    assert_int_equal(late->state, OBJECT_ERROR);
    assert_int_equal(late->error->failure.code, CODE_OWNER_LOST);
    assert_string_equal(late->error->failure.message,
                        "node box-2 (number 9), which made it and kept it, is gone");
    give(s, late);
    end(s);
}

static void a_wait_for_a_silent_owner_ends(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id need = theirs(1);

    borrow_added(s, theirs(1));
    down(s, THEM, SIDE_OUT);
    rig_get(&s->rig, s->driver, theirs(1));
    struct object_id task =
        rig_submit(&s->rig, s->driver,
                   (struct rig_task){.class_number = s->f, .needs = &need, .need_count = 1});
    rig_get(&s->rig, s->driver, task);
    rig_pass(&s->rig, 14 * NS_PER_S);
    assert_null(rig_value(&s->rig, theirs(1)));
    rig_pass(&s->rig, 2 * NS_PER_S);
    assert_int_equal(code_of(&s->rig, theirs(1)), CODE_UNREACHABLE);
    assert_int_equal(code_of(&s->rig, task), CODE_UNREACHABLE);
    assert_int_equal(find(s, theirs(1))->state, OBJECT_PENDING);

    up(s, THEM, SIDE_OUT); /* it was only away */
    assert_null(said(s, THEM, SIDE_OUT, PEER_WANT));
    rig_get(&s->rig, s->driver, theirs(1));
    rig_settle(&s->rig);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_WANT), theirs(1));
    says_value(s, theirs(1), 8, NULL, 0);
    assert_int_equal(rig_value(&s->rig, theirs(1))->value, 8);
    end(s);
}

static void a_session_that_ends_for_silence_was_the_countdown(void **state)
{
    struct scene *s = begin_among_nodes();

    borrow_added(s, theirs(1));
    rig_get(&s->rig, s->driver, theirs(1));
    rig_settle(&s->rig);
    rig_peer_down(&s->rig, THEM, SIDE_OUT, false);
    s->rig.events[s->rig.event_count - 1].silent = true;
    rig_settle(&s->rig);
    rig_pass(&s->rig, NS_PER_S); /* one that comes at once takes the wait on */
    assert_null(rig_value(&s->rig, theirs(1)));
    rig_pass(&s->rig, 2 * NS_PER_S);
    assert_int_equal(code_of(&s->rig, theirs(1)), CODE_UNREACHABLE);
    assert_int_equal(find(s, theirs(1))->state, OBJECT_PENDING);

    rig_get(&s->rig, s->driver, theirs(1)); /* who asks again waits anew */
    rig_pass(&s->rig, 14 * NS_PER_S);
    assert_int_equal(rig_value(&s->rig, theirs(1))->answers, 1);
    rig_pass(&s->rig, 2 * NS_PER_S);
    assert_int_equal(rig_value(&s->rig, theirs(1))->answers, 2);
    end(s);
}

static void a_session_in_time_ends_the_countdown(void **state)
{
    struct scene *s = begin_among_nodes();

    borrow_added(s, theirs(1));
    rig_get(&s->rig, s->driver, theirs(1));
    rig_settle(&s->rig);
    rig_pass(&s->rig, 60 * NS_PER_S); /* slow is not silent */
    assert_null(rig_value(&s->rig, theirs(1)));
    rig_peer_down(&s->rig, THEM, SIDE_OUT, true); /* refused: the head will know */
    rig_pass(&s->rig, 10 * NS_PER_S);
    up(s, THEM, SIDE_OUT);
    rig_pass(&s->rig, 60 * NS_PER_S);
    assert_null(rig_value(&s->rig, theirs(1)));
    end(s);
}

static void what_follows_a_foreign_object_settles_with_it(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object *o = take(s, theirs(1));
    struct object_id id = submit(s, 0), chain = submit(s, 0);

    rig_get(&s->rig, s->driver, chain);
    rig_settle(&s->rig);
    up(s, THEM, SIDE_OUT);
    for (int i = 0; i < 2; i++) {
        struct rig_process *w = rig_ready_worker(&s->rig);
        assert_true(rig_claim(&s->rig, w));
        struct object_id target = object_id_equal(w->current.task, id) ? theirs(1) : id;
        taken(s, w, target);
        rig_return_alias(&s->rig, w, target);
        rig_release(&s->rig, w, target);
        rig_settle(&s->rig);
    }
    give(s, o);
    assert_non_null(find(s, theirs(1))); /* what follows it holds it */
    assert_ids(said(s, THEM, SIDE_OUT, PEER_WANT), theirs(1));

    down(s, THEM, SIDE_OUT);
    rig_pass(&s->rig, 16 * NS_PER_S);
    assert_int_equal(code_of(&s->rig, chain), CODE_UNREACHABLE);
    up(s, THEM, SIDE_OUT);
    rig_get(&s->rig, s->driver, chain);
    rig_settle(&s->rig);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_WANT), theirs(1));
    release(s, id); /* goes as soon as it is settled, before what follows it */
    says_value(s, theirs(1), 55, NULL, 0);
    assert_int_equal(rig_value(&s->rig, chain)->value, 55);
    assert_null(find(s, id));
    assert_null(find(s, theirs(1))); /* a small value is copied */
    assert_ids(said(s, THEM, SIDE_OUT, PEER_DROP), theirs(1));
    end(s);
}

static void a_reference_of_another_job_is_not_mixed_up(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object *o = take(s, theirs(1));

    struct rig_process *second = rig_driver(&s->rig);
    struct job *job = list_entry(s->rig.core->jobs.prev, struct job, link);
    assert_ptr_not_equal(job, the_job(s));
    assert_null(foreign_object(s->rig.core, job, theirs(1)));
    assert_null(foreign_object(s->rig.core, job, theirs(2)));
    rig_get(&s->rig, second, theirs(1));
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, theirs(1)), CODE_NOT_FOUND);
    give(s, o);
    end(s);
}

/* ---- the owner ---- */

static void what_another_node_holds_stays_until_it_drops_it(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id = rig_put(&s->rig, s->driver, 5);

    up(s, THEM, SIDE_IN);
    asks(s, THEM, PEER_ADD, id);
    const struct peer_msg *m = said(s, THEM, SIDE_IN, PEER_ADDED);
    assert_non_null(m);
    assert_int_equal(m->added.id_count, 1);
    assert_int_equal(m->added.gone_count, 0);
    release(s, id);
    assert_non_null(find(s, id));
    asks(s, THEM, PEER_ADD, id); /* twice is once */
    assert_non_null(said(s, THEM, SIDE_IN, PEER_ADDED));
    asks(s, THEM, PEER_WANT, id);
    m = said(s, THEM, SIDE_IN, PEER_VALUE);
    assert_non_null(m);
    assert_int_equal(m->value.state, VALUE_HERE);
    assert_int_equal(*(const uint64_t *)m->payload.data, 5);
    asks(s, OTHER, PEER_DROP, id); /* not in its set */
    assert_non_null(find(s, id));
    asks(s, THEM, PEER_DROP, id);
    assert_null(find(s, id));
    asks(s, THEM, PEER_DROP, id);
    asks(s, THEM, PEER_ADD, id);
    m = said(s, THEM, SIDE_IN, PEER_ADDED);
    assert_int_equal(m->added.id_count, 0);
    assert_int_equal(m->added.gone_count, 1);
    asks(s, THEM, PEER_WANT, id);
    m = said(s, THEM, SIDE_IN, PEER_VALUE);
    assert_int_equal(m->value.state, VALUE_ERROR);
    end(s);
}

static void another_job_is_told_that_there_is_nothing(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id = rig_put(&s->rig, s->driver, 5);

    up(s, THEM, SIDE_IN);
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_ADD);
    m->add.job = the_job(s)->number + 1;
    m->add.ids = &id;
    m->add.id_count = 1;
    rig_settle(&s->rig);
    assert_int_equal(said(s, THEM, SIDE_IN, PEER_ADDED)->added.gone_count, 1);
    end(s);
}

static void a_value_is_told_when_it_is_there_in_this_session_only(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id first = submit(s, 1), second = submit(s, 2);

    up(s, THEM, SIDE_IN);
    asks(s, THEM, PEER_ADD, first);
    asks(s, THEM, PEER_WANT, first);
    down(s, THEM, SIDE_IN);
    up(s, THEM, SIDE_IN);
    asks(s, THEM, PEER_ADD, second);
    asks(s, THEM, PEER_WANT, second);
    assert_null(said(s, THEM, SIDE_IN, PEER_VALUE));
    rig_run_all(&s->rig);
    const struct peer_msg *m = said(s, THEM, SIDE_IN, PEER_VALUE);
    assert_non_null(m);
    assert_true(object_id_equal(m->value.id, second));
    assert_int_equal(*(const uint64_t *)m->payload.data, 2);
    assert_null(said(s, THEM, SIDE_IN, PEER_VALUE));
    end(s);
}

static void a_session_begins_with_a_list_that_replaces_the_set(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id ids[4];

    up(s, THEM, SIDE_IN);
    for (int i = 0; i < 4; i++) {
        ids[i] = rig_put(&s->rig, s->driver, 5);
        asks(s, THEM, PEER_ADD, ids[i]);
        release(s, ids[i]);
    }
    down(s, THEM, SIDE_IN);
    for (int i = 0; i < 4; i++) {
        assert_non_null(find(s, ids[i])); /* silence takes nobody out */
    }
    up(s, THEM, SIDE_IN);
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_ADD);
    m->add.first = true;
    m->add.job = the_job(s)->number;
    m->add.ids = &ids[1];
    m->add.id_count = 1;
    rig_settle(&s->rig);
    assert_non_null(find(s, ids[0])); /* the list has not ended */
    m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_ADD);
    m->add.last = true;
    m->add.job = the_job(s)->number;
    m->add.ids = &ids[3];
    m->add.id_count = 1;
    rig_settle(&s->rig);
    assert_null(find(s, ids[0]));
    assert_non_null(find(s, ids[1]));
    assert_null(find(s, ids[2]));
    assert_non_null(find(s, ids[3]));
    m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_ADD);
    m->add.first = m->add.last = true;
    rig_settle(&s->rig);
    assert_int_equal(objects(s), 0);
    end(s);
}

static void a_dead_node_leaves_every_set(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id one = rig_put(&s->rig, s->driver, 5), both = rig_put(&s->rig, s->driver, 6);

    up(s, THEM, SIDE_IN);
    up(s, OTHER, SIDE_IN);
    asks(s, THEM, PEER_ADD, one);
    asks(s, THEM, PEER_ADD, both);
    asks(s, OTHER, PEER_ADD, both);
    release(s, one);
    release(s, both);
    dies(s, THEM);
    assert_null(find(s, one));
    assert_non_null(find(s, both));
    asks(s, OTHER, PEER_DROP, both);
    assert_int_equal(objects(s), 0);
    end(s);
}

static void who_reads_slowly_is_told_later(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id = rig_put(&s->rig, s->driver, 5);

    up(s, THEM, SIDE_IN);
    asks(s, THEM, PEER_ADD, id);
    struct raylet_event *e = rig_event(&s->rig, EVENT_PEER_SLOW);
    e->peer = THEM;
    e->side = SIDE_IN;
    e->ok = true;
    asks(s, THEM, PEER_WANT, id);
    asks(s, THEM, PEER_DROP, id);
    release(s, id);
    assert_null(said(s, THEM, SIDE_IN, PEER_VALUE));
    e = rig_event(&s->rig, EVENT_PEER_SLOW);
    e->peer = THEM;
    e->side = SIDE_IN;
    rig_settle(&s->rig);
    const struct peer_msg *m = said(s, THEM, SIDE_IN, PEER_VALUE);
    assert_non_null(m);
    assert_int_equal(m->value.state, VALUE_HERE);
    assert_int_equal(objects(s), 0);
    end(s);
}

static void the_end_of_a_job_frees_what_others_hold_of_it(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id = rig_put(&s->rig, s->driver, 5);

    up(s, THEM, SIDE_IN);
    asks(s, THEM, PEER_ADD, id);
    assert_true(foreign_job_is_held(s->rig.core, the_job(s)));
    borrow_added(s, theirs(1));
    rig_get(&s->rig, s->driver, theirs(1));
    rig_settle(&s->rig);
    rig_driver_end(&s->rig, s->driver, true);
    rig_settle(&s->rig);
    assert_int_equal(s->rig.job_ends, 1);
    assert_int_equal(objects(s), 0);
    assert_true(list_is_empty(&s->rig.core->jobs));
    assert_ids(said(s, THEM, SIDE_OUT, PEER_DROP), theirs(1));
    end(s);
}

static void who_came_and_went_while_the_head_was_silent_holds_nothing(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id = rig_put(&s->rig, s->driver, 5);
    const uint32_t guest = OTHER + 1, newest = OTHER + 2;
    struct cluster_view_node rows[2] = {{.number = THEM, .state = NODE_ALIVE},
                                        {.number = newest, .state = NODE_ALIVE}};
    struct cluster_msg whole = {.type = CLUSTER_VIEW,
                                .view = {.whole = true, .nodes = rows, .node_count = 1}};

    for (int i = 0; i < 2; i++) {
        rows[i].name = rows[i].labels = rows[i].public_key = "";
        rows[i].address = "127.0.0.1:7422";
    }
    up(s, guest, SIDE_IN);
    asks(s, guest, PEER_ADD, id);
    release(s, id);
    rig_head_says(&s->rig, &whole);
    rig_settle(&s->rig);
    assert_non_null(find(s, id)); /* the head may not have heard of it yet */
    whole.view.node_count = 2;
    rig_head_says(&s->rig, &whole);
    rig_settle(&s->rig);
    assert_null(find(s, id));
    end(s);
}

/* ---- cancelled, and then by force ---- */

static void cancels(struct scene *s, struct object_id id, uint32_t flags)
{
    rig_cancel(&s->rig, s->driver, id, flags);
    rig_settle(&s->rig);
}

static void assert_cancel(struct scene *s, struct object_id id, uint32_t flags)
{
    const struct peer_msg *m = said(s, id.node, SIDE_OUT, PEER_CANCEL);

    assert_non_null(m);
    assert_true(object_id_equal(m->cancel.id, id));
    assert_int_equal(m->cancel.flags, flags);
    assert_null(said(s, id.node, SIDE_OUT, PEER_CANCEL));
}

static void force_goes_to_the_owner_of_what_was_cancelled(void **state)
{
    struct scene *s = begin_among_nodes();

    borrow_added(s, theirs(5));
    borrow_added(s, theirs(6));
    for (uint64_t i = 5; i <= 6; i++) {
        rig_get(&s->rig, s->driver, theirs(i));
        rig_settle(&s->rig);
    }
    cancels(s, theirs(5), CANCEL_ASK);
    assert_cancel(s, theirs(5), CANCEL_ASK);
    says_failure(s, theirs(5), CODE_CANCELLED);
    cancels(s, theirs(5), CANCEL_ASK);
    assert_null(said(s, THEM, SIDE_OUT, PEER_CANCEL));
    cancels(s, theirs(5), CANCEL_FORCE);
    assert_int_equal(s->driver->cancelled_code, CODE_DONE);
    assert_cancel(s, theirs(5), CANCEL_FORCE);
    says_failure(s, theirs(6), CODE_FAILED); /* nothing of it runs */
    cancels(s, theirs(6), CANCEL_FORCE);
    assert_null(said(s, THEM, SIDE_OUT, PEER_CANCEL));
    end(s);
}

static void force_goes_to_the_owner_of_what_a_result_followed(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id = submit(s, 0);

    rig_get(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    taken(s, w, theirs(5));
    rig_return_alias(&s->rig, w, theirs(5));
    rig_release(&s->rig, w, theirs(5));
    rig_settle(&s->rig);
    up(s, THEM, SIDE_OUT);
    says_added(s, theirs(5), true);
    cancels(s, id, CANCEL_ASK);
    assert_cancel(s, theirs(5), CANCEL_ASK);
    says_failure(s, theirs(5), CODE_CANCELLED);
    assert_int_equal(code_of(&s->rig, id), CODE_CANCELLED);
    assert_null(find(s, theirs(5))); /* it followed that; nothing else did */
    cancels(s, id, CANCEL_FORCE);
    assert_int_equal(s->driver->cancelled_code, CODE_DONE);
    assert_cancel(s, theirs(5), CANCEL_FORCE);
    end(s);
}

/* THEM cancels what it holds of ours. */
static void they_cancel(struct scene *s, struct object_id id, uint32_t flags)
{
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_CANCEL);

    m->cancel.id = id;
    m->cancel.flags = flags;
    rig_settle(&s->rig);
}

static void what_they_cancelled_is_killed_when_they_say_so(void **state)
{
    for (int let_go = 0; let_go < 2; let_go++) {
        struct scene *s = begin_among_nodes();
        struct object_id outer = submit(s, 0);

        rig_settle(&s->rig);
        up(s, THEM, SIDE_IN);
        asks(s, THEM, PEER_ADD, outer);
        struct rig_process *w = rig_ready_worker(&s->rig);
        assert_true(rig_claim(&s->rig, w));
        uint32_t g = rig_class(&s->rig, w, "g", ONE_CPU);
        struct object_id inner = rig_submit(
            &s->rig, w,
            (struct rig_task){.class_number = g, .parent_slot = 1 + claim_index(w->current.slot)});
        rig_settle(&s->rig);
        struct rig_process *v = rig_ready_worker(&s->rig);
        assert_true(rig_claim(&s->rig, v));
        assert_true(object_id_equal(v->current.task, inner));
        rig_return_alias(&s->rig, w, inner);
        rig_release(&s->rig, w, inner);
        rig_settle(&s->rig);
        they_cancel(s, let_go ? inner : outer, CANCEL_ASK);
        assert_int_equal(s->rig.kills, 0);
        assert_null(find(s, inner));
        they_cancel(s, let_go ? inner : outer, CANCEL_FORCE);
        assert_int_equal(s->rig.kills, 1);
        assert_false(v->alive);
        end(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(force_goes_to_the_owner_of_what_was_cancelled),
        cmocka_unit_test(force_goes_to_the_owner_of_what_a_result_followed),
        cmocka_unit_test(what_they_cancelled_is_killed_when_they_say_so),
        cmocka_unit_test(a_body_that_waits_for_another_node_is_in_no_cycle),
        cmocka_unit_test(who_came_and_went_while_the_head_was_silent_holds_nothing),
        cmocka_unit_test(what_is_held_is_added_wanted_once_and_dropped),
        cmocka_unit_test(a_cover_sends_nothing_until_it_ends_before_the_need),
        cmocka_unit_test(what_was_only_covered_goes_without_a_word),
        cmocka_unit_test(a_process_that_holds_what_is_covered_makes_its_owner_know),
        cmocka_unit_test(who_must_be_secure_waits_for_each_answer),
        cmocka_unit_test(who_needs_no_more_security_is_forgotten),
        cmocka_unit_test(the_answer_to_a_former_add_secures_nothing),
        cmocka_unit_test(a_value_that_crosses_a_drop_is_ignored),
        cmocka_unit_test(who_asked_hears_of_it_whatever_it_released_since),
        cmocka_unit_test(a_process_that_asked_and_is_gone_keeps_nothing),
        cmocka_unit_test(gone_ends_the_wait),
        cmocka_unit_test(a_failure_settles_it_as_well),
        cmocka_unit_test(a_new_session_begins_with_all_that_is_held),
        cmocka_unit_test(an_answer_of_a_former_session_is_not_one_of_this),
        cmocka_unit_test(what_is_released_without_a_session_opens_one_to_say_so),
        cmocka_unit_test(an_owner_that_dies_is_lost_whatever_was_asked_of_it),
        cmocka_unit_test(a_wait_for_a_silent_owner_ends),
        cmocka_unit_test(a_session_that_ends_for_silence_was_the_countdown),
        cmocka_unit_test(a_session_in_time_ends_the_countdown),
        cmocka_unit_test(what_follows_a_foreign_object_settles_with_it),
        cmocka_unit_test(a_reference_of_another_job_is_not_mixed_up),
        cmocka_unit_test(what_another_node_holds_stays_until_it_drops_it),
        cmocka_unit_test(another_job_is_told_that_there_is_nothing),
        cmocka_unit_test(a_value_is_told_when_it_is_there_in_this_session_only),
        cmocka_unit_test(a_session_begins_with_a_list_that_replaces_the_set),
        cmocka_unit_test(a_dead_node_leaves_every_set),
        cmocka_unit_test(who_reads_slowly_is_told_later),
        cmocka_unit_test(the_end_of_a_job_frees_what_others_hold_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
