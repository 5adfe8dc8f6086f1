#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "cli/options.h"
#include "common/files.h"

static int parse(const char *line, struct args *ret, struct buffer *out)
{
    static char words[256];
    char *argv[32];
    int argc = 0;
    snprintf(words, sizeof words, "%s", line);
    char *rest = words, *word;
    while ((word = strsep(&rest, " ")) != NULL) {
        argv[argc++] = word;
    }
    buffer_clear(out);
    return args_parse(&cli_program, argc, argv, ret, out);
}

static void verbs_have_help_and_two_examples(void **state)
{
    struct args args;
    struct buffer out = {0};
    for (const struct args_verb *v = cli_program.verbs; v->name != NULL; v++) {
        char line[64];
        snprintf(line, sizeof line, "drt %s --help", v->name);
        assert_int_equal(parse(line, &args, &out), ARGS_SHOW);
        assert_non_null(strstr(buffer_text(&out), v->example[0]));
        assert_non_null(strstr(buffer_text(&out), v->example[1]));
        assert_true(v->tag != 0);
    }
    assert_int_equal(parse("drt help status", &args, &out), ARGS_SHOW);
    assert_non_null(strstr(buffer_text(&out), "drt status"));
    buffer_fini(&out);
}

static void a_misspelled_verb_gets_a_suggestion(void **state)
{
    struct args args;
    struct buffer out = {0};
    assert_int_equal(parse("drt statsu", &args, &out), ARGS_USAGE);
    assert_non_null(strstr(buffer_text(&out), "\"status\""));
    assert_int_equal(parse("drt tasks --jsn", &args, &out), ARGS_USAGE);
    assert_non_null(strstr(buffer_text(&out), "--json"));
    buffer_fini(&out);
}

static void options_are_read(void **state)
{
    struct args args;
    struct buffer out = {0};
    assert_int_equal(parse("drt tasks last --state running -j 3 --watch 5 -n 7", &args, &out),
                     ARGS_RUN);
    assert_int_equal(args.verb->tag, VERB_TASKS);
    assert_string_equal(args.things[0], "last");
    assert_string_equal(args_get(&args, "state")->text, "running");
    assert_string_equal(args_get(&args, "job")->text, "3");
    assert_int_equal(args_get(&args, "watch")->number, 5000000000u);
    assert_int_equal(args_get(&args, "limit")->number, 7);
    assert_int_equal(parse("drt status --watch", &args, &out), ARGS_RUN);
    assert_true(args_get(&args, "watch")->given);
    assert_null(args_get(&args, "watch")->text);
    assert_int_equal(parse("drt explain", &args, &out), ARGS_USAGE);
    assert_int_equal(parse("drt status one", &args, &out), ARGS_USAGE);
    buffer_fini(&out);
}

static void completions_know_all_verbs(void **state)
{
    struct buffer out = {0};
    static const char *const shells[] = {"bash", "zsh"};
    for (size_t i = 0; i < ARRAY_SIZE(shells); i++) {
        buffer_clear(&out);
        args_completion(&cli_program, shells[i], &out);
        for (const struct args_verb *v = cli_program.verbs; v->name != NULL; v++) {
            assert_non_null(strstr(buffer_text(&out), v->name));
        }
        assert_non_null(strstr(buffer_text(&out), "--follow"));
    }
    buffer_fini(&out);
}

static void the_manual_page_has_this_table(void **state)
{
    struct buffer page = {0}, table = {0};
    assert_int_equal(files_read(MANUAL_PAGE, 1 << 20, &page), 0);
    args_manual(&cli_program, &table);
    /* Between DESCRIPTION and EXIT STATUS of docs/man/drt.1 stands what args_manual writes. */
    if (strstr(buffer_text(&page), buffer_text(&table)) == NULL) {
        fprintf(stderr, "%s lacks this:\n%s", MANUAL_PAGE, buffer_text(&table));
        fail();
    }
    buffer_fini(&page);
    buffer_fini(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verbs_have_help_and_two_examples),
        cmocka_unit_test(a_misspelled_verb_gets_a_suggestion),
        cmocka_unit_test(options_are_read),
        cmocka_unit_test(completions_know_all_verbs),
        cmocka_unit_test(the_manual_page_has_this_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
