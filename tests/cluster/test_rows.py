"""What the rows of tasks, jobs and nodes say is true: when a task began and ended, and its end."""

import datetime
import re
import signal

import pytest
from conftest import until


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def rows_in(cluster, state, count, *argv):
    """The tasks of the newest job in that state, once there are so many."""
    return until(f"{count} tasks are {state}", lambda: (
        lambda rows: len(rows) == count and rows)(
            cluster.ask("tasks", "--job", "last", "--state", state, *argv)))


def check_times(row):
    assert row["waited_s"] >= 0
    whole_s = seconds(row["ended"]) - seconds(row["submitted"])
    assert row["ran_s"] > 0
    assert seconds(row["submitted"]) <= seconds(row["started"]) <= seconds(row["ended"])
    assert abs(row["waited_s"] + row["ran_s"] - whole_s) < 0.1


def test_a_row_says_when_it_was_submitted_began_and_ended(cluster, held):
    cluster.up()
    h = held(1)
    h.pid_of(0)
    row = rows_in(cluster, "running", 1)[0]
    assert row["name"] == "held" and row["function"] == "wait_for_go"
    assert row["started"] and row["ended"] is None and row["ran_s"] > 0
    h.let_go()
    assert h.end().count("done") == 1
    row = rows_in(cluster, "done", 1)[0]
    assert row["name"] == "held" and row["function"] == "wait_for_go"
    assert row["error"] is None and row["failed_in"] is None and row["worker"]
    check_times(row)
    assert len(cluster.ask("tasks", "--name", "held")) == 1
    assert len(cluster.ask("tasks", "--name", "wait_for_go")) == 1
    line = cluster.drt("tasks").stdout.splitlines()[1].split()
    assert line[1] == "held" and line[2] == "done"


def test_tasks_of_tasks_keep_their_depth(cluster):
    cluster.up()
    cluster.run(cluster.program("nest"), "4", check=0)
    depths = sorted(row["depth"] for row in rows_in(cluster, "done", 4))
    assert depths == list(range(depths[0], depths[0] + 4))
    times = sorted((row["depth"], row["ran_s"]) for row in cluster.ask("tasks"))
    assert [t for _, t in times] == sorted((t for _, t in times), reverse=True)


def test_rows_of_tasks_on_another_node(cluster, held):
    cluster.up()
    cluster.join("n2", cpus=1)
    h = held(2, "", 0, "node=n2")
    until("one runs", lambda: any((h.dir / f"pid.{i}").exists() for i in (0, 1)))
    running = rows_in(cluster, "running", 1)[0]
    assert running["node"] == "n2" and running["started"]
    assert rows_in(cluster, "waiting", 1)[0]["started"] is None
    h.let_go()
    assert h.end().count("done") == 2
    for row in rows_in(cluster, "done", 2):
        assert row["node"] == "n2" and row["worker"]
        check_times(row)


def test_ends_in_failure_are_timed_too(cluster):
    cluster.up()
    cluster.run(cluster.program("ends"), check=0)
    failed = until("counts arrive", lambda: (lambda rows: len(rows) >= 5 and rows)(
        cluster.ask("tasks", "--state", "failed")))
    for row in failed:
        assert row["failed_in"] == "end" and row["worker"]
        check_times(row)


@pytest.mark.parametrize("how", ["interrupt", "shutdown"])
def test_what_is_cut_off_is_cancelled_and_not_forgotten(cluster, held, how):
    cluster.up()
    if how == "interrupt":
        h = held(5)
        h.pid_of(0)
        h.pid_of(1)
        h.child.send_signal(signal.SIGINT)
        h.child.wait(20)
    else:
        cluster.run(cluster.program("leaves"), "5", check=0)
    rows = rows_in(cluster, "cancelled", 5)
    assert {row["error"] for row in rows} == {"DRT_E_CANCELLED"}
    assert all(row["reason"] == "its program has ended" for row in rows)
    if how == "interrupt":
        assert sum(row["started"] is not None for row in rows) == 2
        assert {row["name"] for row in rows} == {"held"}
    job = until("the job ends", lambda: (lambda j: j["state"] != "running" and j)(
        cluster.ask("jobs", "last")[0]))
    assert job["state"] == ("failed" if how == "interrupt" else "done")
    assert (job["tasks_done"], job["tasks_failed"], job["tasks_cancelled"]) == (0, 0, 5)
    status = cluster.ask("status")["tasks"]
    assert (status["failed"], status["cancelled"]) == (0, 5)
    assert "5 cancelled" in cluster.drt("status").stdout
    newest = cluster.ask("tasks", "last")[0]
    out = cluster.drt("explain", "last").stdout
    assert newest["job"] == job["job"]
    assert newest["task"] in out and "cancelled" in out and "its program has ended" in out


def test_waiting_is_one_word(cluster, held):
    cluster.up()
    h = held(4)
    h.pid_of(0)
    h.pid_of(1)
    assert len(rows_in(cluster, "waiting", 2)) == 2
    assert {row["state"] for row in cluster.ask("tasks")} == {"running", "waiting"}
    assert cluster.ask("status")["tasks"]["waiting"] == 2
    assert cluster.ask("jobs", "last")[0]["tasks_waiting"] == 2
    r = cluster.drt("tasks", "--state", "ready", check=2)
    assert "waiting" in r.stderr


def test_with_the_head_stopped_what_is_old_is_marked(cluster, held):
    cluster.up()
    cluster.join("n2")
    h = held(2, "", 0, "node=n2")
    h.pid_of(0)
    h.pid_of(1)
    until("n1 hears of it", lambda: [
        n for n in cluster.ask("nodes") if n["name"] == "n2" and n["tasks_running"] == 2])
    until("n1 was told", lambda: cluster.drt("nodes").stdout)
    cluster.run(cluster.path("drt-head"), "stop", check=0)
    h.let_go()
    assert h.end().count("done") == 2
    out = cluster.drt("status").stdout
    assert "head does not answer" in out
    assert re.search(r"n2 .* unknown .*\(as of .* ago: alive, \d tasks? running\)", out)
    assert re.search(r"TASKS   0 running   0 waiting   2 done   0 failed   "
                     r"\(without 1 node that could not be asked\)", out)
    rows = {row["name"]: row for row in cluster.ask("nodes")}
    assert not rows["n1"]["is_old"] and rows["n2"]["is_old"]
    assert seconds(rows["n2"]["heard"]) <= seconds(rows["n1"]["heard"])
    cluster.start_head()
    until("all is new again", lambda: not any(row["is_old"] for row in cluster.ask("nodes")))


def test_cpus_are_free_right_after_a_job(cluster):
    cluster.up()
    for _ in range(10):
        cluster.run(cluster.program("nest"), "2", check=0)
        for row in cluster.ask("nodes") + cluster.ask("status")["nodes"]:
            assert row["tasks_running"] == 0 and row["cpus_available"] == row["cpus_total"]


def test_memory_in_use_is_not_memory_that_is_asked_for(cluster, held):
    cluster.up()
    h = held(1, "memory", 64 << 20)
    h.pid_of(0)
    row = cluster.ask("nodes")[0]
    assert row["memory_total_bytes"] - row["memory_available_bytes"] == 64 << 20
    used = until("the node has looked", lambda: cluster.ask("nodes")[0]["memory_used_bytes"])
    assert 64 << 20 < used <= row["memory_total_bytes"]
    line = cluster.drt("status").stdout.splitlines()[3]
    assert "64 MiB" in line and "GiB" in line
    h.let_go()
    h.end()


def test_the_history_of_a_node_that_left_stays(cluster):
    cluster.up()
    cluster.join("n2")
    cluster.run(cluster.program("ends"), check=0, DRT_NODE="n2")
    before = {row["task"]: row for row in cluster.ask("tasks")}
    functions = cluster.ask("summary")
    assert len(before) >= 6 and all(t.startswith("2-") for t in before)
    newest = cluster.ask("tasks", "last")[0]["task"]
    cluster.run(cluster.path("drt-node"), "leave", "--name", "n2", check=0)
    until("it has left", lambda: any(n["name"] == "n2" and n["state"] == "left"
                                     for n in cluster.ask("nodes")))
    after = {row["task"]: row for row in cluster.ask("tasks")}
    assert after == before
    assert cluster.ask("tasks", "--node", "n2", "--state", "done") == [
        row for row in before.values() if row["state"] == "done"]
    assert cluster.ask("summary") == functions
    assert cluster.ask("tasks", "last")[0]["task"] == newest
    out = cluster.drt("explain", newest).stdout
    assert newest in out and "Its node n2 is gone: left." in out
