"""What is in a buffer: bytes over blocks, from 0 to a length.

Blocks that were used before hold what was in them. Nothing here shows it: content ends
at the length, and what is skipped by writing further is filled with zeros.

Not here: the cursor (`_core_cursor`), system calls (`_core_buffer`).
"""

from __future__ import annotations

import sys
from operator import index
from typing import TYPE_CHECKING, Literal

from cup.errors import BufferOverflow, BufferReleased, InvalidType, InvalidValue

if TYPE_CHECKING:
    from typing_extensions import Buffer as BytesLike

    from ._core import BufferCore

__all__ = ["Content", "check_size", "flat", "is_own"]

_ZEROS = memoryview(bytes(1 << 18))


class Content:
    """The bytes of one buffer.

    Attributes:
        pool: The pool that it is from.
        serial: Its number there.
    """

    __slots__ = (
        "__weakref__",
        "_blocks",
        "_contiguous",
        "_length",
        "_position",
        "_views",
        "pool",
        "serial",
    )

    pool: BufferCore
    serial: int
    _blocks: list[int] | None
    _contiguous: bool
    _length: int
    _position: int
    _views: list[memoryview] | None

    def __del__(self) -> None:
        if self._blocks is not None:
            self.pool.lose(self.serial, self._views)

    def detach(self) -> list[memoryview] | None:
        """Forget the blocks; the pool takes them back."""
        self._blocks = None  # first: who makes views now looks again after
        views, self._views = self._views, None
        self._length = 0
        return views

    # -- sizes ---------------------------------------------------------------------

    @property
    def released(self) -> bool:
        """Whether it was given back."""
        return self._blocks is None

    def maxsize(self) -> int:
        """Return how many bytes fit in."""
        return len(self._held_blocks()) * self.pool.arena.block_size

    def length(self) -> int:
        """Return how many bytes are in.

        Raises:
            BufferReleased: If the buffer was released.
        """
        self._held_blocks()
        return self._length

    def __len__(self) -> int:
        return self.length()

    def __bool__(self) -> bool:
        return True  # an empty buffer is a buffer

    def get_uniq_id(self) -> int:
        """Return a number that no other buffer of this pool has, ever."""
        return self.serial

    def _held_blocks(self) -> list[int]:
        blocks = self._blocks
        if blocks is None:
            raise BufferReleased(
                f"buffer {self.serial} was released: acquire another one"
            )

        return blocks

    # -- the older names -----------------------------------------------------------

    def set(
        self, content: str | BytesLike, encoding: str = "utf8"
    ) -> tuple[Literal[True], None] | tuple[Literal[False], str]:
        """Replace the content; when it does not fit, leave the buffer as it was.

        The position is at the start then.

        Args:
            content: Text, or anything that exports bytes.
            encoding: How text becomes bytes.

        Returns:
            `(True, None)`, or `(False, message)` if it does not fit.

        Raises:
            BufferReleased: If the buffer was released.
            InvalidType: If `content` is neither.
        """
        data = flat(content.encode(encoding) if isinstance(content, str) else content)
        if data.nbytes > self.maxsize():
            return False, (
                f"{data.nbytes} bytes do not fit into {self.maxsize()} "
                f"({len(self._held_blocks())} blocks)"
            )

        self._store(0, data)
        self._length = data.nbytes
        self._position = 0
        return True, None

    def get(
        self,
    ) -> (
        tuple[Literal[True], tuple[list[memoryview], int, int]]
        | tuple[Literal[False], tuple[str, int, None]]
    ):
        """Return the content as it lies in the blocks.

        Returns:
            `(True, (views, block_size, length))`, or `(False, (message, block_size,
            None))` if the buffer is empty.

        Raises:
            BufferReleased: If the buffer was released.
        """
        size = self.pool.arena.block_size
        self._held_blocks()
        if not self._length:
            return False, ("the buffer is empty", size, None)

        return True, (self.views(), size, self._length)

    def get_byte_arrays(self) -> list[memoryview]:
        """Return views of the content: the older name of `views`."""
        return self.views()

    # -- bytes ---------------------------------------------------------------------

    def views(self, start: int = 0, stop: int | None = None) -> list[memoryview]:
        """Return writable views of the content, without a copy: one per block.

        While such a view lives, its block is not handed to anybody else, also after
        the buffer was released.

        Args:
            start: The first byte.
            stop: The byte after the last; None for the length.

        Raises:
            BufferReleased: If the buffer was released.
        """
        stop = self._length if stop is None else min(stop, self._length)
        return [piece[:] for piece in self._pieces(max(0, start), stop)]

    def tobytes(self) -> bytes:
        """Return a copy of the content.

        Raises:
            BufferReleased: If the buffer was released.
        """
        return b"".join(self._pieces(0, self._length))

    def __bytes__(self) -> bytes:
        return self.tobytes()

    def clear(self) -> None:
        """Forget the content; the position is at the start then.

        Raises:
            BufferReleased: If the buffer was released.
        """
        self._held_blocks()
        self._length = 0
        self._position = 0

    def append(self, data: BytesLike) -> int:
        """Put bytes behind the content, all or nothing; the position stays.

        Args:
            data: Anything that exports bytes.

        Returns:
            The new length.

        Raises:
            BufferOverflow: If they do not fit.
            BufferReleased: If the buffer was released.
        """
        view = flat(data)
        self._check_room(self._length + view.nbytes)
        self._store(self._length, view)
        self._length += view.nbytes
        return self._length

    def truncate(self, size: int) -> int:
        """Cut the content, or lengthen it by zeros; returns the new length.

        Args:
            size: The new length in bytes.

        Raises:
            BufferOverflow: If so much does not fit.
            BufferReleased: If the buffer was released.
            InvalidValue: If `size` is negative.
        """
        check_size(size)
        self._check_room(size)
        if size > self._length:
            self._zero(self._length, size)
        self._length = size
        return size

    def _check_room(self, stop: int) -> None:
        if stop > self.maxsize():
            raise BufferOverflow(
                f"{stop} bytes do not fit into {self.maxsize()} "
                f"({len(self._held_blocks())} blocks of "
                f"{self.pool.arena.block_size} bytes)"
            )

    def _make_views(self) -> list[memoryview]:
        blocks = self._held_blocks()
        views = self._views
        if views is None:
            arena = self.pool.arena
            if self._contiguous:
                views = [arena.view(blocks[0], len(blocks))]
            else:
                views = arena.views(blocks)
            self._views = views
            self._held_blocks()  # released meanwhile: then these views are nobody's
        return views

    def _pieces(
        self, start: int, stop: int, most: int = sys.maxsize
    ) -> list[memoryview]:
        """Return views of a range, which may reach beyond the length.

        Those of whole blocks are the buffer's own, which end with it: they are used
        within one call, and not given away.
        """
        views = self._make_views()
        if start >= stop:
            return []

        try:
            size = views[0].nbytes
            first, offset = divmod(start, size)
            beyond = -(-stop // size)
            pieces = views[first : min(beyond, first + most)]
            if stop % size and beyond <= first + most:
                pieces[-1] = pieces[-1][: stop % size]
            if offset:
                pieces[0] = pieces[0][offset:]
        except (IndexError, ValueError):
            pieces = []  # the pool takes them back
        self._held_blocks()  # looked at last: it may be released by somebody else
        return pieces

    def _store(self, start: int, data: memoryview) -> None:
        """Write bytes that are known to fit."""
        pieces = self._pieces(start, start + data.nbytes)
        if len(pieces) > 1 and not is_own(data):
            data = memoryview(bytes(data))  # it may be memory of this very buffer
        done = 0
        for piece in pieces:
            piece[:] = data[done : done + piece.nbytes]
            done += piece.nbytes

    def _zero(self, start: int, stop: int) -> None:
        for piece in self._pieces(start, stop):
            for done in range(0, piece.nbytes, len(_ZEROS)):
                part = piece[done : done + len(_ZEROS)]
                part[:] = _ZEROS[: part.nbytes]


def flat(content: BytesLike) -> memoryview:
    """Return the bytes of an object as one row; a copy only where it must be.

    Raises:
        InvalidType: If it exports no bytes.
    """
    try:
        view = memoryview(content)
    except TypeError:
        raise InvalidType(
            f"content must be str or bytes-like, not {type(content).__name__}"
        ) from None

    if view.format == "B" and view.ndim == 1 and view.c_contiguous:
        return view

    try:
        return view.cast("B")
    except (TypeError, BufferError):  # not in one row, or of a format without a name
        return memoryview(view.tobytes())


def is_own(view: memoryview) -> bool:
    """Tell whether the memory of a view is certainly that of its own object."""
    return isinstance(view.obj, bytes | bytearray)


def check_size(size: int) -> None:
    """Refuse what is no size: a length that is no int would spoil the buffer.

    Raises:
        InvalidType: If it is no int.
        InvalidValue: If it is below zero.
    """
    try:
        index(size)
    except TypeError:
        raise InvalidType(f"a size is an int, not {size!r}") from None

    if size < 0:
        raise InvalidValue(f"a size is 0 or more bytes, not {size}")
