"""Stores of metadata, in four colours: keys and values, errors, figures."""

import errno
import os
import pickle
import threading
import time

import anyio
import pytest
from meta_tools import OPTIONS, PLACE, new_disk, open_store, quietly_close

from cup.errors import (
    CorruptRecord,
    ForkedProcess,
    InvalidType,
    InvalidValue,
    KeyExists,
    LogClosed,
    LogLocked,
    LogPoisoned,
    NoSuchKey,
    RecordTooLarge,
    UnsupportedFormat,
    WriteFailed,
)
from cup.services.serializer import (
    BUFFERED,
    BYTES,
    JSON,
    TEXT,
    AsyncMetaStore,
    Compaction,
    Log,
    MetaStore,
    group,
    msgpack,
    read_state,
    repair,
)
from cup.testing import available_colours


@pytest.fixture(params=available_colours(), ids=str)
def colour(request):
    return request.param


@pytest.fixture
def disk():
    return new_disk()


@pytest.fixture
def store(disk):
    store = open_store(disk)
    yield store
    quietly_close(store)


# -- what it does ----------------------------------------------------------------------


def test_keys_and_values(colour, store, disk):
    async def play():
        async with colour.actors(store, store.aio) as actors:
            a = actors.hire("a")
            first = await a.call("set", "a", {"x": [1, None, "ä"]})
            assert await a.call("add", "b", 2) == first + 1
            with pytest.raises(KeyExists, match="'b'"):
                await a.call("add", "b", 3)
            assert await a.call("set", "b", 4) == first + 2
            assert await a.call("delete", "b") is True
            assert await a.call("delete", "b") is False
            assert (
                await a.call("update", {"c": 1, "d": 2}, delete=["a"]) == store.next_id
            )
            assert await a.call("update", [("e", 5)]) == store.next_id
            assert await a.call("update") == store.next_id
            report = await a.call("compact")
            assert (report.entries, report.at_id) == (3, store.next_id)

    colour.run(play)
    assert dict(store.items()) == {"c": 1, "d": 2, "e": 5}
    assert ([*store], [*store.keys()], [*store.values()]) == (
        ["c", "d", "e"],
        ["c", "d", "e"],
        [1, 2, 5],
    )
    assert ("c" in store, "a" in store, len(store)) == (True, False, 3)
    assert (store["c"], store.get("a"), store.get("a", 7)) == (1, None, 7)
    with pytest.raises(NoSuchKey, match="'a'"):
        store["a"]
    with pytest.raises(KeyError):
        store["a"]
    store.close()
    with open_store(disk) as again:
        assert dict(again.items()) == {"c": 1, "d": 2, "e": 5}


def test_what_callers_change_later_is_not_stored(store):
    value = [1]
    store.set("a", value)
    value.append(2)
    store["a"].append(3)
    assert store["a"] == [1]


async def test_tasks_open_and_iterate(tmp_path):
    async with await AsyncMetaStore.open(tmp_path / "s") as store:
        await store.update((str(n), n) for n in range(100))
        assert [key async for key in store] == [str(n) for n in range(100)]
        assert store.sync["7"] == 7
        assert "100 entries" in repr(store)
        assert not await store.forget(b"7")
    with pytest.raises(LogClosed):
        await store.set("a", 1)
    async with await AsyncMetaStore.open(tmp_path / "s") as store:
        assert len(store) == 100
        with pytest.raises(LogLocked):
            await AsyncMetaStore.open(tmp_path / "s")


def test_codecs(tmp_path):
    pytest.importorskip("msgspec")
    place = tmp_path / "s"
    with MetaStore.open(place, key=msgpack(int), value=BYTES) as store:
        store.update({1: b"one", -2: b"two"})
        assert dict(store.items()) == {1: b"one", -2: b"two"}
        assert [change.key for change in store.watch(start=1, timeout=0)] == [1, -2]
        with pytest.raises(InvalidType, match="no prefix"):
            store.watch(prefix=1)
    with pytest.raises(UnsupportedFormat, match="'msgpack' and 'bytes'"):
        MetaStore.open(place)
    state = read_state(place)
    assert (state.key_codec, state.value_codec) == ("msgpack", "bytes")
    with MetaStore.open(place, key=msgpack(int), value=BYTES) as store:
        assert store[1] == b"one"


def test_others_refuse_its_files(store, disk, tmp_path):
    store.close()
    with pytest.raises(UnsupportedFormat):
        Log.open(PLACE, disk=disk)
    with Log.open(tmp_path / "log") as log:
        log.append(b"no store")
    with pytest.raises(UnsupportedFormat):
        MetaStore.open(tmp_path / "log")
    with pytest.raises(UnsupportedFormat):
        read_state(tmp_path / "log")
    with pytest.raises(FileNotFoundError):
        read_state(tmp_path / "none")


# -- many at once ----------------------------------------------------------------------


def test_one_of_many_adds(colour, store):
    async def play():
        async with colour.actors(store, store.aio) as actors:
            hands = [actors.hire(str(n)) for n in range(6)]
            for key in "abcdefgh":
                wishes = [hand.start("add", key, hand.name) for hand in hands]
                winners = []
                for hand, wish in zip(hands, wishes, strict=True):
                    try:
                        await wish.result()
                    except KeyExists:
                        continue
                    winners.append(hand.name)
                assert winners == [store[key]]

    colour.run(play)


def test_adds_in_one_group_are_decided_in_order(disk):
    """Nobody sees the key before it is durable: the log decides."""
    disk.inject("sync", delay=0.01, times=None, path="*.seg*")
    store = open_store(disk)
    results = []

    def work(name):
        try:
            store.add("k", name)
        except KeyExists:
            results.append(None)
        else:
            results.append(name)

    for turn in range(4):
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        won = [name for name in results if name is not None]
        assert (len(results), won) == (8, [store["k"]])
        watched = [*store.watch("k", start=store._core.floor, timeout=0)]
        assert len(watched) == 2 * turn + 1  # those in vain are no changes
        results.clear()
        assert store.delete("k")
    store.close()
    with open_store(disk) as again:
        assert len(again) == 0
        assert len([*again.watch("k", start=1, timeout=0)]) == 8


def test_threads_and_tasks_share_it(store):
    async def main():
        async def work(n):
            for i in range(20):
                await store.aio.set(f"task-{n}-{i}", i)

        async with anyio.create_task_group() as tasks:
            for n in range(10):
                tasks.start_soon(work, n)

    def loop():
        anyio.run(main)

    def work(n):
        for i in range(20):
            store.set(f"thread-{n}-{i}", i)

    threads = [threading.Thread(target=loop) for _ in range(2)]
    threads += [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(store) == 200 + 80
    assert store.stats().log.groups < store.stats().log.records


def test_snapshot_is_of_one_moment(store):
    store.update({"a": 0, "b": 0})
    stop = threading.Event()

    def work():
        n = 0
        while not stop.is_set():
            n += 1
            store.update({"a": n, "b": n})

    writer = threading.Thread(target=work)
    writer.start()
    try:
        for _ in range(300):
            with_both = store.snapshot()
            assert with_both["a"] == with_both["b"]
            assert dict(with_both.items()) == dict(with_both)
    finally:
        stop.set()
        writer.join()


def test_snapshot_stays_as_it_is(store):
    store.update({"a": 1, "b": 2})
    before = store.snapshot()
    table = store._core.state.entries
    store.set("a", 3)
    assert store._core.state.entries is not table
    assert (before["a"], store["a"]) == (1, 3)
    assert ("a" in before, "z" in before, 5 in before) == (True, False, False)
    assert (len(before), [*before.values()], [*before]) == (2, [1, 2], ["a", "b"])
    assert before == {"a": 1, "b": 2}
    with pytest.raises(NoSuchKey):
        before["z"]
    assert "2 entries" in repr(before)
    changes = store.watch(start=before.next_id, timeout=0)
    assert [change.value for change in changes] == [3]
    del before
    table = store._core.state.entries
    store.set("a", 4)
    assert store._core.state.entries is table  # nobody holds it: no copy
    store.close()


# -- what goes wrong -------------------------------------------------------------------


def test_write_that_fails_changes_nothing(colour, store, disk):
    async def play():
        async with colour.actors(store, store.aio) as actors:
            a = actors.hire("a")
            await a.call("set", "a", 1)
            disk.inject("write", error=errno.ENOSPC, path="*.seg*")
            with pytest.raises(WriteFailed):
                await a.call("update", {"a": 2, "b": 2})
            assert dict(store.items()) == {"a": 1}
            await a.call("update", {"a": 3})

    colour.run(play)
    store.close()
    with open_store(disk) as again:
        assert dict(again.items()) == {"a": 3}


def test_sync_that_fails_poisons(colour, store, disk):
    async def play():
        async with colour.actors(store, store.aio) as actors:
            a = actors.hire("a")
            await a.call("set", "a", 1)
            disk.inject("sync", error=errno.EIO, path="*.seg*")
            for method, args in (("set", ("a", 2)), ("compact", ()), ("add", ("b", 1))):
                with pytest.raises(LogPoisoned):
                    await a.call(method, *args)
            assert dict(store.items()) == {"a": 1}
            assert "poisoned" in repr(store)
            assert store.stats().log.poisoned

    colour.run(play)


def test_closed_store_refuses(store):
    store.close()
    store.close()
    calls = [
        lambda: store.set("a", 1),
        lambda: store.add("a", 1),
        lambda: store.delete("a"),
        lambda: store.update({"a": 1}),
        lambda: store.get("a"),
        lambda: store["a"],
        lambda: "a" in store,
        lambda: len(store),
        lambda: [*store],
        store.items,
        store.snapshot,
        store.unknown,
        store.compact,
        store.watch,
        lambda: store.forget(b"a"),
    ]
    for call in calls:
        with pytest.raises(LogClosed):
            call()
    assert "closed" in repr(store)
    assert store.stats().log.closed


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"schema": 0}, InvalidValue, "schema=0"),
        ({"schema": "1"}, InvalidType, "schema='1'"),
        ({"compaction": 5}, InvalidType, "compaction=5"),
        ({"durability": BUFFERED}, InvalidValue, "BUFFERED"),
        ({"no_such": 1}, InvalidType, "no_such"),
        ({"key": 5}, InvalidType, "codec"),
        ({"migrate": 5}, InvalidType, "migrate"),
        ({"value": object()}, InvalidType, "codec"),
        ({"max_record": -1}, InvalidValue, "max_record"),
    ],
)
def test_bad_options_are_refused(disk, options, error, match):
    with pytest.raises(error, match=match):
        open_store(disk, **options)
    assert not disk.exists(PLACE)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Compaction("1"), InvalidType),
        (lambda: Compaction(1, 1.5), InvalidType),
        (lambda: Compaction(-1), InvalidValue),
        (lambda: Compaction(1, -1), InvalidValue),
        (lambda: Compaction(float("nan")), InvalidValue),
        (lambda: TEXT.encode(5), InvalidType),
    ],
)
def test_bad_values_are_refused(make, error):
    with pytest.raises(error):
        make()


def test_bad_keys_and_values_are_refused(store, disk):
    for call in (
        lambda: store.set(1, 1),
        lambda: store.get(b"a"),
        lambda: store.set("a", object()),
        lambda: store.update({"a": 1, "b": object()}),
        lambda: store.set("a", float("nan")),
        lambda: store.set("a", "\ud800"),
        lambda: store.set("\ud800", 1),
        lambda: store.update("ab"),
        lambda: store.update(None),
        lambda: store.update(delete="abc"),
        lambda: store.watch("a", prefix="b"),
        lambda: store.watch(start="a"),
        lambda: store.watch(start=-1),
        lambda: store.watch(timeout=float("nan")),
    ):
        with pytest.raises((InvalidType, InvalidValue)):
            call()
    assert len(store) == 0
    store.close()
    with open_store(disk, max_record=20) as small, pytest.raises(RecordTooLarge):
        small.set("a", "x" * 20)


def test_group_waits_for_others(disk):
    with open_store(disk, durability=group(0.02)) as store:
        before = store.stats().log.groups
        threads = [
            threading.Thread(target=store.set, args=(str(n), n)) for n in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert store.stats().log.groups < before + 5
        assert len(store) == 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_is_refused(tmp_path):
    with MetaStore.open(tmp_path / "s") as store:
        store.set("a", 1)
        snapshot = store.snapshot()
        pid = os.fork()
        if not pid:
            try:
                for call in (
                    lambda: store.get("a"),
                    lambda: store.set("a", 2),
                    store.compact,
                ):
                    with pytest.raises(ForkedProcess):
                        call()
                assert snapshot["a"] == 1
                store.close()
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        store.set("a", 3)
        assert store["a"] == 3


def test_store_cannot_be_pickled(store):
    with pytest.raises(TypeError, match=r"snapshot\(\)"):
        pickle.dumps(store)


# -- compaction ------------------------------------------------------------------------


def size_of(disk):
    return sum(len(c) for path, c in disk.files().items() if path.startswith(PLACE))


def test_history_is_bounded(disk):
    compaction = Compaction(ratio=2, least=8192)
    store = open_store(disk, compaction=compaction)
    for n in range(3000):
        store.set(f"key-{n % 50}", [n, "x" * 400])
        if n % 300 == 299:  # the thread that compacts may be slow
            deadline = time.monotonic() + 20
            while store.stats().history_size > 80_000:
                assert time.monotonic() < deadline
                time.sleep(0.001)
    stats = store.stats()
    store.close()
    assert stats.compactions >= 3
    assert (stats.failed_compactions, stats.entries) == (0, 50)
    assert size_of(disk) < 700_000  # all changes have 1.4 MB
    with open_store(disk) as again:
        assert {again[f"key-{n}"][0] for n in range(50)} == {*range(2950, 3000)}
        assert again.stats().history_size < 500_000


def test_compaction_by_hand(store, disk):
    sizes = []
    for _ in range(6):
        for n in range(200):
            store.set("a", n)
        report = store.compact()
        sizes.append(size_of(disk))
    assert report.purged.segments >= 1
    assert sizes[-1] < sizes[1] * 1.5
    again = store.compact()  # nothing is new
    assert (again.purged.segments, again.at_id) == (0, report.at_id)
    assert store.stats().history_size == 0
    assert store.stats().compactions == 7
    store.close()
    with open_store(disk) as again:
        assert dict(again.items()) == {"a": 199}


def test_compaction_that_fails_is_tried_again(disk, caplog):
    store = open_store(disk, compaction=Compaction(0, 1000))
    disk.inject("create", error=errno.ENOSPC, path="*.checkpoint*")
    n = 0
    while not store.stats().failed_compactions and n < 5000:
        n += 1
        store.set("a", n)
    assert store["a"] == n
    store._core._compactor._due = 0.0  # it is time again
    store._core._compactor._driver.nudge(0.0)
    while not store.stats().compactions and n < 10000:
        n += 1
        store.set("a", n)
    store.close()
    assert "tried again" in caplog.text
    with open_store(disk) as again:
        assert again["a"] == n


def test_damaged_checkpoint_is_an_error_and_the_one_before_is_there(disk):
    store = open_store(disk)
    for n in range(3):
        store.update({f"{n}-{i}": n for i in range(60)})
        store.compact()
    store.set("last", 1)
    expected = dict(store.items())
    store.close()
    latest = max(p for p in disk.files() if p.endswith(".checkpoint"))
    disk.damage(latest, 100)
    with pytest.raises(CorruptRecord, match="repair"):
        open_store(disk)
    repair(PLACE, disk=disk)
    with open_store(disk) as again:
        assert dict(again.items()) == expected


def test_lost_checkpoint_is_an_error(disk):
    store = open_store(disk)
    for _ in range(3):
        store.update({str(i): "x" * 30 for i in range(80)})
        store.compact()
    store.compact()
    store.close()
    for path in [p for p in disk.files() if p.endswith(".checkpoint")]:
        disk.unlink(path)
    with pytest.raises(CorruptRecord, match="checkpoint is lost"):
        open_store(disk)
    with pytest.raises(CorruptRecord, match="checkpoint is lost"):
        read_state(PLACE, disk=disk)


def test_state_can_be_read_while_it_is_open(store, disk):
    store.update({"a": 1, "b": [2]})
    store.compact()
    store.set("c", 3)
    state = read_state(PLACE, disk=disk)
    assert (state.schema, state.key_codec, state.value_codec) == (1, "text", "json")
    assert state.next_id == store.next_id
    assert [*state.entries] == [(b"a", b"1"), (b"b", b"[2]"), (b"c", b"3")]
    assert JSON.decode(state.entries[1][1]) == [2]


def test_real_files_as_well(tmp_path):
    with MetaStore.open(tmp_path / "s", compaction=Compaction(1, 10_000)) as store:
        for n in range(1000):
            store.set(f"{n % 10}", n)
    assert OPTIONS  # the defaults are tested here
    with MetaStore.open(str(tmp_path / "s")) as store:
        assert sorted(store.values()) == [*range(990, 1000)]
