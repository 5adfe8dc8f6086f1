#include "common/args.h"

#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static const struct args_option STATUS_OPTIONS[] = {
    {.name = "json", .kind = ARGS_FLAG, .help = "print one object"},
    {.name = "watch", .letter = 'w', .kind = ARGS_DURATION, .value = "[SECONDS]", .help = "repeat"},
    {.name = "limit", .letter = 'n', .kind = ARGS_U64, .value = "N", .help = "at most N", .max = 9},
    {.name = "dir", .kind = ARGS_TEXT, .value = "DIR", .help = "the cluster's directory"},
    {.name = "quiet", .letter = 'q', .kind = ARGS_FLAG, .help = "print 'less': nothing"},
    {.name = "sort", .kind = ARGS_TEXT, .value = "[KEY]", .help = "sorted"},
    {.name = NULL},
};

static const struct args_option START_OPTIONS[] = {
    {.name = "dir", .kind = ARGS_TEXT, .value = "DIR", .help = "the cluster's directory"},
    {.name = "memory", .kind = ARGS_SIZE, .value = "SIZE", .help = "memory to use"},
    {.name = "num-cpus", .kind = ARGS_DOUBLE, .value = "N", .help = "CPUs to use"},
    {.name = "inner", .kind = ARGS_U64, .value = "FD"},
    {.name = NULL},
};

static const struct args_verb VERBS[] = {
    {.name = "status",
     .things = "[JOB]",
     .help = "show the cluster",
     .example = {"tool status", "tool status --json"},
     .options = STATUS_OPTIONS,
     .max_things = 1,
     .tag = 1},
    {.name = "start",
     .things = "<host:port>",
     .help = "start it",
     .example = {"tool start a:1", "tool start a:1 --memory 4GiB"},
     .options = START_OPTIONS,
     .min_things = 1,
     .max_things = 1,
     .tag = 2},
    {.name = NULL},
};

static const struct args_hint HINTS[] = {{"top", "tool status --watch"}, {NULL, NULL}};
static const struct args_program PROGRAM = {"tool", "does things", VERBS, HINTS};

static struct args args;
static struct buffer out;

/* Parses "tool" and up to seven words. */
static int parse(const char *words)
{
    static char line[256];
    char *argv[16] = {"tool"};
    int argc = 1;
    snprintf(line, sizeof line, "%s", words);
    for (char *at = line; *at != '\0';) {
        size_t length = strcspn(at, " ");
        bool last = at[length] == '\0';
        at[length] = '\0';
        argv[argc++] = at;
        at += length + !last;
    }
    buffer_clear(&out);
    memset(&args, 0, sizeof args);
    int r = args_parse(&PROGRAM, argc, argv, &args, &out);
    assert_true(r == ARGS_RUN || args.verb == NULL);
    return r;
}

static void says(const char *piece)
{
    if (strstr(buffer_text(&out), piece) == NULL) {
        fail_msg("\"%s\" is not in: %s", piece, buffer_text(&out));
    }
}

static void test_options_and_things_in_any_order(void **state)
{
    static const char *const lines[] = {
        "start --dir /x --memory 4GiB a:1 --num-cpus=2.5",
        "start a:1 --num-cpus 2.5 --memory=4GiB --dir=/x",
        "--dir /x start --memory=4G a:1 --num-cpus 2.5",
    };
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        assert_int_equal(parse(lines[i]), ARGS_RUN);
        assert_int_equal(args.verb->tag, 2);
        assert_int_equal(args.thing_count, 1);
        assert_string_equal(args.things[0], "a:1");
        assert_string_equal(args_get(&args, "dir")->text, "/x");
        assert_true(args_get(&args, "memory")->number == 4ull << 30);
        assert_true(args_get(&args, "num-cpus")->real == 2.5);
    }
}

static void test_letters(void **state)
{
    assert_int_equal(parse("status -n 5 -q"), ARGS_RUN);
    assert_int_equal(args_get(&args, "limit")->number, 5);
    assert_true(args_get(&args, "quiet")->given);
    assert_null(args_get(&args, "quiet")->text);
    assert_int_equal(parse("status -qn7"), ARGS_RUN);
    assert_int_equal(args_get(&args, "limit")->number, 7);
    assert_true(args_get(&args, "quiet")->given);
    assert_false(args_get(&args, "json")->given);
    assert_int_equal(parse("-q status"), ARGS_RUN);
    assert_true(args_get(&args, "quiet")->given);
    assert_int_equal(parse("status -x"), ARGS_USAGE);
    says("unknown option \"-x\" for \"status\"");
}

static void test_optional_values(void **state)
{
    assert_int_equal(parse("status --watch"), ARGS_RUN);
    assert_true(args_get(&args, "watch")->given);
    assert_null(args_get(&args, "watch")->text);
    assert_int_equal(parse("status --watch 2"), ARGS_RUN);
    assert_true(args_get(&args, "watch")->number == 2000000000);
    assert_int_equal(args.thing_count, 0);
    assert_int_equal(parse("status --watch=500ms last"), ARGS_RUN);
    assert_true(args_get(&args, "watch")->number == 500000000);
    assert_int_equal(parse("status --watch last"), ARGS_RUN);
    assert_null(args_get(&args, "watch")->text);
    assert_string_equal(args.things[0], "last");
    assert_int_equal(parse("--watch status"), ARGS_RUN);
    assert_int_equal(parse("status --sort last"), ARGS_RUN);
    assert_string_equal(args.things[0], "last");
    assert_int_equal(parse("status --sort=name"), ARGS_RUN);
    assert_string_equal(args_get(&args, "sort")->text, "name");
}

static void test_the_last_one_counts(void **state)
{
    assert_int_equal(parse("status --limit 1 --limit 2"), ARGS_RUN);
    assert_int_equal(args_get(&args, "limit")->number, 2);
}

static void test_two_dashes_end_the_options(void **state)
{
    assert_int_equal(parse("status -- --json"), ARGS_RUN);
    assert_string_equal(args.things[0], "--json");
    assert_false(args_get(&args, "json")->given);
    assert_int_equal(parse("status -"), ARGS_RUN);
    assert_string_equal(args.things[0], "-");
}

static void test_bad_values_name_what_is_wanted(void **state)
{
    assert_int_equal(parse("status --limit ten"), ARGS_USAGE);
    says("tool: invalid value \"ten\" for --limit. It takes a whole number from 0 to 9.");
    assert_int_equal(parse("status --limit 10"), ARGS_USAGE);
    assert_int_equal(parse("status --limit"), ARGS_USAGE);
    says("missing value for --limit. It takes a whole number from 0 to 9.");
    assert_int_equal(parse("status --json=yes"), ARGS_USAGE);
    says("no value");
    assert_int_equal(parse("status --watch=soon"), ARGS_USAGE);
    says("a duration like");
    assert_int_equal(parse("start a:1 --memory lots"), ARGS_USAGE);
    says("a size like 512M");
    assert_int_equal(parse("start a:1 --num-cpus x"), ARGS_USAGE);
    says("invalid value \"x\" for --num-cpus. It takes a number like 2 or 0.5.");
    assert_int_equal(parse("start a:1 --num-cpus 99999999999999999999"), ARGS_USAGE);
    says("for --num-cpus: too large.");
}

static void test_too_few_and_too_many_things(void **state)
{
    assert_int_equal(parse("start"), ARGS_USAGE);
    says("tool: missing argument: <host:port>. Usage: tool start <host:port> [OPTIONS]");
    assert_int_equal(parse("start a b"), ARGS_USAGE);
    says("tool: unexpected argument: b. Usage: tool start <host:port> [OPTIONS]");
    assert_int_equal(parse("status a b"), ARGS_USAGE);
}

static void test_suggestions(void **state)
{
    static const struct {
        const char *line, *piece;
    } rows[] = {
        {"stauts", "Did you mean \"status\"?"},
        {"statsu", "Did you mean \"status\"?"},
        {"sta", "Did you mean \"sta"},
        {"strat", "Did you mean \"start\"?"},
        {"hepl", "Did you mean \"help\"?"},
        {"status --jsno", "Did you mean \"--json\"?"},
        {"status --wach", "Did you mean \"--watch\"?"},
        {"start --mem 4G", "Did you mean \"--memory\"?"},
        {"start --num_cpus=3", "Did you mean \"--num-cpus\"?"},
        {"help stat", "Did you mean \"status\"?"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(parse(rows[i].line), ARGS_USAGE);
        says(rows[i].piece);
    }
    assert_int_equal(parse("top"), ARGS_USAGE); /* nearer to "stop" than to anything else */
    says("tool: unknown command \"top\". Use 'tool status --watch'.\n");
    assert_int_equal(parse("frobnicate"), ARGS_USAGE);
    assert_null(strstr(buffer_text(&out), "Did you mean"));
    says("tool: unknown command \"frobnicate\". Run 'tool --help' for the list.");
    assert_int_equal(parse("status --frobnicate"), ARGS_USAGE);
    assert_null(strstr(buffer_text(&out), "Did you mean"));
}

static void test_what_comes_from_outside_is_cleaned(void **state)
{
    assert_int_equal(parse("\x1b[31mred"), ARGS_USAGE);
    says("\"?[31mred\"");
}

static void test_help_and_version(void **state)
{
    static const char *const overviews[] = {"--help", "-h", "help", "help help"};
    for (size_t i = 0; i < ARRAY_SIZE(overviews); i++) {
        assert_int_equal(parse(overviews[i]), ARGS_SHOW);
        says("status [JOB]");
        says("start <host:port>");
        says("help [COMMAND]");
    }
    static const char *const helps[] = {"help status", "status --help", "status -h",
                                        "--help status", "status --json --help --bad"};
    for (size_t i = 0; i < ARRAY_SIZE(helps); i++) {
        assert_int_equal(parse(helps[i]), ARGS_SHOW);
        says("Usage: tool status [JOB] [OPTIONS]");
        says("  -w, --watch [SECONDS]   repeat\n");
        says("      --json              print one object\n");
        says("  tool status --json\n");
    }
    assert_int_equal(parse("--version"), ARGS_SHOW);
    says("tool " DRT_VERSION "\n");
    assert_int_equal(parse("status --version"), ARGS_SHOW);
    says("tool " DRT_VERSION "\n");
    assert_int_equal(parse(""), ARGS_USAGE);
    says("tool: missing command.");
    assert_int_equal(parse("--json"), ARGS_USAGE);
}

static void test_bash_completes(void **state)
{
    buffer_clear(&out);
    args_completion(&PROGRAM, "bash", &out);
    says("status start help");
    says("--watch");
    /* The shell itself is the judge. */
    CLEANUP_DIR char *dir = unit_make_dir();
    char script[512];
    snprintf(script, sizeof script, "%s/completion", dir);
    buffer_append_text(&out, "COMP_WORDS=(tool status --wa); COMP_CWORD=2; _tool\n"
                             "[ \"${COMPREPLY[*]}\" = --watch ] || exit 1\n"
                             "COMP_WORDS=(tool sta); COMP_CWORD=1; _tool\n"
                             "[ \"${COMPREPLY[*]}\" = 'status start' ] || exit 2\n");
    assert_int_equal(files_write_atomic(script, out.data, out.size, 0600), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execlp("bash", "bash", script, NULL);
        _exit(127);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_zsh_and_manual_have_every_option(void **state)
{
    buffer_clear(&out);
    args_completion(&PROGRAM, "zsh", &out);
    says("#compdef tool");
    says("'--limit=[at most N]:N:_files'");
    says("'--watch=-[repeat]::\\[SECONDS\\]:_files'");
    says("print '\\''less'\\''\\: nothing");
    buffer_clear(&out);
    args_manual(&PROGRAM, &out);
    says(".SS tool start <host:port>");
    says("\\fB\\-\\-num\\-cpus\\fR \\fIN\\fR");
    says("tool start a:1 \\-\\-memory 4GiB");
    says("print \\(aqless\\(aq: nothing");
}

static int free_out(void **state)
{
    buffer_fini(&out);
    return 0;
}

static void test_options_without_help_are_taken_and_never_shown(void **state)
{
    assert_int_equal(parse("start a:1 --inner 5"), ARGS_RUN);
    assert_int_equal(args_get(&args, "inner")->number, 5);
    assert_int_equal(parse("help start"), ARGS_SHOW);
    args_completion(&PROGRAM, "bash", &out);
    args_completion(&PROGRAM, "zsh", &out);
    args_manual(&PROGRAM, &out);
    assert_null(strstr(buffer_text(&out), "inner"));
    assert_non_null(strstr(buffer_text(&out), "num-cpus"));
    assert_int_equal(parse("start a:1 --innr 5"), ARGS_USAGE);
    assert_null(strstr(buffer_text(&out), "inner"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_and_things_in_any_order),
        cmocka_unit_test(test_letters),
        cmocka_unit_test(test_optional_values),
        cmocka_unit_test(test_the_last_one_counts),
        cmocka_unit_test(test_two_dashes_end_the_options),
        cmocka_unit_test(test_bad_values_name_what_is_wanted),
        cmocka_unit_test(test_too_few_and_too_many_things),
        cmocka_unit_test(test_suggestions),
        cmocka_unit_test(test_what_comes_from_outside_is_cleaned),
        cmocka_unit_test(test_help_and_version),
        cmocka_unit_test(test_bash_completes),
        cmocka_unit_test(test_zsh_and_manual_have_every_option),
        cmocka_unit_test(test_options_without_help_are_taken_and_never_shown),
    };
    return cmocka_run_group_tests(tests, NULL, free_out);
}
