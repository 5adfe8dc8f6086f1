/* breaks: a program whose workers crash before they can serve. */
#include <drt/drt.h>
#include <stdio.h>
#include <stdlib.h>

DRT_TASK(never, call)
{
    return drt_return(call, drt_nothing());
}

int main(void)
{
    /* Only a worker finds this variable. */
    if (getenv("DRT_WORKER_FD") != NULL) {
        fprintf(stderr, "breaks: no database here\n");
        abort();
    }
    drt_init_or_exit();
    struct drt_error e;
    int rc = drt_error_of(drt_submit(never), &e);
    printf("%s: %s\n", drt_code_name(rc), e.message);
    drt_shutdown();
    return 0;
}
