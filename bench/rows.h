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
    bool tiny;      /* only whether it works */
    double seconds; /* of one measurement */
    unsigned cpus;
};

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
};

extern const struct row rows_floors[], rows_tasks[], rows_system[]; /* each ends with a NULL name */

/* Brings the cluster up unless it is. */
int bench_up(struct bench *b) MUST_CHECK;
int bench_down(struct bench *b) MUST_CHECK;

#endif
