/*
 * A graph of tasks that need one another's results:
 *
 *             /-> smooth -> describe -\
 *     load ->+                         +-> join
 *             \-> smooth -> describe -/
 *
 * All are submitted at once. Each starts when the values behind its references exist; only the last
 * result comes back here. (A value is at most 1 MiB.)
 */
#include <drt/drt.h>

#include <stdio.h>

enum { SAMPLES = 50000 };

struct stats {
    double mean, low, high;
    uint64_t count;
};

/* Two results: the two halves of what was measured. */
DRT_TASK(load, call, DRT_I64)
{
    size_t half = (size_t)drt_arg_i64(call, 0) / 2;

    for (size_t part = 0; part < 2; part++) {
        double *samples = DRT_RETURN_ARRAY(call, part, double, half);
        for (size_t i = 0; samples != NULL && i < half; i++) {
            samples[i] = (double)((part * half + i) * 7919 % 1000); /* where it will be read */
        }
    }
    return 0;
}

DRT_TASK(smooth, call, DRT_RECORDS, DRT_I64)
{
    size_t n, width = (size_t)drt_arg_i64(call, 1);
    const double *in = DRT_ARG_ARRAY(call, 0, double, &n);
    double *out = DRT_RETURN_ARRAY(call, 0, double, n);
    double sum = 0;

    for (size_t i = 0; out != NULL && i < n; i++) {
        sum += in[i] - (i >= width ? in[i - width] : 0);
        out[i] = sum / (double)(i < width ? i + 1 : width);
    }
    return 0;
}

DRT_TASK(describe, call, DRT_RECORDS)
{
    size_t n;
    const double *samples = DRT_ARG_ARRAY(call, 0, double, &n);
    struct stats stats = {0, 1e300, -1e300, n};

    for (size_t i = 0; i < n; i++) {
        stats.mean += samples[i] / (double)n;
        stats.low = samples[i] < stats.low ? samples[i] : stats.low;
        stats.high = samples[i] > stats.high ? samples[i] : stats.high;
    }
    return drt_return(call, DRT_RECORD(struct stats, &stats));
}

DRT_TASK(join, call, DRT_RECORDS, DRT_RECORDS)
{
    const struct stats *a = DRT_ARG_RECORD(call, 0, struct stats);
    const struct stats *b = DRT_ARG_RECORD(call, 1, struct stats);
    struct stats both = {
        .mean = (a->mean * (double)a->count + b->mean * (double)b->count) /
                (double)(a->count + b->count),
        .low = a->low < b->low ? a->low : b->low,
        .high = a->high > b->high ? a->high : b->high,
        .count = a->count + b->count,
    };

    return drt_return(call, DRT_RECORD(struct stats, &both));
}

int main(void)
{
    struct drt_ref halves[2], ends[2];
    struct stats all;

    drt_init_or_exit();
    DRT_SCOPE /* what is received in here is released at its end */
    {
        drt_submit_into(halves, 2, load, drt_i64(SAMPLES), DRT_WITH(.name = "load samples"));
        for (int i = 0; i < 2; i++) {
            /* drt_give: the hold goes along, so a list is freed as soon as its last task is done */
            struct drt_ref calm = drt_submit(smooth, drt_give(&halves[i]), drt_i64(5));
            ends[i] = drt_submit(describe, drt_give(&calm), DRT_WITH(.priority = 1));
        }
        struct drt_ref joined = drt_submit(join, drt_of(ends[0]), drt_of(ends[1]));

        drt_check(DRT_GET_RECORD(joined, struct stats, &all));
        printf("%d samples, mean %.2f, from %.1f to %.1f\n", (int)all.count, all.mean, all.low,
               all.high);
    }
    drt_shutdown();
    return 0;
}
