"""The next run of cron expressions, beside the packages that people ask for it."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from cup.services.executor import Cron

from ._harness import OURS, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._harness import Report

MANY = 300
BERLIN = ZoneInfo("Europe/Berlin")
CASES = [
    ("*/5 * * * *", timezone.utc, 6),
    ("*/5 * * * *", BERLIN, 6),
    ("0 9-17 * * 1-5", BERLIN, 6),
    ("30 2 * * *", BERLIN, 6),
    ("0 0 L * *", BERLIN, 15),
    ("0 0 29 2 *", timezone.utc, 15),
    ("0 0 29 2 *", BERLIN, 15),
]


def start_in(tz: Any) -> datetime:
    return datetime(2026, 3, 1, 0, 1, tzinfo=tz)


def one_by_one(begin: Callable[[], Callable[[], Any]]) -> Callable[[], float]:
    """Measure one of many runs that follow one another, in microseconds."""

    def measure() -> float:
        draw = begin()
        began = time.perf_counter()
        for _ in range(MANY):
            draw()
        return (time.perf_counter() - began) / MANY * 1e6

    return measure


def each(ask: Callable[[], Any]) -> Callable[[], float]:
    """Measure one call that always asks the same, in microseconds."""
    return one_by_one(lambda: ask)


def following(report: Report, expr: str, tz: Any) -> dict[str, Callable[[], float]]:
    """Give what iterates over the runs of an expression."""
    start = start_in(tz)
    cron = Cron(expr, tz)
    found = {OURS: one_by_one(lambda: cron.upcoming(start).__next__)}
    if report.needs("cronsim"):
        from cronsim import CronSim

        found["cronsim"] = one_by_one(lambda: CronSim(expr, start).__next__)
    if report.needs("croniter"):
        from croniter import croniter

        def begin() -> Callable[[], Any]:
            runs = croniter(expr, start)
            return lambda: runs.get_next(datetime)

        found["croniter"] = one_by_one(begin)
    return found


def reading(report: Report, expr: str, tz: Any) -> dict[str, Callable[[], float]]:
    """Give what reads an expression and finds its first run."""
    start = start_in(tz)
    found = {OURS: each(lambda: Cron(expr, tz).next(start))}
    if report.needs("cronsim"):
        from cronsim import CronSim

        found["cronsim"] = each(lambda: next(CronSim(expr, start)))
    if report.needs("croniter"):
        from croniter import croniter

        found["croniter"] = each(lambda: croniter(expr, start).get_next(datetime))
    return found


def rows(report: Report) -> Iterator[Row]:
    """Give all rows.

    What a zone was asked about is kept, so the best round is one in which all of its
    changes were known. Peers keep nothing, nor does our own first round.
    """
    for expr, tz, limit in CASES:
        yield Row(
            f"runs one after the other: {expr} in {tz}",
            following(report, expr, tz),
            goals={"cronsim": 0.5, "croniter": 0.2},
            limit=limit,
        )
    for expr, tz, _ in CASES[1:4]:
        cron, instant = Cron(expr, tz), start_in(tz).timestamp()
        yield Row(
            f"as a timer asks, seconds to seconds: {expr} in {tz}",
            {
                OURS: each(lambda cron=cron, at=instant: cron.next_after(at)),
                "and backwards": each(
                    lambda cron=cron, at=instant: cron.prev_before(at)
                ),
            },
        )
    for expr, tz, _ in (CASES[1], CASES[6]):
        yield Row(
            f"read an expression and find its first run: {expr} in {tz}",
            reading(report, expr, tz),
        )
