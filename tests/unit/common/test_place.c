#include "common/place.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/files.h"
#include "tests/unit/unit.h"

struct fixture {
    char *home;
    int locks[32];
    size_t lock_count;
};

static const char *const VARIABLES[] = {"DRT_DIR", "DRT_CLUSTER", "DRT_NODE", "DRT_BINDIR"};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    f->home = unit_make_dir();
    setenv("HOME", f->home, 1);
    for (size_t i = 0; i < ARRAY_SIZE(VARIABLES); i++) {
        unsetenv(VARIABLES[i]);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < f->lock_count; i++) {
        close(f->locks[i]);
    }
    unit_remove_dir(&f->home);
    free(f);
    return 0;
}

/* Makes what is above `relative` under HOME and returns its path. */
static const char *in_home(struct fixture *f, const char *relative)
{
    static char path[PLACE_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", f->home, relative);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(files_make_dirs(path, 0700), 0);
    *slash = '/';
    return path;
}

static void make_live(struct fixture *f, const char *lock)
{
    int fd = files_lock(in_home(f, lock));
    assert_true(fd >= 0);
    f->locks[f->lock_count++] = fd;
}

static void write_text(struct fixture *f, const char *relative, const char *text)
{
    assert_int_equal(files_write_atomic(in_home(f, relative), text, strlen(text), 0600), 0);
}

static void check_dir(struct fixture *f, const struct place *p, const char *relative)
{
    char path[PLACE_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", f->home, relative);
    assert_string_equal(p->dir, path);
}

static void test_names(void **state)
{
    char longest[65];
    memset(longest, 'a', 64);
    longest[64] = '\0';
    assert_false(place_name_ok(longest));
    longest[63] = '\0';
    assert_true(place_name_ok(longest));
    assert_true(place_name_ok("box-1.example_2"));
    static const char *const bad[] = {"", ".", "..", "-x", ".x", "a/b", "a b", "a\n", "\xc3\xa9"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_false(place_name_ok(bad[i]));
    }
}

static void test_where_a_new_cluster_goes(void **state)
{
    struct fixture *f = *state;
    struct place p;
    struct failure why;
    assert_int_equal(place_for_start(NULL, NULL, &p, &why), 0);
    check_dir(f, &p, ".drt/default");
    assert_string_equal(p.cluster, "default");
    setenv("DRT_CLUSTER", "blue", 1);
    assert_int_equal(place_for_start(NULL, NULL, &p, &why), 0);
    check_dir(f, &p, ".drt/blue");
    assert_int_equal(place_for_start(NULL, "red", &p, &why), 0);
    check_dir(f, &p, ".drt/red");
    assert_string_equal(p.cluster, "red");
    setenv("DRT_DIR", "/srv/drt//", 1);
    assert_int_equal(place_for_start(NULL, NULL, &p, &why), 0);
    assert_string_equal(p.dir, "/srv/drt");
    assert_string_equal(p.cluster, "drt");
    assert_int_equal(place_for_start("/srv/other", "red", &p, &why), 0);
    assert_string_equal(p.dir, "/srv/other");
    assert_string_equal(p.cluster, "red");
    assert_int_equal(access(in_home(f, ".drt/x"), F_OK), -1);
}

static void test_a_relative_directory_becomes_absolute(void **state)
{
    struct fixture *f = *state;
    struct place p;
    struct failure why;
    char before[PLACE_PATH_MAX];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(f->home), 0);
    assert_int_equal(place_for_start("here", NULL, &p, &why), 0);
    assert_int_equal(chdir(before), 0);
    check_dir(f, &p, "here");
}

static void test_bad_names_are_refused(void **state)
{
    struct place p;
    struct failure why;
    assert_int_equal(place_for_start(NULL, "../x", &p, &why), CODE_SIGNATURE);
    assert_non_null(strstr(why.message, "../x"));
    assert_int_equal(place_find(NULL, "a b", &p, &why), CODE_SIGNATURE);
    setenv("DRT_CLUSTER", ".hidden", 1);
    assert_int_equal(place_for_start(NULL, NULL, &p, &why), CODE_SIGNATURE);
    assert_int_equal(place_find(NULL, NULL, &p, &why), CODE_SIGNATURE);
}

static void test_empty_is_no_directory(void **state)
{
    struct fixture *f = *state;
    struct place p;
    struct failure why;
    assert_int_equal(place_for_start("", NULL, &p, &why), CODE_SIGNATURE);
    assert_non_null(strstr(why.message, "--dir"));
    assert_int_equal(place_find("", NULL, &p, &why), CODE_SIGNATURE);
    assert_int_equal(place_for_start(NULL, "", &p, &why), CODE_SIGNATURE);
    assert_int_equal(place_find(NULL, "", &p, &why), CODE_SIGNATURE);
    setenv("DRT_DIR", "", 1);
    setenv("DRT_CLUSTER", "", 1);
    assert_int_equal(place_for_start(NULL, NULL, &p, &why), 0);
    check_dir(f, &p, ".drt/default");
}

static void test_a_path_that_is_too_long(void **state)
{
    static char dir[PLACE_PATH_MAX + 10];
    struct place p;
    struct failure why;
    memset(dir, 'd', sizeof dir - 1);
    dir[0] = '/';
    assert_int_equal(place_for_start(dir, NULL, &p, &why), CODE_TOO_LARGE);
    dir[PLACE_PATH_MAX - 5] = '\0';
    assert_int_equal(place_for_start(dir, NULL, &p, &why), 0);
    char path[PLACE_PATH_MAX] = "untouched";
    assert_int_equal(place_path(&p, "head.lock", path), -ENAMETOOLONG);
    assert_int_equal(place_node_path(&p, "n", "sock", path), -ENAMETOOLONG);
    assert_string_equal(path, "untouched");
}

static void test_finds_the_only_live_one(void **state)
{
    struct fixture *f = *state;
    struct place p;
    struct failure why;
    assert_int_equal(place_find(NULL, NULL, &p, &why), CODE_NOT_FOUND);
    assert_string_equal(why.message,
                        "no cluster found on this machine (looked in ~/.drt). Start one with "
                        "'drt-head start', or name one with --cluster or DRT_CLUSTER.");
    write_text(f, ".drt/dead/head.lock", "");
    make_live(f, ".drt/local-4711/head.lock");
    make_live(f, ".drt/private-4711/nodes/box-4711/lock");
    assert_int_equal(place_find(NULL, NULL, &p, &why), CODE_NOT_FOUND);
    make_live(f, ".drt/one/head.lock");
    assert_int_equal(place_find(NULL, NULL, &p, &why), 0);
    check_dir(f, &p, ".drt/one");
    /* A node's lock counts as well, and then there are two. */
    make_live(f, ".drt/two/nodes/box/lock");
    assert_int_equal(place_find(NULL, NULL, &p, &why), CODE_EXISTS);
    assert_non_null(strstr(why.message, "one, two"));
    assert_int_equal(place_find(NULL, "two", &p, &why), 0);
    check_dir(f, &p, ".drt/two");
    setenv("DRT_CLUSTER", "dead", 1);
    assert_int_equal(place_find(NULL, NULL, &p, &why), 0);
    check_dir(f, &p, ".drt/dead");
}

/* A sentence names the first ones and counts the others. */
static void test_many_are_counted(void **state)
{
    struct fixture *f = *state;
    struct place p;
    struct failure why;
    char node[64];
    for (int i = 0; i < 8; i++) {
        char lock[64];
        snprintf(lock, sizeof lock, ".drt/one/nodes/box-%d/lock", i);
        make_live(f, lock);
        snprintf(lock, sizeof lock, ".drt/c%d/head.lock", i);
        make_live(f, lock);
    }
    assert_int_equal(place_find(NULL, NULL, &p, &why), CODE_EXISTS);
    assert_non_null(strstr(why.message, "c0, c1, c2, c3, c4, c5 and 3 more"));
    assert_int_equal(place_find(NULL, "one", &p, &why), 0);
    assert_int_equal(place_find_only_node(&p, NULL, node, &why), CODE_EXISTS);
    assert_non_null(
        strstr(why.message, "(box-0, box-1, box-2, box-3, box-4, box-5 and 2 more). Name one"));
    setenv("HOME", "relative", 1);
    assert_int_equal(place_find(NULL, NULL, &p, &why), CODE_NOT_FOUND);
    assert_non_null(strstr(why.message, "HOME is not an absolute path"));
    setenv("HOME", f->home, 1);
}

static void test_named_places_must_be_there(void **state)
{
    struct fixture *f = *state;
    struct place p;
    struct failure why;
    assert_int_equal(place_find("/nonexistent/x", NULL, &p, &why), CODE_NOT_FOUND);
    assert_non_null(strstr(why.message, "/nonexistent/x"));
    assert_int_equal(place_find(NULL, "gone", &p, &why), CODE_NOT_FOUND);
    write_text(f, "elsewhere/name", "green\n");
    setenv("DRT_DIR", in_home(f, "elsewhere"), 1);
    assert_int_equal(place_find(NULL, NULL, &p, &why), 0);
    check_dir(f, &p, "elsewhere");
    assert_string_equal(p.cluster, "green");
    /* --cluster overrules the variable, unless it names the same one. */
    write_text(f, ".drt/red/name", "red");
    assert_int_equal(place_find(NULL, "red", &p, &why), 0);
    check_dir(f, &p, ".drt/red");
    assert_int_equal(place_find(NULL, "green", &p, &why), 0);
    check_dir(f, &p, "elsewhere");
}

static void test_finds_the_lowest_node(void **state)
{
    struct fixture *f = *state;
    struct place p;
    struct failure why;
    char name[64] = "untouched";
    assert_int_equal(place_for_start(NULL, NULL, &p, &why), 0);
    assert_int_equal(place_find_node(&p, NULL, name, &why), CODE_NOT_FOUND);
    assert_non_null(strstr(why.message, "drt-node join"));
    make_live(f, ".drt/default/nodes/a/lock");
    write_text(f, ".drt/default/nodes/a/number", "12\n");
    make_live(f, ".drt/default/nodes/b/lock");
    write_text(f, ".drt/default/nodes/b/number", "7\n");
    write_text(f, ".drt/default/nodes/c/lock", "");
    write_text(f, ".drt/default/nodes/c/number", "1\n");
    make_live(f, ".drt/default/nodes/d/lock");
    assert_int_equal(place_find_node(&p, NULL, name, &why), 0);
    assert_string_equal(name, "b");
    assert_int_equal(place_find_node(&p, "a", name, &why), 0);
    assert_string_equal(name, "a");
    assert_int_equal(place_find_only_node(&p, NULL, name, &why), CODE_EXISTS);
    assert_non_null(strstr(why.message, "a, b, d"));
    assert_int_equal(place_find_only_node(&p, "a", name, &why), 0);
    setenv("DRT_NODE", "d", 1);
    assert_int_equal(place_find_only_node(&p, NULL, name, &why), 0);
    assert_int_equal(place_find_node(&p, NULL, name, &why), 0);
    assert_string_equal(name, "d");
    assert_int_equal(place_find_node(&p, "c", name, &why), CODE_NOT_FOUND);
    assert_non_null(strstr(why.message, "a, b, d"));
    assert_string_equal(name, "d");
}

static void check_socket(const char *path, bool through_proc)
{
    struct sockaddr_un address;
    int dir_fd;
    assert_int_equal(place_socket_address(path, &address, &dir_fd), 0);
    assert_int_equal(dir_fd >= 0, through_proc);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close_fd(&dir_fd);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    close(fd);
}

static void test_sockets_with_short_and_long_paths(void **state)
{
    struct fixture *f = *state;
    char deep[300];
    check_socket(in_home(f, "sock"), false);
    memset(deep, 'd', sizeof deep);
    deep[150] = '\0';
    memcpy(deep + 140, "/sock", 6);
    check_socket(in_home(f, deep), true);
    struct sockaddr_un address;
    int dir_fd = -7;
    memset(deep, 'e', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    assert_int_equal(place_socket_address(deep, &address, &dir_fd), -ENAMETOOLONG);
    memcpy(deep, "/nonexistent/", 13);
    assert_int_equal(place_socket_address(deep, &address, &dir_fd), -ENOENT);
    assert_int_equal(dir_fd, -7);
}

static void make_program(struct fixture *f, const char *relative, mode_t mode)
{
    write_text(f, relative, "#!/bin/sh\n");
    assert_int_equal(chmod(in_home(f, relative), mode), 0);
}

static void test_finds_programs(void **state)
{
    struct fixture *f = *state;
    struct failure why;
    char found[PLACE_PATH_MAX], dirs[1024];
    CLEANUP_FREE char *old_path = xstrdup(getenv("PATH"));
    setenv("PATH", in_home(f, "path/"), 1);
    assert_int_equal(place_find_program("drt-nothing", found, &why), CODE_NOT_FOUND);
    assert_non_null(strstr(why.message, "drt-nothing"));
    assert_non_null(strstr(why.message, "DRT_BINDIR"));
    assert_non_null(strstr(why.message, "PATH"));
    make_program(f, "path/drt-nothing", 0755);
    assert_int_equal(place_find_program("drt-nothing", found, &why), 0);
    assert_string_equal(found + strlen(f->home), "/path//drt-nothing");
    make_program(f, "b/drt-nothing", 0755);
    assert_int_equal(files_make_dirs(in_home(f, "a/drt-nothing"), 0755), 0);
    make_program(f, "c/drt-nothing", 0644);
    snprintf(dirs, sizeof dirs, "%s/a:%s/c:%s/b", f->home, f->home, f->home);
    setenv("DRT_BINDIR", dirs, 1);
    assert_int_equal(place_find_program("drt-nothing", found, &why), 0);
    assert_string_equal(found + strlen(f->home), "/b/drt-nothing");
    setenv("PATH", old_path, 1);
}

static void test_finds_what_stands_beside_this_program(void **state)
{
    struct failure why;
    char found[PLACE_PATH_MAX];
    assert_int_equal(place_find_program("test_common_place", found, &why), 0);
    assert_int_equal(access(found, X_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_where_a_new_cluster_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_relative_directory_becomes_absolute, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_bad_names_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_is_no_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_path_that_is_too_long, setup, teardown),
        cmocka_unit_test_setup_teardown(test_finds_the_only_live_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_named_places_must_be_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_finds_the_lowest_node, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sockets_with_short_and_long_paths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_finds_programs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_finds_what_stands_beside_this_program, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
