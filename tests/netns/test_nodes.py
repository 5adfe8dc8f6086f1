"""Nodes on four machines and the head's word about them, while programs work on each."""

import json
import os
import re

from conftest import until
from load import (assert_all_is_back, assert_everywhere, assert_nothing_is_left, assert_right,
                  assert_settled, begin, begin_local, begin_once, begin_roaming,
                  count_descriptors, executions, finish, report, watch)

# How often a unit of a roaming program's work is logged: once, but a chain has three tasks.
RUNS = {"log-1": 1, "log-2": 3, "log-3": 1, "log-4": 1, "once-2": 1}
SECONDS = float(os.environ.get("NETNS_BLACK_OUT_S", "22"))


def test_one_cluster_on_four_machines(cluster):
    cluster.up()
    nodes = cluster.nodes()
    assert [n["name"] for n in nodes] == ["host1", "host2", "host3", "host4"]
    assert [n["address"] for n in nodes] == [f"{m.address}:7421" for m in cluster]
    for machine in cluster:
        assert machine.drt("status").stdout.count("alive") == 4
        out = machine.run(cluster.program("many"), 100, check=0).stdout
        assert out.startswith("right ")
    assert len(cluster.head.ask("jobs")) == 4
    cluster[4].drt("stop")
    until("it has left", lambda: cluster.states() == ["alive"] * 3 + ["left"])
    key = cluster[4].home / "client.key"
    key.write_bytes((cluster.head.dir / "client.key").read_bytes())
    key.chmod(0o600)
    away = cluster[4].drt("status", "--cluster", f"{cluster.head.address}:7420", "--key-file", key)
    assert away.stdout.count("alive") == 3
    # A program there has a raylet of its own, as long as it lives.
    where = {"DRT_CLUSTER": f"{cluster.head.address}:7420",
             "DRT_KEY_FILE": str(cluster[4].home / "join.key")}
    out = cluster[4].run(cluster.program("work"), "tasks=90", "strategy=spread", check=0, **where)
    work = json.loads(out.stdout.splitlines()[-1])
    assert work["right"] == 90 and sorted(work["nodes"]) == ["host1", "host2", "host3"], work
    assert not cluster[4].space.processes()


def test_black_outs_cost_nothing(cluster):
    """5 s of every 15 no machine hears another: no node is lost, no task fails, none runs twice,
    and what stays on its machine notices nothing."""
    cluster.up()
    before = count_descriptors(cluster)
    local, roaming = begin_local(cluster), begin_roaming(cluster)
    once = begin_once(cluster, 2)
    with cluster.bed.black_outs() as began:
        seen = watch(cluster, SECONDS)
    states = {state for _, row in seen for state in row}
    assert states == {"alive", "suspect"} and len(began) >= 2, seen
    until("all are well", lambda: cluster.states() == ["alive"] * 4, 5)
    said = finish(cluster, {**local, **roaming, **once})
    report(said, seen)
    assert_right({key: said[key] for key in local}, longest_ms=4000)
    assert_right({key: said[key] for key in {**roaming, **once}}, longest_ms=15000)
    assert_everywhere({key: said[key] for key in {**roaming, **once}})
    for log in cluster.root.glob("*-[1-4]"):
        ran = {number: n for number, n in executions(log).items() if len(n) > RUNS[log.name]}
        assert not ran, (log.name, ran)
    assert [n["number"] for n in cluster.nodes()] == [1, 2, 3, 4]
    assert_all_is_back(cluster)
    if SECONDS > 60:
        assert_nothing_is_left(cluster, before, 2, 60)
    else:
        assert_nothing_is_left(cluster, before, 30, 10)


def test_machines_that_are_cut_off(cluster):
    """One hears nobody and is not heard, one is not heard, one hears nobody: after its lease each
    is lost, its programs work on meanwhile, and it joins again under a new number."""
    cluster.up()
    working = begin_local(cluster)
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
        assert re.search(rf"node number {n} was declared lost, .*: join again",
                         cluster[n].node_log())
    said = finish(cluster, working)
    assert_right({(1, "local"): said.pop((1, "local"))}, longest_ms=2000)
    assert_settled(said, "DRT_E_DISCONNECTED")
    for key, work in said.items():
        assert work["right"] > 100 and work["longest_ms"] < 5000, (key, work)
    for n in (2, 3, 4):
        cluster[n].join()
    assert sorted(n["number"] for n in cluster.nodes() if n["state"] == "alive") == [1, 5, 6, 7]
    jobs = cluster.head.ask("jobs")
    assert sorted(j["state"] for j in jobs) == ["done", "lost", "lost", "lost"]
    out = cluster[3].run(cluster.program("many"), 100, check=0).stdout
    assert out.startswith("right ")


def test_the_head_is_away_for_a_while(cluster):
    """Shorter than a lease: nobody is lost, what runs goes on, also between the other machines, and
    what begins waits for the head."""
    cluster.up()
    working = {**begin_local(cluster), (2, "to 3"): begin(cluster, 2, strategy="node:host3"),
               (3, "to 4"): begin(cluster, 3, strategy="node:host4", shape="borrow")}
    cut = cluster.bed.unplug(1)
    late = cluster[2].start(cluster.program("many"), 100)
    seen = watch(cluster, 6)
    assert late.poll() is None
    cluster.bed.heal(cut)
    _, out, _ = late.end(limit_s=10, check=0)
    assert out.startswith("right ")
    seen += watch(cluster, 10, lambda states: states == ["alive"] * 4)
    assert {state for _, row in seen for state in row} == {"alive", "suspect"}, seen
    assert_right(finish(cluster, working), longest_ms=2000)


def test_bad_cables(cluster):
    """A lossy one and a slow one: nodes join over them, stay, and take part in all work."""
    cluster.head.start_head()
    cluster.bed.lossy(2, seed=11, loss=0.1, double=0.1, delay_ms=(0, 30))
    cluster.bed.slow(3, rate="256kbit", queue="200ms")
    for machine in cluster:
        machine.join()
    working = {**begin_local(cluster), **begin_roaming(cluster, shape="plain")}
    seen = watch(cluster, 6)
    assert {state for _, row in seen for state in row} <= {"alive", "suspect"}, seen
    said = finish(cluster, working)
    assert_right(said)
    assert_right({key: work for key, work in said.items() if key[1] == "local"}, longest_ms=2000)
    cluster.bed.heal()
    until("all are well", lambda: cluster.states() == ["alive"] * 4, 5)
    assert_all_is_back(cluster)
