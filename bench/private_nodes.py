"""A head and some nodes on this machine, in a directory of their own, for the scripts beside this file."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")


def processes_of(directory, name):
    """Daemons of this name that serve this directory."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as f:
                if f.read().strip() != name:
                    continue
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if directory.encode() in f.read():
                    found.append(int(pid))
        except OSError:
            pass
    return found


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


class Cluster:
    def __init__(self, build):
        self.build = build
        self.directory = tempfile.mkdtemp(prefix="drt-nodes-")
        self.cluster = self.directory + "/cluster"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("DRT_")}
        self.environment.update(HOME=self.directory, DRT_DIR=self.cluster)

    def program(self, folder, name):
        """In $DRT_BINDIR, which may name several folders, else in the build."""
        bindir = os.environ.get("DRT_BINDIR", "")
        return shutil.which(name, path=bindir) or str(self.build / folder / name)

    def run(self, *command, check=True):
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=check, timeout=60
        ).stdout

    def start_head(self):
        text = self.run(
            self.program("head", "drt-head"),
            *["start", "--dir", self.cluster, "--bind", "127.0.0.1"],
        )
        return re.search(r"\S+:\d+", text).group(0)

    def all_at_once(self, commands):
        """Seconds until the last one returned; any that fails ends the measurement."""
        begin = time.monotonic()
        running = [
            subprocess.Popen(
                [self.program("raylet", "drt-node"), *command],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for command in commands
        ]
        for process in running:
            _, err = process.communicate(timeout=60)
            if process.returncode != 0:
                raise RuntimeError(err.strip())
        return time.monotonic() - begin

    def join(self, address, names, cpus):
        what = ["--dir", self.cluster, "--bind", "127.0.0.1", "--num-cpus", str(cpus)]
        return self.all_at_once([["join", address, "--name", n, *what] for n in names])

    def leave(self, names):
        begin = time.monotonic()
        self.all_at_once([["leave", "--dir", self.cluster, "--name", n] for n in names])
        while processes_of(self.directory, "drt-node"):
            if time.monotonic() - begin > 60:
                raise RuntimeError("nodes that left still run")
            time.sleep(0.01)
        return time.monotonic() - begin

    def states(self):
        rows = json.loads(self.run(self.program("cli", "drt"), "nodes", "--json", "--limit", "1000"))
        return [row["state"] for row in rows]

    def status_ms(self):
        begin = time.monotonic()
        self.run(self.program("cli", "drt"), "status")
        return (time.monotonic() - begin) * 1e3

    def end(self):
        for name in ("drt-node", "drt-head"):
            for pid in processes_of(self.directory, name):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        shutil.rmtree(self.directory, ignore_errors=True)
