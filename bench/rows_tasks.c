#include <math.h>
#include <stdio.h>

#include "bench/rows.h"

#include "common/clock.h"

#define DRIVER_LIMIT_S 180
#define CLIENTS        4

/* Runs one driver to its end. */
static int run_driver(struct bench *b, const char *const *words, struct figures *ret)
{
    struct process driver;
    int rc = bench_up(b);

    if (rc == 0) {
        rc = private_cluster_driver(&b->cluster, words, false, &driver);
    }
    return rc < 0 ? rc : private_cluster_driver_end(&b->cluster, &driver, DRIVER_LIMIT_S, ret);
}

static int run_for(struct bench *b, const char *operation, size_t count, struct figures *ret)
{
    char seconds[32], tasks[32];
    const char *words[] = {operation, seconds, tasks, NULL};

    snprintf(seconds, sizeof seconds, "seconds=%g", b->seconds);
    snprintf(tasks, sizeof tasks, "count=%zu", count);
    return run_driver(b, words, ret);
}

static int run_beside(struct bench *b, size_t loops, const char *operation, struct figures *ret)
{
    struct process busy[2] = {{0, -1}, {0, -1}};
    int rc = bench_up(b);

    for (size_t i = 0; rc == 0 && i < loops; i++) {
        rc = process_busy_loop(&busy[i]);
    }
    if (rc == 0) {
        rc = run_for(b, operation, b->tiny ? 100 : 1000, ret);
    }
    for (size_t i = 0; i < loops; i++) {
        process_kill(&busy[i]);
    }
    return rc;
}

int row_sync(struct bench *b, struct figures *ret)
{
    return run_for(b, "sync", 1, ret);
}

static int row_sync_beside_one(struct bench *b, struct figures *ret)
{
    return run_beside(b, 1, "sync", ret);
}

int row_async(struct bench *b, struct figures *ret)
{
    int rc = run_for(b, "async", b->tiny ? 100 : 1000, ret);
    ret->p50_us = ret->p99_us = NAN; /* they are a whole round's */
    return rc;
}

static int row_async_beside_two(struct bench *b, struct figures *ret)
{
    int rc = run_beside(b, 2, "async", ret);
    ret->p50_us = ret->p99_us = NAN;
    return rc;
}

static int row_batch(struct bench *b, struct figures *ret)
{
    int rc = run_for(b, "async", b->tiny ? 100 : 1000, ret);

    if (rc == 0) {
        figures_set(ret, "tasks_per_second", ret->per_second);
        ret->per_second /= b->tiny ? 100 : 1000; /* batches */
    }
    return rc;
}

static int row_wait(struct bench *b, struct figures *ret)
{
    return run_for(b, "wait", b->tiny ? 100 : 1000, ret);
}

static int row_get(struct bench *b, struct figures *ret)
{
    return run_for(b, "get", 1, ret);
}

static int row_put(struct bench *b, struct figures *ret)
{
    return run_for(b, "put", 1, ret);
}

static int row_multi_put(struct bench *b, struct figures *ret)
{
    return run_for(b, "multi_put", 1, ret);
}

int row_chain(struct bench *b, struct figures *ret)
{
    return run_for(b, "chain", b->tiny ? 100 : 10000, ret);
}

/* Four drivers that begin together. */
int row_multi_client(struct bench *b, struct figures *ret)
{
    char seconds[32], tasks[32];
    const char *words[] = {"async", seconds, tasks, NULL};
    struct process drivers[CLIENTS] = {{0, -1}, {0, -1}, {0, -1}, {0, -1}};
    double total = 0, begin = INFINITY, end = 0;
    int rc = bench_up(b);

    snprintf(seconds, sizeof seconds, "seconds=%g", b->tiny ? b->seconds : fmax(2, b->seconds));
    snprintf(tasks, sizeof tasks, "count=%d", b->tiny ? 100 : 10000);
    if (rc == 0) {
        private_cluster_board_clear(&b->cluster);
    }
    for (size_t i = 0; rc == 0 && i < CLIENTS; i++) {
        rc = private_cluster_driver(&b->cluster, words, true, &drivers[i]);
    }
    if (rc == 0) {
        board_await(&b->cluster.board->ready, CLIENTS, 60);
        atomic_store(&b->cluster.board->go, 1);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        struct figures one;
        figures_init(&one);
        if (rc == 0) {
            rc = private_cluster_driver_end(&b->cluster, &drivers[i], DRIVER_LIMIT_S, &one);
            total += figures_get(&one, "tasks");
            begin = fmin(begin, figures_get(&one, "begin"));
            end = fmax(end, figures_get(&one, "end"));
        }
        process_kill(&drivers[i]);
    }
    figures_set(ret, "per_second", total / (end - begin));
    return rc;
}

/* One client's latency while another has very many tasks queued. */
static int row_sync_beside_queue(struct bench *b, struct figures *ret)
{
    const char *flood_words[] = {"flood", b->tiny ? "count=1000" : "count=1000000", NULL};
    const char *sync_words[] = {"sync", NULL};
    struct process flood = {0, -1}, sync = {0, -1};
    struct figures ignored;
    int rc = bench_up(b);

    figures_init(&ignored);
    if (rc == 0) {
        private_cluster_board_clear(&b->cluster);
        rc = private_cluster_driver(&b->cluster, flood_words, true, &flood);
    }
    if (rc == 0) {
        rc = private_cluster_driver(&b->cluster, sync_words, true, &sync);
    }
    if (rc == 0) {
        board_await(&b->cluster.board->ready, 2, 60);
        atomic_store(&b->cluster.board->proceed, 2); /* the flood need not wait for anybody */
        atomic_store(&b->cluster.board->go, 1);
        rc = private_cluster_driver_end(&b->cluster, &sync, DRIVER_LIMIT_S, ret);
    }
    if (rc == 0) {
        rc = private_cluster_driver_end(&b->cluster, &flood, DRIVER_LIMIT_S, &ignored);
        figures_set(ret, "flood_total_s", figures_get(&ignored, "total_s"));
    }
    process_kill(&sync);
    process_kill(&flood);
    return rc;
}

struct peaks {
    pid_t driver, raylet;
    uint64_t driver_before, raylet_before;
    uint64_t driver_peak, raylet_peak, both_peak;
};

static void look(struct peaks *p)
{
    uint64_t driver = process_anon_bytes(p->driver), raylet = process_anon_bytes(p->raylet);

    p->driver_peak = MAX_OF(p->driver_peak, driver);
    p->raylet_peak = MAX_OF(p->raylet_peak, raylet);
    p->both_peak = MAX_OF(p->both_peak, driver + raylet);
}

/* Looks at the memory until the driver says that it got as far; false after a minute or two. */
static bool look_until(struct bench *b, struct peaks *p, uint32_t phase)
{
    uint64_t end_ns = clock_now_ns() + 120 * NS_PER_S;

    while (atomic_load(&b->cluster.board->phase) < phase) {
        look(p);
        nanosleep(&(struct timespec){0, 5000000}, NULL);
        if (clock_now_ns() > end_ns) {
            snprintf(b->cluster.why, sizeof b->cluster.why, "the tasks are not done in time");
            return false;
        }
    }
    look(p);
    return true;
}

static double mb(uint64_t bytes)
{
    return (double)bytes * 1e-6;
}

static int measure_flood(struct bench *b, struct peaks *p, struct figures *ret)
{
    struct board *board = b->cluster.board;

    board_await(&board->ready, 1, 60);
    p->driver_before = process_anon_bytes(p->driver);
    p->raylet_before = process_anon_bytes(p->raylet);
    atomic_store(&board->go, 1);
    if (!look_until(b, p, BOARD_DONE)) {
        return -ETIMEDOUT;
    }
    atomic_store(&board->proceed, 1);
    if (!look_until(b, p, BOARD_FREE)) {
        return -ETIMEDOUT;
    }
    nanosleep(&(struct timespec){b->tiny ? 0 : 5, 1000}, NULL);
    figures_set(ret, "both_peak_mb", mb(p->both_peak));
    figures_set(ret, "driver_peak_mb", mb(p->driver_peak));
    figures_set(ret, "raylet_peak_mb", mb(p->raylet_peak));
    figures_set(ret, "driver_left_mb", mb(process_anon_bytes(p->driver)) - mb(p->driver_before));
    figures_set(ret, "raylet_left_mb", mb(process_anon_bytes(p->raylet)) - mb(p->raylet_before));
    atomic_store(&board->proceed, 2);
    return 0;
}

static int row_million(struct bench *b, struct figures *ret)
{
    const char *words[] = {"flood", b->tiny ? "count=1000" : "count=1000000", NULL};
    struct process driver = {0, -1};
    struct peaks peaks = {0};
    int rc = bench_up(b);

    if (rc == 0 && private_cluster_raylets(&b->cluster, &peaks.raylet, 1) == 0) {
        snprintf(b->cluster.why, sizeof b->cluster.why, "the raylet is gone");
        rc = -ESRCH;
    }
    if (rc == 0) {
        private_cluster_board_clear(&b->cluster);
        rc = private_cluster_driver(&b->cluster, words, true, &driver);
    }
    if (rc == 0) {
        peaks.driver = driver.pid;
        rc = measure_flood(b, &peaks, ret);
    }
    if (rc == 0) {
        rc = private_cluster_driver_end(&b->cluster, &driver, DRIVER_LIMIT_S, ret);
    }
    process_kill(&driver);
    return rc;
}

/* On a node of its own with eight slots, however many CPUs there are. */
static int row_sleepers(struct bench *b, struct figures *ret)
{
    const char *words[] = {"sleepers", b->tiny ? "count=16" : "count=100",
                           b->tiny ? "sleep_ms=1" : "sleep_ms=10", NULL};
    int rc = bench_up(b);

    if (rc == 0) {
        rc = bench_down(b);
    }
    unsigned cpus = b->cpus;
    b->cpus = 8;
    if (rc == 0) {
        rc = run_driver(b, words, ret);
    }
    b->cpus = cpus;
    if (rc == 0) {
        rc = bench_down(b);
    }
    return rc;
}

const struct row rows_tasks[] = {
    {.name = "single client tasks sync",
     .run = row_sync,
     .floor = "floor: relay through rings, sync",
     .by = ROW_P50_US,
     .line = 8},
    {.name = "single client tasks async",
     .run = row_async,
     .floor = "floor: relay through rings, bursts of 1,000",
     .line = 800000},
    {.name = "multi client tasks async",
     .run = row_multi_client,
     .floor = "floor: relay through rings, bursts of 1,000",
     .line = 800000},
    {.name = "single client tasks async beside two busy loops",
     .run = row_async_beside_two,
     .floor = "floor: relay through rings, bursts of 1,000",
     .line = 200000},
    {.name = "single client tasks sync beside one busy loop",
     .run = row_sync_beside_one,
     .floor = "floor: relay through rings, sync",
     .by = ROW_P50_US,
     .line = 20},
    {.name = "single client tasks sync beside a million queued",
     .run = row_sync_beside_queue,
     .floor = "floor: relay through rings, sync",
     .by = ROW_P50_US,
     .line = 50},
    {.name = "tasks and get batch", .run = row_batch},
    {.name = "wait 1k refs", .run = row_wait},
    {.name = "single client get calls", .run = row_get},
    {.name = "single client put calls",
     .run = row_put,
     .floor = "floor: relay through rings, bursts of 1,000"},
    {.name = "multi client put calls", .run = row_multi_put},
    {.name = "1,000,000 tasks queued, then done",
     .run = row_million,
     .floor = "floor: relay through rings, bursts of 1,000",
     .by = ROW_EXTRA,
     .extra = "total_s",
     .line = 2},
    {.name = "chain of 10,000 tasks, a link",
     .run = row_chain,
     .floor = "floor: relay through rings, sync",
     .by = ROW_P50_US,
     .line = 5},
    {.name = "100 tasks of 10 ms on 8 slots",
     .run = row_sleepers,
     .by = ROW_EXTRA,
     .extra = "total_ms",
     .line = 140},
    {0},
};
