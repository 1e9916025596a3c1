"""How durable writing is measured: for a fixed time, by threads or by tasks."""

from __future__ import annotations

import contextlib
import gc
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from cup.services.serializer import AsyncLog

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ._serializer_peers import Store

SECONDS = 0.4
MICRO = 1e6


@contextlib.contextmanager
def folder() -> Generator[Path]:
    """Give a folder on the disk of this file's temporary directory."""
    place = Path(tempfile.mkdtemp(prefix="cup-benchmark-"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        gc.collect()


def by_threads(
    make: Callable[[Path], Store],
    threads: int,
    size: int,
    counts: list[int] | None = None,
) -> float:
    """Return the microseconds of one append, wall time, of so many threads."""
    payload = b"x" * size
    done = [0] * threads
    stop = threading.Event()
    begin = threading.Barrier(threads + 1)

    def work(store: Store, number: int) -> None:
        append, over = store.append, stop.is_set
        begin.wait()
        while not over():
            append(payload)
            done[number] += 1

    with folder() as place:
        store = make(place)
        store.append(payload)
        workers = [
            threading.Thread(target=work, args=(store, number))
            for number in range(threads)
        ]
        for worker in workers:
            worker.start()
        begin.wait()
        start = time.perf_counter()
        time.sleep(SECONDS)
        stop.set()
        for worker in workers:
            worker.join()
        seconds = time.perf_counter() - start
        store.close()
    if counts is not None:
        counts[:] = done
    return seconds / max(1, sum(done)) * MICRO


def by_tasks(tasks: int, size: int, backend: str, **options: Any) -> float:
    """Return the microseconds of one append of so many tasks of one loop."""
    payload = b"x" * size

    async def main(place: str) -> float:
        done = 0
        async with await AsyncLog.open(place, **options) as log:
            append = log.append
            await append(payload)
            start = time.perf_counter()
            deadline = start + SECONDS

            async def work() -> None:
                nonlocal done
                while time.perf_counter() < deadline:
                    await append(payload)
                    done += 1

            async with anyio.create_task_group() as group:
                for _ in range(tasks):
                    group.start_soon(work)
            seconds = time.perf_counter() - start
        return seconds / done * MICRO

    with folder() as place:
        return anyio.run(main, str(place / "log"), backend=backend)


def by_batches(make: Callable[[Path], Store], batch: int, size: int) -> float:
    """Return the microseconds of one record of durable batches."""
    payloads = [b"x" * size] * batch
    with folder() as place:
        store = make(place)
        store.append_all(payloads)
        count = 0
        start = time.perf_counter()
        while time.perf_counter() - start < SECONDS:
            store.append_all(payloads)
            count += batch
        seconds = time.perf_counter() - start
        store.close()
    return seconds / count * MICRO


def buffered(make: Callable[[Path], Store], batch: int, size: int, many: int) -> float:
    """Return the microseconds of processor time of one record that is not synced."""
    payloads = [b"x" * size] * batch
    with folder() as place:
        store = make(place)
        store.buffer(payloads)
        start = time.process_time()
        for _ in range(many // batch):
            store.buffer(payloads)
        seconds = time.process_time() - start
        store.close()
    return seconds / many * MICRO


def stalled(make: Callable[[Path], Store], size: int) -> float:
    """Return the share of time, in percent, that another thread could not run.

    It sleeps 0.5 ms at a time; what is late by more than 1 ms was a stall.
    """
    payload = b"x" * size
    with folder() as place:
        store = make(place)
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                store.append(payload)

        worker = threading.Thread(target=work)
        worker.start()
        late = 0.0
        start = last = time.perf_counter()
        while last - start < SECONDS:
            time.sleep(0.0005)
            now = time.perf_counter()
            if now - last > 0.0015:
                late += now - last - 0.0005
            last = now
        stop.set()
        worker.join()
        store.close()
    return late / (last - start) * 100
