#include "common/daemon.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- of one program ---- */

static void tell(int socket, int32_t number)
{
    /* Whoever started it may have given a pipe, which hears nothing. */
    ssize_t n = send(socket, &number, sizeof number, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)n;
}

void daemon_detach(int socket)
{
    struct stat st;
    if (fstat(socket, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        return; /* its exit status is how it tells */
    }
    pid_t child = fork();
    if (child > 0) {
        _exit(0);
    }
    if (child == 0) {
        (void)setpgid(0, 0);
        tell(socket, getpid());
    }
}

void daemon_say_end(int socket, int exit_status)
{
    if (socket >= 0) {
        tell(socket, exit_status);
    }
}

/* ---- its log ---- */

static int open_log(const char *path)
{
    struct stat st;
    char former[4096 + 8];
    if (stat(path, &st) == 0 && st.st_size > DAEMON_LOG_BYTES) {
        snprintf(former, sizeof former, "%s.1", path);
        (void)rename(path, former);
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? -errno : fd;
}

int daemon_redirect(const char *log)
{
    CLEANUP_FD int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CLEANUP_FD int out = open_log(log);
    if (out < 0) {
        return out;
    }
    if (in < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(out, STDERR_FILENO) < 0) {
        return -errno;
    }
    return 0;
}

void daemon_turn_log(const char *log)
{
    struct stat st;
    if (fstat(STDERR_FILENO, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= DAEMON_LOG_BYTES) {
        return;
    }
    CLEANUP_FD int fd = open_log(log);
    if (fd >= 0) {
        (void)dup2(fd, STDERR_FILENO);
        (void)dup2(fd, STDOUT_FILENO);
    }
}

/* ---- its beginning ---- */

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
static void close_others(const int *keep, size_t count, int pipe)
{
    int highest = pipe;
    for (size_t i = 0; i < count; i++) {
        highest = MAX_OF(highest, keep[i]);
    }
    for (int fd = STDERR_FILENO + 1; fd < highest; fd++) {
        if (fd != pipe && !is_kept(fd, keep, count)) {
            close(fd);
        }
    }
    (void)close_range((unsigned)highest + 1, ~0u, 0);
}

/* In the child. A session of its own takes a second fork: who leads one may get a terminal. */
static int settle(bool own_session)
{
    if (own_session && (setsid() < 0 || fork() != 0)) {
        _exit(0);
    }
    if (!own_session) {
        (void)setpgid(0, 0);
    }
    return chdir("/") < 0 ? -errno : 0;
}

int daemon_begin(struct daemon *d, const int *keep, size_t keep_count, bool own_session)
{
    int ends[2];
    *d = (struct daemon){.pipe = -1};
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
    if (child == 0) {
        close_others(keep, keep_count, ends[1]);
        d->pipe = ends[1];
        return settle(own_session);
    }
    close_fd(&ends[1]);
    while (own_session && waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
    *d = (struct daemon){.pipe = ends[0], .child = own_session ? 0 : child};
    return 1;
}

void daemon_say(struct daemon *d, const void *word, size_t size)
{
    if (d->pipe >= 0) {
        ssize_t n = write(d->pipe, word, size); /* whole or not at all */
        (void)n;                                /* who started us need not wait for it */
        close_fd(&d->pipe);
        d->pipe = -1;
    }
}

int daemon_await(struct daemon *d, void *ret, size_t size, int *ret_status)
{
    CLEANUP_FREE uint8_t *word = xmalloc(size);
    size_t got = 0;
    ssize_t n = 1;
    while (got < size && n != 0) {
        n = read(d->pipe, word + got, size - got);
        if (n < 0 && errno != EINTR) {
            break;
        }
        got += n > 0 ? (size_t)n : 0;
    }
    close_fd(&d->pipe);
    d->pipe = -1;
    if (got == size) {
        memcpy(ret, word, size);
        return 0;
    }
    int status = 0;
    while (d->child > 0 && waitpid(d->child, &status, 0) < 0 && errno == EINTR) {
    }
    *ret_status = status;
    return -EPIPE;
}
