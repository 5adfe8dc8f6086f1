"""The bed itself: each fault is in force, only where it should be, and over when it is healed."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bed import BUILD, find_lack
from conftest import is_alive, until

PAIRS = [(a, b) for a in range(1, 5) for b in range(1, 5) if a != b]


def reached(bed):
    """Who hears whom."""
    return bed.who_reaches(PAIRS)


def test_machines_are_apart(bed):
    assert reached(bed) == set(PAIRS)
    names, spaces = set(), set()
    for n in bed.numbers:
        init = bed.spaces[n].init
        out = subprocess.run(["nsenter", "-t", str(init), "-u", "-p", "-m", "sh", "-c",
                              "hostname; ls /proc | grep -c '^[0-9]'; ls /dev/shm | wc -l"],
                             capture_output=True, text=True, check=True).stdout.split()
        names.add(out[0])
        assert int(out[1]) < 10 and out[2] == "0"
        spaces |= {os.readlink(f"/proc/{init}/ns/{kind}") for kind in ("net", "pid", "mnt", "uts")}
    assert names == {"host1", "host2", "host3", "host4"} and len(spaces) == 16


def test_a_machine_that_is_cut_off(bed):
    for cut in (bed.cut, bed.unplug):
        handle = cut(2)
        assert reached(bed) == {(a, b) for a, b in PAIRS if 2 not in (a, b)}
        bed.heal(handle)
        until("it is back", lambda: bed.reaches(1, 2) and bed.reaches(2, 1), 5)
    bed.heal()
    assert reached(bed) == set(PAIRS)


def test_cuts_between_two(bed):
    handle = bed.cut_between(2, 3)
    assert reached(bed) == set(PAIRS) - {(2, 3), (3, 2)}
    bed.heal(handle)
    handle = bed.cut_one_way(2, 3)
    assert reached(bed) == set(PAIRS) - {(2, 3)}
    bed.heal(handle)
    handle = bed.misroute(2, 3)
    assert reached(bed) == set(PAIRS) - {(2, 3)}
    bed.heal(handle)
    assert reached(bed) == set(PAIRS)


def test_one_who_is_mute_or_deaf(bed):
    handle = bed.mute(4)
    assert reached(bed) == {(a, b) for a, b in PAIRS if a != 4}
    bed.heal(handle)
    handle = bed.deafen(4)
    assert reached(bed) == {(a, b) for a, b in PAIRS if b != 4}
    bed.heal(handle)
    assert reached(bed) == set(PAIRS)


def test_a_connection_lives_through_a_black_out(bed):
    near, far = bed.connect(1, 2)
    with near, far:
        bed.carry(near, far, 1000)
        handle = bed.black_out()
        assert not reached(bed)
        far.settimeout(0.2)
        near.sendall(b"x")
        with pytest.raises(socket.timeout):
            far.recv(1)
        bed.heal(handle)
        far.settimeout(10)
        assert far.recv(1) == b"x"


def test_black_outs_come_again(bed):
    with bed.black_outs(dark_s=0.4, period_s=0.8) as began:
        for _ in range(2):
            until("dark", lambda: not bed.reaches(1, 2, limit_s=0.05, tries=1), 2)
            until("bright", lambda: bed.reaches(1, 2, limit_s=0.05, tries=1), 2)
    assert len(began) >= 2 and bed.reaches(1, 2) and not bed.faults


def test_a_thin_cable(bed):
    def measure(a, b):
        near, far = bed.connect(a, b)
        with near, far:
            return bed.carry(near, far, 150_000)

    handle = bed.slow(3, rate="1mbit")
    assert measure(1, 2) < 1
    for a, b in ((1, 3), (3, 1)):
        assert 0.6 < measure(a, b) < 5  # a megabit and a bit more
    bed.heal(handle)
    assert measure(1, 3) < 1


def test_a_lossy_cable(bed):
    assert bed.reaches(1, 2)  # so that no question for an address is lost
    handle = bed.lossy(2, seed=7, loss=0.3, double=0.3, delay_ms=(0, 20))
    received = []
    with bed.spaces[1].socket(socket.SOCK_DGRAM) as sender, \
            bed.spaces[2].socket(socket.SOCK_DGRAM) as receiver:
        receiver.bind((bed.address(2), 0))
        receiver.settimeout(10)
        for begin in range(0, 1000, 20):  # so few that no queue on the way is full
            for i in range(begin, begin + 20):
                sender.sendto(b"%d" % i, receiver.getsockname())
            while not received or max(received) < begin:
                received.append(int(receiver.recv(64)))
        receiver.settimeout(1)
        try:
            while True:
                received.append(int(receiver.recv(64)))
        except socket.timeout:
            pass
    got = set(received)
    assert 600 < len(got) < 800, len(got)
    assert len(received) > len(got) * 1.2, (len(received), len(got))
    assert received != sorted(received)
    assert bed.reaches(3, 4, tries=1)
    counts = bed.heal(handle)
    assert counts["lost"] > 200 and counts["doubled"] > 150 and counts["overtaken"] > 100, counts
    assert all(bed.reaches(1, 2, tries=1) for _ in range(20))


def test_a_connection_over_a_lossy_cable(bed):
    near, far = bed.connect(1, 2)
    with near, far:
        handle = bed.lossy(2, seed=3, loss=0.02, double=0.1, delay_ms=(0, 2))
        bed.carry(near, far, 300_000, limit_s=30)
        bed.carry(far, near, 300_000, limit_s=30)
        counts = bed.heal(handle)
        assert counts["carried"] > 400 and counts["lost"] > 0, counts
        assert bed.carry(near, far, 300_000) < 1


def test_power_off(bed):
    bed.spaces[3].power_off()
    rest = {(a, b) for a, b in PAIRS if 3 not in (a, b)}
    assert bed.who_reaches(rest) == rest


def test_nothing_is_left_of_tests_that_were_killed():
    """The whole bed and what runs on it ends with the process that made it."""
    script = ("import os, subprocess, sys; from bed import Bed; b = Bed();"
              "p = subprocess.Popen(['nsenter', '-t', str(b.spaces[1].init), '-p', '-n',"
              "'tail', '-f', '/dev/null']);"
              "b.lossy(2);"
              "print(*[s.init for s in b.spaces.values()], b.switch.init,"
              "*[r.pid for r in b.relays.values()], flush=True);"
              "sys.stdin.read()")
    if find_lack():
        pytest.skip(find_lack())
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent,
                             env={**os.environ, "DRT_BUILD": str(BUILD)})
    pids = [int(word) for word in child.stdout.readline().split()]
    assert len(pids) == 6 and all(is_alive(pid) for pid in pids)
    spaces = {os.stat(f"/proc/{pid}/ns/pid").st_ino for pid in pids[:5]}
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()

    def is_gone():
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.stat(f"/proc/{entry}/ns/pid").st_ino in spaces:
                    return False
            except OSError:
                pass
        return not any(is_alive(pid) for pid in pids)

    until("all has ended", is_gone, 5)
