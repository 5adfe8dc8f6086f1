"""An installed tree: a program built outside with pkg-config, against either library, runs."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import BUILD, commands_of

SOURCE = Path(__file__).resolve().parents[2]


@pytest.fixture
def installed(tmp_path_factory):
    root = tmp_path_factory.mktemp("installed")
    subprocess.run(["meson", "install", "-C", str(BUILD), "--no-rebuild", "--quiet", "--destdir",
                    str(root)], check=True, capture_output=True)
    prefix = next(p.parent.parent for p in root.rglob("bin/drt"))
    yield root, prefix
    shutil.rmtree(root, ignore_errors=True)


def test_an_installed_tree(cluster, installed):
    root, prefix = installed
    for name in ("drt", "drt-head", "drt-node"):
        assert os.access(prefix / "bin" / name, os.X_OK)
    for header in ("drt.h", "detail.h"):
        assert (prefix / "include" / "drt" / header).exists()
    for page in ("drt.1", "drt-head.1", "drt-node.1", "libdrt.3"):
        assert list(prefix.rglob(f"man{page[-1]}/{page}*")), page
    library = next(prefix.rglob("libdrt.so"))
    assert next(prefix.rglob("libdrt.a"))
    needed = subprocess.run(["ldd", str(library)], capture_output=True, text=True).stdout
    assert "zmq" not in needed and "sqlite" not in needed

    folder = cluster.work / "mine"
    folder.mkdir()
    env = {**os.environ, "PKG_CONFIG_SYSROOT_DIR": str(root),
           "PKG_CONFIG_PATH": str(library.parent / "pkgconfig")}
    # The first program as README.md shows it, and its line that compiles it.
    commands = commands_of(SOURCE / "README.md", folder)
    line = next(c for c in commands if c.startswith("cc "))
    assert line == "cc -O2 pi.c -o pi $(pkg-config --cflags --libs drt)"
    for example in sorted((SOURCE / "examples").glob("*.c")):
        mine = line.replace("pi.c", str(example)).replace("-o pi", f"-o {example.stem}")
        r = subprocess.run(["sh", "-c", mine], cwd=folder, env=env, capture_output=True, text=True)
        assert r.returncode == 0 and r.stderr == "", (mine, r.stderr)
    for static in ([], ["--static"]):
        flags = subprocess.run(["pkg-config", *static, "--cflags", "--libs", "drt"], env=env,
                               check=True, capture_output=True, text=True).stdout.split()
        if static:
            flags = [str(library.with_name("libdrt.a")) if f == "-ldrt" else f for f in flags]
        program = folder / ("pi-static" if static else "pi")
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "pi.c", "-o", str(program),
                        *flags], cwd=folder, check=True)
        for mode in ("sync", "local"):
            r = cluster.run(program, DRT_MODE=mode, check=0,
                            DRT_BINDIR=str(prefix / "bin") if static else "",
                            LD_LIBRARY_PATH=str(library.parent))
            assert "pi is about 3.14" in r.stdout
    # The daemons of the installed tree, found beside the library.
    r = cluster.run(prefix / "bin" / "drt", "--version", check=0)
    assert r.stdout.startswith("drt ")


def test_where_it_is_installed():
    """Debian's linker and pkg-config look into lib, not into lib64, which meson takes on a Debian that
    has no dpkg-architecture."""
    options = json.loads(subprocess.run(
        ["meson", "introspect", "--buildoptions", str(SOURCE / "meson.build")], check=True,
        capture_output=True, text=True).stdout)
    assert next(o["value"] for o in options if o["name"] == "libdir") == "lib"
