#!/usr/bin/env python3
"""drt.h as users compile it: C99 to C23 and C++17 to C++20, gcc and clang, -O0 and -O2, without a warning;
and the table of mistakes that the compiler must refuse, each with what it must say and in how many
lines. Each mistake is one line put into a program that compiles without it, so that nothing but the
mistake can be why it fails.

    header_matrix.py ROOT

Exit status: 0 all as it should be, 1 not, 77 no compiler.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

PRELUDE = """
#include <drt/drt.h>
struct point { double x, y; };
struct other { double x, y; };
DRT_DECLARE_TASK(declared, DRT_I64, DRT_REST(DRT_STR));
DRT_TASK(declared, call, DRT_I64, DRT_REST(DRT_STR))
{
    return drt_return(call, drt_i64(drt_arg_i64(call, 0)));
}
static DRT_TASK(two, call, DRT_I64, DRT_STR)
{
    struct point *out = DRT_RETURN_ARRAY(call, 0, struct point, 3);
    if (out == NULL || drt_cancelled(call)) {
        return drt_fail(call, 3, "attempt %u", (unsigned)drt_attempt(call));
    }
    out[0].x = 1;
    return 0;
}
static DRT_TASK(none, call) { return drt_return(call, drt_nothing()); }
static DRT_TASK(reads, call, DRT_RECORDS, DRT_REF, DRT_ANY)
{
    size_t n;
    const struct point *p = DRT_ARG_ARRAY(call, 0, struct point, &n);
    const struct point *q = DRT_ARG_RECORD(call, 0, struct point);
    return drt_return(call, n > 0 && p == q ? drt_of(drt_arg_ref(call, 1)) : drt_str("x"));
}
@TOP@
int use(struct drt_ref ref, struct drt_options *options);
int use(struct drt_ref ref, struct drt_options *options)
{
    struct point point = {1, 2};
    const struct point *view;
    struct drt_ref refs[2];
    struct drt_value items[2] = {drt_i64(1), drt_with(options)};
    struct drt_error error;
    size_t n, index;
    int64_t x;
    const struct drt_work work[] = {DRT_WORK(none), DRT_WORK(two, drt_i64(1), drt_str("a"))};

    drt_init_or_exit();
    if (drt_init(DRT_CONFIG(.mode = DRT_MODE_SYNC, .num_cpus = 2)) != 0) { return 1; }
    refs[0] = drt_submit(declared, drt_i64(1), drt_str("a"), drt_str("b"));
    refs[0] = drt_submit(declared, drt_i64(1), DRT_WITH(.name = "n", .priority = 2));
    refs[0] = drt_submit(two, drt_of(ref), drt_str("a"),
                         DRT_WITH(.num_cpus = 2, .resources = DRT_RESOURCES({"a", 1}, {"b", 2}),
                                  .retry_on_error = true, .timeout = drt_ms(5)));
    refs[0] = drt_submit(none);
    refs[1] = drt_submit(reads, DRT_RECORD(struct point, &point), drt_ref_itself(ref), drt_f64(1));
    refs[1] = drt_submit(two, drt_of(drt_submit(none)), drt_str("nested"));
    drt_submit_into(refs, 2, two, drt_give(&ref), drt_str("s"));
    refs[0] = drt_submit_array(two, items, 2);
    drt_check(drt_parallel_map(none, items, 2, refs, DRT_MAP_WITH(.max_running = 1, .each = options)));
    drt_check(drt_starmap(none, items, 1, 2, refs, NULL));
    drt_check(drt_scatter_gather(work, 2, refs, NULL));
    DRT_SCOPE {
        DRT_SCOPE { drt_release_all(refs, 2); }
        drt_check(drt_await(ref, drt_forever()));
    }
    drt_check(drt_get_i64(ref, &x));
    drt_check(DRT_GET_RECORD(ref, struct point, &point));
    drt_check(DRT_GET_ARRAY(ref, struct point, &view, &n));
    drt_check(drt_wait(refs, 2, 1, drt_seconds(0.5), NULL, &n));
    drt_check(drt_wait_any(refs, 2, drt_ms(1), &index));
    @BODY@
    return drt_error_of(ref, &error) + (int)x + (int)point.x + (int)view->x;
}
"""

# name, where, line, languages, levels of optimisation at which it must be refused, and what the
# compiler must say (a regular expression). WARNS: C compilers only warn of it.
ANY, FAST = ("-O0",), ("-O2",)
BOTH = ("c", "c++")
WRAP = "wrap_?.?it_?.?in_?.?drt_i64"
UNFIT = "do not fit the kinds that this task declares"
SPAN = "use_?.?drt_ms"
POINTER = "pointer_is_to_another_type|struct other ?\*|struct other"
WARNS = {"an i64 read into an int", "an unchecked get", "a wrong format of drt_fail", "a bare number in an array",
         "a bare number as timeout of a struct", "a plain function in an array"}
WARNS_IN_CPP = {"an unchecked get", "a wrong format of drt_fail"}
MISTAKES = [
    ("a mistyped task", "body", "refs[0] = drt_submit(tow, drt_i64(1), drt_str(\"a\"));", BOTH, ANY, "tow_must_be_a_DRT_TASK"),
    ("a bare number", "body", "refs[0] = drt_submit(two, 5, drt_str(\"a\"));", BOTH, ANY, WRAP),
    ("two bare numbers", "body", "refs[0] = drt_submit(two, 5, 6);", BOTH, ANY, WRAP),
    ("a bare zero", "body", "refs[0] = drt_submit(two, 0, drt_str(\"a\"));", BOTH, ANY, WRAP),
    ("a bare double", "body", "refs[0] = drt_submit(two, 0.5, drt_str(\"a\"));", BOTH, ANY, WRAP),
    ("a bare string", "body", "refs[0] = drt_submit(two, drt_i64(1), \"a\");", BOTH, ANY, WRAP),
    ("a bare NULL", "body", "refs[0] = drt_submit(two, drt_i64(1), NULL);", BOTH, ANY, WRAP),
    ("a bare reference", "body", "refs[0] = drt_submit(two, ref, drt_str(\"a\"));", BOTH, ANY, WRAP),
    ("bare options", "body", "refs[0] = drt_submit(none, DRT_OPTIONS(.name = \"n\"));", BOTH, ANY, WRAP),
    ("a bare span", "body", "refs[0] = drt_submit(none, drt_ms(5));", BOTH, ANY, WRAP),
    ("a bare struct", "body", "refs[0] = drt_submit(none, point);", BOTH, ANY, WRAP),
    ("a bare number for several results", "body", "drt_submit_into(refs, 2, two, 1, drt_str(\"a\"));", BOTH, ANY, WRAP),
    ("a bare number in a work", "body", "const struct drt_work w[] = {DRT_WORK(two, 5, drt_str(\"a\"))}; (void)w;", BOTH, ANY, WRAP),
    ("a bare number in an array", "body", "struct drt_value v[] = {5}; items[0] = v[0];", BOTH, ANY, "wrap_it_in_drt_i64"),
    ("a bare number as a result", "top", "static DRT_TASK(fails, call) { return drt_return(call, 5); }", BOTH, ANY, "drt_value"),
    ("a bare number that is put", "body", "refs[0] = drt_put(5);", BOTH, ANY, "drt_value"),
    ("too few arguments", "body", "refs[0] = drt_submit(two, drt_i64(1));", BOTH, FAST, UNFIT),
    ("too many arguments", "body", "refs[0] = drt_submit(none, drt_i64(1));", BOTH, FAST, UNFIT),
    ("too many for two", "body", "refs[0] = drt_submit(two, drt_i64(1), drt_str(\"a\"), drt_i64(1));", BOTH, FAST, UNFIT),
    ("too few through a pointer", "body", "refs[0] = drt_submit(&two, drt_i64(1));", BOTH, FAST, UNFIT),
    ("a wrong kind", "body", "refs[0] = drt_submit(declared, drt_f64(1));", BOTH, FAST, UNFIT),
    ("a wrong kind in the rest", "body", "refs[0] = drt_submit(declared, drt_i64(1), drt_i64(2));", BOTH, FAST, UNFIT),
    ("swapped kinds", "body", "refs[0] = drt_submit(two, drt_str(\"a\"), drt_i64(1));", BOTH, FAST, UNFIT),
    ("wrong kinds for several results", "body", "drt_submit_into(refs, 2, two, drt_i64(1), drt_i64(1));", BOTH, FAST, UNFIT),
    ("wrong kinds with options", "body", "refs[0] = drt_submit(two, drt_i64(1), DRT_WITH(.name = \"n\"));", BOTH, FAST, UNFIT),
    ("options before a value", "body", "refs[0] = drt_submit(two, DRT_WITH(.name = \"n\"), drt_i64(1), drt_str(\"a\"));", BOTH, FAST, UNFIT),
    ("options twice", "body", "refs[0] = drt_submit(none, DRT_WITH(.name = \"n\"), DRT_WITH(.priority = 1));", BOTH, FAST, UNFIT),
    ("a plain function", "body", "refs[0] = drt_submit(puts, drt_i64(1));", BOTH, ANY, "puts_must_be_a_DRT_TASK"),
    ("a function written by hand", "body", "refs[0] = drt_submit(by_hand, drt_i64(1));", BOTH, ANY, "by_hand_must_be_a_DRT_TASK"),
    ("a variable that points to a task", "body", "drt_task_fn *f = none; refs[0] = drt_submit(f);", BOTH, ANY, "f_must_be_a_DRT_TASK"),
    ("a plain function in an array", "body", "refs[0] = drt_submit_array(puts, items, 2);", BOTH, ANY, "struct drt_call|drt_task_fn"),
    ("no task at all", "body", "refs[0] = drt_submit(drt_i64(1));", BOTH, ANY, "must_be_a_DRT_TASK"),
    ("an integer as limit", "body", "drt_check(drt_await(ref, 5));", BOTH, ANY, "drt_span|" + SPAN),
    ("an integer as limit of a wait", "body", "drt_check(drt_wait(refs, 2, 1, 5, NULL, &n));", BOTH, ANY, "drt_span|" + SPAN),
    ("an integer as timeout", "body", "refs[0] = drt_submit(none, DRT_WITH(.timeout = 5));", BOTH, ANY, SPAN),
    ("a double as timeout", "body", "refs[0] = drt_submit(none, DRT_WITH(.timeout = 0.5));", BOTH, ANY, SPAN + "|use_?.?drt_seconds"),
    ("an integer as backoff", "body", "refs[0] = drt_submit(two, drt_i64(1), drt_str(\"a\"), DRT_WITH(.backoff = 5));", BOTH, ANY, SPAN),
    ("a variable as timeout", "body", "int s = 5; refs[0] = drt_submit(none, DRT_WITH(.timeout = s));", BOTH, ANY, SPAN),
    ("an integer as timeout of a map", "body", "drt_check(drt_parallel_map(none, items, 2, refs, DRT_MAP_WITH(.timeout = 5)));", BOTH, ANY, SPAN),
    ("an integer as timeout of a config", "body", "if (drt_init(DRT_CONFIG(.timeout = 5)) != 0) { return 1; }", BOTH, ANY, SPAN),
    ("a bare number as timeout of a struct", "body", "struct drt_options o; struct drt_span t = {5}; o.timeout = t;", ("c",), ANY, SPAN),
    ("a bare number assigned to a timeout", "body", "struct drt_options o; o.timeout = 5; (void)o;", BOTH, ANY, "drt_span"),
    ("a resource that is no struct", "body", "refs[0] = drt_submit(none, DRT_WITH(.resources = DRT_RESOURCES({1, \"a\"})));", BOTH, ANY, "char|drt_resource"),
    ("a misspelled option", "body", "refs[0] = drt_submit(none, DRT_WITH(.num_cpu = 5));", BOTH, ANY, "num_cpu"),
    ("an option of the map", "body", "refs[0] = drt_submit(none, DRT_WITH(.max_running = 5));", BOTH, ANY, "max_running"),
    ("options without DRT_WITH", "body", "refs[0] = drt_submit(none, .name = \"n\");", BOTH, ANY, "expected"),
    ("a number as a node", "body", "refs[0] = drt_submit(none, DRT_WITH(.strategy = DRT_NODE_SPECIFIC, .node = 2));", BOTH, ANY, "char"),
    ("a pointer as reference", "body", "drt_check(drt_await(&ref, drt_ms(1)));", BOTH, ANY, "drt_ref"),
    ("a number as reference", "body", "drt_check(drt_get_i64(1, &x));", BOTH, ANY, "drt_ref"),
    ("a value as reference", "body", "drt_check(drt_get_i64(drt_i64(1), &x));", BOTH, ANY, "drt_ref"),
    ("a value for drt_of", "body", "refs[0] = drt_submit(two, drt_of(drt_i64(1)), drt_str(\"a\"));", BOTH, ANY, "drt_ref"),
    ("a reference and not its place", "body", "drt_release(ref);", BOTH, ANY, "drt_ref"),
    ("writing through a view", "body", "view->x = 2;", BOTH, ANY, "read-only|const"),
    ("a header that disagrees", "top", "DRT_DECLARE_TASK(two, DRT_I64, DRT_F64);", BOTH, ANY, "two_must_be_a_DRT_TASK"),
    ("an i64 read into an int", "body", "int i; drt_check(drt_get_i64(ref, &i));", BOTH, ANY, "int"),
    ("an unchecked get", "body", "drt_get_i64(ref, &x);", BOTH, ANY, "ignoring return value"),
    ("a pointer to another struct", "body", "struct other o; drt_check(DRT_GET_RECORD(ref, struct point, &o));", BOTH, ANY, POINTER),
    ("a view of another struct", "body", "const struct other *o; drt_check(DRT_GET_ARRAY(ref, struct point, &o, &n));", BOTH, ANY, POINTER),
    ("a record and not its place", "body", "drt_check(DRT_GET_RECORD(ref, struct point, point));", BOTH, ANY, "another_type|invalid|static_cast"),
    ("a record from another struct", "body", "struct other o = {1, 2}; items[0] = DRT_RECORD(struct point, &o);", BOTH, ANY, POINTER),
    ("an array from another struct", "body", "struct other o[2] = {{1, 2}, {3, 4}}; items[0] = DRT_ARRAY(struct point, o, 2);", BOTH, ANY, POINTER),
    ("a record by value", "body", "items[0] = DRT_RECORD(struct point, point);", BOTH, ANY, "another_type|invalid|static_cast"),
    ("a pointer for bytes without a size", "body", "items[0] = drt_bytes(&point);", BOTH, ANY, "too few arguments|no matching function"),
    ("a number as a string", "body", "items[0] = drt_str(point);", BOTH, ANY, "char"),
    ("a wrong format of drt_fail", "top", "static DRT_TASK(fails, call) { return drt_fail(call, 1, \"%s\", 5); }", BOTH, ANY, "format"),
    ("a record that is not trivial", "body", "struct fat { fat(const fat &) {} fat() {} } f; items[0] = DRT_RECORD(fat, &f);", ("c++",), ANY, "negative|-1"),
]
BY_HAND = "#include <stdio.h>\nint by_hand(struct drt_call *call); int by_hand(struct drt_call *call) { (void)call; return 0; }\n"
COMPILERS = {"c": ("gcc", "clang"), "c++": ("g++", "clang++")}
FLAGS = {"c": ["-std=c99"], "c++": ["-std=c++17"]}


def fill(parts):
    return PRELUDE.replace("@TOP@", parts["top"]).replace("@BODY@", parts["body"])


STRICT = ("-Wall", "-Wextra", "-Wshadow", "-Werror")
# The standards that the header supports, with which a right program compiles.
STANDARDS = {"c": ("c99", "gnu11", "c17", "gnu2x"), "c++": ("c++17", "gnu++17", "c++20")}
LINES_MAX = 18  # of what a compiler says to one mistake, without clang's list of macros
TWO_MISTAKES = {"two bare numbers", "no task at all"}


def compile_text(case):
    """(compiler, flags, root, text) -> (whether it compiles, what the compiler says)"""
    compiler, flags, root, text = case
    with tempfile.TemporaryDirectory() as directory:
        source = os.path.join(directory, "program")
        with open(source, "w", encoding="utf-8") as out:
            out.write(text)
        command = [compiler, *flags, "-I", os.path.join(root, "sdk/include"), "-c", source,
                   "-o", source + ".o"]
        # The error attribute speaks when code is made, so -fsyntax-only is not enough.
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              env={**os.environ, "LC_ALL": "C"})
        return done.returncode == 0, done.stderr


def count_lines(said):
    """Lines that a reader has to read: not those that name the macros which a line went through."""
    lines = said.splitlines()
    skip = sum(3 for line in lines if "expanded from macro" in line or "(skipping " in line)
    return len(lines) - skip


def all_cases(found, root):
    """(the case, the mistake in it or None, what must be said, whether a warning will do)"""
    for language, compiler in found:
        for level in ("-O0", "-O2"):
            for standard in STANDARDS[language]:
                pedantic = ["-pedantic"] if standard in ("c99", "c++20") else []
                flags = ["-x", language, "-std=" + standard, *pedantic, *STRICT, level]
                yield (compiler, flags, root, fill({"top": BY_HAND, "body": ""})), None, "", False
        for name, where, line, languages, levels, advice in MISTAKES:
            for level in levels if language in languages else ():
                parts = {"top": BY_HAND, "body": ""}
                parts[where] += line
                # As a newcomer compiles: without any option (but for what Debian's gcc lacks).
                flags = ["-x", language, *FLAGS[language], level]
                warns = name in WARNS and (language == "c" or name in WARNS_IN_CPP)
                flags += ["-Wformat"]
                yield ((compiler, flags, root, fill(parts)), f"{name}: {line}", advice, warns)


def judge(mistake, advice, warns, fine, said):
    """What is wrong with how a compiler took a program; "": nothing."""
    if mistake is None:
        return "" if fine else "a right program is refused"
    if fine and not warns:
        return "compiles, and should not"
    if not re.search(advice, said):
        return f"the compiler does not say {advice}"
    if count_lines(said) > LINES_MAX * (2 if mistake.split(":")[0] in TWO_MISTAKES else 1):
        return f"the compiler needs {count_lines(said)} lines to say it"
    return ""


def main():
    root = sys.argv[1]
    found = [(language, compiler) for language, names in COMPILERS.items() for compiler in names
             if shutil.which(compiler)]
    if not found:
        print("no compiler: install gcc or clang")
        return 77
    cases = list(all_cases(found, root))
    bad = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(compile_text, [case for case, *_ in cases])
        for (case, mistake, advice, warns), (fine, said) in zip(cases, results):
            why = judge(mistake, advice, warns, fine, said)
            if why:
                bad += 1
                print(f"{case[0]} {' '.join(case[1])}: {why}: {mistake}\n{said[:2000]}")
    print(f"{len(cases)} compilations, {bad} not as they should be")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
