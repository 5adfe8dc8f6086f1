"""What user code does in its process: forks, threads that end, and what it leaves behind."""

import os
import signal
from pathlib import Path

import pytest

from conftest import is_alive, until

WAYS = ("fork", "_Fork", "clone")


def run(cluster, mode, *argv, **env):
    return cluster.run(cluster.program("children"), *argv, DRT_MODE=mode, **env)


def up(cluster, mode):
    if mode == "cluster":
        cluster.up()


@pytest.mark.parametrize("mode", ["cluster", "local", "sync"])
def test_a_child_that_returns_from_a_body_ends_alone(cluster, mode):
    up(cluster, mode)
    r = run(cluster, mode, "fall")
    assert r.returncode == 0, r.stderr
    assert r.stdout.splitlines() == [
        f"way {way}: DRT_OK 70, stray DRT_OK {way}" for way in range(3)] + ["wrong 0"]
    if mode == "cluster":
        said = "".join(p.read_text() for p in cluster.home.rglob("worker-*"))
    else:
        said = r.stderr
    if mode != "local":
        assert "a child of the process that runs the task falling" in said, said


@pytest.mark.parametrize("mode", ["cluster", "sync"])
def test_drt_in_a_child_answers_echild(cluster, mode):
    up(cluster, mode)
    r = run(cluster, mode, "calls")
    assert r.stdout.splitlines() == [f"way {way}: DRT_OK 10100" for way in range(3)], r.stderr


@pytest.mark.parametrize("mode", ["cluster", "local", "sync"])
def test_other_programs_can_be_run(cluster, mode):
    up(cluster, mode)
    r = run(cluster, mode, "spawn")
    assert r.stdout == "task 15 said, program 15 said\n", r.stderr


@pytest.mark.parametrize("mode", ["cluster", "local"])
def test_a_killed_program_ends_though_its_child_lives(cluster, mode):
    up(cluster, mode)
    child = cluster.start(cluster.program("children"), "outlive", DRT_MODE=mode)
    program, forked = map(int, child.stdout.readline().split())
    until("its tasks run", lambda: len(cluster.pids("children")) >= 4)
    os.kill(program, signal.SIGKILL)
    child.wait()
    until("its workers are gone", lambda: cluster.pids("children") == [forked])
    assert is_alive(forked)
    if mode == "cluster":
        until("its job is over", lambda: [j["state"] for j in cluster.ask("jobs")] == ["failed"])
    else:
        until("its cluster is gone", lambda: cluster.pids("drt-") == [])
    os.kill(forked, signal.SIGKILL)


@pytest.mark.parametrize("mode", ["cluster", "local", "sync"])
@pytest.mark.parametrize("what", ["before", "between"])
def test_both_sides_of_a_fork_can_start_drt(cluster, mode, what):
    up(cluster, mode)
    r = run(cluster, mode, what)
    assert r.stdout.splitlines()[-1:] == ["program 0, child 0"], r.stdout + r.stderr


def test_daemon_goes_before_drt_init(cluster):
    cluster.up()
    for what in ("daemon", "late"):
        said = Path(cluster.work / what)
        run(cluster, "cluster", what, said)
        until("it has said", lambda: said.exists() and said.read_text().endswith("\n"))
        until("it has ended", lambda: cluster.pids("children") == [])
    assert (cluster.work / "daemon").read_text() == "DRT_OK 101 \n"
    assert (cluster.work / "late").read_text().startswith("ECHILD 0 This process is a child of")


ENDED = "ended the thread that ran it, by pthread_exit or pthread_cancel: a body ends with return"


@pytest.mark.parametrize("mode", ["cluster", "local"])
@pytest.mark.parametrize("what, lines", [
    ("exit-thread", [f"exit-thread: DRT_E_FAILED exit 0: exit_thread {ENDED}"]),
    ("cancel", [f"busy: DRT_E_FAILED exit 0: cancelled {ENDED}",
                f"waiting: DRT_E_FAILED exit 0: cancelled {ENDED}"]),
    ("exit", ["exit: DRT_E_EXITED exit 7: "]),
    ("exit-beside", ["exit-beside: DRT_E_EXITED exit 8: "]),
])
def test_a_body_that_does_not_return(cluster, mode, what, lines):
    up(cluster, mode)
    r = cluster.run(cluster.program("odd_ends"), what, DRT_MODE=mode)
    assert r.returncode == 0, r.stderr
    printed = "it printed this before"
    out = [line for line in r.stdout.splitlines() if printed not in line]
    assert out[1::2] == ["then: DRT_OK 2"] * len(lines)
    for said, line in zip(out[::2], lines):
        assert said.startswith(line)
    if what == "exit-thread" and mode == "cluster":
        until("what it printed is kept", lambda: printed in "".join(
            p.read_text() for p in cluster.home.rglob("worker-*")))
    elif what == "exit-thread":
        assert printed in r.stdout + r.stderr


@pytest.mark.parametrize("mode", ["cluster", "local"])
def test_a_program_exits_while_its_threads_wait(cluster, mode):
    up(cluster, mode)
    r = cluster.run(cluster.program("odd_ends"), "program-exits", DRT_MODE=mode)
    assert r.returncode == 5, r.stderr
    until("nothing of it is left", lambda: cluster.pids("odd_ends") == [])


@pytest.mark.parametrize("how, status, state", [
    ("return", 0, "done"), ("exit-0", 0, "done"), ("thread", 0, "done"), ("joined", 0, "done"),
    ("child", 0, "done"), ("later", 0, "done"), ("exit-3", 3, "failed"), ("_exit-0", 0, "failed"),
    ("abort", -signal.SIGABRT, "failed")])
def test_a_program_ends_without_drt_shutdown(cluster, how, status, state):
    cluster.up()
    file = cluster.work / "task"
    r = cluster.run(cluster.program("exits"), how, file, limit_s=20)
    assert r.returncode == status, r.stderr
    job = until("its job has ended", lambda: [j for j in cluster.ask("jobs")
                                              if j["state"] != "running"], 10)[0]
    assert job["state"] == state
    pid = int(Path(f"{file}.pid").read_text())
    until("what ran is cancelled", lambda: not is_alive(pid), 10)
    assert "lost" not in r.stderr and "error" not in r.stderr, r.stderr
    if how == "child":
        assert "the job goes on: 2" in r.stdout
        for left in cluster.pids("exits"):
            os.kill(left, signal.SIGKILL)
    if how == "later":
        assert "later: DRT_E_DISCONNECTED" in r.stdout


@pytest.mark.parametrize("mode", ["local", "sync"])
def test_a_program_ends_without_drt_shutdown_alone(cluster, mode):
    r = cluster.run(cluster.program("say"), DRT_MODE=mode, limit_s=20)
    assert r.returncode == 0, r.stderr
    until("nothing of it is left", lambda: cluster.pids("drt-") == [], 10)


def test_a_program_exits_beside_a_raylet_that_stands_still(cluster):
    cluster.up()
    file = cluster.work / "task"
    child = cluster.start(cluster.program("exits"), "stopped", file)
    until("its task runs", Path(f"{file}.pid").exists)
    node = cluster.node_pid()
    os.kill(node, signal.SIGSTOP)
    try:
        file.touch()
        child.communicate(timeout=10)
    finally:
        os.kill(node, signal.SIGCONT)
    assert child.returncode == 0
    until("its job is done", lambda: [j for j in cluster.ask("jobs") if j["state"] == "done"], 20)


PUT_BACK = ["directory", "mask", "redirect", "reopen", "alarm", "signals", "environment",
            "no environment", "locale", "rounding", "cpus", "limit", "cancel"]
RENEWED = {"group": "its process group or session", "stdout": "stdout or stderr (fclose)",
           "files": "its descriptors (more than half", "closed": "closed descriptors that belong",
           "closed and opened": "closed descriptors that belong"}


def test_what_a_body_leaves_behind(cluster):
    cluster.up(cpus=1)
    r = cluster.run(cluster.program("behind"))
    assert r.returncode == 0, r.stderr
    assert r.stdout.splitlines() == [f"{way}: as before, same worker" for way in PUT_BACK] + [
        f"{way}: as before, new worker" for way in RENEWED]
    said = "".join(p.read_text() for p in cluster.home.rglob("worker-*"))
    for way, words in RENEWED.items():
        assert words in said, f"{way}: {said}"


@pytest.mark.parametrize("mode", ["cluster", "local"])
def test_a_program_closes_the_descriptors_of_drt(cluster, mode):
    up(cluster, mode)
    r = cluster.run(cluster.program("odd_ends"), "close-all", DRT_MODE=mode)
    assert r.returncode == 0, r.stderr
    assert r.stdout.startswith(
        "DRT_E_DISCONNECTED: this program closed descriptors that belong to drt"), r.stdout
    until("nothing of it is left", lambda: cluster.pids("odd_ends") == [])


@pytest.mark.parametrize("mode", ["cluster", "local"])
def test_files_that_have_the_numbers_of_drts_descriptors(cluster, mode):
    up(cluster, mode)
    r = cluster.run(cluster.program("odd_ends"), "close-all-and-open", DRT_MODE=mode)
    assert r.returncode == 0, r.stderr
    lines = r.stdout.splitlines()
    assert lines[0].startswith("DRT_E_DISCONNECTED: this program closed descriptors"), r.stdout
    assert lines[1:] == ["the child lost 0 files", "the program lost 0 files"]
    until("nothing of it is left", lambda: cluster.pids("odd_ends") == [])
