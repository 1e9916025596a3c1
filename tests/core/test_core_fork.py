"""Forked children: they notice it, and start anew, whoever forked."""

import asyncio
import gc
import mmap
import os
import sys
import threading
import time

import pytest
from core_simulation import SimWant, simulated
from core_tools import (
    PATIENCE,
    FakeWaiter,
    Permits,
    Thread,
    Want,
    collect,
    file,
    fork_without_hooks,
    in_child,
    linux_only,
    needs_fork,
    run_python,
    take,
    wait_for,
)

from cup._core import fork, timekeeper
from cup._core.fork import PidStamp, generation, make_stamp
from cup._core.latch import Latch, LatchAsk
from cup._core.loops import ablock
from cup._core.program import Program, ThreadDriver
from cup._core.wait import State, block

pytestmark = needs_fork

FORKS = [
    pytest.param(os.fork if hasattr(os, "fork") else None, id="hooks"),
    pytest.param(fork_without_hooks, id="no hooks", marks=linux_only),
]


@pytest.fixture(params=FORKS)
def how(request):
    """Tell how to fork: by Python, or as servers written in C do."""
    return request.param


# -- the stamp -------------------------------------------------------------------------


def test_a_child_has_a_generation_of_its_own(how):
    here = generation()
    assert generation() == here
    answer = in_child(lambda: (generation() - here, generation() - here), fork=how)
    assert answer == "(1, 1)"
    assert generation() == here


def test_a_grandchild_has_another_one(how):
    here = generation()

    def child():
        return generation() - here, in_child(lambda: generation() - here, fork=how)

    assert in_child(child, fork=how) == "(1, '2')"


def test_a_child_that_never_looked_has_grandchildren_that_do(how):
    """Only the innermost looks: its number still differs from that of the first."""
    here = generation()
    nested = lambda: in_child(lambda: generation() != here, fork=how)
    assert in_child(nested, fork=how) == "True"


def test_children_call_the_hooks_once(how, monkeypatch):
    calls = []
    monkeypatch.setattr(fork, "_hooks", [])
    fork.on_fork(lambda: calls.append(None))

    def child():
        for _ in range(3):
            generation()
        return len(calls)

    assert in_child(child, fork=how) == "1"
    assert not calls


@linux_only
def test_linux_has_a_page_that_is_wiped():
    stamp = make_stamp()
    assert isinstance(stamp, mmap.mmap)
    assert stamp[0]
    assert in_child(lambda: stamp[0], fork=fork_without_hooks) == "0"
    assert stamp[0]


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_old_kernels_compare_the_process_id(monkeypatch, error):
    def refuse(*_):
        raise error("no such advice")

    monkeypatch.setattr(fork.mmap, "mmap", refuse)
    monkeypatch.setattr(fork.mmap, "MAP_ANONYMOUS", 0, raising=False)
    assert isinstance(make_stamp(), PidStamp)


def test_other_systems_compare_the_process_id(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert isinstance(make_stamp(), PidStamp)


def test_the_process_id_tells_as_well(how):
    stamp = PidStamp()
    assert stamp[0]

    def child():
        before = bool(stamp[0])
        stamp[0] = 1
        return before, bool(stamp[0])

    assert in_child(child, fork=how) == "(False, True)"
    assert stamp[0]


def test_everything_works_with_the_process_id_alone():
    answer = run_python(
        """
import os
os.register_at_fork = lambda **_: None
import mmap
from cup._core import fork
fork.stamp = fork.PidStamp()
from core_tools import Permits, Want, in_child, take
line = Permits(1)
take(line)
child = lambda: (fork.generation(), line.try_now(Want(line)))
print(fork.generation(), in_child(child), fork.generation())
"""
    )
    assert answer.split("\n")[0] == "0 (1, True) 0"


# -- lines -----------------------------------------------------------------------------


def test_a_line_starts_anew_in_a_child(how):
    line = Permits(1)
    take(line)
    asks = [file(line)[0], file(line, "loop")[0]]

    def child():
        first, second = Want(line), Want(line)
        granted = line.try_now(first), line.try_now(second)
        return granted, len(line), [ask.state.name for ask in asks], line._homes

    answer = in_child(child, fork=how)
    assert answer == "((True, False), 0, ['GONE', 'GONE'], {})"
    assert [ask.state for ask in asks] == [State.WAITING] * 2


@pytest.mark.parametrize("first", ["changed", "leave", "try_now", "file"])
def test_whatever_a_child_does_first_grants_nobody_of_the_parent(how, first):
    line = Permits(2)
    held = [take(line), take(line)]
    waiting, waiter = file(line)

    def child():
        if first == "changed":
            line.changed()
        elif first == "leave":
            line.leave(waiting)
        elif first == "try_now":
            line.try_now(Want(line))
        else:
            line.file(Want(line), FakeWaiter())
        return waiter.wakes, waiting.state.name, 2 - line.free

    taken = first in ("try_now", "file")
    assert in_child(child, fork=how) == f"(0, 'GONE', {int(taken)})"
    assert all(ask.is_settled() for ask in held)


def test_a_mutex_that_was_held_is_free_in_a_child(how):
    line = Permits(1)
    gate, held = threading.Event(), threading.Event()

    def hold():
        with line.mutex:
            held.set()
            gate.wait(PATIENCE)

    thread = Thread(hold)
    held.wait(PATIENCE)

    def child():
        line.changed()
        ask = Want(line)
        block(ask, 5)
        line.leave(ask)
        return line.free

    assert in_child(child, fork=how) == "1"
    gate.set()
    thread.result()


@pytest.mark.parametrize("state", [State.WAITING, State.OFFERED])
@pytest.mark.parametrize("used", [False, True])
def test_a_coroutine_of_the_parent_is_closed_in_a_child(how, state, used):
    """Its clean-up finds its ask gone, whatever the child did with the line before."""
    with simulated() as world:
        world.start(0, None)
        world.start(1, None)
        (task,) = world.waiting
        if state is State.OFFERED:
            world.release(0)
        assert task.ask.state is state

        def child():
            if used:
                world.line.try_now(SimWant(world.line, None))
            task.steps.close()
            return task.ask.state.name, len(world.line), len(world.line._offers)

        assert in_child(child, fork=how) == "('GONE', 0, 0)"
        assert task.ask.state is state
        world.finish()


def test_threads_of_a_child_that_race_find_the_line_made_anew(how):
    """The first to look makes the line anew; the second waits until that is done."""
    entered = threading.Event()
    gate = threading.Event()

    class Slow(Permits):
        __slots__ = ()

        def vanished(self):
            entered.set()
            gate.wait(PATIENCE)
            super().vanished()

    line = Slow(1)
    take(line)

    def child():
        first = Thread(lambda: line.try_now(Want(line)))
        entered.wait(PATIENCE)
        second = Thread(lambda: block(Want(line), 5))
        second.join(0.05)
        looked = not second.is_alive()
        gate.set()
        assert first.result()
        wait_for(lambda: len(line) == 1)
        line.release()
        return looked, second.result() > 0

    assert in_child(child, fork=how) == "(False, True)"


def test_a_latch_keeps_its_state_in_a_child(how):
    shut, opened = Latch(), Latch()
    opened.open()
    waiting = LatchAsk(shut)
    shut.file(waiting, FakeWaiter())

    def child():
        shut.open()
        return shut.try_now(LatchAsk(shut)), opened.try_now(LatchAsk(opened))

    assert in_child(child, fork=how) == "(True, True)"
    assert not waiting.is_settled()


# -- loops and programs ----------------------------------------------------------------


def test_a_loop_runs_in_a_child(how):
    line = Permits(1)
    take(line)
    collect()
    asyncio.run(asyncio.wait_for(asyncio.sleep(0), 5))

    def child():
        async def main():
            ask = Want(line)
            await ablock(ask)
            other = asyncio.create_task(ablock(Want(line), 10))
            await asyncio.sleep(0)
            thread = Thread(line.leave, ask)
            await other
            thread.result()
            return "granted"

        return asyncio.run(main())

    assert in_child(child, fork=how) == "granted"


class Counter(Program):
    """Counts its steps, and comes back soon."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def step(self, now):
        self.steps.append(os.getpid())
        return now + 0.2  # asleep when the process forks


def test_a_program_goes_on_in_a_child_once_nudged(how):
    program = Counter()
    driver = ThreadDriver(program, "counter")
    driver.nudge(0.0)
    wait_for(lambda: len(program.steps) >= 2)

    def child():
        pid = os.getpid()
        seen = len(program.steps)
        time.sleep(0.03)  # nothing may come: there is no state to wait for
        assert len(program.steps) == seen
        driver.nudge(0.0)
        wait_for(lambda: program.steps.count(pid) >= 3)
        driver.stop()
        return driver._thread.is_alive()

    try:
        assert in_child(child, fork=how) == "False"
        before = len(program.steps)
        wait_for(lambda: len(program.steps) > before)
    finally:
        driver.stop()


def test_a_driver_is_stopped_in_a_child_that_never_used_it(how):
    """The thread stayed in the parent: waiting for it would be for ever."""
    driver = ThreadDriver(Counter(), "counter")
    driver.nudge(0.0)
    wait_for(lambda: driver._thread)
    try:
        assert in_child(driver.stop, fork=how) == "None"
    finally:
        driver.stop()


def test_threads_of_a_child_that_race_nudge_one_driver(how, monkeypatch):
    program = Counter()
    driver = ThreadDriver(program, "counter")
    entered, gate = threading.Event(), threading.Event()
    renew = ThreadDriver._renew

    def slowly(self):
        entered.set()
        gate.wait(PATIENCE)
        renew(self)

    monkeypatch.setattr(ThreadDriver, "_renew", slowly)

    def child():
        first = Thread(driver.nudge, 0.0)
        entered.wait(PATIENCE)
        second = Thread(driver.nudge, 0.0)
        gate.set()
        first.result()
        second.result()
        wait_for(lambda: len(program.steps) >= 2)
        names = [thread.name for thread in threading.enumerate()]
        driver.stop()
        return names.count("counter")

    assert in_child(child, fork=how) == "1"


def test_a_child_does_not_keep_the_appointments_of_its_parent(how):
    calls = []
    appointment = timekeeper.call_at(
        time.monotonic() + 0.25, lambda: calls.append(os.getpid())
    )

    def child():
        done = []
        timekeeper.call_at(time.monotonic() + 0.4, lambda: done.append(None))
        wait_for(lambda: done)
        return calls

    assert in_child(child, fork=how) == "[]"
    wait_for(lambda: calls)
    assert calls == [os.getpid()]
    appointment.cancel()


def test_nothing_of_a_child_reaches_the_parent():
    gc.collect()
    line = Permits(1)
    held = take(line)
    waiting, waiter = file(line)
    in_child(lambda: line.leave(held))
    assert waiter.wakes == 0
    assert waiting.state is State.WAITING
