/* nest DEPTH: a task that asks a task that asks a task ...; prints how deep it was. */
#include <drt/drt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

DRT_TASK(deeper, call, DRT_I64)
{
    int64_t left = drt_arg_i64(call, 0), below = 0;
    if (left > 1) {
        struct drt_ref ref = drt_submit(deeper, drt_i64(left - 1));
        if (drt_get_i64(ref, &below) != 0) {
            return drt_fail(call, 1, "%d above: %s", (int)left, drt_last_error());
        }
    }
    return drt_return(call, drt_i64(below + 1));
}

int main(int argc, char **argv)
{
    drt_init_or_exit();
    int64_t depth = argc > 1 ? strtoll(argv[1], NULL, 10) : 10, reached = 0;
    drt_check(drt_get_i64(drt_submit(deeper, drt_i64(depth)), &reached));
    printf("depth %" PRId64 "\n", reached);
    drt_shutdown();
    return reached != depth;
}
