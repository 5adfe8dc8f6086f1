/* Links over the loopback: both ends in one loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/loop.h"
#include "proto/link.h"

#define DEADLINE_NS (10 * NS_PER_S)

enum deed { NOTHING, TICK, DROP, FREE }; /* within a callback */
enum callback { ON_UP = 1, ON_MESSAGE, ON_DOWN };

struct end {
    struct link *link;
    enum callback act_in; /* 0: none */
    enum deed deed;
    unsigned acted;
    uint64_t peer; /* the last that came up */
    struct link_identity identity;
    unsigned ups, downs, cuts, rooms, answers;
    enum link_down why;
    enum link_probe_answer answer;
    uint64_t token;
    uint64_t messages, datagrams, next;
    bool wrong_order, echo, drop_at_message;
};

struct pair {
    struct loop *loop;
    struct keys_pair server_key;
    struct keys_pair node_key, client_key;
    struct keys_access access;
    struct end server, client;
    uint16_t port;
    char address[64];
};

static void act(struct end *e, enum callback now, uint64_t peer)
{
    if (e->act_in != now || e->acted != 0) {
        return;
    }
    e->acted++;
    if (e->deed == TICK) {
        link_tick(e->link, clock_now_ns());
    } else if (e->deed == DROP) {
        link_drop(e->link, peer);
    } else if (e->deed == FREE) {
        link_free(e->link);
        e->link = NULL;
    }
}

static void on_up(void *arg, uint64_t peer, const struct link_identity *identity)
{
    struct end *e = arg;
    assert_non_null(e->link);
    e->ups++;
    e->peer = peer;
    e->identity = *identity;
    e->next = 1;
    act(e, ON_UP, peer);
}

static void on_message(void *arg, uint64_t peer, struct bytes message, bool datagram)
{
    struct end *e = arg;
    uint64_t number = 0;
    assert_non_null(e->link);
    if (datagram) {
        e->datagrams++;
        return;
    }
    assert_int_equal((uintptr_t)message.data & 63, 0);
    memcpy(&number, message.data, MIN_OF(sizeof number, message.size));
    e->wrong_order |= number != e->next;
    e->next = number + 1;
    e->messages++;
    if (e->echo) {
        assert_int_equal(link_send(e->link, peer, message), 0);
    }
    if (e->drop_at_message) {
        link_drop(e->link, peer);
    }
    act(e, ON_MESSAGE, peer);
}

static void on_room(void *arg, uint64_t peer)
{
    ((struct end *)arg)->rooms++;
}

static void on_down(void *arg, uint64_t peer, enum link_down why)
{
    struct end *e = arg;
    assert_non_null(e->link);
    e->downs++;
    e->why = why;
    act(e, ON_DOWN, peer);
}

static void on_cut(void *arg, uint64_t peer)
{
    ((struct end *)arg)->cuts++;
}

static void on_probe(void *arg, uint64_t token, enum link_probe_answer answer)
{
    struct end *e = arg;
    e->answers++;
    e->token = token;
    e->answer = answer;
}

static struct link_events events_of(struct end *e)
{
    return (struct link_events){.on_up = on_up,
                                .on_message = on_message,
                                .on_room = on_room,
                                .on_down = on_down,
                                .on_cut = on_cut,
                                .on_probe = on_probe,
                                .arg = e};
}

static void start_server(struct pair *p)
{
    struct link_server_config config = {.loop = p->loop,
                                        .bind = "127.0.0.1",
                                        .port = p->port,
                                        .exact = p->port != 0,
                                        .key = p->server_key,
                                        .access = p->access,
                                        .number = SESSION_NUMBER_HEAD,
                                        .events = events_of(&p->server)};
    assert_int_equal(link_server_new(&config, &p->server.link, &p->port), 0);
    snprintf(p->address, sizeof p->address, "127.0.0.1:%u", p->port);
}

static void start_client(struct pair *p, uint32_t number, const struct keys_pair *key)
{
    const char *addresses[] = {p->address};
    struct link_client_config config = {.loop = p->loop,
                                        .addresses = addresses,
                                        .address_count = 1,
                                        .key = *key,
                                        .number = number,
                                        .events = events_of(&p->client)};
    memcpy(config.server_public, p->server_key.public_key, KEYS_TEXT_SIZE);
    assert_int_equal(link_client_new(&config, &p->client.link), 0);
}

static void turn(struct pair *p, uint64_t until_ns)
{
    uint64_t next = until_ns, now = clock_now_ns();
    next = p->server.link != NULL ? MIN_OF(next, link_next_ns(p->server.link)) : next;
    next = p->client.link != NULL ? MIN_OF(next, link_next_ns(p->client.link)) : next;
    assert_true(loop_turn(p->loop, next > now ? next - now : 0) >= 0);
    if (p->server.link != NULL) {
        link_tick(p->server.link, clock_now_ns());
    }
    if (p->client.link != NULL) {
        link_tick(p->client.link, clock_now_ns());
    }
}

#define WAIT_FOR(p, condition)                                                                     \
    do {                                                                                           \
        uint64_t end_ns_ = clock_now_ns() + DEADLINE_NS;                                           \
        while (!(condition)) {                                                                     \
            assert_true(clock_now_ns() < end_ns_);                                                 \
            turn(p, end_ns_);                                                                      \
        }                                                                                          \
    } while (0)

static void run_for(struct pair *p, uint64_t for_ns)
{
    for (uint64_t end_ns = clock_now_ns() + for_ns; clock_now_ns() < end_ns;) {
        turn(p, end_ns);
    }
}

static int setup(void **state)
{
    struct pair *p = xcalloc(1, sizeof *p);
    assert_int_equal(loop_new(&p->loop), 0);
    assert_int_equal(keys_pair_new(&p->server_key), 0);
    assert_int_equal(keys_pair_new(&p->node_key), 0);
    assert_int_equal(keys_pair_new(&p->client_key), 0);
    memcpy(p->access.node_public, p->node_key.public_key, KEYS_TEXT_SIZE);
    memcpy(p->access.client_public, p->client_key.public_key, KEYS_TEXT_SIZE);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct pair *p = *state;
    link_free(p->client.link);
    link_free(p->server.link);
    loop_free(p->loop);
    free(p);
    return 0;
}

static void stop(struct end *e)
{
    link_free(e->link);
    *e = (struct end){0};
}

static int send_number(struct end *e, uint64_t number, size_t size)
{
    static uint8_t data[LINK_MESSAGE_MAX + 1];
    memcpy(data, &number, sizeof number);
    return link_send(e->link, e->peer, bytes_of(data, size));
}

static void test_talk(void **state)
{
    struct pair *p = *state;
    start_server(p);
    start_client(p, 0, &p->node_key);
    assert_int_equal(send_number(&p->client, 1, 8), -ENOTCONN);
    WAIT_FOR(p, p->client.ups == 1 && p->server.ups == 1);
    assert_int_equal(p->server.identity.role, PEER_NODE);
    assert_int_equal(p->server.identity.number, 0);
    assert_int_equal(p->client.identity.number, SESSION_NUMBER_HEAD);
    assert_int_equal(p->client.peer, LINK_ONLY_PEER);
    assert_true(link_is_up(p->server.link, p->server.peer));
    link_set_number(p->client.link, 3);
    p->server.echo = true;
    for (uint64_t i = 1; i <= 5000; i++) {
        assert_int_equal(send_number(&p->client, i, 8 + i % 100), 0);
    }
    assert_int_equal(link_datagram(p->client.link, LINK_ONLY_PEER, bytes_of("x", 1)), 0);
    WAIT_FOR(p, p->client.messages == 5000 && p->server.datagrams == 1);
    assert_false(p->client.wrong_order || p->server.wrong_order);
    assert_int_equal(send_number(&p->client, 5001, LINK_MESSAGE_MAX), 0);
    WAIT_FOR(p, p->client.messages == 5001);
    assert_int_equal(send_number(&p->client, 1, LINK_MESSAGE_MAX + 1), -EMSGSIZE);
    assert_int_equal(p->server.downs + p->client.downs, 0);
}

static void test_goodbye(void **state)
{
    struct pair *p = *state;
    start_server(p);
    start_client(p, 7, &p->client_key);
    WAIT_FOR(p, p->server.ups == 1);
    assert_int_equal(p->server.identity.role, PEER_CLIENT);
    assert_int_equal(p->server.identity.number, 7);
    stop(&p->client);
    WAIT_FOR(p, p->server.downs == 1);
    assert_int_equal(p->server.why, LINK_ENDED);
    assert_false(link_is_up(p->server.link, p->server.peer));
}

static void test_server_restarts(void **state)
{
    struct pair *p = *state;
    start_server(p);
    start_client(p, 0, &p->node_key);
    WAIT_FOR(p, p->client.ups == 1);
    stop(&p->server);
    WAIT_FOR(p, p->client.downs == 1);
    run_for(p, 300 * NS_PER_MS);
    /* Its goodbye, and then that nobody listens: each once. */
    assert_in_range(p->client.downs, 1, 2);
    assert_int_equal(p->client.why, LINK_REFUSED);
    uint64_t begin_ns = clock_now_ns();
    start_server(p);
    WAIT_FOR(p, p->client.ups == 2 && p->server.ups == 1);
    assert_true(clock_now_ns() - begin_ns < 1500 * NS_PER_MS);
}

static void test_nobody_listens(void **state)
{
    struct pair *p = *state;
    start_server(p);
    stop(&p->server);
    start_client(p, 0, &p->node_key);
    WAIT_FOR(p, p->client.downs == 1);
    assert_int_equal(p->client.why, LINK_REFUSED);
    run_for(p, 500 * NS_PER_MS);
    assert_int_equal(p->client.downs, 1); /* told once */
}

static void test_wrong_keys(void **state)
{
    struct pair *p = *state;
    struct keys_pair stranger;
    assert_int_equal(keys_pair_new(&stranger), 0);
    start_server(p);
    start_client(p, 0, &stranger);
    WAIT_FOR(p, p->client.downs == 1);
    assert_int_equal(p->client.why, LINK_KEY_REFUSED);
    assert_int_equal(p->server.ups, 0);
    struct link_counts counts;
    link_count(p->server.link, &counts);
    assert_true(counts.refused_keys >= 1);
    stop(&p->client);

    /* A key file of another cluster: the server is not who it names. */
    struct keys_pair real = p->server_key;
    memcpy(p->server_key.public_key, stranger.public_key, KEYS_TEXT_SIZE);
    start_client(p, 0, &p->node_key);
    WAIT_FOR(p, p->client.downs == 1);
    assert_int_equal(p->client.why, LINK_STRANGER);
    p->server_key = real;
}

static void test_drop_by_the_server(void **state)
{
    struct pair *p = *state;
    start_server(p);
    start_client(p, 0, &p->node_key);
    WAIT_FOR(p, p->client.ups == 1);
    p->server.drop_at_message = true;
    assert_int_equal(send_number(&p->client, 1, 100), 0);
    WAIT_FOR(p, p->client.downs == 1);
    assert_int_equal(p->client.why, LINK_ENDED);
    assert_int_equal(p->server.downs, 0);
    /* It tries again by itself. */
    WAIT_FOR(p, p->client.ups == 2 && p->server.ups == 2);
}

static void test_drop_by_the_client(void **state)
{
    struct pair *p = *state;
    start_server(p);
    start_client(p, 0, &p->node_key);
    WAIT_FOR(p, p->client.ups == 1 && p->server.ups == 1);
    link_drop(p->client.link, LINK_ONLY_PEER);
    assert_int_equal(send_number(&p->client, 1, 8), -ENOTCONN);
    WAIT_FOR(p, p->client.ups == 2 && p->server.ups == 2 && p->server.downs == 1);
    assert_int_equal(send_number(&p->client, 1, 8), 0);
    WAIT_FOR(p, p->server.messages == 1);
}

static void test_full(void **state)
{
    struct pair *p = *state;
    start_server(p);
    start_client(p, 0, &p->node_key);
    WAIT_FOR(p, p->client.ups == 1);
    uint64_t sent = 0;
    while (send_number(&p->client, sent + 1, 50000) == 0) {
        sent++;
    }
    assert_true(sent * 50000 <= SESSION_UNACKED_MAX);
    WAIT_FOR(p, p->server.messages == sent && p->client.rooms == 1);
    assert_false(p->server.wrong_order);
    assert_int_equal(send_number(&p->client, sent + 1, 50000), 0);
    WAIT_FOR(p, p->server.messages == sent + 1);
}

/* Each callback of either end does what it likes with its link; another one talks then. */
static void test_deeds_in_callbacks(void **state)
{
    struct pair *p = *state;
    for (unsigned i = 0; i < 2 * 3 * 3; i++) {
        struct end *e = i % 2 == 0 ? &p->client : &p->server,
                   *other = e == &p->client ? &p->server : &p->client;
        e->act_in = ON_UP + i / 2 % 3;
        e->deed = TICK + i / 6;
        start_server(p);
        start_client(p, 5, &p->node_key);
        for (uint64_t end_ns = clock_now_ns() + DEADLINE_NS; e->acted == 0;) {
            assert_true(clock_now_ns() < end_ns);
            turn(p, clock_now_ns() + NS_PER_MS);
            if (e->act_in == ON_DOWN && e->ups != 0 && other->link != NULL) {
                stop(other);
            } else if (e->acted == 0 && other->link != NULL && other->ups != 0) {
                (void)!send_number(other, other->messages + 1, 100);
            }
        }
        turn(p, clock_now_ns() + NS_PER_MS);
        stop(&p->client);
        stop(&p->server);
    }
    start_server(p);
    start_client(p, 5, &p->node_key);
    WAIT_FOR(p, p->client.ups == 1 && p->server.ups == 1);
    assert_int_equal(send_number(&p->client, 1, 100), 0);
    WAIT_FOR(p, p->server.messages == 1);
}

static void test_probe(void **state)
{
    struct pair *p = *state;
    start_server(p);
    assert_int_equal(link_probe(p->server.link, p->address, 5), 0);
    WAIT_FOR(p, p->server.answers == 1);
    assert_int_equal(p->server.answer, LINK_PROBE_LISTENS);
    assert_int_equal(p->server.token, 5);
    assert_int_equal(link_probe(p->server.link, "127.0.0.1:1", 6), 0);
    WAIT_FOR(p, p->server.answers == 2);
    assert_int_equal(p->server.answer, LINK_PROBE_REFUSED);
    assert_int_equal(p->server.token, 6);
    assert_int_equal(link_probe(p->server.link, "no.such.host.invalid:1", 7), 0);
    WAIT_FOR(p, p->server.answers == 3);
    assert_int_equal(p->server.answer, LINK_PROBE_SILENT);
    assert_int_equal(link_probe(p->server.link, "127.0.0.1", 7), -EINVAL);
}

static uint64_t cpu_ns(void)
{
    return clock_read_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void test_idle_costs_nothing(void **state)
{
    struct pair *p = *state;
    start_server(p);
    start_client(p, 0, &p->node_key);
    WAIT_FOR(p, p->client.ups == 1 && p->server.ups == 1);
    run_for(p, 200 * NS_PER_MS);
    uint64_t before = cpu_ns();
    run_for(p, 2 * NS_PER_S);
    uint64_t used = cpu_ns() - before;
    assert_true(used < 20 * NS_PER_MS); /* 1 %, of both ends and ZeroMQ's threads */
}

static void test_ports(void **state)
{
    struct pair *p = *state;
    struct end other = {0};
    uint16_t port = 0;
    start_server(p);
    struct link_server_config config = {.loop = p->loop,
                                        .bind = "127.0.0.1",
                                        .port = p->port,
                                        .exact = true,
                                        .key = p->server_key,
                                        .access = p->access,
                                        .events = events_of(&other)};
    assert_int_equal(link_server_new(&config, &other.link, &port), -EADDRINUSE);
    config.exact = false;
    assert_int_equal(link_server_new(&config, &other.link, &port), 0);
    assert_in_range(port, p->port + 1, p->port + 99);
    link_free(other.link);
    config.bind = "192.0.2.1"; /* of nobody */
    assert_int_equal(link_server_new(&config, &other.link, &port), -EADDRNOTAVAIL);
    config.bind = "nonsense";
    assert_int_equal(link_server_new(&config, &other.link, &port), -EINVAL);
}

static void test_bad_addresses(void **state)
{
    struct pair *p = *state;
    const char *addresses[] = {"nowhere"};
    struct link_client_config config = {.loop = p->loop,
                                        .addresses = addresses,
                                        .address_count = 1,
                                        .key = p->node_key,
                                        .events = events_of(&p->client)};
    memcpy(config.server_public, p->server_key.public_key, KEYS_TEXT_SIZE);
    assert_int_equal(link_client_new(&config, &p->client.link), -EINVAL);
    config.address_count = 0;
    assert_int_equal(link_client_new(&config, &p->client.link), -ENOENT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_talk),
        TEST(test_goodbye),
        TEST(test_server_restarts),
        TEST(test_nobody_listens),
        TEST(test_wrong_keys),
        TEST(test_drop_by_the_server),
        TEST(test_drop_by_the_client),
        TEST(test_full),
        TEST(test_deeds_in_callbacks),
        TEST(test_probe),
        TEST(test_idle_costs_nothing),
        TEST(test_ports),
        TEST(test_bad_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
