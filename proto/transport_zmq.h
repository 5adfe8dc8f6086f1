/*
 * Messages between peers over ZeroMQ: a server (ROUTER) that many reach, a client (DEALER) that
 * reaches one, over tcp, encrypted and authenticated with CURVE; a ZAP handler on the same thread
 * says which key has which role. Sends never block. Connections are this file's matter alone: a
 * client connects again for ever, with back-off and jitter, and keeps its routing id, so that the
 * server knows it as the same peer. What was under way when a connection ended is lost: the session
 * above mends that. Everything on one thread, with a loop or without (then `turn`).
 */
#ifndef PROTO_TRANSPORT_ZMQ_H
#define PROTO_TRANSPORT_ZMQ_H

#include "common/loop.h"
#include "proto/keys.h"
#include "proto/resolver.h"
#include "proto/session.h"
#include "proto/transport.h"

/* One message; frames beyond it end the connection before memory is taken for them. */
#define TRANSPORT_ZMQ_MESSAGE_MAX (SESSION_MESSAGE_MAX + SESSION_PACKET_EXTRA)
#define TRANSPORT_ZMQ_QUEUE_MAX                                                                    \
    (4u << 20) /* bytes that wait here for one peer; beyond: -EAGAIN                               \
                */
#define TRANSPORT_ZMQ_PEERS_MAX    1024u
#define TRANSPORT_ZMQ_ONLY_PEER    1u /* the peer of a client */
#define TRANSPORT_ZMQ_ADDRESS_SIZE 64 /* of an IPv6 address with its link */

/* ZeroMQ's two threads, shared by the transports that are made with it. Counted. */
struct transport_zmq_context;
struct transport_zmq_context *transport_zmq_context_new(void);
void transport_zmq_context_unref(struct transport_zmq_context *context); /* NULL is fine */

struct transport_zmq_server_config {
    struct loop *loop;                     /* NULL: driven by turn */
    struct transport_zmq_context *context; /* NULL: its own. One server for each */
    const char *bind; /* numeric address; NULL, "" or "*": all, of IPv6 and IPv4 */
    uint16_t port;    /* 0: any */
    bool exact;       /* else, when `port` is taken, the next free one of 100, or any */
    struct keys_pair key;
    struct keys_access access;
    uint32_t peers_max; /* 0: TRANSPORT_ZMQ_PEERS_MAX; messages of others are ignored and counted */
};

/* Listens. *ret_port tells where. Call transport_zmq_self_check next. 0; -EADDRINUSE,
 * -EADDRNOTAVAIL, -EINVAL (no address), -errno */
int transport_zmq_server_new(const struct transport_zmq_server_config *config,
                             const struct transport_events *events, struct transport **ret,
                             uint16_t *ret_port) MUST_CHECK;
/* From where a peer's connection comes, numeric and as hostport_normalize writes it; "" where there
 * is no such peer. Valid until the peer's next message. */
const char *transport_zmq_server_address(const struct transport *server, uint64_t peer);
/* Proves that a random key is refused at the server's own port: 0. -EACCES: it was let in;
 * -ETIMEDOUT: no answer within 2 s; -errno. Blocks until then (some milliseconds); no message is
 * delivered meanwhile. */
int transport_zmq_self_check(struct transport *server) MUST_CHECK;

struct transport_zmq_client_config {
    struct loop *loop;
    struct transport_zmq_context *context;
    const char *const *addresses; /* "host:port"; all that they stand for is tried in turn */
    size_t address_count;
    /* Names are looked up again before each round of attempts, without blocking. NULL: once, at the
     * beginning, which may block. Outlives the client. */
    struct resolver *resolver;
    bool
        look_up_now; /* the first time at the beginning, which may block: an unknown name is told */
    /* Further addresses, from a file for instance: see struct resolver_wish. Copied. */
    size_t (*find)(const char *place, char (*ret)[HOSTPORT_SIZE], size_t room);
    const char *place;
    bool find_first;
    bool find_later; /* not before it was up once: until then only `addresses` are meant */
    char server_public[KEYS_TEXT_SIZE];
    struct keys_pair key;
    /* What is under way is bounded by the session above: then ZeroMQ's queue needs no bound, and
     * the connection two descriptors less. */
    bool bounded_above;
    /* May be NULL: after each call by the loop, with the events' argument; next_ns may differ. */
    void (*on_touched)(void *arg);
};

/* Begins to connect. 0; -EINVAL for an address that is none; -ENOENT for names that nobody knows,
 * if they are looked up here; -errno */
int transport_zmq_client_new(const struct transport_zmq_client_config *config,
                             const struct transport_events *events,
                             struct transport **ret) MUST_CHECK;

/* Why a client is not up: what on_down told last. It is told once for each change. */
enum transport_zmq_why {
    TRANSPORT_ZMQ_CUT = 1, /* the connection ended; another is on its way */
    TRANSPORT_ZMQ_REFUSED, /* nobody listens there */
    TRANSPORT_ZMQ_UNREACHABLE,
    TRANSPORT_ZMQ_STRANGER,    /* who answers is not who our key file names, or another program */
    TRANSPORT_ZMQ_KEY_REFUSED, /* by the other side, which is who it should be */
};
enum transport_zmq_why transport_zmq_client_why(const struct transport *client);
/* Drops the connection of a client and makes another at once: for one that seems dead. */
void transport_zmq_client_renew(struct transport *client);

/* The other side is at these addresses now: connects there, at once if it is up; the session above
 * goes on. 0; -EINVAL for an address that is none, and then all is as it was */
int transport_zmq_client_move(struct transport *client, const char *const *addresses,
                              size_t count) MUST_CHECK;

uint64_t transport_zmq_next_ns(const struct transport *t); /* when tick is wanted; NS_FOREVER */
void transport_zmq_tick(struct transport *t, uint64_t now_ns);

struct transport_zmq_counts {
    uint64_t refused_keys; /* by the ZAP handler */
    uint64_t strange; /* server: connections that ended and were no peer's: without a handshake */
    uint64_t ignored; /* messages of peers beyond peers_max, and broken ones */
    uint64_t connections; /* client: that came up */
};
void transport_zmq_count(const struct transport *t, struct transport_zmq_counts *ret);

#endif
