"""What a program gives to its workers: its command line and drt_config.job_config, in every mode and
on every node."""

import pytest

ARGUMENTS = {
    "none": [],
    "some": ["one", "", "two words", "ä\\n", "-x=1"],
    # More than one message's room of a session, and nearly what the kernel allows.
    "many": ["n" * 50000] * 25,
}


def lines_of(cluster, arguments, **env):
    out = cluster.run(cluster.program("given"), *arguments, check=0, **env).stdout
    return [line.split(": ", 1) for line in out.splitlines()]


@pytest.mark.parametrize("which", sorted(ARGUMENTS))
def test_every_mode(cluster, which):
    arguments = ARGUMENTS[which]
    cluster.up()
    cluster.join("n2")
    for mode in ("sync", "cluster", "local"):
        lines = lines_of(cluster, arguments, DRT_MODE=mode, TELL_NODES="1")
        said = {text for who, text in lines if who in ("driver", "body")}
        assert len(said) == 1, "bodies know what the driver knows"
        text = said.pop()
        assert text.startswith(f"{len(arguments) + 1} arguments")
        assert text.endswith("; hello 42 0.25")
        if arguments:
            assert f'"{arguments[-1][:20]}"' in text
        assert ["late", "something" if mode == "sync" else "nothing"] in lines
        assert ["after", "none"] in lines
        assert "1048577 bytes, and may have at most 1048576" in lines[-1][1]
        if mode == "cluster":
            assert {text for who, text in lines if who == "node"} == {"n1", "n2"}
