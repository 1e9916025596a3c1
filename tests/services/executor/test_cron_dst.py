"""Cron where the clock is changed: the tables, the policies, and odd places."""

import zoneinfo
from datetime import datetime, timedelta, timezone

import pytest
from cron_tools import local, offset, seconds

from cup.errors import InvalidValue
from cup.services.executor import Cron, DstPolicy

HOUR = timedelta(hours=1)
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
LORD_HOWE, CHATHAM = "Australia/Lord_Howe", "Pacific/Chatham"


def table(when):
    """Write a time without the month and the year."""
    return when.strftime("%dT%H:%M") + when.strftime("%z")[:3]


def after(expr, tz, start, count, **options):
    """Give the next runs after a time of the clock, as the tables have them."""
    zone = zoneinfo.ZoneInfo(tz)
    runs = Cron(expr, zone, **options).upcoming(
        datetime.fromisoformat(start).replace(tzinfo=zone)
    )
    return [table(next(runs)) for _ in range(count)]


GAP = "2026-03-29 01:59"
OVERLAP = "2026-10-25 01:59"


@pytest.mark.parametrize(
    ("expr", "wanted"),
    [
        ("30 2 * * *", "29T03:00+02 30T02:30+02 31T02:30+02"),
        ("15,45 2 * * *", "29T03:00+02 30T02:15+02 30T02:45+02"),
        ("0 2,3 * * *", "29T03:00+02 30T02:00+02 30T03:00+02"),
        ("*/30 2 * * *", "30T02:00+02 30T02:30+02"),
        ("0 */2 * * *", "29T04:00+02 29T06:00+02"),
        ("0 * * * *", "29T03:00+02 29T04:00+02"),
        ("@hourly", "29T03:00+02 29T04:00+02"),
        ("*/20 * * * *", "29T03:00+02 29T03:20+02"),
    ],
)
def test_gap_of_berlin(expr, wanted):
    assert after(expr, BERLIN, GAP, len(wanted.split())) == wanted.split()


@pytest.mark.parametrize(
    ("expr", "wanted"),
    [
        ("30 2 * * *", "25T02:30+02 26T02:30+01 27T02:30+01"),
        ("*/30 2 * * *", "25T02:00+02 25T02:30+02 25T02:00+01 25T02:30+01"),
        ("0 2,3 * * *", "25T02:00+02 25T03:00+01 26T02:00+01"),
        ("0 */2 * * *", "25T02:00+02 25T02:00+01 25T04:00+01"),
    ],
)
def test_overlap_of_berlin(expr, wanted):
    assert after(expr, BERLIN, OVERLAP, len(wanted.split())) == wanted.split()


@pytest.mark.parametrize(
    ("expr", "start", "wanted"),
    [
        ("30 2 * * *", "2026-03-08 01:59", "08T03:00-04 09T02:30-04"),
        ("*/30 2 * * *", "2026-03-08 01:59", "09T02:00-04"),
        ("30 1-3 * * *", "2026-03-08 01:59", "08T03:00-04 08T03:30-04"),
        ("30 1 * * *", "2026-11-01 00:59", "01T01:30-04 02T01:30-05"),
        ("30 0-2 * * *", "2026-11-01 00:59", "01T01:30-04 01T02:30-05 02T00:30-05"),
        (
            "*/30 1 * * *",
            "2026-11-01 00:59",
            "01T01:00-04 01T01:30-04 01T01:00-05 01T01:30-05",
        ),
        ("0 1,2 * * *", "2026-11-01 00:59", "01T01:00-04 01T02:00-05 02T01:00-05"),
    ],
)
def test_new_york(expr, start, wanted):
    assert after(expr, NEW_YORK, start, len(wanted.split())) == wanted.split()


@pytest.mark.parametrize(
    ("expr", "start", "wanted"),
    [
        ("15 2 * * *", "2026-10-04 01:59", "04T02:30+11 05T02:15+11"),
        ("*/15 2 * * *", "2026-10-04 01:59", "04T02:30+11 04T02:45+11"),
        ("0 2,3 * * *", "2026-10-04 01:59", "04T02:30+11 04T03:00+11"),
        ("0 */2 * * *", "2026-10-04 01:59", "04T04:00+11"),
        ("*/15 3 * * *", "2026-10-04 01:59", "04T03:00+11 04T03:15+11 04T03:30+11"),
        ("45 1 * * *", "2026-04-05 00:59", "05T01:45+11 06T01:45+10"),
        ("0 1,2 * * *", "2026-04-05 00:59", "05T01:00+11 05T02:00+10"),
        (
            "*/15 1 * * *",
            "2026-04-05 00:59",
            "05T01:00+11 05T01:15+11 05T01:30+11 05T01:45+11 05T01:30+10 05T01:45+10",
        ),
    ],
)
def test_half_an_hour_of_lord_howe(expr, start, wanted):
    assert after(expr, LORD_HOWE, start, len(wanted.split())) == wanted.split()


# What others get wrong


def test_start_in_the_second_hour_looks_ahead():
    # cronsim 2.8 gives 02:30+02:00, which is past.
    start = datetime(2026, 10, 25, 2, 10, fold=1, tzinfo=zoneinfo.ZoneInfo(BERLIN))
    assert table(Cron("30 2 * * *", BERLIN).next(start)) == "26T02:30+01"
    assert table(Cron("30 2 * * *", BERLIN).prev(start)) == "25T02:30+02"


def test_hours_that_begin_at_the_half():
    # cronsim 2.8 loses two of the last and one of the first.
    assert after("10 */3 * * *", LORD_HOWE, "2026-04-05 01:59", 2) == [
        "05T03:10+10",
        "05T06:10+10",
    ]
    assert after("*/15 2 * * *", LORD_HOWE, "2026-04-05 01:59", 4) == [
        f"05T02:{minute}+10" for minute in ("00", "15", "30", "45")
    ]


def test_time_does_not_run_backwards_in_chatham():
    # cronsim 2.8 goes round and round between 03:30+13:45 and 03:00+13:45.
    runs = Cron("*/15 3 * * *", CHATHAM).upcoming(
        datetime(2026, 4, 4, 13, 0, tzinfo=timezone.utc)
    )
    found = [next(runs) for _ in range(12)]
    instants = [run.timestamp() for run in found]
    assert instants == sorted(set(instants))
    assert [run.strftime("%d %H:%M") for run in found[:8]] == [
        *("05 03:00", "05 03:15", "05 03:30"),  # +13:45, until 03:45
        *("05 03:00", "05 03:15", "05 03:30", "05 03:45"),  # +12:45
        "06 03:00",
    ]


def test_day_that_begins_with_a_gap_is_not_lost():
    # APScheduler 3 has no run on that day, when Cairo went from 00:00 to 01:00.
    assert after("0 0 * * *", "Africa/Cairo", "2024-04-25 12:00", 2) == [
        "26T01:00+03",
        "27T00:00+03",
    ]


def test_no_two_runs_at_one_instant():
    # APScheduler 3 gives 02:00+01 and 03:00+02, which are the same.
    assert after("0 2,3 * * *", BERLIN, GAP, 2)[0] == "29T03:00+02"


def test_monthly_and_yearly_jobs_survive_the_clock():
    assert after("30 2 29 3 *", BERLIN, "2025-12-31 12:00", 2) == [
        "29T03:00+02",
        "29T02:30+02",
    ]
    assert after("30 2 25 10 *", BERLIN, "2025-12-31 12:00", 2) == [
        "25T02:30+02",
        "25T02:30+02",
    ]


def test_rare_run_in_the_second_hour_is_not_jumped_over():
    berlin = zoneinfo.ZoneInfo(BERLIN)
    cron = Cron("*/30 2 25 10 *", berlin)
    first = datetime(2026, 10, 25, 2, 45, tzinfo=berlin)
    assert table(cron.next(first)) == "25T02:00+01"
    second = datetime(2026, 10, 25, 2, 0, fold=1, tzinfo=berlin)
    assert table(cron.prev(second)) == "25T02:30+02"
    assert cron.prev(first.replace(minute=0)).year == 2025
    assert cron.next(second.replace(minute=30)).year == 2027


# Odd places


def test_day_that_samoa_did_not_have():
    assert after("30 12 * * *", "Pacific/Apia", "2011-12-28 13:00", 4) == [
        *("29T12:30-10", "31T00:00+14", "31T12:30+14", "01T12:30+14")
    ]
    assert after("*/30 12 * * *", "Pacific/Apia", "2011-12-29 12:29", 2) == [
        *("29T12:30-10", "31T12:00+14")
    ]
    yearly = after("0 9 30 12 *", "Pacific/Apia", "2011-01-01 00:00", 2)
    assert yearly == ["31T00:00+14", "30T09:00+14"]


def test_day_that_kwajalein_did_not_have():
    assert after("0 6 * * *", "Pacific/Kwajalein", "1993-08-20 05:59", 3) == [
        *("20T06:00-12", "22T00:00+12", "22T06:00+12")
    ]


def test_three_hours_twice_in_casey():
    # 2010-03-05 02:00+11 became 2010-03-04 23:00+08.
    assert after("30 23,0,1 * * *", "Antarctica/Casey", "2010-03-04 23:00", 5) == [
        *("04T23:30+11", "05T00:30+11", "05T01:30+11", "05T23:30+08", "06T00:30+08")
    ]
    assert after("0 0 * * *", "Antarctica/Casey", "2010-03-04 23:00", 2) == [
        *("05T00:00+11", "06T00:00+08")
    ]


def test_gap_that_ends_within_a_minute():
    # Monrovia went from 00:00:00 to 00:44:30 on 1972-01-07.
    def first(expr):
        return Cron(expr, "Africa/Monrovia").next(
            datetime(1972, 1, 7, tzinfo=timezone.utc)
        )

    assert first("30 0 * * *").strftime("%d %T %z") == "07 00:45:00 +0000"
    assert first("10 30 0 * * *").strftime("%d %T %z") == "07 00:45:10 +0000"
    assert first("40 30 0 * * *").strftime("%d %T %z") == "07 00:44:40 +0000"
    assert first("59 30 0 * * *").strftime("%d %T %z") == "07 00:44:59 +0000"
    gap = Cron("30 0 * * *", "Africa/Monrovia")
    run = seconds(1972, 1, 7, 0, 45)
    for ahead in (1, 20, 31, 3000):
        assert gap.next_after(run - ahead) == run
        assert gap.prev_before(run + ahead) == run
    assert gap.prev_before(run) < run - 80_000


def test_local_mean_time_has_seconds():
    # Amsterdam was 19 min 32 s (and later 20 min) ahead.
    key = "Europe/Amsterdam"
    zone = zoneinfo.ZoneInfo(key)
    run = Cron("0 12 * * *", key).next(datetime(1890, 5, 1, tzinfo=timezone.utc))
    assert (run.hour, run.minute, run.second) == (12, 0, 0)
    assert run.timestamp() % 60 == (-offset(zone, run.timestamp())).seconds % 60


@pytest.mark.parametrize(
    ("key", "start", "wanted"),
    [
        ("America/Sao_Paulo", "2018-11-03 12:00", "04T01:00-02 05T00:00-02"),
        ("America/Havana", "2026-03-07 12:00", "08T01:00-04 09T00:00-04"),
        ("America/Santiago", "2026-09-05 12:00", "06T01:00-03 07T00:00-03"),
        ("Asia/Beirut", "2026-03-28 12:00", "29T01:00+03 30T00:00+03"),
        ("America/Santiago", "2026-04-04 12:00", "05T00:00-04 06T00:00-04"),
        ("America/Havana", "2026-10-31 12:00", "01T00:00-04 02T00:00-05"),
    ],
)
def test_zones_that_change_at_midnight(key, start, wanted):
    assert after("0 0 * * *", key, start, 2) == wanted.split()


# Policies

NO, ONCE = [], ["29T03:00+02"]
FIRST, SECOND = ["25T02:30+02"], ["25T02:30+01"]


@pytest.mark.parametrize(
    ("policy", "expr", "gap", "overlap"),
    [
        ("debian", "30 2 * * *", ONCE, FIRST),
        ("debian", "30/30 2 * * *", ONCE, FIRST),
        ("debian", "*/30 2 * * *", NO, ["25T02:00+02", *FIRST, "25T02:00+01", *SECOND]),
        ("skip", "30 2 * * *", NO, NO),
        ("both", "30 2 * * *", ONCE, FIRST + SECOND),
        ("first", "30 2 * * *", ONCE, FIRST),
        ("last", "30 2 * * *", ONCE, SECOND),
        ("skip", "*/30 2 * * *", NO, NO),
        ("both", "*/30 2 * * *", ONCE, ["25T02:00+02", *FIRST, "25T02:00+01", *SECOND]),
        ("first", "*/30 2 * * *", ONCE, ["25T02:00+02", *FIRST]),
        ("last", "*/30 2 * * *", ONCE, ["25T02:00+01", *SECOND]),
    ],
)
def test_policies(policy, expr, gap, overlap):
    berlin = zoneinfo.ZoneInfo(BERLIN)
    cron = Cron(expr, berlin, dst=DstPolicy(policy))

    def on(month, day):
        start = datetime(2026, month, day, tzinfo=berlin)
        return [table(run) for run in cron.between(start, start + timedelta(days=1))]

    assert on(3, 29) == gap
    assert on(10, 25) == overlap
    past = cron.past(datetime(2026, 10, 26, tzinfo=berlin))
    assert [table(next(past)) for _ in overlap] == overlap[::-1]


def test_seconds_that_repeat_run_all_the_time():
    # `*` in the field of the seconds is as good as in that of the minutes.
    assert (
        after("*/30 30 2 * * *", BERLIN, OVERLAP, 4)
        == ["25T02:30+02"] * 2 + ["25T02:30+01"] * 2
    )
    assert after("15,45 30 2 * * *", BERLIN, GAP, 2) == ["29T03:00+02", "30T02:30+02"]


def test_policy_may_be_named():
    assert Cron("@daily", dst="last").dst is DstPolicy.LAST
    with pytest.raises(InvalidValue, match=r"dst is 'none'.*debian, skip, both"):
        Cron("@daily", dst="none")


def test_every_hour_runs_each_hour_of_the_world():
    for key in (BERLIN, NEW_YORK):
        zone = zoneinfo.ZoneInfo(key)
        start = datetime(2026, 1, 1, tzinfo=zone)
        stop = datetime(2027, 1, 1, tzinfo=zone)
        assert len([*Cron("0 * * * *", zone).between(start, stop)]) == 365 * 24
        for policy, count in (
            ("debian", 365),
            ("both", 366),
            ("skip", 363),
            ("last", 365),
        ):
            daily = Cron("30 2 * * *", zone, dst=DstPolicy(policy))
            assert key != BERLIN or len([*daily.between(start, stop)]) == count
    assert local(zoneinfo.ZoneInfo(BERLIN), 0).hour == 1
