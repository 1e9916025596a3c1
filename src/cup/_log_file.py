"""The log file: appended line by line, rotated by size, shared by threads and forks.

Each line is one `write` to a descriptor in append mode. Nothing is buffered, so a fork
copies no half line, and lines of several processes never mix. The file is looked at
before each line: whoever moved it away (another process that rotates, logrotate) is
followed.

Not here: how a line looks and which handlers a logger gets (`_log_setup`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Final

BACKUPS: Final = 30
"""How many older files are kept: `cup.log.1` is the youngest, the oldest is dropped."""

_APPEND: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
_CLOSED: Final = -1


class LogFile(logging.Handler):
    """Append the lines of a logger to a file.

    Thread-safe. A forked child goes on with the same file. A line that cannot be
    written is reported on stderr, as `logging.raiseExceptions` says.

    Args:
        path: The file; its directory is made if there is none.
        limit: Bytes after which the file is rotated, 0 for never.

    Raises:
        OSError: If the file cannot be opened.
    """

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__()
        self._path = path
        self._limit = limit
        self._fd = _open(path)
        self._retired = False
        self._rotating = False

    def __repr__(self) -> str:
        return f"<LogFile {str(self._path)!r}>"

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line of a record; `Handler.handle` holds the lock."""
        try:
            line = self.format(record) + "\n"
            self._append(line.encode("utf-8", "backslashreplace"))
        except Exception:  # noqa: BLE001 - a log never breaks who logs
            self.handleError(record)

    def close(self) -> None:
        """Close the file; a later line opens it for itself."""
        self.acquire()
        try:
            self._retired = True
            self._release()
        finally:
            self.release()
        super().close()

    def _append(self, line: bytes) -> None:
        self._look_at_file(len(line))
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(self._fd, rest) :]

        if self._retired:
            self._release()

    def _look_at_file(self, more: int) -> None:
        """Follow a file that was moved away, and move away one that is full."""
        try:
            if self._fd == _CLOSED or self._was_moved():
                self._reopen()
            size = os.fstat(self._fd).st_size if self._limit else 0
            if size and size + more > self._limit:
                self._rotate()
        except OSError:
            # Better a line in the file at hand than none; the next line tries again.
            if self._fd == _CLOSED:
                raise

    def _was_moved(self) -> bool:
        if sys.platform == "win32":
            return False  # an open file cannot be moved there

        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(self._fd))

    def _rotate(self) -> None:
        if self._rotating:  # a signal handler logs while its thread rotates
            return

        self._rotating = True
        try:
            if sys.platform == "win32":
                self._release()
                _shift(self._path)
            else:
                self._rotate_guarded()
        finally:
            self._rotating = False
            self._reopen()

    def _rotate_guarded(self) -> None:
        """Rotate, unless another process does: never two at once, never waiting.

        Who finds another at it writes on, beyond the limit, in the file at hand.
        """
        guard = os.open(self._path.parent, os.O_RDONLY)
        try:
            if _try_lock(guard) and not self._was_moved():
                _shift(self._path)
        finally:
            _unlock(guard)
            os.close(guard)

    def _reopen(self) -> None:
        fresh = _open(self._path)
        self._release()
        self._fd = fresh

    def _release(self) -> None:
        stale, self._fd = self._fd, _CLOSED
        if stale != _CLOSED:
            os.close(stale)


class Console(logging.Handler):
    """Print the lines on what is `sys.stderr` at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the line of a record; `Handler.handle` holds the lock."""
        try:
            if sys.stderr is not None:
                sys.stderr.write(self.format(record) + "\n")
                sys.stderr.flush()
        except Exception:  # noqa: BLE001 - a log never breaks who logs
            self.handleError(record)


class Below(logging.Filter):
    """Let pass what is below a level."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is below the level."""
        return record.levelno < self._level


def _open(path: Path) -> int:
    try:
        return os.open(path, _APPEND, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, _APPEND, 0o666)


def _try_lock(directory: int) -> bool:
    """Take the lock of all who rotate in a directory; False if another has it."""
    if sys.platform != "win32":
        import fcntl  # noqa: PLC0415 - there is none on Windows

        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # some network file systems lock no directories
    return True


def _unlock(directory: int) -> None:
    # By name: a child that was forked just now would hold a lock that is only closed.
    if sys.platform != "win32":
        import fcntl  # noqa: PLC0415 - there is none on Windows

        with contextlib.suppress(OSError):
            fcntl.flock(directory, fcntl.LOCK_UN)


def _shift(path: Path) -> None:
    """Make room: `log` becomes `log.1`, `log.1` becomes `log.2`, and so on."""
    files = [path]
    while len(files) <= BACKUPS and files[-1].exists():
        files.append(Path(f"{path}.{len(files)}"))

    while len(files) > 1:
        older = files.pop()
        files[-1].replace(older)
