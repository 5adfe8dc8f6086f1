#include "sdk/output.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"

#define LOOKS_AT_ONCE 16u
#define LOOK_LIMIT_NS                                                                              \
    NS_PER_S            /* a raylet that reads for longer has stopped, or is about to end          \
                         */
#define OWN_FD_LEAST 10 /* above those that shells and programs name by number */

static struct {
    /* Ours of each stream, since a body may redirect or close its own. -1: not a pipe. */
    int pipes[RING_METERS];
    uint64_t ends[RING_METERS]; /* up to which all is told */
} output = {.pipes = {-1, -1}};

void output_prepare(void)
{
    static const int fds[RING_METERS] = {STDOUT_FILENO, STDERR_FILENO};
    (void)fflush(stdout);
    /* A pipe makes standard output fully buffered: lines would come when the body has returned, and
     * never if it crashes. Line buffering would keep a prompt and progress that ends in '\r'. So
     * each printf is one write; a program that prefers lines says so before drt_init. */
    if (!__flbf(stdout)) {
        (void)setvbuf(stdout, NULL, _IONBF, 0);
    }
    for (uint32_t i = 0; i < RING_METERS; i++) {
        struct stat st;
        if (fstat(fds[i], &st) == 0 && S_ISFIFO(st.st_mode)) {
            output.pipes[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, OWN_FD_LEAST);
        }
    }
}

/* How much was ever written to a stream. False: its raylet does not say. */
static bool look(const struct ring_channel *ring, uint32_t i, uint64_t *ret)
{
    const struct ring_meter *meter = ring_meter(ring, i);
    uint64_t limit_ns = 0;
    int r = output.pipes[i] < 0 ? -EBADF : -EAGAIN;
    for (uint32_t n = 0; r == -EAGAIN; n++) {
        r = ring_meter_look(meter, output.pipes[i], ret);
        if (r != -EAGAIN || n < LOOKS_AT_ONCE) {
            continue;
        }
        uint64_t now_ns = clock_now_ns();
        limit_ns = limit_ns == 0 ? now_ns + LOOK_LIMIT_NS : limit_ns;
        if (now_ns >= limit_ns) {
            return false;
        }
        sched_yield();
    }
    if (r != 0) {
        output.pipes[i] = -1; /* the body has closed all that it found open */
    }
    return r == 0;
}

void output_begin(const struct ring_channel *ring)
{
    for (uint32_t i = 0; i < RING_METERS; i++) {
        (void)look(ring, i, &output.ends[i]);
    }
}

void output_end(const struct ring_channel *ring, uint64_t ret_ends[RING_METERS])
{
    if (__fpending(stdout) != 0) {
        (void)fflush(stdout);
    }
    for (uint32_t i = 0; i < RING_METERS; i++) {
        uint64_t total;
        ret_ends[i] = 0;
        if (look(ring, i, &total) && total != output.ends[i]) {
            output.ends[i] = total;
            ret_ends[i] = total;
        }
    }
}
