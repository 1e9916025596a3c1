"""What both faces of a buffer pool can do without waiting.

Not here: waiting (`sync`, `aio`), the pool itself (`_core`).
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Concatenate, Literal, TypeVar

from typing_extensions import ParamSpec

from cup.errors import BufferTooLarge, InvalidType, InvalidValue

from ._core import BufferCore
from ._core_settings import check_leaks, check_sizes, make_ceiling
from .api import MEDIUM_BLOCK_SIZE, BufferStats, Leaks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

    from ._core_buffer import Buffer

__all__ = ["Face", "check_count"]

P = ParamSpec("P")
F = TypeVar("F", bound="Face")

_BOTH = 2


class Face:
    """A pool of buffers, as seen by its user. Faces of one pool are equal."""

    __slots__ = ("__weakref__", "_by_position", "_core", "_mask")

    _by_position: bool

    @staticmethod
    def _counted(
        init: Callable[Concatenate[F, P], None],
    ) -> Callable[Concatenate[F, P], None]:
        """Wrap an `__init__`, so that it knows whether two arguments came by position.

        That of the pool itself, whatever its subclasses are called with.
        """

        @wraps(init)
        def counting(self: F, /, *args: P.args, **kwargs: P.kwargs) -> None:
            self._by_position = len(args) >= _BOTH
            init(self, *args, **kwargs)

        return counting

    def __init__(
        self,
        pool_size: int,
        block_size: int = MEDIUM_BLOCK_SIZE,
        extendable: bool = False,
        *,
        max_blocks: int | None = None,
        leaks: Leaks = "sampled",
    ) -> None:
        count, size = check_sizes(pool_size, block_size, by_position=self._by_position)
        ceiling = make_ceiling(count, extendable=extendable, max_blocks=max_blocks)
        core = BufferCore(count, size, ceiling=ceiling, leaks=check_leaks(leaks))
        self._core = core
        self._mask = core.leaks.mask

    @classmethod
    def over(cls, core: BufferCore) -> Self:
        """Return a face of a pool that exists."""
        face = cls.__new__(cls)
        face._core = core  # noqa: SLF001 - this is a constructor
        face._mask = core.leaks.mask  # noqa: SLF001 - the same
        return face

    @property
    def block_size(self) -> int:
        """Bytes of a block."""
        return self._core.arena.block_size

    def allocate(
        self, num: int
    ) -> tuple[Literal[True], Buffer] | tuple[Literal[False], str]:
        """Take a buffer of `num` blocks, if that can be had now.

        Never waits, and never goes before those who wait in `acquire`.

        Args:
            num: Blocks.

        Returns:
            `(True, buffer)`, or `(False, message)`.

        Raises:
            InvalidType: If `num` is no int.
            InvalidValue: If it is below 1.
        """
        core = self._core
        if type(num) is not int or not 0 < num <= core.arena.count:
            problem = _problem(core, num)
            if problem is not None:
                return False, problem

        buffer = core.try_acquire(num)
        if buffer is None:
            free = len(core.free)
            return False, f"{num} blocks were asked for, {free} are free"

        if not buffer.serial & self._mask:
            core.leaks.note(buffer.serial)
        return True, buffer

    def deallocate(self, buff: Buffer | None) -> bool:
        """Give a buffer back.

        Args:
            buff: The buffer, or None.

        Returns:
            True, or False for None.

        Raises:
            ForeignBuffer: If it is from another pool.
            BufferReleased: If it was given back before.
            InvalidType: If it is no buffer.
        """
        if buff is None:
            return False

        self._core.release(buff)
        return True

    def release(self, buffer: Buffer) -> None:
        """Give a buffer back; never blocks.

        Args:
            buffer: The buffer.

        Raises:
            ForeignBuffer: If it is from another pool.
            BufferReleased: If it was given back before.
            InvalidType: If it is no buffer.
        """
        self._core.release(buffer)

    def trim(self) -> int:
        """Give the memory of free blocks back to the system.

        Returns:
            The bytes of it; 0 where the system has no such call.
        """
        return self._core.trim()

    def stats(self) -> BufferStats:
        """Return the figures of this moment."""
        return self._core.stats()

    # -- what old code reads -------------------------------------------------------

    @property
    def _used_num(self) -> int:
        return self._core.stats().used

    @property
    def _free_num(self) -> int:
        return self._core.stats().free

    @property
    def _free_list(self) -> list[int]:
        self._core.stats()
        return list(self._core.free)

    @property
    def _used_dict(self) -> dict[int, list[int]]:
        return dict(self._core.out)

    def __repr__(self) -> str:
        stats = self._core.stats()
        return (
            f"<{type(self).__name__} {stats.used}/{stats.total} blocks of "
            f"{stats.block_size} bytes used, {stats.waiting} wait>"
        )

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        stats = self._core.stats()
        yield "block_size", stats.block_size
        yield "total", stats.total
        yield "used", stats.used
        yield "held", stats.held
        yield "waiting", stats.waiting

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Face) or type(other) is not type(self):
            return NotImplemented

        return self._core is other._core

    def __hash__(self) -> int:
        return id(self._core)

    def __reduce__(self) -> str:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled: it is memory of this process"
        )


def check_count(core: BufferCore, num: object, *, contiguous: bool = False) -> None:
    """Refuse a number of blocks that makes no sense, or that can never be had."""
    if not isinstance(num, int) or isinstance(num, bool):
        raise InvalidType(f"a number of blocks is an int, not {num!r}")

    if num < 1:
        raise InvalidValue(f"a buffer has 1 block or more, not {num}")

    if num > core.most:
        raise BufferTooLarge(
            f"a buffer of {num} blocks was asked for; the pool never has more than "
            f"{core.most}"
        )

    longest = core.arena.longest_run
    if contiguous and num > longest:
        raise BufferTooLarge(
            f"{num} blocks side by side were asked for; there are never more than "
            f"{longest}"
        )


def _problem(core: BufferCore, num: object) -> str | None:
    """Say why a number of blocks can never be had; None if it can."""
    try:
        check_count(core, num)
    except BufferTooLarge as error:
        return str(error)
    return None
