#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "cli/where.h"
#include "common/files.h"

#define ADDRESS "10.0.0.5:7420"

struct rig {
    char home[64];
    struct failure f;
    struct remote_wish wish;
};

static void make_place(const struct rig *rig, const char *name, struct place *ret)
{
    struct failure f;
    char dir[128];
    snprintf(dir, sizeof dir, "%s/.drt/%s", rig->home, name);
    assert_int_equal(place_for_start(dir, NULL, ret, &f), 0);
}

/* ~/.drt/<name>/client.key, as copied from the head; or all that the head's own directory has. */
static void put_keys(const struct rig *rig, const char *name, const char *address, bool is_head)
{
    static const char *const others[] = {"head.key", "join.key", "reader.key"};
    struct place place;
    struct keys_head keys;
    struct failure f;
    char path[PLACE_PATH_MAX];
    make_place(rig, name, &place);
    assert_int_equal(files_make_dirs(place.dir, 0700), 0);
    assert_int_equal(keys_create(&place, name, &keys, &f), 0);
    assert_int_equal(keys_set_addresses(&place, &address, 1, &f), 0);
    for (size_t i = 0; i < ARRAY_SIZE(others) && !is_head; i++) {
        assert_int_equal(place_path(&place, others[i], path), 0);
        assert_int_equal(unlink(path), 0);
    }
}

static void assert_key(const struct rig *rig, const char *relative)
{
    char path[PLACE_PATH_MAX];
    snprintf(path, sizeof path, "%s/.drt/%s", rig->home, relative);
    assert_string_equal(rig->wish.key_file, path);
}

static int setup(void **state)
{
    struct rig *rig = xcalloc(1, sizeof *rig);
    snprintf(rig->home, sizeof rig->home, "/tmp/drt-test-where-XXXXXX");
    if (mkdtemp(rig->home) == NULL) {
        return -1;
    }
    setenv("HOME", rig->home, 1);
    unsetenv("DRT_DIR");
    unsetenv("DRT_CLUSTER");
    unsetenv("DRT_KEY_FILE");
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    int r = files_remove_tree(rig->home);
    free(rig);
    return r;
}

static void an_address_or_a_key_means_the_network(void **state)
{
    assert_false(where_is_remote(&(struct where){0}));
    assert_false(where_is_remote(&(struct where){.cluster = "prod"}));
    assert_true(where_is_remote(&(struct where){.cluster = ADDRESS}));
    assert_true(where_is_remote(&(struct where){.cluster = "[::1]"}));
    assert_true(where_is_remote(&(struct where){.key_file = "client.key"}));
    setenv("DRT_KEY_FILE", "client.key", 1);
    assert_false(where_is_remote(&(struct where){0}));
    setenv("DRT_CLUSTER", ADDRESS, 1);
    assert_true(where_is_remote(&(struct where){0}));
    /* Options win over variables. */
    assert_false(where_is_remote(&(struct where){.cluster = "prod"}));
    assert_false(where_is_remote(&(struct where){.dir = "/srv/drt"}));
}

static void addresses_are_read(void **state)
{
    struct rig *rig = *state;
    struct where w = {.key_file = "k"};
    static const struct {
        const char *text, *address;
    } cases[] = {{ADDRESS, ADDRESS},
                 {"[::1]", "[::1]:7420"},
                 {"[fe80::1]:99", "[fe80::1]:99"},
                 {"box.example:1", "box.example:1"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        w.cluster = cases[i].text;
        assert_int_equal(where_remote(&w, &rig->wish, &rig->f), 0);
        assert_string_equal(rig->wish.address, cases[i].address);
        assert_string_equal(rig->wish.cluster, "");
    }
    static const char *const bad[] = {":", "box:", "box:0", "box:70000", "a b:1", "::1"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        w.cluster = bad[i];
        assert_int_equal(where_remote(&w, &rig->wish, &rig->f), CODE_SIGNATURE);
        assert_non_null(strstr(rig->f.message, "host:port"));
    }
}

static void the_key_is_the_nearest_named(void **state)
{
    struct rig *rig = *state;
    struct where w = {.cluster = ADDRESS, .dir = "/srv/a", .key_file = "option.key"};
    setenv("DRT_KEY_FILE", "variable.key", 1);
    setenv("DRT_DIR", "/srv/b", 1);
    assert_int_equal(where_remote(&w, &rig->wish, &rig->f), 0);
    assert_string_equal(rig->wish.key_file, "option.key");
    w.key_file = NULL;
    assert_int_equal(where_remote(&w, &rig->wish, &rig->f), 0);
    assert_string_equal(rig->wish.key_file, "variable.key");
    unsetenv("DRT_KEY_FILE");
    assert_int_equal(where_remote(&w, &rig->wish, &rig->f), 0);
    assert_string_equal(rig->wish.key_file, "/srv/a/client.key");
    w.dir = NULL;
    assert_int_equal(where_remote(&w, &rig->wish, &rig->f), 0);
    assert_string_equal(rig->wish.key_file, "/srv/b/client.key");
    unsetenv("DRT_DIR");
    setenv("DRT_CLUSTER", "prod", 1);
    assert_int_equal(where_remote(&w, &rig->wish, &rig->f), 0);
    assert_key(rig, "prod/client.key");
    assert_string_equal(rig->wish.address, ADDRESS);
}

static void a_key_that_names_the_address_is_found(void **state)
{
    struct rig *rig = *state;
    struct where w = {.cluster = ADDRESS};
    assert_int_equal(where_remote(&w, &rig->wish, &rig->f), CODE_REFUSED);
    assert_non_null(strstr(rig->f.message, "--key-file"));
    put_keys(rig, "a", "10.0.0.6:7420", false);
    put_keys(rig, "b", ADDRESS, false);
    put_keys(rig, "c", ADDRESS, true);
    assert_int_equal(where_remote(&w, &rig->wish, &rig->f), 0);
    assert_key(rig, "b/client.key");
    /* Of several, the one whose head runs here. */
    char lock[128];
    snprintf(lock, sizeof lock, "%s/.drt/c/head.lock", rig->home);
    int fd = files_lock(lock);
    assert_true(fd >= 0);
    assert_int_equal(where_remote(&w, &rig->wish, &rig->f), 0);
    assert_key(rig, "c/client.key");
    close(fd);
}

static void a_key_alone_names_its_head(void **state)
{
    struct rig *rig = *state;
    struct where w = {.key_file = "some.key"};
    setenv("DRT_CLUSTER", "other", 1); /* a variable does not contradict an option */
    assert_int_equal(where_remote(&w, &rig->wish, &rig->f), 0);
    assert_string_equal(rig->wish.key_file, "some.key");
    assert_string_equal(rig->wish.address, "");
    assert_string_equal(rig->wish.cluster, "");
    w.cluster = "prod";
    assert_int_equal(where_remote(&w, &rig->wish, &rig->f), 0);
    assert_string_equal(rig->wish.cluster, "prod");
}

static void a_key_beside_is_the_last_way(void **state)
{
    struct rig *rig = *state;
    struct where w = {0};
    struct place away, home, none;
    put_keys(rig, "away", ADDRESS, false);
    put_keys(rig, "home", ADDRESS, true);
    make_place(rig, "away", &away);
    make_place(rig, "home", &home);
    make_place(rig, "none", &none);
    assert_true(where_else(&w, &away, &rig->wish));
    assert_key(rig, "away/client.key");
    assert_false(where_else(&w, &home, &rig->wish)); /* its head lives here and does not run */
    assert_false(where_else(&w, &none, &rig->wish));
    assert_false(where_else(&w, NULL, &rig->wish));

    char path[PLACE_PATH_MAX];
    snprintf(path, sizeof path, "%s/.drt/away/client.key", rig->home);
    setenv("DRT_KEY_FILE", path, 1);
    assert_true(where_else(&w, NULL, &rig->wish));
    assert_key(rig, "away/client.key");
    assert_false(where_else(&w, &none, &rig->wish)); /* that is another cluster */
    w.cluster = "away";
    assert_true(where_else(&w, NULL, &rig->wish));
    w.cluster = "elsewhere";
    assert_false(where_else(&w, NULL, &rig->wish));
    /* That it cannot be used is for remote_open to say. */
    assert_int_equal(chmod(path, 0644), 0);
    assert_true(where_else(&w, NULL, &rig->wish));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_address_or_a_key_means_the_network, setup, teardown),
        cmocka_unit_test_setup_teardown(addresses_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(the_key_is_the_nearest_named, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_that_names_the_address_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_alone_names_its_head, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_beside_is_the_last_way, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
