"""The rows that HyperQueue has: each of its tasks is a process.

Run by bench/versus inside the virtual environment that has hyperqueue; prints one JSON object. The
wheel's LocalCluster runs server and worker in this process.
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import sys
import tempfile
import time

from hyperqueue import Client, Job
from hyperqueue.cluster import LocalCluster, WorkerConfig


def run(client, count, words=("/bin/true",)):
    """Seconds until all are done. The library's own wait looks once a second; so a last task, which
    needs all others, leaves a file, and that is looked for."""
    job, mark = Job(), os.path.abspath(f"done-{time.monotonic_ns()}")
    tasks = [job.program(list(words), stdout=None, stderr=None) for _ in range(count - 1)]
    job.program(["/bin/touch", mark], stdout=None, stderr=None, deps=tasks)
    began = time.perf_counter()
    client.submit(job)
    while not os.path.exists(mark):
        time.sleep(0.0002)
    return time.perf_counter() - began


def measure(client, seconds, tiny):
    rows = {}
    run(client, 20)
    took, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        took.append(run(client, 1) * 1e6)
    rows["single client tasks sync"] = {
        "per_second": 1e6 / statistics.mean(took),
        "p50_us": statistics.median(took),
    }
    count = 20 if tiny else 1000
    rates = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        rates.append(count / run(client, count))
    rows["single client tasks async"] = {"per_second": statistics.median(rates)}
    rows["tasks and get batch"] = {"per_second": statistics.median(rates) / count}
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--directory", required=True)
    options = parser.parse_args()
    seconds = 0.05 if options.tiny else options.seconds
    result = {"version": importlib.metadata.version("hyperqueue"), "rows": {}}

    os.makedirs(options.directory, exist_ok=True)
    os.chdir(tempfile.mkdtemp(dir=options.directory))
    # what the library and its tasks print is not ours: the result goes to the real output
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with LocalCluster() as cluster:
        cluster.start_worker(WorkerConfig(cores=os.cpu_count()))
        result["rows"].update(measure(cluster.client(), seconds, options.tiny))
    with LocalCluster() as cluster:
        cluster.start_worker(WorkerConfig(cores=8))
        client = cluster.client()
        count, span = (16, "0.001") if options.tiny else (100, "0.01")
        run(client, count, ("/bin/sleep", span))
        took = run(client, count, ("/bin/sleep", span))
        result["rows"]["100 tasks of 10 ms on 8 slots"] = {
            "per_second": count / took,
            "total_ms": took * 1e3,
        }
    json.dump(result, output)
    output.flush()


if __name__ == "__main__":
    main()
