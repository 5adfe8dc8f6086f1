/*
 * This process's connection to its raylet: messages out, messages in, and waiting. One mutex (the
 * owner's) guards it all; no thread of its own. Of the threads that wait one leads: it polls and
 * takes what comes, the others sleep until it has taken something. What a message means is the
 * business of `take`.
 *
 * Sleeping is a cancellation point, and signal handlers that run meanwhile may leave by longjmp: a
 * follower holds nothing while it sleeps, and a leader sleeps with signals blocked, is woken by
 * them, and lets them in when it leads no more. One that was made to leave while it polled is
 * replaced.
 *
 * All functions but link_init, link_open and link_interrupt are called with the mutex held;
 * link_wait releases it while it sleeps. When the raylet is gone, all that needs it answers
 * DRT_E_DISCONNECTED, for good.
 */
#ifndef SDK_LINK_H
#define SDK_LINK_H

#include <signal.h>

#include "common/patience.h"
#include "proto/local.h"
#include "proto/ring.h"
#include "sdk/fd_mark.h"
#include "sdk/lock.h"

#define LINK_RELEASES 128u

/* A message with the memory it points into. */
struct arrival {
    struct arrival *next;
    struct arena arena;
    struct local_msg msg;
};

struct link;
/* True: the arrival is kept, and given back by link_arrival_free. Called with the mutex held; must
 * not wait. */
typedef bool link_take_fn(void *arg, struct arrival *arrival);

struct link {
    struct lock *lock;
    _Atomic uint32_t changes; /* followers sleep on it */
    bool leading;             /* a thread polls, or sleeps on the bell */
    bool asleep;              /* that one sleeps */
    uint64_t turn;            /* the leader's: one that finds another is the leader no more */
    uint32_t followers;
    int signals; /* a signalfd: what wakes a leader whose signals are blocked; -1: none */
    sigset_t signals_blocked; /* that thread's own, which do not wake it */
    bool open, broken;
    struct ring_channel ring;
    int socket;
    struct fd_mark socket_mark;
    bool cut;               /* the program closed the descriptors of the link */
    uint64_t exit_until_ns; /* see link_exit; 0: the program does not exit */
    link_take_fn *take;
    void *take_arg;
    struct arrival *spare; /* for the next message */
    struct arrival *free;
    uint32_t free_count;
    uint32_t node, client; /* as WELCOME said */
    char node_name[LOCAL_NAME_MAX + 1];
    uint64_t job, credit_bytes, spent_bytes;
    struct buffer given; /* WELCOME's payload: a worker's (sdk/given.h) */
    uint64_t next_request;
    uint64_t taken; /* messages so far */
    struct object_id releases[LINK_RELEASES];
    size_t release_count;
    struct buffer scratch;
    struct patience patience;
    _Atomic uint32_t interrupts;
    _Atomic int interrupt_fd; /* an eventfd of this process's own, beside the doorbell; -1: none */
};

void link_init(struct link *l, struct lock *lock, link_take_fn *take, void *take_arg);
/* Greets the raylet behind l->ring and l->socket, which are connected (ring_connect, ring_join):
 * sends `open`, awaits WELCOME. 0; the code of REFUSED, DRT_E_TIMEOUT, DRT_E_DISCONNECTED, each
 * with its sentence. */
int link_open(struct link *l, const struct local_open *open, uint64_t deadline_ns) MUST_CHECK;
void link_close(struct link *l); /* also half open; says nothing to the raylet */
/* The program exits: nothing more is said to the raylet, and its socket is at its end. Whatever
 * still needs it answers DRT_E_DISCONNECTED, but not before `until_ns`: the process is most likely
 * gone by then, and no thread of it takes its end for an error. */
void link_exit(struct link *l, uint64_t until_ns);
/* This thread left a wait by longjmp: it leads and follows no more. */
void link_recover(struct link *l);
/* Whether its socket is still its own: the program may have closed what it did not open. A system
 * call. */
bool link_is_whole(const struct link *l);
/* In a forked child: closes what it inherited of the connection, and nothing else.
 * Async-signal-safe; without the mutex. */
void link_forget(struct link *l);

/* Writes one message; it is under way when this returns. 0; DRT_E_DISCONNECTED; DRT_E_TOO_LARGE;
 * -EINTR. Waits while the ring is full. link_write leaves the bell to the next
 * link_flush.
 */
int link_send(struct link *l, const struct local_msg *m) MUST_CHECK;
int link_write(struct link *l, const struct local_msg *m) MUST_CHECK;
void link_flush(struct link *l);

/* Tells the raylet that an object is not held any more, soon (128 to a message); `now`: at once. */
void link_release(struct link *l, struct object_id id, bool now);
/* Those that were kept back go with the next flush. */
void link_send_releases(struct link *l);

/* Takes what has come, without waiting. True if there was something. */
bool link_take(struct link *l);

/* What a body waits for: writes at most `room` ids, all that would end the wait or one that it
 * needs; none: it cannot be said. `again`: false if what it named last still stands; it does not
 * once any of them has settled. */
typedef bool link_names_fn(void *arg, bool again, struct object_id *ids, size_t room,
                           size_t *ret_count);

/*
 * Waits until `done` says true (asked with the mutex held, after each turn). 0, DRT_E_TIMEOUT,
 * DRT_E_DISCONNECTED, -EINTR (link_interrupt). A body's own thread (`names` is not NULL) tells the
 * raylet that it is blocked, and what for, before it sleeps; not what for, if it has a deadline.
 */
int link_wait(struct link *l, bool (*done)(void *), void *arg, uint64_t deadline_ns,
              link_names_fn *names) MUST_CHECK;

/* Waits until `bytes` more may be outstanding. `work_left` says whether something unfinished can
 * still free some. 0; DRT_E_FULL and as link_wait. */
int link_spend(struct link *l, uint64_t bytes, bool (*work_left)(void *), void *arg,
               bool body) MUST_CHECK;

void link_arrival_free(struct link *l, struct arrival *a);
/* Async-signal-safe: who waits now gets -EINTR. */
void link_interrupt(struct link *l);

#endif
