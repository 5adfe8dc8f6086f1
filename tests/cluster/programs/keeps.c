/* keeps DIR: submits tasks that wait for DIR/go, one after another, until one of them fails; prints
 * how it ended, and what a further submit says. */
#include <drt/drt.h>
#include <stdio.h>
#include <unistd.h>

DRT_TASK(keep, call, DRT_STR)
{
    while (access(drt_arg_str(call, 0), F_OK) != 0 && !drt_cancelled(call)) {
        usleep(5000);
    }
    return drt_return(call, drt_i64(1));
}

int main(int argc, char **argv)
{
    drt_init_or_exit();
    if (argc < 2) {
        return 2;
    }
    struct drt_ref refs[4];
    for (int i = 0; i < 4; i++) {
        refs[i] = drt_submit(keep, drt_str(argv[1]));
    }
    for (int i = 0; i < 4; i++) {
        int64_t value;
        int rc = drt_get_i64(refs[i], &value);
        printf("%d: %s\n", i, rc == 0 ? "done" : drt_code_name(rc));
    }
    int64_t value;
    int rc = drt_get_i64(drt_submit(keep, drt_str(argv[1])), &value);
    printf("later: %s\n", rc == 0 ? "done" : drt_code_name(rc));
    drt_shutdown();
    return 0;
}
