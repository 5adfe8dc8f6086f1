#include "head/daemon.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG_BYTES_MAX (16 << 20)

static int open_log(const char *path)
{
    struct stat st;
    char former[4096 + 8];
    if (stat(path, &st) == 0 && st.st_size > LOG_BYTES_MAX) {
        snprintf(former, sizeof former, "%s.1", path);
        (void)rename(path, former);
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? -errno : fd;
}

void daemon_turn_log(const char *log)
{
    struct stat st;
    if (fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > LOG_BYTES_MAX) {
        CLEANUP_FD int fd = open_log(log);
        if (fd >= 0) {
            (void)dup2(fd, STDERR_FILENO);
        }
    }
}

static int redirect(int log_fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
        dup2(log_fd, STDERR_FILENO) < 0) {
        return -errno;
    }
    return 0;
}

static bool is_kept(int fd, const int *keep, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (keep[i] == fd) {
            return true;
        }
    }
    return false;
}

/* Whatever the shell, a test or a build tool left open must not stay open as long as the daemon
 * lives. */
static void close_others(const int *keep, size_t count, int report_fd)
{
    int highest = report_fd;
    for (size_t i = 0; i < count; i++) {
        highest = MAX_OF(highest, keep[i]);
    }
    for (int fd = STDERR_FILENO + 1; fd < highest; fd++) {
        if (fd != report_fd && !is_kept(fd, keep, count)) {
            close(fd);
        }
    }
    (void)close_range((unsigned)highest + 1, ~0u, 0);
}

static int read_report(int fd, struct daemon_report *ret)
{
    struct daemon_report report;
    size_t got = 0;
    while (got < sizeof report) {
        ssize_t n = read(fd, (char *)&report + got, sizeof report - got);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return -EPIPE; /* it died before it could say anything: see its log */
        }
        got += (size_t)n;
    }
    *ret = report;
    return 1;
}

int daemon_begin(const char *log, const int *keep, size_t keep_count, int *ret_report_fd,
                 struct daemon_report *ret)
{
    int fds[2], status;
    CLEANUP_FD int log_fd = open_log(log);
    if (log_fd < 0) {
        return log_fd;
    }
    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -errno;
    }
    pid_t child = fork();
    if (child < 0) {
        int r = -errno;
        close(fds[0]);
        close(fds[1]);
        return r;
    }
    if (child > 0) {
        close(fds[1]);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
        int r = read_report(fds[0], ret);
        close(fds[0]);
        return r;
    }
    /* Twice, so that it leads no session and can never get a terminal. */
    if (setsid() < 0 || fork() != 0) {
        _exit(0);
    }
    int r = redirect(log_fd);
    if (r != 0 || chdir("/") < 0) {
        _exit(1);
    }
    close_others(keep, keep_count, fds[1]);
    log_fd = -1;
    *ret_report_fd = fds[1];
    return 0;
}

void daemon_report(int *fd, const struct daemon_report *report)
{
    if (*fd >= 0) {
        ssize_t n = write(*fd, report, sizeof *report); /* below PIPE_BUF: whole or not at all */
        (void)n;
        close_fd(fd);
        *fd = -1;
    }
}
