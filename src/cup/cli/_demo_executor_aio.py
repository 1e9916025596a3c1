"""The executor, in tasks; its twin for threads is `_demo_executor`."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio

from cup.services.executor import (
    URGENCY_HIGH,
    URGENCY_LOW,
    URGENCY_NORMAL,
    AsyncExecutionService,
    Cron,
)

from . import _demo_executor as twin
from ._demo_executor import PERIOD, in_time, pairs, tell_end
from ._demo_part import AsyncPart

if TYPE_CHECKING:
    from ._demo_part import Stage

__all__ = ["PARTS"]


async def later(stage: Stage) -> None:
    """Delay many coroutine functions, cancel some, and look when the others ran."""
    many = stage.many(2000, 400)
    early: list[float] = []

    async def here(due: float) -> None:
        in_time(early, due)

    async with AsyncExecutionService(name="later") as service:
        before = threading.active_count()
        jobs = [
            await service.after(
                0.1 + n / many / 4, here, monotonic() + 0.1 + n / many / 4
            )
            for n in range(many)
        ]
        threads = threading.active_count() - before
        stage.at_most(f"threads for {many} timers", threads, 1)
        cancelled = sum(job.cancel() for job in jobs[::4])
        for job in jobs:
            if not job.cancelled():
                await job
        stage.exactly("jobs that ran", len(early), many - cancelled)
        stage.exactly("jobs that ran early", sum(late < 0 for late in early), 0)
        report = await service.stop()
    tell_end(stage, report)


async def again(stage: Stage) -> None:
    """Run jobs again and again, one of which fails and one of which is slow."""
    told: list[str] = []

    def tell(_: BaseException, what: str) -> None:
        told.append(what)

    async with AsyncExecutionService(name="again", on_unhandled=tell) as service:
        three = service.options(max_runs=3)
        steady = await three.every(PERIOD, monotonic)
        failing = await three.every(PERIOD, int, "no number")
        slow = await three.every(PERIOD, anyio.sleep, 3.2 * PERIOD)
        for series in (steady, failing, slow):
            await series.result()
        gaps = [now.due - before.due for before, now in pairs(steady.history)]
        steps = [f"{gap:.3f}" for gap in gaps]
        stage.exactly("seconds between due times", steps, [f"{PERIOD:.3f}"] * 2)
        stage.exactly("runs of what fails", failing.runs, 3)
        stage.exactly("failures that were told", len(told), 3)
        overlaps = [
            now.started < before.ended
            for before, now in pairs(slow.history)
            if now.started is not None
        ]
        stage.exactly("overlaps of what is slow", sum(overlaps), 0)
        nightly = await service.cron(Cron("30 2 * * *", "Europe/Berlin"), print)
        stage.exactly("known next nights", int(nightly.next_run is not None), 1)
        report = await service.stop()
    tell_end(stage, report)


async def urgent(stage: Stage) -> None:
    """Queue jobs of three urgencies behind a busy worker, and look at their order."""
    service = AsyncExecutionService(1, 1, "urgent")
    order: list[str] = []
    for urgency in (URGENCY_LOW, URGENCY_NORMAL, URGENCY_HIGH):
        for n in range(2):
            word = f"{urgency.name.lower()} {n}"
            await service.queue_exec(order.append, urgency, word)
    service.run()
    report = await service.stop()
    stage.exactly(
        "order",
        order,
        ["high 0", "high 1", "normal 0", "normal 1", "low 0", "low 1"],
    )
    tell_end(stage, report)


async def elsewhere(stage: Stage) -> None:
    """Let another executor run delayed jobs: any of `concurrent.futures` will do."""
    many = stage.many(500, 100)
    backend = partial(ThreadPoolExecutor, 2)
    async with AsyncExecutionService(name="elsewhere", backend=backend) as service:
        jobs = [await service.after(n / many / 4, pow, n, 2) for n in range(many)]
        total = sum([await job for job in jobs])
        stage.exactly("sum of the results", total, sum(n * n for n in range(many)))
        report = await service.stop()
    tell_end(stage, report)


PARTS: Final = tuple(
    AsyncPart(part, run)
    for part, run in zip(twin.PARTS, (later, again, urgent, elsewhere), strict=True)
)
