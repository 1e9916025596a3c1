"""Receiving into buffers by asyncio's own protocols, on asyncio and uvloop.

The transport puts what comes right into the blocks; over TLS, what is decrypted.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from cup.errors import BufferReleased

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core_buffer import Buffer

__all__ = ["BufferedReceiver", "Tap"]

_SPARE = 1 << 16


class BufferedReceiver(asyncio.BufferedProtocol):
    """Base of protocols that receive into a buffer; override what you need.

    When the buffer is full, reading pauses. Then make room, or set another buffer,
    and call `resume`. Some transports deliver more than they were asked for: that is
    kept, and comes first, also after the connection was lost.

    Args:
        buffer: Where to put what comes, behind its content.

    Attributes:
        transport: The transport; None before and after the connection.

    Example:
        >>> class Counter(BufferedReceiver):
        ...     total = 0
        ...
        ...     def received(self, count):
        ...         self.total += count
        ...
        ...     def full(self):
        ...         self.buffer.clear()
        ...         self.resume()
    """

    def __init__(self, buffer: Buffer) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = buffer
        self._spare = bytearray()
        self._surplus = bytearray()
        self._is_paused = False
        self._is_resuming = False
        self._goes_on = False  # `resume` was called while it was under way

    # -- to be overridden ----------------------------------------------------------

    def received(self, count: int) -> None:
        """Do something with `count` bytes that are at the end of the buffer now."""

    def full(self) -> None:
        """Do something about a full buffer; reading has paused."""

    # -- to be called --------------------------------------------------------------

    @property
    def buffer(self) -> Buffer:
        """Where to put what comes; after setting another one, call `resume`."""
        return self._buffer

    @buffer.setter
    def buffer(self, buffer: Buffer) -> None:
        self._buffer = buffer

    @property
    def paused(self) -> bool:
        """Whether reading has paused, because the buffer is full."""
        return self._is_paused

    def resume(self) -> None:
        """Read on, once there is room again; does nothing if reading has not paused.

        Raises:
            BufferReleased: If the buffer was released.
        """
        self._goes_on = True
        if self._is_resuming:
            return  # called by `full`, which the loop below called

        self._is_resuming = True
        try:
            while self._goes_on and self._is_paused:
                self._goes_on = False
                self._resume()
        finally:
            self._is_resuming = False

    def _resume(self) -> None:
        buffer = self._buffer
        room = buffer.maxsize() - buffer.length()
        if room <= 0:
            return

        self._is_paused = False
        surplus = self._surplus[:room]
        if surplus:
            del self._surplus[:room]
            buffer.append(surplus)
            self._tell(len(surplus))
        if not self._is_paused and self.transport is not None:
            with suppress(AttributeError):  # as in `_pause`
                self.transport.resume_reading()

    # -- what the transport calls --------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # Typed widely by asyncio, for all kinds of protocols; that of a stream gets
        # one that can read and write, by whatever class.
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the API
        """Forget the transport."""
        self.transport = None

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the API
        """Return where the next bytes go."""
        room = self._buffer.room() if not self._surplus else []
        if room:
            return room[0]

        # A view, not the array itself: TLS of asyncio would drop what it puts there.
        self._spare = bytearray(_SPARE)
        return memoryview(self._spare)

    def buffer_updated(self, nbytes: int) -> None:
        """Count what came."""
        if self._spare:
            self._surplus += memoryview(self._spare)[:nbytes]
            self._spare = bytearray()
            self._pause()
        else:
            self._buffer.filled(nbytes)
            self._tell(nbytes)

    def _tell(self, count: int) -> None:
        self.received(count)
        buffer = self._buffer
        if self._surplus or buffer.released or buffer.length() >= buffer.maxsize():
            self._pause()
            self.full()

    def _pause(self) -> None:
        self._is_paused = True
        if self.transport is not None:
            # TLS of CPython 3.10 has lost its connection before it says so.
            with suppress(AttributeError):
                self.transport.pause_reading()


class Tap(asyncio.BufferedProtocol):
    """Stands in for the protocol of a transport, until something comes, once.

    Attributes:
        tapped: Done when something came, the end, or the loss of the connection.
        count: How many bytes are in the buffer for that.
        lost: Whether the connection was lost.
        error: How.
    """

    def __init__(
        self, protocol: asyncio.Protocol, buffer: Buffer, pause: Callable[[], None]
    ) -> None:
        self.tapped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.count: int = 0
        self.lost: bool = False
        self.error: Exception | None = None
        self._protocol = protocol
        self._buffer = buffer
        self._pause = pause
        self._spare = bytearray()

    def _end(self) -> None:
        if not self.tapped.done():
            self.tapped.set_result(None)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the API
        """Return where the next bytes go."""
        try:
            room = self._buffer.room()
        except BufferReleased:
            room = []
        if room:
            return room[0]

        self._spare = bytearray(_SPARE)
        return memoryview(self._spare)

    def buffer_updated(self, nbytes: int) -> None:
        """Count what came; what did not fit in is for the protocol itself."""
        if self._spare:
            self._protocol.data_received(bytes(self._spare[:nbytes]))
            self._spare = bytearray()
        else:
            self._buffer.filled(nbytes)
            self.count += nbytes
        self._pause()
        self._end()

    def eof_received(self) -> bool | None:
        """Tell the protocol of the end."""
        self._end()
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the protocol of the loss."""
        self.lost = True
        self.error = exc
        self._protocol.connection_lost(exc)
        self._end()

    def pause_writing(self) -> None:
        """Pass it on: another task may be sending."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._protocol.resume_writing()
