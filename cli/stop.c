#include "cli/stop.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/files.h"
#include "common/holder.h"

struct daemon {
    char title[96]; /* "Node "box-1"", "The head" */
    char lock[PLACE_PATH_MAX];
    char pid_file[PLACE_PATH_MAX];
    const char *program;
    pid_t pid;
    int pidfd; /* -1: its process is gone or was not found */
    bool killed;
};

/* Finds the process behind a lock that is held. */
static void find_process(struct daemon *d)
{
    int fd = holder_find(d->lock, d->pid_file, d->program, &d->pid);
    d->pidfd = MAX_OF(fd, -1);
    d->pid = fd < 0 ? 0 : d->pid;
}

static void send_signal(const struct daemon *d, int signal)
{
    if (d->pidfd >= 0) {
        /* Fails only if it is gone already. */
        (void)syscall(SYS_pidfd_send_signal, d->pidfd, signal, NULL, 0);
    }
}

/* Its process has ended and gave its lock back before that: so the lock is another's, as while a
 * daemon starts, when who started it has it too. */
static void find_next_process(struct daemon *d)
{
    close_fd(&d->pidfd);
    find_process(d);
    send_signal(d, SIGTERM);
}

/* Whether its lock is free before the deadline. */
static bool wait_until_free(struct daemon *d, uint64_t deadline_ns)
{
    const struct timespec pause = {.tv_nsec = 2 * NS_PER_MS};
    for (;;) {
        uint64_t now_ns = clock_now_ns();
        if (!files_is_locked(d->lock)) {
            return true;
        }
        if (now_ns >= deadline_ns) {
            return false;
        }
        struct pollfd fd = {.fd = d->pidfd, .events = POLLIN};
        int left_ms = (int)((deadline_ns - now_ns) / NS_PER_MS);
        bool ended = d->pidfd >= 0 && poll(&fd, 1, left_ms) > 0;
        if (ended && files_is_locked(d->lock)) {
            find_next_process(d);
        }
        if (d->pidfd < 0) {
            clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        }
    }
}

static bool stop_one(struct daemon *d, uint64_t deadline_ns, struct buffer *out)
{
    bool free_now = wait_until_free(d, deadline_ns);
    if (!free_now && d->pidfd >= 0) {
        send_signal(d, SIGKILL);
        d->killed = true;
        free_now = wait_until_free(d, clock_now_ns() + NS_PER_S);
    }
    if (free_now && d->pid != 0) {
        buffer_printf(out, "%s %s (process %d).\n", d->title, d->killed ? "was killed" : "stopped",
                      (int)d->pid);
    } else if (free_now) {
        buffer_printf(out, "%s stopped.\n", d->title);
    }
    return free_now;
}

/* One whose lock is held. */
static bool find_node(const struct place *place, const char *name, struct daemon *ret)
{
    *ret = (struct daemon){.program = "drt-node", .pidfd = -1};
    if (!place_name_ok(name) || place_node_path(place, name, "lock", ret->lock) != 0 ||
        place_node_path(place, name, "pid", ret->pid_file) != 0 || !files_is_locked(ret->lock)) {
        return false;
    }
    snprintf(ret->title, sizeof ret->title, "Node \"%.63s\"", name);
    find_process(ret);
    return true;
}

/* All that run. Each is one descriptor. */
static struct daemon *find_nodes(const struct place *place, size_t *ret_count)
{
    char path[PLACE_PATH_MAX];
    struct dirent **names = NULL;
    int count = place_path(place, "nodes", path) == 0 ? scandir(path, &names, NULL, alphasort) : -1;
    struct daemon *found = xcalloc((size_t)MAX_OF(count, 1), sizeof *found);
    size_t n = 0;
    for (int i = 0; i < count; i++) {
        n += find_node(place, names[i]->d_name, &found[n]);
        free(names[i]);
    }
    free(names);
    *ret_count = n;
    return found;
}

static bool find_head(const struct place *place, struct daemon *ret)
{
    *ret = (struct daemon){.title = "The head", .program = "drt-head", .pidfd = -1};
    if (place_path(place, "head.lock", ret->lock) != 0 ||
        place_path(place, "head.pid", ret->pid_file) != 0 || !files_is_locked(ret->lock)) {
        return false;
    }
    find_process(ret);
    return true;
}

bool stop_finds_head(const struct place *place, uint32_t *ret_pid)
{
    struct daemon head;
    if (!find_head(place, &head)) {
        return false;
    }
    close_fd(&head.pidfd);
    *ret_pid = (uint32_t)head.pid;
    return true;
}

static int left_over(const struct daemon *d, struct failure *f)
{
    if (d->pidfd >= 0) {
        failure_set(f, CODE_FAILED, "%s still runs: process %d does not end. End it by hand.",
                    d->title, (int)d->pid);
    } else {
        failure_set(f, CODE_FAILED,
                    "%s still runs, and its process cannot be found from here: it is in another "
                    "container or on another machine, or starts at this moment. Stop it there (its "
                    "lock: %.200s).",
                    d->title, d->lock);
    }
    return EXIT_FAILED;
}

/* Whether the directory is this user's, or this user may do all. */
static bool may_stop(const struct place *place)
{
    struct stat st;
    return geteuid() == 0 || (stat(place->dir, &st) == 0 && st.st_uid == geteuid());
}

int stop_cluster(const struct place *place, uint64_t limit_ns, struct buffer *out,
                 struct failure *f)
{
    if (!may_stop(place)) {
        failure_set(
            f, CODE_REFUSED,
            "%.300s belongs to another user. Only the user who started the cluster can stop it.",
            place->dir);
        return EXIT_REFUSED;
    }
    struct daemon head;
    size_t count;
    uint64_t former_files;
    int status = EXIT_DONE;
    (void)files_raise_limit(UINT64_MAX, &former_files); /* a descriptor for each node */
    struct daemon *nodes = find_nodes(place, &count);
    bool has_head = find_head(place, &head);

    if (count == 0 && !has_head) {
        failure_set(f, CODE_NOT_FOUND,
                    "no daemon of cluster \"%s\" runs on this machine (looked in %.300s).",
                    place->cluster, place->dir);
        status = EXIT_NO_CLUSTER;
    }
    for (size_t i = 0; i < count; i++) {
        send_signal(&nodes[i], SIGTERM);
    }
    uint64_t deadline_ns = clock_now_ns() + limit_ns;
    for (size_t i = 0; i < count; i++) {
        if (!stop_one(&nodes[i], deadline_ns, out) && status == EXIT_DONE) {
            status = left_over(&nodes[i], f);
        }
        close_fd(&nodes[i].pidfd);
    }
    free(nodes);
    if (has_head) {
        /* After the nodes, so that it can hear them leave. */
        send_signal(&head, SIGTERM);
        if (!stop_one(&head, clock_now_ns() + limit_ns, out) && status == EXIT_DONE) {
            status = left_over(&head, f);
        }
        close_fd(&head.pidfd);
    }
    return status;
}
