/*
 * Sessions (docs/protocol.md): above any transport, below all messages between raylets and head.
 * Two sides agree with Hello on (number, number, count); each numbers its messages, keeps them
 * until they are acknowledged cumulatively, and sends them again when needed; the receiver takes
 * only the next one. So each message arrives once and in order, or the session ends, on both sides:
 * nothing of it is ever resumed. Pure: told the time, given packets, asked for packets. One struct
 * for each peer; one thread.
 *
 *   initiator                             the other
 *   HELLO (again until answered)   ->
 *                                  <-     HELLO_ACK: a session of its own count, not yet in force
 *   up; anything of the session    ->     up (a session with the former life goes down first)
 *
 * A packet names both sides' numbers, lives and counts. One that names others than the receiver's
 * is answered with RESET and not obeyed; who is told so by the very one it meant goes down. Late
 * copies from former sessions therefore change nothing. An initiator that went down says Hello
 * again by itself, with back-off.
 *
 * Alive is who hears and is heard: each packet says for how long its sender has not heard the other
 * side. A side that does not know of the last 15 s that the other one has heard it ends the session
 * and says so. So both notice a cut of either way, 15 s after it began at the latest. The initiator
 * says something each second and is answered at once; after 3 s of doubt both say something four
 * times a second, so that losses alone end nothing.
 */
#ifndef PROTO_SESSION_H
#define PROTO_SESSION_H

#include "common/bytes.h"
#include "common/codes.h"

#define SESSION_NUMBER_HEAD UINT32_MAX /* the head's number */
/* One message: a value and what describes it. */
#define SESSION_MESSAGE_MAX ((256u << 10) + (1u << 20) + 4096u)
/* What a packet has beyond its message, at most. */
#define SESSION_PACKET_EXTRA 256u
/* Kept for sending again, with 256 bytes added for each message; beyond: -EAGAIN. */
#define SESSION_UNACKED_MAX   (8u << 20)
#define SESSION_KEEPALIVE_NS  1000000000ull /* the initiator's; the other one answers */
#define SESSION_DOUBT_NS      3000000000ull /* not known to be heard for so long: asks more often */
#define SESSION_ASK_NS        250000000ull  /* then */
#define SESSION_SILENCE_NS    15000000000ull /* not known to be heard for so long: it ends */
#define SESSION_RESEND_MIN_NS 200000000ull

struct session;

struct session_config {
    uint32_t self;      /* our number now; 0: not yet given (a raylet that joins) */
    uint64_t self_life; /* random for each start of this process, never used again */
    bool initiator;     /* raylet to head: the raylet; between raylets: the lower number */
    uint64_t seed;      /* of the jitter */
    uint64_t now_ns;
};

/* What a session tells its owner, in order. UP and DOWN take turns. */
enum session_event_kind {
    SESSION_UP = 1,   /* agreed; nothing of a former one is left. `peer`, `peer_life` */
    SESSION_MESSAGE,  /* `data`: next in order */
    SESSION_DATAGRAM, /* `data`: unnumbered, may be lost or doubled; only while up */
    SESSION_ROOM,     /* after -EAGAIN: half of the bound is free */
    SESSION_DOWN,     /* `silent` (one of the two did not hear the other for 15 s); else the other
                         side ended it or is another life now */
};

struct session_event {
    enum session_event_kind kind;
    uint32_t peer; /* its number as it says; 0: none yet */
    uint64_t peer_life;
    bool silent;
    struct bytes data; /* 64-aligned; borrowed until the callback returns */
};

struct session_owner {
    /* May send, end the session and set the number; not free, receive or tick. proto/link.h only
     * keeps what it hears here, and tells its owner later. */
    void (*on_event)(void *arg, const struct session_event *event);
    /* To the transport, which copies: 0, or -errno (lost, the session mends it). Calls nothing
     * here. */
    int (*send)(void *arg, struct bytes packet);
    void *arg;
};

struct session *session_new(const struct session_config *config, const struct session_owner *owner);
void session_free(struct session *s); /* NULL is fine; tells nobody */
/* The head gave it: in force from the next packet. From 0 the session goes on; from another number
 * it ends, as the other side sees somebody else. */
void session_set_number(struct session *s, uint32_t self);

/* Queues a copy; it is sent at once if the session is up. 0; -ENOTCONN while it is not up; -EAGAIN
 * above the bound (SESSION_ROOM follows); -EMSGSIZE above SESSION_MESSAGE_MAX. */
int session_send(struct session *s, uint64_t now_ns, struct bytes message) MUST_CHECK;
/* Sent now or never. 0; -ENOTCONN; -EMSGSIZE; what the transport said */
int session_datagram(struct session *s, uint64_t now_ns, struct bytes message) MUST_CHECK;
/* A packet from the peer, any bytes. Broken ones are counted and end nothing; -EPROTO tells of it.
 */
int session_receive(struct session *s, uint64_t now_ns, struct bytes packet) MUST_CHECK;
/* Says Hello, sends again, keeps alive, notices silence. */
void session_tick(struct session *s, uint64_t now_ns);
uint64_t session_next_ns(const struct session *s); /* when tick is wanted; NS_FOREVER */
bool session_is_up(const struct session *s);
uint64_t
session_alive_ns(const struct session *s); /* while up: when it heard us last, as far as we know */
/* The transport has a way to the peer again: says now what would be said later. */
void session_hurry(struct session *s, uint64_t now_ns);
/* The owner knows that the peer's process is gone: DOWN follows if it was up (not silent). */
void session_lost(struct session *s, uint64_t now_ns);
/* Says Bye once (lost or not: whatever the other side still sends is answered with RESET). No event
 * for us; it never comes up again. */
void session_end(struct session *s, uint64_t now_ns);

struct session_counts {
    uint64_t sent; /* packets that the transport took */
    uint64_t resent, received, duplicates, out_of_order;
    uint64_t broken; /* packets that are none */
    uint64_t stale;  /* of another session */
};
void session_count(const struct session *s, struct session_counts *ret);

#endif
