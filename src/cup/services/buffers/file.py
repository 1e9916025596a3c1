"""A buffer as a whole file object, for code that asks for one.

It is a face of the buffer: both have one position and one content. It reads and writes
bytes as `io.BytesIO` does, up to the size of the buffer.
"""

from __future__ import annotations

import io
from operator import index
from typing import TYPE_CHECKING

from cup.errors import InvalidType, InvalidValue

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import SupportsIndex

    from typing_extensions import Buffer as BytesLike

    from ._core_buffer import Buffer

__all__ = ["BufferFile"]

_LINE_STEP = 8192  # bytes that are looked through at once for the end of a line


class BufferFile(io.BufferedIOBase):
    r"""A file object over a buffer, as returned by `Buffer.file`.

    Closing it, also by the end of a `with` block, leaves the buffer to its owner.
    Writing more than fits raises `BufferOverflow`, and writes nothing of it.

    Args:
        buffer: The buffer; the file begins at its position.

    Example:
        >>> from cup.services.buffers import BufferPool
        >>> with BufferPool(8).acquire() as buffer:
        ...     with buffer.file() as file:
        ...         file.writelines([b"one\n", b"two\n"])
        ...         _ = file.seek(0)
        ...         print(file.readlines())
        [b'one\n', b'two\n']
    """

    def __init__(self, buffer: Buffer) -> None:
        super().__init__()
        self._buffer = buffer

    @property
    def buffer(self) -> Buffer:
        """The buffer behind the file.

        Raises:
            ValueError: If the file is closed.
        """
        if self.closed:
            raise InvalidValue("I/O operation on closed file")

        return self._buffer

    def readable(self) -> bool:
        """Return True."""
        return not self.buffer.released

    def writable(self) -> bool:
        """Return True."""
        return not self.buffer.released

    def seekable(self) -> bool:
        """Return True."""
        return not self.buffer.released

    def tell(self) -> int:
        """Return the position in bytes."""
        return self.buffer.tell()

    def seek(self, offset: SupportsIndex, whence: int = io.SEEK_SET, /) -> int:
        """Move the position; before the start is the start, if `whence` is not 0.

        Args:
            offset: Bytes.
            whence: 0 from the start, 1 from the position, 2 from the length.

        Returns:
            The new position.

        Raises:
            InvalidValue: If a position from the start is negative.
        """
        steps = index(offset)
        buffer = self.buffer
        if whence == io.SEEK_CUR:
            steps = max(steps, -buffer.tell())
        elif whence == io.SEEK_END:
            steps = max(steps, -buffer.length())
        return buffer.seek(steps, whence)

    def read(self, size: SupportsIndex | None = -1, /) -> bytes:
        """Return a copy of what follows the position, and move behind it."""
        return self.buffer.read(-1 if size is None else index(size))

    def read1(self, size: SupportsIndex | None = -1, /) -> bytes:
        """Return a copy of what follows the position, and move behind it."""
        return self.read(size)

    def peek(self, size: SupportsIndex = -1, /) -> bytes:
        """Return a copy of what follows the position, without moving it."""
        return self.buffer.peek(index(size))

    def readinto(self, target: BytesLike, /) -> int:
        """Copy what follows the position into other memory, and move behind it."""
        return self.buffer.readinto(target)

    def readinto1(self, target: BytesLike, /) -> int:
        """Copy what follows the position into other memory, and move behind it."""
        return self.buffer.readinto(target)

    def readline(self, size: SupportsIndex | None = -1, /) -> bytes:
        """Return a copy of the rest of the line, and move behind it.

        Args:
            size: Bytes at most; negative or None for the whole line.
        """
        buffer = self.buffer
        left = -1 if size is None else index(size)
        parts: list[bytes] = []
        while left:
            step = _LINE_STEP if left < 0 else min(left, _LINE_STEP)
            part = buffer.peek(step)
            part = part[: part.find(b"\n") + 1] or part
            buffer.seek(len(part), io.SEEK_CUR)
            parts.append(part)
            if len(part) < step or part.endswith(b"\n"):
                break
            left = max(-1, left - step)
        return b"".join(parts)

    def write(self, data: BytesLike, /) -> int:
        """Write at the position, all or nothing, and move behind it.

        Raises:
            BufferOverflow: If it does not fit.
        """
        buffer = self.buffer
        if isinstance(data, str):
            raise InvalidType("a bytes-like object is required, not str")

        return buffer.write(data)

    def writelines(self, lines: Iterable[BytesLike], /) -> None:
        """Write one after the other."""
        self.buffer  # noqa: B018 - a closed file refuses an empty list, too
        for line in lines:
            self.write(line)

    def truncate(self, size: SupportsIndex | None = None, /) -> int:
        """Cut the content at the position, or at a size; it is never lengthened.

        Returns:
            The size that was asked for.

        Raises:
            InvalidValue: If it is negative.
        """
        buffer = self.buffer
        at = buffer.tell() if size is None else index(size)
        buffer.truncate(min(at, buffer.length()))
        return at

    def getvalue(self) -> bytes:
        """Return a copy of the content."""
        return self.buffer.tobytes()

    def getbuffer(self) -> memoryview:
        """Return a writable view of the content, without a copy.

        Raises:
            UnsupportedOperation: If the content lies in several blocks: see
                `Buffer.views`.
        """
        views = self.buffer.views()
        if len(views) > 1:
            raise io.UnsupportedOperation(
                f"the content lies in {len(views)} blocks: take Buffer.views(), or "
                "acquire a buffer with contiguous=True"
            )

        return views[0] if views else memoryview(bytearray())

    def __repr__(self) -> str:
        state = "closed, " if self.closed else ""
        return f"<BufferFile {state}over {self._buffer!r}>"
