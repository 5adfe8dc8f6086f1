/*
 * The ring behind the common face of transports: a server that listens at a path and holds many
 * peers, a client of one. So the contract suite proves the ring beside the network's transports;
 * raylet, head and SDK use the ring itself. Everything on one thread, with a loop or
 * without (then `turn`). After on_up messages of a peer come in order; what it sent before its end
 * is still delivered.
 */
#ifndef TESTS_CONTRACT_TRANSPORT_RING_H
#define TESTS_CONTRACT_TRANSPORT_RING_H

#include "common/loop.h"
#include "proto/ring.h"
#include "proto/transport.h"

#define TRANSPORT_RING_QUEUE_MAX                                                                   \
    (4u << 20) /* bytes that wait for one peer beside its ring; beyond: -EAGAIN */
#define TRANSPORT_RING_PEERS_MAX 256u /* who comes beyond is turned away */
#define TRANSPORT_RING_ONLY_PEER 1u   /* the peer of a client */

/* Listens at `path` (see ring_listen). `loop` may be NULL. -errno */
int transport_ring_server_new(struct loop *loop, const char *path,
                              const struct transport_events *events,
                              struct transport **ret) MUST_CHECK;
/* Of a channel that is connected (ring_connect): takes channel and socket, also when it fails.
 * on_up comes with the first turn; after on_down it is of no further use. -errno */
int transport_ring_client_adopt(struct loop *loop, struct ring_channel *channel, int socket,
                                const struct transport_events *events,
                                struct transport **ret) MUST_CHECK;

struct transport_ring_counts {
    uint64_t peers;   /* now, greeted or not */
    uint64_t refused; /* other users', one too many, strange greetings */
    uint64_t broken;  /* peers that broke the layout */
};
void transport_ring_count(const struct transport *t, struct transport_ring_counts *ret);

#endif
