#include "proto/link.h"

#include <sodium.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/numbers.h"
#include "common/rng.h"
#include "common/text.h"
#include "common/timers.h"
#include "proto/news.h"
#include "proto/reach.h"
#include "proto/transport_zmq.h"

#define PROBE_NS      (1 * NS_PER_S)
#define REACH_NS      (3 * NS_PER_S)
#define UNKNOWN_NS    (30 * NS_PER_S) /* a peer that is not up after so long is forgotten */
#define SUSPICIOUS_NS (4 * NS_PER_S)  /* a client that is not answered tries another connection */

struct peer {
    struct link *link;
    uint64_t number;
    enum peer_role role;
    struct session *session;
    struct timer timer;
    struct list dead_link;
    bool up;
    bool connected;
    bool dead;           /* freed as soon as nobody is in its session */
    bool renew;          /* client: another session takes its place then */
    enum link_down why;  /* of the DOWN that comes next; 0: as the session says */
    enum link_down told; /* client that is not up: the last reason */
    uint64_t unknown_ns; /* server: forgotten then unless it is up */
    uint64_t renewed_ns; /* client: the last connection that was made out of suspicion */
};

enum item_kind {
    ITEM_NONE = 0, /* its peer was dropped meanwhile */
    ITEM_UP,
    ITEM_MESSAGE,
    ITEM_DATAGRAM,
    ITEM_ROOM,
    ITEM_DOWN,
    ITEM_CUT,
    ITEM_PROBE,
    ITEM_REACH,
};

struct item { /* what the owner is to be told */
    enum item_kind kind;
    uint64_t peer; /* PROBE, REACH: the token */
    struct link_identity identity;
    struct bytes message;
    enum link_down why;
    enum reach_answer answer;
};

struct link {
    struct loop *loop;
    struct transport *transport;
    struct link_events events;
    bool server;
    uint32_t number;
    uint64_t life;
    struct rng rng;
    struct numbers peers;
    struct timers timers;
    struct list dead;
    struct resolver *resolver; /* a server's, and `reach` */
    struct reach *reach;
    unsigned depth; /* calls into sessions that are under way: nothing is freed meanwhile */
    struct news news;
    bool telling; /* the owner is being told */
    bool over;    /* it freed the link meanwhile */
    struct link_counts counts;
    struct log_limit broken_log;
};

/* ---- peers ---- */

static void arm(struct peer *p)
{
    uint64_t at_ns = session_next_ns(p->session);
    if (p->link->server && !p->up) {
        at_ns = MIN_OF(at_ns, p->unknown_ns);
    } else if (!p->link->server && p->up) {
        uint64_t since_ns = MAX_OF(session_alive_ns(p->session), p->renewed_ns);
        at_ns = MIN_OF(at_ns, since_ns + SUSPICIOUS_NS);
    }
    if (at_ns == NS_FOREVER) {
        timer_disarm(&p->link->timers, &p->timer);
    } else if (!timer_is_armed(&p->timer) || p->timer.at_ns != at_ns) {
        timer_arm(&p->link->timers, &p->timer, at_ns);
    }
}

static void on_event(void *arg, const struct session_event *event);

static int on_packet(void *arg, struct bytes packet)
{
    struct peer *p = arg;
    return p->connected ? p->link->transport->ops->send(p->link->transport, p->number, packet)
                        : -ENOTCONN;
}

static struct session *make_session(struct peer *p)
{
    struct link *link = p->link;
    struct session_config config = {.self = link->number,
                                    .self_life = link->server ? link->life : rng_next(&link->rng),
                                    .initiator = !link->server,
                                    .seed = rng_next(&link->rng),
                                    .now_ns = clock_now_ns()};
    struct session_owner owner = {.on_event = on_event, .send = on_packet, .arg = p};
    return session_new(&config, &owner);
}

static struct peer *peer_new(struct link *link, uint64_t number, enum peer_role role)
{
    struct peer *p = xcalloc(1, sizeof *p);
    p->link = link;
    p->number = number;
    p->role = role;
    p->unknown_ns = clock_now_ns() + UNKNOWN_NS;
    timer_init(&p->timer);
    list_init(&p->dead_link);
    p->session = make_session(p);
    numbers_set(&link->peers, number, p);
    link->counts.peers++;
    return p;
}

/* Of a session that is not part of the peer any more. */
static void count_session(struct link *link, const struct session *session)
{
    struct session_counts counts;
    session_count(session, &counts);
    link->counts.resent += counts.resent;
}

static void peer_free(struct peer *p)
{
    struct link *link = p->link;
    count_session(link, p->session);
    timer_disarm(&link->timers, &p->timer);
    list_unlink(&p->dead_link);
    numbers_remove(&link->peers, p->number);
    session_free(p->session);
    link->counts.peers--;
    free(p);
}

static struct peer *find_peer(const struct link *link, uint64_t number)
{
    struct peer *p = numbers_get((struct numbers *)&link->peers, number);
    return p != NULL && !p->dead ? p : NULL;
}

/* Marks for the end of the outermost call. */
static void bury(struct peer *p)
{
    if (list_is_empty(&p->dead_link)) {
        list_append(&p->link->dead, &p->dead_link);
    }
}

static void enter(struct link *link)
{
    link->depth++;
}

static void leave(struct link *link)
{
    if (--link->depth > 0) {
        return;
    }
    for (struct list *node = list_pop(&link->dead); node != NULL; node = list_pop(&link->dead)) {
        struct peer *p = list_entry(node, struct peer, dead_link);
        if (p->dead) {
            link->transport->ops->drop(link->transport, p->number);
            peer_free(p);
        } else if (p->renew) {
            p->renew = false;
            count_session(link, p->session);
            session_free(p->session);
            p->session = make_session(p);
            p->up = false;
            arm(p);
        }
    }
}

/* Without a word to the owner. */
static void forget(struct peer *p)
{
    session_end(p->session, clock_now_ns());
    p->up = false;
    p->dead = p->link->server;
    p->renew = !p->link->server;
    bury(p);
}

/* ---- telling the owner ---- */

static struct item *add_item(struct link *link, enum item_kind kind, uint64_t peer)
{
    struct item *item = news_add(&link->news);
    item->kind = kind;
    item->peer = peer;
    return item;
}

static void tell(struct link *link, const struct item *item)
{
    const struct link_events *e = &link->events;
    switch (item->kind) {
    case ITEM_NONE:
        break;
    case ITEM_UP:
        e->on_up(e->arg, item->peer, &item->identity);
        break;
    case ITEM_MESSAGE:
    case ITEM_DATAGRAM:
        e->on_message(e->arg, item->peer, item->message, item->kind == ITEM_DATAGRAM);
        break;
    case ITEM_ROOM:
        e->on_room(e->arg, item->peer);
        break;
    case ITEM_DOWN:
        e->on_down(e->arg, item->peer, item->why);
        break;
    case ITEM_CUT:
        e->on_cut(e->arg, item->peer);
        break;
    case ITEM_PROBE:
        e->on_probe(e->arg, item->peer,
                    item->answer == REACH_FOUND     ? LINK_PROBE_LISTENS
                    : item->answer == REACH_REFUSED ? LINK_PROBE_REFUSED
                                                    : LINK_PROBE_SILENT);
        break;
    case ITEM_REACH:
        e->on_reach(e->arg, item->peer, item->answer);
        break;
    }
}

/* The link may be gone then. */
static void tell_all(struct link *link)
{
    struct item item;
    if (link->telling) {
        return; /* the owner ticks while it is told: the rest follows */
    }
    link->telling = true;
    while (!link->over && news_take(&link->news, &item)) {
        tell(link, &item);
    }
    link->telling = false;
    if (link->over) {
        link_free(link);
    }
}

/* What the owner was not yet told of a peer that it drops, it need not know. */
static void untell(struct link *link, uint64_t peer)
{
    struct item *item;
    for (size_t i = 0; (item = news_waiting(&link->news, i)) != NULL; i++) {
        if (item->kind != ITEM_PROBE && item->kind != ITEM_REACH && item->peer == peer) {
            item->kind = ITEM_NONE;
        }
    }
}

/* ---- what sessions tell ---- */

static void tell_down(struct peer *p, enum link_down why)
{
    p->up = false;
    p->told = why;
    p->why = 0;
    p->unknown_ns = clock_now_ns() + UNKNOWN_NS;
    add_item(p->link, ITEM_DOWN, p->number)->why = why;
}

static void on_event(void *arg, const struct session_event *event)
{
    struct peer *p = arg;
    struct link *link = p->link;
    switch (event->kind) {
    case SESSION_UP:
        p->up = true;
        p->told = 0;
        p->renewed_ns = 0;
        add_item(link, ITEM_UP, p->number)->identity = (struct link_identity){
            .number = event->peer, .life = event->peer_life, .role = p->role};
        break;
    case SESSION_MESSAGE:
    case SESSION_DATAGRAM:
        add_item(link, event->kind == SESSION_MESSAGE ? ITEM_MESSAGE : ITEM_DATAGRAM, p->number)
            ->message = news_copy(&link->news, event->data);
        break;
    case SESSION_ROOM:
        add_item(link, ITEM_ROOM, p->number);
        break;
    case SESSION_DOWN:
        tell_down(p, p->why != 0 ? p->why : event->silent ? LINK_SILENT : LINK_ENDED);
        break;
    }
}

/* After each call into the session of a peer. */
static void settle(struct peer *p)
{
    struct link *link = p->link;
    if (!p->dead && !p->renew) {
        if (link->server && !p->up && !p->connected) {
            p->dead = true;
            bury(p);
        } else {
            arm(p);
        }
    }
    leave(link);
}

/* ---- what the transport tells ---- */

static void on_transport_up(void *arg, uint64_t number, enum peer_role role)
{
    struct link *link = arg;
    struct peer *p = find_peer(link, number);
    enter(link);
    if (p == NULL) {
        p = peer_new(link, number, role);
    }
    p->connected = true;
    session_hurry(p->session, clock_now_ns());
    settle(p);
}

static void on_transport_message(void *arg, uint64_t number, struct bytes packet)
{
    struct link *link = arg;
    struct peer *p = find_peer(link, number);
    if (p == NULL || p->renew) {
        return;
    }
    enter(link);
    if (session_receive(p->session, clock_now_ns(), packet) != 0) {
        link->counts.broken_packets++;
        log_limited(&link->broken_log, LOG_LEVEL_WARN, "a peer sent an invalid packet%s",
                    link->server ? ", and was disconnected" : "");
        if (link->server && !p->dead) {
            /* Its key is good, its bytes are not: no network does that. */
            bool was_up = p->up;
            forget(p);
            if (was_up) {
                tell_down(p, LINK_ENDED);
            }
        }
    }
    settle(p);
}

static void on_transport_room(void *arg, uint64_t number)
{
    struct link *link = arg;
    struct peer *p = find_peer(link, number);
    if (p != NULL && !p->renew) {
        enter(link);
        session_tick(p->session, clock_now_ns());
        settle(p);
    }
}

static void client_down(struct peer *p)
{
    static const enum link_down reasons[] = {[TRANSPORT_ZMQ_REFUSED] = LINK_REFUSED,
                                             [TRANSPORT_ZMQ_UNREACHABLE] = LINK_UNREACHABLE,
                                             [TRANSPORT_ZMQ_STRANGER] = LINK_STRANGER,
                                             [TRANSPORT_ZMQ_KEY_REFUSED] = LINK_KEY_REFUSED};
    enum transport_zmq_why why = transport_zmq_client_why(p->link->transport);
    enum link_down reason = why < ARRAY_SIZE(reasons) ? reasons[why] : 0;
    if (reason == 0) {
        return; /* another connection is on its way */
    }
    if (!p->up) {
        if (p->told != reason) {
            tell_down(p, reason);
        }
    } else if (reason != LINK_UNREACHABLE) {
        /* Sessions live in the memory of a process that is gone. One that only cannot be reached
         * has SESSION_SILENCE_NS. */
        p->why = reason;
        session_lost(p->session, clock_now_ns());
    }
}

static void on_transport_down(void *arg, uint64_t number, bool refused)
{
    struct link *link = arg;
    struct peer *p = find_peer(link, number);
    if (p == NULL) {
        return;
    }
    enter(link);
    p->connected = false;
    if (!link->server) {
        client_down(p);
    } else if (p->up && link->events.on_cut != NULL) {
        add_item(link, ITEM_CUT, p->number);
    }
    settle(p);
}

static void on_transport_touched(void *arg)
{
    struct link *link = arg;
    if (link->events.on_due != NULL) {
        link->events.on_due(link->events.arg);
    }
}

static const struct transport_events transport_events = {.on_up = on_transport_up,
                                                         .on_message = on_transport_message,
                                                         .on_room = on_transport_room,
                                                         .on_down = on_transport_down};

/* Of link_probe and link_reach. */
static void on_answer(void *arg, uint64_t token, bool keyed, enum reach_answer answer)
{
    struct link *link = arg;
    if (keyed ? link->events.on_reach != NULL : link->events.on_probe != NULL) {
        add_item(link, keyed ? ITEM_REACH : ITEM_PROBE, token)->answer = answer;
    }
}

/* ---- beginning and end ---- */

static int link_new(struct loop *loop, const struct link_events *events, bool server,
                    uint32_t number, struct link **ret)
{
    uint64_t seed;
    if (sodium_init() < 0) {
        return -EIO;
    }
    struct link *link = xcalloc(1, sizeof *link);
    link->loop = loop;
    link->events = *events;
    link->server = server;
    link->number = number;
    randombytes_buf(&link->life, sizeof link->life);
    randombytes_buf(&seed, sizeof seed);
    rng_seed(&link->rng, seed);
    numbers_init(&link->peers);
    timers_init(&link->timers);
    list_init(&link->dead);
    news_init(&link->news, sizeof(struct item));
    *ret = link;
    return 0;
}

int link_server_new(const struct link_server_config *config, struct link **ret, uint16_t *ret_port)
{
    struct link *link;
    int r = link_new(config->loop, &config->events, true, config->number, &link);
    if (r != 0) {
        return r;
    }
    r = resolver_new(config->loop, &link->resolver);
    if (r != 0) {
        link_free(link);
        return r;
    }
    link->reach = reach_new(&(struct reach_config){
        .loop = config->loop, .resolver = link->resolver, .on_answer = on_answer, .arg = link});
    struct transport_zmq_server_config below = {
        .loop = config->loop,
        .context = config->context,
        .bind = config->bind,
        .port = config->port,
        .exact = config->exact,
        .key = config->key,
        .access = config->access,
        .peers_max = config->peers_max != 0 ? config->peers_max : LINK_PEERS_DEFAULT};
    struct transport_events events = transport_events;
    uint16_t port;
    events.arg = link;
    r = transport_zmq_server_new(&below, &events, &link->transport, &port);
    if (r == 0) {
        r = transport_zmq_self_check(link->transport);
        r = r == -ETIMEDOUT ? -EACCES : r; /* what is not proved is not so */
    }
    if (r != 0) {
        link_free(link);
        return r;
    }
    *ret = link;
    *ret_port = port;
    return 0;
}

int link_client_new(const struct link_client_config *config, struct link **ret)
{
    struct link *link;
    int r = link_new(config->loop, &config->events, false, config->number, &link);
    if (r != 0) {
        return r;
    }
    struct transport_zmq_client_config below = {.loop = config->loop,
                                                .context = config->context,
                                                .bounded_above = true,
                                                .on_touched = on_transport_touched,
                                                .addresses = config->addresses,
                                                .address_count = config->address_count,
                                                .resolver = config->resolver,
                                                .look_up_now = config->look_up_now,
                                                .find = config->find,
                                                .place = config->place,
                                                .find_first = config->find_first,
                                                .find_later = config->find_later,
                                                .key = config->key};
    text_copy(below.server_public, sizeof below.server_public, config->server_public);
    struct transport_events events = transport_events;
    events.arg = link;
    r = transport_zmq_client_new(&below, &events, &link->transport);
    if (r != 0) {
        link_free(link);
        return r;
    }
    peer_new(link, LINK_ONLY_PEER, PEER_NODE);
    *ret = link;
    return 0;
}

static bool collect_peer(uint64_t number, void *value, void *arg)
{
    struct peer *p = value;
    struct link *link = arg;
    session_end(p->session, clock_now_ns());
    if (!p->dead) {
        p->dead = true;
        bury(p);
    }
    return link != NULL;
}

void link_free(struct link *link)
{
    if (link == NULL) {
        return;
    }
    if (link->telling) {
        link->over = true; /* as soon as its callback returns */
        return;
    }
    numbers_each(&link->peers, collect_peer, link);
    if (link->transport != NULL) {
        /* First: what was said to them leaves while it closes. */
        link->transport->ops->free(link->transport);
    }
    for (struct list *node = list_first(&link->dead); node != NULL;
         node = list_first(&link->dead)) {
        peer_free(list_entry(node, struct peer, dead_link));
    }
    reach_free(link->reach);
    resolver_free(link->resolver);
    numbers_fini(&link->peers);
    timers_fini(&link->timers);
    news_fini(&link->news);
    free(link);
}

static bool set_peer_number(uint64_t number, void *value, void *arg)
{
    const struct link *link = arg;
    session_set_number(((struct peer *)value)->session, link->number);
    return true;
}

void link_set_number(struct link *link, uint32_t number)
{
    link->number = number;
    numbers_each(&link->peers, set_peer_number, link);
}

/* ---- sending ---- */

int link_send(struct link *link, uint64_t peer, struct bytes message)
{
    struct peer *p = find_peer(link, peer);
    if (p == NULL || !p->up) {
        return -ENOTCONN;
    }
    int r = session_send(p->session, clock_now_ns(), message);
    arm(p);
    return r;
}

int link_datagram(struct link *link, uint64_t peer, struct bytes message)
{
    struct peer *p = find_peer(link, peer);
    if (p == NULL || !p->up) {
        return -ENOTCONN;
    }
    int r = session_datagram(p->session, clock_now_ns(), message);
    arm(p);
    /* Lost on the way or lost here is the same to the caller. */
    return r == -EMSGSIZE ? r : 0;
}

void link_drop(struct link *link, uint64_t peer)
{
    struct peer *p = find_peer(link, peer);
    if (p == NULL) {
        return;
    }
    enter(link);
    forget(p);
    leave(link);
    untell(link, peer);
    if (!link->server) {
        p->told = 0; /* another one begins: why it is not up is told again */
    }
}

bool link_is_up(const struct link *link, uint64_t peer)
{
    const struct peer *p = find_peer(link, peer);
    return p != NULL && p->up;
}

const char *link_peer_address(const struct link *link, uint64_t peer)
{
    return link->server ? transport_zmq_server_address(link->transport, peer) : "";
}

/* ---- questions ---- */

int link_move(struct link *link, const char *address)
{
    return transport_zmq_client_move(link->transport, &address, 1);
}

struct resolver *link_resolver(struct link *link)
{
    return link->resolver;
}

int link_probe(struct link *link, const char *address, uint64_t token)
{
    return reach_ask(link->reach, address, NULL, PROBE_NS, token);
}

int link_reach(struct link *link, const char *address, const char *key, uint64_t token)
{
    return reach_ask(link->reach, address, key, REACH_NS, token);
}

/* ---- time ---- */

uint64_t link_next_ns(const struct link *link)
{
    if (!news_is_empty(&link->news)) {
        return 0;
    }
    uint64_t next = MIN_OF(timers_next_ns(&link->timers), transport_zmq_next_ns(link->transport));
    return link->reach != NULL ? MIN_OF(next, reach_next_ns(link->reach)) : next;
}

static void tick_peer(struct peer *p, uint64_t now_ns)
{
    struct link *link = p->link;
    enter(link);
    if (link->server && !p->up && p->unknown_ns <= now_ns) {
        forget(p);
    } else {
        session_tick(p->session, now_ns);
    }
    if (!link->server && p->up) {
        uint64_t since_ns = MAX_OF(session_alive_ns(p->session), p->renewed_ns);
        if (now_ns - MIN_OF(since_ns, now_ns) >= SUSPICIOUS_NS) {
            p->renewed_ns = now_ns;
            transport_zmq_client_renew(link->transport);
        }
    }
    settle(p);
}

void link_tick(struct link *link, uint64_t now_ns)
{
    transport_zmq_tick(link->transport, now_ns);
    for (struct timer *t = timers_pop(&link->timers, now_ns); t != NULL;
         t = timers_pop(&link->timers, now_ns)) {
        tick_peer(container_of(t, struct peer, timer), now_ns);
    }
    if (link->reach != NULL) {
        reach_tick(link->reach, now_ns);
    }
    tell_all(link);
}

void link_count(const struct link *link, struct link_counts *ret)
{
    struct transport_zmq_counts below;
    transport_zmq_count(link->transport, &below);
    *ret = link->counts;
    ret->refused_keys = below.refused_keys;
    ret->strange = below.strange;
    ret->ignored_peers = below.ignored;
}
