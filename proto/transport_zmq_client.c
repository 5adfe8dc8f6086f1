#include <netdb.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/socket.h>
#include <zmq.h>

#include "common/rng.h"
#include "common/text.h"
#include "proto/transport_zmq_private.h"

#define CONNECT_MS     2000           /* for TCP */
#define CONNECT_NS     (7 * NS_PER_S) /* for TCP and the handshake, which ZeroMQ limits to 5 s */
#define PROBE_NS       (1 * NS_PER_S)
#define LOOK_UP_NS     (3 * NS_PER_S) /* then what was known before is tried again */
#define LOOK_UP_PAUSE  (1 * NS_PER_S) /* between two look-ups */
#define PAUSE_FIRST_NS (20 * NS_PER_MS)
#define PAUSE_MAX_NS   (500 * NS_PER_MS)
#define RETRY_NS       (10 * NS_PER_MS)
#define CLOSED_BEFORE_REFUSED                                                                      \
    2 /* handshakes that the other side breaks off before we believe it means us */

enum client_state {
    CLIENT_WAITING,
    CLIENT_LOOKING_UP, /* for where to connect */
    CLIENT_CONNECTING,
    CLIENT_PROBING,
    CLIENT_UP
};

struct client {
    struct zmq_transport t;
    struct resolver *resolver; /* the owner's; NULL: names are looked up once */
    struct resolver_wish wish; /* what is looked up; its texts are ours */
    struct resolver_question question;
    union probe_address *addresses; /* all that were found, tried in turn */
    size_t address_count, current;
    uint64_t look_up_ns; /* not again before */
    bool find_later;     /* it was not up yet, and until then only the given addresses count */
    char server_public[KEYS_TEXT_SIZE];
    struct keys_pair key;
    bool bounded_above;
    uint8_t self[ZMQ_SELF_SIZE];
    struct rng rng;

    enum client_state state;
    void *socket, *monitor;
    struct zmq_watch watch, monitor_watch;
    struct probe probe;
    bool asked_first; /* the probe comes before the connection, not after it failed */
    uint64_t at_ns;   /* WAITING: when to try; CONNECTING: when to give up */
    uint64_t pause_ns;
    unsigned broken_off; /* handshakes in a row */
    enum transport_zmq_why round,
        told; /* worst of this round of addresses; what on_down said; 0: none */
    bool was_up;
    struct zmq_outbox outbox;
    uint64_t retry_ns;
    uint64_t epoch;  /* rises with each connection */
    bool processing; /* that ends with a look of its own */
};

static struct client *of(const struct transport *t)
{
    return container_of(t, struct client, t.base);
}

/* ---- connections ---- */

static void close_connection(struct client *c)
{
    zmq_watch_stop(&c->watch);
    zmq_watch_stop(&c->monitor_watch);
    zmq_close_monitored(c->socket, c->monitor);
    c->socket = c->monitor = NULL;
    zmq_outbox_clear(&c->outbox);
    c->retry_ns = NS_FOREVER;
    c->epoch++;
}

static void wait_for(struct client *c, uint64_t pause_ns)
{
    c->state = CLIENT_WAITING;
    c->at_ns = clock_now_ns() + pause_ns / 2 + rng_below(&c->rng, pause_ns + 1);
}

static void tell_down(struct client *c, enum transport_zmq_why why)
{
    if (c->told != why) {
        c->told = why;
        c->was_up = false;
        c->t.base.events.on_down(c->t.base.events.arg, TRANSPORT_ZMQ_ONLY_PEER,
                                 why == TRANSPORT_ZMQ_REFUSED);
    }
}

/* The present address failed. At the end of a round the worst reason is told: who is refused by one
 * address and cannot reach another knows that the process is gone. */
static void fail(struct client *c, enum transport_zmq_why why)
{
    static const unsigned weight[] = {[TRANSPORT_ZMQ_CUT] = 1,
                                      [TRANSPORT_ZMQ_UNREACHABLE] = 2,
                                      [TRANSPORT_ZMQ_REFUSED] = 3,
                                      [TRANSPORT_ZMQ_STRANGER] = 4,
                                      [TRANSPORT_ZMQ_KEY_REFUSED] = 5};
    close_connection(c);
    if (weight[why] > weight[c->round]) {
        c->round = why;
    }
    c->current++;
    if (c->current < c->address_count) {
        wait_for(c, NS_PER_MS);
        return;
    }
    why = c->round;
    c->round = 0;
    c->current = 0;
    wait_for(c, c->pause_ns);
    c->pause_ns = MIN_OF(c->pause_ns * 2, PAUSE_MAX_NS);
    tell_down(c, why);
}

static int set_up_socket(struct client *c)
{
    uint8_t route[ZMQ_ROUTE_SIZE];
    memcpy(route, c->self, ZMQ_SELF_SIZE);
    memcpy(route + ZMQ_SELF_SIZE, &c->epoch, sizeof c->epoch);
    int r = zmq_set_common(c->socket);
    r = r == 0 ? zmq_set(c->socket, ZMQ_RECONNECT_IVL, -1) : r; /* that is done here */
    r = r == 0 ? zmq_set(c->socket, ZMQ_CONNECT_TIMEOUT, CONNECT_MS) : r;
    r = r == 0 && c->bounded_above ? zmq_set(c->socket, ZMQ_SNDHWM, 0) : r;
    if (r == 0 && c->addresses[c->current].any.sa_family == AF_INET6) {
        r = zmq_set(c->socket, ZMQ_IPV6, 1);
    }
    if (r == 0 &&
        (zmq_setsockopt(c->socket, ZMQ_ROUTING_ID, route, sizeof route) != 0 ||
         zmq_setsockopt(c->socket, ZMQ_CURVE_SERVERKEY, c->server_public, KEYS_TEXT_SIZE) != 0 ||
         zmq_setsockopt(c->socket, ZMQ_CURVE_PUBLICKEY, c->key.public_key, KEYS_TEXT_SIZE) != 0 ||
         zmq_setsockopt(c->socket, ZMQ_CURVE_SECRETKEY, c->key.secret_key, KEYS_TEXT_SIZE) != 0)) {
        r = -errno;
    }
    return r;
}

static void client_process(struct zmq_transport *t);

static int format_endpoint(const union probe_address *a, char ret[96])
{
    char host[64], port[8];
    socklen_t size = a->any.sa_family == AF_INET ? sizeof a->four : sizeof a->six;
    if (getnameinfo(&a->any, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return -EINVAL;
    }
    snprintf(ret, 96, a->any.sa_family == AF_INET6 ? "tcp://[%s]:%s" : "tcp://%s:%s", host, port);
    return 0;
}

static int open_connection(struct client *c)
{
    c->socket = zmq_socket(c->t.context->zmq, ZMQ_DEALER);
    if (c->socket == NULL) {
        return -errno;
    }
    int r = set_up_socket(c);
    r = r == 0 ? zmq_monitor_new(
                     c->t.context, c->socket,
                     ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                         ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                         ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH,
                     &c->monitor)
               : r;
    r = r == 0 ? zmq_watch_start(&c->monitor_watch, &c->t, c->monitor, client_process) : r;
    r = r == 0 ? zmq_watch_start(&c->watch, &c->t, c->socket, client_process) : r;
    char endpoint[96];
    r = r == 0 ? format_endpoint(&c->addresses[c->current], endpoint) : r;
    if (r == 0 && zmq_connect(c->socket, endpoint) != 0) {
        r = -errno;
    }
    return r;
}

static void connect_now(struct client *c)
{
    c->state = CLIENT_CONNECTING;
    c->at_ns = clock_now_ns() + CONNECT_NS;
    if (open_connection(c) != 0) {
        fail(c, TRANSPORT_ZMQ_UNREACHABLE); /* descriptors ran out, or the like: later again */
    }
}

static void take_answer(struct client *c, enum probe_answer answer)
{
    if (answer == PROBE_LISTENS && c->asked_first) {
        connect_now(c);
    } else if (answer == PROBE_LISTENS) {
        wait_for(c, c->pause_ns); /* it has just come */
        c->pause_ns = MIN_OF(c->pause_ns * 2, PAUSE_MAX_NS);
    } else {
        fail(c, answer == PROBE_REFUSED ? TRANSPORT_ZMQ_REFUSED
                : answer == PROBE_OTHER ? TRANSPORT_ZMQ_STRANGER
                                        : TRANSPORT_ZMQ_UNREACHABLE);
    }
}

static void on_probe(struct probe *probe, enum probe_answer answer)
{
    struct client *c = container_of(probe, struct client, probe);
    take_answer(c, answer);
    zmq_tell_touched(&c->t);
}

static void ask(struct client *c, bool first, bool who)
{
    c->state = CLIENT_PROBING;
    c->asked_first = first;
    int r = probe_start(&c->probe, c->t.loop, &c->addresses[c->current],
                        who ? c->server_public : NULL, clock_now_ns() + PROBE_NS, on_probe);
    if (r != 0) {
        take_answer(c, r > 0 ? (enum probe_answer)r : PROBE_SILENT);
    }
}

/* From here on a socket without a bound tells by itself when its connection ends: it takes nothing
 * any more. */
static void stop_monitor(struct client *c)
{
    zmq_watch_stop(&c->monitor_watch);
    (void)zmq_socket_monitor(c->socket, NULL, 0);
    zmq_close(c->monitor);
    c->monitor = NULL;
}

/* ZeroMQ does not tell why it could not connect. */
static void ask_why(struct client *c)
{
    close_connection(c);
    ask(c, false, false);
}

/* A handshake that ended is no sign of who is there: ZeroMQ ends one with a process that stands
 * still just as one with another program. Only who answers, and wrongly, is somebody else. */
static void ask_who(struct client *c)
{
    close_connection(c);
    ask(c, false, true);
}

/* Where nobody was a moment ago, or somebody else, a question is ten times cheaper than a socket of
 * ZeroMQ, and waits less long for a program that takes connections and is silent. */
static void try_address(struct client *c)
{
    if (c->address_count == 0) {
        fail(c, TRANSPORT_ZMQ_UNREACHABLE); /* nobody knows the name, as yet */
    } else if (c->told == TRANSPORT_ZMQ_REFUSED || c->told == TRANSPORT_ZMQ_UNREACHABLE ||
               c->told == TRANSPORT_ZMQ_STRANGER) {
        ask(c, true, true);
    } else {
        connect_now(c);
    }
}

static void take_addresses(struct client *c, const struct resolver_answer *found)
{
    if (found->count == 0) {
        return; /* the name server may be away: those that were known may still be good */
    }
    free(c->addresses);
    c->addresses = xmalloc(found->count * sizeof *c->addresses);
    memcpy(c->addresses, found->addresses, found->count * sizeof *c->addresses);
    c->address_count = found->count;
}

static void on_addresses(struct resolver_question *question, const struct resolver_answer *found)
{
    struct client *c = container_of(question, struct client, question);
    if (c->state == CLIENT_LOOKING_UP) {
        take_addresses(c, found);
        try_address(c);
        zmq_tell_touched(&c->t);
    } else if (c->current == 0) { /* late: for the next round */
        take_addresses(c, found);
    }
}

static struct resolver_wish present_wish(const struct client *c)
{
    struct resolver_wish wish = c->wish;
    wish.find = c->find_later ? NULL : wish.find;
    return wish;
}

/* A round begins with a look at where the other side is by now. */
static bool look_up(struct client *c)
{
    uint64_t now_ns = clock_now_ns();
    struct resolver_wish wish = present_wish(c);
    if (c->resolver == NULL || resolver_is_plain(&wish) || c->current != 0 ||
        now_ns < c->look_up_ns || resolver_is_asking(&c->question) ||
        resolver_ask(c->resolver, &c->question, &wish) != 0) {
        return false;
    }
    c->state = CLIENT_LOOKING_UP;
    c->at_ns = now_ns + LOOK_UP_NS;
    c->look_up_ns = now_ns + LOOK_UP_PAUSE;
    return true;
}

static void begin(struct client *c)
{
    if (!look_up(c)) {
        try_address(c);
    }
}

static void go_up(struct client *c)
{
    bool was_up = c->was_up;
    if (c->bounded_above) {
        stop_monitor(c);
    }
    c->state = CLIENT_UP;
    c->find_later = false;
    c->pause_ns = PAUSE_FIRST_NS;
    c->broken_off = 0;
    c->round = 0;
    c->t.counts.connections++;
    if (was_up) {
        tell_down(c, TRANSPORT_ZMQ_CUT); /* another connection: what was under way is lost */
        if (c->state != CLIENT_UP) {
            return;
        }
    }
    c->told = 0;
    c->was_up = true;
    (void)zmq_send_greeting(c->socket, NULL, 0); /* fresh and empty: there is room */
    c->t.base.events.on_up(c->t.base.events.arg, TRANSPORT_ZMQ_ONLY_PEER, PEER_NODE);
}

static void take_event(struct client *c, unsigned event)
{
    switch (event) {
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        go_up(c);
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        fail(c, TRANSPORT_ZMQ_KEY_REFUSED);
        break;
    case ZMQ_EVENT_CLOSED:
        ask_why(c);
        break;
    default:
        if (c->state == CLIENT_UP) {
            /* Up again within a moment, or it is known why not: then it is told. */
            close_connection(c);
            wait_for(c, NS_PER_MS);
        } else if (++c->broken_off < CLOSED_BEFORE_REFUSED) {
            close_connection(c);
            wait_for(c, PAUSE_FIRST_NS);
        } else {
            ask_who(c);
        }
        break;
    }
}

/* ---- messages ---- */

static void flush(struct client *c)
{
    c->retry_ns = NS_FOREVER;
    for (struct zmq_waiting *w = zmq_outbox_first(&c->outbox); w != NULL;
         w = zmq_outbox_first(&c->outbox)) {
        if (zmq_send(c->socket, w->data, w->size, ZMQ_DONTWAIT) < 0) {
            c->retry_ns = clock_now_ns() + RETRY_NS;
            break;
        }
        zmq_outbox_pop(&c->outbox);
    }
    if (zmq_outbox_has_room_again(&c->outbox)) {
        c->t.base.events.on_room(c->t.base.events.arg, TRANSPORT_ZMQ_ONLY_PEER);
    }
}

static bool receive_one(struct client *c)
{
    zmq_msg_t message;
    zmq_msg_init(&message);
    bool got = zmq_msg_recv(&message, c->socket, ZMQ_DONTWAIT) >= 0;
    if (got && zmq_msg_more(&message)) {
        zmq_skip_parts(c->socket); /* a question whether we are here */
    } else if (got) {
        c->t.base.events.on_message(c->t.base.events.arg, TRANSPORT_ZMQ_ONLY_PEER,
                                    bytes_of(zmq_msg_data(&message), zmq_msg_size(&message)));
    }
    zmq_msg_close(&message);
    return got;
}

/* After calls that may have taken news: what has come, or that the connection ended, is for the
 * next turn. */
static void look_again(struct client *c)
{
    int events = zmq_events(c->socket);
    bool cut = c->monitor == NULL && (events & ZMQ_POLLOUT) == 0;
    if ((events & ZMQ_POLLIN) != 0 || cut) {
        zmq_watch_again(&c->watch);
    }
}

static int move(struct client *c)
{
    unsigned event, value;
    int count = 0;
    bool more = true;
    /* What came before the connection ended is worth taking: so messages first, once it is up. */
    uint64_t epoch = c->epoch;
    while (c->epoch == epoch && c->state == CLIENT_UP && count < ZMQ_TURN_MAX && more) {
        more = receive_one(c);
        count += more;
    }
    while (c->epoch == epoch && c->monitor != NULL &&
           zmq_monitor_next(c->monitor, &event, &value)) {
        take_event(c, event);
    }
    if (c->epoch == epoch && c->state == CLIENT_UP) {
        flush(c);
    }
    if (c->epoch != epoch || c->state != CLIENT_UP) {
        return count;
    }
    int events = zmq_events(c->socket);
    if ((events & ZMQ_POLLIN) != 0) {
        zmq_watch_again(&c->watch);
    } else if (c->monitor == NULL && (events & ZMQ_POLLOUT) == 0) {
        take_event(c, ZMQ_EVENT_DISCONNECTED);
    }
    return count;
}

static void client_process(struct zmq_transport *t)
{
    struct client *c = container_of(t, struct client, t);
    c->processing = true;
    (void)move(c); /* what it cannot do now it does in a later turn */
    c->processing = false;
}

static int client_send(struct transport *t, uint64_t peer, struct bytes message)
{
    struct client *c = of(t);
    if (c->state != CLIENT_UP || peer != TRANSPORT_ZMQ_ONLY_PEER) {
        return -ENOTCONN;
    }
    if (message.size > TRANSPORT_ZMQ_MESSAGE_MAX) {
        return -EMSGSIZE;
    }
    if (list_is_empty(&c->outbox.messages)) {
        int sent = zmq_send(c->socket, message.data, message.size, ZMQ_DONTWAIT);
        int r = sent < 0 ? -errno : 0;
        if (!c->processing) {
            look_again(c);
        }
        if (r != -EAGAIN) {
            return r;
        }
    }
    c->retry_ns = MIN_OF(c->retry_ns, clock_now_ns() + RETRY_NS);
    return zmq_outbox_push(&c->outbox, message);
}

/* ---- time ---- */

static uint64_t client_next_ns(const struct zmq_transport *t)
{
    const struct client *c = container_of(t, const struct client, t);
    switch (c->state) {
    case CLIENT_WAITING:
    case CLIENT_LOOKING_UP:
    case CLIENT_CONNECTING:
        return c->at_ns;
    case CLIENT_PROBING:
        return c->probe.deadline_ns;
    case CLIENT_UP:
        return c->retry_ns;
    }
    return NS_FOREVER;
}

static void client_tick(struct zmq_transport *t, uint64_t now_ns)
{
    struct client *c = container_of(t, struct client, t);
    if (c->state == CLIENT_WAITING && c->at_ns <= now_ns) {
        begin(c);
    } else if (c->state == CLIENT_LOOKING_UP && c->at_ns <= now_ns) {
        try_address(c);
    } else if (c->state == CLIENT_CONNECTING && c->at_ns <= now_ns) {
        fail(c, TRANSPORT_ZMQ_UNREACHABLE);
    } else if (c->state == CLIENT_PROBING) {
        probe_tick(&c->probe, now_ns);
    } else if (c->state == CLIENT_UP && c->retry_ns <= now_ns) {
        flush(c);
        zmq_watch_again(&c->watch);
    }
}

static int client_turn(struct transport *t)
{
    struct client *c = of(t);
    int r = move(c);
    client_tick(&c->t, clock_now_ns());
    return r;
}

enum transport_zmq_why transport_zmq_client_why(const struct transport *client)
{
    return of(client)->told;
}

void transport_zmq_client_renew(struct transport *client)
{
    struct client *c = of(client);
    if (c->state == CLIENT_UP) {
        close_connection(c);
        wait_for(c, NS_PER_MS);
    }
}

/* ---- beginning and end ---- */

static void free_texts(struct client *c)
{
    for (size_t i = 0; i < c->wish.count; i++) {
        free((char *)c->wish.texts[i]);
    }
    free((void *)c->wish.texts);
    c->wish.texts = NULL;
    c->wish.count = 0;
}

static int take_texts(struct client *c, const char *const *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char host[HOSTPORT_HOST_SIZE];
        uint16_t port;
        if (hostport_parse(addresses[i], 0, host, &port) != 0) {
            return -EINVAL;
        }
    }
    const char **texts = xcalloc(count + 1, sizeof *texts);
    for (size_t i = 0; i < count; i++) {
        texts[i] = xstrdup(addresses[i]);
    }
    free_texts(c);
    c->wish.texts = texts;
    c->wish.count = count;
    return 0;
}

/* A client has one peer, which cannot be forgotten: another connection begins. */
static void client_drop(struct transport *t, uint64_t peer)
{
    struct client *c = of(t);
    transport_zmq_client_renew(t);
    c->was_up = false;
}

static void client_free(struct transport *t)
{
    if (t == NULL) {
        return;
    }
    struct client *c = of(t);
    if (c->state == CLIENT_UP) {
        (void)zmq_set(c->socket, ZMQ_LINGER, TRANSPORT_ZMQ_LINGER_MS);
    }
    probe_stop(&c->probe);
    resolver_drop(&c->question);
    close_connection(c);
    transport_zmq_context_unref(c->t.context);
    sodium_memzero(&c->key, sizeof c->key);
    free_texts(c);
    free((char *)c->wish.place);
    free(c->addresses);
    free(c);
}

static const struct transport_ops client_ops = {
    .send = client_send, .drop = client_drop, .turn = client_turn, .free = client_free};

/* What is numeric needs no look-up, now or later. */
static int take_wish(struct client *c, const struct transport_zmq_client_config *config)
{
    struct resolver_answer found = {0};
    c->wish = (struct resolver_wish){
        .find = config->find,
        .place = config->place != NULL ? xstrdup(config->place) : NULL,
        .find_first = config->find_first,
    };
    c->find_later = config->find_later;
    c->question.fn = on_addresses;
    c->resolver = config->resolver;
    int r = take_texts(c, config->addresses, config->address_count);
    if (r != 0) {
        return r;
    }
    if (resolver_is_plain(&c->wish) || config->resolver == NULL || config->look_up_now) {
        struct resolver_wish now = present_wish(c);
        resolver_ask_now(&now, &found);
        take_addresses(c, &found);
        c->look_up_ns = clock_now_ns() + LOOK_UP_PAUSE;
        return c->address_count == 0 ? -ENOENT : 0;
    }
    return 0;
}

int transport_zmq_client_move(struct transport *client, const char *const *addresses, size_t count)
{
    struct client *c = of(client);
    struct resolver_answer found = {0};
    int r = take_texts(c, addresses, count);
    if (r != 0) {
        return r;
    }
    resolver_drop(&c->question);
    probe_stop(&c->probe);
    c->address_count = c->current = 0;
    c->look_up_ns = 0;
    if (resolver_is_plain(&c->wish) || c->resolver == NULL) {
        resolver_ask_now(&c->wish, &found);
        take_addresses(c, &found);
    }
    close_connection(c);
    wait_for(c, NS_PER_MS);
    return 0;
}

int transport_zmq_client_new(const struct transport_zmq_client_config *config,
                             const struct transport_events *events, struct transport **ret)
{
    struct client *c = xcalloc(1, sizeof *c);
    uint64_t seed;
    c->t.base = (struct transport){.ops = &client_ops, .events = *events};
    c->t.loop = config->loop;
    c->t.next_ns = client_next_ns;
    c->t.tick = client_tick;
    c->key = config->key;
    c->bounded_above = config->bounded_above;
    c->t.on_touched = config->on_touched;
    text_copy(c->server_public, sizeof c->server_public, config->server_public);
    c->pause_ns = PAUSE_FIRST_NS;
    c->retry_ns = NS_FOREVER;
    zmq_outbox_init(&c->outbox);
    probe_init(&c->probe);
    int r = sodium_init() < 0 ? -EIO : take_wish(c, config);
    if (r == 0) {
        /* Nobody can guess it, so nobody can take our place at the server. */
        randombytes_buf(c->self, sizeof c->self);
        c->self[0] |= 1; /* zero at the front is ZeroMQ's own */
        randombytes_buf(&seed, sizeof seed);
        rng_seed(&c->rng, seed);
        c->t.context = zmq_context_take(config->context);
        r = c->t.context == NULL ? -errno : 0;
    }
    if (r != 0) {
        client_free(&c->t.base);
        return r;
    }
    c->state = CLIENT_WAITING; /* the first tick connects */
    *ret = &c->t.base;
    return 0;
}
