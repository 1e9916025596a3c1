"""Telling systemd that a service is ready, and that its work goes on.

It speaks the protocol of `sd_notify(3)` by itself; without systemd nothing happens. The
watchdog pings at half the time that systemd grants, and only in the process that
systemd means: not in its children.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Systemd"]

_MICROS = 1_000_000
_PATIENCE = 1.0  # seconds until a manager that does not read is left alone


class Systemd:
    """The service manager that started this process, if one did.

    Args:
        environ: The environment; None for that of the process.

    Attributes:
        ping_every: Seconds between two pings of the watchdog; None if there is none.
    """

    __slots__ = ("_place", "ping_every")

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        place = environ.get("NOTIFY_SOCKET", "")
        # A name that begins with @ is one of the abstract kind.
        self._place: str = "\0" + place[1:] if place.startswith("@") else place
        self.ping_every: float | None = None
        micros = environ.get("WATCHDOG_USEC", "")
        meant = environ.get("WATCHDOG_PID", str(os.getpid()))
        if place and micros.isdigit() and int(micros) and meant == str(os.getpid()):
            self.ping_every = int(micros) / _MICROS / 2

    def tell(self, state: str) -> bool:
        """Send a state, as `READY=1`; return whether there is somebody to tell.

        Args:
            state: The assignments, one a line.
        """
        if sys.platform == "win32" or not self._place:
            return False

        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_PATIENCE)
                sender.connect(self._place)
                sender.sendall(state.encode())
        except OSError:
            return False
        return True

    def ready(self) -> bool:
        """Say that the service has begun its work."""
        return self.tell("READY=1")

    def ping(self) -> bool:
        """Say that the work goes on: the watchdog waits for it."""
        return self.tell("WATCHDOG=1")

    def stopping(self) -> bool:
        """Say that the service is about to end."""
        return self.tell("STOPPING=1")
