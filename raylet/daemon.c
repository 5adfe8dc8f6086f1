#include "raylet/daemon.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPORT_MAX 2048

struct report {
    int32_t exit_status;
    char text[REPORT_MAX];
};

static NORETURN void wait_for_report(int fd, pid_t child)
{
    struct report report;
    ssize_t n;
    do {
        n = read(fd, &report, sizeof report);
    } while (n < 0 && errno == EINTR);
    if (n != sizeof report) {
        int status = 0;
        (void)waitpid(child, &status, 0);
        fprintf(stderr, "drt-node: the node ended while it started (%s %d).\n",
                WIFSIGNALED(status) ? "signal" : "exit code",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        _exit(1);
    }
    report.text[REPORT_MAX - 1] = '\0';
    fputs(report.text, report.exit_status == 0 ? stdout : stderr);
    fflush(NULL);
    _exit(report.exit_status);
}

/* What the caller left open is not for a daemon that outlives it. */
static void close_others(int keep, int report)
{
    int low = keep < report ? keep : report, high = keep < report ? report : keep;
    if (low < 0) {
        low = high;
    }
    if (low > 3) {
        (void)close_range(3, (unsigned)low - 1, 0);
    }
    if (high > low + 1) {
        (void)close_range((unsigned)low + 1, (unsigned)high - 1, 0);
    }
    (void)close_range((unsigned)high + 1, ~0u, 0);
}

int daemon_begin(int keep, int *ret_report)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -errno;
    }
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) {
        int r = -errno;
        close_fd(&ends[0]);
        close_fd(&ends[1]);
        return r;
    }
    if (child > 0) {
        close_fd(&ends[1]);
        close_fd(&keep); /* else its end-of-file would wait for us */
        wait_for_report(ends[0], child);
    }
    close_others(keep, ends[1]);
    /* A group of our own, but the caller's session: the kernel schedules sessions as wholes
     * (autogroup), and sched_yield hands the CPU over within one only. Drivers of this terminal are
     * in it too: beside a busy loop their tasks take 10 us then, and 17 in a session of our own.
     * What hangs up a terminal goes to its foreground group, and standard input is /dev/null. */
    (void)setpgid(0, 0);
    *ret_report = ends[1];
    return chdir("/") < 0 ? -errno : 0;
}

void daemon_report(int *report, int exit_status, const char *text)
{
    struct report r = {.exit_status = exit_status};
    if (*report < 0) {
        return;
    }
    snprintf(r.text, sizeof r.text, "%s", text);
    ssize_t n = write(*report, &r, sizeof r);
    (void)n; /* who started us need not wait for it */
    close_fd(report);
}

int daemon_redirect(const char *log_path)
{
    CLEANUP_FD int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CLEANUP_FD int out =
        open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0) {
        return -errno;
    }
    return 0;
}
