/*
 * odd CONDITION[,CONDITION...] PROGRAM ARGUMENT...: becomes the program as an odd starter would
 * have started it. Uses nothing of drt.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/capability.h>

extern char **environ;

static void need(int ok, const char *what)
{
    if (!ok) {
        dprintf(2, "odd: %s: %s\n", what, strerror(errno));
        _exit(99);
    }
}

static void ignore_all(void)
{
    for (int number = 1; number <= SIGRTMAX; number++) {
        (void)signal(number, SIG_IGN);
    }
}

static void block_all(void)
{
    sigset_t all;
    sigfillset(&all);
    need(sigprocmask(SIG_BLOCK, &all, NULL) == 0, "sigprocmask");
}

/* Many, high ones too, none of them close-on-exec. */
static void stray(void)
{
    for (int i = 0; i < 20; i++) {
        need(open("/dev/null", O_RDWR) >= 0, "open");
    }
    need(fcntl(1, F_DUPFD, 900) >= 0, "F_DUPFD");
}

/* The mode bits bind root too: without these two a root of a container has no more than a user. */
static void bind_modes(void)
{
    (void)prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0);
    (void)prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0);
}

static void limit(int which, rlim_t soft, rlim_t hard)
{
    const struct rlimit limit = {soft, hard};
    need(setrlimit(which, &limit) == 0, "setrlimit");
}

static void go_where_it_is_gone(void)
{
    need(mkdir("gone", 0777) == 0 && chdir("gone") == 0 && rmdir("../gone") == 0, "gone");
}

/* Deeper than any path may be long. */
static void go_deep(void)
{
    char name[201];
    memset(name, 'd', 200);
    name[200] = '\0';
    for (int i = 0; i < 25; i++) {
        need((mkdir(name, 0777) == 0 || errno == EEXIST) && chdir(name) == 0, "deep");
    }
}

/* `size` bytes in variables of 100 KiB, and names and texts that no shell makes. */
static void fill_environment(size_t size)
{
    static char big[200][100 << 10];
    size_t own = 0, n = 0;
    while (environ[own] != NULL) {
        own++;
    }
    char **list = calloc(own + 300, sizeof *list);
    need(list != NULL, "calloc");
    list[n++] = "no equals sign";
    list[n++] = "";
    list[n++] = "=nameless";
    list[n++] = "TWICE=1";
    list[n++] = "TWICE=2";
    list[n++] = "DRT_OF_THE_USER=kept";
    list[n++] = "NOT_UTF8=\xff\xfe\xc0\x80";
    list[n++] = "LINES=a\nb\tc\033[31m";
    memcpy(list + n, environ, own * sizeof *list);
    n += own;
    for (size_t i = 0; i < 200 && size > sizeof big[0]; i++) {
        memset(big[i], 'b', sizeof big[i] - 1);
        snprintf(big[i], 16, "BIG_%zu", i);
        big[i][strlen(big[i])] = '=';
        list[n++] = big[i];
        size -= sizeof big[0];
    }
    environ = list;
}

static void apply(const char *condition)
{
    static const struct {
        const char *name;
        int resource;
    } limits[] = {{"cpu=", RLIMIT_CPU},     {"fsize=", RLIMIT_FSIZE}, {"nofile=", RLIMIT_NOFILE},
                  {"stack=", RLIMIT_STACK}, {"data=", RLIMIT_DATA},   {"core=", RLIMIT_CORE}};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        size_t length = strlen(limits[i].name);
        if (strncmp(condition, limits[i].name, length) == 0) {
            unsigned long long soft = strtoull(condition + length, NULL, 0);
            const char *hard = strchr(condition, ':');
            struct rlimit now;
            need(getrlimit(limits[i].resource, &now) == 0, "getrlimit");
            limit(limits[i].resource, soft,
                  hard != NULL ? strtoull(hard + 1, NULL, 0) : now.rlim_max);
            return;
        }
    }
    if (strcmp(condition, "ignore") == 0) {
        ignore_all();
    } else if (strcmp(condition, "nochild") == 0) {
        (void)signal(SIGCHLD, SIG_IGN);
    } else if (strcmp(condition, "block") == 0) {
        block_all();
    } else if (strncmp(condition, "close", 5) == 0) {
        for (const char *at = condition + 5; *at != '\0'; at++) {
            close(*at - '0');
        }
    } else if (strcmp(condition, "stray") == 0) {
        stray();
    } else if (strcmp(condition, "modes") == 0) {
        bind_modes();
    } else if (strncmp(condition, "umask=", 6) == 0) {
        umask((mode_t)strtoul(condition + 6, NULL, 8));
    } else if (strcmp(condition, "gone") == 0) {
        go_where_it_is_gone();
    } else if (strcmp(condition, "deep") == 0) {
        go_deep();
    } else if (strncmp(condition, "environment=", 12) == 0) {
        fill_environment(strtoul(condition + 12, NULL, 10));
    } else if (strcmp(condition, "nice") == 0) {
        need(nice(19) != -1, "nice");
    } else if (strcmp(condition, "timer") == 0) {
        const struct itimerval soon = {.it_value = {.tv_usec = 50000},
                                       .it_interval = {.tv_usec = 50000}};
        (void)signal(SIGALRM, SIG_IGN);
        need(setitimer(ITIMER_REAL, &soon, NULL) == 0, "setitimer");
    } else {
        errno = EINVAL;
        need(condition[0] == '-', condition);
    }
}

int main(int argc, char **argv)
{
    int noargv = 0;
    need(argc >= 3, "odd CONDITIONS PROGRAM ...");
    char *rest = argv[1];
    for (char *word = strsep(&rest, ","); word != NULL; word = strsep(&rest, ",")) {
        if (strcmp(word, "noargv") == 0) {
            noargv = 1;
        } else {
            apply(word);
        }
    }
    char *none[] = {NULL};
    execve(argv[2], noargv ? none : argv + 2, environ);
    need(0, argv[2]);
}
