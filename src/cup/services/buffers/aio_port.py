"""Streams whose descriptor can be read and written directly, each in its own way.

This is the one place that looks into streams of other libraries. What is not as it is
known to be is not touched: then the stream is read and written by its own methods.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import AbstractContextManager, contextmanager, nullcontext
from ssl import SSLWantReadError, SSLWantWriteError
from typing import TYPE_CHECKING, Protocol, TypeAlias

from anyio import (
    BrokenResourceError,
    ClosedResourceError,
    ResourceGuard,
    wait_readable,
    wait_writable,
)
from anyio.abc import SocketAttribute, SocketStream

from cup.errors import InvalidValue

from .aio_protocol import Tap

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sized

    from ._core_buffer import Buffer

__all__ = ["Port", "port_of"]

_Wait: TypeAlias = "Callable[[socket.socket], Awaitable[None]]"


class _HasDescriptor(Protocol):
    def fileno(self) -> int: ...


class Port:
    """A descriptor that does not block, and how to wait for it.

    It is asked for each time: the number of a socket that somebody closed meanwhile
    may be that of another file by now.
    """

    def __init__(self, sock: _HasDescriptor) -> None:
        self.fileno: Callable[[], int] = sock.fileno

    def receiving(self) -> AbstractContextManager[object]:
        """Keep other tasks from receiving meanwhile, where the stream can do that."""
        return nullcontext()

    def read(self, buffer: Buffer) -> int:
        """Receive behind the content of a buffer; BlockingIOError if nothing came."""
        return buffer.readv(self.fileno())

    def write(self, buffer: Buffer) -> int:
        """Send from a buffer; BlockingIOError if nothing is taken."""
        return buffer.writev(self.fileno())

    def may_write(self) -> bool:
        """Tell whether nothing that was sent before is on its way to the descriptor."""
        return True

    def waits_to_write(self) -> bool:
        """Tell whether `until_writable` can be used; else the stream sends a copy."""
        return True

    async def until_readable(self, buffer: Buffer) -> int:  # noqa: ARG002 - some do
        """Wait until there is something; returns how much of it is in the buffer."""
        await wait_readable(self.fileno())
        return 0

    async def until_writable(self, buffer: Buffer) -> None:  # noqa: ARG002 - some do
        """Wait until something is taken."""
        await wait_writable(self.fileno())


class SocketPort(Port):
    """A socket of the standard library, TLS among them."""

    def __init__(self, sock: socket.socket) -> None:
        if sock.gettimeout() != 0:
            raise InvalidValue(f"{sock!r} blocks: call setblocking(False) first")

        super().__init__(sock)
        self._socket = sock
        self._wait_to_read: _Wait = wait_readable
        self._wait_to_write: _Wait = wait_writable

    def read(self, buffer: Buffer) -> int:
        """Receive behind the content of a buffer."""
        try:
            return buffer.recvmsg_into(self._socket)
        except (SSLWantReadError, SSLWantWriteError) as error:
            self._wait_to_read = _awaited(error)
            raise BlockingIOError from None

    def write(self, buffer: Buffer) -> int:
        """Send from a buffer."""
        try:
            return buffer.sendmsg(self._socket)
        except (SSLWantReadError, SSLWantWriteError) as error:
            self._wait_to_write = _awaited(error)
            raise BlockingIOError from None

    async def until_readable(self, buffer: Buffer) -> int:  # noqa: ARG002 - some do
        """Wait until there is something."""
        await self._wait_to_read(self._socket)
        return 0

    async def until_writable(self, buffer: Buffer) -> None:  # noqa: ARG002 - some do
        """Wait until something is taken."""
        await self._wait_to_write(self._socket)


def _awaited(error: OSError) -> _Wait:
    """Return the wait that TLS asks for."""
    return wait_writable if isinstance(error, SSLWantWriteError) else wait_readable


class TrioPort(Port):
    """A stream of trio's: reading an end that broke is told as trio tells it."""

    def read(self, buffer: Buffer) -> int:
        """Receive behind the content of a buffer."""
        with self._telling():
            return super().read(buffer)

    def write(self, buffer: Buffer) -> int:
        """Send from a buffer."""
        with self._telling():
            return super().write(buffer)

    @contextmanager
    def _telling(self) -> Generator[None]:
        try:
            yield
        except BlockingIOError:
            raise
        except OSError as error:
            import trio  # noqa: PLC0415 - loaded already: this is a stream of its

            raise trio.BrokenResourceError from error


class AnyioPort(Port):
    """A socket stream of anyio's, whose guard keeps other receivers out."""

    def __init__(
        self, sock: _HasDescriptor, guard: AbstractContextManager[object]
    ) -> None:
        super().__init__(sock)
        self._guard = guard

    def receiving(self) -> AbstractContextManager[object]:
        """Keep other tasks from receiving meanwhile."""
        return self._guard

    def read(self, buffer: Buffer) -> int:
        """Receive behind the content of a buffer."""
        try:
            return super().read(buffer)
        except BlockingIOError:
            raise
        except OSError as error:
            raise BrokenResourceError from error

    def write(self, buffer: Buffer) -> int:
        """Send from a buffer."""
        try:
            return super().write(buffer)
        except BlockingIOError:
            raise
        except OSError as error:
            raise BrokenResourceError from error


class Transport(Protocol):
    """What is used of a transport: public methods of asyncio's."""

    def get_extra_info(self, name: str) -> object:
        """Return what is known of it."""
        ...

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are on their way out."""
        ...

    def is_closing(self) -> bool:
        """Tell whether it is closed, or about to be."""
        ...

    def is_reading(self) -> bool:
        """Tell whether it reads."""
        ...

    def pause_reading(self) -> None:
        """Stop reading."""
        ...

    def resume_reading(self) -> None:
        """Read on."""
        ...

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Have another protocol told."""
        ...


class TransportPort(AnyioPort):
    """A socket stream of anyio's on asyncio: over a transport, which is paused.

    While it waits, the transport has a protocol that receives into the buffer.
    """

    def __init__(
        self,
        sock: _HasDescriptor,
        guard: AbstractContextManager[object],
        transport: Transport,
        protocol: asyncio.Protocol,
    ) -> None:
        super().__init__(sock, guard)
        self._transport = transport
        self._protocol = protocol

    def may_write(self) -> bool:
        """Tell whether the transport is open, and has nothing left to send."""
        transport = self._transport
        return not (transport.is_closing() or transport.get_write_buffer_size())

    def waits_to_write(self) -> bool:
        """Return False: the transport of asyncio owns the descriptor."""
        return False

    async def until_readable(self, buffer: Buffer) -> int:
        """Wait until something is in the buffer, or the end is reached."""
        transport = self._transport
        tap = Tap(self._protocol, buffer, transport.pause_reading)
        transport.set_protocol(tap)
        try:
            transport.resume_reading()
            await tap.tapped
        finally:
            transport.pause_reading()
            transport.set_protocol(self._protocol)
        if tap.lost:
            raise (
                ClosedResourceError if tap.error is None else BrokenResourceError
            ) from (tap.error)
        return tap.count


def port_of(stream: object) -> Port | None:
    """Return how to read a stream directly; None if it can only be copied from."""
    if isinstance(stream, socket.socket):
        return SocketPort(stream)

    if sys.platform == "win32":
        return None

    if isinstance(stream, SocketStream):
        return _port_of_anyio(stream)

    if "trio" in sys.modules:
        import trio  # noqa: PLC0415 - loaded already

        if isinstance(stream, trio.socket.SocketType):
            return Port(stream)

        if isinstance(stream, trio.SocketStream):
            return TrioPort(stream.socket)
    return None


def _port_of_anyio(stream: SocketStream) -> Port | None:
    guard: object = getattr(stream, "_receive_guard", None)
    raw = stream.extra(SocketAttribute.raw_socket, None)  # noqa: S610 - no Django
    if not isinstance(guard, ResourceGuard) or raw is None or raw.fileno() < 0:
        return None

    if hasattr(stream, "_trio_socket"):
        return AnyioPort(raw, guard)

    transport: Transport | None = getattr(stream, "_transport", None)
    protocol: object = getattr(stream, "_protocol", None)
    unread: Sized | None = getattr(protocol, "read_queue", None)
    if (
        transport is None
        or unread is None
        or len(unread)
        or not isinstance(protocol, asyncio.Protocol)
        or transport.is_reading()
        or transport.is_closing()
    ):
        return None

    return TransportPort(raw, guard, transport, protocol)
