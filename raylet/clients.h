/*
 * The processes on the rings: accepting, greeting, receiving into events, sending what the core's
 * effects say, and noticing their ends. Knows nothing of tasks; a worker is only a client whose
 * socket was inherited, and whose ring is kept until its process has ended, for its claims are read
 * then. All on the loop's thread; nothing blocks.
 *
 * A client is hot while something went to or came from it within the last millisecond: then its
 * ring is polled and its sleep flag is down. All others have their flags armed, and ring the loop.
 */
#ifndef RAYLET_CLIENTS_H
#define RAYLET_CLIENTS_H

#include "common/loop.h"
#include "proto/ring.h"
#include "raylet/events.h"

/* A turn of 64 takes 10 us, one of 256 three times as long, and throughput is the same: so a small
 * request waits less beside a flood. */
#define CLIENTS_RECORDS_PER_TURN 64u
#define CLIENTS_HOT_NS           UINT64_C(1000000)
#define CLIENTS_GREETING_NS                                                                        \
    UINT64_C(10000000000) /* who has not greeted, and opened, by then is dropped */
#define CLIENTS_CLOSING_NS UINT64_C(2000000000) /* for reading what was sent before a close */

struct clients;

struct clients_owner {
    /* A worker's process is still there, but its channel is not: its socket ended (broken: it sent
     * garbage). */
    void (*on_worker_silent)(void *arg, uint32_t worker, bool broken);
    /* Called before EVENT_CLIENT_UP of a worker's client, so that what came before in time stands
     * before it. */
    void (*on_worker_greeted)(void *arg, uint32_t worker);
    void *arg;
};

/* `events` and `owner` outlive it. */
struct clients *clients_new(struct loop *loop, struct events *events,
                            const struct clients_owner *owner, uint32_t clients_max);
void clients_free(struct clients *c); /* drops all without events; NULL is fine */
int clients_listen(struct clients *c, const char *path) MUST_CHECK; /* -errno */
void clients_unlisten(struct clients *c);

/* A worker's end of its socket pair (taken); `pid` is its process. Returns its handle. -errno */
int clients_add_worker(struct clients *c, int socket, uint32_t worker, pid_t pid,
                       uint32_t *ret) MUST_CHECK;

/* Takes what the hot clients sent, at most CLIENTS_RECORDS_PER_TURN each, into the events. How
 * many. */
size_t clients_receive(struct clients *c, uint64_t now_ns);
bool clients_has_input(void *clients); /* for patience_poll: some hot ring has input */
bool clients_any_hot(const struct clients *c);
/* Before sleeping: arms all flags. False: something is there after all. */
bool clients_arm(struct clients *c);
/* Makes visible what was sent, gives room back, rings once for each client that was touched; ends
 * what is closing. */
void clients_flush(struct clients *c, uint64_t now_ns);
uint64_t clients_next_ns(const struct clients *c); /* when clients_flush has something to end */

/* Unknown handles are ignored: they belong to clients that ended in the same turn. */
void clients_send(struct clients *c, uint32_t handle, const struct local_msg *m);
void clients_close(struct clients *c, uint32_t handle); /* only its EVENT_CLIENT_DOWN follows */
void clients_credit(struct clients *c, uint32_t handle, uint64_t bytes);
void clients_flag_cancel(struct clients *c, uint32_t handle, uint32_t slot); /* of a claimed slot */
bool clients_take_back(struct clients *c, uint32_t handle,
                       uint32_t slot); /* OFFERED became TAKEN_BACK */

/* The descriptor of the program that came with the greeting; the caller's from now on. -1: none. */
int clients_take_program(struct clients *c, uint32_t handle);
/* The descriptor of its working directory, which stays with the client. -1: none came, or no such
 * client. */
int clients_directory(struct clients *c, uint32_t handle);

/* A worker's process has ended. _drain takes all it had sent and reads which slots stand in
 * CLAIMED; _finish adds EVENT_CLIENT_DOWN (if it had come up) and forgets it. */
void clients_worker_drain(struct clients *c, uint32_t handle, uint64_t ret_claimed[2]);
/* Which of its slots stand in CLAIMED now. */
void clients_claimed(struct clients *c, uint32_t handle, uint64_t ret_claimed[2]);
/* The meter of one of its streams (proto/ring.h), there until _finish; NULL: it has not greeted. */
struct ring_meter *clients_meter(struct clients *c, uint32_t handle, uint32_t index);
void clients_worker_finish(struct clients *c, uint32_t handle);
bool clients_is_open(struct clients *c, uint32_t handle); /* its OPEN came */
/* The errno of a shortage because of which no channel could be made for it; 0: none. */
int clients_worker_short_of(struct clients *c, uint32_t handle);

struct clients_counts {
    uint64_t accepted, refused, broken, overrun, now, hot;
};
void clients_count(const struct clients *c, struct clients_counts *ret);

#endif
