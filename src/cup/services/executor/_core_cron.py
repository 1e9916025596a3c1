"""Cron: when a job runs by the calendar, in any time zone.

The parts are modules of their own: what an expression says (`_core_cron_parse`), the
local times it means (`_core_cron_times`), the zone (`_core_cron_zone`), the policies
for changes of its clock (`_core_cron_dst`), the search (`_core_cron_search`), and the
sentence (`_core_cron_words`). Nothing here waits, or runs a job.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, final

from typing_extensions import override

from cup.errors import CronError, InvalidType, InvalidValue

from ._core_cron_dst import DstPolicy
from ._core_cron_parse import check_text, parse
from ._core_cron_search import first_run, last_run
from ._core_cron_times import LocalTimes
from ._core_cron_words import explain
from ._core_cron_zone import calendar_of, instant_of, local_at, start_of, zone_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, tzinfo

    from ._core_cron_parse import Fields

__all__ = ["Cron", "DstPolicy"]


@final
class Cron:
    """When a job runs by the calendar.

    An expression has five fields: minute, hour, day of month, month, day of week; or
    six, with the second in front (as Quartz and cronsim have it). A field is `*`, or
    numbers and names with commas between them, ranges and steps:

    ================= ===============================================================
    `5`, `1-5`        a number; a range, which may run over the end: `22-2`, `FRI-MON`
    `*/15`, `1-9/2`   steps; `5/15` goes on to the end of the range of the field
    `MON`, `JAN`      the first three letters of days and months; 0 and 7 are Sunday
    `L`, `L-3`, `LW`  of the month: its last day, the third before it, its last day
                      from Monday to Friday
    `15W`             the day from Monday to Friday nearest to the 15th, in its month
    `5L` or `L5`      the last Friday of the month
    `MON#2`           the second Monday of the month
    `H`, `H/15`,      a number that follows from `name`, always the same: it spreads
    `H(0-29)/10`      jobs over the time that they might all start at
    `@daily` ...      `@hourly @daily @midnight @weekly @monthly @yearly @annually`
    ================= ===============================================================

    As in Debian's cron, a day must match both the day of month and the day of week if
    one of the two fields starts with `*` (or is `H/n`), and only one of them if both do
    not. A day that a month does not have (`31`, `31W`) does not come in that month; an
    expression whose days never come is refused.

    Two of them are equal if they mean the same times in the same zone. Objects do not
    change, and threads may share them. Runs are looked for from year 1 to 9999.

    Args:
        expr: The expression.
        tz: The zone whose clock counts: a `tzinfo`, a name of the database of IANA, or
            None for UTC. Zones of pytz become those of zoneinfo.
        dst: What happens when that clock is changed.
        name: What `H` is spread by, as the name of the job.

    Raises:
        CronError: If the expression or the zone means nothing, or no day is ever meant;
            `field` tells which part of it is wrong.
        MissingExtra: If zones are to be had by the package tzdata only.
        InvalidType: If something is of another type.
    """

    __slots__ = ("_calendar", "_dst", "_fields", "_name", "_start", "_times", "_tz")

    def __init__(
        self,
        expr: str,
        tz: tzinfo | str | None = None,
        *,
        dst: DstPolicy = DstPolicy.DEBIAN,
        name: str | None = None,
    ) -> None:
        if name is not None:
            check_text("the name of a cron", name)
        self._fields = parse(expr, name)
        self._tz = zone_of(tz)
        self._dst = _policy_of(dst)
        self._name = name
        self._times = LocalTimes(self._fields)
        if self._times.never:
            raise _never(self._fields)
        rule: DstPolicy | None = self._dst
        if rule is DstPolicy.DEBIAN:
            rule = None if self._fields.repeats else DstPolicy.FIRST
        self._calendar = calendar_of(self._tz, rule)
        self._start = start_of(self._tz)

    @property
    def expr(self) -> str:
        """The expression, in capitals and with single blanks."""
        return self._fields.text

    @property
    def tz(self) -> tzinfo:
        """The zone whose clock counts."""
        return self._tz

    @property
    def dst(self) -> DstPolicy:
        """What happens when that clock is changed."""
        return self._dst

    @property
    def name(self) -> str | None:
        """What `H` is spread by."""
        return self._name

    # Seconds since 1970, for timers

    def next_after(self, instant: float) -> float | None:
        """Give the first run after an instant.

        Args:
            instant: Seconds since 1970, as of `time.time()`.

        Returns:
            A later instant, always a full second; None if the years end before.

        Raises:
            InvalidValue: If the instant is NaN or infinite.
            InvalidType: If it is no number.
        """
        try:
            second = math.floor(instant)
        except (TypeError, ValueError, OverflowError):
            raise _bad_instant(instant) from None
        run = first_run(self._times, self._calendar, second + 1)
        return None if run is None else float(run)

    def prev_before(self, instant: float) -> float | None:
        """Give the last run before an instant.

        Args:
            instant: Seconds since 1970, as of `time.time()`.

        Returns:
            An earlier instant, always a full second; None if the years begin after.

        Raises:
            InvalidValue: If the instant is NaN or infinite.
            InvalidType: If it is no number.
        """
        try:
            second = math.ceil(instant)
        except (TypeError, ValueError, OverflowError):
            raise _bad_instant(instant) from None
        run = last_run(self._times, self._calendar, second - 1)
        return None if run is None else float(run)

    # Datetimes, for people

    def next(self, after: datetime | None = None) -> datetime:
        """Give the first run after a time.

        Args:
            after: An aware datetime; None for now.

        Returns:
            An aware datetime in the zone of this cron, with its `fold`.

        Raises:
            CronError: If the years end before.
            InvalidValue: If the datetime has no zone.
        """
        run = first_run(self._times, self._calendar, _second_of(after)[0] + 1)
        if run is None:
            raise CronError(f"{self!r} has no run between {after} and the year 9999")
        return local_at(self._start, run)

    def prev(self, before: datetime | None = None) -> datetime:
        """Give the last run before a time.

        Args:
            before: An aware datetime; None for now.

        Returns:
            An aware datetime in the zone of this cron, with its `fold`.

        Raises:
            CronError: If the years begin after.
            InvalidValue: If the datetime has no zone.
        """
        run = last_run(self._times, self._calendar, _last_second_before(before))
        if run is None:
            raise CronError(f"{self!r} has no run between the year 1 and {before}")
        return local_at(self._start, run)

    def upcoming(self, start: datetime | None = None) -> Iterator[datetime]:
        """Give the runs after a time, one after the other.

        Each is later than the one before, as an instant: when the clock goes back,
        local times repeat themselves, and `fold` tells them apart. (Python compares
        datetimes of one zone without it.)

        Args:
            start: An aware datetime; None for now.

        Raises:
            InvalidValue: If the datetime has no zone.
        """
        return self._upward(_second_of(start)[0] + 1)

    def past(self, start: datetime | None = None) -> Iterator[datetime]:
        """Give the runs before a time, the latest first.

        Args:
            start: An aware datetime; None for now.

        Raises:
            InvalidValue: If the datetime has no zone.
        """
        return self._downward(_last_second_before(start))

    def between(self, start: datetime, stop: datetime) -> Iterator[datetime]:
        """Give the runs from a time on, and before another one, in order.

        Args:
            start: An aware datetime; a run at that time is one of them.
            stop: An aware datetime; a run at that time is none of them.

        Raises:
            InvalidValue: If a datetime has no zone.
        """
        return self._upward(_last_second_before(start) + 1, _last_second_before(stop))

    def _upward(self, instant: int, last: int | None = None) -> Iterator[datetime]:
        run = first_run(self._times, self._calendar, instant)
        while run is not None and (last is None or run <= last):
            yield local_at(self._start, run)
            run = first_run(self._times, self._calendar, run + 1)

    def _downward(self, instant: int) -> Iterator[datetime]:
        run = last_run(self._times, self._calendar, instant)
        while run is not None:
            yield local_at(self._start, run)
            run = last_run(self._times, self._calendar, run - 1)

    # What it is

    def explain(self) -> str:
        """Say in an English sentence when it runs."""
        return f"{explain(self._fields)} ({_name_of(self._tz)})."

    def _key(self) -> tuple[object, ...]:
        fields = self._fields
        times = (fields.second, fields.minute, fields.hour, fields.month, fields.day)
        return (*times, fields.repeats, self._dst)

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cron):
            return NotImplemented
        return self._key() == other._key() and self._tz == other._tz

    @override
    def __hash__(self) -> int:
        return hash(self._key())  # some zones cannot be hashed

    @override
    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.expr, self._tz, self._dst, self._name)

    @override
    def __str__(self) -> str:
        return self.expr

    @override
    def __repr__(self) -> str:
        parts = [repr(self.expr), repr(_name_of(self._tz))]
        if self._dst is not DstPolicy.DEBIAN:
            parts.append(f"dst={self._dst}")
        if self._name is not None:
            parts.append(f"name={self._name!r}")
        return f"Cron({', '.join(parts)})"


def _rebuild(expr: str, tz: tzinfo, dst: DstPolicy, name: str | None) -> Cron:
    return Cron(expr, tz, dst=dst, name=name)


def _never(fields: Fields) -> CronError:
    """Say why there is no day that an expression means."""
    date, month, weekday = fields.text.split()[-3:]
    days = f"no month of {month!r} has such a day"
    if weekday != "*":
        days = f"with day of week {weekday!r}, {days}"
    return CronError(
        f"cron expression {fields.text!r} never comes: day of month is {date!r}: "
        f"{days}",
        field="day of month",
        value=date,
    )


def _policy_of(dst: DstPolicy | str) -> DstPolicy:
    try:
        return DstPolicy(dst)
    except ValueError:
        known = ", ".join(policy.value for policy in DstPolicy)
        raise InvalidValue(f"dst is {dst!r}; give a DstPolicy: {known}") from None


def _bad_instant(instant: object) -> InvalidType | InvalidValue:
    kind = InvalidValue if isinstance(instant, float) else InvalidType
    return kind(f"instant is {instant!r}; give seconds since 1970")


def _second_of(when: datetime | None) -> tuple[int, bool]:
    """Give the second a time is in, and whether it is its beginning."""
    if when is None:
        now = time.time()
        second = math.floor(now)
        return second, now == second
    if when.utcoffset() is None:
        raise InvalidValue(
            f"{when!r} has no time zone; give an aware datetime, such as "
            "datetime.now(timezone.utc)"
        )
    return instant_of(when)


def _last_second_before(when: datetime | None) -> int:
    second, is_start = _second_of(when)
    return second - 1 if is_start else second


def _name_of(tz: tzinfo) -> str:
    key: object = getattr(tz, "key", None)
    return key if isinstance(key, str) else str(tz)
