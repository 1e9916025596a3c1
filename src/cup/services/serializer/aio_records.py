"""Iterating over records, for tasks.

Not asynchronous generators: an iteration that a task leaves needs no clean-up on its
loop, and one that was cancelled can go on where it was.
"""

from __future__ import annotations

from _thread import allocate_lock
from abc import ABC, abstractmethod
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Generic, TypeVar

from anyio import CancelScope, get_cancelled_exc_class, to_thread

from cup._core.loops import ablock
from cup._core.pause_aio import pause
from cup.errors import WaitTimeout

from ._core_tide import NewsAsk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

    from ._core import LogCore
    from ._core_cursor import Cursor
    from ._core_reading import Decoder, ReaderCore, Source, Watch
    from .api import Record

__all__ = ["AsyncRecords", "FollowLog", "FollowReader", "ReadAll", "in_thread"]

T = TypeVar("T")
R = TypeVar("R")


class _Work(Generic[R]):
    """A function that worker threads call once, however often they are sent to it."""

    __slots__ = ("_function", "_mutex", "_turn", "error", "made")

    def __init__(self, function: Callable[[], R]) -> None:
        self._function = function
        self._mutex = allocate_lock()
        self._turn: deque[None] = deque(
            [None]
        )  # taken by who calls it, or calls it off
        self.made: list[R] = []
        self.error: BaseException | None = None

    def call_off(self) -> bool:
        """Have it not called; False if it is too late for that."""
        try:
            self._turn.pop()
        except IndexError:
            return False
        return True

    def do(self) -> None:
        """Call it, or wait until another thread has."""
        with self._mutex:
            if self.call_off():
                try:
                    self.made.append(self._function())
                except BaseException as error:  # noqa: BLE001 - raised by who waits
                    self.error = error


async def in_thread(function: Callable[[], R], *, surely: bool = False) -> R:
    """Run what needs the disk in a worker thread; a cancelled task waits for its end.

    So does one of asyncio's that its own method cancels, which no scope shields.

    Args:
        function: What to run.
        surely: Whether it is run for a task that was cancelled before it began, too.
    """
    work = _Work(function)
    cancelled: BaseException | None = None
    try:
        while not work.made and work.error is None:
            try:
                with CancelScope(shield=surely or cancelled is not None):
                    await to_thread.run_sync(work.do)
            except get_cancelled_exc_class() as error:
                if not surely and work.call_off():
                    raise
                cancelled = error
        if cancelled is not None:
            raise cancelled from work.error
        if work.error is not None:
            raise work.error
        return work.made[0]
    finally:
        work.error = cancelled = None  # they know this very frame


class AsyncRecords(ABC, Generic[T]):
    """Records, one after the other. For one task at a time."""

    __slots__ = ("_core", "_cursor", "_decode", "_over", "_ready", "_start")

    _core: Source

    def __init__(self, start: int | None, decode: Decoder[T]) -> None:
        self._start = start
        self._decode = decode
        self._cursor: Cursor | None = None
        self._ready: Iterator[Record[T]] = iter(())
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record[T]:
        for record in self._ready:
            return record

        while not self._over:
            self._over = not await self._advance()
            for record in self._ready:
                return record
        await self.aclose()
        raise StopAsyncIteration

    @abstractmethod
    async def _advance(self) -> bool:
        """Read some more; False if there will be no more."""

    def _find(self) -> Cursor:
        """Return the place to read from; in a worker thread."""
        cursor = self._cursor
        if cursor is None:
            cursor = self._cursor = self._core.cursor(self._start)
        return cursor

    def _take(self, limit: int) -> bool:
        """Read some records, in a worker thread; tell whether there were any."""
        records = self._find().read(limit)
        self._ready = iter(self._decode(records))
        return bool(records)

    async def aclose(self) -> None:
        """End, and close the files."""
        self._over = True
        self._ready = iter(())
        if self._cursor is not None:
            self._cursor.close()


class ReadAll(AsyncRecords[T]):
    """The records that there are."""

    __slots__ = ("_limit", "_stop")

    def __init__(
        self, core: Source, start: int | None, stop: int | None, decode: Decoder[T]
    ) -> None:
        super().__init__(start, decode)
        self._core = core
        self._stop = stop
        self._limit: int | None = None

    async def _advance(self) -> bool:
        return await in_thread(self._go_on)

    def _go_on(self) -> bool:
        limit = self._limit
        if limit is None:
            limit = self._core.extent()
            if self._stop is not None:
                limit = min(limit, self._stop)
            self._limit = limit
        return self._take(limit)


class FollowLog(AsyncRecords[T]):
    """The records of a log that is open here, and those to come."""

    __slots__ = ("_log", "_timeout")

    def __init__(
        self,
        core: LogCore,
        start: int | None,
        timeout: float | None,
        decode: Decoder[T],
    ) -> None:
        super().__init__(start, decode)
        self._core = self._log = core
        self._timeout = timeout

    async def _advance(self) -> bool:
        log = self._log
        over = log.is_over()
        if await in_thread(lambda: self._take(log.durable)):
            return True

        if not over:
            number = self._find().next_id
            try:
                await ablock(NewsAsk(log.tide, log, number), self._timeout)
            except WaitTimeout:
                return False
        return not over


class FollowReader(AsyncRecords[T]):
    """The records of a log that others may write, and those to come."""

    __slots__ = ("_reader", "_since", "_timeout", "_watch")

    def __init__(
        self,
        core: ReaderCore,
        start: int | None,
        timeout: float | None,
        decode: Decoder[T],
    ) -> None:
        super().__init__(start, decode)
        self._core = self._reader = core
        self._timeout = timeout
        self._watch: Watch = core.watch()
        self._since = monotonic()

    async def _advance(self) -> bool:
        if await in_thread(self._look):
            self._since = monotonic()
        elif self._timeout is not None and monotonic() - self._since >= self._timeout:
            return False
        else:
            await pause(self._watch.interval)
        return not self._reader.closed

    def _look(self) -> bool:
        watch = self._watch
        watch.look()
        return self._take(watch.limit)

    async def aclose(self) -> None:
        """End, and close the files."""
        await super().aclose()
        self._watch.close()
