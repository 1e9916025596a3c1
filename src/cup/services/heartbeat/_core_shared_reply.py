"""Events whose numbers come from a server, and what its answers say.

Not here: what is asked (`_core_shared`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cup.errors import InvalidValue

from ._core_events import EventSource
from .api import DeviceState, DeviceView, EventKind, HeartbeatEvent
from .device import check_text

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SharedEvents", "order", "read_event", "read_view", "sendable"]

_DIGITS: Final = 20


class SharedEvents(EventSource):
    """Events whose numbers come from the server."""

    __slots__ = ()

    def publish(self, events: Iterable[HeartbeatEvent]) -> None:
        """Hand events to the readers."""
        self._check_fork()
        with self._mutex:
            for event in events:
                self._number = event.number
                self._outbox.append(event)
        self._deliver()

    def skip(self, number: int, missed: int) -> None:
        """Say that events are missing, up to a number, which may be a lower one."""
        self._check_fork()
        with self._mutex:
            self._number = number
            feeds = [reference() for reference in self._feeds]
        for feed in feeds:
            if feed is not None:
                feed.skip(number, missed)

    def begin(self, number: int) -> None:
        """Set the number of the last event, for who reads from now on."""
        with self._mutex:
            self._number = number


def sendable(key: str) -> str:
    try:
        check_text("a key", key).encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(f"{key!r} cannot be sent: {error}") from None
    return key


def order(incarnation: int, sequence: int) -> str:
    return f"{incarnation:0{_DIGITS}}{sequence:0{_DIGITS}}"


def read_event(fields: list[str]) -> HeartbeatEvent:
    number, kind, key, wall, silent, life, address = fields
    return HeartbeatEvent(
        number=int(number),
        kind=EventKind(kind),
        key=key,
        time=int(wall) / 1000,
        silent=int(silent) / 1000,
        incarnation=int(life),
        address=address,
    )


def read_view(fields: list[str], now: float) -> DeviceView:
    key, state, silent, timeout, life, address = fields
    seconds = int(silent) / 1000
    return DeviceView(
        key=key,
        state=DeviceState.LOST if state == "l" else DeviceState.ALIVE,
        last_healthy=now - seconds,
        silent=seconds,
        timeout=int(timeout) / 1000,
        incarnation=int(life),
        address=address,
    )
