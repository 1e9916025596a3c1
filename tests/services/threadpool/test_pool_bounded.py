"""A bounded queue: exact, fair, and left by everybody who waits for room in it."""

import threading
import time
from queue import Full

import anyio
import pytest
from pool_tools import (
    PATIENCE,
    Gate,
    held,
    in_thread,
    in_threads,
    state,
    switching_fast,
    wait_for,
)

from cup.errors import (
    BlockingInLoopWarning,
    JobCancelled,
    PoolBroken,
    PoolClosed,
    PoolFull,
)
from cup.services.threadpool import ThreadPool

POLICIES = ["block", "refuse", "caller_runs", "drop_oldest"]


@pytest.fixture
def make():
    """Give a maker of bounded pools, which are stopped at the end."""
    pools = []

    def make(when_full, queue_size=1, max_workers=1, **options):
        pool = ThreadPool(
            max_workers=max_workers,
            queue_size=queue_size,
            when_full=when_full,
            **options,
        )
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.stop()


def places(pool):
    """Count the free places of a bounded queue."""
    return len(pool.core.queue.room._places)


# -- the four policies, for threads ------------------------------------------------


def test_block_waits_for_room(make):
    pool = make("block")
    with held(pool) as gate:
        pool.submit(int)
        blocked = in_thread(pool.submit, int, "7")
        wait_for(lambda: pool.stats().waiting == 1)
        assert pool.stats().queued == 1
        gate.open()
        assert blocked().result(PATIENCE) == 7
    assert pool.stats().refused == 0


def test_block_waits_no_longer_than_room_timeout(make):
    pool = make("block", room_timeout=0.01)
    with held(pool):
        pool.post(int)
        for put in (pool.submit, pool.post, pool.options(urgency=0).submit):
            with pytest.raises(PoolFull):
                put(int)
        assert pool.stats().waiting == 0
        assert pool.stats().refused == 3
        assert pool.stats().queued == 1
    assert pool.run(lambda: 1) == 1


def test_refuse_raises_at_once(make):
    pool = make("refuse", queue_size=2)
    with held(pool):
        pool.submit(int)
        pool.post(int)
        for put in (pool.submit, pool.post, pool.add_1job, pool.run):
            with pytest.raises(PoolFull, match="full"):
                put(int)
        assert pool.stats().refused == 4
    assert issubclass(PoolFull, Full)
    assert issubclass(PoolFull, RuntimeError)
    assert pool.run(lambda: 1) == 1


def test_caller_runs_runs_in_the_calling_thread(make):
    pool = make("caller_runs")
    with held(pool):
        pool.post(int)
        job = pool.submit(threading.current_thread)
        assert job.done()
        assert job.result() is threading.current_thread()
        failed = pool.submit(int, "x")
        assert isinstance(failed.exception(), ValueError)
        assert pool.stats().done == 2
        assert pool.stats().failed == 1
    pool.stop()
    assert pool.stats().done == 4
    assert pool.stats().failed == 1


def test_drop_oldest_cancels_the_job_that_waited_longest(make):
    pool = make("drop_oldest", queue_size=2)
    with held(pool):
        jobs = [pool.submit(int, number) for number in range(5)]
        assert [job.cancelled() for job in jobs] == [True] * 3 + [False] * 2
        assert pool.stats().queued == 2
        assert pool.stats().cancelled == 3
    assert [job.result(PATIENCE) for job in jobs[3:]] == [3, 4]
    wait_for(lambda: places(pool) == 2)


def test_drop_oldest_drops_the_less_urgent_first(make):
    pool = make("drop_oldest", queue_size=3)
    with held(pool):
        high, normal, low = (
            pool.options(urgency=urgency).submit(int) for urgency in (0, 1, 2)
        )
        more = pool.submit(int)
        assert [job.cancelled() for job in (high, normal, low)] == [False, False, True]
        last = pool.submit(int)
        assert [job.cancelled() for job in (high, normal, more)] == [False, True, False]
    assert last.result(PATIENCE) == 0


def test_drop_oldest_ends_where_nothing_can_be_dropped(make):
    """So it is in a signal handler that interrupts a submit holding the last place."""
    pool = make("drop_oldest")
    pool.start()
    assert pool.core.queue.room.take_now()
    dropped = in_thread(pool.submit, int)()
    assert dropped.cancelled()
    pool.core.queue.room.free()
    assert pool.run(lambda: 1) == 1


def test_a_dropped_job_still_calls_back_and_takes_no_place(make):
    pool = make("drop_oldest", queue_size=1)
    calls = []
    with held(pool):
        for number in range(20):
            pool.add_1job_with_callback(
                lambda ok, outcome: calls.append((ok, outcome)), lambda n=number: n
            )
        assert places(pool) == 0
    wait_for(lambda: len(calls) == 20)
    assert calls[-1] == (True, 19), "what was dropped is told first"
    assert {type(error) for _, error in calls[:-1]} == {JobCancelled}
    wait_for(lambda: pool.stats().idle == 1)
    assert places(pool) == 1
    with held(pool):
        pool.post(int)
        assert pool.stats().queued == 1
        assert places(pool) == 0
    pool.stop()
    assert pool.stats().done == 4, "callbacks are no jobs"


# -- the bound ---------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_the_bound_is_exact_under_eight_threads(make, policy):
    pool = make(policy, queue_size=3, max_workers=2)
    seen = []
    counts = {"run": 0, "refused": 0}
    lock = threading.Lock()

    def job():
        seen.append(pool.core.queue.lying())
        with lock:
            counts["run"] += 1

    def submit(_):
        for _ in range(150):
            try:
                pool.submit(job)
            except PoolFull:
                with lock:
                    counts["refused"] += 1
            seen.append(pool.core.queue.lying())

    with switching_fast():
        in_threads(8, submit)
    pool.stop()
    stats = pool.stats()
    assert max(seen) <= 3
    assert places(pool) == 3
    assert counts["run"] == stats.done
    assert counts["refused"] == stats.refused
    assert stats.done + stats.refused + stats.cancelled == 8 * 150
    if policy in {"block", "caller_runs"}:
        assert stats.done == 8 * 150


def test_the_places_are_all_back_after_cancels(make):
    pool = make("refuse", queue_size=5)
    with held(pool):
        for cancel in range(3):
            jobs = [pool.submit(int) for _ in range(5)]
            with pytest.raises(PoolFull):
                pool.post(int)
            for job in jobs:
                assert job.cancel()
            assert places(pool) == 5, cancel
    assert pool.run(lambda: 1) == 1


def test_the_places_are_all_back_after_stop_and_start(make):
    pool = make("refuse", queue_size=3)
    for force in (False, True, False):
        with held(pool) as gate:
            for _ in range(3):
                pool.post(int)
            report = in_thread(pool.stop, force)
            wait_for(lambda: pool.core.draining)
            gate.open()
            report()
        assert places(pool) == 3
        pool.start()


def test_the_places_are_all_back_after_time_outs(make):
    pool = make("refuse", queue_size=2)
    with held(pool):
        view = pool.options(queue_timeout=0.01)
        jobs = [view.submit(int) for _ in range(2)]
        for job in jobs:
            assert isinstance(job.exception(PATIENCE), TimeoutError)
        assert places(pool) == 2
    with held(pool):
        pool.post(int)
        pool.post(int)
        with pytest.raises(PoolFull):
            pool.post(int)


def test_foreign_ends_of_queued_jobs_give_their_places_back(make):
    pool = make("refuse")
    with held(pool):
        for _ in range(3):
            pool.submit(int).set_result(1)
            pool.submit(int).set_running_or_notify_cancel()
        assert places(pool) == 1


def test_map_and_each_go_through_the_bound(make):
    pool = make("block", queue_size=2, max_workers=2)
    seen = []

    def job(number):
        seen.append(pool.core.queue.lying())
        return number

    assert list(pool.map(job, range(50))) == list(range(50))
    assert list(pool.each(job, range(50))) == list(range(50))
    assert sorted(pool.each(job, range(50), ordered=False)) == list(range(50))
    assert max(seen) <= 2


# -- who waits ---------------------------------------------------------------------


def test_blocked_threads_and_tasks_are_served_in_their_order(make, anyio_backend):
    pool = make("block")
    order = []
    arrived = []

    async def task(number):
        await pool.aio.submit(order.append, number)

    async def main():
        async with anyio.create_task_group() as group:
            for number in range(12):
                if number % 2:
                    group.start_soon(task, number)
                else:
                    arrived.append(in_thread(pool.submit, order.append, number))
                await state(lambda n=number: pool.stats().waiting == n + 1)
            gate.open()

    with held(pool) as gate:
        pool.post(order.append, "queued")
        name, options = (
            anyio_backend if isinstance(anyio_backend, tuple) else (anyio_backend, {})
        )
        anyio.run(main, backend=name, backend_options=options)
    for result in arrived:
        result()
    pool.stop()
    assert order == ["queued", *range(12)]


async def test_the_async_policies(make):
    pool = make("block")
    with held(pool) as gate:
        await pool.aio.post(int)
        async with anyio.create_task_group() as group:
            results = []

            async def run():
                results.append(await pool.aio.run(int, "5"))

            group.start_soon(run)
            await state(lambda: pool.stats().waiting == 1)
            gate.open()
        assert results == [5]

    pool = make("refuse")
    with held(pool):
        await pool.aio.post(int)
        for put in (pool.aio.submit, pool.aio.post, pool.aio.run):
            with pytest.raises(PoolFull):
                await put(int)

    pool = make("drop_oldest")
    with held(pool):
        first = await pool.aio.submit(int)
        second = await pool.aio.submit(int)
        assert (first.cancelled(), second.cancelled()) == (True, False)
        with pytest.raises(JobCancelled):
            await first
    assert await second == 0


async def test_caller_runs_waits_in_a_task(make):
    pool = make("caller_runs")
    threads = []
    with held(pool) as gate:
        await pool.aio.post(int)
        async with anyio.create_task_group() as group:

            async def run():
                threads.append(await pool.aio.run(threading.current_thread))

            group.start_soon(run)
            await state(lambda: pool.stats().waiting == 1)
            gate.open()
    assert threads[0] is not threading.current_thread()


async def test_room_timeout_in_a_task(make):
    pool = make("block", room_timeout=0.01)
    with held(pool):
        await pool.aio.post(int)
        with pytest.raises(PoolFull):
            await pool.aio.run(int)
        assert pool.stats().waiting == 0
        assert pool.stats().refused == 1


@pytest.mark.parametrize("put", ["submit", "run", "post"])
async def test_a_cancelled_wait_for_room_leaves_no_place_lost(make, put):
    pool = make("block")
    ran = []
    with held(pool) as gate:
        await pool.aio.post(int)
        for _ in range(5):
            with anyio.move_on_after(0.005) as scope:
                await getattr(pool.aio, put)(ran.append, 1)
            assert scope.cancelled_caught
        assert pool.stats().waiting == 0
        assert pool.stats().queued == 1
        gate.open()
    assert await pool.aio.run(lambda: 1) == 1
    assert ran == []
    await state(lambda: places(pool) == 1)


async def test_cancels_that_race_with_the_grant_leave_no_place_lost(make):
    pool = make("block", queue_size=1, max_workers=2)

    async def one(number):
        with anyio.move_on_after(0.0005 * (number % 7)):
            await pool.aio.run(time.sleep, 0.0003)

    for _ in range(4):
        async with anyio.create_task_group() as group:
            for number in range(40):
                group.start_soon(one, number)
    await pool.aio.stop()
    assert places(pool) == 1
    assert pool.stats().queued == 0
    assert pool.stats().waiting == 0


def test_stop_releases_whoever_waits_for_room(make):
    pool = make("block")
    with held(pool) as gate:
        pool.post(int)
        blocked = [in_thread(pool.submit, int) for _ in range(4)]
        wait_for(lambda: pool.stats().waiting == 4)
        report = in_thread(pool.stop)
        for result in blocked:
            with pytest.raises(PoolClosed):
                result()
        gate.open()
        assert report()
    assert pool.stats().refused == 4
    assert places(pool) == 1


async def test_stop_releases_tasks_that_wait_for_room(make):
    pool = make("block")
    errors = []

    async def blocked():
        try:
            await pool.aio.submit(int)
        except PoolClosed as error:
            errors.append(error)

    with held(pool) as gate:
        await pool.aio.post(int)
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(blocked)
            await state(lambda: pool.stats().waiting == 4)
            pool.core.refuse()
        gate.open()
    assert len(errors) == 4


def test_a_broken_pool_releases_whoever_waits_for_room(make):
    gate = Gate()

    def fails():
        gate()
        raise ValueError("on purpose")

    pool = make("block", initializer=fails)
    jobs = [pool.submit(int)]
    gate.await_inside()
    blocked = [in_thread(pool.submit, int) for _ in range(3)]
    wait_for(lambda: pool.stats().waiting == 3)
    gate.open()
    for result in blocked:
        with pytest.raises(PoolBroken):
            result()
    with pytest.raises(PoolBroken):
        jobs[0].result(PATIENCE)
    assert places(pool) == 1


def test_a_job_may_submit_to_its_own_full_pool(make):
    """A worker that waited for room in its own pool might wait for ever."""
    pool = make("block", queue_size=1)
    ran = []

    def job():
        for number in range(5):
            pool.post(ran.append, number)
        return pool.submit(len, ran).result()

    assert pool.submit(job).result(PATIENCE) in range(4, 6)
    pool.stop()
    assert sorted(ran) == list(range(5))
    assert places(pool) == 1


def test_posts_before_start_fill_the_queue(make):
    pool = make("refuse", queue_size=2)
    ran = []
    pool.post(ran.append, 1)
    pool.post(ran.append, 2)
    with pytest.raises(PoolFull):
        pool.post(ran.append, 3)
    pool.start()
    wait_for(lambda: ran == [1, 2])
    pool.post(ran.append, 4)
    pool.stop()
    assert ran == [1, 2, 4]


async def test_blocking_in_a_loops_thread_warns_and_names_the_twin(make):
    pool = make("block")
    with held(pool) as gate:
        pool.post(int)
        with pytest.raises(BlockingInLoopWarning, match=r"AsyncThreadPool\.submit"):
            pool.submit(int)  # warnings are errors here
        assert pool.stats().waiting == 0
        gate.open()
    await state(lambda: places(pool) == 1)
