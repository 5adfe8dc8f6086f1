#include <math.h>

#include "bench/floors.h"
#include "bench/rows.h"

/* ZeroMQ's round trip before and after it, so that what else this machine does tells on both. */
static int beside_zmq(struct bench *b, int (*row)(struct bench *, struct figures *),
                      struct figures *ret)
{
    struct figures before, after;
    int rc = bench_up(b);

    figures_init(&before);
    figures_init(&after);
    if (rc == 0) {
        rc = floor_zmq_round_trip(b->seconds / 2, &before);
    }
    if (rc == 0) {
        rc = row(b, ret);
    }
    if (rc == 0) {
        rc = floor_zmq_round_trip(b->seconds / 2, &after);
    }
    if (rc == 0) {
        double zmq_us = (before.p50_us + after.p50_us) / 2;
        figures_set(ret, "zmq_p50_us", zmq_us);
        figures_set(ret, FIGURE_TIMES_ZMQ, ret->p50_us / zmq_us);
    }
    return rc;
}

static int row_far_sync(struct bench *b, struct figures *ret)
{
    return beside_zmq(b, row_sync, ret);
}

/* The loop is there for both. */
static int row_far_sync_beside_one(struct bench *b, struct figures *ret)
{
    struct process busy = {0, -1};
    int rc = bench_up(b);

    if (rc == 0) {
        rc = process_busy_loop(&busy);
    }
    if (rc == 0) {
        rc = beside_zmq(b, row_sync, ret);
    }
    process_kill(&busy);
    return rc;
}

static int row_far_chain(struct bench *b, struct figures *ret)
{
    return beside_zmq(b, row_chain, ret);
}

const struct row rows_far[] = {
    {.name = "tasks on another node sync",
     .run = row_far_sync,
     .by = ROW_EXTRA,
     .extra = FIGURE_TIMES_ZMQ,
     .line = 2.5,
     .far = true},
    {.name = "tasks on another node sync beside one busy loop",
     .run = row_far_sync_beside_one,
     .by = ROW_EXTRA,
     .extra = FIGURE_TIMES_ZMQ,
     .far = true},
    {.name = "tasks on another node async",
     .run = row_async,
     .floor = "floor: ZeroMQ one way, tcp",
     .line = 150000,
     .far = true},
    {.name = "multi client tasks on another node async",
     .run = row_multi_client,
     .floor = "floor: ZeroMQ one way, tcp",
     .far = true},
    {.name = "chain of 10,000 tasks on another node, a link",
     .run = row_far_chain,
     .by = ROW_EXTRA,
     .extra = FIGURE_TIMES_ZMQ,
     .far = true},
    {0},
};
