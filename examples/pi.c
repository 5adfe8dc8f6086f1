/*
 * pi by throwing darts at a square: each task throws its share and tells how many hit the circle.
 *
 *     pi [TASKS [DARTS]]
 */
#include <drt/drt.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A number in [0, 1), and the generator's next state. */
static double next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 40) / (1 << 24);
}

DRT_TASK(throw_darts, call, DRT_I64, DRT_I64)
{
    uint64_t random = (uint64_t)drt_arg_i64(call, 0) * 2654435761u + 1;
    int64_t darts = drt_arg_i64(call, 1), hits = 0;

    for (int64_t i = 0; i < darts; i++) {
        double x = next_random(&random), y = next_random(&random);
        hits += x * x + y * y < 1;
    }
    return drt_return(call, drt_i64(hits));
}

int main(int argc, char **argv)
{
    drt_init_or_exit(); /* first: in a worker process it does not return, it serves */

    int64_t tasks = argc > 1 ? strtoll(argv[1], NULL, 10) : 64;
    int64_t darts = argc > 2 ? strtoll(argv[2], NULL, 10) : 200000;
    if (tasks < 1 || tasks > 1000000 || darts < 1) {
        fprintf(stderr, "usage: pi [TASKS [DARTS]]   (up to a million tasks)\n");
        return 2;
    }

    struct drt_ref *parts = calloc((size_t)tasks, sizeof *parts);
    if (parts == NULL) {
        return 1;
    }
    for (int64_t i = 0; i < tasks; i++) {
        parts[i] = drt_submit(throw_darts, drt_i64(i), drt_i64(darts));
    }

    int64_t total = 0;
    for (int64_t i = 0; i < tasks; i++) {
        int64_t hits;
        drt_check(drt_get_i64(parts[i], &hits)); /* waits for this one; the others go on */
        drt_release(&parts[i]);
        total += hits;
    }
    printf("%" PRId64 " darts: pi is about %.4f\n", tasks * darts,
           4.0 * (double)total / ((double)tasks * (double)darts));
    free(parts);
    drt_shutdown();
    return 0;
}
