"""Cron as its users meet it: datetimes, iterators, zones of all kinds, sentences."""

import copy
import os
import pickle
import random
import subprocess
import sys
import threading
import time
import zoneinfo
from datetime import datetime, timedelta, timezone, tzinfo
from itertools import islice, pairwise

import pytest
from cron_tools import local, random_spec, seconds

from cup.errors import CronError, InvalidType, InvalidValue, MissingExtra
from cup.services.executor import Cron, DstPolicy, _core_cron_zone as zone_module

UTC = timezone.utc
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
START = datetime(2026, 1, 1, tzinfo=UTC)


# Instants


def test_runs_are_strictly_after_and_before():
    cron = Cron("*/5 * * * *")
    noon = seconds(2026, 1, 1, 12)
    assert cron.next_after(noon) == noon + 300
    assert cron.next_after(noon - 1) == noon
    assert cron.next_after(noon - 1e-6) == noon
    assert cron.next_after(noon + 1e-6) == noon + 300
    assert cron.prev_before(noon) == noon - 300
    assert cron.prev_before(noon + 1) == noon
    assert cron.prev_before(noon + 1e-6) == noon
    assert cron.prev_before(noon - 1e-6) == noon - 300
    assert cron.next_after(-1) == 0.0
    assert isinstance(cron.next_after(noon), float)
    assert isinstance(cron.prev_before(noon), float)


@pytest.mark.parametrize("instant", [float("nan"), float("inf"), -float("inf")])
def test_instants_that_are_none(instant):
    for ask in (Cron("@daily").next_after, Cron("@daily").prev_before):
        with pytest.raises(InvalidValue, match=f"instant is {instant}"):
            ask(instant)
        with pytest.raises(InvalidType, match="instant is 'noon'"):
            ask("noon")


@pytest.mark.parametrize("tz", [None, "Europe/Berlin", "Pacific/Apia"])
def test_years_end(tz):
    cron = Cron("0 12 * * *", tz)
    last, first = cron.prev_before(1e18), cron.next_after(-1e18)
    assert datetime.fromtimestamp(last, UTC).year == 9999
    assert (datetime(1, 1, 9, tzinfo=UTC).timestamp() - first) < 86_400 * 10
    assert cron.next_after(last) is None
    assert cron.next_after(1e30) is None
    assert cron.prev_before(first) is None
    end, begin = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)
    with pytest.raises(
        CronError, match="no run between 9999-12-31.* and the year 9999"
    ):
        cron.next(end)
    with pytest.raises(CronError, match="no run between the year 1 and"):
        cron.prev(begin)
    assert [*cron.upcoming(end)] == [*cron.past(begin)] == []
    assert len([*cron.upcoming(cron.prev(end) - timedelta(days=2.5))]) == 3
    assert len([*cron.past(cron.next(begin) + timedelta(days=2.5))]) == 3


@pytest.mark.parametrize("tz", ["UTC", "Europe/Berlin", "Pacific/Apia"])
def test_rare_days_end_with_the_years(tz):
    cron = Cron("0 12 29 2 *", tz)
    last, first = cron.prev_before(1e18), cron.next_after(-1e18)
    assert local(cron.tz, int(last)).year == 9996
    assert local(cron.tz, int(first)).year == 4
    assert cron.next_after(last) is cron.prev_before(first) is None
    daily = Cron("0 12 * 1 *", tz)
    assert local(cron.tz, int(daily.prev_before(1e18))).year == 9999
    assert local(cron.tz, int(daily.next_after(-1e18))).year == 1


# Datetimes


def test_datetimes_are_in_the_zone():
    cron = Cron("30 9 * * MON-FRI", BERLIN)
    run = cron.next(START)
    assert run.isoformat() == "2026-01-01T09:30:00+01:00"
    assert run.tzinfo is BERLIN
    assert cron.prev(run).isoformat() == "2025-12-31T09:30:00+01:00"
    assert cron.prev(START) == cron.prev(run)
    tokyo = START.astimezone(zoneinfo.ZoneInfo("Asia/Tokyo"))
    assert cron.next(tokyo) == run


def test_fractions_of_a_second_count():
    cron = Cron("* * * * * *")
    bit = timedelta(microseconds=1)
    for year in (2026, 9998, 1000):
        start = datetime(year, 1, 1, tzinfo=UTC)
        assert cron.next(start - bit) == start
        assert cron.next(start) == start + timedelta(seconds=1)
        assert cron.prev(start + bit) == start
        assert cron.prev(start) == start - timedelta(seconds=1)


def test_now_is_the_default():
    cron = Cron("* * * * *")
    before = datetime.now(UTC)
    assert before < cron.next() <= datetime.now(UTC) + timedelta(minutes=1)
    assert before - timedelta(minutes=1) <= cron.prev() <= datetime.now(UTC)
    assert next(cron.upcoming()) > before > next(cron.past()) - timedelta(minutes=1)


def test_naive_datetimes_are_refused():
    naive = START.replace(tzinfo=None)
    cron = Cron("@daily")
    for ask in (cron.next, cron.prev, cron.upcoming, cron.past):
        with pytest.raises(InvalidValue, match=r"no time zone; give an aware datetime"):
            ask(naive)
    for pair in ((naive, START), (START, naive)):
        with pytest.raises(InvalidValue, match="no time zone"):
            cron.between(*pair)


def test_iterators_agree():
    cron = Cron("*/7 3 * * *", BERLIN)
    ahead = [*islice(cron.upcoming(START), 3000)]
    back = [*islice(cron.past(ahead[-1] + timedelta(seconds=1)), 3000)]
    assert back[::-1] == ahead
    assert all(a.timestamp() < b.timestamp() for a, b in pairwise(ahead))
    assert [cron.next(a) for a in ahead[:100]] == ahead[1:101]
    assert [cron.prev(b) for b in ahead[1:101]] == ahead[:100]


def test_between_takes_the_start_and_leaves_the_stop():
    cron = Cron("@hourly")
    stop = START + timedelta(hours=3)
    assert [run.hour for run in cron.between(START, stop)] == [0, 1, 2]
    bit = timedelta(microseconds=1)
    assert [run.hour for run in cron.between(START + bit, stop + bit)] == [1, 2, 3]
    assert [*cron.between(START, START)] == [*cron.between(stop, START)] == []


def test_fold_tells_the_two_apart():
    runs = Cron("30 2 * * *", BERLIN, dst=DstPolicy.BOTH).between(
        datetime(2026, 10, 25, tzinfo=BERLIN), datetime(2026, 10, 26, tzinfo=BERLIN)
    )
    assert [(run.fold, run.isoformat()[-6:]) for run in runs] == [
        (0, "+02:00"),
        (1, "+01:00"),
    ]


# Zones


def test_names_and_zones_are_the_same():
    assert Cron("@daily", "Europe/Berlin") == Cron("@daily", BERLIN)
    assert Cron("@daily").tz is UTC
    assert Cron("@daily", "UTC") == Cron("@daily", "utc") == Cron("@daily")
    assert Cron("@daily", BERLIN) != Cron("@daily")


def test_fixed_offsets():
    cron = Cron("0 0 * * *", timezone(timedelta(hours=5, minutes=45)))
    assert cron.next(START).isoformat() == "2026-01-02T00:00:00+05:45"
    assert cron.next(START).astimezone(UTC).hour == 18
    etc = Cron("0 0 * * *", "Etc/GMT-14")
    assert etc.next(START).isoformat() == "2026-01-02T00:00:00+14:00"
    odd = timezone(timedelta(seconds=-1))
    assert Cron("0 0 * * *", odd).next_after(0) == 1
    with pytest.raises(CronError, match="off by parts of a second"):
        Cron("@daily", timezone(timedelta(milliseconds=5)))


def test_zones_of_pytz():
    pytz = pytest.importorskip("pytz")
    assert Cron("@daily", pytz.timezone("Europe/Berlin")) == Cron("@daily", BERLIN)
    assert Cron("@daily", pytz.utc) == Cron("@daily")
    fixed = Cron("@daily", pytz.FixedOffset(90)).tz
    assert fixed == timezone(timedelta(minutes=90))
    localized = pytz.timezone("Europe/Berlin").localize(
        datetime(2026, 7, 1)  # noqa: DTZ001 - as pytz wants it
    )
    run = Cron("30 2 * * *", localized.tzinfo).next(localized)
    assert run.isoformat() == "2026-07-01T02:30:00+02:00"


def test_zones_of_dateutil():
    tz = pytest.importorskip("dateutil.tz")
    cron, ours = (
        Cron("30 2 * * *", tz.gettz("Europe/Berlin")),
        Cron("30 2 * * *", BERLIN),
    )
    for start in (seconds(2026, 3, 28), seconds(2026, 10, 24), seconds(1985, 1, 1)):
        theirs = start
        for _ in range(5):
            expected = ours.next_after(theirs)
            theirs = cron.next_after(theirs)
            assert theirs == expected
    assert hash(cron) == hash(ours)


class Pytz(tzinfo):
    """Looks like a zone of pytz, for where it is not installed."""

    def __init__(self, zone, minutes=None):
        self.zone = zone
        self.minutes = minutes

    def utcoffset(self, when):
        return None if self.minutes is None else timedelta(minutes=self.minutes)


Pytz.__module__ = "pytz.tzinfo"


def test_zones_that_look_like_pytz():
    assert Cron("@daily", Pytz("Europe/Berlin")).tz is BERLIN
    assert Cron("@daily", Pytz(None, 90)).tz == timezone(timedelta(minutes=90))
    with pytest.raises(CronError, match="has no name"):
        Cron("@daily", Pytz(None))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berln", "is it Europe/Berlin"),
        ("europe-berlin", "is it Europe/Berlin"),
        ("", "give one as Europe/Berlin"),
        ("Nowhere", "unknown"),
        ("../etc/passwd", "unknown"),
        ("/etc/localtime", "unknown"),
        ("Europe", "unknown"),
        ("a\0b", "unknown"),
        ("+02:00", "unknown"),
    ],
)
def test_unknown_zones(name, hint):
    with pytest.raises(CronError, match=hint) as caught:
        Cron("@daily", name)
    assert (caught.value.field, caught.value.value) == ("time zone", name)


def test_other_types_are_no_zones():
    for tz in (5, b"UTC", datetime, object()):
        with pytest.raises(InvalidType, match="tz is a tzinfo or the name of a zone"):
            Cron("@daily", tz)


class Silent(tzinfo):
    def utcoffset(self, when):
        return None

    def fromutc(self, when):
        return when


def test_zone_that_says_nothing():
    with pytest.raises(CronError, match="does not say its offset"):
        Cron("@daily", Silent())


def test_machine_without_a_database(monkeypatch):
    monkeypatch.setattr(zoneinfo, "TZPATH", ())
    monkeypatch.setattr(zone_module, "find_spec", lambda name: None)

    def missing(name):
        raise zoneinfo.ZoneInfoNotFoundError(name)

    monkeypatch.setattr(zoneinfo, "ZoneInfo", missing)
    with pytest.raises(MissingExtra, match="pip install tzdata") as caught:
        Cron("@daily", "Europe/Berlin")
    assert caught.value.requirement == "tzdata"
    assert Cron("@daily", "UTC").next(START)  # UTC needs none


def test_package_tzdata_will_do():
    """Where the system has no database, as on Windows."""
    pytest.importorskip("tzdata")
    code = (
        "from cup.services.executor import Cron; from datetime import *;"
        "print(Cron('30 2 * * *', 'Europe/Berlin').next("
        "datetime(2026, 3, 29, tzinfo=timezone.utc)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONTZPATH": ""},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert run.stdout == "2026-03-29 03:00:00+02:00\n"


# The object


def test_it_says_what_it_is():
    cron = Cron("h 2 * * mon", BERLIN, dst=DstPolicy.LAST, name="backup")
    assert str(cron) == cron.expr == "H 2 * * MON"
    assert cron.tz is BERLIN
    assert cron.dst is DstPolicy.LAST
    assert cron.name == "backup"
    assert (
        repr(cron)
        == "Cron('H 2 * * MON', 'Europe/Berlin', dst=DstPolicy.LAST, name='backup')"
    )
    assert repr(Cron("@daily")) == "Cron('@DAILY', 'UTC')"


def test_equal_means_the_same_runs():
    one = Cron("0 0 * * 0", BERLIN)
    assert one == Cron("@weekly", BERLIN) == Cron("00 00 * * SUN", BERLIN)
    assert one != Cron("0 0 * * 1", BERLIN)
    assert one != Cron("0 0 * * 0", BERLIN, dst=DstPolicy.SKIP)
    assert one != "0 0 * * 0"
    assert len({one, Cron("@weekly", BERLIN), Cron("@weekly")}) == 2
    # The same times, and yet not the same where the clock is changed.
    assert Cron("0 */1 * * *", BERLIN) != Cron("0 0-23 * * *", BERLIN)


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, "pickle"])
def test_copies(twin):
    if twin == "pickle":
        twin = lambda cron: pickle.loads(pickle.dumps(cron))
    for cron in (
        Cron("H H * * *", BERLIN, dst=DstPolicy.BOTH, name="x"),
        Cron("@daily", timezone(timedelta(hours=1))),
        Cron("0 0 L * MON#2"),
    ):
        other = twin(cron)
        assert other == cron
        assert (repr(other), hash(other)) == (repr(cron), hash(cron))
        assert other.next(START) == cron.next(START)


def test_it_does_not_change():
    cron = Cron("@daily")
    for name in ("expr", "tz", "dst", "name"):
        with pytest.raises(AttributeError):
            setattr(cron, name, None)
    with pytest.raises(AttributeError):
        cron.other = 1


def test_threads_share_it():
    cron = Cron("*/20 2,3 * * *", BERLIN)
    starts = [seconds(year, 3, 1) for year in range(1980, 2037)]
    alone = Cron("*/20 2,3 * * *", BERLIN)
    wanted = [alone.next_after(start) for start in starts]
    found = []

    def ask(seed):
        order = starts[:]
        random.Random(seed).shuffle(order)
        answers = {start: cron.next_after(start) for start in order}
        found.append([answers[start] for start in starts])

    zone_module._shared_calendar.cache_clear()
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 4


def test_memory_of_a_zone_is_bounded():
    cron = Cron("0 0 1 * *", BERLIN)
    calendar = cron._calendar
    for _ in zip(range(6000), cron.upcoming(START), strict=False):
        assert len(calendar._spans) <= zone_module._MOST_SPANS


@pytest.mark.parametrize(
    "expr",
    [
        "0 0 29 2 MON#5",
        "0 0 * 2 MON#5",
        "*/30 2 29 2 */7",
        "59 59 23 */29 2 6",
        "0 0 31 12 */7",
    ],
)
@pytest.mark.parametrize("tz", ["UTC", "Europe/Berlin", "America/New_York"])
def test_rare_runs_cost_no_more(expr, tz):
    """40 years ahead and back: what takes steps takes thousands of them."""
    cron = Cron(expr, tz)
    start = seconds(2072, 3, 1)
    cron.next_after(start)
    cron.prev_before(start)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(20):
            cron.next_after(start)
            cron.prev_before(start)
        best = min(best, (time.perf_counter() - began) / 40)
    assert best < 2e-3  # a search by days takes 10 ms and more


def test_sequence_of_random_specs_explains_itself():
    draw = random.Random(9)
    for _ in range(200):
        spec = random_spec(draw)
        said = Cron(spec.text, BERLIN).explain()
        assert said.endswith(" (Europe/Berlin).")
        assert said.startswith(("At ", "Every "))
        assert "  " not in said


@pytest.mark.parametrize(
    ("expr", "said"),
    [
        ("* * * * *", "Every minute"),
        ("* * * * * *", "Every second"),
        ("*/5 * * * *", "Every 5 minutes"),
        ("*/30 * * * *", "Every 30 minutes"),
        ("*/7 * * * *", "Every 7th minute"),
        ("2/5 * * * *", "Every 5th minute from minute 2 on"),
        ("30-59 * * * *", "At minutes 30 through 59 of every hour"),
        ("* 20-23 * * *", "Every minute from 20:00 through 23:59"),
        ("0 0 25-31 * *", "At 00:00 on the 25th through 31st of the month"),
        ("0 0 * * FRI-SUN", "At 00:00 on Friday through Sunday"),
        ("5 * * * *", "At minute 5 of every hour"),
        ("5,35 * * * *", "At minutes 5 and 35 of every hour"),
        ("0-9,30 * * * *", "At minutes 0 through 9 and 30 of every hour"),
        ("*/10 * * * * *", "Every 10 seconds"),
        ("30 * * * * *", "At second 30 of every minute"),
        ("*/20 5 * * * *", "Every 20 seconds of minute 5 of every hour"),
        ("* * 9-17 * * *", "Every second from 09:00 through 17:59"),
        ("30 2 * * *", "At 02:30 every day"),
        ("15 30 2 * * *", "At 02:30:15 every day"),
        ("0,30 9,17 * * *", "At 09:00, 09:30, 17:00 and 17:30 every day"),
        ("0 */2 * * *", "At minute 0 of every 2nd hour"),
        ("*/20 */3 * * *", "Every 20 minutes of every 3rd hour"),
        (
            "*/15 9-17 * * MON-FRI",
            "Every 15 minutes from 09:00 through 17:59 on Monday through Friday",
        ),
        ("*/15 9 * * *", "At 09:00, 09:15, 09:30 and 09:45 every day"),
        ("* 9 * * *", "Every minute of hour 9"),
        ("0 0 * * 6,0", "At 00:00 on Saturday and Sunday"),
        ("0 0 1,15 * *", "At 00:00 on the 1st and 15th of the month"),
        ("0 0 1-7,22 * *", "At 00:00 on the 1st through 7th and 22nd of the month"),
        ("0 0 */2 * *", "At 00:00 on every 2nd day of the month from the 1st on"),
        ("0 0 L * *", "At 00:00 on the last day of the month"),
        ("0 0 L-3 * *", "At 00:00 on the 3rd day before the last of the month"),
        (
            "0 0 LW,5W * *",
            "At 00:00 on the last weekday and the weekday nearest the 5th of the month",
        ),
        ("0 0 * * MON#1", "At 00:00 on the first Monday of the month"),
        ("0 0 * * TUE,5L", "At 00:00 on Tuesday and the last Friday of the month"),
        ("0 0 13 * FRI", "At 00:00 on the 13th of the month and on Friday"),
        (
            "0 0 */10 * MON",
            "At 00:00 on the 1st, 11th, 21st and 31st of the month if it is Monday",
        ),
        ("0 0 1-31 * MON", "At 00:00 every day"),
        ("0 0 29 2 *", "At 00:00 on the 29th of the month in February"),
        ("0 6 * 6-8 *", "At 06:00 every day in June through August"),
        ("@yearly", "At 00:00 on the 1st of the month in January"),
    ],
)
def test_sentences(expr, said):
    assert Cron(expr).explain() == f"{said} (UTC)."
