/*
 * What comes to a raylet's port from those who are no peers, or bad ones: it is refused, counted
 * and said in few words, while two honest raylets go on talking.
 */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/loop.h"
#include "common/rng.h"
#include "proto/batch.h"
#include "proto/mesh.h"

#define DEADLINE_NS   (20 * NS_PER_S)
#define HONEST_NS     (2 * NS_PER_S) /* an answer comes within, whatever the others do */
#define HOSTILE       77u            /* the number that bad ones say, if they are not worse */
#define LINES_ALLOWED 8u             /* of the log, for each kind of badness */

struct honest { /* 1 asks, 2 answers */
    struct mesh *mesh;
    struct arena arena;
    bool up;
    unsigned downs;
    uint64_t messages, to_answer;
};

struct world {
    struct loop *loop;
    struct keys_pair node_key, port_keys[2];
    struct honest honest[2];
    uint16_t ports[2];
    uint64_t asked_ns; /* 0: nothing is asked */
    uint64_t rounds, slowest_ns;
    bool replaced_is_fine;
    int log_fd, stderr_fd;

    struct link *bad;
    unsigned bad_ups, bad_downs;
    enum link_down bad_why;
    struct bytes bad_message; /* said whenever it is up */
    bool bad_datagram;
};

/* ---- the honest ---- */

static void on_up(void *arg, uint32_t peer, enum mesh_side side)
{
    struct honest *h = arg;
    h->up |= peer != HOSTILE;
}

static void on_message(void *arg, uint32_t peer, enum mesh_side side, const struct peer_msg *m)
{
    struct honest *h = arg;
    if (peer != HOSTILE && m->type == PEER_ASK) {
        h->messages++;
        h->to_answer += side == MESH_IN;
    }
}

static void on_down(void *arg, uint32_t peer, enum mesh_side side, enum link_down why)
{
    struct honest *h = arg;
    if (peer != HOSTILE) {
        h->up = false;
        h->downs++;
    }
}

static void on_slow(void *arg, uint32_t peer, enum mesh_side side, bool slow)
{
}

static void say(struct world *w, unsigned i, uint32_t peer, enum mesh_side side)
{
    struct peer_msg m = {.type = PEER_ASK, .ask = {.number = 1, .limit = 1}};
    mesh_send(w->honest[i].mesh, peer, side, &m);
}

/* Asks, and asks again when the answer is there. */
static void keep_talking(struct world *w)
{
    struct honest *a = &w->honest[0], *b = &w->honest[1];
    uint64_t now_ns = clock_now_ns();
    for (; b->to_answer > 0; b->to_answer--) {
        say(w, 1, 1, MESH_IN);
    }
    if (!a->up || !b->up) {
        w->asked_ns = 0;
    } else if (w->asked_ns == 0 || a->messages > w->rounds) {
        if (w->asked_ns != 0) {
            w->slowest_ns = MAX_OF(w->slowest_ns, now_ns - w->asked_ns);
            w->rounds = a->messages;
        }
        w->asked_ns = now_ns;
        say(w, 0, 2, MESH_OUT);
    }
}

static void pump(struct world *w)
{
    assert_true(loop_turn(w->loop, NS_PER_MS) >= 0);
    for (unsigned i = 0; i < 2; i++) {
        mesh_tick(w->honest[i].mesh, clock_now_ns());
    }
    if (w->bad != NULL) {
        link_tick(w->bad, clock_now_ns());
    }
    keep_talking(w);
    for (unsigned i = 0; i < 2; i++) {
        mesh_flush(w->honest[i].mesh);
        arena_reset(&w->honest[i].arena);
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

static struct mesh_counts counts_of_port(const struct world *w)
{
    struct mesh_counts counts;
    mesh_count(w->honest[1].mesh, &counts);
    return counts;
}

/* ---- the world ---- */

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    assert_int_equal(loop_new(&w->loop), 0);
    assert_int_equal(keys_pair_new(&w->node_key), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct honest *h = &w->honest[i];
        assert_int_equal(keys_pair_new(&w->port_keys[i]), 0);
        struct mesh_config config = {.loop = w->loop,
                                     .bind = "127.0.0.1",
                                     .port_key = w->port_keys[i],
                                     .own = w->node_key,
                                     .number = i + 1,
                                     .arena = &h->arena,
                                     .events = {on_up, on_message, on_down, on_slow, h}};
        assert_int_equal(mesh_new(&config, &h->mesh, &w->ports[i]), 0);
    }
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", w->ports[1]);
    assert_int_equal(mesh_open(w->honest[0].mesh, 2, address, w->port_keys[1].public_key), 0);
    WAIT_FOR(w, w->rounds > 10);
    w->slowest_ns = 0;
    /* What is logged from here on is counted. */
    w->log_fd = memfd_create("log", MFD_CLOEXEC);
    w->stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    assert_true(w->log_fd >= 0 && w->stderr_fd >= 0);
    assert_true(dup2(w->log_fd, STDERR_FILENO) >= 0);
    *state = w;
    return 0;
}

static unsigned lines_of_log(const struct world *w)
{
    static char text[1u << 20];
    ssize_t size = pread(w->log_fd, text, sizeof text, 0);
    unsigned lines = 0;
    for (ssize_t i = 0; i < size; i++) {
        lines += text[i] == '\n';
    }
    return lines;
}

/* The honest have not noticed. */
static int tear_down(void **state)
{
    struct world *w = *state;
    uint64_t rounds = w->rounds;
    unsigned lines = lines_of_log(w);
    link_free(w->bad);
    w->bad = NULL;
    WAIT_FOR(w, w->rounds > rounds + 10);
    bool unhurt = w->replaced_is_fine || (w->honest[0].downs == 0 && w->honest[1].downs == 0);
    uint64_t slowest_ns = w->slowest_ns;
    assert_true(dup2(w->stderr_fd, STDERR_FILENO) >= 0);
    close(w->stderr_fd);
    close(w->log_fd);
    for (unsigned i = 0; i < 2; i++) {
        mesh_free(w->honest[i].mesh);
        arena_fini(&w->honest[i].arena);
    }
    loop_free(w->loop);
    free(w);
    assert_true(unhurt);
    assert_true(slowest_ns < HONEST_NS);
    assert_true(lines <= LINES_ALLOWED);
    return 0;
}

/* ---- without a key that the port knows ---- */

static int dial(const struct world *w)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(w->ports[1])};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void test_noise(void **state)
{
    struct world *w = *state;
    struct rng rng;
    uint8_t data[4096];
    int fds[40];
    rng_seed(&rng, 3);
    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = dial(w);
        for (size_t k = 0; k < sizeof data; k++) {
            data[k] = (uint8_t)rng_next(&rng);
        }
        data[0] = i % 2 != 0 ? 0xff : data[0]; /* as ZeroMQ begins */
        (void)!send(fds[i], data, i % 4 == 0 ? 1 : sizeof data, MSG_NOSIGNAL);
        pump(w);
    }
    WAIT_FOR(w, counts_of_port(w).strange >= ARRAY_SIZE(fds) / 2);
    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
        close(fds[i]);
    }
    WAIT_FOR(w, counts_of_port(w).strange >= ARRAY_SIZE(fds));
    assert_int_equal(counts_of_port(w).in, 1);
}

static void on_bad_up(void *arg, uint64_t peer, const struct link_identity *identity)
{
    struct world *w = arg;
    w->bad_ups++;
    if (w->bad_datagram) {
        assert_int_equal(link_datagram(w->bad, peer, w->bad_message), 0);
    } else {
        assert_int_equal(link_send(w->bad, peer, w->bad_message), 0);
    }
}

static void on_bad_message(void *arg, uint64_t peer, struct bytes message, bool datagram)
{
    fail();
}

static void on_bad_room(void *arg, uint64_t peer)
{
}

static void on_bad_down(void *arg, uint64_t peer, enum link_down why)
{
    struct world *w = arg;
    w->bad_downs++;
    w->bad_why = why;
}

static void start_bad(struct world *w, uint32_t number, const struct keys_pair *key)
{
    char text[32];
    const char *address = text;
    snprintf(text, sizeof text, "127.0.0.1:%u", w->ports[1]);
    struct link_client_config config = {.loop = w->loop,
                                        .addresses = &address,
                                        .address_count = 1,
                                        .key = *key,
                                        .number = number,
                                        .events = {.on_up = on_bad_up,
                                                   .on_message = on_bad_message,
                                                   .on_room = on_bad_room,
                                                   .on_down = on_bad_down,
                                                   .arg = w}};
    memcpy(config.server_public, w->port_keys[1].public_key, KEYS_TEXT_SIZE);
    assert_int_equal(link_client_new(&config, &w->bad), 0);
}

/* The cluster's other roles have keys of their own, which a node's port has never heard of. */
static void test_other_keys(void **state)
{
    struct world *w = *state;
    struct keys_pair client_key;
    assert_int_equal(keys_pair_new(&client_key), 0);
    start_bad(w, HOSTILE, &client_key);
    WAIT_FOR(w, w->bad_downs == 1 && counts_of_port(w).refused_keys >= 3);
    assert_int_equal(w->bad_why, LINK_KEY_REFUSED);
    assert_int_equal(w->bad_ups, 0);
    assert_int_equal(counts_of_port(w).in, 1);
}

/* ---- with the right key ---- */

static struct bytes batch_of(struct buffer *b, const struct peer_msg *m)
{
    peer_encode(m, batch_add(b, peer_size(m), 0));
    return bytes_of(b->data, b->size);
}

/* Each is a message of a session that no raylet sends. */
static bool bad_batch(unsigned i, struct buffer *b)
{
    static const struct peer_msg good = {.type = PEER_ASK, .ask = {.number = 1, .limit = 9}};
    static const struct peer_msg none = {.type = PEER_ASK, .ask = {.limit = 9}};
    switch (i) {
    case 0: /* nothing */
        return true;
    case 1: /* no record */
        buffer_append_text(b, "let me in");
        return true;
    case 2: /* a message that is none after one that is */
        batch_of(b, &good);
        batch_of(b, &none);
        return true;
    case 3: /* cut off */
        batch_of(b, &good);
        b->size -= 8;
        return true;
    case 4: /* bytes where zeros fill up */
        batch_of(b, &good);
        b->data[b->size - 1] = 1;
        return true;
    case 5: /* the parts of a message that do not fit together */
        memset(batch_add(b, 8, 100), 1, 8);
        memset(batch_add(b, 8, 0), 1, 8);
        return true;
    case 6: /* a size without end */
        memset(buffer_extend(b, 16), 0xff, 16);
        return true;
    case 7: /* a message of another conversation */
        memcpy(batch_add(b, 8, 0), "\0\0\0\0\x4c\0\0\0", 8);
        return true;
    default:
        return false;
    }
}

static void test_broken_batches(void **state)
{
    struct world *w = *state;
    struct buffer b = {0};
    for (unsigned i = 0; bad_batch(i, &b); i++) {
        uint64_t before = counts_of_port(w).broken;
        unsigned downs = w->bad_downs;
        w->bad_message = bytes_of(b.data, b.size);
        start_bad(w, HOSTILE, &w->node_key);
        WAIT_FOR(w, counts_of_port(w).broken > before + 1 && w->bad_downs > downs); /* and again */
        link_free(w->bad);
        w->bad = NULL;
        buffer_clear(&b);
    }
    buffer_fini(&b);
    WAIT_FOR(w, counts_of_port(w).in == 1);
}

static void test_datagrams(void **state)
{
    struct world *w = *state;
    struct buffer b = {0};
    const struct peer_msg m = {.type = PEER_ASK, .ask = {.number = 1, .limit = 9}};
    w->bad_message = batch_of(&b, &m);
    w->bad_datagram = true;
    start_bad(w, HOSTILE, &w->node_key);
    WAIT_FOR(w, counts_of_port(w).broken != 0 && w->bad_downs != 0);
    buffer_fini(&b);
}

static void test_wrong_numbers(void **state)
{
    static const uint32_t numbers[] = {0, 2, SESSION_NUMBER_HEAD};
    struct world *w = *state;
    struct buffer b = {0};
    const struct peer_msg m = {.type = PEER_ASK, .ask = {.number = 1, .limit = 9}};
    w->bad_message = batch_of(&b, &m);
    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
        uint64_t before = counts_of_port(w).strangers;
        start_bad(w, numbers[i], &w->node_key);
        WAIT_FOR(w, counts_of_port(w).strangers > before + 1);
        link_free(w->bad);
        w->bad = NULL;
    }
    assert_int_equal(counts_of_port(w).in, 1);
    buffer_fini(&b);
}

/* Who says that it is another takes its place, as a goodbye may have been lost; the other one comes
 * again. */
static void test_the_number_of_another(void **state)
{
    struct world *w = *state;
    struct buffer b = {0};
    const struct peer_msg m = {.type = PEER_ASK, .ask = {.number = 1, .limit = 9}};
    w->bad_message = batch_of(&b, &m);
    w->replaced_is_fine = true;
    start_bad(w, 1, &w->node_key);
    WAIT_FOR(w, counts_of_port(w).replaced != 0);
    link_free(w->bad);
    w->bad = NULL;
    WAIT_FOR(w, w->honest[0].up && w->honest[1].up);
    assert_int_equal(counts_of_port(w).in, 1);
    buffer_fini(&b);
}

/* A socket of ZeroMQ's own, with the right keys. */
static void *member_socket(const struct world *w, void *context)
{
    char endpoint[64];
    int zero = 0;
    void *socket = zmq_socket(context, ZMQ_DEALER);
    zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, w->port_keys[1].public_key, KEYS_TEXT_SIZE);
    zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, w->node_key.public_key, KEYS_TEXT_SIZE);
    zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, w->node_key.secret_key, KEYS_TEXT_SIZE);
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", w->ports[1]);
    assert_int_equal(zmq_connect(socket, endpoint), 0);
    return socket;
}

static void test_no_packets(void **state)
{
    struct world *w = *state;
    void *context = zmq_ctx_new(), *socket = member_socket(w, context);
    struct rng rng;
    uint8_t data[300];
    rng_seed(&rng, 5);
    for (unsigned i = 0; i < 200; i++) {
        for (size_t k = 0; k < sizeof data; k++) {
            data[k] = (uint8_t)rng_next(&rng);
        }
        zmq_send(socket, data, rng_below(&rng, sizeof data), ZMQ_DONTWAIT);
    }
    WAIT_FOR(w, counts_of_port(w).no_packets >= 100);
    assert_int_equal(counts_of_port(w).in, 1);
    zmq_close(socket);
    zmq_ctx_term(context);
}

static long resident_pages(void)
{
    long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &pages, &resident), 2);
    fclose(f);
    return resident;
}

static void test_huge_frames(void **state)
{
    enum { HUGE_BYTES = 64u << 20, TRIES = 3 };
    struct world *w = *state;
    void *context = zmq_ctx_new();
    uint8_t *data = xcalloc(1, HUGE_BYTES);
    memset(data, 1, HUGE_BYTES);
    for (unsigned i = 0; i < TRIES; i++) {
        void *socket = member_socket(w, context);
        void *monitor = zmq_socket(context, ZMQ_PAIR);
        char name[32];
        snprintf(name, sizeof name, "inproc://end-%u", i);
        assert_int_equal(zmq_socket_monitor(socket, name, ZMQ_EVENT_DISCONNECTED), 0);
        assert_int_equal(zmq_connect(monitor, name), 0);
        zmq_send(socket, data, HUGE_BYTES, ZMQ_DONTWAIT);
        char event[16];
        WAIT_FOR(w, zmq_recv(monitor, event, sizeof event, ZMQ_DONTWAIT) >= 0);
        zmq_socket_monitor(socket, NULL, 0);
        zmq_close(monitor);
        zmq_close(socket);
    }
    free(data);
    zmq_ctx_term(context);
    assert_true(resident_pages() < (512l << 20) / 4096);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_noise),      TEST(test_other_keys),    TEST(test_broken_batches),
        TEST(test_datagrams),  TEST(test_wrong_numbers), TEST(test_the_number_of_another),
        TEST(test_no_packets), TEST(test_huge_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
