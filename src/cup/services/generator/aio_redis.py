"""Worker numbers and ranges from a Redis or Valkey server, for tasks."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from time import monotonic
from typing import TYPE_CHECKING

from anyio import CancelScope, Lock, create_task_group

from cup._core.pause_aio import Bell, pause
from cup._core.redis.tasks import Server
from cup.errors import IdError, StoreUnreachable

from ._core_lease import ACQUIRE, RELEASE, RENEW, LeaseBook, check_seconds
from ._core_ranges import RANGE, RangeCore, RangeNeeded
from .aio_base import AsyncIds

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ._core_ids import Ids, NotYet
    from ._core_layout import Layout
    from ._core_lease import Lease
    from .api import AsyncIDGenerator, AsyncWorkerAPI, Clock

__all__ = ["AsyncRangeGenerator", "AsyncRedisLease"]

_log = logging.getLogger("cup.generator")

_AGAIN = 0.2  # seconds until a server that does not answer is asked again


class _Service:
    """Something that asks a server, and works in a task of its own, inside a block."""

    def __init__(self, url: str, timeout: float, what: str) -> None:
        self._server: Server = Server(url, timeout, what)
        self._block: AsyncExitStack | None = None
        self._lock: Lock | None = None

    async def _work(self) -> None:
        """Do what has to be done all the time, in a task that is cancelled."""
        raise NotImplementedError

    async def _end(self) -> None:
        """Do what is to be done at the end of the block, while the server answers."""

    def _opened(self) -> Lock:
        """Return the lock of the open block.

        Raises:
            IdError: If there is none.
        """
        if self._lock is None:
            name = type(self).__name__
            raise IdError(f"this {name} is not open; use it inside `async with`")
        return self._lock

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as block:
            await block.enter_async_context(self._server)
            tasks = await block.enter_async_context(create_task_group())
            tasks.start_soon(self._work)
            block.callback(tasks.cancel_scope.cancel)
            self._block = block.pop_all()
        self._lock = Lock()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        block, self._block = self._block, None
        if block is None:
            return None

        try:
            async with block:
                with CancelScope(shield=True):
                    await self._end()
        finally:
            self._lock = None
        return None


class AsyncRedisLease(_Service):
    """Worker numbers that the processes of a cluster lease from one server.

    Twin of `RedisLease`. It lives in `async with`, where a task renews the leases; all
    draws happen on that loop.
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
        super().__init__(url, timeout, "a lease of worker numbers")

    async def seat(self, layout: Layout) -> Lease:
        """Return the lease of this process for a layout; waits until it has one.

        Args:
            layout: What ids it is for; each layout has numbers of its own.

        Raises:
            NoWorkerId: If there is none within `wait` seconds.
            StoreUnreachable: If the server does not answer for so long.
            IdError: If this object is not open.
        """
        deadline = monotonic() + self._book.wait
        async with self._opened():
            while True:
                seconds = await self._try(layout, deadline)
                lease = self._book.find(layout)
                if lease is not None and lease.reaches():
                    return lease
                if monotonic() + seconds > deadline:
                    raise self._book.too_long(seconds)
                await pause(seconds)

    async def _try(self, layout: Layout, deadline: float) -> float:
        """Get a lease, or one that reaches further; tell the seconds to wait else."""
        try:
            lease = self._book.find(layout)
            if lease is not None:
                if not lease.reaches():
                    await self._renew(lease)
                return 0.0

            return await self._acquire(layout)
        except StoreUnreachable:
            if monotonic() + _AGAIN > deadline:
                raise
            return _AGAIN

    async def _acquire(self, layout: Layout) -> float:
        book, lease = self._book, self._book.new(layout)
        sent, mark = monotonic(), lease.mark()
        arguments = book.to_acquire(lease, layout, mark)
        reply = await self._server.run(ACQUIRE, book.keys(lease.scope), *arguments)
        seconds = book.acquired(lease, reply, sent, mark)
        return 0.0 if seconds is None else seconds

    async def _renew(self, lease: Lease) -> None:
        book = self._book
        sent, mark = monotonic(), lease.mark()
        arguments = book.to_renew(lease, mark)
        reply = await self._server.run(RENEW, book.keys(lease.scope), *arguments)
        if not book.renewed(lease, reply, sent, mark):
            _log.warning("worker number %d was given to another", lease.number)

    async def _work(self) -> None:
        while True:
            for lease in self._book.due_leases():
                try:
                    await self._renew(lease)
                except StoreUnreachable as error:
                    _log.warning("%s; %r", error, lease)
            await pause(min(_AGAIN, self._book.ttl / 10))

    async def _end(self) -> None:
        for lease in self._book.leases():
            self._book.drop(lease)
            keys = self._book.keys(lease.scope)
            try:
                await self._server.run(RELEASE, keys, *self._book.to_release(lease))
            except StoreUnreachable as error:
                _log.warning("%s; the number is free after its ttl", error)

    async def close(self) -> None:
        """Give the numbers back, if the server answers; issue under them no more."""
        await self.__aexit__(None, None, None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._book.describe()}>"


class AsyncRangeGenerator(_Service, AsyncIds[int]):
    """Numbers that go up and are unique in a cluster, from a Redis or Valkey server.

    Twin of `RangeGenerator`. It lives in `async with`, where a task has the next
    numbers ready; all draws happen on that loop.
    """

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
        core = RangeCore(name, step, start)
        timeout = check_seconds("timeout", timeout)
        _Service.__init__(self, url, timeout, "a range of numbers")
        self._ids: Ids[int] = core
        self._core: RangeCore = core
        self._wait_seconds: float = check_seconds("wait", wait)
        self._prefetch: bool = prefetch

    async def _work(self) -> None:
        while self._prefetch:
            bell = Bell()
            self._core.on_begun(bell.ring)
            await bell.until_rung()
            try:
                await self._fetch()
            except IdError as error:
                _log.error("%s", error)
            except StoreUnreachable:
                await pause(_AGAIN)

    async def _fetch(self) -> None:
        async with self._opened():
            if self._core.is_short():
                arguments = self._core.to_ask()
                reply = await self._server.run(RANGE, [self._core.key()], *arguments)
                self._core.take_in(reply)

    async def _wait(self, late: NotYet) -> None:
        if not isinstance(late, RangeNeeded):
            await super()._wait(late)
            return

        deadline = monotonic() + self._wait_seconds
        while True:
            try:
                await self._fetch()
            except StoreUnreachable:
                if monotonic() + _AGAIN > deadline:
                    raise
                await pause(_AGAIN)
            else:
                return

    async def close(self) -> None:
        """Close the connections; what was fetched can still be drawn."""
        await self.__aexit__(None, None, None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self._core!r}>"


if TYPE_CHECKING:
    _worker: AsyncWorkerAPI = AsyncRedisLease("redis://")
    _range: AsyncIDGenerator[int] = AsyncRangeGenerator("redis://")
