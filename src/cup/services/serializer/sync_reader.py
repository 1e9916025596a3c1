"""Reading a log that another process may be writing, for threads.

Its twin for tasks is in `aio_reader`.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, TypeVar, overload

from cup._core.clock import check_timeout
from cup._core.disk import OS_DISK
from cup._core.pause import pause

from ._core_reading import ReaderCore, Watch
from ._core_settings import MAX_RECORD, Folder, check_codec, folder_of
from .codecs import BYTES
from .sync_base import Readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cup._core.disk import Disk

    from ._core_cursor import Cursor
    from .aio_reader import AsyncLogReader
    from .api import Codec, Record

__all__ = ["LogReader"]

T = TypeVar("T")
V = TypeVar("V")


class LogReader(Readable[T, ReaderCore]):
    """Reads a log that another process may be writing, for threads.

    Use `LogReader.open`. While somebody writes, it reads what is durable; of a log that
    nobody writes, all that is whole. It never changes anything. Not thread-safe, but
    for `close`: open one for each thread.
    """

    __slots__ = ()

    @overload
    @classmethod
    def open(
        cls, directory: Folder, *, max_record: int = ..., disk: Disk | None = ...
    ) -> LogReader[bytes]: ...

    @overload
    @classmethod
    def open(
        cls,
        directory: Folder,
        *,
        codec: Codec[V],
        max_record: int = ...,
        disk: Disk | None = ...,
    ) -> LogReader[V]: ...

    @classmethod
    def open(
        cls,
        directory: Folder,
        *,
        codec: Codec[V] | None = None,
        max_record: int = MAX_RECORD,
        disk: Disk | None = None,
    ) -> LogReader[V] | LogReader[bytes]:
        """Open a log for reading.

        Args:
            directory: Where it is.
            codec: What makes values of payloads; None for bytes as they are.
            max_record: The largest record, in bytes, that memory is spent on; a larger
                one is an error.
            disk: Where the directory is, for tests; None for the real disk.

        Raises:
            FileNotFoundError: If there is no such directory.
            CorruptRecord: If its files do not belong together.
            UnsupportedFormat: If a later version wrote it, or one with another codec.
            OSError: If it cannot be read.
        """
        folder, place = folder_of(directory), OS_DISK if disk is None else disk
        if codec is None:
            return LogReader(ReaderCore(folder, place, max_record, BYTES.name), BYTES)
        name = check_codec(codec).name
        return LogReader(ReaderCore(folder, place, max_record, name), codec)

    @property
    def aio(self) -> AsyncLogReader[T]:
        """The face of this very reader for tasks."""
        from .aio_reader import AsyncLogReader  # noqa: PLC0415 - loads event loops

        return AsyncLogReader(self._core, self._codec)

    def follow(
        self, start: int | None = None, *, timeout: float | None = None
    ) -> Iterator[Record[T]]:
        """Read from `start` on, and wait for what comes.

        It looks for new records every 1 to 16 milliseconds. The iteration ends when
        the reader is closed.

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
        core = self._core
        return self._follow(core.cursor(start), core.watch(), check_timeout(timeout))

    def _follow(
        self, cursor: Cursor, watch: Watch, timeout: float | None
    ) -> Iterator[Record[T]]:
        since = monotonic()
        with cursor, watch:
            while not self._core.closed:
                if watch.look() or cursor.next_id < watch.limit:
                    while records := cursor.read(watch.limit):
                        yield from self._decode(records)
                    since = monotonic()
                elif timeout is not None and monotonic() - since >= timeout:
                    return
                else:
                    pause(watch.interval, "LogReader.follow()", "AsyncLogReader")

    def close(self) -> None:
        """Close its files; who follows the log ends. Twice does no harm."""
        self._core.close()
