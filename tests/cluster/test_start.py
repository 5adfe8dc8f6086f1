"""What a process is started with: each program of ours starts in odd conditions too, in all three modes, or says in one
sentence what is wrong. `odd` makes the conditions, `started` is the program whose tasks are looked at."""

import os
import signal
import subprocess

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
