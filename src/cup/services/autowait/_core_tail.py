"""Reading a file that grows, is rotated, replaced, truncated, written anew.

The open file is compared with what is at the path by device and inode: while it is
open, its number cannot be given to another. Whether it is still what was read is
compared by its last bytes, since a file can be truncated and grow past the old place
between two looks.

Not here: lines and patterns (`_core_lines`).
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from ._core_files import stat_at
from ._core_mounts import is_computed

if TYPE_CHECKING:
    from ._core_verdicts import Watching

__all__ = ["Piece", "Tail"]

_MARK: Final = 256  # bytes by which what was read is known again
_WAITED_FOR: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE}


class Piece(NamedTuple):
    """Bytes that were read.

    Attributes:
        content: The bytes.
        offset: Where they begin in the file.
        fresh: They do not continue the piece before: another file, or begun anew.
        inside: They begin in the middle of a line.
        file_id: Device and inode.
    """

    content: bytes
    offset: int
    fresh: bool
    inside: bool
    file_id: tuple[int, int]


class Tail:
    """Gives the pieces of a file, as far as it is written.

    Args:
        path: The path; nothing needs to be there.
        from_end: Begin at the end of what is there now.
    """

    __slots__ = (
        "_computed",
        "_fd",
        "_file_id",
        "_fresh",
        "_mark",
        "_path",
        "_place",
        "_skip",
        "replaced",
        "size",
        "truncated",
    )

    def __init__(self, path: str, *, from_end: bool) -> None:
        self._path = path
        self._fd = -1
        self._file_id = (0, 0)
        self._fresh = True
        self._mark = b""
        self._place = 0
        self._skip = from_end
        self._computed = is_computed(path)
        self.replaced: int = 0
        self.truncated: int = 0
        self.size: int = 0

    @property
    def place(self) -> int:
        """How far it was read, in bytes."""
        return self._place

    @property
    def computed(self) -> bool:
        """Whether the system makes it up at each reading, as it does in /proc."""
        return self._computed

    def is_open(self) -> bool:
        """Tell whether there is, or was, a file."""
        return self._fd >= 0

    def advance(self, most: int) -> Piece | None:
        """Return what follows, up to so many bytes; None if there is nothing now.

        Raises:
            OSError: If it cannot be read, or is no regular file.
        """
        if self._fd < 0 and not self._open():
            return None

        if not self._computed:
            self._check()
        piece = self._read(most)
        if piece is None and self._computed:
            self.close()  # all that it said this time
        elif piece is None and self._is_replaced():
            piece = self._read(most)  # its last words may have come meanwhile
            if piece is None:
                self.close()
                self.replaced += 1
                return self.advance(most)
        return piece

    def _open(self) -> bool:
        """Open what is at the path; False if there is nothing."""
        skip, self._skip = self._skip, False
        flags = os.O_RDONLY
        if sys.platform != "win32":
            flags |= os.O_CLOEXEC | os.O_NONBLOCK  # a pipe would wait for its writer
        else:
            flags |= os.O_BINARY | os.O_NOINHERIT
        try:
            self._fd = os.open(self._path, flags)
        except OSError as error:
            if error.errno in _WAITED_FOR:
                return False
            raise
        found = os.fstat(self._fd)
        self._refuse(found.st_mode)
        self._file_id = (found.st_dev, found.st_ino)
        self._place = found.st_size if skip else 0
        self._fresh = True
        self._mark = b""
        if self._place:
            start = max(0, self._place - _MARK)
            self._mark = _read_at(self._fd, self._place - start, start)
        return True

    def _refuse(self, mode: int) -> None:
        if stat.S_ISREG(mode):
            return

        self.close()
        if stat.S_ISDIR(mode):
            code = errno.EISDIR
            raise IsADirectoryError(code, os.strerror(code), self._path)
        raise OSError(errno.EINVAL, "not a regular file", self._path)

    def _check(self) -> None:
        """Begin anew if the file is not any more what was read of it."""
        self.size = os.fstat(self._fd).st_size
        mark = self._mark
        if self.size >= self._place and (not mark or self._is_known(mark)):
            return

        self.truncated += 1
        self._place = 0
        self._mark = b""
        self._fresh = True

    def _is_known(self, mark: bytes) -> bool:
        return _read_at(self._fd, len(mark), self._place - len(mark)) == mark

    def _read(self, most: int) -> Piece | None:
        try:
            content = _read_at(self._fd, most, self._place)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            self.close()
            return None
        if not content:
            return None

        fresh, self._fresh = self._fresh, False
        offset = self._place
        inside = fresh and offset > 0 and not self._mark.endswith(b"\n")
        self._place += len(content)
        self._mark = (self._mark + content[-_MARK:])[-_MARK:]
        return Piece(content, offset, fresh, inside, self._file_id)

    def _is_replaced(self) -> bool:
        """Tell whether another file is at the path, and somebody writes to it.

        As long as it is empty, the writer may still be at the old one.
        """
        found = stat_at(self._path)
        if found is None or (found.st_dev, found.st_ino) == self._file_id:
            return False
        return found.st_size > 0 or not stat.S_ISREG(found.st_mode)

    def watch_open(self, watching: Watching) -> None:
        """Hear of writes to the open file, wherever it was moved to."""
        if self._fd >= 0 and not self._computed:
            watching.content_of(self._fd)

    def last_bytes(self, most: int) -> bytes:
        """Return the end of what was read."""
        if self._fd < 0:
            return b""
        start = max(0, self._place - most)
        try:
            return _read_at(self._fd, self._place - start, start)
        except OSError:
            return b""

    def close(self) -> None:
        """Close the file; twice does no harm."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _read_at(fd: int, size: int, offset: int) -> bytes:
    if sys.platform != "win32":
        return os.pread(fd, size, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, size)
