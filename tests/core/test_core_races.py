"""Each grant is settled exactly once, in every order in which things can happen."""

import os
import random
import time

import anyio
import pytest
from core_simulation import race, simulated
from core_tools import (
    PATIENCE,
    FakeWaiter,
    NoBook,
    Permits,
    Thread,
    Want,
    switching_fast,
)
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cup._core.interrupt import Target
from cup._core.line import Line
from cup._core.loops import ablock
from cup._core.wait import Reach, State, block
from cup.errors import WaitTimeout

QUICK = os.environ.get("CUP_TIER") != "full"
machine_settings = settings(
    max_examples=60 if QUICK else 300,
    stateful_step_count=40,
    deadline=None,
    database=None,
)


# -- seeded schedules ------------------------------------------------------------------


@pytest.mark.parametrize("first", range(0, 4_000, 1_000))
def test_every_grant_is_settled_once_in_some_schedules(first):
    for seed in range(first, first + 1_000):
        race(seed)


@pytest.mark.full
@pytest.mark.parametrize("first", range(4_000, 100_000, 40_000))
def test_every_grant_is_settled_once_in_all_schedules(first):
    for seed in range(first, first + 16_000):
        race(seed)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_grant_is_settled_once_for_a_long_time():
    for seed in range(100_000, 3_000_000):
        race(seed, steps=40)


# -- a line against a model of it ------------------------------------------------------


class Home:
    """A loop, for the model."""

    def __init__(self):
        self.state = Reach.READY


class ModelWaiter(FakeWaiter):
    def reach(self):
        return Reach.READY if self.home is None else self.home.state

    def wake(self):
        self.wakes += 1
        return self.reach() is not Reach.GONE


class Model:
    """What a line does, in the fewest words."""

    def __init__(self, free):
        self.free = free
        self.waiting = []
        self.offered = []
        self.held = []

    def grant(self):
        for ask in self.waiting.copy():
            reach = ask.waiter.reach()
            if reach is Reach.GONE:
                self.waiting.remove(ask)
            elif reach is Reach.READY:
                if not self.free:
                    break
                self.free -= 1
                self.waiting.remove(ask)
                (self.held if ask.waiter.final else self.offered).append(ask)

    def revoke(self):
        lost = [ask for ask in self.offered if ask.waiter.reach() is not Reach.READY]
        self.offered = [ask for ask in self.offered if ask not in lost]
        self.waiting = lost + self.waiting
        self.free += len(lost)
        self.grant()

    def leave(self, ask):
        for place in (self.offered, self.held):
            if ask in place:
                place.remove(ask)
                self.free += 1
        if ask in self.waiting:
            self.waiting.remove(ask)
        self.grant()


asks = st.integers(0, 50)
homes = st.integers(0, 2)


class LineMachine(RuleBasedStateMachine):
    """Draws what threads and tasks do to a line, and compares it with the model."""

    def __init__(self):
        super().__init__()
        self.line = Permits(2)
        self.model = Model(2)
        self.homes = [Home(), Home()]
        self.gone = []

    def pick(self, asks, index):
        return asks[index % len(asks)]

    @rule(place=homes)
    def ask(self, place):
        """A thread (place 0) or a task asks, and waits if it has to."""
        home = self.homes[place - 1] if place else None
        if home is not None and home.state is not Reach.READY:
            return
        ask = Want(self.line)
        waiter = ModelWaiter(home)
        ready = any(a.waiter.reach() is Reach.READY for a in self.model.waiting)
        granted = self.line.try_now(ask)
        assert granted == (not ready and self.model.free > 0)
        if granted:
            self.model.free -= 1
            self.model.held.append(ask)
        else:
            self.line.file(ask, waiter)
            self.model.waiting.append(ask)
            self.model.grant()

    @precondition(lambda self: self.model.offered)
    @rule(index=asks)
    def claim(self, index):
        ask = self.pick(self.model.offered, index)
        if ask.waiter.reach() is Reach.READY:
            assert self.line.claim(ask)
            self.model.offered.remove(ask)
            self.model.held.append(ask)

    @precondition(lambda self: self.model.waiting)
    @rule(index=asks)
    def wake_for_nothing(self, index):
        """A task that is woken without a grant looks for one."""
        ask = self.pick(self.model.waiting, index)
        if ask.waiter.final or ask.waiter.reach() is not Reach.READY:
            return
        claimed = self.line.claim(ask)
        self.model.grant()
        assert claimed == (ask in self.model.offered)
        if claimed:
            self.model.offered.remove(ask)
            self.model.held.append(ask)

    @precondition(lambda self: self.model.waiting + self.model.offered)
    @rule(index=asks)
    def time_out(self, index):
        ask = self.pick(self.model.waiting + self.model.offered, index)
        left = self.line.leave_unless_granted(ask)
        assert left == (ask in self.model.waiting)
        if left:
            self.gone.append(ask)
            self.model.leave(ask)
        else:
            self.model.offered.remove(ask)
            self.model.held.append(ask)

    @precondition(lambda self: self.model.waiting + self.model.offered)
    @rule(index=asks, busy=st.booleans())
    def cancel(self, index, busy):
        """A task is cancelled, a thread interrupted, a coroutine collected."""
        ask = self.pick(self.model.waiting + self.model.offered, index)
        self.leave(ask, busy)

    @precondition(lambda self: self.model.held)
    @rule(index=asks, busy=st.booleans())
    def give_back(self, index, busy):
        self.leave(self.pick(self.model.held, index), busy)

    def leave(self, ask, busy):
        if busy:  # a finalizer, while this thread holds the mutex
            with self.line.mutex:
                self.line.leave(ask)
            self.line.settle()
        else:
            self.line.leave(ask)
        self.gone.append(ask)
        self.model.leave(ask)

    @precondition(lambda self: self.gone)
    @rule(index=asks)
    def leave_again(self, index):
        """A finalizer comes long after its ask was settled."""
        self.line.leave(self.pick(self.gone, index))
        self.model.grant()

    @rule(index=homes, state=st.sampled_from([Reach.READY, Reach.PAUSED]))
    def stop_or_restart(self, index, state):
        self.homes[index % 2].state = state

    @rule(index=homes)
    def close(self, index):
        """A loop is closed with all its tasks; another one is opened."""
        self.homes[index % 2].state = Reach.GONE
        self.homes[index % 2] = Home()

    @rule()
    def revise(self):
        self.line.revise()
        self.model.revoke()

    @rule()
    def change(self):
        self.line.changed()
        self.model.revoke()

    @invariant()
    def both_are_the_same(self):
        assert list(self.line._queue) == self.model.waiting
        assert list(self.line._offers) == self.model.offered
        assert self.line.free == self.model.free
        assert all(ask.state is State.SETTLED for ask in self.model.held)
        granted = [ask for what, ask in self.line.book if what == "take"]
        assert len(granted) - (len(self.line.book) - len(granted)) + self.line.free == 2

    @invariant()
    def who_is_granted_is_woken(self):
        for ask in self.model.offered + self.model.held:
            assert ask.waiter is None or ask.waiter.wakes


LineMachine.TestCase.settings = machine_settings
TestLineAgainstModel = LineMachine.TestCase


class WorldMachine(RuleBasedStateMachine):
    """Draws the steps of simulated tasks, which run the real `ablock`, and threads."""

    def __init__(self):
        super().__init__()
        self.context = simulated(permits=2)
        self.world = self.context.__enter__()

    @rule(place=homes, timeout=st.sampled_from([None, 0, -1, 0.05, 0.3]))
    def start(self, place, timeout):
        self.world.start(place, timeout)

    @rule(index=asks)
    def resume(self, index):
        self.world.resume(index)

    @rule(index=asks)
    def cancel(self, index):
        self.world.cancel(index)

    @rule(index=asks, busy=st.booleans())
    def release(self, index, busy):
        self.world.release(index, busy=busy)

    @rule(index=homes)
    def deliver(self, index):
        self.world.deliver(index)

    @rule(index=homes)
    def stop(self, index):
        self.world.stop(index)

    @rule(index=homes)
    def restart(self, index):
        self.world.restart(index)

    @rule(index=homes)
    def close(self, index):
        self.world.close(index)

    @rule(index=homes)
    def trap(self, index):
        self.world.trap(index)

    @rule()
    def collect(self):
        self.world.collect()

    @rule()
    def look(self):
        self.world.look()

    @rule(seconds=st.sampled_from([0.01, 0.1, 1.0]))
    def pass_time(self, seconds):
        self.world.pass_time(seconds)

    @invariant()
    def the_books_are_right(self):
        for index, loop in enumerate(self.world.loops):
            if loop.state is Reach.GONE:
                self.world.close(index)
        self.world.check()

    def teardown(self):
        try:
            self.world.finish()
        finally:
            self.context.__exit__(None, None, None)


WorldMachine.TestCase.settings = machine_settings
TestWorld = WorldMachine.TestCase


# -- real threads and loops ------------------------------------------------------------


class Interrupted(BaseException):
    """What threads are interrupted with."""


def close(target):
    """Close a target, though an interrupt comes meanwhile: the next thread may have
    the same identifier."""
    try:
        target.close()
    finally:
        target.close()


class Crowd:
    """Threads, an asyncio loop and a trio loop that want the permits of one line.

    Who holds a permit counts itself in, and must never be one too many.
    """

    def __init__(self, seed, seconds, *, permits=2):
        self.seed = seed
        self.line = Permits(permits)
        self.line.book = NoBook()
        self.end = time.monotonic() + seconds
        self.inside = []
        self.passed = 0
        self.targets = []

    def enter(self):
        self.inside.append(None)
        assert len(self.inside) <= self.line.total, "more are inside than permits"
        self.passed += 1

    def leave(self, ask, dice):
        self.inside.pop()
        if dice.random() < 0.5:
            self.line.leave(ask)
        else:
            self.line.release()

    def be_thread(self, number):
        dice = random.Random(f"{self.seed} thread {number}")
        while time.monotonic() < self.end:
            ask = Want(self.line)
            try:
                block(ask, dice.choice([None, 0, 1e-5, 1e-3, 1.0]))
            except WaitTimeout:
                continue
            self.enter()
            self.leave(ask, dice)

    def be_interrupted(self, number):
        """Wait as a thread that others interrupt; `block` alone is open to that."""
        dice = random.Random(f"{self.seed} target {number}")
        target = Target()
        target.open()
        target.mask()
        self.targets.append(target)
        try:
            while time.monotonic() < self.end:
                ask = Want(self.line)
                try:
                    block(ask, dice.choice([None, 1e-4, 1.0]))
                except (WaitTimeout, Interrupted):
                    continue
                self.enter()
                self.leave(ask, dice)
            self.targets.remove(target)
        finally:
            close(target)

    def interrupt(self):
        dice = random.Random(f"{self.seed} interrupts")
        while time.monotonic() < self.end:
            for target in self.targets.copy():
                target.post(Interrupted)
            time.sleep(dice.random() * 1e-3)

    async def be_task(self, number):
        dice = random.Random(f"{self.seed} task {number}")
        while time.monotonic() < self.end:
            ask = Want(self.line)
            with anyio.move_on_after(dice.choice([1e-4, 1e-3, 1.0])):
                try:
                    await ablock(ask, dice.choice([None, 0, 1e-4, 1.0]))
                except WaitTimeout:
                    continue
                self.enter()
                self.leave(ask, dice)

    async def be_loop(self, tasks):
        async with anyio.create_task_group() as group:
            for number in range(tasks):
                group.start_soon(self.be_task, number)

    def run(self, *, threads=2, targets=1, tasks=3):
        workers = [Thread(self.be_thread, n) for n in range(threads)]
        workers += [Thread(self.be_interrupted, n) for n in range(targets)]
        workers.append(Thread(self.interrupt))
        workers += [
            Thread(lambda name=name: anyio.run(self.be_loop, tasks, backend=name))
            for name in ("asyncio", "trio")
        ]
        for worker in workers:
            worker.result()
        assert not self.inside
        self.line.revise()
        self.line.book = []
        self.line.check()
        assert self.line.free == self.line.total


def race_for_real(seed, seconds):
    """Let all kinds of waiters meet on one line, with threads switched very often."""
    crowd = Crowd(seed, seconds)
    with switching_fast():
        crowd.run()
    return crowd.passed


def test_threads_and_loops_share_a_line():
    assert race_for_real(seed=1, seconds=0.8) > 50


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 6))
def test_threads_and_loops_share_a_line_for_long(seed):
    assert race_for_real(seed, seconds=2.0) > 100


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_threads_and_loops_share_a_line_for_very_long():
    for seed in range(100, 400):
        race_for_real(seed, seconds=10.0)


class Interruptible:
    """A thread whose interrupts are let in for the time of one wait each."""

    def __init__(self, line, end):
        self.line, self.end = line, end
        self.target = Target()
        self.passed = self.interrupted = 0
        self.thread = Thread(self.run)

    def run(self):
        self.target.open()
        self.target.mask()
        try:
            while time.monotonic() < self.end:
                self.pass_through()
        finally:
            close(self.target)

    def pass_through(self):
        ask = Want(self.line)
        try:
            self.wait(ask)
        except (Interrupted, WaitTimeout):
            self.interrupted += 1
            self.mask()
        if ask.is_settled():
            self.passed += 1
            self.line.leave(ask)

    def wait(self, ask):
        try:
            self.target.unmask()
            block(ask, 1.0)
        finally:
            self.mask()

    def mask(self):
        """Mask interrupts, though they come on the way into the mask, too."""
        for _ in range(3):
            try:
                if not self.target.depth:
                    self.target.mask()
            except Interrupted:
                self.interrupted += 1


def test_a_line_stays_whole_when_waits_are_interrupted():
    """Only the wait itself is open: no interrupt leaves the line half changed."""
    line = Permits(1)
    line.book = NoBook()
    with switching_fast():
        workers = [Interruptible(line, time.monotonic() + 0.7) for _ in range(3)]
        while any(worker.thread.is_alive() for worker in workers):
            for worker in workers:
                worker.target.post(Interrupted)
            time.sleep(1e-4)
    for worker in workers:
        worker.thread.result(PATIENCE)
        assert worker.passed
        assert worker.interrupted
    line.book = []
    line.check()
    assert line.free == 1


def test_the_simulation_meets_everything(monkeypatch):
    """The seeded schedules are no better than what happens in them."""
    met = set()
    real = Line._withdraw

    def withdraw(self, ask):
        met.add(ask.state)
        real(self, ask)

    monkeypatch.setattr(Line, "_withdraw", withdraw)
    for seed in range(300):
        race(seed)
    assert met == {State.WAITING, State.OFFERED, State.SETTLED, State.GONE}
