"""Programs, their output and their nodes, where tasks run on several nodes."""

import errno
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from conftest import until
from test_logs import Follower


def up(cluster, count=3, cpus=1):
    cluster.start_head()
    for i in range(count):
        cluster.join(f"n{i + 1}", cpus=cpus)
    until("n1 knows the others", lambda: [n["tasks"] for n in cluster.ask(
        "distribute", "test", "--strategy", "spread", "--tasks", count)["nodes"]] == [1] * count)


class Copies:
    """A program as nodes store it."""

    def __init__(self, cluster, path):
        self.nodes = cluster.dir / "nodes"
        self.bytes = Path(path).read_bytes()
        self.hash = hashlib.sha256(self.bytes).hexdigest()

    def at(self, node):
        return self.nodes / node / "programs" / self.hash

    def log(self, node):
        return "\n".join(line for line in (self.nodes / node / "node.log").read_text().splitlines()
                         if self.hash[:12] in line)


def test_a_program_is_fetched_once(cluster, held):
    up(cluster)
    copies = Copies(cluster, cluster.program("hold"))
    for _ in range(2):
        h = held(3, "spread", DRT_NODE="n1")
        for i in range(3):
            h.pid_of(i)
        h.let_go()
        assert h.end().count("done in attempt 1") == 3
    for node in ("n2", "n3"):
        assert copies.log(node).count("was fetched: ") == 1
        assert copies.at(node).read_bytes() == copies.bytes
        assert copies.at(node).stat().st_mode & 0o7777 == 0o500


def peak_mb(pid):
    """The most memory that a process has had, as the kernel counts it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1000


def test_a_large_program(cluster, tmp_path):
    """More than all copies that a node keeps may be together: it is fetched with little memory while
    other programs go on, and it goes with its job."""
    size = (1 << 30) + (100 << 20)
    if shutil.disk_usage(tmp_path).free < 4 * size:
        pytest.skip("no 5 GB of disk are free")
    up(cluster, 2)
    large, held = tmp_path / "large", tmp_path / "held"
    shutil.copy(cluster.program("hold"), large)
    os.truncate(large, size)  # zeros behind it: it still runs
    held.mkdir()
    other = cluster.start(cluster.program("work"), "seconds=300", "window=1", "strategy=node:n1",
                          f"until={held}/pid.0", DRT_NODE="n1")
    driver = cluster.start(large, held, 1, "node=n2", DRT_NODE="n1")
    until("it runs", (held / "pid.0").exists, 120)
    out, err = other.communicate(timeout=20)
    work = json.loads(out.splitlines()[-1])
    assert work["right"] == work["submitted"] and work["longest_ms"] < 2000, (work, err)

    def stored(node):
        return [path for path in (cluster.dir / "nodes" / node / "programs").iterdir()
                if path.stat().st_size == size]

    assert len(stored("n2")) == 1
    assert not stored("n1")  # its driver's file is given
    assert peak_mb(cluster.node_pid("n1")) < 64 and peak_mb(cluster.node_pid("n2")) < 64
    (held / "go").touch()
    out, err = driver.communicate(timeout=30)
    assert "0 done in attempt 1" in out, (out, err)
    until("its copy has gone", lambda: not stored("n2"))


def overwrite(path, data):
    try:
        path.write_bytes(data)
    except OSError as error:
        assert error.errno == errno.ETXTBSY
        return False
    return True


def test_a_damaged_copy_is_replaced(cluster, held):
    up(cluster, 2)

    def run():
        h = held(2, "spread", DRT_NODE="n1")
        h.pid_of(0)
        h.pid_of(1)
        h.let_go()
        assert h.end().count("done in attempt 1") == 2

    run()
    until("the job is over", lambda: cluster.ask("jobs", "last")[0]["state"] == "done")
    copies = Copies(cluster, cluster.program("hold"))
    copy, whole = copies.at("n2"), copies.bytes
    copy.chmod(0o700)
    # Its worker is about to end: until then it cannot be written to.
    damaged = whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:]
    until("it is free", lambda: overwrite(copy, damaged))
    run()
    assert copy.read_bytes() == whole
    assert "is damaged" in copies.log("n2")


def test_a_library_that_another_node_lacks(cluster):
    up(cluster, 2)
    lacks = cluster.program("lacks")
    assert cluster.run(lacks, "n1", DRT_NODE="n1", check=0).stdout == "42\n"
    out = cluster.run(lacks, "n2", DRT_NODE="n1", check=0).stdout
    assert out == ('DRT_E_PROGRAM node n2: on node "n2" the program needs libbeside.so, which is '
                   "not there: install it on that node\n")
    # Where another node will do, it does.
    assert cluster.run(lacks, "", 6, DRT_NODE="n1", check=0).stdout == "42\n" * 6


def test_lines_come_to_the_drivers_terminal(cluster, held):
    up(cluster)
    h = held(3, "spread", DRT_NODE="n1", DRT_LOGS="1")
    for i in range(3):
        h.pid_of(i)
    h.let_go()
    lines = {line for line in h.end().splitlines() if line.startswith("(")}
    assert h.err == ""
    assert {re.sub(r"\d waits", "I waits", line) for line in lines} == \
        {f"(n{i} wait_for_go) task I waits" for i in (1, 2, 3)}
    assert len(lines) == 3


def test_a_job_is_followed_over_all_nodes(cluster, held):
    up(cluster)
    h = held(3, "spread", DRT_NODE="n1")
    for i in range(3):
        h.pid_of(i)
    follower = Follower(cluster, "--job", "last")
    for i in range(3):
        follower.until(f"task {i} waits\n")
    assert {node for node in re.findall(r"^\((n\d) worker \d+\) task", follower.text, re.M)} == \
        {"n1", "n2", "n3"}
    # A task elsewhere, by its id: while it runs, and afterwards.
    far = next(t for t in cluster.ask("tasks", "--job", "last") if t["node"] == "n2")
    assert re.fullmatch(r"task \d waits\n", cluster.drt("logs", "--task", far["task"]).stdout)
    h.let_go()
    h.end()
    follower.end()
    assert follower.child.returncode == 0
    done = cluster.ask("tasks", far["task"])[0]
    assert done["node"] == "n2" and done["worker"] is not None
    assert re.fullmatch(r"task \d waits\n", cluster.drt("logs", "--task", far["task"]).stdout)


def far_task(cluster):
    """Which of the last job's two tasks runs on n2."""
    tasks = sorted(cluster.ask("tasks", "--job", "last"), key=lambda t: t["task"])
    return [t["node"] for t in tasks].index("n2")


def test_a_node_drains(cluster, held):
    up(cluster, 2)
    h = held(2, "spread", DRT_NODE="n1")
    h.pid_of(0)
    h.pid_of(1)
    tool = cluster.start(cluster.path("drt-node"), "leave", "--name", "n2", "--within", "60s")
    until("the head knows", lambda: cluster.ask("nodes", "n2")[0]["state"] == "leaving")
    far = far_task(cluster)
    # What is new goes elsewhere; what runs there ends there.
    second = held(2, "spread", DRT_NODE="n1")
    h.let_go(1 - far)
    second.pid_of(0)
    assert {t["node"] for t in cluster.ask("tasks", "--job", "last")} == {"n1"}
    assert tool.poll() is None
    h.let_go()
    second.let_go()
    assert h.end().count("done in attempt 1") == 2
    assert second.end().count("done in attempt 1") == 2
    out, err = tool.communicate(timeout=20)
    assert tool.returncode == 0 and err == ""


def test_what_a_node_does_not_finish_moves(cluster, held):
    up(cluster, 2)
    h = held(2, "spread", DRT_NODE="n1")
    pids = [h.pid_of(0), h.pid_of(1)]
    far = far_task(cluster)
    h.forget(far)
    r = cluster.run(cluster.path("drt-node"), "leave", "--name", "n2", "--within", "300ms")
    assert r.returncode == 1 and "1 task still ran" in r.stderr
    h.let_go(1 - far)
    assert h.pid_of(far) != pids[far]
    h.let_go()
    out = h.end().splitlines()
    assert out[1 - far] == f"{1 - far} done in attempt 1"
    assert out[far] == f"{far} done in attempt 2"


def most_memory(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", text).group(1)) // 1024


def test_values_of_other_nodes_take_a_bounded_room(cluster):
    cluster.start_head()
    cluster.join("n1", "--memory", "256MiB")  # a sixteenth of it
    cluster.join("n2")
    pid = cluster.node_pid("n1")
    before = most_memory(pid)
    out = cluster.run(cluster.program("shelf"), "n2", "n1", 60, check=0, DRT_NODE="n1").stdout
    assert out.split() == ["60"] * 3
    assert most_memory(pid) - before < 50
