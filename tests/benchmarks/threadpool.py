"""The thread pool beside the executors, pools and bridges that people use."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing.pool
import threading
import time
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.from_thread
import anyio.to_thread
import trio

from cup.services.threadpool import (
    AsyncThreadPool,
    ThreadPool,
    await_in_loop,
    run_in_loop,
)

from ._harness import OURS, Row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ._harness import Report

TPE = "ThreadPoolExecutor"
MP = "multiprocessing.pool"


def job() -> None:
    """Do nothing: what is measured is the way there and back."""


def same(item: int) -> int:
    """Do next to nothing with an item."""
    return item


def per_operation(count: int, work: Callable[[], object]) -> float:
    """Return microseconds per operation."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) / count * 1e6


# -- threads ---------------------------------------------------------------------------


def executors(report: Report, workers: int) -> dict[str, Callable[[], Any]]:
    """Return what makes each pool, by name."""
    makers: dict[str, Callable[[], Any]] = {
        OURS: lambda: ThreadPool(max_workers=workers),
        TPE: lambda: concurrent.futures.ThreadPoolExecutor(workers),
    }
    if report.needs("pebble"):
        from pebble import ThreadPool as Pebble

        makers["pebble"] = lambda: Pebble(max_workers=workers)
    return makers


def close(pool: Any) -> None:
    if hasattr(pool, "shutdown"):
        pool.shutdown()
    else:
        pool.close()
        pool.join()


def one_by_one(make: Callable[[], Any], count: int = 3000) -> float:
    pool = make()
    submit = getattr(pool, "submit", None) or pool.schedule
    if type(pool).__module__.startswith("pebble"):
        submit = pool.schedule
    submit(job).result()

    def work() -> None:
        for _ in range(count):
            submit(job).result()

    try:
        return per_operation(count, work)
    finally:
        close(pool)


def mp_one_by_one(workers: int, count: int = 1000) -> float:
    with multiprocessing.pool.ThreadPool(workers) as pool:
        pool.apply(job)
        return per_operation(count, lambda: [pool.apply(job) for _ in range(count)])


def burst(make: Callable[[], Any], count: int = 3000) -> float:
    pool = make()
    submit = pool.schedule if hasattr(pool, "schedule") else pool.submit
    submit(job).result()

    def work() -> None:
        for future in [submit(job) for _ in range(count)]:
            future.result()

    try:
        return per_operation(count, work)
    finally:
        close(pool)


def mp_burst(workers: int, count: int = 3000) -> float:
    with multiprocessing.pool.ThreadPool(workers) as pool:
        pool.apply(job)

        def work() -> None:
            for result in [pool.apply_async(job) for _ in range(count)]:
                result.get()

        return per_operation(count, work)


def forget(make: Callable[[], Any], name: str, count: int = 3000) -> float:
    """Submit without looking back, until all has run."""
    pool = make()
    submit = getattr(pool, name)
    done = threading.Event()

    def work() -> None:
        for _ in range(count - 1):
            submit(job)
        submit(done.set)
        done.wait()

    pool.submit(job).result()
    try:
        return per_operation(count, work)
    finally:
        close(pool)


def mapping(make: Callable[[], Any], count: int = 2000) -> float:
    pool = make()
    list(pool.map(same, range(10)))
    try:
        return per_operation(count, lambda: list(pool.map(same, range(count))))
    finally:
        close(pool)


def mp_mapping(workers: int, count: int = 2000) -> float:
    with multiprocessing.pool.ThreadPool(workers) as pool:
        pool.map(same, range(10))
        return per_operation(count, lambda: pool.map(same, range(count), chunksize=1))


def queued_bytes(pool: Any, submit: Callable[..., object], count: int = 2000) -> float:
    """Return the bytes that one queued job costs."""
    gate = threading.Event()
    submit(gate.wait)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [submit(job) for _ in range(count)]
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    gate.set()
    close(pool)
    del kept
    return used / count


def bytes_of(make: Callable[[], Any], name: str) -> float:
    pool = make()
    return queued_bytes(pool, getattr(pool, name))


def stopping(make: Callable[[], Any]) -> float:
    """Return the microseconds that stopping eight idle workers takes."""
    pool = make()
    gate = threading.Barrier(9)
    for _ in range(8):
        pool.submit(gate.wait)
    gate.wait()
    time.sleep(0.01)  # they are on their way to idle
    return per_operation(1, pool.shutdown)


def thread_rows(report: Report) -> Iterator[Row]:
    for workers, goals in ((1, {TPE: 0.48}), (4, {TPE: 0.48})):
        makers = executors(report, workers) if workers == 1 else executors(report, 4)
        contenders = {name: partial(one_by_one, make) for name, make in makers.items()}
        contenders[MP] = partial(mp_one_by_one, workers)
        yield Row(f"submit, then result; {workers} workers", contenders, goals=goals)
    contenders = {name: partial(burst, make) for name, make in makers.items()}
    contenders[MP] = partial(mp_burst, 4)
    yield Row("submit 3000, then results", contenders, goals={TPE: 0.40})
    yield Row(
        "fire and forget, until all has run",
        {
            OURS: partial(forget, makers[OURS], "post"),
            TPE: partial(forget, makers[TPE], "submit"),
        },
        goals={TPE: 0.25},
        limit=1.5,
    )
    yield Row(
        "map over 2000 items",
        {
            OURS: partial(mapping, makers[OURS]),
            TPE: partial(mapping, makers[TPE]),
            f"{MP}, chunks of 1": partial(mp_mapping, 4),
        },
        goals={TPE: 0.30, f"{MP}, chunks of 1": 1.0},
    )
    yield Row(
        "memory of a queued job",
        {
            OURS: partial(bytes_of, lambda: ThreadPool(max_workers=1), "submit"),
            "cup, post": partial(bytes_of, lambda: ThreadPool(max_workers=1), "post"),
            TPE: partial(
                bytes_of, lambda: concurrent.futures.ThreadPoolExecutor(1), "submit"
            ),
        },
        unit="bytes",
        goals={TPE: 0.35},
        limit=600,
    )
    eight = {
        OURS: lambda: ThreadPool(max_workers=8),
        TPE: lambda: concurrent.futures.ThreadPoolExecutor(8),
    }
    yield Row(
        "stop eight idle workers",
        {name: partial(stopping, make) for name, make in eight.items()},
        limit=1000,
    )


# -- tasks -----------------------------------------------------------------------------


async def gather(count: int, many: Callable[[], Awaitable[None]]) -> None:
    """Run so many tasks, by what the loop itself has for it."""
    if sniffed() == "asyncio":
        await asyncio.gather(*[many() for _ in range(count)])
        return

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(many)


def block(seconds: float) -> None:
    time.sleep(seconds)


def sniffed() -> str:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return "trio"
    return "asyncio"


def awaited(
    run: Callable[[Callable[[], Awaitable[float]]], float],
    prepare: Callable[[], tuple[Callable[[], Awaitable[object]], Callable[[], Any]]],
    tasks: int,
    total: int = 4000,
) -> float:
    """Return the microseconds of one awaited call, with so many tasks at once."""
    each = max(10, total // tasks)

    async def main() -> float:
        call, end = prepare()

        async def many() -> None:
            for _ in range(each):
                await call()

        await call()
        start = time.perf_counter()
        await gather(tasks, many)
        took = time.perf_counter() - start
        ended = end()
        if ended is not None:
            await ended
        return took / (tasks * each) * 1e6

    return run(main)


def ours() -> tuple[Callable[[], Awaitable[object]], Callable[[], Any]]:
    pool = AsyncThreadPool(max_workers=4)
    return (lambda: pool.run(job)), pool.stop


def by_asyncio() -> tuple[Callable[[], Awaitable[object]], Callable[[], Any]]:
    executor = concurrent.futures.ThreadPoolExecutor(4)
    asyncio.get_running_loop().set_default_executor(executor)
    return (lambda: asyncio.to_thread(job)), (lambda: None)


def by_anyio() -> tuple[Callable[[], Awaitable[object]], Callable[[], Any]]:
    limiter = anyio.CapacityLimiter(4)
    return (
        lambda: anyio.to_thread.run_sync(job, limiter=limiter),
        lambda: None,
    )


def by_trio() -> tuple[Callable[[], Awaitable[object]], Callable[[], Any]]:
    limiter = trio.CapacityLimiter(4)
    return (lambda: trio.to_thread.run_sync(job, limiter=limiter)), (lambda: None)


def by_asgiref() -> tuple[Callable[[], Awaitable[object]], Callable[[], Any]]:
    from asgiref.sync import sync_to_async

    return sync_to_async(job, thread_sensitive=False), (lambda: None)


def on_asyncio(main: Callable[[], Awaitable[float]]) -> float:
    return anyio.run(main)


def on_uvloop(main: Callable[[], Awaitable[float]]) -> float:
    return anyio.run(main, backend_options={"use_uvloop": True})


def on_trio(main: Callable[[], Awaitable[float]]) -> float:
    return anyio.run(main, backend="trio")


LOOP_GOALS = {
    "asyncio": {1: 0.60, 100: 0.25, 1000: 0.25},
    "uvloop": {100: 0.25},
    "trio": {1: 0.65, 100: 0.15, 1000: 0.25},
}


def task_rows(report: Report) -> Iterator[Row]:
    runners = {"asyncio": on_asyncio, "trio": on_trio}
    if report.needs("uvloop"):
        runners["uvloop"] = on_uvloop
    asgiref = report.needs("asgiref")
    for loop, run in runners.items():
        native = "trio.to_thread" if loop == "trio" else "asyncio.to_thread"
        for tasks in (1, 10, 100, 1000):
            peers = {
                OURS: ours,
                native: by_trio if loop == "trio" else by_asyncio,
                "anyio.to_thread": by_anyio,
            }
            if asgiref and loop == "asyncio":
                peers["asgiref.sync_to_async"] = by_asgiref
            goal = LOOP_GOALS[loop].get(tasks)
            yield Row(
                f"await a call; {loop}, {tasks} tasks",
                {
                    name: partial(awaited, run, make, tasks)
                    for name, make in peers.items()
                },
                goals={} if goal is None else {native: goal},
            )


# -- from a job into its loop ----------------------------------------------------------


def calls_in(kind: str, count: int = 500) -> float:
    """Return the microseconds of one call from a worker into the loop."""

    async def afn() -> None:
        pass

    def work() -> float:
        calls: dict[str, Callable[[], object]] = {
            "run_in_loop": lambda: run_in_loop(job),
            "await_in_loop": lambda: await_in_loop(afn),
            "run_sync": lambda: anyio.from_thread.run_sync(job),
            "run": lambda: anyio.from_thread.run(afn),
        }
        call = calls[kind]
        call()
        return per_operation(count, lambda: [call() for _ in range(count)])

    async def main() -> float:
        if kind.endswith("_in_loop"):
            async with AsyncThreadPool(max_workers=1) as pool:
                return await pool.run(work)
        return await anyio.to_thread.run_sync(work)

    return anyio.run(main)


def portal(count: int = 300) -> float:
    async def afn() -> None:
        pass

    with anyio.from_thread.start_blocking_portal() as gate:
        gate.call(afn)
        return per_operation(count, lambda: [gate.call(afn) for _ in range(count)])


def wake_ups(make: Callable[[], tuple[Any, Any]], count: int = 1000) -> float:
    """Return how often a busy loop is woken by so many completions."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        woken = 0
        write = loop._write_to_self

        def counted() -> None:
            nonlocal woken
            woken += 1
            write()

        loop._write_to_self = counted
        call, end = make()
        await call()
        woken = 0
        tasks = [asyncio.ensure_future(call()) for _ in range(count)]
        for _ in range(3):
            await asyncio.sleep(0)
        block(0.3)  # the loop is busy while the workers finish
        seen = woken
        await asyncio.gather(*tasks)
        loop._write_to_self = write
        ended = end()
        if ended is not None:
            await ended
        return float(seen)

    return asyncio.run(main())


def rows(report: Report) -> Iterator[Row]:
    """Return all that is measured."""
    yield from thread_rows(report)
    yield from task_rows(report)
    yield Row(
        "a plain call from a job into its loop",
        {
            OURS: partial(calls_in, "run_in_loop"),
            "anyio.from_thread.run_sync": partial(calls_in, "run_sync"),
        },
        goals={"anyio.from_thread.run_sync": 0.8},
    )
    yield Row(
        "an async call from a job into its loop",
        {
            OURS: partial(calls_in, "await_in_loop"),
            "anyio.from_thread.run": partial(calls_in, "run"),
            "BlockingPortal.call": portal,
        },
        goals={"BlockingPortal.call": 0.3},
    )
    yield Row(
        "wake-ups of a busy loop by 1000 completions",
        {
            OURS: partial(wake_ups, ours),
            "asyncio.to_thread": partial(wake_ups, by_asyncio),
        },
        unit="times",
        limit=2,
    )
