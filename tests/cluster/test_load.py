"""Much, large, deep and impossible work."""

import re

from conftest import until


def test_a_hundred_thousand_tasks(cluster):
    cluster.up()
    out = cluster.run(cluster.program("many"), 100000, check=0).stdout
    assert out.startswith("right ")
    job = until("the job is done", lambda: [j for j in cluster.ask("jobs", "last")
                                            if j["state"] == "done"])[0]
    assert job["tasks_done"] == 100000 and job["tasks_failed"] == 0


def test_a_hundred_nested_levels(cluster):
    cluster.up()
    assert cluster.run(cluster.program("nest"), 100, check=0).stdout == "depth 100\n"
    until("all have ended", lambda: cluster.ask("nodes")[0]["tasks_running"] == 0)
    assert cluster.ask("nodes")[0]["cpus_available"] == 2


def test_values_that_are_too_large(cluster):
    cluster.up()
    out = cluster.run(cluster.program("limits"), "large", check=0).stdout.splitlines()
    codes = dict(re.match(r"(\w+): (\w+)", line).groups() for line in out)
    assert codes == {"fits": "DRT_OK", "argument": "DRT_E_TOO_LARGE", "object": "DRT_E_TOO_LARGE",
                     "result": "DRT_E_TOO_LARGE", "after": "DRT_OK"}
    for line in out:
        assert "DRT_OK" in line or re.search(r"TOO_LARGE .*1048576", line), line


def test_a_full_queue(cluster):
    cluster.start_head()
    cluster.join("n1", "--memory", "256M")
    out = cluster.run(cluster.program("limits"), "full", check=0).stdout
    found = re.search(r"full after (\d+) MiB: DRT_E_FULL .+\nagain: DRT_OK", out)
    assert found, out
    assert 8 <= int(found.group(1)) <= 256


def test_submit_waits_while_the_queue_is_full(cluster):
    cluster.start_head()
    cluster.join("n1", "--memory", "256M")
    out = cluster.run(cluster.program("limits"), "flood", check=0).stdout
    assert out == "500 MiB\n"
    with open(f"/proc/{cluster.node_pid()}/status") as f:
        peak_kib = next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))
    assert peak_kib < 160 * 1024, f"{peak_kib} KiB, with 64 MiB of credit"


def test_what_no_node_has(cluster):
    cluster.up()
    out = cluster.run(cluster.program("limits"), "impossible", check=0).stdout.splitlines()
    assert re.match(r"resource: DRT_E_IMPOSSIBLE .*unicorn", out[0]), out
    assert re.match(r"cpus: DRT_E_IMPOSSIBLE .*CPU", out[1]), out
