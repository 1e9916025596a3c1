"""The pool awaited from asyncio, uvloop and trio, also from several at once."""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import gc
import itertools
import threading

import anyio
import anyio.lowlevel
import pytest
from pool_tools import (
    PATIENCE,
    STORM,
    Gate,
    held,
    in_thread,
    in_threads,
    raise_it,
    run_python,
    state,
    switching_fast,
    wait_for,
)

from cup.errors import (
    InvalidType,
    InvalidValue,
    JobCancelled,
    JobTimeout,
    LoopGone,
    PoolClosed,
    PoolError,
)
from cup.services.threadpool import (
    AsyncJob,
    AsyncThreadPool,
    PoolState,
    run_in,
)

color = contextvars.ContextVar("color", default="none")


@pytest.fixture
def apool():
    pool = AsyncThreadPool(max_workers=2, name="tasks")
    yield pool
    pool.sync.stop()


@pytest.fixture
def single():
    pool = AsyncThreadPool(max_workers=1, name="single")
    yield pool
    pool.sync.stop()


async def consume(stream):
    return [item async for item in stream]


# -- run ---------------------------------------------------------------------------


async def test_run_gives_the_result_from_a_worker(apool):
    assert await apool.run(divmod, 7, 3) == (2, 1)
    thread = await apool.run(threading.current_thread)
    assert thread.name.startswith("tasks_")
    given = dict.fromkeys(["fn", "self", "core", "loop", "record"], 1)
    assert await apool.run(lambda **kwargs: kwargs, **given) == given


@pytest.mark.parametrize("kind", STORM)
async def test_run_raises_what_the_job_raised_and_no_worker_dies(single, kind):
    expected = RuntimeError if issubclass(kind, StopIteration) else kind
    thread = await single.run(threading.current_thread)
    for view in (single, single.options(urgency=0)):
        try:
            await view.run(raise_it, kind)
        except expected as error:
            root = error.__cause__ if expected is not kind else error
            assert type(root) is kind
        else:
            pytest.fail("nothing was raised")
    assert await single.run(threading.current_thread) is thread


async def test_a_thousand_tasks_each_get_their_result(apool):
    results = {}

    async def one(number):
        results[number] = await apool.run(lambda: number * 2)

    async with anyio.create_task_group() as group:
        for number in range(1000):
            group.start_soon(one, number)
    assert results == {number: number * 2 for number in range(1000)}
    assert apool.stats().done == 1000
    assert apool.stats().workers <= 2


async def test_the_loop_runs_on_while_a_job_runs(apool):
    gate = Gate()
    async with anyio.create_task_group() as group:
        group.start_soon(apool.run, gate)
        await state(lambda: apool.stats().running == 1)
        gate.open()


async def test_a_task_that_meets_only_fast_jobs_lets_others_run(apool):
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        for _ in range(50):
            await apool.run(int)
            await (await apool.submit(int))
            async for _ in apool.each(int, "123"):
                pass
        group.cancel_scope.cancel()
    assert turns > 50


async def test_a_time_out_around_immediate_answers_fires(apool):
    job = await apool.submit(int)
    await job
    with anyio.move_on_after(0.01) as scope:
        while True:
            await job
    assert scope.cancelled_caught


async def test_context_variables_travel(apool):
    color.set("red")
    assert await apool.run(color.get) == "red"
    job = await apool.submit(color.get)
    seen = []
    await apool.post(lambda: seen.append(color.get()))
    color.set("blue")
    assert await job == "red"
    assert [item async for item in apool.each(lambda _: color.get(), "12")] == [
        "blue",
        "blue",
    ]
    await apool.run(color.set, "green")
    assert color.get() == "blue"
    await state(lambda: seen == ["red"])


async def test_what_cannot_be_called_is_refused(apool):
    for refused in (
        lambda: apool.run(3),
        lambda: apool.submit(None),
        lambda: apool.post("int"),
        lambda: apool.add_1job_with_callback(int, 3),
        lambda: apool.add_1job_with_callback(3, int),
    ):
        with pytest.raises(InvalidType):
            await refused()
    assert apool.stats().queued == 0


async def test_a_stopped_pool_refuses(apool):
    await apool.stop()
    for refused in (
        lambda: apool.run(int),
        lambda: apool.submit(int),
        lambda: apool.post(int),
        lambda: apool.add_1job(int),
        lambda: apool.add_1job_with_callback(print, int),
    ):
        with pytest.raises(PoolClosed):
            await refused()
    with pytest.raises(PoolClosed):
        await consume(apool.each(int, "1"))
    apool.start()
    assert await apool.run(int) == 0
    assert apool.stats().queued == 0


def test_outside_of_a_loop_it_says_so(apool):
    coroutine = apool.run(int)
    with pytest.raises(LoopGone, match="no event loop"):
        coroutine.send(None)


# -- submit, post, callbacks -------------------------------------------------------


async def test_submit_gives_a_job_to_await(single):
    with held(single.sync) as gate:
        job = await single.submit(int, "3")
        assert isinstance(job, AsyncJob)
        assert (job.done(), job.running(), job.cancelled()) == (False, False, False)
        assert "pending" in repr(job)
        with pytest.raises(JobTimeout):
            await job.result(0.001)
        with pytest.raises(JobTimeout):
            await job.exception(0)
        gate.open()
    assert await job == 3
    assert await job == 3
    assert await job.result(0) == 3
    assert await job.exception() is None
    assert job.sync.result() == 3
    failed = await single.submit(raise_it, KeyError)
    assert isinstance(await failed.exception(), KeyError)
    with pytest.raises(KeyError):
        await failed


async def test_jobs_of_threads_can_be_awaited_and_the_other_way_round(apool):
    job = apool.sync.submit(int, "5")
    assert await job == 5
    ajob = await apool.submit(int, "6")
    assert ajob.sync.result(PATIENCE) == 6


async def test_many_tasks_may_await_one_job(single):
    results = []

    async def wait(job):
        results.append(await job)

    with held(single.sync) as gate:
        job = await single.submit(int, "3")
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(wait, job)
            await state(lambda: len(vars(job.sync).get("_parked", ())) == 20)
            gate.open()
    assert results == [3] * 20


async def test_a_cancelled_waiter_leaves_the_job_alone(single):
    with held(single.sync) as gate:
        job = await single.submit(int, "3")
        for _ in range(3):
            with anyio.move_on_after(0.001) as scope:
                await job
            assert scope.cancelled_caught
        assert not vars(job.sync)["_parked"]
        gate.open()
    assert await job == 3


async def test_a_cancelled_job_raises_our_error_never_asyncios(single):
    with held(single.sync):
        job = await single.submit(int)
        assert job.cancel()
        with pytest.raises(JobCancelled) as caught:
            await job
        assert not isinstance(caught.value, asyncio.CancelledError)
        with pytest.raises(JobCancelled):
            await job.exception()
        assert job.cancelled()


async def test_callbacks_come_from_a_worker(apool):
    apool.start()
    calls = []

    def callback(ok, outcome):
        calls.append((ok, outcome, threading.current_thread().name[:5]))

    await apool.add_1job_with_callback(callback, pow, 2, 3)
    await apool.add_1job(int)
    await apool.stop()
    assert calls == [(True, 8, "tasks")]


async def test_exceptions_that_reached_nobody_are_reported():
    reports = []
    apool = AsyncThreadPool(
        max_workers=1, on_unhandled=lambda *what: reports.append(what)
    )
    await apool.run(int)
    await apool.post(raise_it, KeyError)
    await apool.run(int)
    assert [type(error) for error, _ in reports] == [KeyError]
    gate = Gate()

    def fails():
        gate()
        raise LookupError

    with anyio.move_on_after(0.01):
        await apool.options(on_cancel="abandon").run(fails)
    gate.open()
    await apool.run(int)
    gc.collect()
    await state(lambda: len(reports) == 2)
    assert type(reports[1][0]) is LookupError
    with pytest.raises(OSError, match="from a job"):
        await apool.run(raise_it, OSError)
    gc.collect()
    await apool.stop()
    assert len(reports) == 2


# -- each --------------------------------------------------------------------------


async def test_each_yields_in_order_or_as_they_come(apool):
    assert [n async for n in apool.each(abs, range(100))] == list(range(100))
    came = [n async for n in apool.each(abs, range(100), ordered=False)]
    assert sorted(came) == list(range(100))
    assert [n async for n in apool.each(abs, [])] == []


async def test_each_as_they_come_does_not_wait_for_the_slow(apool):
    gate = Gate()
    came = []

    def job(number):
        return gate(number) if number == 0 else number

    async for number in apool.each(job, range(5), ordered=False):
        came.append(number)
        if len(came) == 4:
            gate.open()
    assert came == [1, 2, 3, 4, 0]


@pytest.mark.parametrize("ordered", [True, False])
async def test_each_takes_items_only_as_fast_as_results_are_consumed(apool, ordered):
    taken = 0

    def endless():
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield number

    seen = 0
    async for _ in apool.each(abs, endless(), ordered=ordered, limit=3):
        seen += 1
        assert taken <= seen + 3
        if seen == 50:
            break
    assert taken < 60


@pytest.mark.parametrize("limit", [0, -1])
async def test_each_refuses_a_limit_without_sense(apool, limit):
    for face in (apool, apool.sync):
        with pytest.raises(InvalidValue):
            face.each(int, "1", limit=limit)


async def test_each_raises_at_the_place_of_the_item(apool):
    def job(number):
        return number if number != 3 else raise_it(KeyError)

    stream = apool.each(job, range(10))
    assert [await anext(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    await state(lambda: apool.stats().queued == 0)


async def test_each_raises_what_the_iterable_raises(apool):
    def items():
        yield 1
        raise LookupError

    for face in (apool, apool.options(urgency=0)):
        with pytest.raises(LookupError):
            await consume(face.each(abs, items()))
    for face in (apool.sync, apool.sync.options(urgency=0)):
        with pytest.raises(LookupError):
            list(face.each(abs, items()))
        with pytest.raises(LookupError):
            face.map(abs, items())
    assert await apool.run(int) == 0
    assert apool.stats().queued == 0


@pytest.mark.parametrize("kind", STORM)
async def test_each_survives_every_exception(apool, kind):
    expected = RuntimeError if issubclass(kind, StopIteration) else kind
    expected = RuntimeError if kind is StopAsyncIteration else expected
    for ordered in (True, False):
        with pytest.raises(expected):  # the loop must not end as if all were well
            await consume(apool.each(raise_it, [kind, kind], ordered=ordered))
        for stream in (
            apool.sync.each(raise_it, [kind], ordered=ordered),
            apool.sync.map(raise_it, [kind]),
        ):
            with pytest.raises(RuntimeError if kind is StopIteration else kind):
                list(stream)
    assert await apool.run(int) == 0


async def test_leaving_each_early_cancels_what_has_not_started(single):
    ran = []
    gate = Gate()

    def job(number):
        ran.append(number)
        return gate(number) if number == 1 else number

    async for number in single.each(job, range(10), limit=5):
        assert number == 0
        break
    gate.open()
    async for _ in single.each(int, "123", limit=5):
        break
    assert single.stats().queued == 0
    await single.stop()
    assert ran in ([0], [0, 1])
    assert single.stats().queued == 0


async def test_a_stream_can_be_closed(single):
    async with contextlib.aclosing(single.each(int, "123")) as stream:
        assert await anext(stream) == 1
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_cancelling_who_consumes_each_takes_the_queue_back(single):
    with held(single.sync) as gate:
        with anyio.move_on_after(0.005) as scope:
            async for _ in single.each(int, "123456"):
                pass
        assert scope.cancelled_caught
        assert single.stats().queued == 0
        assert single.stats().cancelled > 0
        gate.open()
    assert await single.run(lambda: 1) == 1


def test_each_for_threads(apool):
    pool = apool.sync
    assert list(pool.each(abs, range(50))) == list(range(50))
    assert sorted(pool.each(abs, range(50), ordered=False)) == list(range(50))
    assert list(itertools.islice(pool.each(abs, itertools.count()), 5)) == [*range(5)]
    assert pool.stats().queued == 0
    stream = pool.each(lambda n: n or raise_it(KeyError), [1, 2, 0, 3])
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(KeyError):
        next(stream)


# -- bridges to other executors ----------------------------------------------------


async def test_run_in_a_stock_executor():
    with concurrent.futures.ThreadPoolExecutor(1) as stock:
        assert await run_in(stock, divmod, 7, 3) == (2, 1)
        with pytest.raises(KeyError):
            await run_in(stock, raise_it, KeyError)
        for kind in (SystemExit, KeyboardInterrupt):
            with pytest.raises(kind):
                await run_in(stock, raise_it, kind)
        gate = Gate()
        busy = stock.submit(gate)
        gate.await_inside()
        ran = []
        with anyio.move_on_after(0.005) as scope:
            await run_in(stock, ran.append, 1)
        assert scope.cancelled_caught
        gate.open()
        busy.result(PATIENCE)
        assert await run_in(stock, int) == 0
        assert ran == []


async def test_run_in_our_own_pool(apool):
    assert await run_in(apool.sync, int, "5") == 5
    with held(apool.sync, 2):
        job = None

        def submit_and_cancel():
            nonlocal job
            (sink,) = [record[4] for record in apool.sync.core.queue.normal]
            job = sink.cancel()

        async with anyio.create_task_group() as group:

            async def run():
                with pytest.raises(JobCancelled):
                    await run_in(apool.sync, int)

            group.start_soon(run)
            await state(lambda: apool.stats().queued == 1)
            submit_and_cancel()
        assert job is True


@pytest.fixture(scope="module")
def processes():
    """Give a pool of processes that were not forked from our threads."""
    import multiprocessing

    context = multiprocessing.get_context("forkserver")
    with concurrent.futures.ProcessPoolExecutor(1, context) as executor:
        executor.submit(abs, 1).result(PATIENCE)
        yield executor


@pytest.mark.full
async def test_run_in_a_process_pool(processes):
    assert await run_in(processes, pow, 2, 10) == 1024
    with pytest.raises(ValueError, match="invalid literal"):
        await run_in(processes, int, "x")
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(run_in, processes, abs, -1)


# -- the life of an async pool -----------------------------------------------------


async def test_async_with_finishes_what_is_queued():
    ran = []
    async with AsyncThreadPool(1, 1) as apool:
        apool.start()
        for number in range(20):
            await apool.post(ran.append, number)
    assert ran == list(range(20))
    assert apool.stats().state is PoolState.STOPPED


async def test_async_with_left_by_an_exception_cancels_the_queue():
    ran = []
    gate = Gate()
    apool = AsyncThreadPool(max_workers=1)

    async def use():
        async with apool:
            await apool.submit(gate)
            await state(lambda: apool.stats().running == 1)
            jobs.append(await apool.submit(ran.append, 1))
            gate.open()
            raise KeyError

    jobs = []
    with pytest.raises(KeyError):
        await use()
    assert ran == [] or not jobs[0].cancelled()
    assert apool.stats().state is PoolState.STOPPED


async def test_a_cancelled_async_with_waits_for_its_grace_and_no_longer(caplog):
    gate = Gate()
    with anyio.CancelScope() as scope:
        async with AsyncThreadPool(max_workers=1, exit_grace=0.01) as apool:
            job = await apool.submit(gate)
            queued = await apool.submit(int)
            await state(lambda: apool.stats().running == 1)
            scope.cancel()
    assert queued.cancelled()
    assert not job.done()
    assert "was left while jobs still run" in caplog.text
    gate.open()
    await apool.stop()


async def test_stop_reports_and_is_left_unharmed_by_a_cancel(single):
    with held(single.sync) as gate:
        await single.post(int)
        for _ in range(3):
            with anyio.move_on_after(0.002) as scope:
                await single.stop()
            assert scope.cancelled_caught
        assert await single.try_stop(0.001) is False
        assert await single.try_stop(0) is False
        gate.open()
        report = await single.stop()
    assert report
    assert report.done == 2
    assert await single.try_stop() is True


async def test_a_forced_stop_in_a_task(single):
    with held(single.sync) as gate:
        job = await single.submit(int)
        async with anyio.create_task_group() as group:
            reports = []

            async def stop():
                reports.append(await single.stop(force_stop=True))

            group.start_soon(stop)
            await state(job.cancelled)
            gate.open()
    assert reports[0]
    assert reports[0].cancelled == 1


async def test_tasks_and_threads_may_stop_at_once(apool):
    for _ in range(50):
        await apool.post(int)
    result = in_thread(apool.sync.stop)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(apool.stop)
    assert result()


async def test_the_seeds_names_in_tasks(apool):
    apool.start()
    assert apool.start1worker() is True
    assert apool.get_stats()["thread_num"] == 1
    assert apool.stop1worker() is True
    apool.adjust_poolsize(1, 3)
    assert apool.dump_stats()["thread_num"] >= 1
    assert await apool.add_1job(int) is None
    assert await apool.try_stop(PATIENCE) is True


# -- several loops at once ---------------------------------------------------------


def test_one_pool_serves_two_loops_of_asyncio_one_of_trio_and_threads(apool):
    async def many(number):
        results = []

        async def one(item):
            results.append(await apool.run(lambda: (number, item)))

        async with anyio.create_task_group() as group:
            for item in range(100):
                group.start_soon(one, item)
        streamed = [item async for item in apool.each(abs, range(50))]
        assert streamed == list(range(50))
        assert sorted(results) == [(number, item) for item in range(100)]

    def work(number):
        if number == 3:
            jobs = [apool.sync.submit(pow, item, 2) for item in range(200)]
            assert [job.result(PATIENCE) for job in jobs] == [n * n for n in range(200)]
        else:
            anyio.run(many, number, backend="trio" if number == 2 else "asyncio")

    with switching_fast(1e-5):
        in_threads(4, work)
    stats = apool.stats()
    assert stats.done == 3 * 150 + 200
    assert stats.queued == 0


def test_one_job_may_be_awaited_by_two_loops(single):
    results = []

    async def wait(job):
        results.append(await job)

    with held(single.sync) as gate:
        job = single.sync.submit(int, "3")
        waiting = [
            in_thread(lambda b=backend: anyio.run(wait, job, backend=b))
            for backend in ("asyncio", "trio", "asyncio")
        ]
        wait_for(lambda: len(vars(job).get("_parked", ())) == 3)
        gate.open()
        for result in waiting:
            result()
    assert results == [3, 3, 3]


def test_many_short_loops_may_come_and_go(apool):
    async def main(number):
        assert await apool.run(abs, -number) == number

    def work(number):
        for round_ in range(15):
            backend = "trio" if (number + round_) % 4 == 0 else "asyncio"
            anyio.run(main, number, backend=backend)

    with switching_fast():
        in_threads(6, work)
    gc.collect()
    asyncio.run(main(1))
    assert len(apool.sync.core.outboxes) <= 8, "those of dead loops go"


def test_a_loop_that_is_closed_while_its_jobs_run_harms_nobody(single):
    pool = single.sync
    gate = Gate()

    async def main():
        task = asyncio.ensure_future(single.run(gate))
        await state(lambda: pool.stats().running == 1)
        return task

    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(main())
    loop.close()
    gate.open()
    assert pool.run(lambda: 4) == 4
    task._log_destroy_pending = False
    del task
    gc.collect()
    assert asyncio.run(single.run(int)) == 0
    assert pool.stats().workers == 1


def test_a_trio_run_that_ends_while_its_jobs_run_harms_nobody(single):
    import trio

    pool = single.sync
    gate = Gate()

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(single.options(on_cancel="abandon").run, gate)
            await state(lambda: pool.stats().running == 1)
            nursery.cancel_scope.cancel()

    trio.run(main)
    gate.open()
    assert pool.run(lambda: 4) == 4
    assert pool.stats().workers == 1


# -- when no thread can be started -------------------------------------------------


async def test_run_fails_where_no_thread_can_be_started(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    apool = AsyncThreadPool(max_workers=2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        for _ in range(3):
            with pytest.raises(PoolError, match="can't start new thread"):
                await apool.run(int)
        with pytest.raises(PoolError):
            await apool.submit(int)
        async with anyio.create_task_group() as group:

            async def one():
                with pytest.raises(PoolError):
                    await apool.run(int)

            for _ in range(10):
                group.start_soon(one)
        with pytest.raises(PoolError):
            await consume(apool.each(int, "123"))
    assert apool.stats().queued == 0
    assert await apool.run(lambda: 5) == 5
    await apool.stop()
    assert apool.stats().done == 1


def test_importing_the_pool_loads_no_event_loop():
    script = """
import sys
import cup.services.threadpool
from cup.services.threadpool import ThreadPool
with ThreadPool(max_workers=1) as pool:
    assert pool.run(int) == 0
    assert list(pool.map(int, "12")) == [1, 2]
    assert list(pool.each(int, "12")) == [1, 2]
    job = pool.options(urgency=0, queue_timeout=9, run_timeout=9).submit(int)
    assert job.result() == 0
print(sorted({"asyncio", "anyio", "trio", "uvloop", "ctypes"} & set(sys.modules)))
"""
    assert run_python(script) == "[]\n"


def test_the_async_names_are_lazy_and_complete():
    import cup.services.threadpool as package

    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018 - the look is the test


# -- loops that run inside of jobs -------------------------------------------------


def test_a_loop_in_a_job_of_the_full_pool_does_not_wait_for_ever(single):
    async def outer():
        job = await single.submit(pow, 2, 3)
        return await single.run(pow, 2, 5), await job

    assert single.sync.submit(asyncio.run, outer()).result(PATIENCE) == (32, 8)


@pytest.mark.parametrize("with_sync", [False, True])
def test_jobs_whose_loops_stop_the_pool_do_not_wait_for_each_other(apool, with_sync):
    both = threading.Barrier(2)

    async def leave():
        async with apool:
            pass
        await apool.stop()

    def stop_it(by_loop):
        both.wait(PATIENCE)
        if by_loop:
            asyncio.run(leave())
        else:
            apool.sync.stop()

    jobs = [apool.sync.submit(stop_it, True), apool.sync.submit(stop_it, not with_sync)]
    for job in jobs:
        assert job.result(PATIENCE) is None
    assert apool.sync.stop()


async def test_a_cancelled_stream_starts_nothing(apool):
    seen = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        async for _ in apool.each(seen.append, [1]):
            pytest.fail("it was cancelled")
    assert await apool.run(int) == 0
    assert seen == []
    assert apool.stats().done == 1
