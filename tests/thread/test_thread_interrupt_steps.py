"""Single steps of the delivery of interrupts, made to meet each other."""

import sys
import threading
import time

import pytest
from thread_tools import PATIENCE, Stopped, ended, is_free, spin, wait_for, waiting

from cup._core import asyncexc, interrupt
from cup._core.interrupt import Target
from cup.errors import ThreadTermException
from cup.thread import CupThread, RWLock, shield


@pytest.fixture
def spinner():
    """Give a thread that runs plain code, and the list of what it catches."""
    caught, begun, stop = [], threading.Event(), threading.Event()

    def work():
        while not stop.is_set():
            try:
                begun.set()
                spin(stop)
            except Stopped as error:
                caught.append(error)

    thread = CupThread(target=work)
    thread.start()
    assert begun.wait(PATIENCE)
    yield thread, caught
    stop.set()
    assert ended(thread)


def while_sending(monkeypatch, act):
    """Have `act` happen after it was decided to send, and before that is done."""
    real = asyncexc._watch_unraisables

    def watch():
        real()
        act()

    monkeypatch.setattr(asyncexc, "_watch_unraisables", watch)


def test_a_mask_that_comes_between_the_decision_and_the_sending_holds(
    spinner, monkeypatch
):
    thread, caught = spinner
    target = thread._interrupts

    def mask():
        target.depth = 1

    while_sending(monkeypatch, mask)
    assert thread.raise_exc(Stopped)
    assert not ended(thread, 0.05)
    assert not caught
    assert target.pending is not None
    monkeypatch.undo()
    target.depth = 0
    wait_for(lambda: caught)  # it is sent again


def test_a_delivery_between_the_decision_and_the_sending_is_the_only_one(
    spinner, monkeypatch
):
    thread, caught = spinner
    target = thread._interrupts

    def deliver_otherwise():
        target.pending = None

    while_sending(monkeypatch, deliver_otherwise)
    assert thread.raise_exc(Stopped)
    assert not ended(thread, 0.05)
    assert not caught


def test_an_end_between_the_decision_and_the_sending_is_final(spinner, monkeypatch):
    thread, caught = spinner
    target = thread._interrupts

    def end():
        target.opened = False

    while_sending(monkeypatch, end)
    assert thread.raise_exc(Stopped)
    assert not ended(thread, 0.05)
    assert not caught
    target.opened = True


def test_the_same_interrupt_is_sent_again_in_the_same_carrier(spinner):
    thread, _ = spinner
    target = thread._interrupts
    with shield():  # of the test's own thread: does nothing
        target.depth = 1
        assert thread.raise_exc(Stopped)
        parcel = target.pending
        target.depth = 0
        with target._mutex:
            target.depth = 1
            target._send_if_free()
            assert parcel.carrier is None  # nothing is made for a masked thread
            target.depth = 0
    wait_for(lambda: target.pending is None)


class LateTarget(Target):
    """Is hit while it closes, by what was sent just before."""

    __slots__ = ("hits", "open_at_close")

    def __init__(self, hits):
        super().__init__()
        self.hits = hits
        self.open_at_close = None

    def close(self):
        if self.open_at_close is None:
            self.open_at_close = self.opened
        if self.hits:
            self.hits -= 1
            raise Stopped("on its way already")
        super().close()


@pytest.mark.parametrize("hits", [0, 1])
def test_what_is_on_its_way_when_the_target_has_returned_comes_too_late(hits):
    thread = CupThread(target=lambda: "result")
    thread._interrupts = LateTarget(hits)
    thread.start()
    assert ended(thread)
    assert thread.result == "result"
    assert thread.exception is None
    assert thread._interrupts.open_at_close is False
    assert thread.raise_exc(Stopped) == 0
    assert thread.ident not in interrupt.targets


@pytest.mark.parametrize("hits", [0, 1])
def test_what_is_on_its_way_when_the_target_has_failed_replaces_nothing(hits):
    def fail():
        raise ThreadTermException("by the target itself")

    thread = CupThread(target=fail)
    thread._interrupts = LateTarget(hits)
    thread.start()
    assert ended(thread)
    assert thread.exception.args == ("by the target itself",)
    assert thread._interrupts.open_at_close is False
    assert thread.raise_exc(Stopped) == 0
    assert thread.ident not in interrupt.targets


class CountedLock(RWLock):
    """Counts how often who waits looks at the line."""

    __slots__ = ("looks",)

    def __init__(self):
        super().__init__()
        self.looks = 0

    def revise(self):
        self.looks += 1
        super().revise()


def test_a_wait_inside_of_a_shield_sleeps_with_an_interrupt_pending():
    lock = CountedLock()
    lock.acquire_writelock()

    def work():
        with shield(), lock.read():
            pass

    thread = CupThread(target=work)
    thread.start()
    waiting(lock, readers=1)
    assert thread.raise_exc(ThreadTermException)
    time.sleep(0.05)
    assert lock.looks < 3
    lock.release_writelock()
    assert ended(thread)
    assert type(thread.exception) is ThreadTermException
    assert is_free(lock)


def test_a_hook_that_is_hit_itself_keeps_what_it_was_called_for(monkeypatch):
    """While a swallowed interrupt is put back, nothing is sent to this thread."""
    target = Target()
    depths = []
    monkeypatch.setattr(
        Target, "_look_soon", lambda self: depths.append((self.depth, self.pending))
    )
    parcel = interrupt.Parcel(Stopped)
    target.thrown_away(parcel)
    assert depths == [(1, parcel)]
    assert target.depth == 0
    # A later one that waits already goes before.
    later = interrupt.Parcel(Stopped)
    target.thrown_away(later)
    assert target.pending is parcel


def test_the_hook_passes_on_what_is_not_ours(monkeypatch):
    passed = []
    hook = asyncexc._Hook(passed.append)
    theirs = type("Args", (), {"exc_value": ValueError()})()
    hook(theirs)
    assert passed == [theirs]


def test_the_hook_is_set_once(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    asyncexc._watch_unraisables()
    first = sys.unraisablehook
    asyncexc._watch_unraisables()
    assert sys.unraisablehook is first


@pytest.mark.parametrize("method", ["close", "withdraw"])
def test_nothing_is_kept_of_what_was_not_delivered(method):
    target = Target()
    target.open()
    try:
        target.depth = 1
        assert target.post(Stopped)
        getattr(target, method)()
        assert target.pending is None
        target.deliver()  # raises nothing
        assert target.post(Stopped) == (method == "withdraw")
        assert (target.pending is None) == (method == "close")
    finally:
        target.close()
    target.close()  # may be called again
    assert target.pending is None


def test_a_target_opened_before_delivers_when_asked():
    target = Target()
    assert target.post(Stopped)
    target.open()
    try:
        with pytest.raises(Stopped):
            target.deliver()
        target.deliver()
    finally:
        target.close()
