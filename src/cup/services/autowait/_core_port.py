"""The probes of ports and of Unix sockets.

No event tells that somebody listens: they look again after a share of the time that was
waited so far, so that what comes soon is found soon and a long wait costs little.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from . import _core_ports as ports
from ._core_files import missing_part, stat_at
from ._core_mounts import is_remote
from ._core_paths import follow
from ._core_verdicts import NOT_YET, Met, Probe
from .conditions import PortFree, PortOpen

if TYPE_CHECKING:
    from ._core_netlink import Listener
    from ._core_verdicts import Look, Verdict, Watching
    from .conditions import UnixSocket

__all__ = ["PortProbe", "UnixProbe"]

_SHARE: Final = 0.02
_LEAST: Final = 0.0005
_MOST: Final = 0.02
_MOST_CONNECT: Final = 0.1
_PENDING: Final = 0.002


class PortProbe(Probe[int]):
    """Looks whether somebody listens on a port, or nobody does."""

    __slots__ = (
        "_asked",
        "_connector",
        "_found",
        "_hosts",
        "_means",
        "_open",
        "_wanted",
    )

    def __init__(self, condition: PortOpen | PortFree) -> None:
        super().__init__(condition)
        self._wanted = condition
        self._asked = condition.probe == "listen" and sys.platform == "linux"
        self._hosts = ports.Resolver(condition.host, condition.port)
        self._connector = ports.Connector(self._hosts)
        self._open: bool | None = None
        self._found: list[Listener] = []
        self._means = "sock_diag" if self._asked else "connections"

    @override
    def arm(self, watching: Watching) -> None:
        """Say that nothing tells of it."""
        most = _MOST if self._asked else _MOST_CONNECT
        watching.by(f"{self._means} every {most * 1000:g} ms at most")

    @override
    def check(self, look: Look) -> Verdict[int]:
        """Ask the system, or connect."""
        if self._asked:
            self._ask(look)
        if not self._asked:  # perhaps it could not be asked
            self._connect(look)
        self.more = self.unsure = self._open is None
        if self.more:
            self.due = look.now + _PENDING
        wanted = isinstance(self._wanted, PortOpen)
        return Met(self._wanted.port) if self._open is wanted else NOT_YET

    def _ask(self, look: Look) -> None:
        answer = ports.listeners(self._wanted.port)
        if answer is None:
            self._asked = False
            self._means = "connections"
            return

        self._found, self._means = answer
        self.due = look.gap(_SHARE, _LEAST, _MOST)
        if self._wanted.host is None:
            self._open = bool(self._found)
        elif not self._hosts.is_done():
            self._open = None
        else:
            addresses = self._hosts.packed()
            self._open = any(
                ports.serves(listener, address)
                for listener in self._found
                for address in addresses
            )

    def _connect(self, look: Look) -> None:
        self._open = self._connector.attempt(look.now)
        self.due = look.gap(_SHARE, _LEAST, _MOST_CONNECT)

    @override
    def seen(self) -> str:
        """Say who listens."""
        if self._hosts.error:
            return self._hosts.error
        if not self._asked:
            return f"last connection: {self._connector.last}"
        if isinstance(self._wanted, PortFree):
            return f"listened on at {_listed(self._found)}"
        return "nobody listens" + (" there" if self._found else "")

    @override
    def nearest(self) -> str:
        """Name who listens on the port at other addresses."""
        if isinstance(self._wanted, PortFree) or not self._found:
            return ""
        return f"a listener at {_listed(self._found)}"

    @override
    def close(self) -> None:
        """End a connection that is being made."""
        self._connector.close()


def _listed(found: list[Listener]) -> str:
    return ", ".join(map(ports.shown, found))


class UnixProbe(Probe[Path]):
    """Looks whether somebody listens on a Unix socket."""

    __slots__ = ("_path",)

    def __init__(self, condition: UnixSocket) -> None:
        super().__init__(condition)
        self._path = condition.path
        self.blocks = is_remote(condition.path)

    @override
    def arm(self, watching: Watching) -> None:
        """Watch for the socket; who listens on it then is asked."""
        follow(self._path, watching)
        watching.by(f"sock_diag every {_MOST * 1000:g} ms at most, once it is there")

    @override
    def check(self, look: Look) -> Verdict[Path]:
        """Look for the socket, and whether somebody listens."""
        self.due = None
        if stat_at(self._path) is None:
            return NOT_YET

        self.due = look.gap(_SHARE, _LEAST, _MOST)
        return Met(Path(self._path)) if ports.unix_listens(self._path) else NOT_YET

    @override
    def seen(self) -> str:
        """Say what is there."""
        if stat_at(self._path) is None:
            return missing_part(self._path)
        return "it is there, but nobody listens"
