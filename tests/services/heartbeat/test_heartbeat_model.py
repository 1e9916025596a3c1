"""A service does what a list does that is looked through from end to end."""

import random

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cup.errors import WaitTimeout
from cup.services.heartbeat import Device, EventKind, HeartbeatService
from cup.services.heartbeat._core_flaps import Flaps
from cup.testing import VirtualClock

KEYS = st.sampled_from(["a", "b", "c", "d", "e"])
TIMES = st.sampled_from([1.0, 2.0, 4.0, 8.0])
STEPS = st.sampled_from([0.25, 0.5, 1.0, 2.0, 5.0])


class Model(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.clock = VirtualClock()
        self.service = HeartbeatService(4.0, keep_lost=True, clock=self.clock)
        self.events = self.service.events(limit=10_000)
        self.timeout = 4.0
        self.epoch = float("-inf")
        self.alive = {}  # key -> its last beat
        self.lost = {}
        self.own = {}
        self.objects = {}
        self.uncollected = set()
        self.told = []  # what there must be events of, since the last look
        self.number = 0

    @property
    def now(self):
        return self.clock.monotonic()

    def limit(self, key):
        return self.own.get(key, self.timeout)

    def beat(self, key):
        if key in self.lost:
            del self.lost[key]
            self.told.append((EventKind.RECOVERED, key))
        elif key not in self.alive:
            self.told.append((EventKind.JOINED, key))
        self.alive[key] = self.now
        self.uncollected.discard(key)

    @rule(key=KEYS)
    def refresh(self, key):
        self.service.refresh(key)
        self.beat(key)

    @rule(keys=st.lists(KEYS))
    def refresh_many(self, keys):
        known = [key for key in keys if key in self.alive and key not in self.own]
        self.service.refresh_many(keys)
        for key in known + [key for key in keys if key not in known]:
            self.beat(key)

    @rule(key=KEYS)
    def refresh_with_object(self, key):
        device = self.objects.setdefault(key, Device(key))
        self.service.refresh(key, device)
        self.beat(key)

    @rule(key=KEYS, timeout=TIMES)
    def register(self, key, timeout):
        self.own[key] = timeout
        self.service.register(key, timeout=timeout)
        self.beat(key)

    @rule(key=KEYS, timeout=st.none() | TIMES)
    def set_timeout(self, key, timeout):
        self.own.pop(key, None)
        if timeout is not None:
            self.own[key] = timeout
        self.service.set_timeout(key, timeout)

    @rule(key=KEYS)
    def stamp(self, key):
        device = self.objects.get(key)
        if device is not None:
            device.set_last_healthy()
            if key in self.alive:
                self.alive[key] = self.now
            elif key in self.lost:  # it shows, and brings nothing back
                self.lost[key] = self.now

    @rule(key=KEYS)
    def leave(self, key):
        known = key in self.alive or key in self.lost
        assert self.service.leave(key) == known
        if known:
            self.told.append((EventKind.LEFT, key))
            self.uncollected.discard(key)
        self.alive.pop(key, None)
        self.lost.pop(key, None)
        self.own.pop(key, None)
        self.objects.pop(key, None)

    @rule(timeout=TIMES)
    def adjust(self, timeout):
        self.timeout = timeout
        self.service.adjust_judge_lost_time(timeout)

    @rule(seconds=STEPS)
    def wait(self, seconds):
        self.clock.advance(seconds)

    @rule(seconds=STEPS)
    def wait_and_sweep(self, seconds):
        self.clock.advance(seconds)
        self.sweep()

    @rule(seconds=STEPS, key=KEYS)
    def all_but_one_beat(self, seconds, key):
        self.clock.advance(seconds)
        self.sweep()
        for other in sorted({*self.alive} - {key}):
            self.refresh(other)

    @rule(seconds=st.sampled_from([-1e5, 1e5]))
    def set_clock(self, seconds):
        self.clock.step_wall(seconds)

    @rule()
    def forgive(self):
        self.service.forgive()
        self.epoch = self.now

    def judge(self):
        for key, beat in [*self.alive.items()]:
            if self.now - max(beat, self.epoch) >= self.limit(key):
                del self.alive[key]
                self.lost[key] = beat
                self.uncollected.add(key)
                self.told.append((EventKind.LOST, key))

    @rule()
    def sweep(self):
        deadline = self.service.next_loss()
        before = len(self.lost)
        self.service.sweep()
        self.judge()
        if deadline is None or deadline > self.now:
            assert len(self.lost) == before

    @rule()
    def get_lost(self):
        found = {device.get_name() for device in self.service.get_lost()}
        self.judge()
        assert found == self.uncollected
        self.uncollected = set()

    @rule()
    def cleanup(self):
        self.service.cleanup_oldlost()
        for key in self.lost:
            self.own.pop(key, None)
            self.objects.pop(key, None)
        self.lost = {}

    @invariant()
    def same(self):
        seen = []
        while True:
            try:
                event = self.events.get(0)
            except WaitTimeout:
                break
            self.number += 1
            assert event.number == self.number
            seen.append((event.kind, event.key))
        assert sorted(seen) == sorted(self.told)
        self.told = []
        snapshot = self.service.snapshot()
        assert snapshot.number == self.number
        assert {d.key: d.silent for d in snapshot.devices} == {
            key: self.now - beat for key, beat in (self.alive | self.lost).items()
        }
        for key in "abcde":
            view = self.service.find(key)
            assert (view is not None) == (key in self.alive or key in self.lost)
            assert self.service.is_device_registered(key) == (key in self.alive)
            if view is not None:
                assert view.timeout == self.limit(key)
                assert (view.state == "lost") == (key in self.lost)
        assert len(self.service) == len(self.alive)


Model.TestCase.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None
)
TestModel = Model.TestCase


def flap(service, clock, key, beats_after):
    """Let a device beat, be silent for so long, and beat again."""
    service.refresh(key)
    clock.advance(beats_after)
    service.sweep()
    service.refresh(key)


def test_who_flaps_gets_more_time():
    clock = VirtualClock()
    service = HeartbeatService(1, keep_lost=True, clock=clock)
    service.flaps = Flaps(limit=3, window=60)
    events = service.events()
    flap(service, clock, "a", 1.5)
    flap(service, clock, "a", 1.5)
    assert service.find("a").timeout == 1
    flap(service, clock, "a", 1.5)
    assert service.find("a").timeout == 2
    clock.advance(1.5)
    service.sweep()
    assert service.is_device_registered("a")
    flap(service, clock, "a", 2)
    flap(service, clock, "a", 2)
    assert service.find("a").timeout == 4
    clock.advance(4)
    service.sweep()
    assert not service.is_device_registered("a")  # the last loss is never kept back
    service.refresh("a")
    for _ in range(70):
        clock.advance(1)
        service.refresh("a")
        service.sweep()
    assert service.find("a").timeout == 1
    kinds = []
    while True:
        try:
            kinds.append(str(events.get(0).kind))
        except WaitTimeout:
            break
    assert kinds.count("flapping") == 2
    assert kinds.count("lost") == kinds.count("recovered") == 6


def walk(seed, steps=400):
    """Take steps at random, of which most let a little time pass, and look."""
    rng = random.Random(seed)
    model = Model()

    def key():
        return rng.choice("abcde")

    def timeout():
        return rng.choice([1.0, 2.0, 4.0, 8.0])

    acts = [
        (10, lambda: model.wait_and_sweep(rng.choice([0.25, 0.5, 1.0]))),
        (8, lambda: model.refresh(key())),
        (2, lambda: model.refresh_many([key(), key()])),
        (2, lambda: model.refresh_with_object(key())),
        (2, lambda: model.stamp(key())),
        (2, lambda: model.register(key(), timeout())),
        (3, lambda: model.set_timeout(key(), rng.choice([None, timeout()]))),
        (1, lambda: model.adjust(timeout())),
        (1, lambda: model.leave(key())),
        (1, model.get_lost),
        (1, model.cleanup),
        (1, model.forgive),
    ]
    weights = [weight for weight, _ in acts]
    for _, act in rng.choices(acts, weights, k=steps):
        act()
        model.same()


@pytest.mark.parametrize("seed", range(6))
def test_random_walks(seed):
    walk(seed)


@pytest.mark.full
def test_more_random_walks():
    for seed in range(100, 140):
        walk(seed)
