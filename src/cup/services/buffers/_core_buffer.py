"""A buffer: bytes over blocks, with a cursor, and with system calls that scatter.

The calls move whole buffers without a copy in between: what is received goes behind the
content, what is sent comes from the position. Each makes one system call, like its
namesake in `os` or `socket`; those with `all` in the name repeat it until done.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ._core_content import check_size
from ._core_cursor import Cursor

if TYPE_CHECKING:
    import socket
    from types import TracebackType

    from typing_extensions import Self

    from ._core import BufferCore
    from .file import BufferFile

__all__ = ["Buffer"]


def _iov_max() -> int:
    if sys.platform == "win32":
        return 1

    try:
        found = os.sysconf("SC_IOV_MAX")
    except (OSError, ValueError):
        found = -1
    return min(found, 1024) if found > 0 else 16  # what POSIX grants


_IOV_MAX = _iov_max()


class Buffer(Cursor):
    """Some blocks of a pool, as one row of bytes.

    One thread or task uses it at a time. It is given back by `release`, by the end of a
    `with` block, or by its pool; using it afterwards raises `BufferReleased`. A buffer
    that is lost comes back when it dies.
    """

    __slots__ = ()

    def __init__(
        self, pool: BufferCore, serial: int, blocks: list[int], contiguous: bool
    ) -> None:
        # For all the classes above at once: a call more costs a third of an allocation.
        self.pool = pool
        self.serial = serial
        self._blocks = blocks
        self._contiguous = contiguous
        self._views = None
        self._length = 0
        self._position = 0

    def release(self) -> None:
        """Give the buffer back to its pool; never blocks.

        Raises:
            BufferReleased: If it was given back before.
        """
        self.pool.release(self)

    def __enter__(self) -> Self:
        self._held_blocks()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self.released:
            self.release()

    def file(self) -> BufferFile:
        """Return a whole file object over this buffer, for code that asks for one."""
        from .file import BufferFile  # noqa: PLC0415 - `file` knows buffers

        return BufferFile(self)

    def __repr__(self) -> str:
        if self.released:
            return f"<Buffer {self.serial} released>"

        blocks = len(self._held_blocks())
        return f"<Buffer {self.serial} {self._length} bytes in {blocks} blocks>"

    def __reduce__(self) -> str:
        raise TypeError("a Buffer cannot be pickled: it is memory of this process")

    # -- system calls --------------------------------------------------------------

    def room(self) -> list[memoryview]:
        """Return views of what lies behind the content, for who fills it himself.

        What they show before they are filled is not defined. Call `filled` after.

        Raises:
            BufferReleased: If the buffer was released.
        """
        return [view[:] for view in self._open()]

    def filled(self, count: int) -> int:
        """Say that so many bytes were put into `room()`; returns the new length.

        Raises:
            BufferOverflow: If there is not so much room.
            BufferReleased: If the buffer was released.
            InvalidValue: If `count` is negative.
        """
        check_size(count)
        self._check_room(self._length + count)
        self._length += count
        return self._length

    def _open(self) -> list[memoryview]:
        return self._pieces(self._length, self.maxsize(), _IOV_MAX)

    def _rest(self) -> list[memoryview]:
        return self._pieces(self._position, self._length, _IOV_MAX)

    def readv(self, fd: int) -> int:
        """Read from a file descriptor behind the content, by one system call.

        Args:
            fd: The descriptor.

        Returns:
            How many bytes came; 0 at the end of the file, or if the buffer is full.

        Raises:
            OSError: From the system.
        """
        views = self._open()
        if not views:
            return 0

        if sys.platform == "win32":
            data = os.read(fd, views[0].nbytes)
            count = len(data)
            views[0][:count] = data
        else:
            count = os.readv(fd, views)
        self.filled(count)
        return count

    def writev(self, fd: int) -> int:
        """Write what follows the position to a file descriptor, by one system call.

        Args:
            fd: The descriptor.

        Returns:
            How many bytes were written, maybe not all; the position moves behind them.

        Raises:
            OSError: From the system.
        """
        views = self._rest()
        if not views:
            return 0

        if sys.platform == "win32":
            count = os.write(fd, views[0])
        else:
            count = os.writev(fd, views)
        self._position += count
        return count

    def writevall(self, fd: int) -> int:
        """Write all that follows the position to a file descriptor.

        Args:
            fd: The descriptor, which blocks.

        Returns:
            How many bytes that was.

        Raises:
            BufferReleased: If the buffer was released, also while it is sent.
            OSError: From the system.
        """
        start = self._position
        while self._position < self.length():
            self.writev(fd)
        return self._position - start

    def recvmsg_into(self, sock: socket.socket) -> int:
        """Receive behind the content, by one system call.

        Args:
            sock: A socket; over TLS one block is filled at a time.

        Returns:
            How many bytes came; 0 at the end of the stream, or if the buffer is full.

        Raises:
            OSError: From the system; `BlockingIOError` from a socket without blocking.
        """
        views = self._open()
        if not views:
            return 0

        if sys.platform == "win32" or _is_tls(sock):
            count = sock.recv_into(views[0])
        else:
            count = sock.recvmsg_into(views)[0]
        self.filled(count)
        return count

    def sendmsg(self, sock: socket.socket) -> int:
        """Send what follows the position, by one system call.

        Args:
            sock: A socket; over TLS one block is sent at a time.

        Returns:
            How many bytes were taken, maybe not all; the position moves behind them.

        Raises:
            OSError: From the system; `BlockingIOError` from a socket without blocking.
        """
        views = self._rest()
        if not views:
            return 0

        if sys.platform == "win32" or _is_tls(sock):
            count = sock.send(views[0])
        else:
            count = sock.sendmsg(views)
        self._position += count
        return count

    def sendall(self, sock: socket.socket) -> int:
        """Send all that follows the position.

        Args:
            sock: A socket that blocks.

        Returns:
            How many bytes that was.

        Raises:
            BufferReleased: If the buffer was released, also while it is sent.
            OSError: From the system.
        """
        start = self._position
        while self._position < self.length():
            self.sendmsg(sock)
        return self._position - start


def _is_tls(sock: socket.socket) -> bool:
    """Tell whether a socket encrypts: those refuse to scatter and gather."""
    return hasattr(sock, "do_handshake")
