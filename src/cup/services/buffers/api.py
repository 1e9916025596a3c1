"""What a buffer pool is: block sizes, figures, and the two protocols.

`BufferPoolAPI` is the face for threads, `AsyncBufferPoolAPI` the one for tasks. Both
speak to one pool: who waits for blocks waits in one queue, thread or task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from ._core_buffer import Buffer

__all__ = [
    "LARGE_BLOCK_SIZE",
    "MEDIUM_BLOCK_SIZE",
    "SMALL_BLOCK_SIZE",
    "AsyncBufferPoolAPI",
    "BufferPoolAPI",
    "BufferStats",
    "Leaks",
]

SMALL_BLOCK_SIZE: Final = 4096
"""Bytes: one page."""
MEDIUM_BLOCK_SIZE: Final = 4096 + 128 * 1024
"""Bytes: 132 KiB."""
LARGE_BLOCK_SIZE: Final = 4096 + 1024 * 1024
"""Bytes: 1 MiB and a page."""

Leaks = Literal["off", "sampled", "full"]
"""How lost buffers are reported; their blocks come back in any case.

`off` reports none, `sampled` every 128th buffer, if that is lost, `full` every lost
buffer; reports are `ResourceWarning`s that name the line which allocated the buffer.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferStats:
    """The figures of a pool at one moment; all but `block_size` count blocks.

    Attributes:
        block_size: Bytes of a block.
        total: Blocks that the pool has.
        used: Blocks of buffers that are out.
        free: Blocks that can be had now.
        held: Blocks of released buffers that a view of somebody still shows.
        peak: The most blocks that were ever out.
        buffers: Buffers that are out.
        waiting: Callers that wait for blocks.
        acquired: Buffers that were ever handed out.
        lost: Buffers that were never released, and came back when they died.
    """

    block_size: int
    total: int
    used: int
    free: int
    held: int
    peak: int
    buffers: int
    waiting: int
    acquired: int
    lost: int


class _Common(Protocol):
    """What never waits, and so is the same in both faces."""

    def allocate(
        self, num: int
    ) -> tuple[Literal[True], Buffer] | tuple[Literal[False], str]:
        """Take a buffer of `num` blocks, if that can be had now."""
        ...

    def deallocate(self, buff: Buffer | None) -> bool:
        """Give a buffer back; False for None."""
        ...

    def release(self, buffer: Buffer) -> None:
        """Give a buffer back."""
        ...

    def trim(self) -> int:
        """Give the memory of free blocks back to the system; returns the bytes."""
        ...

    def stats(self) -> BufferStats:
        """Return the figures of this moment."""
        ...


class BufferPoolAPI(_Common, Protocol):
    """The buffer pool, for threads."""

    def acquire(
        self, num: int = 1, timeout: float | None = None, *, contiguous: bool = False
    ) -> Buffer:
        """Wait for a buffer of `num` blocks."""
        ...


class AsyncBufferPoolAPI(_Common, Protocol):
    """The buffer pool, for tasks."""

    async def acquire(
        self, num: int = 1, timeout: float | None = None, *, contiguous: bool = False
    ) -> Buffer:
        """Wait for a buffer of `num` blocks."""
        ...
