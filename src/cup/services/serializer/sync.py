"""Logs for threads; their twins for tasks are in `aio`.

Not here: how they work (`_core`), what files look like (`_core_format`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, overload

from cup._core.clock import check_timeout
from cup._core.running import guard_blocking
from cup._core.wait import block
from cup.errors import WaitTimeout

from ._core import LogCore
from ._core_settings import (
    MAX_RECORD,
    SEGMENT_BYTES,
    Folder,
    OnTorn,
    Settings,
    check_codec,
    durability_of,
    folder_of,
)
from ._core_tide import NewsAsk
from .api import SYNC, Durability, Entry, Mode
from .codecs import BYTES
from .sync_reader import LogReader
from .sync_ticket import Ticket
from .sync_upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cup._core.disk import Disk

    from ._core_checksum import ChecksumName
    from ._core_cursor import Cursor
    from ._core_format import Piece
    from .aio import AsyncLog
    from .api import (
        Codec,
        Record,
    )

__all__ = ["Log", "LogReader", "Ticket"]

T = TypeVar("T")
V = TypeVar("V")
_APPEND = ("Log.append()", "AsyncLog.append()")


class Log(Upkeep[T]):
    """An append-only log on disk that can be trusted, for threads.

    Use `Log.open`. What `append` has returned for survives a crash of the process and
    of the machine. Threads and tasks that append at the same time share syncs. A tail
    that a crash has torn is cut off when the log is opened; damage anywhere else is an
    error. One log at a time writes to a directory; any number of processes read it.

    All methods are thread-safe. A forked child cannot use the log of its parent. A log
    that is not closed is closed when the interpreter ends.
    """

    __slots__ = ()

    @overload
    @classmethod
    def open(
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
    ) -> Log[bytes]: ...

    @overload
    @classmethod
    def open(
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
    ) -> Log[V]: ...

    @classmethod
    def open(
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
    ) -> Log[V] | Log[bytes]:
        """Open a log for writing; make it if there is none.

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
        if codec is None:
            return Log(LogCore(folder_of(directory), settings, BYTES.name), BYTES)
        name = check_codec(codec).name
        return Log(LogCore(folder_of(directory), settings, name), codec)

    @property
    def aio(self) -> AsyncLog[T]:
        """The face of this very log for tasks."""
        from .aio import AsyncLog  # noqa: PLC0415 - loads event loops

        return AsyncLog(self._core, self._codec)

    def append(
        self,
        payload: T,
        *,
        type: int = 0,  # noqa: A002 - the word for it
        mode: int = Mode.ADD,
        durability: Durability | None = None,
    ) -> int:
        """Append one record and return its id, when it is durable.

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
        piece = core.piece(self._codec.encode(payload), type, mode)
        return self._put([piece], durability, atomic=False)

    def append_many(
        self,
        payloads: Iterable[T],
        *,
        type: int = 0,  # noqa: A002 - the word for it
        mode: int = Mode.ADD,
        durability: Durability | None = None,
    ) -> range:
        """Append records, all or none of them, and return their ids.

        After a crash, all of them are there, or none. They share one sync.

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
        first = self._put(pieces, durability, atomic=True)
        return range(first, first + len(pieces))

    def append_entries(
        self, entries: Iterable[Entry[T]], *, durability: Durability | None = None
    ) -> range:
        """Append records of several types and modes, all or none of them.

        As `append_many`.

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
        first = self._put(pieces, durability, atomic=True)
        return range(first, first + len(pieces))

    def _put(
        self, pieces: list[Piece], durability: Durability | None, *, atomic: bool
    ) -> int:
        core = self._core
        core.check_process()
        how = durability_of(durability, core.settings.durability)
        if how.waits or not pieces:
            guard_blocking(*_APPEND)
            return core.append(pieces, how.max_delay, atomic=atomic)

        _, first = core.put(pieces, how.max_delay, atomic=atomic, watched=False)
        if core.committer.is_full():
            guard_blocking(*_APPEND)
            core.committer.flush()
        return first

    def submit(
        self,
        payload: T,
        *,
        type: int = 0,  # noqa: A002 - the word for it
        mode: int = Mode.ADD,
    ) -> Ticket:
        """Append one record without waiting for it.

        It is synced as soon as possible. If more waits to be written than a megabyte,
        this writes it.

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
        batch, number = core.put([piece], 0.0, atomic=False, watched=True)
        if core.committer.is_full():
            guard_blocking("Log.submit()", "AsyncLog.submit()")
            core.committer.flush()
        return Ticket(core, batch, number)

    def sync(self) -> int:
        """Wait until all that was appended is durable; return the next id.

        Raises:
            LogError: As `append`; also for buffered records that could not be written.
            ForkedProcess: If this is a forked child.
        """
        core = self._core
        core.check_process()
        guard_blocking("Log.sync()", "AsyncLog.sync()")
        return core.sync()

    def follow(
        self, start: int | None = None, *, timeout: float | None = None
    ) -> Iterator[Record[T]]:
        """Read from `start` on, and wait for what comes.

        The iteration ends when the log is closed and all is read.

        Args:
            start: The first record; None for the first there is.
            timeout: Seconds without a new record after which it ends, too; None for
                never.

        Raises:
            RecordGone: If `start` lies before the first record.
            CorruptRecord: If a record is damaged, while reading.
            OSError: If they cannot be read.
            InvalidType: If an argument has the wrong type.
            InvalidValue: If a number makes no sense.
        """
        return self._follow(self._core.cursor(start), check_timeout(timeout))

    def _follow(self, cursor: Cursor, timeout: float | None) -> Iterator[Record[T]]:
        core = self._core
        with cursor:
            while True:
                over = core.is_over()
                records = cursor.read(core.durable)
                yield from self._decode(records)
                if over and not records:
                    return

                if not records:
                    try:
                        block(NewsAsk(core.tide, core, cursor.next_id), timeout)
                    except WaitTimeout:
                        return

    def close(self) -> None:
        """Make durable what was appended, and let others write to the log.

        Twice does no harm.

        Raises:
            LogError: If records that nobody waited for could not be written.
        """
        self._core.close()
