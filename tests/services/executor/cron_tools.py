"""An independent rule of cron: a walk over the minutes of a zone's clock.

It shares nothing with the code under test: expressions are made together with the sets
they mean, and each policy is decided minute by minute, by what the clock shows.
"""

import calendar
import importlib.resources
import random
import struct
import zoneinfo
from datetime import date, datetime, timedelta, timezone
from functools import cache, lru_cache
from pathlib import Path

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
UTC = timezone.utc
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTH_NAMES = tuple(name.upper() for name in calendar.month_abbr[1:])


def seconds(*values):
    """Give an instant: of a datetime in UTC."""
    return int(datetime(*values, tzinfo=UTC).timestamp())


@cache
def epoch_in(tz):
    return EPOCH.replace(tzinfo=tz)


def local(tz, instant):
    """Give what the clock of a zone shows at an instant."""
    return tz.fromutc(epoch_in(tz) + timedelta(seconds=instant))


def offset(tz, instant):
    return local(tz, instant).utcoffset()


def database_file(key):
    """Give what the database has on a zone."""
    for folder in zoneinfo.TZPATH:
        path = Path(folder, key)
        if path.is_file():
            return path.read_bytes()
    return importlib.resources.files("tzdata").joinpath("zoneinfo", key).read_bytes()


@cache
def zones():
    """List the zones of the database; each once, whatever its names are."""
    found = {}
    for key in sorted(zoneinfo.available_timezones() - {"Factory", "localtime"}):
        found.setdefault(database_file(key), key)
    return sorted(found.values())


def written_changes(key):
    """Read the changes of the offset from the file of a zone (RFC 8536)."""
    blob = database_file(key)

    def header(at):
        return struct.unpack(">4sc15x6l", blob[at : at + 44])

    _, version, isut, isstd, leaps, times, types, chars = header(0)
    assert version >= b"2"
    at = 44 + times * 5 + types * 6 + chars + leaps * 8 + isstd + isut
    _, _, _, _, _, times, types, _ = header(at)
    at += 44
    instants = struct.unpack(f">{times}q", blob[at : at + 8 * times])
    kinds = blob[at + 8 * times : at + 9 * times]
    at += 9 * times
    offsets = [
        struct.unpack(">lBB", blob[at + 6 * n : at + 6 * n + 6])[0]
        for n in range(types)
    ]
    before = offsets[0]
    found = []
    for instant, kind in zip(instants, kinds, strict=True):
        if offsets[kind] != before:
            found.append(instant)
        before = offsets[kind]
    return found


@lru_cache(maxsize=1000)
def transitions(key, first=1970, last=2038):
    """List when the offset of a zone changes, from one year to another.

    They are read from the file of the zone. Where it leaves them to a rule, the zone is
    asked: at most one change comes within six days.
    """
    low, end = seconds(first, 1, 1), seconds(last, 1, 1)
    tz = zoneinfo.ZoneInfo(key)
    written = written_changes(key)
    found = [change for change in written if low < change < end]
    low = max(low, max(written, default=low))
    before = offset(tz, low)
    while low < end:
        high = min(low + 6 * 86_400, end)
        after = offset(tz, high)
        if after != before:
            left, right = low, high
            while right - left > 1:
                middle = (left + right) // 2
                if offset(tz, middle) == after:
                    right = middle
                else:
                    left = middle
            found.append(right)
        low, before = high, after
    return found


# Expressions, made together with what they mean


class Spec:
    """An expression of five fields and what it means, as sets and a function."""

    def __init__(self, minute, hour, by_date, month, by_weekday):
        fields = (minute, hour, by_date, month, by_weekday)
        self.text = " ".join(text for text, _ in fields)
        self.minutes, self.hours, self.months = minute[1], hour[1], month[1]
        self.by_date, self.by_weekday = by_date, by_weekday
        self.repeats = minute[0].startswith("*") or hour[0].startswith("*")
        self.days = {}

    def __repr__(self):
        return self.text

    def has_day(self, day):
        known = self.days.get(day)
        if known is None:
            known = self.days[day] = day.month in self.months and self._matches(day)
        return known

    def _matches(self, day):
        is_date = any(rule(day) for rule in self.by_date[1])
        is_weekday = any(rule(day) for rule in self.by_weekday[1])
        if self.by_date[0].startswith("*") or self.by_weekday[0].startswith("*"):
            return is_date and is_weekday
        return is_date or is_weekday

    def has(self, when):
        return (
            when.minute in self.minutes
            and when.hour in self.hours
            and self.has_day(when.date())
        )

    def possible(self):
        """Tell whether a day comes within twelve years, three of them leap years."""
        first = date(2000, 1, 1).toordinal()
        return any(self.has_day(date.fromordinal(first + n)) for n in range(4383))


def number_field(draw, low, high, names=()):
    """Draw a field of plain numbers: its text and its set."""

    def say(number):
        return names[number - low] if names and draw.random() < 0.4 else f"{number:02d}"

    a, b = draw.randint(low, high), draw.randint(low, high)
    step = draw.randint(1, max(2, (high - low) // 2))
    every = list(range(low, high + 1))
    wrapped = every[a - low :] + every[: a - low]
    wrapped = wrapped[: (b - a) % len(every) + 1]
    some = draw.sample(every, min(len(every), draw.randint(2, 4)))
    return draw.choice(
        [
            ("*", set(every)),
            ("*", set(every)),
            (f"*/{step}", set(every[::step])),
            (say(a), {a}),
            (say(a), {a}),
            (",".join(map(say, some)), set(some)),
            (f"{say(a)}-{say(b)}", set(wrapped)),
            (f"{say(a)}-{say(b)}/{step}", set(wrapped[::step])),
            (f"{say(a)}/{step}", set(range(a, high + 1, step))),
        ]
    )


def last_of(day):
    return calendar.monthrange(day.year, day.month)[1]


def nearest(day, wanted):
    """Give the date of the weekday nearest to a date of the month of `day`."""
    length = last_of(day)
    if wanted > length:
        return None
    by_distance = sorted(range(1, length + 1), key=lambda n: abs(n - wanted))
    return next(n for n in by_distance if day.replace(day=n).weekday() < 5)


def date_field(draw):
    if draw.random() < 0.75:
        text, dates = number_field(draw, 1, 31)
        return text, [lambda day: day.day in dates]
    kind = draw.choice(["L", "L-", "LW", "W", "L,1"])
    n = draw.randint(1, 31)
    back = draw.randint(1, 30)
    return {
        "L": ("L", [lambda day: day.day == last_of(day)]),
        "L-": (f"L-{back}", [lambda day: day.day == last_of(day) - back]),
        "LW": ("LW", [lambda day: day.day == nearest(day, last_of(day))]),
        "W": (f"{n}W", [lambda day: day.day == nearest(day, n)]),
        "L,1": ("L,1", [lambda day: day.day in {1, last_of(day)}]),
    }[kind]


def number_of(day):
    return day.isoweekday() % 7


def weekday_field(draw):
    if draw.random() < 0.8:
        text, days = number_field(draw, 0, 6, DAY_NAMES)
        return text, [lambda day: number_of(day) in days]
    wanted, nth = draw.randint(0, 6), draw.randint(1, 5)
    name = draw.choice([DAY_NAMES[wanted], str(wanted or 7)])
    if draw.random() < 0.5:
        return f"{name}#{nth}", [
            lambda day: number_of(day) == wanted and (day.day - 1) // 7 + 1 == nth
        ]
    return draw.choice([f"{name}L", f"L{name}"]), [
        lambda day: number_of(day) == wanted and day.day + 7 > last_of(day)
    ]


ANY = ("*", [lambda day: True])


def random_spec(draw):
    """Draw an expression that comes now and then."""
    while True:
        often = draw.random() < 0.6
        spec = Spec(
            number_field(draw, 0, 59),
            number_field(draw, 0, 23),
            ANY if often else date_field(draw),
            ("*", set(range(1, 13)))
            if often
            else number_field(draw, 1, 12, MONTH_NAMES),
            ANY if draw.random() < 0.6 else weekday_field(draw),
        )
        if often or spec.possible():
            return spec


def random_start(draw, key):
    """Draw an instant, mostly one that is near to a change of the clock."""
    changes = transitions(key)
    if changes and draw.random() < 0.7:
        return draw.choice(changes) + draw.randint(-100_000, 100_000)
    return draw.randint(0, seconds(2037, 12, 31))


# The walk


def minutes_from(tz, instant):
    """Give (instant, what the clock shows) for each full minute, from a time on.

    Where an offset has seconds, the minutes of the clock are not those of UTC.
    """
    shown = local(tz, instant)
    while True:
        past = shown.second
        if past:  # the last full minute may have come since the change
            full = instant - past
            if (
                offset(tz, full) == shown.utcoffset()
                and offset(tz, full - 60) != shown.utcoffset()
            ):
                yield full, local(tz, full)
            instant += 60 - past
            shown = local(tz, instant)
            continue
        yield instant, shown
        instant += 60
        shown = local(tz, instant)


def runs(spec, tz, policy, start, stop):
    """Give the runs after `start`, not after `stop`, by walking minute by minute."""
    if policy == "debian":
        policy = "match" if spec.repeats else "first"
    instant = start - 26 * 3600
    if offset(tz, instant) == offset(tz, start):
        instant = start - 61
    instant -= local(tz, instant).second
    previous = highest = local(tz, instant).replace(tzinfo=None)
    walk = minutes_from(tz, instant + 60)
    while True:
        at, shown = next(walk)
        if at > stop:
            return
        naive = shown.replace(tzinfo=None, fold=0)
        if at > start and decide(
            spec, tz, policy, shown, previous=previous, highest=highest
        ):
            yield at
        previous, highest = naive, max(highest, naive)
        skipped = nothing_for(spec, tz, at, naive)
        if skipped:
            walk = minutes_from(tz, at + skipped)
            previous = naive + timedelta(seconds=skipped) - MINUTE
            highest = max(highest, previous)


def nothing_for(spec, tz, at, naive):
    """Give how many seconds nothing runs, nor happens to the clock; 0 if one might."""
    seconds_left = 3600 - naive.minute * 60
    if not spec.has_day(naive.date()):
        seconds_left += (23 - naive.hour) * 3600
    elif naive.hour in spec.hours:
        return 0
    unchanged = offset(tz, at) == offset(tz, at + seconds_left + 3600)
    return seconds_left if unchanged else 0


def decide(spec, tz, policy, shown, *, previous, highest):
    naive = shown.replace(tzinfo=None, fold=0)
    matches = spec.has(naive)
    if policy == "match":
        return matches
    if policy == "skip":
        return matches and (tz.utcoffset(naive) == tz.utcoffset(naive.replace(fold=1)))
    skipped = any_between(spec, previous, naive)
    if policy == "both":
        return matches or skipped
    if policy == "first":
        return (matches and naive > highest) or any_between(spec, highest, naive)
    assert policy == "last"
    again = naive.replace(fold=1, tzinfo=tz)
    comes_again = (
        again.utcoffset() < shown.utcoffset()
        and tz.fromutc(again.astimezone(UTC).replace(tzinfo=tz)).replace(tzinfo=None)
        == naive
    )
    return (matches and not comes_again) or skipped


def any_between(spec, low, high):
    """Tell whether a minute between two others, both left out, would run."""
    minute = low + MINUTE
    while minute < high:
        if not spec.has_day(minute.date()):
            minute = minute.replace(hour=0, minute=0) + DAY
            continue
        if spec.has(minute):
            return True
        minute += MINUTE
    return False


def compare(cron, spec, tz, policy, start, *, count=4, horizon=400):
    """Prove that some runs after an instant, and those before them, are the walk's."""
    wanted = []
    for run in runs(spec, tz, policy, start, start + horizon * 86_400):
        wanted.append(run)
        if len(wanted) == count:
            break
    found = [start]
    for _ in wanted:
        found.append(cron.next_after(found[-1]))
    told = f"{spec} in {tz} ({policy}) from {start}"
    assert found[1:] == wanted, told
    if len(wanted) < count:  # nothing more until the horizon
        following = cron.next_after(found[-1])
        assert following is None or following > start + horizon * 86_400, told
    backwards = [cron.prev_before(run) for run in found[2:]]
    assert backwards == found[1:-1], told
    if wanted:
        before = cron.prev_before(wanted[0])
        assert before is None or before <= start, told


def fuzz(make, seed, count):
    """Compare random expressions, zones, policies and starts with the walk."""
    draw = random.Random(seed)
    policies = ["debian", "debian", "debian", "skip", "both", "first", "last"]
    # To look for the changes of a zone takes longer than to use it a few times.
    keys = draw.sample(zones(), min(len(zones()), 10 + count // 20))
    for _ in range(count):
        key = draw.choice(keys)
        spec = random_spec(draw)
        policy = draw.choice(policies)
        tz = zoneinfo.ZoneInfo(key)
        compare(make(spec.text, tz, policy), spec, tz, policy, random_start(draw, key))
