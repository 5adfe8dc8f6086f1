#include "common/inherited.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/text.h"

#define MIB UINT64_C(1048576)

/* A soft limit is raised up to `raise`, as far as the hard one allows; a daemon cannot live with
 * less than `least`. */
static const struct {
    int resource;
    uint64_t raise, least;
    const char *what, *option; /* of ulimit */
} limits[INHERITED_LIMITS] = {
    [INHERITED_FILE_SIZE] = {RLIMIT_FSIZE, RLIM_INFINITY, 64 * MIB, "write files of", "-f"},
    [INHERITED_CPU] = {RLIMIT_CPU, RLIM_INFINITY, 0, "", "-t"},
    [INHERITED_STACK] = {RLIMIT_STACK, 8 * MIB, MIB, "have a stack of", "-s"},
    [INHERITED_DATA] = {RLIMIT_DATA, RLIM_INFINITY, 128 * MIB, "have data of", "-d"},
    [INHERITED_ADDRESSES] = {RLIMIT_AS, RLIM_INFINITY, 256 * MIB, "have virtual memory of", "-v"},
};

static struct rlimit found[INHERITED_LIMITS];
static bool was_found; /* else there is nothing to give back */

/* ---- putting it right ---- */

/* Each descriptor that is closed becomes one that only occupies the number: nothing can be read
 * from it, and a write fails with EBADF as it would have. Where there is no /dev/null (a bare
 * chroot), the root directory does for that. */
static void occupy_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) {
            continue;
        }
        int got = open("/dev/null", O_RDONLY);
        if (got < 0) {
            got = open("/", O_RDONLY | O_DIRECTORY);
        }
        if (got >= 0 && got != fd) {
            (void)dup2(got, fd);
            close(got);
        }
    }
}

static void unblock_all(void)
{
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

void inherited_for_tool(void)
{
    occupy_standard();
    (void)signal(SIGCHLD, SIG_DFL);
    unblock_all();
}

static void raise_soft_limits(void)
{
    for (size_t i = 0; i < INHERITED_LIMITS; i++) {
        if (getrlimit(limits[i].resource, &found[i]) != 0) {
            found[i] = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
        }
        struct rlimit raised = found[i];
        raised.rlim_cur = MAX_OF(found[i].rlim_cur, MIN_OF(limits[i].raise, found[i].rlim_max));
        (void)setrlimit(limits[i].resource, &raised);
    }
    was_found = true;
}

/* Threads get stacks of what the limit was when the process began. */
static void give_threads_room(void)
{
    pthread_attr_t attributes;
    if (found[INHERITED_STACK].rlim_cur >= limits[INHERITED_STACK].least ||
        pthread_attr_init(&attributes) != 0) {
        return;
    }
    if (pthread_attr_setstacksize(&attributes, 2 * MIB) == 0) {
        (void)pthread_setattr_default_np(&attributes);
    }
    (void)pthread_attr_destroy(&attributes);
}

void inherited_for_daemon(void)
{
    occupy_standard();
    for (int number = 1; number <= SIGRTMAX; number++) {
        if (number == SIGALRM || number == SIGVTALRM || number == SIGPROF) {
            continue; /* a timer of the starter lives on through exec: ignored it must stay ignored
                       */
        }
        /* Fails for SIGKILL, SIGSTOP and those that the C library keeps for itself. */
        (void)signal(number, number == SIGXFSZ ? SIG_IGN : SIG_DFL);
    }
    unblock_all();
    umask(077);
    raise_soft_limits();
    give_threads_room();
}

void inherited_close_others(int kept)
{
    if (kept > STDERR_FILENO + 1) {
        (void)close_range(STDERR_FILENO + 1, (unsigned)kept - 1, 0);
    }
    (void)close_range((unsigned)MAX_OF(kept, STDERR_FILENO) + 1, ~0u, 0);
}

/* ---- for those that it starts ---- */

void inherited_soft_limits(uint64_t ret[INHERITED_LIMITS])
{
    for (size_t i = 0; i < INHERITED_LIMITS; i++) {
        ret[i] = was_found ? found[i].rlim_cur : RLIM_INFINITY;
    }
}

void inherited_give_back(const uint64_t soft[INHERITED_LIMITS])
{
    for (size_t i = 0; i < INHERITED_LIMITS; i++) {
        struct rlimit limit;
        if (getrlimit(limits[i].resource, &limit) == 0 && soft[i] < limit.rlim_cur) {
            limit.rlim_cur = soft[i];
            (void)setrlimit(limits[i].resource, &limit);
        }
    }
}

/* ---- what cannot be put right ---- */

int inherited_check_system(struct failure *f)
{
    if (access("/proc/self/exe", F_OK) != 0) {
        return failure_set(f, CODE_FAILED,
                           "/proc is not mounted, and drt needs it. Mount it: mount -t proc proc "
                           "/proc");
    }
    if (access("/dev/null", R_OK | W_OK) != 0) {
        return failure_set(f, CODE_FAILED,
                           "/dev/null cannot be used (%s), and drt needs it. Make it: mknod -m 666 "
                           "/dev/null c 1 3",
                           strerror(errno));
    }
    return 0;
}

int inherited_check(const char *daemon, struct failure *f)
{
    for (size_t i = 0; i < INHERITED_LIMITS; i++) {
        if (found[i].rlim_max < limits[i].least) {
            char has[32], least[32];
            return failure_set(f, CODE_FULL,
                               "%s may %s %s at most here, and needs %s. Raise the limit where it "
                               "is started: ulimit %s unlimited",
                               daemon, limits[i].what, text_format_size(found[i].rlim_max, has),
                               text_format_size(limits[i].least, least), limits[i].option);
        }
    }
    return inherited_check_system(f);
}

bool inherited_warning(const char *daemon, char ret[256])
{
    if (found[INHERITED_CPU].rlim_max == RLIM_INFINITY) {
        return false;
    }
    snprintf(ret, 256,
             "%s will be ended by the system when it has used %" PRIu64
             " s of CPU time, which is the limit where it was started (ulimit -t)",
             daemon, (uint64_t)found[INHERITED_CPU].rlim_max);
    return true;
}

/* ---- variables ---- */

bool inherited_is_drts(const char *entry)
{
    static const char *const names[] = {
        "DRT_BINDIR", "DRT_CLUSTER", "DRT_DIR",    "DRT_KEY_FILE",  "DRT_LOG",        "DRT_LOGS",
        "DRT_MODE",   "DRT_NODE",    "DRT_WORKER", "DRT_WORKER_FD", "DRT_WORKER_NODE"};
    if (strncmp(entry, "DRT_", 4) != 0) {
        return false;
    }
    size_t length = strcspn(entry, "=");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (strlen(names[i]) == length && memcmp(entry, names[i], length) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- descriptors in a program of the user's ---- */

int inherited_lift(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO) {
        return fd;
    }
    int lifted = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int r = lifted < 0 ? -errno : lifted;
    close(fd);
    return r;
}
