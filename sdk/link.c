#include "sdk/link.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "sdk/errors.h"

#define TAKE_MAX      256u        /* messages in one turn */
#define FREE_ARRIVALS 64u         /* as many as a raylet prefills */
#define KEEP_BYTES    (16u << 10) /* of an arena that is kept */
#define RAYLET_GONE                                                                                \
    "the raylet of this node is gone; what it ran for this program is lost: start the program "    \
    "again"

void link_init(struct link *l, pthread_mutex_t *lock, link_take_fn *take, void *take_arg)
{
    pthread_condattr_t attr;
    *l = (struct link){.lock = lock, .take = take, .take_arg = take_arg, .socket = -1};
    atomic_store(&l->interrupt_fd, -1);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->changed, &attr);
    pthread_condattr_destroy(&attr);
}

static int gone(struct link *l)
{
    if (!l->broken) {
        l->broken = true;
        pthread_cond_broadcast(&l->changed);
    }
    return error_set(DRT_E_DISCONNECTED, RAYLET_GONE);
}

/* ---- out ---- */

static bool ring_is_empty_of_queue(void *arg)
{
    struct link *l = arg;
    int r = ring_flush(&l->ring);
    if (r < 0) {
        gone(l);
    }
    return r <= 0;
}

static int wait_outward(struct link *l, bool (*done)(void *), void *arg, bool body);

/* Found no room: copies, and waits until the copy is in the ring. */
static NOINLINE int write_queued(struct link *l, const struct local_msg *m, size_t size)
{
    if (size > MESSAGE_MAX) {
        return error_set(DRT_E_TOO_LARGE,
                         "a call with its arguments has %zu bytes; at most %u pass: put large "
                         "values by themselves and pass their references",
                         size, MESSAGE_MAX);
    }
    buffer_clear(&l->scratch);
    local_encode(m, buffer_extend(&l->scratch, size));
    int r = ring_send(&l->ring, bytes_of(l->scratch.data, size));
    if (l->scratch.room > RING_RECORD_MAX) {
        buffer_fini(&l->scratch);
    }
    if (r != 0) {
        return gone(l);
    }
    return wait_outward(l, ring_is_empty_of_queue, l, false);
}

int link_write(struct link *l, const struct local_msg *m)
{
    if (UNLIKELY(l->broken || !l->open)) {
        return gone(l);
    }
    size_t size = local_size(m);
    void *at = ring_reserve(&l->ring, size);
    if (UNLIKELY(at == NULL)) {
        return write_queued(l, m, size);
    }
    local_encode(m, at);
    ring_commit(&l->ring);
    return 0;
}

void link_flush(struct link *l)
{
    if (l->open && !l->broken && ring_flush(&l->ring) < 0) {
        gone(l);
    }
}

int link_send(struct link *l, const struct local_msg *m)
{
    int r = link_write(l, m);
    if (LIKELY(r == 0)) {
        link_flush(l);
    }
    return r;
}

void link_send_releases(struct link *l)
{
    if (l->release_count == 0) {
        return;
    }
    struct local_msg m = {.type = LOCAL_RELEASE,
                          .ids = {.ids = l->releases, .id_count = l->release_count}};
    l->release_count = 0;
    if (l->open && !l->broken) {
        (void)!link_write(l, &m); /* a raylet that is gone holds nothing */
    }
}

void link_release(struct link *l, struct object_id id, bool now)
{
    l->releases[l->release_count++] = id;
    if (l->release_count == LINK_RELEASES || now) {
        link_send_releases(l);
        link_flush(l);
    }
}

/* ---- in ---- */

void link_arrival_free(struct link *l, struct arrival *a)
{
    if (l->free_count == FREE_ARRIVALS ||
        (a->arena.blocks != NULL && a->arena.blocks->room > KEEP_BYTES)) {
        arena_fini(&a->arena);
        free(a);
        return;
    }
    arena_reset(&a->arena);
    a->next = l->free;
    l->free = a;
    l->free_count++;
}

static struct arrival *arrival_new(struct link *l)
{
    struct arrival *a = l->free;
    if (a == NULL) {
        return xcalloc(1, sizeof *a);
    }
    l->free = a->next;
    l->free_count--;
    return a;
}

bool link_take(struct link *l)
{
    uint32_t n = 0;
    if (l->leading) {
        return false; /* the leader looks at the ring without the mutex */
    }
    while (n < TAKE_MAX && l->open) {
        struct bytes data;
        const char *why;
        if (l->spare == NULL) {
            l->spare = arrival_new(l);
        }
        struct arrival *a = l->spare;
        int r = ring_receive(&l->ring, &a->arena, &data);
        if (r == 0) {
            break;
        }
        if (r < 0 || local_decode(data, &a->arena, &a->msg, &why) != 0) {
            gone(l);
            break;
        }
        n++;
        l->taken++;
        if (l->take(l->take_arg, a)) {
            l->spare = NULL;
        } else {
            arena_reset(&a->arena);
        }
    }
    if (n > 0 && l->followers > 0) {
        pthread_cond_broadcast(&l->changed);
    }
    return n > 0;
}

/* ---- waiting ---- */

/* What a thread waits for. */
struct wait {
    struct link *l;
    bool (*done)(void *);
    void *arg;
    uint64_t deadline_ns;
    link_names_fn *names; /* NULL: no body's own thread */
    bool outward;         /* room or credit: no message tells of it */
    bool told;
};

/* Polled without the mutex: nobody else takes messages meanwhile. */
static bool may_go_on(void *arg)
{
    struct wait *w = arg;
    if (w->outward) {
        pthread_mutex_lock(w->l->lock);
        bool done = w->done(w->arg);
        pthread_mutex_unlock(w->l->lock);
        if (done) {
            return true;
        }
    }
    return ring_has_input(&w->l->ring);
}

static bool socket_ended(int socket)
{
    char byte;
    ssize_t n = recv(socket, &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* Sleeps on the doorbell and the socket. The mutex is not held. */
static void doze(struct link *l, uint64_t deadline_ns, bool *ret_ended)
{
    struct pollfd fds[2] = {{l->ring.doorbell_mine, POLLIN, 0}, {l->socket, POLLIN, 0}};
    struct timespec limit, *at = NULL;
    if (deadline_ns != NS_FOREVER) {
        uint64_t now = clock_now_ns(), left = deadline_ns > now ? deadline_ns - now : 0;
        limit.tv_sec = (time_t)(left / NS_PER_S);
        limit.tv_nsec = (long)(left % NS_PER_S);
        at = &limit;
    }
    int n = ppoll(fds, 2, at, NULL);
    *ret_ended = n > 0 && fds[1].revents != 0 && socket_ended(l->socket);
}

/* One turn of the leader, which found nothing to take: polls a while, then sleeps. */
static void lead(struct wait *w)
{
    struct link *l = w->l;
    bool ended = false;
    l->leading = true;
    pthread_mutex_unlock(l->lock);
    bool go_on = patience_poll(&l->patience, may_go_on, w);
    pthread_mutex_lock(l->lock);
    /* Arming moves on what waited for room: nobody rings for what that brought about. */
    if (!go_on && !l->broken && ring_arm(&l->ring)) {
        if (!w->done(w->arg)) {
            pthread_mutex_unlock(l->lock);
            doze(l, w->deadline_ns, &ended);
            pthread_mutex_lock(l->lock);
        }
        ring_disarm(&l->ring);
    }
    l->leading = false;
    link_take(l);
    if (ended) {
        gone(l);
    }
    if (l->followers > 0) {
        pthread_cond_broadcast(&l->changed); /* one of them leads on */
    }
}

static void follow(struct link *l, uint64_t deadline_ns)
{
    l->followers++;
    if (deadline_ns == NS_FOREVER) {
        pthread_cond_wait(&l->changed, l->lock);
    } else {
        struct timespec at = {.tv_sec = (time_t)(deadline_ns / NS_PER_S),
                              .tv_nsec = (long)(deadline_ns % NS_PER_S)};
        pthread_cond_timedwait(&l->changed, l->lock, &at);
    }
    l->followers--;
}

/* The body's raylet hears that it waits, and for what: in the same ring, before and after. False:
 * it knows. */
static bool tell_blocked(struct wait *w)
{
    struct object_id ids[LOCAL_WAITS_MAX];
    struct local_msg m = {.type = LOCAL_BLOCKED, .ids = {.ids = ids}};
    if (w->names == NULL || !w->names(w->arg, w->told, ids, ARRAY_SIZE(ids), &m.ids.id_count)) {
        return false;
    }
    w->told = link_send(w->l, &m) == 0;
    return true;
}

static int wait_turns(struct wait *w)
{
    struct link *l = w->l;
    uint32_t interrupts = atomic_load(&l->interrupts);
    while (!w->done(w->arg)) {
        if (l->broken || !l->open) {
            return gone(l);
        }
        if (atomic_load(&l->interrupts) != interrupts) {
            return error_set(-EINTR, "interrupted by drt_interrupt");
        }
        if (link_take(l)) {
            continue;
        }
        if (w->deadline_ns != NS_FOREVER && clock_now_ns() >= w->deadline_ns) {
            return error_set(DRT_E_TIMEOUT, "the limit passed; the work goes on: ask again, or "
                                            "cancel it");
        }
        if (tell_blocked(w)) {
            continue;
        }
        if (l->leading) {
            follow(l, w->deadline_ns);
        } else {
            link_send_releases(l);
            link_flush(l);
            lead(w);
        }
    }
    return 0;
}

static int wait_for(struct wait *w)
{
    int r = wait_turns(w);
    if (w->told && !w->l->broken) {
        struct local_msg m = {.type = LOCAL_UNBLOCKED};
        (void)!link_send(w->l, &m);
    }
    return r;
}

static bool name_nothing(void *arg, bool again, struct object_id *ids, size_t room,
                         size_t *ret_count)
{
    *ret_count = 0;
    return !again;
}

/* A wait with a limit ends by itself, whatever becomes of what it is for. */
int link_wait(struct link *l, bool (*done)(void *), void *arg, uint64_t deadline_ns,
              link_names_fn *names)
{
    struct wait w = {.l = l, .done = done, .arg = arg, .deadline_ns = deadline_ns, .names = names};
    if (names != NULL && deadline_ns != NS_FOREVER) {
        w.names = name_nothing;
    }
    return wait_for(&w);
}

/* As link_wait, for what no message tells of: it is polled. */
static int wait_outward(struct link *l, bool (*done)(void *), void *arg, bool body)
{
    struct wait w = {.l = l,
                     .done = done,
                     .arg = arg,
                     .deadline_ns = NS_FOREVER,
                     .names = body ? name_nothing : NULL,
                     .outward = true};
    return wait_for(&w);
}

/* ---- credit ---- */

struct spend {
    struct link *l;
    uint64_t seen, taken;
};

static bool has_credit(struct link *l, uint64_t bytes)
{
    uint64_t outstanding = l->spent_bytes - ring_credit_read(&l->ring);
    return outstanding == 0 ||
           (outstanding <= l->credit_bytes && bytes <= l->credit_bytes - outstanding);
}

/* Or a message came, which may say that nothing is left to wait for. */
static bool credit_moved(void *arg)
{
    struct spend *s = arg;
    ring_credit_watch(&s->l->ring);
    return ring_credit_read(&s->l->ring) != s->seen || s->l->taken != s->taken;
}

int link_spend(struct link *l, uint64_t bytes, bool (*work_left)(void *), void *arg, bool body)
{
    while (UNLIKELY(!has_credit(l, bytes))) {
        struct spend s = {l, ring_credit_read(&l->ring), l->taken};
        if (has_credit(l, bytes)) {
            break;
        }
        link_send_releases(l);
        if (!work_left(arg) && !has_credit(l, bytes)) {
            return error_set(DRT_E_FULL,
                             "this program's results and values fill its share of the node's "
                             "memory (%llu bytes): release references that it does not need",
                             (unsigned long long)l->credit_bytes);
        }
        int r = wait_outward(l, credit_moved, &s, body);
        if (r != 0) {
            return r;
        }
    }
    l->spent_bytes += bytes;
    return 0;
}

/* ---- opening ---- */

struct greeting {
    struct link *l;
    link_take_fn *take; /* who takes what follows: a worker's first RUN may come along */
    void *take_arg;
    bool over;
    struct failure refusal; /* code 0: none */
};

static bool take_greeting(void *arg, struct arrival *a)
{
    struct greeting *g = arg;
    if (a->msg.type == LOCAL_WELCOME) {
        const struct local_welcome *w = &a->msg.welcome;
        g->l->node = w->node;
        g->l->client = w->client;
        g->l->job = w->job;
        text_copy(g->l->node_name, sizeof g->l->node_name, w->node_name);
        g->l->credit_bytes = w->credit_bytes;
        g->l->take = g->take;
        g->l->take_arg = g->take_arg;
        g->over = true;
    } else if (a->msg.type == LOCAL_REFUSED) {
        g->over = true;
        g->refusal = a->msg.refused.failure;
    }
    return false;
}

static bool greeting_is_over(void *arg)
{
    const struct greeting *g = arg;
    return g->over;
}

int link_open(struct link *l, const struct local_open *open, uint64_t deadline_ns)
{
    struct greeting g = {.l = l, .take = l->take, .take_arg = l->take_arg};
    struct local_msg m = {.type = LOCAL_OPEN, .open = *open, .payload = open->env};
    m.open.env_size = (uint32_t)open->env.size;
    pthread_mutex_lock(l->lock);
    ring_hide_from_children(&l->ring);
    l->open = true;
    l->take = take_greeting;
    l->take_arg = &g;
    int r = link_send(l, &m);
    if (r == 0) {
        r = link_wait(l, greeting_is_over, &g, deadline_ns, NULL);
    }
    l->take = g.take;
    l->take_arg = g.take_arg;
    if (g.refusal.code != 0) {
        r = error_set_failure(&g.refusal); /* last, as the raylet hangs up after it */
    }
    if (r == 0) {
        atomic_store(&l->interrupt_fd, l->ring.doorbell_mine);
    }
    pthread_mutex_unlock(l->lock);
    return r;
}

void link_close(struct link *l)
{
    atomic_store(&l->interrupt_fd, -1);
    l->open = false;
    ring_fini(&l->ring);
    l->ring = (struct ring_channel){0};
    close_fd(&l->socket);
    l->socket = -1;
    if (l->spare != NULL) {
        arena_fini(&l->spare->arena);
        free(l->spare);
        l->spare = NULL;
    }
    while (l->free != NULL) {
        struct arrival *next = l->free->next;
        arena_fini(&l->free->arena);
        free(l->free);
        l->free = next;
    }
    l->free_count = 0;
    l->release_count = 0;
    buffer_fini(&l->scratch);
    pthread_cond_broadcast(&l->changed);
}

void link_forget(struct link *l)
{
    atomic_store(&l->interrupt_fd, -1);
    close_fd(&l->socket);
    ring_forget(&l->ring);
    l->open = false;
}

void link_interrupt(struct link *l)
{
    int before = errno, fd = atomic_load(&l->interrupt_fd);
    uint64_t one = 1;
    atomic_fetch_add(&l->interrupts, 1);
    if (fd >= 0) {
        (void)!write(fd, &one, sizeof one);
    }
    errno = before;
}
