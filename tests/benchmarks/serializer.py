"""The durable log beside a raw file and the stores that people use for this.

A figure is the time of one record, so a goal of "8 times raw" reads 1/8 here. Where the
disk is fast, group commit gains less: the ratios of one run are what counts.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from cup.services.serializer import BUFFERED, AsyncLog, Log, LogReader

from ._harness import OURS, Row
from ._serializer_peers import installed
from ._serializer_runs import (
    MICRO,
    SECONDS,
    buffered,
    by_batches,
    by_tasks,
    by_threads,
    folder,
    stalled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ._harness import Report
    from ._serializer_peers import Store

KIB = 1024
HUGE = 1 << 30
SMALL_FILES = {"preallocate": False}
FAR = {"100 B": 100, "1 KiB": KIB}


class Ours:
    """The log, as a store."""

    def __init__(self, place: Path, **options: Any) -> None:
        self.log = Log.open(str(place / "log"), **options)
        self.append = self.log.append
        self.append_all = self.log.append_many

    def buffer(self, payloads: Sequence[bytes]) -> None:
        self.log.append_many(payloads, durability=BUFFERED)

    def scan(self) -> int:
        self.log.sync()
        return sum(1 for _ in self.log.records())

    def close(self) -> None:
        self.log.close()


def against(
    report: Report, measure: Callable[[Callable[[Path], Store]], float], **options: Any
) -> dict[str, Callable[[], float]]:
    """Return ours and every peer, measured the same way."""
    stores = {OURS: partial(Ours, **options), **installed(report)}
    return {name: partial(measure, store) for name, store in stores.items()}


# -- writing ---------------------------------------------------------------------------


def threads(report: Report) -> Iterator[Row]:
    one = partial(by_threads, threads=1, size=100)
    yield Row(
        "durable append of 100 B, 1 thread, no preallocation",
        against(report, one, **SMALL_FILES),
        goals={"raw": 1 / 0.95},
    )
    yield Row(
        "durable append of 100 B, 1 thread",
        against(report, one),
        goals={"raw": 1 / 1.25, "sqlite3 FULL": 1 / 1.5, "lmdb": 1 / 1.5},
    )
    yield Row(
        "durable append of 64 KiB, 1 thread",
        against(report, partial(by_threads, threads=1, size=64 * KIB)),
    )
    yield Row(
        "durable append of 100 B, 8 threads",
        against(report, partial(by_threads, threads=8, size=100)),
        goals={"raw": 1 / 3.3, "plyvel": 1.0},
    )
    for name, size in FAR.items():
        yield Row(
            f"durable append of {name}, 64 threads",
            against(report, partial(by_threads, threads=64, size=size)),
            goals={
                "raw": 1 / 8,
                "plyvel": 1 / 0.95,
                "sqlite3 FULL": 1 / 10,
                "lmdb": 1 / 10,
                "rocksdict": 1 / 7,
            },
        )
    yield Row(
        "durable append of 64 KiB, 64 threads",
        against(report, partial(by_threads, threads=64, size=64 * KIB)),
        goals={"plyvel": 1 / 2},
    )
    yield Row(
        "the busiest of 8 threads has so many appends for one of the laziest",
        against(report, unfairness),
        unit="x",
        limit=1.5,
    )
    yield Row(
        "99 of 100 appends of 8 threads are done within so many syncs",
        {OURS: patience},
        unit="syncs",
        limit=4.0,
    )


def unfairness(make: Callable[[Path], Store]) -> float:
    counts: list[int] = []
    by_threads(make, 8, 100, counts)
    return max(counts) / max(1, min(counts))


def patience() -> float:
    """Return the 99th percentile of an append, in times of one sync."""
    waits: list[float] = []
    stop = threading.Event()
    with folder() as place, Log.open(str(place / "log")) as log:

        def work() -> None:
            while not stop.is_set():
                start = time.perf_counter()
                log.append(b"x" * 100)
                waits.append(time.perf_counter() - start)

        workers = [threading.Thread(target=work) for _ in range(8)]
        for worker in workers:
            worker.start()
        time.sleep(SECONDS)
        stop.set()
        for worker in workers:
            worker.join()
        stats = log.stats()
    waits.sort()
    return waits[len(waits) * 99 // 100] / (stats.sync_seconds / stats.groups)


def tasks(report: Report) -> Iterator[Row]:
    peers = installed(report)
    raw = partial(by_threads, peers["raw"], 1, 100)
    floor = {"raw": raw}
    if "plyvel" in peers:
        floor["plyvel, 64 threads"] = partial(by_threads, peers["plyvel"], 64, 100)
    goals = {1: {"raw": 1 / 0.6}, 64: {"raw": 1 / 18}, 1000: {"raw": 1 / 35}}
    goals[64]["plyvel, 64 threads"] = 1 / 2
    for count, goal in goals.items():
        yield Row(
            f"durable append of 100 B, {count} tasks of asyncio",
            {OURS: partial(by_tasks, count, 100, "asyncio"), **floor},
            goals=goal,
        )
        if count > 1:
            yield Row(
                f"durable append of 100 B, {count} tasks of trio",
                {
                    OURS: partial(by_tasks, count, 100, "trio"),
                    "on asyncio": partial(by_tasks, count, 100, "asyncio"),
                },
                goals={"on asyncio": 1 / 0.7},
            )
    yield Row(
        "longest time that a loop stood still while 1 MiB was appended",
        {OURS: partial(loop_stall, 40), "with nothing to do": partial(loop_stall, 0)},
        unit="ms",
        limit=2.0,
    )


def loop_stall(appends: int) -> float:
    """Return the longest pause of a loop, in milliseconds."""

    async def main(place: str) -> float:
        payload = b"x" * (1 << 20)
        longest = 0.0
        async with (
            await AsyncLog.open(place) as log,
            anyio.create_task_group() as group,
        ):

            async def work() -> None:
                for _ in range(appends):
                    await log.append(payload)
                if not appends:
                    await anyio.sleep(0.2)
                group.cancel_scope.cancel()

            group.start_soon(work)
            last = time.perf_counter()
            while True:
                await anyio.sleep(0)
                now = time.perf_counter()
                longest = max(longest, now - last)
                last = now
        return longest * 1000

    with folder() as place:
        return anyio.run(main, str(place / "log"))


def batches(report: Report) -> Iterator[Row]:
    raw = partial(by_threads, installed(report)["raw"], 1, 100)
    for count, goal in ((10, None), (100, 1 / 45), (1000, 1 / 150)):
        contenders = against(report, partial(by_batches, batch=count, size=100))
        yield Row(
            f"one of {count} records of 100 B that are durable as one",
            {**contenders, "raw, one by one": raw},
            goals={} if goal is None else {"raw, one by one": goal},
        )
    for name, size, batch, many in (
        ("100 B", 100, 1000, 100_000),
        ("1 KiB", KIB, 1000, 50_000),
        ("64 KiB", 64 * KIB, 20, 1000),
    ):
        small = size == 100
        yield Row(
            f"processor time of a record of {name} that is not waited for",
            against(report, partial(buffered, batch=batch, size=size, many=many)),
            goals={"sqlite3 FULL": 1 / 2, "plyvel": 1 / 2} if small else {},
            limit=1 / 0.8 if small else None,
        )


# -- reading ---------------------------------------------------------------------------


def scans(report: Report) -> Iterator[Row]:
    for name, size, count, limit, goals in (
        ("100 B", 100, 200_000, 1 / 1.1, {"plyvel": 1 / 0.9, "sqlite3 FULL": 1 / 0.9}),
        ("1 KiB", KIB, 50_000, KIB / 600, {}),
        ("64 KiB", 64 * KIB, 1000, 64 * KIB / 2000, {}),
    ):
        with folder() as place:
            stores: dict[str, Store] = {
                OURS: Ours(place / "ours", checksum="crc32"),
                "cup, crc32c": Ours(place / "ours, crc32c", checksum="auto"),
            }
            for peer, make in installed(report).items():
                if peer != "diskcache FULL":  # a minute to fill
                    (place / peer).mkdir()
                    stores[peer] = make(place / peer)
            payloads = [os.urandom(size) for _ in range(1000)]
            for store in stores.values():
                for first in range(0, count, 1000):
                    store.buffer(payloads[: count - first])
            yield Row(
                f"processor time of one of {count} records of {name} that are scanned",
                {n: partial(scanned, store, count) for n, store in stores.items()},
                goals=goals,
                limit=limit,
            )
            for store in stores.values():
                store.close()


def scanned(store: Store, count: int) -> float:
    start = time.process_time()
    assert store.scan() == count
    return (time.process_time() - start) / count * MICRO


WRITER = """
import sys
from cup.services.serializer import BUFFERED, Log

log = Log.open(sys.argv[1])
payloads = [bytes(1000) + b"%020d" % n for n in range(1000)]
for _ in range(int(sys.argv[2]) // 1_020_000):
    log.append_many(payloads, durability=BUFFERED)
log.sync()
print(log.next_id, flush=True)
log.append_many(payloads)
sys.stdin.read()
"""
SCANNER = """
import resource, sys
from cup.services.serializer import LogReader

with LogReader.open(sys.argv[1]) as reader:
    for record in reader.records(stop=5000):
        pass
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for record in reader.records():
        pass
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def huge_log(place: Path) -> int:
    """Write a log of 1 GB in a process that is killed; return its next id."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(place / "log"), str(HUGE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    next_id = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    child.wait()
    return next_id


def recovery(_: Report) -> Iterator[Row]:
    with folder() as place:
        next_id = huge_log(place)
        yield Row(
            "processor time of opening a log of 1 GB whose writer was killed",
            {OURS: partial(opened, place, next_id)},
            unit="ms",
            limit=300.0,
        )
        yield Row(
            "processor time of the first record from any id of 1 GB on",
            {OURS: partial(found, place, next_id)},
            unit="ms",
            limit=50.0,
        )
        yield Row(
            "memory that a scan of 1 GB takes",
            {OURS: partial(grown, place)},
            unit="MiB",
            limit=8.0,
        )


def opened(place: Path, next_id: int) -> float:
    start = time.process_time()
    log = Log.open(str(place / "log"))
    seconds = time.process_time() - start
    assert log.next_id >= next_id
    log.close()
    return seconds * 1000


def found(place: Path, next_id: int) -> float:
    longest = 0.0
    with LogReader.open(str(place / "log")) as reader:
        for number in range(1, next_id, next_id // 17):
            start = time.process_time()
            assert next(iter(reader.records(number))).id == number
            longest = max(longest, time.process_time() - start)
    return longest * 1000


def grown(place: Path) -> float:
    run = subprocess.run(
        [sys.executable, "-c", SCANNER, str(place / "log")],
        stdout=subprocess.PIPE,
        check=True,
    )
    return float(run.stdout)


# -- others ----------------------------------------------------------------------------


def neighbours(report: Report) -> Iterator[Row]:
    yield Row(
        "time that another thread stands still while 1 MiB is appended",
        against(report, partial(stalled, size=1 << 20)),
        unit="%",
        limit=10.0,
    )
    yield Row(
        "from an append to who follows in another thread, half of them",
        {OURS: follower_in_thread},
        unit="ms",
        limit=1.0,
    )
    yield Row(
        "from an append to who follows in another process, half of them",
        {OURS: follower_in_process},
        unit="ms",
        limit=20.0,
    )
    yield Row(
        "processor time of a process that follows a log where nothing happens",
        {OURS: idle_follower},
        unit="%",
        limit=1.0,
    )


def late(delays: list[float]) -> float:
    return statistics.median(delays) * 1000


def follower_in_thread() -> float:
    acked: dict[int, float] = {}
    seen: dict[int, float] = {}
    with folder() as place, Log.open(str(place / "log")) as log:

        def follow() -> None:
            for record in log.follow(1):
                seen[record.id] = time.perf_counter()
                if record.payload == b"last":
                    return

        follower = threading.Thread(target=follow)
        follower.start()
        for _ in range(200):
            acked[log.append(b"x")] = time.perf_counter()
            time.sleep(0.001)
        log.append(b"last")
        follower.join()
    return late([seen[number] - at for number, at in acked.items()])


FOLLOWER = """
import sys, time
from cup.services.serializer import LogReader

with LogReader.open(sys.argv[1]) as reader:
    print("ready", flush=True)
    for record in reader.follow(1):
        now = time.monotonic()
        if record.payload == b"last":
            break
        print(now - float(record.payload), flush=True)
    print(time.process_time(), flush=True)
"""


def follower_in_process() -> float:
    with folder() as place, Log.open(str(place / "log")) as log:
        child = follower_of(place)
        for _ in range(150):
            # The append itself is part of what is measured.
            log.append(b"%.9f" % time.monotonic())
            time.sleep(0.003)
        log.append(b"last")
        out, _ = child.communicate()
    return late([float(line) for line in out.split()[:-1]])


def follower_of(place: Path) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-c", FOLLOWER, str(place / "log")], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child


def idle_follower() -> float:
    """Follow for 3 s; starting the interpreter does not count."""
    with folder() as place, Log.open(str(place / "log")) as log:
        child = follower_of(place)
        stat = Path(f"/proc/{child.pid}/stat")
        ticks = lambda: sum(
            map(int, stat.read_text().rpartition(")")[2].split()[11:13])
        )
        time.sleep(0.3)
        before = ticks()
        time.sleep(3)
        used = (ticks() - before) / os.sysconf("SC_CLK_TCK")
        log.append(b"last")
        child.communicate()
    return used / 3 * 100


def rows(report: Report) -> Iterator[Row]:
    """Give all rows."""
    yield from threads(report)
    yield from tasks(report)
    yield from batches(report)
    yield from scans(report)
    yield from recovery(report)
    yield from neighbours(report)
