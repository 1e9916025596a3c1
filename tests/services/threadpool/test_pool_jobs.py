"""A job is a future, keeps nothing alive, and reports what nobody looked at."""

import asyncio
import concurrent.futures
import contextvars
import copy
import gc
import itertools
import logging
import pickle
import threading
import weakref
from concurrent.futures import FIRST_COMPLETED, Future, InvalidStateError

import pytest
from pool_tools import (
    PATIENCE,
    STORM,
    held,
    in_thread,
    in_threads,
    raise_it,
    state,
    switching_fast,
    wait_for,
)

from cup.errors import InvalidType, InvalidValue, JobCancelled, JobTimeout
from cup.services.threadpool import (
    AsyncThreadPool,
    Job,
    PoolExecutor,
    ThreadPool,
)

color = contextvars.ContextVar("color", default="none")


@pytest.fixture
def pool():
    pool = ThreadPool(max_workers=2, name="jobs")
    yield pool
    pool.stop()


@pytest.fixture
def single():
    pool = ThreadPool(max_workers=1, name="single")
    yield pool
    pool.stop()


class Thing:
    """Something that can be referred to weakly."""


# -- results and exceptions --------------------------------------------------------


def test_a_job_is_a_future_with_the_result(pool):
    job = pool.submit(divmod, 7, 3)
    assert isinstance(job, Job)
    assert isinstance(job, Future)
    assert job.result(PATIENCE) == (2, 1)
    assert job.exception() is None
    assert (job.done(), job.running(), job.cancelled()) == (True, False, False)


@pytest.mark.parametrize("kind", STORM)
def test_every_exception_reaches_who_asks_and_no_worker_dies(single, kind):
    job = single.submit(raise_it, kind)
    with pytest.raises(kind):
        job.result(PATIENCE)
    assert type(job.exception()) is kind
    thread = single.run(threading.current_thread)
    for _ in range(5):
        assert type(single.submit(raise_it, kind).exception(PATIENCE)) is kind
        assert single.run(threading.current_thread) is thread


def test_the_options_of_a_view_never_meet_the_users_keywords(pool):
    def job(**kwargs):
        return kwargs

    given = dict.fromkeys(["fn", "self", "urgency", "run_timeout", "func", "items"], 1)
    assert pool.submit(job, **given).result(PATIENCE) == given
    assert pool.options(run_timeout=PATIENCE).run(job, **given) == given


def test_waiting_for_a_result_has_a_time_limit(single):
    with held(single):
        job = single.submit(int)
        for timeout in (0, -1, 0.001):
            with pytest.raises(JobTimeout):
                job.result(timeout)
            with pytest.raises(concurrent.futures.TimeoutError):
                job.exception(timeout)
            with pytest.raises(TimeoutError):
                job.result(timeout)
    assert job.result(PATIENCE) == 0
    assert job.result(0) == 0


def test_the_states_of_a_job_follow_each_other(single):
    with held(single):
        job = single.submit(int)
        assert (job.done(), job.running(), job.cancelled()) == (False, False, False)
    assert job.result(PATIENCE) == 0
    assert job.done()
    with held(single) as gate:
        queued = single.submit(int)
        running = next(iter(single.core.running.values()))
        assert (running.done(), running.running()) == (False, True)
        assert not running.cancel()
        gate.open()
    queued.result(PATIENCE)


def test_context_variables_travel_with_every_job(pool):
    color.set("red")
    job = pool.submit(color.get)
    posted = []
    pool.post(lambda: posted.append(color.get()))
    mapped = pool.map(lambda _: color.get(), range(2))
    streamed = pool.each(lambda _: color.get(), range(2))
    color.set("blue")
    assert job.result(PATIENCE) == "red"
    assert list(mapped) == ["red", "red"]
    assert list(streamed) == ["blue", "blue"], "queued while it is consumed"
    wait_for(lambda: posted == ["red"])
    pool.run(color.set, "green")
    assert color.get() == "blue"


def test_jobs_do_not_see_each_others_context(single):
    mine = color.get()
    single.run(color.set, "green")
    assert single.run(color.get) == mine


# -- callbacks ---------------------------------------------------------------------


def test_done_callbacks_run_once_in_their_order_in_the_worker(single):
    calls = []
    with held(single):
        job = single.submit(int)
        for number in range(3):
            job.add_done_callback(
                lambda done, n=number: calls.append(
                    (n, done is job, threading.current_thread().name)
                )
            )
    job.result(PATIENCE)
    single.run(int)
    assert calls == [(number, True, "single_0") for number in range(3)]
    job.add_done_callback(lambda done: calls.append("at once"))
    assert calls[-1] == "at once"


def test_a_done_callback_that_raises_hides_no_other(single, caplog):
    calls = []
    with held(single):
        job = single.submit(int)
        for kind in STORM:
            job.add_done_callback(lambda _, k=kind: raise_it(k))
            job.add_done_callback(lambda _, k=kind: calls.append(k))
    assert job.result(PATIENCE) == 0
    single.run(int)
    assert calls == STORM
    assert "exception calling callback" in caplog.text
    assert single.run(int) == 0


def test_a_done_callback_may_wait_for_other_jobs(pool):
    """While it lasts, other workers are woken for other jobs."""
    answers = []
    done = threading.Event()

    def callback(_):
        answers.append(pool.submit(int, "7").result(PATIENCE))
        done.set()

    with held(pool, 2):
        pass
    wait_for(lambda: pool.stats().idle == 2)
    for _ in range(20):
        done.clear()
        with held(pool) as gate:
            (running,) = pool.core.running.values()
            running.add_done_callback(callback)
            gate.open()
        assert done.wait(PATIENCE)
    assert answers == [7] * 20


def test_a_cancel_runs_the_callbacks_at_once(single):
    calls = []
    with held(single):
        job = single.submit(int)
        job.add_done_callback(calls.append)
        assert job.cancel()
        assert calls == [job]


def test_callbacks_added_while_the_job_ends_run_exactly_once(pool):
    with switching_fast():
        for _ in range(300):
            calls = []
            job = pool.submit(int)
            for number in range(4):
                job.add_done_callback(lambda _, n=number, c=calls: c.append(n))
            job.result(PATIENCE)
            wait_for(lambda c=calls: len(c) == 4)
            assert sorted(calls) == [0, 1, 2, 3]


# -- cancelling --------------------------------------------------------------------


def test_a_cancelled_job_leaves_the_queue_and_never_runs(single):
    ran = []
    with held(single):
        job = single.submit(ran.append, 1)
        assert single.stats().queued == 1
        assert job.cancel() is True
        assert job.cancel() is True
        assert (job.done(), job.running(), job.cancelled()) == (True, False, True)
        assert single.stats().queued == 0
        with pytest.raises(JobCancelled):
            job.result()
        with pytest.raises(concurrent.futures.CancelledError):
            job.exception(0)
    single.run(int)
    assert ran == []
    assert single.stats().cancelled == 1


def test_a_job_that_waits_is_told_of_the_cancel(single):
    with held(single):
        job = single.submit(int)
        waiting = in_thread(job.exception)
        wait_for(lambda: vars(job).get("_parked"))
        job.cancel()
        with pytest.raises(JobCancelled):
            waiting()


def test_a_job_that_has_ended_cannot_be_cancelled(single):
    job = single.submit(int)
    job.result(PATIENCE)
    assert job.cancel() is False
    assert job.result() == 0


def test_the_arguments_of_a_cancelled_job_are_free_at_once(single):
    thing = Thing()
    gone = weakref.ref(thing)
    with held(single):
        job = single.submit(print, thing, sep=thing)
        del thing
        assert gone() is not None
        job.cancel()
        assert gone() is None


def test_a_cancel_excludes_the_start(pool):
    """Either a job is cancelled and does not run, or it runs and was not cancelled."""
    ran = []
    with switching_fast():
        jobs = []
        for number in range(2000):
            job = pool.submit(ran.append, number)
            jobs.append((job, job.cancel()))
    for number, (job, cancelled) in enumerate(jobs):
        assert job.cancelled() == cancelled
        if not cancelled:
            assert job.result(PATIENCE) is None
            assert number in ran
    assert len(ran) == sum(not cancelled for _, cancelled in jobs)
    assert pool.stats().queued == 0


def test_many_threads_may_cancel_one_job(single):
    with switching_fast():
        for _ in range(30):
            with held(single):
                job = single.submit(int)
                assert any(in_threads(4, lambda _, job=job: job.cancel()))
                assert job.cancelled()
                assert single.stats().queued == 0


@pytest.mark.full
def test_husks_of_cancelled_jobs_do_not_pile_up(single):
    with held(single):
        for _ in range(100_000):
            single.submit(int).cancel()
        queue = single.core.queue
        assert len(queue.normal) < 1000
        assert len(queue) == 0
        live = [single.submit(int) for _ in range(1000)]
        for _ in range(20_000):
            single.submit(int).cancel()
        assert len(queue.normal) <= 8 * 1000, "eight times the live ones at most"
        assert len(queue) == 1000
    assert [job.result(PATIENCE) for job in live] == [0] * 1000
    assert single.stats().cancelled == 120_000


# -- futures that others drive -----------------------------------------------------


def test_a_foreign_end_counts_once(single):
    with held(single):
        job = single.submit(int)
        job.set_result(5)
        assert job.result() == 5
        for end in (job.set_result, job.set_exception):
            with pytest.raises(InvalidStateError):
                end(ValueError())
        assert not job.cancel()

        failed = single.submit(int)
        failed.set_exception(ValueError("foreign"))
        with pytest.raises(ValueError, match="foreign"):
            failed.result()

        driven = single.submit(int)
        assert driven.set_running_or_notify_cancel()
        assert driven.running()
        driven.set_result(7)
        assert driven.result() == 7
        assert not driven.set_running_or_notify_cancel()
    assert single.run(int) == 0
    assert single.stats().queued == 0


# -- waiting as the standard library does ------------------------------------------


def test_wait_and_as_completed_see_every_end_while_jobs_finish(pool):
    """The state must not change between the two looks that they take."""
    with switching_fast():
        for _ in range(60):
            jobs = [pool.submit(int, number) for number in range(20)]
            done, rest = concurrent.futures.wait(jobs, PATIENCE, FIRST_COMPLETED)
            assert done
            assert len(done) + len(rest) == 20
            seen = {
                job.result() for job in concurrent.futures.as_completed(jobs, PATIENCE)
            }
            assert seen == set(range(20))
            done, rest = concurrent.futures.wait(jobs, PATIENCE)
            assert (len(done), len(rest)) == (20, 0)


def test_several_threads_wait_for_the_same_jobs(pool):
    def wait(_, jobs):
        done = list(concurrent.futures.as_completed(jobs, PATIENCE))
        return sorted(job.result() for job in done)

    with switching_fast():
        for _ in range(20):
            jobs = [pool.submit(int, number) for number in range(10)]
            assert in_threads(4, wait, jobs) == [list(range(10))] * 4


def test_wait_sees_cancels_and_exceptions(single):
    with held(single):
        jobs = [single.submit(int), single.submit(raise_it, ValueError)]
        waiting = in_thread(
            concurrent.futures.wait, jobs, PATIENCE, concurrent.futures.FIRST_EXCEPTION
        )
        wait_for(lambda: jobs[1]._waiters)
        cancelled = single.submit(int)
        both = in_thread(concurrent.futures.wait, [cancelled], PATIENCE)
        wait_for(lambda: cancelled._waiters)
        cancelled.cancel()
        assert both().done == {cancelled}
    assert jobs[1] in waiting().done
    assert isinstance(jobs[1].exception(), ValueError)


def test_foreign_futures_and_jobs_can_be_waited_for_together(pool):
    with concurrent.futures.ThreadPoolExecutor(1) as stock:
        mixed = [pool.submit(int, 1), stock.submit(int, 2)]
        done = concurrent.futures.as_completed(mixed, PATIENCE)
        assert sorted(job.result() for job in done) == [1, 2]


# -- asyncio's side ----------------------------------------------------------------


def test_asyncio_wraps_jobs_and_runs_in_the_pool(pool):
    async def main():
        loop = asyncio.get_running_loop()
        assert await asyncio.wrap_future(pool.submit(int, "3")) == 3
        assert await loop.run_in_executor(pool, int, "4") == 4
        with pytest.raises(ValueError, match="from a job"):
            await loop.run_in_executor(pool, raise_it, ValueError)
        futures = [loop.run_in_executor(pool, int, n) for n in range(50)]
        assert await asyncio.gather(*futures) == list(range(50))

    asyncio.run(main())


def test_a_cancelled_wrapper_cancels_the_queued_job(single):
    async def main():
        job = single.submit(int)
        wrapped = asyncio.wrap_future(job)
        wrapped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wrapped
        await state(job.cancelled)

    with held(single):
        asyncio.run(main())


def test_the_drop_in_can_be_a_loops_default_executor():
    names = []

    async def main():
        loop = asyncio.get_running_loop()
        executor = PoolExecutor(2, thread_name_prefix="default")
        loop.set_default_executor(executor)
        await asyncio.to_thread(lambda: names.append(threading.current_thread().name))
        assert await loop.run_in_executor(None, int, "3") == 3
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError):
            executor.submit(int)

    asyncio.run(main())
    assert names == ["default_0"]


def test_the_drop_in_is_a_thread_pool_executor():
    with PoolExecutor(3, "dropped", initializer=int, initargs=("3",)) as executor:
        assert isinstance(executor, concurrent.futures.ThreadPoolExecutor)
        assert executor._max_workers == 3
        assert executor.submit(int, "5").result(PATIENCE) == 5
        assert list(executor.map(pow, (2, 3), (2, 2))) == [4, 9]
        assert "dropped_0" in {thread.name for thread in executor._threads}
        assert executor._broken is False
    with pytest.raises(RuntimeError):
        executor.submit(int)
    executor.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(ValueError):
        PoolExecutor(0)
    with pytest.raises(TypeError):
        PoolExecutor(initializer="no")


# -- nothing is kept alive ---------------------------------------------------------


def test_a_job_frees_function_and_arguments_when_it_ends(single):
    thing, keyword = Thing(), Thing()
    gone = weakref.ref(thing), weakref.ref(keyword)
    job = single.submit(lambda *_, **__: None, thing, key=keyword)
    del thing, keyword
    job.result(PATIENCE)
    assert [ref() for ref in gone] == [None, None]


def test_a_parked_worker_holds_no_result_and_no_context(single):
    gone = []

    def job():
        thing, kept = Thing(), Thing()
        gone.extend([weakref.ref(thing), weakref.ref(kept)])
        color.set(kept)
        return thing

    job = single.submit(job)
    job.result(PATIENCE)
    del job
    wait_for(lambda: single.stats().idle == 1)
    wait_for(lambda: [ref() for ref in gone] == [None, None])


def test_an_exception_does_not_keep_the_arguments_alive(single):
    thing = Thing()
    gone = weakref.ref(thing)

    def fails(_):
        raise ValueError("quickly")

    job = single.submit(fails, thing)
    assert job.exception(PATIENCE).__traceback__ is not None
    del thing, job
    wait_for(lambda: single.stats().idle == 1)
    gc.collect()
    assert gone() is None


def test_a_retrieved_exception_leaves_no_cycle(single):
    gc.collect()
    gc.disable()
    try:
        job = single.submit(raise_it, ValueError)
        gone = weakref.ref(job)
        with pytest.raises(ValueError, match="from a job") as caught:
            job.result(PATIENCE)
        wait_for(lambda: single.stats().idle == 1)
        del job, caught
        assert gone() is None
    finally:
        gc.enable()


def test_results_of_a_stream_are_free_when_consumed(pool):
    refs = []

    def make(_):
        thing = Thing()
        refs.append(weakref.ref(thing))
        return thing

    for stream in (pool.map(make, range(5)), pool.each(make, range(5))):
        for thing in stream:
            kept = weakref.ref(thing)
            del thing
            wait_for(lambda kept=kept: kept() is None)
    assert len(refs) == 10


# -- exceptions that nobody looked at ----------------------------------------------


@pytest.fixture
def reported():
    """Give a pool and the list of what it reports."""
    reports = []
    pool = ThreadPool(
        max_workers=1,
        on_unhandled=lambda error, what: reports.append((repr(error), what)),
    )
    yield pool, reports
    pool.stop()


def test_an_exception_that_nobody_retrieved_is_reported_once(reported):
    pool, reports = reported
    job = pool.submit(raise_it, KeyError)
    wait_for(job.done)
    pool.run(int)
    assert reports == []
    del job
    gc.collect()
    wait_for(lambda: reports)
    pool.run(int)
    assert len(reports) == 1
    assert "KeyError" in reports[0][0]
    assert "never retrieved" in reports[0][1]


def fail(job):
    with pytest.raises(KeyError):
        job.result()


async def retrieve(job):
    with pytest.raises(KeyError):
        await asyncio.wrap_future(job)


@pytest.mark.parametrize(
    "look",
    [
        lambda job: job.exception(),
        fail,
        lambda job: [
            done.exception() for done in concurrent.futures.as_completed([job])
        ],
        lambda job: asyncio.run(retrieve(job)),
    ],
    ids=["exception", "result", "as_completed", "wrap_future"],
)
def test_an_exception_that_was_retrieved_is_not_reported(reported, look):
    pool, reports = reported
    job = pool.submit(raise_it, KeyError)
    wait_for(job.done)
    look(job)
    del job
    gc.collect()
    pool.run(int)
    assert reports == []


def test_a_cancelled_job_is_not_reported(reported):
    pool, reports = reported
    with held(pool):
        job = pool.submit(raise_it, KeyError)
        job.cancel()
        del job
    gc.collect()
    pool.run(int)
    assert reports == []


@pytest.mark.parametrize("kind", STORM)
def test_exceptions_of_posted_jobs_are_reported(reported, kind):
    pool, reports = reported
    pool.post(raise_it, kind)
    pool.run(int)
    assert len(reports) == 1
    assert kind.__name__ in reports[0][0]
    assert "posted" in reports[0][1]
    assert pool.name in reports[0][1]


def test_without_a_hook_they_are_logged(single, caplog):
    with caplog.at_level(logging.ERROR, "cup.threadpool"):
        single.post(raise_it, KeyError)
        single.run(int)
    assert "a posted job failed" in caplog.text
    assert "KeyError" in caplog.text


def test_a_hook_that_fails_is_logged_and_harmless(caplog):
    pool = ThreadPool(max_workers=1, on_unhandled=lambda *_: raise_it(SystemExit))
    with caplog.at_level(logging.ERROR, "cup.threadpool"):
        pool.post(raise_it, KeyError)
        assert pool.run(int) == 0
    pool.stop()
    assert "on_unhandled failed" in caplog.text
    assert "KeyError" in caplog.text, "the first exception is not lost for the second"


# -- words and copies --------------------------------------------------------------


def test_a_job_says_how_it_stands(single):
    with held(single):
        running = next(iter(single.core.running.values()))
        job = single.submit(int)
        assert "running" in repr(running)
        assert "pending" in repr(job)
        job.cancel()
        assert "cancelled" in repr(job)
    assert "returned None" in repr(running)
    failed = single.submit(raise_it, KeyError)
    wait_for(failed.done)
    assert "raised KeyError" in repr(failed)
    failed.exception()
    long = single.submit(str, "x" * 10_000)
    long.result(PATIENCE)
    assert len(repr(long)) < 200


def test_a_job_whose_condition_exists_says_how_it_stands(single):
    with held(single):
        job = single.submit(int)
        assert job._condition
        with job._condition:
            assert "pending" in repr(job), "it takes no lock"


def test_a_pool_says_how_it_stands():
    pool = ThreadPool(0, 8, name="io")
    assert repr(pool) == "<ThreadPool 'io' 0/8 workers, 0 queued, new>"
    pool.start()
    assert "running" in repr(pool)
    assert "AsyncThreadPool 'io'" in repr(pool.aio)
    assert "PoolView 'io'" in repr(pool.options(urgency=0))
    assert "AsyncPoolView 'io'" in repr(pool.aio.options(urgency=0))
    assert dict(pool.__rich_repr__())["name"] == "io"
    pool.stop()
    assert "stopped" in repr(pool)
    assert "StopReport" in repr(pool.stop())
    assert "PoolStats" in repr(pool.stats())


def test_what_belongs_to_a_process_cannot_be_pickled(single):
    job = single.submit(int)
    job.result(PATIENCE)
    things = [
        single,
        single.aio,
        single.options(urgency=0),
        single.aio.options(urgency=0),
        job,
    ]
    for thing, protocol in itertools.product(things, range(pickle.HIGHEST_PROTOCOL)):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(thing, protocol)
    for thing in things:
        with pytest.raises(TypeError):
            copy.deepcopy(thing)


def test_figures_and_reports_can_be_pickled(single):
    single.run(int)
    for value in (single.stats(), single.stop()):
        assert pickle.loads(pickle.dumps(value)) == value


def test_faces_of_one_pool_are_equal(pool):
    assert pool.aio.sync == pool
    assert pool.aio == pool.aio
    assert hash(pool.aio) == hash(pool.aio)
    assert pool.aio.sync.aio == pool.aio
    assert pool.options(urgency=0) == pool.options(urgency=0)
    assert pool.options(urgency=0) != pool.options(urgency=1)
    assert pool != ThreadPool(max_workers=2)
    assert pool != pool.aio
    assert pool != "pool"
    apool = AsyncThreadPool(max_workers=1)
    assert apool.sync.aio == apool
    assert {pool.aio, pool.aio} == {pool.aio}


# -- wrong arguments ---------------------------------------------------------------


@pytest.mark.parametrize("ask", [Job.result, Job.exception])
@pytest.mark.parametrize(
    ("timeout", "error"), [(float("nan"), InvalidValue), ("1", InvalidType)]
)
def test_a_time_out_that_is_none_is_refused(single, ask, timeout, error):
    with held(single) as gate:
        job = single.submit(int)
        with pytest.raises(error, match="timeout"):
            ask(job, timeout)
        with pytest.raises(error, match="timeout"):
            single.map(int, "1", timeout=timeout)
        gate.open()
        assert not ask(job, 10**400)


def test_streams_of_what_cannot_be_called_are_refused(pool):
    for start in (pool.map, pool.each, pool.aio.each):
        with pytest.raises(InvalidType, match="must be callable, not 3"):
            start(3, "12")


@pytest.mark.parametrize("error", [3, "stop", int])
def test_only_exceptions_interrupt_a_job(single, error):
    with held(single) as gate:
        job = single.core.running_now()[0][1]
        with pytest.raises(InvalidType, match="only exceptions"):
            job.interrupt(error)
        gate.open()
    assert single.run(int) == 0


def test_a_name_is_a_string():
    with pytest.raises(InvalidType, match="name must be a str, not 5"):
        ThreadPool(name=5)


def test_a_job_is_shown_whatever_its_result_says_of_itself(pool):
    class Shy:
        def __repr__(self):
            raise RuntimeError("do not look")

    job = pool.submit(Shy)
    job.result(PATIENCE)
    assert "returned <Shy instance" in repr(job)
    with pytest.raises(InvalidStateError):
        job.set_result(1)
