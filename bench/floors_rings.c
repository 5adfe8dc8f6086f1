#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/floors.h"
#include "common/clock.h"
#include "common/patience.h"
#include "proto/ring.h"

#define RECORD_BYTES 200
#define BURST        1000
#define SAMPLES_MAX  (1u << 20)

struct relay {
    struct ring_channel to_client, to_worker; /* the relay's sides */
    pid_t relay, worker;
    struct ring_channel mine;
};

static bool has_input(void *channel)
{
    return ring_has_input(channel);
}

/* Polls, then sleeps, until the channel has something. */
static void await_input(struct ring_channel *c, struct patience *patience)
{
    while (!patience_poll(patience, has_input, c)) {
        if (ring_arm(c)) {
            struct pollfd bell = {.fd = c->doorbell_mine, .events = POLLIN};
            (void)poll(&bell, 1, -1);
        }
        ring_disarm(c);
    }
}

static void die_with_parent(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Everything that came on `from` goes to `to`; how much. */
static size_t pass_on(struct ring_channel *from, struct ring_channel *to, struct arena *arena)
{
    struct bytes message;
    size_t count = 0;

    while (count < 256 && ring_receive(from, arena, &message) == 1) {
        if (ring_send(to, message) < 0) {
            _exit(1);
        }
        count++;
    }
    arena_reset(arena);
    return count;
}

struct both {
    struct ring_channel *a, *b;
};

static bool either_has_input(void *arg)
{
    struct both *both = arg;
    return ring_has_input(both->a) || ring_has_input(both->b);
}

NORETURN static void serve_relay(struct ring_channel *client, struct ring_channel *worker)
{
    struct arena arena = {0};
    struct patience patience = {0};
    struct both both = {client, worker};

    for (;;) {
        size_t moved = pass_on(client, worker, &arena) + pass_on(worker, client, &arena);
        if (ring_flush(worker) < 0 || ring_flush(client) < 0) {
            _exit(1);
        }
        if (moved > 0 || patience_poll(&patience, either_has_input, &both)) {
            continue;
        }
        bool quiet = ring_arm(client);
        if (quiet && ring_arm(worker)) {
            struct pollfd bells[2] = {{.fd = client->doorbell_mine, .events = POLLIN},
                                      {.fd = worker->doorbell_mine, .events = POLLIN}};
            (void)poll(bells, 2, -1);
        }
        ring_disarm(client);
        ring_disarm(worker);
    }
}

NORETURN static void serve_worker(struct ring_channel *c)
{
    struct arena arena = {0};
    struct patience patience = {0};

    for (;;) {
        await_input(c, &patience);
        pass_on(c, c, &arena);
        if (ring_flush(c) < 0) {
            _exit(1);
        }
    }
}

static int attach(struct ring_channel *server, struct ring_channel *ret)
{
    return ring_attach(ret, dup(server->memfd), dup(server->doorbell_mine),
                       dup(server->doorbell_client));
}

static int relay_start(struct relay *r)
{
    memset(r, 0, sizeof *r);
    int rc = ring_create(&r->to_client);
    if (rc == 0) {
        rc = ring_create(&r->to_worker);
    }
    if (rc < 0) {
        return rc;
    }
    r->worker = fork();
    if (r->worker == 0) {
        struct ring_channel c;
        die_with_parent();
        if (attach(&r->to_worker, &c) < 0) {
            _exit(1);
        }
        serve_worker(&c);
    }
    r->relay = fork();
    if (r->relay == 0) {
        die_with_parent();
        serve_relay(&r->to_client, &r->to_worker);
    }
    return attach(&r->to_client, &r->mine);
}

static void end_child(pid_t pid)
{
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
}

static void relay_end(struct relay *r)
{
    end_child(r->relay);
    end_child(r->worker);
    ring_fini(&r->mine);
    ring_fini(&r->to_client);
    ring_fini(&r->to_worker);
}

/* Sends `count` records and takes as many back. */
static int exchange(struct relay *r, size_t count, struct arena *arena, struct patience *patience)
{
    static const uint8_t record[RECORD_BYTES];
    struct bytes message;

    for (size_t i = 0; i < count; i++) {
        int rc = ring_send(&r->mine, bytes_of(record, sizeof record));
        if (rc < 0) {
            return rc;
        }
    }
    int rc = ring_flush(&r->mine);
    for (size_t taken = 0; rc >= 0 && taken < count;) {
        await_input(&r->mine, patience);
        while (taken < count && (rc = ring_receive(&r->mine, arena, &message)) == 1) {
            taken++;
        }
        arena_reset(arena);
        if (rc >= 0) {
            rc = ring_flush(&r->mine);
        }
    }
    return MIN_OF(rc, 0);
}

static int measure_relay(double seconds, size_t burst, struct figures *ret)
{
    double *took = xcalloc(SAMPLES_MAX, sizeof *took);
    struct arena arena = {0};
    struct patience patience = {0};
    struct relay relay;
    size_t rounds = 0;

    int rc = relay_start(&relay);
    for (int i = 0; rc == 0 && i < 100; i++) { /* first pages, first wake-ups */
        rc = exchange(&relay, burst, &arena, &patience);
    }
    uint64_t begin = clock_now_ns(), then = begin, end = begin;
    while (rc == 0 && rounds < SAMPLES_MAX && (double)(end - begin) < seconds * 1e9) {
        rc = exchange(&relay, burst, &arena, &patience);
        end = clock_now_ns();
        took[rounds++] = (double)(end - then) * 1e-3;
        then = end;
    }
    relay_end(&relay);
    figures_set(ret, "per_second", (double)(rounds * burst) / ((double)(end - begin) * 1e-9));
    if (burst == 1) {
        figures_set(ret, "p50_us", quantile(took, rounds, 0.5));
        figures_set(ret, "p99_us", quantile(took, rounds, 0.99));
    }
    arena_fini(&arena);
    free(took);
    return rc;
}

int floor_relay_sync(double seconds, struct figures *ret)
{
    return measure_relay(seconds, 1, ret);
}

int floor_relay_bursts(double seconds, struct figures *ret)
{
    return measure_relay(seconds, BURST, ret);
}

/* ---- hand-overs without any channel ---- */

struct post {
    _Alignas(64) _Atomic uint32_t sent;
};

static void await_post(struct post *p, uint32_t seen)
{
    while (atomic_load_explicit(&p->sent, memory_order_acquire) == seen) {
        sched_yield();
    }
}

static void hand_over(struct post *p)
{
    atomic_fetch_add_explicit(&p->sent, 1, memory_order_release);
}

int floor_hand_over(double seconds, struct figures *ret)
{
    double *took = xcalloc(SAMPLES_MAX, sizeof *took);
    struct post *posts =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    size_t rounds = 0;

    if (posts == MAP_FAILED) {
        free(took);
        return -errno;
    }
    pid_t relay = fork();
    if (relay == 0) {
        die_with_parent();
        for (uint32_t seen = 0;; seen++) {
            await_post(&posts[1], seen);
            hand_over(&posts[seen % 2 == 0 ? 2 : 0]);
        }
    }
    pid_t worker = fork();
    if (worker == 0) {
        die_with_parent();
        for (uint32_t seen = 0;; seen++) {
            await_post(&posts[2], seen);
            hand_over(&posts[1]);
        }
    }
    uint64_t begin = clock_now_ns(), then = begin, end = begin;
    while (rounds < SAMPLES_MAX && (double)(end - begin) < seconds * 1e9) {
        hand_over(&posts[1]);
        await_post(&posts[0], (uint32_t)rounds);
        end = clock_now_ns();
        took[rounds++] = (double)(end - then) * 1e-3;
        then = end;
    }
    end_child(relay);
    end_child(worker);
    figures_set(ret, "per_second", (double)rounds / ((double)(end - begin) * 1e-9));
    figures_set(ret, "p50_us", quantile(took, rounds, 0.5));
    figures_set(ret, "p99_us", quantile(took, rounds, 0.99));
    munmap(posts, 4096);
    free(took);
    return 0;
}
