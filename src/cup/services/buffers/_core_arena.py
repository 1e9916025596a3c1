"""The memory of a pool: private, and real only where it was written.

On Linux one anonymous mapping that reserves addresses and no memory; where a system
refuses that much at once, smaller ones, made when their blocks are first needed.
Private: a forked child writes to copies of its own.

Not here: who may use which block (`_core`).
"""

from __future__ import annotations

import mmap
import sys
from itertools import groupby
from typing import TYPE_CHECKING

from cup.errors import BufferPoolError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Arena"]

_NORESERVE = 0x4000  # linux/mman.h; the mmap module names it since 3.11
_SMALLEST = 1 << 20  # bytes: no mapping is made smaller than this, or one block


class Arena:
    """Blocks of one size, by their numbers from 0 on.

    Args:
        block_size: Bytes.
        count: Blocks.

    Raises:
        BufferPoolError: If the system has no addresses for a single step.
    """

    __slots__ = ("_maps", "_step", "block_size", "count")

    def __init__(self, block_size: int, count: int) -> None:
        self.block_size: int = block_size
        self.count: int = count
        self._step = count
        self._maps: dict[int, mmap.mmap] = {}
        self._find_step()

    def _find_step(self) -> None:
        """Find how many blocks the system lets one mapping have."""
        while True:
            try:
                self._maps[0] = self._map_step()
            except BufferPoolError:
                half = self._step // 2
                if half == 0 or half * self.block_size < _SMALLEST:
                    raise
                self._step = half
            else:
                return

    def _map_step(self) -> mmap.mmap:
        try:
            return _map(self._step * self.block_size)
        except (OSError, ValueError, OverflowError, MemoryError) as error:
            raise BufferPoolError(
                f"cannot map memory for {self._step} blocks of {self.block_size} "
                f"bytes: {error}"
            ) from error

    def numbers(self) -> list[int]:
        """Return the numbers of all blocks, the last first.

        Raises:
            BufferPoolError: If there is no memory for so many.
        """
        try:
            return list(range(self.count - 1, -1, -1))
        except (MemoryError, OverflowError) as error:
            raise BufferPoolError(
                f"no memory for a list of {self.count} blocks: have fewer, larger ones"
            ) from error

    def _map_of(self, block: int) -> tuple[mmap.mmap, int]:
        """Return the mapping of a block, and its offset there."""
        number, rest = divmod(block, self._step)
        mapping = self._maps.get(number)
        if mapping is None:
            # A whole step, also at the end: the pool may grow into it.
            mapping = self._maps.setdefault(number, self._map_step())
        return mapping, rest * self.block_size

    def view(self, block: int, blocks: int = 1) -> memoryview:
        """Return a new view of so many blocks, which lie in one mapping.

        It is made from the mapping itself, not from another view: what is derived
        from it later can be counted apart (see `_core_views`).
        """
        mapping, start = self._map_of(block)
        return memoryview(mapping)[start : start + blocks * self.block_size]

    def views(self, blocks: list[int]) -> list[memoryview]:
        """Return a new view of each block."""
        if self.count > self._step:
            return [self.view(block) for block in blocks]

        mapping, size = self._maps[0], self.block_size
        return [memoryview(mapping)[n * size : n * size + size] for n in blocks]

    @property
    def longest_run(self) -> int:
        """How many blocks can lie side by side."""
        return self._step

    def same_mapping(self, first: int, last: int) -> bool:
        """Tell whether two blocks lie in one mapping."""
        return first // self._step == last // self._step

    def extend(self, count: int) -> None:
        """Have `count` more blocks."""
        self.count += count

    def drop(self, blocks: Iterable[int]) -> int:
        """Give the memory of blocks back to the system; returns the bytes.

        What they held is lost: they read as zeros, or as before where the system has
        no such call.
        """
        if sys.platform == "win32":
            return 0

        dropped = 0
        numbered = enumerate(sorted(blocks))
        for _, run in groupby(numbered, key=lambda pair: pair[1] - pair[0]):
            numbers = [block for _, block in run]
            dropped += self._drop_run(numbers[0], numbers[-1] + 1)
        return dropped

    def _drop_run(self, first: int, stop: int) -> int:
        dropped = 0
        while first < stop:
            number, rest = divmod(first, self._step)
            end = min(stop, (number + 1) * self._step)
            mapping = self._maps.get(number)
            if mapping is not None:
                size = self.block_size
                start = -(-rest * size // mmap.PAGESIZE) * mmap.PAGESIZE
                length = (end - number * self._step) * size - start
                length -= length % mmap.PAGESIZE
                if length > 0 and sys.platform != "win32":
                    mapping.madvise(mmap.MADV_DONTNEED, start, length)
                    dropped += length
            first = end
        return dropped


def _map(size: int) -> mmap.mmap:
    """Return private memory, committed when it is written."""
    if sys.platform == "win32":
        return mmap.mmap(-1, size)

    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    if sys.platform == "linux":
        flags |= _NORESERVE
    return mmap.mmap(-1, size, flags)
