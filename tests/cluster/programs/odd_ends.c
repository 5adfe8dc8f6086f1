/*
 * odd_ends WHAT: bodies that end, or are ended, otherwise than by their return.
 *
 *   exit-thread    a body calls pthread_exit, beside a thread that goes on for ever
 *
 *   cancel         a thread of a body cancels it: while it computes, while it waits in drt
 *
 *   exit           a body calls exit while threads of it wait in drt
 *
 *   exit-beside    a thread of a body calls exit while the body waits in drt
 *
 *   close-all      the program closes all that it did not open, then waits
 *
 *   close-all-and-open  the same, but files of its own get their numbers
 *
 *   program-exits  the program calls exit while threads of it wait in drt
 */
#include <drt/drt.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

DRT_TASK(stay, call)
{
    while (!drt_cancelled(call)) {
        pause();
    }
    return drt_return(call, drt_nothing());
}

DRT_TASK(plain, call, DRT_I64)
{
    return drt_return(call, drt_i64(drt_arg_i64(call, 0) + 1));
}

static void *stay_for_ever(void *arg)
{
    for (;;) {
        pause();
    }
    return arg;
}

static void *wait_in_drt(void *arg)
{
    (void)!drt_get_nothing(drt_submit(stay));
    return arg;
}

static void begin(void *(*fn)(void *), void *arg)
{
    pthread_t id;
    if (pthread_create(&id, NULL, fn, arg) != 0) {
        abort();
    }
}

DRT_TASK(exit_thread, call)
{
    begin(stay_for_ever, NULL);
    printf("it printed this before\n");
    pthread_exit(NULL);
    return drt_return(call, drt_nothing());
}

static void *cancel_it(void *arg)
{
    pthread_cancel(*(pthread_t *)arg);
    return NULL;
}

static pthread_t me;

DRT_TASK(cancelled, call, DRT_I64)
{
    me = pthread_self();
    begin(cancel_it, &me);
    if (drt_arg_i64(call, 0) == 0) {
        for (;;) {
            pause();
        }
    }
    return drt_get_nothing(drt_submit(stay));
}

DRT_TASK(exiting, call)
{
    begin(wait_in_drt, NULL);
    begin(wait_in_drt, NULL);
    exit(7);
    return drt_return(call, drt_nothing());
}

static void *exit_now(void *arg)
{
    exit(8);
    return arg;
}

DRT_TASK(exited, call)
{
    begin(exit_now, NULL);
    return drt_get_nothing(drt_submit(stay));
}

static void tell(const char *name, struct drt_ref ref)
{
    struct drt_error e;
    int64_t x = 0;
    int rc = drt_error_of(ref, &e);
    printf("%s: %s exit %d: %s\n", name, drt_code_name(rc), e.exit_code, e.message);
    rc = drt_get_i64(drt_submit(plain, drt_i64(1)), &x);
    printf("then: %s %d\n", drt_code_name(rc), (int)x);
}

/* Files of the program have the numbers that descriptors of drt had: they are left alone. */
static int close_and_open(void)
{
    FILE *files[40];
    struct drt_ref r = drt_submit(stay);
    int lost = 0;
    closefrom(3);
    for (int i = 0; i < 40; i++) {
        files[i] = tmpfile();
    }
    int rc = drt_get_nothing(r);
    printf("%s: %s\n", drt_code_name(rc), drt_last_error());
    for (int i = 0; i < 40; i++) {
        fprintf(files[i], "what the program wrote\n");
    }
    if (fork() == 0) { /* a child drops what it has of drt */
        for (int i = 0; i < 40; i++) {
            lost += fcntl(fileno(files[i]), F_GETFD) < 0;
        }
        _exit(lost);
    }
    wait(&lost);
    printf("the child lost %d files\n", WEXITSTATUS(lost));
    drt_shutdown();
    lost = 0;
    for (int i = 0; i < 40; i++) {
        lost += fclose(files[i]) != 0;
    }
    printf("the program lost %d files\n", lost);
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    const struct drt_options once = {.max_attempts = 1};
    drt_init_or_exit();
    if (strcmp(what, "exit-thread") == 0) {
        tell("exit-thread", drt_submit(exit_thread, drt_with(&once)));
    } else if (strcmp(what, "cancel") == 0) {
        tell("busy", drt_submit(cancelled, drt_i64(0), drt_with(&once)));
        tell("waiting", drt_submit(cancelled, drt_i64(1), drt_with(&once)));
    } else if (strcmp(what, "exit") == 0) {
        tell("exit", drt_submit(exiting, drt_with(&once)));
    } else if (strcmp(what, "exit-beside") == 0) {
        tell("exit-beside", drt_submit(exited, drt_with(&once)));
    } else if (strcmp(what, "close-all") == 0) {
        struct drt_ref r = drt_submit(stay);
        closefrom(3);
        int rc = drt_get_nothing(r);
        printf("%s: %s\n", drt_code_name(rc), drt_last_error());
    } else if (strcmp(what, "close-all-and-open") == 0) {
        return close_and_open();
    } else if (strcmp(what, "program-exits") == 0) {
        begin(wait_in_drt, NULL);
        begin(wait_in_drt, NULL);
        return 5;
    }
    drt_shutdown();
    return 0;
}
