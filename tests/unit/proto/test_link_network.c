/*
 * Links over a network that fails: between both ends stands a relay that cuts connections, keeps
 * bytes back, or forgets to tell one side that the other went. Sessions go on over all of it.
 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/loop.h"
#include "proto/link.h"

#define DEADLINE_NS (15 * NS_PER_S)
#define PIPES_MAX   64

struct half {
    struct loop_source source;
    struct world *world;
    struct pipe *pipe;
    int fd; /* -1: closed */
};

struct pipe { /* one connection through the relay: [0] from the client, [1] to the server */
    struct half halves[2];
};

struct world {
    struct loop *loop;
    struct loop_source listening;
    int listener;
    uint16_t relay_port, server_port;
    bool stalled;         /* nothing passes; what comes waits in the kernel */
    bool forgets_clients; /* a client's end is not passed on to the server */
    struct pipe pipes[PIPES_MAX];
    unsigned pipe_count;
    struct link *server, *client;
    uint64_t server_peer, server_next, client_next, server_messages, client_messages;
    unsigned server_ups, client_ups, downs, cuts;
    bool wrong_order;
};

/* ---- the relay ---- */

static void close_half(struct half *h)
{
    if (h->fd >= 0) {
        loop_remove(&h->source);
        close(h->fd);
        h->fd = -1;
    }
}

static void on_bytes(struct loop_source *source, uint32_t events)
{
    struct half *h = source->arg;
    struct world *w = h->world;
    uint8_t data[65536];
    struct half *other = &h->pipe->halves[h == &h->pipe->halves[0]];
    ssize_t n = recv(h->fd, data, sizeof data, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        bool from_client = h == &h->pipe->halves[0];
        close_half(h);
        if (!from_client || !w->forgets_clients) {
            close_half(other);
        }
        return;
    }
    for (ssize_t sent = 0; sent < n && other->fd >= 0;) {
        ssize_t r = send(other->fd, data + sent, (size_t)(n - sent), MSG_NOSIGNAL);
        if (r <= 0) {
            close_half(other);
        }
        sent += r;
    }
}

static int dial(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void watch_half(struct world *w, struct pipe *p, int which, int fd)
{
    struct half *h = &p->halves[which];
    *h = (struct half){.world = w, .pipe = p, .fd = fd};
    assert_int_equal(loop_add(w->loop, &h->source, fd, w->stalled ? 0 : EPOLLIN, on_bytes, h), 0);
}

static void on_connection(struct loop_source *source, uint32_t events)
{
    struct world *w = source->arg;
    int fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    int server = dial(w->server_port);
    if (server < 0) {
        close(fd);
        return;
    }
    assert_true(w->pipe_count < PIPES_MAX);
    struct pipe *p = &w->pipes[w->pipe_count++];
    watch_half(w, p, 0, fd);
    watch_half(w, p, 1, server);
}

static void cut(struct world *w)
{
    for (unsigned i = 0; i < w->pipe_count; i++) {
        close_half(&w->pipes[i].halves[0]);
        close_half(&w->pipes[i].halves[1]);
    }
}

static void set_stalled(struct world *w, bool stalled)
{
    w->stalled = stalled;
    for (unsigned i = 0; i < w->pipe_count; i++) {
        for (int k = 0; k < 2; k++) {
            struct half *h = &w->pipes[i].halves[k];
            if (h->fd >= 0) {
                assert_int_equal(loop_change(&h->source, stalled ? 0 : EPOLLIN), 0);
            }
        }
    }
}

static void start_relay(struct world *w)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    w->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(w->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(w->listener, 16), 0);
    assert_int_equal(getsockname(w->listener, (struct sockaddr *)&address, &size), 0);
    w->relay_port = ntohs(address.sin_port);
    assert_int_equal(loop_add(w->loop, &w->listening, w->listener, EPOLLIN, on_connection, w), 0);
}

/* ---- both ends ---- */

static void on_server_up(void *arg, uint64_t peer, const struct link_identity *identity)
{
    struct world *w = arg;
    w->server_ups++;
    w->server_peer = peer;
    w->server_next = 1;
}

static void on_client_up(void *arg, uint64_t peer, const struct link_identity *identity)
{
    struct world *w = arg;
    w->client_ups++;
    w->client_next = 1;
}

static void take(struct world *w, struct bytes message, uint64_t *next, uint64_t *count)
{
    uint64_t number = 0;
    memcpy(&number, message.data, sizeof number);
    w->wrong_order |= number != *next;
    *next = number + 1;
    ++*count;
}

static void on_server_message(void *arg, uint64_t peer, struct bytes message, bool datagram)
{
    struct world *w = arg;
    take(w, message, &w->server_next, &w->server_messages);
    assert_int_equal(link_send(w->server, peer, message), 0);
}

static void on_client_message(void *arg, uint64_t peer, struct bytes message, bool datagram)
{
    struct world *w = arg;
    take(w, message, &w->client_next, &w->client_messages);
}

static void on_room(void *arg, uint64_t peer)
{
}

static void on_down(void *arg, uint64_t peer, enum link_down why)
{
    ((struct world *)arg)->downs++;
}

static void on_cut(void *arg, uint64_t peer)
{
    ((struct world *)arg)->cuts++;
}

static void start_links(struct world *w)
{
    struct keys_pair server_key, node_key;
    char address[32];
    const char *addresses[] = {address};
    assert_int_equal(keys_pair_new(&server_key), 0);
    assert_int_equal(keys_pair_new(&node_key), 0);
    struct link_server_config server = {
        .loop = w->loop,
        .bind = "127.0.0.1",
        .key = server_key,
        .number = SESSION_NUMBER_HEAD,
        .events = {on_server_up, on_server_message, on_room, on_down, on_cut, NULL, NULL, NULL, w}};
    memcpy(server.access.node_public, node_key.public_key, KEYS_TEXT_SIZE);
    assert_int_equal(link_server_new(&server, &w->server, &w->server_port), 0);
    snprintf(address, sizeof address, "127.0.0.1:%u", w->relay_port);
    struct link_client_config client = {
        .loop = w->loop,
        .addresses = addresses,
        .address_count = 1,
        .key = node_key,
        .events = {on_client_up, on_client_message, on_room, on_down, NULL, NULL, NULL, NULL, w}};
    memcpy(client.server_public, server_key.public_key, KEYS_TEXT_SIZE);
    assert_int_equal(link_client_new(&client, &w->client), 0);
}

static void turn(struct world *w, uint64_t until_ns)
{
    uint64_t now = clock_now_ns();
    uint64_t next = MIN_OF(until_ns, MIN_OF(link_next_ns(w->server), link_next_ns(w->client)));
    assert_true(loop_turn(w->loop, next > now ? next - now : 0) >= 0);
    link_tick(w->server, clock_now_ns());
    link_tick(w->client, clock_now_ns());
}

#define WAIT_FOR(w, condition)                                                                     \
    do {                                                                                           \
        uint64_t end_ns_ = clock_now_ns() + DEADLINE_NS;                                           \
        while (!(condition)) {                                                                     \
            assert_true(clock_now_ns() < end_ns_);                                                 \
            turn(w, end_ns_);                                                                      \
        }                                                                                          \
    } while (0)

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    assert_int_equal(loop_new(&w->loop), 0);
    start_relay(w);
    start_links(w);
    *state = w;
    WAIT_FOR(w, w->client_ups == 1 && w->server_ups == 1);
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    link_free(w->client);
    link_free(w->server);
    cut(w);
    loop_remove(&w->listening);
    close(w->listener);
    loop_free(w->loop);
    free(w);
    return 0;
}

static void send_numbers(struct world *w, uint64_t from, uint64_t to)
{
    uint8_t data[2000] = {0};
    for (uint64_t i = from; i <= to; i++) {
        memcpy(data, &i, sizeof i);
        assert_int_equal(link_send(w->client, LINK_ONLY_PEER, bytes_of(data, 8 + i * 37 % 1900)),
                         0);
    }
}

static void test_connections_are_cut(void **state)
{
    struct world *w = *state;
    uint64_t sent = 0;
    for (unsigned round = 0; round < 10; round++) {
        send_numbers(w, sent + 1, sent + 300);
        sent += 300;
        WAIT_FOR(w, w->client_messages >= sent - 250);
        cut(w);
    }
    WAIT_FOR(w, w->client_messages == sent && w->cuts > 0);
    assert_false(w->wrong_order);
    assert_int_equal(w->downs, 0);
    assert_int_equal(w->server_messages, sent);
    assert_int_equal(w->client_ups + w->server_ups, 2);
}

static void test_black_out(void **state)
{
    struct world *w = *state;
    set_stalled(w, true);
    uint64_t end_ns = clock_now_ns() + 5 * NS_PER_S;
    send_numbers(w, 1, 500);
    while (clock_now_ns() < end_ns) {
        turn(w, end_ns);
    }
    assert_int_equal(w->server_messages, 0);
    set_stalled(w, false);
    end_ns = clock_now_ns();
    WAIT_FOR(w, w->client_messages == 500);
    assert_true(clock_now_ns() - end_ns < 3 * NS_PER_S);
    assert_false(w->wrong_order);
    assert_int_equal(w->downs, 0);
}

/* The server still believes in the old connection when the client comes with a new one. */
static void test_half_open(void **state)
{
    struct world *w = *state;
    w->forgets_clients = true;
    send_numbers(w, 1, 100);
    WAIT_FOR(w, w->client_messages == 100);
    close_half(&w->pipes[w->pipe_count - 1].halves[0]);
    send_numbers(w, 101, 200);
    uint64_t begin_ns = clock_now_ns();
    WAIT_FOR(w, w->client_messages == 200);
    assert_true(clock_now_ns() - begin_ns < 2 * NS_PER_S);
    assert_false(w->wrong_order);
    assert_int_equal(w->downs, 0);
    assert_int_equal(w->server_ups, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_connections_are_cut),
        TEST(test_black_out),
        TEST(test_half_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
