"""Each example says the same in a cluster, in a private one, and in sequence."""

import os

import pytest
from conftest import is_alive, until

EXAMPLES = {
    "pi": ["16", "10000"],
    "search": ["needle", "{files}"],
    "wordcount": ["{files}/d0/f0.txt", "{files}/d1/f1.txt", "{files}/d2/f2.txt"],
    "pipeline": [],
    "gather": [],
    "errors": [],
}


@pytest.fixture
def files(cluster):
    root = cluster.work / "files"
    for i in range(20):
        folder = root / f"d{i % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"line {j} of file {i} " + ("needle" if (i * j) % 7 == 3 else "hay")
                 for j in range(50)]
        (folder / f"f{i}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_all_modes_say_the_same(cluster, files, name):
    argv = [a.format(files=files) for a in EXAMPLES[name]]
    cluster.up()
    outputs = {mode: cluster.run(cluster.example(name), *argv, DRT_MODE=mode, check=0).stdout
               for mode in ("sync", "cluster", "local")}
    assert outputs["sync"]
    assert outputs["cluster"] == outputs["sync"]
    assert outputs["local"] == outputs["sync"]


def test_crashes_and_cancelling(cluster):
    """In sequence the program itself would crash."""
    cluster.up()
    outputs = {mode: cluster.run(cluster.example("errors"), "crash", DRT_MODE=mode, check=0).stdout
               for mode in ("cluster", "local")}
    assert "crashed with signal" in outputs["cluster"]
    assert outputs["local"] == outputs["cluster"]


def test_a_private_cluster_leaves_nothing(cluster):
    r = cluster.run(cluster.example("pi"), DRT_MODE="local", check=0)
    assert "pi is about 3.14" in r.stdout
    r = cluster.drt("status", check=3)
    assert [p for p in (cluster.home / ".drt").glob("local-*")] == []


def test_a_private_cluster_of_a_killed_program(cluster, held):
    h = held(1, DRT_MODE="local")
    pid = h.pid_of(0)
    mine = list((cluster.home / ".drt").glob("local-*"))
    assert len(mine) == 1
    assert os.stat(mine[0]).st_mode & 0o777 == 0o700
    cluster.drt("status", check=3)
    assert cluster.drt("status", "--dir", mine[0]).stdout.count("alive") == 1
    h.child.kill()
    h.child.wait(10)
    until("its daemons and workers end",
          lambda: not is_alive(pid) and not cluster.pids("drt-head") + cluster.pids("drt-node"))
    cluster.run(cluster.example("pi"), DRT_MODE="local", check=0)
    assert list((cluster.home / ".drt").glob("local-*")) == []


def test_two_private_clusters_at_once(cluster, held):
    a, b = held(1, DRT_MODE="local"), held(1, DRT_MODE="local")
    assert a.pid_of(0) != b.pid_of(0)
    assert len(list((cluster.home / ".drt").glob("local-*"))) == 2
    a.let_go()
    assert a.end() == "(wait_for_go) task 0 waits\n0 done in attempt 1\n"
    assert len(list((cluster.home / ".drt").glob("local-*"))) == 1
    b.let_go()
    assert b.end() == "(wait_for_go) task 0 waits\n0 done in attempt 1\n"


def test_without_a_cluster_programs_run_alone(cluster):
    del cluster.env["DRT_MODE"]
    r = cluster.run(cluster.example("pi"), check=0)
    assert "pi is about 3.14" in r.stdout and r.stderr == ""
    r = cluster.run_on_terminal(str(cluster.example("pi")), check=0)
    assert r.stdout.count("drt: no cluster here; running on this machine alone (") == 1


def test_without_a_mode_programs_find_the_cluster(cluster):
    cluster.up()
    del cluster.env["DRT_MODE"]
    cluster.run(cluster.example("pi"), check=0)
    assert cluster.ask("jobs", "last")[0]["name"] == "pi"


def test_cluster_mode_needs_one(cluster):
    r = cluster.run(cluster.example("pi"), DRT_MODE="cluster")
    assert r.returncode != 0
    assert "drt-head start" in r.stderr or "drt-node join" in r.stderr
