"""UDP sockets that are never waited on, and a driver that parks until one has news.

For services that speak in datagrams. Reading and sending never block: who has nothing
to read parks, with a selector, in one place here (threads) or on its loop (tasks).
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import sys
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeAlias

from cup.errors import InvalidType, InvalidValue, NetError

from .program import Program, ThreadDriver

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .clock import Clock

__all__ = [
    "Address",
    "DatagramDriver",
    "Datagrams",
    "parse_address",
    "parse_addresses",
    "resolve",
]

Address: TypeAlias = "tuple[str, int] | tuple[str, int, int, int]"
"""As sockets have it: host and port, and with IPv6 flow and scope."""

_SIZE: Final = 2048  # bytes that are read of a packet; ours are shorter
_LONGEST: Final = 1e6  # seconds
_SO_MEMINFO: Final = 55  # asm-generic/socket.h, since Linux 4.12
_DROPS: Final = 8  # which of its numbers: linux/sock_diag.h, SK_MEMINFO_DROPS
_PORTS: Final = 65535


def parse_addresses(found: str | Sequence[object], port: int) -> list[tuple[str, int]]:
    """Read one or several addresses.

    Args:
        found: What `parse_address` takes, or a sequence of that.
        port: The port, where none is given.

    Raises:
        InvalidType: If it is something else.
        InvalidValue: If a port is none.
    """
    match found:
        case str() | (str(), int()):
            return [parse_address(found, port)]
        case _:
            pass
    if not hasattr(found, "__iter__"):
        raise InvalidType(f"an address is host:port or a pair, not {found!r}")
    return [parse_address(each, port) for each in found]


def parse_address(text: object, port: int) -> tuple[str, int]:
    """Read `host`, `host:port`, `[v6]:port` or a pair.

    Args:
        text: What to read.
        port: The port, where none is given.

    Raises:
        InvalidType: If it is neither a text nor a pair.
        InvalidValue: If the port is none.
    """
    match text:
        case str():
            host, port = _split(text, port)
        case (str(host), int(port)):
            pass
        case _:
            raise InvalidType(f"an address is host:port or a pair, not {text!r}")
    if not 0 <= port <= _PORTS:
        raise InvalidValue(f"{port} is no port; give 0 to {_PORTS}")
    return host, port


def _split(text: str, port: int) -> tuple[str, int]:
    host, colon, digits = text.rpartition(":")
    if not colon or ("]" in digits) or (":" in host and not host.startswith("[")):
        host, digits = text, str(port)  # no port, or a bare IPv6 address
    try:
        return host.strip("[]"), int(digits)
    except ValueError:
        raise InvalidValue(f"{text!r} has no port that is a number") from None


def resolve(host: str, port: int) -> tuple[int, Address]:
    """Return the family and the address of a host; may ask DNS, which blocks.

    Raises:
        NetError: If it is not known.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise NetError(f"no address is known for {host!r}: {error}") from error
    family, _, _, _, address = found[0]
    return family, _as_address(address)


def _as_address(address: tuple[object, ...]) -> Address:
    """Give an address of a socket its type; the standard library knows it as `Any`."""
    host, port, *more = address
    if len(more) == 2:  # noqa: PLR2004 - flow and scope of IPv6
        return str(host), int(str(port)), int(str(more[0])), int(str(more[1]))
    return str(host), int(str(port))


class Datagrams:
    """A UDP socket.

    Args:
        family: `AF_INET` or `AF_INET6`.
        buffer: Bytes that the system is asked to queue; None leaves it as it is.

    Attributes:
        family: Its family.
        granted: Bytes that the system queues.
    """

    __slots__ = ("_socket", "family", "granted")

    def __init__(self, family: int, buffer: int | None = None) -> None:
        self.family: int = family
        self._socket: socket.socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)  # noqa: FBT003 - as the standard library has it
        if buffer is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.granted: int = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    @classmethod
    def bound(cls, host: str, port: int, buffer: int | None = None) -> Datagrams:
        """Return a socket that is bound to an address of this host.

        `::` takes IPv4, too, where the system lets it.

        Raises:
            NetError: If it cannot be.
        """
        family, address = resolve(host, port)
        made = cls(family, buffer)
        try:
            if family == socket.AF_INET6:
                with contextlib.suppress(OSError):
                    made._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            made._socket.bind(address)
        except OSError as error:
            made.close()
            raise NetError(f"cannot listen on {host}:{port}: {error}") from error
        return made

    @property
    def address(self) -> Address:
        """The address that it is bound to."""
        return _as_address(self._socket.getsockname())

    @property
    def raw(self) -> socket.socket:
        """The socket, to park on."""
        return self._socket

    def receive(self, limit: int) -> list[tuple[bytes, Address]]:
        """Return what has come, so many packets at most; never blocks."""
        found: list[tuple[bytes, Address]] = []
        take, add = self._socket.recvfrom, found.append
        try:
            for _ in range(limit):
                add(take(_SIZE))
        except BlockingIOError:
            pass
        except OSError:
            pass  # what ICMP says about a packet that was sent; the next call reads on
        return found

    def send(self, data: bytes, address: Address) -> bool:
        """Send a packet; False if the system does not take it. Never blocks."""
        try:
            self._socket.sendto(data, address)
        except OSError:
            return False
        return True

    def drops(self) -> int:
        """Return how many packets the system dropped, where it counts them."""
        if sys.platform == "linux":
            try:
                figures = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
            except OSError:
                return 0
            if len(figures) >= 4 * (_DROPS + 1):
                found: int = struct.unpack_from("=I", figures, 4 * _DROPS)[0]
                return found
        return 0

    def close(self) -> None:
        """Close it."""
        self._socket.close()


class SocketParker:
    """Parks a thread until it is woken, or a socket has something to read."""

    __slots__ = ("_bell", "_ear", "_selector")

    def __init__(self, sockets: Iterable[Datagrams]) -> None:
        self._selector = selectors.DefaultSelector()
        self._ear, self._bell = socket.socketpair()
        for end in (self._ear, self._bell):
            end.setblocking(False)  # noqa: FBT003 - as the standard library has it
        self._selector.register(self._ear, selectors.EVENT_READ, self._ear)
        for each in sockets:
            self._selector.register(each.raw, selectors.EVENT_READ)

    def park(self) -> None:
        """Wait until woken, or until there is something to read."""
        self.park_until(monotonic() + _LONGEST)

    def park_until(self, deadline: float) -> bool:
        """The same, or until `deadline` (False)."""
        left = min(max(0.0, deadline - monotonic()), _LONGEST)
        ready = self._selector.select(left)
        if any(key.data is self._ear for key, _ in ready):
            with contextlib.suppress(OSError):
                while self._ear.recv(64):
                    pass
        return bool(ready)

    def wake(self) -> None:
        """Wake the parked thread."""
        with contextlib.suppress(OSError):  # full: it is woken already
            self._bell.send(b"\0")

    def close(self) -> None:
        """Let the descriptors go."""
        self._selector.close()
        self._ear.close()
        self._bell.close()


class DatagramDriver(ThreadDriver):
    """Runs a program on a thread of its own, also whenever a socket has news.

    It is for the process that made it: a forked child makes its own.
    """

    def __init__(
        self, program: Program, name: str, sockets: Iterable[Datagrams], clock: Clock
    ) -> None:
        self._sockets = [*sockets]
        super().__init__(program, name, clock)

    def _renew(self) -> None:
        super()._renew()
        self._socket_parker = SocketParker(self._sockets)
        self._parker = self._socket_parker

    def close(self) -> None:
        """End the thread, and let the descriptors go; may be called twice."""
        self.stop()
        self._socket_parker.close()
