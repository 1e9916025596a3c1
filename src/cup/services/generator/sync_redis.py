"""Worker numbers and ranges from a Redis or Valkey server, for threads."""

from __future__ import annotations

import logging
import threading
import weakref
from time import monotonic
from typing import TYPE_CHECKING

from cup._core.fork import generation
from cup._core.pause import pause
from cup._core.program import Program, ThreadDriver
from cup._core.redis.threads import Server
from cup.errors import IdError, StoreUnreachable

from ._core_lease import ACQUIRE, RELEASE, RENEW, LeaseBook, check_seconds
from ._core_ranges import RANGE, RangeCore, RangeNeeded
from .sync_base import SyncIds

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from ._core_ids import NotYet
    from ._core_layout import Layout
    from ._core_lease import Lease
    from .api import Clock, IDGenerator, WorkerAPI

__all__ = ["RangeGenerator", "RedisLease"]

_log = logging.getLogger("cup.generator")

_AGAIN = 0.2  # seconds until a server that does not answer is asked again


class _Background(Program):
    """Does something for an object when that says so, as long as it lives."""

    __slots__ = ("_act", "_due")

    def __init__(
        self, due: Callable[[], float | None], act: Callable[[], object]
    ) -> None:
        super().__init__()
        self._due = weakref.WeakMethod(due)
        self._act = weakref.WeakMethod(act)

    def step(self, now: float) -> float | None:
        """Have what is due done; the driver's thread may wait for the server."""
        due, act = self._due(), self._act()
        when = None if due is None else due()
        if when is None or act is None:
            return None

        if when > now:
            return when

        self.effects.append(act)
        return now + _AGAIN


class RedisLease:
    """Worker numbers that the processes of a cluster lease from one server.

    A process gets a number that no other holds, and a thread renews it three times in
    `ttl`. It stops issuing, by its monotonic clock, before the server may give the
    number away; then it gets another by itself as soon as that can be had. A forked
    child leases a number of its own. Thread-safe; may be shared by generators.

    When the server begins to give numbers out, at first and after each of its starts,
    it does so after `ttl` seconds, since it cannot know who still holds one.

    Args:
        url: The server: `redis://`, `rediss://` or `unix://`.
        name: What shares the numbers; all its processes have to use the same `ttl`.
        ttl: Seconds that a lease lasts.
        wait: Seconds that a draw may wait for a number.
        timeout: Seconds that the server may take to answer.
        clock: The clock of the generators that use it; None for that of this machine.

    Raises:
        MissingExtra: If redis-py is not installed.
        InvalidType: If an argument is of another type.
        InvalidValue: If a number of seconds makes no sense.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "default",
        ttl: float = 10.0,
        wait: float = 30.0,
        timeout: float = 2.0,
        clock: Clock | None = None,
    ) -> None:
        self._book: LeaseBook = LeaseBook(name, ttl, wait, clock)
        timeout = min(check_seconds("timeout", timeout), ttl / 4)
        self._server: Server = Server(url, timeout, "a lease of worker numbers")
        self._mutex = threading.RLock()
        self._generation: int = generation()
        self._closed: bool = False
        program = _Background(self._book_due, self._renew_due)
        self._driver: ThreadDriver = ThreadDriver(program, f"cup: lease {name}")
        weakref.finalize(self, self._driver.stop).atexit = False

    def seat(self, layout: Layout) -> Lease:
        """Return the lease of this process for a layout; waits until it has one.

        Args:
            layout: What ids it is for; each layout has numbers of its own.

        Raises:
            NoWorkerId: If there is none within `wait` seconds.
            StoreUnreachable: If the server does not answer for so long.
            IdError: If this object is closed.
        """
        if self._generation != generation():
            self._mutex = threading.RLock()
            self._generation = generation()
        deadline = monotonic() + self._book.wait
        with self._mutex:
            while True:
                if self._closed:
                    raise IdError("this lease is closed; make a new RedisLease")
                seconds = self._try(layout, deadline)
                lease = self._book.find(layout)
                if lease is not None and lease.reaches():
                    return lease
                if monotonic() + seconds > deadline:
                    raise self._book.too_long(seconds)
                pause(seconds, "RedisLease.seat", "AsyncRedisLease.seat")

    def _try(self, layout: Layout, deadline: float) -> float:
        """Get a lease, or one that reaches further; tell the seconds to wait else."""
        try:
            lease = self._book.find(layout)
            if lease is not None:
                if not lease.reaches():
                    self._renew(lease)
                return 0.0

            return self._acquire(layout)
        except StoreUnreachable:
            if monotonic() + _AGAIN > deadline:
                raise
            return _AGAIN

    def _acquire(self, layout: Layout) -> float:
        book, lease = self._book, self._book.new(layout)
        sent, mark = monotonic(), lease.mark()
        arguments = book.to_acquire(lease, layout, mark)
        reply = self._server.run(ACQUIRE, book.keys(lease.scope), *arguments)
        seconds = book.acquired(lease, reply, sent, mark)
        if seconds is None:
            self._driver.nudge(lease.due)
        return 0.0 if seconds is None else seconds

    def _renew(self, lease: Lease) -> None:
        book = self._book
        sent, mark = monotonic(), lease.mark()
        arguments = book.to_renew(lease, mark)
        reply = self._server.run(RENEW, book.keys(lease.scope), *arguments)
        if not book.renewed(lease, reply, sent, mark):
            _log.warning("worker number %d was given to another", lease.number)

    def _book_due(self) -> float | None:
        return self._book.next_renewal()

    def _renew_due(self) -> None:
        for lease in self._book.due_leases():
            try:
                self._renew(lease)
            except StoreUnreachable as error:
                _log.warning("%s; %r", error, lease)

    def close(self) -> None:
        """Give the numbers back, if the server answers; issue under them no more."""
        self._closed = True
        self._driver.stop()
        for lease in self._book.leases():
            self._book.drop(lease)
            keys = self._book.keys(lease.scope)
            try:
                self._server.run(RELEASE, keys, *self._book.to_release(lease))
            except StoreUnreachable as error:
                _log.warning("%s; the number is free after its ttl", error)
        self._server.close()

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
        return f"<{type(self).__name__} {self._book.describe()}>"


class RangeGenerator(RangeCore, SyncIds[int]):
    """Numbers that go up and are unique in a cluster, from a Redis or Valkey server.

    A process takes `step` numbers at a time, and a thread has the next ones ready
    before they are needed: one question to the server for `step` numbers. Numbers that
    a process does not use before it ends are lost. Thread-safe; a forked child takes
    ranges of its own.

    The count is what the server keeps: have it write to disk (`appendonly yes`). If it
    loses the count, processes that draw from it refuse to go on.

    Args:
        url: The server: `redis://`, `rediss://` or `unix://`.
        name: Which count.
        step: How many numbers to take at a time.
        start: The first number of a new count.
        prefetch: Whether to have the next numbers ready.
        wait: Seconds that a draw may wait for the server.
        timeout: Seconds that the server may take to answer.

    Raises:
        MissingExtra: If redis-py is not installed.
        InvalidType: If an argument is of another type.
        InvalidValue: If a number makes no sense.
        StoreUnreachable: If the server does not answer for `wait` seconds.
        IdError: If the server has lost the count.
    """

    __slots__ = ("_driver", "_mutex", "_server", "_wait_seconds", "_wanted")

    def __init__(
        self,
        url: str,
        *,
        name: str = "default",
        step: int = 1000,
        start: int = 0,
        prefetch: bool = True,
        wait: float = 30.0,
        timeout: float = 2.0,
    ) -> None:
        super().__init__(name, step, start)
        self._wait_seconds: float = check_seconds("wait", wait)
        timeout = check_seconds("timeout", timeout)
        self._server: Server = Server(url, timeout, "a range of numbers")
        self._mutex = threading.RLock()
        self._wanted: float | None = None
        program = _Background(self._fetch_due, self._fetch_ahead)
        self._driver: ThreadDriver = ThreadDriver(program, f"cup: range {name}")
        weakref.finalize(self, self._driver.stop).atexit = False
        if prefetch:
            nudge = weakref.WeakMethod(self._want)
            self.on_begun(lambda: _call(nudge()))

    def _begin(self) -> None:
        super()._begin()
        self._mutex = threading.RLock()
        self._wanted = None

    def _want(self) -> None:
        self._wanted = monotonic()
        self._driver.nudge(self._wanted)

    def _fetch_due(self) -> float | None:
        return self._wanted

    def _fetch_ahead(self) -> None:
        try:
            self._fetch()
        except IdError as error:
            self._wanted = None
            _log.error("%s", error)
        except StoreUnreachable:
            pass  # it is asked again soon

    def _fetch(self) -> None:
        with self._mutex:
            if self.is_short():
                arguments = self.to_ask()
                self.take_in(self._server.run(RANGE, [self.key()], *arguments))
            self._wanted = None

    def _wait(self, late: NotYet) -> None:
        if not isinstance(late, RangeNeeded):
            super()._wait(late)
            return

        deadline = monotonic() + self._wait_seconds
        while True:
            try:
                self._fetch()
            except StoreUnreachable:
                if monotonic() + _AGAIN > deadline:
                    raise
                pause(_AGAIN, "RangeGenerator.next_id", "AsyncRangeGenerator.next_id")
            else:
                return

    def close(self) -> None:
        """Close the connections; what was fetched can still be drawn."""
        self._driver.stop()
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _call(nudge: Callable[[], object] | None) -> None:
    if nudge is not None:
        nudge()


if TYPE_CHECKING:
    _worker: WorkerAPI = RedisLease("redis://")
    _range: IDGenerator[int] = RangeGenerator("redis://")
