"""Words that only a fault of drt writes are found wherever they stand: see blame.py."""

import re
from pathlib import Path

import pytest

from blame import blame

SOURCE = Path(__file__).resolve().parents[2]

LINES = [
    "../proto/mesh.c:356: this must hold and does not: !mesh->telling && size <= MESSAGE_MAX",
    "==4711==ERROR: AddressSanitizer: heap-use-after-free on address 0x602000000010",
    "==4711==ERROR: LeakSanitizer: detected memory leaks",
    "WARNING: ThreadSanitizer: data race (pid=4711)",
    "../raylet/core.c:12:7: runtime error: signed integer overflow",
    "Assertion failed: check () (src/msg.cpp:414)",
    "prog: a.c:3: main: Assertion `x == 1' failed.",
    "free(): double free detected in tcache 2",
    "*** stack smashing detected ***: terminated",
]


def take(cluster):
    """What is blamed now; the test itself is not blamed for it."""
    found = cluster.find_faults()
    cluster.said.clear()
    return found


@pytest.mark.parametrize("line", LINES)
def test_the_words(line):
    assert blame("x", f"first\n{line}\nlast\n") == [f"x: {line}"]
    assert blame("x", "a runtime error\nit must hold\nthe task failed: Assertion of the user\n") == []


def test_the_words_are_those_of_assert():
    """What ASSERT prints is read from its source."""
    printed = re.search(r'"%s:%d: ([^%]*)%s\\n", file', (SOURCE / "common/base.c").read_text())
    assert blame("x", f"a.c:1: {printed[1]}true")


def test_in_the_logs_of_daemons_and_workers(cluster):
    cluster.up()
    words = "a.c:1: this must hold and does not: true"
    directory = cluster.dir / "nodes" / "n1"
    for path in (directory / "node.log", directory / "logs" / "worker-9.err",
                 cluster.dir / "head.log"):
        before = path.read_bytes() if path.exists() else b""
        path.write_bytes(before + words.encode() + b"\n")
        found = take(cluster)
        assert len(found) == 1 and found[0].endswith(f"{path.name}: {words}"), found
        path.write_bytes(before)
    assert take(cluster) == []


@pytest.mark.parametrize("stream", [1, 2])
def test_in_what_programs_print(cluster, stream):
    say = f"echo 'a.c:1: this must hold and does not: true' >&{stream}"
    cluster.run("/bin/sh", "-c", say)
    assert len(take(cluster)) == 1
    cluster.start("/bin/sh", "-c", say).communicate()
    assert len(take(cluster)) == 1
    cluster.start("/bin/sh", "-c", say).wait()  # which nobody reads before the end
    cluster.stop()
    assert len(take(cluster)) == 1
