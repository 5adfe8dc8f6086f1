#include "sdk/local_cluster.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/files.h"
#include "common/inherited.h"
#include "common/place.h"
#include "common/resources.h"
#include "common/text.h"
#include "sdk/errors.h"
#include "sdk/private_dir.h"

#define END_LIMIT (3 * NS_PER_S) /* for the daemons to end by themselves */
#define PIPE_FD   3              /* the number that both get their end under */
#define PIPE_TEXT "3"

extern char **environ;

enum { HEAD = 0, NODE = 1, DAEMONS = 2 };

static struct {
    pid_t owner; /* who started it; a child of it must not end it */
    struct private_dir dir;
    char node[256];     /* the raylet's name */
    int lives[DAEMONS]; /* our ends of socket pairs: a daemon ends when its own ends */
    struct fd_mark life_marks[DAEMONS], output_marks[DAEMONS];
    pid_t pids[DAEMONS]; /* what was spawned; 0: nothing, or reaped. It detaches the daemon and ends
                          */
    pid_t daemons[DAEMONS]; /* 0: none that is known */
    int output[DAEMONS];    /* their standard output: one line when they are ready */
} local = {.dir.lock = -1, .lives = {-1, -1}, .output = {-1, -1}};

static const char *const names[DAEMONS] = {"drt-head", "drt-node"};

/* ---- the daemons ---- */

/* Both ends above the standard descriptors, which may be closed in this program. On failure both
 * are closed. */
static int lift(int ends[2])
{
    for (size_t i = 0; i < 2; i++) {
        ends[i] = inherited_lift(ends[i]);
    }
    int r = MIN_OF(MIN_OF(ends[0], ends[1]), 0);
    if (r != 0) {
        close_fd(&ends[0]);
        close_fd(&ends[1]);
    }
    return r;
}

/* Readable for this user whatever the umask is: what a daemon last said is read from it. */
static int open_log(const char *path)
{
    int fd = inherited_lift(open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (fd < 0) {
        return -errno;
    }
    (void)fchmod(fd, 0600);
    return fd;
}

static int spawn(const char *path, char *const argv[], int log, int life, pid_t *ret_pid,
                 int *ret_output)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int out[2];
    int r = pipe2(out, O_CLOEXEC) != 0 ? -errno : lift(out);
    if (r != 0) {
        return r;
    }
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, log, 2);
    posix_spawn_file_actions_adddup2(&actions, life, PIPE_FD);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                        POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attr, 0); /* a ^C is the program's, which then ends them */
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all); /* the program may ignore what they need */
    r = posix_spawn(ret_pid, path, &actions, &attr, argv, environ);
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

/* The last line that a daemon wrote to its log: why it ended. Without its own name. */
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
        line = line != NULL ? line + 1 : words;
        for (size_t i = 0; i < DAEMONS; i++) {
            size_t name = strlen(names[i]);
            if (strncmp(line, names[i], name) == 0 && strncmp(line + name, ": ", 2) == 0) {
                line += name + 2;
            }
        }
        text_copy(ret, size, line);
        text_clean(ret);
    }
    buffer_fini(&text);
}

/* A daemon is no child of this program, which may wait for all of its children. It says over its
 * end of the pair who it is, and how it ends if it does so at its start. False: nothing came. */
static bool was_told(int which, int32_t *ret)
{
    return fd_mark_is(&local.life_marks[which], local.lives[which]) &&
           recv(local.lives[which], ret, sizeof *ret, MSG_DONTWAIT) == sizeof *ret;
}

static void learn_who(int which)
{
    int32_t pid;
    if (local.daemons[which] == 0 && was_told(which, &pid)) {
        local.daemons[which] = pid;
    }
}

/* Reaps what was spawned. False: it still runs. */
static bool reap(int which, int *ret_status)
{
    pid_t got = local.pids[which] > 0 ? waitpid(local.pids[which], ret_status, WNOHANG) : -1;
    if (got == 0 || (got < 0 && errno == EINTR)) {
        return false;
    }
    local.pids[which] = 0;
    return true;
}

/* Whether a daemon has closed its output, which it does by ending. Nothing is read: the program may
 * have closed our end, and the number may be its own file's now. */
static bool has_closed(int which)
{
    struct pollfd p = {local.output[which], 0, 0};
    if (p.fd < 0) {
        return true;
    }
    if (!fd_mark_is(&local.output_marks[which], p.fd)) {
        pid_t pid = local.daemons[which];
        return pid <= 0 || (kill(pid, 0) != 0 && errno == ESRCH);
    }
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

/* Waits for a daemon to end, without taking longer than what is left. */
static bool has_ended(int which, uint64_t deadline_ns, int *ret_status)
{
    for (;;) {
        if (has_closed(which) && reap(which, ret_status)) {
            return true;
        }
        if (clock_now_ns() >= deadline_ns) {
            return false;
        }
        (void)poll(NULL, 0, 2);
    }
}

/* How drt's programs exit. */
static int end_code(int which)
{
    int status = 0;
    int32_t code;
    (void)has_ended(which, clock_now_ns() + END_LIMIT, &status);
    learn_who(which);
    if (!was_told(which, &code)) {
        code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    }
    switch (code) {
    case 2:
        return -EINVAL;
    case 3:
        return DRT_E_NOT_FOUND;
    case 4:
        return DRT_E_REFUSED;
    default:
        return DRT_E_PROGRAM;
    }
}

/* Its first line of output says that it is ready. */
static int await_ready(int which, const char *log, uint64_t deadline_ns)
{
    for (;;) {
        struct pollfd p = {local.output[which], POLLIN, 0};
        uint64_t now = clock_now_ns();
        char byte, why[700];
        if (now >= deadline_ns) {
            last_words(log, why, sizeof why);
            return error_set(DRT_E_TIMEOUT,
                             "%s was not ready in time: allow more in drt_config.timeout; the last "
                             "that it said: %s",
                             names[which], why);
        }
        int n = poll(&p, 1, (int)MIN_OF((deadline_ns - now) / NS_PER_MS + 1, 1000));
        if (n <= 0) {
            continue;
        }
        ssize_t got = read(p.fd, &byte, 1);
        if (got == 1 && byte == '\n') {
            int ignored;
            learn_who(which);
            (void)reap(which, &ignored);
            return 0;
        }
        if (got == 0 || (got < 0 && errno != EINTR)) {
            last_words(log, why, sizeof why);
            int code = end_code(which);
            return code != DRT_E_PROGRAM
                       ? error_set(code, "%s", why)
                       : error_set(code, "%s ended at its start: %s", names[which], why);
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
    /* A socket, not a pipe: the daemon learns from it who made it, and ends with that process, also
     * when a child of it holds this end. */
    int life[2];
    r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, life) != 0 ? -errno : lift(life);
    if (r != 0) {
        return error_set(r, "cannot make a pair of sockets: %s", strerror(-r));
    }
    local.lives[which] = life[1];
    local.life_marks[which] = fd_mark_of(life[1]);
    snprintf(log, sizeof log, "%s/%s.err", local.dir.path, names[which]);
    int log_fd CLEANUP_FD = open_log(log);
    r = log_fd < 0 ? log_fd
                   : spawn(path, argv, log_fd, life[0], &local.pids[which], &local.output[which]);
    close(life[0]);
    if (r != 0) {
        return error_set(r, "cannot start %s: %s", path, strerror(-r));
    }
    local.output_marks[which] = fd_mark_of(local.output[which]);
    return await_ready(which, log, deadline_ns);
}

static void stop_at_exit(void)
{
    local_cluster_stop();
}

static int begin(const char *kind)
{
    static bool registered;
    int r = private_dir_make(kind, &local.dir);
    if (r == 0) {
        local.owner = getpid();
    }
    if (r == 0 && !registered) {
        registered = true;
        atexit(stop_at_exit);
    }
    return r;
}

int local_cluster_start(double num_cpus, uint64_t deadline_ns, const char **ret_dir,
                        const char **ret_node)
{
    char cpus[32];
    char *head[] = {"drt-head", "start",     "--foreground", "--dir", local.dir.path,
                    "--bind",   "127.0.0.1", "--port",       "0",     "--parent-pipe",
                    PIPE_TEXT,  NULL};
    char *node[] = {"drt-node", "join",      "--foreground", "--dir", local.dir.path,
                    "--bind",   "127.0.0.1", "--port",       "0",     "--parent-pipe",
                    PIPE_TEXT,  NULL,        NULL,           NULL};
    int64_t cpu_units = 0;
    if (resource_units(num_cpus, &cpu_units) != 0) {
        return error_set(-EINVAL,
                         "drt_config.num_cpus is %g: it can be 0 (all CPUs), or a number from "
                         "0.0001 on",
                         num_cpus);
    }
    if (cpu_units > 0) {
        snprintf(cpus, sizeof cpus, "%" PRId64 ".%04d", cpu_units / RESOURCE_UNIT,
                 (int)(cpu_units % RESOURCE_UNIT));
        node[ARRAY_SIZE(node) - 3] = "--num-cpus";
        node[ARRAY_SIZE(node) - 2] = cpus;
    }
    int r = begin("local");
    if (r != 0) {
        return r;
    }
    r = start_daemon(HEAD, head, deadline_ns);
    if (r == 0) {
        r = start_daemon(NODE, node, deadline_ns);
    }
    if (r != 0) {
        local_cluster_stop();
        return r;
    }
    *ret_dir = local.dir.path;
    *ret_node = private_dir_find_node(local.dir.path, local.node) ? local.node : NULL;
    return 0;
}

/* ---- a raylet that joins a cluster elsewhere ---- */

/* The key that the program or its user names; NULL: none. */
static const char *find_key(const char *key_file)
{
    const char *named = key_file != NULL ? key_file : getenv("DRT_KEY_FILE");
    if (named != NULL && named[0] != '\0') {
        return named;
    }
    return access("join.key", R_OK) == 0 ? "join.key" : NULL;
}

/* What a user can do about it, in words for who has no command line of drt-node before them. */
static int explain(int code, const char *address, const char *key)
{
    char why[700];
    text_copy(why, sizeof why, drt_last_error());
    size_t n = strlen(why);
    if (n > 0 && why[n - 1] == '.') {
        why[n - 1] = '\0';
    }
    if (code != DRT_E_REFUSED && code != -EINVAL) {
        return error_set(code, "cannot join the cluster at %s: %s", address, why);
    }
    return error_set(code,
                     "cannot join the cluster at %s with %s: %s. A program takes its join.key from "
                     "drt_config.key_file, DRT_KEY_FILE, the working directory or ~/.drt",
                     address, key != NULL ? key : "a key below ~/.drt", why);
}

int private_node_start(const char *address, const char *key_file, uint64_t deadline_ns,
                       const char **ret_dir, const char **ret_node)
{
    const char *key = find_key(key_file);
    char to[300], file[PLACE_PATH_MAX];
    char *node[] = {"drt-node",      "join",    to,   "--private", "--dir", local.dir.path,
                    "--parent-pipe", PIPE_TEXT, NULL, NULL,        NULL};
    if (!text_copy(to, sizeof to, address) || (key != NULL && !text_copy(file, sizeof file, key))) {
        return error_set(-ENAMETOOLONG, "the cluster's address or its key's path is too long");
    }
    if (key != NULL && access(key, R_OK) != 0) {
        return error_set(DRT_E_REFUSED,
                         "cannot join the cluster at %s: its key %s cannot be read (%s). Copy "
                         "join.key from the directory of its head to this machine, and name it "
                         "with DRT_KEY_FILE",
                         address, key, strerror(errno));
    }
    if (key != NULL) {
        node[ARRAY_SIZE(node) - 3] = "--join-file";
        node[ARRAY_SIZE(node) - 2] = file;
    }
    int r = begin("private");
    if (r == 0) {
        r = start_daemon(NODE, node, deadline_ns);
        if (r == 0 && !private_dir_find_node(local.dir.path, local.node)) {
            r = error_set(DRT_E_PROGRAM, "drt-node made no directory in %s", local.dir.path);
        }
        if (r != 0) {
            r = explain(r, address, key);
            local_cluster_stop();
        }
    }
    if (r == 0) {
        *ret_dir = local.dir.path;
        *ret_node = local.node;
    }
    return r;
}

/* ---- the end ---- */

void local_cluster_stop(void)
{
    if (local.owner == 0 || local.owner != getpid()) {
        return;
    }
    uint64_t deadline_ns = clock_now_ns() + END_LIMIT;
    int status;
    for (int i = DAEMONS - 1; i >= 0; i--) { /* the node first: it says goodbye to the head */
        learn_who(i);
        fd_mark_close(&local.life_marks[i], &local.lives[i]);
        pid_t pid = local.daemons[i] != 0 ? local.daemons[i] : local.pids[i];
        if (!has_ended(i, deadline_ns, &status) && pid > 0) {
            kill(pid, SIGKILL); /* it has its output open, so the number is still its own */
            (void)has_ended(i, clock_now_ns() + END_LIMIT, &status);
        }
        local.pids[i] = local.daemons[i] = 0;
        fd_mark_close(&local.output_marks[i], &local.output[i]);
    }
    private_dir_remove(&local.dir);
    local.owner = 0;
}

void local_cluster_forget(void)
{
    for (int i = 0; i < DAEMONS; i++) {
        fd_mark_close(&local.life_marks[i], &local.lives[i]);
        fd_mark_close(&local.output_marks[i], &local.output[i]);
        local.pids[i] = local.daemons[i] = 0;
    }
    local.owner = 0;
}
