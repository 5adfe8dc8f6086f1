"""
Four machines and the network between them, in network namespaces: each machine has its own name,
address, processes, shared memory and home directory; a fifth namespace is the switch. The faults are
the network's own, made at the switch's ports: no program under test is touched.

Nothing here has a name outside its namespace: the machines end with this process, however it ends,
and take with them all that ran on them.
"""

import contextlib
import ctypes
import functools
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

BUILD = Path(os.environ.get("DRT_BUILD", "build")).resolve()
TOOLS = BUILD / "tests" / "netns"
MACHINES = 4
NEEDED = ("ip", "tc", "nsenter")
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

# What a port lets through: programs of the classic packet filter, as `tc` takes them. They see the
# frame from its first byte; 2 drops, 4294967295 asks the next filter.
DROP_ALL = "1,6 0 0 2,"
DROP_IP = "4,40 0 0 12,21 0 1 2048,6 0 0 2,6 0 0 4294967295,"
# A TCP connection that begins: SYN without ACK, in an IP header without options.
DROP_SYN = ("11,40 0 0 12,21 0 7 2048,48 0 0 23,21 0 5 6,48 0 0 14,21 0 3 69,48 0 0 47,84 0 0 18,"
            "21 1 0 2,6 0 0 4294967295,6 0 0 2,")
DROP_TO = "6,40 0 0 12,21 0 3 2048,32 0 0 30,21 0 1 {},6 0 0 2,6 0 0 4294967295,"


@functools.cache
def find_lack():
    """What this machine lacks for the bed, in words; None: nothing."""
    if os.geteuid() != 0:
        return "not root"
    for program in NEEDED:
        if shutil.which(program) is None:
            return f"no {program}"
    if not (TOOLS / "host").exists():
        return "not built"
    if not os.path.exists("/dev/net/tun"):
        return "no /dev/net/tun"
    try:
        bed = Bed(1)
    except RuntimeError as error:
        return f"no network namespaces: {error}"
    bed.close()
    return None


def call(*argv, check=True, given=None):
    done = subprocess.run([str(a) for a in argv], input=given, capture_output=True, text=True,
                          timeout=30)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, argv))}: {done.stderr.strip()}\n{given or ''}")
    return done


class Space:
    """Namespaces that last as long as their first process."""

    def __init__(self, name):
        self.name = name
        self.child = subprocess.Popen([str(TOOLS / "host"), name], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"no machine {name}: {self.child.stderr.read().strip()}")
        self.init = int(line)
        self.space = os.stat(f"/proc/{self.init}/ns/pid").st_ino

    def within(self, *argv, check=True, given=None):
        """Runs a program of the network's, in the namespace of the network only."""
        return call("nsenter", "-t", self.init, "-n", *argv, check=check, given=given)

    def socket(self, kind):
        """A socket of this machine, in the hands of this process."""
        made = []

        def make():
            here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            there = os.open(f"/proc/{self.init}/ns/net", os.O_RDONLY)
            if LIBC.setns(there, CLONE_NEWNET) == 0:
                made.append(socket.socket(socket.AF_INET, kind))
                LIBC.setns(here, CLONE_NEWNET)
            os.close(here)
            os.close(there)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        assert made, f"no socket on {self.name}"
        return made[0]

    def processes(self):
        """Live processes of this machine but its first: {pid as this process sees it: command}."""
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == self.init:
                continue
            try:
                if os.stat(f"/proc/{entry}/ns/pid").st_ino != self.space:
                    continue
                with open(f"/proc/{entry}/stat") as f:
                    if f.read().rsplit(")", 1)[1].split()[0] in "ZX":
                        continue
                with open(f"/proc/{entry}/cmdline", "rb") as f:
                    found[int(entry)] = f.read().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                pass
        return found

    def power_off(self):
        """All that runs there ends at once, and its end of the cable is gone."""
        try:
            os.kill(self.init, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait(timeout=10)
        for stream in (self.child.stdin, self.child.stdout, self.child.stderr):
            stream.close()


class Bed:
    """The switch, the machines' network, and what can be done to it. Machines count from 1."""

    def __init__(self, machines=MACHINES):
        self.count = machines
        self.numbers = range(1, machines + 1)
        self.faults = {}  # handle: what takes it back
        self.rules = 0
        self.relays = {}
        self.spaces = {}
        self.lock = threading.Lock()
        try:
            self.switch = Space("switch")
            for n in self.numbers:
                self.spaces[n] = Space(f"host{n}")
            self._lay_cables()
        except BaseException:
            self.close()
            raise

    def _lay_cables(self):
        lines = ["link add bridge type bridge", "link set bridge up"]
        for n in self.numbers:
            lines += [f"link add port{n} type veth peer name eth0 netns {self.spaces[n].init}",
                      f"link set port{n} master bridge", f"link set port{n} up"]
        self.switch.within("ip", "-batch", "-", given="\n".join(lines) + "\n")
        for n in self.numbers:
            self.spaces[n].within("ip", "-batch", "-", given=(
                f"address add {self.address(n)}/24 dev eth0\nlink set eth0 up\n"))
        self._tc(f"qdisc add dev port{n} clsact" for n in self.numbers)

    def address(self, n):
        return f"10.77.0.{n}"

    def close(self):
        for relay in list(self.relays.values()):
            relay.kill()
            relay.communicate()
        for space in [*self.spaces.values(), getattr(self, "switch", None)]:
            if space is not None and space.child.poll() is None:
                space.power_off()

    # ---- faults: each returns a handle for heal() ----

    def _tc(self, lines):
        self.switch.within("tc", "-batch", "-", given="\n".join(lines) + "\n")

    def _drop(self, rules):
        """rules: (machine, "ingress": what it sends | "egress": what is sent to it, program)."""
        added = []
        with self.lock:
            for machine, way, program in rules:
                self.rules += 1
                added.append(f"dev port{machine} {way} pref {self.rules}")
            self._tc(f'filter add {where} protocol all bpf da bytecode "{program}"'
                     for where, (_, _, program) in zip(added, rules))
            handle = object()
            self.faults[handle] = lambda: self._tc(f"filter del {where}" for where in added)
        return handle

    def _to(self, n):
        return DROP_TO.format(int.from_bytes(socket.inet_aton(self.address(n)), "big"))

    def cut(self, *machines):
        """Nothing comes from or to these machines any more, and nobody is told."""
        return self._drop([(n, way, DROP_ALL) for n in machines for way in ("ingress", "egress")])

    def cut_between(self, a, b):
        """These two do not hear each other; all others hear both."""
        return self._drop([(a, "ingress", self._to(b)), (b, "ingress", self._to(a))])

    def cut_one_way(self, a, b):
        """What a sends to b is lost; what b sends to a arrives."""
        return self._drop([(a, "ingress", self._to(b))])

    def mute(self, n):
        """What n sends is lost, whoever it is for; it hears the others."""
        return self._drop([(n, "ingress", DROP_IP)])

    def deafen(self, n):
        """n hears nobody; the others hear it."""
        return self._drop([(n, "egress", DROP_IP)])

    def wall(self, n):
        """n can connect to others; nobody can connect to n."""
        return self._drop([(n, "egress", DROP_SYN)])

    def black_out(self):
        """No machine hears another."""
        return self.cut(*self.numbers)

    def unplug(self, n):
        """The cable is out: the machine's own kernel sees it."""
        self.switch.within("ip", "link", "set", f"port{n}", "down")
        return self._healed_by(lambda: self.switch.within("ip", "link", "set", f"port{n}", "up"))

    def misroute(self, a, b):
        """a's own kernel refuses to send to b."""
        route = ["blackhole", f"{self.address(b)}/32"]
        self.spaces[a].within("ip", "route", "add", *route)
        return self._healed_by(lambda: self.spaces[a].within("ip", "route", "del", *route))

    def slow(self, n, rate="1mbit", queue="100ms"):
        """A thin cable, both ways: the queue before it is as long as that time, then loses."""
        shape = f"root tbf rate {rate} burst 16kb latency {queue}"
        self._tc([f"qdisc add dev port{n} {shape}"])
        self.spaces[n].within("tc", "-batch", "-", given=f"qdisc add dev eth0 {shape}\n")

        def restore():
            self._tc([f"qdisc del dev port{n} root"])
            self.spaces[n].within("tc", "qdisc", "del", "dev", "eth0", "root")

        return self._healed_by(restore)

    def lossy(self, n, seed=1, loss=0.1, double=0.0, delay_ms=(0, 0)):
        """A cable that loses, doubles, delays and reorders by the seed; see relay.c."""
        self.switch.within("ip", "-batch", "-", given=(
            f"tuntap add dev tap{n} mode tap\nlink set tap{n} master bridge\n"
            f"link set tap{n} up\nlink set port{n} nomaster\n"))
        argv = ["nsenter", "-t", self.switch.init, "-n", TOOLS / "relay", self.spaces[n].init,
                f"port{n}", f"tap{n}", seed, loss, double, *delay_ms]
        child = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if child.stdout.readline() != "ready\n":
            raise RuntimeError(f"no relay: {child.stderr.read().strip()}")
        self._await_forwarding(f"tap{n}")
        handle = self._healed_by(lambda: self._end_relay(handle, n))
        self.relays[handle] = child
        return handle

    def _await_forwarding(self, port):
        """The switch uses a port only when its kernel has noticed that somebody is there: up to 1 s."""
        deadline = time.monotonic() + 10
        while "state forwarding" not in self.switch.within("ip", "-d", "link", "show", port).stdout:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{port} does not forward")
            select.select([], [], [], 0.01)

    def _end_relay(self, handle, n):
        child = self.relays.pop(handle)
        words = child.communicate(timeout=10)[0].split()  # its standard input ends
        self.switch.within("ip", "-batch", "-", given=(
            f"link del tap{n}\nlink set port{n} master bridge\n"))
        return dict(zip(words[::2], map(int, words[1::2])))

    def _healed_by(self, restore):
        handle = object()
        self.faults[handle] = restore
        return handle

    def heal(self, *handles):
        """Takes faults back, all of them if none is named; a relay's counts are the answer."""
        said = None
        for handle in handles or list(self.faults):
            said = self.faults.pop(handle)()
        return said

    @contextlib.contextmanager
    def black_outs(self, dark_s=5.0, period_s=15.0):
        """Again and again, no machine hears another for a while; begins with one. Yields a list
        of when they began."""
        end, began, broken = threading.Event(), [], []

        def go_on():
            try:
                while not end.is_set():
                    start = time.monotonic()
                    began.append(start)
                    handle = self.black_out()
                    end.wait(dark_s)
                    self.heal(handle)
                    end.wait(max(0.0, start + period_s - time.monotonic()))
            except Exception as error:  # told by the thread that waits
                broken.append(error)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield began
        finally:
            end.set()
            thread.join()
            if broken:
                raise broken[0]

    # ---- probes ----

    def who_reaches(self, pairs, limit_s=0.2):
        """Those of the pairs whose datagrams arrive; all try at once, and twice."""
        with contextlib.ExitStack() as stack:
            ends, found = {}, set()
            for a, b in pairs:
                sender, receiver = (stack.enter_context(self.spaces[n].socket(socket.SOCK_DGRAM))
                                    for n in (a, b))
                receiver.bind((self.address(b), 0))
                ends[receiver] = (sender, (a, b))
            for _ in range(2):
                for receiver, (sender, pair) in ends.items():
                    with contextlib.suppress(OSError):
                        sender.sendto(b"?", receiver.getsockname())
                deadline = time.monotonic() + limit_s
                while len(found) < len(ends) and time.monotonic() < deadline:
                    for receiver in select.select(list(ends), [], [], 0.02)[0]:
                        receiver.recv(64)
                        found.add(ends[receiver][1])
            return found

    def reaches(self, a, b, limit_s=0.3, tries=3):
        """Whether a datagram from a arrives at b. Says nothing about the way back."""
        with self.spaces[a].socket(socket.SOCK_DGRAM) as sender, \
                self.spaces[b].socket(socket.SOCK_DGRAM) as receiver:
            receiver.bind((self.address(b), 0))
            nonce = os.urandom(16)
            for _ in range(tries):
                with contextlib.suppress(OSError):
                    sender.sendto(nonce, receiver.getsockname())
                if select.select([receiver], [], [], limit_s)[0]:
                    return receiver.recv(64) == nonce
        return False

    def connect(self, a, b, limit_s=5.0):
        """A connection from a to b: both ends."""
        with self.spaces[b].socket(socket.SOCK_STREAM) as listener:
            listener.bind((self.address(b), 0))
            listener.listen(1)
            near = self.spaces[a].socket(socket.SOCK_STREAM)
            near.settimeout(limit_s)
            try:
                near.connect(listener.getsockname())
                listener.settimeout(limit_s)
                far, _ = listener.accept()
            except OSError:
                near.close()
                raise
            far.settimeout(limit_s)
            return near, far

    def carry(self, near, far, size, limit_s=10.0):
        """Sends size bytes over a connection; the seconds that it took until all were there."""
        block = struct.pack("<I", 0xA5C3F00D) * 4096
        near.settimeout(limit_s)
        far.settimeout(limit_s)
        broken = []

        def send():
            try:
                for at in range(0, size, len(block)):
                    near.sendall(block[:min(len(block), size - at)])
            except OSError as error:
                broken.append(error)

        start = time.monotonic()
        thread = threading.Thread(target=send)
        thread.start()
        got = 0
        try:
            while got < size:
                part = far.recv(65536)
                assert part, "the connection ended"
                got += len(part)
        finally:
            thread.join()
        assert not broken, broken
        return time.monotonic() - start
