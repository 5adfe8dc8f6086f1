"""Values of all sizes on every way that a value can take: programs/sizes.c says which."""

import pytest


def right(result):
    count, word = result.stdout.split()
    assert word == "right"
    return int(count)


def test_sizes_on_one_node(cluster):
    cluster.up()
    assert right(cluster.run(cluster.program("sizes"), check=0, limit_s=120)) > 900


def test_sizes_on_another_node(cluster):
    """The driver is at the first node; its tasks run on the second."""
    cluster.up()
    cluster.join("n2")
    done = cluster.run(cluster.program("sizes"), "n2", check=0, limit_s=120,
                       DRT_NODE="n1")
    assert right(done) > 900
    assert "n2" in cluster.drt("tasks").stdout


@pytest.mark.parametrize("mode", ["local", "sync"])
def test_sizes_without_a_cluster(cluster, mode):
    assert right(cluster.run(cluster.program("sizes"), check=0, limit_s=120, DRT_MODE=mode)) > 900


def test_more_rows_than_one_message_takes(cluster, held):
    """Answers of a node and of the head come in as many messages as they need."""
    cluster.up()
    program = held(9000)
    program.pid_of(0)
    rows = cluster.ask("tasks", "--limit", "10000")
    assert len(rows) == 9000
    assert len({row["task"] for row in rows}) == 9000
    assert "the head" not in (cluster.dir / "nodes" / "n1" / "node.log").read_text()
    program.child.kill()
