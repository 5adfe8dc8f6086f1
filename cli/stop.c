#include "cli/stop.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/files.h"
#include "common/text.h"

enum { NODES_MAX = 256 };

struct daemon {
    char title[96]; /* "Node "box-1"", "The head" */
    char lock[PLACE_PATH_MAX];
    char pid_file[PLACE_PATH_MAX];
    const char *program;
    pid_t pid;
    int pidfd; /* -1: its process is gone or was not found */
    bool killed;
};

static int read_text(const char *path, char *ret, size_t size)
{
    struct buffer text = {0};
    int r = files_read(path, 64 << 10, &text);
    if (r == 0) {
        (void)text_copy(ret, size, buffer_text(&text));
    }
    buffer_fini(&text);
    return r;
}

/* The number that a pid file begins with; 0: none. */
static pid_t read_pid(const char *path)
{
    char text[64];
    uint64_t pid;
    if (read_text(path, text, sizeof text) != 0) {
        return 0;
    }
    text[strspn(text, "0123456789")] = '\0';
    return text_parse_u64(text, INT32_MAX, &pid) == 0 ? (pid_t)pid : 0;
}

/* When a process began, in ms since 1970; 0: unknown. */
static uint64_t start_of(pid_t pid)
{
    char path[64], text[1024];
    unsigned long long ticks = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (read_text(path, text, sizeof text) != 0) {
        return 0;
    }
    /* The 22nd field; the name before may hold spaces and brackets. */
    const char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    if (at == NULL || sscanf(at, " %llu", &ticks) != 1) {
        return 0;
    }
    uint64_t age_ms = clock_boot_ns() / NS_PER_MS - ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
    return clock_unix_ms() - age_ms;
}

/* Whether `pid` is that program of this user. */
static bool is_daemon(pid_t pid, const char *program)
{
    char path[64], name[64];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    if (stat(path, &st) != 0 || (st.st_uid != geteuid() && geteuid() != 0)) {
        return false;
    }
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    if (read_text(path, name, sizeof name) != 0) {
        return false;
    }
    name[strcspn(name, "\n")] = '\0';
    return strcmp(name, program) == 0;
}

/* A pid file outlives its process, and a pid is given again: a process that began after the file
 * was written is another one. */
static bool is_older_than_file(pid_t pid, const char *path)
{
    struct stat st;
    uint64_t start_ms = start_of(pid);
    return stat(path, &st) == 0 && start_ms != 0 &&
           start_ms / 1000 <= (uint64_t)st.st_mtim.tv_sec + 2;
}

/* Whether a process has the file open. */
static bool has_open(pid_t pid, const struct stat *file)
{
    char path[PLACE_PATH_MAX];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *fds = opendir(path);
    for (struct dirent *e; fds != NULL && !found && (e = readdir(fds)) != NULL;) {
        struct stat st;
        found = fstatat(dirfd(fds), e->d_name, &st, 0) == 0 && st.st_dev == file->st_dev &&
                st.st_ino == file->st_ino;
    }
    if (fds != NULL) {
        closedir(fds);
    }
    return found;
}

/* The daemon that has its lock file open, where its pid file tells nothing; 0: none. */
static pid_t find_lock_holder(const struct daemon *d)
{
    struct stat st;
    pid_t found = 0;
    DIR *processes = stat(d->lock, &st) == 0 ? opendir("/proc") : NULL;
    for (struct dirent *e; processes != NULL && found == 0 && (e = readdir(processes)) != NULL;) {
        uint64_t pid;
        if (text_parse_u64(e->d_name, INT32_MAX, &pid) == 0 && is_daemon((pid_t)pid, d->program) &&
            has_open((pid_t)pid, &st)) {
            found = (pid_t)pid;
        }
    }
    if (processes != NULL) {
        closedir(processes);
    }
    return found;
}

/* A descriptor that means this process and no other, while it holds the lock; -1. */
static int take_process(const struct daemon *d, pid_t pid, bool by_file)
{
    int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    bool same = fd >= 0 && is_daemon(pid, d->program) &&
                (!by_file || is_older_than_file(pid, d->pid_file)) && files_is_locked(d->lock);
    if (fd >= 0 && !same) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Finds the process behind a lock that is held. */
static void find_process(struct daemon *d)
{
    d->pid = read_pid(d->pid_file);
    d->pidfd = take_process(d, d->pid, true);
    if (d->pidfd < 0) {
        d->pid = find_lock_holder(d);
        d->pidfd = take_process(d, d->pid, false);
    }
    if (d->pidfd < 0) {
        d->pid = 0;
    }
}

static void send_signal(const struct daemon *d, int signal)
{
    if (d->pidfd >= 0) {
        /* Fails only if it is gone already. */
        (void)syscall(SYS_pidfd_send_signal, d->pidfd, signal, NULL, 0);
    }
}

/* Whether its lock is free before the deadline. */
static bool wait_until_free(const struct daemon *d, uint64_t deadline_ns)
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
        if (d->pidfd < 0 || (poll(&fd, 1, left_ms) > 0 && files_is_locked(d->lock))) {
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

static struct daemon *find_nodes(const struct place *place, size_t *ret_count)
{
    char path[PLACE_PATH_MAX];
    struct dirent **names = NULL;
    int count = place_path(place, "nodes", path) == 0 ? scandir(path, &names, NULL, alphasort) : -1;
    struct daemon *found = xcalloc(NODES_MAX, sizeof *found);
    size_t n = 0;
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        struct daemon *d = &found[n];
        bool ok = n < NODES_MAX && place_name_ok(name) &&
                  place_node_path(place, name, "lock", d->lock) == 0 &&
                  place_node_path(place, name, "pid", d->pid_file) == 0 && files_is_locked(d->lock);
        if (ok) {
            snprintf(d->title, sizeof d->title, "Node \"%.63s\"", name);
            d->program = "drt-node";
            find_process(d);
            n++;
        }
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
    failure_set(f, CODE_FAILED, "%s still runs: %s. Look at who holds %.200s, and end it by hand.",
                d->title, d->pidfd < 0 ? "its process was not found" : "it does not end", d->lock);
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
        failure_set(f, CODE_REFUSED,
                    "%.300s belongs to another user. Only who started the cluster stops it.",
                    place->dir);
        return EXIT_REFUSED;
    }
    struct daemon head;
    size_t count;
    int status = EXIT_DONE;
    struct daemon *nodes = find_nodes(place, &count);
    bool has_head = find_head(place, &head);

    if (count == 0 && !has_head) {
        failure_set(f, CODE_NOT_FOUND,
                    "nothing of cluster \"%s\" runs on this machine (looked in %.300s).",
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
