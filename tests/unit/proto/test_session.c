/*
 * Two sessions over a network that a seed makes hostile: packets are lost, doubled, late, kept
 * back, and sides are started again. Whatever happens, messages arrive once and in order within a
 * session, and both sides agree on its end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/list.h"
#include "common/rng.h"
#include "proto/session.h"

struct side {
    struct world *world;
    struct session *session;
    int index; /* 0: the initiator */
    uint64_t life;
    uint32_t number;
    bool up, answer, full;
    uint64_t peer_life;
    uint32_t peer;
    uint64_t sent_in_session, received_in_session; /* numbers of the messages, from 1 */
    uint64_t ups, downs, silent_downs, rooms, messages, datagrams;
    uint64_t down_ns;
    uint64_t packets; /* that it tried to send */
    uint64_t ticks;   /* it was woken for a time */
    bool send_fails;
};

struct packet {
    struct list link;
    uint64_t at_ns;
    uint64_t order;
    int to;
    size_t size;
    uint8_t data[];
};

struct world {
    struct rng rng;
    uint64_t now_ns, order, lives;
    double loss, doubling;
    uint64_t delay_min_ns, delay_max_ns;
    bool cut[2];     /* by receiver */
    bool no_byes[2]; /* as well */
    uint64_t queue_ns[2];
    struct list flying;
    struct side sides[2];
};

static bool is_bye(struct bytes packet)
{
    const uint8_t *data = packet.data; /* the size of the header, then field 1: the kind */
    return packet.size > 6 && data[4] == 1 << 3 && data[5] == 6;
}

static void fly(struct world *w, int to, struct bytes data)
{
    struct packet *p = malloc(sizeof *p + data.size);
    p->to = to;
    p->size = data.size;
    p->order = w->order++;
    p->at_ns = w->now_ns + w->queue_ns[to] + rng_between(&w->rng, w->delay_min_ns, w->delay_max_ns);
    memcpy(p->data, data.data, data.size);
    list_init(&p->link);
    list_append(&w->flying, &p->link);
}

static int on_send(void *arg, struct bytes packet)
{
    struct side *side = arg;
    struct world *w = side->world;
    int to = 1 - side->index;
    side->packets++;
    if (side->send_fails) {
        return -EAGAIN;
    }
    if (!w->cut[to] && !(w->no_byes[to] && is_bye(packet)) && !rng_chance(&w->rng, w->loss)) {
        fly(w, to, packet);
        if (rng_chance(&w->rng, w->doubling)) {
            fly(w, to, packet);
        }
    }
    return 0;
}

static void on_event(void *arg, const struct session_event *event)
{
    struct side *side = arg;
    uint64_t numbers[2];
    switch (event->kind) {
    case SESSION_UP:
        assert_false(side->up);
        side->up = true;
        side->ups++;
        side->sent_in_session = side->received_in_session = 0;
        side->peer_life = event->peer_life;
        side->peer = event->peer;
        break;
    case SESSION_DOWN:
        assert_true(side->up);
        side->up = false;
        side->downs++;
        side->down_ns = side->world->now_ns;
        side->silent_downs += event->silent;
        break;
    case SESSION_MESSAGE:
        assert_true(side->up);
        assert_int_equal((uintptr_t)event->data.data & 63, 0);
        assert_true(event->data.size >= sizeof numbers);
        memcpy(numbers, event->data.data, sizeof numbers);
        /* Of the life that came up, next in order. */
        assert_int_equal(numbers[0], side->peer_life);
        assert_int_equal(numbers[1], side->received_in_session + 1);
        side->received_in_session = numbers[1];
        side->messages++;
        break;
    case SESSION_DATAGRAM:
        assert_true(side->up);
        side->datagrams++;
        break;
    case SESSION_ROOM:
        side->rooms++;
        side->full = false;
        break;
    }
}

static void start(struct world *w, int index, uint32_t number)
{
    struct side *side = &w->sides[index];
    session_free(side->session);
    *side = (struct side){.world = w, .index = index, .number = number};
    side->life = ++w->lives * 1000 + rng_below(&w->rng, 1000);
    struct session_config config = {.self = number,
                                    .self_life = side->life,
                                    .initiator = index == 0,
                                    .seed = rng_next(&w->rng),
                                    .now_ns = w->now_ns};
    struct session_owner owner = {on_event, on_send, side};
    side->session = session_new(&config, &owner);
}

static void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){.delay_min_ns = NS_PER_MS, .delay_max_ns = NS_PER_MS};
    w->now_ns = 5 * NS_PER_S;
    rng_seed(&w->rng, seed);
    list_init(&w->flying);
    start(w, 0, 7);
    start(w, 1, SESSION_NUMBER_HEAD);
}

static void clear_network(struct world *w)
{
    for (struct list *node = list_pop(&w->flying); node != NULL; node = list_pop(&w->flying)) {
        free(list_entry(node, struct packet, link));
    }
}

static void world_fini(struct world *w)
{
    clear_network(w);
    session_free(w->sides[0].session);
    session_free(w->sides[1].session);
}

static void step(struct world *w, uint64_t to_ns)
{
    w->now_ns = to_ns;
    for (;;) {
        struct packet *first = NULL;
        LIST_FOREACH(node, &w->flying)
        {
            struct packet *p = list_entry(node, struct packet, link);
            if (p->at_ns <= w->now_ns && (first == NULL || p->at_ns < first->at_ns ||
                                          (p->at_ns == first->at_ns && p->order < first->order))) {
                first = p;
            }
        }
        if (first == NULL) {
            break;
        }
        list_unlink(&first->link);
        struct side *side = &w->sides[first->to];
        assert_int_equal(
            session_receive(side->session, w->now_ns, bytes_of(first->data, first->size)), 0);
        free(first);
    }
    for (int i = 0; i < 2; i++) {
        if (session_next_ns(w->sides[i].session) <= w->now_ns) {
            w->sides[i].ticks++;
            session_tick(w->sides[i].session, w->now_ns);
            assert_true(session_next_ns(w->sides[i].session) > w->now_ns);
        }
    }
}

/* When anything happens next. */
static uint64_t next_ns(const struct world *w)
{
    uint64_t next = NS_FOREVER;
    for (int i = 0; i < 2; i++) {
        next = MIN_OF(next, session_next_ns(w->sides[i].session));
    }
    LIST_FOREACH(node, &w->flying)
    {
        next = MIN_OF(next, list_entry(node, struct packet, link)->at_ns);
    }
    return MAX_OF(next, w->now_ns);
}

static void run_for(struct world *w, uint64_t for_ns)
{
    uint64_t end_ns = w->now_ns + for_ns;
    while (next_ns(w) <= end_ns) {
        step(w, next_ns(w));
    }
    w->now_ns = end_ns;
}

static void run_until_up(struct world *w, uint64_t at_most_ns)
{
    uint64_t end_ns = w->now_ns + at_most_ns;
    while (!w->sides[0].up || !w->sides[1].up) {
        assert_true(next_ns(w) <= end_ns);
        step(w, next_ns(w));
    }
}

static int send_message(struct side *side, size_t size)
{
    static uint8_t data[SESSION_MESSAGE_MAX + 1];
    uint64_t numbers[2] = {side->life, side->sent_in_session + 1};
    assert_true(size >= sizeof numbers);
    memcpy(data, numbers, sizeof numbers);
    int r = session_send(side->session, side->world->now_ns, bytes_of(data, size));
    side->sent_in_session += r == 0;
    side->full = r == -EAGAIN;
    return r;
}

static void test_agree_and_talk(void **state)
{
    struct world w;
    world_init(&w, 1);
    assert_int_equal(session_send(w.sides[0].session, w.now_ns, bytes_of("x", 1)), -ENOTCONN);
    run_until_up(&w, NS_PER_S);
    assert_int_equal(w.sides[0].peer, SESSION_NUMBER_HEAD);
    assert_int_equal(w.sides[1].peer, 7);
    assert_int_equal(w.sides[1].peer_life, w.sides[0].life);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(send_message(&w.sides[i % 2], 16 + (size_t)i), 0);
    }
    assert_int_equal(session_datagram(w.sides[0].session, w.now_ns, bytes_of("now", 3)), 0);
    run_for(&w, 50 * NS_PER_MS);
    assert_int_equal(w.sides[0].messages, 500);
    assert_int_equal(w.sides[1].messages, 500);
    assert_int_equal(w.sides[1].datagrams, 1);
    struct session_counts counts;
    session_count(w.sides[0].session, &counts);
    assert_int_equal(counts.resent, 0);
    world_fini(&w);
}

static void test_idle_is_quiet_and_lives(void **state)
{
    struct world w;
    world_init(&w, 2);
    run_until_up(&w, NS_PER_S);
    run_for(&w, NS_PER_S);
    uint64_t before[2] = {w.sides[0].packets, w.sides[1].packets};
    uint64_t ticks[2] = {w.sides[0].ticks, w.sides[1].ticks};
    run_for(&w, 60 * NS_PER_S);
    assert_in_range(w.sides[0].ticks - ticks[0], 58, 61);
    assert_int_equal(w.sides[1].ticks, ticks[1]); /* it only answers */
    for (int i = 0; i < 2; i++) {
        assert_true(w.sides[i].up && w.sides[i].downs == 0);
        assert_in_range(w.sides[i].packets - before[i], 58, 61); /* one keepalive each second */
    }
    world_fini(&w);
}

static void test_acknowledged_within_20_ms(void **state)
{
    struct world w;
    world_init(&w, 3);
    run_until_up(&w, NS_PER_S);
    run_for(&w, 100 * NS_PER_MS);
    assert_int_equal(send_message(&w.sides[0], 100), 0);
    uint64_t before = w.sides[1].packets;
    run_for(&w, 23 * NS_PER_MS);
    assert_int_equal(w.sides[1].packets, before + 1);
    run_for(&w, 500 * NS_PER_MS);
    struct session_counts counts;
    session_count(w.sides[0].session, &counts);
    assert_int_equal(counts.resent, 0);
    world_fini(&w);
}

static void test_silence_ends_both(void **state)
{
    struct world w;
    world_init(&w, 4);
    run_until_up(&w, NS_PER_S);
    w.cut[0] = w.cut[1] = true;
    assert_int_equal(send_message(&w.sides[0], 100), 0);
    run_for(&w, 13 * NS_PER_S);
    assert_true(w.sides[0].up && w.sides[1].up);
    run_for(&w, 3 * NS_PER_S);
    assert_int_equal(w.sides[0].silent_downs, 1);
    assert_int_equal(w.sides[1].silent_downs, 1);
    w.cut[0] = w.cut[1] = false;
    run_until_up(&w, 3 * NS_PER_S);
    run_for(&w, NS_PER_S);
    assert_int_equal(w.sides[1].messages, 0); /* nothing of the former session comes */
    world_fini(&w);
}

static void test_black_out_of_5_s_costs_nothing(void **state)
{
    struct world w;
    world_init(&w, 5);
    run_until_up(&w, NS_PER_S);
    w.cut[0] = w.cut[1] = true;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(send_message(&w.sides[0], 100), 0);
        run_for(&w, NS_PER_S / 2);
    }
    w.cut[0] = w.cut[1] = false;
    run_for(&w, 3 * NS_PER_S);
    assert_int_equal(w.sides[1].messages, 10);
    assert_int_equal(w.sides[0].downs + w.sides[1].downs, 0);
    world_fini(&w);
}

/* Whoever hears nothing, and whether what is said at the end arrives or not: both know within 15 s
 * of the cut. */
static void test_one_way_cut_ends_both(void **state)
{
    for (int deaf = 0; deaf < 2; deaf++) {
        for (int byes = 0; byes < 2; byes++) {
            struct world w;
            world_init(&w, 6);
            run_until_up(&w, NS_PER_S);
            run_for(&w, 20 * NS_PER_S + (uint64_t)byes * 700 * NS_PER_MS);
            w.cut[deaf] = true;
            w.no_byes[1 - deaf] = byes == 0;
            run_for(&w, 12 * NS_PER_S);
            assert_true(w.sides[0].up && w.sides[1].up);
            run_for(&w, 3100 * NS_PER_MS);
            assert_false(w.sides[0].up || w.sides[1].up);
            assert_int_equal(w.sides[0].downs, 1);
            assert_int_equal(w.sides[1].downs, 1);
            assert_int_equal(w.sides[0].silent_downs, 1); /* the other may hear its next Hello */
            if (deaf == 1 && byes == 1) { /* who is told need not find out by itself */
                assert_in_range(w.sides[0].down_ns, w.sides[1].down_ns,
                                w.sides[1].down_ns + 10 * NS_PER_MS);
            }
            w.cut[deaf] = false;
            run_until_up(&w, 3 * NS_PER_S);
            world_fini(&w);
        }
    }
}

/* The other side did not notice that the session is over here: the next Hello says so. */
static void test_hello_ends_the_former(void **state)
{
    struct world w;
    world_init(&w, 15);
    run_until_up(&w, NS_PER_S);
    run_for(&w, 50 * NS_PER_MS);
    w.cut[0] = true;
    session_lost(w.sides[0].session, w.now_ns);
    run_for(&w, 2 * NS_PER_S);
    assert_false(w.sides[1].up);
    assert_int_equal(w.sides[1].downs, 1);
    w.cut[0] = false;
    run_until_up(&w, 2 * NS_PER_S);
    world_fini(&w);
}

/* With every second packet lost, and black-outs of 5 s, one-way or not: an hour of it. */
static void test_losses_end_nothing(void **state)
{
    for (uint64_t seed = 20; seed < 24; seed++) {
        struct world w;
        world_init(&w, seed);
        w.loss = 0.5;
        w.doubling = 0.2;
        w.delay_max_ns = 200 * NS_PER_MS;
        run_until_up(&w, 20 * NS_PER_S);
        run_for(&w, 10 * NS_PER_S);
        uint64_t downs = w.sides[0].downs + w.sides[1].downs;
        for (int i = 0; i < 240; i++) {
            int deaf = (int)rng_below(&w.rng, 3);
            w.cut[0] = deaf != 0;
            w.cut[1] = deaf != 1;
            run_for(&w, 5 * NS_PER_S);
            w.cut[0] = w.cut[1] = false;
            run_for(&w, 10 * NS_PER_S);
        }
        assert_int_equal(w.sides[0].downs + w.sides[1].downs, downs);
        world_fini(&w);
    }
}

/* What one says waits ever longer before a narrow way, up to 40 s, but comes: both are heard. */
static void test_slow_is_not_silent(void **state)
{
    struct world w;
    world_init(&w, 16);
    run_until_up(&w, NS_PER_S);
    for (int i = 0; i < 120; i++) {
        w.queue_ns[1] += i < 80 ? NS_PER_S / 2 : 0;
        assert_int_equal(send_message(&w.sides[i % 2], 100), 0);
        run_for(&w, NS_PER_S);
    }
    assert_int_equal(w.sides[0].downs + w.sides[1].downs, 0);
    world_fini(&w);
}

static void test_restart_replaces(void **state)
{
    for (int who = 0; who < 2; who++) {
        struct world w;
        world_init(&w, 7);
        run_until_up(&w, NS_PER_S);
        for (int i = 0; i < 10; i++) {
            assert_int_equal(send_message(&w.sides[0], 50), 0);
            assert_int_equal(send_message(&w.sides[1], 50), 0);
        }
        start(&w, who, who == 0 ? 8 : SESSION_NUMBER_HEAD);
        run_for(&w, 3 * NS_PER_S);
        struct side *other = &w.sides[1 - who];
        assert_true(w.sides[who].up && other->up);
        assert_int_equal(other->downs, 1);
        assert_int_equal(other->silent_downs, 0);
        assert_int_equal(other->ups, 2);
        assert_int_equal(other->peer_life, w.sides[who].life);
        world_fini(&w);
    }
}

static void test_end_tells_the_other(void **state)
{
    struct world w;
    world_init(&w, 8);
    run_until_up(&w, NS_PER_S);
    session_end(w.sides[0].session, w.now_ns);
    w.sides[0].up = false;
    run_for(&w, 10 * NS_PER_MS);
    assert_false(w.sides[1].up);
    assert_int_equal(w.sides[0].downs, 0);
    world_fini(&w);

    /* The goodbye is lost: the next keepalive is answered. */
    world_init(&w, 9);
    run_until_up(&w, NS_PER_S);
    w.cut[1] = true;
    session_end(w.sides[0].session, w.now_ns);
    w.sides[0].up = false;
    w.cut[1] = false;
    run_for(&w, 1200 * NS_PER_MS);
    assert_false(w.sides[1].up);
    assert_int_equal(w.sides[1].silent_downs, 0);
    world_fini(&w);
}

static void test_number_is_given(void **state)
{
    struct world w;
    world_init(&w, 10);
    start(&w, 0, 0);
    run_until_up(&w, NS_PER_S);
    assert_int_equal(w.sides[1].peer, 0);
    assert_int_equal(send_message(&w.sides[1], 100), 0);
    session_set_number(w.sides[0].session, 5);
    assert_int_equal(send_message(&w.sides[0], 100), 0);
    run_for(&w, NS_PER_S);
    assert_int_equal(send_message(&w.sides[1], 100), 0);
    run_for(&w, NS_PER_S);
    assert_int_equal(w.sides[0].messages, 2);
    assert_int_equal(w.sides[0].downs + w.sides[1].downs, 0);
    /* Another number is somebody else. */
    session_set_number(w.sides[0].session, 6);
    run_for(&w, 5 * NS_PER_S);
    assert_int_equal(w.sides[0].downs, 1);
    assert_int_equal(w.sides[1].downs, 1);
    assert_int_equal(w.sides[1].peer, 6);
    world_fini(&w);
}

static void test_bounds(void **state)
{
    struct world w;
    world_init(&w, 11);
    run_until_up(&w, NS_PER_S);
    assert_int_equal(send_message(&w.sides[0], SESSION_MESSAGE_MAX + 1), -EMSGSIZE);
    w.cut[1] = true;
    size_t bytes = 0;
    while (send_message(&w.sides[0], 100000) == 0) {
        bytes += 100000;
    }
    assert_in_range(bytes, SESSION_UNACKED_MAX - 200000, SESSION_UNACKED_MAX);
    assert_int_equal(send_message(&w.sides[0], 100000), -EAGAIN);
    run_for(&w, 2 * NS_PER_S);
    assert_int_equal(w.sides[0].rooms, 0);
    w.cut[1] = false;
    run_for(&w, 5 * NS_PER_S);
    assert_int_equal(w.sides[0].rooms, 1);
    assert_int_equal(w.sides[1].messages, w.sides[0].sent_in_session);
    /* The largest one comes, too. */
    assert_int_equal(send_message(&w.sides[0], SESSION_MESSAGE_MAX), 0);
    run_for(&w, NS_PER_S);
    assert_int_equal(w.sides[1].messages, w.sides[0].sent_in_session);
    world_fini(&w);
}

static void test_transport_without_room(void **state)
{
    struct world w;
    world_init(&w, 12);
    run_until_up(&w, NS_PER_S);
    w.sides[0].send_fails = true;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(send_message(&w.sides[0], 1000), 0);
    }
    run_for(&w, NS_PER_S);
    w.sides[0].send_fails = false;
    run_for(&w, 100 * NS_PER_MS);
    assert_int_equal(w.sides[1].messages, 100);
    struct session_counts counts;
    session_count(w.sides[0].session, &counts);
    assert_int_equal(counts.resent, 0);
    world_fini(&w);
}

/* Late copies of a whole former session must not touch the present one. */
static void test_late_copies(void **state)
{
    struct world w;
    world_init(&w, 13);
    w.doubling = 1;
    w.delay_max_ns = 4 * NS_PER_S;
    run_until_up(&w, 30 * NS_PER_S);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(send_message(&w.sides[0], 50), 0);
    }
    start(&w, 0, 8); /* while most of it flies */
    run_for(&w, 20 * NS_PER_S);
    assert_true(w.sides[0].up && w.sides[1].up);
    assert_int_equal(w.sides[1].peer_life, w.sides[0].life);
    uint64_t downs = w.sides[1].downs;
    w.doubling = 0;
    w.delay_max_ns = NS_PER_MS;
    run_for(&w, 10 * NS_PER_S);
    assert_int_equal(w.sides[1].downs, downs);
    world_fini(&w);
}

static void hostile_second(struct world *w)
{
    uint64_t what = rng_below(&w->rng, 40);
    if (what == 0) {
        start(w, 0, (uint32_t)rng_between(&w->rng, 1, 100));
    } else if (what == 1) {
        start(w, 1, SESSION_NUMBER_HEAD);
    } else if (what == 2) {
        w->cut[0] = true;
    } else if (what == 3) {
        w->cut[1] = true;
    } else if (what < 8) {
        w->cut[0] = w->cut[1] = false;
    } else if (what == 8 && w->sides[0].number == 0) {
        session_set_number(w->sides[0].session, w->sides[0].number = 3);
    }
    for (int ms = 0; ms < 1000; ms += 5) {
        for (int i = 0; i < 2; i++) {
            if (w->sides[i].up && rng_chance(&w->rng, 0.1)) {
                (void)send_message(&w->sides[i], 16 + rng_below(&w->rng, 3000));
            }
        }
        step(w, w->now_ns + 5 * NS_PER_MS);
    }
}

static void hostile_run(uint64_t seed)
{
    struct world w;
    world_init(&w, seed);
    w.loss = 0.3;
    w.doubling = 0.5;
    w.delay_max_ns = rng_between(&w.rng, 1, 300) * NS_PER_MS;
    for (int second = 0; second < 60; second++) {
        hostile_second(&w);
    }
    /* Healed: all that was sent in the session that stays arrives, and both mean the same one. */
    w.loss = w.doubling = 0;
    w.delay_max_ns = NS_PER_MS;
    w.cut[0] = w.cut[1] = false;
    run_for(&w, 20 * NS_PER_S);
    run_until_up(&w, 20 * NS_PER_S);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(send_message(&w.sides[i % 2], 100), 0);
    }
    run_for(&w, 5 * NS_PER_S);
    for (int i = 0; i < 2; i++) {
        assert_true(w.sides[i].up);
        assert_true(w.sides[i].received_in_session >= 50);
        assert_int_equal(w.sides[i].peer_life, w.sides[1 - i].life);
        assert_int_equal(w.sides[i].received_in_session, w.sides[1 - i].sent_in_session);
    }
    world_fini(&w);
}

static void test_hostile_network(void **state)
{
    for (uint64_t seed = 100; seed < 115; seed++) {
        hostile_run(seed);
    }
}

static void test_same_seed_same_run(void **state)
{
    uint64_t packets[2];
    for (int i = 0; i < 2; i++) {
        struct world w;
        world_init(&w, 77);
        w.loss = 0.3;
        w.delay_max_ns = 50 * NS_PER_MS;
        for (int second = 0; second < 10; second++) {
            hostile_second(&w);
        }
        packets[i] = w.sides[0].packets * 1000000 + w.sides[1].packets;
        world_fini(&w);
    }
    assert_int_equal(packets[0], packets[1]);
}

static void test_any_bytes(void **state)
{
    struct world w;
    world_init(&w, 14);
    run_until_up(&w, NS_PER_S);
    uint8_t data[300];
    for (int i = 0; i < 200000; i++) {
        size_t size = rng_below(&w.rng, sizeof data);
        for (size_t b = 0; b < size; b++) {
            data[b] = (uint8_t)rng_next(&w.rng);
        }
        uint32_t header = (uint32_t)rng_below(&w.rng, 140);
        if (size >= 4) {
            memcpy(data, &header, 4);
        }
        int r = session_receive(w.sides[i % 2].session, w.now_ns, bytes_of(data, size));
        assert_true(r == 0 || r == -EPROTO);
    }
    struct session_counts counts;
    session_count(w.sides[0].session, &counts);
    assert_true(counts.broken > 90000);
    run_for(&w, NS_PER_S);
    assert_true(w.sides[0].up && w.sides[1].up);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agree_and_talk),
        cmocka_unit_test(test_idle_is_quiet_and_lives),
        cmocka_unit_test(test_acknowledged_within_20_ms),
        cmocka_unit_test(test_silence_ends_both),
        cmocka_unit_test(test_black_out_of_5_s_costs_nothing),
        cmocka_unit_test(test_one_way_cut_ends_both),
        cmocka_unit_test(test_hello_ends_the_former),
        cmocka_unit_test(test_losses_end_nothing),
        cmocka_unit_test(test_slow_is_not_silent),
        cmocka_unit_test(test_restart_replaces),
        cmocka_unit_test(test_end_tells_the_other),
        cmocka_unit_test(test_number_is_given),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_transport_without_room),
        cmocka_unit_test(test_late_copies),
        cmocka_unit_test(test_hostile_network),
        cmocka_unit_test(test_same_seed_same_run),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
