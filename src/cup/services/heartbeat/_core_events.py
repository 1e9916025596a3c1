"""Where events come from: numbered under the mutex, handed to readers after it.

Not here: the readers' side (`_core_feed`), and what becomes an event (`_core`).
"""

from __future__ import annotations

import weakref
from _thread import allocate_lock
from collections import deque
from typing import TYPE_CHECKING

from cup._core import fork

from ._core_feed import Feed, Listener, check_limit
from .api import EventKind, HeartbeatEvent

if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable

    from cup._core.clock import Clock

__all__ = ["EventSource"]


class EventSource:
    """A mutex, and the events that are decided under it.

    Attributes:
        locate: Tells incarnation and address of a device, where somebody knows them.
    """

    __slots__ = (
        "__weakref__",
        "_clock",
        "_counts",
        "_delivering",
        "_feeds",
        "_generation",
        "_listeners",
        "_mutex",
        "_number",
        "_outbox",
        "locate",
    )

    def __init__(self, clock: Clock) -> None:
        self._clock: Clock = clock
        self._number: int = 0
        self._counts: dict[EventKind, int] = dict.fromkeys(EventKind, 0)
        self._feeds: tuple[weakref.ref[Feed], ...] = ()
        self._listeners: tuple[Listener, ...] = ()
        self.locate: Callable[[str], tuple[int, str]] | None = None
        self._renew()

    def _renew(self) -> None:
        self._mutex: LockType = allocate_lock()
        self._delivering: LockType = allocate_lock()
        self._outbox: deque[HeartbeatEvent] = deque()
        self._generation: int = fork.generation()

    def _check_fork(self) -> None:
        if self._generation != fork.generation():
            with fork.renewal:
                if self._generation != fork.generation():
                    self._renew()  # a thread of the parent may have held the mutex

    def _tell(
        self, kind: EventKind, key: str, *, silent: float = 0.0, reason: str = ""
    ) -> None:
        """Number an event, under the mutex; `_deliver` follows after it."""
        self._number += 1
        self._counts[kind] += 1
        if not self._feeds:
            return  # an event that nobody hears is counted, and not made

        incarnation, address = 0, ""
        if self.locate is not None:
            incarnation, address = self.locate(key)
        self._outbox.append(
            HeartbeatEvent(
                number=self._number,
                kind=kind,
                key=key,
                time=self._clock.time(),
                silent=silent,
                incarnation=incarnation,
                address=address,
                reason=reason,
            )
        )

    def tell(self, kind: EventKind, key: str = "", reason: str = "") -> None:
        """Tell of something that only who hears the device can know."""
        self._check_fork()
        with self._mutex:
            self._tell(kind, key, reason=reason)
        self._deliver()

    def _deliver(self) -> None:
        """Hand events to the feeds: one thread at a time, so that they stay in order.

        Who finds another thread at it leaves: that one looks again after its last.
        """
        while self._outbox and self._delivering.acquire(blocking=False):
            try:
                self._hand_out()
            finally:
                self._delivering.release()

    def _hand_out(self) -> None:
        while self._outbox:
            event = self._outbox.popleft()
            for reference in self._feeds:
                feed = reference()
                if feed is not None:
                    feed.push(event)

    # -- readers -------------------------------------------------------------------

    def open_feed(self, limit: int) -> Feed:
        """Return a feed of the events from now on; it is held weakly."""
        feed = Feed(limit)
        self._join(feed)
        return feed

    def on_event(
        self, callback: Callable[[HeartbeatEvent], object], *, limit: int = 1024
    ) -> Listener:
        """Have a function called with each event from now on.

        Args:
            callback: What is called, on a thread of its own; it may take its time, and
                call this service. What it raises is logged by `cup.program`.
            limit: How many events may wait for it; what comes then is missed, and an
                `OVERFLOW` says so.

        Returns:
            What ends it, by its `close()`.

        Raises:
            InvalidType: If the callback cannot be called.
            InvalidValue: If the limit is below 1.
        """
        listener = Listener(callback, check_limit(limit))
        self._join(listener.feed)
        with self._mutex:
            self._listeners = (*filter(Listener.is_open, self._listeners), listener)
        return listener

    def _join(self, feed: Feed) -> None:
        self._check_fork()
        with self._mutex:
            feed.since = self._number
            living = [ref for ref in self._feeds if not _is_over(ref)]
            self._feeds = (*living, weakref.ref(feed))
        self._listened()

    def _listened(self) -> None:
        """Do what is to be done once somebody reads."""

    def has_readers(self) -> bool:
        """Tell whether anybody reads events, and drop who does not any more."""
        self._check_fork()
        with self._mutex:
            self._feeds = tuple(ref for ref in self._feeds if not _is_over(ref))
            return bool(self._feeds)

    def end_feeds(self) -> None:
        """Let all readers go: nothing happens here any more."""
        listeners, self._listeners = self._listeners, ()
        for reference in self._feeds:
            feed = reference()
            if feed is not None:
                feed.end()
        for listener in listeners:
            listener.close()


def _is_over(reference: weakref.ref[Feed]) -> bool:
    feed = reference()
    return feed is None or feed.ended
