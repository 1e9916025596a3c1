"""A number that only grows, shared by threads, forked children and, in a file, by all.

Who takes from a ledger owns what was taken: no other thread, no forked process, and
with a path no other process on this host and no later start gets it again. Without a
path it lives in memory that forked children share with their parent. A take costs about
3 microseconds, so generators take whole runs of numbers.

Taking is short, and may be done by a signal handler that interrupts a take: the
interrupted one notices. Not here: what the numbers mean.
"""

from __future__ import annotations

import os
import sys
import tempfile
from threading import RLock
from typing import TYPE_CHECKING, Final

from cup._core import fork
from cup.errors import IdError, InvalidValue

if TYPE_CHECKING:
    from os import PathLike

if sys.platform != "win32":
    import fcntl
else:
    import msvcrt

__all__ = ["Ledger", "open_ledger", "shared_ledger"]

_DIGITS: Final = 20
_WIDTH: Final = _DIGITS + 1  # and a line feed: people may read the files
_LARGEST: Final = 10**_DIGITS - 1


class Ledger:
    """A growing number in one place of an open file.

    Args:
        file: The descriptor; None for plain memory, where processes cannot fork.
        place: Which of the file's numbers this is.
        path: The file's name, for messages.
        durable: Whether what was taken outlives a loss of power: a take then waits for
            the disk.
    """

    __slots__ = (
        "_depth",
        "_durable",
        "_file",
        "_generation",
        "_identity",
        "_latest",
        "_memory",
        "_mutex",
        "_offset",
        "_path",
    )

    def __init__(
        self, file: int | None, place: int = 0, path: str = "", *, durable: bool = False
    ) -> None:
        self._file: int | None = file
        self._path: str = path
        self._offset: int = place * _WIDTH
        self._durable: bool = durable
        self._identity: tuple[int, int] | None = None if file is None else _id_of(file)
        self._memory: int = 0
        self._latest: int = 0
        self._depth: int = 0
        self._mutex = RLock()
        self._generation: int = fork.generation()

    @property
    def file(self) -> int | None:
        """The descriptor; None for plain memory."""
        return self._file

    def take(
        self, count: int = 1, *, at_least: int = 0, limit: int | None = None
    ) -> int | None:
        """Take so many numbers, one after the other.

        Args:
            count: How many.
            at_least: What the first must not be below.
            limit: What the last must not be above.

        Returns:
            The first of them; None if the limit forbids it, and nothing was taken.

        Raises:
            IdError: If the file cannot be used any more.
        """
        if self._generation != fork.generation():
            self._enter_child()
        with self._mutex:
            try:
                self._depth += 1
                self._hold()
                return self._advance(count, at_least, limit)
            finally:
                self._depth -= 1
                if not self._depth:
                    self._let_go()

    def peek(self) -> int:
        """Return what would be taken next."""
        return max(self._latest, self._read())

    def _advance(self, count: int, at_least: int, limit: int | None) -> int | None:
        while True:
            seen = self._latest
            first = max(self._read(), seen, at_least)
            if limit is not None and first + count - 1 > limit:
                return None

            self._write(first + count)
            # A signal handler may have taken meanwhile: then this is not ours alone.
            if self._latest == seen:
                self._latest = first + count
                return first

    def _enter_child(self) -> None:
        with fork.renewal:
            if self._generation != fork.generation():
                self._mutex = RLock()  # a thread of the parent may have held it
                self._depth = 0
                self._generation = fork.generation()

    # -- the file ------------------------------------------------------------------

    def _hold(self) -> None:
        """Keep other processes out; in one process it may be done twice."""
        if self._file is None:
            return

        try:
            same = _id_of(self._file) == self._identity
            if same:
                _lock(self._file, self._offset)
        except OSError as error:
            raise self._broken(str(error)) from error
        if not same:
            raise self._broken("its descriptor was closed, and is another file's now")

    def _let_go(self) -> None:
        if self._file is not None:
            try:
                _unlock(self._file, self._offset)
            except OSError:
                pass  # the file is closed, and so unlocked: the take has said so

    def _read(self) -> int:
        if self._file is None:
            return self._memory

        text = _pread(self._file, _DIGITS, self._offset).strip(b"\0 \n")
        if text and not text.isdigit():
            raise self._broken(f"it holds {text!r}, which is no number")

        return int(text or b"0")

    def _write(self, value: int) -> None:
        if value > _LARGEST:
            raise self._broken(f"{value} is beyond what it can hold")

        if self._file is None:
            self._memory = value
            return

        _pwrite(self._file, b"%0*d\n" % (_DIGITS, value), self._offset)
        if self._durable:
            os.fsync(self._file)

    def _broken(self, why: str) -> IdError:
        what = f"file {self._path}" if self._path else "memory of forked children"
        return IdError(
            f"the {what}, which keeps numbers from being issued twice, cannot be "
            f"used: {why}"
        )


_sheet: dict[str, Ledger] = {}
"""The ledger of places in memory that forked children share."""

_opened: dict[tuple[int, int, bool], Ledger] = {}
"""By file. They stay: to close any descriptor of a file would end locks on all."""


def shared_ledger() -> Ledger:
    """Return a new ledger in memory that this process shares with those it forks."""
    places = _sheet.get("places")
    if places is None:
        # Threads that race here leave one file unused.
        places = _sheet.setdefault("places", Ledger(_memory_file()))
    file = places.file
    if file is None:
        return Ledger(None)

    place = places.take(at_least=1)
    assert place is not None, "there is no limit"
    return Ledger(file, place)


def open_ledger(path: str | PathLike[str], *, durable: bool = False) -> Ledger:
    """Return the ledger in a file, made if there is none.

    Raises:
        InvalidValue: If the file cannot be opened or made.
    """
    try:
        known = _opened.get((*_id_of(path), durable))
        if known is not None:
            return known
    except OSError:
        pass  # it is made below, or the reason is given
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise InvalidValue(
            f"{os.fspath(path)!r} cannot keep numbers: {error.strerror}; give a file "
            "that this process may write"
        ) from error
    made = Ledger(file, path=os.fspath(path), durable=durable)
    return _opened.setdefault((*_id_of(file), durable), made)


def _id_of(file: int | str | PathLike[str]) -> tuple[int, int]:
    status = os.stat(file)  # noqa: PTH116 - of a descriptor, too
    return status.st_dev, status.st_ino


def _memory_file() -> int | None:
    """Return a file without a name; None where processes cannot fork."""
    if sys.platform == "win32":
        return None

    if sys.platform == "linux":
        try:
            return os.memfd_create("cup-numbers")
        except OSError:
            pass  # an old kernel, or a sandbox: an unlinked file does as well
    file, path = tempfile.mkstemp(prefix="cup-numbers-")
    os.unlink(path)  # noqa: PTH108 - no pathlib for this alone
    return file


if sys.platform != "win32":

    def _lock(file: int, offset: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_EX, _WIDTH, offset)

    def _unlock(file: int, offset: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_UN, _WIDTH, offset)

    def _pread(file: int, length: int, offset: int) -> bytes:
        return os.pread(file, length, offset)

    def _pwrite(file: int, text: bytes, offset: int) -> None:
        os.pwrite(file, text, offset)

else:

    def _lock(file: int, offset: int) -> None:
        os.lseek(file, offset, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_LOCK, _WIDTH)

    def _unlock(file: int, offset: int) -> None:
        os.lseek(file, offset, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, _WIDTH)

    def _pread(file: int, length: int, offset: int) -> bytes:
        os.lseek(file, offset, os.SEEK_SET)
        return os.read(file, length)

    def _pwrite(file: int, text: bytes, offset: int) -> None:
        os.lseek(file, offset, os.SEEK_SET)
        os.write(file, text)
