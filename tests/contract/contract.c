#include "tests/contract/contract.h"

#include "common/clock.h"
#include "common/rng.h"

/* ---- sides and their logs ---- */

static void log_add(struct contract_side *side, struct contract_event event)
{
    if (side->count == side->room) {
        side->room = MAX_OF(side->room * 2, 64u);
        side->log = xrealloc(side->log, side->room * sizeof *side->log);
    }
    side->log[side->count++] = event;
}

static void on_up(void *arg, uint64_t peer, enum peer_role role)
{
    assert_true(role >= PEER_NODE && role <= PEER_LOCAL);
    log_add(arg, (struct contract_event){.kind = CONTRACT_UP, .peer = peer});
}

static void on_message(void *arg, uint64_t peer, struct bytes message)
{
    struct contract_event event = {.kind = CONTRACT_MESSAGE, .peer = peer, .size = message.size};
    event.data = xmalloc(message.size + 1);
    memcpy(event.data, message.data, message.size);
    log_add(arg, event);
}

static void on_room(void *arg, uint64_t peer)
{
    log_add(arg, (struct contract_event){.kind = CONTRACT_ROOM, .peer = peer});
}

static void on_down(void *arg, uint64_t peer, bool refused)
{
    log_add(arg, (struct contract_event){.kind = CONTRACT_DOWN, .peer = peer, .refused = refused});
}

struct transport_events contract_events(struct contract_side *side)
{
    return (struct transport_events){on_up, on_message, on_room, on_down, side};
}

static void side_forget(struct contract_side *side)
{
    for (size_t i = 0; i < side->count; i++) {
        free(side->log[i].data);
    }
    side->count = 0;
}

static void side_stop(struct contract_side *side)
{
    if (side->transport != NULL) {
        side->transport->ops->free(side->transport);
        side->transport = NULL;
    }
}

static size_t side_count(const struct contract_side *side, enum contract_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < side->count; i++) {
        n += side->log[i].kind == kind;
    }
    return n;
}

static const struct contract_event *side_last(const struct contract_side *side,
                                              enum contract_kind kind)
{
    for (size_t i = side->count; i > 0; i--) {
        if (side->log[i - 1].kind == kind) {
            return &side->log[i - 1];
        }
    }
    return NULL;
}

/* Until `side` was told `n` things of this kind. */
static void wait_for(struct contract *c, const struct contract_side *side, enum contract_kind kind,
                     size_t n)
{
    uint64_t deadline_ns = clock_now_ns() + CONTRACT_DEADLINE_NS;
    while (side_count(side, kind) < n) {
        if (clock_now_ns() > deadline_ns) {
            fail_msg("%s: %zu of %zu events of kind %d", c->fixture->name, side_count(side, kind),
                     n, kind);
        }
        c->fixture->pump(c);
    }
}

static int send_to(struct contract_side *side, uint64_t peer, const void *data, size_t size)
{
    /* "Never blocks": far from what a wait for the other side, which is this very thread, would
     * take. */
    uint64_t begin_ns = clock_now_ns();
    int err = side->transport->ops->send(side->transport, peer, bytes_of(data, size));
    assert_true(clock_now_ns() - begin_ns < 2 * NS_PER_S);
    return err;
}

static int make(struct contract *c)
{
    c->fixture->make(c);
    c->fixture->start_server(c);
    return 0;
}

static void start_clients(struct contract *c, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        c->fixture->start_client(c, i);
        wait_for(c, &c->clients[i], CONTRACT_UP, 1);
        /* Some transports tell the server only with the first message. */
        char name[16];
        snprintf(name, sizeof name, "hi %u", i);
        assert_int_equal(send_to(&c->clients[i], CONTRACT_ONLY_PEER, name, 4), 0);
        wait_for(c, &c->server, CONTRACT_MESSAGE, i + 1);
        assert_int_equal(side_count(&c->server, CONTRACT_UP), i + 1);
    }
}

static void destroy(struct contract *c)
{
    for (unsigned i = 0; i < CONTRACT_CLIENTS; i++) {
        side_stop(&c->clients[i]);
        side_forget(&c->clients[i]);
        free(c->clients[i].log);
    }
    side_stop(&c->server);
    side_forget(&c->server);
    free(c->server.log);
    c->fixture->destroy(c);
}

/* ---- cases ---- */

static void fill(uint8_t *data, size_t size, uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed);
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = rng_next(&rng);
        memcpy(data + i, &word, MIN_OF(size - i, 8u));
    }
}

static void assert_message(const struct contract_event *event, size_t size, uint64_t seed)
{
    uint8_t *data = xmalloc(size + 8);
    fill(data, size, seed);
    assert_int_equal(event->size, size);
    assert_memory_equal(event->data, data, size);
    free(data);
}

static void case_whole_messages(struct contract *c)
{
    static const size_t sizes[] = {0,    1,    63,    64,    65,    4095,
                                   4096, 4097, 65535, 65536, 65537, 1 << 20};
    start_clients(c, 1);
    uint64_t peer = c->server.log[0].peer;
    uint8_t *data = xmalloc((1 << 20) + 8);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        size_t size = MIN_OF(sizes[i], c->fixture->message_max);
        fill(data, size, i);
        assert_int_equal(send_to(&c->clients[0], CONTRACT_ONLY_PEER, data, size), 0);
        wait_for(c, &c->server, CONTRACT_MESSAGE, i + 2);
        assert_message(side_last(&c->server, CONTRACT_MESSAGE), size, i);
        assert_int_equal(side_last(&c->server, CONTRACT_MESSAGE)->peer, peer);
        assert_int_equal(send_to(&c->server, peer, data, size), 0);
        wait_for(c, &c->clients[0], CONTRACT_MESSAGE, i + 1);
        assert_message(side_last(&c->clients[0], CONTRACT_MESSAGE), size, i);
    }
    free(data);
}

/* Between two that are up and live nothing is lost or overtaken. */
static void case_order(struct contract *c)
{
    enum { COUNT = 3000 };
    start_clients(c, 1);
    side_forget(&c->server);
    uint8_t data[512];
    for (unsigned i = 0; i < COUNT; i++) {
        size_t size = 4 + i % 500;
        fill(data, size, i);
        int err;
        while ((err = send_to(&c->clients[0], CONTRACT_ONLY_PEER, data, size)) == -EAGAIN) {
            c->fixture->pump(c);
        }
        assert_int_equal(err, 0);
    }
    wait_for(c, &c->server, CONTRACT_MESSAGE, COUNT);
    unsigned i = 0;
    for (size_t at = 0; at < c->server.count; at++) {
        if (c->server.log[at].kind == CONTRACT_MESSAGE) {
            assert_message(&c->server.log[at], 4 + i % 500, i);
            i++;
        }
    }
    assert_int_equal(i, COUNT);
}

static unsigned send_until_full(struct contract_side *from, uint64_t peer, const uint8_t *data,
                                size_t size)
{
    for (unsigned sent = 0; sent < (256u << 20) / size; sent++) {
        int err = send_to(from, peer, data, size);
        if (err != 0) {
            assert_int_equal(err, -EAGAIN);
            return sent;
        }
    }
    fail_msg("256 MiB were taken and nobody read them");
    return 0;
}

static void bounded(struct contract *c, struct contract_side *from, uint64_t peer,
                    struct contract_side *to)
{
    enum { SIZE = 60000 };
    uint8_t *data = xmalloc(SIZE + 8);
    fill(data, SIZE, 1);
    size_t before = side_count(to, CONTRACT_MESSAGE);
    unsigned sent = send_until_full(from, peer, data, SIZE);
    assert_true(sent > 0);
    wait_for(c, from, CONTRACT_ROOM, 1);
    assert_int_equal(side_last(from, CONTRACT_ROOM)->peer, peer);
    assert_int_equal(send_to(from, peer, data, SIZE), 0);
    wait_for(c, to, CONTRACT_MESSAGE, before + sent + 1);
    assert_message(side_last(to, CONTRACT_MESSAGE), SIZE, 1);
    assert_int_equal(side_count(from, CONTRACT_ROOM), 1); /* told once for each refusal at most */
    free(data);
}

static void case_bounded_queue(struct contract *c)
{
    start_clients(c, 2);
    bounded(c, &c->clients[0], CONTRACT_ONLY_PEER, &c->server);
    uint64_t peer = side_last(&c->server, CONTRACT_MESSAGE)->peer;
    bounded(c, &c->server, peer, &c->clients[0]);
}

/* One that does not read stops nobody else. */
static void case_a_slow_peer_is_alone(struct contract *c)
{
    start_clients(c, 2);
    uint64_t slow = c->server.log[0].peer, other = side_last(&c->server, CONTRACT_UP)->peer;
    uint8_t *data = xcalloc(1, 60000);
    send_until_full(&c->server, slow, data, 60000);
    assert_int_equal(send_to(&c->server, other, "hello", 5), 0);
    wait_for(c, &c->clients[1], CONTRACT_MESSAGE, 1);
    assert_memory_equal(side_last(&c->clients[1], CONTRACT_MESSAGE)->data, "hello", 5);
    free(data);
}

static void case_too_large(struct contract *c)
{
    start_clients(c, 1);
    size_t size = c->fixture->message_max;
    uint8_t *data = xcalloc(1, size + 1);
    assert_int_equal(send_to(&c->clients[0], CONTRACT_ONLY_PEER, data, size + 1), -EMSGSIZE);
    assert_int_equal(send_to(&c->server, c->server.log[0].peer, data, size + 1), -EMSGSIZE);
    assert_int_equal(send_to(&c->clients[0], CONTRACT_ONLY_PEER, data, size), 0);
    wait_for(c, &c->server, CONTRACT_MESSAGE, 2);
    assert_int_equal(side_last(&c->server, CONTRACT_MESSAGE)->size, size);
    free(data);
}

static void case_death_of_a_client(struct contract *c)
{
    start_clients(c, 2);
    uint64_t first = c->server.log[0].peer;
    side_stop(&c->clients[0]);
    wait_for(c, &c->server, CONTRACT_DOWN, 1);
    assert_int_equal(side_last(&c->server, CONTRACT_DOWN)->peer, first);
    assert_int_equal(send_to(&c->server, first, "x", 1), -ENOTCONN);
    assert_int_equal(send_to(&c->clients[1], CONTRACT_ONLY_PEER, "still", 5), 0);
    wait_for(c, &c->server, CONTRACT_MESSAGE, 3);
    /* Restarted it is another peer. */
    c->fixture->start_client(c, 0);
    wait_for(c, &c->clients[0], CONTRACT_UP, 2);
    assert_int_equal(send_to(&c->clients[0], CONTRACT_ONLY_PEER, "again", 5), 0);
    wait_for(c, &c->server, CONTRACT_MESSAGE, 4);
    uint64_t second = side_last(&c->server, CONTRACT_MESSAGE)->peer;
    assert_int_not_equal(second, first);
    assert_int_equal(side_last(&c->server, CONTRACT_UP)->peer, second);
    assert_int_equal(send_to(&c->server, second, "yes", 3), 0);
    wait_for(c, &c->clients[0], CONTRACT_MESSAGE, 1);
}

static void case_death_of_the_server(struct contract *c)
{
    start_clients(c, 1);
    side_stop(&c->server);
    wait_for(c, &c->clients[0], CONTRACT_DOWN, 1);
    assert_int_equal(send_to(&c->clients[0], CONTRACT_ONLY_PEER, "x", 1), -ENOTCONN);
    side_forget(&c->server);
    c->fixture->start_server(c);
    if (!c->fixture->reconnects) {
        side_stop(&c->clients[0]);
        c->fixture->start_client(c, 0);
    }
    wait_for(c, &c->clients[0], CONTRACT_UP, 2);
    assert_int_equal(send_to(&c->clients[0], CONTRACT_ONLY_PEER, "back", 4), 0);
    wait_for(c, &c->server, CONTRACT_MESSAGE, 1);
    assert_int_equal(side_count(&c->server, CONTRACT_UP), 1);
}

static void case_strangers_and_drop(struct contract *c)
{
    start_clients(c, 1);
    uint64_t peer = c->server.log[0].peer;
    assert_int_equal(send_to(&c->server, peer + 77, "x", 1), -ENOTCONN);
    assert_int_equal(send_to(&c->clients[0], 77, "x", 1), -ENOTCONN);
    c->server.transport->ops->drop(c->server.transport, peer + 77);
    c->server.transport->ops->drop(c->server.transport, peer);
    assert_int_equal(send_to(&c->server, peer, "x", 1), -ENOTCONN);
    for (unsigned i = 0; i < 20; i++) {
        c->fixture->pump(c);
    }
    assert_int_equal(side_count(&c->server, CONTRACT_DOWN), 0);
}

static void case_many_peers(struct contract *c)
{
    start_clients(c, CONTRACT_CLIENTS);
    uint64_t peers[CONTRACT_CLIENTS] = {0};
    for (size_t i = 0; i < c->server.count; i++) {
        const struct contract_event *e = &c->server.log[i];
        if (e->kind == CONTRACT_MESSAGE) {
            peers[e->data[3] - '0'] = e->peer;
        }
    }
    for (unsigned i = 0; i < CONTRACT_CLIENTS; i++) {
        char text[16];
        snprintf(text, sizeof text, "for %u", i);
        assert_int_equal(send_to(&c->server, peers[i], text, 5), 0);
    }
    for (unsigned i = 0; i < CONTRACT_CLIENTS; i++) {
        wait_for(c, &c->clients[i], CONTRACT_MESSAGE, 1);
        const struct contract_event *e = side_last(&c->clients[i], CONTRACT_MESSAGE);
        assert_int_equal(e->size, 5);
        assert_int_equal(e->data[4], '0' + i);
    }
}

static void case_broken_bytes(struct contract *c)
{
    start_clients(c, 1);
    size_t messages = side_count(&c->server, CONTRACT_MESSAGE);
    for (unsigned round = 0; c->fixture->garbage(c, round); round++) {
        for (unsigned i = 0; i < 20; i++) {
            c->fixture->pump(c);
        }
        assert_int_equal(side_count(&c->server, CONTRACT_MESSAGE), messages);
    }
    assert_int_equal(side_count(&c->clients[0], CONTRACT_DOWN), 0);
    assert_int_equal(send_to(&c->clients[0], CONTRACT_ONLY_PEER, "honest", 6), 0);
    wait_for(c, &c->server, CONTRACT_MESSAGE, messages + 1);
    assert_memory_equal(side_last(&c->server, CONTRACT_MESSAGE)->data, "honest", 6);
    c->fixture->start_client(c, 1); /* and others may still come */
    wait_for(c, &c->clients[1], CONTRACT_UP, 1);
}

static void case_sessions(struct contract *c)
{
    contract_sessions(c);
}

/* ---- all cases over all fixtures ---- */

#define CONTRACT_CASES(X)                                                                          \
    X(whole_messages)                                                                              \
    X(order)                                                                                       \
    X(bounded_queue)                                                                               \
    X(a_slow_peer_is_alone)                                                                        \
    X(too_large)                                                                                   \
    X(death_of_a_client)                                                                           \
    X(death_of_the_server)                                                                         \
    X(strangers_and_drop)                                                                          \
    X(many_peers)                                                                                  \
    X(sessions)                                                                                    \
    X(broken_bytes)

struct contract_test {
    const struct contract_fixture *fixture;
    void (*run)(struct contract *c);
    struct contract contract;
};

static int setup(void **state)
{
    struct contract_test *test = *state;
    test->contract = (struct contract){.fixture = test->fixture};
    return make(&test->contract);
}

static int teardown(void **state)
{
    destroy(&((struct contract_test *)*state)->contract);
    return 0;
}

static void run(void **state)
{
    struct contract_test *test = *state;
    test->run(&test->contract);
}

int contract_run(const struct contract_fixture *const *fixtures, size_t count)
{
#define X(name) {#name, case_##name},
    static const struct {
        const char *name;
        void (*run)(struct contract *c);
    } cases[] = {CONTRACT_CASES(X)};
#undef X
    size_t total = count * ARRAY_SIZE(cases), at = 0;
    struct contract_test *tests = xcalloc(total, sizeof *tests);
    struct CMUnitTest *units = xcalloc(total, sizeof *units);
    char(*names)[64] = xcalloc(total, sizeof *names);
    for (size_t f = 0; f < count; f++) {
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
            if (cases[i].run == case_broken_bytes && fixtures[f]->garbage == NULL) {
                continue;
            }
            snprintf(names[at], sizeof names[at], "%s: %s", fixtures[f]->name, cases[i].name);
            tests[at] = (struct contract_test){.fixture = fixtures[f], .run = cases[i].run};
            units[at] = (struct CMUnitTest){names[at], run, setup, teardown, &tests[at]};
            at++;
        }
    }
    int failed = _cmocka_run_group_tests("contract", units, at, NULL, NULL);
    free(names);
    free(units);
    free(tests);
    return failed;
}
