"""
Words that only a fault of drt writes: a broken assertion, a sanitizer's report, a library that ends
the process. Every log, and all that programs print, is searched for them when a test ends: a test
that passes in spite of such a line has still found a fault.
"""

import re
import subprocess

WORDS = re.compile(
    r"this must hold and does not"                  # ASSERT, common/base.c
    r"|Assertion [^\n]*failed"                      # assert of libc and ZeroMQ
    r"|(ERROR|WARNING): \w*Sanitizer"               # address, leak, thread, memory
    r"|:\d+(:\d+)?: runtime error: "                # undefined behaviour
    r"|==\d+== +(Invalid|Conditional jump|Process terminating)"  # valgrind
    r"|\*\*\* stack smashing|double free or corruption|corrupted (size|double-linked|unsorted)"
    r"|(free|malloc|realloc)\(\): [a-z]")           # glibc's heap
LOG_MAX = 256 << 20


def blame(where, text):
    """What is to be said of each line that has such words."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return [f"{where}: {line.strip()[:400]}" for line in (text or "").splitlines()
            if WORDS.search(line)]


def is_log(path):
    """Daemons' logs, and what workers wrote; also those that were turned."""
    return any(part in path.name for part in (".log", ".out", ".err"))


def blame_logs(root):
    """The same of all logs beneath a directory."""
    found = []
    for path in sorted(root.rglob("*")):
        try:
            if is_log(path) and path.is_file() and path.stat().st_size <= LOG_MAX:
                found += blame(path.relative_to(root), path.read_text(errors="replace"))
        except FileNotFoundError:
            pass  # a node just left, and took its logs along
    return found


class Child(subprocess.Popen):
    """A program whose output is searched, whoever reads it."""

    def __init__(self, argv, said, **options):
        self.said = said
        super().__init__(argv, **options)

    def communicate(self, *args, **options):
        result = super().communicate(*args, **options)
        said, self.said = self.said, []  # who asks again is given the same output again
        for text in result:
            said += blame(self.args[0], text)
        return result
