"""Checking and mending logs, for tasks; twins of `checks`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cup._core.disk import OS_DISK

from ._core_repair import repair_log
from ._core_settings import MAX_RECORD, Folder, folder_of
from ._core_verify import inspect_log
from .aio_records import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from cup._core.disk import Disk

    from .api import RepairReport, VerifyReport

__all__ = ["repair", "verify"]


async def verify(
    directory: Folder,
    *,
    max_record: int = MAX_RECORD,
    disk: Disk | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> VerifyReport:
    """Check all files of a log, and say exactly what is wrong.

    Twin of `checks.verify`. It runs in a worker thread, and so does `progress`; a task
    that is cancelled waits for its end.

    Args:
        directory: Where the log is.
        max_record: The largest record, in bytes.
        disk: Where the directory is, for tests; None for the real disk.
        progress: Called with the bytes that were checked, and all bytes, now and then.

    Raises:
        FileNotFoundError: If there is no such directory.
        UnsupportedFormat: If a later version wrote the log.
        RecordTooLarge: If a record has more than `max_record` bytes.
        OSError: If it cannot be read.
    """
    place, folder = OS_DISK if disk is None else disk, folder_of(directory)
    return await in_thread(lambda: inspect_log(place, folder, max_record, progress))


async def repair(
    directory: Folder,
    *,
    salvage: bool = False,
    max_record: int = MAX_RECORD,
    disk: Disk | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> RepairReport:
    """Mend a log that nobody writes to.

    Twin of `checks.repair`. It runs in a worker thread, and so does `progress`; a task
    that is cancelled waits for its end.

    Args:
        directory: Where the log is.
        salvage: Whether records that are damaged may be given up.
        max_record: The largest record, in bytes.
        disk: Where the directory is, for tests; None for the real disk.
        progress: Called with the bytes that were checked, and all bytes, now and then.

    Raises:
        CorruptRecord: If records would have to be given up, and must not be.
        LogLocked: If somebody writes to the log.
        FileNotFoundError: If there is no such directory.
        UnsupportedFormat: If a later version wrote the log.
        RecordTooLarge: If a record has more than `max_record` bytes.
        OSError: If the disk fails.
    """
    place, folder = OS_DISK if disk is None else disk, folder_of(directory)
    return await in_thread(
        lambda: repair_log(place, folder, max_record, progress, salvaging=salvage)
    )
