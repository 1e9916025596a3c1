"""The log under its older names, for tasks; twin of `seed`.

What needs the disk runs in a worker thread; `add_log` shares syncs with all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cup.errors import LogError, RecordTooLarge

from ._core_seed import LogRecord, SeedCore
from .aio_append import append_one
from .aio_records import in_thread
from .api import SYNC

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ._core_settings import Folder
    from .api import Finding, PurgeReport

__all__ = ["AsyncLocalFileSerilizer"]


class AsyncLocalFileSerilizer:
    """Records on disk, written by one object and read by any number of others.

    Twin of `LocalFileSerilizer`. Many tasks may call `add_log`; reading is for one task
    at a time.

    Args:
        storage_dir: A directory of its own.
        skip_badlog: Whether reading goes on past damage; `lost` says what that was.
        max_logfile_size: The bytes of one file, 4096 at least.
        persist_after_sec: Seconds after which a file is finished, and the next record
            begins another one. Records are durable at once in any case.

    Raises:
        InvalidType: If an argument has the wrong type.
    """

    __slots__ = ("_core",)

    def __init__(
        self,
        storage_dir: Folder,
        skip_badlog: bool = False,
        max_logfile_size: int = 1024 * 1024,
        persist_after_sec: float = 600,
    ) -> None:
        self._core: SeedCore = SeedCore(
            storage_dir,
            skip=skip_badlog,
            size=max_logfile_size,
            seconds=persist_after_sec,
        )

    @property
    def lost(self) -> tuple[Finding, ...]:
        """What reading has skipped, if it may: files, offsets and ids."""
        return self._core.lost()

    async def open4write(self, truncate_last_failure: bool = True) -> None:
        """Open it for writing; make it if there is none; twice does no harm.

        Args:
            truncate_last_failure: Whether a torn tail is cut off; if not, it is refused
                and left as it is.

        Raises:
            LogError: If somebody else writes to it, or it is damaged, or its tail is
                torn and must not be cut off.
            OSError: If the disk fails.
        """
        await in_thread(lambda: self._core.open_log(cut=truncate_last_failure))

    async def add_log(
        self, log_type: int, log_mode: int, log_binary: bytes
    ) -> tuple[bool, int | None]:
        """Append a record; return True and its id when it is durable.

        Args:
            log_type: A number from 0 to 65535.
            log_mode: `LOG_MOD_ADD`, `LOG_MOD_SET`, `LOG_MOD_DEL`, or another number
                from 0 to 255.
            log_binary: Its payload.

        Returns:
            `(True, id)`; the record is read back with this id. `(False, None)` if it
            could not be written, or is not open for writing.

        Raises:
            InvalidType: If an argument has the wrong type.
            InvalidValue: If a number is out of range.
            RecordTooLarge: If the payload is.
        """
        try:
            log, piece = self._core.prepare(log_type, log_mode, log_binary)
            if log.is_older(self._core.seconds):
                await in_thread(lambda: log.rotate_if_older(self._core.seconds))
            return True, await append_one(log, piece, SYNC)
        except RecordTooLarge:  # the caller's mistake
            raise
        except LogError:
            return False, None

    async def close_write(self) -> None:
        """Let others write; twice does no harm."""
        await in_thread(self._core.close_log, surely=True)

    async def open4read(self, start_logid: int = -1) -> bool:
        """Go to a record, for `read`.

        Args:
            start_logid: The record; -1 for the first there is. One that does not exist
                yet is waited for.

        Returns:
            False if there is no log.

        Raises:
            RecordGone: If it lies before the first one there is.
            InvalidType: If it is no int.
            InvalidValue: If it is lower than -1.
        """
        return await in_thread(lambda: self._core.start_reading(start_logid))

    async def read(self, record_num: int = 128) -> list[LogRecord]:
        """Return the next records, as many as there are, up to `record_num`.

        Args:
            record_num: How many at most.

        Returns:
            None at all if there are none yet.

        Raises:
            CorruptRecord: If one is damaged, and is not to be skipped.
            LogClosed: If `open4read` was not called, or said False.
            OSError: If files cannot be read.
            InvalidType: If `record_num` is no int.
        """
        return await in_thread(lambda: self._core.read(record_num))

    def close_read(self) -> None:
        """End reading; twice does no harm."""
        self._core.stop_reading()

    async def purge_data(self, before_logid: int) -> PurgeReport:
        """Remove files whose records all lie before an id.

        Args:
            before_logid: The first record that is still needed.

        Raises:
            LogError: If that is not possible, or somebody else writes to it.
            InvalidType: If the id is no int.
            InvalidValue: If it is negative.
        """
        return await in_thread(lambda: self._core.purge(before_logid))

    async def is_empty(self) -> bool:
        """Tell whether there is no record.

        Raises:
            OSError: If files cannot be read.
        """
        return await in_thread(self._core.is_empty)

    async def set_current_logid(self, logid: int) -> None:
        """Let the next record have a higher id; it must be open for writing.

        Args:
            logid: The id of the next record.

        Raises:
            LogError: If it is not open for writing, or that could not be written.
            InvalidType: If the id is no int.
            InvalidValue: If it was used already.
        """
        await in_thread(lambda: self._core.need_log().skip_to(logid))

    def is_stream_wbopen(self) -> bool:
        """Tell whether it is open for writing."""
        return self._core.log is not None

    def set_name(self, name: str) -> None:
        """Give it a name, which `repr` shows.

        Args:
            name: The name.
        """
        self._core.rename(name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await in_thread(self._core.close_all, surely=True)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._core.describe()}>"
