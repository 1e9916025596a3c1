"""A cron expression in English, in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._core_cron_parse import DayRule, Fields

__all__ = ["explain"]

_DAYS: Final = (
    *("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"),
)
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_COUNT: Final = ("first", "second", "third", "fourth", "fifth")
_ALL_DATES: Final = (2 << 31) - 2
_ALL_WEEKDAYS: Final = (1 << 7) - 1
_MOST_LISTED: Final = 8  # times of a day that are named one by one
_FEW: Final = 4  # values that are better listed than described


def explain(fields: Fields) -> str:
    """Give the sentence, without its full stop."""
    words = [_times(fields)]
    days = _days(fields.day)
    if days:
        words.append(days)
    elif words[0].startswith("At ") and ":" in words[0]:
        words.append("every day")
    months = _members(fields.month)
    if len(months) < len(_MONTHS):
        words.append(f"in {_listed(months, [_MONTHS[month - 1] for month in months])}")
    return " ".join(words)


def _times(fields: Fields) -> str:
    seconds, minutes = _members(fields.second), _members(fields.minute)
    hours = _members(fields.hour)
    if len(hours) * len(minutes) * len(seconds) <= _MOST_LISTED:
        clock = [
            f"{hour:02}:{minute:02}" + (f":{second:02}" if seconds != [0] else "")
            for hour in hours
            for minute in minutes
            for second in seconds
        ]
        return f"At {_joined(clock)}"

    parts: list[str] = []
    if seconds != [0]:
        parts.append(_unit("second", seconds, 60, leads=True))
    for name, values, size in (("minute", minutes, 60), ("hour", hours, 24)):
        all_of_them = parts and parts[-1].startswith("every") and len(values) == size
        if not all_of_them:  # "every 5 minutes" need not say "of every hour"
            parts.append(_unit(name, values, size, leads=not parts))
    text = " of ".join(parts).replace(" of from ", " from ")
    return text.capitalize() if text.startswith("every") else f"At {text}"


def _unit(name: str, values: Sequence[int], size: int, *, leads: bool) -> str:
    """Name the values of a field: every 5 minutes, minutes 1 through 3."""
    first, step = values[0], _step(values, size)
    if len(values) == size:
        return f"every {name}"
    if step and leads and first == 0 and size % step == 0:
        return f"every {step} {name}s"
    if step and (len(values) > _FEW or (first == 0 and size % step == 0)):
        start = f" from {name} {first} on" if first else ""
        return f"every {_ordinal(step)} {name}{start}"
    if len(values) == 1:
        return f"{name} {first}"
    if name == "hour" and values[-1] - first == len(values) - 1:
        return f"from {first:02}:00 through {values[-1]:02}:59"
    return f"{name}s {_listed(values, list(map(str, values)))}"


def _days(rule: DayRule) -> str:
    """Name the days; nothing if they are all."""
    date, weekday = _dates(rule), _weekdays(rule)
    if rule.either:
        return f"{date} and {weekday}" if date and weekday else ""
    if date and weekday:
        return f"{date} if it is {weekday.removeprefix('on ')}"
    return date or weekday


def _dates(rule: DayRule) -> str:
    """Name the days of the month; nothing if they are all."""
    if rule.dates == _ALL_DATES:
        return ""
    dates = _members(rule.dates)
    if not rule.from_end and not rule.near and len(dates) > _FEW:
        step = _step(dates, 32)
        if step:
            every, start = _ordinal(step), _ordinal(dates[0])
            return f"on every {every} day of the month from the {start} on"
    names = [_listed(dates, list(map(_ordinal, dates)))] if dates else []
    names += [
        f"{_ordinal(back)} day before the last" if back else "last day"
        for back in rule.from_end
    ]
    names += [
        f"weekday nearest the {_ordinal(day)}" if day else "last weekday"
        for day in rule.near
    ]
    return f"on the {_joined(names, 'the ')} of the month"


def _weekdays(rule: DayRule) -> str:
    """Name the days of the week; nothing if they are all."""
    if rule.weekdays == _ALL_WEEKDAYS:
        return ""
    # Saturday and Sunday, not Sunday and Saturday.
    days = sorted(_members(rule.weekdays), key=lambda day: day or 7)
    names = [_listed([day or 7 for day in days], [_DAYS[day] for day in days])]
    of_month = [f"the {_COUNT[number - 1]} {_DAYS[day]}" for day, number in rule.nth]
    of_month += [f"the last {_DAYS[day]}" for day in rule.last]
    if of_month:
        names.append(f"{_joined(of_month)} of the month")
    return f"on {_joined([name for name in names if name])}"


def _members(mask: int) -> list[int]:
    return [number for number in range(mask.bit_length()) if mask >> number & 1]


def _step(values: Sequence[int], end: int) -> int:
    """Give the step of values that go on to the end of their range; 0 if none."""
    step = values[1] - values[0] if len(values) > 1 else 0
    return step if step > 1 and [*values] == [*range(values[0], end, step)] else 0


def _listed(values: Sequence[int], names: Sequence[str]) -> str:
    """Join names; three and more values in a row become a range."""
    parts: list[str] = []
    start = 0
    for index in range(1, len(values) + 1):
        if index < len(values) and values[index] == values[index - 1] + 1:
            continue
        run = names[start:index]
        parts += [f"{run[0]} through {run[-1]}"] if len(run) > 2 else run  # noqa: PLR2004
        start = index
    return _joined(parts)


def _joined(names: Sequence[str], article: str = "") -> str:
    *rest, last = [*names[:1], *(article + name for name in names[1:])] or [""]
    return f"{', '.join(rest)} and {last}" if rest else last


def _ordinal(number: int) -> str:
    if number % 100 in {11, 12, 13}:
        return f"{number}th"
    return f"{number}{({1: 'st', 2: 'nd', 3: 'rd'}).get(number % 10, 'th')}"
