/*
 * One epoll loop for each daemon. Sources are level-triggered callbacks; what is edge-triggered
 * below (ZMQ_FD) re-arms itself with loop_source_again. One thread for each loop; another one wakes
 * it through a descriptor of its own (see offload.h). Callbacks may add and remove any source, also
 * the one that runs; one that was removed does not fire again, not even in this turn.
 */
#ifndef COMMON_LOOP_H
#define COMMON_LOOP_H

#include "common/list.h"

struct loop;

struct loop_source {
    int fd; /* owned by the caller */
    void (*fn)(struct loop_source *source, uint32_t epoll_events);
    void *arg;
    struct loop *loop; /* private from here */
    bool again;
    struct list link;
};

int loop_new(struct loop **ret) MUST_CHECK; /* -errno */
void loop_free(struct loop *loop);          /* NULL is fine; asserts that no source is left */

/* Watches source->fd for `epoll_events` (EPOLLIN, EPOLLOUT). -errno. */
int loop_add(struct loop *loop, struct loop_source *source, int fd, uint32_t epoll_events,
             void (*fn)(struct loop_source *, uint32_t), void *arg) MUST_CHECK;
int loop_change(struct loop_source *source, uint32_t epoll_events) MUST_CHECK;
/* Fine if it was never added (zeroed) or already removed. */
void loop_remove(struct loop_source *source);
/* Call fn (with 0) in the next turn without waiting. */
void loop_source_again(struct loop_source *source);

/* One turn: waits at most timeout_ns (0: not at all; NS_FOREVER), then runs what is due. Returns
 * how many callbacks ran, or -errno. */
int loop_turn(struct loop *loop, uint64_t timeout_ns) MUST_CHECK;
/* Whether loop_turn would find something; takes nothing. A system call. */
bool loop_is_ready(const struct loop *loop);

#endif
