#include "raylet/guard.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "raylet/descent.h"
#include "raylet/launcher.h"

#define PASS_MS  20
#define LIMIT_NS (5 * NS_PER_S)

static int spawn(const char *node_dir, int pipe_end, pid_t *ret_pid)
{
    char *argv[] = {"drt-node", GUARD_FLAG, (char *)node_dir, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int r = posix_spawn_file_actions_init(&actions);
    if (r != 0) {
        return -r;
    }
    r = posix_spawnattr_init(&attributes);
    if (r != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -r;
    }
    r = posix_spawn_file_actions_adddup2(&actions, pipe_end, 0);
    if (r == 0) {
        r = posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    }
    if (r == 0) {
        r = posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    }
    if (r == 0) {
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                                  POSIX_SPAWN_SETSIGDEF);
        r = posix_spawn(ret_pid, "/proc/self/exe", &actions, &attributes, argv, environ);
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -r;
}

int guard_start(struct guard *ret, const char *node_dir)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -errno;
    }
    CLEANUP_FD int theirs = ends[0];
    CLEANUP_FD int mine = ends[1];
    pid_t pid = 0;
    int r = spawn(node_dir, theirs, &pid);
    if (r == 0) {
        *ret = (struct guard){.pid = pid, .pipe = mine};
        mine = -1;
    }
    return r;
}

void guard_stop(struct guard *g)
{
    if (g->pid > 0) {
        (void)kill(g->pid, SIGKILL);
        (void)waitpid(g->pid, NULL, 0);
    }
    close_fd(&g->pipe);
    *g = (struct guard){.pipe = -1};
}

struct search {
    const char *node_dir;
    size_t found;
};

static void end_if_marked(pid_t pid, void *arg)
{
    struct search *search = arg;
    if (pid != getpid() && descent_has_variable(pid, LAUNCHER_WORKER_NODE, search->node_dir)) {
        (void)kill(pid, SIGKILL);
        search->found++;
    }
}

size_t guard_end_marked(const char *node_dir)
{
    struct search search = {.node_dir = node_dir};
    descent_each(end_if_marked, &search);
    return search.found;
}

void guard_main(int argc, char **argv)
{
    char byte;
    ssize_t n;
    if (argc < 3) {
        _exit(2);
    }
    (void)prctl(PR_SET_NAME, "drt-guard");
    (void)close_range(3, ~0u, 0); /* what the raylet's caller left open is not ours to hold */
    do {
        n = read(STDIN_FILENO, &byte, 1);
    } while (n > 0 || (n < 0 && errno == EINTR));
    /* Passes, for a process may fork while we look; the last one finds nobody. */
    uint64_t deadline_ns = clock_now_ns() + LIMIT_NS;
    while (guard_end_marked(argv[2]) != 0 && clock_now_ns() < deadline_ns) {
        (void)poll(NULL, 0, PASS_MS);
    }
    _exit(0);
}
