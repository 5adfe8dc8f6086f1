#include "tests/contract/transport_ring.h"

#include "common/list.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGES_A_TURN 256
#define ACCEPTS_A_TURN  64

struct ring_transport {
    struct transport base;
    struct loop *loop;
    int listener; /* -1: a client */
    struct loop_source accepting;
    struct list peers;
    struct list gone; /* freed when no callback runs any more */
    unsigned depth;   /* of our functions that may call back */
    uint64_t last_number;
    uint64_t turn;
    struct transport_ring_counts counts;
    struct arena arena;
};

enum peer_state { PEER_GREETING = 1, PEER_READY, PEER_UP, PEER_GONE };

struct peer {
    struct ring_transport *transport;
    struct list link;
    uint64_t number;
    uint64_t turn; /* the last one that came to it */
    enum peer_state state;
    bool room_wanted;
    int socket;
    struct ring_channel channel;
    struct loop_source wire; /* its socket */
    struct loop_source bell;
};

static struct ring_transport *of(struct transport *t)
{
    return container_of(t, struct ring_transport, base);
}

/* ---- peers ---- */

static void peer_free(struct peer *p)
{
    list_unlink(&p->link);
    ring_fini(&p->channel);
    close_fd(&p->socket);
    free(p);
}

static void enter(struct ring_transport *t)
{
    t->depth++;
}

static void leave(struct ring_transport *t)
{
    if (--t->depth != 0) {
        return;
    }
    while (!list_is_empty(&t->gone)) {
        peer_free(list_entry(list_first(&t->gone), struct peer, link));
    }
}

/* Callbacks may still hold it: it is freed when the last of them has returned. */
static void peer_forget(struct peer *p)
{
    loop_remove(&p->wire);
    loop_remove(&p->bell);
    p->state = PEER_GONE;
    p->transport->counts.peers--;
    list_unlink(&p->link);
    list_append(&p->transport->gone, &p->link);
}

static void peer_down(struct peer *p)
{
    struct ring_transport *t = p->transport;
    bool told = p->state == PEER_UP;
    uint64_t number = p->number;
    peer_forget(p);
    if (told) {
        t->base.events.on_down(t->base.events.arg, number, false);
    }
}

static void peer_break(struct peer *p)
{
    p->transport->counts.broken++;
    peer_down(p);
}

static struct peer *peer_find(const struct ring_transport *t, uint64_t number)
{
    LIST_FOREACH(node, &((struct ring_transport *)(uintptr_t)t)->peers)
    {
        struct peer *p = list_entry(node, struct peer, link);
        if (p->number == number) {
            return p;
        }
    }
    return NULL;
}

/* Up to a bound of messages; how many. The peer may be gone afterwards. */
static int peer_receive(struct peer *p, int max)
{
    struct ring_transport *t = p->transport;
    for (int n = 0;; n++) {
        struct bytes message;
        int got = n < max ? ring_receive(&p->channel, &t->arena, &message) : 0;
        if (got < 0) {
            peer_break(p);
        }
        if (got <= 0) {
            return n;
        }
        t->base.events.on_message(t->base.events.arg, p->number, message);
        arena_reset(&t->arena);
        if (p->state == PEER_GONE) {
            return n + 1;
        }
    }
}

static bool peer_flush(struct peer *p)
{
    int waits = ring_flush(&p->channel);
    if (waits < 0) {
        peer_break(p);
        return false;
    }
    if (waits == 0 && p->room_wanted) {
        p->room_wanted = false;
        p->transport->base.events.on_room(p->transport->base.events.arg, p->number);
    }
    return p->state != PEER_GONE;
}

static int peer_serve(struct peer *p)
{
    struct ring_transport *t = p->transport;
    if (p->state == PEER_READY) {
        p->state = PEER_UP;
        t->base.events.on_up(t->base.events.arg, p->number, PEER_LOCAL);
    }
    if (p->state != PEER_UP) {
        return 0;
    }
    ring_disarm(&p->channel);
    int n = peer_receive(p, MESSAGES_A_TURN);
    if (p->state != PEER_GONE && peer_flush(p) && t->loop != NULL && !ring_arm(&p->channel)) {
        loop_source_again(&p->bell);
    }
    return n;
}

static void bell_rang(struct loop_source *source, uint32_t events)
{
    struct peer *p = container_of(source, struct peer, bell);
    struct ring_transport *t = p->transport;
    enter(t);
    peer_serve(p);
    leave(t);
}

/* The channel is there: the peer is told as up with its first turn. */
static int peer_begin(struct peer *p)
{
    struct ring_transport *t = p->transport;
    if (t->loop != NULL) {
        int err = loop_add(t->loop, &p->bell, p->channel.doorbell_mine, EPOLLIN, bell_rang, NULL);
        if (err != 0) {
            return err;
        }
        loop_source_again(&p->bell);
    }
    p->state = PEER_READY;
    return 0;
}

static void peer_greet(struct peer *p)
{
    struct ring_gifts gifts = {.program = -1, .directory = -1};
    int err = ring_greet(p->socket, &p->channel, &gifts);
    close_fd(&gifts.directory);
    close_fd(&gifts.program); /* nobody here runs programs */
    if (err == -EAGAIN) {
        return;
    }
    if (err != 0 || peer_begin(p) != 0) {
        p->transport->counts.refused++;
        peer_forget(p);
    }
}

/* Its socket has something: a greeting, or its end. Nothing else belongs there. */
static int peer_look(struct peer *p)
{
    if (p->state == PEER_GREETING) {
        peer_greet(p);
        return 0;
    }
    char byte;
    ssize_t n = recv(p->socket, &byte, sizeof byte, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    /* Its last words first: what fits into a ring is there. */
    int served = peer_serve(p);
    if (p->state == PEER_UP) {
        served += peer_receive(p, RING_BYTES);
    }
    if (p->state != PEER_GONE) {
        peer_down(p);
    }
    return served;
}

static void wire_ready(struct loop_source *source, uint32_t events)
{
    struct peer *p = container_of(source, struct peer, wire);
    struct ring_transport *t = p->transport;
    enter(t);
    peer_look(p);
    leave(t);
}

/* Takes the socket. */
static int peer_new(struct ring_transport *t, int socket, struct peer **ret)
{
    struct peer *p = xcalloc(1, sizeof *p);
    p->transport = t;
    p->socket = socket;
    p->state = PEER_GREETING;
    p->number = ++t->last_number;
    list_append(&t->peers, &p->link);
    int err = t->loop != NULL ? loop_add(t->loop, &p->wire, socket, EPOLLIN, wire_ready, NULL) : 0;
    if (err != 0) {
        peer_free(p);
        return err;
    }
    t->counts.peers++;
    *ret = p;
    return 0;
}

static void accept_all(struct ring_transport *t)
{
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct ring_peer who;
        int socket = ring_accept(t->listener, &who);
        if (socket == -EPERM) {
            t->counts.refused++;
            continue;
        }
        if (socket < 0) {
            return;
        }
        struct peer *p;
        if (t->counts.peers >= TRANSPORT_RING_PEERS_MAX) {
            t->counts.refused++;
            close(socket);
        } else {
            (void)!peer_new(t, socket, &p);
        }
    }
}

static void somebody_came(struct loop_source *source, uint32_t events)
{
    accept_all(container_of(source, struct ring_transport, accepting));
}

/* ---- the transport ---- */

static int op_send(struct transport *base, uint64_t peer, struct bytes message)
{
    struct peer *p = peer_find(of(base), peer);
    if (p == NULL || p->state != PEER_UP) {
        return -ENOTCONN;
    }
    if (message.size > MESSAGE_MAX) {
        return -EMSGSIZE;
    }
    if (p->channel.queue.size != 0 &&
        p->channel.queue.size + message.size > TRANSPORT_RING_QUEUE_MAX) {
        p->room_wanted = true;
        return -EAGAIN;
    }
    int err = ring_send(&p->channel, message);
    err = err != 0 ? err : ring_flush(&p->channel);
    if (err >= 0) {
        return 0;
    }
    /* Broken: its owner hears of it in the next turn, not from within his own call. */
    if (of(base)->loop != NULL) {
        loop_source_again(&p->bell);
    }
    return -ENOTCONN;
}

static void op_drop(struct transport *base, uint64_t peer)
{
    struct ring_transport *t = of(base);
    struct peer *p = peer_find(t, peer);
    if (p != NULL) {
        enter(t);
        peer_forget(p);
        leave(t);
    }
}

/* One that this turn did not come to: callbacks may drop any of them, so no place in the list is
 * kept. */
static struct peer *peer_unserved(struct ring_transport *t)
{
    LIST_FOREACH(node, &t->peers)
    {
        struct peer *p = list_entry(node, struct peer, link);
        if (p->turn != t->turn) {
            return p;
        }
    }
    return NULL;
}

static int op_turn(struct transport *base)
{
    struct ring_transport *t = of(base);
    int n = 0;
    enter(t);
    if (t->listener >= 0) {
        accept_all(t);
    }
    t->turn++;
    struct peer *p;
    while ((p = peer_unserved(t)) != NULL) {
        p->turn = t->turn;
        n += peer_serve(p);
        n += p->state != PEER_GONE ? peer_look(p) : 0;
    }
    leave(t);
    return n;
}

static void op_free(struct transport *base)
{
    struct ring_transport *t = of(base);
    ASSERT(t->depth == 0);
    loop_remove(&t->accepting);
    while (!list_is_empty(&t->peers)) {
        struct peer *p = list_entry(list_first(&t->peers), struct peer, link);
        loop_remove(&p->wire);
        loop_remove(&p->bell);
        peer_free(p);
    }
    close_fd(&t->listener);
    arena_fini(&t->arena);
    free(t);
}

static const struct transport_ops ops = {
    .send = op_send,
    .drop = op_drop,
    .turn = op_turn,
    .free = op_free,
};

static struct ring_transport *transport_new(struct loop *loop,
                                            const struct transport_events *events)
{
    struct ring_transport *t = xcalloc(1, sizeof *t);
    t->base = (struct transport){.ops = &ops, .events = *events};
    t->loop = loop;
    t->listener = -1;
    list_init(&t->peers);
    list_init(&t->gone);
    return t;
}

int transport_ring_server_new(struct loop *loop, const char *path,
                              const struct transport_events *events, struct transport **ret)
{
    int listener = ring_listen(path);
    if (listener < 0) {
        return listener;
    }
    struct ring_transport *t = transport_new(loop, events);
    t->listener = listener;
    int err =
        loop != NULL ? loop_add(loop, &t->accepting, listener, EPOLLIN, somebody_came, NULL) : 0;
    if (err != 0) {
        op_free(&t->base);
        return err;
    }
    *ret = &t->base;
    return 0;
}

int transport_ring_client_adopt(struct loop *loop, struct ring_channel *channel, int socket,
                                const struct transport_events *events, struct transport **ret)
{
    struct ring_transport *t = transport_new(loop, events);
    struct peer *p;
    int err = peer_new(t, socket, &p);
    if (err != 0) {
        ring_fini(channel);
        op_free(&t->base);
        return err;
    }
    p->channel = *channel;
    *channel = (struct ring_channel){0};
    err = peer_begin(p);
    if (err != 0) {
        op_free(&t->base);
        return err;
    }
    *ret = &t->base;
    return 0;
}

void transport_ring_count(const struct transport *base, struct transport_ring_counts *ret)
{
    *ret = of((struct transport *)(uintptr_t)base)->counts;
}
