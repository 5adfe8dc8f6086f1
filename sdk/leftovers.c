#include "sdk/leftovers.h"

#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

extern char **environ;

#define STANDARD 3

/* What a descriptor, or a path, leads to. */
struct identity {
    dev_t device;
    ino_t inode;
};

/* The floating-point unit's modes; not its sticky flags. */
struct modes {
    uint32_t a, b;
};

static struct {
    struct modes modes;
    struct identity directory, root, files[STANDARD];
    int directory_fd, file_fds[STANDARD], file_flags[STANDARD];
    mode_t mask;
    sigset_t signals;
    bool has_timer[3];
    locale_t thread_locale;
    char *locale;
    char **environment, **kept; /* what environ points at, and the same again */
    size_t variables;
    struct rlimit limits[RLIM_NLIMITS];
    int priority, policy, death_signal;
    struct sched_param scheduling;
    cpu_set_t cpus;
    uid_t uid, euid;
    gid_t gid, egid;
    pid_t group;
} start;

/* ---- without a system call ---- */

#if defined(__x86_64__) || defined(__i386__)
#define MXCSR_MODES 0xffc0u

static inline struct modes modes_now(void)
{
    uint32_t mxcsr;
    uint16_t word;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    __asm__ volatile("fnstcw %0" : "=m"(word));
    return (struct modes){mxcsr & MXCSR_MODES, word};
}

static void modes_set(struct modes m)
{
    uint16_t word = (uint16_t)m.b;
    __asm__ volatile("ldmxcsr %0" : : "m"(m.a));
    __asm__ volatile("fldcw %0" : : "m"(word));
}
#elif defined(__aarch64__)
static inline struct modes modes_now(void)
{
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return (struct modes){(uint32_t)fpcr, 0};
}

static void modes_set(struct modes m)
{
    uint64_t fpcr = m.a;
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
}
#else
/* Not known for this processor: they stay as a body left them. */
static inline struct modes modes_now(void)
{
    return (struct modes){0, 0};
}

static void modes_set(struct modes m)
{
    (void)m;
}
#endif

void leftovers_restore_modes(void)
{
    struct modes now = modes_now();
    if (UNLIKELY(now.a != start.modes.a || now.b != start.modes.b)) {
        modes_set(start.modes);
    }
    if (UNLIKELY(uselocale((locale_t)0) != start.thread_locale)) {
        uselocale(start.thread_locale);
    }
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL);
}

/* ---- small helpers ---- */

static struct identity identity_of(const struct stat *st)
{
    return (struct identity){st->st_dev, st->st_ino};
}

static bool same(struct identity a, struct identity b)
{
    return a.device == b.device && a.inode == b.inode;
}

static struct identity identity_of_fd(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? identity_of(&st) : (struct identity){0};
}

static struct identity identity_of_path(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? identity_of(&st) : (struct identity){0};
}

/* ---- the beginning ---- */

static void keep_environment(void)
{
    for (char **at = environ; at != NULL && *at != NULL; at++) {
        start.variables++;
    }
    size_t size = (start.variables + 1) * sizeof *environ;
    start.environment = xcalloc(1, size);
    start.kept = xcalloc(1, size);
    if (start.variables != 0) {
        memcpy(start.environment, environ, size);
        memcpy(start.kept, environ, size);
    }
    environ = start.environment;
}

static void keep_files(void)
{
    start.directory_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    start.directory = identity_of_path(".");
    start.root = identity_of_path("/");
    for (int i = 0; i < STANDARD; i++) {
        start.files[i] = identity_of_fd(i);
        start.file_flags[i] = fcntl(i, F_GETFL);
        start.file_fds[i] = fcntl(i, F_DUPFD_CLOEXEC, STANDARD);
    }
}

void leftovers_begin(void)
{
    struct itimerval timer;
    start.modes = modes_now();
    start.thread_locale = uselocale((locale_t)0);
    start.locale = xstrdup(setlocale(LC_ALL, NULL));
    keep_environment();
    keep_files();
    start.mask = umask(0);
    umask(start.mask);
    pthread_sigmask(SIG_SETMASK, NULL, &start.signals);
    for (int i = ITIMER_REAL; i <= ITIMER_PROF; i++) {
        start.has_timer[i] =
            getitimer(i, &timer) != 0 || timer.it_value.tv_sec != 0 || timer.it_value.tv_usec != 0;
    }
    for (int i = 0; i < (int)RLIM_NLIMITS; i++) {
        (void)getrlimit(i, &start.limits[i]);
    }
    start.priority = getpriority(PRIO_PROCESS, 0);
    start.policy = sched_getscheduler(0);
    (void)sched_getparam(0, &start.scheduling);
    (void)sched_getaffinity(0, sizeof start.cpus, &start.cpus);
    (void)prctl(PR_GET_PDEATHSIG, &start.death_signal);
    start.uid = getuid();
    start.euid = geteuid();
    start.gid = getgid();
    start.egid = getegid();
    start.group = getpgid(0);
}

/* ---- the quick look: each says whether it found something ---- */

struct look {
    bool found;
    const char *lost; /* what could not be put back; NULL: all could */
};

static void put_back(struct look *l, bool done, const char *what)
{
    l->found = true;
    if (!done) {
        l->lost = what;
    }
}

static void look_at_directory(struct look *l)
{
    if (UNLIKELY(!same(identity_of_path("."), start.directory))) {
        put_back(l, fchdir(start.directory_fd) == 0, "its working directory");
    }
    mode_t before = umask(start.mask);
    l->found = l->found || before != start.mask;
}

static void look_at_files(struct look *l)
{
    for (int i = 0; i < STANDARD; i++) {
        if (UNLIKELY(!same(identity_of_fd(i), start.files[i]))) {
            /* The copy's number may be another file's by now. */
            bool whole = same(identity_of_fd(start.file_fds[i]), start.files[i]);
            put_back(l, whole && dup2(start.file_fds[i], i) == i,
                     "its standard input, output or error");
        }
    }
}

static void look_at_signals(struct look *l)
{
    sigset_t before;
    memset(&before, 0, sizeof before); /* sigemptyset leaves what the kernel does not use */
    pthread_sigmask(SIG_SETMASK, &start.signals, &before);
    l->found = l->found || memcmp(&before, &start.signals, sizeof before) != 0;
}

/* One that the program had before drt_init is its own. */
static void look_at_timer(struct look *l, int which)
{
    struct itimerval none = {{0, 0}, {0, 0}}, before = none;
    if (!start.has_timer[which] && setitimer(which, &none, &before) == 0) {
        l->found = l->found || before.it_value.tv_sec != 0 || before.it_value.tv_usec != 0;
    }
}

static void look_at_memory(struct look *l)
{
    size_t size = (start.variables + 1) * sizeof *environ;
    if (UNLIKELY(environ != start.environment || memcmp(environ, start.kept, size) != 0)) {
        memcpy(start.environment, start.kept, size);
        environ = start.environment;
        put_back(l, true, "");
    }
    if (UNLIKELY(strcmp(setlocale(LC_ALL, NULL), start.locale) != 0)) {
        put_back(l, setlocale(LC_ALL, start.locale) != NULL, "its locale");
    }
}

/* ---- the whole look ---- */

static void look_at_limits(struct look *l)
{
    for (int i = 0; i < (int)RLIM_NLIMITS; i++) {
        struct rlimit now, *was = &start.limits[i];
        if (getrlimit(i, &now) == 0 &&
            (now.rlim_cur != was->rlim_cur || now.rlim_max != was->rlim_max)) {
            put_back(l, setrlimit(i, was) == 0, "its limits (setrlimit)");
        }
    }
}

static void look_at_scheduling(struct look *l)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    if (getpriority(PRIO_PROCESS, 0) != start.priority) {
        put_back(l, setpriority(PRIO_PROCESS, 0, start.priority) == 0, "its priority (nice)");
    }
    if (sched_getscheduler(0) != start.policy) {
        put_back(l, sched_setscheduler(0, start.policy, &start.scheduling) == 0,
                 "its scheduling policy");
    }
    if (sched_getaffinity(0, sizeof cpus, &cpus) == 0 && !CPU_EQUAL(&cpus, &start.cpus)) {
        put_back(l, sched_setaffinity(0, sizeof start.cpus, &start.cpus) == 0, "its CPUs");
    }
}

static void look_at_identity(struct look *l)
{
    int death_signal = 0;
    if (prctl(PR_GET_PDEATHSIG, &death_signal) == 0 && death_signal != start.death_signal) {
        put_back(l, prctl(PR_SET_PDEATHSIG, start.death_signal) == 0, "its death signal");
    }
    if (getuid() != start.uid || geteuid() != start.euid || getgid() != start.gid ||
        getegid() != start.egid) {
        put_back(l, false, "its user or group");
    }
    if (getpgid(0) != start.group) {
        put_back(l, false, "its process group or session");
    }
    if (!same(identity_of_path("/"), start.root)) {
        put_back(l, false, "its root directory");
    }
}

/* Descriptors that were left open do no harm before there are many. */
static void look_at_open_files(struct look *l)
{
    int free_fd = fcntl(start.file_fds[0], F_DUPFD_CLOEXEC, STANDARD);
    bool full =
        free_fd < 0 ? errno == EMFILE : (rlim_t)free_fd > start.limits[RLIMIT_NOFILE].rlim_cur / 2;
    close_fd(&free_fd);
    if (full) {
        put_back(l, false, "its descriptors (more than half of all that it may have are open)");
    }
    for (int i = 0; i < STANDARD; i++) {
        if (start.file_flags[i] >= 0 && fcntl(i, F_GETFL) != start.file_flags[i]) {
            put_back(l, fcntl(i, F_SETFL, start.file_flags[i]) == 0,
                     "the flags of its standard input, output or error");
        }
    }
    if (fileno(stdout) != STDOUT_FILENO || fileno(stderr) != STDERR_FILENO) {
        put_back(l, false, "stdout or stderr (fclose)");
    }
}

const char *leftovers_restore(struct leftovers_history *h, enum leftovers_depth depth)
{
    struct look l = {0};
    look_at_directory(&l);
    look_at_files(&l);
    look_at_signals(&l);
    look_at_timer(&l, ITIMER_REAL);
    look_at_memory(&l);
    if (depth == LEFTOVERS_ALL) {
        look_at_timer(&l, ITIMER_VIRTUAL);
        look_at_timer(&l, ITIMER_PROF);
        look_at_limits(&l);
        look_at_scheduling(&l);
        look_at_identity(&l);
        look_at_open_files(&l);
    }
    h->runs += h->runs < LEFTOVERS_RUNS;
    h->untidy = h->untidy || l.found;
    return l.lost;
}
