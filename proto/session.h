/*
 * Sessions (docs/protocol.md): above any transport, below all messages between raylets and head.
 * Two sides agree with Hello on (number, number, count); each numbers its messages, keeps them
 * until they are acknowledged cumulatively, and sends them again when needed; the receiver takes
 * only the next one. So each message arrives once and in order, or the session ends. Pure: told the
 * time, given packets, asked for packets. One struct for each peer; one thread.
 */
#ifndef PROTO_SESSION_H
#define PROTO_SESSION_H

#include "common/bytes.h"
#include "common/codes.h"

#define SESSION_NUMBER_HEAD UINT32_MAX /* the head's number */
#define SESSION_MESSAGE_MAX                                                                        \
    ((256u << 10) + (1u << 20) + 4096u) /* one message: a value and what describes it */
#define SESSION_UNACKED_MAX                                                                        \
    (8u << 20) /* bytes kept for sending again; beyond: session_send answers -EAGAIN */
#define SESSION_KEEPALIVE_NS  1000000000ull
#define SESSION_SILENCE_NS    15000000000ull
#define SESSION_RESEND_MIN_NS 200000000ull

struct session;

struct session_config {
    uint32_t self;      /* our number now; 0: not yet given (a raylet that joins) */
    uint64_t self_life; /* random for each start of this process: tells two lives apart while the
                           number is 0 */
    bool
        initiator; /* sends Hello (raylet to head: the raylet; between raylets: the lower number) */
    uint64_t seed; /* jitter */
    uint64_t now_ns;
};

/* What a session tells its owner, in order. */
enum session_event_kind {
    SESSION_UP =
        1, /* agreed: a new one, nothing of a former one is left. `peer` number, `peer_life` */
    SESSION_MESSAGE,  /* `data`: next in order */
    SESSION_DATAGRAM, /* `data`: unnumbered, may be lost or doubled */
    SESSION_ROOM,     /* after -EAGAIN: there is room */
    SESSION_DOWN, /* ended: `silent` (15 s), replaced by the peer's new life, or a broken packet */
};

struct session_event {
    enum session_event_kind kind;
    uint32_t peer;
    uint64_t peer_life;
    bool silent;
    struct bytes data; /* borrowed until the callback returns */
};

struct session_owner {
    void (*on_event)(void *arg, const struct session_event *event);
    int (*send)(
        void *arg,
        struct bytes packet); /* to the transport: 0, or -errno (lost: the session mends it) */
    void *arg;
};

struct session *session_new(const struct session_config *config, const struct session_owner *owner);
void session_free(struct session *s);
void session_set_number(struct session *s, uint32_t self); /* the head gave it, in this session */

/* Queues a message; it is sent at once if the session is up. 0; -ENOTCONN while it is not up;
 * -EAGAIN above the bound. */
int session_send(struct session *s, uint64_t now_ns, struct bytes message) MUST_CHECK;
int session_datagram(struct session *s, uint64_t now_ns, struct bytes message) MUST_CHECK;
/* A packet from the peer. Broken ones are counted and end nothing; -EPROTO tells of it. */
int session_receive(struct session *s, uint64_t now_ns, struct bytes packet) MUST_CHECK;
/* Sends again, keeps alive, notices silence. */
void session_tick(struct session *s, uint64_t now_ns);
uint64_t session_next_ns(const struct session *s); /* when tick is wanted */
bool session_is_up(const struct session *s);
void session_end(struct session *s, uint64_t now_ns); /* says Bye once; no event for us */

struct session_counts {
    uint64_t sent, resent, received, duplicates, out_of_order, broken;
};
void session_count(const struct session *s, struct session_counts *ret);

#endif
