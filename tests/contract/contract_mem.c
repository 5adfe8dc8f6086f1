#include "common/clock.h"
#include "proto/message.h"
#include "proto/transport_mem.h"
#include "tests/contract/contract.h"

/* The network in memory, once at once and in order, once with delays. */

#define PORT 7420u

struct own {
    struct mem_network *network;
    uint64_t now_ns;
};

static void make_with(struct contract *c, struct mem_network_options options)
{
    struct own *own = xcalloc(1, sizeof *own);
    own->network = mem_network_new(&options);
    c->own = own;
}

static void make_plain(struct contract *c)
{
    make_with(c, (struct mem_network_options){.seed = 1});
}

static void make_slow(struct contract *c)
{
    make_with(c, (struct mem_network_options){
                     .seed = 2, .delay_min_ns = NS_PER_MS, .delay_max_ns = 30 * NS_PER_MS});
}

static void destroy(struct contract *c)
{
    struct own *own = c->own;
    mem_network_free(own->network);
    free(own);
}

static void start_server(struct contract *c)
{
    struct own *own = c->own;
    struct transport_events events = contract_events(&c->server);
    c->server.transport = transport_mem_server_new(own->network, PORT, &events);
}

static void start_client(struct contract *c, unsigned i)
{
    struct own *own = c->own;
    struct transport_events events = contract_events(&c->clients[i]);
    c->clients[i].transport = transport_mem_client_new(own->network, PORT, PEER_NODE, &events);
}

static void pump(struct contract *c)
{
    struct own *own = c->own;
    own->now_ns += NS_PER_MS;
    mem_network_advance(own->network, own->now_ns);
}

static const struct contract_fixture plain = {
    .name = "mem",
    .message_max = MESSAGE_MAX,
    .reconnects = true,
    .make = make_plain,
    .destroy = destroy,
    .start_server = start_server,
    .start_client = start_client,
    .pump = pump,
};

static const struct contract_fixture slow = {
    .name = "mem with delays",
    .message_max = MESSAGE_MAX,
    .reconnects = true,
    .make = make_slow,
    .destroy = destroy,
    .start_server = start_server,
    .start_client = start_client,
    .pump = pump,
};

int main(void)
{
    const struct contract_fixture *const fixtures[] = {&plain, &slow};
    return contract_run(fixtures, ARRAY_SIZE(fixtures));
}
