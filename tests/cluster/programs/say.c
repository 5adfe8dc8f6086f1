/* say WORD...: a task for each word, which writes it to its standard output and error. */
#include <drt/drt.h>
#include <stdio.h>

DRT_TASK(say, call, DRT_STR)
{
    printf("out: %s\n", drt_arg_str(call, 0));
    fprintf(stderr, "err: %s\n", drt_arg_str(call, 0));
    fflush(stdout);
    return drt_return(call, drt_nothing());
}

int main(int argc, char **argv)
{
    drt_init_or_exit();
    for (int i = 1; i < argc; i++) {
        struct drt_ref ref = drt_submit(say, drt_str(argv[i]));
        drt_check(drt_get_nothing(ref));
        drt_release(&ref);
    }
    drt_shutdown();
    return 0;
}
