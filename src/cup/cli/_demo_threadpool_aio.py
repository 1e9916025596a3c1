"""The thread pool, in tasks; its twin for threads is `_demo_threadpool`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

import anyio

from cup.errors import PoolFull, WaitTimeout
from cup.services.threadpool import AsyncThreadPool, Urgency

from . import _demo_threadpool as twin
from ._demo_folder import deliver, make_folder, pack
from ._demo_part import AsyncPart
from ._demo_threadpool import PATIENCE, all_busy, counted, has_ended, opened_at_last

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._demo_part import Stage

__all__ = ["PARTS"]


async def distribute(stage: Stage) -> None:
    """Copy a folder to many places, then again by the same pool, started anew."""
    source = stage.folder / "source"
    places = [stage.folder / f"place{n}" for n in range(stage.many(24, 6))]
    files = stage.many(40, 12)

    pool = AsyncThreadPool(minthreads=2, maxthreads=4, name="copies")
    async with pool:
        content = await pool.run(make_folder, source, files=files, seed=stage.seed)
        same = await copy_everywhere(pool, source, places)
        stage.exactly(f"copies that equal the source ({content})", same, len(places))

        job = await pool.submit(deliver, source, Path("/"))
        error = await job.exception()
        stage.exactly("error of a copy to '/'", type(error).__name__, "ValueError")

    pool.start()  # the end of the block has stopped it
    async with pool:
        await pool.run((source / "news.txt").write_text, "the folder has changed")
        some = places[::3]
        same = await copy_everywhere(pool, source, some)
        stage.exactly("the same after a change and a restart", same, len(some))

        report = await pool.stop()
        done = 5 + len(places) + len(some)
        stage.exactly("jobs done in both lives", report.done, done)


async def copy_everywhere(
    pool: AsyncThreadPool, source: Path, places: list[Path]
) -> int:
    """Copy a folder to each place, and count the copies that equal it."""
    archive = source.with_suffix(".tar.gz")
    original = await pool.run(pack, source, archive)
    copies = pool.each(partial(deliver, archive), places, ordered=False)
    return sum([copy == original async for copy in copies])


async def resize(stage: Stage) -> None:
    """Change the number of workers while there is more to do than they can."""
    jobs = stage.many(2000, 1000)
    sizes = [2, 8, 3, 6, 1]
    seen: list[int] = []
    async with AsyncThreadPool(minthreads=1, maxthreads=1) as pool:
        queued = [await pool.submit(sleep, 0.004) for _ in range(jobs)]
        for size in sizes:
            pool.resize(size, size)
            await wait_until(partial(all_busy, pool, size))
            seen.append(pool.stats().workers)
        stage.exactly("workers, all busy, after each resize", seen, sizes)

        cancelled = sum(job.cancel() for job in queued)
        report = await pool.stop()
        stage.exactly("jobs run or cancelled", report.done + cancelled, jobs)


async def cancel(stage: Stage) -> None:
    """Cancel every other task that awaits a job; then all that a forced stop finds."""
    jobs = stage.many(400, 100)
    ran: list[int] = []
    async with AsyncThreadPool(max_workers=2) as pool:

        async def wait_for_job(n: int) -> None:
            await pool.run(ran.append, n)

        with opened_at_last() as gate:
            for _ in range(2):
                await pool.submit(gate.wait)  # now both workers are busy
            async with anyio.create_task_group() as staying:
                async with anyio.create_task_group() as leaving:
                    for n in range(jobs):
                        tasks = staying if n % 2 else leaving
                        tasks.start_soon(wait_for_job, n)
                    await wait_until(lambda: pool.stats().queued == jobs)
                    leaving.cancel_scope.cancel()
                gate.set()
            await pool.stop()
        cancelled = pool.stats().cancelled
        stage.exactly("jobs cancelled", cancelled, jobs // 2)
        stage.exactly("jobs run", len(ran), jobs - cancelled)
        stage.exactly("jobs both run and cancelled", sum(n % 2 == 0 for n in ran), 0)

        pool.start()
        queued = [await pool.submit(sleep, 0.004) for _ in range(jobs)]
        report = await pool.stop(force_stop=True)
        ended = sum(has_ended(job.sync) for job in queued)
        stage.exactly("jobs ended by a forced stop", ended, jobs)
        ended = report.done + cancelled + report.cancelled
        stage.exactly("jobs run or cancelled, in all", ended, 2 + 2 * jobs)


async def bound(stage: Stage) -> None:
    """Bound the queue: who brings more than fits waits, or is refused."""
    jobs = stage.many(400, 100)
    lengths: list[int] = []
    async with AsyncThreadPool(max_workers=2, queue_size=4) as pool:
        for _ in range(jobs):
            await pool.submit(lambda: lengths.append(pool.stats().queued))
    stage.exactly("jobs run", len(lengths), jobs)
    stage.at_most("most jobs in a queue for 4", max(lengths), 4)

    refused = 0
    pool = AsyncThreadPool(max_workers=1, queue_size=4, when_full="refuse")
    async with pool:
        with opened_at_last() as gate:
            await pool.submit(gate.wait)
            await wait_until(partial(all_busy, pool, 1))
            for _ in range(10):
                try:
                    await pool.submit(gate.wait)
                except PoolFull:
                    refused += 1
    stage.exactly("of 10 jobs for such a queue, refused", refused, 6)


async def urgency(stage: Stage) -> None:
    """Queue jobs in the wrong order; the most urgent are started first."""
    each = stage.many(5, 2)
    order: list[str] = []
    async with AsyncThreadPool(max_workers=1) as pool:
        with opened_at_last() as gate:
            await pool.submit(gate.wait)
            for level in (Urgency.LOW, Urgency.NORMAL, Urgency.HIGH):
                view = pool.options(urgency=level)
                for _ in range(each):
                    await view.submit(order.append, level.name)
    promised = [f"{each} {level.name}" for level in Urgency]
    stage.exactly("jobs in the order of their start", counted(order), promised)


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what happens soon.

    Raises:
        WaitTimeout: If it has not happened in time.
    """
    deadline = monotonic() + PATIENCE
    while not condition():
        if monotonic() > deadline:
            raise WaitTimeout(f"not within {PATIENCE} s: {condition}", timeout=PATIENCE)
        await anyio.sleep(0.001)


PARTS: Final[tuple[AsyncPart, ...]] = (
    AsyncPart(twin.DISTRIBUTE, distribute),
    AsyncPart(twin.RESIZE, resize),
    AsyncPart(twin.CANCEL, cancel),
    AsyncPart(twin.BOUND, bound),
    AsyncPart(twin.URGENCY, urgency),
)
