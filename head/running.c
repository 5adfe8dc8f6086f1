#include "head/running.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/files.h"
#include "common/text.h"

#define STOP_NS (15 * NS_PER_S)

void running_read(const struct place *place, struct running *ret)
{
    char path[PLACE_PATH_MAX];
    uint64_t pid = 0;
    CLEANUP(buffer_fini) struct buffer text = {0};
    *ret = (struct running){0};
    if (place_path(place, "head.pid", path) == 0 && files_read(path, 32, &text) == 0) {
        text.size = strcspn(buffer_text(&text), "\n");
        if (text_parse_u64(buffer_text(&text), INT32_MAX, &pid) == 0) {
            ret->pid = (int32_t)pid;
        }
    }
}

void running_write(const struct place *place)
{
    char path[PLACE_PATH_MAX], text[32];
    int size = snprintf(text, sizeof text, "%d\n", getpid());
    if (place_path(place, "head.pid", path) == 0) {
        int r = files_write_atomic(path, text, (size_t)size, 0600);
        (void)r; /* then it can be stopped through its socket only */
    }
}

void running_remove(const struct place *place)
{
    char path[PLACE_PATH_MAX];
    if (place_path(place, "head.pid", path) == 0) {
        (void)unlink(path);
    }
}

static int no_head(const struct place *place, struct failure *f)
{
    return failure_set(f, CODE_NOT_FOUND, "no head runs in %s", place->dir);
}

/* While the lock is held, head.pid is its holder's: it cannot be another process that got the
 * number since. */
static int open_holder(const struct place *place, const char *lock, int *ret_fd, struct failure *f)
{
    struct running running;
    if (!files_is_locked(lock)) {
        return no_head(place, f);
    }
    running_read(place, &running);
    if (running.pid == 0) {
        return failure_set(f, CODE_FAILED,
                           "the head in %s is starting or has lost its head.pid. Try again, or "
                           "'drt stop'",
                           place->dir);
    }
    int fd = pidfd_open(running.pid, 0);
    if (fd < 0) {
        return errno == ESRCH ? no_head(place, f)
                              : failure_set(f, CODE_FAILED, "cannot watch process %d: %s",
                                            running.pid, strerror(errno));
    }
    if (!files_is_locked(lock)) {
        close(fd);
        return no_head(place, f);
    }
    *ret_fd = fd;
    return 0;
}

int running_stop(const struct place *place, struct failure *f)
{
    char lock[PLACE_PATH_MAX];
    CLEANUP_FD int fd = -1;
    if (place_path(place, "head.lock", lock) != 0) {
        return failure_set(f, CODE_TOO_LARGE, "the path of the directory is too long");
    }
    int r = open_holder(place, lock, &fd, f);
    if (r != 0) {
        return r;
    }
    if (pidfd_send_signal(fd, SIGTERM, NULL, 0) < 0 && errno != ESRCH) {
        return failure_set(f, errno == EPERM ? CODE_REFUSED : CODE_FAILED,
                           "cannot stop the head in %s: %s", place->dir, strerror(errno));
    }
    uint64_t end = clock_now_ns() + STOP_NS;
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    for (uint64_t now = clock_now_ns(); now < end; now = clock_now_ns()) {
        int n = poll(&poll_fd, 1, (int)((end - now) / NS_PER_MS) + 1);
        if (n > 0 || (n < 0 && errno != EINTR)) {
            break;
        }
    }
    return !files_is_locked(lock)
               ? 0
               : failure_set(f, CODE_TIMEOUT,
                             "the head in %s was asked to stop and has not ended after 15 s; "
                             "head.log there tells more",
                             place->dir);
}
