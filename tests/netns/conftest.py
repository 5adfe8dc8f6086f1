"""
Clusters over the machines of bed.py. What tests/cluster knows of programs, deadlines and leftovers
serves here too. Everything needs root; where something lacks, the tests are skipped by its name.
"""

import importlib.util
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bed import BUILD, Bed, find_lack  # noqa: E402

SPEC = importlib.util.spec_from_file_location(
    "cluster_conftest", Path(__file__).parent.parent / "cluster" / "conftest.py")
cluster_conftest = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(cluster_conftest)
until, is_alive = cluster_conftest.until, cluster_conftest.is_alive
executions = cluster_conftest.executions
Child, blame, blame_logs = cluster_conftest.Child, cluster_conftest.blame, cluster_conftest.blame_logs

HEAD_PORT = 7420


def pytest_configure(config):
    """A test run that is stopped still ends what it started."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("stopped by SIGTERM"))


class Program:
    """Something that runs on a machine."""

    def __init__(self, machine, child):
        self.machine, self.child = machine, child

    def poll(self):
        return self.child.poll()

    @property
    def pid(self):
        """Its process, as the tests see it: nsenter waits for its child."""
        def read():
            with open(f"/proc/{self.child.pid}/task/{self.child.pid}/children") as f:
                return f.read().split()
        return int(until("it runs", read, 5)[0])

    def wait_line(self, wanted, limit_s=20):
        """Waits for its first line, after which it says nothing until it ends."""
        assert select.select([self.child.stdout], [], [], limit_s)[0], f"no \"{wanted}\""
        line = self.child.stdout.readline()
        assert line == wanted + "\n", (line, self.child.stderr.read())
        return self

    def end(self, limit_s=60, check=None):
        """(status, output, errors), when it has ended."""
        out, err = self.child.communicate(timeout=limit_s)
        assert check is None or self.child.returncode == check, (
            f"{self.child.args} ended with {self.child.returncode}\n{out}\n{err}\n"
            f"{self.machine.cluster.logs()}")
        return self.child.returncode, out, err


class Machine:
    """One machine of a cluster: its home and the programs that run there."""

    def __init__(self, cluster, number):
        self.cluster, self.number = cluster, number
        self.space = cluster.bed.spaces[number]
        self.address = cluster.bed.address(number)
        self.name = f"host{number}"
        self.root = cluster.root / self.name
        self.home, self.work = self.root / "home", self.root / "work"
        self.home.mkdir(parents=True)
        self.work.mkdir()
        self.dir = self.home / ".drt" / "default"
        self.env = {
            "HOME": str(self.home), "PATH": os.environ["PATH"], "TMPDIR": str(self.work),
            "LC_ALL": "C.UTF-8", "TZ": "UTC", "DRT_MODE": "cluster",
            "DRT_BINDIR": os.pathsep.join(str(BUILD / d) for d in ("head", "raylet", "cli")),
        }
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "DRT_LOG"):
            if name in os.environ:
                self.env[name] = os.environ[name]
        self.programs = []

    def _argv(self, argv):
        return ["nsenter", "-t", str(self.space.init), "-m", "-u", "-i", "-n", "-p",
                f"--wdns={self.work}", "--", *map(str, argv)]

    def run(self, *argv, limit_s=60, check=None, **env):
        done = subprocess.run(self._argv(argv), env={**self.env, **env}, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=limit_s)
        self.cluster.said += blame(argv[0], done.stdout) + blame(argv[0], done.stderr)
        assert check is None or done.returncode == check, (
            f"{self.name}: {argv} ended with {done.returncode}\n{done.stdout}\n{done.stderr}\n"
            f"{self.cluster.logs()}")
        return done

    def start(self, *argv, **env):
        child = Child(self._argv(argv), self.cluster.said, env={**self.env, **env},
                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                      text=True)
        self.programs.append(Program(self, child))
        return self.programs[-1]

    def start_work(self, **words):
        """Starts tests/cluster/programs/work.c, and waits for its first result."""
        argv = [f"{word}={value}" for word, value in words.items()]
        program = self.start(self.cluster.program("work"), *argv)
        program.end_work = lambda limit_s=60: self._work_of(program, limit_s)
        return program.wait_line("begun")

    def _work_of(self, program, limit_s):
        status, out, err = program.end(limit_s)
        assert status == 0, (self.name, status, out, err, self.cluster.logs())
        return json.loads(out)

    def drt(self, *argv, check=0, **options):
        return self.run(BUILD / "cli" / "drt", *argv, check=check, **options)

    def ask(self, *argv):
        return json.loads(self.drt(*argv, "--json").stdout)

    def start_head(self, *argv, check=0):
        return self.run(BUILD / "head" / "drt-head", "start", "--bind", self.address, "--port",
                        HEAD_PORT, *argv, check=check)

    def join(self, *argv, cpus=2, check=0):
        """As a user would: with a copy of the head's join.key."""
        head = self.cluster.head
        if self is not head and not (self.home / "join.key").exists():
            key = self.home / "join.key"
            key.write_bytes((head.dir / "join.key").read_bytes())
            key.chmod(0o600)
        key = [] if self is head else ["--join-file", self.home / "join.key"]
        return self.run(BUILD / "raylet" / "drt-node", "join", f"{head.address}:{HEAD_PORT}",
                        "--num-cpus", cpus, *key, *argv, check=check)

    def pids(self, word):
        """Live processes of this machine whose program's name begins so."""
        return [pid for pid, command in self.space.processes().items()
                if os.path.basename(command.split(" ")[0]).startswith(word)]

    def node_log(self):
        return (self.dir / "nodes" / self.name / "node.log").read_text(errors="replace")

    def find_rest(self):
        rest = [f"{self.name}: process {pid}: {c}" for pid, c in self.space.processes().items()]
        shm = Path("/proc", str(self.space.init), "root", "dev", "shm")
        return rest + [f"{self.name}: shared memory {name}" for name in os.listdir(shm)]


class Cluster:
    def __init__(self, root):
        self.root = root
        self.said = []
        self.bed = Bed()
        self.machines = {n: Machine(self, n) for n in self.bed.numbers}
        self.head = self.machines[1]

    def __getitem__(self, number):
        return self.machines[number]

    def __iter__(self):
        return iter(self.machines.values())

    def program(self, name):
        return BUILD / "tests" / "cluster" / "programs" / name

    def up(self, cpus=2, resources=()):
        """A head on the first machine, a node on each; on some of them also 2 of "r"."""
        self.head.start_head()
        for machine in self:
            more = ["--resources", '{"r": 2}'] if machine.number in resources else []
            machine.join(*more, cpus=cpus)
        until("all nodes are seen", lambda: self.states() == ["alive"] * len(self.machines))
        return self

    def nodes(self):
        return sorted(self.head.ask("nodes"), key=lambda n: n["number"])

    def states(self):
        return [n["state"] for n in self.nodes()]

    def node(self, name):
        """The newest node of that name."""
        return [n for n in self.nodes() if n["name"] == name][-1]

    def logs(self):
        out = []
        for path in sorted(self.root.rglob("*.log")):
            text = path.read_text(errors="replace").splitlines()[-15:]
            out.append(f"---- {path.relative_to(self.root)}\n" + "\n".join(text))
        return "\n".join(out)

    def find_faults(self):
        """Lines that only a fault of ours writes: see tests/cluster/blame.py."""
        return self.said + blame_logs(self.root)

    def stop(self):
        for machine in reversed(list(self)):
            for program in machine.programs:
                if program.poll() is None:
                    os.kill(program.pid, signal.SIGKILL)
                program.child.communicate()
            if machine.space.child.poll() is None:
                assert machine.drt("stop", check=None).returncode in (0, 3)  # 3: none was there

    def find_rest(self):
        return [what for m in self if m.space.child.poll() is None for what in m.find_rest()]


@pytest.fixture
def bed():
    lack = find_lack()
    if lack:
        pytest.skip(lack)
    bed = Bed()
    try:
        yield bed
    finally:
        bed.close()


@pytest.fixture
def cluster(tmp_path):
    lack = find_lack()
    if lack:
        pytest.skip(lack)
    c = Cluster(tmp_path)
    try:
        yield c
        before = c.find_faults()
        c.bed.heal()
        c.stop()
        faults = sorted({*before, *c.find_faults()})
        assert not faults, "a fault of drt was written:\n" + "\n".join(faults)
        deadline = time.monotonic() + 5
        while c.find_rest() and time.monotonic() < deadline:
            select.select([], [], [], 0.02)
        rest = c.find_rest()
        assert not rest, "left over after drt stop:\n" + "\n".join(rest) + "\n" + c.logs()
    finally:
        c.bed.close()
        shutil.rmtree(tmp_path, ignore_errors=True)
