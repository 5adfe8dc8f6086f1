"""Programs on a machine without a raylet: a private one joins the cluster for as long as they live."""

from conftest import find_marked, is_alive, until


def elsewhere(cluster):
    """Another home, with nothing of the cluster in it but its key."""
    home = cluster.root / "elsewhere"
    home.mkdir(exist_ok=True)
    (home / ".drt").mkdir(exist_ok=True)
    return home


def private_dirs(home):
    return list((home / ".drt").glob("private-*"))


def test_a_program_without_a_raylet(cluster):
    cluster.up()
    home = elsewhere(cluster)
    head = f"127.0.0.1:{cluster.port}"
    env = {"HOME": str(home), "DRT_CLUSTER": head, "DRT_KEY_FILE": str(cluster.dir / "join.key")}
    for _ in range(3):
        r = cluster.run(cluster.path("drt"), "distribute", "test", "-n", 5, "--json", check=0,
                        **env)
        assert '"name": "n1"' in r.stdout
    assert [(j["state"], j["tasks_done"]) for j in cluster.ask("jobs")] == [("done", 5)] * 3
    assert private_dirs(home) == []
    until("it left", lambda: not [n for n in cluster.ask("nodes") if n["name"] != "n1"
                                  and n["state"] not in ("left", "lost")])


def test_two_programs_and_one_that_is_killed(cluster, held):
    cluster.up()
    home = elsewhere(cluster)
    env = {"HOME": str(home), "DRT_CLUSTER": f"127.0.0.1:{cluster.port}",
           "DRT_KEY_FILE": str(cluster.dir / "join.key")}
    first, second = held(1, **env), held(1, **env)
    first.pid_of(0)
    second.pid_of(0)
    assert len(private_dirs(home)) == 2
    before = [pid for pid, command in find_marked(cluster.mark).items() if "--private" in command]
    assert len(before) == 2
    first.child.kill()
    first.child.wait()
    until("its raylet ended", lambda: sum(is_alive(pid) for pid in before) == 1)
    second.let_go()
    second.end()
    until("both ended", lambda: sum(is_alive(pid) for pid in before) == 0)
    cluster.run(cluster.example("pi"), check=0, **env)
    assert private_dirs(home) == []  # what the killed one left was swept


def test_no_key(cluster):
    cluster.up()
    home = elsewhere(cluster)
    env = {"HOME": str(home), "DRT_CLUSTER": f"10.255.0.1:{cluster.port}"}
    r = cluster.run(cluster.example("pi"), check=1, **env)
    assert "join.key" in r.stderr and "DRT_KEY_FILE" in r.stderr
    env["DRT_CLUSTER"] = f"127.0.0.1:{cluster.port}"
    env["DRT_KEY_FILE"] = str(cluster.dir / "client.key")
    r = cluster.run(cluster.example("pi"), check=1, **env)
    assert "client.key" in r.stderr and "join.key" in r.stderr
    other = cluster.root / "other"
    cluster.run(cluster.path("drt-head"), "start", "--dir", other, "--bind", "127.0.0.1", check=0)
    try:
        env["DRT_KEY_FILE"] = str(other / "join.key")
        r = cluster.run(cluster.example("pi"), check=1, **env)
        assert "is not the head of" in r.stderr and "join.key" in r.stderr
    finally:
        cluster.drt("stop", "--dir", other)
    assert private_dirs(home) == []
