#include "proto/ring.h"

#include "common/clock.h"
#include "common/inherited.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/*
 * Client: HELLO, with the program's and the directory's descriptors if there are. Server: SEGMENT,
 * with memfd and the ends of both doorbells. One packet each, so nothing is ever cut or put
 * together.
 */

#define HANDSHAKE_MAGIC 0x31747264u /* "drt1" */
#define FDS_MAX         4
#define BACKLOG         1024

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

enum { SEGMENT_FDS = 3, GIFTS_MAX = 2 };

struct handshake {
    uint32_t magic;
    uint32_t ring_bytes;
};

/* What the kernel hands over with a packet; all of it is owned here. */
struct passed {
    int fds[FDS_MAX];
    size_t count;
};

static void passed_close(struct passed *p)
{
    for (size_t i = 0; i < p->count; i++) {
        close_fd(&p->fds[i]);
    }
    p->count = 0;
}

static int packet_send(int socket, const int *fds, size_t fd_count)
{
    struct handshake hello = {HANDSHAKE_MAGIC, RING_BYTES};
    struct iovec iov = {&hello, sizeof hello};
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int) * FDS_MAX)] = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd_count != 0) {
        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(head), fds, sizeof(int) * fd_count);
    }
    ssize_t n = sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n >= 0 ? 0 : errno == ECONNRESET ? -EPIPE : -errno;
}

static void passed_collect(struct msghdr *msg, struct passed *ret)
{
    for (struct cmsghdr *head = CMSG_FIRSTHDR(msg); head != NULL; head = CMSG_NXTHDR(msg, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
            /* Not in the place of a standard descriptor that is closed: what the program prints
             * would go there. */
            fd = ret->count < FDS_MAX ? inherited_lift(fd) : fd;
            if (ret->count < FDS_MAX && fd >= 0) {
                ret->fds[ret->count++] = fd;
            } else {
                close_fd(&fd);
            }
        }
    }
}

/* 0; -EAGAIN; -EPIPE at the end; -EPROTO: not our packet. */
static int packet_receive(int socket, struct passed *ret)
{
    struct handshake hello;
    struct iovec iov = {&hello, sizeof hello};
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int) * FDS_MAX)];
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    ssize_t n = recvmsg(socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0) {
        return errno == ECONNRESET ? -EPIPE : -errno;
    }
    struct passed passed = {.count = 0};
    passed_collect(&msg, &passed);
    if (n == 0 && passed.count == 0) {
        return -EPIPE;
    }
    if (n != sizeof hello || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
        hello.magic != HANDSHAKE_MAGIC || hello.ring_bytes != RING_BYTES) {
        passed_close(&passed);
        return -EPROTO;
    }
    *ret = passed;
    return 0;
}

/* ---- names ---- */

/* A name too long for sun_path is reached through a descriptor of its folder: *ret_folder, or -1.
 */
static int address_of(const char *path, struct sockaddr_un *ret, int *ret_folder)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    *ret_folder = -1;
    size_t size = strlen(path);
    if (size < sizeof ret->sun_path) {
        memcpy(ret->sun_path, path, size);
        return 0;
    }
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return -ENAMETOOLONG;
    }
    CLEANUP_FREE char *folder = xstrdup(path);
    folder[slash == path ? 1 : slash - path] = '\0';
    int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int n = snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/%s", fd, slash + 1);
    if (n < 0 || (size_t)n >= sizeof ret->sun_path) {
        close(fd);
        return -ENAMETOOLONG;
    }
    *ret_folder = fd;
    return 0;
}

static int address_use(int (*call)(int, const struct sockaddr *, socklen_t), int socket,
                       const struct sockaddr_un *address)
{
    return call(socket, (const struct sockaddr *)(const void *)address, sizeof *address) != 0
               ? -errno
               : 0;
}

/* A socket that nobody listens at any more is removed. */
static int stale_remove(const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(address->sun_path, &st) != 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return -EEXIST;
    }
    CLEANUP_FD int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0) {
        return -errno;
    }
    int err = address_use(connect, probe, address);
    if (err == 0 || err == -EAGAIN) {
        return -EADDRINUSE;
    }
    return unlink(address->sun_path) != 0 && errno != ENOENT ? -errno : 0;
}

int ring_listen(const char *path)
{
    struct sockaddr_un address;
    CLEANUP_FD int folder = -1;
    int err = address_of(path, &address, &folder);
    err = err != 0 ? err : stale_remove(&address);
    if (err != 0) {
        return err;
    }
    CLEANUP_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The mode goes to the socket before it has a name: there is no moment in which others could
     * connect. */
    if (fd < 0 || fchmod(fd, 0600) != 0) {
        return -errno;
    }
    err = address_use(bind, fd, &address);
    if (err != 0) {
        return err;
    }
    if (listen(fd, BACKLOG) != 0) {
        return -errno;
    }
    int ret = fd;
    fd = -1;
    return ret;
}

/* ---- the server ---- */

static int peer_read(int socket, struct ring_peer *ret)
{
    struct ucred cred;
    socklen_t size = sizeof cred;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &cred, &size) != 0) {
        return -errno;
    }
    *ret = (struct ring_peer){.pid = cred.pid, .uid = cred.uid, .gid = cred.gid};
    return 0;
}

int ring_peer_pidfd(int socket)
{
    struct ring_peer peer = {0};
    int fd = -1;
    socklen_t size = sizeof fd;
    /* Linux 6.5 has it at hand; before, a number that was given to another process meanwhile is
     * taken for the peer's. */
    if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) == 0) {
        return fd; /* close-on-exec by itself, as pidfd_open's */
    }
    int err = peer_read(socket, &peer);
    if (err != 0) {
        return err;
    }
    fd = peer.pid > 0 ? (int)syscall(SYS_pidfd_open, peer.pid, 0) : -1;
    return fd >= 0 ? fd : peer.pid > 0 ? -errno : -EINVAL;
}

int ring_accept(int listener, struct ring_peer *ret)
{
    CLEANUP_FD int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    struct ring_peer peer;
    int err = peer_read(fd, &peer);
    if (err != 0) {
        return err;
    }
    if (peer.uid != geteuid() && peer.uid != 0) {
        return -EPERM;
    }
    *ret = peer;
    int accepted = fd;
    fd = -1;
    return accepted;
}

/* Not fstat: where a file lies on a server that is silent, that would wait for it. The kind of a
 * file never changes, so what the kernel remembers of it will do. */
static bool is_kind(int fd, uint16_t kind)
{
    struct statx st;
    return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) == 0 &&
           (st.stx_mode & S_IFMT) == kind;
}

static bool is_readable(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_PATH) == 0 && (flags & O_ACCMODE) != O_WRONLY;
}

/* What is no program and no directory is not kept: a socket might be the sender's own end, which
 * would then never be seen to close. */
static void gifts_check(struct ring_gifts *gifts)
{
    if (gifts->program >= 0 && !(is_kind(gifts->program, S_IFREG) && is_readable(gifts->program))) {
        close_fd(&gifts->program);
    }
    if (gifts->directory >= 0 && !is_kind(gifts->directory, S_IFDIR)) {
        close_fd(&gifts->directory);
    }
}

int ring_greet(int socket, struct ring_channel *ret, struct ring_gifts *ret_gifts)
{
    struct passed passed;
    int err = packet_receive(socket, &passed);
    if (err != 0) {
        return err;
    }
    struct ring_channel channel;
    err = passed.count > GIFTS_MAX ? -EPROTO : ring_create(&channel);
    if (err == 0) {
        const int fds[SEGMENT_FDS] = {channel.memfd, channel.doorbell_mine,
                                      channel.doorbell_client};
        err = packet_send(socket, fds, SEGMENT_FDS);
        ring_passed(&channel);
        if (err != 0) {
            ring_fini(&channel);
        }
    }
    if (err != 0) {
        passed_close(&passed);
        return err;
    }
    *ret = channel;
    *ret_gifts = (struct ring_gifts){.program = passed.count > 0 ? passed.fds[0] : -1,
                                     .directory = passed.count > 1 ? passed.fds[1] : -1};
    gifts_check(ret_gifts);
    return 0;
}

/* ---- the client ---- */

static int readable_wait(int socket, uint64_t deadline_ns)
{
    for (;;) {
        uint64_t now_ns = clock_now_ns();
        uint64_t left_ns = now_ns < deadline_ns ? deadline_ns - now_ns : 0;
        struct timespec left = {(time_t)MIN_OF(left_ns / NS_PER_S, 1u << 30),
                                (long)(left_ns % NS_PER_S)};
        struct pollfd wait = {.fd = socket, .events = POLLIN};
        int n = ppoll(&wait, 1, &left, NULL);
        if (n > 0) {
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n == 0) {
            return -ETIMEDOUT;
        }
    }
}

static int packet_await(int socket, uint64_t deadline_ns, struct passed *ret)
{
    for (;;) {
        int err = readable_wait(socket, deadline_ns);
        err = err != 0 ? err : packet_receive(socket, ret);
        if (err != -EAGAIN) {
            return err;
        }
    }
}

int ring_join(int socket, const struct ring_gifts *gifts, uint64_t timeout_ns,
              struct ring_channel *ret)
{
    uint64_t deadline_ns = ns_add(clock_now_ns(), timeout_ns);
    struct ring_peer peer = {0};
    int err = peer_read(socket, &peer);
    if (err == 0 && peer.uid != geteuid() && peer.uid != 0 && geteuid() != 0) {
        err = -EPERM;
    }
    int fds[GIFTS_MAX];
    size_t count = 0;
    if (gifts != NULL && gifts->program >= 0) {
        fds[count++] = gifts->program;
        if (gifts->directory >= 0) {
            fds[count++] = gifts->directory;
        }
    }
    err = err != 0 ? err : packet_send(socket, fds, count);
    struct passed passed;
    err = err != 0 ? err : packet_await(socket, deadline_ns, &passed);
    if (err != 0) {
        return err;
    }
    if (passed.count != SEGMENT_FDS) {
        passed_close(&passed);
        return -EPROTO;
    }
    return ring_attach(ret, passed.fds[0], passed.fds[1], passed.fds[2]);
}

int ring_connect(const char *path, const struct ring_gifts *gifts, uint64_t timeout_ns,
                 struct ring_channel *ret, int *ret_socket)
{
    uint64_t deadline_ns = ns_add(clock_now_ns(), timeout_ns);
    struct sockaddr_un address;
    CLEANUP_FD int folder = -1;
    int err = address_of(path, &address, &folder);
    if (err != 0) {
        return err;
    }
    CLEANUP_FD int fd = inherited_lift(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (fd < 0) {
        return -errno;
    }
    /* Where the listener's queue is full, connect waits as long as a send would. Zero would be for
     * ever. */
    uint64_t wait_us = MAX_OF(MIN_OF(timeout_ns / NS_PER_US, (uint64_t)1 << 40), 1u);
    struct timeval wait = {(time_t)(wait_us / 1000000), (suseconds_t)(wait_us % 1000000)};
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) != 0) {
        return -errno;
    }
    err = address_use(connect, fd, &address);
    if (err == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        err = -errno;
    }
    if (err == 0) {
        uint64_t now_ns = clock_now_ns();
        err = ring_join(fd, gifts, now_ns < deadline_ns ? deadline_ns - now_ns : 0, ret);
    }
    if (err != 0) {
        return err == -EAGAIN ? -ETIMEDOUT : err;
    }
    *ret_socket = fd;
    fd = -1;
    return 0;
}
