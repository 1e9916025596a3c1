"""The local times that an expression means, searched in both directions.

A local time is a number: the seconds from 1970-01-01T00:00 to it, on a clock that never
changes (the proleptic Gregorian calendar). Time zones are the subject of others.

A search takes no steps: each field has a table of what follows each of its values, and
the days of a month follow from its length and its first weekday alone, of which there
are 28 kinds.
"""

from __future__ import annotations

from calendar import isleap
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._core_cron_parse import DayRule, Fields

__all__ = ["AFTER_ALL", "BEFORE_ALL", "CalendarDays", "LocalTimes"]

AFTER_ALL: Final = 1 << 60
BEFORE_ALL: Final = -AFTER_ALL

_DAY: Final = 86_400
_1970: Final = date(1970, 1, 1).toordinal()
_LAST_YEAR: Final = date.max.year
_LENGTHS: Final = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FEBRUARY: Final = 2
_SHORTEST: Final = 28
_ALL_MONTHS: Final = (2 << 12) - 2
_SUNDAY: Final = 0
_SATURDAY: Final = 6


class CalendarDays:
    """The days that an expression means, as numbers from 1970-01-01 on.

    Who asks stays within the years 1 to 9999; answers may be beyond them.

    Attributes:
        every: Whether they are all days there are.
        never: Whether there is none, in any year.
    """

    __slots__ = ("_below", "_from", "_masks", "_months", "every", "never")

    def __init__(self, months: int, rule: DayRule) -> None:
        self._months = months
        self._from = _next_table(months, 12)
        self._below = _previous_table(months, 12)
        self._masks = _masks(rule)
        self.every: bool = months == _ALL_MONTHS and self._masks == _EVERY_DAY
        self.never: bool = not any(
            mask
            for month in range(1, 13)
            if months >> month & 1
            for length in {_LENGTHS[month], _LENGTHS[month] + (month == _FEBRUARY)}
            for mask in self._masks[(length - _SHORTEST) * 7 :][:7]
        )

    def since(self, day: int) -> int:
        """Give the first of these days from a day on; `AFTER_ALL` if there is none."""
        when = date.fromordinal(day + _1970)
        year, month, number = when.year, when.month, when.day
        first = day - number + 1
        while True:
            if self._months >> month & 1:
                mask = self._mask_of(year, month, first) >> number
                if mask:
                    return first + number - 2 + (mask & -mask).bit_length()
            number = 1
            month = self._from[month + 1]
            if month > 12:  # noqa: PLR2004
                year, month = year + 1, self._from[1]
                if year > _LAST_YEAR:
                    return AFTER_ALL
            first = date(year, month, 1).toordinal() - _1970

    def until(self, day: int) -> int:
        """Give the last of these days up to a day; `BEFORE_ALL` if there is none."""
        when = date.fromordinal(day + _1970)
        year, month = when.year, when.month
        first = day - when.day + 1
        allowed = (2 << when.day) - 1
        while True:
            if self._months >> month & 1:
                mask = self._mask_of(year, month, first) & allowed
                if mask:
                    return first + mask.bit_length() - 2
            allowed = -1
            month = self._below[month]
            if month < 1:
                year, month = year - 1, self._below[13]
                if year < 1:
                    return BEFORE_ALL
            first = date(year, month, 1).toordinal() - _1970

    def _mask_of(self, year: int, month: int, first: int) -> int:
        """Give the bits of the days of a month, by the number of its first day."""
        length = _LENGTHS[month]
        if month == _FEBRUARY and isleap(year):
            length = 29
        return self._masks[(length - _SHORTEST) * 7 + (first + 4) % 7]


class LocalTimes:
    """The local times that an expression means."""

    __slots__ = (
        *("_days", "_first_in_day", "_first_in_hour", "_first_second"),
        *("_hour_below", "_hour_from", "_last_in_day", "_last_in_hour"),
        *("_last_second", "_minute_below", "_minute_from"),
        *("_second_below", "_second_from"),
    )

    def __init__(self, fields: Fields) -> None:
        self._days = _calendar_days(fields.month, fields.day)
        self._second_from = _next_table(fields.second, 59)
        self._minute_from = _next_table(fields.minute, 59)
        self._hour_from = _next_table(fields.hour, 23)
        self._second_below = _previous_table(fields.second, 59)
        self._minute_below = _previous_table(fields.minute, 59)
        self._hour_below = _previous_table(fields.hour, 23)
        self._first_second = self._second_from[0]
        self._first_in_hour = self._minute_from[0] * 60 + self._first_second
        self._first_in_day = self._hour_from[0] * 3600 + self._first_in_hour
        self._last_second = self._second_below[60]
        self._last_in_hour = self._minute_below[60] * 60 + self._last_second
        self._last_in_day = self._hour_below[24] * 3600 + self._last_in_hour

    @property
    def never(self) -> bool:
        """Whether there is no such time at all."""
        return self._days.never

    def since(self, time: int) -> int:
        """Give the first of these times from a time on."""
        day, rest = divmod(time, _DAY)
        if self._days.every:
            found = day
        else:
            found = self._days.since(day)
            if found != day:
                return found * _DAY + self._first_in_day
        hour, rest = divmod(rest, 3600)
        at_hour = self._hour_from[hour]
        if at_hour == hour:
            minute, second = divmod(rest, 60)
            at_minute = self._minute_from[minute]
            if at_minute == minute:
                at_second = self._second_from[second]
                if at_second < 60:  # noqa: PLR2004
                    return time - second + at_second
                at_minute = self._minute_from[minute + 1]
            if at_minute < 60:  # noqa: PLR2004
                return time - rest + at_minute * 60 + self._first_second
            at_hour = self._hour_from[hour + 1]
        if at_hour < 24:  # noqa: PLR2004
            return day * _DAY + at_hour * 3600 + self._first_in_hour
        following = day + 1 if self._days.every else self._days.since(day + 1)
        return following * _DAY + self._first_in_day

    def until(self, time: int) -> int:
        """Give the last of these times up to a time."""
        day, rest = divmod(time, _DAY)
        if not self._days.every:
            found = self._days.until(day)
            if found != day:
                return found * _DAY + self._last_in_day
        hour, rest = divmod(rest, 3600)
        at_hour = self._hour_below[hour + 1]
        if at_hour == hour:
            minute, second = divmod(rest, 60)
            at_minute = self._minute_below[minute + 1]
            if at_minute == minute:
                at_second = self._second_below[second + 1]
                if at_second >= 0:
                    return time - second + at_second
                at_minute = self._minute_below[minute]
            if at_minute >= 0:
                return time - rest + at_minute * 60 + self._last_second
            at_hour = self._hour_below[hour]
        if at_hour >= 0:
            return day * _DAY + at_hour * 3600 + self._last_in_hour
        previous = day - 1 if self._days.every else self._days.until(day - 1)
        return previous * _DAY + self._last_in_day

    def in_seconds_since(self, time: int) -> int:
        """Give the first time from a time on at which the seconds are as asked."""
        second = time % 60
        found = self._second_from[second]
        if found < 60:  # noqa: PLR2004
            return time - second + found
        return time - second + 60 + self._first_second


@lru_cache(maxsize=512)
def _calendar_days(months: int, rule: DayRule) -> CalendarDays:
    return CalendarDays(months, rule)


@lru_cache(maxsize=1024)
def _next_table(mask: int, highest: int) -> tuple[int, ...]:
    """Give for 0 ... highest + 1 the first bit from there on, or highest + 1."""
    table = [highest + 1] * (highest + 2)
    for number in range(highest, -1, -1):
        table[number] = number if mask >> number & 1 else table[number + 1]
    return tuple(table)


@lru_cache(maxsize=1024)
def _previous_table(mask: int, highest: int) -> tuple[int, ...]:
    """Give for 0 ... highest + 1 the last bit below, or -1."""
    table = [-1] * (highest + 2)
    for number in range(highest + 1):
        table[number + 1] = number if mask >> number & 1 else table[number]
    return tuple(table)


def _all_days(length: int) -> int:
    return (2 << length) - 2


_EVERY_DAY: Final = tuple(_all_days(_SHORTEST + kind // 7) for kind in range(28))


def _masks(rule: DayRule) -> tuple[int, ...]:
    """Give the days of each kind of month: 28 to 31 days, from Sunday to Saturday."""
    return tuple(
        _mask(rule, length, first) for length in range(28, 32) for first in range(7)
    )


def _mask(rule: DayRule, length: int, first: int) -> int:
    """Give the days of a month by its length and its first weekday."""
    dates = rule.dates
    for back in rule.from_end:
        if back < length:
            dates |= 1 << length - back
    for day in rule.near:
        if day <= length:
            dates |= 1 << _nearest_weekday(day or length, length, first)
    weekdays = 0
    for weekday in range(7):
        one = _same_weekdays((weekday - first) % 7 + 1)
        if rule.weekdays >> weekday & 1:
            weekdays |= one
    for weekday, number in rule.nth:
        weekdays |= 1 << (weekday - first) % 7 + 7 * number - 6
    for weekday in rule.last:
        weekdays |= 1 << length - (first + length - 1 - weekday) % 7
    days = dates | weekdays if rule.either else dates & weekdays
    return days & _all_days(length)


def _same_weekdays(first: int) -> int:
    return 0b1_0000001_0000001_0000001_0000001 << first


def _nearest_weekday(day: int, length: int, first: int) -> int:
    """Give the day from Monday to Friday that is nearest to a day, in its month."""
    weekday = (first + day - 1) % 7
    if weekday == _SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == _SUNDAY:
        return day + 1 if day < length else day - 2
    return day
