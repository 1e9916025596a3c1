"""Heartbeats beside what people watch their devices with.

Peers: the dictionary that is looked through from end to end (as the older service did),
asyncio's and anyio's ways to receive datagrams, and tooz and plain commands on a
redis-server, where there is one.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from cup._core.clock import SYSTEM
from cup._core.datagrams import Datagrams
from cup._core.datagrams_aio import LoopDriver
from cup.services.heartbeat import (
    AsyncRedisHeartbeats,
    Device,
    HeartbeatService,
    KeyRing,
    RedisHeartbeats,
)
from cup.services.heartbeat._core_monitor import MonitorProgram
from cup.services.heartbeat._core_settings import make_settings
from cup.services.heartbeat._core_wire import BEAT, Sealer

from ._harness import OURS, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._harness import Report

sys.path.insert(0, str(Path(__file__).parent.parent / "services" / "heartbeat"))

HOT = 1000  # devices that beat
PACKETS = 9000  # that fit into the queue of a socket
RING = KeyRing([bytes(range(32))])
SEQUENCE = count(1)


# Devices in this process


class Scanned:
    """A dictionary of devices under a lock, looked through from end to end."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.lock = threading.Lock()
        self.devices: dict[str, Device] = {}

    def refresh(self, key: str) -> None:
        with self.lock:
            device = self.devices.get(key)
            if device is None:
                device = self.devices[key] = Device(key)
            device.set_last_healthy()

    def get_lost(self) -> list[Device]:
        with self.lock:
            now = time.time()
            return [
                device
                for device in self.devices.values()
                if now - device.get_last_healthy() > self.timeout
            ]


def keys_of(number: int) -> list[str]:
    return [f"device-{n}" for n in range(number)]


def filled(service: Any, number: int) -> Any:
    for key in keys_of(number):
        service.refresh(key)
    return service


def beats(service: Any) -> Callable[[], float]:
    """Measure one beat of a device, of a thousand in turn, in microseconds."""
    keys = keys_of(HOT)

    def once() -> float:
        refresh = service.refresh
        start = time.perf_counter()
        for key in keys:
            refresh(key)
        return (time.perf_counter() - start) / len(keys) * 1e6

    return lambda: min(once() for _ in range(30))


def looks(service: Any, number: int) -> Callable[[], float]:
    """Measure a look for losses where there are none, in microseconds."""

    def measure() -> float:
        start = time.perf_counter()
        for _ in range(number):
            assert not service.get_lost()
        return (time.perf_counter() - start) / number * 1e6

    return measure


def some_die(number: int, dead: int) -> float:
    """Measure a look that finds losses, in milliseconds."""
    from cup.testing import VirtualClock

    clock = VirtualClock()
    service = HeartbeatService(60, clock=clock)
    keys = keys_of(number)
    service.refresh_many(keys)
    clock.advance(50)
    service.refresh_many(keys[dead:])
    clock.advance(20)
    start = time.perf_counter()
    found = service.sweep()
    seconds = time.perf_counter() - start
    assert len(found) == dead
    return seconds * 1000


def registry() -> Iterator[Row]:
    scanned, ours = filled(Scanned(3600), HOT), filled(HeartbeatService(3600), HOT)
    yield Row(
        "a beat, 1000 devices",
        {OURS: beats(ours), "a dictionary of devices": beats(scanned)},
        limit=0.35,
    )
    keys = keys_of(HOT)

    def at_once() -> float:
        start = time.perf_counter()
        ours.refresh_many(keys)
        return (time.perf_counter() - start) / HOT * 1e6

    def many() -> float:
        return min(at_once() for _ in range(30))

    yield Row(
        "a beat, 1000 at once",
        {OURS: many, "one by one": beats(ours)},
        goals={"one by one": 0.5},
    )
    scanned, ours = filled(Scanned(3600), 100_000), HeartbeatService(3600)
    ours.refresh_many(keys_of(100_000))
    yield Row(
        "a look for losses, 100 000 devices",
        {OURS: looks(ours, 1000), "a dictionary of devices": looks(scanned, 1)},
        goals={"a dictionary of devices": 0.0001},
        limit=2,
    )
    ours.refresh_many(keys_of(1_000_000))
    yield Row("a look, 1 000 000 devices", {OURS: looks(ours, 1000)}, limit=2)
    yield Row(
        "10 000 losses of 1 000 000 devices",
        {OURS: lambda: some_die(1_000_000, 10_000)},
        unit="ms",
        limit=10,
    )


# Packets


SETTINGS = make_settings(
    "127.0.0.1:0",
    keys=RING,
    timeout=3600,
    suspect_after=None,
    probes=0,
    window=30,
    longest_timeout=3600,
    max_devices=100_000,
    kept_for=3600,
    mass_share=0.5,
    mass_least=10,
    hold=None,
    flap_limit=3,
    flap_window=600,
    receive_buffer=16 << 20,
    state=None,
)


class Wire:
    """A monitor's program, its socket, and packets that wait in there."""

    def __init__(self) -> None:
        self.program = MonitorProgram(SETTINGS, SYSTEM)
        self.waiting: list[tuple[bytes, Any]] = []
        self.socket = Datagrams.bound("127.0.0.1", 0, 16 << 20)
        self.program.transports = [self.socket]
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sender.connect(self.socket.address)
        self.sealers = [Sealer(RING.agent(f"a{n}")) for n in range(HOT)]
        self.fill(1)
        while self.program.read_some():
            pass

    def fill(self, rounds: int) -> None:
        millis = int(time.time() * 1000)
        for _ in range(rounds):
            sequence = next(SEQUENCE)
            for sealer in self.sealers:
                self.sender.send(sealer.seal(BEAT, 1, sequence, millis))

    def noise(self) -> None:
        for _ in range(PACKETS):
            self.sender.send(b"no packet of ours" * 4)

    @property
    def heard(self) -> int:
        return self.program.hearing.counts.beats

    def hear(self, data: bytes, address: Any) -> None:
        """Judge packets that come one by one, some at once as ours does."""
        self.waiting.append((data, address))
        if len(self.waiting) == 250:
            batch, self.waiting = self.waiting, []
            self.program.hearing.hear(batch, SYSTEM.monotonic(), SYSTEM.time())


def in_a_thread(wire: Wire) -> float:
    """Have a monitor's program read all, in microseconds a packet."""
    wire.fill(PACKETS // HOT)
    before = wire.heard
    start = time.perf_counter()
    while wire.program.read_some():
        pass
    seconds = time.perf_counter() - start
    assert wire.heard - before == PACKETS
    return seconds / PACKETS * 1e6


def refuse(wire: Wire) -> float:
    wire.noise()
    start = time.perf_counter()
    while wire.program.read_some():
        pass
    return (time.perf_counter() - start) / PACKETS * 1e6


def bare(wire: Wire) -> float:
    """Read all with `recvfrom`, and do nothing with it."""
    wire.fill(PACKETS // HOT)
    start = time.perf_counter()
    while len(wire.socket.receive(256)) == 256:
        pass
    return (time.perf_counter() - start) / PACKETS * 1e6


def in_a_task(backend: str) -> Callable[[], float]:
    """Measure the same on a loop."""
    wire = Wire()

    async def main() -> float:
        driver = LoopDriver(wire.program, [wire.socket], SYSTEM)
        wire.fill(PACKETS // HOT)
        goal = wire.heard + PACKETS
        start = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(driver.run)
            while wire.heard < goal:
                await anyio.sleep(0.0005)
            seconds = time.perf_counter() - start
            tasks.cancel_scope.cancel()
        return seconds / PACKETS * 1e6

    return lambda: anyio.run(main, backend=backend)


def by_protocol() -> float:
    """Have asyncio call a protocol for each packet; what it does is the same."""
    wire = Wire()

    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            wire.hear(data, addr)

    async def main() -> float:
        wire.fill(PACKETS // HOT)
        goal = wire.heard + PACKETS
        start = time.perf_counter()
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            Protocol, sock=wire.socket.raw
        )
        while wire.heard < goal:
            await asyncio.sleep(0.0005)
        seconds = time.perf_counter() - start
        transport.close()
        return seconds / PACKETS * 1e6

    return asyncio.run(main())


def by_anyio(backend: str) -> Callable[[], float]:
    """Have anyio's own UDP socket give each packet."""

    def measure() -> float:
        wire = Wire()

        async def main() -> float:
            wire.fill(PACKETS // HOT)
            raw = wire.socket.raw
            async with await anyio.UDPSocket.from_socket(raw) as packets:
                start, before = time.perf_counter(), wire.heard
                with anyio.move_on_after(5):
                    async for data, address in packets:
                        wire.hear(data, address)
                        if wire.heard - before >= PACKETS:
                            break
                # asyncio's drops what does not fit into its queue of a hundred.
                seconds = time.perf_counter() - start
                return seconds / max(1, wire.heard - before) * 1e6

        return anyio.run(main, backend=backend)

    return measure


def packets() -> Iterator[Row]:
    wire = Wire()
    contenders = {
        OURS: lambda: in_a_thread(wire),
        "the same in a task, asyncio": in_a_task("asyncio"),
        "the same in a task, trio": in_a_task("trio"),
        "asyncio.DatagramProtocol": by_protocol,
        "recvfrom alone": lambda: bare(wire),
    }
    if hasattr(anyio, "UDPSocket") and hasattr(anyio.UDPSocket, "from_socket"):
        contenders["anyio.UDPSocket, trio"] = by_anyio("trio")
    yield Row(
        "a signed beat over UDP",
        contenders,
        goals={
            "asyncio.DatagramProtocol": 0.45,
            "anyio.UDPSocket, trio": 0.33,
            "recvfrom alone": 2.0,
        },
        limit=2.5,
    )
    yield Row("a packet that is none of ours", {OURS: lambda: refuse(wire)}, limit=1.67)


# A view that is shared on a server


class Server:
    """A redis-server of this benchmark's own."""

    def __init__(self, binary: str) -> None:
        self.folder = tempfile.mkdtemp(prefix="cup-benchmark-")
        self.place = f"{self.folder}/s"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [binary, "--port", str(self.port), "--unixsocket", self.place]
        command += ["--save", ""]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.url = f"unix://{self.place}"
        deadline = time.monotonic() + 10
        while not Path(self.place).exists() and time.monotonic() < deadline:
            time.sleep(0.01)

    def remove(self) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


SENT = 20_000


def shared(server: Server) -> Callable[[], float]:
    view = RedisHeartbeats(server.url, name="threads")
    keys = keys_of(SENT)

    def measure() -> float:
        now = next(SEQUENCE)
        for key in keys:
            view.offer(key, 1, now, 0, "h:1")
        start = time.perf_counter()
        view.tick()
        return (time.perf_counter() - start) / SENT * 1e6

    return measure


def shared_in_tasks(server: Server, backend: str) -> Callable[[], float]:
    keys = keys_of(SENT)

    async def main() -> float:
        async with AsyncRedisHeartbeats(server.url, name=backend, tick=100) as view:
            now = next(SEQUENCE)
            for key in keys:
                view.offer(key, 1, now, 0, "h:1")
            start = time.perf_counter()
            await view.tick()
            return (time.perf_counter() - start) / SENT * 1e6

    return lambda: anyio.run(main, backend=backend)


def one_by_one(server: Server) -> Callable[[], float]:
    import redis

    client = redis.Redis(port=server.port)

    def measure() -> float:
        start = time.perf_counter()
        for n in range(500):
            client.zadd("plain", {f"device-{n}": time.time()})
        return (time.perf_counter() - start) / 500 * 1e6

    return measure


def tooz(server: Server) -> Callable[[], float]:
    from tooz import coordination

    members = coordination.get_coordinator(
        f"redis://127.0.0.1:{server.port}", b"member"
    )
    members.start()

    def measure() -> float:
        start = time.perf_counter()
        for _ in range(500):
            members.heartbeat()
        return (time.perf_counter() - start) / 500 * 1e6

    return measure


def idle(server: Server) -> Callable[[], float]:
    view = RedisHeartbeats(server.url, name="idle", timeout=3600)
    view.refresh_many(keys_of(100_000))
    view.tick()

    def measure() -> float:
        start = time.perf_counter()
        for _ in range(100):
            view.tick()
        return (time.perf_counter() - start) / 100 * 1e6

    return measure


def store(report: Report) -> Iterator[Row]:
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None or not report.needs("redis") or not report.needs("coredis"):
        report.missing.append("redis-server")
        return

    server = Server(binary)
    try:
        contenders = {
            OURS: shared(server),
            "the same in a task, asyncio": shared_in_tasks(server, "asyncio"),
            "the same in a task, trio": shared_in_tasks(server, "trio"),
            "redis-py, ZADD one by one": one_by_one(server),
        }
        goals = {"redis-py, ZADD one by one": 0.3}
        if report.needs("tooz"):
            contenders["tooz, heartbeat()"] = tooz(server)
            goals["tooz, heartbeat()"] = 0.166
        yield Row("a beat on a redis-server", contenders, goals=goals, limit=5)
        yield Row("an idle tick, 100 000 devices", {OURS: idle(server)}, limit=400)
    finally:
        server.remove()


# How soon a death is noticed


def detection(**options: float) -> Callable[[], float]:
    """Measure the mean time to a loss, where 5 % of all packets are lost."""

    def measure() -> float:
        from heartbeat_tools import World, told

        rng = random.Random(7)
        world = World(seed=7, loss=0.05, delay=0.02)
        monitor = world.monitor(mass_least=1000, **options)
        agents = {
            f"a{n}": world.agent(f"a{n}", timeout=options["timeout"]) for n in range(30)
        }
        world.run(300)
        assert not [e for e in told(monitor.events) if e.kind == "lost"]
        died = {}
        for name, agent in agents.items():
            world.run(rng.random())
            died[name] = world.clock.time()
            world.stop(agent)
        world.run(30)
        lost = [e for e in told(monitor.events) if e.kind == "lost"]
        assert len(lost) == len(agents)
        return sum(event.time - died[event.key] for event in lost) / len(lost)

    return measure


def rows(report: Report) -> Iterator[Row]:
    """Give all rows."""
    yield from registry()
    yield from packets()
    yield from store(report)
    yield Row(
        "a death noticed, beats of 1 s, 5 % lost",
        {
            OURS: detection(timeout=2.2, suspect_after=1.2, probes=5),
            "a fixed time-out as safe": detection(timeout=4.4, probes=0),
        },
        unit="s",
        goals={"a fixed time-out as safe": 0.6},
        limit=1.75,
    )
