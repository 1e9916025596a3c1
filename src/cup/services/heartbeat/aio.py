"""Who is alive, for tasks; its twin for threads is in `sync`.

Not here: how it is judged (`_core`), networks (`aio_net`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import to_thread

from cup._core.loops import ablock
from cup.errors import HeartbeatClosed

from ._core_feed import END, EventAsk, Feed
from .sync import HeartbeatService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from os import PathLike
    from types import TracebackType

    from typing_extensions import Self

    from cup._core.clock import Clock

    from .api import (
        AsyncEventsAPI,
        AsyncHeartbeatAPI,
        DeviceView,
        HeartbeatEvent,
        HeartbeatStats,
        ListenerAPI,
        Snapshot,
    )
    from .device import Device

__all__ = ["AsyncEvents", "AsyncHeartbeatService"]


class AsyncEvents:
    """The events of a service from now on, for a task: iterate over them.

    Twin of `Events`. An iteration ends when the service ends, or by `close()`.
    """

    __slots__ = ("_feed",)

    def __init__(self, feed: Feed) -> None:
        self._feed: Feed = feed

    async def get(self, timeout: float | None = None) -> HeartbeatEvent:
        """Wait for the next event.

        Twin of `Events.get`. A cancelled task takes none.

        Args:
            timeout: Seconds; None waits for ever, zero or less tries once.

        Raises:
            WaitTimeout: If there was none in time.
            HeartbeatClosed: If this has ended.
        """
        event = await ablock(EventAsk(self._feed), timeout)
        if event is END:
            raise HeartbeatClosed("there are no more events: the service has ended")
        return event

    def close(self) -> None:
        """End: who waits, and who iterates, is let go."""
        self._feed.end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> HeartbeatEvent:
        event = await ablock(EventAsk(self._feed))
        if event is END:
            raise StopAsyncIteration
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._feed.pending()} waiting>"


class AsyncHeartbeatService:
    """Who is alive: devices that beat, and those that were silent for too long.

    Twin of `HeartbeatService`: `aservice.sync` is the face of this very service for
    threads. What never waits is no coroutine here, either.

    Args:
        judge_lost_in_sec: Seconds of silence after which a device counts as lost.
        keep_lost: Whether lost devices are remembered, so that a return is told as a
            recovery, until `cleanup_oldlost`.
        max_devices: How many may be alive; more are refused, which is told.
        max_kept: How many lost ones are remembered; the oldest go.
        kept_for: Seconds that a lost device is remembered; None for ever.
        clock: The clock that judges; None for that of this machine.

    Raises:
        InvalidType: If an argument has the wrong type.
        InvalidValue: If a number makes no sense.
    """

    __slots__ = ("__weakref__", "_service")

    def __init__(
        self,
        judge_lost_in_sec: float,
        keep_lost: bool = False,
        *,
        max_devices: int = 10_000_000,
        max_kept: int = 100_000,
        kept_for: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._service: HeartbeatService = HeartbeatService(
            judge_lost_in_sec,
            keep_lost,
            max_devices=max_devices,
            max_kept=max_kept,
            kept_for=kept_for,
            clock=clock,
        )

    @classmethod
    def over(cls, service: HeartbeatService) -> Self:
        """Return a face of a service that exists."""
        face = cls.__new__(cls)
        face._service = service  # noqa: SLF001 - this is its constructor
        return face

    @property
    def sync(self) -> HeartbeatService:
        """The face of this very service for threads."""
        return self._service

    def refresh(self, key: str, device_obj: Device | None = None) -> None:
        """Note a beat of a device; one that is new joins."""
        self._service.refresh(key, device_obj)

    def refresh_many(self, keys: Iterable[str]) -> None:
        """Note a beat of each of many devices."""
        self._service.refresh_many(keys)

    def register(
        self, key: str, *, timeout: float | None = None, device: Device | None = None
    ) -> None:
        """Note a beat of a device, and what time-out it has."""
        self._service.register(key, timeout=timeout, device=device)

    def leave(self, key: str) -> bool:
        """Take a device off the list, without calling it lost."""
        return self._service.leave(key)

    def set_timeout(self, key: str, timeout: float | None) -> None:
        """Change the time-out of one device, which need not be known yet."""
        self._service.set_timeout(key, timeout)

    def get_lost(self) -> list[Device]:
        """Return the devices that were lost since the last call."""
        return self._service.get_lost()

    def forgive(self) -> None:
        """Let silence count from now on: the fault for what was before may be ours."""
        self._service.forgive()

    def is_device_registered(self, key: str, including_dead: bool = False) -> bool:
        """Tell whether a device is on the list."""
        return self._service.is_device_registered(key, including_dead)

    def adjust_judge_lost_time(self, time_in_sec: float) -> None:
        """Change the time-out of all devices that have none of their own."""
        self._service.adjust_judge_lost_time(time_in_sec)

    def find(self, key: str) -> DeviceView | None:
        """Return how a device is; None if it is not known."""
        return self._service.find(key)

    def snapshot(self) -> Snapshot:
        """Return all devices, and the number of the last event that is in it."""
        return self._service.snapshot()

    def stats(self) -> HeartbeatStats:
        """Return the figures of this moment."""
        return self._service.stats()

    def on_event(
        self, callback: Callable[[HeartbeatEvent], object], *, limit: int = 1024
    ) -> ListenerAPI:
        """Have a function called with each event from now on.

        Twin of `HeartbeatService.on_event`; tasks rather iterate over `events()`.

        Args:
            callback: What is called.
            limit: How many events may wait for it.

        Raises:
            InvalidType: If the callback cannot be called.
            InvalidValue: If the limit is below 1.
        """
        return self._service.on_event(callback, limit=limit)

    def events(self, *, limit: int = 1024) -> AsyncEvents:
        """Return the events from now on, to iterate over.

        Twin of `HeartbeatService.events`.

        Args:
            limit: How many may wait to be taken.

        Raises:
            InvalidType: If the limit is no integer.
            InvalidValue: If it is below 1.
        """
        return AsyncEvents(self._service.open_feed(limit))

    async def cleanup_oldlost(
        self, dump_file: str | PathLike[str] | None = None
    ) -> None:
        """Forget the lost devices that are kept; write them to a file first.

        Twin of `HeartbeatService.cleanup_oldlost`; the file is written by a thread.

        Args:
            dump_file: Where to: a line of JSON for each.

        Raises:
            OSError: If it cannot be written; then nothing is forgotten.
        """
        await to_thread.run_sync(self._service.cleanup_oldlost, dump_file)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AsyncHeartbeatService):
            return NotImplemented

        return self._service is other._service

    def __hash__(self) -> int:
        return id(self._service)

    def __len__(self) -> int:
        return len(self._service)

    def __repr__(self) -> str:
        return f"<Async{repr(self._service)[1:]}"


if TYPE_CHECKING:
    _service: AsyncHeartbeatAPI = AsyncHeartbeatService(1)
    _events: AsyncEventsAPI = AsyncHeartbeatService(1).events()
