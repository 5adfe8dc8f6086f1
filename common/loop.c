#include "common/loop.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/clock.h"

#define EVENTS_PER_TURN 64

struct loop {
    int epoll_fd;
    size_t sources;
    struct list idle;  /* sources that nobody called again */
    struct list again; /* those that were, in order */
    struct epoll_event events[EVENTS_PER_TURN];
    int event_count; /* of this turn, while it runs */
    bool only_ms;    /* waits are in milliseconds */
};

void loop_free(struct loop *loop)
{
    if (loop == NULL) {
        return;
    }
    ASSERT(loop->sources == 0);
    close_fd(&loop->epoll_fd);
    free(loop);
}

int loop_new(struct loop **ret)
{
    struct loop *loop = xcalloc(1, sizeof *loop);
    list_init(&loop->idle);
    list_init(&loop->again);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        int r = -errno;
        loop_free(loop);
        return r;
    }
    *ret = loop;
    return 0;
}

int loop_add(struct loop *loop, struct loop_source *source, int fd, uint32_t epoll_events,
             void (*fn)(struct loop_source *, uint32_t), void *arg)
{
    struct epoll_event event = {.events = epoll_events, .data.ptr = source};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        return -errno;
    }
    *source = (struct loop_source){.fd = fd, .fn = fn, .arg = arg, .loop = loop};
    list_init(&source->link);
    list_append(&loop->idle, &source->link);
    loop->sources++;
    return 0;
}

int loop_change(struct loop_source *source, uint32_t epoll_events)
{
    struct epoll_event event = {.events = epoll_events, .data.ptr = source};
    ASSERT(source->loop != NULL);
    return epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event) < 0 ? -errno : 0;
}

void loop_remove(struct loop_source *source)
{
    struct loop *loop = source->loop;
    if (loop == NULL) {
        return;
    }
    /* Fails only where the caller closed the descriptor first, and then it is out already. */
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    for (int i = 0; i < loop->event_count; i++) {
        if (loop->events[i].data.ptr == source) {
            loop->events[i].data.ptr = NULL;
        }
    }
    list_unlink(&source->link);
    source->loop = NULL;
    source->again = false;
    loop->sources--;
}

void loop_source_again(struct loop_source *source)
{
    ASSERT(source->loop != NULL);
    if (!source->again) {
        source->again = true;
        list_unlink(&source->link);
        list_append(&source->loop->again, &source->link);
    }
}

static int wait_for_events(struct loop *loop, uint64_t timeout_ns)
{
#ifdef HAVE_EPOLL_PWAIT2
    if (!loop->only_ms) {
        struct timespec t = {(time_t)(timeout_ns / NS_PER_S), (long)(timeout_ns % NS_PER_S)};
        int n = epoll_pwait2(loop->epoll_fd, loop->events, EVENTS_PER_TURN,
                             timeout_ns == NS_FOREVER ? NULL : &t, NULL);
        if (n >= 0 || errno != ENOSYS) {
            return n;
        }
        loop->only_ms = true; /* the kernel does not know it, or what emulates one */
    }
#endif
    int timeout_ms = -1;
    if (timeout_ns != NS_FOREVER) {
        uint64_t ms = timeout_ns / NS_PER_MS + (timeout_ns % NS_PER_MS != 0);
        timeout_ms = ms > INT32_MAX ? INT32_MAX : (int)ms;
    }
    return epoll_wait(loop->epoll_fd, loop->events, EVENTS_PER_TURN, timeout_ms);
}

/* Those that were called again before this turn; what they call again is for the next. */
static int run_again(struct loop *loop)
{
    struct list due;
    int ran = 0;
    if (list_is_empty(&loop->again)) {
        return 0;
    }
    due = loop->again;
    due.next->prev = &due;
    due.prev->next = &due;
    list_init(&loop->again);
    for (struct list *node = list_pop(&due); node != NULL; node = list_pop(&due)) {
        struct loop_source *source = list_entry(node, struct loop_source, link);
        source->again = false;
        list_append(&loop->idle, &source->link);
        source->fn(source, 0);
        ran++;
    }
    return ran;
}

int loop_turn(struct loop *loop, uint64_t timeout_ns)
{
    ASSERT(loop->event_count == 0); /* no turn within a turn */
    int n = wait_for_events(loop, list_is_empty(&loop->again) ? timeout_ns : 0);
    if (n < 0) {
        if (errno != EINTR) {
            return -errno;
        }
        n = 0;
    }
    loop->event_count = n;
    int ran = run_again(loop);
    for (int i = 0; i < n; i++) {
        struct loop_source *source = loop->events[i].data.ptr;
        if (source != NULL) {
            source->fn(source, loop->events[i].events);
            ran++;
        }
    }
    loop->event_count = 0;
    return ran;
}

bool loop_is_ready(const struct loop *loop)
{
    struct pollfd all = {.fd = loop->epoll_fd, .events = POLLIN};
    return !list_is_empty(&loop->again) || poll(&all, 1, 0) > 0;
}
