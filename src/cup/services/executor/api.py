"""What an executor is: the protocols of its faces, of time sources, and of job stores.

`ExecutorAPI` is the face for threads, `AsyncExecutorAPI` the one for tasks. The values
that they take and give are in `api_values`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Protocol, TypeVar

from typing_extensions import ParamSpec

if TYPE_CHECKING:
    from datetime import datetime

    from cup._core.clock import WakefulClock
    from cup._core.program import Program

    from ._core_cron import Cron
    from ._core_handle import ScheduledJob
    from ._core_series_handle import Series
    from .aio_handle import AsyncScheduledJob, AsyncSeries
    from .api_values import (
        Aligned,
        ExecutorReport,
        ExecutorStats,
        FixedDelay,
        FixedRate,
    )

__all__ = [
    "AsyncExecutorAPI",
    "Backend",
    "ExecutorAPI",
    "JobStore",
    "ProgramSeat",
    "TimeSource",
]

P = ParamSpec("P")
T = TypeVar("T")

Backend = Executor | Callable[[], Executor]
"""What runs the jobs: an executor, which stays its owner's, or a function that makes
one, which the service shuts down, and replaces when it breaks."""


class ProgramSeat(Protocol):
    """The place of one background program: who has it called."""

    def nudge(self, deadline: float) -> None:
        """Have the program called at the latest at this point of the clock."""
        ...

    def stop(self) -> None:
        """Call the program no more."""
        ...


class TimeSource(Protocol):
    """Where an executor has its time from; `cup.testing.VirtualDriver` is one."""

    @property
    def clock(self) -> WakefulClock:
        """The clock."""
        ...

    def add(self, program: Program, /) -> ProgramSeat:
        """Take a program, to call it when it is due."""
        ...


class JobStore(Protocol):
    """Where jobs are kept that outlive their process.

    To a store, a job is a key and a text: it needs to know nothing of jobs. Jobs are
    stored by their import path and JSON arguments, with a schema version; what a later
    program cannot make sense of stays in the store, and is reported.
    """

    def load(self) -> Iterable[tuple[str, str]]:
        """Return the key and the text of every job; called when an executor starts."""
        ...

    def write(
        self, saved: Sequence[tuple[str, str]], removed: Sequence[str], /
    ) -> None:
        """Keep some jobs and remove others; they are durable when this returns.

        It may block, and may be called by several threads at the same time: who stores
        a new job waits for this, everything else is written in groups. After a crash
        it must have happened as a whole or not at all.
        """
        ...


class _Common(Protocol):
    """What never waits, and so is the same in both faces."""

    @property
    def name(self) -> str:
        """The name of the executor."""
        ...

    def start(self) -> None:
        """Take jobs, and run what was handed in before."""
        ...

    def run(self) -> None:
        """Take jobs: the older name of `start`."""
        ...

    def running(self) -> bool:
        """Tell whether jobs are taken and run."""
        ...

    def stats(self) -> ExecutorStats:
        """Return the figures of this moment."""
        ...


class ExecutorAPI(_Common, Protocol):
    """The executor, for threads."""

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> ScheduledJob[T]:
        """Run a call as soon as a worker is free."""
        ...

    def after(
        self, delay: float, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> ScheduledJob[T]:
        """Run a call in so many seconds."""
        ...

    def at(
        self,
        when: datetime | float,
        fn: Callable[P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> ScheduledJob[T]:
        """Run a call at a time of day."""
        ...

    def every(
        self,
        rhythm: float | FixedRate | FixedDelay | Aligned,
        fn: Callable[P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Series[T]:
        """Run a call again and again."""
        ...

    def cron(
        self, cron: Cron | str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Series[T]:
        """Run a call by the calendar."""
        ...

    def stop(self, wait_workerstop: bool = True) -> ExecutorReport:
        """Run what is due, cancel what is not, and say what became of everything."""
        ...


class AsyncExecutorAPI(_Common, Protocol):
    """The executor, for tasks."""

    async def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncScheduledJob[T]:
        """Run a call as soon as a worker is free."""
        ...

    async def after(
        self, delay: float, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncScheduledJob[T]:
        """Run a call in so many seconds."""
        ...

    async def at(
        self,
        when: datetime | float,
        fn: Callable[P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncScheduledJob[T]:
        """Run a call at a time of day."""
        ...

    async def every(
        self,
        rhythm: float | FixedRate | FixedDelay | Aligned,
        fn: Callable[P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncSeries[T]:
        """Run a call again and again."""
        ...

    async def cron(
        self, cron: Cron | str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncSeries[T]:
        """Run a call by the calendar."""
        ...

    async def stop(self, wait_workerstop: bool = True) -> ExecutorReport:
        """Run what is due, cancel what is not, and say what became of everything."""
        ...
