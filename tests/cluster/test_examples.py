"""Each example says the same in a cluster, in a private one, and in sequence."""

import re

import pytest

EXAMPLES = {
    "pi": [],
    "search": ["needle", "{files}"],
    "wordcount": ["{files}"],
    "pipeline": [],
    "gather": [],
    "errors": [],
}
# What may differ: whether and where something was distributed, how long it took, names of nodes.
VARIES = re.compile(r", in sequence| on \d+ CPUs?| in [\d.]+ (s|ms)|on node \S+")


@pytest.fixture
def files(cluster):
    root = cluster.work / "files"
    for i in range(20):
        folder = root / f"d{i % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"line {j} of file {i} " + ("needle" if (i * j) % 7 == 3 else "hay")
                 for j in range(50)]
        (folder / f"f{i}.txt").write_text("\n".join(lines) + "\n")
    return root


def plain(text):
    return sorted(VARIES.sub("", line) for line in text.splitlines())


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_all_modes_say_the_same(cluster, files, name):
    argv = [a.format(files=files) for a in EXAMPLES[name]]
    cluster.start_head()
    cluster.join("n1")
    outputs = {}
    for mode in ("sync", "cluster", "local"):
        r = cluster.run(cluster.example(name), *argv, DRT_MODE=mode, check=0)
        assert r.stdout, mode
        outputs[mode] = r.stdout
    if name == "errors":
        # Crashes, cancelling and timing may differ in sync.
        shown = {mode: [line.split()[0] for line in text.splitlines()]
                 for mode, text in outputs.items()}
        assert shown["cluster"] == shown["local"]
        return
    assert plain(outputs["cluster"]) == plain(outputs["sync"])
    assert plain(outputs["local"]) == plain(outputs["sync"])


def test_a_private_cluster_leaves_nothing(cluster):
    r = cluster.run(cluster.example("pi"), DRT_MODE="local", check=0)
    assert "pi is about 3.14" in r.stdout
    r = cluster.drt("status", check=3)
    assert [p for p in (cluster.home / ".drt").glob("local-*")] == []


def test_without_a_cluster_programs_run_alone(cluster):
    env = dict(cluster.env)
    del cluster.env["DRT_MODE"]
    try:
        r = cluster.run(cluster.example("pi"), check=0)
    finally:
        cluster.env = env
    assert "pi is about 3.14" in r.stdout


def test_cluster_mode_needs_one(cluster):
    r = cluster.run(cluster.example("pi"), DRT_MODE="cluster")
    assert r.returncode != 0
    assert "drt-head start" in r.stderr or "drt-node join" in r.stderr
