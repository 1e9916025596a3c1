"""Stores of metadata and of jobs, beside what people use for that.

A figure is the wall time of one operation. Peers whose name says "no sync" acknowledge
what a power cut takes away: they are here for the price of that.
"""

from __future__ import annotations

import json
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from cup.services.executor import ExecutionService, LogStore
from cup.services.serializer import AsyncMetaStore, MetaStore

from ._harness import OURS, Row
from ._metastore_peers import job, job_stores, stores
from ._serializer_runs import MICRO, SECONDS, folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ._harness import Report
    from ._metastore_peers import JobStore, Store

VALUE = {"name": "something", "size": 12345, "tags": ["a", "b"], "owner": None}
KEYS = 1000
HOUR = 3600.0
PENDING = 100_000


class Ours:
    """A store of metadata."""

    def __init__(self, place: Path) -> None:
        self.store = MetaStore.open(place / "store")
        self.set, self.get = self.store.set, self.store.__getitem__
        self.set_all = self.store.update

    def close(self) -> None:
        self.store.close()


def by_threads(make: Callable[[Path], Store], threads: int) -> float:
    """Return the microseconds of one durable change, of so many threads."""
    done = [0] * threads
    stop = threading.Event()
    begin = threading.Barrier(threads + 1)
    with folder() as place:
        store = make(place)
        store.set("first", VALUE)

        def work(number: int) -> None:
            begin.wait()
            while not stop.is_set():
                store.set(f"{number}/{done[number] % KEYS}", VALUE)
                done[number] += 1

        hands = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
        for hand in hands:
            hand.start()
        begin.wait()
        start = time.perf_counter()
        time.sleep(SECONDS)
        stop.set()
        for hand in hands:
            hand.join()
        took = time.perf_counter() - start
        store.close()
    return took / sum(done) * MICRO


def by_tasks(count: int, backend: str) -> float:
    """Return the microseconds of one durable change, of so many tasks."""
    each = max(5, 20_000 // count // 10)

    async def main(place: Path) -> float:
        async with await AsyncMetaStore.open(place / "store") as store:

            async def work(number: int) -> None:
                for n in range(each):
                    await store.set(f"{number}/{n}", VALUE)

            start = time.perf_counter()
            async with anyio.create_task_group() as group:
                for number in range(count):
                    group.start_soon(work, number)
            return time.perf_counter() - start

    with folder() as place:
        return anyio.run(main, place, backend=backend) / count / each * MICRO


def by_batches(make: Callable[[Path], Store], batch: int) -> float:
    """Return the microseconds of one change among many that are durable as one."""
    with folder() as place:
        store = make(place)
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < SECONDS:
            store.set_all([(f"{done}/{n}", VALUE) for n in range(batch)])
            done += batch
        took = time.perf_counter() - start
        store.close()
    return took / done * MICRO


def filled(make: Callable[[Path], Store], place: Path, count: int) -> Store:
    store = make(place)
    for first in range(0, count, 1000):
        store.set_all([(f"key-{first + n}", VALUE) for n in range(1000)])
    return store


def reading(make: Callable[[Path], Store]) -> float:
    with folder() as place:
        store = filled(make, place, 10_000)
        start = time.perf_counter()
        for n in range(0, 10_000, 2):
            store.get(f"key-{n}")
        took = time.perf_counter() - start
        store.close()
    return took / 5000 * MICRO


def opening(history: int) -> float:
    """Return the milliseconds to open 10,000 keys that were changed so many times."""
    with folder() as place:
        with MetaStore.open(place / "store") as store:
            for turn in range(history):
                for first in range(0, 10_000, 1000):
                    keys = range(first, first + 1000)
                    store.update((f"key-{n}", [turn, VALUE]) for n in keys)
        start = time.perf_counter()
        MetaStore.open(place / "store").close()
        return (time.perf_counter() - start) * 1000


def pause_of_snapshot() -> float:
    """Return the microseconds to take a snapshot of 100,000 keys."""
    with folder() as place:
        store = filled(Ours, place, 100_000)
        assert isinstance(store, Ours)
        start = time.perf_counter()
        for _ in range(1000):
            store.store.snapshot()
        took = time.perf_counter() - start
        store.close()
    return took / 1000 * MICRO


# -- jobs ------------------------------------------------------------------------------


class OurJobs:
    """An executor over its durable store."""

    def __init__(self, place: Path) -> None:
        self.store = LogStore.open(place / "jobs")
        self.executor = ExecutionService(store=self.store)
        self.executor.start()

    def add(self, number: int) -> None:
        self.executor.options(key=f"job {number}").after(HOUR, job, number)

    def load(self) -> int:
        return len(self.store)

    def close(self) -> None:
        self.executor.stop()
        self.store.close()


def adding(make: Callable[[Path], JobStore], threads: int = 1) -> float:
    """Return the microseconds to hand in one durable job."""
    with folder() as place:
        store = make(place)
        store.add(-1)
        counts = [0] * threads
        until = time.perf_counter() + SECONDS

        def work(hand: int) -> None:
            while time.perf_counter() < until:
                store.add(hand * 10_000_000 + counts[hand])
                counts[hand] += 1

        start = time.perf_counter()
        hands = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
        for hand in hands:
            hand.start()
        for hand in hands:
            hand.join()
        took = time.perf_counter() - start
        store.close()
    return took / sum(counts) * MICRO


def text_of_a_job(place: Path) -> dict[str, Any]:
    with LogStore.open(place / "one") as store:
        executor = ExecutionService(store=store)
        executor.options(key="k").after(HOUR, job, 1)
        text = dict(store.load())["k"]
    found: dict[str, Any] = json.loads(text)
    return found


def groups(size: int = 64) -> float:
    """Return the microseconds of one job among so many that are stored as one."""
    with folder() as place:
        template = json.dumps(text_of_a_job(place))
        with LogStore.open(place / "jobs") as store:
            done, start = 0, time.perf_counter()
            while time.perf_counter() - start < SECONDS:
                store.write([(f"job {done + n}", template) for n in range(size)], [])
                done += size
            took = time.perf_counter() - start
    return took / done * MICRO


def restart() -> float:
    """Return the milliseconds until 100,000 stored jobs wait for their time again."""
    with folder() as place:
        fields = text_of_a_job(place)
        with LogStore.open(place / "jobs") as store:
            for first in range(0, PENDING, 1000):
                keys = [f"job {first + n}" for n in range(1000)]
                store.write([(k, json.dumps({**fields, "key": k})) for k in keys], [])
        start = time.perf_counter()
        with LogStore.open(place / "jobs") as store:
            executor = ExecutionService(store=store)
            executor.start()
            took = time.perf_counter() - start
            assert executor.find(f"job {PENDING - 1}") is not None
            assert executor.stop().persisted == PENDING
    return took * 1000


def of_stores(report: Report) -> Iterator[Row]:
    peers = stores(report)
    everybody: dict[str, Callable[[Path], Store]] = {OURS: Ours, **peers}
    goals = {1: {"sqlite3 FULL": 1.0}, 8: {"sqlite3 FULL": 1 / 3}}
    goals[64] = {"sqlite3 FULL": 1 / 8, "diskcache FULL": 1 / 20}
    for threads, goal in goals.items():
        yield Row(
            f"durable change of a key, {threads} threads",
            {
                name: partial(by_threads, make, threads)
                for name, make in everybody.items()
            },
            goals=goal,
        )
    full = partial(by_threads, peers["sqlite3 FULL"], 1)
    for count in (64, 1000):
        yield Row(
            f"durable change of a key, {count} tasks",
            {
                OURS: partial(by_tasks, count, "asyncio"),
                "the same on trio": partial(by_tasks, count, "trio"),
                "sqlite3 FULL, 1 thread": full,
            },
            goals={"sqlite3 FULL, 1 thread": 1 / 8},
        )
    yield Row(
        "one of 100 changes that are durable as one",
        {name: partial(by_batches, make, 100) for name, make in everybody.items()},
        goals={"sqlite3 FULL": 1.0},
    )
    yield Row(
        "reading a key",
        {name: partial(reading, make) for name, make in everybody.items()},
        goals={"sqlite3 FULL": 1.0},
    )
    yield Row(
        "opening 10,000 keys, each changed 60 times",
        {OURS: partial(opening, 60), "each changed 20 times": partial(opening, 20)},
        unit="ms",
        goals={"each changed 20 times": 1.5},
    )
    yield Row("snapshot of 100,000 keys", {OURS: pause_of_snapshot}, limit=50.0)


def of_jobs(report: Report) -> Iterator[Row]:
    peers = job_stores(report)
    yield Row(
        "handing in a durable job, 1 thread",
        {
            OURS: partial(adding, OurJobs),
            **{n: partial(adding, m) for n, m in peers.items()},
        },
    )
    yield Row(
        "handing in a durable job, 64 threads",
        {
            OURS: partial(adding, OurJobs, 64),
            **{f"{n}, 1 thread": partial(adding, m) for n, m in peers.items()},
        },
    )
    yield Row(
        "one of 64 jobs that are stored as one",
        {
            OURS: groups,
            **{f"{n}, one by one": partial(adding, m) for n, m in peers.items()},
        },
        goals={
            "APScheduler, SQL store, one by one": 1 / 250,
            "huey (no sync), one by one": 1 / 15,
        },
        limit=20.0,
    )
    yield Row(
        f"{PENDING} stored jobs wait for their time again",
        {OURS: restart},
        unit="ms",
        limit=1000.0,
    )


def rows(report: Report) -> Iterator[Row]:
    """Give all rows."""
    yield from of_stores(report)
    yield from of_jobs(report)
