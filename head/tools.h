/*
 * head.sock: tools of this user on this machine (drt, drt-head) over rings. Moves whole messages
 * and notices who is gone; what they mean is the core's. Everything on the loop's thread.
 */
#ifndef HEAD_TOOLS_H
#define HEAD_TOOLS_H

#include "common/loop.h"
#include "proto/local.h"

struct tools;

struct tools_events {
    void (*on_up)(void *arg, uint32_t tool); /* a handle that is never used again */
    void (*on_message)(void *arg, uint32_t tool,
                       struct bytes message);  /* borrowed until it returns */
    void (*on_down)(void *arg, uint32_t tool); /* not after tools_close */
    void *arg;
};

/* Listens at `path` (0600). -errno */
int tools_new(struct loop *loop, const char *path, const struct tools_events *events,
              struct tools **ret) MUST_CHECK;
void tools_free(struct tools *t); /* NULL is fine; removes the socket's file */

void tools_send(struct tools *t, uint32_t tool,
                struct bytes message);            /* one that cannot take it is down */
void tools_close(struct tools *t, uint32_t tool); /* when it has gone, or after a second */
void tools_drop(struct tools *t, uint32_t tool);  /* at once, without on_down */
uint64_t tools_next_ns(const struct tools *t);
void tools_tick(struct tools *t, uint64_t now_ns);

#endif
