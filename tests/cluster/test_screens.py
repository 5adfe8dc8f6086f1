"""What people see: screens, JSON, exit codes."""

import json
import os
import pwd
import re
import signal

import pytest
from conftest import until

NODE = {"number": int, "name": str, "host": str, "address": str, "state": str, "since": str,
        "for_s": float, "note": str, "labels": str, "pid": int, "cpus_total": (int, float),
        "cpus_available": (int, float), "memory_total_bytes": int, "memory_available_bytes": int,
        "resources": dict, "tasks_waiting": int, "tasks_running": int, "tasks_done": int,
        "tasks_failed": int, "tasks_cancelled": int, "workers": int, "workers_idle": int,
        "memory_used_bytes": (int, type(None)), "heard": str, "is_old": bool}
JOB = {"job": int, "name": str, "state": str, "node": str, "program": str, "user": str, "pid": int,
       "started": str, "ended": (str, type(None)), "took_s": float, "tasks_waiting": int,
       "tasks_running": int, "tasks_done": int, "tasks_failed": int, "tasks_cancelled": int}
TASK = {"task": str, "function": str, "name": str, "state": str, "reason": str, "node": str,
        "job": int, "worker": (int, type(None)), "attempt": int, "max_attempts": int,
        "depth": int, "priority": int, "submitted": str, "started": (str, type(None)),
        "ended": (str, type(None)), "waited_s": (float, type(None)),
        "ran_s": (float, type(None)), "failed_in": (str, type(None)),
        "error": (str, type(None))}
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def check_row(row, schema):
    assert set(row) == set(schema)
    for key, kind in schema.items():
        assert isinstance(row[key], kind), (key, row[key])


def test_without_a_cluster(cluster):
    for verb in (["status"], ["nodes"], ["tasks"], ["jobs"], ["explain", "last"], ["logs"],
                 ["stop"]):
        r = cluster.drt(*verb, check=3)
        assert r.stdout == ""
        assert r.stderr == ("drt: no cluster found on this machine (looked in ~/.drt). Start one "
                            "with 'drt-head start', or name one with --cluster or DRT_CLUSTER.\n")
    r = cluster.drt("status", "--dir", cluster.work, check=3)
    assert str(cluster.work) in r.stderr and "drt-head start" in r.stderr


def test_usage(cluster):
    r = cluster.drt("statsu", check=2)
    assert 'Did you mean "status"?' in r.stderr
    r = cluster.drt("tasks", "--sate", "running", check=2)
    assert "--state" in r.stderr
    assert cluster.drt(check=2).stderr
    assert cluster.drt("explain", check=2).stderr
    assert cluster.drt("tasks", "x", check=2).stderr.startswith("drt: ")
    assert cluster.drt("tasks", "--job", "x", check=2).stderr.startswith("drt: ")
    for verb, word in (("tasks", "cancelled"), ("jobs", "lost"), ("nodes", "suspect")):
        assert word in cluster.drt(verb, "--state", "bogus", check=2).stderr
    for option in ("--dir", "--cluster"):
        assert cluster.drt("status", option, "", check=2).stderr.startswith("drt: ")
    assert cluster.drt("completion", "fish", check=2).stderr.startswith("drt: ")
    assert re.fullmatch(r"drt \d+\.\d+\.\d+\n", cluster.drt("--version").stdout)
    for verb in ("status", "nodes", "tasks", "jobs", "workers", "summary", "logs", "explain",
                 "cancel", "stop", "completion"):
        text = cluster.drt("help", verb).stdout
        assert text == cluster.drt(verb, "--help").stdout
        assert text.count(f"drt {verb}") >= 2 or verb == "completion"
        assert verb in cluster.drt("--help").stdout
    for shell in ("bash", "zsh"):
        script = cluster.drt("completion", shell).stdout
        assert "explain" in script and "--follow" in script
    script = cluster.work / "completion.bash"
    script.write_text(cluster.drt("completion", "bash").stdout)
    cluster.run("bash", "-n", script, check=0)


def test_daemons_usage(cluster):
    for program in ("drt-head", "drt-node"):
        r = cluster.run(cluster.path(program), "strat", check=2)
        assert r.stderr.startswith(f"{program}: ")
        begin = "start" if program == "drt-head" else "join"
        for option in ("--dir", "--cluster"):
            r = cluster.run(cluster.path(program), begin, option, "", check=2)
            assert r.stderr.startswith(f"{program}: ")
        cluster.run(cluster.path(program), "--help", check=0)
        assert cluster.run(cluster.path(program), "--version", check=0).stdout


def test_daemons_say_when_they_may_open_too_few_files(cluster):
    few = ["bash", "-c", 'ulimit -n 16; exec "$0" "$@"']
    r = cluster.run(*few, cluster.path("drt-head"), "start", check=1)
    assert "open files" in r.stderr and "ulimit -n" in r.stderr
    cluster.start_head()
    r = cluster.run(*few, cluster.path("drt-node"), "join", f"127.0.0.1:{cluster.port}", check=1)
    assert "open files" in r.stderr and "ulimit -n" in r.stderr


@pytest.mark.parametrize("address", ["junk", "192.0.2.1"])
def test_bind_takes_addresses_of_this_machine(cluster, address):
    r = cluster.run(cluster.path("drt-head"), "start", "--bind", address, check=2)
    assert address in r.stderr and "not an address" in r.stderr and "--bind" in r.stderr
    cluster.start_head()
    r = cluster.run(cluster.path("drt-node"), "join", f"127.0.0.1:{cluster.port}", "--bind",
                    address, check=2)
    assert address in r.stderr and "not an address" in r.stderr and "--bind" in r.stderr


def test_start_and_join_say_the_next_step(cluster):
    out = cluster.start_head().stdout
    assert 'Cluster "default" is up.' in out
    assert f":{cluster.port}" in out
    for line in ("Head", "Directory", "Add this machine", "Add another machine", "Look", "Stop"):
        assert line in out
    assert "drt status" in out and "drt stop" in out
    out = cluster.join("n1", "--resources", '{"disk": 2}').stdout
    assert re.search(r'Node "n1" joined "default" as number 1: 2 CPUs, [\d.]+ GiB memory', out)
    assert (os.stat(cluster.dir).st_mode & 0o777) == 0o700
    for name in ("head.key", "join.key", "client.key"):
        assert (os.stat(cluster.dir / name).st_mode & 0o777) == 0o600


def test_an_empty_cluster(cluster):
    cluster.start_head()
    out = cluster.drt("status").stdout
    assert re.match(rf"default   head 127.0.0.1:{cluster.port}   up .*   0 nodes\n", out)
    assert f"drt-node join 127.0.0.1:{cluster.port}" in out
    assert cluster.ask("nodes") == []
    assert cluster.ask("jobs") == []
    cluster.drt("explain", "last", check=1)


def test_an_idle_cluster(cluster):
    cluster.up()
    out = cluster.drt("status").stdout.splitlines()
    assert out[0].startswith(f"default   head 127.0.0.1:{cluster.port}   up ")
    assert out[0].endswith("1 node")
    assert out[2].split() == ["NODE", "ADDRESS", "STATE", "FOR", "CPU", "MEMORY", "USED",
                              "RESERVED"]
    assert out[3].split()[0] == "n1" and out[3].split()[2] == "alive"
    assert "0.0/2" in out[3] and "GiB" in out[3]
    assert out[5].startswith("TASKS   none yet")
    status = cluster.ask("status")
    assert set(status) == {"cluster", "head", "nodes", "tasks", "classes", "failed"}
    assert status["cluster"] == "default"
    assert set(status["head"]) == {"address", "pid", "started", "uptime_s"}
    assert RFC3339.fullmatch(status["head"]["started"])
    check_row(status["nodes"][0], NODE)
    assert status["nodes"][0]["cpus_total"] == 2
    os.kill(status["head"]["pid"], 0)
    os.kill(status["nodes"][0]["pid"], 0)


def test_running_and_waiting_tasks(cluster, held):
    cluster.start_head()
    cluster.join("n1", "--resources", '{"disk": 1}')
    h = held(3, "disk", 1)
    h.pid_of(0)
    until("counts arrive", lambda: cluster.ask("status")["tasks"]["waiting"] == 2)

    out = cluster.drt("status").stdout
    assert re.search(r"TASKS   1 running   2 waiting   0 done   0 failed", out)
    assert re.search(r"2  x wait_for_go\s+waiting: .*disk", out)

    out = cluster.drt("tasks").stdout.splitlines()
    assert out[0].split() == ["TASK", "NAME", "STATE", "NODE", "JOB", "WORKER", "ATTEMPT",
                              "SUBMITTED", "WAITED", "RAN", "REASON"]
    assert len(out) == 4
    tasks = cluster.ask("tasks")
    for task in tasks:
        check_row(task, TASK)
        assert task["function"] == "wait_for_go" and task["name"] == "held"
        assert RFC3339.fullmatch(task["submitted"])
    assert len(cluster.ask("tasks", "--state", "running")) == 1
    assert len(cluster.ask("tasks", "--limit", "2")) == 2
    assert len(cluster.ask("tasks", "--name", "held")) == 3
    assert cluster.ask("tasks", "--name", "nobody") == []
    assert len(cluster.ask("tasks", "--node", "n1", "--job", "last")) >= 1
    cluster.drt("tasks", "--job", "99", check=1)
    newest = cluster.ask("tasks", "last")
    assert len(newest) == 1 and newest[0]["task"] == tasks[0]["task"]

    waiting = cluster.ask("tasks", "--state", "waiting")
    assert len(waiting) == 2
    out = cluster.drt("explain", waiting[0]["task"]).stdout
    assert out.startswith(f'Task {waiting[0]["task"]} ')
    assert "disk" in out and "n1" in out
    explained = cluster.ask("explain", waiting[0]["task"])
    assert explained["task"] == waiting[0]["task"] and explained["lines"]

    jobs = cluster.ask("jobs")
    assert len(jobs) == 1
    check_row(jobs[0], JOB)
    assert jobs[0]["state"] == "running" and jobs[0]["node"] == "n1"
    assert jobs[0]["pid"] == h.child.pid
    assert jobs[0]["user"] == pwd.getpwuid(os.geteuid()).pw_name
    assert (jobs[0]["tasks_running"], jobs[0]["tasks_waiting"]) == (1, 2)
    out = cluster.drt("jobs").stdout.splitlines()
    assert out[0].split() == ["JOB", "NAME", "STATE", "NODE", "USER", "PID", "STARTED", "TOOK",
                              "RUNNING", "WAITING", "DONE", "FAILED", "CANCELLED"]

    node = cluster.ask("nodes", "n1")[0]
    check_row(node, NODE)
    until("resources arrive", lambda: cluster.ask("nodes")[0]["resources"]["disk"] ==
          {"total": 1, "available": 0})
    assert cluster.ask("nodes", "--state", "lost") == []
    out = cluster.drt("nodes").stdout.splitlines()
    assert out[0].split() == ["NUMBER", "NODE", "ADDRESS", "STATE", "FOR", "CPU", "MEMORY",
                              "USED", "RESERVED", "RUNNING", "WAITING", "DONE", "FAILED", "CANCELLED", "WORKERS",
                              "ALSO"]
    assert "disk 1/1" in out[1]

    h.let_go()
    assert h.end().count("done in attempt 1") == 3
    until("the job ends", lambda: cluster.ask("jobs", "last")[0]["state"] == "done")
    job = cluster.ask("jobs", "last")[0]
    assert job["tasks_done"] == 3 and RFC3339.fullmatch(job["ended"])


def test_failed_tasks_are_shown(cluster):
    cluster.up()
    cluster.run(cluster.program("ends"), check=0)
    until("counts arrive", lambda: cluster.ask("status")["tasks"]["failed"] >= 4)
    out = cluster.drt("status").stdout
    assert "FAILED in the last hour" in out
    failed = cluster.ask("tasks", "--state", "failed")
    assert {t["error"] for t in failed} >= {"DRT_E_CRASHED", "DRT_E_EXITED", "DRT_E_FAILED"}
    assert f"drt logs --task {failed[0]['task']}" in out
    crashed = [t for t in failed if t["error"] == "DRT_E_CRASHED"]
    assert any(t["reason"] == "crashed with signal 11, attempt 2 of 2" for t in crashed)
    assert all(t["worker"] for t in failed)
    cluster.drt("logs", "--task", crashed[0]["task"])
    out = cluster.drt("explain", crashed[0]["task"]).stdout
    assert "crashed with signal" in out and f"drt logs --task {crashed[0]['task']}" in out


def test_logs(cluster):
    cluster.up()
    cluster.run(cluster.program("say"), "hello", "world", check=0)
    out = cluster.drt("logs", "last").stdout
    assert "out: hello\n" in out and "out: world\n" in out and "err: world\n" in out
    out = cluster.drt("logs", "--job", "last", "--stream", "out").stdout
    assert "out: hello\n" in out and "err:" not in out
    task = cluster.ask("tasks", "last")[0]
    out = cluster.drt("logs", "--task", task["task"]).stdout
    assert "out: world\n" in out
    assert "err: hello\n" in cluster.drt("logs", "--worker", task["worker"]).stdout
    rows = cluster.ask("logs", "--job", "last")
    assert {row["stream"] for row in rows} == {"stdout", "stderr"}
    assert any("out: hello\n" in row["text"] for row in rows)
    cluster.drt("logs", "--task", "9-9.9", check=1)
    cluster.drt("logs", "--task", "x", check=2)


def test_logs_follow(cluster, held):
    cluster.up()
    h = held(1)
    h.pid_of(0)
    follower = cluster.start(cluster.path("drt"), "logs", "--job", "last", "-f")
    assert "task 0 waits" in follower.stdout.readline()
    h.let_go()
    assert h.end().count("done") == 1
    follower.wait(30)
    assert follower.returncode == 0


def test_long_logs_keep_their_end(cluster):
    cluster.up()
    lines = int(cluster.run(cluster.program("chatter"), 40, check=0).stdout)
    assert lines == 40 * 16384
    out = cluster.drt("logs", "last").stdout.splitlines()
    assert int(out[-1]) == lines - 1
    assert 16 * 16384 <= len(out) <= 32 * 16384
    assert [int(line) for line in out[1:]] == list(range(lines - len(out) + 1, lines))
    files = list((cluster.dir / "nodes" / "n1" / "logs").iterdir())
    assert sum(f.stat().st_size for f in files) <= 33 << 20


def test_a_job_that_is_none(cluster):
    cluster.up()
    r = cluster.drt("tasks", "--job", "999", check=1)
    assert "no job 999" in r.stderr and not r.stdout


def test_watch_goes_on(cluster):
    cluster.up()
    child = cluster.start(cluster.path("drt"), "status", "--watch", "0.1")
    seen = 0
    while seen < 3:
        line = child.stdout.readline()
        assert line, child.stderr.read()
        seen += line.startswith("default   head ")
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=10)


def test_a_terminal_gets_bars_and_colours(cluster):
    cluster.up()
    r = cluster.run_on_terminal(f"{cluster.path('drt')} status",
                    TERM="xterm", check=0)
    assert "\033[32malive" in r.stdout
    assert "\u2591" in r.stdout
    r = cluster.run_on_terminal(f"{cluster.path('drt')} status",
                    TERM="xterm", NO_COLOR="1", LC_ALL="C", check=0)
    assert "\033[" not in r.stdout and "--------" in r.stdout


def test_stop_says_what_it_did(cluster, held):
    cluster.up()
    cluster.join("n2")
    h = held(2)
    h.pid_of(0)
    status = cluster.ask("status")
    out = cluster.drt("stop").stdout
    for node in status["nodes"]:
        assert f'Node "{node["name"]}" stopped (process {node["pid"]}).' in out
    assert f'The head stopped (process {status["head"]["pid"]}).' in out
    assert "drt-head start" in out
    assert h.child.wait(20) != 0
    until("workers end", lambda: not cluster.worker_pids("hold"))
    cluster.drt("stop", check=3)
    cluster.drt("status", check=3)
    cluster.start_head()
    cluster.join()
    assert cluster.ask("status")["nodes"]


def test_stop_kills_what_hangs(cluster):
    cluster.up()
    pid = cluster.node_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        out = cluster.drt("stop").stdout
    finally:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass
    assert f'Node "n1" was killed (process {pid}).' in out


def test_two_clusters_must_be_named(cluster):
    cluster.start_head()
    other = cluster.run(cluster.path("drt-head"), "start", "--cluster", "test", "--bind",
                        "127.0.0.1", check=0)
    assert 'Cluster "test" is up.' in other.stdout
    r = cluster.drt("status", check=2)
    assert "default, test" in r.stderr
    assert cluster.drt("status", "--cluster", "test").stdout.startswith("test ")
    assert cluster.drt("status", DRT_CLUSTER="default").stdout.startswith("default ")
    assert json.loads(cluster.drt("status", "--json", "--dir", cluster.dir).stdout)


@pytest.mark.parametrize("mode", [0o755, 0o644])
def test_a_directory_that_others_can_read_is_refused(cluster, mode):
    cluster.start_head()
    cluster.drt("stop")
    (cluster.dir / "head.key").chmod(mode)
    r = cluster.start_head(check=4)
    assert "head.key can be read by others" in r.stderr and "chmod 600" in r.stderr
