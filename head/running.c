#include "head/running.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/files.h"
#include "common/holder.h"
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

static int open_holder(const struct place *place, const char *lock, int *ret_fd, struct failure *f)
{
    char pid_file[PLACE_PATH_MAX];
    pid_t pid;
    if (!files_is_locked(lock)) {
        return no_head(place, f);
    }
    int fd = place_path(place, "head.pid", pid_file);
    fd = fd != 0 ? fd : holder_find(lock, pid_file, "drt-head", &pid);
    if (fd >= 0) {
        *ret_fd = fd;
        return 0;
    }
    return !files_is_locked(lock)
               ? no_head(place, f)
               : failure_set(f, CODE_FAILED,
                             "a head runs in %s, but its process is not visible from here: it is "
                             "in another container or on another machine. Stop it there",
                             place->dir);
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
    return !files_is_locked(lock) ? 0
                                  : failure_set(f, CODE_TIMEOUT,
                                                "the head in %s was asked to stop and has not "
                                                "ended after 15 s. See head.log there",
                                                place->dir);
}
