/*
 * naps COUNT SHARE MS: that many tasks at once, each of which asks for this share of a CPU, sleeps
 * so long and returns its number. "right COUNT", or what went wrong first.
 */
#include <drt/drt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

DRT_TASK(nap, call, DRT_I64, DRT_I64)
{
    int64_t ms = drt_arg_i64(call, 1);
    struct timespec span = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&span, NULL);
    return drt_return(call, drt_i64(drt_arg_i64(call, 0)));
}

int main(int argc, char **argv)
{
    drt_init_or_exit();
    int count = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1, wrong = 0;
    double share = argc > 2 ? strtod(argv[2], NULL) : 0;
    int64_t ms = argc > 3 ? strtoll(argv[3], NULL, 10) : 1;
    struct drt_ref *refs = calloc((size_t)count, sizeof *refs);
    for (int i = 0; i < count; i++) {
        refs[i] = drt_submit(nap, drt_i64(i), drt_i64(ms), DRT_WITH(.num_cpus = share));
    }
    for (int i = 0; i < count; i++) {
        int64_t value = -1;
        int rc = drt_get_i64(refs[i], &value);
        if ((rc != 0 || value != i) && wrong++ == 0) {
            printf("task %d: %s %s\n", i, drt_code_name(rc), rc != 0 ? drt_last_error() : "wrong");
        }
    }
    if (wrong == 0) {
        printf("right %d\n", count);
    }
    free(refs);
    drt_shutdown();
    return wrong != 0;
}
