"""The entries of a store of metadata at one moment, and how both faces read."""

from __future__ import annotations

from collections.abc import ItemsView, Mapping, ValuesView
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from typing_extensions import override

from cup.errors import NoSuchKey, UnreadableEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, KeysView

    from ._core_meta import MetaCore
    from .api_meta import MetaStats, UnknownEntry

__all__ = ["MetaReadable", "Snapshot"]

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")


class Snapshot(Mapping[K, V]):
    """All entries of one moment. Nothing changes it, and nothing waits for it.

    Changes that are written as one are there as one. While it is held, the first
    change after it costs a copy of the store's table. Values are decoded when they are
    asked for, anew each time: they are the caller's own. Thread-safe.

    Attributes:
        next_id: The id of the first change that is not in it: watching from there on
            misses nothing.
        schema: The version of what is stored.
    """

    __slots__ = ("_entries", "_key", "_lease", "_unread", "_value", "next_id", "schema")

    def __init__(self, core: MetaCore[K, V]) -> None:
        core.check()
        frozen, self._unread, self._lease = core.state.freeze()
        self._entries = frozen.entries
        self._key = core.key
        self._value = core.value
        self.next_id: int = frozen.next_id
        self.schema: int = frozen.header.schema

    @override
    def __getitem__(self, key: K) -> V:
        raw = self._key.encode(key)
        content = self._entries.get(raw)
        if content is None:
            raise NoSuchKey(f"there is no key {key!r}")
        if raw in self._unread:
            raise UnreadableEntry(
                f"what is stored under {key!r} means nothing: {self._unread[raw]}"
            )
        return self._value.decode(content)

    @override
    def __contains__(self, key: object) -> bool:
        try:
            raw = self._key.encode(cast("K", key))
        except (TypeError, ValueError):
            return False  # what cannot be a key is none
        return raw in self._entries and raw not in self._unread

    @override
    def __iter__(self) -> Iterator[K]:
        unread, decode = self._unread, self._key.decode
        for raw in self._entries:
            if raw not in unread:
                yield decode(raw)

    @override
    def __len__(self) -> int:
        return len(self._entries) - len(self._unread)

    @override
    def items(self) -> ItemsView[K, V]:
        """Return the entries."""
        return _Items(self)

    @override
    def values(self) -> ValuesView[V]:
        """Return the values."""
        return _Values(self)

    def decoded(self) -> Iterator[tuple[K, V]]:
        """Return the entries one by one, each decoded when it is its turn."""
        unread, key, value = self._unread, self._key.decode, self._value.decode
        for raw, content in self._entries.items():
            if raw not in unread:
                yield key(raw), value(content)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} entries before {self.next_id}>"


class _Items(ItemsView[K, V]):
    """Entries, without a look-up for each."""

    __slots__ = ()

    _mapping: Snapshot[K, V]

    @override
    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping.decoded()


class _Values(ValuesView[V]):
    """Values, without a look-up for each."""

    __slots__ = ()

    _mapping: Snapshot[object, V]

    @override
    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._mapping.decoded())


class MetaReadable(Generic[K, V]):
    """What both faces of a store read; it looks into memory, and never waits."""

    __slots__ = ("_core",)

    def __init__(self, core: MetaCore[K, V]) -> None:
        self._core: MetaCore[K, V] = core

    @property
    def next_id(self) -> int:
        """The id of the next change."""
        return self._core.state.next_id

    def get(self, key: K, default: D | None = None) -> V | D | None:
        """Return the value of a key; `default` if there is none.

        Args:
            key: The key.
            default: What to return if there is no such key.

        Raises:
            UnreadableEntry: If what is stored means nothing to this program.
            LogClosed: If the store is closed.
            ForkedProcess: If this is a forked child.
        """
        content = self._core.look(key)
        return default if content is None else self._core.value.decode(content)

    def __getitem__(self, key: K) -> V:
        return self._core.value.decode(self._core.require(key))

    def __contains__(self, key: K) -> bool:
        core = self._core
        core.check()
        return core.state.is_read(core.key.encode(key))

    def __len__(self) -> int:
        self._core.check()
        return self._core.state.count()

    def snapshot(self) -> Snapshot[K, V]:
        """Return all entries of this moment, which nobody changes.

        Raises:
            LogClosed: If the store is closed.
            ForkedProcess: If this is a forked child.
        """
        return Snapshot(self._core)

    def keys(self) -> KeysView[K]:
        """Return the keys of this moment.

        Raises:
            LogClosed: If the store is closed.
            ForkedProcess: If this is a forked child.
        """
        return Snapshot(self._core).keys()

    def values(self) -> ValuesView[V]:
        """Return the values of this moment.

        Raises:
            LogClosed: If the store is closed.
            ForkedProcess: If this is a forked child.
        """
        return Snapshot(self._core).values()

    def items(self) -> ItemsView[K, V]:
        """Return the entries of this moment.

        Raises:
            LogClosed: If the store is closed.
            ForkedProcess: If this is a forked child.
        """
        return Snapshot(self._core).items()

    def unknown(self) -> tuple[UnknownEntry, ...]:
        """Return what means nothing to this program; the store keeps it.

        Entries that the codecs cannot read, entries that a migration could not make
        sense of, and records of kinds that only a later version knows.

        Raises:
            LogClosed: If the store is closed.
            ForkedProcess: If this is a forked child.
        """
        return self._core.unknown()

    def stats(self) -> MetaStats:
        """Return its figures."""
        return self._core.stats()

    def __reduce__(self) -> str:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled: its files are open in this "
            "process; pickle its snapshot()"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._core.describe()}>"
