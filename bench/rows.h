/*
 * The rows of the bench: what each measures and how. A row runs once for each call; the caller
 * repeats and takes medians.
 */
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include "bench/private_cluster.h"

struct bench {
    struct private_cluster cluster;
    bool is_up;     /* the cluster, with one node of `cpus` */
    bool has_far;   /* and with a second one, where the tasks of all drivers run */
    bool wants_far; /* the row that runs does */
    bool tiny;      /* only whether it works */
    double seconds; /* of one measurement */
    unsigned cpus;
};

/* p50 as a multiple of ZeroMQ's round trip, which was measured right before and after. */
#define FIGURE_TIMES_ZMQ "times_zmq"

enum row_figure { ROW_PER_SECOND, ROW_P50_US, ROW_EXTRA };

struct row {
    const char *name;
    int (*run)(struct bench *b, struct figures *ret); /* 0, or negative: see cluster.why */
    const char *floor;                                /* the row that bounds it; NULL: none */
    enum row_figure by; /* what is compared with the floor, and with the line */
    const char *extra;  /* ROW_EXTRA: its name */
    double line;        /* the aim; 0: none. A rate is to be above it, all else below */
    bool slow;          /* only with --slow */
    bool is_bare;       /* needs no cluster */
    bool far;           /* its tasks run on a second node */
};

/* Each ends with a NULL name. */
extern const struct row rows_floors[], rows_tasks[], rows_far[], rows_system[];

/* Brings the cluster that the row wants up unless it is. */
int bench_up(struct bench *b) MUST_CHECK;
int bench_down(struct bench *b) MUST_CHECK;

/* What rows of both kinds run. */
int row_sync(struct bench *b, struct figures *ret) MUST_CHECK;
int row_async(struct bench *b, struct figures *ret) MUST_CHECK;
int row_multi_client(struct bench *b, struct figures *ret) MUST_CHECK;
int row_chain(struct bench *b, struct figures *ret) MUST_CHECK;

#endif
