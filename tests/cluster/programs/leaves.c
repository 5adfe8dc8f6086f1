/* leaves COUNT: submits COUNT tasks that take a minute each, and shuts down at once. */
#include <drt/drt.h>
#include <stdlib.h>
#include <unistd.h>

DRT_TASK(linger, call)
{
    for (int i = 0; i < 6000 && !drt_cancelled(call); i++) {
        usleep(10000);
    }
    return drt_return(call, drt_nothing());
}

int main(int argc, char **argv)
{
    drt_init_or_exit();
    long count = argc > 1 ? strtol(argv[1], NULL, 10) : 1;
    for (long i = 0; i < count; i++) {
        (void)drt_submit(linger);
    }
    drt_shutdown();
    return 0;
}
