/*
 * Links: what the shells of head and raylet use to talk over the network. A server holds many
 * peers, a client one; each peer has a session (proto/session.h) over ZeroMQ with CURVE
 * (proto/transport_zmq.h), so that messages arrive once and in order, or the peer goes down. A
 * client connects again for ever, with back-off and jitter. Nothing blocks but the two constructors
 * (see there). Everything on the thread of the loop.
 *
 * The shell's loop:
 *
 *   while (!done) {
 *       loop_turn(loop, time until MIN_OF(link_next_ns(link), its own timers));
 *       link_tick(link, clock_now_ns());
 *   }
 *
 * Callbacks are called from link_tick alone, when nothing of the link is under way, so they may
 * call any function here, link_free too. What the loop brings is kept until then: whoever ran the
 * loop calls link_tick next.
 */
#ifndef PROTO_LINK_H
#define PROTO_LINK_H

#include "common/loop.h"
#include "proto/keys.h"
#include "proto/reach.h"
#include "proto/session.h"
#include "proto/transport.h"

#define LINK_MESSAGE_MAX   SESSION_MESSAGE_MAX /* bytes of one message */
#define LINK_PEERS_DEFAULT 1024u
#define LINK_ONLY_PEER     1u /* the peer of a client */

struct link;
struct transport_zmq_context; /* proto/transport_zmq.h */

enum link_down {
    LINK_ENDED =
        1,       /* the peer said goodbye, or answers as another life: what was under way is lost */
    LINK_SILENT, /* one of the two did not hear the other for SESSION_SILENCE_NS */
    LINK_REFUSED,     /* client: nobody listens there; the network works and the process is gone */
    LINK_UNREACHABLE, /* client: nothing answers there */
    LINK_KEY_REFUSED, /* client: the other side refused our key */
    LINK_STRANGER,    /* client: who answers there is not who our key file names */
};

enum link_probe_answer { LINK_PROBE_LISTENS = 1, LINK_PROBE_REFUSED, LINK_PROBE_SILENT };

struct link_identity {
    uint32_t number; /* as the peer says it; 0: none yet; SESSION_NUMBER_HEAD */
    uint64_t life;
    enum peer_role role; /* what its key allows (server); PEER_NODE on a client */
};

struct link_events {
    /* A session begins: nothing of a former one is left. A process that was started again comes as
     * a new peer. */
    void (*on_up)(void *arg, uint64_t peer, const struct link_identity *identity);
    /* `message` is 64-aligned and borrowed until the callback returns. A datagram may be lost or
     * doubled. */
    void (*on_message)(void *arg, uint64_t peer, struct bytes message, bool datagram);
    void (*on_room)(void *arg, uint64_t peer); /* after -EAGAIN */
    /* Server: a peer that was up is gone; should the same process begin another session, on_up
     * comes again. Client: told when an up session ends, and while it is not up once for each
     * change of the reason; it tries again by itself. */
    void (*on_down)(void *arg, uint64_t peer, enum link_down why);
    /* Server, may be NULL: the connection of a peer that is up ended; its session waits for another
     * one until silence. The moment to ask its port (link_probe). */
    void (*on_cut)(void *arg, uint64_t peer);
    /* May be NULL: the answer to link_probe. */
    void (*on_probe)(void *arg, uint64_t token, enum link_probe_answer answer);
    /* May be NULL: the answer to link_reach. */
    void (*on_reach)(void *arg, uint64_t token, enum reach_answer answer);
    /* Client, may be NULL: the loop was here, and link_next_ns may be sooner than before. For who
     * has too many links to ask each of them in every turn. The one callback that the loop calls:
     * it may only ask link_next_ns. */
    void (*on_due)(void *arg);
    void *arg;
};

struct link_server_config {
    struct loop *loop;
    struct transport_zmq_context *context; /* shared with other links; one server for each. NULL:
                                              its own */
    const char *bind;     /* an address of this machine, numeric; NULL or "*": all */
    uint16_t port;        /* 0: any */
    bool exact;           /* else the next free port of the following 100 when `port` is taken */
    struct keys_pair key; /* this server's */
    struct keys_access access; /* who may come: public keys of the roles */
    uint32_t number;           /* ours: SESSION_NUMBER_HEAD, or a raylet's */
    uint32_t peers_max; /* 0: LINK_PEERS_DEFAULT; whoever comes beyond is ignored and counted */
    struct link_events events;
};

struct link_client_config {
    struct loop *loop;
    struct transport_zmq_context *context; /* as above */
    /* "host:port"; as those of struct transport_zmq_client_config, and the next seven. */
    const char *const *addresses;
    size_t address_count;
    struct resolver *resolver;
    bool look_up_now;
    size_t (*find)(const char *place, char (*ret)[HOSTPORT_SIZE], size_t room);
    const char *place;
    bool find_first, find_later;
    char server_public[KEYS_TEXT_SIZE];
    struct keys_pair key; /* of our role */
    uint32_t number;      /* ours; 0: not yet given */
    struct link_events events;
};

/* Listens, and proves that a random key is refused before anybody can come in (some milliseconds,
 * at most 2 s). *ret_port tells the port. 0; -EADDRINUSE, -EADDRNOTAVAIL; -EACCES when the proof
 * failed; -errno */
int link_server_new(const struct link_server_config *config, struct link **ret,
                    uint16_t *ret_port) MUST_CHECK;
/* Begins to connect. 0; -EINVAL for an address that is none, -ENOENT for a name that nobody knows;
 * -errno */
int link_client_new(const struct link_client_config *config, struct link **ret) MUST_CHECK;
/* Says goodbye to all peers (as far as it leaves within 100 ms: the only wait) and closes; within a
 * callback of its own, as soon as that returns. NULL is fine. */
void link_free(struct link *link);

void link_set_number(struct link *link, uint32_t number); /* the head gave us one; sessions go on */

/* Next in order to this peer. 0; -ENOTCONN while it is not up; -EAGAIN: SESSION_UNACKED_MAX bytes
 * wait already (on_room follows); -EMSGSIZE */
int link_send(struct link *link, uint64_t peer, struct bytes message) MUST_CHECK;
int link_datagram(struct link *link, uint64_t peer,
                  struct bytes message) MUST_CHECK; /* may be lost or doubled */
/* Ends the session (the peer is told) and forgets the peer of a server, whose on_down does not
 * follow; a client begins anew. */
void link_drop(struct link *link, uint64_t peer);
bool link_is_up(const struct link *link, uint64_t peer);
/* Server: from where this peer comes, numeric and without a port; "" where it is not known. Valid
 * until the loop runs again. */
const char *link_peer_address(const struct link *link, uint64_t peer);

/* Server. Asks whether anybody listens at "1.2.3.4:7421"; on_probe answers with `token` within 1 s.
 * 0; -EINVAL; -EBUSY with REACH_MAX under way; -errno */
int link_probe(struct link *link, const char *address, uint64_t token) MUST_CHECK;
/* Server. Likewise whether the one there has this key (Z85); on_reach answers within 3 s. */
int link_reach(struct link *link, const char *address, const char *key, uint64_t token) MUST_CHECK;

/* Client: the other side is at this address now. Connects there; a session that is up goes on. 0;
 * -EINVAL */
int link_move(struct link *link, const char *address) MUST_CHECK;
struct resolver *link_resolver(struct link *link); /* a server's, for clients of this process */

uint64_t
link_next_ns(const struct link *link); /* clock_now_ns when link_tick is wanted; NS_FOREVER */
void link_tick(struct link *link, uint64_t now_ns);

struct link_counts {
    uint64_t peers, broken_packets, refused_keys, strange, ignored_peers, resent;
};
void link_count(const struct link *link, struct link_counts *ret);

#endif
