"""Urgency, time limits in the queue and in the run, and jobs that wait for jobs."""

import functools
import itertools
import threading
import time

import pytest
from pool_tools import (
    PATIENCE,
    Gate,
    held,
    in_thread,
    raise_it,
    state,
    wait_for,
    workers_of,
)

from cup.errors import (
    InvalidType,
    InvalidValue,
    JobCancelled,
    JobInterrupted,
    JobTimeout,
    QueueTimeout,
    RunTimeout,
)
from cup.services.threadpool import ThreadPool, Urgency, current_job

HIGH, NORMAL, LOW = Urgency


@pytest.fixture
def single():
    pool = ThreadPool(max_workers=1, name="single", interrupt_grace=0.05)
    yield pool
    pool.stop()


def spin(seconds):
    """Be busy in plain Python code."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


class Stuck:
    """A job that no interrupt reaches: it waits in C code."""

    def __init__(self):
        self.inside = threading.Event()
        self._lock = threading.Lock()
        self._lock.acquire()

    def __call__(self, result=None):
        self.inside.set()
        assert self._lock.acquire(timeout=PATIENCE)
        self._lock.release()
        return result

    def free(self):
        self._lock.release()


# -- urgency -----------------------------------------------------------------------


def test_urgent_jobs_start_first_and_each_class_in_its_order(single):
    order = []
    with held(single):
        for number, urgency in enumerate([LOW, NORMAL, HIGH] * 3):
            single.options(urgency=urgency).post(order.append, (urgency, number))
        assert single.stats().queued == 9
    single.stop()
    assert order == [
        *((HIGH, n) for n in (2, 5, 8)),
        *((NORMAL, n) for n in (1, 4, 7)),
        *((LOW, n) for n in (0, 3, 6)),
    ]


def test_a_plain_submit_is_of_normal_urgency(single):
    order = []
    with held(single):
        single.options(urgency=LOW).post(order.append, "low")
        single.submit(order.append, "plain")
        single.options().submit(order.append, "viewed")
        single.options(urgency=0).submit(order.append, "high")
    single.stop()
    assert order == ["high", "plain", "viewed", "low"]


@pytest.mark.parametrize("urgent", [HIGH, NORMAL])
def test_no_class_starves_and_none_gets_more_than_one_start_in_sixteen(single, urgent):
    order = []
    with held(single):
        for _ in range(400):
            single.options(urgency=urgent).post(order.append, urgent)
        for urgency, _ in itertools.product([NORMAL, LOW], range(20)):
            if urgency > urgent:
                single.options(urgency=urgency).post(order.append, urgency)
    single.stop()
    first = order[:400]
    for start in range(len(first) - 16):
        assert sum(item > urgent for item in first[start : start + 16]) <= 1
    for urgency in [NORMAL, LOW]:
        if urgency > urgent:
            assert urgency in first[:64], "it does not starve"


async def test_urgency_in_tasks(single):
    order = []
    apool = single.aio
    with held(single) as gate:
        for urgency in (LOW, NORMAL, HIGH):
            await apool.options(urgency=urgency).post(order.append, urgency)
        gate.open()
    await apool.stop()
    assert order == [HIGH, NORMAL, LOW]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"urgency": 3}, InvalidValue),
        ({"urgency": "high"}, InvalidValue),
        ({"queue_timeout": float("nan")}, InvalidValue),
        ({"run_timeout": "soon"}, InvalidType),
        ({"on_cancel": "explode"}, InvalidValue),
    ],
)
def test_options_without_sense_are_refused(single, options, error):
    for face in (single, single.aio):
        with pytest.raises(error):
            face.options(**options)


# -- time in the queue -------------------------------------------------------------


def test_a_job_that_is_not_started_in_time_fails_and_never_runs(single):
    ran = []
    with held(single):
        job = single.options(queue_timeout=0.01).submit(ran.append, 1)
        with pytest.raises(QueueTimeout, match=r"0\.01"):
            job.result(PATIENCE)
        assert job.exception().timeout == 0.01
        assert single.stats().queued == 0
        assert single.stats().cancelled == 1
    single.run(int)
    assert ran == []
    assert issubclass(QueueTimeout, JobTimeout)
    assert issubclass(QueueTimeout, TimeoutError)


def test_a_job_that_starts_in_time_has_no_limit_on_its_run(single):
    job = single.options(queue_timeout=0.05).submit(time.sleep, 0.1)
    assert job.result(PATIENCE) is None


def test_a_queue_timeout_of_zero_needs_no_luck_to_fail(single):
    with held(single):
        job = single.options(queue_timeout=0).submit(int)
        assert isinstance(job.exception(PATIENCE), QueueTimeout)


def test_a_cancelled_job_does_not_time_out_afterwards(single):
    reports = []
    pool = ThreadPool(max_workers=1, on_unhandled=lambda *what: reports.append(what))
    with held(pool):
        job = pool.options(queue_timeout=0.02).submit(int)
        assert job.cancel()
        time.sleep(0.04)
        assert job.cancelled()
        assert pool.stats().cancelled == 1
    pool.stop()
    assert reports == []


def test_a_refused_job_does_not_time_out_afterwards():
    pool = ThreadPool(max_workers=1, queue_size=1, when_full="refuse")
    with held(pool):
        pool.post(int)
        with pytest.raises(RuntimeError):
            pool.options(queue_timeout=0.01).submit(int)
        time.sleep(0.03)
        assert pool.stats().cancelled == 0
        assert pool.stats().queued == 1
    pool.stop()


def test_a_callback_is_told_of_a_time_out_by_a_worker(single):
    calls = []
    came = threading.Event()

    def callback(ok, outcome):
        calls.append((ok, type(outcome), threading.current_thread().name))
        came.set()

    with held(single):
        view = single.options(queue_timeout=0.01)
        view.add_1job_with_callback(callback, int)
        wait_for(lambda: single.stats().cancelled == 1)
    assert came.wait(PATIENCE)
    assert calls == [(False, QueueTimeout, "single_0")]


async def test_queue_timeouts_in_tasks(single):
    view = single.aio.options(queue_timeout=0.01)
    with held(single):
        with pytest.raises(QueueTimeout):
            await view.run(int)
        job = await view.submit(int)
        with pytest.raises(QueueTimeout):
            await job
    assert await view.run(lambda: 4) == 4


# -- time in the run ---------------------------------------------------------------


def test_a_job_over_its_time_is_interrupted(single):
    job = single.options(run_timeout=0.02).submit(spin, PATIENCE)
    with pytest.raises(RunTimeout, match=r"0\.02"):
        job.result(PATIENCE)
    assert single.run(lambda: 1) == 1
    wait_for(lambda: single.stats().workers == 1)


def test_a_job_within_its_time_is_left_alone(single):
    view = single.options(run_timeout=PATIENCE)
    assert view.run(lambda: 1) == 1
    with pytest.raises(ValueError, match="from a job"):
        view.run(raise_it, ValueError)
    assert view.submit(raise_it, SystemExit).exception(PATIENCE).code == "from a job"


def test_a_worker_that_is_stuck_is_replaced_and_its_capacity_is_back(single):
    stuck = Stuck()
    job = single.options(run_timeout=0.02).submit(stuck, "late result")
    with pytest.raises(RunTimeout):
        job.result(PATIENCE)
    assert single.submit(lambda: 1).result(PATIENCE) == 1
    assert single.stats().workers == 1
    stuck.free()
    wait_for(lambda: single.stats().late == 1)
    assert single.stats().workers == 1
    with pytest.raises(RunTimeout):
        job.result()
    assert single.stop()


def test_many_stuck_workers_are_all_replaced():
    pool = ThreadPool(max_workers=3, interrupt_grace=0.01)
    stuck = [Stuck() for _ in range(6)]
    jobs = [pool.options(run_timeout=0.01).submit(one) for one in stuck]
    for job in jobs:
        with pytest.raises(RunTimeout):
            job.result(PATIENCE)
    with held(pool, 3):
        pool.post(int)
        assert pool.stats().workers == 3
    for one in stuck:
        one.free()
    wait_for(lambda: pool.stats().late == 6)
    pool.stop()
    stats = pool.stats()
    assert stats.done == 6 + 3 + 1
    assert stats.failed == 6


def test_a_stopped_pool_names_the_jobs_that_were_given_up(single):
    stuck = Stuck()
    job = single.options(run_timeout=0.01).submit(stuck)
    assert isinstance(job.exception(PATIENCE), RunTimeout)
    report = single.stop()
    assert not report
    assert len(report.still_running) == 1
    stuck.free()
    wait_for(lambda: single.stats().late == 1)
    assert single.stop()


def test_a_callback_is_told_of_a_stuck_job(single):
    single.start()
    stuck = Stuck()
    calls = []
    view = single.options(run_timeout=0.01)
    view.add_1job_with_callback(lambda *call: calls.append(call), stuck)
    wait_for(lambda: calls)
    assert not calls[0][0]
    assert isinstance(calls[0][1], RunTimeout)
    stuck.free()
    wait_for(lambda: single.stats().late == 1)
    assert len(calls) == 1


async def test_run_timeouts_in_tasks(single):
    view = single.aio.options(run_timeout=0.02)
    with pytest.raises(RunTimeout):
        await view.run(spin, PATIENCE)
    stuck = Stuck()
    with pytest.raises(RunTimeout):
        await view.run(stuck)
    assert await single.aio.run(lambda: 3) == 3
    stuck.free()
    await state(lambda: single.stats().late == 1)


# -- interrupts --------------------------------------------------------------------


def test_an_interrupted_job_counts_as_cancelled(single):
    inside = threading.Event()

    def job():
        inside.set()
        spin(PATIENCE)

    job = single.submit(job)
    assert inside.wait(PATIENCE)
    assert job.interrupt() is True
    with pytest.raises(JobCancelled):
        job.result(PATIENCE)
    assert job.interrupt() is False
    assert single.run(lambda: 1) == 1


def test_an_interrupt_can_bring_any_exception(single):
    inside = threading.Event()

    def job():
        try:
            inside.set()
            spin(PATIENCE)
        except KeyError as error:
            return error.args

    job = single.submit(job)
    assert inside.wait(PATIENCE)
    assert job.interrupt(KeyError("stop"))
    assert job.result(PATIENCE) == ("stop",)


def test_what_has_not_started_or_has_ended_cannot_be_interrupted(single):
    with held(single):
        job = single.submit(int)
        assert job.interrupt() is False
    assert job.result(PATIENCE) == 0
    assert job.interrupt() is False


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(400, id="short"),
        pytest.param(20_000, id="long", marks=pytest.mark.long),
    ],
)
def test_interrupts_at_random_phases_never_leave_their_job(rounds):
    """Every job ends once, none is hit by the interrupt of another, no worker dies."""
    reports = []
    pool = ThreadPool(2, 2, on_unhandled=lambda *what: reports.append(what))
    pool.start()
    threads = set(workers_of(pool))

    def victim(number):
        spin(0.0002 * (number % 3))
        return number

    for number in range(rounds):
        job = pool.submit(victim, number)
        bystander = pool.submit(victim, -number)
        for _ in range(number % 5):
            job.interrupt()
        error = job.exception(PATIENCE)
        if error is None:
            assert job.result() == number
        else:
            assert isinstance(error, JobCancelled)
            assert isinstance(error.__cause__, JobInterrupted)
        assert bystander.result(PATIENCE) == -number
    assert set(workers_of(pool)) == threads
    pool.stop()
    assert reports == []
    assert pool.stats().done == 2 * rounds


def test_a_forced_stop_ends_although_a_job_is_stuck():
    pool = ThreadPool(max_workers=2, interrupt_grace=0.02)
    stuck = Stuck()
    job = pool.submit(stuck)
    assert stuck.inside.wait(PATIENCE)
    spinning = pool.submit(spin, PATIENCE)
    wait_for(spinning.running)
    report = pool.stop(force_stop=True)
    assert not report
    assert len(report.still_running) == 1
    for one in (job, spinning):
        with pytest.raises(JobCancelled):
            one.result(PATIENCE)
    stuck.free()
    wait_for(lambda: pool.stats().late == 1)
    assert pool.stop()
    pool.start()
    assert pool.run(lambda: 1) == 1
    pool.stop()


# -- jobs that wait for jobs -------------------------------------------------------


def nest(pool, depth):
    return 0 if not depth else 1 + pool.submit(nest, pool, depth - 1).result()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_jobs_may_wait_for_jobs_of_their_own_full_pool(workers):
    with ThreadPool(max_workers=workers) as pool:
        assert pool.submit(nest, pool, 12).result(PATIENCE) == 12
        jobs = [pool.submit(nest, pool, 4) for _ in range(10)]
        assert [job.result(PATIENCE) for job in jobs] == [4] * 10
    assert pool.stats().done == 13 + 50


def test_the_seeds_face_nests_too():
    with ThreadPool(1, 1) as pool:
        pool.start()
        assert pool.run(lambda: pool.run(lambda: pool.run(lambda: 7))) == 7


@pytest.mark.parametrize(
    "stream",
    [
        lambda pool: pool.map(abs, range(20)),
        lambda pool: pool.map(abs, range(20), buffersize=2),
        lambda pool: pool.each(abs, range(20)),
        lambda pool: pool.each(abs, range(20), ordered=False),
        lambda pool: pool.each(abs, range(20), limit=1),
        lambda pool: pool.options(urgency=0).map(abs, range(20)),
    ],
)
def test_streams_inside_of_a_job_of_a_full_pool(single, stream):
    assert sorted(single.submit(lambda: list(stream(single))).result(PATIENCE)) == (
        list(range(20))
    )


def test_a_job_that_fails_inside_of_another_fails_for_it_alone(single):
    def outer():
        inner = single.submit(raise_it, SystemExit)
        with pytest.raises(SystemExit):
            inner.result()
        return "outer"

    assert single.submit(outer).result(PATIENCE) == "outer"
    assert single.stats().failed == 1


def test_all_workers_may_come_to_wait_after_one_began_to():
    """A waits for C while a worker is idle, then that takes B, which waits for A."""
    pool = ThreadPool(max_workers=2)
    waits = threading.Event()
    gate = Gate()

    def first():
        gate()
        inner = pool.submit(lambda: "inner")
        waits.set()
        return inner.result()

    outer = pool.submit(first)
    gate.await_inside()
    assert pool.submit(int).result(PATIENCE) == 0
    wait_for(lambda: pool.stats().idle == 1)
    order = []
    original = pool.core.run_here

    def run_here(record):
        # The first look is made while the other worker still seems to be free.
        order.append(record)
        return False if len(order) == 1 else original(record)

    pool.core.run_here = run_here
    second = Gate()
    blocker = pool.submit(lambda: (second(), outer.result())[1])
    second.await_inside()
    gate.open()
    assert waits.wait(PATIENCE)
    second.open()
    assert outer.result(PATIENCE) == "inner"
    assert blocker.result(PATIENCE) == "inner"
    pool.stop()


def test_a_nested_job_knows_who_it_is(single):
    seen = []

    def outer():
        inner = single.submit(lambda: seen.append(current_job()))
        inner.result()
        seen.append(inner)
        seen.append(current_job())

    job = single.submit(outer)
    job.result(PATIENCE)
    assert seen == [seen[1], seen[1], job]


def test_a_time_limit_of_a_nested_job_does_not_hit_the_outer_one(single):
    def outer():
        try:
            single.options(run_timeout=0.01).submit(time.sleep, 0.05).result()
        except RunTimeout:
            pass
        return "outer"

    job = single.submit(outer)
    assert job.result(PATIENCE) == "outer"
    assert single.run(lambda: 1) == 1
    assert single.stats().workers == 1


def test_waiting_with_a_time_limit_inside_of_a_job_does_not_run_it_here(single):
    def outer():
        inner = single.submit(threading.current_thread)
        with pytest.raises(JobTimeout):
            inner.result(0.01)
        return inner

    inner = single.submit(outer).result(PATIENCE)
    assert inner.result(PATIENCE).name == "single_0"


def test_a_thread_that_is_no_worker_never_runs_the_job_itself(single):
    with held(single) as gate:
        job = single.submit(threading.current_thread)
        waiting = in_thread(job.result)
        wait_for(lambda: vars(job).get("_parked"))
        gate.open()
        assert waiting() in workers_of(single)


def test_what_still_runs_is_named_by_its_function():
    pool = ThreadPool(4, 8, interrupt_grace=0.01)
    pool.start()
    one, two, three = Stuck(), Stuck(), Stuck()

    def stuck():
        return three()

    pool.post(one)
    pool.submit(functools.partial(two, 1))
    pool.options(run_timeout=PATIENCE).submit(stuck)
    for each in (one, two, three):
        each.inside.wait(PATIENCE)
    report = pool.stop(force_stop=True)
    for each in (one, two, three):
        each.free()
    assert sorted(report.still_running) == ["Stuck", "Stuck", stuck.__qualname__]
    wait_for(lambda: pool.stats().late == 3)
    assert pool.stop().still_running == ()
