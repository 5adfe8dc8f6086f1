#include "tests/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs fn in a child with its output thrown away; returns the signal that ended it, or 0. */
static int signal_of(void (*fn)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        fn();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void break_assert(void)
{
    int one = 1;
    ASSERT(one == 2);
}

static void hold_assert(void)
{
    ASSERT(1 + 1 == 2);
}

static void test_assert_ends_the_process(void **state)
{
    assert_int_equal(signal_of(hold_assert), 0);
    assert_int_equal(signal_of(break_assert), SIGABRT);
}

static void test_align_up(void **state)
{
    assert_int_equal(align_up(0, 16), 0);
    assert_int_equal(align_up(1, 16), 16);
    assert_int_equal(align_up(16, 16), 16);
    assert_int_equal(align_up(17, 64), 64);
}

static void test_memory_of_no_bytes_is_memory(void **state)
{
    CLEANUP_FREE void *a = xmalloc(0);
    CLEANUP_FREE void *b = xcalloc(0, 8);
    CLEANUP_FREE char *c = xstrdup("");
    assert_non_null(a);
    assert_non_null(b);
    assert_string_equal(c, "");
    a = xrealloc(a, 0);
    assert_non_null(a);
}

static void test_calloc_clears(void **state)
{
    CLEANUP_FREE uint64_t *a = xcalloc(100, sizeof *a);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(a[i], 0);
    }
}

static void test_close_fd_closes_once_and_keeps_errno(void **state)
{
    int fd = open("/dev/null", O_RDONLY);
    int number = fd;
    assert_true(fd >= 0);
    errno = EXDEV;
    close_fd(&fd);
    assert_int_equal(errno, EXDEV);
    assert_int_equal(fd, -1);
    assert_int_equal(fcntl(number, F_GETFD), -1);
    close_fd(&fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_assert_ends_the_process),
        cmocka_unit_test(test_align_up),
        cmocka_unit_test(test_memory_of_no_bytes_is_memory),
        cmocka_unit_test(test_calloc_clears),
        cmocka_unit_test(test_close_fd_closes_once_and_keeps_errno),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
