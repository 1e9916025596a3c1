"""The cursor of a buffer: reading and writing it like a file.

Not here: a whole file object (`file`), system calls (`_core_buffer`).
"""

from __future__ import annotations

import io
from operator import index
from typing import TYPE_CHECKING

from cup.errors import InvalidType, InvalidValue

from ._core_content import Content, flat, is_own

if TYPE_CHECKING:
    from typing_extensions import Buffer as BytesLike

__all__ = ["Cursor"]


class Cursor(Content):
    """A buffer with a position."""

    __slots__ = ()

    def tell(self) -> int:
        """Return the position in bytes.

        Raises:
            BufferReleased: If the buffer was released.
        """
        self._held_blocks()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position; it may lie beyond the length.

        Args:
            offset: Bytes.
            whence: 0 from the start, 1 from the position, 2 from the length.

        Returns:
            The new position.

        Raises:
            InvalidValue: If that is negative, or `whence` is none of these.
            BufferReleased: If the buffer was released.
        """
        self._held_blocks()
        bases = {
            io.SEEK_SET: 0,
            io.SEEK_CUR: self._position,
            io.SEEK_END: self._length,
        }
        if whence not in bases:
            raise InvalidValue(f"whence={whence} is none of 0, 1, 2")

        position = bases[whence] + index(offset)
        if position < 0:
            raise InvalidValue(f"position {position} is before the start")

        self._position = position
        return position

    def read(self, size: int = -1) -> bytes:
        """Return a copy of what follows the position, and move behind it.

        Args:
            size: Bytes at most; negative for all.
        """
        content = self.peek(size)
        self._position += len(content)
        return content

    def peek(self, size: int = -1) -> bytes:
        """Return a copy of what follows the position, without moving it.

        Args:
            size: Bytes at most; negative for all.
        """
        start = self._position
        stop = self._length if size < 0 else min(self._length, start + size)
        return b"".join(self._pieces(start, stop))

    def readinto(self, target: BytesLike) -> int:
        """Copy what follows the position into other memory, and move behind it.

        Args:
            target: Writable memory, in one row.

        Returns:
            How many bytes it got.

        Raises:
            InvalidType: If it cannot be written, or does not lie in one row.
            BufferReleased: If the buffer was released.
        """
        view = flat(target)
        if view.readonly:
            raise InvalidType(
                f"{type(target).__name__}: not writable memory in one row"
            )

        start = self._position
        stop = min(self._length, start + view.nbytes)
        pieces = self._pieces(start, stop)
        if len(pieces) > 1 and not is_own(view):
            pieces = [memoryview(b"".join(pieces))]  # it may be memory of this buffer
        done = 0
        for piece in pieces:
            view[done : done + piece.nbytes] = piece
            done += piece.nbytes
        self._position = start + done
        return done

    def write(self, data: BytesLike) -> int:
        """Write at the position, all or nothing, and move behind it.

        What lies between the length and the position is filled with zeros.

        Args:
            data: Anything that exports bytes.

        Returns:
            How many bytes it was.

        Raises:
            BufferOverflow: If it does not fit.
            BufferReleased: If the buffer was released.
        """
        view = flat(data)
        start = self._position
        stop = start + view.nbytes
        self._held_blocks()
        if view.nbytes:
            self._check_room(stop)
            if start > self._length:
                self._zero(self._length, start)
            self._store(start, view)
            self._position = stop
            self._length = max(self._length, stop)
        return view.nbytes
