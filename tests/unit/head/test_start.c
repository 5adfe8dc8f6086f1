#include "common/place.h"
#include "proto/keys.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"

#define DEADLINE_MS 20000

/* The real drt-head (its path in DRT_HEAD_PROGRAM), in a home of its own. */

struct run {
    int status;      /* exit code; -1: a signal */
    char text[8192]; /* both outputs */
};

static char *home;

static int make_home(void **state)
{
    home = unit_make_dir();
    setenv("HOME", home, 1);
    unsetenv("DRT_DIR");
    unsetenv("DRT_CLUSTER");
    return 0;
}

static struct run run_head(const char *const *args)
{
    const char *argv[16] = {getenv("DRT_HEAD_PROGRAM")};
    struct run run = {.status = -1};
    int fds[2], status;
    size_t used = 0;
    ssize_t n;
    assert_non_null(argv[0]);
    for (size_t i = 0; args[i] != NULL; i++) {
        argv[i + 1] = args[i];
    }
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(fds[1], STDOUT_FILENO);
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(fds[1]);
    while ((n = read(fds[0], run.text + used, sizeof run.text - 1 - used)) > 0) {
        used += (size_t)n; /* ends only when the daemon, too, has closed its copy */
    }
    close(fds[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    run.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return run;
}

#define RUN(...)   run_head((const char *const[]){__VA_ARGS__, NULL})
#define START(...) RUN("start", "--bind", "127.0.0.1", "--port", "0", ##__VA_ARGS__)

static int stop_and_remove(void **state)
{
    char dir[512];
    snprintf(dir, sizeof dir, "%s/.drt/default", home);
    (void)RUN("stop", "--dir", dir);
    unit_remove_dir(&home);
    return 0;
}

static struct place place_of(const char *cluster)
{
    struct place place = {0};
    struct failure f;
    assert_int_equal(place_for_start(NULL, cluster, &place, &f), 0);
    return place;
}

static unsigned mode_of(const char *name)
{
    struct place place = place_of(NULL);
    char path[PLACE_PATH_MAX];
    struct stat st;
    assert_int_equal(place_path(&place, name, path), 0);
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 0777;
}

static void test_start_says_the_next_step(void **state)
{
    struct run run = START();
    assert_int_equal(run.status, 0);
    assert_non_null(strstr(run.text, "Cluster \"default\" is up.\n\n  Head         127.0.0.1:"));
    assert_non_null(strstr(run.text, "  Directory    ~/.drt/default\n"));
    assert_non_null(strstr(run.text, "drt-node join 127.0.0.1:"));
    assert_non_null(strstr(run.text, "\n  Look                        drt status\n"));
    assert_int_equal(mode_of("."), 0700);
    static const char *const files[] = {"head.key", "join.key",  "client.key", "reader.key",
                                        "head.db",  "head.sock", "head.log"};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        assert_int_equal(mode_of(files[i]), 0600);
    }
    struct place place = place_of(NULL);
    struct keys_member keys;
    struct failure f;
    assert_int_equal(keys_load_role(&place, PEER_NODE, &keys, &f), 0);
    assert_non_null(strstr(run.text, keys.addresses[0])); /* join.key knows the way */
}

static void test_a_directory_of_others_stays_as_it_is(void **state)
{
    char dir[512], path[600];
    struct stat st;
    snprintf(dir, sizeof dir, "%s/shared", home);
    snprintf(path, sizeof path, "%s/theirs", dir);
    assert_int_equal(mkdir(dir, 0755), 0);
    assert_int_equal(chmod(dir, 0755), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    struct run run = START("--dir", dir);
    assert_int_equal(run.status, 4);
    assert_non_null(strstr(run.text, "can be read by other users and holds other files"));
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    assert_int_equal(rmdir(path), 0); /* an empty one is made private */
    assert_int_equal(START("--dir", dir).status, 0);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(RUN("stop", "--dir", dir).status, 0);
}

static void test_second_head_is_refused(void **state)
{
    assert_int_equal(START().status, 0);
    struct run run = START();
    assert_int_equal(run.status, 1);
    assert_non_null(
        strstr(run.text, "drt-head: a head of cluster \"default\" is already running (pid "));
    /* Another cluster may run beside it, and must be named then. */
    run = START("--cluster", "other");
    assert_int_equal(run.status, 0);
    assert_int_equal(RUN("stop").status, 2);
    assert_non_null(strstr(run.text, "drt status --dir ~/.drt/other"));
    assert_int_equal(RUN("stop", "--cluster", "other").status, 0);
}

static void test_port_is_remembered(void **state)
{
    char path[PLACE_PATH_MAX];
    struct buffer first = {0}, second = {0};
    struct place place = place_of(NULL);
    assert_int_equal(START().status, 0);
    assert_int_equal(place_path(&place, "head.port", path), 0);
    assert_int_equal(files_read(path, 100, &first), 0);
    assert_int_equal(RUN("stop").status, 0);
    assert_int_equal(RUN("start", "--bind", "127.0.0.1").status, 0);
    assert_int_equal(files_read(path, 100, &second), 0);
    assert_string_equal(buffer_text(&first), buffer_text(&second));
    buffer_fini(&first);
    buffer_fini(&second);
}

static void test_taken_port_is_an_error_where_it_was_asked_for(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    char port[16];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(port, sizeof port, "%u", ntohs(address.sin_port));
    struct run run = RUN("start", "--bind", "127.0.0.1", "--port", port);
    assert_int_equal(run.status, 1);
    assert_non_null(strstr(run.text, "is in use by another process"));
    assert_non_null(strstr(run.text, port));
    run = RUN("start", "--bind", "203.0.113.9", "--port", port);
    assert_int_equal(run.status, 2);
    assert_non_null(strstr(run.text, "not an address of this machine"));
    close(fd);
    assert_int_equal(START().status, 0); /* nothing is left that would stop this */
}

static void test_keys_that_others_can_read_are_refused(void **state)
{
    struct place place = place_of(NULL);
    char path[PLACE_PATH_MAX];
    assert_int_equal(START().status, 0);
    assert_int_equal(RUN("stop").status, 0);
    assert_int_equal(place_path(&place, "head.key", path), 0);
    chmod(path, 0644);
    struct run run = START();
    assert_int_equal(run.status, 4);
    assert_non_null(strstr(run.text, "head.key can be read by others (mode 0644)"));
    assert_non_null(strstr(run.text, "chmod 600"));
    assert_int_equal(RUN("rekey").status, 0);
    assert_int_equal(START().status, 0);
}

static void test_rekey_only_when_stopped(void **state)
{
    struct place place = place_of(NULL);
    struct keys_head before, after;
    struct failure f;
    assert_int_equal(RUN("rekey").status, 3);
    assert_int_equal(START().status, 0);
    assert_int_equal(keys_load_head(&place, &before, &f), 0);
    struct run run = RUN("rekey");
    assert_int_equal(run.status, 1);
    assert_non_null(strstr(run.text, "is already running"));
    assert_int_equal(RUN("stop").status, 0);
    assert_int_equal(RUN("rekey").status, 0);
    assert_int_equal(keys_load_head(&place, &after, &f), 0);
    assert_string_equal(before.id, after.id);
    assert_string_not_equal(before.server.secret_key, after.server.secret_key);
    assert_string_not_equal(before.access.node_public, after.access.node_public);
}

static void test_stop_waits_until_it_is_free(void **state)
{
    struct place place = place_of(NULL);
    char lock[PLACE_PATH_MAX], socket_path[PLACE_PATH_MAX];
    assert_int_equal(RUN("stop").status, 3);
    assert_int_equal(START().status, 0);
    assert_int_equal(place_path(&place, "head.lock", lock), 0);
    assert_int_equal(place_path(&place, "head.sock", socket_path), 0);
    assert_true(files_is_locked(lock));
    assert_int_equal(RUN("stop").status, 0);
    assert_false(files_is_locked(lock));
    assert_int_not_equal(access(socket_path, F_OK), 0);
    assert_int_equal(RUN("stop").status, 3);
}

static void test_damaged_journal_is_told_and_repaired(void **state)
{
    struct place place = place_of(NULL);
    char path[PLACE_PATH_MAX], old[PLACE_PATH_MAX];
    assert_int_equal(START().status, 0);
    assert_int_equal(RUN("check").status, 1); /* it runs */
    assert_int_equal(RUN("stop").status, 0);
    assert_int_equal(place_path(&place, "head.db", path), 0);
    assert_int_equal(place_path(&place, "head.db.damaged", old), 0);
    struct run run = RUN("check");
    assert_int_equal(run.status, 0);
    assert_non_null(strstr(run.text, "No damage was found."));
    assert_int_equal(files_write_atomic(path, "nonsense", 8, 0600), 0);
    run = START();
    assert_int_equal(run.status, 1);
    assert_non_null(strstr(run.text, "head.db is damaged"));
    assert_non_null(strstr(run.text, "drt-head repair"));
    run = RUN("check");
    assert_int_equal(run.status, 1);
    assert_non_null(strstr(run.text, "is damaged"));
    run = RUN("repair");
    assert_int_equal(run.status, 0);
    assert_non_null(strstr(run.text, "Repaired."));
    assert_int_equal(access(old, F_OK), 0);
    assert_int_equal(RUN("check").status, 0);
    assert_int_equal(START().status, 0);
}

static void test_a_journal_that_is_gone_needs_a_word(void **state)
{
    struct place place = place_of(NULL);
    char path[PLACE_PATH_MAX];
    assert_int_equal(START().status, 0);
    assert_int_equal(RUN("stop").status, 0);
    assert_int_equal(place_path(&place, "head.db", path), 0);
    assert_int_equal(unlink(path), 0);
    struct run run = START();
    assert_int_equal(run.status, 1);
    assert_non_null(strstr(run.text, "missing or empty"));
    assert_int_equal(START("--accept-loss").status, 0);
    assert_int_equal(RUN("stop").status, 0);
    assert_int_equal(START().status, 0);
}

static void test_parent_pipe_ends_it(void **state)
{
    struct place place = place_of(NULL);
    char lock[PLACE_PATH_MAX], number[16];
    int fds[2];
    assert_int_equal(place_path(&place, "head.lock", lock), 0);
    assert_int_equal(pipe(fds), 0);
    fcntl(fds[1], F_SETFD, FD_CLOEXEC);
    snprintf(number, sizeof number, "%d", fds[0]);
    assert_int_equal(START("--parent-pipe", number).status, 0);
    close(fds[0]);
    assert_true(files_is_locked(lock));
    close(fds[1]); /* as the kernel does when the program that holds it ends */
    uint64_t deadline = clock_now_ns() + DEADLINE_MS * NS_PER_MS;
    while (files_is_locked(lock)) {
        assert_true(clock_now_ns() < deadline);
        (void)poll(NULL, 0, 5);
    }
}

static void test_killed_head_starts_again(void **state)
{
    struct place place = place_of(NULL);
    char path[PLACE_PATH_MAX], lock[PLACE_PATH_MAX];
    struct buffer pid = {0};
    assert_int_equal(START().status, 0);
    assert_int_equal(place_path(&place, "head.pid", path), 0);
    assert_int_equal(place_path(&place, "head.lock", lock), 0);
    assert_int_equal(files_read(path, 100, &pid), 0);
    assert_int_equal(kill((pid_t)strtol(buffer_text(&pid), NULL, 10), SIGKILL), 0);
    buffer_fini(&pid);
    uint64_t deadline = clock_now_ns() + DEADLINE_MS * NS_PER_MS;
    while (files_is_locked(lock)) {
        assert_true(clock_now_ns() < deadline);
        (void)poll(NULL, 0, 5);
    }
    assert_int_equal(RUN("stop").status, 3); /* its pid may be another's by now: not signalled */
    assert_int_equal(RUN("start", "--bind", "127.0.0.1").status, 0);
}

static void test_usage(void **state)
{
    assert_int_equal(RUN("strat").status, 2);
    assert_int_equal(RUN("start", "--port", "70000").status, 2);
    assert_int_equal(RUN("start", "--cluster", "../x").status, 2);
    struct run run = RUN("start", "--help");
    assert_int_equal(run.status, 0);
    assert_null(strstr(run.text, "parent-pipe"));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, make_home, stop_and_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_start_says_the_next_step),
        TEST(test_a_directory_of_others_stays_as_it_is),
        TEST(test_second_head_is_refused),
        TEST(test_port_is_remembered),
        TEST(test_taken_port_is_an_error_where_it_was_asked_for),
        TEST(test_keys_that_others_can_read_are_refused),
        TEST(test_rekey_only_when_stopped),
        TEST(test_stop_waits_until_it_is_free),
        TEST(test_damaged_journal_is_told_and_repaired),
        TEST(test_a_journal_that_is_gone_needs_a_word),
        TEST(test_parent_pipe_ends_it),
        TEST(test_killed_head_starts_again),
        TEST(test_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
