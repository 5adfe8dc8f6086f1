"""drt distribute: real tasks, whose program is drt itself."""

import signal

from conftest import until


def test_of_one_node(cluster):
    cluster.up()
    r = cluster.drt("distribute", "test", "--tasks", 20, "--duration", "1ms")
    assert r.stdout.startswith("20 tasks of 1 ms, default   from n1   ")
    assert "n1       20  100.0 %" in r.stdout
    found = cluster.ask("distribute", "test", "-n", 3, "--strategy", "node_specific", "--node", "n1")
    assert found["tasks"] == 3 and found["failed"] == 0 and found["tasks_per_s"] > 0
    assert [(n["name"], n["tasks"]) for n in found["nodes"]] == [("n1", 3)]
    until("the jobs are done", lambda: [(j["name"], j["state"]) for j in cluster.ask("jobs")] ==
          [("distribute test", "done")] * 2)


def test_what_cannot_be(cluster):
    r = cluster.drt("distribute", "test", check=3)
    assert "no cluster" in r.stderr
    assert "Give one of" in cluster.drt("distribute", "test", "-s", "best", check=2).stderr
    assert "node_specific" in cluster.drt("distribute", "test", "--node", "a", check=2).stderr
    assert "needs a node" in cluster.drt("distribute", "test", "-s", "node_specific",
                                           check=2).stderr
    assert "1 to 1000000" in cluster.drt("distribute", "test", "-n", 0, check=2).stderr
    assert "distribute status" in cluster.drt("distribute", "test it", check=2).stderr


def test_status_and_interrupt(cluster, held):
    cluster.up()
    h = held(3)
    h.pid_of(0)
    until("all are counted", lambda: cluster.ask("distribute", "status")["nodes"] == [
        {"name": "n1", "state": "alive", "running": 2, "waiting": 1}])
    nobody = cluster.drt("distribute", "status", "--node", "nope", check=1)
    assert nobody.stdout == "" and nobody.stderr == cluster.drt("nodes", "nope", check=1).stderr
    h.let_go()
    h.end()
    test = cluster.start(cluster.path("drt"), "distribute", "test", "-n", 4, "-t", "1h")
    until("it runs", lambda: cluster.ask("distribute", "status")["nodes"][0]["running"] == 2)
    test.send_signal(signal.SIGINT)
    test.wait()
    until("what ran is stopped",
          lambda: cluster.ask("distribute", "status")["nodes"][0]["running"] == 0)
