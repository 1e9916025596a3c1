"""A log against a list: whatever is done to it, in whatever order."""

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from log_format_tools import FRAME, parse
from serializer_tools import PLACE

from cup.errors import CorruptRecord, RecordGone
from cup.services.serializer import BUFFERED, Log, LogReader, repair, verify
from cup.testing import CrashDisk

small = st.binary(max_size=60)
batches = st.lists(small, min_size=1, max_size=5)
OPTIONS = {"segment_bytes": 512, "preallocate": False}


class LogModel(RuleBasedStateMachine):
    """`kept` is what must be there; `loose` is what may be lost by a crash."""

    followers = Bundle("followers")

    @initialize()
    def begin(self):
        self.disk = CrashDisk()
        self.kept = {}
        self.loose = {}
        self.next_id = 1
        self.log = Log.open(PLACE, disk=self.disk, **OPTIONS)

    def settle(self):
        self.kept.update(self.loose)
        self.loose = {}

    @rule(payload=small)
    def append(self, payload):
        assert self.log.append(payload) == self.next_id
        self.settle()
        self.kept[self.next_id] = payload
        self.next_id += 1

    @rule(batch=batches)
    def append_many(self, batch):
        ids = self.log.append_many(batch)
        assert ids == range(self.next_id, self.next_id + len(batch))
        self.settle()
        self.kept.update(zip(ids, batch, strict=True))
        self.next_id = ids.stop

    @rule(payload=small)
    def buffer(self, payload):
        # A background commit may come in between: both are right until a sync.
        assert self.log.append(payload, durability=BUFFERED) == self.next_id
        self.loose[self.next_id] = payload
        self.next_id += 1

    @rule()
    def sync(self):
        assert self.log.sync() == self.next_id
        self.settle()

    @rule(step=st.integers(0, 5))
    def skip(self, step):
        self.log.skip_to(self.next_id + step)
        self.settle()
        self.next_id += step

    @rule(pick=st.integers(0, 999))
    def purge(self, pick):
        before = pick % (self.next_id + 2)
        report = self.log.purge(before)
        self.settle()
        gone = [n for n in self.kept if n < report.first_id]
        assert all(n < before for n in gone)
        assert report.first_id <= max(before, self.log.first_id)
        for number in gone:
            del self.kept[number]

    @rule(state=small)
    def checkpoint(self, state):
        self.log.sync()
        self.settle()
        stored = self.log.checkpoint(state)
        assert stored.at_id == self.next_id
        assert self.log.latest_checkpoint() == stored

    @rule()
    def reopen(self):
        self.log.close()
        self.settle()
        assert verify(PLACE, disk=self.disk).ok
        self.log = Log.open(PLACE, disk=self.disk, **OPTIONS)
        assert self.log.next_id == self.next_id

    @rule(
        kind=st.sampled_from(["kill", "lost", "garbage", "mixed", "any"]),
        pick=st.integers(0, 999),
    )
    def crash(self, kind, pick):
        states = [
            state
            for state in self.disk.crash_states(points={len(self.disk.trace)})
            if kind in (state.kind, "any")
        ]
        self.log.close()
        if states:
            self.disk = states[pick % len(states)].mount()
        self.log = Log.open(PLACE, disk=self.disk, **OPTIONS)
        found = {r.id: r.payload for r in self.log.records()}
        for number, payload in self.kept.items():
            assert found[number] == payload
        for number, payload in found.items():
            assert {**self.kept, **self.loose}[number] == payload
        survivors = [n for n in self.loose if n in found]
        assert survivors == [*self.loose][: len(survivors)]
        self.kept, self.loose = found, {}
        self.next_id = self.log.next_id
        assert not found or max(found) < self.next_id

    @precondition(lambda self: self.kept)
    @rule(pick=st.integers(0, 999))
    def damage(self, pick):
        """Damage a record, see that it is told, and salvage the others."""
        self.log.close()
        self.settle()
        number = sorted(self.kept)[pick % len(self.kept)]
        if self.kept[number]:
            self._damage(number)
        self.log = Log.open(PLACE, disk=self.disk, **OPTIONS)
        assert self.log.next_id == self.next_id

    def _damage(self, number):
        for path, content in self.disk.files().items():
            if path.endswith(".seg"):
                for frame in parse(content):
                    if frame.id == number and not frame.control:
                        self.disk.damage(path, frame.offset + FRAME)
        with LogReader.open(PLACE, disk=self.disk) as reader:
            with pytest.raises(CorruptRecord) as caught:
                list(reader.records())
            assert caught.value.record_id == number
        with pytest.raises(CorruptRecord):
            repair(PLACE, disk=self.disk)
        report = repair(PLACE, disk=self.disk, salvage=True)
        found = [(f.first_id, f.stop_id) for f in report.findings]
        assert found == [(number, number + 1)]
        del self.kept[number]
        after = verify(PLACE, disk=self.disk)
        assert after.ok, after

    @rule(pick=st.integers(0, 999))
    def read_a_part(self, pick):
        start = pick % (self.next_id + 3)
        stop = pick // 7 % (self.next_id + 3)
        if start < self.log.first_id:
            with pytest.raises(RecordGone):
                self.log.records(start, stop)
        else:
            found = [r.id for r in self.log.records(start, stop)]
            durable = self.log.durable_id
            assert found == [
                n
                for n in sorted({**self.kept, **self.loose})
                if start <= n < stop and n <= durable
            ]

    @invariant()
    def everything_durable_is_there(self):
        found = {r.id: r.payload for r in self.log.records()}
        assert {**self.loose, **found, **self.kept} == {**self.loose, **self.kept}
        assert {*self.kept} <= {*found}
        assert self.log.next_id == self.next_id

    def teardown(self):
        self.log.close()


class TestLogModel(LogModel.TestCase):
    settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@pytest.mark.full
class TestLogModelLonger(LogModel.TestCase):
    settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


@pytest.mark.long
class TestLogModelLong(LogModel.TestCase):
    settings = settings(max_examples=1000, stateful_step_count=100, deadline=None)
