"""The core of a lock against a model, step by step, without threads or loops.

Owners are names, waiters are fakes: some park like threads, some like tasks of a loop
that the machine stops, runs again, and closes.
"""

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from cup._core.gil import MUTEX_PATHS
from cup._core.wait import Reach, State
from cup.errors import LockDeadlock, LockNotHeld
from cup.thread._core_asks import ReadAsk, WriteAsk
from cup.thread._core_rwlock import RWCore

THREADS = ("t1", "t2", "t3")
TASKS = ("a1", "a2", "a3")
OWNERS = THREADS + TASKS


class FakeWaiter:
    """Parks nobody, and remembers that it was woken."""

    def __init__(self, loop):
        self.home = loop
        self.final = loop is None
        self.woken = 0

    def reach(self):
        return Reach.READY if self.home is None else self.home.state

    def wake(self):
        self.woken += 1
        return self.reach() is not Reach.GONE


class FakeLoop:
    def __init__(self):
        self.state = Reach.READY


class Model:
    """What the lock should do, in the plainest words."""

    def __init__(self, fairness, loop):
        self.fairness = fairness
        self.loop = loop
        self.readers = Counter()
        self.writer = None
        self.depth = 0
        self.readers_turn = False
        self.line = []  # (owner, kind), in order
        self.offers = []

    def reachable(self, kind):
        for owner, wanted in self.line:
            if wanted == kind and (owner in THREADS or self.loop.state is Reach.READY):
                return owner
        return None

    def admit(self):
        free = self.writer is None
        while self.writer is None:
            reader, writer = self.reachable("r"), self.reachable("w")
            first = self.fairness == "readers" or (
                self.fairness == "fair" and self.readers_turn
            )
            if reader is not None and (writer is None or first):
                self.grant(reader, "r")
            elif writer is not None and not self.readers:
                self.grant(writer, "w")
            else:
                break
        if free:
            self.readers_turn = False

    def grant(self, owner, kind):
        self.line.remove((owner, kind))
        if owner in TASKS:
            self.offers.append((owner, kind))
        self.hold(owner, kind)

    def hold(self, owner, kind):
        if kind == "r":
            self.readers[owner] += 1
        else:
            self.writer, self.depth = owner, 1

    def drop(self, owner, kind):
        if kind == "r":
            self.readers[owner] -= 1
            self.readers += Counter()  # leaves out what is zero
        elif self.depth > 1:
            self.depth -= 1
        else:
            self.writer, self.depth = None, 0
            self.readers_turn = True

    def lose_offers(self):
        lost = self.offers
        self.offers = []
        for owner, kind in lost:
            self.drop(owner, kind)
        self.line = lost + self.line


# Preconditions have names: of a lambda, older versions of Hypothesis parse the source
# each time they look at it, which takes ten milliseconds.


def some_come(machine):
    return machine.newcomers()


def some_hold(machine):
    return machine.holders()


def some_are_idle(machine):
    return machine.idle_owners()


def one_writes(machine):
    return any("w" in machine.holds(owner) for owner in machine.holders())


def some_wait(machine):
    return machine.asks


def some_may_time_out(machine):
    return machine.asks and machine.loop.state is Reach.READY


def some_tasks_wait(machine):
    return machine.task_asks()


class LockMachine(RuleBasedStateMachine):
    @initialize(
        fairness=st.sampled_from(["fair", "readers", "writers"]),
        reentrant=st.booleans(),
    )
    def make(self, fairness, reentrant):
        self.loop = FakeLoop()
        self.core = RWCore(fairness, reentrant=reentrant, name="")
        self.model = Model(fairness, self.loop)
        self.asks = {}  # of owners that wait, or were granted and have done nothing yet

    # -- what owners do ------------------------------------------------------------

    def idle(self, owner):
        ask = self.asks.get(owner)
        if ask is not None and ask.state is State.SETTLED:
            del self.asks[owner]
            return True
        return ask is None and (owner in THREADS or self.loop.state is Reach.READY)

    def acquire(self, owner, kind):
        ask_kind = ReadAsk if kind == "r" else WriteAsk
        enter = self.core.enter if kind == "r" else self.core.enter_to_write
        if enter(owner):
            return
        ask = ask_kind(self.core, owner)
        waiter = FakeWaiter(None if owner in THREADS else self.loop)
        if self.core.try_now(ask):
            return
        self.asks[owner] = ask
        self.core.file(ask, waiter)

    def idle_owners(self):
        return [owner for owner in OWNERS if self.idle(owner)]

    def holds(self, owner):
        """Tell what an owner holds: "", "r", "w" or "rw"."""
        kinds = "r" if self.model.readers[owner] else ""
        return kinds + ("w" if self.model.writer == owner else "")

    def newcomers(self):
        return [owner for owner in self.idle_owners() if not self.holds(owner)]

    def holders(self):
        return [owner for owner in self.idle_owners() if self.holds(owner)]

    @precondition(some_come)
    @rule(data=st.data(), kind=st.sampled_from("rw"))
    def come(self, data, kind):
        owner = data.draw(st.sampled_from(self.newcomers()))
        model = self.model
        self.acquire(owner, kind)
        model.line.append((owner, kind))
        model.admit()
        if owner not in self.asks and (owner, kind) in model.offers:
            model.offers.remove((owner, kind))  # it never had to wait

    @precondition(some_come)
    @rule(data=st.data(), kind=st.sampled_from("rw"))
    def come_too(self, data, kind):
        self.come(data, kind)

    @precondition(some_hold)
    @rule(data=st.data(), kind=st.sampled_from("rw"))
    def acquire_again(self, data, kind):
        owner = data.draw(st.sampled_from(self.holders()))
        holds, model = self.holds(owner), self.model
        refused = holds == "r" if kind == "w" else holds == "w"
        if "w" in holds and self.core.reentrant:
            refused = False
        if "w" in holds and kind == "w" and not self.core.reentrant:
            refused = True
        if refused:
            with pytest.raises(LockDeadlock):
                self.acquire(owner, kind)
            return

        self.acquire(owner, kind)
        if kind == "w":
            model.depth += 1
        else:
            model.readers[owner] += 1

    @precondition(some_hold)
    @rule(data=st.data())
    def release(self, data):
        owner = data.draw(st.sampled_from(self.holders()))
        kind = data.draw(st.sampled_from(self.holds(owner)))
        core, model = self.core, self.model
        (core.exit if kind == "r" else core.exit_from_writing)(owner)
        model.drop(owner, kind)
        model.admit()

    @precondition(some_are_idle)
    @rule(data=st.data())
    def release_what_is_not_held(self, data):
        owner = data.draw(st.sampled_from(self.idle_owners()))
        core = self.core
        if "r" not in self.holds(owner):
            with pytest.raises(LockNotHeld):
                core.exit(owner)
        if "w" not in self.holds(owner):
            with pytest.raises(LockNotHeld):
                core.exit_from_writing(owner)
            with pytest.raises(LockNotHeld):
                core.turn_to_reading(owner)

    @precondition(one_writes)
    @rule()
    def downgrade(self):
        core, model = self.core, self.model
        owner = model.writer
        if model.depth > 1:
            with pytest.raises(LockDeadlock):
                core.turn_to_reading(owner)
        else:
            core.turn_to_reading(owner)
            model.hold(owner, "r")
            model.drop(owner, "w")
            model.admit()

    # -- how waits end -------------------------------------------------------------

    def kind_of(self, ask):
        return "w" if ask.writes else "r"

    @precondition(some_wait)
    @rule(data=st.data())
    def cancel(self, data):
        owner = data.draw(st.sampled_from(sorted(self.asks)))
        ask = self.asks.pop(owner)
        entry = (owner, self.kind_of(ask))
        model = self.model
        self.core.leave(ask)
        if entry in model.line:
            model.line.remove(entry)
        else:
            if entry in model.offers:
                model.offers.remove(entry)
            model.drop(*entry)
        model.admit()
        assert ask.state is State.GONE

    @precondition(some_may_time_out)
    @rule(data=st.data())
    def time_out(self, data):
        owner = data.draw(st.sampled_from(sorted(self.asks)))
        ask = self.asks.pop(owner)
        entry = (owner, self.kind_of(ask))
        model = self.model
        gone = self.core.leave_unless_granted(ask)
        assert gone == (entry in model.line)
        if gone:
            model.line.remove(entry)
            model.admit()
        elif entry in model.offers:
            model.offers.remove(entry)

    def task_asks(self):
        if self.loop.state is not Reach.READY:
            return []
        return sorted(owner for owner in self.asks if owner in TASKS)

    @precondition(some_tasks_wait)
    @rule(data=st.data())
    def claim(self, data):
        owner = data.draw(st.sampled_from(self.task_asks()))
        ask = self.asks[owner]
        entry = (owner, self.kind_of(ask))
        claimed = self.core.claim(ask)
        assert claimed == (entry in self.model.offers)
        if claimed:
            self.model.offers.remove(entry)
            del self.asks[owner]

    # -- what becomes of the loop --------------------------------------------------

    @rule(state=st.sampled_from(Reach))
    def turn_the_loop(self, state):
        model = self.model
        if state is Reach.GONE:
            # Another loop takes its place; nobody comes back to what waited there.
            self.loop.state = state
            self.core.revise()
            model.lose_offers()
            model.line = [e for e in model.line if e[0] not in TASKS]
            for owner in TASKS:
                self.asks.pop(owner, None)
            model.admit()
            self.loop = model.loop = FakeLoop()
            return

        before, self.loop.state = self.loop.state, state
        self.core.revise()
        if before is Reach.READY and state is Reach.PAUSED:
            model.lose_offers()
        model.admit()

    # -- what always holds ---------------------------------------------------------

    @invariant()
    def the_lock_is_as_the_model_says(self):
        core, model = self.core, self.model
        assert core.writer == model.writer
        assert core.readers == dict(model.readers + Counter())
        assert not (core.writer and set(core.readers) - {core.writer})
        queue = core._queue
        for kind, asks in (("r", queue.readers), ("w", queue.writers)):
            line = [owner for owner, wanted in model.line if wanted == kind]
            # The asks of a closed loop are dropped when they come to the head.
            left = [a.owner for a in asks if a.waiter.reach() is not Reach.GONE]
            assert left == line

    @invariant()
    def nothing_is_left_to_do(self):
        core = self.core
        assert not core._notes
        assert not core._wakes
        assert not core.mutex.locked()
        assert core.version % 2 == (core.writer is not None)
        if core._queue:
            assert core.waited
        if not core.closed:
            assert core.writer is None
            assert not core._queue.writers
            assert not MUTEX_PATHS

    @invariant()
    def whoever_was_granted_is_woken(self):
        for ask in self.asks.values():
            if ask.state is not State.WAITING:
                assert ask.waiter.woken
            assert ask.state is not State.GONE

    def teardown(self):
        """Everybody gives back what they hold: all who wait are let in, and leave."""
        if not hasattr(self, "core"):
            return

        core = self.core
        self.loop.state = Reach.READY
        core.revise()
        for _ in range(50):
            for ask in self.asks.values():
                core.claim(ask)
            for owner in list(core.readers):
                core.exit(owner)
            if core.writer is not None:
                core.exit_from_writing(core.writer)
            if not core._queue and not core.locked():
                break
        assert not core.locked()
        assert not len(core)


LockMachine.TestCase.settings = settings(
    max_examples=120 if os.environ.get("CUP_TIER") == "full" else 40,
    stateful_step_count=80,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestLock = LockMachine.TestCase
