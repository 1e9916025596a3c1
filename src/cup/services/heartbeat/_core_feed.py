"""How events reach their readers: numbered, in order, each once, and never in the way.

The service numbers an event where it decides it, under its mutex; a feed takes it in
after that. A feed is bounded: a reader that is too slow misses the newest events and
is told how many, at the place where they are missing.

Not here: what becomes an event (`_core`).
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

from cup._core.line import Line
from cup._core.program import Program, ThreadDriver
from cup._core.wait import Ask
from cup.errors import InvalidType, InvalidValue, WaitTimeout

from .api import EventKind, HeartbeatEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from cup._core.line import AnyAsk

__all__ = ["END", "EventAsk", "Feed", "Listener", "check_limit"]


def check_limit(limit: object, name: str = "limit") -> int:
    """Return a number of things that may be held, checked.

    Raises:
        InvalidType: If it is no integer.
        InvalidValue: If it is below 1.
    """
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise InvalidType(f"{name} must be an integer, not {limit!r}")
    if limit < 1:
        raise InvalidValue(f"{name} is {limit}; give 1 or more")
    return limit


END: Final = HeartbeatEvent(number=0, kind=EventKind.LEFT, key="", time=0.0)
"""What stands for the end of a feed; told by identity."""


class EventAsk(Ask[HeartbeatEvent]):
    """Waits for the next event, or for the `END`."""

    __slots__ = ()

    what = "events.get"
    twin = "the events of the service's async face"

    def timed_out(self, timeout: float) -> WaitTimeout:
        """Return the error for a wait in which nothing happened."""
        return WaitTimeout(f"no event within {timeout} s", timeout=timeout)


class Feed(Line):
    """The events that one reader has not taken yet.

    Attributes:
        since: The last event before this feed; older ones are not for it.
    """

    __slots__ = ("__weakref__", "_ended", "_events", "_limit", "_missed", "since")

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.since: int = 0
        self._limit: int = check_limit(limit)
        self._events: deque[HeartbeatEvent] = deque()
        self._missed: int = 0
        self._ended: bool = False

    @property
    def ended(self) -> bool:
        """Whether nothing comes any more."""
        return self._ended

    def push(self, event: HeartbeatEvent) -> None:
        """Take in an event; they come in order, from one thread at a time."""
        if event.number <= self.since or self._ended:
            return

        with self.mutex:
            self.since = event.number
            # Once one is missing, all are up to where the reader is told.
            if self._missed or len(self._events) >= self._limit:
                self._missed += 1
            else:
                self._events.append(event)
        self.changed()

    def skip(self, number: int, missed: int) -> None:
        """Say that so many events are missing, up to a number."""
        with self.mutex:
            self.since = number
            self._missed += missed
        self.changed()

    def end(self) -> None:
        """Let everybody go who waits; what is in the feed can still be taken."""
        self._ended = True
        self.changed()

    def pending(self) -> int:
        """Return how many events wait to be taken."""
        return len(self._events) + bool(self._missed)

    def take(self, ask: AnyAsk, /) -> bool:
        """Give the next event, or the end."""
        if self._events:
            ask.value = self._events.popleft()
        elif self._missed:
            ask.value = self._overflow()
        elif self._ended:
            ask.value = END
        else:
            return False
        return True

    def put_back(self, ask: AnyAsk, /) -> None:
        """Take back an event whose reader has gone."""
        if ask.value is not END:
            self._events.appendleft(ask.value)

    def _overflow(self) -> HeartbeatEvent:
        missed, self._missed = self._missed, 0
        return HeartbeatEvent(
            number=self.since,
            kind=EventKind.OVERFLOW,
            key="",
            time=time.time(),
            missed=missed,
            reason=f"the reader left more than {self._limit} events untaken",
        )


class Listener(Program):
    """Calls a function with each event, on a thread of its own.

    The thread comes with the first event. What the function raises is logged by
    `cup.program`, and the next event is told all the same.
    """

    __slots__ = ("__weakref__", "_callback", "_driver", "feed")

    def __init__(
        self, callback: Callable[[HeartbeatEvent], object], limit: int
    ) -> None:
        if not callable(callback):
            raise InvalidType(f"a callback must be callable, not {callback!r}")
        super().__init__()
        self.feed: Feed = ListenerFeed(limit, self)
        self._callback: Callable[[HeartbeatEvent], object] = callback
        self._driver: ThreadDriver = ThreadDriver(self, "cup: heartbeat events")

    def step(self, now: float) -> float | None:
        """Have the next event told."""
        ask = EventAsk(self.feed)
        if not self.feed.try_now(ask) or ask.value is END:
            return None

        event = ask.value
        self.effects.append(lambda: self._call(event))
        return now if self.feed.pending() else None

    def _call(self, event: HeartbeatEvent) -> None:
        try:
            self._callback(event)
        except (SystemExit, KeyboardInterrupt) as error:
            # It would end the thread, and nobody would be told of what comes then.
            raise RuntimeError(f"the callback raised {error!r}") from error

    def wake(self) -> None:
        """Look at the feed soon."""
        self._driver.nudge(float("-inf"))

    def is_open(self) -> bool:
        """Tell whether it may still be called."""
        return not self.feed.ended

    def close(self) -> None:
        """Call the function no more; a call that runs is waited for."""
        self.feed.end()
        self._driver.stop()


class ListenerFeed(Feed):
    """A feed whose reader is woken through its program."""

    __slots__ = ("_listener",)

    def __init__(self, limit: int, listener: Listener) -> None:
        super().__init__(limit)
        self._listener: Listener = listener

    def push(self, event: HeartbeatEvent) -> None:
        """Take in an event, and have it told."""
        super().push(event)
        self._listener.wake()
