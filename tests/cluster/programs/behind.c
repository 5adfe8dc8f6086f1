/*
 * behind: bodies that leave their process changed, one way after another, each followed by one that
 * tells how it finds its own. For a cluster of one CPU, so that the same worker runs both if it
 * stays. Prints a line for each.
 */
#include <drt/drt.h>
#include <fcntl.h>
#include <fenv.h>
#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

static void change_directory(void)
{
    (void)!chdir("/");
}

static void change_mask(void)
{
    umask(0777);
}

static void redirect(void)
{
    int fd = open("/dev/null", O_WRONLY);
    dup2(fd, 1);
    dup2(fd, 2);
    close(fd);
    close(0);
}

static void reopen(void)
{
    if (freopen("/dev/null", "w", stdout) == NULL) {
        abort();
    }
}

static void set_alarm(void)
{
    struct itimerval soon = {{0, 0}, {0, 300000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    setitimer(ITIMER_PROF, &soon, NULL);
}

static void block_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static void change_environment(void)
{
    setenv("BEHIND", "1", 1);
    unsetenv("HOME");
    setenv("PATH", "/nowhere", 1);
}

static void clear_environment(void)
{
    clearenv();
}

static void change_locale(void)
{
    setlocale(LC_ALL, "C.UTF-8");
}

static void change_rounding(void)
{
    fesetround(FE_UPWARD);
}

static void change_cpus(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    sched_setaffinity(0, sizeof one, &one);
}

static void lower_soft_limit(void)
{
    struct rlimit l;
    getrlimit(RLIMIT_NOFILE, &l);
    l.rlim_cur = 40;
    setrlimit(RLIMIT_NOFILE, &l);
}

static void forbid_cancel(void)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
}

/* ---- what cannot be put back ---- */

static void leave_group(void)
{
    setpgid(0, 0);
    if (setsid() < 0) { /* it leads its group already */
        pid_t other = fork();
        if (other == 0) {
            setpgid(0, 0);
            pause();
            _exit(0);
        }
        setpgid(other, other);
        setpgid(0, other);
    }
}

static void close_stdout(void)
{
    fclose(stdout);
}

static void open_many(void)
{
    for (int i = 0; i < 100000 && open("/dev/null", O_RDONLY) >= 0; i++) {
    }
}

static void close_all(void)
{
    closefrom(3);
}

static void close_and_open(void)
{
    closefrom(3);
    for (int i = 0; i < 40; i++) {
        (void)!open("/dev/null", O_RDWR);
    }
}

static const struct {
    const char *name;
    void (*change)(void);
} ways[] = {
    {"directory", change_directory},
    {"mask", change_mask},
    {"redirect", redirect},
    {"reopen", reopen},
    {"alarm", set_alarm},
    {"signals", block_signals},
    {"environment", change_environment},
    {"no environment", clear_environment},
    {"locale", change_locale},
    {"rounding", change_rounding},
    {"cpus", change_cpus},
    {"limit", lower_soft_limit},
    {"cancel", forbid_cancel},
    {"group", leave_group},
    {"stdout", close_stdout},
    {"files", open_many},
    {"closed", close_all},
    {"closed and opened", close_and_open},
};

enum { WAYS = sizeof ways / sizeof ways[0] };

DRT_TASK(leave, call, DRT_I64)
{
    int64_t way = drt_arg_i64(call, 0);
    ways[way].change();
    return drt_return(call, drt_i64(getpid()));
}

static double one_third(volatile double one)
{
    return one / 3;
}

struct state {
    int64_t pid;
    char directory[512], home[256], path[256], behind[8], locale[64];
    mode_t mask;
    dev_t devices[3];
    ino_t inodes[3];
    uint8_t blocked[sizeof(sigset_t)];
    int64_t timers[2], soft_files;
    double third;
    cpu_set_t cpus;
    int32_t cancel;
};

static void keep(char *to, size_t size, const char *text)
{
    snprintf(to, size, "%s", text != NULL ? text : "(none)");
}

static void look(struct state *s)
{
    struct itimerval t;
    struct rlimit l;
    struct stat st;
    sigset_t blocked;
    memset(s, 0, sizeof *s);
    s->pid = getpid();
    if (getcwd(s->directory, sizeof s->directory) == NULL) {
        abort();
    }
    keep(s->home, sizeof s->home, getenv("HOME"));
    keep(s->path, sizeof s->path, getenv("PATH"));
    keep(s->behind, sizeof s->behind, getenv("BEHIND"));
    keep(s->locale, sizeof s->locale, setlocale(LC_ALL, NULL));
    s->mask = umask(0);
    umask(s->mask);
    for (int i = 0; i < 3; i++) {
        if (fstat(i, &st) == 0) {
            s->devices[i] = st.st_dev;
            s->inodes[i] = st.st_ino;
        }
    }
    memset(&blocked, 0, sizeof blocked);
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    memcpy(s->blocked, &blocked, sizeof blocked);
    getitimer(ITIMER_REAL, &t);
    s->timers[0] = t.it_value.tv_sec + t.it_value.tv_usec;
    getitimer(ITIMER_PROF, &t);
    s->timers[1] = t.it_value.tv_sec + t.it_value.tv_usec;
    getrlimit(RLIMIT_NOFILE, &l);
    s->soft_files = (int64_t)l.rlim_cur;
    s->third = one_third(1);
    sched_getaffinity(0, sizeof s->cpus, &s->cpus);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &s->cancel);
}

DRT_TASK(tell, call)
{
    struct state s;
    look(&s);
    return drt_return(call, DRT_RECORD(struct state, &s));
}

#define SAME(field) (memcmp(&a->field, &b->field, sizeof a->field) == 0)

/* NULL, or what differs. A worker's standard output is its own: another one's differs. */
static const char *difference(const struct state *a, const struct state *b, bool other_worker)
{
    return !SAME(directory)                 ? "directory"
           : !SAME(home)                    ? "HOME"
           : !SAME(path)                    ? "PATH"
           : !SAME(behind)                  ? "BEHIND"
           : !SAME(locale)                  ? "locale"
           : !SAME(mask)                    ? "mask"
           : !SAME(devices)                 ? "files"
           : !other_worker && !SAME(inodes) ? "files"
           : !SAME(blocked)                 ? "blocked signals"
           : !SAME(timers)                  ? "timers"
           : !SAME(soft_files)              ? "limit"
           : !SAME(third)                   ? "rounding"
           : !SAME(cpus)                    ? "CPUs"
           : !SAME(cancel)                  ? "cancelling"
                                            : NULL;
}

int main(void)
{
    struct state before, after;
    drt_init_or_exit();
    for (int64_t way = 0; way < WAYS; way++) {
        int64_t pid = 0;
        drt_check(DRT_GET_RECORD(drt_submit(tell), struct state, &before));
        drt_check(drt_get_i64(drt_submit(leave, drt_i64(way), DRT_WITH(.max_attempts = 1)), &pid));
        drt_check(DRT_GET_RECORD(drt_submit(tell), struct state, &after));
        const char *what = difference(&before, &after, after.pid != pid);
        printf("%s: %s%s, %s\n", ways[way].name,
               what == NULL ? "as before" : "changed: ", what == NULL ? "" : what,
               after.pid == pid ? "same worker" : "new worker");
    }
    drt_shutdown();
    return 0;
}
