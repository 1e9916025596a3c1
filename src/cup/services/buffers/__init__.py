"""Buffers: pooled memory that is safe, lazy and without copies.

| for threads    | for tasks           | interface                              |
|----------------|---------------------|----------------------------------------|
| `BufferPool`   | `AsyncBufferPool`   | `BufferPoolAPI`, `AsyncBufferPoolAPI`  |
| `Buffer`       | the same            |                                        |

One pool serves both: `pool.aio` is its face for tasks, `apool.sync` that for threads.

`receive_into` and `send_from` await streams of asyncio, trio and anyio,
`BufferedReceiver` is a base of asyncio's protocols.
"""

from typing import TYPE_CHECKING

from ._core_buffer import Buffer
from .api import (
    LARGE_BLOCK_SIZE,
    MEDIUM_BLOCK_SIZE,
    SMALL_BLOCK_SIZE,
    AsyncBufferPoolAPI,
    BufferPoolAPI,
    BufferStats,
    Leaks,
)
from .sync import BufferPool

__all__ = [
    "LARGE_BLOCK_SIZE",
    "MEDIUM_BLOCK_SIZE",
    "SMALL_BLOCK_SIZE",
    "AsyncBufferPool",
    "AsyncBufferPoolAPI",
    "Buffer",
    "BufferPool",
    "BufferPoolAPI",
    "BufferStats",
    "BufferedReceiver",
    "Leaks",
    "receive_into",
    "send_from",
]

if TYPE_CHECKING:
    from .aio import AsyncBufferPool, BufferedReceiver, receive_into, send_from
else:

    def __getattr__(name: str) -> object:
        # Literal imports: typos stay visible and freezing tools find the modules.
        # Not `from . import`: that asks this very function again.
        if name in {"AsyncBufferPool", "BufferedReceiver", "receive_into", "send_from"}:
            import cup.services.buffers.aio as module
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(module, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
