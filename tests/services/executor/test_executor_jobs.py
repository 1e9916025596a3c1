"""Handles of jobs that run once, urgency, limits; on real threads."""

import concurrent.futures
import contextvars
import datetime as dt
import gc
import pickle
import signal
import threading
import time
import weakref

import pytest
from executor_tools import Gate, balanced, make_virtual, service, wait_for

from cup.errors import (
    ExecutorClosed,
    InvalidType,
    InvalidValue,
    JobCancelled,
    JobTimeout,
    QueueTimeout,
    RunTimeout,
)
from cup.services.executor import ExecutionService, ScheduledJob, Urgency

virtual = pytest.fixture(make_virtual)


@pytest.fixture
def executor():
    with service(2, 2, name="tested") as made:
        yield made


def test_submit_gives_a_handle(executor):
    job = executor.submit(pow, 2, exp=10)
    assert isinstance(job, ScheduledJob)
    assert job.result(10) == 1024
    assert job.done()
    assert not job.cancelled()
    assert job.exception() is None
    assert job.name == "pow"
    assert "returned 1024" in repr(job)


def test_keywords_never_meet_ours(executor):
    def echo(**kwargs):
        return kwargs

    names = ("fn", "delay", "self", "urgency", "when", "rhythm", "cron", "name", "key")
    words = dict.fromkeys(names, 1)
    assert executor.submit(echo, **words).result(10) == words
    assert executor.after(0, echo, **words).result(10) == words
    assert executor.at(0, echo, **words).result(10) == words
    view = executor.options(max_runs=1)
    assert view.every(0.01, echo, **words).result(10) == words


def test_exception_reaches_who_waits(executor):
    job = executor.after(0.01, int, "x")
    with pytest.raises(ValueError, match="invalid literal"):
        job.result(10)
    assert isinstance(job.exception(), ValueError)


def test_after_zero_or_less_is_now(executor):
    assert executor.after(0, int).result(10) == 0
    assert executor.after(-5, int).result(10) == 0
    assert executor.after(1, int).cancel()


def test_at_takes_datetimes_and_numbers(executor):
    now = time.time()
    assert executor.at(now + 0.02, time.time).result(10) >= now + 0.02
    aware = dt.datetime.now(dt.timezone.utc)
    assert executor.at(aware, int).result(10) == 0
    local = dt.datetime.now(dt.timezone.utc).astimezone() + dt.timedelta(seconds=0.05)
    naive = local.replace(tzinfo=None)
    assert executor.at(naive, time.time).result(10) >= naive.timestamp()
    with pytest.raises(InvalidType):
        executor.at("tomorrow", int)
    with pytest.raises(InvalidValue):
        executor.at(float("nan"), int)


def test_next_run_is_when_it_is_due(executor):
    job = executor.after(3600, int)
    left = job.next_run - dt.datetime.now(dt.timezone.utc)
    assert 3590 < left.total_seconds() <= 3600
    job.cancel()
    assert job.next_run is None
    far = executor.after(1e12, int)
    assert far.next_run.year == 9999
    at = executor.at(2e9, int)
    assert at.next_run.timestamp() == 2e9
    assert executor.submit(int).next_run is None


def test_cancelled_job_never_runs(executor):
    ran = []
    job = executor.after(0.05, ran.append, 1)
    assert job.cancel()
    assert job.cancel()
    assert job.cancelled()
    assert job.done()
    with pytest.raises(JobCancelled):
        job.result()
    with pytest.raises(concurrent.futures.CancelledError):
        job.exception()
    time.sleep(0.1)
    assert ran == []
    assert "cancelled" in repr(job)


def test_cancel_after_the_start_is_refused(executor):
    gate = Gate()
    job = executor.after(0, gate, "ran")
    gate.await_inside()
    assert job.running()
    assert not job.cancel()
    assert not job.cancelled()
    gate.open()
    assert job.result(10) == "ran"
    assert not job.cancel()


def test_cancel_of_a_queued_job(executor):
    gate = Gate()
    for _ in range(2):
        executor.submit(gate)
    gate.await_inside(2)
    job = executor.submit(print)
    assert job.cancel()
    assert job.cancelled()
    gate.open()


def test_cancel_of_a_job_that_somebody_awaits(executor):
    job = executor.after(3600, print)

    def waits():
        with pytest.raises(JobCancelled):
            job.result()

    waiting = threading.Thread(target=waits)
    waiting.start()
    wait_for(lambda: "_parked" in vars(job.future))
    assert job.cancel()
    waiting.join(10)
    assert not waiting.is_alive()
    assert executor.stats().cancelled == 1


def test_cancel_through_the_future_counts_once(executor):
    job = executor.after(3600, print)
    assert job.future.cancel()
    assert job.cancelled()
    assert job.cancel()
    assert executor.stats().cancelled == 1


def test_cancel_inside_of_its_own_callback(executor):
    seen = []
    job = executor.after(0.01, int)
    job.add_done_callback(lambda future: seen.append((future.result(), job.cancel())))
    wait_for(lambda: seen)
    assert seen == [(0, False)]


def test_one_of_fire_and_cancel_wins(executor):
    for _ in range(300):
        ran = []
        job = executor.after(0.0005, ran.append, 1)
        time.sleep(0.0004)
        if job.cancel():
            assert job.cancelled()
            time.sleep(0.001)
            assert ran == []
        else:
            job.result(10)
            assert ran == [1]


def test_many_cancels_have_one_effect(executor):
    jobs = [executor.after(3600, print) for _ in range(200)]
    threads = [
        threading.Thread(target=lambda: [job.cancel() for job in jobs])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert executor.stats().cancelled == 200


def test_cancel_in_a_signal_handler(executor):
    if not hasattr(signal, "setitimer"):
        pytest.skip("needs timers of signals")
    jobs = []

    def handler(*_):
        jobs.append(executor.after(3600, print))
        assert jobs[-1].cancel()
        executor.queue_exec(int, 1)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        mine = [executor.after(3600, print) for _ in range(3000)]
        for job in mine:
            assert job.cancel()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert jobs
    assert executor.stats().cancelled == len(jobs) + 3000


def test_reschedule(executor):
    job = executor.after(3600, time.monotonic)
    start = time.monotonic()
    assert job.reschedule(0.02)
    assert job.result(10) >= start + 0.02
    assert not job.reschedule(1)
    later = executor.after(0.02, print)
    assert later.reschedule(3600)
    time.sleep(0.05)
    assert not later.done()
    assert later.cancel()
    assert not later.reschedule(0)
    with pytest.raises(InvalidValue):
        later.reschedule(float("inf"))


def test_reschedule_keeps_the_future(executor):
    job = executor.after(3600, int)
    future = job.future
    assert job.reschedule(0.01)
    assert future.result(10) == 0
    assert job.future is future


def test_reschedule_of_a_wall_job(virtual):
    job = virtual.service.at(virtual.clock.time() + 3600, int)
    assert job.reschedule(5)
    virtual.advance(5)
    assert job.done()


def test_reschedules_race_with_the_time(executor):
    for _ in range(200):
        ran = []
        job = executor.after(0.0005, ran.append, 1)
        time.sleep(0.0003)
        moved = job.reschedule(0.001)
        job.result(10)
        time.sleep(0.0005)
        assert ran == [1], moved


def test_standard_wait_takes_the_future(executor):
    jobs = [executor.after(0.01 * n, int) for n in range(3)]
    done, left = concurrent.futures.wait([job.future for job in jobs], timeout=10)
    assert len(done) == 3
    assert not left
    ordered = concurrent.futures.as_completed([job.future for job in jobs], timeout=10)
    assert [future.result() for future in ordered] == [0, 0, 0]


def test_result_times_out(executor):
    job = executor.after(3600, int)
    with pytest.raises(JobTimeout):
        job.result(0.01)
    with pytest.raises(JobTimeout):
        job.exception(0)
    assert not job.cancelled()


def test_context_travels(executor):
    variable = contextvars.ContextVar("variable", default="default")
    assert executor.after(0.01, variable.get).result(10) == "default"
    variable.set("mine")
    job = executor.after(0.01, variable.get)
    now = executor.submit(variable.get)
    series = executor.options(max_runs=1).every(0.01, variable.get)
    variable.set("later")
    assert job.result(10) == "mine"
    assert now.result(10) == "mine"
    assert series.result(10) == "mine"


def test_a_context_change_stays_in_its_run(executor):
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(1)

    def bump():
        variable.set(variable.get() + 1)
        return variable.get()

    assert executor.options(max_runs=3).every(0.005, bump).result(10) == 2


def test_results_are_free_with_their_handle(executor):
    class Thing:
        pass

    job = executor.submit(Thing)
    ref = weakref.ref(job.result(10))
    wait_for(lambda: executor.stats().running == 0)
    del job
    gc.collect()
    assert ref() is None


def test_nobody_compares_or_pickles_handles(executor):
    job = executor.after(3600, print)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(job)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(executor)
    series = executor.every(3600, print)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(series)


def test_base_exceptions_kill_no_worker(executor):
    def leaves():
        raise SystemExit(3)

    def breaks():
        raise KeyboardInterrupt

    for fn, kind in ((leaves, SystemExit), (breaks, KeyboardInterrupt)):
        for job in (executor.submit(fn), executor.after(0.001, fn)):
            with pytest.raises(kind):
                job.result(10)
    assert executor.submit(int).result(10) == 0


def test_jobs_schedule_jobs(executor):
    done = threading.Event()

    def again(left):
        if left:
            executor.after(0.001, again, left - 1)
        else:
            done.set()

    executor.after(0, again, 20)
    assert done.wait(10)


def test_waiting_for_a_pending_job_does_not_run_it_early():
    with service(1, 1) as executor:

        def waits():
            start = time.monotonic()
            job = executor.after(0.1, time.monotonic)
            try:
                return job.result(0.3) - start
            finally:
                job.cancel()

        # Its worker is the only one: the wait ends by the time-out, or by help.
        outer = executor.after(0, waits)
        try:
            assert outer.result(10) >= 0.1
        except JobTimeout:
            pass


def test_a_full_group_helps_who_waits_inside():
    with service(1, 1) as executor:

        def waits():
            start = time.monotonic()
            return executor.after(0.1, time.monotonic).result() - start

        assert executor.after(0, waits).result(10) >= 0.1


# -- urgency ---------------------------------------------------------------------------


def test_high_goes_before_normal_before_low():
    with service(1, 1) as executor:
        gate, ran = Gate(), []
        executor.submit(gate)
        gate.await_inside()
        for n in range(3):
            for urgency in (Urgency.LOW, Urgency.HIGH, Urgency.NORMAL):
                executor.options(urgency=urgency).submit(ran.append, (urgency, n))
        gate.open()
        wait_for(lambda: len(ran) == 9)
        assert ran == [(u, n) for u in Urgency for n in range(3)]


def test_low_is_not_starved():
    with service(1, 1) as executor:
        gate, ran = Gate(), []
        executor.submit(gate)
        gate.await_inside()
        low = executor.options(urgency=Urgency.LOW)
        high = executor.options(urgency=Urgency.HIGH)
        for _ in range(20):
            low.submit(ran.append, "low")
        for _ in range(400):
            high.submit(ran.append, "high")
        gate.open()
        wait_for(lambda: len(ran) == 420)
        first = ran[:320]
        assert first.count("low") >= 320 * 0.05
        assert first[:14].count("low") <= 1


def test_many_producers_lose_nothing_and_keep_their_order():
    with service(1, 1) as executor:
        ran, producers, each = [], 8, 600

        def produce(name):
            for n in range(each):
                executor.queue_exec(ran.append, n % 3, (name, n % 3, n))

        threads = [
            threading.Thread(target=produce, args=(name,)) for name in range(producers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_for(lambda: len(ran) == producers * each)
        assert len(set(ran)) == producers * each
        for name in range(producers):
            for urgency in range(3):
                mine = [n for who, what, n in ran if (who, what) == (name, urgency)]
                assert mine == sorted(mine)


# -- limits ----------------------------------------------------------------------------


def test_run_timeout_interrupts_a_delayed_job(executor):
    ended = []

    def endless():
        try:
            while True:
                time.sleep(0.001)
        finally:
            ended.append(True)

    job = executor.options(run_timeout=0.05).after(0.01, endless)
    with pytest.raises(RunTimeout):
        job.result(10)
    assert ended == [True]


def test_run_timeout_of_a_series_hits_one_run(executor):
    numbers = iter(range(100))

    def sometimes():
        if next(numbers) == 0:
            while True:
                time.sleep(0.001)

    view = executor.options(run_timeout=0.05, max_runs=3)
    series = view.every(0.01, sometimes)
    series.result(10)
    assert isinstance(series.history[0].error, RunTimeout)
    assert [r.error for r in series.history[1:]] == [None, None]


def test_queue_timeout_counts_from_the_due_time():
    with service(1, 1) as executor:
        gate = Gate()
        executor.after(0, gate)
        gate.await_inside()
        job = executor.options(queue_timeout=0.02).after(0.05, print)
        with pytest.raises(QueueTimeout):
            job.result(10)
        gate.open()


def test_no_job_is_dropped_by_default_however_late():
    # APScheduler drops what starts a second late.
    with service(1, 1) as executor:
        jobs = [executor.after(0.01, time.sleep, 0.05) for _ in range(10)]
        for job in jobs:
            assert job.result(10) is None


def test_interrupt_ends_a_running_job(executor):
    started = threading.Event()

    def endless():
        started.set()
        while True:
            time.sleep(0.001)

    job = executor.after(0.001, endless)
    assert started.wait(10)
    assert job.interrupt()
    with pytest.raises(JobCancelled):
        job.result(10)
    assert not job.interrupt()
    assert not executor.after(3600, print).interrupt()


def test_cancel_previous_interrupts_a_run(executor):
    numbers = iter(range(1000))

    def stuck_first():
        if next(numbers) == 0:
            while True:
                time.sleep(0.001)

    view = executor.options(overlap="cancel_previous", max_runs=2)
    series = view.every(0.05, stuck_first)
    series.result(10)
    assert [r.outcome.value for r in series.history] == ["cancelled", "done"]


# -- views and figures -----------------------------------------------------------------


def test_views_are_equal_by_their_options(executor):
    assert executor.options(urgency=0) == executor.options(urgency=Urgency.HIGH)
    assert executor.options(urgency=0) != executor.options()
    assert len({executor.options(urgency=0), executor.options(urgency=0)}) == 1
    assert executor != ExecutionService()


def test_repr_and_stats(executor):
    executor.after(3600, print)
    executor.submit(int).result(10)
    wait_for(lambda: executor.stats().done == 1)
    assert repr(executor) == (
        "<ExecutionService 'tested' 1 pending, 0 queued, 0 running, running>"
    )
    assert dict(executor.__rich_repr__())["pending"] == 1
    stats = executor.stats()
    assert (stats.submitted, stats.pending, stats.done) == (2, 1, 1)


def test_unretrieved_exception_is_reported():
    reported = []
    with service(on_unhandled=lambda e, what: reported.append((e, what))) as executor:
        executor.after(0.001, int, "x")
        wait_for(lambda: gc.collect() is not None and reported)
    assert isinstance(reported[0][0], ValueError)


def test_closed_executor_takes_nothing(executor):
    executor.stop()
    for call in (
        lambda: executor.submit(int),
        lambda: executor.after(1, int),
        lambda: executor.at(1, int),
        lambda: executor.every(1, int),
        lambda: executor.cron("* * * * *", int),
        lambda: executor.queue_exec(int, 1),
        lambda: executor.delay_exec(1, int, 1),
    ):
        with pytest.raises(ExecutorClosed):
            call()
    report = executor.stop()
    assert report.refused == 7
    assert balanced(report)
