"""Everything at once: threads, loops, resizes, stops, and every kind of exception."""

import random
import threading
import time

import anyio
import pytest
from pool_tools import (
    PATIENCE,
    STORM,
    in_thread,
    in_threads,
    raise_it,
    switching_fast,
    wait_for,
)

from cup.errors import JobCancelled, PoolError
from cup.services.threadpool import ThreadPool


class Counts:
    """What the users of one pool saw, added up."""

    def __init__(self):
        self._lock = threading.Lock()
        self.accepted = self.refused = self.cancelled = self.results = self.errors = 0

    def add(self, **more):
        with self._lock:
            for name, number in more.items():
                setattr(self, name, getattr(self, name) + number)


def job(number):
    if number % 11 == 0:
        time.sleep(0.0002)
    if number % 7 == 0:
        raise_it(STORM[number % len(STORM)])
    return number


def produce(pool, chance, counts, ended):
    """Submit, cancel and collect from a thread, in many ways."""
    while not ended.is_set():
        number = chance.randrange(1000)
        view = chance.choice(
            [pool, pool.options(urgency=chance.randrange(3))],
        )
        try:
            if number % 3 == 0:
                view.post(job, 1)
                counts.add(accepted=1, results=1)
                continue
            future = view.submit(job, number)
        except PoolError:
            counts.add(refused=1)
            continue
        counts.add(accepted=1)
        if number % 5 == 0 and future.cancel():
            counts.add(cancelled=1)
            continue
        try:
            error = future.exception(PATIENCE)
        except JobCancelled:
            counts.add(cancelled=1)
            continue
        if error is None:
            assert future.result() == number
            counts.add(results=1)
        else:
            assert type(error) in STORM, error
            counts.add(errors=1)


async def consume(pool, chance, counts, ended):
    """Await, cancel and stream from tasks of one loop."""
    apool = pool.aio

    async def one(number):
        with anyio.CancelScope(deadline=anyio.current_time() + chance.random() * 0.02):
            await apool.options(on_cancel=chance.choice(["wait", "abandon"])).run(
                abs, number
            )

    while not ended.is_set():
        before = apool.stats()
        async with anyio.create_task_group() as group:
            for number in range(chance.randrange(1, 40)):
                group.start_soon(one, number)
        with anyio.move_on_after(PATIENCE):
            streamed = [item async for item in apool.each(abs, range(10))]
        assert streamed == list(range(10))
        assert apool.stats().done >= before.done


def chaos(pool, seconds, seed):
    """Use one pool from all sides while it is resized; return what was counted."""
    counts, ended = Counts(), threading.Event()
    chance = random.Random(seed)
    users = [
        in_thread(produce, pool, random.Random(chance.random()), counts, ended)
        for _ in range(8)
    ]
    users += [
        in_thread(
            lambda name=name: anyio.run(
                consume, pool, random.Random(seed), counts, ended, backend=name
            )
        )
        for name in ("asyncio", "asyncio", "trio")
    ]
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            maximum = chance.randrange(1, 9)
            pool.resize(chance.randrange(0, maximum + 1), maximum)
            chance.choice([pool.start1worker, pool.stop1worker, pool.stats])()
            time.sleep(0.003)
    finally:
        ended.set()
    for user in users:
        user()
    return counts


@pytest.mark.full
@pytest.mark.parametrize(
    ("seconds", "interval"),
    [
        pytest.param(1.5, 0.005, id="short"),
        pytest.param(1.5, 1e-6, id="short-preempted"),
        pytest.param(30, 0.005, id="long", marks=pytest.mark.long),
        pytest.param(30, 1e-6, id="long-preempted", marks=pytest.mark.long),
    ],
)
@pytest.mark.timeout(120)
def test_chaos_accounts_for_every_job(seconds, interval):
    reports = []
    pool = ThreadPool(
        1, 4, keep_alive=0.002, on_unhandled=lambda *what: reports.append(what)
    )
    pool.start()
    with switching_fast(interval):
        counts = chaos(pool, seconds, seed=int(interval * 1e6) + 1)
    for minimum, maximum in [(0, 3), (2, 5), (1, 1)]:
        pool.resize(minimum, maximum)
        wait_for(lambda low=minimum: pool.stats().workers == low)
    assert pool.stop()
    stats = pool.stats()
    assert stats.queued == 0
    assert stats.running == 0
    assert stats.workers == 0
    assert counts.refused == 0
    assert counts.accepted == counts.results + counts.errors + counts.cancelled
    assert stats.done + stats.cancelled >= counts.accepted
    assert stats.failed == counts.errors
    assert reports == []


@pytest.mark.full
@pytest.mark.parametrize("policy", ["block", "refuse", "caller_runs", "drop_oldest"])
def test_chaos_on_a_bounded_pool(policy):
    pool = ThreadPool(
        0, 3, keep_alive=0.002, queue_size=3, when_full=policy, room_timeout=PATIENCE
    )
    counts, ended = Counts(), threading.Event()
    with switching_fast():
        users = [
            in_thread(produce, pool, random.Random(number), counts, ended)
            for number in range(8)
        ]
        time.sleep(0.4)  # that long is the storm
        ended.set()
        for user in users:
            user()
    assert pool.stop()
    stats = pool.stats()
    assert len(pool.core.queue.room._places) == 3
    assert stats.refused == counts.refused
    assert stats.done + stats.cancelled == counts.accepted
    if policy != "drop_oldest":  # posts that were dropped count as results above
        assert stats.done == counts.results + counts.errors


@pytest.mark.full
def test_stops_and_starts_while_others_submit():
    """What was accepted is executed, over any number of lives."""
    pool = ThreadPool(0, 3, keep_alive=0.001)
    counts, ended = Counts(), threading.Event()
    with switching_fast():
        users = [
            in_thread(produce, pool, random.Random(number), counts, ended)
            for number in range(6)
        ]
        try:
            for number in range(60):
                assert pool.stop(force_stop=False)
                wait_for(lambda: not pool.core.present)
                pool.start()
                time.sleep(0.002 * (number % 3))
        finally:
            ended.set()
        for user in users:
            user()
    assert pool.stop()
    stats = pool.stats()
    assert stats.queued == 0
    assert stats.refused == counts.refused
    assert stats.done + stats.cancelled == counts.accepted
    assert stats.done == counts.results + counts.errors
    assert stats.cancelled == counts.cancelled


@pytest.mark.full
def test_forced_stops_while_others_submit():
    """What is dropped or interrupted ends as cancelled, and nothing else hangs."""
    pool = ThreadPool(0, 3, keep_alive=0.001, interrupt_grace=PATIENCE)
    counts, ended = Counts(), threading.Event()

    def submit(_):
        while not ended.is_set():
            try:
                jobs = [pool.submit(abs, number) for number in range(5)]
            except PoolError:
                continue
            counts.add(accepted=5)
            for number, job in enumerate(jobs):
                try:
                    assert job.result(PATIENCE) == number
                    counts.add(results=1)
                except JobCancelled:
                    counts.add(cancelled=1)

    with switching_fast():
        users = [in_thread(submit, number) for number in range(4)]
        try:
            for _ in range(60):
                assert pool.stop(force_stop=True)
                pool.start()
        finally:
            ended.set()
        for user in users:
            user()
    assert pool.stop()
    assert counts.accepted == counts.results + counts.cancelled


def test_a_storm_of_exceptions_kills_no_worker():
    pool = ThreadPool(3, 3, on_unhandled=lambda *_: None)
    pool.start()
    threads = {worker.thread for worker in pool.core.workers}

    def storm(number):
        for kind in STORM * 10:
            future = pool.submit(raise_it, kind)
            assert type(future.exception(PATIENCE)) is kind
            pool.post(raise_it, kind)
            pool.add_1job_with_callback(
                lambda _, error: raise_it(type(error)), raise_it, kind
            )

    in_threads(3, storm)
    pool.run(int)
    assert {worker.thread for worker in pool.core.workers} == threads
    pool.stop()
    assert pool.stats().failed == 3 * 3 * 10 * len(STORM)


@pytest.mark.parametrize("interval", [0.005, 1e-6])
def test_two_threads_play_ping_pong_without_a_lost_wake(interval):
    """A worker that goes to sleep and a submitter see each other, every time."""
    pool = ThreadPool(max_workers=2, keep_alive=None)

    def play(number):
        for ball in range(400):
            assert pool.submit(abs, ball).result(PATIENCE) == ball

    with switching_fast(interval):
        in_threads(3, play)
    pool.stop()
