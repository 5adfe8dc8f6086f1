#include "common/inherited.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

/* Runs `fn` in a child, which may do to itself what it likes. What it returns is its exit code. */
static int in_child(int (*fn)(void))
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(fn());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool has(int number, void (*handler)(int))
{
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == handler;
}

static bool nothing_is_blocked(void)
{
    sigset_t blocked;
    bool none = sigprocmask(SIG_SETMASK, NULL, &blocked) == 0;
    for (int number = 1; none && number <= SIGRTMAX; number++) {
        none = sigismember(&blocked, number) != 1;
    }
    return none;
}

static void ignore_and_block_all(void)
{
    sigset_t all;
    for (int number = 1; number <= SIGRTMAX; number++) {
        (void)signal(number, SIG_IGN);
    }
    sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, NULL);
}

static int signals_of_a_daemon(void)
{
    ignore_and_block_all();
    inherited_for_daemon();
    int wrong = !nothing_is_blocked() || !has(SIGXFSZ, SIG_IGN) || !has(SIGALRM, SIG_IGN);
    for (int number = 1; number < 32; number++) {
        bool kept = number == SIGXFSZ || number == SIGALRM || number == SIGVTALRM ||
                    number == SIGPROF || number == SIGKILL || number == SIGSTOP;
        wrong |= !kept && !has(number, SIG_DFL);
    }
    return wrong;
}

static int signals_of_a_tool(void)
{
    ignore_and_block_all();
    inherited_for_tool();
    return !nothing_is_blocked() || !has(SIGCHLD, SIG_DFL) || !has(SIGHUP, SIG_IGN);
}

static void test_signals(void **state)
{
    assert_int_equal(in_child(signals_of_a_daemon), 0);
    assert_int_equal(in_child(signals_of_a_tool), 0);
}

/* A closed descriptor is occupied, and fails as before. An open one stays. */
static int closed_descriptors(void)
{
    char byte;
    int fd = dup(2);
    close(0);
    close(1);
    inherited_for_tool();
    struct stat before, after;
    bool same = fstat(fd, &before) == 0 && fstat(2, &after) == 0 && before.st_ino == after.st_ino;
    close(fd);
    return !same || read(0, &byte, 1) > 0 || write(1, "x", 1) != -1 || errno != EBADF ||
           open("/", O_RDONLY) <= 2;
}

static int lifted_descriptors(void)
{
    struct stat null, st;
    close(1);
    int fd = inherited_lift(open("/dev/null", O_RDWR));
    bool good = fd > 2 && fcntl(1, F_GETFD) == -1 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0 &&
                stat("/dev/null", &null) == 0 && fstat(fd, &st) == 0 && null.st_ino == st.st_ino;
    return !good || inherited_lift(fd) != fd || inherited_lift(-5) != -5;
}

static int other_descriptors(void)
{
    int kept = fcntl(0, F_DUPFD, 50);
    int low = fcntl(0, F_DUPFD, 3), high = fcntl(0, F_DUPFD, 60);
    inherited_close_others(kept);
    bool good = fcntl(kept, F_GETFD) >= 0 && fcntl(low, F_GETFD) < 0 && fcntl(high, F_GETFD) < 0;
    inherited_close_others(-1);
    return !good || fcntl(kept, F_GETFD) >= 0 || fcntl(2, F_GETFD) < 0;
}

static void test_descriptors(void **state)
{
    assert_int_equal(in_child(closed_descriptors), 0);
    assert_int_equal(in_child(lifted_descriptors), 0);
    assert_int_equal(in_child(other_descriptors), 0);
}

static int raised_limits(void)
{
    const struct rlimit cpu = {100, 1000}, size = {1 << 20, RLIM_INFINITY},
                        stack = {64 << 10, 16 << 20};
    struct rlimit now;
    struct failure f;
    uint64_t soft[INHERITED_LIMITS];
    char warning[256];
    if (setrlimit(RLIMIT_CPU, &cpu) != 0 || setrlimit(RLIMIT_FSIZE, &size) != 0 ||
        setrlimit(RLIMIT_STACK, &stack) != 0) {
        return 1;
    }
    umask(0);
    inherited_for_daemon();
    inherited_soft_limits(soft);
    bool good = umask(0) == 077 && soft[INHERITED_CPU] == 100 &&
                soft[INHERITED_FILE_SIZE] == 1 << 20 && soft[INHERITED_STACK] == 64 << 10;
    good = good && getrlimit(RLIMIT_CPU, &now) == 0 && now.rlim_cur == 1000;
    good = good && getrlimit(RLIMIT_FSIZE, &now) == 0 && now.rlim_cur == RLIM_INFINITY;
    good = good && getrlimit(RLIMIT_STACK, &now) == 0 && now.rlim_cur == 8 << 20;
    good = good && inherited_check("the node", &f) == 0 && inherited_warning("the node", warning) &&
           strstr(warning, "1000 s of CPU time") != NULL;
    inherited_give_back(soft);
    good = good && getrlimit(RLIMIT_STACK, &now) == 0 && now.rlim_cur == 64 << 10;
    return !good || getrlimit(RLIMIT_CPU, &now) != 0 || now.rlim_cur != 100 || now.rlim_max != 1000;
}

static int too_small_a_limit(void)
{
    const struct rlimit size = {1 << 20, 1 << 20};
    struct failure f = {0};
    (void)setrlimit(RLIMIT_FSIZE, &size);
    inherited_for_daemon();
    return inherited_check("the node", &f) != CODE_FULL ||
           strstr(f.message, "write files of 1.0 MiB at most here, and needs 64.0 MiB") == NULL ||
           strstr(f.message, "ulimit -f unlimited") == NULL;
}

static void test_limits(void **state)
{
    assert_int_equal(in_child(raised_limits), 0);
    assert_int_equal(in_child(too_small_a_limit), 0);
}

static void test_variables(void **state)
{
    assert_true(inherited_is_drts("DRT_MODE=local"));
    assert_true(inherited_is_drts("DRT_LOG="));
    assert_true(inherited_is_drts("DRT_WORKER_FD"));
    assert_false(inherited_is_drts("DRT_LOGFILE=x"));
    assert_false(inherited_is_drts("DRT_=x"));
    assert_false(inherited_is_drts("PATH=DRT_MODE="));
    assert_false(inherited_is_drts(""));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_variables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
