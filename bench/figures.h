/*
 * What a row's measurement gives, and medians of several. No I/O.
 */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include "common/base.h"

#define FIGURES_EXTRA 16

struct figure {
    char name[32]; /* with its unit: "driver_peak_mb" */
    double value;
};

/* NAN: not measured. */
struct figures {
    double per_second, p50_us, p99_us;
    struct figure extra[FIGURES_EXTRA];
    size_t extra_count;
};

void figures_init(struct figures *f);
/* "per_second", "p50_us" and "p99_us" go to their fields, the rest to `extra`. */
void figures_set(struct figures *f, const char *name, double value);
double figures_get(const struct figures *f, const char *name); /* NAN if absent */
/* The median of each figure by itself. count > 0. */
void figures_median(const struct figures *all, size_t count, struct figures *ret);

/* Sorts `values`; the value below which `share` of them lie. NAN if there are none. */
double quantile(double *values, size_t count, double share);

#endif
