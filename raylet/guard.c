#include "raylet/guard.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "raylet/descent.h"
#include "raylet/launcher.h"

#define CHILDREN_MAX 4096u /* of one pass */
#define HASTY_PASSES 1000u /* then there is a pause between two */
#define PASS_MS      1

/* ---- by the node's mark ---- */

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

/* ---- the guard ---- */

/* What stops a process is not among them: the guard stands still and goes on with its raylet. */
static void choose_signals(sigset_t *ret)
{
    sigfillset(ret);
    sigdelset(ret, SIGTSTP);
    sigdelset(ret, SIGTTIN);
    sigdelset(ret, SIGTTOU);
    sigdelset(ret, SIGCONT);
}

/* It must hold nothing that somebody waits to see closed: no pipe, no output, no directory. */
static void let_go(void)
{
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++) {
        if (null < 0 || (null != fd && dup2(null, fd) < 0)) {
            close(fd);
        }
    }
    (void)close_range(3, ~0u, 0);
    if (chdir("/") < 0) {
        return; /* then it keeps a directory busy, which is no harm to its work */
    }
}

/* Until the raylet has ended: how it did. What a terminal sends goes to the raylet by itself, for
 * it is in the same process group. */
static int await_end(pid_t raylet, const sigset_t *signals)
{
    for (;;) {
        siginfo_t info;
        int status, signal = sigwaitinfo(signals, &info);
        if (signal == SIGCHLD) {
            for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
                if (pid == raylet) {
                    return status;
                }
            }
        } else if (signal > 0 && info.si_code <= 0) {
            (void)kill(raylet, signal);
        }
    }
}

/* They are our children, and their numbers theirs until we reap them. Who is killed hands its own
 * children on to us, so this goes on until there is none; one that the kernel cannot end just now
 * is waited for. */
static void end_rest(void)
{
    pid_t *children = xmalloc(CHILDREN_MAX * sizeof *children);
    for (unsigned pass = 0;; pass++) {
        size_t count = descent_children(children, CHILDREN_MAX);
        for (size_t i = 0; i < count; i++) {
            (void)kill(children[i], SIGKILL);
        }
        pid_t pid;
        do {
            pid = waitpid(-1, NULL, WNOHANG);
        } while (pid > 0);
        if (pid < 0 && errno == ECHILD) {
            break;
        }
        if (pass >= HASTY_PASSES) {
            (void)poll(NULL, 0, PASS_MS);
        }
    }
    free(children);
}

/* For whoever waits for us, and took us for the raylet. */
static NORETURN void end_as(int status)
{
    if (WIFSIGNALED(status)) {
        const struct rlimit none = {0};
        sigset_t one;
        (void)setrlimit(RLIMIT_CORE, &none); /* the raylet's own is the one to look at */
        (void)signal(WTERMSIG(status), SIG_DFL);
        sigemptyset(&one);
        sigaddset(&one, WTERMSIG(status));
        (void)raise(WTERMSIG(status));
        (void)sigprocmask(SIG_UNBLOCK, &one, NULL);
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static NORETURN void guard(pid_t raylet, const sigset_t *signals)
{
    (void)prctl(PR_SET_NAME, "drt-guard");
    let_go();
    int status = await_end(raylet, signals);
    /* The first process of a container is given the orphans of all others in it, too; with its own
     * end the kernel ends all that is in there. */
    if (getpid() != 1) {
        end_rest();
    }
    end_as(status);
}

int guard_begin(void)
{
    sigset_t signals, before;
    pid_t parent = getpid();
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        return -errno;
    }
    (void)signal(SIGCHLD, SIG_DFL); /* ignored, nobody could be waited for */
    choose_signals(&signals);
    (void)sigprocmask(SIG_BLOCK, &signals, &before);
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) {
        int r = -errno;
        (void)sigprocmask(SIG_SETMASK, &before, NULL);
        return r;
    }
    if (child > 0) {
        guard(child, &signals);
    }
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    /* The order matters: a guard that died before the first line is found by the second. */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent) {
        _exit(1);
    }
    return 0;
}
