"""The arithmetic of periods: no drift, no enumeration, every policy."""

import math
import subprocess
import sys
import time

import pytest
from hypothesis import assume, given, strategies as st

from cup.errors import InvalidType, InvalidValue
from cup.services.executor import Aligned, CatchUp, Cron, FixedDelay, FixedRate, Jitter
from cup.services.executor._core_periods import (
    check_period,
    delayed_by,
    due_at,
    index_after,
    index_at,
    made_up_for,
)
from cup.services.executor._core_plans import CronPlan, make_plan

periods = st.floats(1e-3, 1e7)
starts = st.floats(-1e9, 1e10)
moments = st.floats(-1e10, 1e11)


@given(start=starts, period=periods, now=moments)
def test_index_is_the_last_one_due(start, period, now):
    assume(abs(now - start) / period < 1e15)
    assume(start + period != start)
    index = index_at(start, period, now)
    assert due_at(start, period, index) <= now
    assert due_at(start, period, index + 1) > now
    assert index_after(start, period, now) == index + 1


def test_ten_years_do_not_drift():
    start, period = 0.1, 0.1
    seconds = 10 * 365 * 86_400
    index = index_at(start, period, seconds)
    assert due_at(start, period, index) == pytest.approx(seconds, abs=period)
    assert index == pytest.approx(seconds / period, abs=2)


@given(
    first=st.integers(0, 10**6),
    missed=st.integers(0, 10**6),
    late=st.floats(0, 0.999),
    limit=st.none() | st.integers(1, 10**7),
    window=st.none() | st.floats(0, 1e7),
)
def test_all_is_what_limit_and_window_leave(first, missed, late, limit, window):
    period, start = 2.0, 100.0
    last = first + missed
    now = due_at(start, period, last) + late * period
    chosen = made_up_for(
        CatchUp.all(limit, window), first, last, now=now, start=start, period=period
    )
    assert chosen.step == 1
    assert chosen.stop == last + 1
    assert chosen.start >= first
    assert limit is None or len(chosen) <= limit
    if window is not None and len(chosen):
        assert due_at(start, period, chosen.start) > now - window
    if len(chosen) < missed + 1 and limit is None:
        assert due_at(start, period, chosen.start - 1) <= now - window


@given(first=st.integers(0, 10**6), missed=st.integers(0, 10**6))
def test_latest_is_one_run(first, missed):
    last = first + missed
    chosen = made_up_for(
        CatchUp.latest(), first, last, now=last * 3.0 + 1, start=0.0, period=3.0
    )
    assert [*chosen] == [last]


@pytest.mark.parametrize(("late", "runs"), [(0.0, 1), (1.0, 1), (1.1, 0), (2.9, 0)])
def test_none_runs_what_is_on_time(late, runs):
    chosen = made_up_for(CatchUp.none(), 4, 9, now=27.0 + late, start=0.0, period=3.0)
    assert len(chosen) == runs
    assert made_up_for(
        CatchUp.none(grace=3), 4, 9, now=29.9, start=0.0, period=3.0
    ) == range(9, 10)


def test_ten_years_of_missed_seconds_cost_nothing():
    seconds = 10 * 365 * 86_400
    plan = make_plan(1.0, 0.0)
    best = math.inf
    for _ in range(20):
        began = time.perf_counter()
        firing = plan.fire(1.0, seconds + 0.5, CatchUp.latest())
        best = min(best, time.perf_counter() - began)
    assert [*firing.runs] == [float(seconds)]
    assert firing.next_due == seconds + 1.0
    assert firing.missed == seconds - 1
    assert best < 0.001  # enumerating them takes minutes
    firing = plan.fire(1.0, seconds + 0.5, CatchUp.all(limit=3))
    assert [*firing.runs] == [seconds - 2.0, seconds - 1.0, float(seconds)]


def test_rate_begins_one_period_from_now():
    assert make_plan(5.0, 100.0).begin(100.0) == 105.0
    assert make_plan(FixedRate(5.0, first=0), 100.0).begin(100.0) == 100.0
    assert make_plan(FixedRate(5.0, first=2), 100.0).begin(100.0) == 102.0


def test_aligned_is_on_the_grid_of_the_wall_clock():
    plan = make_plan(Aligned(3600, offset=90), 0.0)
    assert plan.by_wall
    assert plan.begin(7200.0) == 7290.0
    assert plan.begin(7290.0) == 7290.0
    assert plan.begin(7290.1) == 10_890.0


def test_delay_counts_from_the_end():
    plan = make_plan(FixedDelay(5.0, first=1), 0.0)
    assert plan.begin(10.0) == 11.0
    assert plan.fire(11.0, 30.0, CatchUp.latest()).next_due is None
    assert plan.after_run(40.0) == 45.0


def test_ints_are_periods_and_bools_are_none():
    assert make_plan(5, 0.0).begin(0.0) == 5.0
    with pytest.raises(InvalidType):
        make_plan(True, 0.0)
    with pytest.raises(InvalidType):
        make_plan("5", 0.0)


@pytest.mark.parametrize("value", [0, -1, 1e-9, math.nan, math.inf])
def test_period_that_cannot_be_kept_is_refused(value):
    with pytest.raises(InvalidValue):
        check_period("period", value)
    with pytest.raises(InvalidValue):
        make_plan(FixedRate(value), 0.0)


# -- the calendar ----------------------------------------------------------------------

HOUR = 3600.0
DAY = 24 * HOUR


def test_cron_plan_runs_once_for_what_was_missed():
    plan = CronPlan(Cron("0 * * * *"))
    firing = plan.fire(HOUR, 10.5 * HOUR, CatchUp.latest())
    assert [*firing.runs] == [10 * HOUR]
    assert firing.next_due == 11 * HOUR
    assert firing.missed == 9


def test_cron_plan_makes_up_for_all():
    plan = CronPlan(Cron("0 * * * *"))
    everything = plan.fire(HOUR, 5.5 * HOUR, CatchUp.all())
    assert [*everything.runs] == [n * HOUR for n in range(1, 6)]
    assert everything.missed == 0
    limited = plan.fire(HOUR, 5.5 * HOUR, CatchUp.all(limit=2))
    assert [*limited.runs] == [4 * HOUR, 5 * HOUR]
    assert limited.missed == 3
    recent = plan.fire(HOUR, 5.5 * HOUR, CatchUp.all(window=2.6 * HOUR))
    assert [*recent.runs] == [3 * HOUR, 4 * HOUR, 5 * HOUR]


def test_cron_plan_leaves_out_what_is_late():
    plan = CronPlan(Cron("0 * * * *"))
    assert [*plan.fire(HOUR, 5.5 * HOUR, CatchUp.none()).runs] == []
    assert [*plan.fire(HOUR, 5 * HOUR + 0.5, CatchUp.none()).runs] == [5 * HOUR]
    assert plan.fire(HOUR, HOUR + 2, CatchUp.none()).missed == 1


def test_ten_years_of_missed_minutes_are_bounded():
    plan = CronPlan(Cron("* * * * *"))
    began = time.perf_counter()
    firing = plan.fire(60.0, 3650 * DAY + 1, CatchUp.all(limit=2))
    assert len([*firing.runs]) == 2
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    ("expr", "by", "expected"),
    [
        # A job at a fixed time: up to three hours back, it is not repeated.
        ("0 5 * * *", -HOUR, 5 * HOUR),
        ("0 5 * * *", -4 * HOUR, 5 * HOUR),
        ("0 5 * * *", HOUR, 5 * HOUR),
        # One that repeats in the hour goes by the new time at once.
        ("*/5 * * * *", -HOUR, 3 * HOUR + 300),
        ("@hourly", -HOUR, 4 * HOUR),
        ("*/5 * * * *", HOUR, 5 * HOUR),
        # A clock set by more than three hours is believed.
        ("30 2 * * *", 4 * HOUR, DAY + 2.5 * HOUR),
    ],
)
def test_clock_steps_follow_debian(expr, by, expected):
    plan = CronPlan(Cron(expr))
    assert plan.after_step(5 * HOUR, by, 3 * HOUR) == expected


# -- jitter ----------------------------------------------------------------------------


def test_no_jitter_delays_nothing():
    assert delayed_by(None, 10, "x", lambda: 0.9) == 0.0


def test_random_jitter_stays_inside_of_its_spread():
    assert delayed_by(Jitter(10), 100, "x", lambda: 0.5) == 5.0
    assert delayed_by(Jitter(10), 4, "x", lambda: 0.5) == 2.0


def test_stable_jitter_follows_from_the_name():
    jitter = Jitter(100, stable=True)
    here = [delayed_by(jitter, math.inf, f"job {n}", lambda: 1 / 0) for n in range(500)]
    assert all(0 <= delay < 100 for delay in here)
    assert len({*here}) == 500
    assert 40 < sum(here) / 500 < 60
    code = (
        "from cup.services.executor import Jitter\n"
        "from cup.services.executor._core_periods import delayed_by\n"
        "print(repr(delayed_by(Jitter(100, True), 1e9, 'job 7', None)))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True
    )
    assert float(there.stdout) == here[7]
