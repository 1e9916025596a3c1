"""Who this host is, and which ports are in use.

No call here raises for want of a network or of DNS, unless the question is about
another host. `get_hostip(name)` and `port_listened` may block, for the time of a
look-up or of a connection attempt.
"""

from __future__ import annotations

import contextlib
import errno
import math
import socket
import sys
from typing import Final

from cup.errors import InvalidType, InvalidValue, NetError

__all__ = ["get_hostip", "get_local_hostname", "localport_free", "port_listened"]

_LOOPBACK: Final = "127.0.0.1"
_ELSEWHERE: Final = ("192.0.2.1", 9)  # reserved for documentation: nobody is there
_HOSTS_ADDRESSES: Final = (
    (socket.AF_INET, "0.0.0.0"),  # noqa: S104 - bound for a moment, never listened on
    (socket.AF_INET, _LOOPBACK),
    (socket.AF_INET6, "::"),
    (socket.AF_INET6, "::1"),
)
_NO_SUCH_ADDRESS: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


def get_local_hostname() -> str:
    """Return the name of this host, "localhost" if it has none."""
    return socket.gethostname() or "localhost"


def get_hostip(hostname: str | None = None) -> str:
    """Return the IPv4 address of a host.

    Args:
        hostname: The host. None for this one: the address that reaches others, found
            without DNS and without sending anything; 127.0.0.1 where there is no
            network.

    Raises:
        InvalidType: If the name is no text.
        InvalidValue: If the name is empty or cannot be the name of a host.
        NetError: If the name is that of another host, and unknown.
    """
    if hostname is None:
        return _own_address()

    _expect_host(hostname)
    try:
        return socket.gethostbyname(hostname)
    except UnicodeError as error:
        raise InvalidValue(f"{hostname!r} cannot be the name of a host") from error
    except OSError as error:
        if hostname == "localhost":
            return _LOOPBACK
        if hostname == get_local_hostname():
            return _own_address()
        raise NetError(
            f"no IPv4 address is known for {hostname!r} ({error}); check the name, and "
            "the DNS of this host"
        ) from error


def localport_free(port: int) -> bool:
    """Tell whether a TCP server could listen on a port of this host, on every address.

    Connections that are closing do not count as use.

    Raises:
        InvalidType: If the port is no integer.
        InvalidValue: If the port is not within 1 to 65535.
    """
    _expect_port(port)
    return all(_can_bind(family, host, port) for family, host in _HOSTS_ADDRESSES)


def port_listened(host: str, port: int, *, timeout: float = 1.0) -> bool:
    """Tell whether a TCP server accepts connections on a port.

    Args:
        host: The name or address of the host, IPv4 or IPv6.
        port: The port, 1 to 65535.
        timeout: How long a connection is tried for, in seconds, for each address of the
            host.

    Returns:
        False, too, if the host does not answer in time or cannot be reached.

    Raises:
        InvalidType: If the host is no text, or the port no integer.
        InvalidValue: If the host is empty, the port not within 1 to 65535, or the
            time-out not above 0.
        NetError: If the name of the host is unknown.
    """
    _expect_host(host)
    _expect_port(port)
    if not (timeout > 0 and math.isfinite(timeout)):
        raise InvalidValue(f"timeout is {timeout}; give a number of seconds above 0")

    try:
        with socket.create_connection((host, port), timeout) as connection:
            # On a port for outgoing connections one may end up connected to oneself.
            return bool(connection.getsockname() != connection.getpeername())
    except UnicodeError as error:
        raise InvalidValue(f"{host!r} cannot be the name of a host") from error
    except socket.gaierror as error:
        raise NetError(
            f"no address is known for {host!r} ({error}); check the name, and the DNS "
            "of this host"
        ) from error
    except OSError:
        return False


def _own_address() -> str:
    with contextlib.suppress(OSError):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(_ELSEWHERE)  # chooses a route, sends nothing
            address = str(probe.getsockname()[0])
        if address != "0.0.0.0":  # noqa: S104 - how some systems say "none"
            return address

    with contextlib.suppress(OSError, UnicodeError):
        return socket.gethostbyname(get_local_hostname())
    return _LOOPBACK


def _can_bind(family: socket.AddressFamily, host: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if sys.platform == "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((host, port))
    except PermissionError:
        if sys.platform == "win32":
            return False  # another server has it for itself alone
        return not _answers_here(family, port)  # a port that only root may bind
    except OSError as error:
        return error.errno in _NO_SUCH_ADDRESS
    return True


def _answers_here(family: socket.AddressFamily, port: int) -> bool:
    return port_listened(_LOOPBACK if family == socket.AF_INET else "::1", port)


def _expect_host(host: object) -> None:
    if not isinstance(host, str):
        raise InvalidType(f"the host is {host!r}; give its name or address as text")

    if not host or "\0" in host:
        raise InvalidValue(f"the host is {host!r}; give its name or address")


def _expect_port(port: object) -> None:
    if not isinstance(port, int) or isinstance(port, bool):
        raise InvalidType(f"the port is {port!r}; give an integer")

    if not 0 < port < 65536:  # noqa: PLR2004 - 16 bits
        raise InvalidValue(f"the port is {port}; ports go from 1 to 65535")
