"""Locks of tasks beside those that people use; hand-over from threads to tasks."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import sniffio
import trio

from cup.thread import AsyncRWLock

from ._harness import OURS, Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from ._harness import Report

    Acquire = Callable[[], Awaitable[Any]]
    Release = Callable[[], Any]
    Maker = Callable[[], tuple[Acquire, Release]]

MANY = 500
CHUNKS = 10  # the best counts: others use the machine, too
READERS = 5_000
ANYIO = "anyio.Lock"
FAST = "aiorwlock, fast"


def readers(report: Report, backend: str) -> dict[str, Maker]:
    """Return what makes the two halves of a read lock, by name."""

    def ours() -> tuple[Acquire, Release]:
        lock = AsyncRWLock()
        return lock.acquire_readlock, lock.release_readlock

    def of(make: Callable[[], Any]) -> Maker:
        def halves() -> tuple[Acquire, Release]:
            lock = make()
            return lock.acquire, lock.release

        return halves

    makers: dict[str, Maker] = {
        OURS: ours,
        ANYIO: of(anyio.Lock),
        "anyio.Lock, fast": of(lambda: anyio.Lock(fast_acquire=True)),
    }
    if report.needs("aiologic"):
        import aiologic

        def logic() -> tuple[Acquire, Release]:
            lock = aiologic.Lock()
            return lock.async_acquire, lock.async_release

        makers["aiologic.Lock"] = logic
    if report.needs("culsans"):
        import culsans

        def reading() -> tuple[Acquire, Release]:
            lock = culsans.RWLock().reading
            return lock.async_acquire, lock.async_release

        makers["culsans"] = reading
    if backend == "asyncio" and report.needs("aiorwlock"):
        import aiorwlock

        makers[FAST] = of(lambda: aiorwlock.RWLock(fast=True).reader_lock)
        makers["aiorwlock"] = of(lambda: aiorwlock.RWLock().reader_lock)
    return makers


async def pairs(make: Maker) -> float:
    """Return nanoseconds for acquiring and releasing once."""
    acquire, release = make()
    best = float("inf")
    for _ in range(CHUNKS):
        rounds = itertools.repeat(None, MANY)
        start = time.perf_counter()
        for _ in rounds:
            await acquire()
            release()
        best = min(best, time.perf_counter() - start)
    return best / MANY * 1e9


def task_pairs(report: Report) -> Iterator[Row]:
    for backend in ("asyncio", "trio"):
        yield Row(
            f"a task of {backend} acquires and releases a read lock",
            {
                name: lambda make=make, backend=backend: anyio.run(
                    pairs, make, backend=backend
                )
                for name, make in readers(report, backend).items()
            },
            unit="ns",
            goals={FAST: 1.0, "culsans": 0.4, ANYIO: 1.1},
        )


async def crowd(make: Maker) -> float:
    """Return milliseconds until so many tasks have read at the same time."""
    acquire, release = make()
    inside, go = 0, anyio.Event()

    async def read() -> None:
        nonlocal inside
        await acquire()
        inside += 1
        if inside == READERS:
            go.set()
        await go.wait()
        release()

    start = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(READERS):
            tasks.start_soon(read)
    return (time.perf_counter() - start) * 1e3


async def _nothing() -> None:
    """Acquire nothing: what tasks cost by themselves."""


def many_readers(report: Report) -> Iterator[Row]:
    makers = readers(report, "asyncio")
    makers["no lock at all"] = lambda: (_nothing, lambda: None)
    for name in (ANYIO, "anyio.Lock, fast", "aiologic.Lock"):
        makers.pop(name, None)  # they let one in
    yield Row(
        "five thousand tasks read at once",
        {
            name: lambda make=make: anyio.run(crowd, make)
            for name, make in makers.items()
        },
        unit="ms",
    )


# -- between worlds --------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _holder(
    acquire: Callable[[], Any], release: Callable[[], Any]
) -> AsyncIterator[Callable[[], list[float]]]:
    """Give what has a thread acquire a lock, and release it a little later."""
    wanted = threading.Semaphore(0)
    closed = False

    def work() -> None:
        while True:
            wanted.acquire()
            if closed:
                return
            acquire()
            held.set()
            time.sleep(0.001)
            released[0] = time.perf_counter()
            release()

    held = threading.Event()
    released = [0.0]
    thread = threading.Thread(target=work)
    thread.start()

    def hold() -> list[float]:
        held.clear()
        wanted.release()
        held.wait()
        return released

    try:
        yield hold
    finally:
        closed = True
        wanted.release()
        thread.join()


async def handed(make: Callable[[], tuple[Any, ...]]) -> float:
    """Return microseconds from a thread's release to a task that waits; the median."""
    acquire, release, aacquire, arelease = make()
    delays = []
    async with _holder(acquire, release) as hold:
        for _ in range(60):
            released = hold()
            await aacquire()
            delays.append(time.perf_counter() - released[0])
            arelease()
            await anyio.sleep(0)
    return sorted(delays)[len(delays) // 2] * 1e6


def _floor() -> tuple[Any, ...]:
    """Wake a task without any lock: what the way into the loop costs by itself."""
    if sniffio.current_async_library() == "trio":
        token = trio.lowlevel.current_trio_token()
        event = trio.Event()

        async def wait_trio() -> None:
            nonlocal event
            await event.wait()
            event = trio.Event()

        return (
            lambda: None,
            lambda: token.run_sync_soon(event.set),
            wait_trio,
            lambda: None,
        )

    loop = asyncio.get_running_loop()
    flag = asyncio.Event()

    async def wait() -> None:
        await flag.wait()
        flag.clear()

    return (
        lambda: None,
        lambda: loop.call_soon_threadsafe(flag.set),
        wait,
        lambda: None,
    )


def hand_over(report: Report) -> Iterator[Row]:
    def ours() -> tuple[Any, ...]:
        lock = AsyncRWLock()
        face = lock.sync
        return (
            face.acquire_writelock,
            face.release_writelock,
            lock.acquire_writelock,
            lock.release_writelock,
        )

    makers: dict[str, Callable[[], tuple[Any, ...]]] = {OURS: ours}
    if report.needs("culsans"):
        import culsans

        def theirs() -> tuple[Any, ...]:
            lock = culsans.RWLock().writing
            return (
                lock.green_acquire,
                lock.green_release,
                lock.async_acquire,
                lock.async_release,
            )

        makers["culsans"] = theirs
    if report.needs("aiologic"):
        import aiologic

        def logic() -> tuple[Any, ...]:
            lock = aiologic.Lock()
            return (
                lock.green_acquire,
                lock.green_release,
                lock.async_acquire,
                lock.async_release,
            )

        makers["aiologic.Lock"] = logic
    makers["a bare call into the loop"] = _floor
    for backend, limit in (("asyncio", 30.0), ("trio", None)):
        yield Row(
            f"a thread hands a lock over to a task of {backend}",
            {
                name: lambda make=make, backend=backend: anyio.run(
                    handed, make, backend=backend
                )
                for name, make in makers.items()
            },
            goals={"culsans": 0.5},
            limit=limit,
        )
