"""Cron in every zone: each change of each clock, and an independent rule for all."""

import os
import random
import zoneinfo
from datetime import date, datetime, timedelta, timezone, tzinfo
from itertools import pairwise

import pytest
from cron_tools import (
    Spec,
    compare,
    fuzz,
    local,
    offset,
    random_spec,
    runs,
    seconds,
    transitions,
    written_changes,
    zones,
)

from cup.services.executor import Cron, DstPolicy
from cup.services.executor._core_cron_zone import Calendar

HOUR = 3600
DAY = 24 * HOUR
POLICIES = [policy.value for policy in DstPolicy]
FEW_ZONES = [
    *("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Chatham"),
    *("Pacific/Apia", "Pacific/Kwajalein", "Africa/Monrovia", "Africa/Cairo"),
    *("Antarctica/Troll", "Antarctica/Casey", "Asia/Gaza", "Africa/Casablanca"),
    *("Asia/Pyongyang", "America/Caracas", "Asia/Kathmandu", "America/Havana"),
    *("Europe/Dublin", "America/Recife", "Asia/Tokyo", "America/St_Johns"),
]


def make(expr, tz, policy):
    return Cron(expr, tz, dst=DstPolicy(policy))


# Each change of each clock


def check_around(key, change, cron, matches):
    """Check what runs around a change; `matches` tells what may."""
    tz = zoneinfo.ZoneInfo(key)
    at = [change - 8 * HOUR]
    while at[-1] < change + 8 * HOUR:
        at.append(int(cron.next_after(at[-1])))
    assert all(a < b for a, b in pairwise(at)), (key, change)
    assert [cron.prev_before(b) for b in at[2:]] == at[1:-1], (key, change)
    for run in at[1:]:
        shown = local(tz, run)
        assert shown.timestamp() == run  # it exists
        if not matches(shown):  # made up for, in the first full minute
            assert shown.second == 0, (key, change, shown)
            assert change <= run < change + 60, (key, change, shown)
            assert offset(tz, change) > offset(tz, change - 1)


CASES = [
    ("30 2 * * *", "debian", lambda t: (t.hour, t.minute) == (2, 30)),
    ("*/30 * * * *", "debian", lambda t: t.minute % 30 == 0),
    ("0,20 */2 * * *", "both", lambda t: t.hour % 2 == 0 and t.minute in {0, 20}),
    ("10 0-23/3 * * *", "debian", lambda t: t.hour % 3 == 0 and t.minute == 10),
    ("40 23,0,1,2 * * *", "last", lambda t: t.hour in {23, 0, 1, 2} and t.minute == 40),
]


def check_zone(key, cases):
    for expr, policy, matches in cases:
        cron = make(expr, zoneinfo.ZoneInfo(key), policy)
        for change in transitions(key):
            check_around(key, change, cron, matches)


@pytest.mark.parametrize("key", FEW_ZONES)
def test_changes_of_some_zones(key):
    check_zone(key, CASES[:2])


@pytest.mark.full
@pytest.mark.parametrize("part", range(8))
def test_changes_of_all_zones(part):
    for key in zones()[part::8]:
        check_zone(key, [CASES[part % 5]])


@pytest.mark.long
@pytest.mark.parametrize("part", range(20))
@pytest.mark.timeout(3000)
def test_every_change_of_every_zone_by_the_walk(part):
    draw = random.Random(part)
    for key in zones()[part::20]:
        check_zone(key, CASES)
        tz = zoneinfo.ZoneInfo(key)
        for change in transitions(key):
            spec, policy = random_spec(draw), draw.choice(POLICIES)
            start = change - draw.randint(0, DAY)
            compare(make(spec.text, tz, policy), spec, tz, policy, start, count=6)


PARTS = [(0, "full"), (1, "long"), (2, "long")]


def found_changes(key, first, last):
    """List the changes that the code under test finds."""
    calendar = Calendar(zoneinfo.ZoneInfo(key), None)
    found = []
    stretch = calendar.at(first)
    while stretch.end < last:
        following = calendar.at(stretch.end)
        if following.offset != stretch.offset:
            found.append(stretch.end)
        stretch = following
    return found


@pytest.mark.parametrize(
    "part", [pytest.param(n, marks=getattr(pytest.mark, m)) for n, m in PARTS]
)
def test_changes_are_those_of_the_database(part):
    for key in zones()[part::3]:
        found = found_changes(key, seconds(1970, 1, 1), seconds(2038, 1, 1))
        assert found == transitions(key), key


def test_changes_of_all_times():
    for key in FEW_ZONES:
        written = [change for change in written_changes(key) if change > -(3 << 30)]
        assert found_changes(key, -(3 << 30), max(written, default=0) + 1) == written
    assert len(zones()) > 250


# The walk


@pytest.mark.parametrize("seed", range(2))
def test_some_random_runs_are_those_of_the_walk(seed):
    fuzz(make, seed, 500)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(10, 13))
def test_random_runs_are_those_of_the_walk(seed):
    fuzz(make, seed, 1000)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 120))
@pytest.mark.timeout(3000)
def test_200_000_random_runs_are_those_of_the_walk(seed):
    fuzz(make, seed, int(os.environ.get("CUP_CRON_RUNS", "10000")))


@pytest.mark.parametrize("policy", POLICIES)
def test_walk_around_changes(policy):
    """All policies where the clock is changed by odd amounts, in both directions."""
    draw = random.Random(policy)
    for key in FEW_ZONES:
        tz = zoneinfo.ZoneInfo(key)
        changes = transitions(key)
        for change in draw.sample(changes, min(len(changes), 4)):
            few = draw.sample(range(24), 5)
            minutes = draw.sample(range(60), 2)
            spec = Spec(
                (",".join(map(str, minutes)), {*minutes}),
                (",".join(map(str, few)), {*few}),
                ("*", [lambda day: True]),
                ("*", {*range(1, 13)}),
                ("*", [lambda day: True]),
            )
            start = change - draw.randint(0, DAY)
            compare(make(spec.text, tz, policy), spec, tz, policy, start, count=8)


def walked_seconds(tz, policy, start, stop, matches):
    """Give the runs of six fields, second by second."""
    highest = local(tz, start - 26 * 3600).replace(tzinfo=None)
    for instant in range(start - 26 * 3600, stop, 60):  # a coarse way to the start
        highest = max(highest, local(tz, min(instant, start)).replace(tzinfo=None))
    found = []
    for instant in range(start + 1, stop + 1):
        naive = local(tz, instant).replace(tzinfo=None, fold=0)
        once = tz.utcoffset(naive) == tz.utcoffset(naive.replace(fold=1))
        wanted = matches(naive)
        if wanted and (
            policy == "match"
            or (policy == "skip" and once)
            or (policy == "first" and naive > highest)
        ):
            found.append(instant)
        highest = max(highest, naive)
    return found


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("Europe/Berlin", seconds(2026, 10, 25, 1)),
        ("Australia/Lord_Howe", seconds(2026, 4, 4, 15)),
        ("Antarctica/Casey", seconds(2010, 3, 4, 15)),
        ("Africa/Monrovia", seconds(1972, 1, 7, 0, 44, 30)),
    ],
)
def test_seconds_around_an_overlap(key, change):
    tz = zoneinfo.ZoneInfo(key)
    start, stop = change - 5000, change + 5000

    def matches(shown):
        return shown.second in {7, 50} and shown.minute % 7 == 3

    for policy, stars in [("match", "*"), ("skip", "*"), ("first", "0-23")]:
        dst = DstPolicy.DEBIAN if policy == "match" else DstPolicy(policy)
        cron = Cron(f"7,50 3/7 {stars} * * *", tz, dst=dst)
        found = [start]
        while found[-1] <= stop:
            found.append(cron.next_after(found[-1]))
        assert [cron.prev_before(run) for run in found[2:]] == found[1:-1]
        wanted = walked_seconds(tz, policy, start, stop, matches)
        # A gap is made up for, too; the walk of seconds leaves that out.
        if offset(tz, change) > offset(tz, change - 1):
            found = [run for run in found if matches(local(tz, run)) or run == start]
        assert [run for run in found[1:] if run <= stop] == wanted


def test_random_seconds():
    """Six fields in UTC, each second of some hours."""
    draw = random.Random(8)
    start = seconds(2026, 1, 1)
    for _ in range(12):
        second, minute, hour = (
            sorted(draw.sample(range(size), draw.randint(1, most)))
            for size, most in ((60, 4), (60, 6), (4, 3))
        )
        text = " ".join(",".join(map(str, few)) for few in (second, minute, hour))
        cron = Cron(f"{text} * * *")
        wanted = [
            start + h * HOUR + m * 60 + s for h in hour for m in minute for s in second
        ]
        for at in draw.sample(range(start, start + 4 * HOUR), 200):
            following = next((run for run in wanted if run > at), wanted[0] + DAY)
            before = next((run for run in wanted[::-1] if run < at), wanted[-1] - DAY)
            assert (cron.prev_before(at), cron.next_after(at)) == (before, following)


# Far away


def test_far_future_and_past_have_runs():
    for key in ("Europe/Berlin", "America/New_York", "Pacific/Chatham", "Asia/Tokyo"):
        tz = zoneinfo.ZoneInfo(key)
        cron = Cron("30 2 * * *", tz)
        for year in (2, 1600, 1850, 1901, 2038, 2100, 2500, 9998):
            start = datetime(year, 3, 1, tzinfo=timezone.utc)
            following = cron.upcoming(start)
            found = [next(following).timestamp() for _ in range(400)]
            assert all(0 < b - a < 2 * DAY for a, b in pairwise(found))
            assert [cron.prev_before(b) for b in found[1:]] == found[:-1]


def test_historic_changes_by_the_walk():
    draw = random.Random(3)
    for key in ["Europe/Amsterdam", "Asia/Manila", "Africa/Freetown", "Europe/Vienna"]:
        tz = zoneinfo.ZoneInfo(key)
        changes = transitions(key, 1912, 1970)
        for change in draw.sample(changes, min(len(changes), 6)):
            for policy in POLICIES:
                spec = random_spec(draw)
                start = change - draw.randint(0, 2 * DAY)
                compare(
                    make(spec.text, tz, policy), spec, tz, policy, start, horizon=60
                )


def test_walk_is_no_copy_of_the_code():
    """The rule finds what the tables say, so it can be trusted beyond them."""
    tz = zoneinfo.ZoneInfo("Europe/Berlin")
    spec = Spec(
        ("30", {30}),
        ("2", {2}),
        ("*", [lambda day: True]),
        ("*", {*range(1, 13)}),
        ("*", [lambda day: True]),
    )
    start = seconds(2026, 3, 28, 12)
    gap = [*runs(spec, tz, "debian", start, start + 2 * DAY)]
    assert gap == [seconds(2026, 3, 29, 1), seconds(2026, 3, 30, 0, 30)]
    assert [*runs(spec, tz, "skip", start, start + 2 * DAY)] == gap[1:]
    start = seconds(2026, 10, 24, 12)
    first, second = seconds(2026, 10, 25, 0, 30), seconds(2026, 10, 25, 1, 30)
    for policy, wanted in {
        "debian": [first],
        "first": [first],
        "last": [second],
        "both": [first, second],
        "skip": [],
    }.items():
        assert [*runs(spec, tz, policy, start, start + DAY)] == wanted


def test_zone_of_ones_own():
    def days_of(when):
        return when.toordinal() - date(1970, 1, 1).toordinal()

    class Odd(tzinfo):
        """Ten days of UTC, ten days of UTC+03:30."""

        def utcoffset(self, when):
            return timedelta(hours=3.5) * (days_of(when) // 10 % 2)

        def dst(self, when):
            return None

        def fromutc(self, when):
            return when + timedelta(hours=3.5) * (days_of(when) // 10 % 2)

    cron = Cron("0 1,2 * * *", Odd())
    found = [0.0]
    for _ in range(100):
        found.append(cron.next_after(found[-1]))
        assert found[-1] > found[-2]
    assert [cron.prev_before(b) for b in found[2:]] == found[1:-1]
