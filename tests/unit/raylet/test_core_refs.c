/* References between nodes and inside values, told as timelines of one raylet among others. */
#include "tests/unit/raylet/scene.h"

#include "raylet/core_foreign.h"
#include "raylet/core_objects.h"

#define THEM  9u
#define OTHER 11u

static struct object_id theirs(uint64_t number)
{
    return (struct object_id){THEM, 3, number};
}

static struct object_id others(uint64_t number)
{
    return (struct object_id){OTHER, 4, number};
}

static struct scene *begin_among_nodes(void)
{
    struct scene *s = begin();

    rig_view(&s->rig, THEM, "box-2", 0);
    rig_view(&s->rig, OTHER, "box-3", 0);
    rig_settle(&s->rig);
    return s;
}

static struct job *the_job(struct scene *s)
{
    return list_entry(list_first(&s->rig.core->jobs), struct job, link);
}

/* As if it had come in an argument or a result: held by the test. */
static struct object *take(struct scene *s, struct object_id id)
{
    struct object *o = foreign_object(s->rig.core, the_job(s), id);

    assert_non_null(o);
    return o;
}

static void give(struct scene *s, struct object *o)
{
    object_unhold(s->rig.core, o);
    rig_settle(&s->rig);
}

static struct object *find(struct scene *s, struct object_id id)
{
    return object_find(s->rig.core, id);
}

/* The driver holds it. */
static void borrow(struct scene *s, struct object_id id)
{
    struct object *o = take(s, id);

    rig_hold(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    give(s, o);
}

static void release(struct scene *s, struct object_id id)
{
    rig_release(&s->rig, s->driver, id);
    rig_settle(&s->rig);
}

static void up(struct scene *s, uint32_t peer, enum peer_side side)
{
    rig_peer_up(&s->rig, peer, side);
    rig_settle(&s->rig);
}

static void down(struct scene *s, uint32_t peer, enum peer_side side)
{
    rig_peer_down(&s->rig, peer, side, false);
    rig_settle(&s->rig);
}

static void dies(struct scene *s, uint32_t peer)
{
    rig_view_dead(&s->rig, peer);
    rig_settle(&s->rig);
}

static void says_added(struct scene *s, struct object_id id, bool there)
{
    struct peer_msg *m = rig_peer_message(&s->rig, id.node, SIDE_OUT, PEER_ADDED);
    const struct object_id *ids = arena_copy(&s->rig.arena, &id, sizeof id);

    if (there) {
        m->added.ids = ids;
        m->added.id_count = 1;
    } else {
        m->added.gone = ids;
        m->added.gone_count = 1;
    }
    rig_settle(&s->rig);
}

static void says_value(struct scene *s, struct object_id id, uint64_t word,
                       const struct object_id *refs, size_t count)
{
    struct peer_msg *m = rig_peer_message(&s->rig, id.node, SIDE_OUT, PEER_VALUE);

    m->value.id = id;
    m->value.state = VALUE_HERE;
    m->value.refs = arena_copy(&s->rig.arena, refs, count * sizeof *refs);
    m->value.ref_count = count;
    m->payload = bytes_of(arena_copy(&s->rig.arena, &word, 8), 8);
    rig_settle(&s->rig);
}

static void says_failure(struct scene *s, struct object_id id, int code)
{
    struct peer_msg *m = rig_peer_message(&s->rig, id.node, SIDE_OUT, PEER_VALUE);
    struct buffer b = {0};
    struct failure f;

    failure_set(&f, code, "as the test wanted");
    failure_encode(&f, &b);
    m->value.id = id;
    m->value.state = VALUE_ERROR;
    m->payload = bytes_of(arena_copy(&s->rig.arena, b.data, b.size), b.size);
    buffer_fini(&b);
    rig_settle(&s->rig);
}

/* From the other side: what it wants of us. */
static void asks(struct scene *s, uint32_t peer, enum peer_type type, struct object_id id)
{
    struct peer_msg *m = rig_peer_message(&s->rig, peer, SIDE_IN, type);
    const struct object_id *ids = arena_copy(&s->rig.arena, &id, sizeof id);

    if (type == PEER_ADD) {
        m->add.job = the_job(s)->number;
        m->add.ids = ids;
        m->add.id_count = 1;
    } else {
        m->ids.ids = ids;
        m->ids.id_count = 1;
    }
    rig_settle(&s->rig);
}

static const struct peer_msg *said(struct scene *s, uint32_t peer, enum peer_side side,
                                   enum peer_type type)
{
    return rig_sent(&s->rig, peer, side, type);
}

static void assert_ids(const struct peer_msg *m, struct object_id id)
{
    assert_non_null(m);
    const struct object_id *ids = m->type == PEER_ADD ? m->add.ids : m->ids.ids;
    size_t count = m->type == PEER_ADD ? m->add.id_count : m->ids.id_count;
    assert_int_equal(count, 1);
    assert_true(object_id_equal(ids[0], id));
}

static uint64_t objects(struct scene *s)
{
    struct raylet_counts counts;

    raylet_core_count(s->rig.core, &counts);
    return counts.objects;
}

/* Held by the driver, its owner says so; the session is up. */
static void borrow_added(struct scene *s, struct object_id id)
{
    borrow(s, id);
    if (said(s, id.node, SIDE_OUT, PEER_ADD) == NULL) {
        up(s, id.node, SIDE_OUT);
        assert_non_null(said(s, id.node, SIDE_OUT, PEER_ADD));
    }
    says_added(s, id, true);
}

/* ---- the borrower ---- */

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
    rig_hold(&s->rig, s->driver, theirs(1));
    rig_settle(&s->rig);
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

    securing_init(&w, 1);
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

    securing_init(w, 1);
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
    securing_init(&w, 1);
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
    rig_get(&s->rig, s->driver, theirs(1));
    rig_settle(&s->rig);
    release(s, theirs(1));
    assert_int_equal(code_of(&s->rig, theirs(1)), CODE_NOT_FOUND); /* the wait ended with it */
    says_value(s, theirs(1), 7, &inside, 1);
    says_added(s, theirs(1), true);
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

    securing_init(&w, 1);
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
    securing_init(&w, 1);
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
        rig_return_alias(&s->rig, w, object_id_equal(w->current.task, id) ? theirs(1) : id);
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
    says_value(s, theirs(1), 55, NULL, 0);
    assert_int_equal(rig_value(&s->rig, chain)->value, 55);
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

/* ---- inside values ---- */

static void a_value_holds_what_is_inside_until_it_goes(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id inner = rig_put(&s->rig, s->driver, 5);
    struct object_id outer = rig_put_holding(&s->rig, s->driver, 6, &inner, 1);

    release(s, inner);
    assert_non_null(find(s, inner));
    rig_hold_through(&s->rig, s->driver, inner, outer);
    release(s, outer);
    assert_null(find(s, outer));
    rig_get(&s->rig, s->driver, inner);
    rig_settle(&s->rig);
    assert_int_equal(value_of(&s->rig, inner), 5);
    release(s, inner);
    assert_int_equal(objects(s), 0);
    end(s);
}

static void a_result_holds_what_its_worker_put_inside(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id =
        rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = s->f, .returns = 2});

    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    struct object_id made[2] = {rig_put(&s->rig, w, 41), rig_put(&s->rig, w, 42)};
    struct object_id nothing = {s->rig.node, w->client, 99};
    struct object_id second[2] = {nothing, made[1]};
    struct rig_return returns[2] = {{.value = 1, .refs = &made[0], .ref_count = 1},
                                    {.value = 2, .refs = second, .ref_count = 2}};
    rig_return_these(&s->rig, w, returns, 2);
    rig_release(&s->rig, w, made[0]);
    rig_release(&s->rig, w, made[1]);
    rig_settle(&s->rig);
    rig_crash(&s->rig, w, 9); /* what it made outlives it */
    rig_settle(&s->rig);
    rig_hold_through(&s->rig, s->driver, made[1],
                     (struct object_id){id.node, id.client, id.number + 1});
    rig_get(&s->rig, s->driver, made[1]);
    rig_settle(&s->rig);
    assert_int_equal(value_of(&s->rig, made[1]), 42);
    release(s, id);
    assert_null(find(s, made[0]));
    release(s, made[1]);
    assert_non_null(find(s, made[1]));
    release(s, (struct object_id){id.node, id.client, id.number + 1});
    assert_int_equal(objects(s), 0);
    end(s);
}

static void a_result_that_is_a_small_container_keeps_what_is_inside(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id inner = rig_put(&s->rig, s->driver, 5);
    struct object_id outer = rig_put_holding(&s->rig, s->driver, 6, &inner, 1);
    struct object_id id = submit(s, 0);

    release(s, inner);
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    rig_return_alias(&s->rig, w, outer);
    rig_settle(&s->rig);
    release(s, outer);
    assert_non_null(find(s, inner));
    release(s, id);
    assert_int_equal(objects(s), 0);
    end(s);
}

static void a_long_chain_of_containers_goes_in_steps(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id last = rig_put(&s->rig, s->driver, 1);

    s->rig.check = false;
    for (int i = 0; i < 20000; i++) {
        struct object_id outer = rig_put_holding(&s->rig, s->driver, 2, &last, 1);
        rig_release(&s->rig, s->driver, last);
        last = outer;
        if (i % 200 == 199) {
            rig_settle(&s->rig);
        }
    }
    rig_settle(&s->rig);
    assert_int_equal(objects(s), 20001);
    release(s, last);
    assert_int_equal(objects(s), 0);
    end(s);
}

static void containers_that_hold_each_other_go_with_their_job(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id a = submit(s, 0), b = submit(s, 0);

    rig_settle(&s->rig);
    for (int i = 0; i < 2; i++) {
        struct rig_process *w = rig_ready_worker(&s->rig);
        assert_true(rig_claim(&s->rig, w));
        struct object_id other = object_id_equal(w->current.task, a) ? b : a;
        struct rig_return r = {.value = 1, .refs = &other, .ref_count = 1};
        rig_return_these(&s->rig, w, &r, 1);
        rig_settle(&s->rig);
    }
    release(s, a);
    release(s, b);
    assert_int_equal(objects(s), 2);
    rig_driver_end(&s->rig, s->driver, true);
    rig_settle(&s->rig);
    assert_int_equal(objects(s), 0);
    assert_int_equal(s->rig.job_ends, 1);
    end(s);
}

static void a_container_elsewhere_covers_what_is_inside(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id inside[3] = {others(1), others(2), rig_put(&s->rig, s->driver, 5)};

    borrow_added(s, theirs(1));
    up(s, OTHER, SIDE_OUT);
    rig_get(&s->rig, s->driver, theirs(1));
    rig_settle(&s->rig);
    says_value(s, theirs(1), 7, inside, 3);
    release(s, inside[2]);
    assert_non_null(find(s, inside[2])); /* ours, held by the value that is here */
    assert_null(said(s, OTHER, SIDE_OUT, PEER_ADD));

    rig_hold_through(&s->rig, s->driver, inside[0], theirs(1));
    rig_settle(&s->rig);
    assert_ids(said(s, OTHER, SIDE_OUT, PEER_ADD), inside[0]);
    release(s, theirs(1));
    assert_null(said(s, THEM, SIDE_OUT, PEER_DROP)); /* it covers until ADDED */
    says_added(s, inside[0], true);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_DROP), theirs(1));
    assert_null(find(s, inside[1]));
    assert_null(find(s, inside[2]));
    assert_null(said(s, OTHER, SIDE_OUT, PEER_DROP));
    release(s, inside[0]);
    assert_ids(said(s, OTHER, SIDE_OUT, PEER_DROP), inside[0]);
    end(s);
}

static void what_a_task_took_from_inside_is_added_before_the_container_goes(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id inside = others(1);
    struct object *outer = take(s, theirs(1));

    foreign_cover(s->rig.core, outer); /* the argument of a guest */
    rig_settle(&s->rig);
    up(s, THEM, SIDE_OUT);
    up(s, OTHER, SIDE_OUT);
    rig_get(&s->rig, s->driver, theirs(1));
    rig_settle(&s->rig);
    says_value(s, theirs(1), 7, &inside, 1);
    assert_false(foreign_needs_more(s->rig.core, outer));
    struct object *o = take(s, inside);
    assert_true(foreign_needs_more(s->rig.core, outer)); /* through what is inside */
    struct securing w;
    securing_init(&w, 1);
    foreign_secure(s->rig.core, &w, outer);
    rig_settle(&s->rig);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_ADD), theirs(1));
    says_added(s, theirs(1), true);
    assert_int_equal(w.missing, 0);
    list_unlink(&w.link);
    foreign_uncover(s->rig.core, outer);
    rig_settle(&s->rig);
    assert_ids(said(s, OTHER, SIDE_OUT, PEER_ADD), inside);
    assert_null(said(s, THEM, SIDE_OUT, PEER_DROP));
    says_added(s, inside, true);
    assert_ids(said(s, THEM, SIDE_OUT, PEER_DROP), theirs(1));
    give(s, o);
    end(s);
}

static void a_container_whose_owner_dies_covers_no_more(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id inside[2] = {others(1), theirs(2)};

    borrow_added(s, theirs(1));
    up(s, OTHER, SIDE_OUT);
    rig_get(&s->rig, s->driver, theirs(1));
    rig_settle(&s->rig);
    says_value(s, theirs(1), 7, inside, 2);
    dies(s, THEM);
    assert_ids(said(s, OTHER, SIDE_OUT, PEER_ADD), inside[0]); /* for itself now */
    assert_int_equal(find(s, inside[1])->state, OBJECT_ERROR);
    release(s, theirs(1));
    assert_ids(said(s, OTHER, SIDE_OUT, PEER_DROP), inside[0]);
    assert_int_equal(objects(s), 0);
    end(s);
}

static void a_value_is_told_with_what_is_inside(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object *far = take(s, theirs(1));
    struct object_id inner[2] = {rig_put(&s->rig, s->driver, 5), theirs(1)};
    struct object_id outer = rig_put_holding(&s->rig, s->driver, 6, inner, 2);

    up(s, OTHER, SIDE_IN);
    asks(s, OTHER, PEER_ADD, outer);
    asks(s, OTHER, PEER_WANT, outer);
    const struct peer_msg *m = said(s, OTHER, SIDE_IN, PEER_VALUE);
    assert_non_null(m);
    assert_int_equal(m->value.ref_count, 2);
    assert_true(object_id_equal(m->value.refs[0], inner[0]));
    assert_true(object_id_equal(m->value.refs[1], inner[1]));
    give(s, far);
    release(s, inner[0]);
    release(s, outer);
    assert_non_null(find(s, inner[1])); /* the container holds it, the other node the container */
    asks(s, OTHER, PEER_DROP, outer);
    assert_int_equal(objects(s), 0);
    end(s);
}

/* ---- much ---- */

struct tally {
    uint32_t adds, ids, drops, firsts, lasts;
};

static void count_sent(void *arg, uint32_t peer, enum peer_side side, const struct peer_msg *m)
{
    struct tally *t = arg;

    assert_true(m->type != PEER_ADD || m->add.id_count <= PEER_LIST_MAX);
    t->adds += m->type == PEER_ADD;
    t->ids += m->type == PEER_ADD ? (uint32_t)m->add.id_count : 0;
    t->firsts += m->type == PEER_ADD && m->add.first;
    t->lasts += m->type == PEER_ADD && m->add.last;
    t->drops += m->type == PEER_DROP ? (uint32_t)m->ids.id_count : 0;
}

static void many_references_go_in_bounded_steps(void **state)
{
    enum { MANY = 10000 };
    struct scene *s = begin_among_nodes();
    struct object **all = xcalloc(MANY, sizeof(struct object *));
    struct tally t = {0};

    s->rig.hooks.arg = &t;
    s->rig.hooks.on_peer_send = count_sent;
    for (uint32_t i = 0; i < MANY; i++) {
        all[i] = take(s, theirs(i + 1));
    }
    rig_settle(&s->rig);
    up(s, THEM, SIDE_OUT);
    assert_int_equal(t.ids, MANY);
    assert_int_equal(t.adds, 3);
    down(s, THEM, SIDE_OUT);
    t = (struct tally){0};
    up(s, THEM, SIDE_OUT);
    assert_int_equal(t.ids, MANY);
    assert_int_equal(t.firsts, 1);
    assert_int_equal(t.lasts, 1);
    for (uint32_t i = 0; i < MANY / 2; i++) {
        object_unhold(s->rig.core, all[i]);
    }
    rig_settle(&s->rig);
    assert_int_equal(t.drops, MANY / 2);
    dies(s, THEM);
    for (uint32_t i = MANY / 2; i < MANY; i++) {
        assert_int_equal(all[i]->state, OBJECT_ERROR);
        object_unhold(s->rig.core, all[i]);
    }
    rig_settle(&s->rig);
    assert_int_equal(objects(s), 0);
    free(all);
    end(s);
}

/* ---- what each rule is for ---- */

static void without_silence_holds_a_cut_loses_what_is_held(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id id = rig_put(&s->rig, s->driver, 5);

    s->rig.core->rules_off = RULE_SILENCE_HOLDS;
    up(s, THEM, SIDE_IN);
    asks(s, THEM, PEER_ADD, id);
    release(s, id);
    down(s, THEM, SIDE_IN);
    assert_null(find(s, id));
    end(s);
}

static void without_the_list_a_drop_that_was_lost_is_never_said(void **state)
{
    struct scene *s = begin_among_nodes();

    s->rig.core->rules_off = RULE_LIST_AGAIN;
    borrow_added(s, theirs(1));
    down(s, THEM, SIDE_OUT);
    release(s, theirs(1));
    up(s, THEM, SIDE_OUT);
    assert_null(said(s, THEM, SIDE_OUT, PEER_ADD));
    assert_null(said(s, THEM, SIDE_OUT, PEER_DROP));
    end(s);
}

static void without_owner_lost_a_wait_never_ends(void **state)
{
    struct scene *s = begin_among_nodes();

    s->rig.core->rules_off = RULE_OWNER_LOST;
    borrow_added(s, theirs(1));
    rig_get(&s->rig, s->driver, theirs(1));
    rig_settle(&s->rig);
    dies(s, THEM);
    rig_pass(&s->rig, 60 * NS_PER_S);
    assert_null(rig_value(&s->rig, theirs(1)));
    end(s);
}

static void without_unreachable_a_wait_lasts_as_long_as_the_silence(void **state)
{
    struct scene *s = begin_among_nodes();

    s->rig.core->rules_off = RULE_UNREACHABLE;
    borrow_added(s, theirs(1));
    rig_get(&s->rig, s->driver, theirs(1));
    down(s, THEM, SIDE_OUT);
    rig_pass(&s->rig, 60 * NS_PER_S);
    assert_null(rig_value(&s->rig, theirs(1)));
    end(s);
}

static void without_add_first_nobody_waits_for_the_answer(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object *o = take(s, theirs(1));
    struct securing w;

    s->rig.core->rules_off = RULE_ADD_FIRST;
    securing_init(&w, 1);
    foreign_secure(s->rig.core, &w, o);
    assert_int_equal(w.missing, 0);
    give(s, o);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_held_is_added_wanted_once_and_dropped),
        cmocka_unit_test(a_cover_sends_nothing_until_it_ends_before_the_need),
        cmocka_unit_test(what_was_only_covered_goes_without_a_word),
        cmocka_unit_test(a_process_that_holds_what_is_covered_makes_its_owner_know),
        cmocka_unit_test(who_must_be_secure_waits_for_each_answer),
        cmocka_unit_test(who_needs_no_more_security_is_forgotten),
        cmocka_unit_test(the_answer_to_a_former_add_secures_nothing),
        cmocka_unit_test(a_value_that_crosses_a_drop_is_ignored),
        cmocka_unit_test(gone_ends_the_wait),
        cmocka_unit_test(a_failure_settles_it_as_well),
        cmocka_unit_test(a_new_session_begins_with_all_that_is_held),
        cmocka_unit_test(an_answer_of_a_former_session_is_not_one_of_this),
        cmocka_unit_test(what_is_released_without_a_session_opens_one_to_say_so),
        cmocka_unit_test(an_owner_that_dies_is_lost_whatever_was_asked_of_it),
        cmocka_unit_test(a_wait_for_a_silent_owner_ends),
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
        cmocka_unit_test(a_value_holds_what_is_inside_until_it_goes),
        cmocka_unit_test(a_result_holds_what_its_worker_put_inside),
        cmocka_unit_test(a_result_that_is_a_small_container_keeps_what_is_inside),
        cmocka_unit_test(a_long_chain_of_containers_goes_in_steps),
        cmocka_unit_test(containers_that_hold_each_other_go_with_their_job),
        cmocka_unit_test(a_container_elsewhere_covers_what_is_inside),
        cmocka_unit_test(what_a_task_took_from_inside_is_added_before_the_container_goes),
        cmocka_unit_test(a_container_whose_owner_dies_covers_no_more),
        cmocka_unit_test(a_value_is_told_with_what_is_inside),
        cmocka_unit_test(many_references_go_in_bounded_steps),
        cmocka_unit_test(without_silence_holds_a_cut_loses_what_is_held),
        cmocka_unit_test(without_the_list_a_drop_that_was_lost_is_never_said),
        cmocka_unit_test(without_owner_lost_a_wait_never_ends),
        cmocka_unit_test(without_unreachable_a_wait_lasts_as_long_as_the_silence),
        cmocka_unit_test(without_add_first_nobody_waits_for_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
