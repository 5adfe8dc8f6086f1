"""Everything at once, by a seed: scripts/storm runs it. Too long, and too much up to chance, for the suite."""

import os
import random
import signal
import time

from conftest import until
from load import (assert_all_is_back, assert_nothing_is_left, assert_settled, begin,
                  count_descriptors, finish)

SECONDS = float(os.environ.get("NETNS_STORM_S", "60"))
SEED = int(os.environ.get("NETNS_STORM_SEED", "1"))
SHAPES = ("plain", "chain", "nest", "borrow", "lend")
# What may become of a task whose home, executor or owner was killed or cut off.
TYPED = ("DRT_E_DISCONNECTED", "DRT_E_NODE_LOST", "DRT_E_CRASHED", "DRT_E_UNREACHABLE",
         "DRT_E_OWNER_LOST", "DRT_E_OBJECT_LOST")


class Storm:
    def __init__(self, cluster):
        self.cluster, self.bed = cluster, cluster.bed
        self.rng = random.Random(SEED)
        self.working, self.killed = {}, {"workers": 0, "raylets": 0, "heads": 0}

    def launch(self, n):
        for shape in SHAPES:
            strategy = self.rng.choice(("spread", "load_balanced", "default", "soft:host2"))
            key = (n, f"{shape} {len(self.working)}")
            self.working[key] = begin(self.cluster, n, strategy=strategy, shape=shape, window=4,
                                      ms=30, bound=60)

    def pause(self, most, least=0.2):
        end = time.monotonic() + self.rng.uniform(least, most)
        until("a while", lambda: time.monotonic() > end, most + 5)

    def kill(self, pids, number=signal.SIGKILL):
        done = 0
        for pid in pids:
            try:
                os.kill(pid, number)
                done += 1
            except ProcessLookupError:
                pass
        return done

    def kill_workers(self):
        drivers = {p.pid for p in self.working.values() if p.poll() is None}
        pids = [pid for m in self.cluster for pid in m.pids("work") if pid not in drivers]
        self.killed["workers"] += self.kill(self.rng.sample(pids, min(4, len(pids))))

    def kill_raylet(self):
        n = self.rng.choice((2, 3, 4))
        self.killed["raylets"] += bool(self.kill(self.cluster[n].pids("drt-node")))
        self.pause(2)

    def kill_head(self):
        self.killed["heads"] += self.kill(self.cluster.head.pids("drt-head"))
        self.pause(4)
        self.cluster.head.start_head()

    def stop_raylet(self):
        pids = self.cluster[self.rng.choice((1, 2, 3, 4))].pids("drt-node")
        self.kill(pids, signal.SIGSTOP)
        self.pause(5)
        self.kill(pids, signal.SIGCONT)

    def spoil(self):
        rng, bed = self.rng, self.bed
        n, (a, b) = rng.choice((1, 2, 3, 4)), rng.sample((2, 3, 4), 2)
        fault, most = rng.choice((
            (lambda: bed.cut(n), 6), (lambda: bed.unplug(n), 6), (bed.black_out, 5),
            (lambda: bed.mute(n), 6), (lambda: bed.deafen(n), 6),
            (lambda: bed.cut_between(a, b), 20), (lambda: bed.cut_one_way(a, b), 20),
            (lambda: bed.slow(n, rate="512kbit"), 6),
            (lambda: bed.lossy(n, seed=rng.randrange(1000), loss=rng.uniform(0, 0.2),
                               double=rng.uniform(0, 0.3), delay_ms=(0, rng.uniform(0, 30))), 6)))
        handle = fault()
        self.pause(most, 0.5)
        bed.heal(handle)

    def mend(self):
        for n in (2, 3, 4):
            if not self.cluster[n].pids("drt-node"):
                self.cluster[n].join()
                self.launch(n)

    def rage(self):
        deeds = [self.kill_workers] * 3 + [self.kill_raylet] * 2 + [self.spoil] * 6 + [
            self.kill_head, self.stop_raylet]
        for n in self.bed.numbers:
            self.launch(n)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            self.rng.choice(deeds)()
            self.mend()
            self.pause(2)


def test_storm(cluster):
    cluster.up()
    before = count_descriptors(cluster)
    storm = Storm(cluster)
    storm.rage()
    said = finish(cluster, storm.working, 90)
    errors = {}
    for work in said.values():
        for code, n in work["errors"].items():
            errors[code] = errors.get(code, 0) + n
    print(f"\n{SECONDS:g} s, seed {SEED}: {sum(w['submitted'] for w in said.values())} tasks of "
          f"{len(said)} programs, {sum(w['right'] for w in said.values())} right, longest "
          f"{max(w['longest_ms'] for w in said.values()) / 1000:.1f} s, errors {errors}; "
          f"killed {storm.killed}")
    assert_settled(said, *TYPED, *(f"DRT_E_FAILED/{code}" for code in TYPED))
    assert_all_is_back(cluster, 20)
    assert_nothing_is_left(cluster, {}, max(before.values()) + 2, 60)
