#include "head/tools.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "proto/ring.h"

#define TOOLS_MAX        300u
#define RECEIVE_PER_TURN 64
#define GREETING_NS      (5 * NS_PER_S) /* who connects greets within */
#define GOODBYE_NS       NS_PER_S       /* time to read the last message */

struct tool {
    struct list listed;
    struct tools *tools;
    uint32_t number;
    int socket, pidfd; /* pidfd: -1: none */
    bool greeted;
    bool silent;     /* closing: nothing from it counts */
    uint64_t end_ns; /* NS_FOREVER: stays */
    struct ring_channel ring;
    struct loop_source socket_source, bell_source, exit_source;
};

struct tools {
    struct loop *loop;
    struct tools_events events;
    struct list all;
    size_t count;
    uint32_t last_number;
    int listener;
    char *path;
    struct loop_source source;
    struct arena arena;
    struct log_limit limit;
};

static void tool_free(struct tool *tool)
{
    loop_remove(&tool->socket_source);
    loop_remove(&tool->bell_source);
    loop_remove(&tool->exit_source);
    if (tool->greeted) {
        ring_fini(&tool->ring);
    }
    close_fd(&tool->socket);
    close_fd(&tool->pidfd);
    list_unlink(&tool->listed);
    tool->tools->count--;
    free(tool);
}

static void tool_gone(struct tool *tool)
{
    struct tools *t = tool->tools;
    uint32_t number = tool->greeted && !tool->silent ? tool->number : 0;
    tool_free(tool);
    if (number != 0) {
        t->events.on_down(t->events.arg, number);
    }
}

static struct tool *find(struct tools *t, uint32_t number)
{
    LIST_FOREACH(at, &t->all)
    {
        struct tool *tool = list_entry(at, struct tool, listed);
        if (tool->number == number) {
            return tool;
        }
    }
    return NULL;
}

/* False when it is gone. */
static bool receive(struct tools *t, struct tool *tool)
{
    uint32_t number = tool->number;
    for (int i = 0; i < RECEIVE_PER_TURN; i++) {
        struct bytes message;
        arena_reset(&t->arena);
        int r = ring_receive(&tool->ring, &t->arena, &message);
        if (r < 0) {
            log_limited(&t->limit, LOG_LEVEL_WARN, "a tool at head.sock sent invalid data");
            tool_gone(tool);
            return false;
        }
        if (r == 0) {
            return true;
        }
        if (!tool->silent) {
            t->events.on_message(t->events.arg, number, message);
        }
        /* The callback may have ended it. */
        if (find(t, number) == NULL) {
            return false;
        }
    }
    return true;
}

static void bell_ready(struct loop_source *source, uint32_t epoll_events)
{
    struct tool *tool = source->arg;
    ring_disarm(&tool->ring);
    if (!receive(tool->tools, tool)) {
        return;
    }
    if (ring_flush(&tool->ring) < 0) {
        tool_gone(tool);
    } else if (!ring_arm(&tool->ring)) {
        loop_source_again(source);
    }
}

static int greet(struct tool *tool)
{
    struct ring_gifts gifts = {.program = -1, .directory = -1};
    int r = ring_greet(tool->socket, &tool->ring, &gifts);
    close_fd(&gifts.program);
    close_fd(&gifts.directory);
    if (r != 0) {
        return r;
    }
    tool->greeted = true;
    tool->end_ns = NS_FOREVER;
    r = loop_add(tool->tools->loop, &tool->bell_source, tool->ring.doorbell_mine, EPOLLIN,
                 bell_ready, tool);
    if (r == 0) {
        loop_source_again(&tool->bell_source); /* it looks, then arms */
        tool->tools->events.on_up(tool->tools->events.arg, tool->number);
    }
    return r;
}

static void socket_ready(struct loop_source *source, uint32_t epoll_events)
{
    struct tool *tool = source->arg;
    if (!tool->greeted) {
        int r = greet(tool);
        if (r != 0 && r != -EAGAIN) {
            tool_gone(tool);
        }
        return;
    }
    /* After the greeting the socket only tells that the other side is gone: what it said before is
     * in the ring. */
    if (receive(tool->tools, tool)) {
        tool_gone(tool);
    }
}

/* Its process has ended, though a child of it may hold its socket. */
static void process_ended(struct loop_source *source, uint32_t epoll_events)
{
    struct tool *tool = source->arg;
    if (!tool->greeted || receive(tool->tools, tool)) {
        tool_gone(tool);
    }
}

static void listener_ready(struct loop_source *source, uint32_t epoll_events)
{
    struct tools *t = source->arg;
    struct ring_peer peer;
    int fd = ring_accept(t->listener, &peer);
    if (fd < 0) {
        if (fd != -EAGAIN) {
            log_limited(&t->limit, LOG_LEVEL_WARN, "head.sock: a connection was refused: %s",
                        strerror(-fd));
        }
        return;
    }
    if (t->count >= TOOLS_MAX) {
        close(fd);
        return;
    }
    struct tool *tool = xcalloc(1, sizeof *tool);
    tool->tools = t;
    tool->socket = fd;
    tool->number = ++t->last_number;
    tool->end_ns = clock_now_ns() + GREETING_NS;
    list_append(&t->all, &tool->listed);
    t->count++;
    tool->pidfd = ring_peer_pidfd(fd);
    if (tool->pidfd == -ESRCH ||
        loop_add(t->loop, &tool->socket_source, fd, EPOLLIN, socket_ready, tool) != 0 ||
        (tool->pidfd >= 0 &&
         loop_add(t->loop, &tool->exit_source, tool->pidfd, EPOLLIN, process_ended, tool) != 0)) {
        tool_free(tool);
    }
}

int tools_new(struct loop *loop, const char *path, const struct tools_events *events,
              struct tools **ret)
{
    int fd = ring_listen(path);
    if (fd < 0) {
        return fd;
    }
    struct tools *t = xcalloc(1, sizeof *t);
    t->loop = loop;
    t->events = *events;
    t->listener = fd;
    t->path = xstrdup(path);
    list_init(&t->all);
    int r = loop_add(loop, &t->source, fd, EPOLLIN, listener_ready, t);
    if (r != 0) {
        tools_free(t);
        return r;
    }
    *ret = t;
    return 0;
}

void tools_free(struct tools *t)
{
    if (t == NULL) {
        return;
    }
    LIST_FOREACH_SAFE(at, &t->all)
    {
        tool_free(list_entry(at, struct tool, listed));
    }
    loop_remove(&t->source);
    close_fd(&t->listener);
    (void)unlink(t->path);
    arena_fini(&t->arena);
    free(t->path);
    free(t);
}

void tools_send(struct tools *t, uint32_t number, struct bytes message)
{
    struct tool *tool = find(t, number);
    if (tool != NULL && (ring_send(&tool->ring, message) != 0 || ring_flush(&tool->ring) < 0)) {
        tool_gone(tool);
    }
}

void tools_close(struct tools *t, uint32_t number)
{
    struct tool *tool = find(t, number);
    if (tool != NULL) {
        tool->silent = true;
        tool->end_ns = clock_now_ns() + GOODBYE_NS;
    }
}

void tools_drop(struct tools *t, uint32_t number)
{
    struct tool *tool = find(t, number);
    if (tool != NULL) {
        tool_free(tool);
    }
}

uint64_t tools_next_ns(const struct tools *t)
{
    uint64_t next = NS_FOREVER;
    LIST_FOREACH(at, &t->all)
    {
        next = MIN_OF(next, list_entry(at, struct tool, listed)->end_ns);
    }
    return next;
}

void tools_tick(struct tools *t, uint64_t now_ns)
{
    LIST_FOREACH_SAFE(at, &t->all)
    {
        struct tool *tool = list_entry(at, struct tool, listed);
        if (now_ns >= tool->end_ns) {
            tool_gone(tool);
        }
    }
}
