"""Monitors and agents: figures, and the two interfaces of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .api import (
        AsyncEventsAPI,
        DeviceView,
        EventsAPI,
        HeartbeatEvent,
        ListenerAPI,
        Snapshot,
    )
    from .device import Device
    from .keys import AgentKeys, KeyRing

__all__ = [
    "AgentAPI",
    "AgentStats",
    "AsyncAgentAPI",
    "AsyncMonitorAPI",
    "AsyncSharedAPI",
    "Listen",
    "MonitorAPI",
    "MonitorStats",
    "SharedAPI",
    "SharedStats",
]

Listen: TypeAlias = "str | tuple[str, int] | Sequence[str | tuple[str, int]]"
"""One or several addresses: `host:port`, or a pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorStats:
    """Figures of a monitor.

    Attributes:
        devices: Agents that are not lost.
        suspects: Of them, those that are being asked whether they are there.
        kept: Lost agents that are remembered.
        events: How many events there were.
        lost: Of them, losses.
        beats: Packets that counted.
        garbage: Packets that were none of ours.
        unknown_key: Packets signed with a key that is not on the ring.
        forged: Packets with a wrong signature.
        stale: Packets that were repeated, overtaken, or of a former life.
        skewed: Packets of unknown agents whose clocks are far from ours.
        limited: Packets of sources that sent too many of unknown agents.
        refused: Packets of new agents for which there was no room.
        drops: Packets that the system dropped, where it counts them.
        queue: Bytes that the system queues for us.
        holding: Whether losses are not declared now.
    """

    devices: int
    suspects: int
    kept: int
    events: int
    lost: int
    beats: int
    garbage: int
    unknown_key: int
    forged: int
    stale: int
    skewed: int
    limited: int
    refused: int
    drops: int
    queue: int
    holding: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStats:
    """Figures of an agent.

    Attributes:
        incarnation: Which life it is.
        beats: How often it beat in turn.
        skipped: How often it did not, because the work did not go on.
        failed: Packets that the system did not take.
        probes: How often it was asked whether it is there.
        bumped: How often it had to begin a new life, because its clock ran backwards.
        silent: Seconds since its last beat; None before the first.
        healthy: Whether that is in time.
    """

    incarnation: int
    beats: int
    skipped: int
    failed: int
    probes: int
    bumped: int
    silent: float | None
    healthy: bool


class _Monitor(Protocol):
    """What monitors of both colours have: all that never waits."""

    @property
    def addresses(self) -> list[str]:
        """Where it listens, as `host:port`; empty unless it runs."""
        ...

    def find(self, key: str) -> DeviceView | None:
        """Return how an agent is; None if it is not known."""
        ...

    def device(self, key: str) -> Device | None:
        """Return an agent as a device, with its last readings; None if unknown."""
        ...

    def snapshot(self) -> Snapshot:
        """Return all agents, and the number of the last event that is in it."""
        ...

    def stats(self) -> MonitorStats:
        """Return the figures of this moment."""
        ...

    def on_event(
        self, callback: Callable[[HeartbeatEvent], object], *, limit: int = 1024
    ) -> ListenerAPI:
        """Have a function called with each event from now on."""
        ...

    def leave(self, key: str) -> bool:
        """Take an agent off the list; if it beats again, it joins anew."""
        ...

    def set_keys(self, keys: KeyRing) -> None:
        """Accept what is signed with these keys, and nothing else, within a tick."""
        ...


class MonitorAPI(_Monitor, Protocol):
    """Hears agents, for threads."""

    def start(self) -> None:
        """Listen."""
        ...

    def stop(self) -> None:
        """End."""
        ...

    def events(self, *, limit: int = 1024) -> EventsAPI:
        """Return the events from now on, to iterate over."""
        ...


class AsyncMonitorAPI(_Monitor, Protocol):
    """Hears agents, for tasks."""

    async def start(self) -> None:
        """Listen."""
        ...

    async def stop(self) -> None:
        """End."""
        ...

    def events(self, *, limit: int = 1024) -> AsyncEventsAPI:
        """Return the events from now on, to iterate over."""
        ...


class _Agent(Protocol):
    """What agents of both colours have: all that never waits."""

    @property
    def healthy(self) -> bool:
        """Whether it runs, and has beaten in time: what a supervisor should look at."""
        ...

    def stats(self) -> AgentStats:
        """Return the figures of this moment."""
        ...

    def set_keys(self, keys: KeyRing | AgentKeys) -> None:
        """Sign with the first of these keys from the next beat on."""
        ...


class AgentAPI(_Agent, Protocol):
    """Beats, for threads."""

    def start(self) -> None:
        """Begin to beat."""
        ...

    def beat(self) -> None:
        """Beat now."""
        ...

    def stop(self, *, leave: bool = True) -> None:
        """Say good-bye, and end."""
        ...


class AsyncAgentAPI(_Agent, Protocol):
    """Beats, for tasks."""

    async def start(self) -> None:
        """Begin to beat."""
        ...

    def beat(self) -> None:
        """Beat now."""
        ...

    async def stop(self, *, leave: bool = True) -> None:
        """Say good-bye, and end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedStats:
    """Figures of a shared view, as of its last tick.

    Attributes:
        devices: Devices that are not lost.
        kept: Devices that are lost or have left, and are remembered.
        events: The number of the last event that was read.
        sent: Beats that were sent from here.
        waiting: Beats and farewells that wait to be sent.
        stale: Of those sent, beats that others had sent already, or that were older.
        refused: Of those sent, beats of new devices for which there was no room.
        unreachable: How often the server did not answer.
        reachable: Whether it answered last time.
        holding: Whether losses are held back, because too many are silent at once.
    """

    devices: int
    kept: int
    events: int
    sent: int
    waiting: int
    stale: int
    refused: int
    unreachable: int
    reachable: bool
    holding: bool


class _Shared(Protocol):
    """What shared views of both colours have: all that never waits."""

    def refresh(self, key: str, *, timeout: float | None = None) -> None:
        """Note a beat of a device; it is sent with the next tick."""
        ...

    def refresh_many(self, keys: Iterable[str]) -> None:
        """Note a beat of each of many devices."""
        ...

    def leave(self, key: str) -> None:
        """Take a device off the list, without calling it lost, with the next tick."""
        ...

    def on_event(
        self, callback: Callable[[HeartbeatEvent], object], *, limit: int = 1024
    ) -> ListenerAPI:
        """Have a function called with each event from now on."""
        ...

    def stats(self) -> SharedStats:
        """Return the figures of this moment, as of the last tick."""
        ...


class SharedAPI(_Shared, Protocol):
    """One view of several monitors, for threads."""

    def tick(self) -> None:
        """Send what is to be sent, look for losses, and read events, now."""
        ...

    def events(self, *, limit: int = 1024) -> EventsAPI:
        """Return the events from now on, to iterate over."""
        ...

    def snapshot(self) -> Snapshot:
        """Return all devices, as the server knows them now."""
        ...


class AsyncSharedAPI(_Shared, Protocol):
    """One view of several monitors, for tasks."""

    async def tick(self) -> None:
        """Send what is to be sent, look for losses, and read events, now."""
        ...

    def events(self, *, limit: int = 1024) -> AsyncEventsAPI:
        """Return the events from now on, to iterate over."""
        ...

    async def snapshot(self) -> Snapshot:
        """Return all devices, as the server knows them now."""
        ...
