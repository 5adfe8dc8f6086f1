/*
 * All sessions of one raylet with others: its message port, which they reach, and a client for each
 * peer that it opened. Sessions are directed (proto/peer.h): MESH_OUT is ours, MESH_IN theirs; each
 * is a link (proto/link.h), and all share ZeroMQ's threads. Messages to one peer are gathered and
 * leave together with mesh_flush; what only keeps books (slots, who has begun) while an answer to a
 * RUN is due waits for that one, at most MESH_HOLD_NS, since two messages wake the other side
 * twice. What a session cannot take yet waits here; the owner hears that it is slow. Not the
 * raylet's policy: whom to open, what to say and when to give up is the core's. Nothing blocks but
 * mesh_new (the port's self-check, some milliseconds). Everything on the thread of the loop.
 *
 * Callbacks are called from mesh_tick alone, when nothing of the mesh is under way, so they may
 * call any function here: send, close, open, flush, mesh_free too. Whoever ran the loop calls
 * mesh_tick next.
 */
#ifndef PROTO_MESH_H
#define PROTO_MESH_H

#include "proto/link.h"
#include "proto/peer.h"

/* Bytes that wait for all sessions together; beyond, the one for which most waits is ended. */
#define MESH_BACKLOG_MAX (256u << 20)
#define MESH_HOLD_NS     UINT64_C(100000)

struct mesh;

enum mesh_side { MESH_OUT = 0, MESH_IN = 1 };

struct mesh_events {
    /* A session with this node begins; nothing of a former one is left. UP and the DOWN of an up
     * session take turns for each peer and side. */
    void (*on_up)(void *arg, uint32_t peer, enum mesh_side side);
    /* `m` lives in the config's arena, which is not reset within mesh_tick. */
    void (*on_message)(void *arg, uint32_t peer, enum mesh_side side, const struct peer_msg *m);
    /* It ended; or (OUT only) it is still not up, once for each change of the reason. LINK_REFUSED:
     * nobody listens there; LINK_KEY_REFUSED: somebody else is at its address. OUT goes on trying
     * until it is closed. */
    void (*on_down)(void *arg, uint32_t peer, enum mesh_side side, enum link_down why);
    void (*on_slow)(void *arg, uint32_t peer, enum mesh_side side, bool slow);
    void *arg;
};

struct mesh_config {
    struct loop *loop;
    const char *bind; /* as in link_server_config */
    uint16_t port;
    bool exact;
    struct keys_pair port_key; /* of our port: others know its public half from the head */
    struct keys_pair own;      /* the cluster's node key: who has it may come, and so do we */
    uint32_t number;           /* 0: not yet given */
    struct arena *arena;       /* takes what comes; the owner resets it */
    size_t backlog_max;        /* 0: MESH_BACKLOG_MAX */
    struct mesh_events events;
};

/* As link_server_new. */
int mesh_new(const struct mesh_config *config, struct mesh **ret, uint16_t *ret_port) MUST_CHECK;
/* Says goodbye to all; within a callback of its own, as soon as that returns. NULL is fine. */
void mesh_free(struct mesh *mesh);
void mesh_set_number(struct mesh *mesh, uint32_t number);
/* ZeroMQ's threads, for another link of the same process. */
struct transport_zmq_context *mesh_context(struct mesh *mesh);
struct resolver *mesh_resolver(struct mesh *mesh); /* likewise */

/* Begins a session with `peer` at "10.0.0.6:7421", whose port has this public key (Z85), and tries
 * again and again; a name is looked up each time, without blocking. Nothing, if it is open to the
 * same already; where only the address is another one, the session goes on over a new connection.
 * 0; -EINVAL for an address or key that is none */
int mesh_open(struct mesh *mesh, uint32_t peer, const char *address, const char *key) MUST_CHECK;
/* Ends it; no on_down follows. Fine if there is none. */
void mesh_close(struct mesh *mesh, uint32_t peer, enum mesh_side side);
/* Next in order, with the next flush at the latest. Dropped while the session is not up. */
void mesh_send(struct mesh *mesh, uint32_t peer, enum mesh_side side, const struct peer_msg *m);
void mesh_flush(struct mesh *mesh);

uint64_t mesh_next_ns(const struct mesh *mesh); /* when mesh_tick is wanted; NS_FOREVER */
void mesh_tick(struct mesh *mesh, uint64_t now_ns);

struct mesh_counts {
    uint64_t out, in;       /* lanes: opened by us; theirs that are up */
    uint64_t refused_keys;  /* connections with an unknown key */
    uint64_t strange;       /* connections that were no peer's: the head's questions, and noise */
    uint64_t ignored;       /* peers beyond the port's limit, and messages that are none */
    uint64_t no_packets;    /* sessions ended for what is no packet of one */
    uint64_t strangers;     /* sessions whose number is none, or ours */
    uint64_t broken;        /* sessions ended for what is no batch or no message */
    uint64_t replaced;      /* sessions ended by another one of the same number */
    uint64_t overrun;       /* ended with MESH_BACKLOG_MAX waiting */
    uint64_t sent, batches; /* messages; what they left in */
    uint64_t received;
    uint64_t backlog_bytes;
};
void mesh_count(const struct mesh *mesh, struct mesh_counts *ret);
bool mesh_is_up(const struct mesh *mesh); /* some session is */

#endif
