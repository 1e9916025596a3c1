"""The handles of jobs and series, for tasks; twins of `ScheduledJob` and `Series`.

They are views: `handle.sync` is the job itself, for threads. Tasks of several loops may
await the same job at the same time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from anyio import get_cancelled_exc_class

from cup.services.threadpool.aio_job import AsyncJob

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from concurrent.futures import Future
    from datetime import datetime

    from cup._core.interrupt import Interrupt
    from cup.services.threadpool._core_job import Job

    from ._core_handle import Handle, ScheduledJob
    from ._core_series_handle import Series
    from .api_values import RunRecord

__all__ = ["AsyncHandle", "AsyncScheduledJob", "AsyncSeries"]

T = TypeVar("T")


class AsyncHandle(Generic[T]):
    """What every job of an executor can be asked by tasks, also a series."""

    __slots__ = ("_cancels", "_handle")

    def __init__(self, handle: Handle[T], *, cancels: bool) -> None:
        self._handle = handle
        self._cancels = cancels

    @property
    def future(self) -> Job[T]:
        """The job as a `concurrent.futures.Future`, for `wait` and `as_completed`."""
        return self._handle.future

    @property
    def name(self) -> str:
        """What the job is called in reports: its option `name`, or its function."""
        return self._handle.name

    @property
    def next_run(self) -> datetime | None:
        """When it is due (an aware datetime in UTC); None if it waits for no time."""
        return self._handle.next_run

    def cancel(self) -> bool:
        """Keep the job from starting.

        Twin of `ScheduledJob.cancel`.
        """
        return self._handle.cancel()

    def reschedule(self, delay: float) -> bool:
        """Have the job due in so many seconds from now, instead of at its time.

        Twin of `ScheduledJob.reschedule`.

        Args:
            delay: Seconds; zero or less means now.
        """
        return self._handle.reschedule(delay)

    def cancelled(self) -> bool:
        """Tell whether the job was cancelled before it started."""
        return self._handle.cancelled()

    def running(self) -> bool:
        """Tell whether the job has started and not ended."""
        return self._handle.running()

    def done(self) -> bool:
        """Tell whether the job has ended: by a result, an exception, or a cancel."""
        return self._handle.done()

    def interrupt(self, error: Interrupt | None = None) -> bool:
        """Raise an exception inside of the running job, to end it.

        Twin of `ScheduledJob.interrupt`. A coroutine is cancelled.

        Args:
            error: An exception, or a class of exceptions that takes no arguments; None
                for `JobInterrupted`.
        """
        return self._handle.interrupt(error)

    def __await__(self) -> Generator[Any, None, T]:
        return self.result().__await__()

    async def result(self, timeout: float | None = None) -> T:
        """Wait for the end and return what the function returned.

        Twin of `ScheduledJob.result`. Cancelling the waiting task leaves the job alone,
        unless the option `cancel_with_waiter` says otherwise.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            JobTimeout: If it has not ended in time.
            JobCancelled: If it was cancelled; never asyncio's `CancelledError`.
            BaseException: What the function raised.
        """
        try:
            return await AsyncJob(self._handle.future).result(timeout)
        except get_cancelled_exc_class():
            self._waiter_left()
            raise

    async def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end and return what the function raised, None if nothing.

        Twin of `ScheduledJob.exception`.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            JobTimeout: If it has not ended in time.
            JobCancelled: If it was cancelled.
        """
        try:
            return await AsyncJob(self._handle.future).exception(timeout)
        except get_cancelled_exc_class():
            self._waiter_left()
            raise

    def _waiter_left(self) -> None:
        if self._cancels:
            self._handle.cancel()

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Have `fn(future)` called at the end, in a worker; at once if it has ended."""
        self._handle.add_done_callback(fn)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._handle!r}>"


class AsyncScheduledJob(AsyncHandle[T]):
    """A job that runs once, for tasks; twin of `ScheduledJob`.

    `await job` waits for the result.
    """

    __slots__ = ("sync",)

    sync: ScheduledJob[T]
    """The job itself, for threads."""

    def __init__(self, job: ScheduledJob[T], *, cancels: bool = False) -> None:
        super().__init__(job, cancels=cancels)
        self.sync = job


class AsyncSeries(AsyncHandle[T]):
    """A function that runs again and again, for tasks; twin of `Series`.

    `await series` waits for the end of the series.
    """

    __slots__ = ("sync",)

    sync: Series[T]
    """The series itself, for threads."""

    def __init__(self, series: Series[T], *, cancels: bool = False) -> None:
        super().__init__(series, cancels=cancels)
        self.sync = series

    @property
    def history(self) -> tuple[RunRecord, ...]:
        """The last runs that are over, the oldest first; see the option `history`."""
        return self.sync.history

    @property
    def runs(self) -> int:
        """How many runs were handed to workers so far."""
        return self.sync.runs

    @property
    def skipped(self) -> int:
        """How many runs were left out because another had not ended."""
        return self.sync.skipped

    @property
    def missed(self) -> int:
        """How many runs were left out when the series caught up."""
        return self.sync.missed

    @property
    def failures(self) -> int:
        """How many runs in a row have failed until now."""
        return self.sync.failures

    @property
    def paused(self) -> bool:
        """Whether it waits for `resume`."""
        return self.sync.paused

    def pause(self) -> None:
        """Have no run due until `resume`; what runs goes on."""
        self.sync.pause()

    def resume(self) -> None:
        """Go on after `pause`; what was due meanwhile is not made up for."""
        self.sync.resume()

    def run_now(self) -> None:
        """Have one run due now, besides the others; overlap rules hold for it."""
        self.sync.run_now()

    def add_run_callback(self, fn: Callable[[RunRecord], object]) -> None:
        """Have `fn(record)` called after each run, in the worker; it should be short.

        Twin of `Series.add_run_callback`.
        """
        self.sync.add_run_callback(fn)
