"""What is at a bound, and just beyond it: the same code and the same sentence in every mode."""

MODES = ("sync", "cluster", "local")


def test_every_mode_says_the_same(cluster):
    cluster.up()
    said = {mode: cluster.run(cluster.program("bounds"), DRT_MODE=mode, check=0).stdout.splitlines()
            for mode in MODES}
    assert len(said["sync"]) > 45
    for mode in MODES[1:]:
        assert said[mode] == said["sync"]
    told = dict(line.split(": ", 1) for line in said["sync"])
    # The true size, the true limit, and advice that helps.
    for what in ("a string of 4 MiB", "an argument of 4 MiB", "a text of 4 MiB as a result"):
        assert "has 4194304 bytes, and a value has at most 1048576" in told[what]
    for what in ("6 arguments of 1 MB", "6 values of references of 1 MB"):
        assert "6000512 bytes together, and a task takes at most 4194304" in told[what]
        assert "drt_ref_itself" in told[what]
    assert told["6 references to 1 MB"] == "fine"
    assert "drt_of(drt_put(value))" in told["6 results of 1 MB"]
    assert told["6 results that were put"] == "fine"
    assert "does not manage" in told["a GPU"] and "my_gpu" in told["a GPU"]
    assert told["no time"].startswith("DRT_E_DEADLINE take: its timeout is 0")
