/* Inherited priorities: what a task of a higher priority waits for comes before others. */
#include "tests/unit/raylet/between_scene.h"

#define LOW    (-5)
#define NORMAL 0
#define HIGH   10

static uint32_t class_of(struct scene *s, struct rig_process *p, const char *name, int priority)
{
    return rig_class(&s->rig, p, name,
                     (struct rig_class){.cpus_x10000 = 20000, .priority = priority});
}

static struct object_id add(struct scene *s, uint32_t class_number, uint64_t payload,
                            const struct object_id *need)
{
    return rig_submit(&s->rig, s->driver,
                      (struct rig_task){.class_number = class_number,
                                        .payload = payload,
                                        .needs = need,
                                        .need_count = need != NULL});
}

/* Both CPUs are taken until this body returns; what is submitted meanwhile waits. */
static struct rig_process *busy(struct scene *s)
{
    add(s, class_of(s, s->driver, "busy", NORMAL), 0, NULL);
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    return w;
}

/* The one that runs ends; which task is next? Its payload. */
static uint64_t next(struct scene *s, struct rig_process **w)
{
    rig_return(&s->rig, *w, 1);
    rig_settle(&s->rig);
    *w = rig_ready_worker(&s->rig);
    assert_non_null(*w);
    assert_true(rig_claim(&s->rig, *w));
    return (*w)->current.payload;
}

static void what_a_higher_one_needs_comes_first(void **state)
{
    struct scene *s = begin();
    struct rig_process *w = busy(s);
    uint32_t low = class_of(s, s->driver, "low", LOW);
    uint32_t normal = class_of(s, s->driver, "normal", NORMAL);
    uint32_t high = class_of(s, s->driver, "high", HIGH);
    struct object_id first = add(s, low, 1, NULL), second = add(s, low, 2, &first);

    add(s, low, 77, NULL); /* nobody needs it */
    for (uint64_t i = 0; i < 5; i++) {
        add(s, normal, 100 + i, NULL);
    }
    rig_settle(&s->rig);
    struct object_id top = add(s, high, 3, &second);
    rig_get(&s->rig, s->driver, top);
    rig_settle(&s->rig);
    char text[ID_TEXT_SIZE];
    rig_query(&s->rig, rig_tool(&s->rig),
              (struct state_query){.kind = STATE_EXPLAIN, .id = object_id_format(first, text)});
    assert_non_null(strstr(s->rig.reply_line, "priority 10, that of a task that waits for it"));
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(next(s, &w), i);
    }
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(next(s, &w), 100 + i);
    }
    assert_int_equal(next(s, &w), 77);
    end(s);
}

static void when_the_need_goes_the_priority_does(void **state)
{
    struct scene *s = begin();
    struct rig_process *w = busy(s);
    uint32_t low = class_of(s, s->driver, "low", LOW);
    uint32_t normal = class_of(s, s->driver, "normal", NORMAL);
    uint32_t high = class_of(s, s->driver, "high", HIGH);
    uint32_t higher = class_of(s, s->driver, "higher", HIGH + 1);
    struct object_id first = add(s, low, 1, NULL), second = add(s, low, 2, &first);
    struct object_id other = add(s, low, 3, NULL);

    add(s, normal, 100, NULL);
    struct object_id top = add(s, high, 4, &second), both = add(s, higher, 5, &other);
    struct object_id still = add(s, high, 6, &other);
    rig_settle(&s->rig);
    rig_cancel(&s->rig, s->driver, top, 0);
    rig_cancel(&s->rig, s->driver, both, 0);
    rig_settle(&s->rig);
    assert_int_equal(next(s, &w), 3); /* one of priority 10 still needs it */
    assert_int_equal(next(s, &w), 6);
    assert_int_equal(next(s, &w), 100);
    assert_int_equal(next(s, &w), 1);
    assert_int_equal(next(s, &w), 2);
    (void)still;
    end(s);
}

static void what_a_body_waits_for_comes_first(void **state)
{
    struct scene *s = begin();
    uint32_t high = class_of(s, s->driver, "high", HIGH);
    uint32_t normal = class_of(s, s->driver, "normal", NORMAL);

    add(s, high, 1, NULL);
    rig_settle(&s->rig);
    struct rig_process *body = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, body));
    for (uint64_t i = 0; i < 3; i++) {
        add(s, normal, 100 + i, NULL);
    }
    uint32_t g = class_of(s, body, "child", LOW);
    struct object_id child = rig_submit(
        &s->rig, body,
        (struct rig_task){
            .class_number = g, .payload = 7, .parent_slot = 1 + claim_index(body->current.slot)});
    rig_get(&s->rig, body, child);
    rig_blocked(&s->rig, body, &child, 1);
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    assert_int_equal(w->current.payload, 7);
    end(s);
}

/* A body of priority -5 waits for its child; then one of priority 10 needs what the body makes. */
static void what_a_body_waits_for_is_lifted_with_it(void **state)
{
    struct scene *s = begin();
    uint32_t low = class_of(s, s->driver, "low", LOW), high = class_of(s, s->driver, "high", HIGH);
    uint32_t normal = class_of(s, s->driver, "normal", NORMAL);
    struct object_id made = add(s, low, 1, NULL);

    rig_settle(&s->rig);
    struct rig_process *body = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, body));
    add(s, normal, 99, NULL);
    rig_settle(&s->rig);
    uint32_t g = class_of(s, body, "child", LOW);
    struct object_id child = rig_submit(
        &s->rig, body,
        (struct rig_task){
            .class_number = g, .payload = 7, .parent_slot = 1 + claim_index(body->current.slot)});
    rig_get(&s->rig, body, child);
    rig_blocked(&s->rig, body, &child, 1);
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig); /* its CPUs went to the normal one */
    assert_true(rig_claim(&s->rig, w));
    assert_int_equal(w->current.payload, 99);
    add(s, normal, 100, NULL);
    add(s, high, 8, &made);
    rig_settle(&s->rig);
    assert_int_equal(next(s, &w), 7);
    end(s);
}

static void what_runs_elsewhere_is_told(void **state)
{
    struct scene *s = begin_as_home(2, 0);
    struct rig_class there = AT_THEM;

    there.priority = LOW;
    uint32_t low = declare(s, "low", there), high = class_of(s, s->driver, "high", HIGH);
    struct object_id sent = submit_to(s, (struct rig_task){.class_number = low});
    up(s, THEM, SIDE_OUT);
    uint32_t number = said(s, THEM, SIDE_OUT, PEER_CLASS)->class_.number;
    grants(s, THEM, number, 1);
    uint64_t run = said(s, THEM, SIDE_OUT, PEER_RUN)->run.run;
    add(s, high, 1, &sent);
    rig_settle(&s->rig);
    const struct peer_msg *m = said(s, THEM, SIDE_OUT, PEER_LIFT);
    assert_int_equal(m->lift.run, run);
    assert_int_equal(m->lift.priority, HIGH);
    /* It comes back and is sent again: in a class of that priority. */
    says_back(s, THEM, run, PEER_BACK_BUSY);
    rig_pass(&s->rig, 10 * NS_PER_MS);
    m = said(s, THEM, SIDE_OUT, PEER_CLASS);
    assert_int_equal(m->class_.priority, HIGH);
    end(s);
}

static void what_another_node_waits_for_is_lifted(void **state)
{
    struct scene *s = begin_as_home(0, 0);
    struct rig_process *w = busy(s);
    uint32_t low = class_of(s, s->driver, "low", LOW);
    uint32_t normal = class_of(s, s->driver, "normal", NORMAL);
    struct object_id made = add(s, low, 1, NULL);

    add(s, normal, 100, NULL);
    up(s, THEM, SIDE_IN);
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_LIFT);
    m->lift.id = made;
    m->lift.priority = HIGH;
    rig_settle(&s->rig);
    assert_int_equal(next(s, &w), 1);
    assert_int_equal(next(s, &w), 100);
    end(s);
}

static void a_guests_body_lifts_what_it_waits_for(void **state)
{
    struct scene *s = begin_as_executor();

    asks_for(s, THEM, 1, 1);
    assert_int_equal(count_said(s, THEM, SIDE_IN, PEER_GRANT), 1);
    runs(s, THEM, 1, 5);
    struct rig_process *body = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, body));
    uint32_t g = class_of(s, body, "child", LOW);
    struct object_id child = rig_submit(
        &s->rig, body,
        (struct rig_task){
            .class_number = g, .payload = 7, .parent_slot = 1 + claim_index(body->current.slot)});
    add(s, class_of(s, s->driver, "one", 2), 50, NULL); /* takes both CPUs first */
    rig_get(&s->rig, body, child);
    rig_blocked(&s->rig, body, &child, 1);
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    assert_int_equal(w->current.payload, 50);
    add(s, class_of(s, s->driver, "two", 3), 60, NULL);
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_LIFT);
    m->lift.run = 5;
    m->lift.priority = HIGH;
    rig_settle(&s->rig);
    assert_int_equal(next(s, &w), 7);
    end(s);
}

static void what_a_need_of_another_nodes_object_says(void **state)
{
    struct scene *s = begin_among_nodes();
    uint32_t high = class_of(s, s->driver, "high", HIGH);
    struct object_id theirs_ = theirs(5);

    borrow(s, theirs_);
    add(s, high, 1, &theirs_);
    rig_settle(&s->rig);
    assert_null(said(s, THEM, SIDE_OUT, PEER_LIFT)); /* there is no session yet */
    up(s, THEM, SIDE_OUT);
    rig_pass(&s->rig, 100 * NS_PER_MS);
    const struct peer_msg *m = said(s, THEM, SIDE_OUT, PEER_LIFT);
    assert_non_null(m);
    assert_true(object_id_equal(m->lift.id, theirs_));
    assert_int_equal(m->lift.priority, HIGH);
    end(s);
}

/* Each that goes asks who still waits, of all others: were that done for each of them, their number
 * squared would be looked at, while nothing else goes on. */
static void of_many_that_go_at_once_few_ask(void **state)
{
    struct scene *s = begin();
    (void)busy(s);
    uint32_t low = class_of(s, s->driver, "low", LOW), high = class_of(s, s->driver, "high", HIGH);
    struct object_id first = add(s, low, 1, NULL), second = add(s, low, 2, NULL);

    for (uint64_t i = 0; i < 3 * WORK_STEP; i++) {
        add(s, high, i, i % 2 == 0 ? &first : &second);
        if (i % 64 == 0) {
            rig_settle(&s->rig);
        }
    }
    rig_settle(&s->rig);
    rig_driver_end(&s->rig, s->driver, true);
    rig_settle(&s->rig);
    assert_in_range(s->rig.core->lifts.room, 1, 256); /* as many as ever waited to be looked at */
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_higher_one_needs_comes_first),
        cmocka_unit_test(when_the_need_goes_the_priority_does),
        cmocka_unit_test(what_a_body_waits_for_comes_first),
        cmocka_unit_test(what_a_body_waits_for_is_lifted_with_it),
        cmocka_unit_test(what_runs_elsewhere_is_told),
        cmocka_unit_test(what_another_node_waits_for_is_lifted),
        cmocka_unit_test(a_guests_body_lifts_what_it_waits_for),
        cmocka_unit_test(what_a_need_of_another_nodes_object_says),
        cmocka_unit_test(of_many_that_go_at_once_few_ask),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
