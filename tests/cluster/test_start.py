"""What a process is started with: each program of ours starts in odd conditions too, in all three modes, or says in one
sentence what is wrong. `odd` makes the conditions, `started` is the program whose tasks are looked at."""

import os
import shutil
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
    try:
        return cluster.run(cluster.program("odd"), conditions, *argv, **options)
    finally:  # of "deep": who looks for faults in files cannot go there
        shutil.rmtree(cluster.work / ("d" * 200), ignore_errors=True)


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


WITHOUT_PROC = ["unshare", "-m", "sh", "-c", 'umount -l /proc; exec "$@"', "sh"]
WITHOUT_DEV = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev; exec "$@"', "sh"]

# How a process is started, and what it says then.
SENTENCES = [
    (WITHOUT_PROC, "/proc is not mounted, and drt needs it. Mount it: mount -t proc proc /proc"),
    (WITHOUT_DEV, "/dev/null cannot be used (No such file or directory), and drt needs it. Make it: mknod"),
    (["ODD", "fsize=1000:1000"], "may write files of 1000 B at most here, and needs 64.0 MiB. Raise the limit"),
    (["ODD", "stack=500000:500000"], "may have a stack of 488.3 KiB at most here, and needs 1.0 MiB. Raise the limit"),
    (["ODD", "data=50000000:50000000"], "may have data of 47.7 MiB at most here, and needs 128.0 MiB. Raise the limit"),
]


@pytest.mark.parametrize("how, sentence", SENTENCES)
def test_what_cannot_be_put_right_is_said(cluster, how, sentence):
    if how[0] == "unshare" and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        pytest.skip("no mounts of our own here")
    how = [cluster.program("odd") if word == "ODD" else word for word in how]
    if "ASAN_OPTIONS" in os.environ and "data" in how[-1]:
        pytest.skip("the address sanitizer needs more")
    for daemon in (["drt-head", "start", "--port", "0"], ["drt-node", "join", "127.0.0.1:1"]):
        r = cluster.run(*how, cluster.path(daemon[0]), *daemon[1:], check=1)
        assert sentence in r.stderr and len(r.stderr.splitlines()) == 1, r.stderr
    result = cluster.work / "result"
    if "fsize" not in how[-1]:  # where the driver's own lines would end it
        cluster.run(*how, cluster.program("started"), DRT_TEST_RESULT=str(result), DRT_MODE="local", check=9)
        assert sentence in result.read_text()
        result.unlink()
        cluster.run(*how, cluster.program("started"), DRT_TEST_RESULT=str(result), DRT_MODE="sync", check=0)
        assert result.read_text() == "done\n"


def test_a_program_that_nobody_may_read(cluster):
    program = cluster.work / "unreadable"
    shutil.copy(cluster.program("started"), program)
    program.chmod(0o111)
    result = cluster.work / "result"
    odd(cluster, "modes", program, DRT_TEST_RESULT=str(result), DRT_MODE="local", check=9)
    assert "file cannot be read (Permission denied), and workers are started from it" in result.read_text()


@pytest.mark.parametrize("home", ["a-file", "missing", "read-only", "relative"])
def test_home(cluster, home):
    """A private cluster finds another place; other programs say that HOME is the reason."""
    tmp = cluster.work / "tmp"
    tmp.mkdir()
    where = cluster.work / home
    if home == "a-file":
        where.touch()
    elif home != "missing":
        where.mkdir(mode=0o500)
    env = {"HOME": "relative" if home == "relative" else str(where), "TMPDIR": str(tmp)}
    if home == "missing":
        where = cluster.work / "a-parent"
        where.mkdir(mode=0o500)
        env["HOME"] = str(where / "home")
    result = cluster.work / "result"
    odd(cluster, "modes", cluster.program("started"), DRT_TEST_RESULT=str(result), DRT_MODE="local", check=0, **env)
    assert result.read_text() == "done\n"
    assert list(tmp.glob("drt-*")) and not list(tmp.glob("drt-*/local-*"))
    head = odd(cluster, "modes", cluster.path("drt-head"), "start", "--port", "0", "--bind", "127.0.0.1", **env)
    assert head.returncode in (1, 3) and "--dir or DRT_DIR" in head.stderr
    # A directory that is named is enough.
    odd(cluster, "modes", cluster.path("drt-head"), "start", "--port", cluster.port, "--bind", "127.0.0.1", "--dir",
        cluster.dir, check=0, **env)
    odd(cluster, "modes", cluster.path("drt-node"), "join", f"127.0.0.1:{cluster.port}", "--bind", "127.0.0.1", "--name",
        "n1", "--num-cpus", "2", "--dir", cluster.dir, check=0, **env)
    result.unlink()
    odd(cluster, "modes", cluster.program("started"), DRT_TEST_RESULT=str(result), DRT_MODE="cluster",
        DRT_DIR=str(cluster.dir), check=0, **env)
    assert result.read_text() == "done\n"


def test_an_environment_that_no_message_carries(cluster):
    result = cluster.work / "result"
    cluster.run("sh", "-c", 'ulimit -s unlimited && exec "$@"', "sh", cluster.program("odd"), "environment=5000000",
                cluster.program("started"), DRT_TEST_RESULT=str(result), DRT_MODE="local", check=9)
    assert "workers can be given at most 4194304" in result.read_text()


def test_environments_travel(cluster):
    """The whole environment, also to workers of another node."""
    cluster.start_head()
    cluster.join("n1", cpus=0)
    cluster.join("n2")
    drive(cluster, "environment=1800000", "cluster", DRT_NODE="n1")


def test_how_a_private_raylet_ended_is_known(cluster):
    """Also to a program whose children's ends the kernel forgets."""
    result = cluster.work / "result"
    for conditions in ("-", "nochild", "close012"):
        odd(cluster, conditions, cluster.program("started"), DRT_TEST_RESULT=str(result), DRT_CLUSTER="127.0.0.1:1", check=9)
        assert "DRT_E_REFUSED: cannot join the cluster at 127.0.0.1:1" in result.read_text()
        result.unlink()
