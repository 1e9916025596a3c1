"""When the runs of a series are due: one plan for each rhythm, and for the calendar.

A plan holds no clock and no state of the series: it is told what is due and what the
clock shows, and answers with the runs to start now and the next time to look.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from cup.errors import InvalidType, InvalidValue

from ._core_periods import check_period, due_at, index_after, index_at, made_up_for
from .api_values import Aligned, FixedDelay, FixedRate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .api_values import CatchUp

__all__ = [
    "Calendar",
    "CronPlan",
    "DelayPlan",
    "Firing",
    "Plan",
    "RatePlan",
    "RhythmLike",
    "make_plan",
]

RhythmLike = float | FixedRate | FixedDelay | Aligned

FAR: Final = 3 * 3600.0
"""A clock set by as much is believed: nothing is made up for, or waits (cron(8))."""

_COUNTED: Final = 1000  # missed runs of a calendar are counted up to here


class Firing(NamedTuple):
    """What follows from a timer that rang."""

    runs: Iterable[float]
    """When the runs were due that are to be started now, the oldest first."""
    next_due: float | None
    """When the next run is due; None if only the end of a run will tell, or never."""
    missed: int
    """How many runs are left out."""


class Plan(Protocol):
    """When runs are due.

    Attributes:
        by_wall: Whether its times are of the wall clock, else of the monotonic one.
    """

    @property
    def by_wall(self) -> bool:
        """Whether its times are of the wall clock."""
        ...

    def begin(self, now: float, /) -> float | None:
        """Return when the first run is due; None for never."""
        ...

    def fire(self, due: float, now: float, catch_up: CatchUp, /) -> Firing:
        """Say what to do at `now` about the run that was due, and what came after."""
        ...

    def after_run(self, now: float, /) -> float | None:
        """Return when the next run is due after one has ended; None if that is set."""
        ...

    def after_step(self, due: float, by: float, now: float, /) -> float | None:
        """Return when the run that is waited for is due after the clock was set."""
        ...

    def room(self, due: float, /) -> float:
        """Return the seconds from a run to the next one."""
        ...


class RatePlan:
    """Due at a fixed rate: on the monotonic clock, or aligned on the wall clock."""

    __slots__ = ("_period", "_start", "by_wall")

    def __init__(self, start: float, period: float, *, by_wall: bool) -> None:
        self._start = start
        self._period = period
        self.by_wall: bool = by_wall

    def begin(self, now: float, /) -> float:
        """Return the first time of the grid that is not over."""
        return self._next_after(math.nextafter(now, -math.inf))

    def _next_after(self, now: float) -> float:
        index = index_after(self._start, self._period, now)
        if not self.by_wall:
            index = max(0, index)
        return due_at(self._start, self._period, index)

    def fire(self, due: float, now: float, catch_up: CatchUp, /) -> Firing:
        """Start what `catch_up` says; the next is the first one after now."""
        start, period = self._start, self._period
        first = round((due - start) / period)
        if due_at(start, period, first) != due:  # somebody has moved it
            return Firing((due,), self._next_after(now), 0)

        last = max(first, index_at(start, period, now))
        chosen = made_up_for(catch_up, first, last, now=now, start=start, period=period)
        return Firing(
            (due_at(start, period, index) for index in chosen),
            due_at(start, period, last + 1),
            last + 1 - first - len(chosen),
        )

    def after_run(self, _: float, /) -> None:
        """Return None: the rate does not depend on how long runs take."""

    def after_step(self, due: float, by: float, now: float, /) -> float:
        """Go by the new time; a short way forward is made up for."""
        return due if 0 < by < FAR else self._next_after(now)

    def room(self, _: float, /) -> float:
        """Return the period."""
        return self._period


class DelayPlan:
    """Due so long after the end of the run before."""

    __slots__ = ("_first", "_period")

    by_wall = False

    def __init__(self, first: float, period: float) -> None:
        self._first = first
        self._period = period

    def begin(self, now: float, /) -> float:
        """Return when the first run is due."""
        return now + self._first

    def fire(self, due: float, _: float, __: CatchUp, /) -> Firing:
        """Start the one run; its end tells when the next is due."""
        return Firing((due,), None, 0)

    def after_run(self, now: float, /) -> float:
        """Return when the next run is due."""
        return now + self._period

    def after_step(self, due: float, _: float, __: float, /) -> float:
        """Change nothing: it does not go by the wall clock."""
        return due

    def room(self, _: float, /) -> float:
        """Return that the next run waits for this one."""
        return math.inf


class Calendar(Protocol):
    """What tells the times of a calendar; a `Cron` does."""

    @property
    def expr(self) -> str:
        """The expression."""
        ...

    def next_after(self, instant: float) -> float | None:
        """Give the first time after an instant."""
        ...

    def prev_before(self, instant: float) -> float | None:
        """Give the last time before an instant."""
        ...


class CronPlan:
    """Due by the calendar."""

    __slots__ = ("_cron", "_repeats")

    by_wall = True

    def __init__(self, cron: Calendar) -> None:
        self._cron = cron
        fields = cron.expr.split()
        # A job that repeats in the hour goes by a new time at once (cron(8)).
        self._repeats = len(fields) == 1 or any(
            field.startswith("*") for field in fields[-5:-3]
        )

    def begin(self, now: float, /) -> float | None:
        """Return the first time of the calendar after now."""
        return self._cron.next_after(now)

    def fire(self, due: float, now: float, catch_up: CatchUp, /) -> Firing:
        """Start what `catch_up` says; the next is the first one after now."""
        cron = self._cron
        upcoming = cron.next_after(due)
        if upcoming is None or upcoming > now:
            on_time = catch_up.mode != "none" or now - due <= catch_up.grace
            return Firing((due,) if on_time else (), upcoming, 0 if on_time else 1)

        last = cron.prev_before(math.floor(now) + 1.0)
        last = due if last is None else last
        total = sum(1 for _ in islice(self._from(due, last), _COUNTED))
        if catch_up.mode == "all":
            first = self._oldest(due, last, now, catch_up)
            chosen = sum(1 for _ in islice(self._from(first, last), _COUNTED))
            return Firing(
                self._from(first, last), cron.next_after(now), max(0, total - chosen)
            )

        on_time = catch_up.mode == "latest" or now - last <= catch_up.grace
        return Firing(
            (last,) if on_time else (), cron.next_after(now), total - int(on_time)
        )

    def _oldest(self, due: float, last: float, now: float, catch_up: CatchUp) -> float:
        """Return the first run that is made up for."""
        oldest = due
        if catch_up.window is not None:
            in_window = self._cron.next_after(now - catch_up.window)
            oldest = oldest if in_window is None else max(oldest, in_window)
        if catch_up.limit is not None:
            limited = last
            for _ in range(catch_up.limit - 1):
                before = self._cron.prev_before(limited)
                if before is None or before < oldest:
                    break
                limited = before
            oldest = max(oldest, limited)
        return oldest

    def _from(self, first: float, last: float) -> Iterator[float]:
        """Give the times from one to another, both included."""
        due: float | None = first
        while due is not None and due <= last:
            yield due
            due = self._cron.next_after(due)

    def after_run(self, _: float, /) -> None:
        """Return None: the calendar does not depend on how long runs take."""

    def after_step(self, due: float, by: float, now: float, /) -> float | None:
        """Follow Debian's cron: up to three hours are made up for, or waited for."""
        if abs(by) < FAR and (by > 0 or not self._repeats):
            return due

        return self._cron.next_after(now)

    def room(self, due: float, /) -> float:
        """Return the seconds to the next time of the calendar."""
        upcoming = self._cron.next_after(due)
        return math.inf if upcoming is None else upcoming - due


def make_plan(rhythm: RhythmLike, now: float) -> Plan:
    """Return the plan of a rhythm that begins now.

    Raises:
        InvalidType: If it is no rhythm.
        InvalidValue: If its period makes no sense.
    """
    if isinstance(rhythm, Aligned):
        period = check_period("period", rhythm.period)
        _check_offset(rhythm.offset)
        return RatePlan(rhythm.offset % period, period, by_wall=True)

    if isinstance(rhythm, FixedDelay):
        period = check_period("period", rhythm.period)
        return DelayPlan(_first(rhythm.first, period), period)

    if isinstance(rhythm, FixedRate):
        period = check_period("period", rhythm.period)
        return RatePlan(now + _first(rhythm.first, period), period, by_wall=False)

    _check_number(rhythm)
    return make_plan(FixedRate(float(rhythm)), now)


def _check_number(rhythm: object) -> None:
    if isinstance(rhythm, bool) or not isinstance(rhythm, float | int):
        raise InvalidType(
            "a period is a number of seconds, a FixedRate, a FixedDelay or an Aligned, "
            f"not {rhythm!r}"
        )


def _check_offset(offset: object) -> None:
    if isinstance(offset, bool) or not isinstance(offset, float | int):
        raise InvalidType(f"offset must be seconds (a number), not {offset!r}")

    if not math.isfinite(offset):
        raise InvalidValue(f"offset={offset!r} is no number of seconds")


def _first(first: float | None, period: float) -> float:
    if first is None:
        return period

    return 0.0 if first <= 0 else check_period("first", first)
