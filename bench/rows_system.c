#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/floors.h"
#include "bench/rows.h"
#include "common/clock.h"

/* ---- the bare channels ---- */

#define FLOOR_ROW(function)                                                                        \
    static int row_##function(struct bench *b, struct figures *ret)                                \
    {                                                                                              \
        return function(b->seconds, ret);                                                          \
    }
FLOOR_ROW(floor_relay_sync)
FLOOR_ROW(floor_relay_bursts)
FLOOR_ROW(floor_hand_over)
FLOOR_ROW(floor_memcpy)
FLOOR_ROW(floor_zmq_round_trip)
FLOOR_ROW(floor_zmq_one_way)

const struct row rows_floors[] = {
    {.name = "floor: relay through rings, sync", .run = row_floor_relay_sync, .is_bare = true},
    {.name = "floor: relay through rings, bursts of 1,000",
     .run = row_floor_relay_bursts,
     .is_bare = true},
    {.name = "floor: four hand-overs with sched_yield",
     .run = row_floor_hand_over,
     .is_bare = true},
    {.name = "floor: memcpy into shared memory", .run = row_floor_memcpy, .is_bare = true},
    {.name = "floor: ZeroMQ round trip, tcp", .run = row_floor_zmq_round_trip, .is_bare = true},
    {.name = "floor: ZeroMQ one way, tcp", .run = row_floor_zmq_one_way, .is_bare = true},
    {0},
};

/* ---- starting ---- */

static double ms_since(uint64_t begin_ns)
{
    return (double)(clock_now_ns() - begin_ns) * 1e-6;
}

/* A small write and its fsync in the cluster's directory: what no durable start can avoid. */
static double fsync_ms(const struct bench *b)
{
    double took[9];
    char path[320], block[4096] = "";

    snprintf(path, sizeof path, "%s/fsync", b->cluster.dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    for (size_t i = 0; i < ARRAY_SIZE(took); i++) {
        uint64_t begin = clock_now_ns();
        if (fd < 0 || write(fd, block, sizeof block) < 0 || fsync(fd) < 0) {
            took[i] = NAN;
        } else {
            took[i] = ms_since(begin);
        }
    }
    close_fd(&fd);
    return quantile(took, ARRAY_SIZE(took), 0.5);
}

static int timed_head(struct bench *b, double *ret_ms)
{
    uint64_t begin = clock_now_ns();
    int rc = private_cluster_start_head(&b->cluster);
    *ret_ms = ms_since(begin);
    return rc;
}

static int timed_join(struct bench *b, double *ret_ms)
{
    uint64_t begin = clock_now_ns();
    int rc = private_cluster_join(&b->cluster, "bench", b->cpus);
    *ret_ms = ms_since(begin);
    return rc;
}

/* The first start of a new directory, then a later one. */
static int both_starts(struct bench *b, double head_ms[2], double join_ms[2])
{
    int rc = bench_up(b);

    if (rc == 0) {
        rc = bench_down(b);
    }
    if (rc == 0) {
        private_cluster_fini(&b->cluster);
        rc = private_cluster_make(&b->cluster);
    }
    for (int i = 0; rc == 0 && i < 2; i++) {
        rc = timed_head(b, &head_ms[i]);
        if (rc == 0) {
            rc = timed_join(b, &join_ms[i]);
        }
        if (rc == 0) {
            rc = private_cluster_stop_all(&b->cluster);
        }
    }
    return rc;
}

static int row_starts(struct bench *b, struct figures *ret)
{
    double head_ms[2] = {NAN, NAN}, join_ms[2] = {NAN, NAN};
    int rc = both_starts(b, head_ms, join_ms);

    figures_set(ret, "head_first_ms", head_ms[0]);
    figures_set(ret, "head_later_ms", head_ms[1]);
    figures_set(ret, "join_first_ms", join_ms[0]);
    figures_set(ret, "join_later_ms", join_ms[1]);
    figures_set(ret, "slower_later_ms", fmax(head_ms[1], join_ms[1]));
    figures_set(ret, "fsync_ms", fsync_ms(b));
    return rc;
}

static int row_status(struct bench *b, struct figures *ret)
{
    char *argv[] = {b->cluster.cli, "status", NULL};
    double took[9];
    int rc = bench_up(b);

    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(took); i++) {
        uint64_t begin = clock_now_ns();
        struct buffer out = {0};
        rc = process_run(argv, 30, &out);
        took[i] = ms_since(begin);
        if (rc != 0) {
            snprintf(b->cluster.why, sizeof b->cluster.why, "drt status failed: %.300s",
                     buffer_text(&out));
            rc = -EIO;
        }
        buffer_fini(&out);
    }
    if (rc == 0) {
        figures_set(ret, "status_ms", quantile(took, ARRAY_SIZE(took), 0.5));
    }
    return rc;
}

static int row_init(struct bench *b, struct figures *ret)
{
    const char *words[] = {"none", "warm=0", NULL};
    struct process driver;
    int rc = bench_up(b);

    if (rc == 0) {
        rc = private_cluster_driver(&b->cluster, words, false, &driver);
    }
    return rc < 0 ? rc : private_cluster_driver_end(&b->cluster, &driver, 30, ret);
}

/* ---- what it costs to be there ---- */

static int idle_driver(struct bench *b, size_t tasks, struct process *ret)
{
    char count[32];
    const char *words[] = {"idle", "warm=0", count, NULL};

    snprintf(count, sizeof count, "count=%zu", tasks);
    int rc = private_cluster_driver(&b->cluster, words, true, ret);
    return rc;
}

static int one_memory(struct bench *b, pid_t pid, const char *name, struct figures *ret)
{
    struct memory memory;
    char key[32];
    int rc = pid == 0 ? -ESRCH : process_memory(pid, &memory);

    if (rc < 0) {
        snprintf(b->cluster.why, sizeof b->cluster.why, "the %s is gone", name);
        return rc;
    }
    snprintf(key, sizeof key, "%s_mb", name);
    figures_set(ret, key, (double)memory.private_bytes * 1e-6);
    snprintf(key, sizeof key, "%s_rings_mb", name);
    figures_set(ret, key, (double)memory.ring_bytes * 1e-6);
    return 0;
}

/* A child of the raylet that has a ring. 0 if there is none. */
static pid_t find_worker(pid_t raylet)
{
    pid_t children[16];
    size_t count = processes_children(raylet, children, ARRAY_SIZE(children));

    for (size_t i = 0; i < count; i++) {
        struct memory memory;
        if (process_memory(children[i], &memory) == 0 && memory.ring_bytes > 0) {
            return children[i];
        }
    }
    return 0;
}

static int row_memory(struct bench *b, struct figures *ret)
{
    struct process driver = {0, -1};
    pid_t head = 0, raylet = 0;
    int rc = bench_up(b);

    if (rc == 0) {
        rc = bench_down(b); /* what former rows left behind is not this row's */
    }
    if (rc == 0) {
        rc = bench_up(b);
    }
    if (rc == 0) {
        private_cluster_board_clear(&b->cluster);
        rc = idle_driver(b, b->tiny ? 100 : 10000, &driver);
    }
    if (rc == 0) {
        board_await(&b->cluster.board->ready, 1, 60);
        nanosleep(&(struct timespec){b->tiny ? 0 : 1, 1000}, NULL);
        (void)private_cluster_heads(&b->cluster, &head, 1);
        (void)private_cluster_raylets(&b->cluster, &raylet, 1);
        rc = one_memory(b, head, "head", ret);
    }
    if (rc == 0) {
        rc = one_memory(b, raylet, "raylet", ret);
    }
    if (rc == 0) {
        rc = one_memory(b, find_worker(raylet), "worker", ret);
    }
    if (rc == 0) {
        atomic_store(&b->cluster.board->proceed, 1);
        rc = private_cluster_driver_end(&b->cluster, &driver, 30, ret);
    }
    process_kill(&driver);
    return rc;
}

static double daemons_cpu_s(const struct bench *b)
{
    pid_t pids[16];
    size_t count = private_cluster_heads(&b->cluster, pids, 4);
    double sum = 0;

    count += private_cluster_raylets(&b->cluster, pids + count, 8);
    for (size_t i = 0; i < count; i++) {
        sum += process_cpu_s(pids[i]);
    }
    return sum;
}

/* A head and three raylets with two workers each, kept by three sleeping drivers. */
static int row_idle_cpu(struct bench *b, struct figures *ret)
{
    static const char *const names[] = {"bench", "bench-2", "bench-3"};
    struct process drivers[3] = {{0, -1}, {0, -1}, {0, -1}};
    int rc = bench_up(b);

    for (size_t i = 1; rc == 0 && i < ARRAY_SIZE(names); i++) {
        rc = private_cluster_join(&b->cluster, names[i], 2);
    }
    if (rc == 0) {
        private_cluster_board_clear(&b->cluster);
    }
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(names); i++) {
        setenv("DRT_NODE", names[i], 1);
        rc = idle_driver(b, 1000, &drivers[i]);
    }
    unsetenv("DRT_NODE");
    if (rc == 0) {
        double span_s = b->tiny ? 0.05 : 60;
        board_await(&b->cluster.board->ready, 3, 60);
        nanosleep(&(struct timespec){b->tiny ? 0 : 2, 1000}, NULL);
        uint64_t begin = clock_now_ns();
        double before = daemons_cpu_s(b);
        nanosleep(&(struct timespec){(time_t)span_s, (long)(fmod(span_s, 1) * 1e9)}, NULL);
        double used = daemons_cpu_s(b) - before;
        figures_set(ret, "cpu_percent", used / (ms_since(begin) * 1e-3) * 100);
        atomic_store(&b->cluster.board->proceed, 1);
    }
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (rc == 0) {
            struct figures ignored;
            figures_init(&ignored);
            rc = private_cluster_driver_end(&b->cluster, &drivers[i], 30, &ignored);
        }
        process_kill(&drivers[i]);
    }
    return rc < 0 ? rc : bench_down(b);
}

const struct row rows_system[] = {
    {.name = "drt-head start and drt-node join",
     .run = row_starts,
     .by = ROW_EXTRA,
     .extra = "slower_later_ms",
     .line = 100},
    {.name = "drt status", .run = row_status, .by = ROW_EXTRA, .extra = "status_ms", .line = 20},
    {.name = "drt_init", .run = row_init, .by = ROW_EXTRA, .extra = "init_ms"},
    {.name = "memory of head, raylet, idle worker",
     .run = row_memory,
     .by = ROW_EXTRA,
     .extra = "worker_mb",
     .line = 1},
    {.name = "CPU of an idle cluster",
     .run = row_idle_cpu,
     .by = ROW_EXTRA,
     .extra = "cpu_percent",
     .line = 0.5,
     .slow = true},
    {0},
};
