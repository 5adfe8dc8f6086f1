/*
 * Waits that can never end, as timelines: a task of ours lacks an "x" that a body of ours or THEIRS
 * keeps, which waits for it in turn.
 */
#include "raylet/core_peers.h"
#include "tests/unit/raylet/between_scene.h"

#include <stdio.h>

static const struct rig_class ALL_X = {.custom = "x", .custom_x10000 = 20000};
static const struct rig_class THEIR_CPU = {
    .cpus_x10000 = 10000, .strategy = SCHED_NODE_SPECIFIC, .node = "box-2"};

#define ONE_LOOK (6 * NS_PER_S) /* in which a search begins, if one is due at all */

/* A body of the driver's that keeps both x and has submitted a task of this class, whose id it
 * returns; it waits for that, or (`waits` false) goes on. */
static struct rig_process *begin_hog(struct scene *s, struct rig_class inner_class, bool waits,
                                     struct object_id *ret)
{
    uint32_t hog = rig_class(&s->rig, s->driver, "hog", ALL_X);

    rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = hog});
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    uint32_t inner = rig_class(&s->rig, w, "inner", inner_class);
    *ret = rig_submit(
        &s->rig, w,
        (struct rig_task){.class_number = inner, .parent_slot = 1 + claim_index(w->current.slot)});
    rig_get(&s->rig, w, *ret);
    if (waits) {
        rig_blocked(&s->rig, w, ret, 1);
    }
    rig_settle(&s->rig);
    return w;
}

static void a_body_that_waits_for_what_it_keeps(void **state)
{
    struct scene *s = begin();
    struct object_id inner;

    begin_hog(s, ALL_X, true, &inner);
    rig_pass(&s->rig, 4 * NS_PER_S);
    assert_null(rig_value(&s->rig, inner));
    rig_pass(&s->rig, 3 * NS_PER_S);
    assert_int_equal(code_of(&s->rig, inner), CODE_CYCLE);
    assert_non_null(strstr(s->rig.last_error, "(hog)"));
    end(s);
}

/* What the old search took for a cycle only if nothing else ran on the node. */
static void whatever_else_runs(void **state)
{
    struct scene *s = begin();
    struct object_id inner;

    submit(s, 1);
    rig_settle(&s->rig);
    assert_true(rig_claim(&s->rig, rig_ready_worker(&s->rig)));
    begin_hog(s, ALL_X, true, &inner);
    rig_pass(&s->rig, 7 * NS_PER_S);
    assert_int_equal(code_of(&s->rig, inner), CODE_CYCLE);
    end(s);
}

/* One x is kept by a body that waits for a task of two: the other may come and go. */
static void whoever_has_the_rest(void **state)
{
    struct scene *s = begin();
    uint32_t one = rig_class(&s->rig, s->driver, "one",
                             (struct rig_class){.custom = "x", .custom_x10000 = 10000});

    for (int i = 0; i < 2; i++) {
        rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = one});
    }
    rig_settle(&s->rig);
    struct rig_process *w = rig_ready_worker(&s->rig), *other;
    assert_true(rig_claim(&s->rig, w));
    while ((other = rig_ready_worker(&s->rig)) == NULL) {
        rig_pass(&s->rig, NS_PER_MS);
    }
    assert_true(rig_claim(&s->rig, other)); /* and runs on */
    uint32_t inner = rig_class(&s->rig, w, "inner", ALL_X);
    struct object_id both = rig_submit(
        &s->rig, w,
        (struct rig_task){.class_number = inner, .parent_slot = 1 + claim_index(w->current.slot)});
    rig_get(&s->rig, w, both);
    rig_blocked(&s->rig, w, &both, 1);
    rig_pass(&s->rig, 4 * NS_PER_S);
    assert_null(rig_value(&s->rig, both));
    rig_pass(&s->rig, 3 * NS_PER_S);
    assert_int_equal(code_of(&s->rig, both), CODE_CYCLE);
    end(s);
}

static void not_a_body_that_runs(void **state)
{
    struct scene *s = begin();
    struct object_id inner, other;
    struct rig_process *w = begin_hog(s, ALL_X, false, &inner);

    rig_pass(&s->rig, 60 * NS_PER_S);
    assert_null(rig_value(&s->rig, inner));
    rig_blocked(&s->rig, w, NULL, 0); /* for what it does not say */
    rig_pass(&s->rig, 60 * NS_PER_S);
    assert_null(rig_value(&s->rig, inner));
    other = submit(s, 1); /* for two things, of which one comes */
    rig_settle(&s->rig);
    assert_true(rig_claim(&s->rig, rig_ready_worker(&s->rig)));
    const struct object_id both[] = {inner, other};
    rig_blocked(&s->rig, w, both, 2);
    rig_pass(&s->rig, 60 * NS_PER_S);
    assert_null(rig_value(&s->rig, inner));
    end(s);
}

/* Of many that wait in one circle only one is ended at a time, and the deepest first. */
static void the_last_one_is_ended_first(void **state)
{
    struct scene *s = begin();
    struct object_id inner, second;
    struct rig_process *w = begin_hog(s, ALL_X, false, &inner);

    second = rig_submit(
        &s->rig, w,
        (struct rig_task){.class_number = 1, .parent_slot = 1 + claim_index(w->current.slot)});
    rig_get(&s->rig, w, second);
    const struct object_id both[] = {inner, second};
    rig_blocked(&s->rig, w, both, 2);
    rig_settle(&s->rig);
    while (rig_value(&s->rig, second) == NULL) {
        assert_null(rig_value(&s->rig, inner));
        rig_pass(&s->rig, NS_PER_MS);
    }
    assert_int_equal(code_of(&s->rig, second), CODE_CYCLE);
    assert_null(rig_value(&s->rig, inner));
    rig_blocked(&s->rig, w, &inner, 1);
    rig_pass(&s->rig, NS_PER_S);
    assert_int_equal(code_of(&s->rig, inner), CODE_CYCLE);
    end(s);
}

/* A worker that has begun a body, once there is one that can. */
static struct rig_process *next_body(struct scene *s)
{
    struct rig_process *w;

    while ((w = rig_ready_worker(&s->rig)) == NULL) {
        rig_pass(&s->rig, NS_PER_MS);
    }
    assert_true(rig_claim(&s->rig, w));
    return w;
}

/* A task of this class by this body. */
static struct object_id submit_inside(struct scene *s, struct rig_process *w, const char *function,
                                      struct rig_class class_)
{
    uint32_t number = rig_class(&s->rig, w, function, class_);
    struct object_id id = rig_submit(
        &s->rig, w,
        (struct rig_task){.class_number = number, .parent_slot = 1 + claim_index(w->current.slot)});

    rig_get(&s->rig, w, id);
    rig_settle(&s->rig);
    return id;
}

/* The one that only waits for what the circle keeps is deeper, and looked at first. */
static void who_waits_for_a_circle_is_not_in_it(void **state)
{
    struct scene *s = begin();
    struct object_id inner, middle, innocent;
    struct rig_process *hog = begin_hog(s, ALL_X, true, &inner);

    submit(s, 1);
    rig_settle(&s->rig);
    struct rig_process *w = next_body(s);
    middle = submit_inside(s, w, "middle", ONE_CPU);
    rig_blocked(&s->rig, w, &middle, 1);
    rig_settle(&s->rig);
    w = next_body(s);
    innocent = submit_inside(s, w, "innocent", ALL_X);
    rig_blocked(&s->rig, w, &innocent, 1);
    rig_pass(&s->rig, 20 * NS_PER_S);
    assert_int_equal(code_of(&s->rig, inner), CODE_CYCLE);
    assert_null(rig_value(&s->rig, innocent));
    (void)rig_say(&s->rig, hog, LOCAL_UNBLOCKED);
    rig_return(&s->rig, hog, 1);
    rig_settle(&s->rig);
    w = next_body(s);
    rig_return(&s->rig, w, 7);
    rig_settle(&s->rig);
    assert_int_equal(value_of(&s->rig, innocent), 7);
    end(s);
}

/* Of what a body waits for something has come; it has not said yet that it goes on. */
static void a_body_that_was_answered_goes_on(void **state)
{
    struct scene *s = begin();
    struct object_id inner, other;
    struct rig_process *hog = begin_hog(s, ALL_X, false, &inner);

    other = submit_inside(s, hog, "other", ONE_CPU);
    const struct object_id both[] = {inner, other};
    rig_blocked(&s->rig, hog, both, 2);
    rig_settle(&s->rig);
    struct rig_process *w = next_body(s);
    rig_pass(&s->rig, 8 * NS_PER_S);
    rig_return(&s->rig, w, 1);
    rig_pass(&s->rig, 30 * NS_PER_S);
    assert_null(rig_value(&s->rig, inner));
    end(s);
}

/* What it keeps comes back without anybody's doing. */
static void a_body_that_is_about_to_be_stopped_goes_on(void **state)
{
    struct scene *s = begin();
    uint32_t x = rig_class(&s->rig, s->driver, "x", ALL_X);
    struct object_id late = rig_submit(
        &s->rig, s->driver, (struct rig_task){.class_number = x, .timeout_ns = 4600 * NS_PER_MS});

    rig_settle(&s->rig);
    struct rig_process *hog = next_body(s);
    struct object_id id =
        rig_submit(&s->rig, s->driver, (struct rig_task){.class_number = x, .payload = 1});
    rig_get(&s->rig, s->driver, late);
    rig_get(&s->rig, s->driver, id);
    rig_settle(&s->rig);
    takes(&s->rig, hog, id);
    rig_get(&s->rig, hog, id);
    s->rig.deaf = true; /* it takes its time */
    while (rig_value(&s->rig, late) == NULL) {
        rig_pass(&s->rig, NS_PER_MS);
    }
    assert_int_equal(code_of(&s->rig, late), CODE_DEADLINE);
    rig_blocked(&s->rig, hog, &id, 1);
    rig_pass(&s->rig, 30 * NS_PER_S);
    assert_null(rig_value(&s->rig, id));
    s->rig.deaf = false;
    end(s);
}

static void a_body_that_waits_for_any_of_a_thousand(void **state)
{
    struct scene *s = begin();
    struct object_id ids[LOCAL_WAITS_MAX];
    uint32_t ended = 0;
    struct rig_process *w = begin_hog(s, ALL_X, false, &ids[0]);

    for (uint32_t i = 1; i < LOCAL_WAITS_MAX; i++) {
        ids[i] = rig_submit(
            &s->rig, w,
            (struct rig_task){.class_number = 1, .parent_slot = 1 + claim_index(w->current.slot)});
        rig_get(&s->rig, w, ids[i]);
    }
    rig_blocked(&s->rig, w, ids, LOCAL_WAITS_MAX);
    rig_pass(&s->rig, 7 * NS_PER_S);
    for (uint32_t i = 0; i < LOCAL_WAITS_MAX; i++) {
        if (rig_value(&s->rig, ids[i]) != NULL) {
            assert_int_equal(code_of(&s->rig, ids[i]), CODE_CYCLE);
            ended++;
        }
    }
    assert_int_equal(ended, 1); /* that is what it waits for */
    end(s);
}

/* A node may have joined on which it could run; only the head knows. */
static void nothing_is_decided_without_the_head(void **state)
{
    struct scene *s = begin();
    struct object_id inner;

    begin_hog(s, ALL_X, true, &inner);
    s->rig.head_answers = false;
    rig_pass(&s->rig, 8 * NS_PER_S);
    assert_null(rig_value(&s->rig, inner));
    s->rig.head_answers = true;
    rig_pass(&s->rig, 12 * NS_PER_S);
    assert_int_equal(code_of(&s->rig, inner), CODE_CYCLE);
    end(s);
}

/* ---- over nodes ---- */

static struct object_id their_task(void)
{
    return (struct object_id){THEM, 3, 77};
}

/* The next LOOK, which must be at this; NULL: none came. */
static struct peer_msg look_at(struct scene *s, enum peer_look_kind kind)
{
    const struct peer_msg *m = said(s, THEM, SIDE_OUT, PEER_LOOK);

    assert_non_null(m);
    assert_int_equal(m->look.kind, kind);
    assert_int_equal(m->look.node, THEM);
    return *m;
}

static void answer(struct scene *s, const struct peer_msg *look, uint64_t since,
                   struct peer_step step)
{
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_OUT, PEER_SEEN);

    m->seen = (struct peer_seen){.look = look->look.look,
                                 .item = look->look.item,
                                 .stuck = step.kind != 0,
                                 .since = since,
                                 .name = "theirs"};
    if (step.kind != 0) {
        m->seen.steps = arena_copy(&s->rig.arena, &step, sizeof step);
        m->seen.step_count = 1;
    }
    rig_settle(&s->rig);
}

/* A hog of ours waits for a task that only THEY can run, who lack room for it; searched for, and
 * the session with them is up. */
static struct rig_process *begin_hog_that_waits_for_them(struct scene **ret_s,
                                                         struct object_id *ret)
{
    struct scene *s = *ret_s = begin_as_home(2, 0);
    struct rig_process *w = begin_hog(s, THEIR_CPU, true, ret);

    up(s, THEM, SIDE_OUT);
    rig_pass(&s->rig, ONE_LOOK);
    return w;
}

/* They say that a body of theirs keeps what is lacking, which waits for what `waits` says. */
static void go_round(struct scene *s, uint64_t since, struct peer_step waits)
{
    struct peer_msg m = look_at(s, LOOK_ROOM);

    assert_int_equal(m.look.amount_count, 1);
    assert_string_equal(m.look.amounts[0].name, "CPU");
    assert_int_equal(m.look.amounts[0].units, RESOURCE_UNIT);
    assert_int_equal(m.look.depth, 1);
    answer(s, &m, 0, (struct peer_step){LOOK_BODY, THEM, their_task(), 5});
    m = look_at(s, LOOK_BODY);
    assert_true(object_id_equal(m.look.id, their_task()));
    assert_int_equal(m.look.run, 5);
    answer(s, &m, since, waits);
}

static void two_bodies_that_keep_what_the_other_waits_for(void **state)
{
    struct scene *s;
    struct object_id inner;

    begin_hog_that_waits_for_them(&s, &inner);
    const struct peer_step ours = {LOOK_OBJECT, s->rig.node, inner, 0};
    go_round(s, 1, ours);
    assert_null(rig_value(&s->rig, inner)); /* once is not enough */
    go_round(s, 1, ours);
    assert_int_equal(code_of(&s->rig, inner), CODE_CYCLE);
    assert_non_null(strstr(s->rig.last_error, "(theirs) on node box-2"));
    assert_null(said(s, THEM, SIDE_OUT, PEER_LOOK));
    end(s);
}

static void what_changed_in_between_is_none(void **state)
{
    struct scene *s;
    struct object_id inner;

    begin_hog_that_waits_for_them(&s, &inner);
    const struct peer_step ours = {LOOK_OBJECT, s->rig.node, inner, 0};
    go_round(s, 1, ours);
    go_round(s, 2, ours); /* it went on, and waits for the same again */
    assert_null(rig_value(&s->rig, inner));
    rig_pass(&s->rig, ONE_LOOK);
    go_round(s, 2, ours);
    go_round(s, 2, ours);
    assert_int_equal(code_of(&s->rig, inner), CODE_CYCLE);
    end(s);
}

static void what_moves_there_is_none(void **state)
{
    struct scene *s;
    struct object_id inner;

    begin_hog_that_waits_for_them(&s, &inner);
    for (int i = 0; i < 4; i++) {
        struct peer_msg m = look_at(s, LOOK_ROOM);
        answer(s, &m, 0, (struct peer_step){0});
        assert_null(said(s, THEM, SIDE_OUT, PEER_LOOK));
        rig_pass(&s->rig, ONE_LOOK);
    }
    assert_null(rig_value(&s->rig, inner));
    end(s);
}

/* Nobody's silence is taken for a circle; nor does it end the searching. */
static void who_does_not_answer_is_asked_again(void **state)
{
    struct scene *s;
    struct object_id inner;

    begin_hog_that_waits_for_them(&s, &inner);
    struct peer_msg late = look_at(s, LOOK_ROOM);
    rig_pass(&s->rig, ONE_LOOK);
    answer(s, &late, 0, (struct peer_step){LOOK_BODY, THEM, their_task(), 5}); /* of the former */
    const struct peer_step ours = {LOOK_OBJECT, s->rig.node, inner, 0};
    go_round(s, 1, ours);
    assert_null(rig_value(&s->rig, inner));
    go_round(s, 1, ours);
    assert_int_equal(code_of(&s->rig, inner), CODE_CYCLE);
    end(s);
}

enum { NODES = 100 };

/* All of them say that they never had what is lacking. How many were asked. */
static uint32_t all_answer(struct scene *s)
{
    const struct peer_msg *looks[NODES];
    uint32_t asked = 0;

    for (uint32_t i = 0; i < NODES; i++) {
        looks[i] = said(s, THEM + i, SIDE_OUT, PEER_LOOK);
        asked += looks[i] != NULL;
    }
    for (uint32_t i = 0; i < NODES; i++) {
        if (looks[i] != NULL) {
            struct peer_msg *m = rig_peer_message(&s->rig, THEM + i, SIDE_OUT, PEER_SEEN);
            m->seen.look = looks[i]->look.look;
            m->seen.item = looks[i]->look.item;
            m->seen.stuck = true;
            m->seen.name = "";
        }
    }
    rig_settle(&s->rig);
    return asked;
}

/* One that moves will do: hundreds are not asked at once, nor spoken to for the first time. */
static void many_nodes_are_asked_by_and_by(void **state)
{
    struct scene *s = begin();
    struct object_id inner;
    uint32_t most_asked = 0, most_opened = 0;

    char names[NODES][16];
    for (uint32_t i = 0; i < NODES; i++) {
        snprintf(names[i], sizeof names[i], "many-%u", i);
        rig_view(&s->rig, THEM + i, names[i], 4);
    }
    rig_settle(&s->rig);
    begin_hog(s, (struct rig_class){.cpus_x10000 = 30000}, true, &inner);
    for (int seconds = 0; seconds < 60 && rig_value(&s->rig, inner) == NULL; seconds++) {
        uint32_t opened = s->rig.peer_opens, asked;
        rig_pass(&s->rig, NS_PER_S);
        most_opened = MAX_OF(most_opened, s->rig.peer_opens - opened);
        for (uint32_t i = 0; i < NODES; i++) {
            if (peer_find(s->rig.core, THEM + i)->link == PEER_OPENING) {
                up(s, THEM + i, SIDE_OUT);
            }
        }
        while ((asked = all_answer(s)) > 0) {
            most_asked = MAX_OF(most_asked, asked);
        }
    }
    assert_int_equal(code_of(&s->rig, inner), CODE_CYCLE); /* all were, in the end */
    assert_int_equal(most_asked, 8);
    assert_true(most_opened <= 20);
    end(s);
}

/* A task of theirs that waits for a place leads back to ours; its home knows nodes up to this. */
static void go_round_by_a_task(struct scene *s, uint32_t newest_node)
{
    const struct peer_step theirs_waits = {LOOK_OBJECT, THEM, {THEM, 3, 78}, 0};
    const struct peer_step back = {LOOK_ROOM, s->rig.node, {0}, 4711};
    static const struct local_amount x = {"x", RESOURCE_UNIT};

    go_round(s, 1, theirs_waits);
    struct peer_msg look = look_at(s, LOOK_OBJECT);
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_OUT, PEER_SEEN);
    m->seen = (struct peer_seen){.look = look.look.look,
                                 .item = look.look.item,
                                 .stuck = true,
                                 .waits_for_room = true,
                                 .newest_node = newest_node,
                                 .steps = arena_copy(&s->rig.arena, &back, sizeof back),
                                 .step_count = 1,
                                 .amounts = &x,
                                 .amount_count = 1,
                                 .name = "theirs"};
    rig_settle(&s->rig);
}

static void nor_where_a_home_does_not_know_all_nodes(void **state)
{
    struct scene *s;
    struct object_id inner;

    begin_hog_that_waits_for_them(&s, &inner);
    const uint32_t newest = s->rig.core->newest_node;
    go_round_by_a_task(s, newest);
    go_round_by_a_task(s, newest - 1);
    assert_null(rig_value(&s->rig, inner));
    rig_pass(&s->rig, ONE_LOOK);
    go_round_by_a_task(s, newest);
    go_round_by_a_task(s, newest);
    assert_int_equal(code_of(&s->rig, inner), CODE_CYCLE);
    end(s);
}

/* Theirs waits for a place, too, and goes before ours: their home ends it. */
static void one_home_ends_one_task(void **state)
{
    struct scene *s;
    struct object_id inner;
    const struct peer_step theirs_waits = {LOOK_OBJECT, THEM, {THEM, 3, 78}, 0};

    begin_hog_that_waits_for_them(&s, &inner);
    for (int pass = 0; pass < 2; pass++) {
        go_round(s, 1, theirs_waits);
        struct peer_msg look = look_at(s, LOOK_OBJECT);
        struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_OUT, PEER_SEEN);
        struct peer_step back = {LOOK_ROOM, s->rig.node, {0}, 4711};
        static const struct local_amount x = {"x", RESOURCE_UNIT};
        m->seen = (struct peer_seen){.look = look.look.look,
                                     .item = look.look.item,
                                     .stuck = true,
                                     .waits_for_room = true,
                                     .newest_node = s->rig.core->newest_node,
                                     .depth = 2,
                                     .steps = arena_copy(&s->rig.arena, &back, sizeof back),
                                     .step_count = 1,
                                     .amounts = &x,
                                     .amount_count = 1,
                                     .name = "deeper"};
        rig_settle(&s->rig);
    }
    assert_null(said(s, THEM, SIDE_OUT, PEER_LOOK)); /* the search is over */
    assert_null(rig_value(&s->rig, inner));
    end(s);
}

/* ---- who is asked ---- */

static const struct peer_seen *look_of_theirs(struct scene *s, struct peer_step at,
                                              const struct local_amount *amounts, size_t count)
{
    struct peer_msg *m = rig_peer_message(&s->rig, THEM, SIDE_IN, PEER_LOOK);

    m->look = (struct peer_look){.look = 9,
                                 .item = 4,
                                 .kind = at.kind,
                                 .node = at.node,
                                 .id = at.id,
                                 .run = at.run,
                                 .amounts = amounts,
                                 .amount_count = count};
    rig_settle(&s->rig);
    const struct peer_msg *seen = said(s, THEM, SIDE_IN, PEER_SEEN);
    assert_non_null(seen);
    assert_int_equal(seen->seen.look, 9);
    assert_int_equal(seen->seen.item, 4);
    return &seen->seen;
}

static void they_are_told_what_is_stuck_here(void **state)
{
    static const struct local_amount x = {"x", RESOURCE_UNIT}, much = {"x", 3 * RESOURCE_UNIT};
    static const struct local_amount cpu = {"CPU", RESOURCE_UNIT}, strange = {"strange", 1};
    struct scene *s = begin_as_home(2, 0);
    struct object_id inner;
    const uint32_t node = s->rig.node;
    struct rig_process *w = begin_hog(s, ALL_X, true, &inner);
    const struct peer_seen *m;

    up(s, THEM, SIDE_IN);
    m = look_of_theirs(s, (struct peer_step){LOOK_OBJECT, node, inner, 0}, NULL, 0);
    assert_true(m->stuck && m->waits_for_room);
    assert_int_equal(m->depth, 1);
    assert_int_equal(m->steps[0].kind, LOOK_ROOM);
    assert_int_equal(m->steps[0].node, node);
    assert_string_equal(m->amounts[0].name, "x");
    m = look_of_theirs(s, (struct peer_step){.kind = LOOK_ROOM, .node = node}, &x, 1);
    assert_true(m->stuck);
    assert_int_equal(m->step_count, 1);
    struct peer_step body = m->steps[0];
    assert_int_equal(body.kind, LOOK_BODY);
    m = look_of_theirs(s, body, NULL, 0);
    assert_true(m->stuck && !m->waits_for_room);
    assert_string_equal(m->name, "hog");
    assert_int_equal(m->step_count, 1);
    assert_true(object_id_equal(m->steps[0].id, inner));

    /* room that is there, or never will be; bodies, attempts and objects that are not */
    assert_false(
        look_of_theirs(s, (struct peer_step){.kind = LOOK_ROOM, .node = node}, &cpu, 1)->stuck);
    m = look_of_theirs(s, (struct peer_step){.kind = LOOK_ROOM, .node = node}, &much, 1);
    assert_true(m->stuck && m->step_count == 0);
    m = look_of_theirs(s, (struct peer_step){.kind = LOOK_ROOM, .node = node}, &strange, 1);
    assert_true(m->stuck && m->step_count == 0);
    body.run++;
    assert_false(look_of_theirs(s, body, NULL, 0)->stuck);
    body.run = UINT64_MAX;
    assert_false(look_of_theirs(s, body, NULL, 0)->stuck);
    assert_false(
        look_of_theirs(s, (struct peer_step){LOOK_RUN, node, {THEM, 1, 1}, 1}, NULL, 0)->stuck);
    assert_false(
        look_of_theirs(s, (struct peer_step){LOOK_OBJECT, node, {node, 1, 900}, 0}, NULL, 0)
            ->stuck);
    assert_false(
        look_of_theirs(s, (struct peer_step){LOOK_OBJECT, OTHER, inner, 0}, NULL, 0)->stuck);

    (void)rig_say(&s->rig, w, LOCAL_UNBLOCKED);
    rig_settle(&s->rig);
    assert_false(
        look_of_theirs(s, (struct peer_step){.kind = LOOK_ROOM, .node = node}, &x, 1)->stuck);
    end(s);
}

static void an_attempt_of_theirs_is_followed_to_what_it_waits_for(void **state)
{
    struct scene *s = begin_as_executor();
    const struct object_id id = {THEM, 3, 901};
    const struct peer_step at = {LOOK_RUN, s->rig.node, id, 1};

    asks_for(s, THEM, 1, 1);
    runs(s, THEM, 1, 1);
    assert_false(look_of_theirs(s, at, NULL, 0)->stuck);
    struct rig_process *w = rig_ready_worker(&s->rig);
    assert_true(rig_claim(&s->rig, w));
    uint32_t g = rig_class(&s->rig, w, "inner", ONE_CPU);
    struct object_id inner = rig_submit(
        &s->rig, w,
        (struct rig_task){.class_number = g, .parent_slot = 1 + claim_index(w->current.slot)});
    rig_get(&s->rig, w, inner);
    rig_blocked(&s->rig, w, &inner, 1);
    rig_settle(&s->rig);
    const struct peer_seen *m = look_of_theirs(s, at, NULL, 0);
    assert_true(m->stuck);
    assert_int_equal(m->step_count, 1);
    assert_true(object_id_equal(m->steps[0].id, inner));
    m = look_of_theirs(s, m->steps[0], NULL, 0); /* that one runs, or is about to */
    assert_false(m->stuck);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_that_waits_for_what_it_keeps),
        cmocka_unit_test(whatever_else_runs),
        cmocka_unit_test(whoever_has_the_rest),
        cmocka_unit_test(not_a_body_that_runs),
        cmocka_unit_test(the_last_one_is_ended_first),
        cmocka_unit_test(who_waits_for_a_circle_is_not_in_it),
        cmocka_unit_test(a_body_that_was_answered_goes_on),
        cmocka_unit_test(a_body_that_is_about_to_be_stopped_goes_on),
        cmocka_unit_test(a_body_that_waits_for_any_of_a_thousand),
        cmocka_unit_test(nothing_is_decided_without_the_head),
        cmocka_unit_test(two_bodies_that_keep_what_the_other_waits_for),
        cmocka_unit_test(what_changed_in_between_is_none),
        cmocka_unit_test(what_moves_there_is_none),
        cmocka_unit_test(who_does_not_answer_is_asked_again),
        cmocka_unit_test(many_nodes_are_asked_by_and_by),
        cmocka_unit_test(nor_where_a_home_does_not_know_all_nodes),
        cmocka_unit_test(one_home_ends_one_task),
        cmocka_unit_test(they_are_told_what_is_stuck_here),
        cmocka_unit_test(an_attempt_of_theirs_is_followed_to_what_it_waits_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
