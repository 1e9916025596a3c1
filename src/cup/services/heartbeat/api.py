"""What heartbeats are spoken of in: events, states, figures, and the two interfaces."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from os import PathLike

    from typing_extensions import Self

    from .device import Device

__all__ = [
    "AsyncEventsAPI",
    "AsyncHeartbeatAPI",
    "DeviceState",
    "DeviceView",
    "EventKind",
    "EventsAPI",
    "HeartbeatAPI",
    "HeartbeatEvent",
    "HeartbeatStats",
    "ListenerAPI",
    "Snapshot",
]


class EventKind(str, enum.Enum):
    """What happened."""

    JOINED = "joined"
    """A device beats for the first time."""
    LOST = "lost"
    """It was silent for longer than its time-out."""
    RECOVERED = "recovered"
    """It was lost, and beats again."""
    RESTARTED = "restarted"
    """It began a new life, without a word about the end of the last."""
    LEFT = "left"
    """It said good-bye, or was taken off the list."""
    CONFLICT = "conflict"
    """Two live senders use one key; the later one counts."""
    FLAPPING = "flapping"
    """It is lost and recovers again and again, and gets more time from now on."""
    CLOCK_SKEW = "clock skew"
    """Its wall clock is far from ours."""
    REFUSED = "refused"
    """There are as many devices as are allowed; new ones are refused from now on."""
    HOLDING = "holding"
    """Losses are not declared for a while: the fault may be on our side."""
    JUDGING = "judging"
    """Losses are declared again."""
    OVERFLOW = "overflow"
    """The reader was slow: so many events are missing here; take a snapshot."""

    def __str__(self) -> str:
        return self.value


class DeviceState(str, enum.Enum):
    """How a device is."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    """Silent for a while, and being asked whether it is there."""
    LOST = "lost"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatEvent:
    """Something that happened, told once.

    Attributes:
        number: Counts the events of one service, from 1. Each reader sees the numbers
            in order, without a gap but for what an `OVERFLOW` stands for; that has the
            number of the last event that is missing.
        kind: What happened.
        key: The device; empty for what concerns all.
        time: When, in seconds since the epoch.
        silent: Seconds since its last beat.
        incarnation: Which life of the device it is; 0 where that is not known.
        address: Where it beats from; empty where that is not known.
        missed: With `OVERFLOW`, how many events are missing.
        reason: In words, where there is more to say.
    """

    number: int
    kind: EventKind
    key: str
    time: float
    silent: float = 0.0
    incarnation: int = 0
    address: str = ""
    missed: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """A device, as it was at a moment.

    Attributes:
        key: Its name.
        state: How it is.
        last_healthy: When it beat last, in seconds since the epoch.
        silent: Seconds since then.
        timeout: After how many seconds of silence it counts as lost.
        incarnation: Which life it is; 0 where that is not known.
        address: Where it beats from; empty where that is not known.
    """

    key: str
    state: DeviceState
    last_healthy: float
    silent: float
    timeout: float
    incarnation: int = 0
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All devices, and which events are in it.

    Attributes:
        number: The last event that is in it; a reader goes on with the next.
        time: When it was taken, in seconds since the epoch.
        devices: Those that are alive or suspect, and the lost ones that are kept.
    """

    number: int
    time: float
    devices: tuple[DeviceView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatStats:
    """Figures of one service.

    Attributes:
        devices: Devices that are not lost.
        kept: Lost devices that are remembered.
        events: How many events there were.
        joined: Of them, devices that joined.
        lost: Of them, losses.
        recovered: Of them, recoveries.
        left: Of them, farewells.
        refused: Beats of new devices for which there was no room.
        forgotten: Lost devices that were dropped to make room, or for their age.
        readers: Who reads events now.
    """

    devices: int
    kept: int
    events: int
    joined: int
    lost: int
    recovered: int
    left: int
    refused: int
    forgotten: int
    readers: int


class ListenerAPI(Protocol):
    """A function that is called with each event."""

    def close(self) -> None:
        """Call it no more."""
        ...


class EventsAPI(Protocol):
    """Events as they happen, for a thread."""

    def get(self, timeout: float | None = None) -> HeartbeatEvent:
        """Wait for the next event."""
        ...

    def close(self) -> None:
        """End: who waits, and who iterates, is let go."""
        ...

    def __iter__(self) -> Self: ...

    def __next__(self) -> HeartbeatEvent: ...


class AsyncEventsAPI(Protocol):
    """Events as they happen, for a task."""

    async def get(self, timeout: float | None = None) -> HeartbeatEvent:
        """Wait for the next event."""
        ...

    def close(self) -> None:
        """End: who waits, and who iterates, is let go."""
        ...

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> HeartbeatEvent: ...


class _Registry(Protocol):
    """What both faces have: all that never waits."""

    def refresh(self, key: str, device_obj: Device | None = None) -> None:
        """Note a beat of a device."""
        ...

    def refresh_many(self, keys: Iterable[str]) -> None:
        """Note a beat of each of many devices."""
        ...

    def register(
        self, key: str, *, timeout: float | None = None, device: Device | None = None
    ) -> None:
        """Note a beat of a device, and what time-out it has."""
        ...

    def leave(self, key: str) -> bool:
        """Take a device off the list, without calling it lost."""
        ...

    def get_lost(self) -> list[Device]:
        """Return the devices that were lost since the last call."""
        ...

    def is_device_registered(self, key: str, including_dead: bool = False) -> bool:
        """Tell whether a device is on the list."""
        ...

    def adjust_judge_lost_time(self, time_in_sec: float) -> None:
        """Change the time-out of all devices that have none of their own."""
        ...

    def find(self, key: str) -> DeviceView | None:
        """Return how a device is."""
        ...

    def snapshot(self) -> Snapshot:
        """Return all devices, and the number of the last event that is in it."""
        ...

    def on_event(
        self, callback: Callable[[HeartbeatEvent], object], *, limit: int = 1024
    ) -> ListenerAPI:
        """Have a function called with each event from now on."""
        ...

    def stats(self) -> HeartbeatStats:
        """Return the figures of this moment."""
        ...


class HeartbeatAPI(_Registry, Protocol):
    """Who is alive, for threads."""

    def events(self, *, limit: int = 1024) -> EventsAPI:
        """Return the events from now on, to iterate over."""
        ...

    def cleanup_oldlost(self, dump_file: str | PathLike[str] | None = None) -> None:
        """Forget the lost devices that are kept; write them to a file first."""
        ...


class AsyncHeartbeatAPI(_Registry, Protocol):
    """Who is alive, for tasks."""

    def events(self, *, limit: int = 1024) -> AsyncEventsAPI:
        """Return the events from now on, to iterate over."""
        ...

    async def cleanup_oldlost(
        self, dump_file: str | PathLike[str] | None = None
    ) -> None:
        """Forget the lost devices that are kept; write them to a file first."""
        ...
