"""Who listens on a port or socket, asked of the system or found out by connecting."""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import TYPE_CHECKING, Final, TypeAlias

from cup._core.threads import OwnThread

from . import _core_netlink as netlink

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from ._core_netlink import Listener

__all__ = ["Connector", "Resolver", "listeners", "serves", "shown", "unix_listens"]

_Place: TypeAlias = "tuple[int, tuple[object, ...]]"

_LISTEN: Final = "0A"
_MAPPED: Final = bytes(10) + b"\xff\xff"
_V4: Final = 4
_UNDER_WAY: Final = {errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY}
_PATIENCE: Final = 2.0  # seconds: a server whose queue is full answers nothing


def listeners(port: int) -> tuple[list[Listener], str] | None:
    """Return who listens on a port, and how that was found out.

    None if the system cannot be asked.
    """
    if sys.platform != "linux":
        return None

    try:
        return netlink.inet_listeners(port), "sock_diag"
    except OSError:
        pass
    try:
        return [*_from_proc(port)], "/proc/net"
    except OSError:
        return None


def _from_proc(port: int) -> Iterator[Listener]:
    """Read the tables of proc(5)."""
    wanted = f":{port:04X}"
    for name in ("tcp", "tcp6"):
        try:
            with open(f"/proc/net/{name}", encoding="ascii") as table:  # noqa: PTH123
                for line in table:
                    _, place, _, state, *_ = line.split(None, 4)
                    if state == _LISTEN and place.endswith(wanted):
                        yield _packed(place.partition(":")[0]), False
        except FileNotFoundError:
            if name == "tcp":
                raise


def _packed(hexadecimal: str) -> bytes:
    """Return an address that is shown as words of the machine's byte order."""
    raw = bytes.fromhex(hexadecimal)
    if sys.byteorder == "big":
        return raw
    return b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))


def serves(listener: Listener, address: bytes) -> bool:
    """Tell whether who connects to an address reaches a listener."""
    own, v6_only = listener
    if own == address:
        return True
    if not any(own):
        return len(own) == len(address) or (len(own) > _V4 and not v6_only)
    return own.startswith(_MAPPED) and own[len(_MAPPED) :] == address


def shown(listener: Listener) -> str:
    """Return the address of a listener as people write it."""
    own, _ = listener
    family = socket.AF_INET if len(own) == _V4 else socket.AF_INET6
    return socket.inet_ntop(family, own)


def unix_listens(path: str) -> bool:
    """Tell whether somebody listens on the Unix socket at a path.

    Where the system cannot be asked, it connects.
    """
    try:
        return netlink.unix_listens(path)
    except FileNotFoundError:
        return False
    except OSError:
        pass
    if sys.platform == "win32":
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        answer = probe.connect_ex(path)
        return answer == 0 or answer in _UNDER_WAY


class Resolver:
    """Finds the addresses of a host in a thread of its own: nobody can hurry it.

    Args:
        host: A name or an address; None is this machine.
        port: The port.
    """

    __slots__ = ("_host", "_port", "_thread", "error", "places")

    def __init__(self, host: str | None, port: int) -> None:
        self._host = host
        self._port = port
        self._thread: threading.Thread | None = None
        self.places: list[_Place] = []
        self.error: str = ""

    def is_done(self) -> bool:
        """Tell whether there is an answer; begin to ask if nobody has."""
        if self.places:
            return True

        if self._thread is None:
            self.error = ""
            if self._ask(socket.AI_NUMERICHOST):
                return True
            self._thread = OwnThread(
                lambda: self._ask(0), name="cup-autowait-resolver", daemon=True
            )
            self._thread.start()
        if self._thread.is_alive():
            return False

        self._thread = None  # ask again next time, if that was in vain
        return True

    def _ask(self, flags: int) -> bool:
        try:
            answers = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, flags=flags
            )
        except OSError as error:
            self.error = f"host {self._host!r}: {error.strerror}"
            return False
        except UnicodeError:
            self.error = f"host {self._host!r}: no host can have this name"
            return False
        self.places = [(answer[0], answer[4]) for answer in answers]
        return True

    def packed(self) -> list[bytes]:
        """Return the addresses as the system has them."""
        return [
            socket.inet_pton(family, str(place[0]).partition("%")[0])
            for family, place in self.places
        ]


class Connector:
    """Tries connections to a host, one address after the other, and waits for none."""

    __slots__ = ("_at", "_given_up", "_hosts", "_socket", "last")

    def __init__(self, hosts: Resolver) -> None:
        self._hosts = hosts
        self._at = 0
        self._socket: socket.socket | None = None
        self._given_up = 0.0
        self.last: str = "no answer yet"

    def attempt(self, now: float) -> bool | None:
        """Go on trying; None while the answer is out.

        Returns:
            Whether somebody took a connection; False once nobody did at any address.
        """
        if not self._hosts.is_done():
            return None

        while self._at < len(self._hosts.places):
            answer = self._try(now)
            if answer is None:
                return None
            if answer:
                self._at = 0
                return True
            self._at += 1
        self._at = 0
        self.last = self._hosts.error or self.last
        return False

    def _try(self, now: float) -> bool | None:
        """Try one address."""
        family, place = self._hosts.places[self._at]
        if self._socket is None:
            self._socket = socket.socket(family, socket.SOCK_STREAM)
            self._socket.settimeout(0)
            self._given_up = now + _PATIENCE
            self._socket.connect_ex(
                place
            )  # the second call has the answer, if it is out
        code = self._socket.connect_ex(place)
        if code in _UNDER_WAY and now < self._given_up:
            return None

        good = code in {0, errno.EISCONN} and not self._is_own(self._socket)
        self.last = "connected" if good else os.strerror(code or errno.ECONNREFUSED)
        self.close()
        return good

    def _is_own(self, met: socket.socket) -> bool:
        """Tell whether it met itself: a free port may be given to who asks for it."""
        try:
            return bool(met.getsockname() == met.getpeername())
        except OSError:
            return False

    def close(self) -> None:
        """End the attempt."""
        attempt, self._socket = self._socket, None
        if attempt is not None:
            attempt.close()
