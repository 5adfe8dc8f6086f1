/*
 * A network in memory, for tests: any number of transports on it, servers by port and clients that
 * reach one, with seeded loss, duplication, delay, reordering and cuts. Pure: its owner says what
 * time it is, and nothing is delivered but from within mem_network_advance (or `turn`). The same
 * seed and the same calls give the same run. One thread.
 */
#ifndef PROTO_TRANSPORT_MEM_H
#define PROTO_TRANSPORT_MEM_H

#include "proto/transport.h"

#define TRANSPORT_MEM_ONLY_PEER 1u /* the peer of a client */

struct mem_network;

struct mem_network_options {
    uint64_t seed;
    double loss, duplication;            /* of each message, 0..1 */
    uint64_t delay_min_ns, delay_max_ns; /* evenly between */
    bool reorders;       /* else a message never overtakes another of its sender to the same peer */
    uint64_t connect_ns; /* a client tries to reach its server so often; 0: 10 ms */
    size_t queue_max_bytes;   /* under way from one sender to one peer; beyond: -EAGAIN. 0: 4 MiB */
    size_t message_max_bytes; /* 0: MESSAGE_MAX */
};

struct mem_network *mem_network_new(const struct mem_network_options *options);
void mem_network_free(
    struct mem_network *network); /* asserts that no transport is left; NULL is fine */

/* From now on. */
void mem_network_set(struct mem_network *network, const struct mem_network_options *options);

/* Sets the time and delivers all that is due by then, in the order of its time. How many callbacks
 * ran. */
int mem_network_advance(struct mem_network *network, uint64_t now_ns);
uint64_t
mem_network_next_ns(const struct mem_network *network); /* when something is due; NS_FOREVER */

/* A server at a port that is free (asserts it). Its peers' numbers are never used again. Freeing it
 * is its process's death: clients are told, and try again. */
struct transport *transport_mem_server_new(struct mem_network *network, uint32_t port,
                                           const struct transport_events *events);
/* Reaches the server of that port, again and again until there is one: on_up. on_down(refused)
 * tells once that nobody listens. */
struct transport *transport_mem_client_new(struct mem_network *network, uint32_t port,
                                           enum peer_role role,
                                           const struct transport_events *events);

/* Cuts a client's way to its server or back, silently: what is sent is lost and nobody is told.
 * Both false: healed. */
void transport_mem_cut(struct transport *client, bool to_server, bool from_server);
/* Drops a client's connection: both sides are told, and it comes back as another peer. */
void transport_mem_disconnect(struct transport *client);
/* The peer's number of this client at its server; 0: none now. */
uint64_t transport_mem_number(const struct transport *client);

struct mem_network_counts {
    uint64_t sent, lost, doubled, reordered, delivered;
};
void mem_network_count(const struct mem_network *network, struct mem_network_counts *ret);

#endif
