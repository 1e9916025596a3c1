"""Logs for tasks; their twins for threads are in `sync`.

No call blocks the loop: what tasks append is written by the log's own thread, with one
wake-up of the loop per group; what needs the disk else runs in a worker thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, overload

from cup._core.clock import check_timeout
from cup._core.loops import current_loop

from ._core import LogCore
from ._core_settings import (
    MAX_RECORD,
    SEGMENT_BYTES,
    Folder,
    OnTorn,
    Settings,
    check_codec,
    check_id,
    durability_of,
    folder_of,
)
from .aio_append import append_one, append_pieces, drain, open_when_free
from .aio_checks import repair, verify
from .aio_reader import AsyncLogReader
from .aio_records import FollowLog, in_thread
from .aio_ticket import AsyncTicket
from .aio_upkeep import AsyncUpkeep
from .api import SYNC, Durability, Entry, Mode
from .codecs import BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from cup._core.disk import Disk

    from ._core_checksum import ChecksumName
    from ._core_format import Piece
    from .api import (
        Codec,
        Record,
    )
    from .sync import Log

__all__ = ["AsyncLog", "AsyncLogReader", "AsyncTicket", "repair", "verify"]

T = TypeVar("T")
V = TypeVar("V")


class AsyncLog(AsyncUpkeep[T]):
    """An append-only log on disk that can be trusted, for tasks.

    Twin of `Log`: use `await AsyncLog.open`. Threads and tasks of several loops may use
    one log at the same time: `alog.threads` is the face of this very log for threads.

    A task that is cancelled while it appends stops waiting; its record may become
    durable nevertheless.
    """

    __slots__ = ()

    @overload
    @classmethod
    async def open(
        cls,
        directory: Folder,
        *,
        segment_bytes: int = ...,
        max_record: int = ...,
        durability: Durability = ...,
        checksum: ChecksumName = ...,
        on_torn: OnTorn = ...,
        preallocate: bool = ...,
        lock_timeout: float | None = ...,
        disk: Disk | None = ...,
    ) -> AsyncLog[bytes]: ...

    @overload
    @classmethod
    async def open(
        cls,
        directory: Folder,
        *,
        codec: Codec[V],
        segment_bytes: int = ...,
        max_record: int = ...,
        durability: Durability = ...,
        checksum: ChecksumName = ...,
        on_torn: OnTorn = ...,
        preallocate: bool = ...,
        lock_timeout: float | None = ...,
        disk: Disk | None = ...,
    ) -> AsyncLog[V]: ...

    @classmethod
    async def open(
        cls,
        directory: Folder,
        *,
        codec: Codec[V] | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        max_record: int = MAX_RECORD,
        durability: Durability = SYNC,
        checksum: ChecksumName = "auto",
        on_torn: OnTorn = "cut",
        preallocate: bool = True,
        lock_timeout: float | None = 0,
        disk: Disk | None = None,
    ) -> AsyncLog[V] | AsyncLog[bytes]:
        """Open a log for writing; make it if there is none.

        Twin of `Log.open`. A task that is cancelled meanwhile leaves no log open.

        Args:
            directory: Where it is. It belongs to the log alone.
            codec: What makes bytes of payloads; None for payloads that are bytes.
            segment_bytes: The size of its files. A record or batch that is larger has
                a file of its own.
            max_record: The largest record, in bytes.
            durability: That of an append which says nothing else.
            checksum: "crc32", "crc32c", or "auto" for the latter where the package
                `crc32c` is installed.
            on_torn: "cut" cuts off a tail that a crash has torn; "error" refuses and
                leaves it as it is.
            preallocate: Whether files get room ahead, which makes syncs cheaper.
            lock_timeout: Seconds to wait for another writer to end; None for ever.
            disk: Where the directory is, for tests; None for the real disk.

        Raises:
            LogLocked: If another log writes to it.
            CorruptRecord: If something that was durable is damaged or gone.
            TornTail: If its tail is torn, and `on_torn` is "error".
            UnsupportedFormat: If a later version wrote it, or one with another codec.
            OSError: If the disk fails.
            InvalidType: If an argument has the wrong type.
            InvalidValue: If a value makes no sense.
        """
        settings = Settings.of(
            segment_bytes=segment_bytes,
            max_record=max_record,
            durability=durability,
            checksum=checksum,
            on_torn=on_torn,
            preallocate=preallocate,
            lock_timeout=lock_timeout,
            disk=disk,
        )
        folder = folder_of(directory)
        if codec is None:
            return AsyncLog(await _open(folder, settings, BYTES.name), BYTES)
        name = check_codec(codec).name
        return AsyncLog(await _open(folder, settings, name), codec)

    @property
    def threads(self) -> Log[T]:
        """The face of this very log for threads."""
        from .sync import Log  # noqa: PLC0415 - the twins know each other

        return Log(self._core, self._codec)

    async def append(
        self,
        payload: T,
        *,
        type: int = 0,  # noqa: A002 - the word for it
        mode: int = Mode.ADD,
        durability: Durability | None = None,
    ) -> int:
        """Append one record and return its id, when it is durable.

        Twin of `Log.append`. A record whose task is cancelled may become durable.

        Args:
            payload: What to append.
            type: A number from 0 to 65535 that is stored with it.
            mode: A number from 0 to 255 that is stored with it.
            durability: `SYNC`, `group(seconds)` or `BUFFERED`; None for that of the
                log.

        Returns:
            The id that the record is read back with.

        Raises:
            WriteFailed: If it could not be written, for lack of room perhaps. Nothing
                of it is stored, and the log goes on.
            LogPoisoned: If the disk did not confirm it: nobody knows, and the log
                accepts nothing any more.
            LogClosed: If the log is closed.
            RecordTooLarge: If it is larger than `max_record`.
            InvalidType: If an argument has the wrong type.
            InvalidValue: If `type` or `mode` is out of range.
            ForkedProcess: If this is a forked child.
        """
        core = self._core
        core.check_process()
        piece = core.piece(self._codec.encode(payload), type, mode)
        return await append_one(
            core, piece, durability_of(durability, core.settings.durability)
        )

    async def append_many(
        self,
        payloads: Iterable[T],
        *,
        type: int = 0,  # noqa: A002 - the word for it
        mode: int = Mode.ADD,
        durability: Durability | None = None,
    ) -> range:
        """Append records, all or none of them, and return their ids.

        Twin of `Log.append_many`.

        Args:
            payloads: What to append.
            type: As in `append`, for all of them.
            mode: The same.
            durability: The same.

        Raises:
            LogError: As `append`.
            InvalidType: If an argument has the wrong type.
            InvalidValue: If `type` or `mode` is out of range.
        """
        pieces = self._core.pieces(self._encode_all(payloads), type, mode)
        return await self._put(pieces, durability)

    async def append_entries(
        self, entries: Iterable[Entry[T]], *, durability: Durability | None = None
    ) -> range:
        """Append records of several types and modes, all or none of them.

        Twin of `Log.append_entries`.

        Args:
            entries: What to append.
            durability: As in `append`.

        Raises:
            LogError: As `append`.
            InvalidType: If an argument has the wrong type.
            InvalidValue: If a type or a mode is out of range.
        """
        encode, piece = self._codec.encode, self._core.piece
        pieces = [piece(encode(value), kind, mode) for value, kind, mode in entries]
        return await self._put(pieces, durability)

    async def _put(self, pieces: list[Piece], durability: Durability | None) -> range:
        core = self._core
        core.check_process()
        how = durability_of(durability, core.settings.durability)
        first = await append_pieces(core, pieces, how)
        return range(first, first + len(pieces))

    async def submit(
        self,
        payload: T,
        *,
        type: int = 0,  # noqa: A002 - the word for it
        mode: int = Mode.ADD,
    ) -> AsyncTicket:
        """Append one record without waiting for it.

        Twin of `Log.submit`. If more waits to be written than a megabyte, this waits
        for it.

        Args:
            payload: What to append.
            type: As in `append`.
            mode: The same.

        Returns:
            What tells when it is durable, and its id.

        Raises:
            LogError: As `append`.
            InvalidType: If an argument has the wrong type.
            InvalidValue: If `type` or `mode` is out of range.
        """
        core = self._core
        core.check_process()
        piece = core.piece(self._codec.encode(payload), type, mode)
        await current_loop().immediate()
        batch, number = core.put([piece], 0.0, atomic=False, watched=True)
        if core.committer.is_full():
            await drain(core)
        return AsyncTicket(core, batch, number)

    async def sync(self) -> int:
        """Wait until all that was appended is durable; return the next id.

        Twin of `Log.sync`.

        Raises:
            LogError: As `append`; also for buffered records that could not be written.
            ForkedProcess: If this is a forked child.
        """
        core = self._core
        core.check_process()
        core.committer.check()
        await current_loop().immediate()
        if core.committer.next_id > core.durable:
            await drain(core)
        return core.durable

    def follow(
        self, start: int | None = None, *, timeout: float | None = None
    ) -> AsyncIterator[Record[T]]:
        """Read from `start` on, and wait for what comes.

        Twin of `Log.follow`. Files are read by a worker thread; waiting takes none.

        Args:
            start: The first record; None for the first there is.
            timeout: Seconds without a new record after which it ends, too; None for
                never.

        Raises:
            RecordGone: If `start` lies before the first record, while reading.
            CorruptRecord: If a record is damaged, while reading.
            OSError: If they cannot be read.
            InvalidType: If an argument has the wrong type.
            InvalidValue: If a number makes no sense.
        """
        if start is not None:
            check_id("start", start)
        return FollowLog(self._core, start, check_timeout(timeout), self._decode)

    async def close(self) -> None:
        """Make durable what was appended, and let others write to the log.

        Twin of `Log.close`. A cancelled task waits for it all the same.

        Raises:
            LogError: If records that nobody waited for could not be written.
        """
        await in_thread(self._core.close, surely=True)


async def _open(folder: str, settings: Settings, codec: str) -> LogCore:
    return await open_when_free(lambda log: LogCore(folder, log, codec), settings)
