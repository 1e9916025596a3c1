"""A store beside a dict: whatever is done, killed, cut off, compacted, they agree."""

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from meta_tools import PLACE, new_disk, open_store

from cup.errors import KeyExists, RecordGone
from cup.services.serializer import Compaction, Mode, read_state

KEYS = st.sampled_from(["", "a", "b", "c/1", "c/2", "ä" * 30])
VALUES = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=30),
    st.just("x" * 700),
    st.lists(st.none()),
)


class Machine(RuleBasedStateMachine):
    """One store, its model, and what watchers and snapshots remember."""

    snapshots = Bundle("snapshots")

    def __init__(self):
        super().__init__()
        self.disk = new_disk()
        self.model = {}
        self.schema = 1
        self.store = None
        self.past = {}

    @initialize(least=st.sampled_from([None, 200, 2000]))
    def begin(self, least):
        self.compaction = None if least is None else Compaction(0, least)
        self.open()

    def open(self):
        self.store = open_store(
            self.disk,
            segment_bytes=2048,
            compaction=self.compaction,
            schema=self.schema,
            migrate=lambda old: (old.key.decode(), old.schema),
        )

    @rule(key=KEYS, value=VALUES)
    def set(self, key, value):
        self.store.set(key, value)
        self.model[key] = value

    @rule(key=KEYS, value=VALUES)
    def add(self, key, value):
        try:
            self.store.add(key, value)
        except KeyExists:
            assert key in self.model
        else:
            assert key not in self.model
            self.model[key] = value

    @rule(key=KEYS)
    def delete(self, key):
        assert self.store.delete(key) is (key in self.model)
        self.model.pop(key, None)

    @rule(values=st.dictionaries(KEYS, VALUES), keys=st.lists(KEYS))
    def update(self, values, keys):
        self.store.update(values, delete=keys)
        self.model.update(values)
        for key in keys:
            self.model.pop(key, None)

    @rule()
    def compact(self):
        self.store.compact()

    @rule(target=snapshots)
    def snapshot(self):
        return self.store.snapshot(), dict(self.model), self.store.next_id, self.schema

    @rule(taken=snapshots)
    def look_back(self, taken):
        snapshot, model, next_id, schema = taken
        assert dict(snapshot.items()) == model
        if schema != self.schema:
            return

        try:
            changes = [*self.store.watch(start=next_id, timeout=0)]
        except RecordGone:
            return
        state = dict(model)
        for change in changes:
            if change.mode is Mode.DEL:
                del state[change.key]  # it was there: others are no changes
            else:
                assert change.mode is Mode.SET or change.key not in state
                state[change.key] = change.value
        assert state == self.model

    @rule()
    def reopen(self):
        self.store.close()
        self.open()

    @rule(kind=st.sampled_from(["kill", "lost", "garbage", "mixed", "suffix"]))
    def crash(self, kind):
        """Everything was acknowledged: all of it is there."""
        states = [*self.disk.crash_states(kinds=[kind], points={len(self.disk.trace)})]
        self.store.close()
        if states:
            self.disk = states[0].mount()
        self.open()

    @precondition(lambda self: self.schema < 4)
    @rule()
    def migrate(self):
        self.store.close()
        self.model = dict.fromkeys(self.model, self.schema)
        self.schema += 1
        self.open()

    @invariant()
    def agrees(self):
        if self.store is None:
            return

        assert dict(self.store.items()) == self.model
        assert len(self.store) == len(self.model)
        stats = self.store.stats()
        assert stats.entries == len(self.model)
        raw = dict(read_state(PLACE, disk=self.disk).entries)
        assert {key.decode() for key in raw} == {*self.model}
        assert stats.state_size == sum(len(k) + len(v) for k, v in raw.items())

    def teardown(self):
        if self.store is not None:
            self.store.close()


def chosen(examples):
    return settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


class Longer(Machine):
    """The same, for longer."""


TestStoreAndDict = Machine.TestCase
TestStoreAndDict.settings = chosen(12)
TestStoreAndDictLonger = pytest.mark.full(Longer.TestCase)
TestStoreAndDictLonger.settings = chosen(60)
