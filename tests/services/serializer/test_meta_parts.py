"""Parts of stores of metadata, one by one: formats, folding, when to compact."""

import time

import anyio
import hypothesis.strategies as st
import pytest
from hypothesis import given
from meta_tools import PLACE, new_disk, open_store

from cup.errors import CorruptRecord, LogClosed, UnsupportedFormat
from cup.services.serializer import TEXT, AsyncMetaStore, Log, Mode
from cup.services.serializer._core_format import Piece
from cup.services.serializer._core_meta_compact import Compactor
from cup.services.serializer._core_meta_format import (
    CHANGE,
    HEADER,
    OLD,
    Frozen,
    Header,
    Strange,
    old_entry,
    pack_change,
    pack_old,
    pack_state,
    unpack_change,
    unpack_state,
)
from cup.services.serializer._core_meta_state import Asking, State

# -- formats ---------------------------------------------------------------------------


@given(st.binary(), st.binary())
def test_changes_come_back(key, value):
    assert unpack_change(pack_change(key, value)) == (key, value)
    assert unpack_change(pack_change(key, b"")[:-1]) is None or not key


@given(
    st.dictionaries(st.binary(), st.binary()),
    st.lists(st.builds(Strange, *[st.integers(0, 9)] * 3, st.binary())),
)
def test_states_come_back(entries, strange):
    frozen = Frozen(Header(3, "text", "json"), 7, entries, strange)
    again = unpack_state(pack_state(frozen), 7, "/folder")
    assert (again.header, again.next_id) == (frozen.header, 7)
    assert [*again.entries.items()] == [*entries.items()]
    assert again.strange == strange
    assert again.size == sum(len(k) + len(v) for k, v in entries.items())


@given(st.data())
def test_states_that_are_cut_are_told(data):
    frozen = Frozen(Header(3, "text", "json"), 7, {b"a": b"1", b"bb": b"22"}, [])
    content = pack_state(frozen)
    cut = content[: data.draw(st.integers(0, len(content) - 1))]
    with pytest.raises((CorruptRecord, UnsupportedFormat)):
        unpack_state(cut, 7, "/folder")


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b'{"schema": "x"}', b"\xff"])
def test_headers_that_mean_nothing(payload):
    assert Header.unpack(payload) is None


def test_old_entries_come_back():
    record = pack_old(3, b"key", b"value", "no reason")
    assert old_entry(record) == (3, "no reason", b"key", b"value")
    assert old_entry(Strange(1, OLD, 1, b"")) is None
    assert old_entry(Strange(1, 77, 1, record.payload)) is None


# -- folding ---------------------------------------------------------------------------


def header(schema):
    return Piece(Header(schema, "text", "json").pack(), 0, HEADER, Mode.SET)


def change(mode, key, value=b"", kind=Piece):
    return kind(pack_change(key, value), 0, CHANGE, mode)


def test_records_count_once():
    state = State()
    add = change(Mode.ADD, b"a", b"1", Asking)
    records = [(1, header(1)), (2, add), (3, change(Mode.SET, b"b", b"2"))]
    for _ in range(3):
        state.fold(records)
    assert (state.entries, state.next_id, state.size) == (
        {b"a": b"1", b"b": b"2"},
        4,
        4,
    )
    assert add.met is False
    again = change(Mode.ADD, b"a", b"3", Asking)
    gone = change(Mode.DEL, b"z", kind=Asking)
    state.fold([(4, again), (5, gone), (6, change(Mode.ADD, b"b", b"4"))])
    assert (again.met, gone.met) == (True, False)
    assert state.vain == {4, 5, 6}
    assert state.entries == {b"a": b"1", b"b": b"2"}
    state.forget_before(6)
    assert state.vain == {6}


def test_add_that_was_folded_in_part_is_folded_again():
    state = State()
    add = change(Mode.ADD, b"a", b"1", Asking)
    state.fold([(1, add)])
    state.next_id = 1  # an interrupt came before it was counted
    state.fold([(1, add)])
    assert (add.met, state.vain, state.size) == (False, set(), 2)


def test_changes_of_a_schema_whose_state_is_lost():
    state = State()
    state.fold([(1, header(1)), (2, change(Mode.SET, b"a", b"1")), (3, header(2))])
    assert state.announced == Header(2, "text", "json")
    with pytest.raises(CorruptRecord, match="schema 2"):
        state.fold([(4, change(Mode.SET, b"b", b"2"))])
    state.fold([(4, header(1)), (5, change(Mode.SET, b"b", b"2"))])
    assert state.entries == {b"a": b"1", b"b": b"2"}


# -- compaction ------------------------------------------------------------------------


def test_compactor_waits_after_a_failure(caplog):
    calls = []

    def compact():
        calls.append(1)
        if len(calls) == 1:
            raise OSError("disk full")

    compactor = Compactor(compact, "test", list)
    assert compactor.step(0.0) is None  # nobody wants it
    compactor._wanted = True
    now = time.monotonic()
    assert compactor.step(now) > now
    compactor.effects.popleft()()
    assert compactor.failed == 1
    assert "disk full" in caplog.text
    assert compactor.step(now) > now
    assert not compactor.effects
    compactor.step(now + 60)
    compactor.effects.popleft()()
    assert (len(calls), compactor._wanted) == (2, False)


def test_compactor_gives_up_what_is_closed():
    def compact():
        raise LogClosed("closed")

    compactor = Compactor(compact, "test", list)
    compactor._wanted = True
    compactor.step(0.0)
    compactor.effects.popleft()()
    assert (compactor.failed, compactor._wanted) == (0, False)
    compactor.stop()


def test_compactor_looks_again_for_who_wants_it_while_it_runs():
    def compact():
        calls.append(1)
        compactor.want()  # a change: lost, were it the last one

    def look():
        if len(calls) == 1:
            compactor.want()

    calls = []
    compactor = Compactor(compact, "test", look)
    compactor.want()
    deadline = time.monotonic() + 20
    while len(calls) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    compactor.stop()
    assert len(calls) == 2


# -- opening ---------------------------------------------------------------------------


async def test_cancelled_open_leaves_nothing_open(tmp_path):
    place = tmp_path / "store"
    async with await AsyncMetaStore.open(place) as store:
        await store.set("a", 1)

    def slow(old):
        time.sleep(0.1)
        return TEXT.decode(old.key), 2

    with anyio.move_on_after(0.02) as scope:
        async with await AsyncMetaStore.open(place, schema=2, migrate=slow):
            await anyio.sleep(10)
    assert scope.cancelled_caught
    async with await AsyncMetaStore.open(place, schema=2, migrate=slow) as store:
        assert store["a"] == 2


def test_checkpoint_of_something_else_is_refused():
    disk = new_disk()
    with open_store(disk) as store:
        store.set("a", 1)
        store._core.log.checkpoint(b"no state", None)
    with pytest.raises(UnsupportedFormat, match="checkpoint"):
        open_store(disk)
    with pytest.raises(UnsupportedFormat):
        Log.open(PLACE, disk=disk)
    assert repr(TEXT) == "TEXT"
