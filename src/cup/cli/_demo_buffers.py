"""Pooled memory, in threads; its twin for tasks is `_demo_buffers_aio`."""

from __future__ import annotations

import gc
import random
import socket
import warnings
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cup.errors import BufferReleased, BufferTooLarge
from cup.services.buffers import Buffer, BufferPool
from cup.services.threadpool import ThreadPool

from ._demo_part import Part
from ._demo_threadpool import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from cup.services.buffers import AsyncBufferPool

    from ._demo_part import Stage

__all__ = ["PARTS"]

STREAMS: Final = 6
BLOCKS: Final = 16  # of a pool for all streams
EACH: Final = 6  # blocks that a stream takes at once


def receive(stage: Stage) -> None:
    """Receive several streams at once by a pool that is too small for all."""
    source = make_file(stage)
    pool = BufferPool(BLOCKS)
    copies = [stage.folder / f"copy{n}" for n in range(STREAMS)]
    with listening() as server, ThreadPool(max_workers=2 * STREAMS) as workers:
        for _ in copies:
            workers.submit(send, source, server.getsockname())
        calls = [workers.submit(keep, pool, server, copy) for copy in copies]
        received = sum(call.result() for call in calls)
    tell_received(stage, pool, source, copies, received)


def keep(pool: BufferPool, server: socket.socket, copy: Path) -> int:
    """Accept a stream and write it to a file, without a copy in between."""
    near, _ = server.accept()
    received = 0
    with near, copy.open("wb", buffering=0) as file:
        while True:
            with pool.acquire(EACH) as buffer:
                while buffer.recvmsg_into(near):
                    pass
                received += buffer.writevall(file.fileno())
                if buffer.length() < buffer.maxsize():
                    return received


def line(stage: Stage) -> None:
    """Ask for many blocks, then for few, while some are free: nobody is overtaken."""
    pool = BufferPool(8)
    order: list[str] = []

    def take(blocks: int) -> None:
        with pool.acquire(blocks):
            order.append(f"{blocks} blocks")

    with ThreadPool(max_workers=3) as workers, pool.acquire(4) as held:
        for number, blocks in enumerate((8, 2, 7)):
            workers.submit(take, blocks)
            wait_until(partial(wait_for_blocks, pool, number + 1))
        past = int(pool.allocate(1)[0])
        stage.exactly("small requests let past a large one", past, 0)
        held.release()
    stage.exactly("served in this order", order, ["8 blocks", "2 blocks", "7 blocks"])
    try:
        pool.acquire(9)
    except BufferTooLarge as error:
        stage.exactly("error of more than there is", type(error).__name__, TOO_LARGE)


def safety(stage: Stage) -> None:
    """Use buffers wrongly: release them twice, keep their views, lose them."""
    pool = BufferPool(4, leaks="full")
    buffer = pool.acquire(2)
    misuse(stage, pool, buffer)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del buffer
        pool.acquire(3)  # and dropped
        gc.collect()
    tell_lost(stage, pool, [str(warning.message) for warning in told])


# -- what both twins use ---------------------------------------------------------------

TOO_LARGE: Final = "BufferTooLarge"


def make_file(stage: Stage) -> Path:
    """Make a file of noise."""
    path = stage.folder / "source"
    noise = random.Random(stage.seed).randbytes(1 << 20)  # noqa: S311 - the same each time
    with path.open("wb") as file:
        for _ in range(stage.many(12, 3)):
            file.write(noise)
        file.write(noise[:12345])
    return path


def listening() -> socket.socket:
    """Return a socket that listens on loopback."""
    return socket.create_server(("127.0.0.1", 0), backlog=STREAMS)


def send(path: Path, address: tuple[str, int]) -> int:
    """Send a file to an address, in a thread."""
    with socket.create_connection(address) as far, path.open("rb") as file:
        return far.sendfile(file)


def tell_received(
    stage: Stage,
    pool: BufferPool | AsyncBufferPool,
    source: Path,
    copies: list[Path],
    received: int,
) -> None:
    """State what came, and what it took."""
    size = source.stat().st_size
    stage.exactly("bytes received", received, size * STREAMS)
    wanted = checksum(source)
    same = sum(checksum(copy) == wanted for copy in copies)
    stage.exactly("files with the checksum of the source", same, STREAMS)
    stats = pool.stats()
    stage.at_most("most blocks in use, of all streams", stats.peak, BLOCKS)
    stage.exactly("blocks in use at the end", stats.used, 0)


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return sha256(path.read_bytes()).hexdigest()


def wait_for_blocks(pool: BufferPool | AsyncBufferPool, callers: int) -> bool:
    """Tell whether so many callers wait."""
    return pool.stats().waiting == callers


def misuse(stage: Stage, pool: BufferPool | AsyncBufferPool, buffer: Buffer) -> None:
    """Keep a view of a released buffer, and release it again."""
    buffer.set(b"mine")
    views = buffer.views()
    pool.release(buffer)
    try:
        buffer.release()
    except BufferReleased as error:
        name = type(error).__name__
        stage.exactly("error of a second release", name, "BufferReleased")

    _, other = pool.allocate(3)
    assert isinstance(other, Buffer), "one block is held back, three are free"
    other.set(b"o" * other.maxsize())
    views[0][:] = b"late"  # by who has no right to
    stage.exactly("blocks held back by a view", pool.stats().held, 1)
    right = other.tobytes() == b"o" * other.maxsize()
    stage.exactly("buffers damaged by a stale view", int(not right), 0)
    other.release()
    views.clear()
    stage.exactly("blocks held back without the view", pool.stats().held, 0)


def tell_lost(
    stage: Stage, pool: BufferPool | AsyncBufferPool, told: list[str]
) -> None:
    """State what became of a lost buffer."""
    stats = pool.stats()
    stage.exactly("buffers lost", stats.lost, 1)
    stage.exactly("blocks free after that", stats.free, 4)
    words = sum("a buffer of 3 blocks" in text for text in told)
    stage.exactly("warnings that name its size", words, 1)


PARTS: Final = (
    Part("buffers.receive", "receive streams into pooled memory, to files", receive),
    Part("buffers.line", "wait for blocks in the order of coming", line),
    Part("buffers.safety", "release twice, keep views, lose buffers", safety),
)
