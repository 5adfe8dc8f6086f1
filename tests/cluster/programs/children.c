/*
 * children WHAT: processes that tasks and the program itself make, by all ways that C has.
 *
 *   fall      tasks whose children return from the body, beside others; what each got
 *   calls     a child that calls drt
 *   spawn     posix_spawn, vfork with exec, system and popen, in a task and in the program
 *   outlive   forks a child that lives on, prints both pids, and waits to be killed
 *   before    forks before drt_init; both run a task
 *   between   forks after drt_shutdown; both run a task
 *   daemon    daemon() before drt_init, then a task, whose result goes to the file argv[2]
 *   late      daemon() after drt_init, then a task; what it is told goes to the file argv[2]
 */
#include <drt/drt.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int status_of(pid_t pid)
{
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

enum way { FORK, BARE_FORK, CLONE, WAYS };

static pid_t make_child(int64_t way)
{
    return way == FORK        ? fork()
           : way == BARE_FORK ? _Fork()
                              : (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

/* The status of a child that returned from the body. */
DRT_TASK(falling, call, DRT_I64)
{
    pid_t pid = make_child(drt_arg_i64(call, 0));
    if (pid == 0) {
        execl("/nonexistent", "nonexistent", (char *)NULL);
        return drt_fail(call, 99, "the child's exec failed");
    }
    return drt_return(call, drt_i64(status_of(pid)));
}

/* Its child returns a value, later than the parent does. */
DRT_TASK(straying, call, DRT_I64)
{
    int ends[2];
    char byte;
    if (pipe(ends) != 0) {
        return drt_fail(call, 1, "no pipe");
    }
    if (make_child(drt_arg_i64(call, 0)) == 0) {
        close(ends[1]);
        (void)!read(ends[0], &byte, 1); /* until the worker's next body closes it, or it ends */
        return drt_return(call, drt_i64(-1));
    }
    close(ends[0]);
    static int kept = -1;
    if (kept >= 0) {
        close(kept);
    }
    kept = ends[1];
    return drt_return(call, drt_i64(drt_arg_i64(call, 0)));
}

DRT_TASK(plain, call, DRT_I64)
{
    return drt_return(call, drt_i64(drt_arg_i64(call, 0) + 100));
}

static void fall(void)
{
    enum { N = 300 };
    struct drt_ref falls[WAYS], strays[WAYS], plains[N];
    int wrong = 0;
    for (int64_t i = 0; i < N; i++) {
        if (i < WAYS) {
            falls[i] = drt_submit(falling, drt_i64(i), DRT_WITH(.max_attempts = 1));
            strays[i] = drt_submit(straying, drt_i64(i), DRT_WITH(.max_attempts = 1));
        }
        plains[i] = drt_submit(plain, drt_i64(i), DRT_WITH(.max_attempts = 1));
    }
    for (int64_t i = 0; i < N; i++) {
        int64_t x = -1;
        if (i < WAYS) {
            int rc = drt_get_i64(falls[i], &x);
            printf("way %d: %s %d", (int)i, drt_code_name(rc), (int)x);
            rc = drt_get_i64(strays[i], &x);
            printf(", stray %s %d\n", drt_code_name(rc), (int)x);
        }
        wrong += drt_get_i64(plains[i], &x) != 0 || x != i + 100;
    }
    printf("wrong %d\n", wrong);
}

/* 0, or the number of the first call that the child found wrong. */
static int call_in_child(struct drt_call *call, struct drt_ref ref)
{
    int64_t x;
    size_t n;
    bool ready;
    struct drt_ref refs[1] = {ref};
    struct drt_ref none = drt_submit(plain, drt_i64(1));
    const int answers[] = {
        drt_get_i64(ref, &x),
        drt_await(ref, drt_ms(1)),
        drt_wait(refs, 1, 1, drt_ms(1), &ready, &n),
        drt_cancel(ref, 0),
        drt_return(call, drt_i64(5)),
        drt_fail(call, 5, "five"),
        drt_init(NULL),
        drt_inner_count(ref, &n),
        drt_return_holding(call, 0, drt_i64(1), refs, 1),
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        if (answers[i] != -ECHILD) {
            return 1 + (int)i;
        }
    }
    if (strstr(drt_last_error(), "child") == NULL) {
        return 20;
    }
    if (!drt_is_none(none) || !drt_is_none(drt_put(drt_i64(1))) || drt_cancelled(call) ||
        drt_return_create(call, 0, 10) != NULL || drt_total("CPU") != 0) {
        return 21;
    }
    if (drt_arg_i64(call, 0) != 7) { /* its arguments can be read */
        return 22;
    }
    drt_release(&ref);
    drt_interrupt();
    drt_shutdown();
    return 0;
}

DRT_TASK(calling, call, DRT_I64, DRT_I64)
{
    struct drt_ref ref = drt_submit(plain, drt_i64(1));
    int64_t x = 0;
    pid_t pid = make_child(drt_arg_i64(call, 1));
    if (pid == 0) {
        _exit(call_in_child(call, ref));
    }
    int status = status_of(pid);
    int rc = drt_get_i64(ref, &x);
    return rc != 0 ? rc : drt_return(call, drt_i64(x * 100 + status));
}

/* The sum of four exit statuses: 3 + 5 + 7 + 0, and what the last one said. The parentheses stand
 * for: drt itself calls neither of the two. */
static int spawn_all(char *said, size_t size)
{
    char *argv[] = {"sh", "-c", "exit 3", NULL};
    pid_t pid;
    int sum = posix_spawnp(&pid, "sh", NULL, NULL, argv, environ) == 0 ? status_of(pid) : 1000;
    pid = vfork();
    if (pid == 0) {
        execlp("sh", "sh", "-c", "exit 5", (char *)NULL);
        _exit(1);
    }
    sum += status_of(pid);
    sum += WEXITSTATUS((system)("exit 7"));
    FILE *f = (popen)("echo said", "r");
    if (f == NULL || fgets(said, (int)size, f) == NULL) {
        return 1000;
    }
    said[strcspn(said, "\n")] = '\0';
    return sum + WEXITSTATUS(pclose(f));
}

DRT_TASK(spawning, call)
{
    char said[32] = "", text[64];
    int sum = spawn_all(said, sizeof said);
    snprintf(text, sizeof text, "%d %s", sum, said);
    return drt_return(call, drt_str(text));
}

static void spawn(void)
{
    char said[32] = "";
    const char *text;
    struct drt_ref r = drt_submit(spawning);
    int sum = spawn_all(said, sizeof said);
    drt_check(drt_get_str(r, &text));
    printf("task %s, program %d %s\n", text, sum, said);
}

static void outlive(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (;;) {
            pause();
        }
    }
    printf("%d %d\n", (int)getpid(), (int)pid);
    fflush(stdout);
    for (;;) {
        pause();
    }
}

DRT_TASK(staying, call)
{
    for (;;) {
        pause();
    }
    return drt_return(call, drt_nothing());
}

static int run_one(void)
{
    int64_t x = 0;
    drt_init_or_exit();
    drt_check(drt_get_i64(drt_submit(plain, drt_i64(1)), &x));
    drt_shutdown();
    return x == 101 ? 0 : 1;
}

static int become_daemon(const char *path, bool late)
{
    FILE *f = fopen(path, "we");
    int64_t x = 0;
    if (f == NULL) {
        return 1;
    }
    if (late) {
        drt_init_or_exit();
    }
    if (daemon(1, 1) != 0) {
        return 1;
    }
    if (!late) {
        drt_init_or_exit();
    }
    int rc = drt_get_i64(drt_submit(plain, drt_i64(1)), &x);
    fprintf(f, "%s %d %s\n", drt_code_name(rc), (int)x, rc != 0 ? drt_last_error() : "");
    fclose(f);
    drt_shutdown();
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "before") == 0) { /* a worker's argv is the program's name alone */
        pid_t pid = fork();
        int rc = run_one();
        if (pid == 0) {
            _exit(rc);
        }
        printf("program %d, child %d\n", rc, status_of(pid));
        return 0;
    }
    if (strcmp(what, "daemon") == 0 || strcmp(what, "late") == 0) {
        return become_daemon(argv[2], what[0] == 'l');
    }
    drt_init_or_exit();
    if (strcmp(what, "fall") == 0) {
        fall();
    } else if (strcmp(what, "calls") == 0) {
        for (int64_t way = 0; way < WAYS; way++) {
            int64_t x = -1;
            int rc = drt_get_i64(drt_submit(calling, drt_i64(7), drt_i64(way)), &x);
            printf("way %d: %s %d\n", (int)way, drt_code_name(rc), (int)x);
        }
    } else if (strcmp(what, "spawn") == 0) {
        spawn();
    } else if (strcmp(what, "outlive") == 0) {
        if (drt_current_mode() != DRT_MODE_SYNC) {
            drt_submit(staying);
            drt_submit(staying);
        }
        outlive();
    } else if (strcmp(what, "between") == 0) {
        drt_shutdown();
        pid_t pid = fork();
        int rc = run_one();
        if (pid == 0) {
            _exit(rc);
        }
        printf("program %d, child %d\n", rc, status_of(pid));
    }
    drt_shutdown();
    return 0;
}
