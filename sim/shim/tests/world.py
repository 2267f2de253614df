"""A small world for the shim's own tests: it speaks the protocol of PROTOCOL.md and plays a network with one latency.

The simulator has its own, larger world. This one is meant to be read beside PROTOCOL.md.
"""
import array
import ctypes
import errno
import hashlib
import heapq
import ipaddress
import mmap
import os
import re
import select
import signal
import socket
import struct
import subprocess
import time

MAGIC = b"glrtime1"
WALL_START = 1_767_225_600_000_000_000  # 2026-01-01
BUFFER = 65536
ACCEPT_BYTES = 192
PATIENCE = 30.0  # real seconds that a program may run without a rest


def stable_environment(shim, control, extra):
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "LD_PRELOAD": shim, "GLARE_SHIM": control,
        "OPENSSL_ia32cap": "~0x10", "PYTHONHASHSEED": "0", "UV_THREADPOOL_SIZE": "1", "UV_USE_IO_URING": "0",
    }
    env.update(extra)
    return env


def fixed_layout():
    ctypes.CDLL(None).personality(0x0040000)  # ADDR_NO_RANDOMIZE
    os.setsid()


def tasks(pid):
    """The state and the switches of each thread of a process; None when it is gone or a zombie."""
    seen = []
    try:
        names = sorted(os.listdir(f"/proc/{pid}/task"), key=int)
    except OSError:
        return None
    for tid in names:
        try:
            with open(f"/proc/{pid}/task/{tid}/status") as f:
                text = f.read()
        except OSError:
            continue  # this thread ended meanwhile; the process may live on
        state = re.search(r"^State:\s+(\S)", text, re.M)[1]
        seen.append((state, sum(int(n) for n in re.findall(r"ctxt_switches:\s+(\d+)", text))))
    return None if all(s in "ZX" for s, _ in seen) else seen


class Process:
    def __init__(self, index, parent, pid, control, calls):
        self.index, self.parent, self.pid, self.control, self.calls = index, parent, pid, control, calls
        self.rest, self.deadline, self.quiet, self.executing, self.answer = None, None, None, False, None
        self.full = False  # it waits for room in a buffer, or once did


class Sock:
    """The world's end of one of the program's sockets."""

    def __init__(self, machine, owner, ident, kind, family, end):
        self.machine, self.owner, self.id, self.kind, self.family, self.end = machine, owner, ident, kind, family, end
        self.state, self.local, self.peer, self.flags = "fresh", ("0.0.0.0" if family == 4 else "::", 0), None, ""
        self.filler, self.backlog = 0, 0
        self.other = None       # the far side of a connection: a Sock or a Client
        self.flying = 0         # bytes under way to the far side
        self.out = b""          # bytes for the program that its buffer did not take
        self.finished = False   # the program's FIN was seen
        end.setblocking(False)

    def hung_up(self):
        p = select.poll()
        p.register(self.end, 0)
        return bool(p.poll(0))


class Client:
    """A TCP client that a test drives by hand."""

    def __init__(self, world, address):
        self.world, self.address, self.sock, self.received, self.events = world, address, None, b"", []
        self.on_bytes, self.deaf = None, False

    def send(self, data):
        self.sock.out += data
        self.world.push(self.sock)

    def fin(self):
        self.sock.end.shutdown(socket.SHUT_WR)
        self.world.touch(self.sock.machine, self.sock.owner)

    def reset(self):
        self.world.reset(self.sock)


class Machine:
    def __init__(self, world, name, addresses, names=None):
        self.world, self.name, self.addresses, self.names = world, name, addresses, names or {}
        self.control = f"glare-test-{os.getpid()}-{len(world.machines)}-{name}"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind("\0" + self.control)
        self.listener.listen(64)
        self.memory = os.memfd_create("page")
        os.ftruncate(self.memory, 4096)
        self.page = mmap.mmap(self.memory, 4096)
        self.page[:8] = MAGIC
        self.wall = WALL_START
        self.processes, self.socks, self.expected, self.next_index, self.next_port = [], {}, [], 1, 40000
        self.pipes, self.partial, self.lines, self.changed, self.touched = {}, {}, [], False, None
        self.stalled_until, self.spins, self.child, self.rests = 0, 0, None, 0
        self.on_line = None
        self.show_time()

    def show_time(self):
        self.page[8:24] = struct.pack("<qq", self.world.now, self.wall)

    def run(self, command, cwd=None, **env):
        self.child = subprocess.Popen(command, env=stable_environment(self.world.shim, self.control, env), cwd=cwd,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      preexec_fn=fixed_layout)
        for stream in (self.child.stdout, self.child.stderr):
            os.set_blocking(stream.fileno(), False)
            self.pipes[stream.fileno()] = stream
            self.partial[stream.fileno()] = b""
        self.expected.append({"pid": self.child.pid, "parent_pid": 0, "index": self.next_index, "parent": 0})
        self.next_index += 1
        self.settle()
        return self

    # ---- what the program says ----

    def read_pipe(self, fd):
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.pipes.pop(fd, None)
            return False
        lines = (self.partial[fd] + data).split(b"\n")
        self.partial[fd] = lines.pop()
        for line in lines:
            text = line.decode("utf8", "replace")
            self.lines.append(text)
            self.world.record(self.name, "prints", text)
            if self.on_line:
                self.on_line(text)
        return True

    def hello(self):
        control, _ = self.listener.accept()
        data, ancillary, _, _ = control.recvmsg(512, socket.CMSG_SPACE(4))
        if not data:
            return control.close()
        word, version, pid, parent_pid, _how = data.decode().split()
        assert word == "hello" and version == "1", data
        calls = socket.socket(fileno=array.array("i", ancillary[0][2])[0])
        pid, parent_pid = int(pid), int(parent_pid)
        old = next((p for p in self.processes if p.pid == pid), None)
        if old:
            index, parent = old.index, old.parent
            self.drop(old)
        else:
            entry = next((e for e in self.expected if e["pid"] == pid), None) or \
                next((e for e in self.expected if e["pid"] is None and e["parent_pid"] == parent_pid), None) or \
                next((e for e in self.expected if e["pid"] is None), None)
            if entry:
                self.expected.remove(entry)
                index, parent = entry["index"], entry["parent"]
            else:
                index, parent = self.next_index, 0
                self.next_index += 1
        self.processes.append(Process(index, parent, pid, control, calls))
        self.processes.sort(key=lambda p: p.index)
        seed = int.from_bytes(hashlib.sha256(f"{self.world.seed} {self.name} {index}".encode()).digest()[:8], "little")
        socket.send_fds(control, [f"welcome {index} {parent} {seed} {self.name}".encode()], [self.memory])

    def drop(self, process):
        if process.control is not None:
            process.control.close()
        process.calls.close()
        self.processes.remove(process)
        self.changed = True

    def gone(self, process):
        """The connection ends a little before the parent can learn of the end."""
        while tasks(process.pid) is not None:
            time.sleep(0.0005)
        self.drop(process)

    def told(self, process):
        try:
            data = process.control.recv(1024)
        except ConnectionResetError:
            data = process.control.recv(1024)  # reported first and once; then comes what it had still said
        if not data:
            if process.executing and tasks(process.pid) is not None:
                process.control.close()
                process.control = None
                return
            return self.gone(process)
        word, *rest = data.decode().split()
        if word == "rest":
            self.rests += 1
            process.rest, process.deadline, process.quiet = int(rest[0]), None if rest[1] == "-" else int(rest[1]), None
            process.full |= "full" in rest
        elif word in ("busy", "still"):
            if process.rest == int(rest[0]):
                process.answer = word
                if word == "busy":
                    process.rest = None
        elif word == "spawned":
            pid = int(rest[0])
            entry = next((e for e in self.expected if e["pid"] is None and e["parent"] == process.index), None)
            if entry and pid and not any(p.pid == pid for p in self.processes):
                entry["pid"] = pid
        elif word == "unspawned":
            self.expected.remove(next(e for e in self.expected if e["parent"] == process.index))
        elif word == "exec":
            process.executing = True
        elif word == "unexec":
            process.executing = False
        elif word in ("poisoned", "unknown"):
            process.answer = word
        else:
            raise AssertionError(f"unknown message {data}")

    def called(self, process):
        try:
            data, ancillary, _, _ = process.calls.recvmsg(4096, socket.CMSG_SPACE(4))
        except ConnectionResetError:
            data = b""
        if not data:
            process.calls.close()
            return
        fd = array.array("i", ancillary[0][2])[0] if ancillary else None
        word, *rest = data.decode().split()
        reply = getattr(self, "call_" + word)(process, fd, *rest)
        try:
            process.calls.send((f"error {reply}" if isinstance(reply, int) else f"ok {reply}".rstrip()).encode())
        except BrokenPipeError:
            pass

    # ---- calls ----

    def call_spawn(self, process, _):
        self.expected.append({"pid": None, "parent_pid": process.pid, "index": self.next_index, "parent": process.index})
        self.next_index += 1
        return ""

    def call_spin(self, process, _):
        self.spins += 1
        self.read_all()  # printed before time moves
        self.world.advance_a_little()
        return ""

    def call_pid(self, process, _, index):
        return next((str(p.pid) for p in self.processes if p.index == int(index)), errno.ESRCH)

    def call_socket(self, process, fd, ident, kind, family):
        self.socks[ident] = Sock(self, process, ident, kind, int(family), socket.socket(fileno=fd))
        return ""

    def call_bind(self, process, _, ident, address, port, flags):
        s, port = self.socks[ident], int(port)
        a = ipaddress.ip_address(address)
        if not a.is_unspecified and not a.is_loopback and address not in self.addresses:
            return errno.EADDRNOTAVAIL
        s.flags = flags
        if port == 0:
            port = self.free_port(s, address)
        elif self.taken(s, address, port):
            return errno.EADDRINUSE
        s.state, s.local, s.owner = "bound", (address, port), process
        return f"{address} {port}"

    def free_port(self, s, address):
        while self.taken(s, address, self.next_port):
            self.next_port += 1
        self.next_port += 1
        return self.next_port - 1

    def taken(self, s, address, port):
        for o in list(self.socks.values()):
            if o is s or o.kind != s.kind or o.local[1] != port or o.state not in ("bound", "listening"):
                continue
            if o.hung_up():
                self.world.closed(o)
                continue
            if "p" in s.flags and "p" in o.flags or s.kind == "udp" and "a" in s.flags and "a" in o.flags:
                continue
            ours, theirs = ipaddress.ip_address(address), ipaddress.ip_address(o.local[0])
            same = ours.version == theirs.version
            dual = any(a.version == 6 and a.is_unspecified and "6" not in f for a, f in ((ours, s.flags), (theirs, o.flags)))
            if same and (ours == theirs or ours.is_unspecified or theirs.is_unspecified) or not same and dual:
                return True
        return False

    def call_listen(self, process, _, ident, backlog):
        s = self.socks[ident]
        if s.state == "fresh":
            s.local = (s.local[0], self.free_port(s, s.local[0]))
        s.state, s.backlog, s.owner = "listening", int(backlog), process
        return f"{s.local[0]} {s.local[1]}"

    def call_connect(self, process, _, ident, address, port, filler):
        s = self.socks[ident]
        if address == "-":
            s.peer = None
            return ""
        a, b = ipaddress.ip_address(address), ipaddress.ip_address(s.local[0])
        source = s.local[0] if not b.is_unspecified else str(a) if a.is_loopback else \
            next((x for x in self.addresses if ipaddress.ip_address(x).version == a.version), None)
        if source is None:
            return errno.ENETUNREACH
        s.local = (source, s.local[1] or self.free_port(s, source))
        s.peer, s.owner = (address, int(port)), process
        if s.kind == "udp":
            s.state = "bound"
        else:
            s.state, s.filler = "connecting", int(filler)
            self.world.connect(s)
        return f"{s.local[0]} {s.local[1]}"

    def call_name(self, process, _, ident):
        s = self.socks.get(ident)
        if s is None:
            return errno.ENOTCONN
        peer = s.peer or ("-", 0)
        return f"{s.state} {s.family} {s.local[0]} {s.local[1]} {peer[0]} {peer[1]}"

    def call_abort(self, process, _, ident):
        self.read_all()  # printed before the abort
        if ident in self.socks:
            self.world.aborted(self.socks[ident])
        return ""

    def call_flush(self, process, _, ident):
        self.world.drain_datagrams(self.socks[ident])
        return ""

    def call_interfaces(self, process, _):
        words = ["lo 1 127.0.0.1 8", "lo 1 ::1 128"]
        words += [f"eth0 2 {a} {64 if ':' in a else 24}" for a in self.addresses]
        return " ".join(words)

    def call_resolve(self, process, _, name):
        return self.names.get(name, errno.ENOENT)

    # ---- rest ----

    def descriptors(self):
        found = {self.listener.fileno(): self.hello}
        for p in self.processes:
            if p.calls.fileno() >= 0:
                found[p.calls.fileno()] = lambda p=p: self.called(p)
            if p.control is not None:
                found[p.control.fileno()] = lambda p=p: self.told(p)
        for fd in self.pipes:
            found[fd] = lambda fd=fd: self.read_pipe(fd)
        return found

    def serve(self, seconds):
        """Handles what has come; waits for it up to `seconds`."""
        found = self.descriptors()
        ready = select.select(list(found), [], [], seconds)[0]
        for fd in ready:
            if fd in self.descriptors():
                found[fd]()
        return bool(ready)

    def look(self):
        """Processes that say nothing: gone, or asleep in the kernel where the shim sees no wait."""
        for e in list(self.expected):
            if e["pid"] and tasks(e["pid"]) is None:
                self.expected.remove(e)
                self.changed = True
        for p in list(self.processes):
            if p.rest is not None:
                continue
            seen = tasks(p.pid)
            if seen is None:
                self.drop(p)
            elif all(s in "STt" for s, _ in seen) and p.quiet is not None and p.quiet[1] == seen:
                p.quiet = (True, seen)
            elif p.quiet is None or p.quiet[1] != seen:
                p.quiet = (False, seen)
        return self.all_or_quiet()

    def all_or_quiet(self):
        return not self.expected and all(p.rest is not None or p.quiet and p.quiet[0] for p in self.processes)

    def until_rest(self):
        began, silent = time.monotonic(), 0
        while self.expected or any(p.rest is None for p in self.processes):
            if self.serve(0.02):
                silent = 0
            else:
                silent += 1
                if self.look() and silent > 3:
                    return
            if time.monotonic() - began > PATIENCE:
                raise AssertionError(f"{self.name} neither rests nor ends: expected {self.expected}, "
                                     f"{[(p.pid, p.rest, p.quiet) for p in self.processes]}")

    def settle(self):
        """Returns when the whole machine is at rest."""
        while True:
            self.until_rest()
            if len(self.processes) < 2 and not self.changed:
                break
            self.changed = False
            if all(self.still(p) for p in list(self.processes)) and not self.changed and self.all_or_quiet():
                break
        self.read_all()

    def read_all(self):
        while any([self.read_pipe(fd) for fd in list(self.pipes)]):
            pass

    def still(self, process):
        if process.rest is None:
            return process.quiet is not None and tasks(process.pid) == process.quiet[1]
        return self.ask(process, f"check {process.rest}") == "still"

    def ask(self, process, text):
        process.answer = None
        try:
            process.control.send(text.encode())
        except OSError:
            return "gone"
        began = time.monotonic()
        while process.answer is None:
            self.serve(0.02)
            if process not in self.processes:
                return "gone"
            assert time.monotonic() - began < PATIENCE, f"no answer to {text}"
        return process.answer

    def go(self, process, why=""):
        if process.rest is None or process not in self.processes:
            return
        number, process.rest = process.rest, None
        try:
            process.control.send(f"go {number} {why}".rstrip().encode())
        except OSError:
            pass
        self.settle()

    def deadline(self):
        times = [p.deadline for p in self.processes if p.rest is not None and p.deadline is not None]
        return max(min(times), self.stalled_until) if times else None

    def signal(self, number):
        for p in list(self.processes):
            try:
                os.kill(p.pid, number)
            except ProcessLookupError:
                pass
        if number == signal.SIGKILL:
            self.child.wait()
            while self.processes:
                self.serve(0.02)
                self.look()
        for p in list(self.processes):
            self.go(p, "signalled")
        self.changed = True
        self.settle()

    def clock_jump(self, ns):
        self.wall += ns
        self.show_time()
        for p in list(self.processes):
            self.go(p)


class World:
    def __init__(self, seed, shim, latency_ns=10_000_000):
        self.seed, self.shim, self.latency, self.now = seed, shim, latency_ns, 1_000_000_000
        self.machines, self.queue, self.order, self.hash, self.log = [], [], 0, hashlib.sha256(), []
        self.hosts = {}  # address -> function(world, source, destination, data): a UDP host that a test plays
        self.loss = None
        self.made = 0

    def machine(self, name, *addresses, names=None):
        m = Machine(self, name, list(addresses), names)
        self.machines.append(m)
        return m

    def record(self, *what):
        line = " ".join(str(x) for x in (f"{self.now / 1e6:.6f}",) + what)
        self.hash.update(line.encode() + b"\n")
        self.log.append(line)

    def at(self, when_ns, act):
        self.order += 1
        heapq.heappush(self.queue, (when_ns, self.order, act))

    def after(self, ns, act):
        self.at(self.now + ns, act)

    # ---- TCP ----

    def listeners(self, address, port, machine=None):
        a = ipaddress.ip_address(address)
        for m in [machine] if a.is_loopback and machine else self.machines:
            if address not in m.addresses and not a.is_loopback:
                continue
            for s in list(m.socks.values()):
                if s.state != "listening" or s.local[1] != port:
                    continue
                if s.hung_up():
                    self.closed(s)
                    continue
                b = ipaddress.ip_address(s.local[0])
                if b == a or b.is_unspecified and (b.version == a.version or b.version == 6 and "6" not in s.flags):
                    yield s

    def client(self, address, to):
        """Connects a client of the test; both are (address, port). None: refused."""
        c = Client(self, address)
        return c if self.enter(c, address, to) else None

    def enter(self, far, source, to, machine=None):
        found = list(self.listeners(*to, machine))
        if not found:
            return None
        listener = found[int.from_bytes(hashlib.sha256(f"{source}{to}".encode()).digest()[:2], "big") % len(found)]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.made += 1
        ident = f"0.{self.made}"
        ours.bind("\0" + listener.machine.control + "/" + ident)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        s = Sock(listener.machine, listener.owner, ident, "tcp", listener.family, ours)
        s.state, s.local, s.peer, s.other = "connected", to, source, far
        if isinstance(far, Client):
            far.sock = s
        else:
            far.other = s
        listener.machine.socks[ident] = s
        text = f"{ident} {source[0]} {source[1]} {to[0]} {to[1]}".encode().ljust(ACCEPT_BYTES, b"\0")
        socket.send_fds(listener.end, [text], [theirs.fileno()])
        theirs.close()
        self.touch(listener.machine, listener.owner)
        return s

    def connect(self, s):
        """The program connects: SYN, and what comes back."""
        def syn():
            if s.state != "connecting":
                return
            if not ipaddress.ip_address(s.peer[0]).is_loopback and not any(s.peer[0] in m.addresses for m in self.machines):
                return self.after(20_000_000_000, lambda: self.refuse(s, errno.ETIMEDOUT))
            made = self.enter(s, s.local, s.peer, s.machine)
            self.after(self.latency, lambda: self.established(s) if made else self.refuse(s, errno.ECONNREFUSED))
        self.after(self.latency, syn)

    def established(self, s):
        if s.state != "connecting":
            return
        while s.filler:
            s.filler -= len(s.end.recv(min(s.filler, BUFFER)))
        s.state = "connected"
        self.touch(s.machine, s.owner)

    def refuse(self, s, why):
        if s.machine.socks.pop(s.id, None):
            try:
                s.owner.control.send(f"fail {s.id} {why}".encode())
            except OSError:
                pass
            s.end.close()
            s.state = "closed"
            self.touch(s.machine, s.owner)

    def push(self, s):
        """Hands bytes to the program as far as its buffer takes them."""
        while s.state == "connected" and s.out:
            try:
                n = s.end.send(s.out, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError:
                s.out = b""
                return
            s.out = s.out[n:]
            if isinstance(s.other, Sock):
                s.other.flying -= n
            self.touch(s.machine, s.owner)

    def reset(self, s):
        """RST reaches the program: PROTOCOL.md, "Reset"."""
        if s.machine.socks.pop(s.id, None):
            for p in list(s.machine.processes):
                if p.rest is not None and s.machine.ask(p, f"reset {s.id}") == "poisoned":
                    break
            s.end.close()
            s.state = "closed"
            self.touch(s.machine, s.owner)

    def aborted(self, s):
        self.drain_stream(s)
        self.closed(s)
        self.far_reset(s, s.other)

    def far_reset(self, s, far):
        if isinstance(far, Client):
            far.events.append("reset")
            self.record(s.machine.name, "resets", far.address)
        elif far:
            self.after(self.latency, lambda: self.reset(far))

    def closed(self, s):
        s.machine.socks.pop(s.id, None)
        s.end.close()
        s.state = "closed"

    def drain_stream(self, s):
        far = s.other
        while s.state == "connected" and not s.finished:
            room = BUFFER - s.flying if isinstance(far, Sock) else BUFFER
            if room <= 0 or getattr(far, "deaf", False):
                return
            try:
                data = s.end.recv(room)
            except BlockingIOError:
                return
            except ConnectionResetError:
                self.closed(s)
                return self.far_reset(s, far)
            if s.owner.full:
                self.touch(s.machine, s.owner)  # its buffer has room again
            if not data:
                s.finished = True
                self.record(s.machine.name, "finishes", s.id)
                if isinstance(far, Client):
                    far.events.append("fin")
                elif far:
                    self.after(self.latency, lambda: self.far_fin(far))
            elif isinstance(far, Client):
                far.received += data
                self.record(s.machine.name, "to", far.address, len(data), hashlib.sha256(data).hexdigest()[:8])
                if far.on_bytes:
                    far.on_bytes(far)
            else:
                s.flying += len(data)
                self.after(self.latency, lambda data=data: self.arrive(far, data))

    def arrive(self, far, data):
        if far.state == "connected":
            far.out += data
            self.push(far)

    def far_fin(self, far):
        if far.state == "connected":
            if far.out:
                return self.after(self.latency, lambda: self.far_fin(far))
            try:
                far.end.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            self.touch(far.machine, far.owner)

    # ---- UDP ----

    def drain_datagrams(self, s):
        while s.state != "closed":
            try:
                data = s.end.recv(70000)
            except BlockingIOError:
                return
            except ConnectionResetError:
                data = b""
            if not data:
                return self.closed(s)
            family, flags, port = struct.unpack(">BBH", data[:4])
            size = 16 if family == 6 else 4
            to = (str(ipaddress.ip_address(data[4:4 + size])), port)
            source = str(ipaddress.ip_address(data[24:24 + size])) if flags & 1 else s.local[0]
            if ipaddress.ip_address(source).is_unspecified:
                source = to[0] if ipaddress.ip_address(to[0]).is_loopback else \
                    next((a for a in s.machine.addresses if ipaddress.ip_address(a).version == family), source)
            payload = data[40:]
            self.record(s.machine.name, "sends", f"{source}:{s.local[1]}", f"{to[0]}:{to[1]}", len(payload),
                        hashlib.sha256(payload).hexdigest()[:8])
            if self.loss and self.loss():
                continue
            self.after(self.latency, lambda a=(source, s.local[1]), b=to, p=payload, m=s.machine: self.datagram(m, a, b, p))

    def datagram(self, machine, source, to, payload):
        if to[0] in self.hosts:
            return self.hosts[to[0]](self, source, to, payload)
        loop = ipaddress.ip_address(to[0]).is_loopback
        for m in [machine] if loop else [m for m in self.machines if to[0] in m.addresses]:
            for s in list(m.socks.values()):
                if s.kind != "udp" or s.state != "bound" or s.local[1] != to[1]:
                    continue
                a, b = ipaddress.ip_address(to[0]), ipaddress.ip_address(s.local[0])
                if not (a == b or b.is_unspecified and (a.version == b.version or b.version == 6 and "6" not in s.flags)):
                    continue
                if s.peer and s.peer != source:
                    continue
                return self.give(s, source, to, payload)
            for s in list(machine.socks.values()):  # port unreachable: a connected sender learns of it
                if s.kind == "udp" and s.peer == to and s.local == source:
                    self.give(s, to, source, b"", error=errno.ECONNREFUSED)

    def give(self, s, source, to, payload, error=0):
        a, b = ipaddress.ip_address(source[0]), ipaddress.ip_address(to[0])
        header = struct.pack(">BBH16sHBB16s", a.version, 3 if error else 1, source[1], a.packed.ljust(16, b"\0"), to[1],
                             error, 64, b.packed.ljust(16, b"\0"))
        try:
            s.end.send(header + payload)
        except OSError:
            return
        self.touch(s.machine, s.owner)

    # ---- time ----

    def touch(self, machine, process):
        machine.touched = process

    def drain(self):
        for m in self.machines:
            for ident in sorted(m.socks, key=lambda i: [int(x) for x in i.split(".")]):
                s = m.socks.get(ident)
                if s is None:
                    continue
                if s.kind == "udp":
                    self.drain_datagrams(s)
                elif s.state == "connected":
                    self.push(s)
                    self.drain_stream(s)
                    if s.state == "connected" and s.finished and s.hung_up() and not s.out:
                        self.closed(s)
                elif s.hung_up():
                    self.closed(s)

    def advance_a_little(self):
        """The program spins: time moves by a millisecond, or to the next event."""
        next_event = self.queue[0][0] if self.queue else self.now + 1_000_000
        self.now = max(self.now, min(self.now + 1_000_000, next_event))
        for m in self.machines:
            m.show_time()

    def run(self, until_ns):
        while True:
            self.drain()
            touched = [m for m in self.machines if m.touched and m.stalled_until <= self.now]
            if not touched:
                times = [self.queue[0][0]] if self.queue else []
                times += [d for d in (m.deadline() for m in self.machines) if d is not None]
                when = min(times, default=until_ns)
                self.now = max(self.now, min(when, until_ns))
                for m in self.machines:
                    if m.stalled_until <= self.now:
                        m.show_time()
                if when > until_ns or not times:
                    return
                if self.queue and self.queue[0][0] <= self.now:
                    heapq.heappop(self.queue)[2]()  # one thing at a time
            for m in self.machines:
                if m.stalled_until > self.now:
                    continue
                touched, m.touched = m.touched, None
                for p in list(m.processes):
                    if p.rest is not None and (p is touched or p.deadline is not None and p.deadline <= self.now):
                        m.go(p)
                if touched and touched not in m.processes:
                    m.changed = True
                    m.settle()

    def run_for(self, seconds):
        self.run(self.now + int(seconds * 1e9))

    def end(self):
        left = []
        for m in self.machines:
            if m.child:
                pids = {p.pid for p in m.processes} | {m.child.pid}
                for pid in pids:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                m.child.wait()
                time.sleep(0.01)
                left += [p for p in pids if tasks(p) is not None]
                for f in (m.child.stdin, m.child.stdout, m.child.stderr):
                    f.close()
            for s in m.socks.values():
                s.end.close()
            for p in m.processes:
                if p.control:
                    p.control.close()
                p.calls.close()
            m.listener.close()
            m.page.close()
            os.close(m.memory)
        return left
