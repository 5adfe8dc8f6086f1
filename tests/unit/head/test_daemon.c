#include "head/daemon.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static off_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_size : -1;
}

/* Standard error is a log of this size; then it is turned, and a line written. */
static void log_a_line(const char *path, off_t size)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        bool ok = fd >= 0 && ftruncate(fd, size) == 0 && dup2(fd, STDERR_FILENO) >= 0;
        daemon_turn_log(path);
        ok = ok && write(STDERR_FILENO, "line\n", 5) == 5;
        _exit(ok ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_large_log_is_put_aside(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char path[512], former[520];
    snprintf(path, sizeof path, "%s/head.log", dir);
    snprintf(former, sizeof former, "%s.1", path);
    log_a_line(path, 1000);
    assert_int_equal(size_of(path), 1005);
    assert_int_equal(size_of(former), -1);
    log_a_line(path, 17 << 20);
    assert_int_equal(size_of(path), 5);
    assert_int_equal(size_of(former), 17 << 20);
}

/* What a daemon says is what its starter hears; its descriptors are its own. */
static void test_daemon_reports(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char log[512];
    int fds[2], report_fd = -1, keep[1];
    struct daemon_report report = {0};
    snprintf(log, sizeof log, "%s/log", dir);
    assert_int_equal(pipe(fds), 0);
    keep[0] = dup(fds[1]);
    int r = daemon_begin(log, keep, 1, &report_fd, &report);
    if (r == 0) {
        struct daemon_report mine = {.pid = getpid(), .words = "here"};
        bool is_alone =
            getsid(0) != getpid() && fcntl(fds[0], F_GETFD) < 0 && fcntl(keep[0], F_GETFD) >= 0;
        failure_set(&mine.failure, is_alone ? CODE_OK : CODE_FAILED, "not alone");
        daemon_report(&report_fd, &mine);
        _exit(0);
    }
    assert_int_equal(r, 1);
    assert_string_equal(report.failure.message, "not alone");
    assert_int_equal(report.failure.code, CODE_OK);
    assert_string_equal(report.words, "here");
    assert_int_not_equal(report.pid, getpid());
    close(fds[0]);
    close(fds[1]);
    close(keep[0]);
}

static void test_daemon_that_dies_silently(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    char log[512];
    int report_fd = -1;
    struct daemon_report report = {0};
    snprintf(log, sizeof log, "%s/log", dir);
    int r = daemon_begin(log, NULL, 0, &report_fd, &report);
    if (r == 0) {
        _exit(1);
    }
    assert_int_equal(r, -EPIPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_log_is_put_aside),
        cmocka_unit_test(test_daemon_reports),
        cmocka_unit_test(test_daemon_that_dies_silently),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
