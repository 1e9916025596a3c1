"""Time zones as stretches of constant offset, found by asking the zone itself.

Any `tzinfo` will do: transitions are looked for, and kept, in spans of 16 days around
the instants that somebody asks about. Rules of the far future, historic offsets with
seconds and days without a date are all the same to that.
"""

from __future__ import annotations

import os
import zoneinfo
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from cup.errors import CronError, InvalidType, MissingExtra

from ._core_cron_dst import Piece, Stretch, windows

if TYPE_CHECKING:
    from ._core_cron_dst import DstPolicy

__all__ = [
    "EARLIEST",
    "LATEST",
    "Calendar",
    "calendar_of",
    "instant_of",
    "local_at",
    "start_of",
    "zone_of",
]

_SECOND: Final = timedelta(seconds=1)
_1970: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
# Some days away from what `datetime` can hold, whatever is asked around them.
EARLIEST: Final = (datetime(1, 1, 5, tzinfo=timezone.utc) - _1970) // _SECOND
LATEST: Final = (datetime(9999, 12, 27, tzinfo=timezone.utc) - _1970) // _SECOND

# In the database of IANA, offsets change at intervals of four days or more, so no two
# changes can hide from probes that are two days apart.
_PROBE: Final = 2 * 86_400
_TWO_DAYS: Final = timedelta(days=2)
_SPAN: Final = 8 * _PROBE
_MARGIN: Final = 2 * 86_400  # offsets differ by less than two days
_MOST_SPANS: Final = 4096


def zone_of(tz: tzinfo | str | None) -> tzinfo:
    """Give the zone that is meant.

    Args:
        tz: A zone; its name in the database of IANA; None for UTC. Zones of pytz
            become those of zoneinfo, by their names.

    Raises:
        CronError: If there is no such zone.
        MissingExtra: If this machine has no database of zones.
        InvalidType: If it is something else.
    """
    if tz is None:
        return timezone.utc
    if isinstance(tz, str):
        return timezone.utc if tz.upper() == "UTC" else _named(tz)
    _check(tz)
    if type(tz).__module__.partition(".")[0] == "pytz":
        return _from_pytz(tz)
    _offset_at(start_of(tz), 0)  # refuse it now, and not at the first run
    return tz


def _check(tz: object) -> None:
    if not isinstance(tz, tzinfo):
        raise InvalidType(f"tz is a tzinfo or the name of a zone, not {tz!r}")


def start_of(tz: tzinfo) -> datetime:
    """Give the beginning of 1970 on the clock of a zone.

    Seconds are added to it and `tz.fromutc` makes a local time of the sum: that is the
    fastest way, and it works before 1970 on all platforms.
    """
    return datetime(1970, 1, 1, tzinfo=tz)


def _named(name: str) -> tzinfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    if not any(map(os.path.isdir, zoneinfo.TZPATH)) and find_spec("tzdata") is None:
        raise MissingExtra(
            f"time zone {name!r} cannot be had: this machine has no time zone "
            "database; run `pip install tzdata`",
            requirement="tzdata",
        )
    raise CronError(
        f"time zone {name!r} is unknown{_similar(name)}", field="time zone", value=name
    )


def _similar(name: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - for an error alone

    names = {known.lower(): known for known in zoneinfo.available_timezones()}
    close = [names[match] for match in get_close_matches(name.lower(), names, 3)]
    return f"; is it {' or '.join(close)}?" if close else "; give one as Europe/Berlin"


def _from_pytz(tz: tzinfo) -> tzinfo:
    name: object = getattr(tz, "zone", None)
    if isinstance(name, str):
        return zone_of(name)
    fixed = tz.utcoffset(None)
    if fixed is None:
        raise CronError(f"time zone {tz!r} has no name", field="time zone")
    return timezone(fixed)


def instant_of(when: datetime) -> tuple[int, bool]:
    """Give the second that an aware datetime is in, and whether it is its beginning."""
    seconds, rest = divmod(when - _1970, _SECOND)
    return seconds, not rest


def local_at(start: datetime, instant: int) -> datetime:
    """Give the local time of an instant, by what `start_of` gave."""
    tz = start.tzinfo
    assert tz is not None
    return tz.fromutc(start + timedelta(seconds=instant))


def _offset_at(start: datetime, instant: int) -> int:
    tz = start.tzinfo
    offset = local_at(start, instant).utcoffset()
    if offset is None:
        raise CronError(f"time zone {tz!r} does not say its offset", field="time zone")
    seconds, rest = divmod(offset, _SECOND)
    if rest:
        raise CronError(
            f"time zone {tz!r} is off by parts of a second ({offset}); cron knows "
            "whole seconds",
            field="time zone",
        )
    return seconds


def calendar_of(tz: tzinfo, policy: DstPolicy | None) -> Calendar:
    """Give the stretches of a zone under a policy, shared by all who ask."""
    try:
        return _shared_calendar(tz, policy)
    except TypeError:  # zones of dateutil cannot be hashed
        return Calendar(tz, policy)


@lru_cache(maxsize=2048)
def _shared_calendar(tz: tzinfo, policy: DstPolicy | None) -> Calendar:
    return Calendar(tz, policy)


class Calendar:
    """The stretches of a zone, as a policy has them.

    Threads may share it: what they race for is the same for each of them.
    """

    __slots__ = ("_policy", "_spans", "_start", "_tz")

    def __init__(self, tz: tzinfo, policy: DstPolicy | None) -> None:
        self._tz = tz
        self._start = start_of(tz)
        self._policy = policy
        self._spans: dict[int, list[Stretch]] = {}

    def at(self, instant: int) -> Stretch:
        """Give the stretch that an instant is in, from `EARLIEST` to `LATEST`."""
        span = self._spans.get(instant // _SPAN) or self._load(instant // _SPAN)
        for stretch in span:
            if instant < stretch[1]:
                return stretch
        raise AssertionError(f"no stretch at {instant}")  # pragma: no cover

    def _load(self, number: int) -> list[Stretch]:
        if _is_fixed(self._start):
            offset = _offset_at(self._start, 0)
            pieces = [Piece(EARLIEST, LATEST + 1, offset)]
            stretches = windows(pieces, self._policy)
        else:
            begin = max(EARLIEST, number * _SPAN)
            end = min((number + 1) * _SPAN, LATEST + 1)
            pieces = self._pieces(begin - 2 * _MARGIN, end + 2 * _MARGIN)
            first, last = begin - _MARGIN, min(end + _MARGIN, LATEST + 1)
            stretches = [
                _within(stretch, first, last)
                for stretch in windows(pieces, self._policy)
                if stretch.end > begin and stretch.begin < end
            ]
        if len(self._spans) >= _MOST_SPANS:
            self._spans.clear()
        self._spans[number] = stretches
        return stretches

    def _pieces(self, begin: int, end: int) -> list[Piece]:
        """Find the pieces between two instants."""
        begin, end = max(begin, EARLIEST), min(end, LATEST + 1)
        fromutc = self._tz.fromutc
        when = self._start + timedelta(seconds=begin)
        here = fromutc(when).utcoffset()
        pieces: list[Piece] = []
        start, probe = begin, begin
        while probe < end:
            probe += _PROBE
            when += _TWO_DAYS
            there = fromutc(when).utcoffset()
            if there != here:
                change = self._change(probe - _PROBE, probe)
                pieces.append(Piece(start, change, _offset_at(self._start, start)))
                start, here = change, there
        pieces.append(Piece(start, probe, _offset_at(self._start, start)))
        return pieces

    def _change(self, low: int, high: int) -> int:
        """Find the first instant that has the offset of `high`, by halving."""
        target = _offset_at(self._start, high)
        while high - low > 1:
            middle = (low + high) // 2
            if _offset_at(self._start, middle) == target:
                high = middle
            else:
                low = middle
        return high


def _is_fixed(start: datetime) -> bool:
    """Tell whether the clock of a zone is never changed."""
    tz = start.tzinfo
    return isinstance(tz, timezone) or (
        isinstance(tz, zoneinfo.ZoneInfo) and tz.utcoffset(None) is not None
    )


def _within(stretch: Stretch, begin: int, end: int) -> Stretch:
    """Cut a stretch to where its surroundings were looked at."""
    if stretch.begin < begin:
        low = max(stretch.low, begin + stretch.offset)
        stretch = stretch._replace(begin=begin, low=low, missed=0, found=0)
    if stretch.end > end:
        high = min(stretch.high, end + stretch.offset)
        stretch = stretch._replace(end=end, high=high)
    return stretch
