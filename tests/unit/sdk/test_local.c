/* The private cluster's start, with scripts in the place of the daemons: what is said when they are
 * missing, fail, or are never ready; what is swept; and that nothing stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/files.h"
#include "drt/drt.h"
#include "sdk/local_cluster.h"

static char home[200], bin[240];

static void write_program(const char *name, const char *body)
{
    char path[300], text[1000];
    snprintf(path, sizeof path, "%s/%s", bin, name);
    int n = snprintf(text, sizeof text, "#!/bin/sh\n%s\n", body);
    assert_int_equal(files_write_atomic(path, text, (size_t)n, 0700), 0);
}

static void path_of(const char *relative, char ret[300])
{
    snprintf(ret, 300, "%s/.drt/%s", home, relative);
}

static void make_dir(const char *relative)
{
    char path[300];
    path_of(relative, path);
    assert_int_equal(files_make_dirs(path, 0700), 0);
}

static bool exists(const char *relative)
{
    char path[300];
    struct stat st;
    path_of(relative, path);
    return stat(path, &st) == 0;
}

static bool mine_exists(void)
{
    char name[40];
    snprintf(name, sizeof name, "local-%d", (int)getpid());
    return exists(name);
}

static int start(uint64_t limit_ns)
{
    const char *dir, *node;
    return local_cluster_start(0, clock_now_ns() + limit_ns, &dir, &node);
}

static int setup(void **state)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(home, sizeof home, "%s/drt-local-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(home));
    snprintf(bin, sizeof bin, "%s/bin", home);
    assert_int_equal(files_make_dirs(bin, 0700), 0);
    setenv("HOME", home, 1);
    setenv("DRT_BINDIR", bin, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)files_remove_tree(home);
    return 0;
}

static const char ready[] = "echo ready; cat <&3";

static void test_fails_at_start(void **state)
{
    write_program("drt-head", "echo first >&2; echo 'the disk is full' >&2; exit 1");
    write_program("drt-node", ready);
    assert_int_equal(start(10 * NS_PER_S), DRT_E_PROGRAM);
    assert_non_null(strstr(drt_last_error(), "drt-head ended at its start: the disk is full"));
    assert_false(mine_exists());
    write_program("drt-head", ready);
    write_program("drt-node", "exit 1");
    assert_int_equal(start(10 * NS_PER_S), DRT_E_PROGRAM);
    assert_non_null(strstr(drt_last_error(), "drt-node ended at its start"));
    assert_false(mine_exists());
}

static void test_never_ready(void **state)
{
    write_program("drt-head", "cat <&3");
    assert_int_equal(start(50 * NS_PER_MS), DRT_E_TIMEOUT);
    assert_non_null(strstr(drt_last_error(), "drt-head was not ready"));
    assert_false(mine_exists());
}

/* Both end with the pipe that this process holds, the node first; the directory goes. */
static void test_start_and_stop(void **state)
{
    char log[300];
    struct buffer text = {0};
    const char *dir, *node;
    path_of("../log", log);
    setenv("TEST_LOG", log, 1);
    write_program("drt-head", "echo ready; cat <&3; echo head >> $TEST_LOG");
    write_program("drt-node", "echo \"$@\" > $TEST_LOG; mkdir -p $4/nodes/box; echo ready; cat "
                              "<&3; echo node >> $TEST_LOG");
    assert_int_equal(local_cluster_start(1.5, clock_now_ns() + 10 * NS_PER_S, &dir, &node), 0);
    assert_string_equal(node, "box");
    assert_true(mine_exists());
    struct stat st;
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    local_cluster_stop();
    assert_false(mine_exists());
    assert_int_equal(files_read(log, 4096, &text), 0);
    assert_non_null(strstr(buffer_text(&text), "--num-cpus 1.5000"));
    assert_non_null(strstr(buffer_text(&text), "--bind 127.0.0.1"));
    node = strstr(buffer_text(&text), "\nnode\n");
    assert_non_null(node);
    assert_string_equal(node, "\nnode\nhead\n");
    buffer_fini(&text);
    local_cluster_stop();
}

/* What programs left that were killed goes; what lives, and what is another's, stays. */
static void test_sweep(void **state)
{
    char path[300], live[40];
    snprintf(live, sizeof live, "local-%d", (int)getppid());
    make_dir("local-2147483646/nodes");
    make_dir("local-nothing");
    make_dir("work");
    make_dir(live);
    make_dir("local-2147483645");
    path_of("local-2147483645/head.lock", path);
    int lock = files_lock(path);
    assert_true(lock >= 0);
    write_program("drt-head", "exit 1");
    assert_int_equal(start(10 * NS_PER_S), DRT_E_PROGRAM);
    assert_false(exists("local-2147483646"));
    assert_true(exists("local-nothing") && exists("work") && exists(live));
    assert_true(exists("local-2147483645")); /* its head still lives */
    close(lock);
}

/* A directory as a program of this library makes it: of a machine, with its lock held or not. */
static int make_owned(const char *name, const char *machine, bool locked)
{
    char relative[90], path[300];
    make_dir(name);
    snprintf(relative, sizeof relative, "%s/owner", name);
    path_of(relative, path);
    assert_int_equal(files_write_atomic(path, machine, strlen(machine), 0600), 0);
    int lock = locked ? files_lock(path) : -1;
    assert_true(lock >= 0 || !locked);
    return lock;
}

/* Containers that share a home directory have processes of the same number. */
static void test_pids_repeat(void **state)
{
    struct buffer boot = {0};
    char name[60], other[80], here[500], rebooted[400], host[256] = "";
    const char *dir, *node;
    (void)gethostname(host, sizeof host - 1);
    assert_int_equal(files_read("/proc/sys/kernel/random/boot_id", 100, &boot), 0);
    boot.size--;
    snprintf(here, sizeof here, "%s a-container\n", buffer_text(&boot));
    snprintf(rebooted, sizeof rebooted, "an-older-boot %s\n", host);
    snprintf(name, sizeof name, "local-%d", (int)getpid());
    snprintf(other, sizeof other, "local-%d-2", (int)getpid());
    int lock = make_owned(name, here, true);      /* lives: of our very number, in a container */
    (void)make_owned("local-1", here, false);     /* was killed, and pid 1 lives */
    (void)make_owned("local-5", rebooted, false); /* before this machine was started again */
    (void)make_owned("local-6", "a-boot another-machine\n",
                     false); /* its locks are not seen here */
    write_program("drt-head", ready);
    write_program("drt-node", ready);
    assert_int_equal(local_cluster_start(1, clock_now_ns() + 10 * NS_PER_S, &dir, &node), 0);
    assert_string_equal(strrchr(dir, '/') + 1, other);
    assert_true(exists(name) && exists("local-6"));
    assert_false(exists("local-1") || exists("local-5"));
    local_cluster_stop();
    assert_true(exists(name) && !exists(other));
    close(lock);
    assert_int_equal(local_cluster_start(1, clock_now_ns() + 10 * NS_PER_S, &dir, &node), 0);
    assert_string_equal(strrchr(dir, '/') + 1, name);
    local_cluster_stop();
    buffer_fini(&boot);
}

/* Where HOME cannot be written, TMPDIR serves, in a directory that is closed to others. */
static void test_no_home(void **state)
{
    char blocked[300], tmp[300], mine[340];
    const char *dir, *node;
    struct stat st;
    snprintf(blocked, sizeof blocked, "%s/a-file", home);
    snprintf(tmp, sizeof tmp, "%s/tmp", home);
    snprintf(mine, sizeof mine, "%s/drt-%u", tmp, (unsigned)geteuid());
    assert_int_equal(files_write_atomic(blocked, "x", 1, 0600), 0);
    assert_int_equal(files_make_dirs(tmp, 0777), 0);
    setenv("HOME", blocked, 1);
    const char *former = getenv("TMPDIR");
    CLEANUP_FREE char *tmp_before = former != NULL ? xstrdup(former) : NULL;
    setenv("TMPDIR", tmp, 1);
    write_program("drt-head", ready);
    write_program("drt-node", ready);
    assert_int_equal(local_cluster_start(1, clock_now_ns() + 10 * NS_PER_S, &dir, &node), 0);
    assert_int_equal(strncmp(dir, mine, strlen(mine)), 0);
    assert_int_equal(stat(mine, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    local_cluster_stop();
    /* Somebody else made it first, open to all: not ours to use. */
    assert_int_equal(chmod(mine, 0777), 0);
    assert_int_equal(local_cluster_start(1, clock_now_ns() + 10 * NS_PER_S, &dir, &node), -EPERM);
    assert_non_null(strstr(drt_last_error(), "set HOME or TMPDIR to a directory"));
    setenv("HOME", home, 1);
    if (tmp_before != NULL) {
        setenv("TMPDIR", tmp_before, 1);
    } else {
        unsetenv("TMPDIR");
    }
}

/* ---- a raylet that joins a cluster elsewhere ---- */

static int join(const char *key)
{
    const char *dir, *node;
    int r = private_node_start("10.0.0.5:7420", key, clock_now_ns() + 10 * NS_PER_S, &dir, &node);
    if (r == 0) {
        assert_string_equal(node, "me-77");
    }
    return r;
}

static void says(const char *words)
{
    if (strstr(drt_last_error(), words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", drt_last_error(), words);
    }
}

static void was_started_with(const char *words)
{
    char path[300];
    struct buffer text = {0};
    path_of("../log", path);
    assert_int_equal(files_read(path, 4096, &text), 0);
    assert_non_null(strstr(buffer_text(&text), words));
    buffer_fini(&text);
}

static const char joins[] =
    "echo \"$@.\" > $TEST_LOG; mkdir -p $5/nodes/me-77; echo ready; cat <&3";

static void test_private(void **state)
{
    char path[300], name[40], here[300];
    path_of("../log", path);
    setenv("TEST_LOG", path, 1);
    unsetenv("DRT_KEY_FILE");
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(home), 0);
    snprintf(name, sizeof name, "private-%d", (int)getpid());
    write_program("drt-node", joins);
    assert_int_equal(join(NULL), 0);
    was_started_with("join 10.0.0.5:7420 --private --dir ");
    was_started_with("--parent-pipe 3.");
    assert_true(exists(name));
    local_cluster_stop();
    assert_false(exists(name));
    /* Which key: what is named, the variable's, the working directory's. */
    assert_int_equal(files_write_atomic("join.key", "x", 1, 0600), 0);
    assert_int_equal(join(NULL), 0);
    was_started_with("--join-file join.key.");
    local_cluster_stop();
    assert_int_equal(files_write_atomic("theirs.key", "x", 1, 0600), 0);
    assert_int_equal(files_write_atomic("mine.key", "x", 1, 0600), 0);
    setenv("DRT_KEY_FILE", "./theirs.key", 1);
    assert_int_equal(join(NULL), 0);
    was_started_with("--join-file ./theirs.key.");
    local_cluster_stop();
    assert_int_equal(join("mine.key"), 0);
    was_started_with("--join-file mine.key.");
    local_cluster_stop();
    assert_int_equal(join("gone.key"), DRT_E_REFUSED);
    says("its key gone.key cannot be read");
    unsetenv("DRT_KEY_FILE");
    /* What is swept: not one whose raylet lives on. */
    make_dir("private-2147483646/nodes/a");
    make_dir("private-2147483645/nodes/b");
    path_of("private-2147483645/nodes/b/lock", path);
    int lock = files_lock(path);
    assert_true(lock >= 0);
    assert_int_equal(join(NULL), 0);
    local_cluster_stop();
    assert_false(exists("private-2147483646"));
    assert_true(exists("private-2147483645"));
    close(lock);
    assert_int_equal(chdir(here), 0);
}

static void test_private_refused(void **state)
{
    write_program("drt-node", "echo 'drt-node: no key for it.' >&2; exit 4");
    assert_int_equal(join("/dev/null"), DRT_E_REFUSED);
    says("cannot join the cluster at 10.0.0.5:7420 with /dev/null: no key for it. A program takes");
    says("DRT_KEY_FILE");
    write_program("drt-node", "echo 'drt-node: nobody there.' >&2; exit 3");
    assert_int_equal(join(NULL), DRT_E_NOT_FOUND);
    says("at 10.0.0.5:7420: nobody there");
    write_program("drt-node", "echo 'drt-node: this is no address.' >&2; exit 2");
    assert_int_equal(join(NULL), -EINVAL);
    says("no address");
    write_program("drt-node", "echo 'odd' >&2; kill -9 $$");
    assert_int_equal(join(NULL), DRT_E_PROGRAM);
    says("drt-node ended at its start: odd");
    write_program("drt-node", "echo 'waiting for the head' >&2; cat <&3");
    const char *dir, *node;
    assert_int_equal(private_node_start("a:1", NULL, clock_now_ns() + 100 * NS_PER_MS, &dir, &node),
                     DRT_E_TIMEOUT);
    says("waiting for the head");
}

/* A program that is killed takes the pipes with it: the daemons end by themselves. */
static void test_owner_dies(void **state)
{
    char log[300];
    int status, done[2];
    char byte;
    path_of("../log", log);
    write_program("drt-head", ready);
    write_program("drt-node", ready);
    assert_int_equal(pipe(done), 0);
    pid_t pid = fork();
    if (pid == 0) {
        /* The daemons inherit done[1]: its end-of-file says that they are gone. */
        close(done[0]);
        _exit(start(10 * NS_PER_S) == 0 ? 0 : 1);
    }
    close(done[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(read(done[0], &byte, 1), 0);
    close(done[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fails_at_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_never_ready, setup, teardown),
        cmocka_unit_test_setup_teardown(test_start_and_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sweep, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pids_repeat, setup, teardown),
        cmocka_unit_test_setup_teardown(test_private, setup, teardown),
        cmocka_unit_test_setup_teardown(test_private_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_home, setup, teardown),
        cmocka_unit_test_setup_teardown(test_owner_dies, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
