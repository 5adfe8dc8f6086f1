#include "raylet/guard.h"

#include <fcntl.h>
#include <signal.h>
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

/* A raylet that dies suddenly: what carries its mark ends, and the guard itself. */
static void test_after_the_raylet(void **state)
{
    int ends[2];
    struct guard g = {.pipe = -1};
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t marked = start_marked("/nodes/c");
    pid_t raylet = fork();
    if (raylet == 0) {
        if (guard_start(&g, "/nodes/c") != 0 || write(ends[1], &g, sizeof g) != sizeof g) {
            _exit(1);
        }
        raise(SIGKILL);
    }
    assert_int_equal(read(ends[0], &g, sizeof g), sizeof g);
    assert_true(WIFSIGNALED(wait_for(raylet)));
    assert_int_equal(WTERMSIG(wait_for(marked)), SIGKILL);
    int status = wait_for(g.pid); /* ours now */
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close_fd(&ends[0]);
    close_fd(&ends[1]);
}

static void test_an_orderly_end(void **state)
{
    struct guard g = {.pipe = -1};
    guard_stop(&g);
    assert_int_equal(guard_start(&g, "/nodes/d"), 0);
    pid_t pid = g.pid, marked = start_marked("/nodes/d");
    guard_stop(&g);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(waitpid(marked, NULL, WNOHANG), 0); /* is not the guard's matter then */
    assert_int_equal(kill(marked, SIGKILL), 0);
    (void)wait_for(marked);
}

int main(int argc, char **argv)
{
    player_main(argc, argv);
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_marked_end),
        cmocka_unit_test(test_after_the_raylet),
        cmocka_unit_test(test_an_orderly_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
