#include "tests/contract/contract.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/loop.h"
#include "common/rng.h"
#include "proto/transport_zmq.h"

/* ZeroMQ over the loopback, once by turns and once on a loop; and who comes without a key. */

struct own {
    struct loop *loop;                     /* NULL: by turns */
    struct transport_zmq_context *context; /* of the clients */
    struct keys_pair server, node;
    uint16_t port;
    void *strangers; /* their own ZeroMQ */
};

static void make(struct contract *c, bool with_loop)
{
    struct own *own = xcalloc(1, sizeof *own);
    if (with_loop) {
        assert_int_equal(loop_new(&own->loop), 0);
    }
    own->context = transport_zmq_context_new();
    assert_non_null(own->context);
    assert_int_equal(keys_pair_new(&own->server), 0);
    assert_int_equal(keys_pair_new(&own->node), 0);
    own->strangers = zmq_ctx_new();
    c->own = own;
}

static void make_turns(struct contract *c)
{
    make(c, false);
}

static void make_loop(struct contract *c)
{
    make(c, true);
}

static void destroy(struct contract *c)
{
    struct own *own = c->own;
    transport_zmq_context_unref(own->context);
    zmq_ctx_term(own->strangers);
    loop_free(own->loop);
    free(own);
}

static void start_server(struct contract *c)
{
    struct own *own = c->own;
    struct transport_events events = contract_events(&c->server);
    struct transport_zmq_server_config config = {.loop = own->loop,
                                                 .bind = "127.0.0.1",
                                                 .port = own->port,
                                                 .exact = true,
                                                 .key = own->server};
    memcpy(config.access.node_public, own->node.public_key, KEYS_TEXT_SIZE);
    assert_int_equal(transport_zmq_server_new(&config, &events, &c->server.transport, &own->port),
                     0);
    assert_int_equal(transport_zmq_self_check(c->server.transport), 0);
}

static void start_client(struct contract *c, unsigned i)
{
    struct own *own = c->own;
    struct transport_events events = contract_events(&c->clients[i]);
    char address[32];
    const char *addresses[] = {address};
    struct transport_zmq_client_config config = {.loop = own->loop,
                                                 .context = own->context,
                                                 .addresses = addresses,
                                                 .address_count = 1,
                                                 .key = own->node};
    snprintf(address, sizeof address, "127.0.0.1:%u", own->port);
    memcpy(config.server_public, own->server.public_key, KEYS_TEXT_SIZE);
    assert_int_equal(transport_zmq_client_new(&config, &events, &c->clients[i].transport), 0);
}

static void pump(struct contract *c)
{
    struct own *own = c->own;
    int moved = 0;
    if (own->loop != NULL) {
        moved = loop_turn(own->loop, NS_PER_MS);
        assert_true(moved >= 0);
    }
    for (unsigned i = 0; i <= CONTRACT_CLIENTS; i++) {
        struct transport *t = i == CONTRACT_CLIENTS ? c->server.transport : c->clients[i].transport;
        if (t != NULL && own->loop != NULL) {
            transport_zmq_tick(t, clock_now_ns());
        } else if (t != NULL) {
            moved += t->ops->turn(t);
        }
    }
    if (own->loop == NULL && moved == 0) {
        poll(NULL, 0, 1); /* ZeroMQ's threads have theirs to do */
    }
}

/* ---- who is no peer ---- */

static int dial(struct contract *c)
{
    struct own *own = c->own;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(own->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Until the server has closed the connection. */
static void await_end(struct contract *c, int fd)
{
    uint64_t deadline_ns = clock_now_ns() + CONTRACT_DEADLINE_NS;
    uint8_t data[256];
    for (;;) {
        ssize_t n = recv(fd, data, sizeof data, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            break;
        }
        assert_true(clock_now_ns() < deadline_ns);
        pump(c);
    }
    close(fd);
}

static void throw_noise(struct contract *c, uint64_t seed)
{
    struct rng rng;
    uint8_t data[4096];
    rng_seed(&rng, seed);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)rng_next(&rng);
    }
    int fd = dial(c);
    (void)!send(fd, data, sizeof data, MSG_NOSIGNAL);
    await_end(c, fd);
}

static size_t resident_bytes(void)
{
    long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &pages, &resident), 2);
    fclose(f);
    return (size_t)pages * 4096; /* also what is only reserved */
}

/* A good greeting, and then a frame that says it has 8 GiB. */
static void throw_huge_frame(struct contract *c, const char *mechanism)
{
    uint8_t greeting[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0};
    uint8_t frame[9] = {6, 0, 0, 0, 2, 0, 0, 0, 0}; /* long command */
    size_t before = resident_bytes();
    memcpy(greeting + 12, mechanism, strlen(mechanism));
    int fd = dial(c);
    assert_int_equal(send(fd, greeting, sizeof greeting, MSG_NOSIGNAL), sizeof greeting);
    (void)!send(fd, frame, sizeof frame, MSG_NOSIGNAL);
    await_end(c, fd);
    assert_true(resident_bytes() < before + (256u << 20));
}

/* One who speaks ZeroMQ: with our keys or others. NULL: none. */
static void *stranger(struct contract *c, const char *server, const struct keys_pair *key)
{
    struct own *own = c->own;
    char endpoint[64];
    void *socket = zmq_socket(own->strangers, ZMQ_DEALER);
    int zero = 0;
    zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero);
    if (key != NULL) {
        zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server, KEYS_TEXT_SIZE);
        zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, key->public_key, KEYS_TEXT_SIZE);
        zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, key->secret_key, KEYS_TEXT_SIZE);
    }
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", own->port);
    assert_int_equal(zmq_connect(socket, endpoint), 0);
    return socket;
}

static void knock(struct contract *c, void *socket)
{
    zmq_send(socket, "let me in", 9, ZMQ_DONTWAIT);
    for (unsigned i = 0; i < 30; i++) {
        pump(c);
    }
    zmq_close(socket);
}

/* A key of ours, but messages that no client of ours sends: too large, in many parts. */
static void misbehave(struct contract *c, unsigned how)
{
    struct own *own = c->own;
    void *socket = stranger(c, own->server.public_key, &own->node);
    if (how == 0) {
        uint8_t *data = xcalloc(1, 16u << 20);
        zmq_send(socket, data, 16u << 20, ZMQ_DONTWAIT);
        free(data);
    } else {
        for (int i = 0; i < 50; i++) {
            zmq_send(socket, "x", 1, ZMQ_DONTWAIT | ZMQ_SNDMORE);
        }
        zmq_send(socket, "x", 1, ZMQ_DONTWAIT);
    }
    for (unsigned i = 0; i < 50; i++) {
        pump(c);
    }
    zmq_close(socket);
}

static bool garbage(struct contract *c, unsigned round)
{
    struct own *own = c->own;
    struct keys_pair random;
    assert_int_equal(keys_pair_new(&random), 0);
    switch (round) {
    case 0:
        close(dial(c));
        return true;
    case 1:
    case 2:
    case 3:
        throw_noise(c, round);
        return true;
    case 4:
        throw_huge_frame(c, "CURVE");
        return true;
    case 5:
        throw_huge_frame(c, "NULL");
        return true;
    case 6: /* no encryption */
        knock(c, stranger(c, NULL, NULL));
        return true;
    case 7: /* a key that nobody gave */
        knock(c, stranger(c, own->server.public_key, &random));
        return true;
    case 8: /* who takes us for somebody else */
        knock(c, stranger(c, random.public_key, &own->node));
        return true;
    case 9:
        misbehave(c, 0);
        return true;
    case 10:
        misbehave(c, 1);
        return true;
    default:
        return false;
    }
}

#define ZMQ_FIXTURE(title, maker)                                                                  \
    {                                                                                              \
        .name = (title), .message_max = TRANSPORT_ZMQ_MESSAGE_MAX, .reconnects = true,             \
        .make = (maker), .destroy = destroy, .start_server = start_server,                         \
        .start_client = start_client, .pump = pump, .garbage = garbage                             \
    }

static const struct contract_fixture turns = ZMQ_FIXTURE("zmq", make_turns);
static const struct contract_fixture looped = ZMQ_FIXTURE("zmq on a loop", make_loop);

int main(void)
{
    const struct contract_fixture *const fixtures[] = {&turns, &looped};
    return contract_run(fixtures, ARRAY_SIZE(fixtures));
}
