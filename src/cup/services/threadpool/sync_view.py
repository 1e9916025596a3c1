"""A pool with options, for threads: what `ThreadPool` and its views share.

Twin: `aio_view`.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import ParamSpec

from cup._core.clock import check_timeout, deadline_after
from cup._core.context import job_context
from cup._core.wait import SLICE, block
from cup.errors import InvalidType, WaitTimeout

from ._core_handle import Face
from ._core_intake import Verdict, disown, make_room, offer
from ._core_job import Job
from ._core_queue import RoomAsk
from ._core_record import CallbackSink, Record
from ._core_settings import check_at_least_one
from ._core_stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

__all__ = ["PoolView"]

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")


class PoolView(Face):
    """A pool as seen with options: every job taken through it has them.

    Made by `ThreadPool.options`; keeps the pool alive. Thread-safe.
    """

    __slots__ = ()

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[T]:
        """Queue a call and return its job; starts a pool that was never started.

        Context variables travel with the job. Never blocks, and may be called from
        signal handlers and finalizers, unless the pool is bounded with
        `when_full="block"`. Safe to call inside of jobs.

        Args:
            fn: What is called, in a worker.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments; they never meet ours.

        Returns:
            A `concurrent.futures.Future`, that tasks may await, too.

        Raises:
            PoolClosed: If the pool was stopped.
            PoolFull: If its queue is full, and it is to refuse.
            PoolBroken: If the initializer of a worker failed.
            InvalidType: If `fn` cannot be called.
        """
        record: Record = [fn, job_context(), args, kwargs]
        core = self._core
        job: Job[T] = Job(core, record)
        if core.plain and self._simple and callable(fn):
            core.enqueue(record)
        else:
            self._offer(record, starts=True)
        return job

    def post(
        self, fn: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Queue a call that nobody waits for; its exception is reported.

        Before `start` it is only queued.

        Args:
            fn: What is called, in a worker.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            PoolClosed: If the pool was stopped.
            PoolFull: If its queue is full, and it is to refuse.
            PoolBroken: If the initializer of a worker failed.
            InvalidType: If `fn` cannot be called.
        """
        core = self._core
        record: Record = [fn, job_context(), args, kwargs, core.nobody]
        if core.plain and self._simple and callable(fn):
            core.enqueue(record)
        else:
            self._offer(record, starts=False)

    def add_1job(
        self, func: Callable[P, object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Queue a call that nobody waits for: the older name of `post`."""
        self.post(func, *args, **kwargs)

    def add_1job_with_callback(
        self,
        result_callback: Callable[[bool, Any], object],
        func: Callable[P, object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Queue a call whose outcome goes to a callback.

        Args:
            result_callback: Called exactly once, in a worker, in the context of the
                job: with `(True, result)`, or with `(False, exception)`, also for a
                job that was cancelled. What it raises is reported.
            func: What is called, in a worker.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            PoolClosed: If the pool was stopped.
            PoolFull: If its queue is full, and it is to refuse.
            PoolBroken: If the initializer of a worker failed.
            InvalidType: If `func` or `result_callback` cannot be called.
        """
        if not callable(result_callback):
            raise InvalidType(f"result_callback must be callable: {result_callback!r}")

        core = self._core
        context = job_context()
        sink = CallbackSink(core, result_callback, context)
        self._offer([func, context, args, kwargs, sink], starts=False)

    def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call in a worker, wait for it, and return its result.

        Args:
            fn: What is called, in a worker.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Raises:
            PoolClosed: If the pool was stopped.
            BaseException: What `fn` raised.
        """
        return self.submit(fn, *args, **kwargs).result()

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Call `fn` with the items of the iterables, side by side, in their order.

        Args:
            fn: Takes one item of each iterable.
            *iterables: All are consumed at once, unless `buffersize` is given.
            timeout: Seconds from now within which each result must have come.
            chunksize: Taken for compatibility; it has no effect with threads.
            buffersize: How many calls may be ahead of the consumer; None for all.

        Returns:
            An iterator over the results; closing it cancels what has not started.

        Raises:
            PoolClosed: If the pool was stopped.
            JobTimeout: By the iterator, when a result is late.
            InvalidType: If `fn` cannot be called, or `buffersize` is not an int.
            InvalidValue: If `buffersize` or `chunksize` is below 1, or `timeout` NaN.
        """
        if buffersize is not None:
            check_at_least_one("buffersize", buffersize)
        check_at_least_one("chunksize", chunksize)
        deadline = deadline_after(check_timeout(timeout))
        stream = Stream(
            self._core,
            fn,
            zip(*iterables, strict=False),
            ordered=True,
            limit=buffersize,
        )
        self._feed(stream)
        return self._results(stream, deadline)

    def each(
        self,
        fn: Callable[[A], T],
        items: Iterable[A],
        *,
        ordered: bool = True,
        limit: int | None = None,
    ) -> Iterator[T]:
        """Call `fn` with each item, and yield the results while they come.

        Items are taken from the iterable only as fast as results are consumed, so it
        may be endless.

        Args:
            fn: Takes one item.
            items: What to call it with.
            ordered: Whether results come in the order of the items, or as they come.
            limit: How many calls may be ahead of the consumer; None for twice the
                maximum of workers.

        Returns:
            An iterator over the results; closing it cancels what has not started.

        Raises:
            PoolClosed: If the pool was stopped.
            BaseException: What `fn` raised, at its place among the results.
            InvalidValue: If `limit` is below 1.
        """
        limit = 2 * self._core.maximum if limit is None else limit
        check_at_least_one("limit", limit)
        calls = ((item,) for item in items)
        stream = Stream(self._core, fn, calls, ordered=ordered, limit=limit)
        return self._results(stream, None)

    def _feed(self, stream: Stream[Any]) -> None:
        """Queue the calls of a stream that may be queued now."""
        core = self._core
        if self._simple:
            core.start_if_new()
        if self._simple and core.plain:
            records: list[Record] = []
            try:
                records.extend(stream.next_records())
                core.enqueue_all(records)
            except BaseException:
                for record in records:
                    disown(record)
                raise
        else:
            for record in stream.next_records():
                self._offer(record, starts=True)

    def _results(
        self, stream: Stream[T], deadline: float | None
    ) -> Generator[T, None, None]:
        try:
            while True:
                cell = stream.pop()
                if cell is None:
                    if not stream.exhausted:
                        self._feed(stream)
                    if not stream.in_flight():
                        return

                    self._await_next(stream, deadline)
                    continue

                if not stream.exhausted:
                    self._feed(stream)
                yield cell.outcome()
                del cell
        finally:
            stream.cancel()

    def _await_next(self, stream: Stream[Any], deadline: float | None) -> None:
        ask = stream.ask()
        left = None if deadline is None else deadline - monotonic()
        soon = stream.may_starve() and (left is None or left > SLICE)
        try:
            block(ask, SLICE if soon else left)
        except WaitTimeout:
            if not soon:
                raise
        finally:
            stream.got()

    def _offer(self, record: Record, *, starts: bool) -> None:
        """Queue a record under the options of this view, by the policy of the pool."""
        core, limits = self._core, self._limits
        placed = False
        try:
            while (
                offer(core, record, limits, starts=starts, has_place=placed)
                is Verdict.FULL
            ):
                verdict = make_room(core, record, runs=True)
                if verdict is Verdict.DONE:
                    return

                placed = verdict is Verdict.PLACED or self._wait_for_room()
        except BaseException:
            disown(record)
            raise

    def _wait_for_room(self) -> bool:
        """Wait for a place; False if the pool does not hand out any now."""
        core = self._core
        room = core.queue.room
        assert room is not None, "only a bounded pool has a policy"
        try:
            return block(RoomAsk(room), core.settings.room_timeout)
        except WaitTimeout as error:
            core.refused.add()
            raise room.full(core.name) from error
