"""Programs over three nodes: the same answers as in sequence, also when a node dies in the middle."""

import os
import signal

import pytest
from conftest import until


@pytest.fixture
def three(cluster):
    cluster.start_head()
    for i in (1, 2, 3):
        cluster.join(f"n{i}")
    until("the first knows the others", lambda: spread_of(cluster, 3) == [1, 1, 1])
    return cluster


def spread_of(cluster, count):
    found = cluster.ask("distribute", "test", "-s", "spread", "-n", count, "-t", "0ms")
    return [n["tasks"] for n in found["nodes"]]


@pytest.fixture
def files(cluster):
    root = cluster.work / "files"
    root.mkdir()
    words = [f"{a}{b}{c}" for a in "kmprst" for b in "aeiou" for c in ("ng", "rk", "st")]
    for i in range(60):
        (root / f"f{i}.txt").write_text(
            "\n".join(" ".join(words[(i * j + k * k) % len(words)] for k in range(12))
                      for j in range(200)) + "\n")
    return root


def test_evenly(three):
    assert spread_of(three, 300) == [100, 100, 100]
    found = three.ask("distribute", "test", "-s", "node_specific", "--node", "n3", "-n", 7)
    assert [n["tasks"] for n in found["nodes"]] == [0, 0, 7]
    r = three.drt("distribute", "test", "-s", "node_specific", "--node", "n9", "-n", 2, check=1)
    assert "No node satisfies" in r.stdout and "n9" in r.stdout


def test_what_waits_for_its_node_says_so(three, held):
    h = held(12, "spread")
    until("two run on each", lambda: [n["tasks_running"] for n in three.ask("nodes")] == [2, 2, 2])
    out = three.drt("status").stdout
    assert "TASKS   6 running   6 waiting" in out
    assert "4  x wait_for_go  waiting: their nodes are being asked for free slots\n" in out
    assert "2  x wait_for_go  waiting: CPU: 1 requested, 0 of 2 free\n" in out
    os.kill(three.node_pid("n3"), signal.SIGKILL)
    until("it is lost", lambda: three.ask("nodes", "n3")[0]["state"] == "lost")
    assert "TASKS   4 running   8 waiting" in three.drt("status").stdout
    h.let_go()
    h.end()


@pytest.mark.parametrize("nodes", [["n2"], ["n1", "n3"], ["n3", "n1", "n2"]])
def test_bodies_that_wait_for_each_other_in_a_circle(cluster, nodes):
    cluster.start_head()
    for i in (1, 2, 3):
        cluster.join(f"n{i}", "--resources", '{"disk": 1}')
    until("all know each other", lambda: len(cluster.ask("nodes")) == 3)
    lines = cluster.run(
        cluster.program("circle"), cluster.work, *nodes, check=0).stdout.splitlines()
    failed = [line for line in lines if line != "right"]
    assert len(lines) == len(nodes) and len(failed) == 1, lines
    assert failed[0].startswith("DRT_E_CYCLE: ")
    assert all(f"(keeps_disk) on node {node}" in failed[0] for node in nodes), failed


def test_labels(cluster):
    cluster.up()
    cluster.join("n2", "--labels", "disk=ssd,zone=b")
    wish = ("distribute", "test", "-s", "node_specific", "-n", 4, "--labels")
    until("n1 knows n2", lambda: [n["tasks"] for n in cluster.ask(*wish, "disk=ssd,zone=b")["nodes"]
                                  ] == [0, 4])
    cluster.drt(*wish, "disk=hdd", check=1)
    assert sum(n["tasks"] for n in cluster.ask(*wish, "disk=hdd", "--soft")["nodes"]) == 4


@pytest.mark.parametrize("name", ["search", "wordcount"])
def test_the_same_everywhere(three, files, name):
    args = {"search": ["--spread", "king", files],
            "wordcount": ["--spread", *sorted(files.iterdir())]}[name]
    plain = three.run(three.example(name), *args, DRT_MODE="sync", check=0).stdout
    assert three.run(three.example(name), *args, check=0).stdout == plain
    for other in ("pipeline", "gather", "pi"):
        assert (three.run(three.example(other), check=0).stdout ==
                three.run(three.example(other), DRT_MODE="sync", check=0).stdout)


def test_one_is_killed(three, files):
    texts = sorted(files.iterdir()) * 30
    plain = three.run(three.example("wordcount"), *texts, DRT_MODE="sync", check=0).stdout
    driver = three.start(three.example("wordcount"), "--spread", *texts)
    until("n3 works for it", lambda: three.ask("nodes", "n3")[0]["workers"] > 0)
    os.kill(three.node_pid("n3"), signal.SIGKILL)
    out, err = driver.communicate(timeout=60)
    assert out == plain, err
    until("it is seen to be lost", lambda: [n["state"] for n in three.ask("nodes")
                                            if n["name"] == "n3"] == ["lost"])


def test_references_inside_values(three):
    r = three.run(three.program("boxes"), "n3", "n2", "n1", "n2", check=0)
    chain = "(box 4:n2)(box 3:n1)(box 2:n2)(box 1:n3)"
    assert r.stdout.splitlines() == [f"{n}{chain}" for n in ("n3", "n2", "n1", "n2", "here")] + [
        f"{2 * i} {2 * i + 1}" for i in (1, 2, 3, 4)]


def test_from_without(three, files):
    home = three.root / "elsewhere"
    (home / ".drt").mkdir(parents=True)
    args = [three.example("wordcount"), "--spread", *sorted(files.iterdir())]
    plain = three.run(*args, DRT_MODE="sync", check=0).stdout
    r = three.run(*args, check=0, HOME=str(home), DRT_CLUSTER=f"127.0.0.1:{three.port}",
                  DRT_KEY_FILE=str(three.dir / "join.key"))
    assert r.stdout == plain


def test_lines_of_tasks_come_to_the_driver(cluster):
    cluster.up()
    r = cluster.run(cluster.program("say"), "hello there", check=0, DRT_LOGS="1")
    assert r.stdout == "(n1 say) out: hello there\n" and r.stderr == "(n1 say) err: hello there\n"
    r = cluster.run(cluster.program("say"), "hello there", check=0)
    assert r.stderr == ""


def test_what_waits_is_counted_where_it_will_run(cluster, held):
    cluster.up(cpus=1)
    cluster.join("n2", cpus=1)
    h = held(6, "spread")
    pids = [h.pid_of(0), h.pid_of(1)]
    assert len(set(pids)) == 2
    until("both have two that wait",
          lambda: {n["name"]: (n["running"], n["waiting"])
                   for n in cluster.ask("distribute", "status")["nodes"]} ==
          {"n1": (1, 2), "n2": (1, 2)})
    assert cluster.ask("status")["tasks"]["waiting"] == 4
    # The head hears once a second what could run at a node: the others are not the home's load.
    until("the nodes say so", lambda: [n["tasks_waiting"] for n in cluster.ask("nodes")] == [2, 0] and
          [n["tasks_running"] for n in cluster.ask("nodes")] == [1, 1])
    h.let_go()
    h.end()
