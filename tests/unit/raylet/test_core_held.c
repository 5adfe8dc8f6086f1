/* What a process may name: what it holds, and nothing else of its job. Timelines of one raylet. */
#include "tests/unit/raylet/between_scene.h"

/* A worker that has begun a task with these references among its arguments. */
static struct rig_process *with_refs(struct scene *s, const struct object_id *refs, size_t count)
{
    rig_submit(&s->rig, s->driver,
               (struct rig_task){.class_number = s->f, .refs = refs, .ref_count = count});
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_non_null(w);
    assert_true(rig_claim(&s->rig, w));
    return w;
}

static uint32_t asked(struct scene *s, struct rig_process *p, struct object_id id)
{
    struct rig_value *v;

    HASH_FIND(hh, s->rig.values, &id, sizeof id, v);
    if (v != NULL) {
        v->answers = 0;
    }
    rig_get(&s->rig, p, id);
    rig_settle(&s->rig);
    return code_of(&s->rig, id);
}

static void what_another_process_of_the_job_holds_is_not_served(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id mine = rig_put(&s->rig, s->driver, 5);
    struct rig_process *w = with_refs(s, NULL, 0);

    rig_hold(&s->rig, w, mine);
    assert_int_equal(asked(s, w, mine), CODE_NOT_FOUND);
    rig_cancel(&s->rig, w, mine, CANCEL_ASK);
    rig_settle(&s->rig);
    assert_int_equal(w->cancelled_code, CODE_NOT_FOUND);
    rig_release(&s->rig, w, mine);
    assert_int_equal(asked(s, s->driver, mine), 0);

    uint32_t k = rig_class(&s->rig, w, "child", ONE_CPU);
    struct object_id need = rig_submit(
        &s->rig, w, (struct rig_task){.class_number = k, .needs = &mine, .need_count = 1});
    struct object_id ref =
        rig_submit(&s->rig, w, (struct rig_task){.class_number = k, .refs = &mine, .ref_count = 1});
    struct object_id outer = rig_put_holding(&s->rig, w, 6, &mine, 1);
    assert_int_equal(asked(s, w, need), CODE_NOT_FOUND);
    assert_int_equal(asked(s, w, ref), CODE_NOT_FOUND);
    assert_int_equal(asked(s, w, outer), CODE_NOT_FOUND);
    end(s);
}

static void what_its_worker_does_not_hold_is_not_returned(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id mine = rig_put(&s->rig, s->driver, 5);
    struct rig_process *w = with_refs(s, NULL, 0);
    struct object_id alias = w->current.task;

    rig_get(&s->rig, s->driver, alias);
    rig_return_alias(&s->rig, w, mine);
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, alias), CODE_NOT_FOUND);
    w = with_refs(s, NULL, 0);
    struct object_id inside = w->current.task;
    struct rig_return r = {.value = 1, .refs = &mine, .ref_count = 1};
    rig_get(&s->rig, s->driver, inside);
    rig_return_these(&s->rig, w, &r, 1);
    rig_settle(&s->rig);
    assert_int_equal(code_of(&s->rig, inside), CODE_NOT_FOUND);
    end(s);
}

static void what_was_released_is_not_served_though_something_keeps_it(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id mine = rig_put(&s->rig, s->driver, 5);
    struct rig_process *w = with_refs(s, &mine, 1);

    release(s, mine);
    rig_hold(&s->rig, s->driver, mine);
    assert_int_equal(asked(s, s->driver, mine), CODE_NOT_FOUND);
    assert_int_equal(asked(s, w, mine), 0);
    rig_hold(&s->rig, w, mine);
    rig_return(&s->rig, w, 1);
    assert_int_equal(asked(s, w, mine), 0); /* a hold of its own */
    rig_release(&s->rig, w, mine);
    assert_int_equal(asked(s, w, mine), CODE_NOT_FOUND);
    end(s);
}

static void arguments_are_held_while_their_task_is_placed(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id inner = rig_put(&s->rig, s->driver, 5);
    struct object_id outer = rig_put_holding(&s->rig, s->driver, 6, &inner, 1);
    struct object_id ref = rig_put(&s->rig, s->driver, 7);
    struct object_id other = rig_put(&s->rig, s->driver, 8);

    rig_submit(
        &s->rig, s->driver,
        (struct rig_task){
            .class_number = s->f, .needs = &outer, .need_count = 1, .refs = &ref, .ref_count = 1});
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    assert_int_equal(asked(s, w, ref), 0);
    assert_int_equal(asked(s, w, inner), 0);
    assert_int_equal(asked(s, w, outer), 0);
    assert_int_equal(asked(s, w, other), CODE_NOT_FOUND);
    struct rig_return r = {.value = 1, .refs = &inner, .ref_count = 1};
    struct object_id result = w->current.task;
    rig_return_these(&s->rig, w, &r, 1);
    rig_settle(&s->rig);
    assert_int_equal(asked(s, s->driver, result), 0);
    assert_int_equal(asked(s, w, ref), CODE_NOT_FOUND);
    assert_int_equal(asked(s, w, inner), CODE_NOT_FOUND);
    assert_int_equal(asked(s, w, outer), CODE_NOT_FOUND);
    end(s);
}

static void only_what_is_inside_is_taken_through_a_value_that_is_held(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id inner = rig_put(&s->rig, s->driver, 5);
    struct object_id outer = rig_put_holding(&s->rig, s->driver, 6, &inner, 1);
    struct object_id other = rig_put(&s->rig, s->driver, 7);
    struct rig_process *w = with_refs(s, &outer, 1), *v = with_refs(s, NULL, 0);

    assert_ptr_not_equal(v, w);
    rig_hold_through(&s->rig, v, inner, outer); /* does not hold the container */
    assert_int_equal(asked(s, v, inner), CODE_NOT_FOUND);
    assert_int_equal(asked(s, w, inner), CODE_NOT_FOUND); /* not yet taken */
    rig_hold_through(&s->rig, w, inner, outer);
    rig_hold_through(&s->rig, w, other, outer);
    assert_int_equal(asked(s, w, inner), 0);
    assert_int_equal(asked(s, w, other), CODE_NOT_FOUND);
    end(s);
}

static void a_guest_holds_its_arguments_while_it_runs(void **state)
{
    struct scene *s = begin_as_executor();
    struct object_id ref = others(1);

    asks_for(s, THEM, 1, 1);
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_RUN);
    m->run.run = 1;
    m->run.number = 1;
    m->run.attempt = 1;
    m->run.returns = 1;
    m->run.task = theirs(900);
    m->run.name = "";
    m->run.refs = &ref;
    m->run.ref_count = 1;
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_non_null(w);
    assert_true(rig_claim(&s->rig, w));
    up(s, OTHER, SIDE_OUT);
    rig_get(&s->rig, w, ref);
    rig_settle(&s->rig);
    assert_ids(said(s, OTHER, SIDE_OUT, PEER_WANT), ref);
    says_value(s, ref, 77, NULL, 0);
    assert_int_equal(value_of(&s->rig, ref), 77);
    struct rig_return r = {.value = 1, .refs = &ref, .ref_count = 1};
    rig_return_these(&s->rig, w, &r, 1);
    assert_int_equal(asked(s, w, ref), CODE_NOT_FOUND);
    const struct peer_msg *result = said(s, THEM, SIDE_IN, PEER_RESULT);
    assert_non_null(result);
    assert_int_equal(result->result.kind, PEER_RESULT_VALUES);
    assert_int_equal(result->result.ref_count, 1);
    end(s);
}

static void a_guest_returns_only_what_its_worker_holds(void **state)
{
    struct scene *s = begin_as_executor();
    struct object *o;

    asks_for(s, THEM, 1, 1);
    runs(s, THEM, 1, 1);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_non_null(w);
    assert_true(rig_claim(&s->rig, w));
    struct worker *worker = list_entry(list_first(&s->rig.core->workers), struct worker, link);
    o = foreign_object(s->rig.core, worker->job, others(1)); /* something of its job is here */
    assert_non_null(o);
    rig_return_alias(&s->rig, w, others(1));
    rig_settle(&s->rig);
    const struct peer_msg *result = said(s, THEM, SIDE_IN, PEER_RESULT);
    assert_non_null(result);
    assert_int_equal(result->result.kind, PEER_RESULT_FAILED);
    assert_int_equal(result->result.failure.code, CODE_NOT_FOUND);
    give(s, o);
    end(s);
}

/* Looking for each of them among all would take as long as both together. */
static void many_arguments_are_taken_one_by_one(void **state)
{
    struct scene *s = begin_among_nodes();
    struct object_id *refs = xcalloc(LOCAL_ARGS_MAX, sizeof *refs);

    s->rig.check = false;
    for (uint32_t i = 0; i < LOCAL_ARGS_MAX; i++) {
        refs[i] = rig_put(&s->rig, s->driver, i);
        if (i % 200 == 199) {
            rig_settle(&s->rig);
        }
    }
    struct object_id outer = rig_put_holding(&s->rig, s->driver, 6, refs, LOCAL_ARGS_MAX);
    struct rig_process *w = with_refs(s, refs, LOCAL_ARGS_MAX), *v = with_refs(s, &outer, 1);
    assert_ptr_not_equal(v, w);
    for (uint32_t i = 0; i < LOCAL_ARGS_MAX; i++) {
        rig_hold(&s->rig, w, refs[i]);
        rig_hold_through(&s->rig, v, refs[i], outer);
        if (i % 100 == 99) {
            rig_settle(&s->rig);
        }
    }
    rig_settle(&s->rig);
    assert_int_equal(HASH_COUNT(core_client(s->rig.core, w->client)->holds), LOCAL_ARGS_MAX);
    assert_int_equal(HASH_COUNT(core_client(s->rig.core, v->client)->holds), LOCAL_ARGS_MAX);
    free(refs);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_another_process_of_the_job_holds_is_not_served),
        cmocka_unit_test(what_its_worker_does_not_hold_is_not_returned),
        cmocka_unit_test(what_was_released_is_not_served_though_something_keeps_it),
        cmocka_unit_test(arguments_are_held_while_their_task_is_placed),
        cmocka_unit_test(only_what_is_inside_is_taken_through_a_value_that_is_held),
        cmocka_unit_test(a_guest_holds_its_arguments_while_it_runs),
        cmocka_unit_test(a_guest_returns_only_what_its_worker_holds),
        cmocka_unit_test(many_arguments_are_taken_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
