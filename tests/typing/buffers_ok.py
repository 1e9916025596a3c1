"""What type checkers must see in the buffers. Checked, not run."""

import asyncio
import io
import socket

from anyio.abc import ByteStream
from typing_extensions import Buffer as BytesLike, assert_type

from cup.protocols import AsyncBufferPoolAPI, BufferPoolAPI
from cup.services.buffers import (
    AsyncBufferPool,
    Buffer,
    BufferedReceiver,
    BufferPool,
    BufferStats,
    receive_into,
    send_from,
)
from cup.services.buffers.file import BufferFile


def threads(pool: BufferPool) -> None:
    assert_type(pool.acquire(), Buffer)
    assert_type(pool.acquire(2, 1.5, contiguous=True), Buffer)
    assert_type(pool.stats(), BufferStats)
    assert_type(pool.trim(), int)
    assert_type(pool.aio, AsyncBufferPool)
    ok, answer = pool.allocate(3)
    assert_type(ok, bool)
    assert_type(answer, Buffer | str)
    assert_type(pool.deallocate(None), bool)
    as_protocol: BufferPoolAPI = pool
    del as_protocol


async def tasks(pool: AsyncBufferPool, stream: ByteStream, sock: socket.socket) -> None:
    buffer = await pool.acquire(2, timeout=None)
    assert_type(buffer, Buffer)
    assert_type(await receive_into(stream, buffer), int)
    assert_type(await receive_into(sock, buffer), int)
    assert_type(await send_from(stream, buffer), int)
    assert_type(pool.sync, BufferPool)
    as_protocol: AsyncBufferPoolAPI = pool
    del as_protocol


def contents(buffer: Buffer, data: BytesLike) -> None:
    with buffer as entered:
        assert_type(entered, Buffer)
    buffer.set("text", encoding="utf16")
    buffer.set(data)
    buffer.set(memoryview(b"bytes"))
    assert_type(buffer.views(), list[memoryview])
    assert_type(buffer.tobytes(), bytes)
    assert_type(bytes(buffer), bytes)
    assert_type(buffer.read(10), bytes)
    assert_type(buffer.readinto(bytearray(10)), int)
    assert_type(buffer.seek(0, io.SEEK_END), int)
    assert_type(buffer.file(), BufferFile)
    as_file: io.BufferedIOBase = buffer.file()
    del as_file


class Receiver(BufferedReceiver):
    def received(self, count: int) -> None:
        assert_type(self.buffer, Buffer)
        assert_type(self.transport, asyncio.Transport | None)
        self.resume()


def as_asyncio_takes_it(pool: BufferPool) -> asyncio.BaseProtocol:
    return Receiver(pool.acquire())
