"""How nodes come and go: leaving in time and not, and nodes that one program starts."""

import os
import signal
import subprocess
import time

from conftest import until


def leave(cluster, *argv):
    return cluster.start(cluster.path("drt-node"), "leave", *argv)


def state_of(cluster, number):
    return next(n["state"] for n in cluster.ask("nodes") if n["number"] == number)


def test_what_runs_ends_first(cluster, held):
    cluster.up()
    h = held(1)
    h.pid_of(0)
    tool = leave(cluster, "--within", "60s")
    until("the head knows", lambda: state_of(cluster, 1) == "leaving")
    r = cluster.run(cluster.program("many"), 10)
    assert r.returncode != 0 and "is leaving the cluster" in r.stderr
    assert tool.poll() is None
    h.let_go()
    out, err = tool.communicate(timeout=20)
    assert tool.returncode == 0 and 'Node "n1" left "default".' in out and err == ""
    assert h.end() == "0 done in attempt 1\n"
    until("it has left", lambda: state_of(cluster, 1) == "left")


def test_what_does_not_end_is_told(cluster, held):
    cluster.up()
    h = held(2)
    h.pid_of(0)
    h.pid_of(1)
    began = time.monotonic()
    r = cluster.run(cluster.path("drt-node"), "leave", "--within", "500ms")
    assert 0.5 <= time.monotonic() - began < 10
    assert r.returncode == 1 and 'Node "n1" left "default".' in r.stdout
    assert "2 tasks still ran and 0 waited there" in r.stderr
    assert "DRT_E_DISCONNECTED" in h.end()


def test_a_second_leave_hurries(cluster, held):
    cluster.up()
    h = held(1)
    h.pid_of(0)
    first = leave(cluster, "--within", "5m")
    until("the head knows", lambda: state_of(cluster, 1) == "leaving")
    r = cluster.run(cluster.path("drt-node"), "leave", "--within", "0s")
    assert r.returncode == 1 and "1 task still ran" in r.stderr
    first.communicate(timeout=20)
    assert first.returncode == 0
    assert "DRT_E_DISCONNECTED" in h.end()


def test_what_still_runs_is_shown_on_a_terminal(cluster, held):
    cluster.up()
    h = held(1)
    h.pid_of(0)
    r = cluster.run_on_terminal(f"{cluster.path('drt-node')} leave --within 1s")
    assert 'Node "n1" leaves: 1 running, 0 waiting, 1 s left' in r.stdout
    assert "DRT_E_DISCONNECTED" in h.end()


def test_a_signal_is_short(cluster, held):
    cluster.up()
    h = held(1)
    h.pid_of(0)
    tool = leave(cluster, "--within", "5m")
    until("the head knows", lambda: state_of(cluster, 1) == "leaving")
    os.kill(cluster.node_pid(), signal.SIGTERM)
    tool.communicate(timeout=20)
    assert tool.returncode == 0
    assert "DRT_E_DISCONNECTED" in h.end()


class Private:
    """A node of one program, as libdrt starts it where DRT_CLUSTER is a head's address."""

    def __init__(self, cluster, *argv):
        self.dir = cluster.work / "own"
        self.dir.mkdir()
        theirs, self.life = os.pipe()
        address = f"127.0.0.1:{cluster.port}"
        self.child = subprocess.Popen(
            [cluster.path("drt-node"), "join", address, "--private", "--dir", self.dir,
             "--parent-pipe", str(theirs), *argv],
            env={**cluster.env, "DRT_CLUSTER": address, "DRT_DIR": "/no/such", "DRT_NODE": "x"},
            pass_fds=[theirs], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        os.close(theirs)
        cluster.children.append(self.child)

    def end(self):
        os.close(self.life)
        return self.child.communicate(timeout=20)


def test_a_private_node(cluster):
    cluster.up()
    private = Private(cluster)
    line = private.child.stdout.readline()
    assert 'joined "default" as number 2: for one program, no CPUs.' in line
    row = cluster.ask("nodes", "2")[0]
    assert row["state"] == "private" and row["name"].endswith(f"-{private.child.pid}")
    # Programs find the other one: this one's directory is nobody else's.
    assert cluster.run(cluster.program("many"), 10, check=0).stdout.startswith("right ")
    assert [j["node"] for j in cluster.ask("jobs")] == ["n1"]
    private.end()
    assert private.child.returncode == 0
    until("it has left", lambda: state_of(cluster, 2) == "left")


def test_a_private_node_without_a_key(cluster):
    cluster.up()
    (cluster.dir / "join.key").rename(cluster.work / "join.key")
    private = Private(cluster)
    out, err = private.end()
    assert private.child.returncode == 4 and out == ""
    assert "--join-file" in err.splitlines()[-1]
    private.dir.rename(cluster.work / "own2")
    private = Private(cluster, "--join-file", cluster.dir / "client.key")
    out, err = private.end()
    assert private.child.returncode == 4 and "is a key for a client" in err
    private.dir.rename(cluster.work / "own3")
    private = Private(cluster, "--join-file", cluster.work / "join.key")
    assert "joined" in private.child.stdout.readline()
    private.end()
    assert private.child.returncode == 0
