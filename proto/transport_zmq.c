#include "proto/transport_zmq.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <zmq.h>

#include "proto/transport_zmq_private.h"

#define THREADS      2     /* of a context: one for all sockets, one that closes them */
#define HIGH_WATER   256   /* messages in ZeroMQ's own queues, each way and each peer */
#define SILENCE_MS   15000 /* a dead connection is given up after: 5 s of black-out are nothing */
#define ASK_AFTER_S  5     /* of silence; the kernel asks, again and again */
#define ASK_AGAIN_S  2
#define HANDSHAKE_MS 5000
#define BACKLOG      1024
#define SOCKETS_MAX  8192 /* of a context: a client needs one, and two more while it connects */
#define FRAME_EXTRA  1024 /* what CURVE and framing add */

/* ---- context ---- */

static void *wait_at(void *gate)
{
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* ZeroMQ begins its threads with its first socket, and ends the process where it gets none. So it
 * is tried before whether they can be had. 0, or an errno. */
static int try_threads(void)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t threads[THREADS];
    unsigned count = 0;
    int r = 0;
    pthread_mutex_lock(&gate);
    while (count < THREADS && r == 0) {
        r = pthread_create(&threads[count], NULL, wait_at, &gate);
        count += r == 0;
    }
    pthread_mutex_unlock(&gate);
    while (count > 0) {
        (void)pthread_join(threads[--count], NULL);
    }
    (void)pthread_mutex_destroy(&gate);
    return r;
}

struct transport_zmq_context *transport_zmq_context_new(void)
{
    int r = try_threads();
    if (r != 0) {
        errno = r;
        return NULL;
    }
    void *zmq = zmq_ctx_new();
    if (zmq == NULL) {
        return NULL;
    }
    zmq_ctx_set(zmq, ZMQ_BLOCKY, 0);
    zmq_ctx_set(zmq, ZMQ_IPV6, 0);
    zmq_ctx_set(zmq, ZMQ_MAX_SOCKETS, SOCKETS_MAX);
    struct transport_zmq_context *context = xcalloc(1, sizeof *context);
    context->zmq = zmq;
    context->references = 1;
    return context;
}

void transport_zmq_context_unref(struct transport_zmq_context *context)
{
    if (context == NULL || --context->references > 0) {
        return;
    }
    while (zmq_ctx_term(context->zmq) != 0 && errno == EINTR) {
        /* again: it waits for the threads that close the sockets */
    }
    free(context);
}

struct transport_zmq_context *zmq_context_take(struct transport_zmq_context *shared)
{
    if (shared == NULL) {
        return transport_zmq_context_new();
    }
    shared->references++;
    return shared;
}

/* ---- the loop ---- */

static void on_ready(struct loop_source *source, uint32_t epoll_events)
{
    struct zmq_watch *w = source->arg;
    struct zmq_transport *t = w->transport; /* the watch may be gone then */
    w->process(t);
    zmq_tell_touched(t);
}

void zmq_tell_touched(struct zmq_transport *t)
{
    if (t->on_touched != NULL) {
        t->on_touched(t->base.events.arg);
    }
}

int zmq_watch_start(struct zmq_watch *w, struct zmq_transport *t, void *socket,
                    void (*process)(struct zmq_transport *))
{
    int fd;
    size_t size = sizeof fd;
    if (t->loop == NULL) {
        return 0;
    }
    if (zmq_getsockopt(socket, ZMQ_FD, &fd, &size) != 0) {
        return -errno;
    }
    w->transport = t;
    w->process = process;
    int r = loop_add(t->loop, &w->source, fd, EPOLLIN | EPOLLET, on_ready, w);
    if (r == 0) {
        loop_source_again(&w->source); /* what came before tells nobody any more */
    }
    return r;
}

void zmq_watch_stop(struct zmq_watch *w)
{
    loop_remove(&w->source);
}

void zmq_watch_again(struct zmq_watch *w)
{
    if (w->source.loop != NULL) {
        loop_source_again(&w->source);
    }
}

/* ---- sockets ---- */

int zmq_events(void *socket)
{
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) == 0 ? events : 0;
}

int zmq_set(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0 ? 0 : -errno;
}

int zmq_set_common(void *socket)
{
    static const struct {
        int option, value;
    } options[] = {
        {ZMQ_LINGER, 0},
        {ZMQ_SNDHWM, HIGH_WATER},
        {ZMQ_RCVHWM, HIGH_WATER},
        /* Not ZeroMQ's heartbeats: when a connection breaks whose reader is full, the next one ends
         * the process (libzmq 4.3.4, "Assertion failed: !_io_error"). */
        {ZMQ_TCP_MAXRT, SILENCE_MS},
        {ZMQ_TCP_KEEPALIVE, 1},
        {ZMQ_TCP_KEEPALIVE_IDLE, ASK_AFTER_S},
        {ZMQ_TCP_KEEPALIVE_INTVL, ASK_AGAIN_S},
        {ZMQ_TCP_KEEPALIVE_CNT, SILENCE_MS / 1000 / ASK_AGAIN_S},
        {ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS},
        {ZMQ_BACKLOG, BACKLOG},
        {ZMQ_IMMEDIATE, 1},
    };
    /* Frames are sized before anybody is authenticated. */
    int64_t largest = TRANSPORT_ZMQ_MESSAGE_MAX + FRAME_EXTRA;
    int r = zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest) == 0 ? 0 : -errno;
    for (size_t i = 0; i < ARRAY_SIZE(options) && r == 0; i++) {
        r = zmq_set(socket, options[i].option, options[i].value);
    }
    return r;
}

int zmq_monitor_new(struct transport_zmq_context *context, void *socket, int events, void **ret)
{
    char name[64];
    snprintf(name, sizeof name, "inproc://monitor-%u", ++context->names);
    if (zmq_socket_monitor(socket, name, events) != 0) {
        return -errno;
    }
    void *monitor = zmq_socket(context->zmq, ZMQ_PAIR);
    if (monitor == NULL) {
        int r = -errno;
        zmq_socket_monitor(socket, NULL, 0);
        return r;
    }
    /* Unlimited: ZeroMQ's thread would block where this queue is full. */
    int r = zmq_set(monitor, ZMQ_RCVHWM, 0);
    r = r == 0 ? zmq_set(monitor, ZMQ_LINGER, 0) : r;
    if (r == 0 && zmq_connect(monitor, name) != 0) {
        r = -errno;
    }
    if (r != 0) {
        zmq_socket_monitor(socket, NULL, 0);
        zmq_close(monitor);
        return r;
    }
    *ret = monitor;
    return 0;
}

bool zmq_monitor_next(void *monitor, unsigned *ret_event, unsigned *ret_value)
{
    uint8_t frame[16];
    uint16_t event;
    uint32_t value;
    int size = zmq_recv(monitor, frame, sizeof frame, ZMQ_DONTWAIT);
    if (size < 0) {
        return false;
    }
    zmq_skip_parts(monitor); /* the address */
    if (size < (int)(sizeof event + sizeof value)) {
        return false;
    }
    memcpy(&event, frame, sizeof event);
    memcpy(&value, frame + sizeof event, sizeof value);
    *ret_event = event;
    *ret_value = value;
    return true;
}

void zmq_close_monitored(void *socket, void *monitor)
{
    if (socket != NULL && monitor != NULL) {
        zmq_socket_monitor(socket, NULL, 0);
    }
    if (monitor != NULL) {
        zmq_close(monitor);
    }
    if (socket != NULL) {
        zmq_close(socket);
    }
}

void zmq_skip_parts(void *socket)
{
    for (;;) {
        int more = 0;
        size_t size = sizeof more;
        if (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) != 0 || !more) {
            return;
        }
        zmq_msg_t part;
        zmq_msg_init(&part);
        int r = zmq_msg_recv(&part, socket, ZMQ_DONTWAIT);
        zmq_msg_close(&part);
        if (r < 0) {
            return;
        }
    }
}

int zmq_send_greeting(void *socket, const void *id, size_t id_size)
{
    if (id_size != 0 && zmq_send(socket, id, id_size, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
        return -errno;
    }
    if (zmq_send(socket, ZMQ_GREETING, sizeof ZMQ_GREETING - 1, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
        zmq_send(socket, "", 0, ZMQ_DONTWAIT) < 0) {
        return -errno;
    }
    return 0;
}

/* ---- waiting messages ---- */

void zmq_outbox_init(struct zmq_outbox *box)
{
    *box = (struct zmq_outbox){0};
    list_init(&box->messages);
}

void zmq_outbox_clear(struct zmq_outbox *box)
{
    while (!list_is_empty(&box->messages)) {
        zmq_outbox_pop(box);
    }
    box->wants_room = false;
}

int zmq_outbox_push(struct zmq_outbox *box, struct bytes message)
{
    struct zmq_waiting *w;
    if (box->bytes + sizeof *w + message.size > TRANSPORT_ZMQ_QUEUE_MAX) {
        box->wants_room = true;
        return -EAGAIN;
    }
    w = xmalloc(sizeof *w + message.size);
    w->size = message.size;
    if (message.size != 0) {
        memcpy(w->data, message.data, message.size);
    }
    list_init(&w->link);
    list_append(&box->messages, &w->link);
    box->bytes += sizeof *w + message.size;
    return 0;
}

struct zmq_waiting *zmq_outbox_first(struct zmq_outbox *box)
{
    struct list *first = list_first(&box->messages);
    return first == NULL ? NULL : list_entry(first, struct zmq_waiting, link);
}

void zmq_outbox_pop(struct zmq_outbox *box)
{
    struct zmq_waiting *w = zmq_outbox_first(box);
    box->bytes -= sizeof *w + w->size;
    list_unlink(&w->link);
    free(w);
}

bool zmq_outbox_has_room_again(struct zmq_outbox *box)
{
    bool has = box->wants_room && box->bytes <= TRANSPORT_ZMQ_QUEUE_MAX / 2;
    if (has) {
        box->wants_room = false;
    }
    return has;
}

/* ---- for both ends ---- */

static struct zmq_transport *of(const struct transport *t)
{
    return container_of(t, struct zmq_transport, base);
}

uint64_t transport_zmq_next_ns(const struct transport *t)
{
    return of(t)->next_ns(of(t));
}

void transport_zmq_tick(struct transport *t, uint64_t now_ns)
{
    of(t)->tick(of(t), now_ns);
}

void transport_zmq_count(const struct transport *t, struct transport_zmq_counts *ret)
{
    *ret = of(t)->counts;
}
