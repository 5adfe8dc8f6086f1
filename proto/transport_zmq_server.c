#include <stdio.h>
#include <uthash.h>
#include <zmq.h>

#include "common/log.h"
#include "common/numbers.h"
#include "common/text.h"
#include "proto/transport_zmq_private.h"

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"
#define ZAP_DOMAIN   "drt"
#define ZAP_PARTS    16
#define ZAP_PART_MAX 256
#define ID_MAX       32 /* bytes of a routing id; ours have ZMQ_ROUTE_SIZE */
#define PORTS_TRIED  100
#define RETRY_NS     (10 * NS_PER_MS) /* for queues that nothing wakes */
/* Questions to a peer whose connection seems to be gone. ZeroMQ's thread may be late with that: the
 * pause is doubled each time, 10 s in all. */
#define DOUBTS         11
#define DOUBT_PAUSE_NS (5 * NS_PER_MS)
#define GONE_KEPT_NS   (30 * NS_PER_S) /* a peer that comes back within it has the same number */
#define SELF_CHECK_MS  2000

struct server_peer {
    UT_hash_handle hh;  /* by what says who it is: the beginning of its route */
    uint8_t id[ID_MAX]; /* the route: the routing id of its newest connection */
    size_t route_size;
    uint64_t connection; /* the number of that one */
    uint64_t number;
    enum peer_role role;
    int fd;                                   /* of its connection, as ZeroMQ's monitor calls it */
    char address[TRANSPORT_ZMQ_ADDRESS_SIZE]; /* from where that one comes */
    bool up;
    unsigned doubts; /* questions left; 0: there is no doubt */
    uint64_t at_ns;  /* doubt: of the next question; down: when it went */
    bool lost;       /* ZeroMQ knows it no more; to be told */
    struct zmq_outbox outbox;
};

struct server {
    struct zmq_transport t;
    void *socket, *zap, *monitor;
    struct zmq_watch watch, zap_watch, monitor_watch;
    char endpoint[256];
    struct keys_access access;
    struct keys_pair key;
    struct server_peer *peers; /* uthash */
    struct numbers by_number;
    uint64_t last_number;
    uint32_t peers_max;
    uint64_t wake_ns; /* when something waits for time */
    bool restless;    /* some queue waits for room, or some peer is in doubt or lost */
    bool quiet;       /* refusals are not logged */
    bool processing;  /* that ends with a look of its own */
    struct log_limit refused_log, ignored_log;
};

static struct server *of(const struct transport *t)
{
    return container_of(t, struct server, t.base);
}

static void wake_at(struct server *s, uint64_t at_ns)
{
    s->wake_ns = MIN_OF(s->wake_ns, at_ns);
}

/* ---- peers ---- */

static void peer_free(struct server *s, struct server_peer *p)
{
    HASH_DEL(s->peers, p);
    numbers_remove(&s->by_number, p->number);
    zmq_outbox_clear(&p->outbox);
    free(p);
}

/* The longest gone: it would be another peer if it came back. */
static bool forget_one_gone(struct server *s)
{
    struct server_peer *oldest = NULL;
    for (struct server_peer *p = s->peers; p != NULL; p = p->hh.next) {
        if (!p->up && (oldest == NULL || p->at_ns < oldest->at_ns)) {
            oldest = p;
        }
    }
    if (oldest != NULL) {
        peer_free(s, oldest);
    }
    return oldest != NULL;
}

struct route {
    const void *id;
    size_t size, self_size; /* of all of it; of what says who it is */
    uint64_t connection;    /* which of its connections; 0: it does not say */
};

static struct route route_of(const void *id, size_t size)
{
    struct route route = {.id = id, .size = size, .self_size = size};
    if (size == ZMQ_ROUTE_SIZE) {
        route.self_size = ZMQ_SELF_SIZE;
        memcpy(&route.connection, (const uint8_t *)id + ZMQ_SELF_SIZE, sizeof route.connection);
    }
    return route;
}

static void set_route(struct server_peer *p, const struct route *route)
{
    memcpy(p->id, route->id, route->size); /* the part that is hashed stays the same */
    p->route_size = route->size;
    p->connection = route->connection;
}

static struct server_peer *peer_new(struct server *s, const struct route *route,
                                    enum peer_role role)
{
    if (HASH_COUNT(s->peers) >= s->peers_max && !forget_one_gone(s)) {
        s->t.counts.ignored++;
        log_limited(&s->ignored_log, LOG_LEVEL_WARN,
                    "a peer is ignored: there are %u already, which is the limit", s->peers_max);
        return NULL;
    }
    struct server_peer *p = xcalloc(1, sizeof *p);
    set_route(p, route);
    p->role = role;
    p->fd = -1;
    p->number = ++s->last_number;
    zmq_outbox_init(&p->outbox);
    HASH_ADD(hh, s->peers, id, route->self_size, p);
    numbers_set(&s->by_number, p->number, p);
    return p;
}

static void peer_down(struct server *s, struct server_peer *p)
{
    bool was_up = p->up;
    p->up = p->lost = false;
    p->doubts = 0;
    p->fd = -1;
    p->at_ns = clock_now_ns();
    zmq_outbox_clear(&p->outbox);
    wake_at(s, p->at_ns + GONE_KEPT_NS);
    if (was_up) {
        s->t.base.events.on_down(s->t.base.events.arg, p->number, false);
    }
}

static int give(struct server *s, struct server_peer *p, const void *data, size_t size)
{
    if (zmq_send(s->socket, p->id, p->route_size, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
        zmq_send(s->socket, data, size, ZMQ_DONTWAIT) < 0) {
        int r = -errno;
        if (r == -EHOSTUNREACH) {
            /* Told later: whoever sends does not expect calls from here. */
            p->lost = s->restless = true;
            wake_at(s, 0);
        }
        return r;
    }
    return 0;
}

/* After sends that may have taken the news of what has come. */
static void look_again(struct server *s)
{
    if (!s->processing && (zmq_events(s->socket) & ZMQ_POLLIN) != 0) {
        zmq_watch_again(&s->watch);
    }
}

static int server_send(struct transport *t, uint64_t number, struct bytes message)
{
    struct server *s = of(t);
    struct server_peer *p = numbers_get(&s->by_number, number);
    if (p == NULL || !p->up || p->lost) {
        return -ENOTCONN;
    }
    if (message.size > TRANSPORT_ZMQ_MESSAGE_MAX) {
        return -EMSGSIZE;
    }
    int r = -EAGAIN;
    if (list_is_empty(&p->outbox.messages)) {
        r = give(s, p, message.data, message.size);
        look_again(s);
    }
    if (r == -EAGAIN) {
        s->restless = true;
        wake_at(s, clock_now_ns() + RETRY_NS);
        return zmq_outbox_push(&p->outbox, message);
    }
    return r == -EHOSTUNREACH ? -ENOTCONN : r;
}

static void server_drop(struct transport *t, uint64_t number)
{
    struct server *s = of(t);
    struct server_peer *p = numbers_get(&s->by_number, number);
    if (p != NULL) {
        peer_free(s, p);
    }
}

static void flush_peer(struct server *s, struct server_peer *p)
{
    for (struct zmq_waiting *w = zmq_outbox_first(&p->outbox); w != NULL;
         w = zmq_outbox_first(&p->outbox)) {
        if (give(s, p, w->data, w->size) != 0) {
            break;
        }
        zmq_outbox_pop(&p->outbox);
    }
}

/* ---- who may come ---- */

struct zap_request {
    char parts[ZAP_PARTS][ZAP_PART_MAX];
    int sizes[ZAP_PARTS];
    int count;
};

/* False: none. Parts: route, empty, version, request, domain, address, identity, mechanism,
 * credentials. */
static bool receive_zap(void *zap, struct zap_request *ret)
{
    int more = 1;
    for (ret->count = 0; more && ret->count < ZAP_PARTS; ret->count++) {
        int size = zmq_recv(zap, ret->parts[ret->count], ZAP_PART_MAX, ZMQ_DONTWAIT);
        if (size < 0) {
            return false;
        }
        ret->sizes[ret->count] = MIN_OF(size, ZAP_PART_MAX);
        size_t more_size = sizeof more;
        if (zmq_getsockopt(zap, ZMQ_RCVMORE, &more, &more_size) != 0) {
            return false;
        }
    }
    zmq_skip_parts(zap);
    return ret->count > 4;
}

static const char *role_of_key(const struct server *s, const struct zap_request *request)
{
    char key[KEYS_TEXT_SIZE];
    if (request->count != 9 || request->sizes[7] != 5 ||
        memcmp(request->parts[7], "CURVE", 5) != 0 || request->sizes[8] != 32 ||
        zmq_z85_encode(key, (const uint8_t *)request->parts[8], 32) == NULL) {
        return NULL;
    }
    if (strcmp(key, s->access.node_public) == 0) {
        return "node";
    }
    if (strcmp(key, s->access.client_public) == 0) {
        return "client";
    }
    return strcmp(key, s->access.reader_public) == 0 ? "reader" : NULL;
}

static enum peer_role role_of_name(const char *name)
{
    if (name == NULL) {
        return 0;
    }
    return strcmp(name, "node") == 0     ? PEER_NODE
           : strcmp(name, "client") == 0 ? PEER_CLIENT
           : strcmp(name, "reader") == 0 ? PEER_READER
                                         : 0;
}

static void answer_zap(struct server *s, const struct zap_request *request)
{
    const char *role = role_of_key(s, request);
    struct bytes parts[] = {
        bytes_of(request->parts[0], (size_t)request->sizes[0]),
        bytes_of_text(""),
        bytes_of_text("1.0"),
        bytes_of(request->parts[3], (size_t)request->sizes[3]),
        bytes_of_text(role != NULL ? "200" : "400"),
        bytes_of_text(""),
        bytes_of_text(role != NULL ? role : ""),
        bytes_of_text(""),
    };
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        int more = i + 1 < ARRAY_SIZE(parts) ? ZMQ_SNDMORE : 0;
        if (zmq_send(s->zap, parts[i].data, parts[i].size, ZMQ_DONTWAIT | more) < 0) {
            return; /* the connection is gone */
        }
    }
    if (role == NULL) {
        s->t.counts.refused_keys++;
        if (!s->quiet && request->count > 5) {
            log_limited(&s->refused_log, LOG_LEVEL_WARN,
                        "a connection from %.*s was refused: unknown key", request->sizes[5],
                        request->parts[5]);
        }
    }
}

static void process_zap(struct server *s)
{
    struct zap_request request;
    while (receive_zap(s->zap, &request)) {
        answer_zap(s, &request);
    }
}

/* ---- what comes ---- */

static void doubt(struct server *s, struct server_peer *p)
{
    p->doubts = DOUBTS;
    p->at_ns = 0;
    s->restless = true;
    wake_at(s, 0);
}

static void process_monitor(struct server *s)
{
    unsigned event, value;
    while (zmq_monitor_next(s->monitor, &event, &value)) {
        if (event != ZMQ_EVENT_DISCONNECTED) {
            continue;
        }
        /* The number of a descriptor may be another connection's by now: so it is only asked. */
        bool known = false;
        for (struct server_peer *p = s->peers; p != NULL; p = p->hh.next) {
            if (p->up && p->fd == (int)value) {
                doubt(s, p);
                known = true;
            }
        }
        s->t.counts.strange += !known;
    }
}

/* ZeroMQ looks it up in a table for each message: so once for a connection, which begins with a
 * greeting. */
static void take_address(struct server_peer *p, zmq_msg_t *message)
{
    const char *address = zmq_msg_gets(message, "Peer-Address");
    char plain[HOSTPORT_HOST_SIZE];
    hostport_normalize(address != NULL ? address : "", plain);
    (void)text_copy(p->address, sizeof p->address, plain);
}

static void receive_part(struct server *s, const void *id, size_t id_size, zmq_msg_t *message)
{
    enum peer_role role = role_of_name(zmq_msg_gets(message, "User-Id"));
    bool greeting = zmq_msg_more(message) != 0;
    struct route route = route_of(id, id_size);
    struct server_peer *p = NULL;
    if (role == 0 || id_size == 0 || id_size > ID_MAX) {
        s->t.counts.ignored++;
        return;
    }
    HASH_FIND(hh, s->peers, id, route.self_size, p);
    if (p != NULL && p->role != role) {
        /* Another key with the routing id of somebody else. */
        peer_down(s, p);
        HASH_FIND(hh, s->peers, id, route.self_size, p);
        if (p != NULL) {
            peer_free(s, p);
        }
        p = NULL;
    }
    if (p == NULL) {
        p = peer_new(s, &route, role);
        if (p == NULL) {
            return;
        }
    } else if (route.connection < p->connection) {
        return; /* late words of a connection that it gave up */
    } else {
        set_route(p, &route);
    }
    uint64_t number = p->number;
    int fd = zmq_msg_get(message, ZMQ_SRCFD);
    if (greeting || fd != p->fd) {
        take_address(p, message);
    }
    p->fd = fd;
    p->doubts = 0;
    if (!p->up) {
        p->up = true;
        p->lost = false;
        s->t.base.events.on_up(s->t.base.events.arg, number, role);
        p = numbers_get(&s->by_number, number);
    }
    if (p != NULL && !greeting) {
        s->t.base.events.on_message(s->t.base.events.arg, number,
                                    bytes_of(zmq_msg_data(message), zmq_msg_size(message)));
    }
}

/* One message: true if there was one. */
static bool receive_one(struct server *s)
{
    uint8_t id[ID_MAX + 1];
    int id_size = zmq_recv(s->socket, id, sizeof id, ZMQ_DONTWAIT);
    if (id_size < 0) {
        return false;
    }
    zmq_msg_t message;
    zmq_msg_init(&message);
    if (zmq_msg_recv(&message, s->socket, ZMQ_DONTWAIT) >= 0) {
        receive_part(s, id, (size_t)id_size, &message);
        zmq_skip_parts(s->socket);
    }
    zmq_msg_close(&message);
    return true;
}

/* Callbacks may drop any peer: so one at a time. */
static bool tell_one(struct server *s)
{
    for (struct server_peer *p = s->peers; p != NULL; p = p->hh.next) {
        if (p->up && p->lost) {
            peer_down(s, p);
            return true;
        }
        if (p->up && zmq_outbox_has_room_again(&p->outbox)) {
            s->t.base.events.on_room(s->t.base.events.arg, p->number);
            return true;
        }
    }
    return false;
}

/* What waits for time, or was put off because nobody expected a call. */
static void work_off(struct server *s, uint64_t now_ns)
{
    struct server_peer *p, *next;
    s->wake_ns = NS_FOREVER;
    s->restless = false;
    HASH_ITER(hh, s->peers, p, next)
    {
        if (p->up && p->doubts > 0 && p->at_ns <= now_ns) {
            p->at_ns = now_ns + (DOUBT_PAUSE_NS << (DOUBTS - p->doubts));
            p->doubts--;
            if (zmq_send_greeting(s->socket, p->id, p->route_size) == -EHOSTUNREACH) {
                p->lost = true;
            }
        }
        if (p->up && !p->lost && !list_is_empty(&p->outbox.messages)) {
            flush_peer(s, p);
        }
    }
    while (tell_one(s)) {
        /* each is told once, so this ends */
    }
    HASH_ITER(hh, s->peers, p, next)
    {
        if (!p->up && now_ns >= p->at_ns + GONE_KEPT_NS) {
            peer_free(s, p);
        } else if (!p->up) {
            wake_at(s, p->at_ns + GONE_KEPT_NS);
        } else {
            s->restless = s->restless || !list_is_empty(&p->outbox.messages);
            wake_at(s, p->doubts > 0 ? p->at_ns : NS_FOREVER);
        }
    }
    if (s->restless) {
        wake_at(s, now_ns + RETRY_NS);
    }
}

static int move(struct server *s)
{
    int count = 0;
    bool more = true;
    s->processing = true;
    while (count < ZMQ_TURN_MAX && more) {
        more = receive_one(s);
        count += more;
    }
    s->processing = false;
    if (more) {
        zmq_watch_again(&s->watch);
    }
    if (s->restless) {
        work_off(s, clock_now_ns());
        look_again(s);
    }
    return count;
}

static void server_process(struct zmq_transport *t)
{
    (void)move(container_of(t, struct server, t));
}

static void server_process_zap(struct zmq_transport *t)
{
    process_zap(container_of(t, struct server, t));
}

static void server_process_monitor(struct zmq_transport *t)
{
    struct server *s = container_of(t, struct server, t);
    process_monitor(s);
    if (s->restless) {
        work_off(s, clock_now_ns());
        look_again(s);
    }
}

static uint64_t server_next_ns(const struct zmq_transport *t)
{
    return container_of(t, const struct server, t)->wake_ns;
}

static void server_tick(struct zmq_transport *t, uint64_t now_ns)
{
    struct server *s = container_of(t, struct server, t);
    if (s->wake_ns <= now_ns) {
        work_off(s, now_ns);
        look_again(s);
    }
}

static int server_turn(struct transport *t)
{
    struct server *s = of(t);
    process_zap(s);
    process_monitor(s);
    int r = move(s);
    server_tick(&s->t, clock_now_ns());
    return r;
}

/* ---- beginning and end ---- */

static void server_free(struct transport *t)
{
    if (t == NULL) {
        return;
    }
    struct server *s = of(t);
    s->quiet = true;
    zmq_watch_stop(&s->watch);
    zmq_watch_stop(&s->zap_watch);
    zmq_watch_stop(&s->monitor_watch);
    if (s->socket != NULL) {
        (void)zmq_setsockopt(s->socket, ZMQ_LINGER, &(int){TRANSPORT_ZMQ_LINGER_MS}, sizeof(int));
        (void)zmq_unbind(s->socket, s->endpoint);
    }
    zmq_close_monitored(s->socket, s->monitor);
    if (s->zap != NULL) {
        zmq_close(s->zap);
    }
    transport_zmq_context_unref(s->t.context);
    struct server_peer *p, *next;
    HASH_ITER(hh, s->peers, p, next)
    {
        peer_free(s, p);
    }
    numbers_fini(&s->by_number);
    free(s);
}

static const struct transport_ops server_ops = {
    .send = server_send, .drop = server_drop, .turn = server_turn, .free = server_free};

static int set_up_socket(struct server *s, const struct transport_zmq_server_config *config)
{
    s->socket = zmq_socket(s->t.context->zmq, ZMQ_ROUTER);
    if (s->socket == NULL) {
        return -errno;
    }
    int r = zmq_set_common(s->socket);
    r = r == 0 ? zmq_set(s->socket, ZMQ_ROUTER_MANDATORY, 1) : r;
    r = r == 0 ? zmq_set(s->socket, ZMQ_CURVE_SERVER, 1) : r;
    if (r == 0 &&
        (zmq_setsockopt(s->socket, ZMQ_CURVE_SECRETKEY, config->key.secret_key, KEYS_TEXT_SIZE) !=
             0 ||
         zmq_setsockopt(s->socket, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN, sizeof ZAP_DOMAIN - 1) != 0)) {
        r = -errno;
    }
    return r == 0 ? zmq_monitor_new(s->t.context, s->socket, ZMQ_EVENT_DISCONNECTED, &s->monitor)
                  : r;
}

static int set_up_zap(struct server *s)
{
    s->zap = zmq_socket(s->t.context->zmq, ZMQ_ROUTER);
    if (s->zap == NULL) {
        return -errno;
    }
    int r = zmq_set(s->zap, ZMQ_LINGER, 0);
    return r != 0 ? r : zmq_bind(s->zap, ZAP_ENDPOINT) == 0 ? 0 : -errno;
}

const char *transport_zmq_server_address(const struct transport *t, uint64_t number)
{
    const struct server_peer *p = numbers_get(&of(t)->by_number, number);
    return p != NULL ? p->address : "";
}

static int bind_port(struct server *s, const char *host, bool six, uint16_t port,
                     uint16_t *ret_port)
{
    char endpoint[sizeof s->endpoint];
    size_t size = sizeof endpoint;
    int n = snprintf(endpoint, sizeof endpoint, six ? "tcp://[%s]:%u" : "tcp://%s:%u", host, port);
    if (n < 0 || (size_t)n >= sizeof endpoint) {
        return -EINVAL;
    }
    if (port == 0) {
        snprintf(endpoint, sizeof endpoint, six ? "tcp://[%s]:*" : "tcp://%s:*", host);
    }
    if (zmq_bind(s->socket, endpoint) != 0 ||
        zmq_getsockopt(s->socket, ZMQ_LAST_ENDPOINT, s->endpoint, &size) != 0) {
        return -errno;
    }
    *ret_port = (uint16_t)strtoul(strrchr(s->endpoint, ':') + 1, NULL, 10);
    return 0;
}

static int bind_host(struct server *s, const struct transport_zmq_server_config *config,
                     const char *host, uint16_t *ret_port)
{
    bool six = strchr(host, ':') != NULL;
    int r = zmq_set(s->socket, ZMQ_IPV6, six);
    unsigned tries = config->exact || config->port == 0 ? 1 : PORTS_TRIED;
    for (unsigned i = 0; i < tries && r == 0; i++) {
        if (config->port + i > UINT16_MAX) {
            break;
        }
        int bound = bind_port(s, host, six, (uint16_t)(config->port + i), ret_port);
        if (bound != -EADDRINUSE) {
            return bound;
        }
    }
    return r != 0 ? r : config->exact ? -EADDRINUSE : bind_port(s, host, six, 0, ret_port);
}

/* All addresses are those of IPv6, to which the kernel adds those of IPv4; where it knows no IPv6,
 * those of IPv4. */
static int bind_somewhere(struct server *s, const struct transport_zmq_server_config *config,
                          uint16_t *ret_port)
{
    char host[HOSTPORT_HOST_SIZE];
    bool is_all = config->bind == NULL || *config->bind == '\0' || strcmp(config->bind, "*") == 0;
    if (!is_all) {
        return hostport_parse_bind(config->bind, host) == 0 ? bind_host(s, config, host, ret_port)
                                                            : -EINVAL;
    }
    int r = bind_host(s, config, "::", ret_port);
    bool lacks_six = r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL || r == -EINVAL || r == -ENODEV;
    return lacks_six ? bind_host(s, config, "0.0.0.0", ret_port) : r;
}

int transport_zmq_server_new(const struct transport_zmq_server_config *config,
                             const struct transport_events *events, struct transport **ret,
                             uint16_t *ret_port)
{
    struct server *s = xcalloc(1, sizeof *s);
    s->t.base = (struct transport){.ops = &server_ops, .events = *events};
    s->t.loop = config->loop;
    s->t.next_ns = server_next_ns;
    s->t.tick = server_tick;
    s->access = config->access;
    s->key = config->key;
    s->peers_max = config->peers_max != 0 ? config->peers_max : TRANSPORT_ZMQ_PEERS_MAX;
    s->wake_ns = NS_FOREVER;
    numbers_init(&s->by_number);
    s->t.context = zmq_context_take(config->context);
    int r = s->t.context == NULL ? -errno : 0;
    r = r == 0 ? set_up_zap(s) : r; /* before the port: nobody comes in unasked */
    r = r == 0 ? set_up_socket(s, config) : r;
    r = r == 0 ? bind_somewhere(s, config, ret_port) : r;
    r = r == 0 ? zmq_watch_start(&s->zap_watch, &s->t, s->zap, server_process_zap) : r;
    r = r == 0 ? zmq_watch_start(&s->monitor_watch, &s->t, s->monitor, server_process_monitor) : r;
    r = r == 0 ? zmq_watch_start(&s->watch, &s->t, s->socket, server_process) : r;
    if (r != 0) {
        server_free(&s->t.base);
        return r;
    }
    *ret = &s->t.base;
    return 0;
}

/* ---- the proof ---- */

static int watch_stranger(struct server *s, void *monitor)
{
    uint64_t deadline_ns = clock_now_ns() + SELF_CHECK_MS * NS_PER_MS;
    while (clock_now_ns() < deadline_ns) {
        unsigned event, value;
        zmq_pollitem_t items[] = {{.socket = s->zap, .events = ZMQ_POLLIN},
                                  {.socket = monitor, .events = ZMQ_POLLIN}};
        if (zmq_poll(items, 2, SELF_CHECK_MS) < 0 && errno != EINTR) {
            return -errno;
        }
        process_zap(s);
        while (zmq_monitor_next(monitor, &event, &value)) {
            if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
                return -EACCES;
            }
            if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) {
                return 0;
            }
        }
    }
    return -ETIMEDOUT;
}

static int connect_stranger(struct server *s, void *socket)
{
    struct keys_pair random;
    char endpoint[sizeof s->endpoint];
    /* Bound to all addresses: by the way round. */
    bool is_all = strncmp(s->endpoint, "tcp://0.0.0.0:", 14) == 0 ||
                  strncmp(s->endpoint, "tcp://[::]:", 11) == 0;
    bool six = !is_all && strchr(s->endpoint, '[') != NULL;
    if (is_all) {
        snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1%s", strrchr(s->endpoint, ':'));
    } else {
        snprintf(endpoint, sizeof endpoint, "%s", s->endpoint);
    }
    int r = keys_pair_new(&random);
    r = r == 0 ? zmq_set_common(socket) : r;
    r = r == 0 ? zmq_set(socket, ZMQ_RECONNECT_IVL, -1) : r;
    r = r == 0 && six ? zmq_set(socket, ZMQ_IPV6, 1) : r;
    if (r == 0 &&
        (zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, s->key.public_key, KEYS_TEXT_SIZE) != 0 ||
         zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, random.public_key, KEYS_TEXT_SIZE) != 0 ||
         zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, random.secret_key, KEYS_TEXT_SIZE) != 0 ||
         zmq_connect(socket, endpoint) != 0)) {
        r = -errno;
    }
    return r;
}

int transport_zmq_self_check(struct transport *t)
{
    struct server *s = of(t);
    void *monitor = NULL;
    void *socket = zmq_socket(s->t.context->zmq, ZMQ_DEALER);
    if (socket == NULL) {
        return -errno;
    }
    bool quiet = s->quiet;
    s->quiet = true; /* not to be logged as if somebody had tried */
    int r =
        zmq_monitor_new(s->t.context, socket,
                        ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH, &monitor);
    r = r == 0 ? connect_stranger(s, socket) : r;
    r = r == 0 ? watch_stranger(s, monitor) : r;
    s->quiet = quiet;
    s->t.counts.refused_keys -= r == 0 && s->t.counts.refused_keys > 0;
    zmq_close_monitored(socket, monitor);
    zmq_watch_again(&s->watch);
    zmq_watch_again(&s->zap_watch);
    zmq_watch_again(&s->monitor_watch);
    return r;
}
