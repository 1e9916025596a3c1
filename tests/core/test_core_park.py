"""Parking threads: on locks, on eventfds where there are any."""

import gc
import os
import sys
import threading
import time
import types

import pytest
from core_tools import (
    PATIENCE,
    Thread,
    descriptors,
    disturb_main_thread,
    fork_without_hooks,
    handling,
    in_child,
    linux_only,
    needs_fork,
    needs_signals,
    run_python,
)

from cup._core import park
from cup._core.park import (
    EventParker,
    LockParker,
    borrow,
    give_back,
    make_parker,
)

PARKERS = list(dict.fromkeys([LockParker, EventParker]))


@pytest.fixture(params=PARKERS)
def parker(request):
    return request.param()


@pytest.fixture
def fresh_cache(monkeypatch):
    """Have no parkers kept from other tests."""
    cache = type(park._free)()
    monkeypatch.setattr(park, "_free", cache)
    return cache


def soon(seconds=0.02):
    return time.monotonic() + seconds


# -- both kinds ------------------------------------------------------------------------


def test_a_wake_before_the_park_counts(parker):
    parker.wake()
    parker.park()
    parker.wake()
    assert parker.park_until(soon(PATIENCE))


def test_two_wakes_are_one(parker):
    parker.wake()
    parker.wake()
    parker.park()
    assert not parker.park_until(soon())


def test_a_wake_ends_the_park_of_another_thread(parker):
    thread = Thread(parker.park)
    parker.wake()
    thread.result()
    thread = Thread(lambda: parker.park_until(soon(PATIENCE)))
    parker.wake()
    assert thread.result()


def test_a_deadline_ends_the_park(parker):
    start = time.monotonic()
    assert not parker.park_until(start + 0.05)
    assert time.monotonic() - start >= 0.05


@pytest.mark.parametrize("deadline", [0.0, -1.0, float("-inf")])
def test_a_deadline_in_the_past_takes_what_is_there(parker, deadline):
    assert not parker.park_until(deadline)
    parker.wake()
    assert parker.park_until(deadline)
    assert not parker.park_until(deadline)


@pytest.mark.parametrize("deadline", [1e12, 1e300, float("inf")])
def test_a_deadline_may_be_as_far_as_one_likes(parker, deadline):
    thread = Thread(lambda: parker.park_until(deadline))
    assert thread.is_alive()
    parker.wake()
    assert thread.result()


def test_a_parker_is_used_again_and_again(parker):
    other = type(parker)()

    def answer():
        for _ in range(200):
            parker.park()
            other.wake()

    thread = Thread(answer)
    for _ in range(200):
        parker.wake()
        assert other.park_until(soon(PATIENCE))
    thread.result()


@needs_signals
@pytest.mark.parametrize("timed", [False, True])
def test_a_signal_does_not_end_the_park(parker, timed):
    calls = []

    def disturb():
        disturb_main_thread(lambda: len(calls) >= 5)
        parker.wake()

    with handling(lambda *_: calls.append(None)):
        thread = Thread(disturb)
        if timed:
            assert parker.park_until(soon(PATIENCE))
        else:
            parker.park()
        assert len(calls) >= 5
        thread.result()


@needs_signals
@pytest.mark.parametrize("timed", [False, True])
def test_an_exception_of_a_signal_handler_ends_the_park(parker, timed):
    calls = []

    def handler(*_):
        calls.append(None)
        if len(calls) == 1:
            raise KeyboardInterrupt

    gate = threading.Event()
    with handling(handler):
        thread = Thread(lambda: gate.wait() and disturb_main_thread(lambda: calls))
        with pytest.raises(KeyboardInterrupt):
            gate.set()
            if timed:
                parker.park_until(soon(PATIENCE))
            parker.park()
        thread.result()
    parker.wake()  # and it can be used again
    parker.park()


# -- which kind ------------------------------------------------------------------------


@linux_only
def test_linux_has_eventfds():
    assert type(make_parker()) is EventParker
    assert EventParker is not LockParker


def test_gevent_gets_locks(monkeypatch):
    monkey = types.ModuleType("gevent.monkey")
    monkey.is_module_patched = lambda name: name == "threading"
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)
    assert type(make_parker()) is LockParker
    monkey.is_module_patched = lambda _: False
    assert type(make_parker()) is EventParker


@linux_only
def test_without_descriptors_there_are_locks():
    answer = run_python(
        """
import os, resource
from core_tools import Permits, Thread, Want, take, wait_for
from cup._core import park
from cup._core.wait import block

resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
used = []
try:
    while True:
        used.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
parker = park.make_parker()
print(type(parker).__name__)
thread = Thread(parker.park)
parker.wake()
thread.result()
line = Permits(1)
held = take(line)
thread = Thread(lambda: block(Want(line), 20))
wait_for(lambda: len(line) == 1)
line.leave(held)
print(thread.result() > 0)
"""
    )
    assert answer.split() == ["LockParker", "True"]


@linux_only
def test_without_descriptors_there_are_timeouts():
    answer = run_python(
        """
import os, resource, time
from core_tools import Thread
from cup._core.park import EventParker

parker = EventParker()
resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
used = []
try:
    while True:
        used.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
print(parker.park_until(time.monotonic() + 0.01))
parker.wake()
print(parker.park_until(time.monotonic() - 1))
print(parker.park_until(time.monotonic() - 1))
thread = Thread(lambda: parker.park_until(time.monotonic() + 20))
parker.wake()
print(thread.result())
os.close(used.pop())
os.close(used.pop())
print(parker.park_until(time.monotonic() + 0.01))
thread = Thread(lambda: parker.park_until(time.monotonic() + 20))
parker.wake()
print(thread.result())
"""
    )
    assert answer.split() == ["False", "True", "False", "True", "False", "True"]


@linux_only
def test_timed_and_untimed_parks_may_alternate():
    """With a time-out it waits in another way: no wake is lost between the two."""
    parker = EventParker()
    for timed in [False, True, False, False, True, True, False, True]:
        for _ in range(3):
            parker.wake()
        if timed:
            assert parker.park_until(soon(PATIENCE))
            assert not parker.park_until(soon(0.001))
        else:
            parker.park()
    thread = Thread(parker.park)
    parker.wake()
    thread.result()
    assert not parker.park_until(soon(0.001))


# -- the cache -------------------------------------------------------------------------


def test_what_is_given_back_is_lent_again(fresh_cache):
    parker = borrow()
    give_back(parker)
    assert borrow() is parker
    assert borrow() is not parker


@linux_only
def test_the_cache_is_bounded(fresh_cache):
    parkers = [borrow() for _ in range(150)]
    gc.collect()
    before = descriptors()
    while parkers:
        give_back(parkers.pop())
    assert len(fresh_cache) == park._CACHED == 64
    assert descriptors() == before - (150 - 64)


@linux_only
def test_a_dropped_parker_gives_its_descriptor_back():
    before = descriptors()
    parker = EventParker()
    assert descriptors() == before + 1
    parker.park_until(0.0)
    del parker
    gc.collect()
    assert descriptors() == before


@linux_only
def test_a_parker_outlives_its_module(monkeypatch):
    """At the end of the interpreter, the names of modules are gone first."""
    parker = EventParker()
    before = descriptors()
    monkeypatch.setattr(park, "os", None)
    del parker
    monkeypatch.undo()
    assert descriptors() == before - 1


# -- forks -----------------------------------------------------------------------------


@needs_fork
@pytest.mark.parametrize("fork", [None, fork_without_hooks])
def test_a_child_wakes_nobody_in_the_parent(parker, fork):
    assert in_child(parker.wake, fork=fork) == "None"
    assert not parker.park_until(soon())


@needs_fork
@pytest.mark.parametrize("fork", [None, fork_without_hooks])
def test_a_child_has_parkers_of_its_own(fork, fresh_cache):
    def child():
        give_back(own := borrow())
        thread = Thread(own.park)
        own.wake()
        thread.result()
        return "woken"

    assert in_child(child, fork=fork) == "woken"


@linux_only
@pytest.mark.parametrize("fork", [None, fork_without_hooks])
def test_a_child_lends_nothing_of_the_parent(fork):
    parkers = [borrow() for _ in range(10)]
    for parker in parkers:
        give_back(parker)

    def child():
        return any(borrow() is parker for parker in parkers)

    assert in_child(child, fork=fork) == "False"


@linux_only
def test_eventfds_are_not_inherited_by_programs():
    parker = EventParker()
    assert not os.get_inheritable(parker._fd)
