"""Interrupts at their source: the slot, masks, shields, waits, the interpreter.

What threads and locks make of it is tested with them.
"""

import threading
import time

import pytest
from core_tools import PATIENCE, Thread, run_python, switching_fast, wait_for

from cup._core import interrupt, wait
from cup._core.interrupt import Target, current, shielded, targets
from cup._core.park import LockParker, make_parker
from cup.errors import ThreadTermException


class Stop(BaseException):
    """What threads are interrupted with."""


def spin():
    """Run plain Python code until interrupted."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        pass
    raise AssertionError("the interrupt never came")


class Victim:
    """A thread with a target that is open while `function` runs in it."""

    def __init__(self, function):
        self.target = Target()
        self.opened = threading.Event()
        self.go = threading.Event()
        self.thread = Thread(self._run, function)
        assert self.opened.wait(PATIENCE)

    def _run(self, function):
        self.target.open()
        try:
            try:
                self.opened.set()
                return function(self)
            finally:
                # Not by a call: an interrupt could be raised inside of it.
                self.target.opened = False
        finally:
            try:
                self.target.close()
            except BaseException:  # was on its way, and comes too late
                self.target.close()

    def pause(self):
        """Wait for the test, without being a point of interruption."""
        self.target.mask()
        assert self.go.wait(PATIENCE)
        self.target.depth -= 1  # as `unmask` does, which would deliver

    def post(self, error=Stop):
        posted = self.target.post(error)
        self.go.set()
        return posted


@pytest.fixture(autouse=True)
def nothing_stays_open():
    """A target left open would be sent to whatever thread gets its identifier next."""
    yield
    wait_for(lambda: not targets)


# -- delivery --------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Stop, Stop("an instance"), ValueError("of a user")])
def test_plain_code_is_interrupted(error):
    victim = Victim(lambda _: spin())
    assert victim.post(error)
    with pytest.raises(error if isinstance(error, type) else type(error)) as caught:
        victim.thread.result()
    assert error in (caught.value, type(caught.value))
    assert victim.target.pending is None


@pytest.mark.parametrize("make", [LockParker, make_parker])
@pytest.mark.parametrize("seconds", [None, PATIENCE])
def test_a_parked_thread_is_woken_and_interrupted(make, seconds):
    parked = threading.Event()
    parker = make()

    def park(_):
        parked.set()
        while True:
            deadline = None if seconds is None else time.monotonic() + seconds
            wait.park(parker, deadline)

    victim = Victim(park)
    assert parked.wait(PATIENCE)
    start = time.monotonic()
    assert victim.post()
    with pytest.raises(Stop):
        victim.thread.result()
    assert time.monotonic() - start < 5


def test_an_interrupt_before_the_wait_ends_it():
    def park_late(victim):
        victim.pause()
        wait.park(LockParker(), None)

    victim = Victim(park_late)
    assert victim.post()
    with pytest.raises(Stop):
        victim.thread.result()


def test_what_was_posted_before_the_opening_is_pending():
    target = Target()
    assert target.post(Stop)
    log = []

    def work():
        target.open()
        log.append(target.pending is not None)
        try:
            target.deliver()
        finally:
            target.close()

    with pytest.raises(Stop):
        Thread(work).result()
    assert log == [True]


def test_after_the_end_everything_is_refused():
    victim = Victim(lambda _: "done")
    assert victim.thread.result() == "done"
    assert not victim.target.post(Stop)
    assert victim.target.pending is None
    victim.target.close()  # once more is no harm


def test_what_was_not_delivered_is_dropped_at_the_end():
    log = []

    def leave(victim):
        victim.target.mask()
        assert victim.go.wait(PATIENCE)
        log.append(victim.target.pending is not None)
        victim.target.close()
        log.append(victim.target.pending is not None)

    victim = Victim(leave)
    victim.post()
    victim.thread.result()
    assert log == [True, False]


def test_a_withdrawn_interrupt_never_comes():
    def work(victim):
        victim.pause()
        victim.target.withdraw()
        return sum(range(20_000))

    victim = Victim(work)
    victim.post()
    assert victim.thread.result()


def test_a_later_interrupt_replaces_the_one_that_waits():
    victim = Victim(lambda victim: victim.pause() or victim.target.deliver())
    victim.target.post(LookupError("first"))
    victim.post(LookupError("second"))
    with pytest.raises(LookupError, match="second"):
        victim.thread.result()


def test_nothing_replaces_what_ends_the_thread():
    victim = Victim(lambda victim: victim.pause() or victim.target.deliver())
    victim.target.post(ThreadTermException)
    victim.post(LookupError)
    with pytest.raises(ThreadTermException):
        victim.thread.result()


def test_a_thread_that_got_the_same_identifier_is_safe():
    """Threads come and go; what was posted to one never reaches the next."""
    survived = []

    def innocent():
        survived.append(sum(range(2000)))

    with switching_fast():
        for _ in range(60):
            victim = Victim(lambda _: None)
            victim.target.post(Stop)
            victim.thread.join(PATIENCE)
            assert victim.thread.error is None or isinstance(victim.thread.error, Stop)
            Thread(innocent).result()
    assert len(survived) == 60


# -- exactly once ----------------------------------------------------------------------


def test_an_interrupt_is_raised_once_although_it_is_sent_again(monkeypatch):
    """Somebody looks again and again while the thread is deaf, inside of C code."""
    monkeypatch.setattr(interrupt, "_FIRST_LOOK", 1e-5)
    monkeypatch.setattr(interrupt, "_LAST_LOOK", 1e-5)
    for _ in range(20):
        gate = threading.Lock()
        gate.acquire()
        hits = []

        def deaf(_, gate=gate, hits=hits):
            for step in (gate.acquire, lambda: sum(range(5000))):
                try:
                    step()
                except Stop:
                    hits.append(None)

        victim = Victim(deaf)
        victim.post()
        time.sleep(0.001)
        gate.release()
        victim.thread.result()
        assert len(hits) == 1


def test_many_interrupts_are_raised_once_each():
    """Each is posted when the one before it has been raised."""
    hits = []

    ready = threading.Event()

    def work(victim):
        victim.target.mask()
        ready.set()
        while len(hits) < 300:
            try:
                victim.target.unmask()
                spin()
            except Stop as error:
                victim.target.mask()  # the next may come only where it is caught
                hits.append(error.args[0])
        victim.target.unmask()

    with switching_fast():
        victim = Victim(work)
        assert ready.wait(PATIENCE)
        for number in range(300):
            victim.target.post(Stop(number))
            wait_for(lambda n=number: len(hits) > n)
        victim.thread.result()
    assert hits == [*range(300)]


def test_another_user_of_the_interpreter_cannot_lose_it():
    from cup._core import asyncexc

    gate = threading.Lock()
    gate.acquire()

    def deaf(_):
        gate.acquire()
        spin()

    victim = Victim(deaf)
    victim.post()
    asyncexc.clear(victim.thread.ident)
    gate.release()
    with pytest.raises(Stop):
        victim.thread.result()


def test_what_a_finalizer_swallows_comes_again():
    class Noisy:
        def __del__(self):
            while not swallowed.is_set() and victim.target.pending is not None:
                pass
            swallowed.set()

    swallowed = threading.Event()

    def work(victim):
        victim.pause()
        Noisy().__class__  # noqa: B018 - it is finalized at once
        spin()

    victim = Victim(work)
    victim.post()
    with pytest.raises(Stop):
        victim.thread.result()


# -- masks and shields -----------------------------------------------------------------


def test_a_mask_keeps_interrupts_out_until_its_end():
    log = []

    def work(victim):
        victim.target.mask()
        victim.target.mask()
        assert victim.go.wait(PATIENCE)
        log.append(sum(range(2000)))
        victim.target.unmask()
        log.append("inner")
        victim.target.unmask()
        log.append("never")

    victim = Victim(work)
    victim.post()
    with pytest.raises(Stop):
        victim.thread.result()
    assert log[1:] == ["inner"]


def test_a_wait_inside_of_a_mask_is_interrupted():
    parked = threading.Event()

    def work(victim):
        victim.target.mask()
        parked.set()
        while True:
            wait.park(LockParker(), None)

    victim = Victim(work)
    assert parked.wait(PATIENCE)
    victim.post()
    with pytest.raises(Stop):
        victim.thread.result()


def test_a_mask_left_by_another_exception_delivers_later():
    def work(victim):
        victim.target.mask()
        try:
            assert victim.go.wait(PATIENCE)
            raise LookupError
        except LookupError:
            victim.target.unmask_quietly()
        spin()

    victim = Victim(work)
    victim.post()
    with pytest.raises(Stop):
        victim.thread.result()


def test_a_shield_keeps_interrupts_out_of_waits():
    log = []

    def work(victim):
        with shielded():
            assert victim.go.wait(PATIENCE)
            log.append(wait.park(LockParker(), time.monotonic() + 0.02))
        log.append("never")

    victim = Victim(work)
    victim.post()
    with pytest.raises(Stop):
        victim.thread.result()
    assert log == [False]


def test_a_mask_is_left_as_it_was_when_interrupts_storm():
    """An interrupt may be raised inside of `mask` itself; then nothing is masked."""
    hits = []
    end = time.monotonic() + 0.4

    def work(victim):
        target = victim.target
        while time.monotonic() < end:
            try:
                target.mask()
                depth = target.depth
                target.unmask()
                assert depth == 1
            except Stop:
                hits.append(None)
        target.mask()
        depth = target.depth
        target.withdraw()
        return depth

    with switching_fast():
        victim = Victim(work)
        thread = victim.thread
        while thread.is_alive():
            victim.target.post(Stop)
            time.sleep(1e-5)
    if isinstance(thread.error, Stop):
        return  # it came at the very end, outside of the loop
    assert thread.result() == 1
    assert hits


# -- who can be interrupted ------------------------------------------------------------


def test_only_a_thread_with_an_open_target_can_be_interrupted():
    assert current() is None
    victim = Victim(lambda victim: (current() is victim.target, current()))
    assert victim.thread.result()[0]
    assert victim.target not in targets.values()
    with shielded():
        assert current() is None


def test_ctypes_is_loaded_by_the_first_interrupt():
    answer = run_python(
        """
import sys, threading
from cup._core import interrupt, wait
target = interrupt.Target()
target.open()
target.mask(); target.unmask()
print("ctypes" in sys.modules)
try:
    threading.Thread(target=target.post, args=(LookupError,)).start()
    while True:
        pass
except LookupError:
    print("ctypes" in sys.modules)
target.close()
"""
    )
    assert answer.split() == ["False", "True"]


def test_traced_code_goes_on_after_interrupts():
    """CPython 3.11 hangs in traced functions while it looks for an exception.

    What was taken back, or raised twice, must not leave it looking.
    """
    answer = run_python(
        """
import sys, threading
from cup._core.interrupt import Target

def traced():
    sys.settrace(lambda frame, event, arg: None)
    (lambda: None)()
    sys.settrace(None)

def goes_on():
    thread = threading.Thread(target=traced, daemon=True)
    thread.start()
    thread.join(10)
    return not thread.is_alive()

def work(target, caught):
    target.open()
    try:
        started.set()
        while True:
            pass
    except LookupError:
        target.mask()  # takes back what was sent
        caught.append(goes_on())
    target.close()

caught = []
for _ in range(5):
    target, started = Target(), threading.Event()
    thread = threading.Thread(target=work, args=(target, caught), daemon=True)
    thread.start()
    started.wait()
    target.post(LookupError)
    thread.join(15)
print(caught, goes_on())
sys.stdout.flush()
__import__("os")._exit(0)
"""
    )
    assert answer.strip() == f"{[True] * 5} True"


def test_the_first_interrupt_may_come_while_the_interpreter_ends():
    """A thread that outlives the main thread starts what nobody stops any more."""
    answer = run_python(
        """
import threading
from cup._core import interrupt, lifecycle

def work(target):
    target.open()
    try:
        opened.set()
        while True:
            pass
    except LookupError:
        print("interrupted")
    target.close()

def post_late(target):
    opened.wait()
    while not lifecycle.exiting():
        pass
    target.post(LookupError)

target, opened = interrupt.Target(), threading.Event()
threading.Thread(target=work, args=(target,)).start()
threading.Thread(target=post_late, args=(target,)).start()
"""
    )
    assert answer.split() == ["interrupted"]


@pytest.mark.parametrize("step", ["close", "withdraw"])
def test_what_is_dropped_may_mask(step):
    """An exception that was raised keeps things alive, whose finalizers mask."""
    from cup._core import asyncexc

    ended = []

    class Masking:
        def __init__(self, target):
            self.target = target

        def __del__(self):
            self.target._sent = True  # the slow way into the mask
            self.target.mask()
            self.target.unmask_quietly()
            ended.append(None)

    def work():
        target = Target()
        target.open()
        target._traced = True
        error = Stop("raised before")
        error.kept = Masking(target)
        asyncexc._raised[threading.get_ident()] = (error, None, target)
        del error
        getattr(target, step)()
        target.close()

    Thread(work).result(PATIENCE)
    assert ended == [None]
