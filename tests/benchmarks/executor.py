"""The executor beside the pools and schedulers that people queue jobs in.

Where many jobs are queued, processor time is measured, of all threads: on a busy
machine it says more than the time that passes.
"""

from __future__ import annotations

import asyncio
import collections
import datetime as dt
import itertools
import logging
import queue
import statistics
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from cup.services.executor import (
    URGENCY_HIGH,
    URGENCY_LOW,
    URGENCY_NORMAL,
    AsyncExecutionService,
    ExecutionService,
)

from ._harness import OURS, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._harness import Report

TPE = "ThreadPoolExecutor"
PRIORITY = "PriorityQueue and threads"
FLOOR = "floor: deques and tokens"
APS3 = "APScheduler 3"
DASK = "Dask"

MANY = 50_000


def job() -> None:
    """Do nothing: what is measured is the way."""


class PriorityThreads:
    """What people write: a `PriorityQueue` before some threads."""

    def __init__(self, workers: int) -> None:
        self._queue: queue.PriorityQueue[Any] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._threads = [threading.Thread(target=self._work) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while True:
            _, _, fn = self._queue.get()
            if fn is None:
                return
            fn()

    def queue_exec(self, fn: Callable[[], object], urgency: int) -> None:
        self._queue.put((urgency, next(self._numbers), fn))

    def stop(self) -> None:
        for _ in self._threads:
            self._queue.put((9, next(self._numbers), None))
        for thread in self._threads:
            thread.join()


class FloorThreads:
    """What queueing by urgency costs at least: three deques and a queue of tokens."""

    def __init__(self, workers: int) -> None:
        self._lines: list[collections.deque[Any]] = [
            collections.deque() for _ in range(3)
        ]
        self._tokens: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while self._tokens.get() is not None:
            for line in self._lines:
                try:
                    fn = line.popleft()
                except IndexError:
                    continue
                fn()
                break

    def queue_exec(self, fn: Callable[[], object], urgency: int) -> None:
        self._lines[urgency].append(fn)
        self._tokens.put(1)

    def stop(self) -> None:
        for _ in self._threads:
            self._tokens.put(None)
        for thread in self._threads:
            thread.join()


# -- queueing --------------------------------------------------------------------------


def drain(service: Any, number: int) -> float:
    """Queue jobs that nobody waits for, until all have run; return us for each."""
    left = itertools.count(1)
    over = threading.Event()

    def ran() -> None:
        if next(left) == number:
            over.set()

    start = time.process_time()
    for _ in range(number):
        service.queue_exec(ran, URGENCY_NORMAL)
    over.wait(60)
    taken = time.process_time() - start
    service.stop()
    return taken / number * 1e6


def drain_cup() -> float:
    service = ExecutionService(3, 4)
    service.start()
    return drain(service, MANY)


def results(submit: Callable[..., Any], number: int = 20_000) -> float:
    """Submit jobs and take their results; return us for each."""
    start = time.process_time()
    jobs = [submit(job) for _ in range(number)]
    for each in jobs:
        each.result()
    return (time.process_time() - start) / number * 1e6


def round_trips(submit: Callable[..., Any], number: int = 2000) -> float:
    """Submit jobs one after the other, each when the one before is done."""
    start = time.perf_counter()
    for _ in range(number):
        submit(job).result()
    return (time.perf_counter() - start) / number * 1e6


def cup_does(measure: Callable[[Callable[..., Any]], float]) -> float:
    with ExecutionService(3, 4) as service:
        return measure(service.submit)


def threads_do(measure: Callable[[Callable[..., Any]], float]) -> float:
    with ThreadPoolExecutor(4) as pool:
        return measure(pool.submit)


def drain_apscheduler(number: int = 2000) -> float:
    from apscheduler.schedulers.background import BackgroundScheduler

    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.start()
    left = itertools.count(1)
    over = threading.Event()

    def ran() -> None:
        if next(left) == number:
            over.set()

    start = time.process_time()
    for _ in range(number):
        scheduler.add_job(ran, misfire_grace_time=None)
    over.wait(60)
    taken = time.process_time() - start
    scheduler.shutdown()
    return taken / number * 1e6


def queueing(report: Report) -> Iterator[Row]:
    drains = {
        OURS: drain_cup,
        FLOOR: lambda: drain(FloorThreads(4), MANY),
        PRIORITY: lambda: drain(PriorityThreads(4), MANY),
    }
    if report.needs("apscheduler"):
        drains[APS3] = drain_apscheduler
    yield Row(
        "queue a job and forget it, until it has run",
        drains,
        goals={FLOOR: 1 / 0.6, PRIORITY: 0.25},
    )
    yield Row(
        "submit many jobs and take their results",
        {OURS: partial(cup_does, results), TPE: partial(threads_do, results)},
        goals={TPE: 1 / 3},
    )
    yield Row(
        "submit, and wait for the result",
        {OURS: partial(cup_does, round_trips), TPE: partial(threads_do, round_trips)},
        goals={TPE: 1.0},
    )


# -- urgency ---------------------------------------------------------------------------


def share_of_low() -> float:
    """Flood with urgent jobs; return the percentage of starts that LOW got."""
    service = ExecutionService(1, 1)
    ran: list[int] = []
    for _ in range(2000):
        service.queue_exec(partial(ran.append, 2), URGENCY_LOW)
    for _ in range(20_000):
        service.queue_exec(partial(ran.append, 0), URGENCY_HIGH)
    service.start()
    while len(ran) < 16_000:
        time.sleep(0.01)
    share = ran[:16_000].count(2) / 160
    service.stop()
    return 5 / share  # at most 1 if LOW gets at least five of a hundred


def wait_of_high() -> float:
    """Flood with jobs of no urgency; return the longest wait of urgent ones, in ms."""
    with ExecutionService(1, 1) as service:
        for _ in range(2000):
            service.queue_exec(partial(time.sleep, 0.001), URGENCY_LOW)
        waits = []
        view = service.options(urgency=URGENCY_HIGH)
        for _ in range(100):
            asked = time.perf_counter()
            waits.append(view.submit(time.perf_counter).result() - asked)
        service.core.cancel_queued()
        return statistics.quantiles(waits, n=100)[98] * 1e3


# -- delayed jobs ----------------------------------------------------------------------


def late_through(make: Callable[[], Any] | None, rate: int = 400) -> float:
    """Delay 600 jobs; return by how many ms 99 of 100 were late at most."""
    found: list[float] = []
    with ExecutionService(backend=make) as service:
        service.submit(job).result()
        start = time.monotonic() + 0.1
        handles = []
        for n in range(600):
            due = start + n / rate
            handle = service.after(due - time.monotonic(), job)
            handle.add_done_callback(
                lambda _, due=due: found.append(time.monotonic() - due)
            )
            handles.append(handle)
        for handle in handles:
            handle.result()
        while len(found) < len(handles):
            time.sleep(0.01)
    return statistics.quantiles(found, n=100)[98] * 1e3


def late_through_apscheduler(rate: int = 400) -> float:
    from apscheduler.schedulers.background import BackgroundScheduler

    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.start()
    found: list[float] = []
    zero = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=0.5)
    for n in range(600):
        due = zero + dt.timedelta(seconds=n / rate)
        scheduler.add_job(
            lambda due=due: found.append(
                (dt.datetime.now(dt.timezone.utc) - due).total_seconds()
            ),
            "date",
            run_date=due,
            misfire_grace_time=None,
        )
    while len(found) < 600:
        time.sleep(0.01)
    scheduler.shutdown()
    return statistics.quantiles(found, n=100)[98] * 1e3


def delayed(report: Report) -> Iterator[Row]:
    ways: dict[str, Callable[[], float]] = {
        OURS: partial(late_through, None),
        "cup over ThreadPoolExecutor": partial(
            late_through, lambda: ThreadPoolExecutor(2)
        ),
        "cup over ProcessPoolExecutor": partial(
            late_through, lambda: ProcessPoolExecutor(2)
        ),
    }
    if report.needs("loky"):
        from loky import ProcessPoolExecutor as Loky

        ways["cup over loky"] = partial(late_through, lambda: Loky(2))
    if report.needs("apscheduler"):
        ways[APS3] = late_through_apscheduler
    yield Row("600 delayed jobs at 400/s, 99 of 100 end late by", ways, unit="ms")


def late_through_dask() -> float:
    from distributed import Client, LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with (
        LocalCluster(dashboard_address=None, **options) as cluster,
        Client(cluster) as client,
    ):
        return late_through(client.get_executor, rate=100)


# -- tasks -----------------------------------------------------------------------------


def pending_tasks(number: int = 20_000) -> tuple[float, float]:
    """Return us and bytes for each timer that a coroutine function waits for."""
    import tracemalloc

    async def hello() -> None:
        """Do nothing."""

    async def main() -> tuple[float, float]:
        async with AsyncExecutionService() as service:
            start = time.process_time()
            jobs = [await service.after(3600, hello) for _ in range(number)]
            taken = time.process_time() - start
            for each in jobs:
                each.cancel()
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            jobs = [await service.after(3600, hello) for _ in range(number)]
            size = tracemalloc.get_traced_memory()[0] - before
            tracemalloc.stop()
            return taken / number * 1e6, size / number

    return anyio.run(main)


def sleeping_tasks(number: int = 20_000) -> tuple[float, float]:
    """Return the same for a task each that sleeps."""
    import tracemalloc

    async def main() -> tuple[float, float]:
        async def later() -> None:
            await asyncio.sleep(3600)

        start = time.process_time()
        tasks = [asyncio.create_task(later()) for _ in range(number)]
        await asyncio.sleep(0)
        taken = time.process_time() - start
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        tasks = [asyncio.create_task(later()) for _ in range(number)]
        await asyncio.sleep(0)
        size = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return taken / number * 1e6, size / number

    return asyncio.run(main())


def tasks() -> Iterator[Row]:
    ways = {OURS: pending_tasks, "an asyncio task that sleeps": sleeping_tasks}
    yield Row(
        "schedule a coroutine function",
        {name: lambda way=way: way()[0] for name, way in ways.items()},
    )
    yield Row(
        "memory of each pending coroutine function",
        {name: lambda way=way: way()[1] for name, way in ways.items()},
        unit="B",
        limit=400.0,
    )


def rows(report: Report) -> Iterator[Row]:
    """Give what is measured."""
    yield from queueing(report)
    yield Row(
        "five of a hundred, over the share of LOW under a flood of HIGH",
        {OURS: share_of_low},
        unit="",
        limit=1.0,
    )
    yield Row(
        "wait of HIGH under a flood of LOW, 99 of 100 are below",
        {OURS: wait_of_high},
        unit="ms",
        limit=3.0,
    )
    yield from delayed(report)
    if report.needs("distributed"):
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        yield Row(
            "600 delayed jobs at 100/s through Dask, 99 of 100 end late by",
            {OURS: late_through_dask},
            unit="ms",
        )
    yield from tasks()
