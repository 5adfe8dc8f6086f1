"""Programs at work on the machines of a cluster, and what may become of their tasks."""

import os
import time

from conftest import executions, until

# What each machine's program asks for: every way to place tasks, every way to hand over values.
ROAMING = {
    1: {"strategy": "spread", "shape": "plain"},
    2: {"strategy": "load_balanced", "shape": "chain"},
    3: {"strategy": "spread", "shape": "borrow"},
    4: {"strategy": "spread", "shape": "nest"},
}


def begin(cluster, number, **words):
    """A program at work on this machine, until finish()."""
    words = {"window": 2, "ms": 20, "seconds": 3600, "bound": 30, "until": cluster.root / "enough",
             **words}
    return cluster[number].start_work(**words)


def begin_local(cluster, *numbers, **words):
    """On each of these machines, tasks that run there: {(number, "local"): program}."""
    return {(n, "local"): begin(cluster, n, strategy=f"node:host{n}", **words)
            for n in numbers or cluster.bed.numbers}


def begin_roaming(cluster, *numbers, **words):
    """On each of these machines, tasks that run anywhere, which keep a log of their executions."""
    started = {}
    for n in numbers or cluster.bed.numbers:
        log = cluster.root / f"log-{n}"
        started[n, "roaming"] = begin(cluster, n, **{**ROAMING[n], "log": log, **words})
    return started


def begin_once(cluster, number, **words):
    log = cluster.root / f"once-{number}"
    return {(number, "once"): begin(cluster, number, strategy="spread", once=log, **words)}


def finish(cluster, working, limit_s=60):
    """Ends them; what each has to say: {(number, kind): counts}."""
    (cluster.root / "enough").touch()
    said = {key: program.end_work(limit_s) for key, program in working.items()}
    (cluster.root / "enough").unlink()
    return said


def assert_right(said, longest_ms=None):
    """No task failed, and none was wrong."""
    for key, work in said.items():
        assert work["submitted"] == work["right"] > 0 and not work["errors"], (key, work)
        assert longest_ms is None or work["longest_ms"] < longest_ms, (key, work)


def assert_everywhere(said):
    """Each that may use any machine has used all of them."""
    for key, work in said.items():
        assert sorted(work["nodes"]) == ["host1", "host2", "host3", "host4"], (key, work)


def assert_settled(said, *errors):
    """Every task ended: rightly or with one of these errors."""
    for key, work in said.items():
        assert work["wrong"] == work["changed"] == 0, (key, work)
        assert not set(work["errors"]) - set(errors), (key, work)
        assert work["right"] + sum(work["errors"].values()) == work["submitted"], (key, work)


def assert_counted_once(cluster, said):
    """What the cluster counted for each job that is done is what its program saw."""
    seen = sorted(work["right"] for (_, kind), work in said.items() if kind == "once")
    jobs = [job["tasks_done"] for job in cluster.head.ask("jobs") if job["name"] == "once"]
    assert seen == sorted(jobs)


def watch(cluster, limit_s, over=lambda states: False):
    """All changes of the nodes' states: [(seconds, [states])], until over(states) or the limit."""
    start, seen = time.monotonic(), []

    def look():
        states = cluster.states()
        if not seen or states != seen[-1][1]:
            seen.append((time.monotonic() - start, states))
        return over(states) or time.monotonic() - start > limit_s

    until("watched", look, limit_s + 10)
    return seen


def count_descriptors(cluster):
    """Of each daemon: {(machine, process): number}."""
    found = {}
    for machine in cluster:
        for pid in machine.pids("drt-"):
            try:
                found[machine.number, pid] = len(os.listdir(f"/proc/{pid}/fd"))
            except FileNotFoundError:
                pass
    return found


def assert_nothing_is_left(cluster, before, slack, limit_s):
    """No worker, and no more descriptors than `before`, but for so many."""
    def rest():
        now = count_descriptors(cluster)
        return ({m.name: m.pids("work") for m in cluster if m.pids("work")} or
                {who: (before.get(who), n) for who, n in now.items()
                 if n > before.get(who, 0) + slack})
    deadline = time.monotonic() + limit_s
    until("looked", lambda: not rest() or time.monotonic() > deadline, limit_s + 5)
    assert not rest(), cluster.logs()


def report(said, seen):
    """A table for who runs this by hand with pytest -s."""
    print(f"\n{'program':<12} {'tasks':>8} {'right':>8} {'wrong':>6} {'errors':>7} {'longest':>10}")
    for (number, kind), work in said.items():
        print(f"{number} {kind:<10} {work['submitted']:>8} {work['right']:>8} "
              f"{work['wrong'] + work['changed']:>6} {sum(work['errors'].values()):>7} "
              f"{work['longest_ms']:>7} ms")
    lost = sum(row.count("lost") for _, row in seen)
    print(f"nodes declared lost: {lost}")


def assert_all_is_back(cluster, limit_s=10):
    """Nothing runs, waits or is taken on any node that is left."""
    deadline = time.monotonic() + limit_s

    def rest():
        return [n for n in cluster.nodes() if n["state"] == "alive" and
                (n["tasks_running"] or n["tasks_waiting"] or
                 n["cpus_available"] != n["cpus_total"])]

    until("looked", lambda: not rest() or time.monotonic() > deadline, limit_s + 5)
    assert not rest(), cluster.logs()
