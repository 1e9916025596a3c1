"""The handle of a series: what users see of a function that runs again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ._core_handle import Handle

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from datetime import datetime

    from cup.services.threadpool._core_job import Job

    from ._core_series import SeriesCore
    from .api_values import RunRecord

__all__ = ["Series"]

T = TypeVar("T")


class Series(Handle[T]):
    """A function that runs again and again; made by `every` and `cron`.

    Its future (`result`, `await`) ends with the series: by its limits, with the result
    of the last run; by `stop_after_failures`, with the exception of the last; or
    cancelled. An exception of one run does not end it: that is reported, counted, and
    in `history`. All methods are thread-safe.
    """

    __slots__ = ("_series",)

    def __init__(self, series: SeriesCore) -> None:
        self._series = series

    @property
    def future(self) -> Job[T]:
        """The job as a `concurrent.futures.Future`, for `wait` and `as_completed`."""
        return self._series.job

    @property
    def name(self) -> str:
        """What the job is called in reports: its option `name`, or its function."""
        return self._series.name

    @property
    def next_run(self) -> datetime | None:
        """When it is due (an aware datetime in UTC); None if it waits for no time."""
        return self._series.next_run()

    @property
    def history(self) -> tuple[RunRecord, ...]:
        """The last runs that are over, the oldest first; see the option `history`."""
        return tuple(self._series.history)

    @property
    def runs(self) -> int:
        """How many runs were handed to workers so far."""
        return self._series.started

    @property
    def skipped(self) -> int:
        """How many runs were left out because another had not ended."""
        return self._series.skipped

    @property
    def missed(self) -> int:
        """How many runs were left out when the series caught up.

        Those of a calendar are counted up to a thousand at a time.
        """
        return self._series.missed

    @property
    def failures(self) -> int:
        """How many runs in a row have failed until now."""
        return self._series.failures

    @property
    def paused(self) -> bool:
        """Whether it waits for `resume`."""
        return self._series.paused

    def cancel(self) -> bool:
        """Keep the job from starting.

        No further run starts: the series ends.

        Never blocks; may be called from signal handlers and finalizers, and inside of
        a run. A run that has started goes on to its end.

        Returns:
            True if it is cancelled, now or before; False if it had ended.
        """
        return self._series.job.cancel()

    def reschedule(self, delay: float) -> bool:
        """Have the job due in so many seconds from now, instead of at its time.

        That is the next run; the plan goes on after it.

        Args:
            delay: Seconds; zero or less means now.

        Returns:
            False if the series has ended.

        Raises:
            InvalidValue: If `delay` is NaN or infinite.
        """
        return self._series.reschedule(delay)

    def pause(self) -> None:
        """Have no run due until `resume`; what runs goes on."""
        self._series.pause()

    def resume(self) -> None:
        """Go on after `pause`; what was due meanwhile is not made up for."""
        self._series.resume()

    def run_now(self) -> None:
        """Have one run due now, besides the others; overlap rules hold for it."""
        self._series.run_now()

    def running(self) -> bool:
        """Tell whether the job has started and not ended."""
        return self._series.is_running()

    def add_run_callback(self, fn: Callable[[RunRecord], object]) -> None:
        """Have `fn(record)` called after each run, in the worker; it should be short.

        What it raises is reported.
        """
        self._series.on_run.append(fn)

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Have `fn(future)` called at the end, in a worker; at once if it has ended."""
        self._series.job.add_done_callback(fn)

    def __repr__(self) -> str:
        series = self._series
        state = "ended" if self.done() else "paused" if series.paused else "running"
        return f"<{type(self).__name__} {self.name!r} {state}, {series.started} runs>"
