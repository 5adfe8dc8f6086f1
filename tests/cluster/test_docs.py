"""What README, docs, man pages and header tell a user to type: every command that README shows is run,
in its order; every command that stands anywhere is known, with its verb and its options; every
program that a page shows compiles and runs."""

import functools
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from conftest import BUILD, commands_of, find_free_port

SOURCE = Path(__file__).resolve().parents[2]
PAGES = sorted([SOURCE / "README.md", SOURCE / "CONTRIBUTING.md", *SOURCE.glob("docs/*.md"),
                *SOURCE.glob("docs/sdk/*.md"), *SOURCE.glob("docs/man/*")])
PROGRAMS = {"drt": "cli/drt", "drt-head": "head/drt-head", "drt-node": "raylet/drt-node"}
# Before the first program there is nothing that a test of a build could run: scripts/try-readme does.
INSTALLS = ("scripts/", "meson ", "ninja ", "sudo ")


@functools.cache
def help_of(program, verb):
    """What `program VERB --help` prints; None: there is no such verb."""
    r = subprocess.run([str(BUILD / PROGRAMS[program]), *([verb] if verb else []), "--help"],
                       capture_output=True, text=True, check=False)
    return r.stdout if r.returncode == 0 else None


def plain(page):
    """A page without roff."""
    text = page.read_text()
    if page.suffix in (".1", ".3"):
        text = re.sub(r"^\\.(SS|B|BR|BI|RB|TP|IR) *(.*)$", r"`\2`", text.replace("\\-", "-"), flags=re.M)
    return text


def commands_in(text):
    """Whatever looks like a command of ours: between backticks, or a line of an indented block."""
    for found in re.findall(r"`((?:drt|drt-head|drt-node) [a-z][^`\n]*)`", text):
        yield found
    for line in re.findall(r"^    +(?:[\w-]*\$ +)?((?:drt|drt-head|drt-node) +[a-z-][^\n]*)$", text, flags=re.M):
        yield line


def what_is_wrong(command):
    """With a command of ours; None: nothing."""
    words = re.split(r"\s\s+#?|\s#", command)[0]
    try:
        words = shlex.split(words)
    except ValueError:
        words = words.split()
    program, *rest = words
    verb = rest[0] if rest and re.fullmatch(r"[a-z]+", rest[0]) else None
    said = help_of(program, verb)
    if said is None:
        return f"{program} has no verb {verb}"
    for word in rest:
        option = re.match(r"--?[a-z][a-z-]*", word)
        if option and not re.search(rf"(^|[ ,]){re.escape(option[0])}\b", said, flags=re.M):
            return f"{program} {verb or ''} has no option {option[0]}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_each_command_is_known(page):
    wrong = {c: why for c in commands_in(plain(page)) if (why := what_is_wrong(c))}
    assert not wrong


def test_a_wrong_command_is_seen():
    assert list(commands_in("say `drt logs --task TASK` and\n\n    box-2$ drt-node join A:1\n")) == [
        "drt logs --task TASK", "drt-node join A:1"]
    assert what_is_wrong("drt logs --task TASK --follow") is None
    assert what_is_wrong("drt log --task TASK") and what_is_wrong("drt logs --tusk TASK")


@pytest.mark.parametrize("page", [p for p in PAGES if p.suffix == ".md"],
                         ids=lambda p: str(p.relative_to(SOURCE)))
def test_each_program_runs(cluster, page):
    commands_of(page, cluster.work)
    for source in cluster.work.glob("*.c"):
        program = source.with_suffix("")
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", str(source), "-o", str(program),
                        "-I", str(SOURCE / "sdk/include"), "-L", str(BUILD / "sdk"), "-ldrt"],
                       check=True)
        cluster.run(program, DRT_MODE="sync", LD_LIBRARY_PATH=str(BUILD / "sdk"), check=0)


def test_readme_is_followed(cluster):
    """Word for word, but for what chooses ports, since others of this machine may use these."""
    folder = cluster.work
    path = ":".join(str((BUILD / p).parent) for p in PROGRAMS.values())
    env = {"DRT_MODE": "", "PATH": f"{path}:{cluster.env['PATH']}", "LD_LIBRARY_PATH": str(BUILD / "sdk")}
    ran = []
    for command in commands_of(SOURCE / "README.md", folder):
        if command.startswith(INSTALLS):
            tool = command.split()[0]
            assert not tool.startswith("scripts/") or (SOURCE / tool).exists()
            continue
        mine = command.replace("$(pkg-config --cflags --libs drt)",
                               f"-I{SOURCE}/sdk/include -L{BUILD}/sdk -ldrt")
        mine = mine.replace("127.0.0.1:7420", f"127.0.0.1:{cluster.port}")
        if mine.startswith("drt-head start"):
            mine += f" --bind 127.0.0.1 --port {cluster.port}"
        if mine.startswith("drt-node join"):
            mine += f" --bind 127.0.0.1 --port {find_free_port()}"
        r = cluster.run("sh", "-c", mine, cwd=folder, check=0, **env)
        if mine == "./pi":
            assert r.stdout.startswith("pi is about 3.14")
        ran.append(command)
    assert [c.split()[0] for c in ran] == ["cc", "./pi", "drt-head", "drt-node", "./pi", "drt", "drt"]
