/*
 * Questions who is at an address: whether anybody listens there, or whether it is the one with this
 * key. The address may be a name; all that it stands for is tried in turn. Nothing blocks. On the
 * thread of the loop.
 */
#ifndef PROTO_REACH_H
#define PROTO_REACH_H

#include "proto/resolver.h"

#define REACH_MAX 256u /* questions at a time */

struct reach;

enum reach_answer {
    REACH_FOUND = 1, /* somebody listens; with a key: it is the one */
    REACH_REFUSED,   /* nobody listens there */
    REACH_SILENT,    /* no answer, no way there */
    REACH_OTHER,     /* somebody without that key */
    REACH_NO_NAME,   /* the name is not known here */
};

struct reach_config {
    struct loop *loop;
    struct resolver *resolver;
    /* The answer to reach_ask; `keyed`: it was asked with a key. May ask again. */
    void (*on_answer)(void *arg, uint64_t token, bool keyed, enum reach_answer answer);
    void *arg;
};

struct reach *reach_new(const struct reach_config *config);
void reach_free(struct reach *r); /* NULL is fine */

/* Asks; `key` NULL: whether anybody listens. The answer comes within `limit_ns`, never at once. 0;
 * -EINVAL: no address or no key; -EBUSY with REACH_MAX under way; -errno */
int reach_ask(struct reach *r, const char *address, const char *key, uint64_t limit_ns,
              uint64_t token) MUST_CHECK;

uint64_t reach_next_ns(const struct reach *r);
void reach_tick(struct reach *r, uint64_t now_ns);

#endif
