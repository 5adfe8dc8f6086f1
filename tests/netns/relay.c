/*
 * relay PID PORT TAP SEED LOSS DOUBLE DELAY_MIN_MS DELAY_MAX_MS: a cable that misbehaves by a seed.
 *
 * Carries Ethernet frames between PORT, the near end of the cable to the machine whose first
 * process is PID, and the interface TAP, and back. Each frame is lost with the chance LOSS (0 to 1)
 * and else delayed by a random time; with the chance DOUBLE a second copy of it follows, delayed by
 * a time of its own. Frames overtake each other when their times do. The same seed and the same
 * frames in the same order have the same fate. Ends when its standard input does, and prints what
 * it did.
 *
 * The far end is told to make whole frames with checksums of their own first: the kernel's virtual
 * cables otherwise carry 64 KiB at once, and the loss of one would be the loss of forty.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/rng.h"
#include "common/text.h"

#define FRAME_MAX   2048
#define WAITING_MAX 8192 /* frames under way; what exceeds them is lost, as in a switch */
#define FAR_END     "eth0"

struct frame {
    uint64_t due_ns, order;
    int to_fd;
    size_t size;
    uint8_t bytes[FRAME_MAX];
};

struct relay {
    struct rng rng;
    double loss, twice;
    uint64_t delay_min_ns, delay_max_ns;
    struct frame *heap[WAITING_MAX]; /* the soonest first */
    size_t waiting;
    uint64_t order, carried, lost, doubled, overtaken, last_order;
};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- frames under way ---- */

static bool is_sooner(const struct frame *a, const struct frame *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void swap(struct relay *r, size_t a, size_t b)
{
    struct frame *f = r->heap[a];
    r->heap[a] = r->heap[b];
    r->heap[b] = f;
}

static void push(struct relay *r, struct frame *f)
{
    size_t i = r->waiting++;

    r->heap[i] = f;
    for (; i > 0 && is_sooner(r->heap[i], r->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        swap(r, i, (i - 1) / 2);
    }
}

static struct frame *pop(struct relay *r)
{
    struct frame *first = r->heap[0];
    size_t i = 0;

    r->heap[0] = r->heap[--r->waiting];
    for (;;) {
        size_t best = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < r->waiting; child++) {
            best = is_sooner(r->heap[child], r->heap[best]) ? child : best;
        }
        if (best == i) {
            return first;
        }
        swap(r, i, best);
        i = best;
    }
}

static void put_under_way(struct relay *r, int to_fd, const uint8_t *bytes, size_t size)
{
    uint64_t delay_ns = rng_between(&r->rng, r->delay_min_ns, r->delay_max_ns);

    if (r->waiting == WAITING_MAX) {
        r->lost++;
        return;
    }
    struct frame *f = malloc(sizeof *f);
    if (f == NULL) {
        fail("memory");
    }
    f->due_ns = clock_now_ns() + delay_ns;
    f->order = r->order++;
    f->to_fd = to_fd;
    f->size = size;
    memcpy(f->bytes, bytes, size);
    push(r, f);
}

static void take(struct relay *r, int from_fd, int to_fd)
{
    uint8_t bytes[FRAME_MAX];

    for (int i = 0; i < 64; i++) {
        ssize_t size = read(from_fd, bytes, sizeof bytes);
        if (size <= 0) {
            return;
        }
        if (rng_chance(&r->rng, r->loss)) {
            r->lost++;
            continue;
        }
        put_under_way(r, to_fd, bytes, (size_t)size);
        if (rng_chance(&r->rng, r->twice)) {
            r->doubled++;
            put_under_way(r, to_fd, bytes, (size_t)size);
        }
    }
}

/* Delivers what is due; returns how long to wait for the next. */
static int deliver(struct relay *r)
{
    while (r->waiting > 0) {
        uint64_t now_ns = clock_now_ns();
        if (r->heap[0]->due_ns > now_ns) {
            return (int)((r->heap[0]->due_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS);
        }
        struct frame *f = pop(r);
        r->overtaken += f->order < r->last_order;
        r->last_order = f->order;
        if (write(f->to_fd, f->bytes, f->size) == (ssize_t)f->size) {
            r->carried++;
        } else {
            r->lost++;
        }
        free(f);
    }
    return -1;
}

/* ---- both ends ---- */

static int open_port(const char *name)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

    address.sll_ifindex = (int)if_nametoindex(name);
    if (fd < 0 || address.sll_ifindex == 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        fail(name);
    }
    return fd;
}

static int open_tap(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    text_copy(request.ifr_name, sizeof request.ifr_name, name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0) {
        fail(name);
    }
    return fd;
}

static void forbid_giants(const char *pid)
{
    static const uint32_t features[] = {ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_STXCSUM};
    char path[64];

    snprintf(path, sizeof path, "/proc/%s/ns/net", pid);
    int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int there = open(path, O_RDONLY | O_CLOEXEC);
    if (here < 0 || there < 0 || setns(there, CLONE_NEWNET) != 0) {
        fail(path);
    }
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++) {
        struct ethtool_value off = {.cmd = features[i]};
        struct ifreq request = {.ifr_name = FAR_END, .ifr_data = (char *)&off};
        if (ioctl(fd, SIOCETHTOOL, &request) != 0) {
            fail("offloads of " FAR_END);
        }
    }
    close(fd);
    if (setns(here, CLONE_NEWNET) != 0) {
        fail("coming back");
    }
    close(here);
    close(there);
}

/* ---- */

static double parse(const char *text)
{
    double value;

    if (text_parse_double(text, &value) != 0 || value < 0) {
        fprintf(stderr, "relay: \"%s\" is no number\n", text);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    static struct relay r;

    if (argc != 9) {
        fprintf(stderr, "usage: relay PID PORT TAP SEED LOSS DOUBLE DELAY_MIN_MS DELAY_MAX_MS\n");
        return 2;
    }
    rng_seed(&r.rng, (uint64_t)parse(argv[4]));
    r.loss = parse(argv[5]);
    r.twice = parse(argv[6]);
    r.delay_min_ns = (uint64_t)(parse(argv[7]) * (double)NS_PER_MS);
    r.delay_max_ns = (uint64_t)(parse(argv[8]) * (double)NS_PER_MS);
    forbid_giants(argv[1]);
    int port = open_port(argv[2]), tap = open_tap(argv[3]);
    printf("ready\n");
    fflush(stdout);
    struct pollfd fds[3] = {{.fd = port, .events = POLLIN},
                            {.fd = tap, .events = POLLIN},
                            {.fd = STDIN_FILENO, .events = POLLIN}};
    while (fds[2].revents == 0) {
        if (poll(fds, 3, deliver(&r)) >= 0) {
            take(&r, port, tap);
            take(&r, tap, port);
        }
    }
    printf("carried %llu lost %llu doubled %llu overtaken %llu\n", (unsigned long long)r.carried,
           (unsigned long long)r.lost, (unsigned long long)r.doubled,
           (unsigned long long)r.overtaken);
    return 0;
}
