#include "raylet/clients.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/numbers.h"

#define ACCEPTS_PER_CALL  16
#define BYTES_PER_TURN    (4u << 20)  /* a writer as fast as we are must not fill us up */
#define ANSWERS_PER_TURN  (16u << 20) /* bytes of values that one client may ask for */
#define QUEUED_MAX        (8u << 20)  /* who leaves more unread is not listened to until it reads */
#define DRAIN_RECORDS_MAX 65536u      /* a full ring of the smallest records has fewer */
#define DRAIN_BYTES_MAX   (64u << 20)
#define ACCEPT_PAUSE_NS   (100 * NS_PER_MS)
#define NOT_LISTED        SIZE_MAX
#define CLAIM_STATE_BITS  3u

enum client_state {
    CLIENT_GREETING = 1, /* connected, has no ring yet */
    CLIENT_UP,
    CLIENT_CLOSING, /* the core is done with it; what was sent is still on its way */
    CLIENT_SILENT,  /* a worker whose socket is gone; its ring waits for its process to end */
};

struct client {
    struct clients *clients;
    enum client_state state;
    uint32_t handle, worker; /* worker: 0 for others */
    pid_t pid;
    uid_t uid;
    bool came_up, opened, closed, broken;
    int short_of; /* the errno of why no channel could be made for it; 0: none */
    bool slow;    /* much waits for it to read: we do not listen to it, and the core knows */
    struct ring_channel ring;
    int socket, pidfd; /* pidfd: of a worker raylet/workers has it; -1: none */
    struct ring_gifts gifts;
    struct loop_source socket_source, bell_source, exit_source;
    size_t hot_index, touched_index;
    uint64_t last_ns;     /* something went to or came from it */
    uint64_t deadline_ns; /* GREETING, CLOSING */
    struct list timed;
};

struct client_array {
    struct client **items;
    size_t count, room;
};

struct clients {
    struct loop *loop;
    struct events *events;
    struct clients_owner owner;
    uint32_t clients_max, handle_last;
    uint64_t now_ns; /* of this turn */
    struct numbers table;
    struct client_array hot, touched;
    struct list timed;
    int listener;
    bool paused; /* out of descriptors: the listener rests until accept_again_ns */
    uint64_t accept_again_ns;
    struct loop_source listen_source;
    struct buffer scratch;
    struct log_limit limit;
    struct clients_counts counts;
};

static void array_push(struct client_array *a, struct client *k)
{
    if (a->count == a->room) {
        a->room = MAX_OF(a->room * 2, (size_t)16);
        a->items = xrealloc(a->items, a->room * sizeof *a->items);
    }
    a->items[a->count++] = k;
}

static void make_cold(struct client *k)
{
    struct client_array *hot = &k->clients->hot;
    if (k->hot_index != NOT_LISTED) {
        struct client *last = hot->items[--hot->count];
        hot->items[k->hot_index] = last;
        last->hot_index = k->hot_index;
        k->hot_index = NOT_LISTED;
    }
}

static void make_hot(struct client *k)
{
    k->last_ns = k->clients->now_ns;
    if (k->hot_index == NOT_LISTED) {
        ring_disarm(&k->ring);
        k->hot_index = k->clients->hot.count;
        array_push(&k->clients->hot, k);
    }
}

static void touch(struct client *k)
{
    if (k->touched_index == NOT_LISTED) {
        k->touched_index = k->clients->touched.count;
        array_push(&k->clients->touched, k);
    }
}

static void untouch(struct client *k)
{
    if (k->touched_index != NOT_LISTED) {
        k->clients->touched.items[k->touched_index] = NULL; /* flush closes the gaps */
        k->touched_index = NOT_LISTED;
    }
}

/* From now on nothing wakes us for it. */
static void stop_watching(struct client *k)
{
    make_cold(k);
    untouch(k);
    loop_remove(&k->bell_source);
    loop_remove(&k->socket_source);
    loop_remove(&k->exit_source);
    close_fd(&k->socket);
    close_fd(&k->pidfd);
    list_unlink(&k->timed);
}

static void client_free(struct client *k)
{
    stop_watching(k);
    ring_fini(&k->ring);
    close_fd(&k->gifts.program);
    close_fd(&k->gifts.directory);
    (void)numbers_remove(&k->clients->table, k->handle);
    free(k);
}

static struct client *find(struct clients *c, uint32_t handle)
{
    return numbers_get(&c->table, handle);
}

static struct client *client_new(struct clients *c, int socket)
{
    struct client *k = xcalloc(1, sizeof *k);
    k->clients = c;
    k->state = CLIENT_GREETING;
    k->handle = ++c->handle_last;
    k->socket = socket;
    k->gifts = (struct ring_gifts){.program = -1, .directory = -1};
    k->pidfd = -1;
    k->hot_index = NOT_LISTED;
    k->touched_index = NOT_LISTED;
    list_init(&k->timed);
    ASSERT(k->handle != 0);
    numbers_set(&c->table, k->handle, k);
    c->counts.accepted++;
    return k;
}

/* Its channel is over. `why` NULL: its socket ended; else what it did, and the core hears of that
 * too. A worker's ring stays; everyone else is freed. */
static void client_down(struct client *k, int code, const char *why)
{
    struct clients *c = k->clients;
    struct failure failure = {0};
    if (why != NULL) {
        c->counts.broken++;
        failure_set(&failure, code, "The process %d was disconnected: %s.", (int)k->pid, why);
        log_limited(&c->limit, LOG_LEVEL_WARN, "client %u (pid %d%s) dropped: %s", k->handle,
                    (int)k->pid, k->worker != 0 ? ", a worker" : "", why);
    }
    if (k->worker != 0) {
        k->broken = why != NULL;
        k->state = CLIENT_SILENT;
        c->owner.on_worker_silent(c->owner.arg, k->worker, k->broken); /* before it can notice */
        stop_watching(k);
        return;
    }
    if (k->came_up) {
        struct raylet_event *event = events_add(c->events, EVENT_CLIENT_DOWN);
        event->client = k->handle;
        event->failure = events_failure(c->events, &failure);
    }
    client_free(k);
}

/* The one thing of a message that only we can know: a worker is the process that we started, and no
 * other. */
static const char *check_open(struct client *k, const struct local_open *open)
{
    if (k->opened) {
        return "it sent OPEN twice";
    }
    bool says_worker = open->role == ROLE_WORKER;
    if (says_worker != (k->worker != 0) || (says_worker && open->worker != k->worker)) {
        return "it is not the worker that it claims to be";
    }
    k->opened = true;
    list_unlink(&k->timed);
    return NULL;
}

/* The most that it can bring about. */
static size_t answer_bytes(const struct local_get *m)
{
    return m->id_count * (m->flags & GET_WHOLE ? VALUE_MAX : VALUES_INLINE_MAX);
}

/* Takes at most `max` messages, and no further one after `bytes_max`, or when the answers may have
 * `answers_max`. How many; *ret_why is set when it broke a rule, and then it is to be dropped. */
static size_t receive_some(struct client *k, size_t max, size_t bytes_max, size_t answers_max,
                           const char **ret_why)
{
    struct clients *c = k->clients;
    struct arena *arena = &c->events->arena;
    size_t n = 0, bytes = 0, answers = 0;
    for (; n < max && bytes < bytes_max && answers < answers_max; n++) {
        struct bytes data;
        int r = ring_receive(&k->ring, arena, &data);
        if (r <= 0) {
            if (r < 0) {
                *ret_why = "its ring is damaged";
            }
            break;
        }
        bytes += data.size;
        struct local_msg *m = arena_alloc(arena, sizeof *m);
        const char *why = NULL;
        if (local_decode(data, arena, m, &why) != 0) {
            *ret_why = why != NULL ? why : "a message cannot be read";
            break;
        }
        if (UNLIKELY(m->type == LOCAL_OPEN) && (why = check_open(k, &m->open)) != NULL) {
            *ret_why = why;
            break;
        }
        if (UNLIKELY(!k->opened)) {
            *ret_why = "its first message was not OPEN";
            break;
        }
        answers += m->type == LOCAL_GET ? answer_bytes(&m->get) : 0;
        struct raylet_event *event = events_add(c->events, EVENT_CLIENT_MESSAGE);
        event->client = k->handle;
        event->worker = k->worker;
        event->local = m;
    }
    return n;
}

size_t clients_receive(struct clients *c, uint64_t now_ns)
{
    size_t total = 0;
    c->now_ns = now_ns;
    for (size_t i = 0; i < c->hot.count;) {
        struct client *k = c->hot.items[i];
        const char *why = NULL;
        if (UNLIKELY(k->slow)) {
            make_cold(k); /* until a flush finds that it has read */
            continue;
        }
        size_t n =
            receive_some(k, CLIENTS_RECORDS_PER_TURN, BYTES_PER_TURN, ANSWERS_PER_TURN, &why);
        total += n;
        if (UNLIKELY(why != NULL)) {
            client_down(k, CODE_REFUSED, why);
            continue; /* another stands at i now */
        }
        if (n != 0) {
            k->last_ns = now_ns;
            touch(k); /* gives its room back */
        } else if (now_ns - k->last_ns > CLIENTS_HOT_NS && ring_arm(&k->ring)) {
            make_cold(k);
            continue;
        }
        i++;
    }
    return total;
}

bool clients_has_input(void *clients)
{
    const struct clients *c = clients;
    for (size_t i = 0; i < c->hot.count; i++) {
        if (ring_has_input(&c->hot.items[i]->ring)) {
            return true;
        }
    }
    return false;
}

bool clients_any_hot(const struct clients *c)
{
    return c->hot.count != 0;
}

bool clients_arm(struct clients *c)
{
    while (c->hot.count != 0) {
        struct client *k = c->hot.items[c->hot.count - 1];
        if (!ring_arm(&k->ring)) {
            return false;
        }
        make_cold(k);
    }
    return true;
}

static void bell_rang(struct loop_source *source, uint32_t epoll_events)
{
    struct client *k = source->arg;
    if (k->hot_index != NOT_LISTED) {
        ring_disarm(
            &k->ring); /* drains the bell, which was rung for room or while we still polled */
        return;
    }
    k->clients->now_ns = clock_now_ns();
    make_hot(k);
}

static int come_up(struct client *k)
{
    struct clients *c = k->clients;
    int r = loop_add(c->loop, &k->bell_source, k->ring.doorbell_mine, EPOLLIN, bell_rang, k);
    if (r != 0) {
        return r;
    }
    k->state = CLIENT_UP; /* a stranger's deadline goes on, for its OPEN */
    k->came_up = true;
    if (k->worker != 0) {
        c->owner.on_worker_greeted(c->owner.arg, k->worker);
    }
    struct raylet_event *event = events_add(c->events, EVENT_CLIENT_UP);
    event->client = k->handle;
    event->worker = k->worker;
    event->pid = k->pid;
    event->uid = k->uid;
    c->now_ns = clock_now_ns();
    make_hot(k); /* its OPEN is on the way */
    return 0;
}

static void greet(struct client *k)
{
    int r = ring_greet(k->socket, &k->ring, &k->gifts);
    if (r == -EAGAIN) {
        return;
    }
    if (r == 0) {
        r = come_up(k);
    }
    if (r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOSPC) {
        /* It is told by the end of its connection, and tries again. */
        log_limited(&k->clients->limit, LOG_LEVEL_WARN, "no channel for a process can be made: %s",
                    strerror(-r));
        k->short_of = -r;
        client_down(k, CODE_REFUSED, NULL);
    } else if (r != 0) {
        /* A worker that ends before its greeting is no broken one: its exit tells. */
        client_down(k, CODE_REFUSED, r == -EPIPE ? NULL : "its greeting cannot be read");
    }
}

/* Its process is gone, though a child of it may still hold the socket. */
static void process_ended(struct loop_source *source, uint32_t epoll_events)
{
    struct client *k = source->arg;
    const char *why = NULL;
    if (k->state == CLIENT_UP) {
        (void)receive_some(k, DRAIN_RECORDS_MAX, DRAIN_BYTES_MAX, SIZE_MAX, &why);
    }
    client_down(k, CODE_REFUSED, why);
}

static void socket_ready(struct loop_source *source, uint32_t epoll_events)
{
    struct client *k = source->arg;
    if (k->state == CLIENT_GREETING) {
        greet(k);
        return;
    }
    char byte;
    ssize_t n = recv(k->socket, &byte, sizeof byte, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    const char *why = NULL;
    if (n > 0) {
        why = "it sent something on its socket after the greeting";
    } else if (k->state == CLIENT_UP) {
        (void)receive_some(k, DRAIN_RECORDS_MAX, DRAIN_BYTES_MAX, SIZE_MAX, &why);
    }
    client_down(k, CODE_REFUSED, why);
}

int clients_add_worker(struct clients *c, int socket, uint32_t worker, pid_t pid, uint32_t *ret)
{
    if (c->handle_last == UINT32_MAX) {
        close_fd(&socket);
        return -ENFILE; /* as for strangers, below */
    }
    struct client *k = client_new(c, socket);
    k->worker = worker;
    k->pid = pid;
    k->uid = getuid();
    int r = loop_add(c->loop, &k->socket_source, socket, EPOLLIN, socket_ready, k);
    if (r != 0) {
        client_free(k);
        return r;
    }
    *ret = k->handle;
    return 0;
}

static void add_stranger(struct clients *c, int socket, const struct ring_peer *peer)
{
    struct client *k = client_new(c, socket);
    k->pid = peer->pid;
    k->uid = peer->uid;
    k->deadline_ns = clock_now_ns() + CLIENTS_GREETING_NS;
    list_append(&c->timed, &k->timed);
    k->pidfd = ring_peer_pidfd(socket);
    if (k->pidfd == -ESRCH) { /* a child of it may hold the socket for long */
        client_free(k);
        return;
    }
    if (loop_add(c->loop, &k->socket_source, socket, EPOLLIN, socket_ready, k) != 0 ||
        (k->pidfd >= 0 &&
         loop_add(c->loop, &k->exit_source, k->pidfd, EPOLLIN, process_ended, k) != 0)) {
        client_free(k);
    }
}

static void listener_ready(struct loop_source *source, uint32_t epoll_events)
{
    struct clients *c = source->arg;
    for (int i = 0; i < ACCEPTS_PER_CALL; i++) {
        struct ring_peer peer;
        int fd = ring_accept(c->listener, &peer);
        if (fd == -EAGAIN) {
            return;
        }
        if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) {
            log_limited(&c->limit, LOG_LEVEL_WARN, "cannot accept: %s", strerror(-fd));
            loop_remove(&c->listen_source);
            c->paused = true;
            c->accept_again_ns = clock_now_ns() + ACCEPT_PAUSE_NS;
            return;
        }
        if (fd < 0) {
            c->counts.refused++;
            continue;
        }
        if (c->handle_last == UINT32_MAX) { /* ids of objects hold it: none is used again */
            log_limited(&c->limit, LOG_LEVEL_ERROR,
                        "pid %d refused: %u processes have been connected, which is the limit in "
                        "the life of a node. Start the node again",
                        (int)peer.pid, c->handle_last);
            c->counts.refused++;
            close_fd(&fd);
            continue;
        }
        if (c->table.used >= c->clients_max) {
            log_limited(&c->limit, LOG_LEVEL_WARN,
                        "pid %d refused: %u processes are connected, which is the limit",
                        (int)peer.pid, c->clients_max);
            c->counts.refused++;
            close_fd(&fd);
            continue;
        }
        add_stranger(c, fd, &peer);
    }
}

static int watch_listener(struct clients *c)
{
    return loop_add(c->loop, &c->listen_source, c->listener, EPOLLIN, listener_ready, c);
}

int clients_listen(struct clients *c, const char *path)
{
    int fd = ring_listen(path);
    if (fd < 0) {
        return fd;
    }
    c->listener = fd;
    return watch_listener(c);
}

void clients_unlisten(struct clients *c)
{
    loop_remove(&c->listen_source);
    c->paused = false;
    close_fd(&c->listener);
}

static void run_deadlines(struct clients *c, uint64_t now_ns)
{
    LIST_FOREACH_SAFE(node, &c->timed)
    {
        struct client *k = list_entry(node, struct client, timed);
        if (now_ns < k->deadline_ns) {
            continue;
        }
        if (k->state == CLIENT_CLOSING) {
            client_down(k, 0, NULL); /* what was sent is read, or its time is up */
        } else if (k->state == CLIENT_UP) {
            client_down(k, CODE_REFUSED, "it did not send OPEN in time");
        } else {
            c->counts.refused++;
            client_free(k);
        }
    }
    if (c->paused && now_ns >= c->accept_again_ns) {
        c->paused = watch_listener(c) != 0;
        c->accept_again_ns = now_ns + ACCEPT_PAUSE_NS;
    }
}

uint64_t clients_next_ns(const struct clients *c)
{
    uint64_t next_ns = c->paused ? c->accept_again_ns : NS_FOREVER;
    LIST_FOREACH(node, &c->timed)
    {
        next_ns = MIN_OF(next_ns, list_entry(node, struct client, timed)->deadline_ns);
    }
    return next_ns;
}

static void set_slow(struct client *k, bool slow)
{
    k->slow = slow;
    if (!slow && k->state == CLIENT_UP) {
        make_hot(k); /* what it said meanwhile rang nobody */
    }
    struct raylet_event *event = events_add(k->clients->events, EVENT_CLIENT_SLOW);
    event->client = k->handle;
    event->ok = slow;
}

void clients_flush(struct clients *c, uint64_t now_ns)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->touched.count; i++) {
        struct client *k = c->touched.items[i];
        if (k == NULL) {
            continue;
        }
        int r = ring_flush(&k->ring);
        if (UNLIKELY(k->slow != (ring_queued_bytes(&k->ring) > QUEUED_MAX)) && r >= 0) {
            set_slow(k, !k->slow);
        }
        if (r > 0) { /* its ring is full: again in the next turn, and it rings us */
            c->touched.items[kept] = k;
            k->touched_index = kept++;
            continue;
        }
        k->touched_index = NOT_LISTED;
        if (r < 0) {
            client_down(k, CODE_REFUSED, "its ring is damaged");
        } else if (k->state == CLIENT_CLOSING) {
            client_down(k, 0, NULL);
        }
    }
    c->touched.count = kept;
    if (UNLIKELY(!list_is_empty(&c->timed) || c->paused)) {
        run_deadlines(c, now_ns);
    }
}

void clients_send(struct clients *c, uint32_t handle, const struct local_msg *m)
{
    struct client *k = find(c, handle);
    if (UNLIKELY(k == NULL || k->state != CLIENT_UP)) {
        return;
    }
    if (m->type == LOCAL_RUN) {
        atomic_store_explicit(ring_word(&k->ring, claim_index(m->run.slot)),
                              claim_word(m->run.slot, CLAIM_OFFERED), memory_order_release);
    }
    size_t size = local_size(m);
    int r = 0;
    void *at = ring_reserve(&k->ring, size);
    if (LIKELY(at != NULL)) {
        local_encode(m, at);
        ring_commit(&k->ring);
    } else {
        buffer_clear(&c->scratch);
        local_encode(m, buffer_extend(&c->scratch, size));
        r = ring_send(&k->ring, bytes_of(c->scratch.data, size));
    }
    if (UNLIKELY(r != 0)) {
        c->counts.overrun += r == -ENOBUFS;
        client_down(k, CODE_FULL,
                    r == -ENOBUFS    ? "it does not read what is sent to it"
                    : r == -EMSGSIZE ? "a message for it is larger than a message may be"
                                     : "its ring is damaged");
        return;
    }
    touch(k);
    make_hot(k);
}

void clients_close(struct clients *c, uint32_t handle)
{
    struct client *k = find(c, handle);
    if (k == NULL || k->closed) {
        return;
    }
    k->closed = true;
    if (k->state == CLIENT_UP) {
        k->state = CLIENT_CLOSING;
        k->deadline_ns = c->now_ns + CLIENTS_CLOSING_NS;
        list_unlink(&k->timed);
        list_append(&c->timed, &k->timed);
        make_cold(k);
        touch(k);
    }
}

void clients_credit(struct clients *c, uint32_t handle, uint64_t bytes)
{
    struct client *k = find(c, handle);
    if (k != NULL && k->state == CLIENT_UP) {
        ring_credit_add(&k->ring, bytes);
        touch(k);
    }
}

static bool change_claim(struct clients *c, uint32_t handle, uint32_t slot, enum claim_state from,
                         uint32_t to)
{
    struct client *k = find(c, handle);
    if (k == NULL || !k->came_up) {
        return false;
    }
    uint32_t seen = claim_word(slot, from);
    return atomic_compare_exchange_strong(ring_word(&k->ring, claim_index(slot)), &seen, to);
}

void clients_flag_cancel(struct clients *c, uint32_t handle, uint32_t slot)
{
    uint32_t flagged = claim_word(slot, CLAIM_CLAIMED) | CLAIM_CANCEL;
    (void)change_claim(c, handle, slot, CLAIM_CLAIMED,
                       flagged); /* not claimed any more: no matter */
}

bool clients_take_back(struct clients *c, uint32_t handle, uint32_t slot)
{
    return change_claim(c, handle, slot, CLAIM_OFFERED, claim_word(slot, CLAIM_TAKEN_BACK));
}

int clients_take_program(struct clients *c, uint32_t handle)
{
    struct client *k = find(c, handle);
    int fd = -1;
    if (k != NULL) {
        fd = k->gifts.program;
        k->gifts.program = -1;
    }
    return fd;
}

int clients_directory(struct clients *c, uint32_t handle)
{
    const struct client *k = find(c, handle);
    return k != NULL ? k->gifts.directory : -1;
}

void clients_claimed(struct clients *c, uint32_t handle, uint64_t ret_claimed[2])
{
    struct client *k = find(c, handle);
    ret_claimed[0] = ret_claimed[1] = 0;
    for (uint32_t i = 0; i < LOCAL_CLAIMS && k != NULL && k->came_up; i++) {
        uint32_t word = atomic_load(ring_word(&k->ring, i));
        if ((word & CLAIM_STATE_BITS) == CLAIM_CLAIMED) {
            ret_claimed[i / 64] |= UINT64_C(1) << (i % 64);
        }
    }
}

struct ring_meter *clients_meter(struct clients *c, uint32_t handle, uint32_t index)
{
    struct client *k = find(c, handle);
    return k != NULL && k->came_up ? ring_meter(&k->ring, index) : NULL;
}

void clients_worker_drain(struct clients *c, uint32_t handle, uint64_t ret_claimed[2])
{
    struct client *k = find(c, handle);
    ret_claimed[0] = ret_claimed[1] = 0;
    if (k == NULL || !k->came_up) {
        return;
    }
    if (!k->closed && !k->broken) {
        const char *why = NULL;
        (void)receive_some(k, DRAIN_RECORDS_MAX, DRAIN_BYTES_MAX, SIZE_MAX, &why);
        if (why != NULL) {
            log_limited(&c->limit, LOG_LEVEL_WARN,
                        "worker %u ended with invalid data in its ring: %s", k->worker, why);
        }
    }
    clients_claimed(c, handle, ret_claimed);
}

void clients_worker_finish(struct clients *c, uint32_t handle)
{
    struct client *k = find(c, handle);
    if (k == NULL) {
        return;
    }
    if (k->came_up) {
        events_add(c->events, EVENT_CLIENT_DOWN)->client = k->handle;
    }
    client_free(k);
}

bool clients_is_open(struct clients *c, uint32_t handle)
{
    struct client *k = find(c, handle);
    return k != NULL && k->opened;
}

int clients_worker_short_of(struct clients *c, uint32_t handle)
{
    struct client *k = find(c, handle);
    return k == NULL ? 0 : k->short_of;
}

struct clients *clients_new(struct loop *loop, struct events *events,
                            const struct clients_owner *owner, uint32_t clients_max)
{
    struct clients *c = xcalloc(1, sizeof *c);
    c->loop = loop;
    c->events = events;
    c->owner = *owner;
    c->clients_max = clients_max;
    c->listener = -1;
    numbers_init(&c->table);
    list_init(&c->timed);
    return c;
}

static bool free_one(uint64_t number, void *value, void *arg)
{
    client_free(value);
    return true;
}

void clients_free(struct clients *c)
{
    if (c == NULL) {
        return;
    }
    clients_unlisten(c);
    numbers_each(&c->table, free_one, NULL);
    numbers_fini(&c->table);
    buffer_fini(&c->scratch);
    free(c->hot.items);
    free(c->touched.items);
    free(c);
}

void clients_count(const struct clients *c, struct clients_counts *ret)
{
    *ret = c->counts;
    ret->now = c->table.used;
    ret->hot = c->hot.count;
}
