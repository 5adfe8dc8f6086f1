/* The raylet's ends of its links, with a server in the same loop that plays the head. */
#include "raylet/head_link.h"

#include <unistd.h>

#include "common/clock.h"
#include "raylet/peer_link.h"
#include "tests/unit/unit.h"

#define LIMIT_NS (10 * NS_PER_S)

struct rig {
    struct loop *loop;
    struct events events;
    struct keys_member keys;
    struct keys_pair server_key;
    struct link *server;
    uint16_t port;
    char address[64];
    const char *addresses[1];
    struct head_link *link;
    struct peer_link *peers;
    uint64_t peer;
    struct buffer heard; /* the last message that the server got */
    unsigned messages, datagrams, downs;
    enum link_down why;
};

static void server_up(void *arg, uint64_t peer, const struct link_identity *identity)
{
    ((struct rig *)arg)->peer = peer;
}

static void server_message(void *arg, uint64_t peer, struct bytes message, bool datagram)
{
    struct rig *r = arg;
    buffer_clear(&r->heard);
    buffer_append(&r->heard, message.data, message.size);
    r->messages += !datagram;
    r->datagrams += datagram;
}

static void server_room(void *arg, uint64_t peer)
{
}

static void server_down(void *arg, uint64_t peer, enum link_down why)
{
}

static void on_down(void *arg, enum link_down why)
{
    struct rig *r = arg;
    r->downs++;
    r->why = why;
}

static void start_server(struct rig *r)
{
    struct link_server_config config = {.loop = r->loop,
                                        .bind = "127.0.0.1",
                                        .port = r->port,
                                        .key = r->server_key,
                                        .number = SESSION_NUMBER_HEAD,
                                        .events = {.on_up = server_up,
                                                   .on_message = server_message,
                                                   .on_room = server_room,
                                                   .on_down = server_down,
                                                   .arg = r}};
    memcpy(config.access.node_public, r->keys.own.public_key, KEYS_TEXT_SIZE);
    assert_int_equal(link_server_new(&config, &r->server, &r->port), 0);
    snprintf(r->address, sizeof r->address, "127.0.0.1:%u", r->port);
    r->addresses[0] = r->address;
}

static int start_link(struct rig *r, const char *bind, uint16_t port, bool exact, struct failure *f)
{
    struct peer_link_config peers = {.loop = r->loop,
                                     .events = &r->events,
                                     .keys = &r->keys,
                                     .head_address = r->addresses[0],
                                     .bind = bind,
                                     .port = port,
                                     .exact = exact};
    peer_link_free(r->peers);
    r->peers = NULL;
    int rc = peer_link_new(&peers, &r->peers, f);
    if (rc != 0) {
        return rc;
    }
    struct head_link_config config = {.loop = r->loop,
                                      .events = &r->events,
                                      .keys = &r->keys,
                                      .addresses = r->addresses,
                                      .address_count = 1,
                                      .context = peer_link_context(r->peers),
                                      .address = peer_link_address(r->peers),
                                      .public_key = peer_link_key(r->peers),
                                      .supersedes = 6,
                                      .on_down = on_down,
                                      .arg = r};
    return head_link_new(&config, &r->link, f);
}

static void rig_init(struct rig *r)
{
    *r = (struct rig){0};
    assert_int_equal(loop_new(&r->loop), 0);
    assert_int_equal(keys_pair_new(&r->server_key), 0);
    assert_int_equal(keys_pair_new(&r->keys.own), 0);
    memcpy(r->keys.server_public, r->server_key.public_key, KEYS_TEXT_SIZE);
    start_server(r);
}

static void rig_fini(struct rig *r)
{
    head_link_free(r->link);
    peer_link_free(r->peers);
    link_free(r->server);
    events_fini(&r->events);
    buffer_fini(&r->heard);
    loop_free(r->loop);
}

static void turn(struct rig *r)
{
    uint64_t now_ns = clock_now_ns();
    head_link_tick(r->link, now_ns);
    peer_link_tick(r->peers, now_ns);
    if (r->server != NULL) {
        link_tick(r->server, now_ns);
    }
    assert_true(loop_turn(r->loop, NS_PER_MS) >= 0);
}

#define UNTIL(r, condition)                                                                        \
    for (uint64_t deadline_ns = clock_now_ns() + LIMIT_NS; !(condition);) {                        \
        assert_true(clock_now_ns() < deadline_ns);                                                 \
        turn(r);                                                                                   \
    }

static void decode(struct rig *r, struct arena *arena, struct cluster_msg *ret)
{
    const char *why = NULL;
    assert_int_equal(cluster_decode(bytes_of(r->heard.data, r->heard.size), arena, ret, &why), 0);
}

static void test_a_session(void **state)
{
    struct rig r;
    struct failure f;
    struct arena arena = {0};
    struct cluster_msg m;
    char own[64];
    rig_init(&r);
    assert_int_equal(start_link(&r, "127.0.0.1", 0, false, &f), 0);
    snprintf(own, sizeof own, "127.0.0.1:%u", peer_link_port(r.peers));
    assert_string_equal(peer_link_address(r.peers), own);
    UNTIL(&r, r.events.count == 1);
    assert_int_equal(r.events.items[0].kind, EVENT_HEAD_UP);

    /* JOIN gets what only this process knows. */
    struct cluster_msg join = {.type = CLUSTER_JOIN};
    join.join =
        (struct cluster_join){.protocol = CLUSTER_PROTOCOL_VERSION, .name = "box", .labels = ""};
    head_link_send(r.link, &join);
    UNTIL(&r, r.messages == 1);
    decode(&r, &arena, &m);
    assert_int_equal(m.type, CLUSTER_JOIN);
    assert_string_equal(m.join.name, "box");
    assert_string_equal(m.join.address, own);
    assert_int_equal(strlen(m.join.public_key), KEYS_TEXT_SIZE - 1);
    assert_string_equal(m.join.public_key, peer_link_key(r.peers));
    assert_string_not_equal(m.join.public_key, r.keys.own.public_key);
    assert_int_equal(m.join.pid, getpid());
    assert_int_equal(m.join.supersedes, 6);
    assert_true(m.join.host[0] != '\0');
    assert_string_equal(m.join.version, DRT_VERSION);

    /* In a later session it has a number, and supersedes nobody. */
    join.join.number = 7;
    head_link_send(r.link, &join);
    UNTIL(&r, r.messages == 2);
    decode(&r, &arena, &m);
    assert_int_equal(m.join.supersedes, 0);

    struct cluster_msg renew = {.type = CLUSTER_RENEW, .renew = {.sent_ns = 5}};
    head_link_datagram(r.link, &renew);
    UNTIL(&r, r.datagrams == 1);
    decode(&r, &arena, &m);
    assert_int_equal(m.renew.sent_ns, 5);
    arena_fini(&arena);
    rig_fini(&r);
}

static void test_what_the_head_says(void **state)
{
    struct rig r;
    struct failure f;
    uint8_t packed[256];
    struct cluster_msg m = {.type = CLUSTER_JOB_ENDED, .job_ended = {.job = 9}};
    rig_init(&r);
    assert_int_equal(start_link(&r, "127.0.0.1", 0, false, &f), 0);
    UNTIL(&r, r.events.count == 1 && r.peer != 0 && link_is_up(r.server, r.peer));
    assert_int_equal(link_send(r.server, r.peer, bytes_of_text("no message of ours")), 0);
    cluster_encode(&m, packed);
    assert_int_equal(link_send(r.server, r.peer, bytes_of(packed, cluster_size(&m))), 0);
    UNTIL(&r, r.events.count == 2);
    assert_int_equal(r.events.items[1].kind, EVENT_HEAD_MESSAGE);
    assert_int_equal(r.events.items[1].head->type, CLUSTER_JOB_ENDED);
    assert_int_equal(r.events.items[1].head->job_ended.job, 9);

    /* It goes away, and comes back. */
    link_free(r.server);
    r.server = NULL;
    UNTIL(&r, r.downs != 0 && r.why == LINK_REFUSED);
    assert_int_equal(r.events.items[2].kind, EVENT_HEAD_DOWN);
    const struct raylet_event *last = &r.events.items[r.events.count - 1];
    assert_int_equal(last->kind, EVENT_HEAD_DOWN);
    assert_true(last->refused);
    size_t before = r.events.count;
    start_server(&r);
    UNTIL(&r, r.events.count > before && r.events.items[r.events.count - 1].kind == EVENT_HEAD_UP);
    rig_fini(&r);
}

static void test_a_wrong_key(void **state)
{
    struct rig r;
    struct failure f;
    rig_init(&r);
    assert_int_equal(keys_pair_new(&r.keys.own), 0);
    assert_int_equal(start_link(&r, "127.0.0.1", 0, false, &f), 0);
    UNTIL(&r, r.downs != 0);
    assert_int_equal(r.why, LINK_KEY_REFUSED);
    assert_true(r.events.count != 0);
    assert_int_equal(r.events.items[0].kind, EVENT_HEAD_DOWN);
    assert_true(r.events.items[0].key_refused);
    rig_fini(&r);
}

static void test_where_it_cannot_listen(void **state)
{
    struct rig r;
    struct failure f;
    rig_init(&r);
    assert_int_equal(start_link(&r, "127.0.0.1", r.port, true, &f), CODE_FAILED);
    assert_non_null(strstr(f.message, "--port"));
    assert_int_equal(start_link(&r, "192.0.2.1", 0, false, &f), CODE_SIGNATURE);
    assert_non_null(strstr(f.message, "--bind"));
    r.addresses[0] = "no.such.host.invalid:7420";
    assert_int_equal(start_link(&r, "127.0.0.1", 0, false, &f), CODE_DISCONNECTED);
    assert_non_null(strstr(f.message, "no.such.host.invalid"));
    /* Taken, but not asked for exactly: the next free one. */
    r.addresses[0] = r.address;
    assert_int_equal(start_link(&r, "127.0.0.1", r.port, false, &f), 0);
    assert_int_not_equal(peer_link_port(r.peers), r.port);
    rig_fini(&r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_session),
        cmocka_unit_test(test_what_the_head_says),
        cmocka_unit_test(test_a_wrong_key),
        cmocka_unit_test(test_where_it_cannot_listen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
