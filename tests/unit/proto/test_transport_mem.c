#include "tests/unit/unit.h"

#include "common/clock.h"
#include "proto/transport_mem.h"

/* The network in memory: its faults are the ones that were asked for, and a seed repeats them. What
 * every transport must do is in tests/contract. */

#define PORT 7420u

struct side {
    struct transport *transport;
    unsigned ups, messages, downs, refused;
    uint64_t peer; /* the last one */
    uint64_t last, trace;
    unsigned overtaken, doubled;
};

struct world {
    struct mem_network *network;
    struct mem_network_options options;
    uint64_t now_ns;
    struct side server, client;
};

static void on_up(void *arg, uint64_t peer, enum peer_role role)
{
    struct side *s = arg;
    s->ups++;
    s->peer = peer;
}

static void on_message(void *arg, uint64_t peer, struct bytes message)
{
    struct side *s = arg;
    uint64_t number;
    assert_int_equal(message.size, sizeof number);
    memcpy(&number, message.data, sizeof number);
    s->overtaken += number < s->last;
    s->doubled += number == s->last;
    s->last = MAX_OF(s->last, number);
    s->trace = (s->trace ^ number) * 0x100000001b3ull;
    s->messages++;
}

static void on_room(void *arg, uint64_t peer)
{
}

static void on_down(void *arg, uint64_t peer, bool refused)
{
    struct side *s = arg;
    s->downs++;
    s->refused += refused;
}

static struct transport_events events_of(struct side *side)
{
    return (struct transport_events){on_up, on_message, on_room, on_down, side};
}

static void server_start(struct world *w)
{
    struct transport_events events = events_of(&w->server);
    w->server.transport = transport_mem_server_new(w->network, PORT, &events);
}

static void client_start(struct world *w)
{
    struct transport_events events = events_of(&w->client);
    w->client.transport = transport_mem_client_new(w->network, PORT, PEER_NODE, &events);
}

static void advance(struct world *w, uint64_t ns)
{
    w->now_ns += ns;
    mem_network_advance(w->network, w->now_ns);
}

static struct world world_make(struct mem_network_options options)
{
    struct world w = {.options = options};
    w.network = mem_network_new(&options);
    return w;
}

static void world_begin(struct world *w)
{
    server_start(w);
    client_start(w);
    advance(w, NS_PER_S);
    assert_int_equal(w->server.ups, 1);
    assert_int_equal(w->client.ups, 1);
}

static void side_stop(struct side *side)
{
    if (side->transport != NULL) {
        side->transport->ops->free(side->transport);
        side->transport = NULL;
    }
}

static void world_end(struct world *w)
{
    side_stop(&w->server);
    side_stop(&w->client);
    mem_network_free(w->network);
}

static int send_number(struct side *from, uint64_t peer, uint64_t number)
{
    return from->transport->ops->send(from->transport, peer, bytes_of(&number, sizeof number));
}

static void send_many(struct world *w, unsigned count)
{
    for (unsigned i = 1; i <= count; i++) {
        assert_int_equal(send_number(&w->client, TRANSPORT_MEM_ONLY_PEER, i), 0);
        if (i % 100 == 0) {
            advance(w, 5 * NS_PER_MS);
        }
    }
    advance(w, NS_PER_S);
}

static void test_loss_and_duplication(void **state)
{
    struct world w =
        world_make((struct mem_network_options){.seed = 5, .loss = 0.3, .duplication = 0.5});
    struct mem_network_counts counts;
    world_begin(&w);
    send_many(&w, 10000);
    mem_network_count(w.network, &counts);
    assert_int_equal(counts.sent, 10000);
    assert_in_range(counts.lost, 2700, 3300);
    assert_in_range(counts.doubled, 3200, 3800);
    assert_int_equal(counts.delivered, counts.sent - counts.lost + counts.doubled);
    assert_int_equal(w.server.messages, counts.delivered);
    assert_int_equal(w.server.doubled, counts.doubled);
    assert_int_equal(w.server.overtaken, 0);
    world_end(&w);
}

static void test_delay_and_order(void **state)
{
    for (int reorders = 0; reorders < 2; reorders++) {
        struct world w = world_make((struct mem_network_options){.seed = 5,
                                                                 .delay_min_ns = NS_PER_MS,
                                                                 .delay_max_ns = 50 * NS_PER_MS,
                                                                 .reorders = reorders});
        world_begin(&w);
        assert_int_equal(send_number(&w.client, TRANSPORT_MEM_ONLY_PEER, 0), 0);
        uint64_t due_ns = mem_network_next_ns(w.network);
        assert_in_range(due_ns, w.now_ns + NS_PER_MS, w.now_ns + 50 * NS_PER_MS);
        advance(&w, due_ns - w.now_ns - 1);
        assert_int_equal(w.server.messages, 0);
        advance(&w, 1);
        assert_int_equal(w.server.messages, 1);
        send_many(&w, 2000);
        assert_int_equal(w.server.messages, 2001);
        assert_true((w.server.overtaken > 100) == (reorders == 1));
        assert_true(reorders == 1 || w.server.overtaken == 0);
        world_end(&w);
    }
}

static uint64_t trace_of(uint64_t seed)
{
    struct world w = world_make((struct mem_network_options){.seed = seed,
                                                             .loss = 0.1,
                                                             .duplication = 0.1,
                                                             .delay_max_ns = 20 * NS_PER_MS,
                                                             .reorders = true});
    world_begin(&w);
    send_many(&w, 1000);
    uint64_t trace = w.server.trace;
    world_end(&w);
    return trace;
}

static void test_a_seed_repeats(void **state)
{
    assert_true(trace_of(1) == trace_of(1));
    assert_true(trace_of(1) != trace_of(2));
}

static void test_one_way_cut(void **state)
{
    struct world w = world_make((struct mem_network_options){.seed = 1});
    world_begin(&w);
    transport_mem_cut(w.client.transport, true, false);
    assert_int_equal(send_number(&w.client, TRANSPORT_MEM_ONLY_PEER, 1), 0);
    assert_int_equal(send_number(&w.server, w.server.peer, 1), 0);
    advance(&w, NS_PER_S);
    assert_int_equal(w.server.messages, 0);
    assert_int_equal(w.client.messages, 1);
    transport_mem_cut(w.client.transport, false, false);
    assert_int_equal(send_number(&w.client, TRANSPORT_MEM_ONLY_PEER, 2), 0);
    advance(&w, NS_PER_S);
    assert_int_equal(w.server.messages, 1);
    assert_int_equal(w.server.downs + w.client.downs, 0);
    world_end(&w);
}

/* Nobody hears through a cut that the other side died. */
static void test_death_behind_a_cut(void **state)
{
    struct world w = world_make((struct mem_network_options){.seed = 1});
    world_begin(&w);
    transport_mem_cut(w.client.transport, true, true);
    side_stop(&w.server);
    advance(&w, 10 * NS_PER_S);
    assert_int_equal(w.client.downs, 0);
    transport_mem_cut(w.client.transport, false, false);
    advance(&w, NS_PER_S);
    assert_int_equal(w.client.downs, 2); /* the end, then once that nobody listens */
    assert_int_equal(w.client.refused, 1);
    server_start(&w);
    advance(&w, NS_PER_S);
    assert_int_equal(w.client.ups, 2);
    world_end(&w);
}

static void test_disconnect(void **state)
{
    struct world w = world_make((struct mem_network_options){.seed = 1});
    world_begin(&w);
    uint64_t first = transport_mem_number(w.client.transport);
    assert_int_equal(first, w.server.peer);
    assert_int_equal(send_number(&w.server, first, 1), 0);
    transport_mem_disconnect(w.client.transport);
    advance(&w, NS_PER_S);
    assert_int_equal(w.server.downs, 1);
    assert_int_equal(w.client.downs, 1);
    assert_int_equal(w.client.refused, 0);
    assert_int_equal(w.server.ups, 2);
    assert_int_not_equal(w.server.peer, first);
    assert_int_equal(w.server.peer, transport_mem_number(w.client.transport));
    assert_int_equal(send_number(&w.server, first, 1), -ENOTCONN);
    world_end(&w);
}

static void test_a_client_waits_for_its_server(void **state)
{
    struct world w = world_make((struct mem_network_options){.seed = 1});
    client_start(&w);
    advance(&w, 5 * NS_PER_S);
    assert_int_equal(w.client.downs, 1);
    assert_int_equal(w.client.refused, 1);
    assert_int_equal(send_number(&w.client, TRANSPORT_MEM_ONLY_PEER, 1), -ENOTCONN);
    server_start(&w);
    advance(&w, NS_PER_S);
    assert_int_equal(w.client.ups, 1);
    assert_int_equal(w.server.ups, 1);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loss_and_duplication),
        cmocka_unit_test(test_delay_and_order),
        cmocka_unit_test(test_a_seed_repeats),
        cmocka_unit_test(test_one_way_cut),
        cmocka_unit_test(test_death_behind_a_cut),
        cmocka_unit_test(test_disconnect),
        cmocka_unit_test(test_a_client_waits_for_its_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
