#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/files.h"
#include "common/rng.h"
#include "proto/keys.h"

struct fixture {
    struct place place;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    snprintf(f->place.dir, sizeof f->place.dir, "/tmp/drt-keys-XXXXXX");
    assert_non_null(mkdtemp(f->place.dir));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    files_remove_tree(f->place.dir);
    free(f);
    return 0;
}

static const char *path_of(const struct fixture *f, const char *file)
{
    static char path[PLACE_PATH_MAX];
    assert_int_equal(place_path(&f->place, file, path), 0);
    return path;
}

static void test_create_and_load(void **state)
{
    struct fixture *f = *state;
    struct failure failure = {0};
    struct keys_head made, head;
    struct keys_member member;
    assert_int_equal(keys_create(&f->place, "alpha", &made, &failure), 0);
    assert_int_equal(keys_load_head(&f->place, &head, &failure), 0);
    assert_memory_equal(&made, &head, sizeof head);
    assert_string_equal(head.cluster, "alpha");
    assert_int_equal(strlen(head.id), 32);
    assert_int_equal(keys_load_role(&f->place, PEER_NODE, &member, &failure), 0);
    assert_string_equal(member.server_public, head.server.public_key);
    assert_string_equal(member.own.public_key, head.access.node_public);
    assert_string_equal(member.id, head.id);
    assert_int_equal(member.address_count, 0);
    assert_int_equal(keys_load_role(&f->place, PEER_CLIENT, &member, &failure), 0);
    assert_string_equal(member.own.public_key, head.access.client_public);
    assert_int_equal(keys_load_role(&f->place, PEER_READER, &member, &failure), 0);
    assert_string_equal(member.own.public_key, head.access.reader_public);
    const char *files[] = {"head.key", "join.key", "client.key", "reader.key"};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        struct stat st;
        assert_int_equal(stat(path_of(f, files[i]), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
    assert_int_equal(keys_create(&f->place, "alpha", &made, &failure), CODE_EXISTS);
}

static void test_addresses(void **state)
{
    struct fixture *f = *state;
    struct failure failure = {0};
    struct keys_head head;
    struct keys_member member;
    struct stat before, after;
    const char *addresses[] = {"10.0.0.5:7420", "[::1]:7420", "box-1.example:7421"};
    assert_int_equal(keys_create(&f->place, "alpha", &head, &failure), 0);
    assert_int_equal(keys_set_addresses(&f->place, addresses, 3, &failure), 0);
    assert_int_equal(keys_load_role(&f->place, PEER_CLIENT, &member, &failure), 0);
    assert_int_equal(member.address_count, 3);
    assert_string_equal(member.addresses[1], "[::1]:7420");
    /* What is so already is not written again. */
    assert_int_equal(stat(path_of(f, "join.key"), &before), 0);
    assert_int_equal(keys_set_addresses(&f->place, addresses, 3, &failure), 0);
    assert_int_equal(stat(path_of(f, "join.key"), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    addresses[0] = "nonsense";
    assert_int_equal(keys_set_addresses(&f->place, addresses, 1, &failure), CODE_FAILED);
}

static void test_rekey(void **state)
{
    struct fixture *f = *state;
    struct failure failure = {0};
    struct keys_head old, new;
    struct keys_member member;
    const char *addresses[] = {"10.0.0.5:7420"};
    assert_int_equal(keys_rekey(&f->place, &new, &failure), CODE_NOT_FOUND);
    assert_int_equal(keys_create(&f->place, "alpha", &old, &failure), 0);
    assert_int_equal(keys_set_addresses(&f->place, addresses, 1, &failure), 0);
    assert_int_equal(chmod(path_of(f, "head.key"), 0644), 0); /* the very reason to do it */
    assert_int_equal(keys_rekey(&f->place, &new, &failure), 0);
    assert_string_equal(old.id, new.id);
    assert_string_not_equal(old.server.secret_key, new.server.secret_key);
    assert_string_not_equal(old.access.node_public, new.access.node_public);
    assert_string_not_equal(old.access.client_public, new.access.client_public);
    assert_int_equal(keys_load_role(&f->place, PEER_NODE, &member, &failure), 0);
    assert_string_equal(member.server_public, new.server.public_key);
    assert_string_equal(member.addresses[0], addresses[0]);
    assert_int_equal(keys_load_head(&f->place, &old, &failure), 0); /* private again */
}

static void test_others_can_read(void **state)
{
    struct fixture *f = *state;
    struct failure failure = {0};
    struct keys_head head;
    char expected[PLACE_PATH_MAX * 3];
    assert_int_equal(keys_load_head(&f->place, &head, &failure), CODE_NOT_FOUND);
    assert_int_equal(keys_create(&f->place, "alpha", &head, &failure), 0);
    const char *path = path_of(f, "head.key");
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(keys_load_head(&f->place, &head, &failure), CODE_REFUSED);
    snprintf(expected, sizeof expected,
             "%s can be read by others (mode 0644). Run 'chmod 600 %s' if nobody has copied it, "
             "else 'drt-head rekey'.",
             path, path);
    assert_string_equal(failure.message, expected);
}

static void test_wrong_role(void **state)
{
    struct fixture *f = *state;
    struct failure failure = {0};
    struct keys_head head;
    struct keys_member member;
    assert_int_equal(keys_create(&f->place, "alpha", &head, &failure), 0);
    assert_int_equal(keys_load_member(path_of(f, "client.key"), PEER_NODE, &member, &failure),
                     CODE_REFUSED);
    assert_non_null(strstr(failure.message, "join.key"));
    assert_int_equal(keys_load_member(path_of(f, "head.key"), PEER_NODE, &member, &failure),
                     CODE_REFUSED);
    assert_int_equal(keys_load_member(path_of(f, "client.key"), 0, &member, &failure), 0);
    assert_int_equal(member.role, PEER_CLIENT);
}

static void expect_refused(const char *text, unsigned line)
{
    struct keys_member member;
    unsigned ret_line = 99;
    const char *why = NULL;
    assert_int_equal(keys_parse(bytes_of_text(text), NULL, &member, &ret_line, &why), -EPROTO);
    assert_non_null(why);
    assert_int_equal(ret_line, line);
}

static void test_errors_name_the_line(void **state)
{
    expect_refused("", 0);
    expect_refused("drt-key 2\n", 1);
    expect_refused("drt-key 1\nkind\n", 2);
    expect_refused("drt-key 1\n\n# note\nweight 5\n", 4);
    expect_refused("drt-key 1\nkind node\nkind node\n", 3);
    expect_refused("drt-key 1\ncluster -x\n", 2);
    expect_refused("drt-key 1\nid 123\n", 2);
    expect_refused("drt-key 1\npublic short\n", 2);
    expect_refused("drt-key 1\naddress nowhere\n", 2);
    expect_refused("drt-key 1\naddress host:0\n", 2);
    expect_refused("drt-key 1\nkind \x01\n", 2);
    expect_refused("drt-key 1\nkind node\n", 0);
    expect_refused("drt-key 1\nkind king\n", 0);
    char many[2048] = "drt-key 1\n";
    for (int i = 0; i < 9; i++) {
        strncat(many, "address a:1\n", sizeof many - strlen(many) - 1);
    }
    expect_refused(many, 10);
    char line[700];
    memset(line, 'x', sizeof line - 1);
    memcpy(line, "drt-key 1\nkind ", 15);
    line[sizeof line - 1] = '\0';
    expect_refused(line, 2);
}

static void test_any_bytes(void **state)
{
    struct rng rng;
    struct keys_member keys = {.role = PEER_NODE, .cluster = "alpha", .address_count = 1};
    memset(keys.id, 'a', sizeof keys.id - 1);
    struct keys_pair server;
    assert_int_equal(keys_pair_new(&server), 0);
    assert_int_equal(keys_pair_new(&keys.own), 0);
    memcpy(keys.server_public, server.public_key, sizeof server.public_key);
    memcpy(keys.addresses[0], "a:1", 4);
    struct buffer text = {0};
    keys_format_member(&keys, &text);
    rng_seed(&rng, 5);
    int good = 0;
    for (int i = 0; i < 50000; i++) {
        struct buffer changed = {0};
        struct keys_member member;
        struct keys_head head;
        unsigned line;
        const char *why;
        buffer_append(&changed, text.data, rng_between(&rng, 1, text.size));
        if (rng_chance(&rng, 0.1)) {
            buffer_append(&changed, text.data, text.size);
        }
        for (uint64_t n = rng_below(&rng, 4); n > 0; n--) {
            changed.data[rng_below(&rng, changed.size)] = (uint8_t)rng_next(&rng);
        }
        struct bytes bytes = bytes_of(changed.data, changed.size);
        good += keys_parse(bytes, NULL, &member, &line, &why) == 0;
        assert_int_equal(keys_parse(bytes, &head, NULL, &line, &why), -EPROTO);
        buffer_fini(&changed);
    }
    assert_true(good < 5000);
    buffer_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_create_and_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rekey, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others_can_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_role, setup, teardown),
        cmocka_unit_test(test_errors_name_the_line),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
