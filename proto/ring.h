/*
 * The local channel: a UNIX seqpacket socket for the handshake and for noticing death, and a memfd
 * with two single-producer byte rings, a doorbell for each direction, and a page of shared words.
 * Two layers:
 *
 *   ring_*          one side of an attached segment: reserve, commit, flush; receive. No waiting,
 * no system call but the doorbell's write. ring_listen, ring_accept, ring_connect   the handshake
 * with SO_PEERCRED and SCM_RIGHTS.
 *
 * One thread at a time on each side (the SDK guards with a mutex). Neither side trusts: positions
 * of one's own are kept in private memory, the other's are checked against the capacity, records
 * are copied out before they are looked at. The memfd is sealed against resizing, so that no access
 * faults.
 *
 * Sleeping. Each consumer has a sleep flag for each ring: it arms the flag, checks once more, then
 * waits on its doorbell; the producer publishes, fences, and if the flag is set clears it and
 * rings. A producer that finds no room sets a second flag and is rung when there is room (the same
 * doorbell of its side). So a side that has read all it wants and is about to wait does:
 *
 *     ring_flush(c);
 *     if (ring_arm(c)) { wait until doorbell_mine is readable (or the socket ends); ring_disarm(c);
 * }
 *
 * A wake-up may be spurious: several reasons share one doorbell.
 *
 * Doorbells. Flags of an open file are shared by all who hold it, so a client can take O_NONBLOCK
 * off whatever it was passed, and no call of the server may depend on that. The client rings an
 * eventfd, which the server reads with RWF_NOWAIT. The server rings a pipe, whose two ends are two
 * open files: it keeps the one that it writes to, and passes the other. (A write to an eventfd
 * blocks where its count is at the end.) A server ignores SIGPIPE.
 */
#ifndef PROTO_RING_H
#define PROTO_RING_H

#include "common/bytes.h"
#include "common/codes.h"
#include "proto/message.h"

#include <stdatomic.h>
#include <sys/types.h>

#define RING_BYTES      (256u << 10) /* each direction */
#define RING_RECORD_MAX (RING_BYTES / 4)
#define RING_WORDS      128u
#define RING_QUEUE_MAX                                                                             \
    (64u << 20) /* bytes that wait on our side when the ring is full; beyond: -ENOBUFS */

struct ring_segment; /* the shared layout; ring.c */

/*
 * How many bytes the server has read from a pipe that the client writes to, shared so that the
 * client can tell how much was written to the pipe in all: what was read, and what still lies in it
 * (FIONREAD). The server reads between _begin and _end; `turn` is odd meanwhile, and who looks then
 * looks again.
 */
struct ring_meter {
    _Atomic uint32_t turn;
    _Atomic uint64_t bytes;
};
#define RING_METERS 2u /* of a worker: its standard output, its standard error */

struct ring_channel {
    struct ring_segment *segment;
    bool server;
    int memfd;
    int doorbell_mine;   /* I sleep on it: poll for input */
    int doorbell_theirs; /* I ring it */
    int doorbell_client; /* server: the client's end of what it sleeps on, until it is passed; -1 */
    /* producer, private */
    uint64_t tail, tail_published, head_seen, reserved;
    struct buffer queue; /* messages that found no room, in order */
    size_t queue_sent;   /* bytes of it that are in the ring: whole messages */
    size_t piece_sent;   /* and of the message that comes next */
    /* consumer, private */
    uint64_t head, head_published, tail_seen;
    struct buffer assembly; /* a message of several records */
    size_t assembly_size;   /* what it will have; 0: none is being put together */
    uint64_t credit;        /* server: what was given back in all */
    bool failed; /* the other side broke the layout: every further call answers -EPROTO */
};

/* Makes a segment and the server's side of it. -errno */
int ring_create(struct ring_channel *server) MUST_CHECK;
/* The client's side, from what the handshake passed: copies of the server's `memfd`,
 * `doorbell_mine` and `doorbell_client`; takes the descriptors. -errno, -EPROTO */
int ring_attach(struct ring_channel *client, int memfd, int doorbell_server,
                int doorbell_client) MUST_CHECK;
/* The server has passed what is the client's: it keeps no copy of that end. */
void ring_passed(struct ring_channel *server);
void ring_fini(struct ring_channel *c); /* fine if zeroed */
/* Children that this process forks from now on have no mapping of the segment: what they write
 * reaches nobody. */
void ring_hide_from_children(struct ring_channel *c);
/* In such a child: closes the descriptors. Async-signal-safe; fine if zeroed. */
void ring_forget(struct ring_channel *c);

/* Contiguous room for one message of `size` bytes (8-aligned), to be filled and committed; NULL if
 * there is none now, the queue is not empty, or size > RING_RECORD_MAX: then use ring_send, which
 * copies. What was not committed is forgotten by the next call. */
void *ring_reserve(struct ring_channel *c, size_t size);
void ring_commit(
    struct ring_channel *c); /* what ring_reserve gave; seen by the other side after ring_flush */
/* Queues a copy (split into records as needed). 0; -EMSGSIZE above MESSAGE_MAX; -ENOBUFS above
 * RING_QUEUE_MAX; -EPROTO */
int ring_send(struct ring_channel *c, struct bytes message) MUST_CHECK;
/* Makes everything committed visible, moves the queue along, and rings if the other side sleeps. 0
 * if all went into the ring, 1 if something still waits for room (we are rung when there is some),
 * -EPROTO. */
int ring_flush(struct ring_channel *c) MUST_CHECK;

/* The next whole message, copied out into `arena` (64-aligned): 1; 0 if there is none; -EPROTO.
 * Room is given back to the producer by ring_flush (or after half a ring). Never loops longer than
 * one message is large. */
int ring_receive(struct ring_channel *c, struct arena *arena, struct bytes *ret) MUST_CHECK;
/* Cheap: one load. Also true when the layout is broken. */
bool ring_has_input(const struct ring_channel *c);
/* Whether messages still wait for room on our side. */
static inline bool ring_has_queue(const struct ring_channel *c)
{
    return c->queue.size != 0;
}

static inline size_t ring_queued_bytes(const struct ring_channel *c)
{
    return c->queue.size - c->queue_sent;
}

/* Flushes and arms the sleep flag; true if there is nothing to receive and the queue is as it was,
 * so: wait on doorbell_mine now. Who waits for something else (credit) looks at that once more in
 * between. False: it disarmed again, as something has come, or the last of the queue has found
 * room, or the layout is broken. */
bool ring_arm(struct ring_channel *c);
void ring_disarm(struct ring_channel *c); /* after waking; also drains the doorbell */

/* Shared words, used by the layer above: a worker's claims. And a running count that only the
 * server adds to: the bytes of credit that the client got back. */
_Atomic uint32_t *ring_word(struct ring_channel *c, uint32_t index); /* index < RING_WORDS */
struct ring_meter *ring_meter(const struct ring_channel *c, uint32_t index); /* < RING_METERS */
void ring_meter_begin(struct ring_meter *m);
void ring_meter_end(struct ring_meter *m, uint64_t bytes);
/* One look: *ret_total is what was ever written to `pipe`. 0; -EAGAIN: the server is reading right
 * now, so look again; -errno */
int ring_meter_look(const struct ring_meter *m, int pipe, uint64_t *ret_total) MUST_CHECK;
void ring_credit_add(struct ring_channel *server, uint64_t bytes);
uint64_t ring_credit_read(const struct ring_channel *c);
/* Client: to sleep until credit moves: sets a flag that the next ring_credit_add clears and rings
 * for (the same doorbell). Read the credit once more between this and waiting. */
void ring_credit_watch(struct ring_channel *client);

/* ---- the handshake ---- */

struct ring_peer { /* what the kernel says of the other side */
    pid_t pid;
    uid_t uid;
    gid_t gid;
};

/* A listening, non-blocking socket at `path` (0600; a stale one is replaced, -EADDRINUSE if
 * somebody listens there). A path too long for a socket's name works too. Returns the descriptor or
 * -errno. */
int ring_listen(const char *path) MUST_CHECK;
/* One connection, not yet greeted: descriptor (non-blocking), -EAGAIN, -errno. Other users'
 * processes (but root's) are refused: -EPERM, and the connection is closed. */
int ring_accept(int listener, struct ring_peer *ret) MUST_CHECK;
/* A descriptor of the process that made the other end of a socket, readable when that has ended:
 * unlike the socket's end-of-file also when a child of it still holds its end. -ESRCH: it has ended
 * already; another -errno: none can be had (a process of another pid namespace, not a socket). */
int ring_peer_pidfd(int socket);
/* Descriptors that a client hands over with its greeting; -1: none. */
struct ring_gifts {
    int program;   /* its executable */
    int directory; /* its working directory, which may have no name, or none that its raylet could
                      use. Only with a program */
};

/* Reads the greeting (non-blocking: -EAGAIN), makes the segment, answers. *ret_gifts is what came
 * along; the caller closes it. A program that is no ordinary file opened for reading, and a
 * directory that is none, are closed here: -1. 0; -EPROTO, -EPIPE, -errno */
int ring_greet(int socket, struct ring_channel *ret, struct ring_gifts *ret_gifts) MUST_CHECK;

/* Client: connects, passes `gifts` (NULL: none; they stay the caller's), receives the segment.
 * Blocks at most timeout_ns. *ret_socket stays open as long as the channel is used: its end-of-file
 * is the other side's death. 0, -ENOENT, -ECONNREFUSED (nobody listens), -ETIMEDOUT, -EPROTO, ...
 */
int ring_connect(const char *path, const struct ring_gifts *gifts, uint64_t timeout_ns,
                 struct ring_channel *ret, int *ret_socket) MUST_CHECK;
/* The same over a connected socket that was inherited (a worker). */
int ring_join(int socket, const struct ring_gifts *gifts, uint64_t timeout_ns,
              struct ring_channel *ret) MUST_CHECK;

#endif
