"""Beginning again what a store has kept, in the process that comes after."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ._core_cron import Cron
from ._core_handle import name_of
from ._core_lane import Lane
from ._core_plans import CronPlan, make_plan
from ._core_series import SeriesCore
from ._core_series_handle import Series
from ._core_stored import PLAIN
from ._core_stored_job import StoredJob
from .api_values import FixedDelay, FixedRate

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core import ExecutorCore
    from ._core_ledger import Ledger
    from ._core_plans import Plan, RhythmLike
    from ._core_stored import Entry

__all__ = ["Restorer"]


class Restorer:
    """Begins stored jobs in an executor, and has them followed.

    Args:
        core: The executor.
        ledger: Who follows them.
    """

    __slots__ = ("_core", "_lane", "_ledger")

    def __init__(self, core: ExecutorCore, ledger: Ledger) -> None:
        self._core = core
        self._ledger = ledger
        self._lane = Lane(core, core.crews[0], PLAIN, by_wall=True)

    def begin(self, entry: Entry, fn: Callable[..., Any]) -> None:
        """Begin a stored job; what was due meanwhile is due now."""
        core, options = self._core, entry.options
        args = tuple(entry.args)
        rhythm = entry.plan()
        if rhythm is None:
            lane = self._lane
            if options is not PLAIN:
                lane = Lane(core, core.crews[0], options, by_wall=True)
            job: StoredJob[Any] = StoredJob(
                lane, entry.due, fn, args, entry.kwargs, None
            )
            self._ledger.attach(entry, job)  # first: it may be due, and over at once
            core.schedule(job, entry.due, by_wall=True)
            return

        plan, due = _go_on(core, rhythm, entry)
        options = replace(options, key=entry.key)
        lane = Lane(core, core.crews[0], options, by_wall=plan.by_wall)
        name = options.name or name_of(fn)
        series = SeriesCore(lane, plan, name, (fn, args, entry.kwargs, None))
        series.started = entry.runs
        core.begin_series(series, due)
        self._ledger.attach(entry, Series(series))


def _go_on(
    core: ExecutorCore, rhythm: RhythmLike | Cron, entry: Entry
) -> tuple[Plan, float | None]:
    """Return the plan of a stored series, and when its next run is or was due."""
    last = entry.due if entry.last is None else entry.last
    if isinstance(rhythm, Cron):
        plan: Plan = CronPlan(rhythm)
        return plan, plan.begin(last)

    now = core.clock.monotonic()
    if isinstance(rhythm, FixedRate | FixedDelay):
        started = entry.last is not None
        # Monotonic clocks end with their machine: what has passed is wall time.
        first = rhythm.period if started or rhythm.first is None else rhythm.first
        left = max(0.0, last + first - core.clock.time())
        return make_plan(replace(rhythm, first=left), now), None

    plan = make_plan(rhythm, now)
    after = last if entry.last is None else math.nextafter(last, math.inf)
    return plan, plan.begin(after)
