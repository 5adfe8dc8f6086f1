/* Two raylets' ends of their sessions, in one loop: what becomes an event, and what does not. */
#include "raylet/peer_link.h"

#include "common/clock.h"
#include "tests/unit/unit.h"

#define LIMIT_NS (10 * NS_PER_S)

struct side {
    struct events events;
    struct peer_link *link;
    unsigned programs, ends;
    uint64_t offset;
};

struct rig {
    struct loop *loop;
    struct keys_member keys;
    struct side sides[2]; /* nodes 1 and 2 */
};

static void on_program_message(void *arg, uint32_t peer, enum peer_side side,
                               const struct peer_msg *m)
{
    struct side *s = arg;
    s->programs++;
    s->offset = m->type == PEER_PROGRAM_GET ? m->program_get.offset : m->program_part.offset;
}

static void on_session_end(void *arg, uint32_t peer, enum peer_side side)
{
    ((struct side *)arg)->ends++;
}

static void start(struct rig *r, unsigned i, bool listens)
{
    struct failure f;
    struct side *s = &r->sides[i];
    struct peer_link_config config = {.loop = r->loop,
                                      .events = &s->events,
                                      .keys = &r->keys,
                                      .head_address = "127.0.0.1:7420",
                                      .bind = "127.0.0.1",
                                      .on_program_message = listens ? on_program_message : NULL,
                                      .on_session_end = listens ? on_session_end : NULL,
                                      .arg = s};
    assert_int_equal(peer_link_new(&config, &s->link, &f), 0);
    peer_link_set_number(s->link, i + 1);
}

static void rig_init(struct rig *r)
{
    *r = (struct rig){0};
    assert_int_equal(loop_new(&r->loop), 0);
    assert_int_equal(keys_pair_new(&r->keys.own), 0);
    start(r, 0, false);
    start(r, 1, true);
}

static void rig_fini(struct rig *r)
{
    for (unsigned i = 0; i < 2; i++) {
        peer_link_free(r->sides[i].link);
        events_fini(&r->sides[i].events);
    }
    loop_free(r->loop);
}

static void turn(struct rig *r)
{
    uint64_t now_ns = clock_now_ns();
    for (unsigned i = 0; i < 2; i++) {
        if (r->sides[i].link != NULL) {
            peer_link_tick(r->sides[i].link, now_ns);
            peer_link_flush(r->sides[i].link);
        }
    }
    assert_true(loop_turn(r->loop, NS_PER_MS) >= 0);
}

#define UNTIL(r, condition)                                                                        \
    for (uint64_t deadline_ns = clock_now_ns() + LIMIT_NS; !(condition);) {                        \
        assert_true(clock_now_ns() < deadline_ns);                                                 \
        turn(r);                                                                                   \
    }

static void open_session(struct rig *r)
{
    struct side *a = &r->sides[0], *b = &r->sides[1];
    peer_link_open(a->link, 2, peer_link_address(b->link), peer_link_key(b->link));
    UNTIL(r, a->events.count == 1 && b->events.count == 1);
    assert_int_equal(a->events.items[0].kind, EVENT_PEER_UP);
    assert_int_equal(a->events.items[0].peer, 2);
    assert_int_equal(a->events.items[0].side, SIDE_OUT);
    assert_int_equal(b->events.items[0].kind, EVENT_PEER_UP);
    assert_int_equal(b->events.items[0].peer, 1);
    assert_int_equal(b->events.items[0].side, SIDE_IN);
}

static void test_messages_become_events(void **state)
{
    struct rig r;
    rig_init(&r);
    struct side *a = &r.sides[0], *b = &r.sides[1];
    open_session(&r);
    struct peer_msg m = {.type = PEER_ASK, .ask = {.number = 3, .limit = 4}};
    peer_link_send(a->link, 2, SIDE_OUT, &m);
    UNTIL(&r, b->events.count == 2);
    const struct raylet_event *e = &b->events.items[1];
    assert_int_equal(e->kind, EVENT_PEER_MESSAGE);
    assert_int_equal(e->peer, 1);
    assert_int_equal(e->side, SIDE_IN);
    assert_int_equal(e->peer_msg->type, PEER_ASK);
    assert_int_equal(e->peer_msg->ask.limit, 4);

    peer_link_close(a->link, 2, SIDE_OUT, NULL);
    UNTIL(&r, b->events.count == 3);
    assert_int_equal(b->events.items[2].kind, EVENT_PEER_DOWN);
    assert_false(b->events.items[2].refused || b->events.items[2].key_refused);
    assert_int_equal(b->ends, 1);
    assert_int_equal(a->events.count, 1); /* who closes is not told */
    rig_fini(&r);
}

static void test_programs_are_not_for_the_core(void **state)
{
    static const uint8_t hash[PEER_HASH_SIZE] = {1};
    struct rig r;
    rig_init(&r);
    struct side *a = &r.sides[0], *b = &r.sides[1];
    open_session(&r);
    struct peer_msg get = {.type = PEER_PROGRAM_GET,
                           .program_get = {.hash = {hash, sizeof hash}, .offset = 7}};
    peer_link_send(a->link, 2, SIDE_OUT, &get);
    UNTIL(&r, b->programs == 1);
    assert_int_equal(b->offset, 7);
    assert_int_equal(b->events.count, 1);

    /* The other one has nobody for them. */
    struct peer_msg m = {.type = PEER_GRANT, .slots = {.number = 1, .count = 1}};
    peer_link_send(b->link, 1, SIDE_IN, &get);
    peer_link_send(b->link, 1, SIDE_IN, &m);
    UNTIL(&r, a->events.count == 2);
    assert_int_equal(a->events.items[1].peer_msg->type, PEER_GRANT);
    rig_fini(&r);
}

static void test_a_peer_that_is_gone(void **state)
{
    struct rig r;
    rig_init(&r);
    struct side *a = &r.sides[0], *b = &r.sides[1];
    char address[HOSTPORT_SIZE], key[KEYS_TEXT_SIZE];
    open_session(&r);
    snprintf(address, sizeof address, "%s", peer_link_address(b->link));
    snprintf(key, sizeof key, "%s", peer_link_key(b->link));
    peer_link_free(b->link);
    b->link = NULL;
    UNTIL(&r, a->events.items[a->events.count - 1].refused);
    assert_int_equal(a->events.items[a->events.count - 1].kind, EVENT_PEER_DOWN);

    size_t before = a->events.count;
    peer_link_open(a->link, 9, "not-an-address", key);
    assert_int_equal(a->events.count, before + 1);
    assert_int_equal(a->events.items[before].kind, EVENT_PEER_DOWN);
    assert_int_equal(a->events.items[before].peer, 9);
    rig_fini(&r);
}

static void test_where_it_cannot_listen(void **state)
{
    struct rig r;
    struct failure f;
    struct peer_link *other = NULL;
    rig_init(&r);
    struct peer_link_config config = {.loop = r.loop,
                                      .events = &r.sides[0].events,
                                      .keys = &r.keys,
                                      .head_address = "127.0.0.1:7420",
                                      .bind = "127.0.0.1",
                                      .port = peer_link_port(r.sides[1].link),
                                      .exact = true};
    assert_int_equal(peer_link_new(&config, &other, &f), CODE_FAILED);
    assert_non_null(strstr(f.message, "--port"));
    config.bind = "192.0.2.1";
    assert_int_equal(peer_link_new(&config, &other, &f), CODE_SIGNATURE);
    assert_non_null(strstr(f.message, "--bind"));
    assert_null(other);
    /* On all interfaces: the address is the one on the way to the head. */
    config.bind = NULL;
    config.exact = false;
    assert_int_equal(peer_link_new(&config, &other, &f), 0);
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%u", peer_link_port(other));
    assert_string_equal(peer_link_address(other), address);
    peer_link_free(other);
    rig_fini(&r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_become_events),
        cmocka_unit_test(test_programs_are_not_for_the_core),
        cmocka_unit_test(test_a_peer_that_is_gone),
        cmocka_unit_test(test_where_it_cannot_listen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
