"""Waiting on tasks, on the loops there are: `ablock`, its time-outs, its fairness."""

import asyncio
import gc
import math
import sys
import time
import types

import anyio
import pytest
from anyio.lowlevel import checkpoint
from core_tools import (
    PATIENCE,
    FakeWaiter,
    Permits,
    Thread,
    Want,
    collect,
    run_python,
    take,
    until,
    wait_for,
)

from cup._core import loops, loops_asyncio
from cup._core.latch import Latch, LatchAsk
from cup._core.loops import ablock, current_loop, wait_until, wait_until_dead
from cup._core.wait import Reach, State, block
from cup.errors import InvalidType, InvalidValue, LoopGone, WaitTimeout

HUGE = [1e7, 1e18, 1e300, 10**30, float("inf")]


async def run_all(*functions):
    async with anyio.create_task_group() as group:
        for function in functions:
            group.start_soon(function)


class Outcome:
    """Awaits an ask in a task of its own, and keeps what came of it."""

    def __init__(self, line, timeout=None):
        self.ask = Want(line)
        self.timeout = timeout
        self.scope = anyio.CancelScope()
        self.result = "pending"

    async def __call__(self):
        with self.scope:
            try:
                await ablock(self.ask, self.timeout)
                self.result = "granted"
            except WaitTimeout:
                self.result = "timed out"
        if self.scope.cancelled_caught:
            self.result = "cancelled"


# -- time-outs -------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [None, 0, -1, 5.0, float("inf")])
async def test_what_is_free_is_had_with_any_timeout(timeout):
    line = Permits(1)
    ask = Want(line)
    assert await ablock(ask, timeout) == 1
    assert ask.is_settled()
    line.leave(ask)
    line.check()


@pytest.mark.parametrize("timeout", [0, -1, -1e300])
async def test_zero_or_less_tries_once(timeout):
    line = Permits(0)
    with pytest.raises(WaitTimeout, match="within 0 s"):
        await ablock(Want(line), timeout)
    assert len(line) == 0


async def test_nan_and_nonsense_are_refused():
    with pytest.raises(InvalidValue):
        await ablock(Want(Permits()), math.nan)
    with pytest.raises(InvalidType):
        await ablock(Want(Permits()), "5")


@pytest.mark.parametrize("timeout", [0.02, 0.15])
async def test_a_wait_ends_in_time(timeout):
    line = Permits(0)
    start = time.monotonic()
    with pytest.raises(WaitTimeout, match=f"within {timeout} s"):
        await ablock(Want(line), timeout)
    assert timeout - 0.005 <= time.monotonic() - start < timeout + 1.0
    line.check()


@pytest.mark.parametrize("timeout", [None, *HUGE])
async def test_a_wait_may_be_as_long_as_one_likes(timeout):
    line = Permits(0)
    waiting = Outcome(line, timeout)

    async def release():
        await until(lambda: len(line) == 1)
        line.release()

    await run_all(waiting, release)
    assert waiting.result == "granted"


async def test_zero_gets_what_a_stopped_loop_does_not_claim():
    line = Permits(1)
    held = take(line)
    other = Want(line)
    waiter = FakeWaiter("another loop")
    assert not line.try_now(other)
    line.file(other, waiter)
    line.leave(held)
    with pytest.raises(WaitTimeout):
        await ablock(Want(line), 0)
    waiter.state = Reach.PAUSED
    assert await ablock(Want(line), 0)


async def test_a_grant_that_comes_after_the_deadline_is_kept(monkeypatch):
    line = Permits(0)

    async def late(*_):
        line.release()

    monkeypatch.setattr(loops, "_wait", late)
    assert await ablock(Want(line), 0.5)


# -- the budget of immediate answers ---------------------------------------------------


async def test_immediate_answers_do_not_keep_a_timeout_from_coming():
    line = Permits(1)
    rounds = 0
    start = time.monotonic()
    with anyio.move_on_after(0.2):
        while True:
            ask = Want(line)
            await ablock(ask)
            line.leave(ask)
            rounds += 1
    assert time.monotonic() - start > 0.15
    assert rounds > 100


async def test_immediate_answers_let_others_run():
    line = Permits(1)
    turns = []

    async def other():
        while len(turns) < 20:
            turns.append(None)
            await checkpoint()

    async def greedy():
        answers = 0
        while len(turns) < 20:
            ask = Want(line)
            await ablock(ask)
            line.leave(ask)
            answers += 1
            assert answers < 20 * 70, "it never yields"

    await run_all(greedy, other)


def test_immediate_answers_do_not_keep_a_timeout_of_asyncio_from_coming():
    async def greedy():
        line = Permits(1)
        while True:
            ask = Want(line)
            await ablock(ask)
            line.leave(ask)

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(greedy(), 0.1)

    asyncio.run(main())


async def test_most_immediate_answers_do_not_yield(monkeypatch):
    loop = current_loop()
    monkeypatch.setattr(loops, "_BUDGET_SECONDS", 10.0)
    await loop.immediate()
    while loop._spent:
        await loop.immediate()
    yields = []
    monkeypatch.setattr(type(loop), "checkpoint", lambda _: mark(yields))
    for _ in range(10 * loops._BUDGET):
        await loop.immediate()
    assert len(yields) == 10


async def mark(log):
    log.append(None)


# -- cancellation ----------------------------------------------------------------------


async def test_a_cancelled_task_takes_nothing():
    line = Permits(1)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await ablock(Want(line))
    assert scope.cancelled_caught
    line.check()
    assert line.free == 1


async def test_cancelling_leaves_the_line():
    line = Permits(0)
    first, second = Outcome(line), Outcome(line)

    async def cancel():
        await until(lambda: len(line) == 2)
        first.scope.cancel()
        await until(lambda: first.result == "cancelled")
        assert first.ask.state is State.GONE
        line.release()

    await run_all(first, second, cancel)
    assert second.result == "granted"


@pytest.mark.parametrize("first_step", ["grant", "cancel"])
async def test_a_grant_that_meets_a_cancelled_task_goes_to_the_next(first_step):
    """Which of the two comes first is for the loop to say; the grant is never lost."""
    line = Permits(0)
    first, second = Outcome(line), Outcome(line)

    async with anyio.create_task_group() as group:
        for number, task in enumerate((first, second)):
            group.start_soon(task)
            await until(lambda n=number: len(line) == n + 1)
        if first_step == "grant":
            line.release()
            assert first.ask.state is State.OFFERED
        first.scope.cancel()
        if first_step == "cancel":
            line.release()
        await until(lambda: first.result != "pending")
        if first.result == "granted":
            line.leave(first.ask)
    assert second.result == "granted"
    line.leave(second.ask)
    line.check()
    assert line.free == 1


def test_cancelling_as_asyncio_does():
    async def main(order):
        line = Permits(0)
        first = asyncio.ensure_future(ablock(Want(line)))
        second = asyncio.ensure_future(ablock(Want(line), PATIENCE))
        await until(lambda: len(line) == 2)
        for step in order:
            step(first, line)
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await second
        line.release()
        line.book.clear()
        line.check()

    cancel = lambda task, _: task.cancel()
    release = lambda _, line: line.release()
    asyncio.run(main([cancel, release]))
    asyncio.run(main([release, cancel]))


async def test_cancelling_a_task_that_waits_with_a_timeout():
    line = Permits(0)
    waiting = Outcome(line, 60)

    async def cancel():
        await until(lambda: len(line) == 1)
        waiting.scope.cancel()

    await run_all(waiting, cancel)
    assert waiting.result == "cancelled"
    line.check()


# -- the waiter of a task --------------------------------------------------------------


async def test_a_wake_before_the_wait_counts():
    waiter = current_loop().make_waiter()
    assert not waiter.final
    assert waiter.home is current_loop()
    assert waiter.reach() is Reach.READY
    for timeout in (None, PATIENCE):
        assert waiter.wake()
        assert waiter.woken
        with anyio.fail_after(PATIENCE):
            await waiter.wait(timeout)
        assert not waiter.woken


async def test_two_wakes_are_one():
    waiter = current_loop().make_waiter()
    waiter.wake()
    waiter.wake()
    await waiter.wait(None)
    start = time.monotonic()
    await waiter.wait(0.02)
    assert time.monotonic() - start > 0.01


async def test_a_parked_task_may_be_woken_twice():
    waiter = current_loop().make_waiter()
    parked = []

    async def park():
        parked.append(None)
        await waiter.wait(None)
        parked.append(None)

    async def wake():
        await until(lambda: parked)
        await checkpoint()
        waiter.wake()
        waiter.wake()
        await until(lambda: len(parked) == 2)
        waiter.wake()  # nobody is there any more

    await run_all(park, wake)


async def test_a_wake_of_another_thread_is_heard():
    waiter = current_loop().make_waiter()
    for timeout in (None, PATIENCE):
        thread = Thread(waiter.wake)
        with anyio.fail_after(PATIENCE):
            await waiter.wait(timeout)
        assert thread.result()


async def test_a_wake_after_a_cancellation_does_nothing():
    for timeout in (None, PATIENCE):
        waiter = current_loop().make_waiter()
        with anyio.move_on_after(0.01) as scope:
            await waiter.wait(timeout)
        assert scope.cancelled_caught
        assert waiter.wake()
        assert waiter.woken


async def test_a_task_tells_that_it_is_being_cancelled():
    waiter = current_loop().make_waiter()
    scope = anyio.CancelScope()
    parked = []

    async def park():
        with scope:
            parked.append(None)
            await waiter.parking()

    async def cancel():
        await until(lambda: parked)
        await checkpoint()
        assert not waiter.is_leaving()
        scope.cancel()
        await until(waiter.is_leaving)

    await run_all(park, cancel)


async def test_a_waiter_can_be_used_again():
    waiter = current_loop().make_waiter()
    for _ in range(3):
        await waiter.wait(0.001)
        waiter.wake()
        await waiter.parking()
        waiter.wake()
        await waiter.wait(None)


# -- one line, all worlds --------------------------------------------------------------


async def test_threads_and_tasks_wait_in_one_queue():
    line = Permits(0)
    order = []

    async def task(number):
        await ablock(Want(line))
        order.append(number)
        line.release()

    def thread(number):
        block(Want(line), PATIENCE)
        order.append(number)
        line.release()

    async with anyio.create_task_group() as group:
        threads = []
        for number in range(8):
            if number % 2:
                threads.append(Thread(thread, number))
            else:
                group.start_soon(task, number)
            await until(lambda n=number: len(line) == n + 1)
        line.release()
        await until(lambda: len(order) == 8)
    for each in threads:
        each.result()
    assert order == [*range(8)]


def test_several_loops_wait_in_one_queue(anyio_backends):
    line = Permits(0)
    order = []

    async def main(number):
        await ablock(Want(line))
        order.append(number)
        line.release()

    threads = []
    for number, backend in enumerate(anyio_backends * 2):
        threads.append(Thread(lambda n=number, b=backend: run_on(b, main, n)))
        wait_for(lambda n=number: len(line) == n + 1)
    line.release()
    for thread in threads:
        thread.result()
    assert order == [*range(len(threads))]


def run_on(backend, main, *args):
    name, options = backend if isinstance(backend, tuple) else (backend, {})
    return anyio.run(main, *args, backend=name, backend_options=options)


@pytest.fixture
def anyio_backends():
    backends = ["asyncio", "trio"]
    if sys.platform != "win32":
        pytest.importorskip("uvloop")
        backends.insert(1, ("asyncio", {"use_uvloop": True}))
    return backends


async def test_a_task_alone_with_its_loop_parks_without_slices(monkeypatch):
    line = Permits(0)
    parked = []
    waiter_type = type(current_loop().make_waiter())
    real = waiter_type.wait

    async def watch(self, timeout):
        parked.append(timeout)
        await real(self, timeout)

    monkeypatch.setattr(waiter_type, "wait", watch)

    async def release():
        await until(lambda: len(line) == 2)
        line.release()
        line.release()

    await run_all(Outcome(line), Outcome(line), release)
    assert [p for p in parked if p is not None and p > 0.001] == []
    assert None in parked


# -- loops -----------------------------------------------------------------------------


async def test_a_loop_is_found(anyio_backend_name):
    loop = current_loop()
    assert loop.name == anyio_backend_name
    assert loop is current_loop()
    assert loop.is_here()
    assert loop.reach() is Reach.READY
    assert not Thread(loop.is_here).result()


def test_there_is_no_loop_in_a_thread():
    with pytest.raises(LoopGone, match="no event loop runs here"):
        current_loop()
    with pytest.raises(LoopGone, match="no event loop runs here"):
        loops.current_task()
    steps = ablock(Want(Permits()))
    with pytest.raises(LoopGone):
        steps.send(None)


def test_where_no_loop_was_ever_loaded_there_is_none():
    answer = run_python(
        """
import sys
from cup._core import loops
from cup.errors import LoopGone

for find in [loops.current_loop, loops.current_task]:
    try:
        find()
    except LoopGone as error:
        print("no event loop" in str(error))
print("asyncio" in sys.modules, "trio" in sys.modules)
"""
    )
    assert answer.split() == ["True", "True", "False", "False"]


def test_asyncio_asks_anyio_only_about_tasks_that_it_may_know(monkeypatch):
    name = "anyio._backends._asyncio"
    answers = []

    async def main():
        look, task = current_loop().may_be_cancelled, asyncio.current_task()
        answers.append(look(task))
        with anyio.CancelScope():
            answers.append(look(task))
            await checkpoint()
        answers.append(look(task))
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, types.ModuleType(name))
            answers.append(look(task))  # an anyio that keeps its books elsewhere
            patch.delitem(sys.modules, name)
            answers.append(look(task))

    asyncio.run(main())
    assert answers == [False, True, False, True, False]


async def test_a_task_is_found():
    tasks = []

    async def look():
        tasks.append((current_loop().current_task(), loops.current_task()))

    await run_all(look, look)
    assert all(one is other for one, other in tasks)
    assert tasks[0][0] is not tasks[1][0]


async def test_a_loop_of_another_thread_is_another_one():
    here = current_loop()

    async def main():
        return current_loop()

    assert Thread(lambda: anyio.run(main, backend="asyncio")).result() is not here
    assert Thread(lambda: anyio.run(main, backend="trio")).result() is not here
    assert current_loop() is here


def test_a_loop_that_is_gone_is_forgotten(anyio_backends):
    from cup._core import loops_trio

    async def main():
        await ablock(Want(Permits()))
        return current_loop()

    for backend in anyio_backends:
        loop = run_on(backend, main)
        collect()
        assert loop.reach() is Reach.GONE
        assert loop not in [*loops_asyncio._loops.values(), *loops_trio._loops.values()]
        assert not loop.post(FakeSettable())
        with pytest.raises(RuntimeError, match="gone"):
            loop._notify(print)
        if loop.name == "asyncio":
            with pytest.raises(RuntimeError):
                _ = loop.native


class FakeSettable:
    def __init__(self, log=None):
        self.log = [] if log is None else log

    def set(self):
        self.log.append(time.monotonic())


async def test_what_is_deferred_comes_after_what_is_ready():
    loop = current_loop()
    await checkpoint()
    log = []

    async def ready(number):
        log.append(number)

    async with anyio.create_task_group() as group:
        loop.defer(lambda: log.append("deferred"))
        loop.defer(lambda: loop.defer(lambda: log.append("deferred again")))
        for number in range(3):
            group.start_soon(ready, number)
        await until(lambda: len(log) == 5)
    assert {0, 1, 2} < {*log}
    assert log.index("deferred") < log.index("deferred again")


async def test_a_loop_runs_a_call_in_a_task_of_its_own():
    loop = current_loop()
    done = []

    async def main():
        await checkpoint()
        done.append(current_loop() is loop)

    Thread(lambda: loop.post(Spawner(loop, main))).result()
    await until(lambda: done)
    assert done == [True]


class Spawner:
    def __init__(self, loop, main):
        self.set = lambda: loop.spawn(main)


async def test_waiting_for_a_state():
    waiter = current_loop().make_waiter()
    state = []
    assert not await wait_until(lambda: state, waiter, 0.01)

    def work():
        for _ in range(3):
            waiter.wake()  # strays
        state.append(None)
        waiter.wake()

    thread = Thread(work)
    assert await wait_until(lambda: state, waiter)
    assert await wait_until(lambda: state, waiter, 0)
    thread.result()


async def test_waiting_for_threads_to_end():
    threads = [Thread(time.sleep, 0.01) for _ in range(3)]
    await wait_until_dead(threads)
    assert not any(thread.is_alive() for thread in threads)


async def test_a_latch_lets_tasks_through():
    latch = Latch()
    passed = []

    async def go():
        await ablock(LatchAsk(latch))
        passed.append(None)

    async def open_it():
        await until(lambda: len(latch) == 3)
        Thread(latch.open).result()

    await run_all(go, go, go, open_it)
    assert len(passed) == 3


def test_a_dead_loop_takes_everything_along():
    """No future, task or native loop is kept by what waits, or by what is posted."""

    async def main():
        line = Permits(0)
        task = asyncio.ensure_future(ablock(Want(line), 0.01))
        with pytest.raises(WaitTimeout):
            await task
        loop = current_loop()
        waiter = loop.make_waiter()
        await waiter.wait(0.001)
        Thread(waiter.wake).result()
        return waiter

    waiter = asyncio.run(main())
    collect()
    assert waiter.reach() is Reach.GONE
    assert not [thing for thing in gc.get_objects() if isinstance(thing, Stranger)]


class Stranger(asyncio.SelectorEventLoop):
    """A loop of this test only."""


def test_a_waiter_does_not_keep_its_loop_alive():
    loop = Stranger()

    async def main():
        waiter = current_loop().make_waiter()
        waiter.wake()
        await waiter.wait(None)
        await waiter.wait(0.001)
        return waiter

    waiter = loop.run_until_complete(main())
    loop.close()
    del loop
    collect()
    assert not [thing for thing in gc.get_objects() if isinstance(thing, Stranger)]
    assert waiter.reach() is Reach.GONE
    assert not waiter.wake()
