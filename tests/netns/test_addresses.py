"""Where machines find each other: what a node of one machine is called by the others."""

import json
import shutil

from bed import BUILD
from conftest import HEAD_PORT, until

NODE, HEAD = BUILD / "raylet" / "drt-node", BUILD / "head" / "drt-head"


def start_head(machine, *argv, check=0):
    return machine.run(HEAD, "start", *argv, check=check)


def join(cluster, n, *argv, check=0):
    """As a user types it: nothing but what the test says."""
    machine = cluster[n]
    key = []
    if machine is not cluster.head:
        copy = machine.home / "join.key"
        copy.write_bytes((cluster.head.dir / "join.key").read_bytes())
        copy.chmod(0o600)
        key = ["--join-file", copy]
    return machine.run(NODE, "join", "--num-cpus", 1, *argv, *key, check=check)


def assert_work(cluster, *numbers):
    """Each of these machines has tasks run on each of them, and reads what they return."""
    for n in numbers:
        out = cluster[n].run(cluster.program("work"), "tasks=60", "strategy=spread", check=0)
        work = json.loads(out.stdout.splitlines()[-1])
        names = sorted(cluster[k].name for k in numbers)
        assert work["right"] == 60 and sorted(work["nodes"]) == names, (n, work, cluster.logs())


def addresses(cluster):
    return {n["name"]: n["address"] for n in cluster.nodes() if n["state"] == "alive"}


def test_readme_on_two_machines(cluster):
    """The head's own node joins over the loopback interface, the other one by the address."""
    said = start_head(cluster.head).stdout
    assert f"{cluster.head.address}:{HEAD_PORT}" in said  # there is no default route
    assert join(cluster, 1, f"127.0.0.1:{HEAD_PORT}").stderr == ""
    assert join(cluster, 2, f"{cluster.head.address}:{HEAD_PORT}").stderr == ""
    assert join(cluster, 3).returncode == 0  # the key says where the head is
    assert addresses(cluster) == {m.name: f"{m.address}:7421" for m in list(cluster)[:3]}
    assert_work(cluster, 1, 2, 3)


def add_six(cluster, *numbers):
    for n in numbers:
        cluster[n].run("sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6 && "
                       f"ip address add fd77::{n}/64 dev eth0 nodad", check=0)


def write_hosts(machine, text):
    hosts = machine.root / "hosts"
    hosts.write_text(text)
    if not (machine.root / "mounted").exists():
        machine.run("mount", "--bind", hosts, "/etc/hosts", check=0)
        (machine.root / "mounted").touch()


def test_both_families(cluster):
    """One node comes over IPv6, one over IPv4, one by a "localhost" that is ::1."""
    add_six(cluster, 1, 2, 3)
    write_hosts(cluster.head, "127.0.0.1 localhost\n::1 localhost\n")
    assert "::1" in cluster.head.run("getent", "ahosts", "localhost", check=0).stdout
    start_head(cluster.head)
    assert join(cluster, 1, f"localhost:{HEAD_PORT}").stderr == ""
    assert join(cluster, 2, f"[FD77:0::1]:{HEAD_PORT}").stderr == ""
    assert join(cluster, 3, f"10.77.0.1:{HEAD_PORT}").stderr == ""
    assert addresses(cluster) == {"host1": "10.77.0.1:7421", "host2": "[fd77::2]:7421",
                                  "host3": "10.77.0.3:7421"}
    assert_work(cluster, 1, 2, 3)


def test_only_six(cluster):
    """A network without IPv4, and no route out of it."""
    add_six(cluster, 1, 2)
    for n in (1, 2):
        cluster[n].run("ip", "-4", "address", "flush", "dev", "eth0", check=0)
    assert f"[fd77::1]:{HEAD_PORT}" in start_head(cluster.head).stdout
    assert join(cluster, 1, f"[::1]:{HEAD_PORT}").stderr == ""
    assert join(cluster, 2, f"[fd77::1]:{HEAD_PORT}").stderr == ""
    assert addresses(cluster) == {"host1": "[fd77::1]:7421", "host2": "[fd77::2]:7421"}
    assert_work(cluster, 1, 2)


def test_without_six(cluster):
    for machine in list(cluster)[:2]:
        machine.run("sh", "-c", "mount -t sysfs none /sys; mount -o remount,rw /proc/sys 2>/dev/null;"
                    " echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6", check=0)
        assert "inet6" not in machine.run("ip", "address", check=0).stdout
    start_head(cluster.head)
    join(cluster, 1, f"127.0.0.1:{HEAD_PORT}")
    join(cluster, 2, f"10.77.0.1:{HEAD_PORT}")
    assert_work(cluster, 1, 2)


def test_a_head_at_one_address_only(cluster):
    """A node of its machine finds it by its directory, whatever address it is at."""
    start_head(cluster.head, "--bind", "10.77.0.1")
    join(cluster, 1)
    r = join(cluster, 1, f"127.0.0.1:{HEAD_PORT}", "--name", "again", check=3)
    assert "nothing listens there" in r.stderr
    join(cluster, 2, "10.77.0.1", "--bind", "10.77.0.2")
    assert addresses(cluster) == {"host1": "10.77.0.1:7421", "host2": "10.77.0.2:7421"}
    assert_work(cluster, 1, 2)


def test_a_node_for_its_own_machine_alone(cluster):
    start_head(cluster.head)
    r = join(cluster, 1, f"127.0.0.1:{HEAD_PORT}", "--bind", "127.0.0.1")
    words = "cannot be reached from other machines"
    assert words in r.stderr
    assert words in cluster.head.drt("status").stdout
    head = start_head(cluster[2], "--bind", "127.0.0.1").stdout
    assert "which others cannot reach" in head and "join.key there" not in head


def test_two_networks(cluster):
    """The head's machine has a way out by one network, and its nodes in another."""
    for n, address in ((1, "10.88.0.1"), (2, "10.88.0.2"), (3, "10.88.0.3")):
        cluster[n].run("ip", "address", "add", f"{address}/24", "dev", "eth0", check=0)
    cluster.head.run("ip", "route", "add", "default", "via", "10.77.0.254", check=0)
    start_head(cluster.head, "--advertise", "10.88.0.1")
    join(cluster, 1, f"127.0.0.1:{HEAD_PORT}")
    join(cluster, 2)
    join(cluster, 3, f"10.88.0.1:{HEAD_PORT}")
    assert addresses(cluster) == {f"host{n}": f"10.88.0.{n}:7421" for n in (1, 2, 3)}
    assert_work(cluster, 1, 2, 3)


def test_behind_a_wall(cluster):
    """Nothing reaches a node's address: it joins, it is told, and work goes elsewhere."""
    start_head(cluster.head)
    join(cluster, 1)
    cluster[2].run("ip", "route", "add", "blackhole", "10.99.0.0/16", check=0)
    r = join(cluster, 2, "--advertise", "10.77.0.99")
    words = "cannot be reached at 10.77.0.99:7421: nothing answers there"
    assert words in r.stderr and 'joined "default"' in r.stdout
    assert words in cluster.head.drt("status").stdout
    assert words in cluster[2].node_log()
    out = cluster.head.run(cluster.program("work"), "tasks=30", "strategy=spread", check=0)
    assert list(json.loads(out.stdout.splitlines()[-1])["nodes"]) == ["host1"]
    # The address comes to life: the warning goes.
    cluster[2].run("ip", "address", "add", "10.77.0.99/24", "dev", "eth0", check=0)
    until("the warning goes", lambda: words not in cluster.head.drt("status").stdout, 40)
    assert_work(cluster, 1, 2)


def test_a_machine_gets_another_address(cluster):
    start_head(cluster.head)
    for n in (1, 2, 3):
        join(cluster, n)
    assert_work(cluster, 1, 2, 3)
    cluster[2].run("sh", "-c", "ip address del 10.77.0.2/24 dev eth0; "
                   "ip address add 10.77.0.22/24 dev eth0", check=0)
    until("it is known there",
          lambda: addresses(cluster).get("host2") == "10.77.0.22:7421", 40)
    until("all are well", lambda: cluster.states() == ["alive"] * 3, 40)
    assert_work(cluster, 1, 3, 2)


def test_the_head_moves_behind_its_name(cluster):
    """It starts again on another machine with its directory; nodes know it by its name."""
    for machine in cluster:
        write_hosts(machine, "127.0.0.1 localhost\n10.77.0.1 the-head\n")
    start_head(cluster.head, "--advertise", "the-head")
    for n in (2, 3):
        join(cluster, n, f"the-head:{HEAD_PORT}")
    assert_work(cluster, 2, 3)
    cluster.head.run(HEAD, "stop", check=0)
    cluster[4].dir.parent.mkdir()
    shutil.copytree(cluster.head.dir, cluster[4].dir, copy_function=shutil.copy2)
    for machine in cluster:
        write_hosts(machine, "127.0.0.1 localhost\n10.77.0.4 the-head\n")
    start_head(cluster[4], "--advertise", "the-head")
    cluster.head = cluster[4]
    until("both have found it",
          lambda: sum("alive" == n["state"] for n in cluster.nodes()) == 2 and
          "suspect" not in cluster.head.drt("nodes").stdout)
    assert_work(cluster, 2, 3)


def test_a_program_on_a_machine_that_is_no_node(cluster):
    """Its own raylet follows the same rules, whichever way it comes."""
    add_six(cluster, 1, 2, 3)
    start_head(cluster.head)
    join(cluster, 1, f"127.0.0.1:{HEAD_PORT}")
    join(cluster, 2)
    key = cluster[3].home / "join.key"
    key.write_bytes((cluster.head.dir / "join.key").read_bytes())
    key.chmod(0o600)
    for address in ("10.77.0.1:7420", "[fd77::1]:7420"):
        out = cluster[3].run(cluster.program("work"), "tasks=60", "strategy=spread", check=0,
                             DRT_CLUSTER=address, DRT_KEY_FILE=str(key))
        work = json.loads(out.stdout.splitlines()[-1])
        assert work["right"] == 60 and sorted(work["nodes"]) == ["host1", "host2"], work
    out = cluster.head.run(cluster.program("work"), "tasks=60", "strategy=spread", check=0,
                           DRT_CLUSTER="127.0.0.1:7420")
    assert json.loads(out.stdout.splitlines()[-1])["right"] == 60


def test_a_wall_that_lets_out(cluster):
    """A firewall, or an address inside a container: it reaches others, and nobody reaches it."""
    start_head(cluster.head)
    join(cluster, 1)
    cluster.bed.wall(2)
    cluster.bed.wall(3)
    words = "cannot be reached at 10.77.0.2:7421: nothing answers there"
    assert words in join(cluster, 2).stderr
    # Its programs have work done by others, and what they return comes back.
    out = cluster[2].run(cluster.program("work"), "tasks=60", "strategy=spread", check=0)
    work = json.loads(out.stdout.splitlines()[-1])
    assert work["right"] == 60 and sorted(work["nodes"]) == ["host1", "host2"], work
    # Others give it nothing.
    out = cluster.head.run(cluster.program("work"), "tasks=60", "strategy=spread", check=0)
    work = json.loads(out.stdout.splitlines()[-1])
    assert work["right"] == 60 and list(work["nodes"]) == ["host1"], work
    # A program on a machine that is no node, behind a wall as well.
    key = cluster[3].home / "join.key"
    key.write_bytes((cluster.head.dir / "join.key").read_bytes())
    key.chmod(0o600)
    out = cluster[3].run(cluster.program("work"), "tasks=60", "strategy=spread", check=0,
                         DRT_CLUSTER="10.77.0.1:7420", DRT_KEY_FILE=str(key))
    assert json.loads(out.stdout.splitlines()[-1])["right"] == 60
