"""What a process is started with: each program of ours starts in odd conditions too, in all three modes, or says in one
sentence what is wrong. `odd` makes the conditions, `started` is the program whose tasks are looked at."""

import os
import signal
import subprocess
import sys

import pytest
from conftest import is_alive, until

# What a daemon, a driver and a tool can all be started with.
CONDITIONS = [
    "ignore",
    "block",
    "ignore,block",
    "close0",
    "close1",
    "close2",
    "close012",
    "stray",
    "umask=0777,modes",
    "umask=0,modes",
    "gone",
    "deep",
    "environment=0",
    "environment=1800000",
    "nice",
    "timer",
    "cpu=1000",
    "fsize=100000",
]


def odd(cluster, conditions, *argv, **options):
    """Runs a program as `odd` starts it."""
    return cluster.run(cluster.program("odd"), conditions, *argv, **options)


def drive(cluster, conditions, mode, **env):
    """What the driver says of itself and its tasks when it is started so."""
    result = cluster.work / "result"
    result.unlink(missing_ok=True)
    r = odd(cluster, conditions, cluster.program("started"), DRT_TEST_RESULT=str(result), DRT_MODE=mode, **env)
    if result.exists():
        os.chmod(result, 0o600)
    said = result.read_text() if result.exists() else "nothing"
    assert said == "done\n" and r.returncode == 0, f"{conditions}: {r.returncode}: {said}\n{r.stderr}\n{cluster.logs()}"
    return r


@pytest.mark.parametrize("conditions", CONDITIONS)
@pytest.mark.parametrize("mode", ["local", "sync"])
def test_a_program_alone(cluster, mode, conditions):
    drive(cluster, conditions, mode)


def test_drivers_of_a_node(cluster):
    cluster.up()
    for conditions in CONDITIONS:
        drive(cluster, conditions, "cluster")


@pytest.mark.parametrize("conditions", CONDITIONS)
def test_daemons(cluster, conditions):
    odd(cluster, conditions, cluster.path("drt-head"), "start", "--bind", "127.0.0.1", "--port", cluster.port, check=0)
    odd(cluster, conditions, cluster.path("drt-node"), "join", f"127.0.0.1:{cluster.port}", "--name", "n1",
        "--num-cpus", 2, "--bind", "127.0.0.1", check=0)
    drive(cluster, "-", "cluster")
    status = odd(cluster, conditions, cluster.path("drt"), "status", "--json")
    assert status.returncode == 0 or "1" in conditions  # its output may be closed
    node = cluster.node_pid()
    odd(cluster, conditions, cluster.path("drt"), "stop")
    assert not is_alive(node)


def test_as_the_first_process_of_a_container(cluster):
    """All orphans of a container become children of its first process; a node must leave alone what is not its own. Here
    that is the head. The program runs outside: its pid means nothing to the node."""
    inside = (f"{cluster.path('drt-head')} start --bind 127.0.0.1 --port {cluster.port} >/dev/null && "
              f"exec {cluster.path('drt-node')} join 127.0.0.1:{cluster.port} --name n1 --num-cpus 2 --bind 127.0.0.1 "
              "--foreground")
    if subprocess.run(["unshare", "-pf", "--mount-proc", "true"], capture_output=True).returncode != 0:
        pytest.skip("no pid namespaces here")
    container = cluster.start("unshare", "-pf", "--kill-child", "--mount-proc", "sh", "-c", inside)
    until("the node is there", lambda: cluster.run(cluster.path("drt"), "nodes", "--json").stdout.count('"alive"') == 1)
    drive(cluster, "-", "cluster")
    assert cluster.ask("status")["head"]["pid"] > 1  # it lives
    # From outside its processes have other numbers: 'drt stop' finds them by their locks.
    (cluster.dir / "nodes" / "n1" / "pid").write_text(f"{os.getpid()}\n")
    cluster.drt("stop")
    assert container.wait(20) is not None


def test_a_name_that_is_none(cluster):
    """A host's name that cannot be a node's is changed, and said; a private cluster does not mind."""
    if subprocess.run(["unshare", "-u", "true"], capture_output=True).returncode != 0:
        pytest.skip("no host names of our own here")
    named = ["unshare", "-u", sys.executable, "-c",
             "import os, socket, sys; socket.sethostname(sys.argv[1]); os.execv(sys.argv[2], sys.argv[2:])"]
    cluster.start_head()
    for host, name in [("bo\u0308x", "bo-x"), ("x" * 64, "x" * 63), ("", "node")]:
        r = cluster.run(*named, host, cluster.path("drt-node"), "join", f"127.0.0.1:{cluster.port}", "--num-cpus", 1,
                        "--bind", "127.0.0.1", check=0)
        assert f'the node is called "{name}". Choose another name with --name.' in r.stderr
        result = cluster.work / "named"
        result.unlink(missing_ok=True)
        for mode in ("local", "sync"):
            cluster.run(*named, host, cluster.program("started"), DRT_TEST_RESULT=str(result), DRT_MODE=mode, check=0)
        assert result.read_text() == "done\ndone\n"
    assert sorted(n["name"] for n in cluster.ask("nodes")) == sorted(["bo-x", "x" * 63, "node"])
