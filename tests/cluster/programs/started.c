/*
 * started: whether a program works that was started in an odd way, and whether its workers have
 * what they should of it. DRT_TEST_RESULT (a path) gets a line for each thing that is wrong, and
 * "done".
 */
#include <drt/drt.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int result = -1;

static void wrong(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vdprintf(result, format, args);
    va_end(args);
    (void)!write(result, "\n", 1);
}

/* ---- what a process has of its starter ---- */

/* Of no order; without what drt itself sets or reads. */
static int64_t environment(void)
{
    static const char *const ours[] = {
        "DRT_MODE=",     "DRT_DIR=",       "DRT_CLUSTER=",    "DRT_NODE=",
        "DRT_KEY_FILE=", "DRT_LOGS=",      "DRT_LOG=",        "DRT_BINDIR=",
        "DRT_WORKER=",   "DRT_WORKER_FD=", "DRT_WORKER_NODE="};
    uint64_t sum = 0;
    for (char **at = environ; *at != NULL; at++) {
        uint64_t hash = 1469598103934665603u;
        int skip = 0;
        for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
            skip |= strncmp(*at, ours[i], strlen(ours[i])) == 0;
        }
        for (const char *c = *at; !skip && *c != '\0'; c++) {
            hash = (hash ^ (unsigned char)*c) * 1099511628211u;
        }
        sum += skip ? 0 : hash;
    }
    return (int64_t)sum;
}

static int64_t directory(void)
{
    struct stat st;
    return stat(".", &st) == 0 ? (int64_t)st.st_ino : -1;
}

static int64_t mask(void)
{
    mode_t now = umask(0);
    umask(now);
    return now;
}

/* How many signals are blocked or ignored. */
static int64_t held_signals(void)
{
    sigset_t blocked;
    struct sigaction action;
    int64_t count = 0;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    for (int number = 1; number < 32; number++) {
        count += sigismember(&blocked, number) == 1;
        count += sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
    }
    return count;
}

/* ---- tasks ---- */

DRT_TASK(add, call, DRT_I64)
{
    printf("a line that a body prints\n");
    return drt_return(call, drt_i64(1 + drt_arg_i64(call, 0)));
}
DRT_TASK(crash, call)
{
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
    return drt_return(call, drt_nothing());
}
DRT_TASK(leave, call)
{
    _exit(7);
    return drt_return(call, drt_nothing());
}
DRT_TASK(shell, call)
{
    char *argv[] = {"sh", "-c", "exit 3", NULL};
    pid_t pid = 0;
    int status = -1;
    if (posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ) != 0 ||
        waitpid(pid, &status, 0) != pid) {
        return drt_fail(call, 1, "waitpid: %s", strerror(errno));
    }
    return drt_return(call, drt_i64(status));
}
DRT_TASK(get_environment, call)
{
    return drt_return(call, drt_i64(environment()));
}
DRT_TASK(get_directory, call)
{
    return drt_return(call, drt_i64(directory()));
}
DRT_TASK(get_mask, call)
{
    return drt_return(call, drt_i64(mask()));
}
DRT_TASK(get_held_signals, call)
{
    return drt_return(call, drt_i64(held_signals()));
}

static void expect(const char *what, struct drt_ref ref, int64_t wanted)
{
    int64_t value = 0;
    int rc = drt_get_i64(ref, &value);
    if (rc != 0) {
        wrong("%s: %s: %s", what, drt_code_name(rc), drt_last_error());
    } else if (value != wanted) {
        wrong("%s: %lld instead of %lld", what, (long long)value, (long long)wanted);
    }
}

static void try_ends(void)
{
    struct drt_error e;
    int rc = drt_error_of(drt_submit(crash, DRT_WITH(.max_attempts = 1)), &e);
    if (rc != DRT_E_CRASHED || e.signal != SIGSEGV) {
        wrong("crash: %s, signal %d, exit code %d", drt_code_name(rc), e.signal, e.exit_code);
    }
    rc = drt_error_of(drt_submit(leave, DRT_WITH(.max_attempts = 1)), &e);
    if (rc != DRT_E_EXITED || e.exit_code != 7) {
        wrong("leave: %s, signal %d, exit code %d", drt_code_name(rc), e.signal, e.exit_code);
    }
    expect("shell", drt_submit(shell), 0x300);
    expect("signals of a worker", drt_submit(get_held_signals), 0);
}

/* As a program does that knows of none but its own. A cluster that is private to it is none of
 * them: this ends. */
static void wait_for_all_children(void)
{
    int count = 0, status;
    pid_t child = fork();
    if (child == 0) {
        _exit(5);
    }
    for (pid_t pid = wait(&status); pid > 0; pid = wait(&status)) {
        count++;
        if (pid != child) {
            wrong("process %d is a child of this program", (int)pid);
        }
    }
    if (count > 1) {
        wrong("%d children ended", count);
    }
}

int main(void)
{
    const char *path = getenv("DRT_TEST_RESULT"), *mode = getenv("DRT_MODE");
    int64_t held = held_signals();
    int rc = drt_init(NULL);
    int fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    result = fcntl(fd, F_DUPFD_CLOEXEC, 700);
    result = result < 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : result;
    close(fd); /* it may have the number of a standard descriptor */
    if (rc != 0) {
        wrong("drt_init: %s: %s", drt_code_name(rc), drt_last_error());
        return 9;
    }
    for (int i = 0; i < 40; i++) {
        expect("add", drt_submit(add, drt_i64(i)), i + 1);
        printf("a line that the driver prints\n");
        fflush(stdout);
    }
    wait_for_all_children();
    if (mode == NULL || strcmp(mode, "sync") != 0) {
        try_ends();
    }
    expect("environment", drt_submit(get_environment), environment());
    expect("directory", drt_submit(get_directory), directory());
    expect("umask", drt_submit(get_mask), mask());
    if (held_signals() != held) {
        wrong("drt_init changed this program's own signals");
    }
    drt_shutdown();
    wrong("done");
    return 0;
}
