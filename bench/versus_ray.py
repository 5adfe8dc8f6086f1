"""The rows of drt-bench on Ray, as Ray's own microbenchmark defines them.

Run by bench/versus inside the virtual environment that has Ray; prints one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_DEDUP_LOGS"] = "0"

import ray  # noqa: E402


@ray.remote
def nothing():
    return b"ok"


@ray.remote
def add_one(value):
    return value + 1


@ray.remote
def sleep_for(seconds):
    time.sleep(seconds)


@ray.remote
def put_many(count):
    for _ in range(count):
        ray.put(0)


@ray.remote(num_cpus=0)
class Client:
    def rounds(self, count, until):
        done = 0
        while time.time() < until:
            ray.get([nothing.remote() for _ in range(count)])
            done += count
        return done, time.time()

    def ready(self):
        return True


class Rows:
    def __init__(self, seconds, tiny):
        self.seconds = seconds
        self.tiny = tiny

    def repeat(self, once, operations=1, seconds=None):
        """Calls `once` for a while; operations for each second."""
        seconds = seconds or self.seconds
        done, begin = 0, time.perf_counter()
        while True:
            once()
            done += operations
            passed = time.perf_counter() - begin
            if passed >= seconds:
                return done / passed

    def size(self, normal, tiny=20):
        return tiny if self.tiny else normal

    def sync(self):
        took, end = [], time.perf_counter() + self.seconds
        begin = time.perf_counter()
        while time.perf_counter() < end:
            before = time.perf_counter()
            ray.get(nothing.remote())
            took.append((time.perf_counter() - before) * 1e6)
        rate = len(took) / (time.perf_counter() - begin)
        took.sort()
        return {
            "per_second": rate,
            "p50_us": statistics.median(took),
            "p99_us": took[int(len(took) * 0.99)],
        }

    def asynchronous(self):
        n = self.size(1000)
        rate = self.repeat(lambda: ray.get([nothing.remote() for _ in range(n)]), n)
        return {"per_second": rate}

    def batch(self):
        n = self.size(1000)
        return {"per_second": self.repeat(lambda: ray.get([nothing.remote() for _ in range(n)]))}

    def multi_client(self):
        clients = [Client.remote() for _ in range(4)]
        ray.get([c.ready.remote() for c in clients])
        begin = time.time()
        until = begin + (self.seconds if self.tiny else max(2, self.seconds))
        done = ray.get([c.rounds.remote(self.size(10000), until) for c in clients])
        for client in clients:
            ray.kill(client)
        return {"per_second": sum(d for d, _ in done) / (max(e for _, e in done) - begin)}

    def wait(self):
        def once():
            waiting = [nothing.remote() for _ in range(self.size(1000))]
            fetch = True
            while waiting:
                _, waiting = ray.wait(waiting, fetch_local=fetch)
                fetch = False

        return {"per_second": self.repeat(once)}

    def get(self):
        ref = ray.put(0)
        return {"per_second": self.repeat(lambda: ray.get(ref))}

    def put(self):
        return {"per_second": self.repeat(lambda: ray.put(0))}

    def multi_put(self):
        return {
            "per_second": self.repeat(
                lambda: ray.get([put_many.remote(100) for _ in range(10)]), 1000
            )
        }

    def chain(self):
        n = self.size(10000)
        begin = time.perf_counter()
        ref = add_one.remote(0)
        for _ in range(n - 1):
            ref = add_one.remote(ref)
        assert ray.get(ref) == n
        seconds = time.perf_counter() - begin
        return {"per_second": n / seconds, "p50_us": seconds / n * 1e6}

    def queued(self):
        """A tenth of the million: the whole takes Ray minutes and gigabytes."""
        n = self.size(100000)
        begin = time.perf_counter()
        refs = [nothing.remote() for _ in range(n)]
        ray.get(refs)
        seconds = time.perf_counter() - begin
        del refs
        return {"per_second": n / seconds, "total_s": seconds * 1e6 / n}

    def beside(self, loops, measure):
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
        try:
            return measure()
        finally:
            for process in busy:
                process.kill()
                process.wait()


def sleepers(tiny):
    """On a node of its own with eight slots."""
    count, span = (16, 0.001) if tiny else (100, 0.01)
    ray.get([sleep_for.remote(span) for _ in range(count)])
    begin = time.perf_counter()
    ray.get([sleep_for.remote(span) for _ in range(count)])
    seconds = time.perf_counter() - begin
    return {"per_second": count / seconds, "total_ms": seconds * 1e3}


def private_mb(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as lines:
                total += sum(int(x.split()[1]) for x in lines if x.startswith("Private_"))
        except OSError:
            pass
    return total * 1024 / 1e6


def pids_below(directory):
    """Processes that were started with the directory in their command line or environment."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as f:
                    if int(pid) != os.getpid() and directory.encode() in f.read():
                        found.append(int(pid))
                        break
            except OSError:
                pass
    return found


def end_below(directory):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for pid in pids_below(directory):
            try:
                os.kill(pid, 9)
            except OSError:
                pass
        time.sleep(0.2)
        if not pids_below(directory):
            return


def daemons(directory):
    """Start, status and idle memory, by the command line as a user does it."""
    command = os.path.join(os.path.dirname(sys.executable), "ray")
    environment = dict(os.environ, RAY_TMPDIR=directory)

    def timed(*words):
        begin = time.perf_counter()
        subprocess.run(
            [command, *words],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
        )
        return (time.perf_counter() - begin) * 1e3

    rows = {}
    port = 20000 + os.getpid() % 20000
    start = timed("start", "--head", f"--port={port}", "--temp-dir=" + directory)
    try:
        rows["drt-head start and drt-node join"] = {"slower_later_ms": start}
        status = timed("status", f"--address=127.0.0.1:{port}")
        rows["drt status"] = {"status_ms": status}
        time.sleep(3)
        rows["memory of head, raylet, idle worker"] = {"all_mb": private_mb(pids_below(directory))}
    finally:
        end_below(directory)
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--directory", required=True)
    options = parser.parse_args()
    rows = Rows(0.05 if options.tiny else options.seconds, options.tiny)
    result = {"version": ray.__version__, "python": sys.version.split()[0], "rows": {}}
    table = {
        "single client tasks sync": rows.sync,
        "single client tasks async": rows.asynchronous,
        "multi client tasks async": rows.multi_client,
        "single client tasks async beside two busy loops": lambda: rows.beside(
            2, rows.asynchronous
        ),
        "single client tasks sync beside one busy loop": lambda: rows.beside(1, rows.sync),
        "tasks and get batch": rows.batch,
        "wait 1k refs": rows.wait,
        "single client get calls": rows.get,
        "single client put calls": rows.put,
        "multi client put calls": rows.multi_put,
        "1,000,000 tasks queued, then done": rows.queued,
        "chain of 10,000 tasks, a link": rows.chain,
    }

    begin = time.perf_counter()
    ray.init(include_dashboard=False, log_to_driver=False, _temp_dir=options.directory + "/a")
    result["init_ms"] = (time.perf_counter() - begin) * 1e3
    ray.get([nothing.remote() for _ in range(rows.size(1000))])
    for name, measure in table.items():
        result["rows"][name] = measure()
    ray.shutdown()
    ray.init(
        num_cpus=8,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=options.directory + "/b",
    )
    result["rows"]["100 tasks of 10 ms on 8 slots"] = sleepers(options.tiny)
    ray.shutdown()
    result["rows"].update(daemons(options.directory + "/c"))
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
