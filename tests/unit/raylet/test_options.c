#include "raylet/options.h"

#include "common/files.h"
#include "tests/unit/unit.h"

static int parse(int argc, char **argv, struct args *ret)
{
    struct buffer out = {0};
    int r = args_parse(&node_program, argc, argv, ret, &out);
    buffer_fini(&out);
    return r;
}

static void test_what_is_read(void **state)
{
    struct args a;
    char *join[] = {"drt-node", "join",         "10.0.0.5:7420", "-n", "box", "--num-cpus=1.5",
                    "--memory", "512M",         "--port",        "0",  "-C",  "x",
                    "--labels", "disk=ssd,a=b", "--foreground"};
    assert_int_equal(parse(ARRAY_SIZE(join), join, &a), ARGS_RUN);
    assert_int_equal(a.verb->tag, VERB_JOIN);
    assert_string_equal(a.things[0], "10.0.0.5:7420");
    assert_true(args_get(&a, "num-cpus")->real == 1.5);
    assert_int_equal(args_get(&a, "memory")->number, 512u << 20);
    assert_true(args_get(&a, "port")->given);
    assert_true(args_get(&a, "foreground")->given);
    assert_false(args_get(&a, "join-file")->given);
    char *leave[] = {"drt-node", "leave"};
    assert_int_equal(parse(ARRAY_SIZE(leave), leave, &a), ARGS_RUN);
    assert_int_equal(a.verb->tag, VERB_LEAVE);
    char *port[] = {"drt-node", "join", "--port", "65536"};
    assert_int_equal(parse(ARRAY_SIZE(port), port, &a), ARGS_USAGE);
    char *two[] = {"drt-node", "join", "a:1", "b:2"};
    assert_int_equal(parse(ARRAY_SIZE(two), two, &a), ARGS_USAGE);
}

static void test_the_manual_page_has_this_table(void **state)
{
    struct buffer page = {0}, table = {0};
    assert_int_equal(files_read(MANUAL_PAGE, 1 << 20, &page), 0);
    args_manual(&node_program, &table);
    if (strstr(buffer_text(&page), buffer_text(&table)) == NULL) {
        fprintf(stderr, "%s lacks this:\n%s", MANUAL_PAGE, buffer_text(&table));
        fail();
    }
    buffer_fini(&page);
    buffer_fini(&table);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_read),
        cmocka_unit_test(test_the_manual_page_has_this_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
