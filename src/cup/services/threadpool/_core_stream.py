"""A stream of calls: one function over many items, with so many in flight.

It serves `map` and `each` in both colours: a worker that finishes a call wakes the one
consumer, if that waits. Results come in the order of the items, or as they come.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cup._core.context import job_context
from cup._core.line import Line
from cup._core.wait import Ask
from cup.errors import InvalidType, JobCancelled, JobTimeout

from ._core_record import claim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cup.errors import WaitTimeout

    from ._core import PoolCore
    from ._core_record import Record

__all__ = ["Cell", "NextAsk", "Stream"]

T = TypeVar("T")

_NO_KEYWORDS: dict[str, Any] = {}  # one for all: who runs a record does not change it


class Cell(Generic[T]):
    """The outcome of one call of a stream, and the sink of its record."""

    brief: bool = True

    __slots__ = ("done", "error", "record", "stream", "value")

    record: Record
    value: T

    def __init__(self, stream: Stream[T]) -> None:
        self.stream: Stream[T] | None = stream
        self.done: bool = False
        self.error: BaseException | None = None

    def succeed(self, value: T, /) -> None:
        """Take the result."""
        self.value = value
        stream, self.stream = self.stream, None
        self.done = True  # before the consumer is looked for, who sets and then looks
        if stream is not None:
            stream.arrived(self)

    def fail(self, error: BaseException, /) -> None:
        """Take the exception."""
        self.error = error
        stream, self.stream = self.stream, None
        self.done = True
        if stream is not None:
            stream.arrived(self)

    def drop(self) -> None:
        """Take it that the call was cancelled."""
        self.fail(JobCancelled("the job was cancelled before it started"))

    def vanish(self) -> None:
        """Take it that the call does not exist in this forked child."""
        self.error = JobCancelled("the job belongs to the parent of this process")
        self.done = True

    def outcome(self) -> T:
        """Give the result away or raise the exception; called once."""
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                del self, error  # no cycle through the traceback

        value = self.value
        del self.value  # the consumer alone keeps it alive
        return value


class NextAsk(Ask[None]):
    """Asks for the next outcome of a stream."""

    __slots__ = ()

    what = "the next result of ThreadPool.map"
    value = None

    def timed_out(self, timeout: float) -> WaitTimeout:
        """Return the error of `map` whose time-out is over."""
        return JobTimeout(
            f"a result did not come in time ({timeout} s left for it)", timeout=timeout
        )


class Stream(Line, Generic[T]):
    """Calls in flight, for one consumer.

    Args:
        core: The pool.
        fn: What is called.
        calls: The positional arguments of each call.
        ordered: Whether outcomes come in the order of the calls.
        limit: How many calls may be in flight or wait to be consumed; None for all.
    """

    __slots__ = (
        "_arrived",
        "_awaited",
        "_calls",
        "_cells",
        "_core",
        "_flying",
        "_fn",
        "_limit",
        "_ordered",
        "exhausted",
    )

    def __init__(
        self,
        core: PoolCore,
        fn: Callable[..., T],
        calls: Iterator[tuple[Any, ...]],
        *,
        ordered: bool,
        limit: int | None,
    ) -> None:
        if not callable(fn):
            raise InvalidType(f"a job must be callable, not {fn!r}")

        super().__init__()
        self._core = core
        self._fn = fn
        self._calls = calls
        self._ordered = ordered
        self._limit = limit
        self._cells: deque[Cell[T]] = deque()  # in order, where order is asked for
        self._flying: dict[Cell[T], None] = {}  # else
        self._arrived: deque[Cell[T]] = deque()
        self._awaited = False
        self.exhausted: bool = False

    def next_records(self) -> Iterator[Record]:
        """Yield the records that may be queued now."""
        while not self.exhausted:
            if self._limit is not None and self.in_flight() >= self._limit:
                return

            try:
                args = next(self._calls)
            except StopIteration:
                self.exhausted = True
                return

            cell = Cell(self)
            cell.record = record = [self._fn, job_context(), args, _NO_KEYWORDS, cell]
            if self._ordered:
                self._cells.append(cell)
            else:
                self._flying[cell] = None
            yield record

    def arrived(self, cell: Cell[T]) -> None:
        """Note an outcome; called by workers."""
        if not self._ordered:
            self._arrived.append(cell)
        if self._awaited:
            self.changed()

    def head(self) -> Cell[T] | None:
        """Return the outcome that is next, if it is there."""
        if not self._ordered:
            return self._arrived[0] if self._arrived else None

        cell = self._cells[0] if self._cells else None
        return cell if cell is not None and cell.done else None

    def pop(self) -> Cell[T] | None:
        """Remove and return the outcome that is next, if it is there."""
        if self._ordered:
            cells = self._cells
            return cells.popleft() if cells and cells[0].done else None

        if not self._arrived:
            return None

        cell = self._arrived.popleft()
        del self._flying[cell]
        return cell

    def in_flight(self) -> int:
        """Return the number of calls that were queued and not consumed."""
        return len(self._cells) if self._ordered else len(self._flying)

    def ask(self) -> NextAsk:
        """Return what to wait for when `pop` had nothing."""
        # In a job of the same full pool nobody else would ever run it.
        any(self._core.run_here(record) for record in self._wanted())
        self._awaited = True
        return NextAsk(self)

    def may_starve(self) -> bool:
        """Tell whether who waits has to `ask` again; see `Staff.may_starve`."""
        return any(self._core.may_starve(record) for record in self._wanted())

    def _wanted(self) -> Iterator[Record]:
        """Yield the records whose outcome may be the next."""
        if not self._ordered:
            return (cell.record for cell in self._flying)

        return (cell.record for cell in itertools.islice(self._cells, 1))

    def got(self) -> None:
        """Note that the consumer does not wait any more."""
        self._awaited = False

    def cancel(self) -> None:
        """Take back what has not started."""
        self.exhausted = True
        for cell in (*self._cells, *self._flying):
            cell.stream = None
            sink = claim(cell.record)
            if sink is not None:
                self._core.withdrew(sink)
        self._cells.clear()
        self._flying.clear()

    def take(self, _: Ask[Any], /) -> bool:
        """Let the consumer through when there is something for it."""
        return self.head() is not None

    def put_back(self, _: Ask[Any], /) -> None:
        """Do nothing: the consumer takes the outcome itself."""
