/*
 * What the two ends of proto/transport_zmq.h share. Private to them.
 */
#ifndef PROTO_TRANSPORT_ZMQ_PRIVATE_H
#define PROTO_TRANSPORT_ZMQ_PRIVATE_H

#include "common/clock.h"
#include "proto/transport_zmq.h"

#define ZMQ_TURN_MAX            256 /* messages in one call, then others have their turn */
#define TRANSPORT_ZMQ_LINGER_MS 100 /* a goodbye has so long to leave */

/* What a client calls itself to ROUTER: who it is, and which of its connections this is. So no
 * connection ever takes the name of another: ZeroMQ's own way to hand a name over leaves the former
 * connection behind without a queue, and it ends the process when something comes there late. */
#define ZMQ_SELF_SIZE  16
#define ZMQ_ROUTE_SIZE (ZMQ_SELF_SIZE + sizeof(uint64_t))

struct transport_zmq_context {
    void *zmq;
    unsigned references;
    unsigned names; /* of monitors, given so far */
};

struct zmq_transport {
    struct transport base;
    struct loop *loop; /* may be NULL */
    struct transport_zmq_context *context;
    uint64_t (*next_ns)(const struct zmq_transport *t);
    void (*tick)(struct zmq_transport *t, uint64_t now_ns);
    void (*on_touched)(void *arg); /* may be NULL */
    struct transport_zmq_counts counts;
};

/* A socket of ZeroMQ in the loop. Its descriptor tells of changes only once, and each call of
 * ZeroMQ may take the news: so `process` goes on until a receive says EAGAIN, and whoever sends
 * outside it asks zmq_events afterwards and calls zmq_watch_again if something has come. */
struct zmq_watch {
    struct loop_source source;
    struct zmq_transport *transport;
    void (*process)(struct zmq_transport *t); /* moves what can be moved */
};

int zmq_watch_start(struct zmq_watch *w, struct zmq_transport *t, void *socket,
                    void (*process)(struct zmq_transport *)) MUST_CHECK;
void zmq_watch_stop(struct zmq_watch *w);
void zmq_watch_again(struct zmq_watch *w);

/* At the end of what the loop calls. */
void zmq_tell_touched(struct zmq_transport *t);

/* Takes a reference to `shared`, or makes a new one. NULL when the system gives none. */
struct transport_zmq_context *zmq_context_take(struct transport_zmq_context *shared);

int zmq_events(void *socket);                     /* ZMQ_POLLIN, ZMQ_POLLOUT: a system call */
int zmq_set(void *socket, int option, int value); /* -errno */
/* What every socket here has: limits, no lingering, quick notice of dead connections. */
int zmq_set_common(void *socket) MUST_CHECK;

/* Events of a socket's connections. *ret is a socket to receive them from. */
int zmq_monitor_new(struct transport_zmq_context *context, void *socket, int events,
                    void **ret) MUST_CHECK;
/* The next: true, with *ret_event and *ret_value. */
bool zmq_monitor_next(void *monitor, unsigned *ret_event, unsigned *ret_value);
/* Both ends and the socket itself; NULL are fine. */
void zmq_close_monitored(void *socket, void *monitor);

/* A message of several parts says nothing but "here I am": a first word, and an answer to doubt. */
#define ZMQ_GREETING "drt"
int zmq_send_greeting(void *socket, const void *id, size_t id_size); /* id_size 0: DEALER */
void zmq_skip_parts(void *socket);                                   /* the rest of a message */

/* Messages that wait for one peer. */
struct zmq_outbox {
    struct list messages;
    size_t bytes;
    bool wants_room;
};

struct zmq_waiting {
    struct list link;
    size_t size;
    uint8_t data[];
};

void zmq_outbox_init(struct zmq_outbox *box);
void zmq_outbox_clear(struct zmq_outbox *box);
int zmq_outbox_push(struct zmq_outbox *box, struct bytes message) MUST_CHECK; /* -EAGAIN */
struct zmq_waiting *zmq_outbox_first(struct zmq_outbox *box);
void zmq_outbox_pop(struct zmq_outbox *box);
bool zmq_outbox_has_room_again(struct zmq_outbox *box); /* once after -EAGAIN */

#endif
