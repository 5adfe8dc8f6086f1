#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/stop.h"
#include "common/files.h"

struct fixture {
    struct place place;
    pid_t pids[4];
    size_t count;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    snprintf(f->place.dir, sizeof f->place.dir, "/tmp/drt-test-stop-XXXXXX");
    snprintf(f->place.cluster, sizeof f->place.cluster, "test");
    *state = f;
    return mkdtemp(f->place.dir) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < f->count; i++) {
        kill(f->pids[i], SIGKILL);
        waitpid(f->pids[i], NULL, 0);
    }
    int r = files_remove_tree(f->place.dir);
    free(f);
    return r;
}

static void write_pid(const char *path, pid_t pid)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%d\n", (int)pid);
    assert_int_equal(files_write_atomic(path, text, (size_t)n, 0600), 0);
}

/* A process that is called like a daemon and holds its lock, as a child that its parent reaps. */
static pid_t start_daemon(struct fixture *f, const char *folder, const char *lock,
                          const char *program, bool stubborn)
{
    char path[PLACE_PATH_MAX], dir[PLACE_PATH_MAX];
    int ready[2];
    char byte;
    assert_int_equal(place_path(&f->place, folder, dir), 0);
    assert_int_equal(files_make_dirs(dir, 0700), 0);
    assert_int_equal(place_path(&f->place, lock, path), 0);
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NAME, program);
        signal(SIGTERM, stubborn ? SIG_IGN : SIG_DFL);
        if (files_lock(path) < 0 || write(ready[1], "x", 1) != 1) {
            _exit(1);
        }
        for (;;) {
            pause();
        }
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    f->pids[f->count++] = pid;
    return pid;
}

static void assert_ended_by(pid_t pid, int signal)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), signal);
}

static void stops_nodes_and_the_head(void **state)
{
    struct fixture *f = *state;
    struct buffer out = {0};
    struct failure failure = {0};
    char path[PLACE_PATH_MAX], expected[256];
    pid_t node = start_daemon(f, "nodes/a", "nodes/a/lock", "drt-node", false);
    pid_t head = start_daemon(f, "", "head.lock", "drt-head", false);
    assert_int_equal(place_path(&f->place, "nodes/a/pid", path), 0);
    write_pid(path, node);

    /* The head has no pid file here: who has its lock open is found. */
    assert_int_equal(stop_cluster(&f->place, STOP_LIMIT_NS, &out, &failure), EXIT_DONE);
    snprintf(expected, sizeof expected,
             "Node \"a\" stopped (process %d).\nThe head stopped (process %d).\n", (int)node,
             (int)head);
    assert_string_equal(buffer_text(&out), expected);
    assert_ended_by(node, SIGTERM);
    assert_ended_by(head, SIGTERM);
    f->count = 0;
    buffer_clear(&out);
    assert_int_equal(stop_cluster(&f->place, STOP_LIMIT_NS, &out, &failure), EXIT_NO_CLUSTER);
    buffer_fini(&out);
}

static void kills_what_does_not_end(void **state)
{
    struct fixture *f = *state;
    struct buffer out = {0};
    struct failure failure = {0};
    pid_t node = start_daemon(f, "nodes/a", "nodes/a/lock", "drt-node", true);
    assert_int_equal(stop_cluster(&f->place, 50 * NS_PER_MS, &out, &failure), EXIT_DONE);
    assert_non_null(strstr(buffer_text(&out), "Node \"a\" was killed"));
    assert_ended_by(node, SIGKILL);
    f->count = 0;
    buffer_fini(&out);
}

static void a_stale_pid_file_harms_nobody(void **state)
{
    struct fixture *f = *state;
    struct buffer out = {0};
    struct failure failure = {0};
    char path[PLACE_PATH_MAX];
    pid_t innocent = start_daemon(f, "", "other.lock", "drt-node", false);
    pid_t stranger = start_daemon(f, "", "third.lock", "sleep", false);
    pid_t node = start_daemon(f, "nodes/a", "nodes/a/lock", "drt-node", false);
    assert_int_equal(place_path(&f->place, "nodes/a/pid", path), 0);
    write_pid(path, innocent);
    /* A node too, and the file is new: so it is where containers share a home directory, which
     * count their processes apart. It does not hold this lock. */
    assert_int_equal(stop_cluster(&f->place, STOP_LIMIT_NS, &out, &failure), EXIT_DONE);
    assert_ended_by(node, SIGTERM);
    assert_int_equal(waitpid(innocent, NULL, WNOHANG), 0);

    /* And one of another program. */
    node = start_daemon(f, "nodes/b", "nodes/b/lock", "drt-node", false);
    assert_int_equal(place_path(&f->place, "nodes/b/pid", path), 0);
    write_pid(path, stranger);
    assert_int_equal(stop_cluster(&f->place, STOP_LIMIT_NS, &out, &failure), EXIT_DONE);
    assert_ended_by(node, SIGTERM);
    assert_int_equal(waitpid(stranger, NULL, WNOHANG), 0);
    f->count = 2;
    buffer_fini(&out);
}

/* A process that holds the locks of many nodes: of more than any bound that a tool might have. */
static void all_nodes_are_stopped(void **state)
{
    enum { NODES = 400 };
    struct fixture *f = *state;
    struct buffer out = {0};
    struct failure failure = {0};
    char path[PLACE_PATH_MAX], relative[64], byte;
    int ready[2];
    for (int i = 0; i < NODES; i++) {
        snprintf(relative, sizeof relative, "nodes/n%d", i);
        assert_int_equal(place_path(&f->place, relative, path), 0);
        assert_int_equal(files_make_dirs(path, 0700), 0);
    }
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NAME, "drt-node");
        for (int i = 0; i < NODES; i++) {
            snprintf(relative, sizeof relative, "nodes/n%d/lock", i);
            if (place_path(&f->place, relative, path) != 0 || files_lock(path) < 0) {
                _exit(1);
            }
        }
        bool told = write(ready[1], "x", 1) == 1;
        while (told) {
            pause();
        }
        _exit(1);
    }
    f->pids[f->count++] = pid;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    assert_int_equal(stop_cluster(&f->place, STOP_LIMIT_NS, &out, &failure), EXIT_DONE);
    size_t lines = 0;
    for (const char *at = buffer_text(&out); (at = strstr(at, "stopped (process")) != NULL; at++) {
        lines++;
    }
    assert_int_equal(lines, NODES);
    assert_ended_by(pid, SIGTERM);
    f->count = 0;
    buffer_fini(&out);
}

/* Whose process cannot be seen (it is called otherwise here) is told, not taken for stopped. */
static void who_is_not_found_is_told(void **state)
{
    struct fixture *f = *state;
    struct buffer out = {0};
    struct failure failure = {0};
    pid_t pid = start_daemon(f, "nodes/a", "nodes/a/lock", "elsewhere", false);
    assert_int_equal(stop_cluster(&f->place, 20 * NS_PER_MS, &out, &failure), EXIT_FAILED);
    assert_non_null(strstr(failure.message, "another container or on another machine"));
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
    buffer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(stops_nodes_and_the_head, setup, teardown),
        cmocka_unit_test_setup_teardown(kills_what_does_not_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stale_pid_file_harms_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(all_nodes_are_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_not_found_is_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
