/*
 * exits HOW [FILE]: a program that ends without drt_shutdown.
 *
 *   return, exit-0, exit-3, _exit-0, abort   its main thread ends it so, while a task runs
 *
 *   thread        another thread calls exit(0) while the main thread waits for the task
 *
 *   joined        as exit-0, and a handler of atexit joins a thread that waits for the task
 *
 *   child         a child that it forked calls exit(0) first; another one lives on for a minute
 *
 *   later         a handler of atexit that runs after drt's uses drt
 *
 *   stopped       exit(0), when FILE exists
 *
 * The task writes FILE.pid when it runs.
 */
#include <drt/drt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_t waiter;
static struct drt_ref running;

DRT_TASK(stay, call, DRT_STR)
{
    char path[4096], whole[4096];
    snprintf(path, sizeof path, "%s.new", drt_arg_str(call, 0));
    snprintf(whole, sizeof whole, "%s.pid", drt_arg_str(call, 0));
    FILE *file = fopen(path, "w");
    fprintf(file, "%d", (int)getpid());
    fclose(file);
    rename(path, whole);
    while (!drt_cancelled(call)) {
        usleep(10000);
    }
    return drt_return(call, drt_nothing());
}

DRT_TASK(plain, call, DRT_I64)
{
    return drt_return(call, drt_i64(drt_arg_i64(call, 0) + 1));
}

static void *wait_for_it(void *arg)
{
    if (drt_get_nothing(running) != 0) {
        fprintf(stderr, "%s\n", drt_last_error());
        if (arg != NULL) {
            exit(9);
        }
    }
    return NULL;
}

static void *exit_now(void *arg)
{
    (void)arg;
    exit(0);
}

static void join_waiter(void)
{
    pthread_join(waiter, NULL);
}

static void use_later(void)
{
    int64_t x = 0;
    drt_release(&running);
    printf("later: %s\n", drt_code_name(drt_get_i64(drt_submit(plain, drt_i64(1)), &x)));
    drt_shutdown();
}

static void fork_children(void)
{
    if (fork() == 0) {
        exit(0);
    }
    wait(NULL);
    int64_t x = 0;
    drt_check(drt_get_i64(drt_submit(plain, drt_i64(1)), &x));
    printf("the job goes on: %d\n", (int)x);
    fflush(stdout);
    if (fork() == 0) {
        fclose(stdout);
        fclose(stderr);
        sleep(60);
        _exit(0);
    }
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "", *file = argc > 2 ? argv[2] : "";
    char mark[4096];
    if (strcmp(how, "joined") == 0) {
        atexit(join_waiter);
    } else if (strcmp(how, "later") == 0) {
        atexit(use_later);
    }
    drt_init_or_exit();
    running = drt_submit(stay, drt_str(file));
    snprintf(mark, sizeof mark, "%s.pid", file);
    while (access(strcmp(how, "stopped") == 0 ? file : mark, F_OK) != 0) {
        usleep(1000);
    }
    if (strcmp(how, "exit-3") == 0) {
        exit(3);
    } else if (strcmp(how, "_exit-0") == 0) {
        _exit(0);
    } else if (strcmp(how, "abort") == 0) {
        abort();
    } else if (strcmp(how, "thread") == 0) {
        pthread_create(&waiter, NULL, exit_now, NULL);
        wait_for_it("and ends the program");
    } else if (strcmp(how, "joined") == 0) {
        pthread_create(&waiter, NULL, wait_for_it, NULL);
    } else if (strcmp(how, "child") == 0) {
        fork_children();
    }
    if (strcmp(how, "return") == 0) {
        return 0;
    }
    exit(0);
}
