"""Nodes on four machines and the head's word about them, while programs work on each."""

import os
import re
import time

from conftest import until

SECONDS = float(os.environ.get("NETNS_BLACK_OUT_S", "22"))


def begin(cluster, *numbers, **words):
    """A program at work on each of these machines: {number: program}."""
    words = {"window": 2, "ms": 20, "seconds": 600, "bound": 10, **words}
    return {n: cluster[n].start_work(until=cluster.root / "enough", **words)
            for n in numbers or cluster.bed.numbers}


def finish(cluster, working):
    """Ends them; what each has to say."""
    (cluster.root / "enough").touch()
    said = {n: p.end_work() for n, p in working.items()}
    (cluster.root / "enough").unlink()
    return said


def assert_all_right(said):
    for n, work in said.items():
        assert work["submitted"] == work["right"] > 0 and not work["errors"], (n, work)


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


def test_one_cluster_on_four_machines(cluster):
    cluster.up()
    nodes = cluster.nodes()
    assert [n["name"] for n in nodes] == ["host1", "host2", "host3", "host4"]
    assert [n["address"] for n in nodes] == [f"{m.address}:7421" for m in cluster]
    for machine in cluster:
        assert machine.drt("status").stdout.count("alive") == 4
        out = machine.run(cluster.cluster_program("many"), 100, check=0).stdout
        assert out.startswith("right ")
    assert len(cluster.head.ask("jobs")) == 4
    cluster[4].drt("stop")
    until("it has left", lambda: cluster.states() == ["alive"] * 3 + ["left"])
    key = cluster[4].home / "client.key"
    key.write_bytes((cluster.head.dir / "client.key").read_bytes())
    key.chmod(0o600)
    away = cluster[4].drt("status", "--cluster", f"{cluster.head.address}:7420", "--key-file", key)
    assert away.stdout.count("alive") == 3


def test_black_outs_cost_nothing(cluster):
    """5 s of every 15 no machine hears another: no node is lost, and no task notices."""
    cluster.up()
    working = begin(cluster)
    with cluster.bed.black_outs() as began:
        seen = watch(cluster, SECONDS)
    states = {state for _, row in seen for state in row}
    assert states == {"alive", "suspect"} and len(began) >= 2, seen
    until("all are well", lambda: cluster.states() == ["alive"] * 4, 5)
    assert_all_right(finish(cluster, working))
    assert [n["number"] for n in cluster.nodes()] == [1, 2, 3, 4]


def test_machines_that_are_cut_off(cluster):
    """One hears nobody and is not heard, one is not heard, one hears nobody: after its lease each
    is lost, its programs work on meanwhile, and it joins again under a new number."""
    cluster.up()
    working = begin(cluster)
    cluster.bed.cut(2)
    cluster.bed.mute(3)
    cluster.bed.deafen(4)
    seen = watch(cluster, 14, lambda states: states == ["alive"] + ["lost"] * 3)
    lost = {n: next((t for t, states in seen if states[n - 1] == "lost"), None) for n in (2, 3, 4)}
    assert all(t is not None and 7 < t < 11 for t in lost.values()), seen
    assert all(p.poll() is None for p in working.values())
    cluster.bed.heal()
    for n in (2, 3, 4):
        until(f"host{n} ends", lambda: not cluster[n].pids("drt-node"), 10)
        assert re.search(rf"node number {n} was declared lost, .*: join again", cluster[n].node_log())
    said = finish(cluster, working)
    assert_all_right({1: said.pop(1)})
    for n, work in said.items():
        assert set(work["errors"]) == {"DRT_E_DISCONNECTED"} and work["right"] > 100, (n, work)
        assert work["right"] + work["errors"]["DRT_E_DISCONNECTED"] == work["submitted"]
        assert work["longest_ms"] < 5000
    for n in (2, 3, 4):
        cluster[n].join()
    assert sorted(n["number"] for n in cluster.nodes() if n["state"] == "alive") == [1, 5, 6, 7]
    jobs = cluster.head.ask("jobs")
    assert sorted(j["state"] for j in jobs) == ["done", "lost", "lost", "lost"]
    out = cluster[3].run(cluster.cluster_program("many"), 100, check=0).stdout
    assert out.startswith("right ")


def test_the_head_is_away_for_a_while(cluster):
    """Shorter than a lease: nobody is lost, what runs goes on, what begins waits for the head."""
    cluster.up()
    working = begin(cluster)
    cut = cluster.bed.unplug(1)
    late = cluster[2].start(cluster.cluster_program("many"), 100)
    seen = watch(cluster, 6)
    assert late.poll() is None
    cluster.bed.heal(cut)
    _, out, _ = late.end(limit_s=10, check=0)
    assert out.startswith("right ")
    seen += watch(cluster, 10, lambda states: states == ["alive"] * 4)
    assert {state for _, row in seen for state in row} == {"alive", "suspect"}, seen
    assert_all_right(finish(cluster, working))


def test_a_machine_without_power(cluster):
    cluster.up()
    cluster.bed.spaces[3].power_off()
    start = time.monotonic()
    until("it is lost", lambda: cluster.states() == ["alive", "alive", "lost", "alive"], 11)
    assert time.monotonic() - start > 7


def test_bad_cables(cluster):
    """A lossy one and a slow one: nodes join over them, and stay."""
    cluster.head.start_head()
    cluster.bed.lossy(2, seed=11, loss=0.1, double=0.1, delay_ms=(0, 30))
    cluster.bed.slow(3, rate="256kbit", queue="200ms")
    for machine in cluster:
        machine.join()
    working = begin(cluster)
    seen = watch(cluster, 8)
    assert {state for _, row in seen for state in row} <= {"alive", "suspect"}, seen
    assert_all_right(finish(cluster, working))
    cluster.bed.heal()
    until("all are well", lambda: cluster.states() == ["alive"] * 4, 5)
