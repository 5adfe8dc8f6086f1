/*
 * forks FILE: a task that starts a child, which starts another; both would run for ever, in groups
 * of their own. Their process ids are written to FILE.
 */
#include <drt/drt.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

static void stay(int out, int told, bool again)
{
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        if (again) {
            stay(out, told, false);
        }
        dprintf(out, "%d\n", (int)getpid());
        close(out);
        close(told);
        for (;;) {
            pause();
        }
    }
}

DRT_TASK(leave_children, call, DRT_STR)
{
    FILE *f = fopen(drt_arg_str(call, 0), "we");
    if (f == NULL) {
        return drt_fail(call, 1, "cannot write");
    }
    int ends[2];
    char byte;
    if (pipe(ends) < 0) {
        return drt_fail(call, 1, "no pipe");
    }
    stay(fileno(f), ends[1], true);
    close(ends[1]);
    if (read(ends[0], &byte, 1) != 0) { /* both have written when both have closed it */
        return drt_fail(call, 1, "a child wrote into the pipe");
    }
    close(ends[0]);
    fclose(f);
    return drt_return(call, drt_nothing());
}

int main(int argc, char **argv)
{
    drt_init_or_exit();
    if (argc < 2) {
        return 2;
    }
    drt_check(drt_get_nothing(drt_submit(leave_children, drt_str(argv[1]))));
    drt_shutdown();
    return 0;
}
