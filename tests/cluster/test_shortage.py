"""A machine that has too little of something: work goes on with what there is."""

import os
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from conftest import BUILD, until

SHORT = "Work goes on with the workers that there are"


def test_too_few_open_files_for_all_workers(cluster):
    """The node may open 128 files, and 30 workers need more than that."""
    cluster.start_head()
    few = (128, 128)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    node = subprocess.run(
        ["prlimit", f"--nofile={few[0]}:{few[1]}", cluster.path("drt-node"), "join",
         f"127.0.0.1:{cluster.port}", "--name", "n1", "--num-cpus", "30", "--bind", "127.0.0.1",
         "--port", "0"],
        env=cluster.env, cwd=cluster.work, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert node.returncode == 0, node.stderr
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
    out = cluster.run(cluster.program("naps"), 60, 1, 100, check=0).stdout
    assert out == "right 60\n"
    log = (cluster.dir / "nodes" / "n1" / "node.log").read_text()
    assert log.count(SHORT) == 1 and "ulimit -n" in log, log


def test_explain_names_the_shortage(cluster):
    cluster.start_head()
    cluster.run("prlimit", "--nofile=128:128", cluster.path("drt-node"), "join",
                f"127.0.0.1:{cluster.port}", "--name", "n1", "--num-cpus", "30", "--bind",
                "127.0.0.1", "--port", "0", check=0)
    child = cluster.start(cluster.program("naps"), 60, 1, 30000)

    def waits():
        if not [t for t in cluster.ask("tasks", "--limit", "100") if t["state"] == "running"]:
            return None
        said = cluster.drt("explain", "last", check=None).stdout
        return said if "no further worker can be started now" in said else None

    said = until("explain tells of the shortage", waits)
    assert "Too many open files" in said
    child.kill()


def as_other_user(command, env, uid="45123"):
    return subprocess.run(
        ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "bash", "-c",
         command], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


def test_too_few_processes_for_all_workers(cluster):
    """A user who may have 40 processes, and a node of 40 CPUs."""
    if os.geteuid() != 0:
        pytest.skip("needs root: to be a user with few processes")
    home = Path(tempfile.mkdtemp(prefix="drt-few-"))
    try:
        home.chmod(0o755)
        shutil.chown(home, 45123, 45123)
        env = {**cluster.env, "HOME": str(home), "TMPDIR": str(home), "BUILD": str(BUILD)}
        if as_other_user(f"test -x {cluster.program('naps')}", env).returncode != 0:
            pytest.skip("another user cannot read the build")
        ran = as_other_user(
            'cd "$HOME"; ulimit -u 40\n'
            '"$BUILD"/head/drt-head start --bind 127.0.0.1 --port 0 >/dev/null || exit 8\n'
            'port=$(tr -dc 0-9 <"$HOME"/.drt/default/head.port)\n'
            '"$BUILD"/raylet/drt-node join 127.0.0.1:$port --bind 127.0.0.1 --port 0 --name n1 '
            '--num-cpus 40 >/dev/null || exit 7\n'
            '"$BUILD"/tests/cluster/programs/naps 60 1 200; rc=$?\n'
            '"$BUILD"/cli/drt stop >/dev/null; exit $rc', env)
        log = home / ".drt" / "default" / "nodes" / "n1" / "node.log"
        text = log.read_text() if log.exists() else ""
        assert ran.returncode == 0 and ran.stdout == "right 60\n", ran.stdout + ran.stderr + text
        assert text.count(SHORT) == 1 and "ulimit -u" in text, text
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_daemons_that_get_no_process_say_so(cluster):
    """With ever more processes: a sentence, and then a head; never a signal."""
    if os.geteuid() != 0:
        pytest.skip("needs root: to be a user with few processes")
    home = Path(tempfile.mkdtemp(prefix="drt-few-"))
    try:
        home.chmod(0o755)
        shutil.chown(home, 45124, 45124)
        env = {**cluster.env, "HOME": str(home), "TMPDIR": str(home), "BUILD": str(BUILD)}
        if as_other_user(f"test -x {cluster.program('naps')}", env, "45124").returncode != 0:
            pytest.skip("another user cannot read the build")
        for most in range(3, 12):
            ran = as_other_user(
                f'cd "$HOME"; ulimit -u {most}\n'
                'exec "$BUILD"/head/drt-head start --bind 127.0.0.1 --port 0', env, "45124")
            as_other_user('"$BUILD"/cli/drt stop', env, "45124")
            if ran.returncode == 0:
                break
            assert ran.returncode == 1, ran
            assert "Resource temporarily unavailable" in ran.stderr, ran.stderr
            assert "ulimit -u" in ran.stderr, ran.stderr
    finally:
        shutil.rmtree(home, ignore_errors=True)


HALF = {
    "v2": 'echo "50000 100000" >/sys/fs/cgroup/cpu.max\n',
    "v1": 'mkdir -p /sys/fs/cgroup/cpu\n'
          'echo 50000 >/sys/fs/cgroup/cpu/cpu.cfs_quota_us\n'
          'echo 100000 >/sys/fs/cgroup/cpu/cpu.cfs_period_us\n',
}


@pytest.mark.parametrize("version", sorted(HALF))
def test_half_a_cpu_runs_a_plain_task(cluster, version):
    mount = ("umount -l /sys/fs/cgroup 2>/dev/null; mount -t tmpfs none /sys/fs/cgroup || exit 77\n"
             + HALF[version])
    ran = cluster.run("unshare", "-m", "bash", "-c", mount + f"exec {cluster.program('naps')} 3",
                      DRT_MODE="local")
    if ran.returncode == 77 or "unshare failed" in ran.stderr:
        pytest.skip("needs root: to mount another /sys/fs/cgroup")
    assert ran.stdout == "right 3\n", ran.stdout + ran.stderr


def test_shares_fit(cluster):
    """Six tasks of a sixth run beside each other on one CPU, and not seven."""
    cluster.start_head()
    cluster.join("n1", cpus=1)
    child = cluster.start(cluster.program("naps"), 7, 1 / 6, 30000)

    def running():
        return len([t for t in cluster.ask("tasks") if t["state"] == "running"])

    until("six run", lambda: running() == 6)
    waits = [t for t in cluster.ask("tasks") if t["state"] in ("waiting", "ready")]
    assert len(waits) == 1 and running() == 6
    child.kill()


def test_a_recursion_without_an_end(cluster):
    cluster.start_head()
    cluster.join("n1", "--max-depth", 6)
    ran = cluster.run(cluster.program("nest"), 100, check=1)
    assert "node n1 allows no more" in ran.stderr and "--max-depth" in ran.stderr, ran.stderr
    assert cluster.run(cluster.program("nest"), 7, check=0).stdout == "depth 7\n"


def test_more_waiting_tasks_than_processes(cluster):
    cluster.start_head()
    cluster.join("n1", "--max-job-workers", 5)
    assert cluster.run(cluster.program("nest"), 5, check=0).stdout == "depth 5\n"
    ran = cluster.run(cluster.program("nest"), 100, check=1)
    assert "deeper needs a worker (its job has 5 processes on this node" in ran.stderr, ran.stderr
    assert "--max-job-workers" in ran.stderr
    for name in ("--max-job-workers", "--max-depth"):
        assert f"{name} must be at least 1" in cluster.join("n2", name, 0, check=2).stderr
