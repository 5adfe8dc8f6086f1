#!/usr/bin/env python3
"""drt.h as users compile it: C99 and C++17, gcc and clang, -O0 and -O2, without a warning; and the
table of mistakes that the compiler must refuse. Each mistake is one line put into a program that
compiles without it, so that nothing but the mistake can be why it fails.

    header_matrix.py ROOT

Exit status: 0 all as it should be, 1 not, 77 no compiler.
"""
import os
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

# name, where, line, languages ("c", "c++"), levels of optimisation at which it must be refused,
# and whether a warning (an error with -Werror) is enough.
ANY, FAST = ("-O0", "-O2"), ("-O2",)
BOTH = ("c", "c++")
MISTAKES = [
    ("a mistyped task", "body", "refs[0] = drt_submit(tow, drt_i64(1), drt_str(\"a\"));", BOTH, ANY),
    ("a bare number", "body", "refs[0] = drt_submit(two, 5, drt_str(\"a\"));", BOTH, ANY),
    ("a bare string", "body", "refs[0] = drt_submit(two, drt_i64(1), \"a\");", BOTH, ANY),
    ("too few arguments", "body", "refs[0] = drt_submit(two, drt_i64(1));", BOTH, FAST),
    ("too many arguments", "body", "refs[0] = drt_submit(none, drt_i64(1));", BOTH, FAST),
    ("too many for two", "body", "refs[0] = drt_submit(two, drt_i64(1), drt_str(\"a\"), drt_i64(1));", BOTH, FAST),
    ("a wrong kind", "body", "refs[0] = drt_submit(declared, drt_f64(1));", BOTH, FAST),
    ("a wrong kind in the rest", "body", "refs[0] = drt_submit(declared, drt_i64(1), drt_i64(2));", BOTH, FAST),
    ("swapped kinds", "body", "refs[0] = drt_submit(two, drt_str(\"a\"), drt_i64(1));", BOTH, FAST),
    ("wrong kinds for several results", "body", "drt_submit_into(refs, 2, two, drt_i64(1), drt_i64(1));", BOTH, FAST),
    ("wrong kinds with options", "body", "refs[0] = drt_submit(two, drt_i64(1), DRT_WITH(.name = \"n\"));", BOTH, FAST),
    ("a plain function", "body", "refs[0] = drt_submit(puts, drt_i64(1));", BOTH, ANY),
    ("a function written by hand", "body", "refs[0] = drt_submit(by_hand, drt_i64(1));", BOTH, ANY),
    ("an integer as limit", "body", "drt_check(drt_await(ref, 5));", BOTH, ANY),
    ("an integer as timeout", "body", "refs[0] = drt_submit(none, DRT_WITH(.timeout = 5));", BOTH, ANY),
    ("a misspelled option", "body", "refs[0] = drt_submit(none, DRT_WITH(.num_cpu = 5));", BOTH, ANY),
    ("a pointer as reference", "body", "drt_check(drt_await(&ref, drt_ms(1)));", BOTH, ANY),
    ("a value as reference", "body", "drt_check(drt_get_i64(drt_i64(1), &x));", BOTH, ANY),
    ("writing through a view", "body", "view->x = 2;", BOTH, ANY),
    ("a header that disagrees", "top", "DRT_DECLARE_TASK(two, DRT_I64, DRT_F64);", BOTH, ANY),
    ("an i64 read into an int", "body", "int i; drt_check(drt_get_i64(ref, &i));", BOTH, ANY),
    ("an unchecked get", "body", "drt_get_i64(ref, &x);", BOTH, ANY),
    ("a pointer to another struct", "body", "struct other o; drt_check(DRT_GET_RECORD(ref, struct point, &o));", BOTH, ANY),
    ("a view of another struct", "body", "const struct other *o; drt_check(DRT_GET_ARRAY(ref, struct point, &o, &n));", BOTH, ANY),
    ("a record from another struct", "body", "struct other o = {1, 2}; items[0] = DRT_RECORD(struct point, &o);", BOTH, ANY),
    ("a wrong format of drt_fail", "top", "static DRT_TASK(fails, call) { return drt_fail(call, 1, \"%s\", 5); }", BOTH, ANY),
    ("a record that is not trivial", "body", "struct fat { fat(const fat &) {} fat() {} } f; items[0] = DRT_RECORD(fat, &f);", ("c++",), ANY),
]
BY_HAND = "#include <stdio.h>\nint by_hand(struct drt_call *call); int by_hand(struct drt_call *call) { (void)call; return 0; }\n"
COMPILERS = {"c": ("gcc", "clang"), "c++": ("g++", "clang++")}
FLAGS = {"c": ["-x", "c", "-std=c99", "-pedantic"], "c++": ["-x", "c++", "-std=c++17"]}


def fill(parts):
    return PRELUDE.replace("@TOP@", parts["top"]).replace("@BODY@", parts["body"])


def compile_text(case):
    """(compiler, language, level, root, text) -> (whether it compiles, what the compiler says)"""
    compiler, language, level, root, text = case
    with tempfile.TemporaryDirectory() as directory:
        source = os.path.join(directory, "program")
        with open(source, "w", encoding="utf-8") as out:
            out.write(text)
        command = [compiler, *FLAGS[language], "-Wall", "-Wextra", "-Werror", level,
                   "-I", os.path.join(root, "sdk/include"), "-c", source, "-o", source + ".o"]
        # The error attribute speaks when code is made, so -fsyntax-only is not enough.
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode == 0, done.stderr


def all_cases(found, root):
    """(the case, the mistake in it or None)"""
    for language, compiler in found:
        for level in ANY:
            yield (compiler, language, level, root, fill({"top": BY_HAND, "body": ""})), None
        for name, where, line, languages, levels in MISTAKES:
            for level in levels if language in languages else ():
                parts = {"top": BY_HAND, "body": ""}
                parts[where] += line
                yield (compiler, language, level, root, fill(parts)), f"{name}: {line}"


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
        results = pool.map(compile_text, [case for case, _ in cases])
        for (case, mistake), (fine, why) in zip(cases, results):
            if mistake is None and not fine:
                bad += 1
                print(f"{case[0]} {case[2]}: a right program is refused:\n{why[:2000]}")
            elif mistake is not None and fine:
                bad += 1
                print(f"{case[0]} {case[2]}: compiles, and should not: {mistake}")
    print(f"{len(cases)} compilations, {bad} not as they should be")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
