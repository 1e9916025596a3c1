"""The thread pool, in threads; its twin for tasks is `_demo_threadpool_aio`."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

from cup.errors import JobCancelled, JobTimeout, PoolFull, WaitTimeout
from cup.services.threadpool import ThreadPool, Urgency

from ._demo_folder import deliver, make_folder, pack
from ._demo_part import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cup.services.threadpool import AsyncThreadPool, Job

    from ._demo_part import Stage

__all__ = ["PARTS"]

PATIENCE: Final = 5.0  # seconds until what was to happen counts as not happened


def distribute(stage: Stage) -> None:
    """Copy a folder to many places, then again by the same pool, started anew."""
    source = stage.folder / "source"
    places = [stage.folder / f"place{n}" for n in range(stage.many(24, 6))]
    files = stage.many(40, 12)

    pool = ThreadPool(minthreads=2, maxthreads=4, name="copies")
    with pool:
        content = pool.run(make_folder, source, files=files, seed=stage.seed)
        same = copy_everywhere(pool, source, places)
        stage.exactly(f"copies that equal the source ({content})", same, len(places))

        error = pool.submit(deliver, source, Path("/")).exception()
        stage.exactly("error of a copy to '/'", type(error).__name__, "ValueError")

    pool.start()  # the end of the block has stopped it
    with pool:
        pool.run((source / "news.txt").write_text, "the folder has changed")
        some = places[::3]
        same = copy_everywhere(pool, source, some)
        stage.exactly("the same after a change and a restart", same, len(some))

        report = pool.stop()
        done = 5 + len(places) + len(some)
        stage.exactly("jobs done in both lives", report.done, done)


def copy_everywhere(pool: ThreadPool, source: Path, places: list[Path]) -> int:
    """Copy a folder to each place, and count the copies that equal it."""
    archive = source.with_suffix(".tar.gz")
    original = pool.run(pack, source, archive)
    copies = pool.each(partial(deliver, archive), places, ordered=False)
    return sum(copy == original for copy in copies)


def resize(stage: Stage) -> None:
    """Change the number of workers while there is more to do than they can."""
    jobs = stage.many(2000, 1000)
    sizes = [2, 8, 3, 6, 1]
    seen: list[int] = []
    with ThreadPool(minthreads=1, maxthreads=1) as pool:
        queued = [pool.submit(sleep, 0.004) for _ in range(jobs)]
        for size in sizes:
            pool.resize(size, size)
            wait_until(partial(all_busy, pool, size))
            seen.append(pool.stats().workers)
        stage.exactly("workers, all busy, after each resize", seen, sizes)

        cancelled = sum(job.cancel() for job in queued)
        report = pool.stop()
        stage.exactly("jobs run or cancelled", report.done + cancelled, jobs)


def cancel(stage: Stage) -> None:
    """Cancel every other job in the queue; then all that a forced stop finds there."""
    jobs = stage.many(400, 100)
    ran: list[int] = []
    with ThreadPool(max_workers=2) as pool, opened_at_last() as gate:
        for _ in range(2):
            pool.submit(gate.wait)  # now both workers are busy
        queued = [pool.submit(ran.append, n) for n in range(jobs)]
        cancelled = sum(job.cancel() for job in queued[::2])
        gate.set()
        pool.stop()
        stage.exactly("jobs cancelled", cancelled, jobs // 2)
        stage.exactly("jobs run", len(ran), jobs - cancelled)
        stage.exactly("jobs both run and cancelled", sum(n % 2 == 0 for n in ran), 0)

        pool.start()
        queued = [pool.submit(sleep, 0.004) for _ in range(jobs)]
        report = pool.stop(force_stop=True)
        ended = sum(map(has_ended, queued))
        stage.exactly("jobs ended by a forced stop", ended, jobs)
        ended = report.done + cancelled + report.cancelled
        stage.exactly("jobs run or cancelled, in all", ended, 2 + 2 * jobs)


def bound(stage: Stage) -> None:
    """Bound the queue: who brings more than fits waits, or is refused."""
    jobs = stage.many(400, 100)
    lengths: list[int] = []
    with ThreadPool(max_workers=2, queue_size=4) as pool:
        for _ in range(jobs):
            pool.submit(lambda: lengths.append(pool.stats().queued))
    stage.exactly("jobs run", len(lengths), jobs)
    stage.at_most("most jobs in a queue for 4", max(lengths), 4)

    refused = 0
    pool = ThreadPool(max_workers=1, queue_size=4, when_full="refuse")
    with pool, opened_at_last() as gate:
        pool.submit(gate.wait)
        wait_until(partial(all_busy, pool, 1))
        for _ in range(10):
            try:
                pool.submit(gate.wait)
            except PoolFull:
                refused += 1
    stage.exactly("of 10 jobs for such a queue, refused", refused, 6)


def urgency(stage: Stage) -> None:
    """Queue jobs in the wrong order; the most urgent are started first."""
    each = stage.many(5, 2)
    order: list[str] = []
    with ThreadPool(max_workers=1) as pool, opened_at_last() as gate:
        pool.submit(gate.wait)
        for level in (Urgency.LOW, Urgency.NORMAL, Urgency.HIGH):
            view = pool.options(urgency=level)
            for _ in range(each):
                view.submit(order.append, level.name)
    promised = [f"{each} {level.name}" for level in Urgency]
    stage.exactly("jobs in the order of their start", counted(order), promised)


def counted(names: list[str]) -> list[str]:
    """Shorten a list: what comes several times in a row is counted."""
    return [f"{len([*same])} {name}" for name, same in groupby(names)]


def all_busy(pool: ThreadPool | AsyncThreadPool, workers: int) -> bool:
    """Tell whether a pool has so many workers, and each of them a job."""
    stats = pool.stats()
    return stats.workers == stats.running == workers


def has_ended(job: Job[None]) -> bool:
    """Tell whether a job has ended, in whatever way."""
    try:
        job.result(timeout=0)
    except JobTimeout:
        return False
    except JobCancelled:
        return True
    return True


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what happens soon.

    Raises:
        WaitTimeout: If it has not happened in time.
    """
    deadline = monotonic() + PATIENCE
    while not condition():
        if monotonic() > deadline:
            raise WaitTimeout(f"not within {PATIENCE} s: {condition}", timeout=PATIENCE)
        sleep(0.001)


@contextmanager
def opened_at_last() -> Generator[threading.Event, None, None]:
    """Give a gate for jobs to wait at; it opens in the end, whatever happens."""
    gate = threading.Event()
    try:
        yield gate
    finally:
        gate.set()


DISTRIBUTE: Final = Part(
    "threadpool.distribute", "copy a folder to many places, verify each", distribute
)
RESIZE: Final = Part("threadpool.resize", "resize a busy pool, up and down", resize)
CANCEL: Final = Part("threadpool.cancel", "cancel what is queued", cancel)
BOUND: Final = Part("threadpool.bound", "bound the queue", bound)
URGENCY: Final = Part("threadpool.urgency", "start first what is urgent", urgency)

PARTS: Final[tuple[Part, ...]] = (DISTRIBUTE, RESIZE, CANCEL, BOUND, URGENCY)
