"""The buffer pool for tasks; its twin for threads is in `sync`.

And what needs an event loop to wait on: receiving from streams into buffers, sending
from them (`aio_receive`), and a protocol that receives into them (`aio_protocol`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cup._core.clock import check_timeout
from cup._core.loops import ablock, current_loop

from ._core import BlocksAsk
from ._core_face import Face, check_count
from .aio_protocol import BufferedReceiver
from .aio_receive import receive_into, send_from
from .api import MEDIUM_BLOCK_SIZE, Leaks

if TYPE_CHECKING:
    from ._core_buffer import Buffer
    from .api import AsyncBufferPoolAPI
    from .sync import BufferPool

__all__ = ["AsyncBufferPool", "BufferedReceiver", "receive_into", "send_from"]


class AsyncBufferPool(Face):
    """Memory in blocks of one size, for tasks; twin of `BufferPool`.

    Tasks and threads wait for blocks in one queue: `apool.sync` is the face of this
    very pool for threads.

    Args:
        pool_size: Blocks.
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
    def sync(self) -> BufferPool:
        """The face of this very pool for threads."""
        from .sync import BufferPool  # noqa: PLC0415 - the twins know each other

        return BufferPool.over(self._core)

    async def acquire(
        self, num: int = 1, timeout: float | None = None, *, contiguous: bool = False
    ) -> Buffer:
        """Wait for a buffer of `num` blocks.

        Twin of `BufferPool.acquire`. A cancelled task leaves the queue; what it was
        granted meanwhile goes to the next.

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
        await current_loop().immediate()
        if contiguous or type(num) is not int or not 0 < num <= core.arena.count:
            check_count(core, num, contiguous=contiguous)
        buffer = None if contiguous else core.try_acquire(num)
        if buffer is None:
            buffer = await ablock(BlocksAsk(core, num, contiguous=contiguous), timeout)
        if not buffer.serial & self._mask:
            core.leaks.note(buffer.serial)
        return buffer


if TYPE_CHECKING:
    _proof: AsyncBufferPoolAPI = AsyncBufferPool(1)
