/*
 * The raylet's side of its session with the head: turns what the link says into events, sends what
 * the core's effects say, and adds to JOIN what only this process knows (host, address, key, pid).
 * On the loop's thread; head_link_new may block a moment (see proto/link.h), nothing else does.
 */
#ifndef RAYLET_HEAD_LINK_H
#define RAYLET_HEAD_LINK_H

#include "proto/link.h"
#include "raylet/events.h"

#define HEAD_LINK_BACKLOG_MAX                                                                      \
    (64u << 20) /* bytes that wait beyond the session's bound; then the session is ended */

struct head_link;

struct head_link_config {
    struct loop *loop;
    struct events *events;
    const struct keys_member *keys;
    const char *const *addresses; /* of the head */
    size_t address_count;
    struct transport_zmq_context *context; /* shared; NULL: its own */
    /* Where the head is by now, asked before each round of attempts: names are looked up again, and
     * `find` reads `place` (proto/resolver.h). NULL: once, at the beginning. */
    struct resolver *resolver;
    size_t (*find)(const char *place, char (*ret)[HOSTPORT_SIZE], size_t room);
    const char *place;
    bool find_first, find_later;      /* as in struct link_client_config */
    const char *address, *public_key; /* of our message port, for JOIN; outlive this */
    bool advertised;                  /* the user chose that address */
    uint32_t supersedes;              /* number of this directory's raylet before; 0: none */
    const char *secret;               /* of this directory; outlives this */
    /* Each change of the reason while there is no session, and the end of one. */
    void (*on_down)(void *arg, enum link_down why);
    void *arg;
};

/* 0, or a code with the sentence. */
int head_link_new(const struct head_link_config *config, struct head_link **ret,
                  struct failure *f) MUST_CHECK;
void head_link_free(struct head_link *h); /* says goodbye; NULL is fine */

void head_link_send(struct head_link *h, const struct cluster_msg *m);
void head_link_datagram(struct head_link *h, const struct cluster_msg *m);
void head_link_set_number(struct head_link *h, uint32_t number); /* the head gave it */

uint64_t head_link_next_ns(const struct head_link *h);
void head_link_tick(struct head_link *h, uint64_t now_ns);

#endif
