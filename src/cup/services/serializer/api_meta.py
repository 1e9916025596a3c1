"""What a store of metadata is: its values, and the protocols of its faces.

`MetaStoreAPI` is the face for threads, `AsyncMetaStoreAPI` the one for tasks. What both
read from memory never waits, and is the same in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypedDict, TypeVar

from typing_extensions import NamedTuple

from cup.errors import InvalidType, InvalidValue

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Iterable,
        Iterator,
        Mapping,
    )
    from types import TracebackType

    from typing_extensions import Self

    from cup._core.disk import Disk

    from ._core_checksum import ChecksumName
    from .api_values import Durability, LogStats, Mode, PurgeReport
    from .meta_snapshot import Snapshot

__all__ = [
    "AsyncMetaStoreAPI",
    "Change",
    "CompactReport",
    "Compaction",
    "MetaOptions",
    "MetaStats",
    "MetaStoreAPI",
    "StoreState",
    "StoredEntry",
    "UnknownEntry",
]

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")
K_co = TypeVar("K_co", covariant=True)
V_co = TypeVar("V_co", covariant=True)


class Change(NamedTuple, Generic[K_co, V_co]):
    """One change of a store, as those who watch it see it.

    Attributes:
        id: Its number: watching from the next one on misses nothing.
        mode: `Mode.SET` or `Mode.ADD` for a new value, `Mode.DEL` if the key is gone.
        key: The key.
        value: The new value; None if the key is gone.
    """

    id: int
    mode: Mode
    key: K_co
    value: V_co | None


class StoredEntry(NamedTuple):
    """An entry as it was stored under an older schema: what migration starts from.

    Attributes:
        schema: The version that it was stored under.
        key: The bytes of its key.
        value: The bytes of its value.
    """

    schema: int
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownEntry:
    """Something in a store that means nothing to this program. The store keeps it.

    Attributes:
        key: The bytes of its key; None for a record of a kind that is not known.
        value: The bytes of its value, or of the record.
        reason: Why it means nothing.
    """

    key: bytes | None
    value: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Compaction:
    """When a store replaces its history by its state, of its own accord.

    It does so when the history since the last time has `least` bytes, and `ratio` times
    as many as the state. That bounds the files, and the time to open the store.

    Attributes:
        ratio: Bytes of history for each byte of state.
        least: Bytes of history below which nothing is done.
    """

    ratio: float = 2.0
    least: int = 4 * 1024 * 1024

    def __post_init__(self) -> None:
        given: dict[str, object] = {"ratio": self.ratio, "least": self.least}
        if not isinstance(given["ratio"], int | float):
            raise InvalidType(f"ratio={self.ratio!r}: it is a number")
        if not isinstance(given["least"], int):
            raise InvalidType(f"least={self.least!r}: it is an int")
        if not self.ratio >= 0 or self.least < 0:
            raise InvalidValue(f"{self!r}: neither can be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactReport:
    """What a compaction has done.

    Attributes:
        at_id: The first change that is not part of the state which was stored.
        entries: How many entries that has.
        size: Its bytes.
        purged: Which files of history were removed.
    """

    at_id: int
    entries: int
    size: int
    purged: PurgeReport


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaStats:
    """The figures of a store at one moment.

    Attributes:
        entries: How many entries it has, without unknown ones.
        unknown: How many entries and records mean nothing to this program.
        schema: The version of what it stores.
        next_id: The id of the next change.
        state_size: Bytes of keys and values.
        history_size: Bytes of the changes since the last compaction.
        compactions: How often it was compacted since it was opened.
        failed_compactions: How often that failed; it is tried again.
        compaction_seconds: Seconds that the last one took.
        log: The figures of the log under it.
    """

    entries: int
    unknown: int
    schema: int
    next_id: int
    state_size: int
    history_size: int
    compactions: int
    failed_compactions: int
    compaction_seconds: float
    log: LogStats


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreState:
    """The state of a store, as somebody finds it who has neither its codecs nor it.

    Attributes:
        directory: Where it is.
        schema: The version of what it stores; 0 for a store that was never opened.
        key_codec: The name of the codec of its keys.
        value_codec: The same of its values.
        next_id: The id of the next change.
        entries: The bytes of keys and values.
        unknown: Records of kinds that are not known here.
    """

    directory: str
    schema: int
    key_codec: str
    value_codec: str
    next_id: int
    entries: tuple[tuple[bytes, bytes], ...]
    unknown: tuple[UnknownEntry, ...]


class MetaOptions(TypedDict, total=False):
    """How a store is kept, besides what it stores.

    Attributes:
        compaction: When it is compacted; None for by hand only.
        durability: `SYNC`, or `group(seconds)` to wait for others to share a sync with.
        segment_bytes: The size of the files of its log.
        max_record: The largest key and value together, in bytes.
        checksum: "crc32", "crc32c" or "auto".
        preallocate: Whether files get room ahead, which makes syncs cheaper.
        lock_timeout: Seconds to wait for another writer to end; None for ever.
        disk: Where the directory is, for tests; None for the real disk.
    """

    compaction: Compaction | None
    durability: Durability
    segment_bytes: int
    max_record: int
    checksum: ChecksumName
    preallocate: bool
    lock_timeout: float | None
    disk: Disk | None


class _Reads(Protocol[K, V]):
    """What never waits, and so is the same in both faces."""

    @property
    def next_id(self) -> int:
        """The id of the next change."""
        ...

    def get(self, key: K, default: D | None = None) -> V | D | None:
        """Return the value of a key; `default` if there is none."""
        ...

    def __getitem__(self, key: K) -> V: ...

    def __contains__(self, key: K) -> bool: ...

    def __len__(self) -> int: ...

    def keys(self) -> Iterable[K]:
        """Return the keys of this moment."""
        ...

    def values(self) -> Iterable[V]:
        """Return the values of this moment."""
        ...

    def items(self) -> Iterable[tuple[K, V]]:
        """Return the entries of this moment."""
        ...

    def snapshot(self) -> Snapshot[K, V]:
        """Return all entries of this moment, which nobody changes."""
        ...

    def unknown(self) -> tuple[UnknownEntry, ...]:
        """Return what means nothing to this program; the store keeps it."""
        ...

    def stats(self) -> MetaStats:
        """Return its figures."""
        ...


class MetaStoreAPI(_Reads[K, V], Protocol[K, V]):
    """What threads do with a store of metadata."""

    def set(self, key: K, value: V) -> int:
        """Give a key a value, and return the id of the change, when it is durable."""
        ...

    def add(self, key: K, value: V) -> int:
        """Give a new key a value, and return the id, when it is durable."""
        ...

    def delete(self, key: K) -> bool:
        """Remove a key; tell whether it was there, when that is durable."""
        ...

    def update(
        self,
        values: Mapping[K, V] | Iterable[tuple[K, V]] = (),
        *,
        delete: Iterable[K] = (),
    ) -> int:
        """Set and remove keys, all or none, and return the next id, when durable."""
        ...

    def forget(self, key: bytes) -> bool:
        """Remove an unknown entry by the bytes of its key."""
        ...

    def watch(
        self,
        key: K | None = None,
        *,
        prefix: K | None = None,
        start: int | None = None,
        timeout: float | None = None,
    ) -> Iterator[Change[K, V]]:
        """Wait for changes, and return them in their order."""
        ...

    def compact(self) -> CompactReport:
        """Store the state, and remove the history that it stands for."""
        ...

    def close(self) -> None:
        """End, and let others open the store."""
        ...

    def __iter__(self) -> Iterator[K]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class AsyncMetaStoreAPI(_Reads[K, V], Protocol[K, V]):
    """What tasks do with a store of metadata."""

    async def set(self, key: K, value: V) -> int:
        """Give a key a value, and return the id of the change, when it is durable."""
        ...

    async def add(self, key: K, value: V) -> int:
        """Give a new key a value, and return the id, when it is durable."""
        ...

    async def delete(self, key: K) -> bool:
        """Remove a key; tell whether it was there, when that is durable."""
        ...

    async def update(
        self,
        values: Mapping[K, V] | Iterable[tuple[K, V]] = (),
        *,
        delete: Iterable[K] = (),
    ) -> int:
        """Set and remove keys, all or none, and return the next id, when durable."""
        ...

    async def forget(self, key: bytes) -> bool:
        """Remove an unknown entry by the bytes of its key."""
        ...

    def watch(
        self,
        key: K | None = None,
        *,
        prefix: K | None = None,
        start: int | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[Change[K, V], None]:
        """Wait for changes, and return them in their order."""
        ...

    async def compact(self) -> CompactReport:
        """Store the state, and remove the history that it stands for."""
        ...

    async def close(self) -> None:
        """End, and let others open the store."""
        ...

    def __aiter__(self) -> AsyncIterator[K]: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
