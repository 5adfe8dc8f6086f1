/*
 * The raylet's side of its sessions with other raylets (proto/mesh.h): turns what they say into
 * events, carries out the core's effects on them, and owns the node's message port, where the head
 * looks whether we are there. What only shells say to each other (programs) goes to whoever asked
 * for it. On the loop's thread; peer_link_new may block a moment (the port's self-check), nothing
 * else does.
 */
#ifndef RAYLET_PEER_LINK_H
#define RAYLET_PEER_LINK_H

#include "proto/mesh.h"
#include "raylet/events.h"

#define PEER_LINK_PORT 7421u

struct peer_link;

struct peer_link_config {
    struct loop *loop;
    struct events *events;
    const struct keys_member *keys;
    const char *head_address; /* the way there says which of our addresses others reach */
    const char *bind;         /* NULL: all interfaces */
    const char
        *advertise; /* "host[:port]" that others shall be told; NULL: see peer_link_address */
    uint16_t port;  /* 0: any */
    bool exact;     /* only that port */
    /* A PROGRAM_GET or PROGRAM_PART, in the events' arena. May call anything, as in proto/mesh.h.
     * NULL: dropped. */
    void (*on_program_message)(void *arg, uint32_t peer, enum peer_side side,
                               const struct peer_msg *m);
    /* A session ended that was up; the core hears of it by its event. May be NULL. */
    void (*on_session_end)(void *arg, uint32_t peer, enum peer_side side);
    void *arg;
};

/* 0, or a code with the sentence. */
int peer_link_new(const struct peer_link_config *config, struct peer_link **ret,
                  struct failure *f) MUST_CHECK;
void peer_link_free(struct peer_link *p); /* says goodbye to all; NULL is fine */

uint16_t peer_link_port(const struct peer_link *p);
/* Ours: what --advertise says, else what --bind says, else as the way to the head shows it; the
 * head knows better then. */
const char *peer_link_address(const struct peer_link *p);
bool peer_link_is_advertised(const struct peer_link *p); /* the user chose that address */
const char *peer_link_key(const struct peer_link *p);    /* public, of our port */
struct transport_zmq_context *peer_link_context(struct peer_link *p); /* for the head's link */
struct resolver *peer_link_resolver(struct peer_link *p);             /* likewise */

void peer_link_set_number(struct peer_link *p, uint32_t number); /* the head gave it */

/* EFFECT_PEER_OPEN, _CLOSE, _SEND. What was sent leaves with the next flush. */
void peer_link_open(struct peer_link *p, uint32_t peer, const char *address, const char *key);
void peer_link_close(struct peer_link *p, uint32_t peer, enum peer_side side,
                     const struct failure *why); /* NULL: in order */
void peer_link_send(struct peer_link *p, uint32_t peer, enum peer_side side,
                    const struct peer_msg *m);
void peer_link_flush(struct peer_link *p);

/* Messages sent and received so far. */
uint64_t peer_link_traffic(const struct peer_link *p);
bool peer_link_is_up(const struct peer_link *p); /* some session is */

uint64_t peer_link_next_ns(const struct peer_link *p);
void peer_link_tick(struct peer_link *p, uint64_t now_ns);

#endif
