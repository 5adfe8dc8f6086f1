#include "proto/transport_mem.h"

#include "common/clock.h"
#include "common/list.h"
#include "common/rng.h"
#include "proto/message.h"

#define BUFFER_ALIGN       64
#define CONNECT_NS_DEFAULT (10 * NS_PER_MS)
#define QUEUE_MAX_DEFAULT  (4u << 20)

enum { TO_SERVER = 0, TO_CLIENT = 1 };

struct mem_transport {
    struct transport base;
    struct mem_network *network;
    struct list link;
    bool is_server;
    uint32_t port;
    uint64_t last_number; /* server */
    /* client */
    enum peer_role role;
    struct connection *connection; /* NULL: trying */
    bool refused_told;
    bool cut[2];
};

/* Lives as long as one of its ends or a packet does. */
struct connection {
    struct list link;
    struct mem_transport *ends[2]; /* by direction: who receives there; NULL: gone */
    uint64_t number;               /* of the peer at the server */
    bool cut[2];                   /* what the client's were when it was freed */
    size_t under_way[2];           /* bytes */
    bool room_wanted[2];
    uint64_t last_due_ns[2];
    unsigned packets;
};

enum packet_kind { PACKET_MESSAGE = 1, PACKET_DOWN, PACKET_CONNECT };

struct packet {
    uint64_t due_ns, sequence;
    enum packet_kind kind;
    struct connection *connection; /* MESSAGE, DOWN */
    unsigned way;
    struct mem_transport *client; /* CONNECT; NULL: freed */
    bool counted;                 /* in under_way */
    uint8_t *data;
    size_t size;
};

struct mem_network {
    struct mem_network_options options;
    struct rng rng;
    uint64_t now_ns, sequence;
    struct packet **heap;
    size_t heap_count, heap_room;
    struct list transports, connections;
    unsigned depth; /* callbacks that run */
    struct mem_network_counts counts;
};

static struct mem_transport *of(const struct transport *t)
{
    return container_of((struct transport *)(uintptr_t)t, struct mem_transport, base);
}

/* ---- what is due, by time and then by the order of sending ---- */

static bool sooner(const struct packet *a, const struct packet *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->sequence < b->sequence;
}

static void heap_up(struct mem_network *n, size_t at)
{
    while (at > 0 && sooner(n->heap[at], n->heap[(at - 1) / 2])) {
        struct packet *swap = n->heap[at];
        n->heap[at] = n->heap[(at - 1) / 2];
        n->heap[(at - 1) / 2] = swap;
        at = (at - 1) / 2;
    }
}

static void heap_down(struct mem_network *n, size_t at)
{
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < n->heap_count; child++) {
            least = sooner(n->heap[child], n->heap[least]) ? child : least;
        }
        if (least == at) {
            return;
        }
        struct packet *swap = n->heap[at];
        n->heap[at] = n->heap[least];
        n->heap[least] = swap;
        at = least;
    }
}

static void packet_put(struct mem_network *n, struct packet *p, uint64_t due_ns)
{
    if (n->heap_count == n->heap_room) {
        n->heap_room = MAX_OF(n->heap_room * 2, 64u);
        n->heap = xrealloc(n->heap, n->heap_room * sizeof(struct packet *));
    }
    p->due_ns = due_ns;
    p->sequence = ++n->sequence;
    n->heap[n->heap_count++] = p;
    heap_up(n, n->heap_count - 1);
}

static struct packet *packet_pop(struct mem_network *n)
{
    struct packet *p = n->heap[0];
    n->heap[0] = n->heap[--n->heap_count];
    heap_down(n, 0);
    return p;
}

static struct packet *packet_new(enum packet_kind kind, struct connection *c, unsigned way)
{
    struct packet *p = xcalloc(1, sizeof *p);
    p->kind = kind;
    p->connection = c;
    p->way = way;
    if (c != NULL) {
        c->packets++;
    }
    return p;
}

/* ---- connections ---- */

static void connection_release(struct connection *c)
{
    if (c->ends[0] == NULL && c->ends[1] == NULL && c->packets == 0) {
        list_unlink(&c->link);
        free(c);
    }
}

static void packet_free(struct packet *p)
{
    if (p->connection != NULL) {
        p->connection->packets--;
        connection_release(p->connection);
    }
    free(p->data);
    free(p);
}

static bool is_cut(const struct connection *c, unsigned way)
{
    const struct mem_transport *client = c->ends[TO_CLIENT];
    return client != NULL ? client->cut[way] : c->cut[way];
}

static uint64_t delay_draw(struct mem_network *n)
{
    uint64_t min_ns = n->options.delay_min_ns;
    return rng_between(&n->rng, min_ns, MAX_OF(n->options.delay_max_ns, min_ns));
}

static void connect_later(struct mem_transport *client, uint64_t delay_ns)
{
    struct packet *p = packet_new(PACKET_CONNECT, NULL, 0);
    p->client = client;
    packet_put(client->network, p, ns_add(client->network->now_ns, delay_ns));
}

/* This end goes; the other one will hear of it. */
static void end_close(struct connection *c, unsigned end)
{
    struct mem_transport *t = c->ends[end];
    if (end == TO_CLIENT) {
        memcpy(c->cut, t->cut, sizeof c->cut);
        t->connection = NULL;
    }
    c->ends[end] = NULL;
    if (c->ends[!end] != NULL) {
        struct mem_network *n = t->network;
        packet_put(n, packet_new(PACKET_DOWN, c, !end), n->now_ns + delay_draw(n));
    }
    connection_release(c);
}

static uint64_t peer_of(const struct connection *c, unsigned end)
{
    return end == TO_SERVER ? c->number : TRANSPORT_MEM_ONLY_PEER;
}

static struct connection *connection_find(struct mem_transport *t, uint64_t peer)
{
    if (!t->is_server) {
        return peer == TRANSPORT_MEM_ONLY_PEER ? t->connection : NULL;
    }
    LIST_FOREACH(node, &t->network->connections)
    {
        struct connection *c = list_entry(node, struct connection, link);
        if (c->ends[TO_SERVER] == t && c->number == peer) {
            return c;
        }
    }
    return NULL;
}

static struct mem_transport *server_find(const struct mem_network *n, uint32_t port)
{
    LIST_FOREACH(node, &((struct mem_network *)(uintptr_t)n)->transports)
    {
        struct mem_transport *t = list_entry(node, struct mem_transport, link);
        if (t->is_server && t->port == port) {
            return t;
        }
    }
    return NULL;
}

/* ---- delivering: each of these may call back, and callbacks may send and drop ---- */

static void connect_try(struct mem_transport *client)
{
    struct mem_network *n = client->network;
    const struct transport_events *events = &client->base.events;
    struct mem_transport *server = server_find(n, client->port);
    bool cut = client->cut[TO_SERVER] || client->cut[TO_CLIENT];
    if (client->connection != NULL) {
        return;
    }
    if (cut || server == NULL) {
        connect_later(client, n->options.connect_ns);
        if (!cut && !client->refused_told) {
            client->refused_told = true;
            events->on_down(events->arg, TRANSPORT_MEM_ONLY_PEER, true);
        }
        return;
    }
    struct connection *c = xcalloc(1, sizeof *c);
    c->ends[TO_SERVER] = server;
    c->ends[TO_CLIENT] = client;
    c->number = ++server->last_number;
    list_append(&n->connections, &c->link);
    client->connection = c;
    client->refused_told = false;
    server->base.events.on_up(server->base.events.arg, c->number, client->role);
    if (client->connection == c) {
        events->on_up(events->arg, TRANSPORT_MEM_ONLY_PEER, PEER_NODE);
    }
}

static void down_deliver(struct packet *p)
{
    struct connection *c = p->connection;
    struct mem_transport *t = c->ends[p->way];
    if (t == NULL) {
        return;
    }
    c->ends[p->way] = NULL;
    if (!t->is_server) {
        t->connection = NULL;
        connect_later(t, t->network->options.connect_ns);
    }
    t->base.events.on_down(t->base.events.arg, peer_of(c, p->way), false);
}

static void message_deliver(struct mem_network *n, struct packet *p)
{
    struct connection *c = p->connection;
    struct mem_transport *sender = c->ends[!p->way], *receiver = c->ends[p->way];
    if (receiver == NULL || is_cut(c, p->way)) {
        n->counts.lost++;
    } else {
        n->counts.delivered++;
        receiver->base.events.on_message(receiver->base.events.arg, peer_of(c, p->way),
                                         bytes_of(p->data, p->size));
    }
    c->under_way[p->way] -= p->counted ? p->size : 0;
    if (c->room_wanted[p->way] && c->under_way[p->way] <= n->options.queue_max_bytes / 2 &&
        sender != NULL && c->ends[!p->way] == sender) {
        c->room_wanted[p->way] = false;
        sender->base.events.on_room(sender->base.events.arg, peer_of(c, !p->way));
    }
}

static void deliver(struct mem_network *n, struct packet *p)
{
    if (p->kind == PACKET_CONNECT) {
        if (p->client != NULL) {
            connect_try(p->client);
        }
    } else if (p->kind == PACKET_MESSAGE) {
        message_deliver(n, p);
    } else if (is_cut(p->connection, p->way)) {
        packet_put(n, p,
                   n->now_ns + n->options.connect_ns); /* nobody hears of an end through a cut */
        return;
    } else {
        down_deliver(p);
    }
    packet_free(p);
}

int mem_network_advance(struct mem_network *n, uint64_t now_ns)
{
    int count = 0;
    ASSERT(n->depth == 0 && now_ns >= n->now_ns);
    n->depth++;
    while (n->heap_count != 0 && n->heap[0]->due_ns <= now_ns) {
        struct packet *p = packet_pop(n);
        n->now_ns = MAX_OF(n->now_ns, p->due_ns);
        deliver(n, p);
        count++;
    }
    n->now_ns = now_ns;
    n->depth--;
    return count;
}

uint64_t mem_network_next_ns(const struct mem_network *n)
{
    return n->heap_count != 0 ? n->heap[0]->due_ns : NS_FOREVER;
}

/* ---- sending ---- */

static void message_put(struct mem_network *n, struct connection *c, unsigned way,
                        struct bytes message, bool counted)
{
    uint64_t due_ns = n->now_ns + delay_draw(n);
    if (due_ns < c->last_due_ns[way]) {
        n->counts.reordered += n->options.reorders;
        due_ns = n->options.reorders ? due_ns : c->last_due_ns[way];
    }
    c->last_due_ns[way] = MAX_OF(c->last_due_ns[way], due_ns);
    struct packet *p = packet_new(PACKET_MESSAGE, c, way);
    p->data = aligned_alloc(BUFFER_ALIGN, align_up(message.size + 1, BUFFER_ALIGN));
    ASSERT(p->data != NULL);
    p->size = message.size;
    p->counted = counted;
    if (message.size != 0) {
        memcpy(p->data, message.data, message.size);
    }
    c->under_way[way] += counted ? message.size : 0;
    packet_put(n, p, due_ns);
}

static int op_send(struct transport *base, uint64_t peer, struct bytes message)
{
    struct mem_transport *t = of(base);
    struct mem_network *n = t->network;
    struct connection *c = connection_find(t, peer);
    if (c == NULL) {
        return -ENOTCONN;
    }
    if (message.size > n->options.message_max_bytes) {
        return -EMSGSIZE;
    }
    unsigned way = t->is_server ? TO_CLIENT : TO_SERVER;
    if (c->under_way[way] != 0 && c->under_way[way] + message.size > n->options.queue_max_bytes) {
        c->room_wanted[way] = true;
        return -EAGAIN;
    }
    n->counts.sent++;
    if (is_cut(c, way) || rng_chance(&n->rng, n->options.loss)) {
        n->counts.lost++;
        return 0;
    }
    message_put(n, c, way, message, true);
    if (rng_chance(&n->rng, n->options.duplication)) {
        n->counts.doubled++;
        message_put(n, c, way, message, false);
    }
    return 0;
}

static void op_drop(struct transport *base, uint64_t peer)
{
    struct mem_transport *t = of(base);
    struct connection *c = connection_find(t, peer);
    if (c != NULL) {
        end_close(c, t->is_server ? TO_SERVER : TO_CLIENT);
    }
    if (c != NULL && !t->is_server) {
        connect_later(t, t->network->options.connect_ns);
    }
}

static int op_turn(struct transport *base)
{
    return mem_network_advance(of(base)->network, of(base)->network->now_ns);
}

static void op_free(struct transport *base)
{
    struct mem_transport *t = of(base);
    struct mem_network *n = t->network;
    ASSERT(n->depth == 0);
    LIST_FOREACH_SAFE(node, &n->connections)
    {
        struct connection *c = list_entry(node, struct connection, link);
        unsigned end = t->is_server ? TO_SERVER : TO_CLIENT;
        if (c->ends[end] == t) {
            end_close(c, end);
        }
    }
    for (size_t i = 0; i < n->heap_count; i++) {
        n->heap[i]->client = n->heap[i]->client == t ? NULL : n->heap[i]->client;
    }
    list_unlink(&t->link);
    free(t);
}

static const struct transport_ops ops = {
    .send = op_send,
    .drop = op_drop,
    .turn = op_turn,
    .free = op_free,
};

static struct mem_transport *transport_new(struct mem_network *n, uint32_t port,
                                           const struct transport_events *events)
{
    struct mem_transport *t = xcalloc(1, sizeof *t);
    t->base = (struct transport){.ops = &ops, .events = *events};
    t->network = n;
    t->port = port;
    list_append(&n->transports, &t->link);
    return t;
}

struct transport *transport_mem_server_new(struct mem_network *n, uint32_t port,
                                           const struct transport_events *events)
{
    ASSERT(server_find(n, port) == NULL);
    struct mem_transport *t = transport_new(n, port, events);
    t->is_server = true;
    return &t->base;
}

struct transport *transport_mem_client_new(struct mem_network *n, uint32_t port,
                                           enum peer_role role,
                                           const struct transport_events *events)
{
    struct mem_transport *t = transport_new(n, port, events);
    t->role = role;
    connect_later(t, 0);
    return &t->base;
}

void transport_mem_cut(struct transport *client, bool to_server, bool from_server)
{
    struct mem_transport *t = of(client);
    ASSERT(!t->is_server);
    t->cut[TO_SERVER] = to_server;
    t->cut[TO_CLIENT] = from_server;
}

void transport_mem_disconnect(struct transport *client)
{
    struct mem_transport *t = of(client);
    ASSERT(!t->is_server);
    struct connection *c = t->connection;
    if (c == NULL) {
        return;
    }
    struct mem_network *n = t->network;
    packet_put(n, packet_new(PACKET_DOWN, c, TO_SERVER), n->now_ns);
    packet_put(n, packet_new(PACKET_DOWN, c, TO_CLIENT), n->now_ns);
}

uint64_t transport_mem_number(const struct transport *client)
{
    const struct mem_transport *t = of(client);
    return t->connection != NULL ? t->connection->number : 0;
}

/* ---- the network ---- */

void mem_network_set(struct mem_network *n, const struct mem_network_options *options)
{
    n->options = *options;
    if (n->options.connect_ns == 0) {
        n->options.connect_ns = CONNECT_NS_DEFAULT;
    }
    if (n->options.queue_max_bytes == 0) {
        n->options.queue_max_bytes = QUEUE_MAX_DEFAULT;
    }
    if (n->options.message_max_bytes == 0) {
        n->options.message_max_bytes = MESSAGE_MAX;
    }
}

struct mem_network *mem_network_new(const struct mem_network_options *options)
{
    struct mem_network *n = xcalloc(1, sizeof *n);
    mem_network_set(n, options);
    rng_seed(&n->rng, options->seed);
    list_init(&n->transports);
    list_init(&n->connections);
    return n;
}

void mem_network_free(struct mem_network *n)
{
    if (n == NULL) {
        return;
    }
    ASSERT(list_is_empty(&n->transports));
    while (n->heap_count != 0) {
        packet_free(packet_pop(n));
    }
    ASSERT(list_is_empty(&n->connections));
    free(n->heap);
    free(n);
}

void mem_network_count(const struct mem_network *n, struct mem_network_counts *ret)
{
    *ret = n->counts;
}
