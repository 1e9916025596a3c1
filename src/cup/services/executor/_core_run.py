"""One run of a series: the sink of its record, which tells the series of its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cup.errors import JobCancelled

from .api_values import RunOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from cup.services.threadpool._core_record import Record

    from ._core_series import SeriesCore

__all__ = ["Run"]


class Run:
    """One run of a series.

    Attributes:
        series: What it is a run of.
        due: When it was due, by the clock of its plan.
        record: What workers take.
        started: When it started, in seconds since the epoch; None before, and where
            nobody can tell.
    """

    brief: bool = False

    __slots__ = ("due", "record", "series", "started")

    def __init__(self, series: SeriesCore, due: float) -> None:
        self.series: SeriesCore = series
        self.due: float = due
        self.started: float | None = None
        self.record: Record = []

    @property
    def label(self) -> str:
        """What it is called in reports."""
        return self.series.name

    def call(self, fn: Callable[..., Any], /, *args: object, **kwargs: object) -> Any:
        """Call the function of the series, and note when."""
        self.begin()
        return fn(*args, **kwargs)

    def begin(self) -> None:
        """Note that the run starts now."""
        self.started = self.series.core.clock.time()

    def succeed(self, value: Any, /) -> None:
        """Take what the function returned."""
        self.series.run_ended(self, RunOutcome.DONE, value, None)

    def fail(self, error: BaseException, /) -> None:
        """Take what the function raised, or why it could not run."""
        cancelled = isinstance(error, JobCancelled)
        outcome = RunOutcome.CANCELLED if cancelled else RunOutcome.FAILED
        self.series.run_ended(self, outcome, None, error)

    def drop(self) -> None:
        """Take it that the run was cancelled before it started."""
        self.series.run_ended(self, RunOutcome.CANCELLED, None, None)

    def vanish(self) -> None:
        """Do nothing: the series vanishes as a whole."""
