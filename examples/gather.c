/*
 * Three ways to run many things and wait for all: different functions at once, one function over
 * many items, and one function over the rows of a table. And whatever ends first, first.
 */
#include <drt/drt.h>

#include <stdio.h>

DRT_TASK(primes_below, call, DRT_I64)
{
    int64_t n = drt_arg_i64(call, 0), found = 0;

    for (int64_t i = 2; i < n; i++) {
        int64_t d = 2;
        while (d * d <= i && i % d != 0) {
            d++;
        }
        found += d * d > i;
    }
    return drt_return(call, drt_i64(found));
}

/* Of 4 / (1 + x²), which is pi from 0 to 1. */
DRT_TASK(integral, call, DRT_F64, DRT_F64)
{
    enum { STEPS = 10000 };
    double from = drt_arg_f64(call, 0), step = (drt_arg_f64(call, 1) - from) / STEPS, sum = 0;

    for (int i = 0; i < STEPS; i++) {
        double x = from + (i + 0.5) * step;
        sum += 4 / (1 + x * x) * step;
    }
    return drt_return(call, drt_f64(sum));
}

DRT_TASK(greet, call, DRT_STR)
{
    char text[64];

    snprintf(text, sizeof text, "hello, %s", drt_arg_str(call, 0));
    return drt_return(call, drt_str(text));
}

static void different_functions(void)
{
    const struct drt_work work[] = {
        DRT_WORK(primes_below, drt_i64(20000)),
        DRT_WORK(integral, drt_f64(0), drt_f64(1)),
        DRT_WORK(greet, drt_str("world"), DRT_WITH(.priority = 5)),
    };
    struct drt_ref results[3];
    int64_t primes;
    double area;
    const char *greeting;

    drt_check(drt_scatter_gather(work, 3, results, NULL)); /* returns when all three are there */
    drt_check(drt_get_i64(results[0], &primes));
    drt_check(drt_get_f64(results[1], &area));
    drt_check(drt_get_str(results[2], &greeting));
    printf("scatter: %d primes, integral %.3f, %s\n", (int)primes, area, greeting);
    drt_release_all(results, 3);
}

static void one_function_over_items(void)
{
    enum { ITEMS = 20 };
    struct drt_value items[ITEMS];
    struct drt_ref counts[ITEMS];
    int64_t total = 0;
    size_t i;

    for (i = 0; i < ITEMS; i++) {
        items[i] = drt_i64(100 * (int64_t)i);
    }
    drt_check(drt_parallel_map(primes_below, items, ITEMS, counts, DRT_MAP_WITH(.max_running = 8)));
    while (drt_wait_any(counts, ITEMS, drt_forever(), &i) == 0) { /* DRT_E_DONE ends it */
        int64_t primes;
        drt_check(drt_get_i64(counts[i], &primes));
        drt_release(&counts[i]);
        total += primes;
    }
    printf("map: %d primes below 20 numbers\n", (int)total);
}

static void one_function_over_rows(void)
{
    enum { ROWS = 4 };
    struct drt_value table[ROWS][2];
    struct drt_ref parts[ROWS];
    double part, whole = 0;

    for (int i = 0; i < ROWS; i++) {
        table[i][0] = drt_f64((double)i / ROWS);
        table[i][1] = drt_f64((i + 1.0) / ROWS);
    }
    drt_check(drt_starmap(integral, table[0], 2, ROWS, parts, NULL));
    for (int i = 0; i < ROWS; i++) {
        drt_check(drt_get_f64(parts[i], &part));
        whole += part;
    }
    printf("starmap: integral %.3f in %d parts\n", whole, ROWS);
    drt_release_all(parts, ROWS);
}

int main(void)
{
    drt_init_or_exit();
    fprintf(stderr, "on %.0f CPUs%s\n", drt_total("CPU"),
            drt_is_distributed() ? "" : ", one after another in this process");
    different_functions();
    one_function_over_items();
    one_function_over_rows();
    drt_shutdown();
    return 0;
}
