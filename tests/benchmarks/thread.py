"""Readers-writer locks beside those that people use; interrupts."""

from __future__ import annotations

import itertools
import random
import threading
import time
from typing import TYPE_CHECKING, Any

from cup.thread import CupThread, RWLock

from ._harness import OURS, Row
from ._thread_tasks import hand_over, many_readers, task_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ._harness import Report

    Step = Callable[[], Any]
    Pair = tuple[Step, Step]

MANY = 2_000
CHUNKS = 10  # the best counts: others use the machine, too
THREADS = 16
LOCK = "threading.Lock"
FAIR = "readerwriterlock, fair"


class Peer:
    """One lock: how it is acquired and released for each kind of use."""

    def __init__(self, read: Pair, write: Pair) -> None:
        self.read = read
        self.write = write


def plain(lock: Any) -> Peer:
    """Use a lock that knows no readers."""
    pair = (lock.acquire, lock.release)
    return Peer(pair, pair)


def ours() -> Peer:
    lock = RWLock()
    return Peer(
        (lock.acquire_readlock, lock.release_readlock),
        (lock.acquire_writelock, lock.release_writelock),
    )


def handles(lock: Any) -> Peer:
    """Use a lock that gives handles; each thread has to make its own."""
    local = threading.local()

    def handle(kind: str) -> Any:
        found = getattr(local, kind, None)
        if found is None:
            found = getattr(lock, f"gen_{kind}")()
            setattr(local, kind, found)
        return found

    def pair(kind: str) -> Pair:
        if threading.current_thread() is threading.main_thread():
            mine = handle(kind)
            return mine.acquire, mine.release
        return lambda: handle(kind).acquire(), lambda: handle(kind).release()

    return Peer(pair("rlock"), pair("wlock"))


def shared(lock: Any) -> Peer:
    """Use a lock of readerwriterlock in many threads."""
    made = None

    def make() -> None:
        nonlocal made
        made = handles(lock)

    thread = threading.Thread(target=make)  # not the main thread: no handle is kept
    thread.start()
    thread.join()
    assert made is not None
    return made


def peers(report: Report, *, threads: bool = False) -> dict[str, Callable[[], Peer]]:
    """Return what makes each lock, by name.

    Args:
        report: Where to say what is missing.
        threads: Whether many threads use it.
    """
    makers: dict[str, Callable[[], Peer]] = {
        OURS: ours,
        LOCK: lambda: plain(threading.Lock()),
        "threading.RLock": lambda: plain(threading.RLock()),
    }
    if report.needs("readerwriterlock"):
        from readerwriterlock import rwlock

        use = shared if threads else handles
        makers[FAIR] = lambda: use(rwlock.RWLockFair())
        makers["readerwriterlock, write"] = lambda: use(rwlock.RWLockWrite())
    if report.needs("fasteners"):
        import fasteners

        def fast() -> Peer:
            lock = fasteners.ReaderWriterLock()
            return Peer(
                (lock.acquire_read_lock, lock.release_read_lock),
                (lock.acquire_write_lock, lock.release_write_lock),
            )

        makers["fasteners"] = fast
    if report.needs("rwlocker"):
        import rwlocker

        def rw() -> Peer:
            lock = rwlocker.RWLockFair()
            return Peer(
                (lock.read.acquire, lock.read.release),
                (lock.write.acquire, lock.write.release),
            )

        makers["rwlocker, fair"] = rw
    if report.needs("culsans"):
        import culsans

        def green() -> Peer:
            lock = culsans.RWLock()
            reading, writing = lock.reading, lock.writing
            return Peer(
                (reading.green_acquire, reading.green_release),
                (writing.green_acquire, writing.green_release),
            )

        makers["culsans"] = green
    return makers


# -- nobody waits ----------------------------------------------------------------------


def best(chunk: Callable[[Iterable[None]], None]) -> float:
    """Return nanoseconds for one round, of the best chunk of rounds."""
    found = float("inf")
    for _ in range(CHUNKS):
        rounds = itertools.repeat(None, MANY)
        start = time.perf_counter()
        chunk(rounds)
        found = min(found, time.perf_counter() - start)
    return found / MANY * 1e9


def pairs(pair: Pair) -> float:
    """Return nanoseconds for acquiring and releasing once."""
    acquire, release = pair

    def chunk(rounds: Iterable[None]) -> None:
        for _ in rounds:
            acquire()
            release()

    return best(chunk)


def blocks(make: Callable[[], Any]) -> float:
    """Return nanoseconds for a `with` block."""

    def chunk(rounds: Iterable[None]) -> None:
        for _ in rounds:
            with make():
                pass

    return best(chunk)


def optimistic(lock: RWLock) -> float:
    """Return nanoseconds for a read that takes no lock."""
    stamp, validate = lock.stamp, lock.validate

    def chunk(rounds: Iterable[None]) -> None:
        for _ in rounds:
            validate(stamp())

    return best(chunk)


def in_cup_thread(pair: Pair) -> float:
    """Return nanoseconds for a pair in a thread that can be interrupted."""
    thread = CupThread(target=pairs, args=(pair,))
    thread.start()
    thread.join()
    assert isinstance(thread.result, float), thread.exception
    return thread.result


def alone(report: Report) -> Iterator[Row]:
    made = {name: make() for name, make in peers(report).items()}
    lock = RWLock()
    floor = {LOCK: lambda: pairs(made[LOCK].read)}
    for kind, goals in (
        ("read", {LOCK: 3.5, FAIR: 0.30, "culsans": 0.12}),
        ("write", {LOCK: 7.0, FAIR: 0.9, "culsans": 0.30}),
    ):
        yield Row(
            f"{kind} lock, acquired and released",
            {
                name: lambda peer=peer, kind=kind: pairs(getattr(peer, kind))
                for name, peer in made.items()
            },
            unit="ns",
            goals=goals,
        )
    yield Row(
        "with lock.read():",
        {OURS: lambda: blocks(lock.read), **floor},
        unit="ns",
        goals={LOCK: 6.0},
    )
    yield Row(
        "optimistic read: stamp and validate",
        {
            OURS: lambda: optimistic(lock),
            **floor,
        },
        unit="ns",
        goals={LOCK: 1.5},
    )
    for kind in ("read", "write"):
        yield Row(
            f"{kind} lock in a CupThread, which masks interrupts",
            {OURS: lambda kind=kind: in_cup_thread(getattr(ours(), kind)), **floor},
            unit="ns",
            goals={LOCK: 15.0},
        )


# -- many threads ----------------------------------------------------------------------


def nothing() -> Peer:
    """Lock nothing: what the threads cost by themselves."""
    pair = (lambda: None, lambda: None)
    return Peer(pair, pair)


def contend(peer: Peer, writes: float, section: float, seconds: float = 0.3) -> float:
    """Return microseconds per operation of sixteen threads; wall time of all."""
    counts = [0] * THREADS
    start = threading.Barrier(THREADS + 1)
    end = [float("inf")]

    def work(number: int) -> None:
        dice = random.Random(number)
        start.wait()
        while time.perf_counter() < end[0]:
            acquire, release = peer.write if dice.random() < writes else peer.read
            acquire()
            if section:
                time.sleep(section)
            release()
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    end[0] = began + seconds
    start.wait()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - began) / sum(counts) * 1e6


def together(report: Report) -> Iterator[Row]:
    makers = peers(report, threads=True)
    del makers["threading.RLock"]
    for title, writes, section, goals in (
        ("1 of 100 writes, 50 us inside", 0.01, 50e-6, {LOCK: 0.1, FAIR: 0.87}),
        ("1 of 10 writes, 50 us inside", 0.1, 50e-6, {LOCK: 0.33}),
        ("1 of 10 writes, nothing inside", 0.1, 0.0, {FAIR: 1.25, "culsans": 0.33}),
    ):
        yield Row(
            f"sixteen threads, {title}",
            {
                name: lambda make=make, writes=writes, section=section: contend(
                    make(), writes, section
                )
                for name, make in {**makers, "no lock at all": nothing}.items()
            },
            goals=goals,
        )


def longest_wait(peer: Peer, waits: str, seconds: float = 0.4) -> float:
    """Return the longest wait, in milliseconds, among four that hold for 3 ms each.

    Args:
        peer: The lock.
        waits: "read" or "write"; the four others do the other thing.
        seconds: For how long to look.
    """
    end = time.perf_counter() + seconds
    others = peer.write if waits == "read" else peer.read

    def hold() -> None:
        acquire, release = others
        while time.perf_counter() < end:
            acquire()
            time.sleep(0.003)
            release()

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    worst = 0.0
    acquire, release = getattr(peer, waits)
    while time.perf_counter() < end:
        time.sleep(0.001)
        start = time.perf_counter()
        acquire()
        worst = max(worst, time.perf_counter() - start)
        release()
    for thread in threads:
        thread.join()
    return worst * 1e3


def starving(report: Report) -> Iterator[Row]:
    makers = peers(report, threads=True)
    del makers["threading.RLock"]
    for waits, others in (("write", "readers"), ("read", "writers")):
        yield Row(
            f"longest wait to {waits} among four {others} of 3 ms",
            {
                name: lambda make=make, waits=waits: longest_wait(make(), waits)
                for name, make in makers.items()
            },
            unit="ms",
            limit=20.0,
        )


# -- interrupts ------------------------------------------------------------------------


class _Stop(Exception):
    """What threads are interrupted with."""


def interrupt(*, waiting: bool) -> float:
    """Return microseconds from an interrupt to its handler, the median of some."""
    delays = []
    lock = RWLock()
    lock.acquire_writelock()
    for _ in range(30):
        began, came = threading.Event(), [0.0]

        def work(began: threading.Event = began, came: list[float] = came) -> None:
            try:
                began.set()
                if waiting:
                    lock.acquire_readlock()
                while True:
                    pass
            except _Stop:
                came[0] = time.perf_counter()

        thread = CupThread(target=work)
        thread.start()
        began.wait()
        time.sleep(0.002)
        start = time.perf_counter()
        thread.raise_exc(_Stop)
        thread.join()
        delays.append(came[0] - start)
    return sorted(delays)[len(delays) // 2] * 1e6


def rows(report: Report) -> Iterator[Row]:
    """Give all rows."""
    yield from alone(report)
    yield from together(report)
    yield from starving(report)
    yield from hand_over(report)
    yield from task_pairs(report)
    yield from many_readers(report)
    yield Row(
        "interrupt of a thread that waits for a lock",
        {OURS: lambda: interrupt(waiting=True)},
        limit=1000.0,
    )
    yield Row(
        "interrupt of a thread that computes",
        {OURS: lambda: interrupt(waiting=False)},
    )
