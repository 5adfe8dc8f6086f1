#include "sdk/link.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/inherited.h"
#include "common/text.h"
#include "sdk/errors.h"

#define TAKE_MAX      256u           /* messages in one turn */
#define FREE_ARRIVALS 64u            /* as many as a raylet prefills */
#define LEADER_LIMIT  (1 * NS_PER_S) /* nobody polls for so long without sleeping */
#define KEEP_BYTES    (16u << 10)    /* of an arena that is kept */
#define EXIT_PAUSE    (10 * NS_PER_MS)
#define LINK_CUT                                                                                   \
    "this program closed descriptors that belong to drt (closefrom, or a loop of close): close "   \
    "only "                                                                                        \
    "what the program has opened, or do so before drt_init"
#define RAYLET_GONE                                                                                \
    "the raylet of this node is gone; what it ran for this program is lost: start the program "    \
    "again"

void link_init(struct link *l, struct lock *lock, link_take_fn *take, void *take_arg)
{
    *l = (struct link){
        .lock = lock, .take = take, .take_arg = take_arg, .socket = -1, .signals = -1};
    atomic_store(&l->interrupt_fd, -1);
}

static void wake_followers(struct link *l)
{
    atomic_fetch_add(&l->changes, 1);
    if (l->followers > 0) {
        lock_wake(&l->changes);
    }
}

bool link_is_whole(const struct link *l)
{
    return fd_mark_is(&l->socket_mark, l->socket);
}

/* With the mutex, for all threads together: an atexit handler may wait for one of them. */
static int exited(const struct link *l)
{
    int before;
    const struct timespec pause = {.tv_nsec = EXIT_PAUSE};
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    while (clock_now_ns() < l->exit_until_ns) {
        (void)nanosleep(&pause, NULL);
    }
    pthread_setcancelstate(before, NULL);
    return error_set(DRT_E_DISCONNECTED, "this program exits: its threads are to be done with drt "
                                         "before main returns or exit is called");
}

static int gone(struct link *l)
{
    if (UNLIKELY(l->exit_until_ns != 0)) {
        return exited(l);
    }
    if (!l->broken) {
        l->broken = true;
        wake_followers(l);
    }
    return error_set(DRT_E_DISCONNECTED, l->cut ? LINK_CUT : RAYLET_GONE);
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
                         "A message has %zu bytes, and at most %u are allowed. Put large values "
                         "with drt_put, and pass their references.",
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
        wake_followers(l);
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
        lock_enter(w->l->lock);
        bool done = w->done(w->arg);
        lock_leave(w->l->lock);
        if (done) {
            return true;
        }
    }
    return ring_has_input(&w->l->ring);
}

/* ---- leading ---- */

/* What this thread was when it last went to sleep or polled. Where it left by a longjmp, its next
 * wait finds that here; where it ended, the destructor of a key. Handlers of pthread_cleanup_push
 * do not serve: a longjmp leaves them behind, on a stack that is gone. */
static _Thread_local struct {
    uint64_t turn; /* of the leader that it is; 0: none */
    bool follows;
    bool has_key;
} me;

static pthread_key_t at_end; /* its value is the link that the thread has waited in */
static pthread_once_t at_end_once = PTHREAD_ONCE_INIT;

static uint64_t last_turn; /* of all links; guarded by the mutex */

struct sleep {
    struct link *l;
    sigset_t before; /* the thread's own mask */
    bool blocked;
};

/* The signals that the thread does not block. */
static int watch_signals(struct link *l, const sigset_t *blocked)
{
    sigset_t wanted;
    if (l->signals >= 0 && memcmp(blocked, &l->signals_blocked, sizeof *blocked) == 0) {
        return 0;
    }
    sigfillset(&wanted);
    for (int i = 1; i < NSIG; i++) {
        if (sigismember(blocked, i) == 1) {
            sigdelset(&wanted, i);
        }
    }
    int fd = inherited_lift(signalfd(l->signals, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
    if (fd < 0) {
        return -errno;
    }
    l->signals = fd;
    l->signals_blocked = *blocked;
    return 0;
}

/* Signals are to run their handlers outside of the mutex, by a thread that does not lead: they may
 * leave by longjmp. Those that the thread itself blocks wake nobody. Where no signalfd can be had
 * they stay as they are. */
static void block_signals(struct sleep *s)
{
    sigset_t all;
    sigfillset(&all);
    memset(&s->before, 0, sizeof s->before); /* sigemptyset leaves a part as it is */
    s->blocked = pthread_sigmask(SIG_BLOCK, &all, &s->before) == 0;
    if (s->blocked && watch_signals(s->l, &s->before) != 0) {
        pthread_sigmask(SIG_SETMASK, &s->before, NULL);
        s->blocked = false;
    }
}

/* With the mutex, which is left for it: handlers run here. */
static void unblock_signals(struct sleep *s)
{
    if (s->blocked) {
        lock_leave(s->l->lock);
        pthread_sigmask(SIG_SETMASK, &s->before, NULL);
        lock_enter(s->l->lock);
    }
}

static void lead_no_more(struct link *l)
{
    l->leading = false;
    l->asleep = false;
    me.turn = 0;
}

/* Bare system calls here and in the ring: none is a cancellation point. */
static bool socket_ended(int socket)
{
    char byte;
    ssize_t n = syscall(SYS_recvfrom, socket, &byte, 1, MSG_DONTWAIT, NULL, NULL);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* Sleeps on the doorbell, the socket, interrupts and signals; a cancellation point. The mutex is
 * not held. */
static bool doze(const struct sleep *s, uint64_t deadline_ns)
{
    const struct link *l = s->l;
    struct pollfd fds[4] = {{l->ring.doorbell_mine, POLLIN, 0},
                            {l->socket, POLLIN, 0},
                            {atomic_load(&l->interrupt_fd), POLLIN, 0},
                            {l->signals, POLLIN, 0}};
    struct timespec limit, *at = NULL;
    if (deadline_ns != NS_FOREVER) {
        uint64_t now = clock_now_ns(), left = deadline_ns > now ? deadline_ns - now : 0;
        limit.tv_sec = (time_t)(left / NS_PER_S);
        limit.tv_nsec = (long)(left % NS_PER_S);
        at = &limit;
    }
    int n = ppoll(fds, s->blocked ? 4 : 3, at, NULL);
    if (n > 0 && fds[2].revents != 0) {
        uint64_t count;
        (void)syscall(SYS_read, fds[2].fd, &count, sizeof count);
    }
    return n > 0 && fds[1].revents != 0;
}

/* One turn of the leader, which found nothing to take: polls a while, then sleeps. */
static void lead(struct wait *w)
{
    struct link *l = w->l;
    struct sleep s = {.l = l};
    bool ended = false;
    uint64_t turn = ++last_turn;
    l->turn = turn;
    me.turn = turn;
    l->leading = true;
    lock_leave(l->lock);
    bool go_on = patience_poll(&l->patience, may_go_on, w);
    lock_enter(l->lock);
    if (l->turn != turn) {
        return; /* it took so long that another one leads now */
    }
    /* Arming moves on what waited for room: nobody rings for what that brought about. */
    if (!go_on && !l->broken && ring_arm(&l->ring)) {
        if (!w->done(w->arg)) {
            block_signals(&s);
            l->asleep = true;
            lock_leave(l->lock);
            ended = doze(&s, w->deadline_ns);
            lock_enter(l->lock);
            l->cut = l->cut || (ended && !link_is_whole(l));
            ended = l->cut || (ended && socket_ended(l->socket));
        }
        ring_disarm(&l->ring);
    }
    lead_no_more(l);
    link_take(l);
    if (ended) {
        gone(l);
    }
    if (l->followers > 0) {
        wake_followers(l); /* one of them leads on */
    }
    unblock_signals(&s);
}

static void follow_no_more(struct link *l)
{
    if (me.follows) {
        me.follows = false;
        l->followers -= l->followers > 0;
    }
}

/* A thread that was cancelled, or called pthread_exit, while it slept. */
static void thread_ended(void *arg)
{
    struct link *l = arg;
    /* Not in a forked child; and where it ends in the midst of a change who waits says so. */
    if (l->open && !lock_is_mine(l->lock)) {
        lock_enter(l->lock);
        link_recover(l);
        lock_leave(l->lock);
    }
}

static void make_key(void)
{
    (void)pthread_key_create(&at_end, thread_ended);
}

static void watch_end(struct link *l)
{
    pthread_once(&at_end_once, make_key);
    me.has_key = pthread_setspecific(at_end, l) == 0;
}

static void follow(struct link *l, uint64_t deadline_ns)
{
    /* A leader that sleeps wakes its followers before it does anything else. */
    uint64_t turn = l->turn, look_at_ns = l->asleep ? NS_FOREVER : clock_now_ns() + LEADER_LIMIT;
    uint32_t seen = atomic_load(&l->changes);
    me.follows = true;
    l->followers++;
    bool woken = lock_sleep(l->lock, &l->changes, seen, MIN_OF(deadline_ns, look_at_ns));
    follow_no_more(l);
    /* Polling is over within a moment: that leader was made to leave, by a longjmp or its end. */
    if (!woken && l->leading && !l->asleep && l->turn == turn && clock_now_ns() >= look_at_ns) {
        l->turn = ++last_turn;
        l->leading = false;
    }
}

void link_recover(struct link *l)
{
    follow_no_more(l);
    if (me.turn != 0 && me.turn == l->turn && l->leading) {
        l->turn = ++last_turn;
        if (l->asleep) {
            ring_disarm(&l->ring);
        }
        lead_no_more(l);
        wake_followers(l);
    }
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
    while (l->open && !w->done(w->arg)) {
        if (l->broken) {
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
        link_recover(l); /* what it was in a wait that it left by longjmp */
        if (UNLIKELY(!me.has_key)) {
            watch_end(l);
        }
        if (l->leading) {
            follow(l, w->deadline_ns);
        } else {
            link_send_releases(l);
            link_flush(l);
            lead(w);
        }
    }
    if (!l->open) { /* so late that its objects are gone, too */
        return error_set(-EINTR, "another thread called drt_shutdown");
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
        if (l->broken || !l->open) {
            return gone(l); /* nothing comes back any more */
        }
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
        buffer_clear(&g->l->given);
        buffer_append(&g->l->given, a->msg.payload.data, a->msg.payload.size);
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
    struct buffer payload CLEANUP(buffer_fini) = {0};
    struct local_msg m = {.type = LOCAL_OPEN, .open = *open};
    buffer_append(&payload, open->env.data, open->env.size);
    buffer_append(&payload, open->given.data, open->given.size);
    m.open.env_size = (uint32_t)open->env.size;
    m.open.given_size = (uint32_t)open->given.size;
    m.payload = bytes_of(payload.data, payload.size);
    lock_enter(l->lock);
    ring_hide_from_children(&l->ring);
    l->socket_mark = fd_mark_of(l->socket);
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
        /* Without one a call that sleeps is interrupted with whatever wakes it next. */
        atomic_store(&l->interrupt_fd, inherited_lift(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)));
    }
    lock_leave(l->lock);
    return r;
}

/* Where the program has closed them, their numbers may be those of its own files by now. */
static void abandon_closed(struct link *l)
{
    if (l->socket_mark.type == 0 || link_is_whole(l)) {
        return;
    }
    l->socket = l->signals = -1;
    l->ring.memfd = l->ring.doorbell_mine = l->ring.doorbell_theirs = -1;
    atomic_store(&l->interrupt_fd, -1);
}

void link_close(struct link *l)
{
    abandon_closed(l);
    int interrupt_fd = atomic_exchange(&l->interrupt_fd, -1);
    close_fd(&interrupt_fd);
    l->open = false;
    ring_fini(&l->ring);
    l->ring = (struct ring_channel){0};
    close_fd(&l->socket);
    close_fd(&l->signals);
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
    buffer_fini(&l->given);
    wake_followers(l);
}

void link_exit(struct link *l, uint64_t until_ns)
{
    (void)shutdown(l->socket, SHUT_RDWR); /* a child may hold it */
    l->exit_until_ns = until_ns;
    l->broken = true;
    wake_followers(l);
    link_interrupt(l); /* who leads */
}

void link_forget(struct link *l)
{
    abandon_closed(l);
    int interrupt_fd = atomic_exchange(&l->interrupt_fd, -1);
    close_fd(&interrupt_fd);
    close_fd(&l->socket);
    close_fd(&l->signals);
    ring_forget(&l->ring);
    l->open = false;
}

void link_interrupt(struct link *l)
{
    int before = errno, fd = atomic_load(&l->interrupt_fd);
    uint64_t one = 1;
    atomic_fetch_add(&l->interrupts, 1);
    if (fd >= 0) {
        (void)syscall(SYS_write, fd, &one, sizeof one);
    }
    errno = before;
}
