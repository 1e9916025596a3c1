"""Who waits for blocks waits in one line: threads, and tasks of every loop."""

import asyncio
import contextlib
import gc
import random
import sys
import threading
import time
from collections import deque
from importlib.util import find_spec

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from buffers_tools import settled

from cup._core.gil import MUTEX_PATHS
from cup._core.line import Fifo
from cup.errors import BufferTooLarge, InvalidValue, WaitTimeout
from cup.services.buffers import AsyncBufferPool, BufferPool
from cup.testing import CallCancelled, available_colours

SIZE = 512


@pytest.fixture(params=available_colours(), ids=str)
def colour(request):
    return request.param


@pytest.fixture
def pool():
    pool = BufferPool(pool_size=4, block_size=SIZE, leaks="full")
    yield pool
    assert settled(pool)


@contextlib.asynccontextmanager
async def stage(colour, pool, *names):
    async with colour.actors(pool, pool.aio) as actors:
        yield [actors.hire(name) for name in names]


def waiting(pool, number):
    return lambda: pool.stats().waiting == number


def test_one_line_and_nobody_barges(colour, pool):
    async def play():
        async with stage(colour, pool, "big", "small", "tiny", "late") as actors:
            big, small, tiny, late = actors
            held = pool.allocate(2)[1]
            big_wish = big.start("acquire", 4)
            await colour.until(waiting(pool, 1))
            small_wish = small.start("acquire", 2)
            await colour.until(waiting(pool, 2))
            tiny_wish = tiny.start("acquire", 1)
            await colour.until(waiting(pool, 3))
            # Two blocks are free, and nobody who comes now may have one.
            assert pool.allocate(1) == (False, "1 blocks were asked for, 2 are free")
            with pytest.raises(WaitTimeout):
                await late.call("acquire", 1, 0)
            assert not any(w.done for w in (big_wish, small_wish, tiny_wish))

            pool.release(held)
            first = await big_wish.result()
            assert pool.stats().waiting == 2
            first.release()
            (await small_wish.result()).release()
            (await tiny_wish.result()).release()

    colour.run(play)


def test_who_gives_up_lets_the_next_go(colour, pool):
    async def play():
        async with stage(colour, pool, "head", "next") as (head, after):
            held = pool.allocate(2)[1]
            wish = head.start("acquire", 4)
            await colour.until(waiting(pool, 1))
            next_wish = after.start("acquire", 2)
            await colour.until(waiting(pool, 2))
            wish.cancel()
            (await next_wish.result()).release()
            with pytest.raises(CallCancelled):
                await wish.result()
            held.release()

    colour.run(play)


def test_whose_time_is_over_lets_the_next_go(colour, pool):
    async def play():
        async with stage(colour, pool, "head", "next") as (head, after):
            held = pool.allocate(2)[1]
            wish = head.start("acquire", 4, 0.05)
            await colour.until(waiting(pool, 1))
            next_wish = after.start("acquire", 2)
            (await next_wish.result()).release()
            with pytest.raises(WaitTimeout, match="not granted within 0.05 s"):
                await wish.result()
            held.release()

    colour.run(play)


def test_cancelled_when_it_was_granted(colour, pool):
    """The grant and the cancellation come at once: the blocks are nobody's, or his."""

    async def play():
        async with stage(colour, pool, "head", "next") as (head, after):
            for first in ("grant", "cancel"):
                held = pool.allocate(4)[1]
                wish = head.start("acquire", 4)
                await colour.until(waiting(pool, 1))
                next_wish = after.start("acquire", 4)
                await colour.until(waiting(pool, 2))
                if first == "grant":
                    held.release()
                wish.cancel()
                if first == "cancel":
                    held.release()
                try:
                    (await wish.result()).release()
                except CallCancelled:
                    pass
                (await next_wish.result()).release()
                assert pool.stats().free == 4

    colour.run(play)


def test_what_can_never_be_fails_at_once(colour, pool):
    async def play():
        async with stage(colour, pool, "one") as (one,):
            held = pool.allocate(4)[1]
            with pytest.raises(BufferTooLarge):
                await one.call("acquire", 5)
            for wrong in (0, -1):
                with pytest.raises(InvalidValue):
                    await one.call("acquire", wrong)
            with pytest.raises(InvalidValue):
                await one.call("acquire", 1, float("nan"))
            for no_time in (0, -1):
                with pytest.raises(WaitTimeout):
                    await one.call("acquire", 1, no_time)
            held.release()
            (await one.call("acquire", 4, 0)).release()
            (await one.call("acquire", 2, contiguous=True)).release()

    colour.run(play)


def test_a_growing_pool_waits_at_its_ceiling_only(colour):
    pool = BufferPool(pool_size=1, block_size=SIZE, max_blocks=3)

    async def play():
        async with stage(colour, pool, "one") as (one,):
            held = await one.call("acquire", 3, 0)
            with pytest.raises(BufferTooLarge):
                await one.call("acquire", 4)
            wish = one.start("acquire", 1)
            await colour.until(waiting(pool, 1))
            held.release()
            (await wish.result()).release()

    colour.run(play)


def test_contiguous_blocks_are_waited_for(colour, pool):
    async def play():
        async with stage(colour, pool, "one") as (one,):
            buffers = [pool.allocate(1)[1] for _ in range(4)]
            buffers[1].release()
            buffers[3].release()
            wish = one.start("acquire", 2, contiguous=True)
            await colour.until(waiting(pool, 1))
            buffers[0].release()
            buffer = await wish.result()
            assert len(buffer.room()) == 1
            buffer.release()
            buffers[2].release()

    colour.run(play)


def test_a_lost_buffer_serves_who_waits(colour):
    pool = BufferPool(4, leaks="off")

    async def play():
        async with stage(colour, pool, "one") as (one,):
            held = [pool.allocate(4)[1]]
            wish = one.start("acquire", 4)
            await colour.until(waiting(pool, 1))
            held.clear()
            gc.collect()
            (await wish.result()).release()

    colour.run(play)


async def test_a_cancelled_task_gets_nothing_at_once():
    pool = AsyncBufferPool(2)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await pool.acquire(1)
    assert scope.cancelled_caught
    assert pool.stats().free == 2


async def test_immediate_answers_let_others_run():
    pool = AsyncBufferPool(2)
    with anyio.move_on_after(0.05) as scope:
        while True:
            (await pool.acquire()).release()
    assert scope.cancelled_caught


def test_a_loop_that_dies_holds_nobody_up():
    pool = BufferPool(4, leaks="off")
    held = pool.acquire(4)
    loop = asyncio.new_event_loop()
    task = loop.create_task(pool.aio.acquire(2))
    while not pool.stats().waiting:
        loop.run_until_complete(asyncio.sleep(0))
    got = []
    thread = threading.Thread(target=lambda: got.append(pool.acquire(4, 20)))
    thread.start()
    while pool.stats().waiting != 2:
        time.sleep(0.001)
    held.release()  # granted to a task of a loop that does not run
    thread.join()
    got[0].release()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
    assert pool.stats().free == 4


# Blocks are handed in without a mutex: whoever comes to wait at that moment sees them.


class Late(Fifo):
    """A queue that somebody enters just when blocks are handed in."""

    def __init__(self, hand_in):
        super().__init__()
        self.hand_in = hand_in

    def add(self, ask):
        self.hand_in()  # sees nobody in line
        super().add(ask)


@pytest.mark.parametrize("contiguous", [False, True])
def test_a_release_just_before_somebody_is_in_line(pool, contiguous):
    held = pool.acquire(4)
    pool._core._queue = Late(held.release)
    got = []
    thread = start_thread(lambda: got.append(pool.acquire(4, contiguous=contiguous)))
    thread.join(10)
    pool._core.changed()  # if nobody saw the blocks, somebody does now
    assert got
    got[0].release()


class Slow(deque):
    """What was handed in: who takes of it is slow, and others come meanwhile."""

    meanwhile = None

    def pop(self):
        blocks = super().pop()
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        return blocks


@pytest.mark.skipif(MUTEX_PATHS, reason="not taken without a mutex")
def test_blocks_that_did_not_fit_go_to_who_came_meanwhile(pool):
    got, threads = [], []

    def wait():
        threads.append(start_thread(lambda: got.append(pool.acquire(4, 10))))
        while not pool._core._queue:
            time.sleep(0.0002)

    pool._core._spare = Slow()
    pool.acquire(4).release()
    pool._core._spare.meanwhile = wait
    assert pool.allocate(1) == (False, "1 blocks were asked for, 0 are free")
    threads[0].join()
    got[0].release()


# All at once

LOOPS = {"asyncio": ("asyncio", {}), "trio": ("trio", {})}
if find_spec("uvloop"):
    LOOPS["uvloop"] = ("asyncio", {"use_uvloop": True})


@pytest.fixture(scope="module")
def portals():
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(start_blocking_portal(*how))
            for name, how in LOOPS.items()
        }


def start_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def test_threads_and_loops_wait_in_one_line(pool, portals):
    held = pool.acquire(4)
    order = []

    async def in_task(name, count):
        with await pool.aio.acquire(count):
            order.append(name)

    def in_thread(count):
        with pool.acquire(count):
            order.append("thread")

    expected, threads, futures = [], [], []
    for round_ in range(3):
        for name in ("thread", *portals):
            count = 1 + (round_ + len(expected)) % 4
            if name == "thread":
                threads.append(start_thread(lambda n=count: in_thread(n)))
            else:
                futures.append(portals[name].start_task_soon(in_task, name, count))
            expected.append((name, count))
            while pool.stats().waiting < len(expected):
                time.sleep(0.0002)
    # One after the other, so that the order is seen.
    core = pool._core
    line = [ask.count for ask in core._queue]
    assert line == [count for _, count in expected]
    held.release()
    for thread in threads:
        thread.join()
    for future in futures:
        future.result(20)
    assert sorted(order) == sorted(name for name, _ in expected)


class Storm:
    """Many who take, hold, give up and are cancelled, in every world at once."""

    def __init__(self, pool, portals, seconds):
        self.pool = pool
        self.portals = portals
        self.end = time.monotonic() + seconds
        self.out = 0
        self.most = 0
        self.mutex = threading.Lock()
        self.served = {}
        self.worst = {}

    def enter(self, count, world, since):
        with self.mutex:
            self.out += count
            self.most = max(self.most, self.out)
            kind = (world, "big" if count > 2 else "small")
            self.served[kind] = self.served.get(kind, 0) + 1
            self.worst[kind] = max(self.worst.get(kind, 0), time.monotonic() - since)

    def leave(self, count):
        with self.mutex:
            self.out -= count

    def in_thread(self, count, dice):
        while time.monotonic() < self.end:
            since = time.monotonic()
            try:
                timeout = dice.choice([None, 0, 0.001, 0.01])
                buffer = self.pool.acquire(count, timeout)
            except WaitTimeout:
                continue
            with buffer:
                self.enter(count, "thread", since)
                buffer.set(bytes([count]) * buffer.maxsize())
                time.sleep(dice.random() * 0.0004)
                assert buffer.tobytes() == bytes([count]) * buffer.maxsize()
                self.leave(count)

    async def in_task(self, world, count, dice):
        while time.monotonic() < self.end:
            since = time.monotonic()
            patience = dice.choice([5, 0.0005, 0.005])
            with anyio.move_on_after(patience):
                with await self.pool.aio.acquire(count) as buffer:
                    self.enter(count, world, since)
                    with anyio.CancelScope(shield=True):
                        buffer.set(bytes([count]) * buffer.maxsize())
                        await anyio.sleep(dice.random() * 0.0004)
                        assert buffer.tobytes() == bytes([count]) * buffer.maxsize()
                    self.leave(count)

    def run(self, small, big):
        seeds = random.Random(3)
        counts = [1, 2] * (small // 2) + [4] * big
        threads = [
            threading.Thread(target=self.in_thread, args=(n, random.Random(seed)))
            for n, seed in zip(
                counts, seeds.sample(range(999), len(counts)), strict=True
            )
        ]
        futures = [
            portal.start_task_soon(self.in_task, name, n, random.Random(n))
            for name, portal in self.portals.items()
            for n in counts
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(100)
            assert not thread.is_alive()
        for future in futures:
            future.result(100)


@pytest.fixture
def fast_switching():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize(
    "seconds",
    [
        0.6,
        pytest.param(8, marks=pytest.mark.full),
        pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(200)]),
    ],
)
def test_storm(pool, portals, seconds, fast_switching):
    storm = Storm(pool, portals, seconds)
    storm.run(small=8, big=2)
    assert storm.most <= 4
    assert storm.out == 0
    for world in ("thread", *portals):
        assert storm.served[world, "small"]
        assert storm.served[world, "big"], storm.served  # not starved


def test_a_big_request_is_not_starved(pool):
    """Small ones that come and go all the time do not keep the blocks for ever."""
    going = True

    def churn():
        while going:
            with pool.acquire(1):
                time.sleep(0.0001)

    threads = [start_thread(churn) for _ in range(8)]
    waits = []
    for _ in range(20):
        start = time.monotonic()
        with pool.acquire(4, 10):
            waits.append(time.monotonic() - start)
    going = False
    for thread in threads:
        thread.join()
    assert len(waits) == 20
