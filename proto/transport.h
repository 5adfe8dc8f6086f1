/*
 * What the three transports have in common, and one contract suite proves: whole messages between
 * peers, bounded queues, no blocking. Losing, doubling and delaying is a transport's right (the
 * session above mends it); cutting or inventing is not. Everything on the thread of the loop.
 */
#ifndef PROTO_TRANSPORT_H
#define PROTO_TRANSPORT_H

#include "common/bytes.h"
#include "common/codes.h"

struct transport;

enum peer_role {
    PEER_NODE = 1,
    PEER_CLIENT = 2,
    PEER_READER = 3,
    PEER_LOCAL = 4
}; /* what its key allows */

struct transport_events {
    void (*on_up)(void *arg, uint64_t peer, enum peer_role role); /* before its first message */
    void (*on_message)(void *arg, uint64_t peer,
                       struct bytes message);  /* borrowed until it returns */
    void (*on_room)(void *arg, uint64_t peer); /* after -EAGAIN: there is room again */
    void (*on_down)(void *arg, uint64_t peer,
                    bool refused); /* not there (any more); refused: nobody listens at its port */
    void *arg;
};

struct transport_ops {
    /* 0: taken (copied); -EAGAIN: its queue is full; -ENOTCONN; -EMSGSIZE. Never blocks. */
    int (*send)(struct transport *t, uint64_t peer, struct bytes message);
    void (*drop)(struct transport *t,
                 uint64_t peer); /* forget this peer and what waits for it; no on_down follows */
    int (*turn)(struct transport *t); /* for tests without a loop: move what can be moved; how many
                                         messages, or -errno */
    void (*free)(struct transport *t);
};

struct transport {
    const struct transport_ops *ops;
    struct transport_events events;
};

#endif
