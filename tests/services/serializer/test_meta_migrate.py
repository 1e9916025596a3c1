"""Schemas and what is unknown: it is migrated, or kept and reported, never deleted."""

import pytest
from meta_tools import PLACE, new_disk, open_store

from cup.errors import (
    CorruptRecord,
    InvalidValue,
    UnreadableEntry,
    UnsupportedFormat,
    WriteFailed,
)
from cup.services.serializer import BYTES, JSON, TEXT, Mode, StoredEntry, read_state
from cup.services.serializer._core_meta_format import pack_change


@pytest.fixture
def disk():
    disk = new_disk()
    with open_store(disk) as store:
        store.update({"a": 1, "b": 2, "c": "three"})
    return disk


def double(old: StoredEntry):
    value = JSON.decode(old.value)
    if not isinstance(value, int):
        raise UnreadableEntry(f"{value!r} is no number")
    return f"{old.schema}:{TEXT.decode(old.key)}", value * 2


def put_raw(store, *pieces):
    """Write records as a later version, or a broken one, might."""
    log = store._core.log
    log.write([log.piece(payload, kind, mode) for payload, kind, mode in pieces], 0.0)


# -- schemas ---------------------------------------------------------------------------


def test_entries_are_migrated_once(disk):
    calls = []

    def migrate(old):
        calls.append(old.key)
        return double(old)

    for _ in range(2):
        with open_store(disk, schema=2, migrate=migrate) as store:
            assert dict(store.items()) == {"1:a": 2, "1:b": 4}
            [entry] = store.unknown()
            assert (entry.key, entry.value) == (b"c", b'"three"')
            assert "schema 1: 'three' is no number" in entry.reason
            assert store.stats().unknown == 1
            assert "2 entries, 1 unknown, schema 2" in repr(store)
    assert sorted(calls) == [b"a", b"b", b"c"]
    with open_store(disk, schema=2) as store:
        store.set("c", 9)  # that is another one
        assert len(store.unknown()) == 1


def test_what_was_kept_is_migrated_with_the_next(disk):
    open_store(disk, schema=2, migrate=double).close()

    def lengths(old):
        if old.schema == 2:
            return TEXT.decode(old.key), JSON.decode(old.value)
        return "late", len(JSON.decode(old.value))

    with open_store(disk, schema=3, migrate=lengths) as store:
        assert dict(store.items()) == {"1:a": 2, "1:b": 4, "late": 5}
        assert store.unknown() == ()
        assert store.snapshot().schema == store.stats().schema == 3


def test_what_was_kept_can_be_forgotten(disk):
    with open_store(disk, schema=2, migrate=double) as store:
        assert not store.forget(b"a")
        assert store.forget(b"c")
        assert not store.forget(b"c")
        assert store.unknown() == ()
    with open_store(disk, schema=2) as store:
        assert store.unknown() == ()


def test_migration_may_remove_and_change_codecs(disk):
    def to_bytes(old):
        return None if old.key == b"a" else (old.key, old.value)

    with open_store(disk, schema=5, key=BYTES, value=BYTES, migrate=to_bytes) as store:
        assert dict(store.items()) == {b"b": b"2", b"c": b'"three"'}
    with pytest.raises(UnsupportedFormat, match="'bytes'"):
        open_store(disk, schema=5)
    assert read_state(PLACE, disk=disk).value_codec == "bytes"


def test_migration_that_fails_changes_nothing(disk):
    def same(old):
        return "same", 1

    def broken(old):
        raise ZeroDivisionError

    for migrate, error in ((same, InvalidValue), (broken, ZeroDivisionError)):
        with pytest.raises(error):
            open_store(disk, schema=2, migrate=migrate)
    disk.inject("create", error=28, path="*.checkpoint*")
    with pytest.raises(WriteFailed):
        open_store(disk, schema=2, migrate=double)
    with open_store(disk) as store:
        assert dict(store.items()) == {"a": 1, "b": 2, "c": "three"}
        store.set("d", 4)
    with open_store(disk, schema=2, migrate=double) as store:
        assert dict(store.items()) == {"1:a": 2, "1:b": 4, "1:d": 8}


def test_schemas_are_compared(disk):
    with pytest.raises(UnsupportedFormat, match="give migrate="):
        open_store(disk, schema=2)
    open_store(disk, schema=2, migrate=double).close()
    with pytest.raises(UnsupportedFormat, match="later version of the program"):
        open_store(disk, migrate=double)
    with pytest.raises(UnsupportedFormat, match="'text' and 'json'"):
        open_store(disk, schema=2, value=TEXT)


def test_empty_store_needs_no_migration():
    disk = new_disk()
    with open_store(disk, schema=7, migrate=double) as store:
        store.set("a", 1)
    with open_store(disk, schema=7) as store:
        assert store["a"] == 1


def test_changes_never_meet_the_state_before_migration(disk):
    """The migrated state is damaged, and put aside; nothing is mixed up silently."""
    from cup.services.serializer import repair

    with open_store(disk) as store:
        store.compact()
    with open_store(disk, schema=2, migrate=double) as store:
        store.set("new", 1)
    latest = max(path for path in disk.files() if path.endswith(".checkpoint"))
    disk.damage(latest, 100)
    repair(PLACE, disk=disk)
    with pytest.raises(CorruptRecord):
        open_store(disk, schema=2, migrate=double)


# -- what is unknown -------------------------------------------------------------------


def test_unreadable_entries_are_kept(disk):
    with open_store(disk) as store:
        put_raw(
            store,
            (pack_change(b"x", b"no json"), 0, Mode.SET),
            (pack_change(b"\xff", b"1"), 0, Mode.SET),
        )
    with open_store(disk) as store:
        assert {entry.key for entry in store.unknown()} == {b"x", b"\xff"}
        assert (len(store), "x" in store) == (3, False)
        assert [*store] == ["a", "b", "c"]
        with pytest.raises(UnreadableEntry, match="means nothing"):
            store.get("x")
        with pytest.raises(UnreadableEntry, match="means nothing"):
            store.snapshot()["x"]
        with pytest.raises(ValueError, match="'x'"):
            store.add("x", 1)  # something is there
        store.compact()
        store.compact()
    with open_store(disk) as store:
        assert {entry.key for entry in store.unknown()} == {b"x", b"\xff"}
        store.set("x", 5)
        assert store["x"] == 5
        assert store.forget(b"\xff")
        assert store.unknown() == ()
    with open_store(disk) as store:
        assert store.unknown() == ()
        assert len(store) == 4


def test_records_of_later_versions_are_kept(disk):
    records = [(b"future", 77, 5), (b"\x05", 0, Mode.SET), (pack_change(b"k"), 0, 9)]
    with open_store(disk) as store:
        put_raw(store, *records)
        store.set("d", 4)
        store.compact()
        store.compact()
        assert len(store.unknown()) == 3
        assert [*store.watch(start=store.next_id - 1, timeout=0)]
    with open_store(disk) as store:
        assert [entry.value for entry in store.unknown()] == [r[0] for r in records]
        assert all(entry.key is None for entry in store.unknown())
        assert "later version" in store.unknown()[0].reason
        assert len(store) == 4
        store.compact()
    assert len(read_state(PLACE, disk=disk).unknown) == 3
