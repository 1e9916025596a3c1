"""Waiting on threads: `block`, its time-outs, and what ends a wait early."""

import asyncio
import linecache
import sys
import threading
import time
from decimal import Decimal
from fractions import Fraction

import pytest
from core_tools import (
    PATIENCE,
    FakeWaiter,
    Permits,
    Thread,
    Want,
    disturb_main_thread,
    file,
    handling,
    needs_signals,
    take,
    wait_for,
)

from cup._core import pause as pausing, wait
from cup._core.clock import (
    LONGEST,
    SYSTEM,
    ClockJump,
    ClockWatch,
    SystemClock,
    check_timeout,
    deadline_after,
)
from cup._core.interrupt import Target
from cup._core.latch import Latch
from cup._core.line import Fifo, Line
from cup._core.park import LockParker
from cup._core.pause import pause
from cup._core.wait import Ask, Reach, State, ThreadWaiter, block
from cup.errors import (
    BlockingInLoopWarning,
    InvalidType,
    InvalidValue,
    WaitTimeout,
)
from cup.testing import VirtualClock

HUGE = [LONGEST * 2, 1e300, 10**30]


# -- time-outs -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        (None, None),
        (float("inf"), None),
        (10**400, None),
        (1.5, 1.5),
        (3, 3.0),
        (True, 1.0),
        (Decimal("0.5"), 0.5),
        (Fraction(1, 4), 0.25),
        (0, 0.0),
        (-0.0, 0.0),
        (-3, 0.0),
        (float("-inf"), 0.0),
        (-(10**400), 0.0),
        *[(number, float(number)) for number in HUGE],
    ],
)
def test_timeouts_are_counted_in_one_way(timeout, seconds):
    assert check_timeout(timeout) == seconds


@pytest.mark.parametrize("timeout", [float("nan"), Decimal("nan")])
def test_nan_is_refused(timeout):
    with pytest.raises(InvalidValue, match="wait_time is NaN"):
        check_timeout(timeout, "wait_time")
    with pytest.raises(ValueError, match="NaN"):
        block(Want(Permits()), timeout)


@pytest.mark.parametrize("timeout", ["5", b"5", [], {}, object(), 1j])
def test_what_is_no_number_is_refused(timeout):
    with pytest.raises(InvalidType, match="must be seconds"):
        check_timeout(timeout)
    with pytest.raises(TypeError):
        block(Want(Permits()), timeout)


def test_deadlines_are_counted_on_the_clock_that_is_given():
    clock = VirtualClock(start=50.0)
    assert deadline_after(None, clock) is None
    assert deadline_after(2.0, clock) == 52.0
    assert abs(deadline_after(0.0) - time.monotonic()) < 1.0
    assert isinstance(SYSTEM, SystemClock)
    assert abs(SYSTEM.monotonic() - time.monotonic()) < 1.0
    assert abs(SYSTEM.time() - time.time()) < 1.0
    assert repr(SYSTEM) == "SystemClock()"


# -- the watch over the clocks ---------------------------------------------------------


def test_a_watch_tells_a_set_clock_from_a_slept_machine():
    clock = VirtualClock()
    watch = ClockWatch(clock)
    clock.advance(3600)
    assert watch.look() is None
    clock.step_wall(-90)
    assert watch.look() == ClockJump(stepped=-90, slept=0)
    assert watch.look() is None
    clock.suspend(600)
    assert watch.look() == ClockJump(stepped=0, slept=600)
    clock.suspend(600)
    clock.step_wall(30)
    assert watch.look() == ClockJump(stepped=30, slept=600)


def test_a_watch_leaves_out_what_slewing_does():
    clock = VirtualClock()
    watch = ClockWatch(clock)
    clock.step_wall(0.5)
    assert watch.look() is None
    clock.suspend(0.5)
    assert watch.look() is None
    clock.suspend(90)
    clock.step_wall(0.5)
    assert watch.look() == ClockJump(stepped=0, slept=90)


def test_a_watch_that_begins_anew_has_seen_nothing():
    clock = VirtualClock()
    watch = ClockWatch(clock)
    clock.step_wall(90)
    clock.suspend(90)
    watch.begin()
    assert watch.look() is None


def test_the_clock_of_this_machine_can_be_watched():
    assert SYSTEM.suspended() > -0.001  # two clocks, read one after the other
    assert ClockWatch(SYSTEM).look() is None


@pytest.mark.parametrize("timeout", [None, 0, -1, 5.0, float("inf")])
def test_what_is_free_is_had_with_any_timeout(timeout):
    line = Permits(1)
    ask = Want(line)
    assert block(ask, timeout) == 1
    assert ask.is_settled()
    line.leave(ask)
    line.check()


@pytest.mark.parametrize("timeout", [0, -1, -1e300])
def test_zero_or_less_tries_once(timeout):
    line = Permits(1)
    held = take(line)
    with pytest.raises(WaitTimeout, match="not granted within 0 s"):
        block(Want(line), timeout)
    assert len(line) == 0
    line.leave(held)
    line.check()


@pytest.mark.parametrize("reach", [Reach.PAUSED, Reach.GONE])
def test_zero_gets_what_a_stopped_loop_does_not_claim(reach):
    line = Permits(1)
    held = take(line)
    _, waiter = file(line, "loop")
    line.leave(held)
    with pytest.raises(WaitTimeout):
        block(Want(line), 0)
    waiter.state = reach
    assert block(Want(line), 0)


@pytest.mark.parametrize("timeout", [0.02, 0.15])
def test_a_wait_ends_in_time(timeout):
    line = Permits(1)
    held = take(line)
    start = time.monotonic()
    with pytest.raises(WaitTimeout, match=f"within {timeout} s"):
        block(Want(line), timeout)
    assert timeout <= time.monotonic() - start < timeout + 1.0
    line.leave(held)
    line.check()


@pytest.mark.parametrize("timeout", [None, float("inf"), *HUGE])
def test_a_wait_may_be_as_long_as_one_likes(timeout):
    line = Permits(1)
    held = take(line)
    thread = Thread(lambda: block(Want(line), timeout))
    wait_for(lambda: len(line) == 1)
    line.leave(held)
    assert thread.result()


def test_the_error_of_a_timeout_is_the_one_of_the_ask():
    class Special(Ask):
        __slots__ = ()

        def timed_out(self, timeout):
            return LookupError(timeout)

    latch = Latch()
    for timeout in (0, 0.01):
        with pytest.raises(LookupError) as caught:
            block(Special(latch), timeout)
        assert caught.value.args == (timeout,)


def test_an_ask_says_what_it_is_about():
    assert str(Ask(Latch()).timed_out(3)) == "the call: not granted within 3 s"


# -- granting --------------------------------------------------------------------------


def test_threads_are_served_in_their_order():
    line = Permits(1)
    held = take(line)
    order = []

    def work(number):
        ask = Want(line)
        block(ask, PATIENCE)
        order.append(number)
        line.leave(ask)

    threads = []
    for number in range(8):
        threads.append(Thread(work, number))
        wait_for(lambda n=number: len(line) == n + 1)
    line.leave(held)
    for thread in threads:
        thread.result()
    assert order == list(range(8))
    line.check()


def test_a_grant_that_comes_with_the_deadline_is_kept(monkeypatch):
    line = Permits(1)
    held = take(line)

    def late(parker, deadline):
        line.leave(held)
        return False

    monkeypatch.setattr(wait, "park", late)
    assert block(Want(line), 0.5)


def test_a_grant_that_comes_after_the_deadline_is_kept(monkeypatch):
    line = Permits(1)
    held = take(line)
    monkeypatch.setattr(wait, "_wait", lambda *_: line.leave(held))
    assert block(Want(line), 0.5)


def test_a_stray_wake_ends_no_wait():
    line = Permits(1)
    held = take(line)
    ask = Want(line)
    thread = Thread(lambda: block(ask, PATIENCE))
    wait_for(lambda: len(line) == 1)
    for _ in range(3):
        ask.waiter.wake()
    assert thread.is_alive()
    line.leave(held)
    assert thread.result()


def test_a_thread_behind_a_stopped_loop_looks_around(monkeypatch):
    """It parks in slices, only while a task of a loop is in line."""
    line = Permits(1)
    held = take(line)
    file(line, "loop", reach=Reach.PAUSED)
    slices = []
    park = wait.park

    def watch(parker, deadline):
        slices.append(deadline and deadline - time.monotonic())
        if len(slices) == 3:
            line.leave(held)
        return park(parker, deadline)

    monkeypatch.setattr(wait, "park", watch)
    assert block(Want(line), PATIENCE)
    assert all(part <= wait.SLICE for part in slices)

    slices.clear()
    line = Permits(1)
    held = take(line)
    thread = Thread(lambda: block(Want(line)))
    wait_for(lambda: slices)
    assert slices == [None]
    line.leave(held)
    thread.result()


# -- the waiter ------------------------------------------------------------------------


def test_a_thread_waiter_keeps_a_wake_that_comes_first():
    waiter = ThreadWaiter()
    assert waiter.final
    assert waiter.home is None
    assert waiter.reach() is Reach.READY
    assert waiter.wake()
    assert waiter.parker.park_until(time.monotonic() + PATIENCE)


def test_two_wakes_of_a_thread_are_one():
    waiter = ThreadWaiter()
    assert waiter.wake()
    assert waiter.wake()
    assert waiter.parker.park_until(time.monotonic())
    assert not waiter.parker.park_until(time.monotonic() + 0.01)


def test_a_wake_after_the_end_of_a_wait_does_nothing():
    line = Permits(1)
    held = take(line)
    ask = Want(line)
    with pytest.raises(WaitTimeout):
        block(ask, 0.01)
    assert ask.waiter.wake()
    line.leave(held)
    line.check()


# -- what ends a wait early ------------------------------------------------------------


@needs_signals
def test_an_exception_of_a_signal_handler_ends_the_wait():
    line = Permits(1)
    held = take(line)
    ask = Want(line)
    calls = []

    def handler(*_):
        calls.append(None)
        if len(calls) == 1:
            raise KeyboardInterrupt

    def disturb():
        wait_for(lambda: len(line) == 1)
        disturb_main_thread(lambda: calls)

    with handling(handler):
        thread = Thread(disturb)
        with pytest.raises(KeyboardInterrupt):
            block(ask, PATIENCE)
        thread.result()
    assert ask.state is State.GONE
    line.leave(held)
    line.check()
    assert line.free == 1


class Tripwire:
    """Raises KeyboardInterrupt at the n-th step of the code that is traced.

    Not at `with`: its line comes once more before it is left, where no signal comes.
    """

    def __init__(self, codes, number):
        self.codes, self.left = codes, number

    def __call__(self, frame, event, _):
        if frame.f_code not in self.codes:
            return None
        if event == "line" and not self.is_with(frame):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt
        return self

    @staticmethod
    def is_with(frame):
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        return line.lstrip().startswith("with ")


def test_an_exception_at_any_step_into_the_line_comes_out_as_it_is():
    """A signal may come between two steps: the caller is not told of a broken line."""
    codes = {Line.file.__code__, Line._count.__code__, Fifo.add.__code__}
    for number in range(1, 100):
        line = Permits(0)
        ask = Want(line)
        wire = Tripwire(codes, number)
        before = sys.gettrace()
        sys.settrace(wire)
        try:
            with pytest.raises((KeyboardInterrupt, WaitTimeout)) as caught:
                block(ask, 0.001)
        finally:
            sys.settrace(before)
        line.changed()
        assert len(line) == 0
        assert ask.state in (State.NEW, State.GONE)
        line.release()
        assert block(Want(line), 0)
        if caught.type is WaitTimeout:
            break
    assert number > 10


@needs_signals
def test_a_signal_handler_that_returns_ends_nothing():
    line = Permits(1)
    held = take(line)
    calls = []

    def disturb():
        wait_for(lambda: len(line) == 1)
        disturb_main_thread(lambda: len(calls) >= 3)
        line.leave(held)

    with handling(lambda *_: calls.append(None)):
        thread = Thread(disturb)
        assert block(Want(line), PATIENCE)
        thread.result()
    assert len(calls) >= 3


class Interrupted(BaseException):
    """What threads are interrupted with."""


def interruptible(function):
    """Run a function in a thread that can be interrupted; return it with its target."""
    target = Target()

    def work():
        target.open()
        try:
            return function()
        finally:
            target.close()

    thread = Thread(work)
    wait_for(lambda: target.opened)
    return thread, target


def test_an_interrupt_ends_the_wait():
    line = Permits(1)
    held = take(line)
    ask = Want(line)
    thread, target = interruptible(lambda: block(ask, None))
    wait_for(lambda: len(line) == 1)
    assert target.post(Interrupted)
    with pytest.raises(Interrupted):
        thread.result()
    assert ask.state is State.GONE
    line.leave(held)
    line.check()


def test_a_pause_takes_its_time_and_says_where_it_does_not_belong():
    began = time.monotonic()
    pause(0.02, "Thing.rest", "AsyncThing.rest")
    assert time.monotonic() - began >= 0.02

    async def main():
        pause(0.0, "Thing.rest", "AsyncThing.rest")

    with pytest.warns(BlockingInLoopWarning, match=r"await AsyncThing\.rest"):
        asyncio.run(main())


def test_an_interrupt_ends_a_pause():
    thread, target = interruptible(lambda: pause(10 * PATIENCE, "a", "b"))
    assert target.post(Interrupted)
    with pytest.raises(Interrupted):
        thread.result()


def test_a_stray_wake_ends_no_pause(monkeypatch):
    parker = LockParker()
    parker.wake()
    monkeypatch.setattr(pausing, "LockParker", lambda: parker)
    began = time.monotonic()
    pause(0.02, "a", "b")
    assert time.monotonic() - began >= 0.02


def test_an_interrupt_that_meets_a_grant_passes_it_on(monkeypatch):
    """It comes between the grant and the return: the grant goes to the next."""
    line = Permits(1)
    ask = Want(line)
    real = wait._block

    def granted(*args):
        value = real(*args)
        target.post(Interrupted)
        return value

    monkeypatch.setattr(wait, "_block", granted)
    go = threading.Event()
    thread, target = interruptible(lambda: go.wait() and block(ask, None))
    go.set()
    with pytest.raises(Interrupted):
        thread.result()
    assert ask.state is State.GONE
    line.check()
    assert line.free == 1


def test_an_interrupt_waits_for_a_wait_that_times_out(monkeypatch):
    """The time-out comes first; the interrupt is raised right after it."""
    line = Permits(0)
    real = wait._block

    def late(*args):
        try:
            return real(*args)
        finally:
            target.post(Interrupted)

    monkeypatch.setattr(wait, "_block", late)
    go = threading.Event()
    seen = []

    def work():
        go.wait()
        try:
            block(Want(line), 0.01)
        except WaitTimeout as error:
            seen.append(error)
        while True:
            time.sleep(0.001)

    thread, target = interruptible(work)
    go.set()
    with pytest.raises(Interrupted):
        thread.result()
    assert len(line) == 0


def test_park_needs_no_interruptible_thread():
    parker = LockParker()
    parker.wake()
    assert wait.park(parker, None)
    assert not wait.park(parker, time.monotonic() + 0.01)


def test_a_waiter_of_the_tests_is_one():
    waiter = FakeWaiter()
    assert waiter.final
    assert waiter.wake()
    assert waiter.wakes == 1
