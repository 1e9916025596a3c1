"""Pooled memory beside the ways in which people get memory, and receive into it."""

from __future__ import annotations

import itertools
import mmap
import socket
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from cup.services.buffers import (
    LARGE_BLOCK_SIZE,
    MEDIUM_BLOCK_SIZE,
    SMALL_BLOCK_SIZE,
    Buffer,
    BufferPool,
    receive_into,
)

from ._harness import OURS, Row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ._harness import Report

MANY = 20_000
MIB = 1 << 20
MESSAGE = 10 * MEDIUM_BLOCK_SIZE  # 1.35 MB
TRAFFIC = 512 * MIB
SOURCE = Path(__file__).parents[2]


def each(act: Callable[[], Any], count: int = MANY) -> Callable[[], float]:
    """Measure one call, in microseconds."""

    def measure() -> float:
        rounds = itertools.repeat(None, count)
        start = time.perf_counter()
        for _ in rounds:
            act()
        return (time.perf_counter() - start) / count * 1e6

    return measure


def resident() -> int:
    """Tell how many bytes of this process are real memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


# -- taking and giving back ------------------------------------------------------------


def taking(np: Any, pa: Any) -> Iterator[Row]:
    lock = threading.Lock()

    def locked() -> None:
        with lock:
            pass

    for size in (SMALL_BLOCK_SIZE, MEDIUM_BLOCK_SIZE, LARGE_BLOCK_SIZE):
        for count in (1, 10):
            pool = BufferPool(pool_size=100, block_size=size)

            def ours(pool: BufferPool = pool, count: int = count) -> None:
                _, buffer = pool.allocate(count)
                pool.deallocate(buffer)

            total = size * count
            times = MANY if total < MIB else 500
            peers: dict[str, Callable[[], float]] = {
                OURS: each(ours),
                "bytearray": each(lambda total=total: bytearray(total), times),
                "mmap": each(lambda total=total: mmap.mmap(-1, total).close(), times),
                "a lock": each(locked),
            }
            if np is not None:
                peers["numpy.empty"] = each(
                    lambda total=total: np.empty(total, "u1"), times
                )
            if pa is not None:
                peers["pyarrow"] = each(
                    lambda total=total: pa.allocate_buffer(total), times
                )
            yield Row(
                f"take {count} x {size // 1024} KiB and give it back",
                peers,
                goals={"a lock": 12} if count == 1 else {},
            )


def filling(np: Any) -> Iterator[Row]:
    for size in (MEDIUM_BLOCK_SIZE, LARGE_BLOCK_SIZE):
        total = 10 * size
        content = bytes(total)
        pool = BufferPool(pool_size=10, block_size=size)

        def ours(pool: BufferPool = pool, content: bytes = content) -> None:
            with pool.acquire(10) as buffer:
                buffer.set(content)

        def by_bytearray(content: bytes = content) -> None:
            memory = bytearray(len(content))
            memory[:] = content

        def by_mmap(content: bytes = content) -> None:
            with mmap.mmap(-1, len(content)) as memory:
                memory[:] = content

        peers: dict[str, Callable[[], float]] = {
            OURS: each(ours, 200),
            "bytearray": each(by_bytearray, 200),
            "mmap": each(by_mmap, 50),
        }
        if np is not None:
            source = np.frombuffer(content, "u1")

            def by_numpy(source: Any = source) -> None:
                np.empty(len(source), "u1")[:] = source

            peers["numpy.empty"] = each(by_numpy, 200)
        yield Row(f"take, fill and give back 10 x {size // 1024} KiB", peers)


# -- pools -----------------------------------------------------------------------------


def in_fresh_process(expression: str) -> list[float]:
    """Evaluate in a new interpreter; give CPU milliseconds, MiB of memory, the value.

    Of what was freed before, an allocator keeps what it likes: so nothing was.
    """
    code = (
        "import time\n"
        "from tests.benchmarks.buffers import *\n"
        "before = resident(); start = time.process_time()\n"
        f"value = {expression}\n"
        "spent = time.process_time() - start\n"
        "value = value if isinstance(value, float) else 0\n"
        "print(spent * 1e3, (resident() - before) / 2**20, value)\n"
    )
    out = subprocess.check_output([sys.executable, "-c", code], cwd=SOURCE)
    return [float(part) for part in out.split()]


def pools() -> Iterator[Row]:
    ours = "BufferPool(102400, MEDIUM_BLOCK_SIZE)"
    yield Row(
        "make a pool of 102,400 x 132 KiB",
        {OURS: lambda: in_fresh_process(ours)[0]},
        unit="ms",
        limit=10,
    )
    yield Row(
        "its memory before it is used",
        {OURS: lambda: in_fresh_process(ours)[1]},
        unit="MiB",
        limit=16,
    )
    yield Row(
        "make 1,000 blocks of 132 KiB",
        {
            OURS: lambda: in_fresh_process("BufferPool(1000)")[0],
            "[bytearray(n) for ...]": lambda: in_fresh_process(
                "[bytearray(MEDIUM_BLOCK_SIZE) for _ in range(1000)]"
            )[0],
        },
        unit="ms",
    )
    yield Row("left after use of 256 MiB and trim", {OURS: trimmed}, "MiB", limit=16)


def trimmed() -> float:
    """Use a pool, trim it, and give the MiB that are left."""
    before = resident()
    pool = BufferPool(2000)
    with pool.acquire(2000) as buffer:
        buffer.truncate(buffer.maxsize())
    pool.trim()
    return (resident() - before) / MIB


CONTENT = memoryview(bytes(MESSAGE))
CHURN: dict[str, tuple[str, str | None]] = {
    OURS: ("pool", None),
    "bytearray": ("bytearray", None),
    "numpy, copied": ("numpy", "numpy"),
}


def churn(kind: str) -> None:
    """Have 4 threads hold 1 to 10 x 132 KiB each, filled, and free it all."""
    pool = BufferPool(400)

    def fill(count: int) -> Buffer:
        buffer = pool.acquire(count)
        buffer.set(CONTENT[: count * MEDIUM_BLOCK_SIZE])
        return buffer

    take: Callable[[int], object] = fill
    if kind == "bytearray":
        take = lambda count: bytearray(CONTENT[: count * MEDIUM_BLOCK_SIZE])
    elif kind == "numpy":
        source = import_module("numpy").frombuffer(CONTENT, "u1")
        take = lambda count: source[: count * MEDIUM_BLOCK_SIZE].copy()

    threads = [threading.Thread(target=hold, args=(take, n)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.trim()


def hold(take: Callable[[int], object], number: int) -> None:
    """Take memory and drop it, with up to 8 pieces at once."""
    held: list[object] = []
    for step in range(1500):
        held.append(take(1 + (step * 7 + number) % 10))
        if len(held) > 8:
            gone = held.pop((step * 5) % 8)
            if isinstance(gone, Buffer):
                gone.release()
    for gone in held:
        if isinstance(gone, Buffer):
            gone.release()


def churning(report: Report) -> Iterator[Row]:
    kinds = {
        name: kind
        for name, (kind, package) in CHURN.items()
        if package is None or report.needs(package)
    }
    for title, unit, at, goals, limit in (
        (
            "4 threads churn 1 to 10 x 132 KiB, filled, CPU",
            "ms",
            0,
            {"bytearray": 0.5},
            None,
        ),
        ("memory left after that", "MiB", 1, {}, 1.0),
    ):
        yield Row(
            title,
            {
                name: (
                    lambda kind=kind, at=at: in_fresh_process(f"churn({kind!r})")[at]
                )
                for name, kind in kinds.items()
            },
            unit=unit,
            goals=goals,
            limit=limit,
        )


# -- receiving -------------------------------------------------------------------------

SENDER = """
import socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
data, left = bytes(1 << 20), int(sys.argv[2])
while left:
    left -= sock.send(data[:left])
sock.close()
"""


class Traffic:
    """A process that sends so much over loopback."""

    def __enter__(self) -> socket.socket:
        with socket.create_server(("127.0.0.1", 0)) as server:
            far = socket.create_connection(server.getsockname())
            self.near, _ = server.accept()
        with far:
            command = [sys.executable, "-c", SENDER, str(far.fileno()), str(TRAFFIC)]
            self.process = subprocess.Popen(command, pass_fds=[far.fileno()])
        return self.near

    def __exit__(self, *_: object) -> None:
        self.near.close()
        self.process.wait()


def per_gigabyte(receive: Callable[[socket.socket], int]) -> Callable[[], float]:
    """Measure the CPU milliseconds of this process for one GB."""

    def measure() -> float:
        with Traffic() as near:
            start = time.process_time()
            received = receive(near)
            spent = time.process_time() - start
        assert received == TRAFFIC
        return spent * 1e3 / TRAFFIC * 1e9

    return measure


def by_joining(near: socket.socket) -> int:
    received = 0
    while True:
        parts: list[bytes] = []
        size = 0
        while size < MESSAGE and (part := near.recv(min(65536, MESSAGE - size))):
            parts.append(part)
            size += len(part)
        received += len(b"".join(parts))
        if size < MESSAGE:
            return received


def by_bytearray(near: socket.socket) -> int:
    received = 0
    while True:
        message = bytearray(MESSAGE)
        view, size = memoryview(message), 0
        while size < MESSAGE and (count := near.recv_into(view[size:])):
            size += count
        received += size
        if size < MESSAGE:
            return received


def by_pool(near: socket.socket) -> int:
    pool = BufferPool(20)
    received = 0
    while True:
        with pool.acquire(10) as buffer:
            while buffer.recvmsg_into(near):
                pass
            received += buffer.length()
            if buffer.length() < MESSAGE:
                return received


async def into_pool(stream: Any) -> int:
    pool = BufferPool(20).aio
    received = 0
    while True:
        with await pool.acquire(10) as buffer:
            while buffer.length() < MESSAGE and await receive_into(stream, buffer):
                pass
            received += buffer.length()
            if buffer.length() < MESSAGE:
                return received


async def into_bytes(stream: Any) -> int:
    received = 0
    while True:
        try:
            received += len(await stream.receive(65536))
        except anyio.EndOfStream:
            return received


def on_loop(
    receive: Callable[[Any], Awaitable[int]], *, raw: bool = False, **how: Any
) -> Callable[[socket.socket], int]:
    """Receive from an anyio stream, or from the socket itself."""

    async def main(near: socket.socket) -> int:
        near.setblocking(False)
        if raw:
            return await receive(near)
        async with await anyio.abc.SocketStream.from_socket(near.dup()) as stream:
            return await receive(stream)

    return lambda near: anyio.run(main, near, **how)


LOOPS: dict[str, dict[str, Any]] = {
    "asyncio": {"backend": "asyncio"},
    "uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}


WAYS: dict[str, Callable[[socket.socket], int]] = {
    OURS: by_pool,
    "recv and join": by_joining,
    "recv_into a bytearray": by_bytearray,
}


def fresh(way: str) -> float:
    """Measure a way to receive in a process of its own."""
    return in_fresh_process(f"per_gigabyte({way})()")[2]


def receiving(report: Report) -> Iterator[Row]:
    yield Row(
        "receive messages of 1.35 MB in a fresh process, CPU for a GB",
        {name: (lambda way=way: fresh(way.__name__)) for name, way in WAYS.items()},
        unit="ms",
        goals={"recv and join": 0.5},
    )
    yield Row(
        "the same after much memory was freed",
        {name: per_gigabyte(way) for name, way in WAYS.items()},
        unit="ms",
    )
    for loop, how in LOOPS.items():
        if loop == "asyncio" or report.needs(loop):
            yield Row(
                f"receive from an anyio stream on {loop}, CPU for a GB",
                {
                    OURS: per_gigabyte(on_loop(into_pool, **how)),
                    "cup, from a plain socket": per_gigabyte(
                        on_loop(into_pool, raw=True, **how)
                    ),
                    "stream.receive(65536)": per_gigabyte(on_loop(into_bytes, **how)),
                },
                unit="ms",
                goals={"stream.receive(65536)": 0.75},
            )


def rows(report: Report) -> Iterator[Row]:
    """Give every row of this benchmark."""
    np = import_module("numpy") if report.needs("numpy") else None
    pa = import_module("pyarrow") if report.needs("pyarrow") else None
    yield from taking(np, pa)
    yield from filling(np)
    yield from receiving(report)
    if sys.platform == "linux":
        yield from pools()
        yield from churning(report)
