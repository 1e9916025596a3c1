"""Watching a store, in four colours: each change once, in order, and when it can be
read."""

import threading
from contextlib import aclosing

import anyio
import pytest
from meta_tools import new_disk, open_store, quietly_close

from cup.errors import InvalidType, InvalidValue, RecordGone, UnreadableEntry
from cup.services.serializer import BYTES, Change, Mode
from cup.testing import available_colours


@pytest.fixture(params=available_colours(), ids=str)
def colour(request):
    return request.param


@pytest.fixture
def store():
    store = open_store(new_disk())
    yield store
    quietly_close(store)


class Watcher:
    """One face for both kinds of iterators."""

    def __init__(self, store, sync):
        self._store, self._sync = store, sync

    def take(self, count, **options):
        changes = self._store.watch(**options)
        return [change for _, change in zip(range(count), changes, strict=False)]


class AsyncWatcher(Watcher):
    async def take(self, count, **options):
        found = []
        if count:
            async with aclosing(self._store.watch(**options)) as changes:
                async for change in changes:
                    found.append(change)
                    if len(found) == count:
                        break
        return found


def test_changes_come_in_order(colour, store):
    async def play():
        faces = Watcher(store, True), AsyncWatcher(store.aio, False)
        async with colour.actors(*faces) as watchers:
            all_ = watchers.hire("all").start("take", 6, start=1)
            one = watchers.hire("one").start("take", 2, key="b", start=1)
            some = watchers.hire("some").start("take", 2, prefix="c/", start=1)
            async with colour.actors(store, store.aio) as actors:
                a = actors.hire("a")
                await a.call("set", "a", 1)
                await a.call("add", "b", 2)
                await a.call("update", {"c/1": 3, "d": 4}, delete=["b", "none"])
                await a.call("set", "c/2", [5])
            changes = await all_.result()
            assert [c[1:] for c in changes] == [
                (Mode.SET, "a", 1),
                (Mode.ADD, "b", 2),
                (Mode.SET, "c/1", 3),
                (Mode.SET, "d", 4),
                (Mode.DEL, "b", None),
                (Mode.SET, "c/2", [5]),
            ]
            assert isinstance(changes[0], Change)
            ids = [change.id for change in changes]
            assert ids == sorted({*ids})
            assert [c.value for c in await one.result()] == [2, None]
            assert [c.key for c in await some.result()] == ["c/1", "c/2"]

    colour.run(play)


def test_watcher_waits_and_ends_with_the_store(colour, store):
    async def play():
        faces = Watcher(store, True), AsyncWatcher(store.aio, False)
        async with colour.actors(*faces) as watchers:
            ann, bob = watchers.hire("ann"), watchers.hire("bob")
            assert await ann.call("take", 5, timeout=0.01) == []
            assert await ann.call("take", 5, timeout=0) == []
            waits = ann.start("take", 1)
            ends = bob.start("take", 9)
            async with colour.actors(store, store.aio) as actors:
                a = actors.hire("a")
                await colour.until(lambda: len(store._core.log.tide) == 2)
                await a.call("set", "a", 1)
                [change] = await waits.result()
                assert change.value == 1
                await a.call("close")
            assert [change.value for change in await ends.result()] == [1]

    colour.run(play)


def test_what_is_seen_can_be_read(store):
    found = []

    def watch():
        for change in store.watch("a", start=1):
            found.append((change.value, store["a"]))
            if change.value == 200:
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    for n in range(1, 201):
        store.set("a", n)
    watcher.join(20)
    assert [value for value, _ in found] == [*range(1, 201)]
    assert all(there >= value for value, there in found)


def test_snapshot_and_what_follows(store):
    stop = threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            n += 1
            store.update({f"{n % 5}": n, "last": n}, delete=[f"{(n + 2) % 5}"])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            before = store.snapshot()
            state = dict(before)
            for change in store.watch(start=before.next_id):
                if change.mode is Mode.DEL:
                    del state[change.key]
                else:
                    state[change.key] = change.value
                after = store.snapshot()
                if change.id == after.next_id - 1:
                    assert state == dict(after)
                if change.id > before.next_id + 40:
                    break
    finally:
        stop.set()
        writer.join()


def test_compaction_leaves_what_can_be_watched(store):
    for n in range(300):
        store.set("a", n)
    start = store.next_id
    store.compact()
    for n in range(300):
        store.set("b", n)
    slow = store.watch(start=start)
    assert next(slow).value == 0
    store.compact()
    assert len([*store.watch(start=start, timeout=0)]) == 300
    for _ in range(3):
        store.update({"c": 1})
        store.compact()
    with pytest.raises(RecordGone, match="take a snapshot"):
        store.watch(start=start)
    with pytest.raises(RecordGone):
        store.watch(start=0)
    quiet = store.watch(start=store.next_id + 5, timeout=0)
    assert [*quiet] == []


def test_change_that_means_nothing_is_an_error():
    disk = new_disk()
    with open_store(disk) as store:
        store.set("a", 1)
    with open_store(disk) as store:
        core = store._core
        raw = open_raw(core)
        core.log.write([raw], 0.0)
        changes = store.watch(start=1)
        assert next(changes).key == "a"
        with pytest.raises(UnreadableEntry, match=r"watch from \d+ on"):
            next(changes)


def open_raw(core):
    from cup.services.serializer._core_meta_format import pack_change

    return core.log.piece(pack_change(b"b", b"no json"), 0, Mode.SET)


def test_prefix_needs_keys_that_have_some():
    with open_store(new_disk(), key=BYTES, value=BYTES) as store:
        store.update({b"ab": b"1", b"b": b"2"})
        assert [c.key for c in store.watch(prefix=b"a", start=1, timeout=0)] == [b"ab"]
    from cup.services.serializer import JSON

    with open_store(new_disk(), key=JSON) as store:
        store.set("a", 1)
        with pytest.raises(InvalidType, match="no prefix"):
            store.watch(prefix="a")
        assert [c.key for c in store.watch(start=1, timeout=0)] == ["a"]
        with pytest.raises(InvalidValue, match="not both"):
            store.watch("a", prefix="a")


async def test_cancelled_watcher_leaves_nothing_behind():
    store = await anyio.to_thread.run_sync(lambda: open_store(new_disk()))
    with anyio.move_on_after(0.05):
        async with aclosing(store.aio.watch()) as changes:
            async for _ in changes:
                raise AssertionError
    assert len(store._core.log.tide) == 0
    await store.aio.set("a", 1)
    await store.aio.close()
