"""What goes wrong, on purpose: workers, the raylet, the head and drivers are killed."""

import os
import re
import signal

import pytest

from conftest import HOW_TASKS_END, children_of, find_free_port, is_alive, parent_of, until


def test_how_tasks_end(cluster):
    cluster.up()
    assert cluster.run(cluster.program("ends"), check=0).stdout.splitlines() == HOW_TASKS_END


def test_killed_workers_cost_an_attempt_only(cluster, held):
    cluster.up()
    h = held(2)
    pids = [h.pid_of(0), h.pid_of(1)]
    assert len(set(pids)) == 2
    h.forget(0)
    os.kill(pids[0], signal.SIGKILL)
    again = h.pid_of(0)
    assert again != pids[0] and is_alive(pids[1])
    h.let_go()
    assert h.end() == "0 done in attempt 2\n1 done in attempt 1\n"


def test_workers_killed_many_times(cluster, held):
    """Each attempt's worker is killed; after four the error tells the whole story."""
    cluster.up()
    h = held(1)
    for attempt in range(4):
        pid = h.pid_of(0)
        h.forget(0)
        os.kill(pid, signal.SIGKILL)
    out = h.end()
    assert out.startswith("0 DRT_E_CRASHED signal 9 exit 0 attempts 4: "), out
    assert h.child.returncode == 1


def test_workers_killed_under_load(cluster):
    """Whatever was in a dead worker's ring is run elsewhere, once for its result."""
    cluster.up(cpus=3)
    child = cluster.start(cluster.program("many"), 1000000)
    killed = set()
    while child.poll() is None and len(killed) < 30:
        for pid in cluster.worker_pids("many"):
            if pid not in killed and cluster.ask("status")["tasks"]["running"] > 0:
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
                except ProcessLookupError:
                    pass
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0 and out.startswith("right "), (out, err, cluster.logs())
    assert killed
    until("the job is done", lambda: cluster.ask("jobs", "last")[0]["state"] == "done")
    job = cluster.ask("jobs", "last")[0]
    assert job["tasks_done"] == 1000000 and job["tasks_failed"] == 0
    until("its resources are back", lambda: cluster.ask("nodes")[0]["cpus_available"] == 3)


def test_what_a_worker_started_ends_with_it(cluster):
    cluster.up()
    file = cluster.work / "pids"
    cluster.run(cluster.program("forks"), file, check=0)
    pids = [int(line) for line in until(
        "both say who they are", lambda: file.exists() and len(file.read_text().split()) == 2 and
        file.read_text().split())]
    until("they end with their worker", lambda: not any(is_alive(pid) for pid in pids))


def start_litter(cluster, kept, seconds):
    file = cluster.work / "litter"
    child = cluster.start(cluster.program("litters"), file, kept, seconds)
    until("its processes run", file.exists)
    return child, [int(line) for line in file.read_text().split()]


@pytest.mark.parametrize("end", ["kill", "kill the guard", "leave", "cancel"])
def test_no_process_hides_from_its_end(cluster, end):
    cluster.up()
    child, pids = start_litter(cluster, 50, 0)
    assert all(is_alive(pid) for pid in pids)
    node = cluster.node_pid()
    guard = parent_of(node)
    if end == "kill":
        os.kill(node, signal.SIGKILL)
    elif end == "kill the guard":
        os.kill(guard, signal.SIGKILL)
    elif end == "leave":
        os.kill(guard, signal.SIGTERM)  # who started the node in the foreground knows no other
    else:
        child.kill()
    until("they end", lambda: not any(is_alive(pid) for pid in pids), 10)
    child.kill()
    if end == "cancel":
        assert is_alive(node) and is_alive(guard)
    else:
        until("the node and its guard end", lambda: not is_alive(node) and not is_alive(guard), 10)


def test_many_orphans_beside_others(cluster):
    cluster.up()
    child, pids = start_litter(cluster, 300, 3)
    node = cluster.node_pid()
    for _ in range(20):
        assert "right" in cluster.run(cluster.program("many"), 2000, limit_s=20, check=0).stdout
    assert cluster.node_pid() == node
    assert cluster.ask("nodes", "n1")[0]["state"] == "alive"
    child.kill()
    until("they end", lambda: not any(is_alive(pid) for pid in pids), 20)
    until("and are reaped", lambda: children_of(node) == [], 20)


def test_the_raylet_is_killed(cluster, held):
    cluster.up()
    h = held(2)
    pids = [h.pid_of(0), h.pid_of(1)]
    node = cluster.node_pid()
    os.kill(node, signal.SIGKILL)
    out = h.end()
    assert out.count("DRT_E_DISCONNECTED") == 2, out
    assert h.child.returncode == 1
    until("its workers end", lambda: not any(is_alive(pid) for pid in pids), 5)
    until("the head notices", lambda: cluster.ask("nodes", "n1")[0]["state"] == "lost", 15)
    until("its job is lost", lambda: cluster.ask("jobs", "last")[0]["state"] in ("lost", "failed"))
    out = cluster.drt("status").stdout
    assert "1 lost" in out

    cluster.join("n1")
    alive = until("it is back", lambda: cluster.ask("nodes", "--state", "alive"))
    assert len(alive) == 1 and alive[0]["number"] == 2 and alive[0]["tasks_running"] == 0
    assert "right" in cluster.run(cluster.program("many"), 100, check=0).stdout


def test_a_head_that_stands_still_is_named(cluster):
    cluster.start_head()
    pid = cluster.head_pid()
    os.kill(pid, signal.SIGSTOP)
    alone = cluster.drt("status", check=1)
    assert f"process {pid}" in alone.stderr and "drt stop" in alone.stderr
    os.kill(pid, signal.SIGCONT)
    cluster.join("n1")
    os.kill(pid, signal.SIGSTOP)
    out = cluster.drt("status").stdout  # its raylet's
    assert f"Process {pid} is the head" in out and "drt stop" in out
    assert "drt-head start" not in out
    os.kill(pid, signal.SIGCONT)


def test_a_head_that_stands_still_is_not_taken_for_another_one(cluster, held):
    """The machine takes connections for it, and nobody says anything: nobody refused a key, and
    nobody is told to leave, which would end what runs."""
    cluster.up()
    h = held(1)
    runs = h.pid_of(0)
    pid = cluster.head_pid()
    os.kill(pid, signal.SIGSTOP)
    log = cluster.dir / "nodes" / "n1" / "node.log"
    joins = cluster.start(cluster.path("drt-node"), "join", f"127.0.0.1:{cluster.port}",
                          "--name", "n2", "--bind", "127.0.0.1", "--port", find_free_port())
    # 15 s of silence, and two handshakes of 5 s.
    until("its node tries anew", lambda: "cannot be reached" in log.read_text(), limit_s=60)
    program = cluster.start(cluster.program("many"), 10)
    out, err = joins.communicate(timeout=60)
    assert joins.returncode == 3 and "nothing answers there" in err, err
    out, err = program.communicate(timeout=60)
    assert "DRT_E_TIMEOUT" in err and "its head does not answer" in err
    for word in ("join.key", "leave", "refuses", "another program"):
        assert word not in err + log.read_text()
    assert is_alive(runs)
    os.kill(pid, signal.SIGCONT)
    until("programs are taken again",
          lambda: cluster.run(cluster.program("many"), 10).returncode == 0)
    h.let_go()
    assert h.end() == "0 done in attempt 1\n"


def test_the_head_is_killed_and_restarted(cluster, held):
    cluster.up()
    h = held(2)
    pids = [h.pid_of(0), h.pid_of(1)]
    job = cluster.ask("jobs", "last")[0]["job"]
    number = cluster.ask("nodes")[0]["number"]
    os.kill(cluster.head_pid(), signal.SIGKILL)

    until("a raylet answers", lambda: cluster.ask("status")["head"] is None)
    out = cluster.drt("status").stdout
    assert "head does not answer" in out and "drt-head start" in out
    h.let_go(0)
    until("tasks go on without a head", lambda: len(cluster.ask("tasks", "--state", "done")) == 1)

    cluster.start_head()
    until("the node is back", lambda: [n["state"] for n in cluster.ask("nodes")] == ["alive"])
    assert cluster.ask("nodes")[0]["number"] == number
    rows = cluster.ask("jobs")
    assert [(row["job"], row["state"]) for row in rows] == [(job, "running")]
    h.let_go()
    assert h.end() == "0 done in attempt 1\n1 done in attempt 1\n"
    until("the job is done", lambda: cluster.ask("jobs", "last")[0]["state"] == "done")
    assert "right" in cluster.run(cluster.program("many"), 100, check=0).stdout
    assert cluster.ask("jobs", "last")[0]["job"] > job


def test_without_a_head_new_jobs_wait_for_it(cluster):
    cluster.up()
    os.kill(cluster.head_pid(), signal.SIGKILL)
    until("the head is gone", lambda: cluster.ask("status")["head"] is None)
    child = cluster.start(cluster.program("many"), 100)
    cluster.start_head()
    out, err = child.communicate(timeout=30)
    assert child.returncode == 0 and out.startswith("right"), err


def test_the_head_is_killed_again_and_again(cluster, held):
    """Under a stream of jobs: each that was acknowledged is on disk, and running tasks go on."""
    kills = int(os.environ.get("DRT_TEST_KILLS", "4"))
    cluster.up(cpus=3)
    h = held(1)
    h.pid_of(0)
    acknowledged = set()
    running = {}
    for kill in range(kills):
        os.kill(cluster.head_pid(), signal.SIGKILL)
        for i in range(5):
            name = f"storm-{kill}-{i}"
            running[name] = cluster.start(cluster.program("many"), 2, name)
        cluster.start_head()
        for i in range(5, 10):
            name = f"storm-{kill}-{i}"
            running[name] = cluster.start(cluster.program("many"), 2, name)
        # Some have ended when the head is killed again, some have not.
        for name in list(running)[:6]:
            child = running.pop(name)
            out, err = child.communicate(timeout=30)
            assert child.returncode == 0, (name, out, err)
            acknowledged.add(name)
    for name, child in running.items():
        out, err = child.communicate(timeout=30)
        assert child.returncode == 0, (name, out, err)
        acknowledged.add(name)
    rows = cluster.ask("jobs", "--limit", "10000")
    names = [row["name"] for row in rows]
    assert acknowledged <= set(names)
    assert len(names) == len(set(names)) == len(acknowledged) + 1
    assert len({row["job"] for row in rows}) == len(rows)
    h.let_go()
    assert h.end() == "0 done in attempt 1\n"
    until("all jobs are done", lambda: {j["state"] for j in cluster.ask(
        "jobs", "--limit", "10000")} == {"done"})


def test_stop_in_the_middle_of_much_work(cluster):
    cluster.up()
    child = cluster.start(cluster.program("many"), 2000000)
    until("it runs", lambda: cluster.ask("status")["tasks"]["done"] > 1000)
    cluster.drt("stop")
    out, err = child.communicate(timeout=30)
    assert child.returncode == 1 and "DRT_E_DISCONNECTED" in err


def test_a_driver_is_killed(cluster, held):
    cluster.up()
    h = held(4)
    pids = [h.pid_of(0), h.pid_of(1)]
    h.child.kill()
    until("its workers end", lambda: not any(is_alive(pid) for pid in pids), 10)
    job = until("its job has failed", lambda: [j for j in cluster.ask("jobs")
                                               if j["state"] == "failed"])[0]
    assert job["ended"] is not None
    until("its resources are back", lambda: cluster.ask("nodes")[0]["cpus_available"] == 2)
    assert cluster.ask("tasks", "--state", "running") == []
    assert "right" in cluster.run(cluster.program("many"), 100, check=0).stdout


def test_two_drivers_have_jobs_and_workers_of_their_own(cluster, held):
    cluster.up(cpus=4)
    a, b = held(2), held(2)
    pids_a, pids_b = {a.pid_of(0), a.pid_of(1)}, {b.pid_of(0), b.pid_of(1)}
    assert not pids_a & pids_b
    jobs = cluster.ask("jobs", "--state", "running")
    assert len({job["job"] for job in jobs}) == 2
    for job in jobs:
        assert {t["job"] for t in cluster.ask("tasks", "--job", job["job"])} == {job["job"]}
        assert len(cluster.ask("tasks", "--job", job["job"])) == 2
    a.let_go()
    assert a.end().count("done in attempt 1") == 2
    assert all(is_alive(pid) for pid in pids_b)
    until("workers of the first end", lambda: not any(is_alive(pid) for pid in pids_a))
    b.let_go()
    assert b.end().count("done in attempt 1") == 2


def test_a_program_that_crashes_at_start(cluster):
    cluster.up()
    out = cluster.run(cluster.program("breaks"), check=0).stdout
    assert re.match(r"DRT_E_PROGRAM: .+", out), out
    assert "no database here" in out or "signal 6" in out, out


def test_nodes_of_one_machine(cluster):
    cluster.up()
    cluster.join("n2")
    nodes = {n["name"]: n["number"] for n in cluster.ask("nodes", "--state", "alive")}
    assert nodes == {"n1": 1, "n2": 2}
    cluster.run(cluster.program("many"), 10, "first", check=0)
    cluster.run(cluster.program("many"), 10, "second", DRT_NODE="n2", check=0)
    assert {j["name"]: j["node"] for j in cluster.ask("jobs")} == {"first": "n1", "second": "n2"}
    assert len(cluster.ask("tasks", "--node", "n2")) == 10
    assert len(cluster.ask("tasks", "--name", "square")) == 20
    assert cluster.ask("tasks", "last")[0]["node"] == "n2"
    until("both have told", lambda: cluster.ask("status")["tasks"]["done"] == 20)
    r = cluster.run(cluster.program("many"), 10, DRT_NODE="n3")
    assert r.returncode != 0 and "n1, n2" in r.stderr


def test_a_node_leaves(cluster):
    cluster.up()
    cluster.join("n2")
    r = cluster.run(cluster.path("drt-node"), "leave", "--name", "n2", check=0)
    assert "n2" in r.stdout
    until("it has left", lambda: [n["name"] for n in cluster.ask("nodes", "--state", "alive")] ==
          ["n1"])
    assert cluster.ask("nodes", "n2")[0]["state"] == "left"
    assert "n2" not in cluster.drt("status").stdout
