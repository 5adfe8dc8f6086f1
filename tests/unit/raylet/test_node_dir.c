#include "raylet/node_dir.h"

#include <sys/stat.h>
#include <unistd.h>

#include "common/files.h"
#include "tests/unit/unit.h"

static struct place place_in(const char *dir)
{
    struct place p = {0};
    snprintf(p.dir, sizeof p.dir, "%s", dir);
    return p;
}

static bool is_there(const struct node_dir *d, const char *name)
{
    char path[PLACE_PATH_MAX];
    assert_int_equal(node_dir_path(d, name, path), 0);
    return access(path, F_OK) == 0;
}

static void make_file(const struct node_dir *d, const char *name)
{
    char path[PLACE_PATH_MAX];
    assert_int_equal(node_dir_path(d, name, path), 0);
    assert_int_equal(files_write_atomic(path, "x", 1, 0600), 0);
}

static void test_one_at_a_time(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    struct place place = place_in(dir);
    struct node_dir a, b;
    struct failure f;
    struct stat st;
    assert_int_equal(node_dir_open(&place, "box", &a, &f), 0);
    assert_int_equal(stat(a.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(a.former_number, 0);
    assert_int_equal(a.former_port, 0);
    assert_false(a.unclean);
    assert_int_equal(node_dir_open(&place, "box", &b, &f), CODE_EXISTS);
    assert_non_null(strstr(f.message, "--name"));
    assert_int_equal(node_dir_open(&place, "box-2", &b, &f), 0);
    node_dir_close(&b);
    node_dir_close(&a);
    node_dir_close(&a);
    assert_int_equal(node_dir_open(&place, "box", &a, &f), 0);
    node_dir_close(&a);
    assert_int_equal(node_dir_open(&place, "../box", &a, &f), CODE_FAILED);
}

static void test_what_is_remembered(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    struct place place = place_in(dir);
    struct node_dir d;
    struct failure f;
    char path[PLACE_PATH_MAX], secret[CLUSTER_SECRET_SIZE];
    assert_int_equal(node_dir_open(&place, "box", &d, &f), 0);
    assert_int_equal(strlen(d.secret), CLUSTER_SECRET_SIZE - 1);
    memcpy(secret, d.secret, sizeof secret);
    assert_int_equal(node_dir_set_number(&d, 7), 0);
    assert_int_equal(node_dir_set_port(&d, 7431), 0);
    assert_int_equal(node_dir_set_pid(&d), 0);
    node_dir_close(&d);
    assert_int_equal(node_dir_open(&place, "box", &d, &f), 0);
    assert_int_equal(d.former_number, 7);
    assert_int_equal(d.former_port, 7431);
    assert_string_equal(d.secret, secret);
    assert_false(d.unclean);

    /* Killed: the lock goes, the pid stays. */
    assert_int_equal(node_dir_set_pid(&d), 0);
    close_fd(&d.lock);
    assert_int_equal(node_dir_path(&d, "port", path), 0);
    assert_int_equal(files_write_atomic(path, "70000\n", 6, 0600), 0);
    assert_int_equal(node_dir_open(&place, "box", &d, &f), 0);
    assert_true(d.unclean);
    assert_int_equal(d.former_port, 0);
    node_dir_close(&d);

    /* A broken secret is made anew, and is another one. */
    snprintf(path, sizeof path, "%s/nodes/box/secret", dir);
    assert_int_equal(files_write_atomic(path, "broken", 6, 0600), 0);
    assert_int_equal(node_dir_open(&place, "box", &d, &f), 0);
    assert_int_equal(strlen(d.secret), CLUSTER_SECRET_SIZE - 1);
    assert_string_not_equal(d.secret, secret);
    node_dir_close(&d);

    struct node_dir other;
    assert_int_equal(node_dir_open(&place, "box", &d, &f), 0);
    assert_int_equal(node_dir_open(&place, "box-2", &other, &f), 0);
    assert_string_not_equal(d.secret, other.secret);
    node_dir_close(&other);
    node_dir_close(&d);
}

static void test_logs_of_the_raylet_before(void **state)
{
    CLEANUP_DIR char *dir = unit_make_dir();
    struct place place = place_in(dir);
    struct node_dir d;
    struct failure f;
    assert_int_equal(node_dir_open(&place, "box", &d, &f), 0);
    make_file(&d, "logs/first");
    node_dir_close(&d);
    assert_int_equal(node_dir_open(&place, "box", &d, &f), 0);
    assert_true(is_there(&d, "logs.old/first"));
    assert_false(is_there(&d, "logs/first"));
    make_file(&d, "logs/second");
    node_dir_close(&d);
    assert_int_equal(node_dir_open(&place, "box", &d, &f), 0);
    assert_true(is_there(&d, "logs.old/second"));
    assert_false(is_there(&d, "logs.old/first"));
    node_dir_close(&d);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_what_is_remembered),
        cmocka_unit_test(test_logs_of_the_raylet_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
