"""The thread pool, in threads; its twin for tasks is `_demo_threadpool_aio`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Final

from cup.services.threadpool import ThreadPool

from ._demo_folder import checksums, deliver, make_folder, megabytes, pack
from ._demo_part import Fact, Stage, exactly

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PARTS"]

PATIENCE: Final = 5.0  # seconds until what was to happen counts as not happened


def distribute(stage: Stage) -> Iterator[Fact]:
    """Copy a folder to many places, then again by the same pool, started anew."""
    source = make_folder(
        stage.folder / "source", files=stage.many(60, 12), seed=stage.seed
    )
    places = [stage.folder / f"place{n}" for n in range(stage.many(24, 6))]
    archive = stage.folder / "source.tar.gz"
    copy = partial(deliver, archive)
    size = f"{len(checksums(source))} files, {megabytes(source)}"

    pool = ThreadPool(minthreads=2, maxthreads=4, name="copies")
    with pool:
        pool.run(pack, source, archive)
        original = checksums(source)
        copies = pool.each(copy, places, ordered=False)
        same = sum(found == original for found in copies)
        yield exactly(f"copies of {size}, each file the same", same, len(places))

        refused = pool.submit(copy, Path("/")).exception()
        yield exactly("a copy to '/' fails, alone", type(refused).__name__, "ValueError")

    pool.start()  # `with` has stopped it
    (source / "news.txt").write_text("the folder has changed")
    pool.run(pack, source, archive)
    original = checksums(source)
    copies = pool.each(copy, places, ordered=False)
    same = sum(found == original for found in copies)
    report = pool.stop()
    yield exactly("copies of the changed folder, after a restart", same, len(places))
    yield exactly("jobs done, in both lives", report.done, 2 * len(places) + 3)


def resize(stage: Stage) -> Iterator[Fact]:
    """Change the number of workers while there is more to do than they can."""
    sizes = [2, 8, 3, 6, 1]
    jobs = stage.many(2000, 1000)
    seen: list[int] = []
    with ThreadPool(minthreads=1, maxthreads=1) as pool:
        for _ in range(jobs):
            pool.submit(sleep, 0.004)
        for size in sizes:
            pool.resize(size, size)
            wait_until(partial(all_busy, pool, size))
            seen.append(pool.stats().workers)
        report = pool.stop(force_stop=True)

    yield exactly("workers, all busy, after each resize", seen, sizes)
    yield exactly("jobs run or cancelled", report.done + report.cancelled, jobs)


def cancel(stage: Stage) -> Iterator[Fact]:
    """Cancel every other job of a queue; then all that a forced stop finds there."""
    jobs = stage.many(400, 100)
    ran: list[int] = []
    with ThreadPool(max_workers=2) as pool, opened_at_last() as gate:
        for _ in range(2):
            pool.submit(gate.wait)  # now both workers are busy
        queued = [pool.submit(ran.append, n) for n in range(jobs)]
        cancelled = sum(job.cancel() for job in queued[::2])
        gate.set()
        pool.stop()
        yield exactly("jobs cancelled in the queue", cancelled, jobs // 2)
        yield exactly("jobs run", len(ran), jobs // 2)
        yield exactly("jobs run that were cancelled", sum(n % 2 == 0 for n in ran), 0)

        pool.start()
        for _ in range(jobs):
            pool.submit(sleep, 0.004)
        report = pool.stop(force_stop=True)
        stats = pool.stats()

    yield exactly("jobs still running after a forced stop", stats.running, 0)
    yield exactly("jobs run or cancelled", stats.done + stats.cancelled, 2 + 2 * jobs)
    yield exactly("that the stop did not tell of", stats.cancelled - cancelled - report.cancelled, 0)


def bound(stage: Stage) -> Iterator[Fact]:
    """Bound the queue: who brings more than fits waits, or is refused."""
    jobs = stage.many(400, 100)
    lengths: list[int] = []
    with ThreadPool(max_workers=2, queue_size=4) as pool:
        for _ in range(jobs):
            pool.post(lambda: lengths.append(pool.stats().queued))

    yield exactly("jobs run", len(lengths), jobs)
    yield at_most("most jobs in the queue at once", max(lengths), 4)

    refused = 0
    with (
        ThreadPool(max_workers=1, queue_size=4, when_full="refuse") as pool,
        opened_at_last() as gate,
    ):
        pool.submit(gate.wait)
        wait_until(partial(all_busy, pool, 1))
        for _ in range(10):
            try:
                pool.submit(gate.wait)
            except PoolFull:
                refused += 1

    yield exactly("of 10 jobs for 4 places, refused", refused, 6)


def urgency(stage: Stage) -> Iterator[Fact]:
    """Queue jobs in the wrong order; the most urgent are started first."""
    each = stage.many(5, 2)
    order: list[str] = []
    with ThreadPool(max_workers=1) as pool, opened_at_last() as gate:
        pool.submit(gate.wait)
        for level in (Urgency.LOW, Urgency.NORMAL, Urgency.HIGH):
            view = pool.options(urgency=level)
            for _ in range(each):
                view.submit(order.append, level.name)

    yield exactly("levels in the order of their start", order, by_urgency(each))


def by_urgency(each: int) -> list[str]:
    """Name the levels, the most urgent first, each so many times."""
    return [level.name for level in Urgency for _ in range(each)]


def all_busy(pool: ThreadPool | AsyncThreadPool, workers: int) -> bool:
    """Tell whether a pool has so many workers, and each has a job."""
    stats = pool.stats()
    return stats.workers == stats.running == workers


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens soon.

    Raises:
        WaitTimeout: If it has not happened in time.
    """
    deadline = monotonic() + PATIENCE
    while not condition():
        if monotonic() > deadline:
            raise WaitTimeout(f"not within {PATIENCE} s: {condition}", timeout=PATIENCE)
        sleep(0.001)


@contextmanager
def opened_at_last() -> Iterator[threading.Event]:
    """Give a gate for jobs to wait at; nobody is left waiting, whatever happens."""
    gate = threading.Event()
    try:
        yield gate
    finally:
        gate.set()


DISTRIBUTE: Final = Part(
    "threadpool.distribute", "copy a folder to many places and verify each", distribute
)
RESIZE: Final = Part("threadpool.resize", "resize a busy pool, up and down", resize)
CANCEL: Final = Part("threadpool.cancel", "cancel what is queued", cancel)
BOUND: Final = Part("threadpool.bound", "bound the queue", bound)
URGENCY: Final = Part("threadpool.urgency", "start what is urgent first", urgency)

PARTS: Final = (DISTRIBUTE, RESIZE, CANCEL, BOUND, URGENCY)
