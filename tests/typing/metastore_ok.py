"""What users write with stores of metadata and durable executors must type-check."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path

from typing_extensions import assert_type

from cup.services.executor import ExecutionService, JobStore, LogStore
from cup.services.serializer import (
    BYTES,
    JSON,
    TEXT,
    AsyncMetaStore,
    AsyncMetaStoreAPI,
    Change,
    Compaction,
    CompactReport,
    JsonValue,
    MetaStats,
    MetaStore,
    MetaStoreAPI,
    Snapshot,
    StoredEntry,
    StoreState,
    group,
    read_state,
)


def threads(place: Path) -> None:
    with MetaStore.open(place) as store:
        assert_type(store, MetaStore[str, JsonValue])
        assert_type(store.set("a", {"b": [1, None]}), int)
        assert_type(store.get("a"), JsonValue)
        assert_type(store.delete("a"), bool)
        store.update({"a": 1}, delete=["b"])
        store.update((("a", 1), ("b", 2)))

    with MetaStore.open(str(place), value=BYTES, compaction=None) as raw:
        assert_type(raw, MetaStore[str, bytes])
        assert_type(raw["a"], bytes)
        assert_type(raw.get("a"), bytes | None)
        assert_type(raw.get("a", 5), bytes | int | None)
        assert_type(raw.snapshot(), Snapshot[str, bytes])
        for key, value in raw.items():
            assert_type(key, str)
            assert_type(value, bytes)
        changes = raw.watch("a", start=1, timeout=2.5)
        assert_type(changes, Iterator[Change[str, bytes]])
        for change in changes:
            assert_type(change.value, bytes | None)
        assert_type(raw.compact(), CompactReport)
        assert_type(raw.stats(), MetaStats)
        face: MetaStoreAPI[str, bytes] = raw
        assert_type(list(face), list[str])

    keyed = MetaStore.open(
        place, key=BYTES, durability=group(0.01), compaction=Compaction(3.0, 1 << 20)
    )
    assert_type(keyed, MetaStore[bytes, JsonValue])
    assert_type(read_state(place), StoreState)


def newer(old: StoredEntry) -> tuple[str, str] | None:
    return (TEXT.decode(old.key), TEXT.decode(old.value)) if old.schema == 1 else None


async def tasks(place: Path) -> None:
    store = await AsyncMetaStore.open(
        place, key=TEXT, value=TEXT, schema=2, migrate=newer, lock_timeout=5.0
    )
    assert_type(store, AsyncMetaStore[str, str])
    async with store:
        assert_type(await store.add("a", "b"), int)
        assert_type(store["a"], str)
        changes = store.watch(prefix="a")
        assert_type(changes, AsyncGenerator[Change[str, str], None])
        async with aclosing(changes):
            async for change in changes:
                assert_type(change.key, str)
        face: AsyncMetaStoreAPI[str, str] = store
        assert_type([key async for key in face], list[str])
        assert_type(store.sync, MetaStore[str, str])
        assert_type(store.sync.aio, AsyncMetaStore[str, str])
    assert_type(
        await AsyncMetaStore.open(place, value=JSON), AsyncMetaStore[str, JsonValue]
    )


def jobs(place: Path) -> None:
    with LogStore.open(place, compaction=None) as store:
        known: JobStore = store
        executor = ExecutionService(store=known)
        executor.options(key="daily").cron("0 3 * * *", print, "good morning")
