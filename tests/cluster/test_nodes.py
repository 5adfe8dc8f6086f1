"""Nodes that come and go, as people see them."""

import os
import re
import select
import signal
import time

from conftest import until


class Watcher:
    """A verb with --watch; `sees` waits until a screen of it has a line that matches."""

    def __init__(self, cluster, *argv):
        self.child = cluster.start(cluster.path("drt"), *argv, "--watch", "0.1")
        self.text = ""

    def sees(self, pattern, limit_s=20):
        deadline = time.monotonic() + limit_s
        while not re.search(pattern, self.text, re.MULTILINE):
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern} was not seen in\n{self.text[-2000:]}"
            if select.select([self.child.stdout], [], [], left)[0]:
                more = os.read(self.child.stdout.fileno(), 65536).decode()
                assert more, f"it ended: {self.child.communicate()}"
                self.text += more
        self.text = ""

    def end(self):
        self.child.send_signal(signal.SIGINT)
        return self.child.communicate(timeout=10)


def test_nodes_are_watched(cluster):
    cluster.up()
    watcher = Watcher(cluster, "nodes")
    watcher.sees(r"^ +1 +n1 .* alive ")
    cluster.join("n2")
    watcher.sees(r"^ +2 +n2 .* alive ")
    watcher.sees(r"^2 nodes: 2 alive$")
    os.kill(cluster.node_pid("n2"), signal.SIGKILL)
    watcher.sees(r"^ +2 +n2 .* lost .*\(its process ended\)$")
    cluster.join("n2")
    watcher.sees(r"^3 nodes: 2 alive, 1 lost$")
    cluster.run(cluster.path("drt-node"), "leave", "--name", "n2", check=0)
    watcher.sees(r"^3 nodes: 1 alive, 1 lost, 1 left$")

    # Nor does it end with the head.
    os.kill(cluster.head_pid(), signal.SIGKILL)
    until("a raylet answers", lambda: cluster.ask("status")["head"] is None)
    watcher.text = ""
    watcher.sees(r"^ +1 +n1 .* alive ")
    cluster.start_head()
    watcher.sees(r"^3 nodes: 1 alive, 1 lost, 1 left$")
    watcher.end()


def test_one_that_came_back_is_not_called_lost(cluster):
    cluster.up()
    os.kill(cluster.node_pid(), signal.SIGKILL)
    until("the head notices", lambda: cluster.ask("nodes", "n1")[0]["state"] == "lost")
    assert "1 node, 1 lost" in cluster.drt("status").stdout
    cluster.join("n1")
    out = cluster.drt("status").stdout
    assert "1 node\n" in out and "lost" not in out
    assert [n["state"] for n in cluster.ask("nodes")] == ["alive", "lost"]


def test_a_node_is_not_guessed(cluster):
    cluster.up()
    cluster.join("n2")
    node = cluster.path("drt-node")
    left = cluster.run(node, "leave", check=2)
    assert "(n1, n2). Name one of these with --name." in left.stderr
    say = cluster.program("say")
    other = cluster.run(say, "hello", DRT_NODE="n3", check=1)  # nor another cluster begun
    assert 'no node "n3"' in other.stderr and "running: n1, n2" in other.stderr
    cluster.run(say, "hello", DRT_NODE="n3", DRT_MODE="local", check=0)
    assert cluster.run(node, "leave", DRT_NODE="n2", check=0).stdout == 'Node "n2" left "default".\n'
    cluster.run(node, "leave", check=0)


def test_a_directory_by_another_name(cluster):
    """Who leaves hears the name of the cluster that it joined."""
    cluster.start_head()
    there = cluster.home / "elsewhere" / "files"
    joined = cluster.join("n1", "--dir", there, "--join-file", cluster.dir / "join.key").stdout
    assert joined.startswith('Node "n1" joined "default" ')
    left = cluster.run(cluster.path("drt-node"), "leave", "--dir", there, check=0).stdout
    assert left == 'Node "n1" left "default".\n'


def test_many_join_at_once_and_leave(cluster):
    cluster.start_head()
    names = [f"n{i}" for i in range(12)]

    def at_once(*argv):
        children = [cluster.start(cluster.path("drt-node"), *argv, "--name", name)
                    for name in names]
        for child in children:
            out, err = child.communicate(timeout=30)
            assert child.returncode == 0, err

    at_once("join", f"127.0.0.1:{cluster.port}", "--bind", "127.0.0.1", "--num-cpus", "1")
    nodes = cluster.ask("nodes", "--state", "alive")
    assert sorted(n["name"] for n in nodes) == sorted(names)
    assert len({n["address"] for n in nodes}) == len(names)
    assert "12 nodes\n" in cluster.drt("status").stdout
    at_once("leave")
    assert {n["state"] for n in cluster.ask("nodes")} == {"left"}
