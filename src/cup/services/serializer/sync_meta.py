"""Stores of metadata for threads; their twins for tasks are in `aio_meta`.

Not here: how they work (`_core_meta`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from cup._core.running import guard_blocking
from cup._core.wait import block
from cup.errors import KeyExists, WaitTimeout

from ._core_meta import MetaCore
from ._core_meta_settings import MetaSettings, check_schema
from ._core_meta_watch import Watching
from ._core_settings import Folder, check_codec, folder_of
from .codecs import JSON
from .meta_snapshot import MetaReadable, Snapshot
from .text_codec import TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from ._core_cursor import Cursor
    from .aio_meta import AsyncMetaStore
    from .api_meta import (
        Change,
        CompactReport,
        MetaOptions,
        MetaStoreAPI,
        StoredEntry,
    )
    from .api_values import Codec
    from .codecs import JsonValue

__all__ = ["MetaStore"]

K = TypeVar("K")
V = TypeVar("V")
# Those of a store that is opened: the class itself has none yet.
NewK = TypeVar("NewK")
NewV = TypeVar("NewV")


class MetaStore(MetaReadable[K, V]):
    """Keys and values on disk, all of them in memory, for threads.

    Use `MetaStore.open`. A change is durable when its call returns: it survives a crash
    of the process and of the machine, at any moment. Threads and tasks that change
    something at the same time share syncs. What is read is durable. The files stay
    about as large as the state, however long its history, and so does the time to open
    it.

    All methods are thread-safe. One store at a time is open on a directory. A forked
    child cannot use the store of its parent.
    """

    __slots__ = ()

    @overload
    @classmethod
    def open(
        cls,
        directory: Folder,
        *,
        key: Codec[NewK],
        value: Codec[NewV],
        schema: int = ...,
        migrate: Callable[[StoredEntry], tuple[NewK, NewV] | None] | None = ...,
        **options: Unpack[MetaOptions],
    ) -> MetaStore[NewK, NewV]: ...

    @overload
    @classmethod
    def open(
        cls,
        directory: Folder,
        *,
        value: Codec[NewV],
        schema: int = ...,
        migrate: Callable[[StoredEntry], tuple[str, NewV] | None] | None = ...,
        **options: Unpack[MetaOptions],
    ) -> MetaStore[str, NewV]: ...

    @overload
    @classmethod
    def open(
        cls,
        directory: Folder,
        *,
        key: Codec[NewK],
        schema: int = ...,
        migrate: Callable[[StoredEntry], tuple[NewK, JsonValue] | None] | None = ...,
        **options: Unpack[MetaOptions],
    ) -> MetaStore[NewK, JsonValue]: ...

    @overload
    @classmethod
    def open(
        cls,
        directory: Folder,
        *,
        schema: int = ...,
        migrate: Callable[[StoredEntry], tuple[str, JsonValue] | None] | None = ...,
        **options: Unpack[MetaOptions],
    ) -> MetaStore[str, JsonValue]: ...

    @classmethod
    def open(
        cls,
        directory: Folder,
        *,
        key: Codec[Any] | None = None,
        value: Codec[Any] | None = None,
        schema: int = 1,
        migrate: Callable[[StoredEntry], tuple[Any, Any] | None] | None = None,
        **options: Unpack[MetaOptions],
    ) -> MetaStore[Any, Any]:
        """Open a store; make it if there is none.

        Args:
            directory: Where it is. It belongs to the store alone.
            key: What makes bytes of keys; None for text. Keys are the same if their
                bytes are.
            value: What makes bytes of values; None for JSON.
            schema: The version of what the program stores, from 1 on.
            migrate: What makes the new key and value of an entry that an older version
                has stored; None of it removes the entry. For an entry that it cannot
                make sense of, it raises `UnreadableEntry`: the entry is kept, and
                `unknown` reports it. Any other exception leaves all as it was.
            options: How it is kept, see `MetaOptions`.

        Raises:
            LogLocked: If another store is open there.
            UnsupportedFormat: If a later version wrote it, an older one and there is
                no `migrate`, or one with other codecs.
            CorruptRecord: If something that was durable is damaged or gone.
            OSError: If the disk fails.
            InvalidType: If an argument has the wrong type.
            InvalidValue: If a value makes no sense.
        """
        settings = MetaSettings.of(**options)
        keys = TEXT if key is None else check_codec(key)
        values = JSON if value is None else check_codec(value)
        guard_blocking("MetaStore.open()", "AsyncMetaStore.open()")
        return MetaStore(
            MetaCore(
                folder_of(directory),
                settings,
                key=keys,
                value=values,
                schema=check_schema(schema),
                migrate=migrate,
            )
        )

    @property
    def aio(self) -> AsyncMetaStore[K, V]:
        """The face of this very store for tasks."""
        from .aio_meta import AsyncMetaStore  # noqa: PLC0415 - loads event loops

        return AsyncMetaStore(self._core)

    def set(self, key: K, value: V) -> int:
        """Give a key a value, and return the id of the change, when it is durable.

        Args:
            key: The key; it need not be there.
            value: Its value from now on.

        Raises:
            WriteFailed: If it could not be written, for lack of room perhaps. Nothing
                has changed, and the store goes on.
            LogPoisoned: If the disk did not confirm it: nobody knows, and the store
                accepts nothing any more. Opening it anew finds out.
            LogClosed: If the store is closed.
            RecordTooLarge: If key and value are larger than `max_record`.
            InvalidType: If an argument has the wrong type.
            ForkedProcess: If this is a forked child.
        """
        core = self._core
        core.log.check_process()
        guard_blocking("MetaStore.set()", "AsyncMetaStore.set()")
        return core.write([core.setting(key, value)])

    def add(self, key: K, value: V) -> int:
        """Give a new key a value, and return the id, when it is durable.

        Of several threads and tasks that add one key, exactly one succeeds.

        Args:
            key: The key.
            value: Its value.

        Raises:
            KeyExists: If the key is there; nothing has changed.
            LogError: As `set`.
            InvalidType: If an argument has the wrong type.
            ForkedProcess: If this is a forked child.
        """
        core = self._core
        guard_blocking("MetaStore.add()", "AsyncMetaStore.add()")
        core.refuse_known(key)
        change = core.adding(key, value)
        number = core.write([change])
        if change.met:
            raise KeyExists(core.known_already(key))
        return number

    def delete(self, key: K) -> bool:
        """Remove a key; tell whether it was there, when that is durable.

        Args:
            key: The key.

        Raises:
            LogError: As `set`.
            InvalidType: If an argument has the wrong type.
            ForkedProcess: If this is a forked child.
        """
        core = self._core
        guard_blocking("MetaStore.delete()", "AsyncMetaStore.delete()")
        if not core.has(key):
            return False

        change = core.deleting(key)
        core.write([change])
        return bool(change.met)

    def update(
        self,
        values: Mapping[K, V] | Iterable[tuple[K, V]] = (),
        *,
        delete: Iterable[K] = (),
    ) -> int:
        """Set and remove keys, all or none, and return the next id, when durable.

        After a crash, all of the changes are there, or none; and no snapshot has some
        of them only.

        Args:
            values: New values of keys.
            delete: Keys to remove then; they need not be there.

        Returns:
            The id behind the last of the changes.

        Raises:
            LogError: As `set`.
            InvalidType: If an argument has the wrong type.
            ForkedProcess: If this is a forked child.
        """
        core = self._core
        core.check()
        guard_blocking("MetaStore.update()", "AsyncMetaStore.update()")
        pieces = core.updating(values, delete)
        return core.write(pieces) + len(pieces)

    def forget(self, key: bytes) -> bool:
        """Remove an unknown entry by the bytes of its key.

        Args:
            key: The bytes, as `unknown` reports them.

        Returns:
            Whether there was such an entry.

        Raises:
            LogError: As `set`.
            ForkedProcess: If this is a forked child.
        """
        core = self._core
        guard_blocking("MetaStore.forget()", "AsyncMetaStore.forget()")
        pieces = core.forgetting(key)
        if pieces:
            core.write(pieces)
        return bool(pieces)

    def watch(
        self,
        key: K | None = None,
        *,
        prefix: K | None = None,
        start: int | None = None,
        timeout: float | None = None,
    ) -> Iterator[Change[K, V]]:
        """Wait for changes, and return them in their order.

        Each durable change comes once, and when it comes, it can be read. To know a
        state and all that follows it, take a snapshot, and watch from its `next_id` on.
        The iteration ends when the store is closed.

        Args:
            key: The key to watch; None for all.
            prefix: What watched keys begin with, if they are text or bytes.
            start: The first change; None for the next one from now.
            timeout: Seconds without a change after which it ends; None for never.

        Raises:
            RecordGone: If `start` lies before what compaction has left, also while
                iterating, for who is too slow.
            UnreadableEntry: If a change means nothing to this program, while iterating.
            LogError: If changes cannot be read.
            InvalidType: If an argument has the wrong type.
            InvalidValue: If a value makes no sense.
        """
        watching = Watching(self._core, key, prefix, start, timeout)
        return self._watch(watching, self._core.log.cursor(watching.start))

    def _watch(
        self, watching: Watching[K, V], cursor: Cursor
    ) -> Iterator[Change[K, V]]:
        with cursor:
            while True:
                over = watching.is_over()
                records = watching.read(cursor)
                yield from watching.changes(records)
                if records:
                    continue

                if over:
                    return

                try:
                    block(watching.news(cursor), watching.patience())
                except WaitTimeout:
                    return

    def compact(self) -> CompactReport:
        """Store the state, and remove the history that it stands for.

        The store does so by itself (`Compaction`); nobody needs to. Others go on
        meanwhile. What the state before the last one needs is kept, in case the last
        one is damaged.

        Raises:
            LogError: If that cannot be written, or the store is closed or poisoned.
            ForkedProcess: If this is a forked child.
        """
        guard_blocking("MetaStore.compact()", "AsyncMetaStore.compact()")
        return self._core.compact()

    def close(self) -> None:
        """End, and let others open the store.

        A compaction that runs is waited for. Twice does no harm.
        """
        guard_blocking("MetaStore.close()", "AsyncMetaStore.close()")
        self._core.close()

    def __iter__(self) -> Iterator[K]:
        return iter(Snapshot(self._core))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


if TYPE_CHECKING:
    from typing import cast

    _proof: MetaStoreAPI[str, bytes] = cast("MetaStore[str, bytes]", None)
