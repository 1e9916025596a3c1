"""Loops that stop, die, or are asleep: their grants go to who can use them."""

import asyncio
import gc
import threading
import time

import anyio
import pytest
import trio
from core_tools import (
    PATIENCE,
    NoBook,
    Permits,
    Thread,
    Want,
    collect,
    disturb_main_thread,
    handling,
    needs_signals,
    take,
    until,
    wait_for,
)

from cup._core import loops_trio
from cup._core.loops import TaskWaiter, ablock, current_loop
from cup._core.loops_trio import TrioLoop
from cup._core.wait import SLICE, Reach, State, block

SOON = 3 * SLICE + 1.0
"""Seconds after which the next in line has it, on a machine that is busy."""


@pytest.fixture(params=["asyncio", "uvloop"])
def native(request):
    """Give an event loop that does not run."""
    if request.param == "uvloop":
        loop = pytest.importorskip("uvloop").new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    yield loop
    if not loop.is_closed():
        loop.run_until_complete(asyncio.sleep(0))
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def run_a_little(loop):
    """Let the tasks of a loop run to their next wait."""
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))


def park(loop, line, timeout=None):
    """Have a task of a loop wait in line, and stop the loop."""
    ask = Want(line)
    task = loop.create_task(ablock(ask, timeout))
    run_a_little(loop)
    assert ask.state is State.WAITING
    return task, ask


def offer(loop, line, held):
    """Have the loop stop between the grant to its task and the task's next step."""

    def release():
        line.leave(held)
        loop.stop()

    loop.call_later(0.005, release)  # once it has done what was posted to it
    loop.run_forever()


# -- loops that stop -------------------------------------------------------------------


def test_a_loop_that_stopped_is_passed_over(native):
    line = Permits(1)
    held = take(line)
    task, ask = park(native, line)
    thread = Thread(block, Want(line), PATIENCE)
    wait_for(lambda: len(line) == 2)
    start = time.monotonic()
    line.leave(held)
    assert thread.result()
    assert time.monotonic() - start < SOON
    assert ask.state is State.WAITING
    assert not task.done()


def test_an_offer_that_is_not_claimed_goes_to_the_next(native):
    line = Permits(1)
    held = take(line)
    task, ask = park(native, line)
    offer(native, line, held)
    assert ask.state is State.OFFERED
    start = time.monotonic()
    next_ask = Want(line)
    block(next_ask, PATIENCE)
    assert time.monotonic() - start < SOON
    assert not task.done()
    line.leave(next_ask)
    assert native.run_until_complete(asyncio.wait_for(task, PATIENCE))


def test_a_thread_that_waits_already_gets_what_is_not_claimed(native):
    line = Permits(1)
    held = take(line)
    task, ask = park(native, line)
    thread = Thread(block, Want(line), PATIENCE)
    wait_for(lambda: len(line) == 2)
    offer(native, line, held)
    start = time.monotonic()
    assert thread.result()
    assert time.monotonic() - start < SOON
    assert ask.state is State.WAITING
    assert not task.done()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_task_of_another_loop_gets_what_is_not_claimed(native, backend):
    line = Permits(1)
    held = take(line)
    _, ask = park(native, line)

    async def main():
        await ablock(Want(line), PATIENCE)

    thread = Thread(lambda: anyio.run(main, backend=backend))
    wait_for(lambda: len(line) == 2)
    offer(native, line, held)
    start = time.monotonic()
    thread.result()
    assert time.monotonic() - start < SOON
    assert ask.state is State.WAITING


def test_a_loop_that_runs_again_gets_its_turn(native):
    line = Permits(1)
    held = take(line)
    task, ask = park(native, line)
    offer(native, line, held)
    other = Want(line)
    block(other, PATIENCE)
    later = Thread(block, Want(line), PATIENCE)
    wait_for(lambda: len(line) == 2)
    for _ in range(3):
        run_a_little(native)
    assert not task.done()

    async def rest():
        line.leave(other)
        return await asyncio.wait_for(task, PATIENCE)

    assert native.run_until_complete(rest())
    assert later.is_alive(), "the task came first"
    line.leave(ask)
    assert later.result()


def test_a_loop_that_runs_again_looks_for_what_became_free_meanwhile(native):
    """Nobody but its own task is in line, and nothing changes any more."""
    line = Permits(1)
    held = take(line)
    task, _ = park(native, line)
    line.leave(held)  # it is stopped: not offered
    assert line.free == 1
    assert native.run_until_complete(asyncio.wait_for(task, PATIENCE))


def test_a_loop_may_stop_and_run_many_times(native):
    line = Permits(1)
    held = take(line)
    task, _ = park(native, line)
    for _ in range(5):
        line.changed()
        line.revise()
        run_a_little(native)
        assert not task.done()
    home = line._queue.head().waiter.home
    for _ in range(200):
        line.changed()
    assert len(home.inbox) <= 2, "a loop that stands still is not told again and again"
    line.leave(held)
    assert native.run_until_complete(asyncio.wait_for(task, PATIENCE))


def test_a_loop_that_stopped_and_never_runs_again_costs_no_memory(native):
    line = Permits(1)
    take(line)
    park(native, line)
    thread = Thread(block, Want(line), 0.35)
    wait_for(lambda: len(line) == 2)
    home = line._queue.head().waiter.home
    thread.join()
    assert len(home.inbox) <= 1


# -- loops that die --------------------------------------------------------------------


def close(loop):
    """Close a loop with all its tasks, as a program does that has no time."""
    loop.close()


@pytest.mark.parametrize("offered", [False, True])
def test_a_loop_that_dies_passes_its_grants_on(native, offered):
    line = Permits(2)
    held = [take(line), take(line)]
    tasks = [park(native, line), park(native, line)]
    threads = [Thread(block, Want(line), PATIENCE) for _ in range(2)]
    wait_for(lambda: len(line) == 4)
    if offered:
        native.call_later(0.005, line.leave, held[0])
        offer(native, line, held[1])
        assert [ask.state for _, ask in tasks] == [State.OFFERED] * 2
    close(native)
    start = time.monotonic()
    if not offered:
        for ask in held:
            line.leave(ask)
    for thread in threads:
        assert thread.result()
    assert time.monotonic() - start < SOON
    assert [ask.state for _, ask in tasks] == [State.GONE] * 2
    quietly_forget(tasks)
    collect()
    assert line.free == 0
    for _ in threads:
        line.release()
    assert line.free == 2


def quietly_forget(tasks):
    """Drop tasks that were pending when their loop was closed."""
    for task, _ in tasks:
        task._log_destroy_pending = False
    tasks.clear()


class Collecting(Permits):
    """A line under whose mutex the garbage collector comes."""

    __slots__ = ("collects",)

    def take(self, ask):
        if self.collects:
            collect()
        return super().take(ask)


async def note_the_end(line, log):
    """Wait in line for ever; note how it ended, and where."""
    try:
        await ablock(Want(line))
    except BaseException as error:
        log.append((type(error), line.mutex.locked()))
        raise


def new_loop(kind):
    if kind == "uvloop":
        return pytest.importorskip("uvloop").new_event_loop()
    return asyncio.new_event_loop()


def die(kind, line, log, *, offered):
    """Have a loop die with a task that waits, or was granted something."""
    held = take(line)
    loop = new_loop(kind)
    task = loop.create_task(note_the_end(line, log))
    task._log_destroy_pending = False
    run_a_little(loop)
    if offered:
        offer(loop, line, held)
    loop.close()


def forget_dead_loops():
    """Run another loop: it takes the place of those that are closed."""

    async def main():
        current_loop()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "offered"), [("asyncio", False), ("asyncio", True), ("uvloop", False)]
)
def test_a_dead_task_is_collected_while_the_mutex_is_held(kind, offered):
    """Its clean-up takes no mutex: this very thread may have it."""
    line = Collecting(1)
    line.collects = False
    line.book = NoBook()
    log = []
    die(kind, line, log, offered=offered)
    forget_dead_loops()
    assert not log
    line.collects = True
    ask = Want(line)
    thread = Thread(block, ask, PATIENCE)
    if not offered:
        wait_for(lambda: ask.state is State.WAITING)
        line.release()
    assert thread.result()
    assert log == [(GeneratorExit, True)]
    assert line.free == 0
    assert len(line) == 0


def test_the_collector_may_come_inside_of_any_step():
    """Tasks of dead loops are collected by allocations that the line itself makes."""
    line = Permits(1)
    line.book = NoBook()
    thresholds = gc.get_threshold()
    log = []

    def work():
        for number in range(12):
            die("asyncio", line, log, offered=number % 2)
            if not number % 2:
                line.release()
            forget_dead_loops()
            gc.set_threshold(1, 1, 1)
            ask = Want(line)
            block(ask, PATIENCE)
            line.leave(ask)
            gc.set_threshold(*thresholds)

    collect()
    gc.freeze()  # only what is made here is looked at
    try:
        Thread(work).result()
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
    collect()
    assert len(log) == 12
    assert line.free == 1
    assert len(line) == 0


def test_a_wake_towards_a_closed_loop_says_so(native):
    line = Permits(1)
    held = take(line)
    tasks = [park(native, line)]
    waiter = tasks[0][1].waiter
    assert waiter.reach() is Reach.PAUSED
    close(native)
    assert waiter.reach() is Reach.GONE
    assert not waiter.wake()
    line.leave(held)
    quietly_forget(tasks)


def test_a_wake_towards_a_trio_run_that_is_over_says_so():
    async def main():
        return current_loop().make_waiter()

    waiter = trio.run(main)
    assert waiter.reach() is Reach.GONE
    assert not waiter.wake()


def test_a_trio_run_that_ends_leaves_nothing_in_line():
    line = Permits(1)
    held = take(line)

    async def pass_through():
        ask = Want(line)
        await ablock(ask)
        line.leave(ask)

    async def main():
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(pass_through)
            await until(lambda: len(line) == 3)
            line.leave(held)
            nursery.cancel_scope.cancel()

    trio.run(main)
    line.check()
    assert line.free == 1


def test_a_trio_run_is_over_before_its_token_is_gone():
    """Even if the run ends at once, and somebody keeps all of it."""
    kept = []

    async def main():
        kept.append(trio.lowlevel.current_trio_token())
        return current_loop()

    loop = trio.run(main)
    assert isinstance(loop, TrioLoop)
    assert loop.reach() is Reach.GONE
    with pytest.raises(trio.RunFinishedError):
        loop._notify(print)


# -- wake-ups --------------------------------------------------------------------------


class Wakes:
    """Counts how often a loop is told to look at its inbox."""

    def __init__(self, monkeypatch, loop):
        self.count = 0
        real = type(loop)._notify

        def notify(this, callback):
            self.count += 1
            real(this, callback)

        monkeypatch.setattr(type(loop), "_notify", notify)


class Bell:
    """What is posted: counts the times it rings."""

    def __init__(self):
        self.rings = []

    def set(self):
        self.rings.append(threading.get_ident())


async def test_many_completions_are_one_wake_up(monkeypatch):
    loop = current_loop()
    wakes = Wakes(monkeypatch, loop)
    bell = Bell()

    def work():
        for _ in range(1000):
            loop.post(bell)

    Thread(work).result()  # the loop is busy: this blocks it
    assert wakes.count <= 2
    await until(lambda: len(bell.rings) == 1000)
    assert wakes.count <= 2
    assert {*bell.rings} == {threading.get_ident()}


def test_many_completions_are_one_write_to_the_pipe(monkeypatch):
    writes = []

    async def main():
        native = asyncio.get_running_loop()
        real = native._write_to_self
        native._write_to_self = lambda: writes.append(None) or real()
        loop = current_loop()
        bell = Bell()

        def work():
            for _ in range(1000):
                loop.post(bell)

        Thread(work).result()
        await until(lambda: len(bell.rings) == 1000)

    loop = asyncio.SelectorEventLoop()
    loop.run_until_complete(main())
    loop.close()
    assert len(writes) <= 2


async def test_a_thousand_tasks_are_woken_by_few_wake_ups(monkeypatch):
    line = Permits(0)
    loop = current_loop()

    async with anyio.create_task_group() as group:
        for _ in range(1000):
            group.start_soon(ablock, Want(line))
        await until(lambda: len(line) == 1000)
        wakes = Wakes(monkeypatch, loop)
        line.free = 1000
        Thread(line.changed).result()
    assert wakes.count <= 2


async def test_tasks_of_one_loop_wake_each_other_directly(monkeypatch):
    line = Permits(0)
    wakes = Wakes(monkeypatch, current_loop())

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(ablock, Want(line))
        await until(lambda: len(line) == 10)
        for _ in range(10):
            line.release()
    assert wakes.count == 0


async def test_no_post_is_lost_in_a_race():
    loop = current_loop()
    bells = [Bell() for _ in range(3)]

    def work(bell):
        for _ in range(2000):
            assert loop.post(bell)

    threads = [Thread(work, bell) for bell in bells]
    await until(lambda: all(len(bell.rings) == 2000 for bell in bells))
    for thread in threads:
        thread.result()
    assert not loop.inbox
    assert not loop.armed


@pytest.mark.parametrize("error", [RuntimeError, OSError, KeyboardInterrupt])
async def test_a_wake_up_that_fails_is_tried_again_by_the_next(monkeypatch, error):
    loop = current_loop()
    bell = Bell()

    def fail(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(type(loop), "_notify", fail)
        with pytest.raises(error):
            loop.post(bell)
    assert loop.post(bell)
    await until(lambda: len(bell.rings) == 2)


async def test_what_fails_in_the_inbox_does_not_keep_the_rest(monkeypatch):
    """What is posted must not raise; if it does all the same, nothing is stuck."""

    class Broken:
        def set(self):
            raise KeyboardInterrupt

    loop = current_loop()
    bell = Bell()
    with monkeypatch.context() as patch:
        patch.setattr(type(loop), "_notify", lambda *_: None)
        loop.post(Broken())
        loop.post(bell)
    with pytest.raises(KeyboardInterrupt):
        loop._drain()
    await until(lambda: bell.rings)


# -- signals ---------------------------------------------------------------------------


@needs_signals
async def test_a_signal_handler_wakes_a_task_of_a_loop_that_sleeps():
    """The loop is asleep in a system call: to schedule the task would not wake it."""
    line = Permits(0)
    handled = []

    def handler(*_):
        if not handled:
            handled.append(time.monotonic())
            line.release()

    with handling(handler):
        thread = Thread(
            lambda: wait_for(lambda: len(line)) or disturb_main_thread(lambda: handled)
        )
        with anyio.fail_after(PATIENCE):
            await ablock(Want(line))
        assert time.monotonic() - handled[0] < 5
        thread.result()


def test_a_callback_of_the_loop_wakes_its_tasks(native):
    line = Permits(0)
    start = time.monotonic()
    native.call_later(0.01, line.release)
    native.run_until_complete(asyncio.wait_for(ablock(Want(line)), PATIENCE))
    assert time.monotonic() - start < 5


def test_a_finalizer_wakes_a_task_of_a_loop_that_is_about_to_sleep():
    """It runs inside of the loop, between the look at what is ready and the sleep."""
    line = Permits(0)
    loop = asyncio.SelectorEventLoop()
    select = loop._selector.select
    slept = []

    def finalize_then_select(timeout=None):
        if len(line) and timeout is None:
            line.release()
            slept.append(None)
        return select(timeout)

    loop._selector.select = finalize_then_select
    watchdog = threading.Timer(20, lambda: loop.call_soon_threadsafe(int))
    watchdog.start()
    start = time.monotonic()
    try:
        loop.run_until_complete(ablock(Want(line)))
    finally:
        watchdog.cancel()
        loop.close()
    assert slept
    assert time.monotonic() - start < 15


def test_asyncio_finds_no_fault_in_debug_mode():
    """It would complain about a task that is woken from another thread."""
    line = Permits(0)

    async def main():
        waiting = [asyncio.ensure_future(ablock(Want(line), t)) for t in (None, 30)]
        await until(lambda: len(line) == 2)
        thread = Thread(lambda: line.release() or line.release())
        await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE)
        thread.result()

    asyncio.run(main(), debug=True)


# -- trio as a guest -------------------------------------------------------------------


def run_as_guest(trio_main, asyncio_main):
    """Run trio inside of asyncio, in one thread; return what both returned."""

    async def host():
        native = asyncio.get_running_loop()
        done = native.create_future()

        def finish(outcome):
            if not done.done():
                done.set_result(outcome)

        trio.lowlevel.start_guest_run(
            trio_main,
            run_sync_soon_threadsafe=native.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=native.call_soon,
            done_callback=finish,
        )
        answer = await asyncio.wait_for(asyncio_main(), PATIENCE)
        return (await asyncio.wait_for(done, PATIENCE)).unwrap(), answer

    loop = asyncio.SelectorEventLoop()
    try:
        return loop.run_until_complete(host())
    finally:
        loop.close()


def test_each_finds_its_own_loop():
    names = []

    async def look():
        for _ in range(20):
            names.append((current_loop().name, current_loop().is_here()))
            await (trio if in_trio() else asyncio).sleep(0.0005)

    def in_trio():
        return current_loop().name == "trio"

    async def trio_main():
        assert in_trio()
        await look()

    async def asyncio_main():
        assert not in_trio()
        await look()

    run_as_guest(trio_main, asyncio_main)
    assert sorted(names) == [("asyncio", True)] * 20 + [("trio", True)] * 20


def test_host_and_guest_wait_for_each_other():
    ping, pong = Permits(0), Permits(0)

    async def trio_main():
        for _ in range(50):
            await ablock(Want(ping), PATIENCE)
            pong.release()
        return "guest"

    async def asyncio_main():
        for _ in range(50):
            ping.release()
            await ablock(Want(pong), PATIENCE)
        return "host"

    assert run_as_guest(trio_main, asyncio_main) == ("guest", "host")


# -- what is kept ----------------------------------------------------------------------


class Stranger(asyncio.SelectorEventLoop):
    """A loop of these tests only."""


def strangers():
    """Count the loops of these tests that are still there."""
    collect()
    return sum(isinstance(thing, Stranger) for thing in gc.get_objects())


def test_what_is_posted_to_a_closed_loop_does_not_keep_it():
    """A job ends long after the loop of the task that awaited it."""

    async def main():
        waiter = current_loop().make_waiter()
        with anyio.move_on_after(0.001):
            await waiter.wait(None)
        return waiter

    loop = Stranger()
    waiter = loop.run_until_complete(main())
    loop.close()
    del loop
    assert not waiter.wake()
    home = waiter.home
    del waiter
    assert not home.inbox
    assert strangers() == 0


def test_a_loop_that_dies_with_a_full_inbox_is_forgotten():
    """What is in there leads to the loop itself; the next loop clears it away."""
    line = Permits(1)
    held = take(line)
    loop = Stranger()
    tasks = [park(loop, line)]
    line.leave(held)
    loop.close()
    quietly_forget(tasks)
    line.revise()
    del loop
    line.book.clear()
    forget_dead_loops()
    assert strangers() == 0
    assert line.free == 1


def test_a_trio_run_that_dies_with_a_full_inbox_is_forgotten():
    async def main():
        loop = current_loop()
        loop.armed = True  # nobody is to look into it
        loop.post(loop.make_waiter())
        return loop

    loop = trio.run(main)
    assert loop.inbox
    assert loop in loops_trio._loops.values()

    async def another():
        current_loop()

    trio.run(another)
    assert loop not in loops_trio._loops.values()


def test_the_protocol_of_waiters_is_for_subclasses():
    waiter = TaskWaiter()
    for method in (waiter.set, waiter.parking, waiter.is_leaving):
        with pytest.raises(NotImplementedError):
            method()
    with pytest.raises(NotImplementedError):
        waiter.wait(None).send(None)
