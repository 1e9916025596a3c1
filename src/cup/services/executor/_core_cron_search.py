"""The next run, and the one before: local times meet the stretches of a zone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._core_cron_zone import EARLIEST, LATEST

if TYPE_CHECKING:
    from ._core_cron_times import LocalTimes
    from ._core_cron_zone import Calendar

__all__ = ["first_run", "last_run"]

_REACH: Final = 2 * 86_400  # more than offsets, and two of them, can differ
_MINUTE: Final = 60


def first_run(times: LocalTimes, calendar: Calendar, instant: int) -> int | None:
    """Give the first run from an instant on; None if the years end before it."""
    instant = max(instant, EARLIEST)
    known_from, known = 1, 0  # `known` is the first local time from `known_from` on
    settled = instant
    while instant <= LATEST:
        begin, end, offset, low, high, missed, found = calendar.at(instant)
        if missed < found and instant < begin + _MINUTE:
            run = times.in_seconds_since(begin + offset) - offset
            if instant <= run and times.since(missed) < found:
                return run
        local = instant + offset
        if local < low:  # noqa: PLR1730 - faster than max()
            local = low
        if not known_from <= local <= known:
            known_from, known = local, times.since(local)
            settled = instant + _REACH
        if known < high:
            return known - offset
        # The clock may go back here, so the next stretch is looked at in any case. Two
        # days on, local times are beyond those that were searched, so nothing runs
        # before `known` does.
        instant = end
        if settled <= instant < known - _REACH:
            instant = known - _REACH
    return None


def last_run(times: LocalTimes, calendar: Calendar, instant: int) -> int | None:
    """Give the last run up to an instant; None if the years begin after it."""
    instant = min(instant, LATEST)
    known, known_to = 0, -1
    settled = instant
    while instant >= EARLIEST:
        begin, _, offset, low, high, missed, found = calendar.at(instant)
        local = instant + offset
        if local >= high:
            local = high - 1
        if not known <= local <= known_to:
            known, known_to = times.until(local), local
            settled = instant - _REACH
        if known >= low:
            return known - offset
        if missed < found:
            run = times.in_seconds_since(begin + offset) - offset
            if run <= instant and times.until(found - 1) >= missed:
                return run
        instant = begin - 1
        if settled >= instant > known + _REACH:
            instant = known + _REACH
    return None
