"""Receiving from streams into buffers, and sending from them, on asyncio and trio.

Where the descriptor of a stream can be read directly, what comes goes into the blocks
without a copy: sockets, trio's sockets and streams, anyio's socket streams. From any
other stream (TLS among them) it is copied.

Not here: how a stream is read directly (`aio_port`), protocols (`aio_protocol`).
"""

from __future__ import annotations

from io import SEEK_CUR
from typing import TYPE_CHECKING, Protocol, TypeAlias

from anyio import EndOfStream
from anyio.abc import ByteReceiveStream, ByteSendStream

from cup._core.loops import current_loop
from cup.errors import BufferOverflow, InvalidType

from .aio_port import port_of

if TYPE_CHECKING:
    import socket

    from ._core_buffer import Buffer
    from .aio_port import Port

__all__ = ["ReceiveStream", "SendStream", "receive_into", "send_from"]

_CHUNK = 1 << 16  # bytes that are copied at once


class TrioReceiveStream(Protocol):
    """What trio's streams can do."""

    async def receive_some(self, max_bytes: int, /) -> bytes | bytearray:
        """Receive some bytes; none at the end."""
        ...


class TrioSendStream(Protocol):
    """What trio's streams can do."""

    async def send_all(self, data: bytes, /) -> None:
        """Send all of it."""
        ...


class TrioSocket(Protocol):
    """What trio's sockets can do."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...

    async def recv(self, buflen: int, flags: int = 0, /) -> bytes:
        """Receive some bytes; none at the end."""
        ...

    async def send(self, data: bytes, flags: int = 0, /) -> int:
        """Send some of it."""
        ...


ReceiveStream: TypeAlias = (
    "socket.socket | TrioSocket | TrioReceiveStream | ByteReceiveStream"
)
"""What can be received from."""

SendStream: TypeAlias = "socket.socket | TrioSocket | TrioSendStream | ByteSendStream"
"""What can be sent to."""


async def receive_into(stream: ReceiveStream, buffer: Buffer) -> int:
    """Wait for bytes of a stream, and put them behind the content of a buffer.

    No view of the buffer is held while it waits. If it is cancelled, what came before
    that is in the buffer, and all else is still in the stream.

    Args:
        stream: A socket that does not block, one of trio's sockets or streams, or any
            byte stream of anyio's.
        buffer: Where to put them; as many as fit.

    Returns:
        How many bytes came; 0 at the end of the stream.

    Raises:
        BufferOverflow: If the buffer is full.
        BufferReleased: If it was released.
        InvalidType: If that is no such stream.
        InvalidValue: If the socket blocks.
    """
    await current_loop().immediate()
    room = buffer.maxsize() - buffer.length()
    if not room:
        raise BufferOverflow(f"no room in {buffer!r}: nothing can be received into it")

    port = port_of(stream)
    if port is None:
        received = await _receive(stream, min(room, _CHUNK))
        buffer.append(received)
        return len(received)

    with port.receiving():
        while True:
            try:
                return port.read(buffer)
            except BlockingIOError:
                pass  # not waited in here: the error knows views of the buffer
            count = await port.until_readable(buffer)
            if count:
                return count


async def send_from(stream: SendStream, buffer: Buffer) -> int:
    """Send all that follows the position of a buffer, and move behind it.

    If it is cancelled, the position tells what was sent or is on its way; of a stream
    that has to be copied to, one chunk of 64 KiB may be sent in part.

    Args:
        stream: As in `receive_into`.
        buffer: What to send.

    Returns:
        How many bytes that was.

    Raises:
        BufferReleased: If the buffer was released.
        InvalidType: If that is no such stream.
        InvalidValue: If the socket blocks.
    """
    await current_loop().immediate()
    start = buffer.tell()
    port = port_of(stream)
    while buffer.tell() < buffer.length():
        if port is not None and port.may_write():
            if _try_write(port, buffer):
                continue
            if port.waits_to_write():
                await port.until_writable(buffer)
                continue
        chunk = buffer.peek(_CHUNK)
        await _send(stream, chunk)
        buffer.seek(len(chunk), SEEK_CUR)
    return buffer.tell() - start


def _try_write(port: Port, buffer: Buffer) -> bool:
    try:
        port.write(buffer)
    except BlockingIOError:
        return False
    return True


async def _receive(stream: ReceiveStream, most: int) -> bytes | bytearray:
    if isinstance(stream, ByteReceiveStream):
        try:
            return await stream.receive(most)
        except EndOfStream:
            return b""

    receive_some = getattr(stream, "receive_some", None) or getattr(
        stream, "recv", None
    )
    if receive_some is None:
        raise InvalidType(f"{type(stream).__name__} is no stream to receive from")

    received: bytes | bytearray = await receive_some(most)
    return received


async def _send(stream: SendStream, chunk: bytes) -> None:
    if isinstance(stream, ByteSendStream):
        await stream.send(chunk)
        return

    send_all = getattr(stream, "send_all", None)
    if send_all is None:
        raise InvalidType(f"{type(stream).__name__} is no stream to send to")

    await send_all(chunk)
