/* many N [NAME]: N small tasks, as a job called NAME; their results must add up. */
#include <drt/drt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

DRT_TASK(square, call, DRT_I64)
{
    int64_t x = drt_arg_i64(call, 0);
    return drt_return(call, drt_i64(x * x));
}

int main(int argc, char **argv)
{
    drt_check(drt_init(DRT_CONFIG(.job_name = argc > 2 ? argv[2] : NULL)));
    int64_t n = argc > 1 ? strtoll(argv[1], NULL, 10) : 1000, sum = 0, expected = 0;
    struct drt_ref *refs = calloc((size_t)n, sizeof *refs);

    if (refs == NULL) {
        return 1;
    }
    for (int64_t i = 0; i < n; i++) {
        refs[i] = drt_submit(square, drt_i64(i % 1000));
        expected += i % 1000 * (i % 1000);
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t value;
        drt_check(drt_get_i64(refs[i], &value));
        sum += value;
        drt_release(&refs[i]);
    }
    printf("%s %" PRId64 "\n", sum == expected ? "right" : "wrong", sum);
    free(refs);
    drt_shutdown();
    return sum != expected;
}
