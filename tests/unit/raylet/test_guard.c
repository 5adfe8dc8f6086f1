#include "raylet/guard.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "raylet/launcher.h"
#include "tests/unit/raylet/player.h"
#include "tests/unit/unit.h"

/* A process that waits for ever, started with a node's mark; it leads a session of its own. */
static pid_t start_marked(const char *node_dir)
{
    int ends[2];
    char byte;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char mark[600], *argv[] = {"player", NULL}, *envp[] = {mark, PLAYER "=waits", NULL};
        snprintf(mark, sizeof mark, "%s=%s", LAUNCHER_WORKER_NODE, node_dir);
        (void)setsid();
        execve("/proc/self/exe", argv, envp);
        _exit(1);
    }
    close_fd(&ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 0); /* its exec closed it */
    close_fd(&ends[0]);
    return pid;
}

static int wait_for(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_only_the_marked_end(void **state)
{
    pid_t a = start_marked("/nodes/a"), b = start_marked("/nodes/b");
    assert_int_equal(guard_end_marked("/nodes/none"), 0);
    assert_int_equal(guard_end_marked("/nodes/a"), 1);
    assert_int_equal(WTERMSIG(wait_for(a)), SIGKILL);
    assert_int_equal(waitpid(b, NULL, WNOHANG), 0);
    assert_int_equal(guard_end_marked("/nodes/b"), 1);
    (void)wait_for(b);
}

/* A guard and its raylet, which does `act` with the end of a pipe; that end closes with them. */
static pid_t start_guarded(void (*act)(int pipe), int *ret_pipe)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close_fd(&ends[0]);
        if (guard_begin() == 0) {
            act(ends[1]);
        }
        _exit(1);
    }
    close_fd(&ends[1]);
    *ret_pipe = ends[0];
    return pid;
}

static pid_t read_pid(int pipe)
{
    pid_t pid = 0;
    assert_int_equal(read(pipe, &pid, sizeof pid), sizeof pid);
    return pid;
}

static void write_pid(int pipe)
{
    pid_t pid = getpid();
    if (write(pipe, &pid, sizeof pid) != sizeof pid) {
        _exit(1);
    }
}

/* What a task may do so that nobody knows it: two forks, a session, no environment, no name. */
static void leave_and_die(int pipe)
{
    if (fork() == 0) {
        (void)setsid();
        if (fork() == 0) {
            (void)setsid();
            (void)clearenv();
            (void)prctl(PR_SET_NAME, "sshd");
            write_pid(pipe);
            for (;;) {
                pause();
            }
        }
        _exit(0);
    }
    (void)wait(NULL);
    pause();
}

static void test_after_the_raylet(void **state)
{
    char byte;
    int pipe;
    pid_t guard = start_guarded(leave_and_die, &pipe), left = read_pid(pipe);
    char path[64], children[64] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)guard, (int)guard);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_non_null(fgets(children, sizeof children, file));
    fclose(file);
    pid_t raylet = (pid_t)strtol(children, NULL, 10);
    assert_int_equal(kill(raylet, SIGKILL), 0);
    assert_int_equal(WTERMSIG(wait_for(guard)), SIGKILL); /* as its raylet */
    assert_int_equal(read(pipe, &byte, 1), 0);            /* all have closed it */
    assert_int_equal(kill(left, 0), -1);
    close_fd(&pipe);
}

static void end_with_7(int pipe)
{
    _exit(7);
}

static void test_an_orderly_end(void **state)
{
    int pipe, status = wait_for(start_guarded(end_with_7, &pipe));
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    close_fd(&pipe);
}

static void await_a_signal(int pipe)
{
    sigset_t signals;
    int signal = 0;
    sigfillset(&signals);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    write_pid(pipe);
    (void)sigwait(&signals, &signal);
    _exit(signal == SIGTERM ? 9 : 8);
}

static void test_signals_are_passed_on(void **state)
{
    int pipe;
    pid_t guard = start_guarded(await_a_signal, &pipe);
    assert_int_not_equal(read_pid(pipe), guard);
    assert_int_equal(kill(guard, SIGTERM), 0);
    assert_int_equal(WEXITSTATUS(wait_for(guard)), 9);
    close_fd(&pipe);
}

/* The raylet is told to leave. */
static void test_a_guard_that_is_killed(void **state)
{
    int pipe;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    pid_t guard = start_guarded(await_a_signal, &pipe), raylet = read_pid(pipe);
    assert_int_equal(kill(guard, SIGKILL), 0);
    (void)wait_for(guard);
    assert_int_equal(WEXITSTATUS(wait_for(raylet)), 9);
    close_fd(&pipe);
}

int main(int argc, char **argv)
{
    player_main(argc, argv);
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_marked_end),    cmocka_unit_test(test_after_the_raylet),
        cmocka_unit_test(test_an_orderly_end),         cmocka_unit_test(test_signals_are_passed_on),
        cmocka_unit_test(test_a_guard_that_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
