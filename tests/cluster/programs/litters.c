/*
 * litters FILE KEPT SECONDS: a task that starts KEPT processes which nobody would know by their
 * session, their environment or their name, and writes their numbers to FILE; then it makes
 * orphans that end at once, for so many seconds, and waits for ever.
 */
#include <drt/drt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static pid_t start_unknown(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        char *argv[] = {"sshd", "1000", NULL}, *envp[] = {NULL};
        (void)setsid();
        closefrom(0);
        execve("/bin/sleep", argv, envp);
        _exit(1);
    }
    return pid;
}

static void make_orphan(void)
{
    if (fork() == 0) {
        if (fork() == 0) {
            usleep(1000);
        }
        _exit(0);
    }
}

DRT_TASK(litter, call, DRT_STR, DRT_I64, DRT_I64)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.new", drt_arg_str(call, 0));
    FILE *file = fopen(path, "w");
    for (int64_t i = 0; i < drt_arg_i64(call, 1); i++) {
        fprintf(file, "%d\n", (int)start_unknown());
    }
    fclose(file);
    rename(path, drt_arg_str(call, 0));
    for (time_t end = time(NULL) + drt_arg_i64(call, 2); time(NULL) < end; usleep(2000)) {
        make_orphan();
    }
    while (!drt_cancelled(call)) {
        usleep(10000);
    }
    return drt_return(call, drt_nothing());
}

int main(int argc, char **argv)
{
    drt_init_or_exit();
    if (argc < 4) {
        return 2;
    }
    return drt_get_nothing(drt_submit(litter, drt_str(argv[1]), drt_i64(atoll(argv[2])),
                                      drt_i64(atoll(argv[3])), DRT_WITH(.max_attempts = 1))) != 0;
}
