"""A cancelled task: its job never starts, is waited for, left alone or interrupted."""

import asyncio
import random
import sys
import threading
import time

import anyio
import anyio.lowlevel
import pytest
from pool_tools import PATIENCE, Gate, held, run_python, state, switching_fast, wait_for

from cup.errors import JobCancelled, LoopGone
from cup.services.threadpool import (
    AsyncThreadPool,
    await_in_loop,
    check_cancelled,
    current_job,
    run_in_loop,
)


@pytest.fixture
def apool():
    pool = AsyncThreadPool(max_workers=2)
    yield pool
    pool.sync.stop()


@pytest.fixture
def single():
    pool = AsyncThreadPool(max_workers=1, interrupt_grace=0.05)
    yield pool
    pool.sync.stop()


# -- what has not started ----------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"urgency": 0}, {"queue_timeout": PATIENCE}])
async def test_a_cancelled_scope_never_starts_a_job(apool, options):
    ran = []
    for _ in range(20):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await apool.options(**options).run(ran.append, 1)
        assert scope.cancel_called
    with anyio.CancelScope() as scope:
        scope.cancel()
        await apool.submit(ran.append, 2)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await apool.post(ran.append, 3)
    assert await apool.run(lambda: 1) == 1
    assert ran == []
    assert apool.stats().queued == 0


async def test_a_queued_job_of_a_cancelled_task_never_runs(single):
    ran = []
    with held(single.sync) as gate:
        for options in ({}, {"urgency": 2}, {"on_cancel": "abandon"}):
            with anyio.move_on_after(0.002) as scope:
                await single.options(**options).run(ran.append, 1)
            assert scope.cancelled_caught
        assert single.stats().queued == 0
        assert single.stats().cancelled == 3
        gate.open()
    assert await single.run(lambda: 1) == 1
    assert ran == []


async def test_tasks_cancelled_before_their_calls_are_handed_over(apool):
    """Calls are handed over at the end of an iteration of the loop."""
    ran = []

    async def one():
        await apool.run(ran.append, 1)

    for _ in range(400):
        async with anyio.create_task_group() as group:
            group.start_soon(one)
            group.start_soon(one)
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    stats = apool.stats()
    assert stats.queued == 0
    assert await apool.run(lambda: 1) == 1
    report = await apool.stop()
    assert report
    apool.start()
    with held(apool.sync, 2):
        for _ in range(5):
            await apool.post(int)
        assert apool.stats().queued == 5


def test_a_native_cancel_before_the_first_step_starts_nothing(apool):
    ran = []

    async def main():
        for _ in range(20):
            task = asyncio.ensure_future(apool.run(ran.append, 1))
            assert task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await apool.run(lambda: 1) == 1
        assert ran == []

    asyncio.run(main())
    assert apool.stats().queued == 0


def test_a_native_cancel_around_the_hand_over_is_one_of_two(apool):
    """Either the task is cancelled, or it has its result; the job runs once at most."""

    async def main():
        for yields in range(60):
            ran = []
            task = asyncio.ensure_future(apool.run(ran.append, 1))
            for _ in range(yields % 4):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                assert ran in ([], [1])
            else:
                assert ran == [1]
        assert await apool.run(lambda: 1) == 1

    asyncio.run(main())
    assert apool.stats().queued == 0


# -- what runs ---------------------------------------------------------------------


async def test_a_running_job_is_waited_for(single):
    gate = Gate()
    seen = []

    async def run():
        try:
            await single.run(gate)
        finally:
            seen.append(single.stats().running)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await state(lambda: single.stats().running == 1)
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.01)
            assert seen == [], "the task is still there"
            gate.open()
    assert seen == [0]


async def test_a_running_job_is_left_alone_where_so_asked(single):
    gate = Gate()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(single.options(on_cancel="abandon").run, gate)
            await state(lambda: single.stats().running == 1)
            scope.cancel()
    assert single.stats().running == 1
    gate.open()
    assert await single.run(lambda: 1) == 1


async def test_a_running_job_is_interrupted_where_so_asked(single):
    ended = []

    def job():
        try:
            while True:
                time.monotonic()
        finally:
            ended.append(True)

    with anyio.move_on_after(0.01) as scope:
        await single.options(on_cancel="interrupt").run(job)
    assert scope.cancelled_caught
    assert ended == [True]
    assert await single.run(lambda: 1) == 1


async def test_a_stuck_job_is_given_up_after_its_grace(single):
    lock = threading.Lock()
    lock.acquire()
    with anyio.move_on_after(0.01) as scope:
        await single.options(on_cancel="interrupt").run(lock.acquire, timeout=PATIENCE)
    assert scope.cancelled_caught
    assert await single.run(lambda: 1) == 1, "its worker was replaced"
    lock.release()
    await state(lambda: single.stats().late == 1)
    assert single.stats().workers == 1


async def test_a_job_can_notice_that_its_task_was_cancelled(single):
    noticed = threading.Event()

    def job():
        while True:
            try:
                check_cancelled()
            except JobCancelled:
                noticed.set()
                return
            time.sleep(0.001)

    with anyio.move_on_after(0.01):
        await single.run(job)
    assert noticed.is_set()
    assert await single.run(check_cancelled) is None
    check_cancelled()


async def test_the_result_of_a_job_that_ends_while_it_is_cancelled_is_dropped(single):
    for _ in range(30):
        with anyio.move_on_after(0.0005):
            assert await single.run(time.sleep, 0.0005) is None
    assert await single.run(lambda: 1) == 1
    assert single.stats().running == 0


def test_cancelling_again_does_not_cut_the_wait_short(single):
    gate = Gate()

    async def main():
        task = asyncio.ensure_future(single.run(gate))
        await state(lambda: single.stats().running == 1)
        for _ in range(5):
            task.cancel()
            await asyncio.sleep(0.001)
            assert not task.done()
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_asyncios_own_time_outs(single):
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(single.run(time.sleep, 0.03), 0.005)
        assert single.stats().running == 0
        with held(single.sync) as gate:
            ran = []
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(single.run(ran.append, 1), 0.005)
            gate.open()
        if sys.version_info >= (3, 11):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.005):
                    await single.run(time.sleep, 0.03)
            assert asyncio.current_task().cancelling() == 0
        assert await asyncio.wait_for(single.run(lambda: 1), PATIENCE) == 1
        assert ran == []
        assert asyncio.current_task() is not None

    asyncio.run(main())


async def test_a_time_out_around_run(single):
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.005):
            await single.run(time.sleep, 0.03)
    with anyio.fail_after(PATIENCE):
        assert await single.run(lambda: 1) == 1


async def test_cancels_at_random_phases_lose_nothing(apool):
    """Every call ends once: with its result, or cancelled; figures agree."""
    chance = random.Random(7)
    ran = []
    outcomes = []

    async def one(number):
        with anyio.CancelScope(deadline=anyio.current_time() + chance.random() * 0.01):
            result = await apool.options(
                urgency=chance.randrange(3),
                on_cancel=chance.choice(["wait", "abandon"]),
            ).run(job, number)
            assert result == number
            outcomes.append(number)

    def job(number):
        ran.append(number)
        if number % 7 == 0:
            time.sleep(0.0005)
        return number

    with switching_fast(1e-5):
        for _ in range(3):
            async with anyio.create_task_group() as group:
                for number in range(120):
                    group.start_soon(one, number)
    report = await apool.stop()
    stats = apool.stats()
    assert report
    assert set(outcomes) <= set(ran)
    assert stats.done == len(ran)
    assert stats.done + stats.cancelled <= 360
    assert stats.queued == 0


def test_a_call_that_is_closed_takes_its_job_back(single):
    """As when a loop is gone and the coroutine of its task is collected."""
    ran = []

    async def main():
        call = single.run(ran.append, 1)
        call.send(None)
        await state(lambda: single.stats().queued == 1)
        call.close()
        assert single.stats().queued == 0

    with held(single.sync):
        asyncio.run(main())
    assert single.sync.run(lambda: 1) == 1
    assert ran == []


# -- from inside of a job ----------------------------------------------------------


async def test_a_job_can_call_on_its_loop(single):
    here = threading.get_ident()
    assert await single.run(lambda: run_in_loop(threading.get_ident)) == here
    assert await single.run(lambda: run_in_loop(divmod, 7, 3)) == (2, 1)
    with pytest.raises(KeyError):
        await single.run(lambda: run_in_loop({}.__getitem__, 1))


async def test_a_job_can_await_on_its_loop(single):
    here = threading.get_ident()

    async def add(one, *, other):
        await anyio.sleep(0.001)
        assert threading.get_ident() == here
        return one + other

    assert await single.run(lambda: await_in_loop(add, 1, other=2)) == 3

    async def fails():
        await anyio.lowlevel.checkpoint()
        raise KeyError

    with pytest.raises(KeyError):
        await single.run(lambda: await_in_loop(fails))
    with pytest.raises(TypeError):
        await single.run(lambda: await_in_loop(int))


async def test_a_job_that_awaits_runs_jobs_of_the_same_pool(apool):
    async def inner():
        return await apool.run(lambda: 5)

    assert await apool.run(lambda: await_in_loop(inner)) == 5


async def test_many_jobs_may_call_on_their_loop_at_once(apool):
    counter = 0

    def count():
        nonlocal counter
        counter += 1  # on the loop: no race

    def job():
        for _ in range(20):
            run_in_loop(count)

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(apool.run, job)
    assert counter == 200


def test_without_a_loop_a_job_is_told_so(single):
    with pytest.raises(LoopGone):
        single.sync.run(lambda: run_in_loop(int))
    with pytest.raises(LoopGone):
        single.sync.run(lambda: await_in_loop(anyio.sleep, 0))
    with pytest.raises(LoopGone):
        run_in_loop(int)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_loop_that_is_gone_does_not_hang_its_job(single, backend):
    gate = Gate()
    errors = []

    def job():
        gate()
        try:
            run_in_loop(int)
        except LoopGone as error:
            errors.append(error)

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(single.options(on_cancel="abandon").run, job)
            await state(lambda: single.stats().running == 1)
            group.cancel_scope.cancel()

    anyio.run(main, backend=backend)
    gate.open()
    wait_for(lambda: errors)
    assert single.sync.run(int) == 0


async def test_a_job_knows_itself(single):
    assert current_job() is None
    job = await single.submit(current_job)
    assert await job is job.sync
    assert await single.run(current_job) is None, "nobody has asked for a job"
    limited = single.sync.options(run_timeout=PATIENCE).submit(current_job)
    assert await limited is limited


async def test_libraries_see_no_event_loop_inside_of_a_job(single):
    sniffio = pytest.importorskip("sniffio")

    def job():
        with pytest.raises(sniffio.AsyncLibraryNotFoundError):
            sniffio.current_async_library()
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()

        async def main():
            await anyio.lowlevel.checkpoint()
            return 5

        return anyio.run(main)

    assert await single.run(job) == 5


@pytest.mark.full
def test_ctrl_c_during_an_awaited_job_ends_the_program():
    script = """
import asyncio, os, signal, sys, threading, time
from cup.services.threadpool import AsyncThreadPool

pool = AsyncThreadPool(max_workers=1)
started = threading.Event()

def job():
    started.set()
    time.sleep(0.2)

def interrupt():
    started.wait()
    os.kill(os.getpid(), signal.SIGINT)

async def main():
    async with pool:
        await pool.run(job)

threading.Thread(target=interrupt).start()
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", pool.stats().running)
"""
    assert run_python(script) == "interrupted 0\n"
