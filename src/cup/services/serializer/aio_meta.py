"""Stores of metadata for tasks; their twins for threads are in `sync_meta`.

Reading looks into memory: it is not awaited. What tasks change is written by the log's
own thread, with one wake-up of the loop per group.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, overload

from cup._core.loops import ablock, current_loop
from cup.errors import KeyExists, WaitTimeout

from ._core_meta import MetaCore
from ._core_meta_settings import MetaSettings, check_schema
from ._core_meta_watch import Watching
from ._core_settings import Folder, check_codec, folder_of
from .aio_append import append_one, append_pieces, open_when_free
from .aio_base import in_thread
from .api_values import group
from .codecs import JSON
from .meta_snapshot import MetaReadable, Snapshot
from .text_codec import TEXT

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Callable,
        Iterable,
        Mapping,
    )
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from ._core_format import Piece
    from ._core_settings import Settings
    from .api_meta import (
        AsyncMetaStoreAPI,
        Change,
        CompactReport,
        MetaOptions,
        StoredEntry,
    )
    from .api_values import Codec
    from .codecs import JsonValue
    from .sync_meta import MetaStore

__all__ = ["AsyncMetaStore"]

K = TypeVar("K")
V = TypeVar("V")
# Those of a store that is opened: the class itself has none yet.
NewK = TypeVar("NewK")
NewV = TypeVar("NewV")


class AsyncMetaStore(MetaReadable[K, V]):
    """Keys and values on disk, all of them in memory, for tasks.

    Twin of `MetaStore`: use `await AsyncMetaStore.open`. Threads and tasks of several
    loops may use one store at the same time: `store.sync` is the face of this very
    store for threads.

    A task that is cancelled while it changes something stops waiting; the change may
    become durable nevertheless.
    """

    __slots__ = ()

    @overload
    @classmethod
    async def open(
        cls,
        directory: Folder,
        *,
        key: Codec[NewK],
        value: Codec[NewV],
        schema: int = ...,
        migrate: Callable[[StoredEntry], tuple[NewK, NewV] | None] | None = ...,
        **options: Unpack[MetaOptions],
    ) -> AsyncMetaStore[NewK, NewV]: ...

    @overload
    @classmethod
    async def open(
        cls,
        directory: Folder,
        *,
        value: Codec[NewV],
        schema: int = ...,
        migrate: Callable[[StoredEntry], tuple[str, NewV] | None] | None = ...,
        **options: Unpack[MetaOptions],
    ) -> AsyncMetaStore[str, NewV]: ...

    @overload
    @classmethod
    async def open(
        cls,
        directory: Folder,
        *,
        key: Codec[NewK],
        schema: int = ...,
        migrate: Callable[[StoredEntry], tuple[NewK, JsonValue] | None] | None = ...,
        **options: Unpack[MetaOptions],
    ) -> AsyncMetaStore[NewK, JsonValue]: ...

    @overload
    @classmethod
    async def open(
        cls,
        directory: Folder,
        *,
        schema: int = ...,
        migrate: Callable[[StoredEntry], tuple[str, JsonValue] | None] | None = ...,
        **options: Unpack[MetaOptions],
    ) -> AsyncMetaStore[str, JsonValue]: ...

    @classmethod
    async def open(
        cls,
        directory: Folder,
        *,
        key: Codec[Any] | None = None,
        value: Codec[Any] | None = None,
        schema: int = 1,
        migrate: Callable[[StoredEntry], tuple[Any, Any] | None] | None = None,
        **options: Unpack[MetaOptions],
    ) -> AsyncMetaStore[Any, Any]:
        """Open a store; make it if there is none.

        Twin of `MetaStore.open`. `migrate` runs in a worker thread. A task that is
        cancelled meanwhile leaves no store open.

        Args:
            directory: Where it is. It belongs to the store alone.
            key: What makes bytes of keys; None for text.
            value: The same of values; None for JSON.
            schema: The version of what the program stores, from 1 on.
            migrate: What makes new entries of those of an older version.
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
        place, version = folder_of(directory), check_schema(schema)

        def make(log: Settings) -> MetaCore[Any, Any]:
            chosen = replace(settings, log=log)
            return MetaCore(
                place, chosen, key=keys, value=values, schema=version, migrate=migrate
            )

        return AsyncMetaStore(await open_when_free(make, settings.log))

    @property
    def sync(self) -> MetaStore[K, V]:
        """The face of this very store for threads."""
        from .sync_meta import MetaStore  # noqa: PLC0415 - the twins know each other

        return MetaStore(self._core)

    async def set(self, key: K, value: V) -> int:
        """Give a key a value, and return the id of the change, when it is durable.

        Twin of `MetaStore.set`. A change whose task is cancelled may become durable.

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
        self._core.log.check_process()
        return await self._write_one(self._core.setting(key, value))

    async def add(self, key: K, value: V) -> int:
        """Give a new key a value, and return the id, when it is durable.

        Twin of `MetaStore.add`.

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
        core.refuse_known(key)
        change = core.adding(key, value)
        number = await self._write_one(change)
        if change.met:
            raise KeyExists(core.known_already(key))
        return number

    async def delete(self, key: K) -> bool:
        """Remove a key; tell whether it was there, when that is durable.

        Twin of `MetaStore.delete`.

        Args:
            key: The key.

        Raises:
            LogError: As `set`.
            InvalidType: If an argument has the wrong type.
            ForkedProcess: If this is a forked child.
        """
        core = self._core
        if not core.has(key):
            await current_loop().immediate()
            return False

        change = core.deleting(key)
        await self._write_one(change)
        return bool(change.met)

    async def update(
        self,
        values: Mapping[K, V] | Iterable[tuple[K, V]] = (),
        *,
        delete: Iterable[K] = (),
    ) -> int:
        """Set and remove keys, all or none, and return the next id, when durable.

        Twin of `MetaStore.update`.

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
        pieces = core.updating(values, delete)
        return await self._write(pieces) + len(pieces)

    async def forget(self, key: bytes) -> bool:
        """Remove an unknown entry by the bytes of its key.

        Twin of `MetaStore.forget`.

        Args:
            key: The bytes, as `unknown` reports them.

        Returns:
            Whether there was such an entry.

        Raises:
            LogError: As `set`.
            ForkedProcess: If this is a forked child.
        """
        pieces = self._core.forgetting(key)
        if pieces:
            await self._write(pieces)
        else:
            await current_loop().immediate()
        return bool(pieces)

    async def _write_one(self, piece: Piece) -> int:
        core = self._core
        number = await append_one(core.log, piece, group(core.delay))
        core.wrote()
        return number

    async def _write(self, pieces: list[Piece]) -> int:
        core = self._core
        first = await append_pieces(core.log, pieces, group(core.delay))
        core.wrote()
        return first

    def watch(
        self,
        key: K | None = None,
        *,
        prefix: K | None = None,
        start: int | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[Change[K, V], None]:
        """Wait for changes, and return them in their order.

        Twin of `MetaStore.watch`. Who leaves early uses `contextlib.aclosing`.

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
        return self._watch(Watching(self._core, key, prefix, start, timeout))

    async def _watch(
        self, watching: Watching[K, V]
    ) -> AsyncGenerator[Change[K, V], None]:
        log = self._core.log
        with await in_thread(lambda: log.cursor(watching.start)) as cursor:
            while True:
                over = watching.is_over()
                records = await in_thread(lambda: watching.read(cursor))
                for change in watching.changes(records):
                    yield change
                if records:
                    continue

                if over:
                    return

                try:
                    await ablock(watching.news(cursor), watching.patience())
                except WaitTimeout:
                    return

    async def compact(self) -> CompactReport:
        """Store the state, and remove the history that it stands for.

        Twin of `MetaStore.compact`. It runs in a worker thread.

        Raises:
            LogError: If that cannot be written, or the store is closed or poisoned.
            ForkedProcess: If this is a forked child.
        """
        return await in_thread(self._core.compact)

    async def close(self) -> None:
        """End, and let others open the store.

        Twin of `MetaStore.close`. A cancelled task waits for it all the same.
        """
        await in_thread(self._core.close, surely=True)

    async def __aiter__(self) -> AsyncIterator[K]:
        loop = current_loop()
        for key in Snapshot(self._core):
            await loop.immediate()
            yield key

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


if TYPE_CHECKING:
    from typing import cast

    _proof: AsyncMetaStoreAPI[str, bytes] = cast("AsyncMetaStore[str, bytes]", None)
