"""Output of workers, followed while they write, from anywhere."""

import os
import re
import select
import signal

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
    assert "ran in no worker yet" in r.stderr
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
