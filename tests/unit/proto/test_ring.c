#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/rng.h"
#include "proto/ring.h"

struct pair {
    struct ring_channel server, client;
    struct arena arena;
};

static int pair_make(void **state)
{
    struct pair *p = xcalloc(1, sizeof *p);
    if (ring_create(&p->server) != 0) {
        return -1;
    }
    int memfd = fcntl(p->server.memfd, F_DUPFD_CLOEXEC, 0);
    int mine = fcntl(p->server.doorbell_mine, F_DUPFD_CLOEXEC, 0);
    int theirs = fcntl(p->server.doorbell_client, F_DUPFD_CLOEXEC, 0);
    *state = p;
    return ring_attach(&p->client, memfd, mine, theirs);
}

static int pair_end(void **state)
{
    struct pair *p = *state;
    ring_fini(&p->client);
    ring_fini(&p->server);
    arena_fini(&p->arena);
    free(p);
    return 0;
}

static bool rung(const struct ring_channel *c)
{
    struct pollfd wait = {.fd = c->doorbell_mine, .events = POLLIN};
    return poll(&wait, 1, 0) == 1;
}

static struct bytes receive_one(struct pair *p, struct ring_channel *c)
{
    struct bytes got;
    assert_int_equal(ring_receive(c, &p->arena, &got), 1);
    assert_int_equal((uintptr_t)got.data % 64, 0);
    return got;
}

static uint8_t *pattern(size_t size, uint8_t first)
{
    uint8_t *data = xmalloc(size + 1);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(first + i * 7 + (i >> 8));
    }
    return data;
}

static void test_one_message(void **state)
{
    struct pair *p = *state;
    struct bytes got;
    assert_int_equal(ring_receive(&p->server, &p->arena, &got), 0);
    assert_false(ring_has_input(&p->server));
    char *at = ring_reserve(&p->client, 5);
    memcpy(at, "hello", 5);
    ring_commit(&p->client);
    assert_false(ring_has_input(&p->server)); /* not published */
    assert_int_equal(ring_flush(&p->client), 0);
    assert_true(ring_has_input(&p->server));
    got = receive_one(p, &p->server);
    assert_int_equal(got.size, 5);
    assert_memory_equal(got.data, "hello", 5);
    assert_false(ring_has_input(&p->server));
    assert_false(ring_has_input(&p->client));
}

/* What was reserved and not committed never arrives. */
static void test_reserve_without_commit(void **state)
{
    struct pair *p = *state;
    assert_non_null(ring_reserve(&p->client, 100));
    assert_int_equal(ring_send(&p->client, bytes_of("x", 1)), 0);
    assert_int_equal(ring_flush(&p->client), 0);
    assert_int_equal(receive_one(p, &p->server).size, 1);
    assert_false(ring_has_input(&p->server));
}

static void test_sizes_and_order(void **state)
{
    static const size_t sizes[] = {0,       1,         7,           8,     63,    64,
                                   65,      4096,      65535,       65536, 65537, RING_BYTES,
                                   1000000, VALUE_MAX, MESSAGE_MAX, 0,     3};
    struct pair *p = *state;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        uint8_t *data = pattern(sizes[i], (uint8_t)i);
        assert_int_equal(ring_send(&p->server, bytes_of(data, sizes[i])), 0);
        free(data);
    }
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct bytes got;
        int n;
        while ((n = ring_receive(&p->client, &p->arena, &got)) == 0) {
            assert_true(ring_flush(&p->client) == 0);
            assert_true(ring_flush(&p->server) >= 0);
        }
        assert_int_equal(n, 1);
        assert_int_equal(got.size, sizes[i]);
        uint8_t *data = pattern(sizes[i], (uint8_t)i);
        assert_memory_equal(got.data, data, sizes[i]);
        free(data);
        arena_reset(&p->arena);
    }
    assert_int_equal(ring_flush(&p->server), 0);
    assert_false(ring_has_queue(&p->server));
    assert_int_equal(p->server.queue.room, 0); /* given back */
}

static void test_bounds(void **state)
{
    struct pair *p = *state;
    uint8_t *data = pattern(MESSAGE_MAX + 1, 0);
    assert_int_equal(ring_send(&p->client, bytes_of(data, MESSAGE_MAX + 1)), -EMSGSIZE);
    assert_null(ring_reserve(&p->client, RING_RECORD_MAX + 1));
    assert_non_null(ring_reserve(&p->client, RING_RECORD_MAX));
    unsigned sent = 0;
    int err;
    while ((err = ring_send(&p->client, bytes_of(data, 1 << 20))) == 0) {
        sent++;
        assert_true(sent <= 65);
    }
    assert_int_equal(err, -ENOBUFS);
    assert_true(sent >= 63);
    assert_null(ring_reserve(&p->client, 1)); /* nothing overtakes the queue */
    assert_int_equal(ring_flush(&p->client), 1);
    free(data);
}

/* Room that comes back wakes the producer; messages wake the consumer; nobody is rung who did not
 * ask. */
static void test_doorbells(void **state)
{
    struct pair *p = *state;
    assert_int_equal(ring_send(&p->client, bytes_of("a", 1)), 0);
    assert_int_equal(ring_flush(&p->client), 0);
    assert_false(rung(&p->server));
    assert_false(ring_arm(&p->server)); /* something is there */
    receive_one(p, &p->server);
    assert_true(ring_arm(&p->server));
    assert_false(rung(&p->server));
    assert_int_equal(ring_send(&p->client, bytes_of("b", 1)), 0);
    assert_false(rung(&p->server));
    assert_int_equal(ring_flush(&p->client), 0);
    assert_true(rung(&p->server));
    ring_disarm(&p->server);
    assert_false(rung(&p->server));
    receive_one(p, &p->server);

    uint8_t *data = pattern(RING_BYTES, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(ring_send(&p->client, bytes_of(data, RING_BYTES / 2)), 0);
    }
    assert_int_equal(ring_flush(&p->client), 1);
    assert_true(ring_arm(&p->client));
    assert_false(rung(&p->client));
    struct bytes got;
    while (ring_receive(&p->server, &p->arena, &got) == 1) {
    }
    assert_int_equal(ring_flush(&p->server), 0);
    assert_true(rung(&p->client));
    ring_disarm(&p->client);
    assert_true(ring_has_queue(&p->client));
    assert_false(ring_arm(&p->client)); /* it took the room itself: nobody would ring for it */
    assert_false(ring_has_queue(&p->client));
    assert_true(ring_arm(&p->client));
    assert_true(ring_has_input(&p->server));
    free(data);
}

/* Flags belong to the open file, which both sides hold: whatever a client does to those of its
 * descriptors, and however it fills them, the server never waits. */
static void test_a_client_cannot_make_the_server_wait(void **state)
{
    struct pair *p = *state;
    const uint64_t most = UINT64_MAX - 1;
    const int fds[] = {p->client.memfd, p->client.doorbell_mine, p->client.doorbell_theirs};
    signal(SIGPIPE, SIG_IGN);
    alarm(20);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        assert_int_equal(fcntl(fds[i], F_SETFL, 0), 0);
    }
    ring_disarm(&p->server); /* nobody rang: this would wait for who does */
    assert_int_equal(write(p->client.doorbell_theirs, &most, sizeof most), sizeof most);
    assert_true(rung(&p->server));
    ring_disarm(&p->server);
    assert_false(rung(&p->server));
    for (unsigned i = 0; i < 10000; i++) { /* it never takes what it is rung with */
        ring_credit_watch(&p->client);
        ring_credit_add(&p->server, 1);
    }
    assert_true(rung(&p->client));
    assert_int_equal(fcntl(p->client.doorbell_mine, F_SETFL, O_NONBLOCK), 0);
    ring_disarm(&p->client);
    assert_false(rung(&p->client));
    ring_passed(&p->server);
    close_fd(&p->client.doorbell_mine);
    ring_credit_watch(&p->client);
    ring_credit_add(&p->server, 1); /* and no signal */
    alarm(0);
}

static void test_words_and_credit(void **state)
{
    struct pair *p = *state;
    atomic_store(ring_word(&p->server, 127), 7);
    assert_int_equal(atomic_load(ring_word(&p->client, 127)), 7);
    ring_credit_add(&p->server, 100);
    assert_int_equal(ring_credit_read(&p->client), 100);
    assert_false(rung(&p->client));
    ring_credit_watch(&p->client);
    ring_credit_add(&p->server, 11);
    assert_true(rung(&p->client));
    assert_int_equal(ring_credit_read(&p->client), 111);
    ring_disarm(&p->client);
    ring_credit_add(&p->server, 1);
    assert_false(rung(&p->client));
}

static void test_descriptors(void **state)
{
    struct pair *p = *state;
    const int fds[] = {p->server.memfd, p->server.doorbell_mine, p->server.doorbell_client};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
    }
    assert_int_not_equal(ftruncate(p->server.memfd, 0), 0);
    assert_int_not_equal(ftruncate(p->server.memfd, 1 << 30), 0);
    assert_true(fcntl(p->server.memfd, F_GET_SEALS) & F_SEAL_SEAL);
    /* One that could shrink is not taken. */
    struct ring_channel c;
    struct stat st;
    assert_int_equal(fstat(p->server.memfd, &st), 0);
    int loose = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(loose, st.st_size), 0);
    assert_int_equal(ring_attach(&c, loose, dup(fds[1]), dup(fds[2])), -EPROTO);
}

/* ---- the handshake ---- */

struct place {
    char folder[400];
    char path[500];
};

static int place_make(void **state)
{
    struct place *place = xcalloc(1, sizeof *place);
    snprintf(place->folder, sizeof place->folder, "/tmp/drt-ring-XXXXXX");
    *state = place;
    if (mkdtemp(place->folder) == NULL) {
        return -1;
    }
    snprintf(place->path, sizeof place->path, "%s/sock", place->folder);
    return 0;
}

static int place_end(void **state)
{
    struct place *place = *state;
    unlink(place->path);
    rmdir(place->folder);
    free(place);
    return 0;
}

struct connecting {
    const char *path;
    int err, socket;
    struct ring_gifts gifts;
    struct ring_channel channel;
};

static void *connect_run(void *arg)
{
    struct connecting *c = arg;
    c->err = ring_connect(c->path, &c->gifts, 10 * NS_PER_S, &c->channel, &c->socket);
    return NULL;
}

static void wait_readable(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, 10000), 1);
}

static void send_hello(int socket, int program)
{
    uint32_t hello[2] = {0x31747264u, RING_BYTES};
    struct iovec iov = {hello, sizeof hello};
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof program)] = {0};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    *CMSG_FIRSTHDR(&msg) = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof program)};
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &program, sizeof program);
    assert_int_equal(sendmsg(socket, &msg, 0), sizeof hello);
}

/* What somebody may pass in the place of a program. Its own end of the connection would never be
 * seen to close if it were kept. */
static void test_what_is_no_program_is_not_kept(void **state)
{
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    for (int i = 0; i < 6; i++) {
        int ends[2];
        char byte;
        struct ring_channel server;
        struct ring_gifts gifts = {-1, -1};
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
        int odd = i == 0   ? ends[1]
                  : i == 1 ? pipes[0]
                  : i == 2 ? open("/dev/zero", O_RDONLY | O_CLOEXEC)
                  : i == 3 ? open("/bin/sh", O_PATH | O_CLOEXEC)
                  : i == 4 ? open("/", O_RDONLY | O_CLOEXEC)
                           : open(".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
        send_hello(ends[1], odd);
        assert_int_equal(ring_greet(ends[0], &server, &gifts), 0);
        assert_int_equal(gifts.program, -1);
        assert_int_equal(gifts.directory, -1);
        if (i > 1) {
            close(odd);
        }
        close(ends[1]);
        while (recv(ends[0], &byte, 1, 0) > 0) {
        }
        assert_int_equal(recv(ends[0], &byte, 1, MSG_DONTWAIT), 0); /* nobody has the other end */
        ring_fini(&server);
        close(ends[0]);
    }
    close(pipes[0]);
    close(pipes[1]);
}

static void test_handshake(void **state)
{
    struct place *place = *state;
    int listener = ring_listen(place->path);
    assert_true(listener >= 0);
    struct stat st;
    assert_int_equal(stat(place->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(ring_listen(place->path), -EADDRINUSE);
    struct ring_peer peer;
    wait_readable(listener); /* the look whether somebody listens */
    close(ring_accept(listener, &peer));
    assert_int_equal(ring_accept(listener, &peer), -EAGAIN);

    struct connecting c = {
        .path = place->path,
        .gifts = {open("/proc/self/exe", O_RDONLY | O_CLOEXEC), open(".", O_PATH | O_CLOEXEC)}};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, connect_run, &c), 0);
    wait_readable(listener);
    int socket = ring_accept(listener, &peer);
    assert_true(socket >= 0);
    assert_int_equal(peer.pid, getpid());
    assert_int_equal(peer.uid, getuid());
    wait_readable(socket);
    struct ring_channel server;
    struct ring_gifts gifts = {-1, -1};
    assert_int_equal(ring_greet(socket, &server, &gifts), 0);
    pthread_join(thread, NULL);
    assert_int_equal(c.err, 0);

    struct stat ours, theirs;
    assert_true(gifts.program >= 0 && (fcntl(gifts.program, F_GETFD) & FD_CLOEXEC));
    /* Opened as the hello does: valgrind's answer to stat is another one. */
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fstat(gifts.program, &theirs) | fstat(self, &ours), 0);
    close(self);
    assert_int_equal(ours.st_ino, theirs.st_ino);

    struct arena arena = {0};
    struct bytes got;
    assert_int_equal(ring_send(&c.channel, bytes_of("up", 2)), 0);
    assert_int_equal(ring_flush(&c.channel), 0);
    assert_int_equal(ring_receive(&server, &arena, &got), 1);
    assert_int_equal(ring_send(&server, bytes_of("down", 4)), 0);
    assert_int_equal(ring_flush(&server), 0);
    assert_int_equal(ring_receive(&c.channel, &arena, &got), 1);
    assert_memory_equal(got.data, "down", 4);
    assert_true(ring_arm(&c.channel));
    assert_int_equal(ring_send(&server, bytes_of("x", 1)), 0);
    assert_int_equal(ring_flush(&server), 0);
    assert_true(rung(&c.channel));

    close(c.socket); /* its end is the other side's death */
    wait_readable(socket);
    assert_int_equal(ring_greet(socket, &server, &gifts), -EPIPE);
    ring_fini(&c.channel);
    ring_fini(&server);
    arena_fini(&arena);
    close(socket);
    assert_int_equal(fstat(gifts.directory, &theirs) | stat(".", &ours), 0);
    assert_true(theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev);
    close(gifts.directory);
    close(gifts.program);
    close(c.gifts.directory);
    close(c.gifts.program);
    close(listener);
}

static void test_connect_errors(void **state)
{
    struct place *place = *state;
    struct ring_channel c;
    int socket_fd = -7;
    assert_int_equal(ring_connect(place->path, NULL, NS_PER_S, &c, &socket_fd), -ENOENT);
    int listener = ring_listen(place->path);
    assert_int_equal(ring_connect(place->path, NULL, 20 * NS_PER_MS, &c, &socket_fd), -ETIMEDOUT);
    close(listener);
    assert_int_equal(ring_connect(place->path, NULL, NS_PER_S, &c, &socket_fd), -ECONNREFUSED);
    assert_int_equal(socket_fd, -7);
    listener = ring_listen(place->path); /* a stale one is replaced */
    assert_true(listener >= 0);
    close(listener);
}

static void test_long_path(void **state)
{
    struct place *place = *state;
    char deep[600], path[700];
    snprintf(deep, sizeof deep, "%s/%0150d", place->folder, 1);
    assert_int_equal(mkdir(deep, 0700), 0);
    snprintf(path, sizeof path, "%s/sock", deep);
    int listener = ring_listen(path);
    assert_true(listener >= 0);
    struct ring_channel c;
    int socket_fd;
    assert_int_equal(ring_connect(path, NULL, NS_PER_MS, &c, &socket_fd), -ETIMEDOUT);
    close(listener);
    unlink(path);
    rmdir(deep);
}

/* A greeting of other bytes is refused, and its descriptors are not kept. */
static void test_strange_greeting(void **state)
{
    int pair[2];
    struct ring_gifts got;
    struct ring_channel c;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
                     0);
    assert_int_equal(ring_greet(pair[0], &c, &got), -EAGAIN);
    assert_int_equal(send(pair[1], "garbage!", 8, 0), 8);
    assert_int_equal(ring_greet(pair[0], &c, &got), -EPROTO);
    assert_int_equal(send(pair[1], "more garbage than that", 22, 0), 22);
    assert_int_equal(ring_greet(pair[0], &c, &got), -EPROTO);
    assert_int_equal(ring_join(pair[1], NULL, NS_PER_MS, &c), -ETIMEDOUT);
    close(pair[0]);
    assert_int_equal(ring_join(pair[1], NULL, NS_PER_MS, &c), -EPIPE);
    close(pair[1]);
}

/* ---- a hostile other side: whatever it writes, we answer -EPROTO or go on, within bounds ---- */

static void test_positions_are_checked(void **state)
{
    static const uint64_t strange[] = {1,         4, RING_BYTES + 8, UINT64_MAX, UINT64_MAX - 7,
                                       1ull << 63};
    for (size_t i = 0; i < ARRAY_SIZE(strange); i++) {
        void *own;
        assert_int_equal(pair_make(&own), 0);
        struct pair *p = own;
        /* The tail of the lane to the server is the segment's first word. */
        uint64_t *tail = (uint64_t *)(void *)p->client.segment;
        *tail = strange[i];
        struct bytes got;
        assert_true(ring_has_input(&p->server));
        assert_int_equal(ring_receive(&p->server, &p->arena, &got), -EPROTO);
        assert_int_equal(ring_receive(&p->server, &p->arena, &got), -EPROTO);
        assert_int_equal(ring_send(&p->server, bytes_of("x", 1)), -EPROTO);
        assert_int_equal(ring_flush(&p->server), -EPROTO);
        assert_false(ring_arm(&p->server));
        pair_end(&own);
    }
}

/* A record as another implementation might write it: head, and some bytes. */
static size_t raw_put(struct pair *p, size_t at, unsigned kind, uint32_t total, uint32_t size)
{
    uint32_t head[2] = {size, kind << 28 | total};
    memcpy((uint8_t *)p->client.segment + 4096 + at, head, sizeof head);
    return at + 8 + align_up(size, 8);
}

enum { WHOLE = 1, FIRST = 2, NEXT = 3, SKIP = 4 };

static void test_records_are_checked(void **state)
{
    static const struct {
        struct {
            unsigned kind;
            uint32_t total, size;
        } records[3];
        size_t cut; /* less is published */
        int good;   /* messages before it is refused */
    } cases[] = {
        {{{WHOLE, 0, 10}, {NEXT, 0, 10}}, 0, 1},    /* nothing was begun */
        {{{FIRST, 30, 10}, {FIRST, 30, 10}}, 0, 0}, /* begun twice */
        {{{FIRST, 30, 10}, {WHOLE, 0, 10}}, 0, 0},  /* another within */
        {{{FIRST, 30, 10}, {NEXT, 0, 21}}, 0, 0},   /* more than it said */
        {{{FIRST, 30, 10}, {NEXT, 1, 20}}, 0, 0},   /* a total in the middle */
        {{{FIRST, 30, 10}, {NEXT, 0, 0}}, 0, 0},    /* endless */
        {{{FIRST, 30, 0}}, 0, 0},                   /* likewise */
        {{{FIRST, 10, 10}}, 0, 0},                  /* not in several */
        {{{FIRST, MESSAGE_MAX + 1, 10}}, 0, 0},     /* too large */
        {{{WHOLE, 0, RING_RECORD_MAX + 1}}, 0, 0},  /* too large for one */
        {{{WHOLE, 5, 10}}, 0, 0},                   /* a total where none belongs */
        {{{WHOLE, 0, 100}}, 8, 0},                  /* beyond what was published */
        {{{SKIP, 0, 10}, {WHOLE, 0, 1}}, 0, 0},     /* not to the end */
        {{{SKIP, 0, RING_BYTES - 8}}, 0, 0},        /* nothing behind */
        {{{0, 0, 8}}, 0, 0},
        {{{9, 0, 8}}, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        void *own;
        assert_int_equal(pair_make(&own), 0);
        struct pair *p = own;
        size_t at = 0;
        for (size_t r = 0; r < 3 && cases[i].records[r].kind + cases[i].records[r].size != 0; r++) {
            at = raw_put(p, at, cases[i].records[r].kind, cases[i].records[r].total,
                         cases[i].records[r].size);
        }
        *(uint64_t *)(void *)p->client.segment = at - cases[i].cut;
        int got, good = 0;
        struct bytes message;
        while ((got = ring_receive(&p->server, &p->arena, &message)) == 1) {
            good++;
        }
        if (got != -EPROTO || good != cases[i].good) {
            fail_msg("case %zu: %d after %d messages", i, got, good);
        }
        pair_end(&own);
    }
}

/* The other side says that it read what was never written, or takes back what it read. */
static void test_the_readers_position_is_checked(void **state)
{
    static const uint64_t strange[] = {1 << 20, 12, UINT64_MAX - 7};
    for (size_t i = 0; i < ARRAY_SIZE(strange); i++) {
        void *own;
        assert_int_equal(pair_make(&own), 0);
        struct pair *p = own;
        uint64_t *head = (uint64_t *)(void *)((uint8_t *)p->client.segment + 384 + 128);
        uint8_t *data = pattern(RING_RECORD_MAX, 0);
        for (unsigned n = 0; n < 5; n++) {
            assert_int_equal(ring_send(&p->server, bytes_of(data, RING_RECORD_MAX)), 0);
        }
        *head = strange[i];
        assert_int_equal(ring_flush(&p->server), -EPROTO);
        free(data);
        pair_end(&own);
    }
}

static void test_scribbling(void **state)
{
    struct rng rng;
    rng_seed(&rng, 3);
    for (unsigned round = 0; round < 300; round++) {
        void *own;
        assert_int_equal(pair_make(&own), 0);
        struct pair *p = own;
        uint8_t *segment = (uint8_t *)p->client.segment;
        uint8_t *data = pattern(5000, 0);
        for (unsigned step = 0; step < 100; step++) {
            struct bytes got;
            int err = ring_send(&p->client, bytes_of(data, rng_below(&rng, 5000)));
            err = ring_flush(&p->client);
            for (unsigned n = 0; n < 3; n++) {
                /* Mostly where positions, flags and the records' heads are. */
                uint64_t at = rng_chance(&rng, 0.3) ? rng_below(&rng, 1024) & ~7ull
                                                    : 4096 + (rng_below(&rng, 60000) & ~7ull);
                uint64_t word = rng_chance(&rng, 0.5) ? rng_below(&rng, 70000) : rng_next(&rng);
                memcpy(segment + at, &word, rng_chance(&rng, 0.5) ? 8 : 4);
            }
            err = ring_receive(&p->server, &p->arena, &got);
            if (err == 1) {
                assert_true(got.size <= MESSAGE_MAX);
                err = ring_send(&p->server, got);
            }
            err = ring_flush(&p->server);
            arena_reset(&p->arena);
            if (err == -EPROTO) {
                break;
            }
        }
        free(data);
        pair_end(&own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_message, pair_make, pair_end),
        cmocka_unit_test_setup_teardown(test_reserve_without_commit, pair_make, pair_end),
        cmocka_unit_test_setup_teardown(test_sizes_and_order, pair_make, pair_end),
        cmocka_unit_test_setup_teardown(test_bounds, pair_make, pair_end),
        cmocka_unit_test_setup_teardown(test_doorbells, pair_make, pair_end),
        cmocka_unit_test_setup_teardown(test_a_client_cannot_make_the_server_wait, pair_make,
                                        pair_end),
        cmocka_unit_test_setup_teardown(test_words_and_credit, pair_make, pair_end),
        cmocka_unit_test_setup_teardown(test_descriptors, pair_make, pair_end),
        cmocka_unit_test(test_what_is_no_program_is_not_kept),
        cmocka_unit_test_setup_teardown(test_handshake, place_make, place_end),
        cmocka_unit_test_setup_teardown(test_connect_errors, place_make, place_end),
        cmocka_unit_test_setup_teardown(test_long_path, place_make, place_end),
        cmocka_unit_test(test_strange_greeting),
        cmocka_unit_test(test_positions_are_checked),
        cmocka_unit_test(test_records_are_checked),
        cmocka_unit_test(test_the_readers_position_is_checked),
        cmocka_unit_test(test_scribbling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
