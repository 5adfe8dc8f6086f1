#include "bench/processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"

extern char **environ;

#define STARTED_MAX 256

static pid_t started[STARTED_MAX]; /* 0: free */

static void remember(pid_t pid)
{
    for (size_t i = 0; i < STARTED_MAX; i++) {
        if (started[i] == 0) {
            started[i] = pid;
            return;
        }
    }
}

static void forget(pid_t pid)
{
    for (size_t i = 0; i < STARTED_MAX; i++) {
        if (started[i] == pid) {
            started[i] = 0;
        }
    }
}

void processes_end_all(void)
{
    for (size_t i = 0; i < STARTED_MAX; i++) {
        if (started[i] != 0) {
            kill(started[i], SIGKILL);
            waitpid(started[i], NULL, 0);
            started[i] = 0;
        }
    }
}

int process_start(char *const argv[], bool capture, struct process *ret)
{
    posix_spawn_file_actions_t actions;
    int ends[2] = {-1, -1};
    pid_t pid;

    if (capture && pipe2(ends, O_CLOEXEC) < 0) {
        return -errno;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (capture) {
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    } else {
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    }
    int rc = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close_fd(&ends[1]);
    if (rc != 0) {
        close_fd(&ends[0]);
        return -rc;
    }
    remember(pid);
    *ret = (struct process){pid, ends[0]};
    return 0;
}

void process_kill(struct process *p)
{
    if (p->pid > 0) {
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
        forget(p->pid);
    }
    if (p->out >= 0) {
        close(p->out);
    }
    *p = (struct process){0, -1};
}

/* Until the pipe is closed; false when the time is over. A daemon that it left behind may hold the
 * pipe open, so the process's own end is enough, too. */
static bool read_all(const struct process *p, uint64_t end_ns, struct buffer *out)
{
    char chunk[4096];

    for (;;) {
        struct pollfd poll_fd = {.fd = p->out, .events = POLLIN};
        int ready = poll(&poll_fd, 1, 2);
        if (ready > 0) {
            ssize_t n = read(p->out, chunk, sizeof chunk);
            if (n <= 0) {
                return true;
            }
            buffer_append(out, chunk, (size_t)n);
            continue;
        }
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid != 0) {
            return true;
        }
        if (clock_now_ns() > end_ns) {
            return false;
        }
    }
}

static bool await_end(pid_t pid, uint64_t end_ns, int *ret_status)
{
    while (waitpid(pid, ret_status, WNOHANG) == 0) {
        if (clock_now_ns() > end_ns) {
            return false;
        }
        nanosleep(&(struct timespec){0, 500000}, NULL);
    }
    return true;
}

int process_finish(struct process *p, double limit_s, struct buffer *out)
{
    uint64_t end_ns = clock_now_ns() + (uint64_t)(limit_s * 1e9);
    struct buffer ignored = {0};
    int status = 0, rc;

    if ((p->out >= 0 && !read_all(p, end_ns, out == NULL ? &ignored : out)) ||
        !await_end(p->pid, end_ns, &status)) {
        process_kill(p);
        rc = -ETIMEDOUT;
    } else {
        forget(p->pid);
        close_fd(&p->out);
        *p = (struct process){0, -1};
        rc = !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    buffer_fini(&ignored);
    return rc;
}

int process_run(char *const argv[], double limit_s, struct buffer *out)
{
    struct process p;
    int rc = process_start(argv, true, &p);

    return rc < 0 ? rc : process_finish(&p, limit_s, out);
}

int process_busy_loop(struct process *ret)
{
    pid_t pid = fork();

    if (pid < 0) {
        return -errno;
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (volatile unsigned long i = 0;; i++) {
        }
    }
    remember(pid);
    *ret = (struct process){pid, -1};
    return 0;
}

void figures_read(struct figures *f, struct buffer *lines)
{
    const char *text = buffer_text(lines);
    char name[32];
    double value;
    int length;

    while (sscanf(text, "%31s %lf\n%n", name, &value, &length) == 2) {
        figures_set(f, name, value);
        text += length;
    }
}

/* ---- what /proc says ---- */

static FILE *open_proc(pid_t pid, const char *name)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return fopen(path, "re");
}

int process_memory(pid_t pid, struct memory *ret)
{
    FILE *file = open_proc(pid, "smaps");
    struct memory memory = {0, 0};
    char line[4096];
    bool is_ring = false;

    if (file == NULL) {
        return -errno;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long long kb;
        if (strstr(line, " kB") == NULL && strchr(line, '-') != NULL) { /* a mapping begins */
            is_ring = strstr(line, "/memfd:") != NULL;
        } else if (is_ring && sscanf(line, "Rss: %llu kB", &kb) == 1) {
            memory.ring_bytes += kb << 10;
        } else if (!is_ring && (sscanf(line, "Private_Clean: %llu kB", &kb) == 1 ||
                                sscanf(line, "Private_Dirty: %llu kB", &kb) == 1)) {
            memory.private_bytes += kb << 10;
        }
    }
    fclose(file);
    *ret = memory;
    return 0;
}

uint64_t process_anon_bytes(pid_t pid)
{
    FILE *file = open_proc(pid, "status");
    unsigned long long kb = 0;
    char line[256];

    while (file != NULL && fgets(line, sizeof line, file) != NULL &&
           sscanf(line, "RssAnon: %llu kB", &kb) != 1) {
    }
    if (file != NULL) {
        fclose(file);
    }
    return kb << 10;
}

double process_cpu_s(pid_t pid)
{
    FILE *file = open_proc(pid, "stat");
    unsigned long long user = 0, system = 0;
    char line[1024] = "";

    if (file == NULL) {
        return 0;
    }
    if (fgets(line, sizeof line, file) != NULL) {
        const char *after = strrchr(line, ')'); /* the name may hold anything */
        if (after != NULL) {
            (void)sscanf(after, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
                         &system);
        }
    }
    fclose(file);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static void each_process(bool (*fits)(pid_t pid, const void *arg), const void *arg, pid_t *ret,
                         size_t room, size_t *ret_count)
{
    DIR *directory = opendir("/proc");
    struct dirent *entry;
    uint64_t pid;

    *ret_count = 0;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        if (text_parse_u64(entry->d_name, INT32_MAX, &pid) == 0 && *ret_count < room &&
            fits((pid_t)pid, arg)) {
            ret[(*ret_count)++] = (pid_t)pid;
        }
    }
    if (directory != NULL) {
        closedir(directory);
    }
}

static bool has_text(pid_t pid, const void *arg)
{
    const char *const *wanted = arg; /* name, text */
    char name[64] = "", line[8192];
    FILE *file = open_proc(pid, "comm");

    if (file != NULL) {
        name[fread(name, 1, sizeof name - 1, file)] = '\0';
        name[strcspn(name, "\n")] = '\0';
        fclose(file);
    }
    if (strcmp(name, wanted[0]) != 0 || (file = open_proc(pid, "cmdline")) == NULL) {
        return false;
    }
    size_t size = fread(line, 1, sizeof line, file);
    fclose(file);
    return memmem(line, size, wanted[1], strlen(wanted[1])) != NULL;
}

size_t processes_find(const char *name, const char *text, pid_t *ret, size_t room)
{
    const char *wanted[2] = {name, text};
    size_t count;

    each_process(has_text, wanted, ret, room, &count);
    return count;
}

static bool has_parent(pid_t pid, const void *arg)
{
    FILE *file = open_proc(pid, "stat");
    char line[1024] = "";
    int parent = 0;

    if (file == NULL) {
        return false;
    }
    if (fgets(line, sizeof line, file) != NULL) {
        const char *after = strrchr(line, ')');
        if (after != NULL) {
            (void)sscanf(after, ") %*c %d", &parent);
        }
    }
    fclose(file);
    return parent == *(const pid_t *)arg;
}

size_t processes_children(pid_t parent, pid_t *ret, size_t room)
{
    size_t count;

    each_process(has_parent, &parent, ret, room, &count);
    return count;
}
