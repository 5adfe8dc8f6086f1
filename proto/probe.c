#include "proto/probe.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/keys.h"

int probe_address_parse(const char *text, union probe_address *ret)
{
    char host[256];
    uint16_t port;
    union probe_address a = {0};
    if (keys_address_parse(text, 0, host, &port) != 0) {
        return -EINVAL;
    }
    if (inet_pton(AF_INET, host, &a.four.sin_addr) == 1) {
        a.four.sin_family = AF_INET;
        a.four.sin_port = htons(port);
    } else if (inet_pton(AF_INET6, host, &a.six.sin6_addr) == 1) {
        a.six.sin6_family = AF_INET6;
        a.six.sin6_port = htons(port);
    } else {
        return -EINVAL;
    }
    *ret = a;
    return 0;
}

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
}

static enum probe_answer answer_of(int error)
{
    return error == 0 ? PROBE_LISTENS : error == ECONNREFUSED ? PROBE_REFUSED : PROBE_SILENT;
}

static void finish(struct probe *probe)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) {
        error = errno;
    }
    probe_stop(probe);
    probe->fn(probe, answer_of(error));
}

static void on_ready(struct loop_source *source, uint32_t epoll_events)
{
    finish(source->arg);
}

int probe_start(struct probe *probe, struct loop *loop, const union probe_address *address,
                uint64_t deadline_ns, void (*fn)(struct probe *, enum probe_answer))
{
    socklen_t size = address->any.sa_family == AF_INET ? sizeof address->four : sizeof address->six;
    ASSERT(!is_running(probe));
    probe_init(probe);
    probe->deadline_ns = deadline_ns;
    probe->fn = fn;
    CLEANUP_FD int fd =
        socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (connect(fd, &address->any, size) == 0) {
        return PROBE_LISTENS;
    }
    if (errno != EINPROGRESS) {
        return answer_of(errno);
    }
    if (loop != NULL) {
        int r = loop_add(loop, &probe->source, fd, EPOLLOUT, on_ready, probe);
        if (r != 0) {
            return r;
        }
    }
    probe->fd = fd;
    fd = -1;
    return 0;
}

void probe_tick(struct probe *probe, uint64_t now_ns)
{
    if (!is_running(probe)) {
        return;
    }
    struct pollfd p = {.fd = probe->fd, .events = POLLOUT};
    if (poll(&p, 1, 0) > 0) {
        finish(probe);
    } else if (now_ns >= probe->deadline_ns) {
        probe_stop(probe);
        probe->fn(probe, PROBE_SILENT);
    }
}
