"""Keys and bytes that do not belong: refused, with a sentence, and nothing else is disturbed."""

import os
import socket
import stat

from conftest import find_free_port, until


def test_a_wrong_key_is_refused(cluster):
    cluster.up()
    cluster.run(cluster.path("drt-head"), "start", "--cluster", "test", "--bind", "127.0.0.1",
                check=0)
    wrong = cluster.home / ".drt" / "test" / "join.key"
    r = cluster.run(cluster.path("drt-node"), "join", f"127.0.0.1:{cluster.port}", "--name", "n2",
                    "--dir", cluster.home / "elsewhere", "--bind", "127.0.0.1", "--port",
                    find_free_port(), "--join-file", wrong, check=4)
    assert r.stderr.startswith(
        f'drt-node: what answers at 127.0.0.1:{cluster.port} is not the head of cluster "test"')
    assert "join.key" in r.stderr
    assert [n["name"] for n in cluster.ask("nodes", "--cluster", "default")] == ["n1"]


def test_a_right_key_from_elsewhere_is_taken(cluster):
    cluster.up()
    key = cluster.home / "copied.key"
    key.write_bytes((cluster.dir / "join.key").read_bytes())
    key.chmod(0o600)
    cluster.run(cluster.path("drt-node"), "join", f"127.0.0.1:{cluster.port}", "--name", "n2",
                "--dir", cluster.home / "elsewhere", "--bind", "127.0.0.1", "--port",
                find_free_port(), "--num-cpus", 1, "--join-file", key, check=0)
    assert {n["name"] for n in cluster.ask("nodes", "--state", "alive")} == {"n1", "n2"}
    cluster.drt("stop", "--dir", cluster.home / "elsewhere")


def test_a_key_that_others_can_read_is_refused(cluster):
    cluster.up()
    key = cluster.home / "copied.key"
    key.write_bytes((cluster.dir / "join.key").read_bytes())
    key.chmod(0o644)
    r = cluster.run(cluster.path("drt-node"), "join", f"127.0.0.1:{cluster.port}", "--name", "n2",
                    "--dir", cluster.home / "elsewhere", "--join-file", key, check=4)
    assert "can be read by others" in r.stderr and "chmod 600" in r.stderr


def test_nobody_listens_there(cluster):
    cluster.start_head()
    free = find_free_port()
    node = [cluster.path("drt-node"), "join", f"127.0.0.1:{free}", "--name", "n1", "--bind",
            "127.0.0.1"]
    r = cluster.run(*node, "--join-file", cluster.dir / "join.key", check=3)
    assert r.stderr.startswith("drt-node: ") and f"127.0.0.1:{free}" in r.stderr
    r = cluster.run(*node, check=4)
    assert r.stderr.startswith(f"drt-node: none of your heads listens on port {free}")
    assert f'"default" at 127.0.0.1:{cluster.port}' in r.stderr and "key" not in r.stderr


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def test_garbage_on_the_ports(cluster):
    cluster.up()
    status = cluster.ask("status")
    address = status["nodes"][0]["address"].rsplit(":", 1)
    pids = [status["head"]["pid"], status["nodes"][0]["pid"]]
    before = [resident_kib(pid) for pid in pids]
    zmtp = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0" + b"NULL".ljust(20, b"\0") + b"\0" + 31 * b"\0"
    pieces = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        os.urandom(4096),
        b"\0" * 65536,
        zmtp,
        zmtp + b"\x06" + (1 << 33).to_bytes(8, "big") + b"x" * 100,
        b"\xff" * 10,
    ]
    for host, port in (("127.0.0.1", cluster.port), (address[0], int(address[1]))):
        for piece in pieces:
            with socket.create_connection((host, port), timeout=5) as s:
                try:
                    s.sendall(piece)
                    s.settimeout(0.2)
                    s.recv(100)
                except OSError:
                    pass
    assert "right" in cluster.run(cluster.program("many"), 1000, check=0).stdout
    assert [n["state"] for n in cluster.ask("nodes")] == ["alive"]
    after = [resident_kib(pid) for pid in pids]
    assert all(a < b + 64 * 1024 for a, b in zip(after, before)), (before, after)


def test_garbage_on_the_sockets(cluster):
    cluster.up()
    for path in (cluster.dir / "head.sock", cluster.dir / "nodes" / "n1" / "sock"):
        mode = os.stat(path).st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
        here = os.open(path.parent, os.O_PATH)
        try:
            for piece in (b"x", os.urandom(1000), b"\0" * 10000):
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
                    s.connect(f"/proc/self/fd/{here}/{path.name}")
                    s.settimeout(5)
                    s.send(piece)
                    try:
                        s.recv(100)
                    except OSError:
                        pass
        finally:
            os.close(here)
    until("it still answers", lambda: len(cluster.ask("nodes")) == 1)
    assert "right" in cluster.run(cluster.program("many"), 1000, check=0).stdout


def test_rekey_only_when_stopped(cluster):
    cluster.up()
    r = cluster.run(cluster.path("drt-head"), "rekey")
    assert r.returncode != 0 and "drt-head: " in r.stderr
    cluster.drt("stop")
    old = (cluster.dir / "join.key").read_bytes()
    cluster.run(cluster.path("drt-head"), "rekey", check=0)
    assert (cluster.dir / "join.key").read_bytes() != old
    cluster.up()


def test_a_node_with_the_old_key_says_so_to_programs(cluster):
    cluster.up()
    cluster.run(cluster.path("drt-head"), "stop", check=0)
    cluster.run(cluster.path("drt-head"), "rekey", check=0)
    cluster.start_head()
    r = cluster.run(cluster.program("many"), 10, limit_s=30)
    assert r.returncode != 0
    assert "refuses the key of node" in r.stderr and "join.key" in r.stderr


def test_a_second_head_of_the_same_directory(cluster):
    cluster.start_head()
    r = cluster.run(cluster.path("drt-head"), "start", "--bind", "127.0.0.1")
    assert r.returncode != 0 and r.stderr.startswith("drt-head: ")
    r = cluster.run(cluster.path("drt-node"), "join", f"127.0.0.1:{cluster.port}", "--name", "n1",
                    "--bind", "127.0.0.1", "--port", find_free_port(), "--num-cpus", 1, check=0)
    r = cluster.join("n1", check=None)
    assert r.returncode != 0 and "--name" in r.stderr


def test_a_taken_name_is_told_by_the_head(cluster):
    """It says why and ends the session: the sentence must win over the end."""
    cluster.up()
    key = cluster.home / "copied.key"
    key.write_bytes((cluster.dir / "join.key").read_bytes())
    key.chmod(0o600)
    r = cluster.run(cluster.path("drt-node"), "join", f"127.0.0.1:{cluster.port}", "--name", "n1",
                    "--dir", cluster.home / "elsewhere", "--bind", "127.0.0.1", "--port",
                    find_free_port(), "--join-file", key, check=1)
    assert "--name n1-2" in r.stderr
