"""Work between four machines while two of them cannot hear each other, or one falls silent."""

import time

from conftest import until
from load import (assert_all_is_back, assert_right, assert_settled, begin, begin_local, begin_once,
                  begin_roaming, executions, finish, watch)

SESSION_S = 15


def test_two_that_do_not_hear_each_other(cluster):
    """Both hear the head, so neither is lost: their sessions end, and their work goes elsewhere.
    A third one is not heard by one of them, but hears it. Much that waits for one of them from
    afar does not keep it from its own work."""
    cluster.up()
    working = {**begin_local(cluster), **begin_roaming(cluster), **begin_once(cluster, 3)}
    working[2, "backlog"] = begin(cluster, 2, strategy="node:host3", window=300, bound=60)
    cluster.bed.cut_between(2, 3)
    cluster.bed.cut_one_way(4, 3)
    seen = watch(cluster, SESSION_S + 3)
    assert {state for _, row in seen for state in row} == {"alive"}, seen
    cluster.bed.heal()
    time_of_heal = time.monotonic()
    back = {}
    for a, b in ((2, 3), (3, 2), (4, 3)):
        back[a, b] = cluster[a].start_work(tasks=4, strategy=f"node:host{b}", bound=20)
    for key, program in back.items():
        assert program.end_work(20)["right"] == 4, key
    assert time.monotonic() - time_of_heal < 15
    said = finish(cluster, working)
    assert_right({key: work for key, work in said.items() if key[1] == "local"}, longest_ms=4000)
    assert said[3, "local"]["right"] > 200, said[3, "local"]
    assert_right({"backlog": said[2, "backlog"]})
    assert_settled(said, "DRT_E_UNKNOWN", "DRT_E_UNREACHABLE", "DRT_E_FAILED/DRT_E_UNREACHABLE")
    for n in (1, 2, 4):
        assert_right({n: said[n, "roaming"]})
    ran = executions(cluster.root / "once-3")
    assert ran and all(attempts == [1] for attempts in ran.values())
    assert [n["number"] for n in cluster.nodes()] == [1, 2, 3, 4]
    assert_all_is_back(cluster)


def test_waits_for_one_that_is_cut_off(cluster):
    """However two machines are cut: who waits for what the other has is told soon after the length
    of a silence, and who did not hear that the session is over has no share in that."""
    cluster.up()
    owes = {2: 3, 4: 2, 3: 4}
    waiting = {n: cluster[n].start_work(tasks=1, window=1, ms=120000, shape="owe", bound=60,
                                        strategy=f"node:host{owner}")
               for n, owner in owes.items()}
    cluster.bed.cut_one_way(2, 3)  # the owner does not hear
    cluster.bed.cut_one_way(2, 4)  # who waits does not hear
    cluster.bed.cut_between(3, 4)
    start, told = time.monotonic(), {}

    def all_are_told():
        for n, program in waiting.items():
            if n not in told and program.poll() is not None:
                told[n] = time.monotonic() - start
        return len(told) == len(waiting)

    until("all are told", all_are_told, 60)
    for n, program in waiting.items():
        assert program.end_work()["errors"] == {"DRT_E_UNREACHABLE": 1}, n
    assert all(SESSION_S - 3 < took < SESSION_S + 5 for took in told.values()), told
    assert cluster.states() == ["alive"] * 4
    cluster.bed.heal()
    assert_all_is_back(cluster, 20)


def test_a_machine_falls_silent(cluster):
    """What began there begins elsewhere once the head says that it is lost, within 10 s."""
    cluster.up(resources=(3, 4))
    working = {**begin_local(cluster), **begin_roaming(cluster), **begin_once(cluster, 2)}
    held = cluster.root / "held"
    held.mkdir()
    hold = cluster[2].start(cluster.program("hold"), held, 3, "r", 1)  # on both

    def begun():
        return {path.name: path.stat().st_ino for path in held.glob("pid.*")}

    until("all run", lambda: len(begun()) == 3)

    def nodes_of_held():
        return sorted(task["node"] for task in cluster[2].ask("tasks", "--state", "running")
                      if task["name"] == "held")

    # The home hears of a start elsewhere a moment after it.
    until("all are shown as running", lambda: len(nodes_of_held()) == 3)
    where = nodes_of_held()
    assert set(where) == {"host3", "host4"}, where
    gone = 3 if where.count("host3") == 2 else 4  # the other has room for one more
    before, ran = set(executions(cluster.root / "log-1")), begun()
    start = time.monotonic()
    cluster.bed.cut(gone)
    until("it begins elsewhere", lambda: begun() != ran, 12)
    took = time.monotonic() - start
    assert 7 < took < 10, took
    assert cluster.node(f"host{gone}")["state"] == "lost"
    assert cluster.states().count("alive") == 3
    cluster.bed.heal()
    until("it ends", lambda: not cluster[gone].pids("drt-node"), 10)
    (held / "go").touch()
    assert hold.end(check=0)[1].count("done in attempt") == 3
    said = finish(cluster, working)
    assert_settled({key: said.pop(key) for key in list(said) if key[0] == gone},
                   "DRT_E_DISCONNECTED")
    once = {(2, "once"): said.pop((2, "once"))}
    assert_settled(once, "DRT_E_UNKNOWN")
    assert_right(said, longest_ms=16000)
    assert all(len(attempts) == 1 for attempts in executions(cluster.root / "once-2").values())
    assert set(executions(cluster.root / "log-1")) > before
    cluster[gone].join()
    assert [n["number"] for n in cluster.nodes() if n["state"] == "alive"][-1] == 5
    assert_all_is_back(cluster)
