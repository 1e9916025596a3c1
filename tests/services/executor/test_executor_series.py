"""Series in virtual time: rhythms, overlap, catching up, limits, clocks that jump."""

import datetime as dt
import itertools

import pytest
from executor_tools import HandExecutor, Virtual, balanced, make_virtual

from cup.errors import InvalidType, InvalidValue, JobCancelled
from cup.services.executor import (
    Aligned,
    CatchUp,
    Cron,
    FixedDelay,
    FixedRate,
    Jitter,
    RunOutcome,
)
from cup.testing import VirtualClock, VirtualDriver

virtual = pytest.fixture(make_virtual)

HOUR = 3600.0
DAY = 24 * HOUR


class Book:
    """Notes the time of each call."""

    def __init__(self, clock, wall=False):
        self.times = []
        self._now = clock.time if wall else clock.monotonic
        self.start = self._now()

    def __call__(self, *_):
        self.times.append(self._now() - self.start)
        return len(self.times)


# -- rhythms ---------------------------------------------------------------------------


def test_fixed_rate_keeps_its_grid(virtual):
    book = Book(virtual.clock)
    series = virtual.service.every(10, book)
    virtual.advance(35)
    assert book.times == [10, 20, 30]
    assert series.runs == 3
    assert [record.outcome for record in series.history] == [RunOutcome.DONE] * 3


def test_first_run_can_be_at_once(virtual):
    book = Book(virtual.clock)
    virtual.service.every(FixedRate(10, first=0), book)
    virtual.advance(15)
    assert book.times == [0, 10]


def test_fixed_delay_counts_from_the_end_of_a_run():
    backend = HandExecutor()
    virtual = Virtual(backend)
    book = Book(virtual.clock)
    virtual.service.every(FixedDelay(10), book)
    virtual.advance(10)
    virtual.advance(7)  # the run takes so long
    backend.run_one()
    virtual.advance(9)
    assert backend.held == []
    virtual.advance(1)
    assert len(backend.held) == 1
    backend.run_one()
    assert book.times == [17, 27]
    assert balanced(virtual.service.stop())


def test_aligned_runs_come_on_the_hour(virtual):
    book = Book(virtual.clock, wall=True)
    book.start = 0
    virtual.service.every(Aligned(900, offset=5), book)
    virtual.advance(HOUR)
    assert len(book.times) == 4
    assert {time % 900 for time in book.times} == {5}


def test_cron_runs_by_the_calendar(virtual):
    book = Book(virtual.clock, wall=True)
    book.start = 0
    series = virtual.service.cron(Cron("30 2 * * *", "Europe/Berlin"), book)
    virtual.advance(3 * DAY)
    local = [
        dt.datetime.fromtimestamp(time, Cron("* * * * *", "Europe/Berlin").tz)
        for time in book.times
    ]
    assert [(when.hour, when.minute) for when in local] == [(2, 30)] * 3
    assert series.next_run is not None


def test_cron_expression_means_utc(virtual):
    series = virtual.service.cron("0 12 * * *", print)
    assert (series.next_run.hour, series.next_run.utcoffset()) == (
        12,
        dt.timedelta(),
    )


def test_hashed_minute_follows_from_the_name(virtual):
    view = virtual.service.options(name="nightly")
    expected = Cron("H * * * *", name="nightly")
    found = view.cron("H * * * *", print).next_run
    assert found == expected.next(
        dt.datetime.fromtimestamp(virtual.clock.time(), dt.timezone.utc)
    )


def test_an_exception_does_not_end_a_series(virtual):
    numbers = itertools.count()

    def fails():
        if next(numbers) % 2:
            raise RuntimeError("on purpose")

    series = virtual.service.every(1, fails)
    virtual.advance(4)
    outcomes = [record.outcome for record in series.history]
    assert outcomes == [
        RunOutcome.DONE,
        RunOutcome.FAILED,
        RunOutcome.DONE,
        RunOutcome.FAILED,
    ]
    assert isinstance(series.history[-1].error, RuntimeError)
    assert len(virtual.reported) == 2
    assert virtual.service.stats().failed == 2


def test_a_base_exception_does_not_end_a_series(virtual):
    def leaves():
        raise SystemExit

    series = virtual.service.every(1, leaves)
    virtual.advance(3)
    assert series.runs == 3
    assert not series.done()


# -- limits ----------------------------------------------------------------------------


def test_max_runs_ends_a_series_with_its_last_result(virtual):
    book = Book(virtual.clock)
    series = virtual.service.options(max_runs=3).every(1, book)
    virtual.advance(10)
    assert book.times == [1, 2, 3]
    assert series.done()
    assert series.result() == 3
    assert series.next_run is None
    assert virtual.service.stats().pending == 0


def test_until_ends_a_series(virtual):
    book = Book(virtual.clock)
    until = virtual.clock.time() + 3.5
    series = virtual.service.options(until=until).every(1, book)
    virtual.advance(10)
    assert book.times == [1, 2, 3]
    assert series.done()


def test_failures_in_a_row_end_a_series(virtual):
    outcomes = iter([1, 0, 1, 1, 1, 1, 1])

    def fails():
        if next(outcomes):
            raise OSError("on purpose")

    series = virtual.service.options(stop_after_failures=3).every(1, fails)
    virtual.advance(10)
    assert series.runs == 5
    assert isinstance(series.exception(), OSError)
    assert series.failures == 3


def test_history_is_bounded(virtual):
    short = virtual.service.options(history=2).every(1, int)
    none = virtual.service.options(history=0).every(1, int)
    virtual.advance(10)
    assert len(short.history) == 2
    assert none.history == ()
    assert short.runs == none.runs == 10


def test_history_tells_due_and_start(virtual):
    series = virtual.service.every(10, int)
    wall = virtual.clock.time()
    virtual.advance(10)
    (record,) = series.history
    assert record.due == pytest.approx(wall + 10)
    assert record.started == pytest.approx(wall + 10)
    assert record.ended >= record.started


# -- overlap ---------------------------------------------------------------------------


def overlapping(policy, periods=5):
    """Let runs come due while the first is held; return what was handed over."""
    backend = HandExecutor()
    virtual = Virtual(backend)
    series = virtual.service.options(overlap=policy).every(1, int)
    for _ in range(periods):
        virtual.advance(1)
    return virtual, backend, series


def test_skip_leaves_runs_out():
    virtual, backend, series = overlapping("skip")
    assert len(backend.held) == 1
    assert series.skipped == 4
    backend.run_one()
    virtual.advance(0)
    assert backend.held == []
    virtual.advance(1)
    assert len(backend.held) == 1
    backend.run_one()
    report = virtual.service.stop()
    assert balanced(report)
    assert virtual.service.stats().skipped == 4


def test_queue_one_keeps_one_with_its_due_time():
    virtual, backend, series = overlapping("queue_one")
    assert len(backend.held) == 1
    assert series.skipped == 3
    backend.run_one()
    virtual.advance(0)
    assert len(backend.held) == 1
    backend.run_one()
    first, second = series.history
    assert second.due - first.due == pytest.approx(1)  # not when it was started
    assert balanced(virtual.service.stop())


def test_queue_all_keeps_all():
    virtual, backend, series = overlapping("queue_all")
    done = 0
    while backend.held:
        assert len(backend.held) == 1
        backend.run_one()
        virtual.advance(0)
        done += 1
    assert done == 5
    assert series.skipped == 0
    assert balanced(virtual.service.stop())


def test_a_number_allows_so_many():
    virtual, backend, series = overlapping(3)
    assert len(backend.held) == 3
    assert series.skipped == 2
    for _ in range(3):
        backend.run_one()
    assert balanced(virtual.service.stop())


def test_cancel_previous_takes_a_queued_run_out():
    backend = HandExecutor(workers=1)  # it takes two at once
    virtual = Virtual(backend)
    blocker = [virtual.service.submit(int) for _ in range(2)]
    virtual.advance(0)
    series = virtual.service.options(overlap="cancel_previous").every(1, int)
    virtual.advance(3)
    assert series.runs == 3
    assert [r.outcome for r in series.history] == [RunOutcome.CANCELLED] * 2
    for _ in range(2):
        backend.run_one()
    virtual.advance(0)
    backend.run_one()
    assert [job.result(5) for job in blocker] == [0, 0]
    assert balanced(virtual.service.stop())


# -- catching up -----------------------------------------------------------------------


def stalled(catch_up, overlap="queue_one"):
    """Let an hour pass in which nobody calls the program of a 10 s series."""
    virtual = Virtual()
    book = Book(virtual.clock)
    view = virtual.service.options(catch_up=catch_up, overlap=overlap, history=1000)
    series = view.every(10, book)
    virtual.advance(15)
    virtual.clock.advance(HOUR)
    virtual.advance(0)
    return virtual, book, series


def test_one_run_makes_up_for_all():
    virtual, book, series = stalled("latest")
    assert len(book.times) == 2
    assert series.missed == 359
    virtual.advance(10)
    assert len(book.times) == 3
    assert balanced(virtual.service.stop())
    assert virtual.service.stats().missed == 359


def test_the_one_that_makes_up_has_the_latest_due_time():
    _, __, series = stalled("latest")
    first, second = series.history
    assert second.due - first.due == pytest.approx(HOUR)


def test_none_leaves_all_out():
    virtual, book, series = stalled("none")
    assert len(book.times) == 1
    assert series.missed == 360
    virtual.advance(5)
    assert len(book.times) == 2


@pytest.mark.parametrize("overlap", ["queue_one", "skip", 1])
def test_all_makes_up_for_each(overlap):
    _, book, series = stalled("all", overlap)
    assert len(book.times) == 361
    assert series.missed == 0
    dues = [record.due for record in series.history]
    steps = {round(b - a, 6) for a, b in itertools.pairwise(dues)}
    assert steps == {10}


def test_all_has_limit_and_window():
    _, book, series = stalled(CatchUp.all(limit=5))
    assert len(book.times) == 6
    assert series.missed == 355
    _, book, __ = stalled(CatchUp.all(window=60))
    assert len(book.times) == 7


def test_what_is_made_up_for_does_not_overlap():
    backend = HandExecutor()
    virtual = Virtual(backend)
    series = virtual.service.options(catch_up="all").every(10, int)
    virtual.clock.advance(100)
    virtual.advance(0)
    for left in range(9, -1, -1):
        assert len(backend.held) == 1
        backend.run_one()
        virtual.advance(0)
        assert series.runs == min(10, 10 - left + 1)
    assert balanced(virtual.service.stop())


# -- clocks ----------------------------------------------------------------------------


def test_periods_do_not_feel_the_wall_clock(virtual):
    book = Book(virtual.clock)
    virtual.service.every(60, book)
    virtual.service.every(Aligned(DAY), int)  # somebody watches the wall clock
    for step in (HOUR, -HOUR, 10 * 365 * DAY, -10 * 365 * DAY):
        virtual.clock.step_wall(step)
        virtual.advance(60)
    assert book.times == [60, 120, 180, 240]


@pytest.mark.parametrize("step", [HOUR, 2.9 * HOUR])
def test_cron_makes_up_once_after_a_short_step_forward(virtual, step):
    book = Book(virtual.clock, wall=True)
    series = virtual.service.cron("*/5 * * * *", book)
    virtual.advance(601)
    before = len(book.times)
    virtual.clock.step_wall(step)
    virtual.advance(31)
    assert len(book.times) - before in {1, 2}  # one, and maybe the next on time
    assert series.missed == pytest.approx(step / 300, abs=2)


@pytest.mark.parametrize("step", [4 * HOUR, 10 * 365 * DAY])
def test_cron_believes_a_long_step_forward(virtual, step):
    book = Book(virtual.clock, wall=True)
    series = virtual.service.cron("17 * * * *", book)
    virtual.advance(1)
    virtual.clock.step_wall(step)
    virtual.advance(31)
    assert len(book.times) == 0
    assert series.missed == 0
    virtual.advance(HOUR)
    assert len(book.times) == 1


def test_fixed_cron_does_not_repeat_after_a_short_step_back(virtual):
    now = virtual.clock.time()
    hour = dt.datetime.fromtimestamp(now, dt.timezone.utc).hour
    book = Book(virtual.clock, wall=True)
    virtual.service.cron(f"0 {(hour + 1) % 24} * * *", book)
    virtual.advance(1.1 * HOUR)
    assert len(book.times) == 1
    virtual.clock.step_wall(-2 * HOUR)
    virtual.advance(3 * HOUR)
    assert len(book.times) == 1


@pytest.mark.parametrize("step", [-HOUR, -5 * HOUR, -10 * 365 * DAY])
def test_repeating_cron_does_not_stall_after_a_step_back(virtual, step):
    book = Book(virtual.clock)
    virtual.service.cron("*/5 * * * *", book)
    virtual.advance(601)
    before = len(book.times)
    virtual.clock.step_wall(step)
    virtual.advance(HOUR)
    assert len(book.times) - before == pytest.approx(12, abs=1)


def test_a_night_of_sleep_is_one_run(virtual):
    book = Book(virtual.clock, wall=True)
    series = virtual.service.cron("*/5 * * * *", book)
    virtual.advance(301)
    before = len(book.times)
    virtual.clock.suspend(8 * HOUR)
    virtual.advance(31)
    assert len(book.times) - before == 1
    assert series.missed > 90


def test_weekly_job_runs_after_the_sleep_in_which_it_was_due(virtual):
    book = Book(virtual.clock, wall=True)
    virtual.service.cron("0 3 * * 0", book)
    virtual.advance(1)
    virtual.clock.suspend(7 * DAY)
    virtual.advance(31)
    assert len(book.times) == 1


def test_at_follows_the_wall_clock(virtual):
    job = virtual.service.at(virtual.clock.time() + HOUR, int)
    virtual.advance(1)
    virtual.clock.step_wall(HOUR)
    virtual.advance(31)
    assert job.done()


# -- jitter ----------------------------------------------------------------------------


def test_jitter_moves_runs_and_keeps_the_grid(virtual):
    book = Book(virtual.clock)
    virtual.service.options(jitter=5.0).every(10, book)
    virtual.advance(105)
    assert len(book.times) == 10
    assert all(0 <= time - 10 * n < 5 for n, time in enumerate(book.times, 1))
    assert len({time % 10 for time in book.times}) > 5


def test_jitter_never_reaches_the_next_run(virtual):
    book = Book(virtual.clock)
    series = virtual.service.options(jitter=1000.0).every(10, book)
    virtual.advance(1010)
    assert 99 <= len(book.times) <= 101
    assert series.missed == 0


def test_stable_jitter_is_the_same_each_time(virtual):
    book = Book(virtual.clock)
    view = virtual.service.options(jitter=Jitter(5, stable=True), name="mine")
    view.every(10, book)
    virtual.advance(105)
    assert len({round(time % 10, 6) for time in book.times}) == 1


# -- handles ---------------------------------------------------------------------------


def test_cancel_ends_a_series(virtual):
    book = Book(virtual.clock)
    series = virtual.service.every(1, book)
    virtual.advance(2)
    assert series.cancel()
    assert series.cancel()
    virtual.advance(5)
    assert len(book.times) == 2
    assert series.cancelled()
    with pytest.raises(JobCancelled):
        series.result()
    assert virtual.service.stats().pending == 0


def test_a_run_can_cancel_its_series(virtual):
    def cancels():
        return series.cancel()

    series = virtual.service.every(1, cancels)
    virtual.advance(5)
    assert series.runs == 1
    assert series.cancelled()
    assert series.history[0].outcome is RunOutcome.DONE


def test_cancel_while_a_run_executes_stops_future_runs_only():
    backend = HandExecutor()
    virtual = Virtual(backend)
    series = virtual.service.every(1, int)
    virtual.advance(2)
    assert series.cancel()
    backend.run_one()
    virtual.advance(5)
    assert backend.held == []
    assert series.history[0].outcome is RunOutcome.DONE
    assert balanced(virtual.service.stop())


def test_pause_and_resume(virtual):
    book = Book(virtual.clock)
    series = virtual.service.every(10, book)
    virtual.advance(25)
    series.pause()
    assert series.paused
    assert series.next_run is None
    virtual.advance(100)
    assert len(book.times) == 2
    series.resume()
    virtual.advance(10)
    assert book.times == [10, 20, 130]  # on its grid again, and nothing made up for


def test_paused_series_costs_nothing(virtual):
    # APScheduler 4 loops without end over a schedule that is due and paused.
    series = virtual.service.every(1, int)
    virtual.advance(1)
    series.pause()
    timers = virtual.service.core.timers
    assert timers.pending() == 0
    assert timers.step(virtual.now()) is None


def test_run_now_is_one_more(virtual):
    book = Book(virtual.clock)
    series = virtual.service.every(10, book)
    virtual.advance(15)
    series.run_now()
    virtual.advance(0)
    assert book.times == [10, 15]
    virtual.advance(5)
    assert book.times == [10, 15, 20]


def test_next_run_can_be_moved(virtual):
    book = Book(virtual.clock)
    series = virtual.service.every(10, book)
    virtual.advance(5)
    assert series.reschedule(1)
    virtual.advance(20)
    assert book.times == [6, 10, 20]
    series.cancel()
    assert not series.reschedule(1)


def test_run_callback_sees_each_run(virtual):
    seen = []
    series = virtual.service.every(1, int)
    series.add_run_callback(lambda record: seen.append(record.outcome))
    series.add_run_callback(lambda _: 1 / 0)
    virtual.advance(3)
    assert seen == [RunOutcome.DONE] * 3
    assert len(virtual.reported) == 3


def test_done_callback_comes_at_the_end(virtual):
    seen = []
    series = virtual.service.options(max_runs=2).every(1, int)
    series.add_done_callback(lambda future: seen.append(future.result()))
    virtual.advance(1)
    assert seen == []
    virtual.advance(5)
    assert seen == [0]


def test_repr_tells_the_state(virtual):
    series = virtual.service.options(name="tidy").every(1, int)
    assert repr(series) == "<Series 'tidy' running, 0 runs>"
    series.pause()
    assert "paused" in repr(series)
    series.cancel()
    assert "ended" in repr(series)


def test_plan_that_raises_is_reported_and_not_repeated(virtual):
    # APScheduler 4 keeps firing a trigger that raised, by the time before.
    class Broken:
        by_wall = False

        def begin(self, now):
            return now + 1

        def fire(self, *_):
            raise RuntimeError("on purpose")

    from cup.services.executor._core_series import SeriesCore

    core = virtual.service.core
    lane = virtual.service._then
    series = SeriesCore(lane, Broken(), "broken", (int, (), {}, None))
    core.begin_series(series)
    virtual.advance(100)
    assert series.started == 0
    assert len(virtual.reported) == 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"overlap": "sometimes"}, InvalidValue),
        ({"overlap": 0}, InvalidValue),
        ({"catch_up": "some"}, InvalidValue),
        ({"catch_up": 3}, InvalidType),
        ({"max_runs": 0}, InvalidValue),
        ({"stop_after_failures": -1}, InvalidValue),
        ({"jitter": float("nan")}, InvalidValue),
        ({"until": "tomorrow"}, InvalidType),
        ({"urgency": 7}, InvalidValue),
        ({"history": -1}, InvalidValue),
        ({"history": "x"}, InvalidType),
        ({"name": ""}, InvalidType),
        ({"run_timeout": "1"}, InvalidType),
    ],
)
def test_bad_options_are_refused(virtual, options, error):
    with pytest.raises(error):
        virtual.service.options(**options)


@pytest.mark.parametrize(
    ("offset", "error"), [(float("inf"), InvalidValue), ("x", InvalidType)]
)
def test_bad_offsets_are_refused(virtual, offset, error):
    with pytest.raises(error, match="offset"):
        virtual.service.every(Aligned(1, offset), print)


# -- long times ------------------------------------------------------------------------


@pytest.mark.full
def test_a_virtual_week_of_a_hundred_jobs():
    virtual = Virtual()
    books = []
    for n in range(100):
        book = Book(virtual.clock)
        books.append(book)
        if n % 2:
            virtual.service.every(600 + 7 * n, book)
        else:
            virtual.service.cron(f"{n % 60} {n % 24}-23/2 * * *", book)
    virtual.advance(7 * DAY)
    for n, book in enumerate(books):
        if n % 2:
            assert len(book.times) == 7 * DAY // (600 + 7 * n)
    report = virtual.service.stop()
    assert balanced(report)
    assert report.done == sum(len(book.times) for book in books)
    assert report.cancelled == 100


def test_driver_is_a_time_source():
    clock = VirtualClock()
    assert VirtualDriver(clock).clock is clock
