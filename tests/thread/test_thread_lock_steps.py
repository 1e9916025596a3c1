"""The steps that take no mutex, stopped after each line while another owner acts.

One owner is traced: at one point of what it does it stands still, and another owner
does something to the end, or waits in line. Every point is tried, with every act.
"""

import itertools
import sys
import threading

import pytest
from thread_tools import World, is_free, wait_for

from cup._core import line as line_module, wait as wait_module
from cup._core.gil import MUTEX_PATHS
from cup.errors import LockTimeout
from cup.thread import (
    RWLock,
    _core_asks,
    _core_rwlock,
    _core_state,
    sync as sync_module,
)

TRACED = {
    module.__file__
    for module in (
        _core_asks,
        _core_rwlock,
        _core_state,
        sync_module,
        line_module,
        wait_module,
    )
}


class Steps:
    """Runs a function and calls `act` when it is about to run its n-th line."""

    def __init__(self, number, act):
        self.left = number
        self.act = act

    def run(self, function, *args):
        sys.settrace(self._enter)
        try:
            return function(*args)
        finally:
            sys.settrace(None)

    def _enter(self, frame, event, arg):
        return self._step if frame.f_code.co_filename in TRACED else None

    def _step(self, frame, event, arg):
        if event == "line":
            self.left -= 1
            if self.left == 0:
                sys.settrace(None)
                self.act()
        return self._step

    @property
    def reached(self):
        return self.left <= 0


@pytest.fixture
def actors():
    world = World("thread")
    yield world.actor
    world.close()


def prepared(fairness, actors):
    """Give a lock with three owners; the calls of a test go through them."""
    lock = RWLock(fairness)
    return lock, [actors(lock) for _ in range(3)]


def wait_for_one(call, came):
    """Wait until a call is done, or who came at one of its steps is let in."""
    wait_for(lambda: call.done() or (came and came[0].done()))


def wait_for_its_turn(lock, call):
    """Wait until a call is done, or is in line."""
    wait_for(lambda: call.done() or len(lock))


def tries(owner, kind):
    """Tell whether an owner is let in at once."""
    try:
        owner.do(f"acquire_{kind}lock", 0)
    except LockTimeout:
        return False
    return True


def comes(lock, owner, kind, came):
    """Have an owner come, until it is let in, is in line, or waits for the mutex."""
    free = not lock.mutex.locked()
    came.append(owner.begin(f"acquire_{kind}lock"))
    if free:
        column = "waiting_readers" if kind == "read" else "waiting_writers"
        wait_for(lambda: came[0].done() or getattr(lock.stats(), column))
    else:  # by the traced owner; what needs no mutex is done soon
        owner.thread.join(0.002)


# What the traced owner does: what it holds before, the call, what it holds after.
TURNS = [
    ("", "acquire_readlock", "read"),
    ("", "acquire_writelock", "write"),
    ("read", "release_readlock", ""),
    ("write", "release_writelock", ""),
    ("write", "downgrade", "read"),
]


@pytest.mark.parametrize("turn", TURNS, ids=[turn[1] for turn in TURNS])
@pytest.mark.parametrize("kind", ["read", "write"])
@pytest.mark.parametrize("fairness", ["fair", "readers", "writers"])
def test_another_owner_comes_at_any_step(turn, kind, fairness, actors):
    before, call, after = turn
    lock, (traced, other, third) = prepared(fairness, actors)
    for number in itertools.count(1):
        came = []

        def act(came=came):
            comes(lock, other, kind, came)

        steps = Steps(number, act)
        if before:
            traced.do(f"acquire_{before}lock")
        if after:
            # It may have to wait for who came in at this step.
            running = traced.begin(steps.run, getattr(lock, call))
            wait_for_one(running, came)
            if not running.done():
                wait_for_its_turn(lock, running)
            let_in = bool(came) and came[0].done()
            if let_in and not running.done():
                other.do(f"release_{kind}lock")
                came.clear()
            running.result()
        else:
            traced.begin(steps.run, getattr(lock, call)).result()

        check_exclusion(lock, kind, after, came)
        if after:
            traced.do(f"release_{after}lock")
        if came:
            came[0].result()
            # First by the way that takes no mutex, which a failed try would close.
            if kind == "write":
                assert not tries(third, "read"), "one reads beside a writer"
            assert not tries(third, "write"), "two write, or one beside readers"
            other.do(f"release_{kind}lock")
        assert is_free(lock)
        if not steps.reached:
            break
    assert number > 3


def check_exclusion(lock, kind, held, came):
    """Of two who are in, none writes; who looks at the lock sees no such thing."""
    if came and came[0].done() and held:
        assert (kind, held) == ("read", "read")
    stats = lock.stats()
    assert not (stats.writer and stats.readers)


@pytest.mark.parametrize("kind", ["read", "write"])
@pytest.mark.parametrize("tried", ["read", "write"])
def test_a_try_leaves_nobody_stuck_who_comes_at_any_step(kind, tried, actors):
    lock, (traced, other, _) = prepared("fair", actors)
    for number in itertools.count(1):
        came = []

        def act(came=came):
            comes(lock, other, kind, came)

        steps = Steps(number, act)
        call = traced.begin(steps.run, getattr(lock, f"acquire_{tried}lock"), 0)
        try:
            call.result()
        except LockTimeout:
            pass
        else:
            traced.do(f"release_{tried}lock")
        if came:
            came[0].result()
            other.do(f"release_{kind}lock")
        assert is_free(lock)
        if not steps.reached:
            break


@pytest.mark.parametrize("held", ["read", "write"])
@pytest.mark.parametrize("fairness", ["fair", "readers", "writers"])
def test_a_reader_comes_at_any_step_of_a_release_to_a_writer(held, fairness, actors):
    lock, (traced, reader, writer) = prepared(fairness, actors)
    for number in itertools.count(1):
        came = []

        def act(came=came):
            comes(lock, reader, "read", came)

        traced.do(f"acquire_{held}lock")
        writing = writer.begin("acquire_writelock")
        wait_for(lambda: len(lock))
        steps = Steps(number, act)
        traced.begin(steps.run, getattr(lock, f"release_{held}lock")).result()
        wait_for_one(writing, came)
        if came and came[0].done():
            assert not writing.done(), "one writes beside a reader"
            assert lock.stats().writer is None
            reader.do("release_readlock")
            came.clear()
        writing.result()
        assert not (came and came[0].done()), "one reads beside a writer"
        writer.do("release_writelock")
        if came:
            came[0].result()
            reader.do("release_readlock")
        assert is_free(lock)
        if not steps.reached:
            break
    assert number > 10


@pytest.mark.parametrize("held", ["read", "write"])
@pytest.mark.parametrize("kind", ["read", "write"])
@pytest.mark.parametrize("fairness", ["fair", "readers", "writers"])
def test_the_holder_leaves_at_any_step_of_who_waits(held, kind, fairness, actors):
    lock, (traced, holder, third) = prepared(fairness, actors)
    if (held, kind) == ("read", "read"):
        pytest.skip("nobody waits")
    for number in itertools.count(1):
        once = iter([True])

        def leave(once=once):
            if next(once, False):
                holder.do(f"release_{held}lock")

        def act(leave=leave):
            if not (MUTEX_PATHS and lock.mutex.locked()):  # the release needs it
                leave()

        holder.do(f"acquire_{held}lock")
        steps = Steps(number, act)
        acquire = getattr(lock, f"acquire_{kind}lock")
        call = traced.begin(steps.run, acquire)
        wait_for(lambda steps=steps: steps.reached or len(lock))
        call.actor.thread.join(0 if steps.reached else 0.004)  # it goes on to park
        leave()
        call.result()  # woken, whatever the moment
        assert not tries(third, "write")
        traced.do(f"release_{kind}lock")
        assert is_free(lock)
        if not steps.reached:
            break
    assert number > 10


def test_the_points_are_really_there():
    """The tracing sees the lines of a release: else the tests above prove nothing."""
    lock, seen = RWLock(), []
    lock.acquire_writelock()
    steps = Steps(10**9, None)
    thread = threading.Thread(
        target=lambda: (
            lock.acquire_readlock(),
            steps.run(lock.release_readlock),
            seen.append(steps.left),
        )
    )
    lock.release_writelock()
    thread.start()
    thread.join()
    assert 10**9 - seen[0] >= 5
