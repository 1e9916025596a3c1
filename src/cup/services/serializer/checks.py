"""Checking and mending logs, for threads; their twins for tasks are in `aio_checks`.

Not here: how it is done (`_core_verify`, `_core_repair`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cup._core.disk import OS_DISK
from cup._core.running import guard_blocking

from ._core_repair import repair_log
from ._core_settings import MAX_RECORD, Folder, folder_of
from ._core_verify import inspect_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from cup._core.disk import Disk

    from .api import RepairReport, VerifyReport

__all__ = ["repair", "verify"]


def verify(
    directory: Folder,
    *,
    max_record: int = MAX_RECORD,
    disk: Disk | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> VerifyReport:
    """Check all files of a log, and say exactly what is wrong.

    Nothing is changed. While somebody writes to the log, what is not durable yet is not
    looked at.

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
    guard_blocking("verify()", "verify() of cup.services.serializer.aio")
    place = OS_DISK if disk is None else disk
    return inspect_log(place, folder_of(directory), max_record, progress)


def repair(
    directory: Folder,
    *,
    salvage: bool = False,
    max_record: int = MAX_RECORD,
    disk: Disk | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> RepairReport:
    """Mend a log that nobody writes to.

    Without `salvage`, nothing is given up: a torn tail is cut off, and what helps
    reading is renewed. With it, what can be saved is saved, and the rest is lost, with
    its ids, which are never used again. Damaged files are copied into the directory
    `quarantine` first. A batch whose records are damaged in part is no batch any more.

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
    guard_blocking("repair()", "repair() of cup.services.serializer.aio")
    place = OS_DISK if disk is None else disk
    return repair_log(
        place, folder_of(directory), max_record, progress, salvaging=salvage
    )
