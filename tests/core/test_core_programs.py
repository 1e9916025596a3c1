"""Background programs, the threads that drive them, and the timekeeper."""

import contextlib
import gc
import heapq
import random
import threading
import time
import weakref

import pytest
from core_tools import PATIENCE, Thread, run_python, switching_fast, wait_for

from cup._core import timekeeper
from cup._core.park import LockParker
from cup._core.program import Program, ThreadDriver, perform
from cup._core.threads import OwnThread, join_all, join_within
from cup._core.timekeeper import Timekeeper
from cup.testing import VirtualClock, VirtualDriver


class Script(Program):
    """Does in each step what the test says, and remembers when."""

    def __init__(self, *deeds):
        super().__init__()
        self.deeds = list(deeds)
        self.steps = []

    def step(self, now):
        self.steps.append(now)
        deed = self.deeds.pop(0) if self.deeds else None
        return deed(self, now) if callable(deed) else deed


@contextlib.contextmanager
def driven(program):
    driver = ThreadDriver(program, "a driver of the tests")
    try:
        yield driver
    finally:
        driver.stop()


def fail(_, __):
    raise LookupError("in a step")


# -- one step --------------------------------------------------------------------------


def test_effects_are_performed_after_the_step_has_returned():
    log = []

    def deed(program, now):
        program.effects.append(lambda: log.append("first"))
        program.effects.append(lambda: log.append("second"))
        log.append("step")
        return now + 1

    assert perform(Script(deed), 5.0) == 6.0
    assert log == ["step", "first", "second"]


def test_an_effect_may_cause_another_one():
    log = []
    program = Script()
    program.effects.append(lambda: program.effects.append(lambda: log.append("late")))
    assert perform(program, 0.0) is None
    assert log == ["late"]


def test_a_step_that_fails_is_reported_and_tried_again(caplog):
    program = Script(fail, 100.0)
    again = perform(program, 5.0)
    assert "in a step" in caplog.text
    assert "Script" in caplog.text
    assert 5.0 < again < 7.0, "it said no deadline, and must not sleep for ever"
    assert perform(program, again) == 100.0


def test_what_a_failed_step_wanted_done_is_done(caplog):
    log = []

    def deed(program, _):
        program.effects.append(lambda: log.append("done"))
        raise LookupError

    perform(Script(deed), 0.0)
    assert log == ["done"]
    assert "failed" in caplog.text


def test_an_effect_that_fails_does_not_stop_the_others(caplog):
    log = []

    def deed(program, now):
        program.effects.append(lambda: fail(None, None))
        program.effects.append(lambda: log.append("done"))
        return now + 1

    assert perform(Script(deed), 0.0) == 1.0
    assert log == ["done"]
    assert "an effect of" in caplog.text


def test_a_program_may_be_run_by_its_own_effect():
    """Its state is in attributes: a second step in the first one's effects is fine."""
    program = Script(
        lambda program, now: program.effects.append(lambda: perform(program, now + 1)),
        30.0,
    )
    perform(program, 10.0)
    assert program.steps == [10.0, 11.0]


def test_the_base_does_nothing():
    with pytest.raises(NotImplementedError):
        Program().step(0.0)


# -- on a thread -----------------------------------------------------------------------


def test_a_driver_starts_with_the_first_nudge():
    program = Script()
    with driven(program) as driver:
        assert driver._thread is None
        driver.nudge(0.0)
        wait_for(lambda: program.steps)
        assert not driver._thread.daemon
        assert driver._thread.name == "a driver of the tests"


def test_a_program_is_called_at_its_deadline():
    program = Script(lambda _, now: now + 0.03, None)
    with driven(program) as driver:
        driver.nudge(0.0)
        wait_for(lambda: len(program.steps) == 2)
    first, second = program.steps
    assert 0.03 <= second - first < 1.0


def is_parked(driver):
    return driver._parked_until > float("-inf")


def test_an_earlier_nudge_wakes_the_driver():
    program = Script(lambda _, now: now + 3600)
    with driven(program) as driver:
        driver.nudge(0.0)
        wait_for(lambda: is_parked(driver))
        driver.nudge(time.monotonic() + 1)
        wait_for(lambda: len(program.steps) == 2)


def test_a_later_nudge_wakes_nobody(monkeypatch):
    wakes = []
    monkeypatch.setattr(
        "cup._core.program.make_parker", lambda: Counting(wakes, LockParker())
    )
    deadline = time.monotonic() + 3600
    program = Script(deadline, deadline)
    with driven(program) as driver:
        driver.nudge(0.0)
        wait_for(lambda: is_parked(driver))
        for _ in range(1000):
            driver.nudge(deadline)
        assert not wakes
        assert len(program.steps) == 1


class Counting:
    """A parker that counts its wakes."""

    def __init__(self, wakes, parker):
        self.wakes, self.parker = wakes, parker
        self.park, self.park_until = parker.park, parker.park_until

    def wake(self):
        self.wakes.append(None)
        self.parker.wake()


def test_an_idle_driver_is_never_woken():
    program = Script()
    with driven(program) as driver:
        driver.nudge(0.0)
        wait_for(lambda: is_parked(driver))
        assert not Thread(lambda: time.sleep(0.05)).result()
        assert len(program.steps) == 1


def test_a_nudge_during_a_step_is_not_lost():
    inside, gate = threading.Event(), threading.Event()

    def deed(*_):
        inside.set()
        gate.wait(PATIENCE)

    program = Script(deed)
    with driven(program) as driver:
        driver.nudge(0.0)
        inside.wait(PATIENCE)
        driver.nudge(time.monotonic())
        gate.set()
        wait_for(lambda: len(program.steps) == 2)


def test_no_nudge_is_lost_in_a_race():
    """Each nudge is followed by a step that sees what was done before it."""

    class Mirror(Program):
        given = seen = 0

        def step(self, _):
            self.seen = self.given

    program = Mirror()
    with switching_fast(), driven(program) as driver:
        for number in range(1, 1500):
            program.given = number
            driver.nudge(0.0)
            if number % 3 == 0:
                wait_for(lambda n=number: program.seen >= n)
        wait_for(lambda: program.seen == 1499)


def test_only_one_of_many_nudges_starts_the_thread():
    program = Script(*[None] * 100)
    with switching_fast(), driven(program) as driver:
        for thread in [Thread(driver.nudge, 0.0) for _ in range(8)]:
            thread.result()
        wait_for(lambda: program.steps)
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("a driver of the tests") == 1


def test_a_driver_goes_on_after_a_failed_step(caplog):
    program = Script(fail, 1e9)
    with driven(program) as driver:
        driver.nudge(0.0)
        wait_for(lambda: is_parked(driver))
        driver.nudge(0.0)
        wait_for(lambda: len(program.steps) >= 2)
    assert "in a step" in caplog.text


def test_a_thread_that_cannot_be_started_is_started_by_the_next_nudge(monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    program = Script()
    with driven(program) as driver:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="can't start"):
                driver.nudge(0.0)
        driver.nudge(0.0)
        wait_for(lambda: program.steps)


class Stopped(BaseException):
    """What a signal handler raises."""


@pytest.mark.parametrize("broken", [KeyError, RuntimeError])
def test_what_a_handler_raises_comes_out_of_a_start_that_it_broke(monkeypatch, broken):
    """`threading` fails over what the handler left; that is not the news."""

    def start(_):
        try:
            raise Stopped
        finally:
            raise broken

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(Stopped):
        own_thread(list).start()
    try:
        raise LookupError
    except LookupError:
        with pytest.raises(Stopped):
            own_thread(list).start()


def test_an_error_that_was_there_before_a_start_is_not_its_cause(monkeypatch):
    def start(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    try:
        raise LookupError
    except LookupError:
        with pytest.raises(RuntimeError, match="can't start"):
            own_thread(list).start()


def own_thread(target):
    return OwnThread(target, name="a thread of the tests", daemon=True)


def test_a_thread_is_called_off_until_it_begins():
    called = []
    thread = own_thread(lambda: called.append(None))
    assert thread.call_off()
    assert thread.call_off()
    thread.start()
    assert join_within(thread, PATIENCE)
    assert not called

    thread = own_thread(lambda: called.append(None))
    thread.start()
    wait_for(lambda: called)
    assert not thread.call_off()
    thread.join()


def test_joining_leaves_out_the_caller_and_what_was_not_started():
    go = threading.Event()
    thread, idle = own_thread(go.wait), own_thread(list)
    thread.start()
    assert not join_within(thread, 0.01)
    go.set()
    join_all([threading.current_thread(), idle, thread])
    assert not thread.is_alive()


def test_a_stopped_driver_is_quiet():
    program = Script()
    with driven(program) as driver:
        driver.nudge(0.0)
        wait_for(lambda: program.steps)
        driver.stop()
        assert not driver._thread.is_alive()
        driver.nudge(0.0)
        driver.stop()
        assert len(program.steps) == 1


def test_a_driver_that_is_stopped_first_starts_no_thread():
    with driven(Script()) as driver:
        driver.stop()
        driver.nudge(0.0)
        assert driver._thread is None


def test_an_effect_may_stop_its_own_driver():
    program = Script(lambda program, _: program.effects.append(program.driver.stop))
    with driven(program) as driver:
        program.driver = driver
        driver.nudge(0.0)
        wait_for(lambda: driver._thread and not driver._thread.is_alive())


# -- the timekeeper --------------------------------------------------------------------


@pytest.fixture
def virtual():
    """Give a timekeeper, a function that adds calls, and its driver."""
    keeper = Timekeeper()
    driver = VirtualDriver(VirtualClock(start=0.0))
    seat = driver.add(keeper)

    def call_at(deadline, callback):
        appointment = keeper.add(deadline, callback)
        seat.nudge(deadline)
        return appointment

    return keeper, call_at, driver


def test_calls_come_at_their_time_and_in_their_order(virtual):
    _, call_at, driver = virtual
    log = []
    for number, at in enumerate((3.0, 1.0, 2.0, 1.0)):
        call_at(at, lambda n=number: log.append((driver.clock.monotonic(), n)))
    assert driver.run_until_idle() == 3.0
    assert log == [(1.0, 1), (1.0, 3), (2.0, 2), (3.0, 0)]


def test_what_is_cancelled_is_not_called(virtual):
    _, call_at, driver = virtual
    log = []
    appointments = [call_at(at, lambda at=at: log.append(at)) for at in range(1, 6)]
    appointments[0].cancel()
    appointments[3].cancel()
    appointments[3].cancel()
    driver.run_until_idle()
    assert log == [2, 3, 5]
    appointments[1].cancel()  # too late


def test_an_idle_timekeeper_has_no_deadline(virtual):
    keeper, call_at, driver = virtual
    assert keeper.step(0.0) is None
    appointment = call_at(5.0, print)
    assert keeper.step(0.0) == 5.0
    appointment.cancel()
    assert keeper.step(0.0) is None
    driver.run_until_idle()


def test_cancelling_frees_what_the_call_holds(virtual):
    _, call_at, _ = virtual

    class Thing:
        def method(self):
            pass

    thing = Thing()
    alive = weakref.ref(thing)
    appointment = call_at(1e9, thing.method)
    del thing
    gc.collect()
    assert alive()
    appointment.cancel()
    gc.collect()
    assert not alive()


def test_a_call_that_was_made_is_free():
    keeper = Timekeeper()
    thing = lambda: None
    alive = weakref.ref(thing)
    appointment = keeper.add(1.0, thing)
    del thing
    perform(keeper, 2.0)
    gc.collect()
    assert not alive()
    appointment.cancel()
    assert not keeper.cancelled


def test_cancelled_calls_are_cleared_away_in_time():
    keeper = Timekeeper()
    kept = [keeper.add(1e9 + n, print) for n in range(10)]
    for _ in range(50):
        appointments = [keeper.add(1e9, print) for _ in range(100)]
        keeper.step(0.0)
        for appointment in appointments:
            appointment.cancel()
    keeper.step(0.0)
    assert len(keeper._heap) <= len(kept) + 128
    assert len(keeper.cancelled) <= 128
    assert [entry[2] for entry in heapq.nsmallest(1, keeper._heap)] == kept[:1]


def test_clearing_away_calls_nobody_twice():
    keeper = Timekeeper()
    log = []
    keeper.add(1.0, lambda: log.append("due"))
    keeper.add(5.0, lambda: log.append("later"))
    others = [keeper.add(100.0, print) for _ in range(200)]
    keeper.step(0.0)
    for appointment in others:
        appointment.cancel()
    assert perform(keeper, 2.0) == 5.0
    assert perform(keeper, 3.0) == 5.0
    assert log == ["due"]
    perform(keeper, 6.0)
    assert log == ["due", "later"]


@pytest.mark.parametrize("seed", range(20))
def test_each_call_comes_once_unless_cancelled(virtual, seed):
    keeper, call_at, driver = virtual
    dice = random.Random(seed)
    due, called = {}, []
    for number in range(600):
        at = driver.clock.monotonic() + dice.choice([0.0, 1.0, 5.0, 500.0])
        made = call_at(
            at, lambda n=number: called.append((driver.clock.monotonic(), n))
        )
        due[number] = (at, made)
        if dice.random() < 0.6 and due:
            victim = dice.choice(list(due))
            if victim not in [n for _, n in called]:
                due.pop(victim)[1].cancel()
        if dice.random() < 0.1:
            driver.advance(dice.choice([0.0, 0.5, 2.0]))
    driver.run_until_idle()
    assert sorted(n for _, n in called) == sorted(due)
    assert all(at == due[n][0] for at, n in called)
    assert not keeper._heap


# -- the timekeeper of the process -----------------------------------------------------


def test_the_process_has_a_timekeeper():
    called = threading.Event()
    start = time.monotonic()
    timekeeper.call_at(start + 0.02, called.set)
    assert called.wait(PATIENCE)
    assert time.monotonic() - start >= 0.02


def test_calls_that_come_and_go_take_no_memory():
    """They are made and cancelled while nothing is due for long."""
    keeper = timekeeper._keeper
    first = timekeeper.call_at(time.monotonic() + 3600, print)
    for _ in range(5000):
        timekeeper.call_at(time.monotonic() + 7200, print).cancel()
    wait_for(lambda: len(keeper._new) + len(keeper._heap) + len(keeper.cancelled) < 400)
    first.cancel()


def test_the_timekeeper_sleeps_while_nothing_is_due(monkeypatch):
    answer = run_python(
        """
import time
from core_tools import wait_for
from cup._core import timekeeper

steps = []
step = timekeeper.Timekeeper.step
timekeeper.Timekeeper.step = lambda self, now: steps.append(now) or step(self, now)
timekeeper.call_at(time.monotonic() + 3600, print)
wait_for(lambda: timekeeper._driver._parked_until > 0)
before = len(steps)
for _ in range(40):
    timekeeper.call_at(time.monotonic() + 7200, print)
time.sleep(0.2)
print(len(steps) - before)
"""
    )
    assert answer == "0\n"


def test_importing_the_timekeeper_starts_nothing():
    answer = run_python(
        "import threading, cup._core.timekeeper; print(threading.active_count())"
    )
    assert answer == "1\n"
