"""What drt does beside looking: workers, summaries, cancelling; and what it says to a wrong line."""

import os
import re
import signal

import pytest
from conftest import until


def keeps(cluster):
    return cluster.start(cluster.program("keeps"), cluster.work / "go")


def running(cluster, count):
    return until(f"{count} run", lambda: (lambda rows: len(rows) == count and rows)(
        cluster.ask("tasks", "--state", "running")))


def test_workers_are_listed_with_their_pids(cluster, held):
    cluster.up()
    assert cluster.drt("workers").stdout.startswith("No such workers.")
    h = held(2)
    pids = {h.pid_of(0), h.pid_of(1)}
    rows = cluster.ask("workers", "--state", "running")
    assert {row["pid"] for row in rows} == pids
    tasks = {row["task"]: row["worker"] for row in cluster.ask("tasks", "--state", "running")}
    assert {row["task"]: row["worker"] for row in rows} == tasks
    assert {row["function"] for row in rows} == {"wait_for_go"}
    assert set(rows[0]) == {"worker", "node", "pid", "state", "job", "task", "function", "program",
                            "started", "tasks_done"}
    out = cluster.drt("workers", "--job", "last").stdout
    assert out.split()[:4] == ["WORKER", "NODE", "PID", "STATE"]
    assert all(str(pid) in out for pid in pids)
    assert len(cluster.ask("workers", "--limit", "1")) == 1
    h.let_go()
    h.end()


def test_a_summary_counts_and_times_functions(cluster, held):
    cluster.up()
    cluster.join("n2")
    assert cluster.drt("summary").stdout == "No task has ended yet.\n"
    h = held(4, "", 0, "spread")
    for i in range(4):
        h.pid_of(i)
    h.let_go()
    h.end()
    cluster.run(cluster.program("ends"), check=0)
    rows = until("both are counted", lambda: (
        lambda found: len(found) >= 2 and found)(
            {row["function"]: row for row in cluster.ask("summary")}))
    held_row = rows["wait_for_go"]
    assert (held_row["tasks_done"], held_row["tasks_failed"], held_row["runs"]) == (4, 0, 4)
    assert 0 < held_row["p50_s"] <= held_row["p99_s"] <= held_row["total_s"] * 1.2
    assert abs(held_row["mean_s"] * 4 - held_row["total_s"]) < 0.001
    tasks = cluster.ask("tasks", "--name", "wait_for_go")
    assert abs(sum(row["ran_s"] for row in tasks) - held_row["total_s"]) < 0.001
    longest = max(row["ran_s"] for row in tasks)
    assert 0.85 * longest < held_row["p99_s"] < 1.15 * longest
    assert rows["end"]["tasks_failed"] >= 4
    assert [row["function"] for row in cluster.ask("summary", "end")] == ["end"]
    out = cluster.drt("summary").stdout.splitlines()
    assert out[0].split() == ["FUNCTION", "DONE", "FAILED", "CANCELLED", "MEAN", "P50", "P99",
                              "TOTAL"]


@pytest.mark.parametrize("how", [[], ["--force"]])
def test_a_task_is_cancelled(cluster, held, how):
    cluster.up()
    h = held(3)
    pid = h.pid_of(0)
    h.pid_of(1)
    row = [r for r in cluster.ask("tasks") if r["worker"] and any(
        w["pid"] == pid and w["task"] == r["task"] for w in cluster.ask("workers"))][0]
    out = cluster.drt("cancel", row["task"], *how).stdout
    assert row["task"] in out and "is cancelled" in out
    h.pid_of(2)
    r = cluster.drt("cancel", row["task"], check=1)
    assert "already ended (cancelled)" in r.stderr
    h.let_go()
    out = h.end()
    assert out.count("done in attempt") == 2 and out.count("DRT_E_CANCELLED") == 1
    assert "drt cancel" in out
    assert "cancelled by" in cluster.ask("tasks", row["task"])[0]["reason"]


def test_a_job_is_cancelled_with_what_it_submits_later(cluster):
    cluster.up()
    child = keeps(cluster)
    running(cluster, 2)
    job = cluster.ask("jobs", "last")[0]["job"]
    out = cluster.drt("cancel", str(job)).stdout
    assert f"Job {job} " in out and "2 waiting and 2 running" in out and str(child.pid) in out
    out, _ = child.communicate(timeout=20)
    assert out.count("DRT_E_CANCELLED") == 5 and "later: DRT_E_CANCELLED" in out
    row = until("it ends", lambda: (lambda j: j["state"] != "running" and j)(
        cluster.ask("jobs", "last")[0]))
    assert row["state"] == "cancelled"
    assert (row["tasks_done"], row["tasks_failed"], row["tasks_cancelled"]) == (0, 0, 5)
    r = cluster.drt("cancel", str(job), check=1)
    assert "already ended (cancelled)" in r.stderr
    assert "no job 99" in cluster.drt("cancel", "99", check=1).stderr
    assert cluster.drt("cancel", "x", check=2).stderr.startswith("drt: ")


def test_a_job_on_another_node_is_cancelled_from_the_head(cluster):
    cluster.up()
    cluster.join("n2")
    child = cluster.start(cluster.program("keeps"), cluster.work / "go", DRT_NODE="n2")
    running(cluster, 4)
    assert cluster.ask("jobs", "last")[0]["node"] == "n2"
    cluster.drt("cancel", "last", "--force")
    out, _ = child.communicate(timeout=20)
    assert out.count("DRT_E_CANCELLED") == 5
    until("workers are gone", lambda: not cluster.ask("workers", "--state", "running"))


def test_only_keys_that_may_change_things_cancel(cluster):
    cluster.up()
    child = keeps(cluster)
    rows = running(cluster, 2)
    address = f"127.0.0.1:{cluster.port}"
    elsewhere = {"HOME": str(cluster.work / "elsewhere")}
    os.mkdir(elsewhere["HOME"])
    r = cluster.drt("cancel", rows[0]["task"], "--cluster", address, "--key-file",
                    cluster.dir / "reader.key", check=4, **elsewhere)
    assert "client.key" in r.stderr
    assert len(cluster.ask("tasks", "--state", "running")) == 2
    out = cluster.drt("cancel", "last", "--cluster", address, "--key-file",
                      cluster.dir / "client.key", **elsewhere).stdout
    assert "is cancelled" in out
    child.communicate(timeout=20)


def test_jobs_by_name(cluster, held):
    cluster.up()
    cluster.run(cluster.program("nest"), "1", check=0)
    cluster.run(cluster.program("say"), "x", check=0)
    names = [row["name"] for row in cluster.ask("jobs")]
    assert len(names) == 2 and len(set(names)) == 2
    assert [row["name"] for row in cluster.ask("jobs", names[1])] == [names[1]]
    assert names[0] not in cluster.drt("jobs", names[1]).stdout
    assert "nobody" in cluster.drt("jobs", "nobody", check=1).stderr


def test_words_that_are_looked_for_lead_to_what_exists(cluster):
    for word, use in (("top", "drt status --watch"), ("start", "drt-head start"),
                      ("join", "drt-node join HOST:PORT"), ("ps", "drt tasks"),
                      ("kill", "drt cancel")):
        r = cluster.drt(word, check=2)
        assert r.stderr.startswith(f'drt: unknown command "{word}".') and use in r.stderr
        assert "Did you mean" not in r.stderr
    r = cluster.run(cluster.path("drt-node"), "stop", check=2)
    assert "drt-node leave" in r.stderr and "drt stop" in r.stderr
    r = cluster.run(cluster.path("drt-head"), "join", check=2)
    assert "drt-node join HOST:PORT" in r.stderr
    r = cluster.drt("status", "foo", check=2)
    assert r.stderr == "drt: unexpected argument: foo. Usage: drt status [OPTIONS]\n"
    assert cluster.drt(check=2).stderr.startswith("drt: missing command.")
    assert "refresh every N seconds" in cluster.drt("help", "status").stdout


def test_watch_shows_the_time(cluster):
    cluster.up()
    child = cluster.start(cluster.path("drt"), "status", "--watch", "0.1")
    assert re.match(r"\d\d:\d\d:\d\d   every 100 ms", child.stdout.readline())
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=10)
