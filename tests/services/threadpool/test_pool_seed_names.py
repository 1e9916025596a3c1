"""The names and behaviours of the older library that must work."""

import contextvars
import inspect
import logging
import threading
import time

import anyio
import pytest
from pool_tools import (
    PATIENCE,
    STORM,
    Gate,
    held,
    in_thread,
    raise_it,
    wait_for,
    workers_of,
)

from cup.errors import InvalidType, InvalidValue, JobCancelled, PoolClosed
from cup.services.threadpool import AsyncThreadPool, PoolState, ThreadPool

color = contextvars.ContextVar("color", default="none")


@pytest.fixture
def pool():
    pool = ThreadPool(1, 3, name="seed")
    pool.start()
    yield pool
    pool.stop()


def answers(number=1):
    """Give a callback and a function that waits for so many calls of it."""
    calls = []
    came = threading.Semaphore(0)

    def callback(ok, outcome):
        calls.append((ok, outcome))
        came.release()

    def collect():
        for _ in range(number):
            assert came.acquire(timeout=PATIENCE)
        return calls

    return callback, collect


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("start", "(self)"),
        ("add_1job", "(self, func, *args, **kwargs)"),
        (
            "add_1job_with_callback",
            "(self, result_callback, func, *args, **kwargs)",
        ),
        ("submit", "(self, fn, /, *args, **kwargs)"),
        ("adjust_poolsize", "(self, minthreads=None, maxthreads=None)"),
        ("resize", "(self, minthreads=None, maxthreads=None)"),
        ("stop", "(self, force_stop=False)"),
        ("try_stop", "(self, check_interval=0.1)"),
        ("get_stats", "(self)"),
        ("dump_stats", "(self, print_stdout=False)"),
        ("start1worker", "(self)"),
        ("stop1worker", "(self)"),
    ],
)
def test_signatures_are_those_of_the_contract(name, parameters):
    signature = inspect.signature(getattr(ThreadPool, name))
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
    ]
    empty = inspect.Signature.empty
    assert str(signature.replace(parameters=bare, return_annotation=empty)) == (
        parameters
    )


def test_the_constructor_takes_the_seeds_arguments_by_place():
    pool = ThreadPool(2, 4, "io", True)
    pool.start()
    threads = workers_of(pool)
    assert len(threads) == 2
    assert all(thread.daemon for thread in threads)
    assert pool.name == "io"
    assert {thread.name for thread in threads} == {"io_0", "io_1"}
    pool.stop()


def test_the_defaults_are_five_and_twenty_workers():
    pool = ThreadPool()
    assert (pool.core.minimum, pool.core.maximum) == (5, 20)
    assert ThreadPool(3).core.maximum == 20


def test_max_workers_means_a_minimum_of_zero():
    pool = ThreadPool(max_workers=3)
    assert (pool.core.minimum, pool.core.maximum) == (0, 3)
    pool = ThreadPool(2, max_workers=3)
    assert (pool.core.minimum, pool.core.maximum) == (2, 3)
    assert ThreadPool(max_workers=None).core.minimum == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"minthreads": -1}, InvalidValue),
        ({"minthreads": 3, "maxthreads": 2}, InvalidValue),
        ({"maxthreads": 0}, InvalidValue),
        ({"max_workers": 0}, InvalidValue),
        ({"max_workers": -1}, InvalidValue),
        ({"max_workers": "3"}, InvalidType),
        ({"maxthreads": 3, "max_workers": 3}, InvalidType),
        ({"minthreads": 2.0}, InvalidType),
        ({"minthreads": True}, InvalidType),
        ({"queue_size": 0}, InvalidValue),
        ({"queue_size": "1"}, InvalidType),
        ({"when_full": "explode"}, InvalidValue),
        ({"room_timeout": float("nan")}, InvalidValue),
        ({"keep_alive": float("nan")}, InvalidValue),
        ({"keep_alive": "long"}, InvalidType),
        ({"initializer": 3}, InvalidType),
        ({"on_unhandled": 3}, InvalidType),
        ({"thread_name_prefix": 3}, InvalidType),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_constructor(arguments, error):
    with pytest.raises(error):
        ThreadPool(**arguments)


def test_start_starts_the_minimum_and_does_nothing_on_a_running_pool():
    pool = ThreadPool(3, 5)
    assert pool.stats().state is PoolState.NEW
    pool.start()
    pool.start()
    assert pool.get_stats()["thread_num"] == 3
    assert pool.stats().state is PoolState.RUNNING
    pool.stop()


def test_start_while_stopping_is_refused(pool):
    with held(pool):
        assert not pool.try_stop(0)
        with pytest.raises(RuntimeError, match="still stopping"):
            pool.start()


def test_a_stopped_pool_starts_anew_with_the_same_number_of_workers():
    pool = ThreadPool(2, 3)
    for _ in range(4):
        pool.start()
        assert pool.get_stats()["thread_num"] == 2
        with held(pool, 3):
            pool.add_1job(int)
            assert pool.get_stats()["thread_num"] == 3, "the maximum holds"
        assert pool.run(lambda: 5) == 5
        assert pool.stop()
        assert pool.stats().state is PoolState.STOPPED


def test_jobs_added_before_start_wait_for_it():
    pool = ThreadPool(1, 2)
    ran = []
    for number in range(5):
        pool.add_1job(ran.append, number)
    assert pool.get_stats() == {
        "queue_len": 5,
        "waiters_num": 0,
        "working_num": 0,
        "thread_num": 0,
    }
    pool.start()
    pool.stop()
    assert sorted(ran) == list(range(5))


def test_jobs_added_before_start_run_on_a_pool_with_no_minimum():
    pool = ThreadPool(0, 2)
    ran = []
    for number in range(5):
        pool.add_1job(ran.append, number)
    pool.start()
    wait_for(lambda: len(ran) == 5)
    pool.stop()


def test_stop_of_a_pool_that_was_never_started_runs_what_was_queued():
    pool = ThreadPool(0, 2)
    ran = []
    pool.add_1job(ran.append, 1)
    assert pool.stop()
    assert ran == [1]
    pool.start()
    pool.add_1job(ran.append, 2)
    pool.stop()
    assert ran == [1, 2]


@pytest.mark.parametrize(
    "submit",
    [
        lambda pool: pool.add_1job(int),
        lambda pool: pool.post(int),
        lambda pool: pool.submit(int),
        lambda pool: pool.run(int),
        lambda pool: pool.add_1job_with_callback(print, int),
        lambda pool: pool.map(int, "1"),
        lambda pool: list(pool.each(int, "1")),
        lambda pool: pool.options(urgency=0).submit(int),
        lambda pool: pool.options(run_timeout=1).post(int),
    ],
)
def test_jobs_after_stop_are_refused(submit):
    pool = ThreadPool(1, 2)
    pool.start()
    pool.stop()
    for _ in range(3):
        with pytest.raises(PoolClosed):
            submit(pool)
    assert issubclass(PoolClosed, RuntimeError)
    assert pool.stats().queued == 0
    pool.start()
    pool.add_1job(int)
    assert pool.stop()
    assert pool.stats().queued == 0
    assert pool.stats().done == 1


def test_add_1job_returns_nothing_and_passes_arguments(pool):
    done = threading.Event()
    got = []

    def job(*args, **kwargs):
        got.append((args, kwargs))
        done.set()

    assert pool.add_1job(job, 1, fn=2, result_callback=4) is None
    assert done.wait(PATIENCE)
    assert got == [((1,), {"fn": 2, "result_callback": 4})]


def test_the_callback_gets_the_real_result(pool):
    callback, collect = answers()
    pool.add_1job_with_callback(callback, lambda a, b: a * b, 6, b=7)
    assert collect() == [(True, 42)]


def test_the_callback_can_be_named(pool):
    callback, collect = answers()
    pool.add_1job_with_callback(result_callback=callback, func=int)
    assert collect() == [(True, 0)]


@pytest.mark.parametrize("kind", STORM)
def test_the_callback_gets_the_exception_and_the_worker_lives(pool, kind):
    callback, collect = answers()
    pool.add_1job_with_callback(callback, raise_it, kind)
    [(ok, error)] = collect()
    assert not ok
    assert type(error) is kind
    assert pool.run(lambda: 1) == 1
    assert pool.get_stats()["thread_num"] >= 1


def test_the_callback_runs_in_a_worker_in_the_jobs_context(pool):
    seen = []
    done = threading.Event()

    def callback(ok, outcome):
        seen.append((threading.current_thread().name, color.get()))
        done.set()

    def job():
        color.set("changed by the job")

    color.set("at submit")
    pool.add_1job_with_callback(callback, job)
    color.set("later")
    assert done.wait(PATIENCE)
    assert seen[0][0].startswith("seed_")
    assert seen[0][1] == "changed by the job"


def test_the_callback_of_a_cancelled_job_comes_once_from_a_worker():
    pool = ThreadPool(1, 1, name="one")
    pool.start()
    threads = []
    callback, collect = answers(3)

    def from_a_worker(ok, outcome):
        threads.append((threading.current_thread().name, color.get()))
        callback(ok, outcome)

    color.set("at submit")
    with held(pool) as gate:
        for _ in range(3):
            pool.add_1job_with_callback(from_a_worker, print, "must not run")
        report = in_thread(pool.stop, True)
        wait_for(lambda: pool.stats().cancelled == 3)
        gate.open()
        assert report().cancelled == 3
    outcomes = collect()
    assert [ok for ok, _ in outcomes] == [False] * 3
    assert all(type(error) is JobCancelled for _, error in outcomes)
    assert threads == [("one_0", "at submit")] * 3


def test_a_second_forced_stop_does_not_lose_callbacks():
    pool = ThreadPool(1, 1)
    pool.start()
    callback, collect = answers(3)
    with held(pool) as gate:
        for _ in range(3):
            pool.add_1job_with_callback(callback, print, "must not run")
        reports = [in_thread(pool.stop, True) for _ in range(3)]
        wait_for(lambda: pool.stats().cancelled == 3)
        gate.open()
        assert sum(report().cancelled for report in reports) == 3
    assert len(collect()) == 3


def test_a_callback_that_raises_is_reported_and_harmless():
    reports = []
    pool = ThreadPool(1, 1, on_unhandled=lambda *what: reports.append(what))
    pool.start()
    for kind in STORM:
        pool.add_1job_with_callback(lambda ok, kind: raise_it(kind), lambda k=kind: k)
    assert pool.run(lambda: 1) == 1
    pool.stop()
    assert [type(error) for error, _ in reports] == STORM
    assert all("callback" in what for _, what in reports)


def test_what_cannot_be_called_is_refused_at_the_call(pool):
    for refused in (
        lambda: pool.add_1job(3),
        lambda: pool.submit(None),
        lambda: pool.add_1job_with_callback(None, int),
        lambda: pool.add_1job_with_callback(print, "int"),
        lambda: pool.options(urgency=0).submit("int"),
    ):
        with pytest.raises(InvalidType):
            refused()
    assert pool.stats().queued == 0


def test_growing_a_busy_pool_starts_workers_at_once():
    pool = ThreadPool(1, 1)
    pool.start()
    gate = Gate()
    for _ in range(4):
        pool.add_1job(gate)
    gate.await_inside(1)
    assert pool.stats().queued == 3
    pool.adjust_poolsize(1, 4)
    gate.await_inside(3)
    gate.open()
    pool.stop()


def test_raising_the_minimum_starts_workers_at_once(pool):
    pool.adjust_poolsize(minthreads=3)
    assert pool.get_stats()["thread_num"] == 3


def test_shrinking_a_busy_pool_lets_workers_go_after_their_jobs():
    pool = ThreadPool(4, 4)
    pool.start()
    with held(pool, 4):
        pool.adjust_poolsize(1, 2)
        assert pool.get_stats()["thread_num"] == 4
    wait_for(lambda: pool.get_stats()["thread_num"] == 2)
    with held(pool, 2):
        pool.add_1job(int)
        assert pool.get_stats()["thread_num"] == 2
    pool.stop()


def test_shrinking_an_idle_pool_lets_workers_go_at_once():
    pool = ThreadPool(4, 4, keep_alive=None)
    pool.start()
    wait_for(lambda: pool.stats().idle == 4)
    pool.adjust_poolsize(1, 1)
    wait_for(lambda: pool.get_stats()["thread_num"] == 1)
    pool.adjust_poolsize(4, 4)
    assert pool.get_stats()["thread_num"] == 4
    pool.stop()


def test_lowering_the_minimum_lets_idle_workers_retire():
    pool = ThreadPool(4, 4, keep_alive=0.01)
    pool.start()
    wait_for(lambda: pool.stats().idle == 4)
    pool.adjust_poolsize(minthreads=1)
    wait_for(lambda: pool.get_stats()["thread_num"] == 1)
    pool.stop()


def test_bounds_stay_as_they_are_unless_given(pool):
    pool.adjust_poolsize(maxthreads=7)
    assert (pool.core.minimum, pool.core.maximum) == (1, 7)
    pool.adjust_poolsize(minthreads=2)
    assert (pool.core.minimum, pool.core.maximum) == (2, 7)
    pool.adjust_poolsize()
    assert (pool.core.minimum, pool.core.maximum) == (2, 7)


@pytest.mark.parametrize(
    ("bounds", "error"),
    [
        ((-1, None), InvalidValue),
        ((None, 0), InvalidValue),
        ((3, 2), InvalidValue),
        ((9, None), InvalidValue),
        (("1", None), InvalidType),
        ((None, 2.5), InvalidType),
    ],
)
def test_bounds_without_sense_are_refused_and_change_nothing(pool, bounds, error):
    with pytest.raises(error):
        pool.adjust_poolsize(*bounds)
    assert (pool.core.minimum, pool.core.maximum) == (1, 3)


def test_resizing_a_stopped_pool_counts_at_the_next_start():
    pool = ThreadPool(2, 2)
    pool.start()
    pool.stop()
    pool.adjust_poolsize(1, 5)
    pool.start()
    assert pool.get_stats()["thread_num"] == 1
    with held(pool, 5):
        assert pool.get_stats()["thread_num"] == 5
    pool.stop()
    pool.adjust_poolsize(1, 1)
    pool.start()
    with held(pool, 1):
        pool.add_1job(int)
        assert pool.get_stats()["thread_num"] == 1
    pool.stop()


def test_stop_finishes_what_is_queued_and_joins():
    pool = ThreadPool(1, 1)
    pool.start()
    ran = []
    with held(pool) as gate:
        for number in range(50):
            pool.add_1job(ran.append, number)
        threads = workers_of(pool)
        report = in_thread(pool.stop)
        wait_for(lambda: pool.stats().state is PoolState.STOPPING)
        gate.open()
        assert report()
    assert ran == list(range(50))
    assert not any(thread.is_alive() for thread in threads)
    report = report()
    assert (report.done, report.cancelled, report.still_running) == (51, 0, ())


def test_a_forced_stop_cancels_the_queue_and_says_so():
    pool = ThreadPool(1, 1)
    pool.start()
    with held(pool) as gate:
        jobs = [pool.submit(print, "must not run") for _ in range(7)]
        report = in_thread(pool.stop, True)
        wait_for(lambda: all(job.cancelled() for job in jobs))
        gate.open()
        assert report()
    assert report().cancelled == 7
    assert report().still_running == ()
    assert pool.stats().cancelled == 7
    assert pool.get_stats() == dict.fromkeys(pool.get_stats(), 0)


def test_stop_again_is_harmless(pool):
    assert pool.stop()
    assert pool.stop()
    assert pool.stop(force_stop=True)
    assert pool.try_stop(0)


def test_many_threads_may_stop_at_once():
    pool = ThreadPool(2, 4)
    pool.start()
    for number in range(100):
        pool.add_1job(int, number)
    reports = [in_thread(pool.stop) for _ in range(6)]
    assert all(report() for report in reports)
    assert pool.stats().done == 100


def test_try_stop_waits_no_longer_than_it_says_and_lets_the_queue_run(pool):
    ran = []
    with held(pool, 3):
        pool.add_1job(ran.append, 1)
        began = time.monotonic()
        assert pool.try_stop() is False
        assert pool.try_stop(0) is False
        assert pool.try_stop(-5) is False
        assert time.monotonic() - began < 5
        with pytest.raises(PoolClosed):
            pool.add_1job(int)
    wait_for(lambda: pool.try_stop(0.05))
    assert ran == [1]
    assert pool.try_stop() is True
    assert pool.get_stats()["thread_num"] == 0


def test_try_stop_checks_its_argument(pool):
    with pytest.raises(InvalidValue):
        pool.try_stop(float("nan"))
    with pytest.raises(InvalidType):
        pool.try_stop("soon")
    pool.add_1job(int)


def test_stop_inside_of_a_job_leaves_out_its_own_worker(pool):
    report = pool.submit(pool.stop).result(PATIENCE)
    assert report.cancelled == 0
    wait_for(lambda: pool.stats().state is PoolState.STOPPED)


def test_stop_inside_of_the_only_worker_leaves_the_queue_to_it():
    pool = ThreadPool(1, 1)
    pool.start()
    go = threading.Event()
    ran = []

    def job():
        assert go.wait(PATIENCE)
        pool.stop()
        ran.append("stopped")

    stopping = pool.submit(job)
    last = pool.submit(ran.append, "queued")
    go.set()
    stopping.result(PATIENCE)
    last.result(PATIENCE)
    assert sorted(ran) == ["queued", "stopped"]
    assert pool.stop()


def test_two_jobs_may_stop_their_pool_at_once():
    pool = ThreadPool(2, 2)
    pool.start()
    both = threading.Barrier(2)

    def job():
        both.wait(PATIENCE)
        pool.stop()
        return True

    jobs = [pool.submit(job) for _ in range(2)]
    assert [job.result(PATIENCE) for job in jobs] == [True, True]
    assert pool.stop()


def test_try_stop_inside_of_a_job_is_never_true(pool):
    assert pool.run(pool.try_stop, 0.01) is False
    assert pool.stop()


def test_stats_have_the_old_names_and_true_values():
    pool = ThreadPool(2, 3)
    pool.start()
    wait_for(lambda: pool.stats().idle == 2)
    with held(pool, 2):
        assert pool.get_stats() == {
            "queue_len": 0,
            "waiters_num": 0,
            "working_num": 2,
            "thread_num": 2,
        }
        with held(pool):
            pool.add_1job(int)
            pool.add_1job(int)
            assert pool.get_stats() == {
                "queue_len": 2,
                "waiters_num": 0,
                "working_num": 3,
                "thread_num": 3,
            }
    wait_for(lambda: pool.get_stats()["waiters_num"] == 3)
    pool.stop()


def test_dump_stats_logs_and_returns_them(pool, caplog, capsys):
    wait_for(lambda: pool.stats().idle == 1)
    with caplog.at_level(logging.INFO, "cup.threadpool"):
        assert pool.dump_stats() == pool.get_stats()
        assert capsys.readouterr().out == ""
        pool.dump_stats(print_stdout=True)
    assert "thread_num 1" in caplog.text
    assert "'seed'" in capsys.readouterr().out


def test_one_worker_more_within_the_maximum(pool):
    assert pool.start1worker() is True
    assert pool.start1worker() is True
    assert pool.get_stats()["thread_num"] == 3
    assert pool.start1worker() is False
    assert pool.get_stats()["thread_num"] == 3


def test_one_worker_less_within_the_minimum(pool):
    assert pool.stop1worker() is False
    pool.start1worker()
    assert pool.stop1worker() is True
    assert pool.stop1worker() is False
    wait_for(lambda: pool.get_stats()["thread_num"] == 1)
    assert pool.run(lambda: 5) == 5
    with held(pool, 3):
        assert pool.get_stats()["thread_num"] == 3, "its place is free again"


def test_one_worker_more_needs_a_running_pool():
    pool = ThreadPool(0, 2)
    assert pool.start1worker() is False
    assert pool.stop1worker() is False
    pool.start()
    pool.stop()
    pool.start1worker()
    wait_for(lambda: pool.get_stats()["thread_num"] == 0)
    pool.start()
    with held(pool, 2):
        pool.add_1job(int)
        assert pool.get_stats()["thread_num"] == 2
    pool.stop()


def test_who_enters_a_pool_need_not_start_it():
    ran = threading.Event()
    with ThreadPool(max_workers=1) as pool:
        pool.post(ran.set)
        assert ran.wait(PATIENCE)
        pool.stop()
        with pytest.raises(PoolClosed), pool:  # nor does that start it anew
            pool.post(ran.set)


async def test_which_tasks_enter_need_not_start_it():
    ran = threading.Event()
    async with AsyncThreadPool(max_workers=1) as pool:
        await pool.post(ran.set)
        with anyio.fail_after(PATIENCE):
            while not ran.is_set():
                await anyio.sleep(0.001)


def test_the_pool_is_a_context_manager_that_finishes_its_work():
    ran = []
    with ThreadPool(1, 2) as pool:
        assert pool.submit(lambda: 3).result(PATIENCE) == 3
        for number in range(20):
            pool.add_1job(ran.append, number)
    assert len(ran) == 20
    assert pool.stats().state is PoolState.STOPPED
