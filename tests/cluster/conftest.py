"""
Drives the real programs. Every test has a home directory of its own, its own ports, and a mark in
the environment of all that it starts; after the test nothing with that mark may be left: no
process, no socket, no shared memory. Nothing here waits for a time: `until` waits for an event,
with a deadline.

DRT_BUILD names the build directory.
"""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from blame import Child, blame, blame_logs  # noqa: E402

BUILD = Path(os.environ.get("DRT_BUILD", "build")).resolve()
LIMIT_S = 20.0

# What programs/ends.c prints.
HOW_TASKS_END = [
    "crash: DRT_E_CRASHED task end signal 11 exit 0 app 0 attempts 2",
    "kill: DRT_E_CRASHED task end signal 9 exit 0 app 0 attempts 1",
    "exit: DRT_E_EXITED task end signal 0 exit 7 app 0 attempts 1",
    "fail: DRT_E_FAILED task end signal 0 exit 0 app 42 attempts 1",
    "retried: survived",
    "once: DRT_E_CRASHED task end signal 9 exit 0 app 0 attempts 1",
]


def pytest_configure(config):
    """A test run that is stopped still ends what it started."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("stopped by SIGTERM"))


def until(what, condition, limit_s=LIMIT_S):
    """Waits until condition() is true and returns what it said; fails after the limit."""
    deadline = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {limit_s} s")
        select.select([], [], [], 0.01)


def find_free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def commands_of(page, folder):
    """The commands that a page shows after "$ "; the programs that it shows are put into `folder`."""
    tool = Path(__file__).resolve().parents[2] / "scripts" / "readme-commands"
    out = subprocess.run([str(tool), str(page), str(folder)], check=True, capture_output=True,
                         text=True).stdout
    return [line[2:] for line in out.splitlines()]


def find_marked(mark):
    """Live processes of this user that were started with the mark: {pid: command}."""
    found = {}
    needle = f"CLUSTER_TEST_MARK={mark}".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as f:
                if needle not in f.read().split(b"\0"):
                    continue
            with open(f"/proc/{entry}/stat") as f:
                if f.read().rsplit(")", 1)[1].split()[0] in "ZX":
                    continue
            with open(f"/proc/{entry}/cmdline", "rb") as f:
                found[int(entry)] = f.read().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            pass
    return found


def list_sockets(root):
    """UNIX sockets that are bound beneath a directory."""
    with open("/proc/net/unix") as f:
        return [line.split()[-1] for line in f if f" {root}/" in line]


class Cluster:
    def __init__(self, root):
        self.root = root
        self.home = root / "home"
        self.work = root / "work"
        self.home.mkdir()
        self.work.mkdir()
        self.mark = uuid.uuid4().hex
        self.env = {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self.work),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "DRT_BINDIR": os.pathsep.join(str(BUILD / d) for d in ("head", "raylet", "cli")),
            "DRT_MODE": "cluster",
            "CLUSTER_TEST_MARK": self.mark,
        }
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]
        self.port = find_free_port()
        self.dir = self.home / ".drt" / "default"
        self.children = []
        self.said = []  # words of a fault of ours, in what programs printed: see blame.py
        self.shm_before = set(os.listdir("/dev/shm"))

    # ---- programs ----

    def path(self, program):
        folder = {"drt": "cli", "drt-head": "head", "drt-node": "raylet"}[program]
        return str(BUILD / folder / program)

    def program(self, name):
        return str(BUILD / "tests" / "cluster" / "programs" / name)

    def example(self, name):
        return str(BUILD / "examples" / name)

    def run_on_terminal(self, command, **options):
        """Runs a shell command whose output is a terminal; skipped where none can be had."""
        try:
            for end in os.openpty():
                os.close(end)
        except OSError as error:
            pytest.skip(f"no pseudo-terminal: {error.strerror}")
        return self.run("script", "-qec", command, "/dev/null", **options)

    def run(self, *argv, limit_s=60, check=None, cwd=None, **env):
        """Runs to the end. `check` is the exit status that is expected; None: any."""
        result = subprocess.run(
            [str(a) for a in argv], env={**self.env, **env}, cwd=cwd or self.work,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s)
        self.said += blame(argv[0], result.stdout) + blame(argv[0], result.stderr)
        if check is not None:
            assert result.returncode == check, (
                f"{argv} ended with {result.returncode}\n{result.stdout}\n{result.stderr}\n"
                f"{self.logs()}")
        return result

    def start(self, *argv, cwd=None, **env):
        """Starts a program and returns its Popen; it is ended with the test."""
        child = Child(
            [str(a) for a in argv], self.said, env={**self.env, **env}, cwd=cwd or self.work,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.children.append(child)
        return child

    def drt(self, *argv, check=0, **env):
        return self.run(self.path("drt"), *argv, check=check, **env)

    def ask(self, *argv):
        """What `drt ... --json` says."""
        return json.loads(self.drt(*argv, "--json").stdout)

    # ---- daemons ----

    def start_head(self, *argv, check=0):
        return self.run(self.path("drt-head"), "start", "--bind", "127.0.0.1", "--port",
                        self.port, *argv, check=check)

    def join(self, name="n1", *argv, cpus=2, check=0):
        return self.run(self.path("drt-node"), "join", f"127.0.0.1:{self.port}", "--name", name,
                        "--num-cpus", cpus, "--bind", "127.0.0.1", "--port", find_free_port(),
                        *argv, check=check)

    def up(self, **join):
        """A head and one node, both ready."""
        self.start_head()
        self.join(**join)
        return self

    def pids(self, word):
        """Live processes of this test whose command begins with this program."""
        return [pid for pid, command in find_marked(self.mark).items()
                if os.path.basename(command.split(" ")[0]).startswith(word)]

    def head_pid(self):
        return self.ask("status")["head"]["pid"]

    def node_pid(self, name="n1"):
        return next(n["pid"] for n in self.ask("nodes") if n["name"] == name)

    def worker_pids(self, name):
        """Processes that serve tasks of a program: its raylet's children, not the driver."""
        drivers = {child.pid for child in self.children}
        return [pid for pid in self.pids(name) if pid not in drivers]

    def logs(self):
        """The ends of the daemons' logs, for who reads a failure."""
        out = []
        for path in sorted(self.home.rglob("*.log")):
            text = path.read_text(errors="replace").splitlines()[-15:]
            out.append(f"---- {path}\n" + "\n".join(text))
        return "\n".join(out)

    # ---- the end ----

    def find_faults(self):
        """Lines that only a fault of ours writes, in all logs and all that programs printed."""
        return self.said + blame_logs(self.root)

    def stop(self):
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.communicate()
        for directory in sorted((self.home / ".drt").glob("*")):
            if directory.is_dir():
                self.run(self.path("drt"), "stop", "--dir", directory)

    def find_rest(self):
        """What is left of the test and should not be."""
        rest = [f"process {pid}: {command}" for pid, command in find_marked(self.mark).items()]
        rest += [f"socket {path}" for path in list_sockets(self.root)]
        new = set(os.listdir("/dev/shm")) - self.shm_before
        rest += [f"shared memory {name}" for name in new if "drt" in name]
        return rest

    def kill_all(self):
        for pid in find_marked(self.mark):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def executions(path):
    """{task: [attempts]} of a log of work.c."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        number, attempt, _ = line.split()
        found.setdefault(int(number), []).append(int(attempt))
    return found


@pytest.fixture
def cluster(tmp_path):
    c = Cluster(tmp_path)
    try:
        yield c
        before = c.find_faults()  # a node that leaves takes its logs along
        c.stop()
        faults = sorted({*before, *c.find_faults()})
        assert not faults, "a fault of drt was written:\n" + "\n".join(faults)
        deadline = time.monotonic() + 5
        while c.find_rest() and time.monotonic() < deadline:
            select.select([], [], [], 0.02)
        rest = c.find_rest()
        assert not rest, "left over after drt stop:\n" + "\n".join(rest) + "\n" + c.logs()
    finally:
        c.kill_all()
        shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def held(cluster):
    """Starts hold.c; see Held."""
    return lambda *argv, **env: Held(cluster, *argv, **env)


class Held:
    """A driver whose tasks run until they are let go."""

    count = 0

    def __init__(self, cluster, count, *argv, **env):
        Held.count += 1
        self.dir = cluster.work / f"held-{Held.count}"
        self.dir.mkdir()
        self.child = cluster.start(cluster.program("hold"), self.dir, count, *argv, **env)

    def pid_of(self, i):
        """The process that runs task i; waits until it runs."""
        path = self.dir / f"pid.{i}"

        def read():
            assert self.child.poll() is None, self.child.communicate()
            return path.exists() and int(path.read_text())

        return until(f"task {i} runs", read)

    def forget(self, i):
        """So that pid_of waits for the next attempt."""
        (self.dir / f"pid.{i}").unlink()

    def let_go(self, i=None):
        (self.dir / ("go" if i is None else f"go.{i}")).touch()

    def end(self, limit_s=30):
        """Its standard output, when it has ended."""
        out, err = self.child.communicate(timeout=limit_s)
        self.err = err
        return out


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def parent_of(pid):
    with open(f"/proc/{pid}/stat") as f:
        return int(f.read().rsplit(")", 1)[1].split()[1])


def children_of(pid):
    """Zombies as well."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += (int(word) for word in (task / "children").read_text().split())
    return found
