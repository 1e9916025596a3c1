"""Pooled memory, in tasks; its twin for threads is `_demo_buffers`."""

from __future__ import annotations

import gc
import warnings
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from cup.errors import BufferTooLarge
from cup.services.buffers import AsyncBufferPool, receive_into
from cup.services.threadpool import AsyncThreadPool

from . import _demo_buffers as twin
from ._demo_buffers import (
    BLOCKS,
    EACH,
    STREAMS,
    TOO_LARGE,
    listening,
    make_file,
    misuse,
    send,
    tell_lost,
    tell_received,
    wait_for_blocks,
)
from ._demo_part import AsyncPart
from ._demo_threadpool_aio import wait_until

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from ._demo_part import Stage

__all__ = ["PARTS"]


async def receive(stage: Stage) -> None:
    """Receive several streams at once by a pool that is too small for all."""
    source = make_file(stage)
    pool = AsyncBufferPool(BLOCKS)
    copies = [stage.folder / f"copy{n}" for n in range(STREAMS)]
    received: list[int] = []

    async def count(near: socket.socket, copy: Path) -> None:
        received.append(await keep(pool, near, copy))

    with listening() as server:
        address: tuple[str, int] = server.getsockname()
        async with (
            AsyncThreadPool(max_workers=STREAMS) as workers,
            anyio.create_task_group() as streams,
        ):
            for copy in copies:
                await workers.submit(send, source, address)
                await anyio.wait_readable(server)
                near, _ = server.accept()
                streams.start_soon(count, near, copy)
    tell_received(stage, pool, source, copies, sum(received))


async def keep(pool: AsyncBufferPool, near: socket.socket, copy: Path) -> int:
    """Write a stream to a file, without a copy in between."""
    near.settimeout(0)
    received = 0
    with near, copy.open("wb", buffering=0) as file:
        while True:
            with await pool.acquire(EACH) as buffer:
                while buffer.length() < buffer.maxsize():
                    if not await receive_into(near, buffer):
                        return received + buffer.writevall(file.fileno())
                received += buffer.writevall(file.fileno())


async def line(stage: Stage) -> None:
    """Ask for many blocks, then for few, while some are free: nobody is overtaken."""
    pool = AsyncBufferPool(8)
    order: list[str] = []

    async def take(blocks: int) -> None:
        with await pool.acquire(blocks):
            order.append(f"{blocks} blocks")

    async with anyio.create_task_group() as tasks:
        held = await pool.acquire(4)
        for number, blocks in enumerate((8, 2, 7)):
            tasks.start_soon(take, blocks)
            await wait_until(partial(wait_for_blocks, pool, number + 1))
        past = int(pool.allocate(1)[0])
        stage.exactly("small requests let past a large one", past, 0)
        held.release()
    stage.exactly("served in this order", order, ["8 blocks", "2 blocks", "7 blocks"])
    try:
        await pool.acquire(9)
    except BufferTooLarge as error:
        stage.exactly("error of more than there is", type(error).__name__, TOO_LARGE)


async def safety(stage: Stage) -> None:
    """Use buffers wrongly: release them twice, keep their views, lose them."""
    pool = AsyncBufferPool(4, leaks="full")
    buffer = await pool.acquire(2)
    misuse(stage, pool, buffer)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del buffer
        await pool.acquire(3)  # and dropped
        gc.collect()
    tell_lost(stage, pool, [str(warning.message) for warning in told])


PARTS: Final[tuple[AsyncPart, ...]] = tuple(
    AsyncPart(part, run)
    for part, run in zip(twin.PARTS, (receive, line, safety), strict=True)
)
