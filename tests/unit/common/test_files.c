#include "common/files.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static char *in(const char *dir, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return xstrdup(path);
}

static unsigned mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void test_make_dirs(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    CLEANUP_FREE char *deep = in(dir, "a/b//c/");
    CLEANUP_FREE char *middle = in(dir, "a/b");
    CLEANUP_FREE char *file = in(dir, "file");
    CLEANUP_FREE char *beneath = in(dir, "file/x");
    assert_int_equal(files_make_dirs(deep, 0700), 0);
    assert_int_equal(files_make_dirs(deep, 0700), 0);
    assert_int_equal(mode_of(middle), 0700);
    assert_int_equal(files_write_atomic(file, "x", 1, 0600), 0);
    assert_int_equal(files_make_dirs(file, 0700), -ENOTDIR);
    assert_int_equal(files_make_dirs(beneath, 0700), -ENOTDIR);
    assert_int_equal(files_make_dirs("", 0700), -ENOENT);
    assert_int_equal(files_make_dirs("/", 0700), 0);
}

static void test_write_and_read(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    CLEANUP_FREE char *path = in(dir, "data");
    static uint8_t big[200000];
    struct buffer b = {0};
    memset(big, 'y', sizeof big);
    assert_int_equal(files_write_atomic(path, big, sizeof big, 0640), 0);
    assert_int_equal(mode_of(path), 0640);
    buffer_append_text(&b, "head");
    assert_int_equal(files_read(path, sizeof big, &b), 0);
    assert_int_equal(b.size, 4 + sizeof big);
    assert_memory_equal(b.data, "heady", 5);
    assert_int_equal(files_write_atomic(path, "", 0, 0600), 0);
    buffer_clear(&b);
    assert_int_equal(files_read(path, 10, &b), 0);
    assert_int_equal(b.size, 0);
    buffer_fini(&b);
}

static void test_read_is_bounded(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    CLEANUP_FREE char *path = in(dir, "data");
    struct buffer b = {0};
    assert_int_equal(files_write_atomic(path, "12345", 5, 0600), 0);
    assert_int_equal(files_read(path, 4, &b), -EFBIG);
    assert_int_equal(b.size, 0);
    assert_int_equal(files_read(path, 5, &b), 0);
    assert_int_equal(b.size, 5);
    /* These have no end, or tell no size. */
    assert_int_equal(files_read("/dev/zero", 100000, &b), -EFBIG);
    assert_int_equal(b.size, 5);
    assert_int_equal(files_read("/proc/self/status", 1 << 20, &b), 0);
    assert_true(b.size > 5);
    CLEANUP_FREE char *missing = in(dir, "missing");
    assert_int_equal(files_read(missing, 10, &b), -ENOENT);
    assert_int_equal(files_read(dir, 1 << 20, &b), -EISDIR);
    buffer_fini(&b);
}

static void test_write_leaves_nothing_beside(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    CLEANUP_FREE char *taken = in(dir, "taken");
    CLEANUP_FREE char *nowhere = in(dir, "none/file");
    assert_int_equal(files_make_dirs(taken, 0700), 0);
    assert_int_equal(files_write_atomic(taken, "x", 1, 0600), -EISDIR);
    assert_int_equal(files_write_atomic(nowhere, "x", 1, 0600), -ENOENT);
    assert_int_equal(rmdir(taken), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_private(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    CLEANUP_FREE char *path = in(dir, "key");
    unsigned mode = 0;
    assert_int_equal(files_check_private(path, &mode), -ENOENT);
    assert_int_equal(files_write_atomic(path, "x", 1, 0600), 0);
    assert_int_equal(files_check_private(path, &mode), 0);
    assert_int_equal(mode, 0);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(files_check_private(path, &mode), -EPERM);
    assert_int_equal(mode, 0640);
    assert_int_equal(chmod(path, 0604), 0);
    assert_int_equal(files_check_private(path, &mode), -EPERM);
}

static void test_remove_tree_does_not_follow_links(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    CLEANUP_FREE char *tree = in(dir, "tree");
    CLEANUP_FREE char *deep = in(dir, "tree/a/b");
    CLEANUP_FREE char *link_path = in(dir, "tree/a/link");
    CLEANUP_FREE char *kept_dir = in(dir, "kept");
    CLEANUP_FREE char *kept = in(dir, "kept/file");
    assert_int_equal(files_make_dirs(deep, 0700), 0);
    assert_int_equal(files_make_dirs(kept_dir, 0700), 0);
    assert_int_equal(files_write_atomic(kept, "x", 1, 0600), 0);
    assert_int_equal(symlink(kept_dir, link_path), 0);
    assert_int_equal(files_remove_tree(tree), 0);
    assert_int_equal(access(tree, F_OK), -1);
    assert_int_equal(access(kept, F_OK), 0);
    assert_int_equal(files_remove_tree(tree), 0);
    assert_int_equal(files_remove_tree(kept), 0);
    assert_int_equal(access(kept, F_OK), -1);
}

static void test_lock(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    CLEANUP_FREE char *path = in(dir, "lock");
    assert_false(files_is_locked(path));
    int fd = files_lock(path);
    assert_true(fd >= 0);
    assert_int_equal(mode_of(path), 0600);
    assert_true(files_is_locked(path));
    assert_int_equal(files_lock(path), -EWOULDBLOCK);
    assert_true(files_is_locked(path));
    close(fd);
    assert_false(files_is_locked(path));
    fd = files_lock(path);
    assert_true(fd >= 0);
    close(fd);
}

static void test_a_lock_ends_with_its_process(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    CLEANUP_FREE char *path = in(dir, "lock");
    int pipe_fds[2];
    char ready;
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd = files_lock(path);
        ready = fd >= 0 ? 'y' : 'n';
        _exit(write(pipe_fds[1], &ready, 1) == 1 && pause() ? 0 : 1);
    }
    assert_int_equal(read(pipe_fds[0], &ready, 1), 1);
    assert_int_equal(ready, 'y');
    assert_true(files_is_locked(path));
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(files_is_locked(path));
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void test_the_limit_of_open_files_rises(void **state)
{
    struct rlimit before, low, now;
    uint64_t former;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = 40;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    uint64_t most = MIN_OF(before.rlim_max, (rlim_t)100);
    assert_int_equal(files_raise_limit(100, &former), most);
    assert_int_equal(former, 40);
    assert_int_equal(files_raise_limit(50, &former), most); /* never lower */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
    assert_int_equal(now.rlim_cur, most);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_make_dirs),
        cmocka_unit_test(test_write_and_read),
        cmocka_unit_test(test_read_is_bounded),
        cmocka_unit_test(test_write_leaves_nothing_beside),
        cmocka_unit_test(test_private),
        cmocka_unit_test(test_remove_tree_does_not_follow_links),
        cmocka_unit_test(test_lock),
        cmocka_unit_test(test_a_lock_ends_with_its_process),
        cmocka_unit_test(test_the_limit_of_open_files_rises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
