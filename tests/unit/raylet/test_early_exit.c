#include "raylet/early_exit.h"

#include <signal.h>

#include "common/shortage.h"
#include "proto/local.h"
#include "tests/unit/unit.h"

#define EXITED(code)     ((code) << 8)
#define SIGNALED(signal) (signal)

static void test_a_library_is_missing(void **state)
{
    struct failure f = {0};
    assert_true(early_exit_explain("box-2",
                                   "./pi: error while loading shared libraries: libm-2.so.6: "
                                   "cannot open shared object file: No such file or directory",
                                   EXITED(127), &f));
    assert_int_equal(f.code, CODE_PROGRAM);
    assert_int_equal(f.exit_code, 127);
    assert_string_equal(f.message, "on node \"box-2\" the program needs libm-2.so.6, which is not "
                                   "there: install it on that node");
    assert_true(early_exit_explain("box-2",
                                   "Error loading shared library libz.so.1: No such file or "
                                   "directory (needed by pi)",
                                   EXITED(127), &f));
    assert_non_null(strstr(f.message, "needs libz.so.1, which"));
}

static void test_a_library_is_too_old(void **state)
{
    struct failure f = {0};
    assert_true(early_exit_explain("b",
                                   "pi: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.99' not "
                                   "found (required by pi)",
                                   EXITED(1), &f));
    assert_int_equal(f.code, CODE_PROGRAM);
    assert_string_equal(f.message, "on node \"b\" the program needs GLIBC_2.99 of libc.so.6, which "
                                   "is not there: install it on that node");
}

/* What a further start may overcome, or what the loader did not say. */
static void test_others_may_start_again(void **state)
{
    static const char *const lines[] = {
        "",
        "pi: error while loading shared libraries: libm.so.6: cannot open shared object file: "
        "Error 24",
        "pi: error while loading shared libraries: : cannot open shared object file: No such file "
        "or directory",
        "pi: error while loading shared libraries: libm.so.6",
        "pi: version `1' not",
        "version `' not found (required by ",
    };
    struct failure f = {0};
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        assert_false(early_exit_explain("b", lines[i], EXITED(127), &f));
        assert_int_equal(f.code, CODE_PROGRAM);
        assert_int_equal(f.exit_code, 127);
        assert_non_null(strstr(f.message, lines[i]));
    }
    f = (struct failure){0};
    assert_false(early_exit_explain("b", "", SIGNALED(11), &f));
    assert_int_equal(f.signal, 11);
    assert_non_null(strstr(f.message, "signal 11 ended it before it called drt_init. Call"));
    assert_non_null(strstr(f.message, "gets no command-line arguments in a worker."));
    /* The likely reason comes before what a program says that wants arguments. */
    assert_false(early_exit_explain("b", "usage: pi SAMPLES", EXITED(1), &f));
    assert_string_equal(f.message,
                        "The program does not start as a worker: it ended with exit code 1 before "
                        "it called drt_init. Call drt_init (or drt_init_or_exit) first of all in "
                        "main, which gets no command-line arguments in a worker. Its last line on "
                        "standard error: usage: pi SAMPLES");
    /* A line that it wrote itself before it died of a signal says nothing of the loader. */
    assert_false(early_exit_explain("b",
                                    "x: error while loading shared libraries: a: cannot open "
                                    "shared object file: No such file or directory",
                                    SIGNALED(6), &f));
}

static void test_a_name_without_end(void **state)
{
    char line[1000];
    struct failure f = {0};
    snprintf(line, sizeof line,
             "p: error while loading shared libraries: %0500d: cannot open shared object file: No "
             "such file or directory",
             7);
    assert_false(early_exit_explain("b", line, EXITED(127), &f));
}

static void test_a_shortage_is_not_the_programs_fault(void **state)
{
    static const char *const loader[] = {
        "./pi: error while loading shared libraries: libdrt.so.0: failed to map segment from "
        "shared object: Cannot allocate memory",
        "./pi: error while loading shared libraries: libc.so.6: cannot open shared object file: "
        "Too many open files",
    };
    struct failure f;
    for (size_t i = 0; i < ARRAY_SIZE(loader); i++) {
        assert_false(early_exit_explain("b", loader[i], EXITED(127), &f));
        assert_int_equal(f.code, CODE_FULL);
        assert_non_null(strstr(f.message, loader[i]));
    }
    assert_false(early_exit_explain(
        "b", "pi: a worker of drt cannot reach its raylet: Connection reset by peer",
        EXITED(LOCAL_EXIT_SHORT), &f));
    assert_int_equal(f.code, CODE_FULL);
    assert_false(early_exit_explain("b", "", SIGNALED(SIGKILL), &f));
    assert_int_equal(f.code, CODE_FULL);
    assert_false(early_exit_explain(
        "b", "out of memory: the system has no 4096 bytes for this process", SIGNALED(6), &f));
    assert_int_equal(f.code, CODE_FULL);
    /* What a program says before it exits by itself is its own. */
    assert_false(early_exit_explain("b", "config: Cannot allocate memory", EXITED(1), &f));
    assert_int_equal(f.code, CODE_PROGRAM);
}

static void test_each_shortage_says_what_to_look_at(void **state)
{
    static const struct {
        int error;
        const char *says;
    } cases[] = {{EAGAIN, "ulimit -u"},    {ENOMEM, "memory"},       {EMFILE, "ulimit -n"},
                 {ENFILE, "file-max"},     {ENOSPC, "disk is full"}, {EDQUOT, "quota"},
                 {ENOBUFS, "for sockets"}, {ETXTBSY, "written to"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct failure f;
        assert_true(shortage_is(cases[i].error));
        assert_int_equal(shortage_explain(&f, cases[i].error, "A worker of %s", "./pi"), CODE_FULL);
        assert_non_null(strstr(f.message, cases[i].says));
        assert_non_null(strstr(f.message, "./pi"));
    }
    assert_false(shortage_is(ENOENT) || shortage_is(EACCES) || shortage_is(ENOEXEC));
    assert_false(shortage_is(E2BIG) || shortage_is(0));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_library_is_missing),
        cmocka_unit_test(test_a_library_is_too_old),
        cmocka_unit_test(test_others_may_start_again),
        cmocka_unit_test(test_a_name_without_end),
        cmocka_unit_test(test_a_shortage_is_not_the_programs_fault),
        cmocka_unit_test(test_each_shortage_says_what_to_look_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
