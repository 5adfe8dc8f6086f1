#!/usr/bin/env python3
"""The house rules as a test: prints "file:line: what is wrong and what to do" for each finding.

    tidy.py ROOT rules       includes, circles, names, banned calls, line and file lengths, words
    tidy.py ROOT functions   function lengths (needs universal-ctags)
    tidy.py ROOT format      clang-format (needs clang-format)
    tidy.py ROOT self-test   each rule finds what breaks it

Exit status: 0 nothing found, 1 findings, 77 the tool that is needed is not installed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

LINE_LIMIT = 100
FILE_LIMIT = 1000
FUNCTION_LIMIT = 70
SKIPPED = 77

# Who may include whom. Tests may include all; what is not named here may include nothing of ours but drt.h.
GRAPH = {
    "common": {"common"},
    "proto": {"proto", "common"},
    "sched": {"sched", "common"},
    "raylet": {"raylet", "sched", "proto", "common"},
    "head": {"head", "sched", "proto", "common"},
    "sdk": {"sdk", "proto", "common"},
    "cli": {"cli", "sdk", "proto", "common"},
    "bench": {"bench", "sdk", "proto", "common"},
    "examples": {"examples"},
    "tests": None,
}

BANNED = {
    "strcpy": "use text_copy",
    "strcat": "use struct buffer",
    "sprintf": "use snprintf or buffer_printf",
    "vsprintf": "use vsnprintf",
    "gets": "use fgets or files_read",
    "strtok": "use strcspn and strspn",
    "alloca": "use the heap or an array of fixed size",
    "rand": "use struct rng",
    "srand": "use struct rng",
    "random": "use struct rng",
    "atoi": "use text_parse_u64",
    "atol": "use text_parse_u64",
    "atof": "use text_parse_double",
    "system": "use posix_spawn",
    "popen": "use posix_spawn",
}
SLEEPS = ("sleep", "usleep", "nanosleep", "clock_nanosleep")

WORDS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"]) + r")\b")
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:wo" + r"rk|ho" + r"me/\w+|ro" + r"ot)(?=/|\b)(?![\w-])")
WIRE = re.compile(r"\b(?:Wire__\w*|wire__\w*|ProtobufC\w*|protobuf_c_\w*)")
QUOTED = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
PUBLIC = "sdk/include/"
C_ENDINGS = (".c", ".h")
TEXT_ENDINGS = (".c", ".h", ".py", ".md", ".build", ".proto", ".txt", ".sh", ".map", ".in", "")


def git_files(root):
    """Tracked and new files; every file where there is no git."""
    try:
        out = subprocess.run(
            ["git", "-C", root, "ls-files", "-co", "--exclude-standard"],
            capture_output=True, text=True, check=True).stdout
        names = out.splitlines()
    except (OSError, subprocess.CalledProcessError):
        names = []
        for folder, folders, files in os.walk(root):
            folders[:] = [f for f in folders if not f.startswith((".git", "build", "__"))]
            names += [os.path.relpath(os.path.join(folder, f), root) for f in files]
    return sorted(n for n in set(names) if os.path.isfile(os.path.join(root, n)))


def read(root, name):
    with open(os.path.join(root, name), encoding="utf-8", errors="replace") as f:
        return f.read()


def without_comments_and_strings(text):
    """The same text, line for line and column for column, with both blanked."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)

    def blank(match):
        found = match.group(0)
        edge = found[0] if found[0] in "\"'" else " "
        inner = re.sub(r"[^\n]", " ", found[1:-1])
        return edge + inner + edge if len(found) > 1 else found
    return pattern.sub(blank, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def folder_of(name):
    return name.split("/", 1)[0] if "/" in name else ""


def module_of(name):
    """A .c with its .h; the public header belongs to no module."""
    return os.path.splitext(name)[0]


def sees_wire(name):
    """proto/ and its own tests."""
    return name.startswith(("proto/", "tests/unit/proto/"))


def is_test(name):
    return os.path.basename(name).startswith("test_")


class Tidy:
    """One run over one tree."""

    def __init__(self, root, names=None):
        self.root = root
        self.names = git_files(root) if names is None else names
        self.c_names = [n for n in self.names if n.endswith(C_ENDINGS)]
        self.findings = []

    def report(self, name, line, text):
        self.findings.append((name, line, text))

    # --- rules ---

    def check_rules(self):
        edges = {}
        for name in self.names:
            if os.path.splitext(name)[1] not in TEXT_ENDINGS or name == "LICENSE":
                continue
            text = read(self.root, name)
            self.check_words(name, text)
            if name.endswith(C_ENDINGS):
                code = without_comments_and_strings(text)
                self.check_lengths(name, text)
                self.check_includes(name, text, edges)
                self.check_calls(name, code)
                self.check_wire(name, code)
                self.check_braces(name, code)
                self.check_header(name, text, code)
            elif name.endswith(".py") and is_test(name):
                self.check_python_sleep(name, text)
        self.check_circles(edges)

    def check_words(self, name, text):
        if name.startswith("tests/tidy/"):
            return
        for number, line in enumerate(text.splitlines(), 1):
            found = WORDS.search(line)
            if found:
                self.report(name, number, f"{found.group(1)}: finish it, or take it out")
            found = MACHINE_PATHS.search(line)
            if found:
                self.report(name, number,
                            f"{found.group(0)} is a path of one machine: make it relative")

    def check_lengths(self, name, text):
        lines = text.splitlines()
        if len(lines) > FILE_LIMIT:
            self.report(name, len(lines), f"{len(lines)} lines, at most {FILE_LIMIT}: divide it")
        for number, line in enumerate(lines, 1):
            if len(line) > LINE_LIMIT:
                self.report(name, number,
                            f"{len(line)} columns, at most {LINE_LIMIT}: break the line")

    def check_includes(self, name, text, edges):
        folder = folder_of(name)
        for number, line in enumerate(text.splitlines(), 1):
            found = QUOTED.match(line)
            if not found:
                continue
            path = found.group(1)
            if path.endswith(".pb-c.h"):
                if not sees_wire(name):
                    self.report(name, number, f"{path} belongs to proto/: use proto's own structs")
                continue
            if path.startswith("drt/") and os.path.isfile(
                    os.path.join(self.root, PUBLIC, path)):
                continue
            if "/" not in path:
                self.report(name, number, f'"{path}" is not written from the root: name its folder')
                continue
            self.check_include_folder(name, number, folder, path)
            if module_of(name).startswith(module_of(path) + "_"):
                continue  # core_tasks is a part of core: it may see the contract of the whole
            edges.setdefault(module_of(name), {}).setdefault(module_of(path), (name, number))

    def check_include_folder(self, name, number, folder, path):
        if path.endswith(".c"):
            self.report(name, number, f"{path}: include the header and link the file")
        allowed = GRAPH.get(folder, set())
        target = folder_of(path)
        if allowed is not None and target not in allowed:
            self.report(name, number,
                        f"{folder}/ must not include {path}: it may use "
                        f"{', '.join(sorted(allowed)) or 'nothing of ours'}")
        elif not os.path.isfile(os.path.join(self.root, path)):
            self.report(name, number, f"{path} does not exist: write it from the root")

    def check_calls(self, name, code):
        for found in re.finditer(r"(?<![\w.>])(\w+)\s*\(", code):
            call = found.group(1)
            if call in BANNED:
                self.report(name, line_of(code, found.start()),
                            f"{call} is banned: {BANNED[call]}")
            if call in SLEEPS and is_test(name):
                self.report(name, line_of(code, found.start()),
                            f"{call} in a test: wait for the event, with a deadline")

    def check_python_sleep(self, name, text):
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(r"\btime\.sleep\(|\bsleep\(", line.split("#")[0]):
                self.report(name, number, "sleep in a test: wait for the event, with a deadline")

    def check_wire(self, name, code):
        if sees_wire(name):
            return
        for found in WIRE.finditer(code):
            self.report(name, line_of(code, found.start()),
                        f"{found.group(0)} is protobuf-c's: only proto/ sees it")

    def check_braces(self, name, code):
        # Macros and other directives are left out: their bodies end where the user's begin.
        plain = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*",
                       lambda m: re.sub(r"[^\n]", " ", m.group(0)), code, flags=re.MULTILINE)
        keywords = r"\b(if|for|while|switch|else|do|[A-Z]+_FOREACH(?:_SAFE)?|HASH_ITER)\b"
        for found in re.finditer(keywords, plain):
            word, at = found.group(1), found.end()
            if word not in ("else", "do"):
                at = after_parentheses(plain, at)
            rest = plain[at:at + 200].lstrip()
            fine = rest.startswith("{") or (word == "else" and re.match(r"if\b", rest))
            if word == "while" and rest.startswith(";"):
                before = plain[:found.start()].rstrip()
                fine = before.endswith("}")
            if not fine:
                self.report(name, line_of(plain, found.start()), f"{word} without braces: add them")

    def check_header(self, name, text, code):
        for found in re.finditer(r"\btypedef\s+(?:struct|union)\b", code):
            self.report(name, line_of(code, found.start()), "typedef of a struct: write the struct")
        if not name.endswith(".h"):
            return
        if not text.startswith("/*"):
            self.report(name, 1, "no paragraph: say what this is, what it is not, which thread")
        inside = name[len(PUBLIC):] if name.startswith(PUBLIC) else name
        guard = "DRT_H" if inside == "drt/drt.h" else re.sub(r"\W", "_", inside).upper()
        if f"#ifndef {guard}\n" not in text:
            self.report(name, 1, f"no include guard: name it {guard}")

    def check_circles(self, edges):
        for circle in circles(edges):
            if len(circle) == 1:
                continue
            first = circle[0]
            where = next((edges[first][m] for m in circle if m in edges[first]), (first, 1))
            self.report(where[0], where[1],
                        "a circle of modules: " + ", ".join(circle) +
                        ": let the lower one take a callback or return an effect")

    # --- tools ---

    def check_functions(self):
        out = subprocess.run(
            ["ctags", "--language-force=C", "--kinds-C=f", "--fields=+ne", "-f", "-", "-L", "-"],
            cwd=self.root, input="\n".join(self.c_names), capture_output=True, text=True,
            check=True).stdout
        for line in out.splitlines():
            fields = line.split("\t")
            numbers = dict(f.split(":", 1) for f in fields[3:] if ":" in f)
            if "line" not in numbers or "end" not in numbers:
                continue
            first, last = int(numbers["line"]), int(numbers["end"])
            if last - first + 1 > FUNCTION_LIMIT:
                self.report(fields[1], first,
                            f"{fields[0]} has {last - first + 1} lines, at most {FUNCTION_LIMIT}: "
                            "divide it")

    def check_format(self):
        out = subprocess.run(
            ["clang-format", "--dry-run", "-Werror", "--ferror-limit=1", *self.c_names],
            cwd=self.root, capture_output=True, text=True, check=False).stderr
        for name, line in re.findall(r"^(\S+?):(\d+):\d+: error: ", out, re.MULTILINE):
            self.report(name, int(line), f"not formatted: run clang-format -i {name}")
        if "Error reading" in out or "error: unknown" in out:
            self.report(".clang-format", 1, "clang-format does not take it: " + out[:200])


def after_parentheses(text, at):
    """The offset behind the parentheses that open at or after `at`."""
    at = text.find("(", at)
    depth = 0
    while 0 <= at < len(text):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
        if depth == 0:
            return at
    return len(text)


def circles(edges):
    """Strongly connected modules (Tarjan), each sorted."""
    index, low, stack, on_stack, found = {}, {}, [], set(), []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        on_stack.add(node)
        for target in edges.get(node, {}):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in on_stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            circle = []
            while not circle or circle[-1] != node:
                circle.append(stack.pop())
                on_stack.discard(circle[-1])
            found.append(sorted(circle))

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found


# --- self-test ---

GOOD_HEADER = "/*\n * A thing.\n */\n#ifndef {}\n#define {}\n{}\n#endif\n"


def header(name, body=""):
    guard = "DRT_H" if name == "DRT" else re.sub(r"\W", "_", name).upper()
    return GOOD_HEADER.format(guard, guard, body)


# (files, the check, what a finding must say; None: nothing may be found)
CASES = [
    ({"common/a.h": header("common/a.h"), "common/a.c": '#include "common/a.h"\n'}, "rules", None),
    ({"common/a.c": '#include "proto/x.h"\n', "proto/x.h": header("proto/x.h")}, "rules",
     "common/ must not include proto/x.h"),
    ({"head/a.c": '#include "raylet/x.h"\n', "raylet/x.h": header("raylet/x.h")}, "rules",
     "head/ must not include raylet/x.h"),
    ({"sched/a.c": '#include "proto/x.h"\n', "proto/x.h": header("proto/x.h")}, "rules",
     "sched/ must not include"),
    ({"examples/a.c": '#include "common/x.h"\n', "common/x.h": header("common/x.h")}, "rules",
     "examples/ must not include"),
    ({"examples/a.c": '#include "drt/drt.h"\n#include <drt/drt.h>\n',
      "sdk/include/drt/drt.h": header("DRT")}, "rules", None),
    ({"examples/a.c": '#include "drt/none.h"\n'}, "rules", "examples/ must not include"),
    ({"common/a.c": '#include "a.h"\n'}, "rules", "not written from the root"),
    ({"common/a.c": '#include "common/none.h"\n'}, "rules", "does not exist"),
    ({"common/a.c": '#include "common/b.c"\n', "common/b.c": "\n"}, "rules", "include the header"),
    ({"common/a.h": header("common/a.h"), "common/a.c": '#include "common/b.h"\n',
      "common/b.h": header("common/b.h", '#include "common/a.h"')}, "rules", "a circle of modules"),
    ({"head/a.h": header("head/a.h"), "head/a.c": '#include "head/a_private.h"\n',
      "head/a_private.h": header("head/a_private.h", '#include "head/a.h"')}, "rules", None),
    ({"head/a.h": header("head/a.h"), "head/a.c": '#include "head/a_b.h"\n',
      "head/a_b.h": header("head/a_b.h", '#include "head/a.h"'),
      "head/a_b.c": '#include "head/a_c.h"\n', "head/a_c.h": header("head/a_c.h"),
      "head/a_c.c": '#include "head/a_b.h"\n'}, "rules", "head/a_b, head/a_c"),
    ({"raylet/a.h": header("raylet/a.h"), "raylet/a.c": '#include "raylet/b.h"\n',
      "raylet/b.h": header("raylet/b.h"), "raylet/b.c": '#include "raylet/c.h"\n',
      "raylet/c.h": header("raylet/c.h"), "raylet/c.c": '#include "raylet/a.h"\n'}, "rules",
     "raylet/a, raylet/b, raylet/c"),
    ({"common/a.c": "void f(void)\n{\n    strcpy(a, b);\n}\n"}, "rules", "strcpy is banned"),
    ({"common/a.c": "void f(void)\n{\n    x = atoi (b);\n}\n"}, "rules", "atoi is banned"),
    ({"common/a.c": '/* strcpy(a, b) */\nconst char *t = "system(1)";\n'}, "rules", None),
    ({"common/a.c": "void f(void)\n{\n    my_strcpy(a);\n    t->random(a);\n}\n"}, "rules", None),
    ({"tests/unit/common/test_a.c": "void f(void)\n{\n    usleep(1);\n}\n"}, "rules",
     "usleep in a test"),
    ({"tests/cluster/test_a.py": "time.sleep(1)\n"}, "rules", "sleep in a test"),
    ({"raylet/a.c": "Wire__Hello *h;\n"}, "rules", "only proto/ sees it"),
    ({"raylet/a.c": '#include "proto/wire.pb-c.h"\n'}, "rules", "belongs to proto/"),
    ({"proto/a.c": '#include "proto/wire.pb-c.h"\nWire__Hello *h;\n'}, "rules", None),
    ({"common/a.c": "/* " + "TO" + "DO later */\n"}, "rules", "finish it"),
    ({"README.md": "see /wo" + "rk/main\n"}, "rules", "a path of one machine"),
    ({"README.md": "see docs/wo" + "rk/main and /etc/hosts\n"}, "rules", None),
    ({"common/a.c": "int a; " + "/" + "*" * 100 + "/\n"}, "rules", "columns"),
    ({"common/a.c": "\n" * 1001}, "rules", "lines, at most 1000"),
    ({"common/a.c": "void f(void)\n{\n    if (a)\n        b();\n}\n"}, "rules", "if without"),
    ({"common/a.c": "void f(void)\n{\n    if (a) {\n    } else\n        b();\n}\n"}, "rules",
     "else without"),
    ({"common/a.c": "void f(void)\n{\n    while (a);\n}\n"}, "rules", "while without"),
    ({"common/a.c": "void f(void)\n{\n    LIST_FOREACH (a, b)\n        c();\n}\n"}, "rules",
     "LIST_FOREACH without"),
    ({"common/a.c": "#define EACH(a) \\\n    for (a; b; c)\nvoid f(void)\n{\n"
      "    do {\n    } while (x(y));\n    if (a) {\n    } else if (b) {\n    } else {\n    }\n}\n"},
     "rules", None),
    ({"common/a.c": "typedef struct {\n    int a;\n} b;\n"}, "rules", "typedef of a struct"),
    ({"common/a.h": "#ifndef COMMON_A_H\n#define COMMON_A_H\n#endif\n"}, "rules", "no paragraph"),
    ({"common/a.h": "/* x */\n#ifndef A_H\n#define A_H\n#endif\n"}, "rules", "name it COMMON_A_H"),
    ({"common/a.c": "int f(void)\n{\n" + "    a();\n" * 66 + "    return 0;\n}\n"}, "functions",
     None),
    ({"common/a.c": "int f(void)\n{\n" + "    a();\n" * 67 + "    return 0;\n}\n"}, "functions",
     "f has 71 lines"),
    ({"common/a.c": "int  f( void ){ return 0;}\n"}, "format", "not formatted"),
    ({"common/a.c": "int f(void)\n{\n    return 0;\n}\n"}, "format", None),
]

TOOLS = {"rules": None, "functions": "ctags", "format": "clang-format"}


def run_check(root, check, names=None):
    tidy = Tidy(root, names)
    {"rules": tidy.check_rules, "functions": tidy.check_functions,
     "format": tidy.check_format}[check]()
    return tidy.findings


def run_case(house, files, check):
    with tempfile.TemporaryDirectory() as root:
        shutil.copy(os.path.join(house, ".clang-format"), root)
        for name, text in files.items():
            os.makedirs(os.path.dirname(os.path.join(root, name)) or root, exist_ok=True)
            with open(os.path.join(root, name), "w", encoding="utf-8") as f:
                f.write(text)
        return [text for _, _, text in run_check(root, check, sorted(files))]


def self_test(house):
    bad = 0
    for files, check, wanted in CASES:
        if TOOLS[check] and not shutil.which(TOOLS[check]):
            continue
        found = run_case(house, files, check)
        fine = not found if wanted is None else any(wanted in text for text in found)
        if not fine:
            bad += 1
            print(f"self-test: {sorted(files)} {check}: wanted {wanted!r}, found {found}")
    print(f"self-test: {len(CASES)} cases, {bad} wrong")
    return 1 if bad else 0


def main():
    if len(sys.argv) != 3 or sys.argv[2] not in (*TOOLS, "self-test"):
        print(__doc__, file=sys.stderr)
        return 2
    root, check = sys.argv[1:]
    if check == "self-test":
        return self_test(root)
    tool = TOOLS[check]
    if tool and not shutil.which(tool):
        print(f"skipped: {tool} is not installed")
        return SKIPPED
    findings = run_check(root, check)
    for name, line, text in sorted(findings):
        print(f"{name}:{line}: {text}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
