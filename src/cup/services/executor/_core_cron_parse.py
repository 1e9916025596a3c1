"""Cron expressions, read into sets of bits; what is wrong with them is said here.

Fields are Debian's (crontab(5)), in front of them seconds as Quartz has them, and of
Quartz, Jenkins and others: `L`, `L-3`, `LW`, `15W`, `5L`, `MON#2`, `H`. It knows no
dates, zones or clocks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NoReturn

from cup.errors import CronError, InvalidType

__all__ = ["DAYS", "MONTHS", "DayRule", "Fields", "check_text", "parse"]

DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTHS: Final = (
    *("JAN", "FEB", "MAR", "APR", "MAY", "JUN"),
    *("JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
)
ALIASES: Final = {
    "@YEARLY": "0 0 1 1 *",
    "@ANNUALLY": "0 0 1 1 *",
    "@MONTHLY": "0 0 1 * *",
    "@WEEKLY": "0 0 * * 0",
    "@DAILY": "0 0 * * *",
    "@MIDNIGHT": "0 0 * * *",
    "@HOURLY": "0 * * * *",
}

_LONGEST_SHOWN: Final = 60
_SUNDAY_TOO: Final = 7
_DIGITS: Final = 9
_HASHED: Final = re.compile(r"H(?:\(([0-9]+)-([0-9]+)\))?(?:/([0-9]+))?")
_FROM_END: Final = re.compile(r"L(?:-([0-9]+))?")
_NEAREST: Final = re.compile(r"([0-9]+|L)W|W([0-9]+|L)")
_NTH: Final = re.compile(r"([^#]*)#([^#]*)")
_STEP: Final = re.compile(r"([^/]*)/([^/]*)")
_RANGE: Final = re.compile(r"([^-]*)-([^-]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRule:
    """Which days of a month are meant.

    Attributes:
        dates: Bit n: the nth day of the month.
        from_end: 0 for the last day, 3 for the third day before it.
        near: 15 for the weekday (Monday to Friday) nearest to the 15th, 0 for the
            last one of the month.
        weekdays: Bit n: that day of the week, from Sunday on.
        nth: (weekday, n): the nth such day of the month.
        last: The last such day of the month.
        either: Whether a date or a day of the week is enough. Otherwise both must
            match.
    """

    dates: int
    from_end: tuple[int, ...]
    near: tuple[int, ...]
    weekdays: int
    nth: tuple[tuple[int, int], ...]
    last: tuple[int, ...]
    either: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """What an expression says.

    Attributes:
        text: The expression in capitals, with single blanks.
        second: Bit n: the second n. So are `minute`, `hour` and `month` (from 1 on).
        day: Which days.
        repeats: Whether it runs "all the time", as `*` in the field of the seconds,
            minutes or hours has it, and not at times of its own.
        hashed: Whether some of it follows from a name.
    """

    text: str
    second: int
    minute: int
    hour: int
    month: int
    day: DayRule
    repeats: bool
    hashed: bool


@dataclass(frozen=True, slots=True)
class _Span:
    """The numbers and names of one field."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    hash_high: int = 0  # where `H` ends, if before `high`

    @property
    def size(self) -> int:
        return self.high - self.low + 1

    @property
    def usage(self) -> str:
        if not self.names:
            return f"{self.low} to {self.high}"
        extra = " (7 is Sunday, too)" if self.name == "day of week" else ""
        return (
            f"{self.low} to {self.high} or {self.names[0]} to {self.names[-1]}{extra}"
        )

    def mask(self, low: int, high: int, step: int = 1) -> int:
        """Give the bits of a range; it may run over the end and go on at the start."""
        if step == 1 and low <= high <= self.high:
            return (2 << high) - (1 << low)
        size = self.high - self.low + 1
        top = high if low <= high else high + size
        bits = 0
        for number in range(low, top + 1, step):
            bits |= 1 << (number - self.low) % size + self.low
        return bits


_SPANS: Final = (
    _Span("second", 0, 59),
    _Span("minute", 0, 59),
    _Span("hour", 0, 23),
    _Span("day of month", 1, 31, hash_high=28),
    _Span("month", 1, 12, MONTHS),
    _Span("day of week", 0, 6, DAYS),
)


def parse(expression: str, name: str | None = None) -> Fields:
    """Read an expression.

    Args:
        expression: Five fields, six with the second before them, or an alias.
        name: What `H` is spread by.

    Raises:
        CronError: If it means nothing; the error tells the field.
        InvalidType: If it is no string.
    """
    check_text("a cron expression", expression)
    texts = expression.upper().split()
    text = " ".join(texts)
    if text.startswith("@"):
        texts = _meaning_of(text, expression).split()
    if len(texts) not in {5, 6}:
        raise CronError(
            f"cron expression {_shown(expression)} has {len(texts)} fields; give 5 "
            "(minute, hour, day of month, month, day of week), or 6 with the second "
            "in front"
        )
    six = ["0", *texts] if len(texts) == 5 else texts  # noqa: PLR2004
    readers = [
        _Reader(span, field, expression, name)
        for span, field in zip(_SPANS, six, strict=True)
    ]
    second, minute, hour, date, month, weekday = readers
    return Fields(
        text=text,
        second=second.bits,
        minute=minute.bits,
        hour=hour.bits,
        month=month.bits,
        day=DayRule(
            dates=date.bits,
            from_end=tuple(sorted(date.from_end)),
            near=tuple(sorted(date.near)),
            weekdays=weekday.bits,
            nth=tuple(sorted(weekday.nth)),
            last=tuple(sorted(weekday.last)),
            either=not date.is_open and not weekday.is_open,
        ),
        repeats=second.is_open or minute.is_open or hour.is_open,
        hashed=any(reader.hashed for reader in readers),
    )


def check_text(what: str, given: object) -> None:
    """Refuse what is no string, by its name.

    Raises:
        InvalidType: If it is none.
    """
    if not isinstance(given, str):
        raise InvalidType(f"{what} is a string, not {given!r}")


def _meaning_of(alias: str, expression: str) -> str:
    meaning = ALIASES.get(alias)
    if meaning is None:
        known = ", ".join(sorted(map(str.lower, ALIASES)))
        why = (
            "is no time of a clock: run the job when the program starts"
            if alias == "@REBOOT"
            else f"is unknown; there are {known}"
        )
        raise CronError(f"cron alias {_shown(expression)} {why}", value=alias)
    return meaning


def _shown(expression: str) -> str:
    if len(expression) > _LONGEST_SHOWN:
        expression = f"{expression[:_LONGEST_SHOWN]}..."
    return repr(expression)


class _Reader:
    """One field: what was read of it so far."""

    def __init__(
        self, span: _Span, text: str, expression: str, name: str | None
    ) -> None:
        self.span = span
        self.text = text
        self.expression = expression
        self.name = name
        self.bits = 0
        self.from_end: set[int] = set()
        self.near: set[int] = set()
        self.nth: set[tuple[int, int]] = set()
        self.last: set[int] = set()
        self.hashed = False
        # As in Debian's cron, the first letter decides; `H/15` is a spread `*/15`.
        self.is_open = text.startswith(("*", "H/"))
        for item in text.split(","):
            self._read(item)

    def _read(self, item: str) -> None:
        if not item:
            self._refuse("nothing stands before or after a comma")
        if item.startswith("H"):
            self.bits |= self._hash(item)
        elif self.span.name == "day of month" and ("L" in item or "W" in item):
            self._read_date(item)
        elif self.span.name == "day of week" and "#" in item:
            self._read_nth(item)
        elif self.span.name == "day of week" and self._is_last(item):
            day = item[1:] if item.startswith("L") else item[:-1]
            self.last.add(self._number(day, item))
        else:
            self.bits |= self._plain(item)

    def _plain(self, item: str) -> int:
        """Read `*`, `5`, `1-5`, each of them with or without a step."""
        span = self.span
        stepped = _STEP.fullmatch(item)
        body, step = (
            (stepped[1], self._step(stepped[2], span.size)) if stepped else (item, 1)
        )
        if body == "*":
            return span.mask(span.low, span.high, step)
        ranged = _RANGE.fullmatch(body)
        if ranged:
            return self._between(ranged[1], ranged[2], step)
        first = self._number(body, item)
        return span.mask(first, max(first, span.high) if stepped else first, step)

    def _between(self, low: str, high: str, step: int) -> int:
        first, last = self._number(low, self.text), self._number(high, self.text)
        if first == last and low != high == "7":  # 0-7 is all of the week
            last = self.span.high
        return self.span.mask(first, last, step)

    def _number(self, text: str, item: str) -> int:
        span = self.span
        if text in span.names:
            return span.names.index(text) + span.low
        number = _natural(text)
        if number == _SUNDAY_TOO and span.name == "day of week":
            return 0
        if span.low <= number <= span.high:
            return number
        why = f"give {span.usage}"
        if text == "?":
            why = "'?' is Quartz's; write '*', and mind that 0 or 7 is Sunday"
        raise self._error(why, item)

    def _step(self, text: str, most: int) -> int:
        step = _natural(text)
        if not 1 <= step <= most:
            self._refuse(
                f"the step {text!r} must be 1 to {most}: it starts anew with each "
                f"{_WHOLE[self.span.name]}"
            )
        return step

    def _hash(self, item: str) -> int:
        span = self.span
        match = _HASHED.fullmatch(item)
        if match is None:
            self._refuse("write H, H/15, H(0-29) or H(0-29)/10", item)
        if self.name is None:
            self._refuse("H spreads jobs by their name, and there is none: give `name`")
        self.hashed = True
        low, high = span.low, span.hash_high or span.high
        if match[1]:
            low, high = self._number(match[1], item), self._number(match[2], item)
            if low > high:
                self._refuse("the range of H must not run backwards", item)
        elif match[3]:
            high = span.high
        number = _hash_of(span.name, self.name)
        if match[3] is None:
            chosen = low + number % (high - low + 1)
            return span.mask(chosen, chosen)
        step = self._step(match[3], high - low + 1)
        return span.mask(low + number % step, high, step)

    def _read_date(self, item: str) -> None:
        """Read `L`, `L-3`, `LW`, `15W`."""
        from_end, near = _FROM_END.fullmatch(item), _NEAREST.fullmatch(item)
        if from_end:
            back = _natural(from_end[1] or "0")
            if not 0 <= back < self.span.high:
                self._refuse("L-1 to L-30 are days before the last", item)
            self.from_end.add(back)
        elif near:
            day = near[1] or near[2]
            self.near.add(0 if day == "L" else self._number(day, item))
        else:
            self._refuse("write L, L-3, LW or 15W", item)

    def _read_nth(self, item: str) -> None:
        """Read `MON#2`."""
        match = _NTH.fullmatch(item)
        if match is None or match[2] not in {"1", "2", "3", "4", "5"}:
            self._refuse("write MON#1 to MON#5", item)
        self.nth.add((self._number(match[1], item), int(match[2])))

    def _is_last(self, item: str) -> bool:
        """Tell whether it is `5L`, as Quartz has it, or `L5`, as croniter has."""
        if item == "L":
            self._refuse("L needs a day here, as in 5L; or write it as day of month")
        return item.startswith("L") or item.endswith("L")

    def _refuse(self, why: str, item: str | None = None) -> NoReturn:
        raise self._error(why, self.text if item is None else item)

    def _error(self, why: str, value: str) -> CronError:
        return CronError(
            f"cron expression {_shown(self.expression)}: {self.span.name} is "
            f"{_shown(value)}: {why}",
            field=self.span.name,
            value=value,
        )


_WHOLE: Final = {
    "second": "minute",
    "minute": "hour",
    "hour": "day",
    "day of month": "month",
    "month": "year",
    "day of week": "week",
}


def _natural(text: str) -> int:
    """Give a number of ASCII digits; -1 if it is none, or beyond all that we use."""
    fits = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    return int(text) if fits else -1


def _hash_of(field: str, name: str) -> int:
    """Give a number that is the same in each process, Python and year."""
    from hashlib import blake2b  # noqa: PLC0415 - takes longer to load than cron

    text = f"{field}\0{name}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")
