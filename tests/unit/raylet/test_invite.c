#include "raylet/invite.h"

#include <netdb.h>

#include <unistd.h>

#include "tests/unit/unit.h"

/* A home with one cluster whose head was at this port. */
static char *make_home(const char *cluster, const char *address)
{
    char *home = unit_make_dir(), dir[512];
    struct place place;
    struct keys_head keys;
    struct failure f;
    assert_int_equal(setenv("HOME", home, 1), 0);
    assert_int_equal(unsetenv("DRT_DIR"), 0);
    assert_int_equal(unsetenv("DRT_CLUSTER"), 0);
    snprintf(dir, sizeof dir, "%s/.drt/%s", home, cluster);
    assert_int_equal(place_for_start(dir, NULL, &place, &f), 0);
    assert_int_equal(files_make_dirs(place.dir, 0700), 0);
    assert_int_equal(keys_create(&place, cluster, &keys, &f), 0);
    assert_int_equal(keys_set_addresses(&place, &address, 1, &f), 0);
    return home;
}

/* Not where /etc/hosts is missing, as in a bare chroot. */
static bool knows_localhost(void)
{
    struct addrinfo *found = NULL;
    bool knows = getaddrinfo("localhost", NULL, NULL, &found) == 0;
    if (knows) {
        freeaddrinfo(found);
    }
    return knows;
}

static void test_the_head_of_this_machine(void **state)
{
    CLEANUP_DIR char *home = make_home("lab", "127.0.0.1:7999");
    assert_non_null(home);
    struct invite i;
    struct failure f;
    static const char *const ways[] = {"127.0.0.1:7999", "localhost:7999"};
    for (size_t n = 0; n < ARRAY_SIZE(ways) && (n == 0 || knows_localhost()); n++) {
        struct invite_wish wish = {.address = ways[n]};
        assert_int_equal(invite_find(&wish, &i, &f), 0);
        assert_string_equal(i.keys.cluster, "lab");
        assert_string_equal(i.addresses[0], ways[n]);
        assert_int_equal(i.address_count, 1);
        assert_non_null(strstr(i.place.dir, "/.drt/lab"));
        assert_non_null(strstr(i.key_name, "/.drt/lab/join.key"));
    }
    struct invite_wish other = {.address = "127.0.0.1:7998"};
    assert_int_equal(invite_find(&other, &i, &f), CODE_REFUSED);
    assert_non_null(strstr(f.message, "--join-file"));
    struct invite_wish named = {.cluster = "lab"};
    assert_int_equal(invite_find(&named, &i, &f), 0);
    assert_string_equal(i.addresses[0], "127.0.0.1:7999");
    struct invite_wish none = {0}; /* nothing runs here */
    assert_int_equal(invite_find(&none, &i, &f), CODE_NOT_FOUND);
}

static void test_a_join_file(void **state)
{
    CLEANUP_DIR char *there = make_home("far", "10.1.2.3:7420");
    CLEANUP_DIR char *home = unit_make_dir();
    struct invite i;
    struct failure f;
    char file[512];
    snprintf(file, sizeof file, "%s/.drt/far/join.key", there);
    assert_int_equal(setenv("HOME", home, 1), 0);
    struct invite_wish wish = {.address = "10.1.2.3", .join_file = file};
    assert_int_equal(invite_find(&wish, &i, &f), 0);
    assert_string_equal(i.addresses[0], "10.1.2.3:7420");
    assert_string_equal(i.key_name, file);
    assert_int_equal(strncmp(i.place.dir, home, strlen(home)), 0);
    assert_non_null(strstr(i.place.dir, "/.drt/far"));
    wish.address = NULL;
    assert_int_equal(invite_find(&wish, &i, &f), 0);
    assert_string_equal(i.addresses[0], "10.1.2.3:7420");
    wish.address = "[::1]:70000";
    assert_int_equal(invite_find(&wish, &i, &f), CODE_SIGNATURE);
    wish.address = NULL;
    wish.join_file = "/no/such/file";
    assert_int_not_equal(invite_find(&wish, &i, &f), 0);
    snprintf(file, sizeof file, "%s/.drt/far/client.key", there);
    wish.join_file = file; /* a key of another role opens nothing for a node */
    assert_int_not_equal(invite_find(&wish, &i, &f), 0);
}

/* A node for one program: its place is its own, its key is whoever's that fits. */
static void test_a_private_node(void **state)
{
    CLEANUP_DIR char *home = make_home("lab", "10.1.2.3:7999");
    CLEANUP_DIR char *own = unit_make_dir();
    struct invite i;
    struct failure f;
    char file[512];
    struct invite_wish wish = {.address = "10.1.2.3:7999", .dir = own, .is_private = true};
    /* What the program's environment says is for the program. */
    assert_int_equal(setenv("DRT_CLUSTER", "10.1.2.3:7999", 1), 0);
    assert_int_equal(setenv("DRT_DIR", "/no/such/directory", 1), 0);
    assert_int_equal(invite_find(&wish, &i, &f), 0);
    assert_string_equal(i.place.dir, own);
    assert_string_equal(i.place.cluster, "lab");
    assert_string_equal(i.keys.cluster, "lab");
    assert_string_equal(i.addresses[0], "10.1.2.3:7999");
    wish.address = "10.1.2.4:7999"; /* another machine's head, at the same port */
    assert_int_equal(invite_find(&wish, &i, &f), CODE_REFUSED);
    snprintf(file, sizeof file, "%s/.drt/lab/join.key", home);
    wish.join_file = file;
    assert_int_equal(invite_find(&wish, &i, &f), 0);
    assert_string_equal(i.addresses[0], "10.1.2.4:7999");
    assert_string_equal(i.place.dir, own);
    wish.address = NULL;
    assert_int_equal(invite_find(&wish, &i, &f), 0);
    assert_string_equal(i.addresses[0], "10.1.2.3:7999");
    wish.dir = NULL;
    assert_int_equal(invite_find(&wish, &i, &f), CODE_SIGNATURE);
    wish.dir = own;
    wish.join_file = NULL;
    assert_int_equal(invite_find(&wish, &i, &f), CODE_SIGNATURE);
    assert_int_equal(unsetenv("DRT_CLUSTER"), 0);
    assert_int_equal(unsetenv("DRT_DIR"), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_head_of_this_machine),
        cmocka_unit_test(test_a_join_file),
        cmocka_unit_test(test_a_private_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
