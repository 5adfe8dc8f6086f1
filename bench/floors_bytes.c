#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "bench/floors.h"
#include "common/clock.h"

#define COPY_BYTES  (64u << 20)
#define SAMPLES_MAX (1u << 20)
#define ONE_WAY     1000 /* messages between two looks at the clock */

static double seconds_since(uint64_t begin_ns)
{
    return (double)(clock_now_ns() - begin_ns) * 1e-9;
}

int floor_memcpy(double seconds, struct figures *ret)
{
    void *from = xmalloc(COPY_BYTES);
    int fd = memfd_create("bench", MFD_CLOEXEC);
    int rc = fd < 0 || ftruncate(fd, COPY_BYTES) < 0 ? -errno : 0;
    void *to =
        rc < 0 ? MAP_FAILED : mmap(NULL, COPY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (to == MAP_FAILED) {
        rc = rc < 0 ? rc : -errno;
        goto out;
    }
    memset(from, 1, COPY_BYTES);
    uint64_t begin = clock_now_ns();
    memcpy(to, from, COPY_BYTES);
    figures_set(ret, "fresh_gb_per_second", COPY_BYTES / seconds_since(begin) * 1e-9);
    size_t rounds = 0;
    begin = clock_now_ns();
    do {
        memcpy(to, from, COPY_BYTES);
        rounds++;
    } while (seconds_since(begin) < seconds);
    double rate = (double)rounds * COPY_BYTES / seconds_since(begin);
    figures_set(ret, "per_second", rate);
    figures_set(ret, "gb_per_second", rate * 1e-9);
    munmap(to, COPY_BYTES);
out:
    close_fd(&fd);
    free(from);
    return rc;
}

/* ---- ZeroMQ ---- */

struct zmq_pair {
    pid_t peer;
    void *context, *dealer;
};

/* The peer: answers each message, or counts them and answers the empty ones. */
NORETURN static void serve_router(int port_fd, bool one_way)
{
    void *context = zmq_ctx_new(), *router = zmq_socket(context, ZMQ_ROUTER);
    char endpoint[128];
    size_t size = sizeof endpoint;
    int unlimited = 0;

    zmq_setsockopt(router, ZMQ_SNDHWM, &unlimited, sizeof unlimited);
    zmq_setsockopt(router, ZMQ_RCVHWM, &unlimited, sizeof unlimited);
    if (zmq_bind(router, "tcp://127.0.0.1:*") != 0 ||
        zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &size) != 0 ||
        write(port_fd, endpoint, size) < 0) {
        _exit(1);
    }
    for (;;) {
        zmq_msg_t who, what;
        zmq_msg_init(&who);
        zmq_msg_init(&what);
        if (zmq_msg_recv(&who, router, 0) < 0 || zmq_msg_recv(&what, router, 0) < 0) {
            _exit(1);
        }
        if (one_way && zmq_msg_size(&what) != 0) {
            zmq_msg_close(&who);
            zmq_msg_close(&what);
        } else if (zmq_msg_send(&who, router, ZMQ_SNDMORE) < 0 ||
                   zmq_msg_send(&what, router, 0) < 0) {
            _exit(1);
        }
    }
}

static void pair_end(struct zmq_pair *p)
{
    int none = 0;

    if (p->dealer != NULL) {
        zmq_setsockopt(p->dealer, ZMQ_LINGER, &none, sizeof none);
        zmq_close(p->dealer);
    }
    if (p->context != NULL) {
        zmq_ctx_term(p->context);
    }
    if (p->peer > 0) {
        kill(p->peer, SIGKILL);
        waitpid(p->peer, NULL, 0);
    }
}

static int pair_start(struct zmq_pair *p, bool one_way)
{
    char endpoint[128] = "";
    int ends[2], unlimited = 0;

    memset(p, 0, sizeof *p);
    if (pipe(ends) < 0) {
        return -errno;
    }
    p->peer = fork(); /* before there is a context */
    if (p->peer == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve_router(ends[1], one_way);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], endpoint, sizeof endpoint - 1);
    close(ends[0]);
    p->context = zmq_ctx_new();
    p->dealer = zmq_socket(p->context, ZMQ_DEALER);
    zmq_setsockopt(p->dealer, ZMQ_SNDHWM, &unlimited, sizeof unlimited);
    return n > 0 && zmq_connect(p->dealer, endpoint) == 0 ? 0 : -ECONNREFUSED;
}

static int round_trip(struct zmq_pair *p, size_t size)
{
    char data[256] = "";

    return zmq_send(p->dealer, data, size, 0) < 0 || zmq_recv(p->dealer, data, sizeof data, 0) < 0
               ? -errno
               : 0;
}

int floor_zmq_round_trip(double seconds, struct figures *ret)
{
    double *took = xcalloc(SAMPLES_MAX, sizeof *took);
    struct zmq_pair pair;
    size_t rounds = 0;

    int rc = pair_start(&pair, false);
    if (rc == 0) {
        rc = round_trip(&pair, 200);
    }
    uint64_t begin = clock_now_ns(), then = begin, end = begin;
    while (rc == 0 && rounds < SAMPLES_MAX && (double)(end - begin) < seconds * 1e9) {
        rc = round_trip(&pair, 200);
        end = clock_now_ns();
        took[rounds++] = (double)(end - then) * 1e-3;
        then = end;
    }
    pair_end(&pair);
    figures_set(ret, "per_second", (double)rounds / ((double)(end - begin) * 1e-9));
    figures_set(ret, "p50_us", quantile(took, rounds, 0.5));
    figures_set(ret, "p99_us", quantile(took, rounds, 0.99));
    free(took);
    return rc;
}

int floor_zmq_one_way(double seconds, struct figures *ret)
{
    char data[128] = "";
    struct zmq_pair pair;
    double sent = 0;

    int rc = pair_start(&pair, true);
    if (rc == 0) {
        rc = round_trip(&pair, 0);
    }
    uint64_t begin = clock_now_ns();
    while (rc == 0 && seconds_since(begin) < seconds) {
        for (int i = 0; i < ONE_WAY; i++) {
            if (zmq_send(pair.dealer, data, sizeof data, 0) < 0) {
                rc = -errno;
            }
        }
        sent += ONE_WAY;
    }
    if (rc == 0) {
        rc = round_trip(&pair, 0); /* all before it has arrived */
    }
    figures_set(ret, "per_second", sent / seconds_since(begin));
    pair_end(&pair);
    return rc;
}
