#include "bench/figures.h"

#include <math.h>

#include "common/text.h"

void figures_init(struct figures *f)
{
    memset(f, 0, sizeof *f);
    f->per_second = f->p50_us = f->p99_us = NAN;
}

static double *field(struct figures *f, const char *name)
{
    if (strcmp(name, "per_second") == 0) {
        return &f->per_second;
    }
    if (strcmp(name, "p50_us") == 0) {
        return &f->p50_us;
    }
    if (strcmp(name, "p99_us") == 0) {
        return &f->p99_us;
    }
    for (size_t i = 0; i < f->extra_count; i++) {
        if (strcmp(f->extra[i].name, name) == 0) {
            return &f->extra[i].value;
        }
    }
    return NULL;
}

void figures_set(struct figures *f, const char *name, double value)
{
    double *at = field(f, name);

    if (at == NULL && f->extra_count < FIGURES_EXTRA) {
        text_copy(f->extra[f->extra_count].name, sizeof f->extra[0].name, name);
        at = &f->extra[f->extra_count++].value;
    }
    if (at != NULL) {
        *at = value;
    }
}

double figures_get(const struct figures *f, const char *name)
{
    const double *at = field((struct figures *)f, name);
    return at == NULL ? NAN : *at;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double quantile(double *values, size_t count, double share)
{
    if (count == 0) {
        return NAN;
    }
    qsort(values, count, sizeof *values, ascending);
    size_t at = (size_t)((double)count * share);
    return values[MIN_OF(at, count - 1)];
}

static double median_of(const struct figures *all, size_t count, const char *name)
{
    double *values = xcalloc(count, sizeof *values);
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        double value = figures_get(&all[i], name);
        if (!isnan(value)) {
            values[n++] = value;
        }
    }
    double median = quantile(values, n, 0.5);
    free(values);
    return median;
}

void figures_median(const struct figures *all, size_t count, struct figures *ret)
{
    static const char *const names[] = {"per_second", "p50_us", "p99_us"};

    figures_init(ret);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        figures_set(ret, names[i], median_of(all, count, names[i]));
    }
    for (size_t i = 0; i < all[count - 1].extra_count; i++) {
        const char *name = all[count - 1].extra[i].name;
        figures_set(ret, name, median_of(all, count, name));
    }
}
