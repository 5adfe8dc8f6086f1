#include "proto/probe.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/hello.h"

void probe_init(struct probe *probe)
{
    *probe = (struct probe){.fd = -1};
}

static bool is_running(const struct probe *probe)
{
    return probe->fd >= 0;
}

void probe_stop(struct probe *probe)
{
    loop_remove(&probe->source);
    close_fd(&probe->fd);
    probe->fd = -1;
    free(probe->hello);
    probe->hello = NULL;
}

static enum probe_answer answer_of(int error)
{
    return error == 0 ? PROBE_LISTENS : error == ECONNREFUSED ? PROBE_REFUSED : PROBE_SILENT;
}

static void finish(struct probe *probe, enum probe_answer answer)
{
    probe_stop(probe);
    probe->fn(probe, answer);
}

/* A fresh connection takes the few bytes that we say. */
static void say_hello(struct probe *probe)
{
    const struct hello *hello = probe->hello;
    probe->connected = true;
    int r = probe->source.loop != NULL ? loop_change(&probe->source, EPOLLIN) : 0;
    if (r != 0 || send(probe->fd, hello->said, HELLO_SIZE, MSG_NOSIGNAL) != (ssize_t)HELLO_SIZE) {
        finish(probe, PROBE_SILENT);
    }
}

static void take_answer(struct probe *probe)
{
    uint8_t piece[HELLO_ANSWER];
    ssize_t size = recv(probe->fd, piece, sizeof piece, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    int r = size > 0 ? hello_take(probe->hello, bytes_of(piece, (size_t)size)) : -EPROTO;
    if (r != -EAGAIN) {
        finish(probe, r == 0 ? PROBE_LISTENS : PROBE_OTHER);
    }
}

static void look(struct probe *probe)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (probe->connected) {
        take_answer(probe);
        return;
    }
    if (getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) {
        error = errno;
    }
    if (error == 0 && probe->hello != NULL) {
        say_hello(probe);
    } else {
        finish(probe, answer_of(error));
    }
}

static void on_ready(struct loop_source *source, uint32_t epoll_events)
{
    look(source->arg);
}

static int begin(struct probe *probe, struct loop *loop, const union probe_address *address)
{
    socklen_t size = address->any.sa_family == AF_INET ? sizeof address->four : sizeof address->six;
    probe->fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe->fd < 0) {
        return errno == EAFNOSUPPORT ? PROBE_SILENT : -errno; /* such an address leads nowhere */
    }
    if (connect(probe->fd, &address->any, size) == 0) {
        if (probe->hello == NULL) {
            return PROBE_LISTENS;
        }
    } else if (errno != EINPROGRESS) {
        return answer_of(errno);
    }
    return loop != NULL ? loop_add(loop, &probe->source, probe->fd, EPOLLOUT, on_ready, probe) : 0;
}

int probe_start(struct probe *probe, struct loop *loop, const union probe_address *address,
                const char *key, uint64_t deadline_ns,
                void (*fn)(struct probe *, enum probe_answer))
{
    ASSERT(!is_running(probe));
    probe_init(probe);
    probe->deadline_ns = deadline_ns;
    probe->fn = fn;
    int r = 0;
    if (key != NULL) {
        probe->hello = xmalloc(sizeof *probe->hello);
        r = hello_init(probe->hello, key);
    }
    r = r == 0 ? begin(probe, loop, address) : r;
    if (r != 0) {
        probe_stop(probe);
    }
    return r;
}

void probe_tick(struct probe *probe, uint64_t now_ns)
{
    if (!is_running(probe)) {
        return;
    }
    struct pollfd p = {.fd = probe->fd, .events = probe->connected ? POLLIN : POLLOUT};
    if (poll(&p, 1, 0) > 0) {
        look(probe);
    } else if (now_ns >= probe->deadline_ns) {
        probe_stop(probe);
        probe->fn(probe, PROBE_SILENT);
    }
}
