"""The executor for tasks: coroutine functions, several loops, cancellation, ends."""

import asyncio
import contextvars
import functools
import threading
import time

import anyio
import pytest
from executor_tools import Gate, balanced, service, state, wait_for

from cup.errors import (
    BlockingInLoop,
    ExecutorClosed,
    InvalidType,
    JobCancelled,
    JobInterrupted,
    JobTimeout,
    LoopGone,
    QueueTimeout,
    RunTimeout,
)
from cup.services.executor import (
    AsyncExecutionService,
    AsyncScheduledJob,
    ExecutionService,
    RunOutcome,
    Urgency,
)


async def double(x, pause=0.001):
    await anyio.sleep(pause)
    return 2 * x


async def fails():
    await anyio.sleep(0)
    raise OSError("on purpose")


async def endless():
    await anyio.sleep(3600)


async def test_both_kinds_of_functions():
    async with AsyncExecutionService() as executor:
        assert await (await executor.submit(pow, 2, 3)) == 8
        assert await (await executor.submit(double, 2)) == 4
        assert await (await executor.after(0.01, pow, 2, 3)) == 8
        assert await (await executor.after(0.01, double, x=2)) == 4
        assert await (await executor.at(time.time(), double, 3)) == 6
        assert await (await executor.delay_exec(0.01, pow, 1, 2, 3)) == 8
        ran = threading.Event()
        await executor.queue_exec(ran.set, 1)
        await state(ran.is_set)
        report = await executor.stop()
    assert balanced(report)
    assert report.done == 7


async def test_where_they_run():
    here = threading.get_ident()

    async def where():
        return threading.get_ident()

    async with AsyncExecutionService() as executor:
        assert await (await executor.after(0.01, where)) == here
        assert await (await executor.after(0.01, threading.get_ident)) != here


class Caller:
    async def __call__(self):
        return await double(4)


@pytest.mark.parametrize(
    "fn",
    [
        functools.partial(double, 4),
        functools.partial(functools.partial(double, pause=0), 4),
        Caller(),
    ],
)
async def test_coroutine_functions_in_disguise(fn):
    async with AsyncExecutionService() as executor:
        assert await (await executor.submit(fn)) == 8


async def test_exceptions_reach_who_awaits():
    async with AsyncExecutionService() as executor:
        for job in (await executor.submit(fails), await executor.after(0.001, fails)):
            with pytest.raises(OSError, match="on purpose"):
                await job
            assert isinstance(await job.exception(), OSError)
        job = await executor.after(0.001, int, "x")
        with pytest.raises(ValueError):
            await job.result()
        assert executor.stats().failed == 3


async def test_a_base_exception_does_not_end_the_loop():
    async def leaves():
        raise SystemExit(2)

    async with AsyncExecutionService() as executor:
        job = await executor.submit(leaves)
        with pytest.raises(SystemExit):
            await job


async def test_cancel_before_the_time():
    async with AsyncExecutionService() as executor:
        job = await executor.after(3600, double, 1)
        assert isinstance(job, AsyncScheduledJob)
        assert job.next_run is not None
        assert job.name == "double"
        assert job.cancel()
        assert job.cancelled()
        assert job.done()
        with pytest.raises(JobCancelled):
            await job


async def test_reschedule():
    async with AsyncExecutionService() as executor:
        job = await executor.after(3600, double, 1)
        assert job.reschedule(0.01)
        assert await job.result(10) == 2


async def test_result_times_out():
    async with AsyncExecutionService() as executor:
        job = await executor.after(3600, double, 1)
        with pytest.raises(JobTimeout):
            await job.result(0.01)
        assert not job.done()


async def test_interrupt_cancels_a_coroutine():
    async with AsyncExecutionService() as executor:
        job = await executor.submit(endless)
        await state(job.running)
        assert job.interrupt()
        with pytest.raises(JobCancelled):
            await job
        other = await executor.submit(endless)
        await state(other.running)
        assert other.interrupt(KeyError("mine"))
        with pytest.raises(KeyError):
            await other
        assert not other.interrupt()
        assert isinstance(JobInterrupted(), BaseException)


async def test_run_timeout_cancels_a_coroutine():
    async with AsyncExecutionService() as executor:
        job = await executor.options(run_timeout=0.02).submit(endless)
        with pytest.raises(RunTimeout):
            await job
        assert await (await executor.options(run_timeout=5).submit(double, 1)) == 2


async def test_queue_timeout_of_a_coroutine():
    async with AsyncExecutionService() as executor:
        job = await executor.options(queue_timeout=0.01).after(0.01, double, 1)
        time.sleep(0.1)  # noqa: ASYNC251 - the loop is too busy
        with pytest.raises(QueueTimeout):
            await job


async def test_a_cancelled_waiter_leaves_the_job_alone():
    async with AsyncExecutionService() as executor:
        job = await executor.after(0.05, double, 1)
        with anyio.move_on_after(0.01):
            await job
        assert not job.cancelled()
        assert await job == 2


async def test_a_cancelled_waiter_cancels_when_asked():
    async with AsyncExecutionService() as executor:
        view = executor.options(cancel_with_waiter=True)
        for job in (
            await view.after(3600, double, 1),
            await view.every(3600, double, 1),
        ):
            with anyio.move_on_after(0.01):
                await job
            assert job.cancelled()


async def test_series_of_coroutines():
    async with AsyncExecutionService() as executor:
        series = await executor.options(max_runs=3).every(0.01, double, 4)
        assert await series == 8
        assert series.runs == 3
        assert [record.outcome for record in series.history] == [RunOutcome.DONE] * 3
        assert all(record.started for record in series.history)


async def test_coroutine_runs_do_not_overlap():
    running, most = 0, 0

    async def slow():
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.02)
        running -= 1

    async with AsyncExecutionService() as executor:
        series = await executor.options(max_runs=4).every(0.001, slow)
        await series
        assert most == 1
        assert series.skipped > 0
        most = 0
        await (await executor.options(max_runs=4, overlap=4).every(0.001, slow))
        assert most > 1


@pytest.mark.full
async def test_cron_of_coroutines():
    async with AsyncExecutionService() as executor:
        series = await executor.options(max_runs=1).cron("* * * * * *", double, 4)
        assert await series.result(10) == 8


async def test_series_handle():
    async with AsyncExecutionService() as executor:
        seen = []
        series = await executor.every(3600, double, 1)
        series.add_run_callback(seen.append)
        series.pause()
        assert series.paused
        series.resume()
        series.run_now()
        await state(lambda: seen)
        assert (series.runs, series.skipped, series.missed, series.failures) == (
            1,
            0,
            0,
            0,
        )
        assert "Series" in repr(series)
        assert series.cancel()


async def test_context_travels():
    variable = contextvars.ContextVar("variable", default="default")

    async def read():
        await anyio.sleep(0)
        return variable.get()

    async with AsyncExecutionService() as executor:
        variable.set("mine")
        jobs = [
            await executor.after(0.01, read),
            await executor.after(0.01, variable.get),
        ]
        variable.set("later")
        assert [await job for job in jobs] == ["mine", "mine"]


async def test_many_coroutines():
    async with AsyncExecutionService() as executor:
        jobs = [await executor.after(0.0001 * n, double, n) for n in range(300)]
        assert [await job for job in jobs] == [2 * n for n in range(300)]


async def test_pending_coroutines_take_no_task():
    async with AsyncExecutionService() as executor:
        before = threading.active_count()
        jobs = [await executor.after(3600, double, n) for n in range(1000)]
        assert threading.active_count() <= before + 1
        assert executor.stats().pending == 1000
        assert executor.core.timers.pending() == 1000
        for job in jobs:
            job.cancel()


async def test_urgency_of_functions():
    async with AsyncExecutionService(1, 1) as executor:
        gate, ran = Gate(), []
        await executor.submit(gate)
        await anyio.to_thread.run_sync(gate.await_inside)
        for urgency in (Urgency.LOW, Urgency.HIGH):
            await executor.options(urgency=urgency).submit(ran.append, urgency)
        gate.open()
        await state(lambda: len(ran) == 2)
        assert ran == [Urgency.HIGH, Urgency.LOW]


async def test_faces_lead_to_each_other():
    async with AsyncExecutionService(name="both") as executor:
        assert executor.sync.aio == executor
        assert executor.sync.name == "both"
        job = executor.sync.after(0.01, pow, 2, 3)
        assert await AsyncScheduledJob(job) == 8
        assert await job == 8  # the handle for threads can be awaited, too
        assert AsyncExecutionService.singleton_instance(
            1, 1, "s"
        ) is AsyncExecutionService.singleton_instance(1, 1, "s")


async def test_bad_arguments_are_refused():
    async with AsyncExecutionService() as executor:
        with pytest.raises(InvalidType):
            await executor.submit("no function")
        with pytest.raises(InvalidType):
            await executor.every("often", double, 1)
    with pytest.raises(ExecutorClosed):
        await executor.submit(double, 1)
    with pytest.raises(ExecutorClosed):
        await executor.every(1, double, 1)


# -- ends ------------------------------------------------------------------------------


async def test_stop_waits_for_coroutines_that_run():
    executor = AsyncExecutionService()
    executor.start()
    jobs = [await executor.submit(double, n, 0.05) for n in range(5)]
    future = await executor.after(3600, double, 1)
    report = await executor.stop()
    assert [await job for job in jobs] == [0, 2, 4, 6, 8]
    assert future.cancelled()
    assert balanced(report)
    assert (report.done, report.cancelled) == (5, 1)


async def test_stop_inside_of_a_coroutine():
    executor = AsyncExecutionService()
    executor.start()
    other = await executor.submit(double, 1, 0.05)

    async def stops():
        return await executor.stop()

    report = await (await executor.submit(stops))
    assert other.done()
    assert balanced(report)
    assert len(report.still_running) == 1
    assert await executor.stop()


async def test_stop_without_waiting():
    executor = AsyncExecutionService()
    executor.start()
    job = await executor.submit(double, 1, 0.05)
    await state(job.running)
    assert not await executor.stop(False)
    assert await executor.stop()


async def test_cancelled_stop_goes_on():
    executor = AsyncExecutionService()
    executor.start()
    gate = Gate()
    await executor.submit(gate)
    await anyio.to_thread.run_sync(gate.await_inside)
    with anyio.move_on_after(0.02):
        await executor.stop()
    assert not executor.running()
    gate.open()
    assert await executor.stop()


async def test_exit_by_an_exception_cancels_what_is_queued():
    gate = Gate()
    with pytest.raises(KeyError):
        async with AsyncExecutionService(1, 1, exit_grace=0.01) as executor:
            running = await executor.submit(gate)
            await anyio.to_thread.run_sync(gate.await_inside)
            queued = await executor.submit(print)
            raise KeyError
    assert queued.cancelled()
    assert not running.done()
    gate.open()
    assert balanced(await executor.stop())


# -- several loops ---------------------------------------------------------------------


def test_one_service_for_threads_and_loops():
    with service() as executor:
        job = executor.after(0.1, pow, 2, 5)
        results = []

        async def waits():
            results.append(await executor.aio.submit(double, 1))
            results.append(await job)

        async def main():
            await waits()

        threads = [
            threading.Thread(target=lambda b=b: anyio.run(main, backend=b))
            for b in ("asyncio", "trio", "asyncio")
        ]
        for thread in threads:
            thread.start()
        assert job.result(10) == 32
        for thread in threads:
            thread.join(10)
        assert results.count(32) == 3


def test_coroutines_run_in_the_loop_that_scheduled_them():
    with service() as executor:
        seen = {}

        async def where():
            await anyio.sleep(0)
            return threading.get_ident()

        async def main():
            job = await executor.aio.after(0.02, where)
            seen[threading.get_ident()] = await job

        threads = [
            threading.Thread(target=lambda b=b: anyio.run(main, backend=b))
            for b in ("asyncio", "trio")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(seen) == 2
        assert all(caller == ran for caller, ran in seen.items())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_loop_that_ended_before_the_time(backend):
    with service() as executor:

        async def main():
            return await executor.aio.after(0.05, double, 1)

        job = anyio.run(main, backend=backend).sync
        with pytest.raises(LoopGone):
            job.result(10)
        assert balanced(executor.stop())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_loop_that_ends_while_a_coroutine_runs(backend):
    with service() as executor:

        async def main():
            job = await executor.aio.submit(endless)
            await state(job.running)
            return job

        job = anyio.run(main, backend=backend).sync
        with pytest.raises(JobCancelled):
            job.result(10)
        assert balanced(executor.stop())


def test_loop_that_stopped_does_not_hold_up_the_end():
    loop = asyncio.new_event_loop()
    executor = ExecutionService()
    executor.start()

    async def main():
        return await executor.aio.submit(double, 1, 0)

    job = loop.run_until_complete(main()).sync
    report = executor.stop()
    assert balanced(report) or job.running()
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()


def test_series_of_a_dead_loop_goes_on_failing_loudly():
    reported = []
    with service(on_unhandled=lambda e, what: reported.append(e)) as executor:

        async def main():
            view = executor.aio.options(stop_after_failures=2)
            return await view.every(0.02, double, 1)

        series = anyio.run(main).sync
        wait_for(series.done)
        assert isinstance(series.exception(), LoopGone)
        assert len(reported) >= 2


async def test_stop_that_could_never_end_is_refused():
    executor = AsyncExecutionService()
    executor.start()
    job = await executor.submit(double, 1, 0.05)
    await state(job.running)
    with pytest.raises(BlockingInLoop, match="AsyncExecutionService.stop"):
        executor.sync.stop()
    assert await job == 2
    assert balanced(await executor.stop())
