/* What tests/contract does not ask of every transport: roles, limits, many peers. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <poll.h>
#include <zmq.h>

#include "common/clock.h"
#include "proto/transport_zmq.h"

#define DEADLINE_NS (10 * NS_PER_S)
#define MANY        200u

struct world {
    struct transport_zmq_context *context;
    struct transport *server;
    struct keys_pair server_key, keys[3]; /* node, client, reader */
    uint16_t port;
    uint64_t last_peer;
    enum peer_role last_role;
    unsigned ups, downs, messages;
    struct transport *clients[MANY];
    unsigned client_ups, client_messages;
    void *strangers;
};

static void on_up(void *arg, uint64_t peer, enum peer_role role)
{
    struct world *w = arg;
    w->ups++;
    w->last_peer = peer;
    w->last_role = role;
}

static void on_message(void *arg, uint64_t peer, struct bytes message)
{
    struct world *w = arg;
    w->messages++;
    assert_int_equal(w->server->ops->send(w->server, peer, message), 0);
}

static void on_room(void *arg, uint64_t peer)
{
}

static void on_down(void *arg, uint64_t peer, bool refused)
{
    ((struct world *)arg)->downs++;
}

static void on_client_up(void *arg, uint64_t peer, enum peer_role role)
{
    ((struct world *)arg)->client_ups++;
}

static void on_client_message(void *arg, uint64_t peer, struct bytes message)
{
    ((struct world *)arg)->client_messages++;
}

static void on_client_down(void *arg, uint64_t peer, bool refused)
{
}

static void start_server(struct world *w, uint32_t peers_max)
{
    struct transport_events events = {on_up, on_message, on_room, on_down, w};
    struct transport_zmq_server_config config = {
        .bind = "127.0.0.1", .key = w->server_key, .peers_max = peers_max};
    memcpy(config.access.node_public, w->keys[0].public_key, KEYS_TEXT_SIZE);
    memcpy(config.access.client_public, w->keys[1].public_key, KEYS_TEXT_SIZE);
    memcpy(config.access.reader_public, w->keys[2].public_key, KEYS_TEXT_SIZE);
    assert_int_equal(transport_zmq_server_new(&config, &events, &w->server, &w->port), 0);
}

static struct transport *start_client(struct world *w, unsigned key)
{
    struct transport_events events = {on_client_up, on_client_message, on_room, on_client_down, w};
    struct transport *client;
    char address[32];
    const char *addresses[] = {address};
    struct transport_zmq_client_config config = {
        .context = w->context, .addresses = addresses, .address_count = 1, .key = w->keys[key]};
    memcpy(config.server_public, w->server_key.public_key, KEYS_TEXT_SIZE);
    snprintf(address, sizeof address, "127.0.0.1:%u", w->port);
    assert_int_equal(transport_zmq_client_new(&config, &events, &client), 0);
    return client;
}

static void pump(struct world *w)
{
    int moved = w->server->ops->turn(w->server);
    for (unsigned i = 0; i < MANY; i++) {
        if (w->clients[i] != NULL) {
            moved += w->clients[i]->ops->turn(w->clients[i]);
        }
    }
    if (moved == 0) {
        poll(NULL, 0, 1);
    }
}

#define WAIT_FOR(w, condition)                                                                     \
    do {                                                                                           \
        uint64_t end_ns_ = clock_now_ns() + DEADLINE_NS;                                           \
        while (!(condition)) {                                                                     \
            assert_true(clock_now_ns() < end_ns_);                                                 \
            pump(w);                                                                               \
        }                                                                                          \
    } while (0)

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    w->context = transport_zmq_context_new();
    w->strangers = zmq_ctx_new();
    assert_int_equal(keys_pair_new(&w->server_key), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(w->keys); i++) {
        assert_int_equal(keys_pair_new(&w->keys[i]), 0);
    }
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < MANY; i++) {
        if (w->clients[i] != NULL) {
            w->clients[i]->ops->free(w->clients[i]);
        }
    }
    if (w->server != NULL) {
        w->server->ops->free(w->server);
    }
    transport_zmq_context_unref(w->context);
    zmq_ctx_term(w->strangers);
    free(w);
    return 0;
}

static void test_self_check(void **state)
{
    struct world *w = *state;
    struct transport_zmq_counts counts;
    start_server(w, 0);
    uint64_t begin_ns = clock_now_ns();
    assert_int_equal(transport_zmq_self_check(w->server), 0);
    assert_true(clock_now_ns() - begin_ns < 500 * NS_PER_MS);
    transport_zmq_count(w->server, &counts);
    assert_int_equal(counts.refused_keys, 0); /* our own try is none */
    assert_int_equal(w->ups, 0);
}

static void test_roles(void **state)
{
    static const enum peer_role roles[] = {PEER_NODE, PEER_CLIENT, PEER_READER};
    struct world *w = *state;
    start_server(w, 0);
    for (unsigned i = 0; i < 3; i++) {
        w->clients[i] = start_client(w, i);
        WAIT_FOR(w, w->ups == i + 1);
        assert_int_equal(w->last_role, roles[i]);
    }
}

static void *raw_client(struct world *w, unsigned key, const char *routing_id)
{
    char endpoint[64];
    int zero = 0;
    void *socket = zmq_socket(w->strangers, ZMQ_DEALER);
    zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(socket, ZMQ_ROUTING_ID, routing_id, strlen(routing_id));
    zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, w->server_key.public_key, KEYS_TEXT_SIZE);
    zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, w->keys[key].public_key, KEYS_TEXT_SIZE);
    zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, w->keys[key].secret_key, KEYS_TEXT_SIZE);
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", w->port);
    assert_int_equal(zmq_connect(socket, endpoint), 0);
    assert_int_equal(zmq_send(socket, "x", 1, 0), 1);
    return socket;
}

/* Who takes another's routing id gets nothing of its role. */
static void test_stolen_routing_id(void **state)
{
    struct world *w = *state;
    start_server(w, 0);
    void *node = raw_client(w, 0, "the same 16 bytes0000000");
    WAIT_FOR(w, w->messages == 1);
    assert_int_equal(w->last_role, PEER_NODE);
    uint64_t first = w->last_peer;
    void *reader = raw_client(w, 2, "the same 16 bytes0000001");
    WAIT_FOR(w, w->messages == 2);
    assert_int_equal(w->downs, 1);
    assert_int_equal(w->last_role, PEER_READER);
    assert_int_not_equal(w->last_peer, first);
    assert_int_equal(w->server->ops->send(w->server, first, bytes_of("x", 1)), -ENOTCONN);
    zmq_close(node);
    zmq_close(reader);
}

/* The newest connection of a peer counts; what still comes over a former one is late. */
static void test_late_words(void **state)
{
    struct world *w = *state;
    char answer;
    start_server(w, 0);
    void *former = raw_client(w, 0, "the same 16 byte10000000");
    WAIT_FOR(w, w->messages == 1);
    uint64_t peer = w->last_peer;
    void *newest = raw_client(w, 0, "the same 16 byte20000000");
    WAIT_FOR(w, w->messages == 2);
    assert_int_equal(w->last_peer, peer);
    assert_int_equal(zmq_send(former, "x", 1, 0), 1);
    assert_int_equal(w->server->ops->send(w->server, peer, bytes_of("y", 1)), 0);
    while (zmq_recv(newest, &answer, 1, ZMQ_DONTWAIT) != 1) {
        pump(w);
    }
    zmq_close(former);
    assert_int_equal(zmq_send(newest, "x", 1, 0), 1);
    WAIT_FOR(w, w->messages == 3);
    assert_int_equal(w->downs, 0);
    zmq_close(newest);
    WAIT_FOR(w, w->downs == 1);
    assert_int_equal(w->messages, 3);
}

/* A client that connects again is the same peer: its session goes on. */
static void test_connects_again_as_the_same(void **state)
{
    struct world *w = *state;
    start_server(w, 0);
    w->clients[0] = start_client(w, 0);
    WAIT_FOR(w, w->ups == 1 && w->client_ups == 1);
    uint64_t peer = w->last_peer;
    transport_zmq_client_renew(w->clients[0]);
    assert_int_equal(w->clients[0]->ops->send(w->clients[0], 1, bytes_of("x", 1)), -ENOTCONN);
    WAIT_FOR(w, w->client_ups == 2);
    assert_int_equal(w->clients[0]->ops->send(w->clients[0], 1, bytes_of("x", 1)), 0);
    WAIT_FOR(w, w->messages == 1 && w->client_messages == 1);
    assert_int_equal(w->last_peer, peer);
}

static void test_limit_of_peers(void **state)
{
    struct world *w = *state;
    struct transport_zmq_counts counts = {0};
    start_server(w, 2);
    for (unsigned i = 0; i < 3; i++) {
        w->clients[i] = start_client(w, 0);
        WAIT_FOR(w, w->client_ups == i + 1);
    }
    uint64_t end_ns = clock_now_ns() + DEADLINE_NS;
    while (counts.ignored == 0) {
        assert_true(clock_now_ns() < end_ns);
        pump(w);
        transport_zmq_count(w->server, &counts);
    }
    assert_int_equal(w->ups, 2);
}

static unsigned count_descriptors(void)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n;
}

static void test_many_peers(void **state)
{
    struct world *w = *state;
    start_server(w, 0);
    unsigned before = count_descriptors();
    for (unsigned i = 0; i < MANY; i++) {
        w->clients[i] = start_client(w, 0);
    }
    WAIT_FOR(w, w->ups == MANY && w->client_ups == MANY);
    /* Both ends are here: one of each is the server's. */
    assert_true(count_descriptors() - before <= MANY * 6);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(w->clients[i]->ops->send(w->clients[i], 1, bytes_of("hello", 5)), 0);
    }
    WAIT_FOR(w, w->client_messages == MANY);
    for (unsigned i = 0; i < MANY; i++) {
        w->clients[i]->ops->free(w->clients[i]);
        w->clients[i] = NULL;
    }
    WAIT_FOR(w, w->downs == MANY);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_self_check),
        TEST(test_roles),
        TEST(test_late_words),
        TEST(test_stolen_routing_id),
        TEST(test_connects_again_as_the_same),
        TEST(test_limit_of_peers),
        TEST(test_many_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
