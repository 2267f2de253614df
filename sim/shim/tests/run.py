#!/usr/bin/env python3
"""The shim's own tests: python3 run.py [FILTER]. They need a C compiler and nothing else.

Each test plays its programs twice with one seed and compares all that was seen; then it looks at the particulars.
"""
import os
import signal
import subprocess
import sys
import tempfile
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from world import World  # noqa: E402

ROOM = tempfile.mkdtemp(prefix="glare-shim-test-")
SHIM = os.path.join(ROOM, "shim.so")
TESTS = []


def test(f):
    TESTS.append(f)
    return f


def program(name):
    path = os.path.join(ROOM, name)
    if not os.path.exists(path):
        subprocess.run([os.environ.get("CC", "cc"), "-O1", "-g", "-w", "-o", path, os.path.join(HERE, name + ".c"), "-lpthread"],
                       check=True)
    return path


def expect(name, got, want):
    assert got == want, f"{name}:\n  got  {got!r}\n  want {want!r}"


@test
def waits(w):
    m = w.machine("host", "198.51.100.7").run([program("waits")])
    w.run_for(60)
    expect("waits", m.lines, [
        "nanosleep 0 0 1500000", "usleep 0 0 1234000", "sleep 0 0 2000000000", "clock_nanosleep 0 0 1500000",
        "clock_nanosleep-wall 0 0 7000000", "thrd_sleep 0 0 1500000", "poll 0 0 15000000", "ppoll 0 0 1500000",
        "select 0 0 2500000", "pselect 0 0 1500000", "epoll_wait 0 0 11000000", "epoll_pwait 0 0 12000000",
        "epoll_pwait2 0 0 1500000", "epoll-in-epoll 1 0 2000000", "epoll-eventfd 1 0 0", "eventfd 7",
        "blocking-read 8 0 2000000", "timerfd_gettime 10000000 4000000", "timerfd-read 8 0 10000000", "expired 1",
        "timerfd-poll 1 0 4000000", "expired 1", "timerfd-many 8 0 0", "expired 2",
        "cond_timedwait 110 0 21000000", "cond_clockwait 110 0 29000000", "cond_timedwait-monotonic 110 0 6000000",
        "cond-signalled 0 0 3000000", "sem_timedwait -1 110 31000000", "sem_clockwait -1 110 32000000",
        "sem_wait 0 0 3000000", "futex -1 110 41000000", "futex-bitset -1 110 42000000", "futex-woken 0 0 3000000",
        "futex-changed -1 11 0", "mutex_timedlock 110 0 10000000", "mutex_lock 0 0 39000000", "pause -1 4 5000000",
        "interrupted -1 4 3000000000", "left 7 alarms 2", "sigtimedwait -1 11 8000000", "sigtimedwait-pending 10 0 0",
        "spun 5000000", "wall 1767225606"])
    expect("exit", m.child.wait(5), 0)


@test
def server(w):
    m = w.machine("host", "198.51.100.7", "2001:db8::7").run([program("server")])
    expect("start", m.lines, ["listens 8080 0", "bind 8080 EADDRINUSE", "listens 9090 0", "listens 9090 0", "listens 0 0",
                              "auto 0.0.0.0 40000"])

    def lines(act, seconds=0.1):
        before = len(m.lines)
        act()
        w.run_for(seconds)
        return m.lines[before:]

    four, six = ("198.51.100.20", 1234), ("2001:db8::20", 77)
    box = []
    expect("accept", lines(lambda: box.append(w.client(four, ("198.51.100.7", 8080)))),
           ["accepted by 4 as 8", "peer ::ffff:198.51.100.20 1234", "local ::ffff:198.51.100.7 8080", "nodelay 0"])
    c = box[0]
    expect("echo", lines(lambda: c.send(b"echo me")), ["event 1 waiting 7", "8 got 7 echo me"])
    expect("echoed", c.received, b"echo me")
    expect("accept six", lines(lambda: box.append(w.client(six, ("2001:db8::7", 8080))))[1], "peer 2001:db8::20 77")
    s = box[1]
    expect("reset", lines(s.reset), ["event 2019 waiting 0", "9 read -1 ECONNRESET", "SO_ERROR 0", "late send -1 EPIPE"])
    expect("fin", lines(c.fin), ["event 2001 waiting 0", "8 read 0 -", "late send 4 -"])
    expect("late bytes arrive", (c.received, c.events), (b"echo melate", ["fin"]))
    # A close with unread bytes, or with SO_LINGER 0, is an abort.
    lines(lambda: box.append(w.client(four, ("198.51.100.7", 8080))))
    lines(lambda: box[2].send(b"q"))
    expect("abort", box[2].events, ["reset"])
    lines(lambda: box.append(w.client(four, ("198.51.100.7", 8080))))
    lines(lambda: box[3].send(b"h"))
    expect("half close", (box[3].received, box[3].events), (b"half", ["fin"]))
    expect("still reads", lines(lambda: box[3].send(b"more"))[-1], "8 got 4 more me")
    # Back-pressure: what the client does not take stays in the program.
    lines(lambda: box.append(w.client(four, ("198.51.100.7", 8080))))
    slow = box[4]
    slow.deaf = True
    expect("full", lines(lambda: slow.send(b"b"))[-1], "wrote until EAGAIN: 1")
    expect("nothing moves", lines(lambda: None), [])
    slow.deaf = False
    expect("writable", lines(lambda: None)[0], "event 4 waiting 0")
    # Both listeners of SO_REUSEPORT get clients.
    for k in range(12):
        lines(lambda k=k: box.append(w.client(("198.51.100.30", 2000 + k), ("198.51.100.7", 9090))))
    by = {x.split()[2] for x in m.lines if x.startswith("accepted by") and x.split()[2] in "56"}
    expect("reuseport", by, {"5", "6"})
    expect("nobody listens", w.client(four, ("198.51.100.7", 1)), None)
    lines(lambda: box[3].send(b"x"))
    expect("closed listener", w.client(four, ("198.51.100.7", 8080)), None)
    m.signal(signal.SIGKILL)
    w.run_for(0.1)
    expect("power loss", (slow.events, m.processes, m.socks), (["reset"] if "reset" in slow.events else ["fin"], [], {}))


@test
def client(w):
    m = w.machine("host", "198.51.100.7").run([program("server")])
    n = w.machine("peer", "198.51.100.8", names={"server.example": "198.51.100.7"}).run([program("client")])
    w.run_for(60)
    expect("client", n.lines, [
        "refused -1 ECONNREFUSED after 20", "timeout -1 ETIMEDOUT after 20010", "unreachable -1 ECONNREFUSED after 20",
        "connects 0 - after 20", "local 198.51.100.8 40003", "read 4 after 20", "write 60000", "all 60000 after 20",
        "SO_RCVTIMEO -1 EAGAIN after 250", "aborted -1 ECONNRESET", "nonblocking -1 EINPROGRESS", "again -1 EALREADY",
        "not yet 0", "then 1 ECONNREFUSED", "nonblocking then 4 0", "again -1 EISCONN",
        "getaddrinfo 0 198.51.100.7 8080", "unknown name 1", "interface lo 127.0.0.1", "interface eth0 198.51.100.8",
        "host peer"])


@test
def udp(w):
    w.hosts["203.0.113.9"] = lambda world, source, to, data: world.after(
        world.latency, lambda: world.datagram(None, to, source, data))
    m = w.machine("host", "198.51.100.7").run([program("udp")])
    w.run_for(10)
    expect("udp", m.lines, [
        "bind 0", "taken -1 EADDRINUSE", "sendto 5", "recvfrom 5 hello 7 203.0.113.9", "recvmsg 6 abc def",
        "pktinfo 198.51.100.7", "ttl 64", "sendmmsg 3", "FIONREAD 1", "recvmmsg 3: 1 2 3", "short 4 1",
        "too long -1 EMSGSIZE", "empty 0 0", "burst 3000", "no address -1 EDESTADDRREQ", "connect 0",
        "local 198.51.100.7 40000", "by read 8", "unreachable -1 ECONNREFUSED", "bind6 0", "six 6 ::ffff:127.0.0.1",
        "timeout -1 EAGAIN 70"])


@test
def process(w):
    m = w.machine("host", "198.51.100.7").run([program("process")])
    w.run_for(5)
    expect("waiting", m.lines[-1], "waiting")
    m.signal(signal.SIGTERM)
    expect("processes", m.lines[2:-5], [
        "pipe 14 from the child at 1020", "waited 1 3", "child 4200003 of 4200001 at 1050", "spawned 7 at 1050",
        "child 4200004 of 4200001 at 1080", "without environment 7", "child 4200006 of 4200005 at 1110", "system 4",
        "child 4200007 of 4200001 at 1140", "vfork 7", "killed by 9"][:len(m.lines[2:-5])])
    expect("end", m.lines[-3:], ["spun for a thread", "waiting", "SIGTERM at 6000"])
    expect("exit", m.child.wait(5), 0)


@test
def wrapped(w):
    m = w.machine("host", "198.51.100.7").run(["sh", "-c", f"echo begin; {program('server')} & wait"])
    n = w.machine("peer", "198.51.100.8").run(["bash", "-c", f"echo begin; {program('client')} | cat; echo end $?"])
    w.run_for(60)
    expect("shell", (m.lines[:2], n.lines[0], n.lines[4], n.lines[-1]),
           (["begin", "listens 8080 0"], "begin", "connects 0 - after 20", "end 0"))
    expect("processes", (len(m.processes), len(n.processes)), (2, 0))
    m.signal(signal.SIGTERM)
    expect("nobody is left", len(m.processes), 0)


@test
def clocks(w):
    code = ("import time,sys\n"
            "for _ in range(4):\n"
            " print(round(time.time(),6), round(time.monotonic(),6), flush=True)\n"
            " time.sleep(1)\n")
    m = w.machine("host", "198.51.100.7").run([sys.executable, "-S", "-c", code])
    w.run_for(1.5)
    m.clock_jump(3_600_000_000_000)
    w.run_for(1)
    m.stalled_until = w.now + 5_000_000_000
    w.run_for(10)
    expect("clocks", m.lines, ["1767225601.0 1.0", "1767225602.0 2.0", "1767229203.0 3.0", "1767229208.5 8.5"])


def main():
    subprocess.run([os.path.join(HERE, "..", "build.sh"), SHIM], check=True)
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    failed = 0
    for t in TESTS:
        if wanted not in t.__name__:
            continue
        hashes, logs = [], []
        for _ in range(2):
            w = World(7, SHIM)
            try:
                t(w)
            except Exception:
                failed += 1
                print(f"{t.__name__}: FAILED", *w.log[-12:], sep="\n    ")
                traceback.print_exc()
            finally:
                left = w.end()
            hashes.append(w.hash.hexdigest())
            logs.append(w.log)
            if left:
                failed += 1
                print(f"{t.__name__}: processes left: {left}")
        if hashes[0] != hashes[1]:
            failed += 1
            differ = next(((a, b) for a, b in zip(*logs) if a != b), (len(logs[0]), len(logs[1])))
            print(f"{t.__name__}: two runs differ: {differ}")
        print(f"{t.__name__}: {len(logs[0])} events, {hashes[0][:12]}")
    subprocess.run(["rm", "-r", ROOM])
    sys.exit(1 if failed else 0)


main()
