"""The lock of a log: one writer, in any process of any machine that the disk knows.

The file is never removed: whoever waits for it would wait for another one. Its text
says who has it; only the lock itself counts.
"""

from __future__ import annotations

import os
import socket
import time
import weakref
from typing import TYPE_CHECKING

from cup._core import fork
from cup._core.pause import pause
from cup.errors import LogLocked

from ._core_folder import LOCK

if TYPE_CHECKING:
    from cup._core.disk import Disk, DiskFile

__all__ = ["WriterLock", "is_written"]

_PATIENCE = 0.05  # seconds: a reader that looks whether anybody writes has it briefly
_STEP = 0.002
_TEXT = 256  # bytes


class WriterLock:
    """Holds the lock of a directory until it is closed."""

    __slots__ = ("__weakref__", "_file")

    def __init__(self, disk: Disk, folder: str, timeout: float) -> None:
        path = f"{folder}/{LOCK}"
        file = disk.open(path, create=True, write=True)
        try:
            _acquire(file, path, max(timeout, _PATIENCE))
            text = f"{os.getpid()} {socket.gethostname()} {time.time():.0f}\n".encode()
            file.pwrite(text.ljust(_TEXT, b" "), 0)
        except BaseException:
            file.close()
            raise
        self._file: DiskFile = file
        _held.add(self)

    def close(self) -> None:
        """Give it back; in a forked child, only the child's part in it."""
        self._file.close()


_held: weakref.WeakSet[WriterLock] = weakref.WeakSet()


def _let_go_in_child() -> None:
    """Close what a child inherited: else it would hold the lock of a dead parent."""
    for lock in list(_held):
        lock.close()
    _held.clear()


fork.on_fork(_let_go_in_child)


def _acquire(file: DiskFile, path: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not _try(file, path):
        if time.monotonic() >= deadline:
            pid, host = _read_holder(file)
            holder = f"process {pid} on {host}" if pid else "another process"
            raise LogLocked(
                f"{path}: {holder} writes to this log; wait for it to close the log, "
                f"or read the log with LogReader",
                pid=pid,
                host=host,
            )
        pause(_STEP, "Log.open()", "AsyncLog.open()")


def _try(file: DiskFile, path: str) -> bool:
    try:
        return file.lock()
    except OSError as error:
        raise LogLocked(
            f"{path}: this file system has no locks ({error}), so nothing keeps a "
            f"second writer away; put the log on a local disk"
        ) from error


def _read_holder(file: DiskFile) -> tuple[int, str]:
    words = file.pread(_TEXT, 0).decode("ascii", "replace").split()
    if len(words) != 3 or not words[0].isdigit():  # noqa: PLR2004 - pid, host, time
        return 0, ""
    return int(words[0]), words[1]


def is_written(disk: Disk, folder: str) -> bool:
    """Tell whether somebody writes to a log now."""
    try:
        file = disk.open(f"{folder}/{LOCK}")
    except FileNotFoundError:
        return False
    try:
        return not file.lock(shared=True)
    finally:
        file.close()
