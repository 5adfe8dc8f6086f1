/* chatter MIB: a task that writes MIB mebibytes of numbered lines of 64 bytes. */
#include <drt/drt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

DRT_TASK(chatter, call, DRT_I64)
{
    int64_t lines = drt_arg_i64(call, 0) * ((1 << 20) / 64);
    for (int64_t i = 0; i < lines; i++) {
        printf("%063" PRId64 "\n", i);
    }
    fflush(stdout);
    return drt_return(call, drt_i64(lines));
}

int main(int argc, char **argv)
{
    drt_init_or_exit();
    int64_t lines;
    drt_check(drt_get_i64(drt_submit(chatter, drt_i64(argc > 1 ? strtoll(argv[1], NULL, 10) : 1)),
                          &lines));
    printf("%" PRId64 "\n", lines);
    drt_shutdown();
    return 0;
}
