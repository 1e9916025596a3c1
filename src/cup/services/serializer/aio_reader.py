"""Reading a log that another process may be writing, for tasks.

Its twin for threads is in `sync_reader`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, overload

from cup._core.clock import check_timeout
from cup._core.disk import OS_DISK

from ._core_reading import ReaderCore
from ._core_settings import MAX_RECORD, Folder, check_codec, check_id, folder_of
from .aio_base import AsyncReadable
from .aio_records import FollowReader, in_thread
from .codecs import BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cup._core.disk import Disk

    from .api import Codec, Record
    from .sync_reader import LogReader

__all__ = ["AsyncLogReader"]

T = TypeVar("T")
V = TypeVar("V")


class AsyncLogReader(AsyncReadable[T, ReaderCore]):
    """Reads a log that another process may be writing, for tasks.

    Twin of `LogReader`: use `await AsyncLogReader.open`.
    """

    __slots__ = ()

    @overload
    @classmethod
    async def open(
        cls, directory: Folder, *, max_record: int = ..., disk: Disk | None = ...
    ) -> AsyncLogReader[bytes]: ...

    @overload
    @classmethod
    async def open(
        cls,
        directory: Folder,
        *,
        codec: Codec[V],
        max_record: int = ...,
        disk: Disk | None = ...,
    ) -> AsyncLogReader[V]: ...

    @classmethod
    async def open(
        cls,
        directory: Folder,
        *,
        codec: Codec[V] | None = None,
        max_record: int = MAX_RECORD,
        disk: Disk | None = None,
    ) -> AsyncLogReader[V] | AsyncLogReader[bytes]:
        """Open a log for reading.

        Twin of `LogReader.open`.

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
        name = BYTES.name if codec is None else check_codec(codec).name
        core = await in_thread(lambda: ReaderCore(folder, place, max_record, name))
        if codec is None:
            return AsyncLogReader(core, BYTES)
        return AsyncLogReader(core, codec)

    @property
    def threads(self) -> LogReader[T]:
        """The face of this very reader for threads."""
        from .sync_reader import LogReader  # noqa: PLC0415 - the twins know each other

        return LogReader(self._core, self._codec)

    def follow(
        self, start: int | None = None, *, timeout: float | None = None
    ) -> AsyncIterator[Record[T]]:
        """Read from `start` on, and wait for what comes.

        Twin of `LogReader.follow`.

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
        self._core.check()
        return FollowReader(self._core, start, check_timeout(timeout), self._decode)

    async def close(self) -> None:
        """Close its files; who follows the log ends. Twice does no harm."""
        self._core.close()
