"""Who is alive, for threads; its twin for tasks is in `aio`.

Not here: how it is judged (`_core`), networks (`sync_net`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from cup._core.clock import SYSTEM
from cup._core.wait import block
from cup.errors import HeartbeatClosed

from ._core import Registry
from ._core_feed import END, EventAsk, Feed
from ._core_files import list_lost, write_whole
from ._core_watch import Watch

if TYPE_CHECKING:
    from os import PathLike
    from types import TracebackType

    from typing_extensions import Self

    from cup._core.clock import Clock

    from .aio import AsyncHeartbeatService
    from .api import EventsAPI, HeartbeatAPI, HeartbeatEvent

__all__ = ["Events", "HeartbeatService"]


class Events:
    """The events of a service from now on, for a thread: iterate over them.

    An iteration ends when the service ends, or by `close()`. What is not taken waits,
    up to a limit; what comes then is missed, and an event of the kind `OVERFLOW` stands
    in its place. Thread-safe: several threads share the events of one object.
    """

    __slots__ = ("_feed",)

    def __init__(self, feed: Feed) -> None:
        self._feed: Feed = feed

    def get(self, timeout: float | None = None) -> HeartbeatEvent:
        """Wait for the next event.

        Args:
            timeout: Seconds; None waits for ever, zero or less tries once.

        Raises:
            WaitTimeout: If there was none in time.
            HeartbeatClosed: If this has ended.
        """
        event = block(EventAsk(self._feed), timeout)
        if event is END:
            raise HeartbeatClosed("there are no more events: the service has ended")
        return event

    def close(self) -> None:
        """End: who waits, and who iterates, is let go."""
        self._feed.end()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> HeartbeatEvent:
        event = block(EventAsk(self._feed))
        if event is END:
            raise StopIteration
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._feed.pending()} waiting>"


class HeartbeatService(Registry):
    """Who is alive: devices that beat, and those that were silent for too long.

    A beat costs the same for any number of devices, a look for losses what is lost.
    Silence is measured by a clock that cannot be set. Thread-safe; `service.aio` is the
    face of this very service for tasks. A forked child has a copy.

    While somebody reads events, losses are declared by themselves; else `get_lost`
    looks for them.

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

    __slots__ = ()

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
        super().__init__(
            judge_lost_in_sec,
            keep_lost=keep_lost,
            max_devices=max_devices,
            max_kept=max_kept,
            kept_for=kept_for,
            clock=SYSTEM if clock is None else clock,
        )
        if clock is None:
            self._watch: Watch | None = Watch(self)

    @property
    def aio(self) -> AsyncHeartbeatService:
        """The face of this very service for tasks."""
        from .aio import AsyncHeartbeatService  # noqa: PLC0415 - the twins know each other

        return AsyncHeartbeatService.over(self)

    def events(self, *, limit: int = 1024) -> Events:
        """Return the events from now on, to iterate over.

        Args:
            limit: How many may wait to be taken.

        Raises:
            InvalidType: If the limit is no integer.
            InvalidValue: If it is below 1.
        """
        return Events(self.open_feed(limit))

    def cleanup_oldlost(self, dump_file: str | PathLike[str] | None = None) -> None:
        """Forget the lost devices that are kept; write them to a file first.

        Args:
            dump_file: Where to: a line of JSON for each, with `key`, `last_healthy` (in
                seconds since the epoch) and `time`. The file is there whole or not at
                all.

        Raises:
            OSError: If it cannot be written; then nothing is forgotten.
        """
        records = self.kept()
        if dump_file is not None:
            write_whole(dump_file, list_lost(records, self._clock))
        self.forget(records)

    def __reduce__(self) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"a {name} cannot be pickled or copied: it has locks")

    def __repr__(self) -> str:
        stats = self.stats()
        return f"<HeartbeatService {stats.devices} alive, {stats.kept} lost and kept>"


if TYPE_CHECKING:
    _service: HeartbeatAPI = HeartbeatService(1)
    _events: EventsAPI = HeartbeatService(1).events()
