"""Where nodes and the head are found: what is announced, what is tried, what is said."""

import contextlib
import select
import socket
import threading

from conftest import find_free_port, until


def join(cluster, name, *argv, check=0):
    return cluster.run(cluster.path("drt-node"), "join", "--name", name, "--num-cpus", 1, "--bind",
                       "127.0.0.1", *argv, check=check)


def node(cluster, name):
    return next(n for n in cluster.ask("nodes") if n["name"] == name)


@contextlib.contextmanager
def passing_on(port, target):
    """Connections to a port of this machine go to another one of its ports."""
    end, open_ones = threading.Event(), {}
    listener = socket.create_server(("127.0.0.1", port))

    def drop(one):
        for s in (one, open_ones.pop(one, None)):
            if s is not None:
                open_ones.pop(s, None)
                s.close()

    def serve():
        while not end.is_set():
            for s in select.select([listener, *open_ones], [], [], 0.02)[0]:
                if s is listener:
                    near = s.accept()[0]
                    far = socket.create_connection(("127.0.0.1", target))
                    open_ones[near], open_ones[far] = far, near
                elif s in open_ones:
                    with contextlib.suppress(OSError):
                        data = s.recv(65536)
                        if data:
                            open_ones[s].sendall(data)
                            continue
                    drop(s)
        for s in [listener, *open_ones]:
            s.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def test_the_head_on_another_port_is_found(cluster):
    """Its port was taken while it was away."""
    cluster.up()
    old = cluster.port
    cluster.run(cluster.path("drt-head"), "stop", check=0)
    with socket.create_server(("127.0.0.1", old)) as taken:
        r = cluster.run(cluster.path("drt-head"), "start", "--bind", "127.0.0.1")
        assert r.returncode == 1 and f"port {old} is in use" in r.stderr and "--port" in r.stderr
        cluster.run(cluster.path("drt-head"), "start", "--bind", "127.0.0.1", "--port", 0, check=0)
        address = cluster.ask("status")["head"]["address"]
        assert address != f"127.0.0.1:{old}"
        until("the node has found it", lambda: node(cluster, "n1")["state"] == "alive" and
              "up" in cluster.drt("status").stdout and
              cluster.run(cluster.program("many"), 10, limit_s=30).returncode == 0)
        # Who gives the old address is told the new one, and nothing about keys.
        r = join(cluster, "n2", f"127.0.0.1:{old}", check=4)
        assert address in r.stderr and "join.key" not in r.stderr, r.stderr
        join(cluster, "n2", "--port", 0, check=0)
        join(cluster, "n3", "--port", 0, address, check=0)
        assert [n["state"] for n in cluster.ask("nodes")] == ["alive"] * 3
        taken.listen()


def test_no_head_of_this_machine(cluster):
    r = join(cluster, "n1", "127.0.0.1:7999", check=4)
    assert "no head of yours runs on this machine" in r.stderr
    assert "drt-head start" in r.stderr
    r = join(cluster, "n1", "192.0.2.7:7420", check=4)
    assert "Copy join.key" in r.stderr and "192.0.2.7:7420" in r.stderr


def test_what_is_no_address(cluster):
    cluster.start_head()
    for bad in ("", "0.0.0.0", "::", "a b", "box:0", "box:70000", "10.0.0.300", "::1", "[::1",
                "http://box", "box:7421:1"):
        r = join(cluster, "n1", "--advertise", bad, check=2)
        assert r.stderr.startswith("drt-node: --advertise: "), r.stderr
        r = cluster.run(cluster.path("drt-head"), "start", "--dir", cluster.home / "other",
                        "--advertise", bad, check=2)
        assert r.stderr.startswith("drt-head: --advertise: "), r.stderr
    for bad in ("::1:7420", "10.0.0.300:7420", "127.0.0.1:0", "127.0.0.1:99999", "[::1"):
        r = join(cluster, "n1", bad, check=2)
        assert "is not an address" in r.stderr, r.stderr


def test_a_node_that_nobody_reaches(cluster, held):
    cluster.up()
    outer, inner = find_free_port(), find_free_port()
    r = join(cluster, "n2", "--port", inner, "--advertise", f"127.0.0.1:{outer}", check=0)
    words = f"cannot be reached at 127.0.0.1:{outer}: nothing listens there"
    assert 'joined "default" as number 2' in r.stdout
    assert f'warning: node "n2" {words}' in r.stderr and "--advertise" in r.stderr, r.stderr
    assert node(cluster, "n2")["address"] == f"127.0.0.1:{outer}"
    assert node(cluster, "n2")["note"] == words
    assert node(cluster, "n1")["note"] == ""
    assert words in cluster.drt("status").stdout
    assert words in cluster.drt("nodes").stdout
    h = held(1, "node=n2", DRT_NODE="n1")
    task = until("it waits", lambda: cluster.ask("tasks", "--state", "waiting"))[0]["task"]
    until("it is explained",
          lambda: "n2" in (said := cluster.drt("explain", task).stdout) and "reached" in said)
    with passing_on(outer, inner):
        until("the warning goes", lambda: node(cluster, "n2")["note"] == "")
        h.pid_of(0)
        h.let_go()
        assert h.end() == "0 done in attempt 1\n"
        assert "reach" not in cluster.drt("status").stdout
        cluster.run(cluster.path("drt-node"), "leave", "--name", "n2", check=0)


def test_another_node_is_at_its_address(cluster):
    """As two containers have it whose ports are the same, behind one address."""
    cluster.up()
    taken = node(cluster, "n1")["address"]
    r = join(cluster, "n2", "--port", 0, "--advertise", taken, check=0)
    assert "another program answers there" in r.stderr
    assert "another program answers there" in node(cluster, "n2")["note"]


def test_names_travel_as_names(cluster, held):
    """Each node looks a name up itself."""
    cluster.up()
    port = find_free_port()
    r = join(cluster, "n2", "--port", port, "--advertise", f"localhost:{port}", check=0)
    assert r.stderr == ""
    assert node(cluster, "n2")["address"] == f"localhost:{port}"
    h = held(1, "node=n2", DRT_NODE="n1")
    h.pid_of(0)
    h.let_go()
    assert h.end() == "0 done in attempt 1\n"
    r = join(cluster, "n3", "--port", 0, "--advertise", "no.such.host.invalid", check=0)
    assert "the head cannot resolve this name" in r.stderr


def test_a_head_whose_address_is_for_others(cluster):
    """From inside it leads nowhere; the node beside it joins all the same, and comes back."""
    said = cluster.start_head("--advertise", "no.such.host.invalid:4711").stdout
    assert "  Head         no.such.host.invalid:4711 " in said
    assert "drt-node join\n" in said
    join(cluster, "n1", "--port", 0, check=0)
    cluster.run(cluster.path("drt-head"), "stop", check=0)
    cluster.start_head("--advertise", "no.such.host.invalid:4712")
    until("it is back", lambda: [n["state"] for n in cluster.ask("nodes")] == ["alive"] and
          cluster.run(cluster.program("many"), 10, limit_s=30).returncode == 0)


def test_a_node_by_its_address(cluster, held):
    """However it is spelled."""
    cluster.up()
    port = node(cluster, "n1")["address"].rsplit(":", 1)[1]
    assert [n["name"] for n in cluster.ask("nodes", f"127.0.0.1:{port}")] == ["n1"]
    h = held(1, f"node=[::ffff:127.0.0.1]:{port}")
    h.pid_of(0)
    h.let_go()
    assert h.end() == "0 done in attempt 1\n"
