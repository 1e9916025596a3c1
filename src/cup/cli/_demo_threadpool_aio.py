"""The thread pool, in tasks; its twin for threads is `_demo_threadpool`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

import anyio

from cup.errors import PoolFull, WaitTimeout
from cup.services.threadpool import AsyncThreadPool, Urgency

from ._demo_folder import checksums, deliver, make_folder, megabytes, pack
from ._demo_part import AsyncPart, Fact, Stage, at_most, exactly
from ._demo_threadpool import (
    BOUND,
    CANCEL,
    DISTRIBUTE,
    PATIENCE,
    RESIZE,
    URGENCY,
    all_busy,
    by_urgency,
    opened_at_last,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PARTS"]


async def distribute(stage: Stage) -> list[Fact]:
    """Copy a folder to many places, then again by the same pool, started anew."""
    facts: list[Fact] = []
    places = [stage.folder / f"place{n}" for n in range(stage.many(24, 6))]
    source, archive = stage.folder / "source", stage.folder / "source.tar.gz"
    copy = partial(deliver, archive)

    pool = AsyncThreadPool(minthreads=2, maxthreads=4, name="copies")
    async with pool:
        make = partial(make_folder, files=stage.many(60, 12), seed=stage.seed)
        await pool.run(make, source)
        await pool.run(pack, source, archive)
        original = await pool.run(checksums, source)
        size = f"{len(original)} files, {await pool.run(megabytes, source)}"
        copies = pool.each(copy, places, ordered=False)
        same = sum([found == original async for found in copies])
        facts.append(
            exactly(f"copies of {size}, each file the same", same, len(places))
        )

        refused = await (await pool.submit(copy, Path("/"))).exception()
        facts.append(exactly("a copy to '/' fails, alone", type(refused).__name__, "ValueError"))

    pool.start()  # `async with` has stopped it
    news = source / "news.txt"
    await pool.run(news.write_text, "the folder has changed")
    await pool.run(pack, source, archive)
    original = await pool.run(checksums, source)
    copies = pool.each(copy, places, ordered=False)
    same = sum([found == original async for found in copies])
    report = await pool.stop()
    facts += [
        exactly("copies of the changed folder, after a restart", same, len(places)),
        exactly("jobs done, in both lives", report.done, 2 * len(places) + 8),
    ]
    return facts


async def resize(stage: Stage) -> list[Fact]:
    """Change the number of workers while there is more to do than they can."""
    sizes = [2, 8, 3, 6, 1]
    jobs = stage.many(2000, 1000)
    seen: list[int] = []
    async with AsyncThreadPool(minthreads=1, maxthreads=1) as pool:
        for _ in range(jobs):
            await pool.submit(sleep, 0.004)
        for size in sizes:
            pool.resize(size, size)
            await wait_until(partial(all_busy, pool, size))
            seen.append(pool.stats().workers)
        report = await pool.stop(force_stop=True)

    return [
        exactly("workers, all busy, after each resize", seen, sizes),
        exactly("jobs run or cancelled", report.done + report.cancelled, jobs),
    ]


async def cancel(stage: Stage) -> list[Fact]:
    """Cancel the tasks of every other job; then all that a forced stop finds there."""
    jobs = stage.many(400, 100)
    ran: list[int] = []
    async with AsyncThreadPool(max_workers=2) as pool:
        with opened_at_last() as gate:
            for _ in range(2):
                await pool.submit(gate.wait)  # now both workers are busy
            async with anyio.create_task_group() as kept:
                async with anyio.create_task_group() as given_up:
                    for n in range(jobs):
                        tasks = kept if n % 2 else given_up
                        tasks.start_soon(pool.run, ran.append, n)
                    await wait_until(lambda: pool.stats().queued == jobs)
                    given_up.cancel_scope.cancel()
                gate.set()
            cancelled = pool.stats().cancelled

        return [*facts]
