"""The calendar of the older `CronTask`: lists of numbers, all of which must match.

There, the day of month and the day of week must both match; in a cron expression of
Debian's, one of them is enough. So the day of week is looked at here.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Final

from cup.errors import InvalidType, InvalidValue

from ._core_cron import Cron

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

__all__ = ["ListedTimes", "TimerDict"]

TimerDict = dict[str, "list[int] | None"]

_FIELDS: Final = {
    "minute": (0, 59),
    "hour": (0, 23),
    "monthday": (1, 31),
    "month": (1, 12),
    "weekday": (1, 7),
}
_LONGEST_SEARCH: Final = 4000
"""Days of month that are looked at for a day of week: a 29th of February on a given one
is at most forty years away."""


class ListedTimes:
    """The times that lists of minutes, hours, days and months mean.

    Args:
        timer: Lists of numbers, or None for all, by the keys `minute`, `hour`,
            `monthday`, `month`, and `weekday` (from Monday, 1, to Sunday, 7).
        zone: The zone whose clock counts.

    Raises:
        InvalidValue: If a key is not known, or a number makes no sense.
        InvalidType: If something is no list of ints.
    """

    __slots__ = ("_cron", "_weekdays")

    def __init__(
        self, timer: Mapping[str, Iterable[int] | None], zone: tzinfo | str
    ) -> None:
        unknown = set(timer) - set(_FIELDS)
        if unknown:
            names = ", ".join(sorted(map(str, unknown)))
            raise InvalidValue(
                f"timer_dict has keys that mean nothing: {names}; "
                f"it takes {', '.join(_FIELDS)}"
            )

        texts = {name: _read(name, timer.get(name)) for name in _FIELDS}
        self._weekdays: frozenset[int] = frozenset()
        if texts["monthday"] != "*" and texts["weekday"] != "*":
            self._weekdays = frozenset(map(int, texts["weekday"].split(",")))
            texts["weekday"] = "*"
        self._cron = Cron(" ".join(texts.values()), zone)
        if self.next_after(datetime.now(timezone.utc).timestamp()) is None:
            raise InvalidValue(f"timer_dict={timer!r} means a time that never comes")

    @property
    def expr(self) -> str:
        """The expression, without the days of week that are looked at here."""
        return self._cron.expr

    @property
    def tz(self) -> tzinfo:
        """The zone whose clock counts."""
        return self._cron.tz

    def next_after(self, instant: float) -> float | None:
        """Give the first time after an instant; None if there is none."""
        found = self._cron.next_after(instant)
        for _ in range(_LONGEST_SEARCH):
            if found is None or self._matches(found):
                return found

            # The times of a day that does not match are passed over at once.
            found = self._cron.next_after(self._midnight(found, 1) - 1)
        return None

    def prev_before(self, instant: float) -> float | None:
        """Give the last time before an instant; None if there is none."""
        found = self._cron.prev_before(instant)
        for _ in range(_LONGEST_SEARCH):
            if found is None or self._matches(found):
                return found

            found = self._cron.prev_before(self._midnight(found, 0))
        return None

    def _matches(self, instant: float) -> bool:
        weekdays = self._weekdays
        return not weekdays or self._local(instant).isoweekday() in weekdays

    def _local(self, instant: float) -> datetime:
        return datetime.fromtimestamp(instant, self._cron.tz)

    def _midnight(self, instant: float, days: int) -> float:
        """Return the beginning of the day, or of the next, of an instant."""
        day = self._local(instant).date() + timedelta(days)
        return datetime.combine(day, time(), self._cron.tz).timestamp()


def _check_list(name: str, numbers: object) -> None:
    if not isinstance(numbers, int | Iterable):
        raise InvalidType(f"{name} must be a list of ints, or None, not {numbers!r}")


def _read(name: str, numbers: Iterable[int] | None) -> str:
    """Return a field of a cron expression for a list."""
    if numbers is None:
        return "*"

    lowest, highest = _FIELDS[name]
    _check_list(name, numbers)
    listed = [numbers] if isinstance(numbers, int) else list(numbers)
    if not listed:
        raise InvalidValue(f"{name}=[] matches nothing; use None for all")

    for number in listed:
        if type(number) is not int:
            raise InvalidType(f"{name} has {number!r}; it takes ints")
        if not lowest <= number <= highest:
            raise InvalidValue(
                f"{name} has {number}; it takes {lowest} to {highest}, or None for all"
            )
    return ",".join(str(number) for number in sorted(set(listed)))
