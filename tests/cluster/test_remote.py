"""drt on a machine that is none of the cluster's: with a key file, over the network."""

import json

import pytest

from conftest import find_free_port


@pytest.fixture
def away(cluster):
    """A home without the cluster's directory, but with copies of its key files."""
    cluster.up()
    return Away(cluster)


class Away:
    def __init__(self, cluster):
        self.cluster = cluster
        self.home = cluster.root / "away"
        self.home.mkdir()
        self.head = f"127.0.0.1:{cluster.port}"
        self.client = self.copy("client.key")

    def copy(self, name, to=None, mode=0o600):
        key = self.home / (to or name)
        key.parent.mkdir(parents=True, exist_ok=True)
        key.write_bytes((self.cluster.dir / name).read_bytes())
        key.chmod(mode)
        return key

    def drt(self, *argv, check=0, **env):
        return self.cluster.drt(*argv, check=check, HOME=str(self.home), **env)

    def ask(self, *argv, **env):
        return json.loads(self.drt(*argv, "--json", **env).stdout)


def test_all_that_can_be_read(cluster, away):
    cluster.run(cluster.program("many"), 1000, check=0)
    where = ["--cluster", away.head, "--key-file", away.client]
    status = away.ask("status", *where)
    assert status["cluster"] == "default" and status["head"]["pid"] == cluster.head_pid()
    assert [n["name"] for n in away.ask("nodes", *where)] == ["n1"]
    jobs = away.ask("jobs", *where)
    assert [j["state"] for j in jobs] == ["done"]
    tasks = away.ask("tasks", "--limit", "1000", *where)
    assert len(tasks) == 1000 and tasks == cluster.ask("tasks", "--limit", "1000")
    newest = tasks[0]["task"]
    assert away.ask("tasks", "last", *where) == tasks[:1]
    for verb in (["jobs"], ["tasks", "--job", "last"], ["explain", newest], ["explain", "last"]):
        assert away.ask(*verb, *where) == cluster.ask(*verb)
        assert away.drt(*verb, *where).stdout


def test_logs(cluster, away):
    cluster.run(cluster.program("say"), "hello", "world", check=0)
    where = ["--cluster", away.head, "--key-file", away.client]
    out = away.drt("logs", "last", *where).stdout
    assert "out: hello" in out and "err: world" in out
    assert out == cluster.drt("logs", "last").stdout


def test_ways_to_name_head_and_key(away):
    assert away.ask("nodes", "--key-file", away.client)
    assert away.ask("nodes", DRT_CLUSTER=away.head, DRT_KEY_FILE=str(away.client))
    assert away.ask("nodes", DRT_KEY_FILE=str(away.client))
    r = away.drt("nodes", "--cluster", away.head, check=4)
    assert r.stderr.startswith(f"drt: no key for {away.head}") and "client.key" in r.stderr
    away.copy("client.key", ".drt/prod/client.key")
    assert away.ask("nodes", "--cluster", away.head)
    assert away.ask("nodes", "--cluster", away.head, DRT_CLUSTER="prod")
    assert away.ask("nodes", "--cluster", "prod")
    assert away.ask("nodes", "--cluster", away.head, "--dir", away.home / ".drt" / "prod")


def test_what_each_key_may(cluster, away):
    for name in ("reader.key", "join.key"):
        key = away.copy(name)
        assert [n["name"] for n in away.ask("nodes", "--key-file", key)] == ["n1"]
        assert away.ask("tasks", "--key-file", key) == []
    r = away.drt("nodes", "--key-file", cluster.dir / "head.key", check=4)
    assert r.stderr.startswith("drt: ") and "head's own key" in r.stderr


def test_keys_that_are_refused(cluster, away):
    cluster.run(cluster.path("drt-head"), "start", "--cluster", "test", "--bind", "127.0.0.1",
                check=0)
    wrong = cluster.home / ".drt" / "test" / "client.key"
    r = away.drt("status", "--cluster", away.head, "--key-file", wrong, check=4)
    assert r.stderr.startswith(f"drt: what answers at {away.head} is not the head of \"test\"")
    assert "client.key" in r.stderr
    r = away.drt("status", "--cluster", "test", "--key-file", away.client, check=4)
    assert 'for cluster "default", not for "test"' in r.stderr
    r = away.drt("status", "--key-file", away.copy("client.key", "open.key", 0o644), check=4)
    assert "can be read by others" in r.stderr and "chmod 600" in r.stderr
    r = away.drt("status", "--key-file", away.home / "nothing.key", check=4)
    assert "does not exist" in r.stderr
    assert [n["state"] for n in cluster.ask("nodes", "--cluster", "default")] == ["alive"]


def test_nobody_listens_there(cluster, away):
    free = f"127.0.0.1:{find_free_port()}"
    r = away.drt("status", "--cluster", free, "--key-file", away.client, check=3)
    assert r.stderr.startswith("drt: cannot reach") and free in r.stderr
    r = away.drt("status", "--cluster", "127.0.0.1:", "--key-file", away.client, check=2)
    assert "host:port" in r.stderr
    cluster.drt("stop")
    r = away.drt("status", "--key-file", away.client, check=3)
    assert away.head in r.stderr and "drt-head start" in r.stderr


def test_stop_is_for_the_machine_itself(cluster, away):
    for argv, env in ((["--cluster", away.head], {}), (["--key-file", away.client], {}),
                      ([], {"DRT_CLUSTER": away.head})):
        r = away.drt("stop", *argv, check=2, **env)
        assert r.stderr.startswith("drt: ") and "on this machine" in r.stderr
    assert [n["state"] for n in cluster.ask("nodes")] == ["alive"]


def test_who_may_ask_may_not_join(cluster, away):
    node = [cluster.path("drt-node"), "join", away.head, "--name", "n2", "--dir",
            away.home / "node", "--bind", "127.0.0.1", "--port", find_free_port(), "--num-cpus", 1]
    for name in ("client.key", "reader.key"):
        kind = name.split(".")[0]
        key = away.copy(name)
        r = cluster.run(*node, "--join-file", key, check=4)
        assert r.stderr.startswith("drt-node: ") and "join.key" in r.stderr and kind in r.stderr
        # It is the head that knows what a key may, whatever its file says.
        forged = away.home / f"forged-{name}"
        forged.write_text(key.read_text().replace(f"kind {kind}", "kind node"))
        forged.chmod(0o600)
        r = cluster.run(*node, "--join-file", forged, check=4)
        assert r.stderr.startswith("drt-node: this key does not allow joining") and "join.key" in r.stderr
    assert [n["name"] for n in cluster.ask("nodes")] == ["n1"]
