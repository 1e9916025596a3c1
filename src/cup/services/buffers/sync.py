"""The buffer pool for threads; its twin for tasks is in `aio`.

Not here: how it works (`_core`), what can be done with a buffer (`_core_buffer`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cup._core.clock import check_timeout
from cup._core.wait import block

from ._core import BlocksAsk
from ._core_face import Face, check_count
from .api import MEDIUM_BLOCK_SIZE, Leaks

if TYPE_CHECKING:
    from ._core_buffer import Buffer
    from .aio import AsyncBufferPool
    from .api import BufferPoolAPI

__all__ = ["BufferPool"]


class BufferPool(Face):
    """Memory in blocks of one size, taken and given back as buffers.

    The memory is one private mapping, which becomes real where it is written: a pool
    costs milliseconds and no memory before it is used. Buffers never share a block; one
    whose view somebody still holds is not handed out again. In a forked child the pool
    and its buffers are copies. All methods are thread-safe.

    It is not faster than a small `bytearray` that comes and goes; it is for bounded
    memory, for large buffers, and for receiving without copies.

    Args:
        pool_size: Blocks. By position, this and `block_size` may come in either order,
            as long as one of them is a standard block size.
        block_size: Bytes of a block.
        extendable: Whether the pool grows when its blocks are out.
        max_blocks: How many blocks it may grow to; makes it extendable.
        leaks: Which lost buffers are reported.

    Raises:
        InvalidValue: If a size is below 1, or the order cannot be told.
        InvalidType: If a size is no int.
        BufferPoolError: If the system has no addresses left.
    """

    __slots__ = ()

    @Face._counted  # noqa: SLF001 - it is ours
    def __init__(
        self,
        pool_size: int,
        block_size: int = MEDIUM_BLOCK_SIZE,
        extendable: bool = False,
        *,
        max_blocks: int | None = None,
        leaks: Leaks = "sampled",
    ) -> None:
        super().__init__(
            pool_size, block_size, extendable, max_blocks=max_blocks, leaks=leaks
        )

    @property
    def aio(self) -> AsyncBufferPool:
        """The face of this very pool for tasks."""
        from .aio import AsyncBufferPool  # noqa: PLC0415 - loads event loops

        return AsyncBufferPool.over(self._core)

    def acquire(
        self, num: int = 1, timeout: float | None = None, *, contiguous: bool = False
    ) -> Buffer:
        """Wait for a buffer of `num` blocks.

        Who waits is served in the order of coming, threads and tasks alike: a large
        request is not overtaken by small ones.

        Args:
            num: Blocks.
            timeout: Seconds; None waits for ever, zero or less tries once.
            contiguous: Whether the blocks must lie side by side, as one view; then no
                more can be had at once than the pool began with.

        Returns:
            The buffer, empty; use it in a `with` block, or release it.

        Raises:
            WaitTimeout: If it could not be had in time.
            BufferTooLarge: If the pool can never give so many.
            InvalidValue: If `num` is below 1, or `timeout` is NaN.
        """
        core = self._core
        if timeout is not None:
            check_timeout(timeout)
        if contiguous or type(num) is not int or not 0 < num <= core.arena.count:
            check_count(core, num, contiguous=contiguous)
        buffer = None if contiguous else core.try_acquire(num)
        if buffer is None:
            buffer = block(BlocksAsk(core, num, contiguous=contiguous), timeout)
        if not buffer.serial & self._mask:
            core.leaks.note(buffer.serial)
        return buffer


if TYPE_CHECKING:
    _proof: BufferPoolAPI = BufferPool(1)
