"""Output of workers, followed while they write, from anywhere."""

import os
import re
import resource
import select
import signal

import pytest

from conftest import until


class Follower:
    """drt logs -f, and what it has shown so far."""

    def __init__(self, cluster, *argv, **env):
        self.child = cluster.start(cluster.path("drt"), "logs", "-f", *argv, **env)
        self.text = ""

    def sees(self, text):
        while select.select([self.child.stdout], [], [], 0)[0]:
            more = os.read(self.child.stdout.fileno(), 65536).decode()
            if not more:
                break
            self.text += more
        return text in self.text

    def until(self, text):
        until(f"{text!r} is seen", lambda: self.sees(text))

    def end(self):
        out, err = self.child.communicate(timeout=30)
        self.text += out
        return err


def test_all_workers_of_a_job(cluster, held):
    """Also those that begin later; each line says whose it is once there are several."""
    cluster.up(cpus=2)
    h = held(2)
    pids = [h.pid_of(0), h.pid_of(1)]
    follower = Follower(cluster, "--job", "last")
    follower.until("task 0 waits\n")
    follower.until("task 1 waits\n")
    assert re.search(r"^\(n1 worker \d+\) task 0 waits$", follower.text, re.M)
    h.forget(0)
    os.kill(pids[0], signal.SIGKILL)
    h.pid_of(0)
    until("the new worker is followed", lambda: follower.sees("") and
          follower.text.count("task 0 waits") == 2)
    workers = set(re.findall(r"\(n1 worker (\d+)\)", follower.text))
    assert len(workers) == 3
    assert follower.child.poll() is None
    h.let_go()
    h.end()
    assert follower.end() == "" and follower.child.returncode == 0
    # And once more from the beginning, when all of them have ended.
    out = cluster.drt("logs", "--job", "last").stdout
    assert out.count("task 0 waits\n") == 2 and out.count("task 1 waits\n") == 1


def test_one_worker_is_shown_as_it_writes(cluster, held):
    cluster.up()
    h = held(1)
    h.pid_of(0)
    follower = Follower(cluster)
    follower.until("task 0 waits\n")
    h.let_go()
    h.end()
    follower.end()
    assert follower.child.returncode == 0 and follower.text == "task 0 waits\n"


def test_the_head_is_killed_and_comes_back(cluster, held):
    """Who follows says that it waits, goes on, and sees each line once; also of workers elsewhere."""
    cluster.up()
    cluster.join("n2")
    h = held(2, "spread")
    pids = [h.pid_of(0), h.pid_of(1)]
    follower = Follower(cluster, "--job", "last")
    follower.until("task 0 waits\n")
    follower.until("task 1 waits\n")
    os.kill(cluster.head_pid(), signal.SIGKILL)
    until("it says that it waits",
          lambda: select.select([follower.child.stderr], [], [], 0)[0])
    assert follower.child.poll() is None
    cluster.start_head()
    until("both nodes are back", lambda: [n["state"] for n in cluster.ask("nodes")] == ["alive"] * 2)
    h.forget(0)
    os.kill(pids[0], signal.SIGKILL)
    h.pid_of(0)
    until("the new worker is followed", lambda: follower.sees("") and
          follower.text.count("task 0 waits") == 2)
    h.let_go()
    h.end()
    err = follower.end()
    assert follower.child.returncode == 0, err
    assert follower.text.count("task 1 waits") == 1
    assert err.count("ended while it was asked") == 1 and "waiting for it" in err


def test_a_task_that_has_not_begun(cluster, held):
    cluster.up(cpus=1)
    h = held(2)
    h.pid_of(0)
    until("both are known", lambda: len(cluster.ask("tasks")) == 2)
    waiting = cluster.ask("tasks", "--state", "waiting")[0]["task"]
    r = cluster.drt("logs", "--task", waiting, check=1)
    assert "has not run in any worker" in r.stderr
    follower = Follower(cluster, "--task", waiting)
    h.let_go(0)
    follower.until("task 1 waits\n")
    assert follower.child.poll() is None
    h.let_go()
    h.end()
    follower.end()
    assert follower.child.returncode == 0


def test_a_task_that_ends_before_its_worker(cluster, held):
    """Following a task ends with the task."""
    cluster.up(cpus=1)
    h = held(2)
    h.pid_of(0)
    first = until("it runs", lambda: cluster.ask("tasks", "--state", "running"))[0]["task"]
    follower = Follower(cluster, "--task", first)
    follower.until("task 0 waits\n")
    h.let_go(0)
    h.pid_of(1)
    follower.end()
    assert follower.child.returncode == 0
    h.let_go()
    h.end()


def test_a_worker_by_its_number(cluster, held):
    cluster.up()
    cluster.join("n2")
    for node in ("n1", "n2"):
        h = held(1, f"node={node}", DRT_NODE=node)
        h.pid_of(0)
        h.let_go()
        h.end()
    until("both have ended", lambda: {j["state"] for j in cluster.ask("jobs")} == {"done"})
    # Each node counts its own workers.
    out = cluster.drt("logs", "--worker", "1").stdout
    assert "==> worker 1 on n1, standard output <==\ntask 0 waits\n" in out
    assert "==> worker 1 on n2, standard output <==\ntask 0 waits\n" in out
    out = cluster.drt("logs", "--worker", "1", "--node", "n2").stdout
    assert out == "task 0 waits\n"
    follower = Follower(cluster, "--worker", "1")
    follower.end()
    assert follower.child.returncode == 0
    assert sorted(follower.text.splitlines()) == \
        ["(n1 worker 1) task 0 waits", "(n2 worker 1) task 0 waits"]
    r = cluster.drt("logs", "--worker", "77", check=1)
    assert "no output of worker 77" in r.stderr
    rows = cluster.ask("logs", "--worker", "1", "--stream", "out")
    assert {row["node"]: row["text"] for row in rows} == \
        {"n1": "task 0 waits\n", "n2": "task 0 waits\n"}


def test_a_job_without_workers_yet(cluster, held):
    cluster.up(cpus=1)
    first = held(1)
    first.pid_of(0)
    second = held(1)
    until("the second waits", lambda: len(cluster.ask("jobs")) == 2 and
          cluster.ask("tasks", "--state", "waiting"))
    job = max(j["job"] for j in cluster.ask("jobs"))
    cluster.drt("logs", "--job", job, check=1)
    follower = Follower(cluster, "--job", job)
    first.let_go()
    first.end()
    follower.until("task 0 waits\n")
    second.let_go()
    second.end()
    follower.end()
    assert follower.child.returncode == 0
    cluster.drt("logs", "--job", "99", check=1)


def test_much_is_followed_whole(cluster):
    cluster.up()
    chatter = cluster.start(cluster.program("chatter"), 8)
    until("it has begun", lambda: cluster.ask("jobs"))
    follower = cluster.run(cluster.path("drt"), "logs", "-f", check=0)
    chatter.communicate(timeout=30)
    lines = [int(line) for line in follower.stdout.splitlines()]
    assert lines == list(range(8 * 16384))


def prints(cluster, *argv, check=0, **env):
    return cluster.run(cluster.program("prints"), *argv, check=check, **env)


def rows(cluster):
    """All tasks, in the order in which they were submitted."""
    return sorted(cluster.ask("tasks", "--limit", "5000"),
                  key=lambda row: int(row["task"].split(".")[1]))


def texts(cluster, task):
    """What a task wrote: {(attempt, stream): text}."""
    found = {}
    for row in cluster.ask("logs", "--task", task):
        key = row["attempt"], row["stream"]
        found[key] = found.get(key, "") + row["text"]
    return {key: text for key, text in found.items() if text}


@pytest.mark.parametrize("how", ["abort", "_exit", "kill", "null", "exit"])
def test_what_a_crash_leaves(cluster, how):
    """Also of a line that has no end."""
    cluster.up()
    prints(cluster, "dies", how)
    task = rows(cluster)[0]["task"]
    written = f"last words before {how}\nand half a line"
    assert cluster.drt("logs", "--task", task).stdout == written
    assert cluster.drt("logs", "--job", "last").stdout.endswith(written)


def test_progress_is_seen_while_it_runs(cluster):
    cluster.up()
    done = cluster.work / "done"
    driver = cluster.start(cluster.program("prints"), "waits", done, "10%\r20%\r")
    task = until("it runs", lambda: cluster.ask("tasks", "--state", "running"))[0]["task"]
    follower = Follower(cluster, "--task", task)
    follower.until("10%\r20%\r")
    assert driver.poll() is None
    done.touch()
    driver.communicate(timeout=30)
    follower.end()
    assert follower.text == "10%\r20%\r"


@pytest.mark.parametrize("nodes", [1, 2])
def test_each_line_is_its_tasks(cluster, nodes):
    """Short bodies that share workers, on this node and on another."""
    cluster.up()
    if nodes == 2:
        cluster.join("n2")
    count = 60
    prints(cluster, "numbers", count, *(["spread"] if nodes == 2 else []))
    tasks = rows(cluster)
    assert len(tasks) == count
    assert len({row["node"] for row in tasks}) == nodes
    for n, row in enumerate(tasks):
        expected = {}
        if n % 3 != 2:
            expected[1, "stdout"] = f"number {n}\n"
        if n % 2 == 0:
            expected[1, "stderr"] = f"error {n}\n"
        assert texts(cluster, row["task"]) == expected, n
    silent = tasks[5]["task"]
    r = cluster.drt("logs", "--task", silent)
    assert r.stdout == "" and "printed nothing" in r.stderr
    assert cluster.drt("logs", "--task", tasks[1]["task"]).stdout == "number 1\n"


def test_each_attempt_is_shown_as_one(cluster):
    cluster.up(cpus=1)
    prints(cluster, "twice")
    task = rows(cluster)[0]["task"]
    assert texts(cluster, task) == {(1, "stdout"): "attempt 1\n", (2, "stdout"): "attempt 2\n"}
    out = cluster.drt("logs", "--task", task).stdout
    assert re.fullmatch(r"==> attempt 1, worker \d+ on n1, standard output <==\nattempt 1\n\n"
                        r"==> attempt 2, worker \d+ on n1, standard output <==\nattempt 2\n", out)


def test_a_body_that_waits_for_another(cluster):
    """Each has its own lines, though the parent's stand around the child's in time."""
    cluster.up(cpus=1)
    prints(cluster, "family")
    found = {row["function"]: texts(cluster, row["task"]) for row in rows(cluster)}
    assert found == {"parent": {(1, "stdout"): "the parent begins\nthe parent ends\n"},
                     "child": {(1, "stdout"): "the child\n"}}


def test_output_that_has_made_room(cluster):
    """Of much output the last 16 MiB at least are kept; that some is missing is said."""
    cluster.up()
    lines = 700_000
    prints(cluster, "much", lines)
    task = rows(cluster)[0]["task"]
    r = cluster.drt("logs", "--task", task)
    kept = r.stdout.splitlines()
    assert kept[-1] == f"{lines - 1:063d}" and len(kept) >= (16 << 20) // 64
    assert f"the first {lines * 64 - len(r.stdout)} bytes" in r.stderr, r.stderr


# ---- in a private cluster, which ends with its program ----

def test_a_first_program_prints(cluster):
    """Each line is there when the program has ended, and in its place: standard output and error."""
    for mode in ("local", "auto"):
        r = prints(cluster, "hello", DRT_MODE=mode)
        assert r.stdout == "main\n(hello) hello from a task\n"
        assert r.stderr == ""
    r = prints(cluster, "numbers", 30, DRT_MODE="local")
    lines = sorted(f"(number) number {n}" for n in range(30) if n % 3 != 2)
    assert sorted(r.stdout.splitlines()) == sorted(lines + ["main"])
    assert sorted(r.stderr.splitlines()) == sorted(f"(number) error {n}" for n in range(0, 30, 2))
    r = prints(cluster, "hello", DRT_MODE="sync")
    assert r.stdout == "main\nhello from a task\n"


def test_a_first_program_that_only_exits(cluster):
    r = prints(cluster, "leaves", DRT_MODE="local")
    assert r.stdout == "main\n(hello) hello from a task\n"


def test_lines_are_in_order_of_each_worker(cluster):
    r = prints(cluster, "much", 2000, DRT_MODE="local")
    assert r.stdout.splitlines() == ["main"] + [f"(much) {n:063d}" for n in range(2000)]


def test_lines_can_be_switched_off(cluster):
    r = prints(cluster, "hello", DRT_MODE="local", DRT_LOGS="0")
    assert r.stdout == "main\n"
    r = prints(cluster, "hello", "off", DRT_MODE="local", DRT_LOGS="1")
    assert r.stdout == "main\n"


def test_a_crash_gives_no_advice_that_fails(cluster):
    """Nothing can be asked of a cluster that is gone: its last words are in the error instead."""
    r = prints(cluster, "dies", "abort", DRT_MODE="local")
    assert "(dies) last words before abort\n(dies) and half a line\n" in r.stdout
    assert "was killed by signal 6 (Aborted)" in r.stdout and "drt logs" not in r.stdout
    r = prints(cluster, "complains", DRT_MODE="local", DRT_LOGS="0")
    assert "its last line on standard error: there is no such thing\n" in r.stdout
    cluster.up()
    r = prints(cluster, "dies", "abort")
    command = re.search(r"drt (logs --task \S+)", r.stdout).group(1)
    assert cluster.drt(*command.split()).stdout.startswith("last words before abort")


def test_progress_is_seen_in_place(cluster):
    """As it comes, though it ends no line; then what is printed next has a line of its own."""
    done = cluster.work / "done"
    driver = cluster.start(cluster.program("prints"), "waits", done, "10%\r20%\r", DRT_MODE="local")
    seen = ""

    def sees(text):
        nonlocal seen
        while select.select([driver.stdout], [], [], 0)[0]:
            more = os.read(driver.stdout.fileno(), 65536).decode()
            if not more:
                break
            seen += more
        return text in seen

    until("progress is seen", lambda: sees("(waits) 10%\r(waits) 20%\r"))
    assert driver.poll() is None
    done.touch()
    out, _ = driver.communicate(timeout=30)
    assert (seen + out).endswith("(waits) 20%\r\n")


def test_lines_of_other_nodes_are_in_place(cluster):
    cluster.up()
    cluster.join("n2")
    r = prints(cluster, "numbers", 30, "spread", DRT_LOGS="1")
    found = re.findall(r"^\((n[12]) number\) number (\d+)$", r.stdout, re.M)
    assert {node for node, _ in found} == {"n1", "n2"}
    assert sorted(int(n) for _, n in found) == [n for n in range(30) if n % 3 != 2]
    assert len(re.findall(r"^\(n[12] number\) error \d+$", r.stderr, re.M)) == 15


def test_a_core_file_is_named(cluster):
    """By the error and by explain, where the kernel writes one; else how to get one is said."""
    with open("/proc/sys/kernel/core_pattern") as f:
        pattern = f.read().strip()
    prints_null = [cluster.program("prints"), "dies", "null"]
    r = cluster.run("sh", "-c", 'ulimit -c 0; exec "$0" "$@"', *prints_null, DRT_MODE="local")
    assert "core file" not in r.stdout
    cluster.up()
    prints(cluster, "dies", "null")
    out = cluster.drt("explain", rows(cluster)[0]["task"]).stdout
    assert "core file" in out
    if pattern != "core" or resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("no core files in the working directory here")
    r = cluster.run("sh", "-c", 'ulimit -c unlimited; exec "$0" "$@"', *prints_null,
                    DRT_MODE="local")
    path = re.search(r"core file: ([^;\n]+)", r.stdout).group(1)
    assert path.startswith(str(cluster.work)) and os.path.getsize(path) > 0
