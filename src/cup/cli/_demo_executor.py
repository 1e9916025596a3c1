"""The executor, in threads; its twin for tasks is `_demo_executor_aio`."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

from cup.services.executor import (
    URGENCY_HIGH,
    URGENCY_LOW,
    URGENCY_NORMAL,
    Cron,
    ExecutionService,
    ExecutorReport,
    RunRecord,
)

from ._demo_part import Part

if TYPE_CHECKING:
    from ._demo_part import Stage

__all__ = ["PARTS", "in_time", "sum_of", "tell_end"]

PERIOD: Final = 0.02


def later(stage: Stage) -> None:
    """Delay many jobs, cancel some of them, and look when the others ran."""
    many = stage.many(2000, 400)
    early: list[float] = []
    with ExecutionService(name="later") as service:
        before = threading.active_count()
        jobs = [
            service.after(
                0.1 + n / many / 4, in_time, early, monotonic() + 0.1 + n / many / 4
            )
            for n in range(many)
        ]
        threads = threading.active_count() - before
        stage.at_most(f"threads for {many} timers", threads, 1)
        cancelled = sum(job.cancel() for job in jobs[::4])
        for job in jobs:
            if not job.cancelled():
                job.result()
        stage.exactly("jobs that ran", len(early), many - cancelled)
        stage.exactly("jobs that ran early", sum(late < 0 for late in early), 0)
        report = service.stop()
    tell_end(stage, report)


def in_time(found: list[float], due: float) -> None:
    """Note by how many seconds this is late."""
    found.append(monotonic() - due)


def tell_end(stage: Stage, report: ExecutorReport) -> None:
    """State that a stop has accounted for everything."""
    stage.exactly("submitted", report.submitted, sum_of(report))
    stage.exactly("still running", len(report.still_running), 0)


def sum_of(report: ExecutorReport) -> int:
    """Add up what became of everything."""
    return (
        report.done
        + report.failed
        + report.cancelled
        + report.persisted
        + report.refused
    )


def again(stage: Stage) -> None:
    """Run jobs again and again, one of which fails and one of which is slow."""
    told: list[str] = []

    def tell(_: BaseException, what: str) -> None:
        told.append(what)

    with ExecutionService(name="again", on_unhandled=tell) as service:
        three = service.options(max_runs=3)
        steady = three.every(PERIOD, monotonic)
        failing = three.every(PERIOD, int, "no number")
        slow = three.every(PERIOD, sleep, 3.2 * PERIOD)
        for series in (steady, failing, slow):
            series.result()
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
        nightly = service.cron(Cron("30 2 * * *", "Europe/Berlin"), print)
        stage.exactly("known next nights", int(nightly.next_run is not None), 1)
        report = service.stop()
    tell_end(stage, report)


def pairs(history: tuple[RunRecord, ...]) -> list[tuple[RunRecord, RunRecord]]:
    """Pair each run with the next."""
    return list(itertools.pairwise(history))


def urgent(stage: Stage) -> None:
    """Queue jobs of three urgencies behind a busy worker, and look at their order."""
    service = ExecutionService(1, 1, "urgent")
    order: list[str] = []
    for urgency in (URGENCY_LOW, URGENCY_NORMAL, URGENCY_HIGH):
        for n in range(2):
            service.queue_exec(order.append, urgency, f"{urgency.name.lower()} {n}")
    service.run()
    report = service.stop()
    stage.exactly(
        "order",
        order,
        ["high 0", "high 1", "normal 0", "normal 1", "low 0", "low 1"],
    )
    tell_end(stage, report)


def elsewhere(stage: Stage) -> None:
    """Let another executor run delayed jobs: any of `concurrent.futures` will do."""
    many = stage.many(500, 100)
    backend = partial(ThreadPoolExecutor, 2)
    with ExecutionService(name="elsewhere", backend=backend) as service:
        jobs = [service.after(n / many / 4, pow, n, 2) for n in range(many)]
        total = sum(job.result() for job in jobs)
        stage.exactly("sum of the results", total, sum(n * n for n in range(many)))
        report = service.stop()
    tell_end(stage, report)


PARTS: Final = (
    Part("executor.later", "delayed jobs: in time, cancelled, accounted for", later),
    Part("executor.again", "jobs that run again and again, and by the calendar", again),
    Part("executor.urgent", "urgent jobs before others", urgent),
    Part("executor.elsewhere", "jobs on another executor", elsewhere),
)
