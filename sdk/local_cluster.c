#include "sdk/local_cluster.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/files.h"
#include "common/place.h"
#include "common/text.h"
#include "sdk/errors.h"

#define END_LIMIT (3 * NS_PER_S) /* for the daemons to end by themselves */
#define PIPE_FD   3              /* the number that both get the pipe's end under */
#define PIPE_TEXT "3"

extern char **environ;

enum { HEAD = 0, NODE = 1, DAEMONS = 2 };

static struct {
    pid_t owner; /* who started it; a child of it must not end it */
    char dir[PLACE_PATH_MAX];
    int pipes[DAEMONS];  /* our ends: a daemon ends with its own */
    pid_t pids[DAEMONS]; /* 0: not running */
    int output[DAEMONS]; /* their standard output: one line when they are ready */
} local = {.pipes = {-1, -1}, .output = {-1, -1}};

static const char *const names[DAEMONS] = {"drt-head", "drt-node"};

/* ---- the directory ---- */

/* What programs left that were killed: their daemons are gone, nobody holds the locks. */
static void sweep(const char *home)
{
    char path[PLACE_PATH_MAX + 300];
    DIR *dir = opendir(home);
    if (dir == NULL) {
        return;
    }
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        uint64_t pid;
        if (strncmp(e->d_name, "local-", 6) != 0 ||
            text_parse_u64(e->d_name + 6, INT32_MAX, &pid) != 0 || pid == 0) {
            continue;
        }
        if ((pid_t)pid != getpid() && (kill((pid_t)pid, 0) == 0 || errno != ESRCH)) {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s/head.lock", home, e->d_name);
        if (!files_is_locked(path)) {
            snprintf(path, sizeof path, "%s/%s", home, e->d_name);
            (void)files_remove_tree(path);
        }
    }
    closedir(dir);
}

static int make_dir(void)
{
    const char *home = getenv("HOME");
    char drt[PLACE_PATH_MAX - 32];
    if (home == NULL || home[0] != '/') {
        return error_set(-ENOENT, "HOME is not set, so there is no place for a private cluster: "
                                  "set it, or use DRT_MODE=sync");
    }
    if (snprintf(drt, sizeof drt, "%s/.drt", home) >= (int)sizeof drt) {
        return error_set(-ENAMETOOLONG, "HOME is too long a path for a private cluster");
    }
    sweep(drt);
    snprintf(local.dir, sizeof local.dir, "%s/local-%d", drt, (int)getpid());
    int r = files_make_dirs(local.dir, 0700);
    return r == 0 ? 0 : error_set(r, "cannot make %s: %s", local.dir, strerror(-r));
}

/* ---- the daemons ---- */

static int spawn(const char *path, char *const argv[], const char *log, int life, pid_t *ret_pid,
                 int *ret_output)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none;
    int out[2];
    if (pipe2(out, O_CLOEXEC) != 0) {
        return -errno;
    }
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, life, PIPE_FD);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setpgroup(&attr, 0); /* a ^C is the program's, which then ends them */
    posix_spawnattr_setsigmask(&attr, &none);
    int r = posix_spawn(ret_pid, path, &actions, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    if (r != 0) {
        close(out[0]);
        return -r;
    }
    *ret_output = out[0];
    return 0;
}

/* The last line that a daemon wrote to its log: why it ended. */
static void last_words(const char *log, char *ret, size_t size)
{
    struct buffer text = {0};
    text_copy(ret, size, "it said nothing");
    if (files_read(log, 1u << 20, &text) == 0 && text.size > 0) {
        char *words = (char *)(uintptr_t)buffer_text(&text);
        size_t n = strlen(words);
        while (n > 0 && words[n - 1] == '\n') {
            words[--n] = '\0';
        }
        char *line = strrchr(words, '\n');
        text_copy(ret, size, line != NULL ? line + 1 : words);
        text_clean(ret);
    }
    buffer_fini(&text);
}

/* Its first line of output says that it is ready. */
static int await_ready(int which, const char *log, uint64_t deadline_ns)
{
    for (;;) {
        struct pollfd p = {local.output[which], POLLIN, 0};
        uint64_t now = clock_now_ns();
        char byte, why[400];
        if (now >= deadline_ns) {
            return error_set(DRT_E_TIMEOUT,
                             "%s was not ready in time: allow more in drt_config.timeout; its log "
                             "is %s",
                             names[which], log);
        }
        int n = poll(&p, 1, (int)MIN_OF((deadline_ns - now) / NS_PER_MS + 1, 1000));
        if (n <= 0) {
            continue;
        }
        ssize_t got = read(p.fd, &byte, 1);
        if (got == 1 && byte == '\n') {
            return 0;
        }
        if (got == 0 || (got < 0 && errno != EINTR)) {
            last_words(log, why, sizeof why);
            return error_set(DRT_E_PROGRAM, "%s ended at its start: %s", names[which], why);
        }
    }
}

static int start_daemon(int which, char *const argv[], uint64_t deadline_ns)
{
    char path[PLACE_PATH_MAX], log[PLACE_PATH_MAX + 32];
    struct failure f;
    int r = place_find_program(names[which], path, &f);
    if (r > 0) {
        return error_set_failure(&f);
    }
    if (r < 0) {
        return error_set(r, "cannot find %s: %s", names[which], strerror(-r));
    }
    int life[2];
    if (pipe2(life, O_CLOEXEC) != 0) {
        return error_set(-errno, "cannot make a pipe: %s", strerror(errno));
    }
    local.pipes[which] = life[1];
    snprintf(log, sizeof log, "%s/%s.err", local.dir, names[which]);
    r = spawn(path, argv, log, life[0], &local.pids[which], &local.output[which]);
    close(life[0]);
    if (r != 0) {
        return error_set(r, "cannot start %s: %s", path, strerror(-r));
    }
    return await_ready(which, log, deadline_ns);
}

static void stop_at_exit(void)
{
    local_cluster_stop();
}

int local_cluster_start(double num_cpus, uint64_t deadline_ns, const char **ret_dir)
{
    static bool registered;
    char cpus[32];
    char *head[] = {"drt-head", "start",         "--foreground", "--dir",
                    local.dir,  "--bind",        "127.0.0.1",    "--port",
                    "0",        "--parent-pipe", PIPE_TEXT,      NULL};
    char *node[] = {"drt-node", "join",      "--foreground", "--dir", local.dir,
                    "--bind",   "127.0.0.1", "--port",       "0",     "--parent-pipe",
                    PIPE_TEXT,  NULL,        NULL,           NULL};
    if (num_cpus > 0) {
        snprintf(cpus, sizeof cpus, "%.4f", num_cpus);
        node[ARRAY_SIZE(node) - 3] = "--num-cpus";
        node[ARRAY_SIZE(node) - 2] = cpus;
    }
    int r = make_dir();
    if (r != 0) {
        return r;
    }
    local.owner = getpid();
    if (!registered) {
        registered = true;
        atexit(stop_at_exit);
    }
    r = start_daemon(HEAD, head, deadline_ns);
    if (r == 0) {
        r = start_daemon(NODE, node, deadline_ns);
    }
    if (r != 0) {
        local_cluster_stop();
        return r;
    }
    *ret_dir = local.dir;
    return 0;
}

/* ---- the end ---- */

/* Waits for a child to end, without taking longer than what is left. */
static bool has_ended(pid_t pid, uint64_t deadline_ns)
{
    for (;;) {
        int status;
        pid_t got = waitpid(pid, &status, WNOHANG);
        if (got == pid || (got < 0 && errno == ECHILD)) {
            return true;
        }
        if (clock_now_ns() >= deadline_ns) {
            return false;
        }
        (void)poll(NULL, 0, 2);
    }
}

void local_cluster_stop(void)
{
    if (local.owner == 0 || local.owner != getpid()) {
        return;
    }
    uint64_t deadline_ns = clock_now_ns() + END_LIMIT;
    for (int i = DAEMONS - 1; i >= 0; i--) { /* the node first: it says goodbye to the head */
        close_fd(&local.pipes[i]);
        local.pipes[i] = -1;
        if (local.pids[i] > 0 && !has_ended(local.pids[i], deadline_ns)) {
            kill(local.pids[i], SIGKILL);
            (void)has_ended(local.pids[i], clock_now_ns() + END_LIMIT);
        }
        local.pids[i] = 0;
        close_fd(&local.output[i]);
        local.output[i] = -1;
    }
    (void)files_remove_tree(local.dir);
    local.owner = 0;
}
